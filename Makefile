# make demo: create the environment and run the main job on the embedded demo data.
# make test: create the environment and pass lint, types and tests.
# PYTHON chooses the interpreter; pip's own environment variables choose the index.
# JOBS says how many processes the tests run in.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo_data
JOBS ?= 2

.PHONY: demo test environment lint types tests docs format clean

demo: $(VENV)/.base
	@echo "== Demo data: raw pictures, texts, knowledge graph and interactions in $(DEMO)/"
	$(BIN)/slifmr demo $(DEMO)
	@echo "== Train: features, graphs, SLIF-MR with early stopping"
	$(BIN)/slifmr fit --config demo --data.root $(DEMO)
	@echo "== Test the best checkpoint of that run"
	run=$$(ls -td runs/demo/version_* | head -n 1) && \
	$(BIN)/slifmr test --config $$run/config.yaml --ckpt_path $$run/checkpoints/epoch*.ckpt

test: lint types tests

environment: $(VENV)/.dev

lint: $(VENV)/.dev
	@echo "== Lint"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@echo "== Types"
	$(BIN)/mypy

tests: $(VENV)/.dev
	@echo "== Tests"
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

docs: $(VENV)/.dev
	@echo "== Site in build/site"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/.base: pyproject.toml constraints.txt
	@echo "== Environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is older than 3.11; choose another: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	@echo "== Development tools in $(VENV)"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@
