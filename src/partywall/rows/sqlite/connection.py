"""The connection that is handed out: sqlite3's own, less the doors that the authorizer does not see."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any, NoReturn

from partywall.errors import ForeignTenantError, PartywallError, RefusedStatementError
from partywall.rows.sqlite.authorizer import ANYTHING, Gate, Question
from partywall.rows.sqlite.joins import SOURCES, joins_by_name, named_source
from partywall.rows.sqlite.parameters import plain
from partywall.rows.sqlite.refusals import explain_refusal
from partywall.rows.sqlite.schema import NO_PLAN, Plan, folded
from partywall.rows.sqlite.seals import Seals
from partywall.rows.sqlite.views import FOREIGN_ROW

__all__ = ["WalledConnection", "WalledCursor", "rows_of"]

ALLOWED = frozenset(
    {"cursor", "execute", "executemany", "executescript", "commit", "rollback", "interrupt", "close", "in_transaction"}
    | {"getlimit", "getconfig", "isolation_level", "autocommit", "row_factory", "text_factory"}
)
"""What may be used of a connection that has its wall. Everything else that sqlite3 offers is refused."""


MAY_MENTION_EXPLAIN = frozenset({"select", "with", "values", "insert", "replace", "update", "delete"})
"""First words of the statements in which EXPLAIN may stand, as a name or a value."""

_NOTHING = re.compile(r"(?:[\s;\ufeff]|--[^\n]*|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[a-z]*")


def first_word(sql: str) -> str:
    """Return the first word of a statement, which is in lower case; "" if it begins with none."""
    nothing = _NOTHING.match(sql)
    word = _WORD.match(sql, nothing.end() if nothing else 0)
    return word.group() if word else ""


class WalledConnection(sqlite3.Connection):
    """
    A connection that can be given a wall.

    Before it has one it is like any other: listeners may set it up, register functions and collations.

    Attributes:
        partywall_gate: What it may do now; None before it has its wall.
        partywall_seals: How it knows a statement of ours.
        partywall_reread: Reads the schema again and says whether it has changed.
    """

    partywall_gate: Gate | None = None
    partywall_seals: Seals
    partywall_reread: Callable[[], bool]

    @property
    def gate(self) -> Gate:
        """Return what it may do now; for those who know that it has its wall."""
        assert self.partywall_gate is not None  # noqa: S101  # for mypy; an error is a refusal, too
        return self.partywall_gate

    def cursor(self, factory: Any = None) -> Any:
        """Return a cursor; always one of ours."""
        if factory is not None and self.partywall_gate is not None:
            raise PartywallError("a walled connection makes its own cursors: call cursor() without a factory.")
        return super().cursor(WalledCursor if factory is None else factory)

    def execute(self, *args: Any) -> Any:
        """Execute a statement in a new cursor."""
        return self.cursor().execute(*args)

    def executemany(self, *args: Any) -> Any:
        """Execute a statement for several parameters in a new cursor."""
        return self.cursor().executemany(*args)

    def executescript(self, *args: Any) -> Any:
        """Execute several statements in a new cursor."""
        return self.cursor().executescript(*args)


def _closed(name: str) -> Any:
    """Return what stands in the place of a method or attribute of sqlite3's connection."""

    def refuse() -> NoReturn:
        raise PartywallError(
            f"{name} of this connection reaches past the wall between tenants, so it is refused.\n"
            "A 'connect' listener of the engine may use it, before the wall is up; so may an unscoped engine."
        )

    original = getattr(sqlite3.Connection, name)
    if not callable(original):
        return property(lambda self: original.__get__(self) if self.partywall_gate is None else refuse())

    def closed(self: WalledConnection, *args: Any, **kw: Any) -> Any:
        return original(self, *args, **kw) if self.partywall_gate is None else refuse()

    closed.__name__ = name
    return closed


def _is_error(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


for _name in dir(sqlite3.Connection):
    if not _name.startswith("_") and _name not in ALLOWED and not _is_error(getattr(sqlite3.Connection, _name)):
        setattr(WalledConnection, _name, _closed(_name))


def rows_of(connection: WalledConnection, sql: str) -> list[Any]:
    """Return what a query of ours gives, whatever factories the application has set."""
    text_factory, connection.text_factory = connection.text_factory, str
    try:
        cursor = connection.cursor()
        cursor.row_factory = None
        return list(cursor.execute(sql).fetchall())
    finally:
        connection.text_factory = text_factory


class WalledCursor(sqlite3.Cursor):
    """A cursor whose statements the gate knows: those with a seal may write, the others read."""

    connection: WalledConnection
    _epoch: object = None  # of the statement that was executed
    _is_question: bool = False  # it is one of ours, and has SQLite prepare others while it is fetched

    def execute(self, sql: str, *args: Any) -> Any:
        """Execute a statement, which may be refused with a PartywallError."""
        gate = self.connection.partywall_gate
        if gate is None:
            return super().execute(sql, *args)
        self._send(gate, super().execute, sql, tuple(map(plain, args)))
        return self

    def executemany(self, sql: str, *args: Any) -> Any:
        """Execute a statement for several parameters, which may be refused with a PartywallError."""
        gate = self.connection.partywall_gate
        if gate is None:
            return super().executemany(sql, *args)
        self._send(gate, super().executemany, sql, tuple([plain(each) for each in many] for many in args))
        return self

    def executescript(self, script: str) -> Any:
        """Execute several statements, none of which may write."""
        gate = self.connection.partywall_gate
        if gate is None:
            return super().executescript(script)
        self._send(gate, super().executescript, script, ())
        return self

    def _send(self, gate: Gate, send: Callable[..., Any], sql: str, args: Any) -> None:
        sql = str.__str__(sql)  # a subclass could say one thing and send another
        seals = self.connection.partywall_seals
        plan = seals.plan(sql, gate.schema)
        words = sql.lower()
        if "explain" in words and plan is not ANYTHING and first_word(words) not in MAY_MENTION_EXPLAIN:
            raise RefusedStatementError(
                "EXPLAIN shows names that this wall keeps secret. Ask an unscoped engine.", self._unsealed(sql)
            )
        if plan is NO_PLAN and joins_by_name(words):
            self._check_joins(gate, sql)
        error, refused, unknown = self._attempt(gate, plan, send, sql, args)
        if refused is not None and plan.writes and self.connection.partywall_reread():
            error, refused, unknown = self._attempt(gate, seals.plan(sql, gate.schema), send, sql, args)
        if plan is not ANYTHING and unknown:
            self._check_afterwards(gate, sql, unknown)  # also if it failed: on what, would tell
        if error is not None:
            try:
                raise self._explained(error, refused, gate, sql) from None
            finally:
                del error  # it holds this frame, which holds the cursor: a closed connection would keep its locks

    def _attempt(
        self, gate: Gate, plan: Plan, send: Callable[..., Any], sql: str, args: Any
    ) -> tuple[sqlite3.Error | None, Question | None, set[str]]:
        """Return the error, the question that the gate answered with no, and the names that it did not know."""
        gate.enter()
        try:
            gate.refused, gate.unknown = None, set()
            self._epoch, self._is_question = gate.epoch, plan is ANYTHING
            gate.plan, gate.is_ours = plan, True
            send(sql, *args)
        except sqlite3.Error as error:
            return error, gate.refused, gate.unknown
        else:
            return None, None, gate.unknown
        finally:
            gate.plan, gate.is_ours = NO_PLAN, False
            gate.leave()

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return self._fetch(super().fetchone)

    def fetchmany(self, *args: Any, **kw: Any) -> Any:
        """Return some rows."""
        return self._fetch(super().fetchmany, *args, **kw)

    def fetchall(self) -> Any:
        """Return all rows that are left."""
        return self._fetch(super().fetchall)

    def __next__(self) -> Any:
        """Return the next row, or end the loop."""
        return self._fetch(super().__next__)

    def _fetch(self, fetch: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        gate = self.connection.partywall_gate
        if gate is None:
            return fetch(*args, **kw)
        gate.enter()
        try:
            if self._epoch is not gate.epoch:  # what is evaluated late would see the rows of the tenant of now
                self.close()
                raise PartywallError(
                    "the rows of this cursor belong to a transaction that has ended, or to another tenant.\n"
                    "Fetch them before commit(), rollback() or close():  connection.execute(...).all()"
                )
            if self._is_question:
                gate.plan, gate.is_ours = ANYTHING, True
            return fetch(*args, **kw)
        finally:
            gate.plan, gate.is_ours = NO_PLAN, False
            gate.leave()

    def _unsealed(self, sql: str) -> str:
        return self.connection.partywall_seals.without(sql)

    def _explained(self, error: sqlite3.Error, refused: Question | None, gate: Gate, sql: str) -> Exception:
        """Return the error as the application may see it: without the secret, and with our reason if it is ours."""
        text = str(error)
        if refused is not None:
            return RefusedStatementError(explain_refusal(refused, gate), self._unsealed(sql))
        if text == FOREIGN_ROW:
            return ForeignTenantError(
                "this statement writes a row of another tenant, or one of all tenants; the row wall has stopped it.",
                self._unsealed(sql),
            )
        shown = text.replace(gate.fence.secret, "...").replace(gate.fence.function, "...")
        return error if shown == text else type(error)(shown)

    def _check_afterwards(self, gate: Gate, sql: str, names: set[str]) -> None:
        """Refuse what has come into the database since its schema was read; nothing has been fetched yet."""
        is_cte = False
        try:
            is_cte = all(map(self._is_cte, names))
        finally:
            if not is_cte:
                self.close()
                self.connection.partywall_reread()
                sqlite3.Connection.set_authorizer(self.connection, gate)  # what the driver caches is prepared again
        if not is_cte:
            raise RefusedStatementError(
                f"{', '.join(sorted(names))}: a table that nobody declared, or a CTE of the name of one: refused.",
                self._unsealed(sql),
            )

    def _check_joins(self, gate: Gate, sql: str) -> None:
        """Refuse a join by the names of columns, of which the gate would hear nothing, but between sources of ours."""
        question = self.connection.partywall_seals.sealed_question(SOURCES)
        sources = [name for (name,) in rows_of(self.connection, question)]
        name = named_source(sql, sources, gate.readable | gate.readable_in_main)
        if name is not None:
            raise RefusedStatementError(
                f"{name} stands in a statement with NATURAL or USING, where SQLite would not tell whether it is read.\n"
                "Write the join with ON, or leave the name out.",
                sql,
            )

    def _is_cte(self, name: str) -> bool:
        """Whether a source can only have been a CTE: there is nothing else of that name."""
        quoted = name.replace('"', '""')
        try:
            rows_of(
                self.connection,
                self.connection.partywall_seals.sealed_question(f'SELECT 1 FROM "{quoted}" LIMIT 0'),  # noqa: S608  # quoted
            )
        except sqlite3.OperationalError as error:
            return folded(str(error)) == f"no such table: {name}"
        return False
