"""
Statements that are beyond our parser, but scoped by hand: they run as they stand.

For PostgreSQL, whose own grammar reads them. The proof has to find them scoped by parameters of the application's,
which are compared with the tenant in scope at each execution; functions, operators and types are held to the same lists
as everywhere.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from partywall.errors import RefusedStatementError
from partywall.statements.functions import RESERVED_COLUMNS, reads_catalogs
from partywall.statements.proof import prove
from partywall.statements.rules import Vocabulary
from partywall.statements.text import TENANT, Given, Marked, Piece, ScopedText

__all__ = ["scoped_by_hand"]

_HAS_GRAMMAR = find_spec("pgparse") is not None
_MARK = re.compile(r":partywall_mark_(\d+)")

_KNOWN = frozenset(
    [
        "SelectStmt",
        "InsertStmt",
        "UpdateStmt",
        "DeleteStmt",
        "MergeStmt",
        "MergeWhenClause",
        "RawStmt",
        "ResTarget",
        "ColumnRef",
        "A_Star",
        "String",
        "Integer",
        "Float",
        "Boolean",
        "BitString",
        "A_Const",
        "A_Expr",
        "BoolExpr",
        "NullTest",
        "BooleanTest",
        "SubLink",
        "ParamRef",
        "SortBy",
        "WindowDef",
        "CaseExpr",
        "CaseWhen",
        "CoalesceExpr",
        "MinMaxExpr",
        "A_ArrayExpr",
        "A_Indices",
        "RowExpr",
        "List",
        "Alias",
        "RangeVar",
        "RangeSubselect",
        "RangeFunction",
        "RangeTableSample",
        "JoinExpr",
        "WithClause",
        "CommonTableExpr",
        "CTESearchClause",
        "CTECycleClause",
        "GroupingSet",
        "GroupingFunc",
        "CollateClause",
        "SQLValueFunction",
        "LockingClause",
        "OnConflictClause",
        "InferClause",
        "IndexElem",
        "MultiAssignRef",
        "SetToDefault",
        "NamedArgExpr",
        "TypeName",
        "TypeCast",
        "FuncCall",
        "ColumnDef",
    ]
)


def scoped_by_hand(marked: Marked, vocabulary: Vocabulary) -> ScopedText | None:
    """
    Return a text as it stands, if it is proved to be scoped by hand; None if it is not.

    Args:
        marked: The text, with marks for its parameters.
        vocabulary: What it may be made of.
    """
    if vocabulary.dialect != "postgresql" or not _HAS_GRAMMAR:
        return None
    sql = _MARK.sub(lambda found: f"${int(found.group(1)) + 1}", marked.sql)
    verdict = prove(sql, vocabulary.tables, dialect="postgresql", tenant_parameters=None)
    if not verdict.is_proved or not verdict.relied_on:
        return None
    parameters = []
    try:
        for kind, node in _nodes(importlib.import_module("pgparse").parse(sql)):
            if kind not in _KNOWN:
                return None
            _RULES.get(kind, _plain)(node, vocabulary)
            if kind == "ParamRef":
                parameters.append(node.get("number", 0))
    except RefusedStatementError:
        return None
    if sorted(parameters) != list(range(1, len(marked.names) + 1)):
        return None  # one stands in quotes or in a comment, or was written by the application as $1
    pieces: list[Piece] = []
    for position, part in enumerate(_MARK.split(marked.sql)):
        # What the proof relied on is sent as the tenant's own parameter, and what was given for it is compared.
        is_tenant = position % 2 == 1 and int(part) + 1 in verdict.relied_on
        pieces.append(TENANT if is_tenant else int(part) if position % 2 else part)
    used = {each.key: each for each in vocabulary.tables.by_name.values() if each.is_restricted}
    given = tuple(Given(number - 1, None, "the statement", "its tenant", None) for number in sorted(verdict.relied_on))
    return ScopedText(tuple(piece for piece in pieces if piece != ""), marked.names, used, {}, given)


def _nodes(tree: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return every node of a tree with its kind, which libpg_query writes with a capital."""
    waiting = [tree]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            for key, value in each.items():
                kind = key if key[:1].isupper() else _UNWRAPPED.get(key)
                if kind is not None and isinstance(value, dict):
                    yield kind, value
                waiting.append(value)


_UNWRAPPED = {"typeName": "TypeName", "larg": "SelectStmt", "rarg": "SelectStmt"}
"""Where libpg_query leaves the kind of a node out, since it can be but one."""


def _names(parts: Any) -> list[str]:
    return [str(part["String"].get("sval", "")) for part in parts or () if "String" in part]


def _plain(node: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    """No more than its parts."""


def _refuse_unless(allowed: object) -> None:
    if not allowed:
        raise RefusedStatementError("not on the lists")


def _call(node: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    *schema, name = _names(node.get("funcname"))
    if schema and schema != ["pg_catalog"]:
        _refuse_unless(".".join((*schema, name)) in vocabulary.functions)
    else:
        _refuse_unless(vocabulary.may_call(name))


def _operator(node: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    *schema, name = _names(node.get("name"))
    _refuse_unless((not schema or schema == ["pg_catalog"]) and (name == "BETWEEN" or _may_operate(name, vocabulary)))


def _may_operate(name: str, vocabulary: Vocabulary) -> bool:
    return vocabulary.may_operate(name) or name in ("BETWEEN SYMMETRIC", "NOT BETWEEN", "NOT BETWEEN SYMMETRIC", "!~~")


def _column(node: Mapping[str, Any], vocabulary: Vocabulary) -> None:
    names = _names(node.get("fields"))
    _refuse_unless(not names or names[-1].lower() not in RESERVED_COLUMNS)
    if len(names) > 1:  # PostgreSQL reads table.name as name(table) where there is no such column
        _refuse_unless(any(names[-1] in each.columns for each in vocabulary.tables.by_name.values()))


def _type(node: Mapping[str, Any], vocabulary: Vocabulary) -> None:  # noqa: ARG001  # all rules have one signature
    _refuse_unless(not reads_catalogs((_names(node.get("names")) or [""])[-1]))


def _select(node: Mapping[str, Any], vocabulary: Vocabulary) -> None:  # noqa: ARG001  # as above
    _refuse_unless("intoClause" not in node)


_RULES: Mapping[str, Callable[[Mapping[str, Any], Vocabulary], None]] = {
    "FuncCall": _call,
    "A_Expr": _operator,
    "ColumnRef": _column,
    "TypeName": _type,
    "SelectStmt": _select,
}
