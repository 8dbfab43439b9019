# The daily needs, one command each; `make help` lists them.
# Needs Python 3.10 or later and GNU make 3.81 or later, nothing else.

PYTHON ?= python3
WORKERS ?= 2
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input
PYTEST := $(BIN)/python -m pytest

# Azurite, an Azure Blob Storage for tests, comes from npm.
SERVERS := .servers
AZURITE_VERSION := 3.37.0

LOCK_VENV := .venv-lock
UV_VERSION := 0.13.9
LOCK := $(LOCK_VENV)/bin/uv pip compile --quiet --universal --python-version 3.10 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate
OURS := --extra mlflow --extra postgres --extra mysql --extra s3 pyproject.toml

# An older MLflow, whose server the end-to-end tests run beside ours.
OLDER := mlflow-2.22
OLDER_VENV := .venv-$(OLDER)

# Starting MLflow without bytecode takes several times as long.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help ui test servers older format format-check lint types layers unit e2e slow coverage bench lock clean

help: ## List these commands
	@echo 'make COMMAND [ARGS="..."] [PYTHON=python3.12] [WORKERS=2]'
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' Makefile

ui: $(VENV)/.run ## Start the MLflow UI and the monitor; ARGS are passed on
	$(BIN)/mlflow-cleanup ui $(ARGS)

test: format-check lint types layers unit e2e ## Run every check and all tests except slow ones

servers: $(SERVERS)/.azurite-$(AZURITE_VERSION) ## Install the servers for tests that no wheel has (MariaDB: Debian only)
	@command -v mariadbd >/dev/null || [ -x /usr/sbin/mariadbd ] || { \
		apt-get update -qq && \
		apt-get install -qq --no-install-recommends mariadb-server-core mariadb-client-core; }

older: $(OLDER_VENV)/.made ## Install the older MLflow that end-to-end tests run as well

format: $(VENV)/.dev ## Format the code and repair what lint can repair
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: $(VENV)/.dev ## Check the format
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev ## Check the style rules
	$(BIN)/ruff check .

types: $(VENV)/.dev ## Check the types
	$(BIN)/mypy

layers: $(VENV)/.dev ## Check which module imports which
	$(BIN)/lint-imports

unit: $(VENV)/.dev ## Run the tests that need no MLflow server; ARGS go to pytest
	$(PYTEST) -n $(WORKERS) -m "not e2e and not slow" $(ARGS)

e2e: $(VENV)/.dev $(OLDER_VENV)/.made ## Run the tests with a real MLflow server; ARGS go to pytest
	$(PYTEST) -n $(WORKERS) -m "e2e and not slow" $(ARGS)

slow: $(VENV)/.dev $(OLDER_VENV)/.made ## Run the slow tests; ARGS go to pytest
	$(PYTEST) -n $(WORKERS) -m slow $(ARGS)

coverage: $(VENV)/.dev ## Measure what the unit tests cover
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not e2e and not slow" $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(VENV)/.dev ## Run the benchmarks; ARGS go to them
	$(BIN)/python -m bench $(ARGS)

lock: $(LOCK_VENV)/.uv-$(UV_VERSION) ## Recompile requirements/*.txt; ARGS=--upgrade takes newer versions
	$(LOCK) $(OURS) $(ARGS) requirements/dev.in --output-file requirements/dev.txt
	$(LOCK) $(OURS) requirements/run.in --constraint requirements/dev.txt \
		--output-file requirements/run.txt
	$(LOCK) $(ARGS) requirements/$(OLDER).in --output-file requirements/$(OLDER).txt

clean: ## Remove environments, caches and builds, nothing else
	rm -rf $(VENV) $(OLDER_VENV) $(LOCK_VENV) $(SERVERS) build dist htmlcov .coverage .coverage.* \
		.hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	for tree in src tests bench; do \
		[ ! -d $$tree ] || find $$tree -name __pycache__ -type d -prune -exec rm -rf {} +; \
	done

# ── Environments: made once, renewed when what they are made from changes ────────────────────────

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 10) else \
		"Python 3.10 or later is needed, this is %d.%d; name another one: make PYTHON=python3.12" \
		% sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# run.txt is a part of dev.txt, version for version, so both share one environment.
$(VENV)/.run: $(VENV)/.created requirements/run.txt pyproject.toml
	@echo 'Installing MLflow and mlflow-cleanup; the first time takes some minutes.'
	$(PIP) install --require-hashes -r requirements/run.txt
	$(PIP) install --no-build-isolation --no-deps -e .
	$(PIP) check
	@touch $@

$(VENV)/.dev: $(VENV)/.created requirements/dev.txt pyproject.toml
	@echo 'Installing MLflow, mlflow-cleanup and the tools; the first time takes some minutes.'
	$(PIP) install --require-hashes -r requirements/dev.txt
	$(PIP) install --no-build-isolation --no-deps -e .
	$(PIP) check
	@touch $(VENV)/.run $@

$(OLDER_VENV)/.made: requirements/$(OLDER).txt
	$(PYTHON) -m venv --clear $(OLDER_VENV)
	$(OLDER_VENV)/bin/python -m pip --quiet --disable-pip-version-check --no-input install \
		--require-hashes -r requirements/$(OLDER).txt
	@touch $@

$(SERVERS)/.azurite-$(AZURITE_VERSION):
	npm install --silent --no-package-lock --no-audit --no-fund --prefix $(SERVERS) \
		azurite@$(AZURITE_VERSION)
	@touch $@

$(LOCK_VENV)/.uv-$(UV_VERSION):
	$(PYTHON) -m venv --clear $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip --quiet --disable-pip-version-check install uv==$(UV_VERSION)
	@touch $@
