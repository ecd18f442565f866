"""
Measure the row wall of SQLite: ``python -m benchmarks.row_wall_sqlite --help``.

Every figure is a ratio to, or a difference from, the application that filters by hand, on the same file in the same
run.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from sqlalchemy import URL, Engine, create_engine, func, select, update
from sqlalchemy.orm import Session

from benchmarks import row_wall
from benchmarks.cases import CASES, Case, rows
from benchmarks.measure import (
    CLOCKS,
    FULL,
    QUICK,
    Mode,
    Plan,
    Spread,
    Timings,
    measure,
    measure_write,
    verify,
    verify_write,
)
from benchmarks.report import environment
from benchmarks.row_wall import BAR, COUNTS, Way, by_hand, guarded, keys_of, timings_of
from benchmarks.schema import Customer, Invoice, InvoiceLine, Size, fill, new_database, settle
from benchmarks.variants import (
    Variant,
    Visit,
    Writer,
    by_hand_in_the_call,
    plain_in_the_call,
    visit_guarded,
    visit_plain,
)
from benchmarks.writes import WRITES, Write
from partywall import RowWall

__all__ = [
    "BAR",
    "READS",
    "WALLED_WRITES",
    "main",
    "more_to_prepare",
    "open_visits",
    "open_visits_to_prepare",
    "readers",
    "show_ratios",
    "writers",
]

BY_HAND, AGAIN, STATEMENT_WALL, BOTH = "by hand", "by hand, again", "statement wall", "both walls"
NEW = ", new to the connection"
PREPARE_BAR = 40e-6  # seconds
SIZE = Size(tenants=100)
PREPARED = ("update 1", "insert 1: statement", "delete")
CLOCK = CLOCKS["sqlite"]

READS = (
    *(case for case in CASES if case.name == "point"),
    Case(
        "range of 50",
        lambda key: select(Invoice).where(Invoice.id.between(key, key + 49)),
        lambda tenant, key: select(Invoice).where(Invoice.tenant_id == tenant, Invoice.id.between(key, key + 49)),
        key=Size.first_invoice,
    ),
    Case(
        "join of three",
        lambda key: (
            select(Customer.name, Invoice.number, InvoiceLine.article, InvoiceLine.amount)
            .join(Invoice, Invoice.customer_id == Customer.id)
            .join(Invoice.lines)
            .where(Customer.id == key)
        ),
        lambda tenant, key: (
            select(Customer.name, Invoice.number, InvoiceLine.article, InvoiceLine.amount)
            .join(Invoice, Invoice.customer_id == Customer.id)
            .join(Invoice.lines)
            .where(Customer.id == key, *(model.tenant_id == tenant for model in (Customer, Invoice, InvoiceLine)))
        ),
        fetch=rows,
    ),
    Case(
        "aggregate of all",
        lambda _: select(func.count(Invoice.id), func.sum(Invoice.total)),
        lambda tenant, _: select(func.count(Invoice.id), func.sum(Invoice.total)).where(Invoice.tenant_id == tenant),
        fetch=rows,
    ),
    Case(
        "order all, limit 20",
        lambda _: select(Invoice).order_by(Invoice.number).limit(20),
        lambda tenant, _: select(Invoice).where(Invoice.tenant_id == tenant).order_by(Invoice.number).limit(20),
    ),
)


def _add_to_total(session: Session, key: int, *filters: Any) -> int:
    statement = update(Invoice).where(Invoice.id == key, *filters).values(total=Invoice.total + 1)
    count: int = session.execute(statement).rowcount  # type: ignore[attr-defined]  # a write returns a CursorResult
    return count


WALLED_WRITES = (
    Write(
        "update 1",
        lambda session, _, key: _add_to_total(session, key),
        lambda session, tenant, key: _add_to_total(session, key, Invoice.tenant_id == tenant),
        supply=lambda _, size, tenant: itertools.cycle(
            range(size.first_invoice(tenant), size.first_invoice(tenant) + 50)
        ),
    ),
    *WRITES,
)


# A Session, and what runs in it.


def unfiltered(engine: Engine) -> row_wall.Visit:
    """Filter nothing: the keys are the tenant's."""

    def visit(tenant_id: int, statements: int) -> int:
        with Session(engine) as session:
            return sum(
                len(session.scalars(select(Invoice).where(Invoice.id == key)).all())
                for key in keys_of(tenant_id, statements)
            )

    return visit


def ways_on_sqlite(url: URL) -> list[Way]:
    """Return the ways of visiting one file."""
    return [
        Way(BY_HAND, url, by_hand),
        Way(AGAIN, url, by_hand),
        Way("no wall, no filter", url, unfiltered),
        Way(STATEMENT_WALL, url, guarded(None)),
        Way(BOTH, url, guarded(RowWall()), is_compared=True),
    ]


def time_sessions(url: URL, statements: int, plan: Plan) -> Timings:
    """Time opening a Session, so many statements, and closing it."""
    ways = ways_on_sqlite(url)
    engines = [create_engine(way.url) for way in ways]
    try:
        return timings_of(engines, ways, statements, plan, CLOCK)
    finally:
        for engine in engines:
            engine.dispose()


# One statement, in a Session that is open.


@contextlib.contextmanager
def open_visits(url: URL, *, is_prepared_each_time: bool = False) -> Iterator[dict[str, Visit]]:
    """Give each way an engine of its own on one file."""
    options = {"cached_statements": 0} if is_prepared_each_time else {}
    engines = [create_engine(url, connect_args=options) for _ in range(4)]
    plain, plain_again, scoped, walled = engines
    try:
        yield {
            BY_HAND: visit_plain(plain),
            AGAIN: visit_plain(plain_again),
            STATEMENT_WALL: visit_guarded(scoped),
            BOTH: visit_guarded(walled, RowWall()),
        }
    finally:
        for engine in engines:
            engine.dispose()


def readers(visits: Mapping[str, Visit]) -> list[Variant]:
    """Return the ways of running a read."""
    return [
        Variant(name, by_hand_in_the_call if name.startswith(BY_HAND) else plain_in_the_call, visit)
        for name, visit in visits.items()
    ]


def writers(visits: Mapping[str, Visit]) -> list[Writer]:
    """Return the ways of running a write."""
    return [
        Writer(name, (lambda write: write.by_hand) if name.startswith(BY_HAND) else (lambda write: write.plain), visit)
        for name, visit in visits.items()
    ]


@contextlib.contextmanager
def open_visits_to_prepare(url: URL) -> Iterator[dict[str, Visit]]:
    """Give each way two engines: the driver of one keeps what it has prepared, that of the other prepares each time."""
    with open_visits(url) as known, open_visits(url, is_prepared_each_time=True) as new:
        yield {
            **{name: known[name] for name in (BY_HAND, BOTH)},
            **{name + NEW: new[name] for name in (BY_HAND, BOTH)},
        }


def more_to_prepare(timings: Timings) -> Spread:
    """Return the seconds that preparing takes more with both walls than by hand."""
    names = (BOTH + NEW, BOTH, BY_HAND + NEW, BY_HAND)
    rounds = zip(*(timings[name] for name in names), strict=True)
    return Spread.of([(walled_new - walled) - (plain_new - plain) for walled_new, walled, plain_new, plain in rounds])


def time_reads(visits: Mapping[str, Visit], size: Size, plan: Plan) -> dict[str, Timings]:
    """Time each read, once all ways have returned the same."""
    variants = readers(visits)
    for case in READS:
        verify(case, variants, size)
    return {case.name: measure(case, variants, size, mode=Mode.STATEMENT, clock=CLOCK, plan=plan) for case in READS}


def time_writes(visits: Mapping[str, Visit], writes: Sequence[Write], size: Size, plan: Plan) -> dict[str, Timings]:
    """Time each write, once all ways have written the same."""
    ways = writers(visits)
    for write in writes:
        verify_write(write, ways, size)
    return {write.name: measure_write(write, ways, size, clock=CLOCK, plan=plan) for write in writes}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; return the exit status: 1 if ``--check`` was given and a bar is missed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.row_wall_sqlite", description=sys.modules[__name__].__doc__
    )
    parser.add_argument("--quick", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bar is missed")
    options = parser.parse_args(arguments)
    plan, size = (QUICK, Size(tenants=3, customers=5, batch=20)) if options.quick else (FULL, SIZE)
    console = Console(width=None if sys.stdout.isatty() else 128)
    console.print(f"{environment({})}; load {os.getloadavg()[0]:.1f}; CPU time, {plan.rounds} rounds")
    missed: list[str] = []
    with new_database("sqlite") as url:
        fill(url, row_wall.SIZE)
        found = {name: time_sessions(url, count, plan) for name, count in COUNTS.items()}
        missed += show_ratios(console, "open a Session, run, close", found, BAR)
    with new_database("sqlite") as url:
        fill(url, size)
        with open_visits(url) as visits:
            missed += show_ratios(console, "read, in a Session that is open", time_reads(visits, size, plan), BAR)
            written = time_writes(visits, WALLED_WRITES, size, plan)
            missed += show_ratios(console, "write, in a Session that is open", written, None)
        settle(url)
        with open_visits_to_prepare(url) as visits:
            longer = replace(plan, rounds=3 * plan.rounds)  # a difference of differences is noisier than a ratio
            prepared = {
                **time_reads(visits, size, longer),
                **time_writes(visits, [write for write in WALLED_WRITES if write.name in PREPARED], size, longer),
            }
        missed += show_prepared(console, prepared)
    console.print(f"load afterwards {os.getloadavg()[0]:.1f}")
    for each in missed:
        console.print(f"[red]missed:[/red] {each}")
    return 1 if options.check and missed else 0


def show_ratios(console: Console, title: str, found: Mapping[str, Timings], bar: float | None) -> list[str]:
    """Show each way's time as a ratio to the one by hand; return what misses the bar."""
    ways = [name for name in next(iter(found.values())) if name != BY_HAND]
    table = _table(title, "", f"{BY_HAND}, µs", *ways)
    missed = []
    for case, timings in found.items():
        ratios = {name: Spread.of_ratio(timings, name, BY_HAND) for name in ways}
        table.add_row(
            case,
            f"{1e6 * Spread.of(timings[BY_HAND]).median:,.0f}",
            *(f"{ratio.median:.3f} ({ratio.low:.2f}-{ratio.high:.2f})" for ratio in ratios.values()),
        )
        if bar is not None and ratios[BOTH].median > bar:
            missed.append(f"{title}: {case}: {BOTH} {ratios[BOTH].median:.3f}, at most {bar}")
    console.print(table)
    return missed


def show_prepared(console: Console, found: Mapping[str, Timings]) -> list[str]:
    """Show what preparing takes; return what misses the bar."""
    table = _table(
        "a statement that is new to the connection", "", f"{BY_HAND}, µs", f"{BOTH}, µs", "more to prepare, µs"
    )
    missed = []
    for case, timings in found.items():
        more = more_to_prepare(timings)
        table.add_row(
            case,
            *(f"{1e6 * Spread.of(timings[name + NEW]).median:,.0f}" for name in (BY_HAND, BOTH)),
            f"{1e6 * more.median:.0f} ({1e6 * more.low:.0f} to {1e6 * more.high:.0f})",
        )
        if more.median > PREPARE_BAR:
            missed.append(f"{case}: {1e6 * more.median:.0f} µs more to prepare, at most {1e6 * PREPARE_BAR:.0f}")
    console.print(table)
    return missed


def _table(title: str, *columns: str) -> RichTable:
    table = RichTable(title=title, box=box.SIMPLE)
    for column in columns:
        table.add_column(column, justify="right" if column else "left", no_wrap=not column)
    return table


if __name__ == "__main__":
    sys.exit(main())
