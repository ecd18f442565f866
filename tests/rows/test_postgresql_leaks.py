"""What one tenant's code leaves on a connection, or finds beside it, gives it no other tenant's rows."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from partywall import RefusedStatementError, Tenancy, tenant
from partywall.rows.encoding import SETTING
from partywall.statements.vouched import check_one_statement
from tests.conftest import NewDatabase
from tests.rows import test_vouching
from tests.rows import walled as world
from tests.rows.by_hand import DRIVERS, SYNC_DRIVERS, Place, raw, run_with
from tests.rows.test_postgresql_session import at_the_database
from tests.rows.test_vouching import ALL_WORDS, NOTES, Note


@pytest.fixture(scope="module")
def walled(new_postgresql: NewDatabase) -> Iterator[test_vouching.Place]:
    made = test_vouching.filled(new_postgresql)
    yield made
    made.close()


@pytest.fixture(params=SYNC_DRIVERS)
def engine(request: pytest.FixtureRequest, walled: test_vouching.Place) -> Iterator[Engine]:
    """Return a guarded engine that has one connection."""
    url = walled.url.set(drivername=f"postgresql+{request.param}")
    made = walled.tenancy().guard(sa.create_engine(url, pool_size=1, max_overflow=0))
    yield made
    made.dispose()


LEAVING = {
    "a temporary table": "CREATE TEMP TABLE notes (id int)",
    "a temporary table by SELECT": "SELECT 1 AS id INTO TEMP notes",
    "the same behind WITH": "WITH one AS (SELECT 1 AS id) SELECT id INTO TEMP notes FROM one",
    "a setting": "SET partywall.tenant = '2'",
    "a setting behind a comment": "/* SELECT */ SET partywall.tenant = '2'",
    "a cursor": "DECLARE theirs CURSOR WITH HOLD FOR SELECT 1",
    "a fetch": "FETCH ALL FROM theirs",
    "the end": "COMMIT",
    "a lock": "LOCK TABLE notes",
    "code": "DO 'BEGIN END'",
    "nothing": "  -- nothing",
    "a second one": "SELECT 1; SET partywall.tenant = '2'",
    "one behind a string": "SELECT 'a'';'; SELECT 2",
    "one behind a backslash": r"SELECT 'a\'; SELECT 2; --'",
    "one behind a name with dollars": "SELECT 1 AS a$$; SELECT 2 AS b$$",
    "one behind a name that is no word": "SELECT 1 AS \N{SNOWMAN}$$; SELECT 2 AS b$$",
    "one behind a tag that is no word": "SELECT $\N{SNOWMAN}$ ' $\N{SNOWMAN}$; SELECT '2'",
    "a string that a parameter touches": "SELECT $1$$ ' $$; SELECT '2'",
    "a string that a number touches": "SELECT 1$$ ' $$; SELECT '2'",
    "a string that a string touches": "SELECT $$a$$$$ ' $$; SELECT '2'",
    "one behind a tag of another": "SELECT $a$ $b$ $a$; SELECT $b$ $b$",
    "one behind a comment": "SELECT 1 /* ; */; SELECT 2",
    "one behind a comment in a comment": "SELECT 1 /* /* */ ' */; SELECT '2'",
    "one behind a carriage return": "SELECT 1 -- '\r; SELECT '2'",
    "one behind a name": 'SELECT 1 AS "a"";"; SELECT 2',
}

STAYING = [
    "SELECT 1",
    " -- why\n/* what; */ (select 1) UNION SELECT 2 ;",
    "WITH new AS (INSERT INTO notes VALUES (1) RETURNING id) SELECT id FROM new",
    "MERGE INTO notes USING notes AS n ON false WHEN MATCHED THEN DELETE",
    "SELECT 'it''s; fine', \"a;b\", $$;'$$, $q$;$$;$q$, E'\\n;', '\\d;', $1 AS a",
    "TABLE notes",
    "VALUES (1)",
    "INSERT INTO notes VALUES (1)",
    "UPDATE notes SET id = 1",
    "DELETE FROM notes",
]


@pytest.mark.parametrize("kind", LEAVING)
def test_nobody_can_vouch_for_what_leaves_something_on_the_connection(place: Place, kind: str) -> None:
    with pytest.raises(RefusedStatementError, match="one can vouch for one SELECT"):
        place.tenancy().vouch(LEAVING[kind], reason="a test")


@pytest.mark.parametrize("sql", STAYING)
def test_one_can_vouch_for_one_statement_over_rows(sql: str) -> None:
    check_one_statement(sql)


def test_the_grammar_of_the_database_agrees_about_what_is_one_statement() -> None:
    pgparse = pytest.importorskip("pgparse")

    for sql in STAYING:
        assert len(pgparse.parse(sql)) == 1, sql
    for kind in (kind for kind in LEAVING if kind.startswith(("one ", "a second"))):
        if "backslash" not in kind:  # there it depends
            assert len(pgparse.parse(LEAVING[kind])) > 1, kind


SETS = "SELECT pg_backend_pid(), set_config('partywall.tenant', '2', false), pg_advisory_lock(4242)"


def test_what_was_vouched_for_does_not_change_the_tenant_of_what_follows(
    walled: test_vouching.Place, engine: Engine
) -> None:
    vouch = walled.tenancy().vouch
    with tenant(1), engine.connect() as connection:
        connection.execute(vouch(SETS, reason="a test"))

        assert list(connection.scalars(vouch(ALL_WORDS, reason="a test"))) == NOTES[1]
        assert list(connection.scalars(sa.select(Note.words).order_by(Note.words))) == NOTES[1]
        savepoint = connection.begin_nested()
        connection.execute(vouch(SETS, reason="a test"))
        savepoint.rollback()
        assert list(connection.scalars(vouch(ALL_WORDS, reason="a test"))) == NOTES[1]
        connection.commit()
        assert list(connection.scalars(vouch(ALL_WORDS, reason="a test"))) == NOTES[1]


def test_a_connection_that_ran_what_was_vouched_for_is_not_used_again(
    walled: test_vouching.Place, engine: Engine
) -> None:
    vouch = walled.tenancy().vouch
    with tenant(1), engine.connect() as connection:
        first = connection.execute(vouch(SETS, reason="a test")).scalar()
        connection.commit()
    with tenant(2), engine.connect() as connection:
        assert connection.execute(vouch(SETS, reason="a test")).scalar() != first  # and the lock is free


@pytest.fixture(scope="module")
def sealed(new_postgresql: NewDatabase) -> Iterator[world.Walled]:
    """Return a database whose tenants are sealed, with tokens that last a second."""
    made = world.make(new_postgresql(), key=b"a key of thirty-two bytes or more", token_lifetime=1)
    yield made
    made.superuser.dispose()


def tenancy_of(made: world.Walled) -> Tenancy:
    return Tenancy(
        world.metadata,
        tenants="tenants",
        shared={"countries"},
        shared_writable={"users"},
        shared_rows={"templates"},
        rows=made.wall,
    )


NOTES_OF = sa.select(world.metadata.tables["notes"].c.id)
SHOWN = "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


@pytest.mark.parametrize("driver", DRIVERS)
def test_a_seal_holds_to_the_end_of_its_transaction_and_begins_no_later_one(sealed: world.Walled, driver: str) -> None:
    def work(engine: Engine) -> object:
        with tenant(2), engine.connect() as connection:
            assert len(connection.execute(NOTES_OF).all()) == 2
            pid, token = raw(connection, f"SELECT pg_backend_pid(), current_setting('{SETTING}')")
            raw(connection, "SELECT pg_sleep(2.5)")
            assert at_the_database(connection) == (2, 2, 2)
            connection.rollback()
            raw(connection, f"SET LOCAL {SETTING} = '{token}'")
            assert raw(connection, "SELECT pg_backend_pid()") == (pid,)
            return at_the_database(connection)

    url = sealed.url.set(username=sealed.role)
    assert run_with(driver, url, tenancy_of(sealed), work) == (0, None, None)


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_no_seal_is_shown_for_as_long_as_a_statement_runs(sealed: world.Walled, driver: str) -> None:
    tenancy = tenancy_of(sealed)
    slow = tenancy.vouch("SELECT pg_sleep(2)", reason="a test")

    def wait(engine: Engine) -> None:
        with tenant(2), engine.connect() as connection:
            connection.execute(slow)

    def work(engine: Engine) -> list[str]:
        thread = threading.Thread(target=wait, args=[engine])
        thread.start()
        shown: list[str] = []
        with sealed.superuser.connect() as looking:
            while thread.is_alive():
                shown += map(str, looking.exec_driver_sql(SHOWN).scalars())
                looking.rollback()
                time.sleep(0.02)
        thread.join()
        return shown

    shown = run_with(driver, sealed.url.set(username=sealed.role), tenancy, work, pool_size=1)
    assert shown
    assert not [each for each in shown if re.search(r"[.][0-9a-f]{64}", each)]
