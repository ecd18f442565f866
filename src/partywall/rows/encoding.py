"""
The tenant id as text for a setting of the database, and back as SQL.

SET takes no parameters, so the text is pasted into SQL. Whatever the id is, the text is made of an alphabet that means
nothing within quotes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Integer, LargeBinary, String, Text, Uuid, cast, func, literal_column, types
from sqlalchemy.dialects import postgresql
from sqlalchemy.types import TypeDecorator, TypeEngine

from partywall.errors import SetupError, TenantIdError

__all__ = ["SETTING", "checked_encoding", "decode_sql", "encode", "encoder"]

SETTING = "partywall.tenant"
"""Name of the setting that holds the tenant of a transaction. Unset or empty: no rows."""

ALPHABET = frozenset("0123456789abcdef-")

_POSTGRESQL: Any = postgresql.dialect()  # type: ignore[no-untyped-call]  # what a TypeDecorator is asked about


@dataclass(frozen=True)
class _Kind:
    """How the ids of one kind of column become text."""

    python_type: type
    to_text: Callable[[Any], str]
    to_sql: Callable[[ColumnElement[Any], TypeEngine[Any]], ColumnElement[Any]]


def _text_to_hex(tenant_id: str) -> str:
    if "\x00" in tenant_id:
        raise TenantIdError("a tenant id with a NUL character is none: PostgreSQL's text cannot hold it.")
    try:
        return tenant_id.encode().hex()
    except UnicodeEncodeError as error:
        raise TenantIdError("this tenant id is no Unicode text: PostgreSQL's text cannot hold it.") from error


def _text_of(setting: ColumnElement[Any], type_: TypeEngine[Any]) -> ColumnElement[Any]:
    # No cast to varchar(n): it would cut a long id down to another tenant's.
    text = func.convert_from(func.decode(setting, literal_column("'hex'")), literal_column("'UTF8'"), type_=Text)
    return text.op("::")(literal_column("bpchar")) if isinstance(type_, types.CHAR) else text


# The first that fits. A type that is none of these is refused.
_KINDS: tuple[tuple[type[TypeEngine[Any]], _Kind], ...] = (
    (Integer, _Kind(int, lambda tenant_id: format(int(tenant_id), "d"), cast)),
    (Uuid, _Kind(uuid.UUID, lambda tenant_id: tenant_id.hex, lambda setting, _: cast(setting, postgresql.UUID()))),
    (String, _Kind(str, _text_to_hex, _text_of)),
    (
        LargeBinary,
        _Kind(
            bytes, lambda tenant_id: tenant_id.hex(), lambda setting, _: func.decode(setting, literal_column("'hex'"))
        ),
    ),
)


def encoder(tenant_type: TypeEngine[Any]) -> Callable[[Any], str]:
    """
    Return what encodes the tenant ids of a column.

    Raises:
        SetupError: Ids of this type have no encoding.
    """
    kind, _ = _kind_of(tenant_type)

    def encode_id(tenant_id: Any) -> str:
        value = tenant_id
        if isinstance(tenant_type, TypeDecorator):
            value = tenant_type.process_bind_param(tenant_id, _POSTGRESQL)
        if kind.python_type is uuid.UUID and isinstance(value, str):  # Uuid(as_uuid=False)
            try:
                value = uuid.UUID(value)
            except ValueError as error:
                raise TenantIdError("this tenant id is no UUID, which the tenant column holds.") from error
        if not isinstance(value, kind.python_type) or isinstance(value, bool):
            raise TenantIdError(
                f"a tenant id of type {type(value).__name__} cannot be set in the database: "
                f"the tenant column holds {kind.python_type.__name__}."
            )
        return checked_encoding(kind.to_text(value))

    return encode_id


def encode(tenant_id: Any, tenant_type: TypeEngine[Any]) -> str:
    """
    Return a tenant id as text made of ``[0-9a-f-]`` alone: an int in decimal, anything else in hex.

    Raises:
        SetupError: Ids of this type have no encoding.
        TenantIdError: The id is not of the type, or text with a NUL character.
    """
    return encoder(tenant_type)(tenant_id)


def checked_encoding(text: str) -> str:
    """Return *text* if it may stand between quotes in SQL as it is; looked at again wherever it is pasted."""
    if not text or not ALPHABET.issuperset(text):
        raise TenantIdError("this tenant id has no safe encoding: it was not sent.")
    return text


def decode_sql(tenant_type: TypeEngine[Any], setting: ColumnElement[Any] | None = None) -> ColumnElement[Any]:
    """
    Return the SQL that turns the setting's text into a value of the tenant column's type; NULL if it is empty.

    Args:
        tenant_type: Of the tenant column.
        setting: SQL for the encoded text; by default the setting itself.

    Raises:
        SetupError: Ids of this type have no encoding.
    """
    kind, type_ = _kind_of(tenant_type)
    if setting is None:
        setting = func.current_setting(literal_column(f"'{SETTING}'"), literal_column("true"), type_=Text)
    return kind.to_sql(func.nullif(setting, literal_column("''"), type_=Text), type_)


def _kind_of(tenant_type: TypeEngine[Any]) -> tuple[_Kind, TypeEngine[Any]]:
    type_: TypeEngine[Any] = tenant_type
    while isinstance(type_, TypeDecorator):
        type_ = type_.load_dialect_impl(_POSTGRESQL)
    # SQLAlchemy counts Enum among the strings and any Uuid as one; the database's column may be neither.
    if not isinstance(type_, types.Enum) and getattr(type_, "native_uuid", True):
        for sql_type, kind in _KINDS:
            if isinstance(type_, sql_type):
                return kind, type_
    raise SetupError(
        f"the row wall cannot hand tenant ids of type {tenant_type!r} to the database.\n"
        "It can those of Integer, Uuid, String and LargeBinary, and of a TypeDecorator over one of them."
    )
