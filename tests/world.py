"""The databases the tests read: one of many tenants, and a twin for each of some tenants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import create_engine, insert
from sqlalchemy.engine import URL, Engine

from partywall.rows.declaration import RowWall
from partywall.testing import Twins
from tests import models

TWIN_TENANTS = (1, 2)


@dataclass(frozen=True)
class World:
    """
    Engines on one kind of database.

    Attributes:
        name: ``"sqlite"`` or ``"postgresql"``.
        url: Of the database of many tenants.
        many: Guarded engine of the database of many tenants; may be used unscoped.
        plain: Unguarded engine of the same database.
        twins: The guarded engine and the twin of each tenant in TWIN_TENANTS.
    """

    name: str
    url: URL
    many: Engine
    plain: Engine
    twins: dict[int, Twins]


@contextmanager
def world(name: str, new_database: Callable[[], URL], rows: RowWall | None = None) -> Iterator[World]:
    """Fill the databases and open them, with a row wall if there is one; close them at the end."""
    url = new_database()
    plain = filled(url, models.rows())
    many = models.tenancy(rows=rows).guard(create_engine(url), allow_unscoped=rows is None)
    alone = {tenant_id: filled(new_database(), models.rows_of(tenant_id)) for tenant_id in TWIN_TENANTS}
    try:
        twins = {tenant_id: Twins(many, engine, tenant_id) for tenant_id, engine in alone.items()}
        yield World(name, url, many, plain, twins)
    finally:
        for engine in (plain, many, *alone.values()):
            engine.dispose()


def filled(url: URL, rows: models.Rows) -> Engine:
    """Create the tables in an empty database, fill them, and return a plain engine."""
    engine = create_engine(url)
    metadata = models.metadata_without_foreign_keys()
    with engine.begin() as connection:
        metadata.create_all(connection)
        for table in metadata.sorted_tables:
            if rows[table.name]:
                connection.execute(insert(table), rows[table.name])
    return engine
