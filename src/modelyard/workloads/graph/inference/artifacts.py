"""The small files beside a model that Neptune ML's own helpers read, by the names and keys that they expect.

Sources: awslabs/neptuneml-toolkit, `client/neptune_ml_client.py` and `transform/transform_utils.py`;
aws/graph-notebook, `neptune_ml_utils.py`.
"""

import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from modelyard.workloads.graph import pickled
from modelyard.workloads.graph.data import Graph
from modelyard.workloads.graph.recommendation import CPU, GB

_PROCESS_BYTES = 64 * 1024**2
"""A serving process before it has touched any array."""


def write_mapping(graph: Graph, classes: Sequence[str], offsets: Sequence[int], path: Path) -> None:
    """Writes `mapping.info`: raw ids to rows, types to numbers, labels to columns. It is pickled, and never read here.

    offsets: `[node types + 1]`, where each type begins among the rows of `entity.npy`.
    """
    numbers = range(len(graph.node_types))
    names = [node_type.name for node_type in graph.node_types]
    mapping = {
        "model_type": graph.model_type,
        "node2id": {names[n]: pickled.Items(_rows(graph.ids_path(n))) for n in numbers},
        "node2gid": {names[n]: np.arange(offsets[n], offsets[n + 1]) for n in numbers},
        "nodetype2id_map": {name: number for number, name in enumerate(names)},
        "relation2id_map": {name: number for number, name in enumerate(relation_names(graph))},
        "label_map": {graph.task.node_type or graph.task.edge_type: dict(enumerate(classes))} if classes else {},
        **_target(graph),
    }
    with path.open("wb") as file:
        pickled.dump(mapping, file)


def relation_names(graph: Graph) -> list[str]:
    """Names of the target edge types, each once: the relation, with its ends where several share it."""
    targets = [edge_type for edge_type in graph.edge_types if edge_type.target]
    relations = [target.relation for target in targets]
    return [target.relation if relations.count(target.relation) == 1 else "_".join(target.key) for target in targets]


def write_config(graph: Graph, model: str, path: Path) -> None:
    """Writes `config.json`: what an endpoint container of Neptune ML is told."""
    config = {
        "task": graph.task.type,
        "model": model,
        "name": f"{graph.task.type}-{model}",
        "infer_type": "online-transductive-infer",
    }
    target = {
        "property": graph.task.property,
        "target_ntype": graph.task.node_type,
        "target_etype": graph.task.edge_type,
    }
    path.write_text(json.dumps(config | {name: value for name, value in target.items() if value}, indent=1))


def _target(graph: Graph) -> dict[str, Any]:
    """What has the property that is predicted; the toolkit's names, with None for links."""
    if graph.task.edge_type is not None:
        return {"target_etype": graph.task.edge_type, "target_etype_property": graph.task.property}
    return {"target_ntype": graph.task.node_type, "target_ntype_property": graph.task.property}


def write_instance_recommendation(output: Path) -> None:
    """Writes `infer_instance_recommendation.json`: an instance type for serving `output`, its memory and disk in GB."""
    sizes = {path: path.stat().st_size for path in output.rglob("*") if path.is_file()}
    served = sum(size for path, size in sizes.items() if path.parent.name != "predictions")
    gigabytes = max(1, -(-(served + _PROCESS_BYTES) // GB))
    recommendation = {
        "instance": next((name for name, memory in CPU if memory >= gigabytes), CPU[-1][0]),
        "disk_size": max(1, -(-sum(sizes.values()) // GB)),
        "mem_size": gigabytes,
    }
    (output / "infer_instance_recommendation.json").write_text(json.dumps(recommendation, indent=1))


def write_package(files: Iterable[Path], path: Path) -> None:
    """Packs files, side by side, into `model.tar.gz`; nothing in it tells who made it, or when."""
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for file in files:
            member = tarfile.TarInfo(file.name)
            member.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(member, content)


def _rows(ids: Path) -> Iterator[tuple[str, int]]:
    row = 0
    for piece in pl.read_parquet(ids)["id"].to_frame().iter_slices(100_000):
        for raw in piece["id"].to_list():
            yield raw, row
            row += 1
