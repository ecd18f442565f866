"""The self-test of the row wall on PostgreSQL: does it hold the role that is connected?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import Connection

from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.encoding import SETTING
from partywall.rows.postgresql.drift import BREAKS_ONLY, Finding, findings, unscoped_findings
from partywall.rows.postgresql.facts import Facts, as_it_stands, ask
from partywall.rows.postgresql.meant import Meant, literal, meant, quote
from partywall.rows.postgresql.surroundings import check_release
from partywall.rows.postgresql.tenant import KEYS, SCHEMA, return_type
from partywall.rows.seal import seal
from partywall.tables import Tables

__all__ = ["canary", "verify"]

CANARY_BYTES = 1_000_000  # of each table at most, so that a table without an index is not read whole


def verify(
    connection: Connection, tables: Tables, wall: RowWall, *, unscoped: bool = False, default_schema: str = "public"
) -> None:
    """
    Check that the row wall holds whoever is connected; three round trips, and two more for a seal.

    Args:
        connection: Of the application's role, with nobody's tenant told to the server, not guarded, and not in
            AUTOCOMMIT. If no transaction has begun, one begins and is left open, as with any statement.
        tables: The tenancy's.
        wall: Its row wall.
        unscoped: Whether the connection is of an unscoped engine.
        default_schema: Where the tables are whose metadata names no schema.

    Raises:
        SetupError: It does not hold. The message has every finding, with the SQL that mends it.
    """
    whole = meant(tables, wall, default_schema=default_schema)
    role = whole.unscoped_role if unscoped else whole.role
    if role is None:
        raise SetupError("an unscoped engine needs a role of its own: RowWall(..., unscoped_role='app_unscoped').")
    # A server that is too old would not understand the question.
    release: Any = connection.dialect.server_version_info
    major, minor = (*release, 0)[:2]
    _refuse(role, [*check_release(10000 * major + minor)])
    facts = ask(connection, whole, role)
    found = [*_who(facts, role)]
    everything = unscoped_findings(whole, facts) if unscoped else findings(whole, facts)
    found += [each for each in everything if each.rule not in BREAKS_ONLY]
    if not found and unscoped:
        found = [*_search_path(whole, facts)]
    elif not found:  # else the rest would say the same again, or fail
        found = [*_session(whole, facts), *_seal(connection, whole, facts), *canary(connection, whole, facts)]
    _refuse(role, found)


def _refuse(role: str, found: list[Finding]) -> None:
    if found:
        raise SetupError(
            f"the row wall does not hold the role {role}:\n" + "\n".join(f"- {finding}" for finding in found)
        )


def _who(facts: Facts, role: str) -> Iterator[Finding]:
    for word in ("session_user", "current_user"):
        user = facts.session[word]
        if user != role:
            yield Finding(
                "login",
                user,
                f"the engine is connected with {word} {user}, but the row wall holds {role}.",
                f'create_engine("postgresql+psycopg://{role}@...")',
            )
    if facts.session["tenant"]:
        yield Finding(
            "setting",
            SETTING,
            "it has a value before any tenant is told, so nobody's statements are a tenant's.",
            f"Look for -c {SETTING} in create_engine(..., connect_args=...), PGOPTIONS and the pooler's settings.",
        )


def _session(whole: Meant, facts: Facts) -> Iterator[Finding]:
    """Yield what is wrong with this session, though the catalogs are right."""
    for relation in whole.relations:
        fact = facts.relations[relation.schema, relation.name]
        if relation.policies and whole.role in relation.privileges and not fact["active"]:
            yield Finding("active", relation.sql, "row security is not active for this role.", "SET row_security = on;")
        if whole.role in relation.privileges and relation.schema == whole.default_schema and not fact["resolves"]:
            yield Finding(
                "search path",
                relation.sql,
                f"the name {relation.name} stands for another table, or none, in this session.",
                f"ALTER ROLE {quote(whole.role)} SET search_path = {quote(relation.schema)};",
            )


def _search_path(whole: Meant, facts: Facts) -> Iterator[Finding]:
    """Yield the tables that an unscoped session would look for behind a view that shows it nothing."""
    for relation in whole.relations:
        if (
            relation.schema == whole.wall.base_schema
            and not facts.relations[relation.schema, relation.name]["resolves"]
        ):
            path = f"{quote(relation.schema)}, {quote(whole.default_schema)}"
            yield Finding(
                "search path",
                relation.sql,
                f"the name {relation.name} stands for the view that confines a tenant, not for the table.",
                f"ALTER ROLE {quote(facts.name)} SET search_path = {path};",
            )


def _seal(connection: Connection, whole: Meant, facts: Facts) -> Iterator[Finding]:
    """Yield that the database does not take our seal: it has another key, or another time."""
    if whole.wall.key is None:
        return
    encoded = "1".zfill(32) if return_type(whole.tables.tenant_type) == "uuid" else "31"  # somebody's, of any type
    token = seal(encoded, facts.session["pid"], whole.wall.key, int(time.time()) + whole.wall.token_lifetime)
    curtain = " " * whole.wall.activity_bytes  # as for every token, since this may be a tenant's
    as_it_stands(connection, f"{curtain}SET LOCAL {SETTING} = '{token}'")
    question = (
        f"SELECT nullif(current_setting('{SETTING}', true), '') IS NOT NULL, {SCHEMA}.tenant_id() IS NOT NULL, "
        "setting::int FROM pg_catalog.pg_settings WHERE name = 'track_activity_query_size'"
    )
    answer: Any = as_it_stands(connection, question).one()
    if not answer[0]:
        yield Finding(
            "autocommit",
            "the engine",
            "it is in AUTOCOMMIT: there is no transaction that could hold the tenant.",
            'create_engine(..., isolation_level="READ COMMITTED")',
        )
    elif not answer[1]:
        yield Finding(
            "seal",
            KEYS,
            "the database does not take our seal, so no row is seen: it has another key, or its clock is ahead by more "
            "than a token lasts.",
            "Run row_wall_ddl() again with the key of this tenancy.",
        )
    if answer[2] > whole.wall.activity_bytes:
        yield Finding(
            "activity",
            "server",
            f"pg_stat_activity shows {answer[2]} bytes of each statement, so other sessions could see a sealed tenant.",
            f"RowWall(..., activity_bytes={answer[2]})",
        )


def canary(connection: Connection, whole: Meant, facts: Facts) -> Iterator[Finding]:
    """Yield the tables that show a row to nobody's tenant: whatever the catalogs say, it is tried."""
    questions = []
    for relation in whole.relations:
        fact = facts.relations[relation.schema, relation.name]
        if relation.tenant_column is None or not fact["readable"]:
            continue
        share = min(100.0, 100 * CANARY_BYTES / max(1, fact["bytes"]))
        sample = "" if relation.is_view else f" TABLESAMPLE SYSTEM ({share:.6f})"
        questions.append(
            f"SELECT {literal(relation.sql)} WHERE EXISTS "
            f"(SELECT FROM {relation.sql}{sample} WHERE {quote(relation.tenant_column)} IS NOT NULL)"
        )
    if not questions:
        return
    as_it_stands(connection, f"SET LOCAL {SETTING} = ''")
    for (name,) in as_it_stands(connection, " UNION ALL ".join(questions)):
        yield Finding(
            "canary", name, "it shows rows though no tenant is set.", "Look for what lets it, and report it to us."
        )
