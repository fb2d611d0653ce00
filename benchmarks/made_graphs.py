"""Graphs made on the spot, each with one thing to learn, written as Neptune's exporter writes them."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, WIDTH = 4, 8
NEIGHBOURS = 5


def write_alike(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """A stochastic block model whose neighbours are alike: four of five edges stay within a class."""
    return _write_blocks(folder, nodes, np.full(CLASSES, 0.05) + 0.75 * np.eye(CLASSES), seed)


def write_unlike(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """A stochastic block model whose neighbours differ: classes come in pairs, and know the other of their pair."""
    other = np.eye(CLASSES)[np.arange(CLASSES) ^ 1]
    return _write_blocks(folder, nodes, np.full(CLASSES, 0.05) + 0.75 * other, seed)


def write_shop(folder: Path, people: int = 1000, seed: int = 0) -> Path:
    """People, goods and brands: a person's class shows in the brands of what was bought, two edges away.

    Whom people know says nothing.
    """
    random = np.random.default_rng(seed)
    goods, brands = people // 2, 40
    brand_class = np.arange(brands) % CLASSES
    brand_of = random.integers(0, brands, goods)
    label = random.integers(0, CLASSES, people)
    person = np.repeat(np.arange(people), NEIGHBOURS)
    wanted = np.where(random.random(len(person)) < 0.6, label[person], random.integers(0, CLASSES, len(person)))
    by_class = [np.flatnonzero(brand_class[brand_of] == one) for one in range(CLASSES)]
    bought = np.array([random.choice(by_class[one]) for one in wanted])
    knows = random.integers(0, people, (2, people * NEIGHBOURS))
    weak = random.normal(size=(people, WIDTH)) + 0.3 * np.eye(CLASSES, WIDTH)[label]
    _nodes(folder, "person", weak, label)
    _nodes(folder, "good", random.normal(size=(goods, WIDTH)))
    _nodes(folder, "brand", np.eye(CLASSES, WIDTH)[brand_class] + 0.3 * random.normal(size=(brands, WIDTH)))
    edges = [
        _edges(folder, ("person", "knows", "person"), knows),
        _edges(folder, ("person", "buys", "good"), np.stack([person, bought])),
        _edges(folder, ("good", "made-by", "brand"), np.stack([np.arange(goods), brand_of])),
    ]
    return _configured(folder, ("person", "good", "brand"), edges)


def _write_blocks(folder: Path, nodes: int, mixing: np.ndarray, seed: int) -> Path:
    """A degree of about five, weak features of every class, and one label in ten for training."""
    random = np.random.default_rng(seed)
    label = random.integers(0, CLASSES, nodes)
    source = np.repeat(np.arange(nodes), NEIGHBOURS)
    share = (mixing / mixing.sum(1, keepdims=True)).cumsum(1)
    wanted = (random.random(len(source))[:, None] > share[label[source]]).sum(1).clip(max=CLASSES - 1)
    by_class = [np.flatnonzero(label == one) for one in range(CLASSES)]
    dest = np.array([random.choice(by_class[one]) for one in wanted])
    _nodes(folder, "node", random.normal(size=(nodes, WIDTH)) + 0.5 * np.eye(CLASSES, WIDTH)[label], label)
    return _configured(folder, ("node",), [_edges(folder, ("node", "links", "node"), np.stack([source, dest]))])


def _nodes(folder: Path, name: str, features: np.ndarray, label: np.ndarray | None = None) -> None:
    columns = ["~id", "~label", *(f"x{place}" for place in range(features.shape[1]))]
    rows = ([f"{name}{n}", name, *(f"{value:.4f}" for value in row)] for n, row in enumerate(features))
    if label is not None:
        columns.append("class")
        rows = ([*row, f"c{one}"] for row, one in zip(rows, label, strict=True))
    _table(folder / "nodes" / f"{name}.csv", columns, rows)


def _edges(folder: Path, key: tuple[str, str, str], pairs: np.ndarray) -> dict[str, Any]:
    source, relation, dest = key
    name = f"edges/{source}-{relation}-{dest}.csv"
    pairs = np.unique(pairs[:, pairs[0] != pairs[1]] if source == dest else pairs, axis=1)
    rows = ([f"e{n}", relation, f"{source}{a}", f"{dest}{b}"] for n, (a, b) in enumerate(pairs.T))
    _table(folder / name, ["~id", "~label", "~from", "~to"], rows)
    ends = {"source": ["~from", source], "relation": ["", relation], "dest": ["~to", dest]}
    return {"file_name": name, "separator": ",", **ends}


def _table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def _configured(folder: Path, names: Sequence[str], edges: Sequence[dict[str, Any]]) -> Path:
    """Writes the configuration; the first node type is the one with labels."""
    features = [{"feature": [f"x{place}", f"x{place}", "numerical"], "norm": "none"} for place in range(WIDTH)]
    nodes = [
        {"file_name": f"nodes/{name}.csv", "separator": ",", "node": ["~id", name], "features": features}
        for name in names
    ]
    nodes[0]["labels"] = [{"label": ["class", "classification"], "split_rate": [0.1, 0.2, 0.7]}]
    document = {"version": "v2.0", "query_engine": "gremlin", "graph": {"nodes": nodes, "edges": list(edges)}}
    (folder / "training-data-configuration.json").write_text(json.dumps(document, indent=1))
    return folder
