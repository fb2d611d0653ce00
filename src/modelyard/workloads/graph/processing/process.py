"""Data processing: from an exported property graph to the arrays that training, transform and serving read.

A run checks the configuration, reads nodes type by type and edges file by file, splits what is to be learned,
and writes. Rows become numbers piece by piece, so that memory holds a few bytes for each edge and never the
text of a whole file.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from modelyard.runner.context import Context, InputError, Stopped
from modelyard.text_models import given_folders
from modelyard.workloads.graph.data import (
    TEST,
    TRAIN,
    VALID,
    EdgeType,
    Feature,
    Graph,
    ModelType,
    NodeType,
    Task,
    feature_arrays,
    read_graph,
    write_graph,
)
from modelyard.workloads.graph.mapped import write_arrays
from modelyard.workloads.graph.models import registry
from modelyard.workloads.graph.pickled import Items, dump
from modelyard.workloads.graph.processing.configuration import CONFIGURATION, read_export
from modelyard.workloads.graph.processing.edge_labels import read_edge_labels
from modelyard.workloads.graph.processing.edges import EdgeReader, Edges
from modelyard.workloads.graph.processing.encoders import dense
from modelyard.workloads.graph.processing.encodings import Encodings
from modelyard.workloads.graph.processing.export import Export, LabelSpec, NodeFile
from modelyard.workloads.graph.processing.labels import Labels, read_labels
from modelyard.workloads.graph.processing.links import Links, split_links
from modelyard.workloads.graph.processing.nodes import NodeIndex, Nodes, read_nodes
from modelyard.workloads.graph.processing.rdf import property_graph
from modelyard.workloads.graph.processing.text import TextModels
from modelyard.workloads.graph.recommendation import recommend
from modelyard.workloads.graph.training.search_space import TEMPLATES, default_configuration

SEED = 0


def run(context: Context) -> Mapping[str, Any]:
    """Processes the folder `export` into `context.output`; `previous` is the output of an earlier job.

    Parameters: `configuration` (file name), `model_type` (None, "heterogeneous" or "kge") and `seed`. The
    result counts nodes, edges, labels and splits. Raises InputError for what is wrong with the export, and
    Stopped.
    """
    _check_model_type(context.parameters.get("model_type"))
    name = context.parameters.get("configuration") or CONFIGURATION
    export = read_export(context.inputs["export"], name)
    with property_graph(export, context) as described:
        graph, result = Processing(context, described).run()
    shutil.copyfile(export.path(name, "configFileName"), context.output / CONFIGURATION)
    _write_search_spaces(graph, context.output)
    recommend(graph, context.output)
    return result


class Processing:
    """One run: what was read so far, and where it is written."""

    def __init__(self, context: Context, export: Export) -> None:
        self._context = context
        self._export = export
        self._folder = context.output
        self._previous = context.inputs.get("previous")
        self._random = np.random.default_rng(context.parameters.get("seed", SEED))
        texts = TextModels(given_folders(context.parameters), context.cores, self._encoded)
        self._encodings = Encodings(self._previous, texts)
        self._warnings = list(export.warnings)
        self._rows = self._texts = 0
        self._phase = ""

    def run(self) -> tuple[Graph, dict[str, Any]]:
        """Reads, encodes, splits and writes; the graph and the job's result."""
        target = _target(self._export)
        if self._previous is not None:
            _check_task(read_graph(self._previous).task, self._export)
        indexes, node_types, cells = self._read_nodes(target)
        reader = self._read_edges(indexes)
        learned = self._split(target, reader, indexes, cells)
        self._begin("writing")
        edge_types = self._write_edges(reader, learned)
        task = learned.task if isinstance(learned, Labels) else Task("link_predict")
        self._warnings += [*learned.warnings, *self._encodings.warnings]
        model_type = _model_type(self._context.parameters.get("model_type"), task, node_types)
        if model_type == "kge" and any(one.features for one in node_types):
            self._warn("modelType kge: embedding models leave the features of nodes out")
        graph = Graph(self._folder, node_types, edge_types, task, model_type, tuple(self._warnings))
        self._encodings.write(self._folder)
        with (self._folder / "info.pkl").open("wb") as file:
            dump(_info(graph, indexes.values()), file)
        write_graph(graph)
        return graph, _result(graph, learned)

    def _read_nodes(self, target: str | None) -> tuple[dict[str, NodeIndex], tuple[NodeType, ...], pl.Series | None]:
        self._begin("reading nodes")
        indexes, node_types, cells = {}, [], None
        for number, (name, files, known) in enumerate(self._node_files()):
            nodes = read_nodes(self._export, files, self._encodings, known, self._progress)
            features = self._write_nodes(number, nodes)
            indexes[name] = nodes.index
            node_types.append(NodeType(name, len(nodes.index), features))
            cells = nodes.labels if name == target else cells
            if nodes.duplicates:
                self._warn(f"nodes {name!r}: {nodes.duplicates} rows repeat an id; the first row of an id counts")
        return indexes, tuple(node_types), cells

    def _node_files(self) -> Iterator[tuple[str, list[NodeFile], pl.Series | None]]:
        """The files of each type, in the order of the previous job, with its ids; else in the
        configuration's.
        """
        files = defaultdict(list)
        for file in self._export.nodes:
            files[file.node_type].append(file)
        if self._previous is None:
            yield from ((name, same, None) for name, same in files.items())
            return
        graph = read_graph(self._previous)
        names = [node_type.name for node_type in graph.node_types]
        if set(names) != files.keys():
            raise InputError(
                f"the previous job has the node types {names}, and this configuration {sorted(files)}; "
                f"process without previousDataProcessingJobId"
            )
        for number, name in enumerate(names):
            yield name, files[name], pl.read_parquet(graph.ids_path(number))["id"]

    def _write_nodes(self, number: int, nodes: Nodes) -> tuple[Feature, ...]:
        folder = self._folder / "nodes" / str(number)
        folder.mkdir(parents=True, exist_ok=True)
        nodes.index.ids.to_frame("id").write_parquet(folder / "ids.parquet")
        features: list[Feature] = []
        arrays: dict[str, np.ndarray] = {}
        for spec, column in nodes.features:
            if encoded := self._encodings.encode(nodes.index.name, spec, column):
                feature, matrix = encoded
                arrays |= feature_arrays(len(features), matrix)
                features.append(feature)
        if arrays:
            write_arrays(arrays, folder / "features.safetensors")
        return tuple(features)

    def _read_edges(self, indexes: Mapping[str, NodeIndex]) -> EdgeReader:
        self._begin("reading edges")
        known = [kind.key for kind in read_graph(self._previous).edge_types] if self._previous else None
        reader = EdgeReader(self._export, indexes, self._encodings, known)
        for file in self._export.edges:
            reader.read(file, self._progress)
        return reader

    def _split(
        self,
        target: str | None,
        reader: EdgeReader,
        indexes: Mapping[str, NodeIndex],
        cells: pl.Series | None,
    ) -> Labels | Links:
        self._begin("splitting")
        if target is None:
            split = read_edge_labels if _learns_edges(self._export) else split_links
            return split(self._export, reader, indexes, self._random, self._previous)
        assert cells is not None
        files = [file for file in self._export.nodes if file.labels]
        labels = read_labels(self._export, files, indexes[target], cells, self._random, self._previous)
        write_arrays({"labels": labels.values, "split": labels.split}, self._folder / "labels.safetensors")
        return labels

    def _write_edges(self, reader: EdgeReader, learned: Labels | Links) -> tuple[EdgeType, ...]:
        (self._folder / "edges").mkdir(exist_ok=True)
        splits = learned.splits if isinstance(learned, Links) else {}
        edge_types = []
        for number, (key, edges) in enumerate(reader.edges.items()):
            if not len(edges):
                self._warn(f"edges {'-'.join(key)!r}: there are none")
            arrays = {"edge_index": edges.edge_index()}
            if key in splits:
                arrays["split"] = splits[key]
            elif isinstance(learned, Labels) and learned.task.edge_type == key:
                arrays |= learned.arrays
            features, matrices = self._encode_edges(edges)
            if matrices:
                arrays["features"] = np.concatenate(matrices, axis=1)
            write_arrays(arrays, self._folder / "edges" / f"{number}.safetensors")
            edge_types.append(EdgeType(*key, len(edges), "split" in arrays, features))
            self._progress(len(edges))
        return tuple(edge_types)

    def _encode_edges(self, edges: Edges) -> tuple[tuple[Feature, ...], list[np.ndarray]]:
        encoded = [self._encodings.encode(edges.key, spec, column) for spec, column in edges.features]
        kept = [(feature, matrix) for feature, matrix in filter(None, encoded)]
        return tuple(replace(feature, sparse=False) for feature, _ in kept), [dense(m) for _, m in kept]

    def _begin(self, phase: str) -> None:
        self._phase, self._rows = phase, 0
        self._progress(0)

    def _progress(self, rows: int) -> None:
        if self._context.should_stop():
            raise Stopped(f"stopped while {self._phase}")
        self._rows += rows
        self._context.report(self._rows, phase=self._phase)

    def _encoded(self, texts: int) -> None:
        if self._context.should_stop():
            raise Stopped("stopped while encoding text")
        self._texts += texts
        self._context.report(self._texts, phase="encoding text")

    def _warn(self, warning: str) -> None:
        self._warnings.append(warning)


def _check_task(earlier: Task, export: Export) -> None:
    of_nodes = ((node.node_type, label.column) for node in export.nodes for label in node.labels)
    of_edges = ((None, label.column) for edge in export.edges for label in edge.labels if _is_property(label))
    asked = next(of_nodes, next(of_edges, (None, None)))
    if (earlier.node_type, earlier.property) != asked:
        whose = f"nodes {earlier.node_type!r}" if earlier.node_type else f"edges {'-'.join(earlier.edge_type or ())!r}"
        learned = f"the label {earlier.property!r} of {whose}" if earlier.property else "links"
        raise InputError(
            f"the previous job learned {learned}, and this configuration describes another task; "
            f"process without previousDataProcessingJobId"
        )


def _write_search_spaces(graph: Graph, folder: Path) -> None:
    """The default model's, and beside it a template of each model that can learn from the graph."""
    (folder / TEMPLATES).mkdir()
    for place, model in enumerate(registry.fitting(graph)):
        document = json.dumps(default_configuration(graph, model), indent=2)
        (folder / TEMPLATES / f"{model}.json").write_text(document)
        if place == 0:
            (folder / "model-hpo-configuration.json").write_text(document)


def _model_type(asked: str | None, task: Task, node_types: Sequence[NodeType]) -> ModelType:
    """The model type that was asked for; else embedding models for links among nodes without features, as AWS does."""
    links = task.type == "link_predict"
    if asked == "kge" and not links:
        raise InputError(
            f"modelType: kge learns which links there are, and this task is {task.type}; ask heterogeneous"
        )
    if asked:
        return "kge" if asked == "kge" else "heterogeneous"
    return "kge" if links and not any(one.features for one in node_types) else "heterogeneous"


def _check_model_type(model_type: str | None) -> None:
    if model_type not in (None, "", *get_args(ModelType)):
        raise InputError(f"modelType: unknown value {model_type!r}; there are {', '.join(get_args(ModelType))}")


def _target(export: Export) -> str | None:
    """The node type whose label is learned, None where edges are. Raises InputError if there is more than one task."""
    targets: dict[tuple[str | None, str, str, str | None], str] = {}
    for node in export.nodes:
        for label in node.labels:
            targets.setdefault((node.node_type, label.column, label.task, label.separator), label.place)
    for edge in export.edges:
        for label in edge.labels:
            column = label.column if _is_property(label) else ""
            targets.setdefault((None, column, label.task, label.separator if column else None), label.place)
    if len(targets) > 1:
        first, second = list(targets.values())[:2]
        raise InputError(f"{second}: a job learns one thing, and {first} describes another")
    return next(iter(targets))[0] if targets else None


def _learns_edges(export: Export) -> bool:
    """Whether a property of edges is learned, rather than which edges there are."""
    return any(_is_property(label) for edge in export.edges for label in edge.labels)


def _is_property(label: LabelSpec) -> bool:
    return label.task != "link_prediction"


def _info(graph: Graph, indexes: Iterable[NodeIndex]) -> dict[str, Any]:
    """What `info.pkl` holds; its keys are those that Neptune's toolkit and notebooks read."""
    task = graph.task
    labelled = {name: task for name in (task.node_type, task.edge_type) if name is not None}
    return {
        "node_id_map": Items((index.name, Items(_rows(index.ids))) for index in indexes),
        "label_map": {name: dict(enumerate(task.classes)) for name, task in labelled.items() if task.classes},
        "label_properties": {name: task.property for name, task in labelled.items()},
        "is_multilabel": task.multilabel,
        "node_feat_meta": {n.name: _described(n.features) for n in graph.node_types},
        "edge_feat_meta": {"-".join(e.key): _described(e.features) for e in graph.edge_types},
    }


def _rows(ids: pl.Series) -> Iterator[tuple[str, int]]:
    row = 0
    for piece in ids.to_frame().iter_slices(100_000):
        for raw in piece.to_series().to_list():
            yield raw, row
            row += 1


def _described(features: Iterable[Feature]) -> dict[str, Any]:
    return {feature.name: {"type": feature.type, "dim": feature.dim} for feature in features}


def _result(graph: Graph, learned: Labels | Links) -> dict[str, Any]:
    splits = learned.splits.values() if isinstance(learned, Links) else [learned.split]
    codes = {"train": TRAIN, "valid": VALID, "test": TEST}
    return {
        "task": graph.task.type,
        "model_type": graph.model_type,
        "nodes": _counts((node_type.name, node_type.num_nodes) for node_type in graph.node_types),
        "edges": _counts(("-".join(kind.key), kind.num_edges) for kind in graph.edge_types),
        "labelled": learned.num_labelled if isinstance(learned, Labels) else None,
        "classes": len(graph.task.classes),
        "split": {part: int(sum((split == code).sum() for split in splits)) for part, code in codes.items()},
        "warnings": [warning[:500] for warning in graph.warnings[:20]],
    }


def _counts(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """The first hundred, since a result is small; `graph.json` has all."""
    return {name[:100]: count for (name, count), _ in zip(counts, range(100), strict=False)}
