"""
The row wall of PostgreSQL as DDL.

Every statement may be run again: it mends what has changed and leaves the rest. Names are quoted by SQLAlchemy's
preparer; no value of a tenant's is in it.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import DDL

from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.meant import Meant, Policy, Relation, literal, meant, quote
from partywall.rows.postgresql.tenant import KEYS, SCHEMA, function_sql, padded_keys
from partywall.tables import Tables

__all__ = [
    "function_statements",
    "grant_statements",
    "policy_statements",
    "row_wall_ddl",
    "security_statements",
    "take_down_ddl",
    "view_statements",
]


def row_wall_ddl(
    tables: Tables, wall: RowWall, *, default_schema: str = "public", create_roles: bool = False
) -> list[DDL]:
    """
    Return what puts the row wall up; run it in one transaction, as the owner of the tables, after they exist.

    If the tenants table has public columns, the owner has to own its schema too, and be a member of the unscoped role
    that does not inherit from it. A sealed wall has its key in one of the statements: keep them out of logs and files.

    Args:
        tables: The tenancy's.
        wall: Its row wall.
        default_schema: Where the tables are whose metadata names no schema.
        create_roles: Whether roles that are missing are made, without a password; it takes CREATEROLE.

    Raises:
        SetupError: The wall has no role, or confines a table by a view that a view cannot confine.
    """
    whole = meant(tables, wall, default_schema=default_schema)
    return [_ddl(statement) for statement in _put_up(whole, create_roles=create_roles)]


def take_down_ddl(tables: Tables, wall: RowWall, *, default_schema: str = "public") -> list[DDL]:
    """Return what takes the row wall down: policies, views and privileges. Roles stay, and so does their USAGE."""
    whole = meant(tables, wall, default_schema=default_schema)
    return [_ddl(statement) for statement in _take_down(whole)]


def _ddl(statement: str) -> DDL:
    return DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]  # not typed in SQLAlchemy


def _put_up(whole: Meant, *, create_roles: bool) -> Iterator[str]:
    if create_roles:
        yield from map(_create_role, whole.roles)
    yield from function_statements(whole)
    yield from _key_statements(whole)
    for schema in whole.schemas:
        yield f"GRANT USAGE ON SCHEMA {quote(schema)} TO {_list(whole.roles)}"
    if whole.wall.views:
        yield f"CREATE SCHEMA IF NOT EXISTS {quote(whole.wall.base_schema)}"
        yield f"REVOKE ALL ON SCHEMA {quote(whole.wall.base_schema)} FROM {_list(('PUBLIC', whole.role))}"
        if whole.unscoped_role is not None:
            yield f"GRANT USAGE ON SCHEMA {quote(whole.wall.base_schema)} TO {quote(whole.unscoped_role)}"
    for relation in whole.relations:
        if relation.is_view:
            yield from view_statements(whole, relation)
            continue
        yield from security_statements(relation)
        for policy in relation.policies:
            yield from policy_statements(relation, policy)
        yield from grant_statements(whole, relation)
    yield from map(_revoke, sorted(whole.wall.revoke))


def function_statements(whole: Meant) -> Iterator[str]:
    """Yield what makes the function that says who the tenant is; only a sealed wall has one."""
    if not whole.wall.is_sealed:
        return
    roles = _list(whole.roles)
    yield f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"
    yield f"REVOKE ALL ON SCHEMA {SCHEMA} FROM {_list(('PUBLIC', *whole.roles))}"
    yield f"GRANT USAGE ON SCHEMA {SCHEMA} TO {roles}"
    yield function_sql(whole.tables.tenant_type)
    yield f"REVOKE ALL ON FUNCTION {SCHEMA}.tenant_id() FROM PUBLIC"
    yield f"GRANT EXECUTE ON FUNCTION {SCHEMA}.tenant_id() TO {roles}"


def _key_statements(whole: Meant) -> Iterator[str]:
    """Yield what makes the table of the keys, with the one there is. No error message may have these."""
    if whole.wall.key is None:
        return
    inner, outer = padded_keys(whole.wall.key)
    yield f"CREATE TABLE IF NOT EXISTS {KEYS} (inner_key bytea NOT NULL, outer_key bytea NOT NULL)"
    yield f"REVOKE ALL ON {KEYS} FROM {_list(('PUBLIC', *whole.roles))}"
    yield f"DELETE FROM {KEYS}"
    yield f"INSERT INTO {KEYS} VALUES (decode('{inner}', 'hex'), decode('{outer}', 'hex'))"


def security_statements(relation: Relation) -> Iterator[str]:
    """Yield what enables row security, for the owner too."""
    if relation.policies:
        yield f"ALTER TABLE {relation.sql} ENABLE ROW LEVEL SECURITY"
        yield f"ALTER TABLE {relation.sql} FORCE ROW LEVEL SECURITY"


def policy_statements(relation: Relation, policy: Policy) -> Iterator[str]:
    """Yield what makes a policy, or makes it anew."""
    role = policy.role if policy.role == "CURRENT_USER" else quote(policy.role)
    check = "" if policy.check is None else f" WITH CHECK ({policy.check})"
    yield f"DROP POLICY IF EXISTS {policy.name} ON {relation.sql}"
    yield (
        f"CREATE POLICY {policy.name} ON {relation.sql} FOR {policy.command} TO {role} USING ({policy.using}){check}"
    )


def grant_statements(whole: Meant, relation: Relation) -> Iterator[str]:
    """Yield what gives each role its privileges, and takes all others, PUBLIC's too."""
    yield f"REVOKE ALL ON {relation.sql} FROM {_list(('PUBLIC', *whole.roles))}"
    for role, privileges in relation.privileges.items():
        yield f"GRANT {', '.join(sorted(privileges))} ON {relation.sql} TO {quote(role)}"
        table = relation.base if relation.is_view else (relation.schema, relation.name)
        if "INSERT" in privileges and table is not None:
            yield _grant_sequences(table, role)


def view_statements(whole: Meant, view: Relation) -> Iterator[str]:
    """Yield what makes a view, with its privileges. A table that still has the view's name is moved first."""
    assert view.base is not None  # noqa: S101  # else it is none
    base = quote(*view.base)
    if view.where is not None:
        yield _block(
            f"""
            IF EXISTS (
                SELECT FROM pg_catalog.pg_class
                WHERE oid = to_regclass({literal(view.sql)}) AND relkind IN ('r', 'p')
            ) THEN
                ALTER TABLE {view.sql} SET SCHEMA {quote(view.base[0])};
            END IF;
            """
        )
        yield f"CREATE OR REPLACE VIEW {view.sql} AS SELECT * FROM {base} WHERE {view.where} WITH CHECK OPTION"
        yield from grant_statements(whole, view)
        return
    assert view.columns is not None  # noqa: S101  # one kind or the other
    yield f"DROP VIEW IF EXISTS {view.sql}"
    yield f"CREATE VIEW {view.sql} AS SELECT {', '.join(map(quote, view.columns))} FROM {base}"
    yield from grant_statements(whole, view)
    if view.owner is not None:  # last: from then on it is no longer ours
        # To give it away takes an owner-to-be who may create there, for that moment.
        yield f"GRANT CREATE ON SCHEMA {quote(view.schema)} TO {quote(view.owner)}"
        yield f"ALTER VIEW {view.sql} OWNER TO {quote(view.owner)}"
        yield f"REVOKE CREATE ON SCHEMA {quote(view.schema)} FROM {quote(view.owner)}"


def _take_down(whole: Meant) -> Iterator[str]:
    roles = _list(whole.roles)
    for relation in reversed(whole.relations):
        if relation.is_view:
            yield f"DROP VIEW IF EXISTS {relation.sql}"
            continue
        for policy in relation.policies:
            yield f"DROP POLICY IF EXISTS {policy.name} ON {relation.sql}"
        if relation.policies:
            yield f"ALTER TABLE {relation.sql} NO FORCE ROW LEVEL SECURITY"
            yield f"ALTER TABLE {relation.sql} DISABLE ROW LEVEL SECURITY"
        yield f"REVOKE ALL ON {relation.sql} FROM {roles}"
    for view in (each for each in whole.relations if each.where is not None and each.base is not None):
        yield f"ALTER TABLE {quote(*view.base)} SET SCHEMA {quote(view.schema)}"  # type: ignore[misc]  # not None
    if whole.wall.views:
        yield f"DROP SCHEMA IF EXISTS {quote(whole.wall.base_schema)}"
    yield f"DROP FUNCTION IF EXISTS {SCHEMA}.tenant_id()"
    yield f"DROP TABLE IF EXISTS {KEYS}"
    yield f"DROP SCHEMA IF EXISTS {SCHEMA}"


def _create_role(role: str) -> str:
    return _block(
        f"""
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {literal(role)}) THEN
            CREATE ROLE {quote(role)} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION;
        END IF;
        """
    )


def _grant_sequences(table: tuple[str, str], role: str) -> str:
    """Return what lets a role use the sequences of a table's columns; an identity needs no privilege."""
    return _block(
        f"""
        DECLARE found regclass;
        BEGIN
            FOR found IN
                SELECT c.oid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
                WHERE d.classid = 'pg_class'::regclass AND c.relkind = 'S' AND d.deptype = 'a'
                    AND d.refobjid = to_regclass({literal(quote(*table))})
                UNION SELECT c.oid FROM pg_catalog.pg_attrdef a
                JOIN pg_catalog.pg_depend d ON d.classid = 'pg_attrdef'::regclass AND d.objid = a.oid
                JOIN pg_catalog.pg_class c ON d.refclassid = 'pg_class'::regclass AND c.oid = d.refobjid
                WHERE a.adrelid = to_regclass({literal(quote(*table))}) AND c.relkind = 'S'
            LOOP
                EXECUTE 'GRANT USAGE ON SEQUENCE ' || found::text || ' TO ' || {literal(quote(role))};
            END LOOP;
        END;
        """
    )


def _revoke(what: str) -> str:
    if what == "set_config":
        return "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC"
    return _block("EXECUTE 'REVOKE TEMPORARY ON DATABASE ' || quote_ident(current_database()) || ' FROM PUBLIC';")


def _block(statements: str) -> str:
    return f"DO $partywall$ BEGIN {statements.strip()} END $partywall$"


def _list(roles: tuple[str, ...]) -> str:
    return ", ".join(role if role == "PUBLIC" else quote(role) for role in roles)
