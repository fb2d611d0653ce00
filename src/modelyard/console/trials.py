"""What the events of a stage add up to: its phase, and for a search its trials."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_OTHER = {"time", "step", "total", "trial", "phase", "state", "best", "value", "metric", "loss", "valid_loss"}
"""The names in an event that are not the metric by which trials are compared."""


@dataclass
class Trial:
    """One trial: the epoch that it has reached, of `epochs`, and what it last reported there."""

    number: int
    epoch: int = 0
    epochs: int | None = None
    state: str = "running"
    metrics: dict[str, float] = field(default_factory=dict)

    def told(self) -> str:
        """The metrics for people."""
        return "  ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())


@dataclass
class Run:
    """One stage's run, as far as it has reported."""

    phase: str | None = None
    step: int = 0
    total: int | None = None
    best: float | None = None
    metric: str | None = None
    trials: dict[int, Trial] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        """Adds one event. A trial that begins again, after its process was lost, starts from its first epoch."""
        number = event.get("trial")
        trial = self.trials.setdefault(number, Trial(number)) if isinstance(number, int) else None
        if "phase" in event or trial is None:
            self.phase, self.best = event.get("phase"), event.get("best", self.best)
            if trial is not None or not self.trials:
                self.step, self.total = event.get("step", 0), event.get("total")
            if trial is not None:
                trial.state = event.get("state", trial.state)
            return
        trial.epoch, trial.epochs, trial.state = event.get("step", 0), event.get("total"), "running"
        self.metric = next((name for name in event if name not in _OTHER), self.metric)
        shown = ["loss", "valid_loss", *([self.metric] if self.metric else [])]
        trial.metrics = {name: event[name] for name in shown if isinstance(event.get(name), int | float)}

    @property
    def running(self) -> list[Trial]:
        """The trials that have not ended, by number."""
        return [self.trials[number] for number in sorted(self.trials) if self.trials[number].state == "running"]
