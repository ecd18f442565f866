"""INSERT, UPDATE, DELETE and MERGE in SQL text: the tenant column is filled, and other rows are not there."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlglot import exp

from partywall.errors import RefusedStatementError
from partywall.statements.refusals import no_tenant_value, not_writable, tenant_as_expression
from partywall.statements.text._marks import as_mark, tenant_mark
from partywall.statements.text._names import Ctes, Names, Sources
from partywall.statements.text._reads import Reads, and_first, criterion_of, name_of, table_name
from partywall.tables import TableDescription, Visible

__all__ = ["Given", "Writes"]

_WRITES = (exp.Insert, exp.Update, exp.Delete, exp.Merge)


@dataclass(frozen=True)
class Given:
    """
    A value for the tenant column that stands in a text, to be compared with the tenant in scope.

    Attributes:
        parameter: Number of the parameter that holds it; None if it stands in the text itself.
        value: The value that stands in the text.
        table, column: What it was given for.
        row: Number of the row of a VALUES of several, from 1; None if there is but one.
    """

    parameter: int | None
    value: Any
    table: str
    column: str
    row: int | None


class Writes(Reads):
    """Restricts statements in place: queries as `Reads` does, and writes."""

    def __init__(self, names: Names) -> None:
        super().__init__(names)
        self.given: list[Given] = []

    def statement(self, node: exp.Expr, ctes: Ctes) -> None:
        """Restrict a whole statement."""
        if isinstance(node, _WRITES):
            self._write(node, ctes)
        else:
            self.query(node, ctes, ())

    def cte_body(self, body: exp.Expr, ctes: Ctes, around: tuple[Sources, ...]) -> None:
        if isinstance(body, _WRITES):
            self._write(body, ctes)
        else:
            super().cte_body(body, ctes, around)

    def _write(self, node: exp.Expr, ctes: Ctes) -> None:
        ctes = self.with_(node, ctes, ())
        target = node.this.this if isinstance(node.this, exp.Schema) else node.this
        if table_name(target) is None or (target.args.get("alias") and target.args["alias"].args.get("columns")):
            raise RefusedStatementError("a write is to one table, by its name.")
        if self.names.cte(target, ctes) is not None:
            raise RefusedStatementError("the table that is written bears the name of a CTE: rename the CTE.")
        if target.args.get("joins") or target.args.get("sample"):
            raise RefusedStatementError("a write is to one table: name others in FROM or USING.")
        described = self.names.describe(target)
        own = self._writable(described)
        sources: Sources = {self.names.fold(name_of(target)): described}
        if isinstance(node, exp.Insert):
            self._insert(node, target, own, described, sources, ctes)
        elif isinstance(node, exp.Update):
            self._update(node, target, own, sources, ctes)
        elif isinstance(node, exp.Delete):
            self._delete(node, target, own, sources, ctes)
        else:
            self._merge(node, target, own, sources, ctes)
        self.visit(node.args.get("returning"), ctes, (sources,))
        self.names.written = described.key
        if self.names.vocabulary.is_walled:
            target = node.this.this if isinstance(node.this, exp.Schema) else node.this
            target.set("db", exp.to_identifier("main"))

    def _writable(self, description: TableDescription) -> TableDescription | None:
        """Return what is written; None if every row of it may be. Refuse what no tenant may write."""
        if description.writable is Visible.NONE:
            raise not_writable(description)
        return None if description.writable is Visible.ALL else description

    # INSERT.

    def _insert(
        self,
        node: Any,
        target: Any,
        own: TableDescription | None,
        described: TableDescription,
        sources: Sources,
        ctes: Ctes,
    ) -> None:
        rows = node.args.get("expression")
        if isinstance(rows, exp.Values):
            for row in rows.expressions:
                self.visit(row, ctes, ())
        elif rows is not None:
            self.query(rows, ctes, ())
        named = node.this.expressions if isinstance(node.this, exp.Schema) else ()
        if not all(isinstance(each, exp.Identifier) for each in named):
            raise RefusedStatementError("INSERT sets a part of a column: set the whole column.")
        if own is not None:
            columns = self._columns_of(node, own)
            if rows is None:
                if not node.args.get("default"):
                    raise RefusedStatementError("this INSERT has no rows.")
                node.set("default", None)
                node.set("this", exp.Schema(this=target.copy(), expressions=[_column_name(own)]))
                node.set("expression", exp.Values(expressions=[exp.Tuple(expressions=[tenant_mark()])]))
            elif isinstance(rows, exp.Values):
                self._fill_rows(node, rows, columns, own)
            else:
                self._fill_query(node, rows, columns, own)
        conflict = node.args.get("conflict")
        if conflict is not None:
            self._upsert(conflict, target, own, described, sources, ctes)

    def _columns_of(self, node: Any, own: TableDescription) -> list[Any]:
        if isinstance(node.this, exp.Schema):
            return list(node.this.expressions)
        if node.args.get("default"):
            return []
        raise RefusedStatementError(
            f"this INSERT does not name its columns, so nobody knows where the tenant of {own.key} belongs.\n"
            "Name them: INSERT INTO ... (a, b) ...; the tenant column can be left out.",
            tables=(own.key,),
        )

    def _position(self, columns: Sequence[Any], own: TableDescription) -> int | None:
        found = [position for position, column in enumerate(columns) if self._is_tenant_column(column, own)]
        if len(found) > 1:
            raise RefusedStatementError(f"the column {own.tenant_column} is named twice.")
        return found[0] if found else None

    def _is_tenant_column(self, column: Any, own: TableDescription) -> bool:
        return self.names.column_of(own, column) == own.tenant_column

    def _fill_rows(self, node: Any, rows: Any, columns: list[Any], own: TableDescription) -> None:
        position = self._position(columns, own)
        many = len(rows.expressions) > 1
        for number, row in enumerate(rows.expressions, 1):
            if not isinstance(row, exp.Tuple) or len(row.expressions) != len(columns):
                raise RefusedStatementError("a row has another number of values than there are columns.")
            if position is None:
                row.append("expressions", tenant_mark())
            else:
                self._replace(row.expressions[position], own, number if many else None)
        if position is None:
            node.this.append("expressions", _column_name(own))

    def _fill_query(self, node: Any, rows: Any, columns: list[Any], own: TableDescription) -> None:
        position = self._position(columns, own)
        if position is not None:
            raise RefusedStatementError(
                f"INSERT ... SELECT gives {own.key}.{own.tenant_column}, so nobody knows whose rows that would be.\n"
                "Leave the column out, and it is filled with the tenant in scope.",
                tables=(own.key,),
            )
        node.this.append("expressions", _column_name(own))
        if isinstance(rows, exp.Select) and not rows.args.get("distinct") and not rows.args.get("order"):
            rows.append("expressions", tenant_mark())
            return
        # DISTINCT, ORDER BY and set operations go by the columns that are there.
        alias = exp.TableAlias(this=exp.to_identifier("partywall_rows"))
        inner = rows.this if isinstance(rows, exp.Subquery) and not rows.args.get("alias") else rows
        every = exp.Column(this=exp.Star(), table=exp.to_identifier("partywall_rows"))
        outer = exp.Select(
            expressions=[every, tenant_mark()],
            from_=exp.From(this=exp.Subquery(this=inner.copy(), alias=alias)),
            where=exp.Where(this=exp.Boolean(this=True)),  # else SQLite would read ON CONFLICT as the join's ON
        )
        node.set("expression", outer)

    def _upsert(
        self,
        conflict: Any,
        target: Any,
        own: TableDescription | None,
        described: TableDescription,
        sources: Sources,
        ctes: Ctes,
    ) -> None:
        if conflict.args.get("duplicate"):
            raise RefusedStatementError("ON DUPLICATE KEY is no SQL of this database.")
        seen = ({**sources, "excluded": described},)
        for part in ("conflict_keys", "index_predicate", "where"):
            value = conflict.args.get(part)
            for each in value if isinstance(value, list) else (value,):
                self.visit(each, ctes, seen)
        keys = conflict.args.get("conflict_keys")
        if own is not None and keys and own.gets_the_tenant(self._columns_in(keys, own)):
            keys.insert(0, exp.Column(this=_column_name(own)))  # as the unique key has it in the database
        self._assign(conflict.expressions, own, seen, ctes, is_upsert=True)
        if own is not None and conflict.expressions:
            where = conflict.args.get("where")
            clause = where.this if isinstance(where, exp.Where) else where
            criterion = criterion_of(name_of(target), own, for_writing=True)
            conflict.set("where", exp.Where(this=and_first([criterion], clause)))

    def _columns_in(self, keys: Sequence[Any], own: TableDescription) -> frozenset[str]:
        found = [column for key in keys for column in key.find_all(exp.Column)]
        return frozenset(self.names.column_of(own, each.this) or each.name for each in found)

    # UPDATE and DELETE.

    def _update(
        self,
        node: Any,
        target: Any,
        own: TableDescription | None,
        sources: Sources,
        ctes: Ctes,
    ) -> None:
        others = node.args.get("from_")
        first = [] if others is None else [others.this]
        self._where(node, target, own, first, sources, ctes)
        self._assign(node.expressions, own, (sources,), ctes)

    def _delete(self, node: Any, target: Any, own: TableDescription | None, sources: Sources, ctes: Ctes) -> None:
        self._where(node, target, own, list(node.args.get("using") or ()), sources, ctes)

    def _where(
        self,
        node: Any,
        target: Any,
        own: TableDescription | None,
        others: list[Any],
        sources: Sources,
        ctes: Ctes,
    ) -> None:
        criteria = [] if own is None else [criterion_of(name_of(target), own, for_writing=True)]
        for other in others:
            self.collect_all(other, [], sources, ctes)
        for other in others:
            criteria += self.restrict_all(other, [], ctes, (sources,))
        where = node.args.get("where")
        self.visit(where, ctes, (sources,))
        if criteria:
            node.set("where", exp.Where(this=and_first(criteria, None if where is None else where.this)))

    # MERGE.

    def _merge(
        self,
        node: Any,
        target: Any,
        own: TableDescription | None,
        sources: Sources,
        ctes: Ctes,
    ) -> None:
        using = node.args["using"]
        self.collect_all(using, [], sources, ctes)
        seen = (sources,)
        # ON decides what matches, and what does not match is inserted: the source has to be restricted before.
        for tree in self._trees(using, []):
            self._restrict(tree, ctes, seen, may_rise=False)
        self.visit(node.args["on"], ctes, seen)
        if own is not None:
            node.set("on", and_first([criterion_of(name_of(target), own, for_writing=True)], node.args["on"]))
        for when in node.args["whens"].expressions:
            self.visit(when.args.get("condition"), ctes, seen)
            then = when.args["then"]
            if isinstance(then, exp.Update):
                self._assign(then.expressions, own, seen, ctes)
            elif isinstance(then, exp.Insert):
                self._merge_insert(then, own, seen, ctes)
            elif str(getattr(then, "this", then)).upper() not in ("DELETE", "DO NOTHING"):
                raise RefusedStatementError("MERGE does something that has no rule.")
            if own is not None and (when.args.get("source") or when.args.get("matched")):
                # Rows of others never match, so that BY SOURCE would be about them.
                criterion = criterion_of(name_of(target), own, for_writing=True)
                when.set("condition", and_first([criterion], when.args.get("condition")))

    def _merge_insert(self, then: Any, own: TableDescription | None, seen: tuple[Sources, ...], ctes: Ctes) -> None:
        columns = then.this.expressions if isinstance(then.this, exp.Tuple) else []
        values = then.expression.expressions if isinstance(then.expression, exp.Tuple) else []
        if not columns or len(columns) != len(values):
            raise RefusedStatementError("INSERT in a MERGE names its columns, and has a value for each.")
        for value in values:
            self.visit(value, ctes, seen)
        names = [column.this if isinstance(column, exp.Column) else column for column in columns]
        if not all(isinstance(name, exp.Identifier) for name in names):
            raise RefusedStatementError("INSERT sets a part of a column: set the whole column.")
        if own is None:
            return
        position = self._position(names, own)
        if position is None:
            then.this.append("expressions", _column_name(own))
            then.expression.append("expressions", tenant_mark())
        else:
            self._replace(values[position], own, None)

    # Values for the tenant column.

    def _assign(
        self,
        assignments: Sequence[Any],
        own: TableDescription | None,
        seen: tuple[Sources, ...],
        ctes: Ctes,
        *,
        is_upsert: bool = False,
    ) -> None:
        """Check SET: the tenant column gets the tenant in scope, or nothing."""
        for assignment in assignments:
            if not isinstance(assignment, exp.EQ):
                raise RefusedStatementError("SET takes assignments: column = value.")
            self.visit(assignment.expression, ctes, seen)
            left = assignment.this
            self.visit(left, ctes, seen)  # an element of an array or JSON value is found by an expression
            columns = left.expressions if isinstance(left, exp.Tuple) else [left]
            for column in columns:
                part = column.this if isinstance(column, exp.Bracket) else column
                name = part.this if isinstance(part, exp.Column) else part
                if not isinstance(name, exp.Identifier):
                    raise RefusedStatementError("SET takes the name of a column.")
                if own is None or not self._is_tenant_column(name, own):
                    continue
                if len(columns) > 1 or part is not column:
                    raise RefusedStatementError(f"SET gives {own.key}.{own.tenant_column} among others: leave it out.")
                if not (is_upsert and self._is_excluded(assignment.expression, own)):
                    self._replace(assignment.expression, own, None)

    def _is_excluded(self, value: Any, own: TableDescription) -> bool:
        """Whether a value is that of the row an upsert wanted to insert, which is the tenant's."""
        table = value.args.get("table") if isinstance(value, exp.Column) else None
        return table is not None and self.names.fold(table) == "excluded" and self._is_tenant_column(value.this, own)

    def _replace(self, value: Any, own: TableDescription, row: int | None) -> None:
        """Put the tenant's parameter in the place of a value given for the tenant column, which is compared later."""
        table, column = own.key, own.tenant_column or ""
        plain = value.this if isinstance(value, exp.Cast) else value
        number = as_mark(plain)
        if number is not None:
            self.given.append(Given(number, None, table, column, row))
        elif isinstance(plain, exp.Literal):
            self.given.append(Given(None, self._of_tenant_type(plain), table, column, row))
        elif isinstance(plain, exp.Null):
            raise no_tenant_value(table, column, row)
        else:
            raise tenant_as_expression(table, column)
        value.replace(tenant_mark())

    def _of_tenant_type(self, literal: Any) -> Any:
        kind = self.names.vocabulary.tables.tenant_type.python_type
        try:
            return kind(literal.this) if kind in (int, uuid.UUID) else literal.this
        except ValueError:
            return literal.this


def _column_name(own: TableDescription) -> Any:
    return exp.to_identifier(own.tenant_column, quoted=not (own.tenant_column or "").isidentifier())
