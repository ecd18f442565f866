"""
The key wall alone: plain engines and the driver's own cursors, with all other walls down.

Each attempt to point across tenants is refused by the schema, and succeeds on the schema of the models, so that each
test can fail.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    delete,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.engine import URL, Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from partywall import Tenancy
from tests.conftest import NewDatabase
from tests.key_world import created

LAYOUTS = ("keep", "tenant-first")


class Base(DeclarativeBase):
    pass


class Organisation(Base):
    __tablename__ = "organisations"
    id: Mapped[int] = mapped_column(primary_key=True)


class Project(Base):
    __tablename__ = "projects"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    name: Mapped[str] = mapped_column(unique=True)


task_tags = Table(
    "task_tags",
    Base.metadata,
    Column("tenant_id", Integer, nullable=False),
    Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
)


class Task(Base):
    __tablename__ = "tasks"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    reviewed_in: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="SET NULL"))
    billed_to: Mapped[int | None] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("tasks.id", ondelete="CASCADE", onupdate="CASCADE"))
    project: Mapped[Project | None] = relationship(foreign_keys=project_id)
    tags: Mapped[list[Tag]] = relationship(secondary=task_tags)


class Tag(Base):
    __tablename__ = "tags"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]


tasks, projects, tags = Base.metadata.tables["tasks"], Base.metadata.tables["projects"], Base.metadata.tables["tags"]


@pytest.fixture(scope="module", params=LAYOUTS)
def tenancy(request: pytest.FixtureRequest) -> Tenancy:
    return Tenancy(Base.metadata, tenants="organisations", layout=request.param)


@pytest.fixture(scope="module")
def walled(tenancy: Tenancy, new_database: NewDatabase) -> Iterator[Engine]:
    """Return a plain engine of a database with the keys of the tenancy."""
    with _filled(tenancy, new_database(), with_walls=True) as engine:
        yield engine


@pytest.fixture(scope="module")
def unwalled(tenancy: Tenancy, new_database: NewDatabase) -> Iterator[Engine]:
    """Return the same with the keys of the models."""
    with _filled(tenancy, new_database(), with_walls=False) as engine:
        yield engine


@contextlib.contextmanager
def _filled(tenancy: Tenancy, url: URL, *, with_walls: bool) -> Iterator[Engine]:
    with created(tenancy, url, with_walls=with_walls) as engine, _emptied(engine):
        with engine.begin() as connection:
            for tenant_id in (1, 2):
                own = {"tenant_id": tenant_id}
                connection.execute(insert(Organisation), {"id": tenant_id})
                connection.execute(insert(projects), {"id": tenant_id * 10, "name": f"of {tenant_id}", **own})
                connection.execute(insert(tags), {"id": tenant_id * 10, **own})
                connection.execute(insert(tasks), {"id": tenant_id * 10, "project_id": tenant_id * 10, **own})
                connection.execute(
                    insert(task_tags), {"task_id": tenant_id * 10, "tag_id": tenant_id * 10, "tenant_id": tenant_id}
                )
        yield engine


@contextlib.contextmanager
def _emptied(engine: Engine) -> Iterator[None]:
    yield
    with engine.begin() as connection:
        for table in reversed(Base.metadata.sorted_tables):
            connection.execute(delete(table))


def outcome(engine: Engine, attempt: Callable[[Session], object]) -> type[Exception] | None:
    """Try something that is rolled back, and return what it fails with."""
    with engine.connect() as connection, connection.begin() as transaction:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        try:
            with Session(connection, join_transaction_mode="create_savepoint") as session:
                attempt(session)
                session.commit()
        except Exception as error:  # noqa: BLE001  # its class is what is looked at
            return type(error)
        finally:
            transaction.rollback()
    return None


# The ways to point across.


def insert_a_row(session: Session) -> None:
    session.execute(insert(tasks).values(id=5, tenant_id=1, project_id=20))


def insert_many_rows(session: Session) -> None:
    session.execute(insert(tasks), [{"id": 5 + n, "tenant_id": 1, "project_id": (10, 20)[n]} for n in range(2)])


def insert_from_select(session: Session) -> None:
    rows = select(tasks.c.id + 5, 1, tasks.c.project_id).where(tasks.c.tenant_id == 2)
    session.execute(insert(tasks).from_select(["id", "tenant_id", "project_id"], rows))


def update_a_row(session: Session) -> None:
    session.execute(update(tasks).where(tasks.c.id == 10).values(project_id=20))


def update_a_self_reference(session: Session) -> None:
    session.execute(update(tasks).where(tasks.c.id == 10).values(parent_id=20))


def bulk_update_all_rows(session: Session) -> None:
    session.execute(update(tasks).values(project_id=20))


def bulk_update_by_primary_key(session: Session) -> None:
    session.execute(update(Task), [{"id": 10, "project_id": 20}])


def move_a_row_to_another_tenant(session: Session) -> None:
    session.execute(update(tasks).where(tasks.c.id == 10).values(tenant_id=2))


def relate_an_object(session: Session) -> None:
    session.get_one(Task, 10).project = session.get_one(Project, 20)


def relate_a_new_object(session: Session) -> None:
    session.add(Task(id=5, tenant_id=1, project=session.get_one(Project, 20)))


def tag_with_anothers_tag(session: Session) -> None:
    session.execute(insert(task_tags).values(tenant_id=1, task_id=10, tag_id=20))


def tag_anothers_task(session: Session) -> None:
    session.execute(insert(task_tags).values(tenant_id=1, task_id=20, tag_id=10))


def say_that_a_tag_is_anothers(session: Session) -> None:
    session.execute(update(task_tags).where(task_tags.c.task_id == 10).values(tenant_id=2))


def write_with_the_cursor_of_the_driver(session: Session) -> None:
    with contextlib.closing(session.connection().connection.cursor()) as cursor:
        try:
            cursor.execute("UPDATE tasks SET project_id = 20 WHERE id = 10")
        except Exception as error:  # the driver's
            assert type(error).__mro__[1].__name__ == "IntegrityError" or type(error).__name__ == "IntegrityError"
            raise IntegrityError("UPDATE", None, error) from error


def copy_rows_in(session: Session) -> None:
    raw: Any = session.connection().connection
    with contextlib.closing(raw.cursor()) as cursor:
        try:
            with cursor.copy("COPY tasks (id, tenant_id, project_id) FROM STDIN") as copy:
                copy.write_row((5, 1, 20))
        except Exception as error:  # the driver's
            assert type(error).__name__ == "ForeignKeyViolation"
            raise IntegrityError("COPY", None, error) from error


ACROSS = (
    insert_a_row,
    insert_many_rows,
    insert_from_select,
    update_a_row,
    update_a_self_reference,
    bulk_update_all_rows,
    bulk_update_by_primary_key,
    move_a_row_to_another_tenant,
    relate_an_object,
    relate_a_new_object,
    tag_with_anothers_tag,
    tag_anothers_task,
    say_that_a_tag_is_anothers,
    write_with_the_cursor_of_the_driver,
    copy_rows_in,
)


@pytest.mark.parametrize("attempt", ACROSS, ids=lambda each: each.__name__)
def test_no_row_can_point_to_another_tenants_row(
    walled: Engine, unwalled: Engine, attempt: Callable[[Session], None]
) -> None:
    if attempt is copy_rows_in and walled.dialect.name != "postgresql":
        pytest.skip("PostgreSQL only")

    assert outcome(walled, attempt) is IntegrityError
    assert outcome(unwalled, attempt) is None


def test_a_row_can_point_to_its_tenants_own_rows_and_to_none(walled: Engine) -> None:
    def point(session: Session) -> None:
        session.execute(insert(tasks).values(id=5, tenant_id=1, project_id=10, parent_id=10))
        session.execute(insert(tasks).values(id=6, tenant_id=1, project_id=None))
        session.execute(update(tasks).where(tasks.c.id == 5).values(project_id=None))

    assert outcome(walled, point) is None


def test_a_row_cannot_belong_to_a_tenant_that_is_not_there(walled: Engine, unwalled: Engine) -> None:
    def attempt(session: Session) -> None:
        session.execute(insert(projects).values(id=5, tenant_id=99, name="of nobody"))

    assert outcome(walled, attempt) is IntegrityError
    assert outcome(unwalled, attempt) is None


# What happens to the rows that refer.


def children(session: Session) -> list[tuple[Any, ...]]:
    columns = (tasks.c.id, tasks.c.tenant_id, tasks.c.reviewed_in, tasks.c.billed_to)
    return [tuple(row) for row in session.execute(select(*columns).order_by(tasks.c.id))]


def test_delete_of_a_row_touches_its_own_tenants_rows_alone(walled: Engine) -> None:
    def delete_a_project(session: Session) -> None:
        session.execute(update(tasks).values(project_id=None))
        for tenant_id in (1, 2):
            own = {"tenant_id": tenant_id}
            number = tenant_id * 10
            session.execute(insert(tasks).values(id=number + 1, reviewed_in=number, **own))
            session.execute(insert(tasks).values(id=number + 2, billed_to=number, **own))
        session.execute(delete(projects).where(projects.c.id == 10))
        assert children(session) == [
            (10, 1, None, None),
            (11, 1, None, None),  # SET NULL of the reference, and not of the tenant
            (20, 2, None, None),
            (21, 2, 20, None),
            (22, 2, None, 20),  # 12 went by CASCADE
        ]

    assert outcome(walled, delete_a_project) is None


@pytest.mark.parametrize("name", ["reviewed_in", "billed_to"])
def test_delete_of_a_row_on_the_keys_of_the_models_touches_another_tenants_row(unwalled: Engine, name: str) -> None:
    """What the key wall is for: row-level security does not see referential actions either."""

    def delete_a_project(session: Session) -> None:
        session.execute(update(tasks).values({"project_id": None}))
        session.execute(insert(tasks).values({"id": 21, "tenant_id": 2, name: 10}))
        before = children(session)
        session.execute(delete(projects).where(projects.c.id == 10))
        assert children(session) != before

    assert outcome(unwalled, delete_a_project) is None


@pytest.mark.parametrize("layout", LAYOUTS)
def test_delete_of_a_row_leaves_equal_ids_of_another_tenant_alone(new_database: NewDatabase, layout: str) -> None:
    """Where two tenants have one id, the tenant in the key is all that tells them apart."""
    metadata = MetaData()
    columns = [Column("tenant_id", Integer, primary_key=True), Column("id", Integer, primary_key=True)]
    Table("parents", metadata, *(each._copy() for each in columns))
    Table(
        "children",
        metadata,
        Column("tenant_id", Integer, nullable=False),
        Column("id", Integer, primary_key=True, autoincrement=False),
        Column("parent_id", Integer),
        Column("friend_id", Integer),
    )
    from sqlalchemy import ForeignKeyConstraint

    child = metadata.tables["children"]
    child.append_constraint(ForeignKeyConstraint(["parent_id"], ["parents.id"], ondelete="SET NULL"))
    child.append_constraint(ForeignKeyConstraint(["friend_id"], ["parents.id"], ondelete="CASCADE"))
    with created(Tenancy(metadata, layout=layout), new_database()) as engine, engine.begin() as connection:
        for tenant_id in (1, 2):
            connection.execute(
                insert(metadata.tables["parents"]), [{"tenant_id": tenant_id, "id": number} for number in (1, 2)]
            )
            rows = [(1, 1, None), (2, None, 2)]
            connection.execute(
                insert(child),
                [
                    {"tenant_id": tenant_id, "id": number + tenant_id * 10, "parent_id": parent, "friend_id": friend}
                    for number, parent, friend in rows
                ],
            )
        connection.execute(delete(metadata.tables["parents"]).where(text("tenant_id = 1")))
        assert connection.execute(select(child).order_by(child.c.id)).all() == [
            (1, 11, None, None),
            (2, 21, 1, None),
            (2, 22, None, 2),
        ]
        connection.execute(delete(child))


# What errors tell.


def attempts_at_taken_values(session: Session, tenant_id: int) -> list[str]:
    """Return what becomes of each value that a tenant tries to use."""
    results = []
    for name in ("of 1", "of 2", "new"):
        savepoint = session.begin_nested()
        try:
            session.execute(insert(projects).values(id=5, tenant_id=tenant_id, name=name))
        except IntegrityError:
            results.append("taken")
        else:
            results.append("free")
        savepoint.rollback()
    for project_id in (10, 20, 30):
        savepoint = session.begin_nested()
        try:
            session.execute(insert(tasks).values(id=5, tenant_id=tenant_id, project_id=project_id))
        except IntegrityError:
            results.append("not there")
        else:
            results.append("there")
        savepoint.rollback()
    return results


def test_unique_keys_and_references_tell_nothing_about_other_tenants(walled: Engine, unwalled: Engine) -> None:
    def alone(session: Session) -> None:
        for table in (task_tags, tasks, tags, projects):
            session.execute(delete(table).where(table.c.tenant_id == 2))
        answers.append(attempts_at_taken_values(session, 1))

    def among_many(session: Session) -> None:
        answers.append(attempts_at_taken_values(session, 1))

    answers: list[list[str]] = []
    assert [outcome(walled, alone), outcome(walled, among_many)] == [None, None]
    assert answers == [["taken", "free", "free", "there", "not there", "not there"]] * 2

    answers.clear()
    assert [outcome(unwalled, alone), outcome(unwalled, among_many)] == [None, None]
    assert answers[0] != answers[1]


# MATCH, as docs/keys.md tells it.


def _matching(match: str | None, *, nullable: bool = False, ondelete: str | None = None) -> MetaData:
    from sqlalchemy import ForeignKeyConstraint

    metadata = MetaData()
    Table(
        "projects",
        metadata,
        Column("tenant_id", Integer, primary_key=True),
        Column("id", Integer, primary_key=True),
        UniqueConstraint("tenant_id", "id"),
    )
    columns = ["tenant_id", "project_id"]
    Table(
        "tasks",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", Integer, nullable=nullable),
        Column("project_id", Integer),
        Column("note", String),
        ForeignKeyConstraint(
            columns, ["projects.tenant_id", "projects.id"], match=match, ondelete=ondelete, name="fk_project"
        ),
    )
    return metadata


def matching(
    new_database: NewDatabase,
    match: str | None,
    row: tuple[int | None, int | None],
    *,
    nullable: bool = False,
    ondelete: str | None = None,
    then_delete: bool = False,
) -> list[Any] | type[Exception]:
    """Insert a reference into a table by hand, perhaps delete what it refers to, and return what is there then."""
    metadata = _matching(match, nullable=nullable, ondelete=ondelete)
    parents, children = metadata.tables["projects"], metadata.tables["tasks"]
    with created(Tenancy(metadata, shared_rows={"tasks"} if nullable else ()), new_database(), with_walls=False) as it:
        try:
            with it.begin() as connection:
                connection.execute(insert(parents), [{"tenant_id": 1, "id": 10}, {"tenant_id": 2, "id": 20}])
                connection.execute(insert(children), {"id": 1, "tenant_id": row[0], "project_id": row[1]})
                if then_delete:
                    connection.execute(delete(parents))
                found = connection.execute(select(children.c.tenant_id, children.c.project_id)).all()
                connection.execute(delete(children))
                return [tuple(each) for each in found]
        except IntegrityError as error:
            return type(error)


def test_match_simple_with_a_tenant_that_is_not_null_refuses_references_across(new_database: NewDatabase) -> None:
    assert matching(new_database, None, (1, 10)) == [(1, 10)]
    assert matching(new_database, None, (1, 20)) is IntegrityError


def test_match_simple_with_a_tenant_that_is_not_null_lets_a_reference_be_null(new_database: NewDatabase) -> None:
    assert matching(new_database, None, (1, None)) == [(1, None)]


def test_match_full_refuses_a_reference_that_is_null(new_postgresql: NewDatabase) -> None:
    assert matching(new_postgresql, "FULL", (1, None)) is IntegrityError


def test_sqlite_reads_match_full_as_simple(new_sqlite: NewDatabase) -> None:
    assert matching(new_sqlite, "FULL", (1, None)) == [(1, None)]


def test_match_full_makes_on_delete_set_null_of_one_column_fail(new_postgresql: NewDatabase) -> None:
    options: dict[str, Any] = {"ondelete": "SET NULL (project_id)", "then_delete": True}

    assert matching(new_postgresql, None, (1, 10), **options) == [(1, None)]
    assert matching(new_postgresql, "FULL", (1, 10), **options) is IntegrityError


def test_on_delete_set_null_without_a_list_of_columns_fails_on_the_tenant(new_database: NewDatabase) -> None:
    assert matching(new_database, None, (1, 10), ondelete="SET NULL", then_delete=True) is IntegrityError


def test_match_simple_checks_nothing_where_the_tenant_is_null(new_database: NewDatabase) -> None:
    assert matching(new_database, None, (None, 99), nullable=True) == [(None, 99)]


def test_match_full_refuses_a_reference_whose_tenant_is_null(new_postgresql: NewDatabase) -> None:
    assert matching(new_postgresql, "FULL", (None, 99), nullable=True) is IntegrityError
    assert matching(new_postgresql, "FULL", (None, None), nullable=True) == [(None, None)]


# What the derived keys do about it.


def _templates(url: URL, **options: Any) -> contextlib.AbstractContextManager[Engine]:
    metadata = MetaData()
    Table(
        "templates",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", Integer),
        Column("name", String, unique=True),
        Column("parent_id", ForeignKey("templates.id", **options)),
    )
    return created(Tenancy(metadata, shared_rows={"templates"}), url)


@pytest.mark.parametrize(
    ("row", "is_refused"),
    [
        ((1, "new", None), False),
        ((1, "new", 1), False),
        ((1, "new", 2), True),  # of another tenant
        ((1, "shared", None), False),
        ((1, "first", None), True),
        ((2, "first", None), False),
        ((None, "new", None), False),
        ((None, "new", 1), True),  # of a tenant
        ((None, "new", 99), True),  # of nobody
        ((None, "first", None), False),
        ((None, "shared", None), True),  # unique among shared rows, too
    ],
)
def test_shared_rows_have_keys_of_their_own(
    new_database: NewDatabase, row: tuple[int | None, str, int | None], is_refused: bool
) -> None:
    with _templates(new_database()) as engine:
        templates = MetaData()
        templates.reflect(engine)
        table = templates.tables["templates"]
        with engine.begin() as connection:
            connection.execute(
                insert(table),
                [
                    {"id": 1, "tenant_id": 1, "name": "first"},
                    {"id": 2, "tenant_id": 2, "name": "second"},
                    {"id": 3, "tenant_id": None, "name": "shared"},
                ],
            )
        values = dict(zip(("tenant_id", "name", "parent_id"), row, strict=True))
        with engine.connect() as connection:
            if is_refused:
                with pytest.raises(IntegrityError):
                    connection.execute(insert(table), {"id": 4, **values})
            else:
                connection.execute(insert(table), {"id": 4, **values})


def test_a_derived_key_that_matches_full_refuses_null_on_both_databases(new_database: NewDatabase) -> None:
    metadata = MetaData()
    Table("projects", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", Integer, nullable=False))
    key = ForeignKey("projects.id", match="FULL")
    tasks = Table(
        "tasks",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", Integer, nullable=False),
        Column("project_id", key),
    )
    with created(Tenancy(metadata), new_database()) as engine, engine.connect() as connection:
        with pytest.raises(IntegrityError):
            connection.execute(insert(tasks), {"id": 1, "tenant_id": 1, "project_id": None})
