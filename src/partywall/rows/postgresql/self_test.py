"""When the self-test of PostgreSQL's row wall is run: before a server is used, and again when it is another one."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool.base import _AdhocProxiedConnection

from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.meant import schema_of
from partywall.rows.postgresql.verify import verify
from partywall.tables import Tables

__all__ = ["SelfTest"]

# A fail-over, a restart, another database of the same name: whatever it was, another server has to be tested.
_WHICH_SERVER = (
    "SELECT current_database()::text, session_user::text, inet_server_addr()::text, inet_server_port(), "
    "pg_is_in_recovery(), pg_postmaster_start_time()::text, current_setting('server_version_num')"
)

_SERVER = "partywall.server"  # in the info of a pooled connection: which it has met


class SelfTest:
    """The self-test of one engine, and the servers that have passed it."""

    def __init__(self, engine: Engine, tables: Tables, wall: RowWall, *, unscoped: bool) -> None:
        self._engine, self._tables, self._wall, self._unscoped = engine, tables, wall, unscoped
        self._held: set[Any] = set()
        self._lock = threading.Lock()

    @property
    def is_wanted(self) -> bool:
        """Whether it runs by itself, and not only when it is asked for."""
        return self._wall.self_test

    def holds(self, pooled: Any) -> bool:
        """Whether the wall held when the server of a pooled connection was tested last."""
        return pooled.info.get(_SERVER) in self._held

    def meet(self, dbapi_connection: Any, record: Any) -> None:
        """
        Remember which server a new connection has met, and test its wall unless it has passed or nobody wants it to be.

        Args:
            dbapi_connection: SQLAlchemy's; closed if the wall does not hold.
            record: That of the pool.

        Raises:
            SetupError: The wall does not hold; every finding has the SQL that mends it.
        """
        try:
            record.info[_SERVER] = _server_of(dbapi_connection)
            if self.is_wanted:
                self._test(record.info[_SERVER], dbapi_connection, record)
            dbapi_connection.rollback()
        except BaseException:
            dbapi_connection.close()
            raise

    def meet_inside(self, dbapi_connection: Any) -> None:
        """Test the wall inside a transaction, which goes on, unless it has passed."""
        self._test(_server_of(dbapi_connection), dbapi_connection)

    def run(self, dbapi_connection: Any) -> None:
        """Test the wall, whatever is known of it."""
        with self._lock:
            self._run(_server_of(dbapi_connection), dbapi_connection)

    def _test(self, server: Any, dbapi_connection: Any, record: Any = None) -> None:
        with self._lock:
            if server not in self._held:
                self._run(server, dbapi_connection, record)

    def _run(self, server: Any, dbapi_connection: Any, record: Any = None) -> None:
        pooled: Any = _AdhocProxiedConnection(dbapi_connection, record)
        connection: Any = Connection(
            self._engine, connection=pooled, _has_events=False, _allow_revalidate=False, _allow_autobegin=False
        )
        connection.partywall_first_contact = True  # nothing of the application's is asked
        schema = schema_of(self._engine.dialect, self._wall)
        try:
            verify(connection, self._tables, self._wall, unscoped=self._unscoped, default_schema=schema)
        except BaseException:
            self._held.discard(server)
            raise
        self._held.add(server)


def _server_of(dbapi_connection: Any) -> Any:
    """Return what tells a server from every other one; one round trip."""
    cursor = dbapi_connection.cursor()
    cursor.execute(_WHICH_SERVER)
    server = tuple(cursor.fetchone())
    cursor.close()
    return server
