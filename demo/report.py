"""Prints what became of the questions, SQL texts, writes and hostile attempts, for terminals and for logs."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy
from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from demo.check import Asked
from demo.check_hostile import Verdict
from demo.check_keys import Pointed
from demo.check_text import AskedText
from demo.check_writes import Written
from demo.load import World

__all__ = ["Findings", "print_findings", "print_title"]

NOTE = "dim"


@dataclass(frozen=True)
class Findings:
    """
    What the demo found.

    Attributes:
        untouched: Whether, when all hostile writes had been tried, every row of every table was as before.
        seconds: How long everything took.
    """

    asked: Sequence[Asked]
    texts: Sequence[AskedText]
    written: Sequence[Written]
    reads: Sequence[Verdict]
    writes: Sequence[Verdict]
    pointed: Sequence[Pointed]
    untouched: bool
    seconds: float

    @property
    def exit_status(self) -> int:
        """Return 1 if anything leaked, or anything was another than alone; else 0."""
        answered = all(each.same_as_alone and each.by_hand_same for each in self.asked)
        texts = all(each.same_as_alone for each in self.texts)
        wrote = all(each.same_as_alone and each.others_untouched and each.by_hand_same for each in self.written)
        leaked = any(each.leaked for each in (*self.reads, *self.writes))
        kept_apart = all(each.refused for each in self.pointed)
        return 0 if answered and texts and wrote and self.untouched and kept_apart and not leaked else 1


def print_findings(console: Console, world: World, findings: Findings, *, repeat: int) -> None:
    _print_facts(console, world)
    _print_questions(console, world, findings.asked, repeat=repeat)
    _print_texts(console, world, findings.texts, repeat=repeat)
    _print_writes(console, world, findings.written, repeat=repeat)
    _print_hostile_reads(console, world, findings.reads)
    _print_hostile_writes(console, world, findings)
    _print_hostile_keys(console, world, findings.pointed)
    _print_closing(console, findings)


def print_title(console: Console) -> None:
    title = Text("partywall: two distributors share one database", style="bold")
    text = Text("Each reads and writes as if it were alone there. Then each tries to get at the other's rows.")
    console.print(Panel(Text("\n").join((title, text)), box=box.ROUNDED, border_style="cyan"))


def _print_facts(console: Console, world: World) -> None:
    rows = ", ".join(f"{world.names[each]} {count:,}" for each, count in world.rows.items())
    console.print(
        Text(f"{world.database}, SQLAlchemy {sqlalchemy.__version__}, data from {world.generator}. Rows: {rows}.", NOTE)
    )


def _print_questions(console: Console, world: World, asked: Sequence[Asked], *, repeat: int) -> None:
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
            Text("\n").join(_hand_time(each.filtered_by_hand, right=each.by_hand_same) for each in group),
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
            "related objects are filtered too, by with_loader_criteria(): the distributors have equal keys.",
            NOTE,
        )
    )


def _print_texts(console: Console, world: World, texts: Sequence[AskedText], *, repeat: int) -> None:
    table = Table(
        title="The 22 queries of TPC-H, as SQL text",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        padding=(0, 1, 0, 0),
    )
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("Query", ratio=1)
    table.add_column("Asked by", no_wrap=True)
    table.add_column("Rows", justify="right", no_wrap=True)
    table.add_column("As\nalone", no_wrap=True)
    for heading in ("first\nms", "then\nms"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number in dict.fromkeys(each.query.number for each in texts):
        group = [each for each in texts if each.query.number == number]
        table.add_row(
            str(number),
            group[0].query.title,
            "\n".join(world.names[each.tenant_id] for each in group),
            "\n".join("" if each.rows is None else f"{each.rows:,}" for each in group),
            Text("\n").join(
                Text(each.failure, "bold red") if each.failure else _sameness(each.same_as_alone) for each in group
            ),
            "\n".join("" if each.first is None else _milliseconds(each.first) for each in group),
            "\n".join("" if each.then is None else _milliseconds(each.then) for each in group),
        )
    console.print(table)
    console.print(
        Text(
            "Each is a text() of demo/tpch.py, executed in a Session. It names no tenant and joins by key alone; on a "
            "plain engine over the shared database every one of them mixes the distributors' rows.\n"
            f"Times: the first run, in which a text is parsed for everybody, and the median of {repeat} runs after it.",
            NOTE,
        )
    )


def _sameness(same: bool) -> Text:
    return Text("same", "green") if same else Text("DIFFERS", "bold red")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.1f}"


def _hand_time(seconds: float, *, right: bool) -> Text:
    return Text(_milliseconds(seconds)) if right else Text("WRONG", "bold red")


def _print_writes(console: Console, world: World, written: Sequence[Written], *, repeat: int) -> None:
    table = Table(
        title="Writes, with no tenant in any value or condition",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        padding=(0, 1, 0, 0),
    )
    table.add_column("Write", ratio=1)
    table.add_column("Written by", no_wrap=True)
    table.add_column("What it did", no_wrap=True)
    table.add_column("As\nalone", no_wrap=True)
    table.add_column("The\nother's", no_wrap=True)
    for heading in ("scoped\nms", "by hand\nms", "\nratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name in dict.fromkeys(each.write.name for each in written):
        group = [each for each in written if each.write.name == name]
        table.add_row(
            group[0].write.title,
            "\n".join(world.names[each.tenant_id] for each in group),
            "\n".join(each.headline for each in group),
            Text("\n").join(_sameness(each.same_as_alone) for each in group),
            Text("\n").join(_untouched(each.others_untouched) for each in group),
            "\n".join(_milliseconds(each.scoped) for each in group),
            Text("\n").join(_hand_time(each.by_hand, right=each.by_hand_same) for each in group),
            "\n".join(f"{each.scoped / each.by_hand:.2f}" for each in group),
        )
    console.print(table)
    console.print(
        Text(
            "As alone: after the commit the distributor's rows in all tables are exactly those of the database with "
            "this distributor only, after the same write. The other's: its rows, and the shared ones, are as before. "
            "Rows are counted and summed by a cursor of the driver's own.\n"
            f"Times: median of {repeat} or more runs in turn, each in a new Session that is rolled back outside of the "
            "time. By hand: the write of demo/writes_by_hand.py, on a plain engine over the same shared database; its "
            "unit of work needs models with the tenant in each key.",
            NOTE,
        )
    )


def _untouched(untouched: bool) -> Text:
    return Text("untouched", "green") if untouched else Text("CHANGED", "bold red")


def _print_hostile_reads(console: Console, world: World, verdicts: Sequence[Verdict]) -> None:
    _print_hostile(console, world, "Hostile reads, by each of the other's rows", verdicts)
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


def _print_hostile_writes(console: Console, world: World, findings: Findings) -> None:
    _print_hostile(console, world, "Hostile writes, by each among the other's rows", findings.writes)
    console.print(
        Text(
            "Guarded: no row that is not the writer's is another than before, and what came back equals what a "
            "database with the writer only returns; if not, it is a leak. All are rolled back.",
            NOTE,
        )
    )
    if not findings.untouched:
        console.print(Text("LEAK: after all of them, the shared database holds other rows than before.", "bold red"))


def _print_hostile(console: Console, world: World, title: str, verdicts: Sequence[Verdict]) -> None:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_style="bold")
    table.add_column("Tried", ratio=1)
    table.add_column("Unguarded", no_wrap=True)
    table.add_column("Guarded")
    for name in dict.fromkeys(each.attempt.name for each in verdicts):
        group = [each for each in verdicts if each.attempt.name == name]
        unguarded = next((each.unguarded for each in group), "") if all(each.unguarded for each in group) else ""
        table.add_row(
            Text(group[0].attempt.title),
            Text(unguarded, "yellow") if unguarded else Text("finds nothing", NOTE),
            _verdict(world, group),
        )
    console.print(table)


def _verdict(world: World, group: Sequence[Verdict]) -> Text:
    if len({each.words for each in group}) == 1:
        return _words(group[0])
    return Text("\n").join(Text(f"{world.names[each.tenant_id]}: ").append_text(_words(each)) for each in group)


def _words(verdict: Verdict) -> Text:
    return Text(verdict.words, "bold red" if verdict.leaked else "green")


def _print_hostile_keys(console: Console, world: World, pointed: Sequence[Pointed]) -> None:
    table = Table(title="Rows that point to the other's, past everything but the keys", box=box.SIMPLE_HEAD)
    table.title_style = "bold"
    table.add_column("Tried", ratio=1)
    table.add_column("By the database")
    for title in dict.fromkeys(each.attempt.title for each in pointed):
        through = [world.names[each.tenant_id] for each in pointed if each.attempt.title == title and not each.refused]
        became = Text(f"LEAK: {', '.join(through)}", "bold red") if through else Text("refused by a key", "green")
        table.add_row(Text(title), became)
    console.print(table)
    console.print(
        Text(
            "Each is executed by a cursor of the driver's own on a plain engine, where neither SQLAlchemy nor "
            "partywall sees it: the foreign keys that tenancy.create_all() made refuse it. On SQLite they need PRAGMA "
            "foreign_keys = ON. All are rolled back.",
            NOTE,
        )
    )


def _print_closing(console: Console, findings: Findings) -> None:
    hostile = (*findings.reads, *findings.writes)
    leaks = sum(each.leaked for each in hostile)
    refused = sum(each.words.startswith("refused") for each in hostile)
    console.print()
    console.print(
        Text(
            f"{_same(findings.asked)} answers, {_same(findings.texts)} SQL texts and "
            f"{_same(findings.written)} writes the same as alone, answers and writes at "
            f"{_median(each.scoped / each.filtered_by_hand for each in findings.asked)} and "
            f"{_median(each.scoped / each.by_hand for each in findings.written)} of the time by hand (medians). "
            f"{len(findings.reads)} hostile reads and {len(findings.writes)} hostile writes: {refused} refused, "
            f"{len(hostile) - refused - leaks} met nothing but their own, {leaks} leaked. "
            f"{sum(each.refused for each in findings.pointed)} of {len(findings.pointed)} attempts to point across "
            f"refused by the keys alone. {findings.seconds:.0f} s.",
            "bold green" if findings.exit_status == 0 else "bold red",
        )
    )


def _same(found: Sequence[Asked] | Sequence[AskedText] | Sequence[Written]) -> str:
    return f"{sum(each.same_as_alone for each in found)} of {len(found)}"


def _median(ratios: Iterable[float]) -> str:
    return f"{statistics.median(ratios):.2f}"
