from pathlib import Path

import numpy as np
import pytest
import torch
from tests.workloads.graph.bring.test_write import encoded, ends, ids
from tests.workloads.graph.exports import process
from torch_geometric.data import Data, HeteroData

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.export import export, open_graph, plan
from modelyard.workloads.graph.data import NONE, TEST, TRAIN, VALID


def shop() -> HeteroData:
    torch.manual_seed(0)
    data = HeteroData()
    data["user"].x = torch.randn(12, 3)
    data["user"].y = torch.tensor([0, 1, 2, -1] * 3)
    for part, rows in (("train", [0, 1, 2, 4, 5]), ("val", [6, 8]), ("test", [9, 10])):
        data["user"][f"{part}_mask"] = torch.zeros(12, dtype=torch.bool).index_fill(0, torch.tensor(rows), True)
    data["item"].num_nodes = 4
    data["item"].name = ["pen", "ink", "pen", "cap"]
    data["user", "bought", "item"].edge_index = torch.stack([torch.arange(12), torch.arange(12) % 4])
    data["user", "bought", "item"].edge_attr = torch.randn(12, 2)
    data["user", "knows", "user"].edge_index = torch.tensor([[0, 1], [1, 0]])
    return data


def test_the_graph_is_the_source(tmp_path: Path) -> None:
    data = shop()
    export(data, tmp_path / "in")
    graph, result = process(tmp_path / "in", tmp_path / "out")
    assert result["nodes"] == {"user": 12, "item": 4}
    assert result["edges"] == {"user-bought-item": 12, "user-knows-user": 2}
    assert ids(graph, "user") == [str(n) for n in range(12)]
    assert np.array_equal(graph.edges(0)["edge_index"], data["user", "bought", "item"].edge_index.numpy())
    assert np.array_equal(graph.edges(0)["features"], data["user", "bought", "item"].edge_attr.numpy())
    assert np.array_equal(encoded(graph, "user", "x"), data["user"].x.numpy())
    assert graph.labels()["labels"].tolist() == data["user"].y.tolist()
    wanted = np.full(12, NONE)
    for part, code in (("train", TRAIN), ("val", VALID), ("test", TEST)):
        wanted[data["user"][f"{part}_mask"].numpy()] = code
    assert graph.labels()["split"].tolist() == wanted.tolist()
    assert encoded(graph, "item", "name").argmax(axis=1).tolist() == [2, 1, 2, 0]


def test_one_type_with_relations(tmp_path: Path) -> None:
    index = torch.tensor([[0, 1, 2, 0], [1, 2, 0, 2]])
    data = Data(edge_index=index, edge_type=torch.tensor([0, 1, 0, 1]), num_nodes=3)
    export(data, tmp_path / "in", split=(0.5, 0.5, 0.0))
    graph, result = process(tmp_path / "in", tmp_path / "out")
    assert result["edges"] == {"node-0-node": 2, "node-1-node": 2}
    assert ends(graph, 0) == [("0", "1"), ("2", "0")]


def test_rows_of_zeros_and_ones_are_many_labels(tmp_path: Path) -> None:
    y = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]] * 5, dtype=torch.float)
    data = Data(x=torch.randn(20, 2), y=y, edge_index=torch.tensor([[0], [1]]))
    export(data, tmp_path / "in", split=(0.6, 0.2, 0.2))
    graph, _ = process(tmp_path / "in", tmp_path / "out")
    assert graph.task.multilabel
    assert graph.labels()["labels"].tolist() == y.int().tolist()


def test_numbers_are_learned_by_regression(tmp_path: Path) -> None:
    y = torch.randn(20, 1)
    export(Data(x=torch.randn(20, 2), y=y, edge_index=torch.tensor([[0], [1]])), tmp_path / "in")
    graph, _ = process(tmp_path / "in", tmp_path / "out")
    assert graph.task.type == "node_regression"
    assert graph.labels()["labels"].tolist() == y[:, 0].tolist()


def test_what_does_not_fit_is_told() -> None:
    data = shop()
    data["user"].odd = torch.randn(5)
    data["user"].thing = object()
    data["user"].val_mask = data["user"].val_mask[:, None].repeat(1, 3)
    assert sorted(plan(data).warnings) == [
        "user.odd: has another length than its 12 rows, and is left out",
        "user.thing: is a object, and is left out",
        "user.val_mask: holds 3 splits; the first is taken",
    ]
    data["user"].train_mask[:] = True
    with pytest.raises(InputError, match="has a row that is in another part"):
        plan(data)


def test_a_saved_graph_runs_no_code(tmp_path: Path) -> None:
    torch.save(shop(), tmp_path / "g.pt")
    assert plan(open_graph(str(tmp_path / "g.pt"))).document()["nodes"][0] == {"type": "user", "count": 12}
    torch.save(Path("x"), tmp_path / "evil.pt")
    with pytest.raises(InputError, match=r"evil\.pt cannot be read as \.pt"):
        open_graph(str(tmp_path / "evil.pt"))
