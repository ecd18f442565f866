"""What a name in SQL text means: a CTE, a declared table, or nothing that anybody declared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlglot import exp

from partywall.errors import RefusedStatementError
from partywall.statements.refusals import unknown_table
from partywall.statements.rules import Vocabulary
from partywall.tables import TableDescription

__all__ = ["Ctes", "Names", "Sources", "folded"]

_DEFAULT_SCHEMAS = {"sqlite": "main", "postgresql": "public"}

Ctes = dict[str, str]
"""The CTEs that can be seen, by folded name: the name each is printed with."""

Sources = dict[str, TableDescription | None]
"""The sources of a query by folded name; None for those that are no table."""


def folded(identifier: Any, dialect: str) -> str:
    """
    Return a name as the database compares it.

    PostgreSQL folds what is not quoted, SQLite compares everything without case, both for ASCII only.
    (PostgreSQL manual, 4.1.1 Identifiers and Key Words; SQLite, "sqlite3_stricmp".)
    """
    name: str = identifier.name
    if dialect == "postgresql" and identifier.args.get("quoted"):
        return name
    return "".join(character.lower() if character.isascii() else character for character in name)


@dataclass
class Names:
    """
    Finds what names mean, and keeps account of the tables that a text uses.

    Attributes:
        restricted, used: As of a compiled statement.
        taken: Names that the text uses, in lower case.
        written: Key of the table that the text writes.
    """

    vocabulary: Vocabulary
    dialect: str
    restricted: dict[str, TableDescription] = field(default_factory=dict)
    used: dict[str, TableDescription] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    written: str | None = None

    def fold(self, identifier: Any) -> str:
        return folded(identifier, self.dialect)

    def cte(self, table: exp.Table, ctes: Ctes) -> str | None:
        """Return the name with which the CTE that a table's name stands for is printed; None if it is no CTE's."""
        if table.args.get("db") is not None:
            if self.vocabulary.is_walled and self.fold(table.this) in ctes:
                raise RefusedStatementError(f"the CTE {table.name} bears the name of a table that is read: rename it.")
            return None
        return ctes.get(self.fold(table.this))

    def describe(self, table: exp.Table) -> TableDescription:
        """
        Return the description of a table, and give it the exact name that was declared.

        Raises:
            RefusedStatementError: Nobody declared a table of this name.
        """
        schema = None if table.args.get("db") is None else self.fold(table.args["db"])
        name = self.fold(table.this)
        description = self._find(schema, name)
        if description is None and schema is not None and schema == _DEFAULT_SCHEMAS[self.dialect]:
            description = self._find(None, name)
        if description is None:
            raise unknown_table(schema, name)
        self.used[description.key] = description
        if description.is_restricted:
            self.restricted[description.key] = description
        if self.vocabulary.is_walled:
            table.set("db", None)  # the view is in temp
        return description

    def _find(self, schema: str | None, name: str) -> TableDescription | None:
        if self.dialect != "sqlite":
            return self.vocabulary.tables.find(schema, name)
        return next(
            (
                each
                for each in self.vocabulary.tables.named(name)
                if (each.schema or "").lower() == (schema or "") and each.name.isascii() == name.isascii()
            ),
            None,
        )

    def new_name(self, wish: str) -> str:
        """Return a name that nothing in the text or the metadata has."""
        while wish.lower() in self.taken or self.is_declared(wish):
            wish += "_"
        self.taken.add(wish.lower())
        return wish

    def is_declared(self, name: str) -> bool:
        """Whether any declared table bears a name, in any case."""
        return bool(self.vocabulary.tables.named(name))

    def column_of(self, description: TableDescription, column: Any) -> str | None:
        """Return the declared name of a column as the database would find it; None if it has none of that name."""
        name = self.fold(column)
        if name in description.columns:
            return name
        if self.dialect == "sqlite":
            return next((each for each in description.columns if each.lower() == name.lower()), None)
        return None
