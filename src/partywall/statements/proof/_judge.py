"""Judges a statement of the model: is every use of a restricted table restricted to the tenant?"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import replace

from partywall.statements.proof import _model as model
from partywall.statements.proof._block import Block, Leaf, Node, Proof, TenantParameters, Tree, tenant_column_of
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


_Known = Proof | model.Star | None


def _nullable(value: _Known) -> _Known:
    return replace(value, has_shared_rows=True) if isinstance(value, Proof) else value


def _names(query: model.Query) -> tuple[str | None, ...]:
    """Return the names of the columns of a query, as far as they are certain; those of VALUES never are."""
    while isinstance(query, model.SetOperation):
        query = query.arms[0]
    return query.names if isinstance(query, model.Select) else ()


def _outputs(source: model.DerivedSource, rows: list[tuple[_Known, ...]]) -> Mapping[str, Proof | None] | None:
    """Return the columns of a derived query by name, with what is known of each in all *rows*; None if uncertain."""
    if source.query is None or source.columns is None or any(model.Star() in row for row in rows):
        return None
    # The alias may have more names than there are values: SQLAlchemy adds the counter of rows when it executes.
    names = [*source.columns, *_names(source.query)[len(source.columns) :]]
    if len(set(names)) < len(names) or any(len(names) < len(row) for row in rows):
        return None
    found: dict[str, Proof | None] = {}
    for place, name in enumerate(names):
        if name is None:
            return None
        found[name] = _in_all([row[place] if place < len(row) else None for row in rows])
    return found


def _in_all(values: list[_Known]) -> Proof | None:
    """Return what is known of a column that has one of the values in each row."""
    proofs = [value for value in values if isinstance(value, Proof)]
    if not proofs or len(proofs) < len(values):
        return None
    parameters = frozenset[int]().union(*(proof.parameters for proof in proofs))
    return Proof(parameters, has_shared_rows=any(proof.has_shared_rows for proof in proofs))


class _Judge:
    """Judges the queries of one statement, and remembers what it relied on and how many tables it has met."""

    def __init__(self, tables: Tables, dialect: model.Dialect, tenant_parameters: frozenset[int] | None) -> None:
        self.tables, self.dialect = tables, dialect
        self.tenant = TenantParameters(tenant_parameters, _CASTS.get(tables.tenant_type.python_type, frozenset()))
        self.relied_on: set[int] = set()
        self.table_count = 0

    # Queries. *visible* has the CTEs that can be named, and whether the name could mean a table as well.

    def query(self, query: model.Query, visible: Mapping[str, bool]) -> list[tuple[_Known, ...]]:
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
                known = tuple(self._known(value, block) for value in query.outputs)
                return [tuple(map(_nullable, known)) if query.has_grouping_sets else known]
            case model.Values():
                nothing = self._block(None, ())
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

    def _tree(self, tree: model.Tree | None, visible: Mapping[str, bool]) -> Tree | None:
        return None if tree is None else self._node(tree, visible)

    def _node(self, tree: model.Tree, visible: Mapping[str, bool]) -> Tree:
        match tree:
            case model.Join():
                return Node(tree, self._node(tree.left, visible), self._node(tree.right, visible))
            case model.DerivedSource():
                if tree.query is not None:
                    return Leaf(tree, None, outputs=_outputs(tree, self.query(tree.query, visible)))
                if tree.function is not None and self.tables.named(tree.function):
                    # SQLite reads virtual tables so: FROM documents('search').
                    raise NotProvedError(f"{tree.function} is a table, but called as a function", tree.position)
                return Leaf(tree, None)
        self.table_count += 1
        if tree.schema is None and tree.table in visible:
            if visible[tree.table]:
                raise NotProvedError(
                    f"{tree.table} names itself and a table: which one it reads is a guess", tree.position
                )
            return Leaf(tree, None)
        return Leaf(tree, self._described(tree))

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

    def _block(self, tree: Tree | None, where: tuple[model.Conjunct, ...], preset: Iterable[Leaf] = ()) -> Block:
        block = Block(tree, where, self.dialect, self.tenant, preset)
        self.relied_on |= block.relied_on
        return block

    # Writes

    def _target(self, source: model.TableSource) -> Leaf:
        """Return the target of a write. No CTE can be one: the name is a table's."""
        self.table_count += 1
        description = self._described(source)
        if description.writable is Visible.NONE:
            raise NotProvedError(f"table {description.key} ({description.kind.value}) is not written", source.position)
        return Leaf(source, description, must_be_own=True)

    def _write_block(
        self,
        target: model.TableSource,
        sources: model.Tree | None,
        where: tuple[model.Conjunct, ...],
        visible: Mapping[str, bool],
    ) -> Block:
        leaf, tree = self._target(target), self._tree(sources, visible)
        if tree is None or sources is None:
            return self._block(leaf, where)
        return self._block(Node(model.Join(JoinKind.INNER, target, sources), leaf, tree), where)

    def _known(self, value: model.Value, block: Block) -> _Known:
        """Return what is known of a value: that it is the tenant (or may be NULL), or is ``*``."""
        match value:
            case model.Parameter():
                return Proof(frozenset({value.number})) if self.tenant.has(value) else None
            case model.Column():
                leaf = block.find(value, merged=True)
                proof = None if leaf is None else block.proof_of(leaf, value.name)
                if leaf is None or proof is None:
                    return None
                return _nullable(proof) if leaf.is_padded or self.dialect.groups_loosely else proof
            case model.CastColumn():
                return self._known(value.column, block) if self.tenant.casts.issuperset(value.casts) else None
        return value

    def _insert(self, query: model.Insert, visible: Mapping[str, bool]) -> None:
        target = self._target(query.target)
        rows = None if query.rows is None else self.query(query.rows, visible)
        if rows is not None and target.needs_proof:
            for row in rows:
                self._check_row(target, query.columns, row)
        elif target.needs_proof:
            raise NotProvedError(f"INSERT into {query.target.table} fills no tenant column", query.target.position)
        for upsert in query.upserts:
            leaf = Leaf(query.target, target.description, must_be_own=True)
            excluded = model.TableSource(None, query.target.table, "excluded", False, query.target.position)
            proof = Proof(frozenset(self.relied_on)) if target.needs_proof else None
            block = self._block(leaf, upsert.where, [Leaf(excluded, target.description, proof=proof)])
            self._assign(upsert.assignments, leaf, block)

    def _check_row(self, target: Leaf, columns: tuple[str, ...] | None, row: tuple[_Known, ...]) -> None:
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
        if not isinstance(value, Proof) or (value.has_shared_rows and only_parameter):
            raise NotProvedError(
                f"INSERT into {description.key}: {tenant_column} is not the tenant's parameter", source.position
            )
        self.relied_on |= value.parameters

    def _assign(self, assignments: Iterable[model.Assignment], target: Leaf, block: Block) -> None:
        """Check that SET keeps a row with its tenant."""
        if not target.needs_proof:
            return
        tenant_column = tenant_column_of(target, self.dialect)
        for each in assignments:
            if each.column != tenant_column:
                continue
            if isinstance(each.value, model.Parameter) and self.tenant.has(each.value):
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
        block = self._block(Node(join, sources, target), ())
        for action in query.actions:
            if action.when is MergeWhen.NOT_MATCHED_BY_SOURCE:
                alone = Leaf(query.target, target.description, must_be_own=True)
                self._assign(action.assignments, alone, self._block(alone, action.condition))
            elif not action.is_insert:
                self._assign(action.assignments, target, block)
            elif target.needs_proof:
                nothing = self._block(None, ())  # only the parameter will do
                self._check_row(target, action.columns, tuple(self._known(value, nothing) for value in action.row))
