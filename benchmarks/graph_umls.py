"""ComplEx on UMLS with the defaults for a small graph, 50 epochs: quality, and the time beside PyKEEN's 50 epochs.

PyKEEN trains its ComplEx of the same size with the same loss and optimizer, against all entities (the fastest it has
for so small a graph) and, as its own default is, against one drawn negative a triple.
"""

import tempfile
from functools import partial
from itertools import count, islice
from pathlib import Path

import numpy as np
import torch
from embeddings import Data, epochs, mrr, pykeen, training
from graph_tasks import export, processed
from rounds import Bar, Report, main

from modelyard.workloads.graph.data import TEST, VALID, read_graph
from modelyard.workloads.graph.training.embedding import Triples
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters

EPOCHS, DIM, BATCH = 50, 128, 256


def umls(folder: Path) -> Data:
    graph = read_graph(processed(export("umls"), folder))
    triples = Triples.of(graph)
    entities = sum(one.num_nodes for one in graph.node_types)
    return Data(triples.train, triples.held[VALID], triples.held[TEST], entities, len(triples.relations))


def ours(data: Data, seeds: "count[int]", num_epochs: int) -> dict[str, float]:
    settings = Hyperparameters(num_hidden=DIM, lr=0.1, batch_size=BATCH, regularization_coef=1e-2)
    trained = training(data, settings, next(seeds))
    seconds = sum(islice(epochs(trained), num_epochs))
    return {"seconds": seconds / num_epochs * EPOCHS, "test MRR": mrr(data, trained, data.test)}


def theirs(data: Data, seeds: "count[int]", num_epochs: int, num_negs: int) -> dict[str, float]:
    seconds, trained = pykeen(data, DIM, num_epochs, BATCH, num_negs, next(seeds))
    return {"seconds": seconds / num_epochs * EPOCHS, "test MRR": mrr(data, trained, data.test)}


def run(quick: bool) -> Report:
    """Both in rounds, each with a seed of its own."""
    torch.set_num_threads(1)
    report = Report("ComplEx on UMLS: 50 epochs")
    with tempfile.TemporaryDirectory() as folder:
        data = umls(Path(folder))
    num_epochs = 3 if quick else EPOCHS
    sides = {
        "modelyard": partial(ours, data, count(), num_epochs),
        "pykeen, all entities": partial(theirs, data, count(), num_epochs, 0),
        "pykeen, one negative": partial(theirs, data, count(), num_epochs, 1),
    }
    report.measure(sides, 1 if quick else 3)
    worst = float(np.min([one["test MRR"] for one in report.rounds["modelyard"]]))
    report.bars.append(Bar("test MRR, worst seed", worst, low=0.93))
    for side in list(sides)[1:]:
        report.bars.append(Bar(f"time of {side} over ours", report.round_ratio("seconds", side, "modelyard"), low=8))
    return report


if __name__ == "__main__":
    main(run, __doc__)
