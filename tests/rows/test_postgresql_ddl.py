"""What the database lets a role do behind the wall that our DDL puts up, with no other wall."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from partywall import Tenancy
from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.encoding import encode
from partywall.rows.postgresql.ddl import row_wall_ddl, take_down_ddl
from partywall.rows.postgresql.drift import find_drift
from partywall.rows.seal import seal
from tests.conftest import NewDatabase
from tests.rows import walled
from tests.rows.walled import RESTRICTED, Walled, refused, rows, run

pytestmark = pytest.mark.whatever_sqlalchemy

POSTGRESQL: Any = sa.create_mock_engine("postgresql://", lambda *_: None).dialect
KEY = b"a key of thirty-two bytes or more"


@pytest.fixture(scope="session", params=["policies", "a view"])
def wall(request: pytest.FixtureRequest, new_postgresql: NewDatabase) -> Iterator[Walled]:
    made = walled.make(new_postgresql(), views={"notes"} if request.param == "a view" else ())
    yield made
    made.superuser.dispose()


@pytest.fixture(scope="session")
def sealed(new_postgresql: NewDatabase) -> Iterator[Walled]:
    made = walled.make(new_postgresql(), key=KEY, views={"notes"})
    yield made
    made.superuser.dispose()


@pytest.fixture
def as_one(wall: Walled) -> Iterator[Connection]:
    """Return a connection of the role, for tenant 1."""
    with wall.connection() as connection:
        wall.become(connection, wall.role, tenant=1)
        yield connection


def tenant_column(table: str) -> str:
    return "id" if table == "tenants" else "tenant_id"


@pytest.mark.parametrize("table", RESTRICTED)
def test_a_tenant_sees_its_own_rows(wall: Walled, as_one: Connection, table: str) -> None:
    seen = {row[0] for row in rows(as_one, f"SELECT {tenant_column(table)} FROM {table}")}

    assert seen == ({1, None} if table == "templates" else {1})


@pytest.mark.parametrize("table", RESTRICTED)
@pytest.mark.parametrize("setting", ["unset", "empty", "of nobody"])
def test_without_a_tenant_no_row_is_seen(wall: Walled, table: str, setting: str) -> None:
    with wall.connection() as connection:
        if setting == "unset":
            run(connection, f"SET LOCAL SESSION AUTHORIZATION {wall.role}")
        else:
            wall.become(connection, wall.role, tenant=None if setting == "empty" else 99)
        assert [row for row in rows(connection, f"SELECT {tenant_column(table)} FROM {table}") if row[0]] == []


@pytest.mark.parametrize("table", RESTRICTED)
def test_the_unscoped_role_sees_and_writes_every_row(wall: Walled, table: str) -> None:
    with wall.connection() as connection:
        wall.become(connection, wall.unscoped_role)
        run(connection, "SET LOCAL search_path = partywall_base, public")
        assert {1, 2} <= {row[0] for row in rows(connection, f"SELECT {tenant_column(table)} FROM {table}")}
        run(connection, f"UPDATE {table} SET id = id")


@pytest.mark.parametrize("table", RESTRICTED)
def test_the_owner_sees_nothing_of_a_table_with_policies(wall: Walled, table: str) -> None:
    with wall.connection() as connection:
        wall.become(connection, wall.owner, tenant=None)
        seen = rows(connection, f"SELECT {tenant_column(table)} FROM {table}")

    assert seen == []


# What tenant 1 tries, and the SQLSTATE or the number of rows; "{t}" is each table that tenants write.
WRITES = [
    ("UPDATE {t} SET id = id WHERE tenant_id = 2", 0),
    ("DELETE FROM {t} WHERE tenant_id = 2", 0),
    ("DELETE FROM {t} WHERE tenant_id IS NULL", 0),
    ("UPDATE {t} SET tenant_id = 2", "refused"),
    ("INSERT INTO {t} (tenant_id) VALUES (2)", "refused"),
    ("INSERT INTO {t} (tenant_id) VALUES (1) RETURNING id", 1),
    ("INSERT INTO {t} (tenant_id) SELECT 2 FROM {t}", "refused"),
    ("MERGE INTO {t} USING (VALUES (1)) AS s (x) ON tenant_id = 2 WHEN MATCHED THEN DELETE", 0),
    ("TRUNCATE {t}", "refused"),
    ("SELECT FROM {t} WHERE tenant_id = 2 FOR UPDATE", 0),
]


@pytest.mark.parametrize("table", [table for table in RESTRICTED if table not in ("tenants", "note_marks")])
@pytest.mark.parametrize(("sql", "outcome"), WRITES)
def test_a_tenant_writes_its_own_rows(as_one: Connection, table: str, sql: str, outcome: int | str) -> None:
    if outcome == "refused":
        with pytest.raises(sa.exc.ProgrammingError) as caught:
            run(as_one, sql.format(t=table))
        assert caught.value.orig.sqlstate in ("42501", "44000", "42809")  # type: ignore[union-attr]  # psycopg's
    else:
        assert run(as_one, sql.format(t=table)).rowcount == outcome


def test_shared_rows_are_read_and_not_written(as_one: Connection) -> None:
    assert rows(as_one, "SELECT name FROM templates WHERE tenant_id IS NULL") == [("shared",)]
    assert run(as_one, "UPDATE templates SET name = 'x' WHERE tenant_id IS NULL").rowcount == 0
    for sql in ("INSERT INTO templates (tenant_id) VALUES (NULL)", "UPDATE templates SET tenant_id = NULL"):
        with refused(as_one, "row-level security"):
            run(as_one, sql)


TAKES_OVER = [
    # Tenant 2's row has the id 3: the WHERE of a view alone is not asked of the row that is there.
    "INSERT INTO notes (id, tenant_id) VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET tenant_id = 1",
    "INSERT INTO notes (id, tenant_id) VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET tenant_id = 1, text = 'mine' "
    "RETURNING *",
    "INSERT INTO notes (id, tenant_id) VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET text = 'mine'",
    "INSERT INTO notes (id, tenant_id) VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET tenant_id = 1 "
    "WHERE notes.text = 'alike'",
]


@pytest.mark.parametrize("sql", TAKES_OVER)
def test_an_upsert_takes_no_row_of_another_tenant(as_one: Connection, sql: str) -> None:
    with pytest.raises(sa.exc.ProgrammingError, match="row-level security"):
        run(as_one, sql)


def test_without_policies_behind_it_a_view_lets_an_upsert_take_a_row(sealed: Walled) -> None:
    """Take the protection out: this is what the table's own policies are for."""
    with sealed.connection() as connection:
        run(connection, "ALTER TABLE partywall_base.notes DISABLE ROW LEVEL SECURITY")
        sealed.become(connection, sealed.role, tenant=token(connection))
        assert run(connection, TAKES_OVER[0]).rowcount == 1
        assert (3,) in rows(connection, "SELECT id FROM notes")


TELL = (  # it is the cheapest, so that the planner would like to ask it first
    "CREATE FUNCTION pg_temp.tell(id int) RETURNS bool LANGUAGE plpgsql COST 0.0001 AS "
    "'BEGIN IF id = 3 THEN RAISE EXCEPTION ''seen''; END IF; RETURN true; END'"  # 3 is a row of tenant 2
)
TELLS = [
    "SELECT pg_temp.tell(id) FROM notes",
    "SELECT FROM notes WHERE pg_temp.tell(id)",
    "SELECT FROM notes WHERE pg_temp.tell(id) AND text LIKE 'al%'",
    "SELECT FROM notes WHERE id = 3 AND pg_temp.tell(id)",
    "SELECT FROM notes WHERE id IN (3, 4) AND pg_temp.tell(id)",
    "SELECT FROM notes WHERE id = 3 OR pg_temp.tell(id)",
    "SELECT FROM notes WHERE tenant_id = 2 AND pg_temp.tell(id)",
    "SELECT FROM notes WHERE CASE WHEN pg_temp.tell(id) THEN true END",
    "SELECT FROM notes a JOIN notes b ON pg_temp.tell(a.id) AND pg_temp.tell(b.id)",
    "SELECT FROM (VALUES (3), (4)) v (x) JOIN notes n ON n.id = v.x AND pg_temp.tell(n.id + v.x - v.x)",
    "SELECT FROM (VALUES (3), (4)) v (x) LEFT JOIN notes n ON n.id = v.x AND pg_temp.tell(n.id)",
    "SELECT FROM (VALUES (3), (4)) v (x), LATERAL (SELECT FROM notes n WHERE pg_temp.tell(n.id) AND n.id = x) l",
    "SELECT FROM note_marks m JOIN notes n ON n.id = m.note_id WHERE pg_temp.tell(n.id)",
    "SELECT count(*) FILTER (WHERE pg_temp.tell(id)) FROM notes",
    "SELECT text FROM notes GROUP BY text HAVING bool_and(pg_temp.tell(id))",
    "SELECT id FROM notes ORDER BY pg_temp.tell(id) LIMIT 1",
    "SELECT EXISTS (SELECT FROM notes WHERE pg_temp.tell(id))",
    "SELECT FROM notes WHERE (SELECT pg_temp.tell(notes.id))",
    "WITH n AS (SELECT * FROM notes) SELECT FROM n WHERE pg_temp.tell(id)",
    "SELECT FROM (SELECT * FROM notes OFFSET 0) n WHERE pg_temp.tell(id)",
    "SELECT FROM notes WHERE pg_temp.tell(id) UNION ALL SELECT FROM notes WHERE pg_temp.tell(id)",
    "SELECT FROM notes WHERE pg_temp.tell(id) FOR UPDATE",
    "UPDATE notes SET text = 'x' WHERE pg_temp.tell(id)",
    "UPDATE notes SET text = 'x' FROM notes n WHERE pg_temp.tell(notes.id) AND pg_temp.tell(n.id)",
    "DELETE FROM notes WHERE pg_temp.tell(id) AND id > 1",
    "DELETE FROM note_marks m USING notes n WHERE pg_temp.tell(n.id) AND m.note_id = n.id",
    "UPDATE notes SET text = pg_temp.tell(id)::text RETURNING pg_temp.tell(id)",
]
PLANS = [
    "",
    "enable_seqscan",
    "enable_indexscan, enable_bitmapscan",
    "enable_hashjoin, enable_mergejoin",
    "enable_nestloop",
]


@pytest.mark.parametrize("sql", TELLS)
def test_a_function_of_the_roles_own_sees_no_row_of_another_tenant(wall: Walled, sql: str) -> None:
    """
    Not behind a view either.

    The policies behind it, though they let all be read, make the planner ask a leakproof comparison, which the view's
    is, before anything that may tell (order_qual_clauses in PostgreSQL's createplan.c).
    """
    for plan in PLANS:
        with wall.connection() as connection:
            wall.become(connection, wall.role, tenant=1)
            run(connection, TELL)
            for setting in filter(None, plan.split(", ")):
                run(connection, f"SET LOCAL {setting} = off")
            run(connection, sql)


def test_nor_does_it_behind_a_sealed_view(sealed: Walled) -> None:
    with sealed.connection() as connection:
        sealed.become(connection, sealed.role, tenant=token(connection))
        run(connection, TELL)
        for sql in TELLS:
            savepoint = connection.begin_nested()
            run(connection, sql)
            savepoint.rollback()


def test_without_policies_behind_it_a_view_lets_such_a_function_see_every_row(sealed: Walled) -> None:
    """Take the protection out."""
    with sealed.connection() as connection:
        run(connection, "ALTER TABLE partywall_base.notes DISABLE ROW LEVEL SECURITY")
        sealed.become(connection, sealed.role, tenant=token(connection))
        run(connection, TELL)
        for sql in (TELLS[1], TELLS[3]):
            with refused(connection, "seen"):
                run(connection, sql)


LOOKS = [
    "SELECT query_to_xml('SELECT * FROM events', true, false, '')::text",
    "SELECT table_to_xml('events', true, false, '')::text",
    "SELECT table_to_xml('notes', true, false, '')::text",
    "SELECT schema_to_xml('public', true, false, '')::text",
    "SELECT query_to_xml('SELECT * FROM tenants', true, false, '')::text",
    "SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', what) FROM events')",
    "SELECT * FROM ONLY templates",
    "SELECT * FROM events TABLESAMPLE SYSTEM (100)",
    "SELECT events FROM events",
    "SELECT notes::text FROM notes",
    "SELECT string_agg(what, ',') OVER () FROM events",
    "TABLE notes",
    "SELECT secret FROM tenants",
    "CREATE TEMP TABLE mine AS SELECT * FROM events; SELECT * FROM mine",
    "CREATE TEMP VIEW mine AS SELECT * FROM notes; SELECT * FROM mine",
    "CREATE TEMP VIEW mine WITH (security_invoker) AS SELECT * FROM events; SELECT * FROM mine",
    "CREATE FUNCTION pg_temp.mine() RETURNS SETOF events LANGUAGE sql SECURITY DEFINER AS 'SELECT * FROM events'; "
    "SELECT * FROM pg_temp.mine()",
    "WITH gone AS (DELETE FROM events RETURNING *) SELECT * FROM gone",
    "SELECT most_common_vals::text, histogram_bounds::text FROM pg_stats WHERE tablename IN ('events', 'notes')",
    "SELECT * FROM notes n FULL JOIN events e ON n.id = e.id",
    "DECLARE c CURSOR FOR SELECT * FROM events; FETCH ALL FROM c",
    "COPY templates TO STDOUT",
    "COPY (SELECT * FROM notes) TO STDOUT",
    "COPY (SELECT query_to_xml('TABLE events', true, false, '')) TO STDOUT",
]


@pytest.mark.parametrize("sql", LOOKS)
def test_no_way_to_look_shows_another_tenants_row(wall: Walled, sql: str) -> None:
    with wall.connection() as connection:
        run(connection, "UPDATE events SET what = CASE tenant_id WHEN 1 THEN 'mine' ELSE 'theirs' END")
        run(connection, "UPDATE templates SET name = CASE tenant_id WHEN 1 THEN 'mine' ELSE 'theirs' END WHERE id < 3")
        run(connection, "SET LOCAL search_path = partywall_base, public")
        run(connection, "UPDATE notes SET text = CASE tenant_id WHEN 1 THEN 'mine' ELSE 'theirs' END")
        run(connection, "UPDATE tenants SET secret = CASE id WHEN 1 THEN 'mine' ELSE 'theirs' END")
        run(connection, "ANALYZE events; ANALYZE notes; SET LOCAL search_path = public")
        for tenant, seen, unseen in ((1, "mine", "theirs"), (2, "theirs", "mine")):
            savepoint = connection.begin_nested()
            wall.become(connection, wall.role, tenant=tenant)
            try:
                text = shown(connection, sql)
            except psycopg.errors.FeatureNotSupported:
                assert "xml" in sql  # the server was built without it
                return
            assert unseen not in text
            assert seen in text or "pg_stats" in sql
            savepoint.rollback()


def shown(connection: Connection, sql: str) -> str:
    """Return all that the last statement shows, as text."""
    cursor = connection.connection.cursor()
    if sql.startswith("COPY"):
        with cursor.copy(sql) as copied:
            return "".join(bytes(part).decode() for part in copied)
    *first, last = sql.split("; ")
    for statement in first:
        cursor.execute(statement)
    cursor.execute(last)
    return str(cursor.fetchall())


@pytest.mark.parametrize("mode", ["auto", "force_generic_plan", "force_custom_plan"])
@pytest.mark.parametrize("table", ["events", "notes"])
def test_a_prepared_statement_serves_the_tenant_who_runs_it(
    wall: Walled, sealed: Walled, mode: str, table: str
) -> None:
    for each in (wall, sealed):
        with each.connection() as connection:
            run(connection, f"SET LOCAL plan_cache_mode = {mode}")
            each.become(connection, each.role)
            run(connection, f"PREPARE seen AS SELECT DISTINCT tenant_id FROM {table}")
            for tenant in (1, 2, 1, None, 2, 1, 1, 2):
                text = token(connection, tenant=str(tenant)) if each.wall.is_sealed and tenant else tenant
                run(connection, f"SET LOCAL partywall.tenant = '{text or ''}'")
                assert rows(connection, "EXECUTE seen") == ([] if tenant is None else [(tenant,)])


def test_an_upsert_on_a_key_that_tenants_share_answers_questions(as_one: Connection) -> None:
    """A limit of PostgreSQL's: DO UPDATE asks its WHERE before the policy. The cure is a key with the tenant in it."""
    upsert = (
        "INSERT INTO notes (id, tenant_id) VALUES (3, 1) ON CONFLICT (id) DO UPDATE SET text = '' WHERE notes.text ="
    )
    assert run(as_one, f"{upsert} 'other'").rowcount == 0
    with refused(as_one, "row-level security"):
        run(as_one, f"{upsert} 'alike'")


def test_an_upsert_of_an_own_row_works(as_one: Connection) -> None:
    upsert = "INSERT INTO notes (id, tenant_id) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET text = 'new' RETURNING id"
    assert rows(as_one, upsert) == [(1,)]


def test_defaults_generated_ids_and_keys_work(as_one: Connection) -> None:
    (note,) = rows(as_one, "INSERT INTO notes (tenant_id) VALUES (1) RETURNING id, text")
    assert note[1] == "new"
    run(as_one, f"INSERT INTO note_marks (tenant_id, note_id) VALUES (1, {note[0]})")
    with pytest.raises(sa.exc.IntegrityError):
        run(as_one, "INSERT INTO note_marks (tenant_id, note_id) VALUES (1, 9999)")


def test_who_has_no_tenant_yet_finds_one_by_its_public_columns(wall: Walled) -> None:
    with wall.connection() as connection:
        wall.become(connection, wall.role)
        assert rows(connection, "SELECT * FROM partywall_public_tenants ORDER BY 1") == [("one",), ("two",)]
        view = "partywall_public_tenants"
        for sql in (f"SELECT secret FROM {view}", f"UPDATE {view} SET slug = 'x'"):
            with refused(connection):
                run(connection, sql)


BEHIND = {
    "a partition": "SELECT * FROM events_low",
    "the table behind a view": "SELECT * FROM partywall_base.notes",
    "the keys": "SELECT * FROM partywall.seal_keys",
    "the owner": "SET ROLE app",
    "no policies": "ALTER TABLE events DISABLE ROW LEVEL SECURITY",
    "a policy": "CREATE POLICY mine ON events USING (true)",
    "the function": "CREATE OR REPLACE FUNCTION partywall.tenant_id() RETURNS int LANGUAGE sql AS 'SELECT 2'",
    "an operator": "CREATE OPERATOR public.= (LEFTARG = int, RIGHTARG = int, FUNCTION = int4ne)",
    "copy in": "COPY events FROM STDIN",
    "shared tables": "DELETE FROM countries",
}


@pytest.mark.parametrize("way", BEHIND)
def test_the_role_cannot_get_behind_the_wall(sealed: Walled, way: str) -> None:
    with sealed.connection() as connection:
        sealed.become(connection, sealed.role)
        with pytest.raises(sa.exc.DBAPIError):
            run(connection, BEHIND[way])


def test_an_index_serves_behind_a_view_and_not_behind_a_policy(new_postgresql: NewDatabase) -> None:
    plans = []
    for views in ((), {"notes"}):
        made = walled.make(new_postgresql(), views=views)
        with made.connection() as connection:
            run(connection, "SET LOCAL enable_seqscan = off")
            made.become(connection, made.role, tenant=1)
            lines = rows(connection, "EXPLAIN SELECT * FROM notes WHERE text LIKE 'al%' AND tenant_id = 1")
            plans.append("\n".join(line for (line,) in lines))
        made.superuser.dispose()

    assert "notes_text" not in plans[0]
    assert "Index Cond: (((text)::text ~>=~ 'al'::text)" in plans[1]


# Sealed.


def pid(connection: Connection) -> int:
    return int(rows(connection, "SELECT pg_backend_pid()")[0][0])


def token(connection: Connection, *, tenant: str = "1", key: bytes = KEY, lifetime: int = 60, process: int = 0) -> str:
    return seal(tenant, (pid(connection) if process == 0 else process), key, int(time.time()) + lifetime)


def test_a_token_shows_the_rows_of_its_tenant(sealed: Walled) -> None:
    with sealed.connection() as connection:
        for tenant, seen in (("1", [(1,)]), ("2", [(2,)]), ("1", [(1,)])):
            sealed.become(connection, sealed.role, tenant=token(connection, tenant=tenant))
            for table in ("events", "notes"):
                assert rows(connection, f"SELECT DISTINCT tenant_id FROM {table}") == seen
                run(connection, f"UPDATE {table} SET id = id")


BAD_TOKENS: dict[str, Callable[[str, Connection], str]] = {
    "plain": lambda good, _: "1",
    "empty": lambda good, _: "",
    "of another tenant": lambda good, _: "2" + good[1:],
    "of another process": lambda good, connection: token(connection, process=pid(connection) + 1),
    "of another key": lambda good, connection: token(connection, key=b"x" * 32),
    "expired": lambda good, connection: token(connection, lifetime=-5),
    "with a later end": lambda good, _: ".".join([*good.split(".")[:2], "9999999999", good.split(".")[3]]),
    "truncated": lambda good, _: good[:-1],
    "longer": lambda good, _: good + "0",
    "without a seal": lambda good, _: good.rpartition(".")[0] + ".",
    "in capitals": lambda good, _: good.upper(),
    "with a line feed": lambda good, _: good + "\n",
    "a huge pid": lambda good, _: "1.99999999999999999999.9." + "0" * 64,
    "of a tenant that is no number": lambda good, _: "ffff" + good[1:],
    "null": lambda good, _: "null",
}


@pytest.mark.parametrize("kind", BAD_TOKENS)
def test_a_token_that_is_not_ours_shows_nothing(sealed: Walled, kind: str) -> None:
    with sealed.connection() as connection:
        good = token(connection)
        sealed.become(connection, sealed.role, tenant=good)
        assert rows(connection, "SELECT count(*) FROM events") == [(1,)]
        sealed.become(connection, sealed.role, tenant=BAD_TOKENS[kind](good, connection))
        for table in RESTRICTED:
            assert {row[0] for row in rows(connection, f"SELECT {tenant_column(table)} FROM {table}")} <= {None}


FORGERIES = [
    "WITH a AS MATERIALIZED (SELECT set_config('partywall.tenant', '{}', true)) SELECT tenant_id FROM a, events",
    "SELECT tenant_id FROM (SELECT set_config('partywall.tenant', '{}', true)) a, LATERAL (SELECT * FROM events) e",
    "SELECT set_config('partywall.tenant', '{}', true)::text UNION ALL SELECT tenant_id::text FROM events",
    "SET LOCAL partywall.tenant = '{}'; SELECT tenant_id FROM events",
    "DO $$ BEGIN PERFORM set_config('partywall.tenant', '{}', true); END $$; SELECT tenant_id FROM events",
    "UPDATE pg_settings SET setting = '{}' WHERE name = 'partywall.tenant'; SELECT tenant_id FROM events",
    "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'; "
    "SET LOCAL search_path = pg_temp, pg_catalog, public; SET LOCAL partywall.tenant = '{}'; "
    "SELECT tenant_id FROM events",
    "CREATE FUNCTION pg_temp.tenant_id() RETURNS int LANGUAGE sql AS 'SELECT 2'; "
    "SET LOCAL search_path = pg_temp, public; SET LOCAL partywall.tenant = '{}'; SELECT tenant_id FROM events",
    "CREATE TEMP TABLE seal_keys (inner_key bytea, outer_key bytea); SET LOCAL partywall.tenant = '{}'; "
    "SELECT tenant_id FROM events",
    "SELECT tenant_id FROM events WHERE partywall.tenant_id() = 2 OR set_config('partywall.tenant', '{}', true) > ''",
]


@pytest.mark.parametrize("sql", FORGERIES)
@pytest.mark.parametrize("forged", ["2", "another key", "another process"])
def test_sql_cannot_make_itself_another_tenant(sealed: Walled, sql: str, forged: str) -> None:
    with sealed.connection() as connection:
        value = {
            "2": "2",
            "another key": token(connection, tenant="2", key=b"y" * 32),
            "another process": token(connection, tenant="2", process=pid(connection) + 1),
        }[forged]
        sealed.become(connection, sealed.role, tenant=token(connection))
        try:
            result = run(connection, sql.format(value))
            seen = [row[-1] for row in result] if result.returns_rows else []
        except sa.exc.DBAPIError:
            return
        assert not {2, "2"} & ({*seen} - {value})


def test_the_plain_setting_can_be_changed_by_sql(wall: Walled) -> None:
    """Take the protection out: what the seal stops, the plain setting does not."""
    with wall.connection() as connection:
        wall.become(connection, wall.role, tenant=1)
        run(connection, "SET LOCAL partywall.tenant = '2'")
        assert rows(connection, "SELECT tenant_id FROM events") == [(2,)]


# Types of tenant ids.


@pytest.mark.parametrize("is_sealed", [False, True])
@pytest.mark.parametrize(
    ("type_", "ids"),
    [
        (sa.Integer(), (1, -2)),
        (sa.BigInteger(), (2**60, 2**60 + 1)),
        (sa.SmallInteger(), (1, 2)),
        (sa.Uuid(), (uuid.UUID(int=1), uuid.UUID(int=2))),
        (sa.String(30), ("a'; DROP", "ä\\b")),
        (sa.Text(), ("one", "One")),
        (sa.CHAR(5), ("one", "two")),
        (sa.LargeBinary(), (b"\x00'", b"\xff")),
    ],
)
def test_every_type_of_tenant_id(
    new_postgresql: NewDatabase, type_: sa.types.TypeEngine[Any], ids: tuple[Any, Any], is_sealed: bool
) -> None:
    url = new_postgresql()
    name = str(url.database)
    metadata = sa.MetaData()
    table = sa.Table(
        "things", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("tenant_id", type_, nullable=False)
    )
    wall = RowWall(role=f"app_{name}", unscoped_role=f"all_{name}", key=KEY if is_sealed else None, views=())
    tables = Tenancy(metadata, rows=wall).describe()
    engine = sa.create_engine(url.set(username="postgres"))
    with engine.begin() as connection:
        metadata.create_all(connection)
        connection.execute(sa.insert(table), [{"tenant_id": each} for each in (*ids, *ids)])
        for statement in row_wall_ddl(tables, wall, create_roles=True):
            connection.execute(statement)
        assert find_drift(connection, tables, wall) == []
        run(connection, f"SET LOCAL SESSION AUTHORIZATION app_{name}")
        for each in ids:
            text = encode(each, tables.tenant_type)
            text = token(connection, tenant=text) if is_sealed else text
            run(connection, f"SET LOCAL partywall.tenant = '{text}'")
            seen = [
                value.rstrip() if isinstance(value, str) else value
                for value in connection.scalars(sa.select(table.c.tenant_id))
            ]
            assert seen == [each, each]
            connection.execute(sa.insert(table).values(tenant_id=each))
            with refused(connection, "row-level security"):
                connection.execute(sa.insert(table).values(tenant_id=ids[each == ids[0]]))
    engine.dispose()


# Up and down.


def test_what_was_put_up_can_be_taken_down(new_postgresql: NewDatabase) -> None:
    url = new_postgresql()
    made = walled.make(url, key=KEY, views={"notes"})
    with made.connection() as connection:
        run(connection, f"SET LOCAL SESSION AUTHORIZATION {made.owner}")
        for statement in take_down_ddl(made.tables, made.wall):
            connection.execute(statement)
        assert rows(connection, "SELECT count(*) FROM notes") == [(4,)]
        assert rows(connection, "SELECT policyname FROM pg_policies") == []
        assert rows(connection, "SELECT relname FROM pg_class WHERE relrowsecurity OR relforcerowsecurity") == []
        assert rows(connection, "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'partywall%'") == []
        made.become(connection, made.role)
        for table in (*RESTRICTED, "countries", "users"):
            with refused(connection, "permission denied"):
                run(connection, f"SELECT * FROM {table}")
        made.become(connection, None)
        made.put_up(connection)
        assert made.complaint(connection) == ""
    made.superuser.dispose()


@pytest.mark.parametrize("step", range(0, 60, 7))
def test_a_wall_that_is_half_up_is_found_and_mended_by_running_it_again(new_postgresql: NewDatabase, step: int) -> None:
    made = walled.make(new_postgresql(), views={"notes"})
    with made.connection() as connection:
        run(connection, f"SET LOCAL SESSION AUTHORIZATION {made.owner}")
        for statement in take_down_ddl(made.tables, made.wall):
            connection.execute(statement)
        statements = row_wall_ddl(made.tables, made.wall)
        assert len(statements) > 60
        for statement in statements[:step]:
            connection.execute(statement)
        made.become(connection, None)
        assert made.complaint(connection)
        made.put_up(connection)
        assert made.complaint(connection) == ""
    made.superuser.dispose()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"role": None}, "needs the role"),
        ({"unscoped_role": None}, "needs an owner who sees all rows"),
        ({"views": {"nowhere"}}, "has none of that name"),
        ({"views": {"templates"}}, "cannot be confined by a view"),
        ({"views": {"tenants"}}, "cannot be confined by a view"),
        ({"views": {"countries"}}, "cannot be confined by a view"),
        ({"views": {"billing.Order Lines"}}, "cannot be confined by a view"),
    ],
)
def test_what_cannot_be_put_up_is_refused(options: dict[str, Any], message: str) -> None:
    wall = RowWall(**{"role": "app", "unscoped_role": "admin", **options})
    tenancy = Tenancy(
        walled.metadata, tenants="tenants", shared={"countries"}, shared_writable={"users"}, shared_rows={"templates"}
    )
    with pytest.raises(SetupError, match=message):
        row_wall_ddl(tenancy.describe(), wall)


def test_no_name_or_key_breaks_out_of_the_ddl() -> None:
    metadata = sa.MetaData()
    name = 'a"b; DROP TABLE x; -- %s $partywall$'
    sa.Table(name, metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column(name, sa.Integer, nullable=False))
    wall = RowWall(role=name, unscoped_role="r'o\\le")
    for statement in row_wall_ddl(Tenancy(metadata, column=name).describe(), wall, create_roles=True):
        text = str(statement.compile(dialect=POSTGRESQL))
        assert "; DROP" not in text.replace('"a""b; DROP', "").replace("'a\"b; DROP", "")
