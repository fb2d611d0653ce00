"""A graph of PyTorch Geometric as tables: `HeteroData`, or `Data` with one type of nodes.

A node's id is its row. `x`, `edge_attr` and other attributes with a value for each row are features as they are; `y`
is what is learned, and masks are its split.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl
import torch
from torch_geometric.data import Data, HeteroData

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.rows import Frame
from modelyard.workloads.graph.bring.tables import Column, EdgeTable, Learned, NodeTable, Source

NODE, EDGE = "node", "edge"
LABEL = "y"
MASKS = {"train_mask": "train", "val_mask": "valid", "valid_mask": "valid", "test_mask": "test"}
SPLIT = "~split"

_ID, _FROM, _TO, _RELATION = "~id", "~from", "~to", "~label"
_STRUCTURE = frozenset({"edge_index", "adj_t", "num_nodes", "batch", "ptr", "edge_type", "node_type", *MASKS})


def source(data: Data | HeteroData) -> Source:
    """The tables of a graph. Raises InputError, for instance where a tensor has another length than its rows."""
    stores = _Stores(data)
    nodes = [_node_table(stores, name, store) for name, store in stores.nodes()]
    edges = [_edge_table(stores, key, store) for key, store in stores.edges()]
    return Source(
        tuple(nodes), tuple(edges), stores.learned, frozenset(stores.plain), tuple(dict.fromkeys(stores.warnings))
    )


class _Stores:
    """What a graph holds, and what was noticed on the way."""

    def __init__(self, data: Data | HeteroData) -> None:
        self._data = data
        self.learned: Learned | None = None
        self.plain: set[Column] = set()
        self.warnings: list[str] = []

    def nodes(self) -> Iterator[tuple[str, Any]]:
        if isinstance(self._data, HeteroData):
            yield from ((name, self._data[name]) for name in self._data.node_types)
        else:
            yield NODE, self._data

    def edges(self) -> Iterator[tuple[tuple[str, str, str], Any]]:
        if isinstance(self._data, HeteroData):
            yield from ((key, self._data[key]) for key in self._data.edge_types)
        elif self._data.edge_index is not None:
            yield (NODE, EDGE, NODE), self._data

    def columns(self, owner: str, store: Any, rows: int, of_edges: bool) -> dict[str, pl.Series]:
        """The attributes that have a value for each row, and the column of the split."""
        columns: dict[str, pl.Series] = {}
        for name, value in store.items():
            if name in _STRUCTURE or (isinstance(self._data, Data) and self._data.is_edge_attr(name) != of_edges):
                continue
            if (series := self._series(f"{owner}.{name}", name, value, rows)) is not None:
                columns[name] = series
                self.plain.add((owner, name))
        split = self._split(owner, store, rows)
        if LABEL in columns:
            columns[LABEL] = self._labels(columns[LABEL])
            if split is not None:
                columns[SPLIT] = split
            self._learn(Learned(owner, LABEL, _task(columns[LABEL]), SPLIT if split is not None else None))
        return columns

    def _learn(self, learned: Learned) -> None:
        if self.learned is None:
            self.learned = learned
        else:
            self.warnings.append(f"{learned.owner} has labels, too: a job learns one thing; name it as a target")

    def _series(self, place: str, name: str, value: Any, rows: int) -> pl.Series | None:
        if isinstance(value, torch.Tensor):
            if value.dim() == 0 or len(value) != rows:
                self.warnings.append(f"{place}: has another length than its {rows:,} rows, and is left out")
                return None
            if value.is_sparse or value.layout != torch.strided:
                value = value.to_dense()
            array = value.detach().to(torch.float32 if value.dtype == torch.bfloat16 else value.dtype).cpu().numpy()
            array = array.reshape(rows, -1) if array.ndim > 2 else array
            return pl.Series(name, array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array)
        if isinstance(value, np.ndarray) and len(value) == rows:
            return pl.Series(name, value)
        if isinstance(value, list) and len(value) == rows:
            return pl.Series(name, value, strict=False)
        self.warnings.append(f"{place}: is a {type(value).__name__}, and is left out")
        return None

    def _labels(self, labels: pl.Series) -> pl.Series:
        """-1 means unlabelled; rows of zeros and ones are the classes of a multi-label task."""
        if labels.dtype.is_integer():
            return labels.set(labels == -1, None) if labels.dtype.is_signed_integer() else labels
        if isinstance(labels.dtype, pl.Array):
            ones = np.nan_to_num(labels.to_numpy())
            if not np.isin(ones, (0, 1)).all():
                raise InputError(
                    "y: has several numbers in each row that are not zeros and ones; export one of them as y"
                )
            return pl.Series(LABEL, [np.flatnonzero(row).tolist() for row in ones], dtype=pl.List(pl.Int64))
        return labels

    def _split(self, owner: str, store: Any, rows: int) -> pl.Series | None:
        """Which part each row is in, from masks of one split; of several, the first."""
        split = np.full(rows, "", dtype="<U5")
        found = False
        for name, part in MASKS.items():
            mask = store.get(name) if hasattr(store, "get") else getattr(store, name, None)
            if mask is None or len(mask) != rows:
                continue
            if mask.dim() > 1:
                self.warnings.append(f"{owner}.{name}: holds {mask.shape[1]} splits; the first is taken")
                mask = mask[:, 0]
            chosen = mask.bool().numpy()
            if (split[chosen] != "").any():
                raise InputError(f"{owner}.{name}: has a row that is in another part, too")
            split[chosen] = part
            found = True
        return pl.Series(SPLIT, split).replace("", None) if found else None


def _task(labels: pl.Series) -> str:
    return "regression" if labels.dtype.is_float() else "classification"


def _node_table(stores: _Stores, name: str, store: Any) -> NodeTable:
    count = store.num_nodes
    if count is None:
        raise InputError(f"{name}: nothing tells how many nodes there are; set num_nodes")
    ids = pl.arange(0, count, eager=True).alias(_ID)
    columns = stores.columns(name, store, count, of_edges=False)
    return NodeTable(name, Frame(f"nodes {name!r}", pl.DataFrame([ids, *_named(columns)])), _ID)


def _edge_table(stores: _Stores, key: tuple[str, str, str], store: Any) -> EdgeTable:
    index = store.edge_index.cpu().numpy()
    source, relation, target = key
    named = _RELATION if isinstance(store, Data) and store.get("edge_type") is not None else None
    ends = [pl.Series(_FROM, index[0]), pl.Series(_TO, index[1])]
    if named:
        ends.append(pl.Series(_RELATION, store.edge_type.cpu().numpy()))
    owner = f"{source}-[{named}]->{target}" if named else f"{source}-{relation}->{target}"
    columns = stores.columns(owner, store, index.shape[1], of_edges=True)
    frame = pl.DataFrame([*ends, *_named(columns)])
    return EdgeTable(source, "" if named else relation, target, Frame(f"edges {key}", frame), _FROM, _TO, named)


def _named(columns: dict[str, pl.Series]) -> list[pl.Series]:
    return [series.alias(name) for name, series in columns.items()]
