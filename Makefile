# make demo   set up, then show everything on drawn clips (about a minute)
# make test   set up, then lint, type-check and test: what CI runs
# make test-fast   the same without tests of Ray, browsers, real time, several processes and exported CNNs
# make docs   the documentation as a site: site/index.html
#
# All of them need nothing but Python 3.11 or newer; everything is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help install demo docs test test-fast lint format clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(STAMP)

# Installed anew when either list changes.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "activity needs Python 3.11 or newer: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || \
		{ echo "no venv module: install it (on Debian: apt install python3-venv)" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

# The demo writes to demo/ only, its cache included.
demo: export ACTIVITY_CACHE_DIR := demo/cache
demo: $(STAMP)
	@rm -rf demo
	$(BIN)/activity demo demo

docs: $(STAMP)
	$(BIN)/python docs/reference.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# Tests start hundreds of processes: each would compile the package anew.
unexport PYTHONDONTWRITEBYTECODE

# More workers than two cores: some tests wait for real time or other processes.
PYTEST := $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test: lint
	@command -v chromium >/dev/null || \
		echo "No chromium: tests of pages are skipped (on Debian: apt install chromium)" >&2
	$(PYTEST)

test-fast: lint
	$(PYTEST) -m "not slow"

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(BIN)/mypy --platform win32 --cache-dir .mypy_cache/win32 activity_cli
	$(BIN)/mypy --platform darwin --cache-dir .mypy_cache/darwin activity_cli

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo site build dist .mypy_cache .ruff_cache .pytest_cache
