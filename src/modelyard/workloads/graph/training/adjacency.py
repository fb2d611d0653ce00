"""Message passing as one sparse matrix: which relations a graph gives, what they hold, how they are normalised.

Nodes of all types share one numbering: those of node type t begin at `offsets[t]`. Every edge type gives a relation
from source to destination and one back, each with the mean over a node's neighbours (Schlichtkrull et al. 2018,
"Modeling relational data with graph convolutional networks", eq. 2). Two rules, both decided by the data, join the two
directions into one *merged* relation under symmetric normalisation (Kipf and Welling 2017):

- the edge set is its own reverse, so that two relations would only hold the same edges twice; or
- source and destination type are the task's node type, and the labels of training and validation nodes are alike
across
  the edges (assortativity of at least `ALIKE`): such an edge says that its ends are alike, whichever way it is
  written.

In the second case the self-loop lies inside the normalisation too, as in a GCN; elsewhere a node's own vector has a
weight of its own, since its neighbours may well differ from it. Validation and test edges of link prediction and of
edge tasks, their reverses, and their copies in edge types that hold the same pairs, are left out.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save_file

from modelyard.workloads.graph.data import NONE, TRAIN, VALID, Graph
from modelyard.workloads.graph.mapped import map_arrays

ALIKE = 0.5
"""Assortativity from which an edge counts as saying that its ends are alike; 1 is equal labels, 0 is chance."""

_ENOUGH_EDGES = 30
_SAMPLED_EDGES = 100_000
_SAME_PAIRS = 0.9


@dataclass(frozen=True)
class Relation:
    """One relation of message passing: an edge type in one direction, or merged from both."""

    edge_type: int
    direction: Literal["forward", "reverse", "merged"]
    self_loops: bool = False


@dataclass(frozen=True)
class Adjacency:
    """The normalised adjacency of all relations, stacked: a sparse matrix of shape `[num_rows, num_nodes]`.

    A row is one (relation, destination) pair that has edges, or of a single relation any node; rows are sorted by
    relation, then destination. `row`, `col` (int64) and `value` (float32) have one entry an edge, sorted by row. Rows
    of relation r are `row_ptr[r]` to `row_ptr[r + 1]`; `row_node` (int64 `[num_rows]`) is the destination. `own` (bool
    `[num_nodes]`) marks nodes whose own vector no relation brings in.
    """

    relations: tuple[Relation, ...]
    row: np.ndarray
    col: np.ndarray
    value: np.ndarray
    row_ptr: np.ndarray
    row_node: np.ndarray
    own: np.ndarray

    @property
    def num_nodes(self) -> int:
        """Nodes of all types."""
        return len(self.own)

    def write(self, path: Path) -> None:
        """Writes the arrays, and the relations as metadata, to one safetensors file."""
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        half = path.with_name(f".{path.name}.half")
        save_file(arrays, half, {"relations": json.dumps([asdict(relation) for relation in self.relations])})
        half.replace(path)


_ARRAYS = ("row", "col", "value", "row_ptr", "row_node", "own")


def read_adjacency(path: Path) -> Adjacency:
    """Maps what `Adjacency.write` wrote into memory."""
    with safe_open(path, framework="np") as file:
        relations = tuple(Relation(**relation) for relation in json.loads(file.metadata()["relations"]))
    arrays = map_arrays(path)
    return Adjacency(relations, **{name: arrays[name] for name in _ARRAYS})


def adjacency_path(state: Path, model: str, use_self_loop: bool) -> Path:
    """Where a search keeps the adjacency that its trials of one model share."""
    return state / f"adjacency-{model}{'' if use_self_loop else '-without-self-loop'}.safetensors"


def node_offsets(graph: Graph) -> np.ndarray:
    """Where each node type begins in the common numbering, and the number of all nodes: int64 `[node types + 1]`."""
    return np.cumsum([0, *(node_type.num_nodes for node_type in graph.node_types)])


def decide_relations(graph: Graph, use_self_loop: bool = True) -> tuple[Relation, ...]:
    """The relations of message passing, by the two rules above."""
    relations: list[Relation] = []
    for number, edges in message_edges(graph):
        source, dest = _ends(graph, number)
        alike = _labels_alike(graph, number, edges)
        if source == dest and (alike or _own_reverse(edges)):
            relations.append(Relation(number, "merged", alike and use_self_loop))
        else:
            relations += [Relation(number, "forward"), Relation(number, "reverse")]
    return tuple(relations)


def build_adjacency(graph: Graph, relations: tuple[Relation, ...], use_self_loop: bool = True) -> Adjacency:
    """Normalises and stacks relations: those decided for this graph, or those that a trained model knows."""
    offsets = node_offsets(graph)
    own = np.full(offsets[-1], use_self_loop)
    all_edges = dict(message_edges(graph))
    parts = []
    for relation in relations:
        source, dest = _ends(graph, relation.edge_type)
        nodes = range(offsets[dest], offsets[dest + 1])
        edges = all_edges[relation.edge_type] + offsets[[[source], [dest]]]
        if relation.direction == "merged":
            parts.append(_symmetric(edges, nodes if relation.self_loops else range(0)))
        else:
            parts.append(_mean(edges if relation.direction == "forward" else edges[::-1]))
        if relation.self_loops:
            own[nodes.start : nodes.stop] = False
    return _stacked(relations, parts, own)


def message_edges(graph: Graph) -> Iterator[tuple[int, np.ndarray]]:
    """Each edge type's number and the edges (`[2, num_edges]`, rows of its node types) that may carry messages."""
    for number, rows in message_edge_rows(graph):
        edges = graph.edges(number)["edge_index"]
        yield number, edges if len(rows) == edges.shape[1] else edges[:, rows]


def message_edge_rows(graph: Graph) -> Iterator[tuple[int, np.ndarray]]:
    """Each edge type's number and the rows (int64, rising) of its edges that may carry messages."""
    pairs = {number: graph.edges(number)["edge_index"] for number in range(len(graph.edge_types))}
    held_out = _held_out(graph)
    for number, edges in pairs.items():
        hidden = [held for target, held in held_out.items() if target == number]
        for target, held in held_out.items():
            hidden += _copies(graph, pairs, target, number, held)
        rows = np.arange(edges.shape[1])
        if hidden:
            width = _width(graph)
            rows = rows[~np.isin(_codes(edges, width), _codes(np.concatenate(hidden, axis=1), width))]
        yield number, rows


def _held_out(graph: Graph) -> dict[int, np.ndarray]:
    """Validation and test edges `[2, n]` of each target edge type."""
    held = {}
    for number, edge_type in enumerate(graph.edge_types):
        if edge_type.target:
            arrays = graph.edges(number)
            held[number] = arrays["edge_index"][:, ~np.isin(arrays["split"], (NONE, TRAIN))]
    return held


def repeats_of(graph: Graph, target: int) -> list[int]:
    """An edge type, and those that hold the same pairs of nodes in either direction."""
    ours = graph.edge_types[target]
    ends = {ours.source, ours.dest}
    like = [n for n, one in enumerate(graph.edge_types) if n != target and {one.source, one.dest} == ends]
    width, pairs = _width(graph), graph.edges(target)["edge_index"]
    found = [target]
    for number in like:
        edges = graph.edges(number)["edge_index"]
        if any(_same(_codes(pairs, width), _codes(one, width)) for one in (edges, edges[::-1])):
            found.append(number)
    return found


def _copies(graph: Graph, pairs: dict[int, np.ndarray], target: int, number: int, held: np.ndarray) -> list[np.ndarray]:
    """Held-out edges of `target` as they would stand in edge type `number`, if that repeats or reverses them."""
    ours, theirs = graph.edge_types[target], graph.edge_types[number]
    copies = []
    if target == number and ours.source == ours.dest:
        copies.append(held[::-1])
    elif target != number and held.size:
        width = _width(graph)
        wanted = _codes(pairs[target], width)
        if (theirs.source, theirs.dest) == (ours.source, ours.dest) and _same(wanted, _codes(pairs[number], width)):
            copies.append(held)
        reversed_codes = _codes(pairs[number][::-1], width)
        if (theirs.dest, theirs.source) == (ours.source, ours.dest) and _same(wanted, reversed_codes):
            copies.append(held[::-1])
    return copies


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two sets of pairs are the same but for a few."""
    one, other = np.unique(one), np.unique(other)
    larger = max(len(one), len(other))
    if min(len(one), len(other)) < _SAME_PAIRS * larger:
        return False
    return len(np.intersect1d(one, other, assume_unique=True)) >= _SAME_PAIRS * larger


def _width(graph: Graph) -> int:
    return max(node_type.num_nodes for node_type in graph.node_types)


def _codes(edges: np.ndarray, width: int) -> np.ndarray:
    codes: np.ndarray = edges[0].astype(np.int64) * width + edges[1]
    return codes


def _own_reverse(edges: np.ndarray) -> bool:
    width = int(edges.max(initial=0)) + 1
    return np.array_equal(np.unique(_codes(edges, width)), np.unique(_codes(edges[::-1], width)))


def _ends(graph: Graph, edge_type: int) -> tuple[int, int]:
    ends = graph.edge_types[edge_type]
    return graph.node_type_index(ends.source), graph.node_type_index(ends.dest)


def _labels_alike(graph: Graph, edge_type: int, edges: np.ndarray) -> bool:
    """Whether labels on both ends are assortative (Newman 2003, "Mixing patterns in networks", eq. 2 and 21)."""
    ends = {graph.edge_types[edge_type].source, graph.edge_types[edge_type].dest}
    if graph.task.type == "link_predict" or ends != {graph.task.node_type}:
        return False
    arrays = graph.labels()
    known = np.isin(arrays["split"], (TRAIN, VALID))
    edges = edges[:, known[edges[0]] & known[edges[1]] & (edges[0] != edges[1])]
    if edges.shape[1] < _ENOUGH_EDGES:
        return False
    if edges.shape[1] > _SAMPLED_EDGES:
        edges = edges[:, np.random.default_rng(0).choice(edges.shape[1], _SAMPLED_EDGES, replace=False)]
    values = arrays["labels"][edges]
    if graph.task.type == "node_class" and not graph.task.multilabel:
        values = values[..., None] == np.arange(len(graph.task.classes))
    values = values.reshape(2, edges.shape[1], -1).astype(np.float64)
    values = values - values.mean(axis=(0, 1))
    spread = (values**2).sum() / 2
    return bool(spread > 0 and (values[0] * values[1]).sum() / spread >= ALIKE)


def _mean(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Destination, source and weight of each edge: a destination's weights sum to 1."""
    source, dest = edges
    degree = np.bincount(dest) if dest.size else np.zeros(0)
    return dest, source, (1.0 / degree[dest]).astype(np.float32)


def _symmetric(edges: np.ndarray, loops: range) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each pair once in both directions, and the loops, weighted by `1 / sqrt(degree * degree)`."""
    loop = np.arange(loops.start, loops.stop)
    both = np.concatenate([edges, edges[::-1], np.stack([loop, loop])], axis=1)
    both = _unique(both)
    degree = np.bincount(both[1]) if both.size else np.zeros(0)
    return both[1], both[0], (1.0 / np.sqrt(degree[both[0]] * degree[both[1]])).astype(np.float32)


def _unique(edges: np.ndarray) -> np.ndarray:
    width = int(edges.max(initial=0)) + 1
    codes = np.unique(_codes(edges, width))
    return np.stack([codes // width, codes % width])


def _stacked(
    relations: tuple[Relation, ...], parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], own: np.ndarray
) -> Adjacency:
    rows, cols, values, nodes, row_ptr = [], [], [], [], [0]
    for dest, source, value in parts:
        order = np.lexsort((source, dest))
        node, row = np.unique(dest[order], return_inverse=True)
        if len(parts) == 1:  # what multiplies by this matrix alone must give every node a vector
            node, row = np.arange(len(own)), dest[order]
        rows.append(row + row_ptr[-1])
        cols.append(source[order])
        values.append(value[order])
        nodes.append(node)
        row_ptr.append(row_ptr[-1] + len(node))
    return Adjacency(
        relations=relations,
        row=_joined(rows, np.int64),
        col=_joined(cols, np.int64),
        value=_joined(values, np.float32),
        row_ptr=np.array(row_ptr, dtype=np.int64),
        row_node=_joined(nodes, np.int64),
        own=own,
    )


def _joined(arrays: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype), *arrays]).astype(dtype)
