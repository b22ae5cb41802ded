#!/bin/sh
# What setup does with the units and with the nginx of the machine, by a systemctl that only keeps a record: an nginx that somebody uses
# stays, one that came with piku goes, and an upgrade starts nothing that was switched off.
set -eu
. /files/parts.sh
wants=/etc/systemd/system/multi-user.target.wants
mkdir -p /run/systemd/system /run/units "$wants"
cat >/usr/local/sbin/systemctl <<'SYSTEMCTL'
#!/bin/sh
# An enabled unit is a link, a running one is a file in /run/units.
wants=/etc/systemd/system/multi-user.target.wants
echo "$*" >>/tmp/calls
now=no
for word in "$@"; do
    shift
    case $word in
        --now) now=yes ;;
        --value) ;;
        -*) ;;
        *) set -- "$@" "$word" ;;
    esac
done
verb=$1
unit=${2:-}
case $verb in
    is-active) [ -e "/run/units/$unit" ] ;;
    is-enabled) if [ -L "$wants/$unit" ]; then echo enabled; else echo disabled; exit 1; fi ;;
    enable | reenable) ln -sfn "/usr/lib/systemd/system/$unit" "$wants/$unit" ;;
    disable) rm -f "$wants/$unit"; [ "$now" = no ] || rm -f "/run/units/$unit" ;;
    start | restart) : >"/run/units/$unit" ;;
    try-restart) ;;
    stop) rm -f "/run/units/$unit" ;;
    *) ;;
esac
SYSTEMCTL
chmod 755 /usr/local/sbin/systemctl
cp /usr/local/sbin/systemctl /usr/bin/systemctl
running() { find /run/units -type f -printf '%f\n' | sort | tr '\n' ' '; }
enabled() { find "$wants" -name "$1" -printf '%f\n' | sort | tr '\n' ' '; }
nginx_runs() {
    ln -sfn /usr/lib/systemd/system/nginx.service "$wants/nginx.service"
    : >/run/units/nginx.service
}

part 'an nginx that somebody uses'
echo 'server { listen 81; }' >/etc/nginx/conf.d/mine.conf
nginx_runs
dpkg -i "$old" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'nginx.service of this machine is left alone'
is "$(enabled 'nginx*')" 'nginx.service ' 'the nginx of the machine'
is "$(running)" 'nginx.service piku-certs.timer piku-nginx.service piku.service ' 'what runs'
rm /run/units/piku-nginx.service
piku doctor --quiet >/tmp/said || :
has /tmp/said "nginx.service uses its ports. If you do not need that one: sudo systemctl disable --now nginx; sudo systemctl restart piku-nginx"

part 'an upgrade starts nothing that was switched off'
systemctl disable --now piku-certs.timer
systemctl disable --now piku-nginx.service
systemctl stop piku.service
dpkg -i "$new" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
is "$(running)" 'nginx.service ' 'what runs'
is "$(enabled 'piku*')" 'piku.service ' 'what starts at boot'
piku setup --no-key >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
is "$(running)" 'nginx.service piku-certs.timer piku-nginx.service piku.service ' 'what runs'
is "$(enabled 'piku*')" 'piku-certs.timer piku-nginx.service piku.service ' 'what starts at boot'

part 'a removal stops everything'
dpkg -r piku >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
is "$(running)" 'nginx.service ' 'what runs'
is "$(enabled 'piku*')" '' 'what starts at boot'
dpkg -P piku >/tmp/said 2>&1 || fail "$(cat /tmp/said)"

part 'an nginx that came with piku'
rm /etc/nginx/conf.d/mine.conf "$wants/nginx.service" /run/units/nginx.service
dpkg --unpack "$old" >/dev/null
sleep 0.1
nginx_runs
dpkg --configure -a >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'disabled nginx.service, which was installed with piku and serves nothing'
is "$(enabled 'nginx*')" '' 'the nginx of the machine'
is "$(running)" 'piku-certs.timer piku-nginx.service piku.service ' 'what runs'

part 'an nginx that is switched on later'
nginx_runs
dpkg -i "$new" >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'nginx.service of this machine is left alone'
is "$(enabled 'nginx*')" 'nginx.service ' 'the nginx of the machine'

part 'nginx: off in host.yaml'
printf 'nginx:\n  enabled: false\n' >>"$root/host.yaml"
systemctl disable --now piku-nginx.service
piku setup --no-key >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'off in host.yaml'
is "$(running)" 'nginx.service piku-certs.timer piku.service ' 'what runs'

part 'a unit that does not start'
sed -i 's/^    start | restart) .*/    start | restart) [ "$unit" != piku.service ] || exit 1 ;;/' /usr/local/sbin/systemctl
cp /usr/local/sbin/systemctl /usr/bin/systemctl
rm /run/units/piku.service
! piku setup --no-key >/tmp/said 2>&1 || fail 'it is not reported'
has /tmp/said 'piku.service does not start; see: journalctl -u piku'
has /tmp/said 'setup: failed at: Start (exit 1); fix the cause, then: sudo piku setup'
mkdir -p /var/lib/piku
: >/var/lib/piku/new
dpkg -i "$old" >/tmp/said 2>&1 || fail "apt: $(cat /tmp/said)"
has /tmp/said 'piku.service does not start; see: journalctl -u piku'

part 'another account'
piku setup --no-key --no-start --user web >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
for unit in piku piku-nginx piku-certs; do
    has "/etc/systemd/system/$unit.service.d/account.conf" 'User=web'
    is "$(grep -c /home/piku "/etc/systemd/system/$unit.service.d/account.conf" || :)" 0 'the home of the other account'
done
is "$(stat -c '%a %U' /home/web/.piku)" '700 web' 'the folder'
piku setup --no-key --no-start >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'web, home /home/web'
piku setup --no-key --no-start --user piku >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
is "$(find /etc/systemd/system -name account.conf)" '' 'settings of the other account'

part "Ubuntu's restriction of user namespaces"
printf 'ID=ubuntu\nVERSION_ID="24.04"\n' >/tmp/os-release
mount --bind /tmp/os-release /usr/lib/os-release
mount -t tmpfs kernel /proc/sys/kernel
echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns
piku setup --no-key --no-start >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/said 'apparmor_parser is not installed: sudo apt-get install apparmor, then: sudo piku setup'
printf '#!/bin/sh\necho "apparmor_parser $*" >>/tmp/calls\n' >/usr/sbin/apparmor_parser
chmod 755 /usr/sbin/apparmor_parser
piku setup --no-key --no-start >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/calls 'apparmor_parser -r /etc/apparmor.d/piku-chroot'
has /etc/apparmor.d/piku-chroot 'profile piku-chroot /usr/bin/piku-chroot '
is "$(stat -c %a /etc/apparmor.d/piku-chroot)" 644 'the mode'
dpkg -r piku >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
dpkg -P piku >/tmp/said 2>&1 || fail "$(cat /tmp/said)"
has /tmp/calls 'apparmor_parser -R /etc/apparmor.d/piku-chroot'
[ ! -e /etc/apparmor.d/piku-chroot ] || fail 'the profile is left'
umount /proc/sys/kernel
part done
