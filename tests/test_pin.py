"""One pin: a transaction and the Session it belongs to take one scope, and keep it to their end."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, cast

import pytest
from sqlalchemy import (
    ForeignKey,
    Table,
    column,
    create_engine,
    exists,
    func,
    insert,
    lambda_stmt,
    literal,
    literal_column,
    select,
    table,
    union_all,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    load_only,
    mapped_column,
    scoped_session,
    selectinload,
    sessionmaker,
)
from sqlalchemy.orm.util import identity_key
from sqlalchemy.pool import QueuePool, SingletonThreadPool, StaticPool

from partywall import (
    ForeignTenantError,
    NoTenantError,
    RefusedStatementError,
    SetupError,
    Tenancy,
    TenantChangedError,
    TenantIdError,
    tenant,
    unscoped,
)
from partywall.guard import guard_of
from tests import models
from tests.models import Country, Customer, Invoice, Tenant
from tests.recorder import Recorder
from tests.world import World

OWNERS = select(Invoice.tenant_id).distinct()
SHARED = select(Country.code)


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    """Return an engine that always has one tenant in scope."""
    guarded = models.tenancy().guard(create_engine(world.url))
    yield guarded
    guarded.dispose()


def all_tenants() -> AbstractContextManager[Any]:
    return unscoped(reason="test")


@contextmanager
def nothing_is_sent(*engines: Engine) -> Iterator[None]:
    recorders = [Recorder(engine) for engine in engines]
    for recorder in recorders:
        recorder.__enter__()
    try:
        yield
    finally:
        for recorder in recorders:
            recorder.__exit__(None, None, None)
    assert [recorder.statements for recorder in recorders] == [[] for _engine in engines]


@contextmanager
def refused(*engines: Engine, held: str, met: str, where: str) -> Iterator[None]:
    """Check that a changed tenant is noticed, and that nothing is sent."""
    with nothing_is_sent(*engines), pytest.raises(TenantChangedError) as changed:
        yield
    assert (changed.value.held, changed.value.met, changed.value.where) == (held, met, where)


def owners(runner: Connection | Session | scoped_session[Session]) -> list[int]:
    return sorted(runner.scalars(OWNERS))


def test_the_recorder_sees_all_that_reaches_the_drivers_cursor(world: World) -> None:
    """What the tests call "nothing is sent" is measured here by the driver's own cursor."""
    if world.name != "sqlite":
        pytest.skip("needs a driver whose cursor can be replaced")
    executed: list[str] = []

    class CountingCursor(sqlite3.Cursor):
        def execute(self, sql: str, *args: Any) -> Any:
            executed.append(sql)
            return super().execute(sql, *args)

    class CountingConnection(sqlite3.Connection):
        def cursor(self, factory: Any = CountingCursor) -> Any:
            return super().cursor(factory)

    plain = create_engine(world.url, connect_args={"factory": CountingConnection})
    guarded = models.tenancy().guard(plain)
    with tenant(1), Session(guarded) as session:
        session.execute(SHARED).all()
        executed.clear()
        with Recorder(guarded) as sent:
            owners(session)
            with tenant(2), pytest.raises(TenantChangedError):
                owners(session)
        assert sent.statements == executed
        assert len(executed) == 1
    guarded.dispose()


# Connections.


@contextmanager
def begun(connection: Connection) -> Iterator[Any]:
    with connection.begin() as transaction:
        yield transaction


@contextmanager
def autobegun(connection: Connection) -> Iterator[Any]:
    connection.execute(SHARED).all()
    yield connection.get_transaction()
    if connection.in_transaction():
        connection.rollback()


BEGINNINGS: list[Callable[[Connection], AbstractContextManager[Any]]] = [begun, autobegun]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_transaction_keeps_the_tenant_it_began_with(engine: Engine, begin: Any) -> None:
    with engine.connect() as connection:
        with tenant(1), begin(connection):
            assert owners(connection) == [1]
            with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
                connection.execute(OWNERS)
            assert owners(connection) == [1]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_transaction_refuses_another_tenant_for_shared_tables_too(engine: Engine, begin: Any) -> None:
    with engine.connect() as connection, tenant(1), begin(connection):
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.execute(SHARED)


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_transaction_that_outlives_the_block_runs_as_its_tenant(engine: Engine, begin: Any) -> None:
    with engine.connect() as connection:
        with tenant(1):
            transaction = begin(connection)
            transaction.__enter__()
        assert owners(connection) == [1]
        transaction.__exit__(None, None, None)
        with nothing_is_sent(engine), pytest.raises(NoTenantError):
            connection.execute(OWNERS)


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_new_transaction_may_take_another_tenant(engine: Engine, begin: Any) -> None:
    with engine.connect() as connection:
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id), begin(connection) as transaction:
                assert owners(connection) == [tenant_id]
                transaction.rollback()
        with tenant(2), begin(connection) as transaction:
            transaction.commit()
        with tenant(1), begin(connection):
            assert owners(connection) == [1]


@pytest.mark.parametrize("begin", BEGINNINGS)
def test_a_transaction_that_began_with_no_tenant_takes_one_and_keeps_it(engine: Engine, begin: Any) -> None:
    with engine.connect() as connection, begin(connection):
        connection.execute(SHARED).all()
        with nothing_is_sent(engine), pytest.raises(NoTenantError):
            connection.execute(OWNERS)
        with tenant(1):
            assert owners(connection) == [1]
        assert owners(connection) == [1]
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.execute(OWNERS)


def test_opening_a_connection_takes_no_tenant(engine: Engine) -> None:
    with tenant(1):
        connection = engine.connect()
    with connection, tenant(2):
        assert owners(connection) == [2]


def test_a_failed_statement_takes_no_tenant_from_the_transaction(engine: Engine) -> None:
    with engine.connect() as connection, tenant(1), connection.begin():
        with pytest.raises(RefusedStatementError):
            connection.execute(select(func.pg_sleep(0)))
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.execute(OWNERS)


@pytest.mark.parametrize("end", ["rollback", "commit"])
def test_a_savepoint_neither_takes_nor_ends_the_tenant(engine: Engine, end: str) -> None:
    with engine.connect() as connection, tenant(1), connection.begin():
        savepoint = connection.begin_nested()
        assert owners(connection) == [1]
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.execute(OWNERS)
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.begin_nested()
        getattr(savepoint, end)()
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.execute(OWNERS)
        assert owners(connection) == [1]


def test_a_tenant_taken_inside_a_savepoint_stays_after_its_rollback(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        savepoint = connection.begin_nested()
        with tenant(1):
            assert owners(connection) == [1]
        savepoint.rollback()
        assert owners(connection) == [1]
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            connection.execute(OWNERS)


def test_two_connections_of_two_tenants_do_not_meet(engine: Engine) -> None:
    with engine.connect() as first, engine.connect() as second:
        for _turn in range(3):
            with tenant(1):
                assert owners(first) == [1]
            with tenant(2):
                assert owners(second) == [2]
        assert (owners(first), owners(second)) == ([1], [2])


def test_a_connection_returned_to_the_pool_takes_no_tenant_with_it(world: World) -> None:
    engine = models.tenancy().guard(create_engine(world.url, pool_size=1, max_overflow=0, poolclass=QueuePool))
    with tenant(1), engine.connect() as connection:
        first = connection.connection.driver_connection
        assert owners(connection) == [1]
    with engine.connect() as connection:
        assert connection.connection.driver_connection is first
        with nothing_is_sent(engine), pytest.raises(NoTenantError):
            connection.execute(OWNERS)
        with tenant(2):
            assert owners(connection) == [2]
    engine.dispose()


def test_an_equal_tenant_is_the_same_tenant(engine: Engine) -> None:
    with tenant(1), engine.connect() as connection, Session(engine) as session:
        assert owners(connection) == owners(session) == [1]
        with tenant(1):
            assert owners(connection) == owners(session) == [1]


# Sessions: everything that reads through one that another tenant holds.


def loaded(session: Session) -> Customer:
    customer = session.get_one(Customer, 101)
    _ = customer.name
    return customer


MEETINGS: dict[str, Callable[[Session, Customer], Any]] = {
    "statement": lambda session, _customer: session.execute(OWNERS),
    "shared_table": lambda session, _customer: session.execute(SHARED),
    "scalars": lambda session, _customer: session.scalars(select(Customer)),
    "get_from_identity_map": lambda session, _customer: session.get(Customer, 101),
    "get_of_nothing_in_the_identity_map": lambda session, _customer: session.get(Customer, 102),
    "get_populating_existing": lambda session, _customer: session.get(Customer, 101, populate_existing=True),
    "legacy_query_get": lambda session, _customer: session.query(Customer).get(101),
    "legacy_query": lambda session, _customer: session.query(Customer).all(),
    "lazy_collection": lambda _session, customer: customer.invoices,
    "lazy_many_to_one_from_the_database": lambda _session, customer: customer.country,
    "lazy_many_to_many": lambda _session, customer: customer.tags,
    "association_proxy": lambda _session, customer: list(customer.users),
    "deferred_column": lambda _session, customer: customer.remark,
    "dynamic_relationship": lambda _session, customer: customer.invoices_dynamic.all(),
    "write_only_relationship": lambda session, customer: session.scalars(customer.invoices_later.select()),
    "refresh": lambda session, customer: session.refresh(customer),
    "refresh_of_one_attribute": lambda session, customer: session.refresh(customer, ["name"]),
    "merge_of_a_known_object": lambda session, _customer: session.merge(Customer(id=101)),
    "identity_map": lambda session, _customer: session.identity_map[identity_key(Customer, 101)],
    "savepoint": lambda session, _customer: session.begin_nested().session.connection(),
    "bulk_fetch": lambda session, _customer: session.execute(select(Customer).options(selectinload(Customer.invoices))),
}


@pytest.mark.filterwarnings("ignore:The Query.get")
@pytest.mark.parametrize("name", MEETINGS)
def test_a_pinned_session_refuses_another_tenant(engine: Engine, name: str) -> None:
    with Session(engine) as session:
        with tenant(1):
            customer = loaded(session)
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            MEETINGS[name](session, customer)


@pytest.mark.filterwarnings("ignore:The Query.get")
@pytest.mark.parametrize("name", MEETINGS)
def test_a_pinned_session_refuses_another_tenant_in_a_later_transaction(engine: Engine, name: str) -> None:
    with Session(engine, expire_on_commit=False) as session:
        with tenant(1):
            customer = loaded(session)
            session.commit()
        with tenant(2), nothing_is_sent(engine):
            for _attempt in range(2):  # the first may have begun a transaction
                with pytest.raises(TenantChangedError) as changed:
                    MEETINGS[name](session, customer)
                assert (changed.value.held, changed.value.met) == ("tenant 1", "tenant 2")
        session.rollback()
        assert owners(session) == [1]


@pytest.mark.filterwarnings("ignore:The Query.get")
@pytest.mark.parametrize("name", MEETINGS)
def test_a_pinned_session_runs_as_its_tenant_after_the_block(engine: Engine, name: str) -> None:
    """The rows are such that any of these would show the other tenants' rows if it were not scoped."""
    outcomes: list[str] = []
    for in_block in (True, False):
        with Session(engine) as session:
            with tenant(1):
                customer = loaded(session)
                if in_block:
                    outcomes.append(plain(MEETINGS[name](session, customer)))
            if not in_block:
                outcomes.append(plain(MEETINGS[name](session, customer)))
    assert outcomes[0] == outcomes[1]


def plain(outcome: Any) -> str:
    if hasattr(outcome, "all") and not isinstance(outcome, list):
        outcome = outcome.all()
    if isinstance(outcome, list):
        return str(sorted(map(plain, outcome)))
    return str(getattr(outcome, "id", type(outcome).__name__ if not isinstance(outcome, tuple) else outcome))


def test_a_pinned_session_refuses_another_tenant_for_an_expired_attribute(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(1):
            customer = loaded(session)
            session.commit()  # expires it
        with tenant(2), nothing_is_sent(engine), pytest.raises(TenantChangedError):
            _ = customer.name


def test_a_many_to_one_in_the_identity_map_is_not_served_to_another_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(1):
            customer = loaded(session)
            invoice = session.scalars(select(Invoice).where(Invoice.customer_id == 101)).first()
        assert invoice is not None
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            _ = invoice.customer
        assert invoice.customer is customer


def test_a_pinned_session_runs_as_its_tenant_after_the_block_and_a_commit(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(1):
            customer = loaded(session)
        for end in (session.commit, session.rollback):
            end()
            assert session.get(Customer, 101) is customer
            assert customer.name == "customer 1"
            assert {invoice.tenant_id for invoice in customer.invoices} == {1}
            assert owners(session) == [1]
            assert session.get(Customer, 201) is None


def test_a_pinned_session_may_be_ended_in_any_scope(engine: Engine) -> None:
    for end in (Session.commit, Session.rollback, Session.close):
        with Session(engine) as session:
            with tenant(1):
                loaded(session)
            with tenant(2):
                end(session)


def test_a_session_with_no_tenant_reads_shared_tables_then_takes_a_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        germany = session.get_one(Country, "de")
        with nothing_is_sent(engine), pytest.raises(NoTenantError):
            session.execute(OWNERS)
        with tenant(1):
            assert {customer.tenant_id for customer in germany.customers} == {1}
            assert owners(session) == [1]
        assert owners(session) == [1]
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            session.execute(OWNERS)


def test_the_identity_map_pins_a_session_that_had_no_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        germany = session.get_one(Country, "de")
        with tenant(1), nothing_is_sent(engine):
            assert session.get(Country, "de") is germany
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            session.execute(OWNERS)


@pytest.mark.parametrize("end", [Session.close, Session.reset])
def test_a_closed_session_may_take_another_tenant(engine: Engine, end: Callable[[Session], None]) -> None:
    session = Session(engine)
    for tenant_id in (1, 2, 1):
        with tenant(tenant_id):
            assert owners(session) == [tenant_id]
            assert session.get(Customer, 101 if tenant_id != 1 else 201) is None
        end(session)
    with nothing_is_sent(engine), pytest.raises(NoTenantError):
        session.execute(OWNERS)
    session.close()


def test_a_session_without_objects_may_take_another_tenant_in_its_next_transaction(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(1):
            loaded(session)
        session.expunge_all()
        with tenant(2), nothing_is_sent(engine), pytest.raises(TenantChangedError):
            session.execute(OWNERS)  # the transaction is still the first tenant's
        session.commit()
        with tenant(2):
            assert owners(session) == [2]


def test_an_object_loaded_after_expunge_all_is_not_served_to_another_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(1):
            loaded(session)
            session.expunge_all()
            kept = loaded(session)
        with tenant(2), pytest.raises(TenantChangedError):
            session.get(Customer, 101)
        session.commit()
        with tenant(2), pytest.raises(TenantChangedError):
            session.get(Customer, 101)
        assert kept.id == 101


def test_an_attached_object_of_another_tenant_is_not_served(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        foreign = loaded(session)
    with tenant(2), Session(engine) as session:
        with pytest.raises(ForeignTenantError, match=r"customers\.tenant_id"):
            session.add(foreign)
        assert session.get(Customer, 101) is None


def test_an_object_attached_with_no_tenant_is_found_out_when_the_session_takes_one(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        foreign = loaded(session)
    with Session(engine) as session:
        session.add(foreign)
        with tenant(2):
            with pytest.raises((ForeignTenantError, TenantChangedError)):
                session.scalars(select(Customer)).all()
            with pytest.raises((ForeignTenantError, TenantChangedError)):
                session.get(Customer, 101)


class OwnSession(Session):
    """A subclass that was there before the engine was guarded."""


@pytest.mark.parametrize("make", [Session, OwnSession, sessionmaker()])
def test_every_way_to_make_a_session_pins_it(engine: Engine, make: Callable[..., Session]) -> None:
    with make(bind=engine) as session:
        with tenant(1):
            loaded(session)
        assert owners(session) == [1]
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            session.get(Customer, 101)


def test_sessions_of_one_sessionmaker_take_tenants_of_their_own(engine: Engine) -> None:
    maker = sessionmaker(engine)
    with tenant(1):
        first = maker()
        assert owners(first) == [1]
    with tenant(2), maker.begin() as second:
        assert owners(second) == [2]
        with refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            first.execute(OWNERS)
    assert owners(first) == [1]
    first.close()


def test_a_session_made_in_one_scope_takes_the_one_it_is_first_used_in(engine: Engine) -> None:
    with tenant(1):
        session = Session(engine)
    with tenant(2):
        assert owners(session) == [2]
    session.close()


def test_a_scoped_session_keeps_its_tenant_until_it_is_removed(engine: Engine) -> None:
    registered = scoped_session(sessionmaker(engine))
    with tenant(1):
        assert owners(registered) == [1]
    with tenant(2):
        with refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            registered.execute(OWNERS)
        registered.remove()
        assert owners(registered) == [2]
    registered.remove()


# Several Sessions, several engines.


@pytest.mark.parametrize("pool", [StaticPool, SingletonThreadPool])
def test_sessions_on_one_driver_connection_keep_their_tenants(pool: Any) -> None:
    rows = models.rows()
    engine = create_engine("sqlite://", poolclass=pool)
    metadata = models.metadata_without_foreign_keys()
    with engine.begin() as connection:
        metadata.create_all(connection)
        for each in metadata.sorted_tables:
            if rows[each.name]:
                connection.execute(insert(each), rows[each.name])
    models.tenancy().guard(engine)

    interleave(engine)
    engine.dispose()


def test_sessions_on_connections_of_their_own_keep_their_tenants(engine: Engine) -> None:
    assert isinstance(engine.pool, QueuePool)
    interleave(engine)


def interleave(engine: Engine) -> None:
    first, second = Session(engine), Session(engine)
    for _turn in range(3):
        with tenant(1):
            assert owners(first) == [1]
            assert loaded(first).tenant_id == 1
        with tenant(2):
            assert owners(second) == [2]
            assert second.get(Customer, 101) is None
            with refused(engine, held="tenant 1", met="tenant 2", where="Session"):
                first.get(Customer, 101)
        assert (owners(first), owners(second)) == ([1], [2])
        first.commit()
    first.close()
    second.close()


def test_a_session_on_a_connection_shares_its_pin(engine: Engine) -> None:
    with engine.connect() as connection:
        with tenant(1):
            assert owners(connection) == [1]
            session = Session(connection)
            assert loaded(session).tenant_id == 1
        assert owners(session) == owners(connection) == [1]
        with tenant(2):
            for runner in (session, connection):
                with nothing_is_sent(engine), pytest.raises(TenantChangedError):
                    runner.execute(OWNERS)
            with nothing_is_sent(engine), pytest.raises(TenantChangedError):
                session.get(Customer, 101)
        session.close()


def test_a_session_on_a_connection_of_another_tenant_is_refused(engine: Engine) -> None:
    with engine.connect() as connection:
        with tenant(1):
            connection.begin()
        with Session(connection) as session, tenant(2), nothing_is_sent(engine):
            for _attempt in range(2):
                with pytest.raises(TenantChangedError):
                    session.execute(OWNERS)
                with pytest.raises(TenantChangedError):
                    session.get(Customer, 101)


def test_a_session_on_a_connection_gives_it_its_tenant(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin(), Session(connection) as session:
        session.execute(SHARED).all()
        with tenant(1):
            loaded(session)
        assert owners(connection) == [1]
        with tenant(2), nothing_is_sent(engine), pytest.raises(TenantChangedError):
            connection.execute(OWNERS)


def test_two_sessions_on_one_connection_take_one_tenant(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        first, second = Session(connection), Session(connection)
        first.execute(SHARED).all()
        second.execute(SHARED).all()
        with tenant(1):
            kept = loaded(first)
        with tenant(2), pytest.raises(TenantChangedError):
            first.get(Customer, 101)
        assert kept.id == 101
        first.close()
        second.close()


def test_a_session_of_another_tenant_does_not_change_the_tenant_of_a_connection(engine: Engine) -> None:
    with Session(engine) as second, engine.connect() as connection:
        with tenant(2):
            assert owners(second) == [2]
            second.commit()
        second.bind = connection
        with tenant(1):
            connection.begin()
            first = Session(connection)
            assert owners(first) == [1]
        with pytest.raises(TenantChangedError):
            second.execute(OWNERS)
        seen = []
        for runner in (first, connection):
            with contextlib.suppress(TenantChangedError):  # to refuse the first one, too, is right
                seen += owners(runner)
        assert set(seen) <= {1}
        first.close()


def test_a_session_of_two_engines_takes_one_tenant(world: World, engine: Engine) -> None:
    other = models.tenancy().guard(create_engine(world.url))
    with Session(binds={Invoice: engine, Customer: other, Country: other}) as session:
        with tenant(1):
            assert owners(session) == [1]
        with tenant(2), nothing_is_sent(engine, other):
            for _attempt in range(2):
                with pytest.raises(TenantChangedError):
                    session.execute(select(Customer.tenant_id))
        session.rollback()  # it has begun a transaction in the wrong scope
        assert set(session.scalars(select(Customer.tenant_id))) == {1}
        assert owners(session) == [1]
    other.dispose()


def test_a_session_of_two_engines_takes_the_tenant_through_either(world: World, engine: Engine) -> None:
    other = models.tenancy().guard(create_engine(world.url))
    with Session(binds={Invoice: engine, Customer: other, Country: other}) as session:
        session.execute(SHARED).all()
        with tenant(1):
            assert owners(session) == [1]
        assert set(session.scalars(select(Customer.tenant_id))) == {1}
        with tenant(2), refused(engine, other, held="tenant 1", met="tenant 2", where="Session"):
            session.execute(select(Customer.tenant_id))
    other.dispose()


# A Session that was given its tenant.


def test_a_session_given_its_tenant_needs_no_scope(engine: Engine) -> None:
    with models.tenancy().session(engine, tenant=1) as session:
        assert owners(session) == [1]
        customer = loaded(session)
        session.commit()
        assert {invoice.tenant_id for invoice in customer.invoices} == {1}
        assert session.get(Customer, 201) is None
        with tenant(1):
            assert owners(session) == [1]


def test_a_session_given_its_tenant_keeps_it_when_it_is_used_again(engine: Engine) -> None:
    session = models.tenancy().session(engine, tenant=1)
    for end in (Session.close, Session.reset, Session.expunge_all, Session.rollback, Session.close):
        assert owners(session) == [1]
        end(session)
        with tenant(2), nothing_is_sent(engine):
            for _attempt in range(2):
                with pytest.raises(TenantChangedError) as changed:
                    session.execute(OWNERS)
                assert (changed.value.held, changed.value.met) == ("tenant 1", "tenant 2")
        session.rollback()
    assert owners(session) == [1]
    session.close()


def test_a_session_given_its_tenant_refuses_another_scope_from_the_start(engine: Engine) -> None:
    with models.tenancy().session(engine, tenant=1) as session:
        with tenant(2), nothing_is_sent(engine):
            for _attempt in range(2):
                with pytest.raises(TenantChangedError):
                    session.execute(OWNERS)
        session.rollback()  # it has begun a transaction in the wrong scope
        assert owners(session) == [1]


def test_a_session_given_its_tenant_refuses_unscoped(world: World) -> None:
    with models.tenancy().session(world.many, tenant=1) as session:
        with all_tenants(), nothing_is_sent(world.many), pytest.raises(TenantChangedError):
            session.execute(OWNERS)
        session.rollback()
        assert owners(session) == [1]


def test_a_session_given_its_tenant_never_runs_as_another_after_an_error(engine: Engine) -> None:
    with Session(engine) as session:
        looked_up = session.scalars(select(Tenant).options(load_only(Tenant.slug))).first()
    assert looked_up is not None
    with models.tenancy().session(engine, tenant=1) as session:
        session.add(looked_up)
        with tenant(2), nothing_is_sent(engine):
            for _attempt in range(2):
                with pytest.raises(TenantChangedError):
                    session.execute(OWNERS)


def test_sessions_given_their_tenants_interleave(engine: Engine) -> None:
    tenancy = models.tenancy()
    with tenancy.session(engine, tenant=1) as first, tenancy.session(engine, tenant=2) as second:
        for _turn in range(3):
            assert (owners(first), owners(second)) == ([1], [2])


@pytest.mark.parametrize("wrong", ["1", 1.5, b"1", True, None, ""])
def test_a_session_is_not_given_an_id_of_the_wrong_type(engine: Engine, wrong: Any) -> None:
    with pytest.raises(TenantIdError):
        models.tenancy().session(engine, tenant=wrong)


def test_a_session_of_an_engine_that_is_not_guarded_is_not_given_a_tenant(world: World) -> None:
    with pytest.raises(SetupError, match="needs a guarded engine"):
        models.tenancy().session(world.plain, tenant=1)


def test_a_session_given_its_tenant_keeps_its_options(engine: Engine) -> None:
    info = {"request": 7}
    with models.tenancy().session(engine, tenant=1, info=info, expire_on_commit=False) as session:
        assert session.info["request"] == 7
        assert session.expire_on_commit is False
        assert owners(session) == [1]
    assert info == {"request": 7}


# Unscoped and a tenant by turns.


def invoices_through_lambda() -> Any:
    return lambda_stmt(lambda: OWNERS)


BY_TURNS: dict[str, Callable[[Any], Any]] = {
    "core": lambda runner: sorted(runner.scalars(select(Invoice.__table__.c.tenant_id).distinct())),
    "orm_columns": owners,
    "lambda": lambda runner: sorted(runner.scalars(invoices_through_lambda())),
    "subquery": lambda runner: sorted(runner.scalars(select(OWNERS.subquery().c.tenant_id))),
    "union": lambda runner: sorted(set(runner.scalars(union_all(OWNERS, OWNERS)))),
}


@pytest.mark.parametrize("name", BY_TURNS)
@pytest.mark.parametrize("through", ["connection", "session"])
def test_one_statement_by_turns_scoped_and_unscoped(world: World, name: str, through: str) -> None:
    run = BY_TURNS[name]
    turns = [(tenant(1), [1]), (all_tenants(), [1, 2, 3]), (tenant(2), [2]), (all_tenants(), [1, 2, 3])]
    with world.many.connect() as connection:
        for scope, expected in turns * 2:
            with scope:
                if through == "connection":
                    assert run(connection) == expected
                    connection.rollback()
                else:
                    with Session(world.many) as session:
                        assert run(session) == expected


def test_one_lazy_load_by_turns_scoped_and_unscoped(world: World) -> None:
    """Invoice 106 of tenant 1 hangs on a customer of tenant 2, and invoice 306 of tenant 3 on one of tenant 1."""
    turns = [(tenant(1), {1}), (all_tenants(), {1, 3}), (tenant(1), {1}), (all_tenants(), {1, 3})]
    for scope, expected in turns:
        with scope, Session(world.many) as session:
            assert {invoice.tenant_id for invoice in loaded(session).invoices} == expected


def test_unscoped_meets_the_transaction_of_a_tenant(world: World) -> None:
    with world.many.connect() as connection, tenant(1), connection.begin():
        with all_tenants(), refused(world.many, held="tenant 1", met="all tenants (unscoped)", where="transaction"):
            connection.execute(OWNERS)
        assert owners(connection) == [1]


def test_a_tenant_meets_an_unscoped_transaction(world: World) -> None:
    with world.many.connect() as connection, all_tenants(), connection.begin():
        with tenant(1), refused(world.many, held="all tenants (unscoped)", met="tenant 1", where="transaction"):
            connection.execute(OWNERS)
        assert owners(connection) == [1, 2, 3]


def test_a_session_does_not_go_from_unscoped_to_a_tenant_nor_back(world: World) -> None:
    for first, second in ((tenant(1), all_tenants()), (all_tenants(), tenant(1)), (all_tenants(), tenant(2))):
        with Session(world.many) as session:
            with first:
                loaded(session)
                session.commit()
            with second, nothing_is_sent(world.many):
                for attempt in (lambda s: s.get(Customer, 101), owners, owners):
                    with pytest.raises(TenantChangedError):
                        attempt(session)


def test_an_unscoped_session_stays_unscoped_after_the_block(world: World) -> None:
    with Session(world.many) as session:
        with all_tenants():
            loaded(session)
        assert owners(session) == [1, 2, 3]
        session.commit()
        assert owners(session) == [1, 2, 3]
        session.close()
        with nothing_is_sent(world.many), pytest.raises(NoTenantError):
            session.execute(OWNERS)


def test_two_reasons_are_one_scope(world: World) -> None:
    with Session(world.many) as session, unscoped(reason="one"):
        owners(session)
        with unscoped(reason="another"):
            assert owners(session) == [1, 2, 3]


class BlindCache(dict[Any, Any]):
    """A compiled cache that does not know one dialect from another, as one that is badly shared would not."""

    def get(self, key: Any, default: Any = None) -> Any:
        return super().get(key[1:], default)

    def __setitem__(self, key: Any, value: Any) -> None:
        super().__setitem__(key[1:], value)


@pytest.mark.parametrize("order", ["unscoped_first", "tenant_first"])
def test_a_statement_compiled_for_one_scope_never_runs_in_the_other(world: World, order: str) -> None:
    first, second = (all_tenants(), tenant(1)) if order == "unscoped_first" else (tenant(1), all_tenants())
    options: dict[str, Any] = {"compiled_cache": BlindCache()}
    with world.many.connect() as connection:
        for statement in (OWNERS, SHARED):
            with first:
                assert connection.execute(statement, execution_options=options).all()
                connection.rollback()
            with second, nothing_is_sent(world.many), pytest.raises(RefusedStatementError, match="compiled"):
                connection.execute(statement, execution_options=options)
            connection.rollback()


def test_scoped_and_unscoped_statements_are_compiled_for_dialects_of_their_own(world: World) -> None:
    with world.many.connect() as connection:
        with tenant(1):
            scoped_dialect = connection.dialect
        with all_tenants():
            assert connection.dialect is not scoped_dialect
        assert connection.dialect is scoped_dialect
        guard = guard_of(scoped_dialect)
    assert guard is not None
    assert guard.unscoped_dialect() is guard.unscoped_dialect()


# Looking up a tenant while there is none.

PUBLIC: dict[str, Any] = {
    "one_column": select(Tenant.id).where(Tenant.slug == "tenant2"),
    "two_columns": select(Tenant.id, Tenant.slug).where(Tenant.id == 2),
    "alias": select((_alias := aliased(Tenant)).id).where(_alias.slug == "tenant2"),
    "count_of_public_column": select(func.count(Tenant.id)),
    "lightweight": select(table("tenants", column("id")).c.id),
    "with_a_shared_table": select(Tenant.id, Country.code).join(Country, Country.code == "de"),
}

NOT_PUBLIC: dict[str, Any] = {
    "entity": select(Tenant),
    "column": select(Tenant.plan),
    "criterion": select(Tenant.id).where(Tenant.plan == "secret plan"),
    "order": select(Tenant.id).order_by(Tenant.plan),
    "grouping": select(func.count(Tenant.id)).group_by(Tenant.plan),
    "aggregate": select(func.max(Tenant.plan)),
    "count_of_rows": select(func.count()).select_from(Tenant),
    "asterisk": select(literal_column("*")).select_from(Tenant),
    "exists_by_asterisk": select(exists().where(Tenant.id == 1)),
    "alias": select(aliased(Tenant).plan),
    "subquery": select(select(Tenant.plan).subquery().c.plan),
    "subquery_of_public_columns": select(select(Tenant.id).subquery().c.id),  # its name could capture a real one
    "in_subquery": select(Tenant.id).where(Tenant.id.in_(select(Tenant.id).where(Tenant.plan != ""))),
    "lightweight": select(table("tenants", column("plan")).c.plan),
    "bare_column": select(column("plan")).select_from(Tenant),
    "whole_row": select(cast("Table", Tenant.__table__).table_valued()),
    "cte": select((_cte := select(Tenant.plan).cte()).c.plan).select_from(_cte),
    "join_criterion": select(Tenant.id).join(Country, Country.name == Tenant.plan),
}

OF_A_SCOPED_TABLE: dict[str, Any] = {
    "join": select(Tenant.id).join(Customer, Customer.tenant_id == Tenant.id),
    "outer_join": select(Tenant.id).outerjoin(Customer, Customer.tenant_id == Tenant.id),
    "exists": select(Tenant.id).where(exists(select(literal(1)).where(Customer.tenant_id == Tenant.id))),
    "shared_rows": select(models.Template.id),
}


@pytest.mark.parametrize("name", PUBLIC)
def test_public_columns_of_the_tenants_table_are_read_with_no_tenant(world: World, engine: Engine, name: str) -> None:
    with Session(engine) as session, Session(world.plain) as unguarded:
        found, expected = (sorted(map(tuple, each.execute(PUBLIC[name]))) for each in (session, unguarded))
        assert found == expected
        assert found


@pytest.mark.parametrize("name", PUBLIC)
def test_a_lookup_in_a_scope_sees_the_own_row_and_the_same_statement_without_sees_all(
    engine: Engine, name: str
) -> None:
    statement = PUBLIC[name]
    with engine.connect() as connection:
        for _turn in range(2):
            everything = connection.execute(statement).all()
            connection.rollback()
            with tenant(1):
                own = connection.execute(statement).all()
                connection.rollback()
            assert own != everything
            assert all(row[0] == 1 for row in own)


@pytest.mark.parametrize("name", NOT_PUBLIC)
def test_other_columns_of_the_tenants_table_are_refused_with_no_tenant(engine: Engine, name: str) -> None:
    with Session(engine) as session, nothing_is_sent(engine):
        for _attempt in range(2):  # the second finds it in the cache
            with pytest.raises(NoTenantError) as refusal:
                session.execute(NOT_PUBLIC[name])
            assert "public columns" in str(refusal.value)
            assert refusal.value.tables == ("tenants",)


@pytest.mark.parametrize("name", NOT_PUBLIC)
def test_other_columns_of_the_tenants_table_are_read_by_the_tenant(engine: Engine, name: str) -> None:
    if name == "whole_row" and engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no such expression")
    with Session(engine) as session, pytest.raises(NoTenantError):
        session.execute(NOT_PUBLIC[name])
    with tenant(2), Session(engine) as session:
        session.execute(NOT_PUBLIC[name]).all()


@pytest.mark.parametrize("name", OF_A_SCOPED_TABLE)
def test_a_lookup_cannot_reach_a_scoped_table(engine: Engine, name: str) -> None:
    with Session(engine) as session, nothing_is_sent(engine), pytest.raises(NoTenantError):
        session.execute(OF_A_SCOPED_TABLE[name])


def test_an_object_of_the_tenants_table_is_refused_with_no_tenant(engine: Engine) -> None:
    with Session(engine) as session, nothing_is_sent(engine):
        with pytest.raises(NoTenantError):
            session.get(Tenant, 1)
        with pytest.raises(NoTenantError):
            session.query(Tenant).first()


def test_the_tenants_table_is_closed_where_no_column_is_public(world: World) -> None:
    tenancy = Tenancy(
        models.Base.metadata,
        tenants="tenants",
        shared=models.SHARED | models.SHARED_WRITABLE,
        shared_rows=models.SHARED_ROWS,
    )
    engine = tenancy.guard(create_engine(world.url))
    statements: list[Any] = [select(Tenant.id), select(Tenant.slug), select(column("id")).select_from(Tenant)]
    with engine.connect() as connection, nothing_is_sent(engine):
        for statement in statements:
            with pytest.raises(NoTenantError):
                connection.execute(statement)
    engine.dispose()


def test_a_session_looks_up_the_tenant_and_enters_it(engine: Engine) -> None:
    with Session(engine) as session:
        tenant_id = session.scalar(select(Tenant.id).where(Tenant.slug == "tenant2"))
        assert tenant_id == 2
        with tenant(tenant_id):
            assert owners(session) == [2]
            assert session.scalars(select(Tenant.plan)).all() == ["secret plan"]
            assert session.get(Tenant, 1) is None
        assert session.scalars(select(Tenant.id)).all() == [2]  # it is the tenant's Session now


def test_a_column_that_a_lookup_left_out_is_refused_with_no_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        found = session.scalars(select(Tenant).options(load_only(Tenant.slug)).where(Tenant.id == 2)).one()
        assert found.slug == "tenant2"
        with nothing_is_sent(engine), pytest.raises(NoTenantError):
            _ = found.plan


def test_a_session_that_holds_tenants_it_looked_up_takes_no_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        found = session.scalars(select(Tenant).options(load_only(Tenant.slug)).order_by(Tenant.id)).all()
        assert [each.slug for each in found] == ["tenant1", "tenant2", "tenant3"]
        with tenant(1), nothing_is_sent(engine):
            for _attempt in range(2):
                with pytest.raises(TenantChangedError, match="looked up"):
                    session.execute(OWNERS)
                with pytest.raises(TenantChangedError, match="looked up"):
                    session.get(Tenant, 2)
        session.expunge_all()
        session.commit()
        with tenant(1):
            assert session.get(Tenant, 2) is None


def test_a_model_of_the_public_columns_alone_is_looked_up_but_not_taken_into_a_tenant(world: World) -> None:
    class Base(DeclarativeBase):
        pass

    class Name(Base):
        __tablename__ = "tenants"
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str]

    class OwnInvoice(Base):
        __tablename__ = "invoices"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[int] = mapped_column(ForeignKey("tenants.id"))

    tenancy = Tenancy(Base.metadata, tenants="tenants", tenants_public={"id", "slug"})
    engine = tenancy.guard(create_engine(world.url))
    with Session(engine) as session:
        found = session.get_one(Name, 2)
        assert found.slug == "tenant2"
        with tenant(1), nothing_is_sent(engine), pytest.raises(TenantChangedError, match="looked up"):
            session.scalars(select(OwnInvoice.tenant_id))
    with Session(engine) as session:
        tenant_id = session.get_one(Name, 2).id
        session.close()
        with tenant(tenant_id):
            assert set(session.scalars(select(OwnInvoice.tenant_id))) == {2}
            assert session.get(Name, 1) is None
    engine.dispose()


# Results that outlive the block.


def test_a_streamed_result_is_read_to_its_end_after_the_block(engine: Engine) -> None:
    statement = select(Invoice.tenant_id)
    with engine.connect() as connection:
        with tenant(1):
            expected = connection.scalars(statement).all()
            result = connection.execution_options(stream_results=True, yield_per=2).scalars(statement)
            seen = [next(result)]
        seen.extend(result)
        assert seen == expected
        assert set(seen) == {1}


def test_streamed_objects_are_read_to_their_end_after_the_block_and_load_as_their_tenant(engine: Engine) -> None:
    statement = select(Customer).options(selectinload(Customer.invoices)).execution_options(yield_per=2)
    with Session(engine) as session:
        with tenant(1):
            customers = session.scalars(statement)
            seen = [next(customers)]
        seen.extend(customers)
        assert [customer.tenant_id for customer in seen] == [1] * 4
        assert {invoice.tenant_id for customer in seen for invoice in customer.invoices} == {1}


def test_a_streamed_result_read_in_another_scope_has_the_rows_of_its_own(engine: Engine) -> None:
    with Session(engine) as session:
        with tenant(1):
            customers = session.scalars(select(Customer).execution_options(yield_per=2))
            seen = [next(customers)]
        with tenant(2), nothing_is_sent(engine):
            seen.extend(customers)
        assert [customer.tenant_id for customer in seen] == [1] * 4


# Options.


def test_a_copy_of_the_engine_with_options_is_guarded(engine: Engine) -> None:
    copied = engine.execution_options(stream_results=True).execution_options(yield_per=3)
    with nothing_is_sent(engine), copied.connect() as connection:
        with pytest.raises(NoTenantError):
            connection.execute(OWNERS)
        with all_tenants(), pytest.raises(SetupError):
            connection.execute(OWNERS)
    with tenant(1), copied.connect() as connection, Session(copied) as session:
        assert owners(connection) == owners(session) == [1]
        with tenant(2):
            with refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
                connection.execute(OWNERS)
            with refused(engine, held="tenant 1", met="tenant 2", where="Session"):
                session.execute(OWNERS)


def test_a_copy_of_an_engine_for_unscoped_work_may_be_used_unscoped(world: World) -> None:
    copied = world.many.execution_options(stream_results=True)
    for scope, expected in ((tenant(1), [1]), (all_tenants(), [1, 2, 3]), (tenant(2), [2])):
        with scope, copied.connect() as connection:
            assert owners(connection) == expected


def test_options_of_a_connection_leave_its_pin_alone(engine: Engine) -> None:
    with engine.connect() as connection:
        with tenant(1):
            assert owners(connection) == [1]
        optioned = connection.execution_options(stream_results=True)
        assert owners(optioned) == [1]
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
            optioned.execute(OWNERS)


@pytest.mark.parametrize("where", ["engine", "copy", "connection"])
def test_autocommit_pins_until_commit_or_rollback(world: World, where: str) -> None:
    options: dict[str, Any] = {"isolation_level": "AUTOCOMMIT"}
    engine = models.tenancy().guard(create_engine(world.url, **(options if where == "engine" else {})))
    opened = engine.execution_options(**options) if where == "copy" else engine
    with opened.connect() as connection:
        if where == "connection":
            connection = connection.execution_options(**options)  # noqa: PLW2901  # the same one, in autocommit
        with tenant(1):
            assert owners(connection) == [1]
        assert owners(connection) == [1]
        with tenant(2):
            with refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
                connection.execute(OWNERS)
            connection.rollback()
            assert owners(connection) == [2]
    engine.dispose()


def test_a_session_in_autocommit_keeps_its_tenant(engine: Engine) -> None:
    with Session(engine.execution_options(isolation_level="AUTOCOMMIT")) as session:
        with tenant(1):
            loaded(session)
        assert owners(session) == [1]
        session.commit()
        with tenant(2), nothing_is_sent(engine), pytest.raises(TenantChangedError):
            session.get(Customer, 101)


def test_a_two_phase_transaction_is_pinned(world: World, engine: Engine) -> None:
    if world.name != "postgresql":
        pytest.skip("SQLite has no two-phase transactions")
    with engine.connect() as connection:
        with tenant(1):
            transaction = connection.begin_twophase()
            assert owners(connection) == [1]
        assert owners(connection) == [1]
        with tenant(2):
            with refused(engine, held="tenant 1", met="tenant 2", where="transaction"):
                connection.execute(OWNERS)
            transaction.rollback()
            with connection.begin_twophase() as transaction:
                assert owners(connection) == [2]
                transaction.rollback()
    with Session(engine, twophase=True) as session:
        with tenant(1):
            loaded(session)
        with tenant(2), refused(engine, held="tenant 1", met="tenant 2", where="Session"):
            session.get(Customer, 101)
        session.rollback()
        assert owners(session) == [1]
        session.rollback()
