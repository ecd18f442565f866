"""
From the logical metadata, as people write it, to the physical, which is what the database gets.

One pure function: nothing is connected, and the logical metadata is left as it is, so that the ORM keeps its keys.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    and_,
    event,
)
from sqlalchemy.dialects.postgresql import ExcludeConstraint
from sqlalchemy.schema import DDL, AddConstraint, CreateTable, SchemaItem
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ClauseElement, conv

from partywall.declarations import is_global
from partywall.keys.references import References
from partywall.tables import Kind, Layout, TableDescription, Tables, Visible

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

    def ddl(self, ddl: Any) -> Any:
        """Return a DDL element about a logical table, constraint or index as one about the physical one."""
        element = self.of(ddl.element)
        if isinstance(ddl, CreateTable):
            keys = ddl.include_foreign_key_constraints
            return CreateTable(
                element,
                include_foreign_key_constraints=None if keys is None else [self.of(key) for key in keys],
                if_not_exists=ddl.if_not_exists,
            )
        changed = copy.copy(ddl)
        changed.element = element
        return changed


def physical_metadata(
    metadata: Iterable[MetaData],
    tables: Tables,
    *,
    server_version: tuple[int, ...] | None = None,
) -> Physical:
    """
    Derive what the database gets from what the models say.

    Args:
        metadata: Complete logical metadata.
        tables: The descriptions of its tables on one kind of database: SQLite keeps a generated id as its
            primary key, and gets triggers for what its foreign keys cannot say.
        server_version: As the dialect tells it, ``(15, 4)``; None: the newest.

    Raises:
        SetupError: A key that cannot be derived, with the name of the constraint, why, and what to write.
    """
    logical = tuple(metadata)
    copies = tuple(_empty_copy(each) for each in logical)
    counterparts: dict[Any, Any] = dict(zip(logical, copies, strict=True))
    for one, copied in zip(logical, copies, strict=True):
        for table in one.tables.values():
            counterparts[table] = _without_keys(table, copied)
        for sequence in one._sequences.values():
            if sequence.column is None:
                sequence._copy()._set_metadata(copied)
        _take_listeners(one, copied)
    extended: list[MetaData] = []
    pairs = [(table, counterparts[table]) for one in logical for table in one.tables.values()]
    for table, physical in pairs:
        others: Any = table
        for other in others._extra_dependencies:
            physical.add_is_dependent_on(counterparts.get(other, other))
        keys = _Keys(table, physical, tables.by_name[table.schema, table.name], tables.dialect, counterparts)
        keys.derive()
        if keys.needs_btree_gist and physical.metadata not in extended:
            extended.append(physical.metadata)
            extension = DDL("CREATE EXTENSION IF NOT EXISTS btree_gist")  # type: ignore[no-untyped-call]  # SQLAlchemy's
            event.listen(physical.metadata, "before_create", extension)
    references = References(tables, server_version=server_version, counterparts=counterparts)
    for table, physical in pairs:
        references.derive(table, physical)
    references.finish()
    for table, physical in pairs:
        _leave_out_indexes(table, physical, counterparts)
    made = Physical(copies, counterparts)
    for item in counterparts.values():
        if isinstance(item, (MetaData, Table)):
            _redirect_listeners(item, made)
    return made


def _empty_copy(metadata: MetaData) -> MetaData:
    return MetaData(
        schema=metadata.schema,
        naming_convention=metadata.naming_convention,
        info=dict(metadata.info),
    )


def _without_keys(table: Table, metadata: MetaData) -> Table:
    """Copy a table as ``Table.to_metadata()`` does, but for its keys, which are derived."""
    source: Any = table
    columns = [each._copy(schema=table.schema, _to_metadata=metadata) for each in source.columns]
    for column in columns:
        if column.unique:
            column.unique = column.index = None
    copied: Any = Table(
        table.name,
        metadata,
        *columns,
        schema=table.schema,
        comment=table.comment,
        prefixes=list(source._prefixes),
        **source.kwargs,
    )
    for constraint in sorted(source.constraints, key=_order):
        if isinstance(constraint, CheckConstraint) and not constraint._type_bound:
            copied.append_constraint(constraint._copy(schema=table.schema, target_table=copied))
    for index in source.indexes:
        if not index.unique and not index._column_flag:
            expressions = [_moved(each, table, copied) for each in index.expressions]
            options = {name: _moved(value, table, copied) for name, value in _options(index).items()}
            Index(index.name, *expressions, _table=copied, info=dict(index.info), **options)
    made: Table = source._schema_item_copy(copied)
    _take_listeners(table, made)
    return made


def _take_listeners(source: Any, target: Any) -> None:
    """Let the application's own listeners to DDL hear of the copy, which is what is created and dropped."""
    target.dispatch._update(source.dispatch, only_propagate=False)


def _redirect_listeners(item: MetaData | Table, physical: Physical) -> None:
    """Let DDL that is to run with a table, as ``AddConstraint``, be about what stands in the database."""
    for name in ("before_create", "after_create", "before_drop", "after_drop"):
        listeners = getattr(item.dispatch, name).listeners
        for place, listener in enumerate(listeners):
            element = getattr(listener, "element", None)
            if isinstance(element, SchemaItem) and element in physical.counterparts:
                listeners[place] = physical.ddl(listener)
                if isinstance(listener, AddConstraint):  # which has told the key to stay out of CREATE TABLE
                    physical.of(element)._create_rule = element._create_rule  # type: ignore[attr-defined]  # private


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
        given: Any = self.logical.primary_key
        keys = [self.physical.c[each.key] for each in given.columns]
        generated = self.logical.autoincrement_column
        if self.description.ids_repeat or self.description.kind is Kind.TENANTS:
            for each in keys:  # which SQLAlchemy no longer guesses when they are part of another key
                each.autoincrement = generated is not None and each.key == generated.key
        if self.description.ids_repeat:
            self.tenant.primary_key = True
            self.tenant.autoincrement = False
            keys.insert(0, self.tenant)
        self.physical.append_constraint(
            PrimaryKeyConstraint(*keys, name=given.name, info=dict(given.info), **_options(given))
        )
        self.counterparts[self.logical.primary_key] = self.physical.primary_key

    @property
    def tenant(self) -> Column[Any]:
        column: Column[Any] = self.description.tenant_column_of(self.physical)
        return column

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
        options = {name: _moved(value, self.logical, self.physical) for name, value in _options(index).items()}
        if self._leads(index):
            if self.description.readable is Visible.OWN_AND_SHARED:
                nobody = self.tenant.is_(None)
                wheres = {
                    name: nobody if options.get(name) is None else and_(nobody, options[name])
                    for name in ("postgresql_where", "sqlite_where")
                }
                Index(conv(f"{index.name}_shared"), *expressions, unique=True, _table=self.physical, **options | wheres)
            expressions.insert(0, self.tenant)
        return Index(index.name, *expressions, unique=True, info=dict(index.info), _table=self.physical, **options)


def _leave_out_indexes(logical: Table, physical: Table, counterparts: dict[Any, Any]) -> None:
    """Leave out the plain indexes that a derived key serves: those of its columns in its order."""
    written, derived = (
        {_names(each) for each in table.constraints if isinstance(each, _KEYS)} for table in (logical, physical)
    )
    for index in logical.indexes:
        is_plain = not index.unique and not index.kwargs and all(isinstance(each, Column) for each in index.expressions)
        if is_plain and _names(index) in derived - written:
            physical.indexes.discard(counterparts[index])


_KEYS = (PrimaryKeyConstraint, UniqueConstraint)


def _names(key: Any) -> tuple[str, ...]:
    return tuple(each.name for each in key.columns)


def _options(item: Any) -> dict[str, Any]:
    return dict(item.kwargs)


def _order(constraint: Any) -> tuple[str, list[str]]:
    """Order constraints so that the same models give the same DDL each time."""
    return str(constraint.name or ""), [each.name for each in getattr(constraint, "columns", ())]


def _moved(expression: Any, source: Table, target: Table) -> Any:
    """Return an expression over the columns of *source* over those of *target*."""
    if not isinstance(expression, ClauseElement):
        return expression

    def replacement(element: Any, **_: Any) -> Any:
        if isinstance(element, Column) and element.table is source:
            return target.c[element.key]
        return None

    return visitors.replacement_traverse(expression, {}, replacement)
