"""What tests/models.py has no need of: version counters, defaults, unique names, keys that change, cascades."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    UniqueConstraint,
    column,
    func,
    select,
    table,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from partywall import Tenancy
from tests import models
from tests.models import TENANTS, Rows


class Base(DeclarativeBase):
    pass


class Project(Base):
    """Its tenant attribute has another name than its column, and its rows are counted by version."""

    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(primary_key=True)
    owner: Mapped[int] = mapped_column("tenant_id")
    name: Mapped[str]
    version: Mapped[int] = mapped_column()
    tasks: Mapped[list[Task]] = relationship(back_populates="project", cascade="all, delete-orphan", order_by="Task.id")
    __mapper_args__ = {"version_id_col": version}


def slug_of(context: Any) -> str:
    title: str = context.get_current_parameters()["title"]
    return title.lower()


class Task(Base):
    """Defaults of every kind."""

    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    title: Mapped[str]
    slug: Mapped[str] = mapped_column(insert_default=slug_of)
    priority: Mapped[int] = mapped_column(insert_default=5)
    effort: Mapped[int] = mapped_column(insert_default=func.abs(-3))
    state: Mapped[str] = mapped_column(server_default="open")
    touched: Mapped[int] = mapped_column(insert_default=0, onupdate=func.abs(-7))
    changes: Mapped[int] = mapped_column(insert_default=0, onupdate=1)
    project: Mapped[Project | None] = relationship(back_populates="tasks")


class Account(Base):
    """A natural key that includes the tenant, and that may change."""

    __tablename__ = "accounts"
    tenant_id: Mapped[int] = mapped_column(primary_key=True)
    code: Mapped[str] = mapped_column(primary_key=True)
    balance: Mapped[int]
    version: Mapped[int] = mapped_column()
    transfers: Mapped[list[Transfer]] = relationship(
        back_populates="account", passive_updates=False, order_by="Transfer.number"
    )
    __mapper_args__ = {"version_id_col": version}


class Transfer(Base):
    __tablename__ = "transfers"
    __table_args__ = (ForeignKeyConstraint(["tenant_id", "account_code"], ["accounts.tenant_id", "accounts.code"]),)
    tenant_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    account_code: Mapped[str]
    amount: Mapped[int]
    account: Mapped[Account] = relationship(back_populates="transfers")


class Label(Base):
    """Names are unique for a tenant, and so are the colours of active labels."""

    __tablename__ = "labels"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    name: Mapped[str]
    colour: Mapped[str]
    active: Mapped[bool]
    __table_args__ = (
        UniqueConstraint("tenant_id", "name", name="uq_labels_name"),
        Index(
            "uq_labels_colour",
            "tenant_id",
            "colour",
            unique=True,
            postgresql_where=text("active"),
            sqlite_where=text("active"),
        ),
    )


class Event(Base):
    """The database can fill all of it, but for the tenant."""

    __tablename__ = "events"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    kind: Mapped[str] = mapped_column(server_default="seen")


class Node(Base):
    """A tree whose nodes point at a favourite child, which takes a second UPDATE."""

    __tablename__ = "nodes"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    favourite_id: Mapped[int | None] = mapped_column(ForeignKey("nodes.id"))
    children: Mapped[list[Node]] = relationship(
        foreign_keys=parent_id, cascade="all", order_by="Node.id", back_populates="parent"
    )
    parent: Mapped[Node | None] = relationship(foreign_keys=parent_id, remote_side=id, back_populates="children")
    favourite: Mapped[Node | None] = relationship(foreign_keys=favourite_id, remote_side=id, post_update=True)


_other_receipts = table("receipts", column("number", Integer), column("total", Integer)).alias("other_receipts")
NEXT_NUMBER = select(func.coalesce(func.max(_other_receipts.c.number), 0) + 1).scalar_subquery()
SUM_OF_TOTALS = select(func.sum(_other_receipts.c.total)).scalar_subquery()


class Receipt(Base):
    """Its defaults are computed from the table."""

    __tablename__ = "receipts"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    number: Mapped[int] = mapped_column(insert_default=NEXT_NUMBER)
    remark: Mapped[str | None]
    total: Mapped[int] = mapped_column(onupdate=SUM_OF_TOTALS)


def tenancy(**options: Any) -> Tenancy:
    """Return the tenancy of the whole application: tests/models.py and this file."""
    return Tenancy(
        (models.Base.metadata, Base.metadata),
        tenants="tenants",
        tenants_public={"id", "slug"},
        shared=models.SHARED,
        shared_writable=models.SHARED_WRITABLE,
        shared_rows=models.SHARED_ROWS,
        **{"strict": True, **options},  # as above
    )


def rows() -> Rows:
    """Return the rows of all tenants in the tables of this file."""
    all_rows: Rows = {table: [] for table in Base.metadata.tables}
    for tenant_id in TENANTS:
        base, other = tenant_id * 100, (tenant_id % len(TENANTS) + 1) * 100

        def add(table: str, tenant_id: int = tenant_id, **values: Any) -> None:
            all_rows[table].append({"tenant_id": tenant_id, **values})

        for number in (1, 2):
            add("projects", id=base + number, name=f"project {number}", version=1)
        for number in range(1, 5):
            add(
                "tasks",
                id=base + number,
                project_id=other + 1 if number == 4 else base + (number + 1) // 2,  # 4 points across
                title=f"Task {number}",
                slug=f"task {number}",
                priority=number,
                effort=number,
                state="open",
                touched=0,
                changes=0,
            )
        for number, code in enumerate(("cash", "bank"), start=1):
            add("accounts", code=code, balance=100 * number + tenant_id, version=1)
            add("transfers", number=number, account_code=code, amount=10 * number)
        for number, (name, colour) in enumerate((("new", "red"), ("old", "blue"), ("odd", "blue")), start=1):
            add("labels", id=base + number, name=name, colour=colour, active=name != "odd")
        add("events", id=base + 1, kind=f"of tenant {tenant_id}")
        for number, parent in ((1, None), (2, base + 1), (3, base + 1), (4, other + 1)):
            add("nodes", id=base + number, parent_id=parent, favourite_id=None)
        for number in (1, 2, 3):
            add("receipts", id=base + number, number=number + 10 * tenant_id, remark=None, total=number)
    return all_rows
