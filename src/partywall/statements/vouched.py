"""SQL text that the application vouches for: it is not parsed, and the database alone scopes it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.visitors import InternalTraversal

__all__ = ["Vouched", "VouchedText"]


@dataclass(frozen=True, slots=True)
class Vouched:
    """
    What the audit log is told when a statement runs that nobody has scoped but the database.

    Attributes:
        reason: Why the statement is right.
        statement: It, with placeholders.
    """

    reason: str
    statement: str


class VouchedText(TextClause):
    """A text with the reason why it is right. It runs as it stands, where a row wall holds."""

    inherit_cache = False  # the reason is in its key
    _traverse_internals = [*TextClause._traverse_internals, ("reason", InternalTraversal.dp_string)]  # noqa: RUF012

    def __init__(self, sql: str, reason: str) -> None:
        super().__init__(sql)
        self.reason = reason
