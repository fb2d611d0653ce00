import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.workloads.graph.exports import edge, feature, node, process, write

from modelyard.runner.context import InputError

EDGE = edge("k.csv", "p", "knows", "p")
EDGES = "~id,~label,~from,~to,~fromLabels,~toLabels\n" + "".join(f"e{n},k,a,{t},p,p\n" for n, t in enumerate("bca"))


def ids(graph: Any, number: int = 0) -> list[str]:
    return pl.read_parquet(graph.ids_path(number))["id"].to_list()


def test_several_files_make_one_type(tmp_path: Path) -> None:
    files = {"p1.csv": "~id,~label,age\na,p,1\nb,p,3\n", "p2.csv": "age,~id,~odd\n2,c,x\n", "k.csv": EDGES}
    age = feature("age", "numerical", norm="min-max")
    graph, result = process(
        write(tmp_path / "in", files, [node("p1.csv", "p", [age]), node("p2.csv", "p", [age])], [EDGE]),
        tmp_path / "out",
    )
    assert result["nodes"] == {"p": 3}
    assert ids(graph) == ["a", "b", "c"]
    assert graph.features(0)["0"].tolist() == [[0], [1], [0.5]]


def test_two_objects_for_one_file_are_read_once(tmp_path: Path) -> None:
    files = {"p.csv": "~id,age,size\na,1,5\nb,3,6\nc,2,7\n", "k.csv": EDGES}
    nodes = [
        node("p.csv", "p", [feature("age", "numerical")]),
        node("p.csv", "p", [feature("size", "numerical", norm="none")]),
    ]
    graph, _ = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    assert graph.node_types[0].num_nodes == 3
    assert [f.name for f in graph.node_types[0].features] == ["age", "size"]
    assert graph.warnings == ()


def test_a_file_that_lacks_a_feature_has_missing_values(tmp_path: Path) -> None:
    files = {"p1.csv": "~id,age\na,1\nb,3\n", "p2.csv": "~id\nc\n", "k.csv": EDGES}
    nodes = [node("p1.csv", "p", [feature("age", "numerical", imputer="mean")]), node("p2.csv", "p")]
    graph, _ = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    assert graph.features(0)["0"].tolist() == [[0], [1], [0.5]]
    nodes[0]["features"][0].pop("imputer")
    with pytest.raises(InputError, match=r"p2\.csv: lacks the feature 'age', which .* describes for other files"):
        process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "other")


def test_the_first_row_of_an_id_counts(tmp_path: Path) -> None:
    files = {"p.csv": "~id,age\na,0\nb,8\na,9\nc,4\na,7\n", "k.csv": EDGES}
    nodes = [node("p.csv", "p", [feature("age", "numerical", norm="none")])]
    graph, _ = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    assert ids(graph) == ["a", "b", "c"]
    assert graph.features(0)["0"][:, 0].tolist() == [0, 8, 4]
    assert graph.warnings == ("nodes 'p': 2 rows repeat an id; the first row of an id counts",)


def test_names_of_features_and_types_may_hold_anything(tmp_path: Path) -> None:
    name = "../../x\n\u202e;DROP TABLE"
    files = {"p.csv": f'~id,"{name}"\na,1\nb,2\nc,3\n', "k.csv": EDGES}
    graph, _ = process(
        write(
            tmp_path / "in", files, [node("p.csv", name, [feature(name, "numerical")])], [edge("k.csv", *[name] * 3)]
        ),
        tmp_path / "out",
    )
    assert graph.node_types[0].name == graph.node_types[0].features[0].name == name
    assert sorted(p.name for p in (tmp_path / "out" / "nodes" / "0").iterdir()) == [
        "features.safetensors",
        "ids.parquet",
    ]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "out"]


def test_a_type_with_an_empty_file_has_no_nodes(tmp_path: Path) -> None:
    files = {"p.csv": "~id,age\na,1\nb,2\nc,3\n", "q.csv": "~id,age\n", "k.csv": EDGES}
    nodes = [node("p.csv", "p"), node("q.csv", "q", [feature("age", "numerical")])]
    graph, result = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    assert result["nodes"] == {"p": 3, "q": 0}
    assert graph.warnings == ("nodes 'q': the feature 'age' has no values; it is left out",)
    assert graph.features(1) == {}


def test_sparse_and_dense_features_lie_side_by_side(tmp_path: Path) -> None:
    rows = "".join(f"n{n},{n},{';'.join('1' if n == c else '0' for c in range(40))}\n" for n in range(40))
    files = {"p.csv": "~id,age,words\n" + rows, "k.csv": "~id,~from,~to\n1,n0,n1\n2,n1,n2\n3,n2,n3\n"}
    nodes = [
        node("p.csv", "p", [feature("age", "numerical"), feature("words", "numerical", norm="none", separator=";")])
    ]
    graph, _ = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    arrays = graph.features(0)
    assert {key: (array.dtype.name, array.shape) for key, array in arrays.items()} == {
        "0": ("float32", (40, 1)),
        "1.indptr": ("int64", (41,)),
        "1.indices": ("int32", (40,)),
        "1.values": ("float32", (40,)),
    }
    assert [(f.name, f.dim, f.sparse) for f in graph.node_types[0].features] == [("age", 1, False), ("words", 40, True)]
    assert np.array_equal(arrays["1.indices"], np.arange(40))


@pytest.mark.parametrize(
    ("rows", "features", "message"),
    [
        ("a,1\n,2\n", [], "p.csv, line 3, column '~id': '' is empty, but an id is needed"),
        ('a,1\n\n"b\nb",x\n', [feature("age", "numerical")], "p.csv, line 4, column 'age': 'x' is not a number"),
        (
            "a,1\nb,\n",
            [feature("age", "numerical")],
            "p.csv, line 3, column 'age': '' has no value, and the feature has",
        ),
        ("a,2001\nb,x\n", [feature("age", "datetime")], "p.csv, line 3, column 'age': 'x' is not a date"),
        ("a,1\n", [feature("size", "category")], "p.csv, line 1: no column 'size'; the header has '~id', 'age'"),
    ],
)
def test_bad_cells_are_told_with_file_line_column_and_value(
    tmp_path: Path, rows: str, features: list[Any], message: str
) -> None:
    files = {"p.csv": "~id,age\n" + rows, "k.csv": EDGES}
    with pytest.raises(InputError, match=re.escape(message)):
        process(write(tmp_path / "in", files, [node("p.csv", "p", features)], [EDGE]), tmp_path / "out")


def test_two_objects_may_not_disagree_about_a_feature(tmp_path: Path) -> None:
    files = {"p.csv": "~id,age\na,1\n", "q.csv": "~id,age\nb,1\n", "k.csv": EDGES}
    nodes = [node("p.csv", "p", [feature("age", "numerical")]), node("q.csv", "p", [feature("age", "category")])]
    message = (
        r"graph\.nodes\[1\]\.features\[0\]: describes the feature 'age' otherwise than graph\.nodes\[0\]\.features"
    )
    with pytest.raises(InputError, match=message):
        process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")


def test_features_of_type_none_are_left_out(tmp_path: Path) -> None:
    files = {"p.csv": "~id,age\na,x\nb,\nc,y\n", "k.csv": EDGES}
    graph, _ = process(
        write(tmp_path / "in", files, [node("p.csv", "p", [feature("age", "none")])], [EDGE]), tmp_path / "out"
    )
    assert graph.node_types[0].features == ()


def test_auto_says_what_it_chose_for_text(tmp_path: Path) -> None:
    files = {"p.csv": "~id,bio,key\na,cats and dogs,1x\nb,dogs and cats,2x\nc,cats are fine,3x\n", "k.csv": EDGES}
    nodes = [node("p.csv", "p", [feature("bio", "auto"), feature("key", "auto")])]
    graph, _ = process(write(tmp_path / "in", files, nodes, [EDGE]), tmp_path / "out")
    assert [(f.name, f.type) for f in graph.node_types[0].features] == [("bio", "text_tfidf")]
    assert graph.warnings == (
        "nodes 'p': auto encodes the text 'bio' by text_tfidf: no model of text is registered",
        "nodes 'p': the feature 'key' has another value in every row, as an id has; it is left out",
    )
