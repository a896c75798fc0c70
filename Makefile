# The commands of Sluice. Each installs what it needs (deploy/dependencies.sh) and may be run as it is
# on a new Debian 12 machine that has Rust and gcc.

.PHONY: build release-pgo deb demo demo-ha test fuzz instructions bench lint
DEPENDENCIES = deploy/dependencies.sh
TARGET = $(or $(CARGO_TARGET_DIR),target)
TRIPLE = x86_64-unknown-linux-gnu
PGO = $(TARGET)/pgo/$(TRIPLE)/release
# Runs what cargo tests under valgrind: the memory module has unsafe code, and Miri needs a nightly compiler.
VALGRIND = CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="valgrind --quiet --error-exitcode=1"

# Of the same version as the library in Cargo.toml.
GUNGRAUN = 0.20.0

build:
	$(DEPENDENCIES) build
	cargo build --release --workspace

# Built by a profile of what it does most (profile-guided optimisation).
release-pgo:
	$(DEPENDENCIES) build pgo
	deploy/release-pgo.sh $(TARGET)/pgo

# What the program says of itself goes into the package with it.
deb: release-pgo
	rm -rf target/deb && mkdir -p target/deb/completions
	$(PGO)/sluice man --all target/deb/man
	$(PGO)/sluice completions bash > target/deb/completions/sluice
	$(PGO)/sluice completions zsh > target/deb/completions/_sluice
	$(PGO)/sluice completions fish > target/deb/completions/sluice.fish
	$(PGO)/sluice schema > target/deb/schema.json
	cargo deb --version >/dev/null 2>&1 || cargo install --locked cargo-deb --version 3.8.0
	CARGO_TARGET_DIR=$(TARGET)/pgo cargo deb -p sluice --no-build --no-strip --target $(TRIPLE) --output target/debian/

demo:
	$(DEPENDENCIES) build
	cargo build --release -p sluice
	deploy/demo.sh $(TARGET)/release/sluice

# Needs root, for network namespaces.
demo-ha:
	$(DEPENDENCIES) build demo_ha
	cargo build --release -p sluice
	deploy/demo-ha.sh $(TARGET)/release/sluice

test:
	$(DEPENDENCIES) build test
	tests/fuzz/run.sh
	$(VALGRIND) cargo test -p sluice-memory --lib
	$(MAKE) instructions
	cargo test --workspace --no-fail-fast

# Searches for inputs that nobody thought of, for FUZZ_SECONDS.
fuzz:
	$(DEPENDENCIES) build test
	tests/fuzz/run.sh $(or $(FUZZ_SECONDS),600)

# Instructions a packet: fails where they are over what bench/instructions/ allows.
instructions:
	$(DEPENDENCIES) build test
	mkdir -p target/bench
	target/tools/bin/gungraun-runner --version 2>/dev/null | grep -qF $(GUNGRAUN) \
		|| cargo install --quiet --locked --root target/tools gungraun-runner --version $(GUNGRAUN)
	GUNGRAUN_RUNNER=$(CURDIR)/target/tools/bin/gungraun-runner cargo bench --quiet -p sluice-instructions \
		-- --output-format=json > target/bench/instructions.json \
		|| { echo "a packet takes more instructions than bench/instructions/ allows" >&2; exit 1; }

bench:
	$(DEPENDENCIES) build bench
	$(MAKE) instructions
	cargo build --release -p sluice-bench --bins
	$(TARGET)/release/bench --instructions target/bench/instructions.json

lint:
	$(DEPENDENCIES) build lint
	cargo fmt --all --check
	cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --manifest-path tests/fuzz/Cargo.toml --all-targets -- -D warnings
	cargo test -p sluice-tests --test house
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny --version 0.20.2
	cargo deny check licenses bans sources
	cargo deny --manifest-path tests/fuzz/Cargo.toml --config deny.toml check licenses bans sources
	git ls-files '*.sh' .ci/run | xargs shellcheck
