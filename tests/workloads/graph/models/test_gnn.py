"""What every graph neural network must do, whatever its layer is."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from modelyard.workloads.graph.data import TEST, Graph, Task
from modelyard.workloads.graph.models import registry
from modelyard.workloads.graph.models.gnn import GNN
from modelyard.workloads.graph.training.adjacency import build_adjacency
from modelyard.workloads.graph.training.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from modelyard.workloads.graph.training.evaluation import Evaluation
from modelyard.workloads.graph.training.hyperparameters import Hyperparameters
from modelyard.workloads.graph.training.objectives import objective_for
from modelyard.workloads.graph.training.tensors import graph_tensors
from modelyard.workloads.graph.training.train import fit

CPU = torch.device("cpu")
NAMES = tuple(name for name in registry.NAMES if registry.model_class(name).family == "gnn")
PEOPLE = 120
KNOWS = ("person", "knows", "person")


def friends(made: type[Any], folder: Path, task: Task, group: np.ndarray) -> Graph:
    """People who know their own group; a sparse feature says most of it, a dense one nothing."""
    random = np.random.default_rng(0)
    pairs = random.integers(0, PEOPLE, (2, PEOPLE * 50))
    pairs = pairs[:, (group[pairs[0]] == group[pairs[1]]) & (pairs[0] != pairs[1])][:, : PEOPLE * 4]
    words = np.where(random.random(PEOPLE) < 0.8, group, 0)[:, None] == np.arange(group.max() + 1)
    features = {"person": [words.astype(np.float32), random.normal(size=(PEOPLE, 2))]}
    parts = (task, {"person": PEOPLE}, {KNOWS: pairs}, features, {"person": [True, False]})
    if task.type == "link_predict":
        return made(*parts, edge_split={KNOWS: np.resize([1, 1, 1, 2, 3], pairs.shape[1])}).write(folder)
    return made(*parts, labels=group, split=np.resize([1, 1, 2, 3], PEOPLE)).write(folder)


def trained(graph: Graph, name: str, metric: str, **changed: Any) -> Checkpoint:
    hyperparameters = Hyperparameters(
        **{"num_hidden": 16, "num_heads": 4, "lr": 0.02, "num_epochs": 20, "enable_early_stop": False, **changed}
    )
    checkpoint, _ = fit(
        graph, adjacency(graph, name, hyperparameters), hyperparameters, Evaluation(metric), 0, model_name=name
    )
    return checkpoint


def adjacency(graph: Graph, name: str, hyperparameters: Hyperparameters) -> Any:
    model = cast("type[GNN]", registry.model_class(name))
    loop = hyperparameters.use_self_loop
    return build_adjacency(graph, model.relations(graph, loop), loop)


def on_test(graph: Graph, checkpoint: Checkpoint) -> dict[str, Any]:
    objective = objective_for(graph, checkpoint.hyperparameters, CPU)
    tensors = graph_tensors(graph, adjacency(graph, checkpoint.model, checkpoint.hyperparameters))
    with torch.no_grad():
        report = objective.report(checkpoint.restore(objective.decoder)(tensors)[0], TEST)
    assert report is not None
    return report


CLASSES = Task("node_class", "person", "group", ("large", "small"))
GROUP = (np.arange(PEOPLE) % 5 == 0).astype(np.int64)


@pytest.fixture
def groups(made: type[Any], tmp_path: Path) -> Graph:
    """A large group and a small one."""
    return friends(made, tmp_path, CLASSES, GROUP)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "changed",
    [
        {"concat_node_embed": True},
        {"per_feat_name_embed": True},
        {"num_layer": 1, "dropout": 0.2},
        {"num_layer": 3, "layer_norm": True},
        {"use_self_loop": False},
        {"fanout": (5, 5), "batch_size": 20},
    ],
    ids=str,
)
def test_every_setting_learns(groups: Graph, tmp_path: Path, name: str, changed: dict[str, Any]) -> None:
    checkpoint = trained(groups, name, "acc", **changed)
    assert ("model.encoder.embeddings.0" in checkpoint.weights) == ("concat_node_embed" in changed)
    write_checkpoint(checkpoint, tmp_path / "model")
    assert on_test(groups, read_checkpoint(tmp_path / "model"))["accuracy"] >= 0.85


@pytest.mark.parametrize("name", NAMES)
def test_class_weights_make_a_rare_class_likelier(groups: Graph, name: str) -> None:
    shares = []
    for weight in (False, True):
        hyperparameters = Hyperparameters(num_hidden=16, lr=0.003, num_epochs=5, use_class_weight=weight)
        given = adjacency(groups, name, hyperparameters)
        at_the_end = Evaluation("acc", value=5)
        checkpoint, (_,) = fit(groups, given, hyperparameters, at_the_end, 0, model_name=name)
        with torch.no_grad():
            output, _ = checkpoint.restore()(graph_tensors(groups, given))
        shares.append(float(output.softmax(1)[:, 1].mean()))
    assert shares[1] > shares[0]


@pytest.mark.parametrize("name", NAMES)
def test_links_are_predicted(made: type[Any], tmp_path: Path, name: str) -> None:
    graph = friends(made, tmp_path, Task("link_predict"), np.arange(PEOPLE) // 12)
    mrr = on_test(graph, trained(graph, name, "mrr", layer_norm=True, num_hidden=32, num_epochs=40))["mrr"]
    assert mrr >= 0.1, "who knows the group but nothing else of 12 people gets about 0.26, chance 0.05"


def test_attention_heeds_directions_unless_the_labels_are_alike_across_edges(
    groups: Graph, made: type[Any], tmp_path: Path
) -> None:
    assert next(registry.fitting(groups)) == "gat"
    random = np.random.default_rng(0)
    unlike = made(
        Task("node_class", "person", "group", ("large", "small")),
        {"person": PEOPLE},
        {KNOWS: random.integers(0, PEOPLE, (2, PEOPLE * 5))},
        labels=random.integers(0, 2, PEOPLE),
        split=np.repeat([1, 2, 3], PEOPLE // 3),
    )
    assert next(registry.fitting(unlike.write(tmp_path / "unlike"))) == "hgt"


def test_models_of_one_type_are_offered_for_such_graphs_alone(groups: Graph) -> None:
    assert set(NAMES) <= set(registry.fitting(groups))
