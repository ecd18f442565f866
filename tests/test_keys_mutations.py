"""Each part of the derivation is needed: without it, the table of cases is no longer what it was."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from partywall import SetupError, tenancy
from partywall.keys import physical, references, triggers
from tests.key_cases import CASES
from tests.test_keys import changes_of
from tests.test_keys_refused import REFUSED

pytestmark = pytest.mark.whatever_sqlalchemy

MODULES: dict[str, tuple[types.ModuleType, types.ModuleType, str]] = {
    "physical": (physical, tenancy, "physical_metadata"),
    "references": (references, physical, "References"),
    "triggers": (triggers, references, "set_on_delete"),
}

# What is taken out: its module, a part of the source that stands there once, and what stands there instead.
MUTATIONS: dict[str, tuple[str, str, str]] = {
    "the_tenant_in_references": (
        "references",
        "            [tenant_column, *columns],\n"
        "            [target.tenant_column_of(referenced[0].table), *referenced],",
        "            columns,\n            referenced,",
    ),
    "the_unique_key_for_references": ("references", "self._ensure_unique(referenced, target)\n", "pass\n"),
    "the_reference_to_the_tenants_table": ("references", "if self.tenants is not None and", "if False and"),
    "the_check_of_shared_rows": ("references", "self._check_shared_rows(key, source, columns)\n", "pass\n"),
    "the_check_for_match_full": ("references", "self._emulate_full(key, columns)\n", "pass\n"),
    "the_columns_of_set_null": (
        "references",
        "f\"{on_delete} ({', '.join(_quote(each.name) for each in columns)})\"",
        "on_delete",
    ),
    "the_trigger_for_set_null": ("references", "set_on_delete(key, action, listed).create_with(", "dict("),
    "no_action_beside_the_trigger": ("references", 'actions["ondelete"] = None', "pass"),
    "the_tenant_in_the_trigger": ("triggers", "for column, other in pairs)", "for column, other in pairs[1:])"),
    "the_tenant_left_alone_by_the_trigger": (
        "triggers",
        "for column, _ in pairs[1:] if",
        "for column, _ in pairs if",
    ),
    "the_trigger_after_the_tables_of_a_cycle": ("triggers", "is_due = in_cycle", "is_due = False"),
    "the_tenant_in_unique_constraints": (
        "physical",
        "            self._among_shared_rows(columns)\n            columns.insert(0, self.tenant)",
        "            self._among_shared_rows(columns)",
    ),
    "unique_keys_among_shared_rows": ("physical", "            self._among_shared_rows(columns)\n", ""),
    "the_tenant_in_unique_indexes": ("physical", "expressions.insert(0, self.tenant)", "pass"),
    "the_tenant_in_exclude": (
        "physical",
        '[(self.tenant, self.tenant.name, "="), *made._render_exprs]',
        "made._render_exprs",
    ),
    "the_extension_for_exclude": ("physical", "if keys.needs_btree_gist and", "if False and"),
    "the_tenant_in_primary_keys": (
        "physical",
        "keys.insert(0, self.tenant)",
        "pass",
    ),
    "what_is_declared_global": ("physical", " and not is_global(key)", ""),
    "the_layout_as_written": ("physical", " and self.description.layout is not Layout.AS_WRITTEN", ""),
    "generated_ids_of_the_tenants_table": ("physical", " or self.description.kind is Kind.TENANTS", ""),
    "sequences_of_the_metadata": ("physical", "if sequence.column is None:", "if False:"),
    "names_for_the_keys_of_a_cycle": ("references", "if key.name is None:", "if False:"),
}
# Of refusals: the cases of tests/test_keys_refused.py notice.
CHECKS: dict[str, tuple[str, str, str]] = {
    "is_it_unique": ("references", "if not any(unique in wanted for", "if not wanted and any(unique in wanted for"),
    "is_it_unique_in_the_database": ("references", "            self._check_still_unique(key, referenced)\n", ""),
    "does_the_tenant_stay": ("references", "        self._check_tenant_stays(key, source)\n", ""),
    "can_a_first_row_be_inserted": ("references", "        _refuse_hard_cycles(self._derived)\n", ""),
    "has_the_server_lists_of_columns": ("references", "elif not self.has_column_lists:", "elif False:"),
    "may_it_be_another_tenant": ("references", "if not own or len(names) > 1:", "if False:"),
    "does_shared_refer_to_scoped": (
        "references",
        "if source.kind in (Kind.SHARED, Kind.SHARED_WRITABLE):",
        "if False:",
    ),
    "is_the_tenant_mapped_to_the_tenant": (
        "references",
        "if source.tenant_column in names or target.tenant_column in names.values():",
        "if False:",
    ),
}


def take_out(monkeypatch: pytest.MonkeyPatch, mutation: tuple[str, str, str]) -> None:
    """Let the derivation do without a part of itself."""
    name, part, instead = mutation
    module, user, attribute = MODULES[name]
    source = Path(str(module.__file__)).read_text()
    assert source.count(part) == 1, part
    mutant = types.ModuleType(f"mutant_{name}")
    monkeypatch.setitem(sys.modules, mutant.__name__, mutant)  # where dataclasses look
    exec(compile(source.replace(part, instead), f"{name}.py", "exec"), vars(mutant))  # noqa: S102  # our own source
    monkeypatch.setattr(user, attribute, getattr(mutant, attribute))


def differing_cases() -> set[str]:
    found = set()
    for name, case in CASES.items():
        for dialect in ("postgresql", "sqlite") if case.only is None else (case.only,):
            try:
                same = changes_of(case, dialect) == case.changes[dialect]
            except Exception:  # noqa: BLE001  # a derivation that fails is noticed
                same = False
            if not same:
                found.add(name)
    return found


def outcomes_of_refusals() -> dict[Any, str]:
    """Return what becomes of models that have to be refused."""
    found = {}
    for name, case in REFUSED.items():
        for dialect in ("postgresql", "sqlite") if case.only is None else (case.only,):
            try:
                case.tenancy(case.build).physical_metadata(dialect=dialect, server_version=case.server_version)
            except SetupError as error:
                found[name, dialect] = str(error) if all(each in str(error) for each in case.says) else "wrong words"
            except Exception as error:  # noqa: BLE001  # what SQLAlchemy makes of it
                found[name, dialect] = type(error).__name__
            else:
                found[name, dialect] = "not refused"
    return found


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_derivation_without_one_of_its_parts_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    take_out(monkeypatch, MUTATIONS[name])

    assert differing_cases()


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_is_taken_out_is_noticed(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    before = outcomes_of_refusals()
    assert not {"wrong words", "not refused"} & set(before.values())

    take_out(monkeypatch, CHECKS[name])

    assert outcomes_of_refusals() != before


def test_nothing_differs_while_nothing_is_taken_out() -> None:
    assert differing_cases() == set()
