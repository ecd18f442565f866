"""Derives the description of each table from the metadata and from what was declared, here or next to the table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Index, MetaData, PrimaryKeyConstraint, Table, UniqueConstraint
from sqlalchemy.exc import NoReferencedColumnError, NoReferencedTableError
from sqlalchemy.types import TypeDecorator, TypeEngine

from partywall.errors import SetupError
from partywall.tables import Kind, Layout, TableDescription, Tables, Visible

__all__ = ["describe", "is_global", "words_of"]

INFO_KEY = "partywall"


def describe(
    metadata: Iterable[MetaData],
    *,
    column: str,
    tenants: str | None,
    tenants_public: Iterable[str],
    shared: Iterable[str],
    shared_writable: Iterable[str],
    shared_rows: Iterable[str],
    layout: str = "keep",
    dialect: str = "postgresql",
) -> Tables:
    """
    Derive the description of every table; nothing is guessed.

    A table is scoped if it has the tenant column; else it must be declared, here by its key or next to
    it by ``info={"partywall": "shared"}`` (`Kind` has the words). The tenant column may bear another
    name in one table: ``Column(..., info={"partywall": "tenant"})``.

    Args:
        metadata: Complete metadata; call after all models are imported.
        column: Name of the tenant column in the database.
        tenants: Key of the tenants table.
        tenants_public: Names of the columns of the tenants table that may be read with no tenant in
            scope; ``Column(..., info={"partywall": "public"})`` says the same.
        shared: Keys of the tables whose rows belong to nobody, and are read by all.
        shared_writable: Keys of those that are written by all, too.
        shared_rows: Keys of scoped tables whose rows without a tenant (NULL) are seen by all and
            written by none of them.
        layout: How the keys of scoped tables stand in the database (`Layout` has the words); a table's
            own ``info={"partywall": "tenant-first"}`` goes before it.
        dialect: Name of the dialect of the database.

    Raises:
        SetupError: A table that nobody declared, a nullable tenant column, tenant columns of different
            types, declarations that contradict each other, name no table, or would have no effect.
    """
    declared = _Declarations(
        column,
        tenants,
        frozenset(tenants_public),
        frozenset(shared),
        frozenset(shared_writable),
        frozenset(shared_rows),
        _layout(layout, "layout"),
        dialect,
    )
    tables = [table for one in metadata for table in one.tables.values()]
    declared.check_names({table.key for table in tables})
    for table in tables:
        _check_marks(table)
    by_name: dict[tuple[str | None, str], TableDescription] = {}
    types: dict[str, TypeEngine[Any]] = {}
    for table in tables:
        description, type_ = _describe_table(table, declared)
        known = by_name.setdefault((table.schema, table.name), description)
        if known is not description:
            by_name[table.schema, table.name] = _merged(known, description)
        if type_ is not None:
            types[table.key] = type_
    for description in by_name.values():
        if description.key in declared.shared_rows and description.kind is not Kind.SCOPED:
            raise SetupError(
                f"shared_rows names the table {description.key}, which is {description.kind.value}, not scoped."
            )
    if declared.tenants_public and not any(each.kind is Kind.TENANTS for each in by_name.values()):
        raise SetupError("tenants_public names columns of the tenants table, but there is none: add tenants='...'.")
    return Tables(MappingProxyType(by_name), _one_type(types), dialect)


def words_of(item: Any) -> frozenset[str]:
    """Return what was declared next to a table, column, constraint or index: one word, or several."""
    words = item.info.get(INFO_KEY, ())
    return frozenset({words} if isinstance(words, str) else words)


def _check_marks(table: Table) -> None:
    """Refuse words that mean nothing where they stand."""
    allowed: tuple[str, ...]
    items: list[tuple[str, Any, tuple[str, ...]]] = [
        (f"column {table.key}.{column.name}", column, ("tenant", "public", "global")) for column in table.columns
    ]
    items += [(f"a foreign key of {table.key}", key, ("keep",)) for key in table.foreign_keys]
    for constraint in table.constraints:
        allowed = ("keep",) if isinstance(constraint, ForeignKeyConstraint) else ("global",)
        items.append((f"the constraint {constraint.name or 'without a name'} of {table.key}", constraint, allowed))
    items += [(f"index {index.name}", index, ("global",)) for index in table.indexes]
    for what, item, allowed in items:
        for word in sorted(words_of(item) - {*allowed}):
            raise SetupError(f"{what}: info={{{INFO_KEY!r}: {word!r}}} is none of {', '.join(map(repr, allowed))}.")


def _layout(word: str, where: str) -> Layout:
    try:
        return Layout(word)
    except ValueError:
        words = ", ".join(repr(layout.value) for layout in Layout)
        raise SetupError(f"{where}={word!r} is none of {words}.") from None


@dataclass(frozen=True)
class _Declarations:
    column: str
    tenants: str | None
    tenants_public: frozenset[str]
    shared: frozenset[str]
    shared_writable: frozenset[str]
    shared_rows: frozenset[str]
    layout: Layout
    dialect: str

    def check_names(self, keys: set[str]) -> None:
        named = {
            "shared": self.shared,
            "shared_writable": self.shared_writable,
            "shared_rows": self.shared_rows,
            "tenants": frozenset() if self.tenants is None else {self.tenants},
        }
        for argument, names in named.items():
            for name in sorted(names - keys):
                raise SetupError(
                    f"{argument} names the table {name!r}, but the metadata has none of that name.\n"
                    "Import every model before the engine is guarded, or mend the name."
                )

    def kinds(self, table: Table) -> set[Kind]:
        """Return every kind that the table was declared to be, here and next to it."""
        kinds = {
            kind
            for kind, keys in (
                (Kind.SHARED, self.shared),
                (Kind.SHARED_WRITABLE, self.shared_writable),
                (Kind.TENANTS, {self.tenants}),
            )
            if table.key in keys
        }
        for word in words_of(table) - {layout.value for layout in Layout}:
            try:
                kinds.add(Kind(word))
            except ValueError:
                words = ", ".join(repr(each.value) for each in (*Kind, *Layout))
                raise SetupError(f"table {table.key}: info={{{INFO_KEY!r}: {word!r}}} is none of {words}.") from None
        return kinds

    def layout_of(self, table: Table) -> Layout:
        """Return the layout that was declared next to the table, else here."""
        own = [layout for layout in Layout if layout.value in words_of(table)]
        if len(own) > 1:
            raise SetupError(f"table {table.key} is declared {' and '.join(each.value for each in own)}: choose one.")
        return own[0] if own else self.layout


def _describe_table(table: Table, declared: _Declarations) -> tuple[TableDescription, TypeEngine[Any] | None]:
    kinds = declared.kinds(table)
    tenant_column = _find_tenant_column(table, declared.column)
    if len(kinds) > 1:
        raise SetupError(
            f"table {table.key} is declared {' and '.join(sorted(kind.value for kind in kinds))}: choose one."
        )
    kind = kinds.pop() if kinds else Kind.SCOPED
    if kind is Kind.TENANTS:
        return _describe_tenants_table(table, declared)
    if kind is not Kind.SCOPED:
        if tenant_column is not None:
            raise SetupError(
                f"table {table.key} is declared {kind.value}, but has the tenant column {tenant_column.name}: its rows "
                "belong to tenants.\nRemove the declaration, or the column."
            )
        writable = Visible.ALL if kind is Kind.SHARED_WRITABLE else Visible.NONE
        return _description(table, kind, None, Visible.ALL, writable), None
    if tenant_column is None:
        raise SetupError(_undeclared(table, declared))
    _check_replace(table, tenant_column)
    _check_equality(table, tenant_column)
    has_shared_rows = table.key in declared.shared_rows
    if tenant_column.nullable and not has_shared_rows:
        raise SetupError(
            f"table {table.key}: the tenant column {tenant_column.name} is nullable, so a row could belong to nobody.\n"
            f"Write:  {tenant_column.name} = Column(..., nullable=False)\n"
            f"If rows without a tenant are for everybody to read:  Tenancy(..., shared_rows={{{table.key!r}}})"
        )
    readable = Visible.OWN_AND_SHARED if has_shared_rows else Visible.OWN
    description = _description(table, kind, tenant_column.name, readable, Visible.OWN)
    layout = declared.layout_of(table)
    description = replace(
        description, layout=layout, ids_repeat=_ids_repeat(table, description, layout, declared.dialect)
    )
    return description, tenant_column.type


def _check_equality(table: Table, column: Column[Any]) -> None:
    """Refuse a tenant column to which two ids are one: the database would give one tenant the other's rows."""
    waiting: list[Any] = [column.type]
    while waiting:
        type_ = waiting.pop()
        waiting += type_._variant_mapping.values()
        if isinstance(type_, TypeDecorator):
            waiting.append(type_.impl)
            continue
        collation = getattr(type_, "collation", None)
        plain = collation is None or str(collation).upper() in _EXACT_COLLATIONS
        if not plain or type_.__visit_name__ == "CITEXT":
            what = f"the collation {collation}" if collation is not None else type_.__visit_name__
            raise SetupError(
                f"table {table.key}: the tenant column {column.name} has {what}, to which different ids may be equal.\n"
                f"Write:  {column.name} = Column(String, ...), and let ids be compared byte by byte."
            )


_EXACT_COLLATIONS = ("BINARY", "C", "POSIX", "UCS_BASIC")


def _check_replace(table: Table, tenant_column: Column[Any]) -> None:
    """Refuse SQLite's ``ON CONFLICT REPLACE`` in a key that tenants share: an INSERT would delete another's row."""
    for constraint in table.constraints:
        if not isinstance(constraint, (PrimaryKeyConstraint, UniqueConstraint)) or constraint.columns.contains_column(
            tenant_column
        ):
            continue
        words = {constraint.dialect_options["sqlite"]["on_conflict"]}
        for column in constraint.columns:
            options = column.dialect_options["sqlite"]
            words |= {options["on_conflict_primary_key"], options["on_conflict_unique"]}
        if any(str(word).upper() == "REPLACE" for word in words):
            columns = ", ".join(column.name for column in constraint.columns)
            raise SetupError(
                f"table {table.key}: ON CONFLICT REPLACE of ({columns}) would let an INSERT delete another tenant's "
                f"row.\nAdd {tenant_column.name} to the key, or write an upsert instead."
            )


def _describe_tenants_table(table: Table, declared: _Declarations) -> tuple[TableDescription, TypeEngine[Any] | None]:
    keys = list(table.primary_key.columns)
    if len(keys) != 1:
        raise SetupError(f"the tenants table {table.key} needs a primary key of one column, the tenant id.")
    public = {column.name for column in table.columns if "public" in words_of(column)}
    public |= declared.tenants_public if table.key == declared.tenants else set()
    for name in sorted(public - {column.name for column in table.columns}):
        raise SetupError(f"tenants_public names {name!r}, but the tenants table {table.key} has no such column.")
    _check_equality(table, keys[0])
    description = _description(table, Kind.TENANTS, keys[0].name, Visible.OWN, Visible.NONE, public=frozenset(public))
    return description, keys[0].type


def _description(
    table: Table,
    kind: Kind,
    tenant_column: str | None,
    readable: Visible,
    writable: Visible,
    *,
    public: frozenset[str] = frozenset(),
) -> TableDescription:
    return TableDescription(
        schema=table.schema,
        name=table.name,
        kind=kind,
        tenant_column=tenant_column,
        readable=readable,
        writable=writable,
        columns=frozenset(column.name for column in table.columns),
        public=public,
        primary_key=tuple(column.name for column in table.primary_key.columns),
        global_keys=frozenset(_global_keys(table)),
    )


def _ids_repeat(table: Table, description: TableDescription, layout: Layout, dialect: str) -> bool:
    """
    Whether the tenant is added to the primary key.

    On SQLite an id that the database makes up is its rowid, which is a primary key of one column. Shared rows
    have no tenant to put in.
    """
    return (
        layout is Layout.TENANT_FIRST
        and description.readable is Visible.OWN
        and bool(description.primary_key)
        and description.tenant_column not in description.primary_key
        and not (dialect == "sqlite" and table.autoincrement_column is not None)
    )


def _global_keys(table: Table) -> Iterator[frozenset[str]]:
    keys: list[Any] = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    keys += [each for each in table.indexes if each.unique]
    for key in keys:
        if is_global(key):
            yield frozenset(column.name for column in key.columns)


def is_global(key: UniqueConstraint | Index) -> bool:
    """Whether a unique key is declared to be unique among all tenants, next to it or to its only column."""
    columns = list(key.columns)
    return "global" in words_of(key) or (len(columns) == 1 and "global" in words_of(columns[0]))


def _find_tenant_column(table: Table, name: str) -> Column[Any] | None:
    """Return the column marked as the tenant's, else the one that is named so (its name, not its key)."""
    marked = [column for column in table.columns if "tenant" in words_of(column)]
    if len(marked) > 1:
        raise SetupError(f"table {table.key} marks {len(marked)} columns as the tenant's: mark one.")
    if marked:
        return marked[0]
    return next((column for column in table.columns if column.name == name), None)


def _undeclared(table: Table, declared: _Declarations) -> str:
    column, key = declared.column, table.key
    parent = _scoped_parent(table, declared)
    if parent is not None:
        own = f"Column({column!r}, {parent.type!r}, nullable=False)"
        return (
            f"table {key} has no column {column}, but its primary key refers to {parent.table.key}, whose rows belong "
            "to tenants: it needs its own.\n"
            "Under joined inheritance write in the child class, with the parent class for Parent:\n"
            f"    {column} = column_property({own}, Parent.{parent.key})\n"
            f"In an association table, or any other:\n    {column} = {own}"
        )
    return (
        f"table {key} has no column {column} and is not declared: whose rows are they?\n"
        f"They belong to tenants:      add to it  {column} = Column({column!r}, ..., nullable=False)  "
        "(a child or association table\n                             needs its own, also under joined inheritance)\n"
        f"Everybody may read them:     Tenancy(..., shared={{{key!r}}})\n"
        f"Everybody may write them:    Tenancy(..., shared_writable={{{key!r}}})"
    )


def _scoped_parent(table: Table, declared: _Declarations) -> Column[Any] | None:
    """Return the tenant column of a table to which the primary key of another one refers."""
    for key in (key for column in table.primary_key.columns for key in column.foreign_keys):
        try:
            found = _find_tenant_column(key.column.table, declared.column)
        except (NoReferencedTableError, NoReferencedColumnError):
            continue
        if found is not None:
            return found
    return None


def _merged(first: TableDescription, second: TableDescription) -> TableDescription:
    """Describe a table that stands in two MetaData: they must agree, and their columns add up."""
    if not first.means_the_same_as(second):
        raise SetupError(
            f"table {first.key} stands in two MetaData, once as {first.kind.value} and once as {second.kind.value}: "
            "declare it the same in both."
        )
    return replace(
        first,
        columns=first.columns | second.columns,
        public=first.public & second.public,
        global_keys=first.global_keys & second.global_keys,
    )


def _one_type(types: Mapping[str, TypeEngine[Any]]) -> TypeEngine[Any]:
    """Return the type that all tenant columns have in common."""
    if not types:
        raise SetupError("no table has the tenant column: nothing would be scoped. Is the metadata complete?")
    first_key, first = next(iter(types.items()))
    try:
        untyped = first.python_type is object
    except NotImplementedError:
        untyped = True
    if untyped:
        raise SetupError(f"the tenant column of table {first_key} has no type we can check ids by: give it one.")
    for key, type_ in types.items():
        if type(type_) is not type(first) or type_.python_type is not first.python_type:
            raise SetupError(
                f"the tenant column of table {key} is {type_!r}, that of {first_key} is {first!r}: "
                "give all tenant columns, and the key of the tenants table, one type."
            )
    return first
