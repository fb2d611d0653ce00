"""Queries that nobody thought of: what is let through never shows a canary, on a database full of them."""

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.analysis.tables import BANK_COLUMNS, CUSTOM, SHOP_COLUMNS, custom, direct, tables

from modelyard.analysis.check import check
from modelyard.analysis.model import Refused

CANARY = "canary"
DISALLOWED = {"name", "email"}

names = st.sampled_from(["id", "age", "balance", "name", "branch", "city", "spent", "email", "x"])
qualifiers = st.sampled_from(["", "", "bank.", "shop.", "a.", "b.", "c."])
columns = st.builds("{}{}".format, qualifiers, names)
leaves = st.one_of(columns, st.sampled_from(["1", "'x'", "NULL", "count(*)"]))


def _expressions(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("({} || {})".format, inner, inner),
        st.builds("coalesce({}, {})".format, inner, inner),
        st.builds("CASE WHEN {} = {} THEN {} ELSE {} END".format, inner, inner, inner, inner),
        st.builds("max(CAST({} AS VARCHAR))".format, inner),
        st.builds("string_agg(CAST({} AS VARCHAR), ',' ORDER BY {})".format, inner, inner),
        st.builds("first_value({}) OVER (ORDER BY {})".format, inner, inner),
        st.builds("lower(CAST({} AS VARCHAR))".format, inner),
        st.builds("(SELECT max({}) FROM bank b WHERE b.id = {})".format, inner, inner),
        st.builds("(SELECT {} LIMIT 1)".format, inner),
    )


expressions = st.recursive(leaves, _expressions, max_leaves=4)
projections = st.lists(
    st.one_of(
        expressions,
        st.builds("{} AS {}".format, expressions, names),
        st.sampled_from(["*", "a.*", "b.*", "* EXCLUDE (name)"]),
    ),
    min_size=1,
    max_size=3,
).map(", ".join)


def _sources(query: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.one_of(
        st.sampled_from(["bank", "shop", "bank a", "shop b", "bank b", "w", "w c", "shop bank"]),
        st.builds("({}) {}".format, query, st.sampled_from(["a", "b", "c", "c(x, y)", "bank"])),
    )
    joins = st.sampled_from(["JOIN", "LEFT JOIN", "FULL JOIN", "SEMI JOIN"])
    ends = st.one_of(st.builds("ON {} = {}".format, columns, columns), st.builds("USING ({})".format, names))
    return st.one_of(
        one, one, st.builds("{} {} {} {}".format, one, joins, one, ends), st.builds("{}, {}".format, one, one)
    )


def _selects(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    filters = st.one_of(st.just(""), st.builds(" WHERE {} = {}".format, expressions, expressions))
    orders = st.one_of(st.just(""), st.builds(" ORDER BY {}".format, names))
    plain = st.builds("SELECT {} FROM {}{}{}".format, projections, _sources(inner), filters, orders)
    return st.one_of(
        plain,
        st.builds("WITH w AS ({}) {}".format, inner, plain),
        st.builds("WITH w(x) AS ({}), bank AS ({}) {}".format, inner, inner, plain),
        st.builds("{} {} {}".format, inner, st.sampled_from(["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]), inner),
    )


queries = st.recursive(
    st.sampled_from(
        ["SELECT * FROM bank", "SELECT name FROM bank", "SELECT id, branch FROM bank", "SELECT email x FROM shop"]
    ),
    _selects,
    max_leaves=3,
)


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for table, types in (("bank", BANK_COLUMNS), ("shop", SHOP_COLUMNS)):
            everything = {**types, "password": "VARCHAR"}
            connection.execute(
                f"CREATE TABLE {table}({', '.join(f'{name} {kind}' for name, kind in everything.items())})"
            )
            for row in range(4):
                secret = f"{CANARY}-{table}-{row}"
                values = [secret if name in (*DISALLOWED, "password") else row for name in everything]
                connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", values)
        yield connection


@pytest.mark.slow
@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(queries)
def test_what_is_let_through_shows_no_value_of_a_disallowed_column(
    database: duckdb.DuckDBPyConnection, sql: str
) -> None:
    try:
        found = check(direct(sql), CUSTOM)
    except Refused:
        return
    try:
        rows = database.execute(f"SELECT * FROM ({found.sql}) LIMIT 1000").fetchall()
    except duckdb.Error:
        return
    assert CANARY not in str(rows), found.sql
    assert len(database.description) == len(found.columns)


def test_the_canaries_would_be_seen(database: duckdb.DuckDBPyConnection) -> None:
    found = check(direct("SELECT id, name FROM bank"), tables(custom(), custom()))
    assert CANARY in str(database.execute(found.sql).fetchall())
