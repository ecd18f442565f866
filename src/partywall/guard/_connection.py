"""The connections of a guarded engine, which hold one scope for each transaction."""

from __future__ import annotations

import weakref
from typing import Any, ClassVar

from sqlalchemy import Table
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from sqlalchemy.sql import visitors

from partywall.errors import NoTenantError, RefusedStatementError
from partywall.guard._guard import Guard
from partywall.guard._sqlite import walled
from partywall.scope import Pin, Scope, Tenant, Unscoped, audit_log, current_scope
from partywall.statements.orm import PinnedIdentityMap, pin_identity_map, pin_of
from partywall.statements.vouched import Vouched

__all__ = ["GuardedConnection", "UnscopableConnection"]


class GuardedConnection(Connection):
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
            pooled: Any = self._dbapi_connection or super().connection
            walled(pooled.dbapi_connection).gate.let_in(tenant_id, self.guard.bind_tenant)

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


_UNSCOPED_TESTED = "partywall.unscoped_tested"  # in the info of a pooled connection


class UnscopableConnection(GuardedConnection):
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
        if test is None or not test.is_wanted or info.get(_UNSCOPED_TESTED):
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
            ddl = self.guard.physical().ddl(ddl)
        return super()._execute_ddl(ddl, *args, **kw)

    def _is_of_the_tenancy(self, element: Any) -> bool:
        table = getattr(element, "table", element)  # of a constraint or an index
        metadata = table.metadata if isinstance(table, Table) else table
        return any(metadata is each for each in self.guard.metadata)
