"""What in the database is not as the row wall means it to be: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy.engine import Connection

from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import (
    function_statements,
    grant_statements,
    policy_statements,
    security_statements,
    view_statements,
)
from partywall.rows.postgresql.facts import Facts, ask
from partywall.rows.postgresql.finding import Finding, Rule, by_grantee, grantee_sql
from partywall.rows.postgresql.meant import Meant, Policy, Relation, meant, quote
from partywall.rows.postgresql.surroundings import ROLE_RULES, SURROUNDINGS_RULES, check_role
from partywall.rows.postgresql.tenant import KEYS, SCHEMA, body, return_type, stored_tenant
from partywall.tables import Tables

__all__ = ["BREAKS_ONLY", "Finding", "find_drift", "findings", "unscoped_findings"]


BREAKS_ONLY = frozenset({"missing privilege"})
"""Rules whose findings break the application and open nothing."""


def find_drift(
    connection: Connection, tables: Tables, wall: RowWall, *, default_schema: str = "public"
) -> list[Finding]:
    """
    Return what is not as `row_wall_ddl` makes it, each with the SQL that mends it. Two round trips.

    Args:
        connection: Of any role; catalogs are everybody's to read.
        tables: The tenancy's.
        wall: Its row wall.
        default_schema: Where the tables are whose metadata names no schema.

    Raises:
        SetupError: As `row_wall_ddl`.
    """
    whole = meant(tables, wall, default_schema=default_schema)
    found = findings(whole, ask(connection, whole, whole.role))
    if whole.unscoped_role is not None:
        found += unscoped_findings(whole, ask(connection, whole, whole.unscoped_role))
    return list(dict.fromkeys(found))


def findings(whole: Meant, facts: Facts) -> list[Finding]:
    """Return what every rule finds. A superuser is everything at once, so nothing else is said of one."""
    if facts.role is None or facts.role["rolsuper"]:
        return [*check_role(whole, facts)]
    return [finding for rule in (*ROLE_RULES, *_MADE_RULES, *SURROUNDINGS_RULES) for finding in rule(whole, facts)]


def unscoped_findings(whole: Meant, facts: Facts) -> list[Finding]:
    """Return what is found for the unscoped role, which may see all rows, but is not to own or become anything."""
    if facts.role is None or facts.role["rolsuper"]:
        return [*check_role(whole, facts)]
    return [finding for rule in (*ROLE_RULES, *_UNSCOPED_RULES) for finding in rule(whole, facts)]


def _sql(statements: Iterable[str]) -> str:
    return "\n".join(f"{statement};" for statement in statements)


def _tables(whole: Meant, facts: Facts) -> Iterator[tuple[Relation, dict[str, Any]]]:
    for relation in whole.relations:
        fact = facts.relations.get((relation.schema, relation.name))
        if fact is not None:
            yield relation, fact


def _check_presence(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for relation in whole.relations:
        fact = facts.relations.get((relation.schema, relation.name))
        kinds = "v" if relation.is_view else "rp"
        if fact is not None and fact["kind"] in kinds:
            continue
        what = "is missing" if fact is None else f"is of another kind ({fact['kind']}), which takes no policy"
        if relation.is_view:
            remedy = _sql(view_statements(whole, relation))
        else:
            remedy = "Create it, then run row_wall_ddl() again."
        yield Finding("relation", relation.sql, f"the {'view' if relation.is_view else 'table'} {what}.", remedy)


def _check_security(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for relation, fact in _tables(whole, facts):
        if not relation.policies:
            continue
        remedy = _sql(security_statements(relation))
        if not fact["enabled"]:
            yield Finding("enabled", relation.sql, "row security is not enabled: all rows are seen.", remedy)
        elif not fact["forced"]:
            yield Finding(
                "forced",
                relation.sql,
                "row security is not forced: the owner's views and functions see all rows.",
                remedy,
            )


def _check_rules(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for relation, fact in _tables(whole, facts):
        for name in fact["rules"]:
            yield Finding(
                "rule",
                relation.sql,
                f"the rule {name} rewrites statements, with the rights of the table's owner.",
                f"DROP RULE {quote(name)} ON {relation.sql};",
            )


def _check_owners(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for relation, fact in _tables(whole, facts):
        if fact["owner_is_unscoped"] and relation.policies and whole.unscoped_role is not None:
            unscoped_role, owner = quote(whole.unscoped_role), quote(fact["owner"])
            yield Finding(
                "owner",
                relation.sql,
                f"its owner {fact['owner']} inherits the privileges of {whole.unscoped_role}, so the owner's views and "
                "functions see the rows of all tenants.",
                f"REVOKE {unscoped_role} FROM {owner};  -- or: GRANT {unscoped_role} TO {owner} WITH INHERIT FALSE;",
            )


def _check_policies(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for relation, fact in _tables(whole, facts):
        found = {policy["name"]: policy for policy in fact["policies"]}
        for policy in relation.policies:
            fault = _fault(whole, policy, found.pop(policy.name, None), fact, facts)
            if fault:
                remedy = _sql(policy_statements(relation, policy))
                yield Finding("policy", relation.sql, f"the policy {policy.name} {fault}.", remedy)
        for name, other in found.items():
            if other["permissive"] and (other["applies"] or fact["owner"] in other["roles"]) and relation.policies:
                yield Finding(
                    "other policy",
                    relation.sql,
                    f"the policy {name} lets the role see or write more rows.",
                    f"DROP POLICY {quote(name)} ON {relation.sql};",
                )


def _fault(whole: Meant, policy: Policy, found: dict[str, Any] | None, fact: dict[str, Any], facts: Facts) -> str:
    if found is None:
        return "is missing"
    role = fact["owner"] if policy.role == "CURRENT_USER" else policy.role
    if found["roles"] != [role]:
        return f"is for {', '.join(found['roles'])}, not {role}"
    if found["command"] != policy.command:
        return f"is for {found['command']}, not {policy.command}"
    if not found["permissive"]:
        return "is restrictive"
    for clause, meant_text, text in (
        ("USING", policy.using, found["using"]),
        ("WITH CHECK", policy.check, found["check"]),
    ):
        if not _is_same(whole, meant_text, text, facts):
            return f"has another {clause}: {text}"
    return ""


def _is_same(whole: Meant, meant_text: str | None, text: str | None, facts: Facts) -> bool:
    """Return whether the server's text of an expression is the one that was meant."""
    if meant_text is None or text is None:
        return meant_text is text
    return _canonical(text) in _stored_as(whole, meant_text, facts)


def _stored_as(whole: Meant, meant_text: str, facts: Facts) -> set[str]:
    """Return what the server may make of a criterion of ours: it casts a varchar to compare it."""
    column, equals, _ = meant_text.partition(" = ")
    if not equals:
        return {_canonical(meant_text)}
    is_visible = facts.function is not None and bool(facts.function["visible"])
    tenant = stored_tenant(whole.wall, whole.tables.tenant_type, is_visible=is_visible)
    return {_canonical(f"{column}{cast} = {tenant}") for cast in ("", "::text")}


def _canonical(sql: str) -> str:
    """Return SQL without the blanks and parentheses that releases of PostgreSQL place differently."""
    return re.sub(r"[\s();]", "", sql)


def _check_views(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for relation, fact in _tables(whole, facts):
        if not relation.is_view or fact["kind"] != "v":
            continue
        fault = _fault_of_view(whole, relation, fact, facts)
        if fault:
            remedy = _sql([f"DROP VIEW {relation.sql}", *view_statements(whole, relation)])
            yield Finding("view", relation.sql, f"the view {fault}.", remedy)


def _fault_of_view(whole: Meant, view: Relation, fact: dict[str, Any], facts: Facts) -> str:
    assert view.base is not None  # noqa: S101  # else it is no view
    base = facts.relations.get(view.base, {})
    owner = view.owner or base.get("owner")
    if fact["owner"] != owner:
        return f"belongs to {fact['owner']}, not {owner}"
    if fact["reads"] != [list(view.base)]:
        return f"reads {fact['reads']}, not {quote(*view.base)}"
    meant_options = [] if view.where is None else ["check_option=cascaded"]
    if sorted(fact["options"]) != meant_options:
        return f"has the options {fact['options']}, not {meant_options}"
    if fact["triggers"]:
        return f"has the triggers {', '.join(fact['triggers'])}"
    columns = tuple(fact["columns"]) if view.columns is None else view.columns
    if view.columns is None and fact["columns"] != base.get("columns"):
        return "has not the columns of its table"
    name = quote(view.base[1])
    text = _canonical(re.sub(rf"(?<![\w\"]){re.escape(name)}\.", "", fact["definition"]))
    text = text.replace(f"FROM{quote(view.base[0])}.", "FROM")
    head = _canonical(f"SELECT {', '.join(map(quote, columns))} FROM {name}")
    meant_texts = (
        {head} if view.where is None else {f"{head}WHERE{each}" for each in _stored_as(whole, view.where, facts)}
    )
    return "" if text in meant_texts else f"is another query:\n{fact['definition']}"


def _check_grants(whole: Meant, facts: Facts) -> Iterator[Finding]:
    role = facts.name
    for relation, fact in _tables(whole, facts):
        missing = wanted = relation.privileges.get(role, frozenset())
        make = view_statements if relation.is_view else grant_statements
        for grantee, privileges in by_grantee(fact["grants"]):
            excess = privileges - (wanted if grantee == role else frozenset())
            if excess:
                revoke = f"REVOKE {', '.join(sorted(excess))} ON {relation.sql} FROM {grantee_sql(grantee)};"
                if relation.owner is not None:  # who may revoke, and nobody else
                    revoke = _sql(view_statements(whole, relation))
                yield Finding(
                    "privilege",
                    relation.sql,
                    f"{grantee} may {', '.join(sorted(excess))}, which the wall does not give.",
                    revoke,
                )
            missing -= privileges
        if missing:
            yield Finding(
                "missing privilege",
                relation.sql,
                f"{role} may not {', '.join(sorted(missing))}.",
                _sql(make(whole, relation)),
            )


def _check_usage(whole: Meant, facts: Facts) -> Iterator[Finding]:
    lacking = {
        relation.schema
        for relation, fact in _tables(whole, facts)
        if facts.name in relation.privileges and not fact["usage"]
    }
    for schema in sorted(lacking):
        yield Finding(
            "missing privilege",
            schema,
            f"{facts.name} may not use the schema.",
            f"GRANT USAGE ON SCHEMA {quote(schema)} TO {quote(facts.name)};",
        )


def _check_function(whole: Meant, facts: Facts) -> Iterator[Finding]:
    if not whole.wall.is_sealed:
        return
    found = facts.function
    name, remedy = f"{SCHEMA}.tenant_id()", _sql(function_statements(whole))
    if found is None:
        yield Finding("function", name, "the function that says who the tenant is is missing.", remedy)
        return
    if found["own"]:
        yield Finding(
            "function", name, f"{facts.name} owns it, or can.", f"ALTER FUNCTION {name} OWNER TO CURRENT_USER;"
        )
    as_meant = {
        "body": body(whole.tables.tenant_type),
        "definer": True,
        "language": "plpgsql",
        "returns": return_type(whole.tables.tenant_type).replace("bpchar", "character"),
        "volatile": "s",
        "parallel": "r",
        "config": ["search_path=pg_catalog, pg_temp"],
        "leakproof": False,
        "callable": True,
        "overloads": 1,
    }
    differing = sorted(key for key, value in as_meant.items() if found[key] != value)
    if differing:
        yield Finding("function", name, f"its {', '.join(differing)} are not as meant.", remedy)


def _check_keys(whole: Meant, facts: Facts) -> Iterator[Finding]:
    if whole.wall.is_sealed and facts.keys is None:
        yield Finding(
            "keys", KEYS, "the table of the keys is missing.", "Run row_wall_ddl() again."
        )  # no key in errors
    for grantee, _ in by_grantee(facts.keys or []):
        yield Finding(
            "keys", KEYS, f"{grantee} may read or write the keys.", f"REVOKE ALL ON {KEYS} FROM {grantee_sql(grantee)};"
        )


_MADE_RULES: tuple[Rule, ...] = (
    _check_function,
    _check_keys,
    _check_presence,
    _check_security,
    _check_rules,
    _check_owners,
    _check_policies,
    _check_views,
    _check_grants,
    _check_usage,
)
"""About what we have made ourselves; the first ones first, since their remedies are what the others rest on."""

_UNSCOPED_RULES: tuple[Rule, ...] = (
    _check_function,
    _check_keys,
    _check_presence,
    _check_security,
    _check_policies,
    _check_grants,
    _check_usage,
)
