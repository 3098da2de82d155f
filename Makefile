# make help lists the targets.
SHELL := /usr/bin/env bash -o pipefail
.DEFAULT_GOAL := help

IMG ?= payment-session-operator:dev
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
TOOL := go tool -modfile=hack/tools/go.mod
LDFLAGS := -s -w -X main.version=$(VERSION)

##@ Use

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*##"} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z_-]+:.*?##/ {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: build build-hack ## Run the main job: real sessions of four simulated providers go from open to expired. KEEP=1, CLUSTER=current.
	@KEEP=$(KEEP) CLUSTER=$(CLUSTER) hack/demo/demo.sh

.PHONY: recording
recording: build build-hack ## Record docs/demo.svg from a real run of the demo.
	@go run ./hack/recording --out docs/demo.svg hack/demo/demo.sh

.PHONY: install
install: ## Install all but the manager's Deployment into the cluster of $KUBECONFIG.
	@hack/install.sh config/install

.PHONY: run
run: ## Run the manager from this machine against the cluster of $KUBECONFIG. ARGS="--dry-run …".
	go run -ldflags '$(LDFLAGS)' . --metrics-bind-address=0 $(ARGS)

.PHONY: deploy
deploy: ## Install everything into the cluster of $KUBECONFIG, with the image IMG.
	@IMG=$(IMG) hack/install.sh config/default

.PHONY: uninstall
uninstall: ## Take back what install or deploy put into the cluster of $KUBECONFIG.
	@hack/uninstall.sh

.PHONY: controlplane-up
controlplane-up: build-hack ## Start a control plane in the background; the last line is its kubeconfig's path.
	@bin/cluster up

.PHONY: controlplane-down
controlplane-down: build-hack ## Stop it.
	@bin/cluster down

##@ Build

.PHONY: build
build: ## Build bin/manager and the kubectl plugin bin/kubectl-payops.
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/manager .
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o bin/kubectl-payops ./cmd/kubectl-payops

.PHONY: build-hack
build-hack:
	@go build -o bin/ ./hack/cluster ./hack/simulator

.PHONY: build-installer
build-installer: ## Write dist/install.yaml: everything in one file, with the image IMG.
	@mkdir -p dist
	@$(TOOL) kustomize build config/default | sed 's|image: payment-session-operator:dev|image: $(IMG)|' >dist/install.yaml
	@echo dist/install.yaml

.PHONY: docker-buildx
docker-buildx: ## Build the image IMG for amd64 and arm64 and push it.
	docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION=$(VERSION) --provenance=true --sbom=true --push -t $(IMG) .

.PHONY: docker-build
docker-build: ## Build the image IMG with docker.
	docker build --build-arg VERSION=$(VERSION) -t $(IMG) .

##@ Develop

.PHONY: generate
generate: ## Generate deep copies, definitions, roles and the API reference.
	$(TOOL) controller-gen object:headerFile=hack/boilerplate.go.txt crd paths=./api/... output:crd:dir=config/crd/bases
	$(TOOL) controller-gen rbac:roleName=payment-session-operator paths=./controllers/... output:rbac:dir=config/rbac
	go run ./hack/chart
	go run ./hack/argocd
	$(TOOL) crd-ref-docs --config=hack/api-docs.yaml --source-path=api --renderer=markdown --output-path=docs/api.md

.PHONY: fmt
fmt: ## Format the code.
	gofmt -w api controllers hack internal main.go test

.PHONY: lint
lint: ## Lint the code.
	$(TOOL) golangci-lint run ./...

.PHONY: test
test: ## Run all tests: unit, conformance, and against a real control plane.
	@hack/tools/build.sh
	@assets=$$(hack/controlplane/build.sh | tail -n 1) && KUBEBUILDER_ASSETS=$$assets go test -race -timeout 30m -parallel 8 $(TESTFLAGS) ./...

.PHONY: cold
cold: ## Run the demo and all tests in a clean clone with empty caches, as a new machine would. Takes about an hour on 2 cores.
	@hack/cold.sh

.PHONY: bench
bench: build ## Measure the manager beside what it is compared with. ARGS="--runs 5 --only isolation", ARGS="--large 100000".
	@assets=$$(hack/controlplane/build.sh | tail -n 1) && KUBEBUILDER_ASSETS=$$assets go run ./test/bench $(ARGS)

.PHONY: simulate
simulate: ## Draw histories of the simulation for TIME seconds, 60 unless told otherwise; from SEED on; or replay FILE.
	@TIME=$(TIME) SEED=$(SEED) FILE=$(FILE) hack/simulate.sh

.PHONY: simulate-faults
simulate-faults: ## Plant each fault of test/simulation/faults, or those of FAULTS, and show how many histories find it.
	@hack/simulate-faults.sh $(FAULTS)

.PHONY: fuzz
fuzz: ## Run each fuzzer for FUZZTIME, one minute unless told otherwise.
	@FUZZTIME=$(FUZZTIME) hack/fuzz.sh

.PHONY: verify
verify: ## Generate, tidy, lint, render; fail if that leaves the tree dirty.
	@hack/verify.sh
