"""What in the database is not as the row wall means it to be: facts in, findings out."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from partywall.rows.declaration import RowWall
from partywall.rows.encoding import SETTING
from partywall.rows.postgresql.ddl import (
    function_statements,
    grant_statements,
    policy_statements,
    security_statements,
    view_statements,
)
from partywall.rows.postgresql.facts import Facts, ask
from partywall.rows.postgresql.meant import Meant, Policy, Relation, meant, quote
from partywall.rows.postgresql.tenant import KEYS, SCHEMA, body, return_type, stored_tenant
from partywall.tables import Tables

__all__ = ["BREAKS_ONLY", "Finding", "find_drift", "findings", "unscoped_findings"]

# The first minor release of each major one that has no known hole in row security, and why it is that one.
# CVE-2025-8713: statistics of partitions, inheritance children and views showed rows that policies hide.
OLDEST_RELEASES = {13: 130022, 14: 140019, 15: 150014, 16: 160010, 17: 170006}

BREAKS_ONLY = frozenset({"missing privilege"})
"""Rules whose findings break the application and open nothing."""


@dataclass(frozen=True)
class Finding:
    """
    One thing that is not as it is meant to be.

    Attributes:
        rule: What is looked at.
        subject: The table, role or function.
        problem: What it is like, and what follows.
        remedy: The SQL that mends it, or what to write in Python.
    """

    rule: str
    subject: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.problem}\n    {self.remedy.replace(chr(10), chr(10) + '    ')}"


_Rule = Callable[[Meant, Facts], Iterable[Finding]]


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
        return [*_check_role(whole, facts)]
    return [finding for rule in _RULES for finding in rule(whole, facts)]


def unscoped_findings(whole: Meant, facts: Facts) -> list[Finding]:
    """Return what is found for the unscoped role, which may see all rows, but is not to own or become anything."""
    if facts.role is None or facts.role["rolsuper"]:
        return [*_check_role(whole, facts)]
    return [finding for rule in _UNSCOPED_RULES for finding in rule(whole, facts)]


def _sql(statements: Iterable[str]) -> str:
    return "\n".join(f"{statement};" for statement in statements)


def _check_version(whole: Meant, facts: Facts) -> Iterator[Finding]:
    version = int(facts.session["version"])
    oldest = OLDEST_RELEASES.get(version // 10000, 0 if version >= 180000 else 999999)  # noqa: PLR2004  # 18.0
    if version < oldest:
        wanted = f"{oldest // 10000}.{oldest % 10000}" if version // 10000 in OLDEST_RELEASES else "15 or later"
        yield Finding(
            "version",
            "server",
            f"release {version // 10000}.{version % 10000} has known holes in row security (CVE-2025-8713 and older).",
            f"Update the server to {wanted}.",
        )


def _check_role(whole: Meant, facts: Facts) -> Iterator[Finding]:
    role, name = facts.name, quote(facts.name)
    if facts.role is None:
        yield Finding(
            "role", role, "there is no such role.", f"CREATE ROLE {name} LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE;"
        )
        return
    for attribute, word, consequence in (
        ("rolsuper", "SUPERUSER", "no policy holds a superuser"),
        ("rolbypassrls", "BYPASSRLS", "no policy holds it"),
        ("rolcreaterole", "CREATEROLE", "it can make itself a member of stronger roles"),
        ("rolreplication", "REPLICATION", "it can read every row from the log"),
    ):
        if facts.role[attribute]:
            yield Finding("role", role, f"the role is {word}: {consequence}.", f"ALTER ROLE {name} NO{word};")


def _check_stronger(whole: Meant, facts: Facts) -> Iterator[Finding]:
    role = facts.name
    reasons = {
        "super": "is a superuser",
        "bypassrls": "has BYPASSRLS",
        "createrole": "has CREATEROLE",
        "replication": "has REPLICATION",
        "predefined": "is one of PostgreSQL's own, with privileges beyond tables",
        "unscoped": "sees the rows of all tenants",
        "owns": "owns a table of the wall, its schema or the database",
    }
    for other in facts.stronger:
        if other["name"] == role:
            if other["owns"]:
                yield Finding(
                    "owner",
                    role,
                    "the role owns a table of the wall, its schema or the database: it can take policies away.",
                    f"REASSIGN OWNED BY {quote(role)} TO {_owner(facts)};",
                )
            continue
        why = [reason for key, reason in reasons.items() if other[key]]
        if why:
            yield Finding(
                "stronger role",
                role,
                f"the role can become {other['name']}, which {' and '.join(why)}.",
                f"REVOKE {', '.join(map(quote, other['through'] or [other['name']]))} FROM {quote(role)};",
            )


def _owner(facts: Facts) -> str:
    """Return who owns the other tables of the wall, as SQL."""
    owners = [str(fact["owner"]) for fact in facts.relations.values() if fact["kind"] != "v"]
    others = [owner for owner in owners if owner != facts.name]
    return quote(others[0]) if others else "the_role_that_runs_migrations"


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
        wanted = relation.privileges.get(role, frozenset())
        make = view_statements if relation.is_view else grant_statements
        for grantee, privileges in _by_grantee(fact["grants"]):
            excess = privileges - (wanted if grantee == role else frozenset())
            if excess:
                revoke = f"REVOKE {', '.join(sorted(excess))} ON {relation.sql} FROM {_grantee(grantee)};"
                if relation.owner is not None:  # who may revoke, and nobody else
                    revoke = _sql(view_statements(whole, relation))
                yield Finding(
                    "privilege",
                    relation.sql,
                    f"{grantee} may {', '.join(sorted(excess))}, which the wall does not give.",
                    revoke,
                )
            wanted -= privileges
        if wanted:
            yield Finding(
                "missing privilege",
                relation.sql,
                f"{role} may not {', '.join(sorted(wanted))}.",
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


def _by_grantee(grants: list[dict[str, str]]) -> Iterator[tuple[str, frozenset[str]]]:
    for grantee in dict.fromkeys(each["grantee"] for each in grants):
        yield grantee, frozenset(each["privilege"] for each in grants if each["grantee"] == grantee)


def _grantee(name: str) -> str:
    return name if name == "PUBLIC" else quote(name)


def _grantees(grants: list[dict[str, str]]) -> str:
    return ", ".join(_grantee(name) for name, _ in _by_grantee(grants))


def _check_relatives(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for table in facts.relatives:
        yield Finding(
            "partition",
            table["name"],
            "a partition, child or parent of a table of the wall can be used by its own name, past the policies.",
            f"REVOKE ALL ON {table['name']} FROM {_grantees(table['grants'])};",
        )


def _check_undeclared(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for table in facts.undeclared:
        yield Finding(
            "undeclared table",
            table["name"],
            "it has a tenant column, but the tenancy does not know it, so nothing confines its rows.",
            f"REVOKE ALL ON {table['name']} FROM {_grantees(table['grants'])};",
        )


def _check_defaults(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for default in facts.defaults:
        schema = "" if default["schema"] is None else f" IN SCHEMA {quote(default['schema'])}"
        yield Finding(
            "default privileges",
            default["grantee"],
            "new tables and partitions are open to it before they have a policy.",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(default['grantor'])}{schema} "
            f"REVOKE ALL ON TABLES FROM {_grantee(default['grantee'])};",
        )


def _check_settings(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for place in facts.settings:
        role, database = place["role"], place["database"]
        if role is None:
            remedy = f"ALTER DATABASE {quote(str(database))} RESET {SETTING};"
        else:
            remedy = f"ALTER ROLE {quote(role)}{f' IN DATABASE {quote(database)}' if database else ''} RESET {SETTING};"
        yield Finding(
            "setting", SETTING, "it has a value from the start, so nobody's statements are a tenant's.", remedy
        )


def _check_readers(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for reader in facts.readers:
        grantees = _grantees(reader["grants"])
        if reader["kind"] == "m":
            yield Finding(
                "materialised view",
                reader["name"],
                "it holds rows of all tenants, and takes no policy.",
                f"REVOKE ALL ON {reader['name']} FROM {grantees};",
            )
        elif reader["kind"] == "v" and not {"security_invoker=true", "security_invoker=on"} & {*reader["options"]}:
            remedy = f"ALTER VIEW {reader['name']} SET (security_invoker = true);"
            if int(facts.session["version"]) < 150000:  # noqa: PLR2004  # the release that brought it
                remedy = f"REVOKE ALL ON {reader['name']} FROM {grantees};"
            yield Finding(
                "view of its owner", reader["name"], "it reads tables of the wall with its owner's rights.", remedy
            )


def _check_definers(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for function in facts.definers:
        kind = "PROCEDURE" if function["kind"] == "p" else "FUNCTION"
        grantees = ", ".join(map(_grantee, function["grants"] or [facts.name]))
        yield Finding(
            "definer",
            function["name"],
            f"it is SECURITY DEFINER: it runs with the rights of {function['owner']}, who may use tables of the wall.",
            f"REVOKE EXECUTE ON {kind} {function['name']} FROM {grantees};",
        )


def _check_leakproof(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for name in facts.leakproof:
        yield Finding(
            "leakproof",
            name,
            "it is LEAKPROOF, so it sees rows before policies hide them.",
            f"ALTER FUNCTION {name} NOT LEAKPROOF;",
        )


def _check_creates(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for place in facts.creates:
        yield Finding(
            "create",
            place["name"],
            f"{place['grantee']} may create in this {place['what'].lower()}: operators, tables that hide the wall's.",
            f"REVOKE CREATE ON {place['what']} {place['name']} FROM {_grantee(place['grantee'])};",
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
    for grantee, _ in _by_grantee(facts.keys or []):
        yield Finding(
            "keys", KEYS, f"{grantee} may read or write the keys.", f"REVOKE ALL ON {KEYS} FROM {_grantee(grantee)};"
        )


def _check_revoked(whole: Meant, facts: Facts) -> Iterator[Finding]:
    if "set_config" in whole.wall.revoke and facts.set_config:
        remedy = "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;"
        yield Finding("revoked", "set_config", f"{facts.name} may call it.", remedy)
    if "temp" in whole.wall.revoke and facts.temp:
        remedy = f"REVOKE TEMPORARY ON DATABASE {quote(facts.session['database'])} FROM PUBLIC;"
        yield Finding("revoked", "temporary tables", f"{facts.name} may make them.", remedy)


_RULES: tuple[_Rule, ...] = (
    _check_version,
    _check_role,
    _check_stronger,
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
    _check_relatives,
    _check_undeclared,
    _check_defaults,
    _check_settings,
    _check_readers,
    _check_definers,
    _check_leakproof,
    _check_creates,
    _check_revoked,
)

_UNSCOPED_RULES: tuple[_Rule, ...] = (
    _check_version,
    _check_role,
    _check_stronger,
    _check_function,
    _check_keys,
    _check_presence,
    _check_security,
    _check_policies,
    _check_grants,
    _check_usage,
)
