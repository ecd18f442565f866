"""Generates the distributors' data and loads it: into the database they share, and each into one of its own."""

from __future__ import annotations

import contextlib
import csv
import itertools
import shutil
import subprocess
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

from rich.progress import Progress
from sqlalchemy import BigInteger, Connection, Date, Engine, Integer, String, Table, create_engine, event, insert
from sqlalchemy.engine import URL

from demo.models import Base, Distributor, tenancy

__all__ = ["World", "connect_to", "open_world"]

SHARED_TABLES = ("region", "nation")
BATCH = 5_000  # rows


@dataclass(frozen=True)
class World:
    """
    The databases of the demo.

    Attributes:
        guarded: The shared database, guarded: what the application uses.
        plain: The shared database, unguarded: for the queries filtered by hand, and to show what hostile
            reads find where nothing stops them.
        alone: For each distributor's id, an unguarded database that holds only that distributor.
        names: The distributors' names.
        rows: How many rows of its own each distributor has.
        database: The database's name and version.
        generator: The data generator's.
    """

    guarded: Engine
    plain: Engine
    alone: dict[int, Engine]
    names: dict[int, str]
    rows: dict[int, int]
    database: str
    generator: str


@dataclass(frozen=True)
class _Source:
    """A distributor's data as it was generated."""

    tenant_id: int
    slug: str
    name: str
    directory: Path

    def lines(self, table: Table) -> int:
        with self._path(table).open("rb") as file:
            return sum(1 for _ in file) - 1

    def batches(self, table: Table) -> Iterator[list[tuple[Any, ...]]]:
        """Read a table's rows in the order of `columns`; the first of each primary key."""
        header = self._header(table)
        readers = [READERS[type(table.c[name].type)] for name in header]
        owner = (self.tenant_id,) if "tenant_id" in table.c else ()
        names = self.columns(table)
        key = [names.index(column.name) for column in table.primary_key]
        seen: set[tuple[Any, ...]] = set()
        rows: list[tuple[Any, ...]] = []
        with self._path(table).open(newline="", encoding="utf-8") as file:
            for line in itertools.islice(csv.reader(file), 1, None):
                row = (*owner, *(read(value) for read, value in zip(readers, line, strict=True)))
                identity = tuple(row[position] for position in key)
                if identity in seen:  # below scale 0.01 the generator repeats some pairs of part and supplier
                    continue
                seen.add(identity)
                rows.append(row)
                if len(rows) == BATCH:
                    yield rows
                    rows = []
        if rows:
            yield rows

    def columns(self, table: Table) -> list[str]:
        return [*(["tenant_id"] if "tenant_id" in table.c else []), *self._header(table)]

    def _header(self, table: Table) -> list[str]:
        with self._path(table).open(newline="", encoding="utf-8") as file:
            return next(csv.reader(file))

    def _path(self, table: Table) -> Path:
        return self.directory / f"{table.name}.csv"


READERS: dict[type[Any], Callable[[str], Any]] = {
    Integer: int,
    BigInteger: lambda value: int(value.replace(".", "")),  # the generator writes two decimals: "7.50" is 750
    String: str,
    Date: date.fromisoformat,
}


@contextlib.contextmanager
def open_world(*, postgres: bool, scale: float, progress: Progress) -> Iterator[World]:
    """
    Generate and load everything, and open the engines; remove everything at the end.

    Args:
        postgres: Whether to use a PostgreSQL server of its own; else SQLite files.
        scale: TPC-H scale factor of the bigger distributor; the other has half of it.
        progress: Shows how far the loading is.
    """
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="partywall-demo-")))
        task = progress.add_task("generating", total=None)
        sources = [
            _Source(1, "northgate", "Northgate", directory / "northgate"),
            _Source(2, "harbour", "Harbour", directory / "harbour"),
        ]
        with ThreadPoolExecutor() as pool:
            list(pool.map(_generate, (source.directory for source in sources), (scale, scale / 2)))
        if postgres:
            progress.update(task, description="starting the server")
            from dev.postgres import server

            new_database: Callable[[], URL] = stack.enter_context(server()).new_database
        else:
            numbers = itertools.count()

            def new_database() -> URL:
                return URL.create("sqlite", database=str(directory / f"{next(numbers)}.db"))

        shared = new_database()
        plain, guarded = connect_to(shared), tenancy.guard(connect_to(shared))
        alone = {source.tenant_id: connect_to(new_database()) for source in sources}
        for engine in (plain, guarded, *alone.values()):
            stack.callback(engine.dispose)
        rows = _load(sources, plain, alone, progress, task)
        names = {source.tenant_id: source.name for source in sources}
        yield World(guarded, plain, alone, names, rows, _database_version(plain), _generator_version())


def connect_to(database: URL) -> Engine:
    """Return a plain engine whose connections heed foreign keys, which SQLite's do not by themselves."""
    engine = create_engine(database)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def heed_foreign_keys(connection: Any, _record: Any) -> None:
            connection.execute("PRAGMA foreign_keys = ON")

    return engine


def _generator() -> str:
    beside_python = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts"))
    found = beside_python or shutil.which("tpchgen-cli")
    if found is None:
        raise SystemExit('tpchgen-cli is missing: pip install "partywall[demo]"')
    return found


def _database_version(engine: Engine) -> str:
    name = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[engine.dialect.name]
    version = ".".join(map(str, getattr(engine.dialect, "server_version_info", ())))
    return f"{name} {version}"


def _generator_version() -> str:
    answer = subprocess.run([_generator(), "--version"], check=True, capture_output=True, text=True)
    return answer.stdout.strip()


def _generate(directory: Path, scale: float) -> None:
    directory.mkdir()
    command = [_generator(), "csv", "--scale-factor", f"{scale:f}", "--output-dir", str(directory), "--quiet"]
    subprocess.run(command, check=True)


def _load(
    sources: Sequence[_Source], plain: Engine, alone: dict[int, Engine], progress: Progress, task: Any
) -> dict[int, int]:
    """Create the tables in every database and fill them; return how many rows each distributor has."""
    tables = [table for table in Base.metadata.sorted_tables if table.name != "distributors"]
    total = sum(source.lines(table) for source in sources for table in tables)
    progress.update(task, description="loading", total=total)
    loaded = dict.fromkeys(alone, 0)
    for engine in (plain, *alone.values()):
        tenancy.create_all(engine)
    for source in sources:
        with plain.begin() as together, alone[source.tenant_id].begin() as by_itself:
            for connection in (together, by_itself):
                values = {"id": source.tenant_id, "slug": source.slug, "name": source.name}
                connection.execute(insert(Distributor), values)
            for table in tables:
                is_shared = table.name in SHARED_TABLES
                targets = [by_itself] if is_shared and source is not sources[0] else [together, by_itself]
                for rows in source.batches(table):
                    for connection in targets:
                        _write(connection, table, source.columns(table), rows)
                    loaded[source.tenant_id] += 0 if is_shared else len(rows)
                    progress.advance(task, len(rows))
    for engine in (plain, *alone.values()):
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    progress.update(task, description="loaded", completed=total)
    return loaded


def _write(connection: Connection, table: Table, columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
    else:
        connection.execute(insert(table), [dict(zip(columns, row, strict=True)) for row in rows])


def _copy(connection: Connection, table: Table, columns: list[str], rows: Iterable[tuple[Any, ...]]) -> None:
    """Write rows with COPY, which SQLAlchemy has no construct for."""
    from psycopg import Connection as PsycopgConnection
    from psycopg import sql

    command = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    driver = cast("PsycopgConnection[Any]", connection.connection.driver_connection)
    with driver.cursor() as cursor, cursor.copy(command) as copy:
        for row in rows:
            copy.write_row(row)
