"""
Measure searches of a big tenant among small ones on PostgreSQL: ``python -m benchmarks.big_tenant --help``.

Policies are a security barrier: an operator that is not leakproof cannot use an index under them. What is compared with
everything else is the same search, filtered by hand by the owner of the tables, whom no wall holds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import (
    URL,
    BigInteger,
    Column,
    Connection,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    and_,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy.dialects.postgresql import TSVECTOR

from benchmarks.measure import DisagreementError
from dev.postgres import Server, server
from partywall import Tenancy, tenant
from partywall.rows.declaration import RowWall

__all__ = ["SEARCHES", "main", "measured", "ways_on"]

ROLE = "bench_big"
BIG = 1
BAR = 1.2
BY_HAND = "by hand, no wall"
VIEW = "view and statement wall"

metadata = MetaData()
entries = Table(
    "entries",
    metadata,
    Column("id", BigInteger, primary_key=True),
    Column("tenant_id", Integer, nullable=False),
    Column("day", Integer, nullable=False),
    Column("name", String(40, collation="C"), nullable=False),
    Column("amount", Numeric(12, 2), nullable=False),
    Column("words", TSVECTOR, nullable=False),
    Index("entries_day", "tenant_id", "day"),
    Index("entries_name", "tenant_id", "name"),
    Index("entries_amount", "tenant_id", "amount"),
    Index("entries_words", "words", postgresql_using="gin"),
)
ROWS = """
    INSERT INTO entries SELECT {first} + i, {tenant}, i / 10, 'name' || md5(i::text), i / 10.0,
    to_tsvector('simple', 'everywhere w' || mod(i, {rows} / 20)) FROM generate_series(0, {rows} - 1) AS i
"""
MADE_LEAKPROOF = ("textlike(text, text)", "numeric_eq(numeric, numeric)", "ts_match_vq(tsvector, tsquery)")

_FOUND = func.to_tsquery("simple", "w42")
SEARCHES: dict[str, Any] = {
    "range": entries.c.day.between(100, 101),
    "LIKE": entries.c.name.like("namea87ff%"),
    "numeric equality": entries.c.amount == Decimal("420.1"),
    "full text": entries.c.words.bool_op("@@")(_FOUND),
}
CURES: dict[str, Any] = {
    **SEARCHES,
    "LIKE": and_(entries.c.name.like("namea87ff%"), entries.c.name >= "namea87ff", entries.c.name < "namea87fg"),
}
STARTS_WITH: dict[str, Any] = {"LIKE": entries.c.name.bool_op("^@")("namea87ff")}


@dataclass(frozen=True)
class Way:
    """
    One way to search.

    Attributes:
        url: Of the database that it takes.
        wall: What guards its engine; None: it is a plain one.
        has_setting: Whether the application sets the tenant by hand.
        by_hand: Whether it filters by hand.
        searches: By name, in its words.
    """

    name: str
    url: URL
    wall: RowWall | None = None
    has_setting: bool = False
    by_hand: bool = False
    searches: Mapping[str, Any] = None  # type: ignore[assignment]  # set below

    def __post_init__(self) -> None:
        if self.searches is None:
            object.__setattr__(self, "searches", SEARCHES)


def ways_on(running: Server, rows: int) -> list[Way]:
    """Fill a database, put walls around copies of it, and return the ways to search them."""
    bare = running.new_database()
    _fill(bare, rows)
    policy, leakproof, view = (running.new_database() for _ in range(3))
    superuser = create_engine(bare.set(username="postgres", database="postgres"), isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {ROLE} LOGIN")
        for url in (policy, leakproof, view):
            connection.exec_driver_sql(f"DROP DATABASE {url.database}")
            connection.exec_driver_sql(
                f"CREATE DATABASE {url.database} TEMPLATE {bare.database} OWNER {bare.username} STRATEGY file_copy"
            )
    superuser.dispose()
    policies, views = RowWall(role=ROLE), RowWall(role=ROLE, views={"entries"})
    for url, wall in ((policy, policies), (leakproof, policies), (view, views)):
        _run(url, *_tenancy(wall).row_wall_ddl())
    _run(leakproof.set(username="postgres"), *(f"ALTER FUNCTION {each} LEAKPROOF" for each in MADE_LEAKPROOF))
    for url in (policy, leakproof, view):
        _run(url.set(username="postgres"), "ANALYZE")
    policy, leakproof, view = (url.set(username=ROLE) for url in (policy, leakproof, view))
    return [
        Way(BY_HAND, bare, by_hand=True),
        Way("policy", policy, has_setting=True),
        Way("policy, by hand too", policy, has_setting=True, by_hand=True),
        Way("policy and statement wall", policy, policies),
        Way("... with a range beside LIKE", policy, policies, searches=CURES),
        Way("... with ^@ for LIKE", policy, policies, searches=STARTS_WITH),
        Way("... with leakproof functions", leakproof, policies),
        Way("view", view, has_setting=True),
        Way(VIEW, view, views),
    ]


def _tenancy(wall: RowWall | None) -> Tenancy:
    return Tenancy(metadata, operators={"@@", "^@"}, functions={"to_tsquery"}, rows=wall)


def _fill(url: URL, rows: int) -> None:
    engine = create_engine(url)
    metadata.create_all(engine)
    engine.dispose()
    small = [(number, rows // 500) for number in range(BIG + 1, BIG + 21)]
    _run(
        url, *(ROWS.format(first=number * 10**7, tenant=number, rows=count) for number, count in [(BIG, rows), *small])
    )
    _run(url.set(username="postgres"), "ANALYZE")


def _run(url: URL, *statements: Any) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for each in statements:
            if isinstance(each, str):
                connection.exec_driver_sql(each)
            else:
                connection.execute(each)
    engine.dispose()


def measured(ways: Sequence[Way], *, rounds: int, budget: float) -> dict[str, dict[str, list[float]]]:
    """
    Time every search by every way, in interleaved rounds.

    Args:
        ways: The first is the one by hand.
        rounds: How many.
        budget: Seconds that a search by one way may take in a round, if it can be run more than once.

    Returns:
        Search to way to the seconds that it took once, one figure for each round.

    Raises:
        DisagreementError: A way found other rows.
    """
    found: dict[str, dict[str, list[float]]] = {name: {} for name in SEARCHES}
    with ExitStack() as stack:
        opened = [(way, _connected(way, stack)) for way in ways]
        for name, timings in found.items():
            searches: dict[str, Callable[[], list[int]]] = {}
            for way, connection in opened:
                if name in way.searches:
                    searches[way.name] = _search(way, connection, name)
            rows = {each: run() for each, run in searches.items()}
            if not rows[BY_HAND] or any(each != rows[BY_HAND] for each in rows.values()):
                raise DisagreementError(f"{name}: the ways found {rows}, so the times say nothing.")
            repeats = {each: _repeats(run, budget) for each, run in searches.items()}
            for _ in range(rounds):
                for each, run in searches.items():
                    begin = time.perf_counter()
                    for _ in range(repeats[each]):
                        run()
                    timings.setdefault(each, []).append((time.perf_counter() - begin) / repeats[each])
    return found


def _connected(way: Way, stack: ExitStack) -> Connection:
    engine = create_engine(way.url)
    if way.wall is not None:
        _tenancy(way.wall).guard(engine)
    if way.has_setting:

        @event.listens_for(engine, "begin")
        def set_tenant(connection: Connection) -> None:
            connection.exec_driver_sql(f"SET LOCAL partywall.tenant = '{BIG}'")

    stack.callback(engine.dispose)
    with tenant(BIG):
        connection = stack.enter_context(engine.connect())
        connection.begin()
    return connection


def _search(way: Way, connection: Connection, name: str) -> Callable[[], list[int]]:
    statement = select(entries.c.id).where(way.searches[name]).order_by(entries.c.id)
    if way.by_hand:
        statement = statement.where(entries.c.tenant_id == BIG)

    def run() -> list[int]:
        return list(connection.scalars(statement))

    return run


def _repeats(run: Callable[[], Any], budget: float) -> int:
    for _ in range(7):  # psycopg prepares a statement when it comes for the sixth time
        begin = time.perf_counter()
        run()
        seconds = time.perf_counter() - begin
        if seconds > budget:
            return 1
    return max(1, int(budget / seconds))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 1 if ``--check`` was given and a bar is missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.big_tenant", description=sys.modules[__name__].__doc__)
    parser.add_argument("--rows", type=int, default=500_000, help="of the big tenant")
    parser.add_argument("--quick", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bar is missed")
    options = parser.parse_args(arguments)
    with server() as running:
        ways = ways_on(running, 20_000 if options.quick else options.rows)
        found = measured(ways, rounds=3 if options.quick else 15, budget=0.01 if options.quick else 0.1)
    missed = _show(Console(width=None if sys.stdout.isatty() else 128), ways, found)
    return 1 if options.check and missed else 0


def _show(console: Console, ways: Sequence[Way], found: Mapping[str, Mapping[str, Sequence[float]]]) -> list[str]:
    """Show the figures; return the searches that miss the bar."""
    table = RichTable(title=f"milliseconds, and their ratio to {BY_HAND!r}", box=box.SIMPLE)
    for title in ("", *found):
        table.add_column(title, justify="left" if not title else "right")
    missed = []
    for way in ways:
        cells = []
        for name, timings in found.items():
            if way.name not in timings:
                cells.append("")
                continue
            ratio = statistics.median(a / b for a, b in zip(timings[way.name], timings[BY_HAND], strict=True))
            cells.append(f"{1e3 * statistics.median(timings[way.name]):.2f} ({ratio:,.2f})")
            if way.name == VIEW and name != "range" and ratio > BAR:  # a range is quick by every way
                missed.append(name)
        table.add_row(way.name, *cells)
    console.print(table)
    for name in missed:
        console.print(f"[red]missed:[/red] {name}: {VIEW} at most {BAR} of {BY_HAND!r}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
