# Everything a newcomer types. Needs Python 3.11 or newer and make; the first run needs a network, later ones do not.

.DEFAULT_GOAL := help
.PHONY: help setup sync dev dagster-home test lint format bench lock clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo "$$name"; break; }; done)
STATE := $(if $(CROSSDOCK_HOME),$(abspath $(CROSSDOCK_HOME)),$(CURDIR)/.crossdock)
PYTEST_WORKERS ?= 2

export PATH := $(CURDIR)/$(BIN):$(PATH)
export CROSSDOCK_HOME := $(STATE)
export DAGSTER_DG_UPDATE_CHECK_ENABLED := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The stamps are named after what was installed: same locks, nothing to do; written last, so an interrupted set-up is repeated.
digest = $(firstword $(shell cat $(1) | cksum))
STAMP := $(VENV)/.installed-$(call digest,requirements.lock pyproject.toml)
BENCH_STAMP := $(VENV)/.installed-bench-$(call digest,requirements-bench.lock pyproject.toml)

help: ## this list
	@echo "Crossdock keeps records in step between SaaS platforms. Targets:"
	@sed -n 's/^\([a-z]*\):.*## /  make \1 \t/p' $(MAKEFILE_LIST) | expand -t 16

setup: $(STAMP) ## the environment in .venv, with exactly the locked packages

# Dagster reads its settings from its own folder, which is kept with the rest of the state.
sync dev: export DAGSTER_HOME := $(STATE)/dagster
sync dev: dagster-home

dagster-home:
	@mkdir -p "$(STATE)/dagster"
	@cp dagster.yaml "$(STATE)/dagster/dagster.yaml"

sync: $(STAMP) ## run the shipped syncs between the emulators and sum up
	@echo "==> starting the emulators (their records stay in $(STATE)) and running every shipped sync"
	@$(BIN)/crossdock sandbox -- crossdock run --all

dev: $(STAMP) ## the Dagster pages on http://127.0.0.1:3000, with the emulators; Ctrl-C stops both
	@echo "==> starting the emulators and the Dagster pages; open http://127.0.0.1:3000, stop with Ctrl-C"
	@$(BIN)/crossdock sandbox -- dg dev --host 127.0.0.1 --port 3000

test: lint ## set up, lint, type check, import rules, all tests
	@echo "==> tests"
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

lint: $(STAMP) ## style, types and import rules
	@echo "==> style (ruff)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "==> types (mypy --strict)"
	@$(BIN)/mypy
	@echo "==> import rules (import-linter)"
	@$(BIN)/lint-imports --no-logo

format: $(STAMP) ## rewrite the code in the project's style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(BENCH_STAMP) ## measure extraction and diffing against named peers (takes minutes)
	@for script in bench/extract.py bench/diff.py; do \
		echo "==> $$script"; $(BIN)/python "$$script" || exit 1; done

lock: ## renew the lock files from pyproject.toml (needs uv on PATH or in .venv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	@compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml --extra postgres --group build --group dev "$$@"; }; \
	compile $(LOCK_ARGS) -o requirements.lock && \
	compile $(LOCK_ARGS) --group bench -c requirements.lock -o requirements-bench.lock

clean: ## remove the environment and the caches; .crossdock (ledger, staging) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

# A virtual environment that an interrupted run left behind, or whose Python is gone, is made anew.
define environment
	@test -n "$(PYTHON)" || { echo "Crossdock needs Python 3.11 to 3.14, and none is on PATH; install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
		echo "==> creating $(VENV) with $$($(PYTHON) --version)"; \
		$(PYTHON) -m venv --clear $(VENV) || { echo "$(PYTHON) could not create a virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }; }
	@echo "==> installing $$(grep -c '^[a-z].*==' $(1)) packages from $(1) (once; a minute or two)"
	@$(BIN)/python -m pip install --no-input --progress-bar off --require-hashes --no-deps --only-binary :all: -r $(1) \
		|| { echo "the packages were not all installed (see above); with a network, make $(MAKECMDGOALS) goes on where it stopped"; exit 1; }
	@echo "==> installing crossdock itself, editable"
	@$(BIN)/python -m pip install --quiet --no-input --no-index --no-deps --no-build-isolation --editable .
endef

$(STAMP):
	$(call environment,requirements.lock)
	@rm -f $(VENV)/.installed-*
	@touch $@

$(BENCH_STAMP):
	$(call environment,requirements-bench.lock)
	@rm -f $(VENV)/.installed-*
	@touch $(STAMP) $@
