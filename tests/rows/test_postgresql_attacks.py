"""Every attack of the red team's list on PostgreSQL: which wall holds alone, and that all of them together hold."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from partywall import tenant
from partywall.rows.seal import seal
from tests.conftest import NewDatabase
from tests.rows.by_hand import DRIVERS, run_with
from tests.rows.postgresql_attacks import ATTACKS, ELSEWHERE
from tests.rows.red_team import CHANGED, KEY, WALLS, Attack, Hand, Pair, Place, Walls, pairs

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
    text = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [test for _, test in ELSEWHERE.values() if f"def {test}(" not in text] == []


def test_what_a_plain_setting_leaves_open_and_a_seal_closes_is_sql_that_sets_the_tenant() -> None:
    named = {each.number for each in ATTACKS if holds(each, "sealed") and not holds(each, "setting")}

    assert named == {*range(1, 6), *range(7, 11), 13}


def test_what_neither_seal_nor_keys_close_is_no_row_but_whether_an_id_is_taken() -> None:
    named = {each.number for each in ATTACKS if not holds(each, "sealed", "keys")}

    assert named == {21, 38, 46, 48, 49, 50, 51}
    assert {each.words for each in ATTACKS if not holds(each, *WALLS)} == {PRIMARY_KEY}


def test_a_transaction_outlives_its_token_but_none_begins_with_it(new_postgresql: NewDatabase) -> None:
    place = Place(new_postgresql(), Walls(rows="sealed"), alone=False)
    engine = sa.create_engine(place.url)
    now = int(time.time())
    with engine.begin() as connection:
        pid = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        token = seal("2", pid, KEY, now + 1)
        connection.exec_driver_sql(f"SET LOCAL partywall.tenant = '{token}'")
        connection.exec_driver_sql("SELECT pg_sleep(2.1)")
        assert connection.exec_driver_sql("SELECT count(*) FROM customers").scalar_one() == 2
    with engine.begin() as connection:
        assert connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one() == pid
        connection.exec_driver_sql(f"SET LOCAL partywall.tenant = '{token}'")
        assert connection.exec_driver_sql("SELECT count(*) FROM customers").scalar_one() == 0
    engine.dispose()
    place.superuser.dispose()


def test_a_token_that_another_session_showed_could_be_replayed_on_its_server_process(
    pair: Callable[[Walls], Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    """P13 and P49 together: why tokens are hidden from ``pg_stat_activity``, and short-lived."""
    place = pair(Walls(rows="sealed", keys=True)).both
    customers = place.metadata.tables["customers"]
    spied = "SELECT query FROM pg_stat_activity WHERE pid <> pg_backend_pid()"

    def stolen() -> list[str]:
        engine = place.tenancy.guard(sa.create_engine(place.url, pool_size=1, max_overflow=0))
        spy = sa.create_engine(place.url)
        with closing(Hand(place, spy, 1)) as hand, tenant(2), engine.connect() as connection, connection.begin():
            token = re.search(r"2[.]\d+[.]\d+[.][0-9a-f]{64}", str(hand.run([spied])))
        spy.dispose()
        with tenant(1), engine.connect() as connection:
            connection.execute(sa.select(customers.c.id))
            cursor = connection.connection.cursor()
            cursor.execute(f"SET LOCAL partywall.tenant = '{token.group() if token else ''}'")
            cursor.execute("SELECT name FROM customers")
            names = [row[0] for row in cursor.fetchall()]
        engine.dispose()
        return names

    assert stolen() == []
    monkeypatch.setitem(place.rows.__dict__, "activity_bytes", 0)
    assert stolen() == ["alike", "secret"]


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


@pytest.mark.parametrize("driver", DRIVERS)
def test_another_session_is_not_shown_a_token(pair: Callable[[Walls], Pair], driver: str) -> None:
    """It would hold on the same connection, when the pool has handed that to somebody else."""
    place = pair(Walls(rows="sealed", keys=True)).both
    shown: list[str] = []

    def look() -> None:
        with place.superuser.connect() as connection:
            query = "SELECT query FROM pg_stat_activity WHERE usename = %s AND datname = %s"
            shown.extend(connection.exec_driver_sql(query, (place.role, place.url.database)).scalars())

    def work(engine: sa.Engine) -> None:
        with tenant(2), engine.connect() as connection, connection.begin():
            look()
            connection.execute(sa.select(place.metadata.tables["customers"]))
            look()

    run_with(driver, place.url, place.tenancy, work)

    assert len(shown) >= 2
    assert not [each for each in shown if re.search("[0-9a-f]{16}", each)]


@both_strengths
def test_the_role_can_change_its_password_but_not_its_first_tenant(pair: Callable[[Walls], Pair], rows: str) -> None:
    """A limit: whoever has SQL on a raw cursor can lock the application out."""
    place = pair(Walls(rows=rows, keys=True)).both
    engine = sa.create_engine(place.url)
    with closing(Hand(place, engine, 1)) as hand:
        hand._answer("ALTER ROLE CURRENT_USER PASSWORD 'x'")
        hand.pooled.rollback()
        refused = hand.run(["ALTER ROLE CURRENT_USER SET partywall.tenant = '2'"])
    engine.dispose()

    assert refused == ["42501"]


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_transaction_whose_first_statement_comes_late_sees_its_rows(
    new_postgresql: NewDatabase, driver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(new_postgresql(), Walls(rows="sealed"), alone=False)
    monkeypatch.setitem(place.rows.__dict__, "token_lifetime", 1)

    def work(engine: sa.Engine) -> int:
        with tenant(2), engine.connect() as connection, connection.begin():
            time.sleep(2.1)
            return len(connection.execute(sa.select(place.metadata.tables["customers"])).all())

    assert run_with(driver, place.url, place.tenancy, work) == 2
    place.superuser.dispose()
