# Both `make demo` and `make test` do all their own set-up in .venv.
PYTHON ?= python3
BIN := .venv/bin
export OMP_NUM_THREADS ?= 2

.PHONY: setup demo test check bench bench-kernels gallery clean
.DEFAULT_GOAL := test

# CPU torch first: a bare requirement would take the newest CUDA build with gigabytes of packages.
.venv/ready: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import torch' 2>/dev/null || $(BIN)/pip install -q torch==2.13.0
	$(BIN)/pip install -q -e '.[dev]'
	touch $@

setup: .venv/ready

demo: .venv/ready
	$(BIN)/recurra demo

# Two workers of one thread each: more threads than cores wait for one another.
test: export OMP_NUM_THREADS := 1
test: .venv/ready
	$(BIN)/pytest -n 2

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports

bench: .venv/ready
	$(BIN)/python benchmarks/language_model.py

bench-kernels: .venv/ready
	$(BIN)/pip install -q -e '.[bench]'
	$(BIN)/python benchmarks/kernels.py

gallery: .venv/ready
	$(BIN)/python docs/make_gallery.py

clean:
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build
