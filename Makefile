# All that is done with this repository: `make` lists it.
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
CARGO := cargo
# Where cargo puts its output; set CARGO_TARGET_DIR to move it.
TARGET := $(or $(CARGO_TARGET_DIR),target)
BIN := $(TARGET)/debug/genie-lm
CLUSTER := tools/cluster/cluster.sh
# Many tests wait: for a server, an operator, the end of a seat.
AT_ONCE := RUST_TEST_THREADS=$(or $(RUST_TEST_THREADS),$(shell echo $$((2 * $$(nproc)))))
# Tests that a plain `cargo test` leaves out (test = false), since they need a cluster.
DEEP_TESTS := $(patsubst tests/%/main.rs,--test %,$(wildcard tests/controlplane/main.rs tests/cluster/main.rs))

.PHONY: help build demo test model-check sim generate check-generated fmt fmt-check clippy deny advisories unit controlplane e2e-build e2e \
  e2e-long image helm-lint cluster-up cluster-down

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## The binary, quick to build: $(BIN)
	$(CARGO) build --locked

demo: build ## See it work on this machine: a server, three seats, and who gets them
	tools/demo.sh $(BIN)

test: ## All that is not called long, with the time of each part; stops at the first failure
	tools/test.sh

fmt: ## Format the code
	$(CARGO) fmt --all

fmt-check: ## The code is formatted
	$(CARGO) fmt --all --check

clippy: ## No lint in any target
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --locked $(DEEP_TESTS) -- -D warnings

deny: ## Licenses, sources and banned crates of the dependencies
	tools/deny.sh bans licenses sources

advisories: ## Known vulnerabilities of the dependencies; needs the network to fetch the database
	tools/deny.sh advisories

generate: build ## Write crds/, the chart's copy, deploy/ and the OpenAPI document
	tools/generate.sh write $(BIN)

check-generated: build ## The generated files are those that `make generate` writes
	tools/generate.sh check $(BIN)

helm-lint: ## The chart, with the helm that tools/cluster pins
	PATH="$$(tools/cluster/build.sh control-plane | tail -n 1):$$PATH" helm lint --strict charts/genie-lm

unit: ## Tests that need nothing: unit tests and tests/contract
	$(AT_ONCE) $(CARGO) test --locked --workspace

model-check: ## The long model check of the seat protocol: states, depth and time of each world; an hour
	GENIE_MODEL=long CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true $(CARGO) test --locked --release -p genie-ledger \
	  --test model -- --nocapture --test-threads 2

sim: ## Whole servers under faults, in memory: SEEDS=100000 worlds, or SEED=17 with its log
	$(if $(SEED),GENIE_SIM_SEED=$(SEED) $(CARGO) test --locked,GENIE_SIM_SEEDS=$(or $(SEEDS),10000) \
	  CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true CARGO_PROFILE_RELEASE_LTO=off $(CARGO) test --locked --release) \
	  -p genie-lm --lib server::sim::clients -- --nocapture

controlplane: ## Tests against a real API server, started for them (tests/controlplane)
	$(AT_ONCE) tools/controlplane.sh

e2e-build: ## What e2e and unit take long to build, before others wait for it
	tools/e2e.sh --build
	$(CARGO) test --locked --workspace --no-run

e2e: ## Tests with real pods: on KUBECONFIG's cluster, or on nodes of its own (root on Debian)
	tools/e2e.sh

e2e-long: ## With pods of its own: the API server is away for ten minutes; half an hour
	tools/e2e.sh --ignored --nocapture

image: ## The container image, with buildah
	tools/image/build.sh

cluster-up: ## A real Kubernetes on this machine: root on Debian
	tools/cluster/packages.sh
	$(CLUSTER) nodes up

cluster-down: ## Take it down
	$(CLUSTER) nodes down
