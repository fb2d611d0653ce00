import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import EdgeType, NodeType, Task
from modelyard.workloads.graph.training.trained_on import read_trained_on, rows_in_training, write_trained_on

Communities = Callable[..., Any]


def test_a_graph_is_remembered(two_communities: Communities, tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path / "graph")
    write_trained_on(graph, [1], tmp_path / "model")
    remembered = read_trained_on(tmp_path / "model")
    assert remembered.node_types == ("person", "good")
    assert remembered.edge_types == (("person", "knows", "person"), ("person", "buys", "good"))
    assert remembered.classes == ("a", "b")
    assert (remembered.mean, remembered.deviation) == (0, 1)
    remembered.check(graph)


def test_the_scale_of_a_regression_is_that_of_its_training_labels(two_communities: Communities, tmp_path: Path) -> None:
    made = two_communities()
    made.task = Task("node_regression", "person", "age")
    made.labels = np.linspace(10, 90, 200, dtype=np.float32)
    graph = made.write(tmp_path / "graph")
    write_trained_on(graph, [], tmp_path / "model")
    remembered = read_trained_on(tmp_path / "model")
    trained = made.labels[made.split == 1]
    assert (remembered.mean, remembered.deviation) == pytest.approx((trained.mean(), trained.std()))


def test_rows_are_found_by_raw_id(two_communities: Communities, tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path / "graph")
    write_trained_on(graph, [1], tmp_path / "model")
    pl.DataFrame({"id": ["good-3", "new", "good-0", "good-19"]}).write_parquet(graph.ids_path(1))
    assert rows_in_training(graph, 1, tmp_path / "model").tolist() == [3, -1, 0, 19]


def test_a_graph_of_other_types_is_refused(two_communities: Communities, tmp_path: Path) -> None:
    graph = two_communities().write(tmp_path / "graph")
    write_trained_on(graph, [], tmp_path / "model")
    remembered = read_trained_on(tmp_path / "model")
    more_nodes = dataclasses.replace(graph, node_types=(*graph.node_types, NodeType("shop", 3)))
    with pytest.raises(InputError, match=r"the node types .* are not those .*: 'shop'; process the data"):
        remembered.check(more_nodes)
    more_edges = dataclasses.replace(graph, edge_types=(*graph.edge_types, EdgeType("good", "like", "good", 3)))
    with pytest.raises(InputError, match=r"the edge types .* are not those .*'like'"):
        remembered.check(more_edges)
    other_task = dataclasses.replace(graph, task=Task("node_class", "person", "age"))
    with pytest.raises(InputError, match=r"property of the task .* are not those .*: 'age'"):
        remembered.check(other_task)
    targets = tuple(dataclasses.replace(one, target=True) for one in graph.edge_types)
    with pytest.raises(InputError, match=r"the edge types to predict .* are not those"):
        remembered.check(dataclasses.replace(graph, edge_types=targets))
