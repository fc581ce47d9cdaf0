# One command sets up and runs the main job (make run); one sets up and passes the tests (make test).
PYTHON ?= python3
VENV ?= .venv
# Real data for `make bench`, where it exists.
DATA ?= ../shared/data
BIN := $(VENV)/bin
# torch first and alone: whichever build the index offers under this exact version is then kept.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run federation test check docs results bench speed fuzz clean

run: $(VENV)/.runtime
	$(BIN)/feddiff-secure run --epsilon 8

federation: $(VENV)/.flare
	$(BIN)/feddiff-secure run --engine flare --epsilon 8

# Four workers on two cores: tests of processes that talk to each other wait more than they compute.
# A file stays with one worker, which sets up what its tests share once. Their order is not changed: a few tests of one
# file may take longest.
test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder -q --durations=25

check: $(VENV)/.dev docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_module_length.py
	PATH="$(abspath $(BIN)):$$PATH" bash scripts/wheel_smoke_test.sh

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict --quiet

results: $(VENV)/.dev
	$(BIN)/python -m scripts.accuracy_table
	FEDDIFF_FLIPS=1200 $(BIN)/python -m pytest -q tests/transcript/test_flipped_bytes.py

# Utility against privacy: pages in runs/bench. An interrupted one goes on where it was.
bench: $(VENV)/.runtime
	$(BIN)/feddiff-secure bench --out runs/bench/simulated
	if [ -d "$(DATA)" ]; then \
	  $(BIN)/feddiff-secure bench --grid benchmarks/real.toml --data-dir "$(DATA)" --out runs/bench/real; \
	else echo "no real data in $(DATA): give DATA=DIR to add it"; fi

speed: $(VENV)/.dev
	$(BIN)/python -m benchmarks

fuzz: $(VENV)/.dev
	$(PIP) "atheris>=3"
	$(BIN)/python scripts/fuzz_parsers.py --engine atheris --inputs 1000000

$(VENV)/.torch: constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	touch $@

$(VENV)/.runtime: $(VENV)/.torch pyproject.toml
	$(PIP) --editable .
	touch $@

$(VENV)/.flare: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[flare]"
	touch $@ $(VENV)/.runtime

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	$(PIP) --editable ".[dev]"
	touch $@ $(VENV)/.runtime $(VENV)/.flare

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache
