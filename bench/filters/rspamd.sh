#!/bin/sh
# The same by rspamd with what it knows without asking anybody: no DNS, no fuzzy
# storage, no Redis.
set -eu
dir=$(mktemp -d)
port=$((21000 + $$ % 2000))
pid=
stop() {
	[ -z "$pid" ] || kill "$pid" 2>/dev/null || true
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap stop EXIT
cp -r /etc/rspamd "$dir/etc"
mkdir -p "$dir/etc/local.d" "$dir/etc/override.d" "$dir/db" "$dir/run"
echo "dns { nameserver = [\"127.0.0.1:1\"]; timeout = 0.01s; retransmits = 1; } local_addrs = [];" >"$dir/etc/override.d/options.inc"
echo "bind_socket = \"127.0.0.1:$port\"; count = 2;" >"$dir/etc/override.d/worker-normal.inc"
for worker in controller proxy fuzzy; do echo "enabled = false;" >"$dir/etc/override.d/worker-$worker.inc"; done
for module in rbl surbl spf dkim arc dmarc asn fuzzy_check mid reputation neural ratelimit greylist phishing_feeds; do
	echo "enabled = false;" >"$dir/etc/override.d/$module.conf"
done
rspamd -f -i -c "$dir/etc/rspamd.conf" --var="CONFDIR=$dir/etc" --var="LOCAL_CONFDIR=$dir/etc" --var="DBDIR=$dir/db" --var="RUNDIR=$dir/run" --var="LOGDIR=$dir" >"$dir/log" 2>&1 &
pid=$!
for _ in $(seq 60); do # it compiles its patterns first
	curl -sS "http://127.0.0.1:$port/ping" >/dev/null 2>&1 && break
	sleep 1
done
while read -r name; do
	printf '%s ' "$name"
	curl -sS --data-binary "@$name" "http://127.0.0.1:$port/checkv2" | python3 -c 'import json, sys; print(json.load(sys.stdin).get("score", 0))'
done
