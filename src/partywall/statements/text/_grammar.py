"""
Asks the database's own grammar whether a text is SQL at all.

Our parser takes more than any one database does. What it alone would accept is refused, so that no statement is
answered that the database would have rejected.
"""

from __future__ import annotations

import importlib
import re
import sqlite3
import threading
from importlib.util import find_spec
from typing import Any

from partywall.errors import RefusedStatementError

__all__ = ["check_grammar"]

_MARK = re.compile(r":partywall_mark_(\d+)")
_IN_LIST = re.compile(
    r"\bIN\s+(:partywall_mark_\d+)", re.IGNORECASE
)  # SQLAlchemy's, or psycopg2's: the list is a value
_HAS_PGPARSE = find_spec("pgparse") is not None


def check_grammar(sql: str, dialect: str) -> None:
    """
    Refuse what the database would reject as no SQL.

    For PostgreSQL it takes the extra ``partywall[postgresql]``; without it nothing is checked here.

    Raises:
        RefusedStatementError: It is not.
    """
    sql = _IN_LIST.sub(r"IN (\1)", sql)
    error = _sqlite_error(sql) if dialect == "sqlite" else _postgresql_error(sql)
    if error is not None:
        raise RefusedStatementError(f"this text is no SQL of this database: {error}.")


def _postgresql_error(sql: str) -> str | None:
    if not _HAS_PGPARSE:
        return None
    pgparse = importlib.import_module("pgparse")  # an extra
    try:
        pgparse.parse(_MARK.sub(lambda found: f"${int(found.group(1)) + 1}", sql))
    except pgparse.PGQueryError as error:
        return str(error.args[0] if error.args else "a syntax error").splitlines()[0]
    return None


_local = threading.local()
_SYNTAX = re.compile(r'near ".*": syntax error|unrecognized token|incomplete input|near ', re.DOTALL)


def _sqlite_error(sql: str) -> str | None:
    """Let SQLite parse it against an empty database: what it finds first is an error of syntax, if there is one."""
    connection: Any = getattr(_local, "connection", None)
    if connection is None:
        connection = _local.connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"EXPLAIN {sql}", {f"partywall_mark_{found}": None for found in _MARK.findall(sql)})
    except sqlite3.Error as error:
        return str(error).splitlines()[0] if _SYNTAX.match(str(error)) else None
    return None
