"""What a statement may be made of: one rule for each kind of SQLAlchemy construct. What has no rule is refused."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import FunctionType, MappingProxyType
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ClauseElement, TextClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import AliasedReturnsRows

from partywall._compat import is_annotated
from partywall.errors import RefusedStatementError
from partywall.statements.functions import (
    BINARY_OPERATORS,
    FIELDS,
    HARMLESS_FUNCTIONS,
    HARMLESS_OPERATORS,
    MODIFIERS,
    SEPARATORS,
    UNARY_OPERATORS,
    Operators,
)
from partywall.statements.refusals import harmful_function, unknown_table
from partywall.statements.vouched import VouchedText
from partywall.tables import TableDescription, Tables

__all__ = [
    "PRINTED_RULES",
    "RULES",
    "Vocabulary",
    "base_table",
    "examine",
    "field_refused",
    "is_plain_literal",
    "named_source",
]


@dataclass(frozen=True)
class Vocabulary:
    """What statements may be made of: the tables, and what the application vouches for beyond our lists."""

    tables: Tables
    dialect: str = "default"
    functions: frozenset[str] = frozenset()
    operators: frozenset[str] = frozenset()
    constructs: frozenset[type[Any]] = frozenset()
    strict: bool = False
    diagnostics: bool = False
    has_public_view: bool = False  # of the tenants table, for lookups with no tenant in scope (rows)
    is_walled: bool = False  # views stand before SQLite's tables (rows/sqlite), so that writes have to name main
    _verdicts: dict[type[Any], str | None] = field(default_factory=dict, repr=False, compare=False)

    def may_call(self, name: str) -> bool:
        """Whether a function of this name is known to be harmless, or vouched for."""
        return name.lower() in HARMLESS_FUNCTIONS or name.lower() in self.functions

    def may_operate(self, symbol: str) -> bool:
        """Whether an operator that was written as text is known to be harmless, or vouched for."""
        if "?" in symbol and self.dialect == "sqlite":
            return False  # SQLite would take it for one more parameter, and ours for another's value
        return " ".join(symbol.split()).upper() in HARMLESS_OPERATORS or symbol in self.operators

    def may_be_field(self, name: str) -> bool:
        """Whether ``x.name`` is harmless where nobody says what columns x has: it may be ``name(x)`` on PostgreSQL."""
        return self.dialect != "postgresql" or name.lower() in FIELDS or self.may_call(name)

    def concerns(self, dialect: str | None) -> bool:
        """Whether a hint or prefix that is meant for one dialect is printed for ours."""
        return dialect in (None, "*", self.dialect)

    def describe(self, table: Any) -> TableDescription:
        """
        Return the description of a table, which may be a lightweight ``table()`` or one of other metadata.

        Raises:
            RefusedStatementError: Nobody declared a table of this schema and name.
        """
        schema = getattr(table, "schema", None)
        description = self.tables.find(schema, table.name)
        if description is None:
            raise unknown_table(schema, table.name)
        return description

    def verdict_on(self, cls: type[Any]) -> str | None:
        """Return why constructs of this class are refused, or None if they are not."""
        if hasattr(cls, "_compiler_dispatcher") and self.constructs.isdisjoint(cls.__mro__):
            name = _plain_name(cls)  # not remembered: @compiles may come at any time
            return f"{name} is compiled by the application's own @compiles function. {_DECLARE.format(name)}"
        try:
            return self._verdicts[cls]
        except KeyError:
            verdict = self._verdicts[cls] = self._judge(cls)
            return verdict

    def _judge(self, cls: type[Any]) -> str | None:
        if cls is VouchedText or not self.constructs.isdisjoint(cls.__mro__):
            return None
        name = _plain_name(cls)
        for base in cls.__mro__:
            own = base.__module__.partition(".")[0] not in _LIBRARIES
            if own and (not issubclass(base, _EXTENSIBLE) or base.__dict__.keys() & _COMPILED_BY):
                return (
                    f"{base.__qualname__} is a construct of the application's own. {_DECLARE.format(base.__qualname__)}"
                )
            if own and any(_computes(key, value) for key, value in base.__dict__.items()):
                return (
                    f"{base.__qualname__} computes an attribute (a property), so it may print another value than the "
                    f"one that was looked at. {_DECLARE.format(base.__qualname__)}"
                )
        if cls.__visit_name__ not in RULES:
            return f"there is no rule for {name} ({cls.__visit_name__!r}) in this version of partywall."
        return None


# Subclasses of these are compiled as what they extend, unless they bring their own compilation.
_EXTENSIBLE = (Column, Table, FunctionElement)
_COMPILED_BY = {"__visit_name__", "_compiler_dispatch", "get_children", "_traverse_internals", "self_group"} | {
    "__getattribute__",
    "__getattr__",
}
_LIBRARIES = frozenset({"sqlalchemy", "builtins", "typing", "abc"})
_DECLARE = "If its SQL reads no table, or only through the statements it contains: Tenancy(..., constructs={{{0}}})."


def _computes(key: str, value: object) -> bool:
    """Whether what stands in a class is a property or the like; that of a type is looked at where it is printed."""
    is_descriptor = hasattr(type(value), "__get__") and not key.startswith("__") and key != "type"
    return is_descriptor and not isinstance(value, (FunctionType, classmethod, staticmethod))


Rule = Callable[[Any, Vocabulary], None]


def examine(root: ClauseElement, vocabulary: Vocabulary) -> None:
    """
    Check of what kinds a statement is made, down to the statements nested in it.

    It has to be done before anything is printed: a construct with ``@compiles`` is printed by a function
    of the application's, without the compiler. The rules themselves are applied where the compiler
    prints. Nested statements are not entered: the compiler meets each of them by itself, after the ORM
    has turned it into its final form.

    Raises:
        RefusedStatementError: A part is of a kind that has no rule, or is the application's own.
    """
    waiting: list[ClauseElement] = [root]
    seen: dict[int, ClauseElement] = {}  # holds what it has seen, so that no id is used again
    while waiting:
        element = waiting.pop()
        if id(element) in seen:
            continue
        seen[id(element)] = element
        verdict = vocabulary.verdict_on(type(element))
        if verdict is not None:
            raise RefusedStatementError(f"this statement is refused: {verdict}")
        if element is root or element.__visit_name__ not in _STATEMENTS:
            waiting.extend(_children(element))


def _children(element: ClauseElement) -> Iterator[ClauseElement]:
    if element.__visit_name__ == "lambda_element":
        yield element._resolved  # type: ignore[attr-defined]  # what is compiled in its place
        return
    yield from element.get_children()
    if element.__visit_name__ in ("values", "scalar_values"):  # SQLAlchemy does not count the rows as children
        for chunk in element._data:  # type: ignore[attr-defined]  # both kinds have it
            for row in chunk:
                yield from (value for value in row if isinstance(value, ClauseElement))
    elif element.__visit_name__ == "insert":  # nor these
        for chunk in element._multi_values:  # type: ignore[attr-defined]  # INSERT has it
            for row in chunk:
                cells = row.values() if isinstance(row, Mapping) else row
                yield from (value for value in cells if isinstance(value, ClauseElement))


def named_source(source: Any) -> Any:
    """Return what stands behind aliases, samples, subqueries and CTEs: a table, a statement, a function."""
    while isinstance(source, AliasedReturnsRows):
        source = source.element
    return source


def base_table(source: Any) -> Any | None:
    """Return the table behind aliases and samples of it; None for sources that are no table."""
    named = named_source(source)
    return named if named is not None and named.__visit_name__ == "table" else None


_PLAIN_LITERAL = re.compile(r"\d+(\.\d+)?|'[\w .,@/+#-]*'|NULL|TRUE|FALSE", re.IGNORECASE)


def is_plain_literal(text: str) -> bool:
    """Whether SQL text is a number without a sign, a simple string, NULL, TRUE or FALSE, and nothing else."""
    return _PLAIN_LITERAL.fullmatch(text) is not None


# The rules. Each takes an element that is about to be printed and raises RefusedStatementError if it may not be.


def _plain(element: Any, vocabulary: Vocabulary) -> None:
    """No more than its children."""


def _known_table(element: Any, vocabulary: Vocabulary) -> None:
    vocabulary.describe(element)


def _function(element: Any, vocabulary: Vocabulary) -> None:
    packages = tuple(getattr(element, "packagenames", ()))
    if not isinstance(element.name, str):
        raise RefusedStatementError(f"the name of a function is a string, not a {type(element.name).__name__}.")
    name = ".".join((*packages, element.name))
    if packages in ((), ("pg_catalog",)) and vocabulary.may_call(element.name):
        return
    if packages and name.lower() in vocabulary.functions:
        return
    raise harmful_function(name)


def _check_operator(operator: Any, known: Operators, vocabulary: Vocabulary) -> None:
    if operator in known:
        return
    if type(operator) is not operators.custom_op or type(operator.opstring) is not str:
        name = getattr(operator, "__name__", type(operator).__name__)
        raise RefusedStatementError(f"operator {name} has no rule in this place, so it is refused.")
    if not vocabulary.may_operate(operator.opstring):
        raise RefusedStatementError(
            f"operator {operator.opstring!r} is not among those known to be harmless.\nIf it is one: "
            f"Tenancy(..., operators={{{operator.opstring!r}}})"
        )


def _binary(element: Any, vocabulary: Vocabulary) -> None:
    _check_operator(element.operator, BINARY_OPERATORS, vocabulary)
    if element.operator in (operators.in_op, operators.not_in_op):
        kind, right = element.right.__visit_name__, element.right
        if not (kind in _LISTS or (kind == "bindparam" and right.expanding)):
            raise RefusedStatementError("IN takes a list or a SELECT: on SQLite a name there would be that of a table.")


_LISTS = ("grouping", "tuple", "select", "compound_select", "select_statement_grouping", "values", "scalar_values")


def _unary(element: Any, vocabulary: Vocabulary) -> None:
    if element.operator is not None:
        _check_operator(element.operator, UNARY_OPERATORS, vocabulary)
    if element.modifier is not None:
        _check_operator(element.modifier, MODIFIERS, vocabulary)


def _separated(element: Any, vocabulary: Vocabulary) -> None:
    _check_operator(element.operator, SEPARATORS, vocabulary)


def _field(element: Any, vocabulary: Vocabulary) -> None:
    if not vocabulary.may_be_field(element.name):
        raise field_refused(element.name)


def field_refused(name: str) -> RefusedStatementError:
    """Return the error for a field that PostgreSQL may read as a function."""
    return RefusedStatementError(
        f"PostgreSQL reads x.{name} as the function {name}(x) where x has no such column, and nobody says that it "
        "has.\nSay what columns the function returns: .table_valued(...).render_derived()"
    )


def _extract(element: Any, vocabulary: Vocabulary) -> None:
    if not re.fullmatch(r"[A-Za-z_]+", element.field):
        raise RefusedStatementError(f"extract() takes the name of a field, not {element.field!r}.")


def _select(element: Any, vocabulary: Vocabulary) -> None:
    for dialect, hint in getattr(element, "_statement_hints", ()):
        if vocabulary.concerns(dialect):
            raise _text_refused(f"with_statement_hint({hint!r})")
    for (_source, dialect), hint in getattr(element, "_hints", {}).items():
        if vocabulary.concerns(dialect) and hint.upper() != "ONLY":
            raise _text_refused(f"with_hint(..., {hint!r})")
    _prefixes(element, vocabulary, ("DISTINCT", "ALL"))
    _extensions(element, vocabulary)


def _write(element: Any, vocabulary: Vocabulary) -> None:
    for (_source, dialect), hint in element._hints.items():
        if vocabulary.concerns(dialect) and hint.upper() != "ONLY":
            raise _text_refused(f"with_hint({hint!r})")
    if any(vocabulary.concerns(dialect) and _replaces(prefix) for prefix, dialect in element._prefixes):
        raise RefusedStatementError(
            "OR REPLACE deletes the row that is in the way, whoever it belongs to.\n"
            "Write an upsert, which changes the tenant's row alone: insert(...).on_conflict_do_update(...)."
        )
    _extensions(element, vocabulary)
    _prefixes(element, vocabulary, ("OR IGNORE", "OR ABORT", "OR FAIL", "OR ROLLBACK"))


def _replaces(prefix: Any) -> bool:
    return " ".join(str(getattr(prefix, "text", "")).split()).upper() in ("OR REPLACE", "REPLACE")


def _cte(element: Any, vocabulary: Vocabulary) -> None:
    # A nested CTE is visible in one SELECT only; outside of it the same name would mean the real table.
    if element.nesting and any(key[1].lower() == str(element.name).lower() for key in vocabulary.tables.by_name):
        raise RefusedStatementError(f"the nested CTE {element.name} bears the name of a table: rename it.")
    _prefixes(element, vocabulary, ("MATERIALIZED", "NOT MATERIALIZED"))


def _prefixes(element: Any, vocabulary: Vocabulary, allowed: tuple[str, ...]) -> None:
    for prefix, dialect in getattr(element, "_prefixes", ()):
        if vocabulary.concerns(dialect) and not (isinstance(prefix, TextClause) and prefix.text.upper() in allowed):
            raise _text_refused(f"prefix_with({str(prefix)!r})")
    for suffix, dialect in getattr(element, "_suffixes", ()):
        if vocabulary.concerns(dialect):
            raise _text_refused(f"suffix_with({str(suffix)!r})")


def _extensions(element: Any, vocabulary: Vocabulary) -> None:
    """Let through SQLAlchemy's own syntax extensions, each where it belongs, and those that were declared."""
    for place, kinds in _PLACES.items():
        extension = getattr(element, place, None)
        if extension is None or not vocabulary.constructs.isdisjoint(type(extension).__mro__):
            continue
        if extension.__visit_name__ not in kinds:
            raise RefusedStatementError(
                f"a {type(extension).__name__} is no syntax extension that has a rule: refused."
            )


_PLACES = {
    "_pre_columns_clause": ("postgresql_distinct_on",),
    "_post_select_clause": (),
    "_post_criteria_clause": (),
    "_post_body_clause": (),
    "_post_values_clause": ("on_conflict_do_nothing", "on_conflict_do_update"),
}


def _refused(reason: str) -> Rule:
    def rule(element: Any, vocabulary: Vocabulary) -> None:
        raise RefusedStatementError(reason)

    return rule


def _text_refused(what: str) -> RefusedStatementError:
    return RefusedStatementError(
        f"text in this place has no rule, so it is refused: {what}.\nLeave it out, or run the statement unscoped."
    )


_TSTRING = _refused("a t-string has no rule yet, so it is refused.\nWrite text() with bound parameters.")
_EXTENSIONS = _refused("several syntax extensions in one place have no rule, so they are refused.")
_ABSTRACT = _refused("this is no statement, but what INSERT, UPDATE and DELETE have in common.")
_SEQUENCE = _refused("a sequence is shared by all tenants, and reading it changes it: refused in a scope.")

_STATEMENTS = frozenset(
    {"select", "compound_select", "textual_select", "insert", "update", "delete", "orm_from_statement"}
)

RULES: Mapping[str, Rule] = MappingProxyType(
    {
        # sources
        "table": _known_table,
        "alias": _plain,
        "tablesample": _plain,
        "cte": _cte,
        "subquery": _plain,
        "lateral": _plain,
        "join": _plain,
        "values": _plain,
        "scalar_values": _plain,
        "table_valued_alias": _plain,
        # statements
        "select": _select,
        "compound_select": _select,
        "select_statement_grouping": _plain,
        "orm_from_statement": _plain,
        "memoized_select_entities": _plain,
        "savepoint": _plain,
        "rollback_to_savepoint": _plain,
        "release_savepoint": _plain,
        "identified": _plain,
        # expressions
        "column": _plain,  # looked at where it is printed, the text of a literal_column() too (textual.py)
        "table_valued_column": _plain,
        "scalar_function_column": _field,
        "bindparam": _plain,
        "override_binds": _plain,
        "null": _plain,
        "true": _plain,
        "false": _plain,
        "binary": _binary,
        "unary": _unary,
        "expression_clauselist": _separated,
        "clauselist": _separated,
        "element_list": _EXTENSIONS,
        "order_by_list": _plain,
        "tuple": _separated,
        "array": _plain,
        "slice": _plain,
        "grouping": _plain,
        "label": _plain,
        "label_reference": _plain,
        "textual_label_reference": _plain,  # resolved against the statement's own labels, or an error
        "case": _plain,
        "cast": _plain,
        "try_cast": _plain,
        "typeclause": _plain,  # its text is checked when it is printed
        "type_coerce": _plain,
        "extract": _extract,
        "collation": _plain,
        "function": _function,
        "next_value_func": _SEQUENCE,
        "over": _plain,
        "frame_clause": _plain,
        "withingroup": _plain,
        "funcfilter": _plain,
        "aggregateorderby": _plain,
        "aggregate_order_by": _plain,
        "aggregate_orderby_inline": _plain,
        "ilike_case_insensitive_operand": _plain,
        "postgresql_distinct_on": _plain,
        "lambda_element": _plain,
        "clause": _plain,  # FOR UPDATE OF ...; all other classes of this name are abstract
        # text
        "textclause": _plain,  # text is scoped where it is printed (textual.py)
        "textual_select": _plain,
        "tstring": _TSTRING,
        "tstring_text": _TSTRING,
        # writes
        "insert": _write,
        "update": _write,
        "delete": _write,
        "values_base": _ABSTRACT,
        "update_base": _ABSTRACT,
        "dmltargetcopy": _plain,
        "on_conflict_do_nothing": _plain,
        "on_conflict_do_update": _plain,
        "sequence": _SEQUENCE,
    }
)

# What the compiler checks where it prints, however it came by it.
PRINTED_RULES: Mapping[str, Rule] = MappingProxyType({kind: rule for kind, rule in RULES.items() if rule is not _plain})


def _plain_name(cls: type[Any]) -> str:
    """Return the name a user knows a class by: that of the annotated class for one that carries annotations."""
    return cls.__bases__[-1].__qualname__ if is_annotated(cls) else cls.__qualname__
