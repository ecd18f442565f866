"""One thing that is not as the row wall means it to be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from partywall.rows.postgresql.facts import Facts
from partywall.rows.postgresql.meant import Meant, quote

__all__ = ["Finding", "Rule", "by_grantee", "grantee_sql", "grantees_sql"]


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


Rule = Callable[[Meant, Facts], Iterable[Finding]]
"""What looks at the facts about one role, which is `Facts.name`."""


def by_grantee(grants: list[dict[str, str]]) -> Iterator[tuple[str, frozenset[str]]]:
    for grantee in dict.fromkeys(each["grantee"] for each in grants):
        yield grantee, frozenset(each["privilege"] for each in grants if each["grantee"] == grantee)


def grantee_sql(name: str) -> str:
    return name if name == "PUBLIC" else quote(name)


def grantees_sql(grants: list[dict[str, str]]) -> str:
    return ", ".join(grantee_sql(name) for name, _ in by_grantee(grants))
