# Quorate. `make` alone lists what there is. Every target does the set-up that it needs first: on Debian it installs what is
# missing, says what, and asks nothing (see .setup/setup).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# One target folder for every clone on this machine: the dependencies take a quarter of an hour to compile.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/quorate/target
# The C++ compiler for RocksDB (.setup/c++/cxx says why). The set-up copies it to a place that is the same for all clones: cargo compiles
# RocksDB again when the name changes. A CXX in the environment goes first. `eval "$(make --silent env)"` sets both for cargo alone.
ifeq ($(origin CXX),default)
export CXX := $(HOME)/.cache/quorate/c++/cxx
endif
# What the compiler would keep to compile a changed crate again faster took 14 GB of disk, where all else takes 5. `CARGO_INCREMENTAL=1 make build`
# has it, for those who change a crate over and over.
export CARGO_INCREMENTAL ?= 0
# `vat --version` names it. Only the program itself is linked again when it changes.
export QUORATE_COMMIT := $(shell git rev-parse --short=12 HEAD 2>/dev/null)
# Where rustup put cargo, for shells that have not read its environment file.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO := cargo
DENY := $(CARGO) deny
# The lock file is part of the source: a build never changes it.
LOCKED := --locked
# Always the whole workspace with its examples, also to build one thing: cargo gives dependencies the features that the chosen
# packages and targets ask for, and another choice would compile some of them, and our own crates, once more.
ALL := --workspace --bin vat --example demo
# `cargo build` and `cargo test` that say what a first build is at.
BUILD := .setup/cargo build $(LOCKED) $(ALL)

# Where engine/build.rs builds the image.
GUEST_TARGET := $(or $(QUORATE_GUEST_TARGET_DIR),$(patsubst %/,%,$(dir $(CARGO_TARGET_DIR)))/guest-target)

.PHONY: help setup env build web page demo test verify fmt-check clippy deny bench differential fuzz chaos sim sim-liars sim-plants handoff order-check audit-plants endo-suites swingset-patterns packages types upgrade-plants dist dist-test dist-machines references worst million alerts test262 fmt image flat

help: ## list the targets
	@echo 'make demo     set up, build, and show a testnet at work: messages, a lost machine, a swapped member, metrics'
	@echo 'make test     set up, and run every test'
	@echo 'make verify   what must pass before a change is merged: format, lints, tests, dependencies; it edits nothing'
	@echo 'make bench PARTS=names  measure the figures that docs and design promise, with the build that people install'
	@echo 'make differential SEEDS=n SEED=first  run random programs in Node and in a vat, and compare'
	@echo 'make fuzz RUNS=n TARGET=names          fuzz the decoders of what others send, or those named, n runs each, by libFuzzer'
	@echo 'make chaos MINUTES=n SEED=seed KINDS=names  kill, halt, cut off and damage real hosts under clients, and judge what these saw'
	@echo 'make sim SEEDS=n SEED=first WORLD=3@2 run simulated worlds; each seed is one schedule of faults, met again at will; 4@3~: slow disks'
	@echo 'make sim-liars SEEDS=n SEED=first     the same where as many hosts lie and lead as may: n seeds of 4@3, and a fifth of n of 7@5'
	@echo 'make sim-plants SEEDS=n               plant bugs in simulated replicas, and see which seed finds each'
	@echo 'make handoff PROGRAMS=n               run small programs over several vats in all interleavings, and n by chance'
	@echo 'make order-check WALKS=n                look at all states of small worlds of the order protocol, hunt planted errors, and walk n times by chance'
	@echo 'make audit-plants PLANTS=names        take each defence out of the engine image, and see which attempts of the audit get through'
	@echo 'make upgrade-plants PLANTS=names      take each check and defence of upgrades out, and see which test finds it'
	@echo 'make endo-suites ENDO=folder          run the tests of Endo in vats; swingset-patterns AGORIC=folder, packages, types: testnet/suites/README.md'
	@echo 'make references                       exchange a million references between two and among three vats, and print the figures'
	@echo 'make worst MINUTES=n                  have a sender do its worst beside an honest one, n minutes for each of four kinds'
	@echo 'make million CALLS=n                  make a million (n) ordinary calls, and print heap and tables on the way'
	@echo 'make flat CALLS=n                     send a million (n) messages, and draw memory and disk of the hosts: flat.csv, flat.svg'
	@echo 'make alerts                           have alerts fire on a testnet with a real Prometheus, after as long a time as they really take: a quarter of an hour'
	@echo 'make test262 TEST262=folder           run the parts of a checkout of tc39/test262 that concern vats'
	@echo 'make build    build the `vat` command, and say where it is'
	@echo 'make dist     make the packages that people install: dist/quorate-*.tar.gz and a .deb'
	@echo 'make dist-test  make them, and run the session of the README from the tarball, without a toolchain'
	@echo 'make dist-machines  install them on four machines with systemd (containers), by the commands of testnet/deploy/README.md; as root'
	@echo 'make web      compile the client that checks in the page to node/web/js/quorate_web.wasm'
	@echo 'make page     put the example of a page that trusts no host, with all it needs, into one folder'
	@echo 'make fmt      format the sources'
	@echo 'make image    build the engine image anew and record its hash in engine/image.sha256'
	@echo 'make env      what to export before running cargo itself: eval "$$(make --silent env)"'
	@echo 'make setup    only the set-up; `.setup/setup --check` says what is missing'
	@echo
	@echo 'The first build takes about 20 minutes on two cores, a third of it RocksDB; later ones take seconds.'
	@echo 'Build products go to $(CARGO_TARGET_DIR); set CARGO_TARGET_DIR for another place.'

setup: ## what building needs
	@.setup/setup

env: ## what to set for running cargo itself with the products of this Makefile
	@echo "export CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)' CXX='$(CXX)'"

build: setup
	@$(BUILD)
	@echo '$(CARGO_TARGET_DIR)/debug/vat'

# A folder of its own, and the command alone: with the other packages of the workspace it would have features that only tests need.
DIST_TARGET := $(CARGO_TARGET_DIR)/packages
# The C++ library and GCC's are linked into the program: a folder that has only their archives comes before those that have more.
DIST_ARCHIVES := $(DIST_TARGET)/archives

dist: setup
	@mkdir -p '$(DIST_ARCHIVES)'
	@ln -sf "$$(c++ -print-file-name=libstdc++.a)" '$(DIST_ARCHIVES)/libstdc++.a'
	@ln -sf "$$(cc -print-file-name=libgcc_eh.a)" '$(DIST_ARCHIVES)/libgcc_s.a'
	@CARGO_TARGET_DIR='$(DIST_TARGET)' QUORATE_PROFILE=dist QUORATE_GUEST_TARGET_DIR='$(GUEST_TARGET)' \
		.setup/cargo rustc $(LOCKED) --profile dist --package quorate-cli --bin vat -- -L 'native=$(DIST_ARCHIVES)'
	@testnet/deploy/package '$(DIST_TARGET)/dist/vat' dist

dist-test: dist
	@testnet/deploy/check dist

# Not a part of `make test`: it needs root, debootstrap and systemd-nspawn.
dist-machines: dist
	@testnet/deploy/check-machines dist

# The client that checks in the page.
web: setup
	@$(CARGO) build $(LOCKED) --profile web --target wasm32-unknown-unknown --manifest-path node/web/Cargo.toml --target-dir '$(CARGO_TARGET_DIR)/web'
	@cp '$(CARGO_TARGET_DIR)/web/wasm32-unknown-unknown/web/quorate_web.wasm' node/web/js/
	@echo node/web/js/quorate_web.wasm

# The example of a page that trusts no host, for any web server.
page: web
	@testnet/examples/programs/page/collect '$(CARGO_TARGET_DIR)/page' node/web/js/quorate_web.wasm
	@echo '$(CARGO_TARGET_DIR)/page'

demo: setup
	@$(BUILD)
	@VAT='$(CARGO_TARGET_DIR)/debug/vat' '$(CARGO_TARGET_DIR)/debug/examples/demo'

# Built first, apart: what is printed once a minute is of the build.
test: setup
	@.setup/cargo test $(LOCKED) --workspace --no-run
	@$(CARGO) test $(LOCKED) --workspace --no-fail-fast --config 'target."cfg(all())".runner = ["$(CURDIR)/.setup/bounded"]'

verify: setup fmt-check clippy test deny
	@if $(DENY) --version >/dev/null 2>&1; then \
		echo 'verify: all is well'; \
	else \
		echo 'verify: format, lints and tests are well; dependencies were NOT checked, for want of cargo-deny'; \
	fi

fmt-check: setup
	@$(CARGO) fmt --all --check || { echo 'verify: run `make fmt`' >&2; exit 1; }
	@if [ -f engine/guest/Cargo.toml ]; then $(CARGO) fmt --manifest-path engine/guest/Cargo.toml --check || { echo 'verify: run `make fmt`' >&2; exit 1; }; fi

# The guest is a workspace of its own, for another target, over crates that the build of the engine has patched.
clippy: setup
	@$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	@cd engine/guest && CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/guest-lints' $(CARGO) clippy $(LOCKED) --target wasm32-wasip1 \
		--config 'source.crates-io.replace-with="patched"' --config "source.patched.directory=\"$$($(CURDIR)/engine/build/patch-series sources '$(GUEST_TARGET)')\"" -- -D warnings

# Licences, advisories, sources and bans of dependencies: deny.toml.
deny: setup
	@if $(DENY) --version >/dev/null 2>&1; then \
		$(DENY) --locked check && \
		$(DENY) --locked --manifest-path engine/guest/Cargo.toml --config deny.toml check; \
	else \
		echo 'verify: cargo-deny is not installed, so dependencies go unchecked; install it by `cargo install --locked cargo-deny`' >&2; \
	fi

# The interpreter once more, compiled for this machine, from the sources that the engine's build has patched: for comparison.
NATIVE_MICRO := $(CARGO_TARGET_DIR)/native-micro

# What people run: the profile of the packages, with its own build of all dependencies.
BENCH_TARGET := $(CARGO_TARGET_DIR)/bench

bench: setup
	@CARGO_TARGET_DIR='$(BENCH_TARGET)' QUORATE_PROFILE=dist QUORATE_GUEST_TARGET_DIR='$(GUEST_TARGET)' \
		.setup/cargo build $(LOCKED) --profile dist --workspace --bin vat --example bench
	@cd engine/build/native-micro && CARGO_TARGET_DIR='$(NATIVE_MICRO)' $(CARGO) build $(LOCKED) --release \
		--config 'source.crates-io.replace-with="patched"' --config "source.patched.directory=\"$$($(CURDIR)/engine/build/patch-series sources '$(GUEST_TARGET)')\""
	@NATIVE_MICRO='$(NATIVE_MICRO)/release/native-micro' VAT='$(BENCH_TARGET)/dist/vat' '$(BENCH_TARGET)/dist/examples/bench' $(PARTS)

MINUTES ?= 10
CALLS ?= 1000000

worst million: setup
	@.setup/cargo build $(LOCKED) --workspace --bin vat --example worst
	@VAT='$(CARGO_TARGET_DIR)/debug/vat' '$(CARGO_TARGET_DIR)/debug/examples/worst' $(if $(filter worst,$@),attacks '$(MINUTES)',calls '$(CALLS)')

flat: setup
	@.setup/cargo build $(LOCKED) --workspace --bin vat --example worst
	@VAT='$(CARGO_TARGET_DIR)/debug/vat' '$(CARGO_TARGET_DIR)/debug/examples/worst' flat '$(CALLS)'

SEEDS ?= 1000
SEED ?= 1

differential: setup
	@$(CARGO) build $(LOCKED) --workspace --example differential
	@'$(CARGO_TARGET_DIR)/debug/examples/differential' '$(SEED)' '$(SEEDS)'

RUNS ?= 1000000
TARGET ?=

# The decoders alone are compiled with counters; all else is what other targets have built.
fuzz: setup
	@RUSTC_WORKSPACE_WRAPPER='$(CURDIR)/testnet/fuzz/instrument' .setup/cargo build $(LOCKED) --workspace --features quorate-fuzz/libfuzzer --bin decoder
	@testnet/fuzz/run '$(CARGO_TARGET_DIR)/debug/decoder' '$(RUNS)' $(TARGET)

KINDS ?=

chaos: setup
	@.setup/cargo build $(LOCKED) --workspace --bin vat --example chaos
	@VAT='$(CARGO_TARGET_DIR)/debug/vat' '$(CARGO_TARGET_DIR)/debug/examples/chaos' "$$(( $(MINUTES) * 60 ))" $(if $(or $(KINDS),$(filter-out file default,$(origin SEED))),'$(SEED)' $(KINDS))

PROGRAMS ?= 20000

handoff: setup
	@QUORATE_PROGRAMS='$(PROGRAMS)' $(CARGO) test $(LOCKED) --workspace --lib handoff_check -- --nocapture

WALKS ?= 20000

# The crate alone: it is small, and optimised for this.
order-check: setup
	@QUORATE_ORDER_CHECK=1 QUORATE_WALKS='$(WALKS)' $(CARGO) test $(LOCKED) --release -p quorate-order -- --nocapture --test-threads 1

PLANTS ?=

# Another image is built for it: four minutes of one core, once for each change of engine/guest. Not part of `make test` for that.
audit-plants: setup
	@engine/tests/audit/plants/run $(PLANTS)

# All plants are in one build, of a copy of the last commit.
upgrade-plants: setup
	@testnet/tests/upgrade_plants/run $(PLANTS)

FLAGS ?=
PACKAGES ?=
SUITE = $(BUILD) && VAT='$(CARGO_TARGET_DIR)/debug/vat' node testnet/suites

endo-suites: setup
	@test -n '$(ENDO)' || { echo 'make endo-suites: name a checkout: git clone https://github.com/endojs/endo, then make endo-suites ENDO=endo' >&2; exit 1; }
	@$(SUITE)/endo.mjs '$(ENDO)' $(FLAGS)

swingset-patterns: setup
	@test -n '$(AGORIC)' || { echo 'make swingset-patterns: name a checkout: git clone https://github.com/Agoric/agoric-sdk, then make swingset-patterns AGORIC=agoric-sdk' >&2; exit 1; }
	@$(SUITE)/swingset.mjs '$(AGORIC)'

packages: setup
	@$(SUITE)/packages.mjs $(PACKAGES)

types: setup
	@$(SUITE)/types.mjs

references: setup
	@QUORATE_REFERENCES=1000000 $(CARGO) test $(LOCKED) --workspace --test references -- --nocapture --test-threads 1

# Built with all that the test starts.
alerts: setup
	@.setup/cargo build $(LOCKED) --workspace --bin vat --example vat_under_test
	@QUORATE_ALERTS=1 $(CARGO) test $(LOCKED) --workspace --test monitoring -- --nocapture --test-threads 1

WORLD ?= 3@2

sim: setup
	@$(CARGO) build $(LOCKED) --workspace --bin quorate-sim
	@'$(CARGO_TARGET_DIR)/debug/quorate-sim' many '$(SEED)' '$(SEEDS)' '$(WORLD)'

sim-liars: setup
	@$(CARGO) build $(LOCKED) --workspace --bin quorate-sim
	@'$(CARGO_TARGET_DIR)/debug/quorate-sim' many '$(SEED)' '$(SEEDS)' '4@3!'
	@'$(CARGO_TARGET_DIR)/debug/quorate-sim' many '$(SEED)' "$$(( ($(SEEDS) + 4) / 5 ))" '7@5!'

sim-plants: setup
	@testnet/sim/plants/run '$(SEEDS)'

test262: setup
	@test -n '$(TEST262)' || { echo 'make test262: name a checkout of the suite: git clone https://github.com/tc39/test262, then make test262 TEST262=test262' >&2; exit 1; }
	@$(CARGO) build $(LOCKED) --workspace --example test262
	@'$(CARGO_TARGET_DIR)/debug/examples/test262' '$(TEST262)'

fmt: setup
	@$(CARGO) fmt --all
	@$(CARGO) fmt --manifest-path engine/guest/Cargo.toml

image: setup
	@touch engine/build.rs
	@QUORATE_ACCEPT_IMAGE=1 $(BUILD)
	@echo "engine image $$(cut -d' ' -f1 engine/image.sha256)"
