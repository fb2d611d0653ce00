import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from modelyard.database import Database
from modelyard.engines.base import TaskSpec
from modelyard.jobs.listing import Search
from modelyard.jobs.model import AlreadyExists, Job, Keep, NotFound, Owner, Stage, Status
from modelyard.jobs.store import Store
from modelyard.storage.buckets import Buckets

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


class TestPlans:
    def test_tell_where_something_will_be_published(self, jobs: Store) -> None:
        stages = [replace(PLAN[0], name=name, publish=f"s3://{name}/out/a") for name in ("first", "second")]
        asyncio.run(jobs.create(US, "test", "j", {}, stages))
        assert [bucket for bucket in ("first", "second", "fir", "out", "bucket") if jobs.will_publish(bucket)] == [
            "first",
            "second",
        ]
        (claim,) = asyncio.run(jobs.claim(free=1))
        asyncio.run(jobs.complete(claim, {}))
        assert not jobs.will_publish("first")
        assert jobs.will_publish("second")


class TestNames:
    def test_find_jobs_and_are_unique(self, jobs: Store) -> None:
        asyncio.run(jobs.create(US, "test", "1", {"n": 1}, PLAN, name="j", token="t"))
        assert jobs.find(US, "test", "j").id == "1"
        assert jobs.called(US, "j") == jobs.called(US, "1") == [("test", "1")]
        for id, name, token, by in (("1", "k", "u", "id"), ("2", "j", "u", "name"), ("2", "k", "t", "token")):
            with pytest.raises(AlreadyExists) as error:
                asyncio.run(jobs.create(US, "test", id, {}, PLAN, name=name, token=token))
            assert (error.value.by, error.value.id, error.value.request) == (by, "1", {"n": 1})
        asyncio.run(jobs.create(US, "other", "2", {}, PLAN, name="j", token="t"))
        with pytest.raises(NotFound):
            jobs.find(US, "test", "1")

    def test_nothing_is_accepted_if_what_belongs_to_it_fails(self, jobs: Store) -> None:
        def refuse(_: object) -> None:
            raise KeyError

        with pytest.raises(KeyError):
            asyncio.run(jobs.create(US, "test", "1", {}, PLAN, within=refuse))
        assert jobs.newest(US, 10) == []


class TestPage:
    def test_filters_by_name_and_status_and_goes_on_by_key(self, jobs: Store) -> None:
        for n in range(5):
            asyncio.run(jobs.create(US, "test", str(n), {}, PLAN, name=f"job-{n}"))
        asyncio.run(jobs.stop(US, "test", "3"))
        first = jobs.page(US, "test", Search(limit=3))
        assert [job.id for job in first.items] == ["4", "3", "2"]
        last = jobs.page(US, "test", Search(limit=3, position=first.following))
        assert ([job.id for job in last.items], last.following) == (["1", "0"], None)
        assert [job.id for job in jobs.page(US, "test", Search(statuses=[Status.STOPPING])).items] == ["3"]
        assert [job.id for job in jobs.page(US, "test", Search(contains="b-1", ascending=True)).items] == ["1"]


class TestEnd:
    def test_tells_the_service_in_the_same_transaction(self, jobs: Store) -> None:
        ended: list[Job] = []
        jobs.at_end("test", lambda _, job: ended.append(job))
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        asyncio.run(jobs.create(US, "other", "j", {}, PLAN))
        for claim in asyncio.run(jobs.claim(free=2)):
            asyncio.run(jobs.complete(claim, {"answer": 42}))
        assert [(job.status, job.stages[0].result) for job in ended] == [(Status.COMPLETED, {"answer": 42})]

    def test_that_cannot_be_kept_fails_the_job_rather_than_never_to_come(self, jobs: Store) -> None:
        told: list[Status] = []

        def keep(connection: Connection, job: Job) -> None:
            told.append(job.status)
            if job.status is Status.COMPLETED:
                connection.execute(text("INSERT INTO buckets VALUES ('half', 'done')"))
                raise KeyError("training_loss")

        jobs.at_end("test", keep)
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        (claim,) = asyncio.run(jobs.claim(free=1))
        asyncio.run(jobs.complete(claim, {}))
        job = jobs.get(US, "test", "j")
        assert (job.status, told) == (Status.FAILED, [Status.COMPLETED, Status.FAILED])
        assert "training_loss" in str(job.failure)
        assert Buckets(jobs._database).owned() == {}

    @pytest.mark.parametrize("status", [Status.COMPLETED, Status.FAILED])
    def test_of_a_job_that_was_to_be_stopped_is_stopped(self, jobs: Store, status: Status) -> None:
        asyncio.run(jobs.create(US, "test", "j", {}, PLAN))
        (claim,) = asyncio.run(jobs.claim(free=1))
        asyncio.run(jobs.stop(US, "test", "j"))
        if status is Status.COMPLETED:
            asyncio.run(jobs.complete(claim, {}))
        else:
            asyncio.run(jobs.end(claim, status, "it broke"))
        assert (jobs.get(US, "test", "j").status, jobs.get(US, "test", "j").failure) == (Status.STOPPED, None)

    @pytest.mark.parametrize(
        ("status", "gone"),
        [(Status.COMPLETED, ["modelyard://data"]), (Status.FAILED, ["modelyard://data", "modelyard://model"])],
    )
    def test_sweeps_outputs_that_are_not_to_stay(self, jobs: Store, status: Status, gone: list[str]) -> None:
        spec = TaskSpec("tests.tasks:succeed")
        plan = [
            Stage("data", "r", spec, publish="modelyard://data", keep=Keep.WHILE_RUNNING),
            Stage("model", "r", spec, publish="modelyard://model", keep=Keep.IF_COMPLETED),
            Stage("log", "r", spec, publish="s3://bucket/log"),
        ]
        asyncio.run(jobs.create(US, "test", "j", {}, plan))
        for record in plan:
            assert jobs.to_sweep() == []
            (claim,) = asyncio.run(jobs.claim(free=1))
            asyncio.run(jobs.begin(claim, 1, 0))
            last = status is Status.FAILED and record.name == "log"
            asyncio.run(jobs.end(claim, status, "it broke") if last else jobs.complete(claim, {}))
        ((job, outputs),) = jobs.to_sweep()
        assert outputs == gone
        asyncio.run(jobs.swept(job))
        assert jobs.to_sweep() == []

    def test_hands_over_what_even_a_deletion_leaves_alone(self, jobs: Store) -> None:
        spec = TaskSpec("tests.tasks:succeed")
        plan = [
            Stage("model", "r", spec, publish="modelyard://model", keep=Keep.IF_COMPLETED),
            Stage("delivery", "r", spec, publish="s3://theirs/model", keep=Keep.HANDED_OVER),
        ]
        asyncio.run(jobs.create(US, "test", "j", {}, plan))
        for _ in plan:
            (claim,) = asyncio.run(jobs.claim(free=1))
            asyncio.run(jobs.begin(claim, 1, 0))
            asyncio.run(jobs.complete(claim, {}))
        ((job, outputs),) = jobs.to_sweep()
        assert outputs == []
        asyncio.run(jobs.swept(job))
        asyncio.run(jobs.stop(US, "test", "j", clean=True))
        assert [outputs for _, outputs in jobs.to_sweep()] == [["modelyard://model"]]

    def test_of_an_optional_stage_that_failed_is_not_the_jobs(self, jobs: Store) -> None:
        stages = [replace(PLAN[0], name="logs", optional=True), replace(PLAN[0], name="last")]
        asyncio.run(jobs.create(US, "test", "j", {}, stages))
        (claim,) = asyncio.run(jobs.claim(free=1))
        asyncio.run(jobs.end(claim, Status.FAILED, "no room"))
        (claim,) = asyncio.run(jobs.claim(free=1))
        asyncio.run(jobs.complete(claim, {}))
        job = jobs.get(US, "test", "j")
        assert job.status is Status.COMPLETED
        assert [(stage.status, stage.failure) for stage in job.stages] == [
            (Status.FAILED, "no room"),
            (Status.COMPLETED, None),
        ]
