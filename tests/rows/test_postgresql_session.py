"""The tenant of each transaction is told to PostgreSQL, by every driver, and to nobody after it."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from partywall import tenant
from tests.rows.by_hand import DRIVERS, Note, Place, seen

pytestmark = pytest.mark.parametrize("driver", DRIVERS)


def test_the_database_shows_a_transaction_its_tenant_alone(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id), Session(engine) as session:
                found.append(session.scalars(sa.select(Note.id).order_by(Note.id)).all())
                found.append(seen(session))
        return found

    own = {number: [[number * 10 + each for each in (1, 2, 3)], (3, number, number)] for number in (1, 2)}
    assert place.run(driver, work) == [*own[1], *own[2], *own[1]]
