"""What the row wall means to be in the database, as data: relations, their privileges and policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy.dialects import postgresql

from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.tenant import tenant_sql
from partywall.statements.names import public_view
from partywall.tables import Kind, TableDescription, Tables, Visible

__all__ = ["OWN_POLICY", "Meant", "Policy", "Relation", "literal", "meant", "quote", "schema_of"]

OWN_POLICY, SHARED_POLICY, UNSCOPED_POLICY = "partywall_tenant", "partywall_shared", "partywall_unscoped"
VIEW_POLICY = "partywall_view"
OWNER = "CURRENT_USER"  # as a policy's role: whoever puts the wall up

READ = frozenset({"SELECT"})
WRITE = frozenset({"SELECT", "INSERT", "UPDATE", "DELETE"})

_PREPARER: Any = postgresql.dialect().identifier_preparer  # type: ignore[no-untyped-call]


def schema_of(dialect: Any, wall: RowWall) -> str:
    """Return where tables are whose metadata names no schema: the default, unless views hide theirs there."""
    name: str = dialect.default_schema_name or "public"
    return "public" if name == wall.base_schema else name


def quote(*names: str) -> str:
    """Return a name as SQL, each part quoted where it has to be."""
    return ".".join(_PREPARER.quote(name) for name in names)


def literal(value: str) -> str:
    """Return a string as SQL, whatever the server's ``standard_conforming_strings`` says."""
    escaped = value.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in value else f"'{escaped}'"


@dataclass(frozen=True)
class Policy:
    """One policy. Without *check* it lets nothing be written."""

    name: str
    command: str
    role: str
    using: str
    check: str | None = None


@dataclass(frozen=True)
class Relation:
    """
    A table or view of the wall.

    Attributes:
        privileges: Of each role, for exactly these commands; PUBLIC has none.
        policies: Row security is enabled and forced if there are any.
        select: Of a view: its columns and table, up to WHERE. None: it is a table.
        where: Of a view that confines: what its rows satisfy, and what is written through it has to.
        base: Of a view: its table's schema and name.
        owner: Of a view: its owner, if that is not who puts the wall up.
        tenant_column: Of rows that belong to tenants, for the canary.
    """

    schema: str
    name: str
    privileges: Mapping[str, frozenset[str]]
    policies: tuple[Policy, ...] = ()
    columns: tuple[str, ...] | None = None
    where: str | None = None
    base: tuple[str, str] | None = None
    owner: str | None = None
    tenant_column: str | None = None

    @property
    def is_view(self) -> bool:
        return self.base is not None

    @property
    def sql(self) -> str:
        """Its name as SQL."""
        return quote(self.schema, self.name)


@dataclass(frozen=True)
class Meant:
    """All of the wall: in the order in which it is put up."""

    role: str
    unscoped_role: str | None
    relations: tuple[Relation, ...]
    tables: Tables
    wall: RowWall
    default_schema: str

    @property
    def roles(self) -> tuple[str, ...]:
        return (self.role,) if self.unscoped_role is None else (self.role, self.unscoped_role)

    @property
    def schemas(self) -> tuple[str, ...]:
        """Schemas that the application's role uses, ours apart."""
        return tuple(dict.fromkeys(each.schema for each in self.relations if self.role in each.privileges))


def meant(tables: Tables, wall: RowWall, *, default_schema: str = "public") -> Meant:
    """
    Derive the wall from the declarations.

    Args:
        tables: The tenancy's.
        wall: Its row wall; PostgreSQL needs the role.
        default_schema: Where the tables are whose metadata names no schema.

    Raises:
        SetupError: The wall has no role, or confines a table by a view that a view cannot confine.
    """
    if wall.role is None:
        raise SetupError(
            "the row wall of PostgreSQL needs the role that the application logs in as: RowWall(role='app')."
        )
    known = {description.key for description in tables.by_name.values()}
    for key in sorted(frozenset(wall.views) - known):
        raise SetupError(f"RowWall(views=...) names the table {key!r}, but the metadata has none of that name.")
    tenant = tenant_sql(wall, tables.tenant_type)
    relations = [
        relation
        for description in sorted(tables.by_name.values(), key=lambda each: each.key)
        for relation in _relations(description, wall, wall.role, tenant, default_schema)
    ]
    return Meant(wall.role, wall.unscoped_role, tuple(relations), tables, wall, default_schema)


def _own(description: TableDescription, tenant: str) -> str:
    """Return the criterion of a tenant's own rows."""
    assert description.tenant_column is not None  # noqa: S101  # a restricted table has one
    return f"{quote(description.tenant_column)} = {tenant}"


def _relations(
    description: TableDescription, wall: RowWall, role: str, tenant: str, default_schema: str
) -> Iterator[Relation]:
    schema = description.schema or default_schema
    if description.key in wall.views:
        yield from _confined_by_view(description, wall, role, tenant, schema)
        return
    writable = description.writable is not Visible.NONE
    privileges = _privileges(wall, {role: WRITE if writable else READ})
    policies = _policies(description, wall, role, tenant) if description.is_restricted else ()
    yield Relation(
        schema, description.name, privileges, policies, tenant_column=description.tenant_column if policies else None
    )
    if description.public:
        yield _public_view(description, wall, role, schema)


def _privileges(wall: RowWall, privileges: dict[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    if wall.unscoped_role is not None:
        privileges[wall.unscoped_role] = WRITE
    return MappingProxyType(privileges)


def _policies(description: TableDescription, wall: RowWall, role: str, tenant: str) -> tuple[Policy, ...]:
    criterion = _own(description, tenant)
    if description.kind is Kind.TENANTS:
        policies = [Policy(OWN_POLICY, "SELECT", role, criterion)]
    else:
        policies = [Policy(OWN_POLICY, "ALL", role, criterion, criterion)]
    if description.readable is Visible.OWN_AND_SHARED:
        assert description.tenant_column is not None  # noqa: S101  # as above
        policies.append(Policy(SHARED_POLICY, "SELECT", role, f"{quote(description.tenant_column)} IS NULL"))
    return (*policies, *_unscoped_policy(wall))


def _unscoped_policy(wall: RowWall) -> tuple[Policy, ...]:
    return () if wall.unscoped_role is None else (Policy(UNSCOPED_POLICY, "ALL", wall.unscoped_role, "true", "true"),)


def _public_view(description: TableDescription, wall: RowWall, role: str, schema: str) -> Relation:
    if wall.unscoped_role is None:
        raise SetupError(
            f"columns of {description.key} are public, so a view shows them to who has no tenant yet, and it needs an "
            "owner who sees all rows.\nWrite:  RowWall(..., unscoped_role='app_unscoped')"
        )
    return Relation(
        schema,
        public_view(description.name),
        MappingProxyType({role: READ}),
        columns=tuple(sorted(description.public)),
        base=(schema, description.name),
        owner=wall.unscoped_role,
    )


def _confined_by_view(
    description: TableDescription, wall: RowWall, role: str, tenant: str, schema: str
) -> Iterator[Relation]:
    """
    Yield the view of the table's name, and the table, out of the role's reach.

    The table's policies hold the view's owner, not the role: all may be read through the view, which does the
    filtering, so that any index will do; what is written has to be the tenant's. A view alone would let
    ON CONFLICT DO UPDATE take another tenant's row (its WHERE is not asked of the row that is there).
    """
    if description.kind is not Kind.SCOPED or description.readable is not Visible.OWN or description.schema is not None:
        raise SetupError(
            f"the table {description.key} cannot be confined by a view: it has to be scoped, without shared rows, and "
            "in the default schema.\nLeave it out of RowWall(views=...), so that a policy confines it."
        )
    criterion = _own(description, tenant)
    yield Relation(
        schema,
        description.name,
        MappingProxyType({role: WRITE}),
        where=criterion,
        base=(wall.base_schema, description.name),
        tenant_column=description.tenant_column,
    )
    yield Relation(
        wall.base_schema,
        description.name,
        _privileges(wall, {}),
        (
            Policy(OWN_POLICY, "ALL", OWNER, criterion, criterion),
            Policy(VIEW_POLICY, "SELECT", OWNER, "true"),
            *_unscoped_policy(wall),
        ),
    )
