"""Parameters in SQL text: marked before it is parsed, found again in what was printed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from sqlglot import exp

from partywall.errors import RefusedStatementError
from partywall.statements.text._parse import check_length

__all__ = [
    "TENANT",
    "Marked",
    "Piece",
    "Tenant",
    "as_mark",
    "check_marks",
    "join_pieces",
    "mark_driver",
    "mark_named",
    "pieces_of",
    "raw",
    "seal_marks",
    "tenant_mark",
]

_MARK = "partywall_mark_"


class Tenant(Enum):
    """The place of the tenant's parameter among the pieces of a text."""

    TENANT = "tenant"


TENANT = Tenant.TENANT
Piece = str | int | Tenant
"""A piece of printed SQL, the number of one of the application's parameters, or the place of the tenant's."""


@dataclass(frozen=True)
class Marked:
    """
    SQL text with a mark for each parameter.

    Attributes:
        sql: The text, with ``:partywall_mark_0`` and so on.
        names: What each mark stands for: a name, or the position among the driver's parameters.
    """

    sql: str
    names: tuple[str | int, ...]


# SQLAlchemy's own expressions (sql/compiler.py): what it takes for a parameter in text(), also within quotes.
_BIND = re.compile(r"(?<![:\w\x5c]):(\w+)(?!:)")
_ESCAPED = re.compile(r"\x5c(:[\w\$]*)(?![:\w\$])")


def mark_named(sql: str) -> Marked:
    """Mark the parameters of SQLAlchemy's ``text()``: ``:name``."""
    return _mark(sql, _BIND, lambda found: found.group(1), after=lambda text: _ESCAPED.sub(r"\1", text))


_PERCENT = re.compile(r"%(?:(%)|(s|b|t)|\((\w+)\)(?:s|b|t)|(.|$))", re.DOTALL)
# What is opened and not closed goes on to the end: the parser refuses it, and nothing is looked through twice.
_QUOTED = r"""'[^']*(?:'|\Z)|"[^"]*(?:"|\Z)|--[^\n]*|/\*.*?(?:\*/|\Z)"""
_QMARK = re.compile(rf"({_QUOTED}|`[^`]*(?:`|\Z)|\[[^\]]*(?:\]|\Z))|\?(\d*)|[:@$](\w+)", re.DOTALL)
_DOLLAR = re.compile(rf"({_QUOTED})|(?<![\w$])\$(\d+)", re.DOTALL)


def mark_driver(sql: str, paramstyle: str) -> Marked:
    """
    Mark the parameters of a string as the driver would find them.

    Args:
        sql: The string.
        paramstyle: The dialect's, for the driver that is in use.
    """
    position = 0

    def next_position() -> int:
        nonlocal position
        position += 1
        return position - 1

    if paramstyle in ("format", "pyformat"):

        def percent(found: re.Match[str]) -> str | int | None:
            if found.group(4) is not None:
                raise RefusedStatementError("this string has a % that is no parameter: write %%.", sql)
            return None if found.group(1) else found.group(3) or next_position()

        return _mark(sql, _PERCENT, percent, otherwise="%")
    if paramstyle == "qmark":

        def question(found: re.Match[str]) -> str | int | None:
            if found.group(1) is not None:
                return None
            if found.group(3) is not None:
                return found.group(3)
            if not found.group(2):
                return next_position()
            numbered.append(int(found.group(2)) - 1)
            return numbered[-1]

        numbered: list[int] = []
        marked = _mark(sql, _QMARK, question)
        if numbered and position:  # there, SQLite counts on from the highest number
            raise RefusedStatementError("this string has parameters with numbers (?1) and without: number all.", sql)
        return marked
    if paramstyle in ("numeric_dollar", "numeric"):
        return _mark(sql, _DOLLAR, lambda found: None if found.group(1) is not None else int(found.group(2)) - 1)
    raise RefusedStatementError(f"strings of a driver with the parameter style {paramstyle!r} cannot be read.", sql)


def _mark(
    sql: str,
    pattern: re.Pattern[str],
    name: Callable[[re.Match[str]], str | int | None],
    *,
    otherwise: str | None = None,
    after: Callable[[str], str] = lambda text: text,
) -> Marked:
    sql = str.__str__(sql)  # a subclass could say one thing and print another
    check_length(sql)
    if "partywall" in sql.lower():
        raise RefusedStatementError("names that hold 'partywall' are its own: choose others.", sql)
    names: list[str | int] = []

    def mark(found: re.Match[str]) -> str:
        meant = name(found)
        if meant is None:
            return found.group(0) if otherwise is None else otherwise
        names.append(meant)
        return f":{_MARK}{len(names) - 1}"

    return Marked(after(pattern.sub(mark, sql)), tuple(names))


# In the parsed tree, a mark becomes raw text that no SQL can hold.
_PRINTED = re.compile("\x01(\\d+|T)\x02")


def as_mark(node: exp.Expr) -> int | None:
    """Return the number of the parameter that a node stands for; None if it stands for none."""
    name = node.this if isinstance(node, exp.Placeholder) else None
    if not isinstance(name, str) or not name.startswith(_MARK):
        return None
    return int(name.removeprefix(_MARK))


def raw(text: str) -> exp.Expr:
    """Return a node that is printed as it is."""
    return exp.Var(this=text)


def tenant_mark() -> exp.Expr:
    """Return the node of the tenant's parameter."""
    return raw("\x01T\x02")


def check_marks(root: exp.Expr, marked: Marked) -> None:
    """
    Check that every parameter is where a parameter can be.

    Raises:
        RefusedStatementError: One is in quotes or a comment, or written in another way than the driver's.
    """
    numbers = [as_mark(node) for node in root.find_all(exp.Placeholder)]
    if None in numbers or next(root.find_all(exp.Parameter), None) is not None:
        raise RefusedStatementError("a parameter is written in a way that belongs to another driver.")
    if sorted(numbers, key=int) != list(range(len(marked.names))):  # type: ignore[arg-type]  # no None is left
        raise RefusedStatementError("a parameter stands in quotes, in a comment, or where no parameter can be.")


def seal_marks(root: exp.Expr) -> None:
    """Turn all parameters into what can be found again in the printed text."""
    for node in list(root.find_all(exp.Placeholder)):
        node.replace(raw(f"\x01{as_mark(node)}\x02"))


def pieces_of(printed: str) -> tuple[Piece, ...]:
    """Take printed text apart at its parameters."""
    pieces: list[Piece] = []
    end = 0
    for found in _PRINTED.finditer(printed):
        pieces.append(printed[end : found.start()])
        pieces.append(TENANT if found.group(1) == "T" else int(found.group(1)))
        end = found.end()
    pieces.append(printed[end:])
    return tuple(piece for piece in pieces if piece != "")


def join_pieces(pieces: tuple[Piece, ...], text: Callable[[str], str], parameter: Callable[[int | Tenant], str]) -> str:
    """Return the pieces as SQL."""
    return "".join(text(piece) if isinstance(piece, str) else parameter(piece) for piece in pieces)
