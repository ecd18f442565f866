"""Lets each distributor try every hostile read and write, and finds out what it got at."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from demo.books import Books, difference, look, look_at
from demo.hostile import Hostile
from demo.load import World
from demo.models import Base
from demo.questions import Rows
from partywall import PartywallError, tenant

__all__ = ["ATTACKED", "Verdict", "try_to_read", "try_to_write"]

ATTACKED = [table for table in Base.metadata.sorted_tables if table.name != "lineitem"]
"""What is looked at after each hostile write. The largest table is looked at when all have been tried."""


@dataclass(frozen=True)
class Verdict:
    """
    What became of a hostile read or write.

    Attributes:
        words: ``"refused: ..."``, ``"own rows only"`` and the like, or ``"LEAK"``.
        leaked: Whether anything came back that the attacker alone would not have seen, be it an error, or
            a row that is not the attacker's is another than before.
        unguarded: What the same does where nothing is guarded: ``"leaks"``, ``"adds theirs"`` and the like;
            empty if nothing, and then it proves nothing.
    """

    attempt: Hostile
    tenant_id: int
    words: str
    leaked: bool
    unguarded: str


def try_to_read(read: Hostile, world: World, tenant_id: int) -> Verdict:
    """Let one distributor try to read the other's rows: guarded, unguarded, and with nobody else there."""
    alone, unguarded, guarded = (
        _attempt(read, engine, world, tenant_id) for engine in (world.alone[tenant_id], world.plain, world.guarded)
    )
    return _verdict(read, tenant_id, alone, unguarded, guarded)


def try_to_write(write: Hostile, world: World, tenant_id: int, before: Books) -> Verdict:
    """
    Let one distributor try to write what is not its own, as `try_to_read` does; everything is rolled back.

    *before* is what the shared database holds in the tables that are `ATTACKED`.
    """
    alone = _attempt(write, world.alone[tenant_id], world, tenant_id)
    unguarded, guarded = (_attempt(write, engine, world, tenant_id, before) for engine in (world.plain, world.guarded))
    return _verdict(write, tenant_id, alone, unguarded, guarded)


def _attempt(attempt: Hostile, engine: Engine, world: World, tenant_id: int, before: Books | None = None) -> _Outcome:
    other = next(each for each in world.alone if each != tenant_id)
    in_scope = tenant(tenant_id) if attempt.scoped else contextlib.nullcontext()
    with in_scope, Session(engine) as session:
        rows, error = None, None
        try:
            rows = list(attempt.attempt(session, other))
        except Exception as caught:  # noqa: BLE001  # whatever it is, it is an outcome to compare
            error = caught
        change = "" if before is None else difference(before, _look(session, world), ours=tenant_id)
        return _Outcome(rows, error, change)


def _look(session: Session, world: World) -> Books:
    """Look at what a commit would leave: past the guard, but in the transaction, if it can still be committed."""
    try:
        return look_at(session.connection(), ATTACKED)
    except Exception:  # noqa: BLE001  # whatever it is, the transaction is not to be had
        session.rollback()
        return look(world.plain, ATTACKED)


def _verdict(attempt: Hostile, tenant_id: int, alone: _Outcome, unguarded: _Outcome, guarded: _Outcome) -> Verdict:
    leaked = False
    if guarded.change:
        words, leaked = f"LEAK: {guarded.change}", True
    elif isinstance(guarded.error, PartywallError):
        words = f"refused: {type(guarded.error).__name__}"
    elif not guarded.is_like(alone):
        words, leaked = f"LEAK: {guarded}, alone {alone}", True
    elif guarded.error is not None:
        words = f"nothing found: {type(guarded.error).__name__}"
    elif not any(guarded.values()):
        words = "nothing found"
    else:
        words = "own rows only"
    leaks = unguarded.error is None and not unguarded.is_like(alone)
    return Verdict(attempt, tenant_id, words, leaked, unguarded.change or ("leaks" if leaks else ""))


@dataclass(frozen=True)
class _Outcome:
    rows: Rows | None
    error: Exception | None
    change: str  # to rows that are not the attacker's

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
