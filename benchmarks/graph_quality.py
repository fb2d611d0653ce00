"""How good models are with default settings: 10 trials, chosen on validation, tested once; three searches."""

import json
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import torch
from graph_tasks import export, processed, searched
from rounds import Bar, Report, main

METRICS = {"cora": ("accuracy", 0.81), "umls": ("mrr", 0.85)}


class Searches:
    """Searches of processed graphs; each round has a seed of its own."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.graphs = {name: processed(export(name), folder / name) for name in METRICS}
        self.seeds: Counter[str] = Counter()

    def measure(self, name: str) -> dict[str, float]:
        seed = self.seeds[name]
        self.seeds[name] += 1
        folder = self.folder / f"{name}-{seed}"
        began = time.perf_counter()
        result = searched(self.graphs[name], folder, self.trials, 2, seed)
        seconds = time.perf_counter() - began
        tested = json.loads((folder / "output" / "test_metrics_info.json").read_text())
        return {"test": tested[METRICS[name][0]], "validation": float(result["value"]), "seconds": seconds}


def run(quick: bool) -> Report:
    """Searches in rounds."""
    torch.set_num_threads(1)
    report = Report("Test accuracy on Cora, filtered mean reciprocal rank on UMLS")
    with tempfile.TemporaryDirectory() as folder:
        searches = Searches(Path(folder), 2 if quick else 10)
        report.measure({name: partial(searches.measure, name) for name in METRICS}, 1 if quick else 3)
    for name, (metric, low) in METRICS.items():
        report.bars.append(Bar(f"{name}: median {metric}", report.medians[name]["test"], low=low))
    worst = min(one["test"] for one in report.rounds["cora"])
    report.bars.append(Bar("cora: worst search", worst, low=0.80))
    return report


if __name__ == "__main__":
    main(run, __doc__)
