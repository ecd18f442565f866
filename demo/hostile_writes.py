"""
Writes that try to get at the other distributor's rows, at the shared rows or at the list of distributors.

Each does where nothing is guarded. It takes a Session and the id of the distributor it is after, and returns what it
has learned as plain data: how many rows, or which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Insert, bindparam, case, column, delete, func, insert, literal, or_, select, table, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, make_transient_to_detached

from demo.hostile import IDLE, Hostile, listing, plain, step_aside
from demo.models import Customer, Distributor, Nation, Supplier
from demo.writes import changed

__all__ = ["HOSTILE_WRITES"]

HOSTILE_WRITES: list[Hostile] = []

hostile = listing(HOSTILE_WRITES)

MARK = "was here"
NEW = 900_000_001  # no key of anybody's


def values(**given: Any) -> dict[str, Any]:
    """Return the values of a customer."""
    return {
        "c_custkey": NEW,
        "c_name": MARK,
        "c_address": MARK,
        "c_nationkey": 0,
        "c_phone": MARK,
        "c_acctbal": 0,
        "c_mktsegment": "BUILDING",
        "c_comment": MARK,
        **given,
    }


def upsert(session: Session) -> Any:
    """Return an INSERT of the database's own kind, which can be made an upsert."""
    dialects: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
    statement: Insert = dialects[session.get_bind().dialect.name](Customer)
    return statement


def myself(other: int) -> int:
    """Return the id of the one who tries: the two are 1 and 2."""
    return 3 - other


def mine(other: int) -> Any:
    """Return the condition that a row is anybody's but theirs."""
    return Customer.tenant_id != other


# Putting rows among theirs.


@hostile()
def insert_theirs(session: Session, other: int) -> Sequence[Any]:
    """INSERT with their tenant_id in the values"""
    return [changed(session, insert(Customer).values(values(tenant_id=other)))]


@hostile()
def insert_theirs_in_a_batch(session: Session, other: int) -> Sequence[Any]:
    """Bulk insert of 1,000 rows, with theirs in row 731"""
    own = myself(other)
    rows = [values(tenant_id=other if number == 731 else own, c_custkey=NEW + number) for number in range(1, 1_001)]
    session.execute(insert(Customer), rows)
    return [len(rows)]


@hostile()
def insert_theirs_in_rows_of_values(session: Session, other: int) -> Sequence[Any]:
    """INSERT ... VALUES of three rows, with theirs in the last"""
    own = myself(other)
    rows = [values(tenant_id=owner, c_custkey=NEW + number) for number, owner in enumerate((own, own, other))]
    return [changed(session, insert(Customer).values(rows))]


@hostile()
def insert_theirs_by_parameter(session: Session, other: int) -> Sequence[Any]:
    """execute(insert(...), {'tenant_id': theirs})"""
    session.connection().execute(insert(Customer.__table__), values(tenant_id=other))  # type: ignore[arg-type]  # a Table
    return [1]


@hostile()
def insert_theirs_by_expression(session: Session, other: int) -> Sequence[Any]:
    """INSERT with an expression for tenant_id that comes to theirs"""
    return [changed(session, insert(Customer).values(values(tenant_id=literal(other - 1) + 1)))]


@hostile()
def insert_from_select_into_theirs(session: Session, other: int) -> Sequence[Any]:
    """INSERT FROM SELECT that makes copies of mine theirs"""
    copied = select(literal(other), Supplier.s_suppkey + NEW, *_rest_of_supplier()).where(Supplier.tenant_id != other)
    names = ["tenant_id", "s_suppkey", *(each.key for each in _rest_of_supplier())]
    return [changed(session, insert(Supplier).from_select(names, copied))]


@hostile()
def add_theirs(session: Session, other: int) -> Sequence[Any]:
    """session.add() of a new object with their tenant_id"""
    session.add(Customer(**values(tenant_id=other)))
    session.flush()
    return [1]


@hostile()
def add_theirs_late(session: Session, other: int) -> Sequence[Any]:
    """A new object that gets their tenant_id after session.add()"""
    new = Customer(**values(tenant_id=myself(other)))
    session.add(new)
    new.tenant_id = other
    session.flush()
    return [1]


@hostile()
def bulk_insert_mappings(session: Session, other: int) -> Sequence[Any]:
    """session.bulk_insert_mappings() with their tenant_id"""
    session.bulk_insert_mappings(Customer.__mapper__, [values(tenant_id=other)])
    return [1]


# Changing rows of theirs.


@hostile()
def update_everything(session: Session, _other: int) -> Sequence[Any]:
    """UPDATE with no WHERE"""
    return [changed(session, update(Customer).values(c_comment=MARK))]


@hostile()
def update_or_anything(session: Session, other: int) -> Sequence[Any]:
    """UPDATE ... WHERE mine OR true"""
    return [changed(session, update(Customer).where(or_(mine(other), true())).values(c_comment=MARK))]


@hostile()
def update_theirs(session: Session, other: int) -> Sequence[Any]:
    """UPDATE ... WHERE tenant_id = theirs"""
    return [changed(session, update(Customer).where(Customer.tenant_id == other).values(c_comment=MARK))]


@hostile()
def update_lightweight_table(session: Session, other: int) -> Sequence[Any]:
    """UPDATE of table('customer', ...): no metadata"""
    light = table("customer", column("tenant_id"), column("c_comment"))
    return [changed(session, update(light).where(light.c.tenant_id == other).values(c_comment=MARK))]


@hostile()
def update_by_keys(session: Session, other: int) -> Sequence[Any]:
    """ORM bulk UPDATE by primary key, with their keys"""
    key = step_aside(session, other)
    session.execute(update(Customer), [{"tenant_id": other, "c_custkey": key, "c_comment": MARK}])
    return [1]


@hostile()
def update_with_forged_parameter(session: Session, other: int) -> Sequence[Any]:
    """UPDATE with {'partywall_tenant': theirs} among the parameters"""
    statement = update(Customer.__table__).where(Customer.c_custkey == bindparam("key")).values(c_comment=MARK)  # type: ignore[arg-type]  # a Table
    result = session.connection().execute(statement, {"key": 1, "partywall_tenant": other})
    return [result.rowcount]


@hostile()
def change_attached(session: Session, other: int) -> Sequence[Any]:
    """A detached object with their key, added, changed and flushed"""
    theirs = Customer(tenant_id=other, c_custkey=step_aside(session, other))
    make_transient_to_detached(theirs)
    session.add(theirs)
    theirs.c_comment = MARK
    session.flush()
    return [1]


@hostile()
def merge_theirs(session: Session, other: int) -> Sequence[Any]:
    """session.merge() of an object with their key"""
    session.merge(Customer(tenant_id=other, **values(c_custkey=step_aside(session, other))))
    session.flush()
    return [1]


@hostile()
def upsert_theirs(session: Session, other: int) -> Sequence[Any]:
    """Upsert with their key"""
    statement = upsert(session).values(values(tenant_id=other, c_custkey=1))
    keys = ["tenant_id", "c_custkey"]
    return [changed(session, statement.on_conflict_do_update(index_elements=keys, set_={"c_comment": MARK}))]


@hostile(databases=("sqlite",))
def replace_theirs(session: Session, other: int) -> Sequence[Any]:
    """INSERT OR REPLACE with their key"""
    statement = insert(Customer).prefix_with("OR REPLACE").values(values(tenant_id=other, c_custkey=1))
    return [changed(session, statement)]


# Giving mine away, or taking theirs.


@hostile()
def move_mine(session: Session, other: int) -> Sequence[Any]:
    """UPDATE mine SET tenant_id = theirs"""
    moved = update(Customer).where(mine(other), Customer.c_custkey == IDLE)
    return [changed(session, moved.values(tenant_id=other, c_custkey=NEW))]


@hostile()
def move_mine_by_expression(session: Session, other: int) -> Sequence[Any]:
    """UPDATE mine SET tenant_id = CASE ... END"""
    moved = update(Customer).where(mine(other), Customer.c_custkey == IDLE)
    return [changed(session, moved.values(tenant_id=case((true(), other), else_=0), c_custkey=NEW))]


@hostile()
def move_mine_as_an_object(session: Session, other: int) -> Sequence[Any]:
    """An object of mine whose tenant_id is set to theirs, flushed"""
    moved = Customer(**values(tenant_id=myself(other)))
    session.add(moved)
    session.flush()
    moved.tenant_id = other
    session.flush()
    return [1]


@hostile()
def upsert_that_moves(session: Session, other: int) -> Sequence[Any]:
    """Upsert of mine with SET tenant_id = theirs"""
    statement = upsert(session).values(values(tenant_id=myself(other), c_custkey=IDLE))
    moved = statement.on_conflict_do_update(
        index_elements=["tenant_id", "c_custkey"], set_={"tenant_id": other, "c_custkey": NEW}
    )
    return [changed(session, moved)]


@hostile()
def take_theirs(session: Session, other: int) -> Sequence[Any]:
    """UPDATE theirs SET tenant_id = mine"""
    taken = update(Customer).where(Customer.tenant_id == other, Customer.c_custkey == IDLE)
    return [changed(session, taken.values(tenant_id=myself(other), c_custkey=NEW))]


@hostile()
def update_from_theirs(session: Session, other: int) -> Sequence[Any]:
    """UPDATE mine ... FROM theirs, RETURNING what was copied"""
    theirs = Customer.__table__.alias("theirs")
    same = theirs.c.c_custkey == Customer.c_custkey
    copied = update(Customer).where(mine(other), theirs.c.tenant_id == other, same).values(c_comment=theirs.c.c_phone)
    return plain(
        session.execute(copied.returning(Customer.c_comment), execution_options={"synchronize_session": False})
    )


@hostile()
def update_with_subquery(session: Session, other: int) -> Sequence[Any]:
    """UPDATE mine SET a column to a subquery over theirs"""
    phone = select(func.max(Supplier.s_phone)).where(Supplier.tenant_id == other).scalar_subquery()
    copied = (
        update(Customer).where(mine(other), Customer.c_custkey == IDLE).values(c_comment=func.coalesce(phone, MARK))
    )
    return plain(
        session.execute(copied.returning(Customer.c_comment), execution_options={"synchronize_session": False})
    )


@hostile()
def insert_from_select_of_theirs(session: Session, other: int) -> Sequence[Any]:
    """INSERT FROM SELECT of theirs, to make copies mine"""
    copied = select(literal(myself(other)), Supplier.s_suppkey + NEW, *_rest_of_supplier()).where(
        Supplier.tenant_id == other
    )
    names = ["tenant_id", "s_suppkey", *(each.key for each in _rest_of_supplier())]
    return plain(session.execute(insert(Supplier).from_select(names, copied).returning(Supplier.s_phone)))


def _rest_of_supplier() -> list[Any]:
    return [each for each in Supplier.__table__.c if each.key not in ("tenant_id", "s_suppkey")]


# Deleting theirs.


@hostile()
def delete_by_key(session: Session, other: int) -> Sequence[Any]:
    """DELETE of theirs by its key"""
    return [changed(session, delete(Customer).where(Customer.tenant_id == other, Customer.c_custkey == IDLE))]


@hostile()
def delete_idle(session: Session, _other: int) -> Sequence[Any]:
    """DELETE of all customers with no orders"""
    return [changed(session, delete(Customer).where(~Customer.orders.any()))]


@hostile()
def delete_using(session: Session, other: int) -> Sequence[Any]:
    """DELETE of theirs for which I have one with the same key"""
    own = Customer.__table__.alias("own")
    same = select(own.c.c_custkey).where(own.c.c_custkey == Customer.c_custkey, own.c.tenant_id != other).exists()
    idle = delete(Customer).where(Customer.tenant_id == other, Customer.c_custkey == IDLE, same)
    return [changed(session, idle.execution_options(synchronize_session=False))]


@hostile()
def delete_as_an_object(session: Session, other: int) -> Sequence[Any]:
    """session.delete() of a detached object with their key"""
    theirs = Customer(tenant_id=other, c_custkey=step_aside(session, other))
    make_transient_to_detached(theirs)
    session.delete(theirs)
    session.flush()
    return [1]


@hostile(databases=("postgresql",))
def modifying_cte(session: Session, other: int) -> Sequence[Any]:
    """A CTE that deletes theirs, below a SELECT"""
    gone = delete(Customer).where(Customer.tenant_id == other, Customer.c_custkey == IDLE)
    return plain(session.execute(select(gone.returning(Customer.c_phone).cte("gone"))))


# What belongs to all.


@hostile()
def write_shared(session: Session, _other: int) -> Sequence[Any]:
    """UPDATE of the shared nations"""
    return [changed(session, update(Nation).values(n_comment=MARK))]


@hostile()
def change_shared_object(session: Session, _other: int) -> Sequence[Any]:
    """A shared nation as an object, changed and flushed"""
    nation = session.scalars(select(Nation).where(Nation.n_nationkey == 0)).one()
    nation.n_comment = MARK
    session.flush()
    return [1]


@hostile()
def rename_them(session: Session, _other: int) -> Sequence[Any]:
    """UPDATE of the list of distributors"""
    return [changed(session, update(Distributor).values(name=MARK))]


@hostile()
def new_distributor(session: Session, _other: int) -> Sequence[Any]:
    """INSERT into the list of distributors"""
    return [changed(session, insert(Distributor).values(id=3, slug="mine-too", name=MARK))]
