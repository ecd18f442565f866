"""What an attacker tries who has SQL on PostgreSQL: the red team's list, with the walls that hold each."""

from __future__ import annotations

from tests.rows.red_team import Attack

SET = "set_config('partywall.tenant', '{forged}', true)"
READ = "SELECT id, name FROM customers"
BOTH = "statement setting sealed"
DO = "DO $$ BEGIN {} END $$"

ATTACKS = (
    Attack(
        number=1,
        words="set_config in a materialised CTE",
        held_by="statement sealed",
        tries=(
            f"WITH s AS MATERIALIZED (SELECT {SET} AS x) SELECT c.* FROM s, customers c WHERE s.x IS NOT NULL",
            f"WITH s AS MATERIALIZED (SELECT {SET} AS x) SELECT c.* FROM customers c JOIN s ON length(s.x) < 99",
            (f"WITH s AS MATERIALIZED (SELECT {SET} AS x) SELECT length(x) FROM s", READ),
        ),
    ),
    Attack(
        number=2,
        words="set_config in LATERAL",
        held_by="statement sealed",
        tries=(
            f"SELECT c.* FROM (SELECT {SET} AS x) s, LATERAL (SELECT * FROM customers WHERE s.x IS NOT NULL) c",
            f"SELECT c.* FROM LATERAL (SELECT {SET} AS x OFFSET 0) s CROSS JOIN LATERAL "
            "(SELECT * FROM customers WHERE length(s.x) > 0 OFFSET 0) c",
        ),
    ),
    Attack(
        number=3,
        words="set_config in an arm of UNION",
        held_by="statement sealed",
        tries=(f"SELECT 0, left({SET}, 0) UNION ALL {READ}", (f"SELECT left({SET}, 0) EXCEPT SELECT 'x'", READ)),
    ),
    Attack(
        number=4,
        words="set_config in ORDER BY, LIMIT, RETURNING",
        held_by="statement sealed",
        tries=(
            (f"SELECT id FROM customers ORDER BY {SET}", READ),
            (f"SELECT id FROM customers LIMIT length({SET})::int * 0 + 1", READ),
            (f"UPDATE customers SET name = name WHERE id = 1 RETURNING left({SET}, 0)", READ),
        ),
    ),
    Attack(
        number=5,
        words="set_config in a DEFAULT or a function's argument",
        held_by="statement sealed",
        tries=(
            (f"SELECT length({SET}) < 0", READ),
            (f"SELECT coalesce(nullif(left({SET}, 0), ''), 'x')", READ),
            ("CREATE TEMP TABLE mine (x text DEFAULT " + SET + ")", "INSERT INTO mine DEFAULT VALUES", READ),
        ),
    ),
    Attack(
        number=6,
        words="UPDATE pg_settings",
        held_by=BOTH,  # a setting that no extension defines is no row there
        tries=(("UPDATE pg_settings SET setting = '{forged}' WHERE name = 'partywall.tenant'", READ),),
    ),
    Attack(
        number=7,
        words="SET, RESET, RESET ALL, DISCARD ALL",
        held_by="statement sealed",
        tries=(
            ("SET partywall.tenant = '{forged}'", READ),
            ("SET LOCAL partywall.tenant = '{forged}'", READ),
            ("SET SESSION partywall.tenant TO '{forged}'", READ),
            ("RESET partywall.tenant", READ),
            ("RESET ALL", READ),
            ("DISCARD ALL", READ),
            ("COMMIT", READ),
            ("ROLLBACK", READ),
        ),
    ),
    Attack(
        number=8,
        words="stacked text without parameters",
        held_by="statement sealed",
        tries=(
            f"SELECT 1; SET LOCAL partywall.tenant = '{{forged}}'; {READ}",
            f"SELECT 1; COMMIT; BEGIN; SET LOCAL partywall.tenant = '{{forged}}'; {READ}",
            "SELECT 1; SET LOCAL partywall.tenant = '{forged}'; UPDATE customers SET name = 'x'",
        ),
    ),
    Attack(
        number=9,
        words="stacked text through ClientCursor",
        held_by="statement sealed",
        client=True,
        tries=(f"SELECT 1; SET LOCAL partywall.tenant = '{{forged}}'; {READ}",),
    ),
    Attack(
        number=10,
        words="DO block",
        held_by="statement sealed",
        tries=(
            (DO.format("PERFORM " + SET + ";"), READ),
            (DO.format("EXECUTE 'SET LOCAL partywall.tenant = ''{forged}''';"), READ),
            (DO.format("UPDATE customers SET name = 'x';"), READ),
            DO.format("PERFORM " + SET + "; DELETE FROM customers;"),
        ),
    ),
    Attack(
        number=11,
        words="SET ROLE, set_config of the role, SET SESSION AUTHORIZATION",
        held_by=BOTH,
        tries=tuple(
            (step, READ)
            for step in (
                "SET ROLE postgres",
                "SET ROLE app",
                "SET LOCAL ROLE app",
                "RESET ROLE",
                "SELECT set_config('role', 'app', true)",
                "SELECT set_config('session_authorization', 'postgres', true)",
                "SET SESSION AUTHORIZATION postgres",
                "SET SESSION AUTHORIZATION app",
                "RESET SESSION AUTHORIZATION",
            )
        ),
    ),
    Attack(
        number=12,
        words="row_security = off",
        held_by=BOTH,
        tries=(
            ("SET row_security = off", READ),
            ("SELECT set_config('row_security', 'off', true)", READ),
            "ALTER TABLE customers DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE customers NO FORCE ROW LEVEL SECURITY",
            "DROP POLICY partywall_tenant ON customers",
            "CREATE POLICY mine ON customers USING (true)",
        ),
    ),
    Attack(
        number=12,
        words="settings that change how an expression is read or run",
        held_by=BOTH,
        tries=tuple(
            (f"SET LOCAL {setting}", READ)
            for setting in (
                *("standard_conforming_strings = off", "bytea_output = escape", "transform_null_equals = on"),
                *("client_encoding = 'SQL_ASCII'", "quote_all_identifiers = on", "session_replication_role = replica"),
                *(
                    "debug_parallel_query = on",
                    "plan_cache_mode = force_generic_plan",
                    "plpgsql.variable_conflict = error",
                ),
                *("jit_above_cost = 0", "TIME ZONE 'Pacific/Kiritimati'", "client_min_messages = debug5"),
            )
        ),
    ),
    Attack(
        number=13,
        words="forged, truncated, empty, expired, replayed token",
        held_by="statement sealed",
        tries=tuple(
            (f"SET LOCAL partywall.tenant = '{token}'", READ)
            for token in (
                *("{forged}", "{truncated}", "", "{expired}", "{replayed}", "{other_key}"),
                *("2", "2...", "2.0.0.0", "x", "-1", "%"),
            )
        ),
    ),
    Attack(
        number=14,
        words="read the table of keys",
        held_by="anyway",
        tries=(
            "SELECT inner_key FROM partywall.seal_keys",
            "SELECT count(*) FROM partywall.seal_keys",
            "COPY partywall.seal_keys TO STDOUT",
            "SELECT table_to_xml('partywall.seal_keys', true, false, '')",
            "UPDATE partywall.seal_keys SET inner_key = outer_key",
            "CREATE OR REPLACE FUNCTION partywall.tenant_id() RETURNS int LANGUAGE sql AS 'SELECT 2'",
            "ALTER FUNCTION partywall.tenant_id() SECURITY INVOKER",
            "DROP SCHEMA partywall CASCADE",
        ),
    ),
    Attack(
        number=15,
        words="shadow the seal's functions by search_path and pg_temp",
        held_by=BOTH,
        tries=(
            (
                "CREATE FUNCTION pg_temp.tenant_id() RETURNS int LANGUAGE sql AS 'SELECT 2'",
                "SET LOCAL search_path = pg_temp, partywall, public",
                READ,
            ),
            (
                "CREATE FUNCTION pg_temp.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT ''''::bytea'",
                "SET LOCAL search_path = pg_temp, pg_catalog, public",
                "SET LOCAL partywall.tenant = '{other_key}x'",
                "SELECT count(*) FILTER (WHERE tenant_id = 2) FROM customers",
            ),
            (
                "CREATE FUNCTION pg_temp.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT ''2'''",
                "SET LOCAL search_path = pg_temp, pg_catalog, public",
                READ,
            ),
            "CREATE FUNCTION partywall.mine() RETURNS int LANGUAGE sql AS 'SELECT 2'",
        ),
    ),
    Attack(
        number=16,
        words="a function with a SET clause",
        held_by="anyway",  # which only a superuser may give a setting that no extension defines
        tries=(
            (
                "CREATE FUNCTION pg_temp.f() RETURNS SETOF text LANGUAGE plpgsql SET partywall.tenant = '{forged}' "
                "AS 'BEGIN RETURN QUERY SELECT name::text FROM public.customers; END'",
                "SELECT * FROM pg_temp.f()",
            ),
        ),
    ),
    Attack(
        number=17,
        words="query_to_xml",
        held_by="anyway",  # the tests' server is built without XML
        tries=(
            "SELECT query_to_xml('SELECT * FROM customers', true, false, '')",
            "SELECT query_to_xml_and_xmlschema('SELECT * FROM customers', true, false, '')",
        ),
    ),
    Attack(
        number=18,
        words="table_to_xml, cursor_to_xml, database_to_xml",
        held_by="anyway",  # as before
        tries=(
            "SELECT table_to_xml('customers', true, false, '')",
            "SELECT schema_to_xml('public', true, false, '') IS NULL",
            ("DECLARE c CURSOR FOR SELECT * FROM customers", "SELECT cursor_to_xml('c', 99, true, false, '')"),
            "SELECT database_to_xml(true, false, '')::text LIKE '%secret%'",
        ),
    ),
    Attack(
        number=19,
        words="ts_stat, ts_rewrite",
        held_by=BOTH,
        tries=(
            "SELECT word FROM ts_stat('SELECT to_tsvector(''simple'', name) FROM customers')",
            "SELECT ts_rewrite('alike'::tsquery, 'SELECT ''alike''::tsquery, name::tsquery FROM customers')",
        ),
    ),
    Attack(
        number=20,
        words="dblink, postgres_fdw",
        held_by="anyway",  # extensions that no ordinary role can create
        tries=(
            "SELECT * FROM dblink('dbname=postgres user=postgres', 'SELECT 1') AS t(x int)",
            "CREATE EXTENSION dblink",
            "CREATE EXTENSION postgres_fdw",
            "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
        ),
    ),
    Attack(
        number=21,
        words="pg_read_file, COPY PROGRAM, lo_import",
        held_by="anyway",
        tries=(
            "SELECT pg_read_file('postgresql.conf')",
            "SELECT pg_ls_dir('.')",
            "COPY customers TO PROGRAM 'cat'",
            "COPY countries FROM PROGRAM 'echo x'",
            "COPY customers TO '/tmp/x'",
            "SELECT lo_import('/etc/hostname')",
            "SELECT lo_export(1, '/tmp/x')",
        ),
    ),
    Attack(
        number=21,
        words="large objects of others",
        held_by="statement",
        before=("SELECT lo_from_bytea(4711, 'secret')",),
        tries=("SELECT encode(lo_get(4711), 'escape')",),
    ),
    Attack(
        number=22,
        words="view of the owner, of the invoker, nested views",
        held_by=BOTH,
        tries=("SELECT * FROM view_of_owner", "SELECT * FROM view_of_invoker", "SELECT * FROM view_of_view"),
    ),
    Attack(
        number=23,
        words="materialised view, REFRESH",
        held_by=BOTH,
        tries=(
            "SELECT * FROM kept",
            "REFRESH MATERIALIZED VIEW kept",
            "CREATE MATERIALIZED VIEW mine AS SELECT * FROM customers",
        ),
    ),
    Attack(number=24, words="definer function", held_by=BOTH, tries=("SELECT counted()",)),
    Attack(
        number=25,
        words="partition leaf, ONLY, inheritance child",
        held_by=BOTH,
        tries=(
            "SELECT * FROM events_low",
            "SELECT * FROM ONLY events_low",
            "SELECT * FROM ONLY customers",
            "SELECT * FROM events",
            "UPDATE events_low SET what = 'x'",
            "ALTER TABLE events DETACH PARTITION events_low",
            ("CREATE TEMP TABLE mine () INHERITS (customers)", READ),
        ),
    ),
    Attack(
        number=26,
        words="TABLESAMPLE",
        held_by=BOTH,
        tries=(
            "SELECT * FROM customers TABLESAMPLE SYSTEM (100)",
            "SELECT count(*) FROM customers TABLESAMPLE BERNOULLI (100)",
        ),
    ),
    Attack(
        number=27,
        words="FOR UPDATE, FOR SHARE and SKIP LOCKED as probes",
        held_by=BOTH,
        before=("SELECT * FROM customers WHERE id = 101 FOR UPDATE",),
        where="open",
        tries=(
            "SELECT id FROM customers FOR UPDATE NOWAIT",
            "SELECT id FROM customers WHERE id = 101 FOR SHARE NOWAIT",
            "SELECT id FROM customers FOR UPDATE SKIP LOCKED",
            "SELECT id FROM customers FOR KEY SHARE SKIP LOCKED",
        ),
    ),
    Attack(
        number=28,
        words="cursor, WITH HOLD, WHERE CURRENT OF",
        held_by=BOTH,
        tries=(
            ("DECLARE c CURSOR FOR SELECT id, name FROM customers", "FETCH ALL FROM c"),
            ("DECLARE c CURSOR WITH HOLD FOR SELECT id, name FROM customers", "FETCH ALL FROM c"),
            (
                "DECLARE c CURSOR FOR SELECT * FROM customers WHERE id > 100 FOR UPDATE",
                "MOVE c",
                "UPDATE customers SET name = 'x' WHERE CURRENT OF c",
            ),
            (
                "DECLARE c CURSOR FOR SELECT * FROM customers ORDER BY id DESC FOR UPDATE",
                "MOVE c",
                "DELETE FROM customers WHERE CURRENT OF c",
            ),
        ),
    ),
    Attack(
        number=29,
        words="PREPARE as one tenant, EXECUTE as another",
        held_by=BOTH,
        where="same",
        before=("PREPARE p AS SELECT id, name FROM customers", "EXECUTE p"),
        tries=("EXECUTE p",),
    ),
    Attack(
        number=30,
        words="generic plan after a switch of tenants",
        held_by=BOTH,
        where="same",
        before=(
            "SET plan_cache_mode = force_generic_plan",
            "PREPARE p (int) AS SELECT id, name FROM customers WHERE id > $1",
            *["EXECUTE p (0)"] * 6,
        ),
        tries=("EXECUTE p (0)",),
    ),
    Attack(
        number=31,
        words="COPY TO, COPY of a query, COPY FROM",
        held_by=BOTH,
        tries=(
            "COPY customers TO STDOUT",
            "COPY (SELECT id, name FROM customers) TO STDOUT",
            "COPY (UPDATE events SET what = 'x' RETURNING id) TO STDOUT",
            "COPY events (id, tenant_id, what) FROM STDIN",
        ),
    ),
    Attack(
        number=32,
        words="TRUNCATE",
        held_by="anyway",  # nobody but the owner may
        tries=("TRUNCATE events", "TRUNCATE customers CASCADE", "TRUNCATE ONLY notes"),
    ),
    Attack(
        number=33,
        words="INSERT for another tenant",
        held_by=BOTH,
        tries=(
            "INSERT INTO customers (id, tenant_id, name) VALUES (900, 2, 'x')",
            "INSERT INTO customers (id, tenant_id, name) VALUES (900, 1, 'y'), (901, 2, 'x')",
            "INSERT INTO customers (id, tenant_id, name) SELECT 900, id, 'x' FROM generate_series(2, 2) AS id",
            "INSERT INTO events (id, tenant_id, what) VALUES (900, 2, 'x')",
            "INSERT INTO tenants VALUES (3, 'x')",
            "INSERT INTO countries VALUES ('xx')",
        ),
    ),
    Attack(
        number=34,
        words="move a row to another tenant, or another's to mine",
        held_by=BOTH,
        tries=(
            "UPDATE customers SET tenant_id = 2 WHERE id = 2",
            "UPDATE customers SET tenant_id = 3 - tenant_id",
            "UPDATE customers SET tenant_id = 1",
            "UPDATE customers SET tenant_id = 1 WHERE id = 101",
            "UPDATE events SET tenant_id = 2 WHERE id = 1",
            "UPDATE tenants SET id = 9 WHERE id = 2",
            "UPDATE tenants SET plan = 'big'",
        ),
    ),
    Attack(
        number=35,
        words="UPDATE ... FROM another's rows",
        held_by=BOTH,
        tries=(
            "UPDATE customers SET name = c.name FROM customers c WHERE c.id = 102 RETURNING customers.name",
            "UPDATE invoices SET total = 0 FROM customers c WHERE c.id = invoices.customer_id",
        ),
    ),
    Attack(
        number=36,
        words="DELETE ... USING",
        held_by=BOTH,
        tries=(
            "DELETE FROM invoices USING customers c WHERE c.id = invoices.customer_id",
            "DELETE FROM invoices USING customers c WHERE c.name = 'secret'",
        ),
    ),
    Attack(
        number=37,
        words="MERGE, each action",
        held_by=BOTH,
        tries=(
            "MERGE INTO events e USING customers c ON e.id = c.id WHEN MATCHED THEN UPDATE SET what = 'x'",
            "MERGE INTO events e USING (VALUES (101)) v(id) ON e.id = v.id WHEN MATCHED THEN DELETE",
            "MERGE INTO events e USING (VALUES (900)) v(id) ON e.id = v.id "
            "WHEN NOT MATCHED THEN INSERT (id, tenant_id, what) VALUES (v.id, 2, 'x')",
            "MERGE INTO events e USING (VALUES (1)) v(id) ON e.id = v.id WHEN MATCHED THEN UPDATE SET tenant_id = 2",
            "MERGE INTO events e USING customers c ON e.id = c.id WHEN MATCHED THEN DO NOTHING",
        ),
    ),
    Attack(
        number=38,
        words="unique key of another's as an oracle",
        held_by="keys",
        tries=(
            "INSERT INTO invoices (id, tenant_id, number) VALUES (900, 1, 'b1') ON CONFLICT DO NOTHING",
            "INSERT INTO invoices (id, tenant_id, number) VALUES (900, 1, 'b1')",
        ),
    ),
    Attack(
        number=38,
        words="upsert on another's primary key, which has no tenant in it",
        held_by="",  # it is not taken over, but it answers whether the key is taken
        tries=(
            "INSERT INTO customers (id, tenant_id, name) VALUES (101, 1, 'x') ON CONFLICT (id) DO UPDATE SET rank = 0",
            "INSERT INTO customers (id, tenant_id, name) VALUES (101, 1, 'x') "
            "ON CONFLICT (id) DO UPDATE SET tenant_id = 1 WHERE customers.name = 'alike'",
            "INSERT INTO customers (id, tenant_id, name) VALUES (101, 1, 'x') "
            "ON CONFLICT ON CONSTRAINT customers_pkey DO NOTHING",
        ),
    ),
    Attack(
        number=39,
        words="data-modifying CTE",
        held_by=BOTH,
        tries=(
            "WITH d AS (DELETE FROM events RETURNING *) SELECT id, what FROM d",
            "WITH u AS (UPDATE events SET what = 'x' WHERE id > 100 RETURNING id) SELECT count(*) FROM u",
            "WITH i AS (INSERT INTO events (id, tenant_id) VALUES (900, 2) RETURNING 1) SELECT * FROM i",
        ),
    ),
    Attack(
        number=40,
        words="sub-select in RETURNING",
        held_by=BOTH,
        tries=(
            "UPDATE customers SET name = 'y' WHERE id = 1 RETURNING (SELECT max(name) FROM customers c)",
            "INSERT INTO events (id, tenant_id) VALUES (900, 1) RETURNING (SELECT string_agg(name, ',' ORDER BY name) "
            "FROM customers)",
            "DELETE FROM events WHERE id = 1 RETURNING (SELECT count(*) FROM customers)",
        ),
    ),
    Attack(
        number=41,
        words="CREATE TABLE AS, SELECT INTO",
        held_by=BOTH,
        tries=(
            ("CREATE TEMP TABLE mine AS SELECT id, name FROM customers", "SELECT * FROM mine"),
            ("SELECT id, name INTO TEMP mine FROM customers", "SELECT * FROM mine"),
            "CREATE TABLE mine AS SELECT * FROM customers",
            ("CREATE TEMP VIEW mine AS SELECT id, name FROM customers", "SELECT * FROM mine"),
        ),
    ),
    Attack(
        number=42,
        words="whole row, ctid, tableoid, xmin",
        held_by=BOTH,
        tries=(
            "SELECT customers FROM customers",
            "SELECT c::text FROM customers c",
            "SELECT name FROM customers WHERE ctid = ANY (ARRAY(SELECT format('(0,%s)', n)::tid "
            "FROM generate_series(1, 9) n))",
            "SELECT count(tableoid), count(xmin) FROM customers",
            "SELECT row_to_json(customers)->>'name' FROM customers",
        ),
    ),
    Attack(
        number=43,
        words="leaky function that costs little",
        held_by=BOTH,
        tries=(
            (
                "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS "
                "'BEGIN IF $1 = ''secret'' THEN RAISE EXCEPTION ''found''; END IF; RETURN true; END'",
                "SELECT id FROM customers WHERE pg_temp.leak(name)",
            ),
            (
                "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 LEAKPROOF AS "
                "'BEGIN RAISE EXCEPTION ''found''; END'",
                "SELECT id FROM customers WHERE id > 100 AND pg_temp.leak(name)",
            ),
        ),
    ),
    Attack(
        number=44,
        words="operator of my own with a stock estimator",
        held_by=BOTH,
        tries=(
            (
                "CREATE FUNCTION pg_temp.same(varchar, varchar) RETURNS boolean LANGUAGE plpgsql AS "
                "'BEGIN IF ''secret'' IN ($1, $2) THEN RAISE EXCEPTION ''found''; END IF; RETURN true; END'",
                "CREATE OPERATOR pg_temp.=== (FUNCTION = pg_temp.same, LEFTARG = varchar, RIGHTARG = varchar, "
                "RESTRICT = eqsel)",
                "SELECT id FROM customers WHERE name OPERATOR(pg_temp.===) 'x'::varchar",
            ),
        ),
    ),
    Attack(
        number=45,
        words="cast, division, regular expression that fails on another's value",
        held_by=BOTH,
        tries=(
            "SELECT id FROM customers WHERE name = 'secret' AND 1 / (rank - 99) > 0",
            "SELECT id FROM customers WHERE 1 / (rank - 99) > -9",
            "SELECT id FROM customers WHERE CAST(replace(replace(name, 'alike', '1'), 'own', '2') AS integer) > 0",
            "SELECT id FROM customers WHERE 'x' ~ replace(name, 'secret', '(')",
        ),
    ),
    Attack(
        number=46,
        words="estimates of EXPLAIN",
        held_by="statement",
        tries=(
            "EXPLAIN SELECT * FROM customers",
            "EXPLAIN (FORMAT json) SELECT * FROM invoices WHERE number = 'b1'",
            "EXPLAIN ANALYZE SELECT * FROM customers",
        ),
    ),
    Attack(
        number=47,
        words="pg_stats, pg_stats_ext",
        held_by=BOTH,
        tries=(
            "SELECT tablename, attname, n_distinct, most_common_vals::text FROM pg_stats WHERE schemaname = 'public'",
            "SELECT * FROM pg_stats_ext",
            "SELECT * FROM pg_statistic LIMIT 1",
            "SELECT * FROM pg_stats_ext_exprs",
        ),
    ),
    Attack(
        number=48,
        words="reltuples, sizes, counters",
        held_by="statement",
        tries=(
            "SELECT relname, reltuples FROM pg_class WHERE relname IN ('customers', 'invoices')",
            "SELECT n_live_tup FROM pg_stat_user_tables WHERE relname = 'customers'",
            "SELECT pg_stat_get_live_tuples('customers'::regclass)",
        ),
    ),
    Attack(
        number=49,
        words="pg_stat_activity",
        held_by="statement",
        where="open",
        before=("SELECT 'secret of the other'",),
        tries=("SELECT query FROM pg_stat_activity WHERE query LIKE '%of the oth' || 'er%'",),
    ),
    Attack(
        number=50,
        words="sequences, currval and lastval",
        held_by="statement",
        before=("INSERT INTO customers (id, tenant_id) VALUES (nextval('customers_id_seq') + 500, 2)",),
        tries=(
            "SELECT nextval('customers_id_seq')",
            "SELECT last_value FROM customers_id_seq",
            "SELECT pg_sequence_last_value('customers_id_seq'::regclass)",
        ),
    ),
    Attack(
        number=50,
        words="currval and lastval on a pooled connection",
        held_by=BOTH,
        where="pooled",
        before=("SELECT nextval('customers_id_seq')",),
        tries=("SELECT lastval()", "SELECT currval('customers_id_seq')"),
    ),
    Attack(
        number=51,
        words="advisory locks",
        held_by="statement",
        before=("SELECT pg_advisory_lock(7)",),
        tries=(
            "SELECT pg_try_advisory_lock(7)",
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())",
        ),
    ),
    Attack(
        number=53,
        words="temporary table that shadows, left on a pooled connection",
        held_by=BOTH,
        where="pooled",
        before=("CREATE TEMP TABLE customers AS SELECT 102 AS id, 'left' AS name",),
        tries=(READ, "SELECT to_regclass('pg_temp.customers') IS NULL"),
    ),
    Attack(
        number=54,
        words="LISTEN, cursor, prepared statement left on a pooled connection",
        held_by=BOTH,
        where="pooled",
        before=(
            "LISTEN secrets",
            "PREPARE left_behind AS SELECT 'left'",
            "DECLARE held CURSOR WITH HOLD FOR SELECT id, name FROM customers",
            "SET application_name = 'left'",
        ),
        tries=(
            "SELECT * FROM pg_listening_channels()",
            "EXECUTE left_behind",
            "FETCH ALL FROM held",
            "SELECT name FROM pg_prepared_statements WHERE from_sql",
            "SELECT current_setting('application_name')",
        ),
    ),
    Attack(
        number=55,
        words="single-column foreign key as an oracle",
        held_by="keys",
        tries=(
            "INSERT INTO notes (id, tenant_id, customer_id) VALUES (900, 1, 101)",
            "UPDATE invoices SET customer_id = 102 WHERE id = 1",
        ),
    ),
    Attack(
        number=55,
        words="cascade into another's rows",
        held_by="keys",
        before=("INSERT INTO invoices (id, tenant_id, number, customer_id) VALUES (900, 2, 'b9', 2)",),
        tries=("DELETE FROM customers WHERE id = 2",),
    ),
    Attack(
        number=56,
        words="ON DELETE SET NULL in another's rows",
        held_by="keys",
        before=("INSERT INTO notes (id, tenant_id, customer_id) VALUES (900, 2, 2)",),
        tries=("DELETE FROM customers WHERE id = 2",),
    ),
    Attack(
        number=57,
        words="deferred constraint as an oracle",
        held_by="keys",
        tries=(
            "INSERT INTO tasks (id, tenant_id, customer_id) VALUES (900, 1, 101)",
            (
                "INSERT INTO tasks (id, tenant_id, customer_id) VALUES (900, 1, 101)",
                "SET CONSTRAINTS ALL IMMEDIATE",
            ),
        ),
    ),
    Attack(
        number=58,
        words="trigger that reads another table",
        held_by="setting sealed",
        tries=("INSERT INTO customers (id, tenant_id, name) VALUES (900, 1, 'x') RETURNING rank",),
    ),
    Attack(
        number=62,
        words="tenant unset, empty, NULL, huge, text with quotes",
        held_by="statement setting sealed",
        tries=tuple(
            (f"SELECT set_config('partywall.tenant', {value}, true) IS NULL", READ)
            for value in ("''", "NULL", "'99999999999999999999'", "'1''; --'", "'1 OR 1=1'", "'2e0'", "'3'")
        ),
    ),
    Attack(
        number=63,
        words="what rollbacks and savepoints leave of the tenant",
        held_by=BOTH,
        tries=(
            ("SAVEPOINT s", READ, "ROLLBACK TO SAVEPOINT s", READ),
            ("SAVEPOINT s", "ROLLBACK TO SAVEPOINT s", "RELEASE SAVEPOINT s", READ),
            ("SAVEPOINT s", "SET LOCAL partywall.tenant = ''", "ROLLBACK TO SAVEPOINT s", READ),
            ("ROLLBACK", "BEGIN", READ),
            ("COMMIT AND CHAIN", READ),
        ),
    ),
)
"""In the order of the list. Those that are no SQL of a tenant's stand in `ELSEWHERE`."""

ELSEWHERE = {
    52: ("NOTIFY", "test_a_notification_reaches_every_tenant_that_listens"),
    59: ("policy dropped by a migration", "test_a_wall_that_somebody_altered_is_refused_by_the_engine"),
    60: ("a role with BYPASSRLS by mistake", "test_a_wall_that_somebody_altered_is_refused_by_the_engine"),
    61: ("connection of the owner", "test_the_owners_login_is_refused_by_the_engine"),
    64: ("PgBouncer in transaction mode", "test_tenants_that_share_one_server_process_see_their_own_rows"),
}
"""Attacks that another test has: by mistakes of who runs the database, or with other servers."""
