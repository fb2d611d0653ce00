from dataclasses import replace

import pytest
from tests.analysis.tables import BANK, CUSTOM, TEMPLATE, allowed, custom, direct, refusal, tables

from modelyard.analysis.check import check
from modelyard.analysis.model import Parameter, Refused, Template

NOT_ONE_SELECT = [
    "",
    "SELECT age FROM bank; SELECT age FROM bank",
    "SELECT age FROM bank; DROP TABLE bank",
    "DROP TABLE bank",
    "DELETE FROM bank",
    "INSERT INTO bank SELECT * FROM shop",
    "UPDATE bank SET age = 1",
    "CREATE TABLE x AS SELECT age FROM bank",
    "COPY (SELECT age FROM bank) TO '/tmp/x'",
    "ATTACH '/etc/passwd' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '1TB'",
    "PRAGMA database_list",
    "EXPLAIN SELECT age FROM bank",
    "DESCRIBE bank",
    "SHOW TABLES",
    "CALL pragma_version()",
    "EXPORT DATABASE '/tmp/x'",
    "CHECKPOINT",
    "VALUES (1)",
    "BEGIN; SELECT age FROM bank",
]
OUT_OF_REACH = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    'SELECT * FROM "/etc/passwd"',
    "SELECT * FROM 's3://bucket/x.parquet'",
    "SELECT * FROM glob('*')",
    "SELECT age FROM bank, glob('*')",
    "SELECT age FROM bank, LATERAL (SELECT * FROM glob('*'))",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM main.bank",
    "SELECT * FROM memory.main.bank",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('bank')",
    "SELECT * FROM range(10)",
    "SELECT * FROM generate_series(1, 10)",
    "SELECT * FROM unnest([1, 2])",
    "SELECT * FROM stranger",
    "SELECT 1",
    "SELECT age, getenv('HOME') FROM bank",
    "SELECT age, current_setting('memory_limit') FROM bank",
    "SELECT age, getvariable('x') FROM bank",
    "SELECT age, error(branch) FROM bank",
    "SELECT age, read_text('/etc/passwd') FROM bank",
    "SELECT age, repeat('x', 1000000000) FROM bank",
    "SELECT age, version() FROM bank",
    "SELECT age, current_user FROM bank",
    "SELECT age, unnest([1, 2]) FROM bank",
    "SELECT age, nextval('x') FROM bank",
    "SELECT (SELECT content FROM read_text('/etc/passwd')) FROM bank",
    "SELECT age FROM bank WHERE age IN (SELECT 1 FROM read_csv('/etc/passwd'))",
    "WITH x AS (SELECT * FROM read_csv('/etc/passwd')) SELECT * FROM x",
    "WITH x AS (SELECT 1 AS y FROM x) SELECT age FROM bank, x",
    "SELECT rowid FROM bank",
    "SELECT bank FROM bank",
    "SELECT bank.bank FROM bank",
    "SELECT COLUMNS('.*') FROM bank",
    "SELECT COLUMNS(*) FROM bank",
    "SELECT secret FROM bank",
    "SELECT bank.secret FROM bank",
    "SELECT b.age.secret FROM bank b",
    "SELECT age FROM bank WHERE secret = 1",
    "SELECT age FROM bank ORDER BY secret",
    "SELECT age FROM bank GROUP BY secret, age",
    "SELECT age FROM bank b JOIN shop s USING (secret)",
    "SELECT shop.age FROM bank",
]
NOT_UNDERSTOOD = [
    "SELECT age FROM bank TABLESAMPLE 10 PERCENT",
    "SELECT * FROM bank PIVOT (sum(balance) FOR age IN (1, 2))",
    "WITH RECURSIVE x AS (SELECT age FROM bank UNION ALL SELECT age + 1 FROM x) SELECT * FROM x",
    "SELECT age INTO x FROM bank",
    "SELECT age FROM bank FOR UPDATE",
    "SELECT DISTINCT ON (age) age FROM bank",
    "SELECT age FROM bank GROUP BY ALL",
    "SELECT age FROM bank NATURAL JOIN shop",
    "SELECT b.age FROM bank b ASOF JOIN shop s ON b.age >= s.spent",
    "SELECT b.age FROM bank b POSITIONAL JOIN shop s",
    "SELECT CAST(age AS STRUCT(a INT)) FROM bank",
    "SELECT {'a': age} FROM bank",
    "SELECT [age] FROM bank",
    "SELECT [x FOR x IN [age]] FROM bank",
    "SELECT list_transform([age], x -> x + 1) FROM bank",
    "SELECT age FROM bank LIMIT (SELECT 1)",
    "SELECT age FROM bank LIMIT 10 PERCENT",
    "SELECT age FROM bank WHERE age > ?",
    "SELECT age FROM bank WHERE age > $1",
    "SELECT age FROM bank WHERE age > :x",
    "SELECT age FROM bank WHERE age > @x",
    "SELECT age AS \u212a FROM bank",
    'SELECT age AS "a""b" FROM bank',
    "SELECT age AS x\u0000 FROM bank",
    "SELECT age, 'a\u0000b' FROM bank",
    "SELECT age FROM bank b, shop b",
    "SELECT id FROM bank, shop",
    "SELECT id FROM bank JOIN shop ON id = id",
    "SELECT age FROM bank UNION SELECT city, spent FROM shop",
    "SELECT " + "(" * 300 + "age" + ")" * 300 + " FROM bank",
    "SELECT " + "age + " * 20_000 + "age FROM bank",
    "SELECT " + "NOT " * 2_000 + "age FROM bank",
    "SELECT age FROM " + "(SELECT age FROM " * 200 + "bank" + ")" * 200,
    "SELECT '" + "x" * 200_000 + "' FROM bank",
    "WITH a AS (SELECT *, * FROM bank), b AS (SELECT *, * FROM a), c AS (SELECT *, * FROM b, b x), "
    "d AS (SELECT *, * FROM c, c y), e AS (SELECT *, * FROM d, d z), f AS (SELECT *, * FROM e, e w) SELECT age FROM f",
    "SELECT " + "+".join(["age"] * 500) + " AS s FROM bank GROUP BY age HAVING " + " AND ".join(["s > 1"] * 500),
    "SELECT (",
    "SELECT 'never ended FROM bank",
]
DISALLOWED = [
    "SELECT name FROM bank",
    "SELECT * FROM bank",
    "SELECT bank.* FROM bank",
    "SELECT b.* FROM bank b JOIN shop s ON b.id = s.id",
    "SELECT NAME FROM BANK",
    'SELECT "NaMe" FROM bank',
    "SELECT `name` FROM `bank`",
    "SELECT name AS age FROM bank",
    "SELECT md5(name) FROM bank",
    "SELECT hash(name) FROM bank",
    "SELECT name || '' AS age FROM bank",
    "SELECT CASE WHEN name = 'x' THEN 1 ELSE 0 END AS flag FROM bank",
    "SELECT CASE name WHEN 'x' THEN 1 END FROM bank",
    "SELECT name IS NULL FROM bank",
    "SELECT name LIKE 'a%' FROM bank",
    "SELECT name IN ('x', 'y') FROM bank",
    "SELECT age IN (SELECT age FROM bank b WHERE b.name = 'x') FROM bank",
    "SELECT coalesce(branch, name) FROM bank",
    "SELECT nullif(name, 'x') FROM bank",
    "SELECT greatest(branch, name) FROM bank",
    "SELECT CAST(name AS VARCHAR) FROM bank",
    "SELECT name::varchar FROM bank",
    "SELECT max(name) FROM bank",
    "SELECT count(DISTINCT name) FROM bank",
    "SELECT string_agg(name, ',') FROM bank",
    "SELECT string_agg(branch, ',' ORDER BY name) FROM bank",
    "SELECT count(*) FILTER (WHERE name = 'x') FROM bank",
    "SELECT age, row_number() OVER (ORDER BY name) FROM bank",
    "SELECT age, lag(name) OVER (ORDER BY id) FROM bank",
    "SELECT age, count(*) OVER (PARTITION BY name) FROM bank",
    "SELECT n FROM (SELECT name AS n FROM bank)",
    "SELECT x.n FROM (SELECT name AS n FROM bank) x",
    "SELECT x.a FROM (SELECT age, name FROM bank) x(b, a)",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM bank) x) y",
    "WITH x AS (SELECT name AS n FROM bank) SELECT n FROM x",
    "WITH x(a) AS (SELECT name FROM bank) SELECT a FROM x",
    "WITH x AS (SELECT * FROM bank), y AS (SELECT * FROM x) SELECT * FROM y",
    "WITH bank AS (SELECT name AS age FROM bank) SELECT age FROM bank",
    "WITH x AS (WITH y AS (SELECT name FROM bank) SELECT * FROM y) SELECT * FROM x",
    "SELECT age FROM (WITH x AS (SELECT name AS age FROM bank) SELECT * FROM x)",
    "SELECT branch FROM bank UNION SELECT name FROM bank",
    "SELECT branch FROM bank UNION ALL SELECT email FROM shop",
    "SELECT name FROM bank EXCEPT SELECT branch FROM bank",
    "SELECT branch FROM bank INTERSECT SELECT name FROM bank",
    "(SELECT branch FROM bank) UNION (SELECT name FROM bank)",
    "SELECT (SELECT max(name) FROM bank) FROM shop",
    "SELECT (SELECT b.name FROM bank b WHERE b.id = s.id) FROM shop s",
    "SELECT (SELECT b.name) FROM bank b",
    "SELECT (SELECT 1 WHERE b.name = 'x') FROM bank b",
    "SELECT EXISTS (SELECT 1 FROM shop s WHERE s.email = b.name) FROM bank b",
    "SELECT (SELECT count(*) FROM shop s WHERE s.email = b.name) FROM bank b",
    "SELECT name AS n, age FROM bank ORDER BY n",
    "SELECT b.age, s.email FROM bank b LEFT JOIN shop s ON b.id = s.id",
    "SELECT branch FROM (SELECT name AS branch FROM bank) b FULL JOIN (SELECT branch FROM shop) s USING (branch)",
    "SELECT c.v FROM (SELECT 1 AS v UNION ALL SELECT 2) c JOIN bank b ON b.name = c.v",
    "SELECT c.v FROM bank b CROSS JOIN (SELECT 'x' AS v) c WHERE b.name = c.v",
    "WITH c AS (SELECT 'x' AS v UNION SELECT 'y') SELECT c.v FROM c WHERE c.v IN (SELECT name FROM bank)",
    "SELECT c.v FROM (SELECT 'x' AS v) c WHERE EXISTS (SELECT 1 FROM bank b WHERE b.name = c.v)",
    "SELECT c.v FROM (SELECT 'x' AS v) c GROUP BY c.v HAVING c.v IN (SELECT name FROM bank)",
    "SELECT (SELECT max(c.v) FROM (SELECT 'x' AS v) c WHERE c.v = b.name) FROM bank b",
    "SELECT age FROM bank b WHERE 1 = 1 UNION ALL SELECT * FROM (SELECT name FROM bank)",
    "SELECT age, /* harmless */ name -- not an output\n FROM bank",
    "SELECT age AS a, (((name))) FROM bank",
    "SELECT 'x' || (SELECT string_agg(email, ',') FROM shop) FROM bank",
]
LET_THROUGH = [
    "SELECT age, balance AS b FROM bank",
    "SELECT * EXCLUDE (name) FROM bank",
    "SELECT b.age, s.city FROM bank b JOIN shop s ON b.id = s.id WHERE s.email LIKE '%@example.org'",
    "SELECT b.age, s.city FROM bank b LEFT JOIN shop s ON b.name = s.email",
    "SELECT id, age FROM bank FULL JOIN (SELECT id, city FROM shop) s USING (id)",
    "SELECT age FROM bank WHERE name IN (SELECT email FROM shop)",
    "SELECT age FROM bank b WHERE EXISTS (SELECT 1 FROM shop s WHERE s.email = b.name)",
    "WITH x AS (SELECT name, age FROM bank) SELECT age FROM x WHERE name <> 'x'",
    "SELECT age, count(*) AS n FROM bank GROUP BY age HAVING count(DISTINCT name) > 3 ORDER BY n DESC LIMIT 10",
    "SELECT age, row_number() OVER (PARTITION BY age ORDER BY balance) AS n FROM bank QUALIFY n = 1",
    "SELECT lower(city) AS c, sum(spent), avg(spent), stddev(spent) FROM shop GROUP BY c",
    "SELECT age / 2, round(balance, 1), CASE WHEN age > 30 THEN 'old' ELSE 'young' END AS kind FROM bank",
    "SELECT DATEADD(day, 1, CURRENT_DATE) AS tomorrow, age FROM bank",
    "SELECT age FROM bank UNION ALL SELECT CAST(spent AS INTEGER) FROM shop ORDER BY 1 LIMIT 3 OFFSET 1",
    "SELECT b.age FROM bank b ANTI JOIN shop s ON b.id = s.id",
    "SELECT (SELECT max(spent) FROM shop s WHERE s.id = b.id) AS most FROM bank b",
    "SELECT age, rand() < 0.8 AS training FROM bank;",
]


def test_lets_plain_queries_through_and_writes_every_name_with_its_source() -> None:
    found = allowed("SELECT Age, s.CITY town FROM Bank b JOIN shop s ON b.id = s.id WHERE b.name LIKE 'a%'", CUSTOM)
    assert found.sql == (
        'SELECT "_2"."age" AS "Age", "_3"."city" AS "town" FROM "bank" AS "_2" JOIN "shop" AS "_3" '
        'ON "_2"."id" = "_3"."id" WHERE "_2"."name" LIKE \'a%\''
    )
    assert (found.tables, found.columns) == (["bank", "shop"], ["Age", "town"])
    assert "bank: CUSTOM rule, name not in the output." in found.rules


@pytest.mark.parametrize("sql", LET_THROUGH)
def test_lets_what_owners_allow_through(sql: str) -> None:
    assert allowed(sql, CUSTOM).sql


@pytest.mark.parametrize("sql", NOT_ONE_SELECT)
def test_refuses_all_but_one_select(sql: str) -> None:
    assert refusal(sql, CUSTOM).code in ("NOT_ONE_SELECT", "SYNTAX", "UNKNOWN_TABLE", "NOT_UNDERSTOOD")


@pytest.mark.parametrize("sql", OUT_OF_REACH)
def test_refuses_what_is_none_of_the_tables_and_columns(sql: str) -> None:
    known = ("UNKNOWN_TABLE", "UNKNOWN_COLUMN", "FUNCTION_NOT_ALLOWED", "NOT_UNDERSTOOD", "BAD_NAME", "SYNTAX")
    assert refusal(sql, CUSTOM).code in known


@pytest.mark.parametrize("sql", NOT_UNDERSTOOD, ids=lambda sql: ascii(sql[:60]))
def test_refuses_what_it_does_not_fully_understand(sql: str) -> None:
    refusal(sql, CUSTOM)


@pytest.mark.parametrize("sql", DISALLOWED)
def test_refuses_outputs_that_derive_from_a_disallowed_column(sql: str) -> None:
    found = refusal(sql, CUSTOM)
    assert found.code == "OUTPUT_COLUMN_NOT_ALLOWED"
    assert found.table in ("bank", "shop")


def test_names_the_table_the_column_and_the_way_out() -> None:
    found = refusal("SELECT age, upper(name) AS n FROM bank", CUSTOM)
    assert (found.table, found.reason) == (
        "bank",
        "The output column n derives from name, which may not be in the output. Leave it out.",
    )


def test_gives_every_output_column_a_name_of_its_own() -> None:
    found = allowed("SELECT b.id, s.id, b.age + 1, max(b.age) OVER () FROM bank b JOIN shop s ON b.id = s.id", CUSTOM)
    assert found.columns == ["id", "id_1", "column_3", "column_4"]


def test_refuses_tables_whose_names_differ_in_case_alone() -> None:
    two = {**CUSTOM, "BANK": CUSTOM["bank"]}
    assert refusal("SELECT age FROM bank", two).code == "AMBIGUOUS_NAME"


def test_binds_the_values_of_a_template_and_never_pastes_them() -> None:
    template = Template(TEMPLATE, BANK, {"least": Parameter("INTEGER"), "town": Parameter("VARCHAR", "x' OR '1'='1")})
    sql = "SELECT age FROM bank b JOIN shop s ON b.id = s.id WHERE age > :least AND city = :town AND age < :least + 9"
    found = check(direct(sql, template=template, values={"least": "5; DROP TABLE bank"}), CUSTOM)
    assert found.values == [("INTEGER", "5; DROP TABLE bank"), ("VARCHAR", "x' OR '1'='1")]
    assert "DROP" not in found.sql
    assert "OR" not in found.sql.replace("FOR", "")
    assert found.sql.count("$1") == 2
    assert found.sql.count("$2") == 1


@pytest.mark.parametrize(
    ("values", "code"),
    [({}, "PARAMETER_MISSING"), ({"least": "1", "most": "2"}, "PARAMETER_UNKNOWN")],
)
def test_refuses_values_that_do_not_fit_the_template(values: dict[str, str], code: str) -> None:
    template = Template(TEMPLATE, BANK, {"least": Parameter("INTEGER")})
    with pytest.raises(Refused) as refused:
        check(direct("SELECT age FROM bank WHERE age > :least", template=template, values=values), CUSTOM)
    assert refused.value.code == code


def test_takes_columns_that_the_owner_did_not_allow_for_columns_that_do_not_exist() -> None:
    over = tables(custom(), custom())
    known, unknown = refusal("SELECT password FROM bank", over), refusal("SELECT nonsense FROM bank", over)
    assert (known.code, known.reason.replace("password", "nonsense")) == (unknown.code, unknown.reason)


def test_rules_name_columns_whatever_their_case() -> None:
    shouting = replace(CUSTOM["bank"], columns={"ID": "BIGINT", "Name": "VARCHAR", "Age": "INTEGER"})
    over = {"bank": shouting}
    assert allowed("SELECT age, id FROM bank", over).columns == ["age", "id"]
    assert refusal("SELECT name FROM bank", over).code == "OUTPUT_COLUMN_NOT_ALLOWED"
    assert refusal("SELECT * FROM bank", over).code == "OUTPUT_COLUMN_NOT_ALLOWED"
