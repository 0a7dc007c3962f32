# The targets are the whole interface; CONTRIBUTING.md says when to use which.

GO       ?= go
FUZZTIME ?= 60s
TOOLS     = $(GO) tool -modfile=tools/go.mod

export CGO_ENABLED = 0

.PHONY: build run test race fuzz e2e bench check docs

build:
	$(GO) build -trimpath -o bin/migiwa ./cmd/migiwa

run:
	$(GO) run ./cmd/migiwa demo

# Everything but the long runs, with the real peers the tests talk to. Those in
# test/ run the binary, whose changes Go's test cache does not see.
test:
	scripts/test-deps
	MIGIWA_REQUIRE_PEERS=1 $(GO) test -timeout 15m ./internal/... ./cmd/... ./bench/...
	MIGIWA_REQUIRE_PEERS=1 $(GO) test -count=1 -timeout 15m ./test/...

race: export CGO_ENABLED = 1
race:
	$(GO) test -race -timeout 30m ./...

# Each fuzz target for FUZZTIME.
fuzz:
	scripts/fuzz $(FUZZTIME)

# The real clients and servers, and the kill and disk-full runs at full length.
e2e:
	E2E=1 scripts/test-deps
	MIGIWA_REQUIRE_PEERS=1 MIGIWA_LONG=1 $(GO) test -count=1 -timeout 60m -v ./test/...

bench: build
	scripts/test-deps
	scripts/bench

check:
	@test -z "$$(gofmt -l cmd internal test bench)" || { gofmt -l cmd internal test bench; echo "run gofmt -w"; exit 1; }
	$(GO) vet ./...
	$(TOOLS) staticcheck ./...
	$(GO) test -count=1 ./internal -run TestImportOrder
	scripts/docs --check

docs:
	scripts/docs
