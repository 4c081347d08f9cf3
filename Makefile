# Everything a contributor runs. `make test` is also what the continuous-integration machine runs (.ci/run).

GO      ?= go
BIN     := bin/ligoonnx
PYTHON  ?= python3
ORACLE  := .oracle
FUZZTIME ?= 20s
BENCH    ?= .
# A Python with PyTorch; see bench-torch.
TORCH    ?= python3

# Packages that start goroutines or share buffers between them: the race detector has something to find only there, and it
# makes everything about eight times slower, so it runs on these alone and with -short.
RACE := ./onnxio/... ./graph/... ./ligo/... ./verify/...

# Linters live in a module of their own: what they need must not decide the versions that ligoonnx is built with.
TOOL := $(GO) tool -modfile=internal/tools/go.mod

.PHONY: all build test unit race lint bench bench-openblas bench-torch bench-growth torch-gradients fuzz generate demo oracle clean

all: build

# -trimpath and an empty build id: two machines that build one commit get one file.
build:
	$(GO) build -trimpath -buildvcs=false -ldflags=-buildid= -o $(BIN) ./cli/ligoonnx

test: unit race

# vet first: it reports in seconds what a test reports in minutes. The kernels are tested again without assembly, as other
# processors run them.
unit:
	$(GO) vet ./...
	$(GO) test -timeout 10m ./...
	$(GO) test -tags noasm ./graph/engine/kernel

# The race detector needs cgo; a machine without a C compiler says so and goes on.
race:
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null; then \
		echo "$(GO) test -race -short $(RACE)"; \
		$(GO) test -race -short -timeout 10m $(RACE); \
	else \
		echo "SKIPPED: no C compiler, so no race detector" >&2; \
	fi

lint:
	@unformatted="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(TOOL) staticcheck ./...

# Matrix products are measured against OpenBLAS, if there is a C compiler and the library, and the rest by Go's benchmarks.
# BENCH picks one: make bench BENCH=Expand. Growing BERT-small to BERT-base reports wall time and peak memory of the command itself.
bench:
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem -timeout 30m ./...
	@$(MAKE) --no-print-directory bench-openblas

# GODEBUG=cpu.avx512f=off make bench-openblas: with AVX2 on both sides.
bench-openblas:
	@if [ "$$($(GO) env CGO_ENABLED)" = 1 ] && command -v "$$($(GO) env CC)" >/dev/null; then \
		cd internal/bench/openblas && $(GO) run .; \
	else \
		echo "SKIPPED: no C compiler, so no comparison with OpenBLAS" >&2; \
	fi

# Training steps beside PyTorch's and forward passes beside ONNX Runtime's, on one model, one batch and one number of threads. It needs
# a Python with PyTorch, which is too large for the oracle's environment:
#
#	python3 -m venv .torch
#	.torch/bin/pip install --index-url https://download.pytorch.org/whl/cpu torch==2.15.0
#	.torch/bin/pip install -r internal/bench/torch/requirements.txt
#	make bench-torch TORCH=.torch/bin/python
#
# TORCHFLAGS picks cases and more: TORCHFLAGS='--cases gpt2-small-65 --threads 1 --profile /tmp/step'.
bench-torch:
	GO='$(GO)' $(TORCH) internal/bench/torch/bench.py --json bench-torch.json $(TORCHFLAGS)

# What growing saves: every method against training from scratch, for the same FLOPs (docs/results.md), under two hours on two cores. Runs
# are files in bench-growth/, so an interrupted benchmark goes on where it was. GROWTHFLAGS picks sizes, tasks, methods and seeds:
# GROWTHFLAGS='-preset quick -tasks text'; go run ./internal/bench/growth -help lists them.
bench-growth:
	$(GO) run ./internal/bench/growth -jobs 2 -threads 1 -docs docs $(GROWTHFLAGS)

# The gradients of whole models beside PyTorch's, element by element; without TORCH the tests compare with what is committed.
torch-gradients:
	LIGOONNX_TORCH='$(TORCH)' $(GO) test -count=1 -v -run TestGradientsArePyTorchs ./graph/engine

# go test fuzzes one target of one package at a time, so find them all and give each its share.
fuzz:
	@set -e; for package in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$package | grep '^Fuzz' || true); do \
			echo "== $$package $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

# Rewrites what is committed as generated (the protobuf messages, the assembly kernels); needs protoc.
generate:
	$(GO) generate ./...

demo:
	$(GO) run ./cli/ligoonnx demo

# A Python with onnx and ONNX Runtime, used by tests as a second opinion. Tests that want it are skipped, loudly, without it.
# The stamp is made last, so an interrupted installation is done again.
oracle: $(ORACLE)/ready

$(ORACLE)/ready: fixtures/oracle/requirements.txt
	$(PYTHON) -m venv $(ORACLE)
	$(ORACLE)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

clean:
	rm -rf bin $(ORACLE)
	$(GO) clean -testcache
