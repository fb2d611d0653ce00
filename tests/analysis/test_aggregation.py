import duckdb
import pytest
from tests.analysis.tables import AGGREGATION, allowed, grouped, refusal, tables

JOINED = "FROM bank b JOIN shop s ON b.id = s.id"
LET_THROUGH = [
    f"SELECT city, SUM(spent) AS total, COUNT(DISTINCT s.id) {JOINED} GROUP BY city",
    f"SELECT SUM(spent) / AVG(spent) * 2 AS x {JOINED} WHERE age > 30 AND city LIKE 'U%'",
    f"SELECT LOWER(city) AS c, ROUND(AVG(spent)) {JOINED} GROUP BY 1 HAVING AVG(spent) > 3 ORDER BY 2 DESC LIMIT 5",
    "SELECT age, SUM(balance) FROM bank GROUP BY age ORDER BY age",
    "SELECT CAST(age AS VARCHAR) AS a, SUM(balance) FROM bank WHERE CAST(age AS INTEGER) = 5 GROUP BY 1",
]
REFUSED = [
    ("SELECT SUM(spent) FROM shop", "JOIN_REQUIRED"),
    ("SELECT SUM(a.spent) FROM shop a JOIN shop b ON a.id = b.id", "JOIN_REQUIRED"),
    ("SELECT age FROM bank", "AGGREGATE_REQUIRED"),
    ("SELECT age FROM bank GROUP BY age", "AGGREGATE_REQUIRED"),
    ("SELECT age FROM bank GROUP BY age HAVING SUM(balance) > 5", "AGGREGATE_REQUIRED"),
    ("SELECT COUNT(*) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT COUNT(id) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT SUM(id) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT SUM(DISTINCT balance) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT SUM(balance * 2) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT SUM(CASE WHEN age = 3 THEN balance END) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT COUNT(DISTINCT id, age) FROM bank", "AGGREGATE_NOT_ALLOWED"),
    ("SELECT MAX(balance) FROM bank", "FUNCTION_NOT_ALLOWED"),
    ("SELECT STRING_AGG(name, ',') FROM bank", "FUNCTION_NOT_ALLOWED"),
    ("SELECT SUM(balance) FILTER (WHERE age = 3) FROM bank", "FUNCTION_NOT_ALLOWED"),
    ("SELECT SUM(balance) OVER (PARTITION BY age) FROM bank", "FUNCTION_NOT_ALLOWED"),
    ("SELECT SUM(balance), name FROM bank GROUP BY name", "OUTPUT_COLUMN_NOT_ALLOWED"),
    ("SELECT SUM(balance), id FROM bank GROUP BY id", "OUTPUT_COLUMN_NOT_ALLOWED"),
    ("SELECT SUM(balance) FROM bank GROUP BY id", "COLUMN_NOT_ALLOWED"),
    ("SELECT SUM(balance) FROM bank WHERE id = 5", "COLUMN_NOT_ALLOWED"),
    ("SELECT SUM(balance) FROM bank WHERE balance > 5", "COLUMN_NOT_ALLOWED"),
    ("SELECT age, SUM(balance) FROM bank GROUP BY age ORDER BY name", "COLUMN_NOT_ALLOWED"),
    ("SELECT age, SUM(balance) FROM bank GROUP BY age HAVING MAX(balance) > 5", "FUNCTION_NOT_ALLOWED"),
    ("SELECT UPPER(age) AS a, SUM(balance) FROM bank GROUP BY 1", "FUNCTION_NOT_ALLOWED"),
    ("SELECT CASE age WHEN 3 THEN 1 END AS a, SUM(balance) FROM bank GROUP BY 1", "FUNCTION_NOT_ALLOWED"),
    ("SELECT rand() AS a, SUM(balance) FROM bank GROUP BY 1", "FUNCTION_NOT_ALLOWED"),
    ("SELECT SUM(balance) FROM bank WHERE age IN (SELECT age FROM bank)", "NOT_UNDERSTOOD"),
    ("SELECT SUM(x.balance) FROM (SELECT balance FROM bank) x", "NOT_UNDERSTOOD"),
    ("WITH x AS (SELECT SUM(balance) AS s FROM bank) SELECT s FROM x", "NOT_UNDERSTOOD"),
    ("SELECT SUM(balance) FROM bank UNION ALL SELECT SUM(balance) FROM bank", "NOT_UNDERSTOOD"),
    ("SELECT SUM(balance) FROM bank QUALIFY SUM(balance) > 1", "NOT_UNDERSTOOD"),
    ("SELECT SUM(balance) FROM bank GROUP BY ROLLUP (age)", "NOT_UNDERSTOOD"),
    ("SELECT age, SUM(balance) FROM bank GROUP BY age OFFSET 3", "NOT_UNDERSTOOD"),
    ("SELECT SUM(spent) FROM bank b LEFT JOIN shop s ON b.id = s.id", "JOIN_NOT_ALLOWED"),
    ("SELECT SUM(spent) FROM bank b, shop s", "JOIN_NOT_ALLOWED"),
    ("SELECT SUM(spent) FROM bank b JOIN shop s ON b.age = s.spent", "JOIN_COLUMN_NOT_ALLOWED"),
]


@pytest.mark.parametrize("sql", LET_THROUGH)
def test_lets_aggregates_of_groups_through(sql: str) -> None:
    assert allowed(sql, AGGREGATION).rules


@pytest.mark.parametrize(("sql", "code"), REFUSED)
def test_refuses_all_else(sql: str, code: str) -> None:
    assert refusal(sql, AGGREGATION).code == code


def test_the_strictest_threshold_of_all_tables_holds() -> None:
    over = tables(
        grouped("age"),
        grouped("city", outputConstraints=[{"columnName": "email", "minimum": 9, "type": "COUNT_DISTINCT"}]),
    )
    found = allowed(f"SELECT SUM(spent) {JOINED} HAVING SUM(spent) > 1 OR 1 = 1", over)
    assert found.sql.endswith(
        'HAVING ((SUM("_3"."spent") > 1 OR 1 = 1) AND COUNT(DISTINCT "_2"."id") >= 3) '
        'AND COUNT(DISTINCT "_3"."email") >= 9'
    )
    assert "shop: only groups with at least 9 distinct values of email." in found.rules


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT age, SUM(balance) AS s FROM bank GROUP BY age",
        "SELECT age, SUM(balance) AS s FROM bank GROUP BY age HAVING SUM(balance) > 0 OR 1 = 1",
        "SELECT DISTINCT age, SUM(balance) AS s FROM bank GROUP BY age ORDER BY s LIMIT 10",
    ],
)
def test_groups_below_the_threshold_are_left_out(sql: str) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE bank(id BIGINT, age INTEGER, balance DOUBLE, name VARCHAR, branch VARCHAR)")
        connection.execute("INSERT INTO bank SELECT i, 30, 1, 'x', 'y' FROM range(5) t(i)")
        connection.execute("INSERT INTO bank SELECT 7, 99, 1, 'x', 'y' FROM range(50) t(i)")
        connection.execute("INSERT INTO bank SELECT NULL, 98, 1, 'x', 'y' FROM range(50) t(i)")
        assert connection.execute(allowed(sql, AGGREGATION).sql).fetchall() == [(30, 5.0)]
        alone = allowed("SELECT SUM(balance) FROM bank WHERE age = 99", AGGREGATION)
        assert connection.execute(alone.sql).fetchall() == []


def test_a_cast_that_fails_tells_nothing_of_groups_that_are_left_out() -> None:
    over = tables(grouped("branch"), None)
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE bank AS SELECT i AS id, 'x' AS branch, 1.0 AS balance FROM range(2) t(i)")
        sql = "SELECT SUM(balance) FROM bank WHERE CAST(branch AS INTEGER) > 3"
        assert connection.execute(allowed(sql, over).sql).fetchall() == []


def test_a_rule_without_thresholds_is_not_understood() -> None:
    over = tables(grouped("age", outputConstraints=[]), None)
    assert refusal("SELECT SUM(balance) FROM bank", over).code == "NOT_UNDERSTOOD"
