"""One write of every kind, as an application writes it: no tenant anywhere. A bug report becomes one more entry."""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CursorResult,
    Integer,
    MetaData,
    String,
    and_,
    bindparam,
    case,
    column,
    delete,
    exists,
    func,
    insert,
    lateral,
    literal,
    literal_column,
    or_,
    select,
    table,
    true,
    union_all,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ResourceClosedError
from sqlalchemy.orm import Session, aliased

from tests.models import Base, Customer, Invoice, Line, Membership, Person, Template, Ticket, User
from tests.write_models import Base as OtherBase
from tests.write_models import Label, Project, Task
from tests.write_world import Run


@dataclass(frozen=True)
class Write:
    """
    A write, and what the oracle must know of it.

    Attributes:
        run: Does it in a Session, and returns plain data.
        build: Returns its statement, if it is one.
        parameters: Those of the statement.
        generated: Names of columns that the database numbers by itself.
        only: Name of the one database that has it.
    """

    run: Run
    build: Callable[[], Any] | None = None
    parameters: Any = None
    generated: frozenset[str] = frozenset()
    only: str | None = None


WRITES: dict[str, Write] = {}


def run_statement(session: Session, built: Any, parameters: Any = None) -> Iterable[Any]:
    """Return the rows of a statement, or how many it affected."""
    result = session.execute(built, parameters)
    if isinstance(result, CursorResult) and not result.returns_rows:
        return [(result.rowcount,)]
    try:
        return result.all()
    except ResourceClosedError:
        return []  # an INSERT by the ORM does not say how many


def write(
    parameters: Any = None, *, only: str | None = None, generated: Iterable[str] = ()
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Add the decorated function's statement to the table, under its name."""

    def add(build: Callable[[], Any]) -> Callable[[], Any]:
        _add(build.__name__, build, parameters, only=only, generated=generated)
        return build

    return add


def upsert(
    parameters: Any = None, *, only: str | None = None, generated: Iterable[str] = ()
) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Add a statement for each database; the decorated function takes the database's own ``insert``."""

    def add(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
        for dialect in (postgresql, sqlite):
            name = dialect.__name__.rpartition(".")[2]
            if only in (None, name):
                _add(
                    f"{build.__name__}_on_{name}",
                    functools.partial(build, dialect.insert),
                    parameters,
                    only=name,
                    generated=generated,
                )
        return build

    return add


def _add(name: str, build: Callable[[], Any], parameters: Any, *, only: str | None, generated: Iterable[str]) -> None:
    assert name not in WRITES
    WRITES[name] = Write(
        lambda session: run_statement(session, build(), parameters), build, parameters, frozenset(generated), only
    )


def work(*, only: str | None = None, generated: Iterable[str] = ()) -> Callable[[Run], Run]:
    """Add a function that works with a Session to the table, under its name."""

    def add(run: Run) -> Run:
        assert run.__name__ not in WRITES
        WRITES[run.__name__] = Write(run, None, None, frozenset(generated), only)
        return run

    return add


tables = {**Base.metadata.tables, **OtherBase.metadata.tables}
accounts = tables["accounts"]
customers = tables["customers"]
events = tables["events"]
invoices = tables["invoices"]
labels = tables["labels"]
lines = tables["lines"]
memberships = tables["memberships"]
receipts = tables["receipts"]
tags = tables["tags"]
tasks = tables["tasks"]
templates = tables["templates"]
tickets = tables["tickets"]
users = tables["users"]

TWO_TICKETS = [{"number": 9, "title": "nine"}, {"number": 10, "title": "ten"}]
A_DAY = datetime.date(2026, 2, 1)
INVOICE = {"id": 9001, "number": "R-9", "total": 9, "issued": A_DAY, "paid": False, "data": {"kind": "new"}}
own_customers_of_invoices = select(customers.c.id).where(customers.c.name == "customer 1")


# INSERT: values, rows, parameters.


@write()
def insert_values() -> Any:
    return insert(tickets).values(number=9, title="nine")


@write()
def insert_values_of_a_dictionary() -> Any:
    return insert(tickets).values({tickets.c.number: 9, "title": "nine"})


@write()
def insert_several_rows_of_values() -> Any:
    return insert(tickets).values(TWO_TICKETS)


@write()
def insert_several_rows_of_columns() -> Any:
    return insert(tickets).values([{tickets.c.number: each["number"], tickets.c.title: "x"} for each in TWO_TICKETS])


@write({"number": 9, "title": "nine"})
def insert_with_parameters() -> Any:
    return insert(tickets)


@write({"title": "nine"})
def insert_with_values_and_parameters() -> Any:
    return insert(tickets).values(number=9)


@write(TWO_TICKETS)
def insert_many() -> Any:
    return insert(tickets)


@write([{"number": number, "title": f"ticket {number}"} for number in range(10, 2510)])
def insert_many_thousands() -> Any:
    return insert(tickets)


@write([{"number": number, "title": f"ticket {number}"} for number in range(10, 2510)])
def insert_many_thousands_returning() -> Any:
    return insert(tickets).returning(tickets.c.number)


@write([{"n": 9, "t": "nine"}, {"n": 10, "t": "ten"}])
def insert_many_with_named_parameters() -> Any:
    return insert(tickets).values(number=bindparam("n"), title=bindparam("t"))


@write({"n": 9})
def insert_with_an_expression_of_a_parameter() -> Any:
    return insert(tickets).values(number=bindparam("n", type_=Integer) + 1, title=func.upper("nine"))


@write()
def insert_returning() -> Any:
    return insert(tickets).values(number=9, title="nine").returning(tickets.c.title, tickets.c.number + 1)


@write()
def insert_returning_the_tenant() -> Any:
    return insert(tickets).values(number=9, title="nine").returning(tickets.c.tenant_id)


@write()
def insert_returning_all_columns() -> Any:
    return insert(tickets).values(number=9, title="nine").returning(tickets)


@write()
def insert_returning_a_subquery() -> Any:
    others = tickets.alias("others")
    counted = select(func.count()).select_from(others).where(others.c.number < 3).scalar_subquery()
    return insert(tickets).values(number=9, title="nine").returning(counted)


@write()
def insert_several_rows_returning() -> Any:
    return insert(tickets).values(TWO_TICKETS).returning(tickets.c.number)


@write(TWO_TICKETS)
def insert_many_returning() -> Any:
    return insert(tickets).returning(tickets.c.number, tickets.c.title)


@write([{**INVOICE, "id": 9001 + number} for number in range(5)])
def insert_many_returning_in_their_order() -> Any:
    return insert(invoices).returning(invoices.c.id, sort_by_parameter_order=True)


@write([{"name": f"tag {number}"} for number in range(9, 14)], generated=["id"])
def insert_many_with_generated_keys_returning_in_their_order() -> Any:
    return insert(tags).returning(tags.c.name, sort_by_parameter_order=True)


@write(generated=["id"])
def insert_with_a_generated_key() -> Any:
    return insert(tags).values(name="new")


@write([{"name": "new"}, {"name": "newer"}], generated=["id"])
def insert_many_with_generated_keys() -> Any:
    return insert(tags)


@write(generated=["id"])
def insert_default_values() -> Any:
    return insert(events)


@write(generated=["id"])
def insert_default_values_returning() -> Any:
    return insert(events).returning(events.c.kind)


@write([{}, {}, {}], generated=["id"])
def insert_many_default_values() -> Any:
    return insert(events)


@write()
def insert_json_and_dates() -> Any:
    return insert(invoices).values(INVOICE).returning(invoices.c.data, invoices.c.issued)


@write()
def insert_a_subquery_as_a_value() -> Any:
    others = tickets.alias("others")
    highest = select(func.max(others.c.number) + 1).scalar_subquery()
    return insert(tickets).values(number=highest, title=select(func.count(invoices.c.id)).scalar_subquery())


@write()
def insert_several_rows_with_subqueries() -> Any:
    count = select(func.count(invoices.c.id)).scalar_subquery()
    return insert(tickets).values([{"number": 10 + count, "title": "a"}, {"number": 30 + count, "title": "b"}])


@write()
def insert_a_case_as_a_value() -> Any:
    has_any = exists(select(invoices.c.id).where(invoices.c.total > 36))
    return insert(tickets).values(number=9, title=case((has_any, "rich"), else_="poor"))


@write()
def insert_inline() -> Any:
    return insert(tickets).values(number=9, title="nine").inline()


@write()
def insert_a_literal_printed_into_the_statement() -> Any:
    return insert(tickets).values(number=literal(9, literal_execute=True), title=literal("nine"))


@write()
def insert_into_a_lightweight_table() -> Any:
    return insert(table("tickets", column("number"), column("title"), column("tenant_id"))).values(number=9, title="x")


@write()
def insert_into_a_table_of_other_metadata() -> Any:
    return insert(tickets.to_metadata(MetaData())).values(number=9, title="x")


@write()
def insert_with_column_defaults() -> Any:
    return insert(tasks).values(id=9001, title="WITH Defaults").returning(tasks.c.slug, tasks.c.priority, tasks.c.state)


@write([{"id": 9001, "title": "A"}, {"id": 9002, "title": "B"}])
def insert_many_with_column_defaults() -> Any:
    return insert(tasks)


@write()
def insert_several_rows_with_column_defaults() -> Any:
    return insert(tasks).values([{"id": 9001, "title": "A"}, {"id": 9002, "title": "B", "slug": "own"}])


@write()
def insert_with_a_default_that_reads_the_table() -> Any:
    return insert(receipts).values(id=9001, total=1).returning(receipts.c.number)


@write()
def insert_from_select_with_defaults() -> Any:
    return insert(tasks).from_select(["id", "title", "slug"], select(tags.c.id + 9000, tags.c.name, tags.c.name))


@write()
def insert_into_a_shared_writable_table() -> Any:
    return insert(users).values(id=9, email="new@example.org")


@write([{"id": 9, "email": "a@example.org"}, {"id": 10, "email": "b@example.org"}])
def insert_many_into_a_shared_writable_table() -> Any:
    return insert(users)


@write()
def insert_into_a_shared_writable_table_from_scoped_rows() -> Any:
    return insert(users).from_select(["id", "email"], select(customers.c.id, customers.c.name))


@write()
def insert_into_a_table_with_shared_rows() -> Any:
    return insert(templates).values(id=9001, name="own").returning(templates.c.name)


@write(only="sqlite")
def insert_ignoring_conflicts_of_the_own_key() -> Any:
    return insert(tickets).values(number=1, title="in the way").prefix_with("OR IGNORE")


@write()
def insert_a_key_twice() -> Any:
    return insert(tickets).values(number=1, title="in the way")


@write()
def insert_null_where_none_may_be() -> Any:
    return insert(tickets).values(number=9, title=None)


# INSERT ... SELECT.


@write()
def insert_from_select() -> Any:
    return insert(tickets).from_select(["number", "title"], select(invoices.c.id, invoices.c.number))


@write()
def insert_from_select_of_the_same_table() -> Any:
    return insert(tickets).from_select(["number", "title"], select(tickets.c.number + 10, tickets.c.title))


@write()
def insert_from_select_with_the_tenant() -> Any:
    return insert(tickets).from_select(
        ["tenant_id", "number", "title"], select(invoices.c.tenant_id, invoices.c.id, invoices.c.number)
    )


@write()
def insert_from_select_of_columns() -> Any:
    return insert(tickets).from_select([tickets.c.title, tickets.c.number], select(tags.c.name, tags.c.id))


@write()
def insert_from_select_returning() -> Any:
    chosen = select(invoices.c.id, invoices.c.number).where(invoices.c.paid)
    return insert(tickets).from_select(["number", "title"], chosen).returning(tickets.c.number)


@write()
def insert_from_select_of_a_join() -> Any:
    joined = select(invoices.c.id, customers.c.name).join_from(
        invoices, customers, invoices.c.customer_id == customers.c.id
    )
    return insert(tickets).from_select(["number", "title"], joined)


@write()
def insert_from_select_of_an_outer_join() -> Any:
    joined = select(invoices.c.id, func.coalesce(customers.c.name, "nobody")).join_from(
        invoices, customers, invoices.c.customer_id == customers.c.id, isouter=True
    )
    return insert(tickets).from_select(["number", "title"], joined)


@write()
def insert_from_select_of_a_union() -> Any:
    both = union_all(select(invoices.c.id, invoices.c.number), select(customers.c.id + 5000, customers.c.name))
    return insert(tickets).from_select(["number", "title"], both)


@write()
def insert_from_select_of_a_cte() -> Any:
    paid = select(invoices.c.id, invoices.c.number).where(invoices.c.paid).cte("paid")
    return insert(tickets).from_select(["number", "title"], select(paid.c.id, paid.c.number))


@write()
def insert_from_select_of_aggregates() -> Any:
    per_customer = select(func.min(invoices.c.id), func.max(invoices.c.number)).group_by(invoices.c.customer_id)
    return insert(tickets).from_select(["number", "title"], per_customer)


@write()
def insert_from_select_of_literals() -> Any:
    return insert(tickets).from_select(["number", "title"], select(literal(9), literal("nine")))


@write()
def insert_from_select_where_not_exists() -> Any:
    missing = select(literal(9), literal("nine")).where(~exists(select(tickets.c.number).where(tickets.c.number == 9)))
    return insert(tickets).from_select(["number", "title"], missing)


@write()
def insert_from_select_limited() -> Any:
    few = select(invoices.c.id, invoices.c.number).order_by(invoices.c.total.desc()).limit(2)
    return insert(tickets).from_select(["number", "title"], few)


@write()
def insert_from_select_distinct() -> Any:
    days = select(func.length(customers.c.name), customers.c.name).distinct().where(customers.c.name == "customer 1")
    return insert(tickets).from_select(["number", "title"], days)


@write(only="postgresql")
def insert_from_select_of_values() -> Any:
    given = values(column("number", Integer), column("title", String), name="given").data([(9, "nine"), (10, "ten")])
    return insert(tickets).from_select(["number", "title"], select(given.c.number, given.c.title))


# INSERT by the ORM.


@write({"number": 9, "title": "nine"})
def insert_of_an_entity() -> Any:
    return insert(Ticket)


@write()
def insert_of_an_entity_with_values() -> Any:
    return insert(Ticket).values(number=9, title="nine")


@write()
def insert_of_an_entity_by_attribute() -> Any:
    return insert(Customer).values({Customer.id: 9001, Customer.name: "new", "remark": "a remark"})


@write(TWO_TICKETS)
def insert_of_an_entity_many() -> Any:
    return insert(Ticket)


@write(TWO_TICKETS)
def insert_of_an_entity_many_returning() -> Any:
    return insert(Ticket).returning(Ticket.number, Ticket.title)


@write([{"id": 9001, "name": "new", "remark": "x"}, {"id": 9002, "name": "newer"}])
def insert_of_an_entity_many_with_differing_keys() -> Any:
    return insert(Customer)


@write([{"id": 9001, "name": "a", "nickname": "b"}, {"id": 9002, "name": "c", "nickname": "d"}])
def insert_of_an_entity_of_joined_inheritance() -> Any:
    return insert(Person)


@write([{"id": 9001, "name": "a", "version": 1}])
def insert_of_an_entity_whose_tenant_attribute_has_another_name() -> Any:
    return insert(Project).returning(Project.name)


@write([{"number": 9}, {"number": 10}])
def insert_of_an_entity_many_with_an_expression() -> Any:
    return insert(Ticket).values(title=func.lower("NINE"))


# Upserts.


@upsert()
def upsert_do_nothing(insert_of: Any) -> Any:
    return insert_of(tickets).values(number=1, title="new").on_conflict_do_nothing()


@upsert()
def upsert_do_nothing_at_columns(insert_of: Any) -> Any:
    rows = [{"number": 1, "title": "old"}, {"number": 9, "title": "new"}]
    statement = insert_of(tickets).values(rows)
    return statement.on_conflict_do_nothing(index_elements=["tenant_id", "number"]).returning(tickets.c.number)


@upsert([{"number": 1, "title": "old"}, {"number": 9, "title": "new"}])
def upsert_many_do_nothing(insert_of: Any) -> Any:
    return insert_of(tickets).on_conflict_do_nothing()


@upsert()
def upsert_do_update(insert_of: Any) -> Any:
    return (
        insert_of(tickets)
        .values(number=1, title="new")
        .on_conflict_do_update(index_elements=["tenant_id", "number"], set_={"title": "changed"})
    )


@upsert()
def upsert_do_update_where_there_is_no_conflict(insert_of: Any) -> Any:
    return (
        insert_of(tickets)
        .values(number=9, title="new")
        .on_conflict_do_update(index_elements=["tenant_id", "number"], set_={"title": "changed"})
    )


def _excluded(statement: Any) -> Any:
    return statement.on_conflict_do_update(
        index_elements=[tickets.c.tenant_id, tickets.c.number], set_={"title": statement.excluded.title}
    )


@upsert()
def upsert_excluded(insert_of: Any) -> Any:
    return _excluded(insert_of(tickets).values(number=1, title="new"))


@upsert()
def upsert_several_rows(insert_of: Any) -> Any:
    return _excluded(insert_of(tickets).values([{"number": 1, "title": "new"}, {"number": 9, "title": "nine"}]))


@upsert([{"number": 1, "title": "new"}, {"number": 9, "title": "nine"}])
def upsert_many(insert_of: Any) -> Any:
    return _excluded(insert_of(tickets))


@upsert([{"number": 1, "title": "new"}, {"number": 9, "title": "nine"}])
def upsert_many_returning(insert_of: Any) -> Any:
    return _excluded(insert_of(tickets)).returning(tickets.c.number, tickets.c.title)


@upsert()
def upsert_setting_the_tenant_that_was_excluded(insert_of: Any) -> Any:
    statement = insert_of(tickets).values(number=1, title="new")
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"],
        set_={"tenant_id": statement.excluded.tenant_id, "title": statement.excluded.title},
    )


@upsert()
def upsert_setting_all_that_was_excluded(insert_of: Any) -> Any:
    statement = insert_of(tickets).values(number=1, title="new")
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"],
        set_={name: statement.excluded[name] for name in ("tenant_id", "number", "title")},
    )


@upsert()
def upsert_setting_from_both_rows(insert_of: Any) -> Any:
    statement = insert_of(tickets).values(number=1, title="new")
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"], set_={"title": tickets.c.title + statement.excluded.title}
    )


@upsert()
def upsert_where(insert_of: Any) -> Any:
    statement = insert_of(tickets).values([{"number": number, "title": "new"} for number in (1, 2, 3, 4)])
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"],
        set_={"title": statement.excluded.title},
        where=or_(tickets.c.number < 2, tickets.c.number == statement.excluded.number - 0),
    )


@upsert()
def upsert_where_of_a_subquery(insert_of: Any) -> Any:
    others = tickets.alias("others")
    return (
        insert_of(tickets)
        .values(number=1, title="new")
        .on_conflict_do_update(
            index_elements=["tenant_id", "number"],
            set_={"title": select(func.max(customers.c.name)).scalar_subquery()},
            where=select(func.count()).select_from(others).scalar_subquery() == 3,
        )
    )


@upsert(generated=["id"])
def upsert_at_a_unique_constraint_of_columns(insert_of: Any) -> Any:
    statement = insert_of(labels).values(name="new", colour="green", active=True)
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "name"], set_={"colour": statement.excluded.colour}
    ).returning(labels.c.colour)


@upsert(only="postgresql", generated=["id"])
def upsert_at_a_constraint(insert_of: Any) -> Any:
    statement = insert_of(labels).values(name="new", colour="green", active=True)
    return statement.on_conflict_do_update(constraint="uq_labels_name", set_={"colour": statement.excluded.colour})


@upsert(only="postgresql")
def upsert_at_the_primary_key(insert_of: Any) -> Any:
    statement = insert_of(tickets).values(number=1, title="new")
    return statement.on_conflict_do_update(constraint=tickets.primary_key, set_={"title": statement.excluded.title})


@upsert(only="postgresql")
def upsert_do_nothing_at_a_constraint(insert_of: Any) -> Any:
    return insert_of(tickets).values(number=1, title="new").on_conflict_do_nothing(constraint="tickets_pkey")


@upsert(generated=["id"])
def upsert_at_a_partial_index(insert_of: Any) -> Any:
    return (
        insert_of(labels)
        .values(name="newest", colour="blue", active=True)
        .on_conflict_do_update(
            index_elements=["tenant_id", "colour"], index_where=labels.c.active, set_={"name": "changed"}
        )
    )


@upsert()
def upsert_from_select(insert_of: Any) -> Any:
    statement = insert_of(tickets).from_select(
        ["number", "title"], select(invoices.c.id % 100, invoices.c.number).where(true())
    )
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"], set_={"title": statement.excluded.title}
    )


@upsert()
def upsert_into_a_lightweight_table(insert_of: Any) -> Any:
    light = table("tickets", column("tenant_id"), column("number"), column("title"))
    statement = insert_of(light).values(number=1, title="new")
    return statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"], set_={"title": statement.excluded.title}
    )


@upsert()
def upsert_of_an_entity(insert_of: Any) -> Any:
    statement = insert_of(Ticket).values(number=1, title="new")
    return statement.on_conflict_do_update(
        index_elements=[Ticket.tenant_id, Ticket.number], set_={Ticket.title: statement.excluded.title}
    ).returning(Ticket.title)


@upsert([{"number": 1, "title": "new"}, {"number": 9, "title": "nine"}])
def upsert_of_an_entity_many(insert_of: Any) -> Any:
    return _excluded(insert_of(Ticket)).returning(Ticket.number, Ticket.title)


@upsert()
def upsert_into_a_shared_writable_table(insert_of: Any) -> Any:
    statement = insert_of(users).values(id=1, email="changed@example.org")
    return statement.on_conflict_do_update(index_elements=["id"], set_={"email": statement.excluded.email})


@upsert()
def upsert_of_a_row_that_all_tenants_share(insert_of: Any) -> Any:
    statement = insert_of(templates).values(id=1, name="stolen")
    return statement.on_conflict_do_update(index_elements=["id"], set_={"name": statement.excluded.name})


# UPDATE.


@write()
def update_all() -> Any:
    return update(tickets).values(title="same")


@write()
def update_where() -> Any:
    return update(invoices).where(invoices.c.paid).values(total=invoices.c.total + 1)


@write()
def update_where_or() -> Any:
    return update(invoices).where(or_(invoices.c.paid, invoices.c.total > 1)).values(number="either")


@write()
def update_where_a_lambda() -> Any:
    return update(invoices).where(lambda: invoices.c.total > 20).values(number="big")


@write({"number": "given"})
def update_with_parameters() -> Any:
    return update(invoices).where(invoices.c.paid)


@write([{"wanted": "R-1", "new": "one"}, {"wanted": "R-2", "new": "two"}])
def update_many() -> Any:
    return update(invoices).where(invoices.c.number == bindparam("wanted")).values(number=bindparam("new"))


@write([{"key": number, "title": f"new {number}"} for number in (1, 2, 9)])
def update_many_by_key() -> Any:
    return update(tickets).where(tickets.c.number == bindparam("key"))


@write()
def update_where_in() -> Any:
    return update(invoices).where(invoices.c.number.in_(["R-1", "R-3"])).values(total=0)


@write()
def update_where_in_subquery() -> Any:
    return update(invoices).where(invoices.c.customer_id.in_(own_customers_of_invoices)).values(total=0)


@write()
def update_where_not_in_subquery() -> Any:
    return update(invoices).where(invoices.c.customer_id.not_in(select(customers.c.id))).values(total=0)


@write()
def update_where_exists() -> Any:
    has_line = exists().where(lines.c.invoice_id == invoices.c.id, lines.c.position == 9)
    return update(invoices).where(has_line).values(number="poisoned")


@write()
def update_where_not_exists() -> Any:
    has_customer = exists().where(customers.c.id == invoices.c.customer_id)
    return update(invoices).where(~has_customer).values(number="orphan")


@write()
def update_set_to_a_subquery() -> Any:
    return update(tickets).values(title=select(func.max(customers.c.name)).scalar_subquery())


@write()
def update_set_to_a_correlated_subquery() -> Any:
    total = select(func.sum(lines.c.amount)).where(lines.c.invoice_id == invoices.c.id).scalar_subquery()
    return update(invoices).values(total=func.coalesce(total, 0))


@write()
def update_set_to_a_correlated_subquery_of_the_same_table() -> Any:
    other = invoices.alias("other")
    before = select(func.count()).select_from(other).where(other.c.total < invoices.c.total).scalar_subquery()
    return update(invoices).values(total=before)


@write()
def update_set_to_a_case() -> Any:
    return update(invoices).values(number=case((invoices.c.paid, "paid"), else_="open"))


@write()
def update_from() -> Any:
    return update(invoices).where(invoices.c.customer_id == customers.c.id).values(number=customers.c.name)


@write()
def update_from_an_alias() -> Any:
    other = customers.alias("other")
    return update(invoices).where(invoices.c.customer_id == other.c.id).values(number=other.c.name)


@write()
def update_from_itself() -> Any:
    parent = customers.alias("parent")
    return update(customers).where(customers.c.parent_id == parent.c.id).values(name=parent.c.name)


@write()
def update_from_a_subquery() -> Any:
    sums = select(lines.c.invoice_id, func.sum(lines.c.amount).label("total")).group_by(lines.c.invoice_id).subquery()
    return update(invoices).where(invoices.c.id == sums.c.invoice_id).values(total=sums.c.total)


@write()
def update_from_a_cte() -> Any:
    sums = select(lines.c.invoice_id, func.sum(lines.c.amount).label("total")).group_by(lines.c.invoice_id).cte("sums")
    return update(invoices).where(invoices.c.id == sums.c.invoice_id).values(total=sums.c.total)


@write()
def update_from_a_cte_of_the_same_table() -> Any:
    first = select(func.min(invoices.c.id).label("id")).cte("first")
    return update(invoices).where(invoices.c.id == first.c.id).values(number="first")


@write()
def update_from_two_sources() -> Any:
    return (
        update(lines)
        .where(lines.c.invoice_id == invoices.c.id, invoices.c.customer_id == customers.c.id)
        .values(amount=lines.c.amount + invoices.c.total + customers.c.id)
    )


@write()
def update_from_a_join() -> Any:
    joined = (
        select(invoices.c.id, customers.c.name)
        .join_from(invoices, customers, invoices.c.customer_id == customers.c.id, isouter=True)
        .subquery("joined")
    )
    return update(lines).where(lines.c.invoice_id == joined.c.id).values(amount=func.coalesce(joined.c.id, 0))


@write()
def update_from_all_rows() -> Any:
    each = invoices.c.id > tickets.c.number
    return (
        update(tickets).where(each, tickets.c.number == 1, invoices.c.number == "R-7").values(title=invoices.c.number)
    )


@write()
def update_from_a_shared_table() -> Any:
    countries = tables["countries"]
    return update(customers).where(customers.c.country_code == countries.c.code).values(name=countries.c.name)


@write(only="postgresql")
def update_from_values() -> Any:
    given = values(column("number", String), column("total", Integer), name="given").data([("R-1", 1), ("R-2", 2)])
    return update(invoices).where(invoices.c.number == given.c.number).values(total=given.c.total)


@write(only="postgresql")
def update_from_lateral() -> Any:
    sums = lateral(
        select(func.sum(lines.c.amount).label("total")).where(lines.c.invoice_id == customers.c.id).correlate(customers)
    )
    return update(invoices).where(invoices.c.customer_id == customers.c.id, sums.c.total > 0).values(total=sums.c.total)


@write()
def update_returning() -> Any:
    return update(invoices).where(invoices.c.paid).values(total=1).returning(invoices.c.id, invoices.c.total)


@write()
def update_from_returning_both() -> Any:
    return (
        update(invoices)
        .where(invoices.c.customer_id == customers.c.id)
        .values(total=1)
        .returning(invoices.c.id, func.length(invoices.c.number))
    )


@write(only="postgresql")
def update_from_returning_the_other_source() -> Any:
    return (
        update(invoices)
        .where(invoices.c.customer_id == customers.c.id)
        .values(total=1)
        .returning(invoices.c.id, customers.c.name)
    )


@write()
def update_returning_a_subquery() -> Any:
    count = select(func.count(customers.c.id)).scalar_subquery()
    return update(tickets).values(title="x").returning(tickets.c.number, count)


@write()
def update_an_alias() -> Any:
    each: Any = invoices.alias("each")
    return update(each).where(each.c.total > 10).values(number="big")


@write()
def update_ordered_values() -> Any:
    return update(invoices).ordered_values((invoices.c.number, "x"), (invoices.c.total, invoices.c.total * 2))


@write()
def update_a_lightweight_table() -> Any:
    return update(table("tickets", column("number"), column("title"))).where(column("number") == 1).values(title="x")


@write()
def update_a_key() -> Any:
    return update(tickets).where(tickets.c.number == 3).values(number=33)


@write()
def update_to_a_key_that_is_there() -> Any:
    return update(tickets).where(tickets.c.number == 3).values(number=1)


@write()
def update_with_onupdate() -> Any:
    return update(tasks).where(tasks.c.priority > 1).values(title="x").returning(tasks.c.touched, tasks.c.changes)


@write()
def update_with_onupdate_that_reads_the_table() -> Any:
    return update(receipts).values(remark="x")


@write()
def update_of_nothing() -> Any:
    return update(tickets).where(tickets.c.number == 99).values(title="x")


@write()
def update_of_a_shared_writable_table() -> Any:
    return update(users).where(users.c.id == 1).values(email="changed@example.org")


@write()
def update_of_a_shared_writable_table_from_scoped_rows() -> Any:
    return update(users).where(users.c.id == memberships.c.user_id).values(email=memberships.c.role)


@write()
def update_of_a_table_with_shared_rows() -> Any:
    return update(templates).values(name="changed").returning(templates.c.id)


@write()
def update_from_a_table_with_shared_rows() -> Any:
    return update(tickets).where(templates.c.id < tickets.c.number).values(title=templates.c.name)


@write()
def update_with_a_cte_for_the_subquery() -> Any:
    rich = select(customers.c.id).where(customers.c.id.in_(select(invoices.c.customer_id))).cte("rich")
    return update(customers).where(customers.c.id.in_(select(rich.c.id))).values(name="rich")


# DELETE.


@write()
def delete_all() -> Any:
    return delete(lines)


@write()
def delete_where() -> Any:
    return delete(lines).where(lines.c.amount > 3)


@write()
def delete_where_or() -> Any:
    return delete(lines).where(or_(lines.c.amount > 3, true()))


@write([{"wanted": 1}, {"wanted": 2}])
def delete_many() -> Any:
    return delete(tickets).where(tickets.c.number == bindparam("wanted"))


@write()
def delete_where_in_subquery() -> Any:
    return delete(lines).where(lines.c.invoice_id.in_(select(invoices.c.id).where(invoices.c.paid)))


@write()
def delete_where_not_in_subquery() -> Any:
    return delete(lines).where(lines.c.invoice_id.not_in(select(invoices.c.id)))


@write()
def delete_where_exists() -> Any:
    return delete(invoices).where(exists().where(customers.c.id == invoices.c.customer_id, customers.c.name != "x"))


@write()
def delete_where_a_correlated_count() -> Any:
    others = invoices.alias("others")
    count = select(func.count()).select_from(others).where(others.c.customer_id == invoices.c.customer_id)
    return delete(invoices).where(count.scalar_subquery() > 1)


@write()
def delete_returning() -> Any:
    return delete(tickets).where(tickets.c.number < 3).returning(tickets.c.number, tickets.c.title)


@write()
def delete_an_alias() -> Any:
    each: Any = tickets.alias("each")
    return delete(each).where(each.c.number == 1)


@write()
def delete_from_a_lightweight_table() -> Any:
    return delete(table("tickets", column("number"))).where(column("number") == 1)


@write()
def delete_where_in_a_cte() -> Any:
    old = select(invoices.c.id).where(invoices.c.total < 20).cte("old")
    return delete(lines).where(lines.c.invoice_id.in_(select(old.c.id)))


@write(only="postgresql")
def delete_using() -> Any:
    return delete(lines).where(lines.c.invoice_id == invoices.c.id, invoices.c.paid)


@write(only="postgresql")
def delete_using_itself() -> Any:
    other = invoices.alias("other")
    return delete(invoices).where(invoices.c.customer_id == other.c.customer_id, invoices.c.id > other.c.id)


@write(only="postgresql")
def delete_using_two_sources() -> Any:
    return delete(lines).where(lines.c.invoice_id == invoices.c.id, invoices.c.customer_id == customers.c.id)


@write(only="postgresql")
def delete_using_a_subquery() -> Any:
    rich = select(invoices.c.id).where(invoices.c.total > 20).subquery("rich")
    return delete(lines).where(lines.c.invoice_id == rich.c.id).returning(lines.c.invoice_id)


@write(only="postgresql")
def delete_using_all_rows() -> Any:
    return delete(tickets).where(customers.c.id > tickets.c.number, customers.c.name == "customer 1")


@write(only="postgresql")
def delete_using_returning_the_other_source() -> Any:
    return (
        delete(lines)
        .where(lines.c.invoice_id == invoices.c.id, invoices.c.paid)
        .returning(lines.c.position, invoices.c.number)
    )


@write()
def delete_from_a_shared_writable_table() -> Any:
    return delete(users).where(users.c.id.in_(select(memberships.c.user_id).where(memberships.c.customer_id < 102)))


@write()
def delete_from_a_table_with_shared_rows() -> Any:
    return delete(templates).returning(templates.c.id)


# Writes inside other statements.


@write(only="postgresql")
def insert_in_a_cte() -> Any:
    new = insert(tickets).values(number=9, title="nine").returning(tickets.c.number).cte("new")
    return select(new.c.number)


@write(only="postgresql")
def insert_of_several_rows_in_a_cte() -> Any:
    new = insert(tickets).values(TWO_TICKETS).returning(tickets.c.number).cte("new")
    return select(new.c.number, tags.c.name).where(tags.c.id > new.c.number)


@write(only="postgresql")
def insert_from_select_in_a_cte() -> Any:
    new = insert(tickets).from_select(["number", "title"], select(invoices.c.id, invoices.c.number)).cte("new")
    return select(func.count(invoices.c.id)).add_cte(new)


@write(only="postgresql")
def insert_beside_an_insert() -> Any:
    first = insert(tickets).values(number=9, title="nine").returning(tickets.c.number).cte("first")
    return insert(lines).from_select(
        ["invoice_id", "position", "amount"], select(literal(1), first.c.number, literal(1))
    )


@write({"number": 10, "title": "ten"}, only="postgresql")
def insert_with_parameters_beside_an_insert() -> Any:
    other = insert(tickets).values(number=9, title="nine").cte("other")
    return insert(tickets).add_cte(other)


@write(only="postgresql")
def update_in_a_cte() -> Any:
    changed = update(invoices).where(invoices.c.paid).values(total=1).returning(invoices.c.customer_id).cte("changed")
    return select(customers.c.name).where(customers.c.id.in_(select(changed.c.customer_id)))


@write(only="postgresql")
def update_from_in_a_cte() -> Any:
    changed = update(invoices).where(invoices.c.customer_id == customers.c.id).values(number=customers.c.name)
    return select(changed.returning(invoices.c.id, customers.c.name).cte("changed"))


@write(only="postgresql")
def rows_moved_by_delete_in_a_cte() -> Any:
    gone = delete(lines).where(lines.c.amount > 3).returning(lines.c.invoice_id, lines.c.position).cte("gone")
    return insert(tickets).from_select(
        ["number", "title"], select(gone.c.invoice_id * 10 + gone.c.position, literal("moved"))
    )


@write(only="postgresql")
def rows_moved_with_their_tenant() -> Any:
    gone = delete(lines).where(lines.c.amount > 3).returning(*lines.c).cte("gone")
    return insert(tickets).from_select(
        ["number", "title"], select(gone.c.invoice_id * 10 + gone.c.position, literal("moved"))
    )


@write(only="postgresql")
def update_of_what_an_insert_in_a_cte_returns() -> Any:
    new = insert(tickets).values(number=9, title="nine").returning(tickets.c.title).cte("new")
    return update(customers).values(name=select(new.c.title).scalar_subquery())


@write(only="postgresql")
def upsert_in_a_cte() -> Any:
    statement = postgresql.insert(tickets).values(number=1, title="new")
    changed = statement.on_conflict_do_update(
        index_elements=["tenant_id", "number"], set_={"title": statement.excluded.title}
    )
    return select(changed.returning(tickets.c.title).cte("changed").c.title)


@write(only="postgresql")
def three_writes_in_one_statement() -> Any:
    gone = delete(lines).where(lines.c.position == 9).cte("gone")
    changed = update(tickets).values(title="x").returning(tickets.c.number).cte("changed")
    return insert(tags).from_select(["id", "name"], select(changed.c.number + 9000, literal("x"))).add_cte(gone)


# UPDATE and DELETE by the ORM.


def _synchronized(name: str, statement: Callable[[], Any]) -> None:
    def build(strategy: Any) -> Any:
        return statement().execution_options(synchronize_session=strategy)

    for strategy in ("auto", "evaluate", "fetch", False):
        suffix = strategy or "nothing"
        _add(f"{name}_synchronized_by_{suffix}", functools.partial(build, strategy), None, only=None, generated=())


_synchronized("update_of_an_entity", lambda: update(Invoice).where(Invoice.total > 10).values(number="big"))
_synchronized("delete_of_an_entity", lambda: delete(Line).where(Line.amount > 3))
_synchronized(
    "update_of_an_entity_returning", lambda: update(Invoice).values(total=1).returning(Invoice.id, Invoice.total)
)


@write()
def update_of_an_entity_from_another() -> Any:
    return (
        update(Invoice)
        .where(Invoice.customer_id == Customer.id)
        .values(number=Customer.name)
        .execution_options(synchronize_session=False)
    )


@write()
def update_of_an_entity_where_related() -> Any:
    return (
        update(Invoice)
        .where(Invoice.customer.has(Customer.name == "customer 3"))
        .values(total=0)
        .execution_options(synchronize_session="fetch")
    )


@write()
def update_of_an_entity_where_any_related() -> Any:
    return (
        update(Customer)
        .where(Customer.invoices.any(Invoice.paid))
        .values(name="paid")
        .execution_options(synchronize_session=False)
    )


@write()
def update_of_an_entity_that_is_aliased() -> Any:
    other = aliased(Customer, name="other")
    return (
        update(Customer)
        .where(Customer.parent_id == other.id)
        .values(name=other.name)
        .execution_options(synchronize_session=False)
    )


@write()
def update_of_an_entity_by_column_property() -> Any:
    return (
        update(Customer)
        .where(Customer.invoice_count > 1)
        .values(name="busy")
        .execution_options(synchronize_session="fetch")
    )


@write([{"id": 101, "number": "A"}, {"id": 102, "number": "B"}, {"id": 201, "number": "C"}])
def update_of_an_entity_by_key_some_of_which_are_not_there() -> Any:
    return update(Invoice)


@write(only="postgresql")
def delete_of_an_entity_using_another() -> Any:
    return delete(Line).where(Line.invoice_id == Invoice.id, Invoice.paid).execution_options(synchronize_session=False)


@write()
def delete_of_an_entity_where_related() -> Any:
    return (
        delete(Line)
        .where(Line.invoice.has(Invoice.paid))
        .returning(Line.position)
        .execution_options(synchronize_session="fetch")
    )


@write()
def update_of_a_subclass_of_joined_inheritance() -> Any:
    return update(Person).values(nickname="x").execution_options(synchronize_session=False)


@write()
def update_of_a_template() -> Any:
    return update(Template).values(name="x").execution_options(synchronize_session="fetch")


@write()
def update_of_a_user() -> Any:
    return (
        update(User)
        .where(User.memberships.any(Membership.role == "reader"))
        .values(email="x")
        .execution_options(synchronize_session=False)
    )


@write()
def update_with_onupdate_of_an_entity() -> Any:
    return update(Task).values(title="x").returning(Task.touched)


@write()
def delete_of_an_entity_with_two_conditions() -> Any:
    return delete(Label).where(and_(Label.active, Label.colour == literal_column("'red'")))
