#!/bin/sh
# Trains bogofilter on the files below $TRAIN, then judges those named on its
# standard input: a command for `filters evaluate --command`. TAUGHT=N trains on
# the N files only that come first in an order that is shuffled but fixed.
set -eu
bogofilter=${BOGOFILTER:-$(command -v bogofilter || command -v bogofilter-bdb)}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
find "$TRAIN" -type f | sort | awk -v seed="${SEED:-1}" 'BEGIN { srand(seed) } { print rand() "\t" $0 }' |
	sort | cut -f2 | head -n "${TAUGHT:-1000000}" >"$dir/list"
grep /spam/ "$dir/list" | "$bogofilter" -d "$dir" -b -s
grep /ham/ "$dir/list" | "$bogofilter" -d "$dir" -b -n
"$bogofilter" -d "$dir" -b -TT || [ $? -le 2 ]
