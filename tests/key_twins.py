"""
The twin oracle on the keys of the database: rows that point nowhere they should not, in each layout.

The twin has the keys of the models, as an application without other tenants would.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ForeignKeyConstraint, MetaData, Table, create_engine, func, insert, select
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.schema import DDL, DefaultClause

from partywall import Tenancy
from partywall.testing import Twins
from tests import models, write_models
from tests.key_world import open_plain
from tests.models import Rows
from tests.write_world import TENANT_COLUMN, WriteTwins, is_seen, triggers

TWIN_TENANTS = (1, 2)


@dataclass(frozen=True)
class Setting:
    """A layout, and whether tenants have rows of the same ids, which tenant-first allows on PostgreSQL."""

    layout: str
    ids_are_equal: bool = False


SETTINGS = {
    "keep": Setting("keep"),
    "tenant_first": Setting("tenant-first"),
    "tenant_first_with_equal_ids": Setting("tenant-first", ids_are_equal=True),
}


@dataclass(frozen=True)
class KeyWorld:
    """
    Engines on one kind of database whose keys are those of a tenancy.

    Attributes:
        name: ``"sqlite"`` or ``"postgresql"``.
        many: Guarded engine of the database of many tenants; may be used unscoped.
        plain: Unguarded engine of the same database.
        ids_repeat: Whether the tenant is in the primary keys of customers and the like.
        reads, writes: The guarded engine and the twin of each tenant.
    """

    name: str
    many: Engine
    plain: Engine
    ids_repeat: bool
    reads: dict[int, Twins]
    writes: dict[int, WriteTwins]


@contextmanager
def key_world(setting: Setting, new_database: Callable[[], URL]) -> Iterator[KeyWorld]:
    """Fill the databases and open them; close them at the end."""
    url = new_database()
    tenancy = write_models.tenancy(layout=setting.layout)
    rows = _clean_rows(ids_are_equal=setting.ids_are_equal)
    plain = _walled(tenancy, url, rows)
    many = tenancy.guard(create_engine(url), allow_unscoped=True)
    alone = {tenant_id: _twin(new_database(), rows, tenant_id) for tenant_id in TWIN_TENANTS}
    try:
        reads = {tenant_id: Twins(many, engine, tenant_id) for tenant_id, engine in alone.items()}
        writes = {tenant_id: WriteTwins(many, engine, tenant_id) for tenant_id, engine in alone.items()}
        name = url.get_backend_name()
        description = tenancy.describe(name).find(None, "customers")
        assert description is not None
        yield KeyWorld(name, many, plain, description.ids_repeat, reads, writes)
    finally:
        for engine in (plain, many, *alone.values()):
            engine.dispose()


def _walled(tenancy: Tenancy, url: URL, rows: Rows) -> Engine:
    engine = open_plain(url)
    tenancy.create_all(engine)
    with engine.begin() as connection:
        for metadata in tenancy.physical_metadata(dialect=url.get_backend_name()):
            for table in metadata.sorted_tables:
                if rows[table.name]:
                    connection.execute(insert(table), rows[table.name])
            _number_from_1000(connection, metadata.tables.values())
    return engine


def _twin(url: URL, rows: Rows, tenant_id: int) -> Engine:
    """Create the tables of the models, let the database fill in the only tenant, and fill them."""
    metadata = MetaData()
    for source in (*models.Base.metadata.tables.values(), *write_models.Base.metadata.tables.values()):
        column = source.to_metadata(metadata).c.get(TENANT_COLUMN)
        if column is not None:
            column.server_default = DefaultClause(str(tenant_id))
            if not column.nullable:
                column.dialect_options["sqlite"]["on_conflict_not_null"] = "REPLACE"
    engine = open_plain(url)
    with engine.begin() as connection:
        metadata.create_all(connection)
        for table in metadata.sorted_tables:
            kept = [row for row in rows[table.name] if is_seen(table.name, row, tenant_id)]
            if kept:
                connection.execute(insert(table), kept)
        _number_from_1000(connection, metadata.tables.values())
        for statement in triggers(engine.dialect.name, metadata, tenant_id):
            connection.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
    return engine


def _number_from_1000(connection: Connection, tables: Iterable[Table]) -> None:
    """Let PostgreSQL generate ids that no row has."""
    for table in tables if connection.dialect.name == "postgresql" else ():
        column = table.autoincrement_column
        if column is not None:
            sequence = func.pg_get_serial_sequence(table.name, column.name)
            connection.execute(select(func.setval(sequence, 1000)))


def _clean_rows(*, ids_are_equal: bool) -> Rows:
    """Return the rows of all tenants without the references that point across."""
    rows = {**models.rows(), **write_models.rows()}
    tables = {**models.Base.metadata.tables, **write_models.Base.metadata.tables}
    changed = True
    while changed:
        changed = False
        for name, table in tables.items():
            for key in table.foreign_key_constraints:
                for row in list(rows[name]):
                    if not _points_across(key, row, rows):
                        continue
                    changed = True
                    optional = [column for column in key.columns if column.nullable]
                    if optional:
                        row.update(dict.fromkeys((column.name for column in optional), None))
                    else:
                        rows[name].remove(row)
    if ids_are_equal:
        for name, table in tables.items():
            for row in rows[name] if name != "templates" else ():
                for column in row.keys() & {each.name for each in _ids_of(table)}:
                    row[column] = row[column] % 100 if isinstance(row[column], int) else row[column]
    return rows


def _ids_of(table: Any) -> list[Any]:
    columns = {*table.primary_key.columns, *(each for key in table.foreign_key_constraints for each in key.columns)}
    return [each for each in columns if each.name != TENANT_COLUMN and table.name != "tenants"]


def _points_across(key: ForeignKeyConstraint, row: dict[str, Any], rows: Rows) -> bool:
    pairs = [(element.parent.name, element.column.name) for element in key.elements]
    if any(row[name] is None for name, _ in pairs):
        return False
    return not any(
        all(row[name] == other[target] for name, target in pairs)
        and other.get(TENANT_COLUMN, row.get(TENANT_COLUMN)) == row.get(TENANT_COLUMN)
        for other in rows[key.referred_table.name]
    )
