"""Run the demo: ``python -m demo [--postgres] [--scale 0.01] [--repeat 7]``; exit status 1 if anything leaked."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from demo import report
from demo.check import ask, try_to_read
from demo.hostile import HOSTILE_READS
from demo.load import open_world
from demo.questions import QUESTIONS

LOG_WIDTH = 116  # columns, where no terminal says how many it has


def main(arguments: Sequence[str] | None = None) -> int:
    """
    Load two distributors, ask every question, try every hostile read, and print what became of them.

    Returns:
        The exit status: 0, or 1 if anything leaked or an answer was another than alone.
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
        reads = [read for read in HOSTILE_READS if world.plain.dialect.name in read.databases]
        verdicts = [
            try_to_read(read, world, tenant_id)
            for read in progress.track(reads, description="trying to read")
            for tenant_id in tenants
        ]
    report.print_facts(console, world)
    report.print_questions(console, world, asked, repeat=options.repeat)
    report.print_hostile_reads(console, world, verdicts)
    report.print_closing(console, asked, verdicts, seconds=time.monotonic() - began)
    return report.exit_status(asked, verdicts)


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
