"""Puts the row wall up on a database, or says what it lacks for that."""

from __future__ import annotations

from typing import Any

from sqlalchemy import column, select, table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl
from partywall.rows.postgresql.meant import quote, schema_of
from partywall.tables import Tables

__all__ = ["put_up"]

INSUFFICIENT_PRIVILEGE = "42501"


def put_up(connection: Connection, tables: Tables, wall: RowWall, *, create_roles: bool = False) -> None:
    """
    Put the row wall up, or mend it; whoever is connected owns the tables.

    Args:
        connection: In a transaction; what was done is undone with it.
        tables: The tenancy's.
        wall: Its row wall.
        create_roles: Whether roles that are missing are made, without a password.

    Raises:
        SetupError: A role is missing, or whoever is connected may not do what it takes; with the SQL that mends it.
    """
    schema = schema_of(connection.dialect, wall)
    statements = row_wall_ddl(tables, wall, default_schema=schema, create_roles=create_roles)
    if not create_roles:
        _check_roles(connection, wall)
    try:
        for statement in statements:
            connection.execute(statement)
    except DBAPIError as error:
        cause: Any = error.orig
        if INSUFFICIENT_PRIVILEGE not in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)):
            raise
        database = connection.engine.url.database or "postgres"
        raise SetupError(
            f"the row wall cannot be put up: {str(cause).strip()}.\n"
            "Run it as the owner of the tables. The owner needs, from an administrator:\n"
            f"    GRANT CREATE ON DATABASE {quote(database)} TO <owner>;   -- with a key, or with views\n"
            f"    GRANT {quote(wall.unscoped_role or 'app_unscoped')} TO <owner> WITH INHERIT FALSE;"
            "   -- if the tenants table has public columns"
        ) from error


def _check_roles(connection: Connection, wall: RowWall) -> None:
    wanted = [role for role in (wall.role, wall.unscoped_role) if role is not None]
    roles = table("pg_roles", column("rolname"), schema="pg_catalog")
    found = set(connection.scalars(select(roles.c.rolname).where(roles.c.rolname.in_(wanted))))
    missing = [role for role in wanted if role not in found]
    if missing:
        raise SetupError(
            f"the row wall is for the role {' and '.join(missing)}, which the server has not.\n"
            "As an administrator:\n"
            + "\n".join(f"    CREATE ROLE {quote(role)} LOGIN PASSWORD '...';" for role in missing)
            + "\nOr, without a password and if you may:  tenancy.create_all(engine, create_roles=True)"
        )
