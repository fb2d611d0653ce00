"""The processed graph: what data processing writes, and training, transform and serving read.

A folder of safe formats, so that every reader may map it into memory and none runs code from it:

- `graph.json`: everything but arrays; the fields of `Graph`, `NodeType`, `EdgeType` and `Task`.
- `nodes/<i>/ids.parquet`: one column `id`, the raw ids of node type i; the row is the node's index.
- `nodes/<i>/features.safetensors`: for feature k (its place in `NodeType.features`) either `k` as a dense float32
  `[num_nodes, dim]`, or `k.indptr` (int64 `[num_nodes + 1]`), `k.indices` (int32), `k.values` (float32) as CSR.
- `edges/<j>.safetensors`: `edge_index` int64 `[2, num_edges]` (source row, destination row) of edge type j; `split`
  uint8 `[num_edges]` where this type is a target of link prediction or of an edge task; `features` float32
  `[num_edges, dim]` if any, the columns of all features side by side; `labels` `[num_edges, …]` (edge tasks).
- `labels.safetensors` (node tasks): `labels` `[num_nodes, …]` and `split` uint8 `[num_nodes]`.

Labels are int64 `[n]` with -1 for unlabelled (single-label), uint8 `[n, num_classes]` (multi-label; a row of zeros is
unlabelled) or float32 `[n]` with nan for unlabelled (regression).

Types are numbered, never named, on disk: a type's name comes from the user's file and may hold any character.
A split is one byte: `NONE` (no target: unlabelled nodes, edges that only carry messages), `TRAIN`, `VALID`, `TEST`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from modelyard.workloads.graph.mapped import map_arrays

NONE, TRAIN, VALID, TEST = 0, 1, 2, 3

ModelType = Literal["heterogeneous", "kge"]
"""Neptune ML's model types: graph neural networks, and knowledge-graph embeddings."""

TaskType = Literal["node_class", "node_regression", "edge_class", "edge_regression", "link_predict"]


@dataclass(frozen=True)
class Feature:
    """One encoded feature of a node type: `dim` columns, dense or sparse (CSR) on disk."""

    name: str
    type: str
    dim: int
    sparse: bool = False


@dataclass(frozen=True)
class NodeType:
    """A node type: its name as the configuration gives it, its number of nodes and its encoded features."""

    name: str
    num_nodes: int
    features: tuple[Feature, ...] = ()


@dataclass(frozen=True)
class EdgeType:
    """An edge type `(source, relation, dest)`, its number of edges, and whether the task targets it."""

    source: str
    relation: str
    dest: str
    num_edges: int
    target: bool = False
    features: tuple[Feature, ...] = ()

    @property
    def key(self) -> tuple[str, str, str]:
        """PyG's name of an edge type: `(source, relation, dest)`."""
        return self.source, self.relation, self.dest


@dataclass(frozen=True)
class Task:
    """What is to be learned.

    Node tasks name a node type and the label property, edge tasks an edge type `(source, relation, dest)` and the
    property; `classes` are the raw labels in the order of their index. The edge types that link prediction or an edge
    task targets are marked `target`.
    """

    type: TaskType
    node_type: str | None = None
    property: str | None = None
    classes: tuple[str, ...] = ()
    multilabel: bool = False
    edge_type: tuple[str, str, str] | None = None

    def is_regression(self) -> bool:
        """Whether labels are numbers."""
        return self.type in ("node_regression", "edge_regression")


@dataclass(frozen=True)
class Graph:
    """A processed graph in `folder`; arrays are mapped into memory on demand (see `mapped.py`)."""

    folder: Path
    node_types: tuple[NodeType, ...]
    edge_types: tuple[EdgeType, ...]
    task: Task
    model_type: ModelType = "heterogeneous"
    warnings: tuple[str, ...] = field(default=())

    def node_type_index(self, name: str) -> int:
        """The number of the node type `name`; KeyError if there is none."""
        for index, node_type in enumerate(self.node_types):
            if node_type.name == name:
                return index
        raise KeyError(name)

    def features(self, node_type: int) -> dict[str, np.ndarray]:
        """The raw arrays of `nodes/<node_type>/features.safetensors`, by key; empty without features."""
        return _read_arrays(self.folder / "nodes" / str(node_type) / "features.safetensors")

    def edges(self, edge_type: int) -> dict[str, np.ndarray]:
        """`edge_index` and, where they exist, `split`, `features` and `labels` of an edge type."""
        return _read_arrays(self.folder / "edges" / f"{edge_type}.safetensors")

    def edge_type_index(self, key: tuple[str, str, str]) -> int:
        """The number of the edge type `key`; KeyError if there is none."""
        for index, edge_type in enumerate(self.edge_types):
            if edge_type.key == key:
                return index
        raise KeyError(key)

    def labels(self) -> dict[str, np.ndarray]:
        """`labels` and `split` of the target node type, or of the target edge type; empty for link prediction."""
        if self.task.edge_type is None:
            return _read_arrays(self.folder / "labels.safetensors")
        arrays = self.edges(self.edge_type_index(self.task.edge_type))
        return {"labels": arrays["labels"], "split": arrays["split"]}

    def ids_path(self, node_type: int) -> Path:
        """The Parquet file of raw ids of a node type: one column `id`, in row order."""
        return self.folder / "nodes" / str(node_type) / "ids.parquet"


def read_graph(folder: Path) -> Graph:
    """Reads `graph.json`; arrays stay on disk until asked for."""
    document = json.loads((folder / "graph.json").read_text())
    return Graph(
        folder=folder,
        node_types=tuple(NodeType(**{**n, "features": _features(n)}) for n in document["node_types"]),
        edge_types=tuple(EdgeType(**{**e, "features": _features(e)}) for e in document["edge_types"]),
        task=_task(document["task"]),
        model_type=document["model_type"],
        warnings=tuple(document["warnings"]),
    )


def write_graph(graph: Graph) -> None:
    """Writes `graph.json` into the graph's folder; the arrays are written beside it by whoever made them."""
    document: dict[str, Any] = {"version": 1, **asdict(graph)}
    del document["folder"]
    (graph.folder / "graph.json").write_text(json.dumps(document, indent=1))


def _task(document: Mapping[str, Any]) -> Task:
    lists = {name: tuple(document[name]) for name in ("classes", "edge_type") if document.get(name) is not None}
    return Task(**{**document, **lists})


def feature_arrays(place: int, matrix: Any) -> dict[str, np.ndarray]:
    """The arrays of one feature as `features.safetensors` holds them, of a dense or a CSR matrix `[num_nodes, dim]`."""
    if isinstance(matrix, np.ndarray):
        return {str(place): matrix}
    return {
        f"{place}.indptr": matrix.indptr.astype(np.int64),
        f"{place}.indices": matrix.indices.astype(np.int32),
        f"{place}.values": matrix.data.astype(np.float32),
    }


def _features(document: Mapping[str, Any]) -> tuple[Feature, ...]:
    return tuple(Feature(**feature) for feature in document["features"])


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    return map_arrays(path) if path.exists() else {}
