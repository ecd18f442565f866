"""``Tenancy.create_all()`` puts PostgreSQL's row wall up, or says what it lacks, and leaves nothing half done."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, String, Table, create_engine, inspect, text
from sqlalchemy.engine import URL

from partywall import RowWall, SetupError, Tenancy, tenant, unscoped

metadata = MetaData()
Table("tenants", metadata, Column("id", Integer, primary_key=True), Column("slug", String))
Table("notes", metadata, Column("id", Integer, primary_key=True), Column("tenant_id", Integer, nullable=False))


@pytest.fixture
def url(new_postgresql: Callable[..., URL]) -> URL:
    """Return the URL of an empty database for its owner, which is no superuser."""
    return new_postgresql()


@pytest.fixture
def roles(url: URL) -> Iterator[tuple[str, str]]:
    """Return the names of two roles that are there; their schema is the owner's."""
    names = f"web_{uuid.uuid4().hex[:8]}", f"jobs_{uuid.uuid4().hex[:8]}"
    run(url, *(f"CREATE ROLE {name} LOGIN" for name in names), "ALTER SCHEMA public OWNER TO app")
    yield names
    run(url, *(f"DROP OWNED BY {name}" for name in names))


def run(url: URL, *statements: str) -> None:
    """Run statements as a superuser."""
    engine = create_engine(url.set(username="postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def tenancy(role: str, unscoped_role: str, **options: Any) -> Tenancy:
    return Tenancy(
        metadata, tenants="tenants", rows=RowWall(role=role, unscoped_role=unscoped_role, **options), strict=True
    )


def is_empty(engine: Engine) -> bool:
    return inspect(engine).get_table_names() == []


def test_a_missing_role_is_named_with_the_statement_that_makes_it_and_nothing_is_done(url: URL) -> None:
    engine = create_engine(url)

    with pytest.raises(SetupError, match=r"(?s)role nobody_a and nobody_b.*CREATE ROLE nobody_a LOGIN"):
        tenancy("nobody_a", "nobody_b").create_all(engine)

    assert is_empty(engine)
    engine.dispose()


def test_a_missing_privilege_is_a_setup_error_with_the_grant_and_nothing_is_done(
    url: URL, roles: tuple[str, str]
) -> None:
    run(url, f"ALTER DATABASE {url.database} OWNER TO postgres")  # so that app may create no schema in it
    engine = create_engine(url)
    sealed = tenancy(*roles, key=b"k" * 32)

    with pytest.raises(SetupError, match=r"(?s)permission denied.*GRANT CREATE ON DATABASE"):
        sealed.create_all(engine)
    assert is_empty(engine)

    run(url, f"GRANT CREATE ON DATABASE {url.database} TO app")
    sealed.create_all(engine)
    assert not is_empty(engine)
    engine.dispose()


def test_it_is_put_up_twice_found_to_be_as_meant_and_taken_down(url: URL, roles: tuple[str, str]) -> None:
    owner, made = create_engine(url), tenancy(*roles)
    made.create_all(owner)
    made.create_all(owner)
    app = made.guard(create_engine(url.set(username=roles[0])))

    made.verify(app)
    with owner.begin() as connection:
        assert made.find_drift(connection) == []
        connection.execute(text("ALTER TABLE notes NO FORCE ROW LEVEL SECURITY"))
    app.dispose()
    with owner.begin() as connection:
        assert [each.rule for each in made.find_drift(connection)] == ["forced"]
    with pytest.raises(SetupError, match=r"FORCE ROW LEVEL SECURITY"):
        made.verify(app)

    made.create_all(owner)
    made.verify(app)
    with owner.begin() as connection:
        for statement in made.take_down_ddl():
            connection.execute(statement)
    with pytest.raises(SetupError, match=r"notes"):
        made.verify(app)
    for engine in (owner, app):
        engine.dispose()


def test_an_engine_whose_wall_does_not_hold_does_not_connect(url: URL, roles: tuple[str, str]) -> None:
    owner, made = create_engine(url), tenancy(*roles)
    metadata.create_all(owner)  # and no wall
    app = made.guard(create_engine(url.set(username=roles[0])))

    with pytest.raises(SetupError, match=r"(?s)ENABLE ROW LEVEL SECURITY"), tenant(1):
        app.connect()
    for engine in (owner, app):
        engine.dispose()


def test_a_privilege_of_public_is_taken_from_public_alone(url: URL, roles: tuple[str, str]) -> None:
    owner, made = create_engine(url), tenancy(*roles)
    made.create_all(owner)
    with owner.begin() as connection:
        connection.execute(text("GRANT SELECT ON notes TO PUBLIC"))

    with owner.begin() as connection:
        (finding,) = made.find_drift(connection)
        connection.execute(text(finding.remedy))
        assert made.find_drift(connection) == []
    assert finding.remedy == "REVOKE SELECT ON public.notes FROM PUBLIC;"
    owner.dispose()


def test_unscoped_engines_and_the_owner_find_tables_behind_views(url: URL, roles: tuple[str, str]) -> None:
    role, unscoped_role = roles
    owner, made = create_engine(url), tenancy(*roles, views={"notes"})
    run(url, f"ALTER DATABASE {url.database} OWNER TO app")
    made.create_all(owner)
    run(url, f"ALTER ROLE {unscoped_role} SET search_path = partywall_base, public")
    jobs = made.guard(create_engine(url.set(username=unscoped_role)), allow_unscoped=True)
    app = made.guard(create_engine(url.set(username=role)))
    tables = metadata.tables

    with unscoped(reason="seed"), jobs.begin() as connection:
        connection.execute(tables["tenants"].insert(), [{"id": 1, "slug": "a"}, {"id": 2, "slug": "b"}])
        connection.execute(tables["notes"].insert(), [{"id": 1, "tenant_id": 1}, {"id": 2, "tenant_id": 2}])
    made.verify(jobs)
    with tenant(1), app.connect() as connection:
        assert connection.execute(tables["notes"].select()).all() == [(1, 1)]
    made.create_all(owner)
    with owner.connect() as connection:
        assert made.find_drift(connection) == []
    for engine in (owner, jobs, app):
        engine.dispose()
