"""When the self-test of PostgreSQL's row wall is run: before a server is used, and again when it is another one."""

from __future__ import annotations

import threading
from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool.base import _AdhocProxiedConnection

from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.verify import verify
from partywall.tables import Tables

__all__ = ["SelfTest"]

# A fail-over, a restart, another database of the same name: whatever it was, another server has to be tested.
_WHICH_SERVER = (
    "SELECT current_database()::text, session_user::text, inet_server_addr()::text, inet_server_port(), "
    "pg_is_in_recovery(), pg_postmaster_start_time()::text, current_setting('server_version_num')"
)


class SelfTest:
    """
    The self-test of one engine.

    Attributes:
        has_passed: Whether the wall held when it was tested last.
    """

    def __init__(self, engine: Engine, tables: Tables, wall: RowWall, *, unscoped: bool) -> None:
        self.has_passed = False
        self._engine, self._tables, self._wall, self._unscoped = engine, tables, wall, unscoped
        self._tested: Any = None
        self._lock = threading.Lock()

    def meet(self, dbapi_connection: Any, record: Any) -> None:
        """
        Test the wall of the server that a new connection has met, unless it has been tested.

        Args:
            dbapi_connection: SQLAlchemy's; closed if the wall does not hold.
            record: That of the pool.

        Raises:
            SetupError: The wall does not hold; every finding has the SQL that mends it.
        """
        try:
            self.meet_inside(dbapi_connection, record)
            dbapi_connection.rollback()
        except BaseException:
            dbapi_connection.close()
            raise

    def meet_inside(self, dbapi_connection: Any, record: Any = None) -> None:
        """Do the same inside a transaction, which goes on."""
        cursor = dbapi_connection.cursor()
        cursor.execute(_WHICH_SERVER)
        server = cursor.fetchone()
        cursor.close()
        with self._lock:
            if server != self._tested:
                self.run(dbapi_connection, record)
                self._tested = server

    def run(self, dbapi_connection: Any, record: Any = None) -> None:
        """Test the wall, whatever is known of it."""
        self.has_passed = False
        pooled: Any = _AdhocProxiedConnection(dbapi_connection, record)
        connection: Any = Connection(
            self._engine, connection=pooled, _has_events=False, _allow_revalidate=False, _allow_autobegin=False
        )
        connection.partywall_first_contact = True  # nothing of the application's is asked
        schema = self._engine.dialect.default_schema_name or "public"
        verify(connection, self._tables, self._wall, unscoped=self._unscoped, default_schema=schema)
        self.has_passed = True
