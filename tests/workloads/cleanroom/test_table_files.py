from pathlib import Path

import duckdb
import pytest

from modelyard.workloads.cleanroom.table_files import relation, table_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "table"
    folder.mkdir()
    return folder


def read(folder: Path, format: str, **columns: str) -> list[tuple[object, ...]]:
    described = {"format": format, "columns": columns, "allowed": [name.lower() for name in columns]}
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
