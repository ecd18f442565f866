"""What a SQLite database holds, and what else a write to one of its tables makes SQLite read and write."""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "NO_PLAN",
    "Ask",
    "ForeignKey",
    "Plan",
    "Schema",
    "Trigger",
    "folded",
    "is_row_local",
    "read_schema",
    "state_of",
]

Ask = Callable[[str], list[Any]]

WRITES = (sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
_WRITE_OF_ACTION = {
    "CASCADE": (sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE),
    "SET NULL": (sqlite3.SQLITE_UPDATE,),
    "SET DEFAULT": (sqlite3.SQLITE_UPDATE,),
}


def folded(name: str) -> str:
    """Return a name as SQLite compares it: without case, for ASCII only. (SQLite, "sqlite3_stricmp".)"""
    if name.isascii():
        return name.lower()
    return "".join(character.lower() if character.isascii() else character for character in name)


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A column of a foreign key; *parent_column* is None where the declaration leaves the parent's key out."""

    child: str
    column: str
    parent: str
    parent_column: str | None
    on_update: str
    on_delete: str


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of the application's, in main."""

    name: str
    table: str
    sql: str


@dataclass(frozen=True, slots=True)
class Plan:
    """
    What one statement that writes a table may touch of the tables behind the views.

    Attributes:
        whole: The tables that it writes, be it through keys and triggers: their columns may be read.
        reads: The columns of other tables that foreign keys make SQLite read.
        writes: Pairs of action and table.
        triggers: Names of the application's triggers that may run.
    """

    whole: frozenset[str] = frozenset()
    reads: frozenset[tuple[str, str]] = frozenset()
    writes: frozenset[tuple[int, str]] = frozenset()
    triggers: frozenset[str] = frozenset()


NO_PLAN = Plan()
"""A statement that is no write of ours: it touches no table behind a view."""


@dataclass(frozen=True)
class Schema:
    """
    What the main database holds, at one version of its schema.

    Attributes:
        file: Path of the database; empty for one in memory.
        version: SQLite's own count of changes.
        kinds: Exact name of each table and view to its kind: ``table``, ``view``, ``virtual``, ``shadow``.
        keys: The columns of each table's primary key.
        modules: Names of the virtual tables that can stand in FROM without having been created.
    """

    file: str
    version: int
    kinds: dict[str, str]
    keys: dict[str, list[str]]
    foreign_keys: tuple[ForeignKey, ...]
    triggers: tuple[Trigger, ...]
    modules: frozenset[str] = frozenset()
    _plans: dict[str, Plan] = field(default_factory=dict, repr=False, compare=False)

    def exact(self, name: str) -> str | None:
        """Return the name of a table as the database spells it; None if it has none of that name."""
        wanted = folded(name)
        return next((each for each in self.kinds if folded(each) == wanted), None)

    @functools.cached_property
    def _sources(self) -> frozenset[str]:
        return frozenset(map(folded, (*self.kinds, *self.modules)))

    def may_be_cte(self, name: str) -> bool:
        """Whether nothing of this name, which is folded, is there to be read: what stands in FROM can be a CTE."""
        return name not in self._sources and not name.startswith(("sqlite_", "pragma_"))

    def plan(self, target: str) -> Plan:
        """Return what a write to *target* may touch: the table itself, and what keys and triggers make of it."""
        plan = self._plans.get(target)
        if plan is None:
            plan = self._plans[target] = self._closure(target)
        return plan

    def _closure(self, target: str) -> Plan:
        reached = [target]
        reads: set[tuple[str, str]] = set()
        writes = {(action, target) for action in WRITES}
        triggers: set[str] = set()

        def reach(table: str, actions: tuple[int, ...]) -> None:
            writes.update((action, table) for action in actions)
            if table not in reached:
                reached.append(table)

        for table in reached:
            for key in self.foreign_keys:
                if table in (key.child, key.parent):
                    reads.add((key.child, key.column))
                    columns = self.keys.get(key.parent, ()) if key.parent_column is None else [key.parent_column]
                    reads.update((key.parent, column) for column in columns)
                if table == key.parent:
                    for rule in (key.on_update, key.on_delete):
                        if rule in _WRITE_OF_ACTION:
                            reach(key.child, _WRITE_OF_ACTION[rule])
            for trigger in self.triggers:
                if trigger.table == table and is_row_local(trigger.sql):
                    triggers.add(trigger.name)
                    for mentioned in self._mentioned(trigger.sql):
                        reach(mentioned, WRITES)
        return Plan(frozenset(reached), frozenset(reads), frozenset(writes), frozenset(triggers))

    def _mentioned(self, sql: str) -> list[str]:
        words = {folded(_unquoted(token)) for token in _tokens(sql)}
        return [name for name, kind in self.kinds.items() if kind == "table" and folded(name) in words]


_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|\[[^\]]*\]|`(?:[^`]|``)*`|[\w$]+|\S""", re.DOTALL
)


def _tokens(sql: str) -> list[str]:
    return [token for token in _TOKEN.findall(sql) if not token.startswith(("--", "/*"))]


def _unquoted(token: str) -> str:
    return token[1:-1] if token[0] in "\"[`'" else token


def is_row_local(sql: str) -> bool:
    """
    Whether a trigger reads no rows but the one it runs for and those it writes, which are checked one by one.

    So that SQLite cannot be made to look at other tenants' rows on a tenant's behalf: no FROM but that of
    DELETE, no ``IN table``, no CTE.
    """
    words = [token.upper() for token in _tokens(sql)]
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        if word in ("JOIN", "WITH") or (word == "FROM" and before != "DELETE") or (word == "IN" and after != "("):
            return False
    return True


def state_of(ask: Ask) -> tuple[str, int]:
    """Return the path of the main database, and SQLite's count of the changes of its schema."""
    ((file,),) = ask("SELECT file FROM pragma_database_list WHERE name = 'main'")
    ((version,),) = ask("PRAGMA main.schema_version")
    return file, version


def read_schema(ask: Ask) -> Schema:
    """
    Read what the main database holds.

    Args:
        ask: Runs a query of ours, past the wall if there is one.
    """
    file, version = state_of(ask)
    kinds: dict[str, str] = dict(ask("SELECT name, type FROM pragma_table_list WHERE schema = 'main'"))
    keys: dict[str, list[str]] = {}
    for table, column in ask(
        "SELECT m.name, c.name FROM main.sqlite_master AS m, pragma_table_info(m.name, 'main') AS c "
        "WHERE m.type = 'table' AND c.pk ORDER BY m.name, c.pk"
    ):
        keys.setdefault(table, []).append(column)
    spelled: dict[str, str] = {folded(name): name for name in kinds}
    rows = ask(
        'SELECT m.name, f."from", f."table", f."to", f.on_update, f.on_delete '
        "FROM main.sqlite_master AS m, pragma_foreign_key_list(m.name, 'main') AS f WHERE m.type = 'table'"
    )
    foreign_keys = tuple(
        ForeignKey(child, column, spelled.get(folded(parent), parent), parent_column, on_update, on_delete)
        for child, column, parent, parent_column, on_update, on_delete in rows
    )
    triggers = tuple(
        Trigger(name, spelled.get(folded(table), table), sql)
        for name, table, sql in ask("SELECT name, tbl_name, sql FROM main.sqlite_master WHERE type = 'trigger'")
    )
    modules = frozenset(name for (name,) in ask("SELECT name FROM pragma_module_list"))
    return Schema(file, version, kinds, keys, foreign_keys, triggers, modules)
