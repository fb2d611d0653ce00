import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.database import Database
from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import NotFound, Owner, Stage, Status
from modelyard.jobs.store import Store

US = Owner("111111111111", "us-east-1")
PLAN = [Stage("one", "run-one", TaskSpec("tests.tasks:succeed", inputs={"graph": "s3://bucket/graph"}), timeout=60.0)]


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Store]:
    database = Database(tmp_path / "modelyard.db")
    yield Store(database)
    database.close()


class TestGet:
    def test_gives_what_was_accepted(self, jobs: Store) -> None:
        asyncio.run(jobs.create(US, "test", "j", {"id": "j", "count": 2}, PLAN))
        job = jobs.get(US, "test", "j")
        assert (job.request, job.status) == ({"id": "j", "count": 2}, Status.QUEUED)
        assert [record.stage for record in job.stages] == PLAN

    def test_knows_a_job_as_soon_as_it_is_there(self, jobs: Store) -> None:
        with pytest.raises(NotFound):
            jobs.get(US, "test", "j")
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        assert jobs.get(US, "test", "j").id == "j"

    def test_sees_what_this_process_writes(self, jobs: Store) -> None:
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        assert jobs.get(US, "test", "j").status is Status.QUEUED
        asyncio.run(jobs.stop(US, "test", "j"))
        assert jobs.get(US, "test", "j").status is Status.STOPPING

    def test_has_the_result_as_soon_as_the_stage_has_ended(self, jobs: Store) -> None:
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        (claim,) = asyncio.run(jobs.claim(free=1))
        assert jobs.get(US, "test", "j").stages[0].result == {}
        asyncio.run(jobs.complete(claim, {"answer": 42}))
        job = jobs.get(US, "test", "j")
        assert (job.status, job.stages[0].result) == (Status.COMPLETED, {"answer": 42})

    def test_reaches_nobody_elses_job(self, jobs: Store) -> None:
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        jobs.get(US, "test", "j")
        for other in (Owner("222222222222", "us-east-1"), Owner("111111111111", "eu-west-1")):
            with pytest.raises(NotFound):
                jobs.get(other, "test", "j")
        with pytest.raises(NotFound):
            jobs.get(US, "another kind", "j")
