"""The tables the benchmarks read and write, their rows, and the databases that hold them."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, ForeignKey, Index, create_engine, insert, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

__all__ = ["DATABASES", "Base", "Customer", "Invoice", "InvoiceLine", "Size", "fill", "new_database", "settle"]

DATABASES = ("sqlite", "postgresql")


class Base(DeclarativeBase):
    """The models. Relationships go one way: a cycle of objects would wait for the garbage collector, which is off."""

    tenant_id: Mapped[int] = mapped_column()


class Customer(Base):
    __tablename__ = "customers"
    __table_args__ = (Index("customers_of_tenant", "tenant_id", "id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Invoice(Base):
    __tablename__ = "invoices"
    __table_args__ = (
        Index("invoices_of_tenant", "tenant_id", "id"),
        Index("invoices_of_customer", "tenant_id", "customer_id"),
    )
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"))
    number: Mapped[str]
    total: Mapped[int]  # in cents

    customer: Mapped[Customer] = relationship()
    lines: Mapped[list[InvoiceLine]] = relationship()


class InvoiceLine(Base):
    __tablename__ = "invoice_lines"
    __table_args__ = (Index("lines_of_invoice", "tenant_id", "invoice_id"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoices.id"))
    article: Mapped[str]
    amount: Mapped[int]  # in cents


@dataclass(frozen=True)
class Size:
    """
    How many rows: of customers for each tenant, of invoices for each customer, of lines for each invoice.

    *batch* is how many invoices a bulk insert writes.
    """

    tenants: int = 20
    customers: int = 100
    invoices: int = 10
    lines: int = 3
    batch: int = 1_000

    def first_customer(self, tenant: int) -> int:
        """Return the id of a tenant's first customer. Tenants and ids count from 1, tenant after tenant."""
        return (tenant - 1) * self.customers + 1

    def first_invoice(self, tenant: int) -> int:
        """Return the id of a tenant's first invoice, which its first customer has."""
        return (tenant - 1) * self.customers * self.invoices + 1


def fill(url: URL, size: Size) -> None:
    """Create the tables and fill them, through an engine of its own that nobody guards."""
    engine = create_engine(url)
    customers: list[dict[str, Any]] = []
    invoices: list[dict[str, Any]] = []
    lines: list[dict[str, Any]] = []
    for tenant in range(1, size.tenants + 1):
        for _ in range(size.customers):
            customer = len(customers) + 1  # what the database will number it, so that it can number new ones too
            customers.append({"tenant_id": tenant, "name": f"Customer {customer}"})
            for _ in range(size.invoices):
                invoice = len(invoices) + 1
                owned = {"tenant_id": tenant, "customer_id": customer}
                invoices.append({**owned, "number": f"R-{invoice}", "total": 100 * size.lines})
                lines.extend(
                    {"tenant_id": tenant, "invoice_id": invoice, "article": f"Article {number}", "amount": 100}
                    for number in range(size.lines)
                )
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        if engine.name == "postgresql":  # settle() does it between the measurements
            for table in Base.metadata.tables:
                connection.execute(text(f"ALTER TABLE {table} SET (autovacuum_enabled = false)"))
        for model, rows in ((Customer, customers), (Invoice, invoices), (InvoiceLine, lines)):
            connection.execute(insert(model), rows)
    engine.dispose()
    settle(url)


def settle(url: URL) -> None:
    """Do now what the database would do by itself in the middle of a measurement."""
    engine = create_engine(url)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("VACUUM ANALYZE" if engine.name == "postgresql" else "ANALYZE"))
    engine.dispose()


@contextlib.contextmanager
def new_database(kind: str) -> Iterator[URL]:
    """
    Make an empty database for as long as the block runs.

    SQLite's is a file: every variant then has its own engine and connection on the same rows, and a
    transaction takes the locks that it takes in an application. One in memory would have one
    connection for all of them. PostgreSQL's is opened as an ordinary role.
    """
    if kind == "sqlite":
        with tempfile.TemporaryDirectory(prefix="partywall-") as directory:
            yield URL.create("sqlite", database=str(Path(directory) / "benchmark.db"))
    else:
        from dev.postgres import server

        with server() as running:
            yield running.new_database()
