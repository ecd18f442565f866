"""The commands: options in, text, JSON or SARIF out. What they find is found by functions that know nothing of them."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from partywall import __version__
from partywall.cli.ddl import ddl
from partywall.cli.explain import Explanation, UsedTable, explain
from partywall.cli.prove import Finding, prove_files
from partywall.errors import PartywallError
from partywall.tenancy import Tenancy

__all__ = ["partywall"]

_app = click.option(
    "--app",
    required=True,
    metavar="MODULE:NAME",
    help="Where the application has its Tenancy, or a function that returns it: shop.database:tenancy.",
)
_dialect = click.option(
    "--dialect", type=click.Choice(["postgresql", "sqlite"]), default="postgresql", show_default=True
)


class _SetupFailed(click.ClickException):
    exit_code = 2


@click.group()
@click.version_option(__version__, prog_name="partywall")
def partywall() -> None:
    """Many tenants, one database, and no statement that reaches another tenant's rows."""


@partywall.command("explain")
@_app
@_dialect
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.argument("sql", default="-")
def explain_command(app: str, dialect: str, format_: str, sql: str) -> None:
    """
    Say what becomes of one statement of SQL in a tenant's scope.

    SQL is the statement, or - to read it from standard input. Nothing is executed. The exit status is 0 if the
    statement can be run and the proof finds it scoped, 1 if not, and 2 if the command cannot do its work.
    """
    tenancy = _tenancy(app)
    try:
        explanation = explain(tenancy, _stdin() if sql == "-" else sql, dialect=dialect)
    except PartywallError as error:
        raise _SetupFailed(str(error)) from error
    if format_ == "json":
        click.echo(json.dumps(dataclasses.asdict(explanation), indent=2))
    else:
        click.echo(_explained(explanation))
    sys.exit(0 if explanation.is_proved else 1)


@partywall.command("prove")
@_app
@_dialect
@click.option(
    "--tenant-parameter",
    "names",
    multiple=True,
    default=["tenant_id"],
    show_default=True,
    metavar="NAME",
    help="Name of the parameter that carries the tenant; may be given several times.",
)
@click.option("--format", "format_", type=click.Choice(["text", "json", "sarif"]), default="text", show_default=True)
@click.argument("files", nargs=-1, required=True)
def prove_command(app: str, dialect: str, names: tuple[str, ...], format_: str, files: tuple[str, ...]) -> None:
    """
    Check that the statements in FILES of SQL are scoped by hand.

    Every use of a scoped table has to be restricted to the tenant's parameter. Nothing is executed. The exit status is
    0 if every statement is proved, 1 if one is not, and 2 if the command cannot do its work.
    """
    tenancy = _tenancy(app)
    try:
        findings = prove_files(tenancy, files, dialect=dialect, tenant_parameter=names)
    except PartywallError as error:
        raise _SetupFailed(str(error)) from error
    if format_ == "json":
        click.echo(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    elif format_ == "sarif":
        click.echo(json.dumps(_sarif(findings), indent=2))
    else:
        click.echo(_listed(findings, len(files), names))
    sys.exit(0 if all(finding.is_proved for finding in findings) else 1)


def _version(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    try:
        return None if value is None else tuple(map(int, value.split(".")))
    except ValueError:
        raise click.BadParameter(f"{value!r} is no version: write it as 15 or 14.9.") from None


@partywall.command("ddl")
@_app
@_dialect
@click.option(
    "--server-version",
    callback=_version,
    metavar="VERSION",
    help="Version of the server it is for, as in 14.9; the newest unless it is given.",
)
def ddl_command(app: str, dialect: str, server_version: tuple[int, ...] | None) -> None:
    """
    Print the schema of an empty database, with the keys that cannot point across tenants and PostgreSQL's row wall.

    It is the script of SQL that Tenancy.create_all() would execute; run it in one transaction (psql -1). Nothing is
    executed. The exit status is 0, or 2 if the command cannot do its work.
    """
    tenancy = _tenancy(app)
    try:
        script = ddl(tenancy, dialect=dialect, server_version=server_version)
    except PartywallError as error:
        raise _SetupFailed(str(error)) from error
    click.echo(script, nl=False)
    if tenancy.rows is not None and tenancy.rows.is_sealed and dialect == "postgresql":
        click.echo("The key of the row wall is in this script: keep it out of version control.", err=True)


def _tenancy(app: str) -> Tenancy:
    """Import the application's Tenancy, with the current directory first among the places to import from."""
    module_name, colon, path = app.partition(":")
    if not (module_name and colon and path):
        raise _SetupFailed(f"--app {app}: write it as module:name, as in shop.database:tenancy.")
    directory = str(Path.cwd())
    if directory not in sys.path:
        sys.path.insert(0, directory)
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:  # whatever the application raises while it is imported
        raise _SetupFailed(f"--app {app}: importing {module_name} failed: {type(error).__name__}: {error}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise _SetupFailed(f"--app {app}: there is no {name} in {module_name}.") from error
    if callable(found):
        try:
            found = found()
        except Exception as error:  # as above
            raise _SetupFailed(f"--app {app}: calling {path} failed: {type(error).__name__}: {error}") from error
    if not isinstance(found, Tenancy):
        raise _SetupFailed(f"--app {app}: this is a {type(found).__name__}, not a Tenancy or a function returning one.")
    return found


def _stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _SetupFailed("standard input cannot be read: it is not in UTF-8.") from error


# Text


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def _explained(explanation: Explanation) -> str:
    parts = ["Original:", _indented(explanation.original), ""]
    refusal = explanation.refusal
    if refusal is not None:
        parts += [f"Refused in a tenant's scope ({refusal.error}):", _indented(refusal.reason), ""]
    elif explanation.is_changed:
        parts += ["Sent in a tenant's scope:", _indented(explanation.scoped or ""), ""]
    else:
        parts += ["Sent in a tenant's scope: as it stands.", ""]
    if explanation.tables:
        parts += ["Tables:", *(f"    {table.key}: {_what_is_seen(table)}" for table in explanation.tables), ""]
    if explanation.given:
        parts.append("Given for a tenant column, and compared with the tenant in scope:")
        for given in explanation.given:
            row = "" if given.row is None else f" in row {given.row}"
            parts.append(f"    {given.table}.{given.column}{row}: {given.parameter or 'a value in the text'}")
        parts.append("")
    if refusal is None and explanation.is_changed:
        proved = "proved to be scoped." if explanation.is_proved else f"not proved to be scoped: {explanation.reason}."
        parts.append(f"What is sent is {proved}")
    stands = explanation.as_it_stands
    if not stands.is_proved:
        parts.append(f"The original is not scoped by hand: {stands.reason}.")
    elif stands.relied_on:
        parts.append(f"The original is scoped by hand, if {' and '.join(stands.relied_on)} is the tenant.")
    else:
        parts.append("The original needs no tenant.")
    return "\n".join(parts)


def _what_is_seen(table: UsedTable) -> str:
    kind = table.kind.replace("_", ", ")
    if table.tenant_column is None:
        return kind
    seen = table.readable if table.readable.endswith("rows") else f"{table.readable} rows"
    return f"{kind} by {table.tenant_column}; a tenant sees {seen}"


def _listed(findings: Sequence[Finding], files: int, names: Sequence[str]) -> str:
    lines = []
    for finding in findings:
        where = f"{finding.path}:{finding.line}:{finding.column}"
        positional = [name for name in finding.relied_on if name[0] in "?%" or name[1:].isdigit()]
        if not finding.is_proved:
            lines += [f"{where}: not proved: {finding.reason}", f"    {finding.statement}"]
        elif positional:
            lines += [f"{where}: proved, if {' and '.join(positional)} is the tenant", f"    {finding.statement}"]
    failed = sum(not finding.is_proved for finding in findings)
    counted = f"{_count(len(findings), 'statement')} in {_count(files, 'file')}: "
    tenants = " or ".join(f":{name.removeprefix(':')}" for name in names)
    lines.append(f"{counted}{len(findings) - failed} proved, {failed} not proved. The tenant is {tenants}.")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


# SARIF 2.1.0 (OASIS), of which code hosts show the results beside the lines.

_RULE = "statement-not-scoped"


def _sarif(findings: Sequence[Finding]) -> dict[str, Any]:
    results = [
        {
            "ruleId": _RULE,
            "ruleIndex": 0,
            "level": "error",
            "message": {"text": f"Not proved to be scoped: {finding.reason}.\n{finding.statement}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": _uri(finding.path)},
                        "region": {"startLine": finding.line, "startColumn": finding.column},
                    }
                }
            ],
        }
        for finding in findings
        if not finding.is_proved
    ]
    rule = {
        "id": _RULE,
        "shortDescription": {"text": "A statement is not proved to be scoped to the tenant."},
        "fullDescription": {
            "text": "Every use of a scoped table has to be restricted to the tenant's parameter, as its join needs it."
        },
        "defaultConfiguration": {"level": "error"},
    }
    return {
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "partywall", "version": __version__, "rules": [rule]}},
                "columnKind": "unicodeCodePoints",
                "results": results,
            }
        ],
    }


def _uri(path: str) -> str:
    """Return the URI of a file: relative to the current directory if it is in there."""
    absolute = Path(os.path.abspath(path))  # noqa: PTH100  # links are left as they are
    if absolute.is_relative_to(Path.cwd()):
        return quote(absolute.relative_to(Path.cwd()).as_posix())
    return absolute.as_uri()
