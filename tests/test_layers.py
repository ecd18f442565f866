"""Imports point downwards only."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import partywall

SOURCE = Path(partywall.__file__).parent

# From the bottom to the top. A module may import from its own layer's lower entries and from the layers below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("_compat", "errors"),
    ("scope",),
    ("tables",),
    ("declarations",),
    ("statements.placement", "statements.functions", "statements.names", "statements.presets", "statements.refusals"),
    ("statements.sent", "statements.vouched"),
    ("statements.proof._model",),
    ("statements.proof._block", "statements.proof._postgresql", "statements.proof._sqlite"),
    ("statements.proof._judge",),
    ("statements.proof.__init__",),
    ("statements.rules",),
    ("statements.text._grammar", "statements.text._names", "statements.text._vet"),
    ("statements.text._parse",),
    ("statements.text._marks",),
    ("statements.text._print",),
    ("statements.text._reads",),
    ("statements.text._writes",),
    ("statements.text.__init__",),
    ("statements.as_it_stands",),
    ("statements.proving", "statements.driver"),
    ("statements.compile",),
    ("statements.writes",),
    ("statements.textual",),
    ("statements.orm",),
    ("statements.execute",),
    ("keys.triggers",),
    ("keys.references",),
    ("keys.physical",),
    ("rows.declaration", "rows.encoding", "rows.seal"),
    ("rows.postgresql.drivers",),
    ("rows.postgresql.session",),
    ("rows.postgresql.tenant",),
    ("rows.postgresql.meant",),
    ("rows.postgresql.ddl", "rows.postgresql.facts"),
    ("rows.postgresql.finding",),
    ("rows.postgresql.surroundings",),
    ("rows.postgresql.drift",),
    ("rows.postgresql.verify",),
    ("rows.postgresql.self_test", "rows.postgresql.put_up"),
    ("rows.sqlite.parameters", "rows.sqlite.schema"),
    ("rows.sqlite.views", "rows.sqlite.joins"),
    ("rows.sqlite.authorizer",),
    ("rows.sqlite.refusals", "rows.sqlite.seals"),
    ("rows.sqlite.connection",),
    ("rows.sqlite.wall",),
    ("guard._guard", "guard._sqlite"),
    ("guard._connection",),
    ("guard._handed_out", "guard._sessions"),
    ("guard._postgresql",),
    ("guard._engine",),
    ("guard.__init__",),
    ("tenancy",),
    ("__init__",),
    ("testing.twins",),
    ("testing.__init__",),
    ("cli._sql",),
    ("cli.prove",),
    ("cli.explain",),
    ("cli.ddl",),
    ("cli._commands",),
    ("cli.__init__",),
    ("cli.__main__",),
)
HEIGHT = {module: height for height, layer in enumerate(LAYERS) for module in layer}
PACKAGES_WITHOUT_CODE = {
    "statements.__init__",
    "keys.__init__",
    "rows.__init__",
    "rows.postgresql.__init__",
    "rows.sqlite.__init__",
}


def modules() -> dict[str, Path]:
    return {".".join(path.relative_to(SOURCE).with_suffix("").parts): path for path in SOURCE.rglob("*.py")}


def imports_of(path: Path) -> set[str]:
    """Return the modules of ours that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("partywall"):
            package = (node.module or "").removeprefix("partywall").removeprefix(".") or "__init__"
            submodules = {f"{package}.{name.name}" for name in node.names} & HEIGHT.keys()
            found |= submodules or {package}
        elif isinstance(node, ast.Import):
            found.update(name.name for name in node.names if name.name.startswith("partywall"))
    return {name if name in HEIGHT else f"{name}.__init__" for name in found}


def test_every_module_has_a_layer() -> None:
    assert modules().keys() == HEIGHT.keys() | PACKAGES_WITHOUT_CODE


def test_imports_point_downwards() -> None:
    upwards = {
        (module, imported)
        for module, path in modules().items()
        for imported in imports_of(path)
        if HEIGHT[imported] >= HEIGHT.get(module, 0)
    }

    assert upwards == set()


def test_the_proof_shares_no_code_with_what_scopes() -> None:
    imported = {
        (module, name)
        for module, path in modules().items()
        if module.startswith("statements.proof.")
        for name in imports_of(path)
        if not name.startswith("statements.proof.")
    }

    assert {name for _, name in imported} == {"errors", "tables"}


def test_only_the_guard_listens_to_events() -> None:
    listeners = {module for module, path in modules().items() if "event.listen" in path.read_text()}

    # The others listen to the creation of tables in a metadata that is theirs.
    assert {name for name in listeners if not name.startswith("guard.")} == {"keys.physical", "keys.triggers"}


def test_only_compat_asks_for_the_version_of_sqlalchemy() -> None:
    askers = {module for module, path in modules().items() if "sqlalchemy.__version__" in path.read_text()}

    assert askers == {"_compat"}


def test_only_the_commands_import_more_than_sqlalchemy_sqlglot_and_the_standard_library() -> None:
    allowed = {"sqlalchemy", "sqlglot", "partywall", "__future__"} | sys.stdlib_module_names
    foreign: set[tuple[str, str]] = set()
    for module, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
                foreign.update((module, name.partition(".")[0]) for name in names)

    assert {(module, name) for module, name in foreign if name not in allowed} == {("cli._commands", "click")}


def test_nothing_but_asyncio_needs_greenlet() -> None:
    program = (
        "import sys\n"
        "sys.modules['greenlet'] = None\n"
        "import sqlalchemy as sa, partywall\n"
        "metadata = sa.MetaData()\n"
        "notes = sa.Table('notes', metadata, sa.Column('tenant_id', sa.Integer, primary_key=True))\n"
        "tenancy = partywall.Tenancy(metadata)\n"
        "engine = tenancy.guard(sa.create_engine('sqlite://'), allow_unscoped=True)\n"
        "tenancy.create_all(engine)\n"
        "with tenancy.session(engine, tenant=1) as session:\n"
        "    assert session.execute(sa.select(notes)).all() == []\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  # our own program


def test_importing_registers_nothing() -> None:
    program = (
        "import sqlalchemy.orm, sqlalchemy.event, partywall\n"
        "from partywall.guard._sessions import _session_began\n"
        "assert not sqlalchemy.event.contains(sqlalchemy.orm.Session, 'after_begin', _session_began)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  # our own program
