from pathlib import Path

import pytest
from tests.conftest import processes_of
from tests.jobs.test_supervisor import eventually, stage
from tests.views.server import THEM, US, Server, run

from modelyard.jobs.model import Owner, Status


class TestJobs:
    def test_are_listed_newest_first_and_apart_by_account_and_region(self, data: Path) -> None:
        async def test(server: Server) -> None:
            for id in ("a", "b", "c"):
                await server.create(id=id)
            await server.create(id="theirs", owner=THEM)
            await server.create(id="elsewhere", owner=Owner(US.account, "eu-west-1"))
            status, answer = await server.ask("jobs/", limit=2)
            assert (status, [job["id"] for job in answer["jobs"]]) == (200, ["c", "b"])
            assert [job["id"] for job in (await server.ask("jobs/", owner=THEM))[1]["jobs"]] == ["theirs"]

        run(data, test)

    @pytest.mark.parametrize(("method", "page"), [("GET", "jobs/show"), ("GET", "jobs/events"), ("POST", "jobs/stop")])
    def test_of_others_are_not_there(self, data: Path, method: str, page: str) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("hold"))
            await server.until(Status.RUNNING)
            status, answer = await server.ask(page, method, owner=THEM, id="j", stage="one")
            assert status == 404
            assert answer["message"] == "There is no job 'j'; there are no jobs of this account and region"
            assert server.job().status is Status.RUNNING

        run(data, test)

    def test_that_are_unknown_bring_up_those_with_like_names(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(id="training-1")
            await server.create(id="other")
            status, answer = await server.ask("jobs/show", id="trainin-1")
            assert (status, answer["message"]) == (404, "There is no job 'trainin-1'; there is training-1")

        run(data, test)

    def test_of_two_kinds_with_one_id_need_the_kind(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create()
            await server.create(kind="another")
            status, answer = await server.ask("jobs/show", id="j")
            assert (status, answer["message"]) == (
                409,
                "Several jobs have the id 'j'; tell the kind: another, test",
            )
            assert (await server.ask("jobs/show", id="j", kind="test"))[1]["kind"] == "test"

        run(data, test)

    def test_show_what_each_stage_did(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("succeed", publish="s3://bucket/out"), stage("refuse", "two"), stage("hold", "x"))
            await server.until(Status.FAILED)
            _, job = await server.ask("jobs/show", id="j")
            assert job["request"] == {"asked": "j"}
            assert job["failure"] == "nodes.csv, line 3, column age: 'x' is not a number"
            first, second, third = job["stages"]
            assert (first["status"], first["result"]) == ("completed", {"attempt": 1, "cores": 1})
            assert first["output"] == "s3://bucket/out"
            assert job["created"] == first["queued"] <= first["started"] <= first["ended"] == second["queued"]
            assert (second["status"], second["failure"]) == ("failed", job["failure"])
            assert (third["status"], third["attempt"], third["log"]) == ("stopped", 0, None)

        run(data, test)

    def test_tell_their_progress_while_they_run(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("hold"))
            await server.until(Status.RUNNING)
            task = server.job().stages[0].task
            await eventually((server.app.engine.attempt_folder(task, 1) / "events.jsonl").exists)
            _, answer = await server.ask("jobs/")
            assert answer["jobs"][0]["progress"]["phase"] == "holding"
            (server.data / "tasks" / task / "state" / "release").touch()
            await server.until(Status.COMPLETED)
            assert (await server.ask("jobs/"))[1]["jobs"][0]["progress"] is None

        run(data, test)

    def test_give_their_events_bit_by_bit(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("hold"))
            await server.until(Status.RUNNING)
            steps: list[int] = []
            since = None
            while len(steps) < 20:
                given = {"since": since} if since else {}
                status, answer = await server.ask("jobs/events", id="j", stage="one", **given)
                assert status == 200
                steps += [event["step"] for event in answer["events"]]
                since = answer["since"]
            assert steps == list(range(len(steps)))

        run(data, test)

    @pytest.mark.parametrize(
        ("query", "status", "message"),
        [
            ({}, 400, "stage is missing"),
            ({"stage": "two"}, 404, "'two' is no stage of this job; its stages: one"),
            ({"stage": "one", "since": "x"}, 400, "since: 'x' is no position of ours"),
        ],
    )
    def test_say_which_events_there_are_not(self, data: Path, query: dict[str, str], status: int, message: str) -> None:
        async def test(server: Server) -> None:
            await server.create()
            assert await server.ask("jobs/events", id="j", **query) == (status, {"message": message})

        run(data, test)

    def test_are_stopped_by_their_owner_but_not_by_a_page_of_another_site(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("hold"))
            await server.until(Status.RUNNING)
            status, _ = await server.ask("jobs/stop", "POST", headers={"Origin": "http://evil.test"}, id="j")
            assert (status, server.job().status) == (403, Status.RUNNING)
            status, answer = await server.ask("jobs/stop", "POST", headers={"Origin": "http://modelyard.test"}, id="j")
            assert (status, answer["status"]) == (200, "stopping")
            await server.until(Status.STOPPED)
            assert processes_of(data / "tasks") == []

        run(data, test)
