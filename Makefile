# `make` or `make help` tells what there is. Python 3.11 and make are all that `run` and `test` need.
.DEFAULT_GOAL := help
.PHONY: help run ha test check soak mutants bench format lint docs messages screenshots clients node-servers lock clean

PYTHON  ?= $(shell command -v python3.11 || command -v python3)
VENV    ?= .venv
BIN     := $(VENV)/bin
CACHE   ?= .cache
CORES   ?= $(shell nproc 2>/dev/null || echo 2)
ARGS    ?=
TESTS   ?= tests

# Clients and servers that were built for the tests stand before those of the system.
export PATH := $(abspath $(CACHE)/bin):$(PATH)

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.run  ## Serve a registry in this folder: SQLite and files, nothing else needed
	$(BIN)/moorage serve $(ARGS)

ha: $(VENV)/.check  ## Serve a registry of which every part is there twice, all on this machine
	$(BIN)/python -m tools.ha $(ARGS)

test: $(VENV)/.dev  ## Run the tests that need only Python (some seven minutes on two cores)
	TESTS_PYTHON_ONLY=1 $(BIN)/pytest -n $(CORES) --dist worksteal -m "not slow" $(ARGS) $(TESTS)

# Files begin in their order: those with few and long tests would come last, and leave a core idle.
check: lint $(VENV)/.check clients node-servers  ## Lint, then run every test with every server and client; none may be skipped
	TESTS_REQUIRE_ALL=1 TESTS_EXAMPLES=2000 \
	    TESTS_NODE_BIN=$(abspath $(CACHE)/node/node_modules/.bin) \
	    $(BIN)/pytest -n $(CORES) --dist loadfile --no-loadscope-reorder --durations=15 $(ARGS) $(TESTS)

soak: $(VENV)/.check  ## Break every part of the topology under load, for ARGS='--minutes 60 --ops 30000'
	$(BIN)/python -m tests.faults.soak $(ARGS)

mutants: $(VENV)/.check  ## Put known bugs back, one by one, and see that the checker of `soak` finds each
	$(BIN)/python -m tests.faults.mutants $(ARGS)

bench: $(VENV)/.dev  ## Compare with Debian's docker-registry and write benchmarks/results.md
	$(BIN)/python -m benchmarks $(ARGS)

.PHONY: bench-gc soak-gc
bench-gc: $(VENV)/.check  ## Collect up to a million blobs, and beside docker-registry; write benchmarks/garbage.md
	$(BIN)/python -m benchmarks.garbage $(ARGS)

soak-gc: $(VENV)/.check  ## Push and pull for ten minutes while garbage is collected every two seconds
	TESTS_SOAK_SECONDS=$${TESTS_SOAK_SECONDS:-600} $(BIN)/pytest -n 0 -s $(ARGS) tests/cluster/test_gc_soak.py

format: $(VENV)/.dev  ## Rewrite the code in the project's format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

lint: $(VENV)/.dev  ## Check style, types and who imports whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.dev  ## Write the generated pages of docs/reference from the code
	$(BIN)/python -m tools.reference
	$(BIN)/python -m tools.dashboard

messages: $(VENV)/.dev  ## Collect the texts of the portal and compile their translations
	$(BIN)/python -m tools.messages

screenshots: $(VENV)/.check  ## Make the pictures of the portal in docs/use/portal with Chromium
	$(BIN)/python -m tests.portal.screenshots

clients:  ## Build the Go clients and the conformance suite that `make check` uses
	tools/go-clients.sh $(CACHE)/bin

node-servers: $(CACHE)/node/.azurite

lock:  ## Renew the locked versions in requirements/
	PYTHON=$(PYTHON) tools/lock.sh

clean:  ## Remove what was built; data of a registry stays
	rm -rf $(VENV) $(CACHE) .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Plain venv and pip. Every package comes from a lock, so nothing is left to resolve.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

define install
	$(BIN)/pip install --quiet --disable-pip-version-check $(1)
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
endef

$(VENV)/.run: pyproject.toml requirements/run.lock | $(BIN)/pip
	$(call install,-r requirements/run.lock)

$(VENV)/.dev: pyproject.toml requirements/dev.lock | $(BIN)/pip
	$(call install,-r requirements/dev.lock)

$(VENV)/.check: requirements/check.lock $(VENV)/.dev
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements/check.lock
	@touch $@

$(CACHE)/node/.azurite: tools/node-servers.txt
	mkdir -p $(CACHE)/node
	npm install --silent --no-audit --no-fund --no-save --prefix $(CACHE)/node $$(cat $<)
	@touch $@
