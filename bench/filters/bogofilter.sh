#!/bin/sh
# Trains bogofilter on the files below $TRAIN, then judges those named on its
# standard input: a command for `filters evaluate --command`. TAUGHT=N trains on
# the N files only that come first in an order that SEED shuffles.
#
# Where there is no bogofilter, Debian's is downloaded and unpacked as by
# scripts/test-deps, below the same directory; its libraries are installed when
# this runs as root.
set -eu
peers=${MIGIWA_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/migiwa/peers}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

fetch() {
	mkdir -p "$dir/deb" "$peers/bogofilter"
	(cd "$dir/deb" && apt-get download -q -o APT::Sandbox::User=root bogofilter-bdb >&2)
	dpkg -x "$dir"/deb/*.deb "$peers/bogofilter"
	[ "$(id -u)" != 0 ] || apt-get install -y -q --no-install-recommends libdb5.3 libgsl27 >&2
}

bogofilter=$(command -v bogofilter || command -v bogofilter-bdb || echo "$peers/bogofilter/usr/bin/bogofilter-bdb")
[ -x "$bogofilter" ] || fetch

find "$TRAIN" -type f | sort | awk -v seed="${SEED:-1}" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' |
	sort | cut -f2 | head -n "${TAUGHT:-1000000}" >"$dir/list"
grep /spam/ "$dir/list" | "$bogofilter" -d "$dir" -b -s
grep /ham/ "$dir/list" | "$bogofilter" -d "$dir" -b -n
"$bogofilter" -d "$dir" -b -TT || [ $? -le 2 ]
