import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import TEST, Graph, Task
from modelyard.workloads.graph.training.adjacency import build_adjacency, decide_relations
from modelyard.workloads.graph.training.checkpoint import read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.evaluation import EarlyStop, Evaluation, Score
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.tensors import graph_tensors
from modelyard.workloads.graph.training.train import fit

CPU = torch.device("cpu")
QUICK = Hyperparameters(num_hidden=16, lr=0.02, num_epochs=30, enable_early_stop=False, batch_size=10_000)


def trained(graph: Graph, hyperparameters: Hyperparameters, metric: str, seed: int = 0) -> tuple[Any, list[Score]]:
    adjacency = build_adjacency(graph, decide_relations(graph), hyperparameters.use_self_loop)
    return fit(graph, adjacency, hyperparameters, Evaluation(metric), seed)


def on_test(graph: Graph, checkpoint: Any) -> dict[str, Any]:
    objective = objective_for(graph, checkpoint.hyperparameters, CPU)
    adjacency = build_adjacency(graph, checkpoint.relations, checkpoint.hyperparameters.use_self_loop)
    with torch.no_grad():
        output, _ = checkpoint.restore(objective.decoder)(graph_tensors(graph, adjacency))
    report = objective.report(output, TEST)
    assert report is not None
    return report


def circle(made: type[Any], task: Task, labels: np.ndarray) -> Any:
    """People around a table: each knows the next; two numbers tell where one sits."""
    people = len(labels)
    angle = np.arange(people) / people * 2 * np.pi
    seat = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    edges = np.stack([np.arange(people), (np.arange(people) + 1) % people])
    split = np.resize([1, 1, 2, 3], people)
    return made(task, {"p": people}, {("p", "next", "p"): edges}, {"p": [seat]}, labels=labels, split=split)


def test_classes_are_learned(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path)
    checkpoint, scores = trained(graph, QUICK, "acc")
    assert on_test(graph, checkpoint)["accuracy"] >= 0.9
    assert len(scores) == 30
    assert scores[-1].loss < scores[0].loss


@pytest.mark.parametrize(
    "changed",
    [
        {"num_layer": 1},
        {"num_layer": 3},
        {"num_bases": 2},
        {"layer_norm": True},
        {"dropout": 0.5},
        {"use_self_loop": False},
        {"concat_node_embed": True, "sparse_lr": 0.1},
        {"per_feat_name_embed": True},
        {"use_class_weight": True},
        {"batch_size": 15},
        {"l2norm": 0.01},
        {"fanout": (10, 15), "low_mem": False},
    ],
    ids=str,
)
def test_every_setting_learns(two_communities: Callable[..., Any], tmp_path: Path, changed: dict[str, Any]) -> None:
    graph = two_communities().write(tmp_path)
    checkpoint, _ = trained(graph, replace(QUICK, **changed), "acc")
    assert on_test(graph, checkpoint)["accuracy"] >= 0.7


def test_several_labels_are_learned(made: type[Any], tmp_path: Path) -> None:
    angle = np.arange(120) / 120 * 2 * np.pi
    labels = np.stack([np.sin(angle) > 0, np.cos(angle) > 0.5], axis=1).astype(np.uint8)
    task = Task("node_class", "p", "where", ("left", "front"), multilabel=True)
    graph = circle(made, task, labels).write(tmp_path)
    checkpoint, _ = trained(graph, QUICK, "roc_auc")
    assert on_test(graph, checkpoint)["roc_auc_score"] >= 0.95


def test_numbers_are_learned_in_their_own_unit(made: type[Any], tmp_path: Path) -> None:
    price = (300_000 + 50_000 * np.sin(np.arange(120) / 120 * 2 * np.pi)).astype(np.float32)
    graph = circle(made, Task("node_regression", "p", "price"), price).write(tmp_path)
    checkpoint, scores = trained(graph, replace(QUICK, num_epochs=100), "mse")
    report = on_test(graph, checkpoint)
    assert report["r2"] >= 0.9
    assert report["rmse"] < 20_000
    best = min(scores, key=lambda score: score.value)
    assert best.value < scores[0].value


@pytest.mark.parametrize(
    "changed", [{}, {"num_negs": 20}, {"num_negs": 5, "neg_share": False}, {"batch_size": 2000}], ids=str
)
def test_links_are_learned(umls: Graph, changed: dict[str, Any]) -> None:
    hyperparameters = replace(QUICK, num_hidden=32, num_bases=4, layer_norm=True, num_epochs=8, **changed)
    checkpoint, _ = trained(umls, hyperparameters, "mrr")
    assert on_test(umls, checkpoint)["mrr"] >= 0.3


def test_regularisation_keeps_vectors_short(umls: Graph) -> None:
    lengths = []
    for coefficient in (0.0, 1.0):
        settings = replace(QUICK, num_bases=4, num_epochs=5, regularization_coef=coefficient)
        checkpoint, _ = trained(umls, settings, "mrr")
        lengths.append(checkpoint.weights["decoder.relation"].norm())
    assert lengths[1] < lengths[0]


def test_candidates_are_of_the_type_that_is_asked_for(made: type[Any], tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    likes = np.unique(np.stack([random.integers(0, 40, 300), random.integers(0, 15, 300)]), axis=1)
    key = ("person", "likes", "thing")
    split = np.resize([1, 1, 1, 2, 3], likes.shape[1])
    graph = made(Task("link_predict"), {"person": 40, "thing": 15}, {key: likes}, edge_split={key: split}).write(
        tmp_path
    )
    checkpoint, _ = trained(graph, replace(QUICK, num_epochs=5), "mrr")
    assert on_test(graph, checkpoint)["mean rank (MR)"] <= 40


def test_the_best_epoch_is_kept(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path)
    checkpoint, scores = trained(graph, QUICK, "acc")
    objective = objective_for(graph, QUICK, CPU)
    adjacency = build_adjacency(graph, checkpoint.relations)
    with torch.no_grad():
        output, _ = checkpoint.restore()(graph_tensors(graph, adjacency))
        value, valid_loss = objective.validate(output, "acc", 1)
    best = max(scores, key=lambda score: (score.value, -score.valid_loss))
    assert (value, valid_loss) == (best.value, pytest.approx(best.valid_loss, rel=1e-5))


def test_a_checkpoint_is_the_model(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path / "graph")
    checkpoint, _ = trained(graph, replace(QUICK, num_epochs=3, fanout=(5, 5)), "acc")
    write_checkpoint(checkpoint, tmp_path / "model")
    again = read_checkpoint(tmp_path / "model")
    assert replace(again, weights={}) == replace(checkpoint, weights={})
    assert on_test(graph, again) == on_test(graph, checkpoint)
    assert json.loads((tmp_path / "model" / "model.json").read_text())["hyperparameters"]["num-hidden"] == 16


@pytest.mark.parametrize(
    ("window", "lower", "curve", "stops_at"),
    [
        (3, False, [0.1, 0.2, 0.3, 0.19], 4),  # worse than the mean 0.2 of the three before
        (3, False, [0.1, 0.2, 0.3, 0.2], None),  # as good as the mean
        (3, False, [0.5, 0.4, 0.3], None),  # three scores must stand before the rule speaks
        (2, False, [0.1, 0.5, 0.4, 0.44], 4),  # mean of 0.5 and 0.4 is 0.45
        (2, True, [3.0, 2.0, 2.4, 2.3], 4),  # lower is better: worse than 2.2
        (2, True, [3.0, 2.0, 1.9, 1.8], None),
        (1, False, [0.5, 0.6, 0.59], 3),
    ],
)
def test_the_rule_of_early_stop(window: int, lower: bool, curve: list[float], stops_at: int | None) -> None:
    early = EarlyStop(window, lower)
    stops = [number for number, value in enumerate(curve, start=1) if early.stops(value)]
    assert stops[:1] == ([stops_at] if stops_at else [])


def test_early_stop_ends_training(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    made = two_communities()
    made.labels = np.random.default_rng(0).permutation(np.abs(made.labels))
    graph = made.write(tmp_path)
    settings = replace(QUICK, num_epochs=400, enable_early_stop=True, window_for_early_stop=3)
    _, scores = trained(graph, settings, "acc")
    assert len(scores) < 400
    assert scores[-1].value < np.mean([score.value for score in scores[-4:-1]])


@pytest.mark.parametrize(
    ("evaluation", "count"),
    [
        (Evaluation("acc", every="evaluate_every_epoch", value=2), 2),
        (Evaluation("acc", every="evaluate_every_batch", value=3), 6),
        (Evaluation("acc", every="evaluate_every_pct", value=0.5), 8),
    ],
    ids=lambda value: getattr(value, "every", ""),
)
def test_evaluations_come_as_often_as_asked(
    two_communities: Callable[..., Any], tmp_path: Path, evaluation: Evaluation, count: int
) -> None:
    graph = two_communities().write(tmp_path)
    settings = replace(QUICK, num_epochs=4, batch_size=10)  # 40 training nodes: 4 steps an epoch
    _, scores = fit(graph, build_adjacency(graph, decide_relations(graph)), settings, evaluation)
    assert len(scores) == count
    assert scores[-1].epoch == 4


def test_a_loss_that_is_no_number_is_said(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path)
    with pytest.raises(InputError, match="training loss became"):
        trained(graph, replace(QUICK, lr=1e30), "acc")


def test_an_empty_split_is_said(two_communities: Callable[..., Any], tmp_path: Path) -> None:
    made = two_communities()
    made.split = np.where(made.split == 2, 1, made.split)
    with pytest.raises(InputError, match="no validation nodes: no node of type 'person' with the property 'group'"):
        trained(made.write(tmp_path), QUICK, "acc")
