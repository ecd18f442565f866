"""What Sessions are asked about: one scope, and no object of another tenant."""

from __future__ import annotations

import weakref
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, Session, object_session
from sqlalchemy.orm.attributes import instance_state

from partywall.errors import PartywallError, TenantChangedError
from partywall.guard._connection import GuardedConnection
from partywall.guard._guard import guard_of
from partywall.scope import BrokenPin, Pin, Tenant, current_scope
from partywall.statements.orm import (
    EXPLICIT_TENANT,
    adopt,
    check_ids_are_unique,
    pin_identity_map,
    pin_of,
)

__all__ = ["listen_to_sessions"]


def listen_to_sessions() -> None:
    """Hear of every Session from here on; once is enough."""
    if not event.contains(Session, "after_begin", _session_began):
        event.listen(Session, "after_begin", _session_began)
        event.listen(Session, "before_attach", _session_attaches)
        event.listen(Mapper, "before_insert", _session_inserts)
        event.listen(Mapper, "_sa_event_merge_wo_load", _session_merges)


def _session_began(session: Session, transaction: Any, connection: Connection) -> None:
    """Make a Session and the transaction it has begun, or joined, hold one scope from here on."""
    if not isinstance(connection, GuardedConnection):
        return
    pin, held = connection.partywall_pin, pin_of(session)
    if pin is None or pin is held:
        return
    connection.partywall_session = weakref.ref(session)
    mine = Pin("Session") if held is None else held
    mine.meet(session.info.get(EXPLICIT_TENANT))
    if held is None:
        pin_identity_map(session, mine, connection.guard.vocabulary.tables)
    if _is_own(transaction, connection):
        # Nobody else uses it and nothing has run on it. It takes the Session's pin first, so that it is the Session's
        # also if the scope it was begun in is another one.
        connection.partywall_pin = mine
        connection._checked = connection._settled = None
        connection._show_rows_of(None)
        mine.meet(pin.scope)
        connection._show_rows_of(mine.scope)
        return
    try:
        pin.meet(mine.scope)
        mine.meet(pin.scope)
    except TenantChangedError as error:
        connection.partywall_pin = BrokenPin(error)  # SQLAlchemy has joined them all the same
        connection._show_rows_of(None)
        raise
    if pin.scope is None:
        pin.checks.append(mine.meet)
        mine.checks.append(pin.meet)


def _session_attaches(session: Session, instance: object) -> None:
    """
    Let a Session of a tenant take in no object of another one.

    A Session that is filled before it runs its first statement is pinned here: it serves from memory.
    """
    pin = pin_of(session)
    scope = (None if pin is None else pin.scope) or session.info.get(EXPLICIT_TENANT) or current_scope()
    is_first = pin is None and instance_state(instance).key is not None
    if not is_first and not isinstance(scope, Tenant):
        return  # checked when the Session takes a tenant, and when it inserts
    try:
        guard = guard_of(session.get_bind(type(instance)).dialect)
    except Exception:  # noqa: BLE001  # no bind, or one the application's get_bind() cannot tell yet: checked when written
        return
    if guard is None:
        return
    if is_first:
        pin = Pin("Session")
        pin_identity_map(session, pin, guard.vocabulary.tables)
        pin.meet(scope)
    if isinstance(scope, Tenant):
        adopt(instance, scope, guard.vocabulary.tables)


def _session_merges(instance: object, _context: Any) -> None:
    """Check what ``merge(load=False)`` has copied into an object that was attached empty."""
    session = object_session(instance)
    if session is not None:
        try:
            _session_attaches(session, instance)
        except PartywallError:
            session.expunge(instance)
            raise


def _session_inserts(mapper: Any, connection: Connection, instance: object) -> None:
    """Let an object that is about to be inserted belong to the tenant of the transaction."""
    if isinstance(connection, GuardedConnection):
        scope = connection._meet_scope(connection.get_transaction())
        if isinstance(scope, Tenant):
            adopt(instance, scope, connection.guard.vocabulary.tables)
        else:
            check_ids_are_unique(mapper, connection.guard.vocabulary.tables)


def _is_own(transaction: Any, connection: Connection) -> bool:
    """Whether a Session has opened a connection for itself, so that nobody else can be using it."""
    entry = transaction._connections.get(connection)
    return entry is not None and bool(entry[3])
