"""
Measure a Session and its statements with the row wall: ``python -m benchmarks.row_wall --help``.

What is compared with everything else is the application that filters by hand and sets the tenant by hand, in a database
with the same policies.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import URL, Engine, create_engine, event, select, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import Session
from sqlalchemy.util import greenlet_spawn

from benchmarks.measure import FULL, QUICK, DisagreementError, Plan, Spread, Task, Timings, interleaved, repeats_for
from benchmarks.schema import Base, Invoice, Size, fill
from dev.postgres import server
from dev.proxy import Proxy, proxy
from partywall import Tenancy, tenant
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl

__all__ = [
    "BAR",
    "COUNTS",
    "SIZE",
    "Visit",
    "Way",
    "by_hand",
    "guarded",
    "keys_of",
    "main",
    "measured",
    "timings_of",
    "ways_on_postgresql",
]

BY_HAND = "by hand, with the setting"
BAR = 1.05
ROLE, UNSCOPED_ROLE = "bench_app", "bench_admin"
SYNC_DRIVERS = ("psycopg", "psycopg2")
DRIVERS = (*SYNC_DRIVERS, "psycopg_async", "asyncpg")
COUNTS = {"one statement": 1, "ten statements": 10}

_T = TypeVar("_T")

Visit = Callable[[int, int], int]
"""Opens a Session for a tenant, runs so many statements in one transaction, and closes it; returns the rows read."""


@dataclass(frozen=True)
class Way:
    """
    One way of keeping tenants apart. Another database than PostgreSQL joins in with a list of its own.

    Attributes:
        url: Of the database that it takes.
        visit: Makes what is timed of an engine.
        is_compared: Whether the bar holds for it.
    """

    name: str
    url: URL
    visit: Callable[[Engine], Visit]
    is_compared: bool = False


def by_hand(engine: Engine) -> Visit:
    """Filter every statement."""

    def visit(tenant_id: int, statements: int) -> int:
        with Session(engine) as session:
            return sum(
                len(session.scalars(select(Invoice).where(Invoice.tenant_id == tenant_id, Invoice.id == key)).all())
                for key in keys_of(tenant_id, statements)
            )

    return visit


def by_hand_with_setting(engine: Engine) -> Visit:
    """Filter every statement, and set the tenant where each transaction begins, as people do."""
    set_tenant = text("SELECT set_config('partywall.tenant', :tenant, true)")

    class SettingSession(Session):
        pass

    @event.listens_for(SettingSession, "after_begin")
    def set_it(session: Session, _transaction: Any, connection: Any) -> None:
        connection.execute(set_tenant, {"tenant": str(session.info["tenant"])})

    def visit(tenant_id: int, statements: int) -> int:
        with SettingSession(engine, info={"tenant": tenant_id}) as session:
            return sum(
                len(session.scalars(select(Invoice).where(Invoice.tenant_id == tenant_id, Invoice.id == key)).all())
                for key in keys_of(tenant_id, statements)
            )

    return visit


def guarded(rows: RowWall | None) -> Callable[[Engine], Visit]:
    """Return what guards an engine, and filters nothing by hand."""

    def make(engine: Engine) -> Visit:
        Tenancy(Base.metadata, rows=rows).guard(engine)

        def visit(tenant_id: int, statements: int) -> int:
            with tenant(tenant_id), Session(engine) as session:
                return sum(
                    len(session.scalars(select(Invoice).where(Invoice.id == key)).all())
                    for key in keys_of(tenant_id, statements)
                )

        return visit

    return make


def keys_of(tenant_id: int, statements: int) -> range:
    """Return the keys that so many statements of a tenant ask for, one each."""
    first = SIZE.first_invoice(tenant_id)
    return range(first, first + statements)


SIZE = Size(tenants=20, customers=20)


def ways_on_postgresql(new_database: Callable[[], URL]) -> list[Way]:
    """Fill a database without policies, one with them, and one where the tenant is sealed."""
    setting = RowWall(role=ROLE, unscoped_role=UNSCOPED_ROLE)
    sealed = RowWall(role=ROLE, unscoped_role=UNSCOPED_ROLE, key=b"k" * 32)
    bare, walled, locked = (_database(new_database(), rows) for rows in (None, setting, sealed))
    return [
        Way(BY_HAND, walled, by_hand_with_setting),
        Way("by hand, no wall", bare, by_hand),
        Way("statement wall", bare, guarded(None)),
        Way("both walls", walled, guarded(setting), is_compared=True),
        Way("both walls, sealed", locked, guarded(sealed)),
    ]


def _database(url: URL, rows: RowWall | None) -> URL:
    fill(url, SIZE)
    if rows is None:
        return url
    superuser = create_engine(url.set(username="postgres"))
    with superuser.begin() as connection:
        for statement in row_wall_ddl(Tenancy(Base.metadata).describe(), rows, create_roles=True):
            connection.execute(statement)
    superuser.dispose()
    return url.set(username=ROLE)


def measured(driver: str, ways: Sequence[Way], statements: int, plan: Plan) -> Timings:
    """Time the ways on one driver, in interleaved rounds; an async one in one event loop for all."""
    return _with_engines(driver, [way.url for way in ways], lambda engines: timings_of(engines, ways, statements, plan))


def timings_of(
    engines: Sequence[Engine],
    ways: Sequence[Way],
    statements: int,
    plan: Plan,
    clock: Callable[[], float] = time.perf_counter,
) -> Timings:
    """Time the ways, each on its engine, in interleaved rounds."""

    def task(visit: Visit) -> Task:
        def run(tenant_id: int, repeats: int) -> float:
            for _ in range(plan.warm_up):
                _check(visit(tenant_id, statements), statements)
            begin = clock()
            for _ in range(repeats):
                visit(tenant_id, statements)
            return clock() - begin

        return run

    tasks = {way.name: task(way.visit(engine)) for way, engine in zip(ways, engines, strict=True)}
    return interleaved(tasks, repeats_for(tasks[ways[0].name], plan), SIZE, plan)


def over_a_network(driver: str, ways: Sequence[Way], *, sessions: int) -> dict[str, tuple[float, float]]:
    """Return, for each way, the round trips of a Session with one statement and its seconds, at 1 ms for each."""
    found: dict[str, tuple[float, float]] = {}
    for way in ways:
        with proxy(way.url, delay=0.001) as (counter, url):
            found[way.name] = _with_engines(
                driver, [url], functools.partial(_counted, way=way, counter=counter, sessions=sessions)
            )
    return found


def _counted(engines: Sequence[Engine], *, way: Way, counter: Proxy, sessions: int) -> tuple[float, float]:
    visit = way.visit(engines[0])
    for _ in range(7):  # psycopg prepares a statement when it comes for the sixth time
        _check(visit(1, 1), 1)
    before, begin = counter.round_trips, time.perf_counter()
    for number in range(sessions):
        visit(1 + number % SIZE.tenants, 1)
    return (counter.round_trips - before) / sessions, (time.perf_counter() - begin) / sessions


def _check(rows: int, statements: int) -> None:
    if rows != statements:
        raise DisagreementError(f"a way read {rows} rows, not {statements}: its time says nothing.")


def _with_engines(driver: str, urls: Sequence[URL], work: Callable[[Sequence[Engine]], _T]) -> _T:
    named = [url.set(drivername=f"postgresql+{driver.removesuffix('_async')}") for url in urls]
    if driver in SYNC_DRIVERS:
        engines = [create_engine(url) for url in named]
        try:
            return work(engines)
        finally:
            for engine in engines:
                engine.dispose()

    async def run() -> _T:
        engines = [create_async_engine(url) for url in named]
        try:
            return await greenlet_spawn(work, [engine.sync_engine for engine in engines])
        finally:
            for engine in engines:
                await engine.dispose()

    return asyncio.run(run())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 1 if ``--check`` was given and the bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.row_wall", description=sys.modules[__name__].__doc__)
    parser.add_argument("--driver", choices=DRIVERS, action="append", help="may be given several times; else all")
    parser.add_argument("--quick", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if the bar is missed")
    options = parser.parse_args(arguments)
    console = Console(width=None if sys.stdout.isatty() else 128)
    missed = False
    with server() as running:
        ways = ways_on_postgresql(running.new_database)
        for driver in options.driver or DRIVERS:
            timings = {
                name: measured(driver, ways, count, QUICK if options.quick else FULL) for name, count in COUNTS.items()
            }
            network = over_a_network(driver, ways, sessions=5 if options.quick else 100)
            missed |= _show(console, driver, ways, timings, network)
    return 1 if options.check and missed else 0


def _show(
    console: Console,
    driver: str,
    ways: Sequence[Way],
    timings: Mapping[str, Timings],
    network: Mapping[str, tuple[float, float]],
) -> bool:
    """Show one driver's figures; return whether the bar is missed."""
    table = RichTable(title=f"{driver}: open a Session, run, close; to {BY_HAND!r}", box=box.SIMPLE)
    for title in ("", *(f"{name}, µs" for name in timings), *timings, "round trips", "at 1 ms each, ms"):
        table.add_column(title, justify="left" if not title else "right")
    is_missed = False
    for way in ways:
        ratios = [Spread.of_ratio(each, way.name, BY_HAND) for each in timings.values()]
        is_missed |= way.is_compared and any(ratio.median > BAR for ratio in ratios)
        trips, seconds = network[way.name]
        table.add_row(
            way.name,
            *(f"{1e6 * Spread.of(each[way.name]).median:,.0f}" for each in timings.values()),
            *(f"{ratio.median:.3f} ({ratio.low:.2f}-{ratio.high:.2f})" for ratio in ratios),
            f"{trips:.1f}",
            f"{1e3 * seconds:.2f}",
        )
    console.print(table)
    if is_missed:
        console.print(f"[red]missed:[/red] {driver}: both walls at most {BAR} of {BY_HAND!r}")
    return is_missed


if __name__ == "__main__":
    sys.exit(main())
