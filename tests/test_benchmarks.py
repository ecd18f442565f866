"""The benchmarks compare like with like. Nothing here depends on how long anything takes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from benchmarks import row_wall_sqlite
from benchmarks.__main__ import main
from benchmarks.big_tenant import CASES as BIG_TENANT_CASES
from benchmarks.big_tenant import Case as BigTenantCase
from benchmarks.big_tenant import Places, leakproof_ways_of, marked, measured, open_places, ways_of
from benchmarks.cases import CASES, Case
from benchmarks.footprint import cache_entries
from benchmarks.keys import KEY_CASES, KeyCase, open_schemas, verify_keys
from benchmarks.measure import DisagreementError, Mode, verify, verify_write
from benchmarks.report import COMPARISONS, Measured
from benchmarks.schema import Invoice, Size, fill
from benchmarks.variants import Variant, Visit, Writer, open_variants, open_writers
from benchmarks.writes import WRITES, Write
from tests.conftest import NewDatabase

SIZE = Size(tenants=3, customers=5, batch=20)


@pytest.fixture(scope="module")
def variants(new_sqlite: NewDatabase) -> Iterator[tuple[Variant, ...]]:
    url = new_sqlite()
    fill(url, SIZE)
    with open_variants(url) as opened:
        yield opened


@pytest.fixture(scope="module")
def writers(new_database: NewDatabase) -> Iterator[tuple[Writer, ...]]:
    url = new_database()
    fill(url, SIZE)
    with open_writers(url) as opened:
        yield opened


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_all_variants_of_a_case_return_the_same_rows(case: Case, variants: tuple[Variant, ...]) -> None:
    verify(case, variants, SIZE)


def test_a_filter_that_was_forgotten_by_hand_is_noticed(variants: tuple[Variant, ...]) -> None:
    forgotten = replace(CASES[0], by_hand=lambda _tenant, _key: select(Invoice))

    with pytest.raises(DisagreementError, match="partywall"):
        verify(forgotten, variants, SIZE)


def test_a_case_that_finds_nothing_is_noticed(variants: tuple[Variant, ...]) -> None:
    nothing = replace(CASES[1], key=lambda _size, _tenant: 0)

    with pytest.raises(DisagreementError, match="none"):
        verify(nothing, variants, SIZE)


@pytest.mark.parametrize("write", WRITES, ids=[write.name for write in WRITES])
def test_all_ways_of_a_write_write_the_same_rows_and_leave_none(write: Write, writers: tuple[Writer, ...]) -> None:
    verify_write(write, writers, SIZE)


def test_a_write_that_differs_is_noticed(writers: tuple[Writer, ...]) -> None:
    add = WRITES[0]
    another = replace(add, plain=lambda session, tenant, key: add.plain(session, tenant, key + 1))

    with pytest.raises(DisagreementError, match="partywall"):
        verify_write(another, writers, SIZE)


def test_a_write_that_is_committed_is_noticed(new_sqlite: NewDatabase) -> None:
    def commit(session: Session, tenant: int, key: int) -> int:
        count = add.by_hand(session, tenant, key)
        session.commit()
        return count

    url = new_sqlite()
    fill(url, SIZE)
    add = WRITES[0]
    with open_writers(url) as writers, pytest.raises(DisagreementError, match="still there"):
        verify_write(replace(add, plain=commit, by_hand=commit), writers[:1], SIZE)


@pytest.fixture(scope="module")
def schemas(new_database: NewDatabase) -> Iterator[Engine]:
    with open_schemas(new_database(), SIZE) as engine:
        yield engine


@pytest.mark.parametrize("case", KEY_CASES, ids=[case.name for case in KEY_CASES])
def test_a_statement_does_the_same_on_every_layout_of_the_keys(case: KeyCase, schemas: Engine) -> None:
    verify_keys(case, schemas, SIZE)


def test_a_layout_on_which_a_statement_does_something_else_is_noticed(schemas: Engine) -> None:
    lines = replace(KEY_CASES[-1], statement=lambda each: select(each.lines if each.name == "keep" else each.invoices))
    nothing = replace(KEY_CASES[-1], parameters=lambda _size, _tenant: iter([{"tenant": 1, "key": 0}]))

    with pytest.raises(DisagreementError, match="keep"):
        verify_keys(lines, schemas, SIZE)
    with pytest.raises(DisagreementError, match="none"):
        verify_keys(nothing, schemas, SIZE)


def test_the_references_of_every_layout_are_heeded(schemas: Engine) -> None:
    child = KEY_CASES[1]
    nobody = replace(
        child, parameters=lambda size, tenant: iter([{**next(child.parameters(size, tenant)), "invoice_id": 0}])
    )

    with pytest.raises(IntegrityError):
        verify_keys(nobody, schemas, SIZE)


def test_more_tenants_add_no_entry_to_the_compiled_cache() -> None:
    first, last = cache_entries(tenants=200)

    assert last == first > 0


def test_a_slow_partywall_misses_its_bars_and_a_fast_one_does_not() -> None:
    by_hand: dict[str, list[float]] = {
        "by hand": [1.0, 2.0],
        "by hand, built once": [1.0, 2.0],
        "by hand, again": [1.0, 2.0],
        "recipe": [1.0, 2.0],
    }

    def misses(factor: float) -> list[str]:
        ours = [1.0 * factor, 2.0 * factor]
        timings = {**by_hand, "partywall": ours, "partywall, built once": ours}
        return Measured("sqlite", Mode.STATEMENT, "point", timings).misses()

    assert misses(0.9) == []
    assert len(misses(1.2)) == len([each for each in COMPARISONS[Mode.STATEMENT] if Mode.STATEMENT in each.bars]) == 2


def test_a_write_is_held_to_its_own_bar_if_it_has_one() -> None:
    timings = {"by hand": [1.0, 1.0], "by hand, again": [1.0, 1.0], "partywall": [1.04, 1.04]}

    assert Measured("sqlite", Mode.WRITE, "insert 1", timings).misses() == []
    assert len(Measured("sqlite", Mode.WRITE, "bulk insert", timings, 1.03).misses()) == 1


@pytest.fixture(scope="module")
def places(new_postgresql: NewDatabase) -> Iterator[Places]:
    with open_places(new_postgresql, rows=50_000) as opened:
        yield opened


@pytest.mark.parametrize("case", BIG_TENANT_CASES, ids=lambda case: case.name)
def test_every_way_to_ask_for_a_big_tenants_rows_finds_the_same(places: Places, case: BigTenantCase) -> None:
    measured(ways_of(case, places), rounds=2, seconds=0.001)  # it refuses others, and none
    with marked(places, case.leakproof):
        measured(leakproof_ways_of(case, places), rounds=2, seconds=0.001)


def test_a_way_that_finds_other_rows_is_not_timed(places: Places) -> None:
    ranges, likes = BIG_TENANT_CASES[:2]
    ways = [*ways_of(ranges, places)[:1], *ways_of(likes, places)[2:3]]

    with pytest.raises(DisagreementError, match="policy"):
        measured(ways, rounds=2, seconds=0.001)


def test_the_benchmarks_run_and_write_what_they_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "figures.json"

    assert main(["--quick", "--database", "sqlite", "--json", str(written)]) == 0

    figures = json.loads(written.read_text())
    assert {(each["mode"], each["case"]) for each in figures["timings"]} == {
        *((mode.name.lower(), case.name) for mode in (Mode.STATEMENT, Mode.SESSION) for case in CASES),
        *((Mode.WRITE.name.lower(), write.name) for write in WRITES),
        *((Mode.KEYS.name.lower(), case.name) for case in KEY_CASES),
    }
    printed = capsys.readouterr().out
    assert all(case.name in printed for case in (*CASES, *WRITES, *KEY_CASES))


@pytest.fixture(scope="module")
def walled_visits(new_sqlite: NewDatabase) -> Iterator[dict[str, Visit]]:
    url = new_sqlite()
    fill(url, SIZE)
    with row_wall_sqlite.open_visits(url) as visits:
        yield visits


@pytest.mark.parametrize("case", row_wall_sqlite.READS, ids=lambda case: case.name)
def test_a_read_returns_the_same_with_the_row_wall_of_sqlite(case: Case, walled_visits: dict[str, Visit]) -> None:
    verify(case, row_wall_sqlite.readers(walled_visits), SIZE)


@pytest.mark.parametrize("write", row_wall_sqlite.WALLED_WRITES, ids=lambda write: write.name)
def test_a_write_writes_the_same_with_the_row_wall_of_sqlite(write: Write, walled_visits: dict[str, Visit]) -> None:
    verify_write(write, row_wall_sqlite.writers(walled_visits), SIZE)


def test_only_both_walls_have_a_row_wall_on_sqlite(walled_visits: dict[str, Visit]) -> None:
    assert [name for name, visit in walled_visits.items() if visit(1, _is_walled)] == ["both walls"]


def _is_walled(session: Session) -> bool:
    return getattr(session.connection().connection.driver_connection, "partywall_gate", None) is not None


def test_what_is_new_to_a_connection_of_sqlite_is_prepared_each_time(new_sqlite: NewDatabase) -> None:
    url = new_sqlite()
    fill(url, SIZE)

    def prepared(session: Session) -> int:
        questions: list[int] = []

        def note(action: int, *_: str | None) -> int:
            questions.append(action)
            return sqlite3.SQLITE_OK

        connection = session.connection()
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_authorizer(note)
        for _ in range(2):
            connection.execute(select(Invoice.id).where(Invoice.tenant_id == 1))
        driver.set_authorizer(None)
        return questions.count(sqlite3.SQLITE_SELECT)

    with row_wall_sqlite.open_visits_to_prepare(url) as visits:
        counts = {name: visit(1, prepared) for name, visit in visits.items() if name.startswith("by hand")}

    assert list(counts.values()) == [1, 2]


def test_more_to_prepare_is_less_what_the_walls_cost_anyway() -> None:
    timings = {"by hand": [1.0, 1.0], "both walls": [2.0, 2.0]}
    new = {"by hand, new to the connection": [4.0, 4.0], "both walls, new to the connection": [8.0, 8.0]}

    assert row_wall_sqlite.more_to_prepare({**timings, **new}).median == 3.0


def test_a_slow_row_wall_of_sqlite_misses_its_bars() -> None:
    def missed(factor: float) -> list[str]:
        timings = {"point": {"by hand": [1.0, 1.0], "both walls": [factor, factor]}}
        return row_wall_sqlite.show_ratios(Console(quiet=True), "read", timings, row_wall_sqlite.BAR)

    assert missed(1.04) == []
    assert len(missed(1.06)) == 1


def test_the_benchmark_of_the_row_wall_of_sqlite_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert row_wall_sqlite.main(["--quick"]) == 0

    printed = capsys.readouterr().out
    names = {*(case.name for case in row_wall_sqlite.READS), *(write.name for write in row_wall_sqlite.WALLED_WRITES)}
    assert all(each in printed for each in (*names, "open a Session", "more to prepare"))
