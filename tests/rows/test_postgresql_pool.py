"""A connection that comes back to the pool keeps nothing of the tenant it was used for."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from partywall import SetupError, tenant, unscoped
from tests.rows.by_hand import ASYNC_DRIVERS, DRIVERS, ROLE, SETTING, SYNC_DRIVERS, Country, Note, Place, raw
from tests.rows.test_postgresql_session import ALL_IDS, OWN, ids

every_driver = pytest.mark.parametrize("driver", DRIVERS)


def pid_of(connection: sa.Connection) -> int:
    """Return the pid of the server process, and leave the connection as it is: not handed out, no transaction."""
    setting: Any = connection.engine.dialect.partywall_guard.setting  # type: ignore[attr-defined]
    return int(setting.driver.backend_pid(connection._dbapi_connection.dbapi_connection))  # type: ignore[union-attr]


def used(engine: Engine) -> int:
    """Use the pool's connection for a tenant, and return which it was."""
    with tenant(1), engine.connect() as connection:
        ids(connection)
        return pid_of(connection)


@every_driver
@pytest.mark.parametrize("reset", ["rollback", "commit", None])
def test_a_connection_that_nobody_took_apart_is_used_again(place: Place, driver: str, reset: str | None) -> None:
    def work(engine: Engine) -> list[int]:
        with tenant(1), Session(engine) as session:
            ids(session)
            session.commit()
            ids(session)
            with session.begin_nested():
                ids(session)
        copied = engine.execution_options(isolation_level="SERIALIZABLE")
        return [used(engine), used(copied), used(engine), used(engine)]

    assert len(set(place.run(driver, work, pool_size=1, max_overflow=0, pool_reset_on_return=reset))) == 1


LEFTOVERS = {
    "a setting": "SET partywall.tenant = '2'",
    "a path": "SET search_path = pg_temp, public",
    "a temporary table": "CREATE TEMP TABLE notes AS SELECT 1 AS id, 1 AS tenant_id, 'theirs'::varchar AS text",
    "a cursor": "DECLARE theirs CURSOR WITH HOLD FOR SELECT 1",
    "an ear": "LISTEN theirs",
    "a lock": "SELECT pg_advisory_lock(4242)",
    "a statement": "PREPARE theirs AS SELECT 1",
}

WHAT_IS_LEFT = f"""
    SELECT coalesce({SETTING}, ''), current_setting('search_path'), to_regclass('pg_temp.notes') IS NULL,
        (SELECT count(*) FROM pg_cursors WHERE name = 'theirs'),
        (SELECT count(*) FROM pg_listening_channels()),
        (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()),
        (SELECT count(*) FROM pg_prepared_statements WHERE name = 'theirs')
"""
NOTHING = ("", '"$user", public', True, 0, 0, 0, 0)


def by_connection(engine: Engine, sql: str) -> None:
    with tenant(1), engine.connect() as connection:
        ids(connection)
        raw(connection, sql)
        connection.connection.commit()


def by_raw_connection(engine: Engine, sql: str) -> None:
    pooled = engine.raw_connection()
    raw(pooled, sql)
    pooled.commit()
    pooled.close()


def by_the_pool(engine: Engine, sql: str) -> None:
    pooled = engine.pool.connect()
    raw(pooled, sql)
    pooled.commit()
    pooled.close()


def by_a_copy_of_the_engine(engine: Engine, sql: str) -> None:
    by_raw_connection(engine.execution_options(isolation_level="SERIALIZABLE"), sql)


def by_a_listener(engine: Engine, sql: str) -> None:
    def begin(connection: sa.Connection) -> None:
        raw(connection, sql)

    sa.event.listen(engine, "begin", begin)
    with tenant(1), engine.connect() as connection:
        connection.execute(sa.select(Country.code))
        connection.commit()
    sa.event.remove(engine, "begin", begin)


def by_a_listener_of_connections(engine: Engine, sql: str) -> None:
    def connected(connection: sa.Connection) -> None:
        raw(connection, sql)
        connection.connection.commit()

    sa.event.listen(engine, "engine_connect", connected)
    with tenant(1), engine.connect() as connection:
        connection.execute(sa.select(Country.code))
    sa.event.remove(engine, "engine_connect", connected)


@every_driver
@pytest.mark.parametrize("kind", LEFTOVERS)
@pytest.mark.parametrize(
    "way",
    [
        by_connection,
        by_raw_connection,
        by_the_pool,
        by_a_copy_of_the_engine,
        by_a_listener,
        by_a_listener_of_connections,
    ],
)
def test_nothing_is_left_by_who_had_the_raw_connection(
    place: Place, driver: str, kind: str, way: Callable[[Engine, str], None]
) -> None:
    def work(engine: Engine) -> object:
        used(engine)
        way(engine, LEFTOVERS[kind])
        with engine.connect() as connection:
            return raw(connection, WHAT_IS_LEFT)

    assert place.run(driver, work, pool_size=1, max_overflow=0) == NOTHING


@every_driver
@pytest.mark.parametrize("kind", LEFTOVERS)
def test_these_are_left_where_nobody_closes_the_connection(place: Place, driver: str, kind: str) -> None:
    """Take the protection out: without it each of them stays."""

    def work(engine: Engine) -> object:
        for listener in list(engine.pool.dispatch.checkin):
            sa.event.remove(engine.pool, "checkin", listener)
        by_connection(engine, LEFTOVERS[kind])
        with engine.connect() as connection:
            return raw(connection, WHAT_IS_LEFT)

    assert place.run(driver, work, pool_size=1, max_overflow=0) != NOTHING


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
@pytest.mark.parametrize("reset", ["rollback", "commit", None])
@pytest.mark.parametrize("autocommit", [False, True])
def test_a_begin_at_the_driver_does_not_outlive_the_check_in(
    place: Place, driver: str, reset: str | None, autocommit: bool
) -> None:
    def work(engine: Engine) -> object:
        pooled = engine.raw_connection()
        if autocommit:
            pooled.autocommit = True  # type: ignore[attr-defined]
        raw(pooled, "BEGIN")
        raw(pooled, "SET LOCAL partywall.tenant = '1'")
        pooled.close()
        again = engine.raw_connection()
        try:
            return raw(again, f"SELECT count(*), coalesce({SETTING}, '') FROM notes")
        finally:
            again.close()

    assert place.run(driver, work, pool_size=1, max_overflow=0, pool_reset_on_return=reset) == (0, "")


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
@pytest.mark.parametrize("reset", ["rollback", "commit", None])
def test_a_connection_that_was_forgotten_keeps_no_tenant(place: Place, driver: str, reset: str | None) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1):
            connection = engine.connect()
            ids(connection)
        del connection
        gc.collect()
        pooled = engine.raw_connection()
        found: list[object] = [raw(pooled, f"SELECT count(*), coalesce({SETTING}, '') FROM notes")]
        pooled.close()
        with tenant(2), engine.connect() as connection:
            return [*found, ids(connection)]

    assert place.run(driver, work, pool_size=1, max_overflow=0, pool_reset_on_return=reset) == [(0, ""), OWN[2]]


@every_driver
def test_a_tenant_gets_a_new_connection_after_unscoped_work(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with unscoped(reason="a test"):
            with engine.connect() as connection:
                connection.execute(sa.text("CREATE TEMP TABLE countries AS SELECT 'xx'::varchar AS code"))
                connection.commit()
                first = pid_of(connection)
            with engine.connect() as connection:
                assert pid_of(connection) == first  # unscoped work goes on where it was
        with tenant(1), engine.connect() as connection:
            return connection.execute(sa.select(Country.code)).all(), ids(connection)

    found = place.run(driver, work, allow_unscoped=True, pool_size=1, max_overflow=0)
    assert found == ([], OWN[1])


@every_driver
def test_unscoped_work_is_noticed_where_the_transaction_has_begun_without(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            with unscoped(reason="a test"):
                connection.execute(sa.text("CREATE TEMP TABLE countries AS SELECT 'xx'::varchar AS code"))
                connection.commit()
        with tenant(1), engine.connect() as connection:
            return connection.execute(sa.select(Country.code)).all()

    assert place.run(driver, work, allow_unscoped=True, pool_size=1, max_overflow=0) == []


@every_driver
def test_a_pool_that_was_disposed_of_has_the_same_rules(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        used(engine)
        engine.dispose()
        by_connection(engine, LEFTOVERS["a setting"])
        with engine.connect() as connection:
            return raw(connection, WHAT_IS_LEFT)

    assert place.run(driver, work, pool_size=1, max_overflow=0) == NOTHING


@every_driver
def test_without_a_pool_it_is_the_same(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        by_connection(engine, LEFTOVERS["a setting"])
        with tenant(1), Session(engine) as session:
            return ids(session)

    assert place.run(driver, work, poolclass=sa.NullPool) == OWN[1]


@every_driver
def test_an_engine_that_asks_before_use_is_told_as_well(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id), Session(engine) as session:
                found.append(ids(session))
        with tenant(1), engine.connect() as connection:
            pid = pid_of(connection)
        place.terminate(pid)
        with tenant(2), Session(engine) as session:
            return [*found, ids(session)]

    options: dict[str, Any] = {"pool_size": 1, "max_overflow": 0, "pool_pre_ping": True}
    assert place.run(driver, work, **options) == [OWN[1], OWN[2], OWN[1], OWN[2]]


@every_driver
def test_an_invalidated_connection_is_replaced_and_told(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1), engine.connect() as connection:
            found: list[object] = [ids(connection)]
            connection.invalidate()
            connection.rollback()
            return [*found, ids(connection), used(engine) == used(engine)]

    assert place.run(driver, work) == [OWN[1], OWN[1], True]


def test_a_pool_that_shares_connections_is_refused(place: Place) -> None:
    for pool in (sa.StaticPool, sa.pool.SingletonThreadPool):
        with pytest.raises(SetupError, match=pool.__name__):
            place.tenancy().guard(sa.create_engine(place.url, poolclass=pool))


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_threads_that_share_a_pool_see_their_own_tenant(place: Place, driver: str) -> None:
    def work(engine: Engine) -> set[bool]:
        barrier = threading.Barrier(4)

        def one(number: int) -> bool:
            tenant_id = 1 + number % 2
            barrier.wait()
            right = True
            for _ in range(25):
                with tenant(tenant_id), Session(engine) as session:
                    right &= ids(session) == OWN[tenant_id]
                    session.rollback()
                    right &= ids(session) == OWN[tenant_id]
            return right

        with ThreadPoolExecutor(4) as threads:
            return set(threads.map(one, range(4)))

    assert place.run(driver, work, pool_size=2, max_overflow=0) == {True}


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
def test_tasks_that_share_a_pool_see_their_own_tenant(place: Place, driver: str) -> None:
    async def main() -> set[bool]:
        url = place.url.set(drivername=f"postgresql+{driver.removesuffix('_async')}", username=ROLE)
        engine = place.tenancy().guard(create_async_engine(url, pool_size=2, max_overflow=0))

        async def one(number: int) -> bool:
            tenant_id = 1 + number % 2
            right = True
            for _ in range(25):
                with tenant(tenant_id):
                    async with AsyncSession(engine) as session:
                        right &= list(await session.scalars(ALL_IDS)) == OWN[tenant_id]
                        await asyncio.sleep(0)
                        await session.commit()
                        right &= [each async for each in await session.stream_scalars(ALL_IDS)] == OWN[tenant_id]
            return right

        try:
            return set(await asyncio.gather(*map(one, range(6))))
        finally:
            await engine.dispose()

    assert asyncio.run(main()) == {True}


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
def test_a_task_that_is_cancelled_leaves_no_tenant(place: Place, driver: str) -> None:
    async def main() -> list[int]:
        url = place.url.set(drivername=f"postgresql+{driver.removesuffix('_async')}", username=ROLE)
        engine = place.tenancy().guard(create_async_engine(url, pool_size=1, max_overflow=0))

        async def slow() -> None:
            with tenant(1):
                async with AsyncSession(engine) as session:
                    await session.scalars(ALL_IDS)
                    connection = await session.connection()
                    pooled = await connection.get_raw_connection()
                    await pooled.driver_connection.execute("SELECT pg_sleep(5)")  # type: ignore[union-attr]

        task = asyncio.create_task(slow())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        try:
            with tenant(2):
                async with AsyncSession(engine) as session:
                    return list(await session.scalars(sa.select(Note.tenant_id).distinct()))
        finally:
            await engine.dispose()

    assert asyncio.run(main()) == [2]


@pytest.mark.parametrize("driver", ASYNC_DRIVERS)
def test_the_raw_connection_of_an_async_one_is_closed_too(place: Place, driver: str) -> None:
    async def main() -> object:
        url = place.url.set(drivername=f"postgresql+{driver.removesuffix('_async')}", username=ROLE)
        engine = place.tenancy().guard(create_async_engine(url, pool_size=1, max_overflow=0))
        try:
            async with engine.connect() as connection:
                pooled: Any = await connection.get_raw_connection()
                await pooled.driver_connection.execute("SET partywall.tenant = '2'")
                if driver == "psycopg_async":
                    await pooled.driver_connection.commit()
            async with engine.connect() as connection:
                return await connection.run_sync(lambda sync: raw(sync, WHAT_IS_LEFT))
        finally:
            await engine.dispose()

    assert asyncio.run(main()) == NOTHING
