import re
from pathlib import Path
from typing import Any

import pytest
from tests.workloads.graph.exports import edge, feature, node, process, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing import edges as edges_module

NODES = {"p.csv": "~id\na\nb\nc\n", "q.csv": "~id\nb\nx\n"}
TYPES = [node("p.csv", "p"), node("q.csv", "q")]


def related(file_name: str, column: str, prefix: str) -> dict[str, Any]:
    return {**edge(file_name, "p", "", "q"), "relation": [column, prefix]}


def test_ends_are_rows_of_their_own_types(tmp_path: Path) -> None:
    files = {
        **NODES,
        "k.csv": "~id,~label,~from,~to\n1,k,c,b\n2,k,a,x\n3,k,b,x\n",
        "j.csv": "~to,~from\na,c\nb,a\nc,b\n",
    }
    graph, result = process(
        write(tmp_path / "in", files, TYPES, [edge("k.csv", "p", "k", "q"), edge("j.csv", "p", "j", "p")]),
        tmp_path / "out",
    )
    assert [kind.key for kind in graph.edge_types] == [("p", "k", "q"), ("p", "j", "p")]
    assert graph.edges(0)["edge_index"].tolist() == [[2, 0, 1], [0, 1, 1]]
    assert graph.edges(1)["edge_index"].tolist() == [[2, 0, 1], [0, 1, 2]]
    assert result["edges"] == {"p-k-q": 3, "p-j-p": 3}


def test_several_files_make_one_type(tmp_path: Path) -> None:
    files = {**NODES, "k1.csv": "~from,~to\na,b\nb,x\n", "k2.csv": "~from,~to\nc,x\n"}
    edges = [edge("k1.csv", "p", "k", "q"), edge("k2.csv", "p", "k", "q")]
    graph, _ = process(write(tmp_path / "in", files, TYPES, edges), tmp_path / "out")
    assert len(graph.edge_types) == 1
    assert graph.edges(0)["edge_index"].tolist() == [[0, 1, 2], [0, 1, 1]]


def test_relations_from_a_column(tmp_path: Path) -> None:
    files = {**NODES, "k.csv": "~from,~to,how\na,b,likes\nb,x,hates\nc,x,likes\na,x,likes\n"}
    graph, _ = process(write(tmp_path / "in", files, TYPES, [related("k.csv", "how", "rel")]), tmp_path / "out")
    assert [kind.relation for kind in graph.edge_types] == ["rel-likes", "rel-hates"]
    assert graph.edges(0)["edge_index"].tolist() == [[0, 2, 0], [0, 1, 1]]
    assert graph.edges(1)["edge_index"].tolist() == [[1], [1]]


def test_features_of_edges(tmp_path: Path) -> None:
    files = {**NODES, "k.csv": "~from,~to,how,weight,kind\na,b,l,1,u\nb,x,h,5,v\nc,x,l,3,v\na,x,l,2,v\n"}
    edges = [{**related("k.csv", "how", ""), "features": [feature("weight", "numerical"), feature("kind", "category")]}]
    graph, _ = process(write(tmp_path / "in", files, TYPES, edges), tmp_path / "out")
    assert [kind.relation for kind in graph.edge_types] == ["l", "h"]
    assert graph.edges(0)["features"].tolist() == [[0, 1, 0], [1, 0, 1], [0.5, 0, 1]]
    assert graph.edges(1)["features"].tolist() == [[0, 1]]
    assert [f.dim for f in graph.edge_types[0].features] == [1, 2]


def test_a_bad_cell_of_a_relation_is_found_in_the_file(tmp_path: Path) -> None:
    files = {**NODES, "k.csv": "~from,~to,how,weight\na,b,l,1\nb,x,h,5\nc,x,l,3\na,x,h,heavy\n"}
    edges = [{**related("k.csv", "how", ""), "features": [feature("weight", "numerical")]}]
    with pytest.raises(InputError, match=r"k.csv, line 5, column 'weight': 'heavy' is not a number"):
        process(write(tmp_path / "in", files, TYPES, edges), tmp_path / "out")


def test_a_type_without_edges_is_kept_with_a_warning(tmp_path: Path) -> None:
    files = {**NODES, "k.csv": "~from,~to\na,b\nb,x\nc,x\n", "none.csv": "~from,~to\n"}
    edges = [edge("k.csv", "p", "k", "q"), edge("none.csv", "p", "none", "p")]
    graph, _ = process(write(tmp_path / "in", files, TYPES, edges), tmp_path / "out")
    assert graph.edges(1)["edge_index"].shape == (2, 0)
    assert graph.warnings == ("edges 'p-none-p': there are none",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '~id,~from,~to\n"1\n",a,b\n2,a,nobody\n',
            "k.csv, line 4, column '~to': 'nobody' is the id of no node of type 'q'",
        ),
        ("~id,~from,~to\n1,x,b\n", "k.csv, line 2, column '~from': 'x' is the id of no node of type 'p'"),
        ("~id,~from,~to\n1,a,b\n2,,b\n", "k.csv, line 3, column '~from': '' is empty, but an id is needed"),
        ("~id,~from,~to\n1,a\n", "k.csv, line 2: 2 columns where the header has 3: '1,a'"),
        ("~id,from,to\n1,a,b\n", "k.csv, line 1: no column '~from'; the header has '~id', 'from', 'to'"),
    ],
)
def test_bad_ends_are_told_with_file_line_column_and_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        process(
            write(tmp_path / "in", {**NODES, "k.csv": text}, TYPES, [edge("k.csv", "p", "k", "q")]), tmp_path / "out"
        )


def test_a_relation_may_not_be_empty_nor_of_endless_variety(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edges = [related("k.csv", "how", "rel")]
    with pytest.raises(InputError, match=r"k\.csv, line 3, column 'how': '' is empty"):
        process(
            write(tmp_path / "in", {**NODES, "k.csv": "~from,~to,how\na,b,l\nb,x,\n"}, TYPES, edges), tmp_path / "1"
        )
    monkeypatch.setattr(edges_module, "MAX_TYPES", 2)
    text = "~from,~to,how\na,b,1\nb,x,2\nb,b,3\n"
    with pytest.raises(InputError, match=r"graph\.edges\[0\]\.relation: gives more than 2 types of edges"):
        process(write(tmp_path / "in", {**NODES, "k.csv": text}, TYPES, edges), tmp_path / "2")
