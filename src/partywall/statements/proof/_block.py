"""
One block: its sources at their places in the tree of joins, and which of them its conjuncts restrict to the tenant.

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
has then no rows but the tenant's, the one implies the other. It does so at once where ``a`` is a derived query that has
the tenant's parameter in that column of all its rows.

What never holds (``false``, ``0 = 1``) is null-rejecting for every source, and restricts it to no rows at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from partywall.statements.proof import _model as model
from partywall.statements.proof._model import JoinKind, NotProvedError
from partywall.tables import TableDescription, Visible

__all__ = ["Block", "Leaf", "Node", "Proof", "TenantParameters", "Tree", "tenant_column_of"]


@dataclass(frozen=True, slots=True)
class TenantParameters:
    """Which parameters are the tenant: those of *numbers*, or all if it is None, in *casts* that keep ids apart."""

    numbers: frozenset[int] | None
    casts: frozenset[str]

    def has(self, parameter: model.Parameter) -> bool:
        if parameter.number < 1 or not self.casts.issuperset(parameter.casts):
            return False
        return self.numbers is None or parameter.number in self.numbers


@dataclass(frozen=True, slots=True)
class Proof:
    """A source has the tenant's rows alone, by one of the parameters (by none if it has no rows); or the shared too."""

    parameters: frozenset[int]
    has_shared_rows: bool = False


@dataclass(eq=False, slots=True)
class Leaf:
    """
    A source of a block, at its place in the tree of joins. Compared by identity.

    *outputs* has the columns of a derived query by name, with the proof of those that are the tenant in every row (or
    NULL, if it has shared rows); it is None where the names cannot be told.
    """

    source: model.TableSource | model.DerivedSource
    description: TableDescription | None  # None: not a table
    must_be_own: bool = False  # the target of a write
    outputs: Mapping[str, Proof | None] | None = None
    proof: Proof | None = None
    is_padded: bool = False  # a join puts NULLs for it
    binding: list[_Fact] = field(default_factory=list)  # what every row of it has to pass
    unpadded: list[_Fact] = field(default_factory=list)  # those with no join between that puts NULLs for it

    @property
    def name(self) -> str | None:
        return self.source.name

    @property
    def needs_proof(self) -> bool:
        return self.description is not None and self.description.is_restricted

    @property
    def has_known_columns(self) -> bool:
        if self.description is None:
            return self.outputs is not None
        return isinstance(self.source, model.TableSource) and not self.source.renames_columns


@dataclass(frozen=True, slots=True)
class Node:
    """A join, with leaves instead of sources."""

    join: model.Join
    left: Tree
    right: Tree


Tree = Leaf | Node


@dataclass(frozen=True, slots=True)
class _Fact:
    """
    A conjunct with its names resolved: *column* of *leaf* equals the parameter, or another column (or is NULL).

    *other* is None for what never holds.
    """

    leaf: Leaf
    column: str
    other: model.Parameter | tuple[Leaf, str] | None
    or_null: bool = False


def _leaves(tree: Tree | None) -> Iterator[Leaf]:
    if isinstance(tree, Leaf):
        yield tree
    elif tree is not None:
        yield from _leaves(tree.left)
        yield from _leaves(tree.right)


def tenant_column_of(leaf: Leaf, dialect: model.Dialect) -> str | None:
    """Return the name of the source's tenant column, if it is still called so."""
    if leaf.description is None or leaf.description.tenant_column is None or not leaf.has_known_columns:
        return None
    return dialect.fold(leaf.description.tenant_column)


class Block:
    """
    The sources of one block, and what its conjuncts say of them.

    Raises:
        NotProvedError: One of its restricted sources is not restricted, or two have the same name.
    """

    def __init__(
        self,
        tree: Tree | None,
        where: tuple[model.Conjunct, ...],
        dialect: model.Dialect,
        tenant: TenantParameters,
        preset: Iterable[Leaf] = (),
    ) -> None:
        self.tree, self.dialect, self.tenant = tree, dialect, tenant
        self.preset = list(preset)  # EXCLUDED
        self.leaves = [*_leaves(tree), *self.preset]
        self.facts: list[_Fact] = []  # all of them, wherever they stand: for the reason
        where_facts = self._resolved(where, self.leaves, merged=True)
        if tree is not None:
            self._place(tree, where_facts, where_facts, is_padded=False)
        self._check_names()
        self._restrict()

    @property
    def relied_on(self) -> frozenset[int]:
        return frozenset[int]().union(*(leaf.proof.parameters for leaf in self.leaves if leaf.proof is not None))

    def proof_of(self, leaf: Leaf, column: str) -> Proof | None:
        """Return why a column of a source is the tenant in all its rows, or NULL; None if it is not known to be."""
        if leaf.outputs is not None:
            return leaf.outputs.get(column)
        return leaf.proof if column == tenant_column_of(leaf, self.dialect) else None

    # Names

    def find(self, column: model.Column, *, merged: bool) -> Leaf | None:
        """Return the source a column is of, if that is certain; *merged* where USING has made two columns one."""
        if not column.qualifier:
            return self._find_unqualified(column.name, merged=merged)
        *schema, name = column.qualifier
        found = [leaf for leaf in self.leaves if leaf.name == name]
        if schema:
            found = [leaf for leaf in found if self._schema(leaf) == self._without_default(schema[0])]
        return found[0] if len(found) == 1 and len(schema) <= 1 else None

    def _find_unqualified(self, name: str, *, merged: bool) -> Leaf | None:
        if not all(leaf.has_known_columns for leaf in self.leaves):
            return None
        found = [leaf for leaf in self.leaves if self._has_column(leaf, name)]
        if len(found) == 1:
            return found[0]
        return self._merged(self.tree, name) if merged and self.tree is not None and not self.preset else None

    def _merged(self, tree: Tree, name: str) -> Leaf | None:
        """Return the source whose column a name means after joins with USING; None if unknown or none has it."""
        if isinstance(tree, Leaf):
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

    def _has_column(self, leaf: Leaf, name: str) -> bool:
        description = leaf.description
        if leaf.outputs is not None:
            return name in leaf.outputs
        return description is not None and any(self.dialect.fold(column) == name for column in description.columns)

    def _without_default(self, schema: str | None) -> str | None:
        return None if schema == self.dialect.default_schema else schema

    def _schema(self, leaf: Leaf) -> str | None:
        """Return the schema a source may be called by: an alias has none."""
        source = leaf.source
        if not isinstance(source, model.TableSource) or source.alias is not None or leaf.description is None:
            return "\0"
        return self._without_default(source.schema)

    def _check_names(self) -> None:
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

    def _resolved(self, conjuncts: Iterable[model.Conjunct], scope: list[Leaf], *, merged: bool) -> list[_Fact]:
        """Return the conjuncts whose columns are all of the sources in *scope*."""
        found: list[_Fact] = []
        for conjunct in conjuncts:
            if isinstance(conjunct, model.Never):
                found += [_Fact(each, "", None) for each in scope]
                continue
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

    def _same(self, leaf: Leaf, column: str, other: Leaf, other_column: str) -> list[_Fact]:
        return [_Fact(leaf, column, (other, other_column)), _Fact(other, other_column, (leaf, column))]

    def _place(self, tree: Tree, binding: list[_Fact], unpadded: list[_Fact], *, is_padded: bool) -> None:
        """Give each source the facts that every row of it has to pass, going down the tree of joins."""
        if isinstance(tree, Leaf):
            tree.binding, tree.unpadded, tree.is_padded = binding, unpadded, is_padded
            return
        on = self._resolved(tree.join.on, list(_leaves(tree)), merged=False)
        for name in tree.join.using:
            left, right = self._merged(tree.left, name), self._merged(tree.right, name)
            if left is not None and right is not None:
                on += self._same(left, name, right, name)
        kept: list[_Fact] = []  # of the unpadded: none, this join puts NULLs
        inner = (binding + on, unpadded + on, is_padded)
        below = {
            JoinKind.INNER: (inner, inner),
            JoinKind.LEFT: ((binding, unpadded, is_padded), (binding + on, on, True)),
            JoinKind.RIGHT: ((binding + on, on, True), (binding, unpadded, is_padded)),
            JoinKind.FULL: ((binding, kept, True), (binding, kept, True)),
        }
        for side, (bound, not_padded, padded) in zip((tree.left, tree.right), below[tree.join.kind], strict=True):
            self._place(side, bound, not_padded, is_padded=padded)

    # Restriction

    def _restrict(self) -> None:
        """Prove each of the restricted sources."""
        pending = [leaf for leaf in self.leaves if leaf.proof is None and leaf.needs_proof]
        count = -1
        while pending and len(pending) != count:  # each round may follow equalities from what the last has proved
            count = len(pending)
            for leaf in pending:
                leaf.proof = self._proof(leaf)
            pending = [leaf for leaf in pending if leaf.proof is None]
        for leaf in pending:
            raise NotProvedError(self._missing(leaf), leaf.source.position)

    def _proof(self, leaf: Leaf) -> Proof | None:
        column = tenant_column_of(leaf, self.dialect)
        for fact in leaf.binding:
            if fact.leaf is not leaf:
                continue
            if fact.other is None:
                return Proof(frozenset())
            if column is None or fact.column != column or fact.or_null:
                continue
            if isinstance(fact.other, model.Parameter):
                if self.tenant.has(fact.other):
                    return Proof(frozenset({fact.other.number}))
            else:
                proof = self.proof_of(*fact.other)
                if proof is not None:
                    return Proof(proof.parameters)
        if leaf.description is None or leaf.description.readable is not Visible.OWN_AND_SHARED or leaf.must_be_own:
            return None
        for fact in leaf.unpadded:
            if fact.leaf is leaf and fact.column == column and fact.or_null:
                assert isinstance(fact.other, model.Parameter)  # noqa: S101
                if self.tenant.has(fact.other):
                    return Proof(frozenset({fact.other.number}), has_shared_rows=True)
        return None

    def _missing(self, leaf: Leaf) -> str:
        """Say what a source lacks, and what comes nearest to it."""
        description = leaf.description
        assert description is not None  # noqa: S101
        shown = description.key if leaf.name == description.name else f"{description.key} as {leaf.name}"
        column = tenant_column_of(leaf, self.dialect)
        if column is None:
            return f"table {shown}: its alias renames the columns, so {description.tenant_column} cannot be told"
        reason = f"table {shown}: no {leaf.name}.{column} = <the tenant's parameter> restricts it"
        near = [fact for fact in self.facts if fact.leaf is leaf and fact.column == column]
        for fact in near:
            if not isinstance(fact.other, model.Parameter):
                continue
            if not self.tenant.has(fact.other):
                cast = f", cast to {fact.other.casts[0]}" if fact.other.casts else ""
                return f"{reason}; parameter {fact.other.number}{cast} is not the tenant's"
            if fact.or_null:
                return f"{reason}; its rows without a tenant are not let through here"
            return f"{reason}; the one in ON does not, since the join keeps rows that fail it"
        return f"{reason}; it is compared with a source that is not restricted" if near else reason
