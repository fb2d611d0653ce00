"""Learning a property of nodes or edges: one class, several, or a number for each."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, TRAIN, VALID, Graph, Task
from modelyard.workloads.graph.training import evaluate
from modelyard.workloads.graph.training.adjacency import node_offsets
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.vectors import Vectors

_ROWS_AT_ONCE = 1 << 16


class PropertyPrediction:
    """Losses and metrics of a property; a subclass says what the model's raw scores of some rows are.

    what: the labelled things, for messages. arrays: `labels` and `split` of all of them (see `data`).
    """

    def __init__(
        self,
        task: Task,
        what: str,
        arrays: Mapping[str, np.ndarray],
        hyperparameters: Hyperparameters,
        device: torch.device,
    ) -> None:
        self._task = task
        self.labels = torch.from_numpy(arrays["labels"]).to(device)
        if task.multilabel or task.is_regression():
            self.labels = self.labels.float()
        self._rows = {
            int(split): torch.from_numpy(np.flatnonzero(arrays["split"] == split)).to(device)
            for split in np.unique(arrays["split"])
        }
        if TRAIN not in self._rows or VALID not in self._rows:
            missing = "training" if TRAIN not in self._rows else "validation"
            raise InputError(
                f"no {missing} {what} with the property {task.property!r} is in that split; check the label's "
                f"split_rate or custom_split_filenames"
            )
        self.num_outputs = 1 if task.is_regression() else len(task.classes)
        self._batch_size = hyperparameters.batch_size
        self._weight = self._class_weight() if hyperparameters.use_class_weight else None
        train = self.labels[self._rows[TRAIN]]
        self.mean, self.deviation = 0.0, 1.0
        if task.is_regression():
            self.mean, self.deviation = float(train.mean()), float(train.std(correction=0)) or 1.0

    def raw(self, output: Tensor | Vectors, rows: Tensor) -> Tensor:
        """The scores of some rows before they are scaled, `[len(rows), num_outputs]`; `output` is the graph model's."""
        raise NotImplementedError

    def nodes_of(self, rows: Tensor) -> Tensor:
        """The nodes whose output the scores of some rows need."""
        raise NotImplementedError

    def targets(self) -> Tensor | None:
        """See `Objective`: whatever has a label."""
        labelled = torch.cat([rows for split, rows in self._rows.items() if split != NONE])
        nodes: Tensor = torch.unique(self.nodes_of(labelled))
        return nodes

    def reads(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Objective`: no edge tells the property of another thing, so all may carry messages."""
        return self.nodes_of(batch), None

    def batches(self) -> Iterator[Tensor]:
        """Rows of the training split."""
        return shuffled(self._rows[TRAIN], self._batch_size)

    def loss(self, output: Tensor | Vectors, batch: Tensor) -> Tensor:
        """Cross entropy, binary cross entropy, or squared error in units of the training labels' deviation."""
        return self._loss(self.raw(output, batch), self.labels[batch])

    @torch.no_grad()
    def validate(self, output: Tensor | Vectors, metric: str, topk: int) -> tuple[float, float]:
        """The metric and the loss on the validation split."""
        rows = self._rows[VALID]
        raw, labels = self._raw_in_parts(output, rows), self.labels[rows]
        loss = float(self._loss(raw, labels))
        if self._task.is_regression():
            return float(((self._scaled(raw)[:, 0] - labels) ** 2).mean()), loss
        return evaluate.class_metric(metric, raw, labels, topk), loss

    @torch.no_grad()
    def report(self, output: Tensor | Vectors, split: int) -> dict[str, Any] | None:
        """A classification report, or errors of a regression."""
        if split not in self._rows:
            return None
        rows = self._rows[split]
        raw, labels = self._raw_in_parts(output, rows), self.labels[rows]
        if self._task.is_regression():
            return dict(evaluate.regression_report(self._scaled(raw)[:, 0], labels))
        return evaluate.classification_report(raw, labels, self._task.classes)

    def _raw_in_parts(self, output: Tensor | Vectors, rows: Tensor) -> Tensor:
        """As `raw`, for any number of rows in bounded memory."""
        return torch.cat([self.raw(output, part) for part in rows.split(_ROWS_AT_ONCE)])

    def _loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        if self._task.is_regression():
            return functional.mse_loss(raw[:, 0], (labels - self.mean) / self.deviation)
        if self._task.multilabel:
            return functional.binary_cross_entropy_with_logits(raw, labels, pos_weight=self._weight)
        return functional.cross_entropy(raw, labels, self._weight)

    def _scaled(self, raw: Tensor) -> Tensor:
        """In the label's own unit."""
        return raw * self.deviation + self.mean

    def _class_weight(self) -> Tensor:
        labels = self.labels[self._rows[TRAIN]]
        if self._task.multilabel:
            positive = labels.sum(0)
            return (len(labels) - positive) / positive.clamp(min=1)
        count = torch.bincount(labels, minlength=self.num_outputs).float()
        return torch.where(count > 0, len(labels) / ((count > 0).sum() * count.clamp(min=1)), 0.0)


class NodePrediction(PropertyPrediction):
    """A property of the nodes of one type: the graph model's output is the score."""

    decoder = None

    def __init__(self, graph: Graph, hyperparameters: Hyperparameters, device: torch.device) -> None:
        name = graph.task.node_type
        assert name is not None
        super().__init__(graph.task, f"nodes: no node of type {name!r}", graph.labels(), hyperparameters, device)
        offset = int(node_offsets(graph)[graph.node_type_index(name)])
        self.nodes = slice(offset, offset + len(self.labels))
        self.out_channels = self.num_outputs

    def raw(self, output: Tensor | Vectors, rows: Tensor) -> Tensor:
        """See `PropertyPrediction`."""
        return output[self.nodes_of(rows)]

    def nodes_of(self, rows: Tensor) -> Tensor:
        """See `PropertyPrediction`."""
        return rows + self.nodes.start


def shuffled(rows: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Batches of rows in random order; all of them as they are where they make one batch."""
    if len(rows) <= batch_size:
        return iter((rows,))
    return iter(rows[torch.randperm(len(rows), device=rows.device)].split(batch_size))
