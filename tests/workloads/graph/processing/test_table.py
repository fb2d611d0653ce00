import gzip
import re
from pathlib import Path

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing import table as table_module
from modelyard.workloads.graph.processing.table import open_table


def rows(folder: Path, data: bytes, columns: list[str], separator: str = ",") -> list[tuple[str, ...]]:
    path = folder / "file.csv"
    path.write_bytes(data)
    table = open_table(path, "nodes/file.csv", separator)
    names = [table.column(column) for column in columns]
    return [row for batch in table.batches(names) for row in batch.frame.select(names).iter_rows()]


@pytest.mark.parametrize(
    ("data", "separator"),
    [
        (b"a,b\n1,2\n3,4\n", ","),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n3,4", ","),
        (b"a,b\r1,2\r3,4\r", ","),
        (b'"a",b\n"1",2\n\n3,"4"\n', ","),
        (b"a\tb\n1\t2\n3\t4\n", "\t"),
        (b"a|x|b\n1||2\n3||4\n", "|"),
    ],
)
def test_columns_are_read_by_header_whatever_the_form_of_the_file(tmp_path: Path, data: bytes, separator: str) -> None:
    assert rows(tmp_path, data, ["a", "b"], separator) == [("1", "2"), ("3", "4")]


def test_quoted_cells_keep_separators_quotes_and_line_ends(tmp_path: Path) -> None:
    data = b'~id,text\n"a,1","x\ny ""z"""\n'
    assert rows(tmp_path, data, ["~id", "text"]) == [("a,1", 'x\ny "z"')]


def test_a_file_of_one_column(tmp_path: Path) -> None:
    assert rows(tmp_path, b"~id\np1\n\np2\n", ["~id"]) == [("p1",), ("p2",)]


def test_a_header_alone_has_no_rows(tmp_path: Path) -> None:
    assert rows(tmp_path, b"~id,age\n", ["age"]) == []


@pytest.mark.parametrize(("header", "wanted"), [("age:Int", "age"), ("age", "age:Int"), ("age:Int", "age:Int")])
def test_types_in_headers_do_not_matter(tmp_path: Path, header: str, wanted: str) -> None:
    assert rows(tmp_path, f"~id,{header}\np,7\n".encode(), [wanted]) == [("7",)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "nodes/file.csv is empty: a header line is needed"),
        (b"a,c\n1,2\n", "nodes/file.csv, line 1: no column 'b'; the header has 'a', 'c'"),
        (b"a,b,b\n1,2,3\n", "nodes/file.csv, line 1: the header has more than one column 'b'"),
        (b"a,\xffb\n", "nodes/file.csv, line 1: the header is not UTF-8 text: 'a,\\udcffb'"),
        ("a,b\n".encode("utf-16"), "nodes/file.csv is text in UTF-16; CSV in UTF-8 is needed"),
        (gzip.compress(b"a,b\n", mtime=0), "nodes/file.csv is compressed by gzip; CSV in UTF-8 is needed"),
        (b"PAR1\x15\x04\x15\xff", "nodes/file.csv is Parquet; CSV in UTF-8 is needed"),
        (b"a,b\n1,2\n3\n", "nodes/file.csv, line 3: 1 columns where the header has 2: '3'"),
        (b'a,b\n"1\n\n",2\n3,4,5\n', "nodes/file.csv, line 5: 3 columns where the header has 2: '3,4,5'"),
        (b'a,b\n1,"2\n",\n', "nodes/file.csv, line 2: 3 columns where the header has 2"),
        (b"a,b\n1,2\n3,\xff\xfe\n", "nodes/file.csv, line 3, column 'b': '\\udcff\\udcfe' is not UTF-8 text"),
        (b'a,b\n"1\n2",3\n4,x\x00y\n', "nodes/file.csv, line 4, column 'b': 'x\\x00y' holds a NUL byte"),
        (b'a,b\n1,2\n3,"4\n5,6\n', "nodes/file.csv: a quote that opens after line 2 never closes"),
    ],
)
def test_what_cannot_be_read_is_told_with_its_place(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        rows(tmp_path, data, ["a", "b"])


def test_an_odd_number_of_quotes_within_plain_cells_is_no_fault(tmp_path: Path) -> None:
    assert rows(tmp_path, b'a,b\n5" pipe,x\n', ["a", "b"]) == [('5" pipe', "x")]


def test_faults_name_the_line_across_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "BLOCK", 64)
    path = tmp_path / "file.csv"
    path.write_text("id,v\n" + "".join(f'r{number},"two\nlines"\n' for number in range(50)))
    batches = list(open_table(path, "file.csv", ",").batches(["id", "v"]))
    assert len(batches) > 5
    assert [batch.start for batch in batches[:2]] == [0, len(batches[0].frame)]
    last = batches[-1]
    fault = last.fault(len(last.frame) - 1, "id", "is odd")
    assert str(fault) == "file.csv, line 100, column 'id': 'r49' is odd"


def test_a_row_longer_than_a_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "BLOCK", 1 << 20)
    with pytest.raises(InputError, match="a row is longer than 1 MB"):
        rows(tmp_path, b"a,b\n" + b"x" * (3 << 20) + b",1\n2,3\n", ["a", "b"])


def test_long_values_are_cut_in_messages(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        rows(tmp_path, b"a,b\n1,2\n" + b"x" * 10_000 + b"\n", ["a", "b"])
    assert len(str(error.value)) < 200
