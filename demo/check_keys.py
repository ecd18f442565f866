"""Lets each distributor try every write that points across, past everything but the keys of the database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Executable

from demo.books import DIALECTS
from demo.hostile_keys import Pointing, rows_of

__all__ = ["Pointed", "try_to_point"]

FOREIGN_KEY = ("SQLITE_CONSTRAINT_FOREIGNKEY", "23503")  # SQLite's name, PostgreSQL's SQLSTATE


@dataclass(frozen=True)
class Pointed:
    """
    What became of a write that points across.

    Attributes:
        refused: Whether a foreign key refused it.
    """

    attempt: Pointing
    tenant_id: int
    refused: bool


def try_to_point(attempt: Pointing, engine: Engine, tenant_id: int, other: int) -> Pointed:
    """Execute a write that points across with a cursor of the driver's own, and roll it back."""
    driver: Any = engine.dialect.dbapi
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        for statement in (*rows_of(tenant_id), *rows_of(other)):
            cursor.execute(_text(statement, engine))
        try:
            cursor.execute(_text(attempt.make(tenant_id, other), engine))
        except driver.IntegrityError as error:
            code = getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None)
            if code not in FOREIGN_KEY:
                raise
            return Pointed(attempt, tenant_id, refused=True)
        finally:
            cursor.close()
    return Pointed(attempt, tenant_id, refused=False)


def _text(statement: Executable, engine: Engine) -> str:
    dialect = DIALECTS[engine.dialect.name]()  # whose compiler is nobody's but SQLAlchemy's
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))  # type: ignore[attr-defined]  # every one has it
