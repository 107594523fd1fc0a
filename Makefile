# Everything the project does, each with all the set-up it needs. `make help` lists it.
#
# It expects Rust, a C++ compiler, Node with npm, and Python 3. The rest it installs: npm and pip packages
# into this folder, Debian packages (only for `make test`: a browser, Redis, and if missing
# venv and the headers of OpenSSL) with apt.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

TARGET := $(or $(CARGO_TARGET_DIR),target)
PYTHON := .venv/bin/python
CHROMIUM ?= $(or $(shell command -v chromium),/usr/bin/chromium)
OPENSSL ?= $(or $(shell command -v openssl),/usr/bin/openssl)
REDIS ?= $(or $(shell command -v redis-server),/usr/bin/redis-server)
# For rust_socketio, a client that the tests use; the hub does not.
OPENSSL_HEADERS := /usr/include/openssl/ssl.h
# Seconds for each fuzz target.
T ?= 60
CARGO_FUZZ := $(TARGET)/tools/bin/cargo-fuzz
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: help run demo build test test-rust test-e2e lint fmt bench strangers sessions fuzz clean

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

test-e2e: node_modules/.done .venv/.done $(CHROMIUM) $(REDIS) $(OPENSSL) $(OPENSSL_HEADERS)
	cargo build --workspace --examples --bins --locked
	cargo build --manifest-path tests/peers/rust-client/Cargo.toml --target-dir $(TARGET)/peers --locked
	PREGON=$(abspath $(TARGET))/debug/pregon PYTHON=$(abspath $(PYTHON)) CHROMIUM=$(CHROMIUM) REDIS=$(REDIS) OPENSSL=$(OPENSSL) \
		node --test --test-concurrency=1 $(sort $(wildcard tests/e2e/*.test.mjs))

lint: ## formatting, clippy, documentation, scripts
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo fmt --manifest-path tests/peers/rust-client/Cargo.toml --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked --quiet
	for file in static/demo/*.js tests/e2e/*.mjs tests/peers/*.mjs bench/*.mjs bench/peer/*.mjs; do node --check "$$file"; done

fmt: ## format the Rust sources
	cargo fmt --all
	cargo fmt --manifest-path tests/peers/rust-client/Cargo.toml

bench: build ## the hub beside Node, in one run; a table
	cargo run --release --locked -p bench -- --hub $(TARGET)/release/pregon

strangers: node_modules/.done .venv/.done ## what strangers cost: abandoned handshakes, a flood, large messages
	cargo build --workspace --locked
	PREGON=$(abspath $(TARGET))/debug/pregon PYTHON=$(abspath $(PYTHON)) node bench/strangers.mjs

sessions: build .venv/.done $(REDIS) ## what following sessions takes: logout to disconnect, lookups, CPU
	PREGON=$(abspath $(TARGET))/release/pregon PYTHON=$(abspath $(PYTHON)) REDIS=$(REDIS) node bench/sessions.mjs

fuzz: $(CARGO_FUZZ) ## each fuzz target for T=60 seconds, or some with FUZZ="session pickle"
	fuzz/run $(T) $(FUZZ)

clean: ## what was built and installed here
	rm -rf target node_modules .venv bench/results

$(CARGO_FUZZ):
	cargo install --locked --version 0.13.2 --root $(TARGET)/tools cargo-fuzz

node_modules/.done: package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

.venv/.done: tests/requirements.txt tests/requirements-beaker-1.11.txt tests/requirements-flask-session-0.5.txt tests/requirements-python-socketio-4.txt
	python3 -m venv .venv || { $(SUDO) apt-get update && $(SUDO) apt-get install -y python3-venv && python3 -m venv .venv; }
	.venv/bin/pip install --quiet -r tests/requirements.txt
	.venv/bin/pip install --quiet --target .venv/beaker-1.11 -r tests/requirements-beaker-1.11.txt
	.venv/bin/pip install --quiet --target .venv/flask-session-0.5 --no-deps -r tests/requirements-flask-session-0.5.txt
	.venv/bin/pip install --quiet --target .venv/python-socketio-4 -r tests/requirements-python-socketio-4.txt
	touch $@

/usr/bin/chromium:
	$(SUDO) apt-get update
	$(SUDO) apt-get install -y --no-install-recommends chromium

/usr/bin/redis-server:
	$(SUDO) apt-get update
	$(SUDO) apt-get install -y --no-install-recommends redis-server

$(OPENSSL_HEADERS):
	$(SUDO) apt-get update
	$(SUDO) apt-get install -y --no-install-recommends libssl-dev pkg-config

/usr/bin/openssl:
	$(SUDO) apt-get update
	$(SUDO) apt-get install -y --no-install-recommends openssl
