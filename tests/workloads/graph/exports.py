"""Small exports that tests write, and the processing of them."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from modelyard.runner.context import Context
from modelyard.workloads.graph.data import Graph, read_graph
from modelyard.workloads.graph.processing.process import run

DATA = Path(os.environ.get("MODELYARD_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))


def real(name: str) -> Path:
    """The folder of a real data set; the test is skipped where it is absent."""
    if not (DATA / name).is_dir():
        pytest.skip(f"the data set {name} is not in {DATA}; MODELYARD_TEST_DATA names its folder")
    return DATA / name


def node(file_name: str, node_type: str, features: Sequence[Any] = (), labels: Sequence[Any] = ()) -> dict[str, Any]:
    return {
        "file_name": file_name,
        "separator": ",",
        "node": ["~id", node_type],
        "features": list(features),
        "labels": list(labels),
    }


def edge(
    file_name: str, source: str, relation: str, dest: str, features: Sequence[Any] = (), labels: Sequence[Any] = ()
) -> dict[str, Any]:
    return {
        "file_name": file_name,
        "separator": ",",
        "source": ["~from", source],
        "relation": ["", relation],
        "dest": ["~to", dest],
        "features": list(features),
        "labels": list(labels),
    }


def feature(column: str, kind: str, **options: Any) -> dict[str, Any]:
    return {"feature": [column, column, kind], **options}


def write(
    folder: Path,
    files: Mapping[str, str | bytes],
    nodes: Sequence[Any] = (),
    edges: Sequence[Any] = (),
    **members: Any,
) -> Path:
    """Writes an export: its files by name, and a configuration with `nodes` and `edges` (or `members` instead)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    document = {"version": "v2.0", "query_engine": "gremlin", "graph": {"nodes": nodes, "edges": edges}, **members}
    (folder / "training-data-configuration.json").write_text(json.dumps(document))
    return folder


def process(
    export: Path, output: Path, previous: Path | None = None, **parameters: Any
) -> tuple[Graph, dict[str, Any]]:
    """Processes an export; the graph as it was written, and the task's result."""
    output.mkdir(parents=True)
    inputs = {"export": export, **({"previous": previous} if previous else {})}
    result = run(Context(parameters=parameters, inputs=inputs, state=output, output=output))
    return read_graph(output), dict(result)
