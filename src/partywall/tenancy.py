"""Tenancy: declarations in, guarded engines out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, TypeVar, overload

from sqlalchemy import DDL, MetaData, TextClause
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from partywall.declarations import describe
from partywall.errors import SetupError
from partywall.guard import guard_engine, guard_of
from partywall.keys.physical import physical_metadata
from partywall.rows.declaration import RowWall
from partywall.rows.postgresql.ddl import row_wall_ddl, take_down_ddl
from partywall.rows.postgresql.drift import Finding, find_drift
from partywall.rows.postgresql.meant import schema_of
from partywall.rows.postgresql.put_up import put_up
from partywall.scope import Tenant, TenantId, Unscoped, checked_tenant_id, unscoped
from partywall.statements.orm import EXPLICIT_TENANT
from partywall.statements.proof import prove
from partywall.statements.rules import Vocabulary
from partywall.statements.vouched import Vouched, VouchedText
from partywall.tables import Tables

__all__ = ["Tenancy"]

if TYPE_CHECKING:  # it needs greenlet, which not everybody has
    from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

_Engine = TypeVar("_Engine", Engine, "AsyncEngine")


class Tenancy:
    """
    Says whose rows the tables hold, and guards engines by it.

    A table is scoped if it has the tenant column; else it must be declared here, or next to the table
    by ``info={"partywall": "shared"}``. A table nobody declared is a `SetupError` when an engine is
    guarded.

    Args:
        metadata: Metadata of the application, one or several.
        column: Name of the tenant column in the database.
        tenants: Key of the tenants table: one row per tenant, of which a scope sees its own.
        tenants_public: Columns of the tenants table that may be read with no tenant in scope, say the
            slug and the id, for login and routing.
        shared: Keys of tables that all tenants read and only unscoped code writes.
        shared_writable: Keys of tables that all tenants read and write.
        shared_rows: Keys of scoped tables whose rows without a tenant (NULL) are seen by all tenants
            and written by none of them.
        functions: SQL functions beyond the known ones that read no table and change nothing.
        operators: The same for operators, as they are written with ``.op()``.
        constructs: Classes of the application's own SQL constructs, or of constructs that it compiles
            itself with ``@compiles``, whose SQL reads no table but through the statements in them.
        strict: Whether the proof has to find every statement scoped as well, once for each compiled statement.
            On PostgreSQL it takes ``partywall[postgresql]``.
        checker: Whether nothing is scoped, and a statement runs only if the proof finds it scoped by hand.
        diagnostics: Whether tenants may run EXPLAIN, whose estimates are made of all tenants' rows.
        audit: Called with an `Unscoped` scope when a transaction of a guarded engine takes it, and with a `Vouched`
            statement when one runs.
        layout: How the keys of scoped tables stand in the database: ``"keep"`` leaves primary keys as they
            are and adds the tenant to references and unique keys, ``"tenant-first"`` adds it to primary keys
            too, and ``"as written"`` changes none, for a schema that has no key wall yet.
        rows: The row wall: how the database enforces the tenancy again. None: it does not.
    """

    def __init__(
        self,
        metadata: MetaData | Iterable[MetaData],
        *,
        column: str = "tenant_id",
        tenants: str | None = None,
        tenants_public: Iterable[str] = (),
        shared: Iterable[str] = (),
        shared_writable: Iterable[str] = (),
        shared_rows: Iterable[str] = (),
        functions: Iterable[str] = (),
        operators: Iterable[str] = (),
        constructs: Iterable[type[Any]] = (),
        strict: bool = False,
        checker: bool = False,
        diagnostics: bool = False,
        audit: Callable[[Unscoped | Vouched], None] | None = None,
        layout: str = "keep",
        rows: RowWall | None = None,
    ) -> None:
        for argument, value in {
            "tenants_public": tenants_public,
            "shared": shared,
            "shared_writable": shared_writable,
            "shared_rows": shared_rows,
            "functions": functions,
            "operators": operators,
        }.items():
            if isinstance(value, str):
                raise SetupError(f"{argument} takes several names: {argument}={{{value!r}}}")
        self.metadata = (metadata,) if isinstance(metadata, MetaData) else tuple(metadata)
        self.column = column
        self.tenants = tenants
        self.tenants_public = frozenset(tenants_public)
        self.shared = frozenset(shared)
        self.shared_writable = frozenset(shared_writable)
        self.shared_rows = frozenset(shared_rows)
        self.functions = frozenset(name.lower() for name in functions)
        self.operators = frozenset(operators)
        self.constructs = frozenset(constructs)
        self.strict = strict
        self.checker = checker
        self.diagnostics = diagnostics
        self.audit = audit
        self.layout = layout
        self.rows = rows

    def describe(self, dialect: str = "postgresql") -> Tables:
        """
        Return the description of every table, as the walls read it.

        Args:
            dialect: Name of the dialect of the database.

        Raises:
            SetupError: The declarations are incomplete or contradict the models.
        """
        return describe(
            self.metadata,
            column=self.column,
            tenants=self.tenants,
            tenants_public=self.tenants_public,
            shared=self.shared,
            shared_writable=self.shared_writable,
            shared_rows=self.shared_rows,
            layout=self.layout,
            dialect=dialect,
        )

    def guard(self, engine: _Engine, *, allow_unscoped: bool = False) -> _Engine:
        """
        Put the walls around an engine, in place, and return it.

        From then on a statement of this engine runs scoped to the tenant in scope, or is refused before
        anything is sent. Nothing is connected here.

        Args:
            engine: An ``Engine`` or ``AsyncEngine`` for PostgreSQL or SQLite, just created.
            allow_unscoped: Whether the engine may also be used in ``with unscoped(reason=...)``.

        Raises:
            SetupError: The declarations are incomplete, the engine is guarded already, or its dialect
                is one we know nothing about.
        """
        dialect = getattr(getattr(engine, "dialect", None), "name", "")
        tables = self.describe(dialect)
        vocabulary = Vocabulary(
            tables,
            dialect=dialect,
            functions=self.functions,
            operators=self.operators,
            constructs=self.constructs,
            strict=self.strict,
            diagnostics=self.diagnostics,
            has_public_view=self.rows is not None and not allow_unscoped,
            is_walled=self.rows is not None and dialect == "sqlite" and not allow_unscoped,
        )
        if (self.strict or self.checker) and dialect in ("postgresql", "sqlite"):
            prove("SELECT 1", tables, dialect=dialect, tenant_parameters=frozenset())  # is what it needs installed?
        guard_engine(
            engine,
            vocabulary,
            allow_unscoped=allow_unscoped,
            audit=self.audit,
            metadata=self.metadata,
            checker=self.checker,
            rows=self.rows,
        )
        return engine

    def physical_metadata(self, *, dialect: str, server_version: tuple[int, ...] | None = None) -> tuple[MetaData, ...]:
        """
        Return what the database gets for the models: the metadata with keys that cannot point across tenants.

        It is for DDL and migrations; the application keeps its own.

        Args:
            dialect: ``"postgresql"`` or ``"sqlite"``, whose keys differ a little.
            server_version: As the dialect tells it, ``(15, 4)``; None: the newest.

        Returns:
            One new MetaData for each of the tenancy's, in their order.

        Raises:
            SetupError: A key cannot be derived; it names the constraint, says why, and what to write.
        """
        return physical_metadata(self.metadata, self.describe(dialect), server_version=server_version).metadata

    def create_all(self, bind: Engine | Connection, *, checkfirst: bool = True, create_roles: bool = False) -> None:
        """
        Create the tables with the keys that cannot point across tenants, and put up the row wall. Safe to run twice.

        Args:
            bind: An engine or connection of the role that owns the tables: a plain one, or one guarded with
                ``allow_unscoped=True``. With asyncio: ``await connection.run_sync(tenancy.create_all)``.
            checkfirst: Whether to leave alone what is there already.
            create_roles: Whether the roles of the row wall are made if they are missing, without a password.

        Raises:
            SetupError: A key cannot be derived; the engine always has a tenant in scope; a role of the row wall is
                missing, or this one may not put it up. With what mends it.
        """
        scope = nullcontext() if guard_of(bind.dialect) is None else unscoped(reason="create_all()")
        with scope, bind.begin() if isinstance(bind, Engine) else nullcontext(bind) as connection:
            version = getattr(connection.dialect, "server_version_info", None)
            for metadata in self.physical_metadata(dialect=connection.dialect.name, server_version=version):
                metadata.create_all(connection, checkfirst=checkfirst)
            if self.rows is not None and connection.dialect.name == "postgresql":
                put_up(connection, self.describe(), self.rows, create_roles=create_roles)

    def row_wall_ddl(self, *, default_schema: str = "public", create_roles: bool = False) -> list[DDL]:
        """
        Return the DDL that puts up the row wall on PostgreSQL, for whoever runs it himself. Safe to run twice.

        Run it in one transaction, as the owner of the tables. A sealed wall has its key in it: keep it out of logs.

        Args:
            default_schema: Where the tables are whose metadata names no schema.
            create_roles: Whether roles that are missing are made, without a password.

        Raises:
            SetupError: There is no row wall, or it cannot be put up as it was declared.
        """
        wall = self._declared_rows()
        return row_wall_ddl(self.describe(), wall, default_schema=default_schema, create_roles=create_roles)

    def take_down_ddl(self, *, default_schema: str = "public") -> list[DDL]:
        """Return the DDL that takes down the row wall on PostgreSQL; roles stay."""
        return take_down_ddl(self.describe(), self._declared_rows(), default_schema=default_schema)

    def find_drift(self, connection: Connection) -> list[Finding]:
        """
        Return what is not as the row wall's DDL makes it on PostgreSQL, each with the SQL that mends it.

        Args:
            connection: A plain one, of any role.
        """
        wall = self._declared_rows()
        schema = schema_of(connection.dialect, wall)
        return find_drift(connection, self.describe(), wall, default_schema=schema)

    def verify(self, bind: Engine | Connection) -> None:
        """
        Run the self-test of the row wall now, whatever is known of it.

        Args:
            bind: A guarded engine, or a connection of one: ``await connection.run_sync(tenancy.verify)``.

        Raises:
            SetupError: The wall does not hold, or there is none. The message has every finding, with what mends it.
        """
        guard = guard_of(bind.dialect)
        self._declared_rows()
        if guard is None:
            raise SetupError("verify() needs a guarded engine: engine = tenancy.guard(create_engine(...))")
        guard.verify(bind)

    def _declared_rows(self) -> RowWall:
        if self.rows is None:
            raise SetupError("this tenancy has no row wall: Tenancy(..., rows=RowWall(role='app'))")
        return self.rows

    def vouch(self, sql: str, *, reason: str) -> TextClause:
        """
        Vouch for a statement that is right, but beyond the parser: it runs as it stands, scoped by the database alone.

        It runs on an engine whose row wall has passed its self-test, in a tenant's scope, and each time the audit log
        is told. On PostgreSQL the connection is closed when it comes back, since nobody knows what the statement's
        functions leave on it, and the tenant is told again before each statement that follows.

        Args:
            sql: One SELECT, WITH, VALUES, TABLE, INSERT, UPDATE, DELETE or MERGE, with parameters as in ``text()``.
            reason: Why it is right; for the audit log.

        Returns:
            What ``execute()`` takes as it takes ``text()``, and ``columns()`` and ``from_statement()`` too.

        Raises:
            SetupError: There is no reason.
            RefusedStatementError: It is another kind of statement, or several. When it is executed: no row wall holds
                it.
        """
        if not reason.strip():
            raise SetupError("vouch() needs a reason that will make sense in the audit log: vouch(sql, reason='...').")
        return VouchedText(sql, reason)

    @overload
    def session(self, engine: Engine, *, tenant: TenantId, **options: Any) -> Session: ...
    @overload
    def session(self, engine: AsyncEngine, *, tenant: TenantId, **options: Any) -> AsyncSession: ...

    def session(self, engine: Engine | AsyncEngine, *, tenant: TenantId, **options: Any) -> Session | AsyncSession:
        """
        Return a Session that belongs to one tenant for good, for those who pass the tenant.

        It needs no ambient scope, and meets another one with `TenantChangedError`.

        Args:
            engine: A guarded engine.
            tenant: The tenant id.
            options: Passed to ``Session`` or ``AsyncSession``.

        Raises:
            TenantIdError: *tenant* is no tenant id, or not of the tenant column's type.
            SetupError: The engine is not guarded.
        """
        sync_engine: Any = getattr(engine, "sync_engine", engine)
        guard = guard_of(sync_engine.dialect)
        if guard is None:
            raise SetupError("session() needs a guarded engine: engine = tenancy.guard(create_engine(...))")
        scope = Tenant(checked_tenant_id(tenant))
        guard.check(scope)
        info = {**options.pop("info", {}), EXPLICIT_TENANT: scope}
        if isinstance(engine, Engine):
            return Session(engine, info=info, **options)
        from sqlalchemy.ext.asyncio import AsyncSession  # as above

        return AsyncSession(engine, info=info, **options)
