from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb
import pytest

from modelyard.workloads.cleanroom.table_files import relation, table_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "table"
    folder.mkdir()
    return folder


def read(folder: Path, format: str, partitions: Sequence[str] = (), **columns: str) -> list[tuple[object, ...]]:
    allowed = [name.lower() for name in columns]
    described = {"format": format, "columns": columns, "allowed": allowed, "partitions": partitions}
    with duckdb.connect() as connection:
        table = table_files("clients", folder, described)
        return connection.execute(f"SELECT {', '.join(columns)} FROM {relation(connection, table)}").fetchall()


def test_keys_of_json_are_found_whatever_their_case_in_the_catalog(folder: Path) -> None:
    (folder / "one.jsonl").write_text('{"userId": 1, "town": "Bern"}\n')
    (folder / "two.jsonl").write_text('{"userId": 2}\n')
    assert sorted(read(folder, "jsonl", userid="BIGINT", TOWN="VARCHAR"), key=str) == [(1, "Bern"), (2, None)]


def test_a_key_that_no_line_has_is_null(folder: Path) -> None:
    (folder / "one.jsonl").write_text('{"userId": 1}\n')
    assert read(folder, "jsonl", userId="BIGINT", phone="VARCHAR") == [(1, None)]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_folders_name_columns_where_the_catalog_says_so(folder: Path, format: str) -> None:
    for day in (2, 3):
        file = folder / f"day=2026-01-0{day}" / f"part.{format}"
        file.parent.mkdir()
        if format == "csv":
            file.write_text(f"id,secret\n{day},x\n")
        elif format == "jsonl":
            file.write_text(f'{{"id": {day}, "secret": "x"}}\n')
        else:
            duckdb.sql(f"SELECT {day}::BIGINT AS id, 'x' AS secret").write_parquet(str(file))
    columns = {"id": "BIGINT", "secret": "VARCHAR", "day": "DATE"}
    rows = [(day, "x", date(2026, 1, day)) for day in (2, 3)]
    assert sorted(read(folder, format, ["day"], **columns)) == rows
    assert sorted(read(folder, format, id="BIGINT", secret="VARCHAR")) == [row[:2] for row in rows]
