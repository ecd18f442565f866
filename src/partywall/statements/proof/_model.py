"""What the proof knows of a statement: blocks, sources, joins and the conjuncts that could restrict a source."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

__all__ = [
    "Assignment",
    "CastColumn",
    "Column",
    "CommonTable",
    "Conjunct",
    "Delete",
    "DerivedSource",
    "Dialect",
    "Equal",
    "EqualOrNull",
    "Insert",
    "Join",
    "JoinKind",
    "Merge",
    "MergeAction",
    "MergeWhen",
    "Never",
    "NotProvedError",
    "Parameter",
    "Query",
    "Select",
    "SetOperation",
    "Star",
    "Statement",
    "TableSource",
    "Tree",
    "Update",
    "Upsert",
    "Value",
    "Values",
    "With",
]


class NotProvedError(Exception):
    """What stands in the way of the proof; `position` is an offset in characters, if known."""

    def __init__(self, reason: str, position: int | None = None) -> None:
        super().__init__(reason, position)
        self.reason = reason
        self.position = position


@dataclass(frozen=True)
class Dialect:
    """
    How a database reads names.

    Attributes:
        default_schema: The name of the schema that needs no name.
        fold: Makes names equal that the database takes for equal, as far as its reader has not.
        sees_all_siblings: Whether each CTE sees all others of its WITH, also without RECURSIVE.
        groups_loosely: Whether a column may stand beside an aggregate without GROUP BY: over no rows it is NULL there.
    """

    default_schema: str
    fold: Callable[[str], str]
    sees_all_siblings: bool
    groups_loosely: bool


@dataclass(frozen=True, slots=True)
class Column:
    """A bare reference to a column: *qualifier* is empty, ``(source,)`` or ``(schema, table)``."""

    qualifier: tuple[str, ...]
    name: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter, and the types it is cast to: ``integer``, ``numeric``, ``text``, ``uuid``, else ``other``."""

    number: int
    casts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CastColumn:
    """A column in casts, as in `Parameter`: it is no column that a conjunct could restrict."""

    column: Column
    casts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Star:
    """``*``: so many columns that what follows has no known place."""


Value = Column | CastColumn | Parameter | Star | None  # None: any other expression


@dataclass(frozen=True, slots=True)
class Equal:
    """The conjunct ``column = other``, by the plain operator."""

    column: Column
    other: Column | Parameter


@dataclass(frozen=True, slots=True)
class EqualOrNull:
    """The conjunct ``(column = parameter OR column IS NULL)``."""

    column: Column
    parameter: Parameter


@dataclass(frozen=True, slots=True)
class Never:
    """A conjunct that holds for no row: ``false``, ``0 = 1``."""


Conjunct = Equal | EqualOrNull | Never  # no other kind of conjunct proves anything, so no other is kept


class JoinKind(enum.Enum):
    INNER = "inner"
    LEFT = "left"
    RIGHT = "right"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class TableSource:
    """A table or CTE by name; *renames_columns* if its alias has a list of columns."""

    schema: str | None
    table: str
    alias: str | None
    renames_columns: bool
    position: int | None

    @property
    def name(self) -> str:
        """What the block calls it."""
        return self.table if self.alias is None else self.alias


@dataclass(frozen=True, slots=True)
class DerivedSource:
    """
    A subquery in FROM, or a function or the like (*query* is None), which may go by another name.

    *columns* are the names that its alias gives to the first of its columns; None if they cannot be told.
    """

    name: str | None
    query: Query | None
    position: int | None
    function: str | None = None
    columns: tuple[str, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Join:
    kind: JoinKind
    left: Tree
    right: Tree
    on: tuple[Conjunct, ...] = ()
    using: tuple[str, ...] = ()
    is_natural: bool = False


Tree = TableSource | DerivedSource | Join


@dataclass(frozen=True, slots=True)
class CommonTable:
    name: str
    query: Query


@dataclass(frozen=True, slots=True)
class With:
    is_recursive: bool = False
    tables: tuple[CommonTable, ...] = ()


@dataclass(frozen=True, slots=True)
class Select:
    """
    One block.

    *nested* has the queries in its expressions, those in *sources* apart; *locked* the names in OF; *names* those of
    the outputs, None where they are not certain. Grouping sets put NULL in the place of any output.
    """

    ctes: With
    sources: Tree | None
    where: tuple[Conjunct, ...]
    outputs: tuple[Value, ...]
    locked: tuple[str, ...]
    nested: tuple[Query, ...]
    names: tuple[str | None, ...] = ()
    has_grouping_sets: bool = False


@dataclass(frozen=True, slots=True)
class Values:
    ctes: With
    rows: tuple[tuple[Value, ...], ...]
    nested: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class SetOperation:
    ctes: With
    arms: tuple[Query, ...]
    nested: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Assignment:
    """``SET column = value``."""

    column: str
    value: Value


@dataclass(frozen=True, slots=True)
class Upsert:
    """``ON CONFLICT DO UPDATE``."""

    assignments: tuple[Assignment, ...]
    where: tuple[Conjunct, ...]


@dataclass(frozen=True, slots=True)
class Insert:
    """*columns* is None without a list; *rows* is None for DEFAULT VALUES."""

    ctes: With
    target: TableSource
    columns: tuple[str, ...] | None
    rows: Query | None
    upserts: tuple[Upsert, ...]
    nested: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Update:
    ctes: With
    target: TableSource
    sources: Tree | None
    assignments: tuple[Assignment, ...]
    where: tuple[Conjunct, ...]
    nested: tuple[Query, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    ctes: With
    target: TableSource
    sources: Tree | None
    where: tuple[Conjunct, ...]
    nested: tuple[Query, ...]


class MergeWhen(enum.Enum):
    MATCHED = "matched"
    NOT_MATCHED_BY_SOURCE = "not matched by source"
    NOT_MATCHED_BY_TARGET = "not matched by target"


@dataclass(frozen=True, slots=True)
class MergeAction:
    """One WHEN that does something; *row* is what it inserts, *columns* as in `Insert`."""

    when: MergeWhen
    condition: tuple[Conjunct, ...]
    assignments: tuple[Assignment, ...]
    is_insert: bool
    columns: tuple[str, ...] | None
    row: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Merge:
    ctes: With
    target: TableSource
    sources: Tree
    on: tuple[Conjunct, ...]
    actions: tuple[MergeAction, ...]
    nested: tuple[Query, ...]


Query = Select | Values | SetOperation | Insert | Update | Delete | Merge


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement, and how many names of tables a plain walk over everything in it has found."""

    query: Query
    table_count: int
