# Needs Python 3.11 or later and make; everything else is installed into .venv.
PYTHON ?= python3
LATEST := .venv/sqlalchemy-2.1
OLDER := .venv/sqlalchemy-2.0

.PHONY: demo demo-postgres test check bench clean help

help:
	@echo "make demo           two distributors share one database (SQLite); demo-postgres: the same on PostgreSQL"
	@echo "make test           the whole suite, PostgreSQL included, on SQLAlchemy 2.1 and 2.0"
	@echo "make check          lint, format, types, import layers, docs"
	@echo "make bench          the time it takes, as ratios to queries filtered by hand"

demo: $(LATEST)/ready
	$(LATEST)/bin/python -m demo $(ARGS)

demo-postgres: $(LATEST)/ready
	$(LATEST)/bin/python -m demo --postgres $(ARGS)

test: $(LATEST)/ready $(OLDER)/ready
	$(LATEST)/bin/python -m pytest -n 2 $(ARGS)
	$(OLDER)/bin/python -m pytest -n 2 $(ARGS)

check: $(LATEST)/ready
	$(LATEST)/bin/ruff check .
	$(LATEST)/bin/ruff format --check .
	$(LATEST)/bin/mypy
	$(LATEST)/bin/python -m pytest -q tests/test_layers.py tests/test_docs.py

bench: $(LATEST)/ready
	$(LATEST)/bin/python -m benchmarks $(ARGS)
	$(LATEST)/bin/python -m benchmarks.row_wall
	$(LATEST)/bin/python -m benchmarks.row_wall_sqlite
	$(LATEST)/bin/python -m benchmarks.big_tenant $(BIG_TENANT_ARGS)

$(LATEST)/ready: pyproject.toml
	$(PYTHON) -m venv $(LATEST)
	$(LATEST)/bin/python -m pip install --quiet --upgrade pip
	$(LATEST)/bin/python -m pip install --quiet --editable ".[dev]" "sqlalchemy>=2.1,<2.2"
	touch $@

$(OLDER)/ready: pyproject.toml
	$(PYTHON) -m venv $(OLDER)
	$(OLDER)/bin/python -m pip install --quiet --upgrade pip
	$(OLDER)/bin/python -m pip install --quiet --editable ".[dev]" "sqlalchemy>=2.0.30,<2.1"
	touch $@

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
