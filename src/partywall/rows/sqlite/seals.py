"""
How a connection knows the statements that the statement wall has made: by a seal at their end.

A seal is a comment with 128 random bits, one for each table of each connection. It is put on in the last step before
the cursor, where nobody else sees the text. Since the driver caches prepared statements by their text, what was
permitted under a seal is not found without it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from partywall.rows.sqlite.authorizer import ANYTHING
from partywall.rows.sqlite.schema import NO_PLAN, Plan, Schema

__all__ = ["Seals"]


def _new_seal() -> str:
    return f" /*{secrets.token_hex(16)}*/"


_LENGTH = len(_new_seal())


@dataclass
class Seals:
    """
    The seals of one connection.

    Attributes:
        by_key: Key of each table that a tenant may write to its seal.
        targets: Each seal to the exact name of its table.
    """

    by_key: dict[str, str] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    _question: str = field(default_factory=_new_seal, repr=False)

    def add(self, key: str, table: str) -> None:
        """Make the seal of a table."""
        seal = self.by_key[key] = _new_seal()
        self.targets[seal] = table

    def sealed(self, sql: str, key: str) -> str:
        """Return a statement with the seal of the table that it writes; as it is, if that has none."""
        return sql + self.by_key.get(key, "")

    def sealed_question(self, sql: str) -> str:
        """Return a question of our own, which may be about anything."""
        return sql + self._question

    def plan(self, sql: str, schema: Schema) -> Plan:
        """Return what a statement may touch behind the views."""
        seal = sql[-_LENGTH:]
        if seal == self._question:
            return ANYTHING
        target = self.targets.get(seal)
        return NO_PLAN if target is None else schema.plan(target)

    def target(self, sql: str) -> str | None:
        """Return the table for whose writing a statement is sealed."""
        return self.targets.get(sql[-_LENGTH:])

    def without(self, sql: str) -> str:
        """Return a statement without its seal, as it may be shown."""
        return sql[:-_LENGTH] if sql[-_LENGTH:] in self.targets else sql
