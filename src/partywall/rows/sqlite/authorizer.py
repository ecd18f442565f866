"""What SQLite asks before it prepares a statement: one rule for each action, and no for every other."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from partywall.errors import PartywallError
from partywall.rows.sqlite.schema import NO_PLAN, Plan, Schema, folded
from partywall.rows.sqlite.views import Fence

__all__ = ["ANYTHING", "Gate", "Question"]

Question = tuple[int, str | None, str | None, str | None, str | None]
"""Action, its two arguments, the database, and the innermost view, trigger or CTE that asks."""

TABLE_FUNCTIONS = frozenset({"json_each", "json_tree"})
"""Eponymous virtual tables that read nothing but their arguments."""

OPERATORS = frozenset({"->", "->>", "like", "glob", "regexp", "match"})
"""Operators that are functions to SQLite; those of the application's making are the application's."""

PRAGMAS = frozenset({"read_uncommitted"})
"""SQLAlchemy's isolation level, which concerns only connections that share a cache."""

ANYTHING = Plan()
"""The plan of our own questions: known by identity."""


@dataclass
class Gate:
    """
    What a connection may do now.

    Attributes:
        fence: The views and triggers it has.
        shared: Exact names of the tables that may be read as they are.
        writable: Exact names of the tables of which a tenant may write some rows, or all.
        may_call: Whether a function may be called.
        tenant: The tenant's id as the driver takes it; None where none is set.
        epoch: Another object for each tenant that is let in: a cursor shows no rows in another than its own.
        is_ours: Whether a cursor of ours is about to prepare a statement. Nothing else may.
        thread: The thread in which a cursor of ours executes or fetches; 0 if none does. No other is answered.
        plan: What the statement may touch behind the views.
        refused: The question that was answered with no, if one was.
        unknown: Names of sources that can be CTEs, or have come into the database since: to be looked at.
    """

    fence: Fence
    schema: Schema
    shared: frozenset[str]
    writable: frozenset[str]
    may_call: Callable[[str], bool]
    tenant: Any = None
    epoch: object = field(default_factory=object)
    is_ours: bool = False
    thread: int = 0
    plan: Plan = NO_PLAN
    refused: Question | None = None
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self.contexts: dict[str, set[str]] = self.fence.contexts
        self.views = self.fence.views
        self.own = frozenset().union(*self.contexts.values(), self.fence.triggers)
        self.readable = self.fence.readable()
        self.readable_in_main = frozenset(map(folded, self.shared)) | TABLE_FUNCTIONS

    def let_in(self, tenant_id: Any, bind: Callable[[Any], Any] | None) -> None:
        """
        Show the rows of a tenant from here on; of none, if it is None.

        Args:
            tenant_id: The tenant in scope.
            bind: Makes of it what the driver takes.
        """
        tenant = tenant_id if bind is None or tenant_id is None else bind(tenant_id)
        if tenant != self.tenant or type(tenant) is not type(self.tenant):
            self.tenant, self.epoch = tenant, object()

    def enter(self) -> None:
        """
        Wait until no other thread runs a statement, and be the one that does.

        Raises:
            PartywallError: This thread runs one: a function, a parameter or a row factory has come back.
        """
        if self.thread == threading.get_ident():
            raise PartywallError(
                "this connection is running a statement, and something that it calls uses the connection again.\n"
                "Run one after the other, or use another connection."
            )
        self._lock.acquire()
        self.thread = threading.get_ident()

    def leave(self) -> None:
        """Let others run statements."""
        self.thread = 0
        self._lock.release()

    def tenant_now(self) -> Any:
        """Return the tenant to SQL, but to no cursor other than ours."""
        if self.thread != threading.get_ident():
            raise PartywallError("a walled connection shows rows to its own cursors only: use connection.cursor().")
        return self.tenant

    def __call__(
        self, action: int, first: str | None, second: str | None, database: str | None, context: str | None
    ) -> int:
        """Answer SQLite. (SQLite, "Compile-Time Authorization Callbacks".)"""
        if not self.is_ours or self.thread != threading.get_ident():  # commit() needs no cursor
            return sqlite3.SQLITE_OK if action == sqlite3.SQLITE_TRANSACTION else sqlite3.SQLITE_DENY
        rule = RULES.get(action)
        if (rule is not None and rule(self, first, second, database, context)) or self.plan is ANYTHING:
            return sqlite3.SQLITE_OK
        self.refused = (action, first, second, database, context)
        return sqlite3.SQLITE_DENY


def _always(gate: Gate, first: Any, second: Any, database: Any, context: Any) -> bool:  # noqa: ARG001  # one signature
    return True


def _read(gate: Gate, table: Any, column: Any, database: Any, context: Any) -> bool:
    if not column:
        return _read_no_column(gate, table, database, context)
    if database == "temp":
        return table in gate.views
    if database != "main":
        return False
    views = gate.contexts.get(table)
    if views is not None and context in views:
        return True
    if table in gate.shared or (table in TABLE_FUNCTIONS and table not in gate.schema.kinds):
        return True
    return _read_in_write(gate, table, column, context)


def _read_no_column(gate: Gate, table: Any, database: Any, context: Any) -> bool:
    """Whether rows of a source may be counted: told with the names as they were written, that of a CTE too."""
    name, where = folded(table or ""), folded(database or "")
    if where in ("", "temp") and name in gate.readable:
        return True
    if where in ("", "main") and name in gate.readable_in_main:
        return True
    if where == "main" and context in gate.contexts.get(table, ()):
        return True
    return where == "" and _can_be_cte(gate, name)


def _can_be_cte(gate: Gate, name: str) -> bool:
    """Whether a source can be a CTE, as far as the schema is known; then it is looked at again."""
    if not gate.schema.may_be_cte(name):
        return False
    gate.unknown.add(name)
    return True


def _select(gate: Gate, first: Any, second: Any, database: Any, context: Any) -> bool:  # noqa: ARG001  # as above
    """Whether something may be read at all: of a view in main that names no column, SQLite asks nothing else."""
    is_known = context is None or context in gate.views or context in gate.own or context in gate.plan.triggers
    return is_known or _can_be_cte(gate, folded(context))


def _read_in_write(gate: Gate, table: Any, column: Any, context: Any) -> bool:
    plan = gate.plan
    if gate.fence.triggers.get(context) == table:
        return table in plan.whole
    is_asked = context is None or context in plan.triggers
    return is_asked and ((table in plan.whole and table in gate.writable) or (table, column) in plan.reads)


def _write(action: int) -> Callable[[Gate, Any, Any, Any, Any], bool]:
    def rule(gate: Gate, table: Any, column: Any, database: Any, context: Any) -> bool:  # noqa: ARG001  # as above
        plan = gate.plan
        is_asked = context is None or context in plan.triggers
        return database == "main" and table in gate.writable and (action, table) in plan.writes and is_asked

    return rule


def _call(gate: Gate, first: Any, name: Any, database: Any, context: Any) -> bool:  # noqa: ARG001  # as above
    if name == gate.fence.function:
        return context in gate.own
    return name in OPERATORS or gate.may_call(name)


def _ask_pragma(gate: Gate, name: Any, value: Any, database: Any, context: Any) -> bool:  # noqa: ARG001  # as above
    return name in PRAGMAS and context is None


RULES: Mapping[int, Callable[[Gate, Any, Any, Any, Any], bool]] = {
    sqlite3.SQLITE_SELECT: _select,
    sqlite3.SQLITE_RECURSIVE: _always,
    sqlite3.SQLITE_TRANSACTION: _always,
    sqlite3.SQLITE_SAVEPOINT: _always,
    sqlite3.SQLITE_READ: _read,
    sqlite3.SQLITE_FUNCTION: _call,
    sqlite3.SQLITE_PRAGMA: _ask_pragma,
    sqlite3.SQLITE_INSERT: _write(sqlite3.SQLITE_INSERT),
    sqlite3.SQLITE_UPDATE: _write(sqlite3.SQLITE_UPDATE),
    sqlite3.SQLITE_DELETE: _write(sqlite3.SQLITE_DELETE),
}
