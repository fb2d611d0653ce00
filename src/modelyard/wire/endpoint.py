"""The ASGI application: a request in any of the services' protocols becomes a call of a handler."""

import asyncio
import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import getrandbits
from typing import Any, TypeVar

from botocore.model import OperationModel

from . import errors
from .constraints import Check, Constraints, Violation, echo, sentence
from .errors import Fault
from .identity import Identity, account_of_key, identify
from .models import Model
from .rest_json import Headers, Malformed, RequestParser, ResponseRenderer
from .routing import Route, Router, UnknownPath, WrongMethod

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Page = Callable[[Scope, Receive, Send], Awaitable[None]]
Answer = tuple[int, Headers, bytes]
H = TypeVar("H", bound=Callable[..., Any])

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request body, unless the application sets another limit."""
_DRAINED = 4
"""So many times the limit is read and thrown away, so that the client gets to read its refusal."""

_LONGEST_HOST = 260
_HOST = re.compile(rb"([A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, and how. `extra` has the members of the JSON body that the model does not know."""

    service: str
    operation: str
    account: str
    region: str
    request_id: str
    base_url: str
    extra: Mapping[str, Any]


Handler = Callable[[Call, dict[str, Any]], Any]


def quick(handler: H) -> H:
    """Mark a plain `def` that is quicker than a change of threads: it runs on the event loop."""
    handler.quick = True  # type: ignore[attr-defined]
    return handler


class Fixed(dict[str, Any]):
    """An output that nobody changes any more: it is rendered once, however often a handler returns it."""

    rendered: Answer | None = None


def _no_fault(error: Exception) -> Fault | None:
    return None


class Service:
    """One AWS service: its model, and the handlers by the names of the boto3 methods.

    `faults` translates an exception that a handler raised, None leaves it an internal error. `invalid` words the
    service's answer to values that its model refuses. `lenient` reads sloppy clients' values (`RequestParser`).
    """

    def __init__(
        self,
        name: str,
        handlers: Mapping[str, Handler],
        faults: Callable[[Exception], Fault | None] = _no_fault,
        invalid: Callable[[Sequence[Violation]], Fault] | None = None,
        lenient: bool = False,
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
        self.constraints = Constraints()

    def _invalid(self, violations: Sequence[Violation]) -> Fault:
        return errors.invalid(self.model, sentence(violations))


class _Served:
    """An operation of a service with its handler; codec and checks are compiled at the first request."""

    __slots__ = ("check", "handler", "kind", "method", "model", "operation", "parser", "renderer", "service")

    def __init__(self, service: Service, method: str, operation: OperationModel) -> None:
        self.service = service
        self.method = method
        self.operation: str = operation.name
        self.model = operation
        self.handler = service.handlers.get(method)
        self.kind = _kind(self.handler)
        self.check: Check | None = None
        self.parser: RequestParser | None = None
        self.renderer: ResponseRenderer | None = None

    def compile(self) -> RequestParser:
        """Build the codec and the checks."""
        status = int(self.model.http.get("responseCode", 200))
        if self.model.input_shape is not None:
            self.check = self.service.constraints.of(self.model.input_shape)
        self.renderer = ResponseRenderer(self.model.output_shape, status)
        self.parser = RequestParser(self.model, self.service.lenient)
        return self.parser

    def read(
        self, labels: Mapping[str, str], query: bytes, headers: Headers, body: bytes
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The checked input and the unknown members of the body; raises `Fault`."""
        parser = self.parser or self.compile()
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

    def render(self, output: dict[str, Any]) -> Answer:
        """Status, headers and body of an output; the headers are the caller's to add to."""
        assert self.renderer is not None
        if not isinstance(output, Fixed):
            return self.renderer.render(output)
        status, headers, body = output.rendered = output.rendered or self.renderer.render(output)
        return status, headers.copy(), body


def _kind(handler: Handler | None) -> str:
    if handler is None:
        return "none"
    called = handler if inspect.isroutine(handler) else type(handler).__call__
    if inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(called):
        return "async"
    return "quick" if getattr(handler, "quick", False) else "thread"


class _HungUp(Exception):
    """The client went away before its answer was ready."""


class Endpoint:
    """ASGI 3 application that answers for all services on one port.

    `pages` maps an exact path (`/health`), or a prefix that ends with a slash (`/-/logs/`), to an ASGI
    application of its own. `identify` maps an access key or bearer key to its account. `max_body` is in bytes.
    """

    def __init__(
        self,
        services: Sequence[Service],
        pages: Mapping[str, Page] | None = None,
        identify: Callable[[str], str] | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self.services = tuple(services)
        self._pages = dict(pages or {})
        self._account_of = identify or account_of_key
        self._max_body = max_body
        self._router: Router[_Served] = Router()
        for service in services:
            for method, operation in service.model.operations.items():
                served = _Served(service, method, operation)
                http = operation.http
                self._router.add(Route(service.model.signing_name, http["method"], http["requestUri"], served))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            await _other_protocol(scope, receive, send)
            return
        page = self._page(scope["path"])
        if page is not None:
            await page(scope, receive, send)
            return
        request_id = _request_id()
        try:
            answer = await self._answer(scope, receive, request_id)
        except _HungUp:
            return
        except Exception:
            log.exception("request %s failed", request_id)
            answer = errors.render(_internal("InternalServerException", request_id), request_id, None)
        await _send(send, scope["method"], answer)

    def _page(self, path: str) -> Page | None:
        page = self._pages.get(path)
        if page is None and path.startswith("/-/"):
            end = path.find("/", 3)
            return self._pages.get(path[: end + 1]) if end > 0 else None
        return page

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Answer:
        headers = scope["headers"]
        caller = identify(headers, scope["query_string"], self._account_of)
        try:
            served, labels = self._route(scope, caller)
        except Fault as fault:
            return errors.render(fault, request_id, None)
        except WrongMethod as wrong:
            return self._wrong_method(scope, wrong, caller, request_id)
        model = served.service.model
        try:
            if served.handler is None:
                raise errors.unsupported(model, served.operation)
            if scope["method"] != "GET" and from_another_site(headers):
                raise Fault("AccessDeniedException", "Requests from web pages of other sites are refused", status=403)
            parser = served.parser or served.compile()
            body = await self._read_body(scope, receive, served) if parser.reads_body else b""
            values, extra = served.read(labels, scope["query_string"], headers, body)
            call = Call(
                served.service.name,
                served.method,
                caller.account,
                caller.region,
                request_id,
                _base_url(scope),
                extra,
            )
            if served.kind == "quick":
                output = served.handler(call, values)
            else:
                output = await _run(served, call, values, receive)
            status, answer_headers, content = served.render(output or {})
            answer_headers.append((b"x-amzn-requestid", request_id.encode()))
            return status, answer_headers, content
        except _HungUp:
            raise
        except Fault as fault:
            return errors.render(fault, request_id, model)
        except Exception as error:
            return errors.render(self._translate(served, error, request_id), request_id, model)

    def _route(self, scope: Scope, caller: Identity) -> tuple[_Served, Mapping[str, str]]:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        path = _raw_path(scope)
        try:
            return self._router.match(caller.signing_name, method, path)
        except UnknownPath as error:
            where = f"{scope['method']} {echo(path)}"
            message = f"No operation of a service that is served here answers {where}"
            raise Fault(errors.UNKNOWN_OPERATION, message) from error

    def _wrong_method(self, scope: Scope, wrong: WrongMethod, caller: Identity, request_id: str) -> Answer:
        allow = (b"allow", ", ".join(wrong.allowed).encode())
        if scope["method"] == "OPTIONS":
            return 204, [allow, (b"x-amzn-requestid", request_id.encode())], b""
        model = next((s.model for s in self.services if s.model.signing_name == caller.signing_name), None)
        message = f"{echo(_raw_path(scope))} answers {', '.join(wrong.allowed)} only"
        fault = Fault("MethodNotAllowedException", message, status=405)
        status, headers, body = errors.render(fault, request_id, model)
        return status, [*headers, allow], body

    def _translate(self, served: _Served, error: Exception, request_id: str) -> Fault:
        fault = served.service.faults(error)
        if fault is not None:
            return fault
        log.error("request %s: %s failed", request_id, served.operation, exc_info=error)
        return _internal(served.service.model.internal_error, request_id)

    async def _read_body(self, scope: Scope, receive: Receive, served: _Served) -> bytes:
        """The body of the request; raises `Fault` above the limit."""
        length = _header(scope["headers"], b"content-length")
        too_long = length is not None and length.isdigit() and int(length) > self._max_body
        if too_long and _header(scope["headers"], b"expect") is not None:
            raise self._too_large(served)
        chunks: list[bytes] = []
        size, more = 0, True
        while more and size <= _DRAINED * self._max_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _HungUp
            chunk = message.get("body", b"")
            size += len(chunk)
            more = message.get("more_body", False)
            if too_long or size > self._max_body:
                too_long = True
                chunks.clear()
            else:
                chunks.append(chunk)
        if too_long:
            raise self._too_large(served)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _too_large(self, served: _Served) -> Fault:
        message = f"The request body is larger than {self._max_body} bytes"
        return errors.malformed(served.service.model, message, status=413)


async def _run(served: _Served, call: Call, values: dict[str, Any], receive: Receive) -> Any:
    handler = served.handler
    assert handler is not None
    if served.kind == "thread":
        return await asyncio.to_thread(handler, call, values)
    return await _until_hang_up(handler(call, values), receive)


async def _until_hang_up(work: Awaitable[Any], receive: Receive) -> Any:
    """The work's result; cancels the work and raises `_HungUp` when the client goes away before."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_hang_up(receive))
    try:
        await asyncio.wait((task, watch), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise _HungUp
    finally:
        watch.cancel()
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _internal(code: str, request_id: str) -> Fault:
    return Fault(code, f"The server failed; its log has the cause under request {request_id}", status=500)


def _header(headers: Headers, wanted: bytes) -> bytes | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None


def from_another_site(headers: Headers) -> bool:
    """Whether a browser sends this for a page of another site: bodies of any type are read, also a form's."""
    origin = _header(headers, b"origin")
    return origin is not None and origin.partition(b"://")[2] != _header(headers, b"host")


def _raw_path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])


def _base_url(scope: Scope) -> str:
    """The address that the client used, or the server's own where the Host header is no host."""
    host = _header(scope["headers"], b"host")
    if host is not None and len(host) <= _LONGEST_HOST:
        url = _url(scope.get("scheme", "http"), host)
        if url is not None:
            return url
    name, port = scope.get("server") or ("127.0.0.1", None)
    return f"http://{name}:{port}" if port else f"http://{name}"


@lru_cache(maxsize=256)
def _url(scheme: str, host: bytes) -> str | None:
    return f"{scheme}://{host.decode('ascii')}" if _HOST.fullmatch(host) else None


def _request_id() -> str:
    """In the form of a UUID; unique is enough, nobody has to be unable to guess it."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


async def _send(send: Send, method: str, answer: Answer) -> None:
    status, headers, body = answer
    if status != 204:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})


async def _other_protocol(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1000})
        return
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
