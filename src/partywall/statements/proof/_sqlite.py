"""Reads SQLite, by sqlglot, into the model of the proof, and checks that both cut the text into the same words."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator
from typing import Any

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect

from partywall.statements.proof import _model as model
from partywall.statements.proof._model import NotProvedError

__all__ = ["DIALECT", "read"]

_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def _fold(name: str) -> str:
    """Make names equal that SQLite takes for equal: it knows the case of ASCII letters alone."""
    return name.translate(_LOWER)


DIALECT = model.Dialect("main", _fold, sees_all_siblings=True, groups_loosely=True)

_FIRST_WORDS = {"SELECT", "VALUES", "WITH", "INSERT", "UPDATE", "DELETE"}
# The words of SQLite (tokenize.c), less what our statements have no use for: TCL variables, words outside ASCII.
_WORD = re.compile(
    r"""
    (?P<space>[ \t\n\f\r]+|--[^\n]*(?:\n|\Z)|/\*(?:(?!/\*|\*/).)*\*/)
    |(?P<quoted>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\])
    |(?P<blob>[xX]'[0-9A-Fa-f]*'(?!'))
    |(?P<number>(?:0[xX][0-9A-Fa-f]+|(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![A-Za-z0-9_$.]))
    |(?P<parameter>:p[1-9][0-9]*(?![A-Za-z0-9_$(:]))
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*(?!\$|[^\x00-\x7f]))
    |(?P<operator>->>|->|\|\||<<|>>|<=|>=|<>|!=|==|[-+*%=<>&|~.,;()]|/(?!\*))
    """,
    re.VERBOSE | re.DOTALL,
)
# What a parser in C may run out of stack over, if there are many thousands: parentheses in each other, joins, and types
# in each other (``ARRAY<ARRAY<``). For each join without ON the parser reads the rest of the text twice.
_DEEPEST, _MOST, _MOST_WITHOUT_ON = 200, 1000, 8
_COUNTED = ("(", ")", "<", "JOIN", "CROSS", "ON", "USING")

_ROWIDS = {"rowid", "oid", "_rowid_"}

_JOINS = {
    "": model.JoinKind.INNER,
    "LEFT": model.JoinKind.LEFT,
    "RIGHT": model.JoinKind.RIGHT,
    "FULL": model.JoinKind.FULL,
}
_TYPES = {  # by affinity; UUID would be NUMERIC
    exp.DataType.Type.INT: "integer",
    exp.DataType.Type.BIGINT: "integer",
    exp.DataType.Type.SMALLINT: "integer",
    exp.DataType.Type.DECIMAL: "numeric",
    exp.DataType.Type.TEXT: "text",
    exp.DataType.Type.VARCHAR: "text",
    exp.DataType.Type.CHAR: "text",
}
# What each kind of node that has to do with tables may consist of. A part that is not here is not proved.
_PARTS: dict[type[exp.Expr], frozenset[str]] = {
    kind: frozenset(parts.split())
    for kind, parts in {
        exp.Select: "expressions distinct from_ joins where group having windows order limit offset with_",
        exp.Union: "this expression distinct order limit offset with_",
        exp.Except: "this expression distinct order limit offset with_",
        exp.Intersect: "this expression distinct order limit offset with_",
        exp.Values: "expressions alias order limit offset with_",
        exp.Insert: "this expression conflict returning alternative default with_",
        exp.Update: "this expressions from_ where returning order limit with_",
        exp.Delete: "this where returning order limit with_",
        exp.OnConflict: "action conflict_keys index_predicate expressions where",
        exp.With: "expressions recursive",
        exp.CTE: "this alias materialized",
        exp.From: "this",
        exp.Table: "this db alias joins",
        exp.TableAlias: "this columns",
        exp.Join: "this method side kind on using",
        exp.Subquery: "this alias joins",
        exp.Schema: "this expressions",
    }.items()
}
_QUERIES = (exp.Select, exp.SetOperation, exp.Values, exp.Insert, exp.Update, exp.Delete)


def read(sql: str) -> model.Statement:
    """
    Read one statement.

    Raises:
        NotProvedError: It cannot be parsed, is not one statement, or has a part the proof does not know.
    """
    words = _words(sql)
    kind = sql[slice(*words[0][:2])].upper() if words else "nothing"
    if kind not in _FIRST_WORDS:
        raise NotProvedError(f"the proof knows no statement of the kind {kind}", 0)
    dialect = Dialect.get_or_raise("sqlite")
    try:
        tokens = dialect.tokenize(sql)
        _compare(words, [(token.start, token.end + 1) for token in tokens])
        statements = dialect.parser().parse(tokens, sql)
    except NotProvedError:
        raise
    except Exception as error:  # whatever its reason, what cannot be parsed is not proved
        shown = str(error).partition("\n")[0]
        raise NotProvedError(f"the parser does not understand it: {shown}") from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Expr):
        raise NotProvedError(f"the text holds {len(statements)} statements: the proof reads one")
    root = statements[0]
    return model.Statement(_query(root), _count_tables(root))


def _words(sql: str) -> list[tuple[int, int, bool]]:
    """
    Cut the text into words as SQLite does, and ``:`` from the name of a parameter as the parser does.

    Returns:
        Of each word its start, its end, and whether it is of letters.
    """
    words: list[tuple[int, int, bool]] = []
    position, depth = 0, 0
    counts = dict.fromkeys(_COUNTED, 0)
    for match in _WORD.finditer(sql):
        start, end = match.span()
        if start != position:
            break
        position, kind = end, match.lastgroup
        if kind == "space":
            continue
        if kind == "parameter":
            words += [(start, start + 1, False), (start + 1, end, False)]
            continue
        words.append((start, end, kind == "word"))
        text = match[0].upper()
        if text in counts:
            counts[text] += 1
            depth += (text == "(") - (text == ")")
            if depth > _DEEPEST:
                raise NotProvedError("the statement is nested too deeply to be read", start)
    if position != len(sql):
        raise NotProvedError("the proof does not know this word or comment of SQLite", position)
    if counts["JOIN"] > _MOST or counts["<"] > _MOST:
        raise NotProvedError("the statement has too many joins or comparisons to be read")
    if counts["JOIN"] - counts["CROSS"] - counts["ON"] - counts["USING"] > _MOST_WITHOUT_ON:
        raise NotProvedError("the statement has too many joins without ON or USING to be read: write CROSS JOIN")
    return words


def _compare(words: list[tuple[int, int, bool]], tokens: list[tuple[int, int]]) -> None:
    """Check that the parser's words are SQLite's, or several of letters in a row (``GROUP BY``), with none left out."""
    place = 0
    for start, end in tokens:
        first = place
        while place < len(words) and words[place][1] < end and words[place][2]:
            place += 1
        if place == len(words) or words[first][0] != start or words[place][1] != end:
            raise NotProvedError("the parser and SQLite do not read the same words", start)
        place += 1
    if place != len(words):
        raise NotProvedError("the parser and SQLite do not read the same words", words[place][0])


def _count_tables(root: exp.Expr) -> int:
    """Count the names of tables in a tree by a walk that knows nothing of its meaning."""
    return sum(not isinstance(table.this, exp.Func) for table in root.find_all(exp.Table))


def _position(node: Any) -> int | None:
    for each in node.find_all(exp.Identifier) if isinstance(node, exp.Expr) else ():
        start = each.meta.get("start")
        return start if isinstance(start, int) else None
    return None


def _parts(node: Any) -> dict[str, Any]:
    """Return the parts of a node that are there, none but those the proof knows."""
    if type(node) not in _PARTS:
        raise NotProvedError(f"the proof does not know {type(node).__name__} here", _position(node))
    parts = {name: value for name, value in node.args.items() if value}
    unknown = sorted(parts.keys() - _PARTS[type(node)])
    if unknown:
        raise NotProvedError(f"the proof does not know {unknown[0]} of {type(node).__name__}", _position(node))
    return parts


def _name(node: Any) -> str:
    if not isinstance(node, exp.Identifier) or not isinstance(node.this, str):
        raise NotProvedError(f"the proof does not know {type(node).__name__} as a name", _position(node))
    return _fold(node.this)


# Statements


def _query(node: Any) -> model.Query:
    parts = _parts(node)
    ctes = _ctes(parts)
    match node:
        case exp.Select():
            sources, nested = _from_clause(parts)
            targets = parts.get("expressions", ())
            outputs, names = tuple(map(_value, targets)), tuple(map(_output_name, targets))
            apart = ("from_", "joins", "with_")
            nested += _nested([value for name, value in parts.items() if name not in apart])
            return model.Select(ctes, sources, _where(parts), outputs, (), nested, names)
        case exp.Values():
            rows = parts["expressions"]
            if not all(isinstance(row, exp.Tuple) for row in rows):
                raise NotProvedError("the proof does not know a row of VALUES")
            nested = _nested([value for name, value in parts.items() if name not in ("alias", "with_")])
            return model.Values(ctes, tuple(tuple(map(_value, row.expressions)) for row in rows), nested)
        case exp.SetOperation():
            nested = _nested([parts.get("order"), parts.get("limit"), parts.get("offset")])
            return model.SetOperation(ctes, (_arm(parts["this"]), _arm(parts["expression"])), nested)
        case exp.Insert():
            return _insert(ctes, parts)
        case exp.Update():
            sources, nested = _from_clause(parts)
            nested += _nested([parts.get(name) for name in ("expressions", "where", "returning", "order", "limit")])
            assignments = _assignments(parts["expressions"])
            return model.Update(ctes, _table(parts["this"]), sources, assignments, _where(parts), nested)
        case exp.Delete():
            nested = _nested([parts.get(name) for name in ("where", "returning", "order", "limit")])
            return model.Delete(ctes, _table(parts["this"]), None, _where(parts), nested)
    raise NotProvedError(f"the proof does not know {type(node).__name__} as a query")


def _arm(node: Any) -> model.Query:
    """Return an arm of a set operation, or a CTE, that may stand in parentheses."""
    while isinstance(node, exp.Subquery) and _parts(node).keys() == {"this"}:
        node = node.this
    return _query(node)


def _ctes(parts: dict[str, Any]) -> model.With:
    if "with_" not in parts:
        return model.With()
    clause = _parts(parts["with_"])
    tables = []
    for each in clause["expressions"]:
        cte = _parts(each)
        tables.append(model.CommonTable(_name(_parts(cte["alias"])["this"]), _query(cte["this"])))
    return model.With(bool(clause.get("recursive")), tuple(tables))


def _insert(ctes: model.With, parts: dict[str, Any]) -> model.Insert:
    alternative = str(parts.get("alternative", "")).upper()
    target, columns = parts["this"], None
    if isinstance(target, exp.Schema):
        schema = _parts(target)
        target, columns = schema["this"], tuple(map(_name, schema["expressions"]))
    if alternative not in ("", "ABORT", "FAIL", "IGNORE", "ROLLBACK"):
        raise NotProvedError(f"INSERT OR {alternative} removes rows, and whose is not known", _position(target))
    upserts: tuple[model.Upsert, ...] = ()
    conflict = parts.get("conflict")
    if conflict is not None:
        clause = _parts(conflict)
        action = str(clause.get("action", "")).upper()
        if action == "DO UPDATE":
            upserts = (model.Upsert(_assignments(clause.get("expressions", ())), _where(clause)),)
        elif action != "DO NOTHING":
            raise NotProvedError(f"the proof does not know ON CONFLICT {action}", _position(target))
    rows = _arm(parts["expression"]) if "expression" in parts else None
    return model.Insert(ctes, _table(target), columns, rows, upserts, _nested([conflict, parts.get("returning")]))


def _assignments(nodes: Iterable[Any]) -> tuple[model.Assignment, ...]:
    found = []
    for node in nodes:
        left = node.this if isinstance(node, exp.EQ) else None
        together = left.expressions if isinstance(left, exp.Tuple) else None  # (a, b) = ...: what each gets is not read
        for each in [left] if together is None else together:
            column = None if each is None else _value(each)
            if not isinstance(column, model.Column) or column.qualifier:
                raise NotProvedError("the proof does not know an assignment of SET", _position(node))
            found.append(model.Assignment(column.name, _value(node.expression) if together is None else None))
    return tuple(found)


# Sources


def _from_clause(parts: dict[str, Any]) -> tuple[model.Tree | None, tuple[model.Query, ...]]:
    """Return the sources of a block, and the queries in ON and in the arguments of functions."""
    if "from_" not in parts:
        return None, ()
    first = _parts(parts["from_"])["this"]
    return _chain(first, parts.get("joins", []))


def _chain(first: exp.Expr, joins: list[Any]) -> tuple[model.Tree, tuple[model.Query, ...]]:
    """Read joins as SQLite does, from the left to the right; the comma is one of them."""
    tree, nested = _source(first)
    # sqlglot hangs the joins of UPDATE ... FROM, and those in parentheses, on their first source.
    for node in [*(first.args.get("joins") or []), *joins]:
        join = _parts(node)
        method, side, kind = (str(join.get(word, "")).upper() for word in ("method", "side", "kind"))
        is_known = (kind in ("", "OUTER") if side else kind in ("", "INNER", "CROSS")) and method in ("", "NATURAL")
        if side not in _JOINS or not is_known:
            shown = " ".join(filter(None, (method, side, kind)))
            raise NotProvedError(f"the proof does not know {shown} JOIN", _position(node))
        if join["this"].args.get("joins"):
            raise NotProvedError("SQLite has no joins in each other without parentheses", _position(node))
        right, inside = _source(join["this"])
        using = tuple(map(_name, join.get("using", ())))
        on = tuple(_conjuncts(join.get("on")))
        tree = model.Join(_JOINS[side], tree, right, on, using, is_natural=method == "NATURAL")
        nested += inside + _nested(join.get("on"))
    return tree, nested


def _source(node: exp.Expr) -> tuple[model.Tree, tuple[model.Query, ...]]:
    """Read one source without the joins that hang on it."""
    alias = node.args.get("alias")
    name = _name(_parts(alias)["this"]) if alias else None
    columns = None if alias and alias.args.get("columns") else ()  # SQLite has no such list
    match node:
        case exp.Table() if isinstance(node.this, exp.Func):
            called = _fold(node.this.name if isinstance(node.this, exp.Anonymous) else node.this.sql_name())
            _parts(node)
            return model.DerivedSource(name or called, None, None, called), _nested(node.this)
        case exp.Table():
            return _table(node), ()
        case exp.Values():
            return model.DerivedSource(name, _query(node), None, columns=columns), ()
        case exp.Subquery():
            inner = _parts(node)["this"]
            if not isinstance(inner, (exp.Table, exp.Subquery)):
                return model.DerivedSource(name, _query(inner), None, columns=columns), ()
            if alias:
                raise NotProvedError("a join in parentheses with a name hides the names of its tables", _position(node))
            return _chain(inner, [])
    raise NotProvedError(f"the proof does not know {type(node).__name__} as a source", _position(node))


def _table(node: Any) -> model.TableSource:
    parts = _parts(node)
    alias = _parts(parts["alias"]) if "alias" in parts else {}
    schema = _name(parts["db"]) if "db" in parts else None
    name = _name(alias["this"]) if "this" in alias else None
    return model.TableSource(schema, _name(parts["this"]), name, "columns" in alias, _position(parts["this"]))


# Expressions


def _where(parts: dict[str, Any]) -> tuple[model.Conjunct, ...]:
    return tuple(_conjuncts(parts["where"].this)) if "where" in parts else ()


def _bare(node: Any) -> Any:
    while isinstance(node, exp.Paren):
        node = node.this
    return node


def _conjuncts(node: Any) -> Iterator[model.Conjunct]:
    """Yield the conjuncts of a condition that could restrict a source."""
    node = _bare(node)
    if isinstance(node, exp.And):
        yield from _conjuncts(node.this)
        yield from _conjuncts(node.expression)
    elif isinstance(node, exp.Or):
        for first, second in ((node.this, node.expression), (node.expression, node.this)):
            equal, tested = _equal(first), _bare(second)
            is_test = type(tested) is exp.Is and isinstance(tested.expression, exp.Null)
            column = _value(tested.this) if is_test else None
            if not isinstance(equal, model.Equal) or column != equal.column:
                continue
            if isinstance(equal.other, model.Parameter):
                yield model.EqualOrNull(equal.column, equal.other)
    elif _integer(node) == 0:  # ``false`` may be a column in SQLite
        yield model.Never()
    else:
        equal = _equal(node)
        if equal is not None:
            yield equal


def _integer(node: Any) -> int | None:
    node = _bare(node)
    is_integer = type(node) is exp.Literal and not node.is_string and re.fullmatch(r"[0-9]{1,9}", node.this)
    return int(node.this) if is_integer else None


def _equal(node: Any) -> model.Equal | model.Never | None:
    node = _bare(node)
    if type(node) is not exp.EQ:
        return None
    numbers = _integer(node.this), _integer(node.expression)
    if None not in numbers:
        return model.Never() if numbers[0] != numbers[1] else None
    left, right = _value(node.this), _value(node.expression)
    if isinstance(left, model.Column) and isinstance(right, (model.Column, model.Parameter)):
        return model.Equal(left, right)
    if isinstance(left, model.Parameter) and isinstance(right, model.Column):
        return model.Equal(right, left)
    return None


def _value(node: Any) -> model.Value:
    """Return what an expression is, if it is a column or a parameter (in casts) or ``*``."""
    if isinstance(node, exp.Alias):
        node = node.this
    node = _bare(node)
    casts: list[str] = []
    while type(node) is exp.Cast:
        casts.append(_TYPES.get(node.to.this, "other"))
        node = _bare(node.this)
    if isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star)):
        return model.Star()
    if isinstance(node, exp.Column):
        column = _column(node)
        return column if column is None or not casts else model.CastColumn(column, tuple(casts))
    if type(node) is exp.Placeholder and isinstance(node.this, str) and re.fullmatch(r"p[1-9][0-9]*", node.this):
        return model.Parameter(int(node.this[1:]), tuple(casts))
    return None


def _column(node: exp.Expr) -> model.Column | None:
    names = [node.args.get(part) for part in ("db", "table", "this")]
    if node.args.get("catalog") or node.args.get("join_mark") or not isinstance(node.this, exp.Identifier):
        return None
    *qualifier, name = [_name(each) for each in names if each is not None]
    return model.Column(tuple(qualifier), name)


def _output_name(node: Any) -> str | None:
    """Return the name of an output, if it is given one or is a bare column; of a key called rowid it is the key's."""
    if isinstance(node, exp.Alias):
        alias = node.args.get("alias")
        return _name(alias) if isinstance(alias, exp.Identifier) else None
    value = _value(node)
    return value.name if isinstance(value, model.Column) and value.name not in _ROWIDS else None


def _nested(value: Any) -> tuple[model.Query, ...]:
    """Return the queries in an expression, wherever they stand in it."""
    found: list[model.Query] = []
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, list):
            pending.extend(reversed(each))
        elif isinstance(each, _QUERIES):
            found.append(_query(each))
        elif isinstance(each, exp.Expr):
            if isinstance(each, exp.In) and each.args.get("field") is not None:
                raise NotProvedError("IN with the name of a table reads all of it", _position(each))
            if isinstance(each, (exp.Subquery, exp.Table)) and _parts(each).keys() != {"this"}:
                raise NotProvedError("the proof does not know a source in this place", _position(each))
            pending.extend(reversed(list(each.args.values())))
    return tuple(found)
