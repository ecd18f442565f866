"""
The statement wall for constructs: a compiler that restricts every source to the tenant as it prints it.

It subclasses the dialect's own compiler, so that ORM and Core, eager and lazy loads all pass through it. The criterion
is added when a SELECT's sources are known and not yet printed, which is after the ORM has built its joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from sqlalchemy import ColumnClause, and_, literal_column, or_, select
from sqlalchemy.sql import elements, operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnElement
from sqlalchemy.sql.functions import AnsiFunction
from sqlalchemy.sql.selectable import FromClause, Join
from sqlalchemy.sql.sqltypes import BOOLEANTYPE

from partywall.errors import NoTenantError, RefusedStatementError
from partywall.statements.functions import RESERVED_COLUMNS
from partywall.statements.names import check_literal, check_no_comment, enclosed_text, public_view
from partywall.statements.placement import PLACEMENT, JoinKind, Place, Side
from partywall.statements.refusals import undeclared_column, where_a_row_lies
from partywall.statements.rules import (
    PRINTED_RULES,
    RULES,
    Vocabulary,
    base_table,
    examine,
    field_refused,
    named_source,
)
from partywall.statements.vouched import VouchedText
from partywall.tables import Kind, TableDescription, Visible

__all__ = ["TENANT_PARAMETER", "ScopedCompiler", "enclosed", "public_twin", "with_tenant_first"]

TENANT_PARAMETER = "partywall_tenant"
"""Name of the bound parameter that holds the tenant id. No other parameter may bear it."""


class ScopedCompiler(SQLCompiler):
    """
    Stands before a dialect's compiler: prints statements restricted to the tenant in scope.

    Attributes:
        restricted: The tables of the statement of which a tenant sees only some rows. Without a tenant
            it may not run, unless all of them are the tenants table (`public_twin`).
        used: Every declared table of the statement.
        vouched: The statement, if nobody scopes it but the database.
    """

    vocabulary: ClassVar[Vocabulary]
    tenant: ClassVar[BindParameter[Any]]
    public: ClassVar[bool] = False

    restricted: dict[str, TableDescription]
    used: dict[str, TableDescription]
    vouched: VouchedText | None = None

    written: str | None = None  # key of the table that the statement writes

    _written_alias: Any = None  # the alias of that table, while it is printed
    _helpers = 0

    def __init__(self, dialect: Any, statement: Any, *args: Any, **kw: Any) -> None:
        self.restricted, self.used = {}, {}
        verdict = None if statement is None else self.vocabulary.verdict_on(type(statement))
        if verdict is not None:
            raise RefusedStatementError(f"this statement is refused: {verdict}")
        super().__init__(dialect, statement, *args, **kw)
        if self.vouched is None:  # it stands as it was written, and nothing of ours comes after it
            check_no_comment(self.string or "")

    # Sources: where a statement meets rows.

    def visit_select(self, select_stmt: Any, *args: Any, **kw: Any) -> Any:
        # RETURNING on SQLite prints columns without their table, down to those of subqueries: ours would be ambiguous.
        return super().visit_select(select_stmt, *args, **{**kw, "include_table": True})

    def _setup_select_stack(self, select: Any, *args: Any, **kw: Any) -> Any:
        examine(select, self.vocabulary)  # in its final form: the ORM has resolved entities and built its joins
        RULES["select"](select, self.vocabulary)
        if self.public and (self.stack or select._for_update_arg is not None):
            raise self._not_public("a subquery or FOR UPDATE")
        return super()._setup_select_stack(select, *args, **kw)

    def visit_compound_select(self, cs: Any, *args: Any, **kw: Any) -> str:
        examine(cs, self.vocabulary)
        if self.public:
            raise self._not_public("a set operation")
        return super().visit_compound_select(cs, *args, **kw)

    def visit_table(self, table: Any, asfrom: bool = False, iscrud: bool = False, *args: Any, **kw: Any) -> str:
        RULES["table"](table, self.vocabulary)
        text: str = super().visit_table(table, asfrom, iscrud, *args, **kw)
        alias = kw.get("enclosing_alias")
        is_written = iscrud or (alias is not None and alias is self._written_alias)
        if text and is_written and self.vocabulary.is_walled:
            return f"main.{text}"
        is_looked_up = text and self.public and self.vocabulary.has_public_view
        if is_looked_up and self.vocabulary.describe(table).kind is Kind.TENANTS:
            schema = "" if table.schema is None else f"{self.preparer.quote(table.schema)}."
            view = f"{schema}{self.preparer.quote(public_view(table.name))}"
            return view if alias is not None and alias.element is table else f"{view} AS {text}"
        return text

    def visit_alias(self, alias: Any, *args: Any, **kw: Any) -> Any:
        if not (kw.get("iscrud") and kw.get("asfrom")):
            return super().visit_alias(alias, *args, **kw)
        self._written_alias = alias
        try:
            return super().visit_alias(alias, *args, **kw)
        finally:
            self._written_alias = None  # in a subquery it would be read

    def visit_cte(self, cte: Any, *args: Any, **kw: Any) -> Any:
        RULES["cte"](cte, self.vocabulary)
        options = kw.get("cte_opts")
        if options is not None and options.nesting and self.ctes and cte._get_reference_cte() in self.level_name_by_cte:
            # It would move into the inner statement, and its name out here would be that of a real table.
            raise RefusedStatementError(f"the CTE {cte.name} is nested (nest_here) in one place and used in another.")
        return super().visit_cte(cte, *args, **kw)

    def visit_partywall_enclosed(self, element: Any, *args: Any, **kw: Any) -> str:
        clause = element.clause.self_group(against=operators.and_)  # a bare column becomes a comparison on SQLite
        return enclosed_text(clause._compiler_dispatch(self, *args, **kw), self.preparer.reserved_words)

    def visit_function(self, func: Any, *args: Any, **kw: Any) -> str:
        RULES["function"](func, self.vocabulary)
        return super().visit_function(func, *args, **{**kw, "within_aggregate_function": True})  # 2.0 does not say so

    def _generate_prefixes(self, stmt: Any, prefixes: Any, **kw: Any) -> str:
        # The rules of SELECT and CTE let through words that change nothing about what is read.
        return "".join(f"{prefix.text} " for prefix, dialect in prefixes if self.vocabulary.concerns(dialect))

    def _compose_select_body(
        self, text: Any, select: Any, compile_state: Any, inner_columns: Any, froms: Any, *args: Any, **kw: Any
    ) -> str:
        restricted_froms: list[FromClause] = []
        criteria: list[ColumnElement[bool]] = []
        for source in froms:
            restricted_source, outside = self._restrict(source, may_rise=True)
            restricted_froms.append(restricted_source)
            criteria.extend(outside)
        if criteria:
            select = with_tenant_first(select, criteria)
        return super()._compose_select_body(text, select, compile_state, inner_columns, restricted_froms, *args, **kw)

    def _restrict(self, source: Any, *, may_rise: bool) -> tuple[Any, list[ColumnElement[bool]]]:
        """
        Restrict a source, or all sources of a join, to the tenant's rows.

        Args:
            source: What stands in FROM.
            may_rise: Whether criteria may be handed up, to the ON or WHERE around this source.

        Returns:
            The source, changed if need be, and the criteria for whoever stands above it.
        """
        if source.__visit_name__ == "join":
            return self._restrict_join(source, may_rise=may_rise)
        if source.__visit_name__ == "grouping":
            inner, outside = self._restrict(source.element, may_rise=may_rise)
            return (source if inner is source.element else inner.self_group()), outside
        criterion = self._criterion(source)
        if criterion is None:
            return source, []
        if may_rise:
            return source, [criterion]
        # Inside a FULL JOIN neither ON nor WHERE will do. An inner join with a single row takes the criterion in its
        # own ON and leaves the table a table: its schema, alias, key and system columns stay what they are.
        self._helpers += 1
        columns: list[Any] = [] if self.dialect.name == "postgresql" else [literal_column("1")]
        helper = select(*columns).subquery(f"partywall_{self._helpers}")
        return Join(source, helper, criterion).self_group(), []

    def _restrict_join(self, join: Any, *, may_rise: bool) -> tuple[Any, list[ColumnElement[bool]]]:
        kind = JoinKind.FULL if join.full else JoinKind.LEFT if join.isouter else JoinKind.INNER
        sides: dict[Side, Any] = {}
        in_on: list[ColumnElement[bool]] = []
        outside: list[ColumnElement[bool]] = []
        for side, source in ((Side.LEFT, join.left), (Side.RIGHT, join.right)):
            place = PLACEMENT[kind, side]
            if place is Place.OUTSIDE and not may_rise and kind is JoinKind.INNER:
                place = Place.ON  # the same for an inner join, and as far as a criterion may go here
            rises = place is Place.ON or (place is Place.OUTSIDE and may_rise)
            sides[side], criteria = self._restrict(source, may_rise=rises)
            (in_on if place is Place.ON else outside).extend(criteria)
        if not in_on and sides[Side.LEFT] is join.left and sides[Side.RIGHT] is join.right:
            return join, outside
        changed = join._clone()
        changed.left, changed.right = sides[Side.LEFT], sides[Side.RIGHT]
        if in_on:
            changed.onclause = and_(*in_on, enclosed(join.onclause))
        return changed, outside

    def _criterion(self, source: Any) -> ColumnElement[bool] | None:
        """Return what restricts a source to the tenant's rows; None if it may be seen whole."""
        table = base_table(source)
        if table is None:
            self._check_source(source)
            return None  # Its rows come from a statement, restricted where it is printed, or from no table.
        description = self.vocabulary.describe(table)
        self.used[description.key] = description
        if not description.is_restricted:
            return None
        self.restricted[description.key] = description
        if self.public:
            return None  # Only for the tenants table, of which visit_column() lets public columns through.
        own = self._own(source, description)
        return or_(own, own.left.is_(None)) if description.readable is Visible.OWN_AND_SHARED else own

    def _own(self, source: Any, description: TableDescription) -> BinaryExpression[bool]:
        """Return the criterion of the tenant's own rows."""
        column: ColumnClause[Any] = ColumnClause(
            description.tenant_column or "", type_=self.vocabulary.tables.tenant_type, _selectable=source
        )
        return BinaryExpression(column, self.tenant, operators.eq)

    def _check_source(self, source: Any) -> None:
        """Refuse what stands in FROM but is neither a table, nor a statement, nor known to read none."""
        named = named_source(source)
        kind = getattr(named, "__visit_name__", "")
        if kind not in SOURCES_WITHOUT_TABLE or isinstance(named, AnsiFunction):
            raise RefusedStatementError(
                f"a {type(named).__name__} in FROM is neither a table nor a statement: refused."
            )
        if self.public:
            raise self._not_public("a source that is no table")

    # Names and parameters.

    def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> str:
        if bindparam is self.tenant:  # its value is known at execution only
            return super().visit_bindparam(bindparam, *args, **{**kw, "literal_binds": False, "literal_execute": False})
        name = self._truncate_bindparam(bindparam)
        if TENANT_PARAMETER in (bindparam.key, name, self._spelled(name)):
            raise RefusedStatementError(f"the parameter name {bindparam.key!r} is partywall's own: choose another one.")
        implementation = bindparam.type.dialect_impl(self.dialect)
        if implementation._has_bind_expression:
            examine(implementation.bind_expression(bindparam), self.vocabulary)
        return super().visit_bindparam(bindparam, *args, **kw)

    def _spelled(self, name: str) -> str:
        """Return the name of a parameter as drivers see it, which SQLAlchemy writes without some characters."""
        return self._bind_translate_re.sub(lambda match: self._bind_translate_chars[match.group(0)], name)

    def _label_select_column(self, select: Any, column: Any, *args: Any, **kw: Any) -> Any:
        implementation = column.type.dialect_impl(self.dialect)
        if implementation._has_column_expression:
            expression = implementation.column_expression(column)
            if expression is not None:
                examine(expression, self.vocabulary)
        return super()._label_select_column(select, column, *args, **kw)

    def visit_column(self, column: Any, *args: Any, **kw: Any) -> str:
        table = base_table(column.table)
        if table is not None:
            self._check_column_of(self.vocabulary.describe(table), column)
        elif column.is_literal:
            self._check_asterisk(column, counted=kw.get("within_aggregate_function", False))
        else:
            # Printed without a table, the name may be that of a column of any source around it.
            if (column.table is None or not column.table.named_with_column) and column.name.lower() in RESERVED_COLUMNS:
                raise where_a_row_lies(column.name)
            if self.public:
                raise self._not_public(f"a column {column.name} of no table")
            self._check_field(column)
        return super().visit_column(column, *args, **kw)

    def _check_field(self, column: Any) -> None:
        """Refuse a column that its source may not have: PostgreSQL would look for a function of that name."""
        source = column.table
        if self.dialect.name != "postgresql" or not isinstance(source, FromClause):
            return
        if all(each.name != column.name for each in source.c):
            raise field_refused(column.name)
        is_derived = getattr(source, "_render_derived", False) or named_source(source).__visit_name__ != "function"
        if not is_derived and not self.vocabulary.may_be_field(column.name):
            raise field_refused(column.name)

    def _check_asterisk(self, column: Any, *, counted: bool) -> None:
        if column.name != "*":
            return
        if self.public:
            raise self._not_public("*")
        if counted:
            return
        if self._helpers or any(_has_full_join(each["selectable"]) for each in self.stack[-1:]):
            raise RefusedStatementError("name the columns: beside a FULL JOIN, * cannot be told from our own.")

    def _check_column_of(self, description: TableDescription, column: Any) -> None:
        if column.name not in description.columns:
            raise undeclared_column(description, column.name)
        if self.public and description.kind is Kind.TENANTS and column.name not in description.public:
            raise self._not_public(f"{description.key}.{column.name}")

    def _not_public(self, what: str) -> NoTenantError:
        tables = self.vocabulary.tables.by_name.values()
        return NoTenantError(
            f"no tenant is in scope, and beside the public columns of the tenants table this needs one: {what}.\n"
            "To look a column up without a tenant:  Tenancy(..., tenants_public={'slug', ...})",
            tables=tuple(each.key for each in tables if each.kind is Kind.TENANTS),
        )

    def visit_table_valued_column(self, element: Any, **kw: Any) -> str:
        if self.public:
            raise self._not_public("the whole row")
        # It prints as a column, but names a source.
        return SQLCompiler.visit_column(self, element, **kw)

    def render_literal_value(self, value: Any, type_: Any) -> str:
        return check_literal(super().render_literal_value(value, type_))


SOURCES_WITHOUT_TABLE = frozenset(
    {"select", "compound_select", "select_statement_grouping", "values", "scalar_values", "function", "textual_select"}
    | {"textclause"}
    | {"insert", "update", "delete"}
)
"""What may stand in FROM beside tables: statements, which are scoped by themselves, and what reads no table."""


def _has_full_join(select: Any) -> bool:
    waiting = list(select.get_final_froms()) if hasattr(select, "get_final_froms") else []
    while waiting:
        source = waiting.pop()
        if source.__visit_name__ == "join":
            if source.full:
                return True
            waiting += [source.left, source.right]
        elif source.__visit_name__ == "grouping":
            waiting.append(source.element)
    return False


def with_tenant_first(statement: Any, criteria: Sequence[ColumnElement[bool]]) -> Any:
    """
    Return a statement with our criteria in its WHERE, before the application's.

    What the application's compute on, and fail on, is then the tenant's, where the database evaluates in
    this order.
    """
    restricted = statement._clone()
    given = statement._where_criteria
    whole = and_(*given) if len(given) > 1 else None  # as one: an OR in one of several reaches over the others
    restricted._where_criteria = (*criteria, *map(enclosed, given if whole is None else (whole,)))
    return restricted


class _Enclosed(elements.ColumnElement[bool]):
    """
    A criterion of the application's that cannot swallow the AND before it, whatever it prints.

    What `and_()` groups is not to be relied on: lambdas, types and attributes print another text than
    the one that was grouped. So the text decides, once it is there (`names.enclosed_text`).
    """

    __visit_name__ = "partywall_enclosed"
    inherit_cache = False
    type = BOOLEANTYPE

    def __init__(self, clause: Any) -> None:
        self.clause = clause

    def self_group(self, against: Any = None) -> Any:
        """Return itself: it needs no more parentheses."""
        return self


def enclosed(clause: Any) -> Any:
    """Return a criterion so that it cannot swallow the AND before it."""
    if type(clause) is elements.True_:
        return clause  # SQLAlchemy leaves it out
    return _Enclosed(clause)


def _checking(kind: str) -> Any:
    """Return a method that applies the rule of a kind where the compiler prints it."""

    def visit(self: ScopedCompiler, element: Any, *args: Any, **kw: Any) -> str:
        PRINTED_RULES[kind](element, self.vocabulary)
        text: str = getattr(super(ScopedCompiler, self), f"visit_{kind}")(element, *args, **kw)
        return text

    return visit


for _kind in PRINTED_RULES:
    if f"visit_{_kind}" not in vars(ScopedCompiler) and _kind not in ("select", "compound_select"):
        setattr(ScopedCompiler, f"visit_{_kind}", _checking(_kind))


def public_twin(compiled: Any) -> Any:
    """
    Return a statement over the tenants table as it may run with no tenant in scope.

    It has no criterion, and only the table's public columns. It is made once per compiled statement,
    and kept with it.

    Raises:
        NoTenantError: The statement uses another column.
    """
    twin = compiled.__dict__.get("_public_twin")
    if twin is None:
        cls = type(compiled)
        twin = type(f"Public{cls.__name__}", (cls,), {"public": True})(
            compiled.dialect,
            compiled.statement,
            cache_key=compiled.cache_key,
            column_keys=compiled.column_keys,
            for_executemany=compiled.for_executemany,
            schema_translate_map=compiled.schema_translate_map,
        )
        compiled._public_twin = twin
    return twin
