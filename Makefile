# Everything runs in .venv, which `make setup` builds from the lock file. A fresh
# machine needs Python 3.11 or later, make and a package index, nothing else.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do command -v $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Many tests wait for processes: two for each processor.
PYTEST_WORKERS ?= $(shell expr 2 \* $$(getconf _NPROCESSORS_ONLN))
SECONDS ?= 20
GATEWAYS ?= 3
FUZZ_SECONDS ?= 60
EXPLORE_SECONDS ?= 60
SOAK_MINUTES ?= 15
ATTACK_MINUTES ?= 10
IMAGES ?=

# Compiled modules are kept, whatever the environment says: the tests start hundreds of programs.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak attack conformance lint format bench fuzz fuzz-http explore proto lock broker test-page bench-page test-axe test-monitoring test-compose clean

help: ## Show this list
	@echo "sparkplug-zerobus: MQTT Sparkplug B into Databricks Delta tables. Start with: make demo"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: $(STAMP) ## Make .venv with everything pinned in requirements/dev.lock

$(STAMP): requirements/dev.lock requirements/peers.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "No python3 on the PATH: install Python 3.11 or later." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is too old: install Python 3.11 or later, or run: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "Making $(VENV) (once, a minute or two) ..."
	@"$(PYTHON)" -m venv $(VENV) || { echo "Could not make a virtual environment. On Debian/Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/peers.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

broker: ## Install Mosquitto where this user may, or say how
	@sh scripts/ensure-mosquitto.sh

demo: setup ## The whole system on real parts, with a verification query at the end
	@sh scripts/ensure-mosquitto.sh --optional
	@$(BIN)/sparkplug-zerobus demo --seconds $(SECONDS) --gateways $(GATEWAYS) $(ARGS)

test: setup broker ## The test suite, the same every time, in parallel, against a real Mosquitto
	@sh scripts/ensure-openssl.sh
	@sh scripts/ensure-jython.sh --optional
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) --dist loadgroup -m "not compose and not long and not page and not monitoring" $(ARGS)

test-long: setup broker ## Tests that take long: every attack and fault by itself, demos that go wrong, the search for new cases
	@sh scripts/ensure-jython.sh --optional
	@sh scripts/ensure-openssl.sh
	@$(BIN)/python -m pytest -n $(PYTEST_WORKERS) -m long $(ARGS)

soak: setup broker ## Every fault under load for SOAK_MINUTES in all, and what became of each row
	@sh scripts/ensure-openssl.sh
	@PYTHONPATH=tests $(BIN)/python -m faults --minutes $(SOAK_MINUTES) $(ARGS)

attack: setup broker ## Hostile traffic, shape by shape, then all of it beside an honest fleet for ATTACK_MINUTES
	@PYTHONPATH=tests $(BIN)/python -m attack --minutes $(ATTACK_MINUTES) $(ARGS)

conformance: setup broker ## The specification's assertions, one by one; writes docs/conformance.md
	@PYTHONPATH=tests $(BIN)/python -m conformance.report -q -n $(PYTEST_WORKERS) $(ARGS)

test-page: setup broker ## The live page in a browser, over a running system; IMAGES=1 makes those of docs/images
	@sh scripts/ensure-chromium.sh
	@PAGE_IMAGES=$(IMAGES) $(BIN)/python -m pytest -n 2 --dist loadfile -m page --ignore=tests/page/test_axe.py --ignore=tests/page/bench_large.py tests/page $(ARGS)

bench-page: setup ## What 100,000 tags take of the browser, and the open page of the consumer; fails beyond the bounds
	@sh scripts/ensure-chromium.sh
	@$(BIN)/python -m pytest -s -m page tests/page/bench_large.py $(ARGS)

test-axe: setup ## The live page by the rules of axe-core, and the contrast of its charts
	@sh scripts/ensure-chromium.sh
	@$(BIN)/python -m pytest -m page tests/page/test_axe.py $(ARGS)

test-monitoring: setup broker ## Alerts by promtool, and a Prometheus that scrapes a running consumer
	@sh scripts/ensure-prometheus.sh
	@$(BIN)/python -m pytest -v -m monitoring tests/monitoring $(ARGS)

test-compose: setup ## docker compose up, rows of every gateway found, compose down
	@$(BIN)/python -m pytest -m compose -s $(ARGS)

lint: setup ## ruff, mypy --strict, the walls between rooms, dead code, sizes
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@! $(BIN)/vulture | grep -v "unused variable"
	@$(BIN)/python scripts/limits.py

format: setup ## Let ruff format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup broker ## From end to end, speed, spool, and an outage of five minutes (about twenty-one in all); writes bench/results.json
	@sh scripts/ensure-openssl.sh
	@$(BIN)/python bench/run.py

fuzz: setup ## Inputs nobody thought of, FUZZ_SECONDS for each target; fails if one is refused
	@PYTHONPATH=tests $(BIN)/python -m fuzz --seconds $(FUZZ_SECONDS)

fuzz-http: setup ## The HTTP API asked by its own description, for FUZZ_SECONDS; fails on a 5xx
	@PYTHONPATH=tests $(BIN)/python -m fuzz.http_api --seconds $(FUZZ_SECONDS) $(ARGS)

explore: setup ## The generated tests with other cases, for EXPLORE_SECONDS; tells what it finds
	@PYTHONPATH=tests $(BIN)/python -m fuzz suite --seconds $(EXPLORE_SECONDS) --only-tell

proto: setup ## Regenerate the checked-in protobuf modules
	@$(BIN)/python proto/generate.py

lock: setup ## Resolve the dependencies anew into requirements/*.lock
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@cd requirements && sh ./lock.sh ../$(BIN)/uv

clean: ## Remove .venv and caches
	@rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis
