"""Statement in, SQL out: the criterion stands where a careful person would write it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import and_, func, or_, select, true
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine, create_engine
from sqlalchemy.orm import aliased, joinedload

from partywall.statements.placement import PLACEMENT, JoinKind, Side
from tests.models import Base, Country, Customer, Invoice, Line, Template, Tenant, tenancy

invoices, customers, lines = (Base.metadata.tables[name] for name in ("invoices", "customers", "lines"))
T = ":partywall_tenant"

PAIRS: dict[str, tuple[Callable[[], Any], str]] = {
    "one table": (
        lambda: select(Invoice.id),
        f"SELECT invoices.id FROM invoices WHERE invoices.tenant_id = {T}",
    ),
    "a criterion of the application": (
        lambda: select(Invoice.id).where(Invoice.paid).order_by(Invoice.id),
        f"SELECT invoices.id FROM invoices WHERE invoices.tenant_id = {T} AND invoices.paid ORDER BY invoices.id",
    ),
    "or": (
        lambda: select(Invoice.id).where(or_(Invoice.paid, Invoice.id == Invoice.total)),
        "SELECT invoices.id FROM invoices "
        f"WHERE invoices.tenant_id = {T} AND (invoices.paid OR invoices.id = invoices.total)",
    ),
    "or in a lambda": (
        lambda: select(Invoice.id).where(lambda: or_(Invoice.paid, Invoice.id == Invoice.total)),
        "SELECT invoices.id FROM invoices "
        f"WHERE invoices.tenant_id = {T} AND (invoices.paid OR invoices.id = invoices.total)",
    ),
    "alias": (
        lambda: select(aliased(Invoice, name="i").id),
        f"SELECT i.id FROM invoices AS i WHERE i.tenant_id = {T}",
    ),
    "shared table": (
        lambda: select(Country.code),
        "SELECT countries.code FROM countries",
    ),
    "shared rows": (
        lambda: select(Template.id),
        f"SELECT templates.id FROM templates WHERE templates.tenant_id = {T} OR templates.tenant_id IS NULL",
    ),
    "tenants table": (
        lambda: select(Tenant.slug),
        f"SELECT tenants.slug FROM tenants WHERE tenants.id = {T}",
    ),
    "inner join": (
        lambda: select(Invoice.id).join(Invoice.customer),
        "SELECT invoices.id FROM invoices JOIN customers ON customers.id = invoices.customer_id "
        f"WHERE invoices.tenant_id = {T} AND customers.tenant_id = {T}",
    ),
    "left join": (
        lambda: select(Invoice.id).outerjoin(Invoice.customer),
        f"SELECT invoices.id FROM invoices LEFT OUTER JOIN customers ON customers.tenant_id = {T} AND customers.id = invoices.customer_id WHERE invoices.tenant_id = {T}",
    ),
    "left join on an or": (
        lambda: select(Invoice.id).outerjoin(Customer, or_(Invoice.paid, Customer.id == Invoice.total)),
        f"SELECT invoices.id FROM invoices LEFT OUTER JOIN customers ON customers.tenant_id = {T} AND (invoices.paid OR customers.id = invoices.total) WHERE invoices.tenant_id = {T}",
    ),
    "left join with a shared table": (
        lambda: select(Customer.id).outerjoin(Customer.country),
        "SELECT customers.id FROM customers LEFT OUTER JOIN countries ON countries.code = customers.country_code "
        f"WHERE customers.tenant_id = {T}",
    ),
    "full join": (
        lambda: select(Invoice.id).join(Customer, Invoice.customer_id == Customer.id, full=True),
        f"SELECT invoices.id FROM (invoices JOIN (SELECT) AS partywall_1 ON invoices.tenant_id = {T}) FULL OUTER JOIN (customers JOIN (SELECT) AS partywall_2 ON customers.tenant_id = {T}) ON invoices.customer_id = customers.id",
    ),
    "left join of an inner join": (
        lambda: select(invoices.c.id).select_from(
            invoices.outerjoin(
                customers.join(lines, lines.c.amount == customers.c.id), invoices.c.customer_id == customers.c.id
            )
        ),
        f"SELECT invoices.id FROM invoices LEFT OUTER JOIN (customers JOIN lines ON lines.amount = customers.id) ON customers.tenant_id = {T} AND lines.tenant_id = {T} AND invoices.customer_id = customers.id WHERE invoices.tenant_id = {T}",
    ),
    "left join of a left join": (
        lambda: select(invoices.c.id).select_from(
            invoices.outerjoin(
                customers.outerjoin(lines, lines.c.amount == customers.c.id), invoices.c.customer_id == customers.c.id
            )
        ),
        f"SELECT invoices.id FROM invoices LEFT OUTER JOIN (customers LEFT OUTER JOIN lines ON lines.tenant_id = {T} AND lines.amount = customers.id) ON customers.tenant_id = {T} AND invoices.customer_id = customers.id WHERE invoices.tenant_id = {T}",
    ),
    "inner join inside a full join": (
        lambda: select(invoices.c.id).select_from(
            invoices.join(
                customers.join(lines, lines.c.amount == customers.c.id),
                invoices.c.customer_id == customers.c.id,
                full=True,
            )
        ),
        f"SELECT invoices.id FROM (invoices JOIN (SELECT) AS partywall_1 ON invoices.tenant_id = {T}) FULL OUTER JOIN (customers JOIN lines ON customers.tenant_id = {T} AND lines.tenant_id = {T} AND lines.amount = customers.id) ON invoices.customer_id = customers.id",
    ),
    "subquery": (
        lambda: select(func.count()).select_from(select(Invoice.id).subquery()),
        "SELECT count(*) AS count_1 FROM "
        f"(SELECT invoices.id AS id FROM invoices WHERE invoices.tenant_id = {T}) AS anon_1",
    ),
    "exists": (
        lambda: select(Customer.id).where(Customer.invoices.any()),
        f"SELECT customers.id FROM customers WHERE customers.tenant_id = {T} AND (EXISTS (SELECT 1 FROM invoices WHERE invoices.tenant_id = {T} AND customers.id = invoices.customer_id))",
    ),
    "cte": (
        lambda: select(select(Invoice.id).cte("own").c.id),
        f"WITH own AS (SELECT invoices.id AS id FROM invoices WHERE invoices.tenant_id = {T}) SELECT own.id FROM own",
    ),
    "union": (
        lambda: select(Invoice.id).union(select(Customer.id)),
        f"SELECT invoices.id FROM invoices WHERE invoices.tenant_id = {T} UNION "
        f"SELECT customers.id FROM customers WHERE customers.tenant_id = {T}",
    ),
    "joined eager load": (
        lambda: (
            select(Line.amount, Line).options(joinedload(Line.invoice).load_only(Invoice.id)).where(Line.amount > 1)
        ),
        f"SELECT lines.amount, lines.tenant_id, lines.invoice_id, lines.position, invoices_1.id FROM lines LEFT OUTER JOIN invoices AS invoices_1 ON invoices_1.tenant_id = {T} AND invoices_1.id = lines.invoice_id WHERE lines.tenant_id = {T} AND lines.amount > :amount_1",
    ),
    "lateral": (
        lambda: select(Customer.id).outerjoin(
            select(Invoice.id).where(Invoice.customer_id == Customer.id).limit(1).lateral("l"), true()
        ),
        f"SELECT customers.id FROM customers LEFT OUTER JOIN LATERAL (SELECT invoices.id AS id FROM invoices WHERE invoices.tenant_id = {T} AND invoices.customer_id = customers.id LIMIT :param_1) AS l ON true WHERE customers.tenant_id = {T}",
    ),
    "correlated scalar subquery": (
        lambda: select(
            Customer.id,
            select(func.count(Invoice.id)).where(Invoice.customer_id == Customer.id).scalar_subquery().label("n"),
        ),
        f"SELECT customers.id, (SELECT count(invoices.id) AS count_1 FROM invoices WHERE invoices.tenant_id = {T} AND invoices.customer_id = customers.id) AS n FROM customers WHERE customers.tenant_id = {T}",
    ),
    "and": (
        lambda: select(Invoice.id).where(and_(Invoice.paid, Invoice.total == Invoice.id)),
        f"SELECT invoices.id FROM invoices WHERE invoices.tenant_id = {T} AND invoices.paid AND invoices.total = invoices.id",
    ),
}


def guarded_dialect() -> Any:
    """Return the dialect of a guarded engine on PostgreSQL, with parameters written as ``:name``."""
    engine: Engine = tenancy().guard(create_engine("postgresql+psycopg://", paramstyle="named"))
    return engine.dialect


DIALECT = guarded_dialect()


def printed(statement: Any) -> str:
    text = " ".join(str(statement.compile(dialect=DIALECT)).split())
    for cast in ("::INTEGER", "::VARCHAR"):
        text = text.replace(cast, "")
    return text


@pytest.mark.parametrize("name", PAIRS)
def test_statement_in_sql_out(name: str) -> None:
    build, expected = PAIRS[name]

    assert printed(build()) == expected


def test_the_placement_table_has_an_entry_for_each_side_of_each_join() -> None:
    assert PLACEMENT.keys() == {(kind, side) for kind in JoinKind for side in Side}


@pytest.mark.parametrize("dialect", [sqlite, postgresql])
def test_a_statement_printed_without_an_engine_is_not_changed(dialect: Any) -> None:
    assert "tenant" not in str(select(Invoice.id).compile(dialect=dialect.dialect()))


def test_literal_binds_never_print_a_tenant() -> None:
    text = str(select(Invoice.id).compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))

    assert text.endswith("invoices.tenant_id = :partywall_tenant::INTEGER")
