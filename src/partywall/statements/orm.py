"""The ORM's own doors: what a Session serves from memory belongs to the tenant it is pinned to."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.orm import Session

from partywall._compat import WeakInstanceDict
from partywall.errors import ForeignTenantError, TenantChangedError
from partywall.scope import Pin, Scope, Tenant, current_scope
from partywall.tables import Kind, TableDescription, Tables

__all__ = ["EXPLICIT_TENANT", "PinnedIdentityMap", "adopt", "pin_identity_map", "pin_of"]

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
    held = identity_map()
    for state in () if held is None else held.all_states():
        for description, owner in _owners(state, tables):
            if isinstance(scope, Tenant) and owner == scope.id:
                continue
            if description.kind is Kind.TENANTS:
                raise TenantChangedError("Session", "no tenant, with rows of the tenants table looked up", str(scope))
            if isinstance(scope, Tenant):
                raise _foreign(state, description)


def adopt(instance: object, scope: Tenant, tables: Tables) -> None:
    """
    Let an object belong to a tenant: fill the tenant's id into a new one, check it in any other.

    Raises:
        ForeignTenantError: It carries another tenant's id.
    """
    state: Any = inspect(instance)
    for attribute, description in _tenant_attributes(state.mapper, tables):
        owner = state.dict.get(attribute)
        if owner is not None:
            if owner != scope.id:
                raise _foreign(state, description)
        elif state.key is not None and attribute not in state.dict:
            _forget(state, description)
        elif state.key is None and description.kind is Kind.SCOPED:
            setattr(instance, attribute, scope.id)


def _forget(state: Any, description: TableDescription) -> None:
    """Let an object that does not say whose it is be read again before anything of it is served."""
    if state.modified:
        raise ForeignTenantError(
            f"this {state.class_.__name__} has changes, and its {description.key}.{description.tenant_column} is not "
            "loaded, so nobody knows whose it is.\nLoad the column before the object is detached.",
            tables=(description.key,),
        )
    state._expire(state.dict, set())


_attributes: weakref.WeakKeyDictionary[Any, tuple[Tables, tuple[tuple[str, TableDescription], ...]]]
_attributes = weakref.WeakKeyDictionary()


def _tenant_attributes(mapper: Any, tables: Tables) -> tuple[tuple[str, TableDescription], ...]:
    """Return the attributes of a mapped class that hold a tenant's id, with the tables they stand in."""
    known = _attributes.get(mapper)
    if known is not None and known[0] is tables:
        return known[1]
    found = []
    for attribute in mapper.column_attrs:
        for column in attribute.columns:
            table = getattr(column, "table", None)  # a column property may be an expression
            description = tables.find(getattr(table, "schema", None), getattr(table, "name", ""))
            if description is not None and column.name == description.tenant_column:
                found.append((attribute.key, description))
    _attributes[mapper] = (tables, tuple(found))
    return tuple(found)


def _owners(state: Any, tables: Tables) -> Iterator[tuple[TableDescription, Any]]:
    """Return the tenant ids that an object carries, with the tables they stand in; what is not loaded is left out."""
    for attribute, description in _tenant_attributes(state.mapper, tables):
        owner = state.dict.get(attribute)
        if owner is not None:
            yield description, owner


def _foreign(state: Any, description: TableDescription) -> ForeignTenantError:
    return ForeignTenantError(
        f"this {state.class_.__name__} belongs to another tenant than the Session: its {description.key}."
        f"{description.tenant_column} says so.\nUse it in a Session of its own tenant.",
        tables=(description.key,),
    )
