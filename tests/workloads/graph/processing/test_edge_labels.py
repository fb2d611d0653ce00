import pickle
import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.workloads.graph.exports import edge, feature, node, process, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID, Graph

NAMES = [f"n{number:02}" for number in range(30)]
PEOPLE = "~id\n" + "".join(f"{name}\n" for name in NAMES)
SPLITS = {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"}
RATED = ("p", "rated", "p")


def rated(
    folder: Path, rows: str, label: Mapping[str, Any], files: Mapping[str, str] | None = None, dest: str = "p"
) -> Path:
    every = {"p.csv": PEOPLE, "r.csv": rows, **(files or {})}
    nodes = [node("p.csv", "p"), *([node("p.csv", dest)] if dest != "p" else [])]
    return write(folder, every, nodes, [edge("r.csv", "p", "rated", dest, labels=[label])])


def random_rows(count: int, values: list[str], seed: int = 0) -> str:
    random = np.random.default_rng(seed)
    ends, chosen = random.integers(0, len(NAMES), (count, 2)), random.integers(0, len(values), count)
    rows = (f"{NAMES[a]},{NAMES[b]},{values[value]}\n" for (a, b), value in zip(ends, chosen, strict=True))
    return "~from,~to,stars\n" + "".join(rows)


def test_classes_of_an_edge_stand_beside_its_ends(tmp_path: Path) -> None:
    rows = "~id,~from,~to,stars\ne1,n00,n01,five\ne2,n00,n01, one \ne3,n02,n03,\n" + "".join(
        f"x{n},n{n:02},n{n + 1:02},{'five' if n % 2 else 'one'}\n" for n in range(4, 24)
    )
    label = {"label": ["stars", "classification"], "split_rate": [0.8, 0.1, 0.1]}
    graph, result = process(rated(tmp_path / "in", rows, label), tmp_path / "out")
    task, arrays = graph.task, graph.edges(0)
    assert (task.type, task.edge_type, task.node_type, task.property) == ("edge_class", RATED, None, "stars")
    assert (task.classes, task.multilabel) == (("five", "one"), False)
    assert graph.edge_types[0].target
    assert arrays["labels"].dtype == np.int64
    assert arrays["labels"][:5].tolist() == [0, 1, -1, 1, 0]
    assert arrays["split"][2] == NONE
    assert arrays["split"][0] == arrays["split"][1] != NONE
    assert (result["labelled"], result["classes"]) == (22, 2)
    assert sum(result["split"].values()) == 22
    assert graph.labels()["labels"] is not None


def test_several_classes_and_numbers(tmp_path: Path) -> None:
    rows = "~from,~to,stars\nn00,n01,x;y\nn01,n02,\nn02,n03,z;x\nn03,n04,y\n"
    label = {"label": ["stars", "classification"], "separator": ";", "split_rate": [0.5, 0.5, 0.0]}
    graph, _ = process(rated(tmp_path / "1", rows, label), tmp_path / "many")
    assert graph.task.multilabel
    assert graph.edges(0)["labels"].tolist() == [[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]]
    rows = "~from,~to,stars\nn00,n01,1.5\nn01,n02,\nn02,n03,-2\nn03,n04,0\n"
    label = {"label": ["stars", "regression"], "split_rate": [0.5, 0.5, 0.0]}
    graph, _ = process(rated(tmp_path / "2", rows, label), tmp_path / "numbers")
    labels = graph.edges(0)["labels"]
    assert (graph.task.type, labels.dtype) == ("edge_regression", np.float32)
    assert labels[[0, 2, 3]].tolist() == [1.5, -2, 0]
    assert np.isnan(labels[1])
    assert graph.edges(0)["split"][1] == NONE


def splits_by_pair(graph: Graph, both_directions: bool) -> dict[tuple[int, int], set[int]]:
    arrays, found = graph.edges(0), defaultdict(set)
    for head, tail, split in zip(*arrays["edge_index"].tolist(), arrays["split"].tolist(), strict=True):
        if split != NONE:
            found[(min(head, tail), max(head, tail)) if both_directions else (head, tail)].add(split)
    return found


def test_edges_of_one_pair_share_a_split_with_their_reverses(tmp_path: Path) -> None:
    label = {"label": ["stars", "classification"], "split_rate": [0.6, 0.2, 0.2]}
    rows = random_rows(700, ["one", "two", ""])
    graph, _ = process(rated(tmp_path / "in", rows, label), tmp_path / "out")
    found = splits_by_pair(graph, both_directions=True)
    assert {len(splits) for splits in found.values()} == {1}
    assert {next(iter(splits)) for splits in found.values()} == {TRAIN, VALID, TEST}
    assert np.array_equal(graph.edges(0)["split"] == NONE, graph.edges(0)["labels"] < 0)


def test_two_types_have_no_reverses_within_one(tmp_path: Path) -> None:
    label = {"label": ["stars", "classification"], "split_rate": [0.6, 0.2, 0.2]}
    graph, _ = process(rated(tmp_path / "in", random_rows(700, ["a", "b"]), label, dest="q"), tmp_path / "out")
    assert {len(splits) for splits in splits_by_pair(graph, both_directions=False).values()} == {1}
    assert {len(splits) for splits in splits_by_pair(graph, both_directions=True).values()} == {1, 2}


def test_a_random_split_has_every_class_in_its_share(tmp_path: Path) -> None:
    rows = "~from,~to,stars\n" + "".join(
        f"{NAMES[n // 29]},{NAMES[n % 29 + 1]},{'rare' if n % 10 == 0 else 'often'}\n" for n in range(200)
    )
    label = {"label": ["stars", "classification"], "split_rate": [0.8, 0.1, 0.1]}
    graph, _ = process(rated(tmp_path / "in", rows, label, dest="q"), tmp_path / "out")
    arrays = graph.edges(0)
    rare = graph.task.classes.index("rare")
    counts = [int(((arrays["split"] == code) & (arrays["labels"] == rare)).sum()) for code in (TRAIN, VALID, TEST)]
    assert counts == [16, 2, 2]


def test_split_files_name_pairs_and_may_bring_labels(tmp_path: Path) -> None:
    rows = "~from,~to,stars\nn00,n01,a\nn00,n01,b\nn01,n00,a\nn02,n03,b\nn04,n05,a\nn06,n07,b\n"
    files = {
        "train.csv": "~from,~to\nn00,n01\n",
        "valid.csv": "~from,~to,stars\nn02,n03,a\n",
        "test.csv": "~from,~to,stars\nn04,n05,\n",
    }
    label = {"label": ["stars", "classification"], "custom_split_filenames": SPLITS}
    graph, result = process(rated(tmp_path / "in", rows, label, files), tmp_path / "out")
    arrays = graph.edges(0)
    assert arrays["split"].tolist() == [TRAIN, TRAIN, NONE, VALID, TEST, NONE]
    assert arrays["labels"].tolist() == [0, 1, 0, 0, 0, 1]
    assert result["split"] == {"train": 2, "valid": 1, "test": 1}


def test_split_files_with_ids_name_single_edges(tmp_path: Path) -> None:
    rows = "~id,~from,~to,stars\ne1,n00,n01,a\ne2,n00,n01,b\ne3,n02,n03,a\n"
    files = {
        "train.csv": "~id,~from,~to,stars\ne2,n00,n01,c\n",
        "valid.csv": "~id,~from,~to\ne1,n00,n01\n",
        "test.csv": "~from,~to\nn02,n03\n",
    }
    label = {"label": ["stars", "classification"], "custom_split_filenames": SPLITS}
    graph, _ = process(rated(tmp_path / "in", rows, label, files), tmp_path / "out")
    assert graph.edges(0)["split"].tolist() == [VALID, TRAIN, TEST]
    assert [graph.task.classes[code] for code in graph.edges(0)["labels"]] == ["a", "c", "a"]


def test_labels_of_several_files_and_of_one_relation_of_a_column(tmp_path: Path) -> None:
    files = {
        "p.csv": PEOPLE,
        "1.csv": "~label,~from,~to,stars,w\nrated,n00,n01,1,5\nsaw,n01,n02,,6\nrated,n03,n04,2,7\n",
        "2.csv": "~label,~from,~to,w\nrated,n05,n06,8\nsaw,n05,n06,9\n",
        "3.csv": "~label,~from,~to,w,stars\nrated,n07,n08,1,4\nrated,n08,n09,2,8\n",
    }
    label = {"label": ["stars", "regression"], "split_rate": [0.5, 0.5, 0.0]}
    edges = [
        {**edge(name, "p", "", "p", [feature("w", "numerical", norm="none")]), "relation": ["~label", "did"]}
        | {"labels": labels}
        for name, labels in (("1.csv", [label]), ("2.csv", []), ("3.csv", [label]))
    ]
    graph, _ = process(write(tmp_path / "in", files, [node("p.csv", "p")], edges), tmp_path / "out")
    assert graph.task.edge_type == ("p", "did-rated", "p")
    assert [kind.target for kind in graph.edge_types] == [True, False]
    arrays = graph.edges(graph.edge_type_index(("p", "did-rated", "p")))
    np.testing.assert_array_equal(arrays["labels"], np.float32([1, 2, np.nan, 4, 8]))
    assert arrays["features"][:, 0].tolist() == [5, 7, 8, 1, 2]
    assert "labels" not in graph.edges(1)


def test_a_newer_graph_keeps_classes_and_splits(tmp_path: Path) -> None:
    label = {"label": ["stars", "classification"], "split_rate": [0.6, 0.2, 0.2]}
    rows = random_rows(150, ["a", "b"])
    first, _ = process(rated(tmp_path / "1", rows, label), tmp_path / "first")
    newer = rows + random_rows(60, ["b"], seed=7).partition("\n")[2]
    second, _ = process(rated(tmp_path / "2", newer, label), tmp_path / "second", first.folder, seed=5)
    assert second.task == first.task
    before, now = first.edges(0), second.edges(0)
    assert np.array_equal(now["split"][:150], before["split"])
    assert np.array_equal(now["labels"][:150], before["labels"])
    assert {len(splits) for splits in splits_by_pair(second, both_directions=True).values()} == {1}
    stranger = newer + "n00,n29,c\n"
    with pytest.raises(InputError, match=r"the label 'c' of the edge 'rated' from 'n00' to 'n29' is no class"):
        process(rated(tmp_path / "3", stranger, label), tmp_path / "third", first.folder)
    other = {"label": ["stars", "regression"]}
    with pytest.raises(InputError, match="the previous job learned the label 'stars' of edges 'p-rated-p'"):
        process(rated(tmp_path / "4", rows, {"label": ["", "link_prediction"]}), tmp_path / "fourth", first.folder)
    with pytest.raises(InputError, match="'a' is not a number"):
        process(rated(tmp_path / "5", rows.replace(",b\n", ",a\n"), other), tmp_path / "fifth", first.folder)


def test_the_toolkit_finds_the_classes_of_an_edge_type(tmp_path: Path) -> None:
    label = {"label": ["stars", "classification"]}
    graph, _ = process(rated(tmp_path / "in", random_rows(60, ["a", "b"]), label), tmp_path / "out")
    info = pickle.loads((graph.folder / "info.pkl").read_bytes())
    assert info["label_map"] == {RATED: {0: "a", 1: "b"}}
    assert info["label_properties"] == {RATED: "stars"}
    assert info["is_multilabel"] is False


FIRST = {"train.csv": "~from,~to\nn00,n01\n", "valid.csv": "~from,~to\nn02,n03\n", "test.csv": "~from,~to\n"}


@pytest.mark.parametrize(
    ("rows", "label", "files", "message"),
    [
        ("n00,n01,\n", {}, {}, "graph.edges[0].labels[0]: no edge 'p-rated-p' has a value in the column 'stars'"),
        ("n00,n01,a\n", {}, {}, "no labelled edge 'p-rated-p' is in the valid split"),
        ("n00,n01,1\nn00,n02,x\n", {"label": ["stars", "regression"]}, {}, "r.csv, line 3, column 'stars': 'x' is not"),
        ("n00,n01,a\n", {"label": ["stern", "classification"]}, {}, "r.csv, line 1: no column 'stern'"),
        ("n00,n01,a\n", {"label": ["", "classification"]}, {}, "labels[0].label[0]: must name the column of the label"),
        (
            "n00,n01,a\nn02,n03,b\n",
            {"custom_split_filenames": SPLITS},
            {**FIRST, "test.csv": "~from,~to\nn03,n02\n"},
            "test.csv, line 2, column '~from': 'n03' has no edge to 'n02'",
        ),
        (
            "n00,n01,a\nn02,n03,b\n",
            {"custom_split_filenames": SPLITS},
            {**FIRST, "test.csv": "~from,~to\nn00,n01\n"},
            "test.csv, line 2, column '~from': 'n00' has an edge that is also in the train split",
        ),
    ],
)
def test_what_cannot_be_learned_is_told(
    tmp_path: Path, rows: str, label: dict[str, Any], files: dict[str, str], message: str
) -> None:
    asked = {"label": ["stars", "classification"], **label}
    with pytest.raises(InputError, match=re.escape(message)):
        process(rated(tmp_path / "in", "~from,~to,stars\n" + rows, asked, files), tmp_path / "out")


def test_a_job_learns_the_labels_of_one_edge_type(tmp_path: Path) -> None:
    files = {"p.csv": PEOPLE, "r.csv": "~from,~to,stars\nn00,n01,a\nn01,n02,b\n"}
    label = {"label": ["stars", "classification"]}
    two = [edge("r.csv", "p", name, "p", labels=[label]) for name in ("rated", "saw")]
    with pytest.raises(InputError, match="edges 'p-saw-p' have labels, and so have 'p-rated-p'"):
        process(write(tmp_path / "1", files, [node("p.csv", "p")], two), tmp_path / "o1")
    both = edge("r.csv", "p", "rated", "p", labels=[label, {"label": ["", "link_prediction"]}])
    with pytest.raises(InputError, match=r"labels\[1\]: a job learns one thing"):
        process(write(tmp_path / "2", files, [node("p.csv", "p")], [both]), tmp_path / "o2")
