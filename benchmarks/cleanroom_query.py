"""A channel's query over one million rows beside a plain DuckDB script, and what judging a query takes.

Both read two tables as CSV files, join them and write CSV. Modelyard's side is the task: it finds no column that is not
allowed, runs the query where DuckDB is closed, and writes shards. The plain side is read_csv, JOIN, COPY.

The judge is timed over queries of every kind of rule, the longest of which computes forty features.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import duckdb
from rounds import Bar, Report, main, percentile

from modelyard.analysis.check import check
from modelyard.analysis.model import Analysis, Purpose, Table
from modelyard.runner.context import Context
from modelyard.workloads.cleanroom.query import run

CORES = 2
BANK = {"id": "BIGINT", "age": "INTEGER", "balance": "DOUBLE", "name": "VARCHAR", "visits": "INTEGER", "rate": "DOUBLE"}
SHOP = {"id": "BIGINT", "city": "VARCHAR", "spent": "DOUBLE", "email": "VARCHAR"}
QUERY = """SELECT b.age, b.balance, b.visits, b.rate, s.city, s.spent
  FROM {bank} b INNER JOIN {shop} s ON b.id = s.id WHERE b.age > 10"""
BANK_ROWS = """SELECT i AS id, (hash(i) % 80)::INT AS age, (hash(i * 7) % 100000) / 100.0 AS balance,
  'name ' || i AS name, (hash(i * 3) % 1000)::INT AS visits, (hash(i * 5) % 1000) / 7.0 AS rate
  FROM range({rows}) t(i)"""
SHOP_ROWS = """SELECT i AS id, 'city ' || (hash(i) % 500) AS city, (hash(i * 11) % 10000) / 100.0 AS spent,
  'someone' || i || '@example.org' AS email FROM range({rows}) t(i)"""
ASKER, OTHER = "111111111111", "222222222222"
QUERY_BAR, JUDGE_BAR = 0.8, 50.0


def run_benchmark(quick: bool) -> Report:
    report = Report("a channel's query of 1,000,000 rows" if not quick else "a channel's query of 100,000 rows")
    with _tables(100_000 if quick else 1_000_000) as folder:
        sides = {"plain DuckDB": lambda: _plain(folder), "modelyard": lambda: _channel(folder)}
        report.measure(sides, 3 if quick else 9)
    _judge()
    gc.freeze()  # as a started server does
    report.measure({"judge": _judge}, 3 if quick else 9)
    report.bars += [
        Bar("rows/s, of plain DuckDB's", report.round_ratio("rows/s", "modelyard", "plain DuckDB"), low=QUERY_BAR),
        Bar("ms to judge the slowest query", report.medians["judge"]["slowest ms"], high=JUDGE_BAR),
    ]
    return report


@contextmanager
def _tables(rows: int) -> Iterator[Path]:
    with TemporaryDirectory() as name, duckdb.connect() as connection:
        folder = Path(name)
        for table, select in (("bank", BANK_ROWS), ("shop", SHOP_ROWS)):
            (folder / table).mkdir()
            connection.execute(f"COPY ({select.format(rows=rows)}) TO '{folder}/{table}/{table}.csv' (HEADER)")
        yield folder


def _plain(folder: Path) -> Mapping[str, float]:
    started = perf_counter()
    with duckdb.connect(config={"threads": CORES}) as connection:
        tables = {name: f"read_csv('{folder}/{name}/*.csv')" for name in ("bank", "shop")}
        query = QUERY.format(**tables)
        connection.execute(f"COPY ({query}) TO '{folder}/plain.csv' (HEADER)")
        records = connection.fetchall()[0][0]
    return {"rows/s": records / (perf_counter() - started)}


def _channel(folder: Path) -> Mapping[str, float]:
    started = perf_counter()
    allowed = check(_analysis(QUERY.format(bank="bank", shop="shop")), CUSTOM)
    output, state = folder / "output", folder / "state"
    for place in (output, state):
        rmtree(place, ignore_errors=True)
        place.mkdir()
    options = {"format": "csv", "header": True, "delimiter": ","}
    parameters = {
        "sql": allowed.sql,
        "values": allowed.values,
        "format": "CSV",
        "tables": {
            "bank": {"columns": BANK, "allowed": list(CUSTOM["bank"].columns), **options},
            "shop": {"columns": SHOP, "allowed": list(CUSTOM["shop"].columns), **options},
        },
        "memory": 4 << 30,
        "seconds": 600,
        "shard_rows": 250_000,
    }
    inputs = {name: folder / name for name in ("bank", "shop")}
    found = run(Context(parameters, inputs, state, output, cores=CORES))
    return {"rows/s": found["records"] / (perf_counter() - started)}


def _judge() -> Mapping[str, float]:
    times = []
    for tables, query in QUERIES:
        started = perf_counter()
        check(_analysis(query), tables)
        times.append((perf_counter() - started) * 1000)
    return {"median ms": percentile(times, 0.5), "slowest ms": max(times)}


def _analysis(sql: str) -> Analysis:
    return Analysis(sql, ASKER, Purpose.DIRECT, receivers=[ASKER])


def _table(name: str, owner: str, columns: Mapping[str, str], rule: Mapping[str, Any]) -> Table:
    visible = {column: kind for column, kind in columns.items() if column not in ("name", "email")}
    return Table(name, owner, visible, rule, None, f"arn:{name}")


def _both(bank: Mapping[str, Any], shop: Mapping[str, Any]) -> Mapping[str, Table]:
    return {"bank": _table("bank", ASKER, BANK, bank), "shop": _table("shop", OTHER, SHOP, shop)}


ANY = {
    "type": "CUSTOM",
    "allowedAnalyses": ["ANY_QUERY"],
    "allowedAnalysisProviders": [ASKER],
    "disallowedOutputColumns": ["id"],
}
LISTED = {"type": "LIST", "joinColumns": ["id"]}
GROUPED = {
    "type": "AGGREGATION",
    "joinColumns": ["id"],
    "aggregateColumns": [{"columnNames": ["spent", "balance", "id"], "function": "SUM"}],
    "scalarFunctions": ["LOWER", "ROUND"],
    "outputConstraints": [{"columnName": "id", "minimum": 100, "type": "COUNT_DISTINCT"}],
}
CUSTOM = _both(ANY, ANY)
LIST = _both({**LISTED, "listColumns": ["age", "balance"]}, {**LISTED, "listColumns": ["city", "spent"]})
AGGREGATION = _both({**GROUPED, "dimensionColumns": ["age"]}, {**GROUPED, "dimensionColumns": ["city"]})
FEATURES = ", ".join(f"CASE WHEN b.age > {n} THEN b.balance * {n} ELSE s.spent END AS f{n}" for n in range(40))
QUERIES = [
    (CUSTOM, QUERY.format(bank="bank", shop="shop")),
    (
        CUSTOM,
        "WITH x AS (SELECT * FROM bank), y AS (SELECT id, max(spent) m FROM shop GROUP BY id) "
        "SELECT age, m FROM x JOIN y USING (id)",
    ),
    (CUSTOM, "SELECT age, row_number() OVER (PARTITION BY age ORDER BY balance) n FROM bank QUALIFY n < 10 ORDER BY 1"),
    (CUSTOM, f"SELECT {FEATURES} FROM bank b JOIN shop s ON b.id = s.id"),
    (LIST, "SELECT DISTINCT age, city FROM bank b INNER JOIN shop s ON b.id = s.id WHERE spent > 3 AND city LIKE 'c%'"),
    (AGGREGATION, "SELECT city, SUM(spent) total FROM bank b JOIN shop s ON b.id = s.id GROUP BY city ORDER BY total"),
]


if __name__ == "__main__":
    main(run_benchmark, __doc__)
