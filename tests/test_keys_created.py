"""The keys in real databases: every way to create them gives the same, and the models stay as they are."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    inspect,
    text,
)
from sqlalchemy.engine import URL, Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.schema import AddConstraint, CreateIndex, CreateTable, DropConstraint, DropTable

from partywall import RefusedStatementError, SetupError, Tenancy, tenant, unscoped
from tests.conftest import NewDatabase
from tests.key_cases import CASES, Case, scoped
from tests.key_world import Keys, created, guarded, keys_in, opened
from tests.test_keys import lines_of


@pytest.fixture(scope="module")
def url(new_database: NewDatabase) -> URL:
    """Return one empty database for all tests, which leave it empty."""
    return new_database()


def case_for(url: URL, name: str) -> Case:
    case = CASES[name]
    if case.only not in (None, url.get_backend_name()):
        pytest.skip(f"{case.only} only")
    return case


def schemas_of(url: URL) -> tuple[str | None, ...]:
    return (None, "planning", "working") if url.get_backend_name() == "postgresql" else (None,)


@pytest.fixture(autouse=True, scope="module")
def make_schemas(url: URL) -> None:
    with opened(url) as engine, engine.begin() as connection:
        for schema in schemas_of(url)[1:]:
            connection.execute(text(f"CREATE SCHEMA {schema}"))


@pytest.mark.parametrize("name", CASES)
def test_all_tables_are_created_and_dropped_and_creating_twice_is_safe(url: URL, name: str) -> None:
    tenancy = case_for(url, name).tenancy()
    metadata = tenancy.metadata[0]
    with created(tenancy, url) as plain:
        expected = keys_in(plain, *schemas_of(url))

    with opened(url) as plain, guarded(tenancy, url) as engine:
        with unscoped(reason="create"):
            metadata.create_all(engine)
            metadata.create_all(engine)
        tenancy.create_all(engine)
        tenancy.create_all(plain)
        assert keys_in(plain, *schemas_of(url)) == expected
        assert expected.keys() == metadata.tables.keys()

        with unscoped(reason="drop"):
            metadata.drop_all(engine)
            metadata.drop_all(engine)
        assert keys_in(plain, *schemas_of(url)) == {}
        with plain.connect() as connection:
            assert _leftovers(connection) == []


def _leftovers(connection: Any) -> list[Any]:
    if connection.dialect.name == "sqlite":
        return list(connection.execute(text("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")))
    sequences = text("SELECT relname FROM pg_class WHERE relkind = 'S'")
    types = text("SELECT typname FROM pg_type WHERE typtype = 'e'")
    return [*connection.execute(sequences), *connection.execute(types)]


@pytest.mark.parametrize("name", CASES)
def test_the_models_are_left_as_they_are(name: str) -> None:
    case = CASES[name]
    tenancy = case.tenancy()
    metadata = tenancy.metadata[0]
    for dialect in ("sqlite", "postgresql"):
        if case.only not in (None, dialect):
            continue
        before = (_repr_of(metadata), lines_of(metadata, dialect))

        tenancy.physical_metadata(dialect=dialect)

        assert (_repr_of(metadata), lines_of(metadata, dialect)) == before


DDL_EVENTS = ("before_create", "after_create", "before_drop", "after_drop")


def _repr_of(metadata: MetaData) -> list[Any]:
    """Return all that a metadata holds."""
    return [
        (
            repr(table),
            sorted(repr(each) for each in table.constraints),
            sorted(repr(each) for each in table.indexes),
            [(column.primary_key, column.nullable, column.unique, column.autoincrement) for column in table.columns],
            table.info,
            [len(getattr(table.dispatch, name).listeners) for name in DDL_EVENTS],
        )
        for table in metadata.tables.values()
    ]


# Every way to create tables.


def _models() -> Tenancy:
    metadata = MetaData()
    Table("tenants", metadata, Column("id", Integer, primary_key=True))
    scoped(metadata, "projects", Column("name", String, unique=True, index=True), UniqueConstraint("name", "id"))
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id", ondelete="SET NULL")))
    for name in ("projects", "tasks"):  # the models say it too, so that their order is the database's
        metadata.tables[name].append_constraint(ForeignKeyConstraint(["tenant_id"], ["tenants.id"]))
    return Tenancy(metadata, tenants="tenants")


def by_tenancy(tenancy: Tenancy, engine: Engine) -> None:
    tenancy.create_all(engine)


def by_tenancy_on_a_connection(tenancy: Tenancy, engine: Engine) -> None:
    with unscoped(reason="test"), engine.begin() as connection:
        tenancy.create_all(connection)


def by_metadata(tenancy: Tenancy, engine: Engine) -> None:
    with unscoped(reason="test"):
        tenancy.metadata[0].create_all(engine)


def by_metadata_and_list(tenancy: Tenancy, engine: Engine) -> None:
    with unscoped(reason="test"):
        for table in tenancy.metadata[0].sorted_tables:
            tenancy.metadata[0].create_all(engine, tables=[table])


def by_metadata_on_a_connection(tenancy: Tenancy, engine: Engine) -> None:
    with unscoped(reason="test"), engine.begin() as connection:
        tenancy.metadata[0].create_all(connection, checkfirst=False)


def by_each_table(tenancy: Tenancy, engine: Engine) -> None:
    with unscoped(reason="test"):
        for table in tenancy.metadata[0].sorted_tables:
            table.create(engine, checkfirst=True)
            table.create(engine, checkfirst=True)


def by_statement(tenancy: Tenancy, engine: Engine) -> None:
    with unscoped(reason="test"), engine.begin() as connection:
        for table in tenancy.metadata[0].sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))


WAYS = (
    by_tenancy,
    by_tenancy_on_a_connection,
    by_metadata,
    by_metadata_and_list,
    by_metadata_on_a_connection,
    by_each_table,
    by_statement,
)


@pytest.mark.parametrize("create", WAYS, ids=lambda each: each.__name__)
def test_every_way_to_create_tables_gives_the_keys_of_the_database(
    url: URL, create: Callable[[Tenancy, Engine], None]
) -> None:
    tenancy = _models()
    with created(tenancy, url) as plain:
        expected = keys_in(plain)

    with opened(url) as plain, guarded(tenancy, url) as engine:
        create(tenancy, engine)
        try:
            assert keys_in(plain) == expected
        finally:
            with unscoped(reason="drop"), engine.begin() as connection:
                for table in reversed(tenancy.metadata[0].sorted_tables):
                    connection.execute(DropTable(table))


@pytest.mark.parametrize("name", ["by_tenancy", "by_metadata"])
def test_the_keys_of_the_database_are_created_with_asyncio(new_database: NewDatabase, name: str) -> None:
    sync = new_database()
    driver = "aiosqlite" if sync.get_backend_name() == "sqlite" else "asyncpg"
    tenancy = _models()
    engine = tenancy.guard(
        create_async_engine(sync.set(drivername=f"{sync.get_backend_name()}+{driver}")), allow_unscoped=True
    )

    async def create() -> None:
        with unscoped(reason="test"):
            async with engine.begin() as connection:
                if name == "by_tenancy":
                    await connection.run_sync(tenancy.create_all)
                else:
                    await connection.run_sync(tenancy.metadata[0].create_all)
        await engine.dispose()

    asyncio.run(create())
    with opened(sync) as plain:
        found = keys_in(plain)
        with created(tenancy, new_database()) as other:
            assert found == keys_in(other)


def test_a_constraint_by_itself_is_that_of_the_database(new_postgresql: NewDatabase) -> None:
    url = new_postgresql()
    tenancy = _models()
    tasks = tenancy.metadata[0].tables["tasks"]
    key = next(iter(tasks.foreign_key_constraints))
    key.name = "fk_project"
    with created(tenancy, url) as plain, guarded(tenancy, url) as engine, unscoped(reason="test"):
        before = keys_in(plain)
        with engine.begin() as connection:
            connection.execute(DropConstraint(key))
        without = keys_in(plain)
        with engine.begin() as connection:
            connection.execute(AddConstraint(key))
        assert without != before == keys_in(plain)


def test_a_guarded_engine_with_a_tenant_in_scope_creates_nothing(url: URL) -> None:
    tenancy = _models()
    with opened(url) as plain:
        engine = tenancy.guard(create_engine(url))
        with pytest.raises(SetupError, match="allow_unscoped"):
            tenancy.create_all(engine)
        with tenant(1), pytest.raises(RefusedStatementError):
            tenancy.metadata[0].create_all(engine)
        assert keys_in(plain) == {}
        engine.dispose()


def test_tables_of_another_metadata_are_created_as_they_are_written(url: URL) -> None:
    """Those of Alembic, say: they belong to no tenancy."""
    other = MetaData()
    Table("versions", other, Column("id", Integer, primary_key=True), Column("tenant_id", Integer, unique=True))
    with opened(url) as plain, guarded(_models(), url) as engine, unscoped(reason="test"):
        other.create_all(engine)
        assert keys_in(plain)["versions"].unique == {("tenant_id",)}
        other.drop_all(engine)


def test_an_unguarded_create_all_gives_the_keys_of_the_models(url: URL) -> None:
    """A limit, and it shows that the other tests can fail."""
    tenancy = _models()
    with created(tenancy, url) as plain:
        expected = keys_in(plain)
    with created(tenancy, url, with_walls=False) as plain:
        assert keys_in(plain) != expected


def test_a_table_of_two_metadata_gets_what_either_refers_to(url: URL) -> None:
    first, second = MetaData(), MetaData()
    scoped(second, "projects")
    scoped(second, "tasks", Column("project_id", ForeignKey("projects.id")))
    second.tables["projects"].to_metadata(first)
    with created(Tenancy((first, second)), url) as plain:
        found = keys_in(plain)
        assert found["projects"].unique == {("tenant_id", "id")}
        assert {key[0] for key in found["tasks"].foreign} == {("tenant_id", "project_id")}


# Events.


def test_ddl_events_of_the_application_fire_for_the_tables_of_the_database(url: URL) -> None:
    tenancy = _models()
    metadata = tenancy.metadata[0]
    heard: list[str] = []

    def listen(target: Any, name: str) -> None:
        @event.listens_for(target, name)
        def hear(target: Any, connection: Any, **_: Any) -> None:
            assert connection.execute(text("SELECT 1")).scalar() == 1
            heard.append(f"{name} {getattr(target, 'name', 'metadata')}")

    for name in DDL_EVENTS:
        listen(metadata, name)
        listen(metadata.tables["tasks"], name)
    with guarded(tenancy, url) as engine, unscoped(reason="test"):
        metadata.create_all(engine)
        metadata.drop_all(engine)

    created_and_dropped = [f"{when}_{what}" for what in ("create", "drop") for when in ("before", "after")]
    assert heard == [
        f"{created_and_dropped[0]} metadata",
        f"{created_and_dropped[0]} tasks",
        f"{created_and_dropped[1]} tasks",
        f"{created_and_dropped[1]} metadata",
        f"{created_and_dropped[2]} metadata",
        f"{created_and_dropped[2]} tasks",
        f"{created_and_dropped[3]} tasks",
        f"{created_and_dropped[3]} metadata",
    ]


@pytest.mark.parametrize("is_guarded", [True, False])
def test_keys_that_the_application_adds_after_a_table_are_those_of_the_database(
    new_postgresql: NewDatabase, *, is_guarded: bool
) -> None:
    """As SQLAlchemy's documentation shows it: the key is left out of CREATE TABLE, and added by a listener."""
    url = new_postgresql()
    tenancy = _models()
    with created(tenancy, url) as plain:
        expected = keys_in(plain)
    tasks, projects = (tenancy.metadata[0].tables[name] for name in ("tasks", "projects"))
    for table in (tasks, projects):
        kinds = (ForeignKeyConstraint, UniqueConstraint)
        for constraint in [each for each in table.constraints if isinstance(each, kinds)]:
            event.listen(table, "after_create", AddConstraint(constraint))
    with opened(url) as plain:
        with guarded(tenancy, url) as engine:
            tenancy.create_all(engine if is_guarded else plain)
        assert keys_in(plain) == expected
        for table in (tasks, projects):
            table.drop(plain)


def test_triggers_of_sqlite_come_back_with_a_table_that_is_created_again(new_sqlite: NewDatabase) -> None:
    tenancy = _models()
    projects, tasks = (tenancy.metadata[0].tables[name] for name in ("projects", "tasks"))
    with opened(new_sqlite()) as engine:
        tenancy.create_all(engine)
        triggers = text("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        with engine.connect() as connection:
            before = connection.execute(triggers).all()
        assert before
        for dropped in ((tasks,), (projects,), (tasks, projects)):
            for table in dropped:
                table.drop(engine)
            tenancy.create_all(engine)
            with engine.connect() as connection:
                assert connection.execute(triggers).all() == before


# What the inspector finds is what was meant.


def meant_by(metadata: MetaData) -> dict[str, Keys]:
    """Return the keys of a physical metadata as the inspector should find them."""
    return {name: _meant(table) for name, table in metadata.tables.items()}


def _meant(table: Table) -> Keys:
    unique = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    foreign = [each for each in table.constraints if isinstance(each, ForeignKeyConstraint)]
    assert isinstance(table.primary_key, PrimaryKeyConstraint)
    indexes: list[Index] = list(table.indexes)
    return Keys(
        tuple(each.name for each in table.primary_key.columns),
        frozenset(tuple(column.name for column in each.columns) for each in unique),
        frozenset(
            (
                tuple(column.name for column in each.columns),
                each.referred_table.name,
                tuple(element.column.name for element in each.elements),
                _options(each),
            )
            for each in foreign
        ),
        frozenset(
            (
                None if each.name is None else str(each.name),
                tuple(item.name if isinstance(item, Column) else None for item in each.expressions),
                bool(each.unique),
            )
            for each in indexes
        ),
        frozenset(column.name for column in table.columns if column.nullable),
        0,
    )


def _options(key: ForeignKeyConstraint) -> tuple[tuple[str, Any], ...]:
    options = {
        "ondelete": key.ondelete,
        "onupdate": key.onupdate,
        "deferrable": key.deferrable,
        "initially": key.initially,
        "match": key.match,
    }
    return tuple(sorted((name, value) for name, value in options.items() if value))


def test_the_inspector_finds_what_was_meant(url: URL) -> None:
    tenancy = _models()
    with created(tenancy, url) as plain:
        (physical,) = tenancy.physical_metadata(dialect=url.get_backend_name())
        assert keys_in(plain) == meant_by(physical)
        assert inspect(plain).get_table_names()
