"""An application whose pages are asked without a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.boto import exchange, scope_of
from tests.jobs.test_supervisor import eventually, stage

from modelyard.app import Application
from modelyard.jobs.model import Job, Owner, Stage, Status
from modelyard.settings import Settings

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
        """Status, headers and body; signed as `owner`, but for `/` and `/health`, which no client signs."""
        scope = f"{owner.account}/20260101/{owner.region}/any/aws4_request"
        signature = {"authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0"}
        signed = signature if path.startswith("/-/") else {}
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
