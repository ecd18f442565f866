"""Declarations: what each table's rows are to a tenant, and what is refused before any connection is made."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import pytest
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Uuid,
    column,
    create_engine,
    insert,
    select,
)
from sqlalchemy import table as lightweight_table
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.engine.url import URL, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, mapped_column
from sqlalchemy.pool import NullPool

from partywall import NoTenantError, RefusedStatementError, SetupError, Tenancy, TenantIdError, tenant, unscoped
from partywall.tables import Kind, TableDescription, Tables, Visible
from tests import models
from tests.conftest import NewDatabase
from tests.recorder import Recorder


def scoped_table(name: str, metadata: MetaData, *columns: Any, type_: Any = Integer, **options: Any) -> Table:
    key = Column("id", Integer, primary_key=True)
    return Table(name, metadata, key, Column("tenant_id", type_, nullable=False), *columns, **options)


def shared_table(name: str, metadata: MetaData, **options: Any) -> Table:
    return Table(name, metadata, Column("id", Integer, primary_key=True), Column("name", String), **options)


def tenants_table(name: str, metadata: MetaData, *, type_: Any = Integer, **options: Any) -> Table:
    return Table(name, metadata, Column("id", type_, primary_key=True), Column("slug", String), **options)


def described(tables: Tables, key: str) -> TableDescription:
    schema, _, name = key.rpartition(".")
    description = tables.find(schema or None, name)
    assert description is not None
    return description


def never_connect() -> NoReturn:
    pytest.fail("a connection was opened")


def unconnectable() -> Engine:
    return create_engine("sqlite://", creator=never_connect)


def refusal(metadata: MetaData | list[MetaData], **declarations: Any) -> str:
    """Return what guard() says when it refuses; no connection may be opened for it."""
    with pytest.raises(SetupError) as refused:
        Tenancy(metadata, **declarations).guard(unconnectable())
    return str(refused.value)


@contextmanager
def guarded(url: URL, tenancy: Tenancy, rows: dict[Table, list[dict[str, Any]]]) -> Iterator[Engine]:
    """Create and fill tables as their owner, and open the database guarded."""
    owner, engine = create_engine(url), tenancy.guard(create_engine(url), allow_unscoped=True)
    try:
        with owner.begin() as connection:
            for table, values in rows.items():
                table.create(connection)
                connection.execute(insert(table), values)
        yield engine
    finally:
        owner.dispose()
        engine.dispose()


# Kinds.


def test_a_table_with_the_tenant_column_is_scoped_without_a_word() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)

    invoices = described(Tenancy(metadata).describe(), "invoices")

    assert (invoices.kind, invoices.tenant_column) == (Kind.SCOPED, "tenant_id")
    assert (invoices.readable, invoices.writable) == (Visible.OWN, Visible.OWN)


def declared_by_argument() -> Tenancy:
    metadata = MetaData()
    scoped_table("scoped", metadata)
    shared_table("shared", metadata)
    shared_table("writable", metadata)
    tenants_table("tenants", metadata)
    return Tenancy(
        metadata, tenants="tenants", tenants_public=["slug"], shared=["shared"], shared_writable=["writable"]
    )


def declared_by_info() -> Tenancy:
    metadata = MetaData()
    scoped_table("scoped", metadata, info={"partywall": "scoped"})
    shared_table("shared", metadata, info={"partywall": "shared"})
    shared_table("writable", metadata, info={"partywall": "shared_writable"})
    Table(
        "tenants",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("slug", String, info={"partywall": "public"}),
        info={"partywall": "tenants"},
    )
    return Tenancy(metadata)


def declared_on_models() -> Tenancy:
    class Base(DeclarativeBase):
        pass

    class Shared:
        __table_args__ = {"info": {"partywall": "shared"}}

    class Owned:
        tenant_id: Mapped[int]

    class ScopedModel(Owned, Base):
        __tablename__ = "scoped"
        id: Mapped[int] = mapped_column(primary_key=True)

    class SharedModel(Shared, Base):
        __tablename__ = "shared"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class WritableModel(Base):
        __tablename__ = "writable"
        __table_args__ = {"info": {"partywall": "shared_writable"}}
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class TenantModel(Base):
        __tablename__ = "tenants"
        __table_args__ = {"info": {"partywall": "tenants"}}
        id: Mapped[int] = mapped_column(primary_key=True)
        slug: Mapped[str] = mapped_column(info={"partywall": "public"})

    return Tenancy(Base.metadata)


@pytest.mark.parametrize("declare", [declared_by_argument, declared_by_info, declared_on_models])
def test_argument_info_and_model_declare_the_same(declare: Callable[[], Tenancy]) -> None:
    tables = declare().describe()

    kinds = {key: described(tables, key).kind for key in ("scoped", "shared", "writable", "tenants")}
    assert kinds == {
        "scoped": Kind.SCOPED,
        "shared": Kind.SHARED,
        "writable": Kind.SHARED_WRITABLE,
        "tenants": Kind.TENANTS,
    }
    assert described(tables, "shared").readable is Visible.ALL
    assert described(tables, "shared").writable is Visible.NONE
    assert described(tables, "writable").writable is Visible.ALL
    tenants = described(tables, "tenants")
    assert (tenants.tenant_column, tenants.readable, tenants.writable) == ("id", Visible.OWN, Visible.NONE)
    assert tenants.public == {"slug"}


def test_shared_rows_are_read_by_all_and_written_by_nobody() -> None:
    metadata = MetaData()
    key = Column("id", Integer, primary_key=True)
    Table("templates", metadata, key, Column("tenant_id", Integer))

    templates = described(Tenancy(metadata, shared_rows={"templates"}).describe(), "templates")

    assert (templates.kind, templates.readable, templates.writable) == (
        Kind.SCOPED,
        Visible.OWN_AND_SHARED,
        Visible.OWN,
    )


def test_several_metadata_make_one_tenancy() -> None:
    first, second = MetaData(), MetaData()
    scoped_table("invoices", first)
    scoped_table("orders", second)
    shared_table("countries", second)

    tables = Tenancy([first, second], shared={"countries"}).describe()

    assert {key[1] for key in tables.by_name} == {"invoices", "orders", "countries"}


def test_a_table_of_two_metadata_has_the_columns_of_both() -> None:
    first, second = MetaData(), MetaData()
    scoped_table("invoices", first, Column("total", Integer))
    scoped_table("invoices", second, Column("issued", Integer))

    invoices = described(Tenancy([first, second]).describe(), "invoices")

    assert invoices.columns == {"id", "tenant_id", "total", "issued"}


def test_a_table_declared_differently_in_two_metadata_is_refused() -> None:
    first, second = MetaData(), MetaData()
    scoped_table("invoices", first)
    shared_table("invoices", second, info={"partywall": "shared"})

    message = refusal([first, second])

    assert "invoices" in message
    assert "declare it the same in both" in message


# The tenant column: its name, its key, its type.


@pytest.fixture(scope="module")
def empty_database(new_database: NewDatabase) -> URL:
    """Return a database in which each test uses table names of its own."""
    return new_database()


FIRST, SECOND = uuid.UUID(int=1), uuid.UUID(int=2)
TYPES: dict[str, tuple[Any, Any, Any, list[Any]]] = {
    "integer": (Integer, 1, 2, ["1", 1.0, FIRST, b"1"]),
    "bigint": (BigInteger, 2**40, 2**40 + 1, [str(2**40), float(2**40)]),
    "string": (String(20), "acme", "acme2", [1, b"acme", FIRST]),
    "uuid": (Uuid, FIRST, SECOND, [str(FIRST), 1, FIRST.bytes]),
    "uuid_as_text": (Uuid(as_uuid=False), str(FIRST), str(SECOND), [FIRST, 1]),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_read_is_scoped_by_a_tenant_id_of_every_type(empty_database: URL, name: str) -> None:
    type_, first, second, wrong = TYPES[name]
    table = scoped_table(f"of_type_{name}", MetaData(), type_=type_)
    rows = [{"id": 1, "tenant_id": first}, {"id": 2, "tenant_id": second}, {"id": 3, "tenant_id": first}]

    with guarded(empty_database, Tenancy(table.metadata), {table: rows}) as engine:
        for tenant_id, expected in ((first, [1, 3]), (second, [2]), (first, [1, 3])):
            with tenant(tenant_id), engine.connect() as connection:
                assert list(connection.scalars(select(table.c.id).order_by(table.c.id))) == expected

        with Recorder(engine) as sent:
            for tenant_id in wrong:
                with tenant(tenant_id), engine.connect() as connection, pytest.raises(TenantIdError) as refused:
                    connection.execute(select(table))
                assert type(tenant_id).__name__ in str(refused.value)
        assert sent.statements == []


def test_a_column_of_another_name_is_declared_once_for_all(empty_database: URL) -> None:
    table = Table("by_name", MetaData(), Column("id", Integer), Column("organisation", Integer, nullable=False))
    rows = [{"id": 1, "organisation": 1}, {"id": 2, "organisation": 2}]

    with guarded(empty_database, Tenancy(table.metadata, column="organisation"), {table: rows}) as engine:
        with tenant(2), engine.connect() as connection:
            assert list(connection.scalars(select(table.c.id))) == [2]


def test_a_column_of_another_name_in_one_table_is_marked_there(empty_database: URL) -> None:
    metadata = MetaData()
    scoped_table("named_as_usual", metadata)
    owner = Column("owner", Integer, nullable=False, info={"partywall": "tenant"})
    # It has a column of the usual name as well, which means something else here.
    marked = Table("marked", metadata, Column("id", Integer), owner, Column("tenant_id", Integer))
    rows = [{"id": 1, "owner": 1, "tenant_id": 2}, {"id": 2, "owner": 2, "tenant_id": 1}]

    with guarded(empty_database, Tenancy(metadata), {marked: rows}) as engine:
        with tenant(1), engine.connect() as connection:
            assert list(connection.scalars(select(marked.c.id))) == [1]


def test_the_tenant_column_is_found_by_its_name_and_not_by_its_key(empty_database: URL) -> None:
    metadata = MetaData()
    # The keys are crossed on purpose: whoever looks one up as table.c["tenant_id"] finds the wrong column.
    table = Table(
        "crossed_keys",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", Integer, key="org", nullable=False),
        Column("other", Integer, key="tenant_id", nullable=False),
        Column("remarks", String, key="remark"),
    )
    rows = [{"id": id_, "org": id_, "tenant_id": 3 - id_, "remark": f"of {id_}"} for id_ in (1, 2)]

    with guarded(empty_database, Tenancy(metadata), {table: rows}) as engine:
        with tenant(1), engine.connect() as connection:
            assert list(map(tuple, connection.execute(select(table.c.id, table.c.remark)))) == [(1, "of 1")]


def test_a_column_whose_key_alone_is_the_tenant_columns_name_makes_no_scoped_table() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    Table("odd", metadata, Column("id", Integer), Column("other", Integer, key="tenant_id", nullable=False))

    assert "table odd has no column tenant_id" in refusal(metadata)


def test_a_table_in_a_schema_is_declared_by_schema_and_name() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata, schema="billing")
    shared_table("countries", metadata, schema="billing")

    tables = Tenancy(metadata, shared={"billing.countries"}).describe()

    assert described(tables, "billing.invoices").kind is Kind.SCOPED
    assert described(tables, "billing.countries").kind is Kind.SHARED
    assert tables.find(None, "invoices") is None
    assert "shared names the table 'countries'" in refusal(metadata, shared={"countries"})


def test_a_table_in_a_schema_is_scoped(new_sqlite: NewDatabase) -> None:
    metadata = MetaData()
    table = scoped_table("in_schema", metadata, schema="main")  # what SQLite calls its own database

    rows = [{"id": 1, "tenant_id": 1}, {"id": 2, "tenant_id": 2}]
    with guarded(new_sqlite(), Tenancy(metadata), {table: rows}) as engine:
        with tenant(1), engine.connect() as connection:
            assert list(connection.scalars(select(table.c.id))) == [1]
            with pytest.raises(RefusedStatementError, match="in_schema"):  # by its bare name nobody declared it
                connection.execute(select(lightweight_table("in_schema", column("id"))))


# What is refused, and what to write instead.


def test_an_undeclared_table_is_named_with_the_lines_to_write() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    shared_table("countries", metadata)

    message = refusal(metadata)

    assert "table countries has no column tenant_id" in message
    assert "tenant_id = Column('tenant_id', ..., nullable=False)" in message
    assert "Tenancy(..., shared={'countries'})" in message
    assert "Tenancy(..., shared_writable={'countries'})" in message
    Tenancy(metadata, shared={"countries"}).guard(unconnectable())  # the line it says


def test_an_undeclared_table_is_named_by_schema_and_name() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    shared_table("countries", metadata, schema="geo")

    assert "Tenancy(..., shared={'geo.countries'})" in refusal(metadata)


def test_a_nullable_tenant_column_is_refused_with_the_line_to_write() -> None:
    metadata = MetaData()
    Table("invoices", metadata, Column("id", Integer), Column("tenant_id", Integer))

    message = refusal(metadata)

    assert "table invoices" in message
    assert "tenant_id = Column(..., nullable=False)" in message
    assert "Tenancy(..., shared_rows={'invoices'})" in message
    Tenancy(metadata, shared_rows={"invoices"}).guard(unconnectable())  # the line it says


@pytest.mark.parametrize(("first", "second"), [(Integer, String), (Integer, BigInteger), (Uuid, Uuid(as_uuid=False))])
def test_tenant_columns_of_two_types_are_refused(first: Any, second: Any) -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata, type_=first)
    scoped_table("orders", metadata, type_=second)

    message = refusal(metadata)

    assert "invoices" in message
    assert "orders" in message
    assert "one type" in message


def test_a_tenants_table_whose_key_has_another_type_is_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    tenants_table("tenants", metadata, type_=String)

    message = refusal(metadata, tenants="tenants")

    assert "tenants" in message
    assert "one type" in message


def test_a_tenant_column_without_a_type_is_refused() -> None:
    metadata = MetaData()
    Table("invoices", metadata, Column("id", Integer), Column("tenant_id", nullable=False))

    assert "invoices" in refusal(metadata)


def test_a_tenant_column_has_the_type_of_the_key_it_references() -> None:
    metadata = MetaData()
    Table("invoices", metadata, Column("id", Integer), Column("tenant_id", ForeignKey("tenants.id"), nullable=False))
    tenants_table("tenants", metadata, type_=Uuid)

    tables = Tenancy(metadata, tenants="tenants").describe()

    tables.check_tenant_id(FIRST)
    with pytest.raises(TenantIdError):
        tables.check_tenant_id(1)


def test_a_child_table_of_joined_inheritance_without_the_column_is_refused() -> None:
    class Base(DeclarativeBase):
        pass

    class Party(Base):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[int]

    class Person(Party):
        __tablename__ = "persons"
        id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)

    message = refusal(Base.metadata)

    assert "table persons has no column tenant_id" in message
    assert "joined inheritance" in message


def test_a_child_table_of_joined_inheritance_with_the_column_is_scoped() -> None:
    class Base(DeclarativeBase):
        pass

    class Party(Base):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[int]

    class Person(Party):
        __tablename__ = "persons"
        id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)
        tenant_id: Mapped[int] = column_property(Column("tenant_id", Integer, nullable=False), Party.tenant_id)

    assert described(Tenancy(Base.metadata).describe(), "persons").kind is Kind.SCOPED


def test_an_association_table_without_the_column_is_refused() -> None:
    metadata = MetaData()
    scoped_table("customers", metadata)
    scoped_table("tags", metadata)
    Table(
        "customer_tags",
        metadata,
        Column("customer_id", ForeignKey("customers.id"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id"), primary_key=True),
    )

    message = refusal(metadata)

    assert "table customer_tags has no column tenant_id" in message
    assert "association table" in message


@pytest.mark.parametrize("argument", ["shared", "shared_writable"])
def test_a_shared_table_that_has_the_tenant_column_is_refused(argument: str) -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    scoped_table("countries", metadata)

    message = refusal(metadata, **{argument: {"countries"}})

    assert "table countries" in message
    assert "Remove the declaration, or the column" in message


def test_two_declarations_of_one_table_are_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    shared_table("countries", metadata)

    message = refusal(metadata, shared={"countries"}, shared_writable={"countries"})

    assert "table countries is declared shared and shared_writable: choose one" in message


def test_an_argument_and_an_info_that_differ_are_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    shared_table("countries", metadata, info={"partywall": "shared"})

    assert "countries" in refusal(metadata, shared_writable={"countries"})
    Tenancy(metadata, shared={"countries"}).guard(unconnectable())  # the same twice does no harm


def test_shared_rows_of_a_table_that_has_no_tenant_column_are_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    shared_table("countries", metadata)

    assert "countries" in refusal(metadata, shared={"countries"}, shared_rows={"countries"})


def test_public_columns_without_a_tenants_table_are_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)

    assert "tenants=" in refusal(metadata, tenants_public={"slug"})


@pytest.mark.parametrize("argument", ["shared", "shared_writable", "shared_rows", "tenants"])
def test_a_misspelt_name_is_refused(argument: str) -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)

    message = refusal(metadata, **{argument: "invoces" if argument == "tenants" else {"invoces"}})

    assert f"{argument} names the table 'invoces'" in message
    assert "Import every model before" in message


@pytest.mark.parametrize("argument", ["shared", "shared_writable", "shared_rows", "tenants_public", "functions"])
def test_a_string_in_the_place_of_several_names_is_refused(argument: str) -> None:
    declarations: dict[str, Any] = {argument: "countries"}
    with pytest.raises(SetupError, match="takes several names") as refused:
        Tenancy(MetaData(), **declarations)

    assert f"{argument}={{'countries'}}" in str(refused.value)


def test_a_tenants_table_with_a_composite_key_is_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    Table("tenants", metadata, Column("id", Integer, primary_key=True), Column("part", Integer, primary_key=True))

    message = refusal(metadata, tenants="tenants")

    assert "tenants table tenants" in message
    assert "primary key of one column" in message


def test_an_unknown_public_column_is_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    tenants_table("tenants", metadata)

    message = refusal(metadata, tenants="tenants", tenants_public={"slug", "slag"})

    assert "tenants_public names 'slag'" in message
    assert "table tenants" in message


@pytest.mark.parametrize("column", ["tenant_id", "organisation"])
def test_metadata_in_which_nothing_is_scoped_is_refused(column: str) -> None:
    metadata = MetaData()
    shared_table("countries", metadata)

    assert "nothing would be scoped" in refusal(metadata, shared={"countries"}, column=column)
    assert "nothing would be scoped" in refusal(MetaData(), column=column)


def test_an_unknown_word_in_the_info_of_a_table_is_refused() -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata)
    shared_table("countries", metadata, info={"partywall": "sharde"})

    message = refusal(metadata)

    assert "table countries" in message
    assert "'sharde'" in message
    assert "'shared', 'shared_writable'" in message


@pytest.mark.parametrize("word", ["tenent", "scoped"])
def test_an_unknown_word_in_the_info_of_a_column_is_refused(word: str) -> None:
    metadata = MetaData()
    scoped_table("invoices", metadata, Column("owner", Integer, nullable=False, info={"partywall": word}))

    message = refusal(metadata)

    assert "invoices" in message
    assert word in message


def test_two_marked_tenant_columns_are_refused() -> None:
    metadata = MetaData()
    mark = {"partywall": "tenant"}
    columns = [Column(name, Integer, nullable=False, info=mark) for name in ("seller", "buyer")]
    Table("deals", metadata, *columns)

    assert "table deals marks 2 columns" in refusal(metadata)


# What may be guarded.


def test_guarding_opens_no_connection() -> None:
    engine = unconnectable()

    assert models.tenancy().guard(engine) is engine


def test_a_dialect_nobody_knows_is_refused() -> None:
    dialect = DefaultDialect()
    dialect.name = "unheardof"
    engine = Engine(NullPool(never_connect), dialect, make_url("unheardof://"))
    compiler = engine.dialect.statement_compiler

    with pytest.raises(SetupError, match="unheardof") as refused:
        models.tenancy().guard(engine)

    assert "postgresql, sqlite" in str(refused.value)
    assert engine.dialect.statement_compiler is compiler


def test_an_engine_cannot_be_guarded_twice() -> None:
    engine = models.tenancy().guard(unconnectable())

    for again in ({}, {"allow_unscoped": True}):
        with pytest.raises(SetupError, match="guarded already"):
            models.tenancy().guard(engine, **again)


def test_a_copy_with_options_cannot_be_guarded() -> None:
    engine = unconnectable()

    with pytest.raises(SetupError, match="not a copy"):
        models.tenancy().guard(engine.execution_options(isolation_level="AUTOCOMMIT"))

    models.tenancy().guard(engine)  # the failed attempt left nothing behind


def test_a_copy_made_before_guarding_can_read_nothing(new_sqlite: NewDatabase) -> None:
    engine = create_engine(new_sqlite())
    copied = engine.execution_options(stream_results=True)
    models.tenancy().guard(engine, allow_unscoped=True)

    with Recorder(engine) as sent, copied.connect() as connection:
        for scope in (tenant(1), unscoped(reason="test")):
            with scope, pytest.raises(RefusedStatementError, match="not opened by the guarded engine"):
                connection.execute(select(models.Invoice.id))
            with scope, pytest.raises(RefusedStatementError, match="not opened by the guarded engine"):
                connection.exec_driver_sql("SELECT 1")
    assert sent.statements == []
    engine.dispose()


@pytest.mark.parametrize("thing", [None, "sqlite://", object(), models.Base.metadata, Session()])
def test_what_is_no_engine_cannot_be_guarded(thing: Any) -> None:
    with pytest.raises(SetupError, match=type(thing).__name__):
        models.tenancy().guard(thing)


def test_a_connection_cannot_be_guarded() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection, pytest.raises(SetupError, match="Connection"):
        models.tenancy().guard(connection)  # type: ignore[type-var]  # that it is none is what is tested
    engine.dispose()


def test_an_async_engine_is_guarded_like_its_sync_engine() -> None:
    engine = create_async_engine("sqlite+aiosqlite://", creator=never_connect)

    guarded_engine: AsyncEngine = models.tenancy().guard(engine)

    assert guarded_engine is engine
    with pytest.raises(SetupError, match="guarded already"):
        models.tenancy().guard(engine)
    with pytest.raises(SetupError, match="guarded already"):
        models.tenancy().guard(engine.sync_engine)
    with pytest.raises(SetupError, match="not a copy"):
        models.tenancy().guard(engine.execution_options(stream_results=True))


def test_two_engines_of_one_tenancy_and_two_tenancies_do_not_meet(empty_database: URL) -> None:
    first = scoped_table("of_first", MetaData())
    second = scoped_table("of_second", MetaData(), type_=String)
    with guarded(empty_database, Tenancy(first.metadata), {first: [{"id": 1, "tenant_id": 1}]}) as one:
        with guarded(empty_database, Tenancy(second.metadata), {second: [{"id": 1, "tenant_id": "1"}]}) as other:
            with tenant(1), one.connect() as connection:
                assert len(connection.execute(select(first)).all()) == 1
                with pytest.raises(RefusedStatementError, match="of_second"):
                    connection.execute(select(second))
            with tenant("1"), other.connect() as connection:
                assert len(connection.execute(select(second)).all()) == 1


def test_a_table_added_after_guarding_is_refused_in_statements(new_sqlite: NewDatabase) -> None:
    metadata = MetaData()
    table = scoped_table("invoices", metadata)
    with guarded(new_sqlite(), Tenancy(metadata), {table: [{"id": 1, "tenant_id": 1}]}) as engine:
        later = scoped_table("later", metadata)
        with tenant(1), engine.connect() as connection, Recorder(engine) as sent:
            for statement in (select(later), select(table).join(later, later.c.id == table.c.id)):
                with pytest.raises(RefusedStatementError, match="table later is unknown") as refused:
                    connection.execute(statement)
                assert refused.value.tables == ("later",)
        assert sent.statements == []


def test_a_column_added_after_guarding_is_refused_in_statements(new_sqlite: NewDatabase) -> None:
    metadata = MetaData()
    table = scoped_table("invoices", metadata)
    with guarded(new_sqlite(), Tenancy(metadata), {table: [{"id": 1, "tenant_id": 1}]}) as engine:
        table.append_column(Column("later", Integer))
        with tenant(1), engine.connect() as connection, Recorder(engine) as sent:
            with pytest.raises(RefusedStatementError, match="no column later"):
                connection.execute(select(table.c.later))
        assert sent.statements == []


def test_a_scoped_table_is_refused_with_no_tenant_whatever_its_type(new_sqlite: NewDatabase) -> None:
    table = scoped_table("invoices", MetaData(), type_=Uuid)
    with guarded(new_sqlite(), Tenancy(table.metadata), {table: [{"id": 1, "tenant_id": FIRST}]}) as engine:
        connection: Connection
        with engine.connect() as connection, Recorder(engine) as sent:
            with pytest.raises(NoTenantError) as refused:
                connection.execute(select(table))
            assert refused.value.tables == ("invoices",)
        assert sent.statements == []
