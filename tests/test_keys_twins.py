"""
What works on the keys of the models works on those of the database: reads, loads, writes, units of work and text.

A share of the cases runs by default, and all with PARTYWALL_ALL=1.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from partywall._compat import SQLALCHEMY_21
from tests import units_of_work
from tests.conftest import NewDatabase
from tests.key_twins import SETTINGS, TWIN_TENANTS, KeyWorld, key_world
from tests.key_world import keys_in
from tests.loads import LOADS
from tests.models import Customer, Invoice
from tests.reads import READS
from tests.test_texts import REFUSED_AWKWARD, compare, run_of
from tests.texts import AWKWARD
from tests.writes import WRITES

__all__ = ["units_of_work"]  # it fills WRITES

ALL = bool(os.environ.get("PARTYWALL_ALL"))


def share(names: Any, step: int) -> list[str]:
    """Return each *step*-th name, and with SQLAlchemy 2.0 half of these."""
    return list(names)[:: 1 if ALL else step if SQLALCHEMY_21 else 2 * step]


AWKWARD_NAMES = sorted({*share({**AWKWARD["sqlite"], **AWKWARD["postgresql"]}, 3), "group_by_primary_key"})


@pytest.fixture(scope="module", params=SETTINGS)
def world(request: pytest.FixtureRequest, new_database: NewDatabase) -> Iterator[KeyWorld]:
    setting = SETTINGS[request.param]
    if setting.ids_are_equal and new_database().get_backend_name() == "sqlite":
        pytest.skip("ids that SQLite generates are never equal")
    with key_world(setting, new_database) as opened:
        yield opened


@pytest.mark.parametrize("name", share(READS, 4))
def test_a_read_gives_what_it_gives_the_tenant_alone(world: KeyWorld, name: str) -> None:
    read = READS[name]
    if read.only not in (None, world.name):
        pytest.skip(f"{read.only} only")
    for tenant_id in TWIN_TENANTS:
        outcome = world.reads[tenant_id].compare(
            lambda session: session.execute(read.build()).all(), ordered=read.ordered
        )
        assert outcome.error is None


@pytest.mark.parametrize("name", share(LOADS, 3))
def test_a_load_gives_what_it_gives_the_tenant_alone(world: KeyWorld, name: str) -> None:
    for tenant_id in TWIN_TENANTS:
        assert world.reads[tenant_id].compare(LOADS[name]).error is None


@pytest.mark.parametrize("name", share(WRITES, 2))
def test_a_write_does_what_it_does_for_the_tenant_alone(world: KeyWorld, name: str) -> None:
    write = WRITES[name]
    if write.only not in (None, world.name):
        pytest.skip(f"{write.only} only")
    for tenant_id in TWIN_TENANTS if ALL else TWIN_TENANTS[:1]:
        world.writes[tenant_id].compare(write.run, generated=write.generated)


def test_the_keys_are_those_of_the_database_and_the_rows_are_many(world: KeyWorld) -> None:
    found = keys_in(world.plain)

    assert {key[0] for key in found["invoices"].foreign} == {("tenant_id",), ("tenant_id", "customer_id")}
    for table in ("customers", "invoices", "lines", "customer_tags", "memberships", "persons", "tasks", "nodes"):
        with world.plain.connect() as connection:
            counted = connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE tenant_id = 1").scalar()
            assert counted
            assert counted * 3 == connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()


def test_most_writes_are_not_refused_by_the_keys(world: KeyWorld) -> None:
    refused = {
        name
        for name, write in WRITES.items()
        if write.only in (None, world.name) and world.writes[1].attempt(write.run).outcome.error is IntegrityError
    }

    assert len(refused) < len(WRITES) // 8, sorted(refused)


@pytest.mark.parametrize("door", ["text", "driver"])
@pytest.mark.parametrize("name", AWKWARD_NAMES)
def test_text_gives_what_it_gives_the_tenant_alone(world: KeyWorld, name: str, door: str) -> None:
    each = AWKWARD[world.name].get(name)
    if each is None:
        pytest.skip("of another database")
    of_writes: Any = _WithTwins(world)
    if name not in REFUSED_AWKWARD[world.name]:
        assert compare(of_writes, 1, run_of(of_writes, each, door), ordered=each.ordered).refusal is None


OTHER = aliased(Customer, name="other")
GROUPED: dict[str, Any] = {
    "core": select(Customer.__table__, func.count()).group_by(Customer.__table__.c.id),
    "orm": select(Customer.id, Customer.name, func.count(Invoice.id))
    .outerjoin(Customer.invoices)
    .group_by(Customer.id),
    "alias": select(OTHER.name, func.count()).group_by(OTHER.id),
    "with the tenant": select(Customer.name, func.count()).group_by(Customer.tenant_id, Customer.id),
    "text": text("SELECT id, name, count(*) FROM customers GROUP BY id"),
    "text with an alias": text(
        'SELECT "C".name FROM customers "C" JOIN invoices i ON i.customer_id = "C".id GROUP BY "C".id'
    ),
    "text with the tenant": text("SELECT c.id, c.name, count(*) FROM customers c GROUP BY c.tenant_id, c.id"),
}


@pytest.mark.parametrize("name", GROUPED)
def test_a_primary_key_that_is_grouped_by_stands_for_its_table(world: KeyWorld, name: str) -> None:
    outcome = world.reads[1].compare(lambda session: session.execute(GROUPED[name]).all())

    assert outcome.error is None
    assert outcome.rows


class _WithTwins:
    """What tests/test_texts.py asks of a world."""

    def __init__(self, world: KeyWorld) -> None:
        self.name, self.twins = world.name, world.writes
