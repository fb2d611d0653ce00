from pathlib import Path

import baselines
import numpy as np
import pytest


def write_operations(folder: Path, split: str, operations: dict[str, str]) -> None:
    (folder / f"{split}.csv").write_text("~id\n" + "".join(f"{split}:{name}\n" for name in operations))
    with (folder / "nodes" / "operation.consolidated.csv").open("a") as file:
        for name, label in operations.items():
            file.write(f"{split}:{name},operation,{name},GET,{label}\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "operation.consolidated.csv").write_text("~id,~label,name,http_method,paginated\n")
    things = ("Apple", "Pear", "Plum", "Fig", "Lime", "Date", "Kiwi", "Nut")
    for split in ("train", "valid", "test"):
        named = {f"List{thing}": "true" for thing in things} | {f"Get{thing}": "false" for thing in things}
        write_operations(tmp_path, split, named | {f"Put{thing}": "false" for thing in things})
    return tmp_path


def test_names_tell_what_names_can_tell(folder: Path) -> None:
    test = baselines.read_operations(folder, "test")
    assert baselines.score(test.paginated, baselines.names_only(folder)) == baselines.Scores(1.0, 1.0, 1.0)


def test_the_majority_is_often_right_and_finds_nothing(folder: Path) -> None:
    test = baselines.read_operations(folder, "test")
    scores = baselines.score(test.paginated, baselines.majority(folder))
    assert scores.accuracy == pytest.approx(2 / 3)
    assert scores.f1 == 0.0
    assert scores.roc_auc == 0.5


def test_operations_keep_the_order_of_the_split(folder: Path) -> None:
    (folder / "test.csv").write_text("~id\ntest:PutFig\ntest:ListPlum\n")
    operations = baselines.read_operations(folder, "test")
    assert operations.ids == ["test:PutFig", "test:ListPlum"]
    assert operations.names == ["put fig", "list plum"]
    assert operations.paginated.tolist() == [False, True]


def test_scores() -> None:
    truth = np.array([True, True, False, False])
    scores = baselines.score(truth, np.array([0.9, 0.4, 0.6, 0.1]))
    assert scores == baselines.Scores(0.5, 0.5, 0.75)
