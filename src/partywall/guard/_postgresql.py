"""Connections that tell PostgreSQL the tenant, and come back to the pool with nothing of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.pool import SingletonThreadPool, StaticPool

from partywall.errors import PartywallError, SetupError
from partywall.guard._handed_out import NoticingConnection, is_ours
from partywall.rows.postgresql.drivers import Driver
from partywall.rows.postgresql.session import TenantSetting
from partywall.scope import Scope, Tenant, Unscoped, current_scope
from partywall.statements.vouched import Vouched

__all__ = ["TellingConnection", "enforce_in_database"]


_UNSCOPED = "partywall.unscoped"  # ... : something ran on it unscoped


class TellingConnection(NoticingConnection):
    """
    A guarded connection that tells PostgreSQL the tenant of each of its transactions.

    It does so with BEGIN where the tenant is known by then, else before the first statement that has one.
    """

    partywall_prefix: str = ""  # of the next statement, where the driver tells the tenant that way
    _told: Scope | None = None
    _told_late: bool = False  # after the transaction had begun, so that a savepoint may lie before it
    _is_undoing: bool = False

    def __init__(self, engine: Engine, connection: Any = None, **kw: Any) -> None:
        super().__init__(engine, connection, **kw)
        pooled: Any = self._dbapi_connection
        is_new = connection is None and not self._handed_out  # a listener may have had it
        if is_new and pooled.info.get(_UNSCOPED) and not isinstance(current_scope(), Unscoped):
            self.invalidate()  # temporary tables, settings, cursors, locks: a new one has none

    def _hand_out(self, pooled: Any) -> None:
        self._settled = None
        scope = None if self._transaction is None or self.partywall_pin is None else self.partywall_pin.scope
        if isinstance(scope, Tenant) and scope != self._told:
            self._tell(scope, pooled)
        if self.partywall_prefix:
            prefix, self.partywall_prefix = self.prefix(), ""
            self._setting.driver.send(pooled.dbapi_connection, prefix)

    def accept(self, vouched: Vouched) -> None:
        """Take it that the statement may do anything to the connection, by what it calls: as if it was handed out."""
        super().accept(vouched)
        self._no_longer_ours(self._dbapi_connection)
        self._settled = None

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
            self._tell(scope, pooled)
        # Whoever holds the raw connection may have ended the transaction or changed the setting: told each time.
        self._settled = None if self._handed_out else scope

    def _tell(self, tenant: Tenant, pooled: Any) -> None:
        is_late = not self._setting.driver.is_idle(pooled.dbapi_connection)
        self.partywall_prefix = self._setting.set(pooled.dbapi_connection, tenant)
        self._told, self._told_late = tenant, is_late

    def prefix(self) -> str:
        """Return what has still to tell the tenant: a token lasts from when it is sent, however late that is."""
        pooled: Any = self._dbapi_connection
        setting = self._setting
        if not (self.partywall_prefix and isinstance(self._told, Tenant)):
            return self.partywall_prefix
        is_idle = setting.driver.is_idle(pooled.dbapi_connection)
        return setting.set(pooled.dbapi_connection, self._told) if is_idle else self.partywall_prefix

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
        # Nothing is told before a ROLLBACK TO SAVEPOINT: it would be undone, and a failed transaction takes no more.
        self._is_undoing, self.partywall_prefix = True, ""
        try:
            return super()._execute_context(dialect, constructor, statement, *args, **kw)
        finally:
            self._is_undoing = False
            if self._told_late:
                self._told = self._settled = None


def enforce_in_database(engine: Engine, setting: TenantSetting) -> None:
    """Let an engine tell the tenant, and take no connection back on which something may be left."""
    if isinstance(engine.pool, (StaticPool, SingletonThreadPool)):
        raise SetupError(
            f"a {type(engine.pool).__name__} gives one connection to several users at once, and a connection has one "
            "tenant.\nUse another pool: create_engine(url), or create_engine(url, poolclass=NullPool)."
        )
    driver, dialect = setting.driver, engine.dialect

    def returns(dbapi_connection: Any, record: Any) -> None:
        is_untouched = is_ours(record.info)
        if dbapi_connection is not None and not (is_untouched and driver.is_idle(dbapi_connection)):
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
            if not prefix:
                return send(cursor, statement, *args)
            prefix = connection.prefix()
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
