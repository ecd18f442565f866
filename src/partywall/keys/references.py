"""Foreign keys that cannot point across tenants: the tenant goes into each reference between scoped tables."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, NoReturn

from sqlalchemy import (
    CheckConstraint,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    and_,
    or_,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import NoReferencedColumnError, NoReferencedTableError
from sqlalchemy.schema import sort_tables_and_constraints
from sqlalchemy.sql.elements import conv

from partywall.declarations import words_of
from partywall.errors import SetupError
from partywall.keys.triggers import set_on_delete
from partywall.tables import Kind, Layout, TableDescription, Tables, Visible

__all__ = ["References"]

COLUMN_LISTS_SINCE = (15,)
"""PostgreSQL 15: ``ON DELETE SET NULL (column)``, without which the tenant would become NULL as well."""


class References:
    """
    Derives the foreign keys of all tables.

    Args:
        counterparts: Each logical Table and its physical one, whose primary and unique keys are derived;
            the foreign keys are added to it.
    """

    def __init__(
        self,
        tables: Tables,
        *,
        server_version: tuple[int, ...] | None,
        counterparts: dict[Any, Any],
    ) -> None:
        self.tables, self.dialect, self.counterparts = tables, tables.dialect, counterparts
        self.has_column_lists = server_version is None or server_version >= COLUMN_LISTS_SINCE
        self.tenants = next((each for each in tables.by_name.values() if each.kind is Kind.TENANTS), None)
        self._by_name: dict[tuple[str | None, str], list[Table]] = {}
        for each in counterparts.values():
            if isinstance(each, Table):
                self._by_name.setdefault((each.schema, each.name), []).append(each)
        self._derived: list[ForeignKeyConstraint] = []  # logical ones, for the check for cycles
        self._triggers: list[tuple[ForeignKeyConstraint, str, list[str] | None]] = []

    def derive(self, logical: Table, physical: Table) -> None:
        """Add the physical foreign keys of one table."""
        source = self._describe(logical)
        for key in sorted(logical.foreign_key_constraints, key=lambda each: (str(each.name or ""), each.column_keys)):
            columns = list(key.columns)
            referenced = [_resolved(element, key) for element in key.elements]
            made = self._reference(key, source, columns, referenced)
            self.counterparts[key] = made
            physical.append_constraint(made)
        if self.tenants is not None and source.kind is Kind.SCOPED and source.layout is not Layout.AS_WRITTEN:
            self._refer_to_the_tenants_table(physical, source, self.tenants)

    def _describe(self, table: Table) -> TableDescription:
        description = self.tables.find(table.schema, table.name)
        if description is None:
            raise SetupError(
                f"table {table.key} is referenced, but it is in no metadata of the tenancy: add its metadata."
            )
        return description

    # Which columns refer to which.

    def _reference(
        self,
        key: ForeignKeyConstraint,
        source: TableDescription,
        columns: list[Column[Any]],
        referenced: list[Column[Any]],
    ) -> ForeignKeyConstraint:
        target = self._describe(referenced[0].table)
        if self._is_as_written(key, source, target, columns, referenced):
            names = [column.name for column in columns]
            if source.tenant_column in names and target.kind is Kind.SCOPED:  # by hand
                self._check_shared_rows(key, source, [each for each in columns if each.name != source.tenant_column])
            self._check_unique(key, referenced)
            self._check_still_unique(key, referenced)
            return self._made(key, columns, referenced, **_actions(key))
        tenant_column = source.tenant_column_of(key.table)
        self._check_unique(key, referenced, target.tenant_column_of(referenced[0].table))
        self._derived.append(key)
        self._ensure_unique(referenced, target)
        self._check_shared_rows(key, source, columns)
        return self._made(
            key,
            [tenant_column, *columns],
            [target.tenant_column_of(referenced[0].table), *referenced],
            **self._actions(key, columns),
        )

    def _is_as_written(
        self,
        key: ForeignKeyConstraint,
        source: TableDescription,
        target: TableDescription,
        columns: list[Column[Any]],
        referenced: list[Column[Any]],
    ) -> bool:
        """Whether a foreign key cannot point across tenants as it is, or was meant to stay."""
        names = {column.name: other.name for column, other in zip(columns, referenced, strict=True)}
        if any(each.kind is Kind.SCOPED and each.layout is Layout.AS_WRITTEN for each in (source, target)):
            return True
        if "keep" in words_of(key) or any("keep" in words_of(element) for element in key.elements):
            return True
        self._check_tenant_stays(key, source)
        self._check_nobody_reaches_over(key, source, target)
        if target.kind in (Kind.SHARED, Kind.SHARED_WRITABLE):
            return True
        if target.kind is Kind.TENANTS:
            own = source.kind is not Kind.SCOPED or names.get(str(source.tenant_column)) == target.tenant_column
            if not own or len(names) > 1:
                _refuse(
                    key,
                    f"it names a row of the tenants table {target.key}, which may be another tenant's",
                    f"If rows of {source.key} are meant to name other tenants: {_KEEP}",
                )
            return True
        if source.kind in (Kind.SHARED, Kind.SHARED_WRITABLE):
            _refuse(
                key,
                f"{source.key} is {source.kind.value}, so its rows belong to nobody, but it refers to {target.key}, "
                "whose rows belong to tenants",
                f"Give {source.key} a tenant column, or refer from {target.key} to it.",
            )
        if names.get(str(source.tenant_column)) == target.tenant_column:
            return True
        if source.tenant_column in names or target.tenant_column in names.values():
            _refuse(
                key,
                f"it maps a tenant column to another column ({source.key} to {target.key})",
                "Leave the tenant columns out, and they are added, or map one to the other.",
            )
        return False

    def _check_nobody_reaches_over(
        self, key: ForeignKeyConstraint, source: TableDescription, target: TableDescription
    ) -> None:
        """Refuse to let tenants change others' rows, or ask for them, through a table that all of them write."""
        if target.kind is Kind.SHARED_WRITABLE and source.kind is not Kind.SHARED_WRITABLE:
            for option, given in (("ondelete", key.ondelete), ("onupdate", key.onupdate)):
                action, _ = _action(given)
                if action in ("CASCADE", *_SETS):
                    _refuse(
                        key,
                        f"{target.key} is written by all tenants, and ON {option[2:].upper()} {action} lets whoever "
                        f"writes it change others' rows of {source.key}",
                        f"Leave {option} out, and change the own rows first. If it is meant: {_KEEP}",
                    )
        if source.kind is Kind.SHARED_WRITABLE and target.kind is Kind.TENANTS:
            _refuse(
                key,
                f"{source.key} is written by all tenants, who could name each other in it, and ask who is there",
                f"Give {source.key} a tenant column. If it is meant: {_KEEP}",
            )

    def _check_tenant_stays(self, key: ForeignKeyConstraint, source: TableDescription) -> None:
        """Refuse to let a row whose reference ends become everybody's, or the tenant's that a default names."""
        if source.kind is not Kind.SCOPED:
            return
        for option, given in (("ondelete", key.ondelete), ("onupdate", key.onupdate)):
            action, listed = _action(given)
            names = {column.name for column in key.columns} if listed is None else set(listed)
            is_harmful = action == "SET DEFAULT" or source.readable is Visible.OWN_AND_SHARED
            if action in _SETS and source.tenant_column in names and is_harmful:
                _refuse(
                    key,
                    f"ON {option[2:].upper()} {action} would change the tenant column as well, and so whose row it is",
                    f"Write {option}='CASCADE', or leave the tenant columns out, and they are added. "
                    f"If it is meant: {_KEEP}",
                )

    # Unique keys to refer to.

    def _check_unique(
        self, key: ForeignKeyConstraint, referenced: list[Column[Any]], tenant_column: Column[Any] | None = None
    ) -> None:
        """Refuse to refer to what is not unique; where the tenant is added, what is unique in a tenant will do."""
        names = {column.name for column in referenced}
        wanted = [names] if tenant_column is None else [names, {tenant_column.name, *names}]
        if not any(unique in wanted for unique in _unique_keys(referenced[0].table)):
            table = referenced[0].table
            _refuse(
                key,
                f"it refers to {table.key} ({', '.join(sorted(names))}), which is not unique there",
                f"Add to {table.key}:  UniqueConstraint({', '.join(repr(each.name) for each in referenced)})",
            )

    def _check_still_unique(self, key: ForeignKeyConstraint, referenced: list[Column[Any]]) -> None:
        """Refuse a reference as it is written to a key that has got the tenant."""
        names = {column.name for column in referenced}
        table = referenced[0].table
        if not any(names == unique for unique in _unique_keys(self.counterparts[table])):
            is_primary = names == {column.name for column in table.primary_key.columns}
            word, where = ("keep", f"the table {table.key}") if is_primary else ("global", "its unique key")
            _refuse(
                key,
                f"it stays as it is written, but {table.key} ({', '.join(sorted(names))}) is unique in a tenant only",
                f"Declare {where}:  info={{'partywall': {word!r}}}",
            )

    def _ensure_unique(self, referenced: list[Column[Any]], target: TableDescription) -> None:
        """See to it that the database has a unique key with the tenant for a reference to use."""
        names = (str(target.tenant_column), *(each.name for each in referenced))
        wanted = set(names)
        for physical in self._by_name[target.schema, target.name]:  # of several MetaData the first creates it
            if not any(wanted == unique for unique in _unique_keys(physical)):
                columns = {each.name: each for each in physical.columns if each.name in wanted}
                ordered = [columns[name] for name in names]
                name = conv(f"uq_{physical.name}_{'_'.join(each.name for each in ordered)}")
                physical.append_constraint(UniqueConstraint(*ordered, name=name))

    # What happens to the reference.

    def _actions(self, key: ForeignKeyConstraint, columns: list[Column[Any]]) -> dict[str, Any]:
        """Return ON DELETE and ON UPDATE so that they leave the tenant column alone."""
        actions = _actions(key)
        on_update, _ = _action(key.onupdate)
        on_delete, listed = _action(key.ondelete)
        if on_update in _SETS:
            _refuse(
                key,
                f"ON UPDATE {on_update} would change the tenant column as well, and takes no list of columns",
                "Write onupdate='CASCADE', or leave it out.",
            )
        if on_delete in _SETS:
            if _word(key.match) == "FULL":
                _refuse(
                    key,
                    f"MATCH FULL forbids what ON DELETE {on_delete} does: a reference without its tenant",
                    "Leave match='FULL' out; the tenant is never NULL, so MATCH SIMPLE checks every reference.",
                )
            if self.dialect == "sqlite":
                self._triggers.append((key, on_delete, listed))
                actions["ondelete"] = None
            elif not self.has_column_lists:
                _refuse(
                    key,
                    f"ON DELETE {on_delete} needs a list of columns, which PostgreSQL has since version 15",
                    "Upgrade the server, or write ondelete='RESTRICT' or 'CASCADE'.",
                )
            elif listed is None:
                actions["ondelete"] = f"{on_delete} ({', '.join(_quote(each.name) for each in columns)})"
        if _word(key.match) == "FULL" and self.dialect == "sqlite":
            self._emulate_full(key, columns)
        return actions

    def _emulate_full(self, key: ForeignKeyConstraint, columns: list[Column[Any]]) -> None:
        """SQLite reads MATCH FULL as SIMPLE (SQLite, Foreign Key Support): say with a CHECK what it means."""
        physical: Table = self.counterparts[key.table]
        description = self._describe(key.table)
        every = [description.tenant_column_of(physical), *(physical.c[each.key] for each in columns)]
        full = or_(and_(*(each.is_(None) for each in every)), and_(*(each.is_not(None) for each in every)))
        name = f"ck_{physical.name}_{'_'.join(each.name for each in columns)}_full"
        physical.append_constraint(CheckConstraint(full, name=conv(name)))

    def _check_shared_rows(
        self, key: ForeignKeyConstraint, source: TableDescription, columns: list[Column[Any]]
    ) -> None:
        """
        Let shared rows refer to no tenant's row.

        Their tenant is NULL, and MATCH SIMPLE checks no reference of which a part is NULL. MATCH FULL would, but it
        forbids tenants' rows to have no reference.
        """
        if source.readable is not Visible.OWN_AND_SHARED:
            return
        physical: Table = self.counterparts[key.table]
        is_own = source.tenant_column_of(physical).is_not(None)
        refers_to_nothing = or_(*(physical.c[each.key].is_(None) for each in columns))
        name = f"ck_{physical.name}_{'_'.join(each.name for each in columns)}_tenant"
        physical.append_constraint(CheckConstraint(or_(is_own, refers_to_nothing), name=conv(name)))

    def _refer_to_the_tenants_table(self, physical: Table, source: TableDescription, target: TableDescription) -> None:
        """See to it that a row's tenant exists."""
        tenant_column = source.tenant_column_of(physical)
        if any(list(each.columns) == [tenant_column] for each in physical.foreign_key_constraints):
            return
        tenants = self._by_name[target.schema, target.name][0]
        name = conv(f"fk_{physical.name}_{tenant_column.name}_{tenants.name}")
        key = ForeignKeyConstraint([tenant_column], [target.tenant_column_of(tenants)], name=name)
        physical.append_constraint(key)

    def _made(
        self,
        key: ForeignKeyConstraint,
        columns: list[Column[Any]],
        referenced: list[Column[Any]],
        **actions: Any,
    ) -> ForeignKeyConstraint:
        """Return a foreign key between physical columns with the name and the options of the logical one."""
        physical, target = self.counterparts[key.table], self.counterparts[referenced[0].table]
        made = ForeignKeyConstraint(
            [physical.c[each.key] for each in columns],
            [target.c[each.key] for each in referenced],
            name=key.name,
            deferrable=key.deferrable,
            initially=key.initially,
            match=key.match,
            use_alter=key.use_alter,
            info=dict(key.info),
            **actions,
            **dict(key.kwargs),
        )
        made.comment = key.comment
        return made

    # Cycles.

    def finish(self) -> None:
        """
        Give the keys of a cycle the names that are needed to create and drop them, and add the triggers.

        Raises:
            SetupError: A cycle in which no first row could be inserted: all its keys are NOT NULL, and none is
                deferrable.
        """
        _refuse_hard_cycles(self._derived)
        tables = [each for each in self.counterparts.values() if isinstance(each, Table)]
        ordered: Any = sort_tables_and_constraints(tables)  # type: ignore[no-untyped-call]  # SQLAlchemy's
        apart = [key for table, keys in ordered if table is None for key in keys]
        of_cycles = {key.table for key in apart}
        for key in apart:
            if key.referred_table in of_cycles:
                key.use_alter = True  # known now, so nobody need be warned
            if key.name is None:
                key.name = conv(f"fk_{key.table.name}_{'_'.join(each.name for each in key.columns)}")
        for logical, action, listed in self._triggers:
            key = self.counterparts[logical]
            set_on_delete(key, action, listed).create_with(in_cycle=key in apart)


_SETS = ("SET NULL", "SET DEFAULT")
_KEEP = "ForeignKey(..., info={'partywall': 'keep'})"
_quote = postgresql.dialect().identifier_preparer.quote  # type: ignore[no-untyped-call]  # SQLAlchemy's


def _word(option: str | None) -> str:
    return " ".join((option or "").upper().split())


def _action(option: str | None) -> tuple[str, list[str] | None]:
    """Return what ON DELETE or ON UPDATE does, and the columns it does it to, if they are listed."""
    action, _, listed = (option or "").partition("(")
    names = [each.strip().strip('"') for each in listed.rstrip(") ").split(",")]
    return _word(action), names if listed else None


def _actions(key: ForeignKeyConstraint) -> dict[str, Any]:
    return {"onupdate": key.onupdate, "ondelete": key.ondelete}


def _resolved(element: ForeignKey, key: ForeignKeyConstraint) -> Column[Any]:
    try:
        return element.column
    except (NoReferencedTableError, NoReferencedColumnError):
        _refuse(
            key,
            f"it refers to {element.target_fullname}, which is not there",
            "Import every model before the engine is guarded, or mend the name.",
        )


def _unique_keys(table: Table) -> Iterator[set[str]]:
    """Yield the columns of each key that a foreign key may refer to."""
    for constraint in table.constraints:
        if isinstance(constraint, (PrimaryKeyConstraint, UniqueConstraint)) and not constraint.deferrable:
            yield {column.name for column in constraint.columns}
    for index in table.indexes:
        is_whole = not any(option.endswith("_where") for option in index.kwargs)
        if index.unique and is_whole and all(isinstance(each, Column) for each in index.expressions):
            yield {column.name for column in index.columns}


def _refuse_hard_cycles(keys: list[ForeignKeyConstraint]) -> None:
    """Refuse a cycle of keys in which no first row could be inserted."""
    hard: dict[str, dict[str, ForeignKeyConstraint]] = {}
    for key in keys:
        is_hard = not key.deferrable and not any(column.nullable for column in key.columns)
        if is_hard and key.referred_table is not key.table:
            hard.setdefault(key.table.key, {})[key.referred_table.key] = key
    try:
        TopologicalSorter(hard).prepare()
    except CycleError as error:
        cycle = [hard[table][referred] for referred, table in itertools.pairwise(error.args[1])]
        _refuse(
            cycle[-1],
            f"it closes a cycle of keys ({', '.join(map(_named, cycle))}) that are all NOT NULL and checked at once, "
            "so no first row can be inserted",
            "Let one of them be NULL, or write deferrable=True, initially='DEFERRED', use_alter=True.",
        )


def _named(key: ForeignKeyConstraint) -> str:
    return str(key.name) if key.name else f"{key.table.key} ({', '.join(each.name for each in key.columns)})"


def _refuse(key: ForeignKeyConstraint, reason: str, way_out: str) -> NoReturn:
    raise SetupError(f"the foreign key {_named(key)} of {key.table.key} cannot be derived: {reason}.\n{way_out}")
