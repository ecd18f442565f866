"""What SQL text may be made of: the allow list of what the parser knows. What is not on it is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlglot import exp

from partywall.errors import RefusedStatementError
from partywall.statements.functions import RESERVED_COLUMNS, reads_catalogs
from partywall.statements.refusals import harmful_function, where_a_row_lies
from partywall.statements.rules import Vocabulary

__all__ = ["row_of", "vet"]


def _classes(names: str) -> frozenset[type[exp.Expr]]:
    return frozenset(getattr(exp, name) for name in names.split())


# Parts of statements, each with what may hang on it. A version of sqlglot that hangs something else on one is refused.
_PARTS: Mapping[type[exp.Expr], frozenset[str]] = {
    getattr(exp, name): frozenset(parts.split())
    for name, parts in {
        "Select": "with_ kind expressions distinct from_ joins laterals where group having windows order limit offset "
        "locks operation_modifiers sample",
        "Union": "with_ this expression distinct order limit offset locks",
        "Intersect": "with_ this expression distinct order limit offset locks",
        "Except": "with_ this expression distinct order limit offset locks",
        "Subquery": "with_ this alias joins order limit offset sample",
        "Values": "expressions alias order limit offset",
        "With": "expressions recursive",
        "CTE": "this alias materialized",
        "From": "this",
        "Join": "this side kind on using method",
        "Table": "this db alias joins sample only ordinality rows_from indexed",
        "TableAlias": "this columns",
        "TableSample": "method percent size seed expressions",
        "Lateral": "this alias ordinality view outer",
        "Unnest": "expressions alias offset",
        "Where": "this",
        "Group": "expressions grouping_sets cube rollup all totals",
        "GroupingSets": "expressions",
        "Cube": "expressions",
        "Rollup": "expressions",
        "Having": "this",
        "Order": "this expressions",
        "Ordered": "this desc nulls_first with_fill",
        "Limit": "expression this",
        "Offset": "expression this",
        "Fetch": "direction count limit_options",
        "LimitOptions": "percent rows with_ties",
        "Distinct": "expressions on",
        "Lock": "update expressions wait key",
        "Window": "this partition_by order spec over alias first",
        "WindowSpec": "kind start start_side end end_side exclude",
        "Filter": "this expression",
        "WithinGroup": "this expression",
        "Insert": "with_ this expression conflict returning default where is_function alternative",
        "Schema": "this expressions",
        "OnConflict": "duplicate expressions action conflict_keys index_predicate constraint where",
        "Update": "with_ this expressions from_ where returning",
        "Delete": "with_ this using where returning",
        "Merge": "with_ this using on whens returning using_cond",
        "Whens": "expressions",
        "When": "matched source condition then",
        "Returning": "expressions",
        "Alias": "this alias",
        "Column": "this table",
        "Identifier": "this quoted",
        "Star": "",
        "In": "this query expressions field",
        "Dot": "this expression",
        "Cast": "this to",
        "DataType": "this expressions nested values kind",
        "DataTypeParam": "this expression",
        "ColumnDef": "this kind constraints",
    }.items()
}

_EXPRESSIONS = _classes("""
    And Or Not Paren Tuple EQ NEQ GT GTE LT LTE Is Between Like ILike SimilarTo Glob RegexpLike RegexpILike Escape
    Add Sub Mul Div IntDiv Mod Pow Neg BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitwiseLeftShift BitwiseRightShift
    DPipe Collate AtTimeZone Case If Exists Any All Array ArrayContainsAll ArrayContainedBy ArrayOverlaps Bracket Slice
    NullSafeEQ NullSafeNEQ Literal Boolean Null Interval Var Placeholder JSONExtract JSONExtractScalar JSONBExtract
    JSONBExtractScalar JSONBContains JSONBContainsTopKey JSONBContainsAnyTopKeys JSONBContainsAllTopKeys
    JSONBDeleteAtPath JSONPath JSONPathRoot JSONPathKey JSONPathSubscript MatchAgainst Distance Operator
    Extract Substring Trim StrPosition Overlay Anonymous Kwarg PropertyEQ Variadic
    JSONTable JSONSchema JSONColumnDef JSONValue JSONObject JSONObjectAgg JSONKeyValue XMLElement Normalize JSON
    CurrentDate CurrentTime CurrentTimestamp CurrentDatetime Localtime Localtimestamp CurrentUser SessionUser
    CurrentRole CurrentSchema CurrentCatalog HexString BitString ExtendsLeft ExtendsRight Adjacent
    Unnest IntervalSpan HavingMax IgnoreNulls RespectNulls Grouping JSONBPathExists Overlaps OnCondition JSONExists
    RawString ByteString Concat
""")

_UNQUOTED = re.compile(r"[^\W\d][\w$]*")
_SQLITE_TYPES = frozenset({"int", "bigint", "text", "varchar", "char", "double", "float", "varbinary", "decimal"})
_SQLITE_TYPES_SHOWN = "INTEGER, REAL, NUMERIC, TEXT or BLOB"
_OPERATOR = re.compile(r"(?:OPERATOR\()?(?:pg_catalog\.)?([^\w\s().]+)\)?", re.IGNORECASE)


def vet(root: exp.Expr, vocabulary: Vocabulary) -> None:
    """
    Check that a parsed text is made of nothing but what is known.

    Tables and where they stand are somebody else's to check.

    Raises:
        RefusedStatementError: A kind of expression, a function, an operator, a type or a name is not.
    """
    for node in root.walk():
        kind = type(node)
        parts = _PARTS.get(kind)
        if parts is not None:
            for part, value in node.args.items():
                if value not in (None, False, [], "") and part not in parts:
                    raise _unknown(f"{kind.__name__.upper()} ... {part.strip('_').upper()}")
        elif kind not in _EXPRESSIONS:
            raise _unknown(_name(node))
        rule = _RULES.get(kind)
        if rule is not None:
            rule(node, vocabulary)


def _unknown(what: str) -> RefusedStatementError:
    return RefusedStatementError(
        f"SQL text with {what} in it has no rule, so it is refused.\n"
        "Write it in another way, or as a construct (select(), func)."
    )


def _name(node: exp.Expr) -> str:
    names = getattr(type(node), "sql_names", None)
    return f"{names()[0].lower()}()" if names is not None else type(node).__name__


def _function(node: Any, vocabulary: Vocabulary) -> None:
    name = node.this
    if not isinstance(name, str):  # a quoted name
        name = name.name
        if name != name.lower():
            raise RefusedStatementError(f"the function {name!r} is quoted: its name is not among those known.")
    elif not _UNQUOTED.fullmatch(name):
        raise _unknown(f"a call of {name!r}")
    if name.lower() in ("all", "any", "some"):
        return  # compared with an array
    outer = node.parent
    if isinstance(outer, exp.Dot) and outer.expression is node:
        schema = outer.this.name.lower() if isinstance(outer.this, (exp.Identifier, exp.Column)) else ""
        if schema != "pg_catalog":
            if f"{schema}.{name}".lower() in vocabulary.functions:
                return
            raise harmful_function(f"{schema}.{name}".lower())
    if not vocabulary.may_call(name):
        raise harmful_function(name.lower())


def row_of(dot: Any) -> Any | None:
    """Return the identifier of a source whose field is selected, ``(source).field``; None if it is no such thing."""
    row = dot.this.this if isinstance(dot.this, exp.Paren) else None
    is_plain = isinstance(row, exp.Column) and isinstance(row.this, exp.Identifier) and not row.args.get("table")
    return row.this if row is not None and is_plain and isinstance(dot.expression, exp.Identifier) else None


def _dot(node: Any, _vocabulary: Vocabulary) -> None:
    if not isinstance(node.expression, exp.Anonymous) and row_of(node) is None:
        # (row).name calls a function of that name where there is no such column (PostgreSQL, 4.2.6 Field Selection).
        raise _unknown("(row).field")


def _operator(node: Any, vocabulary: Vocabulary) -> None:
    found = _OPERATOR.fullmatch(str(node.args.get("operator", "")).replace(" ", ""))
    if found is None or not vocabulary.may_operate(found.group(1)):
        raise RefusedStatementError("OPERATOR(...) is not among the operators known to be harmless.")


def _column(node: Any, _vocabulary: Vocabulary) -> None:
    if isinstance(node.this, exp.Identifier) and node.name.lower() in RESERVED_COLUMNS:
        raise where_a_row_lies(node.name)


def _identifier(node: Any, _vocabulary: Vocabulary) -> None:
    name = node.name
    if not name.isprintable() or (not node.args.get("quoted") and not _UNQUOTED.fullmatch(name)):
        raise RefusedStatementError("a name in this text holds what no name should.")


def _in(node: Any, _vocabulary: Vocabulary) -> None:
    field = node.args.get("field")
    if field is not None and not isinstance(field, exp.Placeholder):
        raise RefusedStatementError("IN takes a list or a SELECT: on SQLite a name there would be that of a table.")


def _type(node: Any, vocabulary: Vocabulary) -> None:
    kind = node.args.get("kind")
    name = str(getattr(kind, "name", kind) or getattr(node.this, "value", node.this)).lower().rpartition(".")[2]
    name = name.lstrip("_")  # an array's
    if vocabulary.dialect == "sqlite" and name not in _SQLITE_TYPES:
        raise RefusedStatementError(f"the type {name} would get another affinity: use {_SQLITE_TYPES_SHOWN}.")
    if reads_catalogs(name) or not re.fullmatch(r'[\w "]+', name):
        raise RefusedStatementError(f"the type {name} looks into the catalogs, so it is refused.")


def _insert(node: Any, _vocabulary: Vocabulary) -> None:
    if node.args.get("is_function"):
        raise _unknown("INSERT as a function")
    if str(node.args.get("alternative") or "ignore").lower() not in ("ignore", "abort", "fail", "rollback"):
        raise RefusedStatementError(
            "OR REPLACE deletes the row that is in the way, whoever it belongs to.\n"
            "Write an upsert, which changes the tenant's row alone: INSERT ... ON CONFLICT (...) DO UPDATE SET ..."
        )


_PAIRED = re.compile(r"(?:[^'\\]|\\\\)*")


def _escaped(node: Any, _vocabulary: Vocabulary) -> None:
    if not _PAIRED.fullmatch(str(node.this)):
        raise RefusedStatementError("an E'...' string with more than doubled backslashes: use a parameter.")


def _path(node: Any, _vocabulary: Vocabulary) -> None:
    key = node.args.get("expression")
    text = key.sql() if isinstance(key, exp.JSONPath) else ""
    if text and not re.fullmatch(r"'?\$(?:\.\w+|\[\d+\])*'?", text):
        raise RefusedStatementError("a key or path of JSON that would be printed otherwise: use a parameter.")


def _sample(node: Any, _vocabulary: Vocabulary) -> None:
    if str(node.args.get("method") or "").upper() not in ("BERNOULLI", "SYSTEM"):
        raise _unknown("another TABLESAMPLE than BERNOULLI or SYSTEM")


def _alias(node: Any, _vocabulary: Vocabulary) -> None:
    if not isinstance(node.parent, (exp.Select, exp.Returning)):
        raise _unknown("an alias where none can be")


def _var(node: Any, _vocabulary: Vocabulary) -> None:
    if not re.fullmatch(r"[\w ]+", node.name):
        raise _unknown("a word that is no word")


_RULES: Mapping[type[exp.Expr], Any] = {
    exp.Anonymous: _function,
    exp.Dot: _dot,
    exp.Operator: _operator,
    exp.Column: _column,
    exp.Identifier: _identifier,
    exp.In: _in,
    exp.DataType: _type,
    exp.Insert: _insert,
    exp.Var: _var,
    exp.Alias: _alias,
    exp.ByteString: _escaped,
    exp.TableSample: _sample,
}
