"""A graph of NetworkX as tables: a type of nodes by an attribute, a type of edges by an attribute or the key."""

import datetime
import decimal
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import networkx as nx
import polars as pl

from modelyard.runner.context import InputError
from modelyard.workloads.graph.bring.rows import Frame
from modelyard.workloads.graph.bring.tables import EdgeTable, NodeTable, Source

NODE, EDGE = "node", "edge"
"""The type of nodes that name none, and the relation of edges."""

_ID, _FROM, _TO = "~id", "~from", "~to"
_MANY = (list, tuple, set, frozenset)
_KINDS = (str, bool, int, float, datetime.datetime, datetime.date, datetime.timedelta, decimal.Decimal)


def source(graph: nx.Graph, node_type: str = "type", relation: str = "relation") -> Source:
    """The tables of a Graph, DiGraph, MultiGraph or MultiDiGraph.

    `node_type` names the attribute that holds a node's type, `relation` the one that holds an edge's; an edge without
    it has its key, if that is a text, else the relation "edge". A node's id is the text of the node. An undirected edge
    becomes one edge, since messages pass both ways anyway. Raises InputError.
    """
    types = {node: _name(node, attributes, node_type, NODE) for node, attributes in graph.nodes(data=True)}
    nodes: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for node, attributes in graph.nodes(data=True):
        nodes[types[node]].append({**_without(attributes, node_type, (_ID,), node), _ID: str(node)})
    edges: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for start, end, key, attributes in _edges(graph):
        said = _name((start, end), attributes, relation, key if isinstance(key, str) else EDGE)
        rest = _without(attributes, relation, (_FROM, _TO), (start, end))
        edges[types[start], said, types[end]].append({**rest, _FROM: str(start), _TO: str(end)})
    return Source(
        tuple(NodeTable(name, Frame(f"nodes {name!r}", _frame(rows)), _ID) for name, rows in nodes.items()),
        tuple(EdgeTable(*key, Frame(f"edges {key}", _frame(rows)), _FROM, _TO) for key, rows in edges.items()),
    )


def _edges(graph: nx.Graph) -> Iterable[tuple[Any, Any, Any, Mapping[Any, Any]]]:
    if graph.is_multigraph():
        yield from graph.edges(keys=True, data=True)
        return
    yield from ((start, end, None, attributes) for start, end, attributes in graph.edges(data=True))


def _name(what: Any, attributes: Mapping[Any, Any], attribute: str, default: str) -> str:
    name = attributes.get(attribute, default)
    if not isinstance(name, str) or not name:
        raise InputError(
            f"{what!r}: the attribute {attribute!r} is {name!r}, but a type is a text; name another attribute"
        )
    return name


def _without(attributes: Mapping[Any, Any], attribute: str, reserved: tuple[str, ...], what: Any) -> dict[str, Any]:
    """The attributes that are properties, under text."""
    kept = {str(name): value for name, value in attributes.items() if name != attribute}
    if taken := [name for name in reserved if name in kept]:
        raise InputError(f"{what!r}: no attribute may have the name {taken[0]!r}")
    return kept


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame([_series(name, [row.get(name) for row in rows]) for name in names])


def _series(name: str, values: list[Any]) -> pl.Series:
    """A column of one type; what no type fits becomes text, so that no digit is lost."""
    values = [_plain(value) for value in values]
    inner = [one for value in values if isinstance(value, list) for one in value]
    lists = [value for value in values if isinstance(value, list)]
    if lists and any(value is not None and not isinstance(value, list) for value in values):
        values = [value if value is None or isinstance(value, list) else [value] for value in values]
        inner = [one for value in values if value is not None for one in value]
    if (text := _must_be_text(inner if lists else values)) and lists:
        values = [value and [None if one is None else _told(one) for one in value] for value in values]
    elif text:
        values = [None if value is None else _told(value) for value in values]
    try:
        return pl.Series(name, values, strict=True)
    except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError) as error:
        raise InputError(f"the attribute {name!r} cannot be written: {error}") from None


def _plain(value: Any) -> Any:
    """A value without NumPy's types; sets in order."""
    if hasattr(value, "tolist") and not isinstance(value, _KINDS):
        value = value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=str)
    return [*map(_plain, value)] if isinstance(value, _MANY) else value


def _must_be_text(values: Iterable[Any]) -> bool:
    """Whether values are of several types, of an unknown one, or whole numbers beyond 64 bits or beside fractions."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return any(isinstance(value, int) and abs(value) > 1 << 53 for value in values)
    if kinds == {int}:
        return any(value is not None and not -(1 << 63) <= value < 1 << 63 for value in values)
    return len(kinds) > 1 or not kinds <= set(_KINDS)


def _told(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
