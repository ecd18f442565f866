"""Every part of the row wall of SQLite is needed: with any one taken out, an attack gets through."""

from __future__ import annotations

import dataclasses
import sqlite3
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy.engine import URL

from partywall import SetupError
from partywall.rows.sqlite import authorizer, seals
from partywall.rows.sqlite.authorizer import Gate
from partywall.rows.sqlite.connection import WalledConnection, WalledCursor
from partywall.rows.sqlite.schema import NO_PLAN, Plan, Schema
from partywall.rows.sqlite.views import Fence
from partywall.rows.sqlite.wall import SqliteWall
from tests.rows.sqlite_world import Databases, answer, leaks, new_databases, new_wall
from tests.rows.test_sqlite_attacks import SEALED

pytestmark = pytest.mark.whatever_sqlalchemy

Mutation = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def reference(new_sqlite: Callable[..., URL]) -> Databases:
    return new_databases(new_sqlite)


@pytest.fixture
def databases(new_sqlite: Callable[..., URL]) -> Databases:
    """Return databases that an attack which gets through may change."""
    return new_databases(new_sqlite)


def test_no_attack_gets_through_the_whole_wall(reference: Databases) -> None:
    assert list(leaks(reference)) == []


# What is taken out of the authorizer.


def with_rule(action: int, rule: Any) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(authorizer, "RULES", MappingProxyType({**authorizer.RULES, action: rule}))

    return mutate


def allow(action: int) -> Mutation:
    return with_rule(action, lambda *_: True)


class _Anything(dict[int, Any]):
    def get(self, _action: int, _default: Any = None) -> Any:
        return lambda *_: True


def any_view_may_read_any_table(patch: pytest.MonkeyPatch) -> None:
    original = authorizer._read

    def read(gate: Gate, table: Any, column: Any, database: Any, context: Any) -> bool:
        return original(gate, table, column, database, context) or (context is not None and table in gate.contexts)

    with_rule(sqlite3.SQLITE_READ, read)(patch)


def rows_may_be_counted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(authorizer, "_read_no_column", lambda *_: True)


def unknown_names_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Schema, "may_be_cte", lambda *_: True)
    patch.setattr(WalledCursor, "_is_cte", lambda *_: True)


def explain_is_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("partywall.rows.sqlite.connection.first_word", lambda _: "select")


def joins_by_name_are_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(WalledCursor, "_check_joins", lambda *_: None)


def all_pragmas(patch: pytest.MonkeyPatch) -> None:
    class Everything(frozenset[str]):
        def __contains__(self, _name: object) -> bool:
            return True

    patch.setattr(authorizer, "PRAGMAS", Everything())


def every_statement_is_sealed(patch: pytest.MonkeyPatch) -> None:
    original = seals.Seals.plan

    def plan(self: seals.Seals, sql: str, schema: Schema) -> Plan:
        found = original(self, sql, schema)
        return schema.plan("customers") if found is NO_PLAN else found

    patch.setattr(seals.Seals, "plan", plan)


# What is taken out of the views.


def names_can_be_guessed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("partywall.rows.sqlite.views.secrets.token_hex", lambda _bytes: "secret")


def views_show_all_rows(patch: pytest.MonkeyPatch) -> None:
    original = Fence._view
    patch.setattr(Fence, "_view", lambda self, name, table, columns, _where: original(self, name, table, columns, "1"))


def public_columns_are_shown_to_tenants(patch: pytest.MonkeyPatch) -> None:
    original = Fence._view

    def view(self: Fence, name: str, table: str, columns: str, where: str) -> None:
        original(self, name, table, columns, "1" if name.startswith("partywall_public") else where)

    patch.setattr(Fence, "_view", view)


MUTATIONS: dict[str, Mutation] = {
    "the rule for reads": allow(sqlite3.SQLITE_READ),
    "the rule for functions": allow(sqlite3.SQLITE_FUNCTION),
    "the rule for INSERT": allow(sqlite3.SQLITE_INSERT),
    "the rule for UPDATE": allow(sqlite3.SQLITE_UPDATE),
    "the rule for DELETE": allow(sqlite3.SQLITE_DELETE),
    "no to actions without a rule": lambda patch: patch.setattr(authorizer, "RULES", _Anything(authorizer.RULES)),
    "the list of pragmas": all_pragmas,
    "which view reads which table": any_view_may_read_any_table,
    "rows that are counted": rows_may_be_counted,
    "the look at unknown names": unknown_names_are_not_looked_at,
    "the look at NATURAL and USING": joins_by_name_are_not_looked_at,
    "the look at EXPLAIN": explain_is_not_looked_at,
    "the secret in the names": names_can_be_guessed,
    "the criterion of the views": views_show_all_rows,
    "the criterion of the public view": public_columns_are_shown_to_tenants,
    "the seals": every_statement_is_sealed,
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_an_attack_gets_through_without(databases: Databases, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    MUTATIONS[name](monkeypatch)
    monkeypatch.setattr(SqliteWall, "_test", lambda *_: None)  # it would notice some of them before

    assert next(leaks(databases), None) is not None


ACTIONS = sorted(
    {
        value
        for name, value in vars(sqlite3).items()
        if name.startswith(("SQLITE_CREATE_", "SQLITE_DROP_", "SQLITE_ALTER", "SQLITE_ATTACH", "SQLITE_REINDEX"))
        or name in ("SQLITE_ANALYZE", "SQLITE_DETACH")
    }
)


@pytest.mark.parametrize("action", ACTIONS)
def test_no_action_beyond_reading_writing_and_transactions_has_a_rule(action: int) -> None:
    assert action not in authorizer.RULES


# The triggers, and what plans allow: these hold what the statement wall hands over.


def sealed_leaks(databases: Databases) -> set[str]:
    """Run every sealed attack, and return those that changed others' rows."""
    found = set()
    before = databases.picture()
    for table, sql in SEALED:
        with databases.walled() as connection:
            answer(connection, connection.partywall_seals.sealed(sql, table))
            connection.commit()
        if databases.picture() != before:
            found.add(sql)
            before = databases.picture()
    return found


def without_trigger(event: str) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = Fence._trigger

        def trigger(self: Fence, table: str, name: str, is_foreign: Any) -> None:
            if name != event:
                original(self, table, name, is_foreign)

        patch.setattr(Fence, "_trigger", trigger)

    return mutate


def without_row(event: str, row: str) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        original = Fence._trigger

        def trigger(self: Fence, table: str, name: str, is_foreign: Any) -> None:
            kept = [each for each in is_foreign if name != event or f"({row}." not in each]
            original(self, table, name, kept)

        patch.setattr(Fence, "_trigger", trigger)

    return mutate


def without_setting(name: str, other: int) -> Mutation:
    def mutate(patch: pytest.MonkeyPatch) -> None:
        patch.setitem(__import__("partywall.rows.sqlite.wall", fromlist=["_SETTINGS"])._SETTINGS, name, other)

    return mutate


@pytest.mark.parametrize(
    "mutation",
    [
        pytest.param(without_trigger("INSERT"), id="INSERT"),
        pytest.param(without_trigger("UPDATE"), id="UPDATE"),
        pytest.param(without_trigger("DELETE"), id="DELETE"),
        pytest.param(without_row("UPDATE", "OLD"), id="UPDATE-OLD"),
        pytest.param(without_row("UPDATE", "NEW"), id="UPDATE-NEW"),
        pytest.param(without_setting("recursive_triggers", 0), id="recursive_triggers"),
    ],
)
def test_a_sealed_attack_gets_through_without_the_trigger(
    databases: Databases, monkeypatch: pytest.MonkeyPatch, mutation: Mutation
) -> None:
    assert sealed_leaks(databases) == set()
    mutation(monkeypatch)

    assert sealed_leaks(databases) != set()


def test_a_write_to_a_table_that_nobody_may_write_gets_through_without_the_list(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closure(self: Schema, target: str) -> Plan:
        plan = original(self, target)
        tables = frozenset(self.kinds)
        return dataclasses.replace(
            plan, writes=plan.writes | {(action, each) for each in tables for action in (9, 18, 23)}
        )

    original = Schema._closure
    monkeypatch.setattr(Schema, "_closure", closure)
    sql = "INSERT INTO main.countries VALUES ('xx', 'x')"

    def tried() -> Any:
        with databases.walled() as opened:
            return answer(opened, opened.partywall_seals.sealed(sql, "customers"))

    refused = tried()
    monkeypatch.setattr(
        Gate, "writable", property(lambda _: {"countries", "customers"}, lambda _self, _value: None), raising=False
    )

    assert (refused is not None, tried()) == (True, [])
    assert refused != []


def test_a_door_is_open_without_its_refusal(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WalledConnection, "backup", sqlite3.Connection.backup)
    with databases.walled(wall=new_wall()) as walled:
        copy = sqlite3.connect(":memory:")
        walled.backup(copy)
        assert copy.execute("SELECT count(*) FROM customers WHERE tenant_id = 2").fetchone() != (0,)


@pytest.mark.parametrize(
    "name",
    ["the rule for reads", "no to actions without a rule", "rows that are counted", "the criterion of the views"],
)
def test_the_self_test_notices_a_wall_that_is_down(
    reference: Databases, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    MUTATIONS[name](monkeypatch)

    with pytest.raises(SetupError), reference.walled():
        pass
