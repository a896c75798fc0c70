#!/usr/bin/env bash
# Replays the sample capture and shows what a stateful box makes of it: demo.sh SLUICE (the built command).
set -euo pipefail

sluice=$1
captures=tests/captures
out=target/demo
lines=32

mkdir -p "$out"
replay=("$sluice" replay -c "$captures/demo.yaml"
    --in "inside=$captures/sample.inside.pcap" --in "outside=$captures/sample.outside.pcap"
    --out "$out" --report "$out/report.json" --trace "$out/trace.jsonl")
"${replay[@]}" >"$out/table.txt" 2>"$out/summary.txt" || { cat "$out/summary.txt" >&2; exit 1; }

echo
echo "Tracked connections, as conntrack -L shows them (at most $lines here, all in $out/table.txt)"
echo
head -n "$lines" "$out/table.txt"
echo
cat "$out/summary.txt"
cat <<END

What to try next
  column -t $out/table.txt | less -S            the whole table
  head -n 3 $out/trace.jsonl               each packet: state, verdict, rule
  tcpdump -n -r $out/outside.pcap          what went out
  $sluice check $captures/demo.yaml      every setting; change one and replay again
  $sluice replay -c $captures/demo.yaml --in inside=YOURS.pcap --client-side inside
END
