#!/bin/sh
# Scores messages by all filters of migiwa that ask nobody: file names come on
# standard input, "file score" lines go out. MIGIWA names the program.
set -eu
xargs "${MIGIWA:-bin/migiwa}" --json filter check --no-dns |
	python3 -c 'import json, sys
for line in sys.stdin:
    r = json.loads(line)
    print(r["file"], r["score"])'
