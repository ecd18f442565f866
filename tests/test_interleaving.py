"""Three tenants read and write at once, and each finds the rows that it would have alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from sqlalchemy import create_engine, delete, event, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session

from partywall import ForeignTenantError, NoTenantError, TenantChangedError, tenant, unscoped
from partywall.statements.writes import ScopedWriter
from tests import models
from tests.conftest import NewDatabase
from tests.models import TENANTS, Ticket
from tests.world import filled

STEPS = int(os.environ.get("PARTYWALL_STEPS", "800"))
STEPS_OF_A_RUN = 50

tickets = models.Base.metadata.tables["tickets"]
tenants = st.sampled_from(TENANTS)
numbers = st.integers(1, 6)
titles = st.sampled_from(["red", "green", "blue"])
Rows = dict[int, str]


class Actor:
    """
    One tenant's Session or connection, and what its rows should be.

    Attributes:
        committed: Title of each ticket, by number, as last committed.
        rows: The same in the transaction that is open.
        savepoints: Savepoints that are open, each with the rows at its beginning.
    """

    def __init__(self, engine: Engine, tenant_id: int, rows: Rows) -> None:
        self.engine = engine
        self.tenant_id = tenant_id
        self.committed = rows
        self.open(in_session=tenant_id % 2 == 0)

    def open(self, *, in_session: bool) -> None:
        self.works: Session | Connection = Session(self.engine) if in_session else self.engine.connect()
        self.forget()

    def forget(self) -> None:
        self.rows = dict(self.committed)
        self.savepoints: list[tuple[Any, Rows]] = []

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        with tenant(self.tenant_id):
            return self.works.execute(statement, parameters)

    def seen(self) -> Rows:
        return {row.number: row.title for row in self.execute(select(tickets.c.number, tickets.c.title))}

    def begin_savepoint(self) -> None:
        with tenant(self.tenant_id):
            self.savepoints.append((self.works.begin_nested(), dict(self.rows)))

    def end_savepoint(self, *, keep: bool) -> None:
        savepoint, before = self.savepoints.pop()
        with tenant(self.tenant_id):
            if keep:
                savepoint.commit()
            else:
                savepoint.rollback()
                self.rows = before

    def commit(self) -> None:
        with tenant(self.tenant_id):
            self.works.commit()
        self.committed = self.rows
        self.forget()

    def rollback(self) -> None:
        self.works.rollback()
        self.forget()

    def close(self) -> None:
        self.works.close()


class Interleaving(RuleBasedStateMachine):
    """Each step is one tenant's; what the others did in between must not matter to it."""

    guarded: Engine
    plain: Engine
    steps = 0

    @initialize()
    def fill(self) -> None:
        rows = dict.fromkeys((1, 2, 3), "red")
        with self.plain.begin() as connection:
            connection.execute(delete(models.Base.metadata.tables["comments"]))  # they would be in the way
            connection.execute(delete(tickets))
            for tenant_id in TENANTS:
                connection.execute(
                    insert(tickets),
                    [{"tenant_id": tenant_id, "number": number, "title": title} for number, title in rows.items()],
                )
        self.actors = {tenant_id: Actor(self.guarded, tenant_id, rows) for tenant_id in TENANTS}

    def actor(self, tenant_id: int) -> Actor:
        """Return a tenant's actor; 0 is nobody. SQLite has room for one transaction: others are committed first."""
        type(self).steps += 1
        if self.guarded.dialect.name == "sqlite":
            for other in self.actors.values():
                if other.tenant_id != tenant_id and other.works.in_transaction():
                    other.commit()
        return self.actors.get(tenant_id, self.actors[1])

    # Writes.

    @rule(tenant_id=tenants, number=numbers, title=titles)
    def inserts(self, tenant_id: int, number: int, title: str) -> None:
        actor = self.actor(tenant_id)
        statement = insert(tickets).values(number=number, title=title)
        if number not in actor.rows:
            assert actor.execute(statement).inserted_primary_key == (tenant_id, number)
            actor.rows[number] = title
            return
        actor.begin_savepoint()
        with pytest.raises(IntegrityError):
            actor.execute(statement)
        actor.end_savepoint(keep=False)

    @rule(tenant_id=tenants, new=st.sets(numbers, min_size=1), title=titles)
    def inserts_many(self, tenant_id: int, new: set[int], title: str) -> None:
        actor = self.actor(tenant_id)
        rows: list[dict[str, Any]] = [{"number": number, "title": title} for number in sorted(new - actor.rows.keys())]
        if rows:
            statement = insert(tickets).returning(tickets.c.tenant_id, tickets.c.number, sort_by_parameter_order=True)
            assert actor.execute(statement, rows).all() == [(tenant_id, row["number"]) for row in rows]
            actor.rows |= dict.fromkeys((row["number"] for row in rows), title)

    @rule(tenant_id=tenants, number=numbers, title=titles)
    def upserts(self, tenant_id: int, number: int, title: str) -> None:
        actor = self.actor(tenant_id)
        dialect = postgresql if self.guarded.dialect.name == "postgresql" else sqlite
        statement = dialect.insert(tickets).values(number=number, title=title)
        actor.execute(
            statement.on_conflict_do_update(
                index_elements=["tenant_id", "number"], set_={"title": statement.excluded.title}
            )
        )
        actor.rows[number] = title

    @rule(tenant_id=tenants, number=numbers, title=titles)
    def updates_one(self, tenant_id: int, number: int, title: str) -> None:
        actor = self.actor(tenant_id)
        count = actor.execute(update(tickets).where(tickets.c.number == number).values(title=title)).rowcount
        assert count == (number in actor.rows)
        if count:
            actor.rows[number] = title

    @rule(tenant_id=tenants, old=titles, new=titles)
    def updates_some(self, tenant_id: int, old: str, new: str) -> None:
        actor = self.actor(tenant_id)
        count = actor.execute(update(Ticket).where(Ticket.title == old).values(title=new)).rowcount
        assert count == list(actor.rows.values()).count(old)
        actor.rows = {number: new if title == old else title for number, title in actor.rows.items()}

    @rule(tenant_id=tenants, number=numbers)
    def deletes_one(self, tenant_id: int, number: int) -> None:
        actor = self.actor(tenant_id)
        assert actor.execute(delete(tickets).where(tickets.c.number == number)).rowcount == (number in actor.rows)
        actor.rows.pop(number, None)

    @rule(tenant_id=tenants)
    def deletes_all(self, tenant_id: int) -> None:
        actor = self.actor(tenant_id)
        assert actor.execute(delete(tickets)).rowcount == len(actor.rows)
        actor.rows = {}

    @rule(tenant_id=tenants, number=numbers, title=titles)
    def changes_an_object(self, tenant_id: int, number: int, title: str) -> None:
        actor = self.actor(tenant_id)
        if isinstance(actor.works, Session):
            with tenant(tenant_id):
                ticket = actor.works.get(Ticket, (tenant_id, number), populate_existing=True)
                assert (ticket is not None) == (number in actor.rows)
                if ticket is None:
                    actor.works.add(Ticket(number=number, title=title))
                else:
                    ticket.title = title
                actor.works.flush()
            actor.rows[number] = title

    @rule(tenant_id=tenants, number=numbers)
    def deletes_an_object(self, tenant_id: int, number: int) -> None:
        actor = self.actor(tenant_id)
        if isinstance(actor.works, Session) and number in actor.rows:
            with tenant(tenant_id):
                actor.works.delete(actor.works.get_one(Ticket, (tenant_id, number), populate_existing=True))
                actor.works.flush()
            del actor.rows[number]

    # What is refused changes nothing.

    @rule(tenant_id=tenants, number=numbers, step=st.sampled_from((1, 2)))
    def is_refused_to_write_for_another(self, tenant_id: int, number: int, step: int) -> None:
        actor = self.actor(tenant_id)
        other = (tenant_id - 1 + step) % len(TENANTS) + 1
        for statement in (
            insert(tickets).values(tenant_id=other, number=number, title="theirs"),
            update(tickets).values(tenant_id=other),
        ):
            with pytest.raises(ForeignTenantError):
                actor.execute(statement)
        if isinstance(actor.works, Session):
            with tenant(tenant_id), pytest.raises(ForeignTenantError):
                actor.works.add(Ticket(tenant_id=other, number=number, title="theirs"))

    @rule(tenant_id=tenants, step=st.sampled_from((1, 2)))
    def is_refused_in_the_scope_of_another(self, tenant_id: int, step: int) -> None:
        actor = self.actor(tenant_id)
        actor.seen()  # the transaction is this tenant's now
        with tenant((tenant_id - 1 + step) % len(TENANTS) + 1), pytest.raises(TenantChangedError):
            actor.works.execute(select(tickets))

    @rule(tenant_id=tenants)
    def is_refused_with_no_tenant(self, tenant_id: int) -> None:
        self.actor(tenant_id)
        with self.guarded.connect() as connection, pytest.raises(NoTenantError):
            connection.execute(select(tickets))

    # Reads.

    @rule(tenant_id=tenants)
    def reads(self, tenant_id: int) -> None:
        actor = self.actor(tenant_id)
        assert actor.seen() == actor.rows
        assert actor.execute(select(func.count()).select_from(Ticket)).scalar() == len(actor.rows)

    @rule()
    def reads_what_all_have_committed(self) -> None:
        self.actor(0)
        with unscoped(reason="compare"), self.guarded.connect() as connection:
            found = set(map(tuple, connection.execute(select(tickets))))
        assert found == {
            (actor.tenant_id, number, title)
            for actor in self.actors.values()
            for number, title in actor.committed.items()
        }

    # Transactions.

    @rule(tenant_id=tenants)
    def begins_a_savepoint(self, tenant_id: int) -> None:
        self.actor(tenant_id).begin_savepoint()

    @rule(tenant_id=tenants, keep=st.booleans())
    def ends_a_savepoint(self, tenant_id: int, keep: bool) -> None:  # Hypothesis passes it by name
        actor = self.actor(tenant_id)
        if actor.savepoints:
            actor.end_savepoint(keep=keep)

    @rule(tenant_id=tenants)
    def commits(self, tenant_id: int) -> None:
        self.actor(tenant_id).commit()

    @rule(tenant_id=tenants)
    def rolls_back(self, tenant_id: int) -> None:
        self.actor(tenant_id).rollback()

    @rule(tenant_id=tenants, in_session=st.booleans())
    def closes_and_opens_again(self, tenant_id: int, in_session: bool) -> None:  # as above
        actor = self.actor(tenant_id)
        actor.close()
        actor.open(in_session=in_session)

    def teardown(self) -> None:
        for actor in getattr(self, "actors", {}).values():
            actor.close()
        if hasattr(self, "actors"):
            self.reads_what_all_have_committed()


@contextlib.contextmanager
def machine(new_database: Callable[[], Any], guard: Callable[[Engine], Engine]) -> Iterator[type[Interleaving]]:
    url = new_database()
    plain = filled(url, models.rows())
    # No tenant ever waits for another's row: through a hole in the wall it would, for ever.
    waits = {"options": "-c lock_timeout=1s"} if plain.dialect.name == "postgresql" else {}
    guarded = guard(create_engine(url, connect_args=waits))
    if guarded.dialect.name == "sqlite":
        # SQLAlchemy documentation, SQLite, "Enabling Non-Legacy SQLite Transactional Modes": for savepoints.
        event.listen(guarded, "connect", lambda connection, record: setattr(connection, "isolation_level", None))
        event.listen(guarded, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    try:
        yield type("Machine", (Interleaving,), {"guarded": guarded, "plain": plain, "steps": 0})
    finally:
        plain.dispose()
        guarded.dispose()


def run(on: type[Interleaving], steps: int) -> None:
    run_state_machine_as_test(
        on,
        settings=settings(
            max_examples=max(steps // STEPS_OF_A_RUN, 1),
            stateful_step_count=STEPS_OF_A_RUN,
            deadline=None,
            report_multiple_bugs=False,  # one is enough, and is raised as itself
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.filterwarnings("ignore:nested transaction already deassociated")  # a savepoint that a rollback has ended
def test_tenants_that_write_at_once_find_the_rows_they_would_have_alone(new_database: NewDatabase) -> None:
    with machine(new_database, lambda engine: models.tenancy().guard(engine, allow_unscoped=True)) as on:
        run(on, STEPS)

        assert on.steps > STEPS / 3


@pytest.mark.parametrize("part", ["_scope_where", "_restrict"])
def test_a_wall_with_a_hole_is_noticed(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    holes: dict[str, Any] = {
        "_scope_where": lambda self, state, description: None,
        "_restrict": lambda self, source, may_rise: (source, []),
    }
    monkeypatch.setattr(ScopedWriter, part, holes[part])

    with machine(new_database, lambda engine: models.tenancy(strict=False).guard(engine, allow_unscoped=True)) as on:
        with pytest.raises((AssertionError, SQLAlchemyError, pytest.fail.Exception)):
            run(on, STEPS)
