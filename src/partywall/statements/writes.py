"""
Writes as constructs: INSERT, UPDATE and DELETE are restricted to the tenant as they are printed.

INSERT fills the tenant column, UPDATE and DELETE get the criterion for their target and for whatever else they read. A
value that the application gives for the tenant column is never printed: it is left for the door to compare
(`GivenTenant`), and the tenant's own stands in its place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, null, select, true
from sqlalchemy.sql import coercions, elements, operators, roles, visitors
from sqlalchemy.sql.elements import BindParameter, ClauseElement, ColumnElement

from partywall._compat import drop_ordered_values
from partywall.errors import RefusedStatementError
from partywall.statements.compile import TENANT_PARAMETER, ScopedCompiler, enclosed, with_tenant_first
from partywall.statements.refusals import no_tenant_value, not_writable, tenant_as_expression
from partywall.statements.rules import Vocabulary, base_table, examine
from partywall.tables import TableDescription, Visible

__all__ = ["GivenTenant", "ScopedWriter"]


@dataclass(frozen=True, slots=True)
class GivenTenant:
    """
    A value for the tenant column that stands in a statement, to be compared with the tenant in scope.

    Attributes:
        bind: The parameter that holds it, or held it when the statement was compiled.
        position: Its place among the parameters of the statement's cache key; None if it has none, and
            the statement is compiled anew each time.
        table, column: What it was given for.
        row: Number of the row of a multi-row VALUES, from 1; None if there is but one.
    """

    bind: BindParameter[Any]
    position: int | None
    table: str
    column: str
    row: int | None

    def value(self, parameters: Mapping[str, Any], extracted: Any) -> Any:
        """Return the value in one execution, as SQLAlchemy would have found it."""
        if self.bind.key in parameters:
            return parameters[self.bind.key]
        bind = self.bind if self.position is None or extracted is None else extracted[self.position]
        return bind.effective_value


class ScopedWriter(ScopedCompiler):
    """
    Prints writes restricted to the tenant in scope.

    Attributes:
        given_as: Names under which the application's parameters may carry a tenant, and what it is for.
            Empty if, and only if, no tenant column is written.
        given: Values for the tenant column that stand in the statement.
    """

    given_as: dict[str, tuple[str, str]]
    given: list[GivenTenant]

    _fills: dict[str, BindParameter[Any]]
    _text_to_fill: Any = None

    def __init__(self, dialect: Any, statement: Any, *args: Any, **kw: Any) -> None:
        self.given_as, self.given, self._fills = {}, [], {}
        super().__init__(dialect, statement, *args, **kw)

    @property
    def tenant_keys(self) -> tuple[str, ...]:
        """Names of all parameters that the door sets to the tenant."""
        return (TENANT_PARAMETER, *self._fills) if TENANT_PARAMETER in self.binds else tuple(self._fills)

    def visit_insert(self, insert_stmt: Any, *args: Any, **kw: Any) -> str:
        return self._visit_write(insert_stmt, self._scope_insert, super().visit_insert, args, kw)

    def visit_update(self, update_stmt: Any, *args: Any, **kw: Any) -> str:
        return self._visit_write(update_stmt, self._scope_update, super().visit_update, args, kw)

    def visit_delete(self, delete_stmt: Any, *args: Any, **kw: Any) -> Any:
        return self._visit_write(delete_stmt, self._scope_delete, super().visit_delete, args, kw)

    def _visit_write(
        self, statement: Any, scope: Callable[[Any, bool], None], visit: Callable[..., str], args: Any, kw: Any
    ) -> str:
        """
        Print a write whose *compile state* was scoped.

        SQLAlchemy makes the state first, from the statement in its final form: the ORM has resolved the
        entities, the sources of UPDATE ... FROM and DELETE ... USING are known, and nothing is printed.
        """
        nested = bool(self.stack) or kw.get("visiting_cte") is not None

        def make_state(final: Any, compiler: Any, **options: Any) -> Any:
            state = type(statement)._compile_state_factory(final, compiler, **options)
            state.statement.__dict__.pop("_compile_state_factory", None)
            examine(state.statement, self.vocabulary)
            _check_keys(state, self.vocabulary)
            scope(state, nested)
            return state

        scoped = statement._clone()
        scoped._compile_state_factory = make_state
        return visit(scoped, *args, **kw)

    def visit_bindparam(self, bindparam: Any, *args: Any, **kw: Any) -> str:
        name = self._truncate_bindparam(bindparam)  # type: ignore[no-untyped-call]  # SQLAlchemy's
        fill = self._fills.get(bindparam.key, self._fills.get(name))
        if fill is not bindparam:
            if fill is not None or self._spelled(name) in map(self._spelled, self._fills):
                raise _name_taken(bindparam.key)
            return super().visit_bindparam(bindparam, *args, **kw)
        return super().visit_bindparam(bindparam, *args, **{**kw, "literal_binds": False})

    # The three kinds.

    def _scope_insert(self, state: Any, nested: bool) -> None:  # called as a callback
        table = state.statement.table
        description = self._written(table)
        if description is None:
            return
        column = description.tenant_column_of(table)
        if column is None:
            raise RefusedStatementError(
                f"this table() of {description.key} has no column {description.tenant_column}, which has to be "
                "filled: add it, or use the table of the metadata.",
                tables=(description.key,),
            )
        self._application_may_give(column, description)
        if state.statement._select_names:
            self._scope_insert_from_select(state, column, description)
        elif state._has_multi_parameters:
            self._scope_rows(state, column, description, nested=nested)
        else:
            self._set(state, column, self._take_values(state, column), description, nested=nested)

    def _scope_update(self, state: Any, nested: bool) -> None:  # called as a callback
        table = state.statement.table
        description = self._written(table)
        self._scope_where(state, description)
        column = None if description is None else description.tenant_column_of(table)
        if description is None or column is None:
            return  # what is not among the columns of table() cannot be set
        values = self._take_values(state, column)
        self._application_may_give(column, description)
        if values or column.key in (self.column_keys or ()) or getattr(column, "onupdate", None) is not None:
            self._set(state, column, values, description, nested=nested)

    def _scope_delete(self, state: Any, nested: bool) -> None:  # noqa: ARG002  # called as a callback
        self._scope_where(state, self._written(state.statement.table))

    def _written(self, table: Any) -> TableDescription | None:
        """Return what is written; None if every row of it may be. Refuse what no tenant may write."""
        real = base_table(table)
        if real is None:
            raise RefusedStatementError(f"a write to a {type(table).__name__} is refused: write to one table.")
        if self.public:
            raise self._not_public("a write")
        description = self.vocabulary.describe(real)
        self.written = description.key
        self.used[description.key] = description
        for column in table.c:
            self._check_column_of(description, column)
        if len({column.name for column in table.c}) < len(table.c):
            raise RefusedStatementError(f"this table() of {description.key} names a column twice.")
        if description.writable is Visible.NONE:
            raise not_writable(description)
        if description.writable is Visible.ALL:
            return None
        self.restricted[description.key] = description
        return description

    def _scope_where(self, state: Any, description: TableDescription | None) -> None:
        """Restrict the target and the other sources of an UPDATE or DELETE."""
        criteria: list[ColumnElement[bool]] = []
        if description is not None:
            criteria.append(self._own(state.statement.table, description))
        sources = []
        for source in state._extra_froms:  # FROM in an UPDATE and USING in a DELETE are read too
            restricted, outside = self._restrict(source, may_rise=True)
            sources.append(restricted)
            criteria.extend(outside)
        state._extra_froms = sources
        if criteria:
            state.statement = with_tenant_first(state.statement, criteria)

    def _scope_rows(self, state: Any, column: Any, description: TableDescription, *, nested: bool) -> None:
        """Fill the tenant column in a VALUES of several rows."""
        rows = []
        for number, row in enumerate(state._multi_parameters):
            rest, given = _split(row.items(), column)
            for value in given:
                self._leave_for_the_door(value, description, row=number + 1)
            rest[column.key] = self.tenant if nested else self._fill(f"{column.key}_m{number}")
            rows.append(rest)
        state._multi_parameters, state._dict_parameters = rows, rows[0]

    def _scope_insert_from_select(self, state: Any, column: Any, description: TableDescription) -> None:
        names = [_key(name) for name in state.statement._select_names]
        rows = state.statement.select
        if rows.__visit_name__ == "textual_select" and column.key not in names:
            self._text_to_fill = rows.element  # printed with one column more, before all that it may have
            names.insert(0, column.key)
        elif column.key in names or not isinstance(rows, Select):
            subquery = rows.subquery("partywall_rows")
            columns = dict(zip(names, subquery.c, strict=False))
            if len(subquery.c) != len(names) or len(columns) != len(names):
                raise RefusedStatementError(
                    "from_select() needs one column in the SELECT for each name, and each once."
                )
            given = columns.pop(column.key, None)
            if given is not None:
                for value in given.base_columns:
                    self._leave_for_the_door(value, description)
            # true(): SQLite reads ON CONFLICT after a join as the join's ON (SQLite, UPSERT, "Parsing Ambiguity").
            rows = select(*columns.values(), self.tenant).select_from(subquery).where(true())
            names = [*columns, column.key]
        else:
            rows = rows.add_columns(self.tenant)
            names.append(column.key)
        statement = state.statement._clone()
        statement.select, statement._select_names = rows, names
        state.statement = statement
        state._dict_parameters = dict.fromkeys(names, null())

    # Values for the tenant column.

    def _take_values(self, state: Any, column: Any) -> list[Any]:
        """Take what was given for the tenant column out of VALUES or SET, and return it."""
        rest, given = _split((state._dict_parameters or {}).items(), column)
        if given:
            state._dict_parameters = rest
            drop_ordered_values(state, lambda key: _key(key) == column.key)
        return given

    def _set(
        self, state: Any, column: Any, given: Iterable[Any], description: TableDescription, *, nested: bool
    ) -> None:
        """Let the tenant column be set to the tenant in scope, whatever was given for it."""
        for value in given:
            self._leave_for_the_door(value, description)
        if state._no_parameters and self.column_keys is None:
            return  # printed for show, with a parameter for each column
        value = self.tenant if nested else self._fill(column.key)
        state._dict_parameters = {**(state._dict_parameters or {}), column.key: value}
        state._no_parameters = False

    def _fill(self, name: str) -> BindParameter[Any]:
        """
        Return a parameter that the door sets to the tenant, as SQLAlchemy names that of a column.

        So insertmanyvalues, sentinels and primary keys find it where they look. Its type is that of the
        tenancy: that of the statement's own column could change the value.
        """
        if self._spelled(name) in map(self._spelled, self.binds):
            raise _name_taken(name)
        fill = self._fills[name] = BindParameter(name, type_=self.vocabulary.tables.tenant_type, required=True)
        return fill

    def _application_may_give(self, column: Any, description: TableDescription) -> None:
        self.given_as[column.key] = (description.key, column.name)

    def _leave_for_the_door(self, value: Any, description: TableDescription, row: int | None = None) -> None:
        """Note a value given for the tenant column, if it is one that can be compared; refuse any other."""
        table, column = description.key, description.tenant_column or ""
        if hasattr(value, "__clause_element__"):
            value = value.__clause_element__()
        while isinstance(value, (elements.Label, elements.Grouping, elements.TypeCoerce, elements.Cast)):
            value = value.element if isinstance(value, (elements.Label, elements.Grouping)) else value.clause
        if not isinstance(value, ClauseElement):
            value = BindParameter(None, value, unique=True)
            self.given.append(GivenTenant(value, None, table, column, row))
        elif isinstance(value, BindParameter):
            self.given.append(GivenTenant(value, self._position(value), table, column, row))
        elif isinstance(value, elements.Null):
            raise no_tenant_value(table, column, row)
        elif not self._is_tenant_column(value):
            raise tenant_as_expression(table, column)

    def _position(self, bind: BindParameter[Any]) -> int | None:
        if self.cache_key is None:
            return None
        keys = {each.key for each in bind._cloned_set}
        for position, each in enumerate(self.cache_key[1]):
            if each.key in keys:
                return position
        if not bind.unique:
            return None  # found among the parameters, by its name
        raise RefusedStatementError("a value for the tenant column cannot be followed from one execution to the next.")

    def _is_tenant_column(self, value: Any) -> bool:
        """Whether an expression is the tenant column of scoped tables, so that it can hold but the tenant in scope."""
        bases = getattr(value, "base_columns", ())
        return bool(bases) and all(self._stands_for_the_tenant(base) for base in bases)

    def _stands_for_the_tenant(self, base: Any) -> bool:
        table = base_table(getattr(base, "table", None))
        if table is None:
            return False
        description = self.vocabulary.describe(table)
        # Of a table with shared rows it may be NULL.
        return base.name == description.tenant_column and description.readable is Visible.OWN

    # Upserts.

    def visit_on_conflict_do_update(self, on_conflict: Any, **kw: Any) -> str:
        insert_stmt: Any = self.stack[-1]["selectable"]
        self._examine_upsert(on_conflict)
        description = self._written(insert_stmt.table)
        clause = on_conflict._clone()
        values = {}
        given = False
        for key, value in dict(on_conflict.update_values_to_set).items():
            column = insert_stmt.table.c.get(_key(key))
            if column is None:  # it would be printed all the same, and SQLite does not care about case
                raise RefusedStatementError(f"ON CONFLICT sets {key}, which is no column of {insert_stmt.table.name}.")
            if description is not None and column.name == description.tenant_column:
                self._leave_for_the_door(value, description)
                given = True
            else:
                values[column] = value
        if description is not None:
            own = self._own(insert_stmt.table, description)
            where = on_conflict.update_whereclause
            clause.update_whereclause = own if where is None else elements.and_(own, enclosed(where))
            clause.inferred_target_elements = self._conflict_target(on_conflict, description)
            if given and not values:
                values[description.tenant_column_of(insert_stmt.table)] = self.tenant
        clause.update_values_to_set = values
        text: str = super().visit_on_conflict_do_update(clause, **kw)  # type: ignore[misc]  # the dialect has it
        return text

    def visit_on_conflict_do_nothing(self, on_conflict: Any, **kw: Any) -> str:
        self._examine_upsert(on_conflict)
        insert_stmt: Any = self.stack[-1]["selectable"]
        description = self._written(insert_stmt.table)
        clause = on_conflict._clone()
        if description is not None:
            clause.inferred_target_elements = self._conflict_target(on_conflict, description)
        text: str = super().visit_on_conflict_do_nothing(clause, **kw)  # type: ignore[misc]  # the dialect has it
        return text

    def _conflict_target(self, on_conflict: Any, description: TableDescription) -> Any:
        """Return the columns of ON CONFLICT as the unique key has them in the database: with the tenant."""
        target = on_conflict.inferred_target_elements
        names = frozenset(name for element in target or () for name in _column_names(element))
        if target is None or not description.gets_the_tenant(names):
            return target
        return [description.tenant_column, *target]

    def _examine_upsert(self, on_conflict: Any) -> None:
        """Examine what an upsert is made of; SQLAlchemy 2.0 does not count it as children."""
        parts = [
            *(on_conflict.inferred_target_elements or ()),
            on_conflict.inferred_target_whereclause,
            *dict(getattr(on_conflict, "update_values_to_set", ())).values(),
            getattr(on_conflict, "update_whereclause", None),
        ]
        for part in parts:
            if isinstance(part, ClauseElement):
                examine(part, self.vocabulary)

    # Sequences: a default that SQLAlchemy prints into VALUES. Their gaps tell no more than those of generated ids.

    def visit_next_value_func(self, next_value: Any, **kw: Any) -> Any:
        return self._beyond_the_rule("visit_next_value_func")(next_value, **kw)

    def visit_sequence(self, sequence: Any, **kw: Any) -> Any:
        return self._beyond_the_rule("visit_sequence")(sequence, **kw)

    def _beyond_the_rule(self, visit: str) -> Any:
        """Return the dialect's method inside an INSERT; elsewhere ours, whose rule refuses sequences."""
        in_insert = any(each["selectable"].__visit_name__ == "insert" for each in self.stack)
        return getattr(super(ScopedCompiler, self) if in_insert else super(), visit)


def _column_names(element: Any) -> Iterable[str]:
    """Return the names of the columns in an element of an index."""
    if isinstance(element, str):
        return (element,)
    return [each.name for each in visitors.iterate(element) if isinstance(each, elements.ColumnClause)]


def _name_taken(name: str) -> RefusedStatementError:
    return RefusedStatementError(
        f"the parameter name {name!r} is that of a tenant column which is filled: choose another one."
    )


def _key(column: Any) -> Any:
    """Return the key by which SQLAlchemy knows a column that was given as a string or object; None for expressions."""
    return coercions.expect(roles.DMLColumnRole, column, as_key=True)


def _check_keys(state: Any, vocabulary: Vocabulary) -> None:
    """Refuse expressions where the name of a column belongs, but for elements of an array or a JSON value."""
    for values in state._multi_parameters or [state._dict_parameters or {}]:
        for key in values:
            if isinstance(key, (str, elements.ColumnClause)):
                continue
            if isinstance(key, elements.BinaryExpression) and key.operator in _ITEMS:
                column = key.left
                tenant = vocabulary.describe(base_table(state.statement.table)).tenant_column
                if isinstance(column, elements.ColumnClause) and column.name != tenant:
                    examine(key, vocabulary)
                    continue
            raise RefusedStatementError(
                f"an expression ({type(key).__name__}) stands where the name of a column belongs."
            )


_ITEMS = (operators.getitem, operators.json_getitem_op, operators.json_path_getitem_op)


def _split(values: Iterable[tuple[Any, Any]], column: Any) -> tuple[dict[Any, Any], list[Any]]:
    """Return the values for other columns, and those for *column*."""
    rest, given = {}, []
    for key, value in values:
        if _key(key) == column.key:
            given.append(value)
        else:
            rest[key] = value
    return rest, given
