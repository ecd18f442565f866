"""
The statement wall for SQL text: parsed, restricted to the tenant, and printed again.

What is executed is what was parsed, not the original characters: a comment, an odd quote or a trick of some dialect
cannot hide a table. Text in, pieces of text out; no session, no connection.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

from sqlglot import exp

from partywall.errors import RefusedStatementError
from partywall.statements.presets import explain_prefix
from partywall.statements.rules import Vocabulary
from partywall.statements.text._marks import (
    TENANT,
    Marked,
    Piece,
    Tenant,
    check_marks,
    join_pieces,
    mark_driver,
    mark_named,
    pieces_of,
    seal_marks,
)
from partywall.statements.text._names import Ctes, Names, Sources
from partywall.statements.text._parse import MAX_DEPTH, MAX_LENGTH, parse, parse_fragment
from partywall.statements.text._print import print_tree
from partywall.statements.text._vet import vet
from partywall.statements.text._writes import Given, Writes
from partywall.tables import TableDescription

__all__ = [
    "MAX_DEPTH",
    "MAX_LENGTH",
    "TENANT",
    "Given",
    "Marked",
    "Piece",
    "Position",
    "ScopedText",
    "Sources",
    "Tenant",
    "allowed_prefix",
    "join_pieces",
    "mark_driver",
    "mark_named",
    "scope_fragment",
    "scope_text",
]


@dataclass(frozen=True)
class ScopedText:
    """
    SQL text that sees and writes the rows of one tenant.

    Attributes:
        pieces: The text, with the numbers of the application's parameters and the places of the tenant's.
        names: What the application calls its parameters.
        restricted: The tables of which a tenant sees only some rows.
        used: Every declared table in it.
        given: Values given for tenant columns, taken out of the text.
        prefix: The EXPLAIN before it, if there is one.
        written: Key of the table that it writes.
    """

    pieces: tuple[Piece, ...]
    names: tuple[str | int, ...]
    restricted: Mapping[str, TableDescription]
    used: Mapping[str, TableDescription]
    given: tuple[Given, ...]
    prefix: str = ""
    written: str | None = None


class Position(Enum):
    """Where a part of a statement stands. The value begins a SELECT in which it stands in the same place."""

    EXPRESSION = "SELECT "
    COLUMNS = "SELECT ALL "
    ORDER = "SELECT 1 ORDER BY "
    GROUP = "SELECT 1 GROUP BY "
    SOURCE = "SELECT 1 FROM "


@contextmanager
def _no_deeper_than_the_stack() -> Iterator[None]:
    """Refuse what the parser could read but is too long a chain for the rest: ``1 + 1 + ...``, a thousand joins."""
    try:
        yield
    except RecursionError:
        raise RefusedStatementError("this text is nested too deeply, or too long a chain of operators.") from None


def allowed_prefix(sql: str, vocabulary: Vocabulary) -> str:
    """
    Return the EXPLAIN with which a statement begins; empty if with none.

    Raises:
        RefusedStatementError: The tenancy does not allow it.
    """
    prefix = explain_prefix(sql, vocabulary.dialect)
    if prefix and not vocabulary.diagnostics:
        raise RefusedStatementError(
            "EXPLAIN tells what the planner estimates from all tenants' rows.\n"
            "If tenants may know:  Tenancy(..., diagnostics=True)"
        )
    return prefix


@_no_deeper_than_the_stack()
def scope_text(marked: Marked, vocabulary: Vocabulary, *, ctes: Collection[str] = ()) -> ScopedText:
    """
    Restrict a whole statement to one tenant.

    Args:
        marked: The text, with marks for its parameters.
        vocabulary: What it may be made of.
        ctes: Names of CTEs around the statement that can be seen in it.

    Raises:
        RefusedStatementError: It cannot be parsed, or has something in it that is not on the lists.
        ForeignTenantError: It sets a tenant column to NULL.
    """
    prefix = allowed_prefix(marked.sql, vocabulary)
    root = parse(marked.sql[len(prefix) :], vocabulary.dialect, vocabulary.may_call)
    names, writes = _vetted(root, marked, vocabulary)
    writes.statement(root, _outer(ctes, names))
    writes.check_rows(root)
    return dataclasses.replace(_scoped(root, marked, names, writes), prefix=" ".join([*prefix.split(), ""]))


@_no_deeper_than_the_stack()
def scope_fragment(
    marked: Marked,
    vocabulary: Vocabulary,
    position: Position,
    *,
    sources: Sources | None = None,
    ctes: Collection[str] = (),
) -> ScopedText:
    """
    Restrict the queries in a part of a statement to one tenant, and see that it stays a part.

    Args:
        marked: The text, with marks for its parameters.
        vocabulary: What it may be made of.
        position: Where it stands.
        sources: The sources around it, by name: None for those that are no table.
        ctes: As in `scope_text`.

    Raises:
        RefusedStatementError: As in `scope_text`, or it is more than what can stand there.
    """
    root = _parse_part(marked, vocabulary, position)
    names, writes = _vetted(root, marked, vocabulary)
    outer = _outer(ctes, names)
    if position is Position.SOURCE:
        joins = list(root.args.get("joins") or ())
        found: Sources = {}
        writes.collect_all(root.args["from_"].this, joins, found, outer)
        for tree in writes._trees(root.args["from_"].this, joins):
            writes._restrict(tree, outer, (found, sources or {}), may_rise=False)
        part: list[Any] = [root.args["from_"].this, *joins]
    else:
        part = {
            Position.EXPRESSION: lambda: root.expressions,
            Position.COLUMNS: lambda: root.expressions,
            Position.ORDER: lambda: [root.args["order"]],
            Position.GROUP: lambda: [root.args["group"]],
        }[position]()
        for each in part:
            writes.visit(each, outer, (sources or {},))
    writes.check_rows(root)
    return _scoped(_only(root, position), marked, names, writes, lead=position.value.replace("ALL ", ""))


def _vetted(root: exp.Expr, marked: Marked, vocabulary: Vocabulary) -> tuple[Names, Writes]:
    """Check what a text is made of, and return what restricts it."""
    check_marks(root, marked)
    vet(root, vocabulary)
    names = Names(vocabulary, vocabulary.dialect, taken={each.name.lower() for each in root.find_all(exp.Identifier)})
    writes = Writes(names)
    writes.unwrap_tables(root)
    return names, writes


def _parse_part(marked: Marked, vocabulary: Vocabulary, position: Position) -> exp.Select:
    wrap = position is Position.EXPRESSION
    root = parse_fragment(marked.sql, vocabulary.dialect, vocabulary.may_call, position.value, wrap=wrap)
    allowed = {
        Position.EXPRESSION: {"expressions"},
        Position.COLUMNS: {"expressions"},
        Position.ORDER: {"expressions", "order"},
        Position.GROUP: {"expressions", "group"},
        Position.SOURCE: {"expressions", "from_", "joins"},
    }[position]
    if {part for part, value in root.args.items() if value} - allowed:
        raise RefusedStatementError("this text is more than the part of a statement that can stand here.")
    return root


def _only(root: exp.Select, position: Position) -> exp.Select:
    """
    Take our parentheses off an expression: it is printed as it was written.

    What it may mean beside others is the application's business: the whole of what the application gives for
    a WHERE or ON goes into parentheses (compile.py).
    """
    if position is Position.EXPRESSION:
        (paren,) = root.expressions
        is_query = isinstance(paren, exp.Subquery) and isinstance(paren.this, exp.Subquery)
        inner = paren.this if isinstance(paren, exp.Paren) or is_query else None
        if inner is None or isinstance(inner, exp.Alias):
            raise RefusedStatementError("this text is not one expression, as it has to be here.")
        paren.replace(inner)
    return root


def _outer(ctes: Collection[str], names: Names) -> Ctes:
    for name in ctes:
        if names.is_declared(name):
            raise RefusedStatementError(f"the CTE {name} around this text bears the name of a table: rename it.")
    return dict.fromkeys(ctes, "")


def _scoped(root: exp.Expr, marked: Marked, names: Names, writes: Writes, *, lead: str = "") -> ScopedText:
    seal_marks(root)
    text = print_tree(root, names.dialect)
    if not text.startswith(lead):
        raise RefusedStatementError("this text cannot be printed again.")
    return ScopedText(
        pieces_of(text[len(lead) :]),
        marked.names,
        names.restricted,
        names.used,
        tuple(writes.given),
        written=names.written,
    )
