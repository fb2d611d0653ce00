"""What a request adds to a model's graph, read and checked: GraphStorm's `graph` object, in rows of nodes.

Rows count on: of a node type with n stored nodes, the k-th new one has row n + k.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelyard.workloads.graph.data import Graph

MAX_NODES = 10_000
MAX_EDGES = 100_000
"""What one request may add."""

RowsOf = Callable[[int, Sequence[str]], np.ndarray]
"""`rows_of(node_type, ids)`: the rows of stored nodes within their type, -1 for others."""


class BadRequest(Exception):
    """A request that cannot be computed; the message says what is wrong and where."""


@dataclass(frozen=True)
class Additions:
    """Nodes and edges of a request, by the numbers of their types.

    rows: of the ids that the request's graph names, those of new nodes among them. values: given features by row.
    ends: int64 `[2, num_edges]`. edge_values: given features of each edge.
    """

    rows: tuple[Mapping[str, int], ...]
    values: tuple[Mapping[int, Mapping[str, Any]], ...]
    ends: tuple[np.ndarray, ...]
    edge_values: tuple[Sequence[Mapping[str, Any]], ...]

    def id(self, node_type: int, row: int) -> str:
        """The id of a row that the request names."""
        return next(id for id, one in self.rows[node_type].items() if one == row)


def read_additions(document: Any, graph: Graph, rows_of: RowsOf) -> Additions:
    """Reads the `graph` object of a request; BadRequest names what is wrong, and where."""
    if not isinstance(document, dict):
        raise BadRequest("graph must be an object with nodes and edges")
    nodes = _items(document, "nodes", MAX_NODES)
    edges = _items(document, "edges", MAX_EDGES)
    rows, values = _nodes(nodes, graph, rows_of)
    ends, edge_values = _edges(edges, graph, rows, rows_of)
    return Additions(tuple(rows), tuple(values), tuple(ends), tuple(edge_values))


def _nodes(
    items: list[dict[str, Any]], graph: Graph, rows_of: RowsOf
) -> tuple[list[dict[str, int]], list[dict[int, Mapping[str, Any]]]]:
    given: list[dict[str, Mapping[str, Any]]] = [{} for _ in graph.node_types]
    for number, item in enumerate(items):
        place = f"graph.nodes[{number}]"
        kind = _node_type(item, graph, place)
        given[kind].setdefault(_id(item, "node_id", place), _features(item, place))
    rows, values = [], []
    for kind, named in enumerate(given):
        found = _numbered(rows_of(kind, list(named)), graph.node_types[kind].num_nodes)
        rows.append(dict(zip(named, found, strict=True)))
        values.append({row: features for row, features in zip(found, named.values(), strict=True) if features})
    return rows, values


def _numbered(rows: np.ndarray, first: int) -> list[int]:
    """The rows, where those that are -1 take numbers from `first` on."""
    new = rows < 0
    rows = rows.copy()
    rows[new] = first + np.arange(new.sum())
    numbered: list[int] = rows.tolist()
    return numbered


def _edges(
    items: list[dict[str, Any]], graph: Graph, rows: list[dict[str, int]], rows_of: RowsOf
) -> tuple[list[np.ndarray], list[list[Mapping[str, Any]]]]:
    ends: list[list[tuple[str, str, str]]] = [[] for _ in graph.edge_types]
    values: list[list[Mapping[str, Any]]] = [[] for _ in graph.edge_types]
    for number, item in enumerate(items):
        place = f"graph.edges[{number}]"
        kind = _edge_type(item, graph, place)
        ends[kind].append((_id(item, "src_node_id", place), _id(item, "dest_node_id", place), place))
        values[kind].append(_features(item, place))
    found = []
    for kind, edge_type in enumerate(graph.edge_types):
        sides = [
            _ends([(one[side], one[2]) for one in ends[kind]], graph.node_type_index(name), name, rows, rows_of)
            for side, name in ((0, edge_type.source), (1, edge_type.dest))
        ]
        found.append(np.array(sides, np.int64).reshape(2, -1))
    return found, values


def _ends(ids: list[tuple[str, str]], kind: int, name: str, rows: list[dict[str, int]], rows_of: RowsOf) -> list[int]:
    stored = [id for id in dict.fromkeys(id for id, _ in ids) if id not in rows[kind]]
    known = rows[kind] | dict(zip(stored, rows_of(kind, stored).tolist(), strict=True))
    for id, place in ids:
        if known[id] < 0:
            where = "in graph.nodes or in the model's graph"
            raise BadRequest(f"{place}: no node {id[:200]!r} of type {name!r} is {where}")
    return [known[id] for id, _ in ids]


def _items(document: Mapping[str, Any], name: str, most: int) -> list[dict[str, Any]]:
    items = document.get(name) or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise BadRequest(f"graph.{name} must be a list of objects")
    if len(items) > most:
        raise BadRequest(f"graph.{name} has {len(items)} items; at most {most} are taken in one request")
    return items


def _node_type(item: Mapping[str, Any], graph: Graph, place: str) -> int:
    names = [one.name for one in graph.node_types]
    asked = item.get("node_type", names[0] if len(names) == 1 else None)
    if asked not in names:
        raise BadRequest(f"{place}.node_type: {str(asked)[:200]!r} is none of {_listed(names)}")
    return names.index(asked)


def _edge_type(item: Mapping[str, Any], graph: Graph, place: str) -> int:
    asked = item.get("edge_type")
    keys = [list(one.key) for one in graph.edge_types]
    if asked not in keys:
        raise BadRequest(f"{place}.edge_type: {str(asked)[:200]} is none of {_listed(map(str, keys))}")
    return keys.index(asked)


def _id(item: Mapping[str, Any], name: str, place: str) -> str:
    id = item.get(name)
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise BadRequest(f"{place}.{name} must be a string or a whole number, not {str(id)[:200]}")
    return str(id)


def _features(item: Mapping[str, Any], place: str) -> Mapping[str, Any]:
    features = item.get("features") or {}
    if not isinstance(features, dict):
        raise BadRequest(f"{place}.features must be an object of values by name")
    return features


def _listed(names: Any) -> str:
    shown = list(names)
    return ", ".join(shown[:20]) + (f" and {len(shown) - 20} more" if len(shown) > 20 else "")
