"""A search of 8 trials, 2 at once, beside the same search in one serial script, and that on plain PyTorch Geometric.

`python benchmarks/graph_search.py GRAPH` where GRAPH is the processed folder of Cora. All three propose with the same
sampler, give up weak trials with the same pruner, stop early by the same rule, and search the ranges that processing
wrote. Everything from the first proposal to the last result counts; imports do not (a task finds them in memory).
Rounds are interleaved, each with a seed of its own. Prints a table and, as the last line, JSON.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import optuna
import torch
from graph_plain import MergedGCN
from graph_step import Cora
from graph_tasks import searched
from rich.console import Console
from rich.table import Table
from torch.nn import functional

from modelyard.workloads.graph.data import TRAIN, VALID, read_graph
from modelyard.workloads.graph.hyperparameters import Hyperparameters
from modelyard.workloads.graph.search_space import read_search_space
from modelyard.workloads.graph.train import EarlyStop, Evaluation, Score, fit
from modelyard.workloads.graph.tune import pruner, sampler

Train = Callable[[Hyperparameters, int, Callable[[float], None]], None]


class Scripts:
    """The peers: one process, one trial after the other."""

    def __init__(self, folder: Path) -> None:
        self.cora = Cora(read_graph(folder))
        self.constant = read_search_space(folder, self.cora.graph).constant(8)

    def serial(self, settings: Hyperparameters, seed: int, report: Callable[[float], None]) -> None:
        """Modelyard's own training."""

        def on_score(score: Score) -> None:
            report(score.value)

        fit(self.cora.graph, self.cora.adjacency, settings, Evaluation("acc"), seed, on_score)

    def plain(self, settings: Hyperparameters, seed: int, report: Callable[[float], None]) -> None:
        """Plain PyTorch Geometric on dense features."""
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

    def study(self, train: Train, trials: int, seed: int) -> float:
        study = optuna.create_study(direction="maximize", pruner=pruner())
        study.enqueue_trial({"num-hidden": 32, "num-epochs": 200, "lr": 0.01})
        for number in range(trials):
            study.sampler = sampler(seed * 100_003 + number)
            study.optimize(lambda trial, number=number: self.objective(trial, train, seed + number), n_trials=1)
        return study.best_value

    def objective(self, trial: optuna.Trial, train: Train, seed: int) -> float:
        tuned = {
            "num-hidden": trial.suggest_categorical("num-hidden", [16, 32, 64]),
            "num-epochs": trial.suggest_int("num-epochs", 100, 200, step=50),
            "lr": trial.suggest_float("lr", 0.005, 0.02, log=True),
        }
        values: list[float] = []

        def report(value: float) -> None:
            values.append(value)
            trial.report(value, len(values))
            if trial.should_prune():
                raise optuna.TrialPruned

        train(Hyperparameters.from_names({**self.constant, **tuned}), seed, report)
        return max(values)


@click.command()
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.option("--trials", default=8)
@click.option("--parallel", default=2)
@click.option("--rounds", default=3)
def main(folder: Path, trials: int, parallel: int, rounds: int) -> None:
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    times: dict[str, list[float]] = {"modelyard": [], "serial": [], "plain": []}
    best: dict[str, list[float]] = {name: [] for name in times}
    for seed in range(rounds):
        runs: dict[str, Callable[[], float]] = {
            "modelyard": lambda seed=seed: whole_search(folder, trials, parallel, seed),
            "serial": lambda seed=seed: script(folder, "serial", trials, seed),
            "plain": lambda seed=seed: script(folder, "plain", trials, seed),
        }
        for name, run in runs.items():
            began = time.perf_counter()
            best[name].append(run())
            times[name].append(time.perf_counter() - began)
    ours = statistics.median(times["modelyard"])
    table = Table("search", "seconds", "ours / this", "best validation")
    for name, values in times.items():
        median = statistics.median(values)
        table.add_row(name, f"{median:.1f}", f"{ours / median:.2f}", f"{statistics.median(best[name]):.4f}")
    Console().print(table)
    settings: dict[str, Any] = {"trials": trials, "parallel": parallel, "rounds": rounds}
    ratios = {name: ours / statistics.median(values) for name, values in times.items()}
    print(json.dumps({"settings": settings, "seconds": times, "ratios": ratios, "best": best}))


def whole_search(folder: Path, trials: int, parallel: int, seed: int) -> float:
    with tempfile.TemporaryDirectory() as scratch:
        return float(searched(folder, Path(scratch) / "search", trials, parallel, seed)["value"])


def script(folder: Path, which: str, trials: int, seed: int) -> float:
    scripts = Scripts(folder)
    return scripts.study(getattr(scripts, which), trials, seed)


if __name__ == "__main__":
    main()
