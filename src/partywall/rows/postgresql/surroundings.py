"""What makes the row wall worth nothing though it stands: who the role is, and what else is in the database."""

from __future__ import annotations

from collections.abc import Iterator

from partywall.rows.encoding import SETTING
from partywall.rows.postgresql.facts import Facts
from partywall.rows.postgresql.finding import Finding, Rule, grantee_sql, grantees_sql
from partywall.rows.postgresql.meant import Meant, quote

__all__ = ["ROLE_RULES", "SURROUNDINGS_RULES", "check_release", "check_role"]

# The first minor release of each major one that has no known hole in row security, and why it is that one.
# CVE-2025-8713: statistics of partitions, inheritance children and views showed rows that policies hide.
OLDEST_RELEASES = {13: 130022, 14: 140019, 15: 150014, 16: 160010, 17: 170006}


def _check_version(whole: Meant, facts: Facts) -> Iterator[Finding]:
    return check_release(int(facts.session["version"]))


def check_release(version: int) -> Iterator[Finding]:
    """Yield that a release, as ``server_version_num`` has it, has known holes."""
    oldest = OLDEST_RELEASES.get(version // 10000, 0 if version >= 180000 else 999999)  # noqa: PLR2004  # 18.0
    if version < oldest:
        wanted = f"{oldest // 10000}.{oldest % 10000}" if version // 10000 in OLDEST_RELEASES else "15 or later"
        yield Finding(
            "version",
            "server",
            f"release {version // 10000}.{version % 10000} has known holes in row security (CVE-2025-8713 and older).",
            f"Update the server to {wanted}.",
        )


def check_role(whole: Meant, facts: Facts) -> Iterator[Finding]:
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


def _check_relatives(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for table in facts.relatives:
        yield Finding(
            "partition",
            table["name"],
            "a partition, child or parent of a table of the wall can be used by its own name, past the policies.",
            f"REVOKE ALL ON {table['name']} FROM {grantees_sql(table['grants'])};",
        )


def _check_undeclared(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for table in facts.undeclared:
        yield Finding(
            "undeclared table",
            table["name"],
            "it has a tenant column, but the tenancy does not know it, so nothing confines its rows.",
            f"REVOKE ALL ON {table['name']} FROM {grantees_sql(table['grants'])};",
        )


def _check_defaults(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for default in facts.defaults:
        schema = "" if default["schema"] is None else f" IN SCHEMA {quote(default['schema'])}"
        yield Finding(
            "default privileges",
            default["grantee"],
            "new tables and partitions are open to it before they have a policy.",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(default['grantor'])}{schema} "
            f"REVOKE ALL ON TABLES FROM {grantee_sql(default['grantee'])};",
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
        grantees = grantees_sql(reader["grants"])
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
                "view of its owner",
                reader["name"],
                "it reads tables with a tenant column with its owner's rights.",
                remedy,
            )


def _check_definers(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for function in facts.definers:
        kind = "PROCEDURE" if function["kind"] == "p" else "FUNCTION"
        grantees = ", ".join(map(grantee_sql, function["grants"] or [facts.name]))
        yield Finding(
            "definer",
            function["name"],
            f"it is SECURITY DEFINER: it runs with the rights of {function['owner']}, who may use "
            "tables with a tenant column, or call other such functions.",
            f"REVOKE EXECUTE ON {kind} {function['name']} FROM {grantees};",
        )


def _check_triggers(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for trigger in facts.triggers:
        yield Finding(
            "definer",
            trigger["table"],
            f"a trigger of it is SECURITY DEFINER: it runs with the rights of {trigger['owner']}, who may use tables "
            "with a tenant column, or call other such functions.",
            f"ALTER FUNCTION {trigger['name']} SECURITY INVOKER;",
        )


def _check_rules(whole: Meant, facts: Facts) -> Iterator[Finding]:
    for rule in facts.rules:
        yield Finding(
            "rule",
            rule["table"],
            f"the rule {rule['name']} rewrites statements, with the rights of the table's owner.",
            f"DROP RULE {quote(rule['name'])} ON {rule['table']};",
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
            f"REVOKE CREATE ON {place['what']} {place['name']} FROM {grantee_sql(place['grantee'])};",
        )


def _check_revoked(whole: Meant, facts: Facts) -> Iterator[Finding]:
    if "set_config" in whole.wall.revoke and facts.set_config:
        remedy = "REVOKE EXECUTE ON FUNCTION pg_catalog.set_config(text, text, boolean) FROM PUBLIC;"
        yield Finding("revoked", "set_config", f"{facts.name} may call it.", remedy)
    if "temp" in whole.wall.revoke and facts.temp:
        remedy = f"REVOKE TEMPORARY ON DATABASE {quote(facts.session['database'])} FROM PUBLIC;"
        yield Finding("revoked", "temporary tables", f"{facts.name} may make them.", remedy)


ROLE_RULES: tuple[Rule, ...] = (_check_version, check_role, _check_stronger)
"""About the role, whichever it is."""

SURROUNDINGS_RULES: tuple[Rule, ...] = (
    _check_relatives,
    _check_undeclared,
    _check_defaults,
    _check_settings,
    _check_readers,
    _check_definers,
    _check_triggers,
    _check_rules,
    _check_leakproof,
    _check_creates,
    _check_revoked,
)
"""About what else the role can use."""
