"""Inductive inference: the model of training over the neighbourhood of nodes that a request brings, or changes.

The worker of a serving task (see `fresh.py`). A request's `graph` is GraphStorm's (its documentation, "Specification of
Real-time Inference Request and Response"): `nodes` of `node_type`, `node_id` and `features`, raw values that the
encoders of data processing encode, and `edges` of `edge_type`, `src_node_id`, `dest_node_id` and `features`. A node
that the model's graph has is meant by its id, and brings its stored neighbourhood; features that the request gives
stand in for its stored ones.

`inductive/` of a transform's output holds `graph/` (the processed graph, without ids), `model/` (the checkpoint for its
nodes) and `scale.json` (of a regression's labels).
"""

import json
import os
import select
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from torch.func import functional_call

from modelyard.runner.context import Channel
from modelyard.text_models import TextFolder, given_folders
from modelyard.workloads.graph.data import Feature, Graph, feature_arrays, read_graph
from modelyard.workloads.graph.inference.additions import Additions, BadRequest, read_additions
from modelyard.workloads.graph.inference.ids import NodeIds
from modelyard.workloads.graph.inference.neighbourhood import (
    MAX_EDGES,
    MAX_NODES,
    Neighbourhood,
    StoredEdges,
    Subgraph,
    TooLarge,
)
from modelyard.workloads.graph.training.adjacency import node_offsets
from modelyard.workloads.graph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.edge_features import with_edge_features
from modelyard.workloads.graph.training.tensors import graph_tensors
from modelyard.workloads.graph.training.trained_on import TrainedOn

if TYPE_CHECKING:
    from modelyard.workloads.graph.processing.encoders import Matrix

FOLDER = "inductive"
IDLE_SECONDS = 600.0
_GRAPH_FILES = ("graph.json", "encoders.json", "nodes/*/features.safetensors", "edges/*.safetensors")


def write_inductive(graph: Graph, checkpoint: Checkpoint, trained_on: TrainedOn, output: Path) -> None:
    """Writes `inductive/`; files of the processed graph are linked where the file system can, else copied."""
    folder = output / FOLDER
    for pattern in _GRAPH_FILES:
        for file in graph.folder.glob(pattern):
            place = folder / "graph" / file.relative_to(graph.folder)
            place.parent.mkdir(parents=True, exist_ok=True)
            _link(file, place)
    write_checkpoint(checkpoint, folder / "model")
    (folder / "scale.json").write_text(json.dumps({"mean": trained_on.mean, "deviation": trained_on.deviation}))


def work(channel: Channel, parameters: Mapping[str, Any]) -> None:
    """A worker's entry point: answers until the task goes, or for idle minutes.

    parameters: `model`, a folder, and those that `given_folders` reads.
    """
    inductive = Inductive(Path(parameters["model"]), given_folders(parameters))
    while select.select([channel], [], [], IDLE_SECONDS)[0] and (message := channel.receive()) is not None:
        try:
            known, vectors, features = inductive.compute(**message)
        except BadRequest as error:
            channel.send(error=str(error))
        else:
            channel.send(known=known.tolist(), vectors=vectors.tolist(), features=features)


class Inductive:
    """A trained model over the processed graph that a transform was of."""

    def __init__(self, folder: Path, text_models: Sequence[TextFolder] = ()) -> None:
        # Polars, which this brings, is nothing that the parent from which workers fork may load.
        from modelyard.workloads.graph.inference.raw_values import RawValues

        here = folder / FOLDER
        self._graph = read_graph(here / "graph")
        self._checkpoint = read_checkpoint(here / "model")
        self._scale = json.loads((here / "scale.json").read_text())
        self._model = self._checkpoint.restore()
        self._ids = NodeIds(folder / "serving" / "ids")
        self._offsets = node_offsets(self._graph).tolist()
        self._means = {
            number: self._checkpoint.weights[name].mean(0)
            for number in range(len(self._graph.node_types))
            if (name := f"model.encoder.embeddings.{number}") in self._checkpoint.weights
        }
        self._stored = StoredEdges(self._graph, self._checkpoint.relations)
        self._features = [self._graph.features(number) for number in range(len(self._graph.node_types))]
        self._edges = [self._graph.edges(number) for number in range(len(self._graph.edge_types))]
        self._values = RawValues(here / "graph", text_models)

    def compute(
        self,
        graph: Any,
        targets: Sequence[tuple[int, str]],
        scores: bool,
        fanout: Sequence[int] | None = None,
        deterministic: bool = True,
        pairs: Sequence[tuple[str, str]] = (),
    ) -> tuple[np.ndarray, np.ndarray, list[list[float] | None]]:
        """Which targets, pairs of a node type's number and an id, are known, and the vectors of those.

        bool `[num_targets]`, float32 `[num_known, channels]`. With `scores` what is predicted of nodes: probabilities,
        or a number in the label's unit; else embeddings, as `transform.infer` defines them. Third come the encoded
        features of `pairs`, head and tail of edges of the task's type, None where the request adds no such edge.
        Raises BadRequest.
        """
        added = read_additions(graph, self._graph, self._rows)
        self._check_values(added)
        rows = self._target_rows(targets, added)
        kinds, known = np.array([kind for kind, _ in targets], np.int64), rows >= 0
        hops = self._checkpoint.hyperparameters.num_layer
        try:
            around = self._stored.around(
                [rows[known & (kinds == number)] for number in range(len(self._graph.node_types))],
                added.ends,
                hops,
                fanout,
                None if deterministic else np.random.default_rng(),
            )
        except TooLarge:
            raise BadRequest(
                f"the neighbourhood has more than {MAX_NODES} nodes or {MAX_EDGES} edges; send fewer nodes at once, "
                f"or limit the neighbours with globalParameters.fanout, such as {[25] * hops}"
            ) from None
        output, hidden = self._run(around, added)
        begin = np.cumsum([0, *map(len, around.nodes)])
        places = [begin[kinds[n]] + around.local(kinds[n], rows[n]) for n in np.flatnonzero(known).tolist()]
        vectors = output if scores or self._graph.task.node_type is None else hidden
        found = vectors[torch.tensor(places, dtype=torch.int64)]
        return known, (self._scored(found) if scores else found).numpy(), self._features_of(pairs, added)

    def _run(self, around: Neighbourhood, added: Additions) -> tuple[Tensor, Tensor]:
        subgraph = self._subgraph(around, added)
        self_loop = self._checkpoint.hyperparameters.use_self_loop
        adjacency = self._stored.adjacency(subgraph, around, added.ends, self_loop)
        tensors = graph_tensors(subgraph, adjacency)
        if self._checkpoint.dimensions.edge_parts:
            tensors = with_edge_features(tensors, subgraph, adjacency)
        with torch.no_grad():
            output, hidden = functional_call(self._model, self._embeddings(around), (tensors,))
        return output, hidden

    def _scored(self, output: Tensor) -> Tensor:
        task = self._graph.task
        if task.is_regression():
            return torch.add(output * self._scale["deviation"], self._scale["mean"])
        return output.sigmoid() if task.multilabel else output.softmax(1)

    def _embeddings(self, around: Neighbourhood) -> dict[str, Tensor]:
        """Learned embeddings of the neighbourhood's nodes; the mean of their type for those that are new."""
        found = {}
        for number, rows in enumerate(around.nodes):
            name = f"encoder.embeddings.{number}"
            if (learned := self._checkpoint.weights.get(f"model.{name}")) is not None:
                stored = torch.from_numpy(rows[rows < len(learned)])
                new = self._means[number].expand(len(rows) - len(stored), -1)
                found[name] = torch.cat([learned[stored], new])
        return found

    def _subgraph(self, around: Neighbourhood, added: Additions) -> Subgraph:
        graph = self._graph
        pairs = zip(graph.edge_types, around.edges, strict=True)
        return Subgraph(
            folder=graph.folder,
            node_types=tuple(
                replace(one, num_nodes=len(rows)) for one, rows in zip(graph.node_types, around.nodes, strict=True)
            ),
            edge_types=tuple(replace(one, num_edges=len(numbers), target=False) for one, numbers in pairs),
            task=graph.task,
            node_features=tuple(self._node_features(number, rows, added) for number, rows in enumerate(around.nodes)),
            edge_arrays=tuple(self._edge_arrays(number, around, added) for number in range(len(graph.edge_types))),
        )

    def _node_features(self, number: int, rows: np.ndarray, added: Additions) -> dict[str, np.ndarray]:
        """The features of some rows of a node type: the stored ones, and those that the request gives."""
        node_type, given = self._graph.node_types[number], added.values[number]
        arrays: dict[str, np.ndarray] = {}
        for place, feature in enumerate(node_type.features):
            names = self._values.names(node_type.name, feature.name)
            new = [r for r in rows.tolist() if r >= node_type.num_nodes or not names.isdisjoint(given.get(r, ()))]
            stored = _stored(self._features[number], place, feature, rows[rows < node_type.num_nodes])
            if new:
                values = [given.get(row, {}) for row in new]
                encoded = self._values.encode(node_type.name, feature, values, partial(_node, added, number, new))
                # Rows rise: stored nodes come first. Those whose values the request gives are taken from behind.
                pick = np.minimum(np.arange(len(rows)), stored.shape[0] - 1)
                pick[np.searchsorted(rows, new)] = stored.shape[0] + np.arange(len(new))
                stored = _joined([stored, encoded])[pick]
            arrays |= feature_arrays(place, stored)
        return arrays

    def _features_of(self, pairs: Sequence[tuple[str, str]], added: Additions) -> list[list[float] | None]:
        if not pairs or self._graph.task.edge_type is None:
            return []
        number = self._graph.edge_type_index(self._graph.task.edge_type)
        kinds = [self._graph.node_type_index(name) for name in self._graph.task.edge_type[::2]]
        places = {ends: place for place, ends in enumerate(zip(*added.ends[number].tolist(), strict=True))}
        rows = [self._target_rows([(kind, pair[side]) for pair in pairs], added) for side, kind in enumerate(kinds)]
        found = [places.get(ends) for ends in zip(*(one.tolist() for one in rows), strict=True)]
        wanted = [place for place in found if place is not None]
        encoded = iter(self._encoded_edges(number, wanted, added).tolist())
        return [None if place is None else next(encoded) for place in found]

    def _encoded_edges(self, number: int, places: Sequence[int], added: Additions) -> np.ndarray:
        """The encoded features of some of the edges that the request adds to a type, float32 `[len(places), dim]`."""
        edge_type, values = self._graph.edge_types[number], [added.edge_values[number][place] for place in places]
        whose = f"an edge {edge_type.relation!r}"
        blocks = [
            self._values.encode(edge_type.key, replace(one, sparse=False), values, lambda _: whose)
            for one in (edge_type.features if values else ())
        ]
        empty = np.empty((len(values), 0), np.float32)
        return np.concatenate([empty, *blocks], axis=1).astype(np.float32)

    def _edge_arrays(self, number: int, around: Neighbourhood, added: Additions) -> dict[str, np.ndarray]:
        edge_type, numbers = self._graph.edge_types[number], around.edges[number]
        kinds = [self._graph.node_type_index(name) for name in (edge_type.source, edge_type.dest)]
        ends = [around.local(kind, rows) for kind, rows in zip(kinds, around.ends[number], strict=True)]
        arrays = {"edge_index": np.stack(ends)}
        if "features" in self._edges[number]:
            stored = self._edges[number]["features"]
            new = self._encoded_edges(number, (numbers[numbers >= len(stored)] - len(stored)).tolist(), added)
            new = new if len(new) else stored[:0]
            arrays["features"] = np.concatenate([stored[numbers[numbers < len(stored)]], new])
        return arrays

    def _rows(self, node_type: int, ids: Sequence[str]) -> np.ndarray:
        start, stop = self._offsets[node_type : node_type + 2]
        found = self._ids.rows(ids, start, stop)
        return np.where(found < 0, found, found - start)

    def _target_rows(self, targets: Sequence[tuple[int, str]], added: Additions) -> np.ndarray:
        rows = np.array([added.rows[kind].get(id, -1) for kind, id in targets], np.int64)
        for number in range(len(self._graph.node_types)):
            left = [n for n, (kind, _) in enumerate(targets) if kind == number and rows[n] < 0]
            rows[left] = self._rows(number, [targets[n][1] for n in left])
        return rows

    def _check_values(self, added: Additions) -> None:
        for number, node_type in enumerate(self._graph.node_types):
            for row, values in added.values[number].items():
                self._values.check(node_type.name, values, f"node {added.id(number, row)!r}")
        for edge_type, given in zip(self._graph.edge_types, added.edge_values, strict=True):
            for values in given:
                self._values.check(edge_type.key, values, f"an edge {edge_type.relation!r}")


def _node(added: Additions, node_type: int, rows: Sequence[int], place: int) -> str:
    return f"node {added.id(node_type, rows[place])!r}"


def _stored(arrays: Mapping[str, np.ndarray], place: int, feature: Feature, rows: np.ndarray) -> "Matrix":
    if not feature.sparse:
        return arrays[str(place)][rows]
    indptr, indices, values = (arrays[f"{place}.{part}"] for part in ("indptr", "indices", "values"))
    count = indptr[rows + 1] - indptr[rows]
    at = np.repeat(indptr[rows] - (np.cumsum(count) - count), count) + np.arange(count.sum())
    begin = np.concatenate([[0], np.cumsum(count)])
    return sparse.csr_array((values[at], indices[at], begin), shape=(len(rows), feature.dim))


def _joined(parts: "list[Matrix]") -> "Matrix":
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return sparse.csr_array(sparse.vstack(parts, format="csr"))


def _link(file: Path, place: Path) -> None:
    try:
        os.link(file, place)
    except OSError:  # another file system, or one without links
        shutil.copyfile(file, place)
