"""Queries in SQL text: every source is restricted to the tenant, where a careful person would write it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from partywall.errors import RefusedStatementError
from partywall.statements.placement import PLACEMENT, JoinKind, Place, Side
from partywall.statements.refusals import undeclared_column
from partywall.statements.text._marks import tenant_mark
from partywall.statements.text._names import Ctes, Names, Sources
from partywall.statements.text._vet import row_of
from partywall.tables import TableDescription, Visible

__all__ = ["Reads", "and_first", "criterion_of", "name_of", "table_name"]

_QUERIES = (exp.Select, exp.SetOperation, exp.Values)


@dataclass
class _Tree:
    """The sources of a FROM as the tree of joins that they are."""

    join: exp.Join
    left: _Tree | exp.Expr
    right: _Tree | exp.Expr


class Reads:
    """
    Restricts queries in place.

    Everything below a statement is visited once: what may hold a query by `visit`, which looks for queries;
    what stands in FROM by `_source`, which knows what each is.
    """

    def __init__(self, names: Names) -> None:
        self.names = names
        self._wrapped: set[str] = set()  # tables that have become queries

    @staticmethod
    def unwrap_tables(root: exp.Expr) -> None:
        """Take the parentheses from single tables in FROM: SQLite hides the names in them."""
        for source in list(root.find_all(exp.Subquery)):
            table = source.this
            is_single = isinstance(table, exp.Table) and not table.args.get("joins")
            if is_single and not any(source.args.get(part) for part in ("alias", "joins", "with_", "sample")):
                source.replace(table)

    def check_rows(self, root: exp.Expr) -> None:
        """Refuse the whole row of a table that has become a query: it is of another type then."""
        for column in root.find_all(exp.Column):
            if column.args.get("table") is None and isinstance(column.this, exp.Identifier):
                name = self.names.fold(column.this)
                if name in self._wrapped:
                    raise RefusedStatementError(f"the whole row of {name} cannot be had here: name its columns.")

    # Queries.

    def visit(self, node: exp.Expr | None, ctes: Ctes, around: tuple[Sources, ...]) -> None:
        """Restrict the queries in an expression, and check its columns against the sources *around* it."""
        if node is None:
            return
        if isinstance(node, (*_QUERIES, exp.Subquery)):
            self.query(node, ctes, around)
        elif isinstance(node, (exp.Insert, exp.Update, exp.Delete, exp.Merge)):
            raise RefusedStatementError("a write stands where only a query can.")
        elif isinstance(node, exp.Table):
            raise RefusedStatementError("the name of a table stands where none can.")
        else:
            if isinstance(node, exp.Column):
                self._check_column(node.args.get("table"), node.this, around)
            elif isinstance(node, exp.Dot) and row_of(node) is not None:
                self._check_column(row_of(node), node.expression, around, is_known=True)
            for child in _children(node):
                self.visit(child, ctes, around)

    def query(self, node: exp.Expr, ctes: Ctes, around: tuple[Sources, ...], *, done: tuple[str, ...] = ()) -> None:
        """Restrict a query: SELECT, a set operation, VALUES, or one of them in parentheses, less what is *done*."""
        ctes = self.with_(node, ctes, around)
        if isinstance(node, exp.Select):
            self._select(node, ctes, around)
            return
        if isinstance(node, exp.SetOperation):
            for arm in (node.this, node.expression):
                self.query(arm, ctes, around)
            self._rest(node, ("this", "expression"), ctes, around)
        elif isinstance(node, exp.Subquery) and isinstance(node.this, (*_QUERIES, exp.Subquery)):
            self.query(node.this, ctes, around)
            self._rest(node, ("this", "alias", *done), ctes, around)
        elif isinstance(node, exp.Values):
            self._rest(node, ("alias",), ctes, around)
        else:
            raise RefusedStatementError(f"a {type(node).__name__} stands where a query should.")

    def _rest(self, node: exp.Expr, done: tuple[str, ...], ctes: Ctes, around: tuple[Sources, ...]) -> None:
        for part, value in node.args.items():
            if part == "locks":
                _check_locks(value)
            elif part not in (*done, "with_"):
                for child in _nodes(value):
                    self.visit(child, ctes, around)

    def with_(self, node: exp.Expr, ctes: Ctes, around: tuple[Sources, ...]) -> Ctes:
        """
        Restrict the CTEs of a statement, and return those that can be seen in it.

        PostgreSQL shows a CTE those before it, and with RECURSIVE all of the same WITH; SQLite always all.
        One that bears the name of a table is printed with another name, so that neither can be taken for the
        other. (PostgreSQL manual, SELECT, WITH Clause; SQLite, lang_with.)
        """
        clause = node.args.get("with_")
        if clause is None:
            return ctes
        sees_all = bool(clause.args.get("recursive")) or self.names.dialect == "sqlite"
        printed: Ctes = {}
        for cte in clause.expressions:
            name = self.names.fold(cte.args["alias"].this)
            if name in printed:
                raise RefusedStatementError(f"two CTEs of one WITH are called {name}.")
            if self.names.is_declared(name):
                if self.names.dialect == "sqlite" and self._uses_itself(cte, name):
                    raise RefusedStatementError(f"the CTE {name} bears the name of a table and uses it: rename it.")
                printed[name] = self.names.new_name(f"{name}_cte")
            else:
                printed[name] = ""
        visible = {**ctes, **printed} if sees_all else dict(ctes)
        for cte in clause.expressions:
            name = self.names.fold(cte.args["alias"].this)
            self.cte_body(cte.this, visible, around)
            visible[name] = printed[name]
            if printed[name]:
                cte.args["alias"].set("this", exp.to_identifier(printed[name], quoted=True))
        return visible

    def _uses_itself(self, cte: exp.Expr, name: str) -> bool:
        return any(
            table.args.get("db") is None
            and isinstance(table.this, exp.Identifier)
            and self.names.fold(table.this) == name
            for table in cte.this.find_all(exp.Table)
        )

    def cte_body(self, body: exp.Expr, ctes: Ctes, around: tuple[Sources, ...]) -> None:
        self.query(body, ctes, around)

    def _select(self, node: exp.Select, ctes: Ctes, around: tuple[Sources, ...]) -> None:
        from_ = node.args.get("from_")
        sources: Sources = {}
        inner = (sources, *around)
        criteria: list[exp.Expr] = []
        if from_ is not None:
            joins = [*(node.args.get("joins") or ()), *self._lateral_joins(node)]
            for tree in self._trees(from_.this, joins):
                self._collect(tree, sources, ctes)
            criteria = self.restrict_all(from_.this, joins, ctes, inner)
        self._rest(node, ("from_", "joins", "laterals"), ctes, inner)  # and what stands beside them
        self._complete_keys(node.args.get("group"), sources)
        if criteria:
            node.set(
                "where",
                exp.Where(this=and_first(criteria, node.args["where"].this if node.args.get("where") else None)),
            )

    def _complete_keys(self, group: Any, sources: Sources) -> None:
        """Let GROUP BY a primary key stand for its table on PostgreSQL, also where the tenant is part of the key."""
        if group is None or self.names.dialect != "postgresql":
            return
        columns = [each for each in group.expressions if isinstance(each, exp.Column)]
        for name, description in sources.items():
            if description is None or not description.ids_repeat:
                continue
            own = [
                each
                for each in columns
                if (self.names.fold(each.args["table"]) == name if each.args.get("table") else len(sources) == 1)
            ]
            grouped = {self.names.column_of(description, each.this) for each in own}
            if own and grouped.issuperset(description.primary_key) and description.tenant_column not in grouped:
                key = own[0].copy()
                key.set("this", exp.to_identifier(description.tenant_column, quoted=_needs_quotes(description)))
                group.append("expressions", key)

    @staticmethod
    def _lateral_joins(node: exp.Select) -> list[Any]:
        if node.args.get("laterals"):
            raise RefusedStatementError("LATERAL VIEW is no SQL of this database.")
        return []

    # Sources.

    def restrict_all(
        self, first: exp.Expr, joins: list[exp.Join], ctes: Ctes, around: tuple[Sources, ...]
    ) -> list[exp.Expr]:
        """Restrict the sources of a FROM, and return the criteria for the WHERE beside it."""
        criteria: list[exp.Expr] = []
        for tree in self._trees(first, joins):
            criteria += self._restrict(tree, ctes, around, may_rise=True)
        return criteria

    def collect_all(self, first: exp.Expr, joins: list[exp.Join], sources: Sources, ctes: Ctes) -> None:
        """Note the names of all sources of a FROM."""
        for tree in self._trees(first, joins):
            self._collect(tree, sources, ctes)

    def _trees(self, first: exp.Expr, joins: list[exp.Join]) -> list[_Tree | exp.Expr]:
        """Return the tree of joins for each part of FROM between commas; on SQLite, a comma is a join like others."""
        trees: list[_Tree | exp.Expr] = []
        tree: _Tree | exp.Expr = first
        for join in [*(first.args.get("joins") or ()), *joins]:
            if _is_comma(join) and self.names.dialect != "sqlite":
                trees.append(tree)
                tree = self._with_own_joins(join.this)
            else:
                tree = _Tree(join, tree, self._with_own_joins(join.this))
        return [*trees, tree]

    def _with_own_joins(self, source: exp.Expr) -> _Tree | exp.Expr:
        tree: _Tree | exp.Expr = source
        for join in source.args.get("joins") or ():
            tree = _Tree(join, tree, self._with_own_joins(join.this))
        return tree

    def _collect(self, tree: _Tree | exp.Expr, sources: Sources, ctes: Ctes) -> None:
        """Note the names of all sources, before anything that may use them is looked at."""
        if isinstance(tree, _Tree):
            self._collect(tree.left, sources, ctes)
            self._collect(tree.right, sources, ctes)
            return
        if _is_joined(tree) and not tree.args.get("alias"):
            for inner in self._trees(tree.this, []):
                self._collect(inner, sources, ctes)
            return
        name = name_of(tree)
        if name is None:
            return
        key = self.names.fold(name)
        if key in sources:
            raise RefusedStatementError(f"two sources are called {key}: give one another alias.")
        is_table = table_name(tree) is not None and self.names.cte(tree, ctes) is None  # type: ignore[arg-type]
        columns = (tree.args["alias"].args.get("columns") if tree.args.get("alias") else None) or ()
        sources[key] = self.names.describe(tree) if is_table and not columns else None  # type: ignore[arg-type]

    def _restrict(
        self, tree: _Tree | exp.Expr, ctes: Ctes, around: tuple[Sources, ...], *, may_rise: bool
    ) -> list[exp.Expr]:
        """Restrict what stands in FROM; return the criteria for whoever stands above it (none unless *may_rise*)."""
        if not isinstance(tree, _Tree):
            return self._source(tree, ctes, around, may_rise=may_rise)
        join = tree.join
        kind, takes_on = _kind_of(join)
        in_on: list[exp.Expr] = []
        outside: list[exp.Expr] = []
        for side, part in ((Side.LEFT, tree.left), (Side.RIGHT, tree.right)):
            place = PLACEMENT[kind, side]
            if place is Place.OUTSIDE and not may_rise and kind is JoinKind.INNER:
                place = Place.ON
            if place is Place.ON and not takes_on:
                place = Place.INSIDE
            rises = place is Place.ON or (place is Place.OUTSIDE and may_rise)
            criteria = self._restrict(part, ctes, around, may_rise=rises)
            (in_on if place is Place.ON else outside).extend(criteria)
        self.visit(join.args.get("on"), ctes, around)
        if in_on:
            join.set("on", and_first(in_on, join.args.get("on")))
        return outside

    def _source(self, node: exp.Expr, ctes: Ctes, around: tuple[Sources, ...], *, may_rise: bool) -> list[exp.Expr]:
        if isinstance(node, exp.Table):
            self.visit(node.args.get("sample"), ctes, around)
            if table_name(node) is None:  # a function, or ROWS FROM (several)
                for each in (node.this, *(node.args.get("rows_from") or ())):
                    self.visit(each.this if isinstance(each, exp.Table) else each, ctes, around)
                return []
            return self._table(node, ctes, may_rise=may_rise)
        if _is_joined(node):
            alias = node.args.get("alias")
            if any(value for part, value in node.args.items() if part not in ("this", "alias", "joins")):
                raise RefusedStatementError("parentheses in FROM hold one join, and nothing else.")
            inner = self._trees(node.this, [])
            if len(inner) != 1:
                raise RefusedStatementError("parentheses in FROM hold one join.")
            if alias and alias.args.get("columns"):
                raise RefusedStatementError("a join that is renamed with its columns: write a subquery.")
            if alias:  # it hides the names in it
                hidden: Sources = {}
                self._collect(inner[0], hidden, ctes)
                return self._restrict(inner[0], ctes, (hidden, *around[1:]), may_rise=False)
            return self._restrict(inner[0], ctes, around, may_rise=may_rise)
        if isinstance(node, exp.Subquery):
            self.query(node, ctes, around, done=("joins",))  # they are in the tree
            return []
        if isinstance(node, exp.Lateral) and isinstance(node.this, (exp.Subquery, exp.Func, exp.Dot)):
            self.visit(node.this, ctes, around)
            return []
        if isinstance(node, (exp.Values, exp.Unnest, exp.JSONTable)):
            for child in _children(node):
                if not isinstance(child, (exp.TableAlias, exp.Join)):
                    self.visit(child, ctes, around)
            return []
        raise RefusedStatementError(f"a {type(node).__name__} in FROM is neither a table nor a query.")

    def _table(self, table: exp.Table, ctes: Ctes, *, may_rise: bool) -> list[exp.Expr]:
        renamed = self.names.cte(table, ctes)
        if renamed is not None:
            if renamed:
                _rename(table, renamed)
            return []
        description = self.names.describe(table)
        if not description.is_restricted:
            return []
        alias = table.args.get("alias")
        if may_rise and not (alias and alias.args.get("columns")):
            return [criterion_of(name_of(table), description)]
        self._wrap(table, description)
        return []

    def _wrap(self, table: exp.Table, description: TableDescription) -> None:
        """Restrict a table before anything is done with it: ``(SELECT * FROM t WHERE ...) AS t``."""
        inner = table.copy()
        alias = inner.args.get("alias")
        name = table_name(table)
        assert name is not None  # noqa: S101  # it is a table
        inner.set("alias", None)
        inner.set("joins", None)
        where = exp.Where(this=criterion_of(inner.this, description))
        query = exp.Select(expressions=[exp.Star()], from_=exp.From(this=inner), where=where)
        self._wrapped.add(self.names.fold(name_of(table)))
        wrapped = exp.Subquery(this=query, alias=alias or exp.TableAlias(this=name.copy()))
        if table.args.get("joins"):
            wrapped.set("joins", table.args["joins"])
        table.replace(wrapped)

    # Columns.

    def _check_column(
        self, source: Any | None, column: Any, around: tuple[Sources, ...], *, is_known: bool = False
    ) -> None:
        """Refuse a column that its table does not have: PostgreSQL reads it as a call, name(table) (manual, 4.2.6)."""
        if source is None or isinstance(column, exp.Star):
            return
        name = self.names.fold(source)
        description = next((sources[name] for sources in around if name in sources), None)
        if description is None:
            if is_known:
                raise RefusedStatementError(f"({name}).{column.name}: {name} is no table of this statement.")
            return
        if self.names.column_of(description, column) is None:
            raise undeclared_column(description, column.name)


def criterion_of(name: Any, description: TableDescription, *, for_writing: bool = False) -> exp.Expr:
    """Return the criterion for a table that goes by *name*."""
    column = exp.Column(
        this=exp.to_identifier(description.tenant_column, quoted=_needs_quotes(description)), table=name.copy()
    )
    own = exp.EQ(this=column, expression=tenant_mark())
    if description.readable is not Visible.OWN_AND_SHARED or for_writing:
        return own
    return exp.Paren(this=exp.Or(this=own, expression=exp.Is(this=column.copy(), expression=exp.Null())))


def _needs_quotes(description: TableDescription) -> bool:
    name = description.tenant_column or ""
    return not (name.isascii() and name.isidentifier() and name == name.lower())


_AND_BINDS_LESS = (
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.In,
    exp.Like,
    exp.Exists,
    exp.Paren,
    exp.And,
    exp.Boolean,
    exp.Column,
    exp.Between,
)


def and_first(criteria: list[exp.Expr], clause: exp.Expr | None) -> exp.Expr:
    """Return a condition with our criteria before the application's, which cannot swallow them."""
    whole = criteria[0]
    for criterion in criteria[1:]:
        whole = exp.And(this=whole, expression=criterion)
    if clause is None:
        return whole
    return exp.And(this=whole, expression=clause if isinstance(clause, _AND_BINDS_LESS) else exp.Paren(this=clause))


def name_of(source: exp.Expr) -> Any | None:
    """Return the identifier by which a source is known; None if it has none."""
    alias = source.args.get("alias")
    if alias is not None and alias.this is not None:
        return alias.this
    name = table_name(source)
    if name is not None:
        return name
    called = source.this if isinstance(source, (exp.Table, exp.Lateral)) else source
    if isinstance(called, exp.Anonymous):
        return exp.to_identifier(called.name)
    return None


def table_name(source: exp.Expr) -> Any | None:
    """Return the identifier of a table; None for other sources."""
    return source.this if isinstance(source, exp.Table) and isinstance(source.this, exp.Identifier) else None


def _is_joined(node: exp.Expr) -> bool:
    """Whether this is a join in parentheses, or a single source."""
    inner = node.this if isinstance(node, exp.Subquery) else None
    if isinstance(inner, (exp.Subquery, exp.Values, exp.Unnest, exp.Lateral)):
        return bool(inner.args.get("alias") or inner.args.get("joins")) or _is_joined(inner)
    return isinstance(inner, exp.Table)


def _is_comma(join: exp.Join) -> bool:
    return not any(join.args.get(part) for part in ("side", "kind", "method", "on", "using"))


_KINDS = {"": JoinKind.INNER, "LEFT": JoinKind.LEFT, "RIGHT": JoinKind.RIGHT, "FULL": JoinKind.FULL}


def _kind_of(join: exp.Join) -> tuple[JoinKind, bool]:
    """Return the kind of a join, and whether a criterion can stand in its ON."""
    side, kind, method = (str(join.args.get(part) or "").upper() for part in ("side", "kind", "method"))
    if side not in _KINDS or kind not in ("", "INNER", "OUTER", "CROSS") or method not in ("", "NATURAL"):
        raise RefusedStatementError(f"a {method} {side} {kind} JOIN has no rule, so it is refused.")
    takes_on = not (kind == "CROSS" or method or join.args.get("using") or _is_comma(join))
    return _KINDS[side], takes_on


def _check_locks(locks: Any) -> None:
    """FOR UPDATE OF names sources, which are restricted where they stand."""
    for lock in locks or ():
        for each in lock.expressions:
            if table_name(each) is None or each.args.get("alias") or each.args.get("joins"):
                raise RefusedStatementError("FOR UPDATE OF takes the names of sources.")


def _rename(table: exp.Table, name: str) -> None:
    if table.args.get("alias") is None:
        table.set("alias", exp.TableAlias(this=table.this.copy()))
    elif table.args["alias"].this is None:
        table.args["alias"].set("this", table.this.copy())
    table.set("this", exp.to_identifier(name, quoted=True))


def _nodes(value: Any) -> Iterator[exp.Expr]:
    for each in value if isinstance(value, list) else (value,):
        if isinstance(each, exp.Expr):
            yield each


def _children(node: exp.Expr) -> Iterator[exp.Expr]:
    for value in list(node.args.values()):
        yield from _nodes(value)
