# The commands of Sluice. Each installs what it needs (deploy/dependencies.sh) and may be run as it is
# on a new Debian 12 machine that has Rust and gcc.

.PHONY: build test
DEPENDENCIES = deploy/dependencies.sh

build:
	$(DEPENDENCIES) build
	cargo build --release --workspace

test:
	$(DEPENDENCIES) build test
	cargo test --workspace
