"""Models on demand, with real serving tasks that echo."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from tests.conftest import task_processes
from tests.jobs.test_supervisor import eventually

from modelyard.database import Database
from modelyard.engines.base import TaskSpec
from modelyard.engines.local import LocalEngine
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.on_demand import KIND, OWNER, CannotLoad, NotReady, OnDemand
from modelyard.jobs.serving import Connections, ServingLost
from modelyard.jobs.store import Store
from modelyard.jobs.supervisor import Supervisor
from modelyard.storage.folders import Folders

BASE = "/models/small"


class Core:
    """One server's worth of serving, over a data folder."""

    def __init__(self, data: Path, work: str, idle: float, hold: float, kept: bool) -> None:
        self.database = Database(data / "modelyard.db")
        self.deployments = Deployments(self.database)
        self.engine = LocalEngine(data / "tasks", data / "residents", 2)
        self.connections = Connections(self.engine.socket)
        store = Store(self.database)
        self.supervisor = Supervisor(store, self.deployments, self.engine, Folders(data / "objects"))
        self.on_demand = OnDemand(
            self.deployments,
            self.connections,
            self.supervisor.wake,
            lambda base: TaskSpec(f"tests.tasks:{work}", parameters={"base": base}, gentle=False),
            idle,
            hold,
            lambda base: kept,
        )

    async def say(self, text: bytes, timeout: float = 10) -> bytes:
        async with aclosing(self.on_demand.stream(BASE, {}, text, timeout)) as replies:
            return b"".join([body async for _, body in replies])

    @property
    def loaded(self) -> list[str]:
        return self.deployments.list_ids(OWNER, KIND, 10)


@asynccontextmanager
async def running(
    data: Path, work: str = "answer", idle: float = 60, hold: float = 20, kept: bool = False
) -> AsyncIterator[Core]:
    core = Core(data, work, idle, hold, kept)
    tasks = [asyncio.create_task(core.supervisor.run()), asyncio.create_task(core.on_demand.run())]
    try:
        yield core
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        core.connections.close()
        core.database.close()


def kill(data: Path) -> None:
    for process in task_processes(data):
        os.kill(process, signal.SIGKILL)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_model_is_loaded_once_for_all_who_ask_at_once(data: Path) -> None:
    async def test() -> None:
        async with running(data) as core:
            assert core.loaded == []
            texts = [b"%d" % n for n in range(20)]
            assert await asyncio.gather(*(core.say(text) for text in texts)) == texts
            assert core.loaded == [BASE]
            assert len(os.listdir(data / "tasks")) == 1

    run(test)


def test_a_model_outlives_the_server(data: Path) -> None:
    async def test() -> None:
        async with running(data) as core:
            await core.say(b"")
        before = task_processes(data)
        async with running(data) as core:
            assert await core.say(b"again", timeout=1) == b"again"
        assert task_processes(data) == before

    run(test)


def test_an_idle_model_is_unloaded_and_loaded_again(data: Path) -> None:
    async def test() -> None:
        async with running(data, idle=0.3) as core:
            await core.say(b"")
            await eventually(lambda: not core.loaded)
            assert task_processes(data) == []
            assert await core.say(b"again") == b"again"

    run(test)


def test_a_model_in_use_is_not_idle(data: Path) -> None:
    async def test() -> None:
        async with running(data, work="answer_slowly", idle=0.3) as core:
            assert await core.say(b"1.5") == b"1.5"

    run(test)


def test_a_model_that_is_kept_stays(data: Path) -> None:
    async def test() -> None:
        async with running(data, idle=0.1, kept=True) as core:
            await core.say(b"")
            await asyncio.sleep(0.5)
            assert core.loaded == [BASE]

    run(test)


def test_a_killed_model_is_loaded_again_and_asked_again(data: Path) -> None:
    async def test() -> None:
        async with running(data, work="answer_slowly") as core:
            await core.say(b"0")
            waiting = asyncio.create_task(core.say(b"0.5"))
            await core.say(b"0")
            kill(data)
            assert await core.say(b"0") == b"0"
            assert await waiting == b"0.5"

    run(test)


def test_a_request_whose_model_goes_away_twice_is_lost(data: Path) -> None:
    async def test() -> None:
        async with running(data, work="answer_slowly") as core:
            waiting = asyncio.create_task(core.say(b"30"))
            for attempt in (1, 2):
                await eventually(lambda: list(data.glob(f"tasks/*/state/heard-{attempt}")))  # noqa: B023 - called at once
                kill(data)
            with pytest.raises(ServingLost):
                await waiting
            assert await core.say(b"0") == b"0"

    run(test)


def test_a_model_that_is_not_there_in_time_is_not_ready_and_goes_on_loading(data: Path) -> None:
    async def test() -> None:
        async with running(data, hold=0.01) as core:
            with pytest.raises(NotReady, match="small"):
                await core.say(b"")
            await eventually(lambda: core.deployments.find(OWNER, KIND, BASE).task)
            assert await core.say(b"now") == b"now"

    run(test)


def test_a_model_that_cannot_be_loaded_says_why_and_is_tried_again_for_the_next(data: Path) -> None:
    async def test() -> None:
        async with running(data, work="refuse") as core:
            for _ in range(2):
                with pytest.raises(CannotLoad, match="'x' is not a number"):
                    await core.say(b"")
            assert len(core.loaded) == 1

    run(test)
