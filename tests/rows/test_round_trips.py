"""Telling PostgreSQL the tenant takes no round trip of its own, but for a seal with psycopg2."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from benchmarks.measure import Plan
from benchmarks.row_wall import measured, ways_on_postgresql
from dev.proxy import Proxy, proxy
from partywall import Tenancy, tenant
from tests.conftest import NewDatabase
from tests.rows.by_hand import DRIVERS, ROLE, Base, Country, Note, Place

pytestmark = pytest.mark.parametrize("driver", DRIVERS)

Work = Callable[[Engine], None]


def one_statement(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        session.scalars(sa.select(Note)).all()


def ten_statements(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        for _ in range(10):
            session.scalars(sa.select(Note)).all()
        session.commit()


def two_transactions(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        session.scalars(sa.select(Note)).all()
        session.commit()
        session.scalars(sa.select(Note)).all()


def a_flush(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        session.add_all([Note(id=900 + number, text="new") for number in range(5)])
        session.flush()


def a_savepoint(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        with session.begin_nested():
            session.scalars(sa.select(Note)).all()
        session.scalars(sa.select(Note)).all()


def an_explicit_tenant(engine: Engine) -> None:
    tenancy = Tenancy(Base.metadata, shared={"countries"})
    with tenancy.session(engine, tenant=1) as session:
        session.scalars(sa.select(Note)).all()


def an_explicit_tenant_in_its_scope(engine: Engine) -> None:
    with tenant(1):
        an_explicit_tenant(engine)


def no_tenant(engine: Engine) -> None:
    with Session(engine) as session:
        session.scalars(sa.select(Country)).all()


def trips(place: Place, driver: str, work: Work, counter: Proxy, **options: Any) -> int:
    """Return how many round trips some work takes on a connection that is open and knows the statements."""

    def count(engine: Engine) -> int:
        for _ in range(7):  # psycopg prepares a statement when it comes for the sixth time
            work(engine)
        before = counter.round_trips
        work(engine)
        return counter.round_trips - before

    return place.run(driver, count, pool_size=1, max_overflow=0, **options)


@pytest.mark.parametrize(
    "work",
    [
        one_statement,
        ten_statements,
        two_transactions,
        a_flush,
        a_savepoint,
        an_explicit_tenant,
        an_explicit_tenant_in_its_scope,
        no_tenant,
    ],
)
@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["setting", "sealed"])
def test_both_walls_take_as_many_as_the_statement_wall_alone(
    place: Place, driver: str, work: Work, key: bytes | None
) -> None:
    with proxy(place.url) as (counter, url):  # the owner, whom no policy holds
        without = trips(place, driver, work, counter, url=url, rows=False)
        with_it = trips(place, driver, work, counter, url=url.set(username=ROLE), wall={"key": key})

    # psycopg2's BEGIN cannot be lengthened, and a seal does not stand in front of a statement that may run for long.
    told = {"two_transactions": 2, "no_tenant": 0}.get(work.__name__, 1) if key and driver == "psycopg2" else 0
    assert without > 0
    assert with_it == without + told


def test_a_sealed_tenant_behind_a_pooler_takes_one_more_or_two(place: Place, driver: str) -> None:
    wall: dict[str, Any] = {"key": b"k" * 32}
    with proxy(place.url.set(username=ROLE)) as (counter, url):
        without = trips(place, driver, one_statement, counter, url=url, wall=wall)
        with_it = trips(place, driver, one_statement, counter, url=url, wall={**wall, "transaction_pooler": True})

    # asyncpg reads no rows in the protocol that takes several statements at once.
    assert with_it == without + (2 if driver == "asyncpg" else 1)


def test_the_ways_that_are_timed_read_the_same_rows(new_postgresql: NewDatabase, driver: str) -> None:
    ways = ways_on_postgresql(new_postgresql)
    timings = measured(driver, ways, 2, Plan(rounds=2, seconds=0.0, warm_up=1))  # raises if one reads other rows

    assert timings.keys() == {way.name for way in ways}
