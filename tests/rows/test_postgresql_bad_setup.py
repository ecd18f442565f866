"""A row wall that does not hold is refused by the engine itself, when it connects, and never works as none."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from partywall import RefusedStatementError, SetupError, Tenancy, tenant, unscoped
from tests.conftest import NewDatabase
from tests.rows import walled
from tests.rows.by_hand import DRIVERS, run_with
from tests.rows.walled import Walled, run

KEY = b"a key of thirty-two bytes or more"
EVENTS = walled.metadata.tables["events"]

# What a migration, a colleague or a backup that was restored has done; what the message has to say.
FAULTS = {
    "policy dropped": ("DROP POLICY partywall_tenant ON events", "CREATE POLICY partywall_tenant ON public.events"),
    "policy opened": ("ALTER POLICY partywall_tenant ON events USING (true)", "has another USING"),
    "another policy": ("CREATE POLICY more ON events USING (true)", "DROP POLICY more"),
    "disabled": ("ALTER TABLE events DISABLE ROW LEVEL SECURITY", "ENABLE ROW LEVEL SECURITY"),
    "not forced": ("ALTER TABLE events NO FORCE ROW LEVEL SECURITY", "FORCE ROW LEVEL SECURITY"),
    "bypassrls": ("ALTER ROLE {role} BYPASSRLS", "NOBYPASSRLS"),
    "superuser": ("ALTER ROLE {role} SUPERUSER", "NOSUPERUSER"),
    "member of the owner": ("GRANT {owner} TO {role}", "REVOKE {owner} FROM {role}"),
    "owner of a table": ("ALTER TABLE events OWNER TO {role}", "REASSIGN OWNED BY {role} TO"),
    "more than was given": ("GRANT TRUNCATE ON events TO {role}", "REVOKE TRUNCATE ON public.events FROM {role}"),
    "partition given": ("GRANT SELECT ON events_low TO {role}", "REVOKE ALL ON events_low FROM {role}"),
    "materialised view": (
        "CREATE MATERIALIZED VIEW kept AS SELECT * FROM events; GRANT SELECT ON kept TO {role}",
        "REVOKE ALL ON kept FROM {role}",
    ),
    "definer function": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM events'",
        "peek()",
    ),
    "table made anew": (
        "ALTER TABLE note_marks RENAME TO old_marks; CREATE TABLE note_marks (LIKE old_marks); "
        "DROP TABLE old_marks; ALTER TABLE note_marks OWNER TO {owner}; GRANT SELECT ON note_marks TO {role}",
        "ALTER TABLE public.note_marks ENABLE ROW LEVEL SECURITY",
    ),
    "tenant column renamed and made anew": (
        "ALTER TABLE note_marks RENAME tenant_id TO old; ALTER TABLE note_marks ADD tenant_id int DEFAULT 1",
        "has another USING",
    ),
    "half of a migration": (
        "DROP POLICY partywall_tenant ON templates; DROP POLICY partywall_shared ON templates; "
        "ALTER TABLE note_marks NO FORCE ROW LEVEL SECURITY",
        "CREATE POLICY partywall_shared ON public.templates",
    ),
    "a tenant from the start": ("ALTER ROLE {role} SET partywall.tenant = '1'", "RESET partywall.tenant"),
    "the view opened": (
        "CREATE OR REPLACE VIEW notes AS SELECT * FROM partywall_base.notes",
        "CREATE OR REPLACE VIEW public.notes",
    ),
}
SEALED_FAULTS = {
    "the seal's function opened": (
        "CREATE OR REPLACE FUNCTION partywall.tenant_id() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'",
        "CREATE OR REPLACE FUNCTION partywall.tenant_id()",
    ),
    "the seal's function gone": ("DROP FUNCTION partywall.tenant_id() CASCADE", "CREATE OR REPLACE FUNCTION"),
    "keys given": ("GRANT SELECT ON partywall.seal_keys TO {role}", "REVOKE ALL ON partywall.seal_keys FROM {role}"),
    "keys gone": ("TRUNCATE partywall.seal_keys", "Run row_wall_ddl() again"),
    "another key": ("UPDATE partywall.seal_keys SET inner_key = outer_key", "Run row_wall_ddl() again"),
}


@pytest.fixture(scope="module", params=["setting", "sealed"])
def here(request: pytest.FixtureRequest, new_postgresql: NewDatabase) -> Iterator[Walled]:
    made = walled.make(new_postgresql(), views={"notes"}, **({"key": KEY} if request.param == "sealed" else {}))
    yield made
    made.superuser.dispose()


@pytest.fixture
def guarded(here: Walled) -> Iterator[Callable[..., Engine]]:
    """Return what makes guarded engines, of the application's role unless told otherwise."""
    made: list[Engine] = []

    def make(user: str = here.role, *, allow_unscoped: bool = False, **options: Any) -> Engine:
        url = here.url.set(username=user)
        engine = tenancy(here).guard(sa.create_engine(url, **options), allow_unscoped=allow_unscoped)
        made.append(engine)
        return engine

    yield make
    for engine in made:
        engine.dispose()


def tenancy(here: Walled) -> Tenancy:
    return Tenancy(
        walled.metadata,
        tenants="tenants",
        shared={"countries"},
        shared_writable={"users"},
        shared_rows={"templates"},
        rows=here.wall,
    )


def spoil(here: Walled, sql: str) -> None:
    with here.superuser.begin() as connection:
        run(connection, named(here, sql))


def named(here: Walled, sql: str) -> str:
    return sql.replace("{role}", here.role).replace("{owner}", here.owner)


def repair(here: Walled) -> None:
    """Do what the findings say; the wall's DDL once more is what some of them say."""
    with here.superuser.begin() as connection:
        here.mend(connection)
        if here.wall.is_sealed:  # some of it was mended by a superuser
            run(connection, f"ALTER FUNCTION partywall.tenant_id() OWNER TO {here.owner}")
        here.put_up(connection)


def events_of(engine: Engine, tenant_id: int) -> list[int]:
    with tenant(tenant_id), engine.connect() as connection:
        return list(connection.scalars(sa.select(EVENTS.c.tenant_id)))


@pytest.mark.parametrize("fault", [*FAULTS, *SEALED_FAULTS])
def test_a_wall_that_somebody_altered_is_refused_by_the_engine(
    here: Walled, guarded: Callable[..., Engine], fault: str
) -> None:
    if fault in SEALED_FAULTS and not here.wall.is_sealed:
        pytest.skip("a plain wall has no seal")
    sql, says = {**FAULTS, **SEALED_FAULTS}[fault]
    engine = guarded()
    spoil(here, sql)
    try:
        for _ in range(2):  # nor the second time
            with tenant(1), pytest.raises(SetupError) as caught:
                engine.connect()
            assert named(here, says) in str(caught.value)
        with pytest.raises(SetupError):
            engine.connect()  # nor without a tenant
        with pytest.raises(SetupError):
            engine.raw_connection()  # nor past the statement wall
    finally:
        repair(here)
    assert events_of(engine, 1) == [1]


@pytest.mark.parametrize("driver", DRIVERS)
def test_whatever_the_driver_the_engine_refuses_a_wall_that_is_down(here: Walled, driver: str) -> None:
    def work(engine: Engine) -> list[str]:
        seen = []
        for _ in range(2):
            with tenant(1), pytest.raises(SetupError) as caught:
                engine.connect()
            seen.append(str(caught.value))
        return seen

    spoil(here, "ALTER TABLE events DISABLE ROW LEVEL SECURITY")
    try:
        seen = run_with(driver, here.url.set(username=here.role), tenancy(here), work)
    finally:
        repair(here)

    assert all("ALTER TABLE public.events ENABLE ROW LEVEL SECURITY" in each for each in seen)


def test_the_owners_login_is_refused_by_the_engine(here: Walled, guarded: Callable[..., Engine]) -> None:
    for user in (here.owner, "postgres", here.unscoped_role):
        with tenant(1), pytest.raises(SetupError) as caught:
            guarded(user).connect()
        assert f"session_user {user}" in str(caught.value)
        assert f'create_engine("postgresql+psycopg://{here.role}@...")' in str(caught.value)


def test_an_unscoped_engine_of_another_login_reads_nothing(here: Walled, guarded: Callable[..., Engine]) -> None:
    for user in (here.owner, "postgres", here.role):
        engine = guarded(user, allow_unscoped=True)
        with unscoped(reason="test"), engine.connect() as connection, pytest.raises(SetupError, match="session_user"):
            connection.execute(sa.select(EVENTS))


def test_a_database_where_no_wall_was_put_up_is_refused(
    here: Walled, guarded: Callable[..., Engine], new_postgresql: NewDatabase
) -> None:
    bare = new_postgresql()
    owner = sa.create_engine(bare, poolclass=NullPool)
    with owner.begin() as connection:
        run(connection, "CREATE SCHEMA billing")
        walled.metadata.create_all(connection)
        run(connection, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {here.role}")

    engine = tenancy(here).guard(sa.create_engine(bare.set(username=here.role)))
    with tenant(1), pytest.raises(SetupError) as caught:
        engine.connect()

    engine.dispose()
    for name in ("events", "note_marks", "templates", "tenants"):
        assert f"ALTER TABLE public.{name} ENABLE ROW LEVEL SECURITY" in str(caught.value)


def test_a_database_without_the_tables_is_refused(here: Walled, new_postgresql: NewDatabase) -> None:
    engine = tenancy(here).guard(sa.create_engine(new_postgresql().set(username=here.role)))

    with tenant(1), pytest.raises(SetupError, match=r"the table is missing.*\n?.*row_wall_ddl\(\)"):
        engine.connect()

    engine.dispose()


def test_another_database_behind_the_same_engine_is_tested_before_it_is_used(
    here: Walled, guarded: Callable[..., Engine], new_postgresql: NewDatabase
) -> None:
    engine = guarded(poolclass=NullPool)
    assert events_of(engine, 1) == [1]
    elsewhere = new_postgresql().database

    @sa.event.listens_for(engine, "do_connect")
    def fail_over(_dialect: Any, _record: Any, _arguments: Any, parameters: dict[str, Any]) -> None:
        parameters["dbname"] = elsewhere

    with tenant(1), pytest.raises(SetupError, match="the table is missing"):
        engine.connect()


def test_a_server_that_is_not_there_is_the_drivers_error_each_time(here: Walled) -> None:
    engine = tenancy(here).guard(sa.create_engine("postgresql+psycopg://nobody@/none?host=/nowhere"))

    for _ in range(2):
        with tenant(1), pytest.raises(sa.exc.OperationalError):
            engine.connect()


def test_a_server_too_old_to_be_asked_is_refused_before_it_is_asked(
    here: Walled, guarded: Callable[..., Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = guarded()
    with engine.connect() as connection:
        pooled: Any = connection
        monkeypatch.setattr(engine.dialect, "server_version_info", (11, 22))
        with pytest.raises(SetupError, match=r"11\.22.*\n?.*[Uu]pdate"):
            tenancy(here).verify(pooled)


def test_a_missing_privilege_is_the_databases_error_and_shows_nothing(
    here: Walled, guarded: Callable[..., Engine]
) -> None:
    engine = guarded()
    spoil(here, "REVOKE SELECT ON events FROM {role}")
    try:
        with pytest.raises(sa.exc.ProgrammingError) as caught:
            events_of(engine, 1)
        with here.connection() as connection:
            remedies = "".join(finding.remedy for finding in here.drift(connection))
    finally:
        repair(here)

    assert getattr(caught.value.orig, "sqlstate", None) == "42501"
    assert re.search(rf"GRANT .*SELECT.* ON public\.events TO {here.role}", remedies)
    assert events_of(engine, 1) == [1]


def test_a_role_that_may_not_connect_is_the_databases_error(here: Walled, guarded: Callable[..., Engine]) -> None:
    spoil(here, f"REVOKE CONNECT ON DATABASE {here.url.database} FROM PUBLIC")
    try:
        with tenant(1), pytest.raises(sa.exc.OperationalError):
            guarded().connect()
    finally:
        spoil(here, f"GRANT CONNECT ON DATABASE {here.url.database} TO PUBLIC")


def test_autocommit_of_the_whole_engine_is_refused_for_what_it_is(here: Walled, guarded: Callable[..., Engine]) -> None:
    engine = guarded(isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with (
        tenant(1),
        pytest.raises((SetupError, RefusedStatementError), match="AUTOCOMMIT"),
        engine.connect() as connection,
    ):
        connection.execute(sa.select(EVENTS))


def test_what_is_altered_while_an_engine_runs_is_found_when_it_is_asked_for(
    here: Walled, guarded: Callable[..., Engine]
) -> None:
    """A limit: a server is tested once. Meanwhile the statement wall stands, but not for what is vouched for."""
    engine, made = guarded(), tenancy(here)
    vouched = made.vouch("SELECT tenant_id FROM events", reason="test")
    with tenant(1), engine.connect() as connection:
        spoil(here, "ALTER TABLE events DISABLE ROW LEVEL SECURITY")
        try:
            assert list(connection.scalars(sa.select(EVENTS.c.tenant_id))) == [1]
            assert sorted(connection.scalars(vouched)) == [1, 2]
            with pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
                made.verify(engine)
            with pytest.raises(RefusedStatementError):
                connection.execute(vouched)
            with pytest.raises(SetupError, match="ENABLE ROW LEVEL SECURITY"):
                engine.connect()
        finally:
            connection.rollback()
            repair(here)
