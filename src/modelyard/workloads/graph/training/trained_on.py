"""What a model remembers of the graph that it was trained on, so that it can be applied to a newer one.

`trained_on.json` in the model's folder holds the types, the classes and the scale of the labels;
`trained_on/<i>.parquet` the raw ids of node type i (one column `id`, in row order) where its nodes have learned
embeddings.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from modelyard import atomic
from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import TRAIN, Graph


@dataclass(frozen=True)
class TrainedOn:
    """The graph of a training run.

    task: its type, node type and property. targets: the edge types that link prediction or an edge task targets. mean,
    deviation: those of a regression's training labels.
    """

    task: tuple[str | None, ...]
    node_types: tuple[str, ...]
    edge_types: tuple[tuple[str, str, str], ...]
    targets: tuple[tuple[str, str, str], ...] = ()
    classes: tuple[str, ...] = ()
    mean: float = 0.0
    deviation: float = 1.0

    def check(self, graph: Graph) -> None:
        """Raises InputError if `graph` has another task, or other node types, edge types or targets."""
        now = _described(graph)
        _check_same("type, node type and property of the task", self.task, now.task)
        _check_same("node types", self.node_types, now.node_types)
        _check_same("edge types", self.edge_types, now.edge_types)
        _check_same("edge types to predict", self.targets, now.targets)


def write_trained_on(graph: Graph, embedded: Iterable[int], folder: Path) -> None:
    """Writes what a model's folder needs; `embedded` are the numbers of the node types with learned embeddings."""
    (folder / "trained_on").mkdir(parents=True, exist_ok=True)
    for number in embedded:
        shutil.copyfile(graph.ids_path(number), folder / "trained_on" / f"{number}.parquet")
    mean, deviation = _label_scale(graph)
    described = replace(_described(graph), mean=mean, deviation=deviation)
    atomic.write(folder / "trained_on.json", json.dumps(asdict(described)).encode())


def read_trained_on(folder: Path) -> TrainedOn:
    """Reads what `write_trained_on` wrote."""
    document = json.loads((folder / "trained_on.json").read_text())
    return TrainedOn(
        task=tuple(document["task"]),
        node_types=tuple(document["node_types"]),
        edge_types=tuple((source, relation, dest) for source, relation, dest in document["edge_types"]),
        targets=tuple((source, relation, dest) for source, relation, dest in document["targets"]),
        classes=tuple(document["classes"]),
        mean=document["mean"],
        deviation=document["deviation"],
    )


def rows_in_training(graph: Graph, node_type: int, folder: Path) -> np.ndarray:
    """For each node of a type its row in the graph of training, matched by raw id; -1 for new nodes.

    int64 `[num_nodes]`.
    """
    import polars as pl  # not above: processes that fork import this module, and must not have touched Polars

    before = pl.read_parquet(folder / "trained_on" / f"{node_type}.parquet").with_row_index("row")
    now = pl.read_parquet(graph.ids_path(node_type))
    rows = now.join(before, on="id", how="left", maintain_order="left")["row"]
    return rows.cast(pl.Int64).fill_null(-1).to_numpy(writable=True)


def _described(graph: Graph) -> TrainedOn:
    return TrainedOn(
        task=(graph.task.type, graph.task.node_type, graph.task.property),
        node_types=tuple(one.name for one in graph.node_types),
        edge_types=tuple(one.key for one in graph.edge_types),
        targets=tuple(one.key for one in graph.edge_types if one.target),
        classes=graph.task.classes,
    )


def _label_scale(graph: Graph) -> tuple[float, float]:
    if not graph.task.is_regression():
        return 0.0, 1.0
    arrays = graph.labels()
    labels = arrays["labels"][arrays["split"] == TRAIN].astype(np.float64)
    return float(labels.mean()), float(labels.std()) or 1.0


def _check_same(what: str, before: tuple[object, ...], now: tuple[object, ...]) -> None:
    if before == now:
        return
    odd = [one for one in now if one not in before] or [one for one in before if one not in now] or [now]
    raise InputError(
        f"the {what} of the processed graph are not those that the model was trained with: {odd[0]!r}; process the "
        f"data with the same configuration and previousDataProcessingJobId, or train again"
    )
