"""Times the variants of a case against each other, in one interleaved run."""

from __future__ import annotations

import enum
import functools
import gc
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from benchmarks.cases import Case
from benchmarks.schema import Size
from benchmarks.variants import Run, Variant, Writer, contents, state_of
from benchmarks.writes import Write

__all__ = [
    "CLOCKS",
    "FULL",
    "QUICK",
    "Clock",
    "DisagreementError",
    "Mode",
    "Plan",
    "Spread",
    "Task",
    "Timings",
    "interleaved",
    "measure",
    "measure_write",
    "repeats_for",
    "verify",
    "verify_write",
]

Clock = Callable[[], float]

CLOCKS: Mapping[str, Clock] = {
    "sqlite": time.process_time,  # it works in this process; time given to other processes does not count
    "postgresql": time.perf_counter,  # the server's work counts too
}


class Mode(enum.Enum):
    """What is repeated. The value is the title of its table."""

    STATEMENT = "one statement, in a Session that is open"
    SESSION = "open a Session, run one statement, close it"
    WRITE = "one write, in a Session that is open"
    KEYS = "one statement on each layout of the keys, on a connection that is open"


@dataclass(frozen=True)
class Plan:
    """How long to measure: rounds, seconds for each variant in a round, and runs before its time is taken."""

    rounds: int
    seconds: float
    warm_up: int


# Python specialises SQLAlchemy's code to the classes that pass through it. When another variant takes over, it takes a
# few dozen runs to do so again: 20 are most of it, and without them the rarer class pays a microsecond or two.
FULL = Plan(rounds=80, seconds=0.006, warm_up=20)
QUICK = Plan(rounds=3, seconds=0.001, warm_up=1)

Timings = Mapping[str, Sequence[float]]
"""Name of a variant to its seconds for one run, a figure for each round."""


@dataclass(frozen=True)
class Spread:
    """The middle of some figures, and how far they lie apart: their 10th and 90th percentile."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Summarize at least two figures."""
        tenths = statistics.quantiles(figures, n=10, method="inclusive")
        return cls(tenths[0], statistics.median(figures), tenths[-1])

    @classmethod
    def of_ratio(cls, timings: Timings, numerator: str, denominator: str) -> Spread:
        """Summarize the ratio of two variants, taken within each round: what slows a round slows both."""
        pairs = zip(timings[numerator], timings[denominator], strict=True)
        return cls.of([mine / other for mine, other in pairs])


class DisagreementError(Exception):
    """Two variants returned or wrote different rows: their times say nothing about each other."""


def verify(case: Case, variants: Sequence[Variant], size: Size) -> None:
    """
    Check that every variant returns the same rows, for the first, the second and the last tenant.

    Raises:
        DisagreementError: They do not, or they return no row at all.
    """
    for tenant_id in (1, 2, size.tenants):
        key = case.key(size, tenant_id)
        results: dict[str, list[str]] = {
            variant.name: variant.visit(tenant_id, _contents_of(variant.prepare(case, tenant_id, key)))
            for variant in variants
        }
        expected = results[variants[0].name]
        different = [name for name, result in results.items() if result != expected]
        if different or not expected:
            raise DisagreementError(
                f"{case.name}: {', '.join(different) or 'every variant'} returned other rows, or none."
            )


def _contents_of(run: Run) -> Callable[[Session], list[str]]:
    # What was loaded is read before the Session closes.
    return lambda session: contents(run(session))


def measure(case: Case, variants: Sequence[Variant], size: Size, *, mode: Mode, clock: Clock, plan: Plan) -> Timings:
    """
    Time the variants of a case.

    In each round every variant runs for about as long, for the round's tenant and in random order, with the garbage
    collector off.
    """
    once = _timer(mode, clock, plan.warm_up)

    def task(variant: Variant) -> Task:
        def run(tenant_id: int, repeats: int) -> float:
            return once(variant, tenant_id, variant.prepare(case, tenant_id, case.key(size, tenant_id)), repeats)

        return run

    tasks = {variant.name: task(variant) for variant in variants}
    return interleaved(tasks, repeats_for(tasks[variants[0].name], plan), size, plan)


Task = Callable[[int, int], float]
"""Runs something for a tenant as many times as it is told to, and returns the seconds it took."""


def interleaved(tasks: Mapping[str, Task], repeats: int, size: Size, plan: Plan) -> Timings:
    """Run all tasks in each round, in random order, for the round's tenant, with the garbage collector off."""
    order = list(tasks.items())
    timings: dict[str, list[float]] = {name: [] for name in tasks}
    gc.collect()
    gc.freeze()  # what exists now will not be looked at again in each round
    try:
        for number in range(plan.rounds):
            random.shuffle(order)
            gc.collect()
            gc.disable()
            for name, task in order:
                timings[name].append(task(1 + number % size.tenants, repeats) / repeats)
            gc.enable()
    finally:
        gc.enable()
        gc.unfreeze()
    return timings


def repeats_for(task: Task, plan: Plan) -> int:
    """Return how many runs fill the plan's time, after the database has seen the statement a few times."""
    task(1, 10)  # psycopg prepares a statement when it comes for the sixth time
    return max(2, round(plan.seconds / (task(1, 10) / 10)))


Timer = Callable[[Variant, int, Run, int], float]


def _timer(mode: Mode, clock: Clock, warm_up: int) -> Timer:
    """Return what runs a variant as many times as it is told to, and returns the seconds it took."""

    def time_statements(variant: Variant, tenant_id: int, run: Run, repeats: int) -> float:
        def work(session: Session) -> float:
            for _ in range(warm_up):
                run(session)
            begin = clock()
            for _ in range(repeats):
                run(session)
            return clock() - begin

        return variant.visit(tenant_id, work)

    def time_sessions(variant: Variant, tenant_id: int, run: Run, repeats: int) -> float:
        visit = variant.visit
        for _ in range(warm_up):
            visit(tenant_id, run)
        begin = clock()
        for _ in range(repeats):
            visit(tenant_id, run)
        return clock() - begin

    return time_statements if mode is Mode.STATEMENT else time_sessions


def measure_write(write: Write, writers: Sequence[Writer], size: Size, *, clock: Clock, plan: Plan) -> Timings:
    """
    Time the ways of writing a case, interleaved as reads are.

    What is written is rolled back when the Session closes, which no time is taken of.
    """

    def task(writer: Writer, warm_up: int) -> Task:
        way = writer.way(write)

        def run(tenant_id: int, repeats: int) -> float:
            def work(session: Session) -> float:
                supply = write.supply(session, size, tenant_id)
                for _ in range(warm_up):
                    way(session, tenant_id, next(supply))
                begin = clock()
                for _ in range(repeats):
                    way(session, tenant_id, next(supply))
                return clock() - begin

            return writer.visit(tenant_id, work)

        return run

    repeats = repeats_for(task(writers[0], 1), plan)
    warm_up = min(plan.warm_up, repeats)  # a long write runs the same code for each row: it is warm after a few
    return interleaved({writer.name: task(writer, warm_up) for writer in writers}, repeats, size, plan)


def verify_write(write: Write, writers: Sequence[Writer], size: Size) -> None:
    """
    Check that every way writes the same, for the first, the second and the last tenant, and leaves no trace.

    Raises:
        DisagreementError: They do not, or they write nothing, or the tenant's rows are others afterwards.
    """
    for tenant_id in (1, 2, size.tenants):

        def work(session: Session, tenant_id: int, writer: Writer) -> tuple[int, list[str]]:
            supply = write.supply(session, size, tenant_id)
            count = writer.way(write)(session, tenant_id, next(supply))
            return count, state_of(session, tenant_id)

        def state(tenant_id: int) -> list[str]:
            return writers[0].visit(tenant_id, lambda session: state_of(session, tenant_id))

        before = state(tenant_id)
        written = {
            writer.name: writer.visit(tenant_id, functools.partial(work, tenant_id=tenant_id, writer=writer))
            for writer in writers
        }
        expected = written[writers[0].name]
        different = [name for name, each in written.items() if each != expected]
        if different or not expected[0] or expected[1] == before:
            raise DisagreementError(f"{write.name}: {', '.join(different) or 'every way'} wrote other rows, or none.")
        if state(tenant_id) != before:
            raise DisagreementError(f"{write.name}: what was written is still there.")
