"""What a hostile reader of the code got through the statement wall with SQLAlchemy's constructs alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Boolean,
    Column,
    Integer,
    MetaData,
    String,
    Table,
    and_,
    bindparam,
    cast,
    column,
    create_engine,
    delete,
    false,
    func,
    insert,
    literal,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    update,
    values,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session, joinedload, load_only, registry
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import OPERATORS
from sqlalchemy.sql.elements import AsBoolean, BinaryExpression, ClauseList, Grouping, UnaryExpression, quoted_name
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator, UserDefinedType

from partywall import ForeignTenantError, RefusedStatementError, SetupError, Tenancy, TenantChangedError, tenant
from partywall._compat import SQLALCHEMY_21
from partywall.statements.functions import BINARY_OPERATORS, MODIFIERS, SEPARATORS, UNARY_OPERATORS
from partywall.statements.names import enclosed_text
from tests.models import Country, Customer, Invoice, Ticket
from tests.write_models import Event
from tests.write_world import WriteWorld, check_others, opened_for_writes

__all__ = ["opened_for_writes"]  # a fixture

countries: Any = Country.__table__
customers: Any = Customer.__table__
events: Any = Event.__table__
tickets: Any = Ticket.__table__
EVERYTHING = "(SELECT max(title) FROM tickets)"


class EitherType(TypeDecorator[int]):
    """Prints an OR around its parameter, without parentheses."""

    impl = Integer
    cache_ok = True

    def bind_expression(self, bindparam: Any) -> Any:
        return or_(bindparam == 1, bindparam == bindparam)  # noqa: PLR0124  # true on each database


class RawType(UserDefinedType[str]):
    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "TEXT"

    def literal_processor(self, dialect: Any) -> Any:
        return lambda value: value


EITHER: Any = EitherType()


def either(source: Any = tickets) -> Any:
    return or_(source.c.number == 1, source.c.number == 2)


def ungrouped() -> Any:
    criterion: Any = either()
    criterion.group = False
    return criterion


def as_boolean(clause: Any) -> Any:
    boolean: Any = AsBoolean
    return boolean(clause, operators.is_true, operators.is_false)


def affected(session: Session, statement: Any) -> Any:
    result: Any = session.execute(statement)
    return result.rowcount


NOTHING: Any = None
CRITERIA: dict[str, Callable[[], Any]] = {
    "lambda_in_and": lambda: and_(tickets.c.number < 9, either),
    "lambda_of_a_lambda_in_and": lambda: lambda: and_(tickets.c.number < 9, either),
    "as_boolean": lambda: as_boolean(either()),
    "not_grouped": ungrouped,
    "type_that_prints_an_or": lambda: and_(tickets.c.number < 9, type_coerce(literal(1, EITHER), EITHER)),
    "coerced_type": lambda: type_coerce(either(), Boolean),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_an_or_in_where_does_not_swallow_the_criterion(world: WriteWorld, name: str) -> None:
    statement = select(tickets.c.title).where(CRITERIA[name]())

    assert world.twins[1].compare(lambda session: session.execute(statement).all()).error is None


@pytest.mark.parametrize("name", CRITERIA)
@pytest.mark.parametrize("write", ["update", "delete"])
def test_an_or_in_where_lets_no_write_reach_other_tenants(world: WriteWorld, name: str, write: str) -> None:
    statement: Any = (update(tickets).values(title="mine") if write == "update" else delete(tickets)).where(
        CRITERIA[name]()
    )

    world.twins[1].compare(lambda session: affected(session, statement))


RESERVED = postgresql.dialect().identifier_preparer.reserved_words  # type: ignore[no-untyped-call]  # SQLAlchemy's


@pytest.mark.parametrize(
    ("text", "is_closed"),
    [
        ("a = 1 AND b = %(b)s", True),
        ("t.a IS NOT NULL", True),
        ("a BETWEEN 1 AND 2", True),
        ("(a = 1 OR b = 2) AND c IN (1, 2)", True),
        ("a = ' OR ' AND \"or\" = 1", True),
        ("", True),
        ("a = 1 OR b = 2", False),
        ("a = 1 UNION SELECT b", False),
        ("a, b", False),
        ("a = __[POSTCOMPILE_a]", False),
        ("a = E'\\'' OR b = ''", False),
        ("a = $$ $$", False),
    ],
)
def test_a_criterion_is_left_without_parentheses_only_where_it_needs_none(text: str, is_closed: bool) -> None:
    assert enclosed_text(text, RESERVED) == (text if is_closed else f"({text})")


@pytest.mark.parametrize("text", ["a = 1) OR (b = 2", "(a = 1", "a = 1)"])
def test_a_criterion_with_unmatched_parentheses_is_refused(text: str) -> None:
    with pytest.raises(RefusedStatementError, match="parentheses"):
        enclosed_text(text, RESERVED)


def test_every_operator_of_sqlalchemy_has_its_places_or_is_refused() -> None:
    everywhere = (BINARY_OPERATORS, UNARY_OPERATORS, MODIFIERS, SEPARATORS)
    nowhere = {each.__name__ for each in OPERATORS if not any(each in place for place in everywhere)}

    assert nowhere == {"from_", "as_"}


ON_CLAUSES: dict[str, Callable[[Any], Any]] = {
    "lambda_in_and": lambda a: and_(a.c.number < 9, lambda: either(a)),
    "as_boolean": lambda a: as_boolean(either(a)),
    "constants": lambda _a: as_boolean(or_(false(), true())),
}


@pytest.mark.parametrize("name", ON_CLAUSES)
def test_an_or_in_on_does_not_swallow_the_criterion(world: WriteWorld, name: str) -> None:
    a = tickets.alias("a")
    statement = select(countries.c.code, a.c.title).select_from(countries.outerjoin(a, ON_CLAUSES[name](a)))

    assert world.twins[1].compare(lambda session: session.execute(statement).all()).error is None


def test_an_or_added_to_a_relationship_does_not_swallow_the_criterion(world: WriteWorld) -> None:
    added = Customer.invoices.and_(lambda: or_(Invoice.total > 100, Invoice.id > 0))

    def load(session: Session) -> Any:
        found = session.scalars(select(Customer).options(joinedload(added))).unique()
        return [(each.id, sorted(invoice.id for invoice in each.invoices)) for each in found]

    assert world.twins[1].compare(load).error is None


@pytest.mark.parametrize("name", ["lambda_in_and", "as_boolean"])
def test_an_or_in_an_upsert_changes_no_row_of_another_tenant(world: WriteWorld, name: str) -> None:
    either_event = or_(events.c.id == 5, events.c.id == 201)
    where = and_(events.c.id > 0, lambda: either_event) if name == "lambda_in_and" else as_boolean(either_event)
    dialect = postgresql if world.name == "postgresql" else sqlite
    statement: Any = dialect.insert(events).values(id=201, kind="x")
    statement = statement.on_conflict_do_update(index_elements=["id"], set_={"kind": "taken"}, where=where)

    check_others(world.twins[1].attempt(lambda session: affected(session, statement)), 1)


class Pretending:
    """Says that it is a custom operator."""

    __name__ = "custom_op"
    opstring = "IS NULL OR true OR"
    precedence = 100
    is_comparison = True
    eager_grouping = False


class Changing(operators.custom_op[Any]):
    """Changes what it prints after it was looked at."""


class Renamed(FunctionElement[str]):
    inherit_cache = False
    type = String()

    @property
    def name(self) -> str:
        return "lower"


def word(name: str) -> Any:
    return column(quoted_name(name, False))


def pair() -> Any:
    return tuple_(2, 1, "ticket 1 of tenant 2")


PIECES: dict[str, Callable[[], Any]] = {
    "reserved_word_as_a_name": lambda: select(word("FROM")),
    "words_without_separator": lambda: select(
        Grouping(ClauseList(word("x"), func.max(word("title")), word("y"), operator=NOTHING))
    ),
    "from_as_an_operator": lambda: select(BinaryExpression(column("title"), column("tickets"), operators.from_)),
    "from_as_a_prefix": lambda: select(UnaryExpression(column("tickets"), operator=operators.from_)),
    "object_that_pretends_to_be_an_operator": lambda: select(tickets.c.title).where(
        BinaryExpression(tickets.c.number, tickets.c.number == 5, Pretending(), type_=Boolean())  # type: ignore[arg-type]  # a lie
    ),
    "operator_of_a_class_of_its_own": lambda: select(tickets.c.title).where(
        BinaryExpression(tickets.c.number, literal(1), Changing("=", precedence=9), type_=Boolean())
    ),
    "function_that_computes_its_name": lambda: select(Renamed(literal("x"))),
    "literal_of_the_applications_type": lambda: select(
        bindparam("x", EVERYTHING, type_=RawType(), literal_execute=True)
    ),
    "literal_in_values": lambda: select(
        values(column("a", RawType()), name="v", literal_binds=True).data([(EVERYTHING,)]).c.a
    ),
    "in_the_name_of_a_table": lambda: select(BinaryExpression(pair(), tickets.table_valued(), operators.in_op)),
    "in_a_coerced_name": lambda: select(
        BinaryExpression(pair(), type_coerce(column("tickets"), Integer), operators.in_op)
    ),
    "in_a_sum_of_names": lambda: select(BinaryExpression(pair(), column("tickets", Integer) + 1, operators.in_op)),
    "in_a_function": lambda: select(BinaryExpression(tuple_(1, 2), func.user(), operators.in_op)),
    "in_as_a_modifier": lambda: select(UnaryExpression(pair(), modifier=operators.in_op)),
    "in_as_a_prefix": lambda: select(UnaryExpression(pair(), operator=operators.in_op)),
}


@pytest.mark.parametrize("name", PIECES)
def test_sql_put_together_from_pieces_is_refused(world: WriteWorld, name: str) -> None:
    with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError):
        session.execute(PIECES[name]())


@pytest.mark.parametrize("value", [1, -1, 1.5, "it's", None])
def test_a_literal_that_is_one_value_is_printed(world: WriteWorld, value: Any) -> None:
    statement = select(bindparam("x", value, type_=None if value is not None else Integer(), literal_execute=True))

    with tenant(1), Session(world.many) as session:
        assert session.scalar(statement) == value


@pytest.mark.parametrize(("value", "type_"), [([1, 2], postgresql.ARRAY(Integer)), (True, Boolean())])
def test_a_literal_of_postgresql_is_printed(world: WriteWorld, value: Any, type_: Any) -> None:
    if world.name != "postgresql":
        pytest.skip("postgresql only")

    with tenant(1), Session(world.many) as session:
        assert session.scalar(select(bindparam("x", value, type_=type_, literal_execute=True))) == value


@pytest.mark.skipif(not SQLALCHEMY_21, reason="new in SQLAlchemy 2.1")
@pytest.mark.parametrize("place", ["post_select", "pre_columns", "post_criteria", "post_body"])
def test_a_syntax_extension_without_a_rule_is_refused(world: WriteWorld, place: str) -> None:
    statement: Any = select(tickets.c.title).where(tickets.c.number == 1)
    statement.apply_syntax_extension_point(lambda _existing: [UnaryExpression(true(), operator=operators.inv)], place)

    with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError, match="syntax extension"):
        session.execute(statement)


@pytest.mark.skipif(not SQLALCHEMY_21, reason="new in SQLAlchemy 2.1")
def test_a_syntax_extension_of_a_delete_is_refused(world: WriteWorld) -> None:
    statement: Any = delete(tickets).where(tickets.c.number == 1)
    extension: Any = UnaryExpression(true(), operator=operators.inv)
    statement.apply_syntax_extension_point(lambda _existing: [extension], "post_criteria")

    with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError, match="syntax extension"):
        session.execute(statement)


TEXT = "SELECT to_tsvector('simple', title) FROM tickets"


@pytest.mark.parametrize(
    "build",
    [
        lambda: select(func.string_to_table(TEXT, "|").table_valued("ts_stat").c.ts_stat),
        lambda: select(func.lower(TEXT).scalar_table_valued("ts_stat")),
        lambda: select(func.lower("server_version").scalar_table_valued("current_setting")),
    ],
)
def test_a_field_that_postgresql_reads_as_a_function_is_refused(world: WriteWorld, build: Callable[[], Any]) -> None:
    if world.name != "postgresql":
        pytest.skip("postgresql only")
    with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError, match="as the function"):
        session.execute(build())


def test_a_column_that_a_function_returns_by_its_derived_name_is_read(world: WriteWorld) -> None:
    if world.name != "postgresql":
        pytest.skip("postgresql only")
    rows = func.generate_series(1, 3).table_valued("anything").render_derived()

    with tenant(1), Session(world.many) as session:
        assert session.scalars(select(rows.c.anything)).all() == [1, 2, 3]


@pytest.mark.parametrize("name", ["tenant.id", "tenant id"])
def test_a_parameter_that_is_written_like_a_filled_one_is_refused(world: WriteWorld, name: str) -> None:
    """SQLAlchemy leaves some characters out of names, so that two become one."""
    statements = [
        insert(events).values(id=bindparam(name, type_=Integer), kind="x"),
        update(events).values(tenant_id=1, id=bindparam(name, type_=Integer)),
        update(events).values(tenant_id=1, kind="x").where(bindparam(name, type_=Integer) == 2),
    ]
    for statement in statements:
        with tenant(1), Session(world.many) as session, pytest.raises(RefusedStatementError, match="parameter name"):
            session.execute(statement, {name: 2})


# Objects: whose row they were loaded from.

mappings = registry()


@mappings.mapped
class Blind:
    """Customers, without the column that says whose they are."""

    __table__ = customers
    __mapper_args__: Any = {"exclude_properties": ["tenant_id"], "primary_key": [customers.c.id]}


_aliased: Any = customers.alias("aliased_customers")


@mappings.mapped
class OfAnAlias:
    __table__ = _aliased
    __mapper_args__: Any = {"primary_key": [_aliased.c.id]}


_selected: Any = select(customers).subquery("selected_customers")


@mappings.mapped
class OfASubquery:
    __table__ = _selected
    __mapper_args__: Any = {"primary_key": [_selected.c.id]}


def of_tenant_2(world: WriteWorld, cls: Any, *options: Any) -> Any:
    with tenant(2), Session(world.many) as session:
        found = session.scalars(select(cls).where(cls.id == 201).options(*options)).one()
        session.expunge_all()
        return found


@pytest.mark.parametrize("cls", [Blind, OfAnAlias, OfASubquery])
def test_an_object_whose_class_does_not_map_the_tenant_is_not_served(world: WriteWorld, cls: Any) -> None:
    foreign = of_tenant_2(world, cls)

    with tenant(1), Session(world.many) as session:
        try:
            session.add(foreign)
        except ForeignTenantError:
            return
        assert session.get(cls, 201) is None


@pytest.mark.parametrize("owner", [1, None])
def test_an_object_whose_tenant_was_changed_in_memory_is_not_taken_in(world: WriteWorld, owner: Any) -> None:
    foreign = of_tenant_2(world, Customer)
    foreign.tenant_id = owner

    with tenant(1), Session(world.many) as session, pytest.raises(ForeignTenantError):
        session.add(foreign)


def test_a_session_that_was_filled_with_no_scope_is_checked_when_it_takes_one(world: WriteWorld) -> None:
    foreign = of_tenant_2(world, Customer)  # a Session holds its objects weakly
    session = Session(world.many)
    session.add(foreign)

    with tenant(1), pytest.raises(ForeignTenantError):
        session.get(Customer, 201)
    session.close()


def test_a_session_that_was_filled_with_objects_of_unknown_owner_reads_them_again(world: WriteWorld) -> None:
    foreign = of_tenant_2(world, Customer, load_only(Customer.name))
    session = Session(world.many)
    session.add(foreign)

    with tenant(1):
        assert session.get(Customer, 201) is None
    session.close()


def test_a_session_that_was_filled_in_a_scope_belongs_to_it(world: WriteWorld) -> None:
    own = of_tenant_2(world, Customer)
    session = Session(world.many)
    with tenant(2):
        session.add(own)

    with tenant(1), pytest.raises(TenantChangedError):
        session.get(Customer, 201)
    session.close()


@pytest.mark.parametrize(
    "look",
    [lambda s: s.dirty, list, lambda s: s.identity_map.items(), lambda s: s.identity_map.keys()],
    ids=["dirty", "iteration", "items", "keys"],
)
def test_the_objects_of_a_session_are_not_listed_in_another_scope(world: WriteWorld, look: Any) -> None:
    with Session(world.many) as session:
        with tenant(2):
            customer = session.scalars(select(Customer).limit(1)).one()
            customer.name = "changed"
        with tenant(1), pytest.raises(TenantChangedError):
            look(session)


# Transactions and setup.


@pytest.mark.parametrize(
    "reach",
    [
        lambda connection: connection.recover_twophase(),
        lambda connection: connection.rollback_prepared("theirs", recover=True),
        lambda connection: connection.commit_prepared("theirs", recover=True),
    ],
    ids=["recover", "rollback", "commit"],
)
@pytest.mark.parametrize("scoped", [True, False])
def test_prepared_transactions_of_all_tenants_are_out_of_reach(world: WriteWorld, reach: Any, scoped: bool) -> None:
    with world.many.connect() as connection:
        if scoped:
            with tenant(1), pytest.raises(RefusedStatementError, match="prepared"):
                reach(connection)
        else:
            with pytest.raises(RefusedStatementError, match="prepared"):
                reach(connection)


@pytest.mark.parametrize(
    "type_", [String(collation="NOCASE"), postgresql.CITEXT(), String().with_variant(postgresql.CITEXT(), "postgresql")]
)
def test_a_tenant_column_to_which_two_ids_are_one_is_an_error(type_: Any) -> None:
    metadata = MetaData()
    Table("notes", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", type_, nullable=False))

    with pytest.raises(SetupError, match="notes: the tenant column tenant_id has"):
        Tenancy(metadata).guard(create_engine("sqlite://"))


def test_a_tenant_column_that_is_compared_byte_by_byte_is_none() -> None:
    metadata = MetaData()
    column_ = Column("tenant_id", String(collation="BINARY"), nullable=False)
    Table("notes", metadata, Column("id", Integer, primary_key=True), column_)

    Tenancy(metadata).guard(create_engine("sqlite://"))


# What is harmless, and was refused.


@pytest.mark.parametrize("symbol", ["%%", "OVERLAPS", "NOT SIMILAR TO", "NOT GLOB", "NOT REGEXP"])
def test_a_harmless_operator_may_be_written(world: WriteWorld, symbol: str) -> None:
    str(select(tickets.c.number.op(symbol)("x")).compile(world.many))


@pytest.mark.parametrize("spec", ["numeric(10, 2)", "NUMERIC(10, -2)", "character varying(10)", "unsigned big int"])
def test_a_type_may_be_spelled_as_the_database_does(world: WriteWorld, spec: str) -> None:
    class Spelled(UserDefinedType[int]):
        cache_ok = True

        def get_col_spec(self, **_kw: Any) -> str:
            return spec

    assert spec in str(select(cast(tickets.c.number, Spelled())).compile(world.many))


def test_the_tenant_may_be_given_as_a_cast(world: WriteWorld) -> None:
    with tenant(1), Session(world.many) as session:
        session.execute(insert(tickets).values(number=70, title="x", tenant_id=cast(1, Integer)))
        with pytest.raises(ForeignTenantError):
            session.execute(insert(tickets).values(number=71, title="x", tenant_id=cast(2, Integer)))
