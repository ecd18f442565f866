"""A statement that was vouched for runs where a row wall holds it and has been tested, and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DatabaseError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from partywall import NoTenantError, RefusedStatementError, SetupError, Tenancy, tenant, unscoped
from partywall.rows.declaration import RowWall
from partywall.scope import Unscoped
from partywall.statements.vouched import Vouched
from tests.conftest import NewDatabase
from tests.recorder import Recorder


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "tenants"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slug: Mapped[str] = mapped_column(sa.String(20), info={"partywall": "public"})


class Note(Base):
    __tablename__ = "notes"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    words: Mapped[str] = mapped_column(sa.String(20))


NOTES = {1: ["alike", "mine"], 2: ["alike", "other", "other"]}
ALL_WORDS = "SELECT words FROM notes ORDER BY words"


@dataclass
class Place:
    """
    A database with two tenants' notes, and what its row wall needs.

    Attributes:
        plain: An engine of whoever owns it, a superuser on PostgreSQL.
        url: For the application.
        wall: What is declared.
        heard: What the audit hook was told.
    """

    plain: Engine
    url: URL
    wall: RowWall
    heard: list[Unscoped | Vouched] = field(default_factory=list)
    engines: list[Engine] = field(default_factory=list)

    @property
    def is_postgresql(self) -> bool:
        return self.url.get_backend_name() == "postgresql"

    @property
    def beyond_the_parser(self) -> str:
        """A statement that is right, and that we cannot scope."""
        if self.is_postgresql:
            return "SELECT words FROM notes WHERE tableoid > 0"
        return "SELECT words FROM notes AS 'n' WHERE 'n'.id > 0"

    def tenancy(self, *, has_wall: bool = True, self_test: bool = True) -> Tenancy:
        wall = RowWall(role=self.wall.role, unscoped_role=self.wall.unscoped_role, self_test=self_test)
        return Tenancy(Base.metadata, tenants="tenants", audit=self.heard.append, rows=wall if has_wall else None)

    def guarded(self, tenancy: Tenancy | None = None, *, allow_unscoped: bool = False) -> Engine:
        url = self.url
        if allow_unscoped and self.is_postgresql:
            url = url.set(username=self.wall.unscoped_role)
        engine = (tenancy or self.tenancy()).guard(sa.create_engine(url), allow_unscoped=allow_unscoped)
        self.engines.append(engine)
        return engine

    def async_url(self) -> URL:
        return self.url if self.is_postgresql else self.url.set(drivername="sqlite+aiosqlite")

    def as_owner(self, *statements: str) -> None:
        with self.plain.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    @contextlib.contextmanager
    def with_wall_down(self) -> Iterator[None]:
        self.as_owner("ALTER TABLE notes DISABLE ROW LEVEL SECURITY")
        try:
            yield
        finally:
            self.as_owner("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")

    def close(self) -> None:
        for engine in (self.plain, *self.engines):
            engine.dispose()


def filled(new_database: NewDatabase, *, role: str = "") -> Place:
    """Fill an empty database, and put the wall up on it."""
    url = new_database()
    is_postgresql = url.get_backend_name() == "postgresql"
    plain = sa.create_engine(url.set(username="postgres") if is_postgresql else url)
    role = role or f"app_{url.database}"
    wall = RowWall(role=role, unscoped_role=f"all_{role}") if is_postgresql else RowWall()
    place = Place(plain, url.set(username=role) if is_postgresql else url, wall)
    place.tenancy().create_all(plain, create_roles=is_postgresql)
    with plain.begin() as connection:
        connection.execute(sa.insert(Account), [{"id": each, "slug": f"slug {each}"} for each in NOTES])
        connection.execute(
            sa.insert(Note), [{"tenant_id": owner, "words": each} for owner, words in NOTES.items() for each in words]
        )
    return place


@pytest.fixture(scope="module")
def opened(new_database: NewDatabase) -> Iterator[Place]:
    made = filled(new_database)
    yield made
    made.close()


@pytest.fixture
def place(opened: Place) -> Iterator[Place]:
    opened.heard.clear()
    yield opened
    while opened.engines:
        opened.engines.pop().dispose()


@pytest.fixture
def walled(new_postgresql: NewDatabase) -> Iterator[Place]:
    """Return a database of PostgreSQL of its own, whose wall may be taken down."""
    made = filled(new_postgresql)
    yield made
    made.close()


def words_of(engine: Engine, statement: Any, tenant_id: int = 1, **parameters: Any) -> list[str]:
    with tenant(tenant_id), engine.connect() as connection:
        return list(connection.scalars(statement, parameters or None))


# Where it runs.


@pytest.mark.parametrize("tenant_id", NOTES)
def test_it_sees_the_tenants_rows_and_no_others(place: Place, tenant_id: int) -> None:
    statement = place.tenancy().vouch(ALL_WORDS, reason="a list")

    assert words_of(place.guarded(), statement, tenant_id) == NOTES[tenant_id]


def test_it_runs_as_it_stands_though_the_parser_would_refuse_it(place: Place) -> None:
    engine = place.guarded()
    sql = f"{place.beyond_the_parser} AND words = :words -- a comment"
    statement = place.tenancy().vouch(sql, reason="by its words")

    with pytest.raises(RefusedStatementError):
        words_of(engine, sa.text(sql), words="mine")
    with Recorder(engine) as recorder:
        assert words_of(engine, statement, words="mine") == ["mine"]
        assert words_of(engine, statement, words="other") == []

    assert {each.split("-- ")[1] for each in recorder.statements} == {"a comment"}


def test_a_session_and_an_async_engine_run_it_too(place: Place) -> None:
    tenancy = place.tenancy()
    statement = tenancy.vouch(ALL_WORDS, reason="a list")

    async def by_async_engine() -> list[str]:
        engine = tenancy.guard(create_async_engine(place.async_url()))
        try:
            with tenant(2):
                async with engine.connect() as connection:
                    await connection.run_sync(tenancy.verify)
                    return list((await connection.execute(statement)).scalars())
        finally:
            await engine.dispose()

    with tenancy.session(place.guarded(tenancy), tenant=2) as session:
        assert list(session.scalars(statement)) == NOTES[2]
    assert asyncio.run(by_async_engine()) == NOTES[2]


def test_a_write_touches_the_tenants_rows_only_and_on_sqlite_none(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy)
    writes = {
        "UPDATE notes SET words = 'changed' WHERE words = 'alike'": 1,
        "DELETE FROM notes": 2,
        "INSERT INTO notes (tenant_id, words) VALUES (1, 'new')": 1,
        "INSERT INTO notes (tenant_id, words) VALUES (2, 'new')": None,
        "UPDATE notes SET tenant_id = 2": None,
    }

    for sql, count in writes.items():
        with tenant(1), engine.connect() as connection:
            if place.is_postgresql and count is not None:
                assert connection.execute(tenancy.vouch(sql, reason="a write")).rowcount == count
            else:
                with pytest.raises((DatabaseError, RefusedStatementError)):
                    connection.execute(tenancy.vouch(sql, reason="a write"))
            connection.rollback()


# Where it is refused.


def refused(place: Place, engine: Engine, statement: Any, match: str) -> None:
    """Expect a statement to be refused before it is sent, and nobody to have heard of it."""
    with tenant(1), engine.connect() as connection, Recorder(engine) as recorder:
        with pytest.raises(RefusedStatementError, match=match):
            connection.execute(statement)
    assert recorder.statements == []
    assert place.heard == []


def test_it_is_refused_where_no_row_wall_was_declared(place: Place) -> None:
    tenancy = place.tenancy(has_wall=False)

    refused(place, place.guarded(tenancy), tenancy.vouch(ALL_WORDS, reason="a list"), "no row wall")


def test_it_is_refused_for_a_tenant_on_an_engine_that_may_be_unscoped(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy, allow_unscoped=True)

    if place.is_postgresql:
        tenancy.verify(engine)  # it passes, and means that the role sees all rows
    refused(place, engine, tenancy.vouch(ALL_WORDS, reason="a list"), "guard without allow_unscoped")


def test_it_runs_unscoped_like_any_text_and_is_told_as_unscoped(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy, allow_unscoped=True)

    with unscoped(reason="all words"), engine.connect() as connection:
        found = list(connection.scalars(tenancy.vouch(ALL_WORDS, reason="a list")))

    assert found == sorted(NOTES[1] + NOTES[2])
    assert place.heard == [Unscoped("all words")]


@pytest.mark.parametrize("sql", [ALL_WORDS, "SELECT 1", "SELECT slug FROM tenants"])
def test_it_is_refused_with_no_tenant_even_over_what_is_public(place: Place, sql: str) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy)
    statement = tenancy.vouch(sql, reason="a list")

    for each in (statement, statement.columns(sa.column("slug")).add_cte(sa.select(Account.slug).cte("public_twin"))):
        with engine.connect() as connection, Recorder(engine) as recorder, pytest.raises(NoTenantError):
            connection.execute(each)
        assert recorder.statements == []
    assert place.heard == []


def test_an_engine_that_does_not_test_itself_needs_to_be_verified_first(walled: Place) -> None:
    tenancy = walled.tenancy(self_test=False)
    engine = walled.guarded(tenancy)
    statement = tenancy.vouch(ALL_WORDS, reason="a list")

    refused(walled, engine, statement, "no row wall")
    tenancy.verify(engine)
    assert words_of(engine, statement) == NOTES[1]


def test_it_is_refused_after_a_test_that_failed(walled: Place) -> None:
    tenancy = walled.tenancy()
    engine = walled.guarded(tenancy)
    statement = tenancy.vouch(ALL_WORDS, reason="a list")

    with tenant(1), engine.connect() as connection:
        assert list(connection.scalars(statement)) == NOTES[1]
        connection.commit()
        walled.heard.clear()
        with walled.with_wall_down():
            with pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
                tenancy.verify(engine)
            with pytest.raises(RefusedStatementError, match="no row wall"):
                connection.execute(statement)
            connection.rollback()
        assert walled.heard == []
        tenancy.verify(engine)
        assert list(connection.scalars(statement)) == NOTES[1]


def test_a_reason_is_needed(place: Place) -> None:
    for reason in ("", "  "):
        with pytest.raises(SetupError, match="needs a reason"):
            place.tenancy().vouch("SELECT 1", reason=reason)


# As a part of something else.


def test_its_columns_and_entities_can_be_named(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy)
    columns = tenancy.vouch("SELECT id, words FROM notes ORDER BY words", reason="a list").columns(Note.id, Note.words)
    whole = tenancy.vouch("SELECT * FROM notes WHERE words = :words", reason="by its words")

    with tenant(1), Session(engine) as session:
        assert [row.words for row in session.execute(columns)] == NOTES[1]
        assert [note.words for note in session.scalars(sa.select(Note).from_statement(columns))] == NOTES[1]
        assert [note.words for note in session.query(Note).from_statement(whole).params(words="mine")] == ["mine"]
        assert session.scalars(sa.select(Note).from_statement(whole.bindparams(words="other"))).all() == []
    assert [each.reason for each in place.heard] == ["a list", "a list", "by its words", "by its words"]


VOUCHED: Any = Tenancy(Base.metadata, tenants="tenants").vouch("SELECT id, words FROM notes", reason="a list")
COLUMNS = VOUCHED.columns(sa.column("id"), sa.column("words"))

LARGER: dict[str, Callable[[], Any]] = {
    "a subquery": lambda: sa.select(COLUMNS.subquery()),
    "a CTE": lambda: sa.select(COLUMNS.cte("vouched")),
    "an independent CTE": lambda: sa.select(Note.id).add_cte(COLUMNS.cte("vouched")),
    "a CTE of another that was vouched for": lambda: COLUMNS.add_cte(COLUMNS.cte("vouched")),
    "a criterion": lambda: sa.select(Note.id).where(VOUCHED),
    "a column": lambda: sa.select(VOUCHED),
    "a source": lambda: sa.select(sa.text("1")).select_from(VOUCHED),
    "an order": lambda: sa.select(Note.id).order_by(VOUCHED),
    "IN": lambda: sa.select(Note.id).where(Note.id.in_(VOUCHED)),
    "IN of columns": lambda: sa.select(Note.id).where(Note.id.in_(COLUMNS)),
    "EXISTS": lambda: sa.select(Note.id).where(sa.exists(COLUMNS)),
    "a union": lambda: sa.union_all(sa.select(Note.id, Note.words), COLUMNS),
    "a prefix": lambda: sa.select(Note.id).prefix_with(VOUCHED),
    "a suffix": lambda: sa.select(Note.id).suffix_with(VOUCHED),
    "what is inserted": lambda: sa.insert(Note).from_select(["id", "words"], COLUMNS),
    "what is inserted, without columns": lambda: sa.insert(Note).from_select(["id", "words"], VOUCHED),
    "a value": lambda: sa.update(Note).values(words=VOUCHED),
    "RETURNING": lambda: sa.delete(Note).returning(VOUCHED),
    "a default": lambda: sa.insert(Note).values(id=9, words=VOUCHED),
}


@pytest.mark.parametrize("name", LARGER)
def test_it_is_refused_inside_a_larger_statement(place: Place, name: str) -> None:
    engine = place.guarded()
    with tenant(1), engine.connect() as connection, Recorder(engine) as recorder:
        with pytest.raises((RefusedStatementError, sa.exc.ArgumentError)):
            connection.execute(LARGER[name]())
    assert recorder.statements == []
    assert place.heard == []


# Who is told.


def test_each_run_is_told_to_the_log_and_to_the_hook(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy)
    statement = tenancy.vouch("SELECT words FROM notes WHERE words = :words", reason="by its words")

    with caplog.at_level(logging.WARNING, "partywall.audit"):
        for _ in range(3):
            words_of(engine, statement, words="a secret")

    assert [record.__dict__["reason"] for record in caplog.records] == ["by its words"] * 3
    assert [each.reason for each in place.heard] == ["by its words"] * 3
    assert all(isinstance(each, Vouched) and "notes WHERE words" in each.statement for each in place.heard)
    assert "a secret" not in caplog.text
    assert "a secret" not in repr(place.heard)


def test_one_text_with_two_reasons_is_told_with_each(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy)

    for reason in ("first", "second", "first"):
        assert words_of(engine, tenancy.vouch(ALL_WORDS, reason=reason)) == NOTES[1]

    assert [each.reason for each in place.heard] == ["first", "second", "first"]


def test_a_text_that_nobody_vouched_for_does_not_get_what_was_compiled_for_one(place: Place) -> None:
    sql = place.beyond_the_parser
    engine = place.guarded()

    for _ in range(2):
        assert sorted(words_of(engine, place.tenancy().vouch(sql, reason="a list"))) == NOTES[1]
        with pytest.raises(RefusedStatementError):
            words_of(engine, sa.text(sql))
    assert len(place.heard) == 2


# The self-test, on demand and when the server is another one.


@pytest.mark.parametrize("is_async", [False, True])
def test_verify_passes_on_engines_and_connections_of_every_kind(place: Place, *, is_async: bool) -> None:
    tenancy = place.tenancy()

    async def by_async_engine() -> None:
        engine = tenancy.guard(create_async_engine(place.async_url()))
        try:
            async with engine.connect() as connection:
                await connection.run_sync(tenancy.verify)
        finally:
            await engine.dispose()

    if is_async:
        asyncio.run(by_async_engine())
        return
    engine = place.guarded(tenancy)
    tenancy.verify(engine)
    with engine.connect() as connection:
        tenancy.verify(connection)
    assert words_of(engine, sa.text(ALL_WORDS)) == NOTES[1]


def test_verify_says_that_an_unscoped_engine_has_the_role_it_should_have(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy, allow_unscoped=True)

    if place.is_postgresql:
        tenancy.verify(engine)
        place.engines.append(tenancy.guard(sa.create_engine(place.url), allow_unscoped=True))
        with pytest.raises(SetupError, match=f"connected with session_user {place.wall.role}"):
            tenancy.verify(place.engines[-1])
    else:
        with pytest.raises(SetupError, match="no row wall holds this engine"):
            tenancy.verify(engine)


def test_verify_needs_a_guarded_engine_and_a_row_wall(place: Place) -> None:
    with pytest.raises(SetupError, match="needs a guarded engine"):
        place.tenancy().verify(place.plain)
    tenancy = place.tenancy(has_wall=False)
    with pytest.raises(SetupError, match="this tenancy has no row wall"):
        tenancy.verify(place.guarded(tenancy))


def test_verify_ends_nobodys_transaction(place: Place) -> None:
    tenancy = place.tenancy()
    engine = place.guarded(tenancy)

    with tenant(1), engine.connect() as connection:
        connection.execute(sa.insert(Note).values(words="new"))
        with contextlib.suppress(SetupError):
            tenancy.verify(connection)
        assert "new" in list(connection.scalars(sa.select(Note.words)))
        connection.rollback()


def test_verify_by_async_engine_finds_the_wall_down(walled: Place) -> None:
    tenancy = walled.tenancy(self_test=False)

    async def verify() -> None:
        engine = tenancy.guard(create_async_engine(walled.url))
        try:
            async with engine.connect() as connection:
                await connection.run_sync(tenancy.verify)
        finally:
            await engine.dispose()

    with walled.with_wall_down(), pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
        asyncio.run(verify())
    asyncio.run(verify())


def test_the_first_connection_is_refused_where_the_wall_is_down(walled: Place) -> None:
    engine = walled.guarded()

    with walled.with_wall_down(), tenant(1), pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
        engine.connect()
    assert words_of(engine, sa.text(ALL_WORDS)) == NOTES[1]


def test_a_server_is_tested_once(walled: Place) -> None:
    engine = walled.guarded()
    assert words_of(engine, sa.text(ALL_WORDS)) == NOTES[1]
    engine.dispose()  # the next connection is a new one

    with walled.with_wall_down():
        assert words_of(engine, sa.text(ALL_WORDS)) == NOTES[1]  # the statement wall is still there


def test_after_a_test_that_failed_every_new_connection_is_tested(walled: Place) -> None:
    tenancy = walled.tenancy()
    engine = walled.guarded(tenancy)
    assert words_of(engine, sa.text(ALL_WORDS)) == NOTES[1]

    with walled.with_wall_down():
        with pytest.raises(SetupError):
            tenancy.verify(engine)
        engine.dispose()
        with tenant(1), pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
            engine.connect()
    assert words_of(engine, tenancy.vouch(ALL_WORDS, reason="a list")) == NOTES[1]


@pytest.fixture
def two_servers(new_postgresql: NewDatabase, walled: Place) -> Iterator[tuple[Place, Place]]:
    """Return two databases for one role: a name that stood for the first may stand for the other one later."""
    other = filled(new_postgresql, role=walled.wall.role or "")
    yield walled, other
    other.close()


def redirect(engine: Engine, to: Callable[[], Place]) -> None:
    """Let the name in an engine's URL stand for another database."""

    def connects(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["dbname"] = to().url.database

    sa.event.listen(engine, "do_connect", connects)


def test_another_server_is_tested_before_it_is_used(two_servers: tuple[Place, Place]) -> None:
    first, second = two_servers
    tenancy = first.tenancy()
    engine = first.guarded(tenancy)
    statement = tenancy.vouch(ALL_WORDS, reason="a list")
    current = first
    redirect(engine, lambda: current)
    assert words_of(engine, statement) == NOTES[1]

    current = second
    engine.dispose()
    with second.with_wall_down():
        for _ in range(2):
            with tenant(1), pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
                engine.connect()
    assert words_of(engine, statement) == NOTES[1]
    current = first
    engine.dispose()
    assert words_of(engine, statement) == NOTES[1]


def test_the_first_server_may_be_used_again_after_another_has_failed(two_servers: tuple[Place, Place]) -> None:
    first, second = two_servers
    tenancy = first.tenancy()
    engine = first.guarded(tenancy)
    statement = tenancy.vouch(ALL_WORDS, reason="a list")
    current = first
    redirect(engine, lambda: current)
    assert words_of(engine, statement) == NOTES[1]

    current = second
    engine.dispose()
    with second.with_wall_down(), tenant(1), pytest.raises(SetupError):
        engine.connect()
    current = first
    assert words_of(engine, statement) == NOTES[1]


def test_a_server_that_nobody_verified_is_not_vouched_for(two_servers: tuple[Place, Place]) -> None:
    first, second = two_servers
    tenancy = first.tenancy(self_test=False)
    engine = first.guarded(tenancy)
    statement = tenancy.vouch(ALL_WORDS, reason="a list")
    current = first
    redirect(engine, lambda: current)
    tenancy.verify(engine)
    assert words_of(engine, statement) == NOTES[1]

    current = second
    engine.dispose()
    first.heard.clear()
    with second.with_wall_down():
        with tenant(1), engine.connect() as connection, pytest.raises(RefusedStatementError, match="no row wall"):
            connection.execute(statement)
    assert first.heard == []
    tenancy.verify(engine)
    assert words_of(engine, statement) == NOTES[1]
