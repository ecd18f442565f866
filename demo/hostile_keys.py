"""
Writes that try to let a row of one distributor point to a row of the other's.

The driver's own cursor executes them on a plain engine: neither SQLAlchemy nor partywall sees them, and the keys of the
database alone can refuse them. Each takes who tries and whom it is after, and returns one statement. Both have rows of
their own to try it with, which `rows_of` makes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Date, Executable, Insert, String, insert, update

from demo.models import Customer, LineItem, Order, Part, PartSupplier, Supplier
from demo.writes import TODAY

__all__ = ["HOSTILE_KEYS", "Pointing", "rows_of"]

Make = Callable[[int, int], Executable]

FIRST = 950_000_000  # the keys of TPC-H and of the other writes are below


@dataclass(frozen=True)
class Pointing:
    """
    A write that lets a row point to another distributor's.

    Attributes:
        make: Makes the statement; its docstring says what it does.
    """

    make: Make

    @property
    def title(self) -> str:
        return (self.make.__doc__ or self.make.__name__).strip()


HOSTILE_KEYS: list[Pointing] = []


def hostile(make: Make) -> Make:
    HOSTILE_KEYS.append(Pointing(make))
    return make


def key_of(owner: int) -> int:
    """Return the key that a distributor's row has in each table. Nobody else has a row of it."""
    return FIRST + owner


def rows_of(owner: int) -> Iterator[Insert]:
    """Return what makes a distributor's rows: one in each table, pointing to each other."""
    yield _row(Customer, owner, c_custkey=key_of(owner))
    yield _row(Part, owner, p_partkey=key_of(owner))
    yield _row(Supplier, owner, s_suppkey=key_of(owner))
    yield _row(PartSupplier, owner, **_stock(key_of(owner), key_of(owner)))
    yield _row(Order, owner, o_orderkey=key_of(owner), o_custkey=key_of(owner))
    yield _line(owner, order=key_of(owner), stock=key_of(owner))


@hostile
def order_of_their_customer(mine: int, theirs: int) -> Executable:
    """INSERT of an order of mine, for a customer of theirs"""
    return _row(Order, mine, o_orderkey=FIRST, o_custkey=key_of(theirs))


@hostile
def order_given_to_their_customer(mine: int, theirs: int) -> Executable:
    """UPDATE of an order of mine, for a customer of theirs"""
    return update(Order).where(*_is(Order, mine)).values(o_custkey=key_of(theirs))


@hostile
def line_in_their_order(mine: int, theirs: int) -> Executable:
    """INSERT of a line of mine, in an order of theirs"""
    return _line(mine, order=key_of(theirs), stock=key_of(mine), number=2)


@hostile
def line_of_their_stock(mine: int, theirs: int) -> Executable:
    """INSERT of a line of mine, of stock of theirs (three keys)"""
    return _line(mine, order=key_of(mine), stock=key_of(theirs), number=2)


@hostile
def stock_of_their_part(mine: int, theirs: int) -> Executable:
    """INSERT of stock of mine, of a part of theirs"""
    return _row(PartSupplier, mine, **_stock(key_of(theirs), key_of(mine)))


@hostile
def stock_of_their_supplier(mine: int, theirs: int) -> Executable:
    """INSERT of stock of mine, of a supplier of theirs"""
    return _row(PartSupplier, mine, **_stock(key_of(mine), key_of(theirs)))


@hostile
def order_moved_to_them(mine: int, theirs: int) -> Executable:
    """UPDATE of an order of mine to theirs, its lines left behind"""
    return update(Order).where(*_is(Order, mine)).values(tenant_id=theirs)


@hostile
def customer_moved_to_me(mine: int, theirs: int) -> Executable:
    """UPDATE of a customer of theirs to mine, the orders left behind"""
    return update(Customer).where(*_is(Customer, theirs)).values(tenant_id=mine)


@hostile
def customer_of_nobody(mine: int, theirs: int) -> Executable:
    """INSERT of a customer of a distributor who is not there"""
    return _row(Customer, mine + theirs, c_custkey=FIRST)


def _is(model: Any, owner: int) -> list[Any]:
    table = model.__table__
    return [table.c.tenant_id == owner, *(key == key_of(owner) for key in table.primary_key if key.name != "tenant_id")]


def _stock(part: int, supplier: int) -> Mapping[str, int]:
    return {"ps_partkey": part, "ps_suppkey": supplier}


def _line(owner: int, *, order: int, stock: int, number: int = 1) -> Insert:
    return _row(LineItem, owner, l_orderkey=order, l_linenumber=number, l_partkey=stock, l_suppkey=stock)


def _row(model: Any, owner: int, **given: int) -> Insert:
    """Return an INSERT of a row with what is *given*, and the rest filled up."""
    filled = {column.name: _filling(column.type) for column in model.__table__.columns}
    return insert(model.__table__).values(filled | {"tenant_id": owner} | given)


def _filling(type_: Any) -> Any:
    return TODAY if isinstance(type_, Date) else "tried" if isinstance(type_, String) else 0
