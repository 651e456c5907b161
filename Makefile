# make demo, make test: all their own set-up, in .venv. make check: what CI runs.
.DEFAULT_GOAL := help
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
READY := .venv/.ready

help:
	@echo "make demo    fit, report and predict on the messages that come along (about 3 minutes, set-up included)"
	@echo "make test    the tests without the slow ones      make slow    the slow ones"
	@echo "make check   format, lint, types, docs, tests     make fmt     format the code"
	@echo "make docs    write docs/reference.md anew         make bench   measure the claims (long)"

$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "setting up .venv with $(PYTHON): downloads PyTorch, takes some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/graft fit examples/messages/messages.csv --budget 90s --out runs/demo --overwrite
	@printf '%s\n' "where is my parcel, it was due on monday" "please close my login for good" | $(BIN)/graft predict runs/demo - --top-k 2 --quiet
	@echo "open runs/demo/report.html in a browser"

test: $(READY)
	$(BIN)/python -m pytest -m "not slow" --durations=10

slow: $(READY)
	$(BIN)/python -m pytest -m slow --durations=10

fmt: $(READY)
	$(BIN)/ruff format src tests examples bench scripts
	$(BIN)/ruff check --fix src tests examples bench scripts

lint: $(READY)
	$(BIN)/ruff format --check src tests examples bench scripts
	$(BIN)/ruff check src tests examples bench scripts

types: $(READY)
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python scripts/reference.py > docs/reference.md

docs-check: $(READY)
	$(BIN)/python scripts/reference.py | diff -u docs/reference.md -

check: lint types docs-check test

bench: $(READY)
	for b in bench/*.py; do $(BIN)/python $$b || exit 1; done

.PHONY: help demo test slow fmt lint types docs docs-check check bench
