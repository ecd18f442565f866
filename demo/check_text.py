"""Asks SQL text, and compares with a database that holds only the one who asks."""

from __future__ import annotations

import gc
import statistics
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from demo.load import World
from demo.questions import Rows
from demo.tpch import TextQuery
from partywall import PartywallError, tenant

__all__ = ["AskedText", "ask_text"]

DIGITS = 12  # of floating point numbers; everything else is compared exactly


@dataclass(frozen=True)
class AskedText:
    """
    What became of a query that is SQL text.

    Attributes:
        rows: How many rows it answered with; None if it did not answer.
        same_as_alone: Whether the guarded engine answered what the distributor's own database answers.
        failure: ``"refused: ..."`` or ``"failed: ..."`` with the error's class; empty if it answered.
        first: Time of the first run on the guarded engine, in seconds; None if it did not answer.
        then: Median time of the runs after it.
    """

    query: TextQuery
    tenant_id: int
    rows: int | None
    same_as_alone: bool
    failure: str
    first: float | None
    then: float | None


def ask_text(query: TextQuery, world: World, tenant_id: int, *, repeat: int) -> AskedText:
    """Run a text for a distributor on the guarded engine: once, and then *repeat* times for its time."""
    expected = _comparable(query, _answer(query, world.alone[tenant_id]))

    def scoped() -> tuple[Rows, float]:
        gc.collect()
        began = time.perf_counter()
        with tenant(tenant_id):
            rows = _answer(query, world.guarded)
        return rows, time.perf_counter() - began

    try:
        rows, first = scoped()
        then = statistics.median(scoped()[1] for _ in range(repeat))
    except Exception as error:  # noqa: BLE001  # whatever it is, there is no answer, and that is told
        verb = "refused" if isinstance(error, PartywallError) else "failed"
        return AskedText(query, tenant_id, None, False, f"{verb}: {type(error).__name__}", None, None)
    return AskedText(query, tenant_id, len(rows), _comparable(query, rows) == expected, "", first, then)


def _answer(query: TextQuery, engine: Engine) -> Rows:
    with Session(engine) as session:
        return [tuple(row) for row in session.execute(query.statement(engine.dialect.name))]


def _comparable(query: TextQuery, rows: Rows) -> Rows:
    rounded = [tuple(_rounded(value) for value in row) for row in rows]
    return rounded if query.ordered else sorted(rounded, key=repr)


def _rounded(value: Any) -> Any:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
