# Every target is one line that calls a tool; logic lives in Python.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STUDY ?= studies/quickstart.yaml
RUNS ?= runs

# Spinning OpenMP threads of two trials starve each other on few cores.
export OMP_WAIT_POLICY ?= PASSIVE

# Tests side by side, one to a core; whoever is done takes what another has left.
ABREAST := -n logical --maxprocesses 8 --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help setup study test test-all chaos check fmt knobs plan status report dashboard clean

help:  ## show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.installed  ## create .venv and install the tested set (constraints.txt)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,wandb,quantization,optimizers,ray,slurm,postgres,dashboard,cleaning]'
	@touch $@

study: setup  ## run or resume STUDY (default: studies/quickstart.yaml), then print its table
	@$(BIN)/ablate run $(STUDY) --runs $(RUNS)

test: setup  ## fast tests and a representative part of the slow ones
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow or representative" $(ABREAST)

test-all: setup  ## every test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(ABREAST)

chaos: setup  ## every fault over real processes, then a table of them (ten to twenty minutes)
	$(BIN)/python -m pytest tests/chaos --timeout 600

check: setup  ## formatting, lint, types
	$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(BIN)/mypy

fmt: setup  ## format and sort imports
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

knobs: setup  ## every knob, its domain, its crammed and its BERT value
	@$(BIN)/ablate knobs

plan: setup  ## arms, trials and cost of STUDY; starts nothing
	@$(BIN)/ablate plan $(STUDY)

status: setup  ## where STUDY stands
	@$(BIN)/ablate status $(STUDY) --runs $(RUNS)

report: setup  ## write the pages of STUDY again from its records
	@$(BIN)/ablate report $(STUDY) --runs $(RUNS)

dashboard: setup  ## browse the report of STUDY
	@$(BIN)/ablate dashboard $(STUDY) --runs $(RUNS) --open

clean:  ## remove the environment and caches; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
