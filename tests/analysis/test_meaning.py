"""A judged query means what its author wrote: DuckDB gives the same rows for both texts."""

from collections.abc import Iterator

import duckdb
import pytest
from tests.analysis.tables import BANK_COLUMNS, SHOP_COLUMNS, allowed, custom, tables

OPEN = tables(custom(), custom())
QUERIES = [
    "SELECT * FROM bank",
    "SELECT s.*, b.age FROM bank b JOIN shop s ON b.id = s.id",
    "SELECT * FROM bank JOIN (SELECT id, city FROM shop) s USING (id)",
    "SELECT id, age, city FROM bank FULL JOIN (SELECT id, city FROM shop) s USING (id)",
    "SELECT id, age, city FROM bank RIGHT JOIN (SELECT id, city FROM shop) s USING (id)",
    "SELECT id, branch, age FROM bank LEFT JOIN (SELECT id, branch, city FROM shop) s USING (id, branch)",
    "SELECT b.age FROM bank b SEMI JOIN shop s ON b.id = s.id AND s.spent > 20",
    "SELECT b.age FROM bank b ANTI JOIN shop s USING (id)",
    "WITH bank AS (SELECT id, age + 1 AS age FROM bank WHERE age > 20) SELECT b.age FROM bank b",
    "WITH x(a, b) AS (SELECT id, age FROM bank), y AS (SELECT a FROM x) SELECT x.b FROM x JOIN y USING (a)",
    "SELECT a.id, (SELECT max(a.spent) FROM shop a WHERE a.id = b.id) AS m FROM bank a JOIN bank b ON a.id = b.id",
    "SELECT age FROM bank b WHERE EXISTS (SELECT 1 FROM shop b WHERE b.spent > 20 AND b.id = age - 20)",
    "SELECT lower(branch) AS branch, count(*) AS n FROM bank GROUP BY branch HAVING n > 1 ORDER BY n DESC, branch",
    "SELECT age % 2 AS odd, sum(balance) AS s FROM bank GROUP BY odd ORDER BY s + odd",
    "SELECT age % 2 AS odd, sum(balance) FROM bank GROUP BY 1 ORDER BY 2 DESC LIMIT 1",
    "SELECT id, row_number() OVER (PARTITION BY branch ORDER BY age) AS n FROM bank QUALIFY n = 1",
    "SELECT id FROM bank UNION SELECT id FROM shop EXCEPT SELECT 2 ORDER BY id",
    "SELECT DISTINCT branch FROM (SELECT branch FROM bank UNION ALL SELECT branch FROM shop) x ORDER BY branch",
    "SELECT age FROM bank WHERE NOT (age > 20 AND branch = 'north') OR balance BETWEEN 1 AND 2 ORDER BY 1",
    "SELECT NOT hit AS miss FROM (SELECT age, age IN (21, 22) AS hit FROM bank) x ORDER BY age",
    "SELECT -age + 2 * (balance - 1) AS x, age || '!' AS y, CAST(balance AS INTEGER) AS z, age / 2 AS half FROM bank",
    "SELECT avg(balance) FILTER (WHERE age > 20) AS a, count(DISTINCT branch) AS b FROM bank",
    "SELECT CASE branch WHEN 'north' THEN age ELSE -1 END AS c, coalesce(name, 'x') AS d FROM bank",
]


@pytest.fixture(scope="module")
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        for table, types in (("bank", BANK_COLUMNS), ("shop", SHOP_COLUMNS)):
            connection.execute(f"CREATE TABLE {table}({', '.join(f'{name} {kind}' for name, kind in types.items())})")
        people = [
            (1, 20, 1.5, "a", "north"),
            (2, 21, 2.5, None, "south"),
            (3, 22, None, "c", "north"),
            (4, 23, 9, "d", "e"),
        ]
        buyers = [(2, "Ulm", 10.0, "x", "south"), (3, "Bonn", 30.0, "y", "west"), (5, "Ulm", 50.0, "z", "north")]
        connection.executemany("INSERT INTO bank VALUES (?, ?, ?, ?, ?)", people)
        connection.executemany("INSERT INTO shop VALUES (?, ?, ?, ?, ?)", buyers)
        yield connection


@pytest.mark.parametrize("sql", QUERIES)
def test_the_text_that_runs_gives_the_rows_of_the_text_that_was_asked(
    database: duckdb.DuckDBPyConnection, sql: str
) -> None:
    found = allowed(sql, OPEN)
    asked, ran = database.execute(sql).fetchall(), database.execute(found.sql).fetchall()
    assert asked, "a query without rows proves nothing"
    if "ORDER BY" not in sql.rpartition(")")[2]:
        asked, ran = sorted(asked, key=str), sorted(ran, key=str)
    assert ran == asked
