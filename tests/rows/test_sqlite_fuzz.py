"""Random SELECTs on a raw cursor: each gives what it gives the tenant alone, or is refused."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from sqlalchemy.engine import URL

from partywall.rows.sqlite.connection import WalledCursor
from tests import models
from tests.rows.sqlite_world import Databases, answer, new_databases

STATEMENTS = 1500
ENOUGH = 60
SEEDS = (1, 2, 3)

TABLES = {table.name: [column.name for column in table.columns] for table in models.Base.metadata.tables.values()}
QUALIFIERS = ("", "", "", "", "", "main.", "MAIN.", '"main".', "[main].")
NAMES = (*TABLES, "x", "keep", "customers_secret", "partywall_public_tenants", "undeclared", "customer_names")
VALUES = ("1", "2", "101", "201", "'x'", "'remark of tenant 2'", "NULL")
FUNCTIONS = ("upper", "length", "abs", "typeof", "hex", "coalesce")
OPERATORS = ("=", "<", ">", "||", "+", "IS", "IS NOT", "LIKE")
JOINS = (", ", " JOIN ", " LEFT JOIN ", " RIGHT JOIN ", " FULL JOIN ", " CROSS JOIN ", " NATURAL JOIN ")

Sources = list[tuple[str, list[str]]]


class Generator:
    """Makes SELECTs of everything that names a table: joins, CTEs, subqueries, IN, with all kinds of names."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311  # no secret
        self.ctes: list[str] = []

    def chance(self, part: float) -> bool:
        return self.random.random() < part

    def one(self, of: Any) -> Any:
        return self.random.choice(of)

    def column(self, sources: Sources) -> str:
        name, columns = self.one(sources)
        return f"{name}.{self.one(columns)}" if self.chance(0.9) else str(self.one(columns))

    def expression(self, sources: Sources, depth: int) -> str:
        kinds: list[tuple[float, Callable[[], str]]] = [
            (0.35, lambda: self.column(sources)),
            (0.10, lambda: str(self.one(VALUES))),
            (0.10, lambda: f"{self.one(FUNCTIONS)}({self.column(sources)})"),
            (0.15, lambda: f"({self.column(sources)} {self.one(OPERATORS)} {self.expression(sources, depth)})"),
            (0.05, lambda: f"count(*) OVER (PARTITION BY {self.column(sources)})"),
        ]
        if depth > 0:
            kinds += [
                (0.07, lambda: f"({self.query(depth - 1, sources, 1)})"),
                (0.07, lambda: f"({self.column(sources)} IN ({self.query(depth - 1, sources, 1)}))"),
                (0.03, lambda: f"({self.one(VALUES)} IN {self.one(QUALIFIERS)}{self.one(NAMES)})"),
                (0.05, lambda: f"EXISTS ({self.query(depth - 1, sources, 1)})"),
            ]
        weights = [weight for weight, _ in kinds]
        return self.random.choices([kind for _, kind in kinds], weights)[0]()

    def source(self, depth: int) -> tuple[str, tuple[str, list[str]]]:
        alias = f"{self.one('abcd')}{self.random.randrange(9)}" if self.chance(0.7) else ""
        if depth > 0 and self.chance(0.2):
            name = alias or self.one(NAMES)
            return f'({self.query(depth - 1, [], 2)}) AS "{name}"', (f'"{name}"', ["p", "q"])
        if self.chance(0.08):
            return f"(SELECT {self.one(VALUES)} AS remarks, 201 AS id) AS v", ("v", ["remarks", "id"])
        if self.ctes and self.chance(0.3):
            name = self.one(self.ctes)
            return f'"{name}"' + (f" AS {alias}" if alias else ""), (alias or f'"{name}"', ["p", "q"])
        name = self.one(tuple(TABLES))
        return f"{self.one(QUALIFIERS)}{name}" + (f" AS {alias}" if alias else ""), (alias or name, TABLES[name])

    def query(self, depth: int, outer: Sources, columns: int) -> str:
        first, before = "", len(self.ctes)
        if depth > 0 and self.chance(0.35):
            parts = []
            for _ in range(self.one((1, 1, 2))):
                name = self.one(NAMES)
                parts.append(f'"{name}"(p, q) AS ({self.query(depth - 1, [], 2)})')
                self.ctes.append(name)
            first = f"WITH {', '.join(parts)} "
        printed, source = self.source(depth)
        sources = [source]
        for _ in range(self.one((0, 0, 1, 1, 2))):
            join = self.one(JOINS)
            other, source = self.source(depth)
            sources.append(source)
            printed += join + other
            if join.startswith((" JOIN", " LEFT", " RIGHT", " FULL")):
                using = f" USING ({self.one(('id', 'tenant_id', 'remarks', 'name'))})"
                printed += using if self.chance(0.25) else f" ON {self.expression(sources, 0)}"
        seen = [*sources, *outer]
        counts = self.chance(0.25)  # all or none: a plain column beside an aggregate is that of any row
        listed = ", ".join("count(*)" if counts else self.expression(seen, depth) for _ in range(columns))
        text = f"{first}SELECT {listed} FROM {printed}"
        if self.chance(0.5):
            text += f" WHERE {self.expression(seen, depth)}"
        if self.chance(0.1):
            text += f" UNION {self.query(0, [], columns)}"
        del self.ctes[before:]
        return text


@pytest.fixture(scope="module")
def databases(new_sqlite: Callable[..., URL]) -> Databases:
    return new_databases(new_sqlite)


def compared(databases: Databases, seed: int) -> Iterator[tuple[str, bool, bool]]:
    """Return random statements that were answered: whether as alone, and whether it would leak with no wall."""
    generator = Generator(seed)
    with (
        databases.walled() as walled,
        closing(sqlite3.connect(databases.alone)) as alone,
        closing(sqlite3.connect(databases.many)) as plain,
    ):
        for connection in (walled, alone, plain):
            _limit(connection)
        for _ in range(STATEMENTS):
            sql = generator.query(2, [], generator.one((1, 1, 2)))
            seen = answer(walled, sql)
            if isinstance(seen, list):
                expected = answer(alone, sql)
                if isinstance(expected, list):  # else it took too long
                    yield sql, seen == expected, answer(plain, sql) != expected


def _limit(connection: sqlite3.Connection) -> None:
    """Stop statements that run away: a cross join of everything."""
    steps = iter(range(10**9))
    sqlite3.Connection.set_progress_handler(connection, lambda: next(steps) % 50 == 49, 100_000)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_random_read_shows_what_the_tenant_alone_would_see_or_is_refused(databases: Databases, seed: int) -> None:
    answers = list(compared(databases, seed))

    assert [sql for sql, is_same, _ in answers if not is_same] == []
    assert sum(would_leak for _, _, would_leak in answers) > ENOUGH


def test_the_fuzz_notices_joins_that_are_not_looked_at(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WalledCursor, "_check_joins", lambda *_: None)

    assert not all(is_same for seed in SEEDS for _, is_same, _ in compared(databases, seed))
