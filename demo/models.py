"""
The tables of TPC-H as a distributor would write them who is alone: their keys name no tenant.

All distributors have the same keys, so in the database each has the tenant in front: `tenancy.create_all()` sees to it.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

from sqlalchemy import BigInteger, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from partywall import Tenancy

Hundredths = Annotated[int, mapped_column(BigInteger)]
"""Money in cents, rates in percent: as integers, so that sums are exact on every database, whatever their order."""


class Base(DeclarativeBase):
    pass


class Distributor(Base):
    """The tenants table."""

    __tablename__ = "distributors"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]


class Region(Base):
    __tablename__ = "region"
    r_regionkey: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    r_name: Mapped[str]
    r_comment: Mapped[str]


class Nation(Base):
    __tablename__ = "nation"
    n_nationkey: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n_name: Mapped[str]
    n_regionkey: Mapped[int] = mapped_column(ForeignKey("region.r_regionkey"))
    n_comment: Mapped[str]

    region: Mapped[Region] = relationship()


class Scoped:
    """A table whose rows belong to distributors."""

    tenant_id: Mapped[int] = mapped_column(sort_order=-1)


class Supplier(Scoped, Base):
    __tablename__ = "supplier"
    s_suppkey: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    s_name: Mapped[str]
    s_address: Mapped[str]
    s_nationkey: Mapped[int] = mapped_column(ForeignKey("nation.n_nationkey"))
    s_phone: Mapped[str]
    s_acctbal: Mapped[Hundredths]
    s_comment: Mapped[str]

    nation: Mapped[Nation] = relationship()


class Customer(Scoped, Base):
    __tablename__ = "customer"
    c_custkey: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    c_name: Mapped[str]
    c_address: Mapped[str]
    c_nationkey: Mapped[int] = mapped_column(ForeignKey("nation.n_nationkey"))
    c_phone: Mapped[str]
    c_acctbal: Mapped[Hundredths]
    c_mktsegment: Mapped[str]
    c_comment: Mapped[str]

    nation: Mapped[Nation] = relationship()
    orders: Mapped[list[Order]] = relationship(back_populates="customer", order_by="Order.o_orderkey")


class Part(Scoped, Base):
    __tablename__ = "part"
    p_partkey: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    p_name: Mapped[str]
    p_mfgr: Mapped[str]
    p_brand: Mapped[str]
    p_type: Mapped[str]
    p_size: Mapped[int]
    p_container: Mapped[str]
    p_retailprice: Mapped[Hundredths]
    p_comment: Mapped[str]


class PartSupplier(Scoped, Base):
    __tablename__ = "partsupp"
    ps_partkey: Mapped[int] = mapped_column(ForeignKey("part.p_partkey"), primary_key=True)
    ps_suppkey: Mapped[int] = mapped_column(ForeignKey("supplier.s_suppkey"), primary_key=True)
    ps_availqty: Mapped[int]
    ps_supplycost: Mapped[Hundredths]
    ps_comment: Mapped[str]


class Order(Scoped, Base):
    __tablename__ = "orders"
    o_orderkey: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    o_custkey: Mapped[int] = mapped_column(ForeignKey("customer.c_custkey"))
    o_orderstatus: Mapped[str]
    o_totalprice: Mapped[Hundredths]
    o_orderdate: Mapped[date]
    o_orderpriority: Mapped[str]
    o_clerk: Mapped[str]
    o_shippriority: Mapped[int]
    o_comment: Mapped[str]

    __table_args__ = (
        Index("ix_orders_customer", "tenant_id", "o_custkey"),
        Index("ix_orders_date", "tenant_id", "o_orderdate"),
    )

    customer: Mapped[Customer] = relationship(back_populates="orders")
    lines: Mapped[list[LineItem]] = relationship(
        back_populates="order", order_by="LineItem.l_linenumber", cascade="all, delete-orphan"
    )


class LineItem(Scoped, Base):
    __tablename__ = "lineitem"
    l_orderkey: Mapped[int] = mapped_column(ForeignKey("orders.o_orderkey"), primary_key=True)
    l_linenumber: Mapped[int] = mapped_column(primary_key=True)
    l_partkey: Mapped[int] = mapped_column(ForeignKey("part.p_partkey"))
    l_suppkey: Mapped[int] = mapped_column(ForeignKey("supplier.s_suppkey"))
    l_quantity: Mapped[int]
    l_extendedprice: Mapped[Hundredths]
    l_discount: Mapped[Hundredths]
    l_tax: Mapped[Hundredths]
    l_returnflag: Mapped[str]
    l_linestatus: Mapped[str]
    l_shipdate: Mapped[date]
    l_commitdate: Mapped[date]
    l_receiptdate: Mapped[date]
    l_shipinstruct: Mapped[str]
    l_shipmode: Mapped[str]
    l_comment: Mapped[str]

    __table_args__ = (
        ForeignKeyConstraint(["l_partkey", "l_suppkey"], ["partsupp.ps_partkey", "partsupp.ps_suppkey"]),
        Index("ix_lineitem_part", "tenant_id", "l_partkey", "l_suppkey"),
        Index("ix_lineitem_shipped", "tenant_id", "l_shipdate"),
    )

    order: Mapped[Order] = relationship(back_populates="lines")
    part: Mapped[Part] = relationship()
    supplier: Mapped[Supplier] = relationship()


tenancy = Tenancy(
    Base.metadata,
    tenants="distributors",
    tenants_public={"id", "slug"},
    shared={"nation", "region"},
    layout="tenant-first",
)
