# Each target sets up what it needs; only Python 3.11 or later and make must be there.
# Another Python: make test PYTHON=/path/to/python3.12

PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	"$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$name" && break; done)
VENV ?= .venv
OUT ?= demo

export VENV

.PHONY: setup demo demo-all test check format clean help

help:
	@echo "make setup   create $(VENV) and install nmsynth in it; nothing is done when it is up to date"
	@echo "make demo    a simulated patient: scan, synthesise, evaluate, report, in $(OUT)/"
	@echo "make demo-all  a simulated study of every task that has a model, in $(OUT)-all/"
	@echo "make test    make check, then all tests"
	@echo "make check   lint, format, types, layers"
	@echo "make format  put the code into the common format"
	@echo "make clean   remove $(VENV), caches and demo output"

setup:
	@if [ -z "$(PYTHON)" ]; then \
		echo "nmsynth needs Python 3.11 or later; none was found on the path. Install one, or say: make PYTHON=/path/to/python3.12" >&2; \
		exit 1; \
	fi
	@"$(PYTHON)" scripts/setup.py "$(VENV)"

demo: setup
	@sh scripts/demo.sh "$(OUT)"

demo-all: setup
	@"$(VENV)/bin/nmsynth" demo "$(OUT)-all" --task all --overwrite

check: setup
	@sh scripts/check.sh

test: check
	@sh scripts/test.sh

format: setup
	@"$(VENV)/bin/ruff" check --fix src tests scripts
	@"$(VENV)/bin/ruff" format src tests scripts

clean:
	rm -rf "$(VENV)" .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis demo demo-all build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
