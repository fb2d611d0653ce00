"""One training run of an embedding model: what `train.fit` is for graph neural networks.

Every batch of triples asks for tails and for heads, each distinct question once. Negatives belong to the batch, not to
a triple, so that scoring them is one matrix product: all nodes of the answer's type where that fits (1-vs-all), else
`num-negs` drawn ones. Two losses: softmax of the answer among its negatives (Lacroix et al. 2018), and the
self-adversarial one (Sun et al. 2019, eq. 5). The optimizer is Adagrad, on no row that a batch has not touched.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import TRAIN, VALID, Graph
from modelyard.workloads.graph.models.embedding import NODES, Embedding
from modelyard.workloads.graph.models.gnn import Dimensions
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training import evaluate
from modelyard.workloads.graph.training.adjacency import message_edges, node_offsets
from modelyard.workloads.graph.training.checkpoint import Checkpoint
from modelyard.workloads.graph.training.evaluation import EarlyStop, Evaluation, Score
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.ranks import Asked, Ranking, Relations, ask

VALIDATED = 5000
"""Validation triples that are ranked after an epoch, at most: drawn once, the same for every trial."""

_MOST_SCORES = 1 << 28
_NEVER = -1e4
_EPSILON = 1e-10


@dataclass(frozen=True)
class Triples:
    """A graph's edges as triples (int64 `[3, n]`: head, relation, tail), a relation for each edge type.

    train: training edges of the types to predict, and whatever may carry messages of the others. held: those of
    validation and test, by split. every: all edges, for what is true.
    """

    relations: Relations
    train: np.ndarray
    held: Mapping[int, np.ndarray]
    every: np.ndarray

    @classmethod
    def of(cls, graph: Graph) -> "Triples":
        """Reads a graph's. InputError where it has no training or no validation edges."""
        offsets = node_offsets(graph)
        train: list[np.ndarray] = []
        held: dict[int, list[np.ndarray]] = {}
        every: list[np.ndarray] = []
        spans: list[tuple[slice, slice]] = []
        for number, messages in message_edges(graph):
            edge_type, arrays = graph.edge_types[number], graph.edges(number)
            types = [graph.node_type_index(name) for name in (edge_type.source, edge_type.dest)]
            begins = offsets[types]
            every.append(_triples(arrays["edge_index"], begins, number))
            if edge_type.target:
                for split in np.unique(arrays["split"]).tolist():
                    held.setdefault(split, []).append(every[-1][:, arrays["split"] == split])
                train += [held[TRAIN].pop()] if held.get(TRAIN) else []
            else:
                train.append(_triples(messages, begins, number))
            source, dest = (slice(int(offsets[one]), int(offsets[one + 1])) for one in types)
            spans.append((source, dest))
        held.pop(TRAIN, None)
        if not any(one.size for one in train) or VALID not in held:
            missing = "training" if VALID in held else "validation"
            raise InputError(f"no {missing} edges: check the split of the link prediction's edge types")
        relations = Relations(tuple(source for source, _ in spans), tuple(dest for _, dest in spans))
        joined = {split: np.concatenate(parts, axis=1) for split, parts in held.items()}
        return cls(relations, np.concatenate(train, axis=1), joined, np.concatenate(every, axis=1))

    def validated(self) -> np.ndarray:
        """The validation triples that are ranked while a model trains."""
        valid = self.held[VALID]
        chosen = np.random.default_rng(0).permutation(valid.shape[1])[:VALIDATED]
        return valid[:, np.sort(chosen)]


def fit(
    graph: Graph,
    model_name: str,
    hyperparameters: Hyperparameters,
    evaluation: Evaluation,
    seed: int = 0,
    on_score: Callable[[Score], None] = lambda score: None,
) -> tuple[Checkpoint, list[Score]]:
    """Trains a model; the checkpoint is of the best evaluation, ties broken by the lower validation loss.

    `on_score` may raise to end the run. InputError: the loss stopped being a number, or a split is empty.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    triples = Triples.of(graph)
    ranking = Ranking(triples.every, triples.relations)
    valid = torch.from_numpy(triples.validated()).to(device)
    training = Training(triples, int(node_offsets(graph)[-1]), model_name, hyperparameters, device)
    early = EarlyStop(hyperparameters.window_for_early_stop, lower_is_better=False)

    scores: list[Score] = []
    best, best_rank = training.weights(), (-torch.inf, -torch.inf)
    losses: list[float] = []
    step, steps_an_epoch = 0, training.steps_an_epoch
    for epoch in range(1, hyperparameters.num_epochs + 1):
        for place, asked in enumerate(training.batches(), start=1):
            losses.append(training.step(asked))
            step += 1
            last = epoch == hyperparameters.num_epochs and place == steps_an_epoch
            if step % evaluation.steps_between(steps_an_epoch) and not last:
                continue
            _check_loss(losses[-1], epoch)
            ranks, valid_loss = ranking.ranks(valid, training.scores, losses=True)
            score = Score(epoch, fmean(losses), evaluate.rank_metrics(ranks)["mrr"], valid_loss)
            losses.clear()
            scores.append(score)
            on_score(score)
            if (rank := (score.value, -score.valid_loss)) > best_rank:
                best, best_rank = training.weights(), rank
            if hyperparameters.enable_early_stop and early.stops(score.value):
                return _checkpoint(graph, training, best), scores
    return _checkpoint(graph, training, best), scores


class Training:
    """A model while it is trained: its weights, its batches and its steps."""

    def __init__(
        self,
        triples: Triples,
        num_nodes: int,
        model_name: str,
        hyperparameters: Hyperparameters,
        device: torch.device | None = None,
    ) -> None:
        self.hyperparameters, self.model_name = hyperparameters, model_name
        self._device = device or torch.device("cpu")
        asked = ask(torch.from_numpy(triples.train).to(self._device), triples.relations)
        self._questions = [_Questions(one) for one in asked]
        build = cast("type[Embedding]", model_class(model_name))
        self.model = build(len(triples.relations), hyperparameters.num_hidden).to(self._device)
        self.nodes = self.model.first_nodes(num_nodes).to(self._device)
        self._sums = torch.zeros_like(self.nodes)
        self._model_sums = [torch.zeros_like(one) for one in self.model.parameters()]

    @property
    def steps_an_epoch(self) -> int:
        """Optimizer steps of an epoch."""
        return sum(one.num_batches(2 * self.hyperparameters.batch_size) for one in self._questions)

    def batches(self) -> Iterator[Asked]:
        """One epoch's questions in random order, two answers for each triple of `batch-size`."""
        whole = [batch for one in self._questions for batch in one.batches(2 * self.hyperparameters.batch_size)]
        return (whole[place] for place in torch.randperm(len(whole)).tolist())

    def step(self, asked: Asked) -> float:
        """Takes one optimizer step; gives the loss, the mean over the answers."""
        negatives = self._negatives(asked)
        local = _Local(self.nodes, asked, negatives)
        loss = self._losses(asked, negatives, local) / len(asked.answer)
        total = loss
        if coefficient := self.hyperparameters.regularization_coef:
            total = loss + coefficient * self._cubes(asked, local)
        total.backward()
        self._update(local)
        return float(loss.detach())

    @torch.no_grad()
    def scores(self, anchor: Tensor, question: Tensor, nodes: slice) -> Tensor:
        """See `ranks.Scores`."""
        return self.model.scores(self.model.query(self.nodes[anchor], question), self.nodes[nodes])

    def weights(self) -> dict[str, Tensor]:
        """A copy of all weights as a checkpoint holds them."""
        ours = {f"model.{name}": value.clone() for name, value in self.model.state_dict().items()}
        return {NODES: self.nodes.clone(), **ours}

    def _negatives(self, asked: Asked) -> Tensor | None:
        """Nodes of the answers' type: some for all questions (`[k]`, each once) or for each answer; None for all."""
        count, nodes = self.hyperparameters.num_negs, asked.nodes
        shared = self.hyperparameters.neg_share
        if count == 0:
            if len(asked.anchor) * (nodes.stop - nodes.start) > _MOST_SCORES:
                raise InputError(
                    f"{len(asked.anchor)} questions a step against all {nodes.stop - nodes.start} nodes do not fit; "
                    f"set num-negs (1000 is a good start) or a smaller batch-size in model-hpo-configuration.json"
                )
            return None
        shape = (count,) if shared else (len(asked.answer), count)
        drawn = torch.randint(nodes.start, nodes.stop, shape, device=self._device)
        return torch.unique(drawn) if shared else drawn

    def _losses(self, asked: Asked, negatives: Tensor | None, local: "_Local") -> Tensor:
        """The sum of the losses of some questions' answers."""
        query = self.model.query(local[asked.anchor], asked.question)
        if negatives is None:
            scores, of = self.model.scores(query, local.span(asked.nodes)), asked.of
            hit = of, asked.answer - asked.nodes.start
            place = hit[0] * scores.size(1) + hit[1]
            if self.model.loss == "softmax":
                return scores.log_softmax(1).flatten().index_select(0, place).sum().neg()
            true = scores.flatten().index_select(0, place)
        else:
            of, true = asked.of, self.model.score(query.index_select(0, asked.of), local[asked.answer])
            if negatives.dim() == 1:
                scores, hit = self.model.scores(query, local[negatives]), _hits(asked, negatives)
            else:
                scores = self.model.score(query[asked.of][:, None], local[negatives])
                drawn, place = (negatives == asked.answer[:, None]).nonzero().unbind(1)
                hit = drawn, place
                of = torch.arange(len(asked.answer), device=of.device)
        scores = scores.index_put(hit, scores.new_tensor(_NEVER))
        if self.model.loss == "softmax":
            return (torch.logaddexp(scores.logsumexp(1)[of], true) - true).sum()
        gamma = self.hyperparameters.gamma
        share = scores.detach().softmax(1)
        against = (share * functional.logsigmoid(-scores - gamma)).sum(1)[of]
        return -(functional.logsigmoid(true + gamma) + against).sum() / 2

    def _cubes(self, asked: Asked, local: "_Local") -> Tensor:
        """The nuclear 3-norm of Lacroix et al. 2018: both ends and the question's vector, mean over the answers."""
        ends = local.place(torch.cat([asked.anchor[asked.of], asked.answer]))
        nodes = torch.bincount(ends, minlength=len(local.vectors)).float()
        vectors = self.model.vectors()
        questions = torch.bincount(asked.question[asked.of], minlength=len(vectors)).float()
        cubes = nodes @ self.model.cubes(local.vectors) + questions @ self.model.cubes(vectors)
        return cubes / len(asked.answer)

    @torch.no_grad()
    def _update(self, local: "_Local") -> None:
        """Adagrad (Duchi, Hazan, Singer 2011): each number's rate falls with the squares of its own gradients."""
        rate, decay = self.hyperparameters.lr, self.hyperparameters.l2norm
        for parameter, sums in zip(self.model.parameters(), self._model_sums, strict=True):
            gradient = cast(Tensor, parameter.grad)
            sums.addcmul_(gradient, gradient)
            parameter.addcdiv_(gradient, sums.sqrt().add_(_EPSILON), value=-rate)
            parameter.grad = None
        gradient = cast(Tensor, local.vectors.grad)
        if decay:
            gradient.add_(local.vectors, alpha=decay)
        rate = self.hyperparameters.sparse_lr or rate
        if local.rows is None:
            self._sums.addcmul_(gradient, gradient)
            self.nodes.addcdiv_(gradient, self._sums.sqrt().add_(_EPSILON), value=-rate)
            return
        sums = self._sums[local.rows].addcmul_(gradient, gradient)
        self._sums[local.rows] = sums
        self.nodes[local.rows] = local.vectors.detach().addcdiv(gradient, sums.sqrt_().add_(_EPSILON), value=-rate)


class _Questions:
    """All training questions whose answers are nodes of one type, each with its answers."""

    def __init__(self, asked: Asked) -> None:
        order = asked.of.argsort(stable=True)
        self._asked, self._answer = asked, asked.answer[order]
        self._count = torch.bincount(asked.of, minlength=len(asked.anchor))
        self._begin = self._count.cumsum(0) - self._count

    def num_batches(self, size: int) -> int:
        """How many batches of `size` answers there are."""
        return -(-len(self._answer) // size)

    def batches(self, size: int) -> Iterator[Asked]:
        """The questions in random order, each with all its answers; only at the end of a batch some may be cut off."""
        order = torch.randperm(len(self._count), device=self._count.device)
        count = self._count[order]
        of = torch.arange(len(order), device=order.device).repeat_interleave(count)
        within = torch.arange(len(of), device=of.device) - (count.cumsum(0) - count)[of]
        answer = self._answer[self._begin[order][of] + within]
        for begin in range(0, len(of), size):
            part = slice(begin, begin + size)
            rows = order[int(of[begin]) : int(of[part][-1]) + 1]
            anchor, question = self._asked.anchor[rows], self._asked.question[rows]
            yield Asked(anchor, question, of[part] - of[begin], answer[part], of[part], self._asked.nodes)


class _Local:
    """The vectors of the nodes that one step touches, as a leaf of its gradients.

    rows: which nodes, sorted; None where it is all of them.
    """

    def __init__(self, nodes: Tensor, asked: Asked, negatives: Tensor | None) -> None:
        self.rows = None
        if negatives is not None:
            self.rows = torch.cat([asked.anchor, asked.answer, negatives.flatten()]).unique()
        self.vectors = (nodes.detach() if self.rows is None else nodes[self.rows]).requires_grad_()

    def place(self, nodes: Tensor) -> Tensor:
        """Where nodes are among the vectors."""
        return nodes if self.rows is None else torch.searchsorted(self.rows, nodes)

    def span(self, nodes: slice) -> Tensor:
        """The vectors of all nodes of a type, where every node is here."""
        return self.vectors if nodes == slice(0, len(self.vectors)) else self.vectors[nodes]

    def __getitem__(self, nodes: Tensor) -> Tensor:
        return functional.embedding(self.place(nodes), self.vectors)


def restored(checkpoint: Checkpoint) -> tuple[Embedding, Tensor]:
    """A trained model, and the vectors of its nodes `[num_nodes, width]`."""
    build = cast("type[Embedding]", model_class(checkpoint.model))
    model = build(checkpoint.dimensions.num_relations, checkpoint.hyperparameters.num_hidden)
    model.load_state_dict(checkpoint.under("model."))
    return model.eval(), checkpoint.weights[NODES]


def report(graph: Graph, checkpoint: Checkpoint) -> dict[int, dict[str, Any]]:
    """Filtered rank metrics of both directions over all validation triples and, where there are any, test triples."""
    triples = Triples.of(graph)
    model, nodes = restored(checkpoint)
    ranking = Ranking(triples.every, triples.relations)

    def scores(anchor: Tensor, question: Tensor, span: slice) -> Tensor:
        return model.scores(model.query(nodes[anchor], question), nodes[span])

    found = {split: ranking.ranks(torch.from_numpy(held), scores)[0] for split, held in triples.held.items()}
    return {split: dict(evaluate.rank_report(evaluate.rank_metrics(ranks))) for split, ranks in found.items()}


def _triples(edges: np.ndarray, begins: np.ndarray, kind: int) -> np.ndarray:
    return np.stack([edges[0] + begins[0], np.full(edges.shape[1], kind), edges[1] + begins[1]])


def _hits(asked: Asked, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Questions and places among their negatives where an answer of theirs was drawn."""
    place = torch.searchsorted(negatives, asked.answer).clamp(max=len(negatives) - 1)
    hit = negatives[place] == asked.answer
    return asked.of[hit], place[hit]


def _check_loss(loss: float, epoch: int) -> None:
    if not loss < torch.inf:
        raise InputError(f"the training loss became {loss} in epoch {epoch}; a smaller lr may help")


def _checkpoint(graph: Graph, training: Training, weights: Mapping[str, Tensor]) -> Checkpoint:
    return Checkpoint(
        model=training.model_name,
        hyperparameters=training.hyperparameters,
        dimensions=Dimensions(
            num_nodes=tuple(node_type.num_nodes for node_type in graph.node_types),
            feature_dims=tuple(() for _ in graph.node_types),
            num_relations=training.model.num_relations,
            out_channels=training.nodes.size(1),
        ),
        relations=(),
        self_weight=False,
        weights={name: value.cpu() for name, value in weights.items()},
    )
