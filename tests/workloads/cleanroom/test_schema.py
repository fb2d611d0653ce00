import json
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.cleanroom.schema import schema

COLUMNS = {"id": "BIGINT", "age": "DOUBLE", "since": "DATE", "note": "VARCHAR"}
ROWS = "id,age,since,note\n1,30.5,2020-01-31,canary\n2,,2020-02-01,x\n"


def test_reads_columns_and_types_from_csv(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("other\n1\n")
    (tmp_path / "a.csv").write_text(ROWS)
    assert schema(tmp_path, "csv") == {"columns": COLUMNS, "delimiter": ",", "header": True}


def test_finds_other_delimiters(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS.replace(",", ";"))
    assert schema(tmp_path / "a.csv", "csv")["delimiter"] == ";"


def test_reads_columns_and_types_from_parquet_and_jsonl(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    for format, kind in (("parquet", "parquet"), ("jsonl", "json")):
        folder = tmp_path / format
        folder.mkdir()
        duckdb.sql(f"COPY (FROM '{tmp_path}/a.csv') TO '{folder}/a.{format}' (FORMAT {kind})")
        assert schema(folder, format) == {"columns": COLUMNS}


def test_folders_may_name_columns(tmp_path: Path) -> None:
    for folder in ("day=2026-01-02/shop=7/kind=a", "day=2026-01-03/shop=12/kind=1"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "part.csv").write_text(ROWS)
    found = schema(tmp_path, "csv")
    assert found["columns"] == {**COLUMNS, "day": "DATE", "shop": "BIGINT", "kind": "VARCHAR"}
    assert found["partitions"] == ["day", "shop", "kind"]


def test_folders_name_columns_beside_those_of_json(tmp_path: Path) -> None:
    (tmp_path / "day=2026-01-02").mkdir()
    (tmp_path / "day=2026-01-02" / "part.jsonl").write_text('{"id": 1}\n')
    assert schema(tmp_path, "jsonl") == {"columns": {"id": "BIGINT", "day": "DATE"}, "partitions": ["day"]}


def test_folders_name_no_columns_unless_all_do_and_no_file_has_them(tmp_path: Path) -> None:
    (tmp_path / "id=3").mkdir()
    (tmp_path / "id=3" / "part.csv").write_text(ROWS)
    assert "partitions" not in schema(tmp_path, "csv")
    (tmp_path / "part.csv").write_text(ROWS)
    (tmp_path / "day=2026-01-02").mkdir()
    (tmp_path / "day=2026-01-02" / "part.csv").write_text(ROWS)
    assert schema(tmp_path, "csv")["columns"] == COLUMNS


@pytest.mark.parametrize(
    ("name", "data", "format"),
    [
        ("a.parquet", b"canary", "parquet"),
        ("a.jsonl", b'{"canary": ', "jsonl"),
        ("a.csv", b"id,id\n1,canary\n", "xml"),
    ],
)
def test_files_that_are_no_table_are_told_without_their_values(
    tmp_path: Path, name: str, data: bytes, format: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError) as error:
        schema(tmp_path, format)
    assert "canary" not in str(error.value)


def test_the_command_answers_json_or_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(ROWS)
    command = [sys.executable, "-m", "modelyard.workloads.cleanroom.schema"]
    done = subprocess.run([*command, str(tmp_path), "csv"], capture_output=True, timeout=120)
    assert json.loads(done.stdout)["columns"] == COLUMNS
    (tmp_path / "empty").mkdir()
    failed = subprocess.run([*command, str(tmp_path / "empty"), "csv"], capture_output=True, timeout=120)
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert failed.stderr.decode().strip() == "Table empty has no files. Put some into its folder."
