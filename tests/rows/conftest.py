"""A server for the row wall, with its roles."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import sqlalchemy as sa

from tests.conftest import NewDatabase
from tests.rows import by_hand


@pytest.fixture(scope="session")
def place(new_postgresql: NewDatabase) -> Iterator[by_hand.Place]:
    """Return a database with a table whose policy is made by hand; nobody leaves a row in it."""
    url = new_postgresql()
    superuser = sa.create_engine(url.set(username="postgres"), isolation_level="AUTOCOMMIT")
    with superuser.connect() as connection:
        for role in (by_hand.ROLE, by_hand.UNSCOPED_ROLE):
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
    superuser.dispose()
    with by_hand.place(url) as made:
        yield made
