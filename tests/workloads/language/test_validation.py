from pathlib import Path

import pytest
from tests.workloads.language.jobs import FACTS, context, validated, write_rows

from modelyard.runner.context import InputError, Stopped
from modelyard.workloads.language import validation


def test_rows_and_tokens_are_counted(mini: Path, tmp_path: Path) -> None:
    result = validated(tmp_path, mini, FACTS)
    assert (result["training_records"], result["validation_records"]) == (12, [])
    assert 12 * 15 < result["training_tokens"] < 12 * 50


def test_every_bad_line_of_every_file_is_named(mini: Path, tmp_path: Path) -> None:
    inputs = {
        "training": write_rows(tmp_path / "train.jsonl", [*FACTS, {"prompt": "a"}]),
        "validation-0": write_rows(tmp_path / "valid" / "train.jsonl", [[], FACTS[0]]),
    }
    parameters = {"base": str(mini), "customization": "fine-tuning"}
    with pytest.raises(InputError) as refused:
        validation.run(context(tmp_path / "task", inputs, parameters))
    head, first, second = str(refused.value).splitlines()
    assert head == "2 lines cannot be used:"
    assert first.startswith("train.jsonl, line 13: it has no 'completion'")
    assert second.startswith("validators.0, train.jsonl, line 1: it is [], not an object")


def test_rows_above_the_token_limit_are_named(mini: Path, tmp_path: Path) -> None:
    rows = [*FACTS, {"prompt": "a", "completion": "Deletes the queue. " * 100}]
    with pytest.raises(InputError, match=r"train.jsonl, line 13: it has \d+ tokens; at most 100 fit"):
        validated(tmp_path, mini, rows, limits={"record_tokens": 100})


def test_the_models_context_is_a_limit_too(mini: Path, tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": "Deletes the queue. " * 1000}]
    with pytest.raises(InputError, match="at most 512 fit"):
        validated(tmp_path, mini, rows, limits={"record_tokens": 100_000})


def test_more_rows_than_the_model_takes_are_refused(mini: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train.jsonl has more than 11 rows; this model takes at most 11"):
        validated(tmp_path, mini, FACTS, limits={"training_records": 11})


def test_long_text_is_no_bad_row(mini: Path, tmp_path: Path) -> None:
    result = validated(tmp_path, mini, [{"input": "Deletes the queue. " * 1000}], "continued-pre-training")
    assert result["training_tokens"] > 5000


def test_questions_for_a_teacher_are_counted(mini: Path, tmp_path: Path) -> None:
    row = {
        "schemaVersion": "bedrock-conversation-2024",
        "messages": [{"role": "user", "content": [{"text": "What does DeleteQueue do?"}]}],
    }
    assert validated(tmp_path, mini, [row] * 3, "distillation")["training_records"] == 3
    long = {**row, "messages": [{"role": "user", "content": [{"text": "Deletes the queue. " * 1000}]}]}
    with pytest.raises(InputError, match=r"line 1: it has \d+ tokens; 512 have to hold the answer too"):
        validated(tmp_path, mini, [long], "distillation")


def test_a_stop_is_heard(mini: Path, tmp_path: Path) -> None:
    inputs = {"training": write_rows(tmp_path / "train.jsonl", FACTS)}
    parameters = {"base": str(mini), "customization": "fine-tuning"}
    with pytest.raises(Stopped):
        validation.run(context(tmp_path / "task", inputs, parameters, lambda: True))
