"""``partywall ddl``: the schema with the keys that cannot point across tenants and the row wall, as a script of SQL."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Executable, create_mock_engine
from sqlalchemy.engine import Dialect
from sqlalchemy.schema import AddConstraint, CreateIndex

from partywall.tenancy import Tenancy

__all__ = ["ddl"]


def ddl(tenancy: Tenancy, *, dialect: str, server_version: tuple[int, ...] | None = None) -> str:
    """
    Return what ``Tenancy.create_all()`` would execute on an empty database. Nothing is connected.

    What the models execute besides, with ``DDL(...)`` before or after the creation of a table, is in it as well.
    Schemas and roles are not: they have to be there. On PostgreSQL the row wall is the end of it; a sealed one has
    its key in it.

    Args:
        tenancy: Says whose rows the tables hold.
        dialect: ``"postgresql"`` or ``"sqlite"``.
        server_version: Of the server it is for, ``(14, 9)``; None: the newest.

    Returns:
        A script: statements in the order in which they have to be executed, each ended by a semicolon. The same
        models give the same script each time.

    Raises:
        SetupError: The declarations are incomplete, or a key cannot be derived.
    """
    recorded: list[Executable] = []
    # With this style a percent sign stands for itself, as in a script it has to.
    database: Any = create_mock_engine(f"{dialect}://", lambda each, *_: recorded.append(each), paramstyle="named")
    if server_version is not None:
        database.dialect.server_version_info = server_version
    for metadata in tenancy.physical_metadata(dialect=dialect, server_version=server_version):
        metadata.create_all(database, checkfirst=False)
    if tenancy.rows is not None and dialect == "postgresql":
        recorded.extend(tenancy.row_wall_ddl())
    return _script(recorded, database.dialect)


def _script(statements: Iterable[Executable], dialect: Dialect) -> str:
    texts: list[str] = []
    for kind, group in itertools.groupby(statements, _unordered):
        run = [_ended(_text(each, dialect)) for each in group]
        texts += run if kind is None else sorted(run)
    return "\n\n".join(texts) + "\n"


def _unordered(statement: Executable) -> type | None:
    """Return its class if SQLAlchemy has such statements in a set, so that their order would be another each time."""
    return next((each for each in (CreateIndex, AddConstraint) if isinstance(statement, each)), None)


def _text(statement: Any, dialect: Dialect) -> str:
    if getattr(statement, "is_ddl", False):
        return str(statement.compile(dialect=dialect))
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


def _ended(text: str) -> str:
    text = text.strip().removesuffix(";")
    last_line = text.rpartition("\n")[2]
    return f"{text}\n;" if "--" in last_line else f"{text};"  # a comment would swallow it
