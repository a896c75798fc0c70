#!/usr/bin/env bash
# Runs all fuzz targets side by side for FUZZ_SECONDS each (60 unless told). What was learnt is kept in
# target/fuzz/corpus and is the next run's start; what crashes or hangs is left in target/fuzz/found.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${FUZZ_SECONDS:-60}
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

python3 tests/fuzz/seeds.py "$target/seeds" tests/captures/sample.inside.pcap tests/captures/sample.outside.pcap
runs=()
for name in parse shard helpers fragments; do
    mkdir -p "$target/corpus/$name" "$target/found"
    "$target/$triple/release/$name" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=4096 \
        -print_final_stats=1 -verbosity=0 -artifact_prefix="$target/found/$name-" \
        "$target/corpus/$name" "$target/seeds/$name" >"$target/$name.log" 2>&1 &
    runs+=("$name:$!")
done
failed=0
for run in "${runs[@]}"; do
    if wait "${run#*:}"; then
        executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$target/${run%:*}.log")
        echo "fuzz ${run%:*}: $executed inputs in $seconds s, nothing found"
    else
        tail -n 40 "$target/${run%:*}.log"
        failed=1
    fi
done
exit $failed
