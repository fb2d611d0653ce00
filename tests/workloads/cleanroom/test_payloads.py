from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.workloads.cleanroom.payloads import Payload, RecordTooLarge, Splitter


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "part-00000.csv"


def test_as_many_lines_as_fit_make_a_payload(file: Path) -> None:
    file.write_text("a,b\n1,2\n3,4\n5,6\n")

    assert list(Splitter(9).split(file)) == [Payload(b"a,b\n1,2\n", 1), Payload(b"3,4\n5,6\n", 2)]


def test_without_a_header_no_payload_has_it(file: Path) -> None:
    file.write_text("a,b\n1,2\n3,4\n5,6\n")

    assert list(Splitter(9, header="none").split(file)) == [Payload(b"1,2\n3,4\n", 2), Payload(b"5,6\n", 1)]


@pytest.mark.parametrize("text", ["", "a,b\n", "a,b"])
@pytest.mark.parametrize("header", ["first", "none"])
def test_a_file_without_records_is_not_sent(text: str, header: str, file: Path) -> None:
    file.write_text(text)

    assert list(Splitter(100, header=header).split(file)) == []
    assert Splitter(100).count(file) == 0


def test_the_last_line_may_lack_its_end(file: Path) -> None:
    file.write_text("a\n1\n2")

    assert list(Splitter(100).split(file)) == [Payload(b"a\n1\n2", 2)]
    assert Splitter(100).count(file) == 2


@pytest.mark.parametrize(
    ("text", "place"),
    [("header,is,long\n1\n", "line 1"), ("a\n1\n2345678901\n3\n", "line 3"), ("a\n1\n23456789012", "line 3")],
)
def test_a_line_that_fits_into_no_payload_is_named(text: str, place: str, file: Path) -> None:
    file.write_text(text)

    with pytest.raises(RecordTooLarge, match=place):
        list(Splitter(8).split(file))


def test_a_header_and_a_record_that_do_not_fit_together_are_named(file: Path) -> None:
    file.write_text("a,b,c\n12345678\n")

    with pytest.raises(RecordTooLarge, match="line 2"):
        list(Splitter(10).split(file))


def test_files_that_cannot_be_cut_are_sent_whole(tmp_path: Path) -> None:
    path = tmp_path / "part-00000.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * FROM range(3)) TO '{path}'")

    assert list(Splitter(10**6, "application/x-parquet").split(path)) == [Payload(path.read_bytes(), 3)]
    with pytest.raises(RecordTooLarge, match="the file"):
        list(Splitter(10, "application/x-parquet").split(path))


def test_what_is_no_parquet_counts_no_records(file: Path) -> None:
    file.write_text("a\n1\n")

    assert Splitter(100, "application/x-parquet").count(file) == 0


@given(st.lists(st.text("ab,é", min_size=1, max_size=6), max_size=30), st.integers(20, 60), st.booleans())
def test_payloads_together_are_the_file(rows: list[str], most: int, ended: bool) -> None:
    import tempfile

    text = ("\n".join(["x,y", *rows]) + "\n" * ended).encode()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        path.write_bytes(text)
        payloads = list(Splitter(most).split(path))

    assert b"".join(payload.body for payload in payloads) == (text if rows else b"")
    assert sum(payload.records for payload in payloads) == len(rows)
    assert all(len(payload.body) <= most for payload in payloads)
    assert all(payload.body.endswith(b"\n") for payload in payloads[:-1])
