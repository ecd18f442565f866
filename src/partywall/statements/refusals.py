"""What constructs and SQL text are both refused for, in the same words."""

from __future__ import annotations

from partywall.errors import ForeignTenantError, RefusedStatementError
from partywall.tables import Kind, TableDescription

__all__ = [
    "foreign_value",
    "harmful_function",
    "ids_repeat",
    "ids_written",
    "no_tenant_value",
    "not_writable",
    "tenant_as_expression",
    "undeclared_column",
    "unknown_table",
    "where_a_row_lies",
]


def ids_repeat(class_name: str, table: TableDescription) -> RefusedStatementError:
    """Return the error for objects that nobody could tell from another tenant's."""
    return RefusedStatementError(
        f"objects of {class_name} cannot be used unscoped: two tenants may have rows of one id in {table.key}, and a "
        "Session would take them for one object.\n"
        f"Select columns instead:     select({class_name}.{table.tenant_column}, {class_name}.{table.primary_key[0]})\n"
        "Or take tenants in turn:    for each in ids: with tenant(each), Session(engine) as session: ...",
        tables=(table.key,),
    )


def ids_written(table: TableDescription) -> RefusedStatementError:
    """Return the error for a write by id that could meet several tenants' rows."""
    return RefusedStatementError(
        f"rows of {table.key} cannot be written by their ids unscoped: two tenants may have rows of one id.\n"
        f"Name the tenant:            update(table).where(table.c.{table.tenant_column} == ..., ...)\n"
        "Or take tenants in turn:    for each in ids: with tenant(each), Session(engine) as session: ...",
        tables=(table.key,),
    )


def unknown_table(schema: str | None, name: str) -> RefusedStatementError:
    """Return the error for a table that nobody declared."""
    key = name if schema is None else f"{schema}.{name}"
    return RefusedStatementError(
        f"table {key} is unknown to the tenancy: nobody declared whose rows it holds.\n"
        "Add it to the metadata that Tenancy(...) was given, before the engine is guarded; one that is read in all "
        "scopes also to shared={...}. Catalogs are refused.",
        tables=(key,),
    )


def undeclared_column(table: TableDescription, column: str) -> RefusedStatementError:
    """
    Return the error for a column that its table does not declare.

    PostgreSQL reads ``table.name`` as ``name(table)`` where there is no such column (manual, 4.2.6 Field Selection).
    """
    return RefusedStatementError(
        f"table {table.key} has no column {column} in the metadata: declare it there.", tables=(table.key,)
    )


def where_a_row_lies(column: str) -> RefusedStatementError:
    """Return the error for a system column."""
    return RefusedStatementError(
        f"column {column} tells where a row lies among all tenants' rows: it is not for a scope."
    )


def harmful_function(name: str) -> RefusedStatementError:
    """Return the error for a function that nobody has vouched for."""
    return RefusedStatementError(
        f"function {name} is not among those known to be harmless.\nIf it reads no table and changes nothing: "
        f"Tenancy(..., functions={{{name!r}}})"
    )


def not_writable(table: TableDescription) -> RefusedStatementError:
    """Return the error for a write to a table that no tenant writes."""
    what = "the tenants table" if table.kind is Kind.TENANTS else "shared by all tenants"
    return RefusedStatementError(
        f"table {table.key} is {what}, and no tenant may write it.\n"
        "If tenants are meant to: Tenancy(..., shared_writable={...}). Else write it unscoped, on an engine guarded "
        "with allow_unscoped=True:  with unscoped(reason='...'): ...",
        tables=(table.key,),
    )


def no_tenant_value(table: str, column: str, row: int | None) -> ForeignTenantError:
    """Return the error for a tenant column that is set to NULL."""
    return ForeignTenantError(
        f"{table}.{column} is set to NULL: a row belongs to the tenant in scope.\n"
        "Leave the column out, and it is filled.",
        tables=(table,),
        column=column,
        row=row,
    )


def tenant_as_expression(table: str, column: str) -> RefusedStatementError:
    """Return the error for a tenant column that is given as something that cannot be compared."""
    return RefusedStatementError(
        f"{table}.{column} is given as an expression, so nobody knows whose row that would be.\n"
        "Leave it out, and it is filled with the tenant in scope.",
        tables=(table,),
    )


def foreign_value(table: str, column: str, row: int | None, statement: str) -> ForeignTenantError:
    """Return the error for a tenant column that is given another tenant than the one in scope."""
    where = "" if row is None else f" in row {row}"
    return ForeignTenantError(
        f"{table}.{column} is given{where}, and it is not the tenant in scope.\n"
        "Leave the column out, and it is filled. To write for another tenant:  with tenant(other_id): ...",
        statement,
        (table,),
        column,
        row,
    )
