"""
Models as people write them, and what the database gets for them. A bug report becomes one more entry.

Each entry is a function that adds tables to a metadata, and how the DDL of the database differs from that of the
models, as `changes_of` in tests/test_keys.py tells it. The other options go to `Tenancy`.
"""

from __future__ import annotations

import enum
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Sequence,
    String,
    Table,
    UniqueConstraint,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import INT4RANGE, ExcludeConstraint

from partywall import Tenancy

Build = Callable[[MetaData], None]
GLOBAL = {"partywall": "global"}
KEEP = {"partywall": "keep"}


@dataclass(frozen=True)
class Case:
    """
    Models, and how they are declared.

    Attributes:
        build: Adds the tables to a metadata that has ``tenants`` and ``countries``.
        changes: What becomes of them, by database.
        options: Those of `Tenancy`.
        only: Name of the one database that has it.
        naming_convention: Of the metadata.
    """

    build: Build
    changes: dict[str, str]
    options: dict[str, Any] = field(default_factory=dict)
    only: str | None = None
    naming_convention: Any = None

    def tenancy(self, **options: Any) -> Tenancy:
        """Return a tenancy over a new metadata with the tables."""
        metadata = MetaData(naming_convention=self.naming_convention)
        Table("tenants", metadata, Column("id", self.options.get("type", Integer), primary_key=True))
        Table("countries", metadata, Column("code", String, primary_key=True))
        self.build(metadata)
        own = {name: value for name, value in self.options.items() if name != "type"}
        return Tenancy(metadata, **{"tenants": "tenants", "shared": {"countries"}, **own, **options})


CASES: dict[str, Case] = {}


def case(
    both: str = "",
    *,
    postgresql: str | None = None,
    sqlite: str | None = None,
    only: str | None = None,
    naming_convention: Any = None,
    **options: Any,
) -> Callable[[Build], Build]:
    """Add the function to the table, under its name."""

    def add(build: Build) -> Build:
        assert build.__name__ not in CASES
        given = {"postgresql": both if postgresql is None else postgresql, "sqlite": both if sqlite is None else sqlite}
        changes = {name: textwrap.dedent(text).strip() for name, text in given.items()}
        CASES[build.__name__] = Case(build, changes, options, only, naming_convention)
        return build

    return add


def scoped(metadata: MetaData, name: str, *items: Any, **options: Any) -> Table:
    """Add a table with an id and the tenant column."""
    own = [Column("id", Integer, primary_key=True), Column("tenant_id", Integer, nullable=False)]
    return Table(name, metadata, *own, *items, **options)


# References.


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
    """,
)
def a_reference(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id"), nullable=False))


@case(
    postgresql="""
        CREATE TABLE projects
            - PRIMARY KEY (id)
            + PRIMARY KEY (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            - PRIMARY KEY (id)
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
            + PRIMARY KEY (tenant_id, id)
    """,
    sqlite="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
    """,
    layout="tenant-first",
)
def a_reference_tenant_first(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id"), nullable=False))


@case(
    """
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(author_id) REFERENCES people (id)
            - FOREIGN KEY(reader_id) REFERENCES people (id)
            + FOREIGN KEY(tenant_id, author_id) REFERENCES people (tenant_id, id)
            + FOREIGN KEY(tenant_id, reader_id) REFERENCES people (tenant_id, id)
    """,
)
def two_references_to_one_table(metadata: MetaData) -> None:
    scoped(metadata, "people")
    scoped(
        metadata,
        "tasks",
        Column("author_id", ForeignKey("people.id")),
        Column("reader_id", ForeignKey("people.id")),
    )


@case(
    """
        CREATE TABLE nodes
            - FOREIGN KEY(parent_id) REFERENCES nodes (id)
            + CONSTRAINT uq_nodes_tenant_id_id UNIQUE (tenant_id, id)
            + FOREIGN KEY(tenant_id, parent_id) REFERENCES nodes (tenant_id, id)
    """,
)
def a_self_reference(metadata: MetaData) -> None:
    scoped(metadata, "nodes", Column("parent_id", ForeignKey("nodes.id")))


@case(
    postgresql="""
        CREATE TABLE nodes
            - FOREIGN KEY(parent_id) REFERENCES nodes (id) ON DELETE SET NULL
            - PRIMARY KEY (id)
            + FOREIGN KEY(tenant_id, parent_id) REFERENCES nodes (tenant_id, id) ON DELETE SET NULL (parent_id)
            + PRIMARY KEY (tenant_id, id)
    """,
    sqlite="""
        CREATE TABLE nodes
            - FOREIGN KEY(parent_id) REFERENCES nodes (id) ON DELETE SET NULL
            + CONSTRAINT uq_nodes_tenant_id_id UNIQUE (tenant_id, id)
            + FOREIGN KEY(tenant_id, parent_id) REFERENCES nodes (tenant_id, id)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_nodes_parent_id_nodes_set_null AFTER DELETE ON nodes BEGIN UPDATE nodes SET parent_id = NULL WHERE tenant_id = OLD.tenant_id AND parent_id = OLD.id; END
    """,
    layout="tenant-first",
)
def a_self_reference_tenant_first(metadata: MetaData) -> None:
    scoped(metadata, "nodes", Column("parent_id", ForeignKey("nodes.id", ondelete="SET NULL")))


@case(
    """
        CREATE TABLE books
            - UNIQUE (series, volume)
            + UNIQUE (tenant_id, series, volume)
        CREATE TABLE loans
            - FOREIGN KEY(series, volume) REFERENCES books (series, volume)
            + FOREIGN KEY(tenant_id, series, volume) REFERENCES books (tenant_id, series, volume)
    """,
)
def a_composite_reference(metadata: MetaData) -> None:
    books = ("books", Column("series", String), Column("volume", Integer), UniqueConstraint("series", "volume"))
    scoped(metadata, *books)
    scoped(
        metadata,
        "loans",
        Column("series", String),
        Column("volume", Integer),
        ForeignKeyConstraint(["series", "volume"], ["books.series", "books.volume"]),
    )


@case(
    """
        CREATE TABLE notes
            - FOREIGN KEY(email) REFERENCES people (email) ON UPDATE CASCADE
            + FOREIGN KEY(tenant_id, email) REFERENCES people (tenant_id, email) ON UPDATE CASCADE
        CREATE TABLE people
            - UNIQUE (email)
            + UNIQUE (tenant_id, email)
    """,
)
def a_reference_to_a_unique_column(metadata: MetaData) -> None:
    scoped(metadata, "people", Column("email", String, unique=True))
    scoped(metadata, "notes", Column("email", ForeignKey("people.email", onupdate="CASCADE")))


@case(
    """
        CREATE TABLE notes
            - FOREIGN KEY(email) REFERENCES people (email)
            + FOREIGN KEY(tenant_id, email) REFERENCES people (tenant_id, email)
        and
            - CREATE UNIQUE INDEX ix_email ON people (email)
            + CREATE UNIQUE INDEX ix_email ON people (tenant_id, email)
    """,
)
def a_reference_to_a_unique_index(metadata: MetaData) -> None:
    scoped(metadata, "people", Column("email", String), Index("ix_email", "email", unique=True))
    scoped(metadata, "notes", Column("email", ForeignKey("people.email")))


@case(
    """
        CREATE TABLE notes
            - FOREIGN KEY(email) REFERENCES people (email)
            + FOREIGN KEY(tenant_id, email) REFERENCES people (tenant_id, email)
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_email UNIQUE (tenant_id, email)
    """,
)
def a_reference_to_a_global_key(metadata: MetaData) -> None:
    scoped(metadata, "people", Column("email", String, unique=True, info=GLOBAL))
    scoped(metadata, "notes", Column("email", ForeignKey("people.email")))


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - CONSTRAINT fk_project FOREIGN KEY(project_id) REFERENCES projects (id) DEFERRABLE INITIALLY DEFERRED
            + CONSTRAINT fk_project FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) DEFERRABLE INITIALLY DEFERRED
    """,
)
def a_reference_that_is_deferrable(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    key = ForeignKey("projects.id", name="fk_project", deferrable=True, initially="DEFERRED")
    scoped(metadata, "tasks", Column("project_id", key))


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE CASCADE ON UPDATE CASCADE
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE CASCADE ON UPDATE CASCADE
    """,
)
def cascades(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    key = ForeignKey("projects.id", ondelete="CASCADE", onupdate="CASCADE")
    scoped(metadata, "tasks", Column("project_id", key))


@case(
    postgresql="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE SET NULL (project_id)
    """,
    sqlite="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_tasks_project_id_projects_set_null AFTER DELETE ON projects BEGIN UPDATE tasks SET project_id = NULL WHERE tenant_id = OLD.tenant_id AND project_id = OLD.id; END
    """,
)
def on_delete_set_null(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id", ondelete="SET NULL")))


@case(
    postgresql="""
        CREATE TABLE "Books"
            - UNIQUE ("the series", "select")
            + CONSTRAINT "fk_Books_tenant_id_tenants" FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + UNIQUE (tenant_id, "the series", "select")
        CREATE TABLE "my loans"
            - FOREIGN KEY("the series", "select") REFERENCES "Books" ("the series", "select") ON DELETE set null
            + CONSTRAINT "fk_my loans_tenant_id_tenants" FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + FOREIGN KEY(tenant_id, "the series", "select") REFERENCES "Books" (tenant_id, "the series", "select") ON DELETE SET NULL ("the series", "select")
    """,
    sqlite="""
        CREATE TABLE "Books"
            - UNIQUE ("the series", "select")
            + CONSTRAINT "fk_Books_tenant_id_tenants" FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + UNIQUE (tenant_id, "the series", "select")
        CREATE TABLE "my loans"
            - FOREIGN KEY("the series", "select") REFERENCES "Books" ("the series", "select") ON DELETE set null
            + CONSTRAINT "fk_my loans_tenant_id_tenants" FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + FOREIGN KEY(tenant_id, "the series", "select") REFERENCES "Books" (tenant_id, "the series", "select")
        and
            + CREATE TRIGGER IF NOT EXISTS "tr_my loans_the series_select_Books_set_null" AFTER DELETE ON "Books" BEGIN UPDATE "my loans" SET "the series" = NULL, "select" = NULL WHERE tenant_id = OLD.tenant_id AND "the series" = OLD."the series" AND "select" = OLD."select"; END
    """,
)
def on_delete_set_null_of_two_columns_with_odd_names(metadata: MetaData) -> None:
    scoped(metadata, "Books", Column("the series", String), Column("select", Integer), UniqueConstraint(*_ODD))
    scoped(
        metadata,
        "my loans",
        Column("the series", String),
        Column("select", Integer),
        ForeignKeyConstraint(_ODD, [f"Books.{each}" for each in _ODD], ondelete="set null"),
    )


_ODD = ["the series", "select"]


@case(
    postgresql="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE SET DEFAULT
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE SET DEFAULT (project_id)
    """,
    sqlite="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) ON DELETE SET DEFAULT
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_tasks_project_id_projects_set_default AFTER DELETE ON projects BEGIN UPDATE tasks SET project_id = '7' WHERE tenant_id = OLD.tenant_id AND project_id = OLD.id; END
    """,
)
def on_delete_set_default(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    key = ForeignKey("projects.id", ondelete="SET DEFAULT")
    scoped(metadata, "tasks", Column("project_id", Integer, key, server_default="7"))


@case(
    """
        CREATE TABLE books
            - UNIQUE (series, volume)
            + UNIQUE (tenant_id, series, volume)
        CREATE TABLE loans
            - CONSTRAINT fk_book FOREIGN KEY(series, volume) REFERENCES books (series, volume) ON DELETE SET NULL (volume)
            + CONSTRAINT fk_book FOREIGN KEY(tenant_id, series, volume) REFERENCES books (tenant_id, series, volume) ON DELETE SET NULL (volume)
    """,
    only="postgresql",
)
def on_delete_set_null_of_listed_columns(metadata: MetaData) -> None:
    books = ("books", Column("series", String), Column("volume", Integer), UniqueConstraint("series", "volume"))
    scoped(metadata, *books)
    key = ForeignKeyConstraint(
        ["series", "volume"], ["books.series", "books.volume"], ondelete="SET NULL (volume)", name="fk_book"
    )
    scoped(metadata, "loans", Column("series", String), Column("volume", Integer), key)


@case(
    postgresql="""
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE teams
            + CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
        and
            - ALTER TABLE people ADD FOREIGN KEY(team_id) REFERENCES teams (id)
            - ALTER TABLE teams ADD FOREIGN KEY(leader_id) REFERENCES people (id) ON DELETE SET NULL
            + ALTER TABLE people ADD CONSTRAINT fk_people_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
            + ALTER TABLE teams ADD CONSTRAINT fk_teams_tenant_id_leader_id FOREIGN KEY(tenant_id, leader_id) REFERENCES people (tenant_id, id) ON DELETE SET NULL (leader_id)
    """,
    sqlite="""
        CREATE TABLE people
            - FOREIGN KEY(team_id) REFERENCES teams (id)
            + CONSTRAINT fk_people_tenant_id_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE teams
            - FOREIGN KEY(leader_id) REFERENCES people (id) ON DELETE SET NULL
            + CONSTRAINT fk_teams_tenant_id_leader_id FOREIGN KEY(tenant_id, leader_id) REFERENCES people (tenant_id, id)
            + CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_teams_leader_id_people_set_null AFTER DELETE ON people BEGIN UPDATE teams SET leader_id = NULL WHERE tenant_id = OLD.tenant_id AND leader_id = OLD.id; END
    """,
)
def a_cycle(metadata: MetaData) -> None:
    scoped(metadata, "teams", Column("leader_id", ForeignKey("people.id", ondelete="SET NULL")))
    scoped(metadata, "people", Column("team_id", ForeignKey("teams.id"), nullable=False))


@case(
    postgresql="""
        CREATE TABLE people
            - FOREIGN KEY(team_id) REFERENCES teams (id)
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
            + FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
        CREATE TABLE teams
            + CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
        and
            - ALTER TABLE teams ADD CONSTRAINT fk_leader FOREIGN KEY(leader_id) REFERENCES people (id) DEFERRABLE INITIALLY DEFERRED
            + ALTER TABLE teams ADD CONSTRAINT fk_leader FOREIGN KEY(tenant_id, leader_id) REFERENCES people (tenant_id, id) DEFERRABLE INITIALLY DEFERRED
    """,
    sqlite="""
        CREATE TABLE people
            - FOREIGN KEY(team_id) REFERENCES teams (id)
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
            + FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
        CREATE TABLE teams
            - CONSTRAINT fk_leader FOREIGN KEY(leader_id) REFERENCES people (id) DEFERRABLE INITIALLY DEFERRED
            + CONSTRAINT fk_leader FOREIGN KEY(tenant_id, leader_id) REFERENCES people (tenant_id, id) DEFERRABLE INITIALLY DEFERRED
            + CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
    """,
)
def a_cycle_that_is_deferred(metadata: MetaData) -> None:
    key = ForeignKey("people.id", name="fk_leader", deferrable=True, initially="DEFERRED", use_alter=True)
    scoped(metadata, "teams", Column("leader_id", key, nullable=False))
    scoped(metadata, "people", Column("team_id", ForeignKey("teams.id"), nullable=False))


@case(
    postgresql="""
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE teams
            + CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
        and
            - ALTER TABLE people ADD CONSTRAINT fk_people_team_id FOREIGN KEY(team_id) REFERENCES teams (id)
            - ALTER TABLE teams ADD CONSTRAINT fk_teams_leader_id FOREIGN KEY(leader_id) REFERENCES people (id)
            + ALTER TABLE people ADD CONSTRAINT fk_people_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
            + ALTER TABLE teams ADD CONSTRAINT fk_teams_leader_id FOREIGN KEY(tenant_id, leader_id) REFERENCES people (tenant_id, id)
    """,
    sqlite="""
        CREATE TABLE people
            - CONSTRAINT fk_people_team_id FOREIGN KEY(team_id) REFERENCES teams (id)
            + CONSTRAINT fk_people_team_id FOREIGN KEY(tenant_id, team_id) REFERENCES teams (tenant_id, id)
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE teams
            - CONSTRAINT fk_teams_leader_id FOREIGN KEY(leader_id) REFERENCES people (id)
            + CONSTRAINT fk_teams_leader_id FOREIGN KEY(tenant_id, leader_id) REFERENCES people (tenant_id, id)
            + CONSTRAINT uq_teams_tenant_id_id UNIQUE (tenant_id, id)
    """,
    naming_convention={"fk": "fk_%(table_name)s_%(column_0_N_name)s"},
)
def a_cycle_with_a_naming_convention(metadata: MetaData) -> None:
    scoped(metadata, "teams", Column("leader_id", ForeignKey("people.id")))
    scoped(metadata, "people", Column("team_id", ForeignKey("teams.id"), nullable=False))


@case(
    postgresql="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tenants
            - FOREIGN KEY(project_id) REFERENCES projects (id)
        and
            + ALTER TABLE projects ADD CONSTRAINT fk_projects_tenant_id_tenants FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + ALTER TABLE tenants ADD CONSTRAINT fk_tenants_id_project_id FOREIGN KEY(id, project_id) REFERENCES projects (tenant_id, id)
    """,
    sqlite="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tenants
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            + CONSTRAINT fk_tenants_id_project_id FOREIGN KEY(id, project_id) REFERENCES projects (tenant_id, id)
    """,
)
def a_reference_from_the_tenants_table(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    metadata.tables["tenants"].append_column(Column("project_id", ForeignKey("projects.id")))


@case(
    postgresql="""
        CREATE TABLE notes
            - FOREIGN KEY(about) REFERENCES parties (id) ON DELETE SET NULL
            - FOREIGN KEY(about) REFERENCES people (id) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, about) REFERENCES parties (tenant_id, id) ON DELETE SET NULL (about)
            + FOREIGN KEY(tenant_id, about) REFERENCES people (tenant_id, id) ON DELETE SET NULL (about)
        CREATE TABLE parties
            + CONSTRAINT uq_parties_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
    """,
    sqlite="""
        CREATE TABLE notes
            - FOREIGN KEY(about) REFERENCES parties (id) ON DELETE SET NULL
            - FOREIGN KEY(about) REFERENCES people (id) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, about) REFERENCES parties (tenant_id, id)
            + FOREIGN KEY(tenant_id, about) REFERENCES people (tenant_id, id)
        CREATE TABLE parties
            + CONSTRAINT uq_parties_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_notes_about_parties_set_null AFTER DELETE ON parties BEGIN UPDATE notes SET about = NULL WHERE tenant_id = OLD.tenant_id AND about = OLD.id; END
            + CREATE TRIGGER IF NOT EXISTS tr_notes_about_people_set_null AFTER DELETE ON people BEGIN UPDATE notes SET about = NULL WHERE tenant_id = OLD.tenant_id AND about = OLD.id; END
    """,
)
def two_references_of_one_column(metadata: MetaData) -> None:
    scoped(metadata, "parties")
    scoped(metadata, "people")
    scoped(
        metadata,
        "notes",
        Column("about", Integer),
        ForeignKeyConstraint(["about"], ["parties.id"], ondelete="SET NULL"),
        ForeignKeyConstraint(["about"], ["people.id"], ondelete="SET NULL"),
    )


@case(
    postgresql="""
        CREATE TABLE a_name_that_leaves_no_room_in_the_names_of_its_constraints
            + CONSTRAINT fk_a_name_that_leaves_no_room_in_the_names_of_its_const_d9d9 FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + CONSTRAINT uq_a_name_that_leaves_no_room_in_the_names_of_its_const_d66b UNIQUE (tenant_id, id)
        CREATE TABLE a_name_that_leaves_no_room_in_the_names_of_its_constraints_2
            - FOREIGN KEY(a_name_that_leaves_no_room_in_the_names_of_its_constraints_id) REFERENCES a_name_that_leaves_no_room_in_the_names_of_its_constraints (id) ON DELETE SET NULL
            + CONSTRAINT fk_a_name_that_leaves_no_room_in_the_names_of_its_const_189b FOREIGN KEY(tenant_id) REFERENCES tenants (id)
            + FOREIGN KEY(tenant_id, a_name_that_leaves_no_room_in_the_names_of_its_constraints_id) REFERENCES a_name_that_leaves_no_room_in_the_names_of_its_constraints (tenant_id, id) ON DELETE SET NULL (a_name_that_leaves_no_room_in_the_names_of_its_constraints_id)
    """,
    sqlite="""
        CREATE TABLE a_name_that_leaves_no_room_in_the_names_of_its_constraints
            + CONSTRAINT uq_a_name_that_leaves_no_room_in_the_names_of_its_constraints_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE a_name_that_leaves_no_room_in_the_names_of_its_constraints_2
            - FOREIGN KEY(a_name_that_leaves_no_room_in_the_names_of_its_constraints_id) REFERENCES a_name_that_leaves_no_room_in_the_names_of_its_constraints (id) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, a_name_that_leaves_no_room_in_the_names_of_its_constraints_id) REFERENCES a_name_that_leaves_no_room_in_the_names_of_its_constraints (tenant_id, id)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_a_name_that_leaves_no_room_in_the_names_of_its_constraints_2_a_name_that_leaves_no_room_in_the_names_of_its_constraints_id_a_name_that_leaves_no_room_in_the_names_of_its_constraints_set_null AFTER DELETE ON a_name_that_leaves_no_room_in_the_names_of_its_constraints BEGIN UPDATE a_name_that_leaves_no_room_in_the_names_of_its_constraints_2 SET a_name_that_leaves_no_room_in_the_names_of_its_constraints_id = NULL WHERE tenant_id = OLD.tenant_id AND a_name_that_leaves_no_room_in_the_names_of_its_constraints_id = OLD.id; END
    """,
)
def long_names(metadata: MetaData) -> None:
    long = "a_name_that_leaves_no_room_in_the_names_of_its_constraints"
    scoped(metadata, long)
    scoped(metadata, f"{long}_2", Column(f"{long}_id", ForeignKey(f"{long}.id", ondelete="SET NULL")))


@case()
def a_reference_to_the_tenants_table_as_written(metadata: MetaData) -> None:
    Table(
        "tasks",
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", ForeignKey("tenants.id", ondelete="CASCADE", name="fk_owner"), nullable=False),
    )


@case()
def a_reference_to_a_shared_table(metadata: MetaData) -> None:
    scoped(metadata, "people", Column("country", ForeignKey("countries.code", ondelete="SET NULL")))


@case(
    """
        CREATE TABLE planning.projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE working.tasks
            - FOREIGN KEY(project_id) REFERENCES planning.projects (id) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, project_id) REFERENCES planning.projects (tenant_id, id) ON DELETE SET NULL (project_id)
    """,
    only="postgresql",
)
def references_across_schemas(metadata: MetaData) -> None:
    scoped(metadata, "projects", schema="planning")
    key = ForeignKey("planning.projects.id", ondelete="SET NULL")
    scoped(metadata, "tasks", Column("project_id", key), schema="working")


@case(
    postgresql="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) MATCH FULL
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) MATCH FULL
    """,
    sqlite="""
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id) MATCH FULL
            + CONSTRAINT ck_tasks_project_id_full CHECK (tenant_id IS NULL AND project_id IS NULL OR tenant_id IS NOT NULL AND project_id IS NOT NULL)
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) MATCH FULL
    """,
)
def match_full(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id", match="FULL")))


@case()
def a_reference_that_is_kept(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id", info=KEEP)))


@case()
def keys_with_the_tenant_by_hand(metadata: MetaData) -> None:
    Table(
        "projects",
        metadata,
        Column("tenant_id", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("name", String),
        UniqueConstraint("name", "tenant_id"),
    )
    Table(
        "tasks",
        metadata,
        Column("tenant_id", Integer, primary_key=True),
        Column("number", Integer, primary_key=True),
        Column("project_number", Integer),
        ForeignKeyConstraint(["project_number", "tenant_id"], ["projects.number", "projects.tenant_id"]),
    )


@case(
    """
        CREATE TABLE notes
            - FOREIGN KEY(email) REFERENCES people (email)
            + FOREIGN KEY(tenant_id, email) REFERENCES people (tenant_id, email)
    """,
)
def a_reference_to_a_part_of_a_key_with_the_tenant(metadata: MetaData) -> None:
    scoped(metadata, "people", Column("email", String), UniqueConstraint("tenant_id", "email"))
    scoped(metadata, "notes", Column("email", ForeignKey("people.email")))


# Tables that hang on others.


def _many_to_many(metadata: MetaData) -> None:
    scoped(metadata, "tasks")
    scoped(metadata, "tags")
    Table(
        "task_tags",
        metadata,
        Column("tenant_id", Integer, nullable=False),
        Column("task_id", ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    )


@case(
    """
        CREATE TABLE tags
            + CONSTRAINT uq_tags_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE task_tags
            - FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
            - FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
            + FOREIGN KEY(tenant_id, tag_id) REFERENCES tags (tenant_id, id) ON DELETE CASCADE
            + FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
        CREATE TABLE tasks
            + CONSTRAINT uq_tasks_tenant_id_id UNIQUE (tenant_id, id)
    """,
)
def many_to_many(metadata: MetaData) -> None:
    _many_to_many(metadata)


@case(
    postgresql="""
        CREATE TABLE tags
            - PRIMARY KEY (id)
            + PRIMARY KEY (tenant_id, id)
        CREATE TABLE task_tags
            - FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
            - FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
            - PRIMARY KEY (task_id, tag_id)
            + FOREIGN KEY(tenant_id, tag_id) REFERENCES tags (tenant_id, id) ON DELETE CASCADE
            + FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
            + PRIMARY KEY (tenant_id, task_id, tag_id)
        CREATE TABLE tasks
            - PRIMARY KEY (id)
            + PRIMARY KEY (tenant_id, id)
    """,
    sqlite="""
        CREATE TABLE tags
            + CONSTRAINT uq_tags_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE task_tags
            - FOREIGN KEY(tag_id) REFERENCES tags (id) ON DELETE CASCADE
            - FOREIGN KEY(task_id) REFERENCES tasks (id) ON DELETE CASCADE
            - PRIMARY KEY (task_id, tag_id)
            + FOREIGN KEY(tenant_id, tag_id) REFERENCES tags (tenant_id, id) ON DELETE CASCADE
            + FOREIGN KEY(tenant_id, task_id) REFERENCES tasks (tenant_id, id) ON DELETE CASCADE
            + PRIMARY KEY (tenant_id, task_id, tag_id)
        CREATE TABLE tasks
            + CONSTRAINT uq_tasks_tenant_id_id UNIQUE (tenant_id, id)
    """,
    layout="tenant-first",
)
def many_to_many_tenant_first(metadata: MetaData) -> None:
    _many_to_many(metadata)


def _joined(metadata: MetaData) -> None:
    scoped(metadata, "parties", Column("kind", String))
    Table(
        "persons",
        metadata,
        Column("id", ForeignKey("parties.id", ondelete="CASCADE"), primary_key=True),
        Column("tenant_id", Integer, nullable=False),
        Column("name", String, unique=True),
    )


@case(
    """
        CREATE TABLE parties
            + CONSTRAINT uq_parties_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE persons
            - FOREIGN KEY(id) REFERENCES parties (id) ON DELETE CASCADE
            - UNIQUE (name)
            + FOREIGN KEY(tenant_id, id) REFERENCES parties (tenant_id, id) ON DELETE CASCADE
            + UNIQUE (tenant_id, name)
    """,
)
def joined_inheritance(metadata: MetaData) -> None:
    _joined(metadata)


@case(
    postgresql="""
        CREATE TABLE parties
            - PRIMARY KEY (id)
            + PRIMARY KEY (tenant_id, id)
        CREATE TABLE persons
            - FOREIGN KEY(id) REFERENCES parties (id) ON DELETE CASCADE
            - PRIMARY KEY (id)
            - UNIQUE (name)
            + FOREIGN KEY(tenant_id, id) REFERENCES parties (tenant_id, id) ON DELETE CASCADE
            + PRIMARY KEY (tenant_id, id)
            + UNIQUE (tenant_id, name)
    """,
    sqlite="""
        CREATE TABLE parties
            + CONSTRAINT uq_parties_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE persons
            - FOREIGN KEY(id) REFERENCES parties (id) ON DELETE CASCADE
            - PRIMARY KEY (id)
            - UNIQUE (name)
            + FOREIGN KEY(tenant_id, id) REFERENCES parties (tenant_id, id) ON DELETE CASCADE
            + PRIMARY KEY (tenant_id, id)
            + UNIQUE (tenant_id, name)
    """,
    layout="tenant-first",
)
def joined_inheritance_tenant_first(metadata: MetaData) -> None:
    _joined(metadata)


@case(
    """
        CREATE TABLE letters
            - FOREIGN KEY(template_id) REFERENCES templates (id)
            + FOREIGN KEY(tenant_id, template_id) REFERENCES templates (tenant_id, id)
        CREATE TABLE templates
            - FOREIGN KEY(parent_id) REFERENCES templates (id)
            - UNIQUE (name)
            + CONSTRAINT ck_templates_parent_id_tenant CHECK (tenant_id IS NOT NULL OR parent_id IS NULL)
            + CONSTRAINT uq_templates_tenant_id_id UNIQUE (tenant_id, id)
            + FOREIGN KEY(tenant_id, parent_id) REFERENCES templates (tenant_id, id)
            + UNIQUE (tenant_id, name)
        and
            + CREATE UNIQUE INDEX uq_templates_shared_name ON templates (name) WHERE tenant_id IS NULL
    """,
    shared_rows={"templates"},
)
def shared_rows(metadata: MetaData) -> None:
    columns = ("templates", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", Integer))
    Table(*columns, Column("name", String, unique=True), Column("parent_id", ForeignKey("templates.id")))
    scoped(metadata, "letters", Column("template_id", ForeignKey("templates.id")))


@case(
    """
        CREATE TABLE templates
            + CONSTRAINT ck_templates_parent_id_tenant CHECK (tenant_id IS NOT NULL OR parent_id IS NULL)
        and
            - CREATE UNIQUE INDEX ix_templates_name ON templates (lower(name)) WHERE parent_id IS NULL
            + CREATE UNIQUE INDEX ix_templates_name ON templates (tenant_id, lower(name)) WHERE parent_id IS NULL
            + CREATE UNIQUE INDEX ix_templates_name_shared ON templates (lower(name)) WHERE tenant_id IS NULL AND parent_id IS NULL
    """,
    shared_rows={"templates"},
)
def shared_rows_with_keys_by_hand(metadata: MetaData) -> None:
    columns = ("templates", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", Integer))
    key = ForeignKeyConstraint(["tenant_id", "parent_id"], ["templates.tenant_id", "templates.id"])
    table = Table(
        *columns, Column("name", String), Column("parent_id", Integer), key, UniqueConstraint("tenant_id", "id")
    )
    orphan = table.c.parent_id.is_(None)
    Index("ix_templates_name", func.lower(table.c.name), unique=True, postgresql_where=orphan, sqlite_where=orphan)


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            - PRIMARY KEY (number, line)
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
            + PRIMARY KEY (tenant_id, number, line)
    """,
)
def one_table_tenant_first(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    info = {"partywall": "tenant-first"}
    columns = (Column("tenant_id", Integer, nullable=False), Column("number", Integer, primary_key=True))
    Table(
        "tasks",
        metadata,
        *columns,
        Column("line", Integer, primary_key=True),
        Column("project_id", ForeignKey("projects.id")),
        info=info,
    )


@case()
def one_table_as_written(metadata: MetaData) -> None:
    scoped(metadata, "projects", Column("name", String, unique=True), info={"partywall": "as written"})
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id")))


# Unique keys and indexes.


@case(
    """
        CREATE TABLE people
            - CONSTRAINT uq_names UNIQUE (first, last)
            - UNIQUE (email)
            + CONSTRAINT uq_names UNIQUE (tenant_id, first, last)
            + UNIQUE (tenant_id, email)
        and
            - CREATE UNIQUE INDEX ix_people_badge ON people (badge)
            + CREATE UNIQUE INDEX ix_people_badge ON people (tenant_id, badge)
    """,
)
def unique_keys(metadata: MetaData) -> None:
    scoped(
        metadata,
        "people",
        Column("email", String, unique=True),
        Column("badge", Integer, unique=True, index=True),
        Column("desk", Integer, index=True),
        Column("first", String),
        Column("last", String),
        UniqueConstraint("first", "last", name="uq_names"),
    )


@case(
    """
        CREATE TABLE people
            - CONSTRAINT uq_place UNIQUE (place) DEFERRABLE INITIALLY DEFERRED
            + CONSTRAINT uq_place UNIQUE (tenant_id, place) DEFERRABLE INITIALLY DEFERRED
    """,
    only="postgresql",
)
def a_unique_key_that_is_deferrable(metadata: MetaData) -> None:
    key = UniqueConstraint("place", name="uq_place", deferrable=True, initially="DEFERRED")
    scoped(metadata, "people", Column("place", Integer), key)


@case()
def unique_keys_of_all_tenants(metadata: MetaData) -> None:
    scoped(
        metadata,
        "people",
        Column("email", String, unique=True, info=GLOBAL),
        Column("phone", String),
        Column("badge", Integer),
        UniqueConstraint("phone", info=GLOBAL),
        Index("ix_badge", "badge", unique=True, info=GLOBAL),
    )


@case(
    postgresql="""
        CREATE TABLE people
            - UNIQUE NULLS NOT DISTINCT (email)
            + UNIQUE NULLS NOT DISTINCT (tenant_id, email)
        and
            - CREATE UNIQUE INDEX ix_email ON people (email) NULLS NOT DISTINCT
            + CREATE UNIQUE INDEX ix_email ON people (tenant_id, email) NULLS NOT DISTINCT
    """,
    sqlite="""
        CREATE TABLE people
            - UNIQUE (email)
            + UNIQUE (tenant_id, email)
        and
            - CREATE UNIQUE INDEX ix_email ON people (email)
            + CREATE UNIQUE INDEX ix_email ON people (tenant_id, email)
    """,
)
def unique_nulls_not_distinct(metadata: MetaData) -> None:
    scoped(
        metadata,
        "people",
        Column("email", String),
        UniqueConstraint("email", postgresql_nulls_not_distinct=True),
        Index("ix_email", "email", unique=True, postgresql_nulls_not_distinct=True),
    )


@case(
    postgresql="""
        and
            - CREATE UNIQUE INDEX ix_active ON people (email) WHERE active = 1
            - CREATE UNIQUE INDEX ix_both ON people (name DESC, lower(email)) INCLUDE (active)
            - CREATE UNIQUE INDEX ix_lower ON people (lower(email))
            + CREATE UNIQUE INDEX ix_active ON people (tenant_id, email) WHERE active = 1
            + CREATE UNIQUE INDEX ix_both ON people (tenant_id, name DESC, lower(email)) INCLUDE (active)
            + CREATE UNIQUE INDEX ix_lower ON people (tenant_id, lower(email))
    """,
    sqlite="""
        and
            - CREATE UNIQUE INDEX ix_active ON people (email) WHERE active = 1
            - CREATE UNIQUE INDEX ix_both ON people (name DESC, lower(email))
            - CREATE UNIQUE INDEX ix_lower ON people (lower(email))
            + CREATE UNIQUE INDEX ix_active ON people (tenant_id, email) WHERE active = 1
            + CREATE UNIQUE INDEX ix_both ON people (tenant_id, name DESC, lower(email))
            + CREATE UNIQUE INDEX ix_lower ON people (tenant_id, lower(email))
    """,
)
def unique_indexes_that_are_partial_or_of_expressions(metadata: MetaData) -> None:
    people = scoped(metadata, "people", Column("email", String), Column("active", Integer), Column("name", String))
    is_active = people.c.active == 1
    Index("ix_active", people.c.email, unique=True, postgresql_where=is_active, sqlite_where=is_active)
    Index("ix_lower", func.lower(people.c.email), unique=True)
    Index("ix_both", people.c.name.desc(), func.lower(people.c.email), unique=True, postgresql_include=["active"])


@case()
def indexes_that_are_not_unique(metadata: MetaData) -> None:
    people = scoped(metadata, "people", Column("email", String), Column("active", Integer))
    Index("ix_active", people.c.email, postgresql_where=people.c.active == 1, postgresql_using="hash")
    Index("ix_lower", func.lower(people.c.email))
    Index("ix_pattern", people.c.email, postgresql_ops={"email": "text_pattern_ops"})


@case(
    """
        CREATE TABLE people
            + CONSTRAINT uq_people_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(person_id) REFERENCES people (id)
            + FOREIGN KEY(tenant_id, person_id) REFERENCES people (tenant_id, id)
        and
            - CREATE INDEX ix_served ON people (tenant_id, id)
    """,
)
def an_index_that_a_derived_key_serves(metadata: MetaData) -> None:
    people = scoped(metadata, "people", Column("email", String))
    Index("ix_served", people.c.tenant_id, people.c.id)
    Index("ix_other_order", people.c.id, people.c.tenant_id)
    Index("ix_more", people.c.tenant_id, people.c.id, people.c.email)
    Index("ix_less", people.c.tenant_id)
    Index("ix_descending", people.c.tenant_id, people.c.id.desc())
    Index("ix_hash", people.c.tenant_id, people.c.id, postgresql_include=["email"])
    tasks = scoped(metadata, "tasks", Column("person_id", ForeignKey("people.id")))
    Index("ix_no_key_to_serve_it", tasks.c.tenant_id, tasks.c.id)


@case()
def an_index_that_a_written_key_serves(metadata: MetaData) -> None:
    people = scoped(metadata, "people", UniqueConstraint("tenant_id", "id"))
    Index("ix_served", people.c.tenant_id, people.c.id)


@case(
    postgresql="""
        and
            - CREATE UNIQUE INDEX ix_pattern ON people (email text_pattern_ops)
            + CREATE UNIQUE INDEX ix_pattern ON people (tenant_id, email text_pattern_ops)
    """,
    sqlite="""
        and
            - CREATE UNIQUE INDEX ix_pattern ON people (email)
            + CREATE UNIQUE INDEX ix_pattern ON people (tenant_id, email)
    """,
)
def a_unique_index_with_an_operator_class(metadata: MetaData) -> None:
    people = scoped(metadata, "people", Column("email", String))
    Index("ix_pattern", people.c.email, unique=True, postgresql_ops={"email": "text_pattern_ops"})


@case(
    """
        CREATE TABLE bookings
            - CONSTRAINT ex_bookings EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE
            + CONSTRAINT ex_bookings EXCLUDE USING gist (tenant_id WITH =, room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE
        and
            + CREATE EXTENSION IF NOT EXISTS btree_gist
    """,
    only="postgresql",
)
def exclusion(metadata: MetaData) -> None:
    scoped(
        metadata,
        "bookings",
        Column("room", Integer),
        Column("during", INT4RANGE),
        ExcludeConstraint(("room", "="), ("during", "&&"), name="ex_bookings", where=text("room > 0"), deferrable=True),
    )


# What else stands at a table.


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - CONSTRAINT fk_tasks_project_id_projects FOREIGN KEY(project_id) REFERENCES projects (id)
            + CONSTRAINT fk_tasks_project_id_projects FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
        and
            - CREATE UNIQUE INDEX ix_projects_code ON projects (code)
            + CREATE UNIQUE INDEX ix_projects_code ON projects (tenant_id, code)
    """,
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(column_0_label)s",
    },
)
def a_naming_convention(metadata: MetaData) -> None:
    scoped(metadata, "projects", Column("code", String, unique=True, index=True))
    scoped(
        metadata,
        "tasks",
        Column("project_id", ForeignKey("projects.id")),
        Column("size", Integer),
        CheckConstraint("size > 0", name="size"),
    )


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - CONSTRAINT fk_project FOREIGN KEY(project_id) REFERENCES projects (id)
            - CONSTRAINT uq_name UNIQUE (name)
            + CONSTRAINT fk_project FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
            + CONSTRAINT uq_name UNIQUE (tenant_id, name)
    """,
)
def comments(metadata: MetaData) -> None:
    scoped(metadata, "projects")
    scoped(
        metadata,
        "tasks",
        Column("project_id", Integer, comment="what it is for"),
        Column("name", String),
        ForeignKeyConstraint(["project_id"], ["projects.id"], name="fk_project", comment="of one tenant"),
        UniqueConstraint("name", name="uq_name", comment="in a tenant"),
        comment="what is to be done",
    )


@case()
def identity(metadata: MetaData) -> None:
    columns = (Column("id", Integer, Identity(always=True, start=100), primary_key=True),)
    Table("tasks", metadata, *columns, Column("tenant_id", Integer, nullable=False))


@case(
    postgresql="""
        CREATE TABLE tasks
            - PRIMARY KEY (id)
            + PRIMARY KEY (tenant_id, id)
    """,
    sqlite="",
    layout="tenant-first",
)
def identity_tenant_first(metadata: MetaData) -> None:
    columns = (Column("id", Integer, Identity(start=100), primary_key=True),)
    Table("tasks", metadata, *columns, Column("tenant_id", Integer, nullable=False))


@case(
    only="postgresql",
)
def a_sequence(metadata: MetaData) -> None:
    numbers = Sequence("numbers", start=100, metadata=metadata)
    columns = (Column("id", Integer, numbers, server_default=numbers.next_value(), primary_key=True),)
    Table("tasks", metadata, *columns, Column("tenant_id", Integer, nullable=False))


@case(
    only="postgresql",
)
def sequences_and_enums_of_the_metadata(metadata: MetaData) -> None:
    Sequence("numbers", metadata=metadata)
    scoped(metadata, "things", Column("colour", Enum("red", "blue", name="colour", metadata=metadata)))


@case()
def what_else_stands_at_a_table(metadata: MetaData) -> None:
    size = Column("size", Integer, CheckConstraint("size > 0", name="ck_size"), server_default="1", index=True)
    unnamed = Column("weight", Integer, CheckConstraint("weight > 0"), nullable=False)
    scoped(metadata, "things", size, unnamed, CheckConstraint("size < weight"), prefixes=["/* big */"])


@case(
    """
        CREATE UNLOGGED TABLE things
            - UNIQUE (name) INCLUDE (id)
            + UNIQUE (tenant_id, name) INCLUDE (id)
    """,
    only="postgresql",
)
def options_of_postgresql(metadata: MetaData) -> None:
    scoped(
        metadata,
        "things",
        Column("name", String),
        UniqueConstraint("name", postgresql_include=["id"]),
        prefixes=["UNLOGGED"],
    )


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT uq_projects_tenant_id_id UNIQUE (tenant_id, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            + FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id)
    """,
    only="postgresql",
)
def a_deferrable_key_by_hand_to_which_nothing_can_refer(metadata: MetaData) -> None:
    scoped(metadata, "projects", UniqueConstraint("tenant_id", "id", deferrable=True))
    scoped(metadata, "tasks", Column("project_id", ForeignKey("projects.id")))


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@case(
    """
        CREATE TABLE things
            - UNIQUE (shape)
            + UNIQUE (tenant_id, shape)
    """,
)
def enums_and_checks(metadata: MetaData) -> None:
    scoped(
        metadata,
        "things",
        Column("colour", Enum(Colour, name="colour")),
        Column("shape", Enum("round", "square", name="shape", native_enum=False, create_constraint=True), unique=True),
        Column("active", Boolean(create_constraint=True, name="is_active")),
        CheckConstraint("id > 0", name="ck_id"),
    )


@case(
    """
        CREATE TABLE people
            - UNIQUE (folded)
            + UNIQUE (tenant_id, folded)
    """,
)
def a_computed_column(metadata: MetaData) -> None:
    scoped(
        metadata,
        "people",
        Column("email", String),
        Column("folded", String, Computed("lower(email)", persisted=True), unique=True),
    )


@case(
    postgresql="""
        CREATE TABLE projects
            - UNIQUE (project_name)
            + CONSTRAINT uq_projects_tenant_id_project_number UNIQUE (tenant_id, project_number)
            + UNIQUE (tenant_id, project_name)
        CREATE TABLE tasks
            - FOREIGN KEY(project) REFERENCES projects (project_number) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, project) REFERENCES projects (tenant_id, project_number) ON DELETE SET NULL (project)
    """,
    sqlite="""
        CREATE TABLE projects
            - UNIQUE (project_name)
            + CONSTRAINT uq_projects_tenant_id_project_number UNIQUE (tenant_id, project_number)
            + UNIQUE (tenant_id, project_name)
        CREATE TABLE tasks
            - FOREIGN KEY(project) REFERENCES projects (project_number) ON DELETE SET NULL
            + FOREIGN KEY(tenant_id, project) REFERENCES projects (tenant_id, project_number)
        and
            + CREATE TRIGGER IF NOT EXISTS tr_tasks_project_projects_set_null AFTER DELETE ON projects BEGIN UPDATE tasks SET project = NULL WHERE tenant_id = OLD.tenant_id AND project = OLD.project_number; END
    """,
)
def other_keys_than_names(metadata: MetaData) -> None:
    Table(
        "projects",
        metadata,
        Column("project_number", Integer, primary_key=True, key="id"),
        Column("tenant_id", Integer, nullable=False, key="owner"),
        Column("project_name", String, unique=True, key="tenant_id"),
    )
    scoped(metadata, "tasks", Column("project", ForeignKey("projects.id", ondelete="SET NULL"), key="project_id"))


@case(
    """
        CREATE TABLE projects
            + CONSTRAINT fk_projects_owner_tenants FOREIGN KEY(owner) REFERENCES tenants (id)
            + CONSTRAINT uq_projects_owner_id UNIQUE (owner, id)
        CREATE TABLE tasks
            - FOREIGN KEY(project_id) REFERENCES projects (id)
            + CONSTRAINT fk_tasks_owner_tenants FOREIGN KEY(owner) REFERENCES tenants (id)
            + FOREIGN KEY(owner, project_id) REFERENCES projects (owner, id)
    """,
    type=Uuid,
)
def another_tenant_column(metadata: MetaData) -> None:
    def columns() -> list[Column[Any]]:
        tenant = Column("owner", Uuid, nullable=False, info={"partywall": "tenant"})
        return [Column("id", Uuid, primary_key=True), tenant]

    Table("projects", metadata, *columns())
    Table("tasks", metadata, *columns(), Column("project_id", ForeignKey("projects.id")))


@case(
    """
        CREATE TABLE projects
            - UNIQUE (name)
            + UNIQUE (tenant_id, name)
    """,
    tenants=None,
)
def no_tenants_table(metadata: MetaData) -> None:
    metadata.remove(metadata.tables["tenants"])
    scoped(metadata, "projects", Column("name", String, unique=True))


@case(
    """
        CREATE TABLE invoices
            - PRIMARY KEY (number)
            + PRIMARY KEY (tenant_id, number)
        CREATE TABLE lines
            - FOREIGN KEY(invoice) REFERENCES invoices (number) ON DELETE CASCADE
            - PRIMARY KEY (invoice, position)
            + FOREIGN KEY(tenant_id, invoice) REFERENCES invoices (tenant_id, number) ON DELETE CASCADE
            + PRIMARY KEY (tenant_id, invoice, position)
    """,
    layout="tenant-first",
)
def ids_that_the_application_chooses_tenant_first(metadata: MetaData) -> None:
    columns = (Column("number", Integer, primary_key=True, autoincrement=False),)
    Table("invoices", metadata, *columns, Column("tenant_id", Integer, nullable=False))
    Table(
        "lines",
        metadata,
        Column("tenant_id", Integer, nullable=False),
        Column("invoice", ForeignKey("invoices.number", ondelete="CASCADE"), primary_key=True),
        Column("position", Integer, primary_key=True),
    )


@case(
    """
        CREATE TABLE people
            - UNIQUE (badge) ON CONFLICT ROLLBACK
            - UNIQUE (email) ON CONFLICT IGNORE
            + UNIQUE (tenant_id, badge) ON CONFLICT ROLLBACK
            + UNIQUE (tenant_id, email) ON CONFLICT IGNORE
    """,
    only="sqlite",
)
def options_of_sqlite(metadata: MetaData) -> None:
    scoped(
        metadata,
        "people",
        Column("email", String, unique=True, sqlite_on_conflict_unique="IGNORE"),
        Column("badge", Integer),
        UniqueConstraint("badge", sqlite_on_conflict="ROLLBACK"),
        sqlite_autoincrement=True,
    )
