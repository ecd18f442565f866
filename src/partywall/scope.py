"""Who is the tenant now: the ambient scope, and the pin that a transaction or a Session takes of it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Hashable
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import TracebackType
from typing import ParamSpec, TypeVar

from partywall.errors import PartywallError, TenantChangedError, TenantIdError

__all__ = [
    "BrokenPin",
    "Pin",
    "Scope",
    "Tenant",
    "Unscoped",
    "current_scope",
    "current_tenant",
    "hand_over",
    "tenant",
    "unscoped",
]

TenantId = Hashable
"""An int, a str, a UUID, ...: whatever the tenant column holds."""

audit_log = logging.getLogger("partywall.audit")

_P = ParamSpec("_P")
_R = TypeVar("_R")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Statements see the rows of one tenant, and the shared ones."""

    id: TenantId

    def __str__(self) -> str:
        return f"tenant {self.id!r}"


@dataclass(frozen=True, slots=True)
class Unscoped:
    """Statements see the rows of every tenant; *reason* goes to the audit log."""

    reason: str = field(compare=False)

    def __str__(self) -> str:
        return "all tenants (unscoped)"


Scope = Tenant | Unscoped  # "not set" is None, and None sees no scoped table


@dataclass(frozen=True, slots=True, eq=False)
class _Frame:
    """One entered block. The chain of frames lets a block notice that it is left out of order."""

    scope: Scope
    block: _Block
    outer: _Frame | None


_frame: ContextVar[_Frame | None] = ContextVar("partywall.scope", default=None)


class _Block:
    """
    ``with tenant(...)`` and ``with unscoped(...)``.

    May be entered again, also while entered, and by several threads and tasks at once: what has been
    entered is in each one's context, and nothing of it here.
    """

    __slots__ = ("_scope",)

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __enter__(self) -> Scope:
        if isinstance(self._scope, Unscoped):
            audit_log.warning("unscoped: %s", self._scope.reason, extra={"reason": self._scope.reason}, stacklevel=2)
        _frame.set(_Frame(self._scope, self, _frame.get()))
        return self._scope

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        innermost = leaving = _frame.get()
        while leaving is not None and leaving.block is not self:
            leaving = leaving.outer
        if leaving is None or innermost is None:
            return  # Left in another context (a finalised generator): nothing here is ours to restore.
        _frame.set(leaving.outer)
        if innermost is not leaving and error is None:
            # A scope that was entered inside this one is still open, say in a suspended generator. Both end here: what
            # runs next must not be in a scope whose block is behind it.
            raise TenantChangedError("scope", str(innermost.scope), f"the end of {leaving.scope}")


def tenant(tenant_id: TenantId) -> _Block:
    """
    Put one tenant in scope for a ``with`` block.

    The scope follows ``asyncio`` tasks and ``asyncio.to_thread``; it does not reach a thread that was
    given no context (see `hand_over`). Blocks nest, and the outer scope returns at the end.

    Args:
        tenant_id: The tenant's key, of the type of the tenant column: an int, str, UUID, ... 0 is an
            ordinary id.

    Raises:
        TenantIdError: *tenant_id* is None, an empty string, a bool, or an object that is not a key.
            That it is of the tenant column's type is checked when an engine first meets it.
    """
    return _Block(Tenant(checked_tenant_id(tenant_id)))


def unscoped(*, reason: str) -> _Block:
    """
    See the rows of all tenants for a ``with`` block, on purpose.

    Works only on an engine that was guarded with ``allow_unscoped=True``. Entering writes one record
    with *reason* to the logger ``partywall.audit``.

    Raises:
        PartywallError: *reason* is empty.
    """
    if not reason or not reason.strip():
        raise PartywallError("unscoped() needs a reason that will make sense in the audit log: unscoped(reason='...').")
    return _Block(Unscoped(reason))


def current_scope() -> Scope | None:
    """Return the ambient scope: a `Tenant`, an `Unscoped`, or None where none is set."""
    frame = _frame.get()
    return None if frame is None else frame.scope


def current_tenant() -> TenantId | None:
    """Return the id of the tenant in scope; None where there is none, be it unset or unscoped."""
    scope = current_scope()
    return scope.id if isinstance(scope, Tenant) else None


def hand_over(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """
    Bind *function* to the scope of this moment, to be run in another thread.

    ``executor.submit(hand_over(job), 1)`` runs ``job(1)`` in the scope in which `hand_over` was
    called; without it the thread has no scope, and scoped statements there raise `NoTenantError`.
    """
    scope = current_scope()

    @functools.wraps(function)
    def in_scope(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        if scope is not None:
            with _Block(scope):
                return function(*args, **kwargs)
        token = _frame.set(None)
        try:
            return function(*args, **kwargs)
        finally:
            _frame.reset(token)

    return in_scope


def checked_tenant_id(value: object) -> TenantId:
    """Return *value* if it can be a tenant's key; raise `TenantIdError` if it is none of any type."""
    if value is None:
        raise TenantIdError("None is not a tenant id. Was the tenant found? Look before its scope is entered.")
    is_model = hasattr(value, "__clause_element__") or hasattr(value, "_sa_instance_state")
    if is_model or not isinstance(value, Hashable):
        raise TenantIdError(
            f"a {type(value).__name__} is not a tenant id: pass its key, once it has one (tenant(organisation.id))."
        )
    if isinstance(value, bool) or value in ("", b""):
        raise TenantIdError(f"{value!r} is not a tenant id.")
    return value


class Pin:
    """
    The one scope that a transaction, and the Sessions that belong to it, hold to their end.

    Everything reads the pin: the bound parameter now, the walls in the database later. It is None
    until a scope is met (shared tables may be read before), and then stays what it is.
    """

    __slots__ = ("checks", "scope", "where")

    def __init__(self, where: str = "transaction") -> None:
        self.scope: Scope | None = None
        self.where = where
        self.checks: list[Callable[[Scope], None]] = []  # asked when a scope is taken

    def meet(self, scope: Scope | None) -> None:
        """
        Take *scope* if none is held; do nothing if it is held already, or if none is met.

        Raises:
            TenantChangedError: Another scope is held.
        """
        if scope is None or scope is self.scope:
            return
        if self.scope is None:
            self.scope = scope
            try:
                for check in self.checks:
                    check(scope)
            except BaseException:
                self.scope = None
                raise
        elif scope != self.scope:
            raise TenantChangedError(self.where, str(self.scope), str(scope))


class BrokenPin(Pin):
    """The pin of a transaction in which two scopes have met: nothing runs in it any more."""

    __slots__ = ("error",)

    def __init__(self, error: TenantChangedError) -> None:
        super().__init__()
        self.error = error

    def meet(self, scope: Scope | None) -> None:  # noqa: ARG002  # whatever it meets
        """Raise the error with which the scopes met."""
        raise TenantChangedError(*self.error.args)
