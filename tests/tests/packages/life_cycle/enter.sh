#!/bin/sh
# enter: a command in a throw-away copy of a Debian tree, as root, with a network of its own, of which only loopback is up:
# enter.sh TREE FILES COMMAND…. FILES is a folder that is /files within. Runs within `unshare --mount --pid --fork --net`.
set -eu
tree=$1
files=$2
shift 2
mount --make-rprivate /
# memory, since the upper layer of an overlay cannot lie on another overlay
mount -t tmpfs -o size=2g,mode=755 layers /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o "lowerdir=$tree,upperdir=/mnt/upper,workdir=/mnt/work" overlay /mnt/root
root=/mnt/root
mkdir -p "$root/files" "$root/old"
mount --rbind "$files" "$root/files"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
for node in null zero full random urandom tty; do
    : >"$root/dev/$node"
    mount --bind "/dev/$node" "$root/dev/$node"
done
mkdir -p "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
number=0
for name in stdin stdout stderr; do
    ln -s "/proc/self/fd/$number" "$root/dev/$name"
    number=$((number + 1))
done
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
ip link set lo up
cd "$root"
# not chroot alone: within one, the kernel makes no user namespaces
pivot_root . old
umount -l /old
exec chroot . /usr/bin/env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"
