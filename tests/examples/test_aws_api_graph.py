import csv
import json
from collections import Counter
from pathlib import Path

import aws_api_graph
import pytest

Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    aws_api_graph.write_graph(folder)
    return folder


@pytest.fixture(scope="module")
def configuration(export: Path) -> dict:
    return json.loads((export / "training-data-configuration.json").read_text())


def rows(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def nodes(export: Path, label: str) -> Rows:
    return rows(export / aws_api_graph.node_file(label))


def test_every_file_is_configured_and_every_configured_column_exists(export: Path, configuration: dict) -> None:
    graph = configuration["graph"]
    described = {entry["file_name"] for entry in graph["nodes"] + graph["edges"]}
    assert described == {str(p.relative_to(export)) for p in export.glob("*s/*.csv")}
    for entry in graph["nodes"]:
        columns = rows(export / entry["file_name"])[0]
        assert {feature["feature"][0] for feature in entry["features"]} <= columns.keys()
    for entry in graph["edges"]:
        header = (export / entry["file_name"]).read_text().splitlines()[0]
        assert header == "~id,~label,~from,~to,~fromLabels,~toLabels"


def test_ids_are_unique_and_every_edge_joins_nodes_of_the_types_it_names(export: Path, configuration: dict) -> None:
    ids = {label: [row["~id"] for row in nodes(export, label)] for label in aws_api_graph.NODE_COLUMNS}
    everything = [id for of_label in ids.values() for id in of_label]
    assert len(everything) == len(set(everything))
    known = {label: set(of_label) for label, of_label in ids.items()}
    for entry in configuration["graph"]["edges"]:
        edges = rows(export / entry["file_name"])
        assert edges
        assert {edge["~from"] for edge in edges} <= known[entry["source"][1]]
        assert {edge["~to"] for edge in edges} <= known[entry["dest"][1]]
        assert {edge["~label"] for edge in edges} == {entry["relation"][1]}


def test_labels_are_what_the_paginator_files_say(export: Path) -> None:
    labels = {row["~id"]: row["paginated"] for row in nodes(export, "operation")}
    assert labels["ec2:DescribeInstances"] == "true"
    assert labels["s3:ListObjectsV2"] == "true"
    assert labels["s3:ListBuckets"] == "true"
    assert labels["s3:PutObject"] == "false"
    assert Counter(labels.values())["true"] > 3000


def test_whole_services_are_held_out_and_only_labelled_operations(export: Path) -> None:
    splits = {split: {row["~id"] for row in rows(export / f"{split}.csv")} for split in aws_api_graph.SPLITS}
    services = {split: {aws_api_graph.service_of(id) for id in ids} for split, ids in splits.items()}
    assert not services["train"] & services["valid"]
    assert not services["train"] & services["test"]
    assert not services["valid"] & services["test"]
    labelled = {row["~id"] for row in nodes(export, "operation") if row["paginated"]}
    assert set.union(*splits.values()) == labelled
    assert min(len(ids) for ids in splits.values()) > 1000


def test_services_that_are_near_copies_are_on_the_same_side(export: Path) -> None:
    sides = {
        aws_api_graph.service_of(row["~id"]): split
        for split in aws_api_graph.SPLITS
        for row in rows(export / f"{split}.csv")
    }
    assert sides["rds"] == sides["docdb"] == sides["neptune"]


def test_no_name_and_no_label_is_a_feature(configuration: dict) -> None:
    features = {
        (entry["node"][1], feature["feature"][0])
        for entry in configuration["graph"]["nodes"]
        for feature in entry["features"]
    }
    assert not features & {("operation", "name"), ("operation", "paginated"), ("operation", "~id")}
    assert {column for _, column in features} == {
        "protocol", "http_method", "kind", "traits", "members", "status", "fault",
    }  # fmt: skip


def test_features_take_few_values_so_that_none_can_stand_for_a_name(export: Path, configuration: dict) -> None:
    for entry in configuration["graph"]["nodes"]:
        of_label = nodes(export, entry["node"][1])
        for feature in entry["features"]:
            column, _, kind = feature["feature"]
            if kind == "category":
                assert len({part for row in of_label for part in row[column].split(";")}) < 50


@pytest.mark.slow
def test_the_same_botocore_gives_the_same_bytes(export: Path, tmp_path: Path) -> None:
    aws_api_graph.write_graph(tmp_path)
    files = sorted(path.relative_to(export) for path in export.rglob("*.*"))
    assert files == sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.*"))
    for file in files:
        assert (export / file).read_bytes() == (tmp_path / file).read_bytes()


def test_every_service_is_in_the_test_of_exactly_one_fifth() -> None:
    for metadata in ({"signingName": "ec2"}, {"endpointPrefix": "s3"}, {"signingName": "a", "endpointPrefix": "b"}):
        sides = [aws_api_graph.split_of(metadata, held_out) for held_out in range(5)]
        assert Counter(sides) == {"test": 1, "valid": 1, "train": 3}


def test_recursive_shapes_end_and_unused_ones_stay_out() -> None:
    shape = {"type": "structure", "members": {"Next": {"shape": "Link"}, "Id": {"shape": "Id"}}, "required": ["Id"]}
    assert list(aws_api_graph.held_by(shape)) == [("allows", "Link"), ("requires", "Id")]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ListDBInstances", "list db instances"),
        ("GetV2LoggingLevel", "get v 2 logging level"),
        ("DescribeEC2Fleet", "describe ec 2 fleet"),
    ],
)
def test_words_of_names(name: str, words: str) -> None:
    assert aws_api_graph.words(name) == words
