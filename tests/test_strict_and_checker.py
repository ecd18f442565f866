"""Strict mode catches a compiler that is wrong; checker mode lets pass what is scoped by hand, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import (
    DDL,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.schema import CreateTable

from partywall import ForeignTenantError, NoTenantError, RefusedStatementError, Tenancy, tenant
from partywall.statements import proving
from partywall.statements.compile import ScopedCompiler
from partywall.statements.presets import is_preset
from partywall.statements.text import _reads, _writes
from partywall.statements.writes import ScopedWriter
from tests import models, write_models
from tests.models import Country, Customer, Invoice, Line, Tag, Template
from tests.recorder import Recorder
from tests.test_async import driver, with_drivers
from tests.write_world import WriteWorld, opened_for_writes, rolled_back, session_of

__all__ = ["driver", "opened_for_writes"]  # fixtures

each_driver = with_drivers(
    ("sqlite", "pysqlite"),
    ("sqlite", "aiosqlite"),
    ("postgresql", "psycopg"),
    ("postgresql", "psycopg2"),
    ("postgresql", "asyncpg"),
)


TAGS = models.Base.metadata.tables["tags"]


def guarded(world: WriteWorld, **options: Any) -> Engine:
    return write_models.tenancy(**options).guard(create_engine(world.url))


@contextmanager
def connected(engine: Engine, tenant_id: Any = 1) -> Iterator[Connection]:
    """Open a tenant's connection, whose transaction is rolled back."""
    if tenant_id is None:
        with rolled_back(engine) as connection:
            yield connection
    else:
        with tenant(tenant_id), rolled_back(engine) as connection:
            yield connection
    engine.dispose()


# Strict: what a broken compiler makes is caught.


def forget_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Break everything that restricts what stands in FROM, and what is written."""
    monkeypatch.setattr(ScopedCompiler, "_restrict", lambda self, source, *, may_rise: (source, []))
    forget_criteria(monkeypatch)


def forget_criteria(monkeypatch: pytest.MonkeyPatch) -> None:
    def unchanged(statement: Any, criteria: Any) -> Any:
        return statement

    monkeypatch.setattr("partywall.statements.compile.with_tenant_first", unchanged)
    monkeypatch.setattr("partywall.statements.writes.with_tenant_first", unchanged)


def forget_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reads.Reads, "_table", lambda self, table, ctes, *, may_rise: [])
    for module in (_reads, _writes):
        monkeypatch.setattr(module, "and_first", lambda criteria, clause: clause)


STATEMENTS: dict[str, Any] = {
    "select": select(Invoice.id),
    "select_where": select(Invoice.id).where(or_(Invoice.total > 3, Invoice.tenant_id == 1)),
    "select_of_an_entity": select(Customer).options(joinedload(Customer.invoices)),
    "subquery": select(Country.code, select(func.sum(Invoice.total)).scalar_subquery()),
    "shared_rows": select(Template.name),
    "update": update(Tag).values(name="x"),
    "update_where": update(Tag).values(name="x").where(Tag.id > 3),
    "delete": delete(Line),
    "insert_from_select": insert(Tag).from_select(["id", "name"], select(Invoice.id + 1000, Invoice.number)),
}
TEXTS = (
    "SELECT id FROM invoices",
    "SELECT id FROM invoices WHERE total > 0",
    "SELECT c.id FROM countries k LEFT JOIN customers c ON c.country_code = k.code",
    "UPDATE tags SET name = 'x' WHERE id > 0",
    "DELETE FROM lines WHERE position > 0",
    "INSERT INTO tags (id, name) SELECT id + 1000, number FROM invoices WHERE id > 0",
)


def refused_by_the_proof(run: Callable[[], Any]) -> None:
    with pytest.raises(RefusedStatementError, match="the proof does not find this statement scoped"):
        run()


@pytest.mark.parametrize("breaking", [forget_sources, forget_criteria])
@pytest.mark.parametrize("name", STATEMENTS)
def test_a_construct_of_a_broken_compiler_is_refused(
    world: WriteWorld, monkeypatch: pytest.MonkeyPatch, breaking: Callable[..., None], name: str
) -> None:
    breaking(monkeypatch)
    engine = guarded(world)
    with connected(engine) as connection, Session(connection) as session, Recorder(engine) as recorder:
        refused_by_the_proof(lambda: session.execute(STATEMENTS[name]))

    assert recorder.statements == []


@pytest.mark.parametrize("sql", TEXTS)
@pytest.mark.parametrize("door", ["text", "driver"])
def test_a_text_of_a_broken_wall_is_refused(
    world: WriteWorld, monkeypatch: pytest.MonkeyPatch, sql: str, door: str
) -> None:
    forget_text(monkeypatch)
    engine = guarded(world)
    with connected(engine) as connection, Recorder(engine) as recorder:
        run = connection.exec_driver_sql if door == "driver" else lambda statement: connection.execute(text(statement))
        refused_by_the_proof(lambda: run(sql))

    assert recorder.statements == []


def test_an_insert_of_a_broken_compiler_is_refused(world: WriteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = guarded(world)
    original = ScopedWriter.visit_insert

    def without_tenant(self: Any, statement: Any, *args: Any, **kw: Any) -> Any:
        original(self, statement, *args, **kw)
        return "INSERT INTO tags (id, name) VALUES (1, 'x')"

    monkeypatch.setattr(ScopedWriter, "visit_insert", without_tenant)
    with connected(engine) as connection, Recorder(engine) as recorder:
        refused_by_the_proof(lambda: connection.execute(insert(TAGS).values(id=1, name="x")))

    assert recorder.statements == []


def test_without_strict_the_broken_compiler_would_have_leaked(
    world: WriteWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget_sources(monkeypatch)
    engine = guarded(world, strict=False)
    with connected(engine) as connection:
        assert len(connection.execute(select(Invoice.id)).all()) > 7


def count_proofs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    proved: list[str] = []
    prove: Any = vars(proving)["prove"]

    def counted(sql: str, *args: Any, **kw: Any) -> Any:
        proved.append(sql)
        return prove(sql, *args, **kw)

    monkeypatch.setattr(proving, "prove", counted)
    return proved


def test_a_statement_is_proved_once(world: WriteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    proved = count_proofs(monkeypatch)
    engine = guarded(world)
    for number, tenant_id in enumerate((1, 2, 1, 2)):
        with connected(engine, tenant_id) as connection:
            connection.execute(select(Invoice.id).where(Invoice.total > number)).all()
            connection.execute(select(Invoice.id).where(Invoice.id.in_(range(number + 1)))).all()
            connection.execute(text("SELECT id FROM tags WHERE id > :n"), {"n": number}).all()
            connection.exec_driver_sql("SELECT name FROM tags").all()
            connection.execute(insert(TAGS), [{"id": 900 + n, "name": "x"} for n in range(5)])

    assert len(proved) == len(set(proved)) == 5


def test_what_is_not_proved_is_refused_each_time(world: WriteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    forget_criteria(monkeypatch)
    forget_text(monkeypatch)
    engine = guarded(world)
    with connected(engine) as connection:
        for _ in range(3):
            refused_by_the_proof(lambda: connection.execute(select(Invoice.id)))
            refused_by_the_proof(lambda: connection.execute(text("SELECT id FROM tags WHERE id > 0")))
            refused_by_the_proof(lambda: connection.exec_driver_sql("SELECT id FROM tags WHERE id > 0"))


ODD = MetaData()
odd = Table(
    "Odd %s: (t)",
    ODD,
    Column("id", Integer, primary_key=True),
    Column("Tenant %", Integer, key="owner", nullable=False),
    Column("a:b (c)", String),
    Column("100%", String),
)


@each_driver
def test_odd_names_values_and_lists_are_proved(world: WriteWorld, driver: str) -> None:
    url = world.url.set(drivername=f"{world.name}+{driver}")
    ODD.create_all(world.plain)
    column = odd.c["a:b (c)"]
    statements: list[Any] = [
        insert(odd).values(id=1, **{"a:b (c)": "%", "100%": ":x ? %s %(a)s"}),
        insert(odd).values([{"id": 2}, {"id": 3}]),
        select(odd).where(column == bindparam("a:b (c)", "%")),
        select(odd).where(column.in_(["%", "%%", "?", "%(x)s"]), column.like("%%")),
        select(odd.c.id % 2, odd.c["100%"].op("||")("%")).where(or_(column != "100%", odd.c.id > 0)),
        select(odd).where(odd.c.id.in_([])),
        select(odd).where(odd.c.id.in_(bindparam("n", [1, 2], expanding=True, literal_execute=True))),
        select(odd).with_for_update(),
        update(odd).values({column: odd.c["100%"] + "%"}).where(column.like("%")),
        delete(odd).where(odd.c["100%"].contains("%", autoescape=True)),
    ]

    def run(connection: Connection) -> None:
        for statement in statements:
            connection.execute(statement)
        schema = {"sqlite": "main", "postgresql": "public"}[world.name]
        mapped = connection.execution_options(schema_translate_map={None: schema})
        for statement in statements[2:]:
            mapped.execute(statement)
        assert mapped.scalar(select(func.count() >= 2).select_from(odd))

    tenancy = Tenancy(ODD, column="Tenant %", strict=True)
    if driver in ("aiosqlite", "asyncpg"):

        async def main() -> None:
            engine = tenancy.guard(create_async_engine(url))
            with tenant(1):
                async with engine.connect() as connection:
                    await connection.run_sync(run)
            await engine.dispose()

        asyncio.run(main())
        return
    engine = tenancy.guard(create_engine(url))
    with connected(engine) as connection:
        run(connection)


# Checker: scoped by hand.


@pytest.fixture(scope="module")
def checked(world: WriteWorld) -> Iterator[Engine]:
    """Return an engine in checker mode."""
    engine = guarded(world, checker=True, strict=False)
    yield engine
    engine.dispose()


@contextmanager
def checking(checked: Engine, tenant_id: int | None = 1) -> Iterator[Session]:
    with session_of(checked, tenant_id) as session:
        session.connection()
        yield session


ddl: Any = DDL  # not typed


def mark(world: WriteWorld, sql: str) -> str:
    return sql.replace("?", "%s") if world.name == "postgresql" else sql


def test_what_is_scoped_by_hand_runs_as_it_is(world: WriteWorld, checked: Engine) -> None:
    for tenant_id in (1, 2):
        base = tenant_id * 100
        ids = [base + number for number in range(1, 8)]
        with checking(checked, tenant_id) as session:
            own = Invoice.tenant_id == tenant_id
            assert sorted(session.scalars(select(Invoice.id).where(own))) == ids
            assert sorted(each.id for each in session.scalars(select(Invoice).where(own))) == ids
            joined = (
                select(Customer.id, Invoice.id)
                .outerjoin(Invoice, (Invoice.customer_id == Customer.id) & own)
                .where(Customer.tenant_id == tenant_id)
            )
            assert {row[0] // 100 for row in session.execute(joined)} == {tenant_id}
            by_text = text("SELECT id FROM invoices WHERE tenant_id = :t ORDER BY id")
            assert session.scalars(by_text, {"t": tenant_id}).all() == ids
            string = mark(world, "SELECT id FROM invoices WHERE tenant_id = ? ORDER BY id")
            assert session.connection().exec_driver_sql(string, (tenant_id,)).scalars().all() == ids
            session.execute(insert(TAGS), [{"id": 900 + n, "tenant_id": tenant_id, "name": "x"} for n in range(50)])
            sql = text("INSERT INTO tags (id, tenant_id, name) VALUES (:id, :t, 'x')")
            session.execute(sql, [{"id": 990 + n, "t": tenant_id} for n in range(5)])
            changed = update(Tag).values(name="y").where(Tag.tenant_id == tenant_id, Tag.name == "x")
            assert session.execute(changed).rowcount == 55  # type: ignore[attr-defined]  # of a write
            removed = mark(world, "DELETE FROM tags WHERE tenant_id = ? AND name = 'y'")
            assert session.connection().exec_driver_sql(removed, (tenant_id,)).rowcount == 55
            assert session.scalar(select(func.count()).select_from(Country)) == 2
            session.execute(text("SELECT 1"))


def test_what_is_not_scoped_by_hand_is_refused_and_told_why(world: WriteWorld, checked: Engine) -> None:
    own = Invoice.tenant_id == 1
    nested = "SELECT id FROM invoices WHERE tenant_id = :t /* /* */ OR 1 = 1 -- */"
    if world.name == "postgresql":  # where comments nest
        nested = "SELECT id FROM invoices /* /* */ WHERE tenant_id = :t -- */"
    statements: list[Any] = [
        select(Invoice.id),
        select(Invoice),
        select(Invoice.id).where(or_(own, Invoice.id > 0)),
        select(Invoice.id).where(Invoice.tenant_id == Invoice.id),
        select(Invoice.id).where(Invoice.tenant_id.in_([1])),
        select(Invoice.id).where(own.is_(True)),
        select(Invoice.id).where(~own),
        select(Invoice.id, Tag.id).where(own),
        select(Customer.id).outerjoin(Invoice, own).where(own),
        select(Country.code, select(func.sum(Invoice.total)).scalar_subquery()),
        insert(TAGS).values(id=900, name="x"),
        insert(TAGS).from_select(["id", "tenant_id", "name"], select(Tag.id, Tag.tenant_id, Tag.name)),
        update(TAGS).values(name="x"),
        update(TAGS).values(tenant_id=2).where(Tag.tenant_id == 1),
        delete(TAGS).where(Tag.id == 101),
        text("SELECT id FROM invoices"),
        text("SELECT id FROM invoices WHERE tenant_id = 1 OR tenant_id = :t").bindparams(t=1),
        text("SELECT id FROM invoices WHERE tenant_id = :t OR 1 = 1").bindparams(t=1),
        text("SELECT id FROM invoices WHERE tenant_id = :t UNION SELECT id FROM invoices").bindparams(t=1),
        text("SELECT id FROM invoices WHERE tenant_id = :t IN (0, 1)").bindparams(t=1),
        text("SELECT id FROM invoices WHERE :t = tenant_id IS NOT NULL").bindparams(t=1),
        text("SELECT id FROM invoices WHERE 'x' = 'tenant_id = :t'").bindparams(t=1),
        text("SELECT id FROM invoices /* WHERE tenant_id = :t */").bindparams(t=1),
        text("SELECT id FROM invoices -- WHERE tenant_id = :t").bindparams(t=1),
        text(nested).bindparams(t=1),
        text("SELECT id FROM invoices WHERE tenant_id = :t AND number <> '\\' OR 1 = 1 -- '").bindparams(t=1),
        text("SELECT 1; SELECT id FROM invoices"),
    ]
    with checking(checked) as session, Recorder(checked) as recorder:
        for statement in statements:
            answer: Any = None
            try:
                answer = session.execute(statement).all()
            except RefusedStatementError as error:
                assert error.reason
                continue
            except Exception:  # noqa: BLE001, S112  # the database's own refusal is as good
                continue
            pytest.fail(f"answered: {statement} {answer}")
        for sql in ("SELECT id FROM invoices", "DELETE FROM tags", "SELECT id FROM invoices WHERE tenant_id = 1"):
            with pytest.raises(RefusedStatementError, match="not scoped by hand"):
                session.connection().exec_driver_sql(sql)
        sent = [statement for statement in recorder.statements if "invoices" in statement or "tags" in statement]

    assert sent == []


def test_another_tenants_value_is_compared_each_time(world: WriteWorld, checked: Engine) -> None:
    statement = select(Invoice.id).where(Invoice.tenant_id == bindparam("t"))
    by_text = text("SELECT id FROM invoices WHERE tenant_id = :t")
    string = mark(world, "SELECT id FROM invoices WHERE tenant_id = ?")
    for tenant_id, value in ((1, 1), (2, 2), (1, 2), (2, 1), (1, None), (1, 1), (2, "2"), (2, 2)):
        with checking(checked, tenant_id) as session, Recorder(checked) as recorder:
            runs: list[Callable[[], Any]] = [
                lambda: session.execute(statement, {"t": value}),  # noqa: B023
                lambda: session.execute(by_text, {"t": value}),  # noqa: B023
                lambda: session.connection().exec_driver_sql(string, (value,)),  # noqa: B023
            ]
            for run in runs:
                if tenant_id == value:
                    assert {row[0] // 100 for row in run()} == {tenant_id}
                else:
                    with pytest.raises(ForeignTenantError):
                        run()
            assert len(recorder.statements) == (3 if tenant_id == value else 0)


def test_another_tenant_in_any_row_of_a_batch_is_an_error(world: WriteWorld, checked: Engine) -> None:
    rows = [{"id": 900 + number, "tenant_id": 1, "name": "x"} for number in range(1000)]
    rows[730]["tenant_id"] = 2
    string = mark(world, "INSERT INTO tags (id, tenant_id, name) VALUES (?, ?, ?)")
    with checking(checked) as session, Recorder(checked) as recorder:
        with pytest.raises(ForeignTenantError):
            session.execute(insert(TAGS), rows)
        with pytest.raises(ForeignTenantError):
            session.execute(text("INSERT INTO tags (id, tenant_id, name) VALUES (:id, :tenant_id, :name)"), rows)
        with pytest.raises(ForeignTenantError):
            session.connection().exec_driver_sql(string, [tuple(row.values()) for row in rows])
        with pytest.raises(ForeignTenantError):
            session.execute(update(TAGS).values(tenant_id=2).where(Tag.tenant_id == 2))
    assert recorder.statements == []


def test_without_a_tenant_what_is_scoped_is_an_error_and_shared_tables_run(world: WriteWorld, checked: Engine) -> None:
    string = mark(world, "SELECT id FROM invoices WHERE tenant_id = ?")
    with checking(checked, None) as session, Recorder(checked) as recorder:
        with pytest.raises(NoTenantError):
            session.execute(select(Invoice.id).where(Invoice.tenant_id == 1))
        with pytest.raises(NoTenantError):
            session.execute(text("SELECT id FROM invoices WHERE tenant_id = :t"), {"t": 1})
        with pytest.raises(NoTenantError):
            session.connection().exec_driver_sql(string, (1,))
        assert recorder.statements == []
        assert session.scalar(select(func.count()).select_from(Country)) == 2
        assert session.scalar(text("SELECT count(*) FROM countries")) == 2
        assert session.connection().exec_driver_sql("SELECT count(*) FROM countries").scalar() == 2


def test_ddl_and_compiled_statements_are_refused(world: WriteWorld, checked: Engine) -> None:
    compiled = select(Country.code).compile(dialect=checked.dialect)
    with checking(checked) as session, Recorder(checked) as recorder:
        connection: Any = session.connection()
        for run in (
            lambda: connection.execute(ddl("DROP TABLE tags")),
            lambda: connection.execute(CreateTable(Table("t", MetaData(), Column("a", Integer)))),
            lambda: connection.exec_driver_sql("DROP TABLE tags"),
            lambda: connection.execute(text("DROP TABLE tags")),
            lambda: models.Base.metadata.drop_all(connection, checkfirst=False),
            lambda: connection.execute(compiled),
        ):
            with pytest.raises(Exception) as raised:  # noqa: PT011  # SQLAlchemy 2.1 has an error for compiled ones
                run()
            assert "DROP" not in str(recorder.statements), raised.value
    assert recorder.statements == []


def test_schemas_that_stand_for_others_are_checked_as_they_are_sent(world: WriteWorld, checked: Engine) -> None:
    schema = {"sqlite": "main", "postgresql": "public"}[world.name]
    own = select(Invoice.id).where(Invoice.tenant_id == 1)
    with checking(checked) as session:
        try:
            found = session.scalars(own, execution_options={"schema_translate_map": {None: schema}}).all()
        except RefusedStatementError:
            found = [100]
        assert {each // 100 for each in found} == {1}
    elsewhere = {"sqlite": "temp", "postgresql": "pg_catalog"}[world.name]
    with checking(checked) as session, Recorder(checked) as recorder:
        for statement in (select(Country.code), own):
            session.execute(statement, execution_options={"schema_translate_map": {None: schema}})
            recorder.statements.clear()
            with pytest.raises(RefusedStatementError):
                session.execute(statement, execution_options={"schema_translate_map": {None: elsewhere}})
            assert recorder.statements == []


def test_a_listener_cannot_change_what_was_checked(world: WriteWorld) -> None:
    engine = guarded(world, checker=True, strict=False)

    def change(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("tenant_id =", "total <>"), parameters

    event.listen(engine, "before_cursor_execute", change, retval=True)
    with connected(engine) as connection:
        with pytest.raises(RefusedStatementError):
            connection.execute(select(Invoice.id).where(Invoice.tenant_id == 1))
        with pytest.raises(RefusedStatementError):
            connection.exec_driver_sql(mark(world, "SELECT id FROM invoices WHERE tenant_id = ?"), (1,))


def test_a_default_that_is_run_beforehand_is_checked(world: WriteWorld) -> None:
    metadata = MetaData()
    Table("tags", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", Integer, nullable=False))
    count = select(func.count()).select_from(text("tags")).scalar_subquery()
    users = Table(
        "users",
        metadata,
        Column("id", Integer, primary_key=True, default=count + 5000),
        Column("email", String),
        implicit_returning=False,
    )
    engine = Tenancy(metadata, shared_writable={"users"}, checker=True).guard(create_engine(world.url))
    with connected(engine) as connection, Recorder(engine) as recorder:
        with pytest.raises(RefusedStatementError):
            connection.execute(insert(users).values(email="x"))
    assert [statement for statement in recorder.statements if "tags" in statement] == []


def test_text_cannot_stand_for_a_list_of_sqlalchemys(world: WriteWorld, checked: Engine) -> None:
    ids: Any = bindparam("ids", [" OR 1 = 1 OR "], expanding=True, literal_execute=True)
    sql = "SELECT id FROM invoices WHERE tenant_id = :t AND number <> '__[POSTCOMPILE_ids]' AND number NOT IN :ids"
    with checking(checked) as session:
        with pytest.raises((RefusedStatementError, DBAPIError)):
            session.execute(text(sql).bindparams(ids, t=1)).all()
            pytest.fail("answered")


def test_literals_and_expressions_do_not_scope(world: WriteWorld, checked: Engine) -> None:
    with checking(checked) as session, Recorder(checked) as recorder:
        for value in (literal(1), bindparam("t", 1, literal_execute=True), bindparam("t", callable_=lambda: 1)):
            statement = select(Invoice.id).where(Invoice.tenant_id == value)
            try:
                found = session.scalars(statement).all()
            except RefusedStatementError:
                continue
            assert {each // 100 for each in found} == {1}
    assert len(recorder.statements) <= 2


# Presets.


BOTH = ["SELECT 1", "select 1;", " SELECT\n1 ", "SAVEPOINT a", "RELEASE SAVEPOINT a", "SAVEPOINT b", "ROLLBACK TO b"]
PRESETS: dict[str, list[str]] = {
    "sqlite": [*BOTH, "RELEASE b"],
    "postgresql": [
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET TRANSACTION READ WRITE",
        "SET TRANSACTION NOT DEFERRABLE",
        *BOTH,
        "SET LOCAL statement_timeout = '5s'",
        "SET LOCAL statement_timeout = 5000",
        "SET LOCAL statement_timeout TO '5 min'",
        "SET LOCAL statement_timeout TO DEFAULT",
        "SET LOCAL lock_timeout='10ms'",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "set local enable_seqscan = off",
        "SET LOCAL jit TO on",
        "SET LOCAL work_mem = '64MB'",
        "SET LOCAL hash_mem_multiplier = 2.0",
        "SET CONSTRAINTS ALL DEFERRED",
        "SET CONSTRAINTS ALL IMMEDIATE",
    ],
}
NEAR_MISSES = [
    "SELECT 1 FROM pg_class",
    "SELECT 1; SELECT 1",
    "SET statement_timeout = '5s'",
    "SET SESSION statement_timeout = '5s'",
    "SET LOCAL role = postgres",
    "SET LOCAL search_path = pg_catalog",
    "SET LOCAL statement_timeout = (SELECT 1)",
    "SET LOCAL statement_timeout = '5s'; SELECT 1",
    "SET LOCAL statement_timeout = 5, work_mem = 5",
    "SET LOCAL enable_seqscan = off; DROP TABLE tags",
    "SET LOCAL row_security = off",
    "SET LOCAL session_authorization = postgres",
    "SET LOCAL log_statement = 'none'",
    "SET TRANSACTION SNAPSHOT '00000003-0000001B-1'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET CONSTRAINTS a.b DEFERRED, ALL IMMEDIATE; SELECT 1",
    "RESET ALL",
    "COMMIT",
    "ROLLBACK",
    "END",
    "BEGIN; SELECT 1",
    "SAVEPOINT a; SELECT 1",
    "SAVEPOINT a b",
    'SAVEPOINT "a"; DROP TABLE tags',
    "ROLLBACK TO a; COMMIT",
    "ROLLBACK AND CHAIN",
    "RELEASE a; COMMIT",
    "DISCARD ALL",
    "SHOW statement_timeout",
    "PRAGMA foreign_keys = OFF",
    "LOCK TABLE tags",
    "LISTEN a",
]  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"checker": True, "strict": False}])
@pytest.mark.parametrize("door", ["text", "driver"])
def test_presets_run_in_every_scope(world: WriteWorld, options: dict[str, Any], door: str) -> None:
    for tenant_id in (1, None):
        engine = guarded(world, **options)
        with connected(engine, tenant_id) as connection:
            for sql in PRESETS[world.name]:
                assert is_preset(sql)
                if door == "text":
                    connection.execute(text(sql))
                else:
                    connection.exec_driver_sql(sql)


@pytest.mark.parametrize("options", [{}, {"checker": True, "strict": False}])
def test_what_resembles_a_preset_is_refused(world: WriteWorld, options: dict[str, Any]) -> None:
    engine = guarded(world, **options)
    with connected(engine) as connection, Recorder(engine) as recorder:
        for sql in NEAR_MISSES:
            assert not is_preset(sql)
            for run in (connection.exec_driver_sql, lambda statement: connection.execute(text(statement))):
                with pytest.raises(RefusedStatementError):
                    run(sql)
                    pytest.fail(sql)
    assert recorder.statements == []
