"""From the models to the keys of the database: a table of cases, on paper and on real databases."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import MetaData, create_mock_engine

from tests.key_cases import CASES, Case

URLS = {"postgresql": "postgresql+psycopg://", "sqlite": "sqlite://"}


def changes_of(case: Case, dialect: str) -> str:
    """
    Return how the DDL of the database differs from that of the models.

    Lines of a table that are gone have a minus, new ones a plus, other statements stand by themselves. The key of
    each table to the tenants table, which all have, is left out where there is nothing special about it.
    """
    tenancy = case.tenancy()
    (physical,) = tenancy.physical_metadata(dialect=dialect)
    before, after = (lines_of(metadata, dialect) for metadata in (tenancy.metadata[0], physical))
    changes = []
    for name in sorted(before.keys() | after.keys()):
        gone, new = Counter(before.get(name, ())), Counter(after.get(name, ()))
        lines = [f"- {line}" for line in sorted((gone - new).elements())]
        lines += [f"+ {line}" for line in sorted((new - gone).elements()) if not USUAL.fullmatch(line)]
        changes += [f"{name}", *(f"    {line}" for line in lines)] if lines else []
    return "\n".join(changes)


USUAL = re.compile(r"CONSTRAINT fk_(\w+)_tenant_id_tenants FOREIGN KEY\(tenant_id\) REFERENCES tenants \(id\)")


def lines_of(metadata: MetaData, dialect: str) -> dict[str, list[str]]:
    """Return the lines of the DDL that creates tables, by table, and all other statements."""
    lines: dict[str, list[str]] = {}

    def send(ddl: Any, *_: Any, **__: Any) -> None:
        sent = str(ddl.compile(dialect=engine.dialect)).strip()
        if re.match(r"CREATE\b[^(]*\bTABLE\b", sent):
            first, *rest = (line.strip().rstrip(",") for line in sent.removesuffix(")").strip().splitlines())
            lines.setdefault(first.removesuffix(" ("), []).extend(rest)
        else:
            lines.setdefault("and", []).append(" ".join(sent.split()))

    engine = create_mock_engine(URLS[dialect], send)
    metadata.create_all(engine, checkfirst=False)
    return lines


@pytest.mark.parametrize("dialect", URLS)
@pytest.mark.parametrize("name", CASES)
def test_the_keys_of_the_database_are_those_of_the_models_with_the_tenant(name: str, dialect: str) -> None:
    case = CASES[name]
    if case.only not in (None, dialect):
        pytest.skip(f"{case.only} only")

    assert changes_of(case, dialect) == case.changes[dialect]


def test_set_null_of_listed_columns_is_a_trigger_on_sqlite() -> None:
    """What SQLAlchemy does not print for SQLite, where it is no SQL."""
    (physical,) = CASES["on_delete_set_null_of_listed_columns"].tenancy().physical_metadata(dialect="sqlite")

    (trigger,) = lines_of(physical, "sqlite")["and"]
    assert " SET volume = NULL WHERE tenant_id = OLD.tenant_id AND series = OLD.series AND volume = OLD." in trigger


def test_the_same_models_give_the_same_ddl_each_time() -> None:
    for name, case in CASES.items():
        for dialect in ("postgresql", "sqlite") if case.only is None else (case.only,):
            tenancy = case.tenancy()
            first, second = (lines_of(tenancy.physical_metadata(dialect=dialect)[0], dialect) for _ in range(2))
            for lines in (first, second):
                lines.get("and", []).sort()  # SQLAlchemy sends indexes, and keys of cycles, in no order
            assert first == second, name
