import pytest
from tests.analysis.tables import BANK, LIST, SHOP, allowed, direct, listed, refusal, tables

JOINED = "FROM bank b INNER JOIN shop s ON b.id = s.id"
LET_THROUGH = [
    f"SELECT DISTINCT age, city {JOINED}",
    f"SELECT DISTINCT b.age AS years, spent * 2 + balance AS sum {JOINED}",
    f"SELECT DISTINCT age {JOINED} WHERE city = 'Ulm' AND (spent > 3 OR spent IS NULL) AND NOT age IN (1, 2) LIMIT 10",
    f"SELECT DISTINCT age {JOINED} WHERE city LIKE 'U%' AND age BETWEEN 3 AND -1 * -90 AND city <> 'x'",
    "SELECT DISTINCT age FROM bank JOIN shop USING (id)",
    "SELECT DISTINCT age FROM bank b JOIN shop s ON b.id = s.id AND s.branch = b.branch",
    "SELECT DISTINCT s.city FROM shop s JOIN shop z ON s.id = z.id JOIN bank b ON b.id = z.id",
]
REFUSED = [
    (f"SELECT age, city {JOINED}", "DISTINCT_REQUIRED"),
    ("SELECT DISTINCT city FROM shop", "JOIN_REQUIRED"),
    ("SELECT DISTINCT age FROM bank", "JOIN_REQUIRED"),
    ("SELECT DISTINCT a.city FROM shop a JOIN shop b ON a.id = b.id", "JOIN_REQUIRED"),
    (f"SELECT DISTINCT b.id {JOINED}", "OUTPUT_COLUMN_NOT_ALLOWED"),
    (f"SELECT DISTINCT s.id + 0 AS x {JOINED}", "OUTPUT_COLUMN_NOT_ALLOWED"),
    (f"SELECT DISTINCT email {JOINED}", "OUTPUT_COLUMN_NOT_ALLOWED"),
    (f"SELECT DISTINCT * {JOINED}", "OUTPUT_COLUMN_NOT_ALLOWED"),
    ("SELECT DISTINCT id FROM bank JOIN shop USING (id)", "OUTPUT_COLUMN_NOT_ALLOWED"),
    ("SELECT DISTINCT id FROM bank FULL JOIN shop USING (id)", "JOIN_NOT_ALLOWED"),
    (f"SELECT DISTINCT lower(city) {JOINED}", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT CAST(age AS VARCHAR) {JOINED}", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT CASE WHEN age > 3 THEN 1 END {JOINED}", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT count(*) {JOINED}", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT row_number() OVER (ORDER BY age) {JOINED}", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT age > 3 {JOINED}", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT (SELECT 1) {JOINED}", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} WHERE email = 'x'", "COLUMN_NOT_ALLOWED"),
    (f"SELECT DISTINCT age {JOINED} WHERE b.id = 5", "COLUMN_NOT_ALLOWED"),
    (f"SELECT DISTINCT age {JOINED} WHERE upper(city) = 'ULM'", "FUNCTION_NOT_ALLOWED"),
    (f"SELECT DISTINCT age {JOINED} WHERE age IN (SELECT age FROM bank)", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} WHERE EXISTS (SELECT 1 FROM shop)", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} WHERE TRUE", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} ORDER BY age", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} LIMIT 1 OFFSET 1", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} GROUP BY age", "NOT_UNDERSTOOD"),
    (f"SELECT DISTINCT age {JOINED} UNION SELECT DISTINCT age {JOINED}", "NOT_UNDERSTOOD"),
    (f"WITH x AS (SELECT DISTINCT age {JOINED}) SELECT DISTINCT age FROM x", "NOT_UNDERSTOOD"),
    ("SELECT DISTINCT age FROM bank b LEFT JOIN shop s ON b.id = s.id", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b SEMI JOIN shop s ON b.id = s.id", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b, shop s", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b CROSS JOIN shop s", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON 1 = 1", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON b.id = b.id", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON b.id < s.id", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON b.id = s.id + 0", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON NOT b.id = s.id", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON b.id = s.id OR b.branch = s.branch", "JOIN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON b.name = s.email", "JOIN_COLUMN_NOT_ALLOWED"),
    ("SELECT DISTINCT age FROM bank b JOIN shop s ON b.age = s.spent", "JOIN_COLUMN_NOT_ALLOWED"),
]


@pytest.mark.parametrize("sql", LET_THROUGH)
def test_lets_distinct_list_columns_of_joined_tables_through(sql: str) -> None:
    assert allowed(sql, LIST).rules


@pytest.mark.parametrize(("sql", "code"), REFUSED)
def test_refuses_all_else(sql: str, code: str) -> None:
    assert refusal(sql, LIST).code == code


def test_asks_for_the_runners_table_in_the_words_of_aws() -> None:
    found = refusal("SELECT DISTINCT city FROM shop", LIST)
    assert found.reason == "Inner join to query runner table required for table shop"


def test_knows_the_operators_that_both_tables_allow() -> None:
    either = listed("age", allowedJoinOperators=["AND", "OR"])
    sql = "SELECT DISTINCT age FROM bank b JOIN shop s ON b.id = s.id OR b.branch = s.branch"
    assert allowed(sql, tables(either, {**either, "listColumns": ["city"]})).sql
    assert refusal(sql, tables(either, listed("city"))).table == "shop"
    assert refusal(sql.replace(" OR ", " AND "), tables(listed("age", allowedJoinOperators=[]), either)).table == "bank"


def test_asks_for_a_table_of_whoever_asks() -> None:
    from modelyard.analysis.check import check

    assert check(direct(f"SELECT DISTINCT city {JOINED}", asker=SHOP), LIST).tables == ["bank", "shop"]
    assert check(direct(f"SELECT DISTINCT city {JOINED}", asker=BANK), LIST).tables == ["bank", "shop"]
