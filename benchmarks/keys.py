"""What keys with the tenant in them cost, to derive and to use, against the keys of the same models as written."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    URL,
    Column,
    Connection,
    Engine,
    Executable,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    delete,
    event,
    func,
    insert,
    select,
)

from benchmarks.measure import Clock, DisagreementError, Plan, Spread, Task, Timings, interleaved, repeats_for
from benchmarks.schema import Size
from partywall import Tenancy

__all__ = ["KEY_CASES", "KeyCase", "Schema", "derive_seconds", "measure_keys", "open_schemas", "verify_keys"]

LINES = 3  # of each invoice
NEW = 1_000_000  # the first id that no row has


@dataclass(frozen=True)
class Schema:
    """The tables of the models in one layout. All schemas stand in one database."""

    name: str
    layout: str
    metadata: MetaData
    invoices: Table
    lines: Table


def _schema(name: str, layout: str) -> Schema:
    """Return invoices and their lines, both with a foreign key to the tenants and an index for the one between them."""
    metadata, prefix = MetaData(), "_".join(name.replace(",", "").replace("-", " ").split())
    Table(f"{prefix}_tenants", metadata, Column("id", Integer, primary_key=True, autoincrement=False))

    def table(suffix: str, *columns: Any) -> Table:
        key = Column("id", Integer, primary_key=True, autoincrement=False)
        owner: Column[int] = Column("tenant_id", ForeignKey(f"{prefix}_tenants.id"), nullable=False)
        return Table(f"{prefix}_{suffix}", metadata, key, owner, *columns)

    invoices = table("invoices", Column("number", String), Column("total", Integer))
    Index(f"{prefix}_invoices_of_tenant", invoices.c.tenant_id, invoices.c.id)
    invoice: Column[int] = Column("invoice_id", ForeignKey(invoices.c.id, ondelete="CASCADE"), nullable=False)
    lines = table("lines", invoice, Column("article", String), Column("amount", Integer))
    # The index that serves the foreign key as the layout has it; without, a delete would read the whole table.
    Index(f"{prefix}_lines_of_invoice", *([] if layout == "as written" else [lines.c.tenant_id]), invoice)
    return Schema(name, layout, metadata, invoices, lines)


SCHEMAS = (
    _schema("as written", "as written"),
    _schema("as written, again", "as written"),
    _schema("keep", "keep"),
    _schema("tenant-first", "tenant-first"),
)


@dataclass(frozen=True)
class KeyCase:
    """
    One statement, filtered by hand.

    Attributes:
        statement: Returns it, for one schema; it is built once.
        parameters: Gives those of one run after the other, for a tenant; each finds rows that no run before changed.
        at_most: The bar for the ratio of either layout to the keys as written.
    """

    name: str
    statement: Callable[[Schema], Executable]
    parameters: Callable[[Size, int], Iterator[Any]]
    at_most: float


def _invoice_ids(size: Size, tenant: int) -> range:
    first = size.first_invoice(tenant)
    return range(first, first + size.customers * size.invoices)


def _new_invoices(_size: Size, tenant: int) -> Iterator[dict[str, Any]]:
    return ({"id": each, "tenant_id": tenant, "number": "new", "total": 1} for each in itertools.count(NEW))


def _new_lines(size: Size, tenant: int) -> Iterator[dict[str, Any]]:
    invoices = itertools.cycle(_invoice_ids(size, tenant))
    for number, invoice in zip(itertools.count(NEW), invoices):
        yield {"id": number, "tenant_id": tenant, "invoice_id": invoice, "article": "new", "amount": 1}


def _batches(
    one_by_one: Callable[[Size, int], Iterator[dict[str, Any]]],
) -> Callable[[Size, int], Iterator[list[dict[str, Any]]]]:
    def batches(size: Size, tenant: int) -> Iterator[list[dict[str, Any]]]:
        rows = one_by_one(size, tenant)
        while True:
            yield list(itertools.islice(rows, size.batch))

    return batches


def _keys(size: Size, tenant: int) -> Iterator[dict[str, int]]:
    return ({"tenant": tenant, "key": each} for each in _invoice_ids(size, tenant))


def _keys_again_and_again(size: Size, tenant: int) -> Iterator[dict[str, int]]:
    return itertools.cycle(_keys(size, tenant))


def _one(table: Table) -> list[Any]:
    return [table.c.tenant_id == bindparam("tenant"), table.c.id == bindparam("key")]


WRITE, READ = 1.10, 1.02  # a read is to take no longer; two hundredths are noise

KEY_CASES = (
    KeyCase("insert 1 parent", lambda schema: insert(schema.invoices), _new_invoices, WRITE),
    KeyCase("insert 1 child", lambda schema: insert(schema.lines), _new_lines, WRITE),
    KeyCase("insert 1,000 parents", lambda schema: insert(schema.invoices), _batches(_new_invoices), WRITE),
    # On SQLite a key of several columns is a tree beside the table's own, which an id alone is: tenant-first takes 1.2
    # there. WITHOUT ROWID brings it to 1.14, and deletes to 1.16.
    KeyCase("insert 1,000 children", lambda schema: insert(schema.lines), _batches(_new_lines), WRITE),
    KeyCase(
        f"delete a parent and {LINES} children",
        lambda schema: delete(schema.invoices).where(*_one(schema.invoices)),
        _keys,
        WRITE,
    ),
    KeyCase(
        "point read",
        lambda schema: select(schema.invoices).where(*_one(schema.invoices)),
        _keys_again_and_again,
        READ,
    ),
)


@contextlib.contextmanager
def open_schemas(url: URL, size: Size) -> Iterator[Engine]:
    """Create and fill every schema, and give an engine on all of them, whose foreign keys are heeded."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA foreign_keys = ON"))
    owners = [(tenant, invoice) for tenant in range(1, size.tenants + 1) for invoice in _invoice_ids(size, tenant)]
    for schema in SCHEMAS:
        tenants = f"{schema.invoices.name.removesuffix('_invoices')}_tenants"
        Tenancy(schema.metadata, tenants=tenants, layout=schema.layout).create_all(engine)
        with engine.begin() as connection:
            ids = [{"id": each} for each in range(1, size.tenants + 1)]
            connection.execute(insert(schema.metadata.tables[tenants]), ids)
            invoices = [{"id": each, "tenant_id": owner, "number": f"R-{each}", "total": 1} for owner, each in owners]
            connection.execute(insert(schema.invoices), invoices)
            lines = [
                {"id": LINES * each + number, "tenant_id": owner, "invoice_id": each, "article": "one", "amount": 1}
                for owner, each in owners
                for number in range(LINES)
            ]
            connection.execute(insert(schema.lines), lines)
    try:
        yield engine
    finally:
        engine.dispose()


def measure_keys(case: KeyCase, engine: Engine, size: Size, *, clock: Clock, plan: Plan) -> Timings:
    """Time a statement on every schema, interleaved; what it changes is rolled back outside of the time."""
    tasks = {schema.name: _task(case, schema, engine, size, clock, plan) for schema in SCHEMAS}
    return interleaved(tasks, repeats_for(tasks["as written"], plan), size, plan)


def _task(case: KeyCase, schema: Schema, engine: Engine, size: Size, clock: Clock, plan: Plan) -> Task:
    statement = case.statement(schema)

    def run(tenant: int, repeats: int) -> float:
        given = case.parameters(size, tenant)
        warm_up = list(itertools.islice(given, min(plan.warm_up, repeats)))
        timed = list(itertools.islice(given, repeats))
        with engine.connect() as connection:
            for parameters in warm_up:
                _execute(connection, statement, parameters)
            begin = clock()
            for parameters in timed:
                _execute(connection, statement, parameters)
            return clock() - begin

    return run


def _execute(connection: Connection, statement: Executable, parameters: Any) -> Sequence[Any]:
    result = connection.execute(statement, parameters)
    return result.all() if result.returns_rows else ()


def verify_keys(case: KeyCase, engine: Engine, size: Size) -> None:
    """
    Check that a statement finds, and leaves, the same rows in every schema, and something at all.

    Raises:
        DisagreementError: It does not.
    """
    found: dict[str, Any] = {}
    for schema in SCHEMAS:
        with engine.connect() as connection:
            before = _counts(connection, schema)
            rows = _execute(connection, case.statement(schema), next(case.parameters(size, 1)))
            found[schema.name] = (list(rows), _counts(connection, schema), before)
    expected = found["as written"]
    different = [name for name, each in found.items() if each != expected]
    if different or (not expected[0] and expected[1] == expected[2]):
        raise DisagreementError(f"{case.name}: {', '.join(different) or 'every schema'} has other rows, or none.")


def _counts(connection: Connection, schema: Schema) -> list[int]:
    return [
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (schema.invoices, schema.lines)
    ]


def derive_seconds(*, tables: int, runs: int) -> Spread:
    """Time to derive the keys of so many tables of ten columns, each with a unique key and a reference to another."""
    metadata = MetaData()
    Table("tenants", metadata, Column("id", Integer, primary_key=True))
    for number in range(tables):
        Table(
            f"table_{number}",
            metadata,
            Column("id", Integer, primary_key=True),
            Column("tenant_id", Integer, nullable=False),
            Column("other_id", ForeignKey(f"table_{number // 2}.id"), index=True),
            Column("name", String, unique=True),
            *(Column(f"column_{each}", String) for each in range(6)),
        )
    tenancy = Tenancy(metadata, tenants="tenants", layout="tenant-first")
    figures = []
    for _ in range(runs):
        begin = time.perf_counter()
        tenancy.physical_metadata(dialect="postgresql")
        figures.append(time.perf_counter() - begin)
    return Spread.of(figures)
