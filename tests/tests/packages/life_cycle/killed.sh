#!/bin/sh
# Each script of the package is killed when one of its commands begins, and the next run must finish what it left.
set -eu
. /files/parts.sh
purge=/files/purge

log_in
part 'setup of the package'
dpkg -i "$old" >/dev/null
cp /usr/lib/piku/purge "$purge"
begin() {
    "$purge" --with-data >/dev/null
    rm -rf /var/lib/piku
    mkdir /var/lib/piku
    : >/var/lib/piku/new
    dpkg --unpack "$old" >/dev/null
}
finish() { dpkg --configure -a; }
wanted=/tmp/wanted-package
begin
finish >/dev/null
made >"$wanted"
each_of /usr/lib/piku/setup --configure

part 'setup with keys'
begin() { "$purge" --with-data >/dev/null; }
finish() { piku setup; }
wanted=/tmp/wanted-keys
begin
finish >/dev/null
is "$(piku keys | cut -d ' ' -f 1 | sort | tr '\n' ' ')" 'first@laptop second@laptop ' 'the keys'
made >"$wanted"
each_of /usr/lib/piku/setup

part 'a key that a killed setup has not added'
piku keys:remove second@laptop >/dev/null
piku setup >/dev/null
is "$(piku keys | cut -d ' ' -f 1)" first@laptop 'the keys'
echo root >/var/lib/piku/unfinished-keys
piku setup >/dev/null
is "$(piku keys | cut -d ' ' -f 1 | sort | tr '\n' ' ')" 'first@laptop second@laptop ' 'the keys'
[ ! -e /var/lib/piku/unfinished-keys ] || fail 'it is never finished'

part 'a user that useradd has left half made'
"$purge" --with-data >/dev/null
echo 'piku:x:777:777:piku apps:/home/piku:/bin/sh' >>/etc/passwd
piku setup >/dev/null
is "$(getent group 777 | cut -d : -f 1)" piku 'the group'
is "$(stat -c '%a %U %G' /home/piku)" '700 piku piku' 'the home'
is "$(made)" "$(cat "$wanted")" 'what setup makes'

part removal
begin() {
    dpkg -i "$old" >/dev/null 2>&1
    piku setup >/dev/null
}
finish() { dpkg -r piku && [ -x /var/lib/piku/purge ]; }
wanted=/tmp/wanted-removal
begin
finish >/dev/null
made >"$wanted"
each_of /usr/lib/piku/uninstall --stop

part purge
begin() {
    dpkg -i "$old" >/dev/null 2>&1
    piku setup >/dev/null
    dpkg -r piku >/dev/null
    : >/var/lib/piku/purge-data
}
finish() { dpkg -P piku; }
wanted=/tmp/wanted-purge
begin
finish >/dev/null
made >"$wanted" 2>/dev/null || :
! getent passwd piku >/dev/null || fail 'the user is left'
each_of /var/lib/piku/purge --user piku --with-data
part done
