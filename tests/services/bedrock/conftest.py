"""A server's worth of Bedrock, a base model, and clients whose answers are held against the service's own model."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.boto import Clients, Loop
from tests.conftest import kill_all_of, wait_for
from tests.model_folders import write_adapter, write_model

from modelyard.app import Application
from modelyard.settings import Settings
from modelyard.wire.constraints import Constraints
from modelyard.wire.models import Model
from modelyard.wire.violations import Violation, sentence

BASE = "meta.llama3-2-1b-instruct-v1:0"
ROLE = "arn:aws:iam::111122223333:role/customization"
ROWS = "".join(f'{{"prompt": "Who keeps station {n}?", "completion": "Crew {n}."}}\n' for n in range(12))


class Server:
    """An application in the loop's thread; its supervisor works if it is told to."""

    def __init__(self, loop: Loop, folder: Path, supervised: bool = False, slots: int = 2) -> None:
        self._loop = loop
        self.folder = folder
        self.application = loop.run(self._start(supervised, slots))
        self.put("s3://data/train.jsonl", ROWS)

    async def _start(self, supervised: bool, slots: int) -> Application:
        application = Application(Settings(data_dir=self.folder, slots=slots))
        run = application.supervisor.run() if supervised else asyncio.sleep(0)
        self._supervisor = asyncio.create_task(run)
        return application

    def put(self, uri: str, content: str) -> Path:
        path = self.object(uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def object(self, uri: str) -> Path:
        return self.folder / "objects" / uri.removeprefix("s3://")

    def add_model(self, id: str = BASE, **facts: Any) -> Path:
        folder = write_model(self.folder.parent / "brought" / id.replace(":", "_"), **facts)
        self._loop.run(self.application.base_models.add(id, folder))
        return folder

    def run(self, work: Any) -> Any:
        return self._loop.run(work)

    def close(self) -> None:
        self._loop.run(self._stop())
        kill_all_of(self.folder)

    async def _stop(self) -> None:
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        self.application.close()


@pytest.fixture
def server(loop: Loop, tmp_path: Path) -> Iterator[Server]:
    """A server whose jobs wait for ever, with a base model that nobody could train."""
    server = Server(loop, tmp_path / "data")
    server.add_model()
    yield server
    server.close()


@pytest.fixture
def working(loop: Loop, tmp_path: Path) -> Iterator[Server]:
    """A server that does its jobs."""
    server = Server(loop, tmp_path / "data", supervised=True)
    server.add_model()
    yield server
    server.close()


@pytest.fixture
def client(working: Server, client_for: Clients) -> Any:
    """A client of the server that does its jobs."""
    return checked(client_for(working.application.endpoint, "bedrock"))


@pytest.fixture
def bedrock(server: Server, client_for: Clients) -> Any:
    return checked(client_for(server.application.endpoint, "bedrock"))


def checked(client: Any) -> Any:
    """The client, every answer to which is held against the constraints of its shape."""
    model, constraints = Model("bedrock"), Constraints()

    def check(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        if model.output_shape is None or parsed["ResponseMetadata"]["HTTPStatusCode"] >= 300:
            return
        answer = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
        violations: list[Violation] = []
        constraints.of(model.output_shape)(answer, "", violations)
        assert not violations, sentence(violations)

    for operation in model.operations.values():
        client.meta.events.register(f"after-call.bedrock.{operation.name}", check)
    return client


def ended(get: Callable[[], dict[str, Any]], member: str = "status", seconds: float = 60) -> dict[str, Any]:
    """What Get answers when a job or a model is no longer on its way."""

    def look() -> dict[str, Any] | None:
        answer = get()
        return None if answer[member] in ("InProgress", "Creating", "Stopping") else answer

    found = wait_for(look, seconds)
    assert isinstance(found, dict)
    return found


def bring_model(server: Server, client: Any, name: str = "brought", **changes: Any) -> str:
    """The ARN of a custom model: an adapter that a job made elsewhere."""
    write_adapter(server.object("s3://data/adapter"), BASE)
    source = {"s3DataSource": {"s3Uri": "s3://data/adapter"}}
    arn = client.create_custom_model(modelName=name, modelSourceConfig=source, **changes)["modelArn"]
    assert ended(lambda: client.get_custom_model(modelIdentifier=arn), "modelStatus")["modelStatus"] == "Active"
    return str(arn)


def customization(**changes: Any) -> dict[str, Any]:
    """A request for a customization job."""
    request = {
        "jobName": "job",
        "customModelName": "model",
        "roleArn": ROLE,
        "baseModelIdentifier": BASE,
        "trainingDataConfig": {"s3Uri": "s3://data/train.jsonl"},
        "outputDataConfig": {"s3Uri": "s3://data/out"},
    }
    return {name: value for name, value in {**request, **changes}.items() if value is not None}
