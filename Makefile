# Everything that developers and CI call. Each target installs what it needs: a venv, and Debian packages when root.

VENV := .venv
BIN := $(VENV)/bin
# Which Python to use; found out when empty.
PYTHON ?=
# A new directory each time: nothing is ever overwritten or removed.
DEMO := demo-survey-$(shell date +%Y%m%d-%H%M%S)
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest
# Tests of schedulers and of killed processes wait more than they work, so there are twice as many of them at a time as CI has cores.
WORKERS ?= 4
SIDE_BY_SIDE := --numprocesses $(WORKERS) --dist worksteal

.PHONY: demo test check lint unit real bed long faults real-and-faults benchmark clean

demo: $(VENV)/.installed programs
	$(BIN)/crh-batch demo $(DEMO)
	cd $(DEMO) && ../$(BIN)/crh-batch run -j $(JOBS)

test: lint unit real-and-faults

check: lint unit

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

unit: $(VENV)/.installed-dev programs
	$(PYTEST) tests/unit $(SIDE_BY_SIDE)

real: $(VENV)/.installed-dev programs schedulers
	$(PYTEST) tests/real -m "not bed and not long" $(SIDE_BY_SIDE)

# The test bed itself, and the facts about the schedulers that the job scripts rely on: after a change of either.
bed: $(VENV)/.installed-dev schedulers
	$(PYTEST) tests/real -m bed

# The same on more of the clusters, and the shared tomodirs on one.
long: $(VENV)/.installed-dev programs schedulers
	$(PYTEST) tests/real tests/faults -m long $(SIDE_BY_SIDE)

faults: $(VENV)/.installed-dev programs
	$(PYTEST) tests/faults -m "not long" $(SIDE_BY_SIDE)

real-and-faults: $(VENV)/.installed-dev programs schedulers
	$(PYTEST) tests/real tests/faults -m "not bed and not long" $(SIDE_BY_SIDE)

# Breaks each promise on purpose, and the tests named for it must fail; then its table in docs/reliability.md.
.PHONY: mutations mutations-table
mutations: $(VENV)/.installed-dev programs
	PYTHONPATH=tests nice $(BIN)/python -m mutations.run

mutations-table: $(VENV)/.installed-dev
	PYTHONPATH=tests $(BIN)/python -m mutations.report

# Processes killed at random: `make campaign N=1000 SEED=7`. A trial takes about a second.
N ?= 400
SEED ?= 0
.PHONY: campaign
campaign: $(VENV)/.installed-dev
	nice $(BIN)/python tests/faults/campaign.py $(N) --seed $(SEED) --table docs/reliability.md

# Damaged inputs for every reader: `make fuzz N=10000`, so many each. What fails is kept in fuzz-failures/.
.PHONY: fuzz
fuzz: $(VENV)/.installed-dev
	PYTHONPATH=tests nice $(BIN)/python -m unit.fuzz.campaign --inputs $(N)

# An error at each operation on files of each command, not at some: half an hour.
.PHONY: lies
lies: $(VENV)/.installed-dev programs
	CRH_BATCH_EVERY=1 $(PYTEST) tests/faults/test_lies_any_operation.py tests/faults/test_lies_stopped_pilot.py $(SIDE_BY_SIDE)

benchmark: $(VENV)/.installed-dev programs
	$(BIN)/python benchmarks/overhead.py
	$(BIN)/python benchmarks/packing.py

# What CRMod and CRTomo need of the system, and the schedulers and the network filesystem that the tests start.
.PHONY: programs schedulers
programs:
	bash .ci/install-debian-packages programs

schedulers:
	bash .ci/install-debian-packages slurm sge glusterfs ssh

$(VENV)/bin/python:
	bash .ci/make-venv $(VENV) $(PYTHON)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[programs]'
	touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache build dist
