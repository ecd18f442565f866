"""What an engine was guarded with."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.schema import MetaData

from partywall.errors import SetupError
from partywall.keys.physical import Physical, physical_metadata
from partywall.rows.postgresql.self_test import SelfTest
from partywall.rows.postgresql.session import TenantSetting
from partywall.scope import Scope, Tenant, Unscoped
from partywall.statements.execute import unscoped_compiler, unscoped_context
from partywall.statements.rules import Vocabulary
from partywall.statements.vouched import Vouched

__all__ = ["Guard", "guard_of"]


class Guard:
    """What an engine was guarded with. One for each engine; its dialect carries it."""

    def __init__(
        self,
        engine: Engine,
        vocabulary: Vocabulary,
        *,
        allow_unscoped: bool,
        audit: Callable[[Unscoped | Vouched], None] | None,
        metadata: Sequence[MetaData],
        setting: TenantSetting | None = None,
    ) -> None:
        self.engine = engine
        self.setting = setting
        self.self_test: SelfTest | None = None
        self.vocabulary = vocabulary
        self.allow_unscoped = allow_unscoped
        self.audit = audit
        self.metadata = metadata
        self.bind_tenant: Callable[[Any], Any] | None = None
        self._plain = copy.copy(engine.dialect)
        self._unscoped: Any = None
        self._lock = threading.Lock()

    def check(self, scope: Scope) -> None:
        """
        Check that a scope may be used on this engine; called once when a connection takes it.

        Raises:
            TenantIdError: The tenant id is not of the tenant column's type.
            SetupError: The scope is unscoped, and the engine was not made for it.
        """
        if isinstance(scope, Tenant):
            self.vocabulary.tables.check_tenant_id(scope.id)
        elif not self.allow_unscoped:
            raise SetupError(
                "unscoped() met an engine that always has one tenant in scope.\n"
                "Use an engine that was made for it:  tenancy.guard(create_engine(url), allow_unscoped=True)\n"
                "Its URL is that of the owner or, if there is a row wall on PostgreSQL, of the unscoped role."
            )

    def record(self, scope: Scope) -> None:
        """Tell the application's audit hook that a transaction is unscoped; called once for each."""
        if isinstance(scope, Unscoped) and self.audit is not None:
            self.audit(scope)

    def has_row_wall(self, pooled: Any) -> bool:
        """Whether the database holds what a connection sends to the tenant: there is a row wall, and it has passed."""
        is_tested = self.self_test is not None and not self.allow_unscoped and self.self_test.holds(pooled)
        return is_tested or self.vocabulary.is_walled

    def verify(self, bind: Engine | Connection) -> None:
        """
        Run the self-test of the row wall.

        Raises:
            SetupError: It does not hold, or there is none; or *bind* is a connection in a transaction.
        """
        if isinstance(bind, Connection) and bind.in_transaction():
            raise SetupError(
                "verify() would end the transaction that has begun on this connection.\n"
                "Verify first, or on a connection of its own: tenancy.verify(engine)"
            )
        if self.self_test is None and not self.vocabulary.is_walled:
            raise SetupError(
                "no row wall holds this engine: on SQLite those that may be used unscoped have none, and see all rows."
            )
        with bind.connect() if isinstance(bind, Engine) else nullcontext(bind) as connection:
            if self.self_test is not None:
                dbapi_connection = connection.connection.dbapi_connection
                try:
                    self.self_test.run(dbapi_connection)
                finally:
                    self.engine.dialect.do_rollback(connection.connection)  # SQLite's is tested when it is put up

    def physical(self) -> Physical:
        """Return what the database gets for the tenancy's metadata."""
        dialect: Any = self.engine.dialect
        return physical_metadata(
            self.metadata,
            self.vocabulary.tables,
            server_version=dialect.server_version_info if dialect.name == "postgresql" else None,
        )

    def unscoped_dialect(self) -> Any:
        """
        Return the dialect for unscoped statements.

        It is another object than the engine's, because the compiled caches of engines and mappers have
        the dialect in their keys: scoped and unscoped statements never share an entry. It is made when
        it is first needed, from a dialect that has met its server.
        """
        with self._lock:
            if self._unscoped is None:
                dialect = copy.copy(self.engine.dialect)
                dialect.statement_compiler = unscoped_compiler(self._plain.statement_compiler)
                dialect.execution_ctx_cls = unscoped_context(self._plain.execution_ctx_cls, self.vocabulary.tables)
                dialect.identifier_preparer = self._plain.identifier_preparer
                dialect.type_compiler_instance = self._plain.type_compiler_instance
                self._unscoped = dialect
            return self._unscoped


def guard_of(dialect: Any) -> Guard | None:
    """Return what a dialect was guarded with; None if it was not."""
    return getattr(dialect, "partywall_guard", None)
