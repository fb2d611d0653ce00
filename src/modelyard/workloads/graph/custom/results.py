"""What a custom model's transform has left, checked, and turned into what users read and endpoints serve.

Nothing of it is unpickled: ids and labels are those of the processed graph, whose order the user's arrays have.

- node tasks: `result.npz` with `infer_scores` `[nodes of the target type, classes]`, or `[…, 1]` for regression;
  optional `entity.npy` `[nodes of the target type, or all, channels]`;
- edge tasks, of which the contract names no artifacts: as node tasks, with the edges of the target type in the place of
  nodes; optional `entity.npy` `[all nodes, channels]`;
- link prediction: `entity.npy` `[all nodes, channels]`, the node types in the graph's order; optional `relation.npy`
  `[edge types, or those that are predicted, channels]`: a link's score is `sum(head * relation * tail)`.
"""

import json
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

from modelyard.runner.context import InputError
from modelyard.workloads.graph.data import Graph

Shape = tuple[int, ...]
TRANSDUCTIVE = "online-transductive-infer"
_MOST_CONFIGURATION = 2**20
_MOST_CHANNELS = 65_536
_OTHERS = 64 * 2**20
"""Bytes that `result.npz` may hold beside what is read of it."""


def scores(folder: Path, graph: Graph) -> np.ndarray:
    """The predictions of a node or an edge task, float32 `[targets, classes]`: probabilities; or values, `[…, 1]`.

    Targets are the nodes, or the edges, of the target type. What is outside 0 to 1 is taken for logits. InputError
    names what is wrong with the file.
    """
    task, rows = graph.task, _targets(graph)
    shapes = [(rows,), (rows, 1)] if task.is_regression() else [(rows, len(task.classes))]
    with _opened(folder / "result.npz") as file:
        largest = 16 * math.prod(shapes[-1])
        if _size(file) > largest + _OTHERS:
            raise InputError("result.npz: it is far larger than predictions for this graph can be")
        try:
            with zipfile.ZipFile(file) as archive, archive.open("infer_scores.npy") as stream:
                found = _array(stream, "result.npz: infer_scores", shapes, largest)  # type: ignore[arg-type]
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            KeyError,
            NotImplementedError,
            RuntimeError,
            OSError,
        ) as error:
            raise InputError(f"result.npz: it has no array infer_scores that can be read: {error}") from None
    if task.is_regression():
        return found.reshape(rows, 1)
    return (
        found if found.size == 0 or (found.min() >= 0 and found.max() <= 1) else _probabilities(found, task.multilabel)
    )


def embeddings(folder: Path, graph: Graph, offsets: Sequence[int]) -> np.ndarray | None:
    """Vectors of all nodes, float32 `[num_nodes, channels]` by global row; None if none were left.

    offsets: where the rows of each node type begin. Those of one type alone are put among zeros.
    """
    path, total = folder / "entity.npy", offsets[-1]
    if not os.path.lexists(path):
        return None
    if graph.task.node_type is None:
        return _vectors(path, [total])
    number = graph.node_type_index(graph.task.node_type)
    start, stop = offsets[number : number + 2]
    found = _vectors(path, [stop - start, total])
    if len(found) == total:
        return found
    placed = np.zeros((total, found.shape[1]), np.float32)
    placed[start:stop] = found
    return placed


def relations(folder: Path, graph: Graph, channels: int) -> np.ndarray:
    """The vector of each predicted edge type, float32 `[targets, channels]`; ones where none were left."""
    targets = [number for number, edge_type in enumerate(graph.edge_types) if edge_type.target]
    path = folder / "relation.npy"
    if not os.path.lexists(path):
        return np.ones((len(targets), channels), np.float32)
    with _opened(path) as file:
        found = _array(file, path.name, [(len(targets), channels), (len(graph.edge_types), channels)], _size(file))
    return found if len(found) == len(targets) else found[targets]


def check_configuration(folder: Path) -> None:
    """InputError if `config.json`, where there is one, asks for what no custom model can do."""
    path = folder / "config.json"
    if not os.path.lexists(path):
        return
    with _opened(path) as file:
        content = file.read(_MOST_CONFIGURATION)
    try:
        told = json.loads(content)
        infer_type = told.get("infer_type", TRANSDUCTIVE)
    except (ValueError, AttributeError, RecursionError):
        raise InputError("config.json: it holds no JSON object") from None
    if infer_type != TRANSDUCTIVE:
        raise InputError(
            f"config.json: infer_type {infer_type!r}: inductive inference of custom models is not served; "
            f"a custom model is {TRANSDUCTIVE!r}"
        )


def _targets(graph: Graph) -> int:
    """How many nodes, or edges, the target type has."""
    if graph.task.edge_type is not None:
        return graph.edge_types[graph.edge_type_index(graph.task.edge_type)].num_edges
    assert graph.task.node_type is not None
    return graph.node_types[graph.node_type_index(graph.task.node_type)].num_nodes


def _vectors(path: Path, rows: Sequence[int]) -> np.ndarray:
    with _opened(path) as file:
        return _array(file, path.name, [(count, -1) for count in rows], _size(file))


def _probabilities(logits: np.ndarray, multilabel: bool) -> np.ndarray:
    raised = np.exp(np.clip(logits, -80, 80) if multilabel else logits - logits.max(axis=1, keepdims=True))
    shares = raised / (1 + raised) if multilabel else raised / raised.sum(axis=1, keepdims=True)
    return np.asarray(shares, np.float32)


def _array(stream: BinaryIO, place: str, shapes: Sequence[Shape], most: int) -> np.ndarray:
    """A float32 array of one of the shapes, in which -1 stands for any number of channels; nothing else is read.

    most: how many bytes there can be.
    """
    try:
        version = np.lib.format.read_magic(stream)
        header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, by_columns, kind = header(stream)
    except Exception as error:  # whatever NumPy's parser makes of a hostile text
        raise InputError(f"{place}: it is no array of NumPy: {str(error)[:200]}") from None
    if kind.kind not in "fiub":
        raise InputError(f"{place}: numbers are wanted, not {kind}")
    if not any(_fits(shape, wanted) for wanted in shapes):
        wanted = " or ".join(str(list(one)).replace("-1", "channels") for one in shapes)
        raise InputError(f"{place}: its shape is {list(shape)}; the graph needs {wanted}")
    size = math.prod(shape) * kind.itemsize
    if size > most:
        raise InputError(f"{place}: the file ends in the middle of the array")
    content = stream.read(size)
    if len(content) != size:
        raise InputError(f"{place}: the file ends in the middle of the array")
    array = np.frombuffer(content, kind).reshape(shape[::-1] if by_columns else shape)
    array = np.ascontiguousarray(array.T if by_columns else array, dtype=np.float32)
    if not np.isfinite(array).all():
        raise InputError(f"{place}: {int((~np.isfinite(array)).sum())} of its numbers are not finite")
    return array


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _fits(shape: Shape, wanted: Shape) -> bool:
    pairs = zip(shape, wanted, strict=False)
    return len(shape) == len(wanted) and all(a == b or (b == -1 and 1 <= a <= _MOST_CHANNELS) for a, b in pairs)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A plain file; InputError for none, a link, a pipe or a device in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"the transform script left no {path.name} that can be read: {error.strerror}") from None
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise InputError(f"{path.name}: it is no plain file")
        yield file
