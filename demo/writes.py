"""
What a distributor writes, as if it were alone in the database: no tenant in any value, none in any condition.

Each function takes a Session, writes, flushes and returns in a few words what it did; who calls it commits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, cast

from sqlalchemy import CursorResult, Executable, Insert, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from demo.models import Customer, LineItem, Order, Part, PartSupplier
from demo.questions import dollars

__all__ = ["WRITES", "Make", "Write"]

Make = Callable[[Session], str]

TODAY = date(1998, 8, 3)  # the day after the last order of TPC-H
BATCH = 1_000


@dataclass(frozen=True)
class Write:
    """
    A write of the application's.

    Attributes:
        make: Makes it; its docstring says what it does.
    """

    make: Make

    @property
    def name(self) -> str:
        return self.make.__name__

    @property
    def title(self) -> str:
        return (self.make.__doc__ or self.name).strip()


WRITES: list[Write] = []


def write(make: Make) -> Make:
    """List a function among the writes; it stays what it is."""
    WRITES.append(Write(make))
    return make


# What both ways of writing share: the values that have nothing to do with whose they are.

ordered = {
    "o_orderstatus": "O",
    "o_orderdate": TODAY,
    "o_orderpriority": "3-MEDIUM",
    "o_clerk": "Clerk#000000001",
    "o_shippriority": 0,
    "o_comment": "placed in the demo",
}
shipment = {
    "l_discount": 5,
    "l_tax": 8,
    "l_returnflag": "N",
    "l_linestatus": "O",
    "l_shipdate": date(1998, 8, 10),
    "l_commitdate": date(1998, 8, 12),
    "l_receiptdate": date(1998, 8, 14),
    "l_shipinstruct": "NONE",
    "l_shipmode": "RAIL",
    "l_comment": "placed in the demo",
}


def line(number: int, stock: PartSupplier, price: int) -> dict[str, Any]:
    """Return the values of an order's line: ten pieces of a part."""
    return {
        "l_linenumber": number,
        "l_partkey": stock.ps_partkey,
        "l_suppkey": stock.ps_suppkey,
        "l_quantity": 10,
        "l_extendedprice": 10 * price,
        **shipment,
    }


def batch(
    first: int, customers: Sequence[int], parts: Sequence[Any]
) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the values of many orders, and of the one line that each has; *parts* are part, supplier and cost."""
    for number in range(BATCH):
        part, supplier, cost = parts[number % len(parts)]
        yield (
            {
                "o_orderkey": first + number,
                "o_custkey": customers[number % len(customers)],
                "o_totalprice": cost,
                **ordered,
            },
            {
                "l_orderkey": first + number,
                "l_linenumber": 1,
                "l_partkey": part,
                "l_suppkey": supplier,
                "l_quantity": 1,
                "l_extendedprice": cost,
                **shipment,
            },
        )


def price_list(parts: Iterable[Any], supplier: int) -> list[dict[str, Any]]:
    """Return a supplier's prices for parts; most it did not supply so far. *parts* are part and retail price."""
    return [
        {
            "ps_partkey": part,
            "ps_suppkey": supplier,
            "ps_availqty": 0,
            "ps_supplycost": price // 2,
            "ps_comment": "new in the demo",
        }
        for part, price in parts
    ]


def insert_stock(session: Session) -> Any:
    """Return an INSERT of the database's own kind, which can be made an upsert."""
    dialects: dict[str, Callable[[Any], Insert]] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    return dialects[session.get_bind().dialect.name](PartSupplier)


def changed(session: Session, statement: Executable) -> int:
    """Execute a write and return how many rows it changed."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


# The writes.


@write
def place_an_order(session: Session) -> str:
    """Place an order of three parts, and take them out of stock. (unit of work)"""
    customer = session.scalars(select(Customer).order_by(Customer.c_acctbal.desc(), Customer.c_custkey).limit(1)).one()
    in_stock = (
        select(PartSupplier, Part.p_retailprice)
        .join(Part, Part.p_partkey == PartSupplier.ps_partkey)
        .where(PartSupplier.ps_availqty >= 10)
        .order_by(PartSupplier.ps_partkey, PartSupplier.ps_suppkey)
        .limit(3)
    )
    chosen = session.execute(in_stock).all()
    key = session.scalars(select(func.max(Order.o_orderkey))).one() + 1
    order = Order(
        o_orderkey=key,
        o_totalprice=sum(10 * price for _, price in chosen),
        customer=customer,
        lines=[LineItem(**line(number, stock, price)) for number, (stock, price) in enumerate(chosen, 1)],
        **ordered,
    )
    session.add(order)
    for stock, _ in chosen:
        stock.ps_availqty -= 10
    session.flush()
    return f"1 order, {len(chosen)} lines, {dollars(order.o_totalprice)}"


@write
def import_orders(session: Session) -> str:
    """Import a thousand orders of customers who ordered before. (bulk insert)"""
    known = select(Customer.c_custkey).where(Customer.orders.any())
    customers = session.scalars(known.order_by(Customer.c_custkey)).all()
    stock = select(PartSupplier.ps_partkey, PartSupplier.ps_suppkey, PartSupplier.ps_supplycost)
    parts = session.execute(stock.order_by(PartSupplier.ps_partkey, PartSupplier.ps_suppkey).limit(100)).all()
    key = session.scalars(select(func.max(Order.o_orderkey))).one() + 1
    orders, lines = zip(*batch(key, customers, parts), strict=True)
    session.execute(insert(Order), orders)
    session.execute(insert(LineItem), lines)
    return f"{len(orders):,} orders, {len(lines):,} lines"


@write
def ship(session: Session) -> str:
    """Ship what was due in June 1995, and close the orders with no open line. (UPDATE, EXISTS)"""
    due = update(LineItem).where(LineItem.l_linestatus == "O", LineItem.l_shipdate < date(1995, 7, 1))
    shipped = changed(session, due.values(l_linestatus="F"))
    done = update(Order).where(Order.o_orderstatus != "F", ~Order.lines.any(LineItem.l_linestatus != "F"))
    closed = changed(session, done.values(o_orderstatus="F"))
    return f"{shipped:,} lines shipped, {closed:,} orders closed"


@write
def cancel_orders(session: Session) -> str:
    """Cancel the twenty latest orders, with their lines. (DELETE, cascade)"""
    latest = select(Order).order_by(Order.o_orderdate.desc(), Order.o_orderkey.desc()).limit(20)
    orders = session.scalars(latest).all()
    lines = sum(len(order.lines) for order in orders)
    for order in orders:
        session.delete(order)
    session.flush()
    return f"{len(orders)} orders, {lines} lines gone"


@write
def reprice(session: Session) -> str:
    """Take over a supplier's price list, with changed and new prices. (upsert)"""
    first = select(PartSupplier.ps_suppkey).order_by(PartSupplier.ps_partkey, PartSupplier.ps_suppkey).limit(1)
    supplier = session.scalars(first).one()
    parts = session.execute(select(Part.p_partkey, Part.p_retailprice).order_by(Part.p_partkey).limit(200))
    statement = insert_stock(session)
    statement = statement.on_conflict_do_update(
        index_elements=["ps_partkey", "ps_suppkey"],
        set_={"ps_supplycost": statement.excluded.ps_supplycost},
    )
    before = session.scalars(select(func.count()).select_from(PartSupplier)).one()
    prices = price_list(parts, supplier)
    session.execute(statement, prices)
    new = session.scalars(select(func.count()).select_from(PartSupplier)).one() - before
    return f"{len(prices) - new} changed, {new} new prices"
