"""Services and their operations: what a handler gets and gives, and the codec between that and HTTP."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from botocore.model import OperationModel

from . import errors, query, rest_json, rest_xml
from .constraints import Check, Constraints
from .errors import Fault
from .eventstream import EventStream, Frames
from .models import Model
from .rest import Answer, Malformed
from .streams import Body, Headers
from .violations import Violation, echo

H = TypeVar("H", bound=Callable[..., Any])


@dataclass(slots=True)  # frozen, it would take as long to make as the route to find
class Call:
    """Who asks, and how. `extra` has the members of the JSON body that the model does not know.

    `access_key` is what the request was signed with, empty if it was not.

    What a handler puts into `headers` (lower-case names) goes out with its answer: what the model does not know either.
    """

    service: str
    operation: str
    account: str
    region: str
    request_id: str
    base_url: str
    extra: Mapping[str, Any]
    access_key: str = ""
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Call, Any], Any]


def quick(handler: H) -> H:
    """Mark a plain `def` that is quicker than a change of threads: it runs on the event loop."""
    handler.quick = True  # type: ignore[attr-defined]  # functions take attributes
    return handler


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came, for a handler that is `raw`."""

    method: str
    labels: Mapping[str, str]
    query: bytes
    headers: Headers
    body: Body


def raw(handler: H) -> H:
    """Mark an `async def handler(call, request: Request) -> Answer` that reads and writes HTTP itself."""
    handler.raw = True  # type: ignore[attr-defined]  # functions take attributes
    return handler


class Fixed(dict[str, Any]):
    """An output that nobody changes any more: it is rendered once, however often a handler returns it."""

    rendered: Answer | None = None


def _no_fault(error: Exception) -> Fault | None:
    return None


class Service:
    """One AWS service: its model, and the handlers by the names of the boto3 methods.

    `faults` translates an exception that a handler raised, None leaves it an internal error. `invalid` words the
    service's answer to values that its model refuses. `lenient` reads sloppy clients' values (`rest.RequestParser`).
    `any_text` names the shapes to whose patterns, lengths and enums the service itself does not hold. `verify` raises a
    Fault for a document that is not what its headers announce, of operations that have checksums. `headers` go out with
    every answer of an operation.
    """

    def __init__(
        self,
        name: str,
        handlers: Mapping[str, Handler],
        faults: Callable[[Exception], Fault | None] = _no_fault,
        invalid: Callable[[Sequence[Violation]], Fault] | None = None,
        lenient: bool = False,
        any_text: Collection[str] = (),
        verify: Callable[[Headers, bytes], None] | None = None,
    ) -> None:
        """Load the model; raises `ValueError` for a handler whose operation the service does not have."""
        self.name = name
        self.model = Model(name)
        unknown = handlers.keys() - self.model.operations.keys()
        if unknown:
            raise ValueError(f"{name} has no operation {', '.join(sorted(unknown))}")
        self.handlers = dict(handlers)
        self.faults = faults
        self.invalid = invalid or self._invalid
        self.lenient = lenient
        self.verify = verify
        self.id_headers = errors.id_headers(self.model)
        self.headers: Headers = []
        self.constraints = Constraints(any_text)

    def _invalid(self, violations: Sequence[Violation]) -> Fault:
        return errors.invalid(self.model, violations)


Parser = rest_json.RequestParser | rest_xml.RequestParser | query.RequestParser
Renderer = rest_json.ResponseRenderer | rest_xml.ResponseRenderer | query.ResponseRenderer


class Served:
    """An operation of a service with its handler; codec and checks are compiled at the first request."""

    __slots__ = ("check", "events", "handler", "kind", "method", "model", "parser", "renderer", "service")

    def __init__(self, service: Service, method: str, operation: OperationModel) -> None:
        self.service = service
        self.method = method
        self.model = operation
        self.handler = service.handlers.get(method)
        self.kind = _kind(self.handler)
        self.check: Check | None = None
        self.parser: Parser | None = None
        self.renderer: Renderer | None = None
        self.events: EventStream | None = None

    def compile(self) -> Parser:
        """Build the codec and the checks."""
        operation, status = self.model, int(self.model.http.get("responseCode", 200))
        if operation.input_shape is not None:
            self.check = self.service.constraints.of(operation.input_shape)
        protocol = self.service.model.protocol
        if protocol == "rest-xml":
            self.renderer = rest_xml.ResponseRenderer(operation.output_shape, status)
            self.parser = rest_xml.RequestParser(operation, self.service.lenient)
        elif protocol == "query":
            self.renderer = query.ResponseRenderer(operation)
            self.parser = query.RequestParser(operation)
        else:
            self.renderer = rest_json.ResponseRenderer(operation.output_shape, status)
            self.parser = rest_json.RequestParser(operation, self.service.lenient)
        if operation.has_event_stream_output:
            written = rest_xml.ResponseRenderer if protocol == "rest-xml" else rest_json.ResponseRenderer
            self.events = EventStream(operation.get_event_stream_output(), written)
        return self.parser

    def read(
        self, labels: Mapping[str, str], query: bytes, headers: Headers, body: bytes | Body
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The checked input and the unknown members of the body; raises `Fault`."""
        parser = self.parser or self.compile()
        if self.service.verify is not None and isinstance(body, bytes) and self.model.http_checksum:
            self.service.verify(headers, body)
        try:
            values, extra = parser.parse(labels, query, headers, body)
        except Malformed as error:
            raise errors.malformed(self.service.model, str(error)) from error
        if self.check is not None:
            violations: list[Violation] = []
            self.check(values, "", violations)
            if violations:
                raise self.service.invalid(violations)
        return values, extra

    async def begin(self, output: dict[str, Any], fault_of: Callable[[Exception], Fault]) -> dict[str, Any]:
        """The output with its events framed, once the first of them has come; see `Frames.begin`."""
        assert self.events is not None
        member = self.model.output_shape.event_stream_name
        return {**output, member: await Frames.begin(self.events, output[member], fault_of)}

    def render(self, output: dict[str, Any], request_id: str) -> Answer:
        """Status, headers and body of an output; the headers are the caller's to add to."""
        assert self.renderer is not None
        if not isinstance(output, Fixed):
            return self.renderer.render(output, request_id)
        status, headers, body = output.rendered = output.rendered or self.renderer.render(output, request_id)
        return status, headers.copy(), body


class Actions:
    """The operations of a service of the query protocol: a form's field names the one that is meant."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._operations = {
            operation.name: Served(service, method, operation) for method, operation in service.model.operations.items()
        }

    def named(self, query_string: bytes, body: bytes) -> Served:
        """The operation that a request names; raises `Fault`."""
        try:
            action = query.form(query_string, body).get("Action", "")
        except Malformed as error:
            raise errors.malformed(self.service.model, str(error)) from error
        if action not in self._operations:
            message = f"Could not find operation {echo(action)}" if action else "The request names no Action"
            raise Fault("InvalidAction" if action else "MissingAction", message)
        return self._operations[action]


def _kind(handler: Handler | None) -> str:
    if handler is None:
        return "none"
    if getattr(handler, "raw", False):
        return "raw"
    called = handler if inspect.isroutine(handler) else type(handler).__call__
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(called):
        return "async"
    return "quick" if getattr(handler, "quick", False) else "thread"
