"""The errors partywall raises. Each says what happened, why, and how to go on."""

from __future__ import annotations

from sqlalchemy.exc import DontWrapMixin

__all__ = [
    "ForeignTenantError",
    "NoTenantError",
    "PartywallError",
    "RefusedStatementError",
    "SetupError",
    "TenantChangedError",
    "TenantIdError",
]


class PartywallError(DontWrapMixin, Exception):
    """
    Base of every error the library raises.

    SQLAlchemy does not wrap it in its own ``StatementError``: what an ``except`` clause sees is the
    error as it was raised.
    """


class SetupError(PartywallError):
    """Models, options and engine contradict each other; raised before the first statement."""


class TenantIdError(PartywallError, ValueError):
    """What was given as a tenant id cannot be one: None, empty, an object, or of the wrong type."""


class _StatementError(PartywallError):
    """Shared by the errors that quote a statement: the reason first, then the text it is about."""

    def __init__(self, reason: str, statement: str = "", tables: tuple[str, ...] = ()) -> None:
        super().__init__(reason, statement, tables)  # as given: pickle calls us again with these
        self.reason = reason
        self.statement = statement
        self.tables = tables

    remedy = ""

    def __str__(self) -> str:
        parts = [self.reason]
        if self.statement:
            shown = self.statement.strip().replace("\n", "\n    ")
            parts.append(f"It was not sent to the database:\n\n    {shown}\n")
        if self.remedy:
            parts.append(self.remedy)
        return "\n".join(parts)


class NoTenantError(_StatementError):
    """
    A scoped table was used while no tenant was in scope.

    Attributes:
        tables: The scoped tables the statement uses.
        statement: The statement with placeholders, never values; empty where there is none.
    """

    remedy = (
        "Run it for a tenant:           with tenant(tenant_id): ...\n"
        "If it must see all tenants:    with unscoped(reason='...'): ..., on an engine guarded\n"
        "                               with allow_unscoped=True"
    )


class RefusedStatementError(_StatementError):
    """
    A statement, or a part of one, that partywall cannot scope: no rule, no proof, not vouched for.

    Attributes:
        reason: What was refused, why, and how to go on.
        statement: The statement with placeholders, never values; empty where it has no text yet.
        tables: The tables concerned, if the refusal is about tables.
    """


class ForeignTenantError(_StatementError):
    """
    A write names or carries another tenant than the one in scope.

    Attributes:
        column: Name of the tenant column it was given for; None where an object carries it.
        row: Number of the row in its batch, from 1; None if there is but one.
        tables, statement: As above.
    """

    def __init__(
        self,
        reason: str,
        statement: str = "",
        tables: tuple[str, ...] = (),
        column: str | None = None,
        row: int | None = None,
    ) -> None:
        super().__init__(reason, statement, tables)
        self.args = (reason, statement, tables, column, row)
        self.column = column
        self.row = row


class TenantChangedError(PartywallError):
    """
    A scope met a Session, connection or block that is already held by another one.

    Attributes:
        held: What holds it now, as a description (``"tenant 42"``).
        met: What it was asked to become.
        where: What is held: ``"transaction"``, ``"Session"`` or ``"scope"``.
    """

    def __init__(self, where: str, held: str, met: str) -> None:
        super().__init__(where, held, met)
        self.where, self.held, self.met = where, held, met

    def __str__(self) -> str:
        ways_out = {
            "transaction": "Commit or roll back first, or use another connection for the other scope.",
            "Session": "A Session belongs to one tenant until close() or reset(): use another Session.",
            "scope": "Leave scopes in the reverse order of entering; a generator that yields inside a scope does not.",
        }
        return f"this {self.where} belongs to {self.held} and met {self.met}.\n{ways_out[self.where]}"
