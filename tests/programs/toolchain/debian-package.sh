#!/bin/sh
# debian-package.sh ARCH CACHE PACKAGE[=VERSION] DEST
#
# Unpacks a Debian package of another architecture into DEST, without telling the system's own
# package database about that architecture. The package lists and the downloaded file are kept in
# CACHE, so a second call is offline. apt checks the archive's signature and the file's digest.
set -eu

[ $# -eq 4 ] || { echo "usage: $0 ARCH CACHE PACKAGE[=VERSION] DEST" >&2; exit 2; }
arch=$1 package=$3
mkdir -p "$2/lists/partial" "$2/archives/partial" "$4"
cache=$(cd "$2" && pwd)
dest=$(cd "$4" && pwd)

fail() { echo "debian-package: $*" >&2; exit 1; }

# Only the distribution's own sources: others rarely carry a second architecture.
sources=
for file in /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list \
            /etc/apt/sources.list.d/ubuntu.sources; do
    if [ -s "$file" ]; then sources=$file; break; fi
done
[ -n "$sources" ] || fail "no Debian package source is configured on this machine"

: > "$cache/status"
apt() {
    apt-get -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" \
        -o Dir::State="$cache" -o Dir::State::lists="$cache/lists" \
        -o Dir::State::status="$cache/status" \
        -o Dir::Cache="$cache" -o Dir::Cache::archives="$cache/archives" \
        -o Dir::Etc::sourceparts=/dev/null -o Dir::Etc::sourcelist="$sources" \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
        -o Acquire::Languages=none -o Acquire::Retries=3 -o APT::Sandbox::User=root "$@"
}

name=${package%%=*}
stamp=$dest/.unpacked-$name
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$arch $package" ]; then exit 0; fi

deb() { find "$cache/archives" -name "${name}_*_$arch.deb" | sort | tail -n 1; }
if [ -z "$(deb)" ]; then
    apt update || fail "could not read the $arch package lists"
    (cd "$cache/archives" && apt download "$package") \
        || fail "could not download $package for $arch"
fi
dpkg-deb -x "$(deb)" "$dest" || fail "could not unpack $(deb)"
echo "$arch $package" > "$stamp"
