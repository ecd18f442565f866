"""Puts the row wall up on the connections of one engine, and tells them whose rows they show."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

from partywall.errors import RefusedStatementError, SetupError
from partywall.rows.sqlite.authorizer import Gate
from partywall.rows.sqlite.connection import WalledConnection, rows_of
from partywall.rows.sqlite.schema import Ask, Schema, read_schema, state_of
from partywall.rows.sqlite.seals import Seals
from partywall.rows.sqlite.views import Fence, quoted
from partywall.tables import TableDescription, Tables, Visible

__all__ = ["OLDEST_SQLITE", "SqliteWall"]

OLDEST_SQLITE = (3, 40, 0)
"""The oldest SQLite on which the authorizer was seen to be asked what this wall relies on."""

_SETTINGS = {"recursive_triggers": 1, "foreign_keys": 1, "trusted_schema": 0}
"""REPLACE fires DELETE triggers; keys hold; the schema calls no functions of the application's."""


class SqliteWall:
    """
    The row wall of one engine.

    Attributes:
        tables: What a tenant may see and write.
        may_call: Whether a function may be called in SQL.
    """

    def __init__(self, tables: Tables, may_call: Callable[[str], bool]) -> None:
        for each in tables.by_name.values():
            if each.schema is not None:
                raise SetupError(
                    f"table {each.key} is in the attached database {each.schema}, where no wall can be put up.\n"
                    "Keep it in the main database and leave the schema out, or guard without rows=RowWall()."
                )
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise SetupError(
                f"the row wall needs SQLite {'.'.join(map(str, OLDEST_SQLITE))} or later, and this Python has "
                f"{sqlite3.sqlite_version}.\nUse a newer build of it, or guard without rows=RowWall()."
            )
        self.tables = tables
        self.may_call = may_call
        self._schema: Schema | None = None
        self._lock = threading.Lock()

    def put_up(self, connection: Any) -> None:
        """
        Put the wall up on a new connection, and test it.

        Args:
            connection: The driver's; called in the thread that may use it.

        Raises:
            SetupError: The connection is not ours, or tables are missing or not what was declared.
        """
        if not isinstance(connection, WalledConnection):
            raise SetupError(
                f"the row wall needs a connection of its own class, and this engine's is a {type(connection).__name__}."
                "\nLet create_engine() connect, or in creator=:  sqlite3.connect(..., factory=WalledConnection), from "
                "partywall.rows.sqlite.connection"
            )

        def ask(sql: str) -> Any:
            return rows_of(connection, sql)

        for pragma, value in _SETTINGS.items():
            ask(f"PRAGMA {pragma} = {value}")
            if ask(f"PRAGMA {pragma}") != [(value,)]:
                raise SetupError(f"SQLite does not let PRAGMA {pragma} be {value}: is a transaction open?")
        ask("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # makes the two, which is more than a tenant may do
        gate = self._gate(self._known_schema(ask))
        connection.create_function(gate.fence.function, 0, gate.tenant_now, deterministic=True)
        for statement in gate.fence.statements:
            ask(statement)
        seals = Seals()
        for each in self.tables.by_name.values():
            if each.writable is not Visible.NONE:
                seals.add(each.key, gate.schema.exact(each.name) or "")

        def ask_past_the_wall(sql: str) -> Any:
            return ask(seals.sealed_question(sql))

        def reread() -> bool:
            before, gate.schema = gate.schema, self._known_schema(ask_past_the_wall)
            return gate.schema is not before

        connection.set_authorizer(gate)
        connection.partywall_seals, connection.partywall_reread = seals, reread
        connection.partywall_gate = gate
        self._test(gate, ask)

    def _known_schema(self, ask: Ask) -> Schema:
        state = state_of(ask)
        with self._lock:
            if self._schema is None or (self._schema.file, self._schema.version) != state:
                self._schema = read_schema(ask)
            return self._schema

    def _gate(self, schema: Schema) -> Gate:
        fence = Fence()
        shared, writable = set(), set()
        for each in self.tables.by_name.values():
            table = self._table(each, schema)
            if each.is_restricted:
                fence.enclose(each, table, by_tenant=schema.keys.get(table) == [each.tenant_column])
            else:
                shared.add(table)
            if each.writable is not Visible.NONE:
                writable.add(table)
        return Gate(fence, schema, frozenset(shared), frozenset(writable), self.may_call)

    def _table(self, description: TableDescription, schema: Schema) -> str:
        """Return the exact name of a declared table; refuse one that is missing or no plain table."""
        name = schema.exact(description.name)
        if name is None:
            raise SetupError(
                f"the table {description.key} is not in the database, so it cannot be walled.\n"
                "Create it on another engine:  tenancy.create_all(create_engine(url)). A walled connection creates "
                "nothing.\nA database in memory has to be shared with that engine:  "
                "sqlite:///file:/name?vfs=memdb&uri=true"
            )
        if schema.kinds[name] != "table":
            raise SetupError(
                f"{name} is a {schema.kinds[name]} in the database: the row wall protects plain tables only.\n"
                "Take it out of the metadata, or guard without rows=RowWall()."
            )
        return name

    def _test(self, gate: Gate, ask: Ask) -> None:
        """Ask every view for rows of a tenant that cannot be, and every table for any row."""
        gate.tenant = secrets.token_bytes(16)
        try:
            for each in self.tables.by_name.values():
                if not each.is_restricted:
                    continue
                name, column = quoted(each.name), quoted(each.tenant_column or "")
                seen = ask(f"SELECT 1 FROM {name} WHERE {column} IS NOT NULL LIMIT 1")  # noqa: S608  # quoted
                if seen:
                    raise SetupError(f"the row wall shows rows of {each.key} to a tenant that does not exist.")
                try:
                    ask(f"SELECT 1 FROM main.{name} LIMIT 1")  # noqa: S608  # quoted
                except RefusedStatementError:
                    continue
                raise SetupError(f"the row wall lets the table {each.key} be read past its view.")
        except (sqlite3.Error, RefusedStatementError) as error:
            raise SetupError(f"the row wall cannot be put up on this database: {error}") from error
        finally:
            gate.tenant = None
