from pathlib import Path
from typing import Any

import pytest
from tests.workloads.graph.exports import edge, feature, node, real, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.configuration import read_export
from modelyard.workloads.graph.processing.faults import find_faults


def told(folder: Path, **members: Any) -> list[str]:
    _, faults = find_faults(write(folder, {"p.csv": "~id\n", "k.csv": "~from,~to\n"}, **members))
    return [str(fault) for fault in faults]


@pytest.mark.parametrize("name", ["cora", "umls"])
def test_without_a_fault_it_is_what_processing_reads(name: str) -> None:
    assert find_faults(real(name)) == (read_export(real(name)), [])


def test_all_faults_are_found_and_the_rest_is_kept(tmp_path: Path) -> None:
    bad = [feature("a", "magic"), feature("b", "numerical", norm="huge"), feature("c", "category"), "d"]
    nodes = [node("p.csv", "p", bad), "none", {"file_name": "p.csv"}, node("q.csv", "q")]
    folder = write(tmp_path, {"p.csv": "~id\n", "k.csv": "~from,~to\n"}, nodes, [edge("k.csv", "p", "k", "p"), 3])
    export, faults = find_faults(folder)
    assert [file.node_type for file in export.nodes] == ["p"]
    assert [spec.name for spec in export.nodes[0].features] == ["c"]
    assert [file.relation for file in export.edges] == ["k"]
    places = [str(fault).split(": ")[0] for fault in faults]
    assert sorted(places) == [
        "graph.edges[1]",
        "graph.nodes[0].features[0].feature",
        "graph.nodes[0].features[1].norm",
        "graph.nodes[0].features[3]",
        "graph.nodes[1]",
        "graph.nodes[2].node",
        "graph.nodes[3].file_name",
    ]
    with pytest.raises(InputError):
        read_export(folder)


def test_lists_and_graphs_of_the_wrong_kind(tmp_path: Path) -> None:
    assert told(tmp_path / "1", nodes={}, edges=[]) == ["graph.nodes: must be a list of objects, not an object"]
    assert told(tmp_path / "2") == [
        "training-data-configuration.json, graph.nodes: is empty, but every type of nodes needs a file that lists them"
    ]
    with pytest.raises(InputError, match="must be an object with nodes and edges"):
        told(tmp_path / "3", graph=7)


def test_an_edge_between_unknown_types(tmp_path: Path) -> None:
    faults = told(tmp_path, nodes=[node("p.csv", "p")], edges=[edge("k.csv", "p", "k", "x")])
    assert faults == ["graph.edges[0].dest: no file of nodes describes the type 'x'; there are 'p'"]
    assert told(tmp_path, edges=[edge("k.csv", "p", "k", "p")])[0].endswith("the type 'p'; there are none")
