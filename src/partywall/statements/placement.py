"""Where the criterion of a joined table goes: the placement table."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["PLACEMENT", "JoinKind", "Place", "Side"]


class JoinKind(enum.Enum):
    INNER = "inner"
    LEFT = "left"
    RIGHT = "right"
    FULL = "full"


class Side(enum.Enum):
    LEFT = "left"
    RIGHT = "right"


class Place(enum.Enum):
    """Where the criterion of the tables on one side of a join may stand."""

    OUTSIDE = "outside"  # after the join: in WHERE, or in the ON of the join around this one
    ON = "on"  # in this join's own ON
    INSIDE = "inside"  # before the join: with the table itself


# An outer join fills one side with NULLs where nothing matches. A criterion on that side must decide what matches (ON);
# after the join it would drop the filled rows. A criterion on the preserved side must not stand in ON, where a row that
# fails it would be preserved all the same. FULL JOIN does both on both sides, so only the table itself is left.
# (PostgreSQL manual, 7.2.1.1 Joined Tables.)
PLACEMENT: Mapping[tuple[JoinKind, Side], Place] = MappingProxyType(
    {
        (JoinKind.INNER, Side.LEFT): Place.OUTSIDE,
        (JoinKind.INNER, Side.RIGHT): Place.OUTSIDE,
        (JoinKind.LEFT, Side.LEFT): Place.OUTSIDE,
        (JoinKind.LEFT, Side.RIGHT): Place.ON,
        (JoinKind.RIGHT, Side.LEFT): Place.ON,
        (JoinKind.RIGHT, Side.RIGHT): Place.OUTSIDE,
        (JoinKind.FULL, Side.LEFT): Place.INSIDE,
        (JoinKind.FULL, Side.RIGHT): Place.INSIDE,
    }
)
