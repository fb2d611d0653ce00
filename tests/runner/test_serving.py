import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from modelyard import sockets
from modelyard.frames import Decoder, Frame, encode
from modelyard.runner.context import Context
from modelyard.runner.serving import RequestError, serve

Start = Callable[[], tuple[Path, threading.Event]]


async def _answer(header: Mapping[str, Any], body: bytes) -> tuple[Mapping[str, Any], bytes]:
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
