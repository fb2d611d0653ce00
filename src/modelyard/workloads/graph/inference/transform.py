"""Transform: applies a trained model to a processed graph, and writes what users, their tools and endpoints read.

The graph may be newer than the one of training, with more nodes and edges. Learned embeddings are found by raw id; a
new node that would need one gets the mean embedding of its type (Amazon Neptune User Guide, "Artifacts produced by
model training in Neptune ML"). Metrics are those of training: they are copied, never computed again.
"""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
import torch
from torch import Tensor

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.workloads.graph.data import TEST, VALID, Graph, read_graph
from modelyard.workloads.graph.inference.artifacts import (
    write_config,
    write_instance_recommendation,
    write_mapping,
    write_package,
)
from modelyard.workloads.graph.inference.edges import write_pair_scores, write_scorer
from modelyard.workloads.graph.inference.ids import write_index
from modelyard.workloads.graph.inference.inductive import write_inductive
from modelyard.workloads.graph.inference.predictions import (
    LinkQuestions,
    write_edge_predictions,
    write_link_predictions,
    write_node_predictions,
)
from modelyard.workloads.graph.inference.ranking import Scorer, known_links, write_known
from modelyard.workloads.graph.inference.served import Served, Target
from modelyard.workloads.graph.models.embedding import NODES, Embedding
from modelyard.workloads.graph.models.registry import model_class
from modelyard.workloads.graph.training.adjacency import build_adjacency, node_offsets
from modelyard.workloads.graph.training.checkpoint import Checkpoint, read_checkpoint
from modelyard.workloads.graph.training.edge_features import edge_parts
from modelyard.workloads.graph.training.embedding import restored
from modelyard.workloads.graph.training.passes import prediction_passes
from modelyard.workloads.graph.training.trained_on import TrainedOn, read_trained_on, rows_in_training

_COPIED = (
    "trials.json",
    "eval_metrics_info.json",
    "test_metrics_info.json",
    "training_job_details.json",
    "tuning_job_details.json",
)
_PACKED = ("model.json", "model.safetensors", "trained_on.json")

_log = logging.getLogger(__name__)


def run(context: Context) -> dict[str, Any]:
    """Entry point. inputs: `graph` (processed) and `model` (a search's output). Gives counts and warnings."""
    graph, folder, output = read_graph(context.inputs["graph"]), context.inputs["model"], context.output
    trained_on = read_trained_on(folder)
    trained_on.check(graph)
    _phase(context, 1, "rebuilding the model")
    checkpoint = read_checkpoint(folder)
    if issubclass(model_class(checkpoint.model), Embedding):
        result = _transform_embedding(context, graph, checkpoint, trained_on)
        return {"nodes": checkpoint.weights[NODES].size(0), "nodes_added": {}, **result}
    checkpoint, added = on_graph(checkpoint, graph, folder)
    _phase(context, 2, "computing embeddings")
    vectors, embeddings = infer(checkpoint, graph, context.state)
    _phase(context, 3, "writing embeddings")
    write_embeddings(graph, embeddings, output)
    _phase(context, 4, "writing predictions")
    if graph.task.type == "link_predict":
        result = write_links(graph, embeddings, checkpoint.weights["decoder.relation"].numpy(), output)
    elif graph.task.edge_type is not None:
        result = _write_edge_scores(graph, embeddings, checkpoint, trained_on, output)
    else:
        result = write_node_scores(graph, node_scores(graph, vectors, trained_on), trained_on.classes, output)
    _phase(context, 5, "writing artifacts")
    write_inductive(graph, checkpoint, trained_on, output)
    _write_artifacts(graph, checkpoint.model, folder, trained_on, output)
    return {"nodes": sum(one.num_nodes for one in graph.node_types), "nodes_added": added, **result}


def _transform_embedding(
    context: Context, graph: Graph, checkpoint: Checkpoint, trained_on: TrainedOn
) -> dict[str, Any]:
    """Writes what an embedding model knows of the nodes of `graph`; InputError if one was not in training."""
    folder, output = context.inputs["model"], context.output
    _phase(context, 2, "finding embeddings")
    model, nodes = restored(checkpoint)
    embeddings = nodes[_rows_of_all(graph, checkpoint, folder)].numpy()
    vectors = model.vectors().detach()
    targets = [number for number, edge_type in enumerate(graph.edge_types) if edge_type.target]
    asked = torch.tensor([*targets, *(number + model.num_relations for number in targets)])
    _phase(context, 3, "writing embeddings")
    write_embeddings(graph, embeddings, output)
    _phase(context, 4, "writing predictions")
    scorer = cast(Scorer, checkpoint.model)
    result = write_links(graph, embeddings, vectors[asked].numpy(), output, scorer)
    _phase(context, 5, "writing artifacts")
    _write_artifacts(graph, checkpoint.model, folder, trained_on, output, scorer)
    return result


def _rows_of_all(graph: Graph, checkpoint: Checkpoint, folder: Path) -> Tensor:
    """For every node its row in the graph of training."""
    rows, begin = [], 0
    for number, (node_type, before) in enumerate(zip(graph.node_types, checkpoint.dimensions.num_nodes, strict=True)):
        found = rows_in_training(graph, number, folder)
        if len(new := np.flatnonzero(found < 0)):
            first = pl.read_parquet(graph.ids_path(number))["id"][int(new[0])]
            raise InputError(
                f"{len(new)} nodes of type {node_type.name!r} were not in training, the first is {first!r}: the model "
                f"{checkpoint.model} knows no other nodes than those it was trained on; train again, or use rgcn"
            )
        rows.append(torch.from_numpy(found + begin))
        begin += before
    return torch.cat(rows)


def on_graph(checkpoint: Checkpoint, graph: Graph, folder: Path) -> tuple[Checkpoint, dict[str, int]]:
    """The checkpoint for the nodes of `graph`, and how many nodes with a learned embedding are new, by type."""
    dims = tuple(tuple(feature.dim for feature in one.features) for one in graph.node_types)
    _check_features(checkpoint, graph, dims)
    weights, added = dict(checkpoint.weights), {}
    for number, node_type in enumerate(graph.node_types):
        if (name := f"model.encoder.embeddings.{number}") in weights:
            rows = torch.from_numpy(rows_in_training(graph, number, folder))
            weights[name] = _placed(weights[name], rows)
            if new := int((rows < 0).sum()):
                added[node_type.name] = new
                _log.info("%d nodes of type %s are new: they get its mean embedding", new, node_type.name)
    num_nodes = tuple(node_type.num_nodes for node_type in graph.node_types)
    return replace(checkpoint, weights=weights, dimensions=replace(checkpoint.dimensions, num_nodes=num_nodes)), added


def infer(checkpoint: Checkpoint, graph: Graph, scratch: Path) -> tuple[Tensor, np.ndarray]:
    """The model's output `[num_nodes, out_channels]`, and node embeddings, float32 `[num_nodes, channels]`.

    Embeddings are the output itself where edges are predicted, and what goes into the last layer for node tasks.
    scratch: a folder for what should not lie in memory.
    """
    hyperparameters = checkpoint.hyperparameters
    adjacency = build_adjacency(graph, checkpoint.relations, hyperparameters.use_self_loop)
    passes = prediction_passes(graph, adjacency, hyperparameters, torch.device("cpu"), scratch)
    vectors, hidden = passes.outputs(checkpoint.restore())
    assert isinstance(vectors, Tensor)
    return vectors, (hidden if graph.task.node_type else vectors).numpy()


def node_scores(graph: Graph, vectors: Tensor, trained_on: TrainedOn) -> np.ndarray:
    """Probabilities `[nodes of the type, classes]`, or values `[nodes of the type, 1]` in the label's own unit."""
    assert graph.task.node_type is not None
    scores = vectors[_span(graph, graph.task.node_type)[1]]
    if graph.task.type == "node_regression":
        return (scores * trained_on.deviation + trained_on.mean).numpy()
    return (scores.sigmoid() if graph.task.multilabel else scores.softmax(1)).numpy()


def _write_edge_scores(
    graph: Graph, embeddings: np.ndarray, checkpoint: Checkpoint, trained_on: TrainedOn, output: Path
) -> dict[str, Any]:
    """The decoder for serving, which scores edges as they are asked for, and the CSV of all edges of the type."""
    assert graph.task.edge_type is not None
    source, relation, dest = graph.task.edge_type
    number = graph.edge_type_index(graph.task.edge_type)
    decoder = checkpoint.decoder_weights()
    now = sum(feature.dim for feature in graph.edge_types[number].features)
    if now != len(decoder["mean"]):
        raise InputError(_other_columns(f"edges {relation!r}", [now], [len(decoder["mean"])]))
    scorer = write_scorer(graph, decoder, trained_on.mean, trained_on.deviation, output / "serving" / "edges")
    heads, tails = (embeddings[_span(graph, name)[1]] for name in (source, dest))
    arrays = graph.edges(number)
    head, tail = arrays["edge_index"]
    features = arrays.get("features", np.empty((len(head), 0), np.float32))

    def scores(some: slice) -> np.ndarray:
        return scorer.scores(heads[head[some]], tails[tail[some]], features[some])

    return _write_edges(graph, scores, trained_on.classes, output)


def write_edge_scores(graph: Graph, scores: np.ndarray, output: Path) -> dict[str, Any]:
    """Writes what a custom model said of all edges of the type, for serving and for people."""
    write_pair_scores(graph, scores, output / "serving" / "edges")
    return _write_edges(graph, lambda some: scores[some], graph.task.classes, output)


def _write_edges(
    graph: Graph, scores: Callable[[slice], np.ndarray], classes: tuple[str, ...], output: Path
) -> dict[str, Any]:
    listed, total = write_edge_predictions(graph, scores, classes, output)
    if listed < total:
        _log.info("predictions.csv lists %d of %d edges; the endpoint answers for all", listed, total)
    return {"predictions": listed}


def _placed(embedding: Tensor, rows: Tensor) -> Tensor:
    """Learned embeddings in the order of `rows`; their mean where a row is -1."""
    placed = embedding[rows.clamp(min=0)]
    placed[rows < 0] = embedding.mean(0)
    return placed


def _check_features(checkpoint: Checkpoint, graph: Graph, dims: tuple[tuple[int, ...], ...]) -> None:
    for node_type, before, now in zip(graph.node_types, checkpoint.dimensions.feature_dims, dims, strict=True):
        if before != now:
            raise InputError(_other_columns(f"node type {node_type.name!r}", list(now), list(before)))
    parts = edge_parts(graph, checkpoint.relations) if checkpoint.hyperparameters.use_edge_features else ()
    if parts != (before_parts := checkpoint.dimensions.edge_parts):
        dims_now, dims_before = ([dim for _, dim in one] for one in (parts, before_parts))
        raise InputError(_other_columns("edges", dims_now, dims_before))


def _other_columns(whose: str, now: list[int], before: list[int]) -> str:
    return (
        f"the features of {whose} have {now} columns, and had {before} when the model was trained; process the data "
        f"with previousDataProcessingJobId, or train again"
    )


def write_embeddings(graph: Graph, embeddings: np.ndarray, output: Path) -> None:
    """Writes the vectors of all nodes, float32 `[num_nodes, channels]` by global row, and the index of their ids."""
    (output / "embeddings").mkdir()
    np.save(output / "embeddings" / "entity.npy", embeddings)
    write_index(
        output / "serving" / "ids",
        (
            piece["id"].to_list()
            for number in range(len(graph.node_types))
            for piece in pl.read_parquet(graph.ids_path(number)).iter_slices(100_000)
        ),
    )


def write_node_scores(graph: Graph, scores: np.ndarray, classes: tuple[str, ...], output: Path) -> dict[str, Any]:
    """Writes what `node_scores` gives, for serving and for people."""
    np.save(output / "serving" / "scores.npy", scores)
    write_node_predictions(graph, scores, classes, output)
    return {"predictions": len(scores)}


def write_links(
    graph: Graph, embeddings: np.ndarray, relation: np.ndarray, output: Path, scorer: Scorer = "distmult"
) -> dict[str, Any]:
    """Vectors and known links for serving, and the CSV. relation: `[2 * targets, channels]`, tails first."""
    targets = [number for number, edge_type in enumerate(graph.edge_types) if edge_type.target]
    tails, heads = np.split(relation, 2)
    np.save(output / "embeddings" / "relation.npy", tails)
    np.save(output / "serving" / "tail_vectors.npy", tails)
    np.save(output / "serving" / "head_vectors.npy", heads)
    questions = [
        replace(
            _questions(graph, number, embeddings, tails[place], output / "serving" / "known" / str(place)),
            scorer=scorer,
        )
        for place, number in enumerate(targets)
    ]
    listed, total = write_link_predictions(questions, output)
    if listed < total:
        _log.info(
            "predictions.csv lists %d of %d pairs of node and relation; the endpoint answers for all", listed, total
        )
    return {"predictions": listed}


def _questions(graph: Graph, number: int, embeddings: np.ndarray, vector: np.ndarray, known: Path) -> LinkQuestions:
    """Writes the links that serving can leave out, those of training, and gives the questions for the CSV.

    The CSV lists links that are new to the whole graph; the endpoint leaves out what the model has seen, so that
    held-out links can be found by asking.
    """
    edge_type, arrays = graph.edge_types[number], graph.edges(number)
    (source, heads), (dest, tails) = (_span(graph, name) for name in (edge_type.source, edge_type.dest))
    seen = arrays["edge_index"][:, ~np.isin(arrays["split"], (VALID, TEST))]
    write_known(known / "tails", known_links(seen[0], seen[1]))
    write_known(known / "heads", known_links(seen[1], seen[0]))
    return LinkQuestions(
        relation=edge_type.relation,
        head_ids=pl.read_parquet(graph.ids_path(source))["id"],
        tail_ids=pl.read_parquet(graph.ids_path(dest))["id"],
        heads=embeddings[heads],
        tails=embeddings[tails],
        vector=vector,
        known=known_links(*arrays["edge_index"]),
    )


def _span(graph: Graph, node_type: str) -> tuple[int, slice]:
    """A node type's number and its rows among all nodes."""
    number = graph.node_type_index(node_type)
    return number, slice(*node_offsets(graph)[number : number + 2].tolist())


def write_serving(
    graph: Graph, model: str, classes: tuple[str, ...], output: Path, scorer: Scorer = "distmult"
) -> None:
    """Writes what serving, and Neptune ML's own helpers, know of a model besides arrays."""
    offsets = tuple(node_offsets(graph).tolist())
    targets = [one for one in graph.edge_types if one.target]
    Served(
        task=graph.task.type,
        node_types=tuple(one.name for one in graph.node_types),
        offsets=offsets,
        node_type=graph.node_type_index(graph.task.node_type) if graph.task.node_type else 0,
        label_property=graph.task.property,
        classes=classes,
        targets=tuple(
            Target(graph.node_type_index(one.source), one.relation, graph.node_type_index(one.dest)) for one in targets
        ),
        scorer=scorer,
    ).write(output / "serving")
    write_mapping(graph, classes, offsets, output / "mapping.info")
    write_config(graph, model, output / "config.json")


def _write_artifacts(
    graph: Graph, model: str, folder: Path, trained_on: TrainedOn, output: Path, scorer: Scorer = "distmult"
) -> None:
    write_serving(graph, model, trained_on.classes, output, scorer)
    for name in _COPIED:
        if (folder / name).exists():
            shutil.copyfile(folder / name, output / name)
    write_package([*(folder / name for name in _PACKED), output / "config.json"], output / "model.tar.gz")
    write_instance_recommendation(output)


def _phase(context: Context, step: int, phase: str) -> None:
    """Reports a phase; raises Stopped if the task is asked to stop."""
    if context.should_stop():
        raise Stopped
    context.report(step, phase=phase, total=5)
    _log.info(phase)
