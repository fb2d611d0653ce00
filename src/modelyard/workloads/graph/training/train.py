"""One training run of a graph model, and the worker that does it as a trial of a search."""

import json
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from torch import nn

from modelyard import atomic
from modelyard.runner.context import Channel, InputError
from modelyard.workloads.graph.data import TEST, VALID, Graph, read_graph
from modelyard.workloads.graph.models.gnn import GNN, Dimensions
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training.adjacency import Adjacency, adjacency_path, read_adjacency
from modelyard.workloads.graph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import Objective, objective_for
from modelyard.workloads.graph.training.search_space import LOWER_IS_BETTER
from modelyard.workloads.graph.training.tensors import GraphTensors, graph_tensors


@dataclass(frozen=True)
class Evaluation:
    """What a model is judged by while it trains.

    metric: one of Neptune ML's names; topk belongs to `acc_topk`. every: how often, as `eval_frequency` says it.
    """

    metric: str
    topk: int = 1
    every: str = "evaluate_every_epoch"
    value: float = 1

    def steps_between(self, steps_an_epoch: int) -> int:
        """Optimizer steps from one evaluation to the next."""
        if self.every == "evaluate_every_batch":
            return max(1, int(self.value))
        return max(1, round(self.value * steps_an_epoch))


@dataclass(frozen=True)
class Score:
    """One evaluation: its epoch, the mean training loss since the last one, the metric, the validation loss."""

    epoch: int
    loss: float
    value: float
    valid_loss: float


class EarlyStop:
    """Neptune ML's rule: stop when a validation score is worse than the mean of the last `window` scores before it."""

    def __init__(self, window: int, lower_is_better: bool) -> None:
        self._recent: deque[float] = deque(maxlen=window)
        self._sign = -1 if lower_is_better else 1

    def stops(self, value: float) -> bool:
        """Takes the next score; says whether training ends with it."""
        value *= self._sign
        worse = len(self._recent) == self._recent.maxlen and value < fmean(self._recent)
        self._recent.append(value)
        return worse


class Pruned(Exception):
    """The search gave this trial up."""


def fit(
    graph: Graph,
    adjacency: Adjacency,
    hyperparameters: Hyperparameters,
    evaluation: Evaluation,
    seed: int = 0,
    on_score: Callable[[Score], None] = lambda score: None,
    model_name: str = "rgcn",
) -> tuple[Checkpoint, list[Score]]:
    """Trains a model; the checkpoint is of the best evaluation, ties broken by the lower validation loss.

    `on_score` may raise to end the run. InputError: the loss stopped being a number, or a split is empty.
    """
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tensors = graph_tensors(graph, adjacency, device)
    objective = objective_for(graph, hyperparameters, device)
    dimensions = dimensions_of(graph, adjacency, objective)
    build = cast("type[GNN]", model_class(model_name))
    model = build(dimensions, hyperparameters, bool(adjacency.own.any())).to(device)
    model.encoder.standardise(tensors)
    weights = nn.ModuleDict({"model": model} | ({"decoder": objective.decoder} if objective.decoder else {}))
    optimizer = optimizer_for(weights, model, hyperparameters)
    sign = -1 if evaluation.metric in LOWER_IS_BETTER else 1
    early = EarlyStop(hyperparameters.window_for_early_stop, sign < 0)

    scores: list[Score] = []
    best, best_rank = weights.state_dict(), (-torch.inf, -torch.inf)
    losses: list[float] = []
    step, steps_an_epoch = 0, sum(1 for _ in objective.batches())
    for epoch in range(1, hyperparameters.num_epochs + 1):
        for place, batch in enumerate(objective.batches(), start=1):
            weights.train()
            optimizer.zero_grad()
            loss = objective.loss(model(tensors)[0], batch)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            step += 1
            last = epoch == hyperparameters.num_epochs and place == steps_an_epoch
            if step % evaluation.steps_between(steps_an_epoch) and not last:
                continue
            score = _evaluate(weights, model, tensors, objective, evaluation, epoch, fmean(losses))
            losses.clear()
            scores.append(score)
            on_score(score)
            rank = (sign * score.value, -score.valid_loss)
            if rank > best_rank:
                best, best_rank = {name: value.clone() for name, value in weights.state_dict().items()}, rank
            if hyperparameters.enable_early_stop and early.stops(score.value):
                return _checkpoint(model_name, adjacency, hyperparameters, dimensions, best), scores
    return _checkpoint(model_name, adjacency, hyperparameters, dimensions, best), scores


def dimensions_of(graph: Graph, adjacency: Adjacency, objective: Objective) -> Dimensions:
    """The sizes of a graph neural network for a graph and a task."""
    return Dimensions(
        num_nodes=tuple(node_type.num_nodes for node_type in graph.node_types),
        feature_dims=tuple(tuple(one.dim for one in node_type.features) for node_type in graph.node_types),
        num_relations=len(adjacency.relations),
        out_channels=objective.out_channels,
    )


def trial(channel: Channel, parameters: Mapping[str, Any]) -> None:
    """A worker's entry point: trains once, sends a message for each evaluation and one with the result.

    parameters: `graph` and `state` (folders), `number`, `model`, `hyperparameters` (by AWS's names), `evaluation`,
    `seed`. The model lies in `state/trials/<number>/` when the result is sent.
    """
    torch.set_num_threads(1)
    scores: list[Score] = []

    def on_score(score: Score) -> None:
        scores.append(score)
        channel.send(score=asdict(score))
        while answer := channel.poll():
            if answer.get("prune"):
                raise Pruned

    try:
        model = parameters["model"]
        hyperparameters = Hyperparameters.from_names(parameters["hyperparameters"], model)
        checkpoint, _ = fit(
            read_graph(Path(parameters["graph"])),
            read_adjacency(adjacency_path(Path(parameters["state"]), model, hyperparameters.use_self_loop)),
            hyperparameters,
            Evaluation(**parameters["evaluation"]),
            parameters["seed"],
            on_score,
            model,
        )
    except Pruned:
        channel.send(result="pruned")
    except BrokenPipeError:
        raise  # nobody is there to be told
    except Exception as error:
        wrong_input = isinstance(error, InputError)
        if not wrong_input:
            traceback.print_exc()
        reason = str(error) if wrong_input else f"{type(error).__name__}: {error}"
        channel.send(result="failed", reason=reason, wrong_input=wrong_input)
    else:
        write_checkpoint(checkpoint, Path(parameters["state"]) / "trials" / str(parameters["number"]))
        channel.send(result="complete")


def assess(channel: Channel, parameters: Mapping[str, Any]) -> None:
    """A worker's entry point: writes the metrics of a checkpoint on validation and, once and only here, on test.

    It also writes what the model must remember of its graph. parameters: `graph`, `model` and `output` (folders),
    `state`.
    """
    torch.set_num_threads(1)
    # Polars, which this brings, is nothing that a trial should wait for.
    from modelyard.workloads.graph.training.trained_on import write_trained_on

    graph = read_graph(Path(parameters["graph"]))
    checkpoint = read_checkpoint(Path(parameters["model"]))
    use_self_loop = checkpoint.hyperparameters.use_self_loop
    adjacency = read_adjacency(adjacency_path(Path(parameters["state"]), checkpoint.model, use_self_loop))
    objective = objective_for(graph, checkpoint.hyperparameters, torch.device("cpu"))
    model = checkpoint.restore(objective.decoder)
    with torch.no_grad():
        output, _ = model(graph_tensors(graph, adjacency))
        for split, name in ((VALID, "eval_metrics_info.json"), (TEST, "test_metrics_info.json")):
            if (report := objective.report(output, split)) is not None:
                atomic.write(Path(parameters["output"]) / name, json.dumps(report, indent=1).encode())
    embedded = [n for n in range(len(graph.node_types)) if f"model.encoder.embeddings.{n}" in checkpoint.weights]
    write_trained_on(graph, embedded, Path(parameters["output"]))
    channel.send(result="complete")


def _evaluate(
    weights: nn.Module,
    model: GNN,
    tensors: GraphTensors,
    objective: Objective,
    evaluation: Evaluation,
    epoch: int,
    loss: float,
) -> Score:
    if not loss < torch.inf:
        raise InputError(
            f"the training loss became {loss} in epoch {epoch}; a smaller lr, or normalised features, may help"
        )
    weights.eval()
    with torch.no_grad():
        value, valid_loss = objective.validate(model(tensors)[0], evaluation.metric, evaluation.topk)
    return Score(epoch, loss, value, valid_loss)


def optimizer_for(weights: nn.Module, model: GNN, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    """Adam over all `weights`; the model's learnable embeddings have their own rate, and no decay."""
    embeddings = list(model.embedding_parameters())
    theirs = {id(parameter) for parameter in embeddings}
    others = [parameter for parameter in weights.parameters() if id(parameter) not in theirs]
    groups = [{"params": others, "lr": hyperparameters.lr, "weight_decay": hyperparameters.l2norm}]
    if embeddings:
        groups.append({"params": embeddings, "lr": hyperparameters.sparse_lr or hyperparameters.lr})
    return torch.optim.Adam(groups, fused=True)


def _checkpoint(
    model_name: str,
    adjacency: Adjacency,
    hyperparameters: Hyperparameters,
    dimensions: Dimensions,
    weights: Mapping[str, torch.Tensor],
) -> Checkpoint:
    return Checkpoint(
        model=model_name,
        hyperparameters=hyperparameters,
        dimensions=dimensions,
        relations=adjacency.relations,
        self_weight=bool(adjacency.own.any()),
        weights={name: value.cpu() for name, value in weights.items()},
    )
