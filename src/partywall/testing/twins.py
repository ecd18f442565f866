"""
The twin oracle: a statement run for one tenant among many gives what it gives on a database of that tenant alone.

It needs no opinion on the SQL. The twin is read through an engine that partywall never touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from partywall.errors import PartywallError
from partywall.scope import TenantId, tenant

__all__ = ["DifferenceError", "Outcome", "Twins"]


class DifferenceError(AssertionError):
    """A statement gave something else among many tenants than alone."""


@dataclass(frozen=True)
class Outcome:
    """
    What became of a statement.

    Attributes:
        rows: What it returned, in its order; None if it failed.
        error: Class of the error it failed with; None if it did not.
    """

    rows: tuple[Any, ...] | None
    error: type[BaseException] | None

    def is_like(self, other: Outcome, *, ordered: bool) -> bool:
        """Whether rows and class of error are the same; the order of rows counts if *ordered*."""
        if self.rows is None or other.rows is None or ordered:
            return self == other
        return sorted(self.rows, key=repr) == sorted(other.rows, key=repr)


@dataclass(frozen=True)
class Twins:
    """
    A database of many tenants, and its twin: the same schema with one tenant's rows and the shared ones.

    Attributes:
        many: Guarded engine of the database of many tenants.
        alone: Plain engine of the twin.
        tenant_id: The tenant whose rows the twin holds.
    """

    many: Engine
    alone: Engine
    tenant_id: TenantId

    def compare(self, run: Callable[[Session], Iterable[Any]], *, ordered: bool = False) -> Outcome:
        """
        Run something on both databases and return what became of it.

        Args:
            run: Takes a Session and returns plain data: rows, tuples, numbers, no ORM objects.
            ordered: Whether the order of what it returns counts.

        Raises:
            DifferenceError: The outcomes differ, or partywall refused what the twin answers.
        """
        among_many = self.run_among_many(run)
        alone = _outcome(run, self.alone)
        if not among_many.is_like(alone, ordered=ordered):
            raise DifferenceError(f"for tenant {self.tenant_id!r}\namong many: {among_many}\nalone:      {alone}")
        return among_many

    def run_among_many(self, run: Callable[[Session], Iterable[Any]]) -> Outcome:
        """Run something for the tenant on the database of many tenants, and return what became of it."""
        with tenant(self.tenant_id):
            return _outcome(run, self.many)


def _outcome(run: Callable[[Session], Iterable[Any]], engine: Engine) -> Outcome:
    with Session(engine) as session:
        try:
            return Outcome(tuple(_plain(each) for each in run(session)), None)
        except PartywallError:
            raise  # A refusal is no outcome to compare: the test that expects one says so.
        except Exception as error:  # noqa: BLE001  # whatever the database says is what is compared
            return Outcome(None, type(error))


def _plain(value: Any) -> Any:
    """Turn result rows into tuples and lists into tuples, so that outcomes compare by value."""
    if isinstance(value, (tuple, list)):
        return tuple(_plain(each) for each in value)
    if isinstance(value, dict):
        return tuple(sorted((key, _plain(each)) for key, each in value.items()))
    return value
