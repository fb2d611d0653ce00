"""What users bring to train on: JSONL files of prompts and completions, of conversations, or of text.

Formats: Amazon Bedrock User Guide, "Prepare data for fine-tuning your models"; the Converse format is that of
`schemaVersion` bedrock-conversation-2024, the form with plain strings is Claude 3 Haiku's.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import orjson

from modelyard.families.conversation import text_of
from modelyard.runner.context import InputError

Customization = Literal["fine-tuning", "continued-pre-training", "distillation"]

SCHEMA = "bedrock-conversation-2024"
MAX_LINE_BYTES = 16 * 1024 * 1024
MAX_NAMED = 20
"""How many bad lines a message names."""

FORMS = {
    "fine-tuning": (
        'a row is {"prompt": "...", "completion": "..."} or '
        '{"schemaVersion": "bedrock-conversation-2024", "messages": [...]}'
    ),
    "distillation": 'a row is {"schemaVersion": "bedrock-conversation-2024", "messages": [...]}',
    "continued-pre-training": 'a row is {"input": "..."}',
}


class RowError(Exception):
    """One line cannot be used; the message says why."""


@dataclass(frozen=True)
class Text:
    """Plain text, to be continued."""

    text: str


@dataclass(frozen=True)
class Completion:
    """A prompt as the user wrote it, and what is to follow."""

    prompt: str
    completion: str


@dataclass(frozen=True)
class Conversation:
    """Messages with `role` and `content`: perhaps one of the system, then user and assistant in turn.

    The last is the assistant's, unless a teacher is still to answer.
    """

    messages: tuple[Mapping[str, str], ...]

    @property
    def answered(self) -> bool:
        """Whether the last message is the assistant's."""
        return self.messages[-1]["role"] == "assistant"


Content = Text | Completion | Conversation


@dataclass(frozen=True)
class Row:
    """One line of a file."""

    place: str
    content: Content


@dataclass
class Problems:
    """The bad lines of a job: the first of them, and how many there are.

    source: what is said before the name of a file, since two of a job's inputs may have the same one.
    """

    named: list[str] = field(default_factory=list)
    count: int = 0
    source: str = ""

    def add(self, place: str, why: object) -> None:
        """Takes one more."""
        self.count += 1
        if len(self.named) < MAX_NAMED:
            self.named.append(f"{self.source}{place}: {why}")

    def check(self) -> None:
        """InputError with all that is known, if there are any."""
        if self.count:
            more = f"\nand {self.count - len(self.named)} more" if self.count > len(self.named) else ""
            lines = "1 line" if self.count == 1 else f"{self.count} lines"
            raise InputError(f"{lines} cannot be used:\n" + "\n".join(self.named) + more)


def read_rows(path: Path, customization: Customization, problems: Problems) -> Iterator[Row]:
    """The rows of a file, or of every .jsonl file in a folder; bad lines go to `problems`.

    Raises InputError if there is no file, or one without a row.
    """
    for name, file in _files(path):
        empty = True
        for number, line in enumerate(_lines(file), start=1):
            empty = False
            place = f"{name}, line {number}"
            try:
                yield Row(place, parse(line, customization))
            except RowError as error:
                problems.add(place, error)
        if empty:
            raise InputError(f"{name} is empty; {FORMS[customization]}, one in each line")


def _files(path: Path) -> list[tuple[str, Path]]:
    if path.is_file():
        return [(path.name, path)]
    found = [(str(file.relative_to(path)), file) for file in sorted(path.rglob("*.jsonl")) if file.is_file()]
    if not found:
        raise InputError(f"{path.name}: there is no such file, and no folder with .jsonl files")
    return found


def _lines(file: Path) -> Iterator[bytes]:
    """The lines without their ends; one that is too long is cut, and refused by `parse`."""
    with file.open("rb") as opened:
        while line := opened.readline(MAX_LINE_BYTES + 1):
            yield line
            while len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                line = opened.readline(MAX_LINE_BYTES + 1)


def parse(line: bytes, customization: Customization) -> Content:
    """What a line holds; RowError says what is wrong with it."""
    if len(line) > MAX_LINE_BYTES:
        raise RowError(f"it is longer than {MAX_LINE_BYTES // 2**20} MiB")
    if not line.strip():
        raise RowError("it is blank; delete it")
    try:
        line.decode()
        row = orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except UnicodeDecodeError as error:
        raise RowError(f"it is not UTF-8: byte {error.start} is 0x{line[error.start]:02x}") from None
    except orjson.JSONDecodeError as error:
        raise RowError(f"it is not JSON ({error}); a row has one line of its own") from None
    if not isinstance(row, dict):
        raise RowError(f"it is {_shown(row)}, not an object; {FORMS[customization]}")
    if customization == "continued-pre-training":
        return Text(_text(row, "input", customization))
    if customization == "distillation":
        return _prompt_to_distil(row)
    if "messages" in row:
        return _conversation(row, answered=True)
    return Completion(_text(row, "prompt", customization), _text(row, "completion", customization))


def _text(row: Mapping[str, Any], key: str, customization: Customization) -> str:
    if key not in row:
        raise RowError(f"it has no {key!r}; {FORMS[customization]}")
    value = row[key]
    if not isinstance(value, str):
        raise RowError(f"{key} is {_shown(value)}, not a string")
    if not value.strip():
        raise RowError(f"{key} is empty")
    return value


def _prompt_to_distil(row: Mapping[str, Any]) -> Conversation:
    """A row of distillation: one question, and perhaps its answer."""
    for key in ("schemaVersion", "messages"):
        if key not in row:
            raise RowError(f"it has no {key!r}; {FORMS['distillation']}")
    if unknown := sorted(set(row) - {"schemaVersion", "system", "messages"}):
        raise RowError(f"{unknown[0]!r} is no key of a row; there are schemaVersion, system and messages")
    conversation = _conversation(row, answered=False)
    if len(row["messages"]) > 2:
        raise RowError(f"messages has {len(row['messages'])} items; distillation takes 1 or 2")
    return conversation


def _conversation(row: Mapping[str, Any], answered: bool) -> Conversation:
    """The messages of a row; `answered` asks for the assistant to have the last word."""
    if row.get("schemaVersion", SCHEMA) != SCHEMA:
        raise RowError(f"schemaVersion is {_shown(row['schemaVersion'])}, not {SCHEMA!r}")
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        raise RowError("messages is not a list of messages")
    system = [] if row.get("system") is None else [{"role": "system", "content": _content(row["system"], "system")}]
    turns = [_message(message, place) for place, message in enumerate(messages)]
    if answered and (len(turns) < 2 or turns[-1]["role"] != "assistant"):
        raise RowError("the last message is not the assistant's; there would be nothing to learn")
    return Conversation((*system, *turns))


def _message(message: Any, place: int) -> dict[str, str]:
    path = f"messages[{place}]"
    if not isinstance(message, dict):
        raise RowError(f"{path} is {_shown(message)}, not an object")
    expected = "assistant" if place % 2 else "user"
    if message.get("role") == "system":
        raise RowError(f"""{path}.role is "system"; its text is the row's own 'system', beside 'messages'""")
    if message.get("role") != expected:
        raise RowError(
            f"{path}.role is {_shown(message.get('role'))}, not {expected!r}; user and assistant take turns, "
            "the user first"
        )
    if "content" not in message:
        raise RowError(f"{path} has no 'content'")
    return {"role": expected, "content": _content(message["content"], f"{path}.content")}


def _content(value: Any, path: str) -> str:
    """A string, or a list of `{"text": "..."}`."""
    if isinstance(value, list) and path == "system" and len(value) != 1:
        raise RowError(f"system has {len(value)} items; there is exactly one")
    text = value if isinstance(value, str) else text_of(_blocks(value, path))
    if not text.strip():
        raise RowError(f"{path} is empty")
    return text


def _blocks(value: Any, path: str) -> Sequence[str]:
    if not isinstance(value, list):
        raise RowError(f'{path} is {_shown(value)}, not a list of {{"text": "..."}}')
    for place, block in enumerate(value):
        if not isinstance(block, dict) or not isinstance(block.get("text"), str):
            kinds = sorted(set(block) - {"text"}) if isinstance(block, dict) else []
            found = f"a block of {kinds[0]!r}" if kinds else _shown(block)
            raise RowError(f'{path}[{place}] is {found}; only {{"text": "..."}} is served')
    return [block["text"] for block in value]


def _shown(value: Any) -> str:
    """The beginning of a value, as it stands in the file."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= 40 else f"{text[:40]}..."
