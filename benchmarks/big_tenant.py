"""
Measure a big tenant among small ones under the row wall of PostgreSQL: ``python -m benchmarks.big_tenant --help``.

A policy is a barrier: an operator that is not leakproof gets no index under it. What is lost shows where a tenant is
big; so does what each cure brings back.

What is taken is processor time, of this process and the server's for the connection, so that others on the machine
count little. Nothing is done in parallel.
"""

from __future__ import annotations

import argparse
import gc
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import (
    URL,
    Column,
    ColumnElement,
    Computed,
    DateTime,
    Engine,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    cast,
    create_engine,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import REGCONFIG, TSVECTOR
from sqlalchemy.orm import Session

from benchmarks.measure import DisagreementError, Spread, Timings
from dev.postgres import server
from partywall import Tenancy, tenant
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl

__all__ = ["CASES", "Case", "main", "measured", "open_places"]

BIG = 1
SMALL_TENANTS, SMALL = 100, 500
BAR = 1.2
BY_HAND = "by hand"
ROLE, UNSCOPED_ROLE = "big_app", "big_admin"

ALONE = {"options": "-c max_parallel_workers_per_gather=0"}

metadata = MetaData()


def _table(name: str) -> Table:
    table = Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("tenant_id", Integer, nullable=False),
        Column("made", DateTime),
        Column("name", String(collation="C")),  # so that one index serves LIKE, ranges and ^@
        Column("price", Numeric),
        Column("body", String),
        Column("words", TSVECTOR, Computed("to_tsvector('simple', body)", persisted=True)),
    )
    for column in ("made", "name", "price"):
        Index(f"{name}_{column}", table.c.tenant_id, table.c[column])
    Index(f"{name}_words", table.c.words, postgresql_using="gin")
    return table


POLICY, VIEW = _table("documents"), _table("reports")
"""The same twice: under a policy, and behind a view."""

FILL = """
    INSERT INTO {table} (id, tenant_id, made, name, price, body)
    SELECT n, CASE WHEN n <= {big} THEN 1 ELSE 2 + (n - {big}) / {small} END,
        timestamp '2026-01-01' + n * interval '1 minute', md5(n::text),
        (n * 7919::bigint % 50000) / 100.0, 'word' || n % 50000
    FROM generate_series(1, {big} + {tenants} * {small} - 1) AS n
"""

Criterion = Callable[[Table], ColumnElement[bool]]


@dataclass(frozen=True)
class Case:
    """
    A criterion of a query by the big tenant.

    Attributes:
        cures: Criteria that find the same rows through an index under a policy too.
        leakproof: Functions behind the operator, which a superuser may mark LEAKPROOF.
        has_bar: Whether the view has to be as fast as the query by hand.
    """

    name: str
    criterion: Criterion
    cures: Mapping[str, Criterion]
    leakproof: tuple[str, ...] = ()
    has_bar: bool = True


PREFIX, AFTER = "abcd", "abce"
FROM = datetime(2026, 1, 11)  # noqa: DTZ001  # of a column without a time zone

CASES = (
    Case("range of times", lambda t: t.c.made.between(FROM, FROM + timedelta(minutes=49)), {}, has_bar=False),
    Case(
        "LIKE 'abcd%'",
        lambda t: t.c.name.like(f"{PREFIX}%"),
        {
            "a range beside LIKE": lambda t: t.c.name.like(f"{PREFIX}%") & (t.c.name >= PREFIX) & (t.c.name < AFTER),
            "^@": lambda t: t.c.name.bool_op("^@")(PREFIX),
        },
        ("textlike(text, text)",),
    ),
    Case("numeric equality", lambda t: t.c.price == Decimal("123.45"), {}, ("numeric_eq(numeric, numeric)",)),
    Case(
        "full text",
        lambda t: t.c.words.bool_op("@@")(func.plainto_tsquery(cast("simple", REGCONFIG), "word77")),
        {},
        ("ts_match_vq(tsvector, tsquery)",),
    ),
)

Run = Callable[[Session], list[Any]]


@dataclass(frozen=True)
class Way:
    """A way to ask: the engine, whether it is guarded, and what is asked."""

    name: str
    engine: Engine
    run: Run


@dataclass(frozen=True)
class Places:
    """
    Engines on the same rows.

    Attributes:
        owner: Of a database without a wall.
        role: The application's, on the database with the row wall, told the tenant by hand.
        guarded: The same, with the statement wall.
        superuser: Of that database.
    """

    owner: Engine
    role: Engine
    guarded: Engine
    superuser: Engine


@contextmanager
def open_places(new_database: Callable[[], URL], *, rows: int) -> Iterator[Places]:
    """Fill a database without a wall and one with it, and open them."""
    wall = RowWall(role=ROLE, unscoped_role=UNSCOPED_ROLE, views={VIEW.name})
    tenancy = Tenancy(metadata, rows=wall, operators={"^@"})
    bare, walled = new_database(), new_database()
    for url in (bare, walled):
        _fill(url, rows)
    superuser = create_engine(walled.set(username="postgres"), isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        for name in (ROLE, UNSCOPED_ROLE):
            connection.execute(text(f"CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS"))
    builder = create_engine(walled)
    with builder.begin() as connection:
        for statement in row_wall_ddl(tenancy.describe(), wall):
            connection.execute(statement)
    builder.dispose()
    url = walled.set(username=ROLE)
    owner, role, guarded = (create_engine(each, connect_args=ALONE) for each in (bare, url, url))
    places = Places(owner, role, tenancy.guard(guarded), superuser)
    try:
        yield places
    finally:
        for engine in (places.owner, places.role, places.guarded, superuser):
            engine.dispose()


def _fill(url: URL, rows: int) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    metadata.create_all(engine)
    with engine.connect() as connection:
        for table in (POLICY, VIEW):
            sql = FILL.format(table=table.name, big=rows, small=SMALL, tenants=SMALL_TENANTS)
            connection.execute(text(f"ALTER TABLE {table.name} SET (autovacuum_enabled = false)"))
            connection.exec_driver_sql(sql.replace("%", "%%"))
        connection.execute(text("VACUUM ANALYZE"))
    engine.dispose()


def ways_of(case: Case, places: Places) -> list[Way]:
    """Return the ways to ask for a case, the one by hand first."""

    def by_hand(table: Table, criterion: Criterion) -> Run:
        return lambda session: [*session.scalars(select(table.c.id).where(table.c.tenant_id == BIG, criterion(table)))]

    def told(table: Table, criterion: Criterion) -> Run:
        return lambda session: [*session.scalars(select(table.c.id).where(criterion(table)))]

    ways = [
        Way(BY_HAND, places.owner, by_hand(POLICY, case.criterion)),
        Way(f"{BY_HAND}, again", places.owner, by_hand(VIEW, case.criterion)),
        Way("policy", places.role, told(POLICY, case.criterion)),
        Way("policy, statement wall", places.guarded, told(POLICY, case.criterion)),
        Way("view", places.role, told(VIEW, case.criterion)),
        Way("view, statement wall", places.guarded, told(VIEW, case.criterion)),
    ]
    for name, criterion in case.cures.items():
        ways.append(Way(f"policy, {name}", places.role, told(POLICY, criterion)))
        ways.append(Way(f"policy, statement wall, {name}", places.guarded, told(POLICY, criterion)))
    return ways


def leakproof_ways_of(case: Case, places: Places) -> list[Way]:
    """Return the ways for which a superuser has marked the operator's function."""
    return [
        Way(way.name if way.name == BY_HAND else f"{way.name}, LEAKPROOF", way.engine, way.run)
        for way in ways_of(case, places)
        if way.name in (BY_HAND, "policy", "policy, statement wall")
    ]


@contextmanager
def marked(places: Places, functions: Sequence[str]) -> Iterator[None]:
    """Mark functions of the server's own as LEAKPROOF, and take it back."""

    def mark(how: str) -> None:
        with places.superuser.connect() as connection:
            for function in functions:
                connection.execute(text(f"ALTER FUNCTION pg_catalog.{function} {how}"))

    mark("LEAKPROOF")
    try:
        yield
    finally:
        mark("NOT LEAKPROOF")


def measured(ways: Sequence[Way], *, rounds: int, seconds: float) -> Timings:
    """
    Time the ways in interleaved rounds, each in a transaction that has begun.

    Raises:
        DisagreementError: They find different rows, or none.
    """
    expected: list[Any] | None = None
    repeats: dict[str, int] = {}
    for way in ways:
        with _session(way) as session:
            found = sorted(way.run(session))
            expected = found if expected is None else expected
            if not found or found != expected:
                raise DisagreementError(f"{way.name} finds {len(found)} rows: its time says nothing.")
            clock = _clock(session)
            begin = clock()
            way.run(session)
            repeats[way.name] = max(1, min(50, round(seconds / (clock() - begin))))
    timings: dict[str, list[float]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in random.sample(ways, len(ways)):
            timings[way.name].append(_time(way, repeats[way.name]))
    return timings


def _time(way: Way, repeats: int) -> float:
    with _session(way) as session:
        for _ in range(min(repeats, 8)):  # psycopg prepares a statement when it comes for the sixth time
            way.run(session)
        gc.collect()
        gc.disable()
        clock = _clock(session)
        begin = clock()
        for _ in range(repeats):
            way.run(session)
        taken = clock() - begin
        gc.enable()
    return taken / repeats


def _clock(session: Session) -> Callable[[], float]:
    """Return what reads the processor time of this process and the server's; elsewhere than on Linux, time."""
    pooled: Any = session.connection()._dbapi_connection  # who asks for it in public has it taken from the pool
    driver = pooled.driver_connection
    server_process = Path(f"/proc/{driver.info.backend_pid}/schedstat")  # its first number: nanoseconds on a processor
    if not server_process.exists():
        return time.perf_counter
    return lambda: time.process_time() + int(server_process.read_text().split()[0]) / 1e9


@contextmanager
def _session(way: Way) -> Iterator[Session]:
    with tenant(BIG), Session(way.engine) as session:
        if not hasattr(way.engine.dialect, "partywall_guard"):
            session.execute(text(f"SET LOCAL partywall.tenant = '{BIG}'"))
        yield session


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 1 if ``--check`` was given and a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_tenant", description=sys.modules[__name__].__doc__)
    parser.add_argument("--rows", type=int, default=500_000, help="of the big tenant")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--quick", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bar is missed")
    options = parser.parse_args(arguments)
    rows, rounds, seconds = (50_000, 2, 0.001) if options.quick else (options.rows, options.rounds, 0.02)
    console = Console(width=None if sys.stdout.isatty() else 128)
    missed = False
    with server() as running, open_places(running.new_database, rows=rows) as places:
        for case in CASES:
            timings = measured(ways_of(case, places), rounds=rounds, seconds=seconds)
            missed |= _show(console, f"{case.name}, {rows:,} rows", timings, has_bar=case.has_bar)
            if case.leakproof:
                with marked(places, case.leakproof):
                    timings = measured(leakproof_ways_of(case, places), rounds=rounds, seconds=seconds)
                _show(console, f"{case.name}, {', '.join(case.leakproof)} LEAKPROOF", timings, has_bar=False)
    return 1 if options.check and missed else 0


def _show(console: Console, title: str, timings: Timings, *, has_bar: bool) -> bool:
    """Show the figures of a case; return whether the bar is missed."""
    table = RichTable(title=title, box=box.SIMPLE)
    for column in ("", "ms", f"to {BY_HAND!r}"):
        table.add_column(column, justify="right" if column else "left")
    misses = []
    for name, figures in timings.items():
        ratio = Spread.of_ratio(timings, name, BY_HAND)
        if has_bar and name.startswith("view") and ratio.median > BAR:
            misses.append(name)
        milliseconds = 1e3 * Spread.of(figures).median
        table.add_row(name, f"{milliseconds:,.2f}", f"{ratio.median:,.2f} ({ratio.low:,.2f}-{ratio.high:,.2f})")
    console.print(table)
    for name in misses:
        console.print(f"[red]missed:[/red] {title}: {name} at most {BAR} of {BY_HAND!r}")
    return bool(misses)


if __name__ == "__main__":
    sys.exit(main())
