"""Bringing a graph from beginning to end: a source, what is wished, a plan to look at, a place to write it to."""

import json
import sys
from pathlib import Path
from typing import Any

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.place import Door, written
from modelyard.workloads.graph.bring.plan import Plan
from modelyard.workloads.graph.bring.plan import plan as planned
from modelyard.workloads.graph.bring.summary import document, text
from modelyard.workloads.graph.bring.tables import Source
from modelyard.workloads.graph.bring.wishes import Wishes
from modelyard.workloads.graph.bring.write import write

GRAPHS = (".graphml", ".gml", ".gexf", ".json", ".pt")
"""How files end that hold a whole graph: NetworkX's, its node-link JSON, and what `torch.save` made of PyG's."""


class Export:
    """An export that is planned: `print` shows it, `configuration` may be changed, `write` writes it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    @property
    def configuration(self) -> dict[str, Any]:
        """What `training-data-configuration.json` will hold; a change of it counts."""
        return self.plan.configuration

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is worth a look."""
        return self.plan.warnings

    def document(self) -> dict[str, Any]:
        """The whole plan as JSON: counts, columns with their encodings and why, target, split, warnings."""
        return document(self.plan)

    def write(
        self, to: str | Path, replace: bool = False, endpoint_url: str | None = None, door: Door | None = None
    ) -> None:
        """Writes to a folder or to `s3://bucket/key` of a server, whole or not at all. Raises InputError.

        `replace` allows to put it in the place of another export.
        """
        with written(to, replace, door or Door(endpoint_url)) as folder:
            write(self.plan, folder)

    def __str__(self) -> str:
        return text(self.plan)


def plan(graph: Any, **wishes: Any) -> Export:
    """Reads a graph once, and infers how it is to be written; `wishes` are the fields of `Wishes`.

    `graph` is what `tables`, `from_networkx` or `from_pyg` gave, a graph of NetworkX, or PyG's `HeteroData` or `Data`.
    Raises InputError, which names table, row and the way out.
    """
    return Export(planned(as_source(graph), Wishes(**wishes)))


def export(graph: Any, to: str | Path, replace: bool = False, endpoint_url: str | None = None, **wishes: Any) -> Export:
    """As `plan`, and writes it to a folder or to `s3://bucket/key`."""
    planned = plan(graph, **wishes)
    planned.write(to, replace, endpoint_url)
    return planned


def from_networkx(graph: Any, node_type: str = "type", relation: str = "relation") -> Source:
    """A graph of NetworkX; the attributes `node_type` and `relation` hold the types of nodes and of edges."""
    from modelyard.workloads.graph.bring.networkx import source

    return source(graph, node_type, relation)


def from_pyg(data: Any) -> Source:
    """PyG's `HeteroData` or `Data`."""
    from modelyard.workloads.graph.bring.pyg import source

    return source(data)


def as_source(graph: Any) -> Source:
    """What a graph is, whatever made it. Raises InputError. Libraries that made no graph are not imported."""
    if isinstance(graph, Source):
        return graph
    networkx, pyg = sys.modules.get("networkx"), sys.modules.get("torch_geometric.data")
    if networkx is not None and isinstance(graph, networkx.Graph):
        return from_networkx(graph)
    if pyg is not None and isinstance(graph, pyg.Data | pyg.HeteroData):
        return from_pyg(graph)
    kind = type(graph).__name__
    raise InputError(f"a graph is made by tables(…), or is of NetworkX, or PyG's HeteroData or Data, not {kind}")


def open_graph(path: str, node_type: str = "type", relation: str = "relation") -> Source:
    """The graph of a file: GraphML, GML, GEXF, node-link JSON, or a saved PyG graph. Raises InputError."""
    suffix = Path(path).suffix.lower()
    if suffix not in GRAPHS or not Path(path).is_file():
        reason = "there is no such file" if suffix in GRAPHS else f"a file of a graph ends with {', '.join(GRAPHS)}"
        raise InputError(f"{path}: {reason}; tables are given with --nodes and --edges")
    try:
        if suffix == ".pt":
            return from_pyg(_saved(path))
        return from_networkx(_read(path, suffix), node_type, relation)
    except InputError:
        raise
    except Exception as error:  # each of the readers raises its own
        raise InputError(f"{path} cannot be read as {suffix}: {' '.join(str(error).split())[:500]}") from None


def _read(path: str, suffix: str) -> Any:
    import networkx

    if suffix == ".json":
        return networkx.node_link_graph(json.loads(Path(path).read_bytes()), edges="edges")
    return getattr(networkx, f"read_{suffix[1:]}")(path)


def _saved(path: str) -> Any:
    """A saved graph; only PyG's own classes are let in, so that no file runs code."""
    import torch
    from torch_geometric.data import Data, HeteroData, storage

    classes = [Data, HeteroData, storage.BaseStorage, storage.GlobalStorage, storage.NodeStorage, storage.EdgeStorage]
    with torch.serialization.safe_globals(classes):
        return torch.load(path, weights_only=True)
