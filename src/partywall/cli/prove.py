"""``partywall prove``: whether the statements in files of SQL are scoped by hand."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from partywall.cli._sql import Numbered, Parameter, Statement, excerpt, split, without_values
from partywall.errors import SetupError
from partywall.statements.presets import is_preset
from partywall.statements.proof import prove
from partywall.tables import Tables
from partywall.tenancy import Tenancy

__all__ = ["Finding", "Judgement", "judge_statement", "prove_files"]


@dataclass(frozen=True)
class Finding:
    """
    What the proof says of one statement in a file.

    Attributes:
        path: The file, as it was given.
        line, column: Where the table or clause stands that is not restricted, if known; else where the statement
            begins. Both count from 1, columns in characters.
        statement: The beginning of the statement, without comments and values.
        is_proved: Whether every use of a restricted table is restricted to the tenant.
        reason: Why not; empty if proved.
        relied_on: The parameters that have to be the tenant, as in ``:tenant_id`` or ``$1``; empty if not proved.
    """

    path: str
    line: int
    column: int
    statement: str
    is_proved: bool
    reason: str
    relied_on: tuple[str, ...]


def prove_files(
    tenancy: Tenancy,
    paths: Iterable[str | Path],
    *,
    dialect: str,
    tenant_parameter: str | Collection[str] = "tenant_id",
) -> list[Finding]:
    """
    Judge every statement in files of SQL: does it restrict every scoped table to the tenant's parameter?

    Nothing is executed. Parameters are written as ``:name``; on PostgreSQL also as ``%(name)s``, ``%s`` and ``$1``, on
    SQLite as ``@name``, ``$name`` and ``?``. A positional parameter has no name, so any may carry the tenant:
    `Finding.relied_on` tells which one has to.

    Args:
        tenancy: Says whose rows the tables hold.
        paths: Files in UTF-8, of any number of statements.
        dialect: ``"postgresql"`` or ``"sqlite"``.
        tenant_parameter: Name of the parameter that carries the tenant, or several names.

    Returns:
        A finding for each statement, in the order of the files.

    Raises:
        SetupError: A file cannot be read, the declarations are incomplete, or the proof of this dialect needs an extra
            that is not installed.
    """
    tables = tenancy.describe(dialect)
    given = [tenant_parameter] if isinstance(tenant_parameter, str) else tenant_parameter
    names = frozenset(name.removeprefix(":") for name in given)
    prove("SELECT 1", tables, dialect=dialect, tenant_parameters=frozenset())  # is what it needs installed?
    found: list[Finding] = []
    for path in paths:
        sql = _text(Path(path))
        for statement in split(sql, dialect):
            judgement = judge_statement(statement, tables, dialect, names)
            before = sql[: judgement.start]
            found.append(
                Finding(
                    path=str(path),
                    line=before.count("\n") + 1,
                    column=len(before) - (before.rfind("\n") + 1) + 1,
                    statement=excerpt(statement),
                    is_proved=judgement.is_proved,
                    reason=judgement.reason,
                    relied_on=judgement.relied_on,
                )
            )
    return found


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # line ends as they are: they end comments
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror or type(error).__name__}.") from error
    except UnicodeDecodeError as error:
        raise SetupError(f"{path} cannot be read: it is not in UTF-8.") from error


@dataclass(frozen=True)
class Judgement:
    """
    What the proof says of a statement.

    Attributes:
        is_proved, reason, relied_on: As in `Finding`.
        start: Offset of what it is about in the text that was split.
    """

    is_proved: bool
    reason: str
    relied_on: tuple[str, ...]
    start: int


def judge_statement(
    statement: Statement, tables: Tables, dialect: str, tenant_names: frozenset[str] | None
) -> Judgement:
    """
    Judge a statement as it stands.

    Args:
        statement: One of those that `split` returns.
        tables: The tables of the tenancy.
        dialect: As in `prove_files`.
        tenant_names: Names of the parameters that may carry the tenant, beside positional ones; None if any may.
    """
    if is_preset(statement.text):
        return Judgement(is_proved=True, reason="", relied_on=(), start=statement.start)
    numbered = statement.numbered(dialect)
    verdict = prove(
        numbered.sql, tables, dialect=dialect, tenant_parameters=_may_carry_the_tenant(numbered, tenant_names)
    )
    if verdict.is_proved:
        relied_on = tuple(str(numbered.parameters[number]) for number in sorted(verdict.relied_on))
        return Judgement(is_proved=True, reason="", relied_on=relied_on, start=statement.start)
    reason, position = _located(verdict.reason, numbered.sql)
    if verdict.position is not None:
        position = verdict.position
    start = statement.start if not position else max(numbered.origin(position), statement.start)
    return Judgement(is_proved=False, reason=without_values(reason, statement), relied_on=(), start=start)


def _may_carry_the_tenant(numbered: Numbered, names: frozenset[str] | None) -> frozenset[int] | None:
    def may(parameter: Parameter) -> bool:
        return parameter.is_positional or names is None or parameter.name in names

    return frozenset(number for number, parameter in numbered.parameters.items() if may(parameter))


_PARSER_OF_POSTGRESQL = re.compile(r" at position (\d+)\Z")
_PARSER_OF_SQLITE = re.compile(r"\.? Line (\d+), Col: (\d+)\.?\Z")


def _located(reason: str, sql: str) -> tuple[str, int | None]:
    """Return what a parser said, without where, and where as an offset: it speaks of the text that it was given."""
    found = _PARSER_OF_POSTGRESQL.search(reason)
    if found is not None:
        return reason[: found.start()], int(found[1]) - 1
    found = _PARSER_OF_SQLITE.search(reason)
    if found is not None:
        lines = sql.split("\n")
        line = min(int(found[1]), len(lines)) - 1
        return reason[: found.start()], sum(len(each) + 1 for each in lines[:line]) + int(found[2]) - 1
    return reason, None
