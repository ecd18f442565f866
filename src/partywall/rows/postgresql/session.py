"""The tenant of a transaction, as the server is told: which SQL, and when it has to be sent."""

from __future__ import annotations

import re
import time
from typing import Any

from partywall.errors import RefusedStatementError, TenantIdError
from partywall.rows.declaration import RowWall
from partywall.rows.encoding import SETTING, encoder
from partywall.rows.postgresql.drivers import driver_of
from partywall.rows.seal import seal
from partywall.scope import Tenant
from partywall.tables import Tables

__all__ = ["TenantSetting"]

_HARMLESS = re.compile(r"[0-9a-f.-]+")


class TenantSetting:
    """
    Tells the server which tenant a transaction is for, until the transaction ends. One for each engine.

    Nothing here knows about scopes or pins: the guard calls it with the tenant it has pinned.
    """

    def __init__(self, wall: RowWall, tables: Tables, dialect: Any) -> None:
        self.driver = driver_of(dialect)
        self._encode = encoder(tables.tenant_type)
        self._wall = wall

    def set(self, connection: Any, tenant: Tenant) -> str:
        """
        Tell the server the tenant of the transaction that is about to begin, or has begun.

        Args:
            connection: SQLAlchemy's DBAPI connection.
            tenant: The pinned one.

        Returns:
            What has to go in front of the next statement, in its string; with most drivers nothing, for it is sent.

        Raises:
            RefusedStatementError: The connection is in autocommit mode, where the setting would be gone at once.
        """
        driver = self.driver
        if driver.is_autocommit(connection):
            raise RefusedStatementError(
                "with AUTOCOMMIT there is no transaction that could hold the tenant, so the database would show no "
                "rows.\nUse another isolation level for tenants, or an unscoped engine."
            )
        sql = _set_local(self._text(connection, tenant))
        if driver.rides_along and not self._wall.is_sealed:  # a seal in front of a statement is seen as long as it runs
            return sql
        if driver.is_idle(connection):
            driver.begin(connection, sql)
        else:
            driver.send(connection, sql)
        return ""

    def _text(self, connection: Any, tenant: Tenant) -> str:
        encoded, key = self._encode(tenant.id), self._wall.key
        if key is None:
            return encoded
        asks = self._wall.transaction_pooler  # the process that was met first need not be the one that serves now
        pid = self.driver.ask_pid(connection) if asks else self.driver.backend_pid(connection)
        return seal(encoded, pid, key, int(time.time()) + self._wall.token_lifetime)


def _set_local(text: str) -> str:
    # SET takes no parameters. The encoder has looked already; this is where it matters.
    if not _HARMLESS.fullmatch(text):
        raise TenantIdError("this tenant id has no safe encoding: it was not sent.")
    return f"SET LOCAL {SETTING} = '{text}';"
