import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelyard.engines.base import TaskSpec
from modelyard.jobs.database import Database
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

    def test_sees_what_another_process_writes(self, jobs: Store, tmp_path: Path) -> None:
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        assert jobs.get(US, "test", "j").status is Status.QUEUED
        with sqlite3.connect(tmp_path / "modelyard.db") as other:
            other.execute("UPDATE jobs SET status = 'failed', failure = 'why'")
        after = jobs.get(US, "test", "j")
        assert (after.status, after.failure) == (Status.FAILED, "why")

    def test_reaches_nobody_elses_job(self, jobs: Store) -> None:
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        jobs.get(US, "test", "j")
        for other in (Owner("222222222222", "us-east-1"), Owner("111111111111", "eu-west-1")):
            with pytest.raises(NotFound):
                jobs.get(other, "test", "j")
        with pytest.raises(NotFound):
            jobs.get(US, "another kind", "j")
