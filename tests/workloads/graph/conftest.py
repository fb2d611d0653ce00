"""Processed graphs for tests: small ones made on the spot, and real ones read from the data folder."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars
import pytest
from safetensors.numpy import save_file
from tests.workloads.graph.exports import real

from modelyard.workloads.graph.data import (
    NONE,
    EdgeType,
    Feature,
    Graph,
    NodeType,
    Task,
    write_graph,
)


@dataclass
class Made:
    """A graph that a test makes: arrays by type, written as a processed graph by `write`."""

    task: Task
    nodes: Mapping[str, int]
    edges: Mapping[tuple[str, str, str], np.ndarray]
    features: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    sparse: Mapping[str, Sequence[bool]] = field(default_factory=dict)
    labels: np.ndarray | None = None
    split: np.ndarray | None = None
    edge_split: Mapping[tuple[str, str, str], np.ndarray] = field(default_factory=dict)
    edge_features: Mapping[tuple[str, str, str], np.ndarray] = field(default_factory=dict)
    edge_labels: np.ndarray | None = None

    def write(self, folder: Path) -> Graph:
        node_types = []
        for number, (name, count) in enumerate(self.nodes.items()):
            (folder / "nodes" / str(number)).mkdir(parents=True)
            polars.DataFrame({"id": [f"{name}-{row}" for row in range(count)]}).write_parquet(
                folder / "nodes" / str(number) / "ids.parquet"
            )
            node_types.append(NodeType(name, count, self._features(folder, number, name)))
        (folder / "edges").mkdir()
        edge_types = []
        for number, (key, edges) in enumerate(self.edges.items()):
            arrays = {"edge_index": np.ascontiguousarray(edges, dtype=np.int64)}
            if key in self.edge_split:
                arrays["split"] = self.edge_split[key].astype(np.uint8)
            if self.edge_labels is not None and key == self.task.edge_type:
                arrays["labels"] = self.edge_labels
            described = ()
            if (block := self.edge_features.get(key)) is not None:
                arrays["features"] = np.ascontiguousarray(block, dtype=np.float32)
                described = (Feature("feature0", "numerical", block.shape[1]),)
            save_file(arrays, folder / "edges" / f"{number}.safetensors")
            edge_types.append(EdgeType(*key, edges.shape[1], key in self.edge_split, described))
        if self.labels is not None and self.split is not None:
            save_file({"labels": self.labels, "split": self.split.astype(np.uint8)}, folder / "labels.safetensors")
        graph = Graph(folder, tuple(node_types), tuple(edge_types), self.task)
        write_graph(graph)
        return graph

    def _features(self, folder: Path, number: int, name: str) -> tuple[Feature, ...]:
        described, arrays = [], {}
        for place, block in enumerate(self.features.get(name, ())):
            sparse = bool(self.sparse.get(name, [False] * 99)[place])
            described.append(Feature(f"feature{place}", "numerical", block.shape[1], sparse))
            if sparse:
                row, col = np.nonzero(block)
                arrays[f"{place}.indptr"] = np.searchsorted(row, np.arange(len(block) + 1)).astype(np.int64)
                arrays[f"{place}.indices"] = col.astype(np.int32)
                arrays[f"{place}.values"] = block[row, col].astype(np.float32)
            else:
                arrays[str(place)] = np.ascontiguousarray(block, dtype=np.float32)
        if arrays:
            save_file(arrays, folder / "nodes" / str(number) / "features.safetensors")
        return tuple(described)


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made


@pytest.fixture(scope="session")
def two_communities() -> Callable[..., Made]:
    """People of two groups with weak features, who mostly know their own group and buy their group's goods."""
    return make_communities


def make_communities(people: int = 200, seed: int = 0) -> Made:
    random = np.random.default_rng(seed)
    group = random.integers(0, 2, people)
    pairs = random.integers(0, people, (2, people * 12))
    same = group[pairs[0]] == group[pairs[1]]
    keep = random.random(pairs.shape[1]) < np.where(same, 0.9, 0.1)
    pairs = pairs[:, keep & (pairs[0] != pairs[1])]
    goods = 20
    buys = np.stack([np.arange(people), random.integers(0, goods // 2, people) + group * (goods // 2)])
    noisy = group[:, None] * 0.7 + random.normal(size=(people, 3))
    split = np.zeros(people)
    split[: people * 3 // 5] = np.repeat([1, 2, 3], people // 5)
    return Made(
        task=Task("node_class", "person", "group", ("a", "b")),
        nodes={"person": people, "good": goods},
        edges={("person", "knows", "person"): pairs, ("person", "buys", "good"): buys},
        features={"person": [noisy]},
        labels=np.where(split == NONE, -1, group),
        split=split,
    )


@pytest.fixture(scope="session")
def cora(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = real("cora")
    ids: dict[str, int] = {}
    words, topics = [], []
    with (folder / "nodes" / "paper.csv").open() as file:
        for row in csv.DictReader(file):
            ids[row["~id"]] = len(ids)
            words.append(np.fromstring(row["words"], sep=";", dtype=np.float32))
            topics.append(row["topic"])
    split = np.zeros(len(ids))
    for number, name in enumerate(("train", "valid", "test"), start=1):
        with (folder / f"{name}.csv").open() as file:
            split[[ids[row["~id"]] for row in csv.DictReader(file)]] = number
    classes = tuple(sorted(set(topics)))
    labels = np.array([classes.index(topic) for topic in topics])
    return Made(
        task=Task("node_class", "paper", "topic", classes),
        nodes={"paper": len(ids)},
        edges={("paper", "cites", "paper"): _pairs(folder / "edges" / "paper-cites-paper.csv", ids)},
        features={"paper": [np.stack(words)]},
        sparse={"paper": [True]},
        labels=np.where(split == NONE, -1, labels),
        split=split,
    ).write(tmp_path_factory.mktemp("cora"))


@pytest.fixture(scope="session")
def umls(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = real("umls")
    with (folder / "nodes" / "entity.csv").open() as file:
        ids = {row["~id"]: number for number, row in enumerate(csv.DictReader(file))}
    edges, split = {}, {}
    for path in sorted((folder / "edges").glob("*.csv")):
        parts = [_pairs(folder / "splits" / f"{path.stem}-{name}.csv", ids) for name in ("train", "valid", "test")]
        key = ("entity", path.stem, "entity")
        edges[key] = np.concatenate(parts, axis=1)
        split[key] = np.repeat([1, 2, 3], [part.shape[1] for part in parts])
    return Made(Task("link_predict"), {"entity": len(ids)}, edges, edge_split=split).write(
        tmp_path_factory.mktemp("umls")
    )


def _pairs(path: Path, ids: Mapping[str, int]) -> np.ndarray:
    if not path.exists():
        return np.zeros((2, 0), np.int64)
    with path.open() as file:
        pairs = [(ids[row["~from"]], ids[row["~to"]]) for row in csv.DictReader(file)]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2).T
