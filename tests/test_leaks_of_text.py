"""SQL text that once reached other tenants' rows, or gave another result than alone, and does neither any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from sqlalchemy import Integer, bindparam, column, create_engine, insert, select, text
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeDecorator

from partywall import ForeignTenantError, PartywallError, RefusedStatementError, tenant
from partywall.testing import Twins
from tests import models
from tests.models import Invoice
from tests.world import World

strictness = pytest.mark.parametrize("strict", [False, True])


def only(world: World, name: str) -> None:
    if world.name != name:
        pytest.skip(f"{name} only")


def same_or_refused(world: World, run: Any, *, strict: bool) -> None:
    """Run for tenant 1 on an engine of its own strictness: what it alone gets, or a refusal."""
    engine = models.tenancy(strict=strict).guard(create_engine(world.url))
    try:
        Twins(engine, world.twins[1].alone, 1).compare(run)
    except PartywallError:
        pass
    finally:
        engine.dispose()


def of_text(sql: str, parameters: Any = None) -> Any:
    def run(session: Session) -> Iterable[Any]:
        return session.execute(text(sql), parameters or {}).all()

    return run


def of_driver(sql: str, parameters: Any = None) -> Any:
    def run(session: Session) -> Iterable[Any]:
        return session.connection().exec_driver_sql(sql, parameters).all()

    return run


# Beyond the parser: `@ id` is not understood by it, so that only the proof says what is scoped.

NUMBERED = "SELECT @ id FROM invoices WHERE tenant_id = $2 AND {0} = {0} AND {1} IS NOT NULL"
IN_QUOTES = "SELECT @ id FROM invoices WHERE tenant_id = {} AND number <> '{}'"


@strictness
def test_a_parameter_that_the_application_numbers_itself_is_not_taken_for_another(world: World, strict: bool) -> None:
    only(world, "postgresql")
    named = NUMBERED.format("CAST(:a AS int)", "CAST(:t AS int)")
    same_or_refused(world, of_text(named, {"a": 1, "t": 2}), strict=strict)
    same_or_refused(world, of_text(named.replace("@ ", ""), {"a": 1, "t": 2}), strict=strict)
    driver = NUMBERED.format("CAST(%(a)s AS int)", "CAST(%(t)s AS int)")
    same_or_refused(world, of_driver(driver, {"a": 1, "t": 2}), strict=strict)


@strictness
@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_parameter_in_quotes_is_refused(world: World, driver: str, strict: bool) -> None:
    only(world, "postgresql")
    evil = {"t": 1, "x": " OR 1=1 --"}
    for sql in (
        IN_QUOTES.format("%(t)s", "%(x)s"),
        IN_QUOTES.format("%(t)s", "%(x)s").replace("@ ", ""),
        'SELECT @ id AS "%(x)s" FROM invoices WHERE tenant_id = %(t)s',
        "SELECT @ id /* %(x)s */ FROM invoices WHERE tenant_id = %(t)s",
    ):
        engine = models.tenancy(strict=strict).guard(create_engine(world.url.set(drivername=f"postgresql+{driver}")))
        with tenant(1), engine.connect() as connection, pytest.raises(RefusedStatementError):
            connection.exec_driver_sql(sql, evil)
        with tenant(1), engine.connect() as connection, pytest.raises(RefusedStatementError):
            connection.execute(text(IN_QUOTES.format(":t", ":x")), evil)
        engine.dispose()


class OneMore(TypeDecorator[int]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Any) -> int | None:
        return None if value is None else value + 1


@strictness
def test_a_type_that_changes_the_tenant_does_not_change_whose_rows_are_read(world: World, strict: bool) -> None:
    only(world, "postgresql")
    engine = models.tenancy(strict=strict).guard(create_engine(world.url))
    statement = text("SELECT @ tenant_id FROM invoices WHERE tenant_id = :t").bindparams(bindparam("t", 1, OneMore))
    with tenant(1), engine.connect() as connection:
        assert set(connection.scalars(statement)) == {1}
        with pytest.raises(ForeignTenantError):
            connection.execute(statement, {"t": 2})
    engine.dispose()


def test_text_beyond_the_parser_runs_if_it_is_scoped_by_hand(world: World) -> None:
    only(world, "postgresql")
    sql = "SELECT @ id FROM invoices WHERE tenant_id = {}"
    with tenant(1), world.many.connect() as connection:
        assert len(connection.scalars(text(sql.format(":mine")), {"mine": 1}).all()) == 7
        assert len(connection.exec_driver_sql(sql.format("%s"), (1,)).all()) == 7
        for refused in (sql.format("1"), "SELECT @ id FROM invoices", sql.format(":mine") + " OR TRUE"):
            with pytest.raises(RefusedStatementError):
                connection.execute(text(refused), {"mine": 1})
        for catalog in ("'invoices'::regclass::text", "pg_backend_pid()", "i.ctid"):
            with pytest.raises(RefusedStatementError):
                sql = f"SELECT @ id, {catalog} FROM invoices i WHERE tenant_id = :mine"
                connection.execute(text(sql), {"mine": 1})


def test_a_checker_takes_no_parameter_for_another(world: World) -> None:
    only(world, "postgresql")
    engine = models.tenancy(strict=False, checker=True).guard(create_engine(world.url))
    named = NUMBERED.format("CAST(:a AS int)", "CAST(:t AS int)").replace("@ ", "")
    quoted = IN_QUOTES.format(":t", ":x").replace("@ ", "")
    changed = select(Invoice.id).where(Invoice.tenant_id == bindparam("t", 1, OneMore))
    with tenant(1), engine.connect() as connection:
        for statement, parameters in (
            (text(named), {"a": 1, "t": 2}),
            (text(quoted), {"t": 1, "x": " OR 1=1 --"}),
            (changed, {}),
        ):
            with pytest.raises((RefusedStatementError, ForeignTenantError)):
                connection.execute(statement, parameters)
    engine.dispose()


# The wall itself.

SUSPECTS = {
    "update_from_a_source_called_excluded": "UPDATE tickets SET tenant_id = excluded.tenant_id "
    "FROM (SELECT 2 AS tenant_id) AS excluded RETURNING number",
    "subquery_in_the_place_that_is_set": "UPDATE tickets SET title[(SELECT max(total) FROM invoices)] = 'x' "
    "RETURNING number",
    "subquery_in_the_place_that_an_upsert_sets": "INSERT INTO tickets (number, title) VALUES (1, 'x') ON CONFLICT "
    "(tenant_id, number) DO UPDATE SET title[(SELECT max(total) FROM invoices)] = 'x' RETURNING number",
    "array_of_a_type_that_looks_names_up": "SELECT '{invoices}'::_regclass::text FROM invoices",
    "cte_with_the_name_that_another_is_given": "WITH invoices AS (SELECT 1 AS a) SELECT * FROM "
    "(WITH invoices_cte AS (SELECT 2 AS a) SELECT * FROM invoices) AS x",
    "not_between_two_comparisons": "SELECT id FROM invoices WHERE 1 = id NOT IN (101, 102) ORDER BY id",
    "not_like_beside_a_comparison": "SELECT id, number NOT LIKE 'R-1' = paid FROM invoices ORDER BY id",
    "is_not_null_beside_a_comparison": "SELECT id, 1 = customer_id IS NOT NULL FROM invoices ORDER BY id",
    "sign_that_is_a_plus": "SELECT id, + total FROM invoices ORDER BY id",
    "cast_to_a_decimal": "SELECT CAST(total AS DECIMAL(10, 2)) / 4 FROM invoices ORDER BY id",
    "cast_to_a_date": "SELECT count(*) FROM invoices WHERE CAST(issued AS DATE) = '2026-01-01'",
    "literal_with_two_types": "SELECT DATE '2026-01-15'::text, count(*) FROM invoices",
    "tables_in_parentheses": "SELECT count(*) FROM (invoices i), (customers c)",
    "sources_of_an_update_with_a_comma": "UPDATE tickets SET title = 'x' FROM customers c, tags t RIGHT JOIN "
    "invoices i ON i.id = t.id RETURNING number",
    "escaped_string": r"SELECT regexp_replace(number, E'\\d+', '#') FROM invoices ORDER BY id",
    "escaped_string_that_ends_elsewhere": r"SELECT E'\'' || (SELECT max(number) FROM invoices) || E'\\' FROM invoices",
}


@strictness
@pytest.mark.parametrize("name", SUSPECTS)
def test_a_suspect_text_gives_what_it_gives_the_tenant_alone_or_is_refused(
    world: World, name: str, strict: bool
) -> None:
    same_or_refused(world, of_text(SUSPECTS[name]), strict=strict)


def test_negated_operators_are_answered(world: World) -> None:
    for sql in ("id NOT IN (101)", "id NOT BETWEEN 1 AND 103", "number NOT LIKE 'R-1%'", "customer_id IS NOT NULL"):
        world.twins[1].compare(of_text(f"SELECT id FROM invoices WHERE {sql} ORDER BY id"), ordered=True)


def test_a_string_of_another_class_is_read_as_what_it_is(world: World) -> None:
    class Liar(str):
        __slots__ = ()

        def split(self, *args: Any, **kw: Any) -> list[str]:
            return ["SELECT", "1"]

        def lower(self) -> str:
            return "select 1"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash("SELECT 1")

    same_or_refused(world, of_driver(Liar("SELECT count(*) FROM invoices")), strict=False)
    same_or_refused(world, of_text(Liar("SELECT count(*) FROM invoices")), strict=False)


def test_rows_inserted_from_text_are_the_tenants(world: World) -> None:
    table = models.Base.metadata.tables["tickets"]
    rows = text("SELECT number + 100, title FROM tickets").columns(column("number"), column("title"))
    with tenant(1), world.many.connect() as connection:
        result = connection.execute(insert(table).from_select(["number", "title"], rows).returning(table.c.tenant_id))
        assert result.scalars().all() == [1, 1, 1]
        connection.rollback()
