"""One training run of a graph model, and the worker that does it as a trial of a search."""

import json
import math
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import Any, cast

import torch
from torch import nn

from modelyard import atomic
from modelyard.runner.context import Channel, InputError
from modelyard.workloads.graph.data import TEST, VALID, Graph, read_graph
from modelyard.workloads.graph.models.embedding import Embedding
from modelyard.workloads.graph.models.gnn import GNN, Dimensions
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training import embedding
from modelyard.workloads.graph.training.adjacency import Adjacency, adjacency_path, read_adjacency
from modelyard.workloads.graph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.edge_features import edge_parts, part_moments
from modelyard.workloads.graph.training.evaluation import EarlyStop, Evaluation, Score
from modelyard.workloads.graph.training.heap import keep_freed_memory
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.node_table import NodeTable
from modelyard.workloads.graph.training.objectives import Objective, objective_for
from modelyard.workloads.graph.training.passes import Passes, passes_for, prediction_passes
from modelyard.workloads.graph.training.search_space import LOWER_IS_BETTER

_MOMENT_SECONDS = 0.05
_METRICS = {VALID: "eval_metrics_info.json", TEST: "test_metrics_info.json"}


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
    scratch: Path | None = None,
) -> tuple[Checkpoint, list[Score]]:
    """Trains a model; the checkpoint is of the best evaluation, ties broken by the lower validation loss.

    `on_score` may raise to end the run. scratch: a folder for arrays that should not lie in memory, which are gone
    afterwards; the system's own by default. InputError: the loss stopped being a number, or a split is empty.
    """
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        return _fit(graph, adjacency, hyperparameters, evaluation, seed, on_score, model_name, Path(folder))


def _fit(
    graph: Graph,
    adjacency: Adjacency,
    hyperparameters: Hyperparameters,
    evaluation: Evaluation,
    seed: int,
    on_score: Callable[[Score], None],
    model_name: str,
    scratch: Path,
) -> tuple[Checkpoint, list[Score]]:
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32: products several times as fast, for three digits
    objective = objective_for(graph, hyperparameters, device)
    passes = passes_for(graph, adjacency, hyperparameters, device, seed, scratch, objective.targets())
    dimensions = dimensions_of(graph, adjacency, objective, hyperparameters.use_edge_features)
    build = cast("type[GNN]", model_class(model_name))
    model = build(dimensions, hyperparameters, bool(adjacency.own.any()), passes.tables).to(device)
    model.standardise(passes.typical(), part_moments(graph, adjacency.relations) if dimensions.edge_parts else ())
    weights = nn.ModuleDict({"model": model} | ({"decoder": objective.decoder} if objective.decoder else {}))
    optimizer = optimizer_for(weights, model, hyperparameters)
    sign = -1 if evaluation.metric in LOWER_IS_BETTER else 1
    early = EarlyStop(hyperparameters.window_for_early_stop, sign < 0)

    scores: list[Score] = []
    best, best_rank = _copied(weights, passes.tables), (-torch.inf, -torch.inf)
    losses: list[float] = []
    step, steps_an_epoch = 0, sum(1 for _ in objective.batches())
    for epoch in range(1, hyperparameters.num_epochs + 1):
        for place, batch in enumerate(objective.batches(), start=1):
            weights.train()
            optimizer.zero_grad()
            loss = passes.loss(model, objective, batch)
            loss.backward()
            optimizer.step()
            for table in passes.tables.values():
                table.step(hyperparameters.sparse_lr or hyperparameters.lr)
            losses.append(float(loss.detach()))
            step += 1
            last = epoch == hyperparameters.num_epochs and place == steps_an_epoch
            if step % evaluation.steps_between(steps_an_epoch) and not last:
                continue
            score = _evaluate(weights, model, passes, objective, evaluation, epoch, fmean(losses))
            losses.clear()
            scores.append(score)
            on_score(score)
            rank = (sign * score.value, -score.valid_loss)
            if rank > best_rank:
                best, best_rank = _copied(weights, passes.tables), rank
            if hyperparameters.enable_early_stop and early.stops(score.value):
                return _checkpoint(model_name, adjacency, hyperparameters, dimensions, best), scores
    return _checkpoint(model_name, adjacency, hyperparameters, dimensions, best), scores


def dimensions_of(
    graph: Graph, adjacency: Adjacency, objective: Objective, use_edge_features: bool = False
) -> Dimensions:
    """The sizes of a graph neural network for a graph and a task."""
    return Dimensions(
        num_nodes=tuple(node_type.num_nodes for node_type in graph.node_types),
        feature_dims=tuple(tuple(one.dim for one in node_type.features) for node_type in graph.node_types),
        num_relations=len(adjacency.relations),
        out_channels=objective.out_channels,
        edge_parts=edge_parts(graph, adjacency.relations) if use_edge_features else (),
    )


def trial(channel: Channel, parameters: Mapping[str, Any]) -> None:
    """A worker's entry point: trains once, sends its evaluations as it goes, and the result.

    Several evaluations of one moment are one message: each interrupts the search, and what trains on its core.
    parameters: `graph` and `state` (folders), `number`, `model`, `hyperparameters` (by AWS's names), `evaluation`,
    `seed`. The model lies in `state/trials/<number>/` when the result is sent.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    unsent: list[dict[str, Any]] = []
    sent = -math.inf

    def on_score(score: Score) -> None:
        nonlocal sent
        unsent.append(asdict(score))
        if time.monotonic() < sent + _MOMENT_SECONDS:
            return
        sent = time.monotonic()
        channel.send(scores=unsent)
        unsent.clear()
        while answer := channel.poll():
            if answer.get("prune"):
                raise Pruned

    try:
        model = parameters["model"]
        scratch = Path(parameters["state"]) / "scratch"
        scratch.mkdir(exist_ok=True)
        hyperparameters = Hyperparameters.from_names(parameters["hyperparameters"], model)
        graph, evaluation = read_graph(Path(parameters["graph"])), Evaluation(**parameters["evaluation"])
        if issubclass(model_class(model), Embedding):
            checkpoint, _ = embedding.fit(graph, model, hyperparameters, evaluation, parameters["seed"], on_score)
        else:
            checkpoint, _ = fit(
                graph,
                read_adjacency(adjacency_path(Path(parameters["state"]), model, hyperparameters.use_self_loop)),
                hyperparameters,
                evaluation,
                parameters["seed"],
                on_score,
                model,
                scratch,
            )
    except Pruned:
        channel.send(scores=unsent, result="pruned")
    except BrokenPipeError:
        raise  # nobody is there to be told
    except Exception as error:  # the search is told of every failure, and goes on
        wrong_input = isinstance(error, InputError)
        if not wrong_input:
            traceback.print_exc()
        reason = str(error) if wrong_input else f"{type(error).__name__}: {error}"
        channel.send(scores=unsent, result="failed", reason=reason, wrong_input=wrong_input)
    else:
        write_checkpoint(checkpoint, Path(parameters["state"]) / "trials" / str(parameters["number"]))
        channel.send(scores=unsent, result="complete")


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
    if issubclass(model_class(checkpoint.model), Embedding):
        for split, found in embedding.report(graph, checkpoint).items():
            atomic.write(Path(parameters["output"]) / _METRICS[split], json.dumps(found, indent=1).encode())
        write_trained_on(graph, range(len(graph.node_types)), Path(parameters["output"]))
        channel.send(result="complete")
        return
    use_self_loop = checkpoint.hyperparameters.use_self_loop
    adjacency = read_adjacency(adjacency_path(Path(parameters["state"]), checkpoint.model, use_self_loop))
    objective = objective_for(graph, checkpoint.hyperparameters, torch.device("cpu"))
    model = checkpoint.restore(objective.decoder)
    with tempfile.TemporaryDirectory(dir=parameters["state"]) as scratch:
        device = torch.device("cpu")
        passes = prediction_passes(graph, adjacency, checkpoint.hyperparameters, device, Path(scratch))
        output, _ = passes.outputs(model)
        for split, name in _METRICS.items():
            if (report := objective.report(output, split)) is not None:
                atomic.write(Path(parameters["output"]) / name, json.dumps(report, indent=1).encode())
    embedded = [n for n in range(len(graph.node_types)) if f"model.encoder.embeddings.{n}" in checkpoint.weights]
    write_trained_on(graph, embedded, Path(parameters["output"]))
    channel.send(result="complete")


def _copied(weights: nn.Module, tables: Mapping[int, NodeTable]) -> dict[str, torch.Tensor]:
    """All weights as they are now, which later steps do not change."""
    copies = {name: value.clone() for name, value in weights.state_dict().items()}
    return copies | {f"model.encoder.embeddings.{number}": table.copy() for number, table in tables.items()}


def _evaluate(
    weights: nn.Module,
    model: GNN,
    passes: Passes,
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
        value, valid_loss = objective.validate(passes.outputs(model)[0], evaluation.metric, evaluation.topk)
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
