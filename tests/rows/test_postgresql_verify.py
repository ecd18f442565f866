"""The self-test finds every fault of the row wall, says what mends it, and that mends it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from partywall.rows.postgresql import drift
from partywall.errors import SetupError
from partywall.rows.postgresql.ddl import row_wall_ddl
from partywall.rows.postgresql.drift import OLDEST_RELEASES, findings
from partywall.rows.postgresql.facts import ask
from partywall.rows.postgresql.meant import meant
from partywall.rows.postgresql.verify import verify
from tests.conftest import NewDatabase
from tests.rows import walled
from tests.rows.walled import Walled, run

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
        "(tenant_id = (SELECT partywall.tenant_id()) OR current_setting('a.b', true) = 'admin')",
        "policy",
    ),
    "another function": (
        "CREATE FUNCTION public.tenant_id() RETURNS int LANGUAGE sql AS 'SELECT 2'; "
        "ALTER POLICY partywall_tenant ON events USING (tenant_id = (SELECT public.tenant_id()))",
        "policy",
    ),
    "another column": (
        "ALTER POLICY partywall_tenant ON note_marks USING (note_id = (SELECT partywall.tenant_id()))",
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
        "WHERE tenant_id = (SELECT partywall.tenant_id()) OR tenant_id = 2 WITH CHECK OPTION",
        "view",
    ),
    "the view without check": ("ALTER VIEW notes RESET (check_option)", "view"),
    "the view with a local check": ("ALTER VIEW notes SET (check_option = local)", "view"),
    "the view's owner": ("ALTER VIEW notes OWNER TO postgres", "view"),
    "the view over another table": (
        "CREATE TABLE elsewhere (LIKE partywall_base.notes); DROP VIEW notes; CREATE VIEW notes AS "
        "SELECT * FROM elsewhere WHERE tenant_id = (SELECT partywall.tenant_id()) WITH CHECK OPTION; "
        "ALTER VIEW notes OWNER TO {owner}",
        "view",
    ),
    "a column more than the view": ("ALTER TABLE partywall_base.notes ADD COLUMN more int", "view"),
    "the public view with secrets": (
        "CREATE OR REPLACE VIEW tenants_public AS SELECT slug, secret AS more FROM tenants",
        "view",
    ),
    "the public view of the owner": ("ALTER VIEW tenants_public OWNER TO {owner}", "view"),
    "the public view written": ("GRANT UPDATE ON tenants_public TO {role}", "privilege"),
    "a partition": ("GRANT SELECT ON events_low TO {role}", "partition"),
    "a column of a partition": ("GRANT SELECT (what) ON events_low TO PUBLIC", "partition"),
    "a child": (
        "CREATE TABLE more_marks () INHERITS (note_marks); GRANT SELECT ON more_marks TO {role}",
        "partition",
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
    "no schema": ("REVOKE USAGE ON SCHEMA partywall FROM {role}", "function"),
    "a foreign table": (
        "CREATE EXTENSION file_fdw; CREATE SERVER files FOREIGN DATA WRAPPER file_fdw; DROP TABLE note_marks; "
        "CREATE FOREIGN TABLE note_marks (id int, tenant_id int, note_id int) SERVER files OPTIONS (filename '/dev/null')",
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
    names = {"role": wall.role, "owner": wall.owner, "unscoped_role": wall.unscoped_role}
    for name, value in {**names, "database": str(wall.url.database)}.items():
        fault = fault.replace(f"{{{name}}}", value)
    run(connection, fault)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_its_remedy_mends_it(wall: Walled, fault: str) -> None:
    sql, rule = FAULTS[fault]
    with wall.connection() as connection:
        spoil(wall, connection, sql)

        drift = wall.drift(connection)
        complaint = wall.complaint(connection)

        assert rule in {finding.rule for finding in drift}, drift
        for finding in drift:
            assert (str(finding) in complaint) is (finding.rule != "missing privilege")
        if fault in WITHOUT_REMEDY:
            return
        wall.mend(connection, drift)
        wall.mend(connection, wall.drift(connection))  # what hid behind the first
        assert wall.drift(connection) == []
        assert wall.complaint(connection) == ""


def test_every_rule_has_a_fault() -> None:
    tree = ast.parse(Path(drift.__file__).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding"]
    rules = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}

    assert len(calls) > len(rules) > 15
    assert rules == {rule for _, rule in FAULTS.values()} | {"version", "keys", "revoked", "missing privilege"}
