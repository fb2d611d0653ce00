"""The neighbourhood of some nodes in a processed graph that a request adds nodes and edges to, as a graph of its own.

Rows of nodes count on: of a node type with n stored nodes, the k-th that the request adds has row n + k. Messages pass
along the edges that the model was applied to; a neighbour counts as often as in the whole graph, so that with all
neighbours of `hops` steps the model gives the nodes what it would give them there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.adjacency import (
    Adjacency,
    Relation,
    build_adjacency,
    message_edges,
    node_offsets,
)

MAX_NODES = 100_000
MAX_EDGES = 1_000_000
"""Of one neighbourhood, beyond which it is not computed: this many take a second or two."""


class TooLarge(Exception):
    """A neighbourhood with more nodes or edges than are computed for one request."""


@dataclass(frozen=True)
class Subgraph(Graph):
    """A graph whose arrays are in memory; it has no folder to read from."""

    node_features: tuple[Mapping[str, np.ndarray], ...] = ()
    edge_arrays: tuple[Mapping[str, np.ndarray], ...] = ()

    def features(self, node_type: int) -> dict[str, np.ndarray]:
        """See `Graph`."""
        return dict(self.node_features[node_type])

    def edges(self, edge_type: int) -> dict[str, np.ndarray]:
        """See `Graph`."""
        return dict(self.edge_arrays[edge_type])


@dataclass(frozen=True)
class Neighbourhood:
    """Rows of nodes by node type, rising, and by edge type the numbers of edges, rising, and their ends as such rows.

    A number counts on like a row: the k-th edge of a type that the request adds follows the stored ones.
    """

    nodes: tuple[np.ndarray, ...]
    edges: tuple[np.ndarray, ...]
    ends: tuple[np.ndarray, ...]

    def local(self, node_type: int, rows: np.ndarray) -> np.ndarray:
        """The places of rows among the nodes of their type."""
        return np.searchsorted(self.nodes[node_type], rows)


class _Ends:
    """The edges of one type by one of their ends, as CSR."""

    def __init__(self, rows: np.ndarray, numbers: np.ndarray, num_nodes: int) -> None:
        self._order = numbers[np.argsort(rows, kind="stable")]
        self._begin = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=num_nodes))])

    def of(self, rows: np.ndarray, most: int | None, random: np.random.Generator | None) -> np.ndarray:
        """The numbers of the edges at some rows: all, the first `most` of each, or as many drawn at random."""
        begin, count = self._begin[rows], self._begin[rows + 1] - self._begin[rows]
        if most is not None and random is not None:
            drawn = [b + random.permutation(n)[:most] for b, n in zip(begin.tolist(), count.tolist(), strict=True)]
            places = np.concatenate([*drawn, np.empty(0, np.int64)])
        else:
            count = count if most is None else np.minimum(count, most)
            if count.sum() > MAX_EDGES:
                raise TooLarge
            places = np.repeat(begin - (np.cumsum(count) - count), count) + np.arange(count.sum())
        numbers: np.ndarray = self._order[places]
        return numbers


class StoredEdges:
    """The edges that pass messages in a processed graph, found by their ends, for the relations of a model."""

    def __init__(self, graph: Graph, relations: Sequence[Relation]) -> None:
        self._graph = graph
        self._relations = tuple(relations)
        self._num_nodes = [node_type.num_nodes for node_type in graph.node_types]
        self._types = [(graph.node_type_index(one.source), graph.node_type_index(one.dest)) for one in graph.edge_types]
        self._pairs = [graph.edges(number)["edge_index"] for number in range(len(graph.edge_types))]
        self._width = max(self._num_nodes)
        self._passing = [
            np.flatnonzero(np.isin(self._codes(self._pairs[number]), self._codes(edges)))
            for number, edges in message_edges(graph)
        ]
        self._by_end = [
            [
                _Ends(self._pairs[number][side][passing], passing, self._num_nodes[self._types[number][side]])
                for side in (0, 1)
            ]
            for number, passing in enumerate(self._passing)
        ]
        self._codes_of = {one: self._merged(one) for one in relations if one.direction == "merged"}

    def around(
        self,
        targets: Sequence[np.ndarray],
        added: Sequence[np.ndarray],
        hops: int,
        fanout: Sequence[int] | None = None,
        random: np.random.Generator | None = None,
    ) -> Neighbourhood:
        """The nodes from which messages reach the targets in `hops` steps, and the edges that they take.

        targets: rows by node type. added: the request's edges by edge type, `[2, num_edges]`. fanout: how many stored
        neighbours of each node and relation take part in each step from the targets, drawn at `random`, or the first
        ones in the order of the export without it; None for all. Added edges always take part. Raises TooLarge.
        """
        nodes = [np.unique(rows) for rows in targets]
        edges: list[list[np.ndarray]] = [[] for _ in self._pairs]
        frontier = nodes
        for hop in range(hops):
            most = None if fanout is None else fanout[min(hop, len(fanout) - 1)]
            reached: list[list[np.ndarray]] = [[rows] for rows in nodes]
            for relation in self._relations:
                for side in _SIDES[relation.direction]:
                    number = relation.edge_type
                    found = self._at(number, side, frontier[self._types[number][side]], added[number], most, random)
                    edges[number].append(found)
                    reached[self._types[number][1 - side]].append(self._end(number, 1 - side, found, added[number]))
            following = [np.unique(np.concatenate(rows)) for rows in reached]
            frontier = [np.setdiff1d(now, old, assume_unique=True) for now, old in zip(following, nodes, strict=True)]
            nodes = following
            if sum(map(len, nodes)) > MAX_NODES or sum(len(one) for some in edges for one in some) > MAX_EDGES:
                raise TooLarge
        numbers = [np.unique(np.concatenate([*some, np.empty(0, np.int64)])) for some in edges]
        ends = [
            np.stack([self._end(number, side, found, added[number]) for side in (0, 1)])
            for number, found in enumerate(numbers)
        ]
        return Neighbourhood(tuple(nodes), tuple(numbers), tuple(ends))

    def adjacency(
        self, subgraph: Subgraph, around: Neighbourhood, added: Sequence[np.ndarray], use_self_loop: bool
    ) -> Adjacency:
        """The adjacency of a neighbourhood, with the weights of the whole graph.

        A mean needs nothing but a node's own neighbours. Under symmetric normalisation the degrees of both ends count,
        and those of the outermost nodes are not seen from inside. Of neighbours left out by a fanout, the others take
        the place.
        """
        adjacency = build_adjacency(subgraph, self._relations, use_self_loop)
        value, offsets = adjacency.value.copy(), node_offsets(subgraph)
        for number, relation in enumerate(self._relations):
            if relation.direction != "merged":
                continue
            kind = self._types[relation.edge_type][0]
            degree = self._degrees(relation, around.nodes[kind], added[relation.edge_type]).astype(np.float64)
            entries = slice(*np.searchsorted(adjacency.row, adjacency.row_ptr[number : number + 2]))
            dest = adjacency.row_node[adjacency.row[entries]] - offsets[kind]
            source = adjacency.col[entries] - offsets[kind]
            present = np.bincount(dest, minlength=len(degree))
            value[entries] = np.sqrt(degree[dest] / degree[source]) / present[dest]
        return replace(adjacency, value=value)

    def _at(
        self,
        number: int,
        side: int,
        rows: np.ndarray,
        added: np.ndarray,
        most: int | None,
        random: np.random.Generator | None,
    ) -> np.ndarray:
        """Numbers of the edges whose end on a side (0: source, 1: destination) is one of the rows."""
        stored = rows[rows < self._num_nodes[self._types[number][side]]]
        found = self._by_end[number][side].of(stored, most, random)
        ours = np.flatnonzero(np.isin(added[side], rows)) + self._pairs[number].shape[1]
        return np.concatenate([found, ours])

    def _end(self, number: int, side: int, edges: np.ndarray, added: np.ndarray) -> np.ndarray:
        """The rows at one side of edges."""
        stored = self._pairs[number].shape[1]
        inside = edges < stored
        rows = np.empty(len(edges), np.int64)
        rows[inside] = self._pairs[number][side][edges[inside]]
        rows[~inside] = added[side][edges[~inside] - stored]
        return rows

    def _merged(self, relation: Relation) -> np.ndarray:
        """The codes of a merged relation's pairs, rising: both directions, and the self-loops where it has them."""
        kind = self._types[relation.edge_type][0]
        pairs = self._pairs[relation.edge_type][:, self._passing[relation.edge_type]]
        loops = np.arange(self._num_nodes[kind] if relation.self_loops else 0)
        return np.unique(self._codes(np.concatenate([pairs, pairs[::-1], np.stack([loops, loops])], axis=1)))

    def _degrees(self, relation: Relation, rows: np.ndarray, added: np.ndarray) -> np.ndarray:
        """How many neighbours some nodes of a merged relation's type have, those that the request adds among them."""
        stored, codes = self._num_nodes[self._types[relation.edge_type][0]], self._codes_of[relation]
        degree = np.full(len(rows), int(relation.self_loops))
        known = rows[rows < stored]
        begin, end = (np.searchsorted(codes, (known + more) * self._width) for more in (0, 1))
        degree[: len(known)] = end - begin
        pairs = np.unique(np.concatenate([added, added[::-1]], axis=1), axis=1)
        inside = (pairs < stored).all(0)
        counted = np.zeros(pairs.shape[1], bool)
        counted[inside] = np.isin(self._codes(pairs[:, inside]), codes)
        counted |= relation.self_loops & (pairs[0] == pairs[1])
        ours, place = pairs[0][~counted], np.searchsorted(rows, pairs[0][~counted])
        here = (place < len(rows)) & (rows[np.minimum(place, len(rows) - 1)] == ours) if len(rows) else place < 0
        np.add.at(degree, place[here], 1)
        return degree

    def _codes(self, pairs: np.ndarray) -> np.ndarray:
        codes: np.ndarray = pairs[0] * self._width + pairs[1]
        return codes


_SIDES = {"forward": (1,), "reverse": (0,), "merged": (0, 1)}
"""The side of an edge that receives: 0 is the source, 1 the destination."""
