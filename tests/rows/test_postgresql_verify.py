"""The self-test finds every fault of the row wall, says what mends it, and that mends it."""

from __future__ import annotations

import ast
import asyncio
import copy
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from partywall.errors import SetupError
from partywall.rows.postgresql import drift, surroundings
from partywall.rows.postgresql.facts import ask
from partywall.rows.postgresql.meant import meant
from partywall.rows.postgresql.tenant import padded_keys, tenant_sql
from partywall.rows.postgresql.verify import canary, verify
from tests.conftest import NewDatabase
from tests.rows import walled
from tests.rows.walled import Walled, run

pytestmark = pytest.mark.whatever_sqlalchemy

KEY = b"a key of thirty-two bytes or more"


@pytest.fixture(scope="session", params=["plain", "sealed"])
def wall(request: pytest.FixtureRequest, new_postgresql: NewDatabase) -> Iterator[Walled]:
    options = {"key": KEY} if request.param == "sealed" else {}
    made = walled.make(new_postgresql(), views={"notes"}, **options)
    yield made
    made.superuser.dispose()


def test_the_wall_as_it_is_put_up_passes(wall: Walled) -> None:
    with wall.connection() as connection:
        assert wall.complaint(connection) == ""
        assert wall.complaint(connection, unscoped=True) == ""
        assert wall.drift(connection) == []


def test_putting_it_up_again_changes_nothing(wall: Walled) -> None:
    with wall.connection() as connection:
        wall.put_up(connection)
        wall.put_up(connection)

        assert wall.complaint(connection) == ""
        assert wall.drift(connection) == []


# What is done to the database, by a superuser; the rule that finds it. {role} is the application's.
FAULTS = {
    "superuser": ("ALTER ROLE {role} SUPERUSER", "role"),
    "bypassrls": ("ALTER ROLE {role} BYPASSRLS", "role"),
    "createrole": ("ALTER ROLE {role} CREATEROLE", "role"),
    "replication": ("ALTER ROLE {role} REPLICATION", "role"),
    "member of the owner": ("GRANT {owner} TO {role}", "stronger role"),
    "member of a member of the owner": (
        "CREATE ROLE between NOINHERIT; GRANT {owner} TO between; GRANT between TO {role}",
        "stronger role",
    ),
    "member of the unscoped role": ("GRANT {unscoped_role} TO {role}", "stronger role"),
    "member of a superuser": ("CREATE ROLE strong SUPERUSER; GRANT strong TO {role}", "stronger role"),
    "member of a role that passes policies": ("CREATE ROLE b BYPASSRLS; GRANT b TO {role}", "stronger role"),
    "member of who reads all": ("GRANT pg_read_all_data TO {role}", "stronger role"),
    "member of who runs programs": ("GRANT pg_execute_server_program TO {role}", "stronger role"),
    "owns a table": ('ALTER TABLE billing."Order Lines" OWNER TO {role}', "owner"),
    "owns a schema": ("ALTER SCHEMA billing OWNER TO {role}", "owner"),
    "owner is unscoped": ("GRANT {unscoped_role} TO {owner} WITH INHERIT TRUE", "owner"),
    "disabled": ("ALTER TABLE events DISABLE ROW LEVEL SECURITY", "enabled"),
    "not forced": ("ALTER TABLE events NO FORCE ROW LEVEL SECURITY", "forced"),
    "policy dropped": ("DROP POLICY partywall_tenant ON events", "policy"),
    "policy opened": ("ALTER POLICY partywall_tenant ON events USING (true)", "policy"),
    "check opened": ("ALTER POLICY partywall_tenant ON events WITH CHECK (true)", "policy"),
    "an arm added": (
        "ALTER POLICY partywall_tenant ON events USING "
        "(tenant_id = {tenant} OR current_setting('a.b', true) = 'admin')",
        "policy",
    ),
    "another function": (
        "CREATE FUNCTION public.tenant_id() RETURNS int LANGUAGE sql AS 'SELECT 2'; "
        "ALTER POLICY partywall_tenant ON events USING (tenant_id = (SELECT public.tenant_id()))",
        "policy",
    ),
    "another column": (
        "ALTER POLICY partywall_tenant ON note_marks USING (note_id = {tenant})",
        "policy",
    ),
    "policy for everybody": ("ALTER POLICY partywall_tenant ON events TO PUBLIC", "policy"),
    "unscoped policy for everybody": ("ALTER POLICY partywall_unscoped ON events TO PUBLIC", "policy"),
    "unscoped policy for the role as well": (
        "ALTER POLICY partywall_unscoped ON events TO {unscoped_role}, {role}",
        "policy",
    ),
    "shared policy opened": ("ALTER POLICY partywall_shared ON templates USING (true)", "policy"),
    "another policy": ("CREATE POLICY more ON events FOR SELECT USING (true)", "other policy"),
    "a policy for a group": (
        "CREATE ROLE readers; GRANT readers TO {role}; CREATE POLICY more ON events TO readers USING (true)",
        "other policy",
    ),
    "truncate": ("GRANT TRUNCATE ON events TO {role}", "privilege"),
    "references": ("GRANT REFERENCES ON events TO PUBLIC", "privilege"),
    "trigger": ("GRANT TRIGGER ON events TO {role}", "privilege"),
    "writes tenants": ("GRANT UPDATE ON tenants TO {role}", "privilege"),
    "writes a column of tenants": ("GRANT UPDATE (secret) ON tenants TO {role}", "privilege"),
    "writes a shared table": ("GRANT INSERT ON countries TO PUBLIC", "privilege"),
    "through a group that it does not inherit": (
        "CREATE ROLE writers; GRANT writers TO {role} WITH INHERIT FALSE; GRANT DELETE ON countries TO writers",
        "privilege",
    ),
    "reads the table behind a view": ("GRANT SELECT ON partywall_base.notes TO {role}", "privilege"),
    "the view dropped": ("DROP VIEW notes", "relation"),
    "the view's table": ("DROP VIEW notes; CREATE TABLE notes (id int)", "relation"),
    "the view opened": ("CREATE OR REPLACE VIEW notes AS SELECT * FROM partywall_base.notes", "view"),
    "the view with an arm": (
        "CREATE OR REPLACE VIEW notes AS SELECT * FROM partywall_base.notes "
        "WHERE tenant_id = {tenant} OR tenant_id = 2 WITH CHECK OPTION",
        "view",
    ),
    "the view without check": ("ALTER VIEW notes RESET (check_option)", "view"),
    "the view with a local check": ("ALTER VIEW notes SET (check_option = local)", "view"),
    "the view's owner": ("ALTER VIEW notes OWNER TO postgres", "view"),
    "the view over another table": (
        "CREATE TABLE elsewhere (LIKE partywall_base.notes); DROP VIEW notes; CREATE VIEW notes AS "
        "SELECT * FROM elsewhere WHERE tenant_id = {tenant} WITH CHECK OPTION; "
        "ALTER VIEW notes OWNER TO {owner}",
        "view",
    ),
    "a column more than the view": ("ALTER TABLE partywall_base.notes ADD COLUMN more int", "view"),
    "the public view with secrets": (
        "CREATE OR REPLACE VIEW partywall_public_tenants AS SELECT slug, secret AS more FROM tenants",
        "view",
    ),
    "the public view of the owner": ("ALTER VIEW partywall_public_tenants OWNER TO {owner}", "view"),
    "the public view written": ("GRANT UPDATE ON partywall_public_tenants TO {role}", "privilege"),
    "a partition": ("GRANT SELECT ON events_low TO {role}", "partition"),
    "a column of a partition": ("GRANT SELECT (what) ON events_low TO PUBLIC", "partition"),
    "a child": (
        "CREATE TABLE more_marks () INHERITS (note_marks); GRANT SELECT ON more_marks TO {role}",
        "partition",
    ),
    "a parent": (
        "CREATE TABLE all_marks (LIKE note_marks); ALTER TABLE note_marks INHERIT all_marks; "
        "GRANT SELECT ON all_marks TO {role}",
        "partition",
    ),
    "a table that nobody declared": (
        "CREATE TABLE more (id int, tenant_id int); GRANT SELECT ON more TO {role}",
        "undeclared table",
    ),
    "new tables are open": ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "default privileges"),
    "new tables of a schema are open": (
        "ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA billing GRANT SELECT ON TABLES TO {role}",
        "default privileges",
    ),
    "a tenant from the start": ("ALTER ROLE {role} SET partywall.tenant = '1'", "setting"),
    "a tenant for all from the start": ("ALTER DATABASE {database} SET partywall.tenant = '1'", "setting"),
    "a tenant in this database from the start": (
        "ALTER ROLE {role} IN DATABASE {database} SET partywall.tenant = '1'",
        "setting",
    ),
    "a materialised view": (
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM events; GRANT SELECT ON totals TO {role}",
        "materialised view",
    ),
    "a materialised view of a partition": (
        "CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM events_low; GRANT SELECT ON totals TO PUBLIC",
        "materialised view",
    ),
    "a view of a view": (
        "CREATE VIEW inner_view AS SELECT * FROM events; CREATE VIEW outer_view AS SELECT * FROM inner_view; "
        "GRANT SELECT ON outer_view TO {role}",
        "view of its owner",
    ),
    "a view of the unscoped view": (
        "CREATE VIEW more AS SELECT * FROM partywall_base.notes; GRANT SELECT ON more TO {role}",
        "view of its owner",
    ),
    "a definer function": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM events'",
        "definer",
    ),
    "a definer function of the owner": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM events'; "
        "ALTER FUNCTION peek() OWNER TO {owner}",
        "definer",
    ),
    "a definer procedure": (
        "CREATE PROCEDURE wipe() LANGUAGE sql SECURITY DEFINER AS 'DELETE FROM events'",
        "definer",
    ),
    "a definer function that postgres keeps for the role": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM events'; "
        "REVOKE ALL ON FUNCTION peek() FROM PUBLIC; GRANT EXECUTE ON FUNCTION peek() TO {role}",
        "definer",
    ),
    "a definer function over a materialised view": (
        "CREATE ROLE reporter; CREATE MATERIALIZED VIEW totals AS SELECT * FROM events; "
        "GRANT SELECT ON totals TO reporter; "
        "CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT what FROM totals'; "
        "ALTER FUNCTION peek() OWNER TO reporter",
        "definer",
    ),
    "a definer function over a view": (
        "CREATE ROLE reporter; CREATE VIEW totals AS SELECT * FROM events; GRANT SELECT ON totals TO reporter; "
        "CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT what FROM totals'; "
        "ALTER FUNCTION peek() OWNER TO reporter",
        "definer",
    ),
    "a definer function over another one": (
        "CREATE ROLE reporter; "
        "CREATE FUNCTION peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT what FROM events'; "
        "REVOKE ALL ON FUNCTION peek() FROM PUBLIC; GRANT EXECUTE ON FUNCTION peek() TO reporter; "
        "CREATE FUNCTION outer_peek() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER AS 'SELECT peek()'; "
        "ALTER FUNCTION outer_peek() OWNER TO reporter",
        "definer",
    ),
    "a definer trigger": (
        "CREATE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "'BEGIN NEW.what := (SELECT string_agg(what, '','') FROM events); RETURN NEW; END'; "
        "CREATE TRIGGER peek BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION peek()",
        "definer",
    ),
    "a definer trigger of another table": (
        "CREATE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'; "
        "CREATE TABLE more (id int); GRANT INSERT ON more TO PUBLIC; "
        "CREATE TRIGGER peek BEFORE INSERT ON more FOR EACH ROW EXECUTE FUNCTION peek()",
        "definer",
    ),
    "a rule of another table": (
        "CREATE TABLE more (id int); GRANT INSERT ON more TO {role}; "
        "CREATE RULE \"so to say\" AS ON INSERT TO more DO INSTEAD UPDATE events SET what = 'ruled'",
        "rule",
    ),
    "a table that nobody declared with a policy of its own": (
        "CREATE TABLE more (id int, tenant_id int); ALTER TABLE more ENABLE ROW LEVEL SECURITY; "
        "CREATE POLICY every ON more USING (true); GRANT SELECT ON more TO {role}",
        "undeclared table",
    ),
    "a view of a table that nobody declared": (
        "CREATE TABLE more (id int, tenant_id int); CREATE VIEW most AS SELECT * FROM more; "
        "GRANT SELECT ON most TO {role}",
        "view of its owner",
    ),
    "leakproof": (
        "CREATE FUNCTION leak(int) RETURNS bool LANGUAGE plpgsql LEAKPROOF AS 'BEGIN RAISE NOTICE ''%'', $1; "
        "RETURN true; END'",
        "leakproof",
    ),
    "creates in a schema": ("GRANT CREATE ON SCHEMA public TO PUBLIC", "create"),
    "creates schemas": ("GRANT CREATE ON DATABASE {database} TO {role}", "create"),
    "the function opened": (
        "CREATE OR REPLACE FUNCTION partywall.tenant_id() RETURNS int LANGUAGE sql STABLE AS 'SELECT 2'",
        "function",
    ),
    "the function dropped": ("DROP FUNCTION partywall.tenant_id() CASCADE", "function"),
    "the function closed": ("REVOKE EXECUTE ON FUNCTION partywall.tenant_id() FROM {role}", "function"),
    "the function of the role": ("ALTER FUNCTION partywall.tenant_id() OWNER TO {role}", "function"),
    "the function with a path": ("ALTER FUNCTION partywall.tenant_id() SET search_path = public", "function"),
    "no usage": ("REVOKE USAGE ON SCHEMA partywall FROM {role}", "function"),
    "a foreign table": (
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; DROP TABLE note_marks; "
        "CREATE FOREIGN TABLE note_marks (id int, tenant_id int, note_id int) SERVER files "
        "OPTIONS (filename '/dev/null')",
        "relation",
    ),
    "a table that is missing": ("DROP TABLE note_marks", "relation"),
    "a rule": (
        "CREATE RULE also AS ON INSERT TO note_marks DO ALSO INSERT INTO events VALUES (9, 9, 'rule')",
        "rule",
    ),
}

# Nothing that SQL could mend: the application's table is gone, or the name is a table that nobody declared.
WITHOUT_REMEDY = {"a foreign table", "a table that is missing", "the view's table"}


def spoil(wall: Walled, connection: sa.Connection, fault: str) -> None:
    tenant = tenant_sql(wall.wall, wall.tables.tenant_type)
    names = {"tenant": tenant, "role": wall.role, "owner": wall.owner, "unscoped_role": wall.unscoped_role}
    for name, value in {**names, "database": str(wall.url.database)}.items():
        fault = fault.replace(f"{{{name}}}", value)
    run(connection, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_its_remedy_mends_it(wall: Walled, fault: str) -> None:
    sql, rule = FAULTS[fault]
    if rule == "function" and not wall.wall.is_sealed:
        return  # a plain wall has no function
    with wall.connection() as connection:
        spoil(wall, connection, sql)

        drift = wall.drift(connection)
        complaint = wall.complaint(connection)

        assert rule in {finding.rule for finding in drift}, drift
        for finding in drift:
            if wall.unscoped_role not in str(finding):  # that one's own self-test finds it
                assert (str(finding) in complaint) is (finding.rule != "missing privilege"), finding
        if fault in WITHOUT_REMEDY:
            return
        wall.mend(connection)
        assert wall.drift(connection) == []
        assert wall.complaint(connection) == ""


def test_every_rule_has_a_fault() -> None:
    trees = [ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")) for module in (drift, surroundings)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding"]
    rules = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}

    assert len(calls) > len(rules) > 15
    assert rules == {rule for _, rule in FAULTS.values()} | {"version", "keys", "revoked", "missing privilege"}


def mutations(wall: Walled) -> Iterator[str]:
    """Yield what undoes or opens each piece of the wall, one by one, derived from what it is made of."""
    for relation in meant(wall.tables, wall.wall).relations:
        if relation.is_view:
            base = ".".join(f'"{name}"' for name in relation.base or ())
            yield f"DROP VIEW {relation.sql}"
            yield f"ALTER VIEW {relation.sql} OWNER TO postgres"
            if relation.where is not None:
                for where in ("", f"WHERE {relation.where}", "WHERE true WITH CHECK OPTION"):
                    yield f"CREATE OR REPLACE VIEW {relation.sql} AS SELECT * FROM {base} {where}"
        for policy in relation.policies:
            yield f"DROP POLICY {policy.name} ON {relation.sql}"
            for clause in ("USING",) if policy.check is None else ("USING", "WITH CHECK"):
                yield f"ALTER POLICY {policy.name} ON {relation.sql} {clause} (2 > 1)"
            for role in ("PUBLIC", f"{wall.role}, {wall.unscoped_role}"):
                yield f"ALTER POLICY {policy.name} ON {relation.sql} TO {role}"
        if relation.policies:
            yield f"ALTER TABLE {relation.sql} DISABLE ROW LEVEL SECURITY"
            yield f"ALTER TABLE {relation.sql} NO FORCE ROW LEVEL SECURITY"
            for command in ("ALL", "SELECT", "UPDATE"):
                yield f"CREATE POLICY other ON {relation.sql} FOR {command} USING (true)"
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"):
            yield f"GRANT {privilege} ON {relation.sql} TO PUBLIC"
            if privilege not in relation.privileges.get(wall.role, frozenset()):
                yield f"GRANT {privilege} ON {relation.sql} TO {wall.role}"
    if wall.wall.is_sealed:
        for change in ("VOLATILE", "SET work_mem = '1MB'", "PARALLEL UNSAFE", "SECURITY INVOKER", "LEAKPROOF"):
            yield f"ALTER FUNCTION partywall.tenant_id() {change}"
        yield "CREATE FUNCTION partywall.tenant_id(int) RETURNS int LANGUAGE sql AS 'SELECT 2'"
        yield "DROP TABLE partywall.seal_keys"
        for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            yield f"GRANT {privilege} ON partywall.seal_keys TO {wall.role}"
        yield "GRANT SELECT (inner_key) ON partywall.seal_keys TO PUBLIC"


def test_every_piece_that_is_undone_or_opened_is_found(wall: Walled) -> None:
    survivors, count = [], 0
    with wall.connection() as connection:
        for mutation in mutations(wall):
            savepoint = connection.begin_nested()
            run(connection, mutation)
            if not wall.complaint(connection):
                survivors.append(mutation)
            savepoint.rollback()
            count += 1

    assert survivors == []
    assert count > 150


def test_a_key_is_never_in_a_finding(wall: Walled) -> None:
    secrets = (KEY.decode(), KEY.hex(), *padded_keys(KEY))
    with wall.connection() as connection:
        run(connection, "DROP SCHEMA IF EXISTS partywall CASCADE; DROP TABLE events CASCADE")
        complaint = wall.complaint(connection)

    assert ("partywall.tenant_id()" in complaint) is wall.wall.is_sealed
    assert not [secret for secret in secrets if secret[:16] in complaint]


def test_another_key_or_time_than_the_databases_is_found(wall: Walled) -> None:
    if not wall.wall.is_sealed:
        return
    with wall.connection() as connection:
        wall.become(connection, wall.role)
        for other in ({"key": b"x" * 32}, {"token_lifetime": -60}):
            walls = copy.copy(wall.wall)
            for name, value in other.items():
                object.__setattr__(walls, name, value)  # past the check of a lifetime
            with pytest.raises(SetupError, match="does not take our seal"):
                verify(connection, wall.tables, walls)


def test_a_large_table_is_sampled_also_if_it_is_partitioned(wall: Walled) -> None:
    sent: list[str] = []
    with wall.connection() as connection:
        run(connection, "SET LOCAL search_path = partywall_base, public")
        wall.become(connection, wall.unscoped_role)
        run(connection, "INSERT INTO events SELECT i, 1, 'xxxxxxxxxxxxxxxxxxxx' FROM generate_series(2000, 80000) i")
        run(connection, "INSERT INTO note_marks SELECT i, 1, 1 FROM generate_series(1000, 80000) i")
        run(connection, "SET LOCAL search_path = public")
        wall.become(connection, wall.role)
        sa.event.listen(connection, "before_cursor_execute", lambda *given: sent.append(given[2]))
        verify(connection, wall.tables, wall.wall)

    with wall.superuser.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        run(connection, "VACUUM events, note_marks")  # the pages of what was rolled back
    shares = dict(re.findall(r"FROM public\.(\w+) TABLESAMPLE SYSTEM \(([\d.]+)\)", sent[-1]))
    assert float(shares["templates"]) == 100
    assert 1 < float(shares["events"]) < 50
    assert 1 < float(shares["note_marks"]) < 50


def test_another_role_than_the_declared_one_is_found(wall: Walled) -> None:
    for url in (wall.url, wall.url.set(username="postgres"), wall.url.set(username=wall.unscoped_role)):
        engine = sa.create_engine(url)
        with engine.connect() as connection, pytest.raises(SetupError, match="connected with session_user"):
            verify(connection, wall.tables, wall.wall)
        engine.dispose()


def test_a_role_that_was_taken_by_set_role_is_found(wall: Walled) -> None:
    with wall.connection() as connection:
        run(connection, f"SET ROLE {wall.role}")
        with pytest.raises(SetupError, match="session_user postgres"):
            verify(connection, wall.tables, wall.wall)


def test_row_security_that_is_off_in_the_session_does_no_harm(wall: Walled) -> None:
    with wall.connection() as connection:
        wall.become(connection, wall.role, tenant=1)
        run(connection, "SET LOCAL row_security = off")
        with pytest.raises(sa.exc.ProgrammingError, match="would be affected by row-level security"):
            run(connection, "SELECT * FROM events")


def test_a_name_that_stands_for_another_table_is_found(wall: Walled) -> None:
    with wall.connection() as connection:
        run(connection, "CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.events (id int)")
        run(connection, f"GRANT USAGE ON SCHEMA elsewhere TO {wall.role}")
        run(connection, "SET LOCAL search_path = elsewhere, public")
        assert "stands for another table" in wall.complaint(connection)
        run(connection, "SET LOCAL search_path = public")
        wall.become(connection, wall.role)
        run(connection, "CREATE TEMP TABLE events (id int)")
        assert "stands for another table" in wall.complaint(connection)


def test_an_unscoped_session_that_would_meet_the_view_is_found(wall: Walled) -> None:
    with wall.connection() as connection:
        wall.become(connection, wall.unscoped_role)
        with pytest.raises(SetupError, match="stands for the view") as caught:
            verify(connection, wall.tables, wall.wall, unscoped=True)
        assert f"ALTER ROLE {wall.unscoped_role} SET search_path = partywall_base, public" in str(caught.value)


def test_the_canary_sees_a_row_whatever_the_catalogs_say(wall: Walled) -> None:
    with wall.connection() as connection:
        wall.become(connection, wall.role)
        facts = ask(connection, meant(wall.tables, wall.wall), wall.role)
        wall.become(connection, None)
        run(connection, "ALTER TABLE note_marks DISABLE ROW LEVEL SECURITY")
        run(connection, "ALTER TABLE events DISABLE ROW LEVEL SECURITY")
        run(connection, "CREATE OR REPLACE VIEW notes AS SELECT * FROM partywall_base.notes")
        wall.become(connection, wall.role)

        sung = {finding.subject for finding in canary(connection, meant(wall.tables, wall.wall), facts)}

        assert sung == {"public.note_marks", "public.events", "public.notes"}


def test_a_missing_privilege_is_drift_but_no_hole(wall: Walled) -> None:
    with wall.connection() as connection:
        run(connection, f"REVOKE DELETE ON events FROM {wall.role}; REVOKE USAGE ON SCHEMA billing FROM {wall.role}")
        assert {finding.rule for finding in wall.drift(connection)} == {"missing privilege"}
        assert wall.complaint(connection) == ""
        wall.mend(connection)
        assert wall.drift(connection) == []


@pytest.mark.parametrize(("version", "is_held"), [
    (130021, False), (140018, False), (150013, False), (160009, False), (170005, False), (120022, False),
    (130022, True), (140019, True), (150014, True), (160010, True), (170006, True), (180000, True), (190001, True),
])  # fmt: skip
def test_a_release_with_known_holes_is_refused(wall: Walled, version: int, is_held: bool) -> None:
    whole = meant(wall.tables, wall.wall)
    with wall.connection() as connection:
        facts = ask(connection, whole, wall.role)
    session = {**facts.session, "version": version}

    found = drift.findings(whole, dataclasses.replace(facts, session=session))

    assert ("version" in {finding.rule for finding in found}) is not is_held


def test_what_was_to_be_revoked_is_found(new_postgresql: NewDatabase) -> None:
    made = walled.make(new_postgresql(), revoke={"set_config", "temp"})
    with made.connection() as connection:
        assert made.complaint(connection) == ""
        run(connection, f"GRANT TEMPORARY ON DATABASE {made.url.database} TO PUBLIC")
        run(connection, "GRANT EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) TO PUBLIC")
        assert [finding.rule for finding in made.drift(connection)] == ["revoked", "revoked"]
        made.mend(connection)
        assert made.complaint(connection) == ""
    made.superuser.dispose()


@pytest.mark.parametrize("fault", ["superuser", "bypassrls", "owns", "disabled", "policy"])
def test_the_unscoped_role_is_tested_as_well(wall: Walled, fault: str) -> None:
    sql = {
        "superuser": f"ALTER ROLE {wall.unscoped_role} SUPERUSER",
        "bypassrls": f"ALTER ROLE {wall.unscoped_role} BYPASSRLS",
        "owns": f"ALTER TABLE events OWNER TO {wall.unscoped_role}",
        "disabled": "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
        "policy": "DROP POLICY partywall_unscoped ON events",
    }[fault]
    with wall.connection() as connection:
        run(connection, sql)
        assert wall.complaint(connection, unscoped=True)


def test_a_test_takes_three_round_trips_and_two_for_a_seal(wall: Walled) -> None:
    sent: list[str] = []
    with wall.connection() as connection:
        wall.become(connection, wall.role)
        sa.event.listen(connection, "before_cursor_execute", lambda *given: sent.append(given[2]))
        verify(connection, wall.tables, wall.wall)

    assert len(sent) == (5 if wall.wall.is_sealed else 3)


@pytest.mark.parametrize("driver", ["psycopg2", "asyncpg"])
def test_every_driver_takes_the_questions_as_they_stand(wall: Walled, driver: str) -> None:
    url = wall.url.set(drivername=f"postgresql+{driver}", username=wall.role)
    if driver == "psycopg2":
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            verify(connection, wall.tables, wall.wall)
        engine.dispose()
        return

    async def run_async() -> None:
        async_engine = create_async_engine(url)
        async with async_engine.connect() as connection:
            await connection.run_sync(verify, wall.tables, wall.wall)
        await async_engine.dispose()

    asyncio.run(run_async())


def test_a_tenant_from_the_start_of_the_session_is_found(wall: Walled) -> None:
    url = wall.url.set(username=wall.role)
    engine = sa.create_engine(url, connect_args={"options": "-c partywall.tenant=1"})
    with engine.connect() as connection, pytest.raises(SetupError, match="before any tenant is told"):
        verify(connection, wall.tables, wall.wall)
    engine.dispose()


HARMLESS = {
    "a definer function of who may read nothing": (
        "CREATE ROLE nobody; CREATE TABLE more (id int); GRANT INSERT ON more TO nobody; "
        "CREATE FUNCTION note() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'INSERT INTO more VALUES (1)'; "
        "ALTER FUNCTION note() OWNER TO nobody"
    ),
    "a definer function that the role may not call": (
        "CREATE FUNCTION peek() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM events'; "
        "REVOKE ALL ON FUNCTION peek() FROM PUBLIC"
    ),
    "a trigger that is its caller's": (
        "CREATE FUNCTION peek() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; "
        "CREATE TRIGGER peek BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION peek()"
    ),
    "a table that nobody declared and the role cannot read": "CREATE TABLE more (id int, tenant_id int)",
}


@pytest.mark.parametrize("sql", HARMLESS.values(), ids=HARMLESS)
def test_what_opens_nothing_is_no_fault(wall: Walled, sql: str) -> None:
    with wall.connection() as connection:
        spoil(wall, connection, sql)

        assert wall.drift(connection) == []
        assert wall.complaint(connection) == ""
