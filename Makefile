# Each target is a line or two over plain tools; all of them work as the first command ever typed.
PYTHON ?= python3
# Where the CPU build of torch comes from, e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest -n 2
QUICK := not medium and not slow

.PHONY: setup setup-corpus demo check test test-medium test-slow bench docs clean

setup: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt $(wildcard tests/acceptance/requirements-*.txt)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) -e '.[all,qnn,dev,demo]'
	$(BIN)/python scripts/setup_clients.py
	@scripts/system_packages.sh
	touch $@

demo: setup
	$(BIN)/python -m examples.demo

check: setup
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/mypy && $(BIN)/lint-imports

test: setup
	$(PYTEST) -m "$(QUICK)"

setup-corpus: setup
	$(BIN)/python scripts/setup_corpus.py

test-medium: setup-corpus
	$(PYTEST) -m "medium and not slow"

test-slow: setup-corpus
	$(PYTEST) -m slow

bench: setup-corpus
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python scripts/options_docs.py

clean:
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build
