"""What is measured of writes: each case is one entry, written without the tenant and with it by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Insert, Table, bindparam, delete, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from benchmarks.schema import Invoice, InvoiceLine, Size

__all__ = ["WRITES", "Way", "Write"]

Way = Callable[[Session, int, Any], int]
"""Writes once: takes an open Session, the tenant's id and what *supply* gives, and returns how many rows it wrote."""


def keys_of_customers(_session: Session, size: Size, tenant: int) -> Iterator[int]:
    """Give the tenant's customers in turn, so that no run has to find its way through rows the one before changed."""
    first = size.first_customer(tenant)
    return itertools.cycle(range(first, first + size.customers))


def keys_of_invoices(_session: Session, size: Size, tenant: int) -> Iterator[int]:
    """Give each of the tenant's invoices, once: what is deleted is gone until the Session ends."""
    first = size.first_invoice(tenant)
    return iter(range(first, first + size.customers * size.invoices))


def batches(_session: Session, size: Size, tenant: int) -> Iterator[tuple[Sequence[Any], Sequence[Any]]]:
    """Give the rows of a bulk insert, without the tenant and with it; both are built beforehand."""
    customer = size.first_customer(tenant)
    plain = [{"customer_id": customer, "number": f"N-{each}", "total": each} for each in range(size.batch)]
    return itertools.repeat((plain, [{"tenant_id": tenant, **row} for row in plain]))


def loaded_invoices(session: Session, size: Size, tenant: int) -> Iterator[tuple[Sequence[Invoice], int]]:
    """Load objects, and give them with another total each time."""
    first = size.first_invoice(tenant)
    mine = select(Invoice).where(Invoice.tenant_id == tenant, Invoice.id >= first).order_by(Invoice.id).limit(100)
    objects = session.scalars(mine).all()
    return ((objects, total) for total in itertools.count(1))


@dataclass(frozen=True)
class Write:
    """
    One write, in both ways of writing it.

    Attributes:
        plain: Writes as one does where something else knows the tenant.
        by_hand: Names the tenant in the values or in WHERE.
        supply: Makes what both need, before the time is taken.
        at_most: A bar of its own for the ratio; else it is that of all writes.
    """

    name: str
    plain: Way
    by_hand: Way
    supply: Callable[[Session, Size, int], Iterator[Any]] = keys_of_customers
    at_most: float | None = None


def _add(session: Session, invoice: Invoice) -> int:
    session.add(invoice)
    session.flush()
    return 1


def _run(session: Session, statement: Executable, parameters: Any = None) -> int:
    count: int = session.execute(statement, parameters).rowcount  # type: ignore[attr-defined]  # a write returns a CursorResult
    return count


def _insert_all(session: Session, rows: Sequence[Any]) -> int:
    session.execute(insert(Invoice), rows)
    return len(rows)


INVOICES: Table = Invoice.__table__  # type: ignore[assignment]  # it is one


def _insert_all_in_core(session: Session, rows: Sequence[Any]) -> int:
    session.connection().execute(insert(INVOICES), rows)
    return len(rows)


def _change_all(session: Session, _tenant: int, given: tuple[Sequence[Invoice], int]) -> int:
    invoices, total = given
    for invoice in invoices:
        invoice.total = total
    session.flush()
    return len(invoices)


def _upsert(session: Session) -> Any:
    dialects: dict[str, Callable[..., Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return dialects[session.get_bind().dialect.name](Invoice)


def _upsert_plain(session: Session, _tenant: int, key: int) -> int:
    statement = _upsert(session).values(id=key, customer_id=1, number="new", total=1)
    return _run(
        session, statement.on_conflict_do_update(index_elements=["id"], set_={"total": statement.excluded.total})
    )


def _upsert_by_hand(session: Session, tenant: int, key: int) -> int:
    statement = _upsert(session).values(id=key, tenant_id=tenant, customer_id=1, number="new", total=1)
    return _run(
        session,
        statement.on_conflict_do_update(
            index_elements=["id"], set_={"total": statement.excluded.total}, where=Invoice.tenant_id == tenant
        ),
    )


INSERT = insert(INVOICES)
UPDATE = update(INVOICES).where(INVOICES.c.customer_id == bindparam("key")).values(total=INVOICES.c.total + 1)
UPDATE_BY_HAND = UPDATE.where(INVOICES.c.tenant_id == bindparam("tenant"))

WRITES = (
    Write(
        "insert 1: add, flush",
        lambda session, _, key: _add(session, Invoice(customer_id=key, number="new", total=1)),
        lambda session, tenant, key: _add(session, Invoice(tenant_id=tenant, customer_id=key, number="new", total=1)),
    ),
    Write(
        "insert 1: statement",
        lambda session, _, key: _run(session, insert(Invoice).values(customer_id=key, number="new", total=1)),
        lambda session, tenant, key: _run(
            session, insert(Invoice).values(tenant_id=tenant, customer_id=key, number="new", total=1)
        ),
    ),
    Write(
        "insert 1: built once",
        lambda session, _, key: _run(session, INSERT, {"customer_id": key, "number": "new", "total": 1}),
        lambda session, tenant, key: _run(
            session, INSERT, {"tenant_id": tenant, "customer_id": key, "number": "new", "total": 1}
        ),
    ),
    Write(
        "bulk insert 1,000",
        lambda session, _, rows: _insert_all(session, rows[0]),
        lambda session, _, rows: _insert_all(session, rows[1]),
        supply=batches,
        at_most=1.03,
    ),
    Write(
        "bulk insert 1,000: Core",
        lambda session, _, rows: _insert_all_in_core(session, rows[0]),
        lambda session, _, rows: _insert_all_in_core(session, rows[1]),
        supply=batches,
    ),
    # The objects were loaded with a filter, so by hand nothing more is named: partywall's flush compares the tenant,
    # the one by hand does not.
    Write("flush 100 changed objects", _change_all, _change_all, supply=loaded_invoices),
    Write(
        "bulk update",
        lambda session, _, key: _run(
            session, update(Invoice).where(Invoice.customer_id == key).values(total=Invoice.total + 1)
        ),
        lambda session, tenant, key: _run(
            session,
            update(Invoice)
            .where(Invoice.tenant_id == tenant, Invoice.customer_id == key)
            .values(total=Invoice.total + 1),
        ),
    ),
    Write(
        "bulk update: built once",
        lambda session, _, key: _run(session, UPDATE, {"key": key}),
        lambda session, tenant, key: _run(session, UPDATE_BY_HAND, {"key": key, "tenant": tenant}),
    ),
    Write(
        "delete",
        lambda session, _, key: _run(session, delete(InvoiceLine).where(InvoiceLine.invoice_id == key)),
        lambda session, tenant, key: _run(
            session, delete(InvoiceLine).where(InvoiceLine.tenant_id == tenant, InvoiceLine.invoice_id == key)
        ),
        supply=keys_of_invoices,
    ),
    Write("upsert", _upsert_plain, _upsert_by_hand, supply=keys_of_invoices),
)
