"""The TEMP views that stand before the tables, and the TEMP triggers that check what is written behind them."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from partywall.rows.sqlite.schema import folded
from partywall.statements.names import public_view
from partywall.tables import Kind, TableDescription, Visible

__all__ = ["FOREIGN_ROW", "Fence", "quoted"]

FOREIGN_ROW = "partywall: this row belongs to another tenant, or to all"
"""What a trigger says when it aborts a statement."""


def quoted(name: str) -> str:
    """Return an identifier in quotes, as SQLite reads it."""
    return '"' + name.replace('"', '""') + '"'


@dataclass
class Fence:
    """
    The views and triggers of one connection.

    Names with the secret in them cannot be guessed. They have to be: SQLite tells the authorizer through
    which view a table is read, but a CTE of the same name would be told as that view.

    Attributes:
        secret: 128 random bits, in the names of views and triggers.
        function: Name of the function that returns the tenant, or NULL where none is set. It has a secret of its own,
            since opcodes and errors show functions.
        statements: What creates all of it, in order.
        views: Names of all views.
        contexts: Exact name of each table behind a view to the names of the views that may read it.
        triggers: Name of each trigger to the table it checks.
    """

    secret: str = field(default_factory=lambda: secrets.token_hex(16))
    function: str = field(default_factory=lambda: f"tenant_{secrets.token_hex(16)}")
    statements: list[str] = field(default_factory=list)
    views: set[str] = field(default_factory=set)
    contexts: dict[str, set[str]] = field(default_factory=dict)
    triggers: dict[str, str] = field(default_factory=dict)

    def enclose(self, description: TableDescription, table: str, *, by_tenant: bool = False) -> None:
        """
        Put a table behind its views and triggers.

        Args:
            description: What a tenant may see and write of it.
            table: Its exact name in the database.
            by_tenant: Whether the tenant column is its primary key.
        """
        column = quoted(description.tenant_column or "")
        own = f"{column} COLLATE BINARY = {self.function}()"
        shared = f" OR {column} IS NULL" if description.readable is Visible.OWN_AND_SHARED else ""
        others = sorted(description.columns - {description.tenant_column})
        # Of a row that is found by its rowid alone, SQLite would not say through which view it is read.
        and_more = f" AND {quoted(others[0])} IS {quoted(others[0])}" if by_tenant and others else ""
        # ... and there is no other column: a view that SQLite does not merge with what reads it is told.
        every = "DISTINCT *" if by_tenant and not others else "*"
        self._view(description.name, table, every, f"({own}{shared}){and_more}")
        if description.kind is Kind.TENANTS and description.public:
            columns = every.replace("*", ", ".join(map(quoted, sorted(description.public))))
            self._view(public_view(description.name), table, columns, f"{self.function}() IS NULL{and_more}")
        if description.writable is Visible.OWN:
            for event, rows in (("INSERT", ("NEW",)), ("UPDATE", ("OLD", "NEW")), ("DELETE", ("OLD",))):
                self._trigger(table, event, [f"({row}.{own}) IS NOT 1" for row in rows])

    def _view(self, name: str, table: str, columns: str, where: str) -> None:
        hidden = f"{name}_{self.secret}"
        rows = f"SELECT {columns} FROM main.{quoted(table)} WHERE {where}"  # noqa: S608  # quoted
        every = f"SELECT * FROM temp.{quoted(hidden)}"  # noqa: S608  # quoted
        self.statements.append(f"CREATE TEMP VIEW {quoted(hidden)} AS {rows}")
        self.statements.append(f"CREATE TEMP VIEW {quoted(name)} AS {every}")
        self.views |= {name, hidden}
        self.contexts.setdefault(table, set()).add(hidden)

    def _trigger(self, table: str, event: str, is_foreign: Iterable[str]) -> None:
        name = f"{event}_{table}_{self.secret}"
        self.statements.append(
            f"CREATE TEMP TRIGGER {quoted(name)} BEFORE {event} ON main.{quoted(table)} "
            f"WHEN {' OR '.join(is_foreign)} BEGIN SELECT RAISE(ABORT, '{FOREIGN_ROW}'); END"
        )
        self.triggers[name] = table

    def readable(self) -> frozenset[str]:
        """Return the names of the views as SQLite compares them."""
        return frozenset(map(folded, self.views))
