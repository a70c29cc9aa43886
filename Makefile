# Commands for people: `make demo`, `make demo-reports` and `make test`. They make .venv and install what they need.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: .venv demo demo-reports test check format clean

.venv: .venv/.for-use

demo: .venv/.for-use
	$(BIN)/ikyoku demo

demo-reports: .venv/.for-use
	$(BIN)/ikyoku demo --reports

test: check
	$(BIN)/python -m pytest

check: .venv/.for-work
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/.for-work
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

.venv/.for-use: pyproject.toml constraints.txt
	@echo "Installing what ikyoku needs into .venv (1 to 3 minutes) ..."
	$(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

.venv/.for-work: .venv/.for-use
	$(PIP) --editable '.[dev]'
	@touch $@
