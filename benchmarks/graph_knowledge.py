"""ComplEx on a knowledge graph of 15,000 entities and 237 relations (`knowledge_graph.py`).

- Filtered ranks of 20,000 test triples, both directions: milliseconds a triple.
- Seconds of training until our model is as good as PyKEEN's after an epoch: the same size, loss (softmax of answers
  among drawn negatives), number of negatives and optimizer. Ours share the negatives of a batch.
- Memory: the most that our process had, with the libraries.

Each side runs in a process of its own.
"""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from embeddings import Data, epochs, mrr, pykeen, training
from knowledge_graph import knowledge_graph
from rounds import Bar, Report, main

from modelyard.workloads.graph.training.hyperparameters import Hyperparameters

DIM, BATCH, NEGATIVES = 128, 1024, 16
_MOST_EPOCHS = 40


def theirs(data: Data, num_epochs: int, seed: int) -> dict[str, float]:
    torch.set_num_threads(2)
    seconds, trained = pykeen(data, DIM, num_epochs, BATCH, NEGATIVES, seed)
    return {"seconds": seconds, "valid MRR": mrr(data, trained, data.valid[:, :2000]), "GB": memory()}


def ours(data: Data, goal: float, seed: int) -> dict[str, float]:
    torch.set_num_threads(2)
    settings = Hyperparameters(num_hidden=DIM, lr=0.1, batch_size=BATCH, num_negs=NEGATIVES)
    trained, seconds, found = training(data, settings, seed), 0.0, 0.0
    for number, epoch in enumerate(epochs(trained), start=1):
        seconds += epoch
        found = mrr(data, trained, data.valid[:, :2000])
        if found >= goal or number == _MOST_EPOCHS:
            break
    began = time.perf_counter()
    mrr(data, trained, data.test)
    ranked = 1000 * (time.perf_counter() - began) / data.test.shape[1]
    reached = {"seconds": seconds if found >= goal else float("inf"), "valid MRR": found}
    return reached | {"GB": memory(), "ms a ranked triple": ranked}


def memory() -> float:
    """The most that this process had, GB; `getrusage` would count what its parent had when it was forked."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 1024**2


def alone(work: Any, *arguments: Any) -> dict[str, float]:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        found: dict[str, float] = pool.submit(work, *arguments).result()
    return found


def run(quick: bool) -> Report:
    """PyKEEN first, since what it reaches is our goal."""
    graph = knowledge_graph()
    parts = [np.ascontiguousarray(part.T) for part in (graph.train, graph.valid, graph.test)]
    if quick:
        parts = [part[:, : part.shape[1] // 20] for part in parts]
    data = Data(parts[0], parts[1], parts[2], graph.num_entities, graph.num_relations)
    report = Report("ComplEx on a knowledge graph of 15,000 entities")
    report.measure({"pykeen": lambda: alone(theirs, data, 1, 0)}, 1)
    report.measure({"modelyard": lambda: alone(ours, data, report.medians["pykeen"]["valid MRR"], 0)}, 1)
    report.bars += [
        Bar("time to PyKEEN's MRR, over PyKEEN's", report.round_ratio("seconds", "modelyard", "pykeen"), high=1),
        Bar("ms a ranked triple", report.medians["modelyard"]["ms a ranked triple"], high=0.3),
        Bar("GB", max(one["GB"] for one in report.rounds["modelyard"]), high=1),
    ]
    return report


if __name__ == "__main__":
    main(run, __doc__)
