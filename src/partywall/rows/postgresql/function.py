"""The function that tells policies and views who the tenant is, as SQL."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import literal_column, types
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.encoding import SETTING, decode_sql
from partywall.rows.postgresql.meant import SCHEMA

__all__ = ["KEYS", "body", "function_sql", "padded_keys", "return_type"]

KEYS = f"{SCHEMA}.seal_keys"
"""Table of the keys that seal the tenant; who owns the wall reads it, and nobody else."""

_DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]

# The first that fits.
_RETURN_TYPES: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (types.BigInteger, "bigint"),
    (types.SmallInteger, "smallint"),
    (types.Integer, "integer"),
    (types.Uuid, "uuid"),
    (types.CHAR, "character"),
    (types.String, "text"),
    (types.LargeBinary, "bytea"),
)

_PLAIN = "SELECT {tenant}"

# RFC 2104 by hand, so that no extension is needed. A token that is not ours is no error: it is no tenant.
_SEALED = """
DECLARE
    token text := current_setting('{setting}', true);
    part text[] := string_to_array(token, '.');
    message bytea;
BEGIN
    IF token IS NULL OR token !~ '^[0-9a-f-]+[.][0-9]{{1,10}}[.][0-9]{{1,12}}[.][0-9a-f]{{64}}$' THEN
        RETURN NULL;
    END IF;
    IF part[2]::bigint <> pg_backend_pid() OR part[3]::bigint < extract(epoch FROM clock_timestamp()) THEN
        RETURN NULL;
    END IF;
    message := convert_to(part[1] || '.' || part[2] || '.' || part[3], 'UTF8');
    IF NOT EXISTS (
        SELECT FROM {keys} AS k
        WHERE encode(sha256(k.outer_key || sha256(k.inner_key || message)), 'hex') = part[4]
    ) THEN
        RETURN NULL;
    END IF;
    RETURN {tenant};
END
"""


def return_type(tenant_type: TypeEngine[Any]) -> str:
    """
    Return the type of the tenant id in the database, as PostgreSQL names it.

    Raises:
        SetupError: Ids of this type cannot be told to the database.
    """
    type_: TypeEngine[Any] = tenant_type
    while isinstance(type_, TypeDecorator):
        type_ = type_.load_dialect_impl(_DIALECT)
    for sql_type, name in _RETURN_TYPES:
        if isinstance(type_, sql_type):
            return name
    raise SetupError(f"the row wall cannot hand tenant ids of type {tenant_type!r} to the database.")


def body(wall: RowWall, tenant_type: TypeEngine[Any]) -> str:
    """Return the function's body; the server keeps it letter by letter."""
    setting = literal_column("part[1]", types.Text) if wall.is_sealed else None
    tenant = str(decode_sql(tenant_type, setting).compile(dialect=_DIALECT)).replace("%%", "%")
    template = _SEALED if wall.is_sealed else _PLAIN
    return template.format(setting=SETTING, keys=KEYS, tenant=tenant)


def function_sql(wall: RowWall, tenant_type: TypeEngine[Any]) -> str:
    """
    Return the statement that makes the function.

    The plain one is inlined into the statement. The sealed one runs as its owner, to read the keys; in a parallel
    worker the pid would be another one's.
    """
    kind = "LANGUAGE sql STABLE PARALLEL SAFE"
    if wall.is_sealed:
        kind = "LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
    return (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.tenant_id() RETURNS {return_type(tenant_type)}\n{kind}\n"
        f"AS $partywall${body(wall, tenant_type)}$partywall$"
    )


def padded_keys(key: bytes) -> tuple[str, str]:
    """Return the inner and the outer key of HMAC-SHA-256 in hex (RFC 2104, section 2)."""
    block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")  # noqa: PLR2004  # SHA-256's block
    return bytes(byte ^ 0x36 for byte in block).hex(), bytes(byte ^ 0x5C for byte in block).hex()
