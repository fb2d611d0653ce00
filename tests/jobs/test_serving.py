import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from modelyard.frames import STREAM_WINDOW
from modelyard.jobs.serving import Connection, Connections, ServingLost

_TASK = """
import asyncio, signal, sys, threading
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.runner.serving import serve

closed = 0

def answer(header, body):
    return count(header) if "count" in header else echo(header, body)

async def echo(header, body):
    await asyncio.sleep(header.get("seconds", 0))
    return {"status": 200, "n": header.get("n"), "closed": closed}, body

async def count(header):
    global closed
    try:
        for number in range(header["count"]):
            yield {"status": 200, "more": number + 1 < header["count"]}, str(number).encode()
            await asyncio.sleep(header.get("seconds", 0))
    finally:
        closed += 1

stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
path = Path(sys.argv[1])
serve(Context({}, {}, path, path, should_stop=stop.is_set), path, answer)
"""


@pytest.fixture
def task(tmp_path: Path) -> Iterator["Task"]:
    started = Task(tmp_path / "task-1" / "serve.sock")
    yield started
    started.kill()


class Task:
    """A real serving task in a process of its own."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(exist_ok=True)
        self.start()

    def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self._process = subprocess.Popen([sys.executable, "-c", _TASK, str(self.path)])
        deadline = time.monotonic() + 20
        while not self.path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill(self, number: int = signal.SIGKILL) -> None:
        self._process.send_signal(number)
        self._process.wait(30)


def test_many_asks_share_one_connection(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        asks = [connection.ask({"n": n, "seconds": (n % 3) * 0.05}, b"%d" % n, 10) for n in range(100)]
        for n, (header, body) in enumerate(await asyncio.gather(*asks)):
            assert (header["n"], body) == (n, b"%d" % n)
        connection.close()

    uvloop.run(check())


def test_a_killed_task_fails_the_asks_that_wait_and_those_after(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        waiting = asyncio.create_task(connection.ask({"seconds": 60}, b"", 60))
        await connection.ask({}, b"", 10)
        task.kill()
        with pytest.raises(ServingLost, match="task-1 is gone"):
            await waiting
        assert connection.lost
        with pytest.raises(ServingLost, match="task-1 is gone"):
            await connection.ask({}, b"", 10)

    uvloop.run(check())


def test_a_slow_or_cancelled_ask_is_forgotten(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        with pytest.raises(TimeoutError):
            await connection.ask({"seconds": 0.2, "n": 1}, b"", 0.05)
        cancelled = asyncio.create_task(connection.ask({"seconds": 0.2, "n": 2}, b"", 10))
        await connection.ask({}, b"", 10)
        cancelled.cancel()
        header, _ = await connection.ask({"seconds": 0.4, "n": 3}, b"", 10)
        assert header["n"] == 3
        assert not connection.lost
        connection.close()

    uvloop.run(check())


def test_a_stopped_task_answers_what_it_has(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        waiting = asyncio.create_task(connection.ask({"seconds": 0.5, "n": 1}, b"", 10))
        await connection.ask({}, b"", 10)
        task.kill(signal.SIGTERM)
        assert (await waiting)[0]["n"] == 1

    uvloop.run(check())


def test_connections_open_on_demand_and_again_after_a_loss(task: Task) -> None:
    async def check() -> None:
        connections = Connections(lambda task_id: task.path.parent.parent / task_id / "serve.sock")
        await asyncio.gather(*(connections.ask("task-1", {}, b"", 10) for _ in range(10)))
        task.kill()
        with pytest.raises(ServingLost):
            await connections.ask("task-1", {}, b"", 10)
        task.start()
        header, _ = await connections.ask("task-1", {"n": 5}, b"", 10)
        assert header["n"] == 5
        with pytest.raises(ServingLost, match="nothing listens"):
            await connections.ask("task-2", {}, b"", 10)
        connections.forget("task-1")
        await connections.ask("task-1", {}, b"", 10)
        connections.close()

    uvloop.run(check())


def test_streams_and_asks_share_a_connection(task: Task) -> None:
    async def take(connections: Connections, count: int) -> list[bytes]:
        frames = connections.stream("task-1", {"count": count}, b"", 10)
        return [body async for _, body in frames]

    async def check() -> None:
        connections = Connections(lambda task_id: task.path)
        streams = [take(connections, count) for count in (1, 100, 1000)]
        taken, ask = await asyncio.gather(asyncio.gather(*streams), connections.ask("task-1", {"n": 1}, b"", 10))
        assert [len(bodies) for bodies in taken] == [1, 100, 1000]
        assert taken[2] == [b"%d" % number for number in range(1000)]
        assert ask[0]["n"] == 1
        connections.close()

    uvloop.run(check())


def test_a_stream_closed_early_is_cancelled_in_the_task(task: Task) -> None:
    async def check() -> None:
        connections = Connections(lambda task_id: task.path)
        async with aclosing(connections.stream("task-1", {"count": 100_000, "seconds": 0.001}, b"", 10)) as frames:
            async for _ in frames:
                break
        async with asyncio.timeout(10):
            while not (await connections.ask("task-1", {}, b"", 10))[0]["closed"]:
                await asyncio.sleep(0.01)
        assert [body async for _, body in connections.stream("task-1", {"count": 2}, b"", 10)] == [b"0", b"1"]
        connections.close()

    uvloop.run(check())


def test_a_stream_that_is_not_read_holds_up_nobody(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        slow = connection.stream({"count": 10_000}, b"", 10)
        first = await anext(slow)
        assert len([0 async for _ in connection.stream({"count": 500}, b"", 10)]) == 500
        waiting = next(iter(connection._streams.values()))
        assert waiting.qsize() <= STREAM_WINDOW
        rest = [body async for _, body in slow]
        assert [first[1], *rest] == [b"%d" % number for number in range(10_000)]
        connection.close()

    uvloop.run(check())


def test_a_task_killed_amid_a_stream_fails_it(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        frames = connection.stream({"count": 1000, "seconds": 0.05}, b"", 10)
        assert (await anext(frames))[1] == b"0"
        task.kill()
        with pytest.raises(ServingLost, match="task-1 is gone"):
            await _last(frames)
        with pytest.raises(ServingLost, match="task-1 is gone"):
            await anext(connection.stream({"count": 1}, b"", 10))

    uvloop.run(check())


def test_a_stream_gives_up_when_nothing_comes(task: Task) -> None:
    async def check() -> None:
        connection = await Connection.open(task.path)
        frames = connection.stream({"count": 2, "seconds": 30}, b"", 0.2)
        assert (await anext(frames))[1] == b"0"
        with pytest.raises(TimeoutError):
            await anext(frames)
        async with asyncio.timeout(10):
            while not (await connection.ask({}, b"", 10))[0]["closed"]:
                await asyncio.sleep(0.01)
        connection.close()

    uvloop.run(check())


async def _last(frames: AsyncIterator[tuple[dict[str, Any], bytes]]) -> bytes:
    return [body async for _, body in frames][-1]
