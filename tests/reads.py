"""One read of every kind, as an application writes it: no tenant anywhere. A bug report becomes one more entry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Integer,
    Select,
    String,
    and_,
    bindparam,
    case,
    cast,
    column,
    distinct,
    exists,
    extract,
    false,
    func,
    intersect,
    lambda_stmt,
    lateral,
    literal,
    literal_column,
    not_,
    null,
    or_,
    select,
    table,
    tablesample,
    text,
    true,
    tuple_,
    type_coerce,
    union,
    union_all,
    values,
    within_group,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.orm import aliased

from partywall._compat import SQLALCHEMY_21
from tests.models import (
    Base,
    Comment,
    Country,
    Customer,
    Invoice,
    Line,
    Template,
    Tenant,
    Ticket,
    User,
    customer_tags,
)


@dataclass(frozen=True)
class Read:
    """A statement, and what the oracle must know of it."""

    build: Callable[[], Any]
    ordered: bool = False
    only: str | None = None  # name of the one database that has it


READS: dict[str, Read] = {}


def read(*, ordered: bool = False, only: str | None = None) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Add the decorated function's statement to the table, under its name."""

    def add(build: Callable[[], Any]) -> Callable[[], Any]:
        assert build.__name__ not in READS
        READS[build.__name__] = Read(build, ordered, only)
        return build

    return add


invoices = Base.metadata.tables["invoices"]
customers = Base.metadata.tables["customers"]
lines = Base.metadata.tables["lines"]
tickets = Base.metadata.tables["tickets"]
other_customer = aliased(Customer, name="other_customer")


def ids(*entities: Any) -> Select[Any]:
    return select(*(entity.id for entity in entities))


# FROM: tables, aliases, joins of every kind and nesting.


@read()
def table_alone() -> Any:
    return select(invoices)


@read()
def all_columns_of_an_entity() -> Any:
    return select(Ticket.tenant_id, Ticket.number, Ticket.title)


@read()
def alias_of_a_table() -> Any:
    return select(invoices.alias("i"))


@read()
def alias_of_an_alias() -> Any:
    return select(invoices.alias("i").alias("j"))


@read()
def anonymous_alias_beside_its_table() -> Any:
    other = invoices.alias()
    return select(invoices.c.id, other.c.id).where(invoices.c.total < other.c.total)


@read()
def lightweight_table() -> Any:
    return select(table("invoices", column("id"), column("total")).c.total)


@read()
def lightweight_table_with_tenant_column() -> Any:
    light = table("invoices", column("id"), column("tenant_id"))
    return select(light.c.id, light.c.tenant_id)


@read()
def bare_columns_of_a_select_from() -> Any:
    return select(column("id"), column("total")).select_from(invoices)


@read()
def asterisk() -> Any:
    return select(literal_column("*")).select_from(invoices)


@read()
def cartesian_product() -> Any:
    return select(invoices.c.id, lines.c.position).where(invoices.c.id <= lines.c.invoice_id, lines.c.amount > 3)


@read()
def inner_join() -> Any:
    return ids(Invoice, Customer).join(Invoice.customer)


@read()
def left_join_keeps_rows_without_partner() -> Any:
    return ids(Invoice, Customer).outerjoin(Invoice.customer)


@read()
def left_join_with_nulls_looked_for() -> Any:
    return ids(Customer).outerjoin(Customer.invoices).where(Invoice.id.is_(None))


@read()
def left_join_on_a_condition_with_or() -> Any:
    return ids(Invoice, Customer).outerjoin(
        Customer, or_(Invoice.customer_id == Customer.id, Invoice.total > Customer.id)
    )


@read()
def full_join() -> Any:
    return ids(Invoice, Customer).join(Customer, Invoice.customer_id == Customer.id, full=True)


@read()
def full_join_of_aliases() -> Any:
    left, right = aliased(Invoice), aliased(Customer)
    return ids(left, right).join(right, left.customer_id == right.id, full=True)


@read()
def full_join_with_a_shared_table() -> Any:
    return select(Customer.id, Country.code).join(Country, Customer.country_code == Country.code, full=True)


@read()
def full_join_grouped_by_key() -> Any:
    return (
        select(customers.c.id, func.count(invoices.c.id))
        .select_from(customers.join(invoices, customers.c.id == invoices.c.customer_id, full=True))
        .group_by(customers.c.id)
    )


@read()
def left_join_of_an_inner_join() -> Any:
    inner = customers.join(customer_tags, customers.c.id == customer_tags.c.customer_id)
    return select(invoices.c.id, customers.c.id, customer_tags.c.tag_id).select_from(
        invoices.outerjoin(inner, invoices.c.customer_id == customers.c.id)
    )


@read()
def left_join_of_a_left_join() -> Any:
    inner = customers.outerjoin(customer_tags, customers.c.id == customer_tags.c.customer_id)
    return select(invoices.c.id, customers.c.id, customer_tags.c.tag_id).select_from(
        invoices.outerjoin(inner, invoices.c.customer_id == customers.c.id)
    )


@read()
def left_join_of_a_full_join() -> Any:
    inner = customers.join(customer_tags, customers.c.id == customer_tags.c.customer_id, full=True)
    return select(invoices.c.id, customers.c.id, customer_tags.c.tag_id).select_from(
        invoices.outerjoin(inner, invoices.c.customer_id == customers.c.id)
    )


@read()
def full_join_of_an_inner_and_a_left_join() -> Any:
    left = invoices.join(lines, invoices.c.id == lines.c.invoice_id)
    right = customers.outerjoin(customer_tags, customers.c.id == customer_tags.c.customer_id)
    return select(invoices.c.id, lines.c.position, customers.c.id, customer_tags.c.tag_id).select_from(
        left.join(right, invoices.c.customer_id == customers.c.id, full=True)
    )


@read()
def full_join_of_full_joins() -> Any:
    left = invoices.join(lines, invoices.c.id == lines.c.invoice_id, full=True)
    return select(invoices.c.id, lines.c.amount, customers.c.id).select_from(
        left.join(customers, invoices.c.customer_id == customers.c.id, full=True)
    )


@read()
def join_of_four_tables_with_a_left_join_between() -> Any:
    return (
        select(Customer.id, Invoice.id, Line.amount, Country.name)
        .outerjoin(Customer.invoices)
        .join(Invoice.lines)
        .outerjoin(Customer.country)
    )


@read()
def self_join() -> Any:
    return ids(Customer, other_customer).join(other_customer, Customer.parent_id == other_customer.id)


@read()
def self_outer_join() -> Any:
    return ids(Customer, other_customer).outerjoin(other_customer, Customer.parent_id == other_customer.id)


@read()
def join_on_true() -> Any:
    return ids(Invoice, Customer).join(Customer, true())


@read()
def left_join_on_true() -> Any:
    return ids(Invoice, Customer).outerjoin(Customer, true())


@read()
def join_through_a_secondary_table() -> Any:
    return ids(Customer).add_columns(func.count()).join(Customer.tags).group_by(Customer.id)


@read()
def shared_table() -> Any:
    return select(Country.code, Country.name)


@read()
def shared_writable_table() -> Any:
    return select(User.id, User.email)


@read()
def shared_rows_beside_own() -> Any:
    return select(Template.id, Template.tenant_id, Template.name)


@read()
def shared_rows_on_the_nullable_side() -> Any:
    return ids(Invoice, Template).outerjoin(Template, Template.id == Invoice.id - 100 * Invoice.tenant_id)


@read()
def shared_rows_in_a_full_join() -> Any:
    return ids(Invoice, Template).join(Template, Template.id == Invoice.id - 100 * Invoice.tenant_id, full=True)


@read()
def tenants_table_shows_the_own_row() -> Any:
    return select(Tenant.id, Tenant.slug, Tenant.plan)


@read()
def tenants_table_joined() -> Any:
    return select(Invoice.id, Tenant.slug).join(Tenant, Tenant.id == Invoice.tenant_id)


@read()
def tenants_table_counted() -> Any:
    return select(func.count()).select_from(Tenant)


@read()
def shared_table_left_joined_to_scoped() -> Any:
    return select(Country.code, Customer.id).outerjoin(Country.customers)


# WHERE: what surrounds the criterion.


@read()
def where_with_or() -> Any:
    return ids(Invoice).where(or_(Invoice.total > 0, Invoice.id > 0))


@read()
def where_with_several_criteria() -> Any:
    return ids(Invoice).where(Invoice.total > 5, or_(Invoice.paid, Invoice.id > 0)).where(Invoice.id != 3)


@read()
def where_true() -> Any:
    return ids(Invoice).where(true())


@read()
def where_false() -> Any:
    return ids(Invoice).where(false())


@read()
def where_not() -> Any:
    return ids(Invoice).where(not_(and_(Invoice.paid, Invoice.total > 10)))


@read()
def where_a_boolean_column() -> Any:
    return ids(Invoice).where(Invoice.paid)


@read()
def where_lambda_with_or() -> Any:
    return ids(Invoice).where(lambda: or_(Invoice.total > 0, Invoice.id > 0))


@read()
def where_case_with_or() -> Any:
    return ids(Invoice).where(case((or_(Invoice.paid, true()), 1), else_=0) == 1)


@read()
def where_type_coerced_or() -> Any:
    return ids(Invoice).where(type_coerce(or_(Invoice.total > 0, Invoice.id > 0), Boolean))


@read()
def where_label_of_an_or() -> Any:
    return ids(Invoice).where(or_(Invoice.total > 0, Invoice.id > 0).label("either"))


@read()
def where_custom_operator() -> Any:
    return ids(Invoice).where(Invoice.total.op("=")(11))


@read()
def where_custom_operator_of_low_precedence() -> Any:
    return ids(Invoice).where(Invoice.total.op(">", precedence=-100, is_comparison=True)(0))


@read()
def where_tuple_in() -> Any:
    return ids(Invoice).where(tuple_(Invoice.paid, Invoice.number).in_([(True, "R-2"), (False, "R-3")]))


@read()
def where_in_list() -> Any:
    return ids(Invoice).where(Invoice.number.in_(["R-1", "R-2"]))


@read()
def where_in_empty_list() -> Any:
    return ids(Invoice).where(Invoice.number.in_([]))


@read()
def where_not_in_subquery_with_nulls() -> Any:
    return ids(Customer).where(Customer.id.not_in(select(Invoice.customer_id)))


@read()
def where_parameter_given_in_the_statement() -> Any:
    return ids(Invoice).where(Invoice.total > bindparam("least", 10))


@read()
def where_on_json() -> Any:
    return ids(Invoice).where(Invoice.data["kind"].as_string() == "a")


# Subqueries in every clause.


@read()
def scalar_subquery_correlated() -> Any:
    count = select(func.count(Invoice.id)).where(Invoice.customer_id == Customer.id).scalar_subquery()
    return ids(Customer).add_columns(count)


@read()
def scalar_subquery_not_correlated() -> Any:
    return select(select(func.count(Invoice.id)).scalar_subquery(), select(func.max(Invoice.total)).scalar_subquery())


@read()
def scalar_subquery_in_order_by() -> Any:
    latest = select(func.max(Invoice.total)).where(Invoice.customer_id == Customer.id).scalar_subquery()
    return ids(Customer).order_by(func.coalesce(latest, 0), Customer.id)


@read()
def scalar_subquery_in_limit() -> Any:
    count = select(func.count(Customer.id)).scalar_subquery()
    return ids(Invoice).order_by(Invoice.id).limit(count)


@read()
def scalar_subquery_in_having() -> Any:
    return (
        select(Invoice.customer_id, func.sum(Invoice.total))
        .group_by(Invoice.customer_id)
        .having(func.sum(Invoice.total) > select(func.avg(Invoice.total)).scalar_subquery())
    )


@read()
def scalar_subquery_in_case() -> Any:
    return select(case((exists().where(Invoice.total > 1), literal("some")), else_=literal("none")))


@read()
def exists_correlated() -> Any:
    return ids(Customer).where(exists().where(Invoice.customer_id == Customer.id))


@read()
def not_exists_correlated() -> Any:
    return ids(Customer).where(~exists().where(Invoice.customer_id == Customer.id))


@read()
def exists_select_from() -> Any:
    return select(exists(select(Invoice.id).where(Invoice.total > 20)))


@read()
def any_and_has() -> Any:
    return ids(Customer).where(Customer.invoices.any(Invoice.total > 1), ~Customer.parent.has(Customer.name == "x"))


@read()
def any_through_a_secondary_table() -> Any:
    return ids(Customer).where(Customer.tags.any())


@read()
def contains_null_in_any() -> Any:
    return ids(Customer).where(~Customer.invoices.any())


@read()
def association_proxy() -> Any:
    return ids(Customer).where(Customer.users.any(User.email == "user1@example.org"))


@read()
def in_subquery() -> Any:
    return ids(Invoice).where(Invoice.customer_id.in_(select(Customer.id).where(Customer.country_code == "de")))


@read()
def comparison_with_any_of_a_subquery() -> Any:
    return ids(Invoice).where(Invoice.id.in_(select(Line.invoice_id).where(Line.amount > 100)))


@read()
def derived_table() -> Any:
    inner = select(Invoice.customer_id, func.sum(Invoice.total).label("total")).group_by(Invoice.customer_id).subquery()
    return select(Customer.id, inner.c.total).outerjoin(inner, inner.c.customer_id == Customer.id)


@read()
def derived_table_of_a_derived_table() -> Any:
    inner = select(invoices).subquery()
    return select(func.count()).select_from(select(inner.c.total).where(inner.c.total > 8).subquery())


@read()
def entity_aliased_to_a_subquery() -> Any:
    cheap = aliased(Invoice, select(Invoice).where(Invoice.total < 20).subquery())
    return ids(cheap)


@read()
def entity_aliased_to_a_union() -> Any:
    both = aliased(
        Invoice, union_all(select(Invoice).where(Invoice.paid), select(Invoice).where(~Invoice.paid)).subquery()
    )
    return select(both.id, both.total)


@read()
def correlate_except() -> Any:
    inner = (
        select(func.count(Invoice.id)).where(Invoice.customer_id == Customer.id).correlate_except(Invoice)
    ).scalar_subquery()
    return select(Customer.id, inner)


@read()
def correlate_to_an_outer_alias() -> Any:
    inner = select(Customer.name).where(Customer.id == other_customer.parent_id).correlate(other_customer)
    return select(other_customer.id, inner.scalar_subquery())


@read(only="postgresql")
def lateral_join() -> Any:
    latest = lateral(
        select(Invoice.id, Invoice.total)
        .where(Invoice.customer_id == Customer.id)
        .order_by(Invoice.total.desc(), Invoice.id)
        .limit(1),
        name="latest",
    )
    return select(Customer.id, latest.c.id, latest.c.total).outerjoin(latest, true())


@read(only="postgresql")
def sample_of_a_table() -> Any:
    sample = tablesample(invoices, func.bernoulli(100), name="sample", seed=literal(1))
    return select(sample.c.id)


@read(only="postgresql")
def sample_of_an_entity_in_a_full_join() -> Any:
    sample = aliased(Invoice, tablesample(invoices, 100))
    return ids(sample, Customer).join(Customer, sample.customer_id == Customer.id, full=True)


# CTEs.


@read()
def cte() -> Any:
    big = select(Invoice.id, Invoice.customer_id).where(Invoice.total > 10).cte("big")
    return select(Customer.id, big.c.id).outerjoin(big, big.c.customer_id == Customer.id)


@read(only="postgresql")
def cte_named_like_its_table() -> Any:
    named = select(invoices.c.id, invoices.c.total).where(invoices.c.total > 10).cte("invoices")
    return select(named.c.id, named.c.total)


@read()
def cte_named_like_another_table() -> Any:
    named = select(invoices.c.id).cte("customers")
    return select(named.c.id)


@read()
def cte_aliased_and_used_twice() -> Any:
    own = select(invoices.c.id, invoices.c.total).cte("own")
    other = own.alias("other")
    return select(own.c.id, other.c.id).where(own.c.total < other.c.total)


@read()
def cte_recursive() -> Any:
    roots = select(Customer.id, Customer.parent_id, literal(0).label("depth")).where(Customer.parent_id.is_(None))
    tree = roots.cte("tree", recursive=True)
    child = aliased(Customer)
    tree = tree.union_all(select(child.id, child.parent_id, tree.c.depth + 1).join(tree, child.parent_id == tree.c.id))
    return select(tree.c.id, tree.c.depth)


@read()
def cte_recursive_upwards_through_poisoned_parents() -> Any:
    up = select(Customer.id, Customer.parent_id).where(Customer.parent_id.is_not(None)).cte("up", recursive=True)
    parent = aliased(Customer)
    up = up.union(select(parent.id, parent.parent_id).join(up, parent.id == up.c.parent_id))
    return select(up)


@read()
def cte_nested_in_a_cte() -> Any:
    inner = select(Invoice.id, Invoice.total).cte("inner_one")
    outer = select(inner.c.total).where(inner.c.total > 8).cte("outer_one")
    return select(func.sum(outer.c.total))


@read()
def cte_nesting() -> Any:
    inner = select(Invoice.id).cte("nested", nesting=True)
    return select(select(func.count(inner.c.id)).scalar_subquery(), select(func.count(Customer.id)).scalar_subquery())


@read()
def cte_used_in_a_subquery_only() -> Any:
    own = select(Invoice.customer_id).cte("own")
    return ids(Customer).where(Customer.id.in_(select(own.c.customer_id)))


@read()
def cte_added_without_being_used() -> Any:
    return ids(Invoice).add_cte(select(Customer.id).cte("unused"))


@read(only="postgresql")
def cte_materialized() -> Any:
    return select(select(Invoice.id).cte("kept").prefix_with("MATERIALIZED").c.id)


# Set operations.


@read()
def union_of_two_tables() -> Any:
    return union(select(Invoice.id), select(Customer.id))


@read(ordered=True)
def union_all_with_order_and_limit() -> Any:
    both = union_all(select(Invoice.id.label("n")), select(Customer.id.label("n")))
    return both.order_by("n").limit(5)


@read()
def intersection() -> Any:
    return intersect(select(Invoice.customer_id), select(Customer.id))


@read()
def difference() -> Any:
    return select(Invoice.customer_id).except_(select(Customer.id))


@read()
def union_in_a_derived_table() -> Any:
    both = union_all(select(Invoice.total.label("n")), select(Line.amount.label("n"))).subquery()
    return select(func.count(), func.sum(both.c.n))


@read()
def union_of_a_union() -> Any:
    return union(select(union(select(Invoice.id), select(Customer.id)).subquery().c.id), select(Template.id))


@read()
def union_of_limited_selects() -> Any:
    least = select(Invoice.id).order_by(Invoice.id).limit(2).subquery()
    most = select(Invoice.id).order_by(Invoice.id.desc()).limit(2).subquery()
    return union_all(select(least.c.id), select(most.c.id))


# Grouping, windows, ordering, limits.


@read()
def count_all() -> Any:
    return select(func.count()).select_from(Invoice)


@read()
def count_distinct() -> Any:
    return select(func.count(distinct(Invoice.customer_id)))


@read()
def group_by_primary_key_with_other_columns() -> Any:
    return (
        select(customers.c.id, customers.c.name, func.count(invoices.c.id))
        .select_from(customers.outerjoin(invoices, invoices.c.customer_id == customers.c.id))
        .group_by(customers.c.id, customers.c.name)
    )


@read(ordered=True)
def group_by_and_order_by_label() -> Any:
    total = func.sum(Invoice.total).label("total")
    return select(Invoice.customer_id, total).group_by(Invoice.customer_id).order_by(total.desc(), Invoice.customer_id)


@read(only="postgresql")
def group_by_rollup_and_grouping_sets() -> Any:
    return select(Invoice.paid, Invoice.customer_id, func.count()).group_by(
        func.rollup(Invoice.paid, Invoice.customer_id)
    )


@read()
def aggregate_with_filter() -> Any:
    return select(func.count(Invoice.id).filter(Invoice.paid), func.sum(Invoice.total).filter(~Invoice.paid))


@read(ordered=True)
def window_functions() -> Any:
    return select(
        Invoice.id,
        func.row_number().over(order_by=Invoice.total),
        func.rank().over(partition_by=Invoice.paid, order_by=Invoice.total.desc()),
        func.sum(Invoice.total).over(order_by=Invoice.id, rows=(-1, 1)),
        func.lag(Invoice.total).over(order_by=Invoice.id),
    ).order_by(Invoice.id)


@read(only="postgresql")
def ordered_set_aggregate() -> Any:
    return select(within_group(func.percentile_cont(0.5), Invoice.total))


@read(only="postgresql")
def distinct_on() -> Any:
    statement = select(Invoice.customer_id, Invoice.id).order_by(Invoice.customer_id, Invoice.id)
    if SQLALCHEMY_21:
        return statement.ext(postgresql.distinct_on(Invoice.customer_id))
    return statement.distinct(Invoice.customer_id)


@read()
def distinct_rows() -> Any:
    return select(Invoice.paid).distinct()


@read(ordered=True)
def order_limit_offset() -> Any:
    return ids(Invoice).order_by(Invoice.total.desc()).limit(3).offset(1)


@read(only="postgresql", ordered=True)
def fetch_first_with_ties() -> Any:
    return ids(Invoice).order_by(Invoice.id).fetch(2, with_ties=True)


@read(only="postgresql")
def for_update_of_an_alias() -> Any:
    alias = aliased(Invoice)
    return ids(alias).join(Customer, alias.customer_id == Customer.id).with_for_update(of=alias, skip_locked=True)


# Expressions and other sources.


@read()
def extract_and_cast() -> Any:
    return select(extract("year", Invoice.issued), cast(Invoice.total, String))


@read()
def nulls_and_literals() -> Any:
    return select(null(), true(), literal("x"), literal_column("1"), literal_column("'a'")).select_from(Invoice)


@read()
def no_source_at_all() -> Any:
    return select(literal(1), func.coalesce(None, 2))


@read()
def function_calls() -> Any:
    return select(func.lower(Customer.name), func.coalesce(Customer.country_code, "??"), func.length(Customer.name))


@read()
def string_concatenation() -> Any:
    return select(Customer.name + "!" + func.upper(Customer.name))


@read()
def hybrid_attribute() -> Any:
    return select(Customer.shout).where(Customer.shout == "CUSTOMER 1")


@read()
def column_whose_key_differs_from_its_name() -> Any:
    return select(Customer.remark)


@read(only="postgresql")
def values_as_a_source() -> Any:
    wanted = values(column("number", String), column("weight", Integer), name="wanted").data([("R-1", 1), ("R-2", 5)])
    return select(Invoice.id, wanted.c.weight).join(wanted, wanted.c.number == Invoice.number)


@read(only="sqlite")
def table_valued_function_of_a_column_on_sqlite() -> Any:
    each = func.json_each(Invoice.data, "$.items").table_valued("value", name="each")
    return select(Invoice.id, each.c.value).select_from(Invoice).join(each, true())


@read(only="postgresql")
def table_valued_function_of_a_column_on_postgresql() -> Any:
    each = func.json_array_elements_text(Invoice.data["items"]).table_valued("value", name="each")
    return select(Invoice.id, each.c.value).select_from(Invoice).join(each, true())


@read(only="postgresql")
def set_returning_function() -> Any:
    return select(func.generate_series(1, select(func.count(Invoice.id)).scalar_subquery()))


@read(only="postgresql")
def array_of_a_subquery() -> Any:
    return select(postgresql.array([Invoice.id, select(func.max(Invoice.total)).scalar_subquery()]))


@read(only="postgresql")
def array_aggregate_with_order() -> Any:
    return select(func.array_agg(postgresql.aggregate_order_by(Invoice.id, Invoice.total.desc(), Invoice.id)))


@read(only="postgresql")
def whole_row() -> Any:
    return select(func.row_to_json(tickets.table_valued()))


@read()
def textual_labels_in_order_by() -> Any:
    return select(Invoice.id.label("n")).order_by("n", text("1"))


@read()
def composite_key() -> Any:
    return select(Ticket.title, Comment.body).join(Ticket.comments)


@read()
def composite_key_compared_in_part() -> Any:
    return select(Ticket.title, Comment.body).join(Comment, Comment.ticket_number == Ticket.number)


@read()
def statement_made_by_lambdas() -> Any:
    statement = lambda_stmt(lambda: select(Invoice.id))
    statement += lambda s: s.where(or_(Invoice.total > 3, Invoice.id > 0))
    return statement


@read()
def selects_from_a_select_with_the_same_table_outside() -> Any:
    inner = select(func.max(Invoice.total).label("most")).subquery()
    return ids(Invoice).where(Invoice.total == inner.c.most)
