"""boto3 in process: clients that talk to an ASGI application without a socket."""

import asyncio
import io
import threading
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

App = Callable[..., Any]
Clients = Callable[..., Any]
Send = Callable[..., tuple[int, dict[str, str], bytes]]


class Loop:
    """An event loop in a thread of its own, as a server has one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Any, timeout: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


class Body(io.BytesIO):
    """What botocore reads an answer from."""

    def stream(self, amt: int = 65536, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(amt):
            yield chunk


def scope_of(method: str, url: str, headers: dict[str, Any]) -> dict[str, Any]:
    parts = urlsplit(url)
    encoded = [(k.lower().encode(), v if isinstance(v, bytes) else str(v).encode("utf-8")) for k, v in headers.items()]
    if not any(name == b"host" for name, _ in encoded):
        encoded.insert(0, (b"host", parts.netloc.encode()))
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": parts.scheme,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": encoded,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def exchange(app: App, scope: dict[str, Any], body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body that the application answers to one request."""
    requests = [{"type": "http.request", "body": body, "more_body": False}]
    never = asyncio.Event()
    answers: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not requests:
            await never.wait()
        return requests.pop()

    async def send(message: dict[str, Any]) -> None:
        answers.append(message)

    await app(scope, receive, send)
    start, *rest = answers
    headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return start["status"], headers, b"".join(part.get("body", b"") for part in rest)


def _body_of(request: AWSPreparedRequest) -> bytes:
    body = request.body or b""
    if hasattr(body, "read"):
        body = body.read()
    return body.encode() if isinstance(body, str) else bytes(body)


@lru_cache
def _session(account: str, region: str) -> boto3.session.Session:
    """One for all clients of an account: it reads the services' models, which takes long, once."""
    return boto3.session.Session(aws_access_key_id=account, aws_secret_access_key="secret", region_name=region)


@pytest.fixture(scope="session")
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def client_for(loop: Loop) -> Clients:
    """A function `(app, service, account=…, region=…) -> boto3 client` wired to an ASGI application.

    Further options are those of boto3's `client`.
    """

    def make(app: App, service: str, account: str = "111122223333", region: str = "us-east-1", **options: Any) -> Any:
        client = _session(account, region).client(
            service,
            endpoint_url="http://modelyard.test",
            config=Config(retries={"total_max_attempts": 1}),
            **options,
        )

        def answer(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
            scope = scope_of(request.method, request.url, dict(request.headers.items()))
            status, headers, body = loop.run(exchange(app, scope, _body_of(request)))
            return AWSResponse(request.url, status, headers, Body(body))

        client.meta.events.register("before-send", answer)
        return client

    return make


@pytest.fixture
def send(loop: Loop) -> Send:
    """A function `(app, method, path, body=b"", headers={})` that sends one plain request in process."""

    def request(
        app: App, method: str, path: str, body: bytes = b"", headers: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        scope = scope_of(method, f"http://modelyard.test{path}", headers or {})
        return loop.run(exchange(app, scope, body))

    return request
