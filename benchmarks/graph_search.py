"""A search of 32 trials, 2 at once, beside the same search in one serial script, and that on plain PyTorch Geometric.

All three propose with the same sampler, give up weak trials with the same pruner, stop early by the same rule, and
search the ranges that processing wrote, on Cora. Everything from the first proposal to the last result counts; imports
do not (a task finds them in memory). Each round has a seed of its own.
"""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import optuna
import torch
from graph_plain import MergedGCN
from graph_step import Cora
from graph_tasks import export, processed, searched
from rounds import Bar, Report, main
from torch.nn import functional

from modelyard.workloads.graph.data import TRAIN, VALID, read_graph
from modelyard.workloads.graph.training.evaluation import EarlyStop, Evaluation, Score
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.proposals import Proposals
from modelyard.workloads.graph.training.search_space import read_search_spaces
from modelyard.workloads.graph.training.train import fit
from modelyard.workloads.graph.training.tune import pruner, sampler

TRIALS = 32

Train = Callable[[Hyperparameters, int, Callable[[float], None]], None]


class Scripts:
    """The peers: one process, one trial after the other."""

    def __init__(self, folder: Path) -> None:
        self.cora = Cora(read_graph(folder))
        (space,) = read_search_spaces(folder, self.cora.graph, "rgcn")
        self.proposals = Proposals([space], TRIALS)

    def serial(self, settings: Hyperparameters, seed: int, report: Callable[[float], None]) -> None:
        """Modelyard's own training."""

        def on_score(score: Score) -> None:
            report(score.value)

        fit(self.cora.graph, self.cora.adjacency, settings, Evaluation("acc"), seed, on_score)

    def plain(self, settings: Hyperparameters, seed: int, report: Callable[[float], None]) -> None:
        """Plain PyTorch Geometric on dense features, without layer normalisation."""
        torch.manual_seed(seed)
        cora = self.cora
        drop = settings.dropout
        model = MergedGCN(cora.x.size(1), settings.num_hidden, len(cora.graph.task.classes), drop, drop)
        optimizer = torch.optim.Adam(model.parameters(), lr=settings.lr, weight_decay=settings.l2norm)
        early = EarlyStop(settings.window_for_early_stop, lower_is_better=False)
        train, valid = cora.split == TRAIN, cora.split == VALID
        for _ in range(settings.num_epochs):
            model.train()
            optimizer.zero_grad()
            functional.cross_entropy(model(cora.x, cora.edge_index)[train], cora.labels[train]).backward()
            optimizer.step()
            model.eval()
            with torch.no_grad():
                scores = model(cora.x, cora.edge_index)
            value = float((scores.argmax(1) == cora.labels)[valid].double().mean())
            report(value)
            if early.stops(value):
                return

    def study(self, which: str, trials: int, seed: int) -> float:
        """The best validation accuracy of a whole search with one of the two."""
        train: Train = getattr(self, which)
        study = optuna.create_study(direction="maximize", pruner=pruner())
        study.enqueue_trial(self.proposals.defaults("rgcn"))
        for number in range(trials):
            study.sampler = sampler(seed * 100_003 + number)
            study.optimize(lambda trial, number=number: self.objective(trial, train, seed + number), n_trials=1)
        return study.best_value

    def objective(self, trial: optuna.Trial, train: Train, seed: int) -> float:
        model, tuned = self.proposals.draw(trial)
        values: list[float] = []

        def report(value: float) -> None:
            values.append(value)
            trial.report(value, len(values))
            if trial.should_prune():
                raise optuna.TrialPruned

        train(Hyperparameters.from_names({**self.proposals.constant[model], **tuned}), seed, report)
        return max(values)


class Searches:
    """The three sides; each keeps count of its rounds, for the seed."""

    def __init__(self, folder: Path, trials: int) -> None:
        self.folder, self.trials = folder, trials
        self.scripts = Scripts(folder)
        self.seeds: Counter[str] = Counter()

    def measure(self, side: str) -> dict[str, float]:
        seed = self.seeds[side]
        self.seeds[side] += 1
        began = time.perf_counter()
        best = self.ours(seed) if side == "modelyard" else self.scripts.study(side, self.trials, seed)
        return {"seconds": time.perf_counter() - began, "best validation": best}

    def ours(self, seed: int) -> float:
        with tempfile.TemporaryDirectory() as scratch:
            return float(searched(self.folder, Path(scratch) / "search", self.trials, 2, seed, "rgcn")["value"])


def run(quick: bool) -> Report:
    """Searches in rounds."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    report = Report(f"{TRIALS} trials, 2 at once, on Cora")
    with tempfile.TemporaryDirectory() as folder:
        searches = Searches(processed(export("cora"), Path(folder) / "cora"), 2 if quick else TRIALS)
        sides = {side: partial(searches.measure, side) for side in ("modelyard", "serial")}
        report.measure(sides, 1 if quick else 3)
        report.measure({"plain": partial(searches.measure, "plain")}, 1)  # minutes long
    for side, high in (("serial", 0.65), ("plain", 0.3)):
        report.bars.append(Bar(f"our time over {side}", report.ratio("seconds", "modelyard", side), high=high))
    return report


if __name__ == "__main__":
    main(run, __doc__)
