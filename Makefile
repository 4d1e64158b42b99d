# Midspan. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# Tools are built once, from tools/go.mod and tools/jaeger/go.mod, and kept here by version.
MIDSPAN_CACHE ?= $(CURDIR)/.cache
export CHROMIUM ?= /usr/bin/chromium
FUZZTIME ?= 10s
OUT ?= $(CURDIR)/docs/screenshots
BENCH ?= .
BENCHCOUNT ?= 1

version = $(shell awk '{ sub("^require ", "") } $$1 == "$(2)" && $$2 ~ /^v/ { print $$2; exit }' $(1)/go.mod)
JAEGER := $(MIDSPAN_CACHE)/bin/jaeger-$(call version,tools/jaeger,github.com/jaegertracing/jaeger)
LINT := $(MIDSPAN_CACHE)/bin/golangci-lint-$(call version,tools,github.com/golangci/golangci-lint/v2)
GOTESTSUM := $(MIDSPAN_CACHE)/bin/gotestsum-$(call version,tools,gotest.tools/gotestsum)
NODE_MODULES := dashboard/node_modules/.package-lock.json

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "%-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the static binary bin/midspan
	CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o bin/midspan ./cmd/midspan

.PHONY: test
test: test-go test-durability fuzz test-dashboard e2e ## Run every test: Go with the race detector, fuzzing, the dashboard, a real browser, a real Jaeger

.PHONY: test-go
test-go: $(GOTESTSUM) ## Run the Go tests with the race detector, and the checks of deploy/
	$(GOTESTSUM) --format standard-quiet -- -race -count 1 ./...
	cd tools/deploy && $(GOTESTSUM) --format standard-quiet -- ./...

# How often each proof of durability runs: in make test, and in make soak.
PROOFS = MIDSPAN_KILLS=30 MIDSPAN_FAULTS=200 MIDSPAN_CUTS=20 MIDSPAN_DAMAGES=500 MIDSPAN_FLAPS=1m MIDSPAN_ATTACKS=1
SOAK_PROOFS = MIDSPAN_KILLS=1000 MIDSPAN_FAULTS=2000 MIDSPAN_CUTS=500 MIDSPAN_DAMAGES=10000 MIDSPAN_FLAPS=15m MIDSPAN_ATTACKS=100

DURABILITY = ^Test(Kill|Faults|PowerCut|Damage|Flaps|Attacks)$$

.PHONY: test-durability
test-durability: $(GOTESTSUM) ## Kill, fail, cut the power of and damage the log, let a forward target flap, attack the receiver (docs/DURABILITY.md)
	$(PROOFS) $(GOTESTSUM) --format standard-verbose -- -count 1 -timeout 15m -run '$(DURABILITY)' ./internal/eventlog/sqlite ./internal/forward ./internal/receiver

.PHONY: soak-durability
soak-durability: $(GOTESTSUM) ## The same, for as long as it takes
	$(SOAK_PROOFS) $(GOTESTSUM) --format standard-verbose -- -count 1 -timeout 5h -run '$(DURABILITY)' ./internal/eventlog/sqlite ./internal/forward ./internal/receiver

.PHONY: test-dashboard
test-dashboard: $(NODE_MODULES) ## Run the dashboard's unit tests
	npm --prefix dashboard test

.PHONY: e2e
e2e: build jaeger chromium $(NODE_MODULES) $(GOTESTSUM) ## Run the built binary against a real Jaeger, Node and Chromium
	go run ./e2e/withdemo -bin bin/midspan -- npm --prefix dashboard run e2e
	go run ./e2e/withload -- npm --prefix dashboard run load
	MIDSPAN_BIN=$(CURDIR)/bin/midspan MIDSPAN_JAEGER=$(JAEGER) \
		$(GOTESTSUM) --format standard-verbose -- -tags e2e -count 1 -timeout 20m ./e2e/...

.PHONY: lint
lint: $(LINT) $(NODE_MODULES) ## Lint Go and the dashboard
	$(LINT) run ./...
	$(LINT) run --build-tags e2e ./e2e/...
	cd tools/deploy && $(LINT) run ./...
	npm --prefix dashboard run check

.PHONY: fmt
fmt: $(LINT) $(NODE_MODULES) ## Format Go and the dashboard
	$(LINT) fmt ./...
	npm --prefix dashboard run format

.PHONY: bench
bench: build jaeger ## Run the benchmarks, those against a real Jaeger too; BENCH=regexp chooses, BENCHCOUNT=n repeats
	go test -run '^$$' -bench '$(BENCH)' -benchmem -count $(BENCHCOUNT) -timeout 60m ./...
	MIDSPAN_BIN=$(CURDIR)/bin/midspan MIDSPAN_JAEGER=$(JAEGER) \
		go test -tags e2e -run '^$$' -bench '$(BENCH)' -benchtime 1x -count $(BENCHCOUNT) -timeout 60m ./e2e/

.PHONY: fuzz
fuzz: ## Fuzz every decoder and parser, each for FUZZTIME (10s)
	bash .ci/fuzz $(MIDSPAN_CACHE)/fuzz $(FUZZTIME)

.PHONY: soak-fuzz
soak-fuzz: ## The same, each for ten minutes
	bash .ci/fuzz $(MIDSPAN_CACHE)/fuzz 10m

.PHONY: dashboard
dashboard: $(NODE_MODULES) ## Build the dashboard into dashboard/dist
	npm --prefix dashboard run build

.PHONY: check-dist
check-dist: $(NODE_MODULES) ## Check that dashboard/dist is what its source builds, byte for byte
	@before=$$(mktemp -d) && trap 'rm -rf "$$before"' EXIT && \
	cp -R dashboard/dist "$$before" && \
	npm --prefix dashboard run build && \
	diff -r "$$before/dist" dashboard/dist || \
	{ echo 'dashboard/dist is not what its source builds: run `make dashboard` and commit it' >&2; exit 1; }

.PHONY: soak
soak: soak-durability soak-fuzz build chromium $(NODE_MODULES) ## Hold the page's memory at 5,000 events a second for MINUTES (10), and a bridge's at 2,000 spans a second for SOAK (45m)
	MINUTES=$${MINUTES:-10} go run ./e2e/withload -- npm --prefix dashboard run load
	MIDSPAN_BIN=$(CURDIR)/bin/midspan MIDSPAN_SOAK=$${SOAK:-45m} go test -tags e2e -count 1 -timeout 5h -run TestSoak -v ./e2e/

.PHONY: screenshots
screenshots: build chromium $(NODE_MODULES) ## Take pictures of a running demo's dashboard into OUT (docs/screenshots)
	OUT=$(OUT) go run ./e2e/withdemo -bin bin/midspan -- npm --prefix dashboard run screenshots

.PHONY: jaeger
jaeger: $(JAEGER) ## Build the real Jaeger that the tests use (seven minutes the first time)

.PHONY: chromium
chromium:
	@test -x $(CHROMIUM) || { echo 'the browser tests need Chromium: apt-get install chromium, or CHROMIUM=/path/to/it' >&2; exit 1; }

.PHONY: clean
clean: ## Remove what was built, tools included
	rm -rf bin .cache dashboard/node_modules

# A lock, so that two makes do not build the same tool, and a rename, so that an interrupted build leaves nothing.
define build_tool
	@mkdir -p $(@D)
	cd $(1) && exec 9> $@.lock && flock 9 && { [[ -x $@ ]] || \
		{ CGO_ENABLED=0 nice go build -trimpath -ldflags='-s -w' -o $@.new $(2) && mv $@.new $@; }; }
endef

$(JAEGER):
	$(call build_tool,tools/jaeger,github.com/jaegertracing/jaeger/cmd/jaeger)

$(LINT):
	$(call build_tool,tools,github.com/golangci/golangci-lint/v2/cmd/golangci-lint)

$(GOTESTSUM):
	$(call build_tool,tools,gotest.tools/gotestsum)

$(NODE_MODULES): dashboard/package-lock.json
	npm --prefix dashboard ci --no-audit --no-fund
