"""``partywall explain``: what becomes of a statement in a tenant's scope, and why."""

from __future__ import annotations

from dataclasses import dataclass

from partywall.cli._sql import parameters_of, split
from partywall.cli.prove import Judgement, judge_statement
from partywall.errors import ForeignTenantError, RefusedStatementError
from partywall.statements.as_it_stands import scoped_by_hand
from partywall.statements.presets import is_preset
from partywall.statements.proof import prove
from partywall.statements.rules import Vocabulary
from partywall.statements.text import (
    Given,
    Marked,
    ScopedText,
    Tenant,
    join_pieces,
    mark_driver,
    mark_named,
    scope_text,
)
from partywall.tenancy import Tenancy

__all__ = ["Explanation", "GivenColumn", "Refusal", "UsedTable", "explain"]

_TENANT = ":partywall_tenant"
_MARKS = {"postgresql": "$", "sqlite": ":p"}  # as the proof wants them
_PARAMSTYLES = {"%": "pyformat", "$": "numeric_dollar", "?": "qmark", "@": "qmark"}


@dataclass(frozen=True)
class UsedTable:
    """
    A table that a statement uses.

    Attributes:
        key: ``"invoice"`` or ``"billing.invoice"``.
        kind: What its rows are to a tenant: ``"scoped"``, ``"shared"``, ``"shared_writable"`` or ``"tenants"``.
        tenant_column: Name of the column that holds the tenant id; None for shared tables.
        readable: Which rows a tenant sees: ``"own"``, ``"own and shared rows"`` or ``"all"``.
    """

    key: str
    kind: str
    tenant_column: str | None
    readable: str


@dataclass(frozen=True)
class GivenColumn:
    """
    A value that a statement gives for a tenant column. It is compared with the tenant in scope at each execution.

    Attributes:
        table, column: What it is given for.
        parameter: The parameter that holds it, as in ``:name``; None if it stands in the text itself.
        row: Number of the row of a VALUES of several, from 1; None if there is but one.
    """

    table: str
    column: str
    parameter: str | None
    row: int | None


@dataclass(frozen=True)
class Refusal:
    """
    Why a statement is refused.

    Attributes:
        error: Name of the class of the error.
        reason: What was refused, why, and how to go on.
    """

    error: str
    reason: str


@dataclass(frozen=True)
class Explanation:
    """
    What becomes of a statement in a tenant's scope.

    Attributes:
        original: The statement as it was given.
        scoped: What is sent, with the tenant's parameter as ``:partywall_tenant``; None if it is refused.
        is_changed: Whether what is sent is not the text as it stands.
        tables: The tables in it; empty if it is refused, or sent as it stands.
        given: Values given for tenant columns, taken out of what is sent.
        is_proved: Whether the proof finds what is sent scoped; False if nothing is sent.
        reason: Why the proof does not.
        as_it_stands: What the proof says of the original, whatever its parameters are called.
        refusal: Why it is refused; None if it is not.
    """

    original: str
    scoped: str | None
    is_changed: bool
    tables: tuple[UsedTable, ...]
    given: tuple[GivenColumn, ...]
    is_proved: bool
    reason: str
    as_it_stands: Judgement
    refusal: Refusal | None


def explain(tenancy: Tenancy, sql: str, *, dialect: str) -> Explanation:
    """
    Say what becomes of SQL text in a tenant's scope. Nothing is executed.

    Args:
        tenancy: Says whose rows the tables hold.
        sql: One statement, with parameters as ``text()`` takes them (``:name``), or as a driver does.
        dialect: ``"postgresql"`` or ``"sqlite"``.

    Raises:
        SetupError: The declarations are incomplete, or the proof of this dialect needs an extra that is not installed.
    """
    vocabulary = Vocabulary(
        tenancy.describe(dialect),
        dialect=dialect,
        functions=tenancy.functions,
        operators=tenancy.operators,
        constructs=tenancy.constructs,
        strict=tenancy.strict,
        diagnostics=tenancy.diagnostics,
    )
    as_it_stands = _judge(sql, vocabulary)
    try:
        if is_preset(sql):
            return _unchanged(sql, sql, as_it_stands)
        if tenancy.checker:
            if not as_it_stands.is_proved:
                raise RefusedStatementError(f"this statement is not scoped by hand: {as_it_stands.reason}.")
            return _unchanged(sql, sql, as_it_stands)
        marked = _marked(sql, dialect)
        try:
            scoped = scope_text(marked, vocabulary)
        except RefusedStatementError:
            by_hand = scoped_by_hand(marked, vocabulary)
            if by_hand is None:
                raise
            return _unchanged(sql, _named(by_hand, dialect), as_it_stands)
    except (RefusedStatementError, ForeignTenantError) as error:
        return Explanation(
            original=sql,
            scoped=None,
            is_changed=False,
            tables=(),
            given=(),
            is_proved=False,
            reason="",
            as_it_stands=as_it_stands,
            refusal=Refusal(type(error).__name__, error.reason),
        )
    verdict = _prove(scoped, vocabulary)
    return Explanation(
        original=sql,
        scoped=_named(scoped, dialect),
        is_changed=True,
        tables=tuple(
            UsedTable(each.key, each.kind.value, each.tenant_column, each.readable.value)
            for _, each in sorted(scoped.used.items())
        ),
        given=tuple(_given(each, scoped, dialect) for each in scoped.given),
        is_proved=verdict.is_proved,
        reason=verdict.reason,
        as_it_stands=as_it_stands,
        refusal=None,
    )


def _unchanged(original: str, sent: str, as_it_stands: Judgement) -> Explanation:
    return Explanation(
        original=original,
        scoped=sent,
        is_changed=False,
        tables=(),
        given=(),
        is_proved=as_it_stands.is_proved,
        reason=as_it_stands.reason,
        as_it_stands=as_it_stands,
        refusal=None,
    )


def _judge(sql: str, vocabulary: Vocabulary) -> Judgement:
    prove("SELECT 1", vocabulary.tables, dialect=vocabulary.dialect, tenant_parameters=None)  # can it be read?
    statements = split(sql, vocabulary.dialect)
    if len(statements) != 1:
        reason = f"the text holds {len(statements)} statements: the proof reads one"
        return Judgement(is_proved=False, reason=reason, relied_on=(), start=0)
    return judge_statement(statements[0], vocabulary.tables, vocabulary.dialect, None)


def _marked(sql: str, dialect: str) -> Marked:
    """Mark the parameters as what takes them would: ``text()``, or the driver whose style they have."""
    styles = [_PARAMSTYLES[each.style] for each in parameters_of(sql, dialect) if each.style in _PARAMSTYLES]
    if not styles:
        return mark_named(sql)
    return mark_driver(sql, "qmark" if dialect == "sqlite" else styles[0])


def _prove(scoped: ScopedText, vocabulary: Vocabulary) -> Judgement:
    tenant = len(scoped.names) + 1

    def numbered(piece: int | Tenant) -> str:
        return f"{_MARKS[vocabulary.dialect]}{tenant if isinstance(piece, Tenant) else piece + 1}"

    sql = join_pieces(scoped.pieces, str, numbered)
    verdict = prove(sql, vocabulary.tables, dialect=vocabulary.dialect, tenant_parameters=frozenset({tenant}))
    return Judgement(verdict.is_proved, verdict.reason, (_TENANT,) if verdict.relied_on else (), 0)


def _named(scoped: ScopedText, dialect: str) -> str:
    def parameter(piece: int | Tenant) -> str:
        return _TENANT if isinstance(piece, Tenant) else _shown(scoped.names[piece], dialect)

    return scoped.prefix + join_pieces(scoped.pieces, str, parameter)


def _given(given: Given, scoped: ScopedText, dialect: str) -> GivenColumn:
    parameter = None if given.parameter is None else _shown(scoped.names[given.parameter], dialect)
    return GivenColumn(given.table, given.column, parameter, given.row)


def _shown(name: str | int, dialect: str) -> str:
    if isinstance(name, str):
        return f":{name}"
    return f"{'?' if dialect == 'sqlite' else '$'}{name + 1}"
