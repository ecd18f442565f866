"""Databases for attacks on PostgreSQL, with any of the walls down, and the attacker who has a cursor there."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import URL, Engine
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlalchemy.util import greenlet_spawn

from partywall import PartywallError, Tenancy, tenant
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl
from partywall.rows.postgresql.session import TenantSetting
from partywall.rows.seal import seal
from partywall.scope import Tenant

T = TypeVar("T")

KEY = b"a key of the wall's, of 32 bytes"

Outcome = list[Any]
"""What each statement answered: rows as text, in any order, or an error's SQLSTATE, which is the last."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """
    What tenant 1 tries with a cursor of its own.

    Attributes:
        number, words: Its name.
        tries: Each in a transaction of its own: one statement, or several. ``{forged}`` and the like are tokens.
        held_by: The walls that hold alone, of those in WALLS; "anyway" if it gains nothing where there is none.
        before: What tenant 2 does first.
        where: Of that: on a connection that stays "beside" the attacker's, on the "same", or on one "pooled" with it.
        client: Whether psycopg puts the parameters into the text (ClientCursor).
    """

    number: int
    words: str
    tries: tuple[str | tuple[str, ...], ...]
    held_by: str
    before: tuple[str, ...] = ()
    where: str = "beside"
    client: bool = False

    @property
    def name(self) -> str:
        return f"P{self.number:02} {self.words}"


@dataclass(frozen=True)
class Walls:
    """Which walls stand: the strength of the row wall ("", "setting", "sealed"), the keys, and the statement wall."""

    rows: str = ""
    keys: bool = False
    statement: bool = False


CHANGED = "others' rows were changed"

WALLS = {
    "statement": Walls(statement=True),
    "setting": Walls(rows="setting"),
    "sealed": Walls(rows="sealed"),
    "keys": Walls(keys=True),
}
"""Each wall alone."""


def metadata() -> sa.MetaData:
    made = sa.MetaData()

    def table(name: str, *columns: sa.Column[Any], **options: Any) -> None:
        key = sa.Column("id", sa.Integer, primary_key=True)
        owner: sa.Column[int] = sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False)
        sa.Table(name, made, key, owner, *columns, **options)

    sa.Table(
        "tenants",
        made,
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("plan", sa.String(20)),
    )
    sa.Table("countries", made, sa.Column("code", sa.String(9), primary_key=True))
    table("customers", sa.Column("name", sa.String(40)), sa.Column("rank", sa.Numeric))
    table(
        "invoices",
        sa.Column("number", sa.String(20), unique=True),
        sa.Column("customer_id", sa.ForeignKey("customers.id", ondelete="CASCADE")),
        sa.Column("total", sa.Integer),
    )
    table("notes", sa.Column("customer_id", sa.ForeignKey("customers.id", ondelete="SET NULL")))
    table("tasks", sa.Column("customer_id", sa.ForeignKey("customers.id", deferrable=True, initially="DEFERRED")))
    table("events", sa.Column("what", sa.String(20)), postgresql_partition_by="RANGE (id)")
    return made


ROWS = {
    "tenants": "(1, 'small'), (2, 'big')",
    "customers": "(1, 1, 'alike', 10), (2, 1, 'own', 20), (101, 2, 'alike', 10), (102, 2, 'secret', 99)",
    "invoices": "(1, 1, 'a1', 1, 5), (101, 2, 'b1', 101, 7), (102, 2, 'b2', 102, 70)",
    "notes": "(1, 1, 1), (101, 2, 101)",
    "tasks": "(1, 1, 1), (101, 2, 101)",
    "events": "(1, 1, 'alike'), (101, 2, 'alike'), (102, 2, 'secret')",
    "countries": "('de'), ('fr')",
}
OWNER = {name: "id" if name == "tenants" else "tenant_id" for name in ROWS if name != "countries"}

THINGS = """
    CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (1000);
    CREATE FUNCTION count_invoices() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.rank := (SELECT count(*) FROM invoices); RETURN NEW; END';
"""
TRAPS = """
    CREATE TRIGGER counts BEFORE INSERT ON customers FOR EACH ROW EXECUTE FUNCTION count_invoices();
    CREATE VIEW view_of_owner AS SELECT * FROM customers;
    CREATE VIEW view_of_invoker WITH (security_invoker) AS SELECT * FROM customers;
    CREATE VIEW view_of_view AS SELECT * FROM view_of_owner;
    CREATE MATERIALIZED VIEW kept AS SELECT * FROM customers;
    CREATE FUNCTION counted() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT count(*) FROM customers';
    GRANT SELECT ON view_of_owner, view_of_invoker, view_of_view TO {role};
"""

OPEN = """
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
    GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role};
"""
"""What the role may do where there is no row wall."""


class Place:
    """One database, with the rows of tenants 1 and 2 or of tenant 1 alone."""

    def __init__(self, url: URL, walls: Walls, *, alone: bool) -> None:
        name = str(url.database)
        self.walls, self.alone = walls, alone
        self.role = f"app_{name}"
        self.rows = RowWall(role=self.role, key=KEY if walls.rows == "sealed" else None, self_test=False)
        self.metadata = metadata()
        self.tenancy = Tenancy(
            self.metadata,
            tenants="tenants",
            shared={"countries"},
            layout="keep" if walls.keys else "as written",
            rows=self.rows if walls.rows else None,  # its test would refuse the owner's views and functions
        )
        self.url = url.set(username=self.role)
        self.superuser = sa.create_engine(url.set(username="postgres"), isolation_level="AUTOCOMMIT")
        self.stored: object = None
        owner = sa.create_engine(url, poolclass=NullPool)
        with self.superuser.connect() as connection:
            connection.exec_driver_sql(f"CREATE ROLE {self.role} LOGIN NOSUPERUSER NOBYPASSRLS")
            connection.exec_driver_sql(f"ALTER DATABASE {name} SET synchronous_commit = off")  # faster
        with owner.begin() as connection:
            for each in self.tenancy.physical_metadata(dialect="postgresql", server_version=(16, 0)):
                each.create_all(connection)
            connection.exec_driver_sql(THINGS)
        self.restore()
        with owner.begin() as connection:
            if walls.rows:
                for statement in row_wall_ddl(self.tenancy.describe(), self.rows):
                    connection.execute(statement)
            else:
                connection.exec_driver_sql(OPEN.format(role=self.role))
            connection.exec_driver_sql(TRAPS.format(role=self.role))
        with self.superuser.connect() as connection:
            connection.exec_driver_sql("REFRESH MATERIALIZED VIEW kept")
            if not walls.rows:
                connection.exec_driver_sql(f"GRANT SELECT ON kept TO {self.role}")
            connection.exec_driver_sql("ANALYZE")

    def restore(self) -> None:
        """Have the rows of the beginning again, if anything has changed."""
        if self.stored is not None and self.stored == self._every_row():
            return
        with self.superuser.connect() as connection:
            connection.exec_driver_sql("SET session_replication_role = replica")  # our trigger is not to fire
            connection.exec_driver_sql(f"TRUNCATE {', '.join(ROWS)} RESTART IDENTITY")
            for name, rows in ROWS.items():
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES {rows}")
                if self.alone and name in OWNER:
                    connection.exec_driver_sql(f"DELETE FROM {name} WHERE {OWNER[name]} = 2")
            connection.exec_driver_sql("SET session_replication_role = origin")
        self.stored = self._every_row()

    def _every_row(self) -> object:
        return self._rows(dict.fromkeys(ROWS, "true"))

    def others(self) -> object:
        """Return all of tenant 2's rows, and the shared ones, as they are stored."""
        return self._rows(
            {name: f"{owner} IS DISTINCT FROM 1" for name, owner in OWNER.items()} | {"countries": "true"}
        )

    def _rows(self, where: dict[str, str]) -> object:
        query = " UNION ALL ".join(
            f"SELECT '{name}', t::text || t.xmin::text FROM {name} AS t WHERE {condition}"
            for name, condition in where.items()
        )
        with self.superuser.connect() as connection:
            return sorted(map(tuple, connection.exec_driver_sql(query)))

    @cached_property
    def guarded(self) -> Engine:
        """An engine with the statement wall, and the row wall if there is one; one connection."""
        return self.tenancy.guard(sa.create_engine(self.url, pool_size=2, max_overflow=0))


class Hand:
    """A cursor of somebody's, in a transaction for whom the tenant was told as the product tells it."""

    def __init__(self, place: Place, engine: Engine, tenant_id: int, *, client: bool = False) -> None:
        self.place, self.engine, self.client = place, engine, client
        self.pooled = engine.raw_connection()
        self.begin(tenant_id)

    def begin(self, tenant_id: int) -> None:
        if self.place.walls.rows:
            setting = TenantSetting(self.place.rows, self.place.tenancy.describe(), self.engine.dialect)
            prefix = setting.set(self.pooled.dbapi_connection, Tenant(tenant_id))
            if prefix:
                cursor = self.pooled.cursor()
                cursor.execute(prefix)
                cursor.close()

    def tokens(self) -> dict[str, str]:
        """Return what an attacker may have got hold of."""
        cursor = self.pooled.cursor()
        cursor.execute("SELECT pg_backend_pid(), current_setting('partywall.tenant', true)")
        row: Any = cursor.fetchone()
        cursor.close()
        pid, own, later = int(row[0]), str(row[1] or "1"), int(time.time()) + 600
        made = {
            "replayed": seal("2", pid + 1, KEY, later),
            "expired": seal("2", pid, KEY, later - 1200),
            "other_key": seal("2", pid, KEY[::-1], later),
            "forged": re.sub("^1", "2", own),
            "truncated": own[:-1],
        }
        return made if self.place.walls.rows == "sealed" else {name: text.split(".")[0] for name, text in made.items()}

    def run(self, statements: Sequence[str]) -> Outcome:
        """Run them, commit, and return what they answered."""
        outcome: Outcome = []
        try:
            for statement in statements:
                outcome.append(self._answer(statement))
            self.pooled.commit()
        except Exception as error:  # noqa: BLE001  # whatever a driver raises
            outcome.append(_state(error))
            self.pooled.rollback()
        return outcome

    def _answer(self, statement: str) -> list[Any]:
        if self.client:
            import psycopg

            cursor: Any = psycopg.ClientCursor(self.pooled.driver_connection)  # type: ignore[arg-type]  # psycopg's
            cursor.execute(statement, {"no": "parameter"})
        else:
            cursor = self.pooled.cursor()
            if not _is_copy(statement):
                cursor.execute(statement)
        with closing(cursor):
            if _is_copy(statement):
                return _copy(cursor, statement)
            answers = []
            while True:
                answers.append(_rows(cursor) if cursor.description is not None else cursor.rowcount)
                if not getattr(cursor, "nextset", lambda: None)():
                    return answers

    def close(self) -> None:
        self.pooled.close()


def _is_copy(statement: str) -> bool:
    return statement.startswith("COPY ") and statement.endswith((" STDOUT", " STDIN"))


def _copy(cursor: Any, statement: str) -> list[Any]:
    """Copy out, or a row of tenant 2's in, with psycopg; the other drivers refuse it here by themselves."""
    with cursor.copy(statement) as copy:
        if statement.endswith(" STDOUT"):
            return [sorted(bytes(each).decode() for each in copy)]
        copy.write("900\t2\tx\n")
    return [cursor.rowcount]


def _rows(result: Any) -> list[str]:
    return sorted(str(tuple(map(str, row))) for row in result.fetchall())


def _state(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return str(state or type(original).__name__)


REFUSED = ["refused"]
"""What the statement wall answers: nothing is sent."""


@dataclass(frozen=True)
class Pair:
    """The same walls around the rows of both tenants, and around those of tenant 1 alone."""

    both: Place
    alone: Place

    def breaches(self, attack: Attack, *, driver: str = "psycopg") -> list[Any]:
        """Return for each try why it got through; nothing if each gave what it gives tenant 1 alone, or was refused."""
        return list(filter(None, (self._breach(attack, steps, driver) for steps in attack.tries)))

    def _breach(self, attack: Attack, tried: str | tuple[str, ...], driver: str) -> Any:
        steps = (tried,) if isinstance(tried, str) else tried
        seen, before, after = _run_at(self.both, attack, steps, driver)
        expected, *_ = _run_at(self.alone, attack, steps, driver)
        self.both.restore()
        self.alone.restore()
        if before != after:
            return steps, CHANGED
        return None if seen in (REFUSED, expected) else (steps, seen, expected)


def _run_at(place: Place, attack: Attack, steps: tuple[str, ...], driver: str) -> tuple[Outcome, object, object]:
    if place.walls.statement or attack.where == "pooled":
        return _through_sqlalchemy(place, attack, steps)

    def work(engine: Engine) -> tuple[Outcome, object, object]:
        with ExitStack() as stack:
            is_there = attack.where == "same" or not place.alone
            other = Hand(place, engine, 2) if attack.before and is_there else None
            if other is not None:
                stack.callback(other.close)
                for statement in attack.before:
                    with suppress(Exception):
                        other._answer(statement)
                if attack.where != "open":
                    other.pooled.commit()
            if other is not None and attack.where == "same":
                hand = other
                hand.begin(1)
            else:
                hand = Hand(place, engine, 1, client=attack.client)
                stack.callback(hand.close)
            before = place.others()
            tokens = hand.tokens() if any("{" in step for step in steps) else {}
            seen = hand.run([_with(step, tokens) for step in steps])
            return seen, before, place.others()

    return _with_engine(place.url, driver, work)


def _with(step: str, tokens: dict[str, str]) -> str:
    for name, token in tokens.items():
        step = step.replace(f"{{{name}}}", token)
    return step


def _with_engine(url: URL, driver: str, work: Callable[[Engine], T]) -> T:
    url = url.set(drivername=f"postgresql+{driver}")
    if driver != "asyncpg":
        engine = sa.create_engine(url, poolclass=NullPool)
        return work(engine)

    async def run() -> T:
        made = create_async_engine(url, poolclass=NullPool)
        return await greenlet_spawn(work, made.sync_engine)

    return asyncio.run(run())


def _through_sqlalchemy(place: Place, attack: Attack, steps: tuple[str, ...]) -> tuple[Outcome, object, object]:
    """Run it as text on a guarded engine; if the statement wall is down, on the driver's cursor of its connection."""
    with ExitStack() as stack:
        if attack.before and (attack.where == "same" or not place.alone):
            with tenant(2):
                other = stack.enter_context(place.guarded.connect())
                for statement in attack.before:
                    with suppress(Exception):
                        _send(other, place, statement)
                if attack.where != "open":
                    other.commit()
            if attack.where in ("same", "pooled"):
                other.close()
        before = place.others()
        outcome: Outcome = []
        with tenant(1), place.guarded.connect() as connection:
            try:
                for step in steps:
                    outcome.append(_send(connection, place, _with(step, {"forged": "2", "replayed": "2"})))
                connection.commit()
            except PartywallError:
                outcome = REFUSED
            except Exception as error:  # noqa: BLE001  # whatever a driver raises
                outcome.append(_state(error))
        return outcome, before, place.others()


def _send(connection: sa.Connection, place: Place, statement: str) -> Any:
    if place.walls.statement:
        result = connection.exec_driver_sql(statement)
        return _rows(result) if result.returns_rows else result.rowcount
    connection.execute(sa.select(sa.literal(1)))  # the tenant is told
    cursor: Any
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(statement)
        return _rows(cursor) if cursor.description is not None else cursor.rowcount


@contextmanager
def pairs(new_database: Callable[[], URL]) -> Iterator[Callable[[Walls], Pair]]:
    """Return what makes the databases of some walls, once."""
    made: dict[Walls, Pair] = {}

    def get(walls: Walls) -> Pair:
        there = replace(walls, statement=False) if walls.statement else walls
        if there not in made:
            made[there] = Pair(Place(new_database(), there, alone=False), Place(new_database(), there, alone=True))
        if walls not in made:
            made[walls] = Pair(*(_with_statement_wall(each) for each in (made[there].both, made[there].alone)))
        return made[walls]

    yield get
    for pair in made.values():
        for place in (pair.both, pair.alone):
            place.superuser.dispose()
            if "guarded" in place.__dict__:
                place.guarded.dispose()


def _with_statement_wall(place: Place) -> Place:
    made = object.__new__(Place)
    made.__dict__.update(place.__dict__)
    made.walls = replace(place.walls, statement=True)
    made.__dict__.pop("guarded", None)
    return made
