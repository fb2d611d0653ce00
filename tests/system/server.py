"""A real server process, and a user who talks to it with boto3."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from modelyard.processes import Process
from tests.conftest import kill_all_of, task_processes, wait_for
from tests.graphs import write_communities

SERVE = (sys.executable, "-m", "modelyard", "serve")
IN, OUT = "s3://bucket/export", "s3://bucket/out"


class Server:
    """`modelyard serve` over a data folder, with more arguments and environment if wished. It may be killed and
    started again.
    """

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder
        self._arguments = arguments
        self._environment = environment
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, port: int = 0) -> "Server":
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*SERVE, "--port", str(port), "--data-dir", str(self.folder), *self._arguments],
                env=os.environ | self._environment,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        assert select.select([self._process.stdout], [], [], 30)[0], "the server did not say that it listens"
        self.url = self._process.stdout.readline().decode().split()[-1]
        return self

    def kill(self) -> None:
        """Kill -9, as power failures and impatient people do."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.terminate()
        status = self._process.wait(30)
        self._process.stdout.close()
        return status

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        kill_all_of(self.folder)

    def client(self, service: str = "neptunedata", account: str = "111122223333") -> Any:
        return _client(self.url, service, account)

    def object(self, uri: str) -> Path:
        return self.folder / "objects" / uri.removeprefix("s3://")

    def task(self, url: str) -> Path:
        """The folder of the task whose log an answer links to."""
        return self.folder / "tasks" / url.partition("/-/logs/")[2].partition("?")[0]

    def resident(self) -> Process:
        process = Process.read(self.folder / "residents" / "graph" / "process.json")
        assert process is not None
        return process


@cache
def _client(url: str, service: str, account: str) -> Any:
    """Made once: to make one takes as much processor time as many requests, and tests that wait ask often."""
    session = boto3.session.Session(aws_access_key_id=account, aws_secret_access_key="x", region_name="us-east-1")
    return session.client(service, endpoint_url=url, config=Config(retries={"total_max_attempts": 2}))


class User:
    """What a user of Neptune ML does, over boto3. Jobs are called `job`."""

    def __init__(self, server: Server) -> None:
        self.server = server

    @property
    def neptune(self) -> Any:
        return self.server.client()

    def process(self) -> None:
        self.neptune.start_ml_data_processing_job(id="job", inputDataS3Location=IN, processedDataS3Location=OUT)

    def train(self, trials: int = 6, epochs: int = 300) -> None:
        """Starts a search whose trials take about a second each."""
        output = self.server.object(self.processing()["processingJob"]["outputLocation"])
        search = json.loads((output / "hpo-configuration-templates" / "rgcn.json").read_text())
        model = search["models"][0]
        fixed = {"num-epochs": ("int", epochs), "enable-early-stop": ("bool", False)}
        for tier in ("1-tier-param", "2-tier-param", "3-tier-param", "fixed-param"):
            model[tier] = [entry for entry in model[tier] if entry["param"] not in fixed]
        model["fixed-param"] += [{"param": p, "type": kind, "default": value} for p, (kind, value) in fixed.items()]
        (output / "model-hpo-configuration.json").write_text(json.dumps(search))
        self.neptune.start_ml_model_training_job(
            id="job",
            dataProcessingJobId="job",
            trainModelS3Location=OUT,
            maxHPONumberOfTrainingJobs=trials,
            maxHPOParallelTrainingJobs=2,
        )

    def processing(self) -> dict[str, Any]:
        return dict(self.neptune.get_ml_data_processing_job(id="job"))

    def training(self) -> dict[str, Any]:
        return dict(self.neptune.get_ml_model_training_job(id="job"))

    def completed(self, get: Callable[[], dict[str, Any]], seconds: float = 120) -> dict[str, Any]:
        wait_for(lambda: get()["status"] not in ("InProgress", "Stopping"), seconds)
        job = get()
        assert job["status"] == "Completed", job
        return job

    def search(self) -> Path:
        """The folder of the search's task, once there is one."""
        wait_for(lambda: self.training()["hpoJob"]["status"] == "InProgress")
        return self.server.task(self.training()["hpoJob"]["cloudwatchLogUrl"])

    def finished_trials(self, search: Path) -> dict[str, str]:
        return {path.name: path.read_text() for path in (search / "state" / "trials").glob("*.json")}


def running_user(folder: Path) -> User:
    """A user of a fresh server with a small export in place."""
    write_communities(folder / "objects" / "bucket" / "export")
    return User(Server(folder).start())


def attempts(task: Path) -> list[str]:
    return sorted(os.listdir(task / "attempts"))


def coordinator(task: Path, attempt: int = 1) -> Process:
    """The runner of an attempt; its child does the work."""
    process = Process.read(task / "attempts" / str(attempt) / "process.json")
    assert process is not None
    return process


def kill_pid(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def only_serving(folder: Path) -> list[int]:
    """The task processes that are left once no job runs."""
    deadline = time.monotonic() + 20
    while (left := task_processes(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left
