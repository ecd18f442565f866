"""One load of every kind the ORM has, as an application writes it, turned into plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import func, inspect, or_, select, union
from sqlalchemy.orm import (
    Bundle,
    Session,
    aliased,
    contains_eager,
    defaultload,
    defer,
    immediateload,
    joinedload,
    lazyload,
    load_only,
    selectin_polymorphic,
    selectinload,
    subqueryload,
    undefer,
    with_expression,
    with_loader_criteria,
    with_parent,
    with_polymorphic,
)

from tests.models import (
    Company,
    Contract,
    Customer,
    Document,
    Invoice,
    Line,
    Membership,
    Party,
    Person,
    Tag,
    Ticket,
    User,
    customer_tags,
)

Load = Callable[[Session], Iterable[Any]]
LOADS: dict[str, Load] = {}


def load(function: Load) -> Load:
    """Add the function to the table, under its name."""
    assert function.__name__ not in LOADS
    LOADS[function.__name__] = function
    return function


def by_id(statement: Any, entity: Any) -> Any:
    return statement.order_by(entity.id)


def customer_graph(customer: Customer) -> tuple[Any, ...]:
    return (
        customer.id,
        customer.name,
        customer.invoice_count,
        customer.country and customer.country.name,
        customer.parent and customer.parent.id,
        [child.id for child in customer.children],
        [(invoice.id, [line.amount for line in invoice.lines]) for invoice in customer.invoices],
        [invoice.id for invoice in customer.big_invoices],
        [tag.id for tag in customer.tags],
        sorted(user.id for user in customer.users),
    )


EVERYTHING = (
    Customer.country,
    Customer.parent,
    Customer.children,
    Customer.invoices,
    Customer.big_invoices,
    Customer.tags,
    Customer.memberships,
)


def customers_loaded(session: Session, strategy: Any) -> Iterable[Any]:
    options = [strategy(attribute) for attribute in EVERYTHING]
    options.append(strategy(Customer.invoices).options(strategy(Invoice.lines)))
    options.append(strategy(Customer.memberships).options(strategy(Membership.user)))
    found = session.scalars(select(Customer).order_by(Customer.id).options(*options)).unique().all()
    return [customer_graph(customer) for customer in found]


@load
def lazy_loads(session: Session) -> Iterable[Any]:
    return customers_loaded(session, lazyload)


@load
def joined_loads(session: Session) -> Iterable[Any]:
    return customers_loaded(session, joinedload)


@load
def joined_loads_with_inner_joins(session: Session) -> Iterable[Any]:
    statement = select(Invoice).order_by(Invoice.id).options(joinedload(Invoice.customer, innerjoin=True))
    return [(invoice.id, invoice.customer and invoice.customer.id) for invoice in session.scalars(statement)]


@load
def joined_load_under_a_limit(session: Session) -> Iterable[Any]:
    statement = select(Customer).order_by(Customer.id).limit(2).options(joinedload(Customer.invoices))
    return [(c.id, [i.id for i in c.invoices]) for c in session.scalars(statement).unique()]


@load
def select_in_loads(session: Session) -> Iterable[Any]:
    return customers_loaded(session, selectinload)


@load
def subquery_loads(session: Session) -> Iterable[Any]:
    return customers_loaded(session, subqueryload)


@load
def immediate_loads(session: Session) -> Iterable[Any]:
    return customers_loaded(session, immediateload)


@load
def select_in_load_of_many_to_one_through_poisoned_keys(session: Session) -> Iterable[Any]:
    statement = select(Line).order_by(Line.invoice_id, Line.position).options(selectinload(Line.invoice))
    return [(line.invoice_id, line.position, line.invoice is None) for line in session.scalars(statement)]


@load
def contains_eager_over_an_outer_join(session: Session) -> Iterable[Any]:
    statement = (
        select(Customer)
        .outerjoin(Customer.invoices)
        .options(contains_eager(Customer.invoices))
        .order_by(Customer.id, Invoice.id)
    )
    return [(c.id, [i.id for i in c.invoices]) for c in session.scalars(statement).unique()]


@load
def contains_eager_of_an_alias(session: Session) -> Iterable[Any]:
    paid = aliased(Invoice)
    statement = (
        select(Customer)
        .join(Customer.invoices.of_type(paid))
        .where(paid.paid)
        .options(contains_eager(Customer.invoices.of_type(paid)))
        .order_by(Customer.id, paid.id)
    )
    return [(c.id, [i.id for i in c.invoices]) for c in session.scalars(statement).unique()]


@load
def get_by_key_finds_own_rows_alone(session: Session) -> Iterable[Any]:
    keys = [tenant_id * 100 + number for tenant_id in (1, 2, 3) for number in (1, 2)]
    return [(key, found and found.number) for key in keys for found in [session.get(Invoice, key)]]


@load
def get_by_composite_key_finds_own_rows_alone(session: Session) -> Iterable[Any]:
    found = [session.get(Ticket, (tenant_id, 1)) for tenant_id in (1, 2, 3)]
    return [ticket and ticket.title for ticket in found]


@load
def refresh_and_expired_attributes(session: Session) -> Iterable[Any]:
    invoice = session.scalars(by_id(select(Invoice), Invoice)).first()
    assert invoice is not None
    session.refresh(invoice)
    session.refresh(invoice, ["lines", "customer"])
    first = (invoice.id, len(invoice.lines), invoice.customer and invoice.customer.id)
    session.expire_all()
    second = (invoice.number, invoice.total, len(invoice.lines))
    session.expire(invoice, ["total"])
    return [first, second, invoice.total]


@load
def attributes_expired_by_commit(session: Session) -> Iterable[Any]:
    found = session.scalars(by_id(select(Customer), Customer)).all()
    session.commit()
    return [(customer.name, len(customer.invoices)) for customer in found]


@load
def deferred_column(session: Session) -> Iterable[Any]:
    return [customer.remark for customer in session.scalars(by_id(select(Customer), Customer))]


@load
def undeferred_column(session: Session) -> Iterable[Any]:
    return [c.remark for c in session.scalars(by_id(select(Customer), Customer).options(undefer(Customer.remark)))]


@load
def load_only_and_defer(session: Session) -> Iterable[Any]:
    statement = by_id(select(Customer), Customer).options(
        load_only(Customer.id), selectinload(Customer.invoices).options(defer(Invoice.total))
    )
    return [(c.id, c.name, [i.total for i in c.invoices]) for c in session.scalars(statement)]


@load
def defaultload_of_a_nested_relationship(session: Session) -> Iterable[Any]:
    statement = by_id(select(Customer), Customer).options(defaultload(Customer.invoices).joinedload(Invoice.lines))
    return [[len(invoice.lines) for invoice in c.invoices] for c in session.scalars(statement)]


@load
def query_time_expression(session: Session) -> Iterable[Any]:
    count = select(func.count(Invoice.id)).scalar_subquery()
    statement = by_id(select(Customer), Customer).options(with_expression(Customer.rank, count))
    return [(c.id, c.rank) for c in session.scalars(statement)]


@load
def column_property_with_a_subquery(session: Session) -> Iterable[Any]:
    return session.execute(select(Customer.id, Customer.invoice_count).where(Customer.invoice_count > 0)).all()


@load
def joined_inheritance(session: Session) -> Iterable[Any]:
    return [_party(party) for party in session.scalars(by_id(select(Party), Party))]


def _party(party: Party) -> tuple[Any, ...]:
    return (
        type(party).__name__,
        party.id,
        party.name,
        party.nickname if isinstance(party, Person) and party.id % 100 != 4 else None,
        party.vat if isinstance(party, Company) else None,
    )


@load
def joined_inheritance_with_polymorphic(session: Session) -> Iterable[Any]:
    everything = with_polymorphic(Party, "*")
    return [
        (type(p).__name__, p.id, getattr(p, "vat", None))
        for p in session.scalars(select(everything).order_by(everything.id))
    ]


@load
def joined_inheritance_with_polymorphic_columns(session: Session) -> Iterable[Any]:
    everything = with_polymorphic(Party, "*", flat=True)
    return session.execute(select(everything.id, everything.Person.nickname, everything.Company.vat)).all()


@load
def joined_inheritance_selectin_polymorphic(session: Session) -> Iterable[Any]:
    statement = by_id(select(Party), Party).options(selectin_polymorphic(Party, [Person, Company]))
    return [_party(party) for party in session.scalars(statement)]


@load
def joined_inheritance_child(session: Session) -> Iterable[Any]:
    return [(person.id, person.nickname, person.name) for person in session.scalars(by_id(select(Person), Person))]


@load
def joined_inheritance_child_columns_alone(session: Session) -> Iterable[Any]:
    return session.execute(select(Person.nickname)).all()


@load
def single_table_inheritance(session: Session) -> Iterable[Any]:
    contracts = session.scalars(by_id(select(Contract), Contract)).all()
    documents = session.scalars(by_id(select(Document), Document)).all()
    return [(type(each).__name__, each.title) for each in (*contracts, *documents)]


@load
def association_object(session: Session) -> Iterable[Any]:
    statement = select(Membership).order_by(Membership.customer_id, Membership.user_id)
    return [(m.role, m.user.email, getattr(m.customer, "id", None)) for m in session.scalars(statement)]


@load
def association_object_from_the_shared_side(session: Session) -> Iterable[Any]:
    statement = by_id(select(User), User).options(selectinload(User.memberships).joinedload(Membership.customer))
    return [
        (user.id, sorted((m.customer_id, m.customer is None) for m in user.memberships))
        for user in session.scalars(statement)
    ]


@load
def many_to_many_from_both_sides(session: Session) -> Iterable[Any]:
    tags = session.scalars(by_id(select(Tag), Tag)).all()
    found = session.scalars(by_id(select(Customer), Customer).options(selectinload(Customer.tags))).all()
    return [[sorted(c.id for c in tag.customers) for tag in tags], [[t.id for t in c.tags] for c in found]]


@load
def many_to_many_secondary_table_itself(session: Session) -> Iterable[Any]:
    return session.execute(select(customer_tags)).all()


@load
def write_only_relationship(session: Session) -> Iterable[Any]:
    found = session.scalars(by_id(select(Customer), Customer)).all()
    return [sorted(session.scalars(c.invoices_later.select().with_only_columns(Invoice.id)).all()) for c in found]


@load
def dynamic_relationship(session: Session) -> Iterable[Any]:
    found = session.scalars(by_id(select(Customer), Customer)).all()
    return [sorted(i.id for i in c.invoices_dynamic.filter(Invoice.total > 0)) for c in found]


@load
def dynamic_relationship_counted(session: Session) -> Iterable[Any]:
    found = session.scalars(by_id(select(Customer), Customer)).all()
    return [c.invoices_dynamic.count() for c in found]


@load
def parent_given_by_with_parent(session: Session) -> Iterable[Any]:
    found = session.scalars(by_id(select(Customer), Customer)).all()
    return [sorted(session.scalars(select(Invoice.id).where(with_parent(c, Customer.invoices))).all()) for c in found]


@load
def loader_criteria_of_the_application_beside_ours(session: Session) -> Iterable[Any]:
    statement = by_id(select(Customer), Customer).options(
        selectinload(Customer.invoices), with_loader_criteria(Invoice, or_(Invoice.paid, Invoice.total > 30))
    )
    return [(c.id, [i.id for i in c.invoices]) for c in session.scalars(statement)]


@load
def relationship_restricted_by_and_(session: Session) -> Iterable[Any]:
    statement = by_id(select(Customer), Customer).options(
        selectinload(Customer.invoices.and_(or_(Invoice.paid, Invoice.total > 30)))
    )
    return [(c.id, [i.id for i in c.invoices]) for c in session.scalars(statement)]


@load
def rows_in_batches(session: Session) -> Iterable[Any]:
    statement = by_id(select(Invoice), Invoice).execution_options(yield_per=2)
    return [invoice.id for invoice in session.scalars(statement)]


@load
def rows_from_a_server_side_cursor(session: Session) -> Iterable[Any]:
    result = session.execute(select(Invoice.id).order_by(Invoice.id), execution_options={"stream_results": True})
    return [row.id for partition in result.partitions(2) for row in partition]


@load
def bundle_of_columns(session: Session) -> Iterable[Any]:
    return session.execute(select(Bundle("both", Invoice.id, Invoice.total))).scalars().all()


@load
def entities_from_a_statement(session: Session) -> Iterable[Any]:
    statement = select(Invoice).from_statement(select(Invoice).where(Invoice.total > 10).order_by(Invoice.id))
    return [invoice.id for invoice in session.scalars(statement)]


@load
def entities_from_a_union(session: Session) -> Iterable[Any]:
    both = union(select(Tag.id).where(Tag.name == "tag 1"), select(Tag.id).where(Tag.name == "tag 2"))
    return session.scalars(select(Tag.id).where(Tag.id.in_(both.subquery().select()))).all()


@load
def merged_without_loading(session: Session) -> Iterable[Any]:
    invoice = session.scalars(by_id(select(Invoice), Invoice)).first()
    assert invoice is not None
    session.expunge(invoice)
    merged = session.merge(invoice, load=False)
    return [merged.id, len(merged.lines)]


@load
def merged_detached_object(session: Session) -> Iterable[Any]:
    invoice = session.scalars(by_id(select(Invoice), Invoice)).first()
    assert invoice is not None
    session.expunge_all()
    return [session.merge(invoice).number]


@load
def detached_object_added_again(session: Session) -> Iterable[Any]:
    customer = session.scalars(by_id(select(Customer), Customer)).first()
    assert customer is not None
    session.expunge_all()
    session.add(customer)
    return [[invoice.id for invoice in customer.invoices]]


@load
def relationship_to_the_same_object_comes_from_memory(session: Session) -> Iterable[Any]:
    found = session.scalars(by_id(select(Customer), Customer)).all()
    return [invoice.customer is customer for customer in found for invoice in customer.invoices]


@load
def inspected_identity(session: Session) -> Iterable[Any]:
    return [inspect(invoice).identity for invoice in session.scalars(by_id(select(Invoice), Invoice))]


# Legacy Query.


@load
def query_all_first_one_and_get(session: Session) -> Iterable[Any]:
    query = session.query(Invoice).order_by(Invoice.id)
    first = query.first()
    return [
        len(query.all()),
        first and first.number,
        query.limit(1).one().number,
        query.filter_by(number="R-2").count(),
    ]


@load
def query_join_and_filter(session: Session) -> Iterable[Any]:
    return session.query(Customer.id, Invoice.id).outerjoin(Customer.invoices).filter(Customer.name != "x").all()


@load
def query_exists(session: Session) -> Iterable[Any]:
    return [session.query(session.query(Invoice).filter(Invoice.number == "R-1").exists()).scalar()]


@load
def query_of_a_subquery(session: Session) -> Iterable[Any]:
    inner = session.query(Invoice.customer_id, func.count().label("n")).group_by(Invoice.customer_id).subquery()
    query: Any = session.query(Customer.id, inner.c.n).outerjoin(inner, inner.c.customer_id == Customer.id)
    return [tuple(row) for row in query]


@load
def query_union_and_slice(session: Session) -> Iterable[Any]:
    both = session.query(Tag).filter(Tag.name == "tag 1").union(session.query(Tag).filter(Tag.name == "tag 2"))
    return [tag.id for tag in both.order_by(Tag.id)[0:5]]


@load
def query_with_entities_and_distinct(session: Session) -> Iterable[Any]:
    return sorted(session.query(Invoice).with_entities(Invoice.paid).distinct().all())


@load
def query_yield_per(session: Session) -> Iterable[Any]:
    return [invoice.id for invoice in session.query(Invoice).order_by(Invoice.id).yield_per(3)]


@load
def query_of_aliased_with_options(session: Session) -> Iterable[Any]:
    other = aliased(Customer)
    query = session.query(other).options(joinedload(other.invoices)).order_by(other.id)
    return [(c.id, [i.id for i in c.invoices]) for c in query]


@load
def query_from_statement(session: Session) -> Iterable[Any]:
    return [i.id for i in session.query(Invoice).from_statement(select(Invoice).order_by(Invoice.id))]
