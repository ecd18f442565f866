"""Puts the walls around an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.base import OptionEngine
from sqlalchemy.schema import MetaData

from partywall.errors import SetupError
from partywall.guard._connection import GuardedConnection, UnscopableConnection
from partywall.guard._guard import Guard, guard_of
from partywall.guard._handed_out import NoticingConnection, is_ours
from partywall.guard._postgresql import TellingConnection, enforce_in_database
from partywall.guard._sessions import listen_to_sessions
from partywall.guard._sqlite import new_sqlite_wall, wall_sqlite
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.self_test import SelfTest
from partywall.rows.postgresql.session import TenantSetting
from partywall.scope import Unscoped
from partywall.statements.execute import scope_of, scoped_context
from partywall.statements.names import scoped_preparer, scoped_type_compiler
from partywall.statements.proving import checked_compiler, checked_context
from partywall.statements.rules import Vocabulary
from partywall.statements.textual import scoped_compiler
from partywall.statements.vouched import Vouched

if TYPE_CHECKING:  # it needs greenlet, which not everybody has
    from sqlalchemy.ext.asyncio import AsyncEngine

__all__ = ["guard_engine"]


KNOWN_DIALECTS = ("postgresql", "sqlite")
"""Dialects whose SQL we know well enough to say what a statement reads."""


def guard_engine(
    engine: Engine | AsyncEngine,
    vocabulary: Vocabulary,
    *,
    allow_unscoped: bool,
    audit: Callable[[Unscoped | Vouched], None] | None,
    metadata: Sequence[MetaData],
    checker: bool = False,
    rows: RowWall | None = None,
) -> None:
    """
    Put the walls around *engine*, in place.

    Raises:
        SetupError: It is no engine, is guarded already, or speaks a dialect we know nothing about; or it has a row
            wall, and a driver, a pool or a tenant column with which that cannot be.
    """
    sync_engine: Any = getattr(engine, "sync_engine", engine)
    if not isinstance(sync_engine, Engine):
        raise SetupError(f"guard() takes an Engine or AsyncEngine, not a {type(engine).__name__}.")
    if isinstance(sync_engine, OptionEngine):
        raise SetupError("guard() takes the engine itself, not a copy of it made by execution_options().")
    dialect: Any = sync_engine.dialect
    if guard_of(dialect) is not None:
        raise SetupError(
            "this engine is guarded already. Guard it once, where it is created; for unscoped work create another one."
        )
    if dialect.name not in KNOWN_DIALECTS:
        raise SetupError(
            f"partywall knows nothing about the dialect {dialect.name!r}, so it cannot say what its statements read.\n"
            f"Known: {', '.join(KNOWN_DIALECTS)}."
        )
    sqlite_wall = new_sqlite_wall(sync_engine, vocabulary, checker=checker) if vocabulary.is_walled else None
    setting = None
    if rows is not None and dialect.name == "postgresql":
        setting = TenantSetting(rows, vocabulary.tables, dialect)
        enforce_in_database(sync_engine, setting)
    guard = Guard(
        sync_engine, vocabulary, allow_unscoped=allow_unscoped, audit=audit, metadata=metadata, setting=setting
    )
    if rows is not None and dialect.name == "postgresql":
        guard.self_test = SelfTest(sync_engine, vocabulary.tables, rows, unscoped=allow_unscoped)
        if not allow_unscoped:
            event.listen(sync_engine, "connect", guard.self_test.meet)
    dialect.partywall_guard = guard
    if checker:
        dialect.statement_compiler = checked_compiler(dialect.statement_compiler)
        dialect.execution_ctx_cls = checked_context(dialect.execution_ctx_cls, vocabulary, scope_of)
    else:
        dialect.statement_compiler = scoped_compiler(dialect.statement_compiler, vocabulary)
        dialect.execution_ctx_cls = scoped_context(dialect.execution_ctx_cls, vocabulary)
        dialect.identifier_preparer = scoped_preparer(dialect.identifier_preparer, is_walled=vocabulary.is_walled)
        dialect.type_compiler_instance = scoped_type_compiler(dialect.type_compiler_instance)
    dialect.initialize = _first_contact(dialect.initialize)
    if dialect.name == "sqlite":
        event.listen(sync_engine, "connect", _check_foreign_keys)
    if sqlite_wall is not None:
        guard.bind_tenant = vocabulary.tables.tenant_type.dialect_impl(dialect).bind_processor(dialect)
        wall_sqlite(sync_engine, sqlite_wall, is_ours)
    sync_engine.clear_compiled_cache()
    bases: tuple[type[GuardedConnection], ...] = (UnscopableConnection,) if allow_unscoped else (GuardedConnection,)
    if sqlite_wall is not None:
        bases = (NoticingConnection, *bases) if allow_unscoped else (NoticingConnection,)
    if setting is not None:
        bases = (TellingConnection, *bases) if allow_unscoped else (TellingConnection,)
    connection_class = type("GuardedConnection", bases, {"guard": guard})
    copied: Any = type("GuardedOptionEngine", (OptionEngine,), {"_connection_cls": connection_class})
    copied._option_cls = copied
    sync_engine._connection_cls = connection_class
    sync_engine._option_cls = copied
    listen_to_sessions()


def _check_foreign_keys(dbapi_connection: Any, _record: Any) -> None:
    """Let SQLite check foreign keys, which it does only for connections that ask for it."""
    cursor = dbapi_connection.cursor()
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _first_contact(initialize: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let the dialect ask its own questions on the first connection, before any statement of the application's."""

    def ask(connection: Any) -> None:
        connection.partywall_first_contact = True
        try:
            initialize(connection)
        finally:
            connection.partywall_first_contact = False

    return ask
