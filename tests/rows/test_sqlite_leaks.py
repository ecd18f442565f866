"""Leaks of the row wall of SQLite that were found by attacking it on a live engine."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine, insert, select, text
from sqlalchemy.engine import Engine

from partywall import PartywallError, RefusedStatementError, RowWall, Tenancy, TenantChangedError, tenant

metadata = MetaData()
tenants = Table("tenants", metadata, Column("id", Integer, primary_key=True))
notes = Table(
    "notes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("tenant_id", Integer, nullable=False),
    Column("name", String),
)

tenancy = Tenancy(metadata, tenants="tenants", rows=RowWall())

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
    engine = tenancy.guard(plain)
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


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT count(*) FROM undeclared",
        "SELECT count(*) FROM sqlite_temp_master",
        "SELECT count(*) FROM pragma_table_list",
        "SELECT count(*) FROM counted",
        "SELECT 1 FROM Counted AS c",
        "SELECT one FROM counted",
        "SELECT count(*) FROM number",
        "SELECT n FROM number",
        "SELECT one FROM products",
        "SELECT count(*) FROM nested",
        "SELECT any FROM some",
        "SELECT count(*) FROM main.counted",
        "SELECT 1 WHERE 1 IN counted",
        "SELECT 1 WHERE EXISTS (SELECT 1 FROM counted LIMIT 1 OFFSET 1)",
        "SELECT (SELECT count(*) FROM counted)",
        "WITH c AS (SELECT * FROM counted) SELECT count(*) FROM c",
    ],
)
def test_what_nobody_declared_is_refused_each_time(engine: Engine, sql: str) -> None:
    with tenant(1), engine.begin() as connection:
        raw = raw_of(connection)
        for _ in range(3):
            with pytest.raises(RefusedStatementError):
                raw.execute(sql)


def test_what_has_come_into_the_database_since_is_refused_each_time(engine: Engine, path: Path) -> None:
    with tenant(1), engine.begin() as connection:
        raw = raw_of(connection)
        with closing(sqlite3.connect(path)) as other, other:
            other.execute("CREATE TABLE late AS SELECT name FROM notes")
            other.execute("CREATE VIEW late_view AS SELECT 1 AS one FROM notes")
        for source in ("late", "late_view"):
            for _ in range(3):
                with pytest.raises(RefusedStatementError):
                    raw.execute(f"SELECT count(*) FROM {source}")
        assert raw.execute("WITH c AS (SELECT name FROM notes) SELECT count(*) FROM c").fetchall() == [(1,)]


def test_factories_of_the_applications_do_not_answer_our_questions(engine: Engine) -> None:
    sql = "SELECT count(*) FROM undeclared JOIN (SELECT 'theirs' AS name) USING (name)"
    with tenant(1), engine.begin() as connection:
        raw = raw_of(connection)
        raw.row_factory = lambda _, row: dict.fromkeys(["x"], row)  # of which (name,) gives "x", and no table's name
        raw.text_factory = lambda _: "x"
        with pytest.raises(RefusedStatementError):
            raw.execute(sql)
        with pytest.raises(RefusedStatementError):
            raw.execute("SELECT count(*) FROM undeclared")


# One statement at a time, and its tenant's.


def test_a_parameter_cannot_use_what_the_statement_may(engine: Engine) -> None:
    got: list[Any] = []

    class Sly:
        def __init__(self, raw: Any) -> None:
            self.raw = raw

        def __conform__(self, _protocol: Any) -> str:
            try:
                got.append(sqlite3.Cursor(self.raw).execute("SELECT * FROM main.notes").fetchall())
            except (sqlite3.Error, PartywallError):
                got.append(None)
            return "x"

    with tenant(1), engine.begin() as connection:
        connection.execute(insert(notes).values(name=Sly(raw_of(connection))))

    assert got == [None]


def test_a_thread_cannot_use_what_a_statement_of_another_may(engine: Engine) -> None:
    leaked: list[Any] = []
    with tenant(1), engine.connect() as connection:
        raw = raw_of(connection)
        is_over = threading.Event()

        def read() -> None:
            number = 0
            while not is_over.is_set():
                number += 1
                with suppress(sqlite3.Error, PartywallError):
                    leaked.append(raw.execute(f"SELECT * FROM main.notes -- {number}").fetchall())

        thread = threading.Thread(target=read)
        thread.start()
        try:
            for _ in range(30):
                connection.execute(insert(notes), [{"name": "x"} for _ in range(200)])
        finally:
            is_over.set()
            thread.join()
            connection.rollback()

    assert leaked == []


LATE = "SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT name FROM notes"


@pytest.mark.parametrize("next_tenant", [2, None])
def test_a_cursor_shows_no_rows_of_the_tenant_after(engine: Engine, next_tenant: int | None) -> None:
    with tenant(1), engine.begin() as connection:
        raw = raw_of(connection)
        opened = [raw.execute(LATE) for _ in range(4)]
        assert opened[0].fetchone() == (1,)
        raw.gate.let_in(next_tenant, None)
        for fetch in (opened[0].fetchone, opened[1].fetchmany, opened[2].fetchall, lambda: list(opened[3])):
            with pytest.raises(PartywallError, match=r"another tenant"):
                fetch()


def test_a_cursor_made_by_hand_shows_nobodys_rows_of_what_the_driver_has_cached(engine: Engine) -> None:
    with tenant(1), engine.begin() as connection:
        raw = raw_of(connection)
        assert raw.execute(LATE).fetchall() == [(1,), (2,), ("mine",)]
        with pytest.raises(sqlite3.Error):
            sqlite3.Cursor(raw).execute(LATE).fetchall()


def test_a_result_ends_with_its_transaction(engine: Engine) -> None:
    with engine.connect() as connection:
        with tenant(1):
            result = connection.execute(text("SELECT '1' UNION ALL SELECT '2' UNION ALL SELECT name FROM notes"))
            assert result.fetchone() == ("1",)
            connection.commit()
        with tenant(2):
            connection.execute(select(notes.c.id)).all()
            with pytest.raises(PartywallError, match=r"another tenant"):
                result.fetchall()


# What a tenant leaves on a connection.


def test_a_connection_that_was_handed_out_is_closed_when_it_comes_back(engine: Engine) -> None:
    seen: list[bytes] = []
    with tenant(1), engine.begin() as connection:
        fairy = connection.connection
        raw = raw_of(connection)
        raw.text_factory = seen.append
        raw.isolation_level = None
    with tenant(2), engine.connect() as connection:
        assert connection.execute(select(notes.c.name).order_by(notes.c.id)).all() == [("theirs",), ("theirs too",)]
        connection.execute(insert(notes).values(name="undone"))
        connection.rollback()
        assert len(connection.execute(select(notes)).all()) == 2
        for use in (lambda: raw.execute("SELECT * FROM notes"), fairy.cursor):
            with pytest.raises((sqlite3.ProgrammingError, AssertionError)):
                use()
    assert seen == []


def test_a_raw_connection_of_the_engines_is_closed_when_it_comes_back(engine: Engine) -> None:
    pooled = engine.raw_connection()
    raw: Any = pooled.dbapi_connection
    pooled.close()
    with pytest.raises(sqlite3.ProgrammingError):
        raw.execute("SELECT * FROM notes")


def test_a_connection_that_nobody_else_has_had_is_kept(engine: Engine) -> None:
    kept = []
    for tenant_id in (1, 2):
        with tenant(tenant_id), engine.begin() as connection:
            connection.execute(insert(notes).values(name="x"))
            kept.append(connection._dbapi_connection.dbapi_connection)  # type: ignore[union-attr]  # as SQLAlchemy has it

    assert kept[0] is kept[1]


def test_a_session_in_which_two_tenants_meet_shows_nobodys_rows(engine: Engine) -> None:
    with tenancy.session(engine, tenant=1) as session:
        with tenant(2), pytest.raises(TenantChangedError):
            session.connection()
        raw = raw_of(session.connection())
        assert raw.execute("SELECT * FROM notes").fetchall() == []


def test_a_session_shows_a_raw_cursor_its_tenants_rows_at_once(engine: Engine) -> None:
    with tenancy.session(engine, tenant=1) as session:
        raw = raw_of(session.connection())
        assert raw.execute("SELECT name FROM notes").fetchall() == [("mine",)]
