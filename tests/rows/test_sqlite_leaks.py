"""Leaks of the row wall of SQLite that were found by attacking it on a live engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine
from sqlalchemy.engine import Engine

from partywall import PartywallError, RefusedStatementError, RowWall, Tenancy, tenant

metadata = MetaData()
tenants = Table("tenants", metadata, Column("id", Integer, primary_key=True))
notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", Integer, nullable=False),
    Column("name", String),
)

ROWS = (
    "INSERT INTO tenants VALUES (1), (2)",
    "INSERT INTO notes VALUES (1, 1, 'mine'), (2, 2, 'theirs'), (3, 2, 'theirs too')",
    "CREATE TABLE undeclared AS SELECT name FROM notes",
    "CREATE VIEW counted AS SELECT 1 AS one FROM notes",
    "CREATE VIEW number AS SELECT count(*) AS n FROM notes",
    "CREATE VIEW products AS SELECT 1 AS one FROM notes CROSS JOIN tenants",
    "CREATE VIEW nested AS SELECT inside.one FROM (SELECT 1 AS one FROM notes) AS inside",
    "CREATE VIEW some AS SELECT EXISTS (SELECT 1 FROM notes LIMIT 1 OFFSET 2) AS any",
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "leaks.db"
    metadata.create_all(create_engine(f"sqlite:///{path}"))
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in ROWS:
            connection.execute(statement)
    return path


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    plain = create_engine(f"sqlite:///{path}", pool_size=1, max_overflow=0)
    engine = Tenancy(metadata, tenants="tenants", rows=RowWall()).guard(plain)
    yield engine
    engine.dispose()


def raw_of(connection: Any) -> Any:
    return connection.connection.dbapi_connection


# What is refused leaves nothing behind that could be used.


@pytest.mark.parametrize("before", ["", "/* x */ ", "-- x\n", ";", "\ufeff", " ; /**/ ;"])
def test_explain_is_refused_before_the_driver_caches_it(engine: Engine, before: str) -> None:
    sql = f"{before}EXPLAIN SELECT * FROM notes"
    with tenant(1), engine.begin() as connection:
        raw = raw_of(connection)
        for _ in range(2):
            with pytest.raises(RefusedStatementError):
                raw.execute(sql)
        with pytest.raises(sqlite3.DatabaseError):
            sqlite3.Cursor(raw).execute(sql).fetchall()


def test_opcodes_would_not_tell_the_secret_of_the_views(engine: Engine) -> None:
    with tenant(1), engine.begin() as connection:
        fence = raw_of(connection).gate.fence

    assert fence.secret not in fence.function


def test_a_tenants_table_that_has_only_its_id_shows_the_tenants_own(engine: Engine) -> None:
    with tenant(2), engine.begin() as connection:
        raw = raw_of(connection)
        assert raw.execute("SELECT * FROM tenants").fetchall() == [(2,)]
        assert raw.execute("SELECT count(*) FROM tenants").fetchall() == [(1,)]
        assert raw.execute("SELECT t.id FROM tenants AS t JOIN notes ON t.id = tenant_id").fetchall() == [(2,), (2,)]
        for source in ("main.tenants", "(SELECT DISTINCT * FROM main.tenants) AS tenants"):
            with pytest.raises(RefusedStatementError):
                raw.execute(f"SELECT count(*) FROM {source}")
