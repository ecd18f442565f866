"""The twin oracle for writes: what a write gives, leaves behind and does not touch, among many tenants and alone."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import (
    DDL,
    ForeignKeyConstraint,
    MetaData,
    create_engine,
    event,
    insert,
    inspect,
)
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.orm import Session
from sqlalchemy.schema import DefaultClause

from partywall import PartywallError, tenant
from partywall.rows.declaration import RowWall
from partywall.testing import DifferenceError, Outcome
from partywall.testing.twins import _plain
from tests import models, write_models

TWIN_TENANTS = (1, 2)
TENANT_COLUMN = "tenant_id"
PICTURES = "pictures"  # schema of the views by which a walled database of PostgreSQL is seen whole
READ_ONLY = ("countries", *models.SHARED_ROWS)

Run = Callable[[Session], Any]
"""Takes a Session and returns plain data, several of it or None; it may commit."""
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Picture:
    """The rows of a database: of each tenant, and of none. Rows are tuples that begin with their table."""

    owned: dict[Any, frozenset[Row]]
    shared: frozenset[Row]

    def of(self, tenant_id: Any, generated: Iterable[str] = ()) -> frozenset[Row]:
        """Return the rows that a tenant sees, without the columns that the database numbers by itself."""
        seen = self.owned.get(tenant_id, frozenset()) | self.shared
        return frozenset((row[0], *(each for each in row[1:] if each[0] not in generated)) for row in seen)

    def read_only(self) -> frozenset[Row]:
        """Return what no tenant may write."""
        return frozenset(row for row in self.shared if row[0] in READ_ONLY)


@dataclass(frozen=True)
class Attempt:
    """What a write gave on one database, and how that was before and after."""

    outcome: Outcome
    refusal: PartywallError | None
    before: Picture
    after: Picture


class LonelySession(Session):
    """Gives its new objects the one tenant of a twin, as an application without other tenants would."""


@event.listens_for(LonelySession, "before_attach")
def _give_tenant(session: Session, instance: Any) -> None:
    for attribute in inspect(instance).mapper.column_attrs:
        holds_tenant = any(column.name == TENANT_COLUMN for column in attribute.columns)
        if holds_tenant and inspect(instance).key is None and getattr(instance, attribute.key) is None:
            setattr(instance, attribute.key, session.info[TENANT_COLUMN])


@dataclass(frozen=True)
class WriteTwins:
    """
    A database of many tenants, and the twin of one.

    In the twin the database fills the tenant column, and leaves shared rows alone. Whatever is tried is
    rolled back.
    """

    many: Engine
    alone: Engine
    tenant_id: int

    def compare(self, run: Run, *, generated: Iterable[str] = ()) -> Outcome:
        """
        Run a write on both databases and return what became of it.

        Args:
            run: The write.
            generated: Names of columns in which the databases may differ.

        Raises:
            DifferenceError: It gave something else, or left something else, or touched what is others'.
            PartywallError: It was refused.
        """
        among_many = self.attempt(run)
        if among_many.refusal is not None:
            raise among_many.refusal
        self.check(among_many, self.attempt_alone(run), generated=generated)
        return among_many.outcome

    def attempt(self, run: Run) -> Attempt:
        """Run a write for the tenant among many."""
        with tenant(self.tenant_id):
            return attempt(self.many, run)

    def attempt_alone(self, run: Run) -> Attempt:
        """Run a write on the twin."""
        with without_warnings_about_the_tenant():
            return attempt(self.alone, run, LonelySession(info={TENANT_COLUMN: self.tenant_id}))

    def check(self, among_many: Attempt, alone: Attempt, *, generated: Iterable[str] = ()) -> None:
        """Raise `DifferenceError` if two attempts at the same write differ for the tenant, or touched others' rows."""
        if not among_many.outcome.is_like(alone.outcome, ordered=False):
            raise DifferenceError(f"among many: {among_many.outcome}\nalone:      {alone.outcome}")
        for what, one, other in (
            ("before", among_many.before, alone.before),
            ("after", among_many.after, alone.after),
        ):
            here, there = one.of(self.tenant_id, generated), other.of(self.tenant_id, generated)
            if here != there:
                raise DifferenceError(
                    f"the tenant's rows differ {what}\nonly among many: {here - there}\nonly alone: {there - here}"
                )
        check_others(among_many, self.tenant_id)


def check_others(attempt: Attempt, tenant_id: int | None) -> None:
    """Raise `DifferenceError` if a write changed what is not *tenant_id*'s to write."""
    before, after = attempt.before, attempt.after
    for other in before.owned.keys() | after.owned.keys():
        if other != tenant_id and before.owned.get(other) != after.owned.get(other):
            changed = before.owned.get(other, frozenset()) ^ after.owned.get(other, frozenset())
            raise DifferenceError(f"rows of tenant {other} have changed: {changed}")
    if before.read_only() != after.read_only():
        raise DifferenceError(f"shared rows have changed: {before.read_only() ^ after.read_only()}")


def attempt(engine: Engine, run: Run, session: Session | None = None) -> Attempt:
    """Run a write inside a transaction that is rolled back, and take pictures in it, past all walls."""
    refusal = None
    with rolled_back(engine) as connection:
        cursor = _cursor(connection)
        before = picture(cursor)
        with session or Session() as opened:
            opened.bind, opened.join_transaction_mode = connection, "create_savepoint"
            try:
                outcome = Outcome(tuple(_plain(each) for each in run(opened) or ()), None)
                opened.commit()
            except PartywallError as error:
                refusal, outcome = error, Outcome(None, type(error))
            except Exception as error:  # noqa: BLE001  # whatever the database says is what is compared
                outcome = Outcome(None, type(error))
        after = picture(cursor)
        cursor.close()
    return Attempt(outcome, refusal, before, after)


@contextmanager
def rolled_back(engine: Engine) -> Iterator[Connection]:
    """Open a connection in a transaction that is rolled back, whatever is committed inside it."""
    with engine.connect() as connection:
        transaction = connection.begin()
        if connection.dialect.name == "sqlite":
            with contextlib.closing(_cursor(connection)) as cursor:
                cursor.execute("BEGIN")  # the driver would begin with the first INSERT, and commit with the savepoint
        yield connection
        transaction.rollback()


@contextmanager
def session_of(engine: Engine, tenant_id: int | None) -> Iterator[Session]:
    """Open a tenant's Session on a guarded engine, or one with no tenant; what it commits is rolled back."""
    with contextlib.nullcontext() if tenant_id is None else tenant(tenant_id), rolled_back(engine) as connection:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session


def rows_in(session: Session, table: str) -> list[dict[str, Any]]:
    """Return the rows of all tenants in a table, as a Session's transaction would see them with no wall."""
    with contextlib.closing(_cursor(session.connection())) as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        return [dict(zip((each[0] for each in cursor.description), row, strict=True)) for row in cursor.fetchall()]


class _ByPictures:
    """A cursor for which a walled database of PostgreSQL answers our questions about all tenants' rows, by views."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str) -> None:
        self._cursor.execute(sql.replace(" FROM ", f" FROM {PICTURES}."))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


class _PastTheRowWall:
    """A cursor for which a walled connection of SQLite answers our questions about all tenants' rows."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def execute(self, sql: str) -> None:
        seals = self._cursor.connection.partywall_seals
        self._cursor.execute(seals.sealed_question(sql.replace(" FROM ", " FROM main.")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def _cursor(connection: Connection) -> Any:
    cursor = connection.connection.cursor()
    if connection.get_execution_options().get("pictures"):
        return _ByPictures(cursor)
    return _PastTheRowWall(cursor) if getattr(cursor.connection, "partywall_gate", None) is not None else cursor


def picture_of(engine: Engine) -> Picture:
    """Return the rows of a database as another connection sees them."""
    with engine.connect() as connection, contextlib.closing(_cursor(connection)) as cursor:
        return picture(cursor)


def picture(cursor: Any) -> Picture:
    """Return the rows that a driver's cursor sees."""
    owned: dict[Any, set[Row]] = {}
    shared: set[Row] = set()
    for table in (*models.Base.metadata.tables, *write_models.Base.metadata.tables):
        cursor.execute(f"SELECT * FROM {table}")
        names = [each[0] for each in cursor.description]
        for values in cursor.fetchall():
            row = dict(zip(names, values, strict=True))
            owner = row.get(TENANT_COLUMN)
            if table == "tenants":  # a twin holds but one of them
                owner = row["id"]
            rows = shared if owner is None else owned.setdefault(owner, set())
            rows.add((table, *((name, repr(value)) for name, value in row.items())))
    return Picture({owner: frozenset(rows) for owner, rows in owned.items()}, frozenset(shared))


@contextmanager
def without_warnings_about_the_tenant() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Column '\w+\.tenant_id' is marked as a member of the primary key")
        yield


@dataclass(frozen=True)
class WriteWorld:
    """
    Engines on one kind of database.

    Attributes:
        name: ``"sqlite"`` or ``"postgresql"``.
        url: Of the database of many tenants.
        many: Guarded engine of the database of many tenants; may be used unscoped.
        plain: Unguarded engine of the same database.
        twins: The guarded engine and the twin of each tenant in TWIN_TENANTS.
    """

    name: str
    url: URL
    many: Engine
    plain: Engine
    twins: dict[int, WriteTwins]

    def ignoring_missing_tenants(self) -> AbstractContextManager[None]:
        """Let nobody warn about keys whose tenant the application does not give."""
        return without_warnings_about_the_tenant()

    def attempt_plain(self, run: Run, tenant_id: int) -> Attempt:
        """Run a write with no wall, as an application that fills new objects and forgets everything else."""
        with without_warnings_about_the_tenant():
            return attempt(self.plain, run, LonelySession(info={TENANT_COLUMN: tenant_id}))


@contextmanager
def write_world(name: str, new_database: Callable[[], URL], rows: RowWall | None = None) -> Iterator[WriteWorld]:
    """Fill the databases and open them, with a row wall if there is one; close them at the end."""
    url = new_database()
    plain = filled(url)
    many = write_models.tenancy(rows=rows).guard(create_engine(url), allow_unscoped=rows is None)
    alone = {tenant_id: filled(new_database(), tenant_id) for tenant_id in TWIN_TENANTS}
    try:
        twins = {tenant_id: WriteTwins(many, engine, tenant_id) for tenant_id, engine in alone.items()}
        yield WriteWorld(name, url, many, plain, twins)
    finally:
        for engine in (plain, many, *alone.values()):
            engine.dispose()


@pytest.fixture(name="world", scope="session")
def opened_for_writes(new_database: Callable[..., URL]) -> Iterator[WriteWorld]:
    """Return the filled databases of the kind under test; to be imported by tests that write."""
    with write_world(new_database().get_backend_name(), new_database) as opened:
        yield opened


def filled(url: URL, only: int | None = None) -> Engine:
    """Create the tables in an empty database, fill them, as a twin if *only* a tenant is wanted, and return it."""
    engine = create_engine(url)
    metadata = _metadata(only)
    rows = {**models.rows(), **write_models.rows()}
    with engine.begin() as connection:
        metadata.create_all(connection)
        for table in metadata.tables.values():
            kept = [row for row in rows[table.name] if only is None or is_seen(table.name, row, only)]
            if kept:
                connection.execute(insert(table), kept)
        if only is not None:
            for statement in triggers(engine.dialect.name, metadata, only):
                connection.execute(DDL(statement.replace("%", "%%")))  # type: ignore[no-untyped-call]
    return engine


def is_seen(table: str, row: dict[str, Any], tenant_id: int) -> bool:
    if table == "tenants":
        return bool(row["id"] == tenant_id)
    return row.get(TENANT_COLUMN, tenant_id) in (tenant_id, None)


def _metadata(only: int | None) -> MetaData:
    """Return the tables without foreign keys; in a twin SQLite fills the tenant column, PostgreSQL has triggers."""
    metadata = MetaData()
    for source in (*models.Base.metadata.tables.values(), *write_models.Base.metadata.tables.values()):
        table = source.to_metadata(metadata)
        for constraint in list(table.constraints):
            if isinstance(constraint, ForeignKeyConstraint):
                table.constraints.discard(constraint)
        column = table.c.get(TENANT_COLUMN)
        if only is not None and column is not None:
            column.server_default = DefaultClause(str(only))
            if not column.nullable:
                column.dialect_options["sqlite"]["on_conflict_not_null"] = "REPLACE"
    return metadata


def triggers(dialect: str, metadata: MetaData, tenant_id: int) -> Iterator[str]:
    if dialect == "sqlite":
        for kind in ("UPDATE", "DELETE"):
            yield (
                f"CREATE TRIGGER keep_shared_{kind} BEFORE {kind} ON templates WHEN OLD.tenant_id IS NULL "
                "BEGIN SELECT RAISE(IGNORE); END"
            )
        return
    yield (
        "CREATE FUNCTION fill_tenant() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF NEW.tenant_id IS NULL THEN NEW.tenant_id := {tenant_id}; END IF; RETURN NEW; END $$"
    )
    yield (
        "CREATE FUNCTION keep_shared() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.tenant_id IS NULL THEN RETURN NULL; END IF; "
        "IF TG_OP = 'DELETE' THEN RETURN OLD; END IF; RETURN NEW; END $$"
    )
    yield (
        "CREATE TRIGGER keep_shared BEFORE UPDATE OR DELETE ON templates FOR EACH ROW EXECUTE FUNCTION keep_shared()"
    )
    for table in metadata.tables.values():
        if TENANT_COLUMN in table.c:
            yield (
                f"CREATE TRIGGER fill_tenant BEFORE INSERT ON {table.name} FOR EACH ROW EXECUTE FUNCTION fill_tenant()"
            )
