"""A tenant id becomes text that means nothing within quotes, and no two ids the same."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql

from partywall import SetupError, Tenancy, TenantIdError
from partywall.rows.declaration import RowWall
from partywall.rows.encoding import ALPHABET, checked_encoding, decode_sql, encode
from partywall.rows.seal import seal


class Guid(sa.TypeDecorator[uuid.UUID]):
    """What applications of SQLAlchemy 1 wrote before there was Uuid."""

    impl = sa.CHAR
    cache_ok = True

    def load_dialect_impl(self, dialect: Any) -> Any:
        return dialect.type_descriptor(postgresql.UUID() if dialect.name == "postgresql" else sa.CHAR(32))

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return value


KINDS: list[tuple[sa.types.TypeEngine[Any], st.SearchStrategy[Any]]] = [
    (sa.Integer(), st.integers()),
    (sa.Uuid(), st.uuids()),
    (sa.Uuid(as_uuid=False), st.uuids().map(str)),
    (Guid(), st.uuids()),
    (sa.String(), st.text(st.characters(blacklist_characters="\x00", blacklist_categories=["Cs"]), min_size=1)),
    (sa.LargeBinary(), st.binary(min_size=1)),
]


@pytest.mark.parametrize(("tenant_type", "tenant_ids"), KINDS, ids=lambda each: type(each).__name__)
def test_ids_become_harmless_text_and_stay_apart(
    tenant_type: sa.types.TypeEngine[Any], tenant_ids: st.SearchStrategy[Any]
) -> None:
    @given(one=tenant_ids, other=tenant_ids)
    def check(one: Any, other: Any) -> None:
        texts = encode(one, tenant_type), encode(other, tenant_type)

        assert all(ALPHABET.issuperset(each) and each for each in texts)
        assert (texts[0] == texts[1]) == (one == other)

    check()


@pytest.mark.parametrize(
    ("tenant_id", "tenant_type"),
    [
        ("1", sa.Integer()),
        (True, sa.Integer()),
        (1, sa.String()),
        ("no uuid", sa.Uuid(as_uuid=False)),
        ("a\x00b", sa.String()),
        ("\ud800", sa.String()),
        (None, sa.Integer()),
    ],
)
def test_what_is_no_id_of_the_type_is_refused(tenant_id: Any, tenant_type: Any) -> None:
    with pytest.raises(TenantIdError):
        encode(tenant_id, tenant_type)


@pytest.mark.parametrize("text", ["", "'", "1'", "1;", "G", "é", "1 2", "1\n"])
def test_text_that_could_mean_something_is_refused_where_it_is_pasted(text: str) -> None:
    with pytest.raises(TenantIdError):
        checked_encoding(text)


@pytest.mark.parametrize("tenant_type", [sa.Enum("a", "b"), sa.Uuid(native_uuid=False), sa.Numeric(), sa.Date()])
def test_a_column_whose_ids_have_no_encoding_is_refused_when_the_engine_is_guarded(tenant_type: Any) -> None:
    metadata = sa.MetaData()
    sa.Table("orders", metadata, sa.Column("id", sa.Integer), sa.Column("tenant_id", tenant_type))
    engine = sa.create_engine("postgresql+psycopg://app@localhost/app")

    with pytest.raises(SetupError):
        Tenancy(metadata, rows=RowWall(role="app")).guard(engine)
    with pytest.raises(SetupError):
        decode_sql(tenant_type)


@pytest.mark.parametrize(
    ("tenant_type", "sql"),
    [
        (sa.BigInteger(), "CAST(nullif(x, '') AS BIGINT)"),
        (sa.Uuid(), "CAST(nullif(x, '') AS UUID)"),
        (sa.String(5), "convert_from(decode(nullif(x, ''), 'hex'), 'UTF8')"),  # never cut to its length
        (sa.LargeBinary(), "decode(nullif(x, ''), 'hex')"),
    ],
)
def test_the_database_reads_it_as(tenant_type: Any, sql: str) -> None:
    decoded = decode_sql(tenant_type, sa.literal_column("x"))

    assert str(decoded.compile(dialect=postgresql.dialect())) == sql  # type: ignore[no-untyped-call]


def test_a_seal_covers_tenant_process_and_end() -> None:
    key = b"k" * 32

    assert seal("2a", 7, key, 99) == "2a.7.99." + hmac.new(key, b"2a.7.99", hashlib.sha256).hexdigest()
    assert len({seal("2a", 7, key, 99), seal("2b", 7, key, 99), seal("2a", 8, key, 99), seal("2a", 7, key, 98)}) == 4
    assert seal("2a", 7, key, 99) != seal("2a", 7, b"l" * 32, 99)
