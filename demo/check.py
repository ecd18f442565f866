"""Asks every question and makes every hostile read, and compares with a database that holds only the one who asks."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from demo.by_hand import by_hand
from demo.hostile import HostileRead
from demo.load import World
from demo.questions import Question, Rows, Statement
from partywall import PartywallError, tenant

__all__ = ["Asked", "Verdict", "ask", "try_to_read"]

# Quick questions are asked more often, as their times vary more: up to MORE times as often,
# in SPARE seconds for each turn after the first.
MORE = 10
SPARE = 0.025


@dataclass(frozen=True)
class Asked:
    """
    What became of a question.

    Attributes:
        headline: The answer in a few words.
        same_as_alone: Whether the guarded engine answered exactly what the distributor's own database answers.
        by_hand_same: The same for the query filtered by hand: else its time would mean nothing.
        scoped: Median time of the question as it is written, on the guarded engine, in seconds.
        filtered_by_hand: The same for its hand-filtered twin on an unguarded engine.
    """

    question: Question
    tenant_id: int
    headline: str
    same_as_alone: bool
    by_hand_same: bool
    scoped: float
    filtered_by_hand: float


def ask(question: Question, world: World, tenant_id: int, *, repeat: int) -> Asked:
    """Ask a question for a distributor, on the guarded engine and filtered by hand, *repeat* times or more in turn."""
    hand_filtered = by_hand(question.name)

    def scoped() -> Rows:
        with tenant(tenant_id):
            return _answer(question, question.ask, world.guarded)

    def filtered() -> Rows:
        return _answer(question, lambda: hand_filtered(tenant_id), world.plain)

    expected = _comparable(question, _answer(question, question.ask, world.alone[tenant_id]))
    answer, by_hand_answer = scoped(), filtered()  # these also fill the caches
    times: dict[Callable[[], Rows], list[float]] = {scoped: [], filtered: []}
    with _no_garbage_collection():
        while len(times[scoped]) < repeat or (
            len(times[scoped]) < MORE * repeat and _spent(times) < SPARE * (repeat - 1)
        ):
            for run in (scoped, filtered) if len(times[scoped]) % 2 else (filtered, scoped):
                began = time.perf_counter()
                run()
                times[run].append(time.perf_counter() - began)
    return Asked(
        question,
        tenant_id,
        question.headline(answer),
        _comparable(question, answer) == expected,
        _comparable(question, by_hand_answer) == expected,
        statistics.median(times[scoped]),
        statistics.median(times[filtered]),
    )


def _spent(times: dict[Callable[[], Rows], list[float]]) -> float:
    return sum(map(sum, times.values()))


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep the collector out, as timeit does: in turns, it would always fall into the same one."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _answer(question: Question, build: Callable[[], Statement], engine: Engine) -> Rows:
    with Session(engine) as session:
        return question.read(session.execute(build()))


def _comparable(question: Question, rows: Rows) -> Rows:
    return rows if question.ordered else sorted(rows, key=repr)


@dataclass(frozen=True)
class Verdict:
    """
    What became of a hostile read.

    Attributes:
        words: ``"refused: ..."``, ``"own rows only"`` and the like, or ``"LEAK"``.
        leaked: Whether anything came back that the attacker alone would not have seen, be it an error.
        reads_unguarded: Whether the same read gets at the other's data where nothing is guarded; else it
            proves nothing.
    """

    read: HostileRead
    tenant_id: int
    words: str
    leaked: bool
    reads_unguarded: bool


def try_to_read(read: HostileRead, world: World, tenant_id: int) -> Verdict:
    """Let one distributor try to read the other's rows: guarded, unguarded, and with nobody else there."""
    other = next(each for each in world.alone if each != tenant_id)

    def attempt(engine: Engine) -> _Outcome:
        in_scope = tenant(tenant_id) if read.scoped else contextlib.nullcontext()
        with in_scope, Session(engine) as session:
            try:
                return _Outcome(list(read.attempt(session, other)), None)
            except Exception as error:  # noqa: BLE001  # whatever it is, it is an outcome to compare
                return _Outcome(None, error)

    alone, unguarded, guarded = map(attempt, (world.alone[tenant_id], world.plain, world.guarded))
    leaked = False
    if isinstance(guarded.error, PartywallError):
        words = f"refused: {type(guarded.error).__name__}"
    elif not guarded.is_like(alone):
        words, leaked = f"LEAK: {guarded}, alone {alone}", True
    elif guarded.error is not None:
        words = f"nothing found: {type(guarded.error).__name__}"
    elif not any(guarded.values()):
        words = "nothing found"
    else:
        words = "own rows only"
    return Verdict(read, tenant_id, words, leaked, unguarded.error is None and not unguarded.is_like(alone))


@dataclass(frozen=True)
class _Outcome:
    rows: Rows | None
    error: Exception | None

    def is_like(self, other: _Outcome) -> bool:
        """Whether rows and kind of error are the same. A read that spies on the order returns positions."""
        return type(self.error) is type(other.error) and (
            self.rows == other.rows
            if self.rows is None or other.rows is None
            else sorted(self.rows, key=repr) == sorted(other.rows, key=repr)
        )

    def values(self) -> Iterator[Any]:
        for row in self.rows or ():
            yield from row if isinstance(row, tuple) else (row,)

    def __str__(self) -> str:
        return f"{len(self.rows):,} rows" if self.rows is not None else type(self.error).__name__
