"""Puts the walls around an engine. Nothing else hooks into engines, connections or Sessions."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.base import OptionEngine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Session

from partywall.errors import SetupError
from partywall.scope import Pin, Scope, Tenant, Unscoped, current_scope
from partywall.statements.compile import scoped_compiler, scoped_preparer
from partywall.statements.execute import scoped_context, unscoped_compiler, unscoped_context
from partywall.statements.orm import pin_session
from partywall.statements.rules import Vocabulary

__all__ = ["Guard", "guard_engine"]

KNOWN_DIALECTS = ("postgresql", "sqlite")
"""Dialects whose SQL we know well enough to say what a statement reads."""


class Guard:
    """What an engine was guarded with. One for each engine; its dialect carries it."""

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        *,
        allow_unscoped: bool,
        audit: Callable[[Unscoped], None] | None,
    ) -> None:
        self.engine = engine
        self.vocabulary = vocabulary
        self.allow_unscoped = allow_unscoped
        self.audit = audit
        self._plain = copy.copy(engine.dialect)
        self._unscoped: Any = None
        self._lock = threading.Lock()

    def check(self, scope: Scope) -> None:
        """
        Check that a scope may be used on this engine; called once when a connection takes it.

        Raises:
            TenantIdError: The tenant id is not of the tenant column's type.
            SetupError: The scope is unscoped, and the engine was not made for it.
        """
        if isinstance(scope, Tenant):
            self.vocabulary.tables.check_tenant_id(scope.id)
        elif not self.allow_unscoped:
            raise SetupError(
                "unscoped() met an engine that always has one tenant in scope.\n"
                "Use an engine that was made for it: tenancy.guard(create_engine(owner_url), allow_unscoped=True)"
            )
        elif self.audit is not None:
            self.audit(scope)

    def unscoped_dialect(self) -> Any:
        """
        Return the dialect for unscoped statements.

        It is another object than the engine's, because the compiled caches of engines and mappers have
        the dialect in their keys: scoped and unscoped statements never share an entry. It is made when
        it is first needed, from a dialect that has met its server.
        """
        with self._lock:
            if self._unscoped is None:
                dialect = copy.copy(self.engine.dialect)
                dialect.statement_compiler = unscoped_compiler(self._plain.statement_compiler)
                dialect.execution_ctx_cls = unscoped_context(self._plain.execution_ctx_cls)
                dialect.identifier_preparer = self._plain.identifier_preparer
                self._unscoped = dialect
            return self._unscoped


class _GuardedConnection(Connection):
    """
    A connection that takes the scope when its transaction begins, and keeps it until the end.

    SQLAlchemy's connection events would do, but an engine that has any pays for all of them with every
    statement (3 to 4 microseconds).
    """

    guard: ClassVar[Guard]
    partywall_pin: Pin | None = None
    _pinned_transaction: Any = None
    _checked: Scope | None = None

    def pinned_scope(self) -> Scope | None:
        """
        Return the scope of the statement that is about to run: the pin's, once there is one.

        Raises:
            TenantChangedError: The ambient scope is another one.
        """
        transaction = self.get_transaction()
        if transaction is None:
            pin = Pin()  # the statement is about to begin one, which will take the same scope
        elif self._pinned_transaction is transaction and self.partywall_pin is not None:
            pin = self.partywall_pin
        else:
            pin = self._pin(transaction)
        pin.meet(current_scope())
        scope = pin.scope
        if scope is not self._checked and scope is not None:
            self.guard.check(scope)
            self._checked = scope
        return scope

    def _pin(self, transaction: Any) -> Pin:
        pin = Pin()
        self._pinned_transaction, self.partywall_pin, self._checked = transaction, pin, None
        return pin

    def _begin_impl(self, transaction: Any) -> None:
        self._take_scope(transaction)
        super()._begin_impl(transaction)

    def _begin_twophase_impl(self, transaction: Any) -> None:
        self._take_scope(transaction)
        super()._begin_twophase_impl(transaction)

    def _take_scope(self, transaction: Any) -> None:
        scope = current_scope()
        if scope is not None:
            self.guard.check(scope)
        self._pin(transaction).meet(scope)
        self._checked = scope


class _UnscopableConnection(_GuardedConnection):
    """A guarded connection that compiles and runs unscoped statements through a dialect of their own."""

    _dialect: Any = None

    @property
    def dialect(self) -> Any:
        pin = self.partywall_pin if self.get_transaction() is not None else None
        scope = current_scope() if pin is None or pin.scope is None else pin.scope
        return self.guard.unscoped_dialect() if isinstance(scope, Unscoped) else self._dialect

    @dialect.setter
    def dialect(self, value: Any) -> None:
        self._dialect = value


def guard_engine(
    engine: Engine | AsyncEngine,
    vocabulary: Vocabulary,
    *,
    allow_unscoped: bool,
    audit: Callable[[Unscoped], None] | None,
) -> None:
    """
    Put the walls around *engine*, in place.

    Raises:
        SetupError: It is no engine, is guarded already, or speaks a dialect we know nothing about.
    """
    sync_engine = engine.sync_engine if isinstance(engine, AsyncEngine) else engine
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
    guard = Guard(sync_engine, vocabulary, allow_unscoped=allow_unscoped, audit=audit)
    dialect.partywall_guard = guard
    dialect.statement_compiler = scoped_compiler(dialect.statement_compiler, vocabulary)
    dialect.execution_ctx_cls = scoped_context(dialect.execution_ctx_cls, vocabulary.tables)
    dialect.identifier_preparer = scoped_preparer(dialect.identifier_preparer)
    dialect.initialize = _first_contact(dialect.initialize)
    sync_engine.clear_compiled_cache()
    base = _UnscopableConnection if allow_unscoped else _GuardedConnection
    connection_class = type("GuardedConnection", (base,), {"guard": guard})
    copied: Any = type("GuardedOptionEngine", (OptionEngine,), {"_connection_cls": connection_class})
    copied._option_cls = copied
    sync_engine._connection_cls = connection_class
    sync_engine._option_cls = copied
    if not event.contains(Session, "after_begin", _session_began):
        event.listen(Session, "after_begin", _session_began)


def guard_of(dialect: Any) -> Guard | None:
    """Return what a dialect was guarded with; None if it was not."""
    return getattr(dialect, "partywall_guard", None)


def _first_contact(initialize: Callable[[Any], None]) -> Callable[[Any], None]:
    """Let the dialect ask its own questions on the first connection, before any statement of the application's."""

    def ask(connection: Any) -> None:
        connection.partywall_first_contact = True
        initialize(connection)

    return ask


def _session_began(session: Session, _transaction: Any, connection: Connection) -> None:
    """Make a Session and the connection it has begun a transaction on share one pin."""
    if not isinstance(connection, _GuardedConnection):
        return
    begun_in = connection.partywall_pin.scope if connection.partywall_pin is not None else None
    pin = pin_session(session, connection.guard.vocabulary.tables)
    # From here on, whatever happens below, the transaction's statements meet the Session's pin.
    connection.partywall_pin, connection._checked = pin, None
    pin.meet(begun_in)
