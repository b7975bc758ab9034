# make demo   set up, then show everything on drawn clips (about 2 minutes)
# make test   set up, then lint, type-check and test: what CI runs
# make test-fast   the same without tests of Ray, browsers, real time, several processes and exported CNNs
#
# All of them need nothing but Python 3.11 or newer; everything is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

DEMO_LABELS := $(addprefix --label ,walk wave jump sit_down stand_up)

.PHONY: help install demo test test-fast lint format clean
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
	$(BIN)/activity sample demo/clips --clips-per-label 24 $(DEMO_LABELS)
	$(BIN)/activity sample demo/new --clips-per-label 2 --seed 1 $(DEMO_LABELS) --quiet
	@echo
	@echo "=== The included model on a drawn clip"
	$(BIN)/activity predict demo/new/wave/person00_000.mp4 --model surveillance-fight
	@echo
	@echo "=== Our own model, trained on the drawn clips"
	$(BIN)/activity train demo/clips --name actions --output demo/runs
	@echo
	@echo "=== Predictions for clips of people that it was not trained on"
	$(BIN)/activity predict demo/new --model demo/runs/actions
	@echo
	@echo "Pictures: demo/runs/actions/curves.png and demo/runs/actions/model/confusion.png"

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

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache
