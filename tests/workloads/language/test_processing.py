from pathlib import Path

import numpy as np
import pytest
from tests.workloads.language.jobs import FACTS, processed

from modelyard.runner.context import InputError
from modelyard.workloads.language.dataset import Dataset
from modelyard.workloads.language.loading import load_tokenizer


def test_rows_become_tokens_of_which_the_answers_are_learned(mini: Path, tmp_path: Path) -> None:
    data = Dataset(processed(tmp_path, mini, FACTS, validation=FACTS[:2]))
    tokenizer = load_tokenizer(mini)
    assert (len(data.training), len(data.validation["validation-0"])) == (12, 2)
    assert (data.document["prompts"], data.document["row_tokens"]) == ("chat", None)
    tokens, learned = data.training[3]
    assert tokenizer.decode(tokens).startswith("<|endoftext|><|user|>Which crew keeps the Cedar north")
    assert tokenizer.decode(np.asarray(tokens)[learned]) == "The Lynx crew.<|end|>"


def test_plain_text_is_all_learned_in_pieces_of_the_row_length(mini: Path, tmp_path: Path) -> None:
    rows = [{"input": "Deletes the specified queue. " * 20}, {"input": "Short."}]
    data = Dataset(processed(tmp_path, mini, rows, "continued-pre-training", sequence_tokens=32))
    assert (data.document["prompts"], data.document["row_tokens"]) == ("text", 32)
    assert max(data.training.lengths) == 32
    assert all(data.training[place].learned.all() for place in range(len(data.training)))


def test_a_share_of_the_rows_is_held_out_where_no_validation_data_is_given(mini: Path, tmp_path: Path) -> None:
    data = Dataset(processed(tmp_path, mini, FACTS * 10, evaluation_percentage=20.0, seed=1))
    held_out = len(data.validation["validation-0"])
    assert held_out + len(data.training) == 120
    assert 12 <= held_out <= 36


def test_validation_data_that_is_given_comes_first(mini: Path, tmp_path: Path) -> None:
    data = Dataset(processed(tmp_path, mini, FACTS, validation=FACTS[:2], evaluation_percentage=50.0))
    assert (len(data.training), len(data.validation["validation-0"])) == (12, 2)


def test_too_few_rows_to_hold_some_out_are_refused(mini: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few rows to hold 5 % of them out"):
        processed(tmp_path, mini, FACTS[:1], evaluation_percentage=5.0)
