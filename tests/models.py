"""An application with every kind of table and relationship, and rows of look-alike tenants in it."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Integer,
    MetaData,
    String,
    Table,
    func,
    select,
)
from sqlalchemy.ext.associationproxy import AssociationProxy, association_proxy
from sqlalchemy.ext.hybrid import hybrid_property
from sqlalchemy.orm import (
    DeclarativeBase,
    DynamicMapped,
    Mapped,
    WriteOnlyMapped,
    column_property,
    mapped_column,
    query_expression,
    relationship,
)

from partywall import Tenancy


class Base(DeclarativeBase):
    pass


class Scoped:
    tenant_id: Mapped[int] = mapped_column(index=True)


class Tenant(Base):
    __tablename__ = "tenants"
    id: Mapped[int] = mapped_column(primary_key=True)
    slug: Mapped[str]
    plan: Mapped[str]


class Country(Base):
    __tablename__ = "countries"
    code: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    customers: Mapped[list[Customer]] = relationship(back_populates="country")


class User(Base):
    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    memberships: Mapped[list[Membership]] = relationship(back_populates="user")


class Template(Base):
    """Rows without a tenant are everybody's to read."""

    __tablename__ = "templates"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int | None]
    name: Mapped[str]


customer_tags = Table(
    "customer_tags",
    Base.metadata,
    Column("tenant_id", Integer, nullable=False),
    Column("customer_id", ForeignKey("customers.id"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id"), primary_key=True),
)


class Customer(Scoped, Base):
    __tablename__ = "customers"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country_code: Mapped[str | None] = mapped_column(ForeignKey("countries.code"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    remark: Mapped[str | None] = mapped_column("remarks", String, deferred=True)  # key and name differ
    rank: Mapped[int | None] = query_expression()
    if TYPE_CHECKING:
        invoice_count: Mapped[int]

    country: Mapped[Country | None] = relationship(back_populates="customers")
    parent: Mapped[Customer | None] = relationship(back_populates="children", remote_side=[id])
    children: Mapped[list[Customer]] = relationship(back_populates="parent")
    invoices: Mapped[list[Invoice]] = relationship(back_populates="customer", order_by="Invoice.id")
    big_invoices: Mapped[list[Invoice]] = relationship(
        primaryjoin="and_(Invoice.customer_id == Customer.id, Invoice.total > 15)", viewonly=True, order_by="Invoice.id"
    )
    tags: Mapped[list[Tag]] = relationship(secondary=customer_tags, back_populates="customers", order_by="Tag.id")
    memberships: Mapped[list[Membership]] = relationship(back_populates="customer")
    users: AssociationProxy[list[User]] = association_proxy("memberships", "user")
    invoices_later: WriteOnlyMapped[Invoice] = relationship(viewonly=True)
    invoices_dynamic: DynamicMapped[Invoice] = relationship(viewonly=True)

    @hybrid_property
    def shout(self) -> str:
        return self.name.upper()

    @shout.inplace.expression
    @classmethod
    def _shout_expression(cls) -> Any:
        return func.upper(cls.name)


class Invoice(Scoped, Base):
    __tablename__ = "invoices"
    id: Mapped[int] = mapped_column(primary_key=True)
    customer_id: Mapped[int | None] = mapped_column(ForeignKey("customers.id"))
    number: Mapped[str]
    total: Mapped[int]
    issued: Mapped[datetime.date]
    paid: Mapped[bool]
    data: Mapped[dict[str, Any]] = mapped_column(JSON)

    customer: Mapped[Customer | None] = relationship(back_populates="invoices")
    lines: Mapped[list[Line]] = relationship(back_populates="invoice", order_by="Line.position")


Customer.invoice_count = column_property(
    select(func.count(Invoice.id)).where(Invoice.customer_id == Customer.id).correlate_except(Invoice).scalar_subquery()
)


class Line(Base):
    __tablename__ = "lines"
    tenant_id: Mapped[int] = mapped_column(primary_key=True)
    invoice_id: Mapped[int] = mapped_column(ForeignKey("invoices.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int]
    invoice: Mapped[Invoice] = relationship(back_populates="lines")


class Tag(Scoped, Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    customers: Mapped[list[Customer]] = relationship(secondary=customer_tags, back_populates="tags")


class Membership(Scoped, Base):
    __tablename__ = "memberships"
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), primary_key=True)
    role: Mapped[str]
    user: Mapped[User] = relationship(back_populates="memberships")
    customer: Mapped[Customer] = relationship(back_populates="memberships")


class Ticket(Base):
    """Its key includes the tenant, so two tenants have the same numbers."""

    __tablename__ = "tickets"
    tenant_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    comments: Mapped[list[Comment]] = relationship(back_populates="ticket", order_by="Comment.position")


class Comment(Base):
    __tablename__ = "comments"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "ticket_number"], ["tickets.tenant_id", "tickets.number"]),)
    tenant_id: Mapped[int] = mapped_column(primary_key=True)
    ticket_number: Mapped[int] = mapped_column(primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    body: Mapped[str]
    ticket: Mapped[Ticket] = relationship(back_populates="comments")


class Party(Scoped, Base):
    """Joined inheritance: the child tables have the tenant column too."""

    __tablename__ = "parties"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str]
    name: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}


class Person(Party):
    __tablename__ = "persons"
    id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)
    tenant_id: Mapped[int] = column_property(Column("tenant_id", Integer, nullable=False), Party.tenant_id)
    nickname: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "person"}


class Company(Party):
    __tablename__ = "companies"
    id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)
    tenant_id: Mapped[int] = column_property(Column("tenant_id", Integer, nullable=False), Party.tenant_id)
    vat: Mapped[str]
    __mapper_args__ = {"polymorphic_identity": "company"}


class Document(Scoped, Base):
    """Single-table inheritance."""

    __tablename__ = "documents"
    id: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str]
    title: Mapped[str]
    __mapper_args__ = {"polymorphic_on": "type", "polymorphic_identity": "document"}


class Contract(Document):
    signed: Mapped[bool | None]
    __mapper_args__ = {"polymorphic_identity": "contract"}


class Memo(Document):
    __mapper_args__ = {"polymorphic_identity": "memo"}


SHARED = {"countries"}
SHARED_WRITABLE = {"users"}
SHARED_ROWS = {"templates"}


def tenancy(**options: Any) -> Tenancy:
    """Return the tenancy of this application."""
    return Tenancy(
        Base.metadata,
        tenants="tenants",
        tenants_public={"id", "slug"},
        shared=SHARED,
        shared_writable=SHARED_WRITABLE,
        shared_rows=SHARED_ROWS,
        **{"strict": True, **options},  # the whole suite: what is scoped is proved, too
    )


def metadata_without_foreign_keys() -> MetaData:
    """Return the same tables without foreign keys, so that rows can point across tenants."""
    copied = MetaData()
    for table in Base.metadata.sorted_tables:
        Table(
            table.name,
            copied,
            *(
                Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable)
                for column in table.columns
            ),
        )
    return copied


TENANTS = (1, 2, 3)
Rows = dict[str, list[dict[str, Any]]]


def rows() -> Rows:
    """Return the rows of all tenants: the same names everywhere, and foreign keys that point across."""
    all_rows: Rows = {table: [] for table in Base.metadata.tables}
    all_rows["countries"] = [{"code": code, "name": name} for code, name in (("de", "Germany"), ("fr", "France"))]
    all_rows["users"] = [{"id": number, "email": f"user{number}@example.org"} for number in (1, 2)]
    all_rows["templates"] = [{"id": 1, "tenant_id": None, "name": "for everybody"}]
    for tenant_id in TENANTS:
        _add_rows_of(tenant_id, all_rows)
    return all_rows


def _add_rows_of(tenant_id: int, all_rows: Rows) -> None:
    base, other = tenant_id * 100, (tenant_id % len(TENANTS) + 1) * 100

    def add(table: str, **values: Any) -> None:
        all_rows[table].append({"tenant_id": tenant_id, **values})

    all_rows["tenants"].append({"id": tenant_id, "slug": f"tenant{tenant_id}", "plan": "secret plan"})
    add("templates", id=base + 1, name="own template")
    for number in range(1, 5):
        add(
            "customers",
            id=base + number,
            name=f"customer {number}",
            country_code="de" if number % 2 else None,
            # Customer 3 hangs on a customer of its own tenant, customer 4 on one of another.
            parent_id={3: base + 1, 4: other + 1}.get(number),
            remarks=f"remark of tenant {tenant_id}",
        )
        add("tags", id=base + number, name=f"tag {number}")
    for number in range(1, 8):
        add(
            "invoices",
            id=base + number,
            customer_id={6: other + 1, 7: None}.get(number, base + (number + 1) // 2),  # 6 points across, 7 nowhere
            number=f"R-{number}",
            total=number * 5 + tenant_id,
            issued=datetime.date(2026, 1, number),
            paid=number % 2 == 0,
            data={"kind": "a" if number < 4 else "b", "owner": tenant_id, "items": [number, tenant_id]},
        )
        for position in (1, 2):
            add("lines", invoice_id=base + number, position=position, amount=number * position)
        # A line that hangs on another tenant's invoice.
        add("lines", invoice_id=other + number, position=9, amount=1000)
    for customer, tag in ((1, base + 1), (1, base + 2), (2, base + 1), (3, other + 1)):
        add("customer_tags", customer_id=base + customer, tag_id=tag)
    add("customer_tags", customer_id=other + 2, tag_id=base + 3)
    for customer, user in ((base + 1, 1), (base + 1, 2), (base + 2, 1), (other + 3, 2)):
        add("memberships", customer_id=customer, user_id=user, role="reader")
    for number in (1, 2, 3):
        add("tickets", number=number, title=f"ticket {number} of tenant {tenant_id}")
        for position in (1, 2):
            add("comments", ticket_number=number, position=position, body=f"comment of tenant {tenant_id}")
    for number, kind in ((1, "person"), (2, "company"), (3, "party")):
        add("parties", id=base + number, kind=kind, name=f"{kind} {number}")
    add("persons", id=base + 1, nickname=f"nick of tenant {tenant_id}")
    add("companies", id=base + 2, vat=f"vat of tenant {tenant_id}")
    # Halves of a person and a company whose other halves belong to another tenant.
    add("parties", id=base + 4, kind="person", name="poisoned person")
    all_rows["persons"].append({"tenant_id": other // 100, "id": base + 4, "nickname": "of another tenant"})
    for number, kind in ((1, "contract"), (2, "memo"), (3, "document")):
        add("documents", id=base + number, type=kind, title=f"{kind} of tenant {tenant_id}", signed=kind == "contract")


def rows_of(tenant_id: int) -> Rows:
    """Return what the twin of one tenant holds: its rows, the shared ones, and its row of the tenants table."""
    return {
        table: [
            row
            for row in all_of
            if row.get("tenant_id", tenant_id) in (tenant_id, None) and (table != "tenants" or row["id"] == tenant_id)
        ]
        for table, all_of in rows().items()
    }
