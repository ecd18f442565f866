"""Behind PgBouncer in transaction mode, where tenants share server processes, their settings never meet."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from dev.pgbouncer import executable, pgbouncer
from partywall import tenant
from tests.rows.by_hand import DRIVERS, ROLE, SETTING, SYNC_DRIVERS, UNSCOPED_ROLE, Country, Place, raw
from tests.rows.test_postgresql_session import OWN, at_the_database, ids

pytestmark = pytest.mark.skipif(executable() is None, reason="pgbouncer is not installed: run dev/install-pgbouncer")

every_driver = pytest.mark.parametrize("driver", DRIVERS)

# How each driver does without prepared statements, which PgBouncer has in transaction mode only since 1.21.
OPTIONS: dict[str, dict[str, Any]] = {
    "psycopg": {"connect_args": {"prepare_threshold": None}},
    "psycopg_async": {"connect_args": {"prepare_threshold": None}},
    "psycopg2": {},
    "asyncpg": {
        "connect_args": {
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: "",
        }
    },
}


@pytest.fixture(scope="module")
def one_process(place: Place) -> Iterator[URL]:
    with pgbouncer(place.url, roles=[ROLE, UNSCOPED_ROLE], server_connections=1) as url:
        yield url.set(username=ROLE)


@pytest.fixture(scope="module")
def two_processes(place: Place) -> Iterator[URL]:
    with pgbouncer(place.url, roles=[ROLE, UNSCOPED_ROLE], server_connections=2) as url:
        yield url.set(username=ROLE)


def server_pid(connection: sa.Connection) -> int:
    cursor = connection._dbapi_connection.cursor()  # type: ignore[union-attr]  # not handed out
    cursor.execute("SELECT pg_backend_pid()")
    return int((cursor.fetchone() or (0,))[0])


@every_driver
def test_tenants_that_share_one_server_process_see_their_own_rows(place: Place, driver: str, one_process: URL) -> None:
    def work(engine: Engine) -> tuple[set[int], list[object]]:
        pids: set[int] = set()
        found: list[object] = []
        with engine.connect() as first, engine.connect() as second, engine.connect() as third:
            for _ in range(3):
                for tenant_id, connection in ((1, first), (2, second)):
                    with tenant(tenant_id):
                        found.append((ids(connection), at_the_database(connection)))
                        pids.add(server_pid(connection))
                    connection.commit()
                third.execute(sa.select(Country.code))
                found.append(at_the_database(third))
                third.rollback()
        return pids, found

    pids, found = place.run(driver, work, url=one_process, **OPTIONS[driver])
    assert len(pids) == 1
    assert found == [(OWN[1], (3, 1, 1)), (OWN[2], (3, 2, 2)), (0, None, None)] * 3


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_threads_behind_two_server_processes_see_their_own_rows(place: Place, driver: str, two_processes: URL) -> None:
    def work(engine: Engine) -> set[bool]:
        barrier = threading.Barrier(6)

        def one(number: int) -> bool:
            tenant_id = 1 + number % 2
            barrier.wait()
            right = True
            for _ in range(20):
                with tenant(tenant_id), Session(engine) as session:
                    right &= ids(session) == OWN[tenant_id] and ids(session) == OWN[tenant_id]
                    session.commit()
                    right &= ids(session) == OWN[tenant_id]
            return right

        with ThreadPoolExecutor(6) as threads:
            return set(threads.map(one, range(6)))

    assert place.run(driver, work, url=two_processes, pool_size=6, **OPTIONS[driver]) == {True}


@every_driver
def test_a_sealed_tenant_names_the_process_that_serves(place: Place, driver: str, two_processes: URL) -> None:
    key = b"k" * 32

    def work(engine: Engine) -> list[Any]:
        found = []
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id), engine.connect() as connection:
                connection.execute(sa.select(Country.code))
                cursor = connection._dbapi_connection.cursor()  # type: ignore[union-attr]
                cursor.execute(f"SELECT {SETTING}, pg_backend_pid()")
                found.append((tenant_id, *(cursor.fetchone() or ())))
                cursor.close()
        return found

    wall = {"key": key, "transaction_pooler": True}
    for tenant_id, token, pid in place.run(driver, work, wall=wall, url=two_processes, **OPTIONS[driver]):
        message, _, signature = token.rpartition(".")
        assert message.split(".")[:2] == [str(tenant_id), str(pid)]
        assert signature == hmac.new(key, message.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_a_setting_without_local_would_reach_the_next_client(place: Place, driver: str, one_process: URL) -> None:
    """Why the tenant is set for the transaction alone: take that away, and the next one has it."""

    def work(engine: Engine) -> object:
        pooled = engine.raw_connection()
        raw(pooled, "SET partywall.tenant = '2'")
        pooled.commit()
        pooled.close()  # closes the connection to PgBouncer, which keeps its own to the server
        other = engine.raw_connection()
        found = raw(other, "SELECT count(*), min(tenant_id) FROM notes")
        raw(other, "RESET partywall.tenant")
        other.commit()
        other.close()
        return found

    assert place.run(driver, work, url=one_process, **OPTIONS[driver]) == (3, 2)
