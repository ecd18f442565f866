"""
Puts what is about to be sent before the proof, and checks the parameters that the proof relied on.

In strict mode every statement that was scoped is proved as well, once. In checker mode nothing is scoped: a statement
runs if the proof finds that the application has scoped it by hand, and if the values it did so with are the tenant.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import sqlglot
from sqlalchemy import TypeDecorator, select, type_coerce
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.util import LRUCache

from partywall.errors import ForeignTenantError, NoTenantError, RefusedStatementError
from partywall.scope import Scope, Tenant
from partywall.statements.presets import explain_prefix, is_preset
from partywall.statements.proof import Verdict, prove
from partywall.statements.rules import Vocabulary
from partywall.statements.sent import remember
from partywall.statements.text import ScopedText, allowed_prefix, join_pieces, mark_driver
from partywall.statements.text import Tenant as TenantPlace

__all__ = ["KeepsNames", "checked_compiler", "checked_context", "prove_compiled", "prove_text"]


class KeepsNames:
    """Mixed into a compiler: keeps the SQL as it is before parameters lose their names to positions."""

    partywall_named: str | None = None
    string: str

    def _process_positional(self) -> None:
        self.partywall_named = self.string
        super()._process_positional()  # type: ignore[misc]  # SQLAlchemy's

    def _process_numeric(self) -> None:
        self.partywall_named = self.string
        super()._process_numeric()  # type: ignore[misc]  # SQLAlchemy's


_NAMED = re.compile(r"%\(([^)]*)\)s")
_LATER = re.compile(r"__\[POSTCOMPILE_[^\]]*\]")
_SCHEMA = re.compile(r"\"?__\[SCHEMA_(\w+)\]\"?\.")
_MARKS = {"postgresql": "$", "sqlite": ":p"}
_NO_STATEMENTS = ("savepoint", "rollback_to_savepoint", "release_savepoint")


def _numbered(
    compiled: Any, dialect: str, schemas: Mapping[Any, Any] | None = None
) -> tuple[str, list[str], list[int]]:
    """
    Return the SQL of a compiled statement with numbered parameters.

    Args:
        compiled: The statement.
        dialect: Name of its dialect.
        schemas: What stands for its schemas (``schema_translate_map``); themselves if None.

    Returns:
        The SQL, the names of its parameters (the first is that of number 1), and the numbers as they occur.
    """
    names: dict[str, int] = {}
    numbers: list[int] = []

    def number(found: re.Match[str]) -> str:
        numbers.append(names.setdefault(found.group(1), len(names) + 1))
        return f"{_MARKS[dialect]}{numbers[-1]}"

    sql = compiled.partywall_named or compiled.string
    sql = sql[len(explain_prefix(sql, dialect)) :] if compiled.isplaintext else sql
    sql = _LATER.sub("NULL", sql)
    if schemas is not None:
        sql = compiled.preparer._render_schema_translates(sql, dict(schemas))
    sql = _SCHEMA.sub(lambda found: "" if found.group(1) == "_none" else f"{found.group(1)}.", sql)
    sql = _NAMED.sub(number, sql)
    return (sql.replace("%%", "%") if compiled.preparer._double_percents else sql), list(names), numbers


def _is_no_statement(compiled: Any) -> bool:
    """Whether it reads and writes nothing: a savepoint, or one of the strings that may always be sent."""
    return compiled.statement.__visit_name__ in _NO_STATEMENTS or (compiled.isplaintext and is_preset(compiled.string))


def prove_compiled(compiled: Any, vocabulary: Vocabulary) -> None:
    """
    Prove a statement that our compiler has scoped; the verdict is kept with it.

    Raises:
        RefusedStatementError: The proof does not find it scoped: one of the two is wrong.
    """
    if compiled.partywall_proved or _is_no_statement(compiled):
        return
    sql, names, _ = _numbered(compiled, vocabulary.dialect)
    escaped = {compiled.escaped_bind_names.get(key, key) for key in compiled.tenant_keys}
    ours = frozenset(number for number, name in enumerate(names, 1) if name in escaped)
    _demand(prove(sql, vocabulary.tables, dialect=vocabulary.dialect, tenant_parameters=ours), sql)
    compiled.partywall_proved = True


def prove_text(scoped: ScopedText, vocabulary: Vocabulary) -> None:
    """
    Prove a text that the text wall has scoped.

    Raises:
        RefusedStatementError: As in `prove_compiled`.
    """
    mark = _MARKS[vocabulary.dialect]
    tenant = len(scoped.names) + 1

    def parameter(piece: int | TenantPlace) -> str:
        return f"{mark}{tenant if isinstance(piece, TenantPlace) else piece + 1}"

    sql = join_pieces(scoped.pieces, str, parameter)
    _demand(prove(sql, vocabulary.tables, dialect=vocabulary.dialect, tenant_parameters=frozenset({tenant})), sql)


def _demand(verdict: Verdict, sql: str) -> None:
    if not verdict.is_proved:
        raise RefusedStatementError(
            f"the proof does not find this statement scoped: {verdict.reason}.\n"
            "It is refused, since the tenancy is strict. If the statement is right, this is a bug in partywall.",
            sql,
        )


# Checker mode.


_PLACEHOLDER = "__["  # what SQLAlchemy replaces after the statement was compiled, wherever it stands


class CheckedCompiler(KeepsNames):
    """
    Mixed into a dialect's compiler: the stamp of a statement to be checked.

    It prints what the dialect prints, but for text that SQLAlchemy would take for a placeholder of its own.
    """

    def post_process_text(self, text: str) -> str:
        return _without_placeholders(super().post_process_text(text))  # type: ignore[misc]  # SQLAlchemy's

    def escape_literal_column(self, text: str) -> str:
        return _without_placeholders(super().escape_literal_column(text))  # type: ignore[misc]  # SQLAlchemy's

    def render_literal_value(self, value: Any, type_: Any) -> str:
        return _without_placeholders(super().render_literal_value(value, type_))  # type: ignore[misc]  # SQLAlchemy's


def _without_placeholders(text: str) -> str:
    if _PLACEHOLDER in text:
        raise RefusedStatementError("this text holds what reads like a placeholder of SQLAlchemy's.")
    return text


def checked_compiler(base: type[Any]) -> type[Any]:
    """Return the compiler of a dialect, *base*, with the stamp."""
    return type(f"Checked{base.__name__}", (CheckedCompiler, base), {})


def checked_context(base: type[Any], vocabulary: Vocabulary, scope_of: Callable[[Any], Scope | None]) -> type[Any]:
    """Return the execution context of a dialect, *base*, that lets pass what is scoped by hand, and nothing else."""
    texts: Any = LRUCache(500)

    class CheckedContext(DefaultExecutionContext):
        @classmethod
        def _init_compiled(cls, *args: Any, **kw: Any) -> Any:
            connection, compiled, invoked_statement = args[1], args[4], args[6]
            scope = scope_of(connection)
            if not isinstance(compiled, CheckedCompiler) or invoked_statement is None:
                raise RefusedStatementError(
                    "this statement was compiled before it was handed over: execute the statement itself.",
                    str(compiled),
                )
            relied_on = _relied_on(compiled, vocabulary, args[3].get("schema_translate_map") or {})
            context: Any = super()._init_compiled(*args, **kw)
            for row in context.compiled_parameters:
                _compare((row[name] for name in relied_on), scope, context.statement)
            return _remembered(context, connection)

        def _exec_default_clause_element(self, column: Any, default: Any, type_: Any) -> Any:
            """Run a default that SQLAlchemy runs before the INSERT, if it takes no tenant's parameter."""
            argument = default.arg if default._arg_is_typed else type_coerce(default.arg, type_)
            compiled: Any = select(argument).compile(dialect=self.dialect)
            if _relied_on(compiled, vocabulary, {}):
                raise RefusedStatementError(f"the default of {column} is a statement of its own.", str(compiled))
            return super()._exec_default_clause_element(  # type: ignore[no-untyped-call]  # SQLAlchemy's
                column, default, type_
            )

        @classmethod
        def _init_statement(
            cls, dialect: Any, connection: Any, dbapi: Any, options: Any, statement: str, parameters: Any
        ) -> Any:
            if not getattr(connection, "partywall_first_contact", False):
                scope = scope_of(connection)
                statement = str.__str__(statement)  # a subclass could say one thing and send another
                if not is_preset(statement):
                    known = texts.get(statement)
                    if known is None:
                        known = texts[statement] = _names_relied_on(statement, dialect, vocabulary)
                    for row in parameters or ((),):
                        _compare(_values(row, known, statement), scope, statement)
            context = super()._init_statement(dialect, connection, dbapi, options, statement, parameters)
            return _remembered(context, connection)

        @classmethod
        def _init_ddl(cls, *args: Any, **_kw: Any) -> Any:
            raise RefusedStatementError("DDL concerns all tenants, so it is refused in a scope.", str(args[4]))

        @classmethod
        def _init_default(cls, *_args: Any, **_kw: Any) -> Any:
            raise RefusedStatementError("a default or sequence executed by itself cannot be checked.")

    return type(f"Checked{base.__name__}", (CheckedContext, base), {})


def _remembered(context: Any, connection: Any) -> Any:
    """Return a context of what was checked, which is compared with what is sent if listeners could change it."""
    if connection._has_events or connection.engine._has_events or context.dialect._has_events:
        remember(context)
    return context


def _values(row: Any, names: tuple[str | int, ...], statement: str) -> list[Any]:
    try:
        return [row[name] for name in names]
    except (LookupError, TypeError):
        raise RefusedStatementError("this string's parameters are not those that were passed.", statement) from None


def _relied_on(compiled: Any, vocabulary: Vocabulary, schemas: Mapping[Any, Any]) -> tuple[str, ...]:
    """Return the names of the parameters that scope a statement, which is proved the first time with its schemas."""
    proved: dict[Any, tuple[str, ...]] = compiled.__dict__.setdefault("partywall_relied_on", {})
    key = tuple(schemas.items()) if compiled.schema_translate_map else ()
    known = proved.get(key)
    if known is None:
        if _is_no_statement(compiled):
            known = ()
        else:
            if compiled.isplaintext:
                allowed_prefix(compiled.string, vocabulary)
            is_translated = bool(compiled.schema_translate_map)
            sql, names, numbers = _numbered(compiled, vocabulary.dialect, schemas if is_translated else None)
            _check_parameters(sql, numbers, vocabulary.dialect)
            verdict = prove(sql, vocabulary.tables, dialect=vocabulary.dialect, tenant_parameters=None)
            if not verdict.is_proved:
                raise _not_scoped(verdict, sql)
            original = {escaped: name for name, escaped in compiled.escaped_bind_names.items()}
            known = tuple(original.get(names[number - 1], names[number - 1]) for number in sorted(verdict.relied_on))
            for name in known:
                _check_bind(compiled.binds[name], vocabulary, sql)
        proved[key] = known
    return known


def _names_relied_on(statement: str, dialect: Any, vocabulary: Vocabulary) -> tuple[str | int, ...]:
    marked = mark_driver(statement, dialect.paramstyle)
    mark = _MARKS[vocabulary.dialect]
    sql = re.sub(r":partywall_mark_(\d+)", lambda found: f"{mark}{int(found.group(1)) + 1}", marked.sql)
    _check_parameters(sql, list(range(1, len(marked.names) + 1)), vocabulary.dialect)
    verdict = prove(sql, vocabulary.tables, dialect=vocabulary.dialect, tenant_parameters=None)
    if not verdict.is_proved:
        raise _not_scoped(verdict, statement)
    return tuple(marked.names[number - 1] for number in sorted(verdict.relied_on))


def _check_parameters(sql: str, expected: list[int], dialect: str) -> None:
    """Check that the parameters are those we have numbered: none in quotes, none of the application's own writing."""
    try:
        if dialect == "postgresql":
            found = [each.get("number", 0) for each in _param_refs(importlib.import_module("pgparse").parse(sql))]
        else:
            root = sqlglot.parse_one(sql, read="sqlite")
            found = [int(str(node.this)[1:]) for node in root.find_all(sqlglot.exp.Placeholder)]
    except Exception as error:  # whatever it is: it cannot be read
        raise RefusedStatementError("this statement cannot be read, so it is not checked.", sql) from error
    if sorted(found) != sorted(expected):
        raise RefusedStatementError("a parameter stands in quotes or in a comment, or is written in another way.", sql)


def _param_refs(tree: Any) -> list[Any]:
    if isinstance(tree, list):
        return [found for each in tree for found in _param_refs(each)]
    if isinstance(tree, dict):
        own = [tree["ParamRef"]] if "ParamRef" in tree else []
        return own + [found for each in tree.values() for found in _param_refs(each)]
    return []


def _check_bind(bind: Any, vocabulary: Vocabulary, sql: str) -> None:
    """Check that what is compared is what is sent: no type of the application's changes it in between."""
    kind = type(bind.type)
    is_ours = kind is type(vocabulary.tables.tenant_type)
    is_plain = kind.__module__.startswith("sqlalchemy.") and not isinstance(bind.type, TypeDecorator)
    if bind.callable is not None or bind.literal_execute or not (is_ours or is_plain):
        raise RefusedStatementError(
            "the parameter that scopes this statement is changed before it is sent, so it cannot be compared.", sql
        )


def _not_scoped(verdict: Verdict, sql: str) -> RefusedStatementError:
    return RefusedStatementError(
        f"this statement is not scoped by hand: {verdict.reason}.\n"
        "Add the criterion with a bound parameter, or let partywall add it: Tenancy(..., checker=False).",
        sql,
    )


def _compare(values: Iterable[Any], scope: Scope | None, statement: str) -> None:
    for value in values:
        if not isinstance(scope, Tenant):
            raise NoTenantError("no tenant is in scope, but the statement is scoped to one.", statement)
        if value is None or value != scope.id:
            raise ForeignTenantError(
                "the statement is scoped by hand to another tenant than the one in scope.\n"
                "To work for another tenant:  with tenant(other_id): ...",
                statement,
            )
