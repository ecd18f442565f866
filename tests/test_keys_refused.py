"""Keys that cannot be derived: each error names the constraint, says why, and its way out works when it is written."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import (
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, column_property, mapped_column

from partywall import SetupError, Tenancy, tenant
from tests.conftest import NewDatabase
from tests.key_cases import KEEP, scoped
from tests.key_world import created, guarded

Build = Callable[[MetaData], None]


@dataclass(frozen=True)
class Refused:
    """
    Models that are refused, what the error says, and the models after it was heeded.

    Attributes:
        build, mended: Add the tables to a metadata that has ``tenants`` and ``countries``.
        says: Parts of the error: the name of the constraint, the reason, and the line to write.
        options: Those of `Tenancy`.
        server_version: Of PostgreSQL.
        only: Name of the one database that refuses it.
    """

    build: Build
    mended: Build
    says: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    server_version: tuple[int, ...] | None = None
    only: str | None = None

    def tenancy(self, build: Build) -> Tenancy:
        metadata = MetaData()
        Table("tenants", metadata, Column("id", Integer, primary_key=True), Column("slug", String, unique=True))
        Table("countries", metadata, Column("code", String, primary_key=True))
        build(metadata)
        return Tenancy(metadata, **{"tenants": "tenants", "shared": {"countries"}, **self.options})


def tasks_that_refer(*key: Any, **options: Any) -> Build:
    """Return what adds projects, and tasks with a named foreign key to them."""
    nullable = options.pop("nullable", True)

    def build(metadata: MetaData) -> None:
        scoped(metadata, "projects", Column("code", String))
        target = key[0] if key else "projects.id"
        type_ = {"projects.code": String, "tenants.slug": String}.get(target, Integer)
        reference = ForeignKey(target, name="fk_mine", **options)
        scoped(metadata, "tasks", Column("project", type_, reference, nullable=nullable))

    return build


def with_unique_codes(metadata: MetaData) -> None:
    tasks_that_refer("projects.code")(metadata)
    metadata.tables["projects"].append_constraint(UniqueConstraint("code"))


def with_a_partial_unique_index(metadata: MetaData) -> None:
    tasks_that_refer("projects.code")(metadata)
    projects = metadata.tables["projects"]
    some = projects.c.code > "x"
    Index("ix_code", projects.c.code, unique=True, postgresql_where=some, sqlite_where=some)


def shared_that_refers(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    metadata.tables["countries"].append_column(Column("project", ForeignKey("projects.id", name="fk_mine")))


def scoped_that_refers_to_shared(metadata: MetaData) -> None:
    scoped(metadata, "projects", Column("country", ForeignKey("countries.code", name="fk_mine")))


def crossed(metadata: MetaData) -> None:
    scoped(metadata, "projects", UniqueConstraint("tenant_id", "id"))
    key = ForeignKeyConstraint(["project", "tenant_id"], ["projects.tenant_id", "projects.id"], name="fk_mine")
    scoped(metadata, "tasks", Column("project", Integer), key)


def straight(metadata: MetaData) -> None:
    scoped(metadata, "projects", UniqueConstraint("tenant_id", "id"))
    key = ForeignKeyConstraint(["project", "tenant_id"], ["projects.id", "projects.tenant_id"], name="fk_mine")
    scoped(metadata, "tasks", Column("project", Integer), key)


def hard_cycle(**options: Any) -> Build:
    def build(metadata: MetaData) -> None:
        first: Column[Any] = Column("leader", ForeignKey("people.id", name="fk_leader", **options), nullable=False)
        scoped(metadata, "teams", first)
        scoped(metadata, "people", Column("team", ForeignKey("teams.id", name="fk_team"), nullable=False))

    return build


def soft_cycle(metadata: MetaData) -> None:
    key = ForeignKey("people.id", name="fk_leader", use_alter=True)
    scoped(metadata, "teams", Column("leader", key, nullable=True))
    scoped(metadata, "people", Column("team", ForeignKey("teams.id", name="fk_team"), nullable=False))


def by_hand(**options: Any) -> Build:
    def build(metadata: MetaData) -> None:
        scoped(metadata, "projects", UniqueConstraint("tenant_id", "id"))
        columns = ["tenant_id", "project"], ["projects.tenant_id", "projects.id"]
        key = ForeignKeyConstraint(*columns, name="fk_mine", **options)
        metadata.remove(metadata.tables["projects"])
        Table(
            "projects",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("tenant_id", Integer),
            UniqueConstraint("tenant_id", "id"),
        )
        Table(
            "tasks",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("tenant_id", Integer),
            Column("project", Integer),
            key,
        )

    return build


def templates_of_a_tenant(**options: Any) -> Build:
    def build(metadata: MetaData) -> None:
        columns = [Column("id", Integer, primary_key=True)]
        columns.append(Column("tenant_id", ForeignKey("tenants.id", name="fk_mine", **options)))
        Table("templates", metadata, *columns)

    return build


def kept(target: str = "projects.id", *, code_info: Any = None, **options: Any) -> Build:
    def build(metadata: MetaData) -> None:
        scoped(metadata, "projects", Column("code", Integer, unique=True, info=code_info or {}), **options)
        scoped(metadata, "tasks", Column("project", Integer, ForeignKey(target, name="fk_mine", info=KEEP)))

    return build


def _members_of_users(**options: Any) -> Build:
    """Return what adds users, whom all tenants write, and members with a named foreign key to them."""

    def build(metadata: MetaData) -> None:
        Table("users", metadata, Column("id", Integer, primary_key=True))
        key = ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_members_user", **options)
        scoped(metadata, "members", Column("user_id", Integer), key)

    return build


def _users_of_tenants(**options: Any) -> Build:
    """Return what adds users, whom all tenants write, with a named foreign key to the tenants table."""

    def build(metadata: MetaData) -> None:
        key = ForeignKeyConstraint(["home_id"], ["tenants.id"], name="fk_users_home", **options)
        Table("users", metadata, Column("id", Integer, primary_key=True), Column("home_id", Integer), key)
        scoped(metadata, "notes")

    return build


REFUSED: dict[str, Refused] = {
    "a_reference_to_what_is_not_unique": Refused(
        tasks_that_refer("projects.code"),
        with_unique_codes,
        ("fk_mine", "projects (code), which is not unique there", "UniqueConstraint('code')"),
    ),
    "a_reference_to_what_is_unique_in_part": Refused(
        with_a_partial_unique_index,
        with_unique_codes,
        ("fk_mine", "projects (code), which is not unique there", "UniqueConstraint('code')"),
    ),
    "set_null_before_postgresql_15": Refused(
        tasks_that_refer(ondelete="SET NULL"),
        tasks_that_refer(ondelete="RESTRICT"),
        ("fk_mine", "PostgreSQL has since version 15", "ondelete='RESTRICT'"),
        server_version=(14, 0),
        only="postgresql",
    ),
    "set_default_before_postgresql_15": Refused(
        tasks_that_refer(ondelete="set  default"),
        tasks_that_refer(ondelete="CASCADE"),
        ("fk_mine", "ON DELETE SET DEFAULT", "PostgreSQL has since version 15", "'CASCADE'"),
        server_version=(14, 9),
        only="postgresql",
    ),
    "shared_to_scoped": Refused(
        shared_that_refers,
        scoped_that_refers_to_shared,
        ("fk_mine", "countries is shared", "refer from projects to it"),
    ),
    "shared_writable_to_scoped": Refused(
        shared_that_refers,
        scoped_that_refers_to_shared,
        ("fk_mine", "countries is shared_writable", "refer from projects to it"),
        {"shared": (), "shared_writable": {"countries"}},
    ),
    **{
        f"{option}_{action}_of_a_table_that_all_tenants_write".replace(" ", "_").lower(): Refused(
            _members_of_users(**{option: action}),
            _members_of_users(),
            ("fk_members_user", "users is written by all tenants", f"Leave {option} out"),
            {"shared_writable": {"users"}},
        )
        for option in ("ondelete", "onupdate")
        for action in ("CASCADE", "SET NULL", "SET DEFAULT")
    },
    "a_table_that_all_tenants_write_to_the_tenants_table": Refused(
        _users_of_tenants(),
        _users_of_tenants(info=KEEP),
        ("fk_users_home", "who could name each other", "keep"),
        {"shared_writable": {"users"}},
    ),
    "to_the_tenants_table_by_another_column": Refused(
        tasks_that_refer("tenants.id"),
        tasks_that_refer("tenants.id", info=KEEP),
        ("fk_mine", "tenants table tenants, which may be another tenant's", "info={'partywall': 'keep'}"),
    ),
    "to_another_column_of_the_tenants_table": Refused(
        tasks_that_refer("tenants.slug"),
        tasks_that_refer("tenants.slug", info=KEEP),
        ("fk_mine", "tenants table tenants, which may be another tenant's", "info={'partywall': 'keep'}"),
    ),
    "a_cycle_of_hard_keys": Refused(
        hard_cycle(),
        hard_cycle(deferrable=True, initially="DEFERRED", use_alter=True),
        ("fk_leader", "fk_team", "no first row can be inserted", "deferrable=True, initially='DEFERRED', use_alter"),
    ),
    "a_cycle_of_hard_keys_in_which_one_may_be_null": Refused(
        hard_cycle(), soft_cycle, ("fk_leader", "fk_team", "Let one of them be NULL")
    ),
    "match_full_with_set_null": Refused(
        tasks_that_refer(match="full", ondelete="SET NULL"),
        tasks_that_refer(ondelete="SET NULL"),
        ("fk_mine", "MATCH FULL forbids", "Leave match='FULL' out"),
    ),
    "on_update_set_null": Refused(
        tasks_that_refer(onupdate="SET NULL"),
        tasks_that_refer(onupdate="CASCADE"),
        ("fk_mine", "ON UPDATE SET NULL would change the tenant", "onupdate='CASCADE'"),
    ),
    "on_update_set_default": Refused(
        tasks_that_refer(onupdate="SET DEFAULT"),
        tasks_that_refer(),
        ("fk_mine", "ON UPDATE SET DEFAULT would change the tenant", "leave it out"),
    ),
    "the_tenant_mapped_to_another_column": Refused(
        crossed, straight, ("fk_mine", "maps a tenant column to another column", "map one to the other")
    ),
    "a_reference_to_a_table_that_is_not_there": Refused(
        tasks_that_refer("plans.id"),
        tasks_that_refer("projects.id"),
        ("fk_mine", "plans.id, which is not there", "Import every model", "mend the name"),
    ),
    "a_reference_to_a_column_that_is_not_there": Refused(
        tasks_that_refer("projects.number"),
        tasks_that_refer("projects.id"),
        ("fk_mine", "projects.number, which is not there", "mend the name"),
    ),
    "a_kept_reference_to_a_primary_key_with_the_tenant": Refused(
        kept(),
        kept(info={"partywall": "keep"}),
        ("fk_mine", "projects (id) is unique in a tenant only", "the table projects:  info={'partywall': 'keep'}"),
        {"layout": "tenant-first"},
        only="postgresql",
    ),
    "a_kept_reference_to_a_unique_key_with_the_tenant": Refused(
        kept("projects.code"),
        kept("projects.code", code_info={"partywall": "global"}),
        ("fk_mine", "projects (code) is unique in a tenant only", "its unique key:  info={'partywall': 'global'}"),
    ),
    "set_null_of_the_tenant_when_the_tenant_goes": Refused(
        templates_of_a_tenant(ondelete="set null"),
        templates_of_a_tenant(ondelete="CASCADE"),
        ("fk_mine", "ON DELETE SET NULL would change the tenant column", "whose row it is", "ondelete='CASCADE'"),
        {"shared_rows": {"templates"}},
    ),
    "set_null_of_the_tenant_when_the_tenant_changes": Refused(
        templates_of_a_tenant(onupdate="SET NULL"),
        templates_of_a_tenant(onupdate="CASCADE"),
        ("fk_mine", "ON UPDATE SET NULL would change the tenant column", "whose row it is", "onupdate='CASCADE'"),
        {"shared_rows": {"templates"}},
    ),
    "set_default_of_the_tenant": Refused(
        templates_of_a_tenant(ondelete="SET DEFAULT"),
        templates_of_a_tenant(ondelete="SET DEFAULT", info=KEEP),
        ("fk_mine", "ON DELETE SET DEFAULT would change the tenant column", "info={'partywall': 'keep'}"),
        {"shared_rows": {"templates"}},
    ),
    "set_null_of_a_tenant_that_may_be_null": Refused(
        by_hand(ondelete="SET NULL"),
        by_hand(ondelete="CASCADE"),
        ("fk_mine", "ON DELETE SET NULL would change the tenant column as well", "leave the tenant columns out"),
        {"shared_rows": {"projects", "tasks"}},
    ),
}


@pytest.mark.parametrize("dialect", ["postgresql", "sqlite"])
@pytest.mark.parametrize("name", REFUSED)
def test_keys_that_cannot_be_derived_are_refused_with_the_line_to_write(name: str, dialect: str) -> None:
    case = REFUSED[name]
    if case.only not in (None, dialect):
        pytest.skip(f"{case.only} only")

    with pytest.raises(SetupError) as caught:
        case.tenancy(case.build).physical_metadata(dialect=dialect, server_version=case.server_version)

    for each in case.says:
        assert each in str(caught.value), str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own


@pytest.mark.parametrize("name", REFUSED)
def test_the_way_out_of_a_refusal_works(new_database: NewDatabase, name: str) -> None:
    case = REFUSED[name]
    tenancy = case.tenancy(case.mended)
    url = new_database()
    tenancy.physical_metadata(dialect=url.get_backend_name(), server_version=case.server_version)

    with created(tenancy, url):
        pass


@pytest.mark.parametrize("name", [name for name, case in REFUSED.items() if case.only is None])
def test_create_all_refuses_what_cannot_be_derived_before_anything_is_sent(new_sqlite: NewDatabase, name: str) -> None:
    tenancy = REFUSED[name].tenancy(REFUSED[name].build)
    with guarded(tenancy, new_sqlite()) as engine:
        with pytest.raises(SetupError):
            tenancy.create_all(engine)
        with engine.connect() as connection:
            cursor = connection.connection.cursor()
            assert cursor.execute("SELECT * FROM sqlite_master").fetchall() == []
            cursor.close()


WORDS: dict[str, tuple[Build, str]] = {
    "column": (lambda metadata: _add(metadata, Column("x", Integer, info={"partywall": "globl"})), "'globl'"),
    "key": (
        lambda metadata: _add(metadata, Column("x", ForeignKey("projects.id", info={"partywall": "global"}))),
        "'global'",
    ),
    "constraint": (
        lambda metadata: _add(metadata, UniqueConstraint("id", name="uq_mine", info={"partywall": "keep"})),
        "uq_mine",
    ),
    "index": (lambda metadata: _add(metadata, Index("ix_mine", "id", info={"partywall": ["global", "x"]})), "ix_mine"),
    "table": (lambda metadata: _add(metadata, info={"partywall": "tenant first"}), "'tenant first'"),
    "two_layouts": (lambda metadata: _add(metadata, info={"partywall": ["keep", "tenant-first"]}), "choose one"),
}


def _add(metadata: MetaData, *items: Any, **options: Any) -> None:
    scoped(metadata, "projects", *items, **options)


@pytest.mark.parametrize("name", WORDS)
def test_unknown_words_next_to_a_table_or_key_are_refused(name: str) -> None:
    build, says = WORDS[name]
    metadata = MetaData()
    build(metadata)

    with pytest.raises(SetupError, match=says):
        Tenancy(metadata).physical_metadata(dialect="sqlite")


def test_an_unknown_layout_is_refused() -> None:
    metadata = MetaData()
    _add(metadata)

    with pytest.raises(SetupError, match="'keep', 'tenant-first'"):
        Tenancy(metadata, layout="tenant_first").physical_metadata(dialect="sqlite")


# Joined inheritance.


def test_a_child_table_without_the_tenant_is_refused_with_the_recipe_which_works(new_database: NewDatabase) -> None:
    class Base(DeclarativeBase):
        pass

    class Party(Base):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[int]
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}

    class Person(Party):
        __tablename__ = "persons"
        id: Mapped[int] = mapped_column(ForeignKey("parties.id"), primary_key=True)
        nickname: Mapped[str]
        __mapper_args__ = {"polymorphic_identity": "person"}

    with pytest.raises(SetupError) as caught:
        Tenancy(Base.metadata).describe()
    message = str(caught.value)
    recipe = "tenant_id = column_property(Column('tenant_id', Integer(), nullable=False), Parent.tenant_id)"
    assert "persons" in message
    assert "refers to parties" in message
    assert recipe in message

    class Mended(DeclarativeBase):
        pass

    class Parent(Mended):
        __tablename__ = "parties"
        id: Mapped[int] = mapped_column(primary_key=True)
        tenant_id: Mapped[int]
        kind: Mapped[str]
        __mapper_args__ = {"polymorphic_on": "kind", "polymorphic_identity": "party"}

    written: dict[str, Any] = {}
    exec(  # noqa: S102  # the line that the error shows, as it stands
        recipe, {"column_property": column_property, "Column": Column, "Integer": Integer, "Parent": Parent}, written
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        child: Any = type(
            "Child",
            (Parent,),
            {
                "__tablename__": "persons",
                "id": mapped_column(ForeignKey("parties.id"), primary_key=True),
                "nickname": mapped_column(String),
                "__mapper_args__": {"polymorphic_identity": "person"},
                **written,
            },
        )
    tenancy = Tenancy(Mended.metadata)
    with guarded(tenancy, new_database()) as engine:
        tenancy.create_all(engine)
        for tenant_id in (1, 2):
            with tenant(tenant_id), Session(engine) as session:
                session.add(child(id=tenant_id, nickname="Ada"))
                session.commit()
                person: Any = session.query(Parent).one()
                assert (person.tenant_id, person.nickname) == (tenant_id, "Ada")


def test_a_table_whose_primary_key_refers_to_a_scoped_table_may_still_be_declared() -> None:
    metadata = MetaData()
    scoped(metadata, "projects")
    Table("statistics", metadata, Column("id", ForeignKey("projects.id"), primary_key=True))

    with pytest.raises(SetupError, match="refers to projects"):
        Tenancy(metadata).describe()
    assert "statistics" in {each.key for each in Tenancy(metadata, shared={"statistics"}).describe().by_name.values()}
