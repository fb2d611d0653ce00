"""What a training run has measured, step by step, and the files in which users look for it."""

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from modelyard import atomic


@dataclass(frozen=True)
class EarlyStopping:
    """Training ends when `patience` epochs have not brought the best validation loss down by `threshold`."""

    threshold: float = 0.001
    patience: int = 2


@dataclass
class History:
    """losses: mean training loss of each step. validation: at the end of each epoch, the loss of each validation set.

    before: the loss of each validation set before the first step. tokens: how many have been trained on.
    """

    steps_an_epoch: int
    losses: list[float] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)
    before: dict[str, float] = field(default_factory=dict)
    tokens: int = 0

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Reads what `document` gave."""
        return cls(**document)

    def document(self) -> dict[str, Any]:
        """JSON that tells all."""
        return asdict(self)

    @property
    def training_loss(self) -> float:
        """The mean over the last epoch that was begun."""
        epoch = (len(self.losses) - 1) // self.steps_an_epoch
        return fmean(self.losses[epoch * self.steps_an_epoch :])

    def stops(self, rule: EarlyStopping | None) -> bool:
        """Whether training is to end after the epoch that has just ended."""
        if rule is None or not self.validation or not self.validation[0]:
            return False
        best, waited = math.inf, 0
        for losses in self.validation:
            loss = fmean(losses.values())
            improved = loss <= best - rule.threshold
            best, waited = (loss, 0) if improved else (best, waited + 1)
        return waited >= rule.patience

    def write(self, folder: Path) -> None:
        """Writes `training.csv`, and two files for each validation set, one of them of the time before."""
        folder.mkdir()
        training = ((step, step // self.steps_an_epoch, loss) for step, loss in enumerate(self.losses))
        _write(folder / "training.csv", "training_loss", training)
        for name in self.validation[0] if self.validation else ():
            _write(folder / f"{name}.csv", "validation_loss", self._validated(name))
            _write(folder / f"before-{name}.csv", "validation_loss", iter([(0, 0, self.before[name])]))

    def _validated(self, name: str) -> Iterator[tuple[int, int, float]]:
        """Step, epoch and loss of a validation set, at the last step of each epoch."""
        for epoch, losses in enumerate(self.validation):
            yield min((epoch + 1) * self.steps_an_epoch, len(self.losses)) - 1, epoch, losses[name]


def _write(path: Path, loss_name: str, rows: Iterator[tuple[int, int, float]]) -> None:
    """The columns are those of Amazon Bedrock's metrics; steps and epochs count from 0."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["step_number", "epoch_number", loss_name, "perplexity"])
    for step, epoch, loss in rows:
        writer.writerow([step, epoch, loss, math.exp(min(loss, 700.0))])
    atomic.write(path, text.getvalue().encode())
