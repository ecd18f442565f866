"""What a refusal of the authorizer's means, and how to go on."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from partywall.rows.sqlite.authorizer import Gate, Question

__all__ = ["explain_refusal"]

_WRITES: Mapping[int, str] = {
    sqlite3.SQLITE_INSERT: "INSERT into",
    sqlite3.SQLITE_UPDATE: "UPDATE of",
    sqlite3.SQLITE_DELETE: "DELETE from",
}
_OTHERS: Mapping[int, str] = {
    sqlite3.SQLITE_ATTACH: "ATTACH opens other files, and VACUUM INTO writes them: refused.",
    sqlite3.SQLITE_DETACH: "DETACH is refused: a walled connection has one database.",
    sqlite3.SQLITE_CREATE_TABLE: "CREATE TABLE concerns all tenants: run it on an unscoped engine.",
}


def explain_refusal(question: Question, gate: Gate) -> str:
    """Return what SQLite was about to do, why that is refused, and the way out."""
    action, first, second, _, context = question
    if action == sqlite3.SQLITE_SELECT:
        return _read("rows", "", context, gate)
    if action == sqlite3.SQLITE_READ:
        return _read(first or "", second or "", context, gate)
    if action in _WRITES:
        if first in gate.schema.kinds and first not in gate.writable:
            return (
                f"{_WRITES[action]} {first} is refused, be it by a key or trigger: tenants may not write it.\n"
                "Declare it, as scoped or shared_writable, or do this on an unscoped engine."
            )
        if context is not None and gate.schema.exact(context) is None and context not in gate.own:
            return (
                f"the trigger {context} would {_WRITES[action]} {first}, or reads other rows than those it runs for.\n"
                "Declare the table it writes, or do it in the application."
            )
        return (
            f"{_WRITES[action]} {first} on a raw cursor is refused: it would pass by the statement wall.\n"
            "Write through SQLAlchemy: connection.execute(...), text() and exec_driver_sql() included."
        )
    if action == sqlite3.SQLITE_FUNCTION:
        return (
            f"nobody has vouched for the function {second}.\n"
            f"If it reads nothing but its arguments:  Tenancy(..., functions={{{second!r}}})"
        )
    if action == sqlite3.SQLITE_PRAGMA:
        return (
            f"PRAGMA {first} is refused on a walled connection.\n"
            "Settings belong into a 'connect' listener of the engine, which runs before the wall is up."
        )
    return _OTHERS.get(
        action, f"SQLite's action {action} ({first}) is not on the list of a walled connection: use an unscoped engine."
    )


def _read(table: str, column: str, context: str | None, gate: Gate) -> str:
    if context is not None and gate.schema.kinds.get(gate.schema.exact(context) or "") == "view":
        return (
            f"the view {context} in the database reads {table} past the wall.\n"
            "Write its query in the application, or map it as a CTE or subquery."
        )
    if table in gate.contexts:
        return f"{table} is read past the view of its name: name it without main, and read it in no trigger."
    return (
        f"{table} is no table that the tenancy knows ({table}.{column}).\n"
        "Declare it in the metadata, or read it on an unscoped engine."
    )
