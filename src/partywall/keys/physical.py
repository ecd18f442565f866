"""
From the logical metadata, as people write it, to the physical, which is what the database gets.

One pure function: nothing is connected, and the logical metadata is left as it is, so that the ORM keeps its keys.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import DDL
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import conv

from partywall.errors import SetupError
from partywall.keys.references import References
from partywall.tables import Kind, Layout, TableDescription, Tables, Visible, is_global

__all__ = ["Physical", "physical_metadata"]


@dataclass(frozen=True)
class Physical:
    """
    The physical metadata of a tenancy on one kind of database.

    Attributes:
        metadata: One for each logical MetaData, in the same order.
        counterparts: What stands in the database for a logical MetaData, Table, constraint or Index.
    """

    metadata: tuple[MetaData, ...]
    counterparts: dict[Any, Any]

    def of(self, item: Any) -> Any:
        """Return what stands in the database for *item*; itself if it is none of the tenancy's."""
        return self.counterparts.get(item, item)


def physical_metadata(
    metadata: Iterable[MetaData],
    tables: Tables,
    *,
    dialect: str,
    server_version: tuple[int, ...] | None = None,
) -> Physical:
    """
    Derive what the database gets from what the models say.

    Args:
        metadata: Complete logical metadata.
        tables: The descriptions of its tables.
        dialect: Name of the dialect, ``"postgresql"`` or ``"sqlite"``: SQLite keeps a generated id as its primary
            key, and gets triggers for what its foreign keys cannot say.
        server_version: As the dialect tells it, ``(15, 4)``; None: the newest.

    Raises:
        SetupError: A key that cannot be derived, with the name of the constraint, why, and what to write.
    """
    logical = tuple(metadata)
    copies = tuple(_empty_copy(each) for each in logical)
    counterparts: dict[Any, Any] = dict(zip(logical, copies, strict=True))
    for one, copied in zip(logical, copies, strict=True):
        for table in one.tables.values():
            counterparts[table] = table.to_metadata(copied)
        copied.dispatch._update(one.dispatch)  # type: ignore[attr-defined]  # as Table.to_metadata() does for tables
    extended: list[MetaData] = []
    pairs = [(table, counterparts[table]) for one in logical for table in one.tables.values()]
    for table, physical in pairs:
        _strip(physical)
        description = tables.find(table.schema, table.name)
        assert description is not None
        keys = _Keys(table, physical, description, dialect, counterparts)
        keys.derive()
        if keys.needs_btree_gist and physical.metadata not in extended:
            extended.append(physical.metadata)
            event.listen(physical.metadata, "before_create", DDL("CREATE EXTENSION IF NOT EXISTS btree_gist"))
    references = References(tables, dialect=dialect, server_version=server_version, counterparts=counterparts)
    for table, physical in pairs:
        references.derive(table, physical)
    references.finish()
    return Physical(copies, counterparts)


def _empty_copy(metadata: MetaData) -> MetaData:
    return MetaData(
        schema=metadata.schema,
        naming_convention=metadata.naming_convention,
        info=dict(metadata.info),
    )


def _strip(table: Table) -> None:
    """Take the copied keys off: each is derived from the logical one."""
    for constraint in list(table.constraints):
        if isinstance(constraint, ForeignKeyConstraint):
            for element in constraint.elements:
                element.parent.foreign_keys.discard(element)
                table.foreign_keys.discard(element)  # type: ignore[attr-defined]  # a set, whatever its type says
            table.constraints.discard(constraint)
        elif isinstance(constraint, (UniqueConstraint, ExcludeConstraint)):
            table.constraints.discard(constraint)
    for index in [each for each in table.indexes if each.unique]:
        table.indexes.discard(index)


class _Keys:
    """Derives the primary and unique keys of one table."""

    def __init__(
        self, logical: Table, physical: Table, description: TableDescription, dialect: str, counterparts: dict[Any, Any]
    ) -> None:
        self.logical, self.physical, self.description = logical, physical, description
        self.dialect, self.counterparts = dialect, counterparts
        self.needs_btree_gist = False  # for the tenant in an EXCLUDE constraint, which GiST cannot compare by itself

    def derive(self) -> None:
        self._primary_key()
        for constraint in sorted(self.logical.constraints, key=_order):
            if isinstance(constraint, UniqueConstraint):
                self.counterparts[constraint] = self._unique(constraint)
            elif isinstance(constraint, ExcludeConstraint):
                self.counterparts[constraint] = self._exclude(constraint)
        for index in sorted(self.logical.indexes, key=lambda each: str(each.name)):
            self.counterparts[index] = (
                self._unique_index(index)
                if index.unique
                else next((each for each in self.physical.indexes if each.name == index.name), index)
            )

    def _primary_key(self) -> None:
        if self.description.ids_repeat(self.dialect):
            keys = [self.physical.c[each.key] for each in self.logical.primary_key.columns]
            if self.description.has_generated_id:
                generated: Any = self.logical.autoincrement_column
                self.physical.c[generated.key].autoincrement = True
            else:
                for each in keys:
                    each.autoincrement = False
            self.tenant.primary_key = True
            self.tenant.autoincrement = False
            given = self.logical.primary_key
            self.physical.append_constraint(
                PrimaryKeyConstraint(self.tenant, *keys, name=given.name, info=dict(given.info), **_options(given))
            )
        self.counterparts[self.logical.primary_key] = self.physical.primary_key

    @property
    def tenant(self) -> Column[Any]:
        return next(each for each in self.physical.columns if each.name == self.description.tenant_column)

    def _leads(self, key: Any) -> bool:
        """Whether the tenant is to be added to a unique key."""
        names = frozenset(each.name for each in key.columns)
        is_derived = self.description.kind is Kind.SCOPED and self.description.layout is not Layout.AS_WRITTEN
        return is_derived and self.description.tenant_column not in names and not is_global(key)

    def _unique(self, constraint: UniqueConstraint) -> UniqueConstraint:
        columns = [self.physical.c[each.key] for each in constraint.columns]
        options = _options(constraint)
        if len(columns) == 1 and "sqlite_on_conflict" not in options:
            word = columns[0].dialect_options["sqlite"]["on_conflict_unique"]
            options |= {} if word is None else {"sqlite_on_conflict": word}
        if self._leads(constraint):
            self._among_shared_rows(columns)
            columns.insert(0, self.tenant)
        made = UniqueConstraint(
            *columns,
            name=constraint.name,
            deferrable=constraint.deferrable,
            initially=constraint.initially,
            info=dict(constraint.info),
            **options,
        )
        made.comment = constraint.comment
        self.physical.append_constraint(made)
        return made

    def _among_shared_rows(self, columns: list[Column[Any]]) -> None:
        """Keep a key unique among the shared rows, too: their tenant is NULL, and no NULL equals another."""
        if self.description.readable is Visible.OWN_AND_SHARED:
            nobody = self.tenant.is_(None)
            name = f"uq_{self.physical.name}_shared_{'_'.join(each.name for each in columns)}"
            Index(conv(name), *columns, unique=True, postgresql_where=nobody, sqlite_where=nobody)

    def _exclude(self, constraint: Any) -> Any:
        made = constraint._copy(target_table=self.physical)
        if self._leads(constraint):
            made._render_exprs = [(self.tenant, self.tenant.name, "="), *made._render_exprs]
            self.needs_btree_gist |= self.dialect == "postgresql" and made.using.lower() == "gist"
            made.operators = {self.tenant.name: "=", **made.operators}
        self.physical.append_constraint(made)
        return made

    def _unique_index(self, index: Index) -> Index:
        expressions: list[Any] = [_moved(each, self.logical, self.physical) for each in index.expressions]
        if self._leads(index):
            expressions.insert(0, self.tenant)
        options = _options(index)
        for option in ("postgresql_where", "sqlite_where"):
            if option in options:
                options[option] = _moved(options[option], self.logical, self.physical)
        made = Index(index.name, *expressions, unique=True, info=dict(index.info), _table=self.physical, **options)
        return made


def _options(item: Any) -> dict[str, Any]:
    return dict(item.kwargs)


def _order(constraint: Any) -> tuple[str, list[str]]:
    """Order constraints so that the same models give the same DDL each time."""
    return str(constraint.name or ""), [each.name for each in getattr(constraint, "columns", ())]


def _moved(expression: Any, source: Table, target: Table) -> Any:
    """Return an expression over the columns of *source* over those of *target*."""
    if isinstance(expression, str):
        return text(expression)

    def replacement(element: Any, **_: Any) -> Any:
        if isinstance(element, Column) and element.table is source:
            return target.c[element.key]
        return None

    return visitors.replacement_traverse(expression, {}, replacement)
