# One command to set up, one to see it work, one to test it. `make help` lists them.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up test lint check sim soak bench mutants fuzz test-system lock clean rebuild

VENV := .venv
PYTHON := $(VENV)/bin/python
PYTEST := $(PYTHON) -m pytest -q
STAMP := $(VENV)/.installed
UV_VERSION := 0.13.9

# A venv whose interpreter was upgraded away or that was copied from elsewhere is made anew.
ifneq ($(wildcard $(STAMP)),)
ifneq ($(shell $(PYTHON) -c 'print("runs")' 2>/dev/null),runs)
STALE := rebuild
endif
endif

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv and install the locked requirements (done by the others when needed)

demo: $(STAMP) ## centre, broker and three factories on this machine; DATA=file.csv loads a real log
	@$(PYTHON) -m deploy.local.demo $(if $(DATA),--data "$(DATA)")

up: $(STAMP) ## the same, kept running until Ctrl-C
	@$(PYTHON) -m deploy.local.demo --keep $(if $(DATA),--data "$(DATA)")

test: $(STAMP) ## every test, with a real PostgreSQL and a real nats-server
	@$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m "not system"

lint: $(STAMP) ## format, lint, types, import contracts
	@echo "format";  $(PYTHON) -m ruff format --check --quiet .
	@echo "lint";    $(PYTHON) -m ruff check --quiet .
	@echo "types";   $(PYTHON) -m mypy --no-error-summary
	@echo "imports"; $(VENV)/bin/lint-imports --no-logo

check: lint ## lint, and the fast tests (no server)
	@$(PYTEST) tests/unit tests/contract tests/test_tidy.py \
	  -m "not nats and not postgres and not slow and not system"

sim: $(STAMP) ## RUNS=200 of the model and of real stores, one with real servers; SEED=4711 is the first
	@$(if $(STEPS),$(PYTHON) -m tests.sim --steps "$(STEPS)",\
	$(if $(STORES),,$(PYTHON) -m tests.model --runs $(or $(RUNS),200) $(if $(SEED),--seed $(SEED)) && \
	  $(PYTHON) -m tests.model --runs $(or $(RUNS),200) --restores $(if $(SEED),--seed $(SEED)) &&) \
	$(PYTHON) -m tests.sim $(if $(and $(SEED),$(STORES)),--runs $(or $(RUNS),1),--runs $(or $(RUNS),200)) \
	  $(if $(SEED),--seed $(SEED)) \
	$(if $(STORES),,&& $(PYTEST) tests/sim/test_world.py $(if $(SEED),--seed $(SEED))))

soak: $(STAMP) ## load and faults on a whole system: MINUTES=30 SITES=30 SEED=4711 REPORT=folder
	@$(PYTHON) -m tests.soak --minutes $(or $(MINUTES),30) --sites $(or $(SITES),30) \
	  $(if $(SEED),--seed $(SEED)) $(if $(REPORT),--report "$(REPORT)")

bench: $(STAMP) ## the measurements of BENCHMARKS.md; ONLY=name runs one
	@$(PYTHON) -m tests.bench $(if $(ONLY),--only "$(ONLY)")

mutants: $(STAMP) ## break the product by hand, rule by rule: a test must fail; ONLY="a name" for one
	@$(PYTHON) -m tests.mutants $(if $(ONLY),--only "$(ONLY)")

fuzz: $(STAMP) ## fuzz what comes in from outside; MINUTES=60 goes on; SEED=… ONLY=… repeats a round
	@$(PYTHON) -m tests.fuzz $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(ONLY),--only "$(ONLY)")

# Distribution packages that `test-system` installs; a missing one fails, it does not skip.
SYSTEM_PACKAGES := chromium fonts-dejavu-core

test-system: $(STAMP) ## tests that need rights or packages of the system, installed first (as root)
	@if [ -n "$(SYSTEM_PACKAGES)" ]; then \
	  apt-get update -q && apt-get install -q -y --no-install-recommends $(SYSTEM_PACKAGES); fi
	@$(PYTEST) -m system

lock: $(STAMP) ## resolve pyproject.toml again into requirements/*.txt
	@$(PYTHON) -m pip install -qq --disable-pip-version-check uv==$(UV_VERSION)
	@for extra in edge central dev; do echo "requirements/$$extra.txt"; \
	  $(PYTHON) -m uv pip compile -q --upgrade --universal --generate-hashes --python-version 3.11 \
	    --no-emit-index-url --no-header --no-annotate \
	    --extra $$extra pyproject.toml -o requirements/$$extra.txt || exit 1; done

clean: ## remove the venv, the demo's data and all caches
	@rm -rf $(VENV) .browser .mes-demo build dist *.egg-info \
	  .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

rebuild:

# Each candidate is run, not only looked up: a version manager's shim may exist and still fail.
$(STAMP): requirements/dev.txt pyproject.toml $(STALE)
	@if $(PYTHON) -m pip --version >/dev/null 2>&1; then echo "setup: the requirements changed"; exit 0; fi; \
	found=""; bare=""; \
	for name in python3.14 python3.13 python3.12 python3.11 python3; do \
	  if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    if $$name -c 'import ensurepip, venv' 2>/dev/null; then found=$$name; break; fi; \
	    bare=$${bare:-$$name}; \
	  fi; \
	done; \
	if [ -z "$$found" ] && [ -n "$$bare" ]; then \
	  version=$$($$bare -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	  echo "setup: $$bare has no venv; next: apt install python$$version-venv" >&2; exit 1; \
	fi; \
	if [ -z "$$found" ]; then \
	  echo "setup: Python 3.11 or newer is needed; next: apt install python3 python3-venv" \
	    "(Debian 12, Ubuntu 24.04 or later)" >&2; exit 1; \
	fi; \
	echo "setup: $$($$found --version) in $(VENV), locked requirements (a minute the first time)"; \
	rm -rf $(VENV) && $$found -m venv $(VENV)
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps -e .
	@touch $@
