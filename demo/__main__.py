"""Run the demo: ``python -m demo [--postgres] [--scale 0.01] [--repeat 7]``; exit status 1 if anything leaked."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo import report
from demo.books import look
from demo.check import ask
from demo.check_hostile import ATTACKED, try_to_read, try_to_write
from demo.check_keys import try_to_point
from demo.check_text import ask_text
from demo.check_writes import carry_out
from demo.hostile import HOSTILE_READS, Hostile
from demo.hostile_keys import HOSTILE_KEYS
from demo.hostile_writes import HOSTILE_WRITES
from demo.load import World, open_world
from demo.questions import QUESTIONS
from demo.tpch import TPCH
from demo.writes import WRITES

LOG_WIDTH = 116  # columns, where no terminal says how many it has


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Load two distributors, ask every question, in SQL too, make every write, try everything hostile, and print it.

    Returns:
        The exit status: 0, or 1 if anything leaked or an answer or a write was another than alone.
    """
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=LOG_WIDTH)
    began = time.monotonic()
    report.print_title(console)
    columns = TextColumn("{task.description:<20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with (
        Progress(*columns, console=console) as progress,
        open_world(postgres=options.postgres, scale=options.scale, progress=progress) as world,
    ):
        tenants = tuple(world.alone)
        asked = [
            ask(question, world, tenant_id, repeat=options.repeat)
            for question in progress.track(QUESTIONS, description="asking")
            for tenant_id in tenants
        ]
        texts = [
            ask_text(query, world, tenant_id, repeat=options.repeat)
            for query in progress.track(TPCH, description="asking in SQL")
            for tenant_id in tenants
        ]
        written = [
            carry_out(write, world, tenant_id, repeat=options.repeat)
            for write in progress.track(WRITES, description="writing")
            for tenant_id in tenants
        ]
        before = look(world.plain)
        reads = [
            try_to_read(read, world, tenant_id)
            for read in progress.track(_possible(HOSTILE_READS, world), description="trying to read")
            for tenant_id in tenants
        ]
        attacked = look(world.plain, ATTACKED)
        writes = [
            try_to_write(write, world, tenant_id, attacked)
            for write in progress.track(_possible(HOSTILE_WRITES, world), description="trying to write")
            for tenant_id in tenants
        ]
        pointed = [
            try_to_point(attempt, world.plain, tenant_id, other)
            for attempt in progress.track(HOSTILE_KEYS, description="trying to point")
            for tenant_id, other in zip(tenants, reversed(tenants), strict=True)
        ]
        untouched = look(world.plain) == before
    findings = report.Findings(asked, texts, written, reads, writes, pointed, untouched, time.monotonic() - began)
    report.print_findings(console, world, findings, repeat=options.repeat)
    return findings.exit_status


def _possible(attempts: Sequence[Hostile], world: World) -> Sequence[Hostile]:
    return [each for each in attempts if world.plain.dialect.name in each.databases]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m demo", description="Two distributors share one database.")
    parser.add_argument("--postgres", action="store_true", help="use a PostgreSQL server of its own instead of SQLite")
    parser.add_argument(
        "--scale",
        type=_positive_number,
        default=0.01,
        help="TPC-H scale factor of the bigger distributor, the other has half of it (default: %(default)s)",
    )
    parser.add_argument(
        "--repeat", type=_positive, default=7, help="least number of timed runs of each question (default: %(default)s)"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _positive_number(text: str) -> float:
    value = float(text)
    if not 0.0002 <= value <= 100:
        raise argparse.ArgumentTypeError("must be between 0.0002 and 100")
    return value


if __name__ == "__main__":
    sys.exit(main())
