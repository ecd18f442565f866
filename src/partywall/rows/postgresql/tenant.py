"""
How policies and views find out who the tenant is, as SQL.

With the plain setting by an expression over it; with the sealed one by a function that checks the seal. Either stands
in a sub-select, so that it runs once for each statement (an init plan), and an index takes it like a parameter.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import literal_column, types
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from partywall.errors import SetupError
from partywall.rows.declaration import RowWall
from partywall.rows.encoding import SETTING, decode_sql

__all__ = ["KEYS", "SCHEMA", "body", "function_sql", "padded_keys", "return_type", "stored_tenant", "tenant_sql"]

SCHEMA = "partywall"
"""Schema of a sealed wall's function and keys."""

KEYS = f"{SCHEMA}.seal_keys"
"""Table of the keys that seal the tenant; who owns the wall reads it, and nobody else."""

_DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]

# The first that fits.
_RETURN_TYPES: tuple[tuple[type[TypeEngine[Any]], str], ...] = (
    (types.BigInteger, "bigint"),
    (types.SmallInteger, "smallint"),
    (types.Integer, "integer"),
    (types.Uuid, "uuid"),
    (types.CHAR, "bpchar"),
    (types.String, "text"),
    (types.LargeBinary, "bytea"),
)

# RFC 2104 by hand, so that no extension is needed. A token that is not ours is no error: it is no tenant. The end is
# compared with the start of the transaction: a long one goes on, and a token that was read elsewhere begins none later.
_SEALED = """
DECLARE
    token text := current_setting('{setting}', true);
    part text[] := string_to_array(token, '.');
    message bytea;
BEGIN
    IF token IS NULL OR token !~ '^[0-9a-f-]+[.][0-9]{{1,10}}[.][0-9]{{1,12}}[.][0-9a-f]{{64}}$' THEN
        RETURN NULL;
    END IF;
    IF part[2]::bigint <> pg_backend_pid() OR part[3]::bigint < extract(epoch FROM transaction_timestamp()) THEN
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


def tenant_sql(wall: RowWall, tenant_type: TypeEngine[Any]) -> str:
    """Return the sub-select that has the tenant id; NULL if there is no tenant."""
    if wall.is_sealed:
        return f"(SELECT {SCHEMA}.tenant_id() AS tenant_id)"
    return f"(SELECT {_decoded(tenant_type)} AS tenant_id)"


def stored_tenant(wall: RowWall, tenant_type: TypeEngine[Any], *, is_visible: bool) -> str:
    """
    Return the sub-select as the server prints it (pg_get_expr), but for blanks and parentheses.

    Args:
        wall: The row wall.
        tenant_type: Of the tenant column.
        is_visible: Whether the function's schema is in the search path, so that it is not printed.
    """
    if wall.is_sealed:
        return f"(SELECT {'' if is_visible else SCHEMA + '.'}tenant_id() AS tenant_id)"
    setting, type_ = f"NULLIF(current_setting('{SETTING}'::text, true), ''::text)", return_type(tenant_type)
    if type_ in ("text", "bpchar"):
        setting = f"convert_from(decode({setting}, 'hex'::text), 'UTF8'::name)"
    elif type_ == "bytea":
        setting = f"decode({setting}, 'hex'::text)"
    return f"(SELECT {setting}{'' if type_ in ('text', 'bytea') else f'::{type_}'} AS tenant_id)"


def body(tenant_type: TypeEngine[Any]) -> str:
    """Return the body of the sealed wall's function; the server keeps it letter by letter."""
    return _SEALED.format(setting=SETTING, keys=KEYS, tenant=_decoded(tenant_type, "part[1]"))


def function_sql(tenant_type: TypeEngine[Any]) -> str:
    """
    Return the statement that makes the sealed wall's function.

    It runs as its owner, to read the keys. In a parallel worker the pid would be another one's.
    """
    return (
        f"CREATE OR REPLACE FUNCTION {SCHEMA}.tenant_id() RETURNS {return_type(tenant_type)}\n"
        "LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp\n"
        f"AS $partywall${body(tenant_type)}$partywall$"
    )


def _decoded(tenant_type: TypeEngine[Any], encoded: str | None = None) -> str:
    text = None if encoded is None else literal_column(encoded, types.Text)
    return str(decode_sql(tenant_type, text).compile(dialect=_DIALECT))


def padded_keys(key: bytes) -> tuple[str, str]:
    """Return the inner and the outer key of HMAC-SHA-256 in hex (RFC 2104, section 2)."""
    block = (key if len(key) <= 64 else hashlib.sha256(key).digest()).ljust(64, b"\0")  # noqa: PLR2004  # SHA-256's block
    return bytes(byte ^ 0x36 for byte in block).hex(), bytes(byte ^ 0x5C for byte in block).hex()
