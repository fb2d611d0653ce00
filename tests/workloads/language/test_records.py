import json
from pathlib import Path

import pytest

from modelyard.runner.context import Context, InputError
from modelyard.workloads.language import records
from modelyard.workloads.language.records import files, read, validate


def context(root: Path, **parameters: int) -> Context:
    return Context(parameters, {"records": root}, root, root)


def refusal(root: Path, **parameters: int) -> str:
    with pytest.raises(InputError) as caught:
        validate(context(root, **parameters))
    return str(caught.value)


def write(path: Path, *lines: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return path


GOOD = '{"recordId": "a", "modelInput": {"prompt": "hi"}}'


def test_records_are_counted_over_all_files_of_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "b.jsonl", GOOD, GOOD, "")
    write(tmp_path / "deep" / "a.jsonl", GOOD)
    write(tmp_path / "notes.txt", "no record")
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "b.jsonl")
    assert validate(context(tmp_path)) == {"records": 3}
    assert [path.name for path in files(tmp_path)] == ["b.jsonl", "a.jsonl"]
    assert validate(context(tmp_path / "b.jsonl")) == {"records": 2}


def test_a_record_without_an_id_gets_one_of_its_line(tmp_path: Path) -> None:
    file = write(tmp_path / "b.jsonl", GOOD, json.dumps({"modelInput": {}}))
    assert [(record.line, record.id) for record in read(file)] == [(1, "a"), (2, "REC00000002")]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "b.jsonl, line 2: no JSON: Expecting property name"),
        (b'{"modelInput": {"prompt": "\xff"}}', "b.jsonl, line 2: no JSON: 'utf-8' codec can't decode byte 0xff"),
        ("[]", 'line 2: no JSON object; a record is {"recordId"'),
        ("", "line 2: no JSON"),
        ('{"recordId": 5, "modelInput": {}}', "line 2: recordId is no string: 5"),
        ('{"recordId": "a"}', "line 2: there is no modelInput"),
        ('{"modelInput": "hi"}', "line 2: modelInput is no JSON object"),
        ('{"modelInput": {"temperature": NaN}}', "line 2: no JSON: NaN is no JSON number"),
        ('{"modelInput": {"prompt": "\\ud83d"}}', "line 2: no JSON: 'utf-8' codec can't encode"),
        ("[" * 100_000, "line 2: no JSON"),
    ],
)
def test_a_bad_line_is_named_with_its_file_and_number(tmp_path: Path, line: str | bytes, words: str) -> None:
    assert words in refusal(write(tmp_path / "b.jsonl", GOOD, line, GOOD))


def test_many_bad_lines_are_counted(tmp_path: Path) -> None:
    text = refusal(write(tmp_path / "b.jsonl", *["{}"] * 50))
    assert text.count("there is no modelInput") == 20
    assert text.endswith("; and 30 more lines")


def test_files_without_records_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no .jsonl file" in refusal(tmp_path)
    assert "ends in .jsonl" in refusal(write(tmp_path / "b.json", GOOD))
    assert refusal(write(tmp_path / "b.jsonl")) == "0 records; a job has at least 1"
    assert refusal(write(tmp_path / "b.jsonl", GOOD), least_records=100) == "1 records; a job has at least 100"
    monkeypatch.setattr(records, "MAX_LINE", 10)
    assert "line 1: a record has at most 10 bytes" in refusal(write(tmp_path / "b.jsonl", GOOD))
