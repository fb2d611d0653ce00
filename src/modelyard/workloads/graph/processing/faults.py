"""Everything that is wrong with a configuration, where `read_export` stops at the first."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from modelyard.runner.context import InputError
from modelyard.workloads.graph.processing.configuration import (
    CONFIGURATION,
    Reader,
    check_types,
    graphs_of,
    load_document,
)
from modelyard.workloads.graph.processing.export import EdgeFile, Export, NodeFile, StatementFile
from modelyard.workloads.graph.processing.values import kind_of

File = TypeVar("File", NodeFile, EdgeFile, StatementFile)


def find_faults(folder: Path, name: str = CONFIGURATION) -> tuple[Export, list[InputError]]:
    """What of an export can be used, and every fault of its configuration and of the names of its files.

    Raises InputError where the configuration cannot be read at all.
    """
    document, reader, faults = load_document(folder, name), Reader(), list[InputError]()
    graphs = graphs_of(document, reader)

    def read(key: str, one: Callable[[dict[str, Any], str], File]) -> Iterator[File]:
        for graph, at in graphs:
            for value, place in _objects(reader, graph, key, at, faults):
                if (file := _file(value, place, one, reader, faults, edges=key == "edges")) is not None:
                    yield file

    nodes = tuple(read("nodes", reader.node_file))
    edges = tuple(read("edges", reader.edge_file))
    statements = tuple(read("rdfs", reader.statement_file))
    export = Export(folder, nodes, edges, tuple(dict.fromkeys(reader.warnings)), statements)
    if not faults and not _tried(faults, lambda: check_types(export)) and not nodes and not statements:
        faults.append(
            InputError(f"{name}, graph.nodes: is empty, but every type of nodes needs a file that lists them")
        )
    _check_targets(export, faults)
    kept_nodes = tuple(file for file in nodes if _is_there(export, file, faults))
    kept_edges = tuple(file for file in edges if _is_there(export, file, faults))
    kept_statements = tuple(file for file in statements if _is_there(export, file, faults))
    return Export(folder, kept_nodes, kept_edges, export.warnings, kept_statements), faults


def _objects(
    reader: Reader, holder: Mapping[str, Any], key: str, place: str, faults: list[InputError]
) -> Iterator[tuple[dict[str, Any], str]]:
    """The objects of a list; those that are none are faults."""
    values = holder.get(key)
    if not isinstance(values, list):
        _tried(faults, lambda: list(reader.objects(holder, key, place)))
        return
    for index, value in enumerate(values):
        if isinstance(value, dict):
            yield value, f"{place}.{key}[{index}]"
        else:
            faults.append(InputError(f"{place}.{key}[{index}]: must be an object, not {kind_of(value)}"))


def _file(
    value: dict[str, Any],
    place: str,
    one: Callable[[dict[str, Any], str], File],
    reader: Reader,
    faults: list[InputError],
    edges: bool,
) -> File | None:
    """An object without those of its features and labels that are wrong; None if it is wrong itself."""
    readers: Mapping[str, Callable[[dict[str, Any], str], Any]] = {
        "features": reader.feature,
        "labels": lambda label, at: reader.label(label, at, edges=edges),
    }
    good = dict(value)
    before = list(reader.warnings)
    for key, read in readers.items():
        if key in value:
            good[key] = [
                item
                for item, at in _objects(reader, value, key, place, faults)
                if not _tried(faults, partial(read, item, at))
            ]
    reader.warnings[:] = before  # they come again, with the object
    found: list[File] = []
    _tried(faults, lambda: found.append(one(good, place)))
    return found[0] if found else None


def _is_there(export: Export, file: NodeFile | EdgeFile | StatementFile, faults: list[InputError]) -> bool:
    missing = _tried(faults, lambda: export.path(file.file_name, f"{file.place}.file_name"))
    for label in () if isinstance(file, StatementFile) else file.labels:
        for split, name in label.split_files.items():
            _tried(faults, partial(export.path, name, f"{label.place}.custom_split_filenames.{split}"))
    return not missing


def _check_targets(export: Export, faults: list[InputError]) -> None:
    """A job learns one thing."""
    targets: dict[tuple[Any, ...], str] = {}
    for node in export.nodes:
        for label in node.labels:
            targets.setdefault((node.node_type, label.column, label.task, label.separator), label.place)
    for edge in export.edges:
        for label in edge.labels:
            links = label.task == "link_prediction"
            targets.setdefault((None,) if links else (edge.source, edge.dest, label.column, label.task), label.place)
    places = list(targets.values())
    for place in places[1:]:
        faults.append(InputError(f"{place}: a job learns one thing, and {places[0]} describes another"))


def _tried(faults: list[InputError], work: Callable[[], object]) -> bool:
    """Whether work failed; then its fault is kept."""
    try:
        work()
    except InputError as fault:
        faults.append(fault)
        return True
    return False
