"""The proof: whether SQL text restricts every use of a scoped table to the tenant, judged from the text alone."""

from __future__ import annotations

from dataclasses import dataclass

from partywall.errors import SetupError
from partywall.statements.proof import _postgresql, _sqlite
from partywall.statements.proof._judge import judge
from partywall.statements.proof._model import NotProvedError
from partywall.tables import Tables

__all__ = ["Verdict", "prove"]

_READERS = {"postgresql": _postgresql, "sqlite": _sqlite}


@dataclass(frozen=True)
class Verdict:
    """
    What the proof says of a statement.

    Attributes:
        is_proved: Whether every use of a restricted table is restricted to the tenant.
        reason: Why not: the table or clause, and what is missing; empty if proved.
        position: Offset in characters of the table or clause in the SQL, if known.
        relied_on: Numbers of the parameters the restriction relies on; empty if not proved.
    """

    is_proved: bool
    reason: str
    position: int | None
    relied_on: frozenset[int]


def prove(sql: str, tables: Tables, *, dialect: str, tenant_parameters: frozenset[int] | None) -> Verdict:
    """
    Judge final SQL text: is every use of a scoped table restricted to the tenant's parameter, where its join needs it?

    It reads the text and the descriptions of the tables, and shares no code with what scopes statements. Functions
    are not judged. It never raises because of the SQL: what it cannot read is not proved.

    Args:
        sql: One statement with numbered parameters: ``$1`` in PostgreSQL, ``:p1`` in SQLite.
        tables: The tables of the tenancy.
        dialect: ``"postgresql"`` or ``"sqlite"``.
        tenant_parameters: Numbers of the parameters that carry the tenant. None if any may: then the caller has to
            compare each one in `Verdict.relied_on` with the tenant when it executes the statement.

    Raises:
        SetupError: The proof cannot read this dialect, or what it reads it with is not installed.
    """
    if dialect not in _READERS:
        raise SetupError(f"the proof reads {' and '.join(_READERS)}, not {dialect}.")
    reader = _READERS[dialect]
    try:
        relied_on = judge(reader.read(sql), tables, reader.DIALECT, tenant_parameters)
    except NotProvedError as error:
        return Verdict(is_proved=False, reason=error.reason, position=error.position, relied_on=frozenset())
    except RecursionError:
        reason = "the statement is nested too deeply to be read"
        return Verdict(is_proved=False, reason=reason, position=None, relied_on=frozenset())
    except (LookupError, TypeError, AttributeError, ValueError) as error:  # a tree of a shape no reader expects
        reason = f"the statement has a part the proof cannot read ({type(error).__name__})"
        return Verdict(is_proved=False, reason=reason, position=None, relied_on=frozenset())
    return Verdict(is_proved=True, reason="", position=None, relied_on=relied_on)
