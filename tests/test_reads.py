"""Every kind of SELECT gives one tenant among many what it gives it alone."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy.orm import Session

from partywall import tenant, unscoped
from tests.reads import READS, Read
from tests.world import TWIN_TENANTS, World


def reads_of(world: World, name: str) -> Read:
    read = READS[name]
    if read.only not in (None, world.name):
        pytest.skip(f"{read.only} only")  # another database's syntax, tested there
    return read


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
def test_a_read_gives_what_it_gives_the_tenant_alone(world: World, name: str, tenant_id: int) -> None:
    read = reads_of(world, name)

    outcome = world.twins[tenant_id].compare(lambda session: session.execute(read.build()).all(), ordered=read.ordered)

    assert outcome.error is None


@pytest.mark.parametrize("name", READS)
def test_one_compiled_statement_serves_all_tenants(world: World, name: str) -> None:
    world.many.clear_compiled_cache()  # a full one throws entries out while we count
    read = reads_of(world, name)
    statement = read.build()  # the same object each time: nothing of the first tenant may stay in it

    def run(session: Session) -> Any:
        return session.execute(statement).all()

    first, second = (world.twins[tenant_id] for tenant_id in TWIN_TENANTS)
    first.compare(run, ordered=read.ordered)
    entries = len(world.many._compiled_cache or ())
    second.compare(run, ordered=read.ordered)
    first.compare(run, ordered=read.ordered)
    assert len(world.many._compiled_cache or ()) == entries

    with unscoped(reason="compare with an unguarded engine"), Session(world.many) as session:
        everything = sorted(session.execute(statement).all(), key=repr)
    with Session(world.plain) as session:
        assert everything == sorted(session.execute(statement).all(), key=repr)

    first.compare(run, ordered=read.ordered)


def test_the_oracle_notices_a_read_that_is_not_scoped(world: World) -> None:
    """Without the wall, most reads differ: the rows are such that a leak has something to leak."""
    unnoticed = set()
    for name, read in READS.items():
        if read.only not in (None, world.name):
            continue
        with Session(world.plain) as session, Session(world.twins[2].alone) as alone:
            leaked, right = (sorted(each.execute(read.build()).all(), key=repr) for each in (session, alone))
        if leaked == right:
            unnoticed.add(name)

    without_tenants = {
        "no_source_at_all",
        "shared_table",
        "shared_writable_table",
        "where_false",
        "where_in_empty_list",
    }
    few_values = {"distinct_rows", "scalar_subquery_in_case", "exists_select_from", "where_not_in_subquery_with_nulls"}
    few_values.add("ordered_set_aggregate")
    assert unnoticed <= without_tenants | few_values


def test_tenant_parameter_cannot_be_supplied(world: World) -> None:
    """The first hostile test; tests/test_parameter.py has the others."""
    with tenant(1), Session(world.many) as session:
        statement = READS["table_alone"].build()
        expected = session.execute(statement).all()
        assert session.execute(statement, {"partywall_tenant": 2}).all() == expected
