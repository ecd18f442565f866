"""Connections that notice when somebody but SQLAlchemy gets the driver's, which may then be left in any state."""

from __future__ import annotations

import sys
from typing import Any

from sqlalchemy.engine import Engine

from partywall.guard._connection import GuardedConnection

__all__ = ["NoticingConnection", "is_ours"]

_OURS = "partywall.ours"  # in the info of a pooled connection: only our Connection has had it

_INSIDE = frozenset(
    {
        "sqlalchemy.engine.base",
        "sqlalchemy.engine.default",
        "sqlalchemy.dialects.postgresql.base",
        "sqlalchemy.dialects.postgresql._psycopg_common",
    }
)
"""Modules that take the pool's connection for what SQLAlchemy does with it. Anybody else may do anything."""


class NoticingConnection(GuardedConnection):
    """A guarded connection of a pool that takes back only what nobody else has had."""

    _handed_out: bool = False

    def __init__(self, engine: Engine, connection: Any = None, **kw: Any) -> None:
        super().__init__(engine, connection, **kw)
        pooled: Any = self._dbapi_connection
        if connection is None and not self._handed_out:  # a listener may have had it
            pooled.info[_OURS] = True

    def _revalidate_connection(self) -> Any:
        pooled = super()._revalidate_connection()
        if not self._handed_out:
            pooled.info[_OURS] = True
        return pooled

    @property
    def connection(self) -> Any:
        """The pool's connection. Whoever but SQLAlchemy has it may do anything: it is closed when it comes back."""
        pooled = super().connection
        if _caller() not in _INSIDE:
            self._no_longer_ours(pooled)
            self._hand_out(pooled)
        return pooled

    def _no_longer_ours(self, pooled: Any) -> None:
        self._handed_out = True
        pooled.info.pop(_OURS, None)

    def _hand_out(self, pooled: Any) -> None:
        """Do what a wall in the database needs before somebody else gets a connection."""


def is_ours(info: dict[Any, Any]) -> bool:
    """Whether nobody else has had a connection that comes back, by its info; asked once."""
    return bool(info.pop(_OURS, False))


def _caller() -> str:
    """Return the name of the module that asks for a property; "" where nobody in Python does."""
    try:
        return str(sys._getframe(2).f_globals.get("__name__", ""))
    except ValueError:
        return ""
