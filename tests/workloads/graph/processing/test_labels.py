import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.workloads.graph.exports import edge, node, process, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID

EDGE = edge("k.csv", "p", "k", "p")
SPLITS = {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"}


def labelled(tmp_path: Path, rows: str, label: dict[str, Any], files: dict[str, str] | None = None) -> Any:
    every = {"p.csv": "~id,tier\n" + rows, "k.csv": "~from,~to\na,b\n", **(files or {})}
    return process(write(tmp_path / "in", every, [node("p.csv", "p", labels=[label])], [EDGE]), tmp_path / "out")


def test_classes_of_a_node(tmp_path: Path) -> None:
    rows = "a,gold\nb,\nc, base \nd,gold\n" + "".join(f"n{n},{'gold' if n % 2 else 'base'}\n" for n in range(96))
    graph, result = labelled(tmp_path, rows, {"label": ["tier", "classification"], "split_rate": [0.8, 0.1, 0.1]})
    task, arrays = graph.task, graph.labels()
    assert (task.type, task.node_type, task.property, task.classes) == ("node_class", "p", "tier", ("base", "gold"))
    assert not task.multilabel
    assert arrays["labels"].dtype == np.int64
    assert arrays["labels"][:4].tolist() == [1, -1, 0, 1]
    assert arrays["split"][1] == NONE
    assert result["split"] == {"train": 79, "valid": 10, "test": 10}
    assert (result["labelled"], result["classes"]) == (99, 2)


def test_several_classes_of_a_node(tmp_path: Path) -> None:
    label = {"label": ["tier", "classification"], "separator": ";", "split_rate": [0.5, 0.5, 0.0]}
    graph, result = labelled(tmp_path, "a,x;y\nb,y;y\nc,\nd,z;\n", label)
    assert graph.task.multilabel
    assert graph.labels()["labels"].dtype == np.uint8
    assert graph.labels()["labels"].tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert graph.labels()["split"][2] == NONE
    assert result["labelled"] == 3


def test_numbers(tmp_path: Path) -> None:
    label = {"label": ["tier", "regression"], "split_rate": [0.5, 0.5, 0.0]}
    graph, _ = labelled(tmp_path, "a,1.5\nb,\nc,-3\nd,0\n", label)
    arrays = graph.labels()
    assert graph.task.type == "node_regression"
    assert arrays["labels"].dtype == np.float32
    assert arrays["labels"][[0, 2, 3]].tolist() == [1.5, -3, 0]
    assert np.isnan(arrays["labels"][1])
    assert arrays["split"][1] == NONE


def test_split_files_and_their_labels(tmp_path: Path) -> None:
    files = {"train.csv": "~id\na\nb\n", "valid.csv": "tier,~id\nbase,c\n", "test.csv": "~id,tier\nd,\n"}
    label = {"label": ["tier", "classification"], "custom_split_filenames": SPLITS}
    graph, result = labelled(tmp_path, "a,gold\nb,base\nc,gold\nd,gold\ne,gold\n", label, files)
    arrays = graph.labels()
    assert arrays["split"].tolist() == [TRAIN, TRAIN, VALID, TEST, NONE]
    assert [graph.task.classes[i] for i in arrays["labels"]] == ["gold", "base", "base", "gold", "gold"]
    assert result["split"] == {"train": 2, "valid": 1, "test": 1}


def test_a_listed_node_without_label_is_in_no_split(tmp_path: Path) -> None:
    files = {"train.csv": "~id\na\n", "valid.csv": "~id\nb\n", "test.csv": "~id\nc\n"}
    label = {"label": ["tier", "classification"], "custom_split_filenames": SPLITS}
    graph, _ = labelled(tmp_path, "a,gold\nb,base\nc,\n", label, files)
    assert graph.labels()["split"].tolist() == [TRAIN, VALID, NONE]
    assert graph.warnings == ("1 nodes of the split files have no label 'tier' and are in no split",)


def test_files_of_one_type_may_each_have_split_files(tmp_path: Path) -> None:
    files = {
        **{"p1.csv": "~id,tier\na,x\nb,y\n", "p2.csv": "~id,tier\nc,x\nd,y\n", "k.csv": "~from,~to\na,b\n"},
        **{"t1.csv": "~id\na\n", "v1.csv": "~id\nb\n", "t2.csv": "~id\nc\n", "v2.csv": "~id\nd\n"},
    }
    nodes = [
        node(f"p{n}.csv", "p", labels=[{"label": ["tier", "classification"], "custom_split_filenames": names}])
        for n, names in ((1, {"train": "t1.csv", "valid": "v1.csv"}), (2, {"train": "t2.csv", "valid": "v2.csv"}))
    ]
    graph, _ = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    assert graph.labels()["split"].tolist() == [TRAIN, VALID, TRAIN, VALID]


def test_the_seed_decides_the_split(tmp_path: Path) -> None:
    rows = "".join(f"n{n},{n % 2}\n" for n in range(100))
    files = {"p.csv": "~id,tier\n" + rows, "k.csv": "~from,~to\nn1,n2\n"}
    export = write(tmp_path / "in", files, [node("p.csv", "p", labels=[{"label": ["tier", "classification"]}])], [EDGE])
    splits = [
        process(export, tmp_path / str(number), seed=seed)[0].labels()["split"].tolist()
        for number, seed in enumerate((1, 1, 2))
    ]
    assert splits[0] == splits[1] != splits[2]


def test_a_single_class_is_told(tmp_path: Path) -> None:
    graph, _ = labelled(tmp_path, "a,x\nb,x\nc,x\n", {"label": ["tier", "classification"]})
    assert graph.warnings == ("every label 'tier' is 'x': there is nothing to tell apart",)


@pytest.mark.parametrize(
    ("rows", "label", "files", "message"),
    [
        (
            "a,\nb,\n",
            {"label": ["tier", "classification"]},
            {},
            "graph.nodes[0].labels[0]: no node of type 'p' has a value in the column 'tier'",
        ),
        ("a,\nb,\n", {"label": ["tyre", "classification"]}, {}, "p.csv, line 1: no column 'tyre'"),
        (
            "a,1\nb,high\n",
            {"label": ["tier", "regression"]},
            {},
            "p.csv, line 3, column 'tier': 'high' is not a number",
        ),
        ("a,x\n", {"label": ["tier", "classification"]}, {}, "no labelled node of type 'p' is in the valid split"),
        (
            "a,x\nb,y\n",
            {"label": ["tier", "classification"], "custom_split_filenames": SPLITS},
            {"train.csv": "~id\na\n", "valid.csv": "~id\nb\n", "test.csv": "~id\nb\n"},
            "test.csv, line 2, column '~id': 'b' is also in the valid split",
        ),
        (
            "a,x\nb,y\n",
            {"label": ["tier", "classification"], "custom_split_filenames": SPLITS},
            {"train.csv": "~id\na\n", "valid.csv": "~id\nb\n", "test.csv": "~id\nz\n"},
            "test.csv, line 2, column '~id': 'z' is the id of no node of type 'p'",
        ),
        (
            "a,1\nb,2\n",
            {"label": ["tier", "regression"], "custom_split_filenames": SPLITS},
            {"train.csv": "~id,tier\na,one\n", "valid.csv": "~id\nb\n", "test.csv": "~id\n"},
            "train.csv, line 2, column 'tier': 'one' is not a number",
        ),
        (
            "a,x\nb,\n",
            {"label": ["tier", "classification"], "custom_split_filenames": SPLITS},
            {"train.csv": "~id\na\n", "valid.csv": "~id\nb\n", "test.csv": "~id\n"},
            "no labelled node of type 'p' is in the valid split",
        ),
    ],
)
def test_what_cannot_be_learned_is_told(
    tmp_path: Path, rows: str, label: dict[str, Any], files: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        labelled(tmp_path, rows, label, {"k.csv": "~from,~to\na,a\n", **files})


def test_a_job_learns_one_thing(tmp_path: Path) -> None:
    files = {"p.csv": "~id,tier,age\na,x,1\nb,y,2\n", "k.csv": "~from,~to\na,b\n"}
    tier, age = {"label": ["tier", "classification"]}, {"label": ["age", "regression"]}
    with pytest.raises(
        InputError, match=r"graph\.nodes\[0\]\.labels\[1\]: a job learns one thing, and graph\.nodes\[0\]"
    ):
        process(write(tmp_path / "in", files, [node("p.csv", "p", labels=[tier, age])], [EDGE]), tmp_path / "1")
    links = edge("k.csv", "p", "k", "p", labels=[{"label": ["", "link_prediction"]}])
    with pytest.raises(InputError, match=r"graph\.edges\[0\]\.labels\[0\]: a job learns one thing"):
        process(write(tmp_path / "in", files, [node("p.csv", "p", labels=[tier])], [links]), tmp_path / "2")
