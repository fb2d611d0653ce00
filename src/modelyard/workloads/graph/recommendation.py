"""Which machine a training job should ask for: `train_instance_recommendation.json`, by the memory that the
arrays need.
"""

import json
from pathlib import Path

from modelyard.workloads.graph.data import Graph

GB = 1 << 30
CPU = (
    ("ml.m5.xlarge", 16),
    ("ml.r5.xlarge", 32),
    ("ml.r5.2xlarge", 64),
    ("ml.r5.4xlarge", 128),
    ("ml.r5.12xlarge", 384),
)
GPU = (("ml.g5.2xlarge", 32), ("ml.g5.4xlarge", 64), ("ml.g5.8xlarge", 128), ("ml.g5.16xlarge", 256))
"""SageMaker's instance types and their memory in GB, smallest first; the last stands for all that need more.
"""

HIDDEN = 128
"""Width of the widest hidden layer that the search tries by default."""


def recommend(graph: Graph, folder: Path) -> None:
    """Writes instance types, and memory and disk in GB. The server itself maps instance types to its own
    cores and memory.
    """
    on_disk = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    nodes = sum(node_type.num_nodes for node_type in graph.node_types)
    edges = sum(edge_type.num_edges for edge_type in graph.edge_types)
    # Arrays and their transposes; for each node a value and a gradient of two layers, an embedding, Adam's two moments.
    memory = 3 * on_disk + 4 * HIDDEN * 8 * nodes + 64 * edges
    gigabytes = max(1, -(-memory // GB))
    recommendation = {
        "instance": _smallest(GPU, gigabytes),
        "cpu_instance": _smallest(CPU, gigabytes),
        "disk_size": max(1, -(-4 * on_disk // GB)),
        "mem_size": gigabytes,
    }
    (folder / "train_instance_recommendation.json").write_text(json.dumps(recommendation, indent=1))


def _smallest(instances: tuple[tuple[str, int], ...], gigabytes: int) -> str:
    return next((name for name, memory in instances if memory >= gigabytes), instances[-1][0])
