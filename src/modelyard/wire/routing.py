"""From a request to an operation: tries of path segments, one a signing name and one for all.

Where a service has several operations at one path, as S3 has, the query string and the headers tell them apart.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar
from urllib.parse import parse_qsl, unquote

from botocore.model import OperationModel

from . import hosts
from .rest import Malformed, query_fields
from .streams import header

T = TypeVar("T")

_ARN_SEGMENTS = 3
"""Of a path that an unescaped ARN takes at most: a custom model's takes three."""


class UnknownPath(LookupError):
    """No operation has this path, or it cannot be read.

    signing_name: of the service whose path it would be; None if it could be anybody's.
    """

    def __init__(self, signing_name: str | None = None) -> None:
        super().__init__()
        self.signing_name = signing_name


class WrongMethod(LookupError):
    """The path exists, with other methods; `signing_name` as in `UnknownPath`."""

    signing_name: str | None = None

    def __init__(self, allowed: list[str]) -> None:
        super().__init__(f"allowed: {', '.join(allowed)}")
        self.allowed = allowed


class _Needs:
    """Names in the query string, and in lower case of headers, without which an operation makes no sense."""

    def __init__(self, operation: OperationModel | None) -> None:
        shape = operation.input_shape if operation is not None else None
        required = [shape.members[member].serialization for member in shape.required_members] if shape else []
        self.query = frozenset(part["name"] for part in required if part.get("location") == "querystring")
        headers = (part["name"].lower().encode() for part in required if part.get("location") == "header")
        self.headers = frozenset(headers)
        self.deprecated = operation is not None and bool(operation.deprecated)


@dataclass(slots=True)
class Route(Generic[T]):
    """Where one operation answers: `path` in the model's form, `/ml/endpoints/{id}` or `/{Bucket}/{Key+}?uploads`.

    `operation` tells routes at one path apart.
    """

    signing_name: str
    method: str
    path: str
    target: T
    operation: OperationModel | None = None
    labels: list[str] = field(default_factory=list)
    literals: dict[str, str] = field(default_factory=dict)
    needs: _Needs | None = None

    def __post_init__(self) -> None:
        if "?" in self.path:
            self.literals = dict(parse_qsl(self.path.partition("?")[2], keep_blank_values=True))

    @classmethod
    def of(cls, signing_name: str, operation: OperationModel, target: T) -> "Route[T]":
        """The route that the model gives to an operation."""
        return cls(signing_name, operation.http["method"], operation.http["requestUri"], target, operation)


@dataclass(slots=True)
class _Node(Generic[T]):
    literals: dict[str, "_Node[T]"] = field(default_factory=dict)
    label: "_Node[T] | None" = None
    greedy: dict[str, list[Route[T]]] = field(default_factory=dict)
    routes: dict[str, list[Route[T]]] = field(default_factory=dict)


Found = tuple[dict[str, list[Route[T]]], list[str]]
"""The routes at a path by their methods, and the values of the path's labels."""


class Router(Generic[T]):
    """The routes of all services; a signed request sees its own signing name's routes only.

    `last` is the signing name of the service that is asked for what is not signed and no other service's path. Its
    paths may begin in the Host header: as S3's do, which is said by `hosts.bucket`.
    """

    def __init__(self, last: str | None = None) -> None:
        self._last = last
        self._everything: _Node[T] = _Node()
        self._by_signing_name: dict[str, _Node[T]] = {}

    def add(self, route: Route[T], signed_only: bool = False) -> None:
        """Add a route and note the names of its labels; `signed_only` keeps it from requests without a signature."""
        own = self._by_signing_name.setdefault(route.signing_name, _Node())
        for root in (own,) if signed_only else (self._everything, own):
            route.labels = _insert(root, route)

    def match(
        self,
        signing_name: str | None,
        method: str,
        raw_path: str,
        query: bytes = b"",
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> tuple[T, Mapping[str, str]]:
        """The operation's target and its decoded labels; `raw_path` is still percent-encoded.

        A request with an unknown signing name, or none, is matched by its path alone. Of these the `last` service gets
        what is not signed, or by a name that begins as its own ("s3express"). HEAD is answered as GET where the model
        has no operation for it. Raises `UnknownPath` or `WrongMethod`.
        """
        root = self._by_signing_name.get(signing_name or "", self._everything)
        if signing_name == self._last is not None and (bucket := hosts.bucket(header(headers, b"host"))):
            raw_path = f"/{bucket}{raw_path}"
        segments = raw_path.split("/")[1:]
        slash = bool(segments) and segments[-1] == ""
        if slash:
            segments.pop()
        try:
            found = _descend(root, segments, method) or _walk(root, segments, 0, method, [], "/" if slash else "")
            if found is None:
                raise self._nothing(root, segments)
            by_method, values = found
            routes = by_method.get(method) or by_method["GET"]
            route = routes[0] if len(routes) == 1 else _choose(by_method, routes, values, query, headers)
        except (UnknownPath, UnicodeDecodeError, Malformed) as error:
            if (
                self._last is not None
                and root is self._everything
                and (signing_name or self._last).startswith(self._last)
            ):
                return self.match(self._last, method, raw_path, query, headers)
            raise UnknownPath(signing_name) from error
        except WrongMethod as wrong:
            wrong.signing_name = signing_name
            raise
        return route.target, dict(zip(route.labels, values, strict=True)) if values else {}

    def _nothing(self, root: _Node[T], segments: list[str]) -> LookupError:
        methods = sorted(_methods(root, segments, 0))
        return WrongMethod(methods) if methods else UnknownPath()


def _insert(root: _Node[T], route: Route[T]) -> list[str]:
    node = root
    labels: list[str] = []
    for segment in filter(None, route.path.partition("?")[0].split("/")):
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


def _takes(by_method: dict[str, list[Route[T]]], method: str) -> bool:
    return method in by_method or (method == "HEAD" and "GET" in by_method)


def _unquote(text: str) -> str:
    return unquote(text, errors="strict")


def _descend(node: _Node[T], segments: list[str], method: str) -> Found[T] | None:
    """`_walk` for the usual case, in which no step has a choice; None says nothing."""
    values = []
    for segment in segments:
        child = node.literals.get(segment)
        if child is None:
            child = node.label
            if child is None or not segment:
                return None
            values.append(_unquote(segment) if "%" in segment else segment)
        node = child
    return (node.routes, values) if method in node.routes else None


def _walk(node: _Node[T], segments: list[str], at: int, method: str, values: list[str], slash: str) -> Found[T] | None:
    """Literals before labels, labels before greedy ones; goes back where a literal leads nowhere.

    `slash` ended the path: only a greedy label has it.
    """
    if at == len(segments):
        return (node.routes, values) if _takes(node.routes, method) else None
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        found = _walk(child, segments, at + 1, method, values, slash)
        if found is not None:
            return found
    if node.label is not None and segment:
        for end in range(at + 1, _last_end(segments, at) + 1):
            value = _unquote("/".join(segments[at:end]))
            found = _walk(node.label, segments, end, method, [*values, value], slash)
            if found is not None:
                return found
    if not _takes(node.greedy, method):
        return None
    return node.greedy, [*values, _unquote("/".join(segments[at:]) + slash)]


def _last_end(segments: list[str], at: int) -> int:
    """Where a label's value ends at the latest: slashes within an ARN are to be escaped, but not every client does."""
    is_arn = segments[at].startswith("arn:")
    return min(at + _ARN_SEGMENTS, len(segments)) if is_arn else at + 1


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


def _choose(
    by_method: dict[str, list[Route[T]]],
    routes: list[Route[T]],
    values: list[str],
    query: bytes,
    headers: Sequence[tuple[bytes, bytes]],
) -> Route[T]:
    if routes[0].signing_name == routes[-1].signing_name:
        return _most_specific(by_method, routes, query, headers)
    return _by_arn(routes, values)


def _most_specific(
    by_method: dict[str, list[Route[T]]], routes: list[Route[T]], query: bytes, headers: Sequence[tuple[bytes, bytes]]
) -> Route[T]:
    """The route with most of what the request says; raises `WrongMethod` if it would leave a part of it aside."""
    given = dict(query_fields(query))
    names = {name for name, _ in headers}

    def rank(route: Route[T]) -> tuple[int, int, int, bool]:
        needs = route.needs = route.needs or _Needs(route.operation)
        present = len(needs.query & given.keys()) + len(needs.headers & names)
        missing = len(needs.query) + len(needs.headers) - present
        return len(route.literals), present, -missing, not needs.deprecated

    best = max((route for route in routes if _fits(route, given)), key=rank, default=None)
    if best is not None and not given:
        return best
    said = best.literals.keys() if best is not None else set()
    fitting = [other for alternatives in by_method.values() for other in alternatives if _fits(other, given)]
    beyond = fitting if best is None else [other for other in fitting if other.literals.keys() - said]
    if best is None or beyond:
        raise WrongMethod(sorted({other.method for other in beyond}))
    return best


def _fits(route: Route[T], given: Mapping[str, str]) -> bool:
    """Whether the request has the literal parts of the route's query string; one without a value takes any."""
    literals = route.literals
    if not literals or not given:
        return not literals
    return all(name in given and value in ("", given[name]) for name, value in literals.items())


def _by_arn(routes: list[Route[T]], values: list[str]) -> Route[T]:
    """The route of the service that a label's ARN names; without one the first service of the list."""
    for value in values:
        if value.startswith("arn:"):
            owner = value.split(":", 3)[2]
            for route in routes:
                if route.signing_name == owner:
                    return route
    return routes[0]
