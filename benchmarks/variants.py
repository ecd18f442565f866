"""The ways of running a case: by hand, with partywall, and for reads with SQLAlchemy's documented recipe."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import URL, Engine, Integer, bindparam, create_engine, event, inspect, select
from sqlalchemy.orm import ORMExecuteState, Session, with_loader_criteria

from benchmarks.cases import Case, Rows
from benchmarks.schema import Base
from benchmarks.writes import Way, Write
from partywall import RowWall, Tenancy, tenant

__all__ = [
    "Run",
    "Variant",
    "Visit",
    "Writer",
    "by_hand_in_the_call",
    "contents",
    "open_variants",
    "open_writers",
    "plain_in_the_call",
    "plain_once",
    "state_of",
    "visit_guarded",
    "visit_plain",
]

_T = TypeVar("_T")

Run = Callable[[Session], Rows]
"""Runs one statement in a Session that is open."""

TENANT = bindparam("tenant", type_=Integer)
KEY = bindparam("key", type_=Integer)


class Visit(Protocol):
    """Opens a Session for a tenant, lets somebody work in it, and closes it."""

    def __call__(self, tenant_id: int, work: Callable[[Session], _T], /) -> _T: ...


@dataclass(frozen=True)
class Variant:
    """One way of running every case. *prepare* takes the case, a tenant's id and the key to look for."""

    name: str
    prepare: Callable[[Case, int, int], Run]
    visit: Visit


@contextlib.contextmanager
def open_variants(url: URL) -> Iterator[tuple[Variant, ...]]:
    """Give each variant an engine of its own on one database."""
    engines = [create_engine(url) for _ in range(4)]
    plain, plain_again, for_recipe, guarded = engines
    by_hand, recipe, partywall = visit_plain(plain), _visit_by_recipe(for_recipe), visit_guarded(guarded)
    try:
        yield (
            Variant("by hand", by_hand_in_the_call, by_hand),
            Variant("by hand, again", by_hand_in_the_call, visit_plain(plain_again)),
            Variant("by hand, built once", _by_hand_once, by_hand),
            Variant("recipe", plain_in_the_call, recipe),
            Variant("partywall", plain_in_the_call, partywall),
            Variant("partywall, built once", plain_once, partywall),
        )
    finally:
        for engine in engines:
            engine.dispose()


@dataclass(frozen=True)
class Writer:
    """One way of writing every case."""

    name: str
    way: Callable[[Write], Way]
    visit: Visit


@contextlib.contextmanager
def open_writers(url: URL) -> Iterator[tuple[Writer, ...]]:
    """Give each way of writing an engine of its own on one database."""
    engines = [create_engine(url) for _ in range(3)]
    plain, plain_again, guarded = engines
    try:
        yield (
            Writer("by hand", lambda write: write.by_hand, visit_plain(plain)),
            Writer("by hand, again", lambda write: write.by_hand, visit_plain(plain_again)),
            Writer("partywall", lambda write: write.plain, visit_guarded(guarded)),
        )
    finally:
        for engine in engines:
            engine.dispose()


# How the statement is made.


def by_hand_in_the_call(case: Case, tenant_id: int, key: int) -> Run:
    """Prepare to build the statement in each run, with its filter."""
    return lambda session: case.fetch(session, case.by_hand(tenant_id, key), {})


def _by_hand_once(case: Case, tenant_id: int, key: int) -> Run:
    if not case.reusable:
        constant = case.by_hand(tenant_id, key)
        return lambda session: case.fetch(session, constant, {})
    return _with_parameters(case, case.by_hand(TENANT, KEY), {"tenant": tenant_id, "key": key})


def plain_in_the_call(case: Case, _tenant_id: int, key: int) -> Run:
    """Prepare to build the statement in each run, without a filter."""
    return lambda session: case.fetch(session, case.plain(key), {})


def plain_once(case: Case, _tenant_id: int, key: int) -> Run:
    """Build the statement now, without a filter, for all runs."""
    return _with_parameters(case, case.plain(KEY), {"key": key})


def _with_parameters(case: Case, statement: Any, values: dict[str, int]) -> Run:
    parameters = {name: values[name] for name in statement.compile().params if name in values}
    return lambda session: case.fetch(session, statement, parameters)


# How the Session knows its tenant.


def visit_plain(engine: Engine) -> Visit:
    """Visit *engine* as it is."""

    def visit(_tenant_id: int, work: Callable[[Session], _T], /) -> _T:
        with Session(engine) as session:
            return work(session)

    return visit


def visit_guarded(engine: Engine, rows: RowWall | None = None) -> Visit:
    """Guard *engine*, and visit it in the tenant's scope."""
    Tenancy(Base.metadata, rows=rows).guard(engine)

    def visit(tenant_id: int, work: Callable[[Session], _T], /) -> _T:
        with tenant(tenant_id), Session(engine) as session:
            return work(session)

    return visit


class RecipeSession(Session):
    """A Session that filters as SQLAlchemy's documentation shows it."""


@event.listens_for(RecipeSession, "do_orm_execute")
def _add_criteria(state: ORMExecuteState) -> None:
    # SQLAlchemy 2.1 documentation, ORM Events, "Adding global WHERE / ON criteria"; the option reaches relationship
    # loads by itself.
    if not state.is_column_load and not state.is_relationship_load:
        tenant_id = state.session.info["tenant"]
        criteria = with_loader_criteria(Base, lambda cls: cls.tenant_id == tenant_id, include_aliases=True)
        state.statement = state.statement.options(criteria)


def _visit_by_recipe(engine: Engine) -> Visit:
    def visit(tenant_id: int, work: Callable[[Session], _T], /) -> _T:
        with RecipeSession(engine, info={"tenant": tenant_id}) as session:
            return work(session)

    return visit


def contents(result: Rows) -> list[str]:
    """Return what a run returned, objects with all that was loaded with them, in an order that does not matter."""
    return sorted(repr(_plain_values(each)) for each in result)


def _plain_values(value: Any) -> Any:
    if isinstance(value, Base):
        loaded = inspect(value).dict
        return {name: _plain_values(loaded[name]) for name in sorted(loaded) if name != "_sa_instance_state"}
    if isinstance(value, (list, tuple)):
        return [_plain_values(each) for each in value]
    return value


def state_of(session: Session, tenant_id: int) -> list[str]:
    """Return a tenant's rows in all tables as they are now, less the ids, which are others each time on PostgreSQL."""
    rows: list[str] = []
    for table in Base.metadata.sorted_tables:
        columns = [column for column in table.c if column.name != "id"]
        found = session.connection().execute(select(*columns).where(table.c.tenant_id == tenant_id))
        rows += (f"{table.name} {tuple(row)}" for row in found)
    return sorted(rows)
