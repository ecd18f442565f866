"""Every other way that SQLAlchemy has to the driver is scoped, or refused."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    create_engine,
    create_mock_engine,
    delete,
    event,
    func,
    insert,
    inspect,
    or_,
    select,
    text,
    true,
    update,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, ObjectNotExecutableError, SADeprecationWarning, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.ext.horizontal_shard import ShardedSession
from sqlalchemy.orm import Query, Session
from sqlalchemy.schema import CreateIndex, CreateTable, DropTable, Index
from sqlalchemy.sql import ddl

from partywall import (
    ForeignTenantError,
    NoTenantError,
    PartywallError,
    RefusedStatementError,
    SetupError,
    TenantChangedError,
    tenant,
    unscoped,
)
from partywall._compat import SQLALCHEMY_21
from tests import write_models
from tests.models import Template, Ticket
from tests.recorder import Recorder
from tests.write_world import WriteWorld, opened_for_writes, picture_of, rolled_back, rows_in, session_of
from tests.writes import tables

__all__ = ["opened_for_writes"]  # a fixture

tickets = tables["tickets"]
invoices = tables["invoices"]
NEW = {"number": 9, "title": "new"}
RENAMED = update(tickets).values(title="renamed")


@pytest.fixture
def session(world: WriteWorld) -> Iterator[Session]:
    """Return a Session of tenant 1; what it commits is rolled back."""
    with session_of(world.many, 1) as opened:
        yield opened


@contextmanager
def opened(world: WriteWorld, **options: Any) -> Iterator[Engine]:
    """Open another guarded engine on the database of many tenants."""
    engine = write_models.tenancy().guard(create_engine(world.url, **options), allow_unscoped=True)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def restored(world: WriteWorld) -> Iterator[None]:
    """Let a test commit to the tickets; put back what they were, and check that nothing else has changed."""
    before = picture_of(world.plain)
    with world.plain.connect() as connection:
        rows = [dict(row) for row in connection.execute(select(tickets)).mappings()]
    try:
        yield
    finally:
        with world.plain.begin() as connection:
            connection.execute(delete(tickets))
            connection.execute(insert(tickets), rows)
        assert picture_of(world.plain) == before


def tickets_with(**options: Any) -> Table:
    """Return the table with other options for its title: defaults of every kind."""
    return Table(
        "tickets",
        MetaData(),
        Column("tenant_id", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("title", String, **options),
    )


def titles(session: Session, number: int | None = None) -> dict[int, Any]:
    """Return the titles of all tenants' tickets, looked up past the wall."""
    found: dict[int, Any] = {}
    for row in rows_in(session, "tickets"):
        if number is None or row["number"] == number:
            found[row["tenant_id"]] = row["title"]
    return found


# Statements that were compiled beforehand.


@pytest.mark.parametrize("statement", [insert(tickets).values(NEW), RENAMED, delete(tickets), select(tickets)])
@pytest.mark.parametrize("engine", ["many", "plain"])
def test_a_compiled_statement_is_refused(world: WriteWorld, statement: Any, engine: str) -> None:
    with world.ignoring_missing_tenants():
        compiled: Any = statement.compile(getattr(world, engine))

    with session_of(world.many, 1) as session, Recorder(world.many) as sent:
        with pytest.raises((RefusedStatementError, ObjectNotExecutableError)):
            session.connection().execute(compiled)
    assert not [each for each in sent.statements if "tickets" in each]


def test_sql_text_is_scoped_on_every_door(session: Session) -> None:
    doors: list[Callable[[str], Any]] = [
        lambda sql: session.execute(text(sql)),
        lambda sql: session.connection().execute(text(sql)),
        lambda sql: session.connection().exec_driver_sql(sql),
        lambda sql: session.scalars(text(sql)),
        lambda sql: session.scalars(select(Ticket.title).from_statement(text(sql))),
    ]
    for door in doors:
        for refused in (
            "DELETE FROM countries",
            "TRUNCATE tickets",
            "DROP TABLE tickets",
            "SELECT load_extension('x')",
        ):
            with pytest.raises(RefusedStatementError):
                door(refused)
        with session.begin_nested() as savepoint:
            assert len(door("DELETE FROM tickets RETURNING title").all()) == 3
            savepoint.rollback()


def test_a_function_that_is_executed_is_scoped_or_refused(session: Session) -> None:
    assert session.connection().scalar(func.lower("X")) == "x"
    for function in (func.nextval("x"), func.load_extension("x"), func.setval("x", 1), func.pg_sleep(1)):
        with pytest.raises(RefusedStatementError):
            session.connection().execute(function)


# Defaults.


def test_a_default_that_is_a_statement_is_scoped(session: Session) -> None:
    count = select(func.max(invoices.c.id)).scalar_subquery()
    session.execute(insert(tickets_with(default=count)).values(number=9))
    session.execute(insert(tickets_with(default=count)), [{"number": 10}, {"number": 11}])
    session.execute(insert(tickets_with(default=count)).values([{"number": 12}, {"number": 13}]))

    written = {row["number"]: row["title"] for row in rows_in(session, "tickets") if row["tenant_id"] == 1}
    assert {written[number] for number in (9, 10, 11, 12, 13)} == {"107"}


def test_an_onupdate_that_is_a_statement_is_scoped(session: Session) -> None:
    highest = select(func.max(invoices.c.id)).scalar_subquery()
    table = tickets_with(onupdate=highest)
    session.execute(update(table).where(table.c.number == 2).values(number=22))

    assert titles(session, 22) == {1: "107"}


def test_a_default_that_executes_a_statement_is_scoped(session: Session) -> None:
    def highest(context: Any) -> str:
        return str(context.connection.scalar(select(func.max(invoices.c.id))))

    session.execute(insert(tickets_with(default=highest)).values(number=9))
    table = tickets_with(onupdate=highest)
    session.execute(update(table).where(table.c.number == 2).values(number=22))

    assert titles(session, 9) == titles(session, 22) == {1: "107"}


def test_text_that_a_default_executes_is_scoped(session: Session) -> None:
    def everything(context: Any) -> str:
        return str(context.connection.exec_driver_sql("SELECT max(id) FROM invoices").scalar())

    session.execute(insert(tickets_with(default=everything)).values(number=9))

    assert titles(session, 9) == {1: "107"}


def test_a_default_with_an_unknown_function_is_refused(session: Session) -> None:
    for default in (func.query_to_xml("SELECT 1"), text("load_extension('x')")):
        with pytest.raises(RefusedStatementError):
            session.execute(insert(tickets_with(default=default)).values(number=9))
        with pytest.raises(RefusedStatementError):
            session.execute(update(tickets_with(onupdate=default)).values(number=9))


@pytest.mark.parametrize(
    "options",
    [
        {"default": 2},
        {"default": lambda: 2},
        {"insert_default": func.abs(-2)},
        {"default": select(func.max(tickets.c.tenant_id)).scalar_subquery()},
        {"server_default": "2"},
        {"onupdate": 2},
        {"onupdate": func.abs(-2)},
    ],
)
def test_a_default_of_the_tenant_column_is_not_used(session: Session, options: dict[str, Any]) -> None:
    table = Table(
        "tickets",
        MetaData(),
        Column("tenant_id", Integer, primary_key=True, **options),
        Column("number", Integer, primary_key=True),
        Column("title", String),
    )
    session.execute(insert(table).values(number=9, title="default"))
    session.execute(insert(table), [{"number": 10, "title": "default"}, {"number": 11, "title": "default"}])
    session.execute(insert(table).values([{"number": 12, "title": "default"}]))
    session.execute(insert(table).from_select(["number", "title"], select(tickets.c.number + 20, tickets.c.title)))
    session.execute(update(table).where(table.c.number == 1).values(title="default"))

    counted = dict.fromkeys((1, 2, 3), 0)
    for row in rows_in(session, "tickets"):
        counted[row["tenant_id"]] += 1
    assert counted == {1: 14, 2: 3, 3: 3}


def key_of(session: Session, statement: Any) -> Any:
    """Return the key that an INSERT reports."""
    return session.connection().execute(statement).inserted_primary_key


def keyed_by(default: Any, **options: Any) -> Table:
    return Table(
        "tags",
        MetaData(),
        Column("id", Integer, primary_key=True, default=default),
        Column("tenant_id", Integer),
        Column("name", String),
        **options,
    )


def test_a_default_that_is_executed_beforehand_is_refused_if_it_reads_rows(session: Session) -> None:
    highest = select(func.max(invoices.c.id) + 9000).scalar_subquery()
    table = keyed_by(highest, implicit_returning=False)

    with pytest.raises(RefusedStatementError):
        session.execute(insert(table).values(name="new"))
    session.rollback()
    assert "new" not in {row["name"] for row in rows_in(session, "tags")}


def test_a_default_that_is_executed_beforehand_works_if_it_reads_none(session: Session) -> None:
    for number in (1, 2):  # the second comes from the cache
        table = keyed_by(func.abs(-9000 - number), implicit_returning=False)
        assert key_of(session, insert(table).values(name="new")) == (9000 + number,)

    assert [row["tenant_id"] for row in rows_in(session, "tags") if row["name"] == "new"] == [1, 1]


def test_a_default_that_is_executed_beforehand_is_refused_if_it_is_text_or_unknown(session: Session) -> None:
    for default in (func.pg_sleep(0), text("pg_sleep(0)"), text("(SELECT max(id) FROM invoices)")):
        with pytest.raises(RefusedStatementError):
            session.execute(insert(keyed_by(default, implicit_returning=False)).values(name="new"))


def test_a_default_of_a_key_that_is_returned_is_scoped(session: Session) -> None:
    highest = select(func.max(invoices.c.id) + 9000).scalar_subquery()

    assert key_of(session, insert(keyed_by(highest)).values(name="new")) == (9107,)


# Sequences.


@contextmanager
def sequence_of(world: WriteWorld) -> Iterator[Sequence]:
    sequence = Sequence("numbers_of_tags", start=9001)
    if world.name == "postgresql":
        with world.plain.begin() as connection:
            sequence.create(connection)
    try:
        yield sequence
    finally:
        if world.name == "postgresql":
            with world.plain.begin() as connection:
                sequence.drop(connection)


def test_a_sequence_that_is_executed_is_refused(world: WriteWorld) -> None:
    with sequence_of(world) as sequence, session_of(world.many, 1) as session:
        with pytest.raises(RefusedStatementError):
            session.connection().scalar(sequence)
        with pytest.raises((RefusedStatementError, SADeprecationWarning)):
            session.connection().execute(sequence)
        for door in (session.execute, session.scalar, session.connection().execute, session.connection().scalar):
            for statement in (
                sequence.next_value(),
                select(sequence.next_value()),
                select(func.nextval(sequence.name)),
            ):
                with pytest.raises(RefusedStatementError):
                    door(statement)
        with pytest.raises(RefusedStatementError):
            session.execute(update(tickets).values(title=select(sequence.next_value()).scalar_subquery()))


def test_a_sequence_numbers_rows_on_postgresql(world: WriteWorld) -> None:
    if world.name != "postgresql":
        pytest.skip("postgresql only")
    with sequence_of(world) as sequence, session_of(world.many, 1) as session:
        table = keyed_by(sequence)
        assert key_of(session, insert(table).values(name="new")) == (9001,)
        session.execute(insert(table), [{"name": "new"}, {"name": "new"}])
        assert len(session.execute(insert(table).returning(table.c.id), [{"name": "new"}, {"name": "new"}]).all()) == 2
        beforehand = keyed_by(sequence, implicit_returning=False)
        assert key_of(session, insert(beforehand).values(name="new")) == (9006,)
        assert [row["tenant_id"] for row in rows_in(session, "tags") if row["name"] == "new"] == [1] * 6


# DDL, also where it reads.


def ddl_statements(world: WriteWorld) -> dict[str, Any]:
    new = Table("new", MetaData(), Column("id", Integer))
    statements: dict[str, Any] = {
        "create_table": CreateTable(new),
        "drop_table": DropTable(tickets),
        "create_index": CreateIndex(Index("ix_new", new.c.id)),
        "text": sqlalchemy.DDL("DROP TABLE tickets"),  # type: ignore[no-untyped-call]  # SQLAlchemy does not type it
    }
    for name in ("CreateTableAs", "CreateView"):
        construct: Any = getattr(ddl, name, None)
        if construct is not None:
            statements[name] = construct(select(tickets), "copied")
    if SQLALCHEMY_21:
        statements["into"] = select(tickets).into("copied")  # type: ignore[attr-defined,unused-ignore]  # new in 2.1
    return statements


def test_ddl_is_refused_in_a_scope_and_without_one(world: WriteWorld) -> None:
    for name, statement in ddl_statements(world).items():
        for tenant_id in (1, None):
            with session_of(world.many, tenant_id) as session, Recorder(world.many) as sent:
                with pytest.raises(RefusedStatementError):
                    session.connection().execute(statement)
                with pytest.raises(RefusedStatementError):
                    session.execute(statement)
            assert not [each for each in sent.statements if "SAVEPOINT" not in each], name


def test_ddl_that_reads_is_known_where_sqlalchemy_has_it(world: WriteWorld) -> None:
    assert {"CreateTableAs", "CreateView", "into"} <= ddl_statements(world).keys() or not SQLALCHEMY_21


def test_creating_and_reflecting_tables_is_refused(session: Session) -> None:
    new = MetaData()
    Table("new", new, Column("id", Integer))
    doors: list[Callable[[], Any]] = [
        lambda: new.create_all(session.connection()),
        lambda: new.create_all(session.connection(), checkfirst=False),
        lambda: new.drop_all(session.connection(), checkfirst=False),
        lambda: new.reflect(session.connection()),
        lambda: Table("tickets", MetaData(), autoload_with=session.connection()),
        lambda: inspect(session.connection()).get_table_names(),
    ]
    for door in doors:
        with pytest.raises(RefusedStatementError):
            door()


# Execution options.


OPTIONS: dict[str, dict[str, Any]] = {
    "isolation_level": {"isolation_level": "SERIALIZABLE"},
    "autocommit": {"isolation_level": "AUTOCOMMIT"},
    "stream_results": {"stream_results": True},
    "yield_per": {"yield_per": 2},
    "max_row_buffer": {"stream_results": True, "max_row_buffer": 1},
    "insertmanyvalues_page_size": {"insertmanyvalues_page_size": 2},
    "no_cache": {"compiled_cache": None},
    "own_cache": {"compiled_cache": {}},
    "logging_token": {"logging_token": "x"},
    "preserve_rowcount": {"preserve_rowcount": True},
    "no_parameters": {"no_parameters": True},
    "unknown": {"partywall_tenant": 2, "tenant_id": 2, "partywall": None},
}
ROWS: list[dict[str, Any]] = [{"number": number, "title": "new"} for number in range(10, 17)]


def owners_met(execute: Callable[..., Any], *, may_write: bool) -> set[int]:
    """Run writes and reads of every form, and return whose rows they gave."""
    owners = set(execute(select(tickets.c.tenant_id)).scalars().all())
    if may_write:
        execute(insert(tickets).values(NEW))
        execute(insert(tickets), ROWS)
        more = [{**row, "number": row["number"] + 10} for row in ROWS]
        owners |= set(execute(insert(tickets).returning(tickets.c.tenant_id), more).scalars().all())
        execute(update(tickets).where(tickets.c.number < 20).values(title="changed"))
        execute(delete(tickets).where(tickets.c.number > 12))
    with pytest.raises(ForeignTenantError):
        execute(insert(tickets), [*({**row, "tenant_id": 1} for row in ROWS), {**NEW, "tenant_id": 2}])
    with pytest.raises(RefusedStatementError):
        execute(text("DELETE FROM countries"))
    return owners | set(execute(select(tickets.c.tenant_id)).scalars().all())


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("level", ["engine", "connection", "session", "statement", "execute"])
def test_execution_options_change_no_tenant(world: WriteWorld, name: str, level: str) -> None:
    if level in ("statement", "execute") and ("isolation_level" in OPTIONS[name] or name.endswith("cache")):
        pytest.skip("not an option there")
    options: Any = OPTIONS[name]
    may_write = world.name == "sqlite" or not options.keys() & {"stream_results", "yield_per"}  # a cursor for a read
    with opened(world) as engine, restored(world), tenant(1):
        others = {owner: picture_of(world.plain).of(owner) for owner in (2, 3)}
        used = engine.execution_options(**options) if level == "engine" else engine
        with used.connect() as connection:
            if level == "connection":
                connection.execution_options(**options)
            session = Session(connection)
            if level == "session":
                session = Session(used)
                session.connection(execution_options=options)

            def execute(statement: Any, rows: Any = None) -> Any:
                if level == "statement":
                    statement = statement.execution_options(**options)
                return session.execute(statement, rows, execution_options=options if level == "execute" else {})

            with contextlib.closing(session):
                assert owners_met(execute, may_write=may_write) == {1}
                session.commit()
        assert {owner: picture_of(world.plain).of(owner) for owner in (2, 3)} == others


def test_a_compiled_cache_shared_by_engines_and_tenants_mixes_nothing(world: WriteWorld) -> None:
    cache: dict[Any, Any] = {}
    statements = [insert(tickets).values(NEW), RENAMED, select(tickets.c.tenant_id).distinct()]
    plainly = [insert(tickets).values(tenant_id=4, **NEW), RENAMED, select(tickets.c.tenant_id).distinct()]

    def run(engine: Engine, all_of_them: list[Any]) -> list[int]:
        with rolled_back(engine) as connection:
            results = [connection.execute(each, execution_options={"compiled_cache": cache}) for each in all_of_them]
            assert cache
            return sorted(results[-1].scalars())

    with opened(world) as other:
        for engine in (world.many, other, world.many):
            for tenant_id in (1, 2, 1):
                with tenant(tenant_id):
                    assert run(engine, statements) == [tenant_id]
                assert run(world.plain, plainly) == [1, 2, 3, 4]
            with unscoped(reason="test"):
                assert run(engine, plainly) == [1, 2, 3, 4]


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema", "temp", "pg_toast"])
@pytest.mark.parametrize("statement", [insert(tickets).values(NEW), RENAMED, delete(tickets)])
def test_a_schema_translate_map_leads_no_write_into_the_catalog(session: Session, schema: str, statement: Any) -> None:
    with pytest.raises(RefusedStatementError):
        session.execute(statement, execution_options={"schema_translate_map": {None: schema}})


def test_a_schema_translate_map_that_changes_nothing_writes_own_rows(session: Session, world: WriteWorld) -> None:
    options: Any = {"schema_translate_map": {None: "main" if world.name == "sqlite" else "public"}}
    for statement, rows in (
        (insert(tickets).values(NEW), None),
        (insert(tickets), ROWS),
        (RENAMED, None),
        (update(Ticket).values(title="renamed"), None),
    ):
        session.execute(statement, rows, execution_options=options)

    assert {row["tenant_id"] for row in rows_in(session, "tickets") if row["title"] == "renamed"} == {1}
    with pytest.raises(ForeignTenantError):
        session.execute(insert(tickets).values(tenant_id=2, **NEW), execution_options=options)


def test_a_schema_translate_map_does_not_make_a_shared_table_writable(session: Session) -> None:
    for table in ("countries", "tenants"):
        with pytest.raises(RefusedStatementError):
            session.execute(delete(tables[table]), execution_options={"schema_translate_map": {None: "main"}})


def test_a_copy_of_an_engine_is_guarded(world: WriteWorld) -> None:
    copied = world.many.execution_options(insertmanyvalues_page_size=5).execution_options(isolation_level="AUTOCOMMIT")

    with tenant(1), copied.connect() as connection:
        assert set(connection.scalars(select(tickets.c.tenant_id))) == {1}
        with pytest.raises(RefusedStatementError):
            connection.exec_driver_sql("DELETE FROM countries")
    with copied.connect() as connection, pytest.raises(NoTenantError):
        connection.execute(delete(tickets))


# Transactions.


def test_a_savepoint_keeps_the_tenant(session: Session) -> None:
    with session.begin_nested():
        session.execute(insert(tickets).values(NEW))
        with tenant(2), pytest.raises(TenantChangedError):
            session.execute(insert(tickets).values(NEW))
        with session.begin_nested() as inner:
            session.execute(RENAMED)
            inner.rollback()
    session.commit()

    assert titles(session, 9) == {1: "new"}


def test_a_two_phase_transaction_keeps_the_tenant(world: WriteWorld) -> None:
    with tenant(1), world.many.connect() as connection:
        if world.name == "sqlite":
            with pytest.raises(NotImplementedError):
                connection.begin_twophase()
            return
        transaction = connection.begin_twophase()
        connection.execute(insert(tickets).values(NEW))
        assert set(connection.scalars(select(tickets.c.tenant_id))) == {1}
        with pytest.raises(ForeignTenantError):
            connection.execute(insert(tickets).values(tenant_id=2, **NEW))
        with tenant(2), pytest.raises(TenantChangedError):
            connection.execute(RENAMED)
        with pytest.raises(DBAPIError):
            transaction.prepare()  # this server does not allow it
        with contextlib.suppress(SQLAlchemyError):
            transaction.rollback()
        connection.invalidate()


def test_a_two_phase_session_keeps_the_tenant(world: WriteWorld) -> None:
    if world.name != "postgresql":
        pytest.skip("postgresql only")
    with opened(world) as engine, tenant(1):
        session = Session(engine, twophase=True)
        session.add(Ticket(**NEW))
        session.flush()
        assert set(session.scalars(select(Ticket.tenant_id))) == {1}
        with tenant(2), pytest.raises(TenantChangedError):
            session.execute(RENAMED)
        session.connection().invalidate()
        session.invalidate()


def test_autocommit_keeps_the_tenant_until_the_transaction_ends(world: WriteWorld) -> None:
    with opened(world, isolation_level="AUTOCOMMIT") as engine, restored(world):
        with engine.connect() as connection:
            with tenant(1):
                connection.execute(insert(tickets).values(NEW))
                assert set(connection.scalars(select(tickets.c.tenant_id))) == {1}
            with tenant(2), pytest.raises(TenantChangedError):
                connection.execute(RENAMED)
            connection.rollback()
            with tenant(2):
                assert connection.execute(RENAMED).rowcount == 3
            connection.rollback()
            with pytest.raises(NoTenantError):
                connection.execute(RENAMED)
        with Session(engine) as session:
            assert titles(session, 9) == {1: "new"}
            assert titles(session, 1)[3] != "renamed"


# Several engines.


@contextmanager
def two_engines(world: WriteWorld) -> Iterator[tuple[Engine, Engine]]:
    """Open guarded engines on the database of many tenants, and on the one of tenant 2."""
    second = write_models.tenancy().guard(create_engine(world.twins[2].alone.url))
    try:
        with opened(world) as first:
            yield first, second
    finally:
        second.dispose()


def test_a_sharded_session_is_scoped_on_every_shard(world: WriteWorld) -> None:
    with two_engines(world) as (first, second):
        session = ShardedSession(
            shards={"first": first, "second": second},
            shard_chooser=lambda mapper, instance, clause=None: (
                "second" if instance is not None and instance.number > 9 else "first"
            ),
            identity_chooser=lambda mapper, key, **kw: ["first", "second"],  # type: ignore[misc,arg-type,unused-ignore]
            execute_chooser=lambda context: ["first", "second"],
        )
        for tenant_id, count in ((1, 3), (2, 6), (1, 3)):
            with tenant(tenant_id), contextlib.closing(session):
                assert {each.tenant_id for each in session.scalars(select(Ticket))} == {tenant_id}
                assert len(session.execute(select(Ticket.number)).all()) == count
                session.add_all([Ticket(number=9, title="new"), Ticket(number=10, title="new")])
                session.flush()
                session.execute(update(Ticket).values(title="x").execution_options(synchronize_session=False))
                with pytest.raises(ForeignTenantError):
                    session.add(Ticket(tenant_id=3, number=11, title="new"))
                    session.flush()
        with contextlib.closing(session), pytest.raises(NoTenantError):
            session.execute(select(Ticket)).all()


def test_a_session_of_two_binds_is_scoped_on_both(world: WriteWorld) -> None:
    with two_engines(world) as (first, second):
        with tenant(2), Session(binds={Ticket: first, Template: second}) as session:
            session.add_all([Ticket(**NEW), Template(id=9001, name="new")])
            session.flush()
            assert set(session.scalars(select(Ticket.tenant_id))) == {2}
            assert set(session.scalars(select(Template.tenant_id))) == {2, None}
            session.execute(update(Ticket).values(title="x"))
            session.execute(update(Template).values(name="x"))
        with Session(binds={Ticket: first, Template: second}) as session:
            for entity in (Ticket, Template):
                with pytest.raises(NoTenantError):
                    session.execute(delete(entity))


def test_one_transaction_on_two_engines_has_one_tenant(world: WriteWorld) -> None:
    with two_engines(world) as (first, second):
        with Session(binds={Ticket: first, Template: second}) as session:
            with tenant(2):
                session.execute(update(Ticket).values(title="x"))
            with tenant(1), pytest.raises(TenantChangedError):
                session.execute(update(Template).values(name="x"))


def test_a_get_bind_that_chooses_by_statement_is_scoped(world: WriteWorld) -> None:
    with two_engines(world) as (first, second):

        class Routing(Session):
            def get_bind(self, mapper: Any = None, *, clause: Any = None, **kw: Any) -> Engine:
                return first if self._flushing or getattr(clause, "is_dml", False) else second

        with tenant(2), Routing() as session:
            session.add(Ticket(**NEW))
            session.flush()
            assert session.execute(update(Ticket).where(Ticket.number == 9).values(title="x")).rowcount == 1  # type: ignore[attr-defined]
            with pytest.raises(ForeignTenantError):
                session.execute(update(Ticket).values(tenant_id=3))
            with tenant(1), pytest.raises(TenantChangedError):
                session.execute(select(Ticket)).all()


# Events of the application.


@contextmanager
def listening(target: Any, name: str, listener: Any, **options: Any) -> Iterator[None]:
    event.listen(target, name, listener, **options)
    try:
        yield
    finally:
        event.remove(target, name, listener)


def test_a_statement_rewritten_before_it_is_executed_is_scoped(world: WriteWorld) -> None:
    def widen(connection: Any, clause: Any, rows: Any, row: Any, options: Any) -> Any:
        if clause.__visit_name__ in ("update", "delete", "select"):
            clause = clause.where(or_(true(), tickets.c.tenant_id > 0)) if clause.__visit_name__ != "select" else clause
        return clause, rows, row

    with listening(world.many, "before_execute", widen, retval=True), session_of(world.many, 1) as session:
        assert session.execute(RENAMED).rowcount == 3  # type: ignore[attr-defined]
        assert session.execute(delete(tables["comments"])).rowcount == 6  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "replaced",
    [
        insert(tickets).values(tenant_id=2, **NEW),
        update(tickets).values(tenant_id=2),
        text("DELETE FROM countries"),
        delete(tables["countries"]),
        CreateTable(Table("new", MetaData(), Column("id", Integer))),
    ],
)
def test_a_statement_replaced_before_it_is_executed_is_refused(world: WriteWorld, replaced: Any) -> None:
    def replace(connection: Any, clause: Any, rows: Any, row: Any, options: Any) -> Any:
        return (replaced, rows, row) if clause is RENAMED else (clause, rows, row)

    with listening(world.many, "before_execute", replace, retval=True), session_of(world.many, 1) as session:
        with pytest.raises((ForeignTenantError, RefusedStatementError, NotImplementedError)):
            session.execute(RENAMED)


def test_parameters_replaced_before_a_statement_is_executed_are_compared(world: WriteWorld) -> None:
    def replace(connection: Any, clause: Any, rows: Any, row: Any, options: Any) -> Any:
        return clause, [{**each, "tenant_id": 2} for each in rows], {**row, "tenant_id": 2} if row else row

    statement = insert(tickets)
    with session_of(world.many, 1) as session:
        connection = session.connection()
        with listening(world.many, "before_execute", replace, retval=True):
            for rows in (NEW, ROWS):
                with pytest.raises(ForeignTenantError):
                    connection.execute(statement, rows)


def test_a_statement_rewritten_by_do_orm_execute_is_scoped(session: Session) -> None:
    def rewrite(state: Any) -> Any:
        if state.is_update:
            state.statement = state.statement.where(or_(true(), Ticket.tenant_id > 0))
        elif state.is_delete:
            return state.invoke_statement(update(Ticket).values(tenant_id=2))
        elif state.is_insert:
            return state.invoke_statement(params={"tenant_id": 2, **NEW})
        return None

    with listening(session, "do_orm_execute", rewrite):
        session.execute(update(Ticket).values(title="renamed"))
        for statement in (delete(Ticket), insert(Ticket)):
            with pytest.raises(ForeignTenantError):
                session.execute(statement, NEW if statement.is_insert else None)

    assert {row["tenant_id"] for row in rows_in(session, "tickets") if row["title"] == "renamed"} == {1}


def test_a_legacy_query_rewritten_by_its_events_is_scoped(session: Session) -> None:
    def widen(query: Any, *context: Any) -> Any:
        return query.filter(or_(true(), Ticket.tenant_id > 0))

    with (
        listening(Query, "before_compile_update", widen, retval=True),
        listening(Query, "before_compile_delete", widen, retval=True),
        listening(Query, "before_compile", widen, retval=True),
    ):
        assert session.query(Ticket).update({"title": "renamed"}) == 3
        assert session.query(Ticket).count() == 3
        assert session.query(tables["comments"].c.body).count() == 6


def first_of(rows: Any) -> Any:
    return rows[0] if isinstance(rows, list) else rows


REWRITES: dict[str, Callable[[str, Any], tuple[str, Any]]] = {
    "another_statement": lambda statement, rows: ("DELETE FROM tickets", ()),
    "without_the_criterion": lambda statement, rows: (re.split(r"\sWHERE\s", statement)[0], rows),
    "more_of_it": lambda statement, rows: (statement + " OR 1=1", rows),
    "more_before_it": lambda statement, rows: ("DELETE FROM tickets; " + statement, rows),
    "a_comment_that_opens": lambda statement, rows: (statement.replace("WHERE", "/* WHERE") + " */", rows),
    "a_comment_that_is_run": lambda statement, rows: (statement + " /*! OR 1=1 */", rows),
    "two_comments_around_more": lambda statement, rows: (statement + " /* a */ OR 1=1 /* b */", rows),
    "a_comment_of_a_line": lambda statement, rows: (statement.replace("WHERE", "-- WHERE"), rows),
    "other_parameters": lambda statement, rows: (statement, _with_two(rows)),
    "parameters_changed_in_place": lambda statement, rows: (statement, _change_in_place(rows)),
    "no_parameters": lambda statement, rows: (statement, ()),
    "both": lambda statement, rows: ("UPDATE tickets SET title = 'stolen'", ()),
}


def _with_two(rows: Any) -> Any:
    if isinstance(rows, list):
        return [_with_two(each) for each in rows]
    if isinstance(rows, dict):
        return {key: 2 if value == 1 else value for key, value in rows.items()}
    return tuple(2 if value == 1 else value for value in rows)


def _change_in_place(rows: Any) -> Any:
    if isinstance(rows, list):
        rows[:] = [_with_two(each) for each in rows]
    elif isinstance(rows, dict):
        rows.update(_with_two(rows))
    else:
        return _with_two(rows)  # a tuple stays what it is
    return rows


WRITTEN: dict[str, tuple[Any, Any]] = {
    "insert": (insert(tickets).values(NEW), None),
    "insert_many": (insert(tickets), ROWS),
    "insert_many_returning": (insert(tickets).returning(tickets.c.number), ROWS),
    "update": (RENAMED, None),
    "update_many": (
        update(tickets).where(tickets.c.number == sqlalchemy.bindparam("n")).values(title="x"),
        [{"n": 1}, {"n": 2}],
    ),
    "delete": (delete(tickets), None),
    "select": (select(tickets.c.number), None),
}


@pytest.mark.parametrize("rewrite", REWRITES)
@pytest.mark.parametrize("statement", WRITTEN)
@pytest.mark.parametrize("target", ["engine", "connection", "class"])
def test_what_a_listener_rewrites_behind_the_door_is_refused(
    world: WriteWorld, rewrite: str, statement: str, target: str
) -> None:
    changed = []

    def listener(connection: Any, cursor: Any, sql: str, rows: Any, context: Any, executemany: bool) -> Any:
        if "tickets" not in sql:
            return sql, rows
        before = sql, repr(rows)
        sql, rows = REWRITES[rewrite](sql, rows)
        changed.append(before != (sql, repr(rows)))
        return sql, rows

    with session_of(world.many, 1) as session:
        connection = session.connection()
        targets = {"engine": world.many, "connection": connection, "class": Engine}
        before = rows_in(session, "tickets")
        with contextlib.ExitStack() as stack:
            event.listen(targets[target], "before_cursor_execute", listener, retval=True)
            stack.callback(event.remove, targets[target], "before_cursor_execute", listener)
            written, rows = WRITTEN[statement]
            try:
                connection.execute(written, rows)
            except RefusedStatementError:
                assert changed[-1]
            else:
                assert not any(changed)
                return
        assert rows_in(session, "tickets") == before


def test_a_listener_may_add_a_comment_and_look(world: WriteWorld) -> None:
    def comment(connection: Any, cursor: Any, sql: str, rows: Any, context: Any, executemany: bool) -> Any:
        return f"{sql} /* trace: 1 */" if executemany else f"/* trace: 1 */ {sql}", rows

    with session_of(world.many, 1) as session, listening(world.many, "before_cursor_execute", comment, retval=True):
        for statement, rows in WRITTEN.values():
            session.connection().execute(statement, rows)
            session.rollback()


def test_statements_of_listeners_are_scoped(world: WriteWorld) -> None:
    seen: list[Any] = []

    def look(session: Session, transaction: Any, connection: Connection) -> None:
        seen.extend(connection.scalars(select(tickets.c.tenant_id)))

    def look_too(connection: Connection) -> None:
        seen.extend(connection.scalars(select(tickets.c.tenant_id)))

    with listening(Session, "after_begin", look), tenant(1), Session(world.many) as session:
        session.execute(select(Ticket)).all()
    with opened(world) as engine, listening(engine, "engine_connect", look_too), tenant(1):
        with engine.connect() as connection:
            connection.execute(select(tickets))
    assert set(seen) == {1}


# Asyncio.


def run_async(world: WriteWorld, test: Callable[[AsyncEngine], Coroutine[Any, Any, None]]) -> None:
    driver = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}[world.name]

    async def main() -> None:
        engine = write_models.tenancy().guard(create_async_engine(world.url.set(drivername=driver)))
        try:
            await test(engine)
        finally:
            await engine.dispose()

    asyncio.run(main())


def test_an_async_session_writes_for_its_tenant(world: WriteWorld) -> None:
    async def test(engine: AsyncEngine) -> None:
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id):
                async with AsyncSession(engine) as session:
                    session.add(ticket := Ticket(**NEW))
                    await session.flush()
                    assert ticket.tenant_id == tenant_id
                    await session.execute(insert(tickets), ROWS)
                    assert set(await session.scalars(select(tickets.c.tenant_id))) == {tenant_id}
                    assert (await session.execute(delete(tickets).where(tickets.c.number > 9))).rowcount == len(ROWS)  # type: ignore[attr-defined]
                    with pytest.raises(ForeignTenantError):
                        await session.execute(insert(tickets).values(tenant_id=3, **NEW))
                    with pytest.raises(ForeignTenantError):
                        session.add(Ticket(tenant_id=3, number=8, title="x"))
                    await session.rollback()

    run_async(world, test)


def test_an_async_connection_refuses_what_a_connection_refuses(world: WriteWorld) -> None:
    async def test(engine: AsyncEngine) -> None:
        with tenant(1):
            async with engine.connect() as connection:
                for statement in (text("DELETE FROM countries"), delete(tables["countries"])):
                    with pytest.raises(RefusedStatementError):
                        await connection.execute(statement)
                with pytest.raises(RefusedStatementError):
                    await connection.run_sync(MetaData().reflect)
                with pytest.raises(RefusedStatementError):
                    await connection.exec_driver_sql("DELETE FROM countries")
                assert {row.tenant_id async for row in await connection.stream(select(tickets))} == {1}
        async with engine.connect() as connection:
            with pytest.raises(NoTenantError):
                await connection.execute(delete(tickets))

    run_async(world, test)


def test_tasks_that_write_at_once_write_for_their_tenants(world: WriteWorld) -> None:
    async def test(engine: AsyncEngine) -> None:
        async def work(tenant_id: int) -> int:
            with tenant(tenant_id):
                async with AsyncSession(engine) as session:
                    await asyncio.sleep(0)
                    changed = await session.execute(RENAMED) if world.name == "postgresql" else None
                    await asyncio.sleep(0)
                    assert set(await session.scalars(select(tickets.c.tenant_id))) == {tenant_id}
                    await session.rollback()
                    return 3 if changed is None else changed.rowcount  # type: ignore[attr-defined]

        assert await asyncio.gather(*(work(number % 3 + 1) for number in range(9))) == [3] * 9

    run_async(world, test)


# Engines that are none.


def test_a_mock_engine_cannot_be_guarded(world: WriteWorld) -> None:
    sent: list[Any] = []
    mock: Any = create_mock_engine(f"{world.name}://", lambda statement, *rows, **kw: sent.append(statement))

    with pytest.raises(SetupError):
        write_models.tenancy().guard(mock)
    with tenant(1):
        write_models.Base.metadata.create_all(mock, checkfirst=False)
    assert sent


def test_a_connection_made_past_the_guard_is_refused(world: WriteWorld) -> None:
    with opened(world) as engine, tenant(1):
        connection = Connection(engine)
        with contextlib.closing(connection), pytest.raises(PartywallError):
            connection.execute(RENAMED)
