"""Which edges stand behind each entry of the adjacency, so that messages can carry the edges' features.

A *part* is one relation of message passing in one of the directions that its edges are written in: a relation that is
merged from both has two, since a feature may mean another thing against an edge's direction. In a merged relation one
entry may stand for several edges, copies and reverses; each of them sends the entry's message with its own features,
and they share its weight. Several edges between two nodes elsewhere have an entry each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.adjacency import Adjacency, Relation, message_edge_rows, node_offsets
from modelyard.workloads.graph.training.tensors import EdgeBlock, GraphTensors, moments

_MOMENT_EDGES = 1 << 20


@dataclass(frozen=True)
class EdgePart:
    """The edges of one part.

    entry: int64 `[n]`, rising, places among the adjacency's entries; edge: int64 `[n]`, the row of the edge among those
    of its type; share: float32 `[n]`, the edge's part of the entry's weight. features: `[num_edges, dim]`.
    """

    relation: int
    entry: np.ndarray
    edge: np.ndarray
    share: np.ndarray
    features: np.ndarray

    def block(self, row: np.ndarray, col: np.ndarray, value: np.ndarray, device: torch.device) -> EdgeBlock:
        """The whole part as tensors. row, col, value: of the adjacency's entries, rows within their relation."""
        features = torch.from_numpy(self.features).to(device)
        return self._block(self.entry, slice(None), row, col, value, features, torch.from_numpy(self.edge), device)

    def sampled(
        self, entries: np.ndarray, row: np.ndarray, col: np.ndarray, value: np.ndarray, device: torch.device
    ) -> EdgeBlock:
        """The edges behind some entries of the adjacency. row, col, value: of these entries in the sample."""
        first = np.searchsorted(self.entry, entries, "left")
        count = np.searchsorted(self.entry, entries, "right") - first
        places = np.repeat(first - (np.cumsum(count) - count), count) + np.arange(count.sum())
        of = np.repeat(np.arange(len(entries)), count)
        features = torch.from_numpy(np.ascontiguousarray(self.features[self.edge[places]])).to(device)
        return self._block(of, places, row, col, value, features, torch.arange(len(places)), device)

    def _block(
        self,
        of: np.ndarray,
        places: np.ndarray | slice,
        row: np.ndarray,
        col: np.ndarray,
        value: np.ndarray,
        features: Tensor,
        edge: Tensor,
        device: torch.device,
    ) -> EdgeBlock:
        weight = (value[of] * self.share[places]).astype(np.float32)
        return EdgeBlock(
            relation=self.relation,
            row=torch.from_numpy(row[of]).to(device),
            col=torch.from_numpy(col[of]).to(device),
            weight=torch.from_numpy(weight).to(device),
            edge=edge.to(device),
            features=features,
        )


def edge_parts(graph: Graph, relations: Sequence[Relation]) -> tuple[tuple[int, int], ...]:
    """The relation and the number of feature columns of each part; relations without features have none."""
    dims = [sum(feature.dim for feature in one.features) for one in graph.edge_types]
    parts = []
    for number, relation in enumerate(relations):
        if dims[relation.edge_type]:
            parts += [(number, dims[relation.edge_type])] * (2 if relation.direction == "merged" else 1)
    return tuple(parts)


def read_parts(graph: Graph, adjacency: Adjacency) -> tuple[EdgePart, ...]:
    """The parts of a graph, in the order of `edge_parts`."""
    offsets, kept = node_offsets(graph), dict(message_edge_rows(graph))
    parts: list[EdgePart] = []
    for number in dict.fromkeys(number for number, _ in edge_parts(graph, adjacency.relations)):
        relation = adjacency.relations[number]
        ends, rows = graph.edge_types[relation.edge_type], kept[relation.edge_type]
        arrays = graph.edges(relation.edge_type)
        begin = offsets[[graph.node_type_index(ends.source), graph.node_type_index(ends.dest)]]
        edges = arrays["edge_index"][:, rows] + begin[:, None]
        parts += _parts(number, relation, adjacency, edges, rows, arrays["features"])
    return tuple(parts)


def with_edge_features(tensors: GraphTensors, graph: Graph, adjacency: Adjacency) -> GraphTensors:
    """A whole graph's tensors with the features of all edges."""
    device, parts = tensors.row_node.device, read_parts(graph, adjacency)
    row = adjacency.row - np.repeat(adjacency.row_ptr[:-1], np.diff(np.searchsorted(adjacency.row, adjacency.row_ptr)))
    blocks = tuple(part.block(row, adjacency.col, adjacency.value, device) for part in parts)
    return replace(tensors, edges=blocks)


def part_moments(graph: Graph, relations: Sequence[Relation]) -> list[tuple[Tensor, Tensor]]:
    """By how much to shift and divide each column of each part's features (see `tensors.moments`)."""
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for number, _ in edge_parts(graph, relations):
        if (kind := relations[number].edge_type) not in found:
            features = graph.edges(kind)["features"]
            step = max(1, len(features) // _MOMENT_EDGES)
            found[kind] = moments([torch.from_numpy(np.ascontiguousarray(features[::step]))])[0]
    return [found[relations[number].edge_type] for number, _ in edge_parts(graph, relations)]


def _parts(
    number: int,
    relation: Relation,
    adjacency: Adjacency,
    edges: np.ndarray,
    rows: np.ndarray,
    features: np.ndarray,
) -> list[EdgePart]:
    """The parts of one relation. edges: `[2, n]` in the common numbering; rows: their places among all of the type."""
    begin, end = np.searchsorted(adjacency.row, adjacency.row_ptr[number : number + 2])
    width = adjacency.num_nodes
    codes = adjacency.row_node[adjacency.row[begin:end]] * width + adjacency.col[begin:end]
    along, against = edges[1] * width + edges[0], edges[0] * width + edges[1]
    if relation.direction != "merged":
        order = np.argsort(along if relation.direction == "forward" else against, kind="stable")
        entry = np.arange(begin, end)  # as many as edges: copies of an edge have entries of their own
        return [EdgePart(number, entry, rows[order], np.ones(len(order), np.float32), features)]
    entries = [np.searchsorted(codes, wanted) for wanted in (along, against)]
    count = np.bincount(np.concatenate(entries), minlength=end - begin)
    parts = []
    for entry in entries:
        order = np.argsort(entry, kind="stable")
        share = (1 / count[entry[order]]).astype(np.float32)
        parts.append(EdgePart(number, entry[order] + begin, rows[order], share, features))
    return parts
