# Every target makes the environment it needs; nothing is done twice.
#   make book         build the book: _build/html/index.html
#   make test         everything that is checked, the built site included
#   make serve        build, then show it on http://127.0.0.1:8000 (PORT=… for another port)
#   make notebooks    bring each chapter's .ipynb in step with its .md and store the outputs that are checked
#   make bench        speed beside peers, which it installs into .venv-bench; rewrites benchmarks/results.md
#   make lint         style;  make format  repairs it
#   make lock         requirements.in -> requirements.txt
#   make clean        remove everything that was built (not the environment)
# Options: PYTHON=python3.12   NEWEST="jax flax" (their newest versions in place of the pinned ones)   RECORD=all (make notebooks)

PYTHON ?= python3
PORT ?= 8000
NEWEST ?=
RECORD ?= missing
WORKERS ?= 3

VENV := .venv/bin/python
# The same numbers every time, whatever the caller's shell sets.
export PYTHONHASHSEED := 0
export JAX_PLATFORMS := cpu
# Some containers forbid Python to keep compiled modules; each of the many processes here would then compile jax anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help book test serve notebooks bench lint format lock clean environment

# The first target is what plain `make` does.
help:
	@sed -n '2,10s/^#   //p' Makefile

book: environment
	@$(VENV) tools/build_book.py

test: book
	@$(VENV) -m pytest -n $(WORKERS) --doctest-modules --no-loadscope-reorder --durations=8 tests diffbook

serve: book
	@echo "http://127.0.0.1:$(PORT)   (Ctrl-C ends it)"
	@$(VENV) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

notebooks: environment
	@$(VENV) tools/build_book.py --notebooks --record=$(RECORD)

bench: .venv-bench/ready
	@PYTHONPATH=. .venv-bench/bin/python benchmarks/run.py

.venv-bench/ready: benchmarks/requirements.txt
	@echo "bench: installing the package's peers into .venv-bench"
	@$(PYTHON) -m venv --clear .venv-bench && echo '*' > .venv-bench/.gitignore
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --requirement benchmarks/requirements.txt
	@touch $@

lint: environment
	@$(VENV) -m ruff check . && $(VENV) -m ruff format --check .

format: environment
	@$(VENV) -m ruff check --fix . ; $(VENV) -m ruff format .

lock: environment
	@$(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate requirements.in -o requirements.txt

clean:
	rm -rf _build .pytest_cache .ruff_cache .hypothesis build dist *.egg-info
	find diffbook tests tools _ext -name __pycache__ -prune -exec rm -rf {} +

environment:
	@$(PYTHON) tools/environment.py $(NEWEST)
