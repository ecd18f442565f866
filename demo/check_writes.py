"""Makes every write, and compares with a database that holds only the one who writes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from demo.books import difference, look, look_at, own
from demo.check import in_turn
from demo.load import World
from demo.writes import Write
from demo.writes_by_hand import write_by_hand
from partywall import tenant

__all__ = ["Written", "carry_out"]


@dataclass(frozen=True)
class Written:
    """
    What became of a write.

    Attributes:
        headline: What it did, in a few words.
        same_as_alone: Whether the distributor's rows are then exactly those of its own database after the
            same write, and others than before.
        others_untouched: Whether all other rows, the other distributor's and the shared ones, are as before.
        by_hand_same: Whether the write by hand does the same: else its time would mean nothing.
        scoped: Median time of the write as it is written, on the guarded engine, in seconds.
        by_hand: The same for its twin that names the tenant, on an unguarded engine.
    """

    write: Write
    tenant_id: int
    headline: str
    same_as_alone: bool
    others_untouched: bool
    by_hand_same: bool
    scoped: float
    by_hand: float


def carry_out(write: Write, world: World, tenant_id: int, *, repeat: int) -> Written:
    """
    Make a write for a distributor, on the guarded engine and by hand.

    It is timed in transactions that are rolled back, then made once more and committed. On the distributor's own
    database it is made by hand: nothing there fills in the tenant.
    """
    twin = write_by_hand(write.name)

    def by_hand(session: Session) -> str:
        twin(session, tenant_id)
        return ""

    def scoped() -> float:
        with tenant(tenant_id):
            return _time(write.make, world.guarded)

    before = look(world.plain)
    with Session(world.alone[tenant_id]) as session:
        by_hand(session)
        session.commit()
    expected = look(world.alone[tenant_id])
    with Session(world.plain) as session:
        by_hand(session)
        after_by_hand = look_at(session.connection())
    times = (float("nan"), float("nan"))
    try:
        times = in_turn(scoped, lambda: _time(by_hand, world.plain), repeat=repeat)
        with tenant(tenant_id), Session(world.guarded) as session:
            headline = write.make(session)
            session.commit()
    except Exception as error:  # noqa: BLE001  # whatever it is, the write was not made, and that is told
        headline = f"failed: {type(error).__name__}"
    after = look(world.plain)
    return Written(
        write,
        tenant_id,
        headline,
        own(after, tenant_id) == own(expected, tenant_id) != own(before, tenant_id),
        not difference(before, after, ours=tenant_id),
        own(after_by_hand, tenant_id) == own(expected, tenant_id)
        and not difference(before, after_by_hand, ours=tenant_id),
        *times,
    )


def _time(make: Callable[[Session], str], engine: Engine) -> float:
    with Session(engine) as session:
        began = time.perf_counter()
        make(session)
        return time.perf_counter() - began
