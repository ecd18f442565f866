"""SQL text that the application vouches for: it is not parsed, and the database alone scopes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy.sql.elements import TextClause
from sqlalchemy.sql.visitors import InternalTraversal

from partywall.errors import RefusedStatementError

__all__ = ["Vouched", "VouchedText", "check_one_statement"]

_KINDS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "INSERT", "UPDATE", "DELETE", "MERGE"})
_IN_NAMES = r"[A-Za-z0-9_\x80-\U0010ffff]"

# What hides a semicolon. A backslash before a quote ends a string or does not, by kind and setting: it matches nothing.
_QUOTED = re.compile(
    rf"""
    --[^\n\r]*
    | /\* (?: (?! /\* | \*/ ) . )* \*/
    | ' (?: [^'\\] | \\[^'] | '' )* '
    | " (?: [^"] | "" )* "
    | (?<! {_IN_NAMES} ) (?<! \$ ) \$ (?P<tag> (?: (?! \d ) {_IN_NAMES}+ )? ) \$ .*? \$ (?P=tag) \$
    """,
    re.VERBOSE | re.DOTALL,
)
_UNCLEAR = re.compile(
    rf"""['"] | /\* | (?<! {_IN_NAMES} ) \$ \d+ \$ | (?<= {_IN_NAMES} ) \$ | \$ (?! \d )""", re.VERBOSE
)
_WORD = re.compile(rf"(?!\d){_IN_NAMES}+")


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
        check_one_statement(sql)
        super().__init__(sql)
        self.reason = reason


def check_one_statement(sql: str) -> None:
    """
    Refuse a text that is not one statement that reads or writes rows, and so may leave something on the connection.

    Comments and quotes are those of PostgreSQL's manual, section 4.1 (SQLite has fewer); what is unclear is refused.

    Raises:
        RefusedStatementError: It is another kind, several statements, or hard to tell.
    """
    bare = _QUOTED.sub(" ", sql).strip().removesuffix(";")
    words = [word.upper() for word in _WORD.findall(bare)]
    into = any(word == "INTO" and words[at - 1] not in ("INSERT", "MERGE") for at, word in enumerate(words))
    if _UNCLEAR.search(bare):
        what = "cannot be told for sure: a backslash before a quote, a dollar in a name, or a comment in a comment"
    elif ";" in bare:
        what = "is several statements"
    elif not words or words[0] not in _KINDS:
        what = f"begins with {words[0] if words else 'nothing'}"
    elif into:
        what = "makes a table (INTO)"
    else:
        return
    raise RefusedStatementError(
        "one can vouch for one SELECT, WITH, VALUES, TABLE, INSERT, UPDATE, DELETE or MERGE, and this text "
        f"{what}.\nRun what sets up a connection unscoped, or on the driver's own connection, which is closed when it "
        "comes back: connection.connection",
        sql,
    )
