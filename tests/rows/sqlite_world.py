"""Databases of SQLite for attacks on the row wall: of many tenants, of tenant 1 alone, and walled connections."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine

from partywall import PartywallError
from partywall.rows.sqlite.connection import WalledConnection
from partywall.rows.sqlite.wall import SqliteWall
from partywall.statements.functions import HARMLESS_FUNCTIONS
from tests import models
from tests.rows.attacks import CHANGES, READS, REFUSED
from tests.world import filled

OWN = 1

EXTRAS = (
    "CREATE VIEW customer_names AS SELECT name, remarks FROM customers",
    "CREATE INDEX customers_remarks ON customers (remarks)",
    "CREATE TABLE undeclared (x)",
    "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, x)",
    "CREATE VIRTUAL TABLE search USING fts5(remarks)",
    "INSERT INTO undeclared SELECT remarks FROM customers",
    "INSERT INTO counted (x) SELECT remarks FROM customers",
    "INSERT INTO search SELECT remarks FROM customers",
    "ANALYZE",
)
"""What nobody declared, with values of all tenants in it."""


def new_wall() -> SqliteWall:
    """Return the row wall of the tests' application."""
    return SqliteWall(models.tenancy().describe(), lambda name: name.lower() in HARMLESS_FUNCTIONS)


@dataclass(frozen=True)
class Databases:
    """The files of many tenants, and of one alone."""

    many: Path
    alone: Path

    @contextmanager
    def walled(self, tenant_id: int | None = OWN, wall: SqliteWall | None = None) -> Iterator[WalledConnection]:
        """Open a walled connection to the many, as a tenant's transaction has it."""
        with closing(sqlite3.connect(self.many, factory=WalledConnection)) as connection:
            (wall or new_wall()).put_up(connection)
            gate = connection.partywall_gate
            assert gate is not None
            gate.let_in(tenant_id, None)
            yield connection
            connection.rollback()  # a statement that an error's traceback still holds would keep its lock

    def picture(self) -> list[str]:
        """Return all that is in the file of many tenants, schema included."""
        with closing(sqlite3.connect(self.many)) as connection:
            return list(connection.iterdump())

    def alone_says(self, sql: str) -> Any:
        """Return what the database of the tenant alone answers: rows, or the class of the error."""
        with closing(sqlite3.connect(self.alone)) as connection:
            return answer(connection, sql)

    def plain_says(self, sql: str) -> Any:
        """Return what the database of many tenants answers with no wall."""
        with closing(sqlite3.connect(self.many)) as connection:
            return answer(connection, sql)


def answer(connection: sqlite3.Connection, sql: str) -> Any:
    """Return the rows that a raw cursor gives, or the class of the error."""
    try:
        return sorted(connection.cursor().execute(sql).fetchall(), key=repr)
    except PartywallError:
        return PartywallError
    except sqlite3.Error as error:
        return type(error)


def new_databases(new_sqlite: Callable[..., URL]) -> Databases:
    """Fill both files."""
    paths = []
    for rows in (models.rows(), models.rows_of(OWN)):
        url = new_sqlite()
        filled(url, rows).dispose()
        with closing(sqlite3.connect(url.database or "")) as connection, connection:
            for statement in EXTRAS:
                connection.execute(statement)
        paths.append(Path(url.database or ""))
    return Databases(*paths)


def is_leak(databases: Databases, connection: WalledConnection, sql: str) -> bool:
    """Whether a read on a walled connection gives what the tenant alone does not see: rows, or an error."""
    seen, alone = answer(connection, sql), databases.alone_says(sql)
    if seen is PartywallError or seen == alone:
        return False
    if isinstance(alone, list) or isinstance(seen, list):
        return bool(isinstance(seen, list) and (seen or isinstance(alone, list))) or seen == databases.plain_says(sql)
    return True


def changes(databases: Databases, connection: WalledConnection, template: str) -> bool:
    """Whether a statement on a walled connection was not refused, or changed anything."""
    before = databases.picture()
    tried = answer(connection, template.format(file=databases.many))
    if isinstance(tried, list):
        connection.commit()
    return isinstance(tried, list) or databases.picture() != before


def is_answered(_databases: Databases, connection: WalledConnection, sql: str) -> bool:
    """Whether a statement on a walled connection was not refused."""
    return isinstance(answer(connection, sql), list)


def leaks(databases: Databases) -> Iterator[str]:
    """Run every attack, each on a walled connection of its own, and return those that got through."""
    for cases, gets_through in ((READS, is_leak), (REFUSED, is_answered), (CHANGES, changes)):
        for group, statements in cases.items():
            for sql in statements:
                with databases.walled() as connection:
                    if gets_through(databases, connection, sql):
                        yield f"{group}: {sql}"


def walled_engine(url: URL, tenant_id: int) -> Engine:
    """Return an engine with no statement wall, whose connections are walled and show one tenant's rows."""
    engine = create_engine(url, connect_args={"factory": WalledConnection})
    wall = new_wall()

    @event.listens_for(engine, "checkout")
    def _checked_out(connection: Any, _record: Any, _proxy: Any) -> None:
        if connection.partywall_gate is None:
            wall.put_up(connection)
        connection.partywall_gate.let_in(tenant_id, None)

    return engine
