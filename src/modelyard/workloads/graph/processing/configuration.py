"""Reads an exporter's description of a graph, `training-data-configuration.json`.

Source: Neptune User Guide, "The structure of JSON training data configuration files"; neptune-export's
`PropertyGraphTrainingDataConfigWriterV2`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.export import (
    EdgeFile,
    Export,
    FeatureSpec,
    LabelSpec,
    NodeFile,
    RdfTarget,
    StatementFile,
    plain_file,
)
from modelyard.workloads.graph.processing.feature_options import OPTIONS, read_options
from modelyard.workloads.graph.processing.values import (
    kind_of,
    read_numbers,
    read_one_of,
    read_pair,
    read_separator,
    read_text,
    read_texts,
)

CONFIGURATION = "training-data-configuration.json"
MAX_BYTES = 64 << 20
SPLITS = ("train", "valid", "test")


def read_export(folder: Path, name: str = CONFIGURATION) -> Export:
    """Reads and checks the configuration `name`; every file that it names must exist.

    Raises InputError, which names the place within the JSON.
    """
    document = load_document(folder, name)
    reader = Reader()
    graphs = graphs_of(document, reader)
    nodes = [reader.node_file(o, p) for g, at in graphs for o, p in reader.objects(g, "nodes", at)]
    edges = [reader.edge_file(o, p) for g, at in graphs for o, p in reader.objects(g, "edges", at)]
    statements = [reader.statement_file(o, p) for g, at in graphs for o, p in reader.objects(g, "rdfs", at)]
    for holder in (document, *(graph for graph, _ in graphs)):
        reader.warnings += [str(w)[:500] for w in holder.get("warnings") or ()]
    if statements and (nodes or edges):
        raise InputError(f"{name}, graph.rdfs: statements and files of nodes and edges cannot be mixed")
    if not nodes and not statements:
        raise InputError(f"{name}, graph.nodes: is empty, but every type of nodes needs a file that lists them")
    export = Export(folder, tuple(nodes), tuple(edges), tuple(dict.fromkeys(reader.warnings)), tuple(statements))
    check_types(export)
    for one in statements:
        export.path(one.file_name, f"{one.place}.file_name")
    files: list[NodeFile | EdgeFile] = [*nodes, *edges]
    for file in files:
        export.path(file.file_name, f"{file.place}.file_name")
        for label in file.labels:
            for split, split_file in label.split_files.items():
                export.path(split_file, f"{label.place}.custom_split_filenames.{split}")
    return export


def load_document(folder: Path, name: str) -> dict[str, Any]:
    """The configuration as JSON, whose file is not opened unless it is a plain one within the folder."""
    path = plain_file(folder, name, "configFileName")
    if path is None:
        raise InputError(f"the export has no configuration {name!r}; configFileName selects another one")
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{name} is larger than {MAX_BYTES >> 20} MB")
    try:
        document = json.loads(path.read_bytes().decode("utf-8-sig"))
        json.dumps(document, ensure_ascii=False).encode()  # half a surrogate pair can be no name of a file
    except ValueError as error:
        raise InputError(f"{name} is not JSON: {error}") from None
    except RecursionError:
        raise InputError(f"{name} is nested too deeply") from None
    if not isinstance(document, dict):
        raise InputError(f"{name} must be a JSON object, not {kind_of(document)}")
    return document


def graphs_of(document: dict[str, Any], reader: "Reader") -> list[tuple[dict[str, Any], str]]:
    """The graph object, or the objects of the array that the User Guide shows."""
    graph = document.get("graph")
    if isinstance(graph, dict):
        graphs = [(graph, "graph")]
    elif isinstance(graph, list) and all(isinstance(part, dict) for part in graph):
        graphs = [(part, f"graph[{index}]") for index, part in enumerate(graph)]
    else:
        raise InputError(f"graph: must be an object with nodes and edges, not {kind_of(graph)}")
    for part, place in graphs:
        if document.get("query_engine") == "sparql" and not part.get("rdfs"):
            raise InputError(f"{place}.rdfs: is empty, but an export of RDF needs a file of statements")
        if part.keys() & {"feat_type", "edge_spec_type", "label_type", "file_name"}:
            raise InputError(f"{place}: the v1.0 form is not served; export again with version v2.0")
        reader.warn_unknown(part, {"nodes", "edges", "rdfs", "warnings"}, place)
    return graphs


def check_types(export: Export) -> None:
    """Refuses edges of types of nodes that no file describes."""
    known = {file.node_type for file in export.nodes}
    for file in export.edges:
        for member, node_type in (("source", file.source), ("dest", file.dest)):
            if node_type not in known:
                raise InputError(
                    f"{file.place}.{member}: no file of nodes describes the type {node_type!r}; "
                    f"there are {', '.join(map(repr, sorted(known))) or 'none'}"
                )


class Reader:
    """Turns JSON into checked objects; what does no harm is collected in `warnings`."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn_unknown(self, value: Mapping[str, Any], known: set[str] | frozenset[str], place: str) -> None:
        """Tells of members that mean nothing."""
        self.warnings += [f"{place}.{key[:80]}: unknown, ignored" for key in value if key not in known]

    def objects(self, holder: Mapping[str, Any], key: str, place: str) -> Iterator[tuple[dict[str, Any], str]]:
        """The objects of a list, and the place of each; none where there is no list."""
        values = holder.get(key)
        if values is None:
            return
        if not isinstance(values, list):
            raise InputError(f"{place}.{key}: must be a list of objects, not {kind_of(values)}")
        for index, value in enumerate(values):
            if not isinstance(value, dict):
                raise InputError(f"{place}.{key}[{index}]: must be an object, not {kind_of(value)}")
            yield value, f"{place}.{key}[{index}]"

    def node_file(self, value: dict[str, Any], place: str) -> NodeFile:
        """A file of nodes, with its features and labels."""
        self.warn_unknown(value, {"file_name", "separator", "node", "features", "labels"}, place)
        id_column, node_type = read_pair(value, "node", place)
        return NodeFile(
            file_name=read_text(value.get("file_name"), f"{place}.file_name"),
            separator=read_separator(value.get("separator", ","), f"{place}.separator"),
            id_column=id_column,
            node_type=read_text(node_type, f"{place}.node[1]"),
            features=self.features(value, place),
            labels=tuple(self.label(o, p, edges=False) for o, p in self.objects(value, "labels", place)),
            place=place,
        )

    def edge_file(self, value: dict[str, Any], place: str) -> EdgeFile:
        """A file of edges, with its features and labels."""
        self.warn_unknown(value, {"file_name", "separator", "source", "relation", "dest", "features", "labels"}, place)
        source_column, source = read_pair(value, "source", place)
        relation_column, relation = read_pair(value, "relation", place)
        dest_column, dest = read_pair(value, "dest", place)
        if not relation_column and not relation:
            raise InputError(f"{place}.relation: names neither a column nor a relation")
        return EdgeFile(
            file_name=read_text(value.get("file_name"), f"{place}.file_name"),
            separator=read_separator(value.get("separator", ","), f"{place}.separator"),
            source_column=source_column,
            source=source,
            relation_column=relation_column,
            relation=relation,
            dest_column=dest_column,
            dest=dest,
            features=self.features(value, place),
            labels=tuple(self.label(o, p, edges=True) for o, p in self.objects(value, "labels", place)),
            place=place,
        )

    def statement_file(self, value: dict[str, Any], place: str) -> StatementFile:
        """A file of RDF, and what is to be learned."""
        self.warn_unknown(value, {"file_name", "label"}, place)
        label, targets = value.get("label") or {}, []
        if not isinstance(label, dict):
            raise InputError(f"{place}.label: must be an object, not {kind_of(label)}")
        self.warn_unknown(label, {"task_type", "targets"}, f"{place}.label")
        if label:
            tasks = ("classification", "regression", "link_prediction")
            task = read_one_of(
                read_text(label.get("task_type"), f"{place}.label.task_type"), tasks, f"{place}.label.task_type"
            )
            targets = [self.target(o, task, p) for o, p in self.objects(label, "targets", f"{place}.label")]
        return StatementFile(read_text(value.get("file_name"), f"{place}.file_name"), tuple(targets), place)

    def target(self, value: dict[str, Any], task: str, place: str) -> RdfTarget:
        """What is to be learned of statements."""
        links = task == "link_prediction"
        members = ("subject", "predicate", "object") if links else ("node", "predicate")
        self.warn_unknown(value, {*members, "split_rate"}, place)
        given = {
            name: read_text(value[name], f"{place}.{name}") for name in members if value.get(name) not in (None, "")
        }
        if not links and "node" not in given:
            raise InputError(f"{place}.node: must name the class whose nodes have what is learned")
        default, rate = (0.9, 0.05, 0.05) if links else (0.9, 0.1, 0.0), value.get("split_rate")
        return RdfTarget(task, default if rate is None else _rate(rate, f"{place}.split_rate"), **given, place=place)

    def features(self, holder: dict[str, Any], place: str) -> tuple[FeatureSpec, ...]:
        """The features of a file, whose names differ."""
        specs = tuple(self.feature(o, p) for o, p in self.objects(holder, "features", place))
        names = [spec.name for spec in specs]
        for spec in specs:
            if names.count(spec.name) > 1:
                raise InputError(f"{spec.place}: another feature is also named {spec.name!r}")
        return specs

    def feature(self, value: dict[str, Any], place: str) -> FeatureSpec:
        """A feature."""
        column, name, kind = read_texts(value.get("feature"), 3, f"{place}.feature")
        if kind not in OPTIONS:
            raise InputError(f"{place}.feature: unknown type {kind!r}; there are {', '.join(OPTIONS)}")
        given = {("imputer" if key == "imputation" else key): v for key, v in value.items() if key != "feature"}
        self.warn_unknown(given, OPTIONS[kind], place)
        return FeatureSpec(column, name or column, kind, read_options(kind, given, place), place)

    def label(self, value: dict[str, Any], place: str, edges: bool) -> LabelSpec:
        """What is to be learned of a file's rows; links of `edges` only."""
        self.warn_unknown(value, {"label", "split_rate", "custom_split_filenames", "separator"}, place)
        column, task = read_texts(value.get("label"), 2, f"{place}.label")
        served = ("classification", "regression", *(("link_prediction",) if edges else ()))
        if task not in served:
            raise InputError(f"{place}.label: unknown task {task!r}; there is {', '.join(served)}")
        if task != "link_prediction" and not column:
            raise InputError(f"{place}.label[0]: must name the column of the label")
        rate, files = value.get("split_rate"), value.get("custom_split_filenames")
        if rate is not None and files:
            raise InputError(f"{place}: split_rate and custom_split_filenames exclude each other")
        default = (0.9, 0.05, 0.05) if task == "link_prediction" else (0.9, 0.1, 0.0)
        separator = value.get("separator")
        return LabelSpec(
            column=column,
            task=task,
            separator=read_text(separator, f"{place}.separator") if separator not in (None, "") else None,
            split_rate=default if rate is None else _rate(rate, f"{place}.split_rate"),
            split_files=_split_files(files, f"{place}.custom_split_filenames") if files else {},
            place=place,
        )


def _split_files(value: Any, place: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise InputError(f"{place}: must be an object of file names, not {kind_of(value)}")
    files = {}
    for key, name in value.items():
        split = "valid" if key == "validation" else key
        if split not in SPLITS or split in files:
            raise InputError(f"{place}.{key}: expected train, valid (or validation) and test, each once")
        if name not in (None, ""):
            files[split] = read_text(name, f"{place}.{key}")
    if "train" not in files or "valid" not in files:
        raise InputError(f"{place}: needs a file for train and one for valid")
    return files


def _rate(value: Any, place: str) -> tuple[float, float, float]:
    numbers = read_numbers(value, 3, place)
    if min(numbers) < 0 or abs(sum(numbers) - 1) > 1e-3 or numbers[0] == 0:
        raise InputError(f"{place}: {value} must be three parts that sum to 1, for train, validation and test")
    train, valid, test = (number / sum(numbers) for number in numbers)
    return train, valid, test
