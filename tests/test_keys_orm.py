"""The ORM on the keys of the database: what an application does is what it did, and the tenant is left to the walls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import ForeignKey, UniqueConstraint, event, func, insert, inspect, select, text, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload

from partywall import RefusedStatementError, Tenancy, tenant, unscoped
from tests.conftest import NewDatabase
from tests.key_world import guarded

LAYOUTS = ("keep", "tenant-first")


class Base(DeclarativeBase):
    pass


class Organisation(Base):
    __tablename__ = "organisations"
    id: Mapped[int] = mapped_column(primary_key=True)


class Invoice(Base):
    """The application chooses its number."""

    __tablename__ = "invoices"
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    tenant_id: Mapped[int]
    code: Mapped[str | None] = mapped_column(unique=True)
    total: Mapped[int] = mapped_column(default=0)
    lines: Mapped[list[Line]] = relationship(
        back_populates="invoice", cascade="all, delete-orphan", passive_deletes=True, order_by="Line.position"
    )
    reminders: Mapped[list[Reminder]] = relationship(back_populates="invoice", passive_deletes=True)
    payments: Mapped[list[Payment]] = relationship(back_populates="invoice")


class Line(Base):
    __tablename__ = "lines"
    tenant_id: Mapped[int]
    invoice_number: Mapped[int] = mapped_column(ForeignKey("invoices.number", ondelete="CASCADE"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    amount: Mapped[int] = mapped_column(default=0)
    invoice: Mapped[Invoice] = relationship(back_populates="lines")
    __table_args__ = (UniqueConstraint("invoice_number", "amount", name="uq_amount"),)


class Reminder(Base):
    __tablename__ = "reminders"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    invoice_number: Mapped[int | None] = mapped_column(ForeignKey("invoices.number", ondelete="SET NULL"))
    invoice: Mapped[Invoice | None] = relationship(back_populates="reminders")


class Payment(Base):
    """No ON DELETE: the ORM sets the reference to NULL itself."""

    __tablename__ = "payments"
    id: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[int]
    invoice_number: Mapped[int | None] = mapped_column(ForeignKey("invoices.number"))
    invoice: Mapped[Invoice | None] = relationship(back_populates="payments")


def open_engine(layout: str, new_database: NewDatabase) -> Any:
    return guarded(Tenancy(Base.metadata, tenants="organisations", layout=layout, strict=True), new_database())


@pytest.fixture(params=LAYOUTS)
def engine(request: pytest.FixtureRequest, new_database: NewDatabase) -> Iterator[Engine]:
    with open_engine(request.param, new_database) as engine:
        _fill(engine)
        yield engine


@pytest.fixture
def tenant_first(new_database: NewDatabase) -> Iterator[Engine]:
    with open_engine("tenant-first", new_database) as engine:
        _fill(engine)
        yield engine


def _fill(engine: Engine) -> None:
    with unscoped(reason="fill"):
        Base.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(Organisation), [{"id": 1}, {"id": 2}])


def an_invoice(session: Session, number: int, **values: Any) -> Invoice:
    invoice = Invoice(number=number, lines=[Line(position=1), Line(position=2, amount=2)], **values)
    invoice.reminders = [Reminder()]
    invoice.payments = [Payment()]
    session.add(invoice)
    session.commit()
    return invoice


def rows_of(engine: Engine, table: str) -> list[tuple[Any, ...]]:
    """Return all rows of a table, as the driver gives them."""
    with unscoped(reason="look"), engine.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(select(Base.metadata.tables[table])))


# Relationships.


def test_relationships_never_write_the_tenant_column(engine: Engine) -> None:
    sent: list[str] = []
    with tenant(1), Session(engine) as session:
        an_invoice(session, 1)
        event.listen(engine, "before_cursor_execute", lambda *arguments: sent.append(arguments[2]))
        invoice = session.get_one(Invoice, 1)
        other = Invoice(number=2)
        session.add(other)
        invoice.payments[0].invoice = other
        invoice.reminders.clear()
        session.commit()
    updates = [each for each in sent if each.startswith("UPDATE")]
    assert len(updates) == 2
    assert [each for each in updates if "tenant_id" in each.partition("WHERE")[0]] == []


def test_delete_with_the_database_s_cascade_and_set_null(engine: Engine) -> None:
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(engine) as session:
            an_invoice(session, tenant_id)
    with tenant(1), Session(engine) as session:
        session.delete(session.get_one(Invoice, 1))
        session.commit()
    assert [row[0] for row in rows_of(engine, "lines")] == [2, 2]
    assert [row[1:] for row in rows_of(engine, "reminders")] == [(1, None), (2, 2)]
    assert [row[1:] for row in rows_of(engine, "payments")] == [(1, None), (2, 2)]


def test_delete_by_a_statement_has_the_same_effects(engine: Engine) -> None:
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(engine) as session:
            an_invoice(session, tenant_id)
            session.execute(update(Payment).values(invoice_number=None))
            session.commit()
    with tenant(1), engine.begin() as connection:
        connection.execute(text("DELETE FROM invoices"))
    assert [row[0] for row in rows_of(engine, "lines")] == [2, 2]
    assert [row[1:] for row in rows_of(engine, "reminders")] == [(1, None), (2, 2)]


def test_a_relationship_to_another_tenants_row_is_refused_by_the_key(engine: Engine) -> None:
    """The statement wall lets a number be any number: the key does not."""
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(engine) as session:
            an_invoice(session, tenant_id)
    with tenant(1), Session(engine) as session:
        session.add(Payment(invoice_number=2))
        with pytest.raises(IntegrityError):
            session.commit()


def test_the_orm_knows_objects_by_the_keys_of_the_models(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        an_invoice(session, 1)
        assert session.get_one(Invoice, 1) is session.get_one(Line, (1, 1)).invoice
        assert inspect(session.get_one(Invoice, 1)).identity == (1,)
    with tenant(2), Session(engine) as session:
        assert session.get(Invoice, 1) is None


# Tenant-first.


def test_two_tenants_have_an_invoice_of_the_same_number(tenant_first: Engine) -> None:
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(tenant_first) as session:
            an_invoice(session, 1, code="A", total=tenant_id)
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(tenant_first) as session:
            invoice = session.get_one(Invoice, 1, options=[selectinload(Invoice.lines)])
            assert (invoice.total, [line.tenant_id for line in invoice.lines]) == (tenant_id, [tenant_id] * 2)
            assert session.scalar(select(func.count()).select_from(Invoice).join(Invoice.lines)) == 2
    with tenant(1), Session(tenant_first) as session:
        session.delete(session.get_one(Invoice, 1))
        session.commit()
    assert [row[1] for row in rows_of(tenant_first, "invoices")] == [2]
    assert [row[0] for row in rows_of(tenant_first, "lines")] == [2, 2]
    assert [row[1:] for row in rows_of(tenant_first, "reminders")] == [(1, None), (2, 1)]


def test_keep_has_each_number_once(new_database: NewDatabase) -> None:
    """It shows that the test above can fail; and what keep tells about other tenants' keys."""
    with open_engine("keep", new_database) as engine:
        _fill(engine)
        with tenant(1), Session(engine) as session:
            an_invoice(session, 1)
        with tenant(2), Session(engine) as session, pytest.raises(IntegrityError):
            an_invoice(session, 1)


@pytest.mark.parametrize("entity", [Invoice, Line])
def test_unscoped_entities_whose_ids_repeat_are_refused_with_two_ways_out(tenant_first: Engine, entity: Any) -> None:
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(tenant_first) as session:
            an_invoice(session, 1)
    with unscoped(reason="all"), Session(tenant_first) as session:
        with pytest.raises(RefusedStatementError) as caught:
            session.scalars(select(entity)).all()
        assert entity.__name__ in str(caught.value)
        with pytest.raises(RefusedStatementError):
            session.execute(select(entity, Organisation.id).join(Organisation, true())).all()
        with pytest.raises(RefusedStatementError):
            session.get(entity, 1 if entity is Invoice else (1, 1))
        with pytest.raises(RefusedStatementError):
            session.scalars(select(Reminder).options(selectinload(Reminder.invoice).selectinload(Invoice.lines))).all()

        # The ways out: rows, and a loop over the tenants.
        table = entity.__table__
        assert {row.tenant_id for row in session.execute(select(table))} == {1, 2}
        assert len(session.execute(select(entity.tenant_id)).all()) == len(session.execute(select(table)).all())
        tenants = session.scalars(select(Organisation.id).order_by(Organisation.id)).all()
    for tenant_id in tenants:
        with tenant(tenant_id), Session(tenant_first) as session:
            assert {each.tenant_id for each in session.scalars(select(entity))} == {tenant_id}


def test_unscoped_writes_of_objects_whose_ids_repeat_are_refused(tenant_first: Engine) -> None:
    with tenant(1), Session(tenant_first) as session:
        kept = an_invoice(session, 1)
        session.refresh(kept)
        session.expunge_all()
    with unscoped(reason="all"), Session(tenant_first) as session:
        session.add(Invoice(number=5, tenant_id=1))
        with pytest.raises(RefusedStatementError):
            session.flush()
    with unscoped(reason="all"), Session(tenant_first) as session:
        with pytest.raises(RefusedStatementError):
            session.add(kept)
            session.execute(select(Organisation.id))
    with unscoped(reason="all"), Session(tenant_first) as session, pytest.raises(RefusedStatementError):
        session.merge(kept, load=False)
        session.execute(select(Organisation.id))


BULK_UPDATES: dict[str, Callable[[Session, list[dict[str, Any]]], object]] = {
    "update": lambda session, rows: session.execute(update(Invoice), rows),
    "mappings": lambda session, rows: session.bulk_update_mappings(inspect(Invoice), rows),
}


@pytest.mark.parametrize("by", BULK_UPDATES)
def test_unscoped_bulk_updates_by_ids_that_repeat_are_refused(tenant_first: Engine, by: str) -> None:
    for tenant_id in (1, 2):
        with tenant(tenant_id), Session(tenant_first) as session:
            an_invoice(session, 1)
            BULK_UPDATES[by](session, [{"number": 1, "total": tenant_id}])
            session.commit()
    before = rows_of(tenant_first, "invoices")
    assert [row[3] for row in before] == [1, 2]
    with unscoped(reason="all"), Session(tenant_first) as session:
        for rows in ([{"number": 1, "total": 9}], [{"number": 1, "total": 9}, {"number": 7, "total": 9}]):
            with pytest.raises(RefusedStatementError, match="by their ids"):
                BULK_UPDATES[by](session, rows)
            session.rollback()
        session.execute(update(Invoice).where(Invoice.tenant_id == 1, Invoice.number == 1).values(total=5))
        session.commit()
    assert [row[3] for row in rows_of(tenant_first, "invoices")] == [5, 2]


def test_unscoped_entities_work_where_ids_are_unique(new_database: NewDatabase) -> None:
    with open_engine("keep", new_database) as engine:
        _fill(engine)
        for tenant_id in (1, 2):
            with tenant(tenant_id), Session(engine) as session:
                an_invoice(session, tenant_id)
        with unscoped(reason="all"), Session(engine) as session:
            assert [each.tenant_id for each in session.scalars(select(Invoice).order_by(Invoice.number))] == [1, 2]


# Upserts name the keys of the models.


def _insert_of(engine: Engine) -> Any:
    return {"sqlite": sqlite.insert, "postgresql": postgresql.insert}[engine.dialect.name]


UPSERTS = ("table", "entity", "text", "driver")


def upsert(engine: Engine, session: Session, by: str, target: str, values: dict[str, Any]) -> None:
    """Insert an invoice, or add to its total where *target* is taken."""
    if by in ("text", "driver"):
        names = ", ".join(values)
        sql = (
            f"INSERT INTO invoices ({names}) VALUES ({', '.join(f':{name}' for name in values)}) "
            f"ON CONFLICT ({target}) DO UPDATE SET total = invoices.total + excluded.total"
        )
        if by == "text":
            session.execute(text(sql), values)
            return
        for name in values:
            sql = sql.replace(f":{name}", "?" if engine.dialect.name == "sqlite" else f"%({name})s")
        given: Any = tuple(values.values()) if engine.dialect.name == "sqlite" else values
        session.connection().exec_driver_sql(sql, given)
        return
    statement = _insert_of(engine)(Invoice if by == "entity" else Invoice.__table__).values(values)
    session.execute(
        statement.on_conflict_do_update(
            index_elements=[target], set_={"total": Invoice.__table__.c.total + statement.excluded.total}
        )
    )


@pytest.mark.parametrize("by", UPSERTS)
@pytest.mark.parametrize("target", ["number", "code"])
def test_an_upsert_on_a_key_of_the_models_reaches_that_of_the_database(
    tenant_first: Engine, by: str, target: str
) -> None:
    for tenant_id in (1, 2):
        for _ in range(3):
            with tenant(tenant_id), Session(tenant_first) as session:
                upsert(tenant_first, session, by, target, {"number": 1, "code": "A", "total": tenant_id})
                session.commit()
    assert [(row[0], row[1], row[3]) for row in rows_of(tenant_first, "invoices")] == [(1, 1, 3), (1, 2, 6)]


@pytest.mark.parametrize("by", UPSERTS)
def test_an_upsert_on_a_unique_key_is_the_tenants_own(new_database: NewDatabase, by: str) -> None:
    with open_engine("keep", new_database) as engine:
        _fill(engine)
        for tenant_id in (1, 2):
            for _ in range(2):
                with tenant(tenant_id), Session(engine) as session:
                    upsert(engine, session, by, "code", {"number": tenant_id, "code": "A", "total": tenant_id})
                    session.commit()
        assert [(row[1], row[3]) for row in rows_of(engine, "invoices")] == [(1, 2), (2, 4)]


def test_an_upsert_on_a_composite_key_reaches_that_of_the_database(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        an_invoice(session, 1)
        for statement in (_insert_of(engine)(Line), _insert_of(engine)(Line.__table__)):
            values = statement.values(invoice_number=1, position=1, amount=7)
            session.execute(
                values.on_conflict_do_update(index_elements=[Line.invoice_number, Line.position], set_={"amount": 7})
            )
            values = statement.values(invoice_number=1, position=3, amount=7)
            session.execute(values.on_conflict_do_nothing(index_elements=["amount", "invoice_number"]))
        session.commit()
    assert [row[2:] for row in rows_of(engine, "lines")] == [(1, 7), (2, 2)]


def test_an_upsert_may_name_the_key_of_the_database(engine: Engine) -> None:
    with tenant(1), Session(engine) as session:
        for _ in range(2):
            statement = _insert_of(engine)(Invoice).values(number=1, code="A", total=1)
            session.execute(
                statement.on_conflict_do_update(
                    index_elements=["tenant_id", "code"], set_={"total": Invoice.total + statement.excluded.total}
                )
            )
        session.commit()
        assert session.get_one(Invoice, 1).total == 2


def test_an_upsert_may_name_a_constraint(new_postgresql: NewDatabase) -> None:
    with open_engine("tenant-first", new_postgresql) as engine:
        _fill(engine)
        with tenant(1), Session(engine) as session:
            an_invoice(session, 1)
            for named in ("uq_amount", Line.__table_args__[0]):
                statement = postgresql.insert(Line).values(invoice_number=1, position=9, amount=2)
                session.execute(statement.on_conflict_do_nothing(constraint=named))
            session.execute(
                text(
                    "INSERT INTO lines (invoice_number, position, amount) VALUES (1, 9, 2) "
                    "ON CONFLICT ON CONSTRAINT uq_amount DO NOTHING"
                )
            )
            session.commit()
            assert session.scalar(select(func.count()).select_from(Line)) == 2
