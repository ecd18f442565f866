"""Puts the walls around an engine. Nothing else hooks into engines, connections or Sessions."""

from __future__ import annotations

import copy
import functools
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

from sqlalchemy import Table, event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.base import OptionEngine
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import instance_state
from sqlalchemy.pool import SingletonThreadPool, StaticPool
from sqlalchemy.schema import CreateTable, MetaData
from sqlalchemy.sql import visitors

from partywall.errors import NoTenantError, PartywallError, RefusedStatementError, SetupError, TenantChangedError
from partywall.keys.physical import Physical, physical_metadata
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.drivers import Driver
from partywall.rows.postgresql.self_test import SelfTest
from partywall.rows.postgresql.session import TenantSetting
from partywall.rows.sqlite.connection import WalledConnection
from partywall.rows.sqlite.wall import SqliteWall
from partywall.scope import BrokenPin, Pin, Scope, Tenant, Unscoped, audit_log, current_scope
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
from partywall.statements.vouched import Vouched

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
        audit: Callable[[Unscoped | Vouched], None] | None,
        metadata: Sequence[MetaData],
        setting: TenantSetting | None = None,
    ) -> None:
        self.engine = engine
        self.setting = setting
        self.self_test: SelfTest | None = None
        self.tests_itself = False
        self.vocabulary = vocabulary
        self.allow_unscoped = allow_unscoped
        self.audit = audit
        self.metadata = metadata
        self.bind_tenant: Callable[[Any], Any] | None = None
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

    def has_row_wall(self, pooled: Any) -> bool:
        """Whether the database holds what a connection sends to the tenant: there is a row wall, and it has passed."""
        is_tested = self.self_test is not None and not self.allow_unscoped and self.self_test.holds(pooled)
        return is_tested or self.vocabulary.is_walled

    def verify(self, bind: Engine | Connection) -> None:
        """
        Run the self-test of the row wall.

        Raises:
            SetupError: It does not hold, or there is none; or *bind* is a connection in a transaction.
        """
        if isinstance(bind, Connection) and bind.in_transaction():
            raise SetupError(
                "verify() would end the transaction that has begun on this connection.\n"
                "Verify first, or on a connection of its own: tenancy.verify(engine)"
            )
        if self.self_test is None and not self.vocabulary.is_walled:
            raise SetupError(
                "no row wall holds this engine: on SQLite those that may be used unscoped have none, and see all rows."
            )
        with bind.connect() if isinstance(bind, Engine) else nullcontext(bind) as connection:
            if self.self_test is not None:
                dbapi_connection = connection.connection.dbapi_connection
                try:
                    self.self_test.run(dbapi_connection)
                finally:
                    self.engine.dialect.do_rollback(connection.connection)  # SQLite's is tested when it is put up

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
    _settled: Scope | None = None  # the one for which nothing is left to be done before a statement

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
            if pin.scope is self._settled is not None and (ambient is None or ambient is pin.scope):
                session = None if self.partywall_session is None else self.partywall_session()
                if session is not None and type(session.identity_map) is not PinnedIdentityMap:
                    self._pin_session(pin)
                return pin.scope
        root = self.get_transaction()
        scope = self._meet_scope(root)
        self._settle(scope, has_begun=root is not None)
        return scope

    def _settle(self, scope: Scope | None, *, has_begun: bool) -> None:  # noqa: ARG002  # a row wall asks
        """Do what a wall in the database needs before a statement is sent; called until it is settled."""
        self._settled = scope

    def accept(self, vouched: Vouched) -> None:
        """
        Let a statement run that nobody scopes but the database, and say so in the audit log.

        Raises:
            NoTenantError: No tenant is in scope.
            RefusedStatementError: No wall in the database holds it.
        """
        if not isinstance(self.pinned_scope(), Tenant):
            raise NoTenantError("no tenant is in scope, and a text that was vouched for needs one.", vouched.statement)
        if not self.guard.has_row_wall(self._dbapi_connection):
            raise RefusedStatementError(
                "nobody can vouch for a statement here: it would be scoped by the database alone, and no row wall "
                "that has passed its test holds this connection.\n"
                "Declare one, Tenancy(..., rows=RowWall(...)), guard without allow_unscoped, and where self_test=False "
                "verify each server: tenancy.verify(engine)",
                vouched.statement,
            )
        audit_log.warning("vouched: %s", vouched.reason, extra={"reason": vouched.reason})
        if self.guard.audit is not None:
            self.guard.audit(vouched)

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
            if transaction is not None:
                self._show_rows_of(scope)
        return scope

    def _show_rows_of(self, scope: Scope | None) -> None:
        """Let the row wall show the rows of a scope, to the end of the transaction."""
        if self.guard.vocabulary.is_walled:
            tenant_id = scope.id if isinstance(scope, Tenant) else None
            _walled(self.connection.dbapi_connection).gate.let_in(tenant_id, self.guard.bind_tenant)

    def _rollback_impl(self) -> None:
        try:
            super()._rollback_impl()
        finally:
            self._leave_rows()

    def _commit_impl(self) -> None:
        try:
            super()._commit_impl()
        finally:
            self._leave_rows()

    def _leave_rows(self) -> None:
        if self.guard.vocabulary.is_walled and self._still_open_and_dbapi_connection_is_valid:
            self._show_rows_of(None)

    def _pin_session(self, pin: Pin) -> None:
        """Pin the Session's identity map again if expunge_all() has replaced it."""
        session = None if self.partywall_session is None else self.partywall_session()
        if session is not None and pin_of(session) is None:
            pin_identity_map(session, pin, self.guard.vocabulary.tables)

    def _pin(self, transaction: Any) -> Pin:
        pin = Pin()
        self._pinned_transaction, self.partywall_pin = transaction, pin
        self._checked = self._settled = None
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
        self._show_rows_of(scope)

    def _record(self, scope: Scope, transaction: Any) -> None:
        if transaction is not None and transaction is not self._recorded_transaction:
            self.guard.record(scope)
            self._recorded_transaction = transaction


_OURS = "partywall.ours"  # in the info of a pooled connection: only our Connection has had it
_UNSCOPED_TESTED = "partywall.unscoped_tested"  # in the info of a pooled connection
_UNSCOPED = "partywall.unscoped"  # ... : something ran on it unscoped

_INSIDE = frozenset(
    {
        "sqlalchemy.engine.base",
        "sqlalchemy.engine.default",
        "sqlalchemy.dialects.postgresql.base",
        "sqlalchemy.dialects.postgresql._psycopg_common",
    }
)
"""Modules that take the pool's connection for what SQLAlchemy does with it. Anybody else may do anything."""


class _RowWalledConnection(_GuardedConnection):
    """
    A guarded connection that tells PostgreSQL the tenant of each of its transactions.

    It does so with BEGIN where the tenant is known by then, else before the first statement that has one.
    """

    partywall_prefix: str = ""  # of the next statement, where the driver tells the tenant that way
    _told: Scope | None = None
    _told_late: bool = False  # after the transaction had begun, so that a savepoint may lie before it
    _handed_out: bool = False
    _is_undoing: bool = False

    def __init__(self, engine: Engine, connection: Any = None, **kw: Any) -> None:
        super().__init__(engine, connection, **kw)
        pooled: Any = self._dbapi_connection
        if connection is None and not self._handed_out:  # a listener may have had it
            pooled.info[_OURS] = True
            if pooled.info.get(_UNSCOPED) and not isinstance(current_scope(), Unscoped):
                self.invalidate()  # temporary tables, settings, cursors, locks: a new one has none

    def _revalidate_connection(self) -> Any:
        pooled = super()._revalidate_connection()
        if not self._handed_out:
            pooled.info[_OURS] = True
        return pooled

    @property
    def connection(self) -> Any:
        """The pool's connection. Whoever but SQLAlchemy has it may do anything: it is closed when it comes back."""
        pooled = super().connection
        if _caller() not in _INSIDE:
            self._handed_out, self._settled = True, None
            pooled.info.pop(_OURS, None)
            if self.partywall_prefix:
                prefix, self.partywall_prefix = self.partywall_prefix, ""
                self._setting.driver.send(pooled.dbapi_connection, prefix)
        return pooled

    @property
    def _setting(self) -> TenantSetting:
        setting = self.guard.setting
        assert setting is not None  # noqa: S101  # else this class would not be used
        return setting

    def _settle(self, scope: Scope | None, *, has_begun: bool) -> None:
        if not has_begun or self._is_undoing:
            return
        pooled: Any = self._dbapi_connection
        if isinstance(scope, Unscoped):
            pooled.info[_UNSCOPED] = True
        elif scope is not None and (scope != self._told or self._handed_out):
            if self._setting.driver.is_failed(pooled.dbapi_connection):
                return  # nothing but a rollback is taken now
            self._tell(scope, pooled)
        # Whoever holds the raw connection may have ended the transaction or changed the setting: told each time.
        self._settled = None if self._handed_out else scope

    def _tell(self, tenant: Tenant, pooled: Any) -> None:
        is_late = not self._setting.driver.is_idle(pooled.dbapi_connection)
        self.partywall_prefix = self._setting.set(pooled.dbapi_connection, tenant)
        self._told, self._told_late = tenant, is_late

    def _begin_impl(self, transaction: Any) -> None:
        super()._begin_impl(transaction)
        self._begun()

    def _begin_twophase_impl(self, transaction: Any) -> None:
        super()._begin_twophase_impl(transaction)
        self._begun()

    def _begun(self) -> None:
        self._told, self._told_late, self.partywall_prefix, self._settled = None, False, "", None
        pin = self.partywall_pin
        try:
            self._settle(None if pin is None else pin.scope, has_begun=True)
        except PartywallError:
            raise
        except BaseException as error:  # noqa: BLE001  # as SQLAlchemy begins: wrapped, and noticed if the server is gone
            self._handle_dbapi_exception(error, None, None, None, None)

    def _execute_context(self, dialect: Any, constructor: Any, statement: Any, *args: Any, **kw: Any) -> Any:
        if not (self._settled is None or self._told_late) or str(statement).lstrip()[:8].upper() != "ROLLBACK":
            return super()._execute_context(dialect, constructor, statement, *args, **kw)
        self._is_undoing = True  # nothing is told before a ROLLBACK TO SAVEPOINT, which would undo it
        try:
            return super()._execute_context(dialect, constructor, statement, *args, **kw)
        finally:
            self._is_undoing = False
            if self._told_late:
                self._told = self._settled = None


def _caller() -> str:
    """Return the name of the module that asks for a property; "" where nobody in Python does."""
    try:
        return str(sys._getframe(2).f_globals.get("__name__", ""))
    except ValueError:
        return ""


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

    def meet_unscoped(self, statement: Any) -> None:
        """
        Test whether the database shows this role all rows, before it is asked for those of the tenancy's tables.

        The owner, who is asked to create them, is shown none.
        """
        test, info = self.guard.self_test, self.info
        if test is None or not self.guard.tests_itself or info.get(_UNSCOPED_TESTED):
            return
        tables = self.guard.vocabulary.tables
        if any(isinstance(each, Table) and tables.find(each.schema, each.name) for each in visitors.iterate(statement)):
            dbapi_connection: Any = self._dbapi_connection
            test.meet_inside(dbapi_connection.dbapi_connection)
            info[_UNSCOPED_TESTED] = True

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
            ddl = _for_the_database(ddl, self.guard.physical())
        return super()._execute_ddl(ddl, *args, **kw)

    def _is_of_the_tenancy(self, element: Any) -> bool:
        table = getattr(element, "table", element)  # of a constraint or an index
        metadata = table.metadata if isinstance(table, Table) else table
        return any(metadata is each for each in self.guard.metadata)


def _for_the_database(ddl: Any, physical: Physical) -> Any:
    """Return a DDL element about a logical table, constraint or index as one about the physical one."""
    element = physical.of(ddl.element)
    if isinstance(ddl, CreateTable):
        keys = ddl.include_foreign_key_constraints
        return CreateTable(
            element,
            include_foreign_key_constraints=None if keys is None else [physical.of(key) for key in keys],
            if_not_exists=ddl.if_not_exists,
        )
    changed = copy.copy(ddl)
    changed.element = element
    return changed


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
    sqlite_wall = _sqlite_wall(sync_engine, vocabulary, checker=checker) if vocabulary.is_walled else None
    setting = None
    if rows is not None and dialect.name == "postgresql":
        setting = TenantSetting(rows, vocabulary.tables, dialect)
        _enforce_in_database(sync_engine, setting)
    guard = Guard(
        sync_engine, vocabulary, allow_unscoped=allow_unscoped, audit=audit, metadata=metadata, setting=setting
    )
    if rows is not None and dialect.name == "postgresql":
        guard.self_test = SelfTest(sync_engine, vocabulary.tables, rows, unscoped=allow_unscoped)
        guard.tests_itself = rows.self_test
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
        _wall_sqlite(sync_engine, sqlite_wall)
    sync_engine.clear_compiled_cache()
    bases: tuple[type[_GuardedConnection], ...] = (_UnscopableConnection,) if allow_unscoped else (_GuardedConnection,)
    if setting is not None:
        bases = (_RowWalledConnection, *bases) if allow_unscoped else (_RowWalledConnection,)
    connection_class = type("GuardedConnection", bases, {"guard": guard})
    copied: Any = type("GuardedOptionEngine", (OptionEngine,), {"_connection_cls": connection_class})
    copied._option_cls = copied
    sync_engine._connection_cls = connection_class
    sync_engine._option_cls = copied
    if not event.contains(Session, "after_begin", _session_began):
        event.listen(Session, "after_begin", _session_began)
        event.listen(Session, "before_attach", _session_attaches)
        event.listen(Mapper, "before_insert", _session_inserts)
        event.listen(Mapper, "_sa_event_merge_wo_load", _session_merges)


def _enforce_in_database(engine: Engine, setting: TenantSetting) -> None:
    """Let an engine tell the tenant, and take no connection back on which something may be left."""
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
        raise SetupError(
            f"a {type(engine.pool).__name__} gives one connection to several users at once, and a connection has one "
            "tenant.\nUse another pool: create_engine(url), or create_engine(url, poolclass=NullPool)."
        )
    driver, dialect = setting.driver, engine.dialect

    def returns(dbapi_connection: Any, record: Any) -> None:
        is_ours = record.info.pop(_OURS, False)
        if dbapi_connection is not None and not (is_ours and driver.is_idle(dbapi_connection)):
            record.invalidate()  # settings, temporary tables, cursors, locks, LISTEN: a new one has none

    event.listen(engine.pool, "checkin", returns)
    if driver.rides_along:
        _let_ride_along(dialect, driver)


def _let_ride_along(dialect: Any, driver: Driver) -> None:
    """Send what tells the tenant in one string with the next statement."""

    def also(send: Callable[..., Any], *, is_single: bool) -> Callable[..., Any]:
        def send_both(cursor: Any, statement: str, *args: Any) -> Any:
            connection: Any = getattr(args[-1], "root_connection", None) if args else None
            prefix = getattr(connection, "partywall_prefix", "")
            if not prefix or driver.is_failed(cursor.connection):
                return send(cursor, statement, *args)  # when it has failed, nothing but a rollback is taken
            if is_single and cursor.name is None:  # a named cursor puts DECLARE before it
                result = send(cursor, f"{prefix} {statement}", *args)
            else:
                driver.send(cursor.connection, prefix)
                result = send(cursor, statement, *args)
            connection.partywall_prefix = ""  # not if it has failed, perhaps before it was sent
            return result

        return send_both

    dialect.do_execute = also(dialect.do_execute, is_single=True)
    dialect.do_execute_no_params = also(dialect.do_execute_no_params, is_single=True)
    dialect.do_executemany = also(dialect.do_executemany, is_single=False)


_WALLED = "partywall_walled"


def _sqlite_wall(engine: Engine, vocabulary: Vocabulary, *, checker: bool) -> SqliteWall:
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


def _wall_sqlite(engine: Engine, wall: SqliteWall) -> None:
    """Put the row wall up on every connection of an engine, once its 'connect' listeners have done."""
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

    def checked_in(dbapi_connection: Any, _record: Any) -> None:
        gate = getattr(_driver_of(dbapi_connection), "partywall_gate", None)
        if gate is not None:
            gate.let_in(None, None)

    event.listen(engine, "checkout", checked_out)
    event.listen(engine, "checkin", checked_in)


def _driver_of(dbapi_connection: Any) -> Any:
    """Return sqlite3's connection, which aiosqlite wraps."""
    return dbapi_connection.driver_connection._conn if hasattr(dbapi_connection, "run_async") else dbapi_connection


def _walled(dbapi_connection: Any) -> WalledConnection:
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
        written = getattr(context if compiled is None else compiled, _WRITTEN[compiled is None], None)
        if written is not None:
            statement = _walled(context.root_connection.connection.dbapi_connection).partywall_seals.sealed(
                statement, written
            )
        return send(cursor, statement, *args, **kw)

    return sealed


_WRITTEN = {True: "partywall_written", False: "written"}


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
        connection.partywall_pin = mine
        connection._checked = connection._settled = None
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
        scope = connection._meet_scope(connection.get_transaction())
        if isinstance(scope, Tenant):
            adopt(instance, scope, connection.guard.vocabulary.tables)
        else:
            check_ids_are_unique(mapper, connection.guard.vocabulary.tables)


def _is_own(transaction: Any, connection: Connection) -> bool:
    """Whether a Session has opened a connection for itself, so that nobody else can be using it."""
    entry = transaction._connections.get(connection)
    return entry is not None and bool(entry[3])
