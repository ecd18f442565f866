"""Strings for the driver (``exec_driver_sql()``): restricted to the tenant, with parameters as it takes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.util import LRUCache

from partywall.errors import NoTenantError, RefusedStatementError
from partywall.scope import Scope, Tenant
from partywall.statements.as_it_stands import scoped_by_hand
from partywall.statements.presets import is_preset
from partywall.statements.refusals import foreign_value
from partywall.statements.rules import Vocabulary
from partywall.statements.text import Given, Marked, ScopedText, join_pieces, mark_driver, scope_text
from partywall.statements.text import Tenant as TenantPlace

__all__ = ["DriverTexts"]

_TENANT_NAME = "partywall_tenant"


@dataclass(frozen=True)
class DriverText:
    """
    A string as it is sent, and how its parameters are made of those that were given for the original.

    Attributes:
        sql: What is sent.
        scoped: What the text wall made of the original.
        order: For positional parameters: which of the original ones stands where, None for the tenant's.
            None if parameters go by name.
    """

    sql: str
    scoped: ScopedText
    order: tuple[int | None, ...] | None
    bind: Callable[[Any], Any] | None  # makes the tenant's id what the driver takes


class DriverTexts:
    """Restricts strings, and remembers them by their text: a repeated one costs a look into a dictionary."""

    def __init__(self, vocabulary: Vocabulary, prove: Callable[[ScopedText, Vocabulary], None]) -> None:
        self.vocabulary = vocabulary
        self.prove = prove
        self._known: Any = LRUCache(500)

    def prepare(self, sql: str, parameters: Any, dialect: Any, scope: Scope | None) -> tuple[str, Any, str | None]:
        """
        Return what is to be sent for a string of the application's: the string, its parameters, the table it writes.

        Args:
            sql: The string, with parameters in the driver's style.
            parameters: A list of tuples or dictionaries, one for each execution; empty if there are none.
            dialect: The engine's.
            scope: The scope of the connection.

        Raises:
            RefusedStatementError: The string cannot be scoped.
            NoTenantError: It uses a scoped table, and no tenant is in scope.
            ForeignTenantError: It gives another tenant for a tenant column.
        """
        sql = str.__str__(sql)  # a subclass could say one thing and send another
        first = parameters[0] if parameters else ()
        by_name = isinstance(first, Mapping)
        key = (sql, by_name, len(first))
        text = self._known.get(key)
        if text is None:
            if is_preset(sql):
                return sql, parameters, None
            try:
                text = self._known[key] = self._scope(sql, dialect, parameters, by_name=by_name)
            except RefusedStatementError as error:
                raise RefusedStatementError(error.reason, sql, error.tables) from error
        if not text.scoped.restricted:
            tenant_id = None
        elif isinstance(scope, Tenant):
            tenant_id = scope.id
        else:
            tables = tuple(sorted(text.scoped.restricted))
            raise NoTenantError(f"no tenant is in scope, but the statement uses {', '.join(tables)}.", sql, tables)
        _check_rows(text, parameters, len(first), sql)
        value = tenant_id if text.bind is None or tenant_id is None else text.bind(tenant_id)
        if text.scoped.given:
            for given in text.scoped.given:
                _compare(given, text.scoped, parameters, (tenant_id, value), sql)
        if tenant_id is None and not text.order:
            return text.sql, parameters, text.scoped.written
        rows: Sequence[Any] = parameters or ((),)
        order = text.order
        if order is None:
            return text.sql, [{**row, _TENANT_NAME: value} for row in rows], text.scoped.written
        filled = [tuple([value if place is None else row[place] for place in order]) for row in rows]
        return text.sql, filled, text.scoped.written

    def _scope(self, sql: str, dialect: Any, parameters: Any, *, by_name: bool) -> DriverText:
        marked = mark_driver(sql, dialect.paramstyle)
        expected = {isinstance(name, str) for name in marked.names}
        if expected not in (set(), {by_name}):
            raise RefusedStatementError("this string's parameters are not those that were passed.")
        given = len(parameters[0]) if parameters else 0
        numbered = dialect.paramstyle in ("numeric_dollar", "numeric")
        if not by_name:
            _check_positions([int(name) for name in marked.names], given, gaps=not numbered)
        scoped = self._restricted(marked)
        is_doubled = dialect.paramstyle in ("format", "pyformat")  # SQLAlchemy passes parameters if only empty ones
        order: list[int | None] = []

        def parameter(piece: int | TenantPlace) -> str:
            name = None if isinstance(piece, TenantPlace) else scoped.names[piece]
            if by_name:
                return f":{name or _TENANT_NAME}" if dialect.paramstyle == "qmark" else f"%({name or _TENANT_NAME})s"
            place = None if name is None else int(name)
            if numbered:  # anew: one whose value was taken out of the text would leave a gap
                if place not in order:
                    order.append(place)
                return f"${order.index(place) + 1}{self._cast(dialect) if place is None else ''}"
            order.append(place)
            return "?" if dialect.paramstyle == "qmark" else "%s"

        printed = join_pieces(scoped.pieces, lambda part: part.replace("%", "%%") if is_doubled else part, parameter)
        bind = self.vocabulary.tables.tenant_type.dialect_impl(dialect).bind_processor(dialect)
        return DriverText(scoped.prefix + printed, scoped, None if by_name else tuple(order), bind)

    def _restricted(self, marked: Marked) -> ScopedText:
        try:
            scoped = scope_text(marked, self.vocabulary)
        except RefusedStatementError:
            by_hand = scoped_by_hand(marked, self.vocabulary)
            if by_hand is None:
                raise
            return by_hand
        if self.vocabulary.strict:
            self.prove(scoped, self.vocabulary)
        return scoped

    def _cast(self, dialect: Any) -> str:
        name: str = dialect.type_compiler_instance.process(self.vocabulary.tables.tenant_type.dialect_impl(dialect))
        return f"::{name}"


def _check_positions(positions: list[int], given: int, *, gaps: bool) -> None:
    """Check that a string takes as many parameters as were passed: drivers do, of what the application passes."""
    taken = max(positions, default=-1) + 1
    if taken != given or min(positions, default=0) < 0 or not (gaps or len(set(positions)) == given):
        raise RefusedStatementError(f"this string takes {taken} parameters, and {given} were passed.")


def _check_rows(text: DriverText, parameters: Any, given: int, sql: str) -> None:
    """Check that every row of a batch has the parameters that the string takes."""
    if text.order is None:
        fits = all(isinstance(row, Mapping) and all(name in row for name in text.scoped.names) for row in parameters)
    else:
        fits = len(parameters) <= 1 or all(not isinstance(row, Mapping) and len(row) == given for row in parameters)
    if not fits:
        raise RefusedStatementError("this string's parameters are not those that were passed.", sql)


def _compare(given: Given, scoped: ScopedText, parameters: Any, tenant_ids: tuple[Any, Any], sql: str) -> None:
    """Check that a value given for a tenant column is the tenant in scope, as it is or as the driver takes it."""
    for number, row in enumerate(parameters or ((),), 1):
        value = given.value if given.parameter is None else row[scoped.names[given.parameter]]
        if value is None or value not in tenant_ids:
            which = given.row or (number if len(parameters) > 1 else None)
            raise foreign_value(given.table, given.column, which, sql)
