"""Link prediction: which edges are for training, for validation and for the test.

Edges are split by pair of nodes: all edges of one type between the same two nodes share a split, in both
directions where the type joins nodes of one type. So no copy of a held-out edge, and not its reverse, stays
among the edges that carry messages. A user's own split files are taken as they are: there the two directions
may be split apart, and a warning counts such pairs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import NONE, TRAIN, VALID, read_graph
from modelyard.workloads.graph.processing.edges import EdgeReader, Key
from modelyard.workloads.graph.processing.export import EdgeFile, Export, LabelSpec
from modelyard.workloads.graph.processing.nodes import NodeIndex
from modelyard.workloads.graph.processing.pairs import known_splits, pair_codes
from modelyard.workloads.graph.processing.splits import SPLIT, mark, random_split
from modelyard.workloads.graph.processing.table import Batch, Table, open_table

ALL_EDGES = LabelSpec("", "link_prediction", split_rate=(0.9, 0.1, 0.0), place="graph")
"""What a configuration without any label asks for."""

_NO_EDGES = np.empty((2, 0), np.int64), np.empty(0, np.uint8)


@dataclass(frozen=True)
class Links:
    """The split of every edge of the target types, uint8 `[num_edges]` each."""

    splits: Mapping[Key, np.ndarray]
    warnings: tuple[str, ...] = ()


def split_links(
    export: Export,
    reader: EdgeReader,
    indexes: Mapping[str, NodeIndex],
    random: np.random.Generator,
    previous: Path | None = None,
) -> Links:
    """Splits the edges of all target types: those with a label, or all if there is no label anywhere.

    An edge of an earlier job keeps its split. Raises InputError.
    """
    labels = {key: edges.label for key, edges in reader.edges.items() if edges.label}
    labels = labels or dict.fromkeys(reader.edges, ALL_EDGES)
    ends = {key: reader.edges[key].edge_index() for key in labels}
    sizes = {key: len(indexes[key[2]]) for key in labels}
    splits: dict[Key, np.ndarray] = {}
    for rates in dict.fromkeys(label.split_rate for label in labels.values() if not label.split_files):
        keys = [k for k, label in labels.items() if label.split_rate == rates and not label.split_files]
        splits |= _at_random({key: ends[key] for key in keys}, sizes, rates, random, previous)
    custom = {key: np.full(ends[key].shape[1], NONE, np.uint8) for key in labels.keys() - splits.keys()}
    for file in export.edges:
        for label in file.labels:
            if label.split_files:
                targets = [key for key in reader.keys_of_file[file.place] if key in custom]
                _by_files(export, file, label, targets, ends, indexes, custom)
    splits |= custom
    _check(labels, splits)
    return Links({key: splits[key] for key in labels}, _warnings(ends, sizes, custom))


def _at_random(
    ends: Mapping[Key, np.ndarray],
    sizes: Mapping[Key, int],
    rates: tuple[float, float, float],
    random: np.random.Generator,
    previous: Path | None,
) -> dict[Key, np.ndarray]:
    earlier = _earlier_splits(previous)
    units, inverses, known = [], [], []
    for key, edge_index in ends.items():
        pairs, inverse = np.unique(pair_codes(key, edge_index, sizes[key]), return_inverse=True)
        units.append(len(pairs))
        inverses.append(inverse)
        known.append(known_splits(key, pairs, sizes[key], *earlier.get(key, _NO_EDGES)))
    split = np.concatenate([*known, np.empty(0, np.uint8)])
    groups = np.repeat(np.arange(len(units)), units)
    new = split == NONE
    split[new] = random_split(groups[new], rates, random)
    parts = np.split(split, np.cumsum(units)[:-1])
    return {key: part[inverse] for key, part, inverse in zip(ends, parts, inverses, strict=True)}


def _earlier_splits(previous: Path | None) -> dict[Key, tuple[np.ndarray, np.ndarray]]:
    if previous is None:
        return {}
    graph = read_graph(previous)
    arrays = {kind.key: graph.edges(number) for number, kind in enumerate(graph.edge_types) if kind.target}
    return {key: (array["edge_index"], array["split"]) for key, array in arrays.items()}


def _by_files(
    export: Export,
    file: EdgeFile,
    label: LabelSpec,
    targets: Sequence[Key],
    ends: Mapping[Key, np.ndarray],
    indexes: Mapping[str, NodeIndex],
    splits: Mapping[Key, np.ndarray],
) -> None:
    """Gives the edges of `targets` the splits that the files of `label` name."""
    num_dests = len(indexes[file.dest])
    directed = {key: ends[key][0] * num_dests + ends[key][1] for key in targets}
    pairs = np.unique(np.concatenate([*directed.values(), np.empty(0, np.int64)]))
    codes = np.full(len(pairs), NONE, np.uint8)
    for part, table in _split_tables(export, file, label):
        source, dest = table.column(file.source_column), table.column(file.dest_column)
        for batch in table.batches([source, dest]):
            rows = indexes[file.source].rows(batch, source).astype(np.int64) * num_dests
            rows += indexes[file.dest].rows(batch, dest)
            mark(codes, _places(pairs, rows, batch, source, dest), SPLIT[part], batch, source)
    for key in targets:
        found = codes[np.searchsorted(pairs, directed[key])]
        if file.source == file.dest:
            found = np.where(found == NONE, _reversed(ends[key], num_dests, pairs, codes), found)
        splits[key][found != NONE] = found[found != NONE]


def _split_tables(export: Export, file: EdgeFile, label: LabelSpec) -> Iterator[tuple[str, Table]]:
    for part, name in label.split_files.items():
        path = export.path(name, f"{label.place}.custom_split_filenames.{part}")
        yield part, open_table(path, name, file.separator)


def _places(pairs: np.ndarray, wanted: np.ndarray, batch: Batch, source: str, dest: str) -> np.ndarray:
    places = np.minimum(np.searchsorted(pairs, wanted), max(len(pairs) - 1, 0))
    missing = pairs[places] != wanted if len(pairs) else np.ones(len(wanted), bool)
    if missing.any():
        row = int(missing.argmax())
        raise batch.fault(row, source, f"has no edge to {batch.frame[dest][row]!r}")
    return places


def _reversed(edge_index: np.ndarray, num_dests: int, pairs: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """The split that each edge's reverse was given, NONE without a reverse."""
    if not len(pairs):
        return np.empty(0, np.uint8)
    wanted = edge_index[1] * num_dests + edge_index[0]
    places = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
    return np.where(pairs[places] == wanted, codes[places], NONE).astype(np.uint8)


def _check(labels: Mapping[Key, LabelSpec], splits: Mapping[Key, np.ndarray]) -> None:
    place = next(iter(labels.values())).place if labels else "graph.edges"
    for code, part in ((TRAIN, "train"), (VALID, "valid")):
        if not any((split == code).any() for split in splits.values()):
            raise InputError(f"{place}: link prediction has no edge in the {part} split; it needs at least one")


def _warnings(
    ends: Mapping[Key, np.ndarray], sizes: Mapping[Key, int], custom: Mapping[Key, np.ndarray]
) -> tuple[str, ...]:
    """Counts the pairs whose two directions a user's files put into different splits."""
    apart = 0
    for key, split in custom.items():
        if key[0] == key[2] and len(split):
            order = np.argsort(forward := ends[key][0] * sizes[key] + ends[key][1])
            other = _reversed(ends[key], sizes[key], forward[order], split[order])
            apart += int(((other != NONE) & (other != split)).sum()) // 2
    held_out = (
        f"{apart} pairs of nodes have edges of one type in both directions in different splits, as the split files say"
    )
    return (held_out,) if apart else ()
