# Everything the project does, each with all the set-up it needs. `make help` lists it.
#
# It expects Rust, a C++ compiler, Node with npm, and Python 3. The rest it installs: npm and pip packages
# into this folder, Debian packages (only for `make test`: a browser, Redis, and venv where Python lacks it)
# with apt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

TARGET := $(or $(CARGO_TARGET_DIR),target)
PYTHON := .venv/bin/python
CHROMIUM ?= $(or $(shell command -v chromium),/usr/bin/chromium)
REDIS ?= $(or $(shell command -v redis-server),/usr/bin/redis-server)
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help run demo build test test-rust test-e2e lint fmt bench clean

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: build ## run the hub with the demo at http://127.0.0.1:8080/
	$(TARGET)/release/pregon run --demo

demo: run ## the same as run

build: node_modules/.done ## the release binary, the browser client inside
	cargo build --release --locked

test: test-rust test-e2e ## all tests

test-rust: node_modules/.done
	cargo test --workspace --locked

test-e2e: node_modules/.done .venv/.done $(CHROMIUM) $(REDIS)
	cargo build --workspace --locked
	PREGON=$(abspath $(TARGET))/debug/pregon PYTHON=$(abspath $(PYTHON)) CHROMIUM=$(CHROMIUM) REDIS=$(REDIS) \
		node --test --test-concurrency=1 $(sort $(wildcard tests/e2e/*.test.mjs))

lint: ## formatting, clippy, documentation, scripts
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked --quiet
	for file in static/demo/*.js tests/e2e/*.mjs bench/peer/*.mjs; do node --check "$$file"; done

fmt: ## format the Rust sources
	cargo fmt --all

bench: build ## the hub beside Node, in one run; a table
	cargo run --release --locked -p bench -- --hub $(TARGET)/release/pregon

clean: ## what was built and installed here
	rm -rf target node_modules .venv bench/results

node_modules/.done: package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

.venv/.done: tests/requirements.txt tests/requirements-beaker-1.11.txt
	python3 -m venv .venv || { $(SUDO) apt-get update && $(SUDO) apt-get install -y python3-venv && python3 -m venv .venv; }
	.venv/bin/pip install --quiet -r tests/requirements.txt
	.venv/bin/pip install --quiet --target .venv/beaker-1.11 -r tests/requirements-beaker-1.11.txt
	touch $@

/usr/bin/chromium:
	$(SUDO) apt-get update
	$(SUDO) apt-get install -y --no-install-recommends chromium

/usr/bin/redis-server:
	$(SUDO) apt-get update
	$(SUDO) apt-get install -y --no-install-recommends redis-server
