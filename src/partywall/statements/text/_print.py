"""How a tree is printed so that it means to the database what the text meant that it was read from."""

from __future__ import annotations

from sqlglot import exp

from partywall.statements.text._marks import raw
from partywall.statements.text._parse import printed

__all__ = ["print_tree"]

_BETWEEN_OPERANDS = (exp.In, exp.Between, exp.Like, exp.ILike, exp.SimilarTo, exp.Glob, exp.Escape)
_BEFORE_OPERATORS = (exp.RegexpLike, exp.RegexpILike)


def print_tree(root: exp.Expr, dialect: str) -> str:
    """
    Print a tree whose parameters are sealed.

    Raises:
        RefusedStatementError: The database has no such thing.
    """
    _settle_strings(root, dialect)
    _settle_types(root, dialect)
    _settle_nots(root, dialect)
    return printed(root, dialect)


def _settle_strings(root: exp.Expr, dialect: str) -> None:
    """Print strings with a backslash so that they mean the same whatever standard_conforming_strings says."""
    if dialect != "postgresql":
        return
    for quoted in list(root.find_all(exp.RawString)):  # in dollars
        quoted.replace(exp.Literal.string(quoted.this))
    for literal in list(root.find_all(exp.Literal)):
        if literal.is_string and "\\" in literal.this:
            inner = literal.this.replace("\\", "\\\\").replace("'", "''")
            literal.replace(raw(f"E'{inner}'"))


def _settle_types(root: exp.Expr, dialect: str) -> None:
    """Print SQLite's NUMERIC as such: the printer would make it REAL, which has another affinity."""
    if dialect == "sqlite":
        for kind in list(root.find_all(exp.DataType)):
            if kind.this is exp.DataType.Type.DECIMAL:
                kind.replace(raw("NUMERIC"))


def _settle_nots(root: exp.Expr, dialect: str) -> None:
    """
    Print ``a NOT IN (...)`` and its kin with their NOT in the middle, where it was.

    The parser reads it as NOT before all of ``a IN (...)``, and would print it there, where it binds less:
    ``b = a NOT IN (...)`` would become another comparison, or none.
    """
    for negation in reversed(list(root.find_all(exp.Not))):
        operation = negation.this
        kind = type(operation)
        left = operation.this
        if kind is exp.Escape:
            left = operation.this.this
        whole = printed(operation, dialect)
        before = printed(left, dialect) if isinstance(left, exp.Expr) else None
        if before is None or not whole.startswith(f"{before} "):
            continue
        rest = whole[len(before) + 1 :]
        if kind in _BETWEEN_OPERANDS:
            negation.replace(raw(f"{before} NOT {rest}"))
        elif kind in _BEFORE_OPERATORS:
            negation.replace(raw(f"{before} !{rest}"))
        elif kind is exp.Is and rest.startswith("IS "):
            negation.replace(raw(f"{before} IS NOT {rest.removeprefix('IS ')}"))
