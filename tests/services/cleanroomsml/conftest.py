"""A server of both Clean Rooms services whose jobs wait until a test says what they came to."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.boto import Clients, Loop
from tests.rooms import BANK, IMAGE, SHOP, TABLES, Room, rows, write_image

from modelyard.app import Application
from modelyard.jobs.model import Owner, Status
from modelyard.settings import Settings
from modelyard.wire.constraints import Constraints
from modelyard.wire.violations import Violation, sentence

UNKNOWN = "00000000-0000-4000-8000-000000000000"
Open = Callable[..., Room]


class Server:
    """An application in the loop's thread."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self._loop = loop
        self.folder = folder
        self.application: Application = loop.run(self._start())

    async def _start(self) -> Application:
        return Application(Settings(data_dir=self.folder, slots=2))

    def run(self, work: Any) -> Any:
        return self._loop.run(work)

    def do(self, work: Callable[[], Any]) -> Any:
        """What a function gives that reads the database."""

        async def there() -> Any:
            return work()

        return self._loop.run(there())

    def object(self, uri: str) -> Path:
        return self.folder / "objects" / uri.removeprefix("s3://")

    def own(self, uri: str) -> Path:
        """Where a folder of the service's own lies."""
        return self.folder / uri.removeprefix("modelyard://")

    def step(self, result: Mapping[str, Any] | None = None, failure: str | None = None) -> str:
        """Has the next stage done, with this result or failure; the stage's name. What it published lies there."""
        store = self.application.store
        (claim,) = self.run(store.claim(2))
        if claim.stop:
            self.run(store.end(claim, Status.STOPPED, None))
            return str(claim.stage.name)
        self.run(store.begin(claim, 1, 0))
        if failure is not None:
            self.run(store.end(claim, Status.FAILED, failure))
        else:
            folder = self.folder / "published"
            folder.mkdir()
            self.run(self.application.places.publish(folder, claim.stage.publish))
            self.run(store.complete(claim, result or {}))
        return str(claim.stage.name)

    def finish(self, *results: Mapping[str, Any]) -> list[str]:
        """Has all stages done that can be, the first with these results; their names."""
        done, left = [], [*results]
        while self.run(self._waiting()):
            done.append(self.step(left.pop(0) if left else {}))
        return done

    def sweep(self) -> None:
        """Clears away what is not to stay, as the supervisor does."""

        async def sweep() -> None:
            for job, outputs in self.application.store.to_sweep():
                for uri in outputs:
                    await self.application.places.remove(uri)
                await self.application.store.swept(job)

        self.run(sweep())

    async def _waiting(self) -> bool:
        owners = [Owner(account, "us-east-1") for account in (BANK, SHOP)]
        store = self.application.store
        return any(not job.status.final for owner in owners for job in store.newest(owner, 100))

    def audit(self, account: str, collaboration: str) -> list[Any]:
        """An account's entries, the oldest first."""
        page = self.do(lambda: self.application.audit.page(account, collaboration))
        return list(reversed(page.items))

    def close(self) -> None:
        async def close() -> None:
            self.application.close()

        self._loop.run(close())


@pytest.fixture
def server(loop: Loop, tmp_path: Path) -> Iterator[Server]:
    server = Server(loop, tmp_path / "data")
    yield server
    server.close()


@pytest.fixture
def client(server: Server, client_for: Clients) -> Callable[[str, str], Any]:
    """A function `(service, account) -> client`; ML's answers are held against the service's own model."""
    made: dict[tuple[str, str], Any] = {}

    def make(service: str, account: str, region: str = "us-east-1") -> Any:
        if (service, account + region) not in made:
            client = client_for(server.application.endpoint, service, account=account, region=region)
            made[service, account + region] = checked(client) if service == "cleanroomsml" else client
        return made[service, account + region]

    return make


def checked(client: Any) -> Any:
    constraints = Constraints()

    def look(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        found: list[Violation] = []
        if "Error" not in parsed and model.output_shape is not None:
            answer = {name: value for name, value in parsed.items() if name != "ResponseMetadata"}
            constraints.of(model.output_shape)(answer, "", found)
        assert not found, sentence(found)

    client.meta.events.register("after-call.cleanroomsml", look)
    return client


@pytest.fixture
def open_room(server: Server, client: Any, tmp_path: Path) -> Open:
    """A function that opens a room with everything in it; options are those of `Room.bring_model`."""

    def make(policies: Mapping[str, Any] | None = None, others: Mapping[str, Any] = {}, **changes: Any) -> Room:
        application = server.application
        image = write_image(tmp_path / "image", "print('nothing')")
        server.run(application.images.add(IMAGE, image))
        room = Room(client).open(others)
        for name, (account, columns, _) in TABLES.items():
            file = server.object(f"s3://{name}-data/{name}/part-0.csv")
            file.parent.mkdir(parents=True)
            file.write_text(rows(name))
            server.run(application.buckets.own(f"{name}-data", account))
            where = (Owner(account, "us-east-1"), "rooms", name, f"s3://{name}-data/{name}", "csv", columns)
            server.run(application.catalog.add(*where))
        room.bring_model(policies, **changes)
        room.bring_tables()
        return room

    return make


@pytest.fixture
def room(open_room: Open) -> Room:
    """A room whose model has no privacy configuration, and whose members want their output in their buckets."""
    room = open_room()
    room.configure(BANK, "s3://bank-out/models")
    room.configure(SHOP, "s3://shop-out")
    return room


ROWS = {"records": 40, "files": 1, "bytes": 10**9, "columns": ["income"]}
TRAINED = {"digest": "sha256:" + "a" * 64, "isolation": "bubblewrap", "bytes": 100, "logs": [], "metrics": None}
INFERRED = {"digest": "sha256:" + "b" * 64, "isolation": "bubblewrap", "records": 40, "bytes": 50, "logs": []}


@pytest.fixture
def channel(room: Room, server: Server) -> str:
    """The ARN of a channel that is filled."""
    arn = room.channel()
    assert server.finish(ROWS) == ["query"]
    return arn


@pytest.fixture
def model(room: Room, server: Server, channel: str) -> str:
    """The ARN of a model that is trained."""
    arn = room.train(channel)["trainedModelArn"]
    server.finish(TRAINED)
    server.own(f"modelyard://trained/{arn.rpartition('/')[2]}/model").mkdir()
    return str(arn)
