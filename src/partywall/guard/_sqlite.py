"""The row wall of SQLite on the connections of an engine."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from partywall.errors import SetupError
from partywall.rows.sqlite.connection import WalledConnection
from partywall.rows.sqlite.wall import SqliteWall
from partywall.statements.rules import Vocabulary

__all__ = ["new_sqlite_wall", "wall_sqlite", "walled"]


def new_sqlite_wall(engine: Engine, vocabulary: Vocabulary, *, checker: bool) -> SqliteWall:
    """Return the row wall of an engine; refuse one that cannot have it."""
    if checker:
        raise SetupError(
            "checker=True rewrites nothing, but under SQLite's row wall a write has to name the table behind a view.\n"
            "Let the statements be scoped, or guard without rows=RowWall()."
        )
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
        raise SetupError(
            "the row wall needs a connection for each transaction, and this engine's pool shares one.\n"
            "A database in memory:  create_engine('sqlite:///file:/name?vfs=memdb&uri=true'), which an unscoped engine "
            "can fill\nA file:               create_engine(..., poolclass=QueuePool)"
        )
    return SqliteWall(vocabulary.tables, vocabulary.may_call)


def wall_sqlite(engine: Engine, wall: SqliteWall, is_ours: Callable[[Any], bool]) -> None:
    """
    Put the row wall up on every connection of an engine, once its 'connect' listeners have done.

    Args:
        engine: Whose pool's.
        wall: What is put up.
        is_ours: Whether nobody but SQLAlchemy has had a connection that comes back, by its info.
    """
    dialect: Any = engine.dialect
    dialect.connect = functools.partial(dialect.connect, factory=WalledConnection)
    dialect.do_execute = _sealed(dialect.do_execute)
    dialect.do_executemany = _sealed(dialect.do_executemany)
    dialect.do_execute_no_params = _sealed(dialect.do_execute_no_params)

    def checked_out(dbapi_connection: Any, _record: Any, _proxy: Any) -> None:
        driver = _driver_of(dbapi_connection)
        if getattr(driver, "partywall_gate", None) is not None:
            return
        if driver is dbapi_connection:
            wall.put_up(driver)
        else:  # in the thread of the connection
            dbapi_connection.run_async(lambda connection: connection._execute(wall.put_up, driver))

    def checked_in(dbapi_connection: Any, record: Any) -> None:
        gate = getattr(_driver_of(dbapi_connection), "partywall_gate", None)
        if gate is not None:
            gate.let_in(None, None)
        if not is_ours(record.info) and dbapi_connection is not None:
            record.invalidate()  # factories, a transaction, handles that somebody keeps: a new one has none

    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)


def _driver_of(dbapi_connection: Any) -> Any:
    """Return sqlite3's connection, which aiosqlite wraps."""
    return dbapi_connection.driver_connection._conn if hasattr(dbapi_connection, "run_async") else dbapi_connection


def walled(dbapi_connection: Any) -> WalledConnection:
    """
    Return the walled connection under a transaction.

    Raises:
        SetupError: It did not come from the pool of its engine.
    """
    driver = _driver_of(dbapi_connection)
    if not isinstance(driver, WalledConnection) or driver.partywall_gate is None:
        raise SetupError("this connection did not come from the pool of its engine, so it has no row wall.")
    return driver


def _sealed(send: Callable[..., Any]) -> Callable[..., Any]:
    """Put the seal of the table that a statement of ours writes on it, in the last step before the cursor."""

    def sealed(cursor: Any, statement: str, *args: Any, **kw: Any) -> Any:
        context: Any = kw["context"] if "context" in kw else args[-1] if args else None
        compiled = getattr(context, "compiled", None)
        source, name = (context, "partywall_written") if compiled is None else (compiled, "written")
        written = getattr(source, name, None)
        if written is not None:
            pooled = context.root_connection._dbapi_connection
            statement = walled(pooled.dbapi_connection).partywall_seals.sealed(statement, written)
        return send(cursor, statement, *args, **kw)

    return sealed
