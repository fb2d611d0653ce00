from pathlib import Path

import numpy as np
import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.language.chat import Example
from modelyard.workloads.language.dataset import Dataset, Growing, SplitWriter, write_document


def example(*tokens: int) -> Example:
    return Example(np.asarray(tokens, np.int32), np.asarray(tokens) % 2 == 0)


def write(folder: Path, *examples: Example) -> dict[str, int]:
    with SplitWriter(folder) as writer:
        for one in examples:
            writer.add(one)
    return writer.counts()


def test_what_was_written_is_read(tmp_path: Path) -> None:
    examples = [example(1, 2, 3), example(4, 6), example(*range(1000))]
    counts = write(tmp_path / "training", *examples)
    validation = write(tmp_path / "validation-0", example(8))
    write_document(tmp_path, {"training": counts, "validation-0": validation}, row_tokens=None)
    data = Dataset(tmp_path)
    assert counts == {"examples": 3, "tokens": 1005, "learned": 503}
    assert data.training.lengths.tolist() == [3, 2, 1000]
    for place, one in enumerate(examples):
        np.testing.assert_array_equal(data.training[place].tokens, one.tokens)
        np.testing.assert_array_equal(data.training[place].learned, one.learned)
    assert data.validation["validation-0"][0].tokens.tolist() == [8]
    assert data.document["row_tokens"] is None


def test_a_growing_file_is_an_ordinary_one(tmp_path: Path) -> None:
    file = Growing(tmp_path / "x.npy", np.int64)
    for start in range(0, 300, 100):
        file.append(np.arange(start, start + 100))
    file.close()
    assert np.load(tmp_path / "x.npy").tolist() == list(range(300))


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "training", example(1))
    with pytest.raises(InputError, match="is no data set"):
        Dataset(tmp_path)
