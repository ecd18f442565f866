"""
NATURAL and USING: of the columns that they compare, SQLite asks the authorizer nothing.

``SELECT count(*) FROM main.customers JOIN (SELECT 'x' AS name) USING (name)`` says whether anybody's name is x, and no
question is put (SQLite 3.40, `sqlite3ProcessJoin`). So a statement with such a join may not even contain the name of
anything but views of ours and shared tables.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from partywall.rows.sqlite.schema import folded

__all__ = ["SOURCES", "joins_by_name", "named_source"]

SOURCES = (
    "SELECT name FROM main.sqlite_master WHERE type IN ('table', 'view') UNION SELECT name FROM pragma_module_list"
)
"""The question for all that can stand in FROM; beside it, only what begins with ``sqlite_`` or ``pragma_``."""

_OWN = re.compile(r"(?:sqlite|pragma)_\w*|(?<![\w$])main(?![\w$])")


def joins_by_name(sql: str) -> bool:
    """Whether a statement may hold a join whose columns go by name; takes it in lower case."""
    return "natural" in sql or "using" in sql


def named_source(sql: str, sources: Iterable[str], readable: Collection[str]) -> str | None:
    """
    Return a source that stands in a text, in whatever role, and is none of those that may be read; None if none does.

    Args:
        sql: The statement. It is not parsed: a name counts wherever it stands, in a comment too.
        sources: What can stand in FROM.
        readable: Those that may, as SQLite compares names.
    """
    text = folded(sql)
    own = _OWN.search(text)
    if own is not None:
        return own.group()
    for source in map(folded, sources):
        if source not in readable and any(_stands_in(text, spelling) for spelling in _spellings(source)):
            return source
    return None


def _spellings(name: str) -> set[str]:
    return {name, *(name.replace(quote, quote * 2) for quote in "\"'`")}


def _stands_in(text: str, name: str) -> bool:
    if re.fullmatch(r"[\w$]+", name) is None:
        return name in text
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", text) is not None
