#!/bin/sh
# What doctor finds on a machine on which nearly everything is wrong: each line with its remedy, and the exit code.
set -eu
. /files/parts.sh
# finds LINE FIX: doctor has reported the line, and below it a remedy with these words
finds() {
    awk -v line="$1" -v fix="$2" 'found && index($0, "      fix: ") == 1 && index($0, fix) { ok = 1 } { found = index($0, line) == 1 } END { exit !ok }' \
        /tmp/said || fail "expected '$1' and '$2' in: $(cat /tmp/said)"
}
doctor() { if piku doctor "$@" >/tmp/said 2>&1; then echo 0; else echo "$?"; fi; }

log_in
dpkg -i "$old" >/dev/null
mkdir -p /run/sshd

part 'nothing but the daemon is missing'
piku setup >/dev/null
is "$(doctor)" 1 'the exit code'
has /tmp/said 'ok    keys: 2 can push'
has /tmp/said 'ok    sshd: piku can log in with a key'
is "$(grep ^FAIL /tmp/said | cut -d : -f 1 | tr '\n' ' ')" 'FAIL  sshd FAIL  daemon ' 'what fails'
finds 'FAIL  sshd: nothing listens on port 22' 'sudo service ssh start'
finds 'FAIL  daemon: not running' 'start this at boot, as piku: piku-run daemon'

part 'account, keys and settings of sshd'
usermod --shell /usr/sbin/nologin piku
chmod 777 /home/piku/.ssh
chmod 755 "$root"
sed -i '/^piku:/d' /etc/subuid
cat >/etc/ssh/sshd_config.d/piku.conf <<'SSHD'
Port 2222
DenyUsers someone pi*
AllowUsers alice bob@192.0.2.1
AllowGroups adm
PubkeyAuthentication no
AuthorizedKeysFile /etc/ssh/keys/%u
ForceCommand /bin/true
AuthenticationMethods password
SSHD
is "$(doctor --quiet)" 1 'the exit code'
finds 'FAIL  account: the shell of piku is /usr/sbin/nologin' 'sudo usermod --shell /bin/sh piku'
finds 'FAIL  ssh: users other than piku can write /home/piku/.ssh (mode 777)' 'sudo chmod go-w /home/piku/.ssh'
finds 'FAIL  root: /home/piku/.piku is piku, mode 755' 'sudo chmod 700 /home/piku/.piku'
finds 'FAIL  subordinate ids: piku has no range in /etc/subuid and /etc/subgid; app_users: own starts no app' 'sudo piku setup'
finds 'FAIL  sshd: nothing listens on port 2222' 'sudo service ssh start'
finds 'FAIL  sshd: PubkeyAuthentication is off' 'set PubkeyAuthentication yes'
finds 'FAIL  sshd: DenyUsers excludes piku' 'remove piku from DenyUsers'
finds 'FAIL  sshd: AllowUsers does not list piku' 'add piku to AllowUsers'
finds 'FAIL  sshd: AllowGroups does not list a group of piku' 'add piku to AllowGroups'
finds 'FAIL  sshd: AuthorizedKeysFile is /etc/ssh/keys/%u' 'add .ssh/authorized_keys'
finds "FAIL  sshd: ForceCommand overrides piku's command" "Match User piku"
finds 'FAIL  sshd: AuthenticationMethods is password' 'AuthenticationMethods any'
! grep -q '^ok' /tmp/said || fail "--quiet: $(cat /tmp/said)"
echo 'AllowUsers' >/etc/ssh/sshd_config.d/piku.conf
doctor >/dev/null
finds 'FAIL  sshd: invalid settings: ' 'then edit /etc/ssh/sshd_config'
rm /etc/ssh/sshd_config.d/piku.conf

part 'what setup mends'
usermod --shell /bin/sh piku
chmod 700 /home/piku/.ssh
# files of apps carry these ids
echo "blog 365535 $(sed -n 's/^piku:\([0-9]*\):.*/\1/p' /etc/subgid)" >"$root/uid-ranges"
piku setup --no-key >/dev/null
is "$(grep ^piku: /etc/subuid)" piku:300000:65536 'the range with the ids of the apps'
echo 'blog 365536 365536' >"$root/uid-ranges"
doctor >/dev/null
finds 'FAIL  subordinate ids: 365536-365536, which apps have, are not in /etc/subuid' 'sudo usermod --add-subuids 365536-365536 piku'
finds 'FAIL  subordinate ids: 365536-365536, which apps have, are not in /etc/subgid' 'sudo usermod --add-subgids 365536-365536 piku'
echo someone:365000:1000 >>/etc/subuid
groupadd --gid 365536 someones
doctor >/dev/null
finds 'FAIL  subordinate ids: 365536-365536, which apps have, are those of someone; two users must not share ids' 'give someone other ids'
finds 'FAIL  subordinate ids: 365536-365536, which apps have, are those of someones; two users must not share ids' 'give someones other ids'
cp /etc/subuid /tmp/subuid
sed -i '/^piku:/d' /etc/subuid
! piku setup --no-key >/tmp/said 2>&1 || fail 'setup shares ids'
has /tmp/said 'the ids 365536-365536, which apps have, are those of someone; two users must not share ids'
! grep ^piku: /etc/subuid || fail 'setup gave ids'
grep -v ^someone: /tmp/subuid >/etc/subuid
groupdel someones
echo 'blog 1000 1000' >"$root/uid-ranges"
doctor >/dev/null
finds 'FAIL  subordinate ids: 1000-1000, which apps have, are those of the system' 'no app has ids below 65536'
rm "$root/uid-ranges"
doctor >/dev/null
is "$(grep ^FAIL /tmp/said | cut -d : -f 1 | tr '\n' ' ')" 'FAIL  sshd FAIL  daemon ' 'what fails'

part 'keys'
sed -i 's|/usr/bin/piku-receive|/opt/gone/bin/piku-receive|' /home/piku/.ssh/authorized_keys
cat /root/first.pub >>/home/piku/.ssh/authorized_keys
doctor >/dev/null
finds 'FAIL  keys: they run /opt/gone/bin/piku-receive, which does not exist' 'sudo piku setup'
finds 'warn  keys: 1 in /home/piku/.ssh/authorized_keys do not run piku' 'remove these lines'
cp /root/first.pub /home/piku/.ssh/authorized_keys
doctor >/dev/null
finds 'FAIL  keys: piku has no key for piku' 'sudo piku keys:add NAME < key.pub'
rm /home/piku/.ssh/authorized_keys
doctor >/dev/null
finds 'FAIL  keys: /home/piku/.ssh/authorized_keys does not exist' 'sudo piku keys:add NAME < key.pub'

part 'programs'
for program in git newuidmap python3 openssl; do mv "/usr/bin/$program" "/usr/bin/$program.away"; done
mv /usr/sbin/nginx /usr/sbin/nginx.away
: >/etc/ssl/certs/ca-certificates.crt
chmod 644 /usr/lib/piku/post-receive
# one file with four names
chmod 644 /usr/bin/piku-build
is "$(doctor)" 1 'the exit code'
finds 'FAIL  piku-build: not installed, or piku cannot run it' 'sudo apt-get install --reinstall piku'
finds 'FAIL  hook: /usr/lib/piku/post-receive is missing' 'sudo apt-get install --reinstall piku'
finds 'FAIL  git: not installed' 'sudo apt-get install git'
finds 'FAIL  subordinate ids: newuidmap is not installed; app_users: own starts no app' 'sudo apt-get install uidmap'
finds 'warn  python3: not installed' 'sudo apt-get install python3 python3-venv'
finds 'warn  nginx: not installed' 'sudo apt-get install nginx-light'
finds 'warn  certificates: none' 'sudo apt-get install ca-certificates'
mv /usr/sbin/nginx.away /usr/sbin/nginx
chmod 755 /usr/bin/piku-build
doctor >/dev/null
finds 'warn  openssl: not installed' 'sudo apt-get install openssl'

part 'a kernel with pages of 16 kB, and programs for 32-bit ARM'
printf '\177ELF\001\001\001' >/usr/bin/piku-run
printf '#!/bin/sh\necho 16384\n' >/usr/bin/getconf
printf '#!/bin/sh\ncase $1 in -m) echo aarch64 ;; *) echo 6.12.47+rpt-rpi-2712 ;; esac\n' >/usr/bin/uname
chmod 755 /usr/bin/getconf /usr/bin/uname
doctor >/dev/null
finds 'FAIL  piku-run: does not run on this machine' 'install the package for arm64, or boot with kernel=kernel8.img in config.txt'

part 'no user, no programs'
userdel --remove piku >/dev/null 2>&1
is "$(doctor)" 1 'the exit code'
finds "FAIL  user: there is no user 'piku'" 'sudo piku setup'
part done
