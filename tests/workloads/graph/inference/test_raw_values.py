from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.encoder_folders import write_vectors
from tests.workloads.graph.exports import edge, feature, node, process, write

from modelyard.text_models import TextFolder
from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.inference.additions import BadRequest
from modelyard.workloads.graph.inference.raw_values import RawValues
from modelyard.workloads.graph.processing import text, word_index

_PEOPLE = """~id,age,town,seen,vector,words,text
a,10,x,2024-01-01,1;2,red;blue,cat
b,20,y,2024-02-01,3;4,red,mat
c,30,x,2024-03-01,5;6,,cat mat
"""


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    features = [
        {"feature": ["age", "years", "numerical"], "norm": "min-max", "imputer": "mean"},
        feature("town", "category"),
        feature("seen", "datetime", datetime_parts=["month"]),
        feature("vector", "numerical", separator=";", norm="none"),
        feature("words", "category", separator=";"),
        feature("text", "text_word2vec"),
    ]
    files = {"p.csv": _PEOPLE, "k.csv": "~from,~to\n" + "a,b\nb,c\nc,a\n" * 5}
    export = write(tmp_path / "in", files, [node("p.csv", "p", features)], [edge("k.csv", "p", "k", "p")])
    models = {"text_word2vec": str(write_vectors(tmp_path / "vectors", {"cat": [1, 0], "mat": [0, 2]}))}
    made, _ = process(export, tmp_path / "out", text_models=models)
    return made


def _encoded(graph: Graph, place: int, values: dict[str, Any], **models: Path) -> list[float]:
    values_of = RawValues(graph.folder, [TextFolder(id, path) for id, path in models.items()])
    matrix = values_of.encode("p", graph.node_types[0].features[place], [values], lambda _: "node 'new'")
    row: list[float] = np.asarray(matrix)[0].tolist()
    return row


@pytest.mark.parametrize("row", [0, 1, 2])
def test_values_are_encoded_as_processing_encoded_them(graph: Graph, tmp_path: Path, row: int) -> None:
    age, town, seen, vector, words, text = _PEOPLE.splitlines()[row + 1].split(",")[1:]
    given = {
        "years": int(age),
        "town": town,
        "seen": seen,
        "vector": [float(one) for one in vector.split(";")],
        "words": words.split(";"),
        "text": text,
    }
    for place in range(6):
        found = _encoded(graph, place, given, text_word2vec=tmp_path / "vectors")
        assert found == pytest.approx(graph.features(0)[str(place)][row].tolist())


def test_a_column_names_its_feature_and_what_is_missing_is_as_in_an_empty_cell(graph: Graph) -> None:
    assert _encoded(graph, 0, {"age": "30"}) == [1]
    assert _encoded(graph, 0, {}) == [0.5]
    assert not any(_encoded(graph, 1, {"town": None}))
    assert not any(_encoded(graph, 5, {"text": ""}))


@pytest.mark.parametrize(
    ("place", "given", "said"),
    [
        (0, {"years": "old"}, "node 'new': the feature 'years' is not a number"),
        (0, {"years": {"now": 3}}, "node 'new': {'now': 3} is no value of a feature"),
        (2, {"seen": "soon"}, "node 'new': the feature 'seen' is not a date"),
        (3, {"vector": [1, 2, 3]}, "node 'new': the feature 'vector' has 3 values where the others have 2"),
        (3, {}, "node 'new': the feature 'vector' has no value"),
        (5, {"text": "cat"}, "none is registered"),
    ],
)
def test_what_cannot_be_encoded_is_named(graph: Graph, place: int, given: dict[str, Any], said: str) -> None:
    with pytest.raises(BadRequest) as refused:
        _encoded(graph, place, given)
    assert said in str(refused.value)


def test_a_table_of_words_is_gone_through_for_the_first_request_only(
    graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = RawValues(graph.folder, [TextFolder("text_word2vec", tmp_path / "vectors")])
    feature = graph.node_types[0].features[5]
    assert np.asarray(values.encode("p", feature, [{"text": "cat"}], str)).tolist() == [[1, 0]]
    monkeypatch.setattr(word_index, "_ENTRIES", {})
    monkeypatch.setattr(text, "digest", None)
    assert np.asarray(values.encode("p", feature, [{"text": "mat"}], str)).tolist() == [[0, 2]]


def test_properties_without_a_feature_are_named(graph: Graph) -> None:
    values = RawValues(graph.folder)
    values.check("p", {"years": 1, "age": 1, "town": "x"}, "node 'new'")
    with pytest.raises(BadRequest, match="node 'new' has no feature 'height'; there are: 'years', 'town'"):
        values.check("p", {"height": 2}, "node 'new'")
