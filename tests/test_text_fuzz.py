"""Any SELECT, printed as SQL text, gives one tenant among many what the construct gives, and what it gives it alone."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, reject, settings
from sqlalchemy import text
from sqlalchemy.dialects.postgresql.base import PGDialect
from sqlalchemy.dialects.sqlite.base import SQLiteDialect
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from partywall import RefusedStatementError
from partywall.testing import DifferenceError, Twins
from tests.selects import selects
from tests.world import TWIN_TENANTS, World

EXAMPLES = int(os.environ.get("PARTYWALL_EXAMPLES", "60"))

relaxed = settings(
    max_examples=EXAMPLES,
    deadline=None,  # a server answers when it answers
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

_plain_postgresql: Any = PGDialect
PLAIN: dict[str, Any] = {
    "sqlite": SQLiteDialect(),
    "postgresql": _plain_postgresql(paramstyle="named"),  # no per cent sign is doubled
}

Door = Callable[[Session, Any], Any]


def printed(statement: Any, dialect: str) -> str:
    """Return a statement as SQL text with its values in it, as no wall has seen it."""
    return str(statement.compile(dialect=PLAIN[dialect], compile_kwargs={"literal_binds": True}))


def as_construct(session: Session, statement: Any) -> Any:
    return session.execute(statement)


def as_text(session: Session, statement: Any) -> Any:
    sql = printed(statement, session.get_bind().dialect.name)
    return session.execute(text(re.sub(r":(?=\w)", r"\\:", sql)))


def as_string(session: Session, statement: Any) -> Any:
    dialect = session.get_bind().dialect.name
    sql = printed(statement, dialect)
    return session.connection().exec_driver_sql(sql.replace("%", "%%") if dialect == "postgresql" else sql)


def rows(session: Session, statement: Any, door: Door) -> list[Any]:
    try:
        return sorted(door(session, statement).all(), key=repr)
    except OperationalError as error:
        # SQLite 3.40 loses its way in some FULL JOINs of subqueries. Filtered by hand, the statement fails as well.
        if "ON clause references tables to its right" in str(error):
            reject()
        raise


@relaxed
@given(statement=selects())
@pytest.mark.parametrize("door", [as_text, as_string])
def test_any_select_as_text_gives_what_it_gives_the_tenant_alone(world: World, door: Door, statement: Any) -> None:
    for tenant_id in TWIN_TENANTS:
        by_text = world.twins[tenant_id].compare(lambda session: rows(session, statement, door))
        by_construct = world.twins[tenant_id].compare(lambda session: rows(session, statement, as_construct))
        assert by_text == by_construct


def test_nothing_of_the_strategy_is_refused_as_text(world: World) -> None:
    """What the strategy makes is plain SQL: a refusal is a loss, though no leak."""
    reasons: list[str] = []

    @settings(relaxed, max_examples=max(EXAMPLES, 60), database=None, phases=[Phase.generate])
    @given(statement=selects())
    def by_text(statement: Any) -> None:
        try:
            world.twins[1].compare(lambda session: rows(session, statement, as_text))
        except RefusedStatementError as refusal:
            reasons.append(refusal.reason)

    by_text()

    assert reasons == []


def test_the_strategy_makes_texts_that_would_leak(world: World) -> None:
    """Run without the wall, many of the texts differ from the twin."""
    leaks: list[bool] = []

    @settings(relaxed, max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    @given(statement=selects())
    def without_the_wall(statement: Any) -> None:
        try:
            Twins(world.plain, world.twins[1].alone, 1).compare(lambda session: rows(session, statement, as_text))
        except DifferenceError:
            leaks.append(True)
        else:
            leaks.append(False)

    without_the_wall()

    assert sum(leaks) > len(leaks) / 10
