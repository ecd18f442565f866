"""The tenant of each transaction is told to PostgreSQL, by every driver, and to nobody after it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from partywall import RefusedStatementError, SetupError, Tenancy, TenantChangedError, tenant, unscoped
from partywall.rows.declaration import RowWall
from tests.rows.by_hand import DRIVERS, SETTING, SYNC_DRIVERS, Base, Country, Note, Place, raw, seen

every_driver = pytest.mark.parametrize("driver", DRIVERS)

ALL_IDS = sa.select(Note.id).order_by(Note.id)
OWN = {number: [number * 10 + each for each in (1, 2, 3)] for number in (1, 2)}


def ids(connection: sa.Connection | Session) -> list[int]:
    return list(connection.execute(ALL_IDS).scalars())


def at_the_database(connection: sa.Connection) -> tuple[int, ...]:
    """Return how many rows the database lets this transaction see, and of which tenants, past the statement wall."""
    cursor = connection._dbapi_connection.cursor()  # type: ignore[union-attr]  # not handed out: nothing else changes
    try:
        cursor.execute("SELECT count(*), min(tenant_id), max(tenant_id) FROM notes")
        return tuple(cursor.fetchone() or ())
    finally:
        cursor.close()


@every_driver
def test_the_database_shows_a_transaction_its_tenant_alone(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        for tenant_id in (1, 2, 1):
            with tenant(tenant_id), Session(engine) as session:
                found.append((ids(session), at_the_database(session.connection())))
        return found

    first, second = (OWN[1], (3, 1, 1)), (OWN[2], (3, 2, 2))
    assert place.run(driver, work) == [first, second, first]


@every_driver
def test_each_transaction_of_a_session_is_told_its_tenant(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with tenant(2), Session(engine) as session:
            for end in (session.commit, session.rollback, session.commit):
                found.append(ids(session))
                end()
        return found

    assert place.run(driver, work) == [OWN[2]] * 3


@every_driver
def test_a_connection_of_its_own_accord_is_told_too(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with engine.connect() as connection:
            for tenant_id in (1, 2):
                with tenant(tenant_id):
                    found.append((ids(connection), at_the_database(connection)))
                connection.commit()
        with tenant(1), engine.begin() as connection:
            found.append(ids(connection))
        return found

    assert place.run(driver, work) == [(OWN[1], (3, 1, 1)), (OWN[2], (3, 2, 2)), OWN[1]]


@every_driver
def test_a_session_that_was_given_its_tenant_needs_none_in_scope(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with place.tenancy().session(engine, tenant=2) as session:
            found: list[object] = [ids(session), at_the_database(session.connection())]
            session.add(Note(id=99, text="new"))
            session.flush()
            found.append(at_the_database(session.connection()))
            session.rollback()
            return [*found, ids(session)]

    assert place.run(driver, work) == [OWN[2], (3, 2, 2), (4, 2, 2), OWN[2]]


@every_driver
def test_without_a_tenant_the_database_shows_no_rows(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with tenant(1), engine.connect() as connection:
            ids(connection)
            connection.commit()  # what a session would keep, had it been set for more than the transaction
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            return at_the_database(connection)

    assert place.run(driver, work, pool_size=1) == (0, None, None)


@every_driver
def test_a_tenant_that_comes_after_shared_tables_is_told_then(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            with tenant(1):
                return [ids(connection), at_the_database(connection)]

    assert place.run(driver, work) == [OWN[1], (3, 1, 1)]


@every_driver
def test_writes_pass_the_policy(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1), Session(engine) as session:
            session.add_all([Note(id=500 + number, text="new") for number in range(3)])
            session.flush()
            found: list[object] = [at_the_database(session.connection())]
            session.execute(sa.update(Note).where(Note.id == 500).values(text="changed"))
            session.execute(sa.delete(Note).where(Note.id > 500))
            found += [ids(session), session.get_one(Note, 500).text]
            session.rollback()
            return found

    assert place.run(driver, work) == [(6, 1, 1), [*OWN[1], 500], "changed"]


@every_driver
def test_many_rows_may_be_the_first_that_a_transaction_sends(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with tenant(1), engine.connect() as connection:
            connection.execute(sa.insert(Note), [{"id": 600 + number, "text": "new"} for number in range(3)])
            found: object = at_the_database(connection)
            connection.rollback()
            connection.execute(
                sa.update(Note).where(Note.id == sa.bindparam("which")).values(text=sa.bindparam("what")),
                [{"which": 11, "what": "a"}, {"which": 12, "what": "b"}],
            )
            changed = connection.execute(sa.select(Note.text).order_by(Note.id)).scalars().all()
            connection.rollback()
            return found, changed

    assert place.run(driver, work) == ((6, 1, 1), ["a", "b", "alike"])


@every_driver
def test_what_the_policy_refuses_is_refused_by_the_database(place: Place, driver: str) -> None:
    def work(engine: Engine) -> str:
        with tenant(1), engine.connect() as connection:
            cursor = connection._dbapi_connection.cursor()  # type: ignore[union-attr]  # past the statement wall
            ids(connection)
            with pytest.raises(Exception, match="row-level security") as refused:
                cursor.execute("INSERT INTO notes VALUES (700, 2, 'foreign')")
            cursor.close()
            return str(getattr(refused.value, "sqlstate", None) or getattr(refused.value, "pgcode", None))

    assert place.run(driver, work) == "42501"


@every_driver
def test_rolling_back_to_a_savepoint_leaves_the_tenant_told(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with tenant(1), engine.connect() as connection:
            nested = connection.begin_nested()  # the first that the transaction sends
            found.append(ids(connection))
            nested.rollback()
            found.append((ids(connection), at_the_database(connection)))
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            outer, inner = connection.begin_nested(), connection.begin_nested()
            with tenant(1):
                found.append(ids(connection))  # told inside the savepoints
                inner.rollback()
                found.append((ids(connection), at_the_database(connection)))
                outer.rollback()
                found.append((ids(connection), at_the_database(connection)))
        return found

    here = (OWN[1], (3, 1, 1))
    assert place.run(driver, work) == [OWN[1], here, OWN[1], here, here]


@every_driver
def test_an_error_inside_a_savepoint_leaves_the_tenant_told(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with tenant(1), Session(engine) as session:
            with pytest.raises(sa.exc.IntegrityError), session.begin_nested():
                session.execute(sa.insert(Note).values(id=11, text="there is one"))
            found.append(ids(session))
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            with tenant(1):
                with pytest.raises(sa.exc.DBAPIError), connection.begin_nested():
                    connection.execute(sa.select(sa.cast(Note.text, sa.Integer)))  # told with, or just before it
                found.append(ids(connection))
        return found

    assert place.run(driver, work) == [OWN[1], OWN[1]]


@every_driver
def test_an_error_in_the_statement_that_brings_the_tenant_can_be_rolled_back(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            nested = connection.begin_nested()
            with tenant(1):
                with pytest.raises(sa.exc.DBAPIError):
                    connection.execute(sa.select(sa.cast(Note.text, sa.Integer)))
                nested.rollback()
                found.append((ids(connection), at_the_database(connection)))
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            nested = connection.begin_nested()
            with tenant(1):
                with pytest.raises(sa.exc.StatementError):  # not sent at all
                    connection.execute(sa.select(Note).where(Note.text == sa.bindparam("x", object(), type_=sa.Text)))
                nested.rollback()
                found.append((ids(connection), at_the_database(connection)))
        return found

    assert place.run(driver, work) == [(OWN[1], (3, 1, 1))] * 2


@every_driver
def test_a_tenant_that_meets_a_failed_savepoint_can_roll_it_back(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            nested = connection.begin_nested()
            with pytest.raises(sa.exc.DBAPIError):
                connection.execute(sa.select(sa.cast(sa.literal("x"), sa.Integer)))
            with tenant(1):
                nested.rollback()
                found.append(ids(connection))
        with engine.connect() as connection:
            connection.exec_driver_sql("SAVEPOINT a")
            with pytest.raises(sa.exc.DBAPIError):
                connection.execute(sa.select(sa.cast(sa.literal("x"), sa.Integer)))
            with tenant(1):
                connection.exec_driver_sql("ROLLBACK TO SAVEPOINT a")
                found.append(ids(connection))
        return found

    assert place.run(driver, work) == [OWN[1]] * 2


@every_driver
@pytest.mark.parametrize("text", ["ROLLBACK TO SAVEPOINT a", "  rollback to a"])
@pytest.mark.parametrize("is_construct", [False, True])
def test_a_rollback_that_was_sent_as_text_is_seen_too(place: Place, driver: str, text: str, is_construct: bool) -> None:
    def work(engine: Engine) -> list[object]:
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            connection.exec_driver_sql("SAVEPOINT a")
            found: list[object] = []
            with tenant(1):
                for _ in range(2):
                    found.append(ids(connection))
                    if is_construct:
                        connection.execute(sa.text(text))
                    else:
                        connection.exec_driver_sql(text)
                return [*found, ids(connection)]

    assert place.run(driver, work) == [OWN[1]] * 3


def test_psycopg2_is_told_once(place: Place) -> None:
    def work(engine: Engine) -> list[str]:
        with tenant(1), engine.connect() as connection:
            connection.begin()
            prefixes = [connection.partywall_prefix]  # type: ignore[attr-defined]
            ids(connection)
            return [*prefixes, connection.partywall_prefix]  # type: ignore[attr-defined]

    assert place.run("psycopg2", work) == ["SET LOCAL partywall.tenant = '1';", ""]


@every_driver
def test_a_failed_transaction_takes_nothing_but_its_end(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1), Session(engine) as session:
            session.connection().exec_driver_sql("SAVEPOINT a")
            with pytest.raises(sa.exc.DBAPIError):
                session.connection().execute(sa.select(sa.cast(Note.text, sa.Integer)))
            with pytest.raises(sa.exc.DBAPIError):
                ids(session)
            session.connection().exec_driver_sql("ROLLBACK TO SAVEPOINT a")
            found: list[object] = [ids(session)]
            session.rollback()
            return [*found, ids(session)]

    assert place.run(driver, work) == [OWN[1], OWN[1]]


@every_driver
def test_a_transaction_may_begin_by_setting_its_isolation(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with tenant(1), engine.connect() as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            return ids(connection), raw(connection, "SHOW transaction_isolation")

    assert place.run(driver, work) == (OWN[1], ("serializable",))


@every_driver
def test_an_error_in_the_first_statement_leaves_nothing_behind(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with engine.connect() as connection:
            with tenant(1), pytest.raises(sa.exc.DBAPIError):
                connection.execute(sa.select(sa.cast(Note.text, sa.Integer)))
            connection.rollback()
            with tenant(2):
                found.append((ids(connection), at_the_database(connection)))
            connection.rollback()
            with tenant(1), pytest.raises(sa.exc.StatementError):
                connection.execute(sa.select(Note).where(Note.text == sa.bindparam("x", object(), type_=sa.Text)))
            with tenant(1):  # that one was not sent at all
                found.append(ids(connection))
        return found

    assert place.run(driver, work) == [(OWN[2], (3, 2, 2)), OWN[1]]


@every_driver
@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("by", ["engine", "copy of the engine", "connection", "Session"])
def test_isolation_levels_stay_what_they_were_asked_to_be(place: Place, driver: str, level: str, by: str) -> None:
    def work(engine: Engine) -> list[object]:
        if by == "copy of the engine":
            engine = engine.execution_options(isolation_level=level)
        with tenant(1), Session(engine) as session:
            if by in ("connection", "Session"):
                session.connection(execution_options={"isolation_level": level})
            found: list[object] = [ids(session)]
            found.append(raw(session.connection(), "SHOW transaction_isolation"))
        with tenant(2), Session(engine) as session:
            found.append(ids(session))
        return found

    options: dict[str, Any] = {"isolation_level": level} if by == "engine" else {}
    assert place.run(driver, work, **options) == [OWN[1], (level.lower(),), OWN[2]]


@every_driver
def test_read_only_transactions_stay_read_only(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        options: Any = {"isolation_level": "SERIALIZABLE", "postgresql_readonly": True, "postgresql_deferrable": True}
        with tenant(1), engine.connect().execution_options(**options) as connection:
            return ids(connection), raw(
                connection, "SELECT current_setting('transaction_read_only'), current_setting('transaction_deferrable')"
            )

    assert place.run(driver, work) == (OWN[1], ("on", "on"))


@every_driver
def test_autocommit_is_refused_to_a_tenant(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with engine.connect() as connection:
            found.append(connection.execute(sa.select(Country.code)).all())
        for refused in (
            lambda: Session(engine),
            engine.connect,
            lambda: engine.connect().execution_options(isolation_level="AUTOCOMMIT"),
        ):
            with tenant(1), pytest.raises(RefusedStatementError, match="AUTOCOMMIT"), refused() as connection:
                connection.execute(sa.select(Note))
        return found

    assert place.run(driver, work, isolation_level="AUTOCOMMIT") == [[]]


@every_driver
def test_autocommit_is_allowed_to_an_unscoped_engine(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with unscoped(reason="a test"), engine.connect() as connection:
            return len(ids(connection))

    assert place.run(driver, work, allow_unscoped=True, isolation_level="AUTOCOMMIT") == 6


@every_driver
def test_rows_may_be_streamed(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with tenant(1), Session(engine) as session:
            found.append(session.scalars(ALL_IDS.execution_options(yield_per=1)).all())  # the first, by a cursor
            found.append(session.scalars(ALL_IDS.execution_options(stream_results=True)).all())
        with engine.connect() as connection:
            connection.execute(sa.select(Country.code))
            with tenant(2):
                found.append(connection.execute(ALL_IDS, execution_options={"yield_per": 2}).scalars().all())
        return found

    assert place.run(driver, work) == [OWN[1], OWN[1], OWN[2]]


@pytest.mark.parametrize("driver", SYNC_DRIVERS)
def test_two_phase_transactions_are_told_their_tenant(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        found: list[object] = []
        with tenant(1), engine.connect() as connection:
            transaction = connection.begin_twophase()
            found.append((ids(connection), at_the_database(connection)))
            transaction.commit()
            found.append(ids(connection))
            connection.rollback()
            again = connection.begin_twophase()
            found.append(ids(connection))
            again.rollback()
            again = connection.begin_twophase()
            found.append(ids(connection))
            again.rollback()
        with tenant(2), Session(engine, twophase=True) as session:
            found.append(ids(session))
            session.rollback()
            found.append(ids(session))
        return found

    assert place.run(driver, work) == [(OWN[1], (3, 1, 1)), *[OWN[1]] * 3, OWN[2], OWN[2]]


@every_driver
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK", "SET LOCAL partywall.tenant = '2'", "method"])
def test_who_ends_the_transaction_at_the_driver_is_told_again(place: Place, driver: str, end: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1), Session(engine) as session:
            found: list[object] = [ids(session)]
            if end == "method":
                session.connection().connection.commit()
            elif driver == "asyncpg" and end in ("COMMIT", "ROLLBACK"):
                session.connection().connection.rollback()  # its adapter would not notice the other
            else:
                raw(session.connection(), end)
            return [*found, ids(session), ids(session)]

    assert place.run(driver, work) == [OWN[1]] * 3


@every_driver
def test_who_takes_the_raw_connection_of_a_transaction_has_its_tenant(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1), Session(engine) as session:
            found: list[object] = [seen(session)]
        with tenant(2), engine.connect() as connection:
            connection.begin()
            found.append(raw(connection, "SELECT count(*), min(tenant_id), max(tenant_id) FROM notes"))
            with pytest.raises(engine.dialect.loaded_dbapi.Error):
                raw(connection, "SELECT 1/0")
            connection.connection.rollback()  # a failed transaction gives it out as well
            found.append(ids(connection))
        with place.tenancy().session(engine, tenant=1) as session:
            found.append(seen(session))  # before any statement of the Session's
        return found

    assert place.run(driver, work) == [(3, 1, 1), (3, 2, 2), OWN[2], (3, 1, 1)]


@every_driver
def test_a_raw_connection_of_the_engine_sees_no_rows(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1):
            with engine.connect() as connection:
                ids(connection)
            pooled = engine.raw_connection()
            try:
                return [raw(pooled, f"SELECT count(*), coalesce({SETTING}, '') FROM notes")]
            finally:
                pooled.close()

    assert place.run(driver, work, pool_size=1) == [(0, "")]


@every_driver
def test_a_lost_connection_is_noticed_at_begin(place: Place, driver: str) -> None:
    def work(engine: Engine) -> list[object]:
        with tenant(1), Session(engine) as session:
            pid = place_pid(session)
        place.terminate(pid)
        with tenant(1), Session(engine) as session:
            with pytest.raises(sa.exc.DBAPIError) as lost:
                ids(session)
            found: list[object] = [lost.value.connection_invalidated]
            session.rollback()
            return [*found, ids(session)]

    def place_pid(session: Session) -> int:
        cursor = session.connection()._dbapi_connection.cursor()  # type: ignore[union-attr]  # keeps it in the pool
        cursor.execute("SELECT pg_backend_pid()")
        return int((cursor.fetchone() or (0,))[0])

    assert place.run(driver, work) == [True, OWN[1]]


@every_driver
def test_another_tenant_cannot_take_over_a_transaction(place: Place, driver: str) -> None:
    def work(engine: Engine) -> object:
        with engine.connect() as connection:
            with tenant(1):
                ids(connection)
            with tenant(2), pytest.raises(TenantChangedError):
                ids(connection)
            return at_the_database(connection)

    assert place.run(driver, work) == (3, 1, 1)


@every_driver
@pytest.mark.parametrize("say", ["begin", "send"])
def test_an_error_while_telling_is_an_error(place: Place, driver: str, say: str) -> None:
    def work(engine: Engine) -> str:
        speaker: Any = engine.dialect.partywall_guard.setting.driver  # type: ignore[attr-defined]
        pooled: Any = engine.raw_connection()
        try:
            if say == "send":
                speaker.begin(pooled.dbapi_connection, "SET LOCAL work_mem = '4MB'")
            with pytest.raises(engine.dialect.loaded_dbapi.Error) as raised:
                getattr(speaker, say)(pooled.dbapi_connection, "SELECT 1/0")
        finally:
            pooled.close()
        return str(getattr(raised.value, "sqlstate", None) or getattr(raised.value, "pgcode", None))

    assert place.run(driver, work) == "22012"


KEY = b"k" * 32


@every_driver
@pytest.mark.parametrize("pooler", [False, True])
def test_a_sealed_tenant_is_a_token_for_this_server_process(place: Place, driver: str, pooler: bool) -> None:
    def work(engine: Engine) -> list[tuple[str, int, int]]:
        found = []
        for ask in (sa.select(Country.code), sa.text("SAVEPOINT a")):
            with tenant(1), Session(engine) as session:
                session.execute(ask)
                sql = f"SELECT {SETTING}, pg_backend_pid(), extract(epoch FROM clock_timestamp())::int"
                found.append(raw(session.connection(), sql))
        return found

    for token, pid, now in place.run(driver, work, wall={"key": KEY, "transaction_pooler": pooler}):
        message, _, signature = token.rpartition(".")
        encoded, for_pid, expires = message.split(".")
        assert (encoded, int(for_pid)) == ("1", pid)
        assert abs(int(expires) - now - 60) < 5
        assert signature == hmac.new(KEY, message.encode(), hashlib.sha256).hexdigest()


def test_an_id_that_could_break_out_of_its_quotes_is_never_sent(place: Place) -> None:
    class Odd(sa.TypeDecorator[int]):
        impl = sa.Integer
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: Any) -> Any:
            return "1'; DROP TABLE notes; --"

    from partywall import TenantIdError
    from partywall.rows.encoding import encoder
    from partywall.rows.postgresql.session import _set_local

    with pytest.raises(TenantIdError):
        encoder(Odd())(1)
    for text in ("1'", "", "1;", "g", "1\n", "٣"):
        with pytest.raises(TenantIdError):
            _set_local(text)


def test_a_driver_that_we_do_not_know_is_refused() -> None:
    engine = sa.create_engine("postgresql+psycopg://x@localhost/x")
    engine.dialect.driver = "other"
    with pytest.raises(SetupError, match="other"):
        Tenancy(Base.metadata, shared={"countries"}, rows=RowWall(role="app")).guard(engine)


@pytest.mark.parametrize("driver", DRIVERS)
def test_without_the_row_wall_the_database_is_told_nothing(place: Place, driver: str) -> None:
    """Take the protection out: then the policy shows a tenant no rows."""

    def work(engine: Engine) -> object:
        tell_nothing: Callable[..., str] = lambda *_: ""  # noqa: E731
        engine.dialect.partywall_guard.setting.set = tell_nothing  # type: ignore[attr-defined]
        with tenant(1), Session(engine) as session:
            return ids(session)

    assert place.run(driver, work) == []
