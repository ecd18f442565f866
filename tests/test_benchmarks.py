"""The benchmarks compare like with like. Nothing here depends on how long anything takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from benchmarks.__main__ import main
from benchmarks.cases import CASES, Case
from benchmarks.footprint import cache_entries
from benchmarks.measure import DisagreementError, Mode, verify
from benchmarks.report import COMPARISONS, Measured
from benchmarks.schema import Invoice, Size, fill
from benchmarks.variants import Variant, open_variants
from tests.conftest import NewDatabase

SIZE = Size(tenants=3, customers=5)


@pytest.fixture(scope="module")
def variants(new_sqlite: NewDatabase) -> Iterator[tuple[Variant, ...]]:
    url = new_sqlite()
    fill(url, SIZE)
    with open_variants(url) as opened:
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
    assert len(misses(1.2)) == len([each for each in COMPARISONS if Mode.STATEMENT in each.bars]) == 2


def test_the_benchmarks_run_and_write_what_they_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = tmp_path / "figures.json"

    assert main(["--quick", "--database", "sqlite", "--json", str(written)]) == 0

    figures = json.loads(written.read_text())
    assert {(each["mode"], each["case"]) for each in figures["timings"]} == {
        (mode.name.lower(), case.name) for mode in Mode for case in CASES
    }
    printed = capsys.readouterr().out
    assert all(case.name in printed for case in CASES)
