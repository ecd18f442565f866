"""Strings that may be sent in any scope as they stand: they concern the transaction alone, and read no table."""

from __future__ import annotations

import re

__all__ = ["explain_prefix", "is_preset"]

_TIME = r"(?:'?\d+ ?(?:us|ms|s|min|h|d)?'?|DEFAULT)"
_NAME = r"[a-z_]\w*"

# Each is a whole statement, word for word: what health checks and drivers ask, time limits, isolation, savepoints.
_PRESETS = [
    re.compile(rf"{pattern}\s*;?", re.IGNORECASE)
    for pattern in (
        r"SELECT 1",
        r"BEGIN(?: (?:DEFERRED|IMMEDIATE|EXCLUSIVE|TRANSACTION|WORK))?",
        rf"SET LOCAL (?:statement|lock|idle_in_transaction_session|transaction)_timeout ?(?:=|TO) ?{_TIME}",
        r"SET LOCAL (?:enable_[a-z]+|jit) ?(?:=|TO) ?(?:on|off|true|false|DEFAULT)",
        r"SET LOCAL (?:work_mem|hash_mem_multiplier) ?(?:=|TO) ?(?:'?\d+(?:\.\d+)? ?(?:kB|MB|GB)?'?|DEFAULT)",
        r"SET TRANSACTION ISOLATION LEVEL (?:SERIALIZABLE|REPEATABLE READ|READ COMMITTED|READ UNCOMMITTED)",
        r"SET TRANSACTION (?:READ ONLY|READ WRITE|DEFERRABLE|NOT DEFERRABLE)",
        rf"SET CONSTRAINTS (?:ALL|{_NAME}(?:, ?{_NAME})*) (?:DEFERRED|IMMEDIATE)",
        rf"SAVEPOINT {_NAME}",
        rf"RELEASE(?: SAVEPOINT)? {_NAME}",
        rf"ROLLBACK TO(?: SAVEPOINT)? {_NAME}",
    )
]


def is_preset(sql: str) -> bool:
    """Whether a string is one of those that may be sent in any scope."""
    words = " ".join(str.split(sql))  # not by a method of a subclass
    return any(pattern.fullmatch(words) for pattern in _PRESETS)


_OPTION = r"(?:ANALYZE|VERBOSE|COSTS|SETTINGS|GENERIC_PLAN|BUFFERS|WAL|TIMING|SUMMARY|MEMORY|SERIALIZE|FORMAT)"
_EXPLAIN = {
    "sqlite": re.compile(r"\s*EXPLAIN(?: QUERY PLAN)?\s", re.IGNORECASE),
    "postgresql": re.compile(
        rf"\s*EXPLAIN(?:\s*\( ?{_OPTION}(?: \w+)?(?:, ?{_OPTION}(?: \w+)?)* ?\)|(?: ANALYZE)?(?: VERBOSE)?)\s",
        re.IGNORECASE,
    ),
}


def explain_prefix(sql: str, dialect: str) -> str:
    """Return the EXPLAIN with which a statement begins, up to the statement; empty if with none."""
    found = _EXPLAIN[dialect].match(sql)
    return "" if found is None else found.group()
