"""Who is the tenant now: what can be one, how far a scope reaches, and what it takes to see all tenants."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import create_engine, func, insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session
from sqlalchemy.schema import DropTable

import partywall
from partywall import (
    ForeignTenantError,
    NoTenantError,
    PartywallError,
    RefusedStatementError,
    SetupError,
    TenantChangedError,
    TenantIdError,
    current_tenant,
    hand_over,
    tenant,
    unscoped,
)
from partywall.scope import Unscoped, current_scope
from tests import models
from tests.conftest import NewDatabase
from tests.models import Country, Customer, Invoice, Ticket
from tests.recorder import Recorder
from tests.world import World

STATEMENT = select(Invoice.tenant_id).distinct()


@pytest.fixture(autouse=True)
def no_scope_outside() -> Iterator[None]:
    """Check that no test begins or ends in a scope; one that does would hide what the next one shows."""
    assert current_scope() is None
    yield
    assert current_scope() is None


@pytest.fixture
def engine(world: World) -> Iterator[Engine]:
    """Return an engine that always has one tenant in scope."""
    guarded = models.tenancy().guard(create_engine(world.url))
    yield guarded
    guarded.dispose()


def tenants_seen(engine: Engine) -> list[int]:
    with Session(engine) as session:
        return sorted(session.scalars(STATEMENT))


# What can be a tenant id.

NOT_IDS: dict[str, Any] = {
    "none": None,
    "empty_string": "",
    "empty_bytes": b"",
    "true": True,
    "false": False,
    "unsaved_object": Customer(),
    "class_attribute": Customer.id,
    "column": Customer.__table__.c.id,
    "list": [1],
    "set": {1},
    "dict": {"id": 1},
}


@pytest.mark.parametrize("name", NOT_IDS)
def test_what_is_no_key_is_no_tenant_id(engine: Engine, name: str) -> None:
    with pytest.raises(TenantIdError):
        tenant(NOT_IDS[name])
    with pytest.raises(TenantIdError):
        models.tenancy().session(engine, tenant=NOT_IDS[name])


def test_a_saved_object_is_no_tenant_id_and_its_key_is(world: World) -> None:
    with unscoped(reason="test"), Session(world.many) as session:
        owner = session.get_one(models.Tenant, 1)
    with pytest.raises(TenantIdError, match="pass its key"):
        tenant(owner)  # type: ignore[arg-type,unused-ignore]  # that it is none is what is tested
    with tenant(owner.id):
        assert tenants_seen(world.many) == [1]


def test_the_key_of_an_unsaved_object_is_no_tenant_id() -> None:
    with pytest.raises(TenantIdError, match="None is not a tenant id"):
        tenant(models.Tenant().id)


def test_a_tenant_id_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="not a tenant id"):
        tenant("")


def test_zero_is_an_ordinary_tenant_id(new_database: NewDatabase) -> None:
    url = new_database()
    owner = create_engine(url)
    tickets = models.metadata_without_foreign_keys().tables["tickets"]
    with owner.begin() as connection:
        tickets.create(connection)
        rows = [{"tenant_id": number, "number": 1, "title": f"of {number}"} for number in (0, 1)]
        connection.execute(insert(tickets), rows)
    engine = models.tenancy().guard(create_engine(url))

    with tenant(0), Session(engine) as session:
        assert current_tenant() == 0
        assert list(session.scalars(select(Ticket.title))) == ["of 0"]
        session.commit()
    with models.tenancy().session(engine, tenant=0) as session:
        assert list(session.scalars(select(Ticket.title))) == ["of 0"]
    owner.dispose()
    engine.dispose()


@pytest.mark.parametrize("wrong", ["1", 1.0, b"1", (1,), object(), Customer, STATEMENT])
def test_an_id_of_the_wrong_type_is_refused_before_anything_is_sent(world: World, engine: Engine, wrong: Any) -> None:
    for guarded in (engine, world.many):
        with tenant(wrong), Recorder(guarded) as sent:
            with pytest.raises(TenantIdError, match="holds int"), Session(guarded) as session:
                session.execute(STATEMENT)
            with pytest.raises(TenantIdError, match="holds int"), guarded.connect() as connection:
                connection.execute(STATEMENT)
            with pytest.raises(TenantIdError, match="holds int"), guarded.begin():
                pytest.fail("a transaction began")
            with pytest.raises(TenantIdError, match="holds int"), guarded.connect() as connection:
                connection.execute(select(Country.code))  # a shared table
        assert sent.statements == []


def test_an_id_of_the_wrong_type_is_refused_in_a_transaction_that_began_without(engine: Engine) -> None:
    with Session(engine) as session:
        session.execute(select(Country.code)).all()
        with tenant("1"), Recorder(engine) as sent:
            for _attempt in range(2):
                with pytest.raises(TenantIdError):
                    session.execute(STATEMENT)
        assert sent.statements == []


# Nesting.


def test_scopes_nest_and_return() -> None:
    with tenant(1):
        with tenant(2):
            with unscoped(reason="test"):
                assert current_tenant() is None
            assert current_tenant() == 2
        assert current_tenant() == 1
    assert current_tenant() is None


def test_scopes_return_after_exceptions() -> None:
    def fail() -> None:
        with tenant(2):
            raise LookupError

    with tenant(1):
        with pytest.raises(LookupError):
            fail()
        assert current_tenant() == 1
        with pytest.raises(PartywallError), unscoped(reason=" "):
            pytest.fail("the block was entered")
        with pytest.raises(TenantIdError), tenant(None):
            pytest.fail("the block was entered")
        assert current_tenant() == 1


def test_statements_follow_the_scope_that_returns(engine: Engine) -> None:
    with tenant(1):
        assert tenants_seen(engine) == [1]
        with tenant(2):
            assert tenants_seen(engine) == [2]
        assert tenants_seen(engine) == [1]
    with pytest.raises(NoTenantError):
        tenants_seen(engine)


def test_a_block_may_be_entered_again_and_while_entered() -> None:
    block = tenant(1)
    for _time in range(2):
        with block:
            with tenant(2), block:
                with block:
                    assert current_tenant() == 1
                assert current_tenant() == 1
            assert current_tenant() == 1
        assert current_tenant() is None


def in_turns(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Run two functions, each in a thread of its own; fail as they fail."""
    with ThreadPoolExecutor(2) as executor:
        for future in [executor.submit(function) for function in (first, second)]:
            future.result(timeout=10)


def test_one_block_may_be_entered_by_two_threads() -> None:
    block = tenant(1)
    first_is_in, second_is_in, first_is_out = threading.Event(), threading.Event(), threading.Event()
    after: dict[str, Any] = {}

    def first() -> None:
        with block:
            first_is_in.set()
            assert second_is_in.wait(5)
        after["first"] = current_tenant()
        first_is_out.set()

    def second() -> None:
        assert first_is_in.wait(5)
        with block:
            second_is_in.set()
            assert first_is_out.wait(5)
            after["second, inside"] = current_tenant()
        after["second"] = current_tenant()

    in_turns(first, second)

    assert after == {"first": None, "second, inside": 1, "second": None}


def test_one_block_may_be_entered_by_two_tasks() -> None:
    block = tenant(1)

    async def enter(wait: float) -> Any:
        with block:
            await asyncio.sleep(wait)
        return current_tenant()

    async def main() -> list[Any]:
        return list(await asyncio.gather(enter(0.02), enter(0.06), enter(0.01)))

    assert asyncio.run(main()) == [None, None, None]


# Tasks.


def test_tasks_that_interleave_keep_their_tenants(engine: Engine) -> None:
    async def work(tenant_id: int) -> list[list[int]]:
        seen = []
        with tenant(tenant_id):
            for _turn in range(5):
                await asyncio.sleep(0)
                seen.append(tenants_seen(engine))
                await asyncio.sleep(0.001)
                assert current_tenant() == tenant_id
        assert current_tenant() is None
        return seen

    async def main() -> list[list[list[int]]]:
        return await asyncio.gather(*map(work, (1, 2, 3, 1, 2, 3)))

    assert asyncio.run(main()) == [[[number]] * 5 for number in (1, 2, 3, 1, 2, 3)]


def test_to_thread_keeps_the_tenant(engine: Engine) -> None:
    async def main() -> tuple[list[int], list[int]]:
        with tenant(1):
            first = asyncio.to_thread(tenants_seen, engine)
            with tenant(2):
                second = await asyncio.to_thread(tenants_seen, engine)
            return await first, second

    assert asyncio.run(main()) == ([1], [2])


def test_a_task_that_outlives_the_block_keeps_its_tenant(engine: Engine) -> None:
    async def later() -> list[int]:
        await asyncio.sleep(0.01)
        return tenants_seen(engine)

    async def main() -> list[int]:
        with tenant(1):
            task = asyncio.create_task(later())
        assert current_tenant() is None
        with tenant(2):
            return await task

    assert asyncio.run(main()) == [1]


def test_a_scope_entered_in_a_task_does_not_reach_its_parent() -> None:
    entered = asyncio.Event()

    async def child() -> None:
        with tenant(2):
            entered.set()
            await asyncio.sleep(0.01)

    async def main() -> Any:
        with tenant(1):
            task = asyncio.create_task(child())
            await entered.wait()
            seen = current_tenant()
            await task
            return seen

    assert asyncio.run(main()) == 1


# Threads.

NEW_CONTEXT = pytest.mark.skipif(
    getattr(sys.flags, "thread_inherit_context", 0) == 1,
    reason="threads inherit their starter's context in this build of Python, as tasks do",
)


@pytest.fixture
def in_thread() -> Iterator[Callable[..., Any]]:
    """Return what runs a function in the one thread of a pool that was started with no scope."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()
        yield lambda function, *args: executor.submit(function, *args).result(timeout=10)


def test_a_thread_of_a_pool_has_no_tenant(engine: Engine, in_thread: Callable[..., Any]) -> None:
    with tenant(1), Recorder(engine) as sent:
        assert in_thread(current_tenant) is None
        with pytest.raises(NoTenantError):
            in_thread(tenants_seen, engine)
    assert sent.statements == []


@NEW_CONTEXT
def test_a_thread_has_no_tenant(engine: Engine) -> None:
    seen: list[Any] = []

    def work() -> None:
        seen.append(current_tenant())
        with pytest.raises(NoTenantError):
            tenants_seen(engine)
        seen.append("refused")

    with tenant(1):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == [None, "refused"]


def test_a_function_handed_over_runs_in_the_scope_of_that_moment(engine: Engine, in_thread: Callable[..., Any]) -> None:
    with tenant(1):
        job = hand_over(tenants_seen)
    with tenant(2):
        assert in_thread(job, engine) == [1]
        assert job(engine) == [1]
        assert current_tenant() == 2
        assert in_thread(hand_over(tenants_seen), engine) == [2]
    assert in_thread(current_tenant) is None  # the thread is as it was


def test_handing_over_keeps_arguments_result_name_and_errors(in_thread: Callable[..., Any]) -> None:
    def job(first: int, *, second: int) -> tuple[int, int, Any]:
        if second == 0:
            raise LookupError
        return first, second, current_tenant()

    with tenant(1):
        handed = hand_over(job)

    assert handed.__name__ == "job"
    assert handed(1, second=2) == (1, 2, 1)
    with pytest.raises(LookupError):
        in_thread(lambda: handed(1, second=0))
    assert in_thread(current_tenant) is None


def test_unscoped_can_be_handed_over_and_is_audited_there(
    in_thread: Callable[..., Any], world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with unscoped(reason="all bills"):
        job = hand_over(tenants_seen)
    caplog.clear()

    assert in_thread(job, world.many) == [1, 2, 3]
    assert [record.__dict__["reason"] for record in caplog.records] == ["all bills"]


def test_one_handed_over_function_may_run_in_many_threads_at_once(engine: Engine) -> None:
    with tenant(1):
        job = hand_over(tenants_seen)
    with ThreadPoolExecutor(4) as executor:
        seen = [future.result() for future in [executor.submit(job, engine) for _time in range(20)]]
        after = [future.result() for future in [executor.submit(current_tenant) for _time in range(20)]]
    assert seen == [[1]] * 20
    assert after == [None] * 20


def test_a_function_handed_over_with_no_scope_runs_with_none() -> None:
    job = hand_over(current_tenant)
    with tenant(1):
        assert job() is None


# Generators, which can leave scopes in another order than they entered them.


def in_scope_of(tenant_id: int) -> Generator[Any, None, None]:
    with tenant(tenant_id):
        yield current_tenant()
        yield current_tenant()


def test_a_generator_that_is_left_inside_its_scope_is_noticed_at_the_end_of_the_block_around() -> None:
    generator = in_scope_of(2)
    with pytest.raises(TenantChangedError) as noticed, tenant(1):
        next(generator)

    assert (noticed.value.where, noticed.value.held) == ("scope", "tenant 2")
    assert "generator" in str(noticed.value)
    assert current_tenant() is None
    generator.close()
    assert current_tenant() is None


def test_a_generator_that_is_left_inside_its_scope_hides_no_other_error() -> None:
    generator = in_scope_of(2)
    with pytest.raises(LookupError), tenant(1):
        next(generator)
        raise LookupError
    assert current_tenant() is None
    generator.close()


def test_the_outer_scope_returns_after_a_generator_was_left_inside_its_own() -> None:
    generator = in_scope_of(3)
    with tenant(1):
        with pytest.raises(TenantChangedError), tenant(2):
            next(generator)
        assert current_tenant() == 1
        generator.close()
        assert current_tenant() == 1


def test_generators_that_interleave_leave_no_scope_behind() -> None:
    first, second = in_scope_of(1), in_scope_of(2)
    assert [next(first), next(second)] == [1, 2]

    first.close()
    assert current_tenant() is None
    assert next(second) is None  # its scope ended with the one around it: scoped statements in it are refused now
    second.close()
    assert current_tenant() is None


def test_a_generator_that_ends_while_another_is_inside_its_scope_is_noticed() -> None:
    first, second = in_scope_of(1), in_scope_of(2)
    assert [next(first), next(second), next(first)] == [1, 2, 2]  # what a scope in a suspended generator does

    with pytest.raises(TenantChangedError):
        next(first)
    assert current_tenant() is None
    second.close()
    assert current_tenant() is None


def test_a_generator_that_runs_to_its_end_restores_the_scope() -> None:
    with tenant(1):
        assert list(in_scope_of(2)) == [2, 2]
        assert current_tenant() == 1


def test_an_async_generator_finalised_in_another_task_leaves_that_tasks_scope_alone() -> None:
    async def numbers() -> AsyncIterator[Any]:
        with tenant(2):
            yield current_tenant()
            yield current_tenant()

    async def close(generator: Any) -> list[Any]:
        with tenant(3):
            inside = [current_tenant()]
            await generator.aclose()
            return [*inside, current_tenant()]

    async def main() -> tuple[list[Any], Any]:
        generator = numbers()

        async def begin() -> Any:
            return await anext(generator)

        assert await asyncio.create_task(begin()) == 2
        assert current_tenant() is None
        return await asyncio.create_task(close(generator)), current_tenant()

    assert asyncio.run(main()) == ([3, 3], None)


def test_an_async_generator_nobody_finishes_leaves_no_scope_behind() -> None:
    async def numbers() -> AsyncIterator[Any]:
        with tenant(2):
            yield current_tenant()
            yield current_tenant()

    async def use() -> Any:
        return await anext(numbers())

    async def main() -> tuple[Any, Any]:
        seen = await asyncio.create_task(use())
        gc.collect()
        await asyncio.sleep(0)
        return seen, current_tenant()

    assert asyncio.run(main()) == (2, None)


# Unscoped.


@pytest.mark.parametrize("reason", ["", " ", "\n\t", None])
def test_unscoped_needs_a_reason(reason: Any) -> None:
    with pytest.raises(PartywallError, match="needs a reason"):
        unscoped(reason=reason)


def test_unscoped_needs_its_reason_by_name() -> None:
    with pytest.raises(TypeError):
        unscoped("a reason")  # type: ignore[call-arg]  # that it is refused is what is tested
    with pytest.raises(TypeError):
        unscoped()  # type: ignore[call-arg]  # that it is refused is what is tested


def test_each_unscoped_block_is_one_record_in_the_audit_log(world: World, caplog: pytest.LogCaptureFixture) -> None:
    block = unscoped(reason="monthly bills")
    assert caplog.records == []
    with block, Session(world.many) as session:
        session.execute(STATEMENT).all()
        session.commit()
        session.execute(STATEMENT).all()
    with unscoped(reason="yearly bills"), tenant(1):
        pass

    assert [record.__dict__["reason"] for record in caplog.records] == ["monthly bills", "yearly bills"]
    assert {record.name for record in caplog.records} == {"partywall.audit"}
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert {record.funcName for record in caplog.records} == {
        "test_each_unscoped_block_is_one_record_in_the_audit_log"  # where it was entered, not where it is logged
    }


def test_a_tenants_scope_is_not_audited(world: World, caplog: pytest.LogCaptureFixture) -> None:
    with tenant(1):
        tenants_seen(world.many)
    assert caplog.records == []


@pytest.fixture
def audited(world: World) -> Iterator[tuple[Engine, list[Unscoped]]]:
    """Return an engine for unscoped work, and what its audit hook was called with."""
    calls: list[Unscoped] = []
    guarded = models.tenancy(audit=calls.append).guard(create_engine(world.url), allow_unscoped=True)
    yield guarded, calls
    guarded.dispose()


def test_the_audit_hook_is_called_once_for_a_transaction_that_is_begun(audited: tuple[Engine, list[Unscoped]]) -> None:
    engine, calls = audited
    with unscoped(reason="bills"), engine.begin() as connection:
        connection.execute(STATEMENT).all()
        with connection.begin_nested():
            connection.execute(STATEMENT).all()

    assert [call.reason for call in calls] == ["bills"]


def test_the_audit_hook_is_called_once_for_a_transaction_that_begins_by_itself(
    audited: tuple[Engine, list[Unscoped]],
) -> None:
    engine, calls = audited
    with unscoped(reason="bills"), engine.connect() as connection:
        for transaction in (1, 2):
            connection.execute(STATEMENT).all()
            connection.execute(STATEMENT).all()
            connection.rollback()
            assert len(calls) == transaction


def test_the_audit_hook_is_called_once_for_a_transaction_of_a_session(audited: tuple[Engine, list[Unscoped]]) -> None:
    engine, calls = audited
    with unscoped(reason="bills"), Session(engine) as session:
        for transaction in (1, 2):
            session.execute(STATEMENT).all()
            session.execute(STATEMENT).all()
            session.commit()
            assert len(calls) == transaction


def test_the_audit_hook_is_not_called_for_a_tenant(audited: tuple[Engine, list[Unscoped]]) -> None:
    engine, calls = audited
    with tenant(1):
        tenants_seen(engine)
    with unscoped(reason="nothing is done"):
        pass
    assert calls == []


def test_an_audit_hook_that_fails_keeps_the_transaction_from_being_used(world: World) -> None:
    def fail(scope: Unscoped) -> None:
        raise LookupError(scope.reason)

    engine = models.tenancy(audit=fail).guard(create_engine(world.url), allow_unscoped=True)
    with unscoped(reason="bills"), Recorder(engine) as sent, Session(engine) as session:
        for _attempt in range(2):
            with pytest.raises(LookupError, match="bills"):
                session.execute(STATEMENT)
    assert sent.statements == []
    engine.dispose()


UNSCOPED_ATTEMPTS: dict[str, Callable[[Any], Any]] = {
    "scoped_table": lambda connection: connection.execute(STATEMENT),
    "shared_table": lambda connection: connection.execute(select(Country.code)),
    "no_table": lambda connection: connection.execute(select(func.now())),
    "tenants_table": lambda connection: connection.execute(select(models.Tenant.id)),
    "string": lambda connection: connection.exec_driver_sql("SELECT 1"),
    "scalar": lambda connection: connection.scalar(STATEMENT),
    "ddl": lambda connection: connection.execute(DropTable(models.customer_tags)),
}


@pytest.mark.parametrize("name", UNSCOPED_ATTEMPTS)
@pytest.mark.parametrize("began", ["before", "inside"])
def test_unscoped_on_an_engine_that_was_not_made_for_it_sends_nothing(engine: Engine, name: str, began: str) -> None:
    attempt = UNSCOPED_ATTEMPTS[name]
    with engine.connect() as connection, Recorder(engine) as sent:
        if began == "before":
            connection.begin()
        with unscoped(reason="test"), pytest.raises(PartywallError) as refused:
            attempt(connection)
        assert isinstance(refused.value, SetupError) or name == "ddl"
        assert "allow_unscoped=True" in str(refused.value)
    assert sent.statements == []


def test_unscoped_in_a_session_of_an_engine_that_was_not_made_for_it_sends_nothing(engine: Engine) -> None:
    with Recorder(engine) as sent, Session(engine) as session, unscoped(reason="test"):
        for attempt in (lambda: session.execute(STATEMENT), lambda: session.get(Invoice, 101), session.connection):
            with pytest.raises(SetupError, match="allow_unscoped=True"):
                attempt()
    assert sent.statements == []


def test_an_engine_that_was_not_made_for_it_runs_a_tenant_after_unscoped_was_refused(engine: Engine) -> None:
    with Session(engine) as session:
        with unscoped(reason="test"), pytest.raises(SetupError):
            session.execute(STATEMENT)
        session.rollback()
        with tenant(1):
            assert session.scalars(STATEMENT).all() == [1]


# Errors.

ERRORS: list[PartywallError] = [
    PartywallError("what happened"),
    SetupError("what happened"),
    TenantIdError("what happened"),
    NoTenantError("what happened", "SELECT :x", ("invoices",)),
    NoTenantError("what happened"),
    RefusedStatementError("what happened", "SELECT :x", ("invoices",)),
    RefusedStatementError("what happened", tables=("invoices",)),
    ForeignTenantError("what happened", "UPDATE :x"),
    TenantChangedError("transaction", "tenant 1", "tenant 2"),
    TenantChangedError("Session", "tenant 1", "tenant 2"),
    TenantChangedError("scope", "tenant 1", "the end of tenant 2"),
]


def test_every_error_class_is_in_the_list_above() -> None:
    public = {getattr(partywall, name) for name in partywall.__all__ if name.endswith("Error")}
    assert {type(error) for error in ERRORS} == public


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_survive_pickle(error: PartywallError) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  # our own bytes

        assert type(again) is type(error)
        assert isinstance(again, PartywallError)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__
    assert str(type(error)(*error.args)) == str(error)  # as multiprocessing and task queues rebuild errors


def test_errors_are_raised_as_they_are_and_not_wrapped(engine: Engine) -> None:
    in_tenant = tenant(1)
    cases: list[tuple[Any, type[PartywallError], Any]] = [
        (None, NoTenantError, STATEMENT),
        (tenant("1"), TenantIdError, STATEMENT),
        (unscoped(reason="test"), SetupError, STATEMENT),
        (in_tenant, RefusedStatementError, select(func.pg_sleep(1))),
        (in_tenant, ForeignTenantError, insert(Customer).values(id=1, tenant_id=2)),
    ]
    for scope, expected, statement in cases:
        with scope or contextlib.nullcontext(), Session(engine) as session:
            with pytest.raises(PartywallError) as raised:
                session.execute(statement)
            assert type(raised.value) is expected
            assert not isinstance(raised.value, StatementError)
            assert raised.value.__cause__ in (None, raised.value)  # SQLAlchemy raises it "from" itself


def test_a_changed_tenant_is_raised_as_it_is_and_not_wrapped(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        session.execute(STATEMENT).all()
        with tenant(2), pytest.raises(TenantChangedError) as raised:
            session.execute(STATEMENT)
    assert type(raised.value) is TenantChangedError
    assert not isinstance(raised.value, StatementError)


def test_an_error_shows_placeholders_and_no_values(engine: Engine) -> None:
    with Session(engine) as session, pytest.raises(NoTenantError) as raised:
        session.execute(select(Invoice).where(Invoice.number == "a secret number"))

    assert raised.value.tables == ("invoices",)
    assert "FROM invoices" in raised.value.statement
    assert "a secret number" not in str(raised.value)
    assert "a secret number" not in repr(raised.value)
    assert "with tenant(tenant_id): ..." in str(raised.value)


def test_importing_and_entering_a_scope_needs_no_engine() -> None:
    """A scope is a name in a context: nothing is opened or sent by entering it."""
    with tenant("any type at all"):
        assert current_tenant() == "any type at all"
    with tenant((1, "a")):
        assert current_tenant() == (1, "a")
