"""The ASGI application: a request in any of the services' protocols becomes a call of a handler."""

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from hashlib import sha256
from random import getrandbits
from typing import Any

from . import errors, hosts, presigned, streams
from .errors import Fault
from .identity import AccountOf, BadToken, Identity, account_of_key, identify
from .models import Model
from .rest import Answer
from .routing import Route, Router, UnknownPath, WrongMethod
from .service import Actions, Call, Fixed, Handler, Request, Served, Service, quick
from .signature import BadSignature, Signatures, body_hash
from .streams import Body, Cut, Headers, HungUp, Receive, Scope, Send, TooLarge, header, until_hang_up
from .violations import echo

__all__ = ["Call", "Endpoint", "Fixed", "Handler", "Page", "Receive", "Scope", "Send", "Service", "quick"]

log = logging.getLogger(__name__)

Page = Callable[[Scope, Receive, Send], Awaitable[None]]

MAX_BODY = 32 * 1024 * 1024
"""Bytes of a request body, unless the application sets another limit."""


class Endpoint:
    """ASGI 3 application that answers for all services on one port.

    `pages` maps an exact path (`/health`), or a prefix that ends with a slash (`/-/logs/`), to an ASGI
    application of its own. `identify` maps an access key or bearer key to its account. `max_body` is in bytes; bodies
    that a handler reads as they arrive have no limit here. `clock` gives seconds since 1970. `signatures` are checked
    if there are any.
    """

    def __init__(
        self,
        services: Sequence[Service],
        pages: Mapping[str, Page] | None = None,
        identify: AccountOf | None = None,
        max_body: int = MAX_BODY,
        clock: Callable[[], float] = time.time,
        signatures: Signatures | None = None,
    ) -> None:
        self._signatures = signatures
        self.services = tuple(services)
        self._pages = dict(pages or {})
        self._account_of = identify or account_of_key
        self._max_body = max_body
        self._clock = clock
        self._models: dict[str | None, Model] = {}
        # Any path can be a bucket and a key.
        last = next((s.model.signing_name for s in services if s.model.protocol == "rest-xml"), None)
        self._router: Router[Served | Actions] = Router(last)
        for service in services:
            self._models.setdefault(service.model.signing_name, service.model)
            self._add(service)

    def _add(self, service: Service) -> None:
        name, protocol = service.model.signing_name, service.model.protocol
        if protocol == "query":
            for method in ("POST", "GET"):
                self._router.add(Route(name, method, "/", Actions(service)), signed_only=True)
            return
        for method, operation in service.model.operations.items():
            route = Route[Served | Actions].of(name, operation, Served(service, method, operation))
            self._router.add(route, signed_only=protocol == "rest-xml")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if scope["type"] != "http":
            await _other_protocol(scope, receive, send)
            return
        page = self._page(scope)
        if page is not None:
            await page(scope, receive, send)
            return
        request_id = _request_id()
        try:
            answer = await self._answer(scope, receive, request_id)
        except HungUp:
            return
        except Exception:
            log.exception("request %s failed", request_id)
            answer = errors.render(_internal("InternalServerException", request_id), request_id, None)
        await _send(scope, receive, send, answer, request_id)

    def _page(self, scope: Scope) -> Page | None:
        path: str = scope["path"]
        page = self._pages.get(path)
        if path.startswith("/-/"):  # no bucket can have that name
            end = path.find("/", 3)
            return page or (self._pages.get(path[: end + 1]) if end > 0 else None)
        if page is not None and self._signed(scope):
            return None
        return page

    def _signed(self, scope: Scope) -> bool:
        try:
            caller = identify(scope["headers"], scope["query_string"], self._account_of)
        except BadToken:
            return True
        return caller.signing_name is not None

    async def _answer(self, scope: Scope, receive: Receive, request_id: str) -> Answer:
        headers, query = scope["headers"], scope["query_string"]
        model: Model | None = None
        body: Body | None = None
        try:
            caller = identify(headers, query, self._account_of)
            served, labels = self._router.match(caller.signing_name, scope["method"], _raw_path(scope), query, headers)
            model = served.service.model
            content: bytes | Body = b""
            if isinstance(served, Actions):
                body = Body(scope, receive)
                content = await self._whole(body, model)
                served = served.named(query, content)
            handler = self._admit(served, scope)
            hashed = self._signatures is not None and model.protocol != "rest-xml"  # S3's requests tell it themselves
            if self._signatures is not None and not hashed:
                self._signatures.check(scope, caller)
            if served.kind == "raw":
                body = self._body(scope, receive)
                call = _call(served, caller, scope, request_id)
                passed: Answer = await handler(call, Request(scope["method"], labels, query, headers, body))
                return passed
            parser = served.parser or served.compile()
            if body is None and (parser.reads_body or hashed):
                body = self._body(scope, receive)
                content = body if parser.streams else await self._whole(body, model)
                headers = body.headers
            if self._signatures is not None and hashed:
                whole = content if isinstance(content, bytes) else b""
                self._signatures.check(scope, caller, sha256(whole).hexdigest())
            values, extra = served.read(labels, query, headers, content)
            call = _call(served, caller, scope, request_id, extra)
            if served.kind == "quick":
                output = handler(call, values)
            else:
                output = await _run(served, call, values, receive)
            return _rendered(served, call, output)
        except HungUp:
            raise
        except BadSignature as bad:
            return _refusal(errors.bad_signature(model, bad), scope, request_id, model, body)
        except BadToken as bad:
            model = self._models.get(bad.signing_name)
            return _refusal(errors.bad_token(model, bad.expired), scope, request_id, model, None)
        except UnknownPath as unknown:
            model = self._models.get(unknown.signing_name)
            if model is None and unknown.signing_name is not None:
                return self._foreign(unknown.signing_name, scope, request_id)
            return _refusal(_unknown(scope, model), scope, request_id, model, None)
        except WrongMethod as wrong:
            return _wrong_method(wrong, scope, request_id, self._models.get(wrong.signing_name))
        except Fault as fault:
            return _refusal(fault, scope, request_id, model, body)
        except Exception as error:
            return _refusal(_translate(served.service, error, request_id), scope, request_id, model, body)

    def _foreign(self, name: str, scope: Scope, request_id: str) -> Answer:
        """Refuses what is signed for a service that is not here; whose clients send forms read XML."""
        there = ", ".join(sorted(name for name in self._models if name))
        where = f"{scope['method']} {echo(_raw_path(scope))}"
        message = f"{name} is not served here, which is what {where} is signed for; these are: {there}"
        fault = Fault(errors.UNKNOWN_OPERATION, message, status=404)
        if header(scope["headers"], b"content-type").startswith(b"application/x-www-form-urlencoded"):
            return errors.render_to_form(fault, request_id)
        return _refusal(fault, scope, request_id, None, None)

    def _admit(self, served: Served, scope: Scope) -> Handler:
        """The operation's handler; raises `Fault` for a request that is refused before it is read."""
        model = served.service.model
        if scope["query_string"] and model.protocol == "rest-xml":
            presigned.check(scope["query_string"], self._clock())
        if served.handler is None:
            raise errors.unsupported(model, served.model)
        if scope["method"] != "GET" and from_another_site(scope["headers"]):
            message = "Requests from web pages of other sites are refused"
            raise Fault(errors.words(model).refused, message, status=403)
        return served.handler

    def _body(self, scope: Scope, receive: Receive) -> Body:
        body = Body(scope, receive)
        if self._signatures is not None:
            body.signed_hash = body_hash(scope["headers"])
        return body

    async def _whole(self, body: Body, model: Model) -> bytes:
        try:
            return await body.whole(self._max_body)
        except TooLarge as error:
            raise errors.too_large(model, f"The request body is larger than {self._max_body} bytes") from error


def _call(served: Served, caller: Identity, scope: Scope, request_id: str, extra: Mapping[str, Any] = {}) -> Call:
    service = served.service.name
    url, key = _base_url(scope), caller.access_key
    return Call(service, served.method, caller.account, caller.region, request_id, url, extra, key)


def _rendered(served: Served, call: Call, output: Any) -> Answer:
    status, headers, content = served.render(output or {}, call.request_id)
    value = call.request_id.encode()
    for name in served.service.id_headers:
        headers.append((name, value))
    headers += served.service.headers
    if call.headers:
        headers += [(name.encode(), text.encode()) for name, text in call.headers.items()]
    return status, headers, content


def _unknown(scope: Scope, model: Model | None) -> Fault:
    if model is not None and model.protocol == "rest-xml":
        return Fault("InvalidURI", "Couldn't parse the specified URI.")
    where = f"{scope['method']} {echo(_raw_path(scope))}"
    message = f"No operation of a service that is served here answers {where}"
    return Fault(errors.UNKNOWN_OPERATION, message, status=404)


def _wrong_method(wrong: WrongMethod, scope: Scope, request_id: str, model: Model | None) -> Answer:
    allowed = ", ".join(wrong.allowed)
    if scope["method"] == "OPTIONS":
        return 204, [(b"allow", allowed.encode()), *errors.request_id_headers(model, request_id)], b""
    message = f"{echo(_raw_path(scope))} answers {allowed} only"
    fault = Fault(errors.words(model).wrong_method, message, status=405, headers={"allow": allowed})
    return _refusal(fault, scope, request_id, model, None)


def _refusal(fault: Fault, scope: Scope, request_id: str, model: Model | None, body: Body | None) -> Answer:
    status, headers, content = errors.render(fault, request_id, model, _raw_path(scope))
    if (body is None or not body.begun) and header(scope["headers"], b"expect"):
        headers.append((b"connection", b"close"))  # else what follows on it could be the body, or another request
    return status, headers, content


def _translate(service: Service, error: Exception, request_id: str) -> Fault:
    fault = service.faults(error)
    if fault is not None:
        return fault
    if isinstance(error, Cut):
        return Fault(error.code, str(error))
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return Fault(service.model.internal_error, errors.NO_ROOM, status=507)
    log.error("request %s: a handler of %s failed", request_id, service.name, exc_info=error)
    return _internal(service.model.internal_error, request_id)


async def _run(served: Served, call: Call, values: dict[str, Any], receive: Receive) -> Any:
    handler = served.handler
    assert handler is not None
    if served.kind == "thread":
        return await asyncio.to_thread(handler, call, values)
    if served.parser is not None and served.parser.streams:
        return await handler(call, values)  # finds out itself when it reads on
    return await until_hang_up(_begun(served, call, values), receive)


async def _begun(served: Served, call: Call, values: dict[str, Any]) -> Any:
    """A handler's output; that of an event stream has begun."""
    assert served.handler is not None

    def fault_of(error: Exception) -> Fault:
        return error if isinstance(error, Fault) else _translate(served.service, error, call.request_id)

    output = await served.handler(call, values)
    return await served.begin(output, fault_of) if served.events is not None else output


def _internal(code: str, request_id: str) -> Fault:
    return Fault(code, f"The server failed; its log has the cause under request {request_id}", status=500)


def from_another_site(headers: Headers) -> bool:
    """Whether a browser sends this for a page of another site: bodies of any type are read, also a form's."""
    origin = header(headers, b"origin")
    return origin != b"" and origin.partition(b"://")[2] != header(headers, b"host")


def _raw_path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    return raw.decode("latin-1") if raw else str(scope["path"])


def _base_url(scope: Scope) -> str:
    """The address that the client used, or the server's own where the Host header is no host."""
    url = hosts.url(scope.get("scheme", "http"), header(scope["headers"], b"host"))
    if url is not None:
        return url
    name, port = scope.get("server") or ("127.0.0.1", None)
    return f"http://{name}:{port}" if port else f"http://{name}"


def _request_id() -> str:
    """In the form of a UUID; unique is enough, nobody has to be unable to guess it."""
    digits = f"{getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


async def _send(scope: Scope, receive: Receive, send: Send, answer: Answer, request_id: str) -> None:
    status, headers, content = answer
    if isinstance(content, bytes):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content})
        return
    await send({"type": "http.response.start", "status": status, "headers": headers})
    try:
        await streams.send_pieces(content, send, receive)
    except HungUp:
        return
    except Exception:  # too late for a status: the connection is closed before the end
        log.exception("request %s failed while it was answered", request_id)


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
