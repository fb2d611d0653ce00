import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from modelyard.app import Application
from modelyard.jobs.model import Job, Owner, ServiceStatus, Stage, Status
from modelyard.settings import Settings
from tests.boto import exchange, scope_of
from tests.conftest import printed, processes_of
from tests.jobs.test_supervisor import eventually, stage

US = Owner("000000000000", "us-east-1")
THEM = Owner("222222222222", "us-east-1")


class Server:
    """An application with its supervisor, asked without a socket."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.app = Application(Settings(data_dir=data, slots=2))

    async def create(self, *stages: Stage, id: str = "j", kind: str = "test", owner: Owner = US) -> Job:
        job = await self.app.store.create(owner, kind, id, {"asked": id}, stages or (stage("succeed"),))
        self.app.supervisor.wake()
        return job

    def job(self, id: str = "j") -> Job:
        return self.app.store.get(US, "test", id)

    async def until(self, status: Status, id: str = "j") -> None:
        await eventually(lambda: self.job(id).status is status)

    async def ask(
        self, page: str, method: str = "GET", owner: Owner = US, headers: dict[str, str] | None = None, **query: Any
    ) -> tuple[int, Any]:
        """Status and JSON of a page under `/-/`."""
        status, _, body = await self.send(f"/-/{page}?{urlencode(query)}", method, owner, headers)
        return status, json.loads(body)

    async def send(
        self,
        path: str,
        method: str = "GET",
        owner: Owner = US,
        headers: dict[str, str] | None = None,
        client: str = "127.0.0.1",
    ) -> tuple[int, dict[str, str], bytes]:
        scope = f"{owner.account}/20260101/{owner.region}/any/aws4_request"
        signed = {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        request = scope_of(method, f"http://modelyard.test{path}", {**signed, **(headers or {})})
        return await exchange(self.app.endpoint, {**request, "client": (client, 1)})


@asynccontextmanager
async def serving(data: Path) -> AsyncIterator[Server]:
    server = Server(data)
    supervisor = asyncio.create_task(server.app.supervisor.run())
    try:
        yield server
    finally:
        supervisor.cancel()
        await asyncio.gather(supervisor, return_exceptions=True)
        server.app.close()


def run(data: Path, test: Callable[[Server], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with asyncio.timeout(120), serving(data) as server:
            await test(server)

    asyncio.run(whole())


class TestThePages:
    def test_say_that_the_server_is_well(self, data: Path) -> None:
        async def test(server: Server) -> None:
            status, headers, body = await server.send("/health")
            assert (status, headers["content-type"]) == (200, "application/json")
            assert json.loads(body)["status"] == "ok"
            status, headers, body = await server.send("/")
            assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
            assert b"Modelyard" in body
            assert (await server.send("/health", "HEAD"))[::2] == (200, b"")

        run(data, test)

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("POST", "/", 405),
            ("POST", "/health", 405),
            ("GET", "/-/jobs/nothing", 404),
            ("GET", "/-/jobs/show", 400),
            ("GET", "/-/jobs/show?id=%00%ff%F0", 404),
            ("GET", "/-/jobs/show?" + "&".join(f"a{n}=1" for n in range(1000)), 400),
            ("GET", "/-/jobs/?limit=0", 400),
            ("GET", "/-/jobs/?limit=1001", 400),
            ("GET", "/-/jobs/?limit=" + "9" * 5000, 400),
            ("GET", "/-/jobs/?limit=%C2%B2", 400),
            ("GET", "/-/jobs/stop?id=j", 405),
            ("DELETE", "/-/jobs/show?id=j", 405),
            ("POST", "/-/jobs/stop?id=j", 404),
            ("GET", "/-/logs/", 403),
            ("GET", "/-/logs/..%2f..%2fmodelyard.db?expires=1&signature=1", 403),
            ("POST", "/-/logs/x", 405),
            ("POST", "/-/buckets/own?bucket=../x&account=111122223333", 400),
            ("POST", "/-/buckets/own?bucket=fine&account=1", 400),
        ],
    )
    def test_refuse_nonsense_with_a_message(self, data: Path, method: str, path: str, status: int) -> None:
        async def test(server: Server) -> None:
            answered, headers, body = await server.send(path, method)
            assert answered == status
            assert headers["x-content-type-options"] == "nosniff"
            assert len(body) > 10

        run(data, test)


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


class TestALogLink:
    async def finished(self, server: Server, owner: Owner = US) -> str:
        await server.create(stage("refuse"), owner=owner)
        await eventually(lambda: server.app.store.get(owner, "test", "j").status.final)
        return str((await server.ask("jobs/show", owner=owner, id="j"))[1]["stages"][0]["log"])

    def test_opens_the_log_without_any_credential(self, data: Path) -> None:
        async def test(server: Server) -> None:
            link = await self.finished(server, THEM)
            status, headers, body = await server.send(link)
            assert status == 200
            assert printed(body.decode()) == "error: nodes.csv, line 3, column age: 'x' is not a number\n"
            assert headers["content-type"] == "text/plain; charset=utf-8"
            assert headers["x-content-type-options"] == "nosniff"
            assert (await server.send(link, "HEAD"))[::2] == (200, b"")
            task = server.app.store.get(THEM, "test", "j").stages[0].task
            assert server.app.pages.log_url("http://modelyard.test", task) == f"http://modelyard.test{link}"

        run(data, test)

    def test_that_was_tampered_with_opens_nothing(self, data: Path) -> None:
        async def test(server: Server) -> None:
            link = await self.finished(server)
            other = await server.create(id="other", owner=THEM)
            task = server.job().stages[0].task
            forged = [
                link[:-1] + ("0" if link[-1] != "0" else "1"),
                link.replace("expires=1", "expires=2"),
                link.replace(task, other.stages[0].task),
                link.partition("?")[0],
                link.partition("&")[0],
            ]
            for path in forged:
                status, _, body = await server.send(path)
                assert (status, body) == (403, b"This link is not valid, or no longer: ask for the job again\n")

        run(data, test)

    def test_of_an_endpoint_that_was_deleted_says_so(self, data: Path) -> None:
        async def test(server: Server) -> None:
            link = server.app.pages.log_url("", "0" * 32)
            assert (await server.send(link))[0] == 404

        run(data, test)

    def test_followed_ends_when_the_client_goes_away(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("say", parameters={"text": "hello"}))
            await server.until(Status.RUNNING)
            link = server.app.pages.log_url("http://modelyard.test", server.job().stages[0].task)
            sent: list[bytes] = []
            gone = asyncio.Event()

            async def receive() -> dict[str, Any]:
                await gone.wait()
                return {"type": "http.disconnect"}

            async def send(message: dict[str, Any]) -> None:
                sent.append(message.get("body", b""))

            page = asyncio.ensure_future(server.app.endpoint(scope_of("GET", f"{link}&follow=1", {}), receive, send))
            await eventually(lambda: b"".join(sent).endswith(b"hello\n"))
            assert not page.done()
            gone.set()
            await asyncio.wait_for(page, 5)
            assert server.job().status is Status.RUNNING

        run(data, test)


class TestEndpoints:
    def test_are_listed_for_their_owner_with_a_log(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.app.deployments.create(US, "endpoint", "e", "e-name", {}, stage("answer"))
            await server.app.deployments.create(THEM, "endpoint", "t", "t-name", {}, stage("answer"))
            server.app.supervisor.wake()
            await eventually(lambda: server.app.deployments.get(US, "endpoint", "e").status is ServiceStatus.IN_SERVICE)
            _, answer = await server.ask("endpoints/")
            (found,) = answer["endpoints"]
            assert (found["id"], found["name"], found["status"]) == ("e", "e-name", "in service")
            assert (await server.send(found["log"]))[0] == 200

        run(data, test)


class TestBuckets:
    def test_are_those_of_the_caller_and_the_shared_ones(self, data: Path) -> None:
        async def test(server: Server) -> None:
            for name in ("mine", "theirs", "shared", "no_bucket"):
                (data / "objects" / name).mkdir()
            (data / "objects" / "file-of-mine").touch()
            (data / "objects" / "link-to-root").symlink_to("/")
            for name, owner in (("mine", US), ("theirs", THEM)):
                status, owned = await server.ask("buckets/own", "POST", bucket=name, account=owner.account)
                assert (status, owned) == (200, {"name": name, "owner": owner.account})
            _, answer = await server.ask("buckets/")
            assert answer["buckets"] == [{"name": "mine", "owner": US.account}, {"name": "shared", "owner": None}]

        run(data, test)

    def test_are_given_away_from_this_machine_only(self, data: Path) -> None:
        async def test(server: Server) -> None:
            path = "/-/buckets/own?bucket=mine&account=111122223333"
            assert (await server.send(path, "POST", client="192.0.2.1"))[0] == 403
            assert (await server.send(path, "POST", headers={"Origin": "http://evil.test"}))[0] == 403
            assert server.app.buckets.owner("mine") is None

        run(data, test)
