"""
What a distributor asks of its data, written as if it were alone in the database: no tenant filter anywhere.

Most questions follow TPC-H, whose number stands beside them. Money is in cents and discounts are in percent, so what a
line earns, ``price * (100 - discount)``, is in hundredths of a cent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, TypeAlias, TypeVar

from sqlalchemy import Executable, Result, Select, and_, case, distinct, extract, func, literal, select
from sqlalchemy.orm import aliased, joinedload, selectinload

from demo.models import Customer, LineItem, Nation, Order, Part, PartSupplier, Region, Supplier

__all__ = ["QUESTIONS", "Question", "Rows"]

Rows = list[Any]
Statement = Executable
Selection: TypeAlias = "Select[*tuple[Any, ...]]"

_Statement = TypeVar("_Statement", bound=Executable)


def _plain_rows(result: Result[Any]) -> Rows:
    return [tuple(row) for row in result]


@dataclass(frozen=True)
class Question:
    """
    A question and how to read its answer.

    Attributes:
        ask: Returns the statement; its docstring is the question in English.
        headline: Puts the answer into a few words.
        read: Turns the result into plain data; here lazy loads happen.
        ordered: Whether the order of the answer counts.
    """

    ask: Callable[[], Statement]
    headline: Callable[[Rows], str]
    read: Callable[[Result[Any]], Rows]
    ordered: bool

    @property
    def name(self) -> str:
        return self.ask.__name__

    @property
    def title(self) -> str:
        return (self.ask.__doc__ or self.name).strip()


QUESTIONS: list[Question] = []


def question(
    headline: Callable[[Rows], str], *, read: Callable[[Result[Any]], Rows] = _plain_rows, ordered: bool = True
) -> Callable[[Callable[[], _Statement]], Callable[[], _Statement]]:
    """List a function among the questions; it stays what it is."""

    def add(ask: Callable[[], _Statement]) -> Callable[[], _Statement]:
        QUESTIONS.append(Question(ask, headline, read, ordered))
        return ask

    return add


def dollars(amount: Any, *, cents: int = 1) -> str:
    """Write an amount for people; *cents* is how many units make a cent."""
    value = float(amount or 0) / cents / 100
    for unit, size in (("bn", 1e9), ("m", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"$ {value / size:.2f} {unit}"
    return f"$ {value:.2f}"


earned = LineItem.l_extendedprice * (100 - LineItem.l_discount)


@question(lambda rows: f"{len(rows)} groups, {sum(row[6] for row in rows):,} lines")
def pricing_summary() -> Selection:
    """What was shipped until September 1998, by return flag and status?"""  # TPC-H 1
    return (
        select(
            LineItem.l_returnflag,
            LineItem.l_linestatus,
            func.sum(LineItem.l_quantity),
            func.sum(LineItem.l_extendedprice),
            func.sum(earned),
            func.sum(earned * (100 + LineItem.l_tax)),
            func.count(),
        )
        .where(LineItem.l_shipdate <= date(1998, 9, 2))
        .group_by(LineItem.l_returnflag, LineItem.l_linestatus)
        .order_by(LineItem.l_returnflag, LineItem.l_linestatus)
    )


@question(lambda rows: f"{len(rows)} orders, best {dollars(rows[0][1], cents=100)}" if rows else "none")
def shipping_priority() -> Selection:
    """Which ten unshipped orders of builders are worth most?"""  # TPC-H 3
    revenue = func.sum(earned)
    return (
        select(Order.o_orderkey, revenue, Order.o_orderdate)
        .join(Order.customer)
        .join(Order.lines)
        .where(
            Customer.c_mktsegment == "BUILDING",
            Order.o_orderdate < date(1995, 3, 15),
            LineItem.l_shipdate > date(1995, 3, 15),
        )
        .group_by(Order.o_orderkey, Order.o_orderdate)
        .order_by(revenue.desc(), Order.o_orderkey)
        .limit(10)
    )


@question(lambda rows: f"{sum(row[1] for row in rows):,} late orders")
def late_orders() -> Selection:
    """How many orders of a quarter came late, by priority? (EXISTS)"""  # TPC-H 4
    return (
        select(Order.o_orderpriority, func.count())
        .where(
            Order.o_orderdate.between(date(1993, 7, 1), date(1993, 9, 30)),
            Order.lines.any(LineItem.l_commitdate < LineItem.l_receiptdate),
        )
        .group_by(Order.o_orderpriority)
        .order_by(Order.o_orderpriority)
    )


@question(lambda rows: f"{rows[0][0].title()} leads, {dollars(rows[0][1], cents=100)}" if rows else "none")
def local_suppliers() -> Selection:
    """What do suppliers earn from customers of their own nation?"""  # TPC-H 5
    revenue = func.sum(earned)
    return (
        select(Nation.n_name, revenue)
        .join(Customer, Customer.c_nationkey == Nation.n_nationkey)
        .join(Order, Order.o_custkey == Customer.c_custkey)
        .join(LineItem, LineItem.l_orderkey == Order.o_orderkey)
        .join(
            Supplier,
            and_(Supplier.s_suppkey == LineItem.l_suppkey, Supplier.s_nationkey == Customer.c_nationkey),
        )
        .join(Region, Nation.n_regionkey == Region.r_regionkey)
        .where(Region.r_name.in_(["ASIA", "EUROPE"]), Order.o_orderdate >= date(1994, 1, 1))
        .group_by(Nation.n_name)
        .order_by(revenue.desc(), Nation.n_name)
    )


@question(lambda rows: dollars(rows[0][0], cents=100))
def discount_forecast() -> Selection:
    """What would 1994 have brought without its small discounts?"""  # TPC-H 6
    lines = LineItem.__table__.c
    return select(func.sum(lines.l_extendedprice * lines.l_discount)).where(
        lines.l_shipdate.between(date(1994, 1, 1), date(1994, 12, 31)),
        lines.l_discount.between(5, 7),
        lines.l_quantity < 24,
    )


@question(lambda rows: f"{len(rows)} customers, {dollars(sum(row[2] for row in rows), cents=100)}")
def returned_items() -> Selection:
    """Which twenty customers sent back most in a quarter?"""  # TPC-H 10
    lost = func.sum(earned)
    return (
        select(Customer.c_custkey, Customer.c_name, lost, Customer.c_acctbal, Nation.n_name)
        .join(Customer.orders)
        .join(Order.lines)
        .join(Customer.nation)
        .where(
            Order.o_orderdate.between(date(1993, 10, 1), date(1993, 12, 31)),
            LineItem.l_returnflag == "R",
        )
        .group_by(Customer.c_custkey, Customer.c_name, Customer.c_acctbal, Nation.n_name)
        .order_by(lost.desc(), Customer.c_custkey)
        .limit(20)
    )


@question(lambda rows: f"{sum(row[1] for row in rows):,} urgent, {sum(row[2] for row in rows):,} not")
def ship_modes() -> Selection:
    """Do cheap ways of shipping delay urgent orders?"""  # TPC-H 12
    orders, lines = Order.__table__.c, LineItem.__table__.c
    urgent = case((orders.o_orderpriority.in_(["1-URGENT", "2-HIGH"]), 1), else_=0)
    return (
        select(lines.l_shipmode, func.sum(urgent), func.sum(1 - urgent))
        .where(
            lines.l_orderkey == orders.o_orderkey,
            lines.l_shipmode.in_(["MAIL", "SHIP"]),
            lines.l_commitdate < lines.l_receiptdate,
            lines.l_shipdate < lines.l_commitdate,
            lines.l_receiptdate.between(date(1994, 1, 1), date(1994, 12, 31)),
        )
        .group_by(lines.l_shipmode)
        .order_by(lines.l_shipmode)
    )


@question(lambda rows: f"{sum(row[1] for row in rows if not row[0]):,} never ordered")
def order_counts() -> Selection:
    """How many customers placed how many orders, none too? (outer join)"""  # TPC-H 13
    of_customer = (
        select(Customer.c_custkey, func.count(Order.o_orderkey).label("orders"))
        .outerjoin(Customer.orders.and_(Order.o_comment.not_like("%special%requests%")))
        .group_by(Customer.c_custkey)
        .subquery()
    )
    return (
        select(of_customer.c.orders, func.count().label("customers"))
        .group_by(of_customer.c.orders)
        .order_by(func.count().desc(), of_customer.c.orders.desc())
    )


@question(lambda rows: f"{float(rows[0][0] or 0) / float(rows[0][1] or 1):.1%} of the revenue")
def promotions() -> Selection:
    """How much of a month's revenue came from promotions?"""  # TPC-H 14
    return (
        select(func.sum(case((Part.p_type.like("PROMO%"), earned), else_=0)), func.sum(earned))
        .select_from(LineItem)
        .join(Part, Part.p_partkey == LineItem.l_partkey)
        .where(LineItem.l_shipdate.between(date(1995, 9, 1), date(1995, 9, 30)))
    )


@question(lambda rows: f"{dollars(rows[0][0])} in {rows[0][1]:,} lines")
def small_quantities() -> Selection:
    """What do orders far below a part's usual quantity bring? (correlated)"""  # TPC-H 17
    others = aliased(LineItem)
    usual = select(func.avg(others.l_quantity)).where(others.l_partkey == Part.p_partkey).scalar_subquery()
    return (
        select(func.sum(LineItem.l_extendedprice), func.count())
        .join(LineItem.part)
        .where(Part.p_brand == "Brand#23", LineItem.l_quantity * 5 < usual)
    )


@question(lambda rows: f"{len(rows)} orders, most {rows[0][4]} pieces" if rows else "none")
def large_orders() -> Selection:
    """Who placed orders of more than 250 pieces? (IN)"""  # TPC-H 18
    large = select(LineItem.l_orderkey).group_by(LineItem.l_orderkey).having(func.sum(LineItem.l_quantity) > 250)
    return (
        select(Customer.c_name, Order.o_orderkey, Order.o_orderdate, Order.o_totalprice, func.sum(LineItem.l_quantity))
        .join(Customer.orders)
        .join(Order.lines)
        .where(Order.o_orderkey.in_(large))
        .group_by(Customer.c_name, Order.o_orderkey, Order.o_orderdate, Order.o_totalprice)
        .order_by(Order.o_totalprice.desc(), Order.o_orderkey)
        .limit(100)
    )


@question(lambda rows: f"{len(rows)}, worst {rows[0][1]} times" if rows else "none")
def waiting_orders() -> Selection:
    """Which suppliers alone kept orders waiting? (aliases, two EXISTS)"""  # TPC-H 21
    other, other_late = aliased(LineItem), aliased(LineItem)
    times = func.count()
    return (
        select(Supplier.s_name, times)
        .join(LineItem, LineItem.l_suppkey == Supplier.s_suppkey)
        .join(LineItem.order)
        .where(
            Order.o_orderstatus == "F",
            LineItem.l_receiptdate > LineItem.l_commitdate,
            Order.lines.of_type(other).any(other.l_suppkey != LineItem.l_suppkey),
            ~Order.lines.of_type(other_late).any(
                and_(
                    other_late.l_suppkey != LineItem.l_suppkey,
                    other_late.l_receiptdate > other_late.l_commitdate,
                )
            ),
        )
        .group_by(Supplier.s_name)
        .order_by(times.desc(), Supplier.s_name)
        .limit(100)
    )


@question(lambda rows: f"{sum(row[1] for row in rows):,} customers, {dollars(sum(row[2] for row in rows))}")
def sleeping_customers() -> Selection:
    """Which well-off customers never ordered, by country code?"""  # TPC-H 22
    average = select(func.avg(Customer.c_acctbal)).where(Customer.c_acctbal > 0).scalar_subquery()
    sleeping = (
        select(func.substr(Customer.c_phone, 1, 2).label("code"), Customer.c_acctbal)
        .where(Customer.c_acctbal > average, ~Customer.orders.any())
        .subquery()
    )
    return (
        select(sleeping.c.code, func.count(), func.sum(sleeping.c.c_acctbal))
        .group_by(sleeping.c.code)
        .order_by(sleeping.c.code)
    )


@question(lambda rows: f"{len(rows)} customers, best {dollars(rows[0][3])}" if rows else "none")
def best_of_each_nation() -> Selection:
    """Who are the three best customers of each nation? (window)"""
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
        .group_by(Customer.c_nationkey, Customer.c_custkey, Customer.c_name)
        .subquery()
    )
    return (
        select(Nation.n_name, ranked.c.place, ranked.c.c_name, ranked.c.spent)
        .join(ranked, ranked.c.c_nationkey == Nation.n_nationkey)
        .where(ranked.c.place <= 3)
        .order_by(Nation.n_name, ranked.c.place)
    )


@question(lambda rows: f"{len(rows):,} parts", ordered=False)
def unsold_parts() -> Statement:
    """Which parts in stock did nobody buy since summer 1998? (EXCEPT)"""
    return select(PartSupplier.ps_partkey).except_(
        select(LineItem.l_partkey).where(LineItem.l_shipdate >= date(1998, 7, 1))
    )


@question(lambda rows: f"{sum(row[1] for row in rows)}, none in {sum(not row[1] for row in rows)} months")
def months_of_a_year() -> Selection:
    """How many orders of each month of 1995 are half shipped? (recursive CTE)"""
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
            ),
        )
        .group_by(month.c.number)
        .order_by(month.c.number)
    )


@question(lambda rows: f"{len(rows)} nations, {sum(not row[2] for row in rows)} unsupplied")
def presence() -> Selection:
    """Where are customers, suppliers, or both? (FULL JOIN)"""
    nation = func.coalesce(Customer.c_nationkey, Supplier.s_nationkey)
    return (
        select(
            nation,
            func.count(distinct(Customer.c_custkey)),
            func.count(distinct(Supplier.s_suppkey)),
            func.count().label("pairs"),
        )
        .select_from(Customer)
        .join(Supplier, Supplier.s_nationkey == Customer.c_nationkey, full=True)
        .group_by(nation)
        .order_by(nation)
    )


def _orders_with_lines(result: Result[Any]) -> Rows:
    orders = result.unique().scalars()
    return [(order.o_orderkey, [(line.l_linenumber, line.l_quantity) for line in order.lines]) for order in orders]


@question(lambda rows: f"{len(rows)} orders, {sum(len(row[1]) for row in rows)} lines", read=_orders_with_lines)
def latest_orders() -> Selection:
    """Show the ten latest orders with their lines. (ORM, joined load)"""
    return select(Order).options(joinedload(Order.lines)).order_by(Order.o_orderdate.desc(), Order.o_orderkey).limit(10)


def _customers_with_orders(result: Result[Any]) -> Rows:
    return [
        (customer.c_name, [(order.o_orderkey, len(order.lines)) for order in customer.orders])
        for customer in result.scalars()
    ]


@question(lambda rows: f"{len(rows)} customers, {sum(len(row[1]) for row in rows)} orders", read=_customers_with_orders)
def richest_customers() -> Selection:
    """Show the ten richest customers, orders and lines. (ORM, selectin)"""
    return (
        select(Customer)
        .options(selectinload(Customer.orders).selectinload(Order.lines))
        .order_by(Customer.c_acctbal.desc(), Customer.c_custkey)
        .limit(10)
    )


def _orders_with_nation(result: Result[Any]) -> Rows:
    return [(order.o_orderkey, order.customer.c_name, order.customer.nation.n_name) for order in result.scalars()]


@question(lambda rows: f"first to {rows[0][2].title()}", read=_orders_with_nation)
def largest_orders() -> Selection:
    """Where do the ten largest orders go? (ORM, lazy loads)"""
    return select(Order).order_by(Order.o_totalprice.desc(), Order.o_orderkey).limit(10)
