# make demo   set up, then show the whole job on drawn clips (about 2 minutes)
# make test   set up, then lint, type-check and test
#
# Both need nothing but Python 3.11 or newer; everything is installed into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

DEMO_LABELS := $(addprefix --label ,walk wave jump sit_down stand_up)

.PHONY: help install demo test lint format clean
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

# Everything the demo makes lies in demo/, its cache included.
demo: export ACTIVITY_CACHE_DIR := demo/cache
demo: $(STAMP)
	@rm -rf demo
	$(BIN)/activity sample demo/clips --clips-per-label 24 $(DEMO_LABELS)
	$(BIN)/activity sample demo/new --clips-per-label 2 --seed 1 $(DEMO_LABELS) --quiet
	@echo
	@echo "=== The shipped model on a drawn clip"
	$(BIN)/activity predict demo/new/wave/person00_000.mp4
	@echo
	@echo "=== A model of our own, trained on the drawn clips"
	$(BIN)/activity train demo/clips --name actions --output demo/runs
	@echo
	@echo "=== What it says of clips of people it has never seen"
	$(BIN)/activity predict demo/new --model demo/runs/actions
	@echo
	@echo "Pictures: demo/runs/actions/curves.png and demo/runs/actions/model/confusion.png"

test: lint
	@command -v chromium >/dev/null || \
		echo "No chromium: tests of pages are skipped (on Debian: apt install chromium)" >&2
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache
