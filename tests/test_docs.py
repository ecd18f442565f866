"""The code in the pages runs, the reference names every public name, and the guarantees name tests that exist."""

from __future__ import annotations

import re
import sys
import types
import warnings
from pathlib import Path

import pytest

import partywall
import partywall.testing

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path) -> list[tuple[int, str]]:
    """Return the Python blocks of a page, each with the number of its first line."""
    text = page.read_text()
    return [
        (text[: match.start(1)].count("\n") + 1, match.group(1))
        for match in re.finditer(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs_from_top_to_bottom(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType(f"page_{page.stem}")
    monkeypatch.setitem(sys.modules, module.__name__, module)  # where SQLAlchemy looks annotations up
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the pages do not close what a program would keep open
        for line, code in blocks(page):
            exec(compile("\n" * (line - 1) + code, str(page), "exec", dont_inherit=True), vars(module))  # noqa: S102


def test_the_reference_names_every_public_name_and_no_other() -> None:
    reference = (ROOT / "docs" / "reference.md").read_text()
    named = set(re.findall(r"^\| `(\w+)` \|", reference, re.MULTILINE))

    assert named == set(partywall.__all__) | set(partywall.testing.__all__)


def test_every_public_name_has_a_docstring() -> None:
    public = [getattr(partywall, name) for name in partywall.__all__]

    assert [each for each in public if not each.__doc__] == []


def test_the_tests_that_the_guarantees_name_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "guarantees.md").read_text()))
    defined = set()
    for path in (ROOT / "tests").rglob("test_*.py"):
        defined |= set(re.findall(r"def (test_\w+)", path.read_text()))

    assert named
    assert named <= defined | {path.stem for path in (ROOT / "tests").rglob("test_*.py")}


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+\.md)\)", page.read_text()):
            assert (page.parent / target).exists(), (page.name, target)
