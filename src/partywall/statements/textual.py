"""SQL text inside constructs, and as statements: printed by the compiler as the text wall gives it back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import literal_column
from sqlalchemy.sql import operators
from sqlalchemy.sql.compiler import OPERATORS, SQLCompiler
from sqlalchemy.sql.elements import BindParameter, ColumnClause, TextClause
from sqlalchemy.types import NULLTYPE

from partywall.errors import RefusedStatementError
from partywall.statements.as_it_stands import scoped_by_hand
from partywall.statements.compile import TENANT_PARAMETER
from partywall.statements.presets import is_preset
from partywall.statements.proving import KeepsNames
from partywall.statements.rules import Vocabulary, base_table, is_plain_literal
from partywall.statements.text import (
    Marked,
    Position,
    ScopedText,
    Sources,
    Tenant,
    join_pieces,
    mark_named,
    scope_fragment,
    scope_text,
)
from partywall.statements.vouched import VouchedText
from partywall.statements.writes import GivenTenant, ScopedWriter

__all__ = ["ScopedTextCompiler", "scoped_compiler"]

_TOKEN = re.compile(r"__\[|%\(")  # what SQLAlchemy replaces in printed text, wherever it stands


class ScopedTextCompiler(KeepsNames, ScopedWriter):
    """
    Prints SQL text restricted to the tenant in scope.

    A text is a whole statement on top and inside ``TextualSelect``; anywhere else it is a part of one, and what it
    may be goes by where it stands (`Position`).
    """

    _statement_text: Any = None  # the text of the TextualSelect that is being printed
    _column_text: Any = None  # the text that is the next of a SELECT's columns
    partywall_proved: bool = False  # whether the proof has seen the statement
    _literal: bool = False  # whether what is printed next is the text of a literal_column()

    def visit_textclause(self, textclause: Any, add_to_result_map: Any = None, **kw: Any) -> str:
        if isinstance(textclause, VouchedText):
            return self._print_vouched(textclause, add_to_result_map, kw)
        if not self.stack:
            if is_preset(textclause.text):
                text: str = super().visit_textclause(textclause, **kw)  # type: ignore[no-untyped-call]  # SQLAlchemy's
                return text.strip().removesuffix(";")
            self.isplaintext = True
        if add_to_result_map is not None:
            add_to_result_map(None, None, (textclause,), NULLTYPE)
        is_statement = not self.stack or textclause is self._statement_text
        if is_statement:
            self._statement_text = None
            printed = self._print_text(textclause, None, kw)
            if textclause is not self._text_to_fill:
                return printed
            self._text_to_fill = None
            tenant = self.process(self.tenant)
            return f"SELECT {tenant}, rows_.* FROM ({printed}) AS rows_ WHERE true"  # noqa: S608  # it was scoped
        if textclause.text.strip() == "*" and kw.get("within_aggregate_function"):
            return "*"
        column, self._column_text = self._column_text, None
        if column is textclause and not kw.get("within_label_clause"):
            printed = self._print_text(textclause, Position.COLUMNS, kw)
            if "*" in printed:
                self._check_asterisk(literal_column("*"), counted=False)
            return printed
        return self._print_text(textclause, Position.SOURCE if kw.get("asfrom") else Position.EXPRESSION, kw)

    def _print_vouched(self, textclause: VouchedText, add_to_result_map: Any, kw: Any) -> str:
        """Print a text as it stands; the door looks whether a wall in the database holds it."""
        is_statement = not self.stack or (textclause is self._statement_text and len(self.stack) == 1)
        if not is_statement or self.public:
            raise RefusedStatementError(
                "a text that was vouched for is a whole statement, or the whole of a TextualSelect.", textclause.text
            )
        self.vouched = textclause
        text: str = super().visit_textclause(  # type: ignore[no-untyped-call]  # SQLAlchemy's
            textclause, add_to_result_map=add_to_result_map, **kw
        )
        return text

    def _print_text(self, textclause: Any, position: Position | None, kw: Any) -> str:
        if getattr(self, "_collect_params", False):  # 2.1
            self._add_to_params(textclause)  # type: ignore[attr-defined,unused-ignore]
        if self.public:
            raise self._not_public("SQL text")
        try:
            scoped = self._scoped(mark_named(textclause.text), position, _visible_ctes(self, kw))
            return self._print(scoped, textclause._bindparams, kw)
        except RefusedStatementError as error:
            if error.statement:
                raise
            raise RefusedStatementError(error.reason, textclause.text, error.tables) from error

    def _scoped(self, marked: Marked, position: Position | None, ctes: tuple[str, ...]) -> ScopedText:
        if position is not None:
            return scope_fragment(marked, self.vocabulary, position, sources=self._sources(), ctes=ctes)
        try:
            return scope_text(marked, self.vocabulary, ctes=ctes)
        except RefusedStatementError:
            by_hand = None if ctes else scoped_by_hand(marked, self.vocabulary)
            if by_hand is None:
                raise
            return by_hand

    def _print(self, scoped: ScopedText, binds: Any, kw: Any) -> str:
        self.restricted.update(scoped.restricted)
        self.used.update(scoped.used)
        self.written = scoped.written or self.written
        for given in scoped.given:
            if given.parameter is None:
                bind: BindParameter[Any] = BindParameter(None, given.value, unique=True)
                self.given.append(GivenTenant(bind, None, given.table, given.column, given.row))
            else:
                bind = binds[scoped.names[given.parameter]]
                self.given.append(GivenTenant(bind, self._position(bind), given.table, given.column, given.row))
        options = {key: value for key, value in kw.items() if key in ("literal_binds", "literal_execute")}

        if any(isinstance(piece, str) and _TOKEN.search(piece) for piece in scoped.pieces):
            raise RefusedStatementError("this text holds what reads like a placeholder of SQLAlchemy's.")

        def parameter(piece: int | Tenant) -> str:
            if isinstance(piece, Tenant):
                return self.process(self.tenant)
            return self.process(binds[scoped.names[piece]], **options)

        return scoped.prefix + join_pieces(scoped.pieces, self.post_process_text, parameter)

    def visit_textual_select(self, taf: Any, *args: Any, **kw: Any) -> Any:
        if self.public:
            raise self._not_public("SQL text")
        outer, self._statement_text = self._statement_text, taf.element
        try:
            return super().visit_textual_select(taf, *args, **kw)  # type: ignore[no-untyped-call]  # SQLAlchemy's
        finally:
            self._statement_text = outer

    # Lists, in which a text may be several elements.

    def order_by_clause(self, select: Any, **kw: Any) -> str:
        listed = self._list(select._order_by_clauses, Position.ORDER, kw)
        return f" ORDER BY {listed}" if listed else ""

    def group_by_clause(self, select: Any, **kw: Any) -> str:
        listed = self._list(
            (*select._group_by_clauses, *self._tenants_of(select._group_by_clauses)), Position.GROUP, kw
        )
        return f" GROUP BY {listed}" if listed else ""

    def _tenants_of(self, grouped: Any) -> Iterator[Any]:
        """
        Yield the tenant columns of the tables whose primary keys are grouped by, where they are part of the key.

        Else PostgreSQL would not take the key for its table, whose other columns may then be selected too.
        """
        if self.vocabulary.dialect != "postgresql" or not self.vocabulary.tables.ids_repeat:
            return
        names: dict[Any, set[str]] = {}
        for clause in grouped:
            if isinstance(clause, ColumnClause) and clause.table is not None:
                names.setdefault(clause.table, set()).add(clause.name)
        for source, columns in names.items():
            table = base_table(source)
            description = None if table is None else self.vocabulary.describe(table)
            if description is None or not description.ids_repeat or not columns.issuperset(description.primary_key):
                continue
            tenant = description.tenant_column_of(source)
            if tenant is not None and tenant.name not in columns:
                yield tenant

    def _list(self, clauses: Any, position: Position, kw: Any) -> str:
        if not any(isinstance(clause, TextClause) for clause in clauses):
            return self._delimited(clauses, kw)
        printed = (
            self._print_text(clause, position, kw) if isinstance(clause, TextClause) else self._delimited([clause], kw)
            for clause in clauses
        )
        return ", ".join(filter(None, printed))

    def _delimited(self, clauses: Any, kw: Any) -> str:
        text: str = self._generate_delimited_list(  # type: ignore[no-untyped-call]  # SQLAlchemy's
            clauses, OPERATORS[operators.comma_op], **kw
        )
        return text

    def _label_select_column(self, select: Any, column: Any, *args: Any, **kw: Any) -> Any:
        self._column_text = column if isinstance(column, TextClause) else None
        return super()._label_select_column(select, column, *args, **kw)

    # Text as the name of a column.

    def visit_column(self, column: Any, *args: Any, **kw: Any) -> str:
        name = str(column.name)
        if column.is_literal and name != "*" and not is_plain_literal(name):
            if column.table is not None:
                raise RefusedStatementError("a literal_column() of a table: write it without the table.")
            self._literal = True
        try:
            return super().visit_column(column, *args, **kw)
        finally:
            self._literal = False

    def escape_literal_column(self, text: str) -> str:
        if not self._literal:  # an operator's
            escaped: str = super().escape_literal_column(text)  # type: ignore[no-untyped-call]  # SQLAlchemy's
            return escaped
        self._literal = False
        if self.public:
            raise self._not_public("SQL text")
        scoped = scope_fragment(
            Marked(str.__str__(text), ()), self.vocabulary, Position.EXPRESSION, sources=self._sources()
        )
        return self._print(scoped, {}, {})

    # What a text sees around it.

    def _sources(self) -> Sources:
        """Return the sources of the constructs around a text by name, the inner before the outer."""
        found: Sources = {}
        for entry in self.stack:
            selectable = entry["selectable"]
            sources = [*entry["asfrom_froms"], *entry["correlate_froms"], getattr(selectable, "table", None)]
            for source in sources:
                name = getattr(source, "name", None)
                if isinstance(name, str):
                    table = base_table(source)
                    found[name.lower()] = None if table is None else self.vocabulary.describe(table)
        return found


def _visible_ctes(compiler: Any, kw: Any) -> tuple[str, ...]:
    """Return the names that a text inside a CTE, or with CTEs of its own, may use."""
    visiting = kw.get("visiting_cte")
    names = [str(visiting.name)] if visiting is not None and visiting.recursive else []
    selectable = compiler.stack[-1]["selectable"] if compiler.stack else None
    names += [str(cte.name) for cte in getattr(selectable, "_independent_ctes", ()) or ()]
    return tuple(name.lower() for name in names)


def scoped_compiler(base: type[SQLCompiler], vocabulary: Vocabulary) -> type[SQLCompiler]:
    """Return the compiler of a dialect, *base*, with our rules."""
    tenant: BindParameter[Any] = BindParameter(
        TENANT_PARAMETER, type_=vocabulary.tables.tenant_type, required=True, unique=False
    )
    attributes = {"vocabulary": vocabulary, "tenant": tenant}
    return type(f"Scoped{base.__name__}", (ScopedTextCompiler, base), attributes)
