#!/bin/sh
# containers.sh DIR PIKU-PROCFILE: DIR/image.tar of the app in DIR/app is read by skopeo and run by podman.
# The caller has given this shell network, mounts and processes of its own.
set -eu
dir=$1 render=$2
work=$dir/podman
mkdir -p -- "$work/cni"
ip link set lo up
cat >"$work/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_config_dir = "$work/cni"
CONF
export CONTAINERS_CONF="$work/containers.conf"
engine() {
    podman --root "$work/root" --runroot "$work/run" --tmpdir "$work/tmp" "$@"
}
# The control groups of containers are below some that all podmans of the machine share.
parents() {
    find /sys/fs/cgroup -type d '(' -name libpod_parent -o -path '*/libpod_parent/conmon' ')' 2>/dev/null | sort
}
parents >"$work/parents"
# Notes the containers and pods, whose ids are in the names of their groups.
note() {
    { engine ps --all --quiet --no-trunc && engine pod ps --quiet --no-trunc; } >>"$work/ids"
}
end() {
    status=$?
    trap - EXIT
    note || :
    engine pod rm --force --all >&2 || :
    engine rm --force --all --time 1 >&2 || :
    umount "$work/root/overlay" 2>/dev/null || :
    # Groups that podman leaves empty.
    sort -u "$work/ids" | while read -r id; do
        find /sys/fs/cgroup -depth -type d -path "*/libpod_parent/*$id*" -exec rmdir {} + 2>/dev/null || :
    done
    parents | comm -23 - "$work/parents" | sort -r | while read -r parent; do
        rmdir -- "$parent" 2>/dev/null || :
    done
    rm -rf -- "$work"
    exit "$status"
}
trap end EXIT

# answer NAME: what the app says, once it does
answer() {
    tries=0
    until text=$(curl --silent --fail --max-time 5 http://127.0.0.1:8080/); do
        tries=$((tries + 1))
        [ "$tries" -lt 200 ] || { echo "$1: no answer" >&2; engine ps --all >&2; engine logs --latest >&2; exit 1; }
        sleep 0.1
    done
    echo "$1: $text"
}

for form in oci-archive docker-archive; do
    skopeo inspect "$form:$dir/image.tar" >/dev/null
    skopeo copy --quiet "$form:$dir/image.tar" "dir:$work/$form"
    rm -rf -- "${work:?}/$form"
done
# Without root, as the user of piku copies it.
chmod 755 "$dir" && cp -- "$dir/image.tar" "$work/copied.tar" && chmod 644 "$work/copied.tar"
mkdir -m 777 "$work/unpacked" && chmod 755 "$work"
setpriv --reuid 65534 --regid 65534 --clear-groups env HOME="$work" TMPDIR="$work/unpacked" skopeo --insecure-policy \
    --tmpdir "$work/unpacked" copy --quiet "oci-archive:$work/copied.tar" "dir:$work/unpacked/copy"
rm -rf -- "$work/unpacked" "$work/copied.tar"
engine load --quiet --input "$dir/image.tar" >&2
engine run --detach --network host --name app localhost/app:1 >&2
note
answer container
engine rm --force --time 5 app >&2

# A program without a handler, which would get no signal as process 1. It prints when it runs.
engine run --detach --name idle localhost/app:1 python -c 'import time; print("waits", flush=True); time.sleep(1000)' >&2
note
tries=0
until [ "$(engine logs idle 2>/dev/null)" = waits ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || { echo 'idle: it does not run' >&2; engine ps --all >&2; exit 1; }
    sleep 0.1
done
engine stop --time 60 idle >&2
echo "stopped: $(engine inspect --format '{{.State.ExitCode}}' idle)"
code=0
said=$(echo input | engine run --rm --interactive localhost/app:1 sh -c 'cat; exit 7') || code=$?
echo "command: $said, exit $code"
# On a terminal, which is the command's own: job control works. The terminal may echo the end of the input before.
said=$(script --quiet --return --command \
    "podman --root $work/root --runroot $work/run --tmpdir $work/tmp run --rm -it localhost/app:1 bash -ic 'tty'" \
    "$work/typescript" </dev/null 2>&1 | sed -n 's|.*\(/dev/pts/[0-9]*\).*|\1|p') || :
echo "terminal: $said"

cd -- "$dir/app"
"$render" render kubernetes --app app --image localhost/app:1 --release 1 >"$work/app.yaml"
engine kube play "$work/app.yaml" >&2
answer pod
