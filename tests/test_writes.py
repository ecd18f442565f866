"""Every kind of write does for one tenant among many what it does for it alone, and nothing to the others."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    Table,
    bindparam,
    case,
    column,
    delete,
    func,
    insert,
    inspect,
    literal,
    literal_column,
    null,
    select,
    table,
    text,
    type_coerce,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import CompileError, IntegrityError
from sqlalchemy.orm import Session, aliased
from sqlalchemy.orm.exc import StaleDataError
from sqlalchemy.sql.elements import quoted_name

from partywall import ForeignTenantError, NoTenantError, PartywallError, RefusedStatementError, tenant, unscoped
from partywall.testing import DifferenceError
from tests import units_of_work
from tests.models import Country, Customer, Invoice, Tag, Template, Tenant, Ticket, User
from tests.recorder import Recorder
from tests.write_models import Project
from tests.write_world import (
    TWIN_TENANTS,
    Run,
    WriteWorld,
    attempt,
    check_others,
    opened_for_writes,
    picture_of,
)
from tests.writes import INVOICE, WRITES, Write, run_statement, tables

__all__ = ["opened_for_writes", "units_of_work"]  # a fixture, and what fills WRITES

customers = tables["customers"]
invoices = tables["invoices"]
tickets = tables["tickets"]
tenants = tables["tenants"]
countries = tables["countries"]

FAILING: dict[str, type[Exception]] = {
    "insert_a_key_twice": IntegrityError,
    "insert_null_where_none_may_be": IntegrityError,
    "update_to_a_key_that_is_there": IntegrityError,
    "update_of_an_entity_by_key_some_of_which_are_not_there": StaleDataError,
    "add_an_object_that_is_there": IntegrityError,
    "change_a_template_of_all_tenants": StaleDataError,
    "change_what_somebody_else_has_deleted": StaleDataError,
    "change_what_somebody_else_has_changed": StaleDataError,
}


def write_of(world: WriteWorld, name: str) -> Write:
    write = WRITES[name]
    if write.only not in (None, world.name):
        pytest.skip(f"{write.only} only")  # another database's syntax, tested there
    return write


def of_every_write(*, statements: bool = False) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("name", [name for name, write in WRITES.items() if write.build or not statements])


@of_every_write()
@pytest.mark.parametrize("tenant_id", TWIN_TENANTS)
def test_a_write_does_what_it_does_for_the_tenant_alone(world: WriteWorld, name: str, tenant_id: int) -> None:
    write = write_of(world, name)

    outcome = world.twins[tenant_id].compare(write.run, generated=write.generated)

    assert outcome.error is FAILING.get(name)


@of_every_write(statements=True)
def test_one_compiled_write_serves_all_tenants(world: WriteWorld, name: str) -> None:
    write = write_of(world, name)
    assert write.build is not None
    statement = write.build()  # the same object each time: nothing of the first tenant may stay in it

    def run(session: Session) -> Iterable[Any]:
        return run_statement(session, statement, write.parameters)

    world.many.clear_compiled_cache()  # a full one throws entries out while we count
    first, second = (world.twins[tenant_id] for tenant_id in TWIN_TENANTS)
    for _ in range(2):  # SQLAlchemy 2.1 makes two entries for some UPDATEs
        first.compare(run, generated=write.generated)
    entries = len(world.many._compiled_cache or ())
    second.compare(run, generated=write.generated)
    first.compare(run, generated=write.generated)
    assert len(world.many._compiled_cache or ()) == entries

    plain = world.attempt_plain(run, 1)
    with unscoped(reason="compare with an unguarded engine"), world.ignoring_missing_tenants():
        everything = attempt(world.many, run)
    assert everything.outcome.is_like(plain.outcome, ordered=False)
    for tenant_id in (1, 2, 3):
        assert everything.after.of(tenant_id, write.generated) == plain.after.of(tenant_id, write.generated)

    first.compare(run, generated=write.generated)


@of_every_write()
def test_with_no_tenant_only_shared_writable_tables_are_written(world: WriteWorld, name: str) -> None:
    write = write_of(world, name)

    tried = attempt(world.many, write.run)

    if name in WITHOUT_TENANT:
        assert tried.refusal is None
        check_others(tried, None)
    else:
        assert isinstance(tried.refusal, NoTenantError)
        assert tried.before == tried.after


WITHOUT_TENANT = {
    "insert_into_a_shared_writable_table",
    "insert_many_into_a_shared_writable_table",
    "upsert_into_a_shared_writable_table_on_sqlite",
    "upsert_into_a_shared_writable_table_on_postgresql",
    "update_of_a_shared_writable_table",
    "add_to_a_shared_writable_table",
    "add_and_expunge",
    "change_a_shared_writable_object",
}


# The oracle itself.


def test_the_oracle_notices_a_write_that_is_not_scoped(world: WriteWorld) -> None:
    """Without the wall, most writes differ: the rows are such that a leak has something to leak."""
    unnoticed = set()
    for name, write in WRITES.items():
        if write.only not in (None, world.name):
            continue
        leaked = world.attempt_plain(write.run, 2)
        try:
            world.twins[2].check(leaked, world.twins[2].attempt_alone(write.run), generated=write.generated)
        except DifferenceError:
            continue
        unnoticed.add(name)

    of_objects = {name for name, write in WRITES.items() if write.build is None}
    few_values = {"update_of_a_shared_writable_table_from_scoped_rows", "update_of_a_user", "update_of_nothing"}
    few_values.add("insert_ignoring_conflicts_of_the_own_key")
    assert unnoticed <= of_objects | WITHOUT_TENANT | FAILING.keys() | few_values
    assert len(unnoticed) < len(WRITES) / 4


def test_the_oracle_notices_another_tenants_row(world: WriteWorld) -> None:
    def steal(session: Session) -> Iterable[Any]:
        raw = session.connection().connection.cursor()
        raw.execute("UPDATE tickets SET title = 'stolen' WHERE tenant_id = 3 AND number = 1")
        raw.close()
        return []

    with pytest.raises(DifferenceError, match="rows of tenant 3"):
        world.twins[1].compare(steal)


def test_the_oracle_notices_a_shared_row(world: WriteWorld) -> None:
    def steal(session: Session) -> Iterable[Any]:
        raw = session.connection().connection.cursor()
        raw.execute("UPDATE countries SET name = 'stolen' WHERE code = 'de'")
        raw.close()
        return []

    with pytest.raises(DifferenceError, match="shared rows"):
        world.twins[1].compare(steal)


def test_the_oracle_notices_an_own_row_that_differs(world: WriteWorld) -> None:
    def differ(session: Session) -> Iterable[Any]:
        session.execute(insert(tickets).values(number=9, title=type(session).__name__))
        return []

    with pytest.raises(DifferenceError, match="the tenant's rows differ"):
        world.twins[1].compare(differ)


def test_the_oracle_leaves_the_databases_as_they_were(world: WriteWorld) -> None:
    before = picture_of(world.plain), picture_of(world.twins[1].alone)

    world.twins[1].compare(lambda session: run_statement(session, update(tickets).values(title="x")))
    world.twins[1].compare(WRITES["add_an_object_with_an_expression"].run)  # it commits

    assert before == (picture_of(world.plain), picture_of(world.twins[1].alone))


# Hostile writes that name another tenant: tenant 1 is in scope, and nothing is sent.


def of(build: Callable[[], Any], parameters: Any = None) -> Run:
    return lambda session: run_statement(session, build(), parameters)


def constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def thousand_rows(foreign: int, tenant_id: Any, *, own: bool) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [{"number": 100 + number, "title": "x"} for number in range(1, 1001)]
    for number, row in enumerate(rows, 1):
        if own or number == foreign:
            row["tenant_id"] = tenant_id if number == foreign else 1
    return rows


def added(*objects: Any) -> Run:
    def run(session: Session) -> None:
        session.add_all(objects)
        session.commit()

    return run


def merged(*objects: Any) -> Run:
    def run(session: Session) -> None:
        for each in objects:
            session.merge(each)
        session.flush()

    return run


def upsert_for(world: WriteWorld) -> Any:
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[world.name]


KEYED = Table("projects", MetaData(), Column("id", Integer), Column("tenant_id", Integer, key="owner"), Column("name"))

FOREIGN: dict[str, tuple[Run, int | None]] = {
    "values": (of(lambda: insert(tickets).values(tenant_id=2, number=9, title="x")), None),
    "values_by_column": (of(lambda: insert(tickets).values({tickets.c.tenant_id: 2, "number": 9, "title": "x"})), None),
    "values_by_position": (of(lambda: insert(tickets).values((2, 9, "x"))), None),
    "rows_of_values": (
        of(lambda: insert(tickets).values([{"tenant_id": owner, "number": 9, "title": "x"} for owner in (1, 2)])),
        2,
    ),
    "rows_of_values_by_position": (of(lambda: insert(tickets).values([(1, 9, "x"), (1, 10, "x"), (3, 11, "x")])), 3),
    "rows_of_values_only_one_of_which_has_it": (
        of(lambda: insert(tickets).values([{"tenant_id": 2, "number": 9, "title": "x"}, (1, 10, "x")][:1])),
        1,
    ),
    "parameters": (of(lambda: insert(tickets), {"tenant_id": 2, "number": 9, "title": "x"}), None),
    "parameters_of_row_731": (of(lambda: insert(tickets), thousand_rows(731, 2, own=True)), 731),
    "parameters_of_row_731_alone": (of(lambda: insert(tickets), thousand_rows(731, 2, own=False)), 731),
    "parameters_of_row_731_returning": (
        of(lambda: insert(tickets).returning(tickets.c.number), thousand_rows(731, 2, own=True)),
        731,
    ),
    "parameters_of_the_last_row": (of(lambda: insert(tickets), thousand_rows(1000, 3, own=True)), 1000),
    "parameters_that_are_null": (of(lambda: insert(tickets), {"tenant_id": None, "number": 9, "title": "x"}), None),
    "parameters_of_row_731_that_are_null": (of(lambda: insert(tickets), thousand_rows(731, None, own=True)), 731),
    "parameters_of_another_type": (of(lambda: insert(tickets), {"tenant_id": "1", "number": 9, "title": "x"}), None),
    "parameters_of_an_entity": (of(lambda: insert(Ticket), thousand_rows(731, 2, own=True)), 731),
    "parameters_of_an_entity_returning": (
        of(lambda: insert(Ticket).returning(Ticket.number), thousand_rows(731, 2, own=True)),
        731,
    ),
    "parameters_of_an_entity_by_attribute": (
        of(lambda: insert(Project), {"id": 9001, "owner": 2, "name": "x", "version": 1}),
        None,
    ),
    "values_of_an_entity_by_attribute": (
        of(lambda: insert(Project).values(id=9001, owner=2, name="x", version=1)),
        None,
    ),
    "values_by_the_key_of_the_column": (of(lambda: insert(KEYED).values(id=9001, owner=2, name="x")), None),
    "parameters_by_the_key_of_the_column": (of(lambda: insert(KEYED), {"id": 9001, "owner": 2, "name": "x"}), None),
    "bindparam": (
        of(lambda: insert(tickets).values(tenant_id=bindparam("t"), number=9, title="x"), {"t": 2}),
        None,
    ),
    "bindparam_of_many": (
        of(
            lambda: insert(tickets).values(tenant_id=bindparam("t"), number=bindparam("n"), title="x"),
            [{"t": 1, "n": 9}, {"t": 2, "n": 10}],
        ),
        2,
    ),
    "bindparam_with_a_value": (
        of(lambda: insert(tickets).values(tenant_id=bindparam("t", 2), number=9, title="x")),
        None,
    ),
    "bindparam_that_is_called": (
        of(lambda: insert(tickets).values(tenant_id=bindparam("t", callable_=lambda: 2), number=9, title="x")),
        None,
    ),
    "literal": (of(lambda: insert(tickets).values(tenant_id=literal(2), number=9, title="x")), None),
    "literal_with_a_label": (
        of(lambda: insert(tickets).values(tenant_id=literal(2).label("x"), number=9, title="x")),
        None,
    ),
    "literal_of_a_type": (
        of(lambda: insert(tickets).values(tenant_id=type_coerce(literal(2), Integer), number=9, title="x")),
        None,
    ),
    "literal_printed_into_the_statement": (
        of(lambda: insert(tickets).values(tenant_id=literal(2, literal_execute=True), number=9, title="x")),
        None,
    ),
    "null": (of(lambda: insert(tickets).values(tenant_id=null(), number=9, title="x")), None),
    "none": (of(lambda: insert(tickets).values(tenant_id=None, number=9, title="x")), None),
    "null_where_rows_are_shared": (of(lambda: insert(Template).values(id=9001, tenant_id=None, name="x")), None),
    "null_where_rows_are_shared_in_parameters": (
        of(lambda: insert(tables["templates"]), {"id": 9001, "tenant_id": None, "name": "x"}),
        None,
    ),
    "select_list": (
        of(
            lambda: insert(tickets).from_select(
                ["tenant_id", "number", "title"], select(literal(2), invoices.c.id, invoices.c.number)
            )
        ),
        None,
    ),
    "select_list_with_a_label": (
        of(
            lambda: insert(tickets).from_select(
                ["tenant_id", "number", "title"],
                select(literal(2).label("tenant_id"), invoices.c.id, invoices.c.number),
            )
        ),
        None,
    ),
    "select_list_with_a_parameter": (
        of(
            lambda: insert(tickets).from_select(
                ["tenant_id", "number", "title"], select(bindparam("t"), invoices.c.id, invoices.c.number)
            ),
            {"t": 2},
        ),
        None,
    ),
    "set": (of(lambda: update(tickets).values(tenant_id=2)), None),
    "set_by_column": (of(lambda: update(tickets).values({tickets.c.tenant_id: 2})), None),
    "set_with_where": (of(lambda: update(tickets).where(tickets.c.number == 1).values(tenant_id=2)), None),
    "set_of_an_entity": (of(lambda: update(Ticket).values(tenant_id=2)), None),
    "set_of_an_entity_by_attribute": (of(lambda: update(Project).values(owner=2)), None),
    "set_by_the_key_of_the_column": (of(lambda: update(KEYED).values(owner=2)), None),
    "set_of_an_alias": (of(lambda: update(aliased(Ticket)).values(tenant_id=2)), None),
    "set_to_null": (of(lambda: update(tickets).values(tenant_id=null())), None),
    "set_to_none": (of(lambda: update(tables["templates"]).values(tenant_id=None)), None),
    "set_in_order": (of(lambda: update(tickets).ordered_values(("title", "x"), ("tenant_id", 2))), None),
    "set_by_parameters": (of(lambda: update(tickets), {"tenant_id": 2}), None),
    "set_by_parameters_of_many": (
        of(
            lambda: update(tickets).where(tickets.c.number == bindparam("n")),
            [{"n": 1, "tenant_id": 1}, {"n": 2, "tenant_id": 2}],
        ),
        2,
    ),
    "set_by_bindparam": (of(lambda: update(tickets).values(tenant_id=bindparam("t")), {"t": 2}), None),
    "set_by_primary_key": (of(lambda: update(Invoice), [{"id": 101, "tenant_id": 2}]), None),
    "bulk_insert_mappings": (
        lambda session: session.bulk_insert_mappings(
            inspect(Ticket), [{"tenant_id": owner, "number": 9, "title": "x"} for owner in (1, 2)]
        ),
        2,
    ),
    "bulk_update_mappings": (
        lambda session: session.bulk_update_mappings(inspect(Invoice), [{"id": 101, "tenant_id": 2}]),
        None,
    ),
    "bulk_save_objects": (
        lambda session: session.bulk_save_objects([Ticket(tenant_id=2, number=9, title="x")]),
        None,
    ),
    "legacy_query_update": (lambda session: [session.query(Invoice).update({"tenant_id": 2})], None),
    "moved_by_the_attribute": (lambda session: _moved(session, 2), None),
    "moved_by_the_attribute_to_nobody": (lambda session: _moved(session, None), None),
    "new_object": (added(Ticket(tenant_id=2, number=9, title="x")), None),
    "new_object_among_others": (
        added(Ticket(number=9, title="x"), Ticket(number=10, title="x"), Ticket(tenant_id=2, number=11, title="x")),
        None,
    ),
    "new_object_whose_attribute_has_another_name": (added(Project(id=9001, owner=2, name="x")), None),
    "new_object_related_to_an_own_one": (
        added(Customer(id=9001, name="x", tags=[Tag(id=9001, name="own"), Tag(id=9002, name="x", tenant_id=2)])),
        None,
    ),
    "new_object_by_an_expression": (added(Ticket(tenant_id=func.abs(-2), number=9, title="x")), None),
    "new_object_merged": (merged(Invoice(tenant_id=2, **INVOICE)), None),
}


def _moved(session: Session, owner: int | None) -> Iterable[Any]:
    moved: Any = session.get_one(Invoice, 101)
    moved.tenant_id = owner
    session.flush()
    return []


@pytest.mark.parametrize("name", FOREIGN)
def test_a_write_for_another_tenant_is_refused_and_nothing_is_sent(world: WriteWorld, name: str) -> None:
    run, row = FOREIGN[name]

    with Recorder(world.many) as sent:
        tried = world.twins[1].attempt(run)

    assert type(tried.refusal) is ForeignTenantError
    assert tried.refusal.row == row
    assert tried.before == tried.after
    assert written(sent) == []


def written(sent: Recorder) -> list[str]:
    """Return the statements of a record that write."""
    return [each for each in sent.statements if not each.startswith(("SAVEPOINT", "ROLLBACK TO", "RELEASE", "SELECT"))]


def excluding(set_: Callable[[Any], dict[Any, Any]], **values: Any) -> Callable[[Any], Any]:
    def build(insert_of: Any) -> Any:
        statement = insert_of(tickets).values({"number": 1, "title": "x", **values})
        return statement.on_conflict_do_update(index_elements=["tenant_id", "number"], set_=set_(statement))

    return build


FOREIGN_UPSERTS: dict[str, tuple[Callable[[Any], Any], type[PartywallError]]] = {
    "in_values": (excluding(lambda each: {"title": each.excluded.title}, tenant_id=2), ForeignTenantError),
    "in_set": (excluding(lambda each: {"tenant_id": 2}), ForeignTenantError),
    "in_set_by_column": (excluding(lambda each: {tickets.c.tenant_id: 2, "title": "x"}), ForeignTenantError),
    "in_set_as_null": (excluding(lambda each: {"tenant_id": null()}), ForeignTenantError),
    "in_set_as_none": (excluding(lambda each: {"tenant_id": None}), ForeignTenantError),
    "in_set_as_a_literal": (excluding(lambda each: {"tenant_id": literal(2)}), ForeignTenantError),
    "in_set_in_odd_case": (excluding(lambda each: {"Tenant_ID": 2}), RefusedStatementError),
    "in_set_with_a_quoted_name": (
        excluding(lambda each: {quoted_name("TENANT_ID", quote=True): 2}),
        RefusedStatementError,
    ),
    "in_set_as_an_expression": (excluding(lambda each: {"tenant_id": each.excluded.number + 1}), RefusedStatementError),
    "in_set_as_another_column": (excluding(lambda each: {"tenant_id": each.excluded.number}), RefusedStatementError),
    "in_set_as_a_subquery": (
        excluding(lambda each: {"tenant_id": select(func.max(tickets.c.tenant_id)).scalar_subquery()}),
        RefusedStatementError,
    ),
}


@pytest.mark.parametrize("name", FOREIGN_UPSERTS)
def test_an_upsert_for_another_tenant_is_refused_and_nothing_is_sent(world: WriteWorld, name: str) -> None:
    build, error = FOREIGN_UPSERTS[name]

    with Recorder(world.many) as sent:
        tried = world.twins[1].attempt(of(lambda: build(upsert_for(world))))

    assert type(tried.refusal) is error
    assert tried.before == tried.after
    assert written(sent) == []


def test_no_row_of_a_refused_batch_is_stored_although_the_transaction_goes_on(world: WriteWorld) -> None:
    def run(session: Session) -> Iterable[Any]:
        session.execute(insert(tickets).values(number=8, title="before"))
        with pytest.raises(ForeignTenantError):
            session.execute(insert(tickets), thousand_rows(731, 2, own=True))
        session.execute(insert(tickets).values(number=9, title="after"))
        session.commit()
        return []

    tried = world.twins[1].attempt(run)

    assert tried.refusal is None
    assert {dict(row[1:])["title"] for row in tried.after.of(1) - tried.before.of(1)} == {"'before'", "'after'"}
    check_others(tried, 1)


def test_the_error_says_what_was_given_where_and_shows_no_value(world: WriteWorld) -> None:
    rows = [{"tenant_id": 1, "number": 9, "title": "a secret"}, {"tenant_id": 2, "number": 10, "title": "a secret"}]

    error = world.twins[1].attempt(of(lambda: insert(tickets), rows)).refusal

    assert isinstance(error, ForeignTenantError)
    assert (error.tables, error.column, error.row) == (("tickets",), "tenant_id", 2)
    assert error.statement.startswith("INSERT INTO tickets")
    assert "secret" not in str(error)
    copied = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (str(copied), copied.row, copied.column) == (str(error), error.row, error.column)


# What is refused since nobody can tell whose row it would write.


REFUSED: dict[str, Run] = {
    "tenant_from_a_function": of(lambda: insert(tickets).values(tenant_id=func.abs(-2), number=9, title="x")),
    "tenant_from_a_case": of(
        lambda: insert(tickets).values(tenant_id=case((tickets.c.number > 0, 2), else_=1), number=9, title="x")
    ),
    "tenant_from_a_sum": of(lambda: insert(tickets).values(tenant_id=literal(1) + 1, number=9, title="x")),
    "tenant_from_a_literal_column": of(
        lambda: insert(tickets).values(tenant_id=literal_column("2"), number=9, title="x")
    ),
    "tenant_from_text": of(lambda: insert(tickets).values(tenant_id=text("2"), number=9, title="x")),
    "tenant_from_a_subquery": of(
        lambda: insert(tickets).values(
            tenant_id=select(func.max(tickets.c.tenant_id)).scalar_subquery(), number=9, title="x"
        )
    ),
    "tenant_from_an_expression_in_a_row": of(
        lambda: insert(tickets).values([{"tenant_id": func.abs(-2), "number": 9, "title": "x"}])
    ),
    "tenant_from_another_column": of(lambda: update(tickets).values(tenant_id=tickets.c.number)),
    "tenant_from_arithmetics": of(lambda: update(tickets).values(tenant_id=tickets.c.tenant_id + 1)),
    "tenant_from_another_source": of(
        lambda: update(tickets).where(tickets.c.number == invoices.c.id).values(tenant_id=invoices.c.id)
    ),
    "tenant_from_a_bare_column": of(lambda: update(tickets).values(tenant_id=column("number"))),
    "tenant_from_the_select_list": of(
        lambda: insert(tickets).from_select(
            ["tenant_id", "number", "title"], select(invoices.c.id, invoices.c.id, invoices.c.number)
        )
    ),
    "tenant_from_an_expression_of_the_select_list": of(
        lambda: insert(tickets).from_select(
            ["tenant_id", "number", "title"],
            select((invoices.c.tenant_id + 1).label("tenant_id"), invoices.c.id, invoices.c.number),
        )
    ),
    "tenant_by_an_expression_of_an_attribute": lambda session: _moved(session, func.abs(-2)),  # type: ignore[arg-type]
    "lightweight_table_that_lacks_the_tenant": of(
        lambda: insert(table("tickets", column("number"), column("title"))).values(number=9, title="x")
    ),
    "column_nobody_declared": of(lambda: update(table("tickets", column("ctid"))).values(ctid="x")),
    "table_nobody_declared": of(lambda: insert(table("pg_class", column("relname"))).values(relname="x")),
    "table_in_odd_case": of(lambda: delete(table("TICKETS", column("number")))),
    "table_of_another_schema": of(lambda: delete(table("tickets", column("number"), schema="other"))),
    "system_table": of(lambda: delete(table("sqlite_master", column("name")))),
    "join": of(lambda: update(invoices.join(customers, invoices.c.customer_id == customers.c.id)).values(total=1)),
    "text_as_a_prefix": of(lambda: insert(tickets).prefix_with("OR x").values(number=9, title="x")),
    "text_as_a_hint": of(lambda: update(tickets).with_hint("AS t SET title = 'x' --").values(title="x")),
    "function_nobody_knows": of(lambda: insert(tickets).values(number=9, title=func.query_to_xml("SELECT 1"))),
    "parameter_named_like_ours": of(
        lambda: update(tickets).where(tickets.c.number == bindparam("partywall_tenant")).values(title="x"),
        {"partywall_tenant": 2},
    ),
    "parameter_named_like_ours_in_values": of(
        lambda: insert(tickets).values(number=9, title=bindparam("partywall_tenant", "x"))
    ),
    "insert_or_replace": of(lambda: insert(tickets).prefix_with("OR REPLACE").values(number=1, title="x")),
    "insert_or_replace_written_otherwise": of(
        lambda: insert(invoices).prefix_with("or  replace").values({**INVOICE, "id": 201})
    ),
    "update_or_replace": of(lambda: update(invoices).prefix_with("OR REPLACE").values(id=201)),
    "replace_in_two_prefixes": of(lambda: insert(tickets).prefix_with("OR", "REPLACE").values(number=1, title="x")),
    "replace_in_a_hidden_prefix": of(
        lambda: insert(tickets).prefix_with("OR/**/REPLACE", dialect="*").values(number=1, title="x")
    ),
    "insert_into_a_shared_table": of(lambda: insert(countries).values(code="xx", name="x")),
    "insert_many_into_a_shared_table": of(lambda: insert(countries), [{"code": "xx", "name": "x"}]),
    "insert_from_select_into_a_shared_table": of(
        lambda: insert(countries).from_select(["code", "name"], select(tickets.c.title, tickets.c.title))
    ),
    "update_of_a_shared_table": of(lambda: update(countries).values(name="x")),
    "update_of_a_shared_table_by_the_orm": of(lambda: update(Country), [{"code": "de", "name": "x"}]),
    "delete_from_a_shared_table": of(lambda: delete(countries)),
    "object_of_a_shared_table": added(Country(code="xx", name="x")),
    "insert_of_a_tenant": of(lambda: insert(tenants).values(id=9, slug="x", plan="x")),
    "update_of_the_own_tenant": of(lambda: update(tenants).values(plan="free")),
    "delete_of_the_own_tenant": of(lambda: delete(tenants)),
    "object_of_the_own_tenant": added(Tenant(id=1, slug="x", plan="x")),
    "multiple_rows_of_a_shared_table": of(lambda: insert(countries).values([{"code": "xx", "name": "x"}])),
}
REFUSED_ON_POSTGRESQL: dict[str, Run] = {
    "shared_table_in_a_cte": of(lambda: select(delete(countries).returning(countries.c.code).cte("gone").c.code)),
    "tenants_table_in_a_cte": of(lambda: select(literal(1)).add_cte(update(tenants).values(plan="x").cte("changed"))),
    "cte_named_like_a_table": of(
        lambda: select(delete(tickets).returning(tickets.c.number).cte("invoices", nesting=True).c.number)
    ),
}


@pytest.mark.parametrize("name", REFUSED | REFUSED_ON_POSTGRESQL)
def test_a_write_that_cannot_be_scoped_is_refused_and_nothing_is_sent(world: WriteWorld, name: str) -> None:
    if name in REFUSED_ON_POSTGRESQL and world.name != "postgresql":
        pytest.skip("postgresql only")
    with Recorder(world.many) as sent:
        tried = world.twins[1].attempt((REFUSED | REFUSED_ON_POSTGRESQL)[name])

    assert type(tried.refusal) is RefusedStatementError
    assert tried.before == tried.after
    assert written(sent) == []


@pytest.mark.parametrize("name", ["insert_into_a_shared_table", "update_of_the_own_tenant", "insert_of_a_tenant"])
def test_what_no_tenant_may_write_is_written_with_none_neither(world: WriteWorld, name: str) -> None:
    tried = attempt(world.many, REFUSED[name])

    assert isinstance(tried.refusal, (RefusedStatementError, NoTenantError))
    assert tried.before == tried.after


@pytest.mark.parametrize(
    "name", ["set_with_where", "parameters_of_row_731", "moved_by_the_attribute", "new_object_merged"]
)
def test_an_unscoped_engine_writes_for_any_tenant(world: WriteWorld, name: str) -> None:
    run = FOREIGN[name][0]

    with unscoped(reason="test"):
        tried = attempt(world.many, run)

    assert tried.refusal is None
    if tried.outcome.error is None:
        assert tried.before.owned[2] != tried.after.owned[2]


# Writes that reach for another tenant's rows: they find nothing there.


OTHER_TICKETS: Any = tickets.alias("other_tickets")
UNTOUCHED: dict[str, Run] = {
    "update_by_id": of(lambda: update(invoices).where(invoices.c.id == 201).values(total=0)),
    "update_by_ids": of(lambda: update(invoices).where(invoices.c.id.in_([201, 202, 301])).values(total=0)),
    "update_by_tenant": of(lambda: update(tickets).where(tickets.c.tenant_id == 2).values(title="stolen")),
    "update_by_any_tenant": of(
        lambda: update(tickets).where((tickets.c.tenant_id == 2) | (tickets.c.tenant_id == 3)).values(title="stolen")
    ),
    "update_by_not_the_own_tenant": of(lambda: update(tickets).where(tickets.c.tenant_id != 1).values(title="stolen")),
    "update_of_an_entity_by_tenant": of(lambda: update(Ticket).where(Ticket.tenant_id == 2).values(title="stolen")),
    "update_from_another_tenants_rows": of(
        lambda: (
            update(tickets)
            .where(tickets.c.number == 1, invoices.c.id == 201)
            .values(title=invoices.c.number)
            .where(invoices.c.id > tickets.c.number)
        )
    ),
    "update_where_another_tenants_row_exists": of(
        lambda: update(tickets).where(select(invoices.c.id).where(invoices.c.id == 201).exists()).values(title="x")
    ),
    "delete_by_id": of(lambda: delete(invoices).where(invoices.c.id == 201)),
    "delete_by_tenant": of(lambda: delete(tickets).where(tickets.c.tenant_id == 2)),
    "delete_of_an_alias_by_tenant": of(lambda: delete(OTHER_TICKETS).where(OTHER_TICKETS.c.tenant_id > 1)),
    "delete_where_in_another_tenants_rows": of(
        lambda: delete(tickets).where(
            tickets.c.number.in_(select(invoices.c.id - 200).where(invoices.c.id < 204).where(invoices.c.id > 200))
        )
    ),
    "update_of_a_shared_row": of(lambda: update(tables["templates"]).where(column("id") == 1).values(name="stolen")),
    "delete_of_a_shared_row": of(lambda: delete(tables["templates"]).where(tables["templates"].c.tenant_id.is_(None))),
    "legacy_query_delete": lambda session: [(session.query(Invoice).filter_by(id=201).delete(),)],
    "supplied_parameter": of(lambda: delete(invoices).where(invoices.c.id == 201), {"partywall_tenant": 2}),
    "supplied_parameter_of_many": of(
        lambda: delete(invoices).where(invoices.c.id == bindparam("wanted")),
        [{"wanted": 201, "partywall_tenant": 2}, {"wanted": 202, "partywall_tenant": 2}],
    ),
    "supplied_parameter_of_an_update": of(
        lambda: update(invoices).where(invoices.c.id == bindparam("wanted")).values(total=bindparam("new")),
        {"wanted": 201, "new": 0, "partywall_tenant": 2},
    ),
}
UNTOUCHED_ON_POSTGRESQL: dict[str, Run] = {
    "delete_using_another_tenants_rows": of(
        lambda: delete(tickets).where(tickets.c.number < invoices.c.id, invoices.c.id == 201)
    ),
    "update_in_a_cte": of(
        lambda: select(
            func.count(
                update(invoices)
                .where(invoices.c.id == 201)
                .values(total=0)
                .returning(invoices.c.id)
                .cte("changed")
                .c.id
            )
        )
    ),
    "delete_in_a_cte": of(
        lambda: select(func.count(delete(invoices).where(invoices.c.id == 201).returning(invoices.c.id).cte().c.id))
    ),
}


@pytest.mark.parametrize("name", UNTOUCHED | UNTOUCHED_ON_POSTGRESQL)
def test_another_tenants_rows_are_not_there_to_be_written(world: WriteWorld, name: str) -> None:
    if name in UNTOUCHED_ON_POSTGRESQL and world.name != "postgresql":
        pytest.skip("postgresql only")
    tried = world.twins[1].attempt((UNTOUCHED | UNTOUCHED_ON_POSTGRESQL)[name])

    assert tried.refusal is None
    assert tried.outcome.error is None
    assert tried.outcome.rows is not None
    assert sum(each[0] for each in tried.outcome.rows) == 0
    assert tried.before == tried.after


def test_an_upsert_does_not_change_another_tenants_row_with_the_same_key(world: WriteWorld) -> None:
    statement = upsert_for(world)(invoices).values({**INVOICE, "id": 201})
    changing = statement.on_conflict_do_update(index_elements=["id"], set_={"total": 0})

    for each in (changing, statement.on_conflict_do_nothing(), changing.returning(invoices.c.id)):
        tried = world.twins[1].attempt(of(constant(each)))
        assert tried.refusal is None
        assert tried.outcome.rows in ((), ((0,),), ((-1,),))  # PostgreSQL does not count what it returned
        assert tried.before == tried.after


def test_an_insert_that_another_tenants_key_is_in_the_way_of_fails(world: WriteWorld) -> None:
    tried = world.twins[1].attempt(of(lambda: insert(invoices).values({**INVOICE, "id": 201})))

    assert tried.outcome.error is IntegrityError
    assert tried.before == tried.after


@pytest.mark.parametrize("name", ["tenant_id_m1", "tenant_id", "tenant_id_m0", "tenant_id__0"])
def test_a_parameter_named_like_one_that_is_filled_writes_no_other_tenant(world: WriteWorld, name: str) -> None:
    rows: list[Any] = [{"number": bindparam(name, 9), "title": "x"}, {"number": 10, "title": "x"}]
    for statement in (
        insert(tickets).values(rows),
        insert(tickets).values(rows[0]),
        update(tickets).where(tickets.c.number == bindparam(name, 9)).values(title="x"),
        update(tickets).where(tickets.c.number == bindparam(name, 9)).values(title="x", tenant_id=1),
    ):
        for given in (2, 9):
            tried = world.twins[1].attempt(of(constant(statement), {name: given}))
            check_others(tried, 1)
            if tried.outcome.error is None:
                numbers = {dict(row[1:])["number"] for row in tried.after.of(1) - tried.before.of(1)}
                assert numbers <= {str(given), "10"}


def test_a_tenant_that_was_right_once_is_compared_each_time(world: WriteWorld) -> None:
    """One compiled statement: the value is not taken from its first execution."""
    for owner, number in ((1, 9), (2, 10), (1, 11), (3, 12)):
        statement = insert(tickets).values(tenant_id=owner, number=number, title="x")
        tried = world.twins[1].attempt(of(constant(statement)))
        assert isinstance(tried.refusal, ForeignTenantError) is (owner != 1)
        check_others(tried, 1)
    for owner in (2, 1, 2):
        chosen = insert(tickets).from_select(
            ["tenant_id", "number", "title"], select(literal(owner), invoices.c.id, invoices.c.number)
        )
        tried = world.twins[1].attempt(of(constant(chosen)))
        assert isinstance(tried.refusal, ForeignTenantError) is (owner != 1)


@pytest.mark.parametrize("owner", [1, True, 1.0])
def test_the_own_tenant_may_be_given(world: WriteWorld, owner: Any) -> None:
    for run in (
        of(lambda: insert(tickets).values(tenant_id=owner, number=9, title="x")),
        of(lambda: insert(tickets), [{"tenant_id": owner, "number": number, "title": "x"} for number in (9, 10)]),
        of(lambda: insert(tickets).values([{"tenant_id": owner, "number": 9, "title": "x"}])),
        of(lambda: update(tickets).values(tenant_id=owner, title="x")),
        added(Ticket(tenant_id=owner, number=9, title="x")),
    ):
        tried = world.twins[1].attempt(run)
        assert tried.refusal is None
        assert tried.outcome.error is None
        assert tried.before.of(1) != tried.after.of(1)
        check_others(tried, 1)


def test_a_tenant_of_another_type_never_reaches_the_database(world: WriteWorld) -> None:
    class Equal(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    for run in (
        of(lambda: insert(tickets).values(tenant_id=Equal(2), number=9, title="x")),
        of(lambda: insert(tickets), {"tenant_id": Equal(2), "number": 9, "title": "x"}),
        of(lambda: insert(tickets), [{"tenant_id": Equal(2), "number": n, "title": "x"} for n in (9, 10)]),
        of(lambda: update(tickets).values(tenant_id=Equal(2))),
    ):
        check_others(world.twins[1].attempt(run), 1)


def test_a_parameter_of_that_name_cannot_be_given_to_an_insert(world: WriteWorld) -> None:
    for parameters in ({"partywall_tenant": 2}, [{"partywall_tenant": 2}, {"partywall_tenant": 2}]):
        rows = [{**each, "number": 9 + number, "title": "x"} for number, each in enumerate(as_list(parameters))]
        tried = world.twins[1].attempt(of(lambda: insert(tickets), rows))
        assert tried.outcome.error in (None, CompileError)
        check_others(tried, 1)


def as_list(parameters: Any) -> list[dict[str, Any]]:
    return parameters if isinstance(parameters, list) else [parameters]


def test_what_a_user_writes_in_one_scope_the_next_scope_sees_in_shared_tables_alone(world: WriteWorld) -> None:
    with contextlib.ExitStack() as undo:
        undo.callback(_forget, world)
        with tenant(1), Session(world.many) as session:
            session.add_all([User(id=9, email="new"), Ticket(number=9, title="of tenant 1")])
            session.commit()
        with tenant(2), Session(world.many) as session:
            assert session.get_one(User, 9).email == "new"
            assert session.scalars(select(Ticket.title).where(Ticket.number == 9)).all() == []
            session.add(Ticket(number=9, title="of tenant 2"))
            session.commit()
        with tenant(1), Session(world.many) as session:
            assert session.scalars(select(Ticket.title).where(Ticket.number == 9)).all() == ["of tenant 1"]


def _forget(world: WriteWorld) -> None:
    with Session(world.plain) as session:
        session.execute(delete(Ticket).where(Ticket.number == 9))
        session.execute(delete(User).where(User.id == 9))
        session.commit()
