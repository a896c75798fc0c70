#!/usr/bin/env bash
# Runs all fuzz targets side by side. As it is, it plays the same inputs in each run: what it finds was not there before the
# change at hand. With a number it searches for so many seconds; what was learnt is kept in target/fuzz/corpus and is the
# next search's start. What crashes or hangs is left in target/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-}
target=${CARGO_TARGET_DIR:-target}/fuzz
triple=$(rustc -vV | sed -n 's/^host: //p')

# Coverage marks as cargo-fuzz sets them, but no sanitizer: those need a nightly compiler. A target triple keeps
# the marks out of build scripts.
coverage="-Cpasses=sancov-module -Ccodegen-units=1 --cfg fuzzing"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=" -Cllvm-args=-sanitizer-coverage-$option"
done
RUSTFLAGS=$coverage cargo build --quiet --locked --release --manifest-path tests/fuzz/Cargo.toml \
    --target "$triple" --target-dir "$target"

rm -rf "$target/seeds"
python3 tests/fuzz/seeds.py "$target/seeds" tests/captures/sample.inside.pcap tests/captures/sample.outside.pcap
# The order in which a fuzzer goes on depends on addresses that it compares, too, and on that of its seeds.
fixed=()
if setarch --addr-no-randomize true 2>/dev/null; then fixed=(setarch --addr-no-randomize); fi

runs=()
for named in parse:500000 shard:20000 helpers:20000 fragments:5000 install:5000; do
    name=${named%:*}
    corpus=$target/corpus/$name
    if [ -n "$seconds" ]; then
        how=(-max_total_time="$seconds")
    else
        corpus=$(mktemp -d "$target/fixed.XXXXXX")
        how=(-seed=1 -runs="${named#*:}")
    fi
    mkdir -p "$corpus" "$target/found"
    find "$target/seeds/$name" -type f | LC_ALL=C sort | paste -sd, >"$target/$name.seeds"
    "${fixed[@]}" "$target/$triple/release/$name" "${how[@]}" -timeout=60 -rss_limit_mb=2048 -max_len=4096 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$target/found/$name-" \
        -seed_inputs="@$target/$name.seeds" "$corpus" >"$target/$name.log" 2>&1 &
    runs+=("$name:$!")
done
failed=0
for run in "${runs[@]}"; do
    if wait "${run#*:}"; then
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$target/${run%:*}.log")
        echo "fuzz ${run%:*}: $executed inputs, nothing found"
    else
        tail -n 40 "$target/${run%:*}.log"
        failed=1
    fi
done
rm -rf "$target"/fixed.*
exit $failed
