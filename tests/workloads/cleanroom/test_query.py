import csv
import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.cleanroom.query import check_statement, close, run

PEOPLE = {"id": "BIGINT", "age": "INTEGER", "(3)": "VARCHAR", "note": "VARCHAR"}
ROWS = 'id,age,name,note\n1,30,canary-one,"a, b"\n2,41,canary-two,\n3,,canary-three,"say ""x"""\n'


@pytest.fixture
def room(tmp_path: Path) -> Path:
    for name in ("people", "output", "state"):
        (tmp_path / name).mkdir()
    (tmp_path / "people" / "part-0.csv").write_text(ROWS)
    return tmp_path


def table(**members: Any) -> dict[str, Any]:
    csv_file = {"format": "csv", "columns": PEOPLE, "allowed": ["id", "age", "note"], "header": True, "delimiter": ","}
    return {**csv_file, **members}


def context(room: Path, sql: str, people: Mapping[str, Any] | None = None, **parameters: Any) -> Context:
    told = {
        "sql": sql,
        "values": [],
        "format": "CSV",
        "tables": {"people": people or table()},
        "memory": 200 << 20,
        "seconds": 60,
        "shard_rows": 1000,
        "header": True,
        **parameters,
    }
    return Context(told, {"people": room / "people"}, room / "state", room / "output")


def refused(room: Path, sql: str, people: Mapping[str, Any] | None = None, **parameters: Any) -> str:
    with pytest.raises(InputError) as error:
        run(context(room, sql, people, **parameters))
    assert "canary" not in str(error.value)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return str(error.value)


def lines(room: Path) -> Sequence[Sequence[str]]:
    return [row for file in sorted((room / "output").iterdir()) for row in csv.reader(file.read_text().splitlines())]


def test_writes_the_rows_as_csv_with_a_header(room: Path) -> None:
    found = run(
        context(room, "SELECT id, age, note FROM people WHERE id <= CAST($1 AS INTEGER)", values=[("INTEGER", "3")])
    )
    text = (room / "output" / "part-00000.csv").read_bytes()
    assert text == b'id,age,note\n1,30,"a, b"\n2,41,\n3,,"say ""x"""\n'
    assert found == {"records": 3, "files": 1, "bytes": len(text), "columns": ["id", "age", "note"]}


def test_writes_shards_of_so_many_rows_in_the_order_of_the_query(room: Path) -> None:
    sql = "SELECT a.id * 100 + b.id * 10 + c.id AS n FROM people a, people b, people c ORDER BY n DESC"
    found = run(context(room, sql, shard_rows=10))
    files = sorted((room / "output").iterdir())
    assert [file.name for file in files] == ["part-00000.csv", "part-00001.csv", "part-00002.csv"]
    assert [len(file.read_text().splitlines()) - 1 for file in files] == [10, 10, 7]
    numbers = [int(row[0]) for row in lines(room) if row != ["n"]]
    assert numbers == sorted(numbers, reverse=True)
    assert (found["records"], found["files"]) == (27, 3)


def test_an_empty_result_is_a_header_alone(room: Path) -> None:
    assert run(context(room, "SELECT age FROM people WHERE id > 9"))["records"] == 0
    assert lines(room) == [["age"]]


def test_a_row_of_one_null_is_no_empty_line(room: Path) -> None:
    run(context(room, "SELECT age FROM people"))
    assert (room / "output" / "part-00000.csv").read_text() == 'age\n30\n41\n""\n'


def test_writes_parquet(room: Path) -> None:
    found = run(context(room, "SELECT id, note FROM people", format="PARQUET", shard_rows=None))
    assert (found["records"], found["files"]) == (3, 1)
    rows = duckdb.sql(f"SELECT * FROM '{room}/output/part-00000.parquet'").fetchall()
    assert rows == [(1, "a, b"), (2, None), (3, 'say "x"')]


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_reads_other_formats(room: Path, format: str) -> None:
    source = room / "people" / "part-0.csv"
    kind = "parquet" if format == "parquet" else "json"
    duckdb.sql(f"COPY (FROM '{source}') TO '{room}/people/part-0.{format}' (FORMAT {kind})")
    source.unlink()
    columns = {"id": "BIGINT", "age": "INTEGER", "note": "VARCHAR"}
    run(context(room, "SELECT id, age FROM people", table(format=format, columns=columns)))
    assert lines(room) == [["id", "age"], ["1", "30"], ["2", "41"], ["3", ""]]


def test_finds_out_about_header_and_delimiter_where_it_is_not_told(room: Path) -> None:
    (room / "people" / "part-0.csv").write_text("id;age;name;note\n1;30;canary;x\n2;31;canary;y\n")
    run(context(room, "SELECT age FROM people", table(header=None, delimiter=None)))
    assert lines(room) == [["age"], ["30"], ["31"]]


def test_columns_that_are_not_allowed_do_not_exist(room: Path) -> None:
    columns = {"id": "BIGINT", "age": "INTEGER", "name": "VARCHAR", "note": "VARCHAR"}
    refused(room, "SELECT name FROM people", table(columns=columns))
    refused(room, "SELECT p.name FROM people p", table(columns=columns))
    run(context(room, "SELECT * FROM people WHERE age > 0 AND note IS NULL", table(columns=columns)))
    assert lines(room) == [["age", "note"], ["41", ""]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{room}/people/part-0.csv')",
        "SELECT * FROM '{room}/people/part-0.csv'",
        "SELECT (SELECT content FROM read_text('{room}/people/part-0.csv')) FROM people",
        "SELECT id FROM people WHERE id IN (SELECT 1 FROM glob('*'))",
        "WITH x AS (SELECT * FROM duckdb_settings()) SELECT * FROM x",
        "SELECT id FROM people, LATERAL (SELECT * FROM range(10))",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM duckdb_tables()",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM (SHOW TABLES)",
        "SELECT * FROM (SUMMARIZE people)",
        "SELECT 1; SELECT 2",
        "COPY people TO '{room}/output/x.csv'",
        "CREATE TABLE x AS SELECT 1",
        "SET memory_limit='1TB'",
        "not sql",
        "",
    ],
)
def test_duckdbs_own_parser_is_asked_too(room: Path, sql: str) -> None:
    refused(room, sql.format(room=room))
    assert list((room / "output").iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{room}/people/part-0.csv')",
        "SELECT * FROM '{room}/people/part-0.csv'",
        "SELECT * FROM glob('{room}/people/*')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_text('{room}/output/../people/part-0.csv')",
        "COPY (SELECT 1) TO '{room}/people/x.csv'",
        "COPY (SELECT 1) TO '{room}/output/../x.csv'",
        "ATTACH '{room}/x.db'",
        "EXPORT DATABASE '{room}/x'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM 'http://127.0.0.1:9/x.csv'",
        "SET enable_external_access=true",
        "SET allowed_directories=['/']",
        "RESET allowed_directories",
        "SET memory_limit='1TB'",
        "SET temp_directory='{room}'",
        "CREATE SECRET x (TYPE s3)",
    ],
)
def test_a_closed_duckdb_reaches_nothing_even_if_both_parsers_were_fooled(room: Path, sql: str) -> None:
    with duckdb.connect() as connection:
        close(connection, room / "output")
        with pytest.raises(duckdb.Error):
            connection.execute(sql.format(room=room))


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT CAST(note AS INTEGER) FROM people",
        "SELECT id FROM people WHERE CAST(note AS DATE) IS NULL",
        "SELECT error(note) FROM people",
        "SELECT 9223372036854775807 + id FROM people",
        "SELECT (SELECT note FROM people) FROM people",
        "SELECT note + 1 FROM people",
        "SELECT strptime(note, '%Y') FROM people",
        "SELECT sum(note) FROM people",
    ],
)
def test_no_error_quotes_a_row(room: Path, sql: str) -> None:
    (room / "people" / "part-0.csv").write_text("id,age,name,note\n1,30,x,canary\n2,30,x,canary-2\n")
    refused(room, sql)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,age,name,note\n1,30,x,y\n2,canary,x,y\n", "at line 3"),
        ("id,age,name,note\n1,30\n", "data"),
        ("id,note,name,age\n1,canary,x,30\n", "header"),
        ("canary,30,x,y\n", "header"),
        ("", "header"),
    ],
)
def test_files_that_are_not_like_the_table_are_told_without_their_values(room: Path, text: str, said: str) -> None:
    (room / "people" / "part-0.csv").write_text(text)
    told = refused(room, "SELECT id, age FROM people")
    assert "people" in told
    assert said in told


def test_every_file_of_a_table_must_have_its_header(room: Path) -> None:
    (room / "people" / "part-1.csv").write_text("age,id,name,note\n30,canary,x,y\n")
    assert "part-1.csv" in refused(room, "SELECT age FROM people")


def test_links_and_names_that_are_patterns_are_no_files_of_a_table(room: Path) -> None:
    (room / "secret.csv").write_text(ROWS)
    link = room / "people" / "link.csv"
    link.symlink_to(room / "secret.csv")
    assert "no plain file" in refused(room, "SELECT id FROM people")
    link.unlink()
    link.symlink_to(room)
    assert "no plain file" in refused(room, "SELECT id FROM people")
    link.unlink()
    (room / "people" / "*.csv").write_text(ROWS)
    assert "Rename" in refused(room, "SELECT id FROM people")


def test_what_tools_leave_beside_is_no_file_of_a_table(room: Path) -> None:
    (room / "people" / "_SUCCESS").touch()
    (room / "people" / ".part-0.csv.crc").write_bytes(b"\0\1")
    assert run(context(room, "SELECT id FROM people"))["records"] == 3
    (room / "people" / "part-0.csv").unlink()
    assert "no files" in refused(room, "SELECT id FROM people")


def test_values_with_line_breaks_do_not_go_into_lines(room: Path) -> None:
    (room / "people" / "part-0.csv").write_text('id,age,name,note\n1,30,x,"canary\nline"\n')
    assert "output column n has line breaks" in refused(room, "SELECT note AS n FROM people")
    assert run(context(room, "SELECT note AS n FROM people", format="PARQUET"))["records"] == 1
    (room / "output" / "part-00000.parquet").unlink()
    clean = "SELECT replace(note, chr(10), ' ') AS n FROM people"
    run(context(room, clean))
    assert ["canary line"] in lines(room)


def test_a_query_without_end_is_ended(room: Path) -> None:
    endless = f"SELECT count(*) FROM {', '.join(f'people p{n}' for n in range(30))}"
    assert "more than 0.5 seconds" in refused(room, endless, seconds=0.5)


def test_a_query_that_wants_all_memory_is_ended(room: Path) -> None:
    sql = f"SELECT string_agg(a.note || a.id, ',') AS x FROM {', '.join(f'people p{n}' for n in range(14))}, people a"
    assert "memory" in refused(room, sql, memory=20 << 20)


def test_stops_when_it_is_asked_to(room: Path) -> None:
    asked = threading.Event()
    timer = threading.Timer(0.3, asked.set)
    endless = f"SELECT count(*) FROM {', '.join(f'people p{n}' for n in range(30))}"
    told = context(room, endless)
    timer.start()
    with pytest.raises(Stopped):
        run(Context(**{**told.__dict__, "should_stop": asked.is_set}))


def test_reports_how_far_it_is(room: Path) -> None:
    told = context(room, f"SELECT count(*) FROM {', '.join(f'people p{n}' for n in range(30))}", seconds=0.5)
    with pytest.raises(InputError):
        run(Context(**{**told.__dict__, "events": room / "events.jsonl"}))
    events = [json.loads(line) for line in (room / "events.jsonl").read_text().splitlines()]
    assert {event["total"] for event in events} == {100}
    assert "querying" in {event["phase"] for event in events}


def test_names_columns_once_and_whatever_their_case() -> None:
    with duckdb.connect() as connection:
        sql = 'WITH "_1"("a") AS (SELECT "T"."Age" FROM people "T") SELECT "_2"."a" FROM "_1" AS "_2"'
        assert check_statement(connection, sql, ["People"]) == {"age", "a"}
