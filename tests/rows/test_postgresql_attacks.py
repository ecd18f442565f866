"""Every attack of the red team's list on PostgreSQL: which wall holds alone, and that all of them together hold."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import pytest
import sqlalchemy as sa

from tests.conftest import NewDatabase
from tests.rows.postgresql_attacks import ATTACKS, ELSEWHERE
from tests.rows.red_team import CHANGED, WALLS, Attack, Hand, Pair, Walls, pairs

every_attack = pytest.mark.parametrize("attack", [pytest.param(each, id=each.name) for each in ATTACKS])
both_strengths = pytest.mark.parametrize("rows", ["setting", "sealed"])

EVERYTHING = bool(os.environ.get("PARTYWALL_ALL"))
PRIMARY_KEY = "upsert on another's primary key, which has no tenant in it"


@pytest.fixture(scope="module")
def pair(new_postgresql: NewDatabase) -> Iterator[Callable[[Walls], Pair]]:
    with pairs(new_postgresql) as get:
        yield get


def holds(attack: Attack, *walls: str) -> bool:
    return not {"anyway", *walls}.isdisjoint(attack.held_by.split())


@pytest.mark.whatever_sqlalchemy
@every_attack
def test_these_walls_hold_an_attack_alone_and_no_others(pair: Callable[[Walls], Pair], attack: Attack) -> None:
    found = {name: pair(walls).breaches(attack) for name, walls in {**WALLS, "anyway": Walls()}.items()}

    held = {name for name, breaches in found.items() if not breaches}
    assert held == ({*WALLS, "anyway"} if attack.held_by == "anyway" else {*attack.held_by.split()}), found


@both_strengths
@every_attack
def test_all_walls_together_hold_an_attack(pair: Callable[[Walls], Pair], attack: Attack, rows: str) -> None:
    breaches = pair(Walls(rows=rows, keys=True, statement=True)).breaches(attack)

    assert (not breaches) == (attack.words != PRIMARY_KEY)


@pytest.mark.whatever_sqlalchemy
@both_strengths
@every_attack
def test_row_and_key_wall_hold_a_raw_cursor(pair: Callable[[Walls], Pair], attack: Attack, rows: str) -> None:
    breaches = pair(Walls(rows=rows, keys=True)).breaches(attack)

    assert (not breaches) == holds(attack, rows, "keys"), breaches
    if rows == "sealed" and attack.words != "large objects of others":  # which are no rows
        assert not [each for each in breaches if "'secret'" in str(each[1]) or each[1] == CHANGED]


@pytest.mark.whatever_sqlalchemy
@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
@pytest.mark.parametrize(
    ("attack", "rows"),
    [
        pytest.param(
            attack if EVERYTHING else replace(attack, tries=attack.tries[:1]), rows, id=f"{attack.name}-{rows}"
        )
        for attack in ATTACKS
        for rows in ("setting", "sealed")
        if holds(attack, rows, "keys") and not attack.client and attack.where != "pooled"  # those are psycopg's here
    ],
)
def test_what_is_held_is_held_whatever_the_driver(
    pair: Callable[[Walls], Pair], attack: Attack, rows: str, driver: str
) -> None:
    assert pair(Walls(rows=rows, keys=True)).breaches(attack, driver=driver) == []


def test_every_number_of_the_list_is_there() -> None:
    assert {attack.number for attack in ATTACKS} | {*ELSEWHERE} == {*range(1, 65)}


def test_a_notification_reaches_every_tenant_that_listens(pair: Callable[[Walls], Pair]) -> None:
    """P52, a limit. Channels belong to the database; the statement wall refuses both statements."""
    place = pair(Walls(rows="sealed", keys=True)).both
    engine = sa.create_engine(place.url)
    with closing(Hand(place, engine, 1)) as listening, closing(Hand(place, engine, 2)) as notifying:
        listening.run(["LISTEN things"])
        notifying.run(["NOTIFY things, 'secret'"])
        driver = listening.pooled.driver_connection
        assert driver is not None
        heard = [each.payload for each in driver.notifies(timeout=5, stop_after=1)]
    engine.dispose()

    assert heard == ["secret"]
