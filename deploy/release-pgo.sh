#!/usr/bin/env bash
# Builds the release by a profile: release-pgo.sh DIRECTORY. The program is built with counters and put to work by the traffic of
# the benchmark, then built again with what was counted. Ends in DIRECTORY/x86_64-unknown-linux-gnu/release.
set -euo pipefail
cd "$(dirname "$0")/.."

directory=$(realpath -m "${1:?directory to build in}")
target=x86_64-unknown-linux-gnu
built=$directory/$target/release
raw=$directory/raw
merged=$directory/merged.profdata

# Which LLVM wrote the counters decides who can read them.
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=$(command -v "llvm-profdata-$llvm") || {
    echo "llvm-profdata-$llvm is not there: it reads what the compiler's LLVM $llvm counts (Debian's package llvm-$llvm)" >&2
    exit 1
}

# With --target the flag is for the program alone, not for what runs while it is built. Both builds are of the same packages:
# functions keep their names.
build() {
    cargo build --release --target "$target" --target-dir "$directory" \
        --config "target.$target.rustflags=['$1']" -p sluice -p sluice-bench "${@:2}"
}

# What routers and firewalls do all day: connections that are open, and ones that begin, translated and not.
train() {
    local connections=65536 captures=$directory/captures
    for snat in "" --snat; do
        rm -rf "$captures"
        "$built/traffic" "$captures" --connections "$connections" --new-connections "$connections" $snat
        for what in established new; do
            "$built/worker" "$what" "$captures" --connections "$connections" --core 0 --no-huge $snat >/dev/null
        done
    done
    rm -rf "$captures"
    "$built/micro" --connections "$connections" --new-connections "$connections" --shared-connections 0 --rounds 3 --no-huge >/dev/null
}

rm -rf "$raw"
build "-Cprofile-generate=$raw" --bin traffic --bin worker --bin micro
train
"$profdata" merge --output "$merged" "$raw"
build "-Cprofile-use=$merged" --bin sluice
