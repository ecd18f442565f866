"""How names, types and literals are printed: as what they are, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer

from partywall.errors import RefusedStatementError

__all__ = [
    "check_literal",
    "check_no_comment",
    "enclosed_text",
    "public_view",
    "scoped_preparer",
    "scoped_type_compiler",
]

# What SQLAlchemy replaces in printed text at execution: in a name or literal it would be replaced, too.
_TOKEN = re.compile(r"__\[|%\(")

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_COMMENT = re.compile(r"--|/\*|;")


_CAST = r"(?:::[A-Za-z]\w*(?:\[\])*)?"
_LITERAL = re.compile(rf"(?:-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?|[NXB]?'(?:[^']|'')*'|\b(?:NULL|true|false)\b){_CAST}")
_LITERALS = re.compile(rf"(?:ARRAY\[(?:0(?:, ?0)*)?\]|make_interval\(secs=>0\)){_CAST}")  # made of literals


def check_literal(text: str) -> str:
    """Return a literal value as it may be printed; refuse one that reads like a placeholder of SQLAlchemy's."""
    if _TOKEN.search(text):
        raise RefusedStatementError("a literal value reads like a placeholder of SQLAlchemy's: use a bound parameter.")
    rest, before = _LITERAL.sub("0", text), ""
    while rest != before:
        rest, before = _LITERALS.sub("0", rest), rest
    if rest != "0":
        raise RefusedStatementError("a literal value would be printed as SQL: use a bound parameter.")
    return f"({text})" if text.startswith("-") else text  # - before -1 would begin a comment


def check_no_comment(text: str) -> None:
    """Refuse printed text with a comment in it, or with the end of a statement."""
    if _COMMENT.search(_QUOTED.sub("", text)):
        raise RefusedStatementError("this statement would be printed with a comment or a semicolon in it.", text)


_PIECES = re.compile(
    r"""
    (?P<quoted> '(?:[^']|'')*' | "(?:[^"]|"")*" )
    | (?P<parameter> %\([^()]+\)s | :\w+ | \?  | \$\d+ )
    | (?P<word> [^\W\d]\w* )
    | (?P<number> \d+ (\.\d+)? )
    | (?P<opens> [(\[] )
    | (?P<closes> [)\]] )
    | (?P<comma> , )
    | (?P<operator> [-+*/%^=<>!~|&\#@.:?\s] )
    """,
    re.VERBOSE,
)
_BIND_TIGHTER_THAN_OR = frozenset(
    {"and", "not", "is", "null", "in", "like", "ilike", "glob", "match", "regexp", "between", "similar", "to", "exists"}
    | {"true", "false", "any", "all", "escape"}
)


def enclosed_text(text: str, reserved: Collection[str]) -> str:
    """
    Return the text of a criterion so that it cannot swallow the AND before it.

    It goes into parentheses, unless nothing outside of its own is more than a name, a value or an
    operator that binds at least as tight as AND. *reserved* are the words that a dialect quotes where
    they are names.

    Raises:
        RefusedStatementError: Its parentheses do not match, so that no others can hold it.
    """
    depth, at = 0, 0
    is_closed = "\\" not in text  # in E'...' it escapes the quote, and what follows is none of the string
    while at < len(text):
        piece = _PIECES.match(text, at)
        if piece is None:
            is_closed, at = False, at + 1
            continue
        at = piece.end()
        if piece["opens"]:
            depth += 1
        elif piece["closes"]:
            depth -= 1
            if depth < 0:
                break
        elif piece["comma"]:
            is_closed &= depth > 0
        elif piece["word"] and depth == 0:
            word = piece["word"].lower()
            is_closed &= word in _BIND_TIGHTER_THAN_OR or not (word in reserved or word.startswith("_"))
    if depth != 0:
        raise RefusedStatementError("a criterion of this statement would be printed with unmatched parentheses.", text)
    return text if is_closed or not text else f"({text})"


class _CarefulPreparer(IdentifierPreparer):
    """Stands before a dialect's preparer: prints a name quoted, or as the plain identifier that it is."""

    def quote(self, ident: str, *args: Any) -> str:
        # One of another class may print something else than it compares as.
        if type(ident).__module__.partition(".")[0] not in ("builtins", "sqlalchemy"):
            raise RefusedStatementError(f"a name is a string, and not a {type(ident).__name__}.")
        marked = getattr(ident, "quote", None)
        needs_quotes = not _UNQUOTED.fullmatch(ident) or ident.lower() in self.reserved_words
        if marked is not None and not marked and needs_quotes:
            raise RefusedStatementError(f"the name {str(ident)!r} is marked not to be quoted, but needs to be.")
        return super().quote(ident, *args)

    def quote_identifier(self, value: str) -> str:
        if _TOKEN.search(value) or not value.isprintable():
            raise RefusedStatementError(f"the name {value!r} holds control characters, or reads like a placeholder.")
        return super().quote_identifier(value)


_UNQUOTED = re.compile(r"[^\W\d]\w*|__\[SCHEMA_\w+\]")  # the latter is what SQLAlchemy writes for a schema to come


class _WalledPreparer(_CarefulPreparer):
    """On SQLite with a row wall: an INSERT names the table itself, past the view of its name."""

    def format_table(self, table: Any, use_schema: bool = True, name: str | None = None) -> str:
        return f"main.{super().format_table(table, use_schema, name)}"


def public_view(table: str) -> str:
    """
    Return the name of the view of the tenants table's public columns, on SQLite with a row wall.

    It is empty once a tenant is set.
    """
    return f"partywall_public_{table}"


def scoped_preparer(preparer: IdentifierPreparer, *, is_walled: bool = False) -> IdentifierPreparer:
    """Return a copy of a dialect's *preparer* that never prints a name unquoted that is more than a name."""
    careful: IdentifierPreparer = _copied_as(preparer, _WalledPreparer if is_walled else _CarefulPreparer)
    return careful


class _CarefulTypeCompiler(GenericTypeCompiler):
    """Stands before a dialect's type compiler: prints what reads as the name of a type, and nothing else."""

    def process(self, type_: Any, **kw: Any) -> str:
        text: str = super().process(type_, **kw)
        if not _TYPE.fullmatch(text):
            raise RefusedStatementError(f"{text!r} does not read as the name of a type.")
        return text


_TYPE = re.compile(
    r"""
    ("[^"]+" | \w+) (\. ("[^"]+" | \w+))?           # a name, perhaps with a schema
    (\ (PRECISION|VARYING|UNSIGNED|BIG|INT|YEAR|MONTH|DAY|HOUR|MINUTE|SECOND|TO))*
    (\ ?\( [\w,\ ]* (,\ ?-\d+)? \))?                            # (10, 2), (POINT,4326)
    (\ (WITH|WITHOUT)\ TIME\ ZONE)?
    (\[\d*\])*                                      # arrays
    (\ COLLATE\ ("[^"]+" | \w+))?
    """,
    re.VERBOSE | re.IGNORECASE,
)


def scoped_type_compiler(compiler: Any) -> Any:
    """Return a copy of a dialect's type compiler that prints nothing but names of types."""
    return _copied_as(compiler, _CarefulTypeCompiler)


def _copied_as(original: Any, careful: type[Any]) -> Any:
    cls = type(original)
    copied: Any = object.__new__(type(f"Careful{cls.__name__}", (careful, cls), {}))
    copied.__dict__.update(original.__dict__)
    return copied
