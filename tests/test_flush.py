"""The unit of work: objects get their tenant, keep it, and what a flush writes is the tenant's own."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, create_engine, delete, event, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SAWarning
from sqlalchemy.orm import Session, load_only, make_transient, make_transient_to_detached
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from partywall import ForeignTenantError, NoTenantError, RefusedStatementError, TenantChangedError, tenant, unscoped
from tests import write_models
from tests.models import Comment, Country, Customer, Invoice, Membership, Person, Tag, Template, Tenant, Ticket, User
from tests.recorder import Recorder
from tests.write_models import Account, Project, Task
from tests.write_world import WriteWorld, opened_for_writes, picture_of, rows_in, session_of
from tests.writes import INVOICE

__all__ = ["opened_for_writes"]  # a fixture


@pytest.fixture
def session(world: WriteWorld) -> Iterator[Session]:
    """Return a Session of tenant 1; what it commits is rolled back."""
    with session_of(world.many, 1) as opened:
        yield opened


def owner_of(session: Session, table: str, **wanted: Any) -> list[Any]:
    """Return the tenants of the rows that hold some values, looked up past the wall."""
    return sorted(row["tenant_id"] for row in rows_in(session, table) if wanted.items() <= row.items())


def detached(world: WriteWorld, entity: Any = Invoice, key: Any = 201) -> Any:
    """Return an object as a Session of tenant 2 leaves it behind."""
    with tenant(2), Session(world.many, expire_on_commit=False) as other:
        found = other.get_one(entity, key)
        other.commit()
    return found


# Objects get their tenant.


def test_a_new_object_has_its_tenant_as_soon_as_it_is_added(session: Session) -> None:
    ticket = Ticket(number=9, title="nine")

    session.add(ticket)

    assert ticket.tenant_id == 1


def test_a_new_object_has_its_tenant_in_the_database(session: Session) -> None:
    session.add_all([Ticket(number=number, title="new") for number in range(10, 60)])
    session.flush()

    assert owner_of(session, "tickets", title="new") == [1] * 50


def test_a_new_object_that_comes_by_a_cascade_has_its_tenant(session: Session) -> None:
    ticket = session.get_one(Ticket, (1, 1))
    ticket.comments.append(comment := Comment(position=9, body="new"))

    assert comment.tenant_id == 1
    session.flush()
    assert owner_of(session, "comments", body="new") == [1]


def test_a_graph_of_new_objects_has_its_tenant_in_every_table(session: Session) -> None:
    customer = Customer(
        id=9001,
        name="new",
        invoices=[Invoice(**INVOICE)],
        tags=[Tag(id=9001, name="new"), session.get_one(Tag, 101)],
        memberships=[Membership(user=User(id=9, email="new"), role="new")],
    )
    session.add(customer)
    session.flush()

    assert owner_of(session, "customers", name="new") == [1]
    assert owner_of(session, "invoices", customer_id=9001) == [1]
    assert owner_of(session, "customer_tags", customer_id=9001) == [1, 1]
    assert owner_of(session, "memberships", role="new") == [1]


def test_both_tables_of_joined_inheritance_have_the_tenant(session: Session) -> None:
    session.add(Person(id=9001, name="a", nickname="b"))
    session.flush()

    assert owner_of(session, "parties", id=9001) == [1]
    assert owner_of(session, "persons", id=9001) == [1]


def test_an_attribute_of_another_name_than_the_column_is_filled(session: Session) -> None:
    project = Project(id=9001, name="new", tasks=[Task(id=9001, title="x")])
    session.add(project)

    assert project.owner == 1
    session.flush()
    assert owner_of(session, "projects", id=9001) == owner_of(session, "tasks", id=9001) == [1]


def test_a_new_row_beside_shared_rows_is_the_tenants(session: Session) -> None:
    session.add(template := Template(id=9001, name="new"))
    session.flush()

    assert template.tenant_id == 1
    assert owner_of(session, "templates", id=9001) == [1]


def test_a_tenant_that_is_set_to_none_is_filled(session: Session) -> None:
    session.add_all([Ticket(tenant_id=None, number=9, title="new"), Template(id=9001, tenant_id=None, name="new")])
    session.flush()

    assert owner_of(session, "tickets", title="new") == owner_of(session, "templates", name="new") == [1]


def test_a_tenant_that_is_set_to_none_after_it_was_added_is_filled_at_flush(session: Session) -> None:
    session.add(ticket := Ticket(number=9, title="new"))
    ticket.tenant_id = None  # type: ignore[assignment]  # as a careless application does
    session.flush()

    assert owner_of(session, "tickets", title="new") == [1]


def test_an_object_added_before_its_tenant_is_known_is_filled_at_flush(world: WriteWorld) -> None:
    with Session(world.many) as session:
        session.add(ticket := Ticket(number=9, title="new"))
        before: Any = ticket.tenant_id
        with tenant(1):
            session.flush()
            assert (before, ticket.tenant_id) == (None, 1)
            assert owner_of(session, "tickets", title="new") == [1]


def test_autoflush_fills(session: Session) -> None:
    session.add(Ticket(number=9, title="new"))

    assert session.scalar(select(func.count()).select_from(Ticket)) == 4
    assert owner_of(session, "tickets", title="new") == [1]


def test_a_session_that_was_given_its_tenant_fills_with_no_scope_around(world: WriteWorld) -> None:
    with write_models.tenancy().session(world.many, tenant=2) as session:
        session.add(ticket := Ticket(number=9, title="new"))
        session.flush()
        assert ticket.tenant_id == 2
        assert owner_of(session, "tickets", title="new") == [2]


def test_a_filled_key_is_the_identity_of_the_object(session: Session) -> None:
    session.add(ticket := Ticket(number=9, title="new"))
    session.flush()

    assert session.get(Ticket, (1, 9)) is ticket
    assert session.get(Ticket, (2, 1)) is None
    session.expire(ticket)
    assert (ticket.tenant_id, ticket.number) == (1, 9)


def test_objects_that_listeners_add_during_the_flush_are_filled(session: Session) -> None:
    def log(flushed: Session, context: Any, instances: Any) -> None:
        flushed.add(Ticket(number=50, title="log"))

    event.listen(session, "before_flush", log, once=True)
    session.add(Ticket(number=9, title="new"))
    session.flush()

    assert owner_of(session, "tickets", title="log") == [1]


def test_statements_of_mapper_listeners_are_scoped(session: Session) -> None:
    def touch(mapper: Any, connection: Connection, target: Any) -> None:
        connection.execute(insert(Ticket).values(number=50, title="log"))
        connection.execute(update(Ticket).values(title="touched"))

    event.listen(Tag, "after_insert", touch)
    try:
        session.add(Tag(id=9001, name="new"))
        session.flush()
    finally:
        event.remove(Tag, "after_insert", touch)

    assert owner_of(session, "tickets", title="touched") == [1, 1, 1, 1]


def test_the_criterion_stands_in_what_a_flush_sends(session: Session, world: WriteWorld) -> None:
    invoice = session.scalars(select(Invoice).options(load_only(Invoice.total)).where(Invoice.id == 101)).one()
    with Recorder(world.many) as sent:
        invoice.total = 0
        session.flush()
        session.delete(session.get_one(Account, (1, "cash")).transfers[0])
        session.flush()

    written = [statement for statement in sent.statements if statement.startswith(("UPDATE", "DELETE"))]
    assert len(written) == 2
    assert "WHERE invoices.tenant_id = " in written[0]
    assert "WHERE transfers.tenant_id = " in written[1]


# Objects keep their tenant.


def test_an_object_may_name_the_own_tenant(session: Session) -> None:
    session.add(ticket := Ticket(tenant_id=1, number=9, title="new"))
    session.flush()
    ticket.tenant_id = 1
    session.flush()

    assert owner_of(session, "tickets", title="new") == [1]


def test_an_object_that_names_another_tenant_is_refused_when_it_is_added(session: Session) -> None:
    with pytest.raises(ForeignTenantError) as caught:
        session.add(Ticket(tenant_id=2, number=9, title="new"))

    assert caught.value.tables == ("tickets",)
    assert not session.new


def test_an_object_that_names_another_tenant_after_it_was_added_is_refused_at_flush(session: Session) -> None:
    session.add(ticket := Ticket(number=9, title="new"))
    ticket.tenant_id = 2

    with pytest.raises(ForeignTenantError):
        session.flush()
    session.rollback()
    assert owner_of(session, "tickets", title="new") == []


def test_a_listener_cannot_give_an_object_to_another_tenant(session: Session) -> None:
    def give(mapper: Any, connection: Connection, target: Any) -> None:
        target.tenant_id = 2

    event.listen(Ticket, "before_insert", give)
    try:
        session.add(Ticket(number=9, title="new"))
        with pytest.raises(ForeignTenantError):
            session.flush()
    finally:
        event.remove(Ticket, "before_insert", give)
    session.rollback()
    assert owner_of(session, "tickets", title="new") == []


def test_a_row_cannot_be_moved_to_another_tenant(session: Session) -> None:
    session.get_one(Invoice, 101).tenant_id = 2

    with pytest.raises(ForeignTenantError):
        session.flush()
    session.rollback()
    assert owner_of(session, "invoices", id=101) == [1]


def test_a_row_cannot_be_given_to_all_tenants(session: Session) -> None:
    session.scalars(select(Template).where(Template.id == 101)).one().tenant_id = None

    with pytest.raises(ForeignTenantError):
        session.flush()
    session.rollback()
    assert owner_of(session, "templates", id=101) == [1]


def test_a_row_cannot_be_moved_by_its_primary_key(session: Session) -> None:
    session.get_one(Account, (1, "cash")).tenant_id = 2

    with pytest.raises(ForeignTenantError):
        session.flush()
    session.rollback()
    assert owner_of(session, "accounts", code="cash") == [1, 2, 3]


def test_a_refused_flush_stores_nothing_of_it(session: Session) -> None:
    session.add_all([Ticket(number=number, title="new") for number in (10, 11, 12)])
    session.add(foreign := Ticket(number=13, title="new"))
    foreign.tenant_id = 3

    with pytest.raises(ForeignTenantError):
        session.flush()
    session.rollback()
    assert owner_of(session, "tickets", title="new") == []


def test_a_session_goes_on_after_a_refusal(session: Session) -> None:
    session.add(Ticket(number=9, title="kept"))
    with pytest.raises(ForeignTenantError):
        session.add(Ticket(tenant_id=2, number=10, title="lost"))
    session.commit()
    session.add(moved := Ticket(number=10, title="lost"))
    moved.tenant_id = 2
    with pytest.raises(ForeignTenantError):
        session.commit()
    session.rollback()
    session.add(Ticket(number=11, title="kept"))
    session.commit()

    assert owner_of(session, "tickets", title="kept") == [1, 1]
    assert owner_of(session, "tickets", title="lost") == []


def test_a_session_of_one_tenant_writes_nothing_in_the_scope_of_another(session: Session) -> None:
    session.get_one(Ticket, (1, 1))
    with tenant(2):
        with pytest.raises((ForeignTenantError, TenantChangedError)):
            session.add(Ticket(number=9, title="new"))
            session.flush()
    session.rollback()

    assert owner_of(session, "tickets", title="new") == []


def test_with_no_tenant_nothing_is_flushed(world: WriteWorld) -> None:
    with session_of(world.many, None) as session:
        session.add(Ticket(tenant_id=1, number=9, title="new"))
        with pytest.raises(NoTenantError):
            session.flush()
        session.rollback()
        session.add(User(id=9, email="new"))
        session.flush()


def test_an_object_of_one_tenant_added_with_no_tenant_is_refused_when_another_flushes_it(world: WriteWorld) -> None:
    with Session(world.many) as session:
        session.add(Ticket(tenant_id=1, number=9, title="new"))
        with tenant(2), pytest.raises(ForeignTenantError):
            session.flush()
        session.rollback()
    assert picture_of(world.plain).of(2) == picture_of(world.twins[2].alone).of(2)


# Objects of another tenant.


def test_a_detached_object_is_refused(session: Session, world: WriteWorld) -> None:
    with pytest.raises(ForeignTenantError):
        session.add(detached(world))


def test_a_detached_object_is_taken_back_by_its_own_tenant(session: Session, world: WriteWorld) -> None:
    session.close()
    with session_of(world.many, 2) as other:
        other.add(invoice := detached(world))
        invoice.number = "changed"
        other.flush()
        assert owner_of(other, "invoices", number="changed") == [2]


def test_a_pickled_object_is_refused(session: Session, world: WriteWorld) -> None:
    copied = pickle.loads(pickle.dumps(detached(world)))  # noqa: S301  # our own

    for refuse in (session.add, session.delete):
        with pytest.raises(ForeignTenantError):
            refuse(copied)


@pytest.mark.parametrize(("entity", "key"), [(Invoice, 201), (Ticket, (2, 1)), (Person, 201)])
def test_a_merged_object_is_refused_before_it_is_stored(
    session: Session, world: WriteWorld, entity: Any, key: Any
) -> None:
    with pytest.raises(ForeignTenantError):
        session.merge(detached(world, entity, key))
        session.flush()
    session.rollback()

    assert session.get(entity, key) is None


def test_an_object_merged_without_loading_is_refused(session: Session, world: WriteWorld) -> None:
    with pytest.raises(ForeignTenantError):
        session.merge(detached(world), load=False)


def test_a_related_object_is_refused(session: Session, world: WriteWorld) -> None:
    own = session.get_one(Customer, 101)
    with pytest.raises(ForeignTenantError):
        own.invoices.append(detached(world))
        session.flush()
    session.rollback()
    with pytest.raises(ForeignTenantError):
        own.tags.append(detached(world, Tag))
        session.flush()
    session.rollback()

    assert {row["customer_id"] for row in rows_in(session, "invoices") if row["id"] == 201} == {201}


def test_a_new_object_with_related_ones_of_another_tenant_is_refused(session: Session, world: WriteWorld) -> None:
    with pytest.raises(ForeignTenantError):
        session.add(Customer(id=9001, name="new", parent=detached(world, Customer)))
        session.flush()
    session.rollback()

    assert owner_of(session, "customers", name="new") == []


def test_an_object_made_transient_keeps_its_tenant(session: Session, world: WriteWorld) -> None:
    ticket = detached(world, Ticket, (2, 1))
    make_transient(ticket)

    with pytest.raises(ForeignTenantError):
        session.add(ticket)


def test_an_object_made_transient_can_be_given_up_by_its_tenant(session: Session, world: WriteWorld) -> None:
    ticket = detached(world, Ticket, (2, 1))
    make_transient(ticket)
    ticket.tenant_id, ticket.number, ticket.title = None, 9, "copied"
    session.add(ticket)
    session.flush()

    assert owner_of(session, "tickets", title="copied") == [1]


@pytest.mark.parametrize("given", [{}, {"tenant_id": 1}])
def test_an_object_that_hides_its_tenant_updates_nothing(session: Session, given: dict[str, int]) -> None:
    invoice = Invoice(id=201, **given)
    make_transient_to_detached(invoice)
    session.add(invoice)
    invoice.total = 0

    with pytest.raises((StaleDataError, ObjectDeletedError)):
        session.flush()
    session.rollback()
    assert 0 not in {row["total"] for row in rows_in(session, "invoices")}


@pytest.mark.parametrize("given", [{}, {"tenant_id": 1}])
def test_an_object_that_hides_its_tenant_deletes_nothing(session: Session, given: dict[str, int]) -> None:
    tag = Tag(id=201, **given)
    make_transient_to_detached(tag)

    with pytest.raises((StaleDataError, SAWarning, ObjectDeletedError)), warnings.catch_warnings():
        warnings.simplefilter("error")
        session.delete(tag)
        session.flush()
    session.rollback()
    assert owner_of(session, "tags", id=201) == [2]


def test_an_object_that_hides_its_tenant_loads_nothing(session: Session) -> None:
    invoice = Invoice(id=201)
    make_transient_to_detached(invoice)
    session.add(invoice)

    with pytest.raises(ObjectDeletedError):
        _ = invoice.total


def test_an_object_saved_in_bulk_changes_no_row_of_another_tenant(session: Session, world: WriteWorld) -> None:
    invoice = detached(world)
    invoice.total = 0

    with pytest.raises((ForeignTenantError, StaleDataError)):
        session.bulk_save_objects([invoice])
    session.rollback()
    assert 0 not in {row["total"] for row in rows_in(session, "invoices")}


# Rows that are not there, or not as they were.


@contextmanager
def committed(world: WriteWorld) -> Iterator[None]:
    """Let a test commit, and clean up what it may have left."""
    before = picture_of(world.plain)
    try:
        yield
    finally:
        with world.plain.begin() as connection:
            connection.execute(delete(Account).where(Account.code.not_in(["cash", "bank"])))
            connection.execute(delete(Project).where(Project.id > 9000))
        assert picture_of(world.plain) == before


def test_a_row_that_its_own_tenant_has_changed_meanwhile_is_stale(world: WriteWorld) -> None:
    with committed(world), tenant(1), Session(world.many) as first, Session(world.many) as second:
        first.add(Project(id=9001, name="new"))
        first.commit()
        mine, theirs = (each.get_one(Project, 9001) for each in (first, second))
        assert (mine.version, theirs.version) == (1, 1)
        second.commit()
        theirs.name = "second"
        second.commit()
        mine.name = "first"
        with pytest.raises(StaleDataError):
            first.commit()
        first.rollback()
        assert (mine.version, mine.name) == (2, "second")


def test_a_version_that_is_behind_is_stale(session: Session) -> None:
    project = session.get_one(Project, 101)
    session.execute(update(Project).values(version=5).execution_options(synchronize_session=False))
    project.name = "changed"

    with pytest.raises(StaleDataError):
        session.flush()
    session.rollback()
    assert owner_of(session, "projects", name="changed") == []


def test_versions_are_counted_in_the_own_rows_alone(session: Session) -> None:
    account = session.get_one(Account, (1, "cash"))
    for balance in (1, 2, 3):
        account.balance = balance
        session.flush()

    versions = {row["tenant_id"]: row["version"] for row in rows_in(session, "accounts") if row["code"] == "cash"}
    assert versions == {1: 4, 2: 1, 3: 1}


def test_a_row_that_was_deleted_meanwhile_is_stale(session: Session) -> None:
    ticket = session.get_one(Ticket, (1, 3))
    session.execute(delete(Ticket).where(Ticket.number == 3).execution_options(synchronize_session=False))
    ticket.title = "changed"

    with pytest.raises(StaleDataError):
        session.flush()
    session.rollback()
    assert owner_of(session, "tickets", number=3) == [1, 2, 3]


def test_a_shared_row_is_read_and_not_changed(session: Session) -> None:
    template = session.get_one(Template, 1)
    template.name = "stolen"

    with pytest.raises(StaleDataError):
        session.flush()
    session.rollback()
    assert session.get_one(Template, 1).name == "for everybody"


def test_an_object_of_a_shared_table_is_read_and_not_written(session: Session) -> None:
    session.get_one(Country, "de").name = "stolen"
    with pytest.raises(RefusedStatementError):
        session.flush()
    session.rollback()
    session.add(Country(code="xx", name="new"))
    with pytest.raises(RefusedStatementError):
        session.flush()
    session.rollback()
    session.delete(session.get_one(Country, "fr"))
    with pytest.raises(RefusedStatementError):
        session.flush()


def test_a_tenant_does_not_change_its_own_row_of_the_tenants_table(session: Session) -> None:
    session.get_one(Tenant, 1).plan = "free"

    with pytest.raises(RefusedStatementError):
        session.flush()


# Cascades.


def test_a_cascade_deletes_no_row_of_another_tenant(session: Session) -> None:
    """A task of another tenant points at this project."""
    before = {row["id"] for row in rows_in(session, "tasks") if row["project_id"] == 101}
    session.delete(session.get_one(Project, 101))
    session.flush()

    left = {row["id"]: row["tenant_id"] for row in rows_in(session, "tasks") if row["project_id"] == 101}
    assert set(left.values()) == {3}
    assert before - left.keys() == {101, 102}


def test_a_cascade_blanks_no_key_of_another_tenant(session: Session) -> None:
    """An invoice of another tenant points at this customer."""
    customer = session.get_one(Customer, 101)
    customer.tags.clear()
    for each in (*customer.children, *customer.memberships):
        session.delete(each)
    session.flush()
    session.expire(customer)
    session.delete(customer)
    session.flush()

    pointing = [row["tenant_id"] for row in rows_in(session, "invoices") if row["customer_id"] == 101]
    assert pointing == [3]


def test_removing_association_rows_leaves_those_of_another_tenant(session: Session) -> None:
    """Another tenant holds a tag of this customer."""
    before = [row for row in rows_in(session, "customer_tags") if row["tenant_id"] != 1]
    for customer in session.scalars(select(Customer)):
        customer.tags.clear()
    session.flush()

    assert [row for row in rows_in(session, "customer_tags") if row["tenant_id"] != 1] == before


def test_a_key_that_changes_takes_its_own_rows_along(session: Session) -> None:
    account = session.get_one(Account, (1, "cash"))
    account.code = "purse"
    session.flush()

    moved = [row["tenant_id"] for row in rows_in(session, "transfers") if row["account_code"] == "purse"]
    assert moved == [1]
    assert owner_of(session, "accounts", code="cash") == [2, 3]


def test_a_deleted_object_replaced_by_a_new_one_of_its_key_is_updated(session: Session) -> None:
    session.delete(session.get_one(Account, (1, "bank")))
    with pytest.raises(AssertionError, match="blank-out primary key"):
        session.flush()
    session.rollback()
    session.execute(delete(Comment))
    session.delete(session.get_one(Ticket, (1, 2)))
    session.add(Ticket(number=2, title="replaced"))
    session.flush()

    assert owner_of(session, "tickets", number=2) == [1, 2, 3]
    assert owner_of(session, "tickets", title="replaced") == [1]


# Unscoped.


def test_an_unscoped_session_flushes_objects_of_several_tenants(world: WriteWorld) -> None:
    with unscoped(reason="test"), session_of(world.many, None) as session:
        session.add_all([Ticket(tenant_id=owner, number=9, title="new") for owner in (1, 2, 3)])
        session.get_one(Invoice, 201).tenant_id = 3
        session.flush()
        assert owner_of(session, "tickets", title="new") == [1, 2, 3]
        assert owner_of(session, "invoices", id=201) == [3]


def test_an_unscoped_session_fills_nothing(world: WriteWorld) -> None:
    with unscoped(reason="test"), session_of(world.many, None) as session:
        session.add(tag := Tag(id=9001, name="new"))
        with pytest.raises(IntegrityError):
            session.flush()
        assert tag.tenant_id is None


def test_an_engine_that_is_not_guarded_is_left_alone(world: WriteWorld) -> None:
    engine = create_engine(world.url)
    try:
        with tenant(1), Session(engine) as session:
            session.add(ticket := Ticket(tenant_id=2, number=9, title="new"))
            session.flush()
            assert ticket.tenant_id == 2
    finally:
        engine.dispose()


def test_a_second_guarded_engine_fills_too(world: WriteWorld) -> None:
    other = write_models.tenancy().guard(create_engine(world.url))
    try:
        with tenant(1), Session(other) as session:
            session.add(ticket := Ticket(number=9, title="new"))
            session.flush()
            assert ticket.tenant_id == 1
    finally:
        other.dispose()
