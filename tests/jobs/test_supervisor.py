import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import processes_of

from modelyard.database import Database
from modelyard.engines.base import Running, TaskSpec
from modelyard.engines.local import LocalEngine
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import AlreadyExists, Job, NotFound, Owner, ServiceStatus, Stage, Status
from modelyard.jobs.store import Store
from modelyard.jobs.supervisor import MAX_LOSSES, STOP_SECONDS, Supervisor
from modelyard.storage.folders import Folders
from modelyard.storage.places import Places

US = Owner("111111111111", "us-east-1")
THEM = Owner("222222222222", "us-east-1")


class Core:
    """A store and a supervisor over a data folder: one server's worth, without the wire."""

    def __init__(self, data: Path, slots: int = 2) -> None:
        self.data = data
        self.database = Database(data / "modelyard.db")
        self.store = Store(self.database)
        self.deployments = Deployments(self.database)
        self.engine = LocalEngine(data / "tasks", data / "residents", slots)
        self.folders = Folders(data / "objects")
        self.supervisor = Supervisor(self.store, self.deployments, self.engine, Places(self.folders, data))

    async def create(self, *stages: Stage, id: str = "j", owner: Owner = US) -> Job:
        job = await self.store.create(owner, "test", id, {}, stages)
        self.supervisor.wake()
        return job

    def job(self, id: str = "j") -> Job:
        return self.store.get(US, "test", id)

    async def until(self, *statuses: Status, id: str = "j") -> Job:
        await eventually(lambda: self.job(id).status in statuses)
        return self.job(id)

    async def file(self, name: str, id: str = "j", stage: int = 0) -> Path:
        """A file of a stage's state, once it is there."""
        path = self.state(id, stage) / name
        await eventually(path.exists)
        return path

    def state(self, id: str = "j", stage: int = 0) -> Path:
        return self.data / "tasks" / self.job(id).stages[stage].task / "state"


async def eventually(condition: Callable[[], Any], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(data: Path, slots: int = 2) -> AsyncIterator[Core]:
    core = Core(data, slots)
    task = asyncio.create_task(core.supervisor.run())
    try:
        yield core
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        core.database.close()


def stage(work: str, name: str = "one", **options: Any) -> Stage:
    spec = {key: options.pop(key) for key in ("cores", "family", "parameters", "inputs") if key in options}
    return Stage(name, f"run-{name}", TaskSpec(f"tests.tasks:{work}", **spec), **options)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120))


class TestAJob:
    def test_runs_its_stages_in_order_and_completes(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("succeed"), stage("succeed", "two"))
                job = await core.until(Status.COMPLETED)
                assert [record.status for record in job.stages] == [Status.COMPLETED] * 2
                assert job.stages[0].result == {"attempt": 1, "cores": 1}
                assert job.stages[1].started >= job.stages[0].ended

        run(test)

    def test_that_fails_says_why_and_does_not_go_on(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("refuse"), stage("succeed", "two"))
                job = await core.until(Status.FAILED)
                assert job.failure == "nodes.csv, line 3, column age: 'x' is not a number"
                assert job.stages[1].status is Status.STOPPED
                assert job.stages[1].attempt == 0

        run(test)

    def test_publishes_its_output_only_when_it_has_succeeded(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold", publish="s3://bucket/out/j"))
                await core.file("began-1")
                assert not core.folders.path("s3://bucket/out").exists()
                (core.state() / "release").touch()
                await core.until(Status.COMPLETED)
                assert (core.folders.folder("s3://bucket/out/j") / "answer.txt").read_text() == "1"

        run(test)

    def test_reads_what_an_earlier_stage_published(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                first = stage("succeed", publish="s3://bucket/first")
                second = stage("hold", "two", inputs={"from": "s3://bucket/first"})
                await core.create(first, second)
                await core.file("began-1", stage=1)
                spec = (core.state(stage=1).parent / "spec.json").read_text()
                assert str(core.folders.folder("s3://bucket/first")) in spec
                (core.state(stage=1) / "release").touch()
                await core.until(Status.COMPLETED)

        run(test)

    def test_that_runs_out_of_time_fails_with_that_reason_and_leaves_no_process(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold", timeout=0.5))
                job = await core.until(Status.FAILED)
                assert job.failure == "timed out after 0.5 seconds"
                assert processes_of(data / "tasks") == []

        run(test)

    def test_id_is_taken_within_one_owner_and_kind_only(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("succeed"))
                with pytest.raises(AlreadyExists):
                    await core.create(stage("succeed"))
                await core.create(stage("succeed"), owner=THEM)
                with pytest.raises(NotFound):
                    core.store.get(Owner("111111111111", "eu-west-1"), "test", "j")

        run(test)

    def test_waits_for_free_slots_in_the_order_of_asking(self, data: Path) -> None:
        async def test() -> None:
            async with running(data, slots=2) as core:
                await core.create(stage("hold", cores=1), id="a")
                await core.file("began-1", "a")
                await core.create(stage("hold", cores=2), id="b")
                await core.create(stage("hold", cores=1), id="c")
                await asyncio.sleep(1.5)  # more than a scan
                assert [core.job(id).status for id in "abc"] == [Status.RUNNING, Status.QUEUED, Status.QUEUED]
                (core.state("a") / "release").touch()
                await core.file("began-1", "b")
                assert core.job("c").status is Status.QUEUED
                (core.state("b") / "release").touch()
                await core.file("began-1", "c")
                (core.state("c") / "release").touch()
                await core.until(Status.COMPLETED, id="c")

        run(test)


class TestALease:
    def test_is_kept_while_a_task_takes_long_to_start(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """As the first of a family does, for which the resident parent imports its libraries."""
        for module in ("store", "supervisor"):
            monkeypatch.setattr(f"modelyard.jobs.{module}.LEASE_SECONDS", 1.0)
        start, starts = LocalEngine.start, []

        def start_slowly(engine: LocalEngine, task: str, attempt: int, spec: TaskSpec) -> None:
            starts.append(attempt)
            time.sleep(3)
            start(engine, task, attempt, spec)

        monkeypatch.setattr(LocalEngine, "start", start_slowly)

        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("succeed"))
                job = await core.until(Status.COMPLETED)
                assert (job.stages[0].attempt, starts) == (1, [1])

        run(test)


class TestStop:
    def test_ends_a_running_job_and_its_processes(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("lead", parameters={"workers": 2}, family="graph"))
                await core.file("workers")
                await core.store.stop(US, "test", "j")
                assert core.job().status is Status.STOPPING
                job = await core.until(Status.STOPPED)
                assert core.engine.state(job.stages[0].task, 1) != Running()

        run(test)

    @pytest.mark.parametrize("partial", [True, False])
    def test_publishes_what_is_there_if_the_stage_says_so(self, data: Path, partial: bool) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("gather", publish="s3://bucket/out/j", partial=partial))
                await core.file("began-1")
                await core.store.stop(US, "test", "j")
                job = await core.until(Status.STOPPED)
                assert core.folders.path("s3://bucket/out/j/answer.txt").exists() == partial
                assert job.stages[0].result == ({"gathered": 1} if partial else {})

        run(test)

    def test_kills_a_task_that_does_not_listen(self, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("modelyard.jobs.supervisor.STOP_SECONDS", 0.3)

        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("be_stubborn"))
                await core.file("began-1")
                await core.store.stop(US, "test", "j")
                await core.until(Status.STOPPED)
                assert processes_of(data / "tasks") == []

        run(test)

    def test_asks_an_attempt_again_that_had_no_process_to_ask_yet(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                stop, asked = core.engine.stop, []
                core.engine.stop = lambda *names: asked.append(names) or (len(asked) > 1 and stop(*names))
                await core.create(stage("hold"))
                await core.file("began-1")
                began = time.monotonic()
                await core.store.stop(US, "test", "j")
                await core.until(Status.STOPPED)
                assert time.monotonic() - began < STOP_SECONDS

        run(test)

    def test_of_a_queued_job_never_starts_it(self, data: Path) -> None:
        async def test() -> None:
            async with running(data, slots=1) as core:
                await core.create(stage("hold"), id="a")
                await core.file("began-1", "a")
                await core.create(stage("hold"), id="b")
                await core.store.stop(US, "test", "b")
                job = await core.until(Status.STOPPED, id="b")
                assert job.stages[0].attempt == 0
                await core.store.stop(US, "test", "a")
                await core.until(Status.STOPPED, id="a")

        run(test)

    def test_of_a_job_that_has_ended_changes_nothing(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("succeed"))
                await core.until(Status.COMPLETED)
                await core.store.stop(US, "test", "j")
                assert core.job().status is Status.COMPLETED

        run(test)

    def test_with_clean_deletes_what_the_job_published_and_nothing_else(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("succeed", publish="s3://bucket/mine/a"), id="a")
                await core.create(stage("succeed", publish="s3://bucket/mine/b"), id="b")
                await core.until(Status.COMPLETED, id="a")
                await core.until(Status.COMPLETED, id="b")
                await core.store.stop(US, "test", "a", clean=True)
                await eventually(lambda: os.listdir(core.folders.path("s3://bucket/mine")) == ["b"])

        run(test)


class TestAKill:
    def test_of_the_task_starts_another_attempt(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold"))
                os.kill(int((await core.file("began-1")).read_text()), signal.SIGKILL)
                await core.file("began-2")
                (core.state() / "release").touch()
                assert (await core.until(Status.COMPLETED)).stages[0].result == {"attempt": 2}

        run(test)

    def test_again_and_again_fails_the_job_with_that_reason(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold"))
                for attempt in range(1, MAX_LOSSES + 1):
                    os.kill(int(await read(core, f"began-{attempt}")), signal.SIGKILL)
                job = await core.until(Status.FAILED)
                assert job.failure == (
                    f"the task of stage one was lost {MAX_LOSSES} times, the last time because its process was killed "
                    "by signal 9; if nobody killed it, the machine's memory was probably too small"
                )

        run(test)

    def test_of_the_supervisor_leaves_the_task_running_and_the_next_one_finds_it(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold"))
                work = await read(core, "began-1")
            async with running(data) as core:
                await asyncio.sleep(0.3)
                assert Path(f"/proc/{work}").exists()
                (core.state() / "release").touch()
                assert (await core.until(Status.COMPLETED)).stages[0].result == {"attempt": 1}

        run(test)

    def test_of_supervisor_and_task_goes_on_in_another_attempt_that_does_not_count_as_a_loss(self, data: Path) -> None:
        async def test() -> None:
            for attempt in range(1, MAX_LOSSES + 3):
                async with running(data) as core:
                    if attempt == 1:
                        await core.create(stage("hold"))
                    work = int(await read(core, f"began-{attempt}"))
                os.kill(work, signal.SIGKILL)
            async with running(data) as core:
                await core.file(f"began-{MAX_LOSSES + 3}")
                (core.state() / "release").touch()
                await core.until(Status.COMPLETED)

        run(test)

    def test_between_the_rename_and_the_status_publishes_once(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold", publish="s3://bucket/out"))
                await core.file("began-1")
                task = core.job().stages[0].task
            (core.data / "tasks" / task / "state" / "release").touch()
            await eventually(lambda: core.engine.state(task, 1) != Running())
            await core.folders.publish(core.engine.attempt_folder(task, 1) / "output", "s3://bucket/out")
            async with running(data) as core:
                await core.until(Status.COMPLETED)
                assert os.listdir(core.folders.folder("s3://bucket/out")) == ["answer.txt"]

        run(test)

    def test_of_the_supervisor_while_the_task_ended_well_keeps_the_result(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await core.create(stage("hold"))
                await core.file("began-1")
            (core.data / "tasks" / core_task(data) / "state" / "release").touch()
            await eventually(lambda: not processes_of(data / "tasks"))
            async with running(data) as core:
                assert (await core.until(Status.COMPLETED)).stages[0].result == {"attempt": 1}

        run(test)


class TestADeployment:
    async def deploy(self, core: Core, work: str = "answer", id: str = "e") -> None:
        await core.deployments.create(US, "endpoint", id, f"{id}-name", {"v": 1}, stage(work))
        core.supervisor.wake()

    async def until(self, core: Core, status: ServiceStatus, id: str = "e") -> None:
        await eventually(lambda: core.deployments.get(US, "endpoint", id).status is status)

    def test_is_found_by_id_and_name_once_it_serves(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await self.deploy(core)
                await self.until(core, ServiceStatus.IN_SERVICE)
                by_id = core.deployments.find(US, "endpoint", "e")
                assert by_id == core.deployments.find(US, "endpoint", "e-name")
                assert core.engine.socket(by_id.task or "").exists()
                with pytest.raises(NotFound):
                    core.deployments.find(THEM, "endpoint", "e")
                await core.deployments.delete(US, "endpoint", "e")
                await eventually(lambda: not core.deployments.list_ids(US, "endpoint", 10))
                assert processes_of(data / "tasks") == []

        run(test)

    def test_that_is_killed_comes_back(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await self.deploy(core)
                await self.until(core, ServiceStatus.IN_SERVICE)
                core.engine.kill(core.deployments.find(US, "endpoint", "e").task or "", 1)
                await eventually(lambda: core.deployments.find(US, "endpoint", "e").attempt == 2)
                await eventually(
                    lambda: core.engine.socket(core.deployments.find(US, "endpoint", "e").task or "").exists()
                )

        run(test)

    def test_that_cannot_serve_fails_with_the_reason(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await self.deploy(core, "fail")
                await self.until(core, ServiceStatus.FAILED)
                failed = core.deployments.get(US, "endpoint", "e")
                assert failed.failure == "ZeroDivisionError: division by zero"
                await core.deployments.delete(US, "endpoint", "e")
                await eventually(lambda: not core.deployments.list_ids(US, "endpoint", 10))

        run(test)

    def test_update_moves_to_the_new_task_and_ends_the_old(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await self.deploy(core)
                await self.until(core, ServiceStatus.IN_SERVICE)
                old = core.deployments.find(US, "endpoint", "e").task
                await core.deployments.update(US, "endpoint", "e", {"v": 2}, stage("answer"))
                assert core.deployments.find(US, "endpoint", "e").task == old
                await self.until(core, ServiceStatus.IN_SERVICE)
                assert core.deployments.find(US, "endpoint", "e").task not in (old, None)
                await eventually(lambda: not (data / "tasks" / (old or "")).exists())

        run(test)

    def test_update_that_fails_is_rolled_back_with_the_reason(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await self.deploy(core)
                await self.until(core, ServiceStatus.IN_SERVICE)
                old = core.deployments.find(US, "endpoint", "e").task
                await core.deployments.update(US, "endpoint", "e", {"v": 2}, stage("fail"))
                await self.until(core, ServiceStatus.IN_SERVICE)
                now = core.deployments.get(US, "endpoint", "e")
                assert (now.task, now.failure) == (old, "ZeroDivisionError: division by zero")

        run(test)

    def test_survives_its_supervisor_without_a_restart(self, data: Path) -> None:
        async def test() -> None:
            async with running(data) as core:
                await self.deploy(core)
                await self.until(core, ServiceStatus.IN_SERVICE)
            async with running(data) as core:
                await asyncio.sleep(0.5)
                assert core.deployments.find(US, "endpoint", "e").attempt == 1
                assert core.deployments.get(US, "endpoint", "e").status is ServiceStatus.IN_SERVICE

        run(test)


async def read(core: Core, name: str) -> str:
    """The text of a file of the first stage's state, once it is there and written."""
    path = await core.file(name)
    await eventually(lambda: path.read_text())
    return path.read_text()


def core_task(data: Path) -> str:
    (task,) = os.listdir(data / "tasks")
    return task
