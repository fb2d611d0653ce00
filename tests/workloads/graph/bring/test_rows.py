from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.cells import text
from modelyard.workloads.graph.bring.rows import Rows, open_rows

FRAME = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, None, 3]})


def whole(rows: Rows) -> list[tuple[str | None, ...]]:
    return [row for piece in rows.pieces(["id", "n"]) for row in piece.select(text(s) for s in piece).iter_rows()]


def test_every_kind_of_table_has_the_same_rows(tmp_path: Path) -> None:
    FRAME.write_csv(tmp_path / "t.csv")
    FRAME.write_csv(tmp_path / "t.tsv", separator="\t")
    FRAME.write_parquet(tmp_path / "t.parquet")
    (tmp_path / "folder").mkdir()
    FRAME[:2].write_parquet(tmp_path / "folder" / "1.parquet")
    FRAME[2:].write_parquet(tmp_path / "folder" / "2.parquet")
    with duckdb.connect(str(tmp_path / "t.duckdb")) as database:
        database.execute(f"CREATE TABLE things AS FROM '{tmp_path}/t.parquet'")
    sources = [tmp_path / name for name in ("t.csv", "t.tsv", "t.parquet", "folder")]
    frames = [FRAME, FRAME.lazy(), FRAME.to_arrow(), pd.DataFrame({"id": ["a", "b", "c"], "n": pd.array([1, None, 3])})]
    asked = f"SELECT * FROM '{tmp_path}/t.parquet'"
    every = [*map(open_rows, [*sources, *frames, asked]), open_rows("things", tmp_path / "t.duckdb")]
    every.append(open_rows("SELECT * FROM things", tmp_path / "t.duckdb"))
    assert [whole(rows) for rows in every] == [[("a", "1"), ("b", None), ("c", "3")]] * len(every)
    assert [whole(rows) for rows in every] == [whole(every[0])] * len(every), "they can be read again"


def test_a_fault_tells_where(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,n\n"a\nb",1\nc,2\n')
    FRAME.write_parquet(tmp_path / "t.parquet")
    assert "t.csv, line 4, column 'n': '2' is bad" in str(open_rows(tmp_path / "t.csv").fault(1, "n", "is bad"))
    assert "t.parquet, row 3, column 'n': '3' is bad" in str(open_rows(tmp_path / "t.parquet").fault(2, "n", "is bad"))
    assert str(open_rows(FRAME).fault(0, "id", "is bad")) == "the frame, row 1, column 'id': 'a' is bad"


def test_whole_numbers_of_any_size_come_out_of_a_query() -> None:
    rows = open_rows(f"SELECT 'a' AS id, {2**100}::HUGEINT AS n")
    assert whole(rows) == [("a", str(2**100))]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("absent.csv", "no such file"),
        ("SELEKT nothing from nowhere", "DuckDB cannot run"),
        (42, "a table is a path"),
    ],
)
def test_what_is_no_table_is_refused(source: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        open_rows(source)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no")
    (tmp_path / "t.xlsx").write_text("no")
    (tmp_path / "t.csv").write_text("a,a\n1,2\n")
    (tmp_path / "folder").mkdir()
    for name, reason in (("t.xlsx", "ends with"), ("t.csv", "more than one column 'a'"), ("folder", "no file")):
        with pytest.raises(InputError, match=reason):
            open_rows(tmp_path / name)
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        assert open_rows(tmp_path / "t.parquet").schema
    with pytest.raises(InputError, match="no such database"):
        open_rows("things", tmp_path / "absent.duckdb")


def test_a_query_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    rows = open_rows("SELECT 'a' AS id, 1 AS n")
    assert whole(rows) == [("a", "1")]
    assert list(tmp_path.iterdir())
    del rows
    assert not list(tmp_path.iterdir())


def test_arrow_is_read_as_it_is() -> None:
    table = pa.table({"id": pa.array(["a", "b"]).dictionary_encode(), "n": pa.array([1, 2], pa.decimal128(5, 2))})
    assert whole(open_rows(table)) == [("a", "1.00"), ("b", "2.00")]
