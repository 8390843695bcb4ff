# make demo    car bodies drawn here through a whole line: station, two edges, PLC and UI
# make test    everything that must hold, in minutes
# make check   lint, format, types, import contracts
# make proof   the slow proofs, one JSON line a claim (needs the data folder; see docs/proofs.md)
# make mutants plant defects one by one in a copy, and see which test catches each
# make boards  train on real circuit boards and send the rest through the line
# make welds   how hard the rendered welds are, and what the released model does on them

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DATA ?= ../shared/data
BOARDS ?= $(DATA)/deeppcb-sample
ARGS ?=
# Tests wait for processes and clocks for a third of their time: more of them than there are cores.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(min(8, 1 + (os.cpu_count() or 1)))")

.PHONY: demo test check proof mutants boards welds environment clean

environment: $(VENV)/.complete

$(VENV)/.complete: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(VENV)/.demo
	$(BIN)/inspection demo $(ARGS)

# The demonstration needs neither torch nor the tools of development.
$(VENV)/.demo: pyproject.toml constraints.txt
	@echo "Installing what the demonstration needs into $(VENV), from the package index ..."
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[demo]"
	@touch $@

test: environment
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

boards: environment
	$(BIN)/python tests/proofs/circuit_boards.py --data $(BOARDS) $(ARGS)

welds: environment
	$(BIN)/python tests/proofs/rendered_welds.py $(ARGS)

proof: environment
	$(BIN)/python tests/proofs/run.py --data $(DATA) $(ARGS)

mutants: environment
	$(BIN)/python tests/mutants/run.py $(ARGS)

clean:
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
