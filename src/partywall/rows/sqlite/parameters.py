"""Parameters as SQLite stores them, so that binding them runs nothing of the application's."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

__all__ = ["plain"]

PLAIN = frozenset({int, float, str, bytes, bytearray, memoryview, type(None)})
"""Types that are bound as they are. An adapter that is registered for one of them is sqlite3's to call."""


def plain(parameters: Any) -> Any:
    """
    Return the parameters of one execution, adapted beforehand and in containers that are no subclasses.

    sqlite3 adapts values, and asks mappings and sequences for them, between preparing a statement and running it: a
    ``__conform__`` that used the connection would do so with what that statement may.
    """
    if type(parameters) is tuple and PLAIN.issuperset(map(type, parameters)):
        return parameters  # as SQLAlchemy has them
    if isinstance(parameters, Mapping):
        return {str(name): _plain_value(value) for name, value in parameters.items()}
    return tuple(map(_plain_value, parameters))


def _plain_value(value: Any) -> Any:
    if type(value) in PLAIN:
        return value
    adapted = sqlite3.adapt(value, sqlite3.PrepareProtocol, value)
    if type(adapted) in PLAIN:
        return adapted
    if isinstance(adapted, int):
        return int.__int__(adapted)
    if isinstance(adapted, float):
        return float.__float__(adapted)
    if isinstance(adapted, str):
        return str.__str__(adapted)
    try:
        return bytes(memoryview(adapted))
    except TypeError:
        raise sqlite3.ProgrammingError(
            f"Error binding parameters: type '{type(adapted).__name__}' is not supported"
        ) from None
