"""From SQL text to a tree, and back: one statement, of a size that can be parsed in time."""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

from partywall.errors import RefusedStatementError
from partywall.statements.text._grammar import check_grammar

__all__ = ["MAX_DEPTH", "MAX_LENGTH", "check_length", "parse", "parse_fragment", "printed"]

MAX_LENGTH = 100_000
"""Characters of SQL text that are parsed at the most: about a second's work without the compiled parser."""

MAX_DEPTH = 50
"""Parentheses within parentheses."""

_MAX_COMMENTS = 1000
"""PostgreSQL's grammar takes their square in time where one stands in the other."""

_MAX_READINGS = 2 * MAX_LENGTH
"""How often tokens may be read, all in all (see `_check_depth`)."""

_READS_AS = {"postgresql": "postgres", "sqlite": "sqlite"}
_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufeff\ud800-\udfff]")
_EXECUTABLE = re.compile(r"/\*M?!")
_OPENING = (TokenType.L_PAREN, TokenType.L_BRACKET, TokenType.L_BRACE)
_CLOSING = (TokenType.R_PAREN, TokenType.R_BRACKET, TokenType.R_BRACE)

_KINDS = (exp.Select, exp.SetOperation, exp.Values, exp.Subquery, exp.Insert, exp.Update, exp.Delete, exp.Merge)

# sqlglot says in the log what it only carries along; we refuse it.
logging.getLogger("sqlglot").addFilter(
    lambda record: not any(words in record.getMessage() for words in ("unsupported syntax", "Invalid JSON path"))
)


def check_length(sql: str) -> None:
    """
    Refuse text that is too long to be parsed in time.

    Raises:
        RefusedStatementError: It is.
    """
    if len(sql) > MAX_LENGTH:
        raise RefusedStatementError(f"SQL text of {len(sql):,} characters: at most {MAX_LENGTH:,} are parsed.")
    if sql.count("/*") > _MAX_COMMENTS:
        raise RefusedStatementError(f"SQL text with more than {_MAX_COMMENTS} comments: leave some out.")


def parse(sql: str, dialect: str, may_call: Callable[[str], bool]) -> exp.Expr:
    """
    Parse one statement; *may_call* says which functions are allowed (see `_as_written`).

    Raises:
        RefusedStatementError: It is too long or too deep, is more than one statement, is of a kind that a
            tenant does not run, or cannot be parsed.
    """

    def read(text: str, tokens: list[Token], parser: Any) -> list[Any]:
        if tokens and tokens[-1].token_type is TokenType.SEMICOLON:
            tokens = tokens[:-1]
        if not tokens:
            raise RefusedStatementError("there is no statement in this text.")
        if any(token.token_type is TokenType.SEMICOLON for token in tokens):
            raise RefusedStatementError("this is more than one statement: run them one by one.")
        if tokens[0].token_type is TokenType.TABLE:
            return [_table_statement(tokens)]
        _check_kind(tokens)
        found: list[Any] = parser.parse(tokens, text)
        return found

    (root,) = _read(_as_written(sql, dialect, may_call), dialect, read)
    check_grammar(sql, dialect)
    if dialect == "sqlite" and not re.search(r"\bCROSS\b", sql, re.IGNORECASE):
        for join in root.find_all(exp.Join):
            # The parser takes a comma for CROSS JOIN, with which SQLite keeps the order of the tables.
            if join.args.get("kind") == "CROSS":
                join.set("kind", None)
    if not isinstance(root, _KINDS):
        raise RefusedStatementError(
            f"a tenant runs SELECT, VALUES, INSERT, UPDATE, DELETE and MERGE: no {_kind(root)}."
        )
    return root


def parse_fragment(
    sql: str, dialect: str, may_call: Callable[[str], bool], lead: str, *, wrap: bool = False
) -> exp.Select:
    """
    Parse a part of a statement: what can follow *lead*, which begins a SELECT, and nothing after it.

    With *wrap* it is put into parentheses.

    Raises:
        RefusedStatementError: As in `parse`, or it is not a part of that kind alone.
    """

    def read(text: str, tokens: list[Token], parser: Any) -> list[Any]:
        if not tokens or any(token.token_type is TokenType.SEMICOLON for token in tokens):
            raise RefusedStatementError("a part of a statement cannot end it.")
        if any(token.comments for token in _tokens(f"{text}\n1", dialect)):
            raise RefusedStatementError("a part of a statement has no comment: it would be one for the rest as well.")
        depth = 0
        for token in tokens:  # "1) OR (1=1" would be at home in our parentheses
            depth += (token.token_type in _OPENING) - (token.token_type in _CLOSING)
            if depth < 0:
                raise RefusedStatementError("a part of a statement closes what it has not opened.")
        whole = f"{lead}({text}\n)" if wrap else f"{lead}{text}\n"
        found: list[Any] = parser.parse(_tokens(whole, dialect), whole)
        return found

    (root,) = _read(_as_written(sql, dialect, may_call), dialect, read)
    check_grammar(f"{lead}({sql}\n)" if wrap else f"{lead}{sql}", dialect)
    if not isinstance(root, exp.Select):
        raise RefusedStatementError("this text is not a part of a statement that can stand here.")
    return root


_AS_WRITTEN = "partywall_call_"
_WITH_SYNTAX = frozenset({
    "cast", "extract", "substring", "trim", "position", "overlay", "json_table", "json_object", "json_objectagg",
    "json_value", "xmlelement", "normalize", "any", "all", "some", "exists", "array", "filter", "and", "or", "not",
    "in", "values", "cube", "rollup", "grouping", "grouping_sets", "row",
})  # fmt: skip
_TYPES = frozenset({
    "char", "varchar", "date", "time", "timestamp", "timestamptz", "interval", "numeric", "decimal", "bit", "text",
    "json", "jsonb",
})  # fmt: skip


def _as_written(sql: str, dialect: str, may_call: Callable[[str], bool]) -> str:
    """
    Mark the calls of functions so that the parser takes each as the name and arguments that it is.

    sqlglot knows many functions of many databases by their meaning, and prints another spelling or even
    another function for some (``decode``, ``div``). What has no syntax of its own is better left alone.
    """
    if len(sql) > MAX_LENGTH or "(" not in sql:
        return sql
    try:
        tokens = _tokens(sql, dialect)
    except SqlglotError:
        return sql  # whoever parses it says so
    known = _dialect(dialect).parser_class
    parts, end, before = [], 0, None
    for token, after in itertools.pairwise(tokens):
        name = token.text.lower()
        if (
            after.token_type is TokenType.L_PAREN
            and token.token_type is not TokenType.IDENTIFIER
            and name not in _WITH_SYNTAX
            and (name.upper() in known.FUNCTIONS or name.upper() in known.FUNCTION_PARSERS)
            and not _is_type(name, before)
            and may_call(name)
        ):
            parts += [sql[end : token.start], _AS_WRITTEN]
            end = token.start
        before = token
    return "".join((*parts, sql[end:])) if parts else sql


def _is_type(name: str, before: Token | None) -> bool:
    if before is None:
        return False
    if before.token_type in (TokenType.ALIAS, TokenType.DCOLON):
        return True
    return name in _TYPES and before.token_type in (TokenType.VAR, TokenType.IDENTIFIER)


def _unmarked(root: exp.Expr) -> exp.Expr:
    """Give everything its own name back."""
    for node in root.walk():
        if isinstance(node.this, str) and node.this.startswith(_AS_WRITTEN):
            node.set("this", node.this.removeprefix(_AS_WRITTEN))
    _split_distinct(root)
    return root


def _read(sql: str, dialect: str, read: Callable[[str, list[Token], Any], list[Any]]) -> list[Any]:
    check_length(sql)
    if _UNSEEN.search(sql):
        raise RefusedStatementError("this text holds control characters.")
    if _EXECUTABLE.search(sql):
        raise RefusedStatementError("a comment that some databases execute (/*!): leave it out.")
    try:
        tokens = _tokens(sql, dialect)
        _check_depth(tokens, dialect)
        _check_joins(tokens)
        _check_spelling(sql, tokens, dialect)
        found = read(sql, tokens, _dialect(dialect).parser(error_level=ErrorLevel.IMMEDIATE))
    except SqlglotError as error:
        raise RefusedStatementError(f"this text cannot be parsed: {_where(error)}.") from error
    except RecursionError:
        raise RefusedStatementError("this text is nested too deeply to be parsed.") from None
    if len(found) != 1 or found[0] is None:
        raise RefusedStatementError("this is not one statement.")
    return [_unmarked(each) for each in found]


def _split_distinct(root: exp.Expr) -> None:
    """Let DISTINCT in a call of several arguments stand before the first, as it was written."""
    for distinct in list(root.find_all(exp.Distinct)):
        outer = distinct.parent
        ordered = outer if isinstance(outer, exp.Order) else None
        call = ordered.parent if ordered is not None else outer
        if isinstance(call, exp.Anonymous) and len(distinct.expressions) > 1:
            first, *others = distinct.expressions
            last: exp.Expr = others[-1]
            if ordered is not None:
                last = exp.Order(this=last, expressions=ordered.expressions)
            position = call.expressions.index(ordered or distinct)
            arguments = [exp.Distinct(expressions=[first]), *others[:-1], last]
            call.set("expressions", [*call.expressions[:position], *arguments, *call.expressions[position + 1 :]])


def _dialect(dialect: str) -> Any:
    return sqlglot.Dialect.get_or_raise(_READS_AS[dialect])


def _tokens(sql: str, dialect: str) -> list[Token]:
    tokens: list[Token] = _dialect(dialect).tokenize(sql)
    return tokens


def _check_depth(tokens: list[Token], dialect: str) -> None:
    """
    Refuse what is nested too deeply to be parsed, or to be parsed in time.

    sqlglot reads what follows the name of a type twice, first as a type and then as a call (``ARRAY[...]``,
    ``numeric(...)``), so that what stands inside many of them would be read for ever.
    """
    types = _dialect(dialect).parser_class.TYPE_TOKENS
    opened: list[bool] = []  # for each that is open, whether it is read twice
    readings, each_time = 0, 1
    before = None
    for token in tokens:
        if token.token_type in _OPENING or token.token_type is TokenType.CASE:
            opened.append(before is not None and before.token_type in types)
            each_time <<= opened[-1]
        elif (token.token_type in _CLOSING or token.token_type is TokenType.END) and opened:
            each_time >>= opened.pop()
        readings += each_time
        if len(opened) > MAX_DEPTH or readings > _MAX_READINGS:
            raise RefusedStatementError(f"this text is nested more than {MAX_DEPTH} deep, or types in types.")
        before = token


_NO_OPERATORS = {"postgresql": ("==", "<=>", "!", "&&&"), "sqlite": ("<=>", "!", "::", "^")}


_BEFORE_A_SIGN = frozenset({
    *("(", ",", "[", "=", "<", ">", "<>", "!=", "<=", ">=", "+", "-", "*", "/", "%", "||", "~", "&", "|", "<<", ">>"),
    *("->", "->>", "select", "where", "and", "or", "not", "by", "when", "then", "else", "in", "returning", "set", "on"),
    *("having", "limit", "offset", "case", "between", "like", "is", "values", "all", "distinct"),
})  # fmt: skip
"""What stands before a plus that is a sign, and no operator."""


def _check_spelling(sql: str, tokens: list[Token], dialect: str) -> None:
    """Refuse what our tokenizer takes for something else than the database does."""
    for position, token in enumerate(tokens):
        written = sql[token.start : token.end + 1]
        is_part = written == "!" and dialect == "postgresql" and sql[token.end + 1 : token.end + 2] == "~"  # of !~
        if (written in _NO_OPERATORS[dialect] and not is_part) or (
            dialect == "postgresql" and written[:2].lower() == "0x"
        ):
            raise RefusedStatementError(f"{written[:20]} has another meaning in this database, or none.")
        after = tokens[position + 1] if position + 1 < len(tokens) else None
        before = tokens[position - 1] if position else None
        is_sign = written == "+" and (before is None or before.text.lower() in _BEFORE_A_SIGN)
        if is_sign or (written == "~" and after is not None and after.text == "-"):
            raise RefusedStatementError(f"a {written} before a value would be lost: leave it out.")
        if (
            dialect == "postgresql"
            and token.token_type is TokenType.STRING
            and before is not None
            and after is not None
            and before.token_type in _dialect(dialect).parser_class.TYPE_TOKENS
            and after.token_type is TokenType.DCOLON
        ):
            raise RefusedStatementError("a literal with its type before it, and a cast behind: write two casts.")
        if written.lower() == "u" and after is not None and after.text == "&" and after.start == token.end + 1:
            raise RefusedStatementError("names and strings with Unicode escapes (U&): write the characters.")


_MAX_OPEN_JOINS = 8
"""Joins with neither ON nor USING: the parser tries each in two ways."""


def _check_joins(tokens: list[Token]) -> None:
    words = [token.token_type for token in tokens]
    closed = (TokenType.ON, TokenType.USING, TokenType.CROSS, TokenType.NATURAL)
    if words.count(TokenType.JOIN) - sum(map(words.count, closed)) > _MAX_OPEN_JOINS:
        raise RefusedStatementError("a long chain of JOINs without ON: write CROSS JOIN, or a comma.")


_FIRST_WORDS = {"select", "with", "values", "insert", "update", "delete", "merge", "("}


def _check_kind(tokens: list[Token]) -> None:
    """Name the kind of a statement that a tenant does not run; sqlglot would only fail to parse some."""
    first = tokens[0].text.lower()
    if first not in _FIRST_WORDS:
        raise RefusedStatementError(
            f"a tenant runs SELECT, VALUES, INSERT, UPDATE, DELETE and MERGE: {first.upper()[:30]} is refused.\n"
            "What concerns the connection or the schema: run it unscoped, on an engine guarded with "
            "allow_unscoped=True."
        )


def _table_statement(tokens: list[Token]) -> exp.Expr:
    """Return ``TABLE name`` as the SELECT that it stands for."""
    names = [token for token in tokens[1:] if token.token_type is not TokenType.DOT]
    if not 1 <= len(names) <= 2 or len(tokens) != 2 * len(names):  # noqa: PLR2004  # a name, or schema.name
        raise RefusedStatementError("TABLE is followed by the name of one table: write SELECT * FROM ... .")
    parts = [exp.Identifier(this=each.text, quoted=each.token_type is TokenType.IDENTIFIER) for each in names]
    table = exp.Table(this=parts[-1], db=parts[0] if len(parts) > 1 else None)
    return exp.Select(expressions=[exp.Star()], from_=exp.From(this=table))


def _kind(root: exp.Expr) -> str:
    text = str(root.this) if isinstance(root, exp.Command) else type(root).__name__
    return text.upper()[:30]


def _where(error: SqlglotError) -> str:
    """Say where parsing failed: line and column, not the text, which may hold values."""
    details = getattr(error, "errors", None) or [{}]
    line, column = details[0].get("line"), details[0].get("col")
    what = str(details[0].get("description") or "it is not understood").rstrip(".")
    return f"line {line}, column {column}: {what}" if line else what


def printed(root: exp.Expr, dialect: str) -> str:
    """
    Return a tree as SQL on one line, without comments.

    Raises:
        RefusedStatementError: The database has no such thing.
    """
    try:
        return root.sql(
            _READS_AS[dialect],
            comments=False,
            normalize_functions=False,
            unsupported_level=ErrorLevel.IMMEDIATE,
        )
    except SqlglotError as error:
        raise RefusedStatementError(f"this text cannot be printed again: {error}.") from error
