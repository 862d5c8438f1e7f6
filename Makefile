# Everything a newcomer types. Needs Python 3.11 or newer and make; the first run needs a network, later ones do not.

.DEFAULT_GOAL := help
.PHONY: help setup sync dev dagster-home test lint format tables bench simulate lock clean

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && { echo "$$name"; break; }; done)
STATE := $(if $(filter /%,$(firstword $(CROSSDOCK_HOME))),$(CROSSDOCK_HOME),$(CURDIR)/$(or $(CROSSDOCK_HOME),.crossdock$(if $(CROSSDOCK_ENVIRONMENT),/$(CROSSDOCK_ENVIRONMENT))))
PORT ?= 3000
PYTEST_WORKERS ?= 3
SCHEDULES ?= 1000000
JOBS ?= 2

export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export CROSSDOCK_HOME := $(STATE)
export DAGSTER_DG_UPDATE_CHECK_ENABLED := 0
# Compiled once, not by every one of the many processes that a sync with its emulators, or the tests, start.
unexport PYTHONDONTWRITEBYTECODE

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

# Some demo records are bad on purpose; that they stay undelivered (exit status 1) is no failure of this target.
sync: $(STAMP) ## run the shipped syncs between the emulators and sum up; the second time there is nothing to do
	@echo "==> starting the emulators and running every shipped sync; everything is kept in $(STATE)"
	@status=0; $(BIN)/crossdock sandbox -- crossdock run --all || status=$$?; \
	if [ $$status -ne 1 ]; then exit $$status; fi; $(BIN)/crossdock --version >/dev/null && echo && \
	echo "The demo data holds 20 contacts that are bad on purpose: such records stay pending, and hold up no other." && \
	echo "See them, with the reason for each: $(BIN)/crossdock failures contacts_to_people"

dev: $(STAMP) ## the Dagster pages on http://127.0.0.1:3000 (or PORT=…), with the emulators; Ctrl-C stops both
	@echo "==> starting the emulators and the Dagster pages; in half a minute open http://127.0.0.1:$(PORT), stop with Ctrl-C"
	@$(BIN)/crossdock sandbox -- dg dev --host 127.0.0.1 --port $(PORT)

test: lint ## set up, lint, type check, import rules, all tests
	@echo "==> tests"
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist worksteal $(PYTEST_ARGS)

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

tables: $(STAMP) ## rewrite connectors/OPERATIONS.md from what the connectors declare
	@$(BIN)/python -m pipelines.operations > connectors/OPERATIONS.md.new && mv connectors/OPERATIONS.md.new connectors/OPERATIONS.md

bench: $(BENCH_STAMP) ## measure extraction and diffing against named peers (takes minutes)
	@for script in bench/extract.py bench/diff.py; do \
		echo "==> $$script"; $(BIN)/python "$$script" || exit 1; done

simulate: $(STAMP) ## a million simulated schedules of faults and crashes, or SCHEDULES=…, in JOBS=… processes (hours)
	@$(BIN)/python -m tests.simulation --schedules $(SCHEDULES) --jobs $(JOBS)

lock: ## renew the lock files from pyproject.toml (needs uv on PATH or in .venv)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	@compile() { uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		pyproject.toml --extra celery --extra metrics --extra postgres --group build --group dev "$$@"; }; \
	compile $(LOCK_ARGS) -o requirements.lock && \
	compile $(LOCK_ARGS) --group bench -c requirements.lock -o requirements-bench.lock

clean: ## remove the environment and the caches; .crossdock (ledger, staging) stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis *.egg-info

$(STAMP):
	@.ci/install requirements.lock "$(PYTHON)"
	@rm -f $(VENV)/.installed-*
	@touch $@

$(BENCH_STAMP):
	@.ci/install requirements-bench.lock "$(PYTHON)"
	@rm -f $(VENV)/.installed-*
	@touch $(STAMP) $@
