"""One unit of work of every kind the ORM has, as an application writes it, turned into plain data; part of WRITES."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

from sqlalchemy import delete, func, insert, inspect, select, update
from sqlalchemy.orm import Session, make_transient, selectinload

from tests.models import (
    Comment,
    Company,
    Contract,
    Customer,
    Document,
    Invoice,
    Line,
    Membership,
    Memo,
    Party,
    Person,
    Tag,
    Template,
    Ticket,
    User,
)
from tests.write_models import Account, Event, Node, Project, Receipt, Task, Transfer
from tests.writes import A_DAY, work

Rows = Iterable[Any]


def one(session: Session, entity: Any, **wanted: Any) -> Any:
    """Return the first object of a class, by the values of its attributes."""
    statement = select(entity).filter_by(**wanted).order_by(*inspect(entity).primary_key)
    return session.scalars(statement).first()


def invoice(number: int, **more: Any) -> Invoice:
    return Invoice(id=9000 + number, number=f"N-{number}", total=number, issued=A_DAY, paid=False, data={}, **more)


# Add.


@work()
def add_an_object(session: Session) -> Rows:
    session.add(Ticket(number=9, title="nine"))
    return []


@work()
def add_many_objects(session: Session) -> Rows:
    session.add_all([Ticket(number=number, title=f"ticket {number}") for number in range(10, 40)])
    session.flush()
    return [session.scalar(select(func.count()).select_from(Ticket))]


@work(generated=["id"])
def add_objects_with_generated_keys(session: Session) -> Rows:
    tags = [Tag(name=f"new {number}") for number in range(5)]
    session.add_all(tags)
    session.flush()
    return [(tag.id > 0, tag.name) for tag in tags]


@work(generated=["id"])
def add_an_object_that_the_database_fills(session: Session) -> Rows:
    event = Event()
    session.add(event)
    session.flush()
    return [event.kind]


@work()
def add_an_object_with_an_expression(session: Session) -> Rows:
    ticket: Any = Ticket(number=9)
    ticket.title = func.upper("nine")
    session.add(ticket)
    session.commit()
    return [ticket.title]


@work()
def add_an_object_with_an_expression_that_reads_the_table(session: Session) -> Rows:
    ticket: Any = Ticket(title="next")
    ticket.number = select(func.max(Ticket.number) + 1).scalar_subquery()
    session.add(ticket)
    session.flush()
    return [ticket.number]


@work()
def add_an_object_with_defaults(session: Session) -> Rows:
    task = Task(id=9001, title="WITH Defaults")
    session.add(task)
    session.flush()
    return [(task.slug, task.priority, task.effort, task.state, task.touched)]


@work()
def add_an_object_whose_default_reads_the_table(session: Session) -> Rows:
    receipt = Receipt(id=9001, total=1)
    session.add(receipt)
    session.flush()
    return [receipt.number]


@work()
def add_an_object_of_joined_inheritance(session: Session) -> Rows:
    session.add_all([Person(id=9001, name="a", nickname="b"), Company(id=9002, name="c", vat="d")])
    session.commit()
    return [(each.kind, each.name) for each in session.scalars(select(Party).where(Party.id > 9000))]


@work()
def add_an_object_of_single_inheritance(session: Session) -> Rows:
    session.add_all([Contract(id=9001, title="a", signed=True), Memo(id=9002, title="b")])
    session.flush()
    return session.execute(select(Document.type, Document.title)).all()


@work()
def add_an_object_that_is_there(session: Session) -> Rows:
    session.add(Ticket(number=1, title="again"))
    session.flush()
    return []


@work()
def add_to_a_shared_writable_table(session: Session) -> Rows:
    session.add(User(id=9, email="new@example.org"))
    session.flush()
    return session.scalars(select(User.email)).all()


@work()
def add_to_a_table_with_shared_rows(session: Session) -> Rows:
    session.add(Template(id=9001, name="own"))
    session.flush()
    return session.scalars(select(Template.name)).all()


@work()
def add_in_a_savepoint_that_fails(session: Session) -> Rows:
    session.add(Ticket(number=9, title="stays"))
    savepoint = session.begin_nested()
    session.add(Ticket(number=10, title="goes"))
    session.flush()
    savepoint.rollback()
    return session.scalars(select(Ticket.number)).all()


@work()
def add_and_expunge(session: Session) -> Rows:
    ticket = Ticket(number=9, title="nine")
    session.add(ticket)
    session.expunge(ticket)
    return []


@work()
def add_what_was_copied(session: Session) -> Rows:
    ticket = one(session, Ticket, number=2)
    assert ticket.title
    session.expunge(ticket)
    make_transient(ticket)
    ticket.number = 9
    session.add(ticket)
    session.flush()
    return session.scalars(select(Ticket.number)).all()


# Change.


@work()
def change_an_object(session: Session) -> Rows:
    one(session, Ticket, number=1).title = "changed"
    return []


@work()
def change_many_objects(session: Session) -> Rows:
    for invoice_ in session.scalars(select(Invoice)):
        invoice_.total += 1
    session.flush()
    return session.execute(select(Invoice.number, Invoice.total)).all()


@work()
def change_objects_in_different_columns(session: Session) -> Rows:
    first, second, third, *_ = session.scalars(select(Invoice).order_by(Invoice.id))
    first.number, second.total, third.data = "changed", 0, {"kind": "changed"}
    return []


@work()
def change_to_an_expression(session: Session) -> Rows:
    changed = one(session, Invoice, number="R-1")
    changed.total = Invoice.total + 1
    session.flush()
    return [changed.total]


@work()
def change_to_an_expression_that_reads_the_table(session: Session) -> Rows:
    changed = one(session, Ticket, number=1)
    changed.title = select(func.max(Customer.name)).scalar_subquery()
    session.flush()
    return [changed.title]


@work()
def change_a_deferred_column(session: Session) -> Rows:
    one(session, Customer, name="customer 1").remark = "changed"
    return []


@work()
def change_with_onupdate(session: Session) -> Rows:
    task = one(session, Task, title="Task 1")
    task.title = "changed"
    session.flush()
    return [(task.touched, task.changes)]


@work()
def change_with_onupdate_that_reads_the_table(session: Session) -> Rows:
    receipt = one(session, Receipt, total=1)
    receipt.remark = "changed"
    session.flush()
    return [receipt.total]


@work()
def change_what_is_counted_by_version(session: Session) -> Rows:
    project = one(session, Project, name="project 1")
    project.name = "changed"
    session.flush()
    project.name = "again"
    session.flush()
    return [project.version]


@work()
def change_both_tables_of_joined_inheritance(session: Session) -> Rows:
    person = one(session, Person, name="person 1")
    person.name, person.nickname = "changed", "changed too"
    return []


@work()
def change_a_shared_writable_object(session: Session) -> Rows:
    one(session, User, id=1).email = "changed@example.org"
    return []


@work()
def change_an_own_template(session: Session) -> Rows:
    one(session, Template, name="own template").name = "changed"
    return []


@work()
def change_a_template_of_all_tenants(session: Session) -> Rows:
    one(session, Template, name="for everybody").name = "stolen"
    session.flush()
    return []


@work()
def change_and_roll_back(session: Session) -> Rows:
    ticket = one(session, Ticket, number=1)
    ticket.title = "changed"
    session.flush()
    session.rollback()
    return [ticket.title]


@work()
def change_a_primary_key(session: Session) -> Rows:
    ticket = Ticket(number=9, title="nine")
    session.add(ticket)
    session.flush()
    ticket.number = 33
    session.flush()
    return [ticket.number]


@work()
def change_a_primary_key_that_others_refer_to(session: Session) -> Rows:
    account = one(session, Account, code="cash")
    account.code = "purse"
    session.flush()
    return session.execute(select(Transfer.number, Transfer.account_code)).all()


@work()
def change_what_somebody_else_has_deleted(session: Session) -> Rows:
    ticket = one(session, Ticket, number=3)
    session.execute(delete(Ticket).where(Ticket.number == 3).execution_options(synchronize_session=False))
    ticket.title = "changed"
    session.flush()
    return []


@work()
def change_what_somebody_else_has_changed(session: Session) -> Rows:
    project = one(session, Project, name="project 1")
    session.execute(update(Project).values(version=7).execution_options(synchronize_session=False))
    project.name = "changed"
    session.flush()
    return []


# Delete.


@work()
def delete_an_object(session: Session) -> Rows:
    session.delete(one(session, Line, amount=1))
    return []


@work()
def delete_many_objects(session: Session) -> Rows:
    for line in session.scalars(select(Line)):
        session.delete(line)
    session.flush()
    return [session.scalar(select(func.count()).select_from(Line))]


@work()
def delete_what_others_refer_to(session: Session) -> Rows:
    session.delete(one(session, Customer, name="customer 3"))
    session.flush()
    return session.execute(select(Invoice.number, Invoice.customer_id)).all()


@work()
def delete_with_its_cascade(session: Session) -> Rows:
    session.delete(one(session, Project, name="project 1"))
    session.flush()
    return session.scalars(select(Task.title)).all()


@work()
def delete_an_orphan(session: Session) -> Rows:
    project = one(session, Project, name="project 1")
    project.tasks.remove(project.tasks[0])
    session.flush()
    return [len(project.tasks)]


@work()
def delete_an_object_of_joined_inheritance(session: Session) -> Rows:
    session.delete(one(session, Person, name="person 1"))
    return []


@work()
def delete_an_object_of_single_inheritance(session: Session) -> Rows:
    session.delete(one(session, Memo))
    return []


@work()
def delete_a_shared_writable_object(session: Session) -> Rows:
    user = User(id=9, email="new")
    session.add(user)
    session.flush()
    session.delete(user)
    return []


@work()
def delete_a_tree(session: Session) -> Rows:
    root = session.scalars(select(Node).where(Node.children.any())).one()
    session.delete(root)
    session.flush()
    return [session.scalar(select(func.count()).select_from(Node))]


# Relationships.


@work()
def relate_new_to_new(session: Session) -> Rows:
    customer = Customer(id=9001, name="new", invoices=[invoice(1), invoice(2)])
    customer.invoices[0].lines.append(Line(position=1, amount=5))
    session.add(customer)
    session.commit()
    return [(each.number, len(each.lines)) for each in customer.invoices]


@work(generated=["id", "customer_id", "tag_id"])
def relate_new_to_new_with_generated_keys(session: Session) -> Rows:
    tag = Tag(name="new", customers=[Customer(name="a"), Customer(name="b")])
    session.add(tag)
    session.flush()
    return [(each.id > 0, each.name) for each in tag.customers]


@work()
def relate_new_to_old(session: Session) -> Rows:
    customer = one(session, Customer, name="customer 1")
    customer.invoices.append(invoice(1))
    return []


@work()
def relate_by_the_other_side(session: Session) -> Rows:
    new = invoice(1, customer=one(session, Customer, name="customer 1"))
    session.add(new)
    session.flush()
    return [new.customer_id]


@work()
def relate_old_to_another(session: Session) -> Rows:
    moved = one(session, Invoice, number="R-1")
    moved.customer = one(session, Customer, name="customer 4")
    session.flush()
    return [moved.customer_id]


@work()
def relate_to_nothing(session: Session) -> Rows:
    one(session, Customer, name="customer 1").invoices = []
    return []


@work()
def relate_what_points_across_to_an_own_object(session: Session) -> Rows:
    poisoned = one(session, Invoice, number="R-6")
    before = poisoned.customer
    poisoned.customer = one(session, Customer, name="customer 1")
    return [before]


@work()
def relate_in_a_key_with_the_tenant(session: Session) -> Rows:
    ticket = one(session, Ticket, number=1)
    ticket.comments.append(Comment(position=9, body="new"))
    session.add(Ticket(number=9, title="new", comments=[Comment(position=1, body="a"), Comment(position=2, body="b")]))
    session.flush()
    return session.execute(select(Comment.ticket_number, Comment.position)).all()


@work()
def relate_to_a_shared_object(session: Session) -> Rows:
    membership = Membership(user=one(session, User, id=2), customer=one(session, Customer, name="customer 4"), role="x")
    session.add(membership)
    return []


@work()
def relate_through_an_association_object(session: Session) -> Rows:
    customer = one(session, Customer, name="customer 4")
    customer.memberships.append(Membership(user_id=1, role="x"))
    session.flush()
    return [user.id for user in customer.users]


@work()
def relate_with_post_update(session: Session) -> Rows:
    child = Node(id=9002)
    session.add(Node(id=9001, children=[child], favourite=child))
    session.flush()
    return session.execute(select(Node.id, Node.favourite_id)).all()


@work()
def add_an_association_row(session: Session) -> Rows:
    customer = one(session, Customer, name="customer 4")
    customer.tags.append(one(session, Tag, name="tag 4"))
    return []


@work()
def add_association_rows_to_new_objects(session: Session) -> Rows:
    customer = one(session, Customer, name="customer 4")
    customer.tags = [Tag(id=9001, name="a"), Tag(id=9002, name="b"), one(session, Tag, name="tag 1")]
    session.commit()
    return [tag.name for tag in customer.tags]


@work()
def remove_an_association_row(session: Session) -> Rows:
    customer = one(session, Customer, name="customer 1")
    customer.tags.pop()
    session.flush()
    return [tag.name for tag in customer.tags]


@work()
def replace_association_rows(session: Session) -> Rows:
    customer = session.scalars(
        select(Customer).where(Customer.name == "customer 1").options(selectinload(Customer.tags))
    ).one()
    customer.tags = [one(session, Tag, name="tag 4")]
    return []


@work()
def delete_an_object_with_association_rows(session: Session) -> Rows:
    session.delete(one(session, Tag, name="tag 2"))
    return []


# Merge.


@work()
def merge_what_is_there(session: Session) -> Rows:
    key = session.scalars(select(Customer.id).where(Customer.name == "customer 1")).one()
    session.merge(Customer(id=key, name="merged"))
    return []


@work()
def merge_what_is_not_there(session: Session) -> Rows:
    merged = session.merge(Customer(id=9001, name="merged"))
    session.flush()
    return [merged.name]


@work()
def merge_with_related_objects(session: Session) -> Rows:
    merged = session.merge(Customer(id=9001, name="merged", tags=[Tag(id=9001, name="a")], invoices=[invoice(1)]))
    session.flush()
    return [len(merged.tags), len(merged.invoices)]


@work()
def merge_what_was_pickled(session: Session) -> Rows:
    ticket = one(session, Ticket, number=1)
    data = pickle.dumps(ticket)
    session.expunge_all()
    copied = pickle.loads(data)  # noqa: S301  # our own
    copied.title = "pickled"
    session.merge(copied)
    return []


@work()
def attach_what_was_detached(session: Session) -> Rows:
    ticket = one(session, Ticket, number=1)
    session.expunge(ticket)
    ticket.title = "while away"
    session.add(ticket)
    session.flush()
    return []


# Bulk.


@work()
def bulk_save_new_objects(session: Session) -> Rows:
    session.bulk_save_objects([Ticket(number=9, title="nine"), Ticket(number=10, title="ten")])
    return []


@work(generated=["id"])
def bulk_save_new_objects_returning_defaults(session: Session) -> Rows:
    tags = [Tag(name="a"), Tag(name="b")]
    session.bulk_save_objects(tags, return_defaults=True)
    return [(tag.id > 0, tag.name) for tag in tags]


@work()
def bulk_save_changed_objects(session: Session) -> Rows:
    tickets = session.scalars(select(Ticket)).all()
    session.expunge_all()
    for ticket in tickets:
        ticket.title = f"changed {ticket.number}"
    session.bulk_save_objects(tickets)
    return []


@work()
def bulk_save_objects_of_joined_inheritance(session: Session) -> Rows:
    session.bulk_save_objects([Person(id=9001, name="a", nickname="b")])
    return []


@work()
def bulk_insert_mappings(session: Session) -> Rows:
    session.bulk_insert_mappings(inspect(Ticket), [{"number": 9, "title": "nine"}, {"number": 10, "title": "ten"}])
    return []


@work()
def bulk_insert_mappings_with_nulls(session: Session) -> Rows:
    rows = [{"id": 9001, "name": "a", "country_code": None}, {"id": 9002, "name": "b", "country_code": "de"}]
    session.bulk_insert_mappings(inspect(Customer), rows, render_nulls=True)
    return []


@work()
def bulk_update_mappings(session: Session) -> Rows:
    keys = session.scalars(select(Invoice.id)).all()
    session.bulk_update_mappings(inspect(Invoice), [{"id": key, "total": key} for key in keys])
    return []


@work()
def bulk_insert_returning_objects(session: Session) -> Rows:
    rows = [{"number": 9, "title": "nine"}, {"number": 10, "title": "ten"}]
    return [(each.number, each.title) for each in session.scalars(insert(Ticket).returning(Ticket), rows)]


@work()
def bulk_update_by_primary_key(session: Session) -> Rows:
    keys = session.scalars(select(Customer.id)).all()
    session.execute(update(Customer), [{"id": key, "name": f"customer {key}"} for key in keys])
    return []


@work()
def bulk_update_by_primary_key_of_what_is_counted_by_version(session: Session) -> Rows:
    projects = session.execute(select(Project.id, Project.version)).all()
    session.execute(update(Project), [{"id": key, "version": version, "name": "x"} for key, version in projects])
    return []


@work()
def legacy_query_update(session: Session) -> Rows:
    return [session.query(Invoice).filter(Invoice.paid).update({"total": 0}, synchronize_session="fetch")]


@work()
def legacy_query_update_of_an_expression(session: Session) -> Rows:
    query = session.query(Invoice).filter_by(number="R-1")
    return [query.update({Invoice.total: Invoice.total + 1}, synchronize_session=False)]


@work()
def legacy_query_delete(session: Session) -> Rows:
    return [session.query(Line).filter(Line.amount > 3).delete(), session.query(Template).delete()]


@work()
def update_seen_by_the_objects_in_memory(session: Session) -> Rows:
    invoices = session.scalars(select(Invoice)).all()
    session.execute(update(Invoice).where(Invoice.paid).values(number="paid"))
    return [each.number for each in invoices]


@work()
def delete_seen_by_the_objects_in_memory(session: Session) -> Rows:
    lines = session.scalars(select(Line)).all()
    session.execute(delete(Line).where(Line.amount > 3).execution_options(synchronize_session="fetch"))
    return [inspect(each).deleted for each in lines]
