# The commands of the README. They need Rust, Go, Python 3 (with venv) and make; everything else comes from the package registries.
PYTHON ?= python3
CLUSTER ?=
SOAK ?= 1
STACK = $(PYTHON) deploy/local/stack.py
# The tests of the pure core compute: a little optimization of this crate, and of no other, saves more than it costs to compile.
OPTIMIZED = --config profile.dev.package.bucketconnection.opt-level=1

.PHONY: help run up down test live live-clean soak lint docs baseline crds bench bench-data image sbom clean

help: ## Prints this text
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: ## Runs the operator on a local cluster and AWS emulator, until Ctrl-C; CLUSTER=<kubeconfig> uses that cluster instead
	@$(PYTHON) deploy/local/run.py $(if $(CLUSTER),--cluster $(CLUSTER))

up: ## Starts only the local cluster and emulator, in the background; then: source target/local/env
	@$(STACK) up

down: ## Stops what `make up` started
	@$(STACK) down

test: ## Runs all tests: pure, wire, end-to-end and installation
	@$(PYTHON) tests/tools/build.py
	@$(PYTHON) tests/timed.py "cargo test $(OPTIMIZED) --no-default-features --lib --test plan --test tidy" "cargo test --lib --test apiserver --test aws --test faults --test install --test live --test cli --test data"

live: ## Runs the acceptance on a real AWS account: ACCOUNT=<12 digits> REGION=<region>; read docs/live.md first
	@program=$$($(PYTHON) tests/live/program.py) && exec "$$program" --run

live-clean: ## Lists and deletes what a killed `make live` left: ACCOUNT=<12 digits> REGION=<region>
	@program=$$($(PYTHON) tests/live/program.py) && exec "$$program" --clean

soak: ## Injects faults at every call of the operator, simulated and on the real stack; SOAK=<n>: n times as many random runs; writes docs/reliability.md; takes hours
	@$(STACK) build
	PROPTEST_CASES=$$((10000 * $(SOAK))) cargo test --no-default-features --test plan any_story
	PROPTEST_CASES=$$((500000 * $(SOAK))) cargo test --no-default-features --release --test plan fuzz
	cargo test --test apiserver by_the_clock -- --ignored --nocapture
	IMAGE_PROFILE=release cargo test --test install image::
	SOAK=$(SOAK) cargo test --test faults everything_simulated -- --ignored --nocapture
	cargo test --test faults every_call_of_every_scenario -- --ignored --nocapture
	cargo test --test install rights:: -- --ignored --nocapture

bench: ## Measures calls, times and memory, and writes docs/benchmarks.md; builds a release
	@$(STACK) build
	cargo bench --bench figures

bench-data: ## Measures copies against s5cmd on loopback, and prints the table of docs/data.md; builds a release
	@$(STACK) build
	@$(PYTHON) benches/data.py

lint: ## Checks formatting, clippy, rustdoc and, if installed, cargo-deny
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --no-default-features --lib -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny check; \
	else echo "cargo-deny is not installed: make test checks licenses, bans and sources, but advisories are not checked"; fi

image: ## Builds the container image without a daemon, into target/image: an OCI layout, a tar file, and the bill of materials
	@$(PYTHON) deploy/image/build.py

sbom: ## Writes the software bill of materials, as CycloneDX: target/bucketconnection.cdx.json
	$(PYTHON) deploy/sbom.py > target/bucketconnection.cdx.json

docs: ## Builds the site of docs/ in target/book
	@$(PYTHON) docs/site.py

baseline: ## Records the CRDs and a connection of this version in tests/released/, for the next versions (CONTRIBUTING.md, Releasing)
	@$(STACK) build
	cargo test --test apiserver released::record_this_version -- --ignored

crds: ## Writes crds/ from the Rust types
	@UPDATE=1 cargo test --quiet --no-default-features --test tidy crds

clean: ## Removes build output
	cargo clean
