import datetime as dt
from pathlib import Path

import networkx as nx
import numpy as np
import pytest
from tests.workloads.graph.bring.test_write import encoded, ends, ids, table
from tests.workloads.graph.exports import process

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.export import export, from_networkx, open_graph, plan


def people(kind: type[nx.Graph]) -> nx.Graph:
    graph = kind()
    for n in range(30):
        graph.add_node(f"p{n}", type="person", age=n, tags={"b", f"t{n % 3}"}, tier=("gold", "base")[n % 2])
    for n in range(5):
        graph.add_node(n, type="item", price=n / 4, big=2**70 + n)
    for n in range(30):
        graph.add_edge(f"p{n}", n % 5, relation="bought", at=dt.date(2024, 1, 1 + n % 9), n=n % 4)
        graph.add_edge(f"p{n}", f"p{(n + 1) % 30}")
    return graph


@pytest.mark.parametrize("kind", [nx.DiGraph, nx.Graph, nx.MultiDiGraph])
def test_the_graph_is_the_source(tmp_path: Path, kind: type[nx.Graph]) -> None:
    graph = people(kind)
    export(graph, tmp_path / "in", targets=["person.tier"])
    processed, result = process(tmp_path / "in", tmp_path / "out")
    assert result["nodes"] == {"person": 30, "item": 5}
    assert result["edges"] == {"person-bought-item": 30, "person-edge-person": 30}
    assert ids(processed, "person") == [f"p{n}" for n in range(30)]
    assert ends(processed, 0) == [(f"p{n}", str(n % 5)) for n in range(30)]
    pairs = {frozenset(pair) if kind is nx.Graph else pair for pair in ends(processed, 1)}
    every = [(f"p{n}", f"p{(n + 1) % 30}") for n in range(30)]
    assert pairs == {frozenset(pair) if kind is nx.Graph else pair for pair in every}
    assert np.allclose(encoded(processed, "person", "age")[:, 0], np.arange(30) / 29)
    assert encoded(processed, "person", "tags").sum() == 60
    assert table(tmp_path / "in", "nodes/item.csv")[3] == {
        "~id": "3",
        "~label": "item",
        "price": "0.75",
        "big": str(2**70 + 3),
    }


def test_keys_of_a_multigraph_are_relations() -> None:
    graph = nx.MultiDiGraph([("a", "b", "likes"), ("a", "b", "knows"), ("b", "a", "likes")])
    found = plan(graph).document()
    assert found["nodes"] == [{"type": "node", "count": 2}]
    assert found["edges"] == [
        {"type": ["node", "likes", "node"], "count": 2},
        {"type": ["node", "knows", "node"], "count": 1},
    ]


def test_the_attributes_of_types_may_have_other_names() -> None:
    graph = nx.DiGraph()
    graph.add_node(1, kind="a")
    graph.add_node(2, kind="b")
    graph.add_edge(1, 2, verb="to")
    assert plan(from_networkx(graph, node_type="kind", relation="verb")).document()["edges"] == [
        {"type": ["a", "to", "b"], "count": 1}
    ]
    with pytest.raises(InputError, match="the attribute 'kind' is 3, but a type is a text"):
        from_networkx(nx.create_empty_copy(_with(graph, 3)), node_type="kind")


def _with(graph: nx.DiGraph, kind: object) -> nx.DiGraph:
    graph.add_node(1, kind=kind)
    return graph


def test_values_of_several_types_become_text(tmp_path: Path) -> None:
    graph = nx.Graph()
    values = [1, "1x", True, 2.5, None, [1, "a"], np.float32(0.5)]
    for n, value in enumerate(values[:5]):
        graph.add_node(n, mixed=value, big=2**53 + 1 if n else 0.5, list=[n, "a;b"] if n else None, np=np.int64(n))
    export(graph, tmp_path / "in", nodes_from_edges=True)
    rows = table(tmp_path / "in", "nodes/node.csv")
    assert [row["mixed"] for row in rows] == ["1", "1x", "true", "2.5", ""]
    assert [row["big"] for row in rows] == ["0.5", *["9007199254740993"] * 4]
    assert [row["np"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert rows[3]["list"] == "3|a;b"


def test_ids_that_look_the_same_are_refused() -> None:
    graph = nx.Graph()
    graph.add_nodes_from([1, "1"])
    with pytest.raises(InputError, match="is also the id of row 1"):
        plan(graph)


@pytest.mark.parametrize("suffix", ["graphml", "gml", "gexf", "json"])
def test_files_of_graphs(tmp_path: Path, suffix: str) -> None:
    graph = nx.DiGraph()
    graph.add_node("a", type="x", n=1)
    graph.add_node("b", type="y", n=2)
    graph.add_edge("a", "b", relation="to")
    path = tmp_path / f"g.{suffix}"
    if suffix == "json":
        import json

        path.write_text(json.dumps(nx.node_link_data(graph, edges="edges")))
    else:
        getattr(nx, f"write_{suffix}")(graph, path)
    found = plan(open_graph(str(path))).document()
    assert found["nodes"] == [{"type": "x", "count": 1}, {"type": "y", "count": 1}]
    assert found["edges"] == [{"type": ["x", "to", "y"], "count": 1}]


def test_what_is_no_file_of_a_graph(tmp_path: Path) -> None:
    (tmp_path / "g.graphml").write_text("no")
    for path, reason in (("g.graphml", "cannot be read"), ("absent.gml", "no such file"), ("g.txt", "ends with")):
        with pytest.raises(InputError, match=reason):
            open_graph(str(tmp_path / path))
