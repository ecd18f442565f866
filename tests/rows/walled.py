"""A database with every kind of table, the row wall that our DDL puts up, and its roles."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import URL, Connection, Engine

from partywall import Tenancy
from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl
from partywall.rows.postgresql.drift import Finding, find_drift
from partywall.rows.postgresql.verify import verify
from partywall.tables import Tables

metadata = sa.MetaData()
sa.Table(
    "tenants",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("slug", sa.String(20), info={"partywall": "public"}),
    sa.Column("secret", sa.String(20)),
)
sa.Table("countries", metadata, sa.Column("code", sa.String(2), primary_key=True))
sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.String(40)))
sa.Table(
    "templates",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Integer),
    sa.Column("name", sa.String(20)),
)
sa.Table(
    "Order Lines",  # a name that needs quotes, in a schema of its own
    metadata,
    sa.Column("id", sa.Integer, sa.Identity(), primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("total", sa.Numeric),
    schema="billing",
)
sa.Table(
    "events",  # partitioned
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Integer, nullable=False),
    sa.Column("what", sa.String(20)),
    postgresql_partition_by="RANGE (id)",
)
sa.Table(
    "notes",  # confined by a view where the wall says so
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.ForeignKey("tenants.id"), nullable=False),
    sa.Column("text", sa.String(40), server_default="new"),
    sa.Index("notes_text", "text", postgresql_ops={"text": "varchar_pattern_ops"}),
)
sa.Table(
    "note_marks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("tenant_id", sa.Integer, nullable=False),
    sa.Column("note_id", sa.ForeignKey("notes.id")),
)
RESTRICTED = ("tenants", "templates", 'billing."Order Lines"', "events", "notes", "note_marks")

ROWS = """
    INSERT INTO tenants VALUES (1, 'one', 's1'), (2, 'two', 's2');
    INSERT INTO countries VALUES ('de'), ('fr');
    INSERT INTO users (email) VALUES ('a@example.org');
    INSERT INTO templates (tenant_id, name) VALUES (1, 'alike'), (2, 'alike'), (NULL, 'shared');
    INSERT INTO billing."Order Lines" (tenant_id, total) VALUES (1, 10), (1, 20), (2, 10), (2, 20);
    CREATE TABLE events_low PARTITION OF events FOR VALUES FROM (0) TO (1000);
    CREATE TABLE events_high PARTITION OF events FOR VALUES FROM (1000) TO (1000000);
    INSERT INTO events (tenant_id, what) VALUES (1, 'alike'), (2, 'alike');
    INSERT INTO notes (tenant_id, text) VALUES (1, 'alike'), (1, 'alike'), (2, 'alike'), (2, 'alike');
    INSERT INTO note_marks (tenant_id, note_id) VALUES (1, 1), (2, 3);
"""


@dataclass(frozen=True)
class Walled:
    """
    The database, seen by a superuser whose connection can become anybody.

    Attributes:
        wall: What is put up.
        tables: What it is put up around.
        owner, role, unscoped_role: Names.
        superuser: An engine.
        url: For the owner.
    """

    wall: RowWall
    tables: Tables
    owner: str
    role: str
    unscoped_role: str
    superuser: Engine
    url: URL

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a superuser's transaction that is rolled back."""
        with self.superuser.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    def become(self, connection: Connection, role: str | None, *, tenant: object = None) -> None:
        """Be logged in as a role, or as a superuser again; with the plain setting of a tenant."""
        run(connection, "RESET SESSION AUTHORIZATION")
        if role is not None:
            run(connection, f"SET LOCAL SESSION AUTHORIZATION {role}")
        run(connection, f"SET LOCAL partywall.tenant = '{'' if tenant is None else tenant}'")

    def complaint(self, connection: Connection, *, unscoped: bool = False) -> str:
        """Return what the self-test says to the role; "" if it passes."""
        self.become(connection, self.unscoped_role if unscoped else self.role)
        if unscoped:
            run(connection, "SET LOCAL search_path = partywall_base, public")
        try:
            verify(connection, self.tables, self.wall, unscoped=unscoped)
        except SetupError as error:
            return str(error)
        finally:
            self.become(connection, None)
            if unscoped:
                run(connection, "RESET search_path")
        return ""

    def drift(self, connection: Connection) -> list[Finding]:
        return find_drift(connection, self.tables, self.wall)

    def put_up(self, connection: Connection, **options: Any) -> None:
        """Put the wall up as the owner, who is no superuser."""
        self.become(connection, self.owner)
        for statement in row_wall_ddl(self.tables, self.wall, **options):
            connection.execute(statement)
        self.become(connection, None)

    def mend(self, connection: Connection) -> None:
        """Run every remedy as it is printed: as the owner as far as the owner may, then as a superuser."""
        for _ in range(2):  # the second time for what hid behind the first
            for remedy in dict.fromkeys(finding.remedy for finding in self.drift(connection)):
                with contextlib.suppress(sa.exc.ProgrammingError), connection.begin_nested():
                    run(connection, f"SET LOCAL SESSION AUTHORIZATION {self.owner}")
                    run(connection, remedy)
                self.become(connection, None)
            for remedy in dict.fromkeys(finding.remedy for finding in self.drift(connection)):
                run(connection, remedy)


@contextmanager
def refused(connection: Connection, match: str | None = None) -> Iterator[None]:
    """Expect the database to refuse what runs inside, and go on after it."""
    with pytest.raises(sa.exc.DBAPIError, match=match), connection.begin_nested():
        yield


def run(connection: Connection, sql: str) -> Any:
    """Run SQL text as it stands; several statements if they take no parameters."""
    return connection.exec_driver_sql(sql.replace("%", "%%"))


def rows(connection: Connection, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in run(connection, sql)]


def make(url: URL, **options: Any) -> Walled:
    """Fill an empty database of the owner's, and put the wall up."""
    name = re.sub(r"\W", "", str(url.database))
    owner, role, unscoped_role = str(url.username), f"app_{name}", f"unscoped_{name}"
    superuser = sa.create_engine(url.set(username="postgres"))
    wall = RowWall(role=role, unscoped_role=unscoped_role, **options)
    tenancy = Tenancy(
        metadata,
        tenants="tenants",
        shared={"countries"},
        shared_writable={"users"},
        shared_rows={"templates"},
        rows=wall,
    )
    walled = Walled(wall, tenancy.describe(), owner, role, unscoped_role, superuser, url)
    with superuser.begin() as connection:
        for each in (role, unscoped_role):
            run(connection, f"CREATE ROLE {each} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE")
        run(connection, f"GRANT {unscoped_role} TO {owner} WITH INHERIT FALSE, SET TRUE")
        run(connection, f"SET LOCAL SESSION AUTHORIZATION {owner}")
        run(connection, "CREATE SCHEMA billing")
        metadata.create_all(connection)
        run(connection, ROWS)
        if "set_config" in wall.revoke:
            run(connection, "RESET SESSION AUTHORIZATION")
            for statement in row_wall_ddl(walled.tables, wall):
                connection.execute(statement)
        else:
            walled.put_up(connection)
    return walled
