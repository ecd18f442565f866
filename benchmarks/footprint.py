"""What partywall takes besides time for each statement: its import, guarding an engine, the compiled cache."""

from __future__ import annotations

import functools
import subprocess
import sys
import time
from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine
from sqlalchemy.orm import Session

from benchmarks.cases import CASES
from benchmarks.measure import Spread
from benchmarks.schema import Base, Size, fill, new_database
from benchmarks.variants import plain_in_the_call, plain_once, visit_guarded
from benchmarks.writes import WRITES, Write
from partywall import Tenancy

__all__ = ["cache_entries", "guard_seconds", "import_seconds"]

_IMPORTS = """
from time import perf_counter
begin = perf_counter()
import sqlalchemy, sqlalchemy.orm, sqlalchemy.ext.asyncio
middle = perf_counter()
import partywall
print(middle - begin, perf_counter() - middle)
"""


def import_seconds(*, runs: int) -> tuple[Spread, Spread]:
    """
    Time ``import partywall`` on top of SQLAlchemy, in new interpreters.

    Returns:
        The seconds for SQLAlchemy with its ORM and asyncio extension, and those partywall adds.
    """
    outputs = [
        subprocess.run([sys.executable, "-c", _IMPORTS], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(runs + 1)
    ]
    sqlalchemy, added = zip(*outputs[1:], strict=True)  # the first may have had to compile the modules
    return Spread.of([float(each) for each in sqlalchemy]), Spread.of([float(each) for each in added])


def guard_seconds(*, tables: int, runs: int) -> Spread:
    """Time to guard an engine over so many scoped tables of ten columns."""
    metadata = MetaData()
    for number in range(tables):
        Table(
            f"table_{number}",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("tenant_id", Integer, nullable=False),
            *(Column(f"column_{each}", String) for each in range(8)),
        )
    figures = []
    for _ in range(runs):
        engine = create_engine("sqlite://")
        begin = time.perf_counter()
        Tenancy(metadata).guard(engine)
        figures.append(time.perf_counter() - begin)
        engine.dispose()
    return Spread.of(figures)


def cache_entries(*, tenants: int) -> tuple[int, int]:
    """
    Run every case for one tenant, then for all.

    Returns:
        How many statements the engine's compiled cache, and those of the mappers for what a Session
        flushes, held after the first tenant, and after the last.
    """
    size = Size(tenants=tenants, customers=1, invoices=1, lines=1, batch=2)
    caches: list[Any] = [mapper._compiled_cache for mapper in Base.registry.mappers]
    counts: list[int] = []
    with new_database("sqlite") as url:
        fill(url, size)
        engine: Any = create_engine(url)
        visit = visit_guarded(engine)
        for tenant_id in range(1, tenants + 1):
            for case in CASES:
                for prepare in (plain_in_the_call, plain_once):
                    visit(tenant_id, prepare(case, tenant_id, case.key(size, tenant_id)))
            for write in WRITES:
                visit(tenant_id, functools.partial(_write_once, write=write, size=size, tenant_id=tenant_id))
            counts.append(len(engine._compiled_cache) + sum(map(len, caches)))
        engine.dispose()
    return counts[0], counts[-1]


def _write_once(session: Session, *, write: Write, size: Size, tenant_id: int) -> int:
    return write.plain(session, tenant_id, next(write.supply(session, size, tenant_id)))
