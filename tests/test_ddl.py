"""``partywall ddl``: the script makes the schema that ``Tenancy.create_all()`` makes, on real databases."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import (
    DDL,
    CheckConstraint,
    Column,
    Connection,
    Engine,
    Enum,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    create_engine,
    event,
    insert,
)

from partywall import SetupError, Tenancy
from partywall.cli._commands import partywall
from partywall.cli._sql import split
from partywall.cli.ddl import ddl
from tests.conftest import NewDatabase

DIALECTS = ("postgresql", "sqlite")
LAYOUTS = ("keep", "tenant-first")


def tenancy_of(layout: str = "keep") -> Tenancy:
    """Return a schema of everything that is easy to get wrong in a script."""
    metadata = MetaData()

    def table(name: str, *items: Any) -> Table:
        key = Column("id", Integer, primary_key=True)
        return Table(name, metadata, key, Column("tenant_id", Integer, nullable=False), *items)

    Table("tenants", metadata, Column("id", Integer, primary_key=True), Column("slug", String, unique=True))
    status = Enum("open", "it's; done", name="status")
    projects = table(  # in a cycle with tasks
        "projects",
        Column("name", String, server_default="50%; or -- so"),
        Column("status", status),
        Column("first_task_id", ForeignKey("tasks.id", name="fk_first_task")),
        UniqueConstraint("name", name="uq_projects_name"),
        CheckConstraint("name NOT LIKE '%;%' -- no semicolons\n", name="ck_projects_name"),
    )
    tasks = table(
        "tasks",
        Column("Number; odd", Integer, key="number"),
        Column("status", status),
        Column("project_id", ForeignKey("projects.id", ondelete="SET NULL", name="fk_project")),
        Column("parent_id", ForeignKey("tasks.id", ondelete="CASCADE", name="fk_parent")),
        Column("note", String, comment="It's 100%; more or less"),
    )
    for name in ("zulu", "alpha", "mike", "kilo", "echo"):
        Index(f"ix_tasks_{name}", tasks.c.tenant_id, tasks.c.note, tasks.c[{"zulu": "id"}.get(name, "number")])
    view = DDL("CREATE VIEW names AS SELECT name FROM projects -- all of them")  # type: ignore[no-untyped-call]  # SQLAlchemy's
    event.listen(projects, "after_create", view)
    event.listen(metadata, "after_create", _add_the_first_tenant)
    return Tenancy(metadata, tenants="tenants", layout=layout)


def _add_the_first_tenant(metadata: MetaData, connection: Connection, **_options: Any) -> None:
    connection.execute(insert(metadata.tables["tenants"]).values(id=1, slug="it's; first"))


def run_script(engine: Engine, script: str) -> None:
    with engine.begin() as connection:
        driver: Any = connection.connection.driver_connection
        if engine.dialect.name == "sqlite":
            driver.executescript(script)
        else:
            driver.execute(script)


POSTGRESQL = """
SELECT 'column', attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text,
    pg_get_expr(adbin, adrelid), col_description(attrelid, attnum)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid LEFT JOIN pg_attrdef ON (adrelid, adnum) = (attrelid, attnum)
WHERE relnamespace = 'public'::regnamespace AND attnum > 0
UNION ALL SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', '', ''
FROM pg_constraint WHERE connamespace = 'public'::regnamespace
UNION ALL SELECT 'index', tablename, indexname, indexdef, '', '', '' FROM pg_indexes WHERE schemaname = 'public'
UNION ALL SELECT 'label', typname, enumlabel, '', '', '', '' FROM pg_enum JOIN pg_type ON pg_type.oid = enumtypid
UNION ALL SELECT 'view', viewname, definition, '', '', '', '' FROM pg_views WHERE schemaname = 'public'
UNION ALL SELECT 'row', slug, id::text, '', '', '', '' FROM tenants
"""
SQLITE = "SELECT type, tbl_name, name, sql FROM sqlite_master UNION ALL SELECT 'row', slug, id, '' FROM tenants"


def schema_of(engine: Engine) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(SQLITE if engine.dialect.name == "sqlite" else POSTGRESQL)
        return sorted((tuple(row) for row in found), key=repr)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_script_makes_the_schema_that_create_all_makes(new_database: NewDatabase, layout: str) -> None:
    tenancy = tenancy_of(layout)
    with contextlib.ExitStack() as stack:
        created, scripted = (create_engine(new_database()) for _ in range(2))
        for engine in (created, scripted):
            stack.callback(engine.dispose)
        tenancy.create_all(created)
        with scripted.connect() as connection:
            version: Any = getattr(connection.dialect, "server_version_info", None)
        run_script(scripted, ddl(tenancy, dialect=created.dialect.name, server_version=version))

        schema = schema_of(created)

        assert len(schema) > 12
        assert schema == schema_of(scripted)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_script_is_cut_into_its_statements_at_the_semicolons(dialect: str) -> None:
    statements = [each.text for each in split(ddl(tenancy_of(), dialect=dialect), dialect)]

    creates = [each.split("(")[0] for each in statements if each.startswith("CREATE TABLE")]
    assert [each.strip() for each in sorted(creates)] == [
        f"CREATE TABLE {each}" for each in ("projects", "tasks", "tenants")
    ]
    assert sum(each.startswith("CREATE INDEX") for each in statements) == 5
    assert sum(each.startswith("CREATE TRIGGER") for each in statements) == (dialect == "sqlite")
    assert sum(each.startswith("CREATE VIEW") for each in statements) == 1
    assert "INSERT INTO tenants (id, slug) VALUES (1, 'it''s; first')" in statements


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_script_is_the_same_in_each_process(dialect: str) -> None:
    program = f"from tests.test_ddl import *; print(ddl(tenancy_of(), dialect={dialect!r}), end='')"

    scripts = {
        subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-c", program],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parent.parent,
        ).stdout
        for _ in range(3)
    }

    assert scripts == {ddl(tenancy_of(), dialect=dialect)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_keys_in_the_script_have_the_tenant(layout: str) -> None:
    script = ddl(tenancy_of(layout), dialect="postgresql")

    first = "PRIMARY KEY (id)" if layout == "keep" else "PRIMARY KEY (tenant_id, id)"
    assert script.count(first) == (3 if layout == "keep" else 2)
    assert (
        "FOREIGN KEY(tenant_id, project_id) REFERENCES projects (tenant_id, id) ON DELETE SET NULL (project_id)"
        in script
    )
    assert "UNIQUE (tenant_id, name)" in script


def test_a_server_that_cannot_have_a_key_is_told_of() -> None:
    with pytest.raises(SetupError, match="since version 15"):
        ddl(tenancy_of(), dialect="postgresql", server_version=(14, 9))


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Return what runs the command beside an application."""
    (tmp_path / "ddl_app.py").write_text("from tests.test_ddl import tenancy_of\ntenancy = tenancy_of()\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "ddl_app", raising=False)
    return lambda *arguments, app="ddl_app:tenancy": CliRunner().invoke(partywall, ["ddl", "--app", app, *arguments])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_command_prints_what_the_function_returns(run: Callable[..., Result], dialect: str) -> None:
    result = run("--dialect", dialect)

    assert (result.exit_code, result.stdout) == (0, ddl(tenancy_of(), dialect=dialect))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--server-version", "14.9"], "PostgreSQL has since version 15"),
        (["--server-version", "newest"], "is no version"),
        (["--dialect", "mysql"], "is not one of"),
    ],
)
def test_the_command_exits_with_2_if_there_is_no_script(
    run: Callable[..., Result], arguments: list[str], told: str
) -> None:
    result = run(*arguments)

    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_the_command_takes_the_version_of_a_server(run: Callable[..., Result]) -> None:
    assert run("--server-version", "15").stdout == ddl(tenancy_of(), dialect="postgresql", server_version=(15,))


def test_a_script_with_the_key_of_a_row_wall_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sealed_shop.py").write_text(
        "from sqlalchemy import Column, Integer, MetaData, Table\n"
        "from partywall import RowWall, Tenancy\n"
        "metadata = MetaData()\n"
        "Table('notes', metadata, Column('tenant_id', Integer, primary_key=True))\n"
        "def tenancy(): return Tenancy(metadata, rows=RowWall(role='app', key=b'k' * 32))\n"
    )
    monkeypatch.chdir(tmp_path)

    result = CliRunner().invoke(partywall, ["ddl", "--app", "sealed_shop:tenancy"])

    assert result.exit_code == 0, result.output
    assert "CREATE POLICY partywall_tenant ON public.notes" in result.stdout
    assert "keep it out of version control" in result.stderr
