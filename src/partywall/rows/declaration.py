"""What a tenancy says about its row wall."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from partywall.errors import SetupError

__all__ = ["RowWall"]

REVOCABLE = ("set_config", "temp")
KEY_BYTES = 32


@dataclass(frozen=True, kw_only=True)
class RowWall:
    """
    How the database enforces the tenancy again; SQLite needs nothing of it but that it is there.

    Args:
        role: PostgreSQL: the role that the application logs in as. It owns nothing, is no superuser, lacks
            BYPASSRLS, and can become no stronger one.
        unscoped_role: PostgreSQL: the role of unscoped engines, whose policies let it see all rows. It is not
            the owner, whose views and functions would see all rows too.
        key: PostgreSQL: seals the tenant, so that SQL cannot set its own. At least 32 random bytes, from where
            the database's users cannot read them. None: a plain setting, which stops mistakes.
        token_lifetime: Seconds after which no transaction can begin with a sealed tenant's token; one that has begun
            goes on. The application's clock may be behind the server's by no more.
        transaction_pooler: PostgreSQL: whether a pooler may give each transaction another server process, which
            costs a sealed tenant one more round trip (with asyncpg two).
        views: PostgreSQL: keys of the tables that are confined by a view of their name instead of a policy,
            for the sake of indexes that policies cannot use (LIKE, numeric, full text).
        base_schema: Schema that holds the tables behind those views.
        self_test: Whether the wall is tested on the first connection to a server, before anything else. False: the
            application calls `Tenancy.verify` itself, say when it starts.
        revoke: What to take from PUBLIC in the whole database, which needs its owner or a superuser:
            ``"set_config"``, ``"temp"``.

    Raises:
        SetupError: A value that cannot be meant.
    """

    role: str | None = None
    unscoped_role: str | None = None
    key: bytes | None = None
    token_lifetime: int = 60
    transaction_pooler: bool = False
    views: Iterable[str] = ()
    base_schema: str = "partywall_base"
    self_test: bool = True
    revoke: Iterable[str] = ()

    def __post_init__(self) -> None:
        for argument in ("views", "revoke"):
            value = getattr(self, argument)
            if isinstance(value, str):
                raise SetupError(f"{argument} takes several names: {argument}={{{value!r}}}")
            object.__setattr__(self, argument, frozenset(value))
        for word in sorted(frozenset(self.revoke) - {*REVOCABLE}):
            raise SetupError(f"revoke names {word!r}, which is none of {', '.join(map(repr, REVOCABLE))}.")
        if self.key is not None and len(self.key) < KEY_BYTES:
            raise SetupError(f"the key has too few bytes: make one with secrets.token_bytes({KEY_BYTES}).")
        if self.role is not None and self.role == self.unscoped_role:
            raise SetupError(f"the role {self.role} cannot be the one that is held to a tenant and the unscoped one.")
        if self.token_lifetime <= 0:
            raise SetupError("token_lifetime is a number of seconds, and more than 0.")

    def __repr__(self) -> str:
        """Show all but the key."""
        shown = "None" if self.key is None else "..."
        return f"RowWall(role={self.role!r}, key={shown}, views={sorted(self.views)!r})"

    @property
    def is_sealed(self) -> bool:
        """Whether SQL cannot set its own tenant."""
        return self.key is not None
