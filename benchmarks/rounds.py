"""Rounds: every side is measured once in each, so that what else the machine does falls on all of them alike."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.progress import track
from rich.table import Table

PACKAGES = (
    "modelyard",
    "moto",
    "boto3",
    "obstore",
    "uvicorn",
    "torch",
    "torch_geometric",
    "transformers",
    "peft",
    "trl",
)

Measure = Callable[[], Mapping[str, float]]


@dataclass(frozen=True)
class Bar:
    """What is asked of a number: at least `low`, or at most `high`."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool:
        """Whether the number is good enough."""
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)


@dataclass
class Report:
    """What a benchmark found: medians by side and measure, the bars, and where and with what it was measured."""

    title: str
    medians: dict[str, dict[str, float]] = field(default_factory=dict)
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    bars: list[Bar] = field(default_factory=list)

    def measure(self, sides: Mapping[str, Measure], rounds: int) -> None:
        """Measures all sides, `rounds` times one after the other, and adds them to what is there."""
        for number in track(range(rounds * len(sides)), self.title, console=Console(stderr=True), transient=True):
            name = list(sides)[number % len(sides)]
            self.rounds.setdefault(name, []).append(dict(sides[name]()))
        self.medians |= {name: _medians(self.rounds[name]) for name in sides}

    def ratio(self, measure: str, above: str, below: str) -> float:
        """The median of one side's measure over that of another."""
        return self.medians[above][measure] / self.medians[below][measure]

    def round_ratio(self, measure: str, above: str, below: str) -> float:
        """The median of the rounds' own ratios: of two sides that were measured next to each other."""
        pairs = zip(self.rounds[above], self.rounds[below], strict=True)
        return median(one[measure] / other[measure] for one, other in pairs)

    def show(self) -> None:
        """Prints the tables."""
        console = Console()
        table = Table("median of rounds", *self._measures(), title=self.title, title_justify="left")
        for side, values in self.medians.items():
            rounds = f"{side} ({len(self.rounds[side])})"
            table.add_row(rounds, *(_number(values.get(measure)) for measure in self._measures()))
        console.print(table)
        bars = Table("bar", "asked", "found", "met")
        for bar in self.bars:
            asked = f">= {bar.low:g}" if bar.low is not None else f"<= {bar.high:g}"
            bars.add_row(bar.name, asked, _number(bar.value), "yes" if bar.met else "[bold red]no")
        console.print(bars)

    def write(self, path: Path) -> None:
        """Writes everything as JSON."""
        bars = [{**asdict(bar), "met": bar.met} for bar in self.bars]
        document = {**asdict(self), "bars": bars, "machine": machine()}
        path.write_text(json.dumps(document, indent=1) + "\n")

    def _measures(self) -> list[str]:
        return list(dict.fromkeys(measure for values in self.medians.values() for measure in values))


def main(run: Callable[[bool], Report], about: str | None) -> None:
    """A benchmark's command line: `--quick` for fewer and shorter rounds, `--json` for a file beside the tables."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds: to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rounds there too")
    options = parser.parse_args()
    report = run(options.quick)
    report.show()
    if options.json:
        report.write(options.json)


def machine() -> dict[str, str | int | float]:
    """Where and with what was measured."""
    versions = {name: version(name) for name in PACKAGES}
    load = round(os.getloadavg()[0], 2)
    return {"cores": os.cpu_count() or 1, "load": load, "cpu": _cpu(), "python": platform.python_version(), **versions}


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of the values does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), sys.platform)


def _medians(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {measure: median(one[measure] for one in rounds) for measure in rounds[0]}


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
