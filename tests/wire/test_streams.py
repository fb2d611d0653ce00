"""Bodies that stream through the endpoint, over real sockets."""

import asyncio
import io
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import boto3
import pytest
import uvicorn
import uvloop
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.conftest import wait_for

from modelyard.http import OneWriteProtocol
from modelyard.wire.endpoint import Call, Endpoint, Service
from modelyard.wire.errors import Fault
from modelyard.wire.streams import Cut, HungUp

SIGNED = "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
PIECE = b"p" * 200_000


class Store:
    """One object, and what happened to it."""

    def __init__(self) -> None:
        self.put: dict[str, Any] = {}
        self.content = b""
        self.trailers: dict[str, str] = {}
        self.cut: Cut | None = None
        self.received = 0
        self.sent = 0
        self.closed = False
        self.holding = False

    async def put_object(self, call: Call, input: dict[str, Any]) -> dict[str, Any]:
        if input["Key"] == "denied":
            raise Fault("AccessDenied", "Access Denied")
        self.put = {name: value for name, value in input.items() if name != "Body"}
        pieces = []
        try:
            async for piece in input["Body"]:
                self.received += len(piece)
                pieces.append(piece)
                while self.holding:
                    await asyncio.sleep(0.01)
        except Cut as cut:
            self.cut = cut
            raise
        self.content, self.trailers = b"".join(pieces), dict(input["Body"].trailers)
        return {"ETag": '"e"'}

    async def get_object(self, call: Call, input: dict[str, Any]) -> dict[str, Any]:
        pieces = {"broken": self.broken, "endless": self.endless}.get(input["Key"], self.whole)
        length = None if input["Key"] in ("open", "endless") else 10 * len(PIECE)
        return {"Body": pieces(), "ContentLength": length, "ETag": '"e"'}

    async def whole(self) -> AsyncIterator[bytes]:
        for _ in range(10):
            yield PIECE

    async def broken(self) -> AsyncIterator[bytes]:
        yield PIECE
        raise OSError("the disk is gone")

    async def endless(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.sent += len(PIECE)
                yield PIECE
        finally:
            self.closed = True


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def port(store: Store) -> Iterator[int]:
    service = Service("s3", {"put_object": store.put_object, "get_object": store.get_object})
    config = uvicorn.Config(Endpoint([service]), port=0, http=OneWriteProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: uvloop.run(server._serve()))
    thread.start()
    wait_for(lambda: server.started)
    yield server.servers[0].sockets[0].getsockname()[1]
    store.holding = False
    server.should_exit = server.force_exit = True
    thread.join()


@pytest.fixture
def client(port: int) -> Any:
    session = boto3.session.Session(aws_access_key_id="1" * 12, aws_secret_access_key="x", region_name="us-east-1")
    config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    with closing(session.client("s3", endpoint_url=f"http://127.0.0.1:{port}", config=config)) as made:
        yield made


Connect = Callable[..., socket.socket]


@pytest.fixture
def connect(port: int) -> Iterator[Connect]:
    """Opens a connection on which a request's head is already sent."""
    opened = []

    def connect(line: str, **headers: Any) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", port), timeout=20)
        opened.append(connection)
        fields = {"host": "127.0.0.1", "authorization": SIGNED} | {k.replace("_", "-"): v for k, v in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        connection.sendall(f"{line} HTTP/1.1\r\n{text}\r\n".encode())
        return connection

    yield connect
    for connection in opened:
        connection.close()


def answered(connection: socket.socket) -> bytes:
    """All that comes until the end of one answer's head, and what came with it."""
    got = b""
    while b"\r\n\r\n" not in got and (piece := connection.recv(65536)):
        got += piece
    return got


def to_end(connection: socket.socket) -> bytes:
    got = b""
    while piece := connection.recv(1 << 20):
        got += piece
    return got


def test_boto3_puts_and_gets(client: Any, store: Store) -> None:
    content = bytes(range(256)) * 4000
    answer = client.put_object(Bucket="bucket", Key="key", Body=io.BytesIO(content), ContentType="text/x")
    assert answer["ETag"] == '"e"'
    assert store.content == content
    assert (store.put["ContentType"], store.put["ContentLength"]) == ("text/x", len(content))
    got = client.get_object(Bucket="bucket", Key="key")
    assert got["ContentLength"] == 10 * len(PIECE)
    assert got["Body"].read() == 10 * PIECE
    assert client.get_object(Bucket="bucket", Key="open")["Body"].read() == 10 * PIECE


def test_an_empty_body_is_a_body(client: Any, store: Store) -> None:
    store.content = b"before"
    client.put_object(Bucket="bucket", Key="key")
    assert store.content == b""


def framed(*parts: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n" + trailers + b"\r\n"


CHUNKED = {
    "x_amz_content_sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "content_encoding": "aws-chunked",
    "x_amz_trailer": "x-amz-checksum-crc32",
}


def test_frames_are_taken_off_and_trailers_handed_on(connect: Connect, store: Store) -> None:
    body = framed(b"hello ", b"world", trailers=b"x-amz-checksum-crc32:AAAAAA==\r\n")
    sizes = {"content_length": len(body), "x_amz_decoded_content_length": 11}
    connection = connect("PUT /bucket/key", **CHUNKED, **sizes)
    connection.sendall(body)
    assert b"200 OK" in answered(connection)
    assert (store.content, store.trailers) == (b"hello world", {"x-amz-checksum-crc32": "AAAAAA=="})
    assert store.put["ContentLength"] == 11
    assert "ContentEncoding" not in store.put


@pytest.mark.parametrize(
    ("body", "decoded", "code"),
    [
        (framed(b"hello", trailers=b"x-amz-checksum-crc32:AAAAAA==\r\n"), 6, b"IncompleteBody"),
        (framed(b"hello", trailers=b"x-amz-checksum-crc32:AAAAAA==\r\n"), 4, b"IncompleteBody"),
        (b"5\r\nhello\r\n", 5, b"IncompleteBody"),
        (framed(b"hello"), 5, b"MalformedTrailerError"),
        (framed(b"hello", trailers=b"nonsense\r\n"), 5, b"MalformedTrailerError"),
        (b"hello\n", 5, b"InvalidRequest"),
    ],
)
def test_bodies_that_are_not_what_they_say_are_refused(
    connect: Connect, store: Store, body: bytes, decoded: int, code: bytes
) -> None:
    sizes = {"content_length": len(body), "x_amz_decoded_content_length": decoded}
    connection = connect("PUT /bucket/key", **CHUNKED, **sizes)
    connection.sendall(body)
    answer = answered(connection)
    assert b" 400 " in answer
    assert b"<Code>" + code in answer
    assert store.cut is not None


def test_a_client_that_waits_is_told_to_go_on_or_not_to(connect: Connect, store: Store) -> None:
    connection = connect("PUT /bucket/key", content_length=5, expect="100-continue")
    assert answered(connection).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")
    connection.sendall(b"hello")
    assert b"200 OK" in answered(connection)
    assert store.content == b"hello"
    connection = connect("PUT /bucket/denied", content_length=5, expect="100-continue")
    answer = to_end(connection)  # the connection is closed, since the body may or may not follow on it
    assert answer.startswith(b"HTTP/1.1 403")
    assert b"connection: close" in answer


def test_a_refusal_reaches_a_client_that_sends_on(client: Any) -> None:
    client.meta.events.register("before-sign.s3.PutObject", lambda request, **_: request.headers.__delitem__("Expect"))
    with pytest.raises(ClientError, match="Access Denied"):
        client.put_object(Bucket="bucket", Key="denied", Body=b"x" * 20_000_000)


def test_a_client_that_hangs_up_cuts_the_body(connect: Connect, store: Store) -> None:
    connection = connect("PUT /bucket/key", content_length=1000)
    connection.sendall(b"x" * 10)
    wait_for(lambda: store.received == 10)
    connection.close()
    wait_for(lambda: isinstance(store.cut, HungUp))


def test_a_slow_handler_holds_the_client_back(connect: Connect, store: Store) -> None:
    store.holding = True
    connection = connect("PUT /bucket/key", content_length=1 << 30)
    connection.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < 64_000_000:  # more than the kernel holds
            sent += connection.send(PIECE)
    assert sent < 64_000_000
    assert store.received < 1_000_000


def test_an_answer_stops_when_nobody_reads_it(connect: Connect, store: Store) -> None:
    connection = connect("GET /bucket/endless")
    connection.recv(1000)

    def stands_still() -> bool:
        before = store.sent
        time.sleep(0.1)
        return store.sent == before

    wait_for(stands_still)
    assert store.sent < 64_000_000
    assert not store.closed
    connection.close()
    wait_for(lambda: store.closed)


def test_an_answer_that_breaks_off_is_seen_to_break_off(
    connect: Connect, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    got = to_end(connect("GET /bucket/broken"))
    assert got.startswith(b"HTTP/1.1 200 OK")
    assert got.endswith(PIECE)
    assert "the disk is gone" in caplog.text
