import asyncio
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from modelyard import sockets
from modelyard.frames import STREAM_WINDOW, Decoder, Frame, encode
from modelyard.runner.context import Context
from modelyard.runner.serving import RequestError, Stream, serve

Start = Callable[[], tuple[Path, threading.Event]]

_closed: list[str] = []
"""Names of the streams whose generators were closed."""


def _answer(header: Mapping[str, Any], body: bytes) -> Any:
    return _count(header) if "count" in header else _echo(header, body)


async def _count(header: Mapping[str, Any]) -> Stream:
    """Counts to `count`; fails, ends too early or waits after that if it is told so."""
    try:
        for number in range(header["count"]):
            yield {"status": 200, "more": number + 1 < header["count"] or "then" in header}, str(number).encode()
        if header.get("then") == "refuse":
            raise RequestError("no more numbers", status=503, reason="numbers")
        if header.get("then") == "wait":
            await asyncio.sleep(60)
    finally:
        _closed.append(header.get("name", ""))


async def _echo(header: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
    if header.get("bad"):
        raise RequestError("no such item: x")
    if header.get("broken"):
        raise KeyError("inside")
    await asyncio.sleep(header.get("seconds", 0))
    return {"status": 200}, body.upper()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a serving loop in a thread; gives its socket and the event that asks it to stop."""
    with ExitStack() as ended:

        def _start() -> tuple[Path, threading.Event]:
            stop, path = threading.Event(), tmp_path / "serve.sock"
            context = Context({}, {}, tmp_path, tmp_path, should_stop=stop.is_set)
            thread = threading.Thread(target=serve, args=(context, path, _answer))
            thread.start()
            ended.callback(thread.join, 10)
            ended.callback(stop.set)
            while not path.exists():
                assert thread.is_alive()
            return path, stop

        yield _start


def _frames(path: Path, sent: bytes, count: int) -> list[Frame]:
    """Sends bytes and reads `count` answers, or fewer if the other side closes."""
    decoder, received = Decoder(), []
    with sockets.connect(path, timeout=10) as connection:
        connection.sendall(sent)
        while len(received) < count and (data := connection.recv(65536)):
            received += decoder.feed(data)
    return received


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_an_answer_carries_its_requests_id(start: Start) -> None:
    path, _ = start()
    assert _frames(path, encode(7, {}, b"abc"), 1) == [Frame(7, {"status": 200}, b"ABC")]


def test_a_quick_answer_overtakes_a_slow_one(start: Start) -> None:
    path, _ = start()
    sent = encode(1, {"seconds": 0.3}, b"slow") + encode(2, {}, b"quick")
    assert [frame.id for frame in _frames(path, sent, 2)] == [2, 1]


def test_errors_are_answers(start: Start) -> None:
    path, _ = start()
    sent = encode(1, {"bad": True}) + encode(2, {"broken": True}) + encode(3, {}, b"fine")
    frames = {frame.id: frame.header for frame in _frames(path, sent, 3)}
    assert frames[1] == {"status": 400, "message": "no such item: x"}
    assert frames[2] == {"status": 500, "message": "KeyError: 'inside'"}
    assert frames[3] == {"status": 200}


def test_nonsense_ends_only_its_connection(start: Start) -> None:
    path, _ = start()
    assert _frames(path, b"\xff" * 100, 1) == []
    assert len(_frames(path, encode(1, {}), 1)) == 1


def test_a_stop_finishes_what_was_taken(start: Start) -> None:
    path, stop = start()
    decoder = Decoder()
    with sockets.connect(path, timeout=10) as connection:
        connection.sendall(encode(1, {"seconds": 0.5}, b"late") + encode(2, {}, b"first"))
        first = list(decoder.feed(connection.recv(65536)))
        stop.set()
        last = list(decoder.feed(connection.recv(65536)))
        assert connection.recv(1) == b""
    assert [frame.body for frame in first + last] == [b"FIRST", b"LATE"]
    assert not path.exists()


def test_a_large_answer_waits_for_a_slow_reader(start: Start) -> None:
    path, _ = start()
    body = b"x" * (8 * 1024 * 1024)
    (frame,) = _frames(path, encode(1, {}, body), 1)
    assert frame.body == body.upper()


def test_a_stream_is_many_frames_of_one_id(start: Start) -> None:
    path, _ = start()
    frames = _frames(path, encode(3, {"count": 3}) + encode(4, {}, b"x"), 4)
    assert Frame(4, {"status": 200}, b"X") in frames
    stream = [frame for frame in frames if frame.id == 3]
    assert [frame.body for frame in stream] == [b"0", b"1", b"2"]
    assert [frame.header["more"] for frame in stream] == [True, True, False]


def test_a_stream_that_fails_ends_with_the_error(start: Start) -> None:
    path, _ = start()
    refused = _frames(path, encode(1, {"count": 1, "then": "refuse"}), 2)[-1]
    assert refused.header == {"status": 503, "message": "no more numbers", "reason": "numbers"}
    cut = _frames(path, encode(1, {"count": 1, "then": "end"}), 2)[-1]
    assert cut.header == {"status": 500, "message": "AssertionError: the answer ended without its last frame"}


def test_a_stream_waits_for_its_reader(start: Start) -> None:
    path, _ = start()
    decoder, received = Decoder(), []
    with sockets.connect(path, timeout=10) as connection:
        connection.sendall(encode(1, {"count": 100}) + encode(2, {}, b"echo"))
        while len(received) < STREAM_WINDOW + 1:
            received += decoder.feed(connection.recv(65536))
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(encode(1, {"op": "more", "frames": 4}))
        while len(received) < STREAM_WINDOW + 5:
            received += decoder.feed(connection.recv(65536))
    bodies = [frame.body for frame in received if frame.id == 1]
    assert bodies == [b"%d" % number for number in range(STREAM_WINDOW + 4)]


@pytest.mark.parametrize("way", ["cancelled", "hung up"])
def test_a_stream_that_nobody_wants_is_closed(start: Start, way: str) -> None:
    path, _ = start()
    with sockets.connect(path, timeout=10) as connection:
        connection.sendall(encode(1, {"count": 1, "then": "wait", "name": way}))
        assert connection.recv(65536)
        if way == "cancelled":
            connection.sendall(encode(1, {"op": "cancel"}))
            _wait_for(lambda: way in _closed)
            connection.sendall(encode(1, {"op": "cancel"}) + encode(1, {"op": "more", "frames": 2}) + encode(2, {}))
            assert [frame.id for frame in Decoder().feed(connection.recv(65536))] == [2]
    _wait_for(lambda: way in _closed)


def test_a_stop_lets_a_stream_come_to_its_end(start: Start) -> None:
    path, stop = start()
    decoder, received = Decoder(), []
    with sockets.connect(path, timeout=10) as connection:
        connection.sendall(encode(1, {"count": STREAM_WINDOW + 2}))
        while len(received) < STREAM_WINDOW:
            received += decoder.feed(connection.recv(65536))
        stop.set()
        _wait_for(lambda: not path.exists())
        connection.sendall(encode(2, {}) + encode(1, {"op": "more", "frames": 2}))
        while data := connection.recv(65536):
            received += decoder.feed(data)
    assert [frame.id for frame in received] == [1] * (STREAM_WINDOW + 2)
    assert not received[-1].header["more"]
