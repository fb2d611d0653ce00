"""A processed graph as PyTorch Geometric's `HeteroData`: what users' own models learn from.

    from modelyard.workloads.graph.hetero import load_graph, load_info
    data, info = load_graph(), load_info()

Arrays are mapped into memory, so that trials side by side share them.
"""

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from torch_geometric.data import HeteroData

from modelyard.workloads.graph.data import TEST, TRAIN, VALID, Feature, Graph, read_graph

MASKS = {"train_mask": TRAIN, "valid_mask": VALID, "test_mask": TEST}
REVERSE = "rev_"
"""What the name of a reverse relation begins with, as PyG's `ToUndirected` has it."""

EdgeKey = tuple[str, str, str]


@dataclass(frozen=True)
class GraphInfo:
    """What is to be learned, and what the numbers of a graph stand for.

    task: `node_class`, `node_regression`, `edge_class`, `edge_regression` or `link_predict`.
    target_ntype, target_etype: of node tasks, and of edge tasks. targets: the edge types that a task is about.
    label_map: index of a class -> raw label; empty for regression and link prediction.
    """

    graph: Graph
    task: str
    target_ntype: str | None
    target_etype: EdgeKey | None
    targets: tuple[EdgeKey, ...]
    property: str | None
    label_map: dict[int, str]
    is_multilabel: bool

    def node_ids(self, node_type: str) -> list[str]:
        """The raw ids of a type's nodes, in the order of their rows."""
        import polars as pl  # it starts threads

        ids: list[str] = pl.read_parquet(self.graph.ids_path(self.graph.node_type_index(node_type)))["id"].to_list()
        return ids

    def columns(self, kind: str | EdgeKey) -> dict[str, range]:
        """The columns that each feature takes of a node type's `x`, or of an edge type's `edge_attr`."""
        graph, found, start = self.graph, {}, 0
        types = graph.node_types if isinstance(kind, str) else graph.edge_types
        number = graph.node_type_index(kind) if isinstance(kind, str) else graph.edge_type_index(kind)
        for feature in types[number].features:
            found[feature.name] = range(start, start + feature.dim)
            start += feature.dim
        return found


def load_info(folder: str | os.PathLike[str] | None = None) -> GraphInfo:
    """What a processed graph is about. folder: as `load_graph` has it."""
    graph = read_graph(_folder(folder))
    task = graph.task
    return GraphInfo(
        graph=graph,
        task=task.type,
        target_ntype=task.node_type,
        target_etype=task.edge_type,
        targets=tuple(edge_type.key for edge_type in graph.edge_types if edge_type.target),
        property=task.property,
        label_map=dict(enumerate(task.classes)),
        is_multilabel=task.multilabel,
    )


def load_graph(folder: str | os.PathLike[str] | None = None, reverse: bool = True) -> HeteroData:
    """The processed graph.

    folder: where it lies; the one that the job gives (`SM_CHANNEL_TRAIN`, in a transform `SM_DATA_DIR`) unless said.
    reverse: whether each edge type gets one the other way round, `(dest, "rev_" + relation, source)`, unless the graph
    has one of that name.

    Of each node type `num_nodes` and, where it has features, `x`, float32 `[num_nodes, columns]`, all of them side by
    side; of each edge type `edge_index` and, where it has features, `edge_attr`. What the task is about has

    - `y`: int64 `[n]` with -1 for unlabelled, uint8 `[n, classes]` where one may have several labels, float32 `[n]` for
      regression; none for link prediction;
    - `train_mask`, `valid_mask`, `test_mask`: bool `[n]`.

    Reverse edge types have their edges in the same order, and the masks too. Edges of `valid_mask` and `test_mask` must
    not pass messages: `message_edges` leaves them out.
    """
    graph = read_graph(_folder(folder))
    data = HeteroData()
    for number, node_type in enumerate(graph.node_types):
        store = data[node_type.name]
        store.num_nodes = node_type.num_nodes
        if node_type.features:
            store.x = _features(graph, number)
    for number, edge_type in enumerate(graph.edge_types):
        arrays = _arrays(graph.folder / "edges" / f"{number}.safetensors")
        _fill(data, edge_type.key, arrays)
        back = (edge_type.dest, REVERSE + edge_type.relation, edge_type.source)
        if reverse and not any(other.key == back for other in graph.edge_types):
            _fill(data, back, {**arrays, "edge_index": arrays["edge_index"].flip(0)}, labels=False)
    if graph.task.node_type is not None:
        arrays = _arrays(graph.folder / "labels.safetensors")
        data[graph.task.node_type].y = arrays["labels"]
        _mask(data[graph.task.node_type], arrays["split"])
    return data


def message_edges(data: HeteroData) -> dict[EdgeKey, Tensor]:
    """`edge_index_dict` without the edges that are kept for validation and test."""
    return {
        key: store.edge_index[:, ~(store.valid_mask | store.test_mask)] if "valid_mask" in store else store.edge_index
        for key, store in zip(data.edge_types, data.edge_stores, strict=True)
    }


def split_edges(data: HeteroData, info: GraphInfo) -> tuple[HeteroData, HeteroData, HeteroData]:
    """The graph for training, for validation and for the test of link prediction and edge tasks.

    Each is as PyG's `RandomLinkSplit` gives it, hence fit for `LinkNeighborLoader`, but for negative samples: there are
    none. In all three, edges kept for validation and test pass no messages: `edge_index` and `edge_attr`, of reverse
    edge types too, are without them. The edge types that the task is about have, of the part's edges,

    - `edge_label_index`: int64 `[2, n]`;
    - `edge_label`: their `y`; of link prediction ones, float32 `[n]`;
    - `edge_label_attr`: their features, float32 `[n, columns]`, where they have any.
    """
    train, valid, test = (_part(data, info.targets, mask) for mask in MASKS)
    return train, valid, test


def _part(data: HeteroData, targets: Sequence[EdgeKey], mask: str) -> HeteroData:
    part = copy(data)
    for key, store in zip(part.edge_types, part.edge_stores, strict=True):
        if "valid_mask" not in store:
            continue
        own, passing = store[mask], ~(store.valid_mask | store.test_mask)
        if key in targets:
            store.edge_label_index = store.edge_index[:, own]
            store.edge_label = store.y[own] if "y" in store else torch.ones(int(own.sum()))
            if "edge_attr" in store:
                store.edge_label_attr = store.edge_attr[own]
        store.edge_index = store.edge_index[:, passing]
        if "edge_attr" in store:
            store.edge_attr = store.edge_attr[passing]
        for name in {"y", *MASKS} & set(store.keys()):
            del store[name]
    return part


def _folder(given: str | os.PathLike[str] | None) -> Path:
    found = given or os.environ.get("SM_CHANNEL_TRAIN") or os.environ.get("SM_DATA_DIR")
    if not found:
        raise ValueError("no folder is given, and neither SM_CHANNEL_TRAIN nor SM_DATA_DIR names that of the graph")
    return Path(found)


def _fill(data: HeteroData, key: EdgeKey, arrays: dict[str, Tensor], labels: bool = True) -> None:
    store = data[key]
    store.edge_index = arrays["edge_index"]
    if "features" in arrays:
        store.edge_attr = arrays["features"]
    if "labels" in arrays and labels:
        store.y = arrays["labels"]
    if "split" in arrays:
        _mask(store, arrays["split"])


def _mask(store: object, split: Tensor) -> None:
    for name, part in MASKS.items():
        setattr(store, name, split == part)


def _features(graph: Graph, number: int) -> Tensor:
    """`x` of a node type. One dense feature alone stays mapped; others are put side by side."""
    node_type = graph.node_types[number]
    arrays = _arrays(graph.folder / "nodes" / str(number) / "features.safetensors")
    blocks = [_dense(arrays, place, feature, node_type.num_nodes) for place, feature in enumerate(node_type.features)]
    return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)


def _dense(arrays: dict[str, Tensor], place: int, feature: Feature, rows: int) -> Tensor:
    if not feature.sparse:
        return arrays[str(place)]
    starts, columns, values = (arrays[f"{place}.{part}"] for part in ("indptr", "indices", "values"))
    block = torch.zeros(rows, feature.dim)
    block[torch.repeat_interleave(torch.arange(rows), starts.diff()), columns.long()] = values
    return block


def _arrays(path: Path) -> dict[str, Tensor]:
    """The arrays of a file, mapped: what is written to them stays with this process."""
    with safe_open(path, framework="pt") as file:
        names: Sequence[str] = file.keys()
        return {name: file.get_tensor(name) for name in names}
