"""The tenant parameter cannot be supplied, overridden or frozen by the application."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from sqlalchemy import bindparam, create_engine, event, select
from sqlalchemy.orm import Session

from partywall import ForeignTenantError, RefusedStatementError, tenant
from partywall._compat import SQLALCHEMY_21
from partywall.statements.compile import TENANT_PARAMETER
from tests.conftest import NewDatabase
from tests.models import Customer, Invoice, tenancy
from tests.recorder import Recorder
from tests.world import World

STATEMENT = select(Invoice.id).order_by(Invoice.id)
OWN = [(100 + number,) for number in range(1, 8)]

# Names that one of the drivers' escapings turns into ours.
NAMES = ["partywall_tenant", "partywall tenant", "partywall.tenant", "partywall[tenant"]


def test_a_value_of_that_name_does_not_reach_it(world: World) -> None:
    with tenant(1), Session(world.many) as session:
        assert session.execute(STATEMENT, {TENANT_PARAMETER: 2}).all() == OWN
        assert session.connection().execute(STATEMENT, {TENANT_PARAMETER: 2, "other": 2}).all() == OWN
        assert session.execute(STATEMENT, [{TENANT_PARAMETER: 2}]).all() == OWN
        assert session.query(Invoice.id).order_by(Invoice.id).params({TENANT_PARAMETER: 2}).all() == OWN


@pytest.mark.skipif(not SQLALCHEMY_21, reason="params() of a statement is new in 2.1")
def test_params_of_a_statement_do_not_reach_it(world: World) -> None:
    with tenant(1), Session(world.many) as session:
        assert session.execute(STATEMENT.params({TENANT_PARAMETER: 2})).all() == OWN


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"unique": True}, {"expanding": True}, {"literal_execute": True}])
@pytest.mark.parametrize("driver", ["pysqlite", "psycopg", "psycopg2", "asyncpg"])
def test_a_bindparam_of_that_name_is_refused_or_apart(
    world: World, name: str, options: dict[str, Any], driver: str
) -> None:
    """Where the driver writes parameters by name, one that would be written like ours is refused."""
    if world.url.get_backend_name() != ("sqlite" if driver == "pysqlite" else "postgresql"):
        pytest.skip("a driver of the other database")
    engine = tenancy().guard(create_engine(world.url.set(drivername=f"{world.name}+{driver}")))
    value = [2] if options.get("expanding") else 2
    bind = bindparam(name, value, **options)
    criterion = Invoice.tenant_id.in_(bind) if options.get("expanding") else Invoice.tenant_id == bind

    try:
        compiled: Any = STATEMENT.where(criterion).compile(engine)
    except RefusedStatementError as error:
        assert name in str(error)
    else:
        escaped = [compiled.escaped_bind_names.get(each, each) for each in compiled.binds]
        assert escaped.count(TENANT_PARAMETER) == 1
        assert compiled.binds[TENANT_PARAMETER] is type(compiled).tenant


def test_a_parameter_written_like_ours_never_widens_the_result(world: World) -> None:
    for name in NAMES:
        with tenant(1), Session(world.many) as session:
            try:
                found = session.execute(STATEMENT.where(Invoice.tenant_id == bindparam(name, 2))).all()
            except RefusedStatementError:
                continue
            assert found == []


def test_our_own_parameter_taken_from_a_compiled_statement_says_the_pinned_tenant(world: World) -> None:
    compiled: Any = STATEMENT.compile(world.many)
    stolen = copy.copy(compiled.binds[TENANT_PARAMETER])
    stolen.value, stolen.required = 2, False

    with tenant(1), Session(world.many) as session:
        assert session.execute(STATEMENT.where(Invoice.tenant_id == compiled.binds[TENANT_PARAMETER])).all() == OWN
        world.many.clear_compiled_cache()
        with pytest.raises(RefusedStatementError):
            session.execute(STATEMENT.where(Invoice.tenant_id == stolen))


def test_a_pickled_or_copied_statement_keeps_no_tenant(world: World) -> None:
    with tenant(2), Session(world.many) as session:
        session.execute(STATEMENT).all()
        copied = copy.copy(STATEMENT)
        by_lambda = select(Invoice.id).where(lambda: Invoice.total > 0).order_by(Invoice.id)
        session.execute(by_lambda).all()
        customer = session.get_one(Customer, 201)
        pickled = pickle.dumps(customer)

    with tenant(1), Session(world.many) as session:
        assert session.execute(copied).all() == OWN
        assert session.execute(by_lambda).all() == OWN
        foreign = pickle.loads(pickled)  # noqa: S301  # our own bytes
        with pytest.raises(ForeignTenantError):
            session.add(foreign)


def test_the_tenant_is_sent_as_a_parameter_and_never_as_text(world: World) -> None:
    with tenant(1), Recorder(world.many) as sent, Session(world.many) as session:
        session.execute(STATEMENT).all()

    (statement,), (parameters,) = sent.statements, sent.parameters
    assert "1" not in statement.replace("anon_1", "")
    assert (list(parameters.values()) if isinstance(parameters, dict) else list(parameters)) == [1]


def test_a_thousand_tenants_share_one_compiled_statement(new_sqlite: NewDatabase) -> None:
    url = new_sqlite()
    plain = create_engine(url)
    Invoice.metadata.create_all(plain)
    engine = tenancy().guard(create_engine(url))
    for tenant_id in range(1000):
        with tenant(tenant_id), engine.connect() as connection:
            connection.execute(STATEMENT).all()

    assert len(engine._compiled_cache or ()) == 1
    plain.dispose()
    engine.dispose()


def test_a_listener_cannot_add_the_parameter(world: World) -> None:
    def add(connection: Any, clause: Any, multi: Any, params: Any, options: Any) -> Any:
        return clause, multi, {**params, TENANT_PARAMETER: 2}

    event.listen(world.many, "before_execute", add, retval=True)
    try:
        with tenant(1), Session(world.many) as session:
            assert session.execute(STATEMENT).all() == OWN
    finally:
        event.remove(world.many, "before_execute", add)
