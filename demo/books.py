"""What the databases hold, counted and summed past every guard: by a cursor of the driver's own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Table, Text, cast, func, null, select
from sqlalchemy.dialects import postgresql, sqlite

from demo.models import Base

__all__ = ["DIALECTS", "Books", "difference", "look", "look_at", "own"]

Books = Mapping[tuple[str, int | None], tuple[int, int]]
"""A table and whose rows (None: nobody's) to how many there are and their checksum, whatever their order."""

ALL: list[Table] = Base.metadata.sorted_tables
DIALECTS: Mapping[str, Any] = {"sqlite": sqlite.dialect, "postgresql": postgresql.dialect}


def look(engine: Engine, tables: Sequence[Table] = ALL) -> Books:
    """Return what is committed."""
    with engine.connect() as connection:
        return look_at(connection, tables)


def look_at(connection: Connection, tables: Sequence[Table] = ALL) -> Books:
    """Return what a connection sees, in its transaction."""
    books: dict[tuple[str, int | None], tuple[int, int]] = {}
    cursor = connection.connection.cursor()
    for table in tables:
        on_server = connection.dialect.name == "postgresql"
        statement = _sums(table) if on_server else _all(table)
        cursor.execute(
            str(statement.compile(dialect=DIALECTS[connection.dialect.name](), compile_kwargs={"literal_binds": True}))
        )
        if on_server:
            books |= {(table.name, owner): (count, int(checksum)) for owner, count, checksum in cursor.fetchall()}
        else:
            books |= {(table.name, owner): counted for owner, counted in _by_owner(table, cursor.fetchall())}
    cursor.close()
    return books


def _all(table: Table) -> Any:
    return select(*table.c)


def _sums(table: Table) -> Any:
    """Let PostgreSQL sum: rows as text, hashed."""
    owner = table.c.tenant_id if "tenant_id" in table.c else null()
    checksum = func.sum(func.hashtextextended(cast(table.table_valued(), Text), 0))
    statement = select(owner, func.count(), checksum)
    return statement.group_by(owner) if "tenant_id" in table.c else statement


def _by_owner(table: Table, rows: Sequence[Any]) -> list[tuple[int | None, tuple[int, int]]]:
    owned: dict[int | None, list[Any]] = defaultdict(list)
    if "tenant_id" in table.c:
        position = table.c.keys().index("tenant_id")
        for row in rows:
            owned[row[position]].append(row)
    else:
        owned[None] = list(rows)
    return [(owner, (len(each), sum(map(hash, each)))) for owner, each in owned.items()]


def own(books: Books, tenant_id: int) -> Books:
    """Return one distributor's part."""
    return {key: counted for key, counted in books.items() if key[1] == tenant_id}


def difference(before: Books, after: Books, *, ours: int) -> str:
    """Say in two words what became of rows that are not ours; nothing if they are as they were."""
    for table, owner in {**before, **after}:
        was, now = (books.get((table, owner), (0, 0)) for books in (before, after))
        if owner != ours and was != now:
            verb = "changes" if was[0] == now[0] else "adds" if was[0] < now[0] else "deletes"
            what = "theirs" if owner is not None else "the list" if table == "distributors" else "shared rows"
            return f"{verb} {what}"
    return ""
