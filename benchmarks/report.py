"""What the figures are held to, and how they are shown."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy
from rich import box
from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, create_engine

import partywall
from benchmarks.measure import Mode, Spread, Timings

__all__ = [
    "COMPARISONS",
    "LEGEND",
    "Comparison",
    "Fact",
    "Measured",
    "as_json",
    "environment",
    "show_facts",
    "show_timings",
]


@dataclass(frozen=True)
class Comparison:
    """One column: a variant's time as a ratio to another's, and the most that its median may be."""

    title: str
    numerator: str
    denominator: str
    bars: Mapping[Mode, float]


READS = (
    Comparison("filter in the call", "partywall", "by hand", {Mode.STATEMENT: 0.98, Mode.SESSION: 1.05}),
    Comparison(
        "built once",
        "partywall, built once",
        "by hand, built once",
        {Mode.STATEMENT: 1.03},
    ),
    Comparison("to the recipe", "partywall", "recipe", {}),
    Comparison("by hand to itself", "by hand, again", "by hand", {}),
)

WRITES = (
    Comparison("tenant left out", "partywall", "by hand", {Mode.WRITE: 1.05}),
    Comparison("by hand to itself", "by hand, again", "by hand", {}),
)

KEYS = (
    Comparison("keep", "keep", "as written", {Mode.KEYS: 1.10}),
    Comparison("tenant-first", "tenant-first", "as written", {Mode.KEYS: 1.10}),
    Comparison("as written to itself", "as written, again", "as written", {}),
)

COMPARISONS: Mapping[Mode, Sequence[Comparison]] = {
    Mode.STATEMENT: READS,
    Mode.SESSION: READS,
    Mode.WRITE: WRITES,
    Mode.KEYS: KEYS,
}

LEGEND = """\
Ratios of time, median (10th-90th percentile) over {rounds} rounds; in each, all variants run, in random order.
filter in the call: partywall without a filter, to the filter written by hand; both build the statement in the call.
built once: the same, both run a statement that was built before; "to the recipe": with_loader_criteria in an event.
tenant left out: partywall fills it in or adds it, to the same write that names it by hand in the values or in WHERE;
rolled back outside of the time.
keep, tenant-first: plain Core statements on the keys that partywall derives, to the same on the models' own keys.
to itself: on a second engine, or on other tables, which shows the noise. CPU time on SQLite, elapsed on PostgreSQL."""


TIMES: Mapping[Mode, str] = {Mode.WRITE: "by hand, µs", Mode.KEYS: "as written, µs"}


@dataclass(frozen=True)
class Measured:
    """The times of one case on one database. *own_bar* stands in the place of the bar of its mode."""

    database: str
    mode: Mode
    case: str
    timings: Timings
    own_bar: float | None = None

    def ratio(self, comparison: Comparison) -> Spread:
        """Return the figure of one column."""
        return Spread.of_ratio(self.timings, comparison.numerator, comparison.denominator)

    def bar(self, comparison: Comparison) -> float | None:
        """Return the most that the median of one column may be; None if it may be anything."""
        of_mode = comparison.bars.get(self.mode)
        return of_mode if of_mode is None or self.own_bar is None else self.own_bar

    def misses(self) -> list[str]:
        """Say which bars it misses."""
        return [
            f"{self.database}, {self.case}, {self.mode.value}: {comparison.title} {median:.3f}, at most {bar}"
            for comparison in COMPARISONS[self.mode]
            if (bar := self.bar(comparison)) is not None and (median := self.ratio(comparison).median) > bar
        ]


@dataclass(frozen=True)
class Fact:
    """A figure that is no ratio, as it is shown and as a number. *passes* is None where there is no bar."""

    name: str
    figure: str
    value: float
    bar: str = ""
    passes: bool | None = None

    def misses(self) -> list[str]:
        """Say which bar it misses."""
        return [f"{self.name}: {self.figure}, {self.bar}"] if self.passes is False else []


def show_timings(console: Console, title: str, measured: Sequence[Measured]) -> None:
    """Print the cases of one database and mode as a table."""
    mode = measured[0].mode
    table = _table(title)
    table.add_column("case", no_wrap=True)
    table.add_column(TIMES.get(mode, "by hand\n(once), µs"), justify="right")
    for comparison in COMPARISONS[mode]:
        bar = comparison.bars.get(mode)
        table.add_column(f"{comparison.title}\n{'' if bar is None else f'at most {bar}'}", justify="right")
    for each in measured:
        names = [name for name in ("by hand", "by hand, built once", "as written") if name in each.timings]
        once = [f"{1e6 * Spread.of(each.timings[name]).median:.0f}" for name in names]
        ratios = [(each.ratio(comparison), each.bar(comparison)) for comparison in COMPARISONS[mode]]
        table.add_row(
            each.case if each.own_bar is None else f"{each.case} (at most {each.own_bar})",
            once[0] if len(once) == 1 else f"{once[0]} ({once[1]})",
            *(_shown(ratio) + _mark(None if bar is None else ratio.median <= bar) for ratio, bar in ratios),
        )
    console.print(table)


def show_facts(console: Console, facts: Sequence[Fact]) -> None:
    """Print the figures that are no ratios as a table."""
    table = _table("Beside the statements")
    for heading in ("what", "figure", "bar", ""):
        table.add_column(heading)
    for fact in facts:
        table.add_row(fact.name, fact.figure, fact.bar, _mark(fact.passes))
    console.print(table)


def _table(title: str) -> Table:
    return Table(title=f"\n{title}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)


def _shown(spread: Spread) -> str:
    return f"[bold]{spread.median:.3f}[/bold] ({spread.low:.2f}-{spread.high:.2f})"


def _mark(passes: bool | None) -> str:
    return {True: " [green]✓[/green]", False: " [red]✗[/red]", None: ""}[passes]


def environment(urls: Mapping[str, URL]) -> str:
    """Name the versions that the figures depend on, in one line."""
    versions = [
        f"partywall {partywall.__version__}",
        f"SQLAlchemy {sqlalchemy.__version__}",
        f"Python {platform.python_version()}",
        f"SQLite {sqlite3.sqlite_version}",
    ]
    if "postgresql" in urls:
        engine = create_engine(urls["postgresql"])
        with engine.connect() as connection:
            server = ".".join(map(str, connection.dialect.server_version_info or ()))
        versions += [f"PostgreSQL {server}", f"psycopg {engine.dialect.dbapi.__version__}"]  # type: ignore[union-attr]  # connected: it has one
        engine.dispose()
    return f"{', '.join(versions)}; {platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"


def as_json(where: str, measured: Sequence[Measured], facts: Sequence[Fact]) -> dict[str, Any]:
    """Return everything for ``--json``: seconds by variant, ratios by column, facts."""
    return {
        "environment": where,
        "timings": [
            {
                "database": each.database,
                "mode": each.mode.name.lower(),
                "case": each.case,
                "seconds": {name: asdict(Spread.of(figures)) for name, figures in each.timings.items()},
                "ratios": [
                    {
                        "of": comparison.numerator,
                        "to": comparison.denominator,
                        **asdict(each.ratio(comparison)),
                        "at_most": each.bar(comparison),
                    }
                    for comparison in COMPARISONS[each.mode]
                ],
            }
            for each in measured
        ],
        "facts": [asdict(fact) for fact in facts],
    }
