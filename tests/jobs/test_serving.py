import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from modelyard.jobs.serving import Connection, Connections, ServingLost

_TASK = """
import asyncio, signal, sys, threading
from pathlib import Path
from modelyard.runner.context import Context
from modelyard.runner.serving import serve

async def answer(header, body):
    await asyncio.sleep(header.get("seconds", 0))
    return {"status": 200, "n": header.get("n")}, body

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
