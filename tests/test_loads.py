"""Every way the ORM loads gives one tenant among many what it gives it alone."""

from __future__ import annotations

import pytest
from sqlalchemy.orm import Session

from partywall import unscoped
from tests.loads import LOADS
from tests.world import TWIN_TENANTS, World


@pytest.mark.parametrize("name", LOADS)
@pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
def test_a_load_gives_what_it_gives_the_tenant_alone(world: World, name: str, tenant_id: int) -> None:
    outcome = world.twins[tenant_id].compare(LOADS[name])

    assert outcome.error is None


@pytest.mark.parametrize("name", LOADS)
def test_a_load_gives_each_tenant_its_own_rows_in_turn(world: World, name: str) -> None:
    first, second = (world.twins[tenant_id] for tenant_id in TWIN_TENANTS)
    first.compare(LOADS[name])
    second.compare(LOADS[name])
    first.compare(LOADS[name])

    with unscoped(reason="compare with an unguarded engine"), Session(world.many) as session:
        everything = list(LOADS[name](session))
    with Session(world.plain) as session:
        assert repr(everything) == repr(list(LOADS[name](session)))

    first.compare(LOADS[name])
