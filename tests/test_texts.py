"""SQL text, in every spelling, gives one tenant among many what it gives it alone, or is refused before it is sent."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session

from partywall import ForeignTenantError, RefusedStatementError, tenant
from partywall._compat import SQLALCHEMY_21
from partywall.testing import DifferenceError
from tests.recorder import Recorder
from tests.texts import AWKWARD, DIALECTS, FRAGMENTS, HOSTILE, REFUSED, SPELLINGS, Fragment, Refused, Text
from tests.write_world import (
    TWIN_TENANTS,
    Attempt,
    Run,
    WriteWorld,
    check_others,
    opened_for_writes,
    rolled_back,
)
from tests.writes import run_statement

__all__ = ["opened_for_writes"]  # a fixture

DOORS = ("text", "driver")

# Awkward statements that may be refused, since nobody can scope them yet. Each must be: an answer ends its entry.
REFUSED_AWKWARD: dict[str, frozenset[str]] = {
    "postgresql": frozenset(
        {
            "join_using_with_an_alias_of_its_own",
            "rows_from_several_functions",
            "table_statement_in_a_set_operation_and_in_in",
            "recursive_cte_with_search_and_cycle",
            "operators_that_are_qualified_or_rare",
            "quoted_identifiers_and_unicode_escapes",
        }
    ),
    "sqlite": frozenset({"strings_as_names", "concatenation"}),  # the latter has a sign: +total
}
# Benign fragments that may be refused, since there is another way to say it. Each must be.
REFUSED_FRAGMENTS = frozenset({"statement_hint_that_is_a_comment", "suffix"})

ENOUGH = {"postgresql": 38, "sqlite": 24}


# Running text by its two doors.


def run_of(world: WriteWorld, each: Text | Refused, door: str) -> Run:
    """Return what executes a text by a door: ``session.execute(text())``, or the driver's own string."""
    as_text = each if isinstance(each, Text) else Text(each.name, each.sql, each.parameters)

    def by_text(session: Session) -> Iterable[Any]:
        return run_statement(session, text(as_text.for_text()), as_text.parameters or None)

    def by_driver(session: Session) -> Iterable[Any]:
        result = session.connection().exec_driver_sql(*as_text.for_driver(world.name))
        return result.all() if result.returns_rows else [(result.rowcount,)]

    return by_text if door == "text" else by_driver


def compare(world: WriteWorld, tenant_id: int, run: Run, *, ordered: bool = False) -> Attempt:
    """
    Run something on both databases, and return what became of it among many.

    Raises:
        DifferenceError: It is not what becomes of it alone, and no refusal; or it touched what is others'.
    """
    twins = world.twins[tenant_id]
    among_many = twins.attempt(run)
    check_others(among_many, tenant_id)
    if among_many.refusal is not None:
        assert among_many.before == among_many.after
        return among_many
    alone = twins.attempt_alone(run)
    twins.check(among_many, alone)
    if ordered and among_many.outcome != alone.outcome:
        raise DifferenceError(f"among many: {among_many.outcome}\nalone:      {alone.outcome}")
    return among_many


def skip_unless_it_is_of(world: WriteWorld, only: str | None) -> None:
    if only not in (None, world.name):
        pytest.skip(f"{only} only")  # another database's syntax, tested there


@contextlib.contextmanager
def connection_of(world: WriteWorld) -> Iterator[Connection]:
    """Open tenant 1's connection; whatever gets through to the database is rolled back."""
    with tenant(1), rolled_back(world.many) as connection:
        yield connection


# Awkward text.


def of_both(cases: dict[str, dict[str, Text]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("dialect", "name"), [(dialect, name) for dialect in DIALECTS for name in cases[dialect]]
    )


@of_both(AWKWARD)
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
def test_awkward_text_gives_what_it_gives_the_tenant_alone(
    world: WriteWorld, dialect: str, name: str, door: str, tenant_id: int
) -> None:
    skip_unless_it_is_of(world, dialect)
    each = AWKWARD[dialect][name]

    tried = compare(world, tenant_id, run_of(world, each, door), ordered=each.ordered)

    if name in REFUSED_AWKWARD[dialect]:
        assert isinstance(tried.refusal, RefusedStatementError)
        assert tried.refusal.reason
        assert str(tried.refusal)
    else:
        assert tried.refusal is None
        assert tried.outcome.error is None


@pytest.mark.parametrize("door", DOORS)
def test_most_awkward_text_is_answered(world: WriteWorld, door: str) -> None:
    answered, refused = [], {}
    for name, each in AWKWARD[world.name].items():
        tried = compare(world, 1, run_of(world, each, door), ordered=each.ordered)
        if tried.refusal is None:
            assert tried.outcome.error is None
            answered.append(name)
        else:
            assert isinstance(tried.refusal, RefusedStatementError)
            refused[name] = tried.refusal.reason

    assert all(refused.values())
    assert len(answered) >= ENOUGH[world.name], refused


def test_the_oracle_notices_awkward_text_that_is_not_scoped(world: WriteWorld) -> None:
    """Without the wall, every one differs: the rows are such that a leak has something to leak."""
    for name, each in AWKWARD[world.name].items():
        run = run_of(world, each, "text")
        alone = world.twins[2].attempt_alone(run)
        assert alone.outcome.error is None, name
        with pytest.raises(DifferenceError):
            world.twins[2].check(world.attempt_plain(run, 2), alone)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_awkward_text_is_as_much_as_was_measured(dialect: str) -> None:
    assert len(AWKWARD[dialect]) == {"postgresql": 48, "sqlite": 30}[dialect]
    assert AWKWARD[dialect].keys() >= REFUSED_AWKWARD[dialect]


# Spellings and hostile text: the same as alone, or refused.


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("door", DOORS)
def test_an_odd_spelling_gives_what_it_gives_the_tenant_alone_or_is_refused(
    world: WriteWorld, name: str, door: str
) -> None:
    for tenant_id in TWIN_TENANTS:
        compare(world, tenant_id, run_of(world, SPELLINGS[name], door), ordered=SPELLINGS[name].ordered)


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("door", DOORS)
def test_hostile_text_gives_what_it_gives_the_tenant_alone_or_is_refused(
    world: WriteWorld, name: str, door: str
) -> None:
    each = HOSTILE[name]
    skip_unless_it_is_of(world, each.only)
    for tenant_id in TWIN_TENANTS:
        run = run_of(world, each, door)
        if not each.may_fail:
            compare(world, tenant_id, run, ordered=each.ordered)
            continue
        tried = world.twins[tenant_id].attempt(run)
        check_others(tried, tenant_id)
        if tenant_id == 1 and not tried.outcome.error:
            assert tried.before == tried.after
            assert tried.outcome.rows in ((), ((0,),), ((-1,),))  # PostgreSQL does not count what it returned


# Refusals.


@pytest.mark.parametrize(
    ("dialect", "number", "name"),
    [(dialect, number, each.name) for dialect in DIALECTS for number, each in enumerate(REFUSED[dialect])],
)
@pytest.mark.parametrize("door", DOORS)
def test_text_of_that_kind_is_refused_before_it_is_sent(
    world: WriteWorld, dialect: str, number: int, name: str, door: str
) -> None:
    skip_unless_it_is_of(world, dialect)
    each = REFUSED[dialect][number]
    expected = (RefusedStatementError, ForeignTenantError) if each.foreign else RefusedStatementError

    with connection_of(world) as connection, Recorder(world.many) as recorder:
        try:
            with pytest.raises(expected) as raised:
                run_of(world, each, door)(_session_on(connection))
        finally:
            sent = list(recorder.statements)

    assert sent == []
    assert isinstance(raised.value, RefusedStatementError | ForeignTenantError)
    assert raised.value.reason.strip()
    assert each.reason is None or each.reason.lower() in raised.value.reason.lower()


def _session_on(connection: Connection) -> Any:
    """Return what `run_of` needs of a Session: a Session would send a savepoint."""

    class Direct:
        def execute(self, statement: Any, parameters: Any) -> Any:
            return connection.execute(statement, parameters)

        def connection(self) -> Connection:
            return connection

    return Direct()


def test_names_of_refused_text_are_claims_once(world: WriteWorld) -> None:
    names = [each.name for each in REFUSED[world.name]]

    assert [name for name in names if names.count(name) > 1] == []


# Fragments in constructs.


def run_of_fragment(fragment: Fragment) -> Run:
    def run(session: Session) -> Iterable[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # products of sources, and whatever text cannot be cached
            return run_statement(session, fragment.build(), fragment.parameters)

    return run


def fragments(*, benign: bool) -> pytest.MarkDecorator:
    names = [name for name, each in FRAGMENTS.items() if each.benign is benign]
    # Each text in each place takes its time. A share of them runs, in which all texts and all places are.
    step = 1 if benign or os.environ.get("PARTYWALL_ALL") else 3 if SQLALCHEMY_21 else 5
    return pytest.mark.parametrize("name", names[::step])


@fragments(benign=True)
@pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
def test_a_fragment_gives_what_it_gives_the_tenant_alone(world: WriteWorld, name: str, tenant_id: int) -> None:
    fragment = FRAGMENTS[name]
    skip_unless_it_is_of(world, fragment.only)

    tried = compare(world, tenant_id, run_of_fragment(fragment), ordered=fragment.ordered)

    if name in REFUSED_FRAGMENTS:
        assert isinstance(tried.refusal, RefusedStatementError)
        assert tried.refusal.reason
    else:
        assert tried.refusal is None
        assert tried.outcome.error is None


@fragments(benign=False)
def test_a_hostile_fragment_gives_what_it_gives_the_tenant_alone_or_is_refused(world: WriteWorld, name: str) -> None:
    fragment = FRAGMENTS[name]
    skip_unless_it_is_of(world, fragment.only)

    run = run_of_fragment(fragment)

    with connection_of(world) as connection, Recorder(world.many) as recorder:
        try:
            run(_session_on(connection))
        except RefusedStatementError as refusal:
            assert refusal.reason.strip()
            assert recorder.statements == []
            return
        except Exception:  # noqa: BLE001, S110  # the twin says whether that is right
            pass
    compare(world, 1, run, ordered=fragment.ordered)
