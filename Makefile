# SPDX-License-Identifier: Apache-2.0
# `make help` lists the targets. Everything Python lives in .venv, everything Rust in target.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV   := $(CURDIR)/.venv
BIN    := $(VENV)/bin
STAMPS := $(VENV)/stamps
ARGS   ?=

export PATH := $(PATH):$(HOME)/.cargo/bin
export VIRTUAL_ENV := $(VENV)
export PYO3_PYTHON := $(BIN)/python
unexport CONDA_PREFIX PYTHONHOME PYTHONPATH

MIN_PYTHON := $(shell sed -n 's/^requires-python = ">=\(.*\)"/\1/p' pyproject.toml)
MIN_RUST   := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
RUST       := Cargo.toml Cargo.lock $(shell find crates -name '*.rs' -o -name Cargo.toml 2>/dev/null)

DEMO_PACKAGES := iptables util-linux
TEST_PACKAGES := $(DEMO_PACKAGES) bpftool curl ethtool iproute2 libpcap0.8 nginx-light procps tcpdump xdp-tools

# As root, or in CI, a kernel test that is skipped has failed: nothing that can be tested goes untested unseen.
IS_ROOT  := $(filter 0,$(shell id -u))
PROMISED := $(if $(or $(CI),$(IS_ROOT)),--promised kernel)

# $(call debian,PACKAGES) installs those that are missing: as root where there is apt, else it only names them.
# A server among them (nginx) is not started: policy-rc.d is Debian's own way to say so.
define debian
missing=""; \
for package in $(1); do \
	dpkg-query -W -f='$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing+=" $$package"; \
done; \
if [ -z "$$missing" ]; then :; \
elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "installing$$missing"; \
	if [ ! -e /usr/sbin/policy-rc.d ]; then \
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT; \
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod 755 /usr/sbin/policy-rc.d; \
	fi; \
	apt-get update -qq; \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing </dev/null >/dev/null; \
else \
	echo "not installed (needs root and apt):$$missing" >&2; \
fi
endef

##@ To use it
.PHONY: build
build: $(STAMPS)/built ## build in release mode: leaves a working .venv/bin/offramp

.PHONY: demo
demo: build ## two virtual hosts, a flood, a bypass, and the kernel still serving (root; ARGS=--json)
	@$(call debian,$(DEMO_PACKAGES))
	$(BIN)/offramp demo $(ARGS)

##@ To work on it
.PHONY: all
all: lint wheel test-nic test ## what CI runs

.PHONY: test
test: build test-packages ## all tests: Rust, Python without root, and, as root, on real packets in network namespaces
	cargo test --locked --workspace --exclude offramp-py
	$(BIN)/python -m pytest -m 'not soak' tests/unit $(ARGS)
	$(BIN)/python -m pytest -m 'not soak' tests/kernel $(PROMISED) $(ARGS)

.PHONY: test-nic
test-nic: build test-packages ## real drivers under three kernels, in QEMU guests: docs/niclab.md (root; ARGS='--machine igb -k rss')
	$(BIN)/python -m lab.nic $(ARGS)

.PHONY: test-packages
test-packages:
	@$(call debian,$(TEST_PACKAGES))

.PHONY: lint
lint: build ## ruff, mypy --strict, stubtest, rustfmt, clippy: no warning is left standing
	@cargo fmt --version >/dev/null && cargo clippy --version >/dev/null || \
		{ echo "make lint needs rustfmt and clippy: rustup component add rustfmt clippy" >&2; exit 1; }
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/stubtest offramp._native --mypy-config-file pyproject.toml --allowlist tests/stubtest.allow --ignore-unused-allowlist
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

.PHONY: format
format: build ## let ruff and rustfmt rewrite the sources
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cargo fmt --all

.PHONY: man
man: build ## write the manual pages and docs/options.md anew: from what --help says, and the table of options
	$(BIN)/python packaging/man.py
	$(BIN)/python packaging/reference.py

.PHONY: wheel
wheel: build ## build a wheel and import it in a clean venv
	rm -rf dist
	$(BIN)/maturin build --release --locked --strip --interpreter $(BIN)/python --out dist
	clean=$$(mktemp -d); trap 'rm -rf "$$clean"' EXIT; \
	$(PYTHON) -m venv "$$clean"; \
	"$$clean"/bin/pip install --quiet --constraint requirements.lock dist/*.whl; \
	cd "$$clean"; \
	bin/python -c 'import offramp, offramp._native; print("imported offramp", offramp.__version__)'; \
	bin/offramp --help >/dev/null; \
	test -s share/man/man1/offramp-run.1; \
	test -n "$$(bin/offramp --show-completion bash)"
	@ls -sh dist/*.whl

.PHONY: bench
bench: build test-packages ## the figures of bench/RESULTS.md (root, minutes)
	$(BIN)/python -m bench $(ARGS)

.PHONY: soak
soak: build test-packages ## the tests that take minutes: millions of packets, thousands of rounds (root)
	$(BIN)/python -m pytest -m soak --timeout 3600 tests/unit tests/kernel $(PROMISED) $(ARGS)
	$(BIN)/python -m lab.nic -m soak --timeout 7200 tests/nic

.PHONY: fuzz
fuzz: build test-packages ## random matches and packets against libpcap, without end: Ctrl-C, and the next one goes on there (root)
	$(BIN)/python -m pytest -m fuzz --timeout 3600 --hypothesis-profile fuzz tests $(PROMISED) $(ARGS)
	$(BIN)/python -m tests.oracles.differential

.PHONY: lock
lock: ## renew requirements.lock and Cargo.lock: the newest versions that pyproject.toml and Cargo.toml allow
	fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; \
	$(PYTHON) -m venv "$$fresh"; \
	$(PYTHON) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		print(*p["dependencies"], *sum(p["optional-dependencies"].values(), []), sep="\n")' >"$$fresh/wanted"; \
	"$$fresh"/bin/pip install --quiet --requirement "$$fresh/wanted"; \
	{ sed -n '/^#/p' requirements.lock; "$$fresh"/bin/pip freeze; } >"$$fresh/lock"; \
	cp "$$fresh/lock" requirements.lock
	cargo update

.PHONY: clean
clean: ## remove all that was built, .venv included
	rm -rf .venv target dist .mypy_cache .pytest_cache .ruff_cache .hypothesis python/offramp/_native*.so
	find . -name __pycache__ -prune -exec rm -rf {} +

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The venv, in three steps that a second run skips: interpreter, pinned packages, our own extension.
$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(MIN_PYTHON)".split("."))))' || \
		{ echo "offramp needs Python >= $(MIN_PYTHON), but $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1 || true): name another with 'make PYTHON=python3.X ...'" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call debian,python3-venv); }
	$(PYTHON) -m venv --clear .venv
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/packages: requirements.lock $(STAMPS)/venv
	$(BIN)/pip install --quiet --requirement requirements.lock
	@touch $@

$(STAMPS)/built: pyproject.toml $(RUST) $(STAMPS)/packages
	@for tool in cargo rustc; do \
		found=$$($$tool --version 2>/dev/null | awk '{ print $$2 }') || true; \
		if [ -z "$$found" ] || ! printf '%s\n' $(MIN_RUST) "$${found%%-*}" | sort -CV; then \
			echo "offramp needs $$tool >= $(MIN_RUST), but found $${found:-none} (rustup installs it; 'rustup update'" \
				"renews it; looked in PATH and ~/.cargo/bin)" >&2; exit 1; \
		fi; \
	done
	@command -v cc >/dev/null || { $(call debian,gcc libc6-dev); }
	$(BIN)/maturin develop --release --locked
	@touch $@
