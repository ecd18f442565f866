"""Many tenants, one database, and no statement that reaches another tenant's rows."""

from partywall.errors import (
    ForeignTenantError,
    NoTenantError,
    PartywallError,
    RefusedStatementError,
    SetupError,
    TenantChangedError,
    TenantIdError,
)
from partywall.rows.declaration import RowWall
from partywall.scope import current_tenant, hand_over, tenant, unscoped
from partywall.tenancy import Tenancy

__all__ = [
    "ForeignTenantError",
    "NoTenantError",
    "PartywallError",
    "RefusedStatementError",
    "RowWall",
    "SetupError",
    "Tenancy",
    "TenantChangedError",
    "TenantIdError",
    "current_tenant",
    "hand_over",
    "tenant",
    "unscoped",
]

__version__ = "0.1.0.dev0"
