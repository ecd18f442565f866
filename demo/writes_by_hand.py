"""
The same writes as one has to write them without partywall: the tenant in every value and in every condition.

Each function has the name of its write. What the unit of work writes has the keys of models_by_hand.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from sqlalchemy import and_, func, insert, select, update
from sqlalchemy.orm import Session

from demo import models_by_hand as keyed
from demo.by_hand import own
from demo.models import Customer, LineItem, Order, Part, PartSupplier
from demo.writes import batch, changed, insert_stock, line, ordered, price_list

__all__ = ["write_by_hand"]


def write_by_hand(name: str) -> Callable[[Session, int], None]:
    """Return what makes the write of that name for a tenant."""
    make: Callable[[Session, int], None] = globals()[name]
    return make


def place_an_order(session: Session, tenant_id: int) -> None:
    richest = select(keyed.Customer).where(*own(tenant_id, keyed.Customer))
    customer = session.scalars(
        richest.order_by(keyed.Customer.c_acctbal.desc(), keyed.Customer.c_custkey).limit(1)
    ).one()
    stock = keyed.PartSupplier
    in_stock = (
        select(stock, Part.p_retailprice)
        .join(Part, Part.p_partkey == stock.ps_partkey)
        .where(stock.ps_availqty >= 10, *own(tenant_id, stock, Part))
        .order_by(stock.ps_partkey, stock.ps_suppkey)
        .limit(3)
    )
    chosen = session.execute(in_stock).all()
    key = session.scalars(select(func.max(Order.o_orderkey)).where(*own(tenant_id, Order))).one() + 1
    order = keyed.Order(
        tenant_id=tenant_id,
        o_orderkey=key,
        o_totalprice=sum(10 * price for _, price in chosen),
        customer=customer,
        lines=[
            keyed.LineItem(tenant_id=tenant_id, **line(number, each, price))
            for number, (each, price) in enumerate(chosen, 1)
        ],
        **ordered,
    )
    session.add(order)
    for each, _ in chosen:
        each.ps_availqty -= 10
    session.flush()


def import_orders(session: Session, tenant_id: int) -> None:
    known = select(Customer.c_custkey).where(Customer.orders.any(*own(tenant_id, Order)), *own(tenant_id, Customer))
    customers = session.scalars(known.order_by(Customer.c_custkey)).all()
    stock = select(PartSupplier.ps_partkey, PartSupplier.ps_suppkey, PartSupplier.ps_supplycost)
    stock = stock.where(*own(tenant_id, PartSupplier))
    parts = session.execute(stock.order_by(PartSupplier.ps_partkey, PartSupplier.ps_suppkey).limit(100)).all()
    key = session.scalars(select(func.max(Order.o_orderkey)).where(*own(tenant_id, Order))).one() + 1
    orders, lines = zip(*batch(key, customers, parts), strict=True)
    session.execute(insert(Order), [{"tenant_id": tenant_id, **values} for values in orders])
    session.execute(insert(LineItem), [{"tenant_id": tenant_id, **values} for values in lines])


def ship(session: Session, tenant_id: int) -> None:
    due = update(LineItem).where(LineItem.l_linestatus == "O", LineItem.l_shipdate < date(1995, 7, 1))
    changed(session, due.where(*own(tenant_id, LineItem)).values(l_linestatus="F"))
    still_open = Order.lines.any(and_(LineItem.l_linestatus != "F", *own(tenant_id, LineItem)))
    done = update(Order).where(Order.o_orderstatus != "F", ~still_open)
    changed(session, done.where(*own(tenant_id, Order)).values(o_orderstatus="F"))


def cancel_orders(session: Session, tenant_id: int) -> None:
    order = keyed.Order
    mine = select(order).where(*own(tenant_id, order)).order_by(order.o_orderdate.desc(), order.o_orderkey.desc())
    orders = session.scalars(mine.limit(20)).all()
    sum(len(each.lines) for each in orders)  # the lazy loads compare the tenant too
    for each in orders:
        session.delete(each)
    session.flush()


def reprice(session: Session, tenant_id: int) -> None:
    first = select(PartSupplier.ps_suppkey).where(*own(tenant_id, PartSupplier))
    supplier = session.scalars(first.order_by(PartSupplier.ps_partkey, PartSupplier.ps_suppkey).limit(1)).one()
    mine = select(Part.p_partkey, Part.p_retailprice).where(*own(tenant_id, Part))
    parts = session.execute(mine.order_by(Part.p_partkey).limit(200))
    statement = insert_stock(session)
    statement = statement.on_conflict_do_update(
        index_elements=["tenant_id", "ps_partkey", "ps_suppkey"],
        set_={"ps_supplycost": statement.excluded.ps_supplycost},
        where=PartSupplier.tenant_id == tenant_id,
    )
    count = select(func.count()).select_from(PartSupplier).where(*own(tenant_id, PartSupplier))
    session.scalars(count).one()
    session.execute(statement, [{"tenant_id": tenant_id, **values} for values in price_list(parts, supplier)])
    session.scalars(count).one()
