"""Measure partywall against the same queries and writes by hand: ``python -m benchmarks --help``."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from sqlalchemy import URL

from benchmarks.cases import CASES
from benchmarks.footprint import cache_entries, guard_seconds, import_seconds
from benchmarks.keys import KEY_CASES, derive_seconds, measure_keys, open_schemas, verify_keys
from benchmarks.measure import CLOCKS, FULL, QUICK, Mode, Plan, Spread, measure, measure_write, verify, verify_write
from benchmarks.report import LEGEND, Fact, Measured, as_json, environment, show_facts, show_timings
from benchmarks.schema import DATABASES, Size, fill, new_database, settle
from benchmarks.text import COMPILED, first_time, proof_time, repeated
from benchmarks.variants import open_variants, open_writers
from benchmarks.writes import WRITES

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks; return the exit status: 1 if ``--check`` was given and a bar is missed."""
    options = _parser().parse_args(arguments)
    plan, size = (QUICK, Size(tenants=3, customers=20)) if options.quick else (FULL, Size())
    console = Console(width=None if sys.stdout.isatty() else 128)
    kinds = DATABASES if options.database == "both" else (options.database,)
    with contextlib.ExitStack() as databases:
        urls = {kind: databases.enter_context(new_database(kind)) for kind in kinds}
        for url in urls.values():
            fill(url, size)
        where = environment(urls)
        console.print(where, highlight=False, soft_wrap=True)
        console.print(LEGEND.format(rounds=plan.rounds), highlight=False, soft_wrap=True)
        measured = [
            each
            for kind, url in urls.items()
            for time_all in (TIMERS.values() if options.only is None else (TIMERS[options.only],))
            for each in time_all(kind, url, size, plan, console)
        ]
        texts = [fact for kind, url in urls.items() for fact in _text_facts(kind, url, size, quick=options.quick)]
    facts = [*_facts(quick=options.quick), *texts]
    show_facts(console, facts)
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(where, measured, facts), indent=2) + "\n")
    misses = [miss for each in measured for miss in each.misses()] + [miss for fact in facts for miss in fact.misses()]
    for miss in misses:
        console.print(f"[red]missed:[/red] {miss}", highlight=False, soft_wrap=True)
    return 1 if options.check and misses else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=sys.modules[__name__].__doc__)
    parser.add_argument("--database", choices=(*DATABASES, "both"), default="both")
    parser.add_argument("--only", choices=tuple(TIMERS), help="time no others")
    parser.add_argument("--quick", action="store_true", help="see that it works; the figures mean little")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a bar is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE as well")
    return parser


def _time_reads(kind: str, url: URL, size: Size, plan: Plan, console: Console) -> list[Measured]:
    """Time every read."""
    measured = []
    with open_variants(url) as variants:
        for case in CASES:
            verify(case, variants, size)
        for mode in (Mode.STATEMENT, Mode.SESSION):
            table = []
            for case in CASES:
                timings = measure(case, variants, size, mode=mode, clock=CLOCKS[kind], plan=plan)
                table.append(Measured(kind, mode, case.name, timings))
            show_timings(console, f"{kind}: {mode.value}", table)
            measured += table
    return measured


def _time_writes(kind: str, url: URL, size: Size, plan: Plan, console: Console) -> list[Measured]:
    """Time every write; each leaves the rows as they were."""
    table = []
    with open_writers(url) as writers:
        for write in WRITES:
            verify_write(write, writers, size)
        for write in WRITES:
            timings = measure_write(write, writers, size, clock=CLOCKS[kind], plan=plan)
            table.append(Measured(kind, Mode.WRITE, write.name, timings, write.at_most))
            settle(url)
    show_timings(console, f"{kind}: {Mode.WRITE.value}", table)
    return table


def _time_keys(kind: str, url: URL, size: Size, plan: Plan, console: Console) -> list[Measured]:
    """Time statements on the keys that are derived, and on those that were written."""
    table = []
    with open_schemas(url, size) as engine:
        for case in KEY_CASES:
            verify_keys(case, engine, size)
        for case in KEY_CASES:
            settle(url)
            timings = measure_keys(case, engine, size, clock=CLOCKS[kind], plan=plan)
            table.append(Measured(kind, Mode.KEYS, case.name, timings, case.at_most))
    show_timings(console, f"{kind}: {Mode.KEYS.value}", table)
    return table


TIMERS = {"reads": _time_reads, "writes": _time_writes, "keys": _time_keys}


def _facts(*, quick: bool) -> list[Fact]:
    sqlalchemy, added = import_seconds(runs=3 if quick else 15)
    guarding = guard_seconds(tables=1_000, runs=3 if quick else 10)
    deriving = derive_seconds(tables=1_000, runs=3 if quick else 10)
    tenants = 50 if quick else 1_000
    first, last = cache_entries(tenants=tenants)
    return [
        Fact(
            "import time over SQLAlchemy's",
            f"{_milliseconds(added)}, on {_milliseconds(sqlalchemy)}",
            added.median,
        ),
        Fact(
            "guarding 1,000 tables",
            _milliseconds(guarding),
            guarding.median,
            bar="under 1 s",
            passes=guarding.median < 1,
        ),
        Fact(
            "deriving the keys of 1,000 tables",
            _milliseconds(deriving),
            deriving.median,
            bar="under 1 s",
            passes=deriving.median < 1,
        ),
        Fact(
            f"compiled-cache entries that tenants 2 to {tenants:,} add",
            f"{last - first}, to {first} for the first tenant",
            last - first,
            bar="none",
            passes=last == first > 0,
        ),
    ]


def _text_facts(kind: str, url: URL, size: Size, *, quick: bool) -> list[Fact]:
    runs = 5 if quick else 40
    first, proof = first_time(kind, runs=runs), proof_time(kind, runs=runs)
    ratios = repeated(url, size, rounds=3 if quick else 60, calls=5 if quick else 60)
    how = "compiled" if COMPILED else "pure Python"
    return [
        Fact(
            f"{kind}: text, the first time, for each KB ({how})",
            _milliseconds(first, digits=1),
            first.median,
            bar="at most 3 ms, compiled",
            passes=first.median <= 0.003 if COMPILED else None,
        ),
        Fact(
            f"{kind}: proof of a statement ({how})",
            _milliseconds(proof, digits=1),
            proof.median,
            bar="at most 2 ms",
            passes=proof.median <= 0.002,
        ),
        *(
            Fact(
                f"{kind}: {name} repeated, to plain text() filtered by hand",
                f"{ratio.median:.3f} ({ratio.low:.2f}-{ratio.high:.2f})",
                ratio.median,
                bar="at most 1.05",
                passes=ratio.median <= 1.05,
            )
            for name, ratio in ratios.items()
        ),
    ]


def _milliseconds(seconds: Spread, *, digits: int = 0) -> str:
    return f"{1e3 * seconds.median:.{digits}f} ms ({1e3 * seconds.low:.{digits}f}-{1e3 * seconds.high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())
