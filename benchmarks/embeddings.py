"""Embedding models without a job around them, ours and PyKEEN's, over the same triples.

PyKEEN is set up as well as we can: reciprocal triples, softmax of the answer among its negatives (or all entities),
Adagrad, and small first weights like ours (with its own it has learned next to nothing after as many epochs). Its
weights are ranked by the same code as ours, so that only training is compared.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from modelyard.workloads.graph.data import TEST, VALID
from modelyard.workloads.graph.models.complex import ComplEx
from modelyard.workloads.graph.training.embedding import Training, Triples
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.ranks import Ranking, Relations

RATE = 0.1


@dataclass(frozen=True)
class Data:
    """Triples int64 `[3, n]`: head, relation, tail."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    num_entities: int
    num_relations: int

    def triples(self) -> Triples:
        every = slice(0, self.num_entities)
        relations = Relations((every,) * self.num_relations, (every,) * self.num_relations)
        whole = np.concatenate([self.train, self.valid, self.test], axis=1)
        return Triples(relations, self.train, {VALID: self.valid, TEST: self.test}, whole)


def training(data: Data, hyperparameters: Hyperparameters, seed: int, model: str = "complex") -> Training:
    torch.manual_seed(seed)
    return Training(data.triples(), data.num_entities, model, hyperparameters)


def mrr(data: Data, trained: Training, asked: np.ndarray) -> float:
    """The filtered mean reciprocal rank of both directions."""
    triples = data.triples()
    ranks, _ = Ranking(triples.every, triples.relations).ranks(torch.from_numpy(asked), trained.scores)
    return float((1 / ranks).mean())


def epochs(trained: Training) -> Iterator[float]:
    """Trains on and on; gives the seconds of each epoch."""
    while True:
        began = time.perf_counter()
        for batch in trained.batches():
            trained.step(batch)
        yield time.perf_counter() - began


def pykeen(data: Data, dim: int, num_epochs: int, batch_size: int, num_negs: int, seed: int) -> tuple[float, Training]:
    """Trains PyKEEN's ComplEx; seconds, and its weights in our form. num_negs: 0 takes all entities (its LCWA)."""
    os.environ.setdefault("PYSTOW_HOME", tempfile.gettempdir())
    from pykeen.losses import CrossEntropyLoss, InfoNCELoss
    from pykeen.models import ComplEx as Theirs
    from pykeen.training import LCWATrainingLoop, SLCWATrainingLoop
    from pykeen.triples import CoreTriplesFactory

    factory = CoreTriplesFactory.create(
        torch.from_numpy(np.ascontiguousarray(data.train.T)),
        num_entities=data.num_entities,
        num_relations=data.num_relations,
        create_inverse_triples=True,
    )
    loss = InfoNCELoss(margin=0.0, log_adversarial_temperature=0.0) if num_negs else CrossEntropyLoss()
    small = partial(torch.nn.init.normal_, std=ComplEx.spread)
    model = Theirs(
        triples_factory=factory,
        embedding_dim=dim,
        loss=loss,
        random_seed=seed,
        entity_initializer=small,
        relation_initializer=small,
    )
    common = {"model": model, "triples_factory": factory, "optimizer": "adagrad", "optimizer_kwargs": {"lr": RATE}}
    sampler = {"num_negs_per_pos": num_negs, "corruption_scheme": ("tail",)}
    loop = SLCWATrainingLoop(**common, negative_sampler_kwargs=sampler) if num_negs else LCWATrainingLoop(**common)
    began = time.perf_counter()
    loop.train(triples_factory=factory, num_epochs=num_epochs, batch_size=batch_size, use_tqdm=False)
    seconds = time.perf_counter() - began

    ours = training(data, Hyperparameters(num_hidden=dim), seed)
    entities, relations = (
        one[0](indices=None).detach() for one in (model.entity_representations, model.relation_representations)
    )
    ours.nodes = torch.view_as_real(entities).flatten(1).contiguous()
    both = torch.view_as_real(relations).flatten(1)
    assert isinstance(ours.model, ComplEx)
    with torch.no_grad():
        ours.model.relation.copy_(torch.cat([both[0::2], both[1::2]]))
    return seconds, ours
