"""Under the row wall of SQLite, what its tables can be and do works for a tenant as it works for it alone."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Computed,
    Connection,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    delete,
    event,
    exists,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from partywall import (
    ForeignTenantError,
    NoTenantError,
    PartywallError,
    RefusedStatementError,
    SetupError,
    Tenancy,
    tenant,
    unscoped,
)
from partywall.rows.declaration import RowWall

metadata = MetaData()
tenants = Table("tenants", metadata, Column("id", String, primary_key=True), Column("slug", String, nullable=False))


def owned(name: str, *parts: Any, **options: Any) -> Table:
    return Table(name, metadata, Column("tenant_id", String, nullable=False), *parts, **options)


projects = owned(
    "projects",
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("shout", String, Computed("upper(name)")),
    UniqueConstraint("tenant_id", "id"),
    UniqueConstraint("tenant_id", "name"),
    sqlite_autoincrement=True,
)
tasks = owned(
    "tasks",
    Column("id", Integer, primary_key=True),
    Column("project_id", Integer),
    Column("parent_id", Integer),
    Column("title", String, nullable=False),
    UniqueConstraint("tenant_id", "id"),
    ForeignKeyConstraint(
        ["tenant_id", "project_id"], ["projects.tenant_id", "projects.id"], ondelete="CASCADE", onupdate="CASCADE"
    ),
    ForeignKeyConstraint(["tenant_id", "parent_id"], ["tasks.tenant_id", "tasks.id"], ondelete="CASCADE"),
)
notes = owned(
    "notes",
    Column("id", Integer, primary_key=True),
    Column("project_id", ForeignKey("projects.id", ondelete="SET NULL")),
    Column("body", String),
)
settings = Table(
    "settings",
    metadata,
    Column("tenant_id", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", String),
    sqlite_with_rowid=False,
)
profiles = Table(  # the tenant is its rowid
    "profiles", MetaData(), Column("tenant_id", Integer, primary_key=True), Column("colour", String)
)
history = owned("history", Column("id", Integer, primary_key=True), Column("what", String))
users = Table("users", metadata, Column("id", Integer, primary_key=True), Column("email", String))
odd = owned('odd "name" [x]', Column("id", Integer, primary_key=True), Column('odd "column"', String))

TRIGGERS = (
    "CREATE TRIGGER projects_are_logged AFTER UPDATE ON projects "
    "BEGIN INSERT INTO history (tenant_id, what) VALUES (NEW.tenant_id, OLD.name || ' to ' || NEW.name); END",
    "CREATE TRIGGER projects_leave_notes BEFORE DELETE ON projects "
    "BEGIN UPDATE notes SET body = 'was of ' || OLD.name WHERE project_id = OLD.id; END",
    "CREATE TRIGGER tasks_have_titles BEFORE INSERT ON tasks WHEN NEW.title = '' "
    "BEGIN SELECT RAISE(ABORT, 'a task needs a title'); END",
)
ADDED_ROWS = 3


def tenancy(**options: Any) -> Tenancy:
    return Tenancy(metadata, tenants="tenants", tenants_public={"slug"}, shared_writable={"users"}, **options)


def fill(path: Path, owners: tuple[str, ...]) -> None:
    """Create the tables of the application, with look-alike rows of some tenants."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        metadata.create_all(connection)
        for trigger in TRIGGERS:
            connection.execute(text(trigger))
        for owner in ("a", "b"):
            base = 10 if owner == "a" else 20
            if owner not in owners:
                continue
            connection.execute(insert(tenants), [{"id": owner, "slug": f"slug {owner}"}])
            for number in (1, 2):
                at = base + number
                connection.execute(insert(projects), [{"tenant_id": owner, "id": at, "name": f"p{number}"}])
                connection.execute(
                    insert(tasks),
                    [
                        {"tenant_id": owner, "id": at, "project_id": at, "title": "t", "parent_id": None},
                        {"tenant_id": owner, "id": at + 5, "project_id": None, "title": "t", "parent_id": at},
                    ],
                )
                connection.execute(insert(notes), [{"tenant_id": owner, "id": at, "project_id": at, "body": owner}])
                connection.execute(insert(settings), [{"tenant_id": owner, "name": f"s{number}", "value": owner}])
                connection.execute(insert(odd), [{"tenant_id": owner, "id": at, 'odd "column"': owner}])
    engine.dispose()


def rows_of(path: Path, owner: str) -> dict[str, list[Any]]:
    """Return the rows of a tenant, past all walls."""
    found = {}
    with closing(sqlite3.connect(path)) as connection:
        for table in metadata.tables.values():
            column = "tenant_id" if "tenant_id" in table.c else "id"
            name = table.name.replace('"', '""')
            found[table.name] = connection.execute(
                f'SELECT * FROM "{name}" WHERE {column} = ? ORDER BY 1, 2', (owner,)
            ).fetchall()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    fill(tmp_path / "many.db", ("a", "b"))
    return tmp_path / "many.db"


@pytest.fixture
def engine(path: Path) -> Iterator[Engine]:
    engine = tenancy(rows=RowWall()).guard(create_engine(f"sqlite:///{path}"))
    yield engine
    engine.dispose()


WORK: dict[str, Callable[[Connection], Any]] = {
    "insert with a generated key": lambda c: c.execute(insert(projects).values(name="new")).rowcount,
    "insert returning": lambda c: c.execute(insert(projects).values(name="new").returning(projects.c.shout)).all(),
    "insert of many returning": lambda c: len(
        c.execute(insert(tasks).returning(tasks.c.id), [{"title": f"n{n}"} for n in range(ADDED_ROWS)]).all()
    ),
    "insert from select": lambda c: (
        c.execute(insert(tasks).from_select(["title", "project_id"], select(projects.c.name, projects.c.id))).rowcount
    ),
    "upsert": lambda c: c.execute(
        sqlite.insert(settings)
        .values(name="s1", value="new")
        .on_conflict_do_update(index_elements=["tenant_id", "name"], set_={"value": "changed"})
        .returning(settings.c.value)
    ).all(),
    "upsert that does nothing": lambda c: (
        c.execute(sqlite.insert(settings).values(name="s1", value="new").on_conflict_do_nothing()).rowcount
    ),
    "update": lambda c: c.execute(update(projects).values(name=projects.c.name + "!")).rowcount,
    "update returning": lambda c: c.execute(update(tasks).values(title="x").returning(tasks.c.title)).all(),
    "update from": lambda c: (
        c.execute(update(tasks).where(tasks.c.project_id == projects.c.id).values(title=projects.c.name)).rowcount
    ),
    "update with a subquery of the same table": lambda c: (
        c.execute(
            update(tasks).values(title=select(func.count()).select_from(tasks.alias()).scalar_subquery())
        ).rowcount
    ),
    "update without rowid": lambda c: c.execute(update(settings).values(value="x")).rowcount,
    "update of a key that cascades": lambda c: (
        c.execute(update(projects).where(projects.c.name == "p1").values(id=99)).rowcount
    ),
    "delete": lambda c: c.execute(delete(tasks)).rowcount,
    "delete that cascades": lambda c: c.execute(delete(projects).where(projects.c.name == "p1")).rowcount,
    "delete that cascades into the same table": lambda c: (
        c.execute(
            delete(tasks).where(tasks.c.parent_id.is_(None), exists().where(projects.c.id == tasks.c.project_id))
        ).rowcount
    ),
    "delete without rowid": lambda c: c.execute(delete(settings).where(settings.c.name == "s1")).rowcount,
    "names with quotes": lambda c: [
        c.execute(update(odd).values({'odd "column"': "x"})).rowcount,
        c.execute(insert(odd).values({'odd "column"': "y"})).rowcount,
        c.execute(select(odd.c['odd "column"'])).all(),
    ],
    "text": lambda c: [
        c.execute(text("UPDATE main.tasks SET title = 'x' WHERE project_id IS NOT NULL")).rowcount,
        c.execute(text("INSERT INTO tasks (title) VALUES ('y') RETURNING title")).all(),
        c.exec_driver_sql("DELETE FROM tasks WHERE title = ?", ("y",)).rowcount,
        c.execute(text("SELECT count(*) FROM tasks AS t JOIN main.projects AS p ON p.id = t.project_id")).all(),
    ],
    "savepoint": lambda c: [_in_a_savepoint(c), c.execute(select(func.count()).select_from(tasks)).all()],
    "shared rows": lambda c: [
        c.execute(insert(users).values(id=1, email="x")).rowcount,
        c.execute(update(users).values(email="y").returning(users.c.email)).all(),
        c.execute(delete(users)).rowcount,
    ],
    "a key that is there": lambda c: c.execute(insert(projects).values(name="p1")),
    "a trigger of the application's that refuses": lambda c: c.execute(insert(tasks).values(title="")),
    "a parent that is not there": lambda c: c.execute(insert(tasks).values(title="x", project_id=12345)),
    "a parent of another tenant": lambda c: c.execute(insert(tasks).values(title="x", project_id=21)),
    "generated values": lambda c: c.execute(select(projects.c.name, projects.c.shout).order_by("name")).all(),
}


def _in_a_savepoint(connection: Connection) -> bool:
    with connection.begin_nested() as savepoint:
        connection.execute(delete(tasks))
        savepoint.rollback()
    return savepoint.is_active


def _outcome(engine: Engine, run: Callable[[Connection], Any]) -> Any:
    try:
        with engine.begin() as connection:
            return run(connection)
    except IntegrityError as error:
        return type(error.orig), str(error.orig)


def _alone(engine: Engine) -> Engine:
    """Let a twin fill the tenant column, and hold its keys, as the walled engine does."""

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA foreign_keys = 1")

    return engine


def but_generated_ids(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Leave out the ids that SQLite has generated, which count for all tenants."""
    given = {"a", 11, 12, 16, 17, 99}
    return {
        table: sorted(
            tuple(
                str(value)
                for place, value in enumerate(row)
                if place != 1 or not isinstance(value, int) or value in given
            )
            for row in all_of
        )
        for table, all_of in rows.items()
    }


@pytest.mark.parametrize("name", WORK)
def test_a_tenant_among_many_does_what_it_does_alone(path: Path, engine: Engine, tmp_path: Path, name: str) -> None:
    fill(tmp_path / "alone.db", ("a",))
    others = rows_of(path, "b")
    twin = tenancy().guard(_alone(create_engine(f"sqlite:///{tmp_path / 'alone.db'}")))  # no row wall

    with tenant("a"):
        seen, alone = _outcome(engine, WORK[name]), _outcome(twin, WORK[name])
    twin.dispose()

    assert seen == alone
    assert but_generated_ids(rows_of(path, "a")) == but_generated_ids(rows_of(tmp_path / "alone.db", "a"))
    assert rows_of(path, "b") == others


# Triggers of the application's.


def add(path: Path, *statements: str) -> None:
    """Change the schema past all walls, as a migration does."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


@pytest.mark.parametrize(
    "body",
    [
        "UPDATE notes SET body = (SELECT max(title) FROM tasks)",
        "INSERT INTO history (tenant_id, what) SELECT NEW.tenant_id, body FROM notes",
        "SELECT RAISE(ABORT, 'there') WHERE EXISTS (SELECT 1 FROM notes WHERE body = 'b')",
        "SELECT RAISE(ABORT, 'there') WHERE NEW.title IN notes",
        "UPDATE notes SET body = t.title FROM tasks AS t",
        "DELETE FROM undeclared",
    ],
)
def test_a_trigger_that_looks_at_other_rows_is_refused_with_the_write(path: Path, engine: Engine, body: str) -> None:
    add(path, "CREATE TABLE undeclared (x)", f"CREATE TRIGGER looks AFTER INSERT ON tasks BEGIN {body}; END")
    others = rows_of(path, "b")

    with tenant("a"), engine.connect() as connection:
        with pytest.raises(RefusedStatementError, match=r"trigger|undeclared"):
            connection.execute(insert(tasks).values(title="x"))

    assert rows_of(path, "b") == others


@pytest.mark.parametrize(
    "body", ["DELETE FROM notes", "UPDATE notes SET body = 'x'", "UPDATE notes SET tenant_id = 'b'"]
)
def test_a_trigger_that_writes_others_rows_is_aborted(path: Path, engine: Engine, body: str) -> None:
    add(path, f"CREATE TRIGGER writes AFTER INSERT ON tasks BEGIN {body}; END")
    others = rows_of(path, "b")

    with tenant("a"), engine.begin() as connection, pytest.raises(ForeignTenantError):
        connection.execute(insert(tasks).values(title="x"))

    assert rows_of(path, "b") == others


def test_a_key_that_leads_across_tenants_does_not_cascade(path: Path, engine: Engine) -> None:
    add(path, "UPDATE notes SET project_id = 11 WHERE id = 21")  # a note of b's on a project of a's
    others = rows_of(path, "b")

    with tenant("a"), engine.begin() as connection, pytest.raises(ForeignTenantError):
        connection.execute(delete(projects).where(projects.c.id == 11))

    assert rows_of(path, "b") == others


# The schema changes while connections are open.


RECREATE = (
    "DROP TRIGGER projects_leave_notes",
    "CREATE TABLE new_notes (id INTEGER PRIMARY KEY, tenant_id VARCHAR NOT NULL, "
    "project_id INTEGER REFERENCES projects (id) ON DELETE SET NULL, body VARCHAR, added VARCHAR DEFAULT 'new')",
    "INSERT INTO new_notes (id, tenant_id, project_id, body) SELECT id, tenant_id, project_id, body FROM notes",
    "DROP TABLE notes",
    "ALTER TABLE new_notes RENAME TO notes",
    TRIGGERS[1],
)


def test_a_table_that_is_created_anew_meanwhile_stays_walled(path: Path, engine: Engine) -> None:
    with tenant("a"), engine.connect() as connection:
        cursor = connection.connection.cursor()
        assert connection.execute(select(notes.c.tenant_id).distinct()).all() == [("a",)]
        connection.rollback()
        add(path, *RECREATE)

        assert connection.execute(select(notes.c.tenant_id).distinct()).all() == [("a",)]
        assert cursor.execute("SELECT DISTINCT tenant_id, added FROM notes").fetchall() == [("a", "new")]
        with pytest.raises(RefusedStatementError):
            cursor.execute("SELECT * FROM main.notes")
        driver: Any = connection.connection.driver_connection
        with pytest.raises(ForeignTenantError):
            driver.execute(driver.partywall_seals.sealed("UPDATE main.notes SET body = 'x'", "notes"))
        assert connection.execute(update(notes).values(body="x")).rowcount == 2
        connection.commit()

    assert [row[3] for row in rows_of(path, "b")["notes"]] == ["b", "b"]


def test_a_table_that_was_away_for_a_while_comes_back_walled(path: Path, engine: Engine) -> None:
    with tenant("a"), engine.connect() as connection:
        connection.execute(select(notes)).all()
        connection.rollback()
        add(path, "ALTER TABLE notes RENAME TO away")
        with pytest.raises((OperationalError, PartywallError)):
            connection.execute(select(notes)).all()
        with pytest.raises((OperationalError, PartywallError)):
            connection.execute(update(notes).values(body="x"))
        with pytest.raises((sqlite3.Error, PartywallError)):
            connection.connection.cursor().execute("SELECT * FROM away")
        connection.rollback()
        add(path, "ALTER TABLE away RENAME TO notes")

        assert connection.execute(select(notes.c.tenant_id).distinct()).all() == [("a",)]
        driver: Any = connection.connection.driver_connection
        with pytest.raises(ForeignTenantError):
            driver.execute(driver.partywall_seals.sealed("UPDATE main.notes SET body = 'x'", "notes"))


def test_a_new_table_is_refused_in_every_way(path: Path, engine: Engine) -> None:
    with tenant("a"), engine.connect() as connection:
        cursor = connection.connection.cursor()
        cursor.execute("SELECT 1")
        add(path, "CREATE TABLE added (tenant_id VARCHAR)", "INSERT INTO added VALUES ('b')")
        for sql in ("SELECT * FROM added", "SELECT count(*) FROM added", "SELECT 'b' IN added", "SELECT 1 FROM Added"):
            with pytest.raises(RefusedStatementError):
                connection.connection.cursor().execute(sql)
        assert cursor.execute("WITH mine AS (SELECT 1 UNION SELECT 2) SELECT count(*) FROM mine").fetchall() == [(2,)]


def test_a_key_that_is_added_meanwhile_is_followed(path: Path, engine: Engine) -> None:
    with tenant("a"), engine.connect() as connection:
        connection.execute(update(tasks).values(title="x"))
        connection.commit()
        add(path, *(each.replace("SET NULL", "CASCADE") for each in RECREATE))

        connection.execute(delete(projects).where(projects.c.name == "p1"))
        connection.commit()

    assert len(rows_of(path, "a")["notes"]) == 1
    assert len(rows_of(path, "b")["notes"]) == 2


# When the tenant is set, and when it is not.


def test_the_tenant_is_set_from_the_beginning_of_a_transaction_to_its_end(path: Path, engine: Engine) -> None:
    with engine.connect() as connection:
        cursor = connection.connection.cursor()

        def owners() -> Any:
            return cursor.execute("SELECT DISTINCT tenant_id FROM tasks").fetchall()

        assert owners() == []
        with tenant("a"), connection.begin():
            assert owners() == [("a",)]
        assert owners() == []
        with tenant("b"), connection.begin() as transaction:
            assert owners() == [("b",)]
            transaction.rollback()
        assert owners() == []
        with connection.begin():
            assert owners() == []
            with tenant("a"):
                connection.execute(select(tasks)).all()
                assert owners() == [("a",)]


def test_a_connection_goes_back_to_the_pool_with_no_tenant(engine: Engine) -> None:
    with tenant("a"):
        connection = engine.connect()
        connection.begin()
        driver: Any = connection._dbapi_connection.dbapi_connection  # type: ignore[union-attr]  # and nobody hears of it
        connection.close()

    assert driver.execute("SELECT * FROM tasks").fetchall() == []
    with closing(engine.raw_connection()) as raw:
        assert raw.driver_connection is driver
        assert raw.cursor().execute("SELECT * FROM tasks").fetchall() == []


def test_a_session_that_was_given_its_tenant_sees_it_on_the_raw_cursor_too(engine: Engine) -> None:
    with tenancy().session(engine, tenant="a") as session:
        session.execute(select(tasks)).all()
        raw = session.connection().connection.cursor()
        assert raw.execute("SELECT DISTINCT tenant_id FROM tasks").fetchall() == [("a",)]


def test_a_detached_connection_keeps_its_wall(engine: Engine) -> None:
    with tenant("a"), engine.connect() as connection:
        connection.detach()
        assert connection.execute(select(tasks.c.tenant_id).distinct()).all() == [("a",)]
        with pytest.raises(RefusedStatementError):
            connection.connection.cursor().execute("SELECT * FROM main.tasks")


@pytest.mark.parametrize("level", ["AUTOCOMMIT", "READ UNCOMMITTED", "SERIALIZABLE"])
def test_isolation_levels_may_be_changed(engine: Engine, level: Any) -> None:
    for _ in range(2):
        with tenant("a"), engine.connect().execution_options(isolation_level=level) as connection:
            assert connection.execute(update(tasks).values(title="x")).rowcount == 4
            connection.rollback()


def test_public_columns_of_the_tenants_table_are_read_with_no_tenant(engine: Engine) -> None:
    alias = tenants.alias()
    with engine.connect() as connection:
        for source in (tenants, alias):
            lookup = select(source.c.slug).where(source.c.slug == "slug b")
            assert connection.execute(lookup).all() == [("slug b",)]
        with pytest.raises(NoTenantError):
            connection.execute(select(tenants.c.id)).all()
        assert connection.connection.cursor().execute("SELECT * FROM tenants").fetchall() == []
    with tenant("a"), engine.connect() as connection:
        assert connection.execute(select(tenants.c.slug)).all() == [("slug a",)]
        raw = connection.connection.cursor()
        assert raw.execute("SELECT * FROM partywall_public_tenants").fetchall() == []


def test_a_table_whose_key_is_the_tenant_is_read_and_written(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'profiles.db'}"
    profiles.metadata.create_all(create_engine(url))
    engine = Tenancy(profiles.metadata, rows=RowWall()).guard(create_engine(url))
    for owner in (1, 2):
        with tenant(owner), engine.begin() as connection:
            connection.execute(insert(profiles).values(colour=f"of {owner}"))
            assert connection.execute(select(profiles.c.tenant_id)).all() == [(owner,)]
            assert connection.execute(select(func.count()).select_from(profiles)).scalar_one() == 1
            assert connection.execute(update(profiles).values(colour="x")).rowcount == 1
            raw = connection.connection.cursor()
            assert raw.execute("SELECT tenant_id FROM profiles").fetchall() == [(owner,)]
            with pytest.raises(RefusedStatementError):
                raw.execute("SELECT tenant_id FROM main.profiles")


def test_every_lookup_of_public_columns_works_with_no_tenant(tmp_path: Path) -> None:
    numbered = MetaData()
    table = Table("tenants", numbered, Column("id", Integer, primary_key=True), Column("slug", String))
    url = f"sqlite:///{tmp_path / 'tenants.db'}"
    owner = create_engine(url)
    numbered.create_all(owner)
    with owner.begin() as connection:
        connection.execute(insert(table), [{"id": 1, "slug": "one"}, {"id": 2, "slug": "two"}])
    public = Tenancy(numbered, tenants="tenants", tenants_public={"id", "slug"}, rows=RowWall())
    engine = public.guard(create_engine(url))

    with engine.connect() as connection:
        assert connection.execute(select(table.c.id)).all() == [(1,), (2,)]
        assert connection.execute(select(func.count(table.c.id))).all() == [(2,)]
        assert connection.execute(select(table.c.id).where(table.c.slug == "two")).all() == [(2,)]
    with tenant(1), engine.connect() as connection:
        assert connection.execute(select(table.c.id)).all() == [(1,)]
        assert connection.execute(select(func.count()).select_from(table)).all() == [(1,)]


def test_a_checker_is_refused() -> None:
    with pytest.raises(SetupError, match=r"checker"):
        tenancy(rows=RowWall(), checker=True).guard(create_engine("sqlite:///x.db"))


def test_an_engine_that_was_refused_can_be_guarded_without_the_wall() -> None:
    engine = create_engine("sqlite://")
    with pytest.raises(SetupError):
        tenancy(rows=RowWall()).guard(engine)

    assert tenancy().guard(engine) is engine


@pytest.mark.parametrize("sql", ["SELECT * FROM tasks", "UPDATE tasks SET title = 'x'", "DELETE FROM tasks"])
@pytest.mark.parametrize("words", ["EXPLAIN", "EXPLAIN QUERY PLAN"])
def test_explain_is_refused_though_the_tenancy_allows_it(path: Path, words: str, sql: str) -> None:
    """It would show the names that the wall keeps secret."""
    engine = tenancy(rows=RowWall(), diagnostics=True).guard(create_engine(f"sqlite:///{path}"))

    with (
        tenant("a"),
        engine.connect() as connection,
        pytest.raises(RefusedStatementError, match=r"keeps secret"),
    ):
        connection.execute(text(f"{words} {sql}")).all()


# The oracles that a write would be: what it reads beside its table, it reads through the views.


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM tasks WHERE 'b' IN (SELECT body FROM main.notes)",
        "DELETE FROM tasks WHERE 21 IN (SELECT id FROM main.tasks)",
        "UPDATE tasks SET title = (SELECT max(id) FROM main.tasks)",
        "UPDATE tasks SET title = (SELECT group_concat(body) FROM notes)",
        "INSERT INTO tasks (title) SELECT body FROM main.notes",
        "INSERT INTO tasks (title) VALUES ('x') RETURNING (SELECT group_concat(body) FROM main.notes)",
        "UPDATE settings SET value = 'x' WHERE value >= 'b' AND json_extract(value, '$')",
        "UPDATE notes SET body = 'x' WHERE body >= 'b' AND json_extract(body, '$')",
    ],
)
def test_what_a_write_reads_beside_its_table_is_the_tenants(
    path: Path, engine: Engine, tmp_path: Path, sql: str
) -> None:
    fill(tmp_path / "alone.db", ("a",))
    twin = tenancy().guard(create_engine(f"sqlite:///{tmp_path / 'alone.db'}"))
    answers = []
    for each in (engine, twin):
        with tenant("a"), each.begin() as connection:
            result = connection.execute(text(sql))
            answers.append((result.rowcount, result.all() if result.returns_rows else None))
    twin.dispose()

    assert answers[0] == answers[1]
    assert but_generated_ids(rows_of(path, "a")) == but_generated_ids(rows_of(tmp_path / "alone.db", "a"))


# An error tells of a value if an index leads to it that does not begin with the tenant: a limit, and its cure.


@pytest.mark.parametrize(("columns", "tells"), [("body", True), ("tenant_id, body", False)])
def test_an_index_that_begins_with_the_tenant_keeps_errors_from_telling(
    path: Path, engine: Engine, columns: str, tells: bool
) -> None:
    add(path, f"CREATE INDEX by_body ON notes ({columns})", "UPDATE notes SET body = 'secret' WHERE tenant_id = 'b'")

    with tenant("a"), engine.begin() as connection:
        raw = connection.connection.cursor()
        try:
            raw.execute("SELECT id FROM notes WHERE body IN ('secret', 'x') AND json_extract(body, '$')").fetchall()
            told = False
        except sqlite3.OperationalError:
            told = True

    assert told is tells


# Setting up.


def test_what_listeners_set_up_comes_before_the_wall(path: Path) -> None:
    plain = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    engine = tenancy(rows=RowWall(), functions={"shouted"}).guard(plain)

    @event.listens_for(engine, "connect")
    def _connected(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.create_function("shouted", 1, lambda value: f"{value}!")

    with tenant("a"), engine.connect() as connection:
        assert connection.execute(select(func.shouted(tasks.c.title)).distinct()).all() == [("t!",)]


def test_a_missing_table_is_named_with_the_way_to_make_it(tmp_path: Path) -> None:
    engine = tenancy(rows=RowWall()).guard(create_engine(f"sqlite:///{tmp_path / 'empty.db'}"))

    with pytest.raises(SetupError, match=r"create_all"):
        engine.connect()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_of_its_own_is_refused_with_the_way_to_share_it(url: str) -> None:
    with pytest.raises(SetupError, match=r"vfs=memdb"):
        tenancy(rows=RowWall()).guard(create_engine(url))


def test_a_database_in_memory_serves_two_engines() -> None:
    url = "sqlite:///file:/two_engines?vfs=memdb&uri=true"
    owner = tenancy(rows=RowWall()).guard(create_engine(url), allow_unscoped=True)
    engine = tenancy(rows=RowWall()).guard(create_engine(url))
    with unscoped(reason="set up"), owner.connect() as kept:
        metadata.create_all(kept)
        kept.commit()
        for name in ("a", "b"):
            kept.execute(insert(tenants).values(id=name, slug=name))
        kept.commit()
        with tenant("a"), engine.begin() as connection:
            connection.execute(insert(tasks).values(title="of a"))
        with tenant("b"), engine.begin() as connection:
            assert connection.execute(select(tasks)).all() == []
        assert kept.execute(select(tasks.c.title)).all() == [("of a",)]
    engine.dispose()
    owner.dispose()


def test_a_view_in_the_place_of_a_table_is_refused(path: Path) -> None:
    add(
        path,
        "DROP TRIGGER projects_leave_notes",
        "ALTER TABLE notes RENAME TO base",
        "CREATE VIEW notes AS SELECT * FROM base",
    )

    with pytest.raises(SetupError, match=r"notes is a view"):
        tenancy(rows=RowWall()).guard(create_engine(f"sqlite:///{path}")).connect()


def test_a_virtual_table_in_the_place_of_a_table_is_refused(path: Path) -> None:
    add(
        path,
        "DROP TRIGGER projects_leave_notes",
        "DROP TABLE notes",
        "CREATE VIRTUAL TABLE notes USING fts5(id, tenant_id, project_id, body)",
    )

    with pytest.raises(SetupError, match=r"notes is a virtual"):
        tenancy(rows=RowWall()).guard(create_engine(f"sqlite:///{path}")).connect()


def test_a_table_of_an_attached_database_is_refused() -> None:
    other = MetaData()
    Table("things", other, Column("tenant_id", Integer, nullable=False), schema="other")

    with pytest.raises(SetupError, match=r"attached database other"):
        Tenancy(other, rows=RowWall()).guard(create_engine("sqlite:///x.db"))


def test_a_connection_of_the_applications_own_making_is_refused_unless_it_is_of_our_class(path: Path) -> None:
    engine = tenancy(rows=RowWall()).guard(
        create_engine("sqlite://", creator=lambda: sqlite3.connect(path), poolclass=NullPool)
    )

    with pytest.raises(SetupError, match=r"WalledConnection"):
        engine.connect()


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 39, 9))

    with pytest.raises(SetupError, match=r"3\.40"):
        tenancy(rows=RowWall()).guard(create_engine("sqlite:///x.db"))


def test_a_translated_schema_is_refused(engine: Engine) -> None:
    with tenant("a"), engine.connect() as connection:
        translated = connection.execution_options(schema_translate_map={None: "main"})
        with pytest.raises(RefusedStatementError, match=r"schema_translate_map"):
            translated.execute(select(tasks))


def test_an_unscoped_engine_has_no_row_wall(path: Path) -> None:
    owner = tenancy(rows=RowWall()).guard(create_engine(f"sqlite:///{path}"), allow_unscoped=True)
    with unscoped(reason="count"), Session(owner) as session:
        assert session.execute(select(func.count()).select_from(projects)).scalar_one() == 4
    owner.dispose()


# asyncio.


def test_the_wall_stands_in_the_thread_of_aiosqlite(path: Path) -> None:
    async def run() -> None:
        engine = tenancy(rows=RowWall()).guard(create_async_engine(f"sqlite+aiosqlite:///{path}"))
        for owner in ("a", "b"):
            with tenant(owner):
                async with AsyncSession(engine) as session:
                    assert (await session.execute(select(tasks.c.tenant_id).distinct())).all() == [(owner,)]
                    await session.execute(insert(tasks).values(title=f"new of {owner}"))
                    driver: Any = (await (await session.connection()).get_raw_connection()).driver_connection
                    rows = await (await driver.execute("SELECT DISTINCT tenant_id FROM tasks")).fetchall()
                    assert list(rows) == [(owner,)]
                    for refused in (
                        driver.execute("SELECT * FROM main.tasks"),
                        driver.execute("DELETE FROM main.tasks"),
                        driver.executescript("DELETE FROM main.tasks"),
                        driver.set_authorizer(None),
                        driver.backup(sqlite3.connect(":memory:")),
                        driver.create_function("upper", 1, str),
                    ):
                        with pytest.raises(PartywallError):
                            await refused
                    await session.commit()
        await engine.dispose()

    asyncio.run(run())

    assert [row[-1] for row in rows_of(path, "b")["tasks"]].count("new of b") == 1
