"""The ORM's own doors: what a Session serves from memory belongs to the tenant it is pinned to."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Session
from sqlalchemy.orm.base import NO_VALUE
from sqlalchemy.sql import visitors

from partywall._compat import WeakInstanceDict
from partywall.errors import ForeignTenantError, TenantChangedError
from partywall.scope import Pin, Scope, Tenant, Unscoped, current_scope
from partywall.statements.refusals import ids_repeat
from partywall.statements.rules import RULES, base_table
from partywall.tables import Kind, TableDescription, Tables, Visible

__all__ = ["EXPLICIT_TENANT", "PinnedIdentityMap", "adopt", "check_ids_are_unique", "pin_identity_map", "pin_of"]

EXPLICIT_TENANT = "partywall.tenant"
"""Where ``Tenancy.session()`` leaves the tenant in ``Session.info``."""


class PinnedIdentityMap(WeakInstanceDict):  # type: ignore[misc]  # Any, for its name differs between versions
    """
    An identity map that serves its objects to the scope it is pinned to alone.

    A Session gets a new one, not pinned, from ``close()``, ``reset()`` and ``expunge_all()``.
    """

    partywall_pin: Pin

    def get(self, key: Any, default: Any = None) -> Any:
        if key not in self._dict:
            return default
        pin, scope = self.partywall_pin, current_scope()
        if scope is not pin.scope:  # run for every row of an object that is loaded already
            pin.meet(scope)
        return WeakInstanceDict.get(self, key, default)

    def __getitem__(self, key: Any) -> Any:
        self.partywall_pin.meet(current_scope())
        return super().__getitem__(key)

    def values(self) -> Iterable[object]:
        self.partywall_pin.meet(current_scope())
        found: Iterable[object] = super().values()
        return found

    def keys(self) -> Any:
        self.partywall_pin.meet(current_scope())
        return super().keys()

    def _dirty_states(self) -> Any:
        self.partywall_pin.meet(current_scope())
        return super()._dirty_states()

    def items(self) -> Iterable[tuple[Any, object]]:
        self.partywall_pin.meet(current_scope())
        found: Iterable[tuple[Any, object]] = super().items()
        return found


class UnscopedIdentityMap(PinnedIdentityMap):
    """An identity map that takes in no object that it could not tell from another tenant's."""

    partywall_tables: Tables

    def add(self, state: Any) -> Any:
        check_ids_are_unique(state.mapper, self.partywall_tables)
        return super().add(state)

    def _add_unpresent(self, state: Any, key: Any) -> None:
        check_ids_are_unique(state.mapper, self.partywall_tables)
        super()._add_unpresent(state, key)

    def replace(self, state: Any) -> Any:
        check_ids_are_unique(state.mapper, self.partywall_tables)
        return super().replace(state)


def check_ids_are_unique(mapper: Any, tables: Tables) -> None:
    """
    Check that no two tenants' objects of a mapped class have one identity.

    Raises:
        RefusedStatementError: They may: the tenant is in the primary key in the database, and not in the model.
    """
    for table in mapper.tables:
        description = _describe(table, tables)
        if description is None or not description.ids_repeat:
            continue
        if not any(column.name == description.tenant_column for column in mapper.primary_key):
            raise ids_repeat(mapper.class_.__name__, description)


def pin_of(session: Session) -> Pin | None:
    """Return the pin that a Session holds; None if it has run nothing since it was made or closed."""
    return getattr(session.identity_map, "partywall_pin", None)


def pin_identity_map(session: Session, pin: Pin, tables: Tables) -> None:
    """
    Let a Session serve from memory what belongs to *pin* alone.

    Raises:
        TenantChangedError: It holds objects of the tenants table that were read with no tenant in scope,
            and the pin holds a tenant, or takes one later.
        ForeignTenantError: It holds objects of another tenant.
    """
    identity_map: Any = session.identity_map
    if len(identity_map):
        # Same layout, and a new object would orphan the states it holds. Python is slower with it afterwards.
        identity_map.__class__ = PinnedIdentityMap
    else:
        session.identity_map = identity_map = PinnedIdentityMap()
    identity_map.partywall_pin = pin
    check = functools.partial(_check_held, identity_map._wr, tables)  # weak: pin and map would be a cycle
    if pin.scope is None:
        pin.checks.append(check)
    else:
        check(pin.scope)


def _check_held(identity_map: weakref.ref[Any], tables: Tables, scope: Scope) -> None:
    held: Any = identity_map()
    if isinstance(scope, Unscoped) and held is not None and tables.ids_repeat:
        held.__class__ = UnscopedIdentityMap
        held.partywall_tables = tables
        for state in held.all_states():
            check_ids_are_unique(state.mapper, tables)
    for state in () if held is None else held.all_states():
        for attribute, description in _ownership(state.mapper, tables).attributes:
            owner = state.dict.get(attribute)
            if (
                description.kind is Kind.TENANTS
                and owner is not None
                and not (isinstance(scope, Tenant) and owner == scope.id)
            ):
                raise TenantChangedError("Session", "no tenant, with rows of the tenants table looked up", str(scope))
        if isinstance(scope, Tenant):
            _check_loaded(state, scope, tables)


def adopt(instance: object, scope: Tenant, tables: Tables) -> None:
    """
    Let an object belong to a tenant: fill the tenant's id into a new one, check it in any other.

    Raises:
        ForeignTenantError: It carries another tenant's id, or carried one when it was loaded.
    """
    state: Any = inspect(instance)
    if state.key is not None:
        _check_loaded(state, scope, tables)
        return
    for attribute, description in _ownership(state.mapper, tables).attributes:
        owner = state.dict.get(attribute)
        if owner is not None:
            if owner != scope.id:
                raise _foreign(state, description)
        elif description.kind is Kind.SCOPED:
            setattr(instance, attribute, scope.id)


def _check_loaded(state: Any, scope: Tenant, tables: Tables) -> None:
    """Check whose row an object was loaded from; if it does not say, let it be read again before it is served."""
    ownership = _ownership(state.mapper, tables)
    if not ownership.is_restricted:
        return
    is_known = False
    for attribute, description in ownership.attributes:
        now = state.dict.get(attribute)
        loaded = state.committed_state.get(attribute, now)  # what was assigned since does not say whose row it is
        for owner in (now, loaded):
            if owner is not None and owner is not NO_VALUE and owner != scope.id:
                raise _foreign(state, description)
        is_known |= loaded == scope.id or (loaded is None and attribute in state.dict and ownership.may_be_shared)
    if not is_known:
        _forget(state)


def _forget(state: Any) -> None:
    """Let an object that does not say whose it is be read again before anything of it is served."""
    if state.modified:
        raise ForeignTenantError(
            f"this {state.class_.__name__} has changes, and its tenant column is not loaded, so nobody knows whose it "
            "is.\nLoad the column before the object is detached."
        )
    state._expire(state.dict, set())


@dataclass(frozen=True)
class _Ownership:
    """
    How the objects of a mapped class say whose they are.

    Attributes:
        attributes: Those that hold a tenant's id, with the tables they stand in.
        is_restricted: Whether a tenant may load some of its rows only.
        may_be_shared: Whether a row without a tenant is for all to read.
    """

    attributes: tuple[tuple[str, TableDescription], ...]
    is_restricted: bool
    may_be_shared: bool


_known_ownership: weakref.WeakKeyDictionary[Any, tuple[Tables, _Ownership]] = weakref.WeakKeyDictionary()


def _ownership(mapper: Any, tables: Tables) -> _Ownership:
    known = _known_ownership.get(mapper)
    if known is not None and known[0] is tables:
        return known[1]
    attributes = []
    for attribute in mapper.column_attrs:
        for column in attribute.columns:
            for base in column.base_columns:  # through aliases and subqueries; a column property may be an expression
                description = _describe(base_table(getattr(base, "table", None)), tables)
                if description is not None and base.name == description.tenant_column:
                    attributes.append((attribute.key, description))
    read = list(visitors.iterate(mapper.persist_selectable))
    descriptions = [_describe(each, tables) for each in read if each.__visit_name__ == "table"]
    restricted = [each for each in descriptions if each is not None and each.is_restricted]
    may_hide_tables = any(each.__visit_name__ not in RULES or each.__visit_name__ in _TEXT for each in read)
    found = _Ownership(
        tuple(attributes),
        bool(restricted) or may_hide_tables,
        not may_hide_tables and all(each.readable is Visible.OWN_AND_SHARED for each in restricted),
    )
    _known_ownership[mapper] = (tables, found)
    return found


_TEXT = ("textclause", "textual_select", "tstring", "tstring_text")


def _describe(table: Any, tables: Tables) -> TableDescription | None:
    return None if table is None else tables.find(getattr(table, "schema", None), table.name)


def _foreign(state: Any, description: TableDescription) -> ForeignTenantError:
    return ForeignTenantError(
        f"this {state.class_.__name__} belongs to another tenant than the Session: its {description.key}."
        f"{description.tenant_column} says so.\nUse it in a Session of its own tenant.",
        tables=(description.key,),
    )
