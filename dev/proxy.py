"""A proxy before a PostgreSQL server that counts round trips, and can make each take a while, as a network does."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import URL

__all__ = ["Proxy", "proxy"]

_CHUNK = 1 << 20


class Proxy:
    """
    A running proxy.

    Attributes:
        round_trips: How often a client has spoken after the server had: what it waits for, whatever it sends at once.
        delay: Seconds that each of them takes.
    """

    def __init__(self, path: str, delay: float) -> None:
        self.round_trips = 0
        self.delay = delay
        self._path = path
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more clients."""
        with contextlib.suppress(OSError):  # it may be waiting for one
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(client,), daemon=True).start()

    def _carry(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, selectors.DefaultSelector() as ready:
            server.connect(self._path)
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            server_has_spoken = True
            with contextlib.suppress(OSError):
                while True:
                    for key, _ in ready.select():
                        source: Any = key.fileobj
                        data = source.recv(_CHUNK)
                        if not data:
                            return
                        if source is client and server_has_spoken:
                            self.round_trips += 1
                            time.sleep(self.delay)
                        server_has_spoken = source is server
                        key.data.sendall(data)


@contextlib.contextmanager
def proxy(server: URL, *, delay: float = 0) -> Iterator[tuple[Proxy, URL]]:
    """Start a proxy before a server that listens on a Unix socket; yield it, and the URL of the database through it."""
    running = Proxy(f"{server.query['host']}/.s.PGSQL.{server.query.get('port', server.port or 5432)}", delay)
    try:
        yield running, server.set(host="127.0.0.1", port=running.port, query={})
    finally:
        running.close()
