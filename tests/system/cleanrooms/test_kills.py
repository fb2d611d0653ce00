"""No job of a room is lost or done twice, and no container lives on alone: kill -9 at every stage."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import command, task_processes, wait_for
from tests.rooms import BANK, IMAGE, SHOP
from tests.system.cleanrooms.rooms import OVER, SECONDS, KeyedServer, LiveRoom
from tests.system.server import attempts, kill_pid

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.usefixtures("sandbox"),
]


class Marked(LiveRoom):
    """A room whose training containers have a mark in their command line."""

    mark = ""

    def containers(self) -> list[int]:
        """The processes of training containers that run the shop's program."""
        return [pid for pid in self.sandboxes() if "bwrap" not in command(pid)]

    def sandboxes(self) -> list[int]:
        """Those, and what isolates them."""
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if self.mark in command(pid) and "main.py" in command(pid)]

    def task(self) -> Path:
        """The folder of the newest task."""
        return max((self.server.folder / "tasks").iterdir(), key=lambda path: path.stat().st_ctime)

    def begin(self, seconds: float) -> str:
        """The ARN of a model whose container is at work, and needs some seconds."""
        arn = self.train(self.filled(), hyperparameters={"seconds": str(seconds)})["trainedModelArn"]
        wait_for(self.containers, SECONDS)
        return str(arn)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Marked]:
    server = KeyedServer(tmp_path / "data", BANK, SHOP)
    server.start()
    room = Marked(server)
    room.mark = f"mark-{uuid.uuid4().hex}"
    container = {"imageUri": IMAGE, "arguments": ["train", room.mark]}
    room.furnish(tmp_path, trainingContainerConfig=container)
    yield room
    server.close()


class TestAKilledServer:
    def test_finds_each_job_again_at_every_stage(self, room: Marked) -> None:
        """Killed over and over until the last file is delivered: at each start the next one goes on."""
        channel = room.channel()
        self.kill_until(room, lambda: room.get_channel(channel)["status"])
        model = room.train(channel, hyperparameters={"seconds": "2"})["trainedModelArn"]
        self.kill_until(room, lambda: room.get_model(model)["status"])
        job = room.infer(model, channel, environment={"SECONDS": "2"})
        self.kill_until(room, lambda: room.get_job(job)["status"])
        answers = [text for key, text in room.received(BANK, "bank-out").items() if key.endswith(".out")]
        assert [len(text.splitlines()) for text in answers] == [40]
        assert room.sandboxes() == []

    @staticmethod
    def kill_until(room: Marked, status: object) -> None:
        deadline = time.monotonic() + SECONDS
        while (found := status()) not in OVER:
            assert time.monotonic() < deadline
            time.sleep(0.5)
            room.server.kill()
            room.server.start()
        assert found == "ACTIVE"

    def test_finds_the_container_that_outlived_it(self, room: Marked) -> None:
        model = room.begin(seconds=4)
        before = room.containers()
        room.server.kill()
        assert room.containers() == before
        room.server.start()
        assert room.ended(lambda: room.get_model(model))["status"] == "ACTIVE"
        assert attempts(room.task()) == ["1"]

    def test_cancels_what_was_to_be_cancelled(self, room: Marked) -> None:
        model = room.begin(seconds=60)
        room.ml(BANK).cancel_trained_model(membershipIdentifier=room.memberships[BANK], trainedModelArn=model)
        room.server.kill()
        room.server.start()
        assert room.ended(lambda: room.get_model(model))["status"] == "INACTIVE"
        assert room.sandboxes() == []
        assert list((room.server.folder / "trained").iterdir()) == []

    def test_goes_on_with_a_deletion(self, room: Marked) -> None:
        channel = room.filled()
        room.ml(BANK).delete_ml_input_channel_data(
            membershipIdentifier=room.memberships[BANK], mlInputChannelArn=channel
        )
        room.server.kill()
        room.server.start()
        wait_for(lambda: room.get_channel(channel)["status"] == "INACTIVE", SECONDS)
        assert list((room.server.folder / "channels").iterdir()) == []


class TestAKilledTask:
    def test_takes_its_container_along_and_is_done_again(self, room: Marked) -> None:
        model = room.begin(seconds=2)
        first = room.containers()
        for pid in task_processes(room.server.folder):
            kill_pid(pid)
        wait_for(lambda: not set(first) & set(room.containers()), SECONDS)
        assert room.ended(lambda: room.get_model(model))["status"] == "ACTIVE"
        assert attempts(room.task()) == ["1", "2"]

    def test_that_died_with_the_server_is_done_again(self, room: Marked) -> None:
        model = room.begin(seconds=2)
        room.server.kill()
        for pid in task_processes(room.server.folder):
            kill_pid(pid)
        wait_for(lambda: not room.containers(), SECONDS)
        room.server.start()
        assert room.ended(lambda: room.get_model(model))["status"] == "ACTIVE"
        assert room.sandboxes() == []
