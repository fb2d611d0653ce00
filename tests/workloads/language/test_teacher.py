from pathlib import Path

import pytest
from tests.workloads.language.jobs import context, processed, write_rows

from modelyard.runner.context import Context, Stopped
from modelyard.workloads.language.dataset import Dataset
from modelyard.workloads.language.generate import Generations
from modelyard.workloads.language.loading import load_model, load_tokenizer
from modelyard.workloads.language.request import Request
from modelyard.workloads.language.teacher import teach

QUESTIONS = [f"What does {operation} of SQS do?" for operation in ("DeleteQueue", "ListQueues", "SendMessage")]


def row(question: str, answer: str | None = None) -> dict[str, object]:
    messages = [{"role": "user", "content": [{"text": question}]}]
    if answer is not None:
        messages.append({"role": "assistant", "content": [{"text": answer}]})
    return {"schemaVersion": "bedrock-conversation-2024", "messages": messages}


def task(folder: Path, teacher: Path, stop_after: float = float("inf")) -> Context:
    asked = iter(range(1_000_000))
    inputs = {"training": write_rows(folder / "train.jsonl", [row(question) for question in QUESTIONS * 10])}
    parameters = {"teacher": str(teacher), "max_response_tokens": 20}
    return context(folder / "task", inputs, parameters, lambda: next(asked) >= stop_after)


def alone(teacher: Path, question: str) -> str:
    """What the teacher answers to one question by itself."""
    generations = Generations(load_model(teacher), load_tokenizer(teacher))
    generations.add(generations.prepare(Request(messages=[{"role": "user", "content": question}], max_tokens=20)))
    text = ""
    while len(generations):
        text += "".join(piece.text for piece in generations.step())
    return text


def test_the_teachers_answers_become_what_is_learned(mini: Path, tmp_path: Path) -> None:
    rows = [row(QUESTIONS[0]), row(QUESTIONS[1], "Lists them.")]
    data = processed(tmp_path, mini, rows, "distillation", teacher=str(mini), max_response_tokens=20)
    training, tokenizer = Dataset(data).training, load_tokenizer(mini)
    learned = [tokenizer.decode(training[place].tokens[training[place].learned]) for place in range(2)]
    assert learned == [f"{alone(mini, QUESTIONS[0])}<|end|>", "Lists them.<|end|>"]


def test_answers_given_before_a_stop_are_not_asked_again(mini: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        teach(task(tmp_path, mini, stop_after=25))
    before = (tmp_path / "task" / "state" / "answers").read_bytes()
    assert 0 < before.count(b"\n") < 30
    answers = teach(task(tmp_path, mini))
    assert (tmp_path / "task" / "state" / "answers").read_bytes().startswith(before)
    assert len(answers) == 30
    assert answers["training", "train.jsonl, line 2"] == alone(mini, QUESTIONS[1])
