#!/bin/sh
# An installation from source, from a folder with an odd name, by a caller with a private umask; on disks that are full or
# read-only; and killed when one of its commands begins.
set -eu
. /files/parts.sh
umask 077
top="/files/it's a \"\$HOME\" of \`piku\`"
install=$top/scripts/install
# what a file that piku installs must not have
odd() { find /usr/local/bin /usr/local/lib/piku /usr/local/share/man/man1 \( -name '*.piku-new' -o ! -perm -755 -type d -o ! -perm -644 ! -type l \) "$@"; }
log_in
cat /root/second.pub >"/root/it's a \$key.pub"

part 'a dry run, and two at once'
groupadd piku
made >/tmp/before 2>/dev/null || :
"$install" --dry-run >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'would write: /usr/local/bin/piku-run'
made 2>/dev/null | cmp -s - /tmp/before || fail 'a dry run has changed the machine'
! flock /run/piku-install.lock "$install" >/tmp/said 2>&1 || fail 'two run at once'
has /tmp/said 'another install, setup or uninstall is running'

part 'a group of that name'
"$install" --key "/root/first.pub" --key-name one --key "/root/it's a \$key.pub" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
is "$(id -gn piku)" piku 'the group'
is "$(piku keys | cut -d ' ' -f 1 | tr '\n' ' ')" 'one second@laptop ' 'the keys'
is "$(odd)" '' 'what everybody must be able to read'
is "$(stat -c %a /etc/systemd/system/piku.service /usr/local/bin/piku-run | tr '\n' ' ')" '644 755 ' 'the modes'
is "$(stat -c %h /usr/local/bin/piku-run)" 4 'the names of the one file'
made >/tmp/first
"$install" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
made | cmp -s - /tmp/first || fail "a second run has changed: $(made | diff - /tmp/first)"

part 'a key that cannot be read'
! "$install" --key "/root/no such 'file'" >/tmp/said 2>&1 || fail 'it is taken'
has /tmp/said "install: cannot read '/root/no such 'file''"

part 'bad names'
! "$install" --user 'piku;id' >/tmp/said 2>&1 || fail 'a bad user name is taken'
has /tmp/said "bad user name 'piku;id'"
! "$install" --prefix '/opt/my piku' >/tmp/said 2>&1 || fail 'a bad prefix is taken'
has /tmp/said "bad prefix '/opt/my piku'"

part 'a cargo of apt'
mkdir -p /root/checkout
cp -R "$top/scripts" /root/checkout/
printf '[workspace.package]\nrust-version = "1.85"\n' >/root/checkout/Cargo.toml
printf '#!/bin/sh\necho "$*" >>/tmp/apt\n' >/usr/local/sbin/apt-get
# offer RUSTC RUSTC-WEB: apt offers these versions
offer() { printf '#!/bin/sh\n[ "$1" = policy ] || exit 1\ncase $2 in rustc) echo "  Candidate: %s" ;; *) echo "  Candidate: %s" ;; esac\n' "$@" >/usr/local/sbin/apt-cache; }
offer 1.63.0+dfsg1-2 1.96.0+dfsg0-1~deb12u1
chmod 755 /usr/local/sbin/apt-get /usr/local/sbin/apt-cache
/root/checkout/scripts/prepare cargo >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/apt 'install -y --no-install-recommends cargo-web'
offer 1.85.0+dfsg3-1 '(none)'
: >/tmp/apt
/root/checkout/scripts/prepare cargo >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
is "$(grep -c 'no-install-recommends cargo$' /tmp/apt)" 1 'the cargo of a newer Debian'
offer 1.63.0+dfsg1-2 '(none)'
! /root/checkout/scripts/prepare cargo >/tmp/said 2>&1 || fail 'an old one is taken'
has /tmp/said 'cannot find cargo of Rust 1.85 or newer: none is installed, and apt has 1.63.0'
has /tmp/said 'hint: install rustup as root'
rm /usr/local/sbin/apt-get /usr/local/sbin/apt-cache

part purge
made >/tmp/before
"$top/scripts/uninstall" --purge --dry-run >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'Nothing was changed'
made | cmp -s - /tmp/before || fail 'a dry run has removed something'
"$top/scripts/uninstall" --purge >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
! getent passwd piku >/dev/null || fail 'the user is left'
is "$(find /usr/local /etc/systemd /var/lib/piku -name '*piku*' 2>/dev/null)" '' 'what is left'
"$top/scripts/uninstall" --purge >/tmp/said 2>&1 || fail "a second removal: $(cat /tmp/said)"

part 'a user that existed before piku'
useradd --create-home --comment 'A person' --shell /bin/sh piku
mkdir -m 700 /home/piku/.ssh
cp /root/first.pub /home/piku/.ssh/authorized_keys
echo mine >/home/piku/notes
chown -R piku: /home/piku
"$install" --key "/root/it's a \$key.pub" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'warn  keys: 1 in /home/piku/.ssh/authorized_keys do not run piku'
"$top/scripts/uninstall" --purge >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'kept: the user piku, which existed before piku'
is "$(cat /home/piku/.ssh/authorized_keys /home/piku/notes)" "$(cat /root/first.pub; echo mine)" 'what was there before'
[ ! -e "$root" ] || fail 'the apps are left'

part 'odd homes'
rm -rf /home/piku/.ssh
ln -s /root /home/piku/.ssh
! "$install" --no-key >/tmp/said 2>&1 || fail 'it is followed'
has /tmp/said '/home/piku/.ssh is a symbolic link'
usermod --home '/home/pi ku' piku
! "$install" --no-key >/tmp/said 2>&1 || fail 'it is taken'
has /tmp/said "the home of piku cannot be '/home/pi ku'"
usermod --home /home/nowhere piku
! "$install" --no-key >/tmp/said 2>&1 || fail 'it is created'
has /tmp/said 'hint: sudo install -d -m 0700 -o piku -g '
has /tmp/said 'the home of piku, /home/nowhere, does not exist'
usermod --home /home/piku piku
userdel --remove piku >/dev/null 2>&1 || :
"$top/scripts/uninstall" --purge >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
rm -rf /home/piku

part 'a full disk'
mount -t tmpfs -o size=2m,mode=755 full /usr/local
! "$install" >/tmp/said 2>&1 || fail 'it fits'
has /tmp/said 'No space left on device'
has /tmp/said 'install: failed at: Programs below /usr/local'
is "$(find /usr/local -name 'piku-run')" '' 'half an installation'
umount /usr/local

part 'a read-only /usr'
mount --bind /usr /usr
mount -o remount,bind,ro /usr
! "$install" >/tmp/said 2>&1 || fail 'it is written'
has /tmp/said 'Read-only file system'
umount -l /usr
"$install" --no-key >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
mount --bind /usr /usr
mount -o remount,bind,ro /usr
/usr/local/lib/piku/setup >/tmp/said 2>&1 || fail "setup: $(cat /tmp/said)"
umount -l /usr
is "$(piku keys | cut -d ' ' -f 1 | tr '\n' ' ')" 'first@laptop second@laptop ' 'the keys'

part 'a full home'
"$top/scripts/uninstall" --purge >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
mount -t tmpfs -o size=4k,mode=755 full /home
! "$install" >/tmp/said 2>&1 || fail 'it fits'
has /tmp/said 'failed at: '
umount /home
rm -rf /home/piku
"$install" >/tmp/said 2>&1 || fail "after a full disk: $(cat /tmp/said)"

part 'killed installations'
wanted=/tmp/wanted-install
made >"$wanted"
begin() { "$top/scripts/uninstall" --purge >/dev/null 2>&1; }
finish() { "$install" && [ -z "$(odd)" ]; }
each_of "$install"

part 'killed removals'
begin() { "$install" >/dev/null 2>&1; }
finish() { "$top/scripts/uninstall" --purge; }
wanted=/tmp/wanted-uninstall
finish >/dev/null
made >"$wanted" 2>/dev/null || :
each_of "$top/scripts/uninstall" --purge
part done
