"""Metrics that a container prints, found by the regular expressions of its author.

https://docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
"""

import csv
import math
import random
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.patterns import compiled

NOISE = {"NONE": 0.0, "LOW": 0.01, "MEDIUM": 0.05, "HIGH": 0.2}
"""Standard deviation of the noise, as a part of the value. It blurs; it is no differential privacy."""
MOST_POINTS = 1000
DIGITS = 6
"""Significant ones: with MOST_POINTS they bound what numbers can carry out."""


class Metrics:
    """What was found so far: of each metric the last MOST_POINTS values, each with its time.

    definitions: `[{"name", "regex"}]`; the first group of the expression is the value. InputError if one has none.
    """

    def __init__(self, definitions: Sequence[Mapping[str, str]]) -> None:
        self._patterns = [(told["name"], _pattern(told)) for told in definitions]
        self._points: dict[str, deque[tuple[datetime, float]]] = {
            name: deque(maxlen=MOST_POINTS) for name, _ in self._patterns
        }

    def read(self, line: str) -> None:
        """Looks for values in a line of the log."""
        for name, pattern in self._patterns:
            if (found := pattern.search(line)) and (value := _number(found.group(1))) is not None:
                self._points[name].append((datetime.now(UTC), value))

    def write(self, path: Path, noise: str) -> int:
        """Writes the points as CSV; returns how many.

        Under noise each metric's last value alone: many values of one curve would tell it without the noise.
        """
        deviation = NOISE[noise]
        random_numbers = random.SystemRandom()
        rows = []
        for name, points in self._points.items():
            for time, value in [*points][-1:] if deviation else points:
                blurred = value * (1 + random_numbers.gauss(0, deviation)) if deviation else value
                rows.append((time.isoformat(timespec="seconds"), name, f"{blurred:.{DIGITS}g}"))
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([("timestamp", "metric", "value"), *sorted(rows)])
        return len(rows)


def _pattern(told: Mapping[str, str]) -> Any:
    pattern = compiled(told["regex"], f"metric {told['name']!r}:")
    if pattern.groups < 1:
        raise InputError(f"metric {told['name']!r}: {told['regex']!r} has no group (…) around the value")
    return pattern


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
