"""What the tests of keys look at: the schema that a database really has."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import URL, Connection, Engine

from partywall import Tenancy


@dataclass(frozen=True)
class Keys:
    """The keys of a table as SQLAlchemy's inspector finds them; None in an index stands for an expression."""

    primary_key: tuple[str, ...]
    unique: frozenset[tuple[str, ...]]
    foreign: frozenset[tuple[tuple[str, ...], str, tuple[str, ...], tuple[tuple[str, Any], ...]]]
    indexes: frozenset[tuple[str | None, tuple[str | None, ...], bool]]
    nullable: frozenset[str]
    checks: int


def keys_in(engine: Engine, *schemas: str | None) -> dict[str, Keys]:
    """Return the keys of every table in a database."""
    inspector = inspect(engine)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipped unsupported reflection of expression-based index")  # SQLite's
        return {
            name if schema is None else f"{schema}.{name}": _keys_of(inspector, name, schema)
            for schema in schemas or (None,)
            for name in inspector.get_table_names(schema)
        }


def _keys_of(inspector: Any, table: str, schema: str | None) -> Keys:
    indexes = [each for each in inspector.get_indexes(table, schema) if not each.get("duplicates_constraint")]
    return Keys(
        tuple(inspector.get_pk_constraint(table, schema)["constrained_columns"]),
        frozenset(tuple(each["column_names"]) for each in inspector.get_unique_constraints(table, schema)),
        frozenset(
            (
                tuple(each["constrained_columns"]),
                each["referred_table"],
                tuple(each["referred_columns"]),
                tuple(sorted((name, value) for name, value in each["options"].items() if value)),
            )
            for each in inspector.get_foreign_keys(table, schema)
        ),
        frozenset((each["name"], tuple(each["column_names"]), bool(each["unique"])) for each in indexes),
        frozenset(each["name"] for each in inspector.get_columns(table, schema) if each["nullable"]),
        len(inspector.get_check_constraints(table, schema)),
    )


def open_plain(url: URL) -> Engine:
    """Return an engine with no wall, whose SQLite checks foreign keys."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def check_foreign_keys(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    return engine


@contextlib.contextmanager
def opened(url: URL) -> Iterator[Engine]:
    """Open a plain engine, and close it at the end."""
    engine = open_plain(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def guarded(tenancy: Tenancy, url: URL) -> Iterator[Engine]:
    """Open an engine that may be used unscoped, and close it at the end."""
    engine = tenancy.guard(create_engine(url), allow_unscoped=True)
    try:
        yield engine
    finally:
        engine.dispose()


@contextlib.contextmanager
def created(tenancy: Tenancy, url: URL, *, with_walls: bool = True) -> Iterator[Engine]:
    """Create the keys of the database, or those of the models, and return a plain engine; drop them at the end."""
    metadata = tenancy.physical_metadata(dialect=url.get_backend_name()) if with_walls else tenancy.metadata
    with opened(url) as engine:
        for each in metadata:
            each.create_all(engine)
        try:
            yield engine
        finally:
            for each in reversed(metadata):
                each.drop_all(engine)


def run_raw(connection: Connection, *statements: str) -> None:
    """Run statements on the driver's own cursor."""
    with contextlib.closing(connection.connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
