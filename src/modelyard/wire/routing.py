"""From method and raw path to an operation: tries of path segments, one a signing name and one for all."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import unquote

T = TypeVar("T")


class UnknownPath(LookupError):
    """No operation has this path."""


class WrongMethod(LookupError):
    """The path exists, with other methods."""

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(f"allowed: {', '.join(allowed)}")
        self.allowed = allowed


@dataclass(slots=True)
class Route(Generic[T]):
    """Where one operation answers: `path` in the model's form, `/ml/endpoints/{id}`."""

    signing_name: str
    method: str
    path: str
    target: T
    labels: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, "_Node[T]"] = field(default_factory=dict)
    label: "_Node[T] | None" = None
    greedy: dict[str, list[Route[T]]] = field(default_factory=dict)
    routes: dict[str, list[Route[T]]] = field(default_factory=dict)


class Router(Generic[T]):
    """The routes of all services; a signed request sees its own signing name's routes only."""

    def __init__(self) -> None:
        self._everything: _Node[T] = _Node()
        self._by_signing_name: dict[str, _Node[T]] = {}

    def add(self, route: Route[T]) -> None:
        """Add a route and note the names of its labels."""
        own = self._by_signing_name.setdefault(route.signing_name, _Node())
        for root in (self._everything, own):
            route.labels = _insert(root, route)

    def match(self, signing_name: str | None, method: str, raw_path: str) -> tuple[T, Mapping[str, str]]:
        """The operation's target and its decoded labels; `raw_path` is still percent-encoded.

        A request with an unknown signing name, or none, is matched by its path alone. Raises `UnknownPath` or
        `WrongMethod`.
        """
        root = self._by_signing_name.get(signing_name or "", self._everything)
        segments = raw_path.split("/")[1:]
        if segments and segments[-1] == "":
            segments.pop()
        found = _descend(root, segments, method) or _walk(root, segments, 0, method, [])
        if found is None:
            raise self._nothing(root, segments)
        routes, values = found
        route = routes[0] if len(routes) == 1 else _choose(routes, values)
        return route.target, dict(zip(route.labels, values, strict=True)) if values else {}

    def _nothing(self, root: _Node[T], segments: list[str]) -> LookupError:
        methods = sorted(_methods(root, segments, 0))
        return WrongMethod(methods) if methods else UnknownPath()


def _insert(root: _Node[T], route: Route[T]) -> list[str]:
    node = root
    labels: list[str] = []
    for segment in route.path.partition("?")[0].strip("/").split("/"):
        if segment.endswith("+}"):
            node.greedy.setdefault(route.method, []).append(route)
            return [*labels, segment[1:-2]]
        if segment.startswith("{"):
            labels.append(segment[1:-1])
            node.label = node.label or _Node()
            node = node.label
        else:
            node = node.literals.setdefault(segment, _Node())
    node.routes.setdefault(route.method, []).append(route)
    return labels


def _descend(node: _Node[T], segments: list[str], method: str) -> tuple[list[Route[T]], list[str]] | None:
    """`_walk` for the usual case, in which no step has a choice; None says nothing."""
    values = []
    for segment in segments:
        child = node.literals.get(segment)
        if child is None:
            child = node.label
            if child is None or not segment:
                return None
            values.append(unquote(segment) if "%" in segment else segment)
        node = child
    routes = node.routes.get(method)
    return (routes, values) if routes else None


def _walk(
    node: _Node[T], segments: list[str], at: int, method: str, values: list[str]
) -> tuple[list[Route[T]], list[str]] | None:
    """Literals before labels, labels before greedy ones; goes back where a literal leads nowhere."""
    if at == len(segments):
        routes = node.routes.get(method)
        return (routes, values) if routes else None
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        found = _walk(child, segments, at + 1, method, values)
        if found is not None:
            return found
    if node.label is not None and segment:
        found = _walk(node.label, segments, at + 1, method, [*values, unquote(segment)])
        if found is not None:
            return found
    routes = node.greedy.get(method)
    return (routes, [*values, unquote("/".join(segments[at:]))]) if routes else None


def _methods(node: _Node[T], segments: list[str], at: int) -> set[str]:
    if at == len(segments):
        return set(node.routes)
    methods = set(node.greedy)
    child = node.literals.get(segments[at])
    if child is not None:
        methods |= _methods(child, segments, at + 1)
    if node.label is not None and segments[at]:
        methods |= _methods(node.label, segments, at + 1)
    return methods


def _choose(routes: list[Route[T]], values: list[str]) -> Route[T]:
    """The route of the service that a label's ARN names; without one the first service of the list."""
    for value in values:
        if value.startswith("arn:"):
            owner = value.split(":", 3)[2]
            for route in routes:
                if route.signing_name == owner:
                    return route
    return routes[0]
