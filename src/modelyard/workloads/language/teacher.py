"""Distillation's teacher: a model that answers the prompts of the training rows."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.runner.serving import RequestError
from modelyard.workloads.language.engine import LanguageEngine
from modelyard.workloads.language.engine_choice import load_engine
from modelyard.workloads.language.generation import Generation
from modelyard.workloads.language.journal import Journal
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

    Parameters: `teacher` and `teacher_adapter` (folders), `max_response_tokens`, `engine` (see `load_engine`). What was
    answered stays in `state`. Raises InputError for a row that the teacher cannot read, and Stopped.
    """
    journal = Journal(context.state / "answers")
    answers: dict[tuple[str, str], str] = {(split, place): text for _, (split, place, text) in journal.values()}
    questions = list(_questions(context))
    if waiting := [question for question in questions if question.row not in answers]:
        for question, text in _answers(context, waiting):
            journal.note([*question.row, text])
            answers[question.row] = text
            context.report(len(answers), phase="asking the teacher", total=len(questions))
    return {row: text for row, text in answers.items() if text.strip()}


def _questions(context: Context) -> Iterator[Question]:
    for split in splits(context):
        for row in read_rows(context.inputs[split], "distillation", Problems()):
            if isinstance(row.content, Conversation) and not row.content.answered:
                yield Question((split, row.place), row.content.messages)


def _answers(context: Context, questions: Iterable[Question]) -> Iterator[tuple[Question, str]]:
    """The teacher's answers, in the order in which they end; several are under way at once."""
    teacher, waiting = Path(context.parameters["teacher"]), iter(questions)
    engine = load_engine(teacher, context.cores, context.parameters.get("engine", "auto"))
    asked: dict[Generation, Question] = {}
    texts: dict[Generation, str] = {}
    while True:
        for question in islice(waiting, ANSWERED_AT_ONCE - len(engine)):
            generation = _prepared(context, engine, question)
            asked[generation], texts[generation] = question, ""
            engine.add(generation)
        if not len(engine):
            return
        if context.should_stop():
            raise Stopped
        for piece in engine.step():
            texts[piece.generation] += piece.text
            if piece.error:
                raise RuntimeError(f"{asked[piece.generation].row[1]}: the teacher failed: {piece.error}")
            if piece.last:
                yield asked.pop(piece.generation), texts.pop(piece.generation)


def _prepared(context: Context, engine: LanguageEngine, question: Question) -> Generation:
    adapter = context.parameters.get("teacher_adapter")
    most = context.parameters.get("max_response_tokens", MAX_RESPONSE_TOKENS)
    request = Request(messages=question.messages, adapter=Path(adapter) if adapter else None, max_tokens=most)
    try:
        return engine.prepare(request)
    except RequestError as error:
        raise InputError(f"{question.row[1]}: the teacher cannot answer: {error}") from None
