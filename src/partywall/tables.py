"""The frozen description of each table: what is scoped, by which column, and what the tenant may see of it."""

from __future__ import annotations

import enum
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeEngine

from partywall.errors import TenantIdError

__all__ = ["Kind", "Layout", "TableDescription", "Tables", "Visible"]


class Kind(enum.Enum):
    """What a table's rows are to a tenant. The value is what ``Table.info["partywall"]`` says."""

    SCOPED = "scoped"  # rows belong to tenants: the own ones are seen and written
    SHARED = "shared"  # rows belong to nobody: all are seen, none is written
    SHARED_WRITABLE = "shared_writable"  # rows belong to nobody: all are seen and written
    TENANTS = "tenants"  # one row per tenant: the own one is seen


class Visible(enum.Enum):
    """Which rows of a table a tenant sees, or may write."""

    OWN = "own"
    OWN_AND_SHARED = "own and shared rows"
    ALL = "all"
    NONE = "none"


class Layout(enum.Enum):
    """How the keys of a scoped table stand in the database. The value is what declarations say."""

    AS_WRITTEN = "as written"  # no key is changed: there is no key wall
    KEEP = "keep"  # primary keys stay as they are; references and unique keys get the tenant
    TENANT_FIRST = "tenant-first"  # primary keys get the tenant too, so that tenants may have equal ids


@dataclass(frozen=True, slots=True)
class TableDescription:
    """
    What the walls know about one table, and all they know.

    Attributes:
        schema, name: As in the database; *schema* is None for the default one.
        kind: What its rows are to a tenant.
        tenant_column: Name of the column that holds the tenant id; None for shared tables.
        readable, writable: Which rows a tenant sees and may write.
        columns: Names of all columns, as in the database.
        public: Columns of the tenants table that may be read with no tenant in scope.
        layout: How its keys stand in the database.
        primary_key: Names of the columns of the primary key, as the models have it.
        ids_repeat: Whether two tenants may have rows of one id, because the primary key has the tenant in the
            database, and not in the models.
        global_keys: The unique keys, as sets of column names, that are unique among all tenants.
    """

    schema: str | None
    name: str
    kind: Kind
    tenant_column: str | None
    readable: Visible
    writable: Visible
    columns: frozenset[str]
    public: frozenset[str] = frozenset()
    layout: Layout = Layout.AS_WRITTEN
    primary_key: tuple[str, ...] = ()
    ids_repeat: bool = False
    global_keys: frozenset[frozenset[str]] = frozenset()

    @property
    def key(self) -> str:
        """``"invoice"`` or ``"billing.invoice"``, as in ``MetaData.tables``."""
        return self.name if self.schema is None else f"{self.schema}.{self.name}"

    @property
    def is_restricted(self) -> bool:
        """Whether a tenant sees only some of the rows, so that a statement needs the tenant."""
        return self.readable is not Visible.ALL

    def tenant_column_of(self, table: FromClause) -> Any:
        """Return the tenant column of a table, alias or ``table()`` by its name (its key may differ), or None."""
        return next((column for column in table.c if column.name == self.tenant_column), None)

    def gets_the_tenant(self, key: frozenset[str]) -> bool:
        """Whether a unique key of these columns has the tenant column as well in the database."""
        if self.kind is not Kind.SCOPED or self.layout is Layout.AS_WRITTEN or self.tenant_column in key:
            return False
        return self.ids_repeat if key == frozenset(self.primary_key) else key not in self.global_keys

    def means_the_same_as(self, other: TableDescription) -> bool:
        """Whether a statement scoped for this table is scoped for *other* too."""
        mine = (self.kind, self.tenant_column, self.readable, self.writable, self.layout)
        return mine == (other.kind, other.tenant_column, other.readable, other.writable, other.layout)


@dataclass(frozen=True)
class Tables:
    """The tables of a tenancy on one kind of database, by schema and name, and the type their tenant ids have."""

    by_name: Mapping[tuple[str | None, str], TableDescription]
    tenant_type: TypeEngine[Any]
    dialect: str = "postgresql"

    @functools.cached_property
    def ids_repeat(self) -> bool:
        """Whether two tenants may have rows of one id in any table."""
        return any(each.ids_repeat for each in self.by_name.values())

    def find(self, schema: str | None, name: str) -> TableDescription | None:
        """Return the description of a table of exactly this name; None if nobody declared it."""
        return self.by_name.get((schema, name))

    def named(self, name: str) -> list[TableDescription]:
        """Return the descriptions of the tables of this name, in any case, in any schema."""
        return [each for each in self.by_name.values() if each.name.lower() == name.lower()]

    def check_tenant_id(self, tenant_id: object) -> None:
        """
        Check that a tenant id has the tenant column's Python type.

        Raises:
            TenantIdError: It has not; ``"42"`` is no id where the column holds integers.
        """
        expected = self.tenant_type.python_type
        if not isinstance(tenant_id, expected):
            raise TenantIdError(
                f"the tenant column holds {expected.__name__}, but the tenant in scope is a "
                f"{type(tenant_id).__name__}: convert it where the scope is entered."
            )
