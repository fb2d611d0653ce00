"""How a model is run over a graph: all of it at each step, or samples of it while it trains and blocks to predict.

The whole graph at once is better (nothing is left out) and, while it fits, faster; what decides is the hyperparameter
`fanout`, which data processing gives a default to where a graph is large (`entries.is_large`).
"""

from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.training.adjacency import Adjacency
from modelyard.workloads.graph.training.edge_features import read_parts, with_edge_features
from modelyard.workloads.graph.training.entries import is_large
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.node_table import MAPPED_FROM, NodeTable, RowFile
from modelyard.workloads.graph.training.objectives import Objective
from modelyard.workloads.graph.training.sampling import ALL, NeighbourSampler, fanout_of_layers
from modelyard.workloads.graph.training.tensors import GraphTensors, graph_tensors
from modelyard.workloads.graph.training.vectors import Vectors

_BLOCK_ENTRIES = {True: 1 << 18, False: 1 << 20}
_MOMENT_NODES = 1 << 18
_FEW = 0.5


class Passes(Protocol):
    """Runs a model over one graph.

    tables: learnable vectors that are not the model's own parameters, by number of the node type.
    """

    tables: dict[int, NodeTable]

    def typical(self) -> GraphTensors:
        """A graph with the features of all nodes, or of many drawn ones: to take means and deviations from."""
        ...

    def loss(self, model: GNN, objective: Objective, batch: Tensor) -> Tensor:
        """The loss of a batch of targets."""
        ...

    def outputs(self, model: GNN) -> tuple[Tensor | Vectors, Tensor]:
        """For every node that matters what `GNN.forward` gives: the last layer's output, and its input."""
        ...


def passes_for(
    graph: Graph,
    adjacency: Adjacency,
    hyperparameters: Hyperparameters,
    device: torch.device,
    seed: int,
    scratch: Path,
    targets: Tensor | None = None,
) -> Passes:
    """What a trial trains with.

    scratch: an empty folder, for arrays that should not lie in memory. targets: the nodes whose output matters, rising;
    None for all.
    """
    if hyperparameters.fanout is None:
        needed = _needed(graph, adjacency, hyperparameters, device, targets)
        return needed or WholeGraph(graph, adjacency, device, hyperparameters.use_edge_features)
    passes = SampledGraph(graph, adjacency, hyperparameters, device, seed, scratch)
    for number, node_type in enumerate(graph.node_types):
        if not node_type.features or hyperparameters.concat_node_embed:
            size = node_type.num_nodes * hyperparameters.num_hidden * 4
            folder = scratch / f"table-{number}" if hyperparameters.low_mem and size >= MAPPED_FROM else None
            parts = (node_type.num_nodes, hyperparameters.num_hidden, seed + number)
            passes.tables[number] = NodeTable(*parts, device, folder)
    return passes


def prediction_passes(
    graph: Graph, adjacency: Adjacency, hyperparameters: Hyperparameters, device: torch.device, scratch: Path
) -> Passes:
    """What a trained model predicts with: blocks where it was trained on samples, or the graph has become large."""
    if hyperparameters.fanout is None and not is_large(graph):
        return WholeGraph(graph, adjacency, device, hyperparameters.use_edge_features)
    return SampledGraph(graph, adjacency, hyperparameters, device, 0, scratch)


def _needed(
    graph: Graph,
    adjacency: Adjacency,
    hyperparameters: Hyperparameters,
    device: torch.device,
    targets: Tensor | None,
) -> "NeededGraph | None":
    """The part of a graph that reaches the targets, where these are few: its last layer at least is then small."""
    if targets is None or len(targets) > _FEW * adjacency.num_nodes:
        return None
    return NeededGraph(graph, adjacency, hyperparameters, device, targets)


class NeededGraph:
    """Every message that reaches the targets, at every step: the same results as of the whole graph, for less."""

    def __init__(
        self,
        graph: Graph,
        adjacency: Adjacency,
        hyperparameters: Hyperparameters,
        device: torch.device,
        targets: Tensor,
    ) -> None:
        self.tables: dict[int, NodeTable] = {}
        parts = read_parts(graph, adjacency) if hyperparameters.use_edge_features else ()
        self._sampler = NeighbourSampler(graph, adjacency, 0, device, parts)
        sample = self._sampler.sample(targets.cpu().numpy(), (ALL,) * hyperparameters.num_layer)
        self._tensors, self._targets = sample.tensors, targets

    def typical(self) -> GraphTensors:
        """See `Passes`."""
        return typical(self._sampler)

    def loss(self, model: GNN, objective: Objective, batch: Tensor) -> Tensor:
        """See `Passes`."""
        return objective.loss(Vectors(self._targets, model(self._tensors)[0]), batch)

    @torch.no_grad()
    def outputs(self, model: GNN) -> tuple[Vectors, Tensor]:
        """See `Passes`: those of the targets."""
        output, hidden = model(self._tensors)
        return Vectors(self._targets, output), hidden


class WholeGraph:
    """Every node and every message, at every step."""

    def __init__(
        self, graph: Graph, adjacency: Adjacency, device: torch.device, use_edge_features: bool = False
    ) -> None:
        self.tables: dict[int, NodeTable] = {}
        tensors = graph_tensors(graph, adjacency, device)
        self._tensors = with_edge_features(tensors, graph, adjacency) if use_edge_features else tensors

    def typical(self) -> GraphTensors:
        """See `Passes`."""
        return self._tensors

    def loss(self, model: GNN, objective: Objective, batch: Tensor) -> Tensor:
        """See `Passes`."""
        return objective.loss(model(self._tensors)[0], batch)

    @torch.no_grad()
    def outputs(self, model: GNN) -> tuple[Tensor, Tensor]:
        """See `Passes`."""
        output, hidden = model(self._tensors)
        return output, hidden


def typical(sampler: NeighbourSampler) -> GraphTensors:
    """The features of all nodes, or of every so-many-th of a graph with more than about 260,000."""
    step = max(1, sampler.num_nodes // _MOMENT_NODES)
    return sampler.sample(np.arange(0, sampler.num_nodes, step), ()).tensors


class SampledGraph:
    """Samples around the targets of a batch; predictions layer by layer, a block of nodes with all neighbours each."""

    def __init__(
        self,
        graph: Graph,
        adjacency: Adjacency,
        hyperparameters: Hyperparameters,
        device: torch.device,
        seed: int,
        scratch: Path,
    ) -> None:
        self.tables: dict[int, NodeTable] = {}
        parts = read_parts(graph, adjacency) if hyperparameters.use_edge_features else ()
        self._sampler = NeighbourSampler(graph, adjacency, seed, device, parts)
        self._fanout = fanout_of_layers(hyperparameters.fanout or ALL, hyperparameters.num_layer)
        self._low_mem = hyperparameters.low_mem
        self._device = device
        self._scratch = scratch

    def typical(self) -> GraphTensors:
        """See `Passes`."""
        return typical(self._sampler)

    def loss(self, model: GNN, objective: Objective, batch: Tensor) -> Tensor:
        """See `Passes`."""
        nodes, hidden = objective.reads(batch)
        seeds = nodes.unique()
        sample = self._sampler.sample(
            seeds.cpu().numpy(), self._fanout, None if hidden is None else hidden.cpu().numpy()
        )
        return objective.loss(Vectors(seeds, model(sample.tensors)[0]), batch)

    @torch.no_grad()
    def outputs(self, model: GNN) -> tuple[Tensor, Tensor]:
        """See `Passes`. Large ones lie in files."""
        blocks = self._sampler.blocks(_BLOCK_ENTRIES[self._low_mem])
        hidden: RowFile | None = None
        for block in blocks:
            vectors = model.encoder(self._sampler.sample(block, ()).tensors)
            hidden = hidden or self._file("layer-0", vectors.size(1))
            hidden.write(block, vectors.cpu().numpy())
        assert hidden is not None
        for number in range(len(model.layers)):
            last = number == len(model.layers) - 1
            output: RowFile | None = None
            for block in blocks:
                sample = self._sampler.sample(block, (ALL,), features=False)
                given = torch.from_numpy(hidden.read(sample.nodes)).to(self._device)
                apply = model.layers[number] if last else partial(model.step, number)
                vectors = apply(given, sample.tensors)
                output = output or self._file(f"layer-{number + 1}", vectors.size(1))
                output.write(block, vectors.cpu().numpy())
            assert output is not None
            if last:
                return torch.from_numpy(output.array).to(self._device), torch.from_numpy(hidden.array)
            hidden = output
        raise AssertionError("a model has at least one layer")

    def _file(self, name: str, channels: int) -> RowFile:
        mapped = self._sampler.num_nodes * channels * 4 >= MAPPED_FROM
        if not mapped:
            return RowFile(self._sampler.num_nodes, channels)
        file = RowFile(self._sampler.num_nodes, channels, self._scratch / name)
        (self._scratch / name).unlink()  # it lives as long as somebody has it mapped
        return file
