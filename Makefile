# The commands that README.md, CONTRIBUTING.md and continuous integration use. `make help` lists them.
# Variables: PYTHON (3.11 or newer), VENV (where the environment goes), JOBS (parallel test processes), OUT (runs).

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
OUT ?= runs

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PROJECTS := pyproject.toml $(wildcard plugins/*/*/pyproject.toml)
SETUP := $(VENV)/.bdm-setup
DEMO := $(VENV)/.bdm-demo
TESTING := $(VENV)/.bdm-testing
OLDEST := $(VENV)/oldest

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint oldest docs requirements constraints clean

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(SETUP)  ## make the environment: core, CLI and all plugins, editable

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: bdm needs Python 3.11 or newer; name one with: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# The build backend and torch come first: editable builds then need no isolated environment each, and torch is
# resolved by itself, in exactly this spelling.
# Nothing is compiled ahead of its first use, which saves half of the time.
define INSTALL
$(PIP) install -q --no-compile -c constraints.txt hatchling editables
$(PIP) install -q --no-compile torch==2.13.0
$(PIP) install -q --no-compile --no-build-isolation -c constraints.txt -r
endef

$(SETUP): $(BIN)/python $(PROJECTS) constraints.txt requirements.txt
	$(INSTALL) requirements.txt
	@touch $@ $(DEMO)

$(DEMO): $(BIN)/python $(PROJECTS) constraints.txt requirements-demo.txt
	@echo "This installs what the demo needs; make setup installs all plugins."
	$(INSTALL) requirements-demo.txt
	@touch $@

$(TESTING): $(SETUP)
	$(PIP) install -q --no-build-isolation -c constraints.txt -e ".[test]"
	@touch $@

demo: $(DEMO)  ## the main job with its defaults: attack, detect, repair, score, report
	$(BIN)/bdm run --attack villan --defense elijah --out $(OUT)
	@echo "The report: $$(ls -t $(OUT)/*/report.html | head -n 1)"

lint: $(TESTING)  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/mypy

$(OLDEST): $(TESTING)
	$(PIP) install -q --no-deps --target $@ pluggy==1.6.0

oldest: $(OLDEST)  ## discovery and hooks with the oldest pluggy that is allowed
	PYTHONPATH=$(OLDEST) $(BIN)/python -m pytest tests/test_core_manager.py

test: lint oldest  ## lint, types and the whole test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

docs: $(SETUP)  ## write the READMEs' tables and docs/plugins/*.md from plugins and modules
	$(BIN)/python scripts/write_tables.py
	$(BIN)/python scripts/write_plugin_pages.py

requirements: $(BIN)/python  ## write requirements.txt and requirements-demo.txt from plugins/
	$(BIN)/python scripts/write_requirements.py

constraints: $(TESTING)  ## write constraints.txt from the environment
	$(BIN)/python scripts/write_constraints.py

clean:  ## remove the environment and all caches; runs stay
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
