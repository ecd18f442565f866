"""Prints what became of the questions and the hostile reads, for terminals and for logs."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import sqlalchemy
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.check import Asked, Verdict
from demo.load import World

__all__ = ["exit_status", "print_closing", "print_facts", "print_hostile_reads", "print_questions", "print_title"]

NOTE = "dim"


def exit_status(asked: Sequence[Asked], verdicts: Sequence[Verdict]) -> int:
    """Return 1 if a row of anybody else's was seen, or an answer was another than alone; else 0."""
    answered = all(each.same_as_alone and each.by_hand_same for each in asked)
    return 0 if answered and not any(each.leaked for each in verdicts) else 1


def print_title(console: Console) -> None:
    title = Text("partywall: two distributors share one database", style="bold")
    text = Text("Each asks its questions as if it were alone there. Then each tries to read the other's rows.")
    console.print(Panel(Text("\n").join((title, text)), box=box.ROUNDED, border_style="cyan"))


def print_facts(console: Console, world: World) -> None:
    rows = ", ".join(f"{world.names[each]} {count:,}" for each, count in world.rows.items())
    console.print(
        Text(f"{world.database}, SQLAlchemy {sqlalchemy.__version__}, data from {world.generator}. Rows: {rows}.", NOTE)
    )


def print_questions(console: Console, world: World, asked: Sequence[Asked], *, repeat: int) -> None:
    table = Table(
        title="Questions, with no tenant filter in any of them",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        padding=(0, 1, 0, 0),
    )
    table.add_column("Question", ratio=1)
    table.add_column("Asked by", no_wrap=True)
    table.add_column("Answer", no_wrap=True)
    table.add_column("As\nalone", no_wrap=True)
    for heading in ("scoped\nms", "by hand\nms", "\nratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in dict.fromkeys(each.question.name for each in asked):
        group = [each for each in asked if each.question.name == name]
        table.add_row(
            group[0].question.title,
            "\n".join(world.names[each.tenant_id] for each in group),
            "\n".join(each.headline for each in group),
            Text("\n").join(_sameness(each.same_as_alone) for each in group),
            "\n".join(_milliseconds(each.scoped) for each in group),
            Text("\n").join(_hand_time(each) for each in group),
            "\n".join(f"{each.scoped / each.filtered_by_hand:.2f}" for each in group),
        )
    console.print(table)
    console.print(
        Text(
            "As alone: the rows are exactly those that a plain engine returns on a database with this distributor "
            "only, and in the same order if the question has one.\n"
            f"Times: median of {repeat} or more runs in turn, each from a new Session and building the statement to "
            "the last row or lazy load; garbage collector off.\n"
            "By hand: the statement of demo/by_hand.py, on a plain engine over the same shared database. Its loads of "
            "related objects are not filtered a second time: the composite foreign keys already compare the tenant.",
            NOTE,
        )
    )


def _sameness(same: bool) -> Text:
    return Text("same", "green") if same else Text("DIFFERS", "bold red")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"


def _hand_time(asked: Asked) -> Text:
    return Text(_milliseconds(asked.filtered_by_hand)) if asked.by_hand_same else Text("WRONG", "bold red")


def print_hostile_reads(console: Console, world: World, verdicts: Sequence[Verdict]) -> None:
    table = Table(title="Hostile reads, by each of the other's rows", box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column("Tried", ratio=1)
    table.add_column("Unguarded", no_wrap=True)
    table.add_column("Guarded")
    for name in dict.fromkeys(each.read.name for each in verdicts):
        group = [each for each in verdicts if each.read.name == name]
        reads = all(each.reads_unguarded for each in group)
        table.add_row(
            Text(group[0].read.title),
            Text("leaks", "yellow") if reads else Text("finds nothing", NOTE),
            _verdict(world, group),
        )
    console.print(table)
    console.print(
        Text(
            "Guarded: what came back equals what the same read returns on a database with the reader only; if not, it "
            "is a leak.\n"
            "Unguarded: what the same read gets at on a plain engine over the shared database.\n"
            "Not tried: a cursor of the driver's own (session.connection().connection.cursor()). It does not pass "
            "through SQLAlchemy's compiler, so the statement wall does not see it.",
            NOTE,
        )
    )


def _verdict(world: World, group: Sequence[Verdict]) -> Text:
    if len({each.words for each in group}) == 1:
        return _words(group[0])
    return Text("\n").join(Text(f"{world.names[each.tenant_id]}: ").append_text(_words(each)) for each in group)


def _words(verdict: Verdict) -> Text:
    return Text(verdict.words, "bold red" if verdict.leaked else "green")


def print_closing(console: Console, asked: Sequence[Asked], verdicts: Sequence[Verdict], *, seconds: float) -> None:
    same = sum(each.same_as_alone for each in asked)
    leaks = sum(each.leaked for each in verdicts)
    refused = sum(each.words.startswith("refused") for each in verdicts)
    ratios = [each.scoped / each.filtered_by_hand for each in asked]
    good = exit_status(asked, verdicts) == 0
    console.print()
    console.print(
        Text(
            f"{same} of {len(asked)} answers the same as alone, at {statistics.median(ratios):.2f} of the time of the "
            f"query filtered by hand (median). {len(verdicts)} hostile reads: {refused} refused, "
            f"{len(verdicts) - refused - leaks} saw nothing but their own, {leaks} leaked. {seconds:.0f} s.",
            "bold green" if good else "bold red",
        )
    )
