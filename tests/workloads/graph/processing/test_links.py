import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.workloads.graph.exports import edge, node, process, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID, Graph

SPLITS = {"train": "train.csv", "valid": "valid.csv", "test": "test.csv"}


def linked(folder: Path, pairs: list[tuple[str, str]], **label: Any) -> Path:
    nodes = "~id\n" + "".join(f"{name}\n" for name in sorted({name for pair in pairs for name in pair}))
    files = {"p.csv": nodes, "k.csv": "~from,~to\n" + "".join(f"{a},{b}\n" for a, b in pairs)}
    labels = [{"label": ["", "link_prediction"], **label}] if label else []
    return write(folder, files, [node("p.csv", "p")], [edge("k.csv", "p", "k", "p", labels=labels)])


def random_pairs(count: int, names: int, seed: int = 0) -> list[tuple[str, str]]:
    ends = np.random.default_rng(seed).integers(0, names, (count, 2))
    return [(f"n{a:03}", f"n{b:03}") for a, b in ends]


def splits_by_pair(graph: Graph, both_directions: bool = True) -> dict[Any, set[int]]:
    arrays = graph.edges(0)
    found = defaultdict(set)
    for source, dest, split in zip(*arrays["edge_index"].tolist(), arrays["split"].tolist(), strict=True):
        found[tuple(sorted((source, dest))) if both_directions else (source, dest)].add(split)
    return found


def test_without_any_label_all_edges_are_to_be_predicted(tmp_path: Path) -> None:
    pairs = [(f"n{n:03}", f"m{n:03}") for n in range(200)]
    graph, result = process(linked(tmp_path / "in", pairs), tmp_path / "out")
    assert graph.task.type == "link_predict"
    assert graph.edge_types[0].target
    assert result["split"] == {"train": 180, "valid": 20, "test": 0}
    assert graph.labels() == {}


def test_duplicates_and_reverses_of_an_edge_share_its_split(tmp_path: Path) -> None:
    pairs = random_pairs(600, 25)
    graph, _ = process(linked(tmp_path / "in", pairs, split_rate=[0.6, 0.2, 0.2]), tmp_path / "out")
    found = splits_by_pair(graph)
    assert len(found) < 330
    assert {len(splits) for splits in found.values()} == {1}
    assert {next(iter(splits)) for splits in found.values()} == {TRAIN, VALID, TEST}


def test_edges_between_two_types_have_no_reverses_of_their_own(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = "".join(f"n{a},n{b}\n" for a, b in random.integers(0, 20, (500, 2)))
    files = {"p.csv": "~id\n" + "".join(f"n{n}\n" for n in range(20)), "k.csv": "~from,~to\n" + rows}
    graph, _ = process(
        write(tmp_path / "in", files, [node("p.csv", "p"), node("p.csv", "q")], [edge("k.csv", "p", "k", "q")]),
        tmp_path / "out",
    )
    assert {len(splits) for splits in splits_by_pair(graph, both_directions=False).values()} == {1}
    assert {len(splits) for splits in splits_by_pair(graph).values()} == {1, 2}


def test_only_labelled_types_are_targets(tmp_path: Path) -> None:
    pairs = "".join(f"n{n},n{n + 1}\n" for n in range(40))
    files = {"p.csv": "~id\n" + "".join(f"n{n}\n" for n in range(41)), "k.csv": "~from,~to\n" + pairs}
    label = {"label": ["", "link_prediction"], "split_rate": [0.5, 0.25, 0.25]}
    edges = [edge("k.csv", "p", "k", "p", labels=[label]), edge("k.csv", "p", "other", "p")]
    graph, result = process(write(tmp_path / "in", files, [node("p.csv", "p")], edges), tmp_path / "out")
    assert [kind.target for kind in graph.edge_types] == [True, False]
    assert "split" not in graph.edges(1)
    assert result["split"] == {"train": 20, "valid": 10, "test": 10}


def custom(folder: Path, pairs: list[tuple[str, str]], **files: str) -> Path:
    export = linked(folder, pairs, custom_split_filenames=SPLITS)
    for name, text in files.items():
        (export / f"{name}.csv").write_text(text)
    return export


def test_split_files_say_which_edge_is_for_what(tmp_path: Path) -> None:
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"), ("b", "c"), ("e", "a")]
    export = custom(
        tmp_path / "in", pairs, train="~from,~to\na,b\n", valid="~to,~from\nc,b\n", test="~from,~to,~x\nc,d,1\n"
    )
    graph, _ = process(export, tmp_path / "out")
    assert graph.edges(0)["split"].tolist() == [TRAIN, VALID, TEST, NONE, VALID, NONE]
    assert graph.warnings == ()


def test_the_reverse_of_a_held_out_edge_is_held_out_unless_the_files_say_otherwise(tmp_path: Path) -> None:
    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b"), ("c", "d"), ("d", "c")]
    train, valid, test = "~from,~to\na,b\nd,c\n", "~from,~to\nb,c\n", "~from,~to\nc,d\n"
    graph, _ = process(custom(tmp_path / "in", pairs, train=train, valid=valid, test=test), tmp_path / "out")
    assert graph.edges(0)["split"].tolist() == [TRAIN, TRAIN, VALID, VALID, TEST, TRAIN]
    assert graph.warnings == (
        "1 pairs of nodes have edges of one type in both directions in different splits, as the split files say",
    )


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train": "~from,~to\na,c\n"}, "train.csv, line 2, column '~from': 'a' has no edge to 'c'"),
        ({"train": "~from,~to\nz,c\n"}, "train.csv, line 2, column '~from': 'z' is the id of no node of type 'p'"),
        ({"valid": "~from,~to\nb,c\na,b\n"}, "valid.csv, line 3, column '~from': 'a' is also in the train split"),
        ({"valid": "~id\nb\n"}, "valid.csv, line 1: no column '~from'"),
        ({"valid": "~from,~to\n"}, "link prediction has no edge in the valid split"),
        ({"train": "~from,~to\n"}, "link prediction has no edge in the train split"),
    ],
)
def test_split_files_that_do_not_fit(tmp_path: Path, files: dict[str, str], message: str) -> None:
    given = {"train": "~from,~to\na,b\n", "valid": "~from,~to\nb,c\n", "test": "~from,~to\nc,d\n", **files}
    with pytest.raises(InputError, match=re.escape(message)):
        process(custom(tmp_path / "in", [("a", "b"), ("b", "c"), ("c", "d")], **given), tmp_path / "out")


def test_a_graph_without_edges_has_no_links_to_predict(tmp_path: Path) -> None:
    export = write(tmp_path / "in", {"p.csv": "~id\na\n"}, [node("p.csv", "p")])
    with pytest.raises(InputError, match=r"graph\.edges: link prediction has no edge in the train split"):
        process(export, tmp_path / "out")
