"""
What reaches the driver is what was compiled: listeners of the application's may look at it, not change it.

``before_cursor_execute`` may return other SQL and other parameters, after everything was checked. Where an engine has
listeners, what was compiled is remembered, and compared in the dialect's last step before the cursor.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from partywall.errors import RefusedStatementError

__all__ = ["remember"]

_COMMENT = r"\s*/\*[^*/!+][^*/]*\*/\s*"
_APPENDED = re.compile(_COMMENT)  # what tracing tools add


def remember(context: Any) -> None:
    """Remember what a context is about to send, and see to it that it is compared."""
    if not hasattr(context.dialect, "partywall_watched"):
        _watch(context.dialect)
    parameters = context.parameters if context.executemany else context.parameters[0]
    _expect(context, context.statement, parameters)


def _watch(dialect: Any) -> None:
    """Compare from now on what the dialect sends with what was remembered."""
    dialect.partywall_watched = True
    dialect.do_execute = _checked(dialect.do_execute)
    dialect.do_executemany = _checked(dialect.do_executemany)
    dialect.do_execute_no_params = _checked(dialect.do_execute_no_params)
    deliver = dialect._deliver_insertmanyvalues_batches

    def batches(*args: Any, **kw: Any) -> Iterator[Any]:
        context = kw["context"] if "context" in kw else args[5]
        for batch in deliver(*args, **kw):
            if getattr(context, "partywall_expected", None) is not None:  # an unscoped one expects nothing
                _expect(context, batch.replaced_statement, batch.replaced_parameters)
            yield batch

    dialect._deliver_insertmanyvalues_batches = batches


def _expect(context: Any, statement: str, parameters: Any) -> None:
    context.partywall_expected = (statement, _values(parameters))


def _values(parameters: Any) -> list[Any]:
    """Return the values one by one: listeners may change a dictionary in place."""
    if isinstance(parameters, dict):
        return [*parameters.keys(), *parameters.values()]
    if isinstance(parameters, (list, tuple)):
        return [value for each in parameters for value in _values(each)]
    return [parameters]


def _checked(send: Callable[..., Any]) -> Callable[..., Any]:
    def checked(cursor: Any, statement: str, *args: Any, **kw: Any) -> Any:
        context = kw["context"] if "context" in kw else (args[-1] if args else None)
        expected = getattr(context, "partywall_expected", None)
        if expected is not None:
            parameters = args[0] if len(args) > 1 or ("context" in kw and args) else kw.get("parameters", ())
            _compare(expected, statement, parameters)
        return send(cursor, statement, *args, **kw)

    return checked


def _compare(expected: tuple[str, list[Any]], statement: str, parameters: Any) -> None:
    before, values = expected
    if type(statement) is not str:  # one of another type may say that it is equal
        raise _rewritten("SQL", before)
    if statement != before:
        head, found, tail = statement.partition(before)
        if not found or not all(not part.strip() or _APPENDED.fullmatch(part) for part in (head, tail)):
            raise _rewritten("SQL", before)
    now = _values(parameters)
    if len(now) != len(values) or any(one is not other for one, other in zip(now, values, strict=True)):
        raise _rewritten("parameters", before)


def _rewritten(what: str, statement: str) -> RefusedStatementError:
    return RefusedStatementError(
        f"a before_cursor_execute listener has changed the {what} of a statement that was scoped before.\n"
        "Change it in before_execute or do_orm_execute, where it is still a construct. Comments may be added.",
        statement,
    )
