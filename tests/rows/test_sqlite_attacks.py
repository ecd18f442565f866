"""A raw cursor of a walled connection gives the tenant's rows, or is refused; nothing of others' is seen or changed."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from unittest.mock import Mock

import pytest
from sqlalchemy.engine import URL
from sqlalchemy.orm import Session

from partywall import ForeignTenantError, PartywallError, RefusedStatementError
from partywall.rows.sqlite.connection import ALLOWED, WalledConnection
from partywall.testing.twins import _outcome
from tests.loads import LOADS
from tests.reads import READS as STATEMENTS
from tests.rows.attacks import CHANGES, READS, REFUSED
from tests.rows.sqlite_world import (
    Databases,
    answer,
    changes,
    is_answered,
    is_leak,
    new_databases,
    new_wall,
    walled_engine,
)
from tests.test_texts import run_of
from tests.texts import AWKWARD_SQLITE
from tests.world import TWIN_TENANTS, World
from tests.world import world as open_world

pytestmark = pytest.mark.whatever_sqlalchemy


@pytest.fixture(scope="module")
def databases(new_sqlite: Callable[..., URL]) -> Databases:
    return new_databases(new_sqlite)


@pytest.fixture
def connection(databases: Databases) -> Iterator[WalledConnection]:
    with databases.walled() as opened:
        yield opened


def listed(cases: dict[str, tuple[str, ...]]) -> list[Any]:
    return [
        pytest.param(sql, id=f"{group}-{number}")
        for group, all_of in cases.items()
        for number, sql in enumerate(all_of)
    ]


@pytest.mark.parametrize("sql", listed(READS))
def test_a_raw_read_shows_what_the_tenant_alone_would_see_or_is_refused(
    databases: Databases, connection: WalledConnection, sql: str
) -> None:
    assert not is_leak(databases, connection, sql)


@pytest.mark.parametrize("sql", listed(REFUSED))
def test_what_tells_of_all_tenants_or_of_the_wall_is_refused(
    databases: Databases, connection: WalledConnection, sql: str
) -> None:
    assert not is_answered(databases, connection, sql)


@pytest.mark.parametrize("sql", listed(CHANGES))
def test_a_raw_write_is_refused_and_changes_nothing(
    databases: Databases, connection: WalledConnection, sql: str
) -> None:
    assert not changes(databases, connection, sql)


def test_most_reads_among_the_attacks_leak_without_the_wall(databases: Databases) -> None:
    statements = [sql for group in READS.values() for sql in group]

    leaking = [sql for sql in statements if databases.plain_says(sql) != databases.alone_says(sql)]

    assert len(leaking) > 40


# The statement wall taken down: what it would have restricted, sent as the application wrote it.


@pytest.fixture(scope="module")
def world(new_sqlite: Callable[..., URL]) -> Iterator[World]:
    with open_world("sqlite", new_sqlite) as opened:
        yield opened


@pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
@pytest.mark.parametrize("name", [name for name, read in STATEMENTS.items() if read.only in (None, "sqlite")])
def test_the_row_wall_alone_shows_a_statement_the_tenants_rows(world: World, name: str, tenant_id: int) -> None:
    read = STATEMENTS[name]
    engine = walled_engine(world.url, tenant_id)

    def run(session: Session) -> Any:
        return session.execute(read.build()).all()

    try:
        seen = _outcome(run, engine)
    finally:
        engine.dispose()

    assert seen.is_like(_outcome(run, world.twins[tenant_id].alone), ordered=read.ordered)


@pytest.mark.parametrize("name", LOADS)
def test_the_row_wall_alone_shows_a_load_the_tenants_rows(world: World, name: str) -> None:
    engine = walled_engine(world.url, 1)
    try:
        seen = _outcome(LOADS[name], engine)
    finally:
        engine.dispose()

    assert seen.is_like(_outcome(LOADS[name], world.twins[1].alone), ordered=False)


@pytest.mark.parametrize("name", AWKWARD_SQLITE)
def test_the_row_wall_alone_shows_awkward_text_the_tenants_rows_or_refuses_it(world: World, name: str) -> None:
    run = run_of(world, AWKWARD_SQLITE[name], "driver")  # type: ignore[arg-type]  # it asks for the name of the world
    engine = walled_engine(world.url, 1)
    try:
        seen = _outcome(run, engine)
    except PartywallError:
        return  # a write, or a function of no list
    finally:
        engine.dispose()

    assert seen.is_like(_outcome(run, world.twins[1].alone), ordered=AWKWARD_SQLITE[name].ordered)


# The statement wall gone wrong: a write that it has sealed reaches for others' rows, and the triggers hold.

SEALED = (
    ("customers", "DELETE FROM main.customers WHERE id = 201"),
    ("customers", "UPDATE main.customers SET name = 'x'"),
    ("customers", "UPDATE main.customers SET name = 'x' WHERE id = 201"),
    ("customers", "UPDATE main.customers SET tenant_id = 1 WHERE id = 201"),
    ("customers", "UPDATE main.customers SET tenant_id = 2 WHERE id = 101"),
    ("customers", "INSERT INTO main.customers (id, tenant_id, name) VALUES (999, 2, 'x')"),
    ("customers", "INSERT INTO main.customers (id, tenant_id, name) SELECT id + 5000, 2, name FROM customers"),
    ("customers", "REPLACE INTO main.customers (id, tenant_id, name) VALUES (201, 1, 'x')"),
    ("customers", "UPDATE OR REPLACE main.customers SET id = 201 WHERE id = 101"),
    (
        "customers",
        "INSERT INTO main.customers (id, tenant_id, name) VALUES (201, 1, '') ON CONFLICT (id) DO UPDATE SET name = 1",
    ),
    ("customers", "INSERT OR IGNORE INTO main.customers (id, tenant_id, name) VALUES (999, 2, 'x')"),
    ("customers", "INSERT OR FAIL INTO main.customers (id, tenant_id, name) VALUES (999, 2, 'x')"),
    ("customers", "UPDATE OR IGNORE main.customers SET name = 'x' WHERE id = 201"),
    ("customers", "UPDATE OR FAIL main.customers SET name = 'x'"),
    ("templates", "UPDATE main.templates SET name = 'x' WHERE tenant_id IS NULL"),
    ("templates", "INSERT INTO main.templates (id, tenant_id, name) VALUES (999, NULL, 'x')"),
    ("templates", "DELETE FROM main.templates WHERE tenant_id IS NULL"),
)


@pytest.mark.parametrize(("table", "sql"), SEALED)
def test_a_sealed_write_that_reaches_for_others_rows_is_aborted(
    databases: Databases, connection: WalledConnection, table: str, sql: str
) -> None:
    before = databases.picture()

    with pytest.raises(ForeignTenantError):
        connection.execute(connection.partywall_seals.sealed(sql, table))

    connection.commit()
    assert databases.picture() == before


@pytest.mark.parametrize("tenant_id", [None, 77])
def test_with_no_tenant_or_one_that_is_not_there_nothing_is_seen_or_written(
    databases: Databases, tenant_id: int | None
) -> None:
    with databases.walled(tenant_id) as connection:
        seals = connection.partywall_seals
        assert answer(connection, "SELECT * FROM customers") == []
        assert answer(connection, "SELECT name FROM templates") == [("for everybody",)]
        for statement in (
            "UPDATE main.customers SET name = 'x'",
            "DELETE FROM main.customers",
            "INSERT INTO main.customers (id, tenant_id, name) VALUES (999, 1, 'x')",
            "INSERT INTO main.customers (id, tenant_id, name) VALUES (999, NULL, 'x')",
        ):
            assert answer(connection, seals.sealed(statement, "customers")) is PartywallError


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE main.customers SET name = (SELECT max(number) FROM main.invoices)",
        "DELETE FROM main.customers WHERE id IN (SELECT customer_id FROM main.invoices)",
        "INSERT INTO main.customers (id, tenant_id, name) SELECT id + 900, 1, number FROM main.invoices",
        "UPDATE main.invoices SET number = 'x'",
        "DELETE FROM main.countries",
        "INSERT INTO main.undeclared VALUES ('x')",
        "UPDATE main.tenants SET plan = 'x'",
        "DROP TABLE main.customers",
        "ATTACH ':memory:' AS other",
        "SELECT * FROM sqlite_master",
    ],
)
def test_the_seal_of_one_table_opens_no_other(databases: Databases, connection: WalledConnection, sql: str) -> None:
    with pytest.raises(RefusedStatementError):
        connection.execute(connection.partywall_seals.sealed(sql, "customers"))


def test_a_sealed_statement_is_not_found_in_the_drivers_cache_without_its_seal(connection: WalledConnection) -> None:
    sql = "UPDATE main.customers SET name = 'x' WHERE tenant_id = 1 AND id = 101"
    connection.execute(connection.partywall_seals.sealed(sql, "customers"))
    connection.rollback()

    for text in (sql, f"{sql} ", f"{sql} /*{'0' * 32}*/"):
        with pytest.raises(RefusedStatementError):
            connection.execute(text)


def test_our_own_questions_are_not_found_in_the_drivers_cache_without_their_seal(connection: WalledConnection) -> None:
    question = "SELECT * FROM main.customers"
    assert len(connection.execute(connection.partywall_seals.sealed_question(question)).fetchall()) > 4

    with pytest.raises(RefusedStatementError):
        connection.execute(question)


# The doors of the connection that SQL does not go through.

DOORS: dict[str, Callable[[WalledConnection], Any]] = {
    "blobopen": lambda connection: connection.blobopen("customers", "name", 201),
    "backup": lambda connection: connection.backup(sqlite3.connect(":memory:")),
    "serialize": lambda connection: connection.serialize(),
    "deserialize": lambda connection: connection.deserialize(b""),
    "iterdump": lambda connection: list(connection.iterdump()),
    "enable_load_extension": lambda connection: connection.enable_load_extension(True),
    "load_extension": lambda connection: connection.load_extension("x"),
    "set_authorizer": lambda connection: connection.set_authorizer(None),
    "create_function": lambda connection: connection.create_function("upper", 1, str),
    "create_aggregate": lambda connection: connection.create_aggregate("sum", 1, Mock),
    "create_window_function": lambda connection: connection.create_window_function("sum", 1, None),
    "create_collation": lambda connection: connection.create_collation("BINARY", None),
    "set_trace_callback": lambda connection: connection.set_trace_callback(print),
    "set_progress_handler": lambda connection: connection.set_progress_handler(print, 1),
    "setlimit": lambda connection: connection.setlimit(0, 1),
    "total_changes": lambda connection: connection.total_changes,
    "cursor(factory)": lambda connection: connection.cursor(sqlite3.Cursor),
}


@pytest.mark.parametrize("name", [name for name in DOORS if hasattr(sqlite3.Connection, name) or "(" in name])
def test_a_door_past_the_authorizer_is_refused(connection: WalledConnection, name: str) -> None:
    with pytest.raises(PartywallError):
        DOORS[name](connection)


def test_every_attribute_of_the_drivers_connection_is_allowed_or_refused(connection: WalledConnection) -> None:
    names = {name for name in dir(sqlite3.Connection) if not name.startswith("_")}
    errors = {name for name in names if isinstance(getattr(sqlite3.Connection, name), type)}

    for name in sorted(names - errors - ALLOWED - {"total_changes"}):
        with pytest.raises(PartywallError):
            getattr(connection, name)()


def test_the_driver_opens_the_doors_that_we_refuse(databases: Databases) -> None:
    with closing(sqlite3.connect(databases.many)) as plain, closing(sqlite3.connect(":memory:")) as copy:
        plain.backup(copy)
        assert copy.execute("SELECT count(*) FROM customers WHERE tenant_id = 2").fetchone() != (0,)


def test_a_cursor_that_is_not_ours_reads_nothing(connection: WalledConnection) -> None:
    with pytest.raises(sqlite3.DatabaseError):
        sqlite3.Cursor(connection).execute("SELECT * FROM customers")


def test_a_script_is_held_to_the_same(databases: Databases, connection: WalledConnection) -> None:
    before = databases.picture()
    for script in (
        "SELECT 1; DELETE FROM main.customers;",
        "BEGIN; UPDATE main.customers SET name = 'x'; COMMIT;",
        "SELECT abs(-9223372036854775807 - 1) FROM undeclared;",
    ):
        with pytest.raises(RefusedStatementError):
            connection.executescript(script)
    assert databases.picture() == before


def test_a_string_that_says_one_thing_and_sends_another_is_read_as_it_is_sent(connection: WalledConnection) -> None:
    class Disguised(str):
        __slots__ = ()

        def lower(self) -> str:
            return "select 1"

        def __getitem__(self, _key: Any) -> str:
            return next(iter(connection.partywall_seals.targets))

    for sql in ("EXPLAIN SELECT * FROM customers", "SELECT count(*) FROM main.tags NATURAL JOIN main.customers"):
        with pytest.raises(RefusedStatementError):
            connection.execute(Disguised(sql))
    with pytest.raises(RefusedStatementError):
        connection.execute(Disguised("DELETE FROM main.customers"))


def test_several_executions_are_held_to_the_same(connection: WalledConnection) -> None:
    with pytest.raises(RefusedStatementError):
        connection.executemany("DELETE FROM main.customers WHERE id = ?", [(101,), (201,)])


# Time: what was prepared once, and what others do to the file meanwhile.


def test_a_statement_prepared_for_one_tenant_shows_the_next_its_own_rows(connection: WalledConnection) -> None:
    gate = connection.partywall_gate
    assert gate is not None
    seen = []
    for tenant_id in (1, 2, 1, None, 2):
        gate.let_in(tenant_id, None)
        seen.append(connection.execute("SELECT DISTINCT tenant_id FROM customers").fetchall())

    assert seen == [[(1,)], [(2,)], [(1,)], [], [(2,)]]


def test_a_cursor_that_is_being_read_ends_with_its_tenant(connection: WalledConnection) -> None:
    gate = connection.partywall_gate
    assert gate is not None
    cursor = connection.execute("SELECT tenant_id FROM invoices ORDER BY total")
    assert cursor.fetchone() == (1,)
    gate.let_in(2, None)

    with pytest.raises(PartywallError, match=r"another tenant"):
        cursor.fetchall()


def test_a_gate_that_fails_lets_nothing_through(connection: WalledConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = connection.partywall_gate
    assert gate is not None
    monkeypatch.setattr(gate, "contexts", None)

    with pytest.raises(sqlite3.DatabaseError):
        connection.execute("SELECT name FROM customers WHERE id = 101")


def test_another_connection_to_the_same_file_is_walled_for_itself(databases: Databases) -> None:
    with databases.walled(1) as first, databases.walled(2) as second:
        for connection, tenant_id in ((first, 1), (second, 2)):
            assert answer(connection, "SELECT DISTINCT tenant_id FROM customers") == [(tenant_id,)]
            stranger = second if connection is first else first
            sealed = stranger.partywall_seals.sealed("UPDATE main.customers SET name = name", "customers")
            assert answer(connection, sealed) is PartywallError


def test_two_walls_share_no_secret(databases: Databases) -> None:
    wall = new_wall()
    with databases.walled(1, wall) as first, databases.walled(1, wall) as second:
        gates = [each.partywall_gate for each in (first, second)]
        assert gates[0] is not None
        assert gates[1] is not None
        assert gates[0].fence.secret != gates[1].fence.secret


def test_an_error_does_not_show_the_secret(connection: WalledConnection) -> None:
    gate = connection.partywall_gate
    assert gate is not None
    for sql in (
        f"SELECT nothing FROM temp.customers_{gate.fence.secret}",
        f'SELECT * FROM "INSERT_customers_{gate.fence.secret}"',
        "SELECT * FROM customers WHERE customers.x = 1",
    ):
        with pytest.raises((sqlite3.Error, PartywallError)) as caught:
            connection.execute(sql)
        assert gate.fence.secret not in str(caught.value).partition("It was not sent")[0]
