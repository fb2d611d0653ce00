import asyncio
from pathlib import Path
from typing import Any

from tests.boto import scope_of
from tests.conftest import printed
from tests.jobs.test_supervisor import eventually, stage
from tests.views.server import THEM, US, Server, run

from modelyard.jobs.model import Owner, Status


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
            assert server.app.links.url("http://modelyard.test", task) == f"http://modelyard.test{link}"

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
            link = server.app.links.url("", "0" * 32)
            assert (await server.send(link))[0] == 404

        run(data, test)

    def test_followed_ends_when_the_client_goes_away(self, data: Path) -> None:
        async def test(server: Server) -> None:
            await server.create(stage("say", parameters={"text": "hello"}))
            await server.until(Status.RUNNING)
            link = server.app.links.url("http://modelyard.test", server.job().stages[0].task)
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
