"""What is measured: each case is one entry, written without a filter and filtered by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, Executable, func, select
from sqlalchemy.orm import Session, joinedload, selectinload

from benchmarks.schema import Customer, Invoice, InvoiceLine, Size

__all__ = ["CASES", "Case", "Rows"]

Rows = Sequence[Any]
Value = int | BindParameter[int]
Parameters = Mapping[str, int]


def entities(session: Session, statement: Executable, parameters: Parameters) -> Rows:
    """Fetch objects."""
    return session.execute(statement, parameters).unique().scalars().all()


def rows(session: Session, statement: Executable, parameters: Parameters) -> Rows:
    """Fetch rows of plain values."""
    return session.execute(statement, parameters).all()


@dataclass(frozen=True)
class Case:
    """
    One statement, in both ways of writing it.

    Attributes:
        plain: Makes it as one writes it where something else filters, from the key it looks for.
        by_hand: Makes it with the filter in each place that needs one, from the tenant and the key.
        fetch: Executes it and fetches what it returns.
        key: Returns a key of the tenant's that the statement finds something under.
        reusable: Whether *by_hand* may be built once, with parameters, and serve all tenants.
    """

    name: str
    plain: Callable[[Value], Executable]
    by_hand: Callable[[Value, Value], Executable]
    fetch: Callable[[Session, Executable, Parameters], Rows] = entities
    key: Callable[[Size, int], int] = Size.first_customer
    reusable: bool = True


CASES = (
    Case(
        "list 50",
        lambda _: select(Invoice).order_by(Invoice.id.desc()).limit(50),
        lambda tenant, _: select(Invoice).where(Invoice.tenant_id == tenant).order_by(Invoice.id.desc()).limit(50),
    ),
    Case(
        "point",
        lambda key: select(Invoice).where(Invoice.id == key),
        lambda tenant, key: select(Invoice).where(Invoice.tenant_id == tenant, Invoice.id == key),
        key=Size.first_invoice,
    ),
    Case(
        "joined load",
        lambda key: select(Invoice).where(Invoice.customer_id == key).options(joinedload(Invoice.lines)),
        lambda tenant, key: (
            select(Invoice)
            .where(Invoice.tenant_id == tenant, Invoice.customer_id == key)
            .options(joinedload(Invoice.lines.and_(InvoiceLine.tenant_id == tenant)))
        ),
    ),
    Case(
        "select-in load",
        lambda key: select(Invoice).where(Invoice.customer_id == key).options(selectinload(Invoice.lines)),
        lambda tenant, key: (
            select(Invoice)
            .where(Invoice.tenant_id == tenant, Invoice.customer_id == key)
            .options(selectinload(Invoice.lines.and_(InvoiceLine.tenant_id == tenant)))
        ),
        # SQLAlchemy runs the second SELECT without the parameters of the first: "A value is required for bind
        # parameter". Built once is then built once for each tenant, with its id as a constant.
        reusable=False,
    ),
    Case(
        "aggregate over a join",
        lambda key: (
            select(Customer.name, func.count(Invoice.id.distinct()), func.sum(InvoiceLine.amount))
            .join(Invoice, Invoice.customer_id == Customer.id)
            .join(Invoice.lines)
            .where(Customer.id == key)
            .group_by(Customer.name)
        ),
        lambda tenant, key: (
            select(Customer.name, func.count(Invoice.id.distinct()), func.sum(InvoiceLine.amount))
            .join(Invoice, Invoice.customer_id == Customer.id)
            .join(Invoice.lines)
            .where(Customer.id == key, *(model.tenant_id == tenant for model in (Customer, Invoice, InvoiceLine)))
            .group_by(Customer.name)
        ),
        fetch=rows,
    ),
)
