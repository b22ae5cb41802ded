#!/bin/sh
# package: two packages of the checkout with tools that are built already, so that an upgrade can be tried: package.sh CHECKOUT TOOLS OUT.
# TOOLS is a folder with the five tools, or a package, which is taken as it is but for its version. Result: OUT/piku_1.deb and OUT/piku_2.deb
set -eu
scripts=$1/scripts
tools_from=$2
out=$3
packaging=$1/packaging/debian
. "$scripts/installation"
umask 022

for version in 1 2; do
    tree=$out/tree-$version
    if [ -f "$tools_from" ]; then
        dpkg-deb --raw-extract "$tools_from" "$tree"
        sed -i "s/^Version: .*/Version: $version/" "$tree/DEBIAN/control"
        dpkg-deb --root-owner-group -Zgzip -z1 -b "$tree" "$out/piku_$version.deb"
        continue
    fi
    mkdir -p "$tree/DEBIAN" "$tree/usr/lib/piku/templates" "$tree/usr/lib/systemd/system" "$tree/usr/bin"
    for tool in $tools; do strip -o "$tree/usr/bin/$tool" "$tools_from/$tool"; done
    ln -s ../lib/piku/piku "$tree/usr/bin/piku"
    for program in $programs; do install -m 0755 "$scripts/$program" "$tree/usr/lib/piku/$program"; done
    install -m 0644 "$scripts"/templates/* "$tree/usr/lib/piku/templates/"
    for unit in $units; do
        sed -e 's|@PREFIX@|/usr|g' -e 's|@USER@|piku|g' -e 's|@HOME@|/home/piku|g' "$scripts/templates/$unit" >"$tree/usr/lib/systemd/system/$unit"
    done
    for script in preinst postinst prerm postrm; do install -m 0755 "$packaging/$script" "$tree/DEBIAN/$script"; done
    cat >"$tree/DEBIAN/control" <<CONTROL
Package: piku
Version: $version
Architecture: $(dpkg --print-architecture)
Maintainer: piku's tests <tests@example.invalid>
Depends: git, openssh-server, openssh-client, uidmap, ca-certificates
Description: piku, for its own tests
CONTROL
    dpkg-deb --root-owner-group -Zgzip -z1 -b "$tree" "$out/piku_$version.deb"
done

# An installation from source with the same tools, in a folder that no script may take for several words.
top="$out/it's a \"\$HOME\" of \`piku\`"
mkdir -p "$top/bin"
for folder in scripts man completions; do cp -R "$1/$folder" "$top/"; done
for tool in $tools; do
    from=$out/tree-1/usr/bin
    # one file with four names, as in a package
    if [ "$(stat -c %h "$from/$tool")" -gt 1 ] && [ -e "$top/bin/piku-receive" ]; then
        ln "$top/bin/piku-receive" "$top/bin/$tool"
    else
        cp "$from/$tool" "$top/bin/$tool"
    fi
done
