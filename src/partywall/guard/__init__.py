"""Puts the walls around an engine. Nothing else hooks into engines, connections or Sessions."""

from partywall.guard._engine import guard_engine
from partywall.guard._guard import Guard, guard_of

__all__ = ["Guard", "guard_engine", "guard_of"]
