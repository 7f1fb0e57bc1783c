# Every target sets up what it needs in .venv; nothing has to be run first.
PYTHON ?= python3
# What pip is told to install as torch. To pick another build, give pip's arguments, for example
#   make demo TORCH="torch==2.13.0 --index-url URL"
TORCH ?= $(shell grep '^torch==' constraints.txt)
# More arguments for pytest, for example ARGS="tests/manifolds -k sphere"
ARGS ?=

BIN := .venv/bin
READY := .venv/ready
PIP_INSTALL := $(BIN)/python -m pip install -c .venv/constraints.txt

.PHONY: demo test peers check format docs bench setup clean

demo: $(READY)  ## Train WordNet mammals, print the table, save the picture.
	$(BIN)/python examples/wordnet_mammals.py

test: $(READY)  ## Run the tests.
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 $(ARGS)

peers: $(READY)-peers  ## Run the tests that compare with other libraries.
	$(BIN)/python -m pytest -m peers $(ARGS)

check: $(READY)  ## Format, lint, docstrings, types and import rules.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)  ## Format the code and fix what the linter can.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(READY)  ## Build the documentation; a warning is an error.
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

bench: $(READY)-bench  ## Run the benchmarks beside the peers.
	$(BIN)/python -m benchmarks

setup: $(READY)  ## Create .venv with the tested versions.

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	grep -v '^torch==' constraints.txt > .venv/constraints.txt
	$(PIP_INSTALL) $(TORCH)
	$(PIP_INSTALL) -e '.[test,check,docs]'
	touch $@

$(READY)-%: $(READY)
	$(PIP_INSTALL) -e '.[$*]'
	touch $@

clean:  ## Remove everything that is not source.
	rm -rf .venv build dist docs/_build docs/api/generated docs/gallery src/*.egg-info
