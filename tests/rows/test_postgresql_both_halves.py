"""The wall that our DDL puts up, and the engine that tells it the tenant, for every driver."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.orm import Session

from partywall import Tenancy, tenant
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl
from tests.conftest import NewDatabase
from tests.rows.by_hand import DRIVERS, SETTING, run_with

every_driver = pytest.mark.parametrize("driver", DRIVERS)

KEY = b"a key of the wall's, of 32 bytes"


def tables(tenant_type: Any) -> sa.MetaData:
    metadata = sa.MetaData()
    sa.Table(
        "orders",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("tenant_id", tenant_type, nullable=False),
    )
    return metadata


IDS: dict[str, tuple[Any, Any, Any]] = {
    "int": (sa.BigInteger(), 1, -2),
    "uuid": (sa.Uuid(), uuid.UUID(int=1), uuid.UUID(int=2)),
    "str": (sa.String(20), "o'neil; --", "Ünïcode"),
    "bytes": (sa.LargeBinary(), b"\x00\xff'", b"\x01"),
}


class Put:
    """A database with one wall: its tenancy, and the URL for its role."""

    def __init__(self, url: URL, kind: str, key: bytes | None) -> None:
        name = str(url.database)
        tenant_type, self.first, self.second = IDS[kind]
        self.metadata = tables(tenant_type)
        self.wall = RowWall(role=f"app_{name}", unscoped_role=f"all_{name}", key=key)
        self.tenancy = Tenancy(self.metadata, rows=self.wall)
        self.url = url.set(username=f"app_{name}")
        superuser = sa.create_engine(url.set(username="postgres"))
        with superuser.begin() as connection:
            self.metadata.create_all(connection)
            rows = [{"tenant_id": each} for each in (self.first, self.second, self.second)]
            connection.execute(sa.insert(self.metadata.tables["orders"]), rows)
            for statement in row_wall_ddl(self.tenancy.describe(), self.wall, create_roles=True):
                connection.execute(statement)
        superuser.dispose()


@pytest.fixture(scope="module", params=[None, KEY], ids=["setting", "sealed"])
def put(request: pytest.FixtureRequest, new_postgresql: NewDatabase) -> Callable[[str], Put]:
    made: dict[str, Put] = {}

    def get(kind: str) -> Put:
        if kind not in made:
            made[kind] = Put(new_postgresql(), kind, request.param)
        return made[kind]

    return get


def at_the_database(session: Session) -> list[object]:
    """
    Return the tenants whose rows the database lets the transaction see, past the statement wall.

    psycopg2 tells the tenant with the first statement, so there has to have been one.
    """
    pooled: Any = session.connection()._dbapi_connection
    cursor = pooled.cursor()
    try:
        cursor.execute("SELECT tenant_id FROM orders")
        return [bytes(row[0]) if isinstance(row[0], memoryview) else row[0] for row in cursor.fetchall()]
    finally:
        cursor.close()


@every_driver
@pytest.mark.parametrize("kind", IDS)
def test_the_two_halves_understand_each_other(put: Callable[[str], Put], driver: str, kind: str) -> None:
    here = put(kind)

    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        for tenant_id in (here.first, here.second):
            with tenant(tenant_id), Session(engine) as session:
                count = session.scalar(sa.select(sa.func.count()).select_from(here.metadata.tables["orders"]))
                found += [count, at_the_database(session)]
                session.execute(sa.insert(here.metadata.tables["orders"]))
                found.append(at_the_database(session))
                session.rollback()
        with Session(engine) as session:
            found.append(at_the_database(session))
        return found

    assert run_with(driver, here.url, here.tenancy, work) == [
        *(1, [here.first], [here.first] * 2),
        *(2, [here.second] * 2, [here.second] * 3),
        [],
    ]


@every_driver
def test_a_token_of_another_key_or_another_process_shows_nothing(new_postgresql: NewDatabase, driver: str) -> None:
    here = Put(new_postgresql(), "int", KEY)

    def token(engine: Engine) -> str:
        with tenant(1), Session(engine) as session:
            pooled: Any = session.connection()._dbapi_connection
            cursor = pooled.cursor()
            session.execute(sa.select(sa.func.count()).select_from(here.metadata.tables["orders"]))
            cursor.execute(f"SELECT {SETTING}")
            return str(cursor.fetchone()[0])

    def replay(engine: Engine) -> object:
        pooled = engine.raw_connection()
        cursor = pooled.cursor()
        cursor.execute("SELECT 1")  # begins
        cursor.execute(f"SET LOCAL partywall.tenant = '{stolen}'")
        cursor.execute("SELECT count(*) FROM orders")
        row: Any = cursor.fetchone()
        pooled.close()
        return row[0]

    stolen = run_with(driver, here.url, here.tenancy, token)
    wrong = Tenancy(here.metadata, rows=RowWall(role=here.wall.role, key=KEY[::-1], self_test=False))

    def sees(engine: Engine) -> object:
        with tenant(1), Session(engine) as session:
            session.execute(sa.select(sa.func.count()).select_from(here.metadata.tables["orders"]))
            return at_the_database(session)

    assert run_with(driver, here.url, here.tenancy, sees) == [1]
    assert run_with(driver, here.url, wrong, sees) == []
    assert run_with(driver, here.url, here.tenancy, replay) == 0
