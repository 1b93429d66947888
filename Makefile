# Everything a person needs: make help
SHELL := /bin/bash
GO    ?= go
TAGS  := grpcnotrace,embed_shim
ARCH  := $(shell $(GO) env GOARCH)
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT  ?= $(shell git rev-parse --short HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
SHIM  := engine/shim/shoal-shim-$(ARCH)
RACE  := ./manager/... ./agent/... ./engine/... ./overlay/gossip ./overlay/dns ./client/... ./internal/...
TOOLS := $(GO) tool -modfile=tools/go.mod
export CGO_ENABLED = 0

.PHONY: help build shim web test unit race e2e demo demo-down bench lint generate check-generated cross deps clean

help: ## show this
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

build: shim ## build bin/shoal: one file that needs nothing beside it
	$(GO) build -trimpath -tags $(TAGS) -ldflags "$(LDFLAGS)" -o bin/shoal ./cmd/shoal

shim:
	$(GO) build -trimpath -ldflags "-s -w" -o $(SHIM) ./cmd/shoal-shim

web:
	$(GO) build -trimpath -ldflags "-s -w" -o bin/demo-web ./e2e/web

test: deps build lint unit race e2e ## all tests: unit, race detector, end to end (root)

unit: shim
	$(GO) test -timeout 5m ./...

race: shim
	CGO_ENABLED=1 $(GO) test -race -timeout 8m $(RACE)

e2e: build web ## end-to-end tests in network namespaces (root)
	SHOAL_E2E=1 $(GO) test -count=1 -timeout 8m ./e2e/...

demo: build web ## a cluster of five hosts on this machine (root); KEEP=1 leaves it up
	$(GO) run ./e2e/demo $(if $(KEEP),--keep)

demo-down: ## take down a demo that was left up
	$(GO) run ./e2e/demo --down

bench: build web ## measure, print a table and write docs/benchmarks.md (root)
	$(GO) run ./bench

lint: check-generated cross ## vet, staticcheck, formatting, generated code
	@test -z "$$(gofmt -l $$(git ls-files '*.go'))" || { echo "gofmt wanted by:"; gofmt -l $$(git ls-files '*.go'); exit 1; }
	$(GO) vet ./...
	$(TOOLS) staticcheck ./...

vuln: ## known vulnerabilities (asks vuln.go.dev)
	$(TOOLS) govulncheck ./...

cross: ## the client elsewhere, the whole on arm64
	GOOS=darwin $(GO) build -o /dev/null ./cmd/shoal
	GOARCH=arm64 $(GO) build ./...

PROTO := $(wildcard proto/api/*.proto)
generate: ## regenerate proto/api (protoc from Debian's protobuf-compiler)
	@mkdir -p bin/tools
	$(GO) build -o bin/tools/ google.golang.org/protobuf/cmd/protoc-gen-go google.golang.org/grpc/cmd/protoc-gen-go-grpc
	PATH=$(CURDIR)/bin/tools:$$PATH protoc -I proto/api --go_out=proto/api --go_opt=paths=source_relative \
		--go-grpc_out=proto/api --go-grpc_opt=paths=source_relative $(PROTO)

check-generated: generate
	@git diff --exit-code --stat -- proto/api || { echo "proto/api is not what its .proto files make: commit the result of make generate"; exit 1; }

deps: ## install what tests need from Debian (root)
	deploy/deps.sh

clean: ## remove what was built
	rm -rf bin engine/shim/shoal-shim-*
