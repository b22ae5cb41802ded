#!/bin/sh
# The life of the package on a machine, from the first installation to the purge, in a tree without systemd: what a unit would start
# is started by hand. Each part is announced by a line "== PART". Ends at the first thing that is not as it should be.
set -eu
. /files/parts.sh

as_piku() { setpriv --reuid piku --regid piku --init-groups env -i HOME=/home/piku USER=piku PATH=/usr/bin:/bin:/usr/sbin:/sbin "$@"; }

# until_it WHAT CMD…: within a minute
until_it() {
    what=$1
    shift
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 600 ] || fail "$what did not happen"
        sleep 0.1
    done
}
start_daemon() {
    # in place of the shell between, so that its number is the daemon's
    (exec setpriv --reuid piku --regid piku --init-groups env -i HOME=/home/piku USER=piku PATH=/usr/bin:/bin:/usr/sbin:/sbin \
        piku-run daemon >>/tmp/daemon.log 2>&1) &
    daemon=$!
    until_it 'the daemon answers' as_piku piku-run ps
}
stop_daemon() {
    is "$(cat "$root/run/daemon.lock")" "$daemon" 'the daemon'
    kill "$daemon"
    wait "$daemon" || :
}
page() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(urllib.request.Request("http://127.0.0.1/page", headers={"Host": "hello.test"}), timeout=20).read().decode(), end="")'; }
serves() { [ "$(page 2>/dev/null)" = "$1" ]; }
worker() { pgrep -u "$(stat -c %u "$root/apps/hello/data")" -f http.server | sort | tr '\n' ' '; }

part install
is "$(. /usr/lib/piku/installation 2>/dev/null; echo)" '' 'nothing is installed yet'
dpkg -i "$old"
is "$(dpkg-query -W -f '${db:Status-Status}' piku)" installed 'the package'
is "$(stat -c %a:%U /home/piku "$root" /home/piku/.ssh | tr '\n' ' ')" '700:piku 700:piku 700:piku ' 'the folders'
is "$(getent shadow piku | cut -d : -f 2)" '*' 'the password'
grep -q '^piku:[0-9]*:65536$' /etc/subuid || fail 'no subordinate uids'
grep -q '^piku:[0-9]*:65536$' /etc/subgid || fail 'no subordinate gids'
grep -qx 'app_users: own' "$root/host.yaml" || fail 'app_users'
grep -q '^protections: ' "$root/host.yaml" || fail 'no protections are recorded'
[ ! -e /var/lib/piku/new ] || fail 'the installation has not ended'
[ ! -e /home/piku/.ssh/authorized_keys ] || fail 'the package has let a key in'
cp "$root/host.yaml" /tmp/settings
piku setup --no-key
cmp "$root/host.yaml" /tmp/settings || fail 'setup has changed settings'
is "$(grep -c ^piku: /etc/subuid)" 1 'one range of ids'

part keys
mkdir -p /root/.ssh
ssh-keygen -q -t ed25519 -N '' -C root@laptop -f /root/.ssh/id_ed25519
cp /root/.ssh/id_ed25519.pub /root/.ssh/authorized_keys
SSH_CONNECTION='127.0.0.1 1 127.0.0.1 22' piku setup
is "$(piku keys | cut -d ' ' -f 1)" root@laptop 'the key'
SSH_CONNECTION='127.0.0.1 1 127.0.0.1 22' piku setup
is "$(piku keys | wc -l)" 1 'the number of keys'

part nginx
(
    scripts=/usr/lib/piku
    . /usr/lib/piku/installation
    host_nginx_is_unused || fail 'the nginx of Debian as it comes is taken for used'
    echo x >/var/www/html/index.html
    ! host_nginx_is_unused || fail 'an nginx with a page is taken for unused'
    rm /var/www/html/index.html
    echo 'server { listen 81; }' >/etc/nginx/conf.d/mine.conf
    ! host_nginx_is_unused || fail 'an nginx with a server is taken for unused'
    rm /etc/nginx/conf.d/mine.conf
    echo '# mine' >>/etc/nginx/sites-available/default
    ! host_nginx_is_unused || fail 'an nginx with another default site is taken for unused'
    sed -i '$d' /etc/nginx/sites-available/default
    host_nginx_is_unused || fail 'the nginx of Debian is taken for used'
    wants=/etc/systemd/system/multi-user.target.wants
    mkdir -p "$wants"
    ln -sf /lib/systemd/system/nginx.service "$wants/nginx.service"
    sleep 0.1
    : >"$state/new"
    ! host_nginx_is_new || fail 'an nginx from before is taken for new'
    sleep 0.1
    ln -sf /lib/systemd/system/nginx.service "$wants/nginx.service"
    host_nginx_is_new || fail 'an nginx that came afterwards is not taken for new'
    rm "$state/new"
    ! host_nginx_is_new || fail 'an nginx is new without a new installation'
)

part push
mkdir -p /run/sshd
/usr/sbin/sshd
start_daemon
# ports below 1024, as its unit gives it
setpriv --reuid piku --regid piku --init-groups --inh-caps +net_bind_service --ambient-caps +net_bind_service \
    env -i HOME=/home/piku USER=piku PATH=/usr/bin:/bin:/usr/sbin:/sbin piku-run nginx >/tmp/nginx.log 2>&1 &
mkdir /tmp/hello
cd /tmp/hello
git init -q -b main
git config user.name A
git config user.email a@example.invalid
echo one >page
echo 'web: python3 -m http.server --bind 127.0.0.1 $PORT' >Procfile
echo NGINX_SERVER_NAME=hello.test >ENV
git add .
git commit -q -m one
export GIT_SSH_COMMAND='ssh -o StrictHostKeyChecking=accept-new'
git push -q piku@127.0.0.1:hello main || fail 'the push'
until_it 'the page' serves one

part doctor
piku doctor --quiet >/tmp/doctor || fail "$(cat /tmp/doctor)"
! grep FAIL /tmp/doctor || fail "$(cat /tmp/doctor)"

part upgrade
before=$(worker)
[ -n "$before" ] || fail 'no worker'
python3 /files/load.py 127.0.0.1 hello.test /tmp/stop-load >/tmp/load &
load=$!
dpkg -i "$new"
is "$(dpkg-query -W -f '${db:Status-Status}' piku)" installed 'the newer package'
# as its unit does
stop_daemon
start_daemon
until_it 'the app is up' sh -c 'piku ps hello | grep -q healthy'
: >/tmp/stop-load
wait "$load" || fail "requests failed: $(cat /tmp/load)"
cat /tmp/load
is "$(worker)" "$before" 'the worker'

part interrupted
dpkg --unpack "$new"
is "$(dpkg-query -W -f '${db:Status-Status}' piku)" unpacked 'the package'
dpkg --configure -a
is "$(dpkg-query -W -f '${db:Status-Status}' piku)" installed 'the package'
is "$(worker)" "$before" 'the worker'

part remove
piku run hello sh -c 'echo kept >/data/file'
dpkg -r piku
stop_daemon
is "$(worker)" '' 'the workers'
[ -d "$root/apps/hello/repo.git" ] || fail 'the app is gone'
grep -q piku-receive /home/piku/.ssh/authorized_keys || fail 'the keys are gone'

part reinstall
dpkg -i "$new"
start_daemon
until_it 'the page' serves one

part 'from source and back'
mkdir -p /usr/local/lib/piku/templates
cp /usr/lib/piku/templates/* /usr/local/lib/piku/templates/
for script in /usr/lib/piku/*; do [ ! -f "$script" ] || cp "$script" /usr/local/lib/piku/; done
cp /usr/bin/piku-* /usr/local/bin/
ln -s ../lib/piku/piku /usr/local/bin/piku
before=$(worker)
/usr/local/lib/piku/setup --no-key --no-start
grep -q 'command="/usr/local/bin/piku-receive --key root@laptop"' /home/piku/.ssh/authorized_keys || fail 'the key does not lead to /usr/local'
grep -qx 'ExecStart=/usr/local/bin/piku-run daemon' /etc/systemd/system/piku.service || fail 'no unit of the installation from source'
/usr/local/lib/piku/uninstall
grep -q 'command="/usr/bin/piku-receive --key root@laptop"' /home/piku/.ssh/authorized_keys || fail 'the key does not lead to the package'
for gone in /etc/systemd/system/piku.service /usr/local/bin/piku-run /usr/local/bin/piku /usr/local/lib/piku; do
    [ ! -e "$gone" ] || fail "$gone is still there"
done
is "$(worker)" "$before" 'the worker'
echo two >page
git commit -q -a -m two
git push -q piku@127.0.0.1:hello main || fail 'the push'
until_it 'the page' serves two

part purge
dpkg -P piku
# a purge ends all that is the user's
wait "$daemon" || :
is "$(find "$root" -type f | sort | tr '\n' ' ')" "$root/apps/hello/data/file $root/uid-ranges " 'what is left'
getent passwd piku >/dev/null || fail 'the user of the data is gone'
grep -q '^piku:' /etc/subuid || fail 'the ids of the data are gone'
! grep -q piku-receive /home/piku/.ssh/authorized_keys || fail 'a key is left'
[ ! -e /var/lib/piku ] || fail '/var/lib/piku is left'
dpkg -i "$old"
grep -qx 'app_users: own' "$root/host.yaml" || fail 'it is not taken for a new installation'
: >/var/lib/piku/purge-data
dpkg -P piku
[ ! -e /home/piku ] || fail 'the data are left'
! getent passwd piku >/dev/null || fail 'the user is left'
dpkg -i "$old"
# what the first start of an app makes
mkdir -p "$root/apps/idle/data/home"
dpkg -P piku
! getent passwd piku >/dev/null || fail 'the user is left, though no app has written data'
part done
