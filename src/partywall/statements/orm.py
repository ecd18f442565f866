"""The ORM's own doors: what a Session serves from memory belongs to the tenant it is pinned to."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from partywall._compat import WeakInstanceDict
from partywall.errors import TenantChangedError
from partywall.scope import Pin, Scope, current_scope
from partywall.tables import Kind, Tables

__all__ = ["pin_of", "pin_session"]

EXPLICIT_TENANT = "partywall.tenant"
"""Where ``Tenancy.session()`` leaves the tenant in ``Session.info``."""


class PinnedIdentityMap(WeakInstanceDict):  # type: ignore[misc]  # Any, for its name differs between versions
    """
    An identity map that serves its objects to the scope it is pinned to alone.

    It is new after ``close()``, ``reset()`` and ``expunge_all()``, and so the pin ends with it.
    """

    partywall_pin: Pin

    def get(self, key: Any, default: Any = None) -> Any:
        if key not in self._dict:
            return default
        self.partywall_pin.meet(current_scope())
        return super().get(key, default)

    def __getitem__(self, key: Any) -> Any:
        self.partywall_pin.meet(current_scope())
        return super().__getitem__(key)


def pin_of(session: Session) -> Pin | None:
    """Return the pin that a Session holds; None if it never ran a statement in a scope."""
    return getattr(session.identity_map, "partywall_pin", None)


def pin_session(session: Session, tables: Tables) -> Pin:
    """
    Return the Session's pin, made at its first transaction and kept until its identity map ends.

    Raises:
        TenantChangedError: The Session holds objects of the tenants table that were read with no tenant
            in scope, and now takes a tenant.
    """
    pin = pin_of(session)
    if pin is None:
        identity_map: Any = session.identity_map
        identity_map.__class__ = PinnedIdentityMap  # same layout; a new object would orphan the states it holds
        pin = identity_map.partywall_pin = Pin(
            where="Session", on_take=lambda scope: _check_lookups(identity_map, tables, scope)
        )
    explicit: Scope | None = session.info.get(EXPLICIT_TENANT)
    pin.meet(explicit)
    return pin


def _check_lookups(identity_map: PinnedIdentityMap, tables: Tables, scope: Scope) -> None:
    for state in identity_map.all_states():
        table: Any = state.mapper.local_table
        description = tables.find(getattr(table, "schema", None), getattr(table, "name", ""))
        if description is not None and description.kind is Kind.TENANTS:
            raise TenantChangedError("Session", "no tenant, with rows of the tenants table looked up", str(scope))
