"""What SQL text costs: the first time, again and again, and in the proof."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlalchemy import URL, Connection, create_engine, text
from sqlglot import tokenizer_core

from benchmarks.measure import Spread
from benchmarks.schema import Base, Size
from partywall import Tenancy, tenant
from partywall.statements.proof import prove
from partywall.statements.rules import Vocabulary
from partywall.statements.text import Tenant, join_pieces, mark_named, scope_text

__all__ = ["COMPILED", "first_time", "proof_time", "repeated"]

COMPILED = not str(tokenizer_core.__file__).endswith(".py")
"""Whether sqlglot runs compiled (``partywall[fast]``)."""

_QUERY = """
SELECT customers.name, count(DISTINCT invoices.id) AS invoices, sum(invoice_lines.amount) AS total
FROM customers
JOIN invoices ON invoices.customer_id = customers.id
LEFT JOIN invoice_lines ON invoice_lines.invoice_id = invoices.id AND invoice_lines.amount > :least
WHERE customers.name <> 'nobody' AND EXISTS (SELECT 1 FROM invoices AS other WHERE other.customer_id = customers.id)
GROUP BY customers.name HAVING count(*) > 0
"""
_POINT = "SELECT invoices.id, invoices.customer_id FROM invoices WHERE {}invoices.id = :key"


def first_time(dialect: str, *, runs: int) -> Spread:
    """Time to parse, scope and print a text of several KB, in seconds per KB."""
    sql = " UNION ALL ".join([_QUERY] * 4).replace(":least", "0")
    vocabulary = Vocabulary(Tenancy(Base.metadata).describe(), dialect=dialect)
    return Spread.of(
        [_seconds(lambda: scope_text(mark_named(sql), vocabulary)) / (len(sql) / 1024) for _ in range(runs)]
    )


def proof_time(dialect: str, *, runs: int) -> Spread:
    """Time to prove a scoped statement, in seconds."""
    vocabulary = Vocabulary(Tenancy(Base.metadata).describe(), dialect=dialect)
    scoped = scope_text(mark_named(_QUERY), vocabulary)
    mark = {"postgresql": "$", "sqlite": ":p"}[dialect]
    sql = join_pieces(scoped.pieces, str, lambda piece: f"{mark}{2 if isinstance(piece, Tenant) else 1}")
    ours = frozenset({2})

    def judge() -> None:
        assert prove(sql, vocabulary.tables, dialect=dialect, tenant_parameters=ours).is_proved

    return Spread.of([_seconds(judge) for _ in range(runs)])


def _seconds(run: Callable[[], object]) -> float:
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def repeated(url: URL, size: Size, *, rounds: int, calls: int) -> dict[str, Spread]:
    """
    Time a short query as text that has been seen before, as the ratio to plain ``text()`` filtered by hand.

    Returns:
        The ratio for ``text()``, built in each call, and for ``exec_driver_sql()``.
    """
    plain, guarded = create_engine(url), Tenancy(Base.metadata).guard(create_engine(url))
    key = size.first_invoice(1)
    mine, theirs = _POINT.format(""), _POINT.format("invoices.tenant_id = :tenant_id AND ")
    sign = "?" if plain.dialect.name == "sqlite" else "%s"
    with plain.connect() as by_hand, guarded.connect() as scoped, tenant(1):

        def texts(connection: Connection, sql: str, **values: int) -> None:
            for _ in range(calls):
                connection.execute(text(sql), values).all()

        def strings(connection: Connection, sql: str, *values: int) -> None:
            for _ in range(calls):
                connection.exec_driver_sql(sql, values).all()

        pairs: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "text()": (
                lambda: texts(scoped, mine, key=key),
                lambda: texts(by_hand, theirs, tenant_id=1, key=key),
            ),
            "exec_driver_sql()": (
                lambda: strings(scoped, mine.replace(":key", sign), key),
                lambda: texts(by_hand, theirs, tenant_id=1, key=key),
            ),
        }
        ratios = {name: Spread.of([_ratio(*pair) for _ in range(rounds)]) for name, pair in pairs.items()}
    plain.dispose()
    guarded.dispose()
    return ratios


def _ratio(ours: Callable[[], None], theirs: Callable[[], None]) -> float:
    """Run both in turn, each first once, so that what drifts meets both."""
    first, second, third, fourth = _seconds(ours), _seconds(theirs), _seconds(theirs), _seconds(ours)
    return (first + fourth) / (second + third)
