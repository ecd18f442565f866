"""
What the statement wall scopes, with that wall taken down: PostgreSQL's row wall holds it alone. And with both walls.

The statements are those of the statement wall's own tests, also the ones it refuses. Alone, they are sent by a plain
engine as the application's role, in transactions that begin with the tenant's setting.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, event, inspect
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import DBAPIError, ProgrammingError

from partywall import PartywallError
from partywall.rows.declaration import RowWall
from partywall.testing import DifferenceError, Twins
from tests import write_models
from tests.conftest import NewDatabase
from tests.loads import LOADS
from tests.reads import READS
from tests.test_texts import DOORS, run_of
from tests.test_writes import FAILING, units_of_work
from tests.texts import AWKWARD, HOSTILE, REFUSED, SPELLINGS, Refused, Text
from tests.world import TWIN_TENANTS
from tests.write_world import (
    PICTURES,
    Attempt,
    LonelySession,
    Run,
    WriteTwins,
    WriteWorld,
    attempt,
    check_others,
    filled,
    picture_of,
    without_warnings_about_the_tenant,
)
from tests.writes import WRITES

__all__ = ["units_of_work"]  # what fills WRITES

ALL = bool(os.environ.get("PARTYWALL_ALL"))
SAMPLE = 4  # of so many cases one, where not all are run

# On shared rows a policy refuses with an error what the twin's trigger leaves undone.
REFUSED_ALONE = frozenset({"upsert_of_a_row_that_all_tenants_share_on_postgresql"})
# What these show is where rows lie and how they are found: others' are not there, but it is not the same either.
PHYSICAL = frozenset({"odd explain", "odd system_column", "odd unicode_system_column"})
MISPRINTED = frozenset({"odd null_comparison"})  # it is no SQL any more; the proof would refuse it
OF_OTHERS = ("of tenant 2", "of tenant 3", "tenant2", "tenant3")

of_each_tenant = pytest.mark.parametrize("tenant_id", TWIN_TENANTS)


@dataclass(frozen=True)
class Walled:
    """
    The walled database of many tenants, and the twins of some.

    Attributes:
        alone: For each tenant, a plain engine of the application's role that tells the tenant; and its twin.
        both: For each tenant, the guarded engine of the same role; and its twin.
        open: For each tenant, a plain engine of the owner, whom no wall holds; and its twin.
        superuser: Sees everything.
    """

    alone: dict[int, WriteTwins]
    both: dict[int, WriteTwins]
    open: dict[int, WriteTwins]
    superuser: Engine
    world: WriteWorld


@pytest.fixture(scope="module")
def walled(new_postgresql: NewDatabase) -> Iterator[Walled]:
    url = new_postgresql()
    plain = filled(url)
    wall = RowWall(role=f"app_{url.database}", unscoped_role=f"all_{url.database}", self_test=False)
    tenancy = write_models.tenancy(rows=wall, strict=False)
    superuser = create_engine(url.set(username="postgres"))
    with superuser.begin() as connection:
        for statement in tenancy.row_wall_ddl(create_roles=True):
            connection.execute(statement)
    application = url.set(username=wall.role)
    _fill_tenants(superuser)
    both = tenancy.guard(_engine(application))
    tenancy.verify(both)  # before there are pictures, which show all
    with superuser.begin() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {PICTURES}; GRANT USAGE ON SCHEMA {PICTURES} TO {wall.role}")
        for metadata in tenancy.metadata:
            for table in metadata.tables:
                connection.exec_driver_sql(f"CREATE VIEW {PICTURES}.{table} AS SELECT * FROM public.{table}")
                connection.exec_driver_sql(f"GRANT SELECT ON {PICTURES}.{table} TO {wall.role}")
    twins = {tenant_id: filled(new_postgresql(), tenant_id) for tenant_id in TWIN_TENANTS}
    alone = {tenant_id: _telling(_engine(application), tenant_id) for tenant_id in TWIN_TENANTS}

    def pairs(engine_of: Callable[[int], Engine]) -> dict[int, WriteTwins]:
        return {each: WriteTwins(engine_of(each), twin, each) for each, twin in twins.items()}

    yield Walled(
        pairs(alone.__getitem__),
        pairs(lambda _: both),
        pairs(lambda _: superuser),
        superuser,
        WriteWorld("postgresql", url, both, plain, {}),
    )
    for engine in (plain, superuser, both, *alone.values(), *twins.values()):
        engine.dispose()


def _fill_tenants(superuser: Engine) -> None:
    """Let the database fill the tenant column as in a twin, so that a write fails only where a wall stops it."""
    inspector = inspect(superuser)
    with superuser.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION fill_tenant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.tenant_id IS NULL THEN "
            "NEW.tenant_id := nullif(current_setting('partywall.tenant', true), ''); END IF; RETURN NEW; END $$"
        )
        for table in inspector.get_table_names():
            if "tenant_id" in {column["name"] for column in inspector.get_columns(table)}:
                connection.exec_driver_sql(
                    f"CREATE TRIGGER fill_tenant BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION fill_tenant()"
                )


def _engine(url: URL) -> Engine:
    """Return an engine whose connections' pictures are taken past the wall."""
    return create_engine(
        url,
        execution_options={"pictures": True},
        connect_args={"options": "-c statement_timeout=5s"},
    )


def _telling(engine: Engine, tenant_id: int) -> Engine:
    """Let a plain engine tell the server one tenant, as the application without partywall would."""

    @event.listens_for(engine, "begin")
    def tell(connection: Any) -> None:
        connection.exec_driver_sql(f"SET LOCAL partywall.tenant = '{tenant_id}'")

    return engine


# The cases.


def sample(cases: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield those of PostgreSQL, or some of them."""
    of_here = ((name, case) for name, case in cases.items() if getattr(case, "only", None) in (None, "postgresql"))
    return itertools.islice(of_here, 0, None, 1 if ALL else SAMPLE)


def texts() -> dict[str, Text]:
    return {
        f"{kind} {name}": case
        for kind, cases in {"awkward": AWKWARD["postgresql"], "odd": SPELLINGS, "hostile": HOSTILE}.items()
        for name, case in cases.items()
        if case.only in (None, "postgresql")
    }


def refused_texts() -> dict[str, Refused]:
    return {f"{number} {case.name}": case for number, case in enumerate(REFUSED["postgresql"])}


def differences(cases: Iterable[tuple[str, Any]], compare: Callable[[str, Any], object]) -> dict[str, str]:
    """Return what was different, by case; the rest was the same."""
    found, count = {}, 0
    for name, case in cases:
        count += 1
        try:
            compare(name, case)
        except (DifferenceError, PartywallError) as error:
            found[name] = str(error)
    assert count
    return found


def attempted_alone(twins: WriteTwins, run: Run) -> Attempt:
    """Run something among many with the row wall alone; its application fills new objects, and nothing else."""
    with without_warnings_about_the_tenant():
        return attempt(twins.many, run, LonelySession(info={"tenant_id": twins.tenant_id}))


# Reads.


def reads(twins: WriteTwins) -> dict[str, str]:
    readers = Twins(twins.many, twins.alone, twins.tenant_id)

    def read(_name: str, case: Any) -> None:
        readers.compare(lambda session: session.execute(case.build()).all(), ordered=case.ordered)

    return differences(sample(READS), read)


def loads(twins: WriteTwins) -> dict[str, str]:
    readers = Twins(twins.many, twins.alone, twins.tenant_id)
    return differences(sample(LOADS), lambda _name, case: readers.compare(case))


@of_each_tenant
def test_alone_every_read_gives_what_it_gives_the_tenant_alone(walled: Walled, tenant_id: int) -> None:
    assert reads(walled.alone[tenant_id]) == {}


@of_each_tenant
def test_alone_every_load_gives_what_it_gives_the_tenant_alone(walled: Walled, tenant_id: int) -> None:
    assert loads(walled.alone[tenant_id]) == {}


@of_each_tenant
def test_with_both_walls_every_read_gives_what_it_gives_the_tenant_alone(walled: Walled, tenant_id: int) -> None:
    assert reads(walled.both[tenant_id]) == {}
    assert loads(walled.both[tenant_id]) == {}


# Writes.


@of_each_tenant
def test_alone_every_write_does_what_it_does_for_the_tenant_alone(walled: Walled, tenant_id: int) -> None:
    twins = walled.alone[tenant_id]

    def write(name: str, case: Any) -> None:
        tried = attempted_alone(twins, case.run)
        check_others(tried, tenant_id)
        if name in REFUSED_ALONE:
            assert tried.outcome.error is ProgrammingError
        else:
            twins.check(tried, twins.attempt_alone(case.run), generated=case.generated)

    assert differences(sample(WRITES), write) == {}


@of_each_tenant
def test_with_both_walls_every_write_does_what_it_does_for_the_tenant_alone(walled: Walled, tenant_id: int) -> None:
    def write(name: str, case: Any) -> None:
        outcome = walled.both[tenant_id].compare(case.run, generated=case.generated)
        assert outcome.error is FAILING.get(name), name

    assert differences(sample(WRITES), write) == {}


# Text.


@of_each_tenant
@pytest.mark.parametrize("door", DOORS)
def test_alone_every_text_does_what_it_does_for_the_tenant_alone(walled: Walled, tenant_id: int, door: str) -> None:
    twins = walled.alone[tenant_id]

    def run_text(name: str, case: Text) -> None:
        run = run_of(walled.world, case, door)
        tried = attempted_alone(twins, run)
        check_others(tried, tenant_id)
        if name not in PHYSICAL and not case.may_fail:
            twins.check(tried, twins.attempt_alone(run))

    assert differences(sample(texts()), run_text) == {}


@of_each_tenant
@pytest.mark.parametrize("door", DOORS)
def test_with_both_walls_every_text_does_what_it_does_for_the_tenant_alone_or_is_refused(
    walled: Walled, tenant_id: int, door: str
) -> None:
    twins = walled.both[tenant_id]

    def run_text(name: str, case: Text) -> None:
        run = run_of(walled.world, case, door)
        tried = twins.attempt(run)
        check_others(tried, tenant_id)
        if name in MISPRINTED:
            assert tried.outcome.error is ProgrammingError
        elif tried.refusal is None and not case.may_fail:
            twins.check(tried, twins.attempt_alone(run))

    assert differences(sample(texts()), run_text) == {}


def test_alone_no_text_that_the_statement_wall_refuses_gives_or_touches_what_is_others(walled: Walled) -> None:
    twins = walled.alone[1]
    before = picture_of(walled.superuser)

    def run_text(_name: str, case: Refused) -> None:
        with contextlib.suppress(psycopg.Error, DBAPIError):  # COPY and ROLLBACK leave nothing to take a picture in
            tried = attempted_alone(twins, run_of(walled.world, case, "driver"))
            check_others(tried, 1)
            if any(each in repr(tried.outcome.rows) for each in OF_OTHERS):
                raise DifferenceError(f"it shows what is others': {tried.outcome.rows}")
        if picture_of(walled.superuser) != before:
            raise DifferenceError("something was committed")

    assert differences(refused_texts().items(), run_text) == {}


# The oracle.


def test_the_oracle_notices_an_open_wall(walled: Walled) -> None:
    """Seen by somebody whom the wall does not hold, most statements differ, so that a leak would be noticed."""
    twins = walled.open[2]

    def write(_name: str, case: Any) -> None:
        tried = attempted_alone(twins, case.run)
        check_others(tried, 2)
        twins.check(tried, twins.attempt_alone(case.run), generated=case.generated)

    assert len(reads(twins)) > len(list(sample(READS))) * 0.8
    assert len(loads(twins)) > len(list(sample(LOADS))) * 0.8
    assert len(differences(sample(WRITES), write)) > len(list(sample(WRITES))) * 0.3
