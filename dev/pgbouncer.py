"""A PgBouncer in transaction mode before a server, for tests; from Debian's package (see dev/install-pgbouncer)."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from sqlalchemy.engine import URL

__all__ = ["executable", "pgbouncer"]


def executable() -> str | None:
    """Return the path of pgbouncer; None if it is not installed."""
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


@contextlib.contextmanager
def pgbouncer(server: URL, *, roles: Iterable[str], server_connections: int) -> Iterator[URL]:
    """
    Start a PgBouncer; stop it at the end.

    Args:
        server: Of a database on the server behind it, by a Unix socket.
        roles: Who may log in, without a password.
        server_connections: How many server processes all clients share, for each database and role.

    Yields:
        The URL of the same database through it.
    """
    program = executable()
    if program is None:
        raise FileNotFoundError("pgbouncer is not installed: run dev/install-pgbouncer")
    with tempfile.TemporaryDirectory(prefix="partywall-pgbouncer-") as name:
        directory, port = Path(name), _free_port()
        users, settings = directory / "users.txt", directory / "pgbouncer.ini"
        users.write_text("".join(f'"{role}" ""\n' for role in roles))
        settings.write_text(
            "[databases]\n"
            f"* = host={server.query['host']} port={server.query.get('port', server.port or 5432)}\n"
            "[pgbouncer]\n"
            "pool_mode = transaction\n"
            f"default_pool_size = {server_connections}\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\n"
            "query_wait_timeout = 10\n"  # an error then, instead of waiting for a server that does not come
            "ignore_startup_parameters = extra_float_digits\n"
        )
        directory.chmod(0o755)
        # It refuses to run as root, and has to reach the server's socket: it runs as the server's own user.
        user = Path(str(server.query["host"])).owner()
        arguments = [program, "-q", *(["-u", user] if os.geteuid() == 0 else []), str(settings)]
        with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:  # noqa: S603  # our own command
            try:
                _wait_for(port)
                yield server.set(host="127.0.0.1", port=port, query={})
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(10)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return
