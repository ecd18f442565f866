"""Puts the walls around an engine. Nothing else hooks into engines, connections or Sessions."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from sqlalchemy import Table, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.base import OptionEngine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.schema import MetaData

from partywall.errors import PartywallError, RefusedStatementError, SetupError, TenantChangedError
from partywall.keys.physical import Physical, physical_metadata
from partywall.scope import BrokenPin, Pin, Scope, Tenant, Unscoped, current_scope
from partywall.statements.execute import scope_of, scoped_context, unscoped_compiler, unscoped_context
from partywall.statements.names import scoped_preparer, scoped_type_compiler
from partywall.statements.orm import (
    EXPLICIT_TENANT,
    PinnedIdentityMap,
    adopt,
    check_ids_are_unique,
    pin_identity_map,
    pin_of,
)
from partywall.statements.proving import checked_compiler, checked_context
from partywall.statements.rules import Vocabulary
from partywall.statements.textual import scoped_compiler

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
        metadata: Sequence[MetaData],
    ) -> None:
        self.engine = engine
        self.vocabulary = vocabulary
        self.allow_unscoped = allow_unscoped
        self.audit = audit
        self.metadata = metadata
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

    def record(self, scope: Scope) -> None:
        """Tell the application's audit hook that a transaction is unscoped; called once for each."""
        if isinstance(scope, Unscoped) and self.audit is not None:
            self.audit(scope)

    def physical(self) -> Physical:
        """Return what the database gets for the tenancy's metadata."""
        dialect: Any = self.engine.dialect
        return physical_metadata(
            self.metadata,
            self.vocabulary.tables,
            server_version=dialect.server_version_info if dialect.name == "postgresql" else None,
        )

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
                dialect.execution_ctx_cls = unscoped_context(self._plain.execution_ctx_cls, self.vocabulary.tables)
                dialect.identifier_preparer = self._plain.identifier_preparer
                dialect.type_compiler_instance = self._plain.type_compiler_instance
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
    partywall_session: weakref.ref[Session] | None = None  # the last one that has begun on it
    _pinned_transaction: Any = None
    _recorded_transaction: Any = None
    _checked: Scope | None = None

    def pinned_scope(self) -> Scope | None:
        """
        Return the scope of the statement that is about to run: the pin's, once there is one.

        Raises:
            TenantChangedError: The ambient scope is another one.
        """
        # Run for every statement: the usual case, nothing to be done, stands here by itself.
        transaction = self._transaction
        pin = self.partywall_pin
        if transaction is not None and pin is not None and transaction is self._pinned_transaction:
            ambient = current_scope()
            if pin.scope is self._checked is not None and (ambient is None or ambient is pin.scope):
                session = None if self.partywall_session is None else self.partywall_session()
                if session is not None and type(session.identity_map) is not PinnedIdentityMap:
                    self._pin_session(pin)
                return pin.scope
        return self._meet_scope(self.get_transaction())

    def _meet_scope(self, transaction: Any) -> Scope | None:
        if transaction is None:
            pin = Pin()  # the statement is about to begin one, which will take the same scope
        elif self._pinned_transaction is transaction and self.partywall_pin is not None:
            pin = self.partywall_pin
        else:
            pin = self._pin(transaction)
        pin.meet(current_scope())
        scope = pin.scope
        if self.partywall_session is not None:
            self._pin_session(pin)
        if scope is not self._checked and scope is not None:
            self.guard.check(scope)
            self._record(scope, transaction)
            self._checked = scope
        return scope

    def _pin_session(self, pin: Pin) -> None:
        """Pin the Session's identity map again if expunge_all() has replaced it."""
        session = None if self.partywall_session is None else self.partywall_session()
        if session is not None and pin_of(session) is None:
            pin_identity_map(session, pin, self.guard.vocabulary.tables)

    def _pin(self, transaction: Any) -> Pin:
        pin = Pin()
        self._pinned_transaction, self.partywall_pin, self._checked = transaction, pin, None
        self.partywall_session = None
        return pin

    def _begin_impl(self, transaction: Any) -> None:
        self._take_scope(transaction)
        super()._begin_impl(transaction)

    def _begin_twophase_impl(self, transaction: Any) -> None:
        self._take_scope(transaction)
        super()._begin_twophase_impl(transaction)

    def _prepare_twophase_impl(self, xid: Any) -> None:
        try:
            super()._prepare_twophase_impl(xid)
        except BaseException:
            self.invalidate()  # psycopg would roll back what is prepared under this name, whoever prepared it
            raise

    def recover_twophase(self) -> list[Any]:
        """Return the prepared transactions, which are those of all tenants; refused in a scope."""
        self._check_prepared()
        return super().recover_twophase()

    def rollback_prepared(self, xid: Any, recover: bool = False) -> None:
        """Roll back a prepared transaction, which may be another tenant's; refused in a scope."""
        self._check_prepared()
        super().rollback_prepared(xid, recover=recover)

    def commit_prepared(self, xid: Any, recover: bool = False) -> None:
        """Commit a prepared transaction, which may be another tenant's; refused in a scope."""
        self._check_prepared()
        super().commit_prepared(xid, recover=recover)

    def _check_prepared(self) -> None:
        if not isinstance(self.pinned_scope(), Unscoped):
            raise RefusedStatementError(
                "prepared transactions are those of all tenants, so they are refused in a scope.\n"
                "Commit or roll back the transaction that begin_twophase() gave, or recover them unscoped."
            )

    def _take_scope(self, transaction: Any) -> None:
        scope = current_scope()
        if scope is not None:
            self.guard.check(scope)
            self._record(scope, transaction)
        self._pin(transaction).meet(scope)
        self._checked = scope

    def _record(self, scope: Scope, transaction: Any) -> None:
        if transaction is not None and transaction is not self._recorded_transaction:
            self.guard.record(scope)
            self._recorded_transaction = transaction


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

    def _run_ddl_visitor(self, visitorcallable: Any, element: Any, **kw: Any) -> None:
        """Create and drop what the database gets for the models, where they are the tenancy's."""
        if self._is_of_the_tenancy(element):
            physical = self.guard.physical()
            element = physical.of(element)
            if kw.get("tables") is not None:
                kw["tables"] = [physical.of(each) for each in kw["tables"]]
        super()._run_ddl_visitor(visitorcallable, element, **kw)

    def _execute_ddl(self, ddl: Any, *args: Any, **kw: Any) -> Any:
        element = getattr(ddl, "element", None)
        if self._is_of_the_tenancy(element):
            ddl = self.guard.physical().ddl(ddl)
        return super()._execute_ddl(ddl, *args, **kw)

    def _is_of_the_tenancy(self, element: Any) -> bool:
        table = getattr(element, "table", element)  # of a constraint or an index
        metadata = table.metadata if isinstance(table, Table) else table
        return any(metadata is each for each in self.guard.metadata)


def guard_engine(
    engine: Engine | AsyncEngine,
    vocabulary: Vocabulary,
    *,
    allow_unscoped: bool,
    audit: Callable[[Unscoped], None] | None,
    metadata: Sequence[MetaData],
    checker: bool = False,
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
    guard = Guard(sync_engine, vocabulary, allow_unscoped=allow_unscoped, audit=audit, metadata=metadata)
    dialect.partywall_guard = guard
    if checker:
        dialect.statement_compiler = checked_compiler(dialect.statement_compiler)
        dialect.execution_ctx_cls = checked_context(dialect.execution_ctx_cls, vocabulary, scope_of)
    else:
        dialect.statement_compiler = scoped_compiler(dialect.statement_compiler, vocabulary)
        dialect.execution_ctx_cls = scoped_context(dialect.execution_ctx_cls, vocabulary)
        dialect.identifier_preparer = scoped_preparer(dialect.identifier_preparer)
        dialect.type_compiler_instance = scoped_type_compiler(dialect.type_compiler_instance)
    dialect.initialize = _first_contact(dialect.initialize)
    if dialect.name == "sqlite":
        event.listen(sync_engine, "connect", _check_foreign_keys)
    sync_engine.clear_compiled_cache()
    base = _UnscopableConnection if allow_unscoped else _GuardedConnection
    connection_class = type("GuardedConnection", (base,), {"guard": guard})
    copied: Any = type("GuardedOptionEngine", (OptionEngine,), {"_connection_cls": connection_class})
    copied._option_cls = copied
    sync_engine._connection_cls = connection_class
    sync_engine._option_cls = copied
    if not event.contains(Session, "after_begin", _session_began):
        event.listen(Session, "after_begin", _session_began)
        event.listen(Session, "before_attach", _session_attaches)
        event.listen(Mapper, "before_insert", _session_inserts)
        event.listen(Mapper, "_sa_event_merge_wo_load", _session_merges)


def guard_of(dialect: Any) -> Guard | None:
    """Return what a dialect was guarded with; None if it was not."""
    return getattr(dialect, "partywall_guard", None)


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


def _session_began(session: Session, transaction: Any, connection: Connection) -> None:
    """Make a Session and the transaction it has begun, or joined, hold one scope from here on."""
    if not isinstance(connection, _GuardedConnection):
        return
    pin, held = connection.partywall_pin, pin_of(session)
    if pin is None or pin is held:
        return
    connection.partywall_session = weakref.ref(session)
    mine = Pin("Session") if held is None else held
    mine.meet(session.info.get(EXPLICIT_TENANT))
    if held is None:
        pin_identity_map(session, mine, connection.guard.vocabulary.tables)
    if _is_own(transaction, connection):
        # Nobody else uses it and nothing has run on it. It takes the Session's pin first, so that it is the Session's
        # also if the scope it was begun in is another one.
        connection.partywall_pin, connection._checked = mine, None
        mine.meet(pin.scope)
        return
    try:
        pin.meet(mine.scope)
        mine.meet(pin.scope)
    except TenantChangedError as error:
        connection.partywall_pin = BrokenPin(error)  # SQLAlchemy has joined them all the same
        raise
    if pin.scope is None:
        pin.checks.append(mine.meet)
        mine.checks.append(pin.meet)


def _session_attaches(session: Session, instance: object) -> None:
    """
    Let a Session of a tenant take in no object of another one.

    A Session that is filled before it runs its first statement is pinned here: it serves from memory.
    """
    pin = pin_of(session)
    scope = (None if pin is None else pin.scope) or session.info.get(EXPLICIT_TENANT) or current_scope()
    is_first = pin is None and instance_state(instance).key is not None
    if not is_first and not isinstance(scope, Tenant):
        return  # checked when the Session takes a tenant, and when it inserts
    try:
        guard = guard_of(session.get_bind(type(instance)).dialect)
    except Exception:  # noqa: BLE001  # no bind, or one the application's get_bind() cannot tell yet: checked when written
        return
    if guard is None:
        return
    if is_first:
        pin = Pin("Session")
        pin_identity_map(session, pin, guard.vocabulary.tables)
        pin.meet(scope)
    if isinstance(scope, Tenant):
        adopt(instance, scope, guard.vocabulary.tables)


def _session_merges(instance: object, _context: Any) -> None:
    """Check what ``merge(load=False)`` has copied into an object that was attached empty."""
    session = object_session(instance)
    if session is not None:
        try:
            _session_attaches(session, instance)
        except PartywallError:
            session.expunge(instance)
            raise


def _session_inserts(mapper: Any, connection: Connection, instance: object) -> None:
    """Let an object that is about to be inserted belong to the tenant of the transaction."""
    if isinstance(connection, _GuardedConnection):
        scope = connection.pinned_scope()
        if isinstance(scope, Tenant):
            adopt(instance, scope, connection.guard.vocabulary.tables)
        else:
            check_ids_are_unique(mapper, connection.guard.vocabulary.tables)


def _is_own(transaction: Any, connection: Connection) -> bool:
    """Whether a Session has opened a connection for itself, so that nobody else can be using it."""
    entry = transaction._connections.get(connection)
    return entry is not None and bool(entry[3])
