"""Distillation's teacher: a model that answers the prompts of the training rows."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.runner.serving import RequestError
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.generation import Generation
from modelyard.workloads.language.loading import load_model, load_tokenizer
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.rows import Conversation, Problems, read_rows
from modelyard.workloads.language.sources import Answers, splits

MAX_RESPONSE_TOKENS = 1000
ANSWERED_AT_ONCE = 16


class Question(NamedTuple):
    """Where a row lies, split and place, and its messages."""

    row: tuple[str, str]
    messages: tuple[Mapping[str, str], ...]


def teach(context: Context) -> Answers:
    """The teacher's answers to all rows that have none, greedy, so that they are the same each time.

    Parameters: `teacher` and `teacher_adapter` (folders), `max_response_tokens`. What was answered stays in `state`.
    Raises InputError for a row that the teacher cannot read, and Stopped.
    """
    kept = Kept(context.state / "answers.jsonl")
    questions = list(_questions(context))
    open_questions = [one for one in questions if one.row not in kept.answers]
    if open_questions:
        _answer(context, open_questions, len(questions), kept)
    return {row: text for row, text in kept.answers.items() if text.strip()}


class Kept:
    """Answers in a file, a line each; what a kill has left of a line is cut off."""

    def __init__(self, path: Path) -> None:
        self.answers: dict[tuple[str, str], str] = {}
        self._file = path.open("a+b")
        self._file.seek(0)
        whole = 0
        for line in self._file:
            if line.endswith(b"\n"):
                split, place, text = json.loads(line)
                self.answers[split, place] = text
                whole += len(line)
        self._file.truncate(whole)

    def add(self, row: tuple[str, str], text: str) -> None:
        """Keeps one more."""
        self.answers[row] = text
        os.write(self._file.fileno(), json.dumps([*row, text]).encode() + b"\n")


def _questions(context: Context) -> Iterator[Question]:
    for split in splits(context):
        for row in read_rows(context.inputs[split], "distillation", Problems()):
            if isinstance(row.content, Conversation) and not row.content.answered:
                yield Question((split, row.place), row.content.messages)


def _answer(context: Context, questions: list[Question], total: int, kept: Kept) -> None:
    teacher, adapter = Path(context.parameters["teacher"]), context.parameters.get("teacher_adapter")
    generations = Generations(load_model(teacher), load_tokenizer(teacher))
    waiting = iter(questions)
    texts: dict[Generation, list[str]] = {}
    rows: dict[Generation, tuple[str, str]] = {}
    while True:
        while len(generations) < ANSWERED_AT_ONCE and (question := next(waiting, None)):
            request = Request(
                messages=question.messages,
                adapter=Path(adapter) if adapter else None,
                max_tokens=context.parameters.get("max_response_tokens", MAX_RESPONSE_TOKENS),
            )
            try:
                generation = generations.prepare(request)
            except RequestError as error:
                raise InputError(f"{question.row[1]}: the teacher cannot answer: {error}") from None
            texts[generation], rows[generation] = [], question.row
            generations.add(generation)
        if not len(generations):
            return
        if context.should_stop():
            raise Stopped
        for piece in generations.step():
            texts[piece.generation].append(piece.text)
            if piece.error:
                raise RuntimeError(f"the teacher failed at {rows[piece.generation][1]}: {piece.error}")
            if piece.last:
                kept.add(rows.pop(piece.generation), "".join(texts.pop(piece.generation)))
                context.report(len(kept.answers), phase="asking the teacher", total=total)
