"""The demo finds nothing to complain about, and would say so if there were something."""

from __future__ import annotations

import dataclasses
import gc
import os
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from partywall import Tenancy

if not os.environ.get("CI"):
    pytest.importorskip("rich", reason="the demo's dependencies are not installed")

from rich.progress import Progress

from demo import report
from demo.__main__ import main
from demo.books import look
from demo.check import ask
from demo.check_hostile import ATTACKED, try_to_read, try_to_write
from demo.check_keys import try_to_point
from demo.check_text import ask_text
from demo.check_writes import carry_out
from demo.hostile import HOSTILE_READS, Hostile
from demo.hostile_keys import HOSTILE_KEYS
from demo.hostile_writes import HOSTILE_WRITES
from demo.load import World, connect_to, open_world
from demo.models import Base, Customer, Distributor, Nation, Region, tenancy
from demo.questions import QUESTIONS
from demo.tpch import TPCH, TextQuery
from demo.writes import WRITES
from tests.conftest import NewDatabase


@pytest.fixture(autouse=True)
def frozen_heap() -> Iterator[None]:
    """Let the collector look at what the demo makes alone: it collects before each timing, and suites are big."""
    gc.freeze()
    yield
    gc.unfreeze()


SCALE = 0.001
TINY = ("--scale", str(SCALE), "--repeat", "1")


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """Return the loaded databases, on SQLite."""
    with Progress(disable=True) as progress, open_world(postgres=False, scale=SCALE, progress=progress) as opened:
        yield opened


def test_the_demo_finds_no_leak(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(TINY) == 0

    printed = " ".join(capsys.readouterr().out.split())  # lines break anywhere
    assert "DIFFERS" not in printed
    assert "WRONG" not in printed
    assert "LEAK" not in printed
    assert " 44 of 44 SQL texts " in printed
    assert " 0 leaked" in printed
    assert f" {2 * len(HOSTILE_KEYS)} of {2 * len(HOSTILE_KEYS)} attempts to point across refused" in printed


def test_the_demo_fails_when_the_wall_is_taken_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def left_open(_tenancy: Tenancy, engine: Engine) -> Engine:
        return engine

    monkeypatch.setattr(Tenancy, "guard", left_open)

    assert main(TINY) == 1
    printed = capsys.readouterr().out
    assert "DIFFERS" in printed
    assert "LEAK" in printed


def test_one_read_past_the_guard_is_a_leak(world: World) -> None:
    def past_the_guard(session: Session, other: int) -> Sequence[Any]:
        bind = session.get_bind()
        assert isinstance(bind, Engine)
        engine = create_engine(bind.url)
        with Session(engine) as unguarded:
            found = unguarded.scalars(select(Customer.c_name).where(Customer.tenant_id == other)).all()
        engine.dispose()
        return found

    read = Hostile(past_the_guard, scoped=True, databases=("sqlite",))

    assert try_to_read(read, world, 1).leaked


@pytest.mark.parametrize("tenant_id", [1, 2])
def test_every_hostile_read_leaks_where_nothing_is_guarded(world: World, tenant_id: int) -> None:
    pointless = [
        read.name
        for read in HOSTILE_READS
        if "sqlite" in read.databases and not try_to_read(read, world, tenant_id).unguarded
    ]

    assert pointless == []


@pytest.mark.parametrize("tenant_id", [1, 2])
def test_every_hostile_write_does_harm_where_nothing_is_guarded(world: World, tenant_id: int) -> None:
    before = look(world.plain, ATTACKED)

    pointless = [
        write.name
        for write in HOSTILE_WRITES
        if "sqlite" in write.databases and not try_to_write(write, world, tenant_id, before).unguarded
    ]

    assert pointless == []


@pytest.mark.parametrize("tenant_id", [1, 2])
def test_every_write_fails_where_nothing_is_guarded(world: World, tenant_id: int) -> None:
    unguarded = dataclasses.replace(world, guarded=world.plain)

    unaffected = [
        write.name
        for write in WRITES
        for written in [carry_out(write, unguarded, tenant_id, repeat=1)]
        if written.same_as_alone and written.others_untouched
    ]

    assert unaffected == []


@pytest.mark.parametrize("tenant_id", [1, 2])
def test_every_question_answers_otherwise_where_nothing_is_guarded(world: World, tenant_id: int) -> None:
    unguarded = dataclasses.replace(world, guarded=world.plain)

    unaffected = [
        question.name for question in QUESTIONS if ask(question, unguarded, tenant_id, repeat=1).same_as_alone
    ]

    assert unaffected == []


@pytest.mark.parametrize("tenant_id", [1, 2])
def test_every_row_that_points_across_is_refused_by_the_keys_and_by_nothing_else(
    new_database: NewDatabase, tenant_id: int
) -> None:
    derived, as_written = (connect_to(new_database()) for _ in range(2))
    tenancy.create_all(derived)
    Base.metadata.create_all(as_written)
    for engine in (derived, as_written):
        with Session(engine) as session, session.begin():
            session.add_all([Distributor(id=each, slug=str(each), name=str(each)) for each in (1, 2)])
            region = Region(r_regionkey=0, r_name="", r_comment="")
            session.add(Nation(n_nationkey=0, n_name="", n_comment="", region=region))

    outcomes = [
        [try_to_point(each, engine, tenant_id, 3 - tenant_id).refused for each in HOSTILE_KEYS]
        for engine in (derived, as_written)
    ]
    for engine in (derived, as_written):
        engine.dispose()

    assert [set(each) for each in outcomes] == [{True}, {False}]


def test_the_models_name_no_tenant_in_any_key() -> None:
    keys = [
        key for table in Base.metadata.tables.values() for key in (table.primary_key, *table.foreign_key_constraints)
    ]

    assert not any("tenant_id" in key.columns for key in keys)


def test_the_texts_are_the_22_queries_of_tpch() -> None:
    assert [query.number for query in TPCH] == list(range(1, 23))


@pytest.mark.parametrize("tenant_id", [1, 2])
def test_every_text_answers_otherwise_where_nothing_is_guarded(world: World, tenant_id: int) -> None:
    unguarded = dataclasses.replace(world, guarded=world.plain)

    asked = [ask_text(query, unguarded, tenant_id, repeat=1) for query in TPCH]

    assert [each.query.number for each in asked if each.same_as_alone or each.failure] == []


def test_a_text_that_is_refused_counts_as_a_fault(world: World) -> None:
    refused = TextQuery(0, "No table of anybody's", "select * from nobody", "select * from nobody", ordered=False)
    alone = {1: create_engine("sqlite://", poolclass=StaticPool)}
    with alone[1].begin() as connection:
        connection.exec_driver_sql("create table nobody (id integer)")

    asked = ask_text(refused, dataclasses.replace(world, alone=alone), 1, repeat=1)
    alone[1].dispose()

    assert asked.failure == "refused: RefusedStatementError"
    assert report.Findings([], [asked], [], [], [], [], untouched=True, seconds=0).exit_status == 1
