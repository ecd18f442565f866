"""Reads PostgreSQL, by PostgreSQL's own grammar (libpg_query), into the model of the proof."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from partywall.errors import SetupError
from partywall.statements.proof import _model as model
from partywall.statements.proof._model import NotProvedError

__all__ = ["DIALECT", "read"]

DIALECT = model.Dialect("public", lambda name: name, sees_all_siblings=False, groups_loosely=False)

Node = dict[str, Any]

_STATEMENTS = {"SelectStmt", "InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt"}
_JOINS = {
    "JOIN_INNER": model.JoinKind.INNER,
    "JOIN_LEFT": model.JoinKind.LEFT,
    "JOIN_RIGHT": model.JoinKind.RIGHT,
    "JOIN_FULL": model.JoinKind.FULL,
}
_WHENS = {f"MERGE_WHEN_{when.name}": when for when in model.MergeWhen}
# Casts that lose nothing, by the name in pg_catalog. Any other may make two tenants' ids equal.
_TYPES = {
    "int2": "integer",
    "int4": "integer",
    "int8": "integer",
    "numeric": "numeric",
    "text": "text",
    "varchar": "text",
    "uuid": "uuid",
}
# What each kind of node that has to do with tables may consist of. A field that is not here is not proved.
_FIELDS = {
    "SelectStmt": "targetList fromClause whereClause distinctClause groupClause groupDistinct havingClause "
    "windowClause valuesLists sortClause limitOffset limitCount limitOption lockingClause withClause op all larg rarg",
    "InsertStmt": "relation cols selectStmt onConflictClause returningList withClause override",
    "UpdateStmt": "relation targetList whereClause fromClause returningList withClause",
    "DeleteStmt": "relation usingClause whereClause returningList withClause",
    "MergeStmt": "relation sourceRelation joinCondition mergeWhenClauses returningList withClause",
    "MergeWhenClause": "matchKind commandType override condition targetList values",
    "OnConflictClause": "action infer targetList whereClause location",
    "WithClause": "ctes recursive location",
    "CommonTableExpr": "ctename aliascolnames ctematerialized ctequery search_clause cycle_clause location",
    "RangeVar": "schemaname relname inh relpersistence alias location",
    "JoinExpr": "jointype isNatural larg rarg usingClause quals",
    "RangeSubselect": "lateral subquery alias",
    "RangeFunction": "lateral ordinality is_rowsfrom functions alias coldeflist",
    "RangeTableFunc": "lateral docexpr rowexpr namespaces columns alias location",
    "JsonTable": "context_item pathspec passing columns on_error alias lateral location",
    "RangeTableSample": "relation method args repeatable location",
    "LockingClause": "lockedRels strength waitPolicy",
    "Alias": "aliasname colnames",
}
_ALLOWED = {kind: frozenset(fields.split()) for kind, fields in _FIELDS.items()}


def read(sql: str) -> model.Statement:
    """
    Read one statement.

    Raises:
        NotProvedError: It cannot be parsed, is not one statement, or has a part the proof does not know.
        SetupError: The parser is not installed.
    """
    if "\0" in sql:
        raise NotProvedError("the text holds a NUL character", sql.index("\0"))
    try:
        parser = importlib.import_module("pgparse")
    except ImportError as error:
        raise SetupError(
            "the proof reads PostgreSQL with PostgreSQL's own grammar, which is not installed.\n"
            "Install it:  pip install 'partywall[postgresql]'"
        ) from error
    try:
        statements = parser.parse(sql)
    except Exception as error:  # whatever its reason, what cannot be parsed is not proved
        raise NotProvedError(f"PostgreSQL's parser does not understand it: {error}") from error
    if len(statements) != 1:
        raise NotProvedError(f"the text holds {len(statements)} statements: the proof reads one")
    reader = _Reader(sql)
    (kind, body) = reader.unwrapped(statements[0].get("stmt"))
    if kind not in _STATEMENTS:
        raise NotProvedError(f"the proof knows no statement of the kind {kind}", 0)
    return model.Statement(reader.query({kind: body}), _count_tables(statements))


def _count_tables(value: Any) -> int:
    """Count the names of tables in a tree by a walk that knows nothing of its meaning."""
    if isinstance(value, list):
        return sum(map(_count_tables, value))
    if isinstance(value, dict):
        return ("relname" in value) + sum(map(_count_tables, value.values()))
    return 0


def _fields(reference: Node) -> tuple[str, ...] | None:
    """Return the parts of the name of a column; None if it ends in ``*``."""
    parts = [part.get("String", {}).get("sval") for part in reference.get("fields", ())]
    return None if not parts or None in parts else tuple(parts)


def _output_name(target: Node) -> str | None:
    """Return the name of an output, if it is given one or is a bare column."""
    if "name" in target:
        name: str = target["name"]
        return name
    parts = _fields(target.get("val", {}).get("ColumnRef", {}))
    return None if parts is None else parts[-1]


def _is_never(node: Node) -> bool:
    """Whether a condition is ``false``."""
    constant = node.get("A_Const", {})
    return "boolval" in constant and not constant["boolval"].get("boolval", False)


def _integer(node: Any) -> int | None:
    constant = node.get("A_Const", {}) if isinstance(node, dict) else {}
    number: int | None = constant["ival"].get("ival", 0) if "ival" in constant else None
    return number


class _Reader:
    """Reads the nodes of one text, and knows where in it they stand."""

    def __init__(self, sql: str) -> None:
        self.encoded = None if sql.isascii() else sql.encode()

    def position(self, node: Node) -> int | None:
        """Return where a node stands; PostgreSQL counts bytes."""
        offset: int = node.get("location", 0)
        if offset < 0:
            return None
        return offset if self.encoded is None else len(self.encoded[:offset].decode(errors="replace"))

    def unwrapped(self, node: Any) -> tuple[str, Node]:
        """Return the kind of a node and its fields."""
        if not isinstance(node, dict) or len(node) != 1:
            raise NotProvedError("the proof does not know a part of the statement")
        ((kind, body),) = node.items()
        return kind, body

    def check(self, kind: str, node: Node) -> Node:
        """Return a node that has no field but those the proof knows."""
        unknown = sorted(node.keys() - _ALLOWED[kind])
        if unknown:
            raise NotProvedError(f"the proof does not know {unknown[0]} of {kind}", self.position(node))
        return node

    # Statements

    def query(self, node: Any) -> model.Query:
        kind, body = self.unwrapped(node)
        match kind:
            case "SelectStmt":
                return self.select(body)
            case "InsertStmt":
                return self.insert(body)
            case "UpdateStmt":
                return self.update(body)
            case "DeleteStmt":
                return self.delete(body)
            case "MergeStmt":
                return self.merge(body)
        raise NotProvedError(f"the proof does not know {kind} as a query", self.position(body))

    def select(self, body: Node) -> model.Query:
        if "intoClause" in body:
            raise NotProvedError("SELECT INTO makes a table", self.position(body["intoClause"].get("rel", {})))
        self.check("SelectStmt", body)
        ctes = self.ctes(body)
        if body.get("op", "SETOP_NONE") != "SETOP_NONE":
            arms = (self.select(body["larg"]), self.select(body["rarg"]))
            others = {field: value for field, value in body.items() if field not in ("larg", "rarg", "withClause")}
            return model.SetOperation(ctes, arms, self.nested(others))
        if "valuesLists" in body:
            rows = tuple(tuple(map(self.value, self.unwrapped(row)[1].get("items", ()))) for row in body["valuesLists"])
            others = {field: value for field, value in body.items() if field != "withClause"}
            return model.Values(ctes, rows, self.nested(others))
        locks = [self.check("LockingClause", self.unwrapped(each)[1]) for each in body.get("lockingClause", ())]
        locked = tuple(
            self.table(self.unwrapped(name)[1]).table for lock in locks for name in lock.get("lockedRels", ())
        )
        sources = self.from_list(body.get("fromClause", []))
        targets = [self.unwrapped(each)[1] for each in body.get("targetList", ())]
        outputs = tuple(self.value(each.get("val")) for each in targets)
        apart = ("withClause", "lockingClause", "fromClause")
        others = {field: value for field, value in body.items() if field not in apart}
        nested = self.nested(others) + self.nested_in_sources(body.get("fromClause", []))
        where, names = self.conjuncts(body.get("whereClause")), tuple(map(_output_name, targets))
        has_grouping_sets = any("GroupingSet" in each for each in body.get("groupClause", ()))
        return model.Select(ctes, sources, where, outputs, locked, nested, names, has_grouping_sets)

    def insert(self, body: Node) -> model.Query:
        self.check("InsertStmt", body)
        ctes, target = self.ctes(body), self.table(body["relation"])
        if body.get("override") not in ("OVERRIDING_NOT_SET", "OVERRIDING_SYSTEM_VALUE"):
            raise NotProvedError("INSERT ... OVERRIDING USER VALUE drops values", target.position)
        rows = self.query(body["selectStmt"]) if "selectStmt" in body else None
        upserts: tuple[model.Upsert, ...] = ()
        conflict = body.get("onConflictClause")
        if conflict is not None:
            action = self.check("OnConflictClause", conflict).get("action")
            if action == "ONCONFLICT_UPDATE":
                where = self.conjuncts(conflict.get("whereClause"))
                upserts = (model.Upsert(self.assignments(conflict), where),)
            elif action != "ONCONFLICT_NOTHING":
                raise NotProvedError(f"the proof does not know {action}", self.position(conflict))
        nested = self.nested([body.get("onConflictClause"), body.get("returningList"), body.get("cols")])
        return model.Insert(ctes, target, self.columns(body.get("cols")), rows, upserts, nested)

    def update(self, body: Node) -> model.Query:
        self.check("UpdateStmt", body)
        ctes, target, items = self.ctes(body), self.table(body["relation"]), body.get("fromClause", [])
        nested = self.nested([body.get("targetList"), body.get("whereClause"), body.get("returningList")])
        return model.Update(
            ctes,
            target,
            self.from_list(items),
            self.assignments(body),
            self.conjuncts(body.get("whereClause")),
            nested + self.nested_in_sources(items),
        )

    def delete(self, body: Node) -> model.Query:
        self.check("DeleteStmt", body)
        ctes, target, items = self.ctes(body), self.table(body["relation"]), body.get("usingClause", [])
        nested = self.nested([body.get("whereClause"), body.get("returningList")]) + self.nested_in_sources(items)
        return model.Delete(ctes, target, self.from_list(items), self.conjuncts(body.get("whereClause")), nested)

    def merge(self, body: Node) -> model.Query:
        self.check("MergeStmt", body)
        ctes, target, source = self.ctes(body), self.table(body["relation"]), body["sourceRelation"]
        actions = tuple(
            self.merge_action(self.check("MergeWhenClause", self.unwrapped(each)[1]))
            for each in body.get("mergeWhenClauses", ())
            if self.unwrapped(each)[1].get("commandType") != "CMD_NOTHING"
        )
        nested = self.nested([body.get("joinCondition"), body.get("mergeWhenClauses"), body.get("returningList")])
        on = self.conjuncts(body.get("joinCondition"))
        return model.Merge(ctes, target, self.tree(source), on, actions, nested + self.nested_in_sources([source]))

    def merge_action(self, clause: Node) -> model.MergeAction:
        command = clause.get("commandType")
        if clause.get("matchKind") not in _WHENS or command not in ("CMD_INSERT", "CMD_UPDATE", "CMD_DELETE"):
            raise NotProvedError("the proof does not know a WHEN of the MERGE")
        if clause.get("override") not in ("OVERRIDING_NOT_SET", "OVERRIDING_SYSTEM_VALUE"):
            raise NotProvedError("MERGE ... OVERRIDING USER VALUE drops values")
        is_insert = command == "CMD_INSERT"
        return model.MergeAction(
            _WHENS[clause["matchKind"]],
            self.conjuncts(clause.get("condition")),
            () if is_insert else self.assignments(clause),
            is_insert,
            self.columns(clause.get("targetList")) if is_insert else None,
            tuple(map(self.value, clause.get("values", ()))),
        )

    def ctes(self, body: Node) -> model.With:
        clause = body.get("withClause")
        if clause is None:
            return model.With()
        self.check("WithClause", clause)
        ctes = [self.check("CommonTableExpr", self.unwrapped(each)[1]) for each in clause["ctes"]]
        tables = tuple(model.CommonTable(each["ctename"], self.query(each["ctequery"])) for each in ctes)
        return model.With(clause.get("recursive", False), tables)

    def columns(self, targets: list[Node] | None) -> tuple[str, ...] | None:
        """Return the list of columns of an INSERT; a part of a column (``a.b``, ``a[1]``) is no column."""
        if targets is None:
            return None
        bodies = [self.unwrapped(each)[1] for each in targets]
        for each in bodies:
            if "indirection" in each:
                raise NotProvedError(f"INSERT fills a part of the column {each['name']}", self.position(each))
        return tuple(each["name"] for each in bodies)

    def assignments(self, body: Node) -> tuple[model.Assignment, ...]:
        bodies = [self.unwrapped(each)[1] for each in body.get("targetList", ())]
        return tuple(
            model.Assignment(each["name"], None if "indirection" in each else self.value(each.get("val")))
            for each in bodies
        )

    # Sources

    def from_list(self, items: list[Node]) -> model.Tree | None:
        tree: model.Tree | None = None
        for item in items:
            right = self.tree(item)
            tree = right if tree is None else model.Join(model.JoinKind.INNER, tree, right)
        return tree

    def tree(self, node: Any) -> model.Tree:
        kind, body = self.unwrapped(node)
        if kind == "JoinExpr" and "alias" in body:
            raise NotProvedError("a join in parentheses with a name hides the names of its tables")
        if kind not in _ALLOWED:
            raise NotProvedError(f"the proof does not know {kind} as a source", self.position(body))
        self.check(kind, body)
        match kind:
            case "RangeVar":
                return self.table(body)
            case "RangeTableSample":
                return self.tree(body["relation"])
            case "JoinExpr":
                return self.join(body)
            case "RangeSubselect":
                name, columns = self.alias(body, None)
                return model.DerivedSource(name, self.query(body["subquery"]), None, columns=columns)
            case "RangeFunction":
                called = self.called(body)
                return model.DerivedSource(self.alias(body, called)[0], None, None, called)
            case "RangeTableFunc":
                return model.DerivedSource(self.alias(body, "xmltable")[0], None, self.position(body))
            case "JsonTable":
                return model.DerivedSource(self.alias(body, "json_table")[0], None, self.position(body))
        raise NotProvedError(f"the proof does not know {kind} as a source", self.position(body))

    def join(self, body: Node) -> model.Join:
        kind = _JOINS.get(body.get("jointype", ""))
        if kind is None:
            raise NotProvedError(f"the proof does not know {body.get('jointype')}")
        using = tuple(self.unwrapped(name)[1]["sval"] for name in body.get("usingClause", ()))
        on = self.conjuncts(body.get("quals"))
        return model.Join(
            kind, self.tree(body["larg"]), self.tree(body["rarg"]), on, using, body.get("isNatural", False)
        )

    def table(self, body: Node) -> model.TableSource:
        self.check("RangeVar", body)
        name, columns = self.alias(body, None)
        return model.TableSource(body.get("schemaname"), body["relname"], name, bool(columns), self.position(body))

    def alias(self, body: Node, default: str | None) -> tuple[str | None, tuple[str, ...]]:
        """Return the name a source goes by, and the names that the first of its columns go by."""
        alias = body.get("alias")
        if alias is None:
            return default, ()
        self.check("Alias", alias)
        return alias["aliasname"], tuple(self.unwrapped(name)[1]["sval"] for name in alias.get("colnames", ()))

    def called(self, body: Node) -> str | None:
        """Return the name of the function in FROM, which the source goes by if it has no other."""
        for value in body.get("functions", ()):
            for item in value.get("List", {}).get("items", ()):
                parts = item.get("FuncCall", {}).get("funcname") if isinstance(item, dict) else None
                if parts:
                    name: str | None = parts[-1].get("String", {}).get("sval")
                    return name
        return None

    # Expressions

    def conjuncts(self, node: Any) -> tuple[model.Conjunct, ...]:
        """Return the conjuncts of a condition that could restrict a source."""
        return tuple(self._conjuncts(node))

    def _conjuncts(self, node: Any) -> Iterator[model.Conjunct]:
        if not isinstance(node, dict):
            return
        junction = node.get("BoolExpr", {})
        arms = junction.get("args", ())
        if junction.get("boolop") == "AND_EXPR":
            for arm in arms:
                yield from self._conjuncts(arm)
        elif junction.get("boolop") == "OR_EXPR" and len(arms) == 2:  # noqa: PLR2004  # (a = p OR a IS NULL)
            for first, second in (arms, arms[::-1]):
                equal, tested = self.equal(first), second.get("NullTest", {})
                column = self.value(tested.get("arg")) if tested.get("nulltesttype") == "IS_NULL" else None
                if (
                    isinstance(equal, model.Equal)
                    and isinstance(equal.other, model.Parameter)
                    and column == equal.column
                ):
                    yield model.EqualOrNull(equal.column, equal.other)
        elif _is_never(node):
            yield model.Never()
        else:
            equal = self.equal(node)
            if equal is not None:
                yield equal

    def equal(self, node: Node) -> model.Equal | model.Never | None:
        comparison = node.get("A_Expr", {})
        if comparison.get("kind") != "AEXPR_OP" or comparison.get("name") != [{"String": {"sval": "="}}]:
            return None
        numbers = _integer(comparison.get("lexpr")), _integer(comparison.get("rexpr"))
        if None not in numbers:
            return model.Never() if numbers[0] != numbers[1] else None
        left, right = self.value(comparison.get("lexpr")), self.value(comparison.get("rexpr"))
        if isinstance(left, model.Column) and isinstance(right, (model.Column, model.Parameter)):
            return model.Equal(left, right)
        if isinstance(left, model.Parameter) and isinstance(right, model.Column):
            return model.Equal(right, left)
        return None

    def value(self, node: Any) -> model.Value:
        """Return what an expression is, if it is a column or a parameter (in casts) or ``*``."""
        if not isinstance(node, dict):
            return None
        casts: list[str] = []
        while "TypeCast" in node:
            casts.append(self.type_name(node["TypeCast"].get("typeName", {})))
            node = node["TypeCast"].get("arg", {})
        if "ColumnRef" in node:
            parts = _fields(node["ColumnRef"])
            if parts is None:
                return model.Star()
            column = model.Column(parts[:-1], parts[-1])
            return model.CastColumn(column, tuple(casts)) if casts else column
        if "ParamRef" in node:
            return model.Parameter(node["ParamRef"].get("number", 0), tuple(casts))
        steps = node.get("A_Indirection", {}).get("indirection", [{}])
        return model.Star() if "A_Star" in steps[-1] else None  # (row).* is as many columns as the row has

    def type_name(self, node: Node) -> str:
        names = [part.get("String", {}).get("sval") for part in node.get("names", ())]
        if names[:-1] not in ([], ["pg_catalog"]) or node.keys() - {"names", "typemod", "location"}:
            return "other"  # varchar(3) cuts an id short
        return _TYPES.get(names[-1], "other") if names else "other"

    def nested(self, value: Any) -> tuple[model.Query, ...]:
        """Return the queries in an expression, wherever they stand in it."""
        found: list[model.Query] = []
        pending = [value]
        while pending:
            each = pending.pop()
            if isinstance(each, list):
                pending.extend(each)
            elif isinstance(each, dict):
                for field, inner in each.items():
                    if field in _STATEMENTS:
                        found.append(self.query({field: inner}))
                    else:
                        pending.append(inner)
        return tuple(reversed(found))

    def nested_in_sources(self, items: list[Node]) -> tuple[model.Query, ...]:
        """Return the queries in ON, the arguments of functions and of TABLESAMPLE: all but the sources themselves."""
        found: tuple[model.Query, ...] = ()
        for item in items:
            kind, body = self.unwrapped(item)
            if kind == "JoinExpr":
                found += self.nested_in_sources([body["larg"], body["rarg"]]) + self.nested(body.get("quals"))
            elif kind == "RangeTableSample":
                found += self.nested_in_sources([body["relation"]])
                found += self.nested([body.get("args"), body.get("repeatable")])
            elif kind != "RangeSubselect":
                found += self.nested(body)
        return found
