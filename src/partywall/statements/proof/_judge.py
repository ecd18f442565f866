"""
Judges a statement of the model: is every use of a restricted table restricted to the tenant?

The rules follow from what joins mean. The conjunct ``a.t = p`` is *null-rejecting* for ``a``: it holds for no row in
which an outer join has put NULLs for ``a``. It restricts ``a`` as if it stood at the table itself, if every row of the
table that gets through has to pass it:

- in WHERE; in the ON of an inner join above the table, on either side; in the ON of an outer join above it that does
  not preserve the rows of this side. Outer joins between the table and that place do not matter: what they add has
  NULLs for ``a``, or keeps ``a`` as it was.
- never in the ON of a join that preserves the rows of this side: they get through without passing it.

``(a.t = p OR a.t IS NULL)``, for tables with shared rows, is not null-rejecting: above a join that puts NULLs for ``a``
it would let through what was put there because another tenant's row had matched. So it counts only below such joins.

``b.t = a.t`` restricts ``b`` in the places where ``b.t = p`` would, once ``a`` is restricted by other means: as ``a``
has then no rows but the tenant's, the one implies the other.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from partywall.statements.proof import _model as model
from partywall.statements.proof._model import JoinKind, MergeWhen, NotProvedError
from partywall.tables import TableDescription, Tables, Visible

__all__ = ["judge"]

# Casts of the tenant's parameter that keep ids apart, by the Python type of ids.
_CASTS: Mapping[type, frozenset[str]] = {
    int: frozenset({"integer", "numeric", "text"}),
    str: frozenset({"text"}),
    uuid.UUID: frozenset({"uuid", "text"}),
}


def judge(
    statement: model.Statement, tables: Tables, dialect: model.Dialect, tenant_parameters: frozenset[int] | None
) -> frozenset[int]:
    """
    Return the numbers of the parameters that the restriction relies on.

    Raises:
        NotProvedError: A use of a restricted table is not proved to be restricted.
    """
    judge = _Judge(tables, dialect, tenant_parameters)
    judge.query(statement.query, {})
    if judge.table_count != statement.table_count:
        raise NotProvedError(
            f"the statement names {statement.table_count} tables, "
            f"and {judge.table_count} of them stand where the proof looks"
        )
    return frozenset(judge.relied_on)


@dataclass(frozen=True, slots=True)
class _Proof:
    """A restricted source has the tenant's rows alone, by a parameter; or the shared rows too."""

    parameter: int
    has_shared_rows: bool = False


@dataclass(eq=False, slots=True)
class _Leaf:
    """A source of a block, at its place in the tree of joins. Compared by identity."""

    source: model.TableSource | model.DerivedSource
    description: TableDescription | None  # None: not a table
    must_be_own: bool = False  # the target of a write
    proof: _Proof | None = None
    binding: list[_Fact] = field(default_factory=list)  # what every row of it has to pass
    unpadded: list[_Fact] = field(default_factory=list)  # those with no join between that puts NULLs for it

    @property
    def name(self) -> str | None:
        return self.source.name

    @property
    def has_known_columns(self) -> bool:
        return (
            self.description is not None
            and isinstance(self.source, model.TableSource)
            and not self.source.renames_columns
        )


@dataclass(frozen=True, slots=True)
class _Node:
    """A join, with leaves instead of sources."""

    join: model.Join
    left: _Tree
    right: _Tree


_Tree = _Leaf | _Node


@dataclass(frozen=True, slots=True)
class _Fact:
    """A conjunct with its names resolved: *column* of *leaf* equals the parameter, or another column (or is NULL)."""

    leaf: _Leaf
    column: str
    other: model.Parameter | tuple[_Leaf, str]
    or_null: bool = False


def _leaves(tree: _Tree | None) -> Iterator[_Leaf]:
    if isinstance(tree, _Leaf):
        yield tree
    elif tree is not None:
        yield from _leaves(tree.left)
        yield from _leaves(tree.right)


class _Block:
    """The sources of one block, and what its conjuncts say of them."""

    def __init__(
        self,
        tree: _Tree | None,
        where: tuple[model.Conjunct, ...],
        dialect: model.Dialect,
        preset: Iterable[_Leaf] = (),
    ) -> None:
        self.tree, self.dialect = tree, dialect
        self.preset = list(preset)  # EXCLUDED
        self.leaves = [*_leaves(tree), *self.preset]
        self.facts: list[_Fact] = []  # all of them, wherever they stand: for the reason
        where_facts = self._resolved(where, self.leaves, merged=True)
        if tree is not None:
            self._place(tree, where_facts, where_facts)

    # Names

    def find(self, column: model.Column, *, merged: bool) -> _Leaf | None:
        """Return the source a column is of, if that is certain; *merged* where USING has made two columns one."""
        if not column.qualifier:
            return self._find_unqualified(column.name, merged=merged)
        *schema, name = column.qualifier
        found = [leaf for leaf in self.leaves if leaf.name == name]
        if schema:
            found = [leaf for leaf in found if self._schema(leaf) == self._without_default(schema[0])]
        return found[0] if len(found) == 1 and len(schema) <= 1 else None

    def _find_unqualified(self, name: str, *, merged: bool) -> _Leaf | None:
        if not all(leaf.has_known_columns for leaf in self.leaves):
            return None
        found = [leaf for leaf in self.leaves if self._has_column(leaf, name)]
        if len(found) == 1:
            return found[0]
        return self._merged(self.tree, name) if merged and self.tree is not None and not self.preset else None

    def _merged(self, tree: _Tree, name: str) -> _Leaf | None:
        """Return the source whose column a name means after joins with USING; None if unknown or none has it."""
        if isinstance(tree, _Leaf):
            return tree if tree.has_known_columns and self._has_column(tree, name) else None
        if tree.join.is_natural or not all(leaf.has_known_columns for leaf in _leaves(tree)):
            return None
        if name in tree.join.using:
            if tree.join.kind is JoinKind.FULL:
                return None  # coalesce() of both
            return self._merged(tree.right if tree.join.kind is JoinKind.RIGHT else tree.left, name)
        sides = [
            side for side in (tree.left, tree.right) if any(self._has_column(leaf, name) for leaf in _leaves(side))
        ]
        return self._merged(sides[0], name) if len(sides) == 1 else None

    def _has_column(self, leaf: _Leaf, name: str) -> bool:
        description = leaf.description
        return description is not None and any(self.dialect.fold(column) == name for column in description.columns)

    def _without_default(self, schema: str | None) -> str | None:
        return None if schema == self.dialect.default_schema else schema

    def _schema(self, leaf: _Leaf) -> str | None:
        """Return the schema a source may be called by: an alias has none."""
        source = leaf.source
        if not isinstance(source, model.TableSource) or source.alias is not None or leaf.description is None:
            return "\0"
        return self._without_default(source.schema)

    def check_names(self) -> None:
        """Refuse two sources of one name: what a column is of would be a guess."""
        seen: set[tuple[str | None, str]] = set()
        for leaf in self.leaves:
            if leaf.name is None:
                continue
            key = (self._schema(leaf), leaf.name)
            aliased = key[0] == "\0" and any(name == leaf.name for _, name in seen)
            if key in seen or aliased or ("\0", leaf.name) in seen:
                raise NotProvedError(f"two sources of one block are named {leaf.name}", leaf.source.position)
            seen.add(key)

    # Places

    def _resolved(self, conjuncts: Iterable[model.Conjunct], scope: list[_Leaf], *, merged: bool) -> list[_Fact]:
        """Return the conjuncts whose columns are all of the sources in *scope*."""
        found: list[_Fact] = []
        for conjunct in conjuncts:
            leaf = self.find(conjunct.column, merged=merged)
            if leaf is None or leaf not in scope:
                continue
            if isinstance(conjunct, model.EqualOrNull):
                found.append(_Fact(leaf, conjunct.column.name, conjunct.parameter, or_null=True))
            elif isinstance(conjunct.other, model.Parameter):
                found.append(_Fact(leaf, conjunct.column.name, conjunct.other))
            else:
                other = self.find(conjunct.other, merged=merged)
                if other is not None and other in scope:
                    found += self._same(leaf, conjunct.column.name, other, conjunct.other.name)
        self.facts += found
        return found

    def _same(self, leaf: _Leaf, column: str, other: _Leaf, other_column: str) -> list[_Fact]:
        return [_Fact(leaf, column, (other, other_column)), _Fact(other, other_column, (leaf, column))]

    def _place(self, tree: _Tree, binding: list[_Fact], unpadded: list[_Fact]) -> None:
        """Give each source the facts that every row of it has to pass, going down the tree of joins."""
        if isinstance(tree, _Leaf):
            tree.binding, tree.unpadded = binding, unpadded
            return
        on = self._resolved(tree.join.on, list(_leaves(tree)), merged=False)
        for name in tree.join.using:
            left, right = self._merged(tree.left, name), self._merged(tree.right, name)
            if left is not None and right is not None:
                on += self._same(left, name, right, name)
        kept: list[_Fact] = []  # of the unpadded: none, this join puts NULLs
        below = {
            JoinKind.INNER: ((binding + on, unpadded + on), (binding + on, unpadded + on)),
            JoinKind.LEFT: ((binding, unpadded), (binding + on, on)),
            JoinKind.RIGHT: ((binding + on, on), (binding, unpadded)),
            JoinKind.FULL: ((binding, kept), (binding, kept)),
        }
        for side, facts in zip((tree.left, tree.right), below[tree.join.kind], strict=True):
            self._place(side, *facts)


class _Judge:
    """Judges the queries of one statement, and remembers what it relied on and how many tables it has met."""

    def __init__(self, tables: Tables, dialect: model.Dialect, tenant_parameters: frozenset[int] | None) -> None:
        self.tables, self.dialect, self.tenant_parameters = tables, dialect, tenant_parameters
        self.casts = _CASTS.get(tables.tenant_type.python_type, frozenset())
        self.relied_on: set[int] = set()
        self.table_count = 0

    # Queries. *visible* has the CTEs that can be named, and whether the name could mean a table as well.

    def query(self, query: model.Query, visible: Mapping[str, bool]) -> list[tuple[_Proof | model.Star | None, ...]]:
        """Judge a query; return for each of its arms or rows what the proof knows of the value in each place."""
        visible = self._with(query.ctes, visible)
        for nested in query.nested:
            self.query(nested, visible)
        match query:
            case model.Select():
                block = self._block(self._tree(query.sources, visible), query.where)
                self.table_count += len(query.locked)
                for name in query.locked:
                    if name not in [leaf.name for leaf in block.leaves]:
                        raise NotProvedError(f"OF names {name}, which is no source of its block")
                return [tuple(self._known(value, block) for value in query.outputs)]
            case model.Values():
                nothing = _Block(None, (), self.dialect)
                return [tuple(self._known(value, nothing) for value in row) for row in query.rows]
            case model.SetOperation():
                return list(itertools.chain.from_iterable(self.query(arm, visible) for arm in query.arms))
            case model.Insert():
                self._insert(query, visible)
            case model.Update():
                block = self._write_block(query.target, query.sources, query.where, visible)
                self._assign(query.assignments, block.leaves[0], block)
            case model.Delete():
                self._write_block(query.target, query.sources, query.where, visible)
            case model.Merge():
                self._merge(query, visible)
        return [(model.Star(),)]  # what RETURNING gives is not followed

    def _with(self, ctes: model.With, visible: Mapping[str, bool]) -> Mapping[str, bool]:
        """Judge the CTEs of a WITH, each with those it sees; return what the query below sees."""
        inside = dict(visible)
        names = [each.name for each in ctes.tables]
        if len(set(names)) < len(names):
            raise NotProvedError("two CTEs of one WITH have the same name")
        sees_all = ctes.is_recursive or self.dialect.sees_all_siblings
        if sees_all:
            inside |= dict.fromkeys(names, False)
        for each in ctes.tables:
            is_ambiguous = self.dialect.sees_all_siblings and self._find(None, each.name) is not None
            self.query(each.query, {**inside, each.name: is_ambiguous} if sees_all else dict(inside))
            inside[each.name] = False
        return inside

    def _tree(self, tree: model.Tree | None, visible: Mapping[str, bool]) -> _Tree | None:
        return None if tree is None else self._node(tree, visible)

    def _node(self, tree: model.Tree, visible: Mapping[str, bool]) -> _Tree:
        match tree:
            case model.Join():
                return _Node(tree, self._node(tree.left, visible), self._node(tree.right, visible))
            case model.DerivedSource():
                if tree.query is not None:
                    self.query(tree.query, visible)
                elif tree.function is not None and self.tables.named(tree.function):
                    # SQLite reads virtual tables so: FROM documents('search').
                    raise NotProvedError(f"{tree.function} is a table, but called as a function", tree.position)
                return _Leaf(tree, None)
        self.table_count += 1
        if tree.schema is None and tree.table in visible:
            if visible[tree.table]:
                raise NotProvedError(
                    f"{tree.table} names itself and a table: which one it reads is a guess", tree.position
                )
            return _Leaf(tree, None)
        return _Leaf(tree, self._described(tree))

    def _described(self, source: model.TableSource) -> TableDescription:
        description = self._find(source.schema, source.table)
        if description is None:
            name = source.table if source.schema is None else f"{source.schema}.{source.table}"
            raise NotProvedError(f"unknown table {name}", source.position)
        return description

    def _find(self, schema: str | None, name: str) -> TableDescription | None:
        """Return the description of a table, by the names the database takes for the same."""
        schemas = (schema, None) if schema == self.dialect.default_schema else (schema,)
        fold = self.dialect.fold
        for each in schemas:
            found = self.tables.find(each, name)
            if found is not None:
                return found
            alike = [
                description
                for description in self.tables.named(name)
                if fold(description.name) == name
                and (None if description.schema is None else fold(description.schema)) == each
            ]
            if len(alike) > 1:
                raise NotProvedError(f"{name} could be any of {', '.join(sorted(other.key for other in alike))}")
            if alike:
                return alike[0]
        return None

    # Restriction

    def _block(self, tree: _Tree | None, where: tuple[model.Conjunct, ...], preset: Iterable[_Leaf] = ()) -> _Block:
        """Resolve a block, and prove each of its restricted sources."""
        block = _Block(tree, where, self.dialect, preset)
        block.check_names()
        pending = [leaf for leaf in block.leaves if leaf.proof is None and self._needs_proof(leaf)]
        count = -1
        while pending and len(pending) != count:  # each round may follow equalities from what the last has proved
            count = len(pending)
            for leaf in pending:
                leaf.proof = self._proof(leaf)
            pending = [leaf for leaf in pending if leaf.proof is None]
        for leaf in pending:
            raise NotProvedError(self._missing(leaf, block), leaf.source.position)
        self.relied_on.update(leaf.proof.parameter for leaf in block.leaves if leaf.proof is not None)
        return block

    def _needs_proof(self, leaf: _Leaf) -> bool:
        return leaf.description is not None and leaf.description.is_restricted

    def _tenant_column(self, leaf: _Leaf) -> str | None:
        """Return the name of the source's tenant column, if it is still called so."""
        if leaf.description is None or leaf.description.tenant_column is None or not leaf.has_known_columns:
            return None
        return self.dialect.fold(leaf.description.tenant_column)

    def _proof(self, leaf: _Leaf) -> _Proof | None:
        column = self._tenant_column(leaf)
        if column is None or leaf.description is None:
            return None
        for fact in leaf.binding:
            if fact.leaf is not leaf or fact.column != column or fact.or_null:
                continue
            if isinstance(fact.other, model.Parameter):
                if self._is_tenant(fact.other):
                    return _Proof(fact.other.number)
            else:
                other, other_column = fact.other
                if other.proof is not None and other_column == self._tenant_column(other):
                    return _Proof(other.proof.parameter)
        if leaf.description.readable is Visible.OWN_AND_SHARED and not leaf.must_be_own:
            for fact in leaf.unpadded:
                if fact.leaf is leaf and fact.column == column and fact.or_null:
                    assert isinstance(fact.other, model.Parameter)  # noqa: S101
                    if self._is_tenant(fact.other):
                        return _Proof(fact.other.number, has_shared_rows=True)
        return None

    def _is_tenant(self, parameter: model.Parameter) -> bool:
        if parameter.number < 1 or not self.casts.issuperset(parameter.casts):
            return False
        return self.tenant_parameters is None or parameter.number in self.tenant_parameters

    def _missing(self, leaf: _Leaf, block: _Block) -> str:
        """Say what a source lacks, and what comes nearest to it."""
        description = leaf.description
        assert description is not None  # noqa: S101
        shown = description.key if leaf.name == description.name else f"{description.key} as {leaf.name}"
        column = self._tenant_column(leaf)
        if column is None:
            return f"table {shown}: its alias renames the columns, so {description.tenant_column} cannot be told"
        reason = f"table {shown}: no {leaf.name}.{column} = <the tenant's parameter> restricts it"
        near = [fact for fact in block.facts if fact.leaf is leaf and fact.column == column]
        for fact in near:
            if not isinstance(fact.other, model.Parameter):
                continue
            if not self._is_tenant(fact.other):
                cast = f", cast to {fact.other.casts[0]}" if fact.other.casts else ""
                return f"{reason}; parameter {fact.other.number}{cast} is not the tenant's"
            if fact.or_null:
                return f"{reason}; its rows without a tenant are not let through here"
            return f"{reason}; the one in ON does not, since the join keeps rows that fail it"
        return f"{reason}; it is compared with a source that is not restricted" if near else reason

    # Writes

    def _target(self, source: model.TableSource) -> _Leaf:
        """Return the target of a write. No CTE can be one: the name is a table's."""
        self.table_count += 1
        description = self._described(source)
        if description.writable is Visible.NONE:
            raise NotProvedError(f"table {description.key} ({description.kind.value}) is not written", source.position)
        return _Leaf(source, description, must_be_own=True)

    def _write_block(
        self,
        target: model.TableSource,
        sources: model.Tree | None,
        where: tuple[model.Conjunct, ...],
        visible: Mapping[str, bool],
    ) -> _Block:
        leaf, tree = self._target(target), self._tree(sources, visible)
        if tree is None or sources is None:
            return self._block(leaf, where)
        return self._block(_Node(model.Join(JoinKind.INNER, target, sources), leaf, tree), where)

    def _known(self, value: model.Value, block: _Block) -> _Proof | model.Star | None:
        """Return what is known of a value: that it is the tenant, is a proved source's tenant column, or is ``*``."""
        if isinstance(value, model.Parameter):
            return _Proof(value.number) if self._is_tenant(value) else None
        if isinstance(value, model.Column):
            leaf = block.find(value, merged=True)
            if leaf is None or leaf.proof is None or value.name != self._tenant_column(leaf):
                return None
            return _Proof(leaf.proof.parameter, has_shared_rows=True)  # an outer join may have made it NULL
        return value

    def _insert(self, query: model.Insert, visible: Mapping[str, bool]) -> None:
        target = self._target(query.target)
        rows = None if query.rows is None else self.query(query.rows, visible)
        if rows is not None and self._needs_proof(target):
            for row in rows:
                self._check_row(target, query.columns, row)
        elif self._needs_proof(target):
            raise NotProvedError(f"INSERT into {query.target.table} fills no tenant column", query.target.position)
        for upsert in query.upserts:
            leaf = _Leaf(query.target, target.description, must_be_own=True)
            excluded = model.TableSource(None, query.target.table, "excluded", False, query.target.position)
            proof = _Proof(min(self.relied_on)) if self._needs_proof(target) else None
            block = self._block(leaf, upsert.where, [_Leaf(excluded, target.description, proof=proof)])
            self._assign(upsert.assignments, leaf, block)

    def _check_row(
        self, target: _Leaf, columns: tuple[str, ...] | None, row: tuple[_Proof | model.Star | None, ...]
    ) -> None:
        """Check that a new row of a restricted table is the tenant's."""
        source, description = target.source, target.description
        assert isinstance(source, model.TableSource)  # noqa: S101
        assert description is not None  # noqa: S101
        assert description.tenant_column is not None  # noqa: S101
        tenant_column = self.dialect.fold(description.tenant_column)
        if columns is None:
            raise NotProvedError(f"INSERT into {description.key} lists no columns", source.position)
        if columns.count(tenant_column) != 1:
            raise NotProvedError(f"INSERT into {description.key} does not fill {tenant_column} once", source.position)
        place = columns.index(tenant_column)
        if any(isinstance(value, model.Star) for value in row[: place + 1]):
            raise NotProvedError(
                f"INSERT into {description.key}: * hides which value {tenant_column} gets", source.position
            )
        value = row[place] if place < len(row) else None
        # A proved column may be NULL: where that means a shared row, only the parameter will do.
        only_parameter = description.readable is Visible.OWN_AND_SHARED
        if not isinstance(value, _Proof) or (value.has_shared_rows and only_parameter):
            raise NotProvedError(
                f"INSERT into {description.key}: {tenant_column} is not the tenant's parameter", source.position
            )
        self.relied_on.add(value.parameter)

    def _assign(self, assignments: Iterable[model.Assignment], target: _Leaf, block: _Block) -> None:
        """Check that SET keeps a row with its tenant."""
        if not self._needs_proof(target):
            return
        tenant_column = self._tenant_column(target)
        for each in assignments:
            if each.column != tenant_column:
                continue
            if isinstance(each.value, model.Parameter) and self._is_tenant(each.value):
                self.relied_on.add(each.value.number)
                continue
            leaf = block.find(each.value, merged=False) if isinstance(each.value, model.Column) else None
            same = isinstance(each.value, model.Column) and each.value.name == tenant_column
            if not same or leaf not in (target, *block.preset):
                raise NotProvedError(
                    f"SET gives {tenant_column} of {target.name} a value that is not the tenant's parameter",
                    target.source.position,
                )

    def _merge(self, query: model.Merge, visible: Mapping[str, bool]) -> None:
        """
        Judge a MERGE as the outer join it is.

        Its source keeps the rows that fail ON, for NOT MATCHED, and ON binds the target: ``source LEFT JOIN target``.
        Only NOT MATCHED BY SOURCE meets rows of the target that fail ON; there its condition has to bind them.
        """
        target, sources = self._target(query.target), self._node(query.sources, visible)
        join = model.Join(JoinKind.LEFT, query.sources, query.target, query.on)
        block = self._block(_Node(join, sources, target), ())
        for action in query.actions:
            if action.when is MergeWhen.NOT_MATCHED_BY_SOURCE:
                alone = _Leaf(query.target, target.description, must_be_own=True)
                self._assign(action.assignments, alone, self._block(alone, action.condition))
            elif not action.is_insert:
                self._assign(action.assignments, target, block)
            elif self._needs_proof(target):
                nothing = _Block(None, (), self.dialect)  # only the parameter will do
                self._check_row(target, action.columns, tuple(self._known(value, nothing) for value in action.row))
