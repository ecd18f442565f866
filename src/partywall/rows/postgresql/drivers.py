"""
The three drivers: how each begins a transaction that has its tenant from the start, in one round trip.

All of this is said in the simple query protocol, which takes several statements in one string and leaves no prepared
statement behind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol

from sqlalchemy.util import await_only

from partywall._compat import hold_transaction
from partywall.errors import SetupError

__all__ = ["Driver", "driver_of"]


class Driver(Protocol):
    """What the row wall asks of a driver. Each method takes SQLAlchemy's DBAPI connection."""

    rides_along: bool
    """Whether SQL for the tenant goes in front of the next statement, in its string."""

    def is_autocommit(self, connection: Any) -> bool:
        """Whether statements outlive no transaction of ours, since each is its own."""

    def is_idle(self, connection: Any) -> bool:
        """Whether the server is in no transaction, by what it has said last."""

    def backend_pid(self, connection: Any) -> int:
        """Return the pid of the server process, as it was when the connection was made."""

    def ask_pid(self, connection: Any) -> int:
        """Ask the server process of this transaction for its pid, and begin the transaction if there is none."""

    def begin(self, connection: Any, sql: str) -> None:
        """Begin a transaction with the isolation level that was chosen, and run *sql* in the same round trip."""

    def send(self, connection: Any, sql: str) -> None:
        """Run *sql* within the transaction."""


class _Psycopg:
    """psycopg 3: its own BEGIN, lengthened, sent as the driver sends it."""

    rides_along = False

    def __init__(self, dialect: Any) -> None:
        self._psycopg = getattr(dialect.dbapi, "psycopg", dialect.dbapi)
        self._status = self._psycopg.pq.TransactionStatus
        self._is_async = dialect.is_async

    def is_autocommit(self, connection: Any) -> bool:
        return bool(connection.autocommit)

    def is_idle(self, connection: Any) -> bool:
        return bool(self._raw(connection).pgconn.transaction_status == self._status.IDLE)

    def backend_pid(self, connection: Any) -> int:
        return int(self._raw(connection).pgconn.backend_pid)

    def ask_pid(self, connection: Any) -> int:
        question = b"SELECT pg_backend_pid()"
        if self.is_idle(connection):
            question = self._raw(connection)._get_tx_start_command() + b"; " + question
        return int(self._run(connection, question)[-1].get_value(0, 0))

    def begin(self, connection: Any, sql: str) -> None:
        self._run(connection, self._raw(connection)._get_tx_start_command() + b"; " + sql.encode("ascii"))

    def send(self, connection: Any, sql: str) -> None:
        self._run(connection, sql.encode("ascii"))

    def _raw(self, connection: Any) -> Any:
        return connection._connection if self._is_async else connection

    def _run(self, connection: Any, sql: bytes) -> Any:
        raw = self._raw(connection)
        if self._is_async:
            return await_only(self._run_async(raw, sql))
        with raw.lock:
            return raw.wait(self._sending(raw.pgconn, sql))

    async def _run_async(self, raw: Any, sql: bytes) -> Any:
        async with raw.lock:
            return await raw.wait(self._sending(raw.pgconn, sql))

    def _sending(self, pgconn: Any, sql: bytes) -> Generator[Any, Any, Any]:
        pgconn.send_query(sql)
        results = yield from self._psycopg.generators.execute(pgconn)
        for result in results:
            if result.error_message:
                raise self._psycopg.errors.error_from_result(result, encoding=pgconn._encoding)
        return results


class _Psycopg2:
    """psycopg2: its BEGIN cannot be lengthened; its statements can, since they are text, parameters included."""

    rides_along = True

    def __init__(self, dialect: Any) -> None:
        self._status = dialect._psycopg2_extensions

    def is_autocommit(self, connection: Any) -> bool:
        return bool(connection.autocommit)

    def is_idle(self, connection: Any) -> bool:
        return bool(connection.info.transaction_status == self._status.TRANSACTION_STATUS_IDLE)

    def backend_pid(self, connection: Any) -> int:
        return int(connection.info.backend_pid)

    def ask_pid(self, connection: Any) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            return int(cursor.fetchone()[0])

    def begin(self, connection: Any, sql: str) -> None:
        self.send(connection, sql)  # the driver begins by itself

    def send(self, connection: Any, sql: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql)


class _Asyncpg:
    """asyncpg: its own Transaction object, which is shown a connection that lengthens its BEGIN."""

    rides_along = False

    def __init__(self, dialect: Any) -> None:
        pass

    def is_autocommit(self, connection: Any) -> bool:
        return bool(connection.autocommit)

    def is_idle(self, connection: Any) -> bool:
        return connection._connection.is_closed() or not connection._connection.is_in_transaction()

    def backend_pid(self, connection: Any) -> int:
        return int(connection._connection.get_server_pid())

    def ask_pid(self, connection: Any) -> int:
        if self.is_idle(connection):
            self.begin(connection, "")
        return int(self._wait(connection, connection._connection.fetchval("SELECT pg_backend_pid()")))

    def begin(self, connection: Any, sql: str) -> None:
        self._wait(connection, self._begin(connection, sql))

    def send(self, connection: Any, sql: str) -> None:
        self._wait(connection, connection._connection.execute(sql))

    async def _begin(self, connection: Any, sql: str) -> None:
        raw = connection._connection
        transaction = raw.transaction(
            isolation=connection.isolation_level, readonly=connection.readonly, deferrable=connection.deferrable
        )
        transaction._connection = _Lengthens(raw, sql)
        try:
            await transaction.start()
        finally:
            transaction._connection = raw
        hold_transaction(connection, transaction)

    def _wait(self, connection: Any, awaitable: Any) -> Any:
        try:
            return await_only(_one_at_a_time(connection, awaitable))
        except Exception as error:  # noqa: BLE001  # SQLAlchemy's adapter turns asyncpg's errors into the DBAPI's
            connection._handle_exception(error)


async def _one_at_a_time(connection: Any, awaitable: Any) -> Any:
    async with connection._execute_mutex:
        return await awaitable


class _Lengthens:
    """Stands before an asyncpg connection while a transaction starts: its BEGIN gets a tail."""

    def __init__(self, connection: Any, tail: str) -> None:
        self.__dict__.update(_raw=connection, _tail=tail)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._raw, name, value)

    async def execute(self, query: str) -> Any:
        return await self._raw.execute(f"{query} {self._tail}")


_DRIVERS: dict[str, Callable[[Any], Driver]] = {"psycopg": _Psycopg, "psycopg2": _Psycopg2, "asyncpg": _Asyncpg}


def driver_of(dialect: Any) -> Driver:
    """
    Return how to speak with the driver of a dialect.

    Raises:
        SetupError: We know no way to set a tenant with it.
    """
    if dialect.driver not in _DRIVERS:
        raise SetupError(
            f"the row wall does not know the driver {dialect.driver!r}: create the engine for one of "
            f"{', '.join(f'postgresql+{name}' for name in _DRIVERS)}."
        )
    return _DRIVERS[dialect.driver](dialect)
