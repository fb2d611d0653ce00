"""Requests to a Neptune ML endpoint, as awslabs/neptuneml-toolkit sends them, read with tolerance and checked.

`{"version": "v1", "mode": …, "data": {"globalParameters": {…}, "nodes": [{"nodeId": …}]}}`; link prediction has
`"edges": [{"headNodeId": …}]` or `[{"tailNodeId": …}]` instead, an edge's property both in each item. An item may be
the bare id as well, but for edges.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from modelyard.runner.serving import RequestError

MAX_TOP = 100
"""Results for one item, as Neptune ML limits them (`Neptune#ml.limit`)."""
MAX_ITEMS = 10_000
MAX_HOPS = 100

Mode = Literal["predict_tail", "predict_head", "embed_knn"]

_KEYS: Mapping[str | None, tuple[str, ...]] = {
    "predict_tail": ("headNodeId", "nodeId", "id"),
    "predict_head": ("tailNodeId", "nodeId", "id"),
    "embed_knn": ("nodeId", "headNodeId", "id"),
    None: ("nodeId", "headNodeId", "id"),
}
_TAIL = ("tailNodeId",)

EDGE_TASKS = ("edge_class", "edge_regression")


@dataclass(frozen=True)
class Request:
    """A checked request; `ids` are as the client wrote them, strings or whole numbers."""

    ids: tuple[str | int, ...]
    mode: Mode | None = None
    top: int = 1
    exclude: bool = False
    edge_type: str | None = None
    head_type: str | None = None
    tail_type: str | None = None
    property: str | None = None
    tails: tuple[str | int, ...] = ()
    """The other ends of edges whose property is asked for."""
    graph: Any = None
    """Nodes and edges that the request brings; None asks for what the transform computed."""
    fanout: tuple[int, ...] | None = None
    """How many stored neighbours take part in each step; None for all."""
    deterministic: bool = True


def read_request(body: bytes, task: str) -> Request:
    """Reads the body of a request to a model of `task`; RequestError names what is wrong, and where."""
    document = _document(body)
    data = _object(document, "data") if "data" in document else document
    parameters = {**document, **data, **_object(data, "globalParameters")}
    items = _asked(data)
    if not isinstance(items, list):
        raise RequestError('data.nodes is missing: a list such as [{"nodeId": "a"}], or data.edges for links')
    if len(items) > MAX_ITEMS:
        raise RequestError(f"{len(items)} items; at most {MAX_ITEMS} are answered in one request")
    mode = _mode(parameters, task, items)
    of_edges = mode is None and task in EDGE_TASKS
    return Request(
        ids=_ids(items, _KEYS[mode]),
        mode=mode,
        top=_top(parameters.get("topk")),
        exclude=_exclude(parameters),
        edge_type=_text(parameters, "edgeType"),
        head_type=_text(parameters, "headNodeType"),
        tail_type=_text(parameters, "tailNodeType"),
        property=_text(parameters, "property"),
        graph=data.get("graph"),
        fanout=_fanout(parameters.get("fanout")),
        deterministic=_deterministic(parameters.get("deterministic")),
        tails=_ids([_edge(item, number) for number, item in enumerate(items)], _TAIL) if of_edges else (),
    )


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is no JSON: {error}") from None
    if not isinstance(document, dict):
        raise RequestError(f'the body is {_shown(document)}, not an object with "data"')
    if document.get("version") not in (None, "", "v1", "gs-realtime-v0.1"):
        raise RequestError(f"version is {_shown(document['version'])}; this endpoint knows 'v1'")
    return document


def _asked(data: Mapping[str, Any]) -> Any:
    """The items; GraphStorm calls them targets, and their members otherwise."""
    if not isinstance(targets := data.get("targets"), list):
        return data.get("nodes", data.get("edges"))
    names = {"node_id": "nodeId", "src_node_id": "headNodeId", "dest_node_id": "tailNodeId"}
    return [{names.get(key, key): one[key] for key in one} if isinstance(one, dict) else one for one in targets]


def _object(parent: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = parent.get(name)
    if value is not None and not isinstance(value, dict):
        raise RequestError(f"{name} is {_shown(value)}; it must be an object")
    return value or {}


def _edge(item: Any, number: int) -> dict[str, Any]:
    if not isinstance(item, dict) or item.get("headNodeId") is None or item.get("tailNodeId") is None:
        raise RequestError(f"item {number} needs a headNodeId and a tailNodeId: {_shown(item)}")
    return item


def _mode(parameters: Mapping[str, Any], task: str, items: list[Any]) -> Mode | None:
    mode = _text(parameters, "mode")
    if mode == "predict_edge" and task in EDGE_TASKS:
        return None
    allowed = ("predict_tail", "predict_head", "embed_knn") if task == "link_predict" else ("embed_knn",)
    if mode is None and task == "link_predict":
        heads = all(isinstance(item, dict) and item.get("headNodeId") is None for item in items) and items
        for number, item in enumerate(items):
            if isinstance(item, dict) and None not in (item.get("headNodeId"), item.get("tailNodeId")):
                raise RequestError(f"item {number} names both ends; say mode predict_tail or predict_head")
        return "predict_head" if heads and items[0].get("tailNodeId") is not None else "predict_tail"
    if mode is not None and mode not in allowed:
        raise RequestError(f"mode is {mode!r}; for the task {task} it can be {' or '.join(allowed)}")
    return mode  # type: ignore[return-value]  # `allowed` are modes


def _ids(items: list[Any], keys: tuple[str, ...]) -> tuple[str | int, ...]:
    try:
        ids = [item[keys[0]] for item in items]
        if all(type(id) is str for id in ids):
            return tuple(ids)  # as most clients send them
    except (TypeError, KeyError):
        pass
    return tuple(_id(item, number, keys) for number, item in enumerate(items))


def _id(item: Any, number: int, keys: tuple[str, ...]) -> str | int:
    raw = item
    if isinstance(item, dict):
        raw = next((item[key] for key in keys if item.get(key) is not None), None)
        if raw is None:
            raise RequestError(f"item {number} has no {keys[0]}: {_shown(item)}")
    if isinstance(raw, float) and raw.is_integer():
        raw = int(raw)
    if isinstance(raw, bool) or not isinstance(raw, str | int):
        raise RequestError(f"the id of item {number} is {_shown(raw)}; it must be a string or a whole number")
    return raw


def _top(value: Any) -> int:
    if value is None or value == "":
        return 1
    try:
        top = 0 if isinstance(value, bool) else int(str(value)[:20])
    except ValueError:
        top = 0
    if not 1 <= top <= MAX_TOP:
        raise RequestError(f"topk is {_shown(value)}; it must be a whole number from 1 to {MAX_TOP}")
    return top


def _fanout(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    layers = value if isinstance(value, list) else [value]
    if not 1 <= len(layers) <= MAX_HOPS or not all(type(one) is int and one >= 1 for one in layers):
        raise RequestError(f"fanout is {_shown(value)}; it must be a whole number from 1 on, or a list of them")
    return tuple(layers)


def _deterministic(value: Any) -> bool:
    if value not in (None, True, False):
        raise RequestError(f"deterministic is {_shown(value)}; it must be true or false")
    return value is not False


def _exclude(parameters: Mapping[str, Any]) -> bool:
    flag = _text(parameters, "exclude_flag")
    if flag not in (None, "mask"):
        raise RequestError(
            f"exclude_flag is {flag!r}; it can be 'mask', which leaves known training links out, or absent"
        )
    return flag == "mask"


def _text(parameters: Mapping[str, Any], name: str) -> str | None:
    """A string parameter; an empty one counts as absent, as with all of Neptune's clients."""
    value = parameters.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestError(f"{name} is {_shown(value)}; it must be a string")
    return value or None


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
