"""The command: what it finds in files of SQL, what it says of a statement, and how it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Column, Integer, MetaData, String, Table

from partywall import SetupError, Tenancy
from partywall.cli._commands import partywall
from partywall.cli._sql import split
from partywall.cli.explain import GivenColumn, UsedTable, explain
from partywall.cli.prove import Finding, prove_files

DIALECTS = ("postgresql", "sqlite")

APP = """
from sqlalchemy import Column, Integer, MetaData, String, Table
from partywall import Tenancy

metadata = MetaData()
Table("tenants", metadata, Column("id", Integer, primary_key=True), Column("slug", String))
for name in ("invoices", "lines"):
    Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        Column("tenant_id", Integer, nullable=False),
        Column("total", Integer),
    )
Table("countries", metadata, Column("code", String, primary_key=True))
tenancy = Tenancy(metadata, tenants="tenants", shared={"countries"})
incomplete = Tenancy(metadata, tenants="tenants")
number = 3


class Settings:
    tenancy = tenancy


def make_tenancy():
    return tenancy


def fail():
    raise RuntimeError("no configuration")
"""


def described(**options: Any) -> Tenancy:
    metadata = MetaData()
    Table("tenants", metadata, Column("id", Integer, primary_key=True), Column("slug", String))
    for name in ("invoices", "lines"):
        own = Column("tenant_id", Integer, nullable=False)
        Table(name, metadata, Column("id", Integer, primary_key=True), own, Column("total", Integer))
    Table("countries", metadata, Column("code", String, primary_key=True))
    return Tenancy(metadata, tenants="tenants", shared={"countries"}, **options)


TENANCY = described()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, with an application in it."""
    (tmp_path / "shop_app.py").write_text(APP)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "shop_app", raising=False)
    return tmp_path


def run(command: str, *arguments: str, app: str = "shop_app:tenancy", stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(partywall, [command, "--app", app, *arguments], input=stdin)


def judged(tmp_path: Path, sql: str, dialect: str = "postgresql", **options: Any) -> list[Finding]:
    path = tmp_path / "queries.sql"
    path.write_bytes(sql.encode())
    return prove_files(TENANCY, [path], dialect=dialect, **options)


# Files

SPLIT = {
    "a semicolon at the end or none": ("SELECT 1; SELECT 2;;\n ; SELECT 3", ["SELECT 1", "SELECT 2", "SELECT 3"]),
    "in strings": ("SELECT ';', 'it''s;'; SELECT 2", ["SELECT ';', 'it''s;'", "SELECT 2"]),
    "in names": ('SELECT ";" ; SELECT 2', ['SELECT ";"', "SELECT 2"]),
    "in comments": ("-- a; b\nSELECT /* ; */ 1; -- c;\n", ["SELECT /* ; */ 1"]),
    "comments alone": ("-- nothing\n/* at; all */", []),
    "in parentheses": ("SELECT (1; 2); SELECT 3", ["SELECT (1; 2)", "SELECT 3"]),
    "a string without an end": ("SELECT 1; SELECT 'a; b", ["SELECT 1", "SELECT 'a; b"]),
    "a comment without an end": ("SELECT 1; /* a; b", ["SELECT 1", "/* a; b"]),
    "a trigger": (
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 3; END; SELECT 4",
        ["CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT CASE WHEN 1 THEN 2 END; SELECT 3; END", "SELECT 4"],
    ),
}
SPLIT_OF = {
    "postgresql": {
        "in dollars": ("SELECT $$a;b$$, $x$;$$;$x$; SELECT 2", ["SELECT $$a;b$$, $x$;$$;$x$", "SELECT 2"]),
        "after a backslash": (r"SELECT E'\';', '\'; SELECT 2", [r"SELECT E'\';', '\'", "SELECT 2"]),
        "in nested comments": ("SELECT 1 /* /* ; */ ; */; SELECT 2", ["SELECT 1", "SELECT 2"]),
        "a function": (
            "CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END; SELECT 3",
            ["CREATE OR REPLACE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT 2; END", "SELECT 3"],
        ),
        "a transaction is no body": ("BEGIN; SELECT 1; END", ["BEGIN", "SELECT 1", "END"]),
    },
    "sqlite": {
        "in other quotes": ("SELECT `;`, [;]; SELECT 2", ["SELECT `;`, [;]", "SELECT 2"]),
        "comments do not nest": ("SELECT 1 /* /* ; */; SELECT 2", ["SELECT 1", "SELECT 2"]),
    },
}


@pytest.mark.parametrize(
    ("dialect", "sql", "statements"),
    [
        pytest.param(dialect, *pair, id=f"{dialect}-{name}")
        for dialect in DIALECTS
        for name, pair in {**SPLIT, **SPLIT_OF[dialect]}.items()
    ],
)
def test_a_file_is_cut_where_its_statements_end(dialect: str, sql: str, statements: list[str]) -> None:
    assert [statement.text for statement in split(sql, dialect)] == statements


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_character_of_a_file_escapes_the_proof(dialect: str) -> None:
    sql = "SELECT 'a' -- b\n; /* c */ SELECT 1.5e-3, a$x$ FROM t WHERE a::b = :c ;\n"

    words = [word for statement in split(sql, dialect) for word in statement.words]

    assert "".join(word.text for word in words) == sql.replace(";", "").rstrip("\n")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_statement_of_a_file_has_a_finding(tmp_path: Path, dialect: str) -> None:
    found = judged(
        tmp_path,
        "-- name: all; :of them\r\nSELECT total FROM invoices WHERE tenant_id = :tenant_id;\n"
        "\n"
        "SELECT 'é', i.total\n"
        "  FROM invoices AS i JOIN lines AS l ON l.id = i.id\n"
        " WHERE i.tenant_id = :tenant_id;\n"
        "DELETE FROM lines WHERE total = 'secret' AND total = 4711 /* mine */;SELECT code FROM countries",
        dialect,
    )

    assert [(each.line, each.column, each.is_proved) for each in found] == [
        (2, 1, True),
        (5, 27, False),
        (7, 13, False),
        (7, 70, True),
    ]
    assert found[0].relied_on == (":tenant_id",)
    assert "table lines" in found[1].reason
    assert found[2].statement == "DELETE FROM lines WHERE total = <string> AND total = <number>"


def test_a_place_is_found_behind_parameters_of_any_length(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, "SELECT :a, :a_very_long_name_for_a_parameter, :b FROM invoices")

    assert (found.line, found.column) == (1, 55)

    (found,) = judged(tmp_path, "SELECT :a_long_name\\", "sqlite")

    assert (found.line, found.column) == (1, 20)


PARAMETERS = {
    "a name": ("postgresql", "SELECT 1 FROM invoices WHERE tenant_id = :tenant_id", (":tenant_id",)),
    "a name and a cast": ("postgresql", "SELECT 1 FROM invoices WHERE tenant_id = :tenant_id::int", (":tenant_id",)),
    "psycopg's name": ("postgresql", "SELECT 1 FROM invoices WHERE tenant_id = %(tenant_id)s", (":tenant_id",)),
    "psycopg's position": ("postgresql", "SELECT %s FROM invoices WHERE tenant_id = %s", ("%s 2",)),
    "a number": ("postgresql", "SELECT $1 FROM invoices WHERE tenant_id = $2", ("$2",)),
    "SQLite's name": ("sqlite", "SELECT 1 FROM invoices WHERE tenant_id = :tenant_id", (":tenant_id",)),
    "SQLite's other name": ("sqlite", "SELECT 1 FROM invoices WHERE tenant_id=@tenant_id", ("@tenant_id",)),
    "SQLite's position": ("sqlite", "SELECT ? FROM invoices WHERE tenant_id = ?", ("?2",)),
    "SQLite's number": ("sqlite", "SELECT ?1 FROM invoices WHERE tenant_id = ?7", ("?7",)),
}


@pytest.mark.parametrize(("dialect", "sql", "relied_on"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_are_read_in_every_style(tmp_path: Path, dialect: str, sql: str, relied_on: tuple[str, ...]) -> None:
    (found,) = judged(tmp_path, sql, dialect)

    assert (found.reason, found.relied_on) == ("", relied_on)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("value", [":other", "1", "':tenant_id'", "id", ":tenant_id OR 1 = 1", ":tenant_id_"])
def test_no_other_parameter_passes_for_the_tenant(tmp_path: Path, dialect: str, value: str) -> None:
    (found,) = judged(tmp_path, f"SELECT 1 FROM invoices WHERE tenant_id = {value} AND total = :tenant_id", dialect)

    assert not found.is_proved


@pytest.mark.parametrize(
    ("dialect", "sql"),
    [
        # What the proof would read as the number of a parameter must not be one that stands in the text.
        ("sqlite", "SELECT 1 FROM invoices WHERE tenant_id = :p1 AND total = :tenant_id"),
        ("sqlite", "SELECT 1 FROM invoices WHERE 1 AND:p1 = tenant_id AND total = :tenant_id"),
        ("postgresql", "SELECT :tenant_id, E'a'\n'\\'', 1 FROM invoices WHERE tenant_id = $1 --'"),
    ],
)
def test_the_number_of_a_parameter_is_not_mistaken_for_the_tenants(tmp_path: Path, dialect: str, sql: str) -> None:
    (found,) = judged(tmp_path, sql, dialect)

    assert not found.is_proved


@pytest.mark.parametrize("names", ["org", ":org", ("tenant_id", "org")])
def test_the_tenants_parameter_has_the_names_it_is_given(tmp_path: Path, names: Any) -> None:
    (found,) = judged(tmp_path, "SELECT 1 FROM invoices WHERE tenant_id = :org", tenant_parameter=names)

    assert found.is_proved


@pytest.mark.parametrize("dialect", DIALECTS)
def test_several_statements_that_the_cut_took_for_one_are_not_proved(tmp_path: Path, dialect: str) -> None:
    (found,) = judged(tmp_path, "SELECT (1; SELECT total FROM invoices WHERE tenant_id = :tenant_id", dialect)

    assert not found.is_proved


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1 + 'hunter2' 4711 'hunter2'",
        "SELECT 4711 4711",
        "SELECT 'hunter2",
        "'hunter2'",
        "SELECT (4711, 'hunter2' FROM",
    ],
)
def test_what_is_found_shows_no_values(tmp_path: Path, dialect: str, sql: str) -> None:
    (found,) = judged(tmp_path, sql, dialect)

    assert not found.is_proved
    assert "hunter2" not in f"{found}"
    assert "4711" not in f"{found}"


def test_what_may_be_sent_in_any_scope_needs_no_proof(tmp_path: Path) -> None:
    found = judged(tmp_path, "SET LOCAL statement_timeout = '5s'; -- why\nSET search_path = x;")

    assert [each.is_proved for each in found] == [True, False]


def test_a_dialect_without_a_proof_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        judged(tmp_path, "SELECT 1", "mysql")
    with pytest.raises(SetupError):
        split("SELECT 1", "mysql")


# partywall prove


def test_prove_succeeds_if_all_is_proved(project: Path) -> None:
    (project / "good.sql").write_text("SELECT total FROM invoices WHERE tenant_id = :tenant_id;\nSELECT 1;")

    result = run("prove", "good.sql")

    assert result.exit_code == 0
    assert result.stdout == "2 statements in 1 file: 2 proved, 0 not proved. The tenant is :tenant_id.\n"


def test_prove_says_where_a_statement_is_not_scoped(project: Path) -> None:
    (project / "bad.sql").write_text("SELECT total\nFROM invoices\nWHERE tenant_id = :org AND total > 4711;\n")

    result = run("prove", "--dialect", "sqlite", "bad.sql")

    assert result.exit_code == 1
    assert result.stdout.startswith("bad.sql:2:6: not proved: table invoices: ")
    assert "\n    SELECT total FROM invoices WHERE tenant_id = :org AND total > <number>\n" in result.stdout
    assert run("prove", "--tenant-parameter", "org", "bad.sql").exit_code == 0
    assert run("prove", "--tenant-parameter", "x", "--tenant-parameter", "org", "bad.sql").exit_code == 0


def test_prove_tells_which_positions_have_to_be_the_tenant(project: Path) -> None:
    (project / "numbers.sql").write_text("SELECT total FROM invoices WHERE total > $1 AND tenant_id = $2")

    result = run("prove", "numbers.sql")

    assert result.exit_code == 0
    assert result.stdout.startswith("numbers.sql:1:1: proved, if $2 is the tenant\n")


def test_prove_writes_json(project: Path) -> None:
    (project / "a.sql").write_text("SELECT total FROM invoices")
    (project / "b.sql").write_text("SELECT total FROM invoices WHERE tenant_id = :tenant_id")

    result = run("prove", "--format", "json", "a.sql", "b.sql")

    assert result.exit_code == 1
    bad, good = json.loads(result.stdout)
    assert (bad["path"], bad["line"], bad["column"], bad["is_proved"]) == ("a.sql", 1, 19, False)
    assert (good["path"], good["is_proved"], good["relied_on"]) == ("b.sql", True, [":tenant_id"])


def test_prove_writes_sarif(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (project / "sql").mkdir()
    (project / "sql" / "my file.sql").write_text("SELECT 1;\nSELECT total FROM invoices;")
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a.sql"
    elsewhere.write_text("SELECT total FROM lines")

    result = run("prove", "--format", "sarif", "sql/my file.sql", str(elsewhere))

    assert result.exit_code == 1
    log = json.loads(result.stdout)
    (run_,) = log["runs"]
    driver = run_["tool"]["driver"]
    assert (log["version"], driver["name"]) == ("2.1.0", "partywall")
    places = [each["locations"][0]["physicalLocation"] for each in run_["results"]]
    assert places == [
        {"artifactLocation": {"uri": "sql/my%20file.sql"}, "region": {"startLine": 2, "startColumn": 19}},
        {"artifactLocation": {"uri": elsewhere.as_uri()}, "region": {"startLine": 1, "startColumn": 19}},
    ]
    assert {driver["rules"][each["ruleIndex"]]["id"] for each in run_["results"]} == {"statement-not-scoped"}
    assert all(each["message"]["text"] for each in run_["results"])


def test_sarif_without_findings_is_a_log_all_the_same(project: Path) -> None:
    (project / "empty.sql").write_text("-- nothing yet\n")

    result = run("prove", "--format", "sarif", "empty.sql")

    assert result.exit_code == 0
    assert json.loads(result.stdout)["runs"][0]["results"] == []


# partywall explain


@pytest.mark.parametrize("dialect", DIALECTS)
def test_explain_shows_what_is_sent(dialect: str) -> None:
    explanation = explain(
        TENANCY,
        "SELECT i.total FROM invoices i LEFT JOIN lines l ON l.id = i.id, countries WHERE i.total > :least",
        dialect=dialect,
    )

    assert explanation.scoped == (
        "SELECT i.total FROM invoices AS i LEFT JOIN lines AS l ON l.tenant_id = :partywall_tenant AND l.id = i.id, "
        "countries WHERE i.tenant_id = :partywall_tenant AND i.total > :least"
    )
    assert explanation.tables == (
        UsedTable("countries", "shared", None, "all"),
        UsedTable("invoices", "scoped", "tenant_id", "own"),
        UsedTable("lines", "scoped", "tenant_id", "own"),
    )
    assert (explanation.is_proved, explanation.reason, explanation.refusal) == (True, "", None)
    assert not explanation.as_it_stands.is_proved
    assert "table invoices" in explanation.as_it_stands.reason


@pytest.mark.parametrize("dialect", DIALECTS)
def test_explain_names_what_is_given_for_the_tenant_and_not_its_value(dialect: str) -> None:
    explanation = explain(
        TENANCY, "INSERT INTO invoices (tenant_id, total) VALUES (:org, 1), (4711, 2)", dialect=dialect
    )

    assert explanation.given == (
        GivenColumn("invoices", "tenant_id", ":org", 1),
        GivenColumn("invoices", "tenant_id", None, 2),
    )
    assert "4711" not in str(explanation.scoped)


@pytest.mark.parametrize(
    ("dialect", "value", "shown"),
    [
        ("postgresql", "%(x)s", ":x"),
        ("postgresql", "%s", "$1"),
        ("postgresql", "$1", "$1"),
        ("sqlite", "?", "?1"),
        ("sqlite", "?1", "?1"),
        ("sqlite", "@x", ":x"),
    ],
)
def test_explain_takes_the_parameters_of_drivers(dialect: str, value: str, shown: str) -> None:
    explanation = explain(TENANCY, f"SELECT total FROM invoices WHERE total = {value}", dialect=dialect)

    assert explanation.scoped == (
        f"SELECT total FROM invoices WHERE invoices.tenant_id = :partywall_tenant AND total = {shown}"
    )


def test_explain_says_why_a_statement_is_refused() -> None:
    explanation = explain(TENANCY, "SELECT pg_sleep(1)", dialect="postgresql")

    assert explanation.scoped is None
    assert explanation.refusal is not None
    assert explanation.refusal.error == "RefusedStatementError"
    assert "pg_sleep" in explanation.refusal.reason
    foreign = explain(TENANCY, "UPDATE invoices SET tenant_id = NULL", dialect="sqlite").refusal
    assert foreign is not None
    assert foreign.error == "ForeignTenantError"


def test_explain_tells_what_is_sent_as_it_stands() -> None:
    preset = explain(TENANCY, "SELECT 1", dialect="sqlite")
    by_hand = "SELECT total FROM invoices WHERE tenant_id = :t"
    checked = described(checker=True)

    assert (preset.scoped, preset.is_changed, preset.is_proved) == ("SELECT 1", False, True)
    assert explain(TENANCY, by_hand, dialect="sqlite").as_it_stands.relied_on == (":t",)
    assert explain(checked, by_hand, dialect="sqlite").scoped == by_hand
    assert explain(checked, "SELECT total FROM invoices", dialect="sqlite").refusal is not None


def test_explain_judges_one_statement() -> None:
    explanation = explain(TENANCY, "SELECT total FROM invoices; SELECT 2", dialect="postgresql")

    assert explanation.refusal is not None
    assert "2 statements" in explanation.as_it_stands.reason


def test_the_command_explain_prints_it_all(project: Path) -> None:
    result = run("explain", "INSERT INTO invoices (total) SELECT total FROM lines WHERE id = :id")

    assert result.exit_code == 0
    for line in (
        "Sent in a tenant's scope:",
        "    invoices: scoped by tenant_id; a tenant sees own rows",
        "What is sent is proved to be scoped.",
        "The original is not scoped by hand: ",
    ):
        assert line in result.stdout
    values = run("explain", "INSERT INTO invoices (tenant_id, total) VALUES (:org, 1)")
    assert "    invoices.tenant_id: :org\n" in values.stdout
    assert "The original is scoped by hand, if :org is the tenant." in values.stdout


def test_the_command_explain_reads_standard_input(project: Path) -> None:
    result = run("explain", "--dialect", "sqlite", "--format", "json", "-", stdin="SELECT total FROM invoices\n")

    assert result.exit_code == 0
    explanation = json.loads(result.stdout)
    assert explanation["scoped"] == "SELECT total FROM invoices WHERE invoices.tenant_id = :partywall_tenant"
    assert explanation["tables"][0]["key"] == "invoices"
    assert run("explain", stdin=b"SELECT '\xff'").exit_code == 2


def test_the_command_explain_fails_on_a_refused_statement(project: Path) -> None:
    result = run("explain", "SELECT * FROM nowhere")

    assert result.exit_code == 1
    assert "Refused in a tenant's scope (RefusedStatementError):\n    table nowhere is unknown" in result.stdout
    unchanged = run("explain", "SELECT 1")
    assert unchanged.exit_code == 0
    assert "as it stands" in unchanged.stdout
    assert "needs no tenant" in unchanged.stdout


# Errors of use


@pytest.mark.parametrize("app", ["shop_app:make_tenancy", "shop_app:Settings.tenancy"])
def test_the_app_may_be_a_function_or_an_attribute_of_something(project: Path, app: str) -> None:
    assert run("explain", "SELECT 1", app=app).exit_code == 0


@pytest.mark.parametrize(
    ("app", "message"),
    [
        ("shop_app", "write it as module:name"),
        ("shop_app:", "write it as module:name"),
        ("no_such_module:tenancy", "importing no_such_module failed: ModuleNotFoundError"),
        ("shop_app:nothing", "there is no nothing in shop_app"),
        ("shop_app:number", "this is a int, not a Tenancy"),
        ("shop_app:Settings", "this is a Settings, not a Tenancy"),
        ("shop_app:fail", "calling fail failed: RuntimeError: no configuration"),
        ("shop_app:incomplete", "table countries has no column tenant_id"),
    ],
)
@pytest.mark.parametrize("command", ["explain", "prove"])
def test_an_app_that_has_no_tenancy_is_an_error_of_use(project: Path, command: str, app: str, message: str) -> None:
    (project / "a.sql").write_text("SELECT 1")

    result = run(command, "a.sql", app=app)

    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""


def test_a_file_that_cannot_be_read_is_an_error_of_use(project: Path) -> None:
    (project / "latin.sql").write_bytes(b"SELECT '\xe9'")
    (project / "good.sql").write_text("SELECT 1")

    for name, message in (("no.sql", "No such file"), (".", "directory"), ("latin.sql", "not in UTF-8")):
        result = run("prove", "good.sql", name)
        assert result.exit_code == 2
        assert message in result.stderr
    assert run("prove").exit_code == 2
    assert run("prove", "--dialect", "mysql", "good.sql").exit_code == 2


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path: Path) -> None:
    (found,) = judged(tmp_path, "\ufeffSELECT total FROM invoices WHERE tenant_id = :tenant_id")

    assert (found.is_proved, found.column) == (True, 1)


def _without(module: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.modules[{module!r}] = None; from partywall.cli import main; main()"
    return subprocess.run(  # noqa: S603  # our own program
        [sys.executable, "-c", program, *arguments], cwd=cwd, check=False, capture_output=True, text=True
    )


def test_without_click_the_command_says_what_to_install(project: Path) -> None:
    result = _without("click", "--help", cwd=project)

    assert result.returncode == 2
    assert "pip install 'partywall[cli]'" in result.stderr


def test_without_the_grammar_of_postgresql_the_command_says_what_to_install(project: Path) -> None:
    (project / "a.sql").write_text("SELECT 1")

    for arguments in (("prove", "a.sql"), ("explain", "SELECT 1")):
        result = _without("pgparse", arguments[0], "--app", "shop_app:tenancy", *arguments[1:], cwd=project)
        assert result.returncode == 2
        assert "pip install 'partywall[postgresql]'" in result.stderr


def test_the_module_is_the_command(project: Path) -> None:
    (project / "a.sql").write_text("SELECT total FROM invoices")

    result = subprocess.run(
        [sys.executable, "-m", "partywall.cli", "prove", "--app", "shop_app:tenancy", "a.sql"],
        check=False,
        capture_output=True,
        text=True,
    )

    assert (result.returncode, result.stderr) == (1, "")
    assert "a.sql:1:19: not proved" in result.stdout
