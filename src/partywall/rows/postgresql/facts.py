"""What is in the database, of all that the row wall depends on: one question to the catalogs, one answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection, CursorResult

from partywall.rows.encoding import SETTING
from partywall.rows.postgresql.meant import Meant, literal
from partywall.rows.postgresql.tenant import SCHEMA
from partywall.tables import Kind

__all__ = ["Facts", "as_it_stands", "ask", "question"]


@dataclass(frozen=True)
class Facts:
    """
    The answer. Everything is about one role and those that it can become; ``grants`` are theirs and PUBLIC's.

    Attributes:
        name: The role's.
        session: Version, names of session and current user, the database, the server process, the tenant by now.
        role: The attributes of the role; None if there is no such role.
        stronger: Other roles that it can become, each with the reasons why it should not.
        relations: By schema and name: what is known of a table or view of the wall.
        relatives: Partitions, inheritance children and parents of the wall's tables, with grants.
        undeclared: Other tables that have a tenant column, with grants.
        defaults: Privileges that new tables will have.
        settings: Where the wall's setting has a value from the start.
        readers: Views and materialised views over the wall's tables and undeclared ones, with grants.
        function: The wall's function; None if it is missing.
        definers: SECURITY DEFINER functions that the role may call, of owners who may see rows, or call others.
        triggers: The same of triggers of tables that the role may write.
        rules: Rewrite rules of other tables and views that the role may write.
        leakproof: LEAKPROOF functions of nobody's extension that the role may call.
        creates: Schemas, and the database, in which the role may create.
        keys: Privileges on the keys that seal.
        set_config, temp: Whether the role may call set_config, and make temporary tables.
    """

    name: str
    session: dict[str, Any]
    role: dict[str, Any] | None
    stronger: list[dict[str, Any]]
    relations: dict[tuple[str, str], dict[str, Any]]
    relatives: list[dict[str, Any]]
    undeclared: list[dict[str, Any]]
    defaults: list[dict[str, Any]]
    settings: list[dict[str, Any]]
    readers: list[dict[str, Any]]
    function: dict[str, Any] | None
    definers: list[dict[str, Any]]
    triggers: list[dict[str, Any]]
    rules: list[dict[str, Any]]
    leakproof: list[str]
    creates: list[dict[str, Any]]
    keys: list[dict[str, Any]] | None
    set_config: bool
    temp: bool


_QUESTION = """
WITH RECURSIVE
me AS (SELECT * FROM pg_catalog.pg_roles WHERE rolname = {role}),
reach AS (
    SELECT r.* FROM pg_catalog.pg_roles r, me WHERE pg_catalog.pg_has_role(me.oid, r.oid, 'MEMBER')
),
grantee AS (SELECT oid FROM reach UNION ALL SELECT 0::oid),
asked AS (SELECT e ->> 0 AS nspname, e ->> 1 AS relname FROM jsonb_array_elements({relations}::jsonb) e),
walled AS (
    SELECT c.oid, n.nspname, c.relname, c.relkind, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relhasrules,
        c.reloptions, c.relacl
    FROM asked a JOIN pg_catalog.pg_namespace n USING (nspname)
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = a.relname
),
privilege AS (
    SELECT c.oid, acl.grantee, acl.privilege_type FROM pg_catalog.pg_class c,
        LATERAL aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) acl
    WHERE acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> c.relowner
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION SELECT a.attrelid, acl.grantee, acl.privilege_type FROM pg_catalog.pg_attribute a,
        LATERAL aclexplode(a.attacl) acl
    WHERE a.attacl IS NOT NULL AND acl.grantee IN (SELECT oid FROM grantee)
),
grants AS (
    SELECT oid, jsonb_agg(jsonb_build_object(
        'grantee', coalesce(pg_catalog.pg_get_userbyid(nullif(grantee, 0)), 'PUBLIC'), 'privilege', privilege_type
    ) ORDER BY grantee, privilege_type) AS given
    FROM privilege GROUP BY oid
),
child AS (
    SELECT i.inhrelid AS oid FROM pg_catalog.pg_inherits i JOIN walled w ON w.oid = i.inhparent
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN child c ON c.oid = i.inhparent
),
parent AS (
    SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i JOIN walled w ON w.oid = i.inhrelid
    UNION SELECT i.inhparent FROM pg_catalog.pg_inherits i JOIN parent p ON p.oid = i.inhrelid
),
undeclared AS (
    SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f') AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND c.oid NOT IN (SELECT oid FROM walled UNION SELECT oid FROM child UNION SELECT oid FROM parent)
        AND EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
            AND a.attname IN (SELECT jsonb_array_elements_text({tenant_columns}::jsonb)))
),
source AS (
    SELECT oid FROM walled WHERE relkind <> 'v' UNION SELECT oid FROM child UNION SELECT oid FROM parent
    UNION SELECT oid FROM undeclared
),
reader AS (
    SELECT r.ev_class AS oid FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    JOIN source s ON s.oid = d.refobjid WHERE r.ev_class <> s.oid
    UNION SELECT r.ev_class FROM pg_catalog.pg_depend d
    JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND d.classid = 'pg_catalog.pg_rewrite'::regclass
    JOIN reader s ON s.oid = d.refobjid WHERE r.ev_class <> s.oid
),
definer AS (
    SELECT p.oid, p.proowner, p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype) AS is_trigger
    FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
    WHERE p.prosecdef AND NOT (n.nspname = {schema} AND p.proname = 'tenant_id' AND p.pronargs = 0)
),
seer AS (
    SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.oid IN (SELECT proowner FROM definer) AND (
        r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolreplication OR EXISTS (
            SELECT FROM pg_catalog.pg_roles g
            WHERE starts_with(g.rolname, 'pg_') AND pg_catalog.pg_has_role(r.oid, g.oid, 'MEMBER')
        ) OR EXISTS (
            SELECT FROM (SELECT oid FROM source UNION SELECT oid FROM reader) s JOIN pg_catalog.pg_class c USING (oid)
            WHERE c.relowner = r.oid
                OR pg_catalog.has_table_privilege(r.oid, s.oid, 'SELECT, INSERT, UPDATE, DELETE')
                OR pg_catalog.has_any_column_privilege(r.oid, s.oid, 'SELECT, INSERT, UPDATE')
        ) OR EXISTS (
            SELECT FROM definer d WHERE d.proowner <> r.oid AND NOT d.is_trigger
                AND pg_catalog.has_function_privilege(r.oid, d.oid, 'EXECUTE')
        )
    )
),
writable AS (SELECT oid FROM privilege WHERE privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))
SELECT pg_catalog.jsonb_build_object(
    'session', jsonb_build_object(
        'version', current_setting('server_version_num')::int, 'session_user', session_user,
        'current_user', current_user, 'database', current_database(),
        'pid', pg_catalog.pg_backend_pid(), 'tenant', coalesce(current_setting({tenant}, true), '')
    ),
    'role', (SELECT to_jsonb(me) FROM me),
    'stronger', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', r.rolname, 'super', r.rolsuper,
            'bypassrls', r.rolbypassrls, 'createrole', r.rolcreaterole, 'replication', r.rolreplication,
            'predefined', starts_with(r.rolname, 'pg_'), 'unscoped', r.rolname = {unscoped_role},
            'through', (
                SELECT jsonb_agg(pg_catalog.pg_get_userbyid(m.roleid)) FROM pg_catalog.pg_auth_members m, me
                WHERE m.member = me.oid AND pg_catalog.pg_has_role(m.roleid, r.oid, 'MEMBER')
            ),
            'owns', EXISTS (SELECT FROM walled w WHERE w.relowner = r.oid AND w.relkind <> 'v')
                OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspowner = r.oid
                    AND n.nspname IN (SELECT nspname FROM asked UNION SELECT {schema}))
                OR EXISTS (SELECT FROM pg_catalog.pg_database d WHERE d.datdba = r.oid
                    AND d.datname = current_database())
            ) ORDER BY r.rolname), '[]') FROM reach r
    ),
    'relations', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'schema', w.nspname, 'name', w.relname, 'kind', w.relkind,
            'owner', pg_catalog.pg_get_userbyid(w.relowner), 'owner_is_unscoped', EXISTS (
                SELECT FROM pg_catalog.pg_roles o, pg_catalog.pg_roles u
                WHERE o.oid = w.relowner AND NOT o.rolsuper AND u.rolname = {unscoped_role}
                    AND pg_catalog.pg_has_role(o.oid, u.oid, 'USAGE')
            ),
            'enabled', w.relrowsecurity, 'forced', w.relforcerowsecurity,
            'active', pg_catalog.row_security_active(w.oid), 'bytes', (
                SELECT coalesce(sum(pg_catalog.pg_relation_size(b.oid)), 0) FROM (
                    SELECT w.oid UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(w.oid) t
                ) b
            ),
            'rules', (
                SELECT coalesce(jsonb_agg(r.rulename), '[]') FROM pg_catalog.pg_rewrite r
                WHERE r.ev_class = w.oid AND r.ev_type <> '1'
            ),
            'options', coalesce(to_jsonb(w.reloptions), '[]'), 'grants', coalesce(g.given, '[]'),
            'resolves', pg_catalog.to_regclass(quote_ident(w.relname)) = w.oid,
            'definition', CASE WHEN w.relkind = 'v' THEN pg_catalog.pg_get_viewdef(w.oid) END,
            'reads', (
                SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_array(n.nspname, c.relname)), '[]')
                FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d ON d.objid = r.oid
                    AND d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.refclassid = 'pg_catalog.pg_class'::regclass
                JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.oid <> w.oid
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE r.ev_class = w.oid
            ),
            'usage', EXISTS (
                SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, w.nspname, 'USAGE')
            ),
            'readable', EXISTS (
                SELECT FROM me WHERE pg_catalog.has_schema_privilege(me.oid, w.nspname, 'USAGE')
                    AND pg_catalog.has_table_privilege(me.oid, w.oid, 'SELECT')
            ),
            'columns', (
                SELECT jsonb_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
            ),
            'triggers', (
                SELECT coalesce(jsonb_agg(t.tgname), '[]') FROM pg_catalog.pg_trigger t
                WHERE t.tgrelid = w.oid AND w.relkind = 'v'
            ),
            'policies', (
                SELECT coalesce(jsonb_agg(jsonb_build_object(
                    'name', p.polname, 'permissive', p.polpermissive,
                    'command', CASE p.polcmd WHEN '*' THEN 'ALL' WHEN 'r' THEN 'SELECT' ELSE p.polcmd::text END,
                    'roles', (
                        SELECT jsonb_agg(coalesce(pg_catalog.pg_get_userbyid(nullif(m, 0)), 'PUBLIC'))
                        FROM unnest(p.polroles) m
                    ),
                    'applies', EXISTS (SELECT FROM unnest(p.polroles) m JOIN grantee g ON g.oid = m),
                    'using', pg_catalog.pg_get_expr(p.polqual, p.polrelid),
                    'check', pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
                )), '[]') FROM pg_catalog.pg_policy p WHERE p.polrelid = w.oid
            )
        )), '[]') FROM walled w LEFT JOIN grants g USING (oid)
    ),
    'relatives', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.oid::regclass::text, 'grants', g.given)), '[]')
        FROM (SELECT oid FROM child UNION SELECT oid FROM parent) c JOIN grants g USING (oid)
        WHERE c.oid NOT IN (SELECT oid FROM walled)
    ),
    'undeclared', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.oid::regclass::text, 'grants', g.given)), '[]')
        FROM undeclared c JOIN grants g USING (oid)
    ),
    'defaults', (
        SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object(
            'grantor', pg_catalog.pg_get_userbyid(d.defaclrole), 'schema', n.nspname,
            'grantee', coalesce(pg_catalog.pg_get_userbyid(nullif(acl.grantee, 0)), 'PUBLIC'))), '[]')
        FROM pg_catalog.pg_default_acl d LEFT JOIN pg_catalog.pg_namespace n ON n.oid = d.defaclnamespace,
            LATERAL aclexplode(d.defaclacl) acl
        WHERE d.defaclobjtype = 'r' AND acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> d.defaclrole
    ),
    'settings', (
        SELECT coalesce(jsonb_agg(jsonb_build_object(
            'role', pg_catalog.pg_get_userbyid(nullif(s.setrole, 0)), 'database', d.datname)), '[]')
        FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_database d ON d.oid = s.setdatabase
        WHERE (s.setrole = 0 OR s.setrole IN (SELECT oid FROM me))
            AND (s.setdatabase = 0 OR d.datname = current_database())
            AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE starts_with(c, {setting}))
    ),
    'readers', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.oid::regclass::text, 'kind', c.relkind,
            'options', coalesce(to_jsonb(c.reloptions), '[]'), 'grants', g.given)), '[]')
        FROM (SELECT DISTINCT oid FROM reader) r JOIN pg_catalog.pg_class c USING (oid) JOIN grants g USING (oid)
        WHERE c.oid NOT IN (SELECT oid FROM walled)
    ),
    'function', (
        SELECT to_jsonb(f) FROM (
            SELECT p.prosrc AS body, p.prosecdef AS definer, p.provolatile AS volatile, p.proconfig AS config,
                l.lanname AS language, pg_catalog.format_type(p.prorettype, NULL) AS returns,
                p.proparallel AS parallel, p.proleakproof AS leakproof,
                pg_catalog.pg_function_is_visible(p.oid) AS visible, pg_catalog.pg_get_userbyid(p.proowner) AS owner,
                p.proowner IN (SELECT oid FROM reach) AS own,
                EXISTS (SELECT FROM me WHERE pg_catalog.has_function_privilege(me.oid, p.oid, 'EXECUTE')
                    AND pg_catalog.has_schema_privilege(me.oid, n.oid, 'USAGE')) AS callable,
                (SELECT count(*) FROM pg_catalog.pg_proc o WHERE o.pronamespace = n.oid AND o.proname = 'tenant_id')
                    AS overloads
            FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
            JOIN pg_catalog.pg_language l ON l.oid = p.prolang
            WHERE n.nspname = {schema} AND p.proname = 'tenant_id' AND p.pronargs = 0
        ) f
    ),
    'definers', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', p.oid::regprocedure::text, 'kind', p.prokind,
            'owner', pg_catalog.pg_get_userbyid(p.proowner),
            'grants', (
                SELECT jsonb_agg(DISTINCT coalesce(pg_catalog.pg_get_userbyid(nullif(acl.grantee, 0)), 'PUBLIC'))
                FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
                WHERE acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> p.proowner
            ))), '[]')
        FROM pg_catalog.pg_proc p JOIN definer d USING (oid)
        WHERE NOT d.is_trigger AND p.proowner IN (SELECT oid FROM seer) AND p.proowner NOT IN (SELECT oid FROM me)
            AND EXISTS (SELECT FROM reach r WHERE pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE'))
    ),
    'triggers', (
        SELECT coalesce(jsonb_agg(DISTINCT jsonb_build_object('name', d.oid::regprocedure::text,
            'table', t.tgrelid::regclass::text, 'owner', pg_catalog.pg_get_userbyid(d.proowner))), '[]')
        FROM pg_catalog.pg_trigger t JOIN definer d ON d.oid = t.tgfoid
        WHERE NOT t.tgisinternal AND d.proowner IN (SELECT oid FROM seer) AND d.proowner NOT IN (SELECT oid FROM me)
            AND t.tgrelid IN (SELECT oid FROM writable UNION SELECT oid FROM walled UNION SELECT oid FROM child)
    ),
    'rules', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', r.rulename, 'table', c.oid::regclass::text)), '[]')
        FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE r.ev_type <> '1' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            AND c.oid IN (SELECT oid FROM writable) AND c.oid NOT IN (SELECT oid FROM walled)
    ),
    'leakproof', (
        SELECT coalesce(jsonb_agg(p.oid::regprocedure::text), '[]')
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proleakproof AND n.nspname <> 'pg_catalog'
            AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass
                AND d.objid = p.oid AND d.deptype = 'e')
            AND EXISTS (SELECT FROM reach r WHERE pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE'))
    ),
    'creates', (
        SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'grantee', grantee, 'what', what)), '[]') FROM (
            SELECT DISTINCT quote_ident(n.nspname) AS name,
                coalesce(pg_catalog.pg_get_userbyid(nullif(acl.grantee, 0)), 'PUBLIC') AS grantee, 'SCHEMA' AS what
            FROM pg_catalog.pg_namespace n,
                LATERAL aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) acl
            WHERE acl.grantee IN (SELECT oid FROM grantee) AND acl.grantee <> n.nspowner
                AND acl.privilege_type = 'CREATE'
            UNION SELECT quote_ident(d.datname), coalesce(pg_catalog.pg_get_userbyid(nullif(acl.grantee, 0)), 'PUBLIC'),
                'DATABASE'
            FROM pg_catalog.pg_database d, LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) acl
            WHERE d.datname = current_database() AND acl.grantee IN (SELECT oid FROM grantee)
                AND acl.grantee <> d.datdba AND acl.privilege_type = 'CREATE'
        ) c
    ),
    'keys', (
        SELECT coalesce(g.given, '[]') FROM pg_catalog.pg_class c
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace LEFT JOIN grants g ON g.oid = c.oid
        WHERE n.nspname = {schema} AND c.relname = 'seal_keys'
    ),
    'set_config', EXISTS (SELECT FROM reach r WHERE pg_catalog.has_function_privilege(
        r.oid, 'pg_catalog.set_config(text,text,boolean)', 'EXECUTE')),
    'temp', EXISTS (SELECT FROM reach r WHERE pg_catalog.has_database_privilege(
        r.oid, current_database(), 'TEMPORARY'))
)::text
"""


def question(whole: Meant, role: str) -> str:
    """Return the one query for the facts about *role*."""
    relations = [[relation.schema, relation.name] for relation in whole.relations]
    described = whole.tables.by_name.values()
    columns = {str(each.tenant_column) for each in described if each.tenant_column and each.kind is Kind.SCOPED}
    return _QUESTION.format(
        role=literal(role),
        unscoped_role=literal(whole.unscoped_role or ""),
        relations=literal(json.dumps(relations, ensure_ascii=False)),
        schema=literal(SCHEMA),
        tenant_columns=literal(json.dumps(sorted(columns), ensure_ascii=False)),
        setting=literal(f"{SETTING}="),
        tenant=literal(SETTING),
    )


def ask(connection: Connection, whole: Meant, role: str) -> Facts:
    """Ask the catalogs for the facts about *role*, in one round trip."""
    answer: dict[str, Any] = json.loads(str(as_it_stands(connection, question(whole, role)).scalar()))
    relations = {(each["schema"], each["name"]): each for each in answer.pop("relations")}
    return Facts(name=role, relations=relations, **answer)


def as_it_stands(connection: Connection, sql: str) -> CursorResult[Any]:
    """Run SQL in which a percent sign is a percent sign, whatever the driver."""
    return connection.exec_driver_sql(sql, execution_options={"no_parameters": True})
