# Every command a person or CI needs. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
PYTHONS ?= 3.11 3.12 3.13
BIN := $(VENV)/bin
PEERS := crm_platform_tests/benchmarks/peers
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
export DAGSTER_HOME := $(CURDIR)/data/dagster
export PYTHONUNBUFFERED := 1

.PHONY: help install demo dev test test-pythons test-kills test-faults test-browser bench bench-increments bench-costs check format lock pictures clean

help: ## This list.
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

$(VENV)/.installed: requirements.lock pyproject.toml
	@echo "Installing into $(VENV) from requirements.lock …"
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); sys.exit(0 if ok else "crm_platform needs Python 3.11 to 3.13; this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@sed -n '/^uv==/,/^    # via/p' requirements.lock > $(VENV)/uv.lock
	@$(PIP) --require-hashes -r $(VENV)/uv.lock
	@$(BIN)/uv pip install --python $(BIN)/python --require-hashes --no-deps -r requirements.lock \
		|| $(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@touch $@

install: $(VENV)/.installed ## Make .venv from the lock, hashes checked.

demo: install ## From a sandbox CRM to a leak-free training set, 60 days, every check, in minutes.
	@$(BIN)/crm-platform demo

dev: install ## The same sandbox, with the Dagster UI on http://127.0.0.1:3000.
	@$(BIN)/crm-platform dev

test: install ## All tests.
	@$(BIN)/python -m pytest -n 2 --dist worksteal

PURE := contracts sources sandbox landing lake history features
test-pythons: ## The rooms without Dagster, tested with every Python from 3.11 to 3.13 that is on the path or in pyenv.
	@for version in $(PYTHONS); do \
		found=; \
		for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/$$version.*/bin/python; do \
			"$$python" -c '' 2>/dev/null && { found=$$python; break; }; \
		done; \
		[ "$$found" ] || { echo "Python $$version is not on this machine: not tested."; continue; }; \
		$(MAKE) --no-print-directory install PYTHON="$$found" VENV=.venvs/$$version || exit 1; \
		.venvs/$$version/bin/python --version; \
		.venvs/$$version/bin/python -m pytest -q -n 2 --dist worksteal $(PURE:%=crm_platform_tests/%) || exit 1; \
	done

test-kills: install ## The run is killed at twenty random moments instead of five.
	@CRM_PLATFORM_KILLS=20 $(BIN)/python -m pytest -n 2 crm_platform_tests/defs/test_kill.py

test-faults: install ## Every fault of the matrix, told and mended; writes docs/faults.md (FAULT="one or another" for some).
	@CRM_PLATFORM_FAULTS=1 $(BIN)/python -m pytest -q -n 0 -m "" $(if $(FAULT),-k "$(FAULT)") crm_platform_tests/faults

test-browser: install ## A red day under a real dg dev, in headless Chromium (needs chromium and chromium-driver).
	@$(BIN)/python -m pytest -q -n 0 -m "" crm_platform_tests/defs/test_on_call.py

bench: install ## The time kernel beside its peers, made data; writes docs/performance.md (ROWS=…, ONLY=…, ROUNDS=…).
	@$(BIN)/python -m crm_platform_tests.benchmarks.measuring $(ROWS:%=--rows %) $(ONLY:%=--only %) $(ROUNDS:%=--rounds %)

bench-increments: install ## What a day more costs after long histories, and beside MERGE; writes docs/performance.md.
	@$(BIN)/python -m crm_platform_tests.benchmarks.increments

bench-costs: install ## What Dagster costs around the same functions, a year of the demo's graph; writes docs/costs.md.
	@$(BIN)/python -m crm_platform_tests.benchmarks.costs

check: install ## What CI runs: ruff, pyright, import-linter, tests.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports
	@$(BIN)/dg check defs
	@$(MAKE) --no-print-directory test

format: install ## Let ruff mend what it can.
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

LOCKED := --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header --quiet
lock: install ## Resolve the dependencies anew, with hashes, for every platform.
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group dev --group build $(LOCKED) --upgrade \
		--output-file requirements.lock
	@$(BIN)/uv pip compile pyproject.toml --all-extras --group build $(LOCKED) --constraints requirements.lock \
		--output-file deploy/requirements.lock
	@$(BIN)/uv pip compile $(PEERS).in $(LOCKED) --upgrade --output-file $(PEERS).lock

pictures: install ## Photograph the UI for the README (needs chromium and chromium-driver).
	@PYTHONPATH=. $(BIN)/python docs/pictures.py

clean: ## Forget the lake, the sandbox and Dagster's history; keep the samples.
	@rm -rf data/lake data/dagster data/sandbox
