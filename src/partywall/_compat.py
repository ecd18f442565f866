"""What differs between SQLAlchemy 2.0 and 2.1, and what we use of it that has no public name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sqlalchemy
from sqlalchemy.orm import identity
from sqlalchemy.sql.annotation import Annotated

__all__ = ["SQLALCHEMY_21", "WeakInstanceDict", "drop_ordered_values", "hold_transaction", "is_annotated"]

SQLALCHEMY_21: bool = tuple(int(part) for part in sqlalchemy.__version__.split(".")[:2]) >= (2, 1)
"""Whether this is 2.1 or later. Ends with the support of 2.0."""

WeakInstanceDict: Any = getattr(identity, "_WeakInstanceDict" if SQLALCHEMY_21 else "WeakInstanceDict")
"""The class of a Session's identity map. It got its underscore in 2.1; ends with the support of 2.0."""


def is_annotated(cls: type[Any]) -> bool:
    """Whether *cls* is one of the classes that SQLAlchemy makes to carry annotations on another one."""
    return issubclass(cls, Annotated)


def drop_ordered_values(state: Any, is_dropped: Callable[[Any], bool]) -> None:
    """Drop values from an UPDATE's ``ordered_values()``, which 2.0 keeps twice. Ends with the support of 2.0."""
    ordered = getattr(state, "_ordered_values", None)
    if ordered is not None:
        kept = [(key, value) for key, value in ordered if not is_dropped(key)]
        state._ordered_values, state._parameter_ordering = kept, [key for key, _ in kept]


def hold_transaction(connection: Any, transaction: Any) -> None:
    """Give SQLAlchemy's adapter of asyncpg a transaction that has begun. 2.0 has a flag beside it; ends with it."""
    connection._transaction = transaction
    if not SQLALCHEMY_21:
        connection._started = True
