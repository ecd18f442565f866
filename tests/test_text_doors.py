"""SQL text by every door of SQLAlchemy's: statements and parts of them, batches, streams, and what is too deep."""

from __future__ import annotations

import datetime
import enum
import string
import sys
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import (
    Column,
    Date,
    Enum,
    Integer,
    MetaData,
    Select,
    Table,
    Uuid,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    literal_column,
    select,
    table,
    text,
)
from sqlalchemy.engine import Engine
from sqlalchemy.exc import SAWarning
from sqlalchemy.orm import Session, aliased
from sqlalchemy.sql.elements import TextClause
from sqlalchemy.types import TupleType

import partywall.statements.text as text_wall
from partywall import (
    ForeignTenantError,
    NoTenantError,
    PartywallError,
    RefusedStatementError,
    Tenancy,
    TenantIdError,
    tenant,
    unscoped,
)
from partywall.statements.text import MAX_DEPTH, MAX_LENGTH
from partywall.testing import DifferenceError
from tests import models, write_models
from tests.models import Customer, Invoice, Tenant
from tests.recorder import Recorder
from tests.test_texts import compare
from tests.write_world import TWIN_TENANTS, Run, WriteWorld, opened_for_writes, rolled_back, rows_in, session_of

__all__ = ["opened_for_writes"]  # a fixture

TREE = """
    SELECT id, parent_id, 0 AS depth FROM customers WHERE parent_id IS NULL
    UNION ALL
    SELECT c.id, c.parent_id, tree.depth + 1 FROM customers AS c JOIN tree ON tree.id = c.parent_id
"""
WITH_TREE = f"WITH RECURSIVE tree AS ({TREE}) SELECT id, depth FROM tree"


class Kind(enum.Enum):
    contract = "c"
    memo = "m"


def ids_and_totals(sql: str) -> Any:
    return text(sql).columns(id=Integer, total=Integer)


def tree_cte() -> Any:
    return text(TREE).columns(id=Integer, parent_id=Integer, depth=Integer).cte("tree", recursive=True)


def of_tree(tree: Any) -> Select[Any]:
    return select(Customer.id, Customer.name, tree.c.depth).join(tree, tree.c.id == Customer.id).order_by(Customer.id)


def of_two(entity: Any, other: Any, onclause: Any, *columns: Any) -> Select[Any]:
    return select(*columns).select_from(entity).join(other, onclause)


# Reads: each is compared with the twin of the tenant.


def used_twice() -> Any:
    first = ids_and_totals("SELECT id, total FROM invoices WHERE total < 20").cte("i")
    second = first.alias("second")
    return select(first.c.id, second.c.total).join(second, second.c.id >= first.c.id)


def left_joined_to_a_tree() -> Any:
    tree = tree_cte()
    return select(Customer.id, tree.c.depth).outerjoin(tree, tree.c.parent_id == Customer.id)


def entities_of_a_tree() -> Any:
    walked = text(WITH_TREE).columns(id=Integer, depth=Integer).cte("walked")
    return select(Customer).join(walked, walked.c.id == Customer.id).where(walked.c.depth > 0)


def joined_to_itself() -> Any:
    tree = tree_cte()
    other = tree.alias("other")
    return select(tree.c.id, other.c.depth).join(other, other.c.parent_id == tree.c.id)


def joined_to_columns() -> Any:
    i = text("SELECT id, total, customer_id FROM invoices").columns(id=Integer, total=Integer, customer_id=Integer)
    sub = i.subquery()
    return select(Customer.name, sub.c.total).join(sub, sub.c.customer_id == Customer.id)


def in_exists() -> Any:
    statement = text("SELECT total AS n FROM invoices WHERE total < 8").columns(n=Integer).subquery()
    return select(Customer.id).where(select(statement.c.n).where(statement.c.n < Customer.id).exists())


def alias_of_an_entity() -> Any:
    statement = text("SELECT id, total FROM invoices WHERE total > 9").columns(Invoice.id, Invoice.total)
    return select(aliased(Invoice, statement.subquery()).id)


CUSTOMERS = models.Base.metadata.tables["customers"]
EXPANDING: Any = bindparam("totals", [6, 7, 8, 11, 12], expanding=True)

READS: dict[str, Callable[[], Any]] = {
    "statement": lambda: text("SELECT id, total FROM invoices ORDER BY id"),
    "columns_by_name": lambda: ids_and_totals("SELECT total, id FROM invoices"),
    "columns_by_position": lambda: text("SELECT id, total FROM invoices").columns(Invoice.id, Invoice.total),
    "columns_of_a_union": lambda: ids_and_totals(
        "SELECT id, total FROM invoices UNION ALL SELECT id, 0 FROM customers"
    ),
    "columns_as_a_subquery": lambda: select(ids_and_totals("SELECT id, total FROM invoices").subquery("i")),
    "columns_as_a_subquery_of_an_entity": alias_of_an_entity,
    "columns_as_an_alias": lambda: select(ids_and_totals("SELECT id, total FROM invoices").alias("i").c.total),
    "columns_as_a_cte": lambda: select(ids_and_totals("SELECT id, total FROM invoices WHERE total > 9").cte("i")),
    "columns_as_a_cte_used_twice": used_twice,
    "columns_in_in": lambda: select(Customer.id).where(
        Customer.id.in_(text("SELECT customer_id FROM invoices WHERE total > 9").columns(customer_id=Integer))
    ),
    "columns_as_a_scalar": lambda: select(
        Customer.id, text("SELECT sum(total) FROM invoices").columns(n=Integer).scalar_subquery()
    ),
    "columns_in_exists": in_exists,
    "recursive_cte_made_of_text": lambda: of_tree(tree_cte()),
    "recursive_cte_made_of_text_left_joined": left_joined_to_a_tree,
    "recursive_cte_in_a_text_joined_as_a_subquery": lambda: of_tree(
        text(WITH_TREE).columns(id=Integer, depth=Integer).subquery("walked")
    ),
    "recursive_cte_in_a_text_joined_as_a_cte": lambda: of_tree(
        text(WITH_TREE).columns(id=Integer, depth=Integer).cte("walked")
    ),
    "recursive_cte_in_a_text_of_entities": entities_of_a_tree,
    "recursive_cte_as_a_statement": lambda: text(WITH_TREE),
    "recursive_cte_joined_to_itself": joined_to_itself,
    "from_statement": lambda: (
        select(Invoice).from_statement(text("SELECT * FROM invoices WHERE total > :least")).params(least=9)
    ),
    "from_statement_with_columns": lambda: select(Invoice.id, Invoice.total).from_statement(
        text("SELECT total, id FROM invoices").columns(Invoice.total, Invoice.id)
    ),
    "select_from_text": lambda: select(literal_column("i.total")).select_from(text("invoices AS i")),
    "select_from_text_of_a_join": lambda: select(text("i.total, c.name")).select_from(
        text("customers AS c LEFT JOIN invoices AS i ON i.customer_id = c.id")
    ),
    "select_from_text_beside_a_table": lambda: (
        select(CUSTOMERS.c.id, text("i.total"))
        .select_from(CUSTOMERS, text("invoices AS i"))
        .where(text("i.total = customers.id % 7 OR i.id = customers.id"))
    ),
    "join_to_text_columns": joined_to_columns,
    "every_clause": lambda: (
        select(text("customer_id, sum(total) AS s"))
        .select_from(text("invoices"))
        .where(text("total > 1 OR total < 0"))
        .group_by(text("customer_id"))
        .having(text("count(*) > 0 OR 1 = 1"))
        .order_by(text("s DESC, customer_id"))
        .limit(5)
        .offset(1)
    ),
    "with_a_shared_table": lambda: text(
        "SELECT c.id, k.name FROM customers c LEFT JOIN countries k ON k.code = c.country_code"
    ),
    "of_shared_rows": lambda: text("SELECT id, name FROM templates"),
    "of_the_tenants_table": lambda: text("SELECT id, slug, plan FROM tenants"),
    "expanding_in": lambda: text("SELECT id FROM invoices WHERE total IN :totals").bindparams(EXPANDING),
    "expanding_not_in": lambda: text("SELECT id FROM invoices WHERE total NOT IN :totals").bindparams(EXPANDING),
    "expanding_in_twice": lambda: text(
        "SELECT id FROM invoices WHERE total in :totals OR id IN :ids OR (total, id) IN :pairs"
    ).bindparams(
        EXPANDING,
        bindparam("ids", [101, 204], expanding=True),
        bindparam("pairs", [(37, 107), (36, 207)], expanding=True, type_=TupleType(Integer, Integer)),
    ),
    "expanding_in_empty": lambda: text("SELECT id FROM invoices WHERE total NOT IN :totals").bindparams(
        bindparam("totals", [], expanding=True, type_=Integer)
    ),
    "expanding_in_columns": lambda: (
        text("SELECT id FROM invoices WHERE total IN :totals").bindparams(EXPANDING).columns(id=Integer)
    ),
    "expanding_in_a_part": lambda: select(Invoice.id).where(text("total IN :totals").bindparams(EXPANDING)),
    "typed_date": lambda: text("SELECT id FROM invoices WHERE issued > :day").bindparams(
        bindparam("day", datetime.date(2026, 1, 3), type_=Date)
    ),
    "typed_enum": lambda: text("SELECT id FROM documents WHERE type = :kind").bindparams(
        bindparam("kind", Kind.contract, type_=Enum(Kind, native_enum=False))
    ),
    "same_name_twice": lambda: text("SELECT id FROM invoices WHERE total > :n AND total < :n + 20").bindparams(n=8),
    "a_name_each_in_two_parts": lambda: (
        select(Invoice.id)
        .where(text("total > :n").bindparams(n=8))
        .where(text("total < :m + 20 OR 1 = 1").bindparams(m=8))
    ),
    "escaped_colon": lambda: text(
        r"SELECT id, '\:n 12\:30' AS t, ' : ' AS u FROM invoices WHERE total > :n"
    ).bindparams(n=8),
    "per_cent": lambda: text(
        "SELECT id, '100%' AS p, '%s %d' AS q FROM invoices WHERE number LIKE 'R%' AND id % 2 = 0"
    ),
    "unique_parameters": lambda: select(Invoice.id).where(
        text("total > :n").bindparams(bindparam("n", 8, unique=True)),
        text("total < :n").bindparams(bindparam("n", 28, unique=True)),
    ),
    "duplicate_column_names": lambda: text(
        "SELECT c.id, i.id FROM customers c JOIN invoices i ON i.customer_id = c.id"
    ),
}


def run_of(build: Callable[[], Any], how: str = "session") -> Run:
    def run(session: Session) -> Iterable[Any]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SAWarning)  # products of sources
            runner: Any = session if how == "session" else session.connection()
            result = runner.execute(build())
            return [tuple(plain(value) for value in row) for row in result.all()]

    return run


def plain(value: Any) -> Any:
    return (type(value).__name__, sqlalchemy.inspect(value).identity) if hasattr(value, "_sa_instance_state") else value


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("how", ["session", "connection"])
def test_a_text_that_reads_gives_what_it_gives_the_tenant_alone(world: WriteWorld, name: str, how: str) -> None:
    if how == "connection" and name in ("from_statement", "recursive_cte_in_a_text_of_entities"):
        pytest.skip("entities need a Session")
    for tenant_id in TWIN_TENANTS:
        tried = compare(world, tenant_id, run_of(READS[name], how))
        assert tried.refusal is None
        assert tried.outcome.error is None
        assert tried.outcome.rows or "typed_enum" in name


def test_most_texts_that_read_would_leak_without_the_wall(world: WriteWorld) -> None:
    for name, build in READS.items():
        run = run_of(build)
        with pytest.raises(DifferenceError):
            world.twins[2].check(world.attempt_plain(run, 2), world.twins[2].attempt_alone(run))
            pytest.fail(name)


def test_a_raw_recursive_cte_joined_into_an_orm_select_is_scoped_inside(world: WriteWorld) -> None:
    with session_of(world.many, 1) as session, Recorder(world.many) as recorder:
        walked = text(WITH_TREE).columns(id=Integer, depth=Integer).cte("walked")
        found = session.scalars(select(Customer).join(walked, walked.c.id == Customer.id)).all()
    sql = recorder.statements[-1]

    assert {each.tenant_id for each in found} == {1}
    assert sql.count("tenant_id") >= 3  # both arms of the CTE, and the entity


def test_legacy_query_from_statement_is_scoped(world: WriteWorld) -> None:
    for tenant_id in TWIN_TENANTS:
        with session_of(world.many, tenant_id) as session:
            statement = text("SELECT * FROM invoices WHERE total > :least OR 1 = 1")
            found = session.query(Invoice).from_statement(statement).params(least=0).all()
            named = session.query(Invoice.id).from_statement(text("SELECT id FROM invoices")).all()

        assert {each.tenant_id for each in found} == {tenant_id}
        assert sorted(row[0] for row in named) == sorted(each.id for each in found)


def test_legacy_query_with_text_in_its_clauses_is_scoped(world: WriteWorld) -> None:
    with session_of(world.many, 2) as session:
        query = session.query(Invoice.id).filter(text("total > 0 OR 1 = 1")).order_by(text("total DESC, id"))
        found = [row[0] for row in query]

    assert found
    assert all(200 <= each < 300 for each in found)


def test_a_text_that_is_a_table_name_in_a_construct_is_scoped_or_refused(world: WriteWorld) -> None:
    with session_of(world.many, 1) as session:
        rows = session.execute(select(text("invoices.id")).select_from(table("invoices"))).all()
        with pytest.raises(PartywallError):
            session.execute(select(text("* FROM invoices --")))

    assert all(100 <= row[0] < 200 for row in rows)


def test_a_parameter_of_the_applications_cannot_be_the_tenants(world: WriteWorld) -> None:
    with session_of(world.many, 1) as session:
        for statement, parameters in (
            (text("SELECT id FROM invoices"), {"partywall_tenant": 2}),
            (text("SELECT id FROM invoices WHERE total > :n"), {"n": 0, "partywall_tenant": 2}),
            (ids_and_totals("SELECT id, total FROM invoices"), {"partywall_tenant": 2}),
        ):
            rows = session.execute(statement, parameters).all()
            assert rows
            assert all(100 <= row[0] < 200 for row in rows)
        with pytest.raises(RefusedStatementError):
            session.execute(
                text("SELECT id FROM invoices WHERE tenant_id = :partywall_tenant"), {"partywall_tenant": 2}
            )
        with pytest.raises(RefusedStatementError):
            session.execute(select(Invoice.id).where(text("total > :partywall_tenant")), {"partywall_tenant": 2})


def test_what_reads_like_a_parameter_of_sqlalchemys_is_refused(world: WriteWorld) -> None:
    with tenant(1), rolled_back(world.many) as connection, Recorder(world.many) as recorder:
        for sql in ("'%(n)s'", "'%(partywall_tenant)s'", "'%(', ')s'", "'__[POSTCOMPILE_n]'", '"__[SCHEMA_x]"'):
            for statement in (text(f"SELECT {sql} FROM tags"), select(text(sql)), select(literal_column(sql))):
                with pytest.raises(RefusedStatementError):
                    connection.execute(statement)

    assert recorder.statements == []


# Results and loads.


def test_results_have_names_positions_and_types(world: WriteWorld) -> None:
    with session_of(world.many, 1) as session:
        raw = session.execute(text("SELECT id AS number, name FROM customers ORDER BY id"))
        assert list(raw.keys()) == ["number", "name"]
        assert [(row.number, row[1]) for row in raw][:2] == [(101, "customer 1"), (102, "customer 2")]
        typed = text("SELECT issued, id FROM invoices ORDER BY id").columns(Invoice.issued, Invoice.id)
        assert session.execute(typed).first() == (datetime.date(2026, 1, 1), 101)
        assert session.scalar(text("SELECT count(*) FROM invoices")) == 7
        assert session.execute(text("SELECT id FROM invoices WHERE id < 102")).mappings().one()["id"] == 101


def test_a_text_is_streamed_and_read_by_portions(world: WriteWorld) -> None:
    for tenant_id in TWIN_TENANTS:
        expected = [tenant_id * 100 + number for number in range(1, 8)]
        statement = text("SELECT id FROM invoices ORDER BY id")
        with session_of(world.many, tenant_id) as session:
            result = session.execute(statement, execution_options={"yield_per": 2})
            parts = [[row[0] for row in part] for part in result.partitions(2)]
        with tenant(tenant_id), world.many.connect().execution_options(stream_results=True) as connection:
            streamed = connection.scalars(statement).all()
            raw = connection.exec_driver_sql(statement.text).scalars().all()

        assert [len(part) for part in parts] == [2, 2, 2, 1]
        assert [each for part in parts for each in part] == streamed == raw == expected


# Writes.


def test_returning_of_a_text_gives_the_tenants_rows(world: WriteWorld) -> None:
    with session_of(world.many, 1) as session:
        updated = session.execute(text("UPDATE tags SET name = name || '!' RETURNING id, tenant_id")).all()
        inserted = session.execute(text("INSERT INTO tags (id, name) VALUES (:i, 'x') RETURNING tenant_id"), {"i": 901})
        assert inserted.scalar() == 1
        deleted = session.execute(text("DELETE FROM tags WHERE name LIKE '%!' RETURNING *")).all()

    assert {row[1] for row in updated} == {1}
    assert len(updated) == len(deleted) == 4


def test_a_batch_of_texts_is_filled(world: WriteWorld) -> None:
    rows = [{"id": 10_000 + number, "name": f"tag {number}"} for number in range(1000)]
    with session_of(world.many, 2) as session:
        session.execute(text("INSERT INTO tags (id, name) VALUES (:id, :name)"), rows)
        session.execute(
            text("UPDATE tags SET name = :name WHERE id = :id"), [{**row, "name": "changed"} for row in rows]
        )
        session.execute(text("UPDATE tags SET name = 'stolen' WHERE id = :id"), [{"id": 101}, {"id": 301}, {"id": 201}])
        after = {row["id"]: row for row in rows_in(session, "tags")}

    assert all(after[row["id"]]["tenant_id"] == 2 and after[row["id"]]["name"] == "changed" for row in rows)
    assert [after[key]["name"] == "stolen" for key in (101, 301, 201)] == [False, False, True]


def test_a_batch_of_texts_that_gives_the_tenant_is_compared_row_by_row(world: WriteWorld) -> None:
    sql = "INSERT INTO tags (tenant_id, id, name) VALUES (:owner, :id, 'x')"
    rows: list[dict[str, Any]] = [{"owner": 1, "id": 10_000 + number} for number in range(1000)]
    with session_of(world.many, 1) as session, Recorder(world.many) as recorder:
        session.execute(text(sql), rows)
        count = len(recorder.statements)
        for number, owner in ((731, 2), (1, 3), (1000, None), (17, "1"), (18, 2.0)):
            wrong = [*rows[: number - 1], {**rows[number - 1], "owner": owner}, *rows[number:]]
            with pytest.raises(ForeignTenantError) as raised:
                session.execute(text(sql), wrong)
            assert raised.value.row == number
            assert raised.value.column == "tenant_id"
            assert raised.value.tables == ("tags",)
        assert len(recorder.statements) == count
        owners = {row["id"]: row["tenant_id"] for row in rows_in(session, "tags")}

    assert {owners[row["id"]] for row in rows} == {1}


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO tags (id, tenant_id, name) VALUES (900, 2, 'x')",
        "INSERT INTO tags (id, tenant_id, name) VALUES (900, :t, 'x')",
        "INSERT INTO tags (id, tenant_id, name) VALUES (900, CAST(:t AS INTEGER), 'x')",
        "INSERT INTO tags (id, tenant_id, name) VALUES (900, NULL, 'x')",
        "INSERT INTO tags (id, tenant_id, name) VALUES (900, '2', 'x')",
        "INSERT INTO tags (id, tenant_id, name) VALUES (900, 1, 'x'), (901, 2, 'y')",
        "UPDATE tags SET tenant_id = 2",
        "UPDATE tags SET tenant_id = :t",
        "UPDATE tags SET tenant_id = NULL",
        "UPDATE tags SET name = 'x', tenant_id = 3 WHERE id = 101",
        "INSERT INTO tags (id, name) VALUES (101, 'x') ON CONFLICT (id) DO UPDATE SET tenant_id = 2",
        "WITH i AS (INSERT INTO tags (id, tenant_id, name) VALUES (900, 2, 'x') RETURNING id) SELECT id FROM i",
    ],
)
def test_another_tenant_in_a_text_is_an_error(world: WriteWorld, sql: str) -> None:
    if sql.startswith("WITH") and world.name == "sqlite":
        pytest.skip("PostgreSQL only")
    with tenant(1), rolled_back(world.many) as connection, Recorder(world.many) as recorder:
        parameters = {"t": 2} if ":t" in sql else {}
        with pytest.raises(ForeignTenantError) as raised:
            connection.execute(text(sql), parameters)
        assert recorder.statements == []
        for value in (None, 3):
            if ":t" in sql:
                with pytest.raises(ForeignTenantError):
                    connection.execute(text(sql), {"t": value})

    assert raised.value.tables == ("tags",)
    assert raised.value.row == (2 if "901" in sql else None)


def test_the_own_tenant_may_stand_in_a_text(world: WriteWorld) -> None:
    with session_of(world.many, 2) as session:
        session.execute(text("INSERT INTO tags (id, tenant_id, name) VALUES (900, 2, 'x'), (901, :t, 'y')"), {"t": 2})
        session.execute(text("UPDATE tags SET tenant_id = 2, name = 'z' WHERE id IN (900, 101)"))
        after = {row["id"]: row for row in rows_in(session, "tags")}
        session.rollback()

    assert (after[900]["tenant_id"], after[900]["name"], after[901]["tenant_id"]) == (2, "z", 2)
    assert after[101]["name"] == "tag 1"


# One text, several tenants.


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []
    parse: Any = vars(text_wall)["parse"]

    def counted(sql: str, *args: Any, **kw: Any) -> Any:
        calls.append(sql)
        return parse(sql, *args, **kw)

    monkeypatch.setattr(text_wall, "parse", counted)
    return calls


def fresh_engine(world: WriteWorld, **options: Any) -> Engine:
    return write_models.tenancy(**options).guard(create_engine(world.url), allow_unscoped=True)


def test_one_text_serves_all_tenants_and_is_parsed_once(world: WriteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    engine = fresh_engine(world)
    statement = text("SELECT DISTINCT tenant_id FROM invoices WHERE total > :n ORDER BY tenant_id")
    found = []
    for scope in (
        tenant(1),
        tenant(2),
        tenant(1),
        unscoped(reason="test"),
        tenant(3),
        unscoped(reason="test"),
        tenant(1),
    ):
        with scope, engine.connect() as connection:
            found.append([row[0] for row in connection.execute(statement, {"n": 0})])
    cached: Any = engine._compiled_cache
    engine.dispose()

    assert found == [[1], [2], [1], [1, 2, 3], [3], [1, 2, 3], [1]]
    assert len(calls) == 1
    assert len(cached) == 2  # scoped, and unscoped


def test_an_equal_text_is_parsed_once(world: WriteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    engine = fresh_engine(world)
    with tenant(1), engine.connect() as connection:
        for number in range(5):
            connection.execute(text("SELECT id FROM invoices WHERE total > :n"), {"n": number}).all()
            connection.execute(select(text("id")).select_from(text("invoices")).where(text("total > 3"))).all()
    engine.dispose()

    assert len(calls) == 1


def test_a_repeated_string_is_parsed_once(world: WriteWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch)
    engine = fresh_engine(world)
    found = []
    for scope in (tenant(1), tenant(2), tenant(1), unscoped(reason="test"), tenant(2)):
        with scope, engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT DISTINCT tenant_id FROM invoices ORDER BY tenant_id")
            found.append([row[0] for row in rows])
    engine.dispose()

    assert found == [[1], [2], [1], [1, 2, 3], [2]]
    assert len(calls) == 1


# No tenant in scope.


@pytest.mark.parametrize(
    ("sql", "tables"),
    [
        ("SELECT id FROM invoices", ("invoices",)),
        ("SELECT 1 WHERE EXISTS (SELECT 1 FROM tags, customers)", ("customers", "tags")),
        ("SELECT name FROM templates", ("templates",)),
        ("DELETE FROM tags", ("tags",)),
        ("INSERT INTO tags (id, name) VALUES (1, 'x')", ("tags",)),
        ("INSERT INTO users (id, email) SELECT id, name FROM customers", ("customers",)),
    ],
)
@pytest.mark.parametrize("door", ["text", "driver"])
def test_a_text_over_scoped_tables_needs_a_tenant(
    world: WriteWorld, sql: str, tables: tuple[str, ...], door: str
) -> None:
    with world.many.connect() as connection, Recorder(world.many) as recorder:
        with pytest.raises(NoTenantError) as raised:
            connection.execute(text(sql)) if door == "text" else connection.exec_driver_sql(sql)

    assert recorder.statements == []
    assert raised.value.tables == tables


def test_a_text_over_shared_tables_runs_with_no_tenant(world: WriteWorld) -> None:
    with rolled_back(world.many) as connection:
        assert connection.execute(text("SELECT code FROM countries ORDER BY code")).all() == [("de",), ("fr",)]
        assert connection.exec_driver_sql("SELECT code FROM countries ORDER BY code").all() == [("de",), ("fr",)]
        connection.execute(text("INSERT INTO users (id, email) VALUES (:id, 'x')"), [{"id": 77}, {"id": 78}])
        assert connection.scalar(select(func.count()).select_from(text("users"))) == 4
        with pytest.raises(RefusedStatementError):
            connection.execute(text("DELETE FROM countries"))


def test_the_tenants_table_in_a_text_needs_a_tenant(world: WriteWorld) -> None:
    with world.many.connect() as connection, Recorder(world.many) as recorder:
        for statement in (
            text("SELECT plan FROM tenants"),
            text("SELECT id FROM tenants"),
            select(Tenant.id).where(text("plan LIKE 's%'")),
            select(Tenant.id).order_by(text("plan")),
            select(text("plan")).select_from(Tenant),
            select(literal_column("plan")).select_from(Tenant),
            select(Tenant.id).where(Tenant.slug == literal_column("plan")),
        ):
            with pytest.raises(NoTenantError):
                connection.execute(statement)

    assert recorder.statements == []


# Schemas that stand for others.


def test_schema_translation_does_not_reach_into_text(world: WriteWorld) -> None:
    """SQLAlchemy translates the schemas of constructs; a text names its own."""
    mapping = {None: {"sqlite": "main", "postgresql": "public"}[world.name]}
    with session_of(world.many, 2) as session:
        options = {"schema_translate_map": mapping}
        by_text = session.execute(text("SELECT id FROM invoices ORDER BY id"), execution_options=options).all()
        mixed = select(Invoice.id).where(text("total > 0 OR 1 = 1")).order_by(Invoice.id)
        assert session.execute(mixed, execution_options=options).all() == by_text
        sub = ids_and_totals("SELECT id, total FROM invoices").subquery()
        joined = select(Customer.id, sub.c.id).join(sub, sub.c.id == Customer.id + 1)
        assert all(row[1] // 100 == 2 for row in session.execute(joined, execution_options=options))

    assert [row[0] for row in by_text] == [200 + number for number in range(1, 8)]


@pytest.mark.parametrize("door", ["text", "driver", "translated"])
def test_a_schema_that_nobody_declared_is_refused(world: WriteWorld, door: str) -> None:
    with session_of(world.many, 1) as session, Recorder(world.many) as recorder:
        connection = session.connection()
        recorder.statements.clear()
        with pytest.raises(RefusedStatementError):
            if door == "text":
                connection.execute(text("SELECT * FROM elsewhere.invoices"))
            elif door == "driver":
                connection.exec_driver_sql("SELECT * FROM pg_catalog.pg_class")
            else:
                options = {"schema_translate_map": {None: "pg_catalog"}}
                connection.execute(select(text("1")).select_from(Invoice), execution_options=options)
        assert recorder.statements == []


# Typed parameters, on tables of their own.


class Colour(enum.Enum):
    red = "r"
    blue = "b"


TYPED = MetaData()
things = Table(
    "things",
    TYPED,
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Uuid, nullable=False),
    Column("colour", Enum(Colour, native_enum=False), nullable=False),
    Column("day", Date, nullable=False),
    Column("size", Integer),
)
OWNERS = (uuid.UUID(int=1), uuid.UUID(int=2))


@pytest.fixture(scope="module")
def typed(new_database: Callable[..., Any]) -> Iterator[Engine]:
    """Return a guarded engine whose tenant ids are UUIDs, with the same two things for each of two tenants."""
    url = new_database()
    plain_engine = create_engine(url)
    TYPED.create_all(plain_engine)
    with plain_engine.begin() as connection:
        for owner in OWNERS:
            for number, colour in enumerate(Colour, 1):
                values = {"id": uuid.UUID(int=owner.int * 100 + number), "tenant_id": owner, "colour": colour}
                connection.execute(insert(things).values(**values, day=datetime.date(2026, 1, number), size=number))
    plain_engine.dispose()
    engine = Tenancy(TYPED, strict=True).guard(create_engine(url))
    yield engine
    engine.dispose()


@pytest.mark.parametrize("owner", OWNERS)
def test_uuid_date_and_enum_are_parameters_of_a_text(typed: Engine, owner: uuid.UUID) -> None:
    statement = (
        text("SELECT id, tenant_id, colour, day FROM things WHERE colour IN :colours AND day >= :day AND id <> :other")
        .bindparams(
            bindparam("colours", [Colour.red, Colour.blue], expanding=True, type_=Enum(Colour, native_enum=False)),
            bindparam("day", datetime.date(2026, 1, 2), type_=Date),
            bindparam("other", uuid.UUID(int=7), type_=Uuid),
        )
        .columns(things.c.id, things.c.tenant_id, things.c.colour, things.c.day)
    )
    with tenant(owner), typed.connect() as connection:
        rows = connection.execute(statement).all()

    assert rows == [(uuid.UUID(int=owner.int * 100 + 2), owner, Colour.blue, datetime.date(2026, 1, 2))]


def test_a_uuid_tenant_given_in_a_text_is_compared(typed: Engine) -> None:
    sql = "INSERT INTO things (id, tenant_id, colour, day) VALUES (:id, :owner, 'red', '2026-01-01')"
    statement = text(sql).bindparams(bindparam("id", type_=Uuid), bindparam("owner", type_=Uuid))
    new = uuid.UUID(int=999)
    with tenant(OWNERS[0]), typed.connect() as connection:
        connection.execute(statement, {"id": new, "owner": OWNERS[0]})
        assert connection.scalar(select(things.c.tenant_id).where(things.c.id == new)) == OWNERS[0]
        with pytest.raises(ForeignTenantError):
            connection.execute(statement, {"id": uuid.UUID(int=998), "owner": OWNERS[1]})
        with pytest.raises(ForeignTenantError):
            connection.execute(text(sql.replace(":owner", f"'{OWNERS[1]}'").replace(":id", f"'{new}'")))
        connection.execute(
            text(sql.replace(":owner", f"'{OWNERS[0]}'")).bindparams(bindparam("id", type_=Uuid)),
            {"id": uuid.UUID(int=997)},
        )
        assert connection.scalar(select(func.count()).select_from(things)) == 4
        connection.rollback()
    with tenant(1), pytest.raises(TenantIdError):
        with typed.connect() as connection:
            connection.execute(text("SELECT 1 FROM things"))


# t-strings.


@pytest.mark.skipif(sys.version_info < (3, 14), reason="t-strings need Python 3.14")
def test_a_t_string_is_refused(world: WriteWorld) -> None:
    least = 3
    build: Any = eval("lambda tstring: tstring(t'SELECT * FROM invoices WHERE total > {least}')", {"least": least})  # noqa: S307
    if not hasattr(sqlalchemy, "tstring"):
        pytest.skip("SQLAlchemy 2.0 has no t-strings")
    with tenant(1), rolled_back(world.many) as connection, Recorder(world.many) as recorder:
        with pytest.raises(RefusedStatementError):
            connection.execute(build(sqlalchemy.tstring))
    assert recorder.statements == []


@pytest.mark.skipif(not hasattr(sqlalchemy, "tstring"), reason="SQLAlchemy 2.0 has no t-strings")
def test_a_t_string_of_any_python_is_refused(world: WriteWorld) -> None:
    """What ``tstring()`` makes, made without its syntax."""
    from sqlalchemy.sql.elements import TString  # type: ignore[attr-defined,unused-ignore]  # 2.1

    made: Any = TString.__new__(TString)
    made.parts = [text("SELECT * FROM invoices")]
    made._bindparams = {}
    with tenant(1), rolled_back(world.many) as connection, Recorder(world.many) as recorder:
        with pytest.raises(RefusedStatementError):
            connection.execute(made)
    assert recorder.statements == []


# Limits.


def deep(opening: str, inner: str, closing: str, times: int) -> str:
    return f"{opening * times}{inner}{closing * times}"


TOO_MUCH: dict[str, str] = {
    "too_long": f"SELECT id FROM invoices WHERE number <> '{'x' * MAX_LENGTH}'",
    "parentheses": f"SELECT {deep('(', '1', ')', 10_000)}",
    "parentheses_not_closed": f"SELECT {'(' * 10_000}",
    "parentheses_just_too_deep": f"SELECT id FROM invoices WHERE {deep('(', 'paid', ')', MAX_DEPTH + 1)}",
    "not": f"SELECT id FROM invoices WHERE {deep('NOT ', 'paid', '', 10_000)}",
    "unary_minus": f"SELECT {deep('- ', 'total', '', 10_000)} FROM invoices",
    "unary_tilde": f"SELECT {deep('~ ', 'total', '', 10_000)} FROM invoices",
    "case": f"SELECT {deep('CASE WHEN true THEN ', '1', ' END', 3000)}",
    "case_not_closed": f"SELECT {'CASE ' * 10_000}",
    "casts": f"SELECT {deep('CAST(', '1', ' AS INT)', 5000)}",
    "calls": f"SELECT {deep('coalesce(1, ', '1', ')', 5000)}",
    "types": f"SELECT {deep('numeric(', '1', ')', 40)}",
    "dates": f"SELECT {deep('date(', '1', ')', 45)}",
    "structs": f"SELECT {'struct(' * 45}",
    "arrays": f"SELECT {deep('ARRAY[', '1', ']', 45)}",
    "arrays_and_parentheses": f"SELECT {deep('(ARRAY[', '1', '])', 20)}",
    "angles": f"SELECT CAST(1 AS {'ARRAY<' * 5000}",
    "additions": f"SELECT {' + '.join(['1'] * 9000)}",
    "concatenations": f"SELECT {' || '.join(['number'] * 5000)} FROM invoices",
    "comparisons": f"SELECT {' IS NULL'.join([''] * 5000)}",
    "is_null": f"SELECT 1{' IS NULL' * 5000}",
    "in": f"SELECT 1{' IN (1)' * 5000}",
    "between": f"SELECT {'1 BETWEEN 1 AND ' * 5000}1",
    "collations": f"SELECT 'a'{' COLLATE nocase' * 4000}",
    "ors": f"SELECT id FROM invoices WHERE {' OR '.join(f'id = {number}' for number in range(6000))}",
    "unions": " UNION ALL ".join(["SELECT 1"] * 5000),
    "joins": f"SELECT 1 FROM tags{' JOIN tags ON true' * 4000}",
    "many_joins": "SELECT 1 FROM tags t0 " + " ".join(f"JOIN tags t{n} ON t{n}.id = 1" for n in range(1, 2500)),
    "subqueries": f"SELECT {deep('(SELECT ', '1', ')', 60)}",
    "subqueries_in_from": f"SELECT 1 FROM {deep('(SELECT 1 FROM ', 'tags', ') AS t', 60)}",
    "with": deep("WITH a AS (", "SELECT 1", ") SELECT 1", 60),
    "quotes": f"SELECT {chr(39) * 9999}",
    "double_quotes": f"SELECT {chr(34) * 9999}",
    "brackets": f"SELECT {'[' * 50_000}",
    "comments": f"SELECT 1 {'/*' * 49_000}",
    "comments_and_quotes": "SELECT 1 " + "/*'" * 20_000,
    "dollars": f"SELECT {'$a$' * 9999}",
    "colons": f"SELECT {':' * 20_000}",
    "per_cents": f"SELECT {'%%' * 9999}",
    "selects": "SELECT " * 10_000,
    "lambdas": f"SELECT {'x -> ' * 5000}1",
    "intervals": f"SELECT {'INTERVAL ' * 5000}",
}


@pytest.mark.parametrize("name", TOO_MUCH)
@pytest.mark.parametrize("door", ["text", "driver", "fragment"])
def test_what_is_too_long_or_too_deep_is_refused(world: WriteWorld, name: str, door: str) -> None:
    sql = TOO_MUCH[name]
    with tenant(1), rolled_back(world.many) as connection, Recorder(world.many) as recorder:
        with pytest.raises(RefusedStatementError) as raised:
            if door == "driver":
                connection.exec_driver_sql(sql)
            elif door == "text":
                connection.execute(text(sql.replace(":", r"\:")))
            else:
                part = sql.partition("WHERE ")[2] or sql.removeprefix("SELECT ")
                connection.execute(select(Invoice.id).where(text(part.replace(":", r"\:"))))

    assert recorder.statements == []
    assert raised.value.reason


def test_what_is_long_is_answered(world: WriteWorld) -> None:
    numbers = ", ".join(str(number) for number in range(1, 15_000))
    sql = f"SELECT id FROM invoices WHERE id IN ({numbers})"
    ors = " OR ".join(f"id = {number}" for number in range(100, 400))
    assert 85_000 < len(sql) < MAX_LENGTH
    with tenant(2), rolled_back(world.many) as connection:
        for each in (sql, f"SELECT id FROM invoices WHERE {ors}"):
            assert sorted(connection.scalars(text(each))) == [200 + number for number in range(1, 8)]
            assert sorted(connection.exec_driver_sql(each).scalars()) == [200 + number for number in range(1, 8)]


def test_what_is_rather_deep_is_answered(world: WriteWorld) -> None:
    inner = deep("(", "total > 0", ")", 20)
    nested = deep("EXISTS (SELECT 1 FROM tags WHERE ", "true", ")", 4)
    arrays = "" if world.name == "sqlite" else " AND ARRAY[ARRAY[ARRAY[1, 2]]] IS NOT NULL"
    with tenant(1), rolled_back(world.many) as connection:
        sql = f"SELECT id FROM invoices WHERE {inner} AND {nested}{arrays}"
        assert len(connection.execute(text(sql)).all()) == 7


def test_a_subclass_of_text_is_scoped_or_refused(world: WriteWorld) -> None:
    class Sly(TextClause):
        inherit_cache = True

    class SlyString(str):
        __slots__ = ()

        def lower(self) -> str:
            return string.ascii_lowercase

    with session_of(world.many, 1) as session:
        sly: Any = Sly
        for statement in (sly("SELECT id FROM invoices"), text(SlyString("SELECT id FROM invoices"))):
            try:
                rows = session.execute(statement).all()
            except RefusedStatementError:
                continue
            assert {row[0] // 100 for row in rows} == {1}


def test_listeners_may_look_at_a_text_and_not_change_it(world: WriteWorld) -> None:
    engine = fresh_engine(world)
    seen: list[str] = []

    def look(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        seen.append(statement)
        return f"/* traced */ {statement}", parameters

    def change(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        return statement.replace("tenant_id", "id"), parameters

    event.listen(engine, "before_cursor_execute", look, retval=True)
    with tenant(1), engine.connect() as connection:
        assert len(connection.execute(text("SELECT id FROM invoices")).all()) == 7
        event.listen(engine, "before_cursor_execute", change, retval=True)
        with pytest.raises(RefusedStatementError):
            connection.execute(text("SELECT id FROM invoices"))
    engine.dispose()

    assert "tenant_id" in seen[0]
