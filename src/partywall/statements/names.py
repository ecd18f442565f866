"""How names, types and literals are printed: as what they are, and nothing else."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.sql.compiler import GenericTypeCompiler, IdentifierPreparer

from partywall.errors import RefusedStatementError

__all__ = ["check_literal", "check_no_comment", "scoped_preparer", "scoped_type_compiler"]

# What SQLAlchemy replaces in printed text at execution: in a name or literal it would be replaced, too.
_TOKEN = re.compile(r"__\[|%\(")

_QUOTED = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*\"""")
_COMMENT = re.compile(r"--|/\*|;")


def check_literal(text: str) -> str:
    """Return a literal value as it may be printed; refuse one that reads like a placeholder of SQLAlchemy's."""
    if _TOKEN.search(text):
        raise RefusedStatementError("a literal value reads like a placeholder of SQLAlchemy's: use a bound parameter.")
    return f"({text})" if text.startswith("-") else text  # - before -1 would begin a comment


def check_no_comment(text: str) -> None:
    """Refuse printed text with a comment in it, or with the end of a statement."""
    if _COMMENT.search(_QUOTED.sub("", text)):
        raise RefusedStatementError("this statement would be printed with a comment or a semicolon in it.", text)


class _CarefulPreparer(IdentifierPreparer):
    """Stands before a dialect's preparer: prints a name quoted, or as the plain identifier that it is."""

    def quote(self, ident: str, *args: Any) -> str:
        marked = getattr(ident, "quote", None)
        if marked is not None and not marked and not _UNQUOTED.fullmatch(ident):
            raise RefusedStatementError(f"the name {str(ident)!r} is marked not to be quoted, but is no identifier.")
        return super().quote(ident, *args)

    def quote_identifier(self, value: str) -> str:
        if _TOKEN.search(value) or not value.isprintable():
            raise RefusedStatementError(f"the name {value!r} holds control characters, or reads like a placeholder.")
        return super().quote_identifier(value)


_UNQUOTED = re.compile(r"[^\W\d]\w*|__\[SCHEMA_\w+\]")  # the latter is what SQLAlchemy writes for a schema to come


def scoped_preparer(preparer: IdentifierPreparer) -> IdentifierPreparer:
    """Return a copy of a dialect's *preparer* that never prints a name unquoted that is more than a name."""
    careful: IdentifierPreparer = _copied_as(preparer, _CarefulPreparer)
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
    (\ (PRECISION|VARYING|UNSIGNED|YEAR|MONTH|DAY|HOUR|MINUTE|SECOND|TO))*
    (\ ?\( [\w,\ ]* \))?                            # (10, 2), (POINT,4326)
    (\ (WITH|WITHOUT)\ TIME\ ZONE)?
    (\[\d*\])*                                      # arrays
    (\ COLLATE\ ("[^"]+" | \w+))?
    """,
    re.VERBOSE,
)


def scoped_type_compiler(compiler: Any) -> Any:
    """Return a copy of a dialect's type compiler that prints nothing but names of types."""
    return _copied_as(compiler, _CarefulTypeCompiler)


def _copied_as(original: Any, careful: type[Any]) -> Any:
    cls = type(original)
    copied: Any = object.__new__(type(f"Careful{cls.__name__}", (careful, cls), {}))
    copied.__dict__.update(original.__dict__)
    return copied
