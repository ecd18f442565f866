"""Strings for the driver are scoped in every parameter style, by every driver."""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
)
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.ext.asyncio import create_async_engine

from partywall import (
    ForeignTenantError,
    NoTenantError,
    PartywallError,
    RefusedStatementError,
    Tenancy,
    current_tenant,
    tenant,
)
from tests import write_models
from tests.recorder import Recorder
from tests.test_async import driver, with_drivers
from tests.write_world import WriteWorld, opened_for_writes

__all__ = ["driver", "opened_for_writes"]  # fixtures

DRIVERS = (
    ("sqlite", "pysqlite"),
    ("sqlite", "aiosqlite"),
    ("postgresql", "psycopg"),
    ("postgresql", "psycopg2"),
    ("postgresql", "asyncpg"),
)
ASYNCHRONOUS = ("aiosqlite", "asyncpg")
each_driver = with_drivers(*DRIVERS)

Body = Callable[[Connection], None]


class Opened:
    """A guarded engine of one driver; what is run on it is rolled back."""

    def __init__(self, url: URL, tenancy: Tenancy) -> None:
        self.driver = url.get_driver_name()
        self.is_asynchronous = self.driver in ASYNCHRONOUS
        engine: Any = create_async_engine(url) if self.is_asynchronous else create_engine(url)
        guard: Any = tenancy.guard
        guard(engine)
        self.engine: Any = engine
        self.sync_engine: Engine = engine.sync_engine if self.is_asynchronous else engine

    def run(self, *bodies: tuple[Any, Body]) -> None:
        """Run each body for its tenant, None being none, on a connection of its own."""
        if self.is_asynchronous:
            asyncio.run(self._run(bodies))
            return
        for tenant_id, body in bodies:
            with self._scope(tenant_id), self.engine.connect() as connection:
                body(connection)
        self.engine.dispose()

    async def _run(self, bodies: tuple[tuple[Any, Body], ...]) -> None:
        for tenant_id, body in bodies:
            with self._scope(tenant_id):
                async with self.engine.connect() as connection:
                    await connection.run_sync(body)
        await self.engine.dispose()

    @staticmethod
    def _scope(tenant_id: Any) -> Any:
        return contextlib.nullcontext() if tenant_id is None else tenant(tenant_id)

    def styles(self) -> tuple[str, ...]:
        """Return the ways in which this driver's strings write parameters."""
        if self.driver == "asyncpg":
            return ("$1",)
        if "sqlite" in self.driver:
            return ("?", "?1", ":name", "@name", "$name")
        return ("%s", "%(name)s")


@pytest.fixture
def opened(world: WriteWorld, driver: str) -> Opened:
    """Return a guarded engine of the driver under test."""
    return Opened(world.url.set(drivername=f"{world.name}+{driver}"), write_models.tenancy())


def styled(sql: str, style: str, *values: Any) -> tuple[str, Any]:
    """Return a string, with ``{0}`` and so on for its parameters, in a driver's style, and its parameters."""
    order: list[int] = []

    def mark(found: re.Match[str]) -> str:
        number = int(found[1])
        order.append(number)
        if style in ("?", "%s"):
            return style
        if style in ("?1", "$1"):
            return f"{style[0]}{number + 1}"
        return style.replace("name", f"p{number}")

    if style.startswith("%"):
        sql = sql.replace("%", "%%")
    marked = re.sub(r"\{(\d)\}", mark, sql)
    if "name" in style:
        return marked, {f"p{number}": value for number, value in enumerate(values)}
    return marked, tuple(values[number] for number in order) if style in ("?", "%s") else tuple(values)


def ids(connection: Connection, sql: str, parameters: Any = None) -> list[int]:
    return sorted(row[0] for row in connection.exec_driver_sql(sql, parameters))


# Reads.

READS: dict[str, tuple[str, tuple[Any, ...], list[int]]] = {
    "none": ("SELECT id FROM invoices", (), [1, 2, 3, 4, 5, 6, 7]),
    "one": ("SELECT id FROM invoices WHERE paid AND id % 100 >= {0}", (3,), [4, 6]),
    "an_or": ("SELECT id FROM invoices WHERE number = {0} OR 1 = 1", ("R-1",), [1, 2, 3, 4, 5, 6, 7]),
    "two_in_order": ("SELECT id FROM invoices WHERE number = {0} OR number = {1}", ("R-1", "R-2"), [1, 2]),
    "two_the_other_way": ("SELECT id FROM invoices WHERE number = {1} OR number LIKE {0}", ("%5", "R-2"), [2, 5]),
    "the_same_twice": ("SELECT id FROM invoices WHERE number = {0} OR number = {0}", ("R-3",), [3]),
    "limit": ("SELECT id FROM invoices ORDER BY id LIMIT {0}", (2,), [1, 2]),
    "limit_and_offset": (
        "SELECT id FROM invoices WHERE number <> {0} ORDER BY id LIMIT {1} OFFSET {2}",
        ("R-1", 2, 3),
        [5, 6],
    ),
    "offset_before_limit": ("SELECT id FROM invoices ORDER BY id LIMIT {1} OFFSET {0}", (5, 9), [6, 7]),
    "in_a_subquery_before_and_after": (
        "SELECT id FROM invoices WHERE number <> {0} AND customer_id IN (SELECT id FROM customers WHERE name = {1}) "
        "AND number <> {2}",
        ("R-9", "customer 1", "R-2"),
        [1],
    ),
    "in_a_join": (
        "SELECT i.id FROM customers c LEFT JOIN invoices i ON i.customer_id = c.id AND i.number = {1} "
        "WHERE c.name = {0} AND i.id IS NOT NULL",
        ("customer 2", "R-3"),
        [3],
    ),
    "in_a_cte": (
        "WITH c AS (SELECT id FROM invoices WHERE number > {1}) SELECT id FROM c WHERE EXISTS "
        "(SELECT 1 FROM tags WHERE name = {0})",
        ("tag 1", "R-5"),
        [6, 7],
    ),
    "signs_in_quotes": (
        """SELECT id FROM invoices WHERE number <> '? :p0 $1 100%' AND number <> {0} AND 'a''?' <> '%s' """,
        ("R-1",),
        [2, 3, 4, 5, 6, 7],
    ),
}


@each_driver
@pytest.mark.parametrize("name", READS)
def test_a_string_that_reads_gives_the_tenants_rows(opened: Opened, name: str) -> None:
    sql, values, numbers = READS[name]
    if name == "signs_in_quotes" and opened.driver in ("psycopg", "psycopg2"):
        sql = sql.replace("%s", "%")

    def body(connection: Connection) -> None:
        owner = current_tenant()
        for style in opened.styles():
            sent = sql.replace("$1", "$") if name == "signs_in_quotes" and style == "$1" else sql
            statement, parameters = styled(sent, style, *values)
            expected = [int(str(owner)) * 100 + number for number in numbers]
            assert ids(connection, statement, parameters or None) == expected
            if not values:
                assert ids(connection, statement, ()) == expected

    opened.run((1, body), (2, body), (1, body))


@each_driver
def test_a_list_of_parameters_is_a_batch(opened: Opened) -> None:
    def body(connection: Connection) -> None:
        owner = int(str(current_tenant()))
        for turn, style in enumerate(opened.styles()):
            first = 50_000 + 1000 * turn
            pairs = [
                styled("INSERT INTO tags (name, id) VALUES ({1}, {0})", style, first + n, f"n{n}") for n in range(50)
            ]
            connection.exec_driver_sql(pairs[0][0], [parameters for _, parameters in pairs])
            changes = [
                styled("UPDATE tags SET name = {0} WHERE id = {1}", style, "new", key) for key in (101, 201, 301)
            ]
            connection.exec_driver_sql(changes[0][0], [parameters for _, parameters in changes])
            sql, parameters = styled("DELETE FROM tags WHERE id = {0}", style, first)
            connection.exec_driver_sql(sql, [parameters])
            rows = connection.exec_driver_sql(f"SELECT tenant_id, id, name FROM tags WHERE id > {first}").all()
            assert len([row for row in rows if row[1] < first + 1000]) == 49
            assert {row[0] for row in rows} == {owner}
            assert ids(connection, "SELECT id FROM tags WHERE name = 'new'") == [owner * 100 + 1]
        with contextlib.closing(connection.connection.cursor()) as cursor:  # past the wall
            cursor.execute("SELECT id FROM tags WHERE name = 'new'")
            assert [row[0] for row in cursor.fetchall()] == [owner * 100 + 1]

    opened.run((1, body), (2, body))


UPSERT = (
    "INSERT INTO labels (id, name, colour, active) VALUES ({0}, {1}, {2}, true) "
    "ON CONFLICT (tenant_id, name) DO UPDATE SET colour = excluded.colour WHERE labels.colour <> {3} OR 1 = 1 "
    "RETURNING tenant_id, name, colour"
)


@each_driver
def test_strings_that_write_write_the_tenants_rows(opened: Opened) -> None:
    def body(connection: Connection) -> None:
        owner = int(str(current_tenant()))
        for turn, style in enumerate(opened.styles()):
            new = 60_000 + turn
            upserted = connection.exec_driver_sql(*styled(UPSERT, style, new, "new", f"c{turn}", "none")).all()
            assert upserted == [(owner, "new", f"c{turn}")]
            sql = "INSERT INTO tags (id, name) SELECT {0} + id, name FROM tags WHERE name = {1} AND id < 999"
            assert connection.exec_driver_sql(
                *styled(f"{sql} RETURNING tenant_id", style, 1000 * (turn + 1), "tag 3")
            ).all() == [(owner,)]
            given = styled("INSERT INTO tags (tenant_id, id, name) VALUES ({2}, {1}, {0})", style, "x", new, owner)
            assert connection.exec_driver_sql(*given).rowcount == 1
            moved = styled("UPDATE tags SET tenant_id = {0}, name = 'y' WHERE id = {1}", style, owner, new)
            assert connection.exec_driver_sql(*moved).rowcount == 1
            foreign = styled("DELETE FROM tags WHERE id = {0} OR id = {1}", style, (3 - owner) * 100 + 1, new)
            assert connection.exec_driver_sql(*foreign).rowcount == 1

    opened.run((1, body), (2, body))


# Other tenants.


@each_driver
def test_another_tenant_in_a_string_is_an_error_that_names_the_row(opened: Opened) -> None:
    sql = "INSERT INTO tags (id, tenant_id, name) VALUES ({0}, {1}, 'x')"

    def body(connection: Connection) -> None:
        for style in opened.styles():
            statement, _ = styled(sql, style, 0, 0)
            rows = [styled(sql, style, 70_000 + number, 1)[1] for number in range(1000)]
            for number, owner in ((731, 2), (1, None), (1000, 3)):
                wrong = [*rows]
                wrong[number - 1] = styled(sql, style, 70_000, owner)[1]
                with pytest.raises(ForeignTenantError) as raised:
                    connection.exec_driver_sql(statement, wrong)
                assert (raised.value.row, raised.value.column, raised.value.tables) == (number, "tenant_id", ("tags",))
                assert str(owner) == "None" or f" {owner}" not in raised.value.reason.partition("To write")[0]
            with pytest.raises(ForeignTenantError) as raised:
                connection.exec_driver_sql(*styled(sql, style, 1, 2))
            assert raised.value.row is None
            for literal in ("2", "NULL", "'2'"):
                with pytest.raises(ForeignTenantError):
                    connection.exec_driver_sql(*styled(sql.replace("{1}", literal), style, 1))
            with pytest.raises(ForeignTenantError):
                connection.exec_driver_sql(*styled("UPDATE tags SET tenant_id = {0}", style, 2))

    with Recorder(opened.sync_engine) as recorder:
        opened.run((1, body))
    assert recorder.statements == []


@each_driver
def test_the_parameter_of_the_tenant_cannot_be_supplied(opened: Opened) -> None:
    def body(connection: Connection) -> None:
        for style in opened.styles():
            if "name" not in style:
                continue
            sql, parameters = styled("SELECT id FROM invoices WHERE number <> {0}", style, "x")
            for forged in ({"partywall_tenant": 2}, {"partywall_mark_0": 2}):
                assert ids(connection, sql, {**parameters, **forged}) == [101, 102, 103, 104, 105, 106, 107]
                batch = [{**parameters, **forged}] * 2
                change, _ = styled("UPDATE tags SET name = {0}", style, "x")
                connection.exec_driver_sql(change, batch)
            mark = style.replace("name", "partywall_tenant")
            with pytest.raises(RefusedStatementError):
                ids(connection, f"SELECT id FROM invoices WHERE tenant_id = {mark}", {"partywall_tenant": 2})
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute("SELECT count(*) FROM tags WHERE name = 'x' AND tenant_id <> 1")
            assert cursor.fetchall() == [(0,)]

    opened.run((1, body))


@each_driver
def test_no_tenant_is_an_error_and_shared_tables_are_read(opened: Opened) -> None:
    def body(connection: Connection) -> None:
        for style in opened.styles():
            with pytest.raises(NoTenantError):
                connection.exec_driver_sql(*styled("SELECT id FROM invoices WHERE number = {0}", style, "R-1"))
            sql = "SELECT name FROM countries WHERE code = {0} AND name <> {1} LIMIT {2}"
            statement, parameters = styled(sql, style, "de", "x", 5)
            assert connection.exec_driver_sql(statement, parameters).scalar() == "Germany"
        assert connection.exec_driver_sql("SELECT name FROM countries ORDER BY name").scalars().all()[0] == "France"

    opened.run((None, body))


# What is not right.


WRONG: dict[str, list[tuple[str, Any]]] = {
    "qmark": [
        ("SELECT id FROM tags WHERE id = ?", None),
        ("SELECT id FROM tags WHERE id = ?", ()),
        ("SELECT id FROM tags WHERE id = ? OR id = ?", (1,)),
        ("SELECT id FROM tags WHERE id = ?", (1, 2)),
        ("SELECT id FROM tags WHERE id = ?2", (1,)),
        ("SELECT id FROM tags WHERE id = ?1", (1, 2)),
        ("SELECT id FROM tags WHERE id = ?0", (1,)),
        ("SELECT id FROM tags", (1,)),
        ("SELECT id FROM tags WHERE id = ?2 OR id = ?", (101, 102, 103)),
        ("SELECT id FROM tags WHERE id = ? OR id = ?1", (101, 102)),
        ("SELECT id FROM tags WHERE id = ? OR id = :a", (1, 2)),
        ("SELECT id FROM tags WHERE id = ? OR id = :a", {"a": 1}),
        ("SELECT id FROM tags WHERE id = :a", {"b": 1}),
        ("SELECT id FROM tags WHERE id = :a", {}),
        ("SELECT id FROM tags WHERE id = ?", {"a": 1}),
        ("SELECT id FROM tags WHERE id = %s", (1,)),
        ("SELECT id FROM tags WHERE id = %(a)s", {"a": 1}),
        ("UPDATE tags SET name = ?", [("a",), ()]),
        ("UPDATE tags SET name = ?", [("a",), ("a", "b")]),
        ("UPDATE tags SET name = :a", [{"a": "a"}, {"b": "b"}]),
        ("UPDATE tags SET tenant_id = :a", [{"a": 1}, {"b": "b"}]),
        ("INSERT INTO tags (tenant_id, id, name) VALUES (?, ?, 'x')", [(1, 901), (1,), ()]),
    ],
    "pyformat": [
        ("SELECT id FROM tags WHERE id = %s", None),
        ("SELECT id FROM tags WHERE id = %s", ()),
        ("SELECT id FROM tags WHERE id = %s OR id = %s", (1,)),
        ("SELECT id FROM tags WHERE id = %s", (1, 2)),
        ("SELECT id FROM tags", (1,)),
        ("SELECT id FROM tags WHERE id = %s OR id = %(a)s", (1, 2)),
        ("SELECT id FROM tags WHERE id = %s OR id = %(a)s", {"a": 1}),
        ("SELECT id FROM tags WHERE id = %(a)s", {"b": 1}),
        ("SELECT id FROM tags WHERE id = %s", {"a": 1}),
        ("SELECT id FROM tags WHERE id = %(a)s", (1,)),
        ("SELECT id FROM tags WHERE name LIKE 'a%' AND id = %s", (1,)),
        ("SELECT id FROM tags WHERE id = $1", (1,)),
        ("SELECT id FROM tags WHERE id = ?", (1,)),
        ("SELECT id FROM tags WHERE id = '%s'", (1,)),
        ("UPDATE tags SET name = %s", [("a",), ()]),
        ("UPDATE tags SET name = %s", [("a",), ("a", "b")]),
        ("UPDATE tags SET name = %(a)s", [{"a": "a"}, {"b": "b"}]),
        ("UPDATE tags SET tenant_id = %(a)s", [{"a": 1}, {"b": "b"}]),
        ("INSERT INTO tags (tenant_id, id, name) VALUES (%s, %s, 'x')", [(1, 901), (1,), ()]),
    ],
    "numeric_dollar": [
        ("SELECT id FROM tags WHERE id = $1", None),
        ("SELECT id FROM tags WHERE id = $2", (1,)),
        ("SELECT id FROM tags WHERE id = $1", (1, 2)),
        ("SELECT id FROM tags WHERE id = $0", (1,)),
        ("SELECT id FROM tags", (1,)),
        ("SELECT id FROM tags WHERE id = %s", (1,)),
        ("SELECT id FROM tags WHERE id = ?", (1,)),
        ("SELECT id FROM tags WHERE name = '$1'", ("x",)),
        ("UPDATE tags SET name = $1", [("a",), ()]),
        ("UPDATE tags SET name = $1", [("a",), ("a", "b")]),
        ("INSERT INTO tags (tenant_id, id, name) VALUES ($1, $2, 'x')", [(1, 901), (1,), ()]),
    ],
}  # fmt: skip


@each_driver
def test_parameters_that_do_not_fit_are_an_error(opened: Opened) -> None:
    """What the driver would refuse is refused; nothing is answered with other parameters than were meant."""

    def body(connection: Connection) -> None:
        style = connection.dialect.paramstyle
        for sql, parameters in WRONG["pyformat" if style in ("format", "pyformat") else style]:
            with connection.begin_nested(), pytest.raises(Exception) as raised:  # noqa: PT011  # the driver's or ours
                with connection.begin_nested():
                    connection.exec_driver_sql(sql, parameters)
                pytest.fail(f"answered: {sql} {parameters}")
            assert not isinstance(raised.value, (KeyError, IndexError, TypeError, AttributeError)), sql

    opened.run((1, body))


@each_driver
def test_per_cent_signs_mean_what_they_mean_to_the_driver(opened: Opened, world: WriteWorld) -> None:
    strings = [
        ("SELECT '50%%', id FROM tags WHERE name LIKE 'tag%%' AND id %% 100 = 1", None),
        ("SELECT '50%%' FROM countries", None),
        ("SELECT '50%', id FROM tags WHERE name LIKE 'tag%' AND id % 100 = 1", None),
        ("SELECT '50%' FROM countries", None),
    ]
    answers: list[list[Any] | None] = []

    def guarded(connection: Connection) -> None:
        for sql, parameters in strings:
            answers.append(answer(connection, sql, parameters))

    opened.run((1, guarded))
    plain = Opened.__new__(Opened)
    plain.driver, plain.is_asynchronous = opened.driver, opened.is_asynchronous
    url = world.url.set(drivername=f"{world.name}+{opened.driver}")
    plain.engine = create_async_engine(url) if plain.is_asynchronous else create_engine(url)

    def unguarded(connection: Connection) -> None:
        for (sql, parameters), ours in zip(strings, answers, strict=True):
            double = sql.count("%%") > 0 or connection.dialect.paramstyle not in ("format", "pyformat")
            by_hand = f"{sql} AND tenant_id = 1" if "tags" in sql else sql
            theirs = answer(connection, by_hand, parameters)
            assert ours == theirs or (ours is None and not double), sql

    plain.run((None, unguarded))


def answer(connection: Connection, sql: str, parameters: Any) -> list[Any] | None:
    """Return the rows of a string; None if it is an error, ours or the driver's."""
    try:
        with connection.begin_nested():
            return [tuple(row) for row in connection.exec_driver_sql(sql, parameters)]
    except Exception:  # noqa: BLE001  # which one is of no interest
        return None


# Events.


@with_drivers(("sqlite", "pysqlite"), ("postgresql", "psycopg"), ("postgresql", "asyncpg"))
@pytest.mark.parametrize("what", ["sql", "tenant", "value"])
def test_a_listener_cannot_change_a_string(opened: Opened, what: str) -> None:
    def change(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if what == "sql":
            return re.sub(r"tags\.tenant_id = (\?|%s|\$\d\S*)", r"(\1 = 1 OR 1 = 1)", statement), parameters
        if what == "tenant":
            return statement, tuple(2 if value == 1 else value for value in parameters)
        return statement, tuple("tag 2" if value == "tag 1" else value for value in parameters)

    def body(connection: Connection) -> None:
        style = opened.styles()[0]
        with pytest.raises(RefusedStatementError):
            ids(connection, *styled("SELECT id FROM tags WHERE name = {0}", style, "tag 1"))

    event.listen(opened.sync_engine, "before_cursor_execute", change, retval=True)
    opened.run((1, body))


@each_driver
def test_a_listener_may_look_at_a_string(opened: Opened) -> None:
    def body(connection: Connection) -> None:
        for style in opened.styles():
            sql, parameters = styled("SELECT id FROM tags WHERE name <> {0}", style, "x")
            assert len(ids(connection, sql, parameters)) == 4
            change = styled("UPDATE tags SET name = {0} WHERE id = {1}", style, "y", 101)
            connection.exec_driver_sql(change[0], [change[1], change[1]])

    with Recorder(opened.sync_engine) as recorder:
        opened.run((1, body))
    assert all("tenant_id" in statement for statement in recorder.statements)
    assert len(recorder.statements) == 2 * len(opened.styles())


# Tenants of other types.


def other_tenancy(kind: str) -> tuple[MetaData, Table, tuple[Any, Any]]:
    metadata = MetaData()
    type_: Any = {"uuid": Uuid, "str": String, "int": Integer}[kind]
    owners: tuple[Any, Any] = {
        "uuid": (uuid.UUID(int=10), uuid.UUID(int=11)),
        "str": ("o'hara", 'a "b" 100% :c ?'),
        "int": (1, 2),
    }[kind]
    table = Table(
        f"things_{kind}",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", type_, nullable=False),
        Column("name", String),
    )
    return metadata, table, owners


@pytest.fixture(scope="session")
def kinds(new_database: Callable[..., URL]) -> URL:
    """Return a database with a table for each type of tenant id."""
    url = new_database()
    engine = create_engine(url)
    for kind in ("uuid", "str", "int"):
        metadata, table, owners = other_tenancy(kind)
        metadata.create_all(engine)
        with engine.begin() as connection:
            rows = [
                {"id": 10 * n + m, "tenant_id": owner, "name": f"n{m}"}
                for n, owner in enumerate(owners)
                for m in (1, 2)
            ]
            connection.execute(insert(table), rows)
    engine.dispose()
    return url


@each_driver
@pytest.mark.parametrize("kind", ["uuid", "str", "int"])
def test_tenants_of_every_type_are_passed_as_the_driver_takes_them(kinds: URL, driver: str, kind: str) -> None:
    metadata, table, owners = other_tenancy(kind)
    opened = Opened(kinds.set(drivername=f"{kinds.get_backend_name()}+{driver}"), Tenancy(metadata, strict=True))
    name = table.name

    def body(connection: Connection) -> None:
        owner = current_tenant()
        base = 10 * owners.index(owner)
        processor = table.c.tenant_id.type.dialect_impl(connection.dialect).bind_processor(connection.dialect)
        raw = owner if processor is None else processor(owner)
        for turn, style in enumerate(opened.styles()):
            assert ids(connection, f"SELECT id FROM {name}") == [base + 1, base + 2]
            found = styled(f"SELECT id FROM {name} WHERE name = {{1}} LIMIT {{0}}", style, 5, "n2")
            assert ids(connection, *found) == [base + 2]
            new = styled(f"INSERT INTO {name} (id, name) VALUES ({{0}}, {{1}})", style, 100 + turn, "n3")
            connection.exec_driver_sql(*new)
            given = f"INSERT INTO {name} (id, name, tenant_id) VALUES ({{0}}, {{1}}, {{2}})"
            connection.exec_driver_sql(*styled(given, style, 200 + turn, "n3", raw))
            with pytest.raises(ForeignTenantError):
                other = owners[1 - owners.index(owner)]
                other_raw = other if processor is None else processor(other)
                connection.exec_driver_sql(*styled(given, style, 300 + turn, "n3", other_raw))
            removed = connection.exec_driver_sql(*styled(f"DELETE FROM {name} WHERE name = {{0}}", style, "n3"))
            assert removed.rowcount == 2
        assert connection.scalar(select(func.count()).select_from(table)) == 2
        assert connection.scalar(text(f"SELECT count(*) FROM {name}")) == 2

    opened.run((owners[0], body), (owners[1], body))


def test_errors_of_strings_show_the_string_and_no_value(world: WriteWorld) -> None:
    sql = "INSERT INTO tags (id, tenant_id, name) VALUES (?, ?, ?)"
    if world.name == "postgresql":
        sql = sql.replace("?", "%s")
    with tenant(1), world.many.connect() as connection:
        with pytest.raises(PartywallError) as raised:
            connection.exec_driver_sql(sql, (1, 2, "a secret"))

    assert sql in str(raised.value)
    assert "secret" not in str(raised.value)
