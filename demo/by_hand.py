"""
The same questions as one has to write them without partywall: every table of every part filtered by hand.

Each function has the name of its question. Where a filter can be put on after the fact it is; where a question has an
outer join, a subquery or a set operation, it has to be written anew. All distributors have the same keys, so what a
relationship loads, and the EXISTS that it makes, has to be filtered as well.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from sqlalchemy import and_, distinct, extract, func, literal, select
from sqlalchemy.orm import aliased, with_loader_criteria
from sqlalchemy.orm.interfaces import ORMOption

from demo import questions
from demo.models import Customer, LineItem, Nation, Order, Part, PartSupplier, Supplier
from demo.questions import Selection, Statement

__all__ = ["by_hand"]


def by_hand(name: str) -> Callable[[int], Statement]:
    """Return what builds the hand-filtered statement of the question of that name for a tenant."""
    builder: Callable[[int], Statement] = globals()[name]
    return builder


def own(tenant_id: int, *entities: Any) -> list[Any]:
    """Return the filter, for each of some entities."""
    return [entity.tenant_id == tenant_id for entity in entities]


def loads(tenant_id: int, *entities: Any) -> list[ORMOption]:
    """Return the filter of what relationships load, for each of some entities."""
    return [with_loader_criteria(entity, entity.tenant_id == tenant_id) for entity in entities]


def pricing_summary(tenant_id: int) -> Selection:
    return questions.pricing_summary().where(*own(tenant_id, LineItem))


def shipping_priority(tenant_id: int) -> Selection:
    return questions.shipping_priority().where(*own(tenant_id, Order, Customer, LineItem))


def late_orders(tenant_id: int) -> Selection:
    return (
        select(Order.o_orderpriority, func.count())
        .where(
            Order.o_orderdate.between(date(1993, 7, 1), date(1993, 9, 30)),
            Order.lines.any(and_(LineItem.l_commitdate < LineItem.l_receiptdate, *own(tenant_id, LineItem))),
            *own(tenant_id, Order),
        )
        .group_by(Order.o_orderpriority)
        .order_by(Order.o_orderpriority)
    )


def local_suppliers(tenant_id: int) -> Selection:
    return questions.local_suppliers().where(*own(tenant_id, Customer, Order, LineItem, Supplier))


def discount_forecast(tenant_id: int) -> Selection:
    return questions.discount_forecast().where(*own(tenant_id, LineItem))


def returned_items(tenant_id: int) -> Selection:
    return questions.returned_items().where(*own(tenant_id, Customer, Order, LineItem))


def ship_modes(tenant_id: int) -> Selection:
    return questions.ship_modes().where(*own(tenant_id, LineItem, Order))


def order_counts(tenant_id: int) -> Selection:
    of_customer = (
        select(Customer.c_custkey, func.count(Order.o_orderkey).label("orders"))
        .outerjoin(
            Customer.orders.and_(
                Order.o_comment.not_like("%special%requests%"),
                *own(tenant_id, Order),
            )
        )
        .where(*own(tenant_id, Customer))
        .group_by(Customer.c_custkey)
        .subquery()
    )
    return (
        select(of_customer.c.orders, func.count().label("customers"))
        .group_by(of_customer.c.orders)
        .order_by(func.count().desc(), of_customer.c.orders.desc())
    )


def promotions(tenant_id: int) -> Selection:
    return questions.promotions().where(*own(tenant_id, LineItem, Part))


def small_quantities(tenant_id: int) -> Selection:
    others = aliased(LineItem)
    usual = (
        select(func.avg(others.l_quantity))
        .where(others.l_partkey == Part.p_partkey, *own(tenant_id, others))
        .scalar_subquery()
    )
    return (
        select(func.sum(LineItem.l_extendedprice), func.count())
        .join(LineItem.part)
        .where(
            Part.p_brand == "Brand#23",
            LineItem.l_quantity * 5 < usual,
            *own(tenant_id, LineItem, Part),
        )
    )


def large_orders(tenant_id: int) -> Selection:
    large = (
        select(LineItem.l_orderkey)
        .where(*own(tenant_id, LineItem))
        .group_by(LineItem.l_orderkey)
        .having(func.sum(LineItem.l_quantity) > 250)
    )
    return (
        select(Customer.c_name, Order.o_orderkey, Order.o_orderdate, Order.o_totalprice, func.sum(LineItem.l_quantity))
        .join(Customer.orders)
        .join(Order.lines)
        .where(Order.o_orderkey.in_(large), *own(tenant_id, Customer, Order, LineItem))
        .group_by(Customer.c_name, Order.o_orderkey, Order.o_orderdate, Order.o_totalprice)
        .order_by(Order.o_totalprice.desc(), Order.o_orderkey)
        .limit(100)
    )


def waiting_orders(tenant_id: int) -> Selection:
    other, other_late = aliased(LineItem), aliased(LineItem)
    times = func.count()
    return (
        select(Supplier.s_name, times)
        .join(LineItem, LineItem.l_suppkey == Supplier.s_suppkey)
        .join(LineItem.order)
        .where(
            Order.o_orderstatus == "F",
            LineItem.l_receiptdate > LineItem.l_commitdate,
            Order.lines.of_type(other).any(and_(other.l_suppkey != LineItem.l_suppkey, *own(tenant_id, other))),
            ~Order.lines.of_type(other_late).any(
                and_(
                    other_late.l_suppkey != LineItem.l_suppkey,
                    other_late.l_receiptdate > other_late.l_commitdate,
                    *own(tenant_id, other_late),
                )
            ),
            *own(tenant_id, Supplier, LineItem, Order),
        )
        .group_by(Supplier.s_name)
        .order_by(times.desc(), Supplier.s_name)
        .limit(100)
    )


def sleeping_customers(tenant_id: int) -> Selection:
    average = (
        select(func.avg(Customer.c_acctbal)).where(Customer.c_acctbal > 0, *own(tenant_id, Customer)).scalar_subquery()
    )
    sleeping = (
        select(func.substr(Customer.c_phone, 1, 2).label("code"), Customer.c_acctbal)
        .where(
            Customer.c_acctbal > average,
            ~Customer.orders.any(*own(tenant_id, Order)),
            *own(tenant_id, Customer),
        )
        .subquery()
    )
    return (
        select(sleeping.c.code, func.count(), func.sum(sleeping.c.c_acctbal))
        .group_by(sleeping.c.code)
        .order_by(sleeping.c.code)
    )


def best_of_each_nation(tenant_id: int) -> Selection:
    spent = func.sum(Order.o_totalprice)
    ranked = (
        select(
            Customer.c_nationkey,
            Customer.c_name,
            spent.label("spent"),
            func.row_number()
            .over(partition_by=Customer.c_nationkey, order_by=(spent.desc(), Customer.c_custkey))
            .label("place"),
        )
        .join(Customer.orders)
        .where(*own(tenant_id, Customer, Order))
        .group_by(Customer.c_nationkey, Customer.c_custkey, Customer.c_name)
        .subquery()
    )
    return (
        select(Nation.n_name, ranked.c.place, ranked.c.c_name, ranked.c.spent)
        .join(ranked, ranked.c.c_nationkey == Nation.n_nationkey)
        .where(ranked.c.place <= 3)
        .order_by(Nation.n_name, ranked.c.place)
    )


def unsold_parts(tenant_id: int) -> Statement:
    return (
        select(PartSupplier.ps_partkey)
        .where(*own(tenant_id, PartSupplier))
        .except_(
            select(LineItem.l_partkey).where(
                LineItem.l_shipdate >= date(1998, 7, 1),
                *own(tenant_id, LineItem),
            )
        )
    )


def months_of_a_year(tenant_id: int) -> Selection:
    month = select(literal(1).label("number")).cte("month", recursive=True)
    month = month.union_all(select(month.c.number + 1).where(month.c.number < 12))
    return (
        select(month.c.number, func.count(Order.o_orderkey))
        .outerjoin(
            Order,
            and_(
                extract("month", Order.o_orderdate) == month.c.number,
                Order.o_orderdate.between(date(1995, 1, 1), date(1995, 12, 31)),
                Order.o_orderstatus == "P",
                *own(tenant_id, Order),
            ),
        )
        .group_by(month.c.number)
        .order_by(month.c.number)
    )


def presence(tenant_id: int) -> Selection:
    # On a FULL JOIN a filter is right neither in ON nor in WHERE: it has to go inside both sides.
    customers = aliased(Customer, select(Customer).where(*own(tenant_id, Customer)).subquery())
    suppliers = aliased(Supplier, select(Supplier).where(*own(tenant_id, Supplier)).subquery())
    nation = func.coalesce(customers.c_nationkey, suppliers.s_nationkey)
    return (
        select(
            nation,
            func.count(distinct(customers.c_custkey)),
            func.count(distinct(suppliers.s_suppkey)),
            func.count().label("pairs"),
        )
        .select_from(customers)
        .join(suppliers, suppliers.s_nationkey == customers.c_nationkey, full=True)
        .group_by(nation)
        .order_by(nation)
    )


def latest_orders(tenant_id: int) -> Selection:
    return questions.latest_orders().where(*own(tenant_id, Order)).options(*loads(tenant_id, LineItem))


def richest_customers(tenant_id: int) -> Selection:
    return questions.richest_customers().where(*own(tenant_id, Customer)).options(*loads(tenant_id, Order, LineItem))


def largest_orders(tenant_id: int) -> Selection:
    return questions.largest_orders().where(*own(tenant_id, Order)).options(*loads(tenant_id, Customer))
