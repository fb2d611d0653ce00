"""No customization job is lost, and none stays on its way for ever: kill -9 of the server and of what it started."""

import csv
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from modelyard.cli import main
from modelyard.processes import Process
from tests.conftest import task_processes, wait_for
from tests.system.server import Server

pytestmark = [pytest.mark.system, pytest.mark.slow]
MODEL = "modelyard.tiny-v1:0"
ROLE = "arn:aws:iam::111122223333:role/customization"
ROWS = "".join(f'{{"prompt": "Who keeps station {n}?", "completion": "Crew {n}."}}\n' for n in range(40))
SECONDS = 240


class User:
    """What a user of Bedrock does, over boto3, with a model that has learned nothing yet."""

    def __init__(self, server: Server, base: Path) -> None:
        self.server = server
        file = server.object("s3://data/train.jsonl")
        file.parent.mkdir(parents=True)
        file.write_text(ROWS)
        added = CliRunner().invoke(main, ["models", "add", MODEL, str(base), "--data-dir", str(server.folder)])
        assert added.exit_code == 0, added.output

    def create(self, name: str, epochs: int = 2) -> str:
        """The ARN of a job. Its token lets it be asked for again, whatever happened to the first answer."""
        return str(
            self.bedrock.create_model_customization_job(
                jobName=name,
                customModelName=name,
                roleArn=ROLE,
                baseModelIdentifier=MODEL,
                clientRequestToken=name,
                trainingDataConfig={"s3Uri": "s3://data/train.jsonl"},
                outputDataConfig={"s3Uri": "s3://data/out"},
                hyperParameters={"epochCount": str(epochs)},
            )["jobArn"]
        )

    @property
    def bedrock(self) -> Any:
        return self.server.client("bedrock")

    def job(self, name: str) -> dict[str, Any]:
        return dict(self.bedrock.get_model_customization_job(jobIdentifier=name))

    def ended(self, name: str) -> dict[str, Any]:
        wait_for(lambda: self.job(name)["status"] not in ("InProgress", "Stopping"), SECONDS)
        return self.job(name)

    def until_training(self, name: str) -> None:
        wait_for(lambda: self.job(name)["statusDetails"]["trainingDetails"]["status"] == "InProgress", SECONDS)

    def kill_tasks(self) -> None:
        resident = Process.read(self.server.folder / "residents" / "language" / "process.json")
        for pid in [*task_processes(self.server.folder), *([resident.pid] if resident else [])]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    pytest.importorskip("transformers")
    from tests.workloads.language.models import build_model

    server = Server(tmp_path / "data", "--slots", "1").start()
    yield User(server, build_model(tmp_path / "base"))
    server.close()


class TestAKilledServer:
    def test_finds_its_job_again_at_every_stage(self, user: User) -> None:
        """Killed over and over until the job has ended: at each start the next one goes on."""
        arn = user.create("job", epochs=20)
        deadline = time.monotonic() + SECONDS
        while user.job("job")["status"] == "InProgress":
            assert time.monotonic() < deadline
            time.sleep(1)
            user.server.kill()
            user.server.start()
            assert user.create("job", epochs=20) == arn
        job = user.job("job")
        assert job["status"] == "Completed", job
        assert user.bedrock.get_custom_model(modelIdentifier="job")["modelArn"] == job["outputModelArn"]
        assert len(user.bedrock.list_custom_models()["modelSummaries"]) == 1

    def test_with_all_that_it_started_trains_every_step_once(self, user: User) -> None:
        user.create("job", epochs=20)
        user.until_training("job")
        user.server.kill()
        user.kill_tasks()
        user.server.start()
        job = user.ended("job")
        assert job["status"] == "Completed", job
        output = user.server.object(f"s3://data/out/model-customization-job-{job['jobArn'].rpartition('/')[2]}")
        with (output / "training_artifacts" / "step_wise_training_metrics.csv").open() as file:
            steps = [int(row["step_number"]) for row in csv.DictReader(file)]
        assert steps == list(range(100))

    def test_stops_what_was_to_be_stopped(self, user: User) -> None:
        user.create("job", epochs=200)
        user.until_training("job")
        user.bedrock.stop_model_customization_job(jobIdentifier="job")
        assert user.job("job")["status"] in ("Stopping", "Stopped")
        user.server.kill()
        user.server.start()
        assert user.ended("job")["status"] == "Stopped"
        assert user.bedrock.list_custom_models()["modelSummaries"] == []
        wait_for(lambda: not list(user.server.folder.glob("models/work/*/data")))
        wait_for(lambda: not list(user.server.folder.glob("tasks/*/state")))
