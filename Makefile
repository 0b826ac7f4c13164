# Two commands do all the set-up: `make demo` and `make test`. Both build .venv on first use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint pictures clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("mergelang needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m examples.lab.demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto tests

pictures: $(STAMP)
	$(BIN)/python -m tests.pictures

lint: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ruff
	$(BIN)/ruff check mergelang tests examples

clean:
	rm -rf $(VENV) build dist examples/lab/models examples/out
