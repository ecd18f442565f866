"""What once got through, or nearly: each was a leak in some version of the code, found by trying."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    column,
    func,
    literal,
    literal_column,
    select,
    table,
    text,
    true,
    tuple_,
    values,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ColumnElement, UnaryExpression, quoted_name
from sqlalchemy.sql.functions import FunctionElement, GenericFunction
from sqlalchemy.sql.selectable import Subquery, TableValuedAlias
from sqlalchemy.types import UserDefinedType

from partywall import NoTenantError, PartywallError, RefusedStatementError, TenantChangedError, current_tenant, tenant
from partywall.scope import Tenant as TenantScope
from partywall.statements.orm import EXPLICIT_TENANT
from tests.models import Base, Country, Customer, Invoice, Tenant
from tests.world import World

invoices = Base.metadata.tables["invoices"]
tenants = Base.metadata.tables["tenants"]
countries = Base.metadata.tables["countries"]
EVERYTHING = "(SELECT sum(total) FROM invoices)"


def nested_twice() -> Any:
    shadow = select(literal(1).label("id"), literal(1).label("total")).cte("invoices")
    inner = select(shadow.c.id).add_cte(shadow, nest_here=True).subquery()
    return select(shadow.c.total).select_from(shadow).join(inner, true())


def crafted_type(spec: str) -> Any:
    class Crafted(UserDefinedType[int]):
        cache_ok = True

        def get_col_spec(self, **kw: Any) -> str:
            return spec

    return Crafted()


class Hiding(FunctionElement[int]):
    """A function that does not show its arguments."""

    name = "coalesce"
    inherit_cache = True
    type = Integer()

    def get_children(self, **kw: Any) -> Any:
        return []


class Own(ColumnElement[int]):
    inherit_cache = True
    type = Integer()


@compiles(Own)
def _compile_own(element: Any, compiler: Any, **kw: Any) -> str:
    return EVERYTHING


STATEMENTS: dict[str, Callable[[], Any]] = {
    "function_in_the_rows_of_values": lambda: select(
        values(column("a", Integer), name="v").data([(func.pg_backend_pid(),)]).c.a
    ),
    "construct_in_the_rows_of_values": lambda: select(values(column("a", Integer), name="v").data([(Own(),)]).c.a),
    "construct_hidden_in_a_function": lambda: select(Hiding(Own(), 1)),
    "suffix_that_computes_with_our_criterion": lambda: select(Invoice.id).suffix_with("+1"),
    "suffixes_that_do_so_together": lambda: select(Invoice.id).suffix_with("*", "2"),
    "cte_moved_into_an_inner_statement": nested_twice,
    "in_a_bare_name": lambda: select(Invoice.id).where(
        tuple_(2, 2).op("IN", is_comparison=True)(column("customer_tags"))
    ),
    "in_a_string": lambda: select(literal(2).op("IN")(literal_column("'countries'"))),
    "name_not_quoted_by_a_falsy_mark": lambda: select(column(quoted_name(EVERYTHING, 0))),  # type: ignore[arg-type]
    "label_not_quoted_by_a_falsy_mark": lambda: select(Invoice.id.label(quoted_name("x, 1", 0))),  # type: ignore[arg-type]
    "label_that_is_replaced_at_execution": lambda: select(
        Invoice.id.label("x__[POSTCOMPILE_p]"),
        bindparam("p", f'" , {EVERYTHING} as z -- ', String, literal_execute=True),
    ),
    "label_that_is_a_schema_to_come": lambda: select(Invoice.id.label("x__[SCHEMA_zzz]y")).execution_options(
        schema_translate_map={"zzz": f'", {EVERYTHING} as z -- '}
    ),
    "label_that_is_a_parameter": lambda: select(Invoice.id.label("%(id_1)s")).where(Invoice.id != 2),
    "literal_that_is_a_parameter": lambda: select(Invoice.id).where(
        Invoice.number == bindparam("p", "%(partywall_tenant)s", String, literal_execute=True)
    ),
    "label_with_a_line_break": lambda: select(Invoice.id.label("a\n0")),
    "minus_before_a_negative_number": lambda: select(Invoice.id).where(-literal_column("-1") == 1),
    "type_with_a_condition_in_it": lambda: select(Invoice.id).where(
        func.lower("x") == literal("x").cast(crafted_type("TEXT COLLATE nocase OR 1"))
    ),
    "type_of_a_derived_column": lambda: select(
        func.json_each("[]")
        .table_valued(column("value", crafted_type(f"int), {EVERYTHING} AS x(y int")))
        .render_derived(with_types=True)
        .c.value
    ),
    "source_that_hides_a_table": lambda: select(TableValuedAlias._construct(invoices, name="x").c.total),
    "subquery_that_hides_a_table": lambda: select(Subquery._construct(invoices, name="x").c.total),
    "system_column_of_unnamed_values": lambda: select(values(column("ctid", String)).data([("x",)]).c.ctid).select_from(
        Invoice
    ),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_that_once_leaked_is_refused_or_gives_own_rows(world: World, name: str) -> None:
    with tenant(2), Session(world.many) as session:
        try:
            found = session.execute(STATEMENTS[name]()).all()
        except (PartywallError, SQLAlchemyError):
            return
    with Session(world.twins[2].alone) as session:
        assert found == session.execute(STATEMENTS[name]()).all()


REFUSED = set(STATEMENTS) - {
    "source_that_hides_a_table",
    "subquery_that_hides_a_table",
}


SCOPED: dict[str, Callable[[], Any]] = {
    "text_in_the_rows_of_values": lambda: select(
        values(column("a", Integer), name="v").data([(literal_column(EVERYTHING),)]).c.a
    ),
    "text_in_the_rows_of_unnamed_values": lambda: select(
        values(column("a", Integer)).data([(literal_column(EVERYTHING),)]).cte().c.a
    ),
    "text_in_the_rows_of_scalar_values": lambda: select(
        values(column("a", Integer)).data([(literal_column(EVERYTHING),)]).scalar_values()
    ),
}


@pytest.mark.parametrize("name", SCOPED)
def test_text_that_once_leaked_is_scoped(world: World, name: str) -> None:
    for tenant_id in (1, 2):
        world.twins[tenant_id].compare(lambda session: session.execute(SCOPED[name]()).all())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_statement_that_once_leaked_is_refused_by_us(world: World, name: str) -> None:
    """By us, and not by luck of the database's syntax."""
    with tenant(2), Session(world.many) as session, pytest.raises(RefusedStatementError):
        session.execute(STATEMENTS[name]())


def test_a_literal_negative_number_begins_no_comment(world: World) -> None:
    statement = select(Invoice.id).where(-bindparam("q", -1, Integer, literal_execute=True) == 1)

    outcome = world.twins[1].run_among_many(lambda session: session.execute(statement).all())

    assert outcome.rows is not None
    assert len(outcome.rows) == 7


def bare_name_of_unnamed_values() -> Any:
    rows = values(column("plan", String)).data([("x",)])
    return select(rows.c.plan).select_from(tenants.join(rows, true()))


def names_captured_from_around() -> Any:
    shadow = select(literal("x").label("plan")).subquery("tenants")
    inner = select(func.max(shadow.c.plan)).select_from(Tenant).correlate(shadow)
    return select(inner.scalar_subquery()).select_from(shadow)


WITHOUT_TENANT: dict[str, Callable[[], Any]] = {
    "asterisk": lambda: select(literal_column("*")).select_from(Tenant),
    "asterisk_after_a_space": lambda: select(literal_column(" *")).select_from(Tenant),
    "asterisk_as_text": lambda: select(text("*")).select_from(Tenant),
    "bare_name": lambda: select(column("plan")).select_from(Tenant),
    "bare_name_of_unnamed_values": bare_name_of_unnamed_values,
    "column_of_a_lightweight_table": lambda: select(table("tenants", column("plan"))),
    "column_of_an_alias": lambda: select(tenants.alias("t").c.plan),
    "column_in_order_by": lambda: select(Tenant.id).order_by(Tenant.plan),
    "column_in_where": lambda: select(Tenant.id).where(Tenant.plan == "secret plan"),
    "column_in_a_function": lambda: select(func.max(Tenant.plan)),
    "column_in_a_subquery": lambda: select(select(Tenant.plan).limit(1).scalar_subquery()),
    "whole_row": lambda: select(func.row_to_json(tenants.table_valued())),
    "whole_row_by_name": lambda: select(func.row_to_json(column("tenants"))).select_from(Tenant),
    "count": lambda: select(func.count()).select_from(Tenant),
    "locks": lambda: select(Tenant.id).with_for_update(),
    "names_captured_from_around": names_captured_from_around,
    "names_captured_by_an_alias": lambda: select(
        Table("countries", MetaData(), Column("plan")).alias("tenants").c.plan
    ),
    "union_with_a_scoped_table": lambda: select(Tenant.id).union(select(Invoice.id)),
    "join_with_a_scoped_table": lambda: select(Tenant.id).join(Invoice, true()),
}


@pytest.mark.parametrize("name", WITHOUT_TENANT)
def test_with_no_tenant_the_tenants_table_shows_public_columns_alone(world: World, name: str) -> None:
    with Session(world.many) as session, pytest.raises((NoTenantError, RefusedStatementError)):
        session.execute(WITHOUT_TENANT[name]())


def test_with_no_tenant_a_lookup_may_join_shared_tables(world: World) -> None:
    with Session(world.many) as session:
        found = session.execute(select(Tenant.id).join(Country, Country.code == "de").where(Tenant.slug == "tenant2"))
        assert found.scalars().all() == [2]


def test_sessions_of_two_tenants_on_one_connection_never_swap(world: World) -> None:
    with world.many.connect() as connection, Session(connection, info={EXPLICIT_TENANT: TenantScope(1)}) as first:
        assert {row.tenant_id for row in first.scalars(select(Invoice))} == {1}
        with Session(connection, info={EXPLICIT_TENANT: TenantScope(2)}) as second:
            for _ in range(2):
                with pytest.raises(TenantChangedError):
                    second.scalars(select(Invoice)).all()
        with pytest.raises(TenantChangedError):
            first.scalars(select(Invoice)).all()


def test_a_failed_join_does_not_change_the_tenant_of_a_connection(world: World) -> None:
    with world.many.connect() as connection:
        with tenant(1):
            connection.begin()
        with tenant(2), Session(connection) as session, pytest.raises(TenantChangedError):
            session.scalars(select(Invoice)).all()
        assert set(connection.scalars(select(Invoice.tenant_id))) == {1}
        with Session(connection, info={EXPLICIT_TENANT: TenantScope(2)}) as session, pytest.raises(TenantChangedError):
            session.scalars(select(Invoice)).all()
        with pytest.raises(TenantChangedError):
            connection.execute(select(Invoice.id)).all()


def test_a_session_that_joins_shares_the_pin_of_the_session_before_it(world: World) -> None:
    with world.many.connect() as connection, Session(connection) as first, Session(connection) as second:
        first.execute(select(Country.code)).all()
        second.execute(select(Country.code)).all()
        with tenant(1):
            own = second.get_one(Invoice, 101)
            assert first.get_one(Invoice, 101) is not own
        with tenant(2), pytest.raises(TenantChangedError):
            first.get(Invoice, 101)


def test_expunge_all_does_not_free_a_session_in_its_transaction(world: World) -> None:
    with Session(world.many) as session:
        with tenant(1):
            session.get_one(Invoice, 101)
            session.expunge_all()
            kept = session.get_one(Invoice, 101)
        with tenant(2):
            with pytest.raises(TenantChangedError):
                session.get(Invoice, 101)
            with pytest.raises(TenantChangedError):
                list(session)
        session.commit()
        with tenant(2), pytest.raises(TenantChangedError):
            session.get(Invoice, 101)
        assert kept.tenant_id == 1


def test_one_block_entered_by_two_threads_leaves_nothing_behind() -> None:
    block, entered, left = tenant(1), threading.Barrier(2), []

    def run() -> None:
        with block:
            entered.wait()
        left.append(current_tenant())

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert left == [None, None]


def test_one_block_entered_by_two_tasks_leaves_nothing_behind() -> None:
    block = tenant(1)

    async def run(seconds: float) -> Any:
        with block:
            await asyncio.sleep(seconds)
        return current_tenant()

    async def both() -> list[Any]:
        return list(await asyncio.gather(run(0.02), run(0.01)))

    assert asyncio.run(both()) == [None, None]


def test_a_construct_compiled_by_the_application_later_on_is_noticed(world: World) -> None:
    class Late(GenericFunction[str]):
        inherit_cache = True
        identifier = f"late_lower_{world.name}"
        name = "lower"

    with tenant(1), Session(world.many) as session:
        assert session.scalar(select(Late("X"))) == "x"
        compiles(Late)(_compile_own)
        with pytest.raises(RefusedStatementError):
            session.scalar(select(Late("X")).where(true()))


def test_an_operator_with_a_question_mark_takes_no_parameter_of_ours_on_sqlite(world: World) -> None:
    unary: Any = UnaryExpression(Invoice.__table__.c.id, operator=operators.custom_op("?-"))
    with tenant(1), Session(world.many) as session:
        if world.name == "sqlite":
            with pytest.raises(RefusedStatementError):
                session.execute(select(Customer.id).order_by(unary))
        else:
            str(select(Customer.id).order_by(unary).compile(world.many))


def test_a_full_join_adds_no_column_to_an_asterisk(world: World) -> None:
    statement: Any = select(literal_column("*")).select_from(
        invoices.join(countries, invoices.c.number == countries.c.code, full=True)
    )
    with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError, match="name the columns"):
        session.execute(statement)


def test_a_full_join_of_aliases_named_like_our_helpers(world: World) -> None:
    first, second = invoices.alias("anon_1"), Base.metadata.tables["customers"].alias("anon_2")
    statement: Any = select(first.c.id, second.c.id).select_from(
        first.join(second, first.c.customer_id == second.c.id, full=True)
    )

    assert world.twins[1].compare(lambda session: session.execute(statement).all()).error is None


def test_a_schema_translate_map_that_changes_nothing_works(world: World) -> None:
    schema = "main" if world.name == "sqlite" else "public"

    outcome = world.twins[1].compare(
        lambda session: session.execute(
            select(Invoice.id), execution_options={"schema_translate_map": {None: schema}}
        ).all()
    )

    assert outcome.rows is not None
    assert len(outcome.rows) == 7


@pytest.mark.parametrize("schema", ["pg_catalog", "information_schema", "pg_toast", "temp"])
def test_a_schema_translate_map_does_not_lead_into_the_catalog(world: World, schema: str) -> None:
    with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError):
        session.execute(select(Invoice.id), execution_options={"schema_translate_map": {None: schema}})
