# SPDX-License-Identifier: Apache-2.0
# `make demo` and `make test` do all their set-up on a fresh Debian or Ubuntu machine with Rust on it.

CARGO ?= cargo
LOCKED := $(if $(CI),--locked)

.PHONY: help demo test test-cluster jars check web players setup-demo setup-test setup-bench unit e2e load bench bench-shield soak reference fuzz
.DEFAULT_GOAL := help

help:
	@echo "make demo     build, start a live channel from the sample ladder, and say where to watch it"
	@echo "make test     set-up, check, every test"
	@echo "make test-cluster  what of events needs three brokers, Flink, or longer"
	@echo "make bench    what packaging, rendering and serving cost, beside ffmpeg and nginx, as a table"
	@echo "make bench-shield  what the shield costs and how it bears trouble, beside nginx, HAProxy, Varnish, Traffic Server and Squid"
	@echo "make load     its last part: load on a real origin process"
	@echo "make soak     a day of input in minutes, and an origin killed a hundred times"
	@echo "make fuzz     every fuzz target for a minute (FUZZ_SECONDS)"
	@echo "make check    format, lints, licences"
	@echo "make reference  write docs/reference and the example configuration from the code"
	@echo "make web      build the watch page into web/dist"
	@echo "make players  install the players that the end-to-end tests drive"
	@echo "HEADWATER_LISTEN=ADDRESS:PORT make demo   listen elsewhere"

demo: setup-demo
	@scripts/demo.sh

# One feature set for every cargo line (--workspace), so that nothing is compiled twice; the end-to-end tests come
# last and use the program of the dev profile.
test: setup-test web
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory players jars
	@$(MAKE) --no-print-directory e2e

# Apart from the others, for they are long; .ci/run runs both.
test-cluster: setup-test web jars
	@scripts/jars.sh flink
	$(CARGO) build $(LOCKED) --workspace --bins --tests
	$(CARGO) test $(LOCKED) --workspace --test e2e -- cluster:: --test-threads 1 $(CLUSTER)

check:
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy $(LOCKED) --workspace --all-targets -- -D warnings
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --log-level error check bans licenses sources; else echo "check: cargo-deny is not installed, licences and bans are skipped"; fi

unit:
	$(CARGO) build $(LOCKED) --workspace --bins --tests
	$(CARGO) test $(LOCKED) --workspace --doc
	$(CARGO) test $(LOCKED) --workspace --exclude headwater-tests --lib --bins --tests
	$(CARGO) test $(LOCKED) --workspace --test house

e2e:
	$(CARGO) build $(LOCKED) --workspace --bins --tests
ifdef E2E
	$(CARGO) test $(LOCKED) --workspace --test e2e -- $(E2E)
else
# Browsers come last and one by one: beside encoders on two cores they would stall for want of a processor.
	$(CARGO) test $(LOCKED) --workspace --test e2e -- --skip players:: --skip cluster:: --test-threads 4
	$(CARGO) test $(LOCKED) --workspace --test e2e -- players:: --test-threads 1
endif

setup-demo:
	@scripts/setup.sh demo

setup-test:
	@scripts/setup.sh test

setup-bench:
	@scripts/setup.sh bench

# npm writes .package-lock.json when an install is whole, so it is the stamp.
%/node_modules/.package-lock.json: %/package-lock.json %/package.json
	cd $* && npm ci --no-audit --no-fund
	@touch $@

web: web/dist/index.html

web/dist/index.html: web/node_modules/.package-lock.json web/build.mjs $(wildcard web/src/*)
	cd web && npm run build
	@touch $@

# The brokers that tests run.
jars:
	@scripts/jars.sh kafka

players: tests/players/node_modules/.package-lock.json

bench: setup-bench
	$(CARGO) bench $(LOCKED) --profile release -p headwater-packager --bench fragmenter -p headwater-manifests --bench playlists -p headwater-shield --bench store
	@$(MAKE) --no-print-directory load

# A test fails where the committed reference is another.
reference:
	$(CARGO) run $(LOCKED) --quiet --package headwater -- reference .

# What ships is what is measured: the dist profile. LOAD="latency channel" runs these alone.
# Those of `events` with Kafka need what `make jars` fetches.
load:
	$(CARGO) build $(LOCKED) --profile dist --package headwater --package headwater-tests --bins
	@ulimit -n 65536 2>/dev/null || ulimit -n $$(ulimit -Hn); $${CARGO_TARGET_DIR:-target}/dist/headwater-load $${CARGO_TARGET_DIR:-target}/dist/headwater $(LOAD)

# LOAD="hits nginx headwater" runs one scenario with these servers alone. The tables are Markdown.
bench-shield: setup-bench
	$(CARGO) build $(LOCKED) --profile dist --package headwater --package headwater-tests --bins
	@ulimit -n 65536 2>/dev/null || ulimit -n $$(ulimit -Hn); $${CARGO_TARGET_DIR:-target}/dist/headwater-load shield $${CARGO_TARGET_DIR:-target}/dist/headwater $(LOAD) | tee $${CARGO_TARGET_DIR:-target}/bench-shield.md

soak:
	$(CARGO) test $(LOCKED) --release -p headwater-origin --test rows -- --ignored --nocapture soak::
	$(CARGO) build $(LOCKED) --workspace --bins --tests
	HEADWATER_KILLS=$${HEADWATER_KILLS:-100} $(CARGO) test $(LOCKED) --workspace --test e2e -- kills:: --nocapture

FUZZ_SECONDS ?= 60

fuzz:
	@scripts/fuzz.sh $(FUZZ_SECONDS)
