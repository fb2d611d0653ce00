import json
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.language.rows import (
    MAX_LINE_BYTES,
    Completion,
    Conversation,
    Problems,
    RowError,
    Text,
    parse,
    read_rows,
)


def line(row: Any) -> bytes:
    return json.dumps(row).encode() + b"\n"


def turns(*messages: tuple[str, object]) -> list[dict[str, object]]:
    return [{"role": role, "content": content} for role, content in messages]


ASKED = ("user", [{"text": "Who?"}])
ANSWERED = ("assistant", [{"text": "We."}])


class TestGoodRows:
    def test_prompt_and_completion_other_keys_do_not_matter(self) -> None:
        row = {"prompt": "a ", "completion": " b", "note": 1}
        assert parse(line(row), "fine-tuning") == Completion("a ", " b")

    def test_plain_text(self) -> None:
        assert parse(line({"input": "ein Süßes 日本"}), "continued-pre-training") == Text("ein Süßes 日本")

    def test_a_byte_order_mark_is_no_part_of_a_row(self) -> None:
        assert parse(b"\xef\xbb\xbf" + line({"input": "a"}), "continued-pre-training") == Text("a")

    def test_converse_with_a_system_prompt_and_blocks(self) -> None:
        row = {
            "schemaVersion": "bedrock-conversation-2024",
            "system": [{"text": "Be brief."}],
            "messages": turns(("user", [{"text": "One"}, {"text": "two?"}]), ANSWERED),
        }
        content = parse(line(row), "fine-tuning")
        assert content == Conversation(
            (
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "One\ntwo?"},
                {"role": "assistant", "content": "We."},
            )
        )

    def test_claudes_form_with_plain_strings(self) -> None:
        row = {"system": "Be brief.", "messages": turns(("user", "Who?"), ("assistant", "We."))}
        content = parse(line(row), "fine-tuning")
        assert isinstance(content, Conversation)
        assert [message["content"] for message in content.messages] == ["Be brief.", "Who?", "We."]

    def test_a_question_for_the_teacher(self) -> None:
        row = {"schemaVersion": "bedrock-conversation-2024", "messages": turns(ASKED)}
        content = parse(line(row), "distillation")
        assert isinstance(content, Conversation)
        assert not content.answered


SCHEMA = "bedrock-conversation-2024"
BAD: list[tuple[bytes, str]] = [
    (b"{\n", r"it is not JSON \(.*\); a row has one line of its own"),
    (b'{"prompt": "\xff", "completion": "b"}\n', "it is not UTF-8: byte 12 is 0xff"),
    ('{"prompt": "a", "completion": "b"}\n'.encode("utf-16"), "it is not UTF-8: byte 0 is 0xff"),
    (b"[" * 100_000 + b"\n", "it is not JSON"),
    (b"\n", "it is blank"),
    (line([1]), r"it is \[1\], not an object"),
    (line({"completion": "b"}), "it has no 'prompt'; a row is"),
    (line({"prompt": "a"}), "it has no 'completion'"),
    (line({"prompt": 3, "completion": "b"}), "prompt is 3, not a string"),
    (line({"prompt": "a", "completion": " "}), "completion is empty"),
    (line({"messages": []}), "messages is not a list of messages"),
    (line({"messages": "a"}), "messages is not a list of messages"),
    (line({"messages": [5]}), r"messages\[0\] is 5, not an object"),
    (line({"messages": turns(ASKED)}), "the last message is not the assistant's"),
    (line({"messages": turns(ASKED, ANSWERED, ASKED)}), "the last message is not the assistant's"),
    (line({"messages": turns(ANSWERED, ASKED)}), r"""messages\[0\].role is "assistant", not 'user'"""),
    (
        line({"messages": turns(("system", "Be brief."), ASKED, ANSWERED)}),
        r"""messages\[0\].role is "system"; its text is the row's own 'system', beside 'messages'""",
    ),
    (line({"messages": turns(ASKED, ("assistant", []))}), r"messages\[1\].content is empty"),
    (line({"messages": turns(ASKED, ("assistant", 1))}), r"messages\[1\].content is 1, not a list"),
    (line({"messages": [{"role": "user"}]}), r"messages\[0\] has no 'content'"),
    (
        line({"messages": turns(("user", [{"image": {}}]), ANSWERED)}),
        r"messages\[0\].content\[0\] is a block of 'image'",
    ),
    (line({"schemaVersion": "1", "messages": turns(ASKED, ANSWERED)}), """schemaVersion is "1", not 'bedrock"""),
    (line({"system": [], "messages": turns(ASKED, ANSWERED)}), "system has 0 items"),
]


@pytest.mark.parametrize(("text", "why"), BAD)
def test_a_bad_row_says_what_is_wrong(text: bytes, why: str) -> None:
    with pytest.raises(RowError, match=why):
        parse(text, "fine-tuning")


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"messages": turns(ASKED)}, "it has no 'schemaVersion'"),
        ({"schemaVersion": SCHEMA, "messages": turns(ASKED), "id": 1}, "'id' is no key of a row"),
        ({"schemaVersion": SCHEMA, "messages": turns(ASKED, ANSWERED, ASKED)}, "messages has 3 items"),
    ],
)
def test_distillation_is_stricter(row: object, why: str) -> None:
    with pytest.raises(RowError, match=why):
        parse(line(row), "distillation")


def test_a_long_value_is_shown_by_its_beginning() -> None:
    with pytest.raises(RowError, match=r'prompt is \["x{38}\.\.\., not a string'):
        parse(line({"prompt": ["x" * 1000], "completion": "b"}), "fine-tuning")


class TestFiles:
    def read(self, path: Path) -> tuple[list[str], Problems]:
        problems = Problems()
        return [row.place for row in read_rows(path, "continued-pre-training", problems)], problems

    def test_good_rows_have_a_place_and_bad_lines_are_named_by_it(self, tmp_path: Path) -> None:
        file = tmp_path / "text.jsonl"
        file.write_bytes(line({"input": "a"}) + b"oops\n" + line({"input": "c"}).rstrip())
        places, problems = self.read(file)
        assert places == ["text.jsonl, line 1", "text.jsonl, line 3"]
        with pytest.raises(InputError, match=r"1 line cannot be used:\ntext.jsonl, line 2: it is not JSON"):
            problems.check()

    def test_the_first_bad_lines_are_named_and_all_are_counted(self, tmp_path: Path) -> None:
        file = tmp_path / "text.jsonl"
        file.write_bytes(b"oops\n" * 50)
        _, problems = self.read(file)
        with pytest.raises(InputError) as refused:
            problems.check()
        assert str(refused.value).startswith("50 lines cannot be used:\n")
        assert str(refused.value).endswith("\nand 30 more")
        assert str(refused.value).count("text.jsonl, line ") == 20

    def test_all_jsonl_files_of_a_folder_are_read_in_order(self, tmp_path: Path) -> None:
        for name in ("b.jsonl", "a/x.jsonl", "notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(line({"input": "a"}))
        assert self.read(tmp_path)[0] == ["a/x.jsonl, line 1", "b.jsonl, line 1"]

    def test_an_empty_file_says_what_belongs_there(self, tmp_path: Path) -> None:
        (tmp_path / "text.jsonl").touch()
        with pytest.raises(InputError, match=r'text.jsonl is empty; a row is {"input": "..."}, one in each line'):
            self.read(tmp_path / "text.jsonl")

    def test_a_missing_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match=r"train.jsonl: there is no such file"):
            self.read(tmp_path / "train.jsonl")

    def test_a_line_without_end_is_not_kept_in_memory(self, tmp_path: Path) -> None:
        file = tmp_path / "text.jsonl"
        with file.open("wb") as opened:
            opened.truncate(3 * MAX_LINE_BYTES)
            opened.seek(0, 2)
            opened.write(b"\n" + line({"input": "b"}))
        places, problems = self.read(file)
        assert places == ["text.jsonl, line 2"]
        assert problems.named == ["text.jsonl, line 1: it is longer than 16 MiB"]
