# Agent Tracer. `make help` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UPGRADE := --upgrade
RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed

.DEFAULT_GOAL := help
.PHONY: help setup run demo gen check test bench eval train lock fmt clean

help: ## List the targets.
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

# The locked packages with their hashes, then the project itself in place.
$(RUN_STAMP): requirements/run.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Agent Tracer needs Python 3.11 or later: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/run.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(DEV_STAMP): requirements/dev.txt $(RUN_STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

setup: $(RUN_STAMP) ## Install the server into .venv.

run: $(RUN_STAMP) ## Start everything: server, REST on 3007, 3008, 3009, OTLP on 4317 and 4318.
	@$(BIN)/agent-tracer start $(ARGS)

demo: $(RUN_STAMP) ## Send a three-agent workflow of real SDK calls to the running server.
	@$(BIN)/agent-tracer demo $(ARGS)

gen: $(DEV_STAMP) ## Generate gen/, envoy/ and the reference pages of docs/ anew.
	$(BIN)/python scripts/generate.py
	$(BIN)/python scripts/envoy.py
	$(BIN)/python scripts/reference.py
	$(BIN)/python scripts/openapi.py
	$(BIN)/python -m dashboards.generate

check: $(DEV_STAMP) ## Lint, types, layers, protos, drift of everything generated: no test is run.
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/buf lint gen/agent_tracer/descriptors/api.binpb --config buf.yaml --path agent_tracer
	$(BIN)/python scripts/breaking.py
	$(BIN)/python scripts/generate.py --check
	$(BIN)/python scripts/envoy.py --check
	$(BIN)/python scripts/reference.py --check
	$(BIN)/python scripts/openapi.py --check
	$(BIN)/python -m dashboards.generate --check
	$(BIN)/python -m pytest -q tests/unit/test_tidy.py

test: $(DEV_STAMP) ## Run all tests.
	$(BIN)/python -m pytest $(ARGS)

bench: $(DEV_STAMP) ## Measure; ratios in one run. Never part of the tests.
	$(BIN)/python -m tests.benchmarks $(ARGS)

eval: $(DEV_STAMP) ## Hold the analyses against published truth, through a started server. Never part of the tests.
	$(BIN)/python -m tests.evaluation $(ARGS)

train: $(DEV_STAMP) ## Fit the models of root cause and failure attribution anew, from recorded data.
	$(BIN)/python scripts/train.py
	$(BIN)/python -m scripts.train_failures

fmt: $(DEV_STAMP) ## Format and sort imports.
	$(BIN)/ruff check --quiet --fix --select I .
	$(BIN)/ruff format --quiet .

LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(DEV_STAMP) ## Lock the versions anew from pyproject.toml; UPGRADE= keeps those that still fit.
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(LOCK) $(UPGRADE) --all-extras pyproject.toml -o requirements/run.txt
	$(LOCK) $(UPGRADE) --group build -c requirements/run.txt -o requirements/build.txt
	$(LOCK) $(UPGRADE) --all-extras pyproject.toml --group dev -c requirements/run.txt -o requirements/dev.txt

clean: ## Remove .venv and caches. Data stay where they are.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

.PHONY: test-servers
test-servers: $(DEV_STAMP) ## Install real servers (go, java, mvn; see docs/servers.md) and run the tests that need them.
	$(BIN)/python -m tests.servers install all
	$(BIN)/python -m pytest -m servers $(ARGS)
