# Everything that developers and CI call. Each target installs what it needs: a venv, and Debian packages when root.

VENV := .venv
BIN := $(VENV)/bin
# Python 3.10 or later; the first that is there.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.10 python3; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$p && break; done)
# A new directory each time: nothing is ever overwritten or removed.
DEMO := demo-survey-$(shell date +%Y%m%d-%H%M%S)
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest

.PHONY: demo test check lint unit real faults benchmark clean

demo: $(VENV)/.installed programs
	$(BIN)/crh-batch demo $(DEMO)
	cd $(DEMO) && ../$(BIN)/crh-batch run -j $(JOBS)

test: lint unit real faults

check: lint unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.installed-dev programs
	$(PYTEST) tests/unit

real: $(VENV)/.installed-dev programs slurm
	$(PYTEST) tests/real

faults: $(VENV)/.installed-dev programs
	$(PYTEST) tests/faults

benchmark: $(VENV)/.installed-dev programs
	$(BIN)/python benchmarks/overhead.py

# What CRMod and CRTomo need of the system.
.PHONY: programs slurm
programs:
	bash tests/clusters/install-debian-packages programs

slurm:
	bash tests/clusters/install-debian-packages slurm

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "crh-batch needs Python 3.10 or later; set PYTHON=/path/to/it" >&2; exit 3; }
	$(PYTHON) -m venv $(VENV) || { \
	  test "$$(id -u)" = 0 && apt-get update && apt-get install -y python3-venv && rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); }

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[programs]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
