"""A table with a row policy made by hand, and guarded engines of a role that owns nothing, for each driver."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.util import greenlet_spawn

from partywall import Tenancy
from partywall.rows.declaration import RowWall

T = TypeVar("T")

SYNC_DRIVERS = ("psycopg", "psycopg2")
ASYNC_DRIVERS = ("psycopg_async", "asyncpg")
DRIVERS = SYNC_DRIVERS + ASYNC_DRIVERS

SETTING = "current_setting('partywall.tenant', true)"
ROLE, UNSCOPED_ROLE = "by_hand_app", "by_hand_admin"


class Base(DeclarativeBase):
    pass


class Note(Base):
    __tablename__ = "notes"

    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    text: Mapped[str] = mapped_column(sa.String(40))


class Country(Base):
    __tablename__ = "countries"

    code: Mapped[str] = mapped_column(sa.String(2), primary_key=True)


ROWS = [{"id": 10 * tenant + number, "tenant_id": tenant, "text": "alike"} for tenant in (1, 2) for number in (1, 2, 3)]

EVERY_ROW = sa.text("SELECT count(*), min(tenant_id), max(tenant_id) FROM notes")


@dataclass(frozen=True)
class Place:
    """A database with the table, and how to make guarded engines on it."""

    owner: Engine
    url: URL

    def tenancy(self, **options: Any) -> Tenancy:
        rows = RowWall(role=ROLE, unscoped_role=UNSCOPED_ROLE, self_test=False, **options)  # its policies are not ours
        return Tenancy(Base.metadata, shared={"countries"}, rows=rows)

    def terminate(self, pid: int) -> None:
        """End a process of the server, as a superuser, and wait until it is gone."""
        engine = sa.create_engine(self.url.set(username="postgres"))
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        engine.dispose()

    def run(
        self,
        driver: str,
        work: Callable[[Engine], T],
        *,
        wall: dict[str, Any] | None = None,
        allow_unscoped: bool = False,
        rows: bool = True,
        url: URL | None = None,
        **options: Any,
    ) -> T:
        """Run *work* with a guarded engine of a driver."""
        own = self.url.set(username=UNSCOPED_ROLE if allow_unscoped else ROLE)
        tenancy = self.tenancy(**(wall or {})) if rows else Tenancy(Base.metadata, shared={"countries"})
        return run_with(driver, url or own, tenancy, work, allow_unscoped=allow_unscoped, **options)


def run_with(
    driver: str,
    url: URL,
    tenancy: Tenancy,
    work: Callable[[Engine], T],
    *,
    allow_unscoped: bool = False,
    **options: Any,
) -> T:
    """Run *work* with a guarded engine of a driver; for the async ones in a greenlet, as SQLAlchemy does."""
    url = url.set(drivername=f"postgresql+{driver.removesuffix('_async')}")
    if driver in SYNC_DRIVERS:
        engine = tenancy.guard(sa.create_engine(url, **options), allow_unscoped=allow_unscoped)
        try:
            return work(engine)
        finally:
            engine.dispose()

    async def run() -> T:
        async_engine: AsyncEngine = tenancy.guard(create_async_engine(url, **options), allow_unscoped=allow_unscoped)
        try:
            return await greenlet_spawn(work, async_engine.sync_engine)
        finally:
            await async_engine.dispose()

    return asyncio.run(run())


@contextmanager
def place(url: URL) -> Iterator[Place]:
    """Make the table in an empty database, whose owner the URL is of."""
    owner = sa.create_engine(url)
    with owner.begin() as connection:
        Base.metadata.create_all(connection)
        connection.execute(sa.insert(Note), ROWS)
        for statement in (
            "ALTER TABLE notes ENABLE ROW LEVEL SECURITY",
            # The id of a sealed tenant stands before the first dot; nothing checks the seal here.
            f"CREATE POLICY own ON notes TO {ROLE} USING (tenant_id = nullif(split_part({SETTING}, '.', 1), '')::int)",
            f"CREATE POLICY every ON notes TO {UNSCOPED_ROLE} USING (true)",
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO {ROLE}, {UNSCOPED_ROLE}",
            f"GRANT SELECT ON countries TO {ROLE}, {UNSCOPED_ROLE}",
        ):
            connection.execute(sa.text(statement))
    try:
        yield Place(owner, url)
    finally:
        owner.dispose()


def raw(connection: Any, sql: str) -> Any:
    """Run SQL on a cursor of the driver's, past the statement wall, and return the first row if there is one."""
    cursor = connection.connection.cursor() if isinstance(connection, sa.Connection) else connection.cursor()
    try:
        cursor.execute(sql)
        row: Any = None if cursor.description is None else cursor.fetchone()
        return None if row is None else tuple(row)
    finally:
        cursor.close()


def seen(session: Session) -> tuple[int, ...]:
    """Return what the database alone lets the transaction see: count, smallest and greatest tenant."""
    row: tuple[int, ...] = raw(session.connection(), str(EVERY_ROW))
    return row
