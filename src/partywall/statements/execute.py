"""
The door of the statement wall: nothing reaches the driver but through here.

SQLAlchemy makes an execution context for everything it sends: compiled statements, DDL, strings, defaults. Ours lets a
statement pass if it was compiled under the rules of the scope it runs in, and hands it the pinned tenant.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import Delete, Update, select, type_coerce
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.orm.context import _MapperEntity
from sqlalchemy.sql import visitors

from partywall.errors import NoTenantError, RefusedStatementError
from partywall.scope import Scope, Tenant, Unscoped
from partywall.statements.compile import TENANT_PARAMETER, public_twin
from partywall.statements.driver import DriverTexts
from partywall.statements.orm import check_ids_are_unique
from partywall.statements.proving import prove_compiled, prove_text
from partywall.statements.refusals import foreign_value, ids_written
from partywall.statements.rules import Vocabulary
from partywall.statements.sent import remember
from partywall.statements.vouched import Vouched
from partywall.statements.writes import ScopedWriter
from partywall.tables import Kind, TableDescription, Tables

__all__ = ["UnscopedCompiler", "scope_of", "scoped_context", "unscoped_compiler", "unscoped_context"]


class UnscopedCompiler:
    """Mixed into a dialect's compiler, unchanged: the stamp of a statement that was compiled unscoped."""


def unscoped_compiler(base: type[Any]) -> type[Any]:
    """Return the compiler of a dialect, *base*, with the stamp."""
    return type(f"Unscoped{base.__name__}", (UnscopedCompiler, base), {})


def scope_of(connection: Any) -> Scope | None:
    """Return the scope a connection is pinned to; refuse one that was opened past the guard."""
    try:
        pinned = connection.pinned_scope
    except AttributeError:
        raise _unguarded() from None
    scope: Scope | None = pinned()
    return scope


def _unguarded() -> RefusedStatementError:
    return RefusedStatementError(
        "this connection was not opened by the guarded engine, so it has no pin.\n"
        "Guard the engine before it is copied with execution_options() or connected."
    )


class _ScopedContext(DefaultExecutionContext):
    partywall_texts: ClassVar[DriverTexts]
    partywall_written: str | None = None  # the table that a string for the driver writes
    partywall_expected: Any = None  # what it is about to send, where somebody could change it

    def _exec_default_clause_element(self, column: Any, default: Any, type_: Any) -> Any:
        """Run a default that SQLAlchemy cannot print into the statement, which has to be one that needs no tenant."""
        argument = default.arg if default._arg_is_typed else type_coerce(default.arg, type_)
        compiled: Any = select(argument).compile(dialect=self.dialect)
        if compiled.restricted:
            raise RefusedStatementError(
                f"the default of {column} is a statement that SQLAlchemy runs before the INSERT, where it cannot be "
                "scoped.\nLet the database return the key (implicit_returning), or compute the default in Python.",
                str(compiled),
                tuple(sorted(compiled.restricted)),
            )
        return super()._exec_default_clause_element(column, default, type_)

    def _execute_scalar(self, stmt: str, *args: Any, **kw: Any) -> Any:
        expected, self.partywall_expected = self.partywall_expected, None  # it has compared nothing yet
        try:
            return super()._execute_scalar(stmt, *args, **kw)
        finally:
            self.partywall_expected = expected

    @classmethod
    def _init_statement(
        cls, dialect: Any, connection: Any, dbapi_connection: Any, execution_options: Any, statement: str, *args: Any
    ) -> Any:
        written = None
        if not getattr(connection, "partywall_first_contact", False):
            prepare = cls.partywall_texts.prepare
            statement, parameters, written = prepare(statement, args[0], dialect, scope_of(connection))
            args = (parameters, *args[1:])
        context: Any = super()._init_statement(
            dialect, connection, dbapi_connection, execution_options, statement, *args
        )
        context.partywall_written = written
        if connection._has_events or connection.engine._has_events or dialect._has_events:
            remember(context)
        return context

    @classmethod
    def _init_ddl(
        cls, dialect: Any, connection: Any, dbapi_connection: Any, execution_options: Any, compiled_ddl: Any
    ) -> Any:
        raise RefusedStatementError(
            "DDL concerns all tenants, so it is refused in a scope.\n"
            "Run it unscoped, on an engine guarded with allow_unscoped=True, or on the owner's engine.",
            str(compiled_ddl),
        )

    @classmethod
    def _init_default(cls, dialect: Any, connection: Any, dbapi_connection: Any, execution_options: Any) -> Any:
        raise RefusedStatementError("a default or sequence executed by itself cannot be scoped yet, so it is refused.")


def _fill(compiled: Any, parameters: Any, tenant_id: Any, extracted: Any) -> Any:
    """
    Return the parameters of a write with the tenant in every place that is the tenant's.

    Raises:
        ForeignTenantError: The application gave another tenant, in the statement or in any row.
    """
    rows: Any = parameters or ({},)
    for given in compiled.given:
        for number, row in enumerate(rows, 1):
            if not _is_same(given.value(row, extracted), tenant_id):
                raise foreign_value(
                    given.table, given.column, given.row or (number if len(rows) > 1 else None), str(compiled)
                )
    for key, (table, column) in compiled.given_as.items():
        for number, row in enumerate(rows, 1):
            if key in row and not _is_same(row[key], tenant_id):
                raise foreign_value(table, column, number if len(rows) > 1 else None, str(compiled))
    ours = dict.fromkeys(compiled.tenant_keys, tenant_id)
    return [{**row, **ours} for row in rows]  # set last, and in copies, which nobody else can change


def _check_filled(context: Any, compiled: Any, tenant_id: Any) -> None:
    """Check that no default has changed our parameters: Python's get the live ones."""
    for key in compiled.tenant_keys:
        if any(parameters[key] is not tenant_id for parameters in context.compiled_parameters):
            raise RefusedStatementError("the default of a column has changed the tenant it was given.", str(compiled))


def _is_same(value: Any, tenant_id: Any) -> bool:
    """Whether a value given for the tenant column is the tenant in scope, though perhaps of another type."""
    return value is not None and bool(value == tenant_id)


def _without_tenant(compiled: Any) -> Any:
    """Return how a statement over restricted tables may run although no tenant is in scope."""
    scoped = tuple(sorted(key for key, table in compiled.restricted.items() if table.kind is not Kind.TENANTS))
    if scoped:
        raise NoTenantError(
            f"no tenant is in scope, but the statement uses {', '.join(scoped)}.", str(compiled), scoped
        )
    return public_twin(compiled)


_SYSTEM_SCHEMAS = ("pg_catalog", "information_schema", "pg_toast", "temp")


def _check_schemas(translation: Any, compiled: Any, tables: Tables) -> None:
    """Check that tables that stand for others (schema_translate_map) are held to the rules of what they stand for."""
    table: TableDescription
    for table in compiled.used.values():
        schema = translation.get(table.schema, table.schema)
        other = tables.find(schema, table.name)
        # In a schema that nobody declared, it may be any declared table of its name: "main" and "public" are default
        # schemas, and SQLite does not care about case.
        others = [other] if other is not None else tables.named(table.name)
        if not all(each.means_the_same_as(table) for each in others) or str(schema).lower() in _SYSTEM_SCHEMAS:
            raise RefusedStatementError(
                f"schema_translate_map turns table {table.key} into {schema}.{table.name}, declared otherwise.",
                str(compiled),
                (table.key,),
            )


class _UnscopedContext(DefaultExecutionContext):
    partywall_tables: ClassVar[Tables]

    @classmethod
    def _init_compiled(cls, *args: Any, **kw: Any) -> Any:
        connection, options, compiled = args[1], args[3], args[4]
        _check_unscoped(connection)
        if not isinstance(compiled, UnscopedCompiler):
            raise RefusedStatementError("this statement was compiled for another scope.", str(compiled))
        connection.meet_unscoped(getattr(compiled, "statement", None))
        if cls.partywall_tables.ids_repeat:
            for entity in getattr(getattr(compiled, "compile_state", None), "_entities", ()):
                if isinstance(entity, _MapperEntity):
                    check_ids_are_unique(entity.mapper, cls.partywall_tables)
            is_of_the_orm = options.get("compiled_cache") is not None  # its unit of work and bulk writes: by the id
            if is_of_the_orm:
                _check_tenant_is_named(getattr(compiled, "statement", None), cls.partywall_tables)
        return super()._init_compiled(*args, **kw)

    @classmethod
    def _init_statement(cls, dialect: Any, connection: Any, *args: Any, **kw: Any) -> Any:
        _check_unscoped(connection)
        return super()._init_statement(dialect, connection, *args, **kw)

    @classmethod
    def _init_ddl(cls, dialect: Any, connection: Any, *args: Any, **kw: Any) -> Any:
        _check_unscoped(connection)
        return super()._init_ddl(dialect, connection, *args, **kw)

    @classmethod
    def _init_default(cls, dialect: Any, connection: Any, *args: Any, **kw: Any) -> Any:
        _check_unscoped(connection)
        return super()._init_default(dialect, connection, *args, **kw)


def _check_tenant_is_named(statement: Any, tables: Tables) -> None:
    """Refuse an UPDATE or DELETE by ids that two tenants' rows may have."""
    if not isinstance(statement, (Update, Delete)):
        return
    table: Any = statement.table
    description = tables.find(getattr(table, "schema", None), table.name)
    if description is None or not description.ids_repeat:
        return
    where = () if statement.whereclause is None else visitors.iterate(statement.whereclause)
    if not any(getattr(each, "name", None) == description.tenant_column for each in where):
        raise ids_written(description)


def _check_unscoped(connection: Any) -> None:
    if not isinstance(scope_of(connection), Unscoped):
        raise RefusedStatementError("this statement was compiled unscoped, but its connection is not.")


def scoped_context(base: type[Any], vocabulary: Vocabulary) -> type[Any]:
    """Return the execution context of a dialect, *base*, as the door for statements in a scope."""
    tables = vocabulary.tables
    is_strict = vocabulary.strict
    pass_on = base._init_compiled.__func__

    # Run for every statement: a closure with SQLAlchemy's own arguments costs a microsecond less than super().
    def init_compiled(
        cls: Any,
        dialect: Any,
        connection: Any,
        dbapi_connection: Any,
        execution_options: Any,
        compiled: Any,
        parameters: Any,
        invoked_statement: Any,
        extracted_parameters: Any,
        /,
        **kw: Any,
    ) -> Any:
        try:
            pinned_scope = connection.pinned_scope
        except AttributeError:
            raise _unguarded() from None
        scope = pinned_scope()
        if not isinstance(compiled, ScopedWriter) or invoked_statement is None:
            raise RefusedStatementError(
                "this statement was compiled before it was handed over, so nobody knows under which rules.\n"
                "Execute the statement itself: select(...), not select(...).compile(...).",
                str(compiled),
            )
        if compiled.vouched is not None:
            connection.accept(Vouched(compiled.vouched.reason, str(compiled)))
        elif is_strict and (type(scope) is Tenant or not compiled.restricted):
            prove_compiled(compiled, vocabulary)
        if compiled.restricted:
            if type(scope) is not Tenant:
                compiled = _without_tenant(compiled)
            elif compiled.given_as or compiled.given:
                parameters = _fill(compiled, parameters, scope.id, extracted_parameters)
            elif len(parameters) <= 1:  # ours is set last, over whatever the application passes under that name
                parameters = [
                    {**parameters[0], TENANT_PARAMETER: scope.id} if parameters else {TENANT_PARAMETER: scope.id}
                ]
            else:
                parameters = [{**each, TENANT_PARAMETER: scope.id} for each in parameters]
        if compiled.schema_translate_map:
            if vocabulary.is_walled:
                raise RefusedStatementError("schema_translate_map leads past the row wall, which has one schema.")
            _check_schemas(execution_options.get("schema_translate_map") or {}, compiled, tables)
        context = pass_on(
            cls,
            dialect,
            connection,
            dbapi_connection,
            execution_options,
            compiled,
            parameters,
            invoked_statement,
            extracted_parameters,
            **kw,
        )
        if compiled.restricted and (compiled.insert_prefetch or compiled.update_prefetch):
            _check_filled(context, compiled, scope.id)
        if connection._has_events or connection.engine._has_events or dialect._has_events:
            remember(context)
        return context

    attributes = {"_init_compiled": classmethod(init_compiled), "partywall_texts": DriverTexts(vocabulary, prove_text)}
    return type(f"Scoped{base.__name__}", (_ScopedContext, base), attributes)


def unscoped_context(base: type[Any], tables: Tables) -> type[Any]:
    """Return the execution context of a dialect, *base*, as the door for unscoped statements."""
    return type(f"Unscoped{base.__name__}", (_UnscopedContext, base), {"partywall_tables": tables})
