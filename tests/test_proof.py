"""The proof: what it accepts, what it refuses and why, and that no damaged criterion gets past it."""

from __future__ import annotations

import random
import re
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, Uuid

from partywall.declarations import describe
from partywall.errors import SetupError
from partywall.statements.proof import Verdict, prove
from partywall.statements.proof import _model as model
from partywall.statements.proof._judge import judge
from partywall.tables import Tables

DIALECTS = ("postgresql", "sqlite")
TENANT = frozenset({1})


def described(type_: type = Integer) -> Tables:
    metadata = MetaData()

    def table(name: str, *columns: str, tenant: str | None = "tenant_id", schema: str | None = None) -> None:
        own: list[Column[Any]] = (
            []
            if tenant is None
            else [Column(tenant, type_, nullable=name == "templates", info={"partywall": "tenant"})]
        )
        others = [Column(column, Integer) for column in columns]
        Table(name, metadata, Column("id", Integer, primary_key=True), *own, *others, schema=schema)

    Table("tenants", metadata, Column("id", type_, primary_key=True), Column("slug", String))
    table("invoices", "customer_id", "total")
    table("customers", "name")
    table("lines", "invoice_id", "amount")
    table("templates", "name")
    table("orders", "total", schema="sales")
    table("Mixed Case", "total", tenant="Tenant Id")
    table("countries", "name", tenant=None)
    table("users", "email", tenant=None)
    return describe(
        [metadata],
        column="tenant_id",
        tenants="tenants",
        tenants_public=[],
        shared=["countries"],
        shared_writable=["users"],
        shared_rows=["templates"],
    )


TABLES = described()


def verdict(
    sql: str, dialect: str, tenant_parameters: frozenset[int] | None = TENANT, tables: Tables = TABLES
) -> Verdict:
    """Judge SQL whose parameters are written as ``$1``."""
    text = sql.replace("$", ":p") if dialect == "sqlite" else sql
    return prove(text, tables, dialect=dialect, tenant_parameters=tenant_parameters)


# What is proved

ACCEPTED = {
    "a criterion in WHERE": "SELECT * FROM invoices WHERE invoices.tenant_id = $1",
    "the other way round": "SELECT * FROM invoices AS i WHERE $1 = i.tenant_id",
    "with no source's name where only one has it": "SELECT * FROM invoices WHERE tenant_id = $1 AND total > 3",
    "with no source's name where the others lack it": "SELECT * FROM invoices, countries WHERE tenant_id = $1",
    "a cast parameter": "SELECT * FROM invoices WHERE tenant_id = CAST($1 AS INTEGER)",
    "in parentheses": "SELECT * FROM invoices WHERE ((tenant_id = $1) AND (total = 1 OR total = 2))",
    "in the ON of an inner join, on either side": "SELECT 1 FROM invoices i JOIN lines l ON "
    "i.tenant_id = $1 AND l.tenant_id = $1",
    "in the ON of a left join for its right side": "SELECT 1 FROM countries c LEFT JOIN lines l ON l.tenant_id = $1",
    "in the ON of a right join for its left side": "SELECT 1 FROM lines l RIGHT JOIN countries c ON l.tenant_id = $1",
    "in the ON of an inner join inside a full join": "SELECT 1 FROM (lines l JOIN countries d ON l.tenant_id = $1) "
    "FULL JOIN countries c ON c.id = l.id",
    "in the ON of a join over a left join": "SELECT 1 FROM (countries c LEFT JOIN lines l ON l.id = c.id) "
    "JOIN countries d ON l.tenant_id = $1",
    "in WHERE over every kind of join": "SELECT 1 FROM lines l FULL JOIN invoices i ON i.id = l.id "
    "WHERE l.tenant_id = $1 AND i.tenant_id = $1",
    "equal to a source that is restricted": "SELECT 1 FROM invoices i JOIN lines l ON l.tenant_id = i.tenant_id "
    "WHERE i.tenant_id = $1",
    "equal through a chain": "SELECT 1 FROM invoices i, lines l, customers c "
    "WHERE c.tenant_id = l.tenant_id AND l.tenant_id = i.tenant_id AND i.tenant_id = $1",
    "equal to the tenants table": "SELECT 1 FROM tenants t JOIN lines l ON l.tenant_id = t.id WHERE t.id = $1",
    "by USING": "SELECT 1 FROM invoices i JOIN lines l USING (tenant_id) WHERE i.tenant_id = $1",
    "by USING and one name for both": "SELECT 1 FROM invoices JOIN lines USING (tenant_id) LEFT JOIN customers "
    "USING (tenant_id) WHERE tenant_id = $1",
    "shared rows": "SELECT 1 FROM templates t WHERE (t.tenant_id = $1 OR t.tenant_id IS NULL)",
    "shared rows, the other way round": "SELECT 1 FROM templates t WHERE (t.tenant_id IS NULL OR $1 = t.tenant_id)",
    "shared rows in ON": "SELECT 1 FROM countries c LEFT JOIN templates t ON t.id = c.id "
    "AND (t.tenant_id = $1 OR t.tenant_id IS NULL)",
    "shared tables need nothing": "SELECT * FROM countries c, users u WHERE c.id = u.id",
    "no table at all": "SELECT 1 + 1",
    "values": "VALUES (1, 2), (3, 4)",
    "a CTE": "WITH c AS (SELECT * FROM invoices WHERE tenant_id = $1) SELECT * FROM c JOIN c AS d ON c.id = d.id",
    "a CTE that bears a table's name": "WITH invoices AS (SELECT 1 AS id) SELECT * FROM invoices",
    "a recursive CTE": "WITH RECURSIVE c AS (SELECT id FROM invoices WHERE tenant_id = $1 UNION ALL "
    "SELECT i.id FROM c JOIN invoices i ON i.customer_id = c.id WHERE i.tenant_id = $1) SELECT * FROM c",
    "set operations": "SELECT id FROM invoices WHERE tenant_id = $1 UNION SELECT id FROM lines WHERE tenant_id = $1 "
    "EXCEPT SELECT id FROM countries ORDER BY 1 LIMIT 3",
    "a correlated subquery with its own criterion": "SELECT (SELECT sum(l.amount) FROM lines l "
    "WHERE l.invoice_id = i.id "
    "AND l.tenant_id = $1) FROM invoices i WHERE i.tenant_id = $1",
    "a subquery in FROM": "SELECT * FROM (SELECT * FROM invoices WHERE tenant_id = $1) AS s LEFT "
    "JOIN countries c ON true",
    "a window and FILTER": "SELECT sum(i.total) FILTER (WHERE i.total > 1) OVER (PARTITION BY "
    "i.customer_id ORDER BY i.id) "
    "FROM invoices i WHERE i.tenant_id = $1 GROUP BY i.id HAVING count(*) > 1",
    "a schema": "SELECT * FROM sales.orders WHERE sales.orders.tenant_id = $1",
    "a schema, without its name": "SELECT * FROM sales.orders WHERE orders.tenant_id = $1",
    "quoted names": 'SELECT * FROM "Mixed Case" AS "M C" WHERE "M C"."Tenant Id" = $1',
    "comments": "SELECT * /* WHERE */ FROM invoices -- no\nWHERE tenant_id = $1 -- the end",
    "a semicolon at the end": "SELECT * FROM invoices WHERE tenant_id = $1;",
    "words in strings": "SELECT ' FROM lines; --' FROM invoices WHERE tenant_id = $1 AND 'é''' <> ''",
    "an insert": "INSERT INTO invoices (id, tenant_id) VALUES (1, $1), (2, $1) RETURNING id",
    "an insert from a select": "INSERT INTO invoices (tenant_id, id) SELECT $1, id FROM countries UNION SELECT $1, 2",
    "an insert of a restricted column": "INSERT INTO invoices (tenant_id, id) SELECT l.tenant_id, l.id FROM lines l "
    "WHERE l.tenant_id = $1",
    "an insert with * behind it": "INSERT INTO invoices (tenant_id, id, customer_id, total) SELECT $1, l.* FROM "
    "(SELECT 1, 2, 3) AS l",
    "an upsert": "INSERT INTO invoices (id, tenant_id) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET "
    "total = excluded.total, tenant_id = excluded.tenant_id WHERE invoices.tenant_id = $1",
    "an upsert by EXCLUDED": "INSERT INTO invoices (id, tenant_id) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET "
    "total = 2 WHERE invoices.tenant_id = excluded.tenant_id",
    "do nothing": "INSERT INTO invoices (id, tenant_id) VALUES (1, $1) ON CONFLICT DO NOTHING",
    "an insert of shared rows' table": "INSERT INTO templates (tenant_id) VALUES ($1)",
    "writes of shared writable tables": "UPDATE users SET email = 1 WHERE id = 3",
    "inserts into shared writable tables": "INSERT INTO users VALUES (1, 2)",
    "an update": "UPDATE invoices SET total = 1, tenant_id = $1 WHERE tenant_id = $1",
    "an update that keeps the tenant": "UPDATE invoices AS i SET tenant_id = i.tenant_id WHERE i.tenant_id = $1",
    "an update with sources": "UPDATE invoices SET total = l.amount FROM lines l JOIN customers c ON c.tenant_id = $1 "
    "WHERE l.tenant_id = invoices.tenant_id AND invoices.tenant_id = $1",
    "a delete": "DELETE FROM lines WHERE lines.tenant_id = $1 AND id IN (SELECT id FROM countries)",
    "what never holds, in WHERE": "SELECT * FROM invoices i, lines l WHERE i.total > 1 AND 0 = 1",
    "what never holds, in parentheses": "SELECT * FROM templates WHERE ((1 = 0) AND name = 1)",
    "what never holds, in WHERE over every kind of join": "SELECT 1 FROM lines l FULL JOIN templates t ON t.id = l.id "
    "WHERE 0 = 1",
    "what never holds, in the ON of an inner join": "SELECT 1 FROM invoices i JOIN (lines l LEFT JOIN templates t "
    "ON t.id = l.id) ON 0 = 1",
    "what never holds, in the ON of a left join for its right side": "SELECT 1 FROM countries c "
    "LEFT JOIN lines l ON 0 = 1",
    "equal to a source that has no rows": "SELECT 1 FROM invoices i JOIN (countries c LEFT JOIN lines l ON 0 = 1) "
    "ON i.tenant_id = l.tenant_id",
    "an update of nothing": "UPDATE invoices SET total = 1 WHERE 0 = 1",
    "an upsert that updates nothing": "INSERT INTO invoices (tenant_id) VALUES ($1) ON CONFLICT (id) DO UPDATE "
    "SET total = 1 WHERE 0 = 1",
    "a delete of nothing": "DELETE FROM lines WHERE 0 = 1",
    "an insert of a derived column": "INSERT INTO invoices (id, tenant_id) SELECT s.id, s.t FROM "
    "(SELECT c.id, $1 AS t FROM countries c) AS s",
    "an insert of a derived column in a cast": "INSERT INTO invoices (tenant_id) SELECT CAST(s.t AS INTEGER) FROM "
    "(SELECT CAST($1 AS INTEGER) AS t) AS s",
    "an insert of a derived column with no source's name": "INSERT INTO invoices (id, tenant_id) SELECT id, t FROM "
    "(SELECT 1 AS n, $1 AS t) AS s JOIN countries ON n = id",
    "an insert of a derived column of several arms": "INSERT INTO invoices (tenant_id) SELECT s.t FROM "
    "(SELECT 1 AS id, $1 AS t UNION ALL SELECT l.id, l.tenant_id FROM lines l WHERE l.tenant_id = $1) AS s",
    "an insert of a derived column of a derived column": "INSERT INTO invoices (tenant_id) SELECT r.u FROM "
    "(SELECT s.t AS u FROM (SELECT $1 AS t) AS s) AS r",
    "an insert of a restricted column in a cast": "INSERT INTO invoices (tenant_id) SELECT CAST(l.tenant_id AS BIGINT) "
    "FROM lines l WHERE l.tenant_id = $1",
    "equal to a derived column": "UPDATE invoices SET total = s.total FROM (SELECT $1 AS t, 2 AS total) AS s "
    "WHERE invoices.tenant_id = s.t",
    "equal to a derived column by USING": "SELECT 1 FROM (SELECT $1 AS tenant_id) AS s LEFT JOIN lines l "
    "USING (tenant_id)",
}
POSTGRESQL_ACCEPTED = {
    "folded names": "SELECT * FROM INVOICES AS I WHERE i.Tenant_Id = $1::bigint",
    "the default schema": "SELECT * FROM public.invoices WHERE public.invoices.tenant_id = $1",
    "ONLY, TABLESAMPLE and locks": "SELECT * FROM ONLY invoices i TABLESAMPLE SYSTEM (10) WHERE i.tenant_id = $1 "
    "FOR UPDATE OF i SKIP LOCKED",
    "functions in FROM": "SELECT * FROM invoices i, LATERAL generate_series(1, i.total) AS g(n), "
    "ROWS FROM (unnest($2::int[])) AS r WHERE i.tenant_id = $1",
    "JSON_TABLE and XMLTABLE": "SELECT * FROM json_table('1', '$' COLUMNS (a int)) j, xmltable('/x' "
    "PASSING y COLUMNS a int)",
    "a lateral subquery": "SELECT * FROM invoices i LEFT JOIN LATERAL (SELECT * FROM lines l WHERE l.invoice_id = i.id "
    "AND l.tenant_id = $1) s ON true WHERE i.tenant_id = $1",
    "an earlier CTE of the table's name": "WITH invoices AS (SELECT * FROM invoices WHERE tenant_id "
    "= $1) SELECT * FROM invoices",
    "USING": "DELETE FROM invoices i USING lines l WHERE i.tenant_id = $1 AND l.tenant_id = i.tenant_id RETURNING i.id",
    "writes in CTEs": "WITH d AS (DELETE FROM lines WHERE tenant_id = $1 RETURNING *), i AS (INSERT INTO invoices "
    "(tenant_id) SELECT $1 FROM d RETURNING id) SELECT * FROM i",
    "the target bears its table's name, not a CTE's": "WITH invoices AS (SELECT 1) DELETE FROM "
    "invoices WHERE tenant_id = $1",
    "a merge": "MERGE INTO invoices i USING (SELECT * FROM lines WHERE tenant_id = $1) l ON "
    "i.tenant_id = $1 AND i.id = l.id "
    "WHEN MATCHED THEN UPDATE SET total = l.amount WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (l.id, $1)",
    "a merge by source": "MERGE INTO invoices i USING countries c ON i.tenant_id = $1 AND i.id = c.id "
    "WHEN NOT MATCHED BY SOURCE AND i.tenant_id = $1 THEN DELETE WHEN NOT MATCHED BY TARGET THEN DO NOTHING",
    "two schemas": "SELECT * FROM sales.orders, countries WHERE sales.orders.tenant_id = $1",
    "false": "SELECT * FROM invoices WHERE total = 1 AND false",
    "false in ON": "SELECT 1 FROM invoices i JOIN lines l ON false",
    "a merge that matches nothing": "MERGE INTO invoices i USING countries c ON false WHEN MATCHED THEN DELETE",
    "rows in their order": "INSERT INTO invoices (total, tenant_id) SELECT p0::INTEGER, p1::INTEGER FROM "
    "(VALUES ($2::INTEGER, $1::INTEGER)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING invoices.id",
    "several rows in their order": "INSERT INTO invoices (total, tenant_id) SELECT p0::INTEGER, p1::INTEGER FROM "
    "(VALUES ($2::INTEGER, $1::INTEGER, 0), ($3, $1, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter",
    "rows in their order, into a table with shared rows": "INSERT INTO templates (name, tenant_id) SELECT p0::INTEGER, "
    "p1::INTEGER FROM (VALUES ($2::INTEGER, $1::INTEGER)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter",
    "an alias that names the first columns": "INSERT INTO invoices (id, tenant_id) SELECT s.id, s.t FROM "
    "(SELECT $1 AS x, 1 AS id) AS s(t)",
    "an insert of a restricted column into a table with shared rows": "INSERT INTO templates (tenant_id) "
    "SELECT l.tenant_id FROM lines l WHERE l.tenant_id = $1 GROUP BY l.tenant_id",
}
SQLITE_ACCEPTED = {
    "SET of several": "UPDATE invoices SET (total, id) = (2, 1) WHERE tenant_id = $1",
    "names in any case": "SELECT * FROM INVOICES AS I WHERE i.TENANT_ID == $1",
    "the default schema": "SELECT * FROM main.invoices WHERE main.invoices.tenant_id = $1",
    "all kinds of quotes": 'SELECT * FROM [invoices] AS `i` WHERE "i".[tenant_id] = $1',
    "functions in FROM": "SELECT j.value FROM invoices i, json_each(i.total, '$.x') AS j WHERE i.tenant_id = $1",
    "a later CTE": "WITH a AS (SELECT * FROM b), b AS (SELECT * FROM lines WHERE tenant_id = $1) SELECT * FROM a",
    "joins from the left to the right": "SELECT 1 FROM lines l, invoices i RIGHT JOIN countries c "
    "ON l.tenant_id = $1 AND i.tenant_id = $1",
    "comments that others execute": "SELECT /*+ x */ * FROM invoices /*! FROM lines */ WHERE tenant_id = $1",
    "or ignore": "INSERT OR IGNORE INTO invoices (tenant_id) VALUES ($1)",
    "zero": "SELECT * FROM invoices WHERE total = 1 AND 0",
}

# What is not, and a part of the reason

NO_CRITERION = "restricts it"
REJECTED = {
    "no criterion": ("SELECT * FROM invoices", NO_CRITERION),
    "under OR": ("SELECT * FROM invoices WHERE tenant_id = $1 OR total = 1", NO_CRITERION),
    "under NOT": ("SELECT * FROM invoices WHERE NOT tenant_id = $1", NO_CRITERION),
    "under CASE": ("SELECT * FROM invoices WHERE CASE WHEN tenant_id = $1 THEN true ELSE true END", NO_CRITERION),
    "in a function": ("SELECT * FROM invoices WHERE coalesce(tenant_id = $1, true)", NO_CRITERION),
    "compared once more": ("SELECT * FROM invoices WHERE (tenant_id = $1) IS NOT NULL", NO_CRITERION),
    "in the SELECT list": ("SELECT tenant_id = $1 FROM invoices", NO_CRITERION),
    "in HAVING": ("SELECT tenant_id FROM invoices GROUP BY tenant_id HAVING tenant_id = $1", NO_CRITERION),
    "in FILTER": ("SELECT count(*) FILTER (WHERE tenant_id = $1) FROM invoices", NO_CRITERION),
    "by another operator": ("SELECT * FROM invoices WHERE tenant_id >= $1", NO_CRITERION),
    "by IN": ("SELECT * FROM invoices WHERE tenant_id IN ($1, $2)", NO_CRITERION),
    "with a literal": ("SELECT * FROM invoices WHERE tenant_id = 1", NO_CRITERION),
    "with another parameter": ("SELECT * FROM invoices WHERE tenant_id = $2", "parameter 2 is not the tenant's"),
    "with a sum": ("SELECT * FROM invoices WHERE tenant_id = $1 + 1", NO_CRITERION),
    "with itself": ("SELECT * FROM invoices i WHERE i.tenant_id = i.tenant_id", "not restricted"),
    "in a circle": ("SELECT * FROM invoices i, lines l WHERE l.tenant_id = i.tenant_id", "not restricted"),
    "with another column of a restricted source": (
        "SELECT * FROM invoices i, lines l WHERE l.tenant_id = i.total AND i.tenant_id = $1",
        "table lines as l",
    ),
    "of another column": ("SELECT * FROM invoices WHERE total = $1", NO_CRITERION),
    "a column in a cast": ("SELECT * FROM invoices WHERE CAST(tenant_id AS INTEGER) = $1", NO_CRITERION),
    "a cast that loses a part of the id": (
        "SELECT * FROM invoices WHERE tenant_id = CAST($1 AS REAL)",
        "cast to other",
    ),
    "of another alias": ("SELECT * FROM invoices i, countries c WHERE c.tenant_id = $1", NO_CRITERION),
    "of the table's name where it has an alias": (
        "SELECT * FROM invoices i WHERE invoices.tenant_id = $1",
        NO_CRITERION,
    ),
    "one of two uses": ("SELECT * FROM invoices i, invoices j WHERE i.tenant_id = $1", "invoices as j"),
    "an unqualified column that may be another's": ("SELECT * FROM invoices, lines WHERE tenant_id = $1", NO_CRITERION),
    "an unqualified column beside a subquery": (
        "SELECT * FROM invoices, (SELECT 1 AS tenant_id) AS s WHERE tenant_id = $1",
        NO_CRITERION,
    ),
    "in the ON of a left join for its left side": (
        "SELECT 1 FROM invoices i LEFT JOIN countries c ON i.tenant_id = $1",
        "keeps rows that fail it",
    ),
    "in the ON of a right join for its right side": (
        "SELECT 1 FROM countries c RIGHT JOIN invoices i ON i.tenant_id = $1",
        "keeps rows that fail it",
    ),
    "in the ON of a full join": (
        "SELECT 1 FROM countries c FULL JOIN invoices i ON i.tenant_id = $1",
        "keeps rows that fail it",
    ),
    "in the ON of a left join over an inner one": (
        "SELECT 1 FROM (invoices i JOIN countries c ON true) LEFT JOIN countries d ON i.tenant_id = $1",
        "keeps rows that fail it",
    ),
    "equal in the ON of a left join for its left side": (
        "SELECT 1 FROM invoices i LEFT JOIN lines l ON l.tenant_id = i.tenant_id AND l.tenant_id = $1",
        "table invoices as i",
    ),
    "in the ON of a join beside it": (
        "SELECT 1 FROM countries c JOIN countries d ON i.tenant_id = $1 CROSS JOIN invoices i",
        NO_CRITERION,
    ),
    "by USING in a full join": (
        "SELECT 1 FROM invoices i FULL JOIN lines l USING (tenant_id) WHERE i.tenant_id = $1",
        "table lines as l",
    ),
    "one name for both after a full join": (
        "SELECT 1 FROM invoices FULL JOIN lines USING (tenant_id) WHERE tenant_id = $1",
        NO_CRITERION,
    ),
    "shared rows of a table that has none": (
        "SELECT 1 FROM invoices WHERE tenant_id = $1 OR tenant_id IS NULL",
        "rows without a tenant",
    ),
    "shared rows of another column": ("SELECT 1 FROM templates WHERE tenant_id = $1 OR name IS NULL", NO_CRITERION),
    "shared rows over an outer join": (
        "SELECT 1 FROM countries c LEFT JOIN templates t ON t.id = c.id WHERE (t.tenant_id = $1 OR "
        "t.tenant_id IS NULL)",
        "table templates as t",
    ),
    "shared rows or more": (
        "SELECT 1 FROM templates WHERE tenant_id = $1 OR tenant_id IS NULL OR name = 1",
        NO_CRITERION,
    ),
    "in the outer block": (
        "SELECT * FROM invoices i WHERE i.tenant_id = $1 AND EXISTS (SELECT 1 FROM lines l WHERE l.invoice_id = i.id)",
        "table lines as l",
    ),
    "in the inner block": (
        "SELECT * FROM invoices i WHERE EXISTS (SELECT 1 FROM lines l WHERE l.tenant_id = $1 AND i.tenant_id = $1)",
        "table invoices as i",
    ),
    "one arm of a set operation": (
        "SELECT id FROM invoices WHERE tenant_id = $1 UNION ALL SELECT id FROM lines",
        "table lines",
    ),
    "in a CTE that nobody reads": ("WITH c AS (SELECT * FROM lines) SELECT 1", "table lines"),
    "in a recursive arm": (
        "WITH RECURSIVE c AS (SELECT 1 AS id UNION ALL SELECT l.id FROM c JOIN lines l ON l.id = c.id) SELECT * FROM c",
        "table lines as l",
    ),
    "a CTE does not hide a qualified name": (
        "WITH orders AS (SELECT 1) SELECT * FROM sales.orders",
        "table sales.orders",
    ),
    "a CTE is not seen outside its block": (
        "SELECT * FROM (WITH invoices AS (SELECT 1) SELECT * FROM invoices) AS s, invoices",
        "table invoices",
    ),
    "an unknown table": ("SELECT * FROM secrets", "unknown table secrets"),
    "a known table in an unknown schema": ("SELECT * FROM other.invoices WHERE tenant_id = $1", "unknown table other"),
    "a table without its schema": ("SELECT * FROM orders WHERE tenant_id = $1", "unknown table orders"),
    "two sources of one name": (
        "SELECT * FROM invoices i, lines i WHERE i.tenant_id = $1",
        "two sources of one block are named i",
    ),
    "a join with a name": (
        "SELECT * FROM (invoices i JOIN countries c ON true) AS i WHERE i.tenant_id = $1",
        "hides the names",
    ),
    "two statements": ("SELECT 1; SELECT * FROM invoices", "2 statements"),
    "nothing": ("", "0 statements|kind nothing"),
    "what cannot be parsed": ("SELECT FROM WHERE ((", "does not understand|nested"),
    "a NUL character": ("SELECT * FROM countries\0 WHERE", "NUL|word"),
    "the tenants table": ("SELECT slug FROM tenants", "table tenants"),
    "an insert without columns": ("INSERT INTO invoices VALUES (1, $1)", "lists no columns"),
    "an insert without the tenant": ("INSERT INTO invoices (id) VALUES (1)", "does not fill tenant_id"),
    "an insert that fills it twice": ("INSERT INTO invoices (tenant_id, tenant_id) VALUES ($1, 2)", "once"),
    "an insert of a literal": ("INSERT INTO invoices (tenant_id) VALUES (1)", "not the tenant's parameter"),
    "an insert of another's row": ("INSERT INTO invoices (tenant_id) VALUES ($1), ($2)", "not the tenant's parameter"),
    "an insert of a default": ("INSERT INTO invoices (tenant_id) VALUES (DEFAULT)", "not the tenant's parameter"),
    "an insert of defaults": ("INSERT INTO invoices DEFAULT VALUES", "fills no tenant column"),
    "an insert from one arm": (
        "INSERT INTO invoices (tenant_id) SELECT $1 UNION SELECT 2",
        "not the tenant's parameter",
    ),
    "an insert with * before it": (
        "INSERT INTO invoices (id, tenant_id) SELECT c.*, $1 FROM countries c",
        "hides which value",
    ),
    "an insert of an unrestricted column": (
        "INSERT INTO invoices (tenant_id) SELECT s.tenant_id FROM (SELECT 2 AS tenant_id) AS s",
        "not the tenant's parameter",
    ),
    "an insert of a column that may be NULL, into a table with shared rows": (
        "INSERT INTO templates (tenant_id) SELECT l.tenant_id FROM countries LEFT JOIN lines l ON l.tenant_id = $1",
        "not the tenant's parameter",
    ),
    "an insert into a shared table": ("INSERT INTO countries (id) VALUES (1)", "is not written"),
    "an insert into the tenants table": ("INSERT INTO tenants (id) VALUES ($1)", "is not written"),
    "an upsert without WHERE": (
        "INSERT INTO invoices (tenant_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET total = 1",
        NO_CRITERION,
    ),
    "an upsert bound to EXCLUDED alone": (
        "INSERT INTO invoices (tenant_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET total = 1 "
        "WHERE excluded.tenant_id = $1",
        NO_CRITERION,
    ),
    "an upsert that moves the row": (
        "INSERT INTO invoices (tenant_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.total "
        "WHERE invoices.tenant_id = $1",
        "SET gives tenant_id",
    ),
    "an update of all": ("UPDATE invoices SET total = 1", NO_CRITERION),
    "an update by a source alone": (
        "UPDATE invoices SET total = 1 FROM lines l WHERE l.tenant_id = $1",
        "table invoices",
    ),
    "an update with an unrestricted source": (
        "UPDATE invoices SET total = l.amount FROM lines l WHERE invoices.tenant_id = $1",
        "table lines as l",
    ),
    "an update that moves the row": ("UPDATE invoices SET tenant_id = 2 WHERE tenant_id = $1", "SET gives tenant_id"),
    "an update that moves the row to a source's tenant": (
        "UPDATE invoices SET tenant_id = excluded.tenant_id FROM (SELECT 2 AS tenant_id) AS excluded "
        "WHERE invoices.tenant_id = $1",
        "SET gives tenant_id",
    ),
    "an update of the shared rows": (
        "UPDATE templates SET name = 1 WHERE tenant_id = $1 OR tenant_id IS NULL",
        "rows without a tenant",
    ),
    "an update of a shared table": ("UPDATE countries SET name = 1", "is not written"),
    "a delete of all": ("DELETE FROM invoices", NO_CRITERION),
    "a delete from the tenants table": ("DELETE FROM tenants WHERE id = $1", "is not written"),
    "DDL": ("DROP TABLE invoices", "no statement of the kind"),
    "EXPLAIN": ("EXPLAIN SELECT 1", "no statement of the kind"),
    "a criterion in a comment": ("SELECT * FROM invoices -- WHERE tenant_id = $1", NO_CRITERION),
    "a criterion behind a comment": ("SELECT * FROM invoices WHERE true OR /* */ tenant_id = $1", NO_CRITERION),
    "an alias that renames the columns": (
        "SELECT * FROM invoices AS i(a, tenant_id) WHERE i.tenant_id = $1",
        "renames|does not",
    ),
    "a name that differs": ('SELECT * FROM "Mixed Case" m WHERE m."Tenant_Id" = $1', NO_CRITERION),
    "what never holds, under OR": ("SELECT * FROM invoices WHERE 0 = 1 OR total = 1", NO_CRITERION),
    "what never holds, under NOT": ("SELECT * FROM invoices WHERE NOT 0 = 1", NO_CRITERION),
    "what never holds, tested": ("SELECT * FROM invoices WHERE (0 = 1) IS NOT NULL", NO_CRITERION),
    "what never holds, in the SELECT list": ("SELECT 0 = 1 FROM invoices", NO_CRITERION),
    "what never holds, in HAVING": ("SELECT count(*) FROM invoices HAVING 0 = 1", NO_CRITERION),
    "what always holds": ("SELECT * FROM invoices WHERE 1 = 1", NO_CRITERION),
    "what never holds, by another operator": ("SELECT * FROM invoices WHERE 0 <= 1", NO_CRITERION),
    "strings that may be equal": ("SELECT * FROM invoices WHERE '0' = 1", NO_CRITERION),
    "numbers that may be equal": (
        "SELECT * FROM invoices WHERE 9223372036854775808 = 9223372036854775809",
        NO_CRITERION,
    ),
    "fractions": ("SELECT * FROM invoices WHERE 0.0 = 0", NO_CRITERION),
    "what never holds, in the ON of a left join for its left side": (
        "SELECT 1 FROM invoices i LEFT JOIN lines l ON 0 = 1",
        "table invoices as i",
    ),
    "what never holds, in the ON of a right join for its right side": (
        "SELECT 1 FROM lines l RIGHT JOIN invoices i ON 0 = 1",
        "table invoices as i",
    ),
    "what never holds, in the ON of a full join": (
        "SELECT 1 FROM countries c FULL JOIN invoices i ON 0 = 1",
        "table invoices as i",
    ),
    "what never holds, in the ON of a join beside it": (
        "SELECT 1 FROM (countries c LEFT JOIN countries d ON 0 = 1) LEFT JOIN invoices i ON i.id = c.id",
        "table invoices as i",
    ),
    "what never holds, in the outer block": (
        "SELECT * FROM countries WHERE 0 = 1 AND id IN (SELECT id FROM lines)",
        "table lines",
    ),
    "what never holds, in the inner block": (
        "SELECT * FROM invoices WHERE EXISTS (SELECT 1 FROM lines WHERE 0 = 1)",
        "table invoices",
    ),
    "an update of nothing that moves the row": ("UPDATE invoices SET tenant_id = 2 WHERE 0 = 1", "SET gives tenant_id"),
    "an upsert of nothing that inserts another's": (
        "INSERT INTO invoices (tenant_id) VALUES (2) ON CONFLICT (id) DO UPDATE SET total = 1 WHERE 0 = 1",
        "not the tenant's parameter",
    ),
    "a derived column of another's": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT $1 AS x, $2 AS t) AS s",
        "not the tenant's parameter",
    ),
    "a derived column of one arm": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT $1 AS t UNION ALL SELECT $2) AS s",
        "not the tenant's parameter",
    ),
    "a derived column of a sum": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT $1 + 1 AS t) AS s",
        "not the tenant's parameter",
    ),
    "a sum with a derived column": (
        "INSERT INTO invoices (tenant_id) SELECT s.t + 1 FROM (SELECT $1 AS t) AS s",
        "not the tenant's parameter",
    ),
    "a derived column in a cast that loses a part of the id": (
        "INSERT INTO invoices (tenant_id) SELECT CAST(s.t AS REAL) FROM (SELECT $1 AS t) AS s",
        "not the tenant's parameter",
    ),
    "a derived column of two names": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT 2 AS t, $1 AS t) AS s",
        "not the tenant's parameter",
    ),
    "a derived column beside one without a name": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT CAST(c.t AS INTEGER), $1 AS t FROM (SELECT 2 AS t) "
        "AS c) AS s",
        "not the tenant's parameter",
    ),
    "a derived column behind *": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT c.*, $1 AS t FROM countries c) AS s",
        "not the tenant's parameter",
    ),
    "a derived column that may be another's": (
        "INSERT INTO invoices (tenant_id) SELECT t FROM (SELECT $1 AS t) AS s, (SELECT 2 AS t) AS r",
        "not the tenant's parameter",
    ),
    "a derived column beside what has unknown columns": (
        "INSERT INTO invoices (tenant_id) SELECT t FROM (SELECT $1 AS t) AS s, (SELECT * FROM countries) AS r",
        "not the tenant's parameter",
    ),
    "a derived column that may be NULL, into a table with shared rows": (
        "INSERT INTO templates (tenant_id) SELECT s.t FROM countries c LEFT JOIN (SELECT $1 AS t) AS s ON c.id = s.t",
        "not the tenant's parameter",
    ),
    "a derived column of a table with shared rows, into one": (
        "INSERT INTO templates (tenant_id) SELECT s.t FROM (SELECT t.tenant_id AS t FROM templates t "
        "WHERE t.tenant_id = $1 OR t.tenant_id IS NULL) AS s",
        "not the tenant's parameter",
    ),
    "equal to another derived column": (
        "SELECT 1 FROM invoices i, (SELECT $1 AS t, 2 AS u) AS s WHERE i.tenant_id = s.u",
        "not restricted",
    ),
    "equal to a derived column in the ON of a left join for its left side": (
        "SELECT 1 FROM invoices i LEFT JOIN (SELECT $1 AS t) AS s ON i.tenant_id = s.t",
        "table invoices as i",
    ),
    "equal to a derived column in a cast": (
        "SELECT 1 FROM invoices i, (SELECT $1 AS t) AS s WHERE i.tenant_id = CAST(s.t AS INTEGER)",
        NO_CRITERION,
    ),
}
UNSCOPED = "(SELECT max(l.id) FROM lines l)"
PLACES = {
    "the SELECT list": f"SELECT {UNSCOPED}",
    "WHERE": f"SELECT 1 FROM countries c WHERE c.id = {UNSCOPED}",
    "EXISTS": f"SELECT 1 WHERE EXISTS {UNSCOPED}",
    "IN": f"SELECT 1 FROM countries c WHERE c.id IN {UNSCOPED}",
    "ON": f"SELECT 1 FROM countries c JOIN countries d ON c.id = {UNSCOPED}",
    "GROUP BY": f"SELECT 1 FROM countries c GROUP BY {UNSCOPED}",
    "HAVING": f"SELECT count(*) FROM countries c HAVING count(*) > {UNSCOPED}",
    "ORDER BY": f"SELECT 1 FROM countries c ORDER BY {UNSCOPED}",
    "LIMIT": f"SELECT 1 FROM countries c LIMIT {UNSCOPED}",
    "OFFSET": f"SELECT 1 FROM countries c LIMIT 1 OFFSET {UNSCOPED}",
    "ORDER BY of a set operation": f"SELECT 1 UNION SELECT 2 ORDER BY {UNSCOPED}",
    "LIMIT of a set operation": f"SELECT 1 UNION SELECT 2 LIMIT {UNSCOPED}",
    "a function": f"SELECT coalesce(1, abs({UNSCOPED}))",
    "CASE": f"SELECT CASE WHEN true THEN {UNSCOPED} END",
    "a cast": f"SELECT CAST({UNSCOPED} AS INTEGER)",
    "FILTER": f"SELECT count(*) FILTER (WHERE c.id > {UNSCOPED}) FROM countries c",
    "a window": f"SELECT sum(1) OVER (PARTITION BY {UNSCOPED}) FROM countries c",
    "a named window": f"SELECT sum(1) OVER w FROM countries c WINDOW w AS (ORDER BY {UNSCOPED})",
    "VALUES": f"VALUES (1), ({UNSCOPED})",
    "FROM": f"SELECT * FROM {UNSCOPED} AS s",
    "FROM, in VALUES": f"SELECT * FROM (VALUES ({UNSCOPED})) AS s",
    "a CTE": f"WITH c AS {UNSCOPED} SELECT * FROM c",
    "a subquery of a subquery": f"SELECT (SELECT (SELECT {UNSCOPED}))",
    "VALUES of INSERT": f"INSERT INTO users (id) VALUES ({UNSCOPED})",
    "a SELECT of INSERT": f"INSERT INTO users (id) SELECT {UNSCOPED}",
    "ON CONFLICT": f"INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id = {UNSCOPED}",
    "ON CONFLICT ... WHERE": f"INSERT INTO users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET id "
    f"= 1 WHERE 1 = {UNSCOPED}",
    "RETURNING": f"INSERT INTO users (id) VALUES (1) RETURNING {UNSCOPED}",
    "SET": f"UPDATE users SET id = {UNSCOPED}",
    "WHERE of UPDATE": f"UPDATE users SET id = 1 WHERE id = {UNSCOPED}",
    "RETURNING of UPDATE": f"UPDATE users SET id = 1 RETURNING {UNSCOPED}",
    "WHERE of DELETE": f"DELETE FROM users WHERE id = {UNSCOPED}",
    "RETURNING of DELETE": f"DELETE FROM users RETURNING {UNSCOPED}",
    "a CTE of UPDATE": f"WITH c AS {UNSCOPED} UPDATE users SET id = 1",
}
POSTGRESQL_PLACES = {
    "ARRAY": f"SELECT ARRAY{UNSCOPED}",
    "ANY": f"SELECT 1 = ANY{UNSCOPED}",
    "DISTINCT ON": f"SELECT DISTINCT ON ({UNSCOPED}) 1",
    "a function in FROM": f"SELECT * FROM generate_series(1, {UNSCOPED}) g",
    "TABLESAMPLE": f"SELECT * FROM countries TABLESAMPLE system ({UNSCOPED})",
    "LATERAL": f"SELECT * FROM countries c, LATERAL {UNSCOPED} s",
    "JSON_TABLE": f"SELECT * FROM json_table({UNSCOPED}, '$' COLUMNS (a int)) j",
    "XMLTABLE": f"SELECT * FROM xmltable('/x' PASSING {UNSCOPED} COLUMNS a int) x",
    "SET of several": f"UPDATE users SET (id, email) = {UNSCOPED}",
    "USING": f"DELETE FROM users USING {UNSCOPED} s",
    "MERGE's source": f"MERGE INTO users u USING {UNSCOPED} s ON u.id = s.max WHEN MATCHED THEN DELETE",
    "MERGE's ON": f"MERGE INTO users u USING countries c ON u.id = {UNSCOPED} WHEN MATCHED THEN DELETE",
    "MERGE's condition": f"MERGE INTO users u USING countries c ON true WHEN MATCHED AND 1 = {UNSCOPED} THEN DELETE",
    "MERGE's SET": f"MERGE INTO users u USING countries c ON true WHEN MATCHED THEN UPDATE SET id = {UNSCOPED}",
    "MERGE's VALUES": f"MERGE INTO users u USING countries c ON true WHEN NOT MATCHED THEN INSERT "
    f"(id) VALUES ({UNSCOPED})",
    "a write in a CTE": "WITH d AS (DELETE FROM lines RETURNING *) SELECT 1",
}
SQLITE_PLACES = {"a function in FROM": f"SELECT * FROM json_each({UNSCOPED}) AS j"}
POSTGRESQL_REJECTED = {
    "a cast that cuts the id": ("SELECT * FROM invoices WHERE tenant_id = $1::numeric(1)", "cast to other"),
    "a cast to a type of one's own": ("SELECT * FROM invoices WHERE tenant_id = $1::mine.int4", "cast to other"),
    "another schema's operator": ("SELECT * FROM invoices WHERE tenant_id OPERATOR(mine.=) $1", NO_CRITERION),
    "= ANY": ("SELECT * FROM invoices WHERE tenant_id = ANY ($1)", NO_CRITERION),
    "IS NOT DISTINCT FROM": ("SELECT * FROM invoices WHERE tenant_id IS NOT DISTINCT FROM $1", NO_CRITERION),
    "a row": ("SELECT * FROM invoices WHERE (tenant_id, id) = ($1, 1)", NO_CRITERION),
    "a CTE that names itself without RECURSIVE": (
        "WITH invoices AS (SELECT * FROM invoices) SELECT * FROM invoices",
        "table invoices",
    ),
    "a later CTE": (
        "WITH a AS (SELECT * FROM lines), lines AS (SELECT 1) SELECT * FROM a",
        "table lines",
    ),
    "a quoted name is another": ('SELECT * FROM "Invoices" WHERE tenant_id = $1', "unknown table Invoices"),
    "another database": ("SELECT * FROM other.public.invoices WHERE tenant_id = $1", "catalogname of RangeVar"),
    "SELECT INTO": ("SELECT * INTO copy FROM invoices WHERE tenant_id = $1", "SELECT INTO"),
    "COPY": ("COPY invoices TO STDOUT", "no statement of the kind CopyStmt"),
    "SET": ("SET ROLE postgres", "no statement of the kind VariableSetStmt"),
    "TABLE": ("TABLE invoices", NO_CRITERION),
    "a lock on what is no source": ("SELECT 1 FROM countries c FOR UPDATE OF invoices", "OF names invoices"),
    "an insert into a part of the column": ("INSERT INTO invoices (tenant_id[1]) VALUES ($1)", "part of the column"),
    "a value that is dropped": (
        "INSERT INTO invoices (tenant_id) OVERRIDING USER VALUE VALUES ($1)",
        "OVERRIDING USER VALUE",
    ),
    "SET of several": ("UPDATE invoices SET (tenant_id, id) = (2, 1) WHERE tenant_id = $1", "SET gives tenant_id"),
    "a cursor's row": ("UPDATE invoices SET total = 1 WHERE CURRENT OF c", NO_CRITERION),
    "an inner ON of FROM for the target": (
        "UPDATE invoices SET total = 1 FROM countries c JOIN countries d ON invoices.tenant_id = $1",
        NO_CRITERION,
    ),
    "a merge whose ON lacks the target": (
        "MERGE INTO invoices i USING countries c ON i.id = c.id WHEN MATCHED THEN DELETE",
        "table invoices as i",
    ),
    "a merge by source": (
        "MERGE INTO invoices i USING countries c ON i.tenant_id = $1 WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "table invoices as i",
    ),
    "a merge by source of another condition": (
        "MERGE INTO invoices i USING countries c ON i.tenant_id = $1 WHEN NOT MATCHED BY SOURCE AND i.total = 1 "
        "THEN UPDATE SET total = 1",
        "table invoices as i",
    ),
    "a merge with a source that ON restricts": (
        "MERGE INTO invoices i USING lines l ON i.tenant_id = $1 AND l.tenant_id = $1 WHEN MATCHED THEN DELETE",
        "table lines as l",
    ),
    "a merge that inserts another's": (
        "MERGE INTO invoices i USING countries c ON i.tenant_id = $1 WHEN NOT MATCHED THEN INSERT "
        "(tenant_id) VALUES (c.id)",
        "not the tenant's parameter",
    ),
    "a merge that inserts defaults": (
        "MERGE INTO invoices i USING countries c ON i.tenant_id = $1 WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
        "lists no columns",
    ),
    "a merge that moves the row": (
        "MERGE INTO invoices i USING countries c ON i.tenant_id = $1 WHEN MATCHED THEN UPDATE SET tenant_id = c.id",
        "SET gives tenant_id",
    ),
    "NATURAL": ("SELECT 1 FROM invoices i NATURAL JOIN lines l WHERE i.tenant_id = $1", "table lines as l"),
    "a catalog": ("SELECT * FROM pg_catalog.pg_class", "unknown table pg_catalog.pg_class"),
    "true": ("SELECT * FROM invoices WHERE true", NO_CRITERION),
    "NULL is false": ("SELECT * FROM invoices WHERE coalesce(NULL, true)", NO_CRITERION),
    "another schema's operator never holds": ("SELECT * FROM invoices WHERE 0 OPERATOR(mine.=) 1", NO_CRITERION),
    "a merge by source that matches nothing": (
        "MERGE INTO invoices i USING countries c ON false WHEN NOT MATCHED BY SOURCE THEN DELETE",
        "table invoices as i",
    ),
    "rows in their order, one of them another's": (
        "INSERT INTO invoices (total, tenant_id) SELECT p0::INTEGER, p1::INTEGER FROM (VALUES ($2, $1, 0), "
        "($3, $4, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter",
        "not the tenant's parameter",
    ),
    "rows in another order of columns": (
        "INSERT INTO invoices (total, tenant_id) SELECT p0::INTEGER, p1::INTEGER FROM (VALUES ($2, $1)) "
        "AS imp_sen(p1, p0, sen_counter) ORDER BY sen_counter",
        "not the tenant's parameter",
    ),
    "rows in their order, in a cast that cuts the id": (
        "INSERT INTO invoices (total, tenant_id) SELECT p0, p1::numeric(1) FROM (VALUES ($2, $1)) AS v(p0, p1)",
        "not the tenant's parameter",
    ),
    "an alias that gives a column's name to another": (
        "INSERT INTO invoices (tenant_id) SELECT s.t FROM (SELECT 2 AS x, $1 AS t) AS s(t)",
        "not the tenant's parameter",
    ),
    "a total of all groups, into a table with shared rows": (
        "INSERT INTO templates (tenant_id) SELECT l.tenant_id FROM lines l WHERE l.tenant_id = $1 "
        "GROUP BY ROLLUP (l.tenant_id)",
        "not the tenant's parameter",
    ),
    "a parameter in a total of all groups, into a table with shared rows": (
        "INSERT INTO templates (tenant_id) SELECT $1::int FROM countries GROUP BY ROLLUP (1)",
        "not the tenant's parameter",
    ),
    "an upsert of one name": (
        "INSERT INTO invoices (tenant_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET total = 1 WHERE tenant_id = $1",
        NO_CRITERION,
    ),
}
SQLITE_REJECTED = {
    "IN with a table": ("SELECT 1 WHERE 1 IN invoices", "IN with the name of a table"),
    "INSERT OR REPLACE": ("INSERT OR REPLACE INTO invoices (tenant_id) VALUES ($1)", "removes rows"),
    "REPLACE": ("REPLACE INTO invoices (tenant_id) VALUES ($1)", "no statement of the kind REPLACE"),
    "UPDATE OR REPLACE": ("UPDATE OR REPLACE invoices SET id = 1 WHERE tenant_id = $1", "does not understand"),
    "PRAGMA": ("PRAGMA table_info(invoices)", "no statement of the kind PRAGMA"),
    "ATTACH": ("ATTACH 'x' AS y", "no statement of the kind ATTACH"),
    "a CTE that names itself": ("WITH invoices AS (SELECT * FROM invoices) SELECT 1", "a guess"),
    "IS": ("SELECT * FROM invoices WHERE tenant_id IS $1", NO_CRITERION),
    "a test behind it": ("SELECT * FROM invoices WHERE tenant_id = $1 NOTNULL", NO_CRITERION),
    "another collation": ("SELECT * FROM invoices WHERE tenant_id = $1 COLLATE NOCASE", NO_CRITERION),
    "a comment in a comment": ("SELECT * FROM invoices /* /* */ WHERE tenant_id = $1 -- */", "word or comment"),
    "a comment without an end": ("SELECT * FROM invoices /* WHERE tenant_id = $1", "word or comment"),
    "a space that is none": ("SELECT * FROM invoices WHERE\u00a0tenant_id = $1", "word or comment"),
    "a parameter with a suffix": ("SELECT * FROM invoices WHERE tenant_id = $1(x)", "word or comment"),
    "a parameter without a number": ("SELECT * FROM invoices WHERE tenant_id = :tenant", "word or comment"),
    "an operator SQLite lacks": ("SELECT 1 FROM countries WHERE id <=> 1", "same words"),
    "an alias that is a kind of join elsewhere": (
        "SELECT * FROM invoices SEMI JOIN countries c ON invoices.tenant_id = $1",
        "SEMI JOIN",
    ),
    "joins without parentheses": (
        "SELECT * FROM countries a JOIN countries b JOIN countries c ON 1 ON 2",
        "joins in each other",
    ),
    "a table called as a function": ("SELECT * FROM invoices('x')", "called as a function"),
    "MERGE": ("MERGE INTO users u USING countries c ON 1 WHEN MATCHED THEN DELETE", "kind MERGE"),
    "parentheses without end": ("SELECT " + "(" * 300 + "1" + ")" * 300, "nested too deeply"),
    "joins that a parser would read for hours": ("SELECT 1 FROM countries" + " JOIN countries" * 40, "without ON"),
    "joins that a parser in C has no stack for": (
        "SELECT 1 FROM countries " + "JOIN countries " * 60_000 + "ON 1 " * 60_000,
        "too many joins",
    ),
    "types that a parser in C has no stack for": ("SELECT " + "ARRAY<" * 60_000, "too many joins or comparisons"),
    "SET of several": ("UPDATE invoices SET (tenant_id, id) = (2, 1) WHERE tenant_id = $1", "SET gives tenant_id"),
    "false, which may be a column": ("SELECT * FROM invoices, (SELECT 1 AS false) AS s WHERE false", NO_CRITERION),
    "zero, compared": ("SELECT * FROM invoices WHERE 0 IS NOT 1", NO_CRITERION),
    "the name of a key that is called rowid": (
        "INSERT INTO invoices (tenant_id) SELECT s.id FROM (SELECT rowid, $1 AS id FROM countries) AS s",
        "not the tenant's parameter",
    ),
    "a column beside an aggregate of no rows, into a table with shared rows": (
        "INSERT INTO templates (name, tenant_id) SELECT count(*), s.t FROM (SELECT $1 AS t) AS s WHERE 0 = 1",
        "not the tenant's parameter",
    ),
    "in the ON of an inner join in a right join's kept side": (
        "SELECT 1 FROM countries c RIGHT JOIN (invoices i LEFT JOIN countries d ON true) ON i.tenant_id = $1",
        "keeps rows that fail it",
    ),
}


def cases(both: dict[str, Any], postgresql: dict[str, Any], sqlite: dict[str, Any]) -> list[Any]:
    return [
        pytest.param(dialect, case, id=f"{dialect}: {name}")
        for dialect, own in (("postgresql", postgresql), ("sqlite", sqlite))
        for name, case in (both | own).items()
    ]


@pytest.mark.parametrize(("dialect", "sql"), cases(ACCEPTED, POSTGRESQL_ACCEPTED, SQLITE_ACCEPTED))
def test_what_is_restricted_is_proved(dialect: str, sql: str) -> None:
    found = verdict(sql, dialect)

    assert found.is_proved, found.reason
    assert found.reason == ""
    assert found.relied_on == (TENANT if "$1" in sql else frozenset())


@pytest.mark.parametrize(("dialect", "case"), cases(REJECTED, POSTGRESQL_REJECTED, SQLITE_REJECTED))
def test_what_is_not_restricted_is_not_proved_and_the_reason_says_why(dialect: str, case: tuple[str, str]) -> None:
    sql, reason = case
    found = verdict(sql, dialect)

    assert not found.is_proved
    assert re.search(reason, found.reason), found.reason
    assert found.relied_on == frozenset()


@pytest.mark.parametrize(("dialect", "sql"), cases(PLACES, POSTGRESQL_PLACES, SQLITE_PLACES))
def test_a_subquery_is_judged_wherever_it_stands(dialect: str, sql: str) -> None:
    found = verdict(sql, dialect)
    assert not found.is_proved
    assert "table lines" in found.reason

    mended = sql.replace("FROM lines l)", "FROM lines l WHERE l.tenant_id = $1)").replace(
        "FROM lines RETURNING", "FROM lines WHERE tenant_id = $1 RETURNING"
    )
    assert verdict(mended, dialect).is_proved, verdict(mended, dialect).reason


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_position_is_the_tables_in_characters(dialect: str) -> None:
    sql = "SELECT 'é€𝄞', 1 FROM countries, invoices AS i"

    assert verdict(sql, dialect).position == sql.index("invoices")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_with_no_tenant_parameters_the_verdict_says_which_it_relies_on(dialect: str) -> None:
    sql = "SELECT * FROM invoices i, lines l WHERE i.tenant_id = $3 AND l.tenant_id = $2 AND i.total = $1"
    found = verdict(sql, dialect, None)

    assert found.is_proved
    assert found.relied_on == {2, 3}
    assert not verdict(sql, dialect, frozenset({2})).is_proved
    assert verdict("INSERT INTO invoices (tenant_id) VALUES ($1), ($2)", dialect, None).relied_on == {1, 2}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cast_counts_only_if_it_keeps_the_ids_of_this_type_apart(dialect: str) -> None:
    sql = "SELECT 1 FROM invoices WHERE tenant_id = CAST($1 AS {})"

    def proved(type_: type, name: str) -> bool:
        return verdict(sql.format(name), dialect, tables=described(type_)).is_proved

    assert proved(Integer, "BIGINT")
    assert proved(String, "TEXT")
    assert not proved(String, "INTEGER")
    assert not proved(Integer, "UUID")
    assert proved(Uuid, "UUID") is (dialect == "postgresql")  # on SQLite it makes a number of it
    assert proved(String, "VARCHAR(3)") is (dialect == "sqlite")  # which does not cut


def test_a_dialect_without_a_reader_is_an_error_of_the_setup() -> None:
    with pytest.raises(SetupError, match="not mysql"):
        verdict("SELECT 1", "mysql")


def test_a_missing_parser_is_an_error_of_the_setup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pgparse", None)

    with pytest.raises(SetupError, match=r"pip install 'partywall\[postgresql\]'"):
        verdict("SELECT 1", "postgresql")


def test_a_table_that_a_reader_overlooks_is_not_proved() -> None:
    nothing = model.Select(model.With(), None, (), (), (), ())
    dialect = model.Dialect("public", str, sees_all_siblings=False, groups_loosely=False)

    with pytest.raises(model.NotProvedError, match="names 1 tables, and 0 of them"):
        judge(model.Statement(nothing, 1), TABLES, dialect, TENANT)


# No damage gets past: statements with marked criteria, each damaged in every way


@dataclass
class Criterion:
    """A criterion of *alias*; *others* are further names in its block. With no alias it is a value of INSERT."""

    alias: str
    others: list[str] = field(default_factory=list)
    template: str = "{alias}.tenant_id = {parameter}"

    def text(self, alias: str | None = None, parameter: str = "$1") -> str:
        return self.template.format(alias=alias or self.alias, parameter=parameter)

    def damaged(self, chooser: random.Random) -> dict[str, str]:
        """Return the ways to damage it, by what was done."""
        if not self.alias:
            return {
                "another parameter": "$2",
                "literal": "1",
                "null": "NULL",
                "wrapped": "$1 + 0",
                "subquery": "(SELECT $1)",
            }
        elsewhere = chooser.choice(self.others or ["elsewhere"])
        return {
            "dropped": "TRUE",
            "negated": f"NOT ({self.text()})",
            "true beside it": f"({self.text()} OR TRUE)",
            "moved": self.text(alias=elsewhere),
            "another parameter": self.text(parameter="$2"),
            "literal": self.text(parameter="1"),
            "another operator": self.text().replace(" = ", " >= "),
            "tested": f"({self.text()}) IS NOT NULL",
            "in CASE": f"CASE WHEN {self.text()} THEN TRUE ELSE FALSE END",
        }


class Writer:
    """Writes correctly scoped statements, with its n-th criterion as a mark that holds n."""

    def __init__(self, seed: int, dialect: str) -> None:
        self.random, self.dialect = random.Random(seed), dialect  # noqa: S311  # tests, not secrets
        self.criteria: list[Criterion] = []
        self.names = 0
        self.ctes: list[str] = []

    def name(self) -> str:
        self.names += 1
        return f"s{self.names}"

    def mark(self, alias: str, others: list[str]) -> str:
        templates = ["{alias}.tenant_id = {parameter}", "{parameter} = {alias}.tenant_id"]
        templates.append("{alias}.tenant_id = CAST({parameter} AS INTEGER)")
        found = Criterion(alias, [name for name in others if name != alias], self.random.choice(templates))
        self.criteria.append(found)
        return f"\x01{len(self.criteria) - 1}\x02"

    def value(self) -> str:
        self.criteria.append(Criterion("", template="{parameter}"))
        return f"\x01{len(self.criteria) - 1}\x02"

    def any(self, *choices: Callable[[], str]) -> str:
        return self.random.choice(choices)()

    def source(self, depth: int) -> tuple[str, list[str], list[str]]:
        """Return a source, its names, and those that still need a criterion."""
        name, kind = self.name(), self.random.random()
        if kind < 0.6 or depth == 0:
            return f"{self.random.choice(['invoices', 'lines', 'customers', 'sales.orders'])} AS {name}", [name], [name]
        if kind < 0.7:
            return f"countries AS {name}", [name], []
        if kind < 0.8 and self.ctes:
            return f"{self.random.choice(self.ctes)} AS {name}", [name], []
        return f"({self.select(depth - 1)}) AS {name}", [name], []

    def tree(self, size: int, depth: int) -> tuple[str, list[str], list[str]]:
        """Return a tree of joins, its names, and those that still need a criterion above it."""
        if size == 1:
            return self.source(depth)
        cut = self.random.randint(1, size - 1)
        left, left_names, left_open = self.tree(cut, depth)
        right, right_names, right_open = self.tree(size - cut, depth)
        kind = self.random.choice(["JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        here = {"LEFT JOIN": right_open, "RIGHT JOIN": left_open, "FULL JOIN": []}.get(kind, left_open + right_open)
        placed = [name for name in here if self.random.random() < 0.6]
        names = left_names + right_names
        on = [f"{left_names[0]}.id = {right_names[0]}.id", *(self.mark(name, names) for name in placed)]
        self.random.shuffle(on)
        left, right = (f"({text})" if joined else text for text, joined in ((left, cut > 1), (right, size - cut > 1)))
        open_ = [name for name in left_open + right_open if name not in placed]
        return f"{left} {kind} {right} ON {' AND '.join(on)}", names, open_

    def select(self, depth: int, outputs: str | None = None) -> str:
        sources, names, open_ = self.tree(self.random.choice([1, 1, 2, 3]), depth)
        where = [self.mark(name, names) for name in open_]
        if self.random.random() < 0.4:
            where.append(f"({names[0]}.id > 1 OR {names[-1]}.id < 9)")
        if depth and self.random.random() < 0.3:
            where.append(f"{names[0]}.id IN ({self.select(depth - 1)})")
        self.random.shuffle(where)
        output = outputs or f"{names[0]}.id"
        if outputs is None and depth and self.random.random() < 0.3:
            output = self.any(
                lambda: f"({self.select(depth - 1)}) AS x",
                lambda: f"coalesce(({self.select(depth - 1)}), 0)",
                lambda: f"CASE WHEN EXISTS ({self.select(depth - 1)}) THEN 1 END",
                lambda: f"count(*) FILTER (WHERE {names[0]}.id > ({self.select(depth - 1)}))",
            )
        text = f"SELECT {output} FROM {sources}" + (f" WHERE {' AND '.join(where)}" if where else "")
        if depth and self.random.random() < 0.2:
            text += f" ORDER BY ({self.select(depth - 1)}) LIMIT 3"
        return text

    def query(self) -> str:
        prefix = ""
        if self.random.random() < 0.3:
            body, name = self.select(1), self.name()
            self.ctes.append(name)
            prefix = f"WITH {name} AS ({body}) "
        text = self.select(2)
        if self.random.random() < 0.3 and " ORDER BY " not in text:
            text += f" {self.random.choice(['UNION', 'UNION ALL', 'EXCEPT', 'INTERSECT'])} {self.select(1)}"
        return prefix + text

    def insert(self) -> str:
        chance = self.random.random()
        if chance < 0.4:
            rows = f"VALUES (1, {self.value()}), (2, {self.value()})"
        elif chance < 0.6:
            first, second = f"SELECT 5 AS a, {self.value()} AS b", f"SELECT 6, {self.value()}"
            rows = f"SELECT v.a, CAST(v.b AS INTEGER) FROM ({first} UNION ALL {second}) AS v"
        else:
            rows = (
                self.select(0, outputs=f"3, {self.value()}")
                + " UNION ALL "
                + self.select(1, outputs=f"4, {self.value()}")
            )
        text = f"INSERT INTO invoices (id, tenant_id) {rows}"
        if "VALUES" in rows and self.random.random() < 0.5:
            where = self.mark("invoices", ["excluded"])
            text += f" ON CONFLICT (id) DO UPDATE SET total = ({self.select(0)}) WHERE {where}"
        return text + self.any(lambda: "", lambda: f" RETURNING ({self.select(0)})")

    def update(self) -> str:
        sources, names, open_ = self.tree(self.random.choice([1, 2]), 1)
        where = [self.mark(name, [*names, "invoices"]) for name in [*open_, "invoices"]]
        self.random.shuffle(where)
        return f"UPDATE invoices SET total = ({self.select(0)}) FROM {sources} WHERE {' AND '.join(where)}"

    def delete(self) -> str:
        return f"DELETE FROM lines WHERE {self.mark('lines', [])} AND id IN ({self.select(1)})"

    def merge(self) -> str:
        name = self.name()
        on = self.mark("invoices", [name])
        text = f"MERGE INTO invoices USING ({self.select(1)}) AS {name} ON {on} AND invoices.id = {name}.id "
        text += f"WHEN MATCHED THEN UPDATE SET total = ({self.select(0)}) "
        text += f"WHEN NOT MATCHED BY SOURCE AND {self.mark('invoices', [])} THEN DELETE "
        return text + f"WHEN NOT MATCHED THEN INSERT (id, tenant_id) VALUES (1, {self.value()})"

    def statement(self) -> str:
        kinds = [self.query, self.query, self.query, self.insert, self.update, self.delete]
        if self.dialect == "postgresql":
            kinds += [self.merge, lambda: f"WITH d AS ({self.delete()} RETURNING *) {self.select(1)}"]
        return self.any(*kinds)

    def filled(self, template: str, damaged: int = -1, damage: str = "") -> str:
        def text(match: re.Match[str]) -> str:
            number = int(match[1])
            return damage if number == damaged else self.criteria[number].text()

        return re.sub("\x01([0-9]+)\x02", text, template)


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_damage_to_a_single_criterion_is_noticed(dialect: str, part: int) -> None:
    statements = damages = 0
    for seed in range(part * 1000, part * 1000 + (60 if dialect == "postgresql" else 20)):
        writer = Writer(seed, dialect)
        template = writer.statement()
        whole = verdict(writer.filled(template), dialect)
        assert whole.is_proved, (writer.filled(template), whole.reason)
        statements += bool(writer.criteria)
        kinds = {}
        for number, criterion in enumerate(writer.criteria):
            kinds = criterion.damaged(writer.random)
            for how in writer.random.sample(sorted(kinds), 3 if len(writer.criteria) > 3 else len(kinds)):
                sql = writer.filled(template, number, kinds[how])
                found = verdict(sql, dialect)
                assert not found.is_proved, (how, sql)
                assert "does not understand" not in found.reason, (how, sql)
                damages += 1

    assert statements > 14
    assert damages > 150


# What is proved is sound: the same rows as where there are no others


SCHEMA = """
CREATE TABLE invoices (id, tenant_id, customer_id, total); CREATE TABLE lines (id, tenant_id, invoice_id, amount);
CREATE TABLE templates (id, tenant_id, name); CREATE TABLE countries (id, name);
"""


def world(*tenants: int) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    connection.executemany("INSERT INTO countries VALUES (?, ?)", [(1, 1), (2, 2), (5, 3)])
    connection.executemany("INSERT INTO templates VALUES (?, NULL, ?)", [(2, 1), (5, 2)])
    for tenant in tenants:  # look-alikes, and for each tenant an id that the other lacks
        for id_ in (1, 2, 2 + tenant):
            connection.execute("INSERT INTO invoices VALUES (?, ?, ?, ?)", (id_, tenant, id_, tenant))
            connection.execute("INSERT INTO templates VALUES (?, ?, ?)", (id_, tenant, tenant))
        for id_ in (2, 2 + tenant):
            connection.execute("INSERT INTO lines VALUES (?, ?, ?, ?)", (id_, tenant, id_, tenant))
    return connection


def placed_at_random(chooser: random.Random) -> str:
    """Write a SELECT whose criteria stand anywhere, right or wrong."""
    names: list[str] = []

    def condition(inside: list[str]) -> str:
        first, second = chooser.choice(inside), chooser.choice(inside)
        kinds = [f"{first}.tenant_id = :p1"] * 6 + [f"{first}.tenant_id = {second}.tenant_id"] * 4
        kinds += [f"({first}.tenant_id = :p1 OR {first}.tenant_id IS NULL)"] * 3
        kinds += [f"NOT {first}.tenant_id = :p1", f"({first}.tenant_id = :p1 OR TRUE)", "tenant_id = :p1", "0 = 1"]
        kinds += [f"{first}.tenant_id IS :p1", f"{first}.tenant_id = :p2", f"{first}.tenant_id IS NULL"]
        return chooser.choice(kinds)

    def tree(size: int) -> tuple[str, list[str]]:
        if size == 1:
            name = f"s{len(names)}"
            names.append(name)
            table = chooser.choice(["invoices", "lines", "lines", "templates", "(SELECT 3 AS id, 2 AS tenant_id)"])
            if chooser.random() < 0.1:
                table = "(SELECT 2 AS id, :p1 AS tenant_id UNION SELECT id, :p1 FROM countries)"
            return f"{table} AS {name}", [name]
        cut = chooser.randint(1, size - 1)
        (left, first), (right, second) = tree(cut), tree(size - cut)
        kind = chooser.choice(["JOIN", "LEFT JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
        left, right = (f"({text})" if joined else text for text, joined in ((left, cut > 1), (right, size - cut > 1)))
        if chooser.random() < 0.15:
            using = chooser.choice(["tenant_id", "id, tenant_id"])
            return f"{left} {kind} {right} USING ({using})", first + second
        on = [f"{first[0]}.id = {second[0]}.id"] * chooser.randint(0, 1)
        on += [condition(first + second) for _ in range(chooser.randint(0, 2))]
        return f"{left} {kind} {right} ON {' AND '.join(on or ['TRUE'])}", first + second

    sources, inside = tree(chooser.choice([1, 2, 2, 3, 3]))
    where = [condition(inside) for _ in range(chooser.randint(0, 2))]
    return f"SELECT * FROM {sources}" + (f" WHERE {' AND '.join(where)}" if where else "")


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 39), reason="RIGHT and FULL JOIN came with SQLite 3.39")
def test_what_is_proved_gives_the_rows_it_gives_where_the_tenant_is_alone() -> None:
    chooser = random.Random(7)  # noqa: S311  # tests, not secrets
    both, alone = world(1, 2), world(1)
    proved = leaks = 0
    for _ in range(1500):
        sql = placed_at_random(chooser)
        found = prove(sql, TABLES, dialect="sqlite", tenant_parameters=TENANT)
        parameters = {name: value for name, value in (("p1", 1), ("p2", 2)) if f":{name}" in sql}
        try:
            rows, own = (sorted(map(repr, each.execute(sql, parameters))) for each in (both, alone))
        except sqlite3.OperationalError as error:  # an ambiguous name
            assert "ambiguous" in str(error) or "cannot join" in str(error), (sql, error)
            continue
        assert not found.is_proved or rows == own, sql
        proved += found.is_proved
        leaks += rows != own

    assert proved > 150
    assert leaks > 300
