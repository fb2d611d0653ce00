import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.workloads.graph.exports import edge, feature, node, write

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.configuration import read_export
from modelyard.workloads.graph.processing.export import FeatureSpec

FILES = {"nodes/p.csv": "~id,~label,age\np1,p,3\n", "edges/k.csv": "~id,~from,~to\ne,p1,p1\n", "s.csv": "~id\np1\n"}
NODE = node("nodes/p.csv", "p")
EDGE = edge("edges/k.csv", "p", "knows", "p")
LABEL = {"label": ["age", "classification"]}


def test_the_exporters_object_and_the_guides_array_mean_the_same(tmp_path: Path) -> None:
    parts = {"nodes": [NODE], "edges": [EDGE], "warnings": [{"text": "odd"}]}
    one = read_export(write(tmp_path / "a", FILES, [NODE], [EDGE], warnings=["old"]))
    other = read_export(write(tmp_path / "b", FILES, graph=[parts]))
    assert (one.nodes, one.edges[0].relation, one.warnings) == (one.nodes, "knows", ("old",))
    assert other.nodes[0].node_type == "p"
    assert other.nodes[0].place == "graph[0].nodes[0]"
    assert other.warnings == ("{'text': 'odd'}",)


def test_another_configuration_may_be_named(tmp_path: Path) -> None:
    write(tmp_path, FILES, [NODE])
    (tmp_path / "training-data-configuration.json").rename(tmp_path / "second.json")
    assert read_export(tmp_path, "second.json").nodes[0].node_type == "p"
    with pytest.raises(InputError, match=r"the export has no configuration 'training-data-configuration.json'"):
        read_export(tmp_path)


def test_split_rates_may_miss_one_by_a_rounding_error(tmp_path: Path) -> None:
    for rate in ([0.7, 0.2, 0.1], [0.9, 0.05, 0.05], [0.333, 0.333, 0.334]):
        label = {**LABEL, "split_rate": rate}
        export = read_export(write(tmp_path, FILES, [node("nodes/p.csv", "p", labels=[label])]))
        assert sum(export.nodes[0].labels[0].split_rate) == pytest.approx(1, abs=1e-12)


def test_defaults_of_the_split(tmp_path: Path) -> None:
    label = {"label": ["", "link_prediction"]}
    nodes = [node("nodes/p.csv", "p", labels=[LABEL])]
    export = read_export(write(tmp_path, FILES, nodes, [edge("edges/k.csv", "p", "knows", "p", labels=[label])]))
    assert export.nodes[0].labels[0].split_rate == (0.9, 0.1, 0.0)
    assert export.edges[0].labels[0].split_rate == (0.9, 0.05, 0.05)


def test_valid_and_validation_are_one_split(tmp_path: Path) -> None:
    for name in ("valid", "validation"):
        label = {**LABEL, "custom_split_filenames": {"train": "s.csv", name: "s.csv"}}
        export = read_export(write(tmp_path, FILES, [node("nodes/p.csv", "p", labels=[label])]))
        assert export.nodes[0].labels[0].split_files == {"train": "s.csv", "valid": "s.csv"}


@pytest.mark.parametrize("key", ["imputer", "imputation"])
@pytest.mark.parametrize("value", ["most_frequent", "most-frequent"])
def test_both_spellings_of_imputers(tmp_path: Path, key: str, value: str) -> None:
    spec = feature("age", "numerical", **{key: value}, norm="standard")
    export = read_export(write(tmp_path, FILES, [node("nodes/p.csv", "p", [spec])]))
    assert export.nodes[0].features == (
        FeatureSpec("age", "age", "numerical", {"imputer": "most-frequent", "norm": "standard"}),
    )


def test_unknown_members_are_ignored_with_a_warning_that_names_them(tmp_path: Path) -> None:
    nodes = [{**node("nodes/p.csv", "p", [feature("age", "numerical", nrom="none")]), "colour": 1}]
    assert read_export(write(tmp_path, FILES, nodes)).warnings == (
        "graph.nodes[0].colour: unknown, ignored",
        "graph.nodes[0].features[0].nrom: unknown, ignored",
    )


def labelled(**members: Any) -> dict[str, Any]:
    return {"nodes": [node("nodes/p.csv", "p", labels=[{**LABEL, **members}])]}


def featured(kind: str, **options: Any) -> dict[str, Any]:
    return {"nodes": [node("nodes/p.csv", "p", [feature("age", kind, **options)])]}


@pytest.mark.parametrize(
    ("graph", "message"),
    [
        (None, "graph: must be an object with nodes and edges, not nothing"),
        ({"nodes": []}, "graph.nodes: is empty, but every type of nodes needs a file"),
        ({"nodes": {}}, "graph.nodes: must be a list of objects, not an object"),
        ({"nodes": ["x"]}, "graph.nodes[0]: must be an object, not a string"),
        ({"rdfs": {}}, "graph.rdfs: must be a list of objects, not an object"),
        ({"nodes": [NODE], "rdfs": [{"file_name": "nodes/p.csv"}]}, "graph.rdfs: statements and files of nodes and"),
        ({"rdfs": [{"file_name": "../a.nt"}]}, "graph.rdfs[0].file_name: '../a.nt' is not a path within"),
        ({"rdfs": [{"file_name": "a.nt", "label": []}]}, "graph.rdfs[0].file_name: the export has no file 'a.nt'"),
        ({"rdfs": [{"file_name": "a.nt", "label": {"targets": []}}]}, "graph.rdfs[0].label.task_type: must be a str"),
        ([{"feat_type": "node"}], "graph[0]: the v1.0 form is not served; export again with version v2.0"),
        ({"nodes": [{**NODE, "file_name": "nodes/no.csv"}]}, "graph.nodes[0].file_name: the export has no file"),
        ({"nodes": [{**NODE, "file_name": 7}]}, "graph.nodes[0].file_name: must be a string"),
        ({"nodes": [{**NODE, "file_name": "x" * 300}]}, "cannot be read: File name too long"),
        ({"nodes": [{**NODE, "node": ["~id"]}]}, 'graph.nodes[0].node: must be a list of 2 strings, not ["~id"]'),
        ({"nodes": [{**NODE, "separator": "ab"}]}, "graph.nodes[0].separator: must be one ASCII character"),
        ({"nodes": [{**NODE, "separator": '"'}]}, "graph.nodes[0].separator: must be one ASCII character"),
        (
            {"nodes": [NODE], "edges": [edge("edges/k.csv", "p", "knows", "q")]},
            "graph.edges[0].dest: no file of nodes describes the type 'q'; there are 'p'",
        ),
        (
            {"nodes": [NODE], "edges": [edge("edges/k.csv", "p", "", "p")]},
            "graph.edges[0].relation: names neither a column nor a relation",
        ),
        (featured("embedding"), "graph.nodes[0].features[0].feature: unknown type 'embedding'; there are category,"),
        (featured("text_fasttext"), "features[0].language: must be a string that is not empty"),
        (featured("text_fasttext", language="de"), "features[0].language: unknown value 'de'; there are en, zh, hi"),
        (featured("word2vec", language=["a", "b"]), "features[0].language: must be a string that is not empty"),
        (featured("numerical", norm="z"), "features[0].norm: unknown value 'z'; there are none, min-max, standard"),
        (featured("numerical", imputer="x"), "features[0].imputer: unknown value 'x'; there are mean, median"),
        (featured("bucket_numerical", bucket_cnt=3), "graph.nodes[0].features[0]: bucket_numerical needs range"),
        (featured("bucket_numerical", range=[0, 1]), "graph.nodes[0].features[0]: bucket_numerical needs bucket_cnt"),
        (featured("bucket_numerical", range=[1, 1], bucket_cnt=3), "features[0].range: [1, 1] must rise"),
        (featured("bucket_numerical", range=[0, 1], bucket_cnt=0), "features[0].bucket_cnt: 0 must be a whole number"),
        (featured("bucket_numerical", range=[0, "a"], bucket_cnt=2), 'range: must be a finite number, not "a"'),
        (
            featured("bucket_numerical", range=[0, 1], bucket_cnt=2, slide_window_size=-1),
            "slide_window_size: -1 must not be negative",
        ),
        (featured("datetime", datetime_parts=["day"]), "datetime_parts: unknown value 'day'; there are year, month"),
        (featured("datetime", datetime_parts="year"), "datetime_parts: must be a list of year, month, weekday, hour"),
        (featured("text_tfidf", ngram_range=[2, 1]), "ngram_range: [2, 1] must be two whole numbers that rise"),
        (featured("text_tfidf", min_df=1.5), "min_df: 1.5 must be a whole number, or a share"),
        (featured("text_tfidf", max_features=10**9), "max_features: 1000000000 must be a whole number from 1 to"),
        (
            {"nodes": [node("nodes/p.csv", "p", [feature("age", "none"), feature("age", "category")])]},
            "graph.nodes[0].features[0]: another feature is also named 'age'",
        ),
        (labelled(label=["age", "ranking"]), "labels[0].label: unknown task 'ranking'; there is classification"),
        (labelled(label=["", "classification"]), "labels[0].label[0]: must name the column of the label"),
        (labelled(split_rate=[0.9, 0.2, 0.1]), "labels[0].split_rate: [0.9, 0.2, 0.1] must be three parts that sum"),
        (labelled(split_rate=[0, 1, 0]), "labels[0].split_rate: [0, 1, 0] must be three parts"),
        (labelled(split_rate=[1, 0]), "labels[0].split_rate: must be a list of 3 numbers"),
        (
            labelled(split_rate=[1, 0, 0], custom_split_filenames={"train": "s.csv", "valid": "s.csv"}),
            "labels[0]: split_rate and custom_split_filenames exclude each other",
        ),
        (labelled(custom_split_filenames={"train": "s.csv"}), "needs a file for train and one for valid"),
        (labelled(custom_split_filenames={"dev": "s.csv"}), "custom_split_filenames.dev: expected train, valid"),
        (
            labelled(custom_split_filenames={"train": "s.csv", "valid": "no.csv"}),
            "graph.nodes[0].labels[0].custom_split_filenames.valid: the export has no file 'no.csv'",
        ),
        (
            {"nodes": [NODE], "edges": [{**EDGE, "labels": [{"label": ["w", "ranking"]}]}]},
            "labels[0].label: unknown task 'ranking'; there is classification, regression, link_prediction",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_place_in_the_configuration(tmp_path: Path, graph: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        read_export(write(tmp_path, FILES, graph=graph))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "training-data-configuration.json is not JSON"),
        (b"[]", "training-data-configuration.json must be a JSON object, not a list"),
        (b"\xff\xfe{}", "is not JSON"),
        (b"[" * 100_000, "is nested too deeply"),
        (b'{"graph": "\\ud800"}', "is not JSON"),
    ],
)
def test_a_configuration_that_is_no_object(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "training-data-configuration.json").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_export(tmp_path)


def test_a_sparql_export_needs_statements(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an export of RDF needs a file of statements"):
        read_export(write(tmp_path, FILES, [NODE], query_engine="sparql"))


def test_messages_of_odd_values_stay_short(tmp_path: Path) -> None:
    graph = json.loads(json.dumps({"nodes": [{**NODE, "node": ["x" * 5000]}]}))
    with pytest.raises(InputError) as error:
        read_export(write(tmp_path, FILES, graph=graph))
    assert len(str(error.value)) < 300
