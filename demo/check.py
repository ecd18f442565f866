"""Asks every question, and compares with a database that holds only the one who asks."""

from __future__ import annotations

import contextlib
import gc
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from demo.by_hand import by_hand
from demo.load import World
from demo.questions import Question, Rows, Statement
from partywall import tenant

__all__ = ["Asked", "ask", "in_turn"]

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
    scoped_time, filtered_time = in_turn(lambda: _timed(scoped), lambda: _timed(filtered), repeat=repeat)
    return Asked(
        question,
        tenant_id,
        question.headline(answer),
        _comparable(question, answer) == expected,
        _comparable(question, by_hand_answer) == expected,
        scoped_time,
        filtered_time,
    )


Timed = Callable[[], float]
"""Runs something and returns the seconds that count."""


def _timed(run: Callable[[], Rows]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def in_turn(one: Timed, other: Timed, *, repeat: int) -> tuple[float, float]:
    """Run two things in turn, *repeat* times or more, and return the median of what each says it took."""
    times: dict[Timed, list[float]] = {one: [], other: []}
    with _no_garbage_collection():
        while len(times[one]) < repeat or (
            len(times[one]) < MORE * repeat and sum(map(sum, times.values())) < SPARE * (repeat - 1)
        ):
            for run in (one, other) if len(times[one]) % 2 else (other, one):
                times[run].append(run())
    return statistics.median(times[one]), statistics.median(times[other])


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
