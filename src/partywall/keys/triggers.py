"""What foreign keys cannot say on SQLite: ON DELETE SET NULL of the reference, and not of the tenant."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Column, Connection, ForeignKeyConstraint, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import DDL

__all__ = ["Trigger", "set_on_delete"]

_dialect: Any = sqlite.dialect()
_quote = _dialect.identifier_preparer.quote


@dataclass(frozen=True)
class Trigger:
    """
    A trigger on a referenced table that acts for a foreign key of another one.

    Attributes:
        name: Quoted, and in the schema of the referenced table.
        referring: The table with the foreign key: the trigger goes when it goes.
        referenced: The table that the trigger stands on.
        body: What follows ``CREATE TRIGGER name``.
    """

    name: str
    referring: Table
    referenced: Table
    body: str

    def create_with(self, *, in_cycle: bool) -> None:
        """
        Let the trigger be created and dropped with the referring table.

        Args:
            in_cycle: Whether the referenced table may be created after the referring one.
        """
        create = _ddl(f"CREATE TRIGGER IF NOT EXISTS {self.name} {self.body}")
        if not in_cycle:
            event.listen(self.referring, "after_create", create)

        def create_late(metadata: Any, bind: Any, *, tables: Any, **_: Any) -> None:
            if self.referring in tables:
                is_due = in_cycle
            else:  # the referenced table alone may be new: its predecessor took the trigger with it
                is_due = (
                    self.referenced in tables
                    and isinstance(bind, Connection)
                    and bind.dialect.has_table(bind, self.referring.name, schema=self.referring.schema)
                )
            if is_due:
                create(metadata, bind)

        for metadata in {self.referring.metadata, self.referenced.metadata}:
            event.listen(metadata, "after_create", create_late)
        event.listen(self.referring, "before_drop", _ddl(f"DROP TRIGGER IF EXISTS {self.name}"))


def set_on_delete(key: ForeignKeyConstraint, action: str, listed: list[str] | None = None) -> Trigger:
    """
    Return a trigger for ``ON DELETE SET NULL`` or ``SET DEFAULT`` of a physical foreign key.

    The key itself checks at the end of the statement, when the trigger has run (SQLite, Foreign Key Support,
    section 4.2). So it has to have no action of its own.

    Args:
        key: Its first column is the tenant's, which is left as it is.
        action: ``"SET NULL"`` or ``"SET DEFAULT"``.
        listed: Names of the columns to set; None: all but the tenant's.
    """
    child, parent = key.table, key.referred_table
    pairs = [(element.parent, element.column) for element in key.elements]
    criteria = " AND ".join(f"{_quote(column.name)} = OLD.{_quote(other.name)}" for column, other in pairs)
    set_columns = [column for column, _ in pairs[1:] if listed is None or column.name in listed]
    values = ", ".join(f"{_quote(column.name)} = {_value(column, action)}" for column in set_columns)
    columns = "_".join(column.name for column, _ in pairs[1:])
    name = _quote(f"tr_{child.name}_{columns}_{parent.name}_{action.lower().replace(' ', '_')}")
    return Trigger(
        name if parent.schema is None else f"{_quote(parent.schema)}.{name}",
        child,
        parent,
        f"AFTER DELETE ON {_quote(parent.name)} BEGIN UPDATE {_quote(child.name)} SET {values} WHERE {criteria}; END",  # noqa: S608  # names, which are quoted
    )


def _value(column: Column[Any], action: str) -> str:
    if action == "SET NULL":
        return "NULL"
    default = _dialect.ddl_compiler(_dialect, None).get_column_default_string(column)
    return default or "NULL"


def _ddl(statement: str) -> Any:
    return DDL(statement.replace("%", "%%"))  # type: ignore[no-untyped-call]  # SQLAlchemy's
