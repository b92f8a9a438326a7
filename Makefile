# Everything is set up from here: `make quickstart` and `make test` need Python >= 3.11 and make, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: quickstart test lint bench clean

quickstart: $(VENV)/installed
	$(BIN)/hpsearch run quickstart
	$(BIN)/hpsearch analyze runs/quickstart
	$(BIN)/hpsearch report runs/quickstart
	@echo "Open runs/quickstart/report.html in a browser."

test: $(VENV)/dev
	$(BIN)/python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/dev
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV)

# torch first and pinned: pip would otherwise be free to take another build of it for a dependency.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@
