"""A Hypothesis strategy for SELECT statements as applications write them, without a tenant anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from sqlalchemy import (
    Integer,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    true,
    union,
    union_all,
)
from sqlalchemy.sql import FromClause

from tests.models import Base

# Tables, and their columns with small numbers: what statements join on and compute with.
TABLES: dict[str, tuple[str, ...]] = {
    "customers": ("id", "parent_id"),
    "invoices": ("id", "customer_id", "total"),
    "lines": ("invoice_id", "position", "amount"),
    "customer_tags": ("customer_id", "tag_id"),
    "memberships": ("customer_id", "user_id"),
    "tickets": ("number",),
    "comments": ("ticket_number", "position"),
    "templates": ("id",),
    "tags": ("id",),
    "tenants": ("id",),
    "users": ("id",),
    "persons": ("id",),
}


@dataclass(frozen=True)
class Source:
    """Something in FROM, and the integer columns it offers."""

    clause: FromClause
    columns: tuple[Any, ...]


Draw = Callable[[st.SearchStrategy[Any]], Any]


def draw_table(draw: Draw, *, alias: bool) -> Source:
    name = draw(st.sampled_from(sorted(TABLES)))
    table: Any = Base.metadata.tables[name]
    if alias or draw(st.booleans()):
        table = table.alias()
    return Source(table, tuple(table.c[column] for column in TABLES[name]))


def draw_derived(draw: Draw, depth: int) -> Source:
    inner = draw_select(draw, depth - 1)
    kind = draw(st.sampled_from(["subquery", "cte", "alias of a cte"]))
    clause: Any = inner.subquery() if kind == "subquery" else inner.cte()
    if kind == "alias of a cte":
        clause = clause.alias()
    return Source(clause, tuple(clause.c))


def draw_leaf(draw: Draw, depth: int, *, alias: bool = True) -> Source:
    if depth > 0 and draw(st.integers(0, 3)) == 0:
        return draw_derived(draw, depth)
    return draw_table(draw, alias=alias)


def draw_joined(draw: Draw, depth: int, *, alias: bool = True) -> Source:
    """Draw a tree of joins of every kind, nested to the left, to the right, or to both."""
    source = draw_leaf(draw, depth, alias=alias)
    for _ in range(draw(st.integers(0, 3))):
        other = draw_joined(draw, depth - 1) if depth > 0 and draw(st.integers(0, 3)) == 0 else draw_leaf(draw, depth)
        kind = draw(st.sampled_from(["inner", "left", "left", "full"]))
        # FULL JOIN on PostgreSQL wants a plain equality.
        equality = draw(st.sampled_from(source.columns)) == draw(st.sampled_from(other.columns))
        onclause = equality if kind == "full" else draw_onclause(draw, equality, source, other)
        clause = source.clause.join(other.clause, onclause, isouter=kind == "left", full=kind == "full")
        source = Source(clause, (*source.columns, *other.columns))
    return source


def draw_onclause(draw: Draw, equality: Any, source: Source, other: Source) -> Any:
    kind = draw(st.sampled_from(["equality", "equality", "equality", "or", "and", "true"]))
    if kind == "equality":
        return equality
    if kind == "true":
        return true()
    extra = draw_predicate(draw, (*source.columns, *other.columns), 0)
    return or_(equality, extra) if kind == "or" else and_(equality, extra)


def draw_number(draw: Draw) -> Any:
    return literal(draw(st.integers(0, 12)) * draw(st.sampled_from([1, 10, 100])), Integer)


def draw_expression(draw: Draw, columns: tuple[Any, ...], depth: int) -> Any:
    column = draw(st.sampled_from(columns))
    kind = draw(st.integers(0, 6 if depth > 0 else 5))
    if kind == 0:
        return column + draw_number(draw)
    if kind == 1:
        return func.coalesce(column, draw_number(draw))
    if kind == 2:
        return case((draw_predicate(draw, columns, 0), column), else_=draw_number(draw))
    if kind == 6:
        return draw_scalar(draw, columns, depth)
    return column


def draw_scalar(draw: Draw, outer: tuple[Any, ...], depth: int) -> Any:
    """Draw a scalar subquery, perhaps correlated to the columns around it."""
    inner = draw_leaf(draw, depth - 1)
    statement = select(func.count(draw(st.sampled_from(inner.columns)))).select_from(inner.clause)
    if draw(st.booleans()):
        statement = statement.where(draw(st.sampled_from(inner.columns)) == draw(st.sampled_from(outer)))
    return statement.scalar_subquery()


def draw_predicate(draw: Draw, columns: tuple[Any, ...], depth: int) -> Any:
    kind = draw(st.integers(0, 9 if depth > 0 else 6))
    column = draw(st.sampled_from(columns))
    if kind <= 1:
        return column >= draw_number(draw)
    if kind == 2:
        return column == draw(st.sampled_from(columns))
    if kind == 3:
        return column.is_(None)
    if kind == 4:
        return or_(column > draw_number(draw), draw(st.sampled_from(columns)) < draw_number(draw))
    if kind == 5:
        return not_(and_(column > draw_number(draw), draw(st.sampled_from(columns)).is_not(None)))
    if kind == 6:
        return true()
    if kind == 7:
        inner = draw_leaf(draw, depth - 1)
        return exists(
            select(literal(1)).select_from(inner.clause).where(draw(st.sampled_from(inner.columns)) == column)
        )
    if kind == 8:
        statement = draw_select(draw, depth - 1).subquery()
        return or_(column.in_(select(next(iter(statement.c)))), column.is_(None))
    return or_(draw_predicate(draw, columns, depth - 1), draw_predicate(draw, columns, depth - 1))


def draw_plain_select(draw: Draw, depth: int) -> Any:
    source = draw_joined(draw, depth, alias=False)  # one table of a statement may stand under its own name
    columns = source.columns
    kind = draw(st.sampled_from(["plain", "plain", "grouped", "aggregated", "windowed", "distinct"]))
    first = draw_expression(draw, columns, depth)
    if kind == "grouped":
        key = draw(st.sampled_from(columns))
        statement = select(key.label("a"), func.count().label("b")).group_by(key)
        if draw(st.booleans()):
            statement = statement.having(func.count() > draw(st.integers(0, 3)))
    elif kind == "aggregated":
        statement = select(func.count(first).label("a"), cast(func.sum(first), Integer).label("b"))
    elif kind == "windowed":
        key, order = draw(st.sampled_from(columns)), draw(st.sampled_from(columns))
        statement = select(key.label("a"), func.count().over(partition_by=order).label("b"))
    else:
        statement = select(first.label("a"), draw_expression(draw, columns, depth).label("b"))
        if kind == "distinct":
            statement = statement.distinct()
    statement = statement.select_from(source.clause)
    for _ in range(draw(st.integers(0, 2))):
        statement = statement.where(draw_predicate(draw, columns, depth))
    return statement


def draw_select(draw: Draw, depth: int) -> Any:
    statement = draw_plain_select(draw, max(depth, 0))
    if depth > 0 and draw(st.integers(0, 4)) == 0:
        combine = draw(st.sampled_from([union, union_all]))
        return combine(statement, draw_plain_select(draw, depth - 1))
    return statement


@st.composite
def selects(draw: Draw) -> Any:
    """Statements of two columns, ``a`` and ``b``, over one to a dozen sources."""
    return draw_select(draw, 2)
