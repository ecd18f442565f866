"""What the statement wall scopes gives the same under the row wall of SQLite: reads, loads, writes, text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from sqlalchemy.engine import URL

from partywall.rows.declaration import RowWall
from tests.loads import LOADS
from tests.reads import READS
from tests.test_texts import DOORS, compare, run_of
from tests.test_writes import FAILING, units_of_work
from tests.texts import AWKWARD_SQLITE, HOSTILE, SPELLINGS
from tests.world import TWIN_TENANTS, World
from tests.world import world as open_world
from tests.write_world import WriteWorld, check_others, write_world
from tests.writes import WRITES

__all__ = ["units_of_work"]  # what fills WRITES

of_each_tenant = pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
by_each_door = pytest.mark.parametrize("door", DOORS)


def of_sqlite(cases: Mapping[str, object]) -> list[str]:
    return [name for name, case in cases.items() if getattr(case, "only", None) in (None, "sqlite")]


@pytest.fixture(scope="module")
def world(new_sqlite: Callable[..., URL]) -> Iterator[World]:
    """Return the databases that are only read, the one of many tenants with its row wall."""
    with open_world("sqlite", new_sqlite, RowWall()) as opened:
        yield opened


@pytest.fixture(scope="module")
def written(new_sqlite: Callable[..., URL]) -> Iterator[WriteWorld]:
    """Return the databases that are written, the one of many tenants with its row wall."""
    with write_world("sqlite", new_sqlite, RowWall()) as opened:
        yield opened


@of_each_tenant
@pytest.mark.parametrize("name", of_sqlite(READS))
def test_a_read_gives_what_it_gives_the_tenant_alone(world: World, name: str, tenant_id: int) -> None:
    read = READS[name]

    outcome = world.twins[tenant_id].compare(lambda session: session.execute(read.build()).all(), ordered=read.ordered)

    assert outcome.error is None


@of_each_tenant
@pytest.mark.parametrize("name", LOADS)
def test_a_load_gives_what_it_gives_the_tenant_alone(world: World, name: str, tenant_id: int) -> None:
    assert world.twins[tenant_id].compare(LOADS[name]).error is None


@of_each_tenant
@pytest.mark.parametrize("name", of_sqlite(WRITES))
def test_a_write_does_what_it_does_for_the_tenant_alone(written: WriteWorld, name: str, tenant_id: int) -> None:
    write = WRITES[name]

    outcome = written.twins[tenant_id].compare(write.run, generated=write.generated)

    assert outcome.error is FAILING.get(name)


@of_each_tenant
@by_each_door
@pytest.mark.parametrize("name", AWKWARD_SQLITE)
def test_awkward_text_gives_what_it_gives_the_tenant_alone(
    written: WriteWorld, name: str, door: str, tenant_id: int
) -> None:
    each = AWKWARD_SQLITE[name]

    compare(written, tenant_id, run_of(written, each, door), ordered=each.ordered)


@of_each_tenant
@by_each_door
@pytest.mark.parametrize("name", SPELLINGS)
def test_an_odd_spelling_gives_what_it_gives_the_tenant_alone(
    written: WriteWorld, name: str, door: str, tenant_id: int
) -> None:
    compare(written, tenant_id, run_of(written, SPELLINGS[name], door), ordered=SPELLINGS[name].ordered)


@of_each_tenant
@by_each_door
@pytest.mark.parametrize("name", of_sqlite(HOSTILE))
def test_hostile_text_gives_what_it_gives_the_tenant_alone(
    written: WriteWorld, name: str, door: str, tenant_id: int
) -> None:
    each = HOSTILE[name]

    if each.may_fail:
        check_others(written.twins[tenant_id].attempt(run_of(written, each, door)), tenant_id)
    else:
        compare(written, tenant_id, run_of(written, each, door), ordered=each.ordered)
