"""Neighbour sampling: a small graph around some nodes, on which every model runs as on the whole one.

Hamilton, Ying, Leskovec: "Inductive Representation Learning on Large Graphs", NIPS 2017. Each node that is reached
gets at most `fanout` entries of each of its rows, a (relation, node) pair each, drawn without replacement, and their
values grow by what was left out, so that a row's sum is what it would be on average. Nodes keep their order: those of a
type stay together, and a model does not see the difference.

All of it is arithmetic on whole arrays: a batch of 1,024 nodes costs milliseconds, a hub no more than another node.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.training.adjacency import Adjacency, node_offsets
from modelyard.workloads.graph.training.edge_features import EdgePart
from modelyard.workloads.graph.training.tensors import GraphTensors, Outputs, SparseMatrix, feature_blocks

ALL = -1
"""A fanout that takes every neighbour."""

_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Sample:
    """Some nodes and the messages between them.

    nodes: int64, rising, by their numbers in the whole graph. tensors: the small graph; its node n is `nodes[n]`. Each
    layer gives vectors of those that the next one takes, the last one of the seeds, each once and rising.
    """

    nodes: np.ndarray
    tensors: GraphTensors


@dataclass(frozen=True)
class _Messages:
    """What was drawn, by rising rows.

    rows: int64, of the adjacency. step: int64, how far from the seeds each row's node is. count: int64, the entries
    that each row gave. entries: int64, of the adjacency, row after row. value: float32, of each entry.
    """

    rows: np.ndarray
    step: np.ndarray
    count: np.ndarray
    entries: np.ndarray
    value: np.ndarray

    def to(self, most: int) -> "_Messages":
        """Those to nodes at most so many steps away."""
        kept = self.step <= most
        if kept.all():
            return self
        entries = np.repeat(kept, self.count)
        return _Messages(self.rows[kept], self.step[kept], self.count[kept], self.entries[entries], self.value[entries])


class NeighbourSampler:
    """Draws samples of one graph, the same ones again for the same seed."""

    def __init__(
        self,
        graph: Graph,
        adjacency: Adjacency,
        seed: int,
        device: torch.device | str = "cpu",
        edge_parts: Sequence[EdgePart] = (),
    ) -> None:
        self.num_nodes = adjacency.num_nodes
        self._device = torch.device(device)
        self._graph = graph
        self._arrays = [graph.features(number) for number in range(len(graph.node_types))]
        self._offsets = node_offsets(graph)
        self._adjacency = adjacency
        self._edge_parts = edge_parts
        num_rows = len(adjacency.row_node)
        self._row_begin = np.searchsorted(adjacency.row, np.arange(num_rows + 1))
        self._rows = np.argsort(adjacency.row_node, kind="stable")
        counts = np.bincount(adjacency.row_node, minlength=self.num_nodes)
        self._node_begin = np.concatenate([[0], np.cumsum(counts)])
        self._place = np.full(self.num_nodes, -1)  # of a node in the sample that is being drawn
        self._random = np.random.default_rng(seed)

    def sample(
        self, seeds: np.ndarray, fanout: Sequence[int], hidden: np.ndarray | None = None, features: bool = True
    ) -> Sample:
        """The seeds and what reaches them in `len(fanout)` steps.

        fanout: one number a layer, the last for the seeds' own neighbours, as in DGL; `ALL` takes every one. hidden:
        `[3, n]`, edges (number of the edge type, source, destination) that carry no message in either direction.
        """
        frontier = _distinct(seeds)
        within = [frontier]
        rows, counts, entries = [], [], []
        for most in reversed(fanout):
            frontier_rows = _ranges(self._node_begin, frontier, self._rows)
            drawn, count = self._draw(frontier_rows, most)
            if hidden is not None:
                drawn, count = self._without(frontier_rows, drawn, count, hidden)
            rows.append(frontier_rows)
            counts.append(count)
            entries.append(drawn)
            self._place[frontier] = 0
            sources = self._adjacency.col[drawn]
            frontier = _distinct(sources[self._place[sources] < 0])
            within.append(np.sort(np.concatenate([within[-1], frontier]), kind="stable"))
        nodes = within[-1]
        messages = self._messages(rows, counts, entries)
        steps = range(len(fanout) - 1, -1, -1)
        layers = tuple(self._layer(within[step + 1], within[step], messages.to(step)) for step in steps)
        of_type = self._of_types(nodes)
        tensors = replace(
            layers[0] if layers else self._layer(nodes, nodes, messages),
            features=tuple(self._blocks(number, one) if features else () for number, one in enumerate(of_type)),
            rows=tuple(torch.from_numpy(one) for one in of_type),
            layers=layers,
        )
        self._place[nodes] = -1
        return Sample(nodes, tensors)

    def blocks(self, most_entries: int) -> list[np.ndarray]:
        """All nodes in runs of about as many entries (and of no more nodes than that)."""
        weight = np.zeros(self.num_nodes + 1, np.int64)
        np.add.at(weight, self._adjacency.row_node + 1, np.diff(self._row_begin))
        passed = np.cumsum(weight) + np.arange(self.num_nodes + 1)
        cuts = np.searchsorted(passed, np.arange(most_entries, passed[-1], most_entries))
        return [run for run in np.split(np.arange(self.num_nodes), np.unique(cuts)) if len(run)]

    def _draw(self, rows: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Entries of rows, at most so many of each, and how many each gave."""
        degree = self._row_begin[rows + 1] - self._row_begin[rows]
        if most == ALL or not (large := degree > most).any():
            return _ranges(self._row_begin, rows), degree
        count = np.minimum(degree, most)
        begin = np.cumsum(count) - count
        drawn = np.empty(count.sum(), np.int64)
        small = ~large
        drawn[_runs(begin[small], count[small])] = _ranges(self._row_begin, rows[small])
        chosen = _choose(degree[large], most, self._random) + self._row_begin[rows[large], None]
        drawn[_runs(begin[large], count[large])] = chosen.ravel()
        return drawn, count

    def _without(
        self, rows: np.ndarray, drawn: np.ndarray, count: np.ndarray, hidden: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What was drawn, without the hidden edges and their reverses."""
        of = np.repeat(np.arange(len(rows)), count)
        relation = np.searchsorted(self._adjacency.row_ptr, rows, "right") - 1
        kinds = np.array([one.edge_type for one in self._adjacency.relations])
        kind, source, dest = hidden
        there = self._codes(np.tile(kind, 2), np.concatenate([source, dest]), np.concatenate([dest, source]))
        ours = self._codes(kinds[relation][of], self._adjacency.col[drawn], self._adjacency.row_node[rows][of])
        kept = ~np.isin(ours, there)
        return drawn[kept], np.bincount(of[kept], minlength=len(rows))

    def _codes(self, kind: np.ndarray, source: np.ndarray, dest: np.ndarray) -> np.ndarray:
        codes: np.ndarray = (kind * self.num_nodes + source) * self.num_nodes + dest
        return codes

    def _messages(
        self, rows: Sequence[np.ndarray], counts: Sequence[np.ndarray], entries: Sequence[np.ndarray]
    ) -> _Messages:
        """Puts what each step drew in the order of the rows."""
        step = np.repeat(np.arange(len(rows)), [len(one) for one in rows])
        all_rows, count, all_entries = (np.concatenate([_NONE, *parts]) for parts in (rows, counts, entries))
        order = np.argsort(all_rows)
        drawn = all_entries[_runs((np.cumsum(count) - count)[order], count[order])]
        chosen, count = all_rows[order], count[order]
        degree = self._row_begin[chosen + 1] - self._row_begin[chosen]
        grown = np.repeat((degree / np.maximum(count, 1)).astype(np.float32), count)
        return _Messages(chosen, step[order], count, drawn, self._adjacency.value[drawn] * grown)

    def _layer(self, nodes: np.ndarray, outputs: np.ndarray, messages: _Messages) -> GraphTensors:
        """What a layer takes that has vectors of some nodes and gives those of some of them."""
        adjacency = self._adjacency
        self._place[nodes] = np.arange(len(nodes))
        col, places = self._place[adjacency.col[messages.entries]], self._place[outputs]
        row_node = np.searchsorted(outputs, adjacency.row_node[messages.rows])
        sizes = np.diff(np.searchsorted(messages.rows, adjacency.row_ptr))
        row = np.repeat(np.arange(len(row_node)), messages.count)
        within = row - (np.cumsum(sizes) - sizes)[np.searchsorted(np.cumsum(sizes), row, "right")]
        own = adjacency.own[outputs]
        size = (len(row_node), len(nodes))
        return GraphTensors(
            num_nodes=tuple(len(one) for one in self._of_types(nodes)),
            features=(),
            matrix=SparseMatrix.from_entries(row, col, messages.value, size, self._device),
            sizes=tuple(sizes.tolist()),
            row_node=torch.from_numpy(row_node).to(self._device),
            own=None if own.all() else torch.from_numpy(own).to(self._device),
            edges=tuple(
                part.sampled(messages.entries, within, col, messages.value, self._device) for part in self._edge_parts
            ),
            outputs=Outputs(
                torch.from_numpy(places).to(self._device), tuple(len(one) for one in self._of_types(outputs))
            ),
        )

    def _of_types(self, nodes: np.ndarray) -> list[np.ndarray]:
        """Rising nodes by their numbers among those of their type, for each type."""
        begin = np.searchsorted(nodes, self._offsets)
        return [nodes[slice(*begin[n : n + 2])] - self._offsets[n] for n in range(len(begin) - 1)]

    def _blocks(self, number: int, rows: np.ndarray) -> tuple[Tensor | SparseMatrix, ...]:
        return feature_blocks(self._graph.node_types[number], self._arrays[number], self._device, rows)


def fanout_of_layers(fanout: int | Sequence[int], layers: int) -> tuple[int, ...]:
    """One fanout a layer: of a longer list the first ones, of a shorter one the last again and again."""
    given = [fanout] if isinstance(fanout, int) else list(fanout)
    return tuple((given + given[-1:] * layers)[:layers])


def _choose(degree: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` different numbers below each degree, every set as likely: `[len(degree), count]`.

    Bentley and Floyd, "A sample of brilliance", CACM 1987: the cost does not depend on the degrees.
    """
    chosen = np.empty((len(degree), count), np.int64)
    for place in range(count):
        last = degree - count + place
        drawn = random.integers(0, last + 1)
        taken = (chosen[:, :place] == drawn[:, None]).any(1)
        chosen[:, place] = np.where(taken, last, drawn)
    return chosen


def _distinct(numbers: np.ndarray) -> np.ndarray:
    """The different numbers, rising. NumPy's own hashes them first, which takes four times as long (2.4)."""
    ordered = np.sort(numbers)
    kept = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=kept[1:])
    return ordered[kept]


def _ranges(begin: np.ndarray, chosen: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """All places from `begin[i]` to `begin[i + 1]` for each i that is chosen, or the values at these places."""
    places = _runs(begin[chosen], begin[chosen + 1] - begin[chosen])
    return places if values is None else values[places]


def _runs(begin: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The numbers `begin`, `begin + 1` ..., `count` of them, one run after the other."""
    runs: np.ndarray = np.repeat(begin - (np.cumsum(count) - count), count) + np.arange(count.sum())
    return runs
