"""Graphs made on the spot, each with one thing to learn, written as Neptune's exporter writes them."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

CLASSES, WIDTH = 4, 8
NEIGHBOURS = 5
FEW, MOST = [0.1, 0.2, 0.7], [0.6, 0.2, 0.2]
"""Shares of train, validation and test."""

EdgeKey = tuple[str, str, str]


@dataclass(frozen=True)
class Table:
    """Nodes or edges: `columns` by name, `features` and `labels` as the configuration describes them.

    Nodes have `~id`, edges `~from` and `~to`.
    """

    columns: Mapping[str, Sequence[Any]]
    features: Sequence[dict[str, Any]] = ()
    labels: Sequence[dict[str, Any]] = ()


def write_export(folder: Path, nodes: Mapping[str, Table], edges: Mapping[EdgeKey, Table]) -> Path:
    """Writes the files and their configuration."""
    documents: dict[str, list[dict[str, Any]]] = {"nodes": [], "edges": []}
    for name, table in nodes.items():
        documents["nodes"].append(_described(folder, f"nodes/{name}.csv", table) | {"node": ["~id", name]})
    for (source, relation, dest), table in edges.items():
        ends = {"source": ["~from", source], "relation": ["", relation], "dest": ["~to", dest]}
        documents["edges"].append(_described(folder, f"edges/{source}-{relation}-{dest}.csv", table) | ends)
    document = {"version": "v2.0", "query_engine": "gremlin", "graph": documents}
    (folder / "training-data-configuration.json").write_text(json.dumps(document, indent=1))
    return folder


def label(property: str, kind: str, split: Sequence[float] = MOST) -> list[dict[str, Any]]:
    """What the configuration says of a label: `classification`, `regression` or `link_prediction`."""
    return [{"label": [property, kind], "split_rate": list(split)}]


def write_alike(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """A stochastic block model whose neighbours are alike: four of five edges stay within a class."""
    return _write_blocks(folder, nodes, np.full(CLASSES, 0.05) + 0.75 * np.eye(CLASSES), seed)


def write_unlike(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """A stochastic block model whose neighbours differ: classes come in pairs, and know the other of their pair."""
    other = np.eye(CLASSES)[np.arange(CLASSES) ^ 1]
    return _write_blocks(folder, nodes, np.full(CLASSES, 0.05) + 0.75 * other, seed)


def write_cycle(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """A block model where an edge leads to the class after one's own: its direction says as much as its end."""
    return _write_blocks(folder, nodes, np.full(CLASSES, 0.05) + 0.75 * np.roll(np.eye(CLASSES), 1, axis=1), seed)


def write_smooth(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """Nodes on a line, linked with near ones; the number to learn is the place, of which features tell little."""
    return _write_line(folder, nodes, seed)


def write_rough(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """The same, linked with nodes near the place's mirror image: neighbours have the opposite number."""
    return _write_line(folder, nodes, seed, mirrored=True)


def write_far(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """Nodes on a line, where how far apart the ends of an edge are is to be learned."""
    return _write_line(folder, nodes, seed, of_edges="regression")


def write_parted(folder: Path, nodes: int = 1200, seed: int = 0) -> Path:
    """Nodes on a line, where it is to be learned whether the ends of an edge are far apart."""
    return _write_line(folder, nodes, seed, of_edges="classification")


def write_near(folder: Path, nodes: int = 800, seed: int = 0) -> Path:
    """Points of a plane, linked with the nearest ones; features tell roughly where a point lies."""
    random = np.random.default_rng(seed)
    point = random.normal(size=(nodes, 2))
    distance = ((point[:, None] - point[None]) ** 2).sum(2) + np.diag(np.full(nodes, np.inf))
    dest = np.argsort(distance, axis=1)[:, :NEIGHBOURS].ravel()
    features = random.normal(size=(nodes, WIDTH))
    features[:, :2] = point + 0.3 * features[:, :2]
    links = _edges("node", "node", np.repeat(np.arange(nodes), NEIGHBOURS), dest, labels=label("", "link_prediction"))
    return write_export(folder, {"node": _nodes("node", features)}, {("node", "links", "node"): links})


def write_shop(folder: Path, people: int = 1000, seed: int = 0) -> Path:
    """People, goods and brands: a person's class shows in the brands of what was bought, two edges away.

    Whom people know says nothing.
    """
    return _write_shop(folder, people, seed, None)


def write_stars(folder: Path, people: int = 1000, seed: int = 0) -> Path:
    """The shop, where the number of stars that a purchase got is to be learned: people like brands of their class."""
    return _write_shop(folder, people, seed, "regression")


def write_liked(folder: Path, people: int = 1000, seed: int = 0) -> Path:
    """The shop, where it is to be learned whether a purchase was liked."""
    return _write_shop(folder, people, seed, "classification")


def write_bought(folder: Path, people: int = 600, seed: int = 0) -> Path:
    """The shop, where it is to be learned who buys what."""
    return _write_shop(folder, people, seed, "link_prediction")


def _write_shop(folder: Path, people: int, seed: int, judged: str | None) -> Path:
    random = np.random.default_rng(seed)
    goods, brands = people // 2, 40
    brand_class = np.arange(brands) % CLASSES
    brand_of = random.integers(0, brands, goods)
    person_class = random.integers(0, CLASSES, people)
    person = np.repeat(np.arange(people), NEIGHBOURS)
    wanted = np.where(random.random(len(person)) < 0.6, person_class[person], random.integers(0, CLASSES, len(person)))
    by_class = [np.flatnonzero(brand_class[brand_of] == one) for one in range(CLASSES)]
    bought = np.array([random.choice(by_class[one]) for one in wanted])
    knows = random.integers(0, people, (2, people * NEIGHBOURS))
    weak = random.normal(size=(people, WIDTH)) + 0.3 * np.eye(CLASSES, WIDTH)[person_class]
    of_brands = np.eye(CLASSES, WIDTH)[brand_class] + 0.3 * random.normal(size=(brands, WIDTH))
    stars = (person_class[person] == brand_class[brand_of[bought]]) + 0.3 * random.normal(size=len(person))
    stars = (stars - stars.mean()) / stars.std()
    told = {"regression": [f"{one:.4f}" for one in stars], "classification": [str(one > 0) for one in stars]}
    columns = {"stars": told[judged]} if judged in told else {}
    asked = label("stars" if columns else "", judged) if judged else []
    person_nodes = _nodes("person", weak) if judged else _nodes("person", weak, *_classes(person_class))
    nodes = {
        "person": person_nodes,
        "good": _nodes("good", random.normal(size=(goods, WIDTH))),
        "brand": _nodes("brand", of_brands),
    }
    edges = {
        ("person", "knows", "person"): _edges("person", "person", *knows),
        ("person", "buys", "good"): _edges("person", "good", person, bought, columns, asked),
        ("good", "made-by", "brand"): _edges("good", "brand", np.arange(goods), brand_of),
    }
    return write_export(folder, nodes, edges)


def _write_blocks(folder: Path, nodes: int, mixing: np.ndarray, seed: int) -> Path:
    """A degree of about five, weak features of every class; one node in ten is for training."""
    random = np.random.default_rng(seed)
    of_node = random.integers(0, CLASSES, nodes)
    source = np.repeat(np.arange(nodes), NEIGHBOURS)
    share = (mixing / mixing.sum(1, keepdims=True)).cumsum(1)
    wanted = (random.random(len(source))[:, None] > share[of_node[source]]).sum(1).clip(max=CLASSES - 1)
    by_class = [np.flatnonzero(of_node == one) for one in range(CLASSES)]
    dest = np.array([random.choice(by_class[one]) for one in wanted])
    features = random.normal(size=(nodes, WIDTH)) + 0.5 * np.eye(CLASSES, WIDTH)[of_node]
    table = _nodes("node", features, *_classes(of_node))
    return write_export(folder, {"node": table}, {("node", "links", "node"): _edges("node", "node", source, dest)})


def _write_line(folder: Path, nodes: int, seed: int, mirrored: bool = False, of_edges: str = "") -> Path:
    random = np.random.default_rng(seed)
    place = np.sort(random.normal(size=nodes))
    source = np.repeat(np.arange(nodes), NEIGHBOURS)
    dest = source + random.normal(0, nodes / (5 if of_edges else 20), len(source)).round().astype(int)
    dest = np.where((dest < 0) | (dest >= nodes), 2 * source - dest, dest).clip(0, nodes - 1)
    dest = nodes - 1 - dest if mirrored else dest
    features = random.normal(size=(nodes, WIDTH)) + 0.4 * place[:, None] * np.eye(1, WIDTH)
    if of_edges:
        apart = np.abs(place[source] - place[dest])
        apart = (apart - apart.mean()) / apart.std()
        told = [f"{one:.4f}" if of_edges == "regression" else str(one > 0) for one in apart]
        table = _nodes("node", features)
        links = _edges("node", "node", source, dest, {"apart": told}, label("apart", of_edges))
    else:
        numbers = {"place": [f"{one:.4f}" for one in place]}
        table = _nodes("node", features, numbers, label("place", "regression", FEW))
        links = _edges("node", "node", source, dest)
    return write_export(folder, {"node": table}, {("node", "links", "node"): links})


def _classes(of_node: np.ndarray) -> tuple[dict[str, Sequence[Any]], list[dict[str, Any]]]:
    return {"class": [f"c{one}" for one in of_node]}, label("class", "classification", FEW)


def _nodes(
    name: str, features: np.ndarray, columns: Mapping[str, Sequence[Any]] | None = None, labels: Sequence[Any] = ()
) -> Table:
    ids = [f"{name}{number}" for number in range(len(features))]
    x = [";".join(f"{one:.4f}" for one in row) for row in features]
    described = [{"feature": ["x", "x", "numerical"], "norm": "none", "separator": ";"}]
    return Table({"~id": ids, "x": x, **(columns or {})}, described, labels)


def _edges(
    source: str,
    dest: str,
    begin: np.ndarray,
    end: np.ndarray,
    columns: Mapping[str, Sequence[Any]] | None = None,
    labels: Sequence[Any] = (),
) -> Table:
    """Each pair once, without loops."""
    _, rows = np.unique(np.stack([begin, end]), axis=1, return_index=True)
    rows = rows[begin[rows] != end[rows]] if source == dest else rows
    ends = {"~from": [f"{source}{begin[row]}" for row in rows], "~to": [f"{dest}{end[row]}" for row in rows]}
    return Table(ends | {name: [column[row] for row in rows] for name, column in (columns or {}).items()}, (), labels)


def _described(folder: Path, name: str, table: Table) -> dict[str, Any]:
    """Writes one file; returns what the configuration says of it but for the names of its ends."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([list(table.columns), *zip(*table.columns.values(), strict=True)])
    kept = {"features": list(table.features), "labels": list(table.labels)}
    return {"file_name": name, "separator": ",", **{key: value for key, value in kept.items() if value}}
