"""Any models, with keys of every kind, give the keys that were meant, as an inspector finds them in real databases."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, event, given, note, settings
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    MetaData,
    Table,
    UniqueConstraint,
    create_engine,
    inspect,
)
from sqlalchemy.engine import Engine
from sqlalchemy.pool import StaticPool

from partywall import SetupError, Tenancy
from tests.conftest import NewDatabase
from tests.key_world import Keys, keys_in, open_plain

NAMES = ("alpha", "Beta", "gamma ray", "order")
VALUES = ("one", "Two", "three four")
TENANT = "tenant_id"
INFO = "partywall"


@pytest.fixture(scope="module")
def postgresql(new_postgresql: NewDatabase) -> Iterator[Engine]:
    engine = open_plain(new_postgresql())
    yield engine
    engine.dispose()


@st.composite
def tables(draw: st.DrawFn) -> dict[str, dict[str, Any]]:
    """Return tables as plain data: what they hold, their unique keys, and what they refer to."""
    described: dict[str, dict[str, Any]] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)):
        described[name] = {
            "layout": draw(st.sampled_from([None, "keep", "tenant-first", "as written"])),
            "id": draw(st.sampled_from(["generated", "identity", "chosen", "two", "by hand"])),
            "unique": [
                {
                    "columns": draw(st.lists(st.sampled_from([*VALUES, TENANT]), min_size=1, max_size=3, unique=True)),
                    "global": draw(st.booleans()),
                    "index": draw(st.booleans()),
                    "where": draw(st.booleans()),
                }
                for _ in range(draw(st.integers(0, 3)))
            ],
            "shared_rows": draw(st.booleans()) and draw(st.booleans()),
            "refers": [],
        }
    for name, table in described.items():
        if table["id"] == "by hand":
            table["shared_rows"] = False
        for number in range(draw(st.integers(0, 3))):
            target = draw(st.sampled_from([*described, "shared", "tenants"]))
            table["refers"].append(
                {
                    "to": target,
                    "column": f"ref {number}",
                    "unique": draw(st.integers(0, 3)),
                    "nullable": draw(st.booleans()),
                    "keep": target == "tenants" or draw(st.sampled_from([False, False, False, True])),
                    "ondelete": draw(st.sampled_from([None, "CASCADE", "RESTRICT", "SET NULL", "SET DEFAULT"])),
                    "onupdate": draw(st.sampled_from([None, "CASCADE"])),
                    "deferrable": draw(st.booleans()),
                    "with_tenant": draw(st.booleans()),
                    "name": f"fk {name} {number}",
                }
            )
    return described


def models_of(described: dict[str, dict[str, Any]]) -> MetaData:
    metadata = MetaData()
    Table("tenants", metadata, Column("id", Integer, primary_key=True))
    Table("shared", metadata, Column("id", Integer, primary_key=True))
    for name, table in described.items():
        ids = {
            "generated": [Column("id", Integer, primary_key=True)],
            "identity": [Column("id", Integer, Identity(), primary_key=True)],
            "chosen": [Column("id", Integer, primary_key=True, autoincrement=False)],
            "two": [Column("id", Integer, primary_key=True), Column("Id 2", Integer, primary_key=True)],
            "by hand": [Column("id", Integer, primary_key=True)],
        }[table["id"]]
        by_hand = table["id"] == "by hand"
        tenant = Column(TENANT, Integer, primary_key=by_hand, nullable=table["shared_rows"])
        made = Table(
            name,
            metadata,
            *([tenant, *ids] if by_hand else [*ids, tenant]),
            *(Column(value, Integer) for value in VALUES),
            info={} if table["layout"] is None else {INFO: table["layout"]},
        )
        for number, key in enumerate(table["unique"]):
            info = {INFO: "global"} if key["global"] else {}
            columns = [made.c[each] for each in key["columns"]]
            if key["index"]:
                where: dict[str, Any] = {
                    f"{each}_where": made.c["one"] > 1 for each in ("postgresql", "sqlite") if key["where"]
                }
                Index(f"ix {name} {number}", *columns, unique=True, info=info, **where)
            else:
                made.append_constraint(UniqueConstraint(*columns, name=f"uq {name} {number}", info=info))
    for name, table in described.items():
        made = metadata.tables[name]
        for reference in table["refers"]:
            _refer(metadata, made, reference, described)
    return metadata


def _refer(metadata: MetaData, made: Table, reference: dict[str, Any], described: dict[str, Any]) -> None:
    """Add a foreign key to the primary key of a table, or to one of its whole unique keys."""
    target = metadata.tables[reference["to"]]
    keys = [[column.name for column in target.primary_key.columns]]
    keys += [
        key["columns"]
        for key in described.get(target.name, {}).get("unique", ())
        if not key["index"] or (not key["where"] and target is not made)  # indexes come after their table
    ]
    referred = keys[reference["unique"] % len(keys)]
    columns = []
    for number, other in enumerate(referred):
        if other == TENANT:
            columns.append(TENANT)
            continue
        name = f"{reference['column']} {number}"
        made.append_column(Column(name, Integer, nullable=reference["nullable"], server_default="1"))
        columns.append(name)
    if columns == [TENANT]:
        return  # a reference to the tenant alone, to what is not the tenants table
    made.append_constraint(
        ForeignKeyConstraint(
            columns,
            [target.c[each] for each in referred],
            name=reference["name"],
            ondelete=reference["ondelete"],
            onupdate=reference["onupdate"],
            deferrable=True if reference["deferrable"] else None,
            initially="DEFERRED" if reference["deferrable"] else None,
            use_alter=reference["deferrable"],
            info={INFO: "keep"} if reference["keep"] else {},
        )
    )


class Meant:
    """What the keys of the database should be, in the plainest words; nothing here knows how they are derived."""

    def __init__(self, described: dict[str, dict[str, Any]], metadata: MetaData, default: str, dialect: str) -> None:
        self.described, self.metadata, self.default, self.dialect = described, metadata, default, dialect

    def layout(self, name: str) -> str:
        return self.described[name]["layout"] or self.default

    def is_derived(self, name: str) -> bool:
        return name in self.described and self.layout(name) != "as written"

    def primary_key(self, name: str) -> tuple[str, ...]:
        columns = tuple(column.name for column in self.metadata.tables[name].primary_key.columns)
        table = self.described.get(name)
        if table is None or self.layout(name) != "tenant-first" or TENANT in columns or table["shared_rows"]:
            return columns
        if self.dialect == "sqlite" and table["id"] in ("generated", "identity"):
            return columns
        return (TENANT, *columns)

    def unique_key(self, name: str, key: dict[str, Any]) -> tuple[str, ...]:
        columns = tuple(key["columns"])
        return columns if not self.is_derived(name) or key["global"] or TENANT in columns else (TENANT, *columns)

    def gets_the_tenant(self, key: ForeignKeyConstraint) -> bool:
        if "keep" in key.info.get(INFO, ()) or not self.is_derived(key.table.name):
            return False
        return self.is_derived(key.referred_table.name) and TENANT not in key.column_keys

    def foreign_keys(self, name: str) -> Iterator[tuple[Any, ...]]:
        for key in self.metadata.tables[name].foreign_key_constraints:
            columns = tuple(element.parent.name for element in key.elements)
            referred = tuple(element.column.name for element in key.elements)
            options = {"onupdate": key.onupdate, "ondelete": key.ondelete}
            if self.gets_the_tenant(key):
                if key.ondelete in ("SET NULL", "SET DEFAULT"):
                    quoted = ", ".join(f'"{each}"' for each in columns)
                    options["ondelete"] = f"{key.ondelete} ({quoted})" if self.dialect == "postgresql" else None
                columns, referred = (TENANT, *columns), (TENANT, *referred)
            if key.deferrable:
                options |= {"deferrable": True, "initially": "DEFERRED"}  # type: ignore[dict-item]
            told = tuple(sorted((option, value) for option, value in options.items() if value))
            yield columns, key.referred_table.name, referred, told
        if self.is_derived(name):
            yield (TENANT,), "tenants", ("id",), ()

    def referred_with_the_tenant(self, name: str) -> set[frozenset[str]]:
        """Return what is referred to with the tenant, less what is unique anyway."""
        wanted = {
            frozenset({TENANT, *(element.column.name for element in key.elements)})
            for table in self.metadata.tables.values()
            for key in table.foreign_key_constraints
            if key.referred_table.name == name and self.gets_the_tenant(key)
        }
        there = {frozenset(self.primary_key(name))}
        for key in self.described[name]["unique"]:
            if not (key["index"] and key["where"]):
                there.add(frozenset(self.unique_key(name, key)))
        return wanted - there


def check(meant: Meant, found: dict[str, Keys]) -> None:
    """Compare what an inspector found with what was meant."""
    for name, table in meant.described.items():
        keys = found[name]
        assert keys.primary_key == meant.primary_key(name)
        constraints = {meant.unique_key(name, key) for key in table["unique"] if not key["index"]}
        added = {each for each in keys.unique if each not in constraints}
        assert constraints <= keys.unique
        expected = meant.referred_with_the_tenant(name)
        assert {frozenset(each) for each in added} == expected, (added, expected)
        assert all(each[0] == TENANT for each in added)
        indexes = {
            (f"ix {name} {number}", meant.unique_key(name, key), True)
            for number, key in enumerate(table["unique"])
            if key["index"]
        }
        own = {each for each in keys.indexes if not str(each[0]).startswith("uq_")}
        assert own == indexes
        foreign = [(*each[:3], tuple((o, v) for o, v in each[3] if v != "NO ACTION")) for each in keys.foreign]
        assert sorted(map(_plain, foreign)) == sorted(map(_plain, set(meant.foreign_keys(name))))
        logical = meant.metadata.tables[name]
        assert keys.nullable == {column.name for column in logical.columns if column.nullable}
        shared = [each for each in keys.indexes if str(each[0]).startswith("uq_")]
        of_tenants = {key for key in constraints if key[0] == TENANT and TENANT not in _written(table, key)}
        assert len(shared) == (len(of_tenants) if table["shared_rows"] else 0)


def _written(table: dict[str, Any], key: tuple[str, ...]) -> tuple[str, ...]:
    """Return a unique constraint as the models have it."""
    written = [tuple(each["columns"]) for each in table["unique"] if not each["index"]]
    return key if key in written else key[1:]


def _plain(key: Any) -> str:
    return repr(key).replace('"', "")


@settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],  # what fails is small, and the databases are slow
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(described=tables(), default=st.sampled_from(["keep", "tenant-first", "as written"]))
def test_any_models_give_the_keys_that_were_meant(
    postgresql: Engine, described: dict[str, dict[str, Any]], default: str
) -> None:
    shared_rows = {name for name, table in described.items() if table["shared_rows"]}
    for dialect in ("sqlite", "postgresql"):
        metadata = models_of(described)
        tenancy = Tenancy(metadata, tenants="tenants", shared={"shared"}, shared_rows=shared_rows, layout=default)
        try:
            (physical,) = tenancy.physical_metadata(dialect=dialect)
        except SetupError as error:
            note(str(error))
            event("refused")
            expected = ("cycle", "whose row it is", "is unique in a tenant only")  # tests/test_keys_refused.py
            assert any(each in str(error) for each in expected)
            return
        engine = postgresql if dialect == "postgresql" else create_engine("sqlite://", poolclass=StaticPool)
        try:
            physical.create_all(engine)
            physical.create_all(engine)
            check(Meant(described, metadata, default, dialect), keys_in(engine))
        finally:
            physical.drop_all(engine)
            assert inspect(engine).get_table_names() == []
        if dialect == "sqlite":
            engine.dispose()
