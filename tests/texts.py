"""
SQL text as applications, and attackers, write it: no tenant anywhere. A bug report becomes one more entry.

Data only. Nothing here knows how text is scoped: tests/test_texts.py compares each with the twin, or wants it refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Integer,
    and_,
    bindparam,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    literal_column,
    not_,
    or_,
    select,
    table,
    text,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.orm import aliased

from tests.models import Customer, Invoice
from tests.writes import tables

DIALECTS = ("sqlite", "postgresql")


@dataclass(frozen=True)
class Text:
    """
    A statement, and what the oracle must know of it.

    Attributes:
        name: What it shows.
        sql: With ``:name`` for each of its parameters; other colons and per cent signs stand for themselves.
        parameters: Their values.
        ordered: Whether the order of its rows counts.
        is_write: Whether it may change rows.
        only: Name of the one database that has it.
        may_fail: Whether another tenant's key is in its way, which alone is not there: only others' rows are checked.
    """

    name: str
    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)
    ordered: bool = False
    is_write: bool = False
    only: str | None = None
    may_fail: bool = False

    def for_text(self) -> str:
        """Return what ``text()`` takes: colons that begin no parameter are escaped."""

        def escape(match: re.Match[str]) -> str:
            return match[0] if match[1] in self.parameters else f"\\{match[0]}"

        return re.sub(r"(?<![:\w\\]):(\w+)", escape, self.sql)

    def for_driver(self, dialect: str) -> tuple[str, Any]:
        """Return the statement and its parameters as the driver takes them: psycopg or sqlite3."""
        values: list[Any] = []

        def mark(match: re.Match[str]) -> str:
            if match[1] not in self.parameters:
                return match[0]
            values.append(self.parameters[match[1]])
            return "?" if dialect == "sqlite" else f"%({match[1]})s"

        doubled = self.sql if dialect == "sqlite" else self.sql.replace("%", "%%")
        marked = re.sub(r"(?<![:\w\\]):(\w+)", mark, doubled)
        if not values:
            return marked, None
        return marked, tuple(values) if dialect == "sqlite" else self.parameters


def by_name(texts: Iterable[Text]) -> dict[str, Text]:
    """Return texts by name, each of which must be new."""
    named: dict[str, Text] = {}
    for each in texts:
        assert each.name not in named, each.name
        named[each.name] = each
    return named


def _read(name: str, sql: str, **parameters: Any) -> Text:
    return Text(name, sql, parameters)


def _ordered(name: str, sql: str, **parameters: Any) -> Text:
    return Text(name, sql, parameters, ordered=True)


def _write(name: str, sql: str, **parameters: Any) -> Text:
    return Text(name, sql, parameters, is_write=True)


# Awkward, and valid: what parsers stumble over.

AWKWARD_POSTGRESQL: dict[str, Text] = by_name(
    [
        # Joins.
        _read(
            "full_join_using_a_column",
            """SELECT customer_id, tag_id, user_id, m.role
            FROM customer_tags AS t FULL OUTER JOIN memberships AS m USING (customer_id)""",
        ),
        _read("natural_join_with_star", "SELECT * FROM memberships NATURAL JOIN customer_tags"),
        _read(
            "comma_then_outer_join_of_a_parenthesised_join",
            """SELECT u.email, c.name, i.number, l.amount
            FROM users u, customers c LEFT JOIN (invoices i INNER JOIN lines l ON l.invoice_id = i.id)
            ON i.customer_id = c.id AND i.paid""",
        ),
        _read(
            "right_join_nested_in_a_left_join",
            """SELECT p.id, c.id, i.id FROM customers p
            LEFT JOIN customers c RIGHT JOIN invoices i ON i.customer_id = c.id ON c.parent_id = p.id""",
        ),
        _read(
            "join_using_with_an_alias_of_its_own",
            """SELECT j.customer_id, t.tag_id, m.user_id
            FROM customer_tags t JOIN memberships m USING (customer_id) AS j WHERE j.customer_id > :least""",
            least=0,
        ),
        _read(
            "left_join_lateral_with_a_limit",
            """SELECT c.name, latest.number, latest.total FROM customers AS c LEFT JOIN LATERAL (
                SELECT i.number, i.total FROM invoices i WHERE i.customer_id = c.id ORDER BY i.total DESC LIMIT 1
            ) AS latest ON TRUE""",
        ),
        _read(
            "lateral_values",
            """SELECT i.number, v.kind, v.amount FROM invoices i
            CROSS JOIN LATERAL (VALUES ('net', i.total), ('gross', i.total * 119 / 100)) AS v (kind, amount)""",
        ),
        # Functions as sources.
        _read(
            "json_elements_with_ordinality",
            """SELECT i.number, e.place, e.value::int
            FROM invoices i, jsonb_array_elements_text(i.data::jsonb -> 'items') WITH ORDINALITY AS e (value, place)""",
        ),
        _read(
            "rows_from_several_functions",
            """SELECT i.number, f.n, f.item FROM invoices i,
            LATERAL ROWS FROM (generate_series(1, 3), json_array_elements_text(i.data -> 'items')) AS f (n, item)""",
        ),
        _read(
            "json_table",
            """SELECT i.number, j.place, j.item FROM invoices i, JSON_TABLE(i.data::jsonb, '$.items[*]'
            COLUMNS (place FOR ORDINALITY, item int PATH '$')) AS j""",
        ),
        _ordered(
            "days_without_an_invoice_by_generate_series",
            """SELECT day::date, count(i.id) FROM generate_series(date '2026-01-01', date '2026-01-10', interval '1 day')
            AS day LEFT JOIN invoices i ON i.issued = day::date GROUP BY day ORDER BY day""",
        ),
        _read(
            "unnest_of_several_arrays",
            """SELECT t.title, w.n, w.weight FROM tickets t
            JOIN unnest(ARRAY[1, 2, 3], ARRAY['a', 'b', 'c']::text[]) AS w (n, weight) ON w.n = t.number""",
        ),
        # Set operations, VALUES, TABLE.
        _ordered(
            "set_operations_with_parentheses_and_limits",
            """(SELECT id FROM invoices ORDER BY total DESC LIMIT 3) UNION ALL
            (SELECT customer_id FROM invoices INTERSECT SELECT id FROM customers EXCEPT ALL
             SELECT parent_id FROM customers) ORDER BY 1 DESC NULLS LAST OFFSET 1""",
        ),
        _read(
            "table_statement_in_a_set_operation_and_in_in",
            """TABLE tickets UNION (SELECT tenant_id, ticket_number + 10, body FROM comments)
            EXCEPT (TABLE tickets LIMIT 0)""",
        ),
        _read(
            "values_joined_to_a_table",
            """SELECT t.number, w.weight FROM (VALUES (1, 0.5), (3, 1.5)) AS w (number, weight)
            LEFT JOIN tickets t ON t.number = w.number WHERE (w.number, 1) IN (VALUES (1, 1), (3, 1))""",
        ),
        # CTEs.
        _ordered(
            "recursive_cte_with_search_and_cycle",
            """WITH RECURSIVE tree (id, parent_id) AS (
                SELECT id, parent_id FROM nodes WHERE parent_id IS NULL
                UNION ALL SELECT n.id, n.parent_id FROM nodes n JOIN tree t ON n.parent_id = t.id
            ) SEARCH DEPTH FIRST BY id SET place CYCLE id SET looped USING path
            SELECT id, looped FROM tree ORDER BY place""",
        ),
        _read(
            "recursive_cte_upwards",
            """WITH RECURSIVE up AS (
                SELECT id, parent_id, 0 AS depth FROM customers
                UNION SELECT c.id, c.parent_id, up.depth + 1 FROM up INNER JOIN customers AS c ON c.id = up.parent_id
            ) SELECT id, max(depth) FROM up GROUP BY id""",
        ),
        _read(
            "cte_named_like_its_table",
            """WITH invoices AS (SELECT id, total FROM invoices WHERE total > 10)
            SELECT count(*), sum(total) FROM invoices""",
        ),
        _read(
            "cte_nested_in_a_subquery_of_a_cte",
            """WITH a AS (SELECT id FROM (WITH b AS (SELECT id, paid FROM invoices) SELECT id FROM b WHERE paid) AS c)
            SELECT (WITH a AS (SELECT count(*) AS n FROM customers) SELECT n FROM a), count(*) FROM a""",
        ),
        _read(
            "materialized_and_not_materialized_ctes",
            """WITH one AS MATERIALIZED (SELECT id, customer_id FROM invoices),
            two AS NOT MATERIALIZED (SELECT id FROM customers)
            SELECT one.id, two.id FROM one FULL JOIN two ON two.id = one.customer_id""",
        ),
        _write(
            "delete_in_a_cte_that_an_insert_reads",
            """WITH gone AS (DELETE FROM lines WHERE position = 9 RETURNING invoice_id, amount),
            kept AS (INSERT INTO tickets (number, title) SELECT 100 + count(*), 'lines' FROM gone
                     RETURNING number, title)
            SELECT k.number, k.title, (SELECT sum(amount) FROM gone) FROM kept AS k""",
        ),
        # JSON and arrays.
        _read(
            "json_operators",
            """SELECT id, data ->> 'kind', data #>> '{items,0}', (data::jsonb)['owner'], data::jsonb - 'items'
            FROM invoices WHERE data::jsonb @> '{"kind":"a"}' AND data::jsonb ? 'owner'
            AND data::jsonb ?| array['owner', 'x'] AND data::jsonb @? '$.items[*] ? (@ > 1)'""",
        ),
        _read(
            "json_constructors_and_queries",
            """SELECT JSON_OBJECT('n' VALUE number, 'c' VALUE customer_id ABSENT ON NULL),
            JSON_VALUE(data::jsonb, '$.items[0]' RETURNING int DEFAULT 0 ON EMPTY),
            JSON_EXISTS(data::jsonb, '$.owner'), data IS JSON OBJECT FROM invoices""",
        ),
        _read(
            "arrays_and_their_slices",
            """SELECT (array_agg(i.id ORDER BY i.total DESC, i.id))[1:2], ARRAY(SELECT t.number FROM tickets t ORDER BY 1),
            array_agg(DISTINCT i.paid ORDER BY i.paid) @> ARRAY[true], cardinality('{1,2}'::int[])
            FROM invoices i WHERE i.number = ANY (ARRAY['R-1', 'R-2', 'R-5']) AND i.total <> ALL ('{0}'::int[])""",
        ),
        # Windows and grouping.
        _ordered(
            "windows_with_frames",
            """SELECT id, sum(total) OVER w, first_value(total) OVER (w ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING),
            count(*) OVER (ORDER BY paid GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES),
            lag(total, 1, -1) OVER (PARTITION BY paid ORDER BY id)
            FROM invoices WINDOW w AS (ORDER BY id) ORDER BY id""",
        ),
        _ordered(
            "window_over_a_range_of_days",
            """SELECT issued, sum(sum(total)) OVER (ORDER BY issued RANGE BETWEEN '2 days'::interval PRECEDING
            AND CURRENT ROW) FROM invoices GROUP BY issued ORDER BY issued""",
        ),
        _read(
            "grouping_sets_cube_and_rollup",
            """SELECT paid, customer_id, GROUPING(paid, customer_id), sum(total) FROM invoices
            GROUP BY GROUPING SETS ((paid), ROLLUP (customer_id), CUBE (paid, customer_id), ())
            HAVING count(*) FILTER (WHERE total > 0) > 0""",
        ),
        _ordered(
            "distinct_on",
            """SELECT DISTINCT ON (customer_id) customer_id, id, total FROM invoices
            ORDER BY customer_id NULLS FIRST, total DESC""",
        ),
        _read(
            "ordered_set_aggregates_and_filter",
            """SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total), mode() WITHIN GROUP (ORDER BY paid),
            percentile_disc(ARRAY[0.25, 0.75]) WITHIN GROUP (ORDER BY total DESC),
            count(DISTINCT customer_id) FILTER (WHERE NOT paid) FROM invoices""",
        ),
        _read(
            "string_agg_with_order",
            """SELECT customer_id, string_agg(DISTINCT number, ', ' ORDER BY number DESC),
            jsonb_object_agg(number, total) FROM invoices GROUP BY 1""",
        ),
        _read(
            "group_by_primary_key",
            """SELECT c.id, c.name, c.country_code, count(i.*) FROM customers c LEFT JOIN invoices i
            ON c.id = i.customer_id GROUP BY c.id ORDER BY count(i.*) DESC, lower(c.name)""",
        ),
        # Expressions.
        _read(
            "casts_of_all_spellings",
            """SELECT CAST(total AS numeric(10, 2)), total::double precision::text, int4 '3', '1'::smallint,
            date '2026-01-01', timestamp with time zone '2026-01-01 00:00:00+00', number::varchar(3),
            CAST(ARRAY[total] AS bigint[])::text FROM invoices""",
        ),
        _read(
            "operators_that_are_qualified_or_rare",
            """SELECT total OPERATOR(pg_catalog.+) 1, total % 3, total # 1, ~total, @ -total, |/ 4.0 FROM invoices
            WHERE number ^@ 'R' AND number ~* '^r-[1-6]$' AND number !~ '9' AND number NOT SIMILAR TO 'R-(8|9)%'""",
        ),
        _read(
            "like_with_escape_and_any",
            r"""SELECT id FROM invoices WHERE number LIKE 'R!-%' ESCAPE '!' AND number ILIKE ANY (ARRAY['r-1%', '%3'])
            AND number NOT LIKE '%\_%'""",
        ),
        _read(
            "row_values",
            """SELECT id FROM invoices i WHERE (customer_id, paid) IN (SELECT c.id, true FROM customers c)
            OR ROW (i.total, i.id) > ROW (30, 0) AND (i.number, i.paid) IS NOT DISTINCT FROM ('R-7', false)""",
        ),
        _read(
            "rare_comparisons",
            """SELECT id, customer_id ISNULL, paid IS NOT UNKNOWN FROM invoices
            WHERE total BETWEEN SYMMETRIC 30 AND 5 AND customer_id IS DISTINCT FROM 0 AND customer_id NOTNULL""",
        ),
        _read(
            "times_zones_and_collations",
            """SELECT number COLLATE "C", (issued + time '10:30') AT TIME ZONE 'UTC', EXTRACT(ISODOW FROM issued),
            issued + interval '1 month -1 day', (issued, issued + 3) OVERLAPS (DATE '2026-01-05', DATE '2026-01-06'),
            date_trunc('month', issued)::date FROM invoices ORDER BY number COLLATE "C" DESC""",
        ),
        _read(
            "quoted_identifiers_and_unicode_escapes",
            r"""SELECT U&"i"."number" AS "a ""quoted"" name", U&'d\0061t\+000061' AS "Select" FROM "invoices" U&"\0069"
            WHERE "i".number <> E'it\'s' AND i.number <> 'it''s'""",
        ),
        _read(
            "dollar_quotes_and_strings_in_parts",
            """SELECT $$it's; -- no comment$$, $tag$/* $$ */$tag$, 'one '
            'string', number /* a /* nested */ comment */ FROM invoices -- the end""",
        ),
        _ordered(
            "fetch_first_with_ties",
            "SELECT paid, id FROM invoices ORDER BY paid OFFSET 1 ROW FETCH FIRST 2 ROWS WITH TIES",
        ),
        _read(
            "subqueries_with_exists_any_and_all",
            """SELECT c.id FROM customers c WHERE EXISTS (SELECT FROM invoices i WHERE i.customer_id = c.id)
            AND c.id <= ALL (SELECT x.id + 3 FROM customers x) AND c.id = SOME (SELECT i.customer_id FROM invoices i)
            AND NOT EXISTS (SELECT 1 FROM memberships m WHERE m.customer_id = c.id AND m.user_id = 2)""",
        ),
        _read(
            "scalar_subquery_in_every_clause",
            """SELECT (SELECT count(*) FROM tickets), paid, sum(total) - (SELECT min(amount) FROM lines) FROM invoices
            WHERE total < (SELECT sum(total) FROM invoices) GROUP BY paid, (SELECT max(number) FROM tickets)
            HAVING count(*) < (SELECT count(*) FROM customers) ORDER BY (SELECT count(*) FROM tags), paid
            LIMIT (SELECT count(*) FROM tags)""",
        ),
        _read(
            "whole_rows",
            """SELECT to_jsonb(t), t IS NOT NULL, (c).body, count(*) OVER () FROM tickets t
            JOIN comments c ON (c).ticket_number = t.number""",
        ),
        _read(
            "sample_of_everything_locked_in_a_subquery",
            """SELECT s.id, c.id FROM invoices AS s TABLESAMPLE BERNOULLI (100) REPEATABLE (1)
            JOIN customers AS c ON c.id = s.customer_id FOR NO KEY UPDATE OF s SKIP LOCKED""",
        ),
        # Writes.
        _write(
            "upsert_of_several_rows_with_a_condition",
            """INSERT INTO accounts AS a (code, balance, version) VALUES ('cash', 5, 1), ('gift', 7, 1)
            ON CONFLICT (tenant_id, code) DO UPDATE SET balance = a.balance + excluded.balance,
            version = a.version + 1 WHERE a.balance > EXCLUDED.balance RETURNING a.code, balance AS now""",
        ),
        _write(
            "update_from_a_join_returning_old_and_new",
            """UPDATE tasks AS t SET (title, priority) = (SELECT p.name || ' ' || t.title, t.priority + 1),
            effort = s.n FROM projects p JOIN (SELECT project_id, count(*) AS n FROM tasks GROUP BY 1) AS s
            ON s.project_id = p.id WHERE p.id = t.project_id RETURNING t.id, old.effort, new.effort, p.name""",
        ),
        _write(
            "delete_using_a_join",
            """DELETE FROM lines AS l USING invoices i LEFT JOIN customers c ON c.id = i.customer_id
            WHERE l.invoice_id = i.id AND c.country_code = :country RETURNING l.*, i.number""",
            country="de",
        ),
        _write(
            "merge_with_all_its_actions",
            """MERGE INTO accounts AS a USING (VALUES ('cash', 5), ('gift', 7)) AS v (code, amount) ON a.code = v.code
            WHEN MATCHED AND a.balance > 0 THEN UPDATE SET balance = a.balance + v.amount
            WHEN NOT MATCHED THEN INSERT (code, balance, version) VALUES (v.code, v.amount, 1)
            WHEN NOT MATCHED BY SOURCE THEN DELETE RETURNING a.code, a.balance""",
        ),
    ]
)

AWKWARD_SQLITE: dict[str, Text] = by_name(
    [
        _read(
            "full_join_using_a_column",
            """SELECT customer_id, t.tag_id, m.user_id FROM customer_tags t FULL OUTER JOIN memberships m
            USING (customer_id)""",
        ),
        _read("natural_join_with_star", "SELECT * FROM memberships NATURAL JOIN customer_tags"),
        _read(
            "natural_left_join", "SELECT m.user_id, t.tag_id FROM memberships m NATURAL LEFT OUTER JOIN customer_tags t"
        ),
        _read(
            "comma_then_outer_join_of_a_parenthesised_join",
            """SELECT u.email, c.name, i.number, l.amount FROM users u, customers c
            LEFT JOIN (invoices i JOIN lines l ON l.invoice_id = i.id) ON i.customer_id = c.id AND i.paid""",
        ),
        _read(
            "right_join_then_cross_join",
            """SELECT c.id, i.id, n.number FROM customers c RIGHT JOIN invoices i ON i.customer_id == c.id
            CROSS JOIN tickets n""",
        ),
        _read(
            "iif_and_double_equals",
            """SELECT id, IIF(paid, 'paid', 'open'), total == 6, total <> 6, NOT paid FROM invoices
            WHERE number == 'R-1' OR total != 6""",
        ),
        _read(
            "json_each_of_a_column",
            "SELECT i.number, e.key, e.value FROM invoices AS i, json_each(i.data, '$.items') AS e WHERE e.value > 0",
        ),
        _read(
            "json_arrows_and_extract",
            """SELECT data -> '$.kind', data ->> 'owner', json_extract(data, '$.items[0]'), data -> 'items' ->> 1,
            json_array_length(data, '$.items') FROM invoices WHERE json_type(data, '$.kind') IS 'text'""",
        ),
        _read(
            "dates_by_strftime",
            """SELECT strftime('%Y-%m', issued), date(issued, '+1 month', 'start of month', '-1 day'),
            julianday(issued) - julianday('2026-01-01'), time('10:30:00') FROM invoices WHERE issued < date('2026-01-05')""",
        ),
        _read(
            "glob_like_escape_and_regular_words",
            """SELECT id FROM invoices WHERE number GLOB 'R-[1-5]' AND number NOT GLOB '*9*'
            AND number LIKE 'r!-%' ESCAPE '!'""",
        ),
        _read(
            "is_between_values",
            """SELECT id, customer_id IS NULL, customer_id ISNULL, customer_id NOTNULL, customer_id IS NOT 101,
            customer_id IS NOT DISTINCT FROM 101, paid IS TRUE FROM invoices WHERE customer_id IS NOT NULL OR paid IS 0""",
        ),
        _read(
            "concatenation", "SELECT number || ' ' || total || x'21', -total, +total, ~total, total % 3 FROM invoices"
        ),
        _ordered(
            "windows_with_frames",
            """SELECT id, sum(total) OVER w, row_number() OVER (PARTITION BY paid ORDER BY id DESC),
            count(*) FILTER (WHERE paid) OVER (ORDER BY id GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW)
            FROM invoices WINDOW w AS (ORDER BY id ROWS UNBOUNDED PRECEDING) ORDER BY id""",
        ),
        _ordered("limit_with_a_comma", "SELECT id FROM invoices ORDER BY total DESC, id LIMIT 1, 3"),
        _ordered(
            "limit_and_offset_of_expressions", "SELECT id FROM tags ORDER BY 1 DESC NULLS LAST LIMIT 1 + 1 OFFSET 1"
        ),
        _read("not_indexed", "SELECT count(*) FROM invoices NOT INDEXED WHERE total > :least", least=3),
        _read(
            "recursive_cte_of_numbers_and_a_tree",
            """WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 5),
            tree(id, depth) AS (SELECT id, 0 FROM nodes WHERE parent_id IS NULL
            UNION ALL SELECT nodes.id, tree.depth + 1 FROM nodes JOIN tree ON nodes.parent_id = tree.id ORDER BY 2)
            SELECT tree.id, tree.depth, n.i FROM tree LEFT JOIN n ON n.i = tree.depth""",
        ),
        _read(
            "cte_named_like_another_table",
            """WITH customers AS MATERIALIZED (SELECT id, total AS name FROM invoices)
            SELECT name, (SELECT count(*) FROM customers) FROM customers""",
        ),
        _read(
            "brackets_and_backticks",
            'SELECT [i].[number] AS [a name], `i`.`total`, "i"."paid" FROM [invoices] AS `i` WHERE [i].id > 0',
        ),
        _read("strings_as_names", "SELECT number AS 'a name', total 'b' FROM invoices AS 'i' WHERE 'i'.total > 3"),
        _read(
            "group_concat_and_total",
            """SELECT paid, group_concat(number, '; '), total(total), max(id), number FROM
            (SELECT * FROM invoices ORDER BY id) GROUP BY paid HAVING count(*) > 1""",
        ),
        _read(
            "values_with_set_operations",
            """VALUES (1, 'a'), (2, 'b') UNION ALL SELECT number, title FROM tickets EXCEPT SELECT 1, 'a'
            UNION SELECT * FROM (VALUES (3, 'c'))""",
        ),
        _read(
            "in_a_table", "SELECT id FROM customers WHERE id IN (SELECT customer_id FROM invoices) AND id NOT IN (1, 2)"
        ),
        _read(
            "row_values_and_bare_exists",
            """SELECT id FROM invoices WHERE (customer_id, paid) IN (SELECT id, 1 FROM customers)
            OR (total, id) > (30, 0) AND EXISTS (SELECT 1 FROM lines WHERE invoice_id = invoices.id)""",
        ),
        _read(
            "casts_and_collations",
            """SELECT CAST(total AS TEXT), CAST(number AS NUMERIC), typeof(total), number COLLATE NOCASE = 'r-1',
            CAST(total AS VARCHAR(10)), round(total / 3.0, 2) FROM invoices ORDER BY number COLLATE RTRIM""",
        ),
        _write(
            "insert_of_several_rows_returning",
            """INSERT INTO tickets (number, title) VALUES (90, 'it''s'), (91, (SELECT max(title) FROM tickets))
            RETURNING number AS n, title || '!', *""",
        ),
        _write(
            "upsert_with_a_condition",
            """INSERT INTO accounts AS a (code, balance, version) VALUES ('cash', 5, 1), ('gift', :gift, 1)
            ON CONFLICT (tenant_id, code) DO UPDATE SET balance = a.balance + excluded.balance
            WHERE excluded.balance < a.balance RETURNING code, balance""",
            gift=7,
        ),
        _write(
            "update_from_a_subquery",
            """UPDATE invoices AS i SET total = i.total + s.amount, (number, paid) = ('x' || i.number, 1)
            FROM (SELECT invoice_id, sum(amount) AS amount FROM lines GROUP BY invoice_id) AS s
            WHERE s.invoice_id = i.id RETURNING id, total""",
        ),
        _write(
            "insert_from_a_select_of_ctes",
            """WITH top(n, name) AS (SELECT number + 100, title FROM tickets WHERE number < 3)
            INSERT INTO tickets (title, number) SELECT name, n FROM top WHERE true
            ON CONFLICT DO NOTHING""",
        ),
        _write(
            "delete_with_subqueries",
            """DELETE FROM lines WHERE invoice_id NOT IN (SELECT id FROM invoices)
            OR EXISTS (SELECT * FROM invoices WHERE id = lines.invoice_id AND total < 10) RETURNING amount""",
        ),
    ]
)
AWKWARD = {"postgresql": AWKWARD_POSTGRESQL, "sqlite": AWKWARD_SQLITE}

# Odd spellings of simple reads. Some are valid in one database, some in none: what the twin says counts, or a refusal.

_COUNT = "SELECT count(*), sum(total) FROM invoices"
_LOOKALIKES = {
    "cyrillic_o": "inv\u043eices",
    "cyrillic_i": "\u0456nvoices",
    "dotless_i": "\u0131nvoices",
    "dotted_capital_i": "\u0130NVOICES",
    "full_width": "\uff49\uff4e\uff56\uff4f\uff49\uff43\uff45\uff53",
    "long_s": "invoice\u017f",
    "zero_width_joiner": "invoices\u200d",
    "zero_width_space_inside": "inv\u200boices",
    "soft_hyphen": "in\u00advoices",
    "combining_accent": "invoices\u0301",
    "right_to_left_mark": "invoices\u200f",
}
_SPACES = {
    "tabs": "\t",
    "form_feeds": "\f",
    "vertical_tabs": "\v",
    "carriage_returns": "\r",
    "no_break_spaces": "\u00a0",
    "ideographic_spaces": "\u3000",
    "line_separators": "\u2028",
    "next_lines": "\u0085",
    "zero_width_spaces": "\u200b",
    "byte_order_marks": "\ufeff",
    "nuls": "\x00",
    "backspaces": "\x08",
    "unit_separators": "\x1f",
    "comments": "/**/",
    "nested_comments": "/*/**/*/",
    "line_comments": "--\n",
    "line_comments_that_end_with_carriage_return": "-- x\r",
    "line_comments_that_end_with_line_separator": "-- x\u2028",
    "line_continuations": "\\\n",
}

SPELLINGS: dict[str, Text] = by_name(
    [
        *(_read(f"table_with_a_{name}", f"SELECT count(*) FROM {spelled}") for name, spelled in _LOOKALIKES.items()),
        *(_read(f"quoted_table_with_a_{name}", f'SELECT count(*) FROM "{each}"') for name, each in _LOOKALIKES.items()),
        *(_read(f"{name}_for_spaces", _COUNT.replace(" ", space)) for name, space in _SPACES.items()),
        *(_read(f"{name}_before_and_after", f"{space}{_COUNT}{space}") for name, space in _SPACES.items()),
        *(_read(f"{name}_in_the_middle_of_a_name", f"SELECT count(*) FROM invo{s}ices") for name, s in _SPACES.items()),
        # Comments.
        _read("comment_between_all_words", "SELECT/**/*/**/FROM/**/invoices"),
        _read("executable_comment_that_is_none", "SELECT count(*) FROM /*! tickets */ invoices"),
        _read("executable_comment_with_a_version", "SELECT count(*) FROM invoices /*!50000 WHERE id > 200 */"),
        _read("executable_comment_of_mariadb", "SELECT count(*) /*M! + 1 */ FROM invoices"),
        _read(
            "executable_comment_with_union",
            "SELECT id FROM tickets /*! UNION SELECT id FROM invoices */",
        ),
        _read("optimizer_hint", "SELECT /*+ SeqScan(invoices) */ count(*) FROM invoices"),
        _read("line_comment_without_space", "SELECT count(*) FROM invoices --x\nWHERE total > 8"),
        _read("line_comment_that_hides_a_condition", "SELECT count(*) FROM invoices --WHERE total > 8"),
        _read("two_minus_signs", "SELECT 5--1\n, count(*) FROM invoices"),
        _read("hash_comment", "SELECT count(*) FROM invoices # WHERE total > 8"),
        _read("hash_operator_and_a_line_break", "SELECT 5 # 1\n, count(*) FROM invoices"),
        _read("nested_comment", "SELECT count(*) FROM invoices /* /* WHERE total > 8 */ */"),
        _read("nested_comment_that_ends_early", "SELECT count(*) FROM invoices /* /* */ WHERE total > 8 -- */"),
        _read("comment_with_a_closing_comment_in_a_string", "SELECT count(*), '/*' FROM invoices WHERE '*/' <> ''"),
        _read("comment_opened_in_a_string", "SELECT '/*', count(*) FROM invoices WHERE total > 8 /* '*/"),
        _read("comment_that_never_ends", "SELECT count(*) FROM invoices /* WHERE total > 8"),
        _read("comment_around_the_rest", "SELECT count(*) FROM invoices /* */ /*/ WHERE total > 8 /*/"),
        _read("comment_start_divided", "SELECT count(*) / * FROM invoices"),
        _read("comment_marker_in_a_name", 'SELECT total AS "/*", id AS "*/" FROM invoices'),
        _read("line_comment_in_a_name", 'SELECT total AS "--" FROM invoices'),
        _read("line_comment_in_a_string", "SELECT '--', id FROM invoices"),
        # Strings.
        _read("backslash_before_the_closing_quote", r"SELECT '\', count(*) FROM invoices WHERE total > 8 -- '"),
        _read("backslash_before_the_closing_quote_and_more", r"SELECT id FROM invoices WHERE number <> '\' OR 1=1 --'"),
        _read("backslash_and_doubled_quotes", r"SELECT '\''', count(*) FROM invoices"),
        _read("escape_string", r"SELECT E'\'', count(*) FROM invoices WHERE E'\\' <> ''"),
        _read("escape_string_that_hides_the_rest", r"SELECT id FROM invoices WHERE number <> E'\' OR 1=1 --'"),
        _read(
            "escape_string_with_codes", r"SELECT id FROM invoices WHERE number = E'\x52-\61' OR number = E'\u0052-2'"
        ),
        _read("unicode_string", r"SELECT id FROM invoices WHERE number = U&'\0052-1'"),
        _read("unicode_string_with_its_own_escape", "SELECT id FROM invoices WHERE number = U&'!0052-1' UESCAPE '!'"),
        _read("unicode_string_that_spells_a_quote", r"SELECT id, U&'\0027 OR 1=1 --' FROM invoices"),
        _read("unicode_name", r'SELECT count(*) FROM U&"\0069nvoices"'),
        _read("unicode_name_with_its_own_escape", """SELECT count(*) FROM U&"!0069nvoices" UESCAPE '!'"""),
        _read("unicode_column", r'SELECT U&"\0069d" FROM invoices'),
        _read("unicode_system_column", r'SELECT U&"ct\0069d"::text FROM invoices'),
        _read("bit_string", "SELECT B'101', X'1F', count(*) FROM invoices"),
        _read("national_string", "SELECT N'a', count(*) FROM invoices"),
        _read("strings_on_two_lines", "SELECT id FROM invoices WHERE number <> 'R-'\n'1'"),
        _read("strings_beside_each_other", "SELECT id FROM invoices WHERE number <> 'R-' '1'"),
        _read("dollar_quotes", "SELECT $$ FROM tickets $$, count(*) FROM invoices"),
        _read("dollar_quotes_with_a_tag", "SELECT $a$ $$ $b$ '$a$, count(*) FROM invoices WHERE $b$'$b$ = ''''"),
        _read("dollar_quote_that_looks_closed", "SELECT $a$ $A$, count(*) FROM tickets --$a$, count(*) FROM invoices"),
        _read("dollars_in_a_name", "SELECT count(*) AS a$$b$$ FROM invoices"),
        _read("numbered_parameter", "SELECT count(*) FROM invoices WHERE id = $1"),
        _read("numbered_parameter_of_sqlite", "SELECT count(*) FROM invoices WHERE id = ?1"),
        _read("named_parameter_of_sqlite", "SELECT count(*) FROM invoices WHERE id = @id"),
        _read("named_parameter_with_a_dollar", "SELECT count(*) FROM invoices WHERE id = $id"),
        _read("parameter_that_was_not_given", "SELECT count(*) FROM invoices WHERE id = ?"),
        _read("percent_parameter_that_was_not_given", "SELECT count(*) FROM invoices WHERE id = %s"),
        _read("percent_signs", "SELECT id % 7, '%s %(a)s %%' FROM invoices"),
        _read("psql_variable", "SELECT count(*) FROM :table"),
        _read("psql_variable_quoted", "SELECT count(*) FROM :\"table\" WHERE id = :'id'"),
        _read("psql_command", "SELECT count(*) FROM invoices \\gset"),
        _read("jinja", "SELECT count(*) FROM {{ invoices }}"),
        _read("jinja_comment", "SELECT count(*) FROM invoices {# WHERE total > 8 #}"),
        # Names.
        _read("upper_case", "SELECT COUNT(*) FROM INVOICES"),
        _read("mixed_case", "sElEcT cOuNt(*) fRoM InVoIcEs I wHeRe i.ToTaL > 8"),
        _read("quoted_table", 'SELECT count(*) FROM "invoices"'),
        _read("quoted_upper_case", 'SELECT count(*) FROM "INVOICES"'),
        _read("quoted_mixed_case_column", 'SELECT "Total" FROM invoices'),
        _read("quoted_with_a_space", 'SELECT count(*) FROM "invoices "'),
        _read("quoted_with_a_quote", 'SELECT count(*) FROM "invoices"""'),
        _read("quoted_without_spaces", 'SELECT"id"FROM"invoices"WHERE"total">8'),
        _read("backticks", "SELECT count(*) FROM `invoices`"),
        _read("backticks_doubled", "SELECT count(*) FROM `invoices```"),
        _read("brackets", "SELECT count(*) FROM [invoices]"),
        _read("brackets_doubled", "SELECT count(*) FROM [invoices]]"),
        _read("string_as_a_table", "SELECT count(*) FROM 'invoices'"),
        _read("string_as_a_table_with_a_schema", "SELECT count(*) FROM 'main'.'invoices'"),
        _read("string_as_a_column", "SELECT 'id' FROM invoices WHERE 'total' > 8"),
        _read("name_that_is_no_column_as_a_string", 'SELECT "no such column", count(*) FROM invoices'),
        _read("main_schema", "SELECT count(*) FROM main.invoices"),
        _read("main_schema_quoted", 'SELECT count(*) FROM "MAIN".[invoices]'),
        _read("temp_schema", "SELECT count(*) FROM temp.invoices"),
        _read("public_schema", "SELECT count(*) FROM public.invoices"),
        _read("public_schema_quoted", 'SELECT count(*) FROM "public"."invoices"'),
        _read("temporary_schema", "SELECT count(*) FROM pg_temp.invoices"),
        _read("catalog_and_schema", "SELECT count(*) FROM nowhere.public.invoices"),
        _read("spaces_around_the_dot", "SELECT count(*) FROM public /* */ . \n invoices"),
        _read("schema_in_a_column", "SELECT public.invoices.id FROM public.invoices"),
        _read("main_schema_in_a_column", "SELECT main.invoices.id FROM invoices"),
        _read("schema_in_a_column_alone", "SELECT public.invoices.id FROM invoices"),
        _read("only", "SELECT count(*) FROM ONLY invoices"),
        _read("only_in_parentheses", "SELECT count(*) FROM ONLY (invoices)"),
        _read("star_after_the_table", "SELECT count(*) FROM invoices *"),
        _read("star_beside_the_table", "SELECT count(*) FROM invoices*"),
        _read("star_after_the_table_and_an_alias", "SELECT count(i.id) FROM invoices * AS i"),
        _read("table_command", "TABLE invoices"),
        _read("table_command_of_only", "TABLE ONLY invoices"),
        _read("table_command_with_a_schema", "TABLE public.invoices"),
        _read("table_command_in_parentheses", "(TABLE invoices)"),
        _read("table_named_like_the_command", "SELECT count(*) FROM TABLE(invoices)"),
        _read("alias_that_is_a_keyword", 'SELECT "where"."id" FROM invoices "where"'),
        _read("alias_that_is_another_table", "SELECT tickets.id FROM invoices tickets"),
        _read("alias_without_as_that_is_a_function", "SELECT count.id FROM invoices count"),
        _read("alias_of_the_same_name", "SELECT invoices.id FROM invoices AS invoices"),
        _read("alias_in_another_case", 'SELECT I.id FROM invoices AS "I"'),
        _read("alias_with_columns", "SELECT i.a FROM invoices AS i (a)"),
        _read("alias_in_quotes_as_a_string", "SELECT id AS 'where' FROM invoices"),
        # Statements.
        _read("trailing_semicolon", _COUNT + ";"),
        _read("trailing_semicolons", _COUNT + " ;; ; "),
        _read("leading_semicolon", "; " + _COUNT),
        _read("two_statements", f"{_COUNT}; {_COUNT}"),
        _read("two_statements_the_second_a_comment", f"{_COUNT}; -- SELECT"),
        _read("two_statements_in_one_line_comment", f"{_COUNT} -- ; SELECT 1"),
        _read("two_statements_parted_by_a_semicolon_in_a_string", "SELECT ';', count(*) FROM invoices; SELECT ';'"),
        _read("statement_then_go", f"{_COUNT}\nGO\nSELECT 1"),
        _read("statement_then_slash", f"{_COUNT}\n/\n"),
        _read("delimiter_command", f"DELIMITER //\n{_COUNT} //"),
        _read("empty", ""),
        _read("nothing_but_a_comment", "/* nothing */"),
        _read("nothing_but_a_semicolon", ";"),
        _read("parentheses_around_the_statement", f"({_COUNT})"),
        _read("parentheses_many_times", f"((({_COUNT})))"),
        _read("parentheses_around_the_table", "SELECT count(*) FROM (invoices)"),
        _read("parentheses_around_the_table_many_times", "SELECT count(*) FROM (((invoices)))"),
        _read("parentheses_around_the_table_and_its_alias", "SELECT count(*) FROM (invoices i)"),
        _read("parentheses_around_the_table_with_an_alias", "SELECT count(*) FROM (invoices) AS i"),
        _read("parentheses_around_a_join", "SELECT count(*) FROM (invoices CROSS JOIN tickets)"),
        _read("parentheses_around_everything", "SELECT(count(*))FROM(invoices)WHERE((total)>(8))"),
        _read("parentheses_that_are_not_closed", "SELECT count(*) FROM (invoices"),
        _read("parentheses_closed_twice", "SELECT count(*) FROM invoices)"),
        _read("deep_parentheses", f"SELECT {'(' * 200}count(*){')' * 200} FROM invoices"),
        _read("select_without_columns", "SELECT FROM invoices"),
        _read("select_without_columns_counted", "SELECT count(*) FROM (SELECT FROM invoices) AS x"),
        _read("from_first", "FROM invoices SELECT count(*)"),
        _read("from_alone", "FROM invoices"),
        _read("select_all", "SELECT ALL id FROM invoices"),
        _read("select_distinct_all", "SELECT DISTINCT ALL id FROM invoices"),
        _read("top", "SELECT TOP 1 id FROM invoices"),
        _read("star_except", "SELECT * EXCEPT (id) FROM invoices"),
        _read("star_exclude", "SELECT * EXCLUDE (id) FROM invoices"),
        _read("group_by_all", "SELECT paid, count(*) FROM invoices GROUP BY ALL"),
        _read("qualify", "SELECT id FROM invoices QUALIFY row_number() OVER (ORDER BY id) = 1"),
        _read("limit_all", "SELECT id FROM invoices LIMIT ALL"),
        _read("limit_null", "SELECT id FROM invoices LIMIT NULL OFFSET NULL"),
        _read("limit_of_minus_one", "SELECT id FROM invoices LIMIT -1"),
        _read("trailing_comma", "SELECT id, FROM invoices"),
        _read("double_colon_cast", "SELECT id::text FROM invoices"),
        _read("try_cast", "SELECT TRY_CAST(id AS text) FROM invoices"),
        _read("cast_operator_beside_a_parameter_sign", "SELECT id :: text FROM invoices"),
        _read("numbers_glued_to_words", "SELECT id FROM invoices WHERE 1=1AND total>8"),
        _read("number_with_an_exponent_as_an_alias", "SELECT 1e0from, count(*) FROM invoices"),
        _read("numbers_with_underscores", "SELECT id FROM invoices WHERE total < 1_000"),
        _read("hexadecimal_numbers", "SELECT id FROM invoices WHERE total < 0xFF"),
        _read("not_equal_in_three_ways", "SELECT id FROM invoices WHERE total <> 6 AND total != 7 AND NOT total = 8"),
        _read("double_equals", "SELECT id FROM invoices WHERE total == 6"),
        _read("spaceship", "SELECT id FROM invoices WHERE total <=> 6"),
        _read("logical_signs", "SELECT id FROM invoices WHERE total > 8 && paid"),
        _read("pipes_are_no_or", "SELECT id FROM invoices WHERE '1' || '' = '1'"),
        _read("bang_is_no_not", "SELECT id FROM invoices WHERE ! paid"),
        _read("precedence_of_not", "SELECT id FROM invoices WHERE NOT total > 8 AND paid OR total = 6"),
        _read("precedence_of_is", "SELECT id FROM invoices WHERE total > 8 IS NOT TRUE"),
        _read("precedence_of_in_and_not", "SELECT id FROM invoices WHERE NOT id IN (101) = true"),
        _read("precedence_of_minus", "SELECT id, -2 ^ 2 FROM invoices"),
        _read("precedence_of_shift", "SELECT id, 1 << 2 + 1, 8 >> 1 - 1 FROM invoices"),
        _read("precedence_of_concatenation", "SELECT 1 || 2 + 3, id FROM invoices"),
        _read("precedence_of_collate", "SELECT id FROM invoices WHERE number || 'A' COLLATE NOCASE = 'R-1a'"),
        _read("precedence_of_between", "SELECT id FROM invoices WHERE total BETWEEN 5 AND 20 AND paid BETWEEN 0 AND 1"),
        _read("integer_division", "SELECT total / 2, total / 2.0, -7 / 2, -7 % 3 FROM invoices"),
        _read("cast_of_a_negative_number", "SELECT id FROM invoices WHERE -1::text = '-1'"),
        _read("boolean_words", "SELECT id FROM invoices WHERE paid = TRUE OR paid = 'f'"),
        _read("null_comparison", "SELECT id FROM invoices WHERE NOT (customer_id = NULL) IS NOT UNKNOWN"),
        _read("isnull_as_a_word", "SELECT id FROM invoices WHERE customer_id ISNULL"),
        _read("order_by_using", "SELECT id FROM invoices ORDER BY id USING >"),
        _read("set_of_all_rows", "SELECT invoices FROM invoices"),
        _read("count_of_a_whole_row", "SELECT count(invoices) FROM invoices"),
        _read("function_as_a_column", "SELECT invoices.count FROM invoices"),
        _read("column_as_a_function", "SELECT id(invoices) FROM invoices"),
        _read("system_column", "SELECT ctid FROM invoices"),
        _read("row_id", "SELECT rowid FROM invoices"),
        _read("row_id_in_another_case", "SELECT RowId, _ROWID_, OID FROM invoices"),
        _read("row_id_in_quotes", 'SELECT "rowid" FROM invoices'),
        _read("row_id_in_brackets", "SELECT [oid] FROM invoices"),
        _read("row_id_as_a_string", "SELECT invoices.'rowid' FROM invoices"),
        _read("hidden_order", "SELECT invoice_id FROM lines ORDER BY rowid LIMIT 1"),
        _read("explain", f"EXPLAIN {_COUNT}"),
        _read("with_without_recursive", "WITH x AS (SELECT id FROM invoices), SELECT * FROM x"),
        _read("with_in_parentheses", "WITH x AS ((SELECT id FROM invoices)) (SELECT * FROM x)"),
        _read("with_values", "WITH x (a) AS (VALUES (1)) SELECT x.a, count(*) FROM invoices, x GROUP BY 1"),
        _read("surrogate", "SELECT '\ud800', count(*) FROM invoices"),
        _read("replacement_character", "SELECT '\ufffd', count(*) FROM invoices"),
        _read("emoji", "SELECT '\U0001f600' AS \U0001f600, count(*) FROM invoices"),
        _read("nul_that_ends_the_statement", "SELECT count(*) FROM invoices \x00 WHERE total > 8"),
        _read("nul_in_a_string", "SELECT 'a\x00b', count(*) FROM invoices"),
        _read("control_z_that_ends_the_statement", "SELECT count(*) FROM invoices \x1a WHERE total > 8"),
        _read("smart_quotes", "SELECT \u2018x\u2019, count(*) FROM invoices"),
        _read("full_width_apostrophe", "SELECT '\uff07 OR 1=1', count(*) FROM invoices"),
        _read("full_width_semicolon", f"{_COUNT}\uff1b SELECT 1"),
        _read("full_width_digits", "SELECT count(*) FROM invoices WHERE total > \uff18"),
        _read("minus_sign_of_typographers", "SELECT count(*) FROM invoices WHERE total > 9 \u2212 1"),
    ]
)

# What must be refused before anything is sent.


@dataclass(frozen=True)
class Refused:
    """
    A statement that is refused.

    Attributes:
        name: What it shows.
        sql: As in `Text`.
        reason: What the reason must name, in any case of letters; None if there is more than one good reason.
        parameters: Values of its parameters.
        foreign: Whether it gives another tenant, so that `ForeignTenantError` is an answer too.
    """

    name: str
    sql: str
    reason: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    foreign: bool = False


def _foreign(name: str, sql: str, **parameters: Any) -> Refused:
    return Refused(name, sql, None, parameters, foreign=True)


def _named(prefix: str, sql: str, known: dict[str, int]) -> str:
    """Return a name for a statement that was not given one, and count those that would be the same."""
    words = re.sub(r"\W+", "_", sql).strip("_").lower()[:70].strip("_")
    name = f"{prefix}_{words}"
    known[name] = known.get(name, 0) + 1
    return name if known[name] == 1 else f"{name}_{known[name]}"


def _calls(*calls: str) -> list[Refused]:
    """Return reads for each call of a function that reads or does what it was not given."""
    refused, known = [], dict[str, int]()
    for call in calls:
        function = re.sub(r"\W", "", call.partition("(")[0].rpartition(".")[2])
        for prefix, sql in (
            ("call_of", f"SELECT {call}"),
            ("call_in_where_of", f"SELECT id FROM invoices WHERE {call} IS NOT NULL"),
        ):
            refused.append(Refused(_named(prefix, call, known), sql, function))
    return refused


def _sources(*sources: str) -> list[Refused]:
    """Return reads of each table or function that nobody declared."""
    refused, known = [], dict[str, int]()
    for source in sources:
        for prefix, sql in (
            ("read_of", f"SELECT * FROM {source}"),
            ("read_in_a_subquery_of", f"SELECT id FROM invoices WHERE EXISTS (SELECT 1 FROM {source})"),
        ):
            refused.append(Refused(_named(prefix, source, known), sql))
    return refused


def _columns(*columns: str) -> list[Refused]:
    """Return statements with each system column in several places."""
    refused, known = [], dict[str, int]()
    for each in columns:
        for prefix, sql in (
            ("select_of", f"SELECT {each} FROM invoices"),
            ("qualified_select_of", f"SELECT i.{each} FROM invoices i"),
            ("where_with", f"SELECT id FROM invoices WHERE {each} IS NOT NULL"),
            ("order_by", f"SELECT id FROM invoices ORDER BY {each}"),
            ("returning_of", f"UPDATE tickets SET title = 'x' RETURNING {each}"),
        ):
            refused.append(Refused(_named(prefix, each, known), sql))
    return refused


def _statements(*statements: str) -> list[Refused]:
    """Return statements under names made of their own words."""
    known: dict[str, int] = {}
    return [Refused(_named("statement", sql, known), sql) for sql in statements]


_REFUSED_EVERYWHERE = [
    *_statements(
        "CREATE TABLE x (id integer)",
        "CREATE TABLE x AS SELECT * FROM invoices",
        "CREATE TEMPORARY TABLE invoices AS SELECT 1 AS id",
        "CREATE VIEW v AS SELECT * FROM invoices",
        "CREATE TEMP VIEW invoices AS SELECT 1 AS id",
        "CREATE INDEX x ON invoices (total)",
        "CREATE UNIQUE INDEX x ON invoices (number)",
        "ALTER TABLE invoices ADD COLUMN x integer",
        "ALTER TABLE invoices RENAME TO x",
        "ALTER TABLE invoices RENAME COLUMN tenant_id TO x",
        "DROP TABLE invoices",
        "DROP TABLE IF EXISTS no_such_table",
        "DROP VIEW IF EXISTS v",
        "DROP INDEX IF EXISTS x",
        "ANALYZE",
        "ANALYZE invoices",
        "REINDEX TABLE invoices",
        "VACUUM",
        "EXPLAIN SELECT * FROM invoices",
        "EXPLAIN DELETE FROM invoices",
        "COMMIT",
        "ROLLBACK",
        "SET x = 1",
        "USE main",
        "KILL 1",
        "SHOW TABLES",
        "DESCRIBE invoices",
        "CALL f()",
        "GRANT SELECT ON invoices TO PUBLIC",
        "REVOKE SELECT ON invoices FROM PUBLIC",
        "COMMENT ON TABLE invoices IS 'x'",
        "TRUNCATE TABLE invoices",
        "LOAD DATA INFILE 'x' INTO TABLE invoices",
        "MERGE INTO no_such_table t USING invoices i ON t.id = i.id WHEN MATCHED THEN DELETE",
        "nonsense",
        "SELECT id FROM invoices WHERE",
        "SELECT id FROM invoices; SELECT id FROM invoices",
        "SELECT 1; DELETE FROM tickets",
        "SELECT 1; DROP TABLE tickets",
        "DELETE FROM tickets; SELECT 1",
    ),
    *_sources("no_such_table", "secrets s", "other.invoices", "no_such_function(1)", "information_schema.tables"),
    Refused("unknown_table_in_a_join", "SELECT 1 FROM invoices JOIN no_such_table n ON true", "no_such_table"),
    Refused("unknown_table_in_a_cte", "WITH x AS (SELECT * FROM no_such_table) SELECT 1", "no_such_table"),
    Refused("unknown_table_in_a_union", "SELECT id FROM invoices UNION SELECT id FROM no_such_table", "no_such_table"),
    Refused("unknown_table_to_update", "UPDATE no_such_table SET x = 1", "no_such_table"),
    Refused("unknown_table_to_delete_from", "DELETE FROM no_such_table", "no_such_table"),
    Refused("unknown_table_to_insert_into", "INSERT INTO no_such_table (x) VALUES (1)", "no_such_table"),
    Refused("alias_that_is_gone_outside", "SELECT 1 FROM (SELECT 1 FROM invoices AS secrets) x, secrets", "secrets"),
    Refused("cte_that_is_gone_outside", "SELECT (WITH secrets AS (SELECT 1) SELECT 1), 2 FROM secrets", "secrets"),
    *_calls("no_such_function()", "evil(1)", '"no_such"(1)'),
    # Writes.
    Refused("insert_without_columns", "INSERT INTO tickets VALUES (2, 90, 'x')"),
    Refused("insert_without_columns_from_select", "INSERT INTO tickets SELECT * FROM tickets"),
    Refused("insert_into_a_shared_table", "INSERT INTO countries (code, name) VALUES ('xx', 'x')", "countries"),
    Refused("update_of_a_shared_table", "UPDATE countries SET name = 'x'", "countries"),
    Refused("update_of_a_shared_table_by_alias", "UPDATE countries AS tickets SET name = 'x'", "countries"),
    Refused("delete_from_a_shared_table", "DELETE FROM countries", "countries"),
    Refused(
        "upsert_into_a_shared_table", "INSERT INTO countries (code, name) VALUES ('de', 'x') ON CONFLICT DO NOTHING"
    ),
    Refused("insert_into_the_tenants_table", "INSERT INTO tenants (id, slug, plan) VALUES (9, 'x', 'x')", "tenants"),
    Refused("update_of_the_tenants_table", "UPDATE tenants SET plan = 'x'", "tenants"),
    Refused("update_of_the_own_tenant", "UPDATE tenants SET plan = 'x' WHERE id = 1", "tenants"),
    Refused("delete_from_the_tenants_table", "DELETE FROM tenants", "tenants"),
    _foreign("foreign_tenant_in_values", "INSERT INTO tickets (tenant_id, number, title) VALUES (2, 90, 'x')"),
    _foreign(
        "foreign_tenant_in_the_second_row",
        "INSERT INTO tickets (tenant_id, number, title) VALUES (1, 90, 'x'), (2, 91, 'x')",
    ),
    _foreign(
        "foreign_tenant_in_a_parameter", "INSERT INTO tickets (tenant_id, number, title) VALUES (:t, 90, 'x')", t=2
    ),
    _foreign("null_tenant", "INSERT INTO tickets (tenant_id, number, title) VALUES (NULL, 90, 'x')"),
    _foreign(
        "null_tenant_in_a_parameter", "INSERT INTO templates (tenant_id, id, name) VALUES (:t, 9001, 'x')", t=None
    ),
    _foreign(
        "null_tenant_where_rows_may_be_shared", "INSERT INTO templates (tenant_id, id, name) VALUES (NULL, 9001, 'x')"
    ),
    _foreign("computed_tenant", "INSERT INTO tickets (tenant_id, number, title) VALUES (1 + 1, 90, 'x')"),
    _foreign(
        "tenant_of_a_subquery",
        "INSERT INTO tickets (tenant_id, number, title) VALUES ((SELECT max(user_id) FROM memberships), 90, 'x')",
    ),
    _foreign(
        "tenant_of_a_case",
        "INSERT INTO tickets (tenant_id, number, title) VALUES (CASE WHEN 1 = 1 THEN 2 ELSE 1 END, 90, 'x')",
    ),
    _foreign("tenant_in_quotes", """INSERT INTO tickets ("tenant_id", number, title) VALUES (2, 90, 'x')"""),
    _foreign("tenant_given_twice", "INSERT INTO tickets (tenant_id, number, title, tenant_id) VALUES (1, 90, 'x', 2)"),
    _foreign("tenant_from_select", "INSERT INTO tickets (tenant_id, number, title) SELECT 2, 90, 'x'"),
    _foreign(
        "tenant_from_a_select_of_rows",
        "INSERT INTO tickets (number, title, tenant_id) SELECT number + 100, title, 2 FROM tickets",
    ),
    _foreign(
        "tenant_from_an_arm_of_a_union",
        "INSERT INTO tickets (tenant_id, number, title) SELECT 1, 90, 'x' UNION ALL SELECT 2, 91, 'x'",
    ),
    _foreign(
        "tenant_from_values_as_a_source",
        "INSERT INTO tickets (tenant_id, number, title) SELECT * FROM (VALUES (2, 90, 'x')) AS v",
    ),
    _foreign(
        "tenant_of_a_user", "INSERT INTO tickets (tenant_id, number, title) SELECT id, 90, 'x' FROM users WHERE id = 2"
    ),
    _foreign("update_to_another_tenant", "UPDATE tickets SET tenant_id = 2"),
    _foreign(
        "update_to_another_tenant_by_a_parameter",
        "UPDATE tickets SET title = 'x', tenant_id = :t WHERE number = 1",
        t=2,
    ),
    _foreign("update_to_no_tenant", "UPDATE templates SET tenant_id = NULL"),
    _foreign("update_to_a_computed_tenant", "UPDATE tickets SET tenant_id = tenant_id + 1"),
    _foreign("update_to_a_tenant_of_a_subquery", "UPDATE tickets SET tenant_id = (SELECT max(id) FROM users)"),
    _foreign("update_of_a_row_with_another_tenant", "UPDATE tickets SET (tenant_id, title) = (2, 'x')"),
    _foreign("update_of_a_row_from_a_select", "UPDATE tickets SET (title, tenant_id) = (SELECT 'x', 2)"),
    _foreign("update_in_quotes", 'UPDATE tickets SET "tenant_id" = 2'),
    _foreign(
        "upsert_to_another_tenant",
        """INSERT INTO tickets (number, title) VALUES (1, 'x')
        ON CONFLICT (tenant_id, number) DO UPDATE SET tenant_id = 2""",
    ),
    _foreign(
        "upsert_to_a_parameter",
        """INSERT INTO tickets (number, title) VALUES (1, 'x')
        ON CONFLICT (tenant_id, number) DO UPDATE SET title = 'y', tenant_id = :t""",
        t=2,
    ),
    _foreign(
        "upsert_to_a_computed_tenant",
        """INSERT INTO tickets (number, title) VALUES (1, 'x')
        ON CONFLICT (tenant_id, number) DO UPDATE SET tenant_id = excluded.number + 1""",
    ),
    _foreign(
        "upsert_of_another_tenant",
        """INSERT INTO tickets (tenant_id, number, title) VALUES (2, 1, 'x')
        ON CONFLICT (tenant_id, number) DO UPDATE SET title = excluded.title""",
    ),
]

REFUSED: dict[str, list[Refused]] = {
    "postgresql": [
        *_REFUSED_EVERYWHERE,
        *_statements(
            "SET search_path = pg_temp",
            "SET SESSION search_path TO public",
            "SET LOCAL search_path TO pg_temp",
            "SET row_security = off",
            "SET LOCAL row_security = off",
            "SET app.tenant_id = '2'",
            "SET LOCAL app.tenant_id = '2'",
            "SET standard_conforming_strings = off",
            "SET LOCAL standard_conforming_strings TO off",
            "SET backslash_quote = on",
            "SET ROLE postgres",
            "SET LOCAL ROLE postgres",
            "SET SESSION AUTHORIZATION postgres",
            "RESET ROLE",
            "RESET ALL",
            "RESET app.tenant_id",
            "SHOW search_path",
            "SHOW ALL",
            "DISCARD ALL",
            "DISCARD TEMP",
            "COPY invoices TO STDOUT",
            "COPY invoices FROM STDIN",
            "COPY (SELECT * FROM invoices) TO STDOUT",
            "COPY invoices TO PROGRAM 'cat'",
            "DO $$ BEGIN DELETE FROM invoices; END $$",
            "DO LANGUAGE plpgsql $x$ BEGIN END $x$",
            "CALL procedure_of_somebody(1)",
            "PREPARE p AS SELECT * FROM invoices",
            "EXECUTE p",
            "DEALLOCATE ALL",
            "SELECT * INTO x FROM invoices",
            "SELECT * INTO TEMP invoices FROM invoices",
            "WITH a AS (SELECT 1 AS b) SELECT b INTO x FROM a",
            "CREATE MATERIALIZED VIEW v AS SELECT * FROM invoices",
            "REFRESH MATERIALIZED VIEW v",
            "CREATE RECURSIVE VIEW v (a) AS SELECT 1",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "CREATE PROCEDURE f() LANGUAGE sql AS 'DELETE FROM invoices'",
            "CREATE TRIGGER t BEFORE INSERT ON invoices FOR EACH ROW EXECUTE FUNCTION f()",
            "CREATE RULE r AS ON SELECT TO invoices DO INSTEAD SELECT * FROM tickets",
            "CREATE POLICY p ON invoices USING (true)",
            "CREATE SCHEMA s",
            "CREATE DATABASE d",
            "CREATE ROLE r",
            "CREATE USER u",
            "CREATE EXTENSION dblink",
            "CREATE SEQUENCE s",
            "CREATE TYPE t AS (a int)",
            "CREATE DOMAIN d AS int",
            "CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq)",
            "CREATE AGGREGATE a (int) (SFUNC = int4pl, STYPE = int)",
            "CREATE CAST (int AS text) WITH INOUT",
            'CREATE COLLATION c FROM "C"',
            "CREATE STATISTICS s ON id, total FROM invoices",
            "CREATE PUBLICATION p FOR ALL TABLES",
            "CREATE SERVER s FOREIGN DATA WRAPPER w",
            "CREATE FOREIGN TABLE f (a int) SERVER s",
            "CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()",
            "CREATE UNLOGGED TABLE x (LIKE invoices)",
            "CREATE TABLE x PARTITION OF invoices DEFAULT",
            "IMPORT FOREIGN SCHEMA s FROM SERVER x INTO public",
            "ALTER TABLE invoices DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE invoices NO FORCE ROW LEVEL SECURITY",
            "ALTER ROLE app BYPASSRLS",
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
            "ALTER SYSTEM SET x = 1",
            "ALTER DATABASE postgres SET app.tenant_id = '2'",
            "DROP SCHEMA public CASCADE",
            "DROP OWNED BY app",
            "REASSIGN OWNED BY app TO postgres",
            "SECURITY LABEL ON TABLE invoices IS 'x'",
            "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC",
            "LISTEN x",
            "UNLISTEN *",
            "NOTIFY x, 'y'",
            "LOCK TABLE invoices",
            "LOCK TABLE ONLY invoices IN ACCESS EXCLUSIVE MODE",
            "DECLARE c CURSOR FOR SELECT * FROM invoices",
            "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM invoices",
            "FETCH ALL FROM c",
            "MOVE 1 FROM c",
            "CLOSE ALL",
            "UPDATE tickets SET title = 'x' WHERE CURRENT OF c",
            "DELETE FROM tickets WHERE CURRENT OF c",
            "VACUUM FULL invoices",
            "VACUUM (ANALYZE) invoices",
            "CLUSTER invoices",
            "CHECKPOINT",
            "LOAD 'x'",
            "EXPLAIN ANALYZE SELECT * FROM invoices",
            "EXPLAIN (ANALYZE, FORMAT JSON) DELETE FROM invoices",
            "TRUNCATE invoices",
            "TRUNCATE ONLY invoices, tickets RESTART IDENTITY CASCADE",
            "START TRANSACTION",
            "PREPARE TRANSACTION 'x'",
            "COMMIT PREPARED 'x'",
            "COMMIT AND CHAIN",
            "ABORT",
            "END",
        ),
        *_sources(
            "pg_catalog.pg_class",
            "pg_class",
            "pg_stats",
            "pg_stat_activity",
            "pg_settings",
            "pg_roles",
            "pg_authid",
            "pg_stat_user_tables",
            "pg_prepared_statements",
            "pg_cursors",
            "pg_locks",
            "pg_largeobject",
            '"pg_catalog"."pg_class"',
            '"pg_class"',
            "PG_CLASS",
            "information_schema.columns",
            "information_schema.role_table_grants",
            "pg_temp.x",
            "pg_toast.pg_toast_1",
            "dblink('dbname=x', 'SELECT 1') AS d (a int)",
            "query_to_xml('SELECT 1', true, true, '') AS q",
            "pg_ls_dir('.') AS d",
            "pg_show_all_settings() AS s",
            "ts_stat('SELECT to_tsvector(number) FROM invoices') AS s",
            "pg_get_keywords() AS k",
            "pg_sequences",
            "events_id_seq",
            "invoices_pkey",
            "crosstab('SELECT 1') AS c (a int)",
            "connectby('invoices', 'id', 'customer_id', '1', 0) AS c (a int)",
            "XMLTABLE('/a' PASSING query_to_xml('SELECT 1', true, true, '') COLUMNS b text PATH 'c') AS x",
            "ROWS FROM (pg_sleep(0)) AS r",
        ),
        Refused("update_of_a_catalog", "UPDATE pg_settings SET setting = '2' WHERE name = 'app.tenant_id'"),
        Refused("update_of_a_catalog_by_its_schema", "UPDATE pg_catalog.pg_settings SET setting = 'off'"),
        *_columns("ctid", "xmin", "xmax", "cmin", "cmax", "tableoid", '"ctid"', "tableoid::regclass", "CTID"),
        *_calls(
            "set_config('app.tenant_id', '2', true)",
            "pg_catalog.set_config('row_security', 'off', false)",
            "SET_CONFIG('role', 'postgres', true)",
            "\"set_config\"('app.tenant_id', '2', true)",
            "current_setting('app.tenant_id')",
            "current_setting('app.tenant_id', true)",
            "query_to_xml('SELECT * FROM invoices', true, true, '')",
            "query_to_xml_and_xmlschema('SELECT 1', true, true, '')",
            "query_to_xmlschema('SELECT 1', true, true, '')",
            "table_to_xml('invoices', true, true, '')",
            "table_to_xmlschema('invoices', true, true, '')",
            "schema_to_xml('public', true, true, '')",
            "database_to_xml(true, true, '')",
            "cursor_to_xml('c', 1, true, true, '')",
            "ts_rewrite('a'::tsquery, 'SELECT 1, 2')",
            "ts_stat('SELECT 1')",
            "dblink('dbname=x', 'SELECT 1')",
            "dblink_exec('x', 'DELETE FROM invoices')",
            "dblink_connect('x')",
            "lo_import('/etc/passwd')",
            "lo_export(1, '/tmp/x')",
            "lo_get(1)",
            "lo_create(0)",
            "lo_put(1, 0, 'x')",
            "lo_from_bytea(0, 'x')",
            "lo_unlink(1)",
            "loread(1, 2)",
            "lowrite(1, 'x')",
            "pg_read_file('x')",
            "pg_read_binary_file('x')",
            "pg_ls_dir('.')",
            "pg_stat_file('x')",
            "nextval('events_id_seq')",
            "currval('events_id_seq')",
            "lastval()",
            "setval('events_id_seq', 1)",
            "pg_get_serial_sequence('events', 'id')",
            "pg_sequence_last_value('events_id_seq')",
            "pg_advisory_lock(1)",
            "pg_advisory_xact_lock(1)",
            "pg_try_advisory_lock(1)",
            "pg_advisory_unlock_all()",
            "pg_sleep(0)",
            "pg_sleep_for('0 seconds')",
            "txid_current()",
            "pg_current_xact_id()",
            "pg_current_snapshot()",
            "pg_backend_pid()",
            "pg_terminate_backend(1)",
            "pg_cancel_backend(1)",
            "pg_reload_conf()",
            "pg_notify('a', 'b')",
            "pg_relation_size('invoices')",
            "pg_total_relation_size('invoices')",
            "pg_table_size('invoices')",
            "pg_database_size('x')",
            "pg_stat_get_live_tuples(1)",
            "pg_get_viewdef('x')",
            "pg_get_functiondef(1)",
            "pg_export_snapshot()",
            "pg_logical_emit_message(true, 'a', 'b')",
            "pg_column_size(1)",
            "obj_description(1, 'pg_class')",
            "col_description(1, 1)",
            "has_table_privilege('invoices', 'SELECT')",
            "row_security_active('invoices')",
            "to_regclass('invoices')",
            "inet_client_addr()",
            "pg_postmaster_start_time()",
            "pg_stat_statements_reset()",
            "pg_input_is_valid('x', 'regclass')",
            "currtid2('invoices', '(0,1)')",
            "pg_catalog.pg_sleep(0)",
            "public.no_such_function(1)",
        ),
        *_statements(
            "SELECT 'invoices'::regclass",
            "SELECT CAST('invoices' AS regclass)",
            "SELECT regclass 'invoices'",
            "SELECT 1259::regclass::text",
            "SELECT 'pg_sleep'::regproc",
            "SELECT '1'::xid",
            "SELECT id OPERATOR(public.+) 1 FROM invoices",
            "SELECT id <<>> 1 FROM invoices",
            "SELECT nextval('events_id_seq') FROM invoices",
            "INSERT INTO tickets (number, title) VALUES (nextval('events_id_seq'), 'x')",
            "UPDATE tickets SET title = current_setting('app.tenant_id')",
            "DELETE FROM tickets RETURNING set_config('a.b', 'c', true)",
            "SELECT id FROM invoices ORDER BY pg_sleep(0)",
            "SELECT id FROM invoices GROUP BY id HAVING pg_sleep(0) IS NULL",
            "SELECT id FROM invoices LIMIT (SELECT length(set_config('a.b', 'c', true)))",
            "SELECT count(*) FILTER (WHERE pg_sleep(0) IS NULL) FROM invoices",
            "SELECT sum(total) OVER (ORDER BY pg_sleep(0)) FROM invoices",
            "WITH x AS MATERIALIZED (SELECT set_config('a.b', 'c', true)) SELECT * FROM x, invoices",
            "SELECT * FROM invoices, LATERAL (SELECT set_config('a.b', 'c', true)) AS s",
            "SELECT number FROM invoices UNION ALL SELECT set_config('a.b', 'c', true)",
            "VALUES (set_config('a.b', 'c', true))",
            "SELECT * FROM invoices TABLESAMPLE evil (100)",
            "SELECT id FROM invoices /*! UNION SELECT 1 */; SELECT 1",
            "WITH x AS (DELETE FROM countries RETURNING code) SELECT * FROM x",
            "WITH x AS (INSERT INTO tenants (id, slug, plan) VALUES (9, 'x', 'x')) SELECT 1",
            "WITH x AS (INSERT INTO tickets VALUES (2, 90, 'x') RETURNING 1) SELECT * FROM x",
            "MERGE INTO countries c USING invoices i ON c.code = i.number WHEN MATCHED THEN DELETE",
            "MERGE INTO tenants t USING invoices i ON t.id = i.id WHEN MATCHED THEN UPDATE SET plan = 'x'",
            "MERGE INTO tickets t USING invoices i ON t.number = i.id WHEN NOT MATCHED THEN INSERT VALUES (2, i.id, 'x')",
        ),
        _foreign(
            "update_to_another_tenant_in_a_cte",
            "WITH x AS (UPDATE tickets SET tenant_id = 2 RETURNING 1) SELECT * FROM x",
        ),
        _foreign(
            "insert_of_another_tenant_in_a_cte",
            "WITH x AS (INSERT INTO tickets (tenant_id, number, title) VALUES (2, 90, 'x') RETURNING 1) SELECT * FROM x",
        ),
        _foreign(
            "merge_that_updates_to_another_tenant",
            """MERGE INTO tickets t USING invoices i ON t.number = i.total
            WHEN MATCHED THEN UPDATE SET tenant_id = 2""",
        ),
        _foreign(
            "merge_that_updates_to_a_computed_tenant",
            """MERGE INTO tickets t USING users u ON t.number = u.id
            WHEN MATCHED THEN UPDATE SET title = 'x', tenant_id = u.id""",
        ),
        _foreign(
            "merge_that_inserts_another_tenant",
            """MERGE INTO tickets t USING users u ON t.number = u.id + 100
            WHEN NOT MATCHED THEN INSERT (tenant_id, number, title) VALUES (2, u.id + 100, 'x')""",
        ),
        _foreign(
            "merge_that_inserts_a_tenant_of_its_source",
            """MERGE INTO tickets t USING users u ON t.number = u.id + 100
            WHEN NOT MATCHED THEN INSERT (tenant_id, number, title) VALUES (u.id, u.id + 100, 'x')""",
        ),
        _foreign(
            "insert_overriding",
            "INSERT INTO tickets (tenant_id, number, title) OVERRIDING SYSTEM VALUE VALUES (2, 90, 'x')",
        ),
        _foreign("unicode_tenant", r"""INSERT INTO tickets (U&"tenant\005Fid", number, title) VALUES (2, 90, 'x')"""),
        _foreign("upper_case_tenant", "INSERT INTO tickets (TENANT_ID, number, title) VALUES (2, 90, 'x')"),
        _foreign("update_to_default", "UPDATE tickets SET tenant_id = DEFAULT"),
    ],
    "sqlite": [
        *_REFUSED_EVERYWHERE,
        *_statements(
            "PRAGMA table_info(invoices)",
            "PRAGMA writable_schema = ON",
            "PRAGMA recursive_triggers = ON",
            "PRAGMA database_list",
            "PRAGMA main.user_version",
            "ATTACH DATABASE ':memory:' AS other",
            "ATTACH ':memory:' AS 'invoices'",
            "DETACH DATABASE other",
            "VACUUM INTO '/tmp/x.db'",
            "EXPLAIN QUERY PLAN SELECT * FROM invoices",
            "CREATE TRIGGER t AFTER INSERT ON tickets BEGIN DELETE FROM invoices; END",
            "CREATE TEMP TRIGGER t AFTER INSERT ON main.tickets BEGIN DELETE FROM invoices; END",
            "CREATE VIRTUAL TABLE v USING fts5(a)",
            "CREATE VIRTUAL TABLE temp.v USING dbstat(main)",
            "DROP TRIGGER IF EXISTS t",
            "REINDEX",
            "ALTER TABLE invoices DROP COLUMN total",
            "SAVEPOINT x; SELECT 1",
            "END TRANSACTION",
            "REPLACE INTO tickets (number, title) VALUES (1, 'x')",
            "INSERT OR REPLACE INTO tickets (number, title) VALUES (1, 'x')",
            "INSERT OR REPLACE INTO invoices (id, number) VALUES (201, 'x')",
            "UPDATE OR REPLACE invoices SET id = 201 WHERE id = 101",
            "WITH x AS (SELECT 1) REPLACE INTO tickets (number, title) SELECT 1, 'x' FROM x",
            "INSERT INTO tickets DEFAULT VALUES; SELECT 1",
            "DELETE FROM tickets ORDER BY number LIMIT 1; SELECT 1",
        ),
        *_sources(
            "sqlite_master",
            "sqlite_schema",
            "main.sqlite_master",
            "sqlite_temp_master",
            "temp.sqlite_master",
            "temp.sqlite_schema",
            '"sqlite_master"',
            "[sqlite_master]",
            "`sqlite_master`",
            "'sqlite_master'",
            "SQLITE_MASTER",
            "sqlite_sequence",
            "sqlite_stat1",
            "sqlite_stat4",
            "dbstat",
            "sqlite_dbpage",
            "bytecode('SELECT 1')",
            "pragma_table_info('invoices')",
            "pragma_database_list",
            "pragma_database_list()",
            "pragma_function_list",
            "PRAGMA_TABLE_LIST",
            "fts5vocab('main', 'x', 'row')",
            "readfile('/etc/passwd')",
            "fsdir('.')",
            "csv('x')",
            "completion('x')",
            "carray(1)",
        ),
        *_columns("rowid", "_rowid_", "oid", '"rowid"', "[rowid]", "`_rowid_`", "ROWID"),
        *_calls(
            "load_extension('x')",
            "readfile('/etc/passwd')",
            "writefile('/tmp/x', 'y')",
            "edit('x')",
            "last_insert_rowid()",
            "changes()",
            "total_changes()",
            "sqlite_source_id()",
            "sqlite_compileoption_used('x')",
            "sqlite_compileoption_get(1)",
            "sqlite_offset(id)",
            "sqlite_log(1, 'x')",
            "fts3_tokenizer('x')",
            "LAST_INSERT_ROWID()",
            "[changes]()",
            '"total_changes"()',
            "`load_extension`('x')",
        ),
        *_statements(
            "SELECT id FROM invoices ORDER BY last_insert_rowid()",
            "SELECT id FROM invoices LIMIT changes()",
            "INSERT INTO tickets (number, title) VALUES (total_changes(), 'x')",
            "UPDATE tickets SET title = load_extension('x')",
            "DELETE FROM tickets RETURNING changes()",
            "VALUES (last_insert_rowid())",
            "SELECT count(*) FILTER (WHERE changes()) FROM invoices",
            "SELECT sum(total) OVER (ORDER BY changes()) FROM invoices",
            "SELECT id FROM invoices WHERE id IN sqlite_master",
            "SELECT 1 IN sqlite_schema",
            "SELECT id FROM invoices WHERE number MATCH (SELECT sql FROM sqlite_master)",
            "WITH x AS (SELECT * FROM sqlite_master) SELECT * FROM x",
            "SELECT id FROM invoices UNION SELECT name FROM sqlite_master",
            "SELECT (SELECT sql FROM sqlite_master LIMIT 1)",
            "UPDATE sqlite_master SET sql = 'x'",
            "DELETE FROM sqlite_sequence",
            "INSERT INTO sqlite_stat1 (tbl) VALUES ('x')",
        ),
        _foreign("tenant_in_brackets", "INSERT INTO tickets ([tenant_id], number, title) VALUES (2, 90, 'x')"),
        _foreign("tenant_in_backticks", "INSERT INTO tickets (`tenant_id`, number, title) VALUES (2, 90, 'x')"),
        _foreign("tenant_as_a_string", "INSERT INTO tickets ('tenant_id', number, title) VALUES (2, 90, 'x')"),
        _foreign("tenant_in_upper_case", "INSERT INTO tickets (TENANT_ID, number, title) VALUES (2, 90, 'x')"),
        _foreign(
            "tenant_in_quoted_upper_case", "INSERT INTO tickets (\"Tenant_Id\", number, title) VALUES (2, 90, 'x')"
        ),
        _foreign("update_in_upper_case", "UPDATE tickets SET TENANT_ID = 2"),
        _foreign("update_in_quoted_upper_case", 'UPDATE tickets SET "Tenant_ID" = 2'),
        _foreign("update_as_a_string", "UPDATE tickets SET 'tenant_id' = 2"),
        _foreign("update_in_brackets", "UPDATE tickets SET [tenant_id] = 2"),
        _foreign("update_twice", "UPDATE tickets SET tenant_id = 1, tenant_id = 2"),
        _foreign("update_or_ignore", "UPDATE OR IGNORE tickets SET tenant_id = 2"),
        _foreign("insert_or_ignore", "INSERT OR IGNORE INTO tickets (tenant_id, number, title) VALUES (2, 90, 'x')"),
    ],
}

# What tries to get at other tenants' rows: the same as alone, or refused.


def _pg(*texts: Text) -> list[Text]:
    return [Text(t.name, t.sql, t.parameters, t.ordered, t.is_write, "postgresql", t.may_fail) for t in texts]


def _lite(*texts: Text) -> list[Text]:
    return [Text(t.name, t.sql, t.parameters, t.ordered, t.is_write, "sqlite", t.may_fail) for t in texts]


def _hijack(name: str, sql: str, **parameters: Any) -> Text:
    return Text(name, sql, parameters, is_write=True, may_fail=True)


HOSTILE: dict[str, Text] = by_name(
    [
        # OR 1=1 in every position.
        _read("or_true_in_where", "SELECT id FROM invoices WHERE total > 9 OR 1=1"),
        _read(
            "or_true_in_where_of_a_join",
            "SELECT i.id, c.id FROM invoices i, customers c WHERE i.customer_id = c.id OR 1=1",
        ),
        _read("or_true_in_on", "SELECT i.id, c.id FROM invoices i JOIN customers c ON i.customer_id = c.id OR 1=1"),
        _read(
            "or_true_in_on_of_a_left_join",
            "SELECT i.id, c.id FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id OR 1=1",
        ),
        _read(
            "or_true_in_on_of_a_right_join",
            "SELECT i.id, c.id FROM invoices i RIGHT JOIN customers c ON c.id = i.customer_id OR 1=1",
        ),
        _read("or_true_in_having", "SELECT paid, count(*) FROM invoices GROUP BY paid HAVING count(*) > 99 OR 1=1"),
        _read("or_true_in_a_filter", "SELECT count(*) FILTER (WHERE total > 9 OR 1=1) FROM invoices"),
        _read(
            "or_true_in_exists",
            "SELECT id FROM tickets t JOIN customers c ON EXISTS (SELECT 1 FROM lines l WHERE l.invoice_id = c.id OR 1=1)",
        ),
        _read("or_the_tenant_column", "SELECT id FROM invoices WHERE total > 9 OR tenant_id = 2"),
        _read("or_not_the_tenant_column", "SELECT id FROM invoices WHERE NOT (tenant_id = 1) OR tenant_id <> 1"),
        _read("tenant_in_all", "SELECT id FROM invoices WHERE tenant_id IN (1, 2, 3)"),
        _read("tenant_is_itself", "SELECT id FROM invoices i WHERE i.tenant_id = i.tenant_id"),
        _read("or_after_a_comment", "SELECT id FROM invoices WHERE total > 9 --\n OR 1=1"),
        _read("or_in_a_parameter", "SELECT id FROM invoices WHERE number = :number", number="' OR 1=1 --"),
        _read("unbalanced_parentheses", "SELECT id FROM invoices WHERE (total > 9) OR (1=1"),
        _read("parenthesis_closed_early", "SELECT id FROM invoices WHERE total > 9) OR (1=1)"),
        _read("and_false_or_true", "SELECT id FROM invoices WHERE 1=0 AND total > 9 OR true"),
        _read("not_not", "SELECT id FROM invoices WHERE NOT NOT total > 0 OR NOT (total > 0)"),
        _read("in_and_or_without_parentheses", "SELECT id FROM invoices WHERE id IN (201) OR id = 202 OR paid"),
        _read("case_with_or", "SELECT CASE WHEN total > 9 OR 1=1 THEN id END FROM invoices"),
        # Poisoned rows: foreign keys that point across.
        _read("join_over_a_poisoned_key", "SELECT i.id, c.* FROM invoices i JOIN customers c ON c.id = i.customer_id"),
        _read(
            "join_over_a_poisoned_key_backwards",
            "SELECT l.amount, i.* FROM lines l JOIN invoices i ON i.id = l.invoice_id",
        ),
        _read(
            "left_join_over_a_poisoned_key",
            "SELECT c.id, p.name, p.remarks FROM customers c LEFT JOIN customers p ON p.id = c.parent_id",
        ),
        _read(
            "right_join_over_a_poisoned_key",
            "SELECT p.remarks, c.id FROM customers p RIGHT JOIN customers c ON p.id = c.parent_id",
        ),
        _read(
            "full_join_over_a_poisoned_key",
            "SELECT p.id, p.remarks, c.id FROM customers p FULL JOIN customers c ON p.id = c.parent_id",
        ),
        _read(
            "secondary_table_over_poisoned_keys",
            "SELECT c.id, t.name, t.id FROM customers c JOIN customer_tags x ON x.customer_id = c.id JOIN tags t ON t.id = x.tag_id",
        ),
        _read(
            "outer_joins_over_poisoned_keys",
            "SELECT c.id, x.tag_id, t.id FROM customers c LEFT JOIN customer_tags x ON x.customer_id = c.id LEFT JOIN tags t ON t.id = x.tag_id",
        ),
        _read(
            "outer_join_whose_side_is_an_inner_join",
            "SELECT c.id, i.id, l.amount FROM customers c LEFT JOIN (invoices i JOIN lines l ON l.invoice_id = i.id) ON i.customer_id = c.id",
        ),
        _read(
            "left_join_without_condition_of_both",
            "SELECT t.number, c.body FROM tickets t LEFT JOIN comments c ON t.number = c.ticket_number AND c.position = 1",
        ),
        _read(
            "left_join_then_right_join_then_full_join",
            "SELECT c.id, i.id, l.amount, t.number FROM customers c LEFT JOIN invoices i ON i.customer_id = c.id RIGHT JOIN lines l ON l.invoice_id = i.id FULL JOIN tickets t ON t.number = l.position",
        ),
        _read(
            "anti_join_by_where",
            "SELECT i.id FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id WHERE c.id IS NULL",
        ),
        _read(
            "composite_key_joined_in_part",
            "SELECT t.title, c.body FROM tickets t JOIN comments c ON c.ticket_number = t.number",
        ),
        _read("halves_of_inherited_rows", "SELECT p.name, x.nickname FROM parties p LEFT JOIN persons x USING (id)"),
        _read("natural_join_of_everything", "SELECT * FROM parties NATURAL LEFT JOIN persons"),
        _read("natural_full_join", "SELECT * FROM memberships NATURAL FULL JOIN customer_tags"),
        _read(
            "natural_join_with_a_renaming_subquery",
            "SELECT * FROM (SELECT number AS position, title FROM tickets) t NATURAL JOIN lines",
        ),
        _read("using_the_tenant", "SELECT i.id, c.id, tenant_id FROM invoices i JOIN customers c USING (tenant_id)"),
        _read(
            "full_join_using_the_tenant",
            "SELECT i.id, c.id, tenant_id FROM invoices i FULL JOIN customers c USING (tenant_id)",
        ),
        _read(
            "full_join_that_never_matches",
            "SELECT i.id, t.number FROM invoices i FULL JOIN tickets t ON i.total = -t.number",
        ),
        _read("cross_join_of_itself", "SELECT a.id, b.id FROM invoices a CROSS JOIN invoices b WHERE a.id < b.id"),
        # Set operations.
        _read("union_arm", "SELECT id FROM tags WHERE id = 0 UNION SELECT id FROM invoices"),
        _read(
            "union_arm_behind_parentheses",
            "SELECT id FROM tags WHERE id = 0 UNION ALL SELECT * FROM (SELECT id FROM invoices) AS x",
        ),
        _read(
            "union_arm_of_a_union_arm",
            "SELECT id FROM tags INTERSECT SELECT id FROM customers UNION SELECT id FROM invoices EXCEPT SELECT id FROM documents",
        ),
        _read("except_shows_what_is_missing", "SELECT customer_id FROM invoices EXCEPT SELECT id FROM customers"),
        _read(
            "union_in_exists",
            "SELECT id FROM tags WHERE EXISTS (SELECT 1 FROM invoices WHERE id = 201 UNION SELECT 1 FROM invoices WHERE id = 202)",
        ),
        _read("union_in_a_cte", "WITH x AS (SELECT id FROM tags UNION SELECT id FROM invoices) SELECT count(*) FROM x"),
        # Subqueries in each clause.
        _read("subquery_in_the_select_list", "SELECT (SELECT sum(total) FROM invoices), id FROM tags"),
        _read("subquery_without_source_outside", "SELECT (SELECT max(remarks) FROM customers)"),
        _read("subquery_in_where", "SELECT id FROM tags WHERE (SELECT count(*) FROM invoices) > 7"),
        _read(
            "subquery_in_on",
            "SELECT a.id, b.id FROM tags a JOIN tags b ON a.id < b.id AND (SELECT count(*) FROM invoices) > 7",
        ),
        _read(
            "subquery_in_group_by",
            "SELECT count(*) FROM tags GROUP BY (SELECT count(*) FROM invoices WHERE customer_id = tags.id + 100)",
        ),
        _read(
            "subquery_in_having",
            "SELECT count(*) FROM tags HAVING count(*) < (SELECT count(*) FROM invoices WHERE id > 200)",
        ),
        _read(
            "subquery_in_limit", "SELECT number FROM tickets ORDER BY number LIMIT (SELECT count(*) / 7 FROM invoices)"
        ),
        _read(
            "subquery_in_offset",
            "SELECT number FROM tickets ORDER BY number LIMIT 9 OFFSET (SELECT count(*) / 14 FROM invoices)",
        ),
        _read("subquery_in_values", "SELECT * FROM (VALUES ((SELECT count(*) FROM invoices), 1)) AS v"),
        _read("subquery_in_values_alone", "VALUES ((SELECT count(*) FROM invoices))"),
        _read("subquery_in_a_function", "SELECT coalesce((SELECT max(id) FROM invoices), 0)"),
        _read(
            "subquery_in_a_case",
            "SELECT CASE (SELECT count(*) FROM invoices) WHEN 7 THEN 'alone' ELSE (SELECT max(number) FROM invoices) END",
        ),
        _read("subquery_in_a_cast", "SELECT CAST((SELECT max(id) FROM invoices) AS text)"),
        _read(
            "subquery_in_between",
            "SELECT id FROM tags WHERE id BETWEEN (SELECT min(id) FROM invoices) AND (SELECT max(id) FROM invoices)",
        ),
        _read("subquery_in_in", "SELECT (201) IN (SELECT id FROM invoices), 201 NOT IN (SELECT id FROM invoices)"),
        _read(
            "subquery_in_a_window", "SELECT id, sum(id) OVER (ORDER BY (SELECT max(id) FROM invoices), id) FROM tags"
        ),
        _read(
            "subquery_in_a_partition",
            "SELECT id, count(*) OVER (PARTITION BY (SELECT max(i.id) FROM invoices i WHERE i.customer_id = tags.id + 100)) FROM tags",
        ),
        _read("subquery_in_an_aggregate", "SELECT sum((SELECT count(*) FROM invoices WHERE id > tags.id)) FROM tags"),
        _read("subquery_in_a_like", "SELECT 'tenant2' LIKE (SELECT max(slug) FROM tenants)"),
        _read("subquery_of_a_subquery_of_a_subquery", "SELECT (SELECT (SELECT (SELECT count(*) FROM invoices)))"),
        _ordered(
            "order_by_a_subquery",
            "SELECT id FROM tags ORDER BY (SELECT count(*) FROM invoices WHERE id % 3 = tags.id % 3 AND id > 200) DESC, id",
        ),
        _ordered(
            "order_by_a_case_over_other_rows",
            "SELECT number FROM tickets ORDER BY CASE WHEN EXISTS (SELECT 1 FROM invoices WHERE id = 201) THEN number ELSE -number END",
        ),
        _ordered("order_by_and_limit_over_all", "SELECT id FROM invoices ORDER BY id DESC LIMIT 1"),
        _read(
            "correlated_to_a_table_outside",
            "SELECT id, (SELECT name FROM customers WHERE customers.id = invoices.customer_id) FROM invoices",
        ),
        _read(
            "column_that_is_the_outer_tables",
            "SELECT t.number FROM tickets t WHERE EXISTS (SELECT 1 FROM users WHERE tenant_id = 2)",
        ),
        _read(
            "tenant_column_of_an_inner_source",
            "SELECT id FROM invoices i WHERE EXISTS (SELECT 1 FROM customers i WHERE tenant_id <> i.tenant_id OR tenant_id = 2)",
        ),
        _read("exists_of_another_tenants_id", "SELECT EXISTS (SELECT 1 FROM invoices WHERE id = 201)"),
        _read(
            "exists_of_another_tenants_remark", "SELECT EXISTS (SELECT 1 FROM customers WHERE remarks LIKE '%tenant 2')"
        ),
        _read(
            "not_exists_of_the_tenants_table",
            "SELECT NOT EXISTS (SELECT 1 FROM tenants WHERE id = 2), (SELECT count(*) FROM tenants)",
        ),
        _read("plans_of_tenants", "SELECT t.id, t.plan FROM tenants t LEFT JOIN users u ON u.id = t.id"),
        _read(
            "tenants_of_a_poisoned_row",
            "SELECT t.slug, t.plan FROM memberships m JOIN tenants t ON t.id = m.customer_id / 100",
        ),
        _read("shared_rows_of_others", "SELECT id, name FROM templates WHERE tenant_id IS NULL OR tenant_id = 2"),
        _read(
            "shared_rows_in_an_outer_join",
            "SELECT u.id, t.id FROM users u LEFT JOIN templates t ON t.id = 201 OR t.tenant_id IS NULL",
        ),
        # CTEs, aliases and subqueries that are named like tables.
        _read("cte_named_like_its_table", "WITH invoices AS (SELECT * FROM invoices) SELECT count(*) FROM invoices"),
        _read("cte_named_like_another_table", "WITH tickets AS (SELECT id, total FROM invoices) SELECT * FROM tickets"),
        _read(
            "cte_used_before_it_is_defined",
            "WITH a AS (SELECT count(*) AS n FROM invoices), invoices AS (SELECT 1 AS id) SELECT a.n, (SELECT count(*) FROM invoices) FROM a",
        ),
        _read(
            "cte_used_before_it_is_defined_though_recursive",
            "WITH RECURSIVE a AS (SELECT count(*) AS n FROM invoices), invoices AS (SELECT 1 AS id) SELECT a.n FROM a",
        ),
        _read(
            "cte_of_an_inner_statement",
            "SELECT (WITH invoices AS (SELECT 1 AS id) SELECT count(*) FROM invoices), count(*) FROM invoices",
        ),
        _read(
            "cte_of_an_inner_statement_first",
            "SELECT count(*) FROM (WITH invoices AS (SELECT 1 AS id) SELECT * FROM invoices) x, invoices",
        ),
        _read(
            "cte_of_an_outer_statement_hidden_inside",
            "WITH x AS (SELECT 1 AS id) SELECT (WITH x AS (SELECT id FROM invoices) SELECT count(*) FROM x), id FROM x",
        ),
        _read("cte_named_in_another_case", "WITH INVOICES AS (SELECT 1 AS id) SELECT * FROM invoices"),
        _read("cte_named_in_quoted_upper_case", 'WITH "INVOICES" AS (SELECT 1 AS id) SELECT count(*) FROM invoices'),
        _read("cte_named_in_quotes_used_without", 'WITH "Invoices" AS (SELECT 1 AS id) SELECT count(*) FROM Invoices'),
        _read(
            "cte_named_like_a_table_with_a_schema",
            "WITH invoices AS (SELECT 1 AS id) SELECT count(*) FROM main.invoices",
        ),
        _read(
            "cte_named_like_a_table_of_the_public_schema",
            "WITH invoices AS (SELECT 1 AS id) SELECT count(*) FROM public.invoices",
        ),
        _read(
            "cte_in_an_arm_of_a_union",
            "SELECT id FROM invoices UNION ALL SELECT * FROM (WITH invoices AS (SELECT -1 AS id) SELECT id FROM invoices) AS x",
        ),
        _read(
            "cte_before_a_union_holds_for_both_arms",
            "WITH invoices AS (SELECT -1 AS id) SELECT id FROM invoices UNION ALL SELECT id FROM invoices",
        ),
        _read(
            "cte_with_renamed_columns",
            "WITH x (tenant_id, id) AS (SELECT id, tenant_id FROM invoices) SELECT * FROM x WHERE tenant_id > 0",
        ),
        _read(
            "cte_recursive_named_like_its_table",
            "WITH RECURSIVE invoices (id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM invoices WHERE id < 3) SELECT * FROM invoices",
        ),
        _read(
            "cte_recursive_over_poisoned_keys",
            "WITH RECURSIVE up (id, parent_id, remarks) AS (SELECT id, parent_id, remarks FROM customers WHERE parent_id IS NOT NULL UNION SELECT c.id, c.parent_id, c.remarks FROM customers c JOIN up ON c.id = up.parent_id) SELECT * FROM up",
        ),
        _read(
            "cte_recursive_with_a_recursive_use_in_a_subquery",
            "WITH RECURSIVE x (id) AS (SELECT min(id) FROM invoices UNION ALL SELECT (SELECT min(i.id) FROM invoices i WHERE i.id > x.id) FROM x WHERE x.id IS NOT NULL) SELECT id FROM x",
        ),
        _read(
            "ctes_that_recurse_into_each_other",
            "WITH RECURSIVE a AS (SELECT id FROM invoices UNION SELECT id FROM b), b AS (SELECT id FROM a) SELECT count(*) FROM a",
        ),
        _read(
            "cte_nested_in_itself",
            "WITH x AS (WITH x AS (WITH x AS (SELECT id FROM invoices) SELECT * FROM x) SELECT * FROM x) SELECT count(*) FROM x",
        ),
        _read(
            "cte_inside_on",
            "SELECT t.number FROM tickets t JOIN users u ON u.id IN (WITH tickets AS (SELECT 1 AS number) SELECT number FROM tickets)",
        ),
        _read(
            "alias_named_like_another_table",
            "SELECT tickets.id FROM invoices AS tickets, tickets AS invoices WHERE invoices.number = 1",
        ),
        _read(
            "aliases_exchanged",
            "SELECT customers.total, invoices.name FROM invoices AS customers JOIN customers AS invoices ON invoices.id = customers.customer_id",
        ),
        _read("subquery_named_like_its_table", "SELECT invoices.id FROM (SELECT * FROM invoices) AS invoices"),
        _read(
            "subquery_named_like_a_table_beside_it",
            "SELECT t.id FROM (SELECT id FROM invoices) AS t, (SELECT * FROM tickets) AS invoices",
        ),
        _read(
            "subquery_hides_a_table_that_is_read_inside",
            "SELECT x.n FROM (SELECT 1 AS id) AS invoices, (SELECT count(*) AS n FROM invoices) AS x",
        ),
        _read("alias_named_like_a_shared_table", "SELECT countries.id FROM invoices AS countries"),
        _read(
            "alias_list_that_renames_a_column",
            "SELECT * FROM (SELECT id, number FROM invoices) AS x (tenant_id, number)",
        ),
        _read("tenant_column_by_another_name", "SELECT customer_id AS tenant_id, id FROM invoices WHERE tenant_id > 0"),
        _read(
            "tenant_column_renamed_and_grouped", "SELECT tenant_id % 2 AS tenant_id, count(*) FROM invoices GROUP BY 1"
        ),
        _read(
            "constant_named_like_the_tenant_column",
            "SELECT x.tenant_id, x.id FROM (SELECT 1 AS tenant_id, id FROM invoices) AS x",
        ),
        _read("derived_star", "SELECT x.* FROM (SELECT invoices.* FROM invoices) AS x"),
        _read("star_of_a_join", "SELECT i.*, c.* FROM invoices i, customers c WHERE c.id = i.customer_id"),
        _read(
            "derived_table_of_a_join_of_derived_tables",
            "SELECT * FROM (SELECT a.id, b.amount FROM (SELECT * FROM invoices) a LEFT JOIN (SELECT * FROM lines) b ON b.invoice_id = a.id) AS z",
        ),
        # Aggregates, windows and functions.
        _read("aggregates_over_everything", "SELECT count(*), min(id), max(id), sum(total), avg(total) FROM invoices"),
        _read("count_of_nothing", "SELECT count(*) FROM invoices WHERE 1=0 OR tenant_id <> 1"),
        _read("groups_by_tenant", "SELECT tenant_id, count(*) FROM invoices GROUP BY tenant_id"),
        _read(
            "window_over_all",
            "SELECT id, rank() OVER (ORDER BY total), count(*) OVER (), max(id) OVER () FROM invoices",
        ),
        _read("window_partitioned_by_tenant", "SELECT id, lead(id) OVER (ORDER BY tenant_id, id) FROM invoices"),
        _read("distinct_tenants", "SELECT DISTINCT tenant_id FROM customers"),
        _read("division_that_fails_on_others", "SELECT id FROM invoices WHERE 1 / (total - 12) >= 0 OR id = 101"),
        # Parameters.
        _read("parameter_for_the_tenant", "SELECT id FROM invoices WHERE tenant_id = :tenant_id", tenant_id=2),
        _read(
            "parameter_named_like_ours",
            "SELECT id FROM invoices WHERE tenant_id = :partywall_tenant",
            partywall_tenant=2,
        ),
        _read(
            "parameter_named_like_ours_and_true",
            "SELECT id FROM invoices WHERE 1 = :partywall_tenant",
            partywall_tenant=1,
        ),
        _read(
            "parameter_named_like_a_mark",
            "SELECT id FROM invoices WHERE tenant_id = :partywall_mark_0",
            partywall_mark_0=2,
        ),
        _read("parameter_named_like_a_label", "SELECT id FROM invoices WHERE tenant_id = :tenant_id_1", tenant_id_1=2),
        _read("parameter_in_a_string", "SELECT ':id', id FROM invoices WHERE id > :least", least=0),
        _read(
            "parameter_used_twice",
            "SELECT id FROM invoices WHERE id > :least AND total > :least OR :least = 0",
            least=0,
        ),
        _read("parameter_as_a_limit", "SELECT count(*) FROM (SELECT id FROM invoices LIMIT :most) AS x", most=100),
        _read("parameter_beside_a_cast", "SELECT id FROM invoices WHERE CAST(:a AS text) = '1' OR total > 0", a="1"),
        _read("ids_of_another_tenant", "SELECT * FROM invoices WHERE id IN (:a, :b)", a=201, b=202),
        _read("control_characters_like_marks", "SELECT '\x01T\x02', '\x010\x02', id FROM invoices"),
        _read("placeholders_in_a_string", "SELECT '%(partywall_tenant)s ? :partywall_tenant %s $1', id FROM invoices"),
        # Writes.
        _write("update_of_all", "UPDATE invoices SET total = 0"),
        _write("update_or_true", "UPDATE invoices SET total = 0 WHERE id = 101 OR 1=1"),
        _write("update_of_another_tenants_row", "UPDATE invoices SET total = 0 WHERE id = 201"),
        _write("update_of_an_alias", "UPDATE invoices AS i SET total = 0 WHERE i.tenant_id = 2 OR i.paid"),
        _write(
            "update_of_an_alias_named_like_a_table", "UPDATE invoices AS tickets SET total = 0 WHERE tickets.id > 0"
        ),
        _write(
            "update_from_another_tenants_rows", "UPDATE tickets SET title = c.remarks FROM customers c WHERE c.id = 201"
        ),
        _write(
            "update_from_itself", "UPDATE tickets SET title = o.title FROM tickets AS o WHERE o.number = tickets.number"
        ),
        _write(
            "update_from_a_join",
            "UPDATE tickets SET title = c.remarks FROM invoices i JOIN customers c ON c.id = i.customer_id WHERE i.number = 'R-6'",
        ),
        _write(
            "update_from_a_left_join",
            "UPDATE tickets SET title = coalesce(c.name, 'none') FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id WHERE i.number = 'R-6'",
        ),
        _write("update_by_a_subquery", "UPDATE tickets SET title = (SELECT max(remarks) FROM customers)"),
        _write(
            "update_where_a_subquery",
            "UPDATE tickets SET title = 'x' WHERE EXISTS (SELECT 1 FROM invoices WHERE id = 201)",
        ),
        _write("update_in_a_row_from_a_subquery", "UPDATE tickets SET (title) = (SELECT max(remarks) FROM customers)"),
        _write(
            "update_returning_a_subquery",
            "UPDATE tickets SET title = 'x' WHERE number = 1 RETURNING (SELECT count(*) FROM invoices)",
        ),
        _write(
            "update_with_a_cte_named_like_the_target",
            "WITH tickets AS (SELECT 201 AS n) UPDATE tickets SET title = 'x'",
        ),
        _write(
            "update_with_a_cte_named_like_a_source",
            "WITH customers AS (SELECT 201 AS id, 'x' AS remarks) UPDATE tickets SET title = c.remarks FROM customers c",
        ),
        _write("update_of_shared_rows", "UPDATE templates SET name = 'x'"),
        _write("update_of_shared_rows_alone", "UPDATE templates SET name = 'x' WHERE tenant_id IS NULL"),
        _write("delete_of_all", "DELETE FROM lines"),
        _write("delete_or_true", "DELETE FROM lines WHERE amount = 0 OR 1=1"),
        _write("delete_of_another_tenants_row", "DELETE FROM invoices WHERE id = 201"),
        _write("delete_of_an_alias", "DELETE FROM lines AS l WHERE l.tenant_id <> 1 OR l.amount > 0"),
        _write("delete_where_a_subquery", "DELETE FROM tickets WHERE number < (SELECT count(*) / 7 FROM invoices)"),
        _write(
            "delete_with_a_correlated_subquery",
            "DELETE FROM tickets WHERE EXISTS (SELECT 1 FROM comments c WHERE c.ticket_number = tickets.number AND c.tenant_id <> tickets.tenant_id)",
        ),
        _write(
            "delete_returning_a_subquery",
            "DELETE FROM tickets WHERE number = 1 RETURNING (SELECT max(remarks) FROM customers)",
        ),
        _write(
            "delete_with_a_cte",
            "WITH x AS (SELECT id FROM invoices) DELETE FROM lines WHERE invoice_id IN (SELECT id FROM x)",
        ),
        _write("delete_of_shared_rows", "DELETE FROM templates"),
        _write(
            "insert_from_another_tenants_rows", "INSERT INTO tickets (number, title) SELECT id, remarks FROM customers"
        ),
        _write(
            "insert_from_a_union_of_rows",
            "INSERT INTO tickets (number, title) SELECT id, name FROM tags UNION ALL SELECT id + 1000, remarks FROM customers ORDER BY 1 LIMIT 20",
        ),
        _write(
            "insert_from_a_cte",
            "WITH x AS (SELECT id, remarks FROM customers) INSERT INTO tickets (number, title) SELECT * FROM x WHERE id > 0",
        ),
        _write(
            "insert_from_a_cte_inside",
            "INSERT INTO tickets (number, title) WITH x AS (SELECT id, remarks FROM customers) SELECT id, remarks FROM x",
        ),
        _write(
            "insert_from_a_join",
            "INSERT INTO tickets (number, title) SELECT i.id, c.remarks FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id WHERE c.id IS NOT NULL OR i.id > 0 AND c.remarks IS NOT NULL",
        ),
        _write(
            "insert_of_subqueries",
            "INSERT INTO tickets (number, title) VALUES ((SELECT max(id) FROM invoices), (SELECT max(remarks) FROM customers))",
        ),
        _write(
            "insert_returning_a_subquery",
            "INSERT INTO tickets (number, title) VALUES (90, 'x') RETURNING (SELECT max(remarks) FROM customers)",
        ),
        _write(
            "insert_of_the_own_tenant_from_select",
            "INSERT INTO tickets (tenant_id, number, title) SELECT tenant_id, number + 100, title FROM tickets",
        ),
        _write(
            "insert_from_select_with_a_tenant_by_name",
            "INSERT INTO tickets (number, title) SELECT tenant_id + 100, 'x' FROM customers GROUP BY tenant_id",
        ),
        _write(
            "insert_from_a_full_join",
            "INSERT INTO tickets (number, title) SELECT coalesce(i.id, t.number + 1000), coalesce(i.number, t.title) FROM invoices i FULL JOIN tickets t ON false",
        ),
        _write(
            "upsert_of_an_own_row",
            "INSERT INTO tickets (number, title) VALUES (1, 'x') ON CONFLICT (tenant_id, number) DO UPDATE SET title = excluded.title",
        ),
        _write(
            "upsert_with_a_subquery",
            "INSERT INTO tickets (number, title) VALUES (1, 'x') ON CONFLICT (tenant_id, number) DO UPDATE SET title = (SELECT max(remarks) FROM customers)",
        ),
        _write(
            "upsert_where_a_subquery",
            "INSERT INTO tickets (number, title) VALUES (1, 'x') ON CONFLICT (tenant_id, number) DO UPDATE SET title = 'y' WHERE EXISTS (SELECT 1 FROM invoices WHERE id = 201)",
        ),
        _write(
            "upsert_or_true",
            "INSERT INTO tickets (number, title) VALUES (1, 'x'), (90, 'x') ON CONFLICT (tenant_id, number) DO UPDATE SET title = 'y' WHERE 1=0 OR 1=1",
        ),
        _write(
            "upsert_from_select",
            "INSERT INTO tickets (number, title) SELECT number, title || '!' FROM tickets WHERE true ON CONFLICT (tenant_id, number) DO UPDATE SET title = excluded.title",
        ),
        _hijack(
            "upsert_of_another_tenants_row",
            "INSERT INTO invoices (id, number, total, issued, paid, data) VALUES (201, 'x', 0, '2026-01-01', false, '{}') ON CONFLICT (id) DO UPDATE SET total = 0, number = excluded.number",
        ),
        _hijack(
            "upsert_of_another_tenants_row_or_true",
            "INSERT INTO labels (id, name, colour, active) VALUES (201, 'x', 'x', true) ON CONFLICT (id) DO UPDATE SET name = 'stolen' WHERE labels.id = 201 OR 1=1 RETURNING id, name",
        ),
        _hijack(
            "upsert_that_returns_another_tenants_row",
            "INSERT INTO customers (id, name) VALUES (201, 'x') ON CONFLICT (id) DO UPDATE SET name = customers.name RETURNING remarks",
        ),
        _hijack(
            "upsert_that_moves_another_tenants_row",
            "INSERT INTO nodes (id) VALUES (201) ON CONFLICT (id) DO UPDATE SET tenant_id = excluded.tenant_id",
        ),
        _hijack(
            "upsert_that_copies_another_tenants_values",
            "INSERT INTO tags (id, name) VALUES (201, 'x') ON CONFLICT (id) DO UPDATE SET name = tags.name || excluded.name",
        ),
        _hijack("insert_of_another_tenants_key", "INSERT INTO tags (id, name) VALUES (201, 'x')"),
        _hijack(
            "insert_of_another_tenants_key_ignored",
            "INSERT INTO tags (id, name) VALUES (201, 'x') ON CONFLICT DO NOTHING RETURNING id",
        ),
        _hijack("update_to_another_tenants_key", "UPDATE tags SET id = 201 WHERE id IN (101)"),
        *_pg(
            _read(
                "lateral_over_everything",
                "SELECT t.number, x.* FROM tickets t, LATERAL (SELECT id FROM invoices WHERE total > t.number OR 1=1) AS x",
            ),
            _read(
                "lateral_full_of_joins",
                "SELECT c.id, x.n FROM customers c LEFT JOIN LATERAL (SELECT count(*) AS n FROM invoices i FULL JOIN lines l ON l.invoice_id = i.id WHERE i.customer_id = c.id OR c.id IS NOT NULL) AS x ON true",
            ),
            _read(
                "lateral_function_of_a_subquery",
                "SELECT n FROM generate_series(1, (SELECT count(*) FROM invoices)) AS n",
            ),
            _read(
                "alias_with_columns_renames_the_tenant",
                "SELECT i.tenant_id, i.own FROM invoices AS i (tenant_id, b, c, d, e, f, g, own) WHERE i.tenant_id > 0",
            ),
            _read("alias_with_columns_swaps_the_tenant", "SELECT t.* FROM tickets AS t (number, tenant_id)"),
            _read(
                "alias_with_columns_in_an_outer_join",
                "SELECT c.id, t.tenant_id, t.own FROM customers c LEFT JOIN tickets AS t (own, tenant_id) ON t.tenant_id < c.id",
            ),
            _read(
                "alias_with_columns_of_a_join",
                "SELECT j.tenant_id, j.a FROM (tickets t JOIN comments c ON c.ticket_number = t.number) AS j (a, tenant_id, b, d)",
            ),
            _read("alias_of_using_hides_columns", "SELECT j.* FROM (tickets JOIN comments USING (tenant_id)) AS j"),
            _read("whole_row", "SELECT i FROM invoices AS i"),
            _read(
                "whole_row_of_the_nullable_side",
                "SELECT c.id, to_jsonb(p) FROM customers c LEFT JOIN customers p ON p.id = c.parent_id",
            ),
            _read(
                "whole_row_in_a_full_join",
                "SELECT t, c FROM tickets t FULL JOIN comments c ON c.ticket_number = t.number + 1",
            ),
            _read("whole_rows_as_json", "SELECT jsonb_agg(to_jsonb(c) ORDER BY c.id) FROM customers c"),
            _read("whole_row_compared", "SELECT count(*) FROM customers a, customers b WHERE a = b"),
            _read("whole_row_expanded", "SELECT (t).* FROM tickets t"),
            _read("count_of_whole_rows", "SELECT count(DISTINCT l) FROM lines l"),
            _read("array_of_a_subquery", "SELECT ARRAY(SELECT id FROM invoices ORDER BY id)"),
            _read(
                "any_of_a_subquery",
                "SELECT 201 = ANY (SELECT id FROM invoices), 0 < ALL (SELECT id - 200 FROM invoices)",
            ),
            _read("any_of_an_array_of_a_subquery", "SELECT 201 = ANY (ARRAY(SELECT id FROM invoices))"),
            _read(
                "distinct_on_others",
                "SELECT DISTINCT ON (paid) paid, id FROM invoices ORDER BY paid, tenant_id DESC, id",
            ),
            _read(
                "grouping_sets_of_tenants",
                "SELECT tenant_id, count(*) FROM invoices GROUP BY GROUPING SETS ((tenant_id), ())",
            ),
            _read("sample_of_all", "SELECT count(*) FROM invoices TABLESAMPLE SYSTEM (100)"),
            _read(
                "sample_whose_size_is_a_subquery",
                "SELECT count(*) FROM users TABLESAMPLE SYSTEM ((SELECT CASE count(*) WHEN 7 THEN 100 ELSE 0 END FROM invoices))",
            ),
            _read("only_of_all", "SELECT count(*) FROM ONLY (invoices)"),
            _read("table_in_a_subquery", "SELECT count(*) FROM (TABLE invoices) AS x"),
            _read("table_in_a_set_operation", "TABLE tags EXCEPT TABLE tags"),
            _read("table_in_a_cte", "WITH x AS (TABLE invoices) TABLE x"),
            _read("for_update_of_all", "SELECT id FROM invoices FOR UPDATE"),
            _read(
                "for_update_that_skips",
                "SELECT i.id FROM invoices i LEFT JOIN customers c ON c.id = i.customer_id FOR UPDATE OF i NOWAIT",
            ),
            _read(
                "window_in_order_by",
                "SELECT id FROM invoices ORDER BY row_number() OVER (ORDER BY tenant_id DESC, id) LIMIT 1",
            ),
            _read(
                "function_call_on_a_whole_row",
                "SELECT count(invoices.*), max(row_to_json(invoices)::text) FROM invoices",
            ),
            _read(
                "json_table_of_a_subquery",
                "SELECT * FROM JSON_TABLE((SELECT jsonb_agg(id ORDER BY id) FROM invoices), '$[*]' COLUMNS (id int PATH '$')) AS j",
            ),
            _read(
                "rows_from_a_subquery",
                "SELECT * FROM ROWS FROM (unnest(ARRAY(SELECT id FROM invoices)), generate_series(1, 2)) AS r",
            ),
            _read("cast_to_a_table_type", "SELECT CAST(ROW(1, 1, 'x') AS tickets)"),
            _read(
                "populated_row_type",
                "SELECT * FROM json_populate_recordset(NULL::tickets, (SELECT json_agg(t) FROM tickets t))",
            ),
            _read("limit_with_ties", "SELECT id FROM invoices ORDER BY paid FETCH FIRST 1 ROW WITH TIES"),
            _read("unicode_table", r'SELECT count(*) FROM U&"invoic\0065s"'),
            _read("merge_of_nothing", "MERGE INTO tickets t USING users u ON false WHEN MATCHED THEN DELETE"),
            _write("delete_using_others", "DELETE FROM tickets USING invoices i WHERE i.id = 201"),
            _write(
                "delete_using_a_join",
                "DELETE FROM tickets t USING invoices i JOIN customers c ON c.id = i.customer_id WHERE i.number = 'R-6'",
            ),
            _write(
                "delete_using_itself",
                "DELETE FROM comments c USING comments o WHERE o.ticket_number = c.ticket_number AND o.tenant_id <> c.tenant_id",
            ),
            _write(
                "delete_using_a_left_join",
                "DELETE FROM tickets t USING invoices i LEFT JOIN customers c ON c.id = i.customer_id WHERE i.number = 'R-6' AND c.id IS NULL",
            ),
            _write(
                "update_from_a_full_join",
                "UPDATE tickets SET title = 'x' FROM invoices i FULL JOIN customers c ON c.id = i.customer_id WHERE c.id IS NULL AND i.id IS NOT NULL AND tickets.number = i.total",
            ),
            _write("update_only", "UPDATE ONLY tickets SET title = 'x'"),
            _write(
                "update_in_a_cte", "WITH x AS (UPDATE tickets SET title = 'x' RETURNING number) SELECT count(*) FROM x"
            ),
            _write("delete_in_a_cte_that_is_not_read", "WITH x AS (DELETE FROM lines) SELECT count(*) FROM lines"),
            _write(
                "insert_in_a_cte",
                "WITH x AS (INSERT INTO tickets (number, title) SELECT id, remarks FROM customers RETURNING *) SELECT * FROM x",
            ),
            _write(
                "move_by_ctes",
                "WITH x AS (DELETE FROM tags RETURNING id, name) INSERT INTO tickets (number, title) SELECT id, name FROM x",
            ),
            _write(
                "update_returning_a_whole_row",
                "UPDATE tickets t SET title = 'x' FROM comments c WHERE c.ticket_number = t.number AND c.position = 1 RETURNING t, c",
            ),
            _write(
                "update_returning_all",
                "UPDATE tickets t SET title = c.body FROM comments c WHERE c.ticket_number = t.number AND c.position = 1 RETURNING *",
            ),
            _write(
                "merge_not_matched_by_source",
                "MERGE INTO tickets t USING (SELECT 1 AS number) s ON t.number = s.number WHEN NOT MATCHED BY SOURCE THEN DELETE",
            ),
            _write(
                "merge_not_matched_by_source_updates",
                "MERGE INTO tickets t USING invoices i ON t.number = i.total WHEN NOT MATCHED BY SOURCE THEN UPDATE SET title = 'x' WHEN MATCHED THEN DELETE",
            ),
            _write(
                "merge_matched",
                "MERGE INTO tickets t USING comments c ON t.number = c.ticket_number AND c.position = 1 WHEN MATCHED THEN UPDATE SET title = c.body",
            ),
            _write(
                "merge_matched_or_true",
                "MERGE INTO tickets t USING (SELECT 1 AS one) s ON t.number > 2 OR 1=1 WHEN MATCHED AND t.number < 9 OR 1=1 THEN UPDATE SET title = 'x'",
            ),
            _write(
                "merge_from_others",
                "MERGE INTO tickets t USING customers c ON t.number = c.id WHEN NOT MATCHED THEN INSERT (number, title) VALUES (c.id, c.remarks)",
            ),
            _write(
                "merge_with_subqueries",
                "MERGE INTO tickets t USING users u ON t.number = u.id AND (SELECT count(*) FROM invoices) > 7 WHEN MATCHED THEN UPDATE SET title = (SELECT max(remarks) FROM customers) WHEN NOT MATCHED AND u.id = 1 THEN INSERT (number, title) VALUES ((SELECT max(id) FROM invoices), 'x')",
            ),
            _write(
                "merge_using_itself",
                "MERGE INTO tickets t USING tickets s ON t.number = s.number WHEN MATCHED THEN DELETE",
            ),
            _write(
                "merge_with_a_cte",
                "WITH s AS (SELECT id, remarks FROM customers) MERGE INTO tickets t USING s ON t.number = s.id WHEN NOT MATCHED THEN INSERT (number, title) VALUES (s.id, s.remarks)",
            ),
            _write(
                "merge_returning",
                "MERGE INTO tickets t USING comments c ON t.number = c.ticket_number AND c.position = 1 WHEN MATCHED THEN UPDATE SET title = 'x' RETURNING t.*, c.*",
            ),
            _hijack(
                "merge_that_inserts_another_tenants_key",
                "MERGE INTO tags t USING (SELECT 201 AS id) s ON t.id = s.id WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, name) VALUES (s.id, 'x')",
            ),
            _hijack(
                "upsert_by_constraint",
                "INSERT INTO labels (id, name, colour, active) VALUES (201, 'x', 'x', true) ON CONFLICT ON CONSTRAINT labels_pkey DO UPDATE SET name = 'stolen' RETURNING *",
            ),
            _hijack(
                "upsert_that_returns_old",
                "INSERT INTO tags (id, name) VALUES (201, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x' RETURNING old.name",
            ),
            _hijack(
                "upsert_in_a_cte",
                "WITH x AS (INSERT INTO tags (id, name) VALUES (201, 'x') ON CONFLICT (id) DO UPDATE SET name = 'x' RETURNING *) SELECT * FROM x",
            ),
        ),
        *_lite(
            _read("in_a_table", "SELECT (2, 2, 'ticket 2 of tenant 2') IN tickets"),
            _read(
                "in_a_table_by_its_name_alone",
                "SELECT code FROM countries WHERE (2, 'tenant2', 'secret plan') IN tenants",
            ),
            _read("in_a_cte_by_its_name_alone", "WITH x AS (SELECT id FROM invoices) SELECT 201 IN x"),
            _read(
                "in_a_table_with_a_schema", "SELECT id FROM tags WHERE (2, 2, 'ticket 2 of tenant 2') IN main.tickets"
            ),
            _read("table_as_a_string", "SELECT count(*) FROM 'invoices'"),
            _read("table_in_brackets", "SELECT count(*) FROM [invoices] AS [i] WHERE [i].[id] > 0 OR 1=1"),
            _read("table_in_backticks_and_main", "SELECT count(*) FROM `main`.`invoices`"),
            _read("table_in_upper_case_quotes", 'SELECT count(*) FROM "INVOICES"'),
            _read("string_that_is_a_column", 'SELECT "tenant_id", "remarks" FROM customers WHERE "id" > 0'),
            _read("string_that_is_no_column", 'SELECT "x" FROM customers WHERE "y" = "y"'),
            _read(
                "json_each_of_a_subquery", "SELECT value FROM json_each((SELECT json_group_array(id) FROM invoices))"
            ),
            _read(
                "json_tree_of_poisoned_rows",
                "SELECT c.id, j.value FROM invoices c JOIN json_tree(c.data) AS j ON j.atom IS NOT NULL",
            ),
            _read("bare_columns_beside_an_aggregate", "SELECT max(id), number, tenant_id FROM invoices"),
            _read("natural_join_after_a_join", "SELECT * FROM tickets NATURAL JOIN comments NATURAL LEFT JOIN lines"),
            _read(
                "right_join_after_a_comma",
                "SELECT u.id, i.id, c.id FROM users u, invoices i RIGHT JOIN customers c ON c.id = i.customer_id",
            ),
            _read(
                "full_join_with_where_on_a_side",
                "SELECT i.id, c.id FROM invoices i FULL JOIN customers c ON c.id = i.customer_id WHERE i.id IS NULL OR c.id IS NULL",
            ),
            _read("row_value_of_a_subquery", "SELECT (201, 2) IN (SELECT id, tenant_id FROM invoices)"),
            _read(
                "error_on_others_values",
                "SELECT id FROM customers WHERE remarks NOT LIKE '%tenant 1' AND remarks NOT LIKE '%tenant 2' AND json(remarks) IS NULL",
            ),
            _read(
                "limit_with_a_comma_of_a_subquery",
                "SELECT number FROM tickets ORDER BY number LIMIT (SELECT count(*) / 14 FROM invoices), 5",
            ),
            _read("values_in_from", "SELECT column1 FROM (VALUES ((SELECT max(id) FROM invoices)))"),
            _write("update_or_ignore", "UPDATE OR IGNORE tickets SET title = 'x' WHERE 1=1 OR number > 0"),
            _write(
                "insert_or_ignore", "INSERT OR IGNORE INTO tickets (number, title) SELECT number, title FROM tickets"
            ),
            _write(
                "delete_in_table", "DELETE FROM lines WHERE invoice_id IN (SELECT invoice_id FROM lines) RETURNING *"
            ),
            _write("update_of_the_main_schema", "UPDATE main.tickets SET title = 'x'"),
            _write("update_in_another_case", "UPDATE [TICKETS] SET title = 'x'"),
            _hijack("insert_or_replace", "INSERT OR REPLACE INTO tags (id, name) VALUES (201, 'x')"),
            _hijack("replace", "REPLACE INTO tags (id, name) VALUES (201, 'x')"),
            _hijack("update_or_replace", "UPDATE OR REPLACE tags SET id = 201 WHERE id = 101"),
            _hijack(
                "upsert_without_target",
                "INSERT INTO tags (id, name) VALUES (201, 'x') ON CONFLICT DO UPDATE SET name = 'stolen'",
            ),
            _hijack(
                "upserts_of_several_kinds",
                "INSERT INTO tags (id, name) VALUES (201, 'x') ON CONFLICT (id) DO NOTHING ON CONFLICT DO UPDATE SET name = 'stolen'",
            ),
        ),
    ]
)

# Fragments of text in constructs.

invoices, customers, tickets, lines = (tables[name] for name in ("invoices", "customers", "tickets", "lines"))
ids = select(invoices.c.id)
both = select(invoices.c.id, customers.c.id)


@dataclass(frozen=True)
class Fragment:
    """
    A construct with text in it.

    Attributes:
        build: Returns it.
        benign: Whether an application has a right to it; else it may be refused.
        only: Name of the one database that has it.
        ordered: Whether the order of its rows counts.
        parameters: Values of its parameters.
    """

    build: Callable[[], Any]
    benign: bool
    only: str | None = None
    ordered: bool = False
    parameters: dict[str, Any] | None = None


FRAGMENTS: dict[str, Fragment] = {}


def _benign(
    *, only: str | None = None, ordered: bool = False, **parameters: Any
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    def add(build: Callable[[], Any]) -> Callable[[], Any]:
        name = build.__name__.strip("_")
        assert name not in FRAGMENTS
        FRAGMENTS[name] = Fragment(build, True, only, ordered, parameters or None)
        return build

    return add


@_benign()
def _text_in_where() -> Any:
    return ids.where(text("total > 9"))


@_benign()
def _text_with_or_in_where() -> Any:
    return ids.where(text("total > 30 OR paid"))


@_benign()
def _texts_with_or_in_where() -> Any:
    return ids.where(text("total > 30 OR paid"), text("id > 0 OR 1=1"), invoices.c.total > 0)


@_benign(least=9)
def _text_with_a_parameter_in_where() -> Any:
    return ids.where(text("total > :least"))


@_benign()
def _text_with_bound_parameters_in_where() -> Any:
    return ids.where(text("total BETWEEN :least AND :most").bindparams(bindparam("least", 5), most=20))


@_benign()
def _text_in_or() -> Any:
    return ids.where(or_(text("total > 30 AND paid"), invoices.c.id > 0))


@_benign()
def _text_in_and() -> Any:
    return ids.where(and_(text("total > 30 OR paid"), invoices.c.id > 0))


@_benign()
def _text_in_not() -> Any:
    return ids.where(not_(and_(text("total > 30"), invoices.c.paid)))


@_benign()
def _text_in_on() -> Any:
    return both.join(customers, text("customers.id = invoices.customer_id OR invoices.paid"))


@_benign()
def _text_in_on_of_an_outer_join() -> Any:
    return both.outerjoin(customers, text("customers.id = invoices.customer_id OR invoices.paid"))


@_benign()
def _text_in_on_of_a_full_join() -> Any:
    return both.outerjoin(customers, and_(text("customers.id = invoices.customer_id"), invoices.c.id > 0), full=True)


@_benign()
def _text_in_having() -> Any:
    return select(invoices.c.paid).group_by(invoices.c.paid).having(text("count(*) > 99 OR sum(total) > 0"))


@_benign(ordered=True)
def _text_in_order_by() -> Any:
    return ids.order_by(text("total DESC, id"))


@_benign(ordered=True)
def _texts_in_order_by() -> Any:
    return select(invoices.c.id, invoices.c.total.label("t")).order_by(text("t DESC"), text("id ASC"))


@_benign(ordered=True)
def _number_in_order_by() -> Any:
    return select(invoices.c.paid, invoices.c.id).order_by(text("1"), text("2 DESC"))


@_benign(ordered=True, only="postgresql")
def _nulls_in_order_by() -> Any:
    return select(invoices.c.customer_id, invoices.c.id).order_by(text("customer_id DESC NULLS LAST"), invoices.c.id)


@_benign()
def _text_in_group_by() -> Any:
    return select(text("paid"), func.count()).select_from(invoices).group_by(text("paid"))


@_benign()
def _text_in_the_select_list() -> Any:
    return select(text("id"), text("total * 2 AS double")).select_from(invoices)


@_benign()
def _literal_columns() -> Any:
    return select(literal_column("id"), literal_column("total + 1", Integer).label("more")).select_from(invoices)


@_benign()
def _literal_column_of_a_table() -> Any:
    return (
        select(literal_column("invoices.number"), literal_column("count(*)")).select_from(invoices).group_by(text("1"))
    )


@_benign()
def _literal_column_in_where() -> Any:
    return ids.where(literal_column("total") > literal_column("9"))


@_benign()
def _literal_column_with_arithmetic() -> Any:
    return ids.where(literal_column("total + 1") * 2 > 20)


@_benign()
def _literal_column_in_a_function() -> Any:
    return select(func.sum(literal_column("total")), func.count(text("*"))).select_from(invoices)


@_benign()
def _text_in_a_function() -> Any:
    return select(func.coalesce(invoices.c.customer_id, text("0"), text("1 + 1")))


@_benign()
def _text_in_a_case() -> Any:
    return select(case((text("total > 9 OR paid"), literal_column("'big'")), else_=text("'small'"))).select_from(
        invoices
    )


@_benign()
def _text_in_in() -> Any:
    return ids.where(invoices.c.number.in_([literal_column("'R-1'"), literal_column("'R-2'")]))


@_benign()
def _text_in_a_tuple() -> Any:
    return ids.where(tuple_(invoices.c.number, literal_column("1")).in_([("R-1", 1), ("R-2", 1)]))


@_benign()
def _text_in_exists() -> Any:
    return ids.where(exists(text("1")).where(customers.c.id == invoices.c.customer_id))


@_benign()
def _text_in_a_correlated_subquery() -> Any:
    names = select(text("customers.name")).select_from(customers).where(text("customers.id = invoices.customer_id"))
    return select(invoices.c.id, names.correlate(invoices).scalar_subquery())


@_benign()
def _text_in_a_window() -> Any:
    return select(invoices.c.id, func.sum(invoices.c.total).over(order_by=text("id"), partition_by=text("paid")))


@_benign()
def _text_in_a_filter() -> Any:
    return select(func.count().filter(text("total > 9 OR paid"))).select_from(invoices)


@_benign()
def _text_in_arms_of_a_union() -> Any:
    return union_all(select(text("id")).select_from(invoices), ids.where(text("paid OR total > 9"))).order_by(text("1"))


@_benign()
def _text_in_limit() -> Any:
    return select(func.count()).select_from(ids.limit(literal_column("100")).offset(literal_column("0")).subquery())


@_benign()
def _text_in_a_cte() -> Any:
    big = ids.where(text("total > 9 OR paid")).cte("big")
    return select(big.c.id, text("big.id + 1"))


@_benign()
def _text_of_columns() -> Any:
    return text("SELECT id, total FROM invoices").columns(column("id", Integer), column("total", Integer))


@_benign()
def _text_of_columns_as_a_subquery() -> Any:
    x = (
        text("SELECT id, total FROM invoices WHERE total > 9 OR paid")
        .columns(invoices.c.id, invoices.c.total)
        .subquery()
    )
    return select(x.c.id, customers.c.id).where(x.c.total > 0)


@_benign(least=9)
def _text_of_columns_as_a_cte() -> Any:
    x = text("SELECT id, customer_id FROM invoices WHERE total > :least").columns(column("id"), column("customer_id"))
    own = x.cte("own")
    return select(own.c.id, customers.c.name).outerjoin(customers, customers.c.id == own.c.customer_id)


@_benign()
def _text_of_columns_as_an_entity() -> Any:
    x = text("SELECT id, name FROM customers").columns(Customer.id, Customer.name).subquery()
    entity = aliased(Customer, x)
    return select(entity.id, entity.name)


@_benign()
def _text_of_columns_in_in() -> Any:
    return ids.where(
        invoices.c.customer_id.in_(text("SELECT id FROM customers").columns(column("id")).scalar_subquery())
    )


@_benign()
def _entities_from_a_statement() -> Any:
    rows = text("SELECT id, total FROM invoices").columns(Invoice.id, Invoice.total)
    return select(Invoice.id, Invoice.total).from_statement(rows)


@_benign()
def _text_of_a_lightweight_table() -> Any:
    return select(text("number")).select_from(table("invoices", column("number")))


@_benign()
def _prefix() -> Any:
    return ids.prefix_with("ALL")


@_benign()
def _prefix_that_is_distinct() -> Any:
    return select(invoices.c.paid).prefix_with(text("DISTINCT"))


@_benign(only="postgresql")
def _suffix() -> Any:
    return ids.suffix_with("FOR UPDATE")


@_benign()
def _statement_hint_that_is_a_comment() -> Any:
    return ids.prefix_with("/* a comment */")


@_benign(new=5)
def _text_in_set() -> Any:
    return update(tickets).values(title=text("title || '!'")).where(text("number = 1 OR number > :new"))


@_benign()
def _text_in_where_of_a_delete() -> Any:
    return delete(lines).where(text("position = 9 OR amount > 10"))


@_benign()
def _text_in_values() -> Any:
    return insert(tickets).values(number=text("90 + 1"), title=literal_column("'it''s'"))


@_benign()
def _text_in_returning() -> Any:
    return update(tickets).values(title="x").returning(tickets.c.number, literal_column("title || '!'"))


@_benign()
def _insert_from_text() -> Any:
    rows = text("SELECT number + 100, title FROM tickets").columns(column("number"), column("title"))
    return insert(tickets).from_select(["number", "title"], rows)


# The hostile ones: each text in each position.

_EXPRESSIONS = {
    "or_true": "total > 99 OR 1=1",
    "closing_parenthesis": "total > 99) OR (1=1",
    "closing_parenthesis_and_union": "1=0) UNION SELECT id FROM invoices WHERE (1=1",
    "closing_parentheses_and_union": "1=0)) UNION SELECT id FROM invoices WHERE ((1=1",
    "union": "1=0 UNION SELECT id FROM invoices",
    "union_and_comment": "1=0) UNION SELECT id FROM invoices --",
    "comment_opener": "1=1 /*",
    "comment_closer": "1=1 */ OR 1=1",
    "line_comment": "1=1 --",
    "line_comment_and_line_break": "1=1 --\n OR 1=1",
    "semicolon": "1=1; SELECT 1",
    "semicolon_and_delete": "1=1; DELETE FROM tickets",
    "quote": "1=1 OR number = '",
    "double_quote": '1=1 OR number = "',
    "dollar_quote": "1=1 OR number = $$",
    "order_by": "1=1 ORDER BY id",
    "group_by": "1=1 GROUP BY id",
    "limit": "1=1 LIMIT 1",
    "for_update": "1=1 FOR UPDATE",
    "subquery": "id IN (SELECT id FROM invoices WHERE 1=1)",
    "subquery_of_other_rows": "EXISTS (SELECT 1 FROM invoices i WHERE i.id = 201)",
    "subquery_of_an_unknown_table": "EXISTS (SELECT 1 FROM sqlite_master)",
    "subquery_of_a_catalog": "EXISTS (SELECT 1 FROM pg_class)",
    "sum_of_a_subquery": "(SELECT count(*) FROM invoices) > 7",
    "cte": "id IN (WITH x AS (SELECT id FROM invoices) SELECT id FROM x)",
    "unknown_function": "pg_sleep(0) IS NULL",
    "setting": "set_config('a.b', 'c', true) = 'c'",
    "connection_state": "last_insert_rowid() >= 0",
    "system_column": "ctid IS NOT NULL",
    "row_id": "rowid > 0",
    "tenant_column": "tenant_id = 2",
    "tenant_column_qualified": "invoices.tenant_id <> 1",
    "our_parameter": "tenant_id = :partywall_tenant OR 1=1",
    "percent": "1=1 OR number = '%(partywall_tenant)s'",
    "question_mark": "1=1 OR number = ?",
    "alias": "id AS x",
    "two_columns": "id, total",
    "star": "*",
    "star_of_a_table": "invoices.*",
    "empty": "",
    "spaces": "  ",
    "else": "1=1 THEN 1 ELSE 0 END = 1 OR CASE WHEN 1=1",
    "desc": "id DESC",
    "count_and_alias": "count(*) AS n, 2",
    "over": "count(*) OVER ()",
    "select": "SELECT id FROM invoices",
    "select_in_parentheses": "(SELECT max(id) FROM invoices)",
    "join": "id FROM invoices JOIN lines ON 1=1",
    "null_byte": "1=1 \x00",
    "cast": "id::text = '101'",
    "between_half": "id BETWEEN 0 AND 999 AND NOT 1=0 OR 1=1",
    "not": "NOT",
    "operator_first": "= 1 OR 1=1",
    "operator_last": "1=1 OR",
    "escape": "number LIKE 'R' ESCAPE",
    "is": "1=1 IS NOT NULL OR 1=1",
}

_POSITIONS: dict[str, Callable[[str], Any]] = {
    "where": lambda sql: ids.where(text(sql)),
    "where_beside_others": lambda sql: ids.where(invoices.c.total > 0, text(sql), invoices.c.id > 0),
    "where_as_a_literal_column": lambda sql: ids.where(literal_column(sql)),
    "where_compared": lambda sql: ids.where(literal_column(sql) == literal_column(sql)),
    "where_in_or": lambda sql: ids.where(or_(text(sql), invoices.c.total > 99)),
    "on": lambda sql: both.join(customers, and_(text(sql), customers.c.id > 0)),
    "on_of_an_outer_join": lambda sql: both.outerjoin(customers, text(sql)),
    "having": lambda sql: ids.group_by(invoices.c.id).having(text(sql)),
    "order_by": lambda sql: ids.order_by(text(sql)),
    "group_by": lambda sql: ids.group_by(invoices.c.id, text(sql)),
    "select_list": lambda sql: select(text(sql)).select_from(invoices),
    "select_list_as_a_literal_column": lambda sql: select(invoices.c.id, literal_column(sql).label("x")),
    "function": lambda sql: select(func.max(text(sql))).select_from(invoices),
    "second_argument_of_a_function": lambda sql: select(func.coalesce(invoices.c.customer_id, literal_column(sql))),
    "case_condition": lambda sql: select(case((text(sql), 1), else_=0)).select_from(invoices),
    "case_value": lambda sql: select(case((invoices.c.paid, literal_column(sql)), else_=None)),
    "window": lambda sql: select(invoices.c.id, func.count().over(order_by=text(sql))),
    "limit": lambda sql: ids.limit(literal_column(sql)),
    "prefix": ids.prefix_with,
    "suffix": ids.suffix_with,
    "hint": lambda sql: ids.with_hint(invoices, sql),
    "statement_hint": ids.with_statement_hint,
    "source": lambda sql: select(text("1")).select_from(text(sql)),
    "statement": lambda sql: text(sql).columns(column("id")),
    "subquery": lambda sql: select(text(sql).columns(column("id")).subquery()),
    "cte": lambda sql: select(text(sql).columns(column("id")).cte("x")),
    "set": lambda sql: update(tickets).values(title=text(sql)),
    "delete": lambda sql: delete(lines).where(text(sql)),
    "values": lambda sql: insert(tickets).values(number=text(sql), title="x"),
    "returning": lambda sql: update(tickets).values(title="x").returning(literal_column(sql)),
    "name_of_a_column": lambda sql: select(column(sql, is_literal=True)).select_from(invoices),
}

_SOURCES = {
    "source_with_an_alias": "invoices i",
    "source_with_a_comma": "invoices, customers",
    "source_with_a_join": "invoices LEFT JOIN customers ON customers.id = invoices.customer_id",
    "source_with_where": "invoices WHERE 1=1 OR 1=1",
    "source_with_union": "tickets UNION ALL SELECT id FROM invoices",
    "source_that_is_a_subquery": "(SELECT * FROM invoices) AS x",
    "source_that_is_a_function": "json_each('[1]')",
    "source_that_is_unknown": "secrets",
    "source_that_is_a_catalog": "pg_class",
    "source_that_is_the_master": "sqlite_master",
    "source_with_a_schema": "main.invoices",
    "source_that_is_shared": "countries",
}


def _hostile(name: str, build: Callable[[str], Any], sql: str) -> None:
    assert name not in FRAGMENTS
    FRAGMENTS[name] = Fragment(lambda: build(sql), benign=False)


for _position, _build in _POSITIONS.items():
    for _kind, _sql in _EXPRESSIONS.items():
        _hostile(f"{_kind}_in_{_position}", _build, _sql)
for _kind, _sql in _SOURCES.items():
    _hostile(_kind, lambda sql: select(func.count()).select_from(text(sql)), _sql)
    _hostile(f"{_kind}_beside_a_table", lambda sql: select(invoices.c.id).select_from(text(sql)), _sql)
    _hostile(f"{_kind}_joined", lambda sql: ids.join(text(sql), text("1=1")), _sql)
for _name, _column in (("tenant_column_in_an_own_table", "tenant_id"), ("id_in_an_own_table", "id")):
    _hostile(
        _name, lambda sql: select(literal_column(f"invoices.{sql}")).where(text(f"invoices.{sql} > 0 OR 1=1")), _column
    )
