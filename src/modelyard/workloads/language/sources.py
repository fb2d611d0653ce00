"""The files of a customization job as examples for its base model: validation counts them, processing keeps them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.language.chat import Encoder, Example
from modelyard.workloads.language.loading import load_tokenizer
from modelyard.workloads.language.rows import Content, Conversation, Customization, Problems, Row, RowError, read_rows

TEXT_TOKENS = 2048
"""The longest piece of plain text, unless the job says otherwise: attention costs the square of it."""

Answers = Mapping[tuple[str, str], str]
"""A teacher's answers, by split and place of their row."""


class Found(NamedTuple):
    """A row that can be used, and its examples: none where a teacher is still to answer."""

    row: Row
    examples: list[Example]
    tokens: int


@dataclass(frozen=True)
class Sources:
    """How a job's rows become examples.

    length: tokens of the longest example. answers: where a teacher has answered, its answers.
    """

    customization: Customization
    encoder: Encoder
    length: int
    answers: Answers | None = None

    @classmethod
    def of(cls, context: Context, answers: Answers | None = None) -> "Sources":
        """What the parameters `base`, `customization`, `limits` and `sequence_tokens` say.

        `limits` has `record_tokens`, and `training_records` and `validation_records`: the most that a job may bring.
        """
        parameters = context.parameters
        base, customization = Path(parameters["base"]), parameters["customization"]
        length = min(context_tokens(base), _limits(context).get("record_tokens") or context_tokens(base))
        if customization == "continued-pre-training":
            length = min(length, parameters.get("sequence_tokens") or TEXT_TOKENS)
        return cls(customization, Encoder(load_tokenizer(base)), length, answers)

    def read(self, context: Context, split: str, problems: Problems) -> Iterator[Found]:
        """The rows of a split that can be used; what cannot goes to `problems`. Reports each, and raises Stopped."""
        most = _limits(context).get(f"{split.partition('-')[0]}_records")
        path = context.inputs[split]
        problems.source = "" if split == "training" else f"{split.replace('validation-', 'validators.')}, "
        for number, row in enumerate(read_rows(path, self.customization, problems), start=1):
            if most is not None and number > most:
                raise InputError(f"{path.name} has more than {most} rows; this model takes at most {most}: bring fewer")
            if number % 100 == 1:
                context.report(number - 1, phase=f"reading {split} data")
                if context.should_stop():
                    raise Stopped
            try:
                yield self._found(split, row)
            except RowError as error:
                problems.add(row.place, error)

    def _found(self, split: str, row: Row) -> Found:
        content = self._answered(split, row)
        if isinstance(content, Conversation) and not content.answered:
            tokens = self.encoder.question(content.messages)
            if len(tokens) >= self.length:
                raise RowError(f"it has {len(tokens)} tokens; {self.length} have to hold the answer too")
            return Found(row, [], len(tokens))
        examples = list(self.encoder.examples(content, self.length))
        return Found(row, examples, sum(len(example.tokens) for example in examples))

    def _answered(self, split: str, row: Row) -> Content:
        if self.answers is None or not isinstance(row.content, Conversation) or row.content.answered:
            return row.content
        answer = self.answers.get((split, row.place))
        if answer is None:
            raise RowError("the teacher's answer is empty")
        return Conversation((*row.content.messages, {"role": "assistant", "content": answer}))


def _limits(context: Context) -> Mapping[str, int | None]:
    return context.parameters.get("limits") or {}


def splits(context: Context) -> list[str]:
    """The names of a job's inputs: training, then validation-0 and so on."""
    return sorted(context.inputs, key=lambda name: (name != "training", len(name), name))


def context_tokens(base: Path) -> int:
    """How many tokens a model takes."""
    try:
        config = json.loads((base / "config.json").read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{base.name} is no model: its config.json cannot be read ({error})") from None
    text = config.get("text_config", config)
    return int(text.get("max_position_embeddings") or TEXT_TOKENS)
