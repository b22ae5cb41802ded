# shellcheck shell=sh
# parts: shared by the stories.
old=/files/piku_1.deb
new=/files/piku_2.deb
root=/home/piku/.piku

part() { printf '== %s\n' "$*"; }
fail() { printf 'life: %s\n' "$*" >&2; exit 1; }
is() { [ "$1" = "$2" ] || fail "$3: expected '$2', found '$1'"; }
# has FILE TEXT: the file has a line with the text
has() { grep -qF -- "$2" "$1" || fail "expected '$2' in: $(cat -- "$1")"; }

# log_in: two keys that may log in as root, who called sudo
log_in() {
    mkdir -p /root/.ssh
    for key in first second; do ssh-keygen -q -t ed25519 -N '' -C "$key@laptop" -f "/root/$key"; done
    cat /root/first.pub /root/second.pub >/root/.ssh/authorized_keys
    export SUDO_USER=root
}

# made: prints all that a setup makes, but for the numbers of ids
made() {
    getent passwd piku | cut -d : -f 1,5-
    getent group piku | cut -d : -f 1
    getent shadow piku | cut -d : -f 2
    cut -d : -f 1,3 /etc/subuid /etc/subgid
    stat -c '%n %a %U %G' /home/piku /home/piku/.ssh /home/piku/.piku /home/piku/.piku/host.yaml
    cat /home/piku/.piku/host.yaml
    [ ! -e /home/piku/.ssh/authorized_keys ] || sed 's/ added=[^ ]*//' /home/piku/.ssh/authorized_keys
    find /etc/systemd/system /usr/local /var/lib/piku \( -type f -o -type l \) -printf '%p %m\n' | sort
}

# each_of SCRIPT ARGS…: runs `begin`, kills the script when a command begins, runs `finish`, and compares the result with $wanted; this
# for ROUNDS commands, spread evenly
each_of() {
    begin
    total=$(python3 /files/kill.py 0 "$@")
    [ "$total" -gt 20 ] || fail "$1 has $total commands only"
    at=0
    while [ "$at" -lt "${ROUNDS:-2}" ]; do
        at=$((at + 1))
        number=$((total * at / (${ROUNDS:-2} + 1)))
        begin
        python3 /files/kill.py "$number" "$@" >/dev/null || fail "$* has no command $number of $total"
        finish >/tmp/finish 2>&1 || fail "after $* was killed at command $number of $total: $(cat /tmp/finish)"
        made >/tmp/made 2>/dev/null || :
        cmp -s /tmp/made "$wanted" || fail "after $* was killed at command $number of $total: $(diff /tmp/made "$wanted" || :)"
    done
}
