"""
Reads that try to get at the other distributor's rows. All of them do where nothing is guarded.

Each takes a Session and the id of the distributor it is after, and returns what it could read as plain data. The writes
are in hostile_writes.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    BindParameter,
    Result,
    String,
    and_,
    bindparam,
    cast,
    column,
    delete,
    exists,
    extract,
    func,
    lambda_stmt,
    literal,
    literal_column,
    or_,
    quoted_name,
    select,
    table,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, aliased, joinedload, lazyload, make_transient_to_detached
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import UserDefinedType

from demo.models import Customer, Distributor, LineItem, Order, Supplier
from partywall import tenant

__all__ = ["DATABASES", "HOSTILE_READS", "IDLE", "Hostile", "Listing", "listing", "plain", "step_aside"]

DATABASES = ("sqlite", "postgresql")
IDLE = 3  # a customer with no orders: TPC-H gives none to every third
THEIRS = "(SELECT max(c_name || c_phone) FROM customer WHERE tenant_id = {})"


@dataclass(frozen=True)
class Hostile:
    """
    A read or a write that is after another distributor's rows.

    Attributes:
        attempt: Makes it; its docstring says what it does.
        scoped: Whether it is made in the attacker's scope, or in none.
        databases: The databases on which it has a point.
    """

    attempt: Callable[[Session, int], Sequence[Any]]
    scoped: bool
    databases: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.attempt.__name__

    @property
    def title(self) -> str:
        return (self.attempt.__doc__ or self.name).strip()


_Attempt = Callable[[Session, int], Sequence[Any]]


class Listing(Protocol):
    """Takes an attempt's options and returns a decorator."""

    def __call__(
        self, *, scoped: bool = True, databases: tuple[str, ...] = DATABASES
    ) -> Callable[[_Attempt], _Attempt]: ...


def listing(listed: list[Hostile]) -> Listing:
    """Return what lists a function among some attempts."""

    def hostile(*, scoped: bool = True, databases: tuple[str, ...] = DATABASES) -> Callable[[_Attempt], _Attempt]:
        def add(attempt: _Attempt) -> _Attempt:
            listed.append(Hostile(attempt, scoped, databases))
            return attempt

        return add

    return hostile


HOSTILE_READS: list[Hostile] = []

hostile = listing(HOSTILE_READS)


def plain(result: Result[Any]) -> list[Any]:
    return [tuple(row) for row in result]


def step_aside(session: Session, other: int) -> int:
    """Delete my customer of a key that both have, and return the key, of which only theirs is then left."""
    mine = delete(Customer).where(Customer.tenant_id != other, Customer.c_custkey == IDLE)
    session.execute(mine.execution_options(synchronize_session=False))
    return IDLE


names = select(Customer.c_name, Customer.c_phone)


# Asking for it.


@hostile()
def ask_for_the_other(session: Session, other: int) -> Sequence[Any]:
    """WHERE tenant_id = theirs"""
    return plain(session.execute(names.where(Customer.tenant_id == other)))


@hostile()
def or_anything(session: Session, other: int) -> Sequence[Any]:
    """or_(mine, true()) in WHERE"""
    return plain(session.execute(names.where(or_(Customer.tenant_id != other, true()))))


@hostile()
def or_in_a_lambda(session: Session, other: int) -> Sequence[Any]:
    """A lambda statement with an OR in WHERE"""
    statement = lambda_stmt(lambda: select(Customer.c_name, Customer.c_phone))
    statement += lambda each: each.where(or_(Customer.tenant_id == other, Customer.c_custkey > 0))
    return plain(session.execute(statement))


@hostile()
def get_by_key(session: Session, other: int) -> Sequence[Any]:
    """session.get() of a key that only they have"""
    found = session.get(Customer, step_aside(session, other))
    return [] if found is None else [(found.c_name, found.c_phone)]


@hostile()
def refresh_by_key(session: Session, other: int) -> Sequence[Any]:
    """A detached object with their key, added and refreshed"""
    theirs = Customer(tenant_id=other, c_custkey=step_aside(session, other))
    make_transient_to_detached(theirs)
    session.add(theirs)
    session.refresh(theirs)
    return [(theirs.c_name, theirs.c_phone)]


@hostile()
def legacy_query(session: Session, other: int) -> Sequence[Any]:
    """Legacy Query.filter_by(tenant_id=theirs)"""
    return [each.s_name for each in session.query(Supplier).filter_by(tenant_id=other)]


@hostile()
def lightweight_table(session: Session, other: int) -> Sequence[Any]:
    """table('customer', column('c_name')): no metadata"""
    light = table("customer", column("c_name"), column("tenant_id"))
    return plain(session.execute(select(light.c.c_name).where(light.c.tenant_id == other)))


@hostile()
def list_the_tenants(session: Session, other: int) -> Sequence[Any]:
    """The list of distributors"""
    return plain(session.execute(select(Distributor.name).where(Distributor.id >= min(other, 1))))


# Forging the tenant.


@hostile()
def forged_parameter(session: Session, other: int) -> Sequence[Any]:
    """execute(..., {'partywall_tenant': theirs})"""
    return plain(session.execute(names, {"partywall_tenant": other}))


@hostile()
def forged_bindparam(session: Session, other: int) -> Sequence[Any]:
    """bindparam('partywall_tenant', theirs) in WHERE"""
    forged: BindParameter[int] = bindparam("partywall_tenant", other)
    return plain(session.execute(names.where(Customer.tenant_id == forged)))


@hostile()
def another_scope(session: Session, other: int) -> Sequence[Any]:
    """Another tenant's scope on a Session in use"""
    mine = select(Customer.c_name).where(Customer.tenant_id != other).order_by(Customer.c_custkey)
    first = session.scalars(mine.limit(1)).all()
    with tenant(other):
        return [*first, *session.scalars(select(Customer.c_name).where(Customer.tenant_id == other))]


@hostile(scoped=False)
def no_scope(session: Session, other: int) -> Sequence[Any]:
    """No tenant in scope at all"""
    return plain(session.execute(names.where(Customer.tenant_id == other)))


@hostile()
def compiled_beforehand(session: Session, other: int) -> Sequence[Any]:
    """A statement compiled beforehand, by a dialect of one's own"""
    dialect = type(session.get_bind().dialect)()
    statement = names.where(Customer.tenant_id == other)
    compiled: Any = statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    if hasattr(compiled, "_execute_on_connection"):
        return plain(session.connection().execute(compiled))
    return plain(session.connection().exec_driver_sql(str(compiled)))  # SQLAlchemy 2.1 takes no compiled object


# Joining to it.


@hostile()
def outer_join(session: Session, other: int) -> Sequence[Any]:
    """Outer join of mine to theirs, on half of the key"""
    theirs = aliased(Customer)
    statement = select(Customer.c_custkey, theirs.c_name, theirs.c_phone).outerjoin(
        theirs, and_(theirs.c_custkey == Customer.c_custkey, theirs.tenant_id == other)
    )
    return plain(session.execute(statement.where(Customer.tenant_id != other)))


@hostile()
def full_join(session: Session, other: int) -> Sequence[Any]:
    """FULL JOIN of mine to theirs"""
    theirs = aliased(Supplier)
    on = and_(theirs.s_suppkey == Supplier.s_suppkey, theirs.tenant_id != Supplier.tenant_id)
    statement = select(Supplier.s_suppkey, theirs.s_phone, Supplier.tenant_id == other)
    return plain(session.execute(statement.join(theirs, on, full=True)))


@hostile()
def eager_load_of_theirs(session: Session, other: int) -> Sequence[Any]:
    """Joined load of my orders' lines, on condition that they are theirs"""
    lines = joinedload(Order.lines.and_(LineItem.tenant_id == other))
    orders = select(Order).where(Order.tenant_id != other).options(lines)
    found = session.scalars(orders.order_by(Order.o_orderkey).limit(50)).unique()
    return [[line.l_comment for line in order.lines] for order in found]


@hostile()
def lazy_load_of_theirs(session: Session, other: int) -> Sequence[Any]:
    """Lazy load of my orders' lines, on the same condition"""
    lines = lazyload(Order.lines.and_(LineItem.tenant_id == other))
    orders = select(Order).where(Order.tenant_id != other).options(lines).order_by(Order.o_orderkey).limit(20)
    return [[line.l_comment for line in order.lines] for order in session.scalars(orders)]


@hostile()
def union_with_theirs(session: Session, other: int) -> Sequence[Any]:
    """UNION ALL with a SELECT of theirs"""
    mine = names.where(Customer.tenant_id != other)
    return plain(session.execute(union_all(mine, names.where(Customer.tenant_id == other))))


@hostile()
def cte_named_like_a_table(session: Session, other: int) -> Sequence[Any]:
    """A CTE over theirs that bears the name of another table"""
    region = names.where(Customer.tenant_id == other).cte("region")
    return plain(session.execute(select(region)))


@hostile()
def nested_cte_named_like_a_table(session: Session, other: int) -> Sequence[Any]:
    """A CTE nested in a subquery: outside, its name is the table's"""
    inner = select(literal(1).label("one")).cte("customer", nesting=True)
    hidden = select(inner.c.one).subquery()
    light = table("customer", column("c_name"), column("tenant_id"))
    return plain(session.execute(select(light.c.c_name).where(light.c.tenant_id == hidden.c.one * other)))


# Asking about it, without taking a row.


@hostile()
def count_in_a_subquery(session: Session, other: int) -> Sequence[Any]:
    """Their number of customers, as a scalar subquery"""
    count = select(func.count()).select_from(Customer).where(Customer.tenant_id == other)
    return plain(session.execute(select(count.scalar_subquery())))


@hostile()
def existence_oracle(session: Session, other: int) -> Sequence[Any]:
    """EXISTS: has theirs a customer with this phone?"""
    light = Customer.__table__.alias("theirs")
    same_number = exists().where(light.c.c_custkey == Customer.c_custkey, light.c.tenant_id == other)
    return plain(session.execute(select(Customer.c_custkey).where(Customer.tenant_id != other, same_number)))


@hostile()
def order_by_theirs(session: Session, other: int) -> Sequence[Any]:
    """A subquery over theirs in ORDER BY"""
    theirs = aliased(Customer)
    balance = (
        select(theirs.c_acctbal)
        .where(theirs.c_custkey == Customer.c_custkey, theirs.tenant_id == other)
        .scalar_subquery()
    )
    mine = select(Customer.c_custkey).where(Customer.tenant_id != other)
    return list(enumerate(session.scalars(mine.order_by(balance, Customer.c_custkey))))


@hostile()
def planner_statistics(session: Session, _other: int) -> Sequence[Any]:
    """The planner's statistics: counts and most common values"""
    if session.get_bind().dialect.name == "postgresql":
        statistics = table("pg_stats", column("tablename"), column("most_common_vals"), column("n_distinct"))
        wanted = select(cast(statistics.c.most_common_vals, String), statistics.c.n_distinct)
        return plain(session.execute(wanted.where(statistics.c.tablename == "customer")))
    statistics = table("sqlite_stat1", column("tbl"), column("stat"))
    return plain(session.execute(select(statistics.c.stat).where(statistics.c.tbl == "customer")))


@hostile()
def update_returning(session: Session, other: int) -> Sequence[Any]:
    """UPDATE theirs ... RETURNING, then roll back"""
    change = update(Customer).where(Customer.tenant_id == other).values(c_comment="was here")
    return plain(session.execute(change.returning(Customer.c_phone)))


# SQL text, in the open and smuggled in.


@hostile()
def plain_text(session: Session, other: int) -> Sequence[Any]:
    """text('SELECT ...')"""
    return plain(session.execute(text("SELECT c_phone FROM customer WHERE tenant_id = :other"), {"other": other}))


@hostile()
def driver_string(session: Session, other: int) -> Sequence[Any]:
    """connection.exec_driver_sql('SELECT ...')"""
    return plain(session.connection().exec_driver_sql(f"SELECT {THEIRS.format(other)}"))


@hostile()
def entities_from_text(session: Session, other: int) -> Sequence[Any]:
    """select(Customer).from_statement(text('SELECT ...'))"""
    statement = text("SELECT * FROM customer WHERE tenant_id = :other").bindparams(other=other)
    return [each.c_phone for each in session.scalars(select(Customer).from_statement(statement))]


@hostile()
def literal_column_subquery(session: Session, other: int) -> Sequence[Any]:
    """literal_column('(SELECT ...)')"""
    return plain(session.execute(select(literal_column(THEIRS.format(other)))))


@hostile()
def text_in_where(session: Session, other: int) -> Sequence[Any]:
    """where(text('1 = 1 OR 1 = 1'))"""
    return plain(session.execute(names.where(Customer.tenant_id != other).where(text("1 = 1 OR 1 = 1"))))


@hostile()
def operator_injection(session: Session, other: int) -> Sequence[Any]:
    """.op('= 0 OR 0 <') swallows the AND"""
    return plain(session.execute(names.where(Customer.tenant_id.op("= 0 OR 0 <")(other))))


@hostile()
def prefix_injection(session: Session, other: int) -> Sequence[Any]:
    """prefix_with('(SELECT ...) || ')"""
    statement = select(Customer.c_name).where(Customer.tenant_id != other).limit(1)
    return plain(session.execute(statement.prefix_with(f"{THEIRS.format(other)} || ")))


@hostile()
def suffix_injection(session: Session, other: int) -> Sequence[Any]:
    """suffix_with('UNION ALL SELECT ...')"""
    statement = select(Customer.c_name).where(Customer.tenant_id != other)
    return plain(session.execute(statement.suffix_with(f"UNION ALL SELECT {THEIRS.format(other)}")))


@hostile()
def hint_injection(session: Session, other: int) -> Sequence[Any]:
    """with_statement_hint('UNION ALL SELECT ...')"""
    statement = select(Customer.c_name).where(Customer.tenant_id != other)
    return plain(session.execute(statement.with_statement_hint(f"UNION ALL SELECT {THEIRS.format(other)}")))


@hostile()
def unquoted_label(session: Session, other: int) -> Sequence[Any]:
    """A label marked not to be quoted, with a subquery in it"""
    label = quoted_name(f"mine, {THEIRS.format(other)} AS theirs", quote=False)
    return plain(session.execute(select(literal(1).label(label))))


@hostile()
def unquoted_table(session: Session, other: int) -> Sequence[Any]:
    """A table name marked not to be quoted, with a subquery in it"""
    light = table(quoted_name(f"(SELECT {THEIRS.format(other)} AS found)", quote=False), column("found"))
    return plain(session.execute(select(light.alias("t").c.found)))


class Crafted(UserDefinedType[Any]):
    """A type whose name is a piece of SQL."""

    cache_ok = True

    def __init__(self, name: str) -> None:
        self.name = name

    def get_col_spec(self, **_options: Any) -> str:
        return self.name


@hostile()
def crafted_type(session: Session, other: int) -> Sequence[Any]:
    """cast() to a type whose name holds a subquery"""
    crafted = Crafted(f"VARCHAR(9)) || ({THEIRS.format(other)}")
    return plain(session.execute(select(cast(literal("found "), crafted))))


class Smuggled(ColumnElement[str]):
    """A construct that compiles itself."""

    inherit_cache = False

    def __init__(self, sql: str) -> None:
        self.sql = sql
        self.type = String()


@compiles(Smuggled)
def _print_smuggled(element: Smuggled, _compiler: Any, **_options: Any) -> str:
    return element.sql


@hostile()
def own_construct(session: Session, other: int) -> Sequence[Any]:
    """A construct of one's own, with @compiles"""
    return plain(session.execute(select(Smuggled(THEIRS.format(other)))))


@hostile(databases=("postgresql",))
def extract_injection(session: Session, other: int) -> Sequence[Any]:
    """extract() of a field that closes the parenthesis"""
    field = f"year FROM o_orderdate) || {THEIRS.format(other)} || extract(year"
    statement = select(extract(field, Order.o_orderdate)).where(Order.tenant_id != other).limit(1)
    return plain(session.execute(statement))


@hostile(databases=("postgresql",))
def query_in_a_function(session: Session, other: int) -> Sequence[Any]:
    """ts_stat('SELECT ...'): a function that runs SQL"""
    words = func.ts_stat(f"SELECT to_tsvector('simple', {THEIRS.format(other)})").table_valued("word")
    return plain(session.execute(select(words.c.word)))


@hostile(databases=("postgresql",))
def column_that_is_the_row(session: Session, other: int) -> Sequence[Any]:
    """column('customer'): the whole row, by its table's name"""
    light = table("customer", column("tenant_id"))
    statement = select(cast(column("customer"), String)).select_from(light)
    return plain(session.execute(statement.where(light.c.tenant_id == other)))
