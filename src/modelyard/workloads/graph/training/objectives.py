"""What a graph model is trained for: the loss of a batch of targets, and how good it is on a split."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import TRAIN, VALID, Graph
from modelyard.workloads.graph.models.distmult import DistMult
from modelyard.workloads.graph.training import evaluate
from modelyard.workloads.graph.training.adjacency import node_offsets, repeats_of
from modelyard.workloads.graph.training.edge_prediction import EdgePrediction
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.property_prediction import NodePrediction, shuffled
from modelyard.workloads.graph.training.vectors import Vectors

_SCORES_AT_ONCE = 1 << 24
_MOST_SCORES = 1 << 28


class Objective(Protocol):
    """What training needs to know of a task.

    out_channels: what the graph model gives for each node.
    """

    out_channels: int

    @property
    def decoder(self) -> nn.Module | None:
        """Weights beyond the graph model."""
        ...

    def batches(self) -> Iterator[Tensor]:
        """One epoch's training targets, shuffled where they make several batches."""
        ...

    def loss(self, output: Tensor | Vectors, batch: Tensor) -> Tensor:
        """The loss of a batch, given the graph model's output `[num_nodes, out_channels]`."""
        ...

    def targets(self) -> Tensor | None:
        """The nodes, rising, whose output training and the metrics need; None for every node."""
        ...

    def reads(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """The nodes (by their numbers in the whole graph) whose output the loss of a batch needs.

        And the edges `[3, n]` (number of the edge type, source, destination) that must carry no message meanwhile.
        """
        ...

    def validate(self, output: Tensor | Vectors, metric: str, topk: int) -> tuple[float, float]:
        """A metric and the loss on the validation split."""
        ...

    def report(self, output: Tensor | Vectors, split: int) -> dict[str, Any] | None:
        """All metrics of a split as they are written for the user; None where the split is empty."""
        ...


def objective_for(graph: Graph, hyperparameters: Hyperparameters, device: torch.device) -> Objective:
    """The objective of a graph's task."""
    if graph.task.type == "link_predict":
        return LinkPrediction(graph, hyperparameters, device)
    if graph.task.edge_type is not None:
        return EdgePrediction(graph, hyperparameters, device)
    return NodePrediction(graph, hyperparameters, device)


class LinkPrediction:
    """Which node stands at the other end of an edge: DistMult over the graph model's vectors.

    Every edge asks two questions, for its tail and for its head; the candidates are all nodes of that end's type.
    """

    def __init__(self, graph: Graph, hyperparameters: Hyperparameters, device: torch.device) -> None:
        self._hyperparameters = hyperparameters
        offsets = node_offsets(graph)
        targets = [number for number, edge_type in enumerate(graph.edge_types) if edge_type.target]
        heads, tails, kinds, splits, ends = [], [], [], [], []
        for kind, number in enumerate(targets):
            arrays, edge_type = graph.edges(number), graph.edge_types[number]
            source, dest = graph.node_type_index(edge_type.source), graph.node_type_index(edge_type.dest)
            heads.append(arrays["edge_index"][0] + offsets[source])
            tails.append(arrays["edge_index"][1] + offsets[dest])
            kinds.append(np.full(len(arrays["split"]), kind))
            splits.append(arrays["split"])
            ends.append((source, dest))
        split = np.concatenate(splits) if splits else np.zeros(0)
        if not (split == TRAIN).any() or not (split == VALID).any():
            missing = "validation" if (split == TRAIN).any() else "training"
            raise InputError(f"no {missing} edges: check the split of the link prediction's edge types")
        edges = np.stack([np.concatenate(heads), np.concatenate(tails), np.concatenate(kinds)])
        self.decoder = DistMult(len(targets), hyperparameters.num_hidden).to(device)
        self.out_channels = hyperparameters.num_hidden
        self._questions = _Questions(edges, ends, [slice(*pair) for pair in pairwise(offsets)])
        self._graph, self._device = graph, device
        self._edges = {int(one): torch.from_numpy(edges[:, split == one]).to(device) for one in np.unique(split)}

    @cached_property
    def _repeats(self) -> Tensor:
        """Pairs `[2, n]` of a target and an edge type that holds its edges: itself, or a copy of it."""
        targets = [number for number, edge_type in enumerate(self._graph.edge_types) if edge_type.target]
        pairs = [(kind, one) for kind, number in enumerate(targets) for one in repeats_of(self._graph, number)]
        return torch.tensor(pairs, device=self._device).t()

    def batches(self) -> Iterator[Tensor]:
        """Training edges `[3, n]`: head, tail, edge type."""
        edges = self._edges[TRAIN]
        for chosen in shuffled(torch.arange(edges.size(1), device=edges.device), self._hyperparameters.batch_size):
            yield edges if len(chosen) == edges.size(1) else edges[:, chosen]

    def targets(self) -> Tensor | None:
        """See `Objective`: any node may be an answer."""
        return None

    def reads(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        """See `Objective`: both ends and drawn negatives; the edges themselves, which would give the answer away."""
        head, tail, kind = batch
        count = self._hyperparameters.num_negs
        drawn = [torch.randint(one.start, one.stop, (count,), device=head.device) for one in self._questions.answers()]
        edge, pair = (kind[:, None] == self._repeats[0]).nonzero().t()
        return torch.cat([head, tail, *drawn]), torch.stack([self._repeats[1, pair], head[edge], tail[edge]])

    def loss(self, output: Tensor | Vectors, batch: Tensor) -> Tensor:
        """Cross entropy of the true end among all candidates or `num-negs` drawn ones, and the regularisation.

        Of a sample, all nodes that `reads` named are candidates.
        """
        losses = [self._losses(output, asked) for asked in self._questions.of(batch)]
        loss = torch.stack(losses).sum() / (2 * batch.size(1))
        if coefficient := self._hyperparameters.regularization_coef:
            loss = loss + coefficient * self._cubes(output, batch)
        return loss

    @torch.no_grad()
    def validate(self, output: Tensor | Vectors, metric: str, topk: int) -> tuple[float, float]:
        """Mean reciprocal rank (filtered) and cross entropy among all candidates, on the validation edges."""
        assert isinstance(output, Tensor)
        ranks, loss = self._ranks(output, self._edges[VALID])
        return evaluate.rank_metrics(ranks)["mrr"], loss

    @torch.no_grad()
    def report(self, output: Tensor | Vectors, split: int) -> dict[str, Any] | None:
        """Filtered rank metrics over both directions."""
        if split not in self._edges:
            return None
        assert isinstance(output, Tensor)
        return dict(evaluate.rank_report(evaluate.rank_metrics(self._ranks(output, self._edges[split])[0])))

    def _losses(self, output: Tensor | Vectors, asked: "_Asked") -> Tensor:
        """The sum of cross entropies of some questions' answers."""
        query = self._query(output, asked)
        if isinstance(output, Vectors):
            nodes, candidates = output.span(asked.nodes)
            answer = torch.searchsorted(nodes, asked.answer + asked.nodes.start)
            return _log_probabilities(query, candidates)[asked.of, answer].sum().neg()
        candidates = output[asked.nodes]
        count = self._hyperparameters.num_negs
        if count == 0:
            return _log_probabilities(query, candidates)[asked.of, asked.answer].sum().neg()
        shape = (count,) if self._hyperparameters.neg_share else (len(asked.answer), count)
        drawn = torch.randint(len(candidates), shape, device=output.device)
        query = query[asked.of]
        against = query @ candidates[drawn].t() if drawn.dim() == 1 else (query[:, None] * candidates[drawn]).sum(2)
        against = against.masked_fill(drawn == asked.answer[:, None], -torch.inf)
        true = (query * candidates[asked.answer]).sum(1, keepdim=True)
        return -torch.cat([true, against], dim=1).log_softmax(1)[:, 0].sum()

    def _query(self, output: Tensor | Vectors, asked: "_Asked") -> Tensor:
        known = output[asked.anchor] if isinstance(output, Vectors) else output.index_select(0, asked.anchor)
        return self.decoder.query(known, asked.question)

    def _cubes(self, output: Tensor | Vectors, batch: Tensor) -> Tensor:
        """The nuclear 3-norm of Lacroix et al. 2018, mean over the edges and both questions."""
        head, tail, kind = batch
        relation = self.decoder.relation
        vectors = (output[head], output[tail], relation[kind], relation[kind + self.decoder.num_relations])
        cubes = [(vector.abs() ** 3).sum() for vector in vectors]
        mean: Tensor = torch.stack(cubes).sum() / head.numel()
        return mean

    def _ranks(self, output: Tensor, edges: Tensor) -> tuple[Tensor, float]:
        """The rank of every answer, tail and head questions of all edges, and the mean cross entropy."""
        ranks, loss = [], 0.0
        for asked in self._questions.of(edges):
            query, candidates = self._query(output, asked), output[asked.nodes]
            for part in asked.parts(max(1, _SCORES_AT_ONCE // len(candidates))):
                scores = query[part.of] @ candidates.t()
                loss += float(functional.cross_entropy(scores, part.answer, reduction="sum"))
                ranks.append(evaluate.filtered_ranks(scores, part.answer, self._questions.known(part)))
        return torch.cat(ranks), loss / (2 * edges.size(1))


def _log_probabilities(query: Tensor, candidates: Tensor) -> Tensor:
    if len(query) * len(candidates) > _MOST_SCORES:
        raise InputError(
            f"{len(query)} questions a step against all {len(candidates)} nodes do not fit; set num-negs (1000 is a "
            f"good start) or a smaller batch-size in model-hpo-configuration.json"
        )
    return (query @ candidates.t()).log_softmax(1)


@dataclass(frozen=True)
class _Asked:
    """Questions whose answers are nodes of one type, each question once, and all answers that are wanted.

    anchor, question: `[num_questions]`, the known end and what is asked of it (see `DistMult.query`). of, answer:
    `[num_answers]`, the question that an answer belongs to, and the answer's row among `nodes`.
    """

    anchor: Tensor
    question: Tensor
    of: Tensor
    answer: Tensor
    nodes: slice

    def parts(self, size: int) -> Iterator["_Asked"]:
        """The same with at most `size` answers at a time."""
        for of, answer in zip(self.of.split(size), self.answer.split(size), strict=True):
            yield _Asked(self.anchor, self.question, of, answer, self.nodes)


class _Questions:
    """Turns edges into questions, and knows every true answer of the whole graph (for filtered ranks)."""

    def __init__(self, edges: np.ndarray, ends: list[tuple[int, int]], nodes: list[slice]) -> None:
        self._nodes = nodes
        self._kinds = 2 * len(ends)
        self._answer_type = torch.tensor([dest for _, dest in ends] + [source for source, _ in ends])
        head, tail, kind = edges
        key = np.concatenate([head * self._kinds + kind, tail * self._kinds + kind + len(ends)])
        answer = np.concatenate([tail, head])
        order = np.argsort(key, kind="stable")
        self._keys, begin = np.unique(key[order], return_index=True)
        self._begin = np.append(begin, len(order))
        self._answers = answer[order]

    def answers(self) -> list[slice]:
        """The nodes of each type that answers are of."""
        return [self._nodes[node_type] for node_type in self._answer_type.unique().tolist()]

    def of(self, edges: Tensor) -> list[_Asked]:
        """The questions that edges `[3, n]` ask, by type of answer."""
        head, tail, kind = edges
        question = torch.cat([kind, kind + self._kinds // 2])
        key = torch.cat([head, tail]) * self._kinds + question
        answer, answer_type = torch.cat([tail, head]), self._answer_type.to(edges.device)[question]
        asked = []
        for node_type in self._answer_type.unique().tolist():
            chosen = (answer_type == node_type).nonzero()[:, 0]
            keys, of = key[chosen].unique(return_inverse=True)
            nodes = self._nodes[node_type]
            if len(chosen):
                parts = (keys // self._kinds, keys % self._kinds, of, answer[chosen] - nodes.start)
                asked.append(_Asked(*parts, nodes))
        return asked

    def known(self, asked: _Asked) -> tuple[Tensor, Tensor]:
        """Rows and columns of all true answers, one row for each wanted answer."""
        key = (asked.anchor * self._kinds + asked.question)[asked.of].cpu().numpy()
        place = np.searchsorted(self._keys, key)
        begin, count = self._begin[place], self._begin[place + 1] - self._begin[place]
        row = np.repeat(np.arange(len(key)), count)
        within = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        column = self._answers[np.repeat(begin, count) + within] - asked.nodes.start
        return torch.from_numpy(row).to(asked.of.device), torch.from_numpy(column).to(asked.of.device)
