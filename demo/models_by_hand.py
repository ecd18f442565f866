"""
Orders, their lines, customers and stock as one has to map them without partywall: with the tenant in every key.

The Session tells objects apart by their primary key, and all distributors have the same keys, so the unit of work needs
this where nothing is guarded. The tables are those that the database has.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import DeclarativeBase, relationship

from demo.models import tenancy

__all__ = ["Customer", "LineItem", "Order", "PartSupplier"]


class Base(DeclarativeBase):
    (metadata,) = tenancy.physical_metadata(dialect="sqlite")  # on PostgreSQL these keys are the same


def _mapped(class_name: str, table: str, **relationships: Any) -> Any:
    return type(class_name, (Base,), {"__table__": Base.metadata.tables[table], **relationships})


Customer = _mapped("Customer", "customer")
PartSupplier = _mapped("PartSupplier", "partsupp")
LineItem = _mapped("LineItem", "lineitem")
Order = _mapped(
    "Order",
    "orders",
    customer=relationship(Customer),
    lines=relationship(LineItem, order_by=LineItem.l_linenumber, cascade="all, delete-orphan"),
)
