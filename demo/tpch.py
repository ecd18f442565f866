"""
The 22 queries of TPC-H, as SQL text, written as if a distributor were alone in the database: no tenant filter anywhere.

The texts are those of the TPC-H specification: its joins, its order, and its parameters but where a database this small
would have no answer. They join by key, as everybody does; as both distributors have the same keys, each of the queries
mixes their rows wherever nothing scopes it. Units are those of demo/models.py, so that what a line earns,
``l_extendedprice * (100 - l_discount)``, is in hundredths of a cent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from textwrap import dedent
from typing import Any

from sqlalchemy import TextClause, text

__all__ = ["TPCH", "TextQuery"]


@dataclass(frozen=True)
class TextQuery:
    """
    A query that is written as SQL text.

    Attributes:
        number: Its number in TPC-H, from 1 to 22.
        title: Its title there.
        postgresql: Its text for PostgreSQL.
        sqlite: Its text for SQLite.
        ordered: Whether its ORDER BY leaves no choice, so that the order of the answer counts.
        parameters: The values of its ``:name`` parameters.
    """

    number: int
    title: str
    postgresql: str
    sqlite: str
    ordered: bool
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def statement(self, database: str) -> TextClause:
        """Return what to execute on a database, by the name of its dialect."""
        return text({"postgresql": self.postgresql, "sqlite": self.sqlite}[database]).bindparams(**self.parameters)


TPCH: list[TextQuery] = []


def query(
    number: int,
    title: str,
    sql: str,
    *,
    on_sqlite: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
    ordered: bool = True,
) -> None:
    """List a query, whose text is for PostgreSQL; *on_sqlite* says what SQLite has in the place of which words."""
    postgresql = sqlite = dedent(sql).strip()
    for words, others in (on_sqlite or {}).items():
        if words not in sqlite:
            raise ValueError(f"query {number} does not say {words!r}")
        sqlite = sqlite.replace(words, others)
    TPCH.append(TextQuery(number, title, postgresql, sqlite, ordered, parameters or {}))


query(
    1,
    "Pricing Summary Report",
    """
    select
        l_returnflag,
        l_linestatus,
        sum(l_quantity) as sum_qty,
        sum(l_extendedprice) as sum_base_price,
        sum(l_extendedprice * (100 - l_discount)) as sum_disc_price,
        sum(l_extendedprice * (100 - l_discount) * (100 + l_tax)) as sum_charge,
        avg(l_quantity) as avg_qty,
        avg(l_extendedprice) as avg_price,
        avg(l_discount) as avg_disc,
        count(*) as count_order
    from lineitem
    where l_shipdate <= date '1998-12-01' - interval '90' day
    group by l_returnflag, l_linestatus
    order by l_returnflag, l_linestatus
    """,
    on_sqlite={"date '1998-12-01' - interval '90' day": "date('1998-12-01', '-90 day')"},
)

query(
    2,
    "Minimum Cost Supplier",
    """
    select s_acctbal, s_name, n_name, p_partkey, p_mfgr, s_address, s_phone, s_comment
    from part, supplier, partsupp, nation, region
    where p_partkey = ps_partkey
        and s_suppkey = ps_suppkey
        and p_size = :size
        and p_type like :type
        and s_nationkey = n_nationkey
        and n_regionkey = r_regionkey
        and r_name = :region
        and ps_supplycost = (
            select min(ps_supplycost)
            from partsupp, supplier, nation, region
            where p_partkey = ps_partkey
                and s_suppkey = ps_suppkey
                and s_nationkey = n_nationkey
                and n_regionkey = r_regionkey
                and r_name = :region
        )
    order by s_acctbal desc, n_name, s_name, p_partkey
    limit 100
    """,
    parameters={"size": 14, "type": "%BRASS", "region": "AMERICA"},
)

query(
    3,
    "Shipping Priority",
    """
    select l_orderkey, sum(l_extendedprice * (100 - l_discount)) as revenue, o_orderdate, o_shippriority
    from customer, orders, lineitem
    where c_mktsegment = :segment
        and c_custkey = o_custkey
        and l_orderkey = o_orderkey
        and o_orderdate < :date
        and l_shipdate > :date
    group by l_orderkey, o_orderdate, o_shippriority
    order by revenue desc, o_orderdate
    limit 10
    """,
    parameters={"segment": "BUILDING", "date": date(1995, 3, 15)},
    ordered=False,
)

query(
    4,
    "Order Priority Checking",
    """
    select o_orderpriority, count(*) as order_count
    from orders
    where o_orderdate >= :date
        and o_orderdate < :date + interval '3' month
        and exists (
            select *
            from lineitem
            where l_orderkey = o_orderkey
                and l_commitdate < l_receiptdate
        )
    group by o_orderpriority
    order by o_orderpriority
    """,
    on_sqlite={":date + interval '3' month": "date(:date, '+3 month')"},
    parameters={"date": date(1993, 7, 1)},
)

query(
    5,
    "Local Supplier Volume",
    """
    select n_name, sum(l_extendedprice * (100 - l_discount)) as revenue
    from customer, orders, lineitem, supplier, nation, region
    where c_custkey = o_custkey
        and l_orderkey = o_orderkey
        and l_suppkey = s_suppkey
        and c_nationkey = s_nationkey
        and s_nationkey = n_nationkey
        and n_regionkey = r_regionkey
        and r_name = 'AFRICA'
        and o_orderdate >= date '1994-01-01'
        and o_orderdate < date '1994-01-01' + interval '1' year
    group by n_name
    order by revenue desc
    """,
    on_sqlite={
        "date '1994-01-01' + interval '1' year": "date('1994-01-01', '+1 year')",
        "date '1994-01-01'": "'1994-01-01'",
    },
    ordered=False,
)

query(
    6,
    "Forecasting Revenue Change",
    """
    select sum(l_extendedprice * l_discount) as revenue
    from lineitem
    where l_shipdate >= date '1994-01-01'
        and l_shipdate < date '1994-01-01' + interval '1' year
        and l_discount between 6 - 1 and 6 + 1
        and l_quantity < 24
    """,
    on_sqlite={
        "date '1994-01-01' + interval '1' year": "date('1994-01-01', '+1 year')",
        "date '1994-01-01'": "'1994-01-01'",
    },
)

query(
    7,
    "Volume Shipping",
    """
    select supp_nation, cust_nation, l_year, sum(volume) as revenue
    from (
        select
            n1.n_name as supp_nation,
            n2.n_name as cust_nation,
            extract(year from l_shipdate) as l_year,
            l_extendedprice * (100 - l_discount) as volume
        from supplier, lineitem, orders, customer, nation n1, nation n2
        where s_suppkey = l_suppkey
            and o_orderkey = l_orderkey
            and c_custkey = o_custkey
            and s_nationkey = n1.n_nationkey
            and c_nationkey = n2.n_nationkey
            and (
                (n1.n_name = 'ARGENTINA' and n2.n_name = 'PERU')
                or (n1.n_name = 'PERU' and n2.n_name = 'ARGENTINA')
            )
            and l_shipdate between date '1995-01-01' and date '1996-12-31'
    ) as shipping
    group by supp_nation, cust_nation, l_year
    order by supp_nation, cust_nation, l_year
    """,
    on_sqlite={
        "extract(year from l_shipdate)": "strftime('%Y', l_shipdate)",
        "date '1995-01-01' and date '1996-12-31'": "'1995-01-01' and '1996-12-31'",
    },
)

query(
    8,
    "National Market Share",
    """
    select o_year, sum(case when nation = 'ETHIOPIA' then volume else 0 end) / sum(volume) as mkt_share
    from (
        select
            extract(year from o_orderdate) as o_year,
            l_extendedprice * (100 - l_discount) as volume,
            n2.n_name as nation
        from part, supplier, lineitem, orders, customer, nation n1, nation n2, region
        where p_partkey = l_partkey
            and s_suppkey = l_suppkey
            and l_orderkey = o_orderkey
            and o_custkey = c_custkey
            and c_nationkey = n1.n_nationkey
            and n1.n_regionkey = r_regionkey
            and r_name = 'AFRICA'
            and s_nationkey = n2.n_nationkey
            and o_orderdate between date '1995-01-01' and date '1996-12-31'
            and p_type = 'SMALL BURNISHED TIN'
    ) as all_nations
    group by o_year
    order by o_year
    """,
    on_sqlite={
        "then volume else 0 end": "then volume else 0.0 end",
        "extract(year from o_orderdate)": "strftime('%Y', o_orderdate)",
        "date '1995-01-01' and date '1996-12-31'": "'1995-01-01' and '1996-12-31'",
    },
)

query(
    9,
    "Product Type Profit Measure",
    """
    select nation, o_year, sum(amount) as sum_profit
    from (
        select
            n_name as nation,
            extract(year from o_orderdate) as o_year,
            l_extendedprice * (100 - l_discount) - 100 * ps_supplycost * l_quantity as amount
        from part, supplier, lineitem, partsupp, orders, nation
        where s_suppkey = l_suppkey
            and ps_suppkey = l_suppkey
            and ps_partkey = l_partkey
            and p_partkey = l_partkey
            and o_orderkey = l_orderkey
            and s_nationkey = n_nationkey
            and p_name like '%green%'
    ) as profit
    group by nation, o_year
    order by nation, o_year desc
    """,
    on_sqlite={"extract(year from o_orderdate)": "strftime('%Y', o_orderdate)"},
)

query(
    10,
    "Returned Item Reporting",
    """
    select
        c_custkey,
        c_name,
        sum(l_extendedprice * (100 - l_discount)) as revenue,
        c_acctbal,
        n_name,
        c_address,
        c_phone,
        c_comment
    from customer, orders, lineitem, nation
    where c_custkey = o_custkey
        and l_orderkey = o_orderkey
        and o_orderdate >= date '1993-10-01'
        and o_orderdate < date '1993-10-01' + interval '3' month
        and l_returnflag = 'R'
        and c_nationkey = n_nationkey
    group by c_custkey, c_name, c_acctbal, c_phone, n_name, c_address, c_comment
    order by revenue desc
    limit 20
    """,
    on_sqlite={
        "date '1993-10-01' + interval '3' month": "date('1993-10-01', '+3 month')",
        "date '1993-10-01'": "'1993-10-01'",
    },
    ordered=False,
)

query(
    11,
    "Important Stock Identification",
    """
    select ps_partkey, sum(ps_supplycost * ps_availqty) as value
    from partsupp, supplier, nation
    where ps_suppkey = s_suppkey
        and s_nationkey = n_nationkey
        and n_name = :nation
    group by ps_partkey
    having sum(ps_supplycost * ps_availqty) > (
        select sum(ps_supplycost * ps_availqty) * :fraction
        from partsupp, supplier, nation
        where ps_suppkey = s_suppkey
            and s_nationkey = n_nationkey
            and n_name = :nation
    )
    order by value desc
    """,
    parameters={"nation": "PERU", "fraction": 0.005},
    ordered=False,
)

query(
    12,
    "Shipping Modes and Order Priority",
    """
    select
        l_shipmode,
        sum(case when o_orderpriority = '1-URGENT' or o_orderpriority = '2-HIGH' then 1 else 0 end) as high_line_count,
        sum(case when o_orderpriority <> '1-URGENT' and o_orderpriority <> '2-HIGH' then 1 else 0 end) as low_line_count
    from orders, lineitem
    where o_orderkey = l_orderkey
        and l_shipmode in ('MAIL', 'SHIP')
        and l_commitdate < l_receiptdate
        and l_shipdate < l_commitdate
        and l_receiptdate >= date '1994-01-01'
        and l_receiptdate < date '1994-01-01' + interval '1' year
    group by l_shipmode
    order by l_shipmode
    """,
    on_sqlite={
        "date '1994-01-01' + interval '1' year": "date('1994-01-01', '+1 year')",
        "date '1994-01-01'": "'1994-01-01'",
    },
)

query(
    13,
    "Customer Distribution",
    """
    select c_count, count(*) as custdist
    from (
        select c_custkey, count(o_orderkey) as c_count
        from customer left outer join orders on c_custkey = o_custkey and o_comment not like '%special%requests%'
        group by c_custkey
    ) as c_orders
    group by c_count
    order by custdist desc, c_count desc
    """,
)

query(
    14,
    "Promotion Effect",
    """
    select
        100.00 * sum(case when p_type like 'PROMO%' then l_extendedprice * (100 - l_discount) else 0 end)
            / sum(l_extendedprice * (100 - l_discount)) as promo_revenue
    from lineitem, part
    where l_partkey = p_partkey
        and l_shipdate >= date '1995-09-01'
        and l_shipdate < date '1995-09-01' + interval '1' month
    """,
    on_sqlite={
        "date '1995-09-01' + interval '1' month": "date('1995-09-01', '+1 month')",
        "date '1995-09-01'": "'1995-09-01'",
    },
)

query(
    15,
    "Top Supplier",
    """
    with revenue as (
        select l_suppkey as supplier_no, sum(l_extendedprice * (100 - l_discount)) as total_revenue
        from lineitem
        where l_shipdate >= date '1996-01-01'
            and l_shipdate < date '1996-01-01' + interval '3' month
        group by l_suppkey
    )
    select s_suppkey, s_name, s_address, s_phone, total_revenue
    from supplier, revenue
    where s_suppkey = supplier_no
        and total_revenue = (select max(total_revenue) from revenue)
    order by s_suppkey
    """,
    on_sqlite={
        "date '1996-01-01' + interval '3' month": "date('1996-01-01', '+3 month')",
        "date '1996-01-01'": "'1996-01-01'",
    },
)

query(
    16,
    "Parts/Supplier Relationship",
    """
    select p_brand, p_type, p_size, count(distinct ps_suppkey) as supplier_cnt
    from partsupp, part
    where p_partkey = ps_partkey
        and p_brand <> 'Brand#45'
        and p_type not like 'MEDIUM POLISHED%'
        and p_size in (49, 14, 23, 45, 19, 3, 36, 9)
        and ps_suppkey not in (
            select s_suppkey
            from supplier
            where s_comment like '%Customer%Complaints%'
        )
    group by p_brand, p_type, p_size
    order by supplier_cnt desc, p_brand, p_type, p_size
    """,
)

query(
    17,
    "Small-Quantity-Order Revenue",
    """
    select sum(l_extendedprice) / 7.0 as avg_yearly
    from lineitem, part
    where p_partkey = l_partkey
        and p_brand = :brand
        and p_container = :container
        and l_quantity < (
            select 0.2 * avg(l_quantity)
            from lineitem
            where l_partkey = p_partkey
        )
    """,
    parameters={"brand": "Brand#13", "container": "JUMBO BOX"},
)

query(
    18,
    "Large Volume Customer",
    """
    select c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice, sum(l_quantity)
    from customer, orders, lineitem
    where o_orderkey in (
            select l_orderkey
            from lineitem
            group by l_orderkey
            having sum(l_quantity) > :quantity
        )
        and c_custkey = o_custkey
        and o_orderkey = l_orderkey
    group by c_name, c_custkey, o_orderkey, o_orderdate, o_totalprice
    order by o_totalprice desc, o_orderdate
    limit 100
    """,
    parameters={"quantity": 250},
    ordered=False,
)

query(
    19,
    "Discounted Revenue",
    """
    select sum(l_extendedprice * (100 - l_discount)) as revenue
    from lineitem, part
    where (
            p_partkey = l_partkey
            and p_brand = 'Brand#32'
            and p_container in ('SM CASE', 'SM BOX', 'SM PACK', 'SM PKG')
            and l_quantity >= 1 and l_quantity <= 1 + 20
            and p_size between 1 and 15
            and l_shipmode in ('AIR', 'REG AIR')
            and l_shipinstruct = 'DELIVER IN PERSON'
        )
        or (
            p_partkey = l_partkey
            and p_brand = 'Brand#14'
            and p_container in ('MED BAG', 'MED BOX', 'MED PKG', 'MED PACK')
            and l_quantity >= 10 and l_quantity <= 10 + 20
            and p_size between 1 and 25
            and l_shipmode in ('AIR', 'REG AIR')
            and l_shipinstruct = 'DELIVER IN PERSON'
        )
        or (
            p_partkey = l_partkey
            and p_brand = 'Brand#52'
            and p_container in ('LG CASE', 'LG BOX', 'LG PACK', 'LG PKG')
            and l_quantity >= 20 and l_quantity <= 20 + 20
            and p_size between 1 and 50
            and l_shipmode in ('AIR', 'REG AIR')
            and l_shipinstruct = 'DELIVER IN PERSON'
        )
    """,
)

query(
    20,
    "Potential Part Promotion",
    """
    select s_name, s_address
    from supplier, nation
    where s_suppkey in (
            select ps_suppkey
            from partsupp
            where ps_partkey in (
                    select p_partkey
                    from part
                    where p_name like :colour
                )
                and ps_availqty > (
                    select 0.5 * sum(l_quantity)
                    from lineitem
                    where l_partkey = ps_partkey
                        and l_suppkey = ps_suppkey
                        and l_shipdate >= date '1994-01-01'
                        and l_shipdate < date '1994-01-01' + interval '1' year
                )
        )
        and s_nationkey = n_nationkey
        and n_name = :nation
    order by s_name
    """,
    on_sqlite={
        "date '1994-01-01' + interval '1' year": "date('1994-01-01', '+1 year')",
        "date '1994-01-01'": "'1994-01-01'",
    },
    parameters={"colour": "bisque%", "nation": "PERU"},
)

query(
    21,
    "Suppliers Who Kept Orders Waiting",
    """
    select s_name, count(*) as numwait
    from supplier, lineitem l1, orders, nation
    where s_suppkey = l1.l_suppkey
        and o_orderkey = l1.l_orderkey
        and o_orderstatus = 'F'
        and l1.l_receiptdate > l1.l_commitdate
        and exists (
            select *
            from lineitem l2
            where l2.l_orderkey = l1.l_orderkey
                and l2.l_suppkey <> l1.l_suppkey
        )
        and not exists (
            select *
            from lineitem l3
            where l3.l_orderkey = l1.l_orderkey
                and l3.l_suppkey <> l1.l_suppkey
                and l3.l_receiptdate > l3.l_commitdate
        )
        and s_nationkey = n_nationkey
        and n_name = :nation
    group by s_name
    order by numwait desc, s_name
    limit 100
    """,
    parameters={"nation": "PERU"},
)

query(
    22,
    "Global Sales Opportunity",
    """
    select cntrycode, count(*) as numcust, sum(c_acctbal) as totacctbal
    from (
        select substring(c_phone from 1 for 2) as cntrycode, c_acctbal
        from customer
        where substring(c_phone from 1 for 2) in ('13', '31', '23', '29', '30', '18', '17')
            and c_acctbal > (
                select avg(c_acctbal)
                from customer
                where c_acctbal > 0.00
                    and substring(c_phone from 1 for 2) in ('13', '31', '23', '29', '30', '18', '17')
            )
            and not exists (
                select *
                from orders
                where o_custkey = c_custkey
            )
    ) as custsale
    group by cntrycode
    order by cntrycode
    """,
    on_sqlite={"substring(c_phone from 1 for 2)": "substr(c_phone, 1, 2)"},
)
