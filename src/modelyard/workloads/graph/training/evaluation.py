"""By what a model is judged while it trains, how it did, and when that is reason to stop."""

from collections import deque
from dataclasses import dataclass
from statistics import fmean


@dataclass(frozen=True)
class Evaluation:
    """What a model is judged by while it trains.

    metric: one of Neptune ML's names; topk belongs to `acc_topk`. every: how often, as `eval_frequency` says it.
    """

    metric: str
    topk: int = 1
    every: str = "evaluate_every_epoch"
    value: float = 1

    def steps_between(self, steps_an_epoch: int) -> int:
        """Optimizer steps from one evaluation to the next."""
        if self.every == "evaluate_every_batch":
            return max(1, int(self.value))
        return max(1, round(self.value * steps_an_epoch))


@dataclass(frozen=True)
class Score:
    """One evaluation: its epoch, the mean training loss since the last one, the metric, the validation loss."""

    epoch: int
    loss: float
    value: float
    valid_loss: float


class EarlyStop:
    """Neptune ML's rule: stop when a validation score is worse than the mean of the last `window` scores before it."""

    def __init__(self, window: int, lower_is_better: bool) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._sign = -1 if lower_is_better else 1

    def stops(self, value: float) -> bool:
        """Takes the next score; says whether training ends with it."""
        value *= self._sign
        worse = len(self._recent) == self._recent.maxlen and value < fmean(self._recent)
        self._recent.append(value)
        return worse
