"""The same walls through asyncio, and through every driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, select
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.pool import AsyncAdaptedQueuePool, StaticPool

from partywall import (
    NoTenantError,
    RefusedStatementError,
    SetupError,
    TenantChangedError,
    TenantIdError,
    current_tenant,
    tenant,
    unscoped,
)
from tests import models
from tests.models import Country, Customer, Invoice, Tenant
from tests.recorder import Recorder
from tests.world import World

OWNERS = select(Invoice.tenant_id).distinct()

AsyncTest = Callable[[AsyncEngine], Coroutine[Any, Any, None]]


def with_drivers(*drivers: tuple[str, str]) -> pytest.MarkDecorator:
    """Run a test with each of these drivers, on the world of its database."""
    return pytest.mark.parametrize(("new_database", "driver"), drivers, indirect=True, scope="session")


each_async_driver = with_drivers(("sqlite", "aiosqlite"), ("postgresql", "asyncpg"), ("postgresql", "psycopg"))
each_sync_driver = with_drivers(("sqlite", "pysqlite"), ("postgresql", "psycopg"), ("postgresql", "psycopg2"))


@asynccontextmanager
async def opened(url: URL, *, allow_unscoped: bool = False, **options: Any) -> AsyncIterator[AsyncEngine]:
    engine = models.tenancy().guard(create_async_engine(url, **options), allow_unscoped=allow_unscoped)
    try:
        yield engine
    finally:
        await engine.dispose()


@pytest.fixture(scope="session")
def driver(request: pytest.FixtureRequest) -> str:
    """Return the name of the driver under test."""
    name: str = request.param
    return name


@pytest.fixture
def url(world: World, driver: str) -> URL:
    """Return the URL of the world's database for the driver under test."""
    return world.url.set(drivername=f"{world.name}+{driver}")


@pytest.fixture
def run(url: URL) -> Callable[..., None]:
    """Return what runs a test with a guarded engine, in an event loop of its own."""

    def run_test(test: AsyncTest, **options: Any) -> None:
        async def main() -> None:
            async with opened(url, **options) as engine:
                await test(engine)
            assert current_tenant() is None

        asyncio.run(main())

    return run_test


async def owners(runner: Any) -> list[int]:
    return sorted((await runner.scalars(OWNERS)).all())


# Reads and loads.


@each_async_driver
def test_reads_are_scoped(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id):
                async with engine.connect() as connection:
                    assert await owners(connection) == [tenant_id]
                async with AsyncSession(engine) as session:
                    assert await owners(session) == [tenant_id]
                    assert {each.tenant_id for each in await session.scalars(select(Customer))} == {tenant_id}
                    assert await session.get(Customer, (3 - tenant_id) * 100 + 1) is None

    run(test)


@each_async_driver
@pytest.mark.parametrize("load", [selectinload, joinedload])
def test_eager_loads_are_scoped(run: Callable[..., None], load: Callable[..., Any]) -> None:
    async def test(engine: AsyncEngine) -> None:
        statement = select(Customer).options(load(Customer.invoices)).order_by(Customer.id)
        for tenant_id in (1, 2):
            with tenant(tenant_id):
                async with AsyncSession(engine) as session:
                    customers = (await session.scalars(statement)).unique().all()
                    assert [customer.id for customer in customers] == [tenant_id * 100 + n for n in (1, 2, 3, 4)]
                    loaded = {invoice.tenant_id for customer in customers for invoice in customer.invoices}
                    assert loaded == {tenant_id}

    run(test)


@each_async_driver
def test_lazy_loads_are_scoped(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            with tenant(1):
                customer = await session.get_one(Customer, 101)
            invoices = await session.run_sync(lambda _session: list(customer.invoices))
            assert {invoice.tenant_id for invoice in invoices} == {1}
            await session.commit()
            await session.refresh(customer, ["name", "invoices"])
            assert {invoice.tenant_id for invoice in customer.invoices} == {1}
            with tenant(2), pytest.raises(TenantChangedError):
                await session.refresh(customer)

    run(test)


@each_async_driver
def test_streams_are_scoped_and_read_to_their_end_after_the_block(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        statement = select(Customer).options(selectinload(Customer.invoices)).order_by(Customer.id)
        async with AsyncSession(engine) as session:
            with tenant(2):
                stream = await session.stream_scalars(statement.execution_options(yield_per=2))
                seen = [await anext(stream)]
            seen += [customer async for customer in stream]
            assert [customer.id for customer in seen] == [201, 202, 203, 204]
            assert {invoice.tenant_id for customer in seen for invoice in customer.invoices} == {2}
        with tenant(1):
            async with engine.connect() as connection, connection.stream(select(Invoice.tenant_id)) as rows:
                assert {row.tenant_id async for row in rows} == {1}

    run(test)


@each_async_driver
def test_a_tenant_of_the_wrong_type_is_refused(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        with tenant("1"), Recorder(engine.sync_engine) as sent:
            async with AsyncSession(engine) as session:
                with pytest.raises(TenantIdError):
                    await owners(session)
        assert sent.statements == []

    run(test)


@each_async_driver
def test_no_tenant_is_refused_and_shared_tables_are_read(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session, engine.connect() as connection:
            assert len((await session.scalars(select(Country))).all()) == 2
            await connection.execute(select(Country.code))
            with Recorder(engine.sync_engine) as sent:
                attempts: list[Callable[[], Any]] = [
                    lambda: owners(session),
                    lambda: owners(connection),
                    lambda: session.get(Customer, 101),
                    lambda: session.stream(select(Customer)),
                    lambda: session.run_sync(lambda inner: inner.query(Customer).all()),
                ]
                for attempt in attempts:
                    with pytest.raises(NoTenantError):
                        await attempt()
            assert sent.statements == []

    run(test)


@each_async_driver
def test_a_session_looks_up_the_tenant_and_enters_it(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            tenant_id = await session.scalar(select(Tenant.id).where(Tenant.slug == "tenant2"))
            assert tenant_id == 2
            with pytest.raises(NoTenantError):
                await session.execute(select(Tenant))
            with tenant(tenant_id):
                assert await owners(session) == [2]
                assert (await session.get_one(Tenant, 2)).plan == "secret plan"
                assert await session.get(Tenant, 1) is None

    run(test)


@each_async_driver
def test_text_is_refused(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            with tenant(1), Recorder(engine.sync_engine) as sent, pytest.raises(RefusedStatementError):
                await connection.exec_driver_sql("SELECT * FROM invoices, pragma_table_info('invoices')")
            assert sent.statements == []

    run(test)


# Many tenants at once.


async def work(engine: AsyncEngine, tenant_id: int) -> set[int]:
    """Read for one tenant, giving way to the others between any two steps."""
    seen: set[int] = set()
    with tenant(tenant_id):
        for _turn in range(3):
            await asyncio.sleep(0)
            async with AsyncSession(engine) as session:
                seen.update(await owners(session))
                await asyncio.sleep(0.001)
                statement = select(Customer).options(selectinload(Customer.invoices))
                customers = (await session.scalars(statement)).all()
                await asyncio.sleep(0)
                seen.update(customer.tenant_id for customer in customers)
                seen.update(invoice.tenant_id for customer in customers for invoice in customer.invoices)
                await session.commit()
                await session.refresh(customers[0])
                seen.add(customers[0].tenant_id)
        assert current_tenant() == tenant_id
    return seen


@each_async_driver
@pytest.mark.parametrize("size", [1, 4])
def test_tasks_of_many_tenants_share_an_engine(run: Callable[..., None], size: int) -> None:
    async def test(engine: AsyncEngine) -> None:
        tenants = (1, 2, 3) * 4
        assert await asyncio.gather(*(work(engine, each) for each in tenants)) == [{each} for each in tenants]

    run(test, poolclass=AsyncAdaptedQueuePool, pool_size=size, max_overflow=0)


@each_async_driver
def test_a_task_without_a_tenant_among_tasks_with_one_is_refused(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async def without() -> set[int]:
            await asyncio.sleep(0.001)
            async with AsyncSession(engine) as session:
                return set(await owners(session))

        outcomes = await asyncio.gather(work(engine, 1), without(), work(engine, 2), return_exceptions=True)
        assert outcomes[0] == {1}
        assert isinstance(outcomes[1], NoTenantError)
        assert outcomes[2] == {2}

    run(test)


@each_async_driver
def test_a_session_that_wanders_into_a_task_of_another_tenant_is_refused(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async with AsyncSession(engine) as session:
            with tenant(1):
                customer = await session.get_one(Customer, 101)

            async def of_another(attempt: Callable[[], Any]) -> None:
                with tenant(2):
                    await attempt()

            attempts: list[Callable[[], Any]] = [
                lambda: owners(session),
                lambda: session.get(Customer, 101),
                lambda: session.refresh(customer),
                lambda: session.stream(select(Customer)),
            ]
            with Recorder(engine.sync_engine) as sent:
                for attempt in attempts:
                    with pytest.raises(TenantChangedError):
                        await asyncio.create_task(of_another(attempt))
            assert sent.statements == []
            assert await asyncio.create_task(owners(session)) == [1]

    run(test)


def test_sessions_on_one_driver_connection_keep_their_tenants() -> None:
    async def main() -> None:
        rows = models.rows()
        engine = create_async_engine("sqlite+aiosqlite://", poolclass=StaticPool)
        metadata = models.metadata_without_foreign_keys()
        async with engine.begin() as connection:
            await connection.run_sync(metadata.create_all)
            for table in metadata.sorted_tables:
                if rows[table.name]:
                    await connection.execute(table.insert(), rows[table.name])
        models.tenancy().guard(engine)
        first, second = AsyncSession(engine), AsyncSession(engine)
        for _turn in range(3):
            with tenant(1):
                assert await owners(first) == [1]
            with tenant(2):
                assert await owners(second) == [2]
                with pytest.raises(TenantChangedError):
                    await owners(first)
            assert (await owners(first), await owners(second)) == ([1], [2])
        await first.close()
        await second.close()
        await engine.dispose()

    asyncio.run(main())


@each_async_driver
def test_a_task_that_is_cancelled_leaves_its_connection_to_another_tenant(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        reading = asyncio.Event()

        async def endless() -> None:
            with tenant(1):
                async with AsyncSession(engine) as session:
                    await owners(session)
                    reading.set()
                    await asyncio.sleep(60)

        task = asyncio.create_task(endless())
        await reading.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert current_tenant() is None
        with tenant(2):
            async with AsyncSession(engine) as session:
                assert await owners(session) == [2]

    run(test, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)


# Sessions that were given their tenant, and unscoped work.


@each_async_driver
def test_a_session_given_its_tenant_needs_no_scope(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        tenancy = models.tenancy()
        async with tenancy.session(engine, tenant=1) as first, tenancy.session(engine, tenant=2) as second:
            assert isinstance(first, AsyncSession)
            for _turn in range(2):
                assert list(await asyncio.gather(owners(first), owners(second))) == [[1], [2]]
                await first.close()
            with tenant(2), Recorder(engine.sync_engine) as sent:
                for _attempt in range(2):
                    with pytest.raises(TenantChangedError):
                        await owners(first)
            assert sent.statements == []
            await first.rollback()  # it has begun a transaction in the wrong scope
            assert await owners(first) == [1]
        with pytest.raises(TenantIdError):
            tenancy.session(engine, tenant="1")

    run(test)


@each_async_driver
def test_a_session_of_an_engine_that_is_not_guarded_is_not_given_a_tenant(url: URL) -> None:
    with pytest.raises(SetupError):
        models.tenancy().session(create_async_engine(url), tenant=1)


@each_async_driver
def test_every_way_to_make_a_session_pins_it(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        scoped = async_scoped_session(async_sessionmaker(engine), asyncio.current_task)
        for make in (async_sessionmaker(engine), scoped):
            session = make()
            with tenant(1):
                await session.get_one(Customer, 101)
            assert await owners(session) == [1]
            with tenant(2), pytest.raises(TenantChangedError):
                await session.get(Customer, 101)
            await session.close()
        await scoped.remove()
        copied = engine.execution_options(isolation_level="AUTOCOMMIT")
        with tenant(2):
            async with AsyncSession(copied) as session:
                assert await owners(session) == [2]

    run(test)


@each_async_driver
def test_unscoped_and_tenants_by_turns(run: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    async def test(engine: AsyncEngine) -> None:
        for scope, expected in [
            (tenant(1), [1]),
            (unscoped(reason="test"), [1, 2, 3]),
            (tenant(2), [2]),
            (unscoped(reason="test"), [1, 2, 3]),
        ]:
            with scope:
                async with AsyncSession(engine) as session:
                    assert await owners(session) == expected

    run(test, allow_unscoped=True)

    audit = [record for record in caplog.records if record.name == "partywall.audit"]
    assert len(audit) == 2


@each_async_driver
def test_unscoped_on_an_engine_that_was_not_made_for_it_sends_nothing(run: Callable[..., None]) -> None:
    async def test(engine: AsyncEngine) -> None:
        async with engine.connect() as connection:
            await connection.execute(select(Country.code))
            await connection.rollback()
            with unscoped(reason="test"), Recorder(engine.sync_engine) as sent, pytest.raises(SetupError):
                await owners(connection)
            assert sent.statements == []

    run(test)


# The synchronous drivers.


@each_sync_driver
@pytest.mark.parametrize("stream", [False, True])
def test_every_synchronous_driver_is_scoped(url: URL, stream: bool) -> None:
    engine = models.tenancy().guard(create_engine(url), allow_unscoped=True)
    opened_engine = engine.execution_options(stream_results=stream)
    with Session(opened_engine) as session:
        assert session.scalar(select(Tenant.id).where(Tenant.slug == "tenant2")) == 2
        with Recorder(engine) as sent, pytest.raises(NoTenantError):
            session.execute(OWNERS)
        assert sent.statements == []
    for scope, expected in [(tenant(1), [1]), (tenant(2), [2]), (unscoped(reason="test"), [1, 2, 3]), (tenant(1), [1])]:
        with scope, Session(opened_engine) as session:
            assert sorted(session.scalars(OWNERS)) == expected
            if len(expected) == 1:
                customers = session.scalars(select(Customer).options(selectinload(Customer.invoices))).all()
                assert {customer.tenant_id for customer in customers} == set(expected)
                assert {invoice.tenant_id for each in customers for invoice in each.invoices} == set(expected)
    with tenant("1"), Session(opened_engine) as session, Recorder(engine) as sent:
        with pytest.raises(TenantIdError):
            session.execute(OWNERS)
    assert sent.statements == []
    engine.dispose()
