"""The servers that are measured, each a process of its own: Modelyard, and moto as its users run it."""

import json
import os
import runpy
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.request import urlopen

import boto3
import psutil
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

PROGRAMS = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
CORA = Path(os.environ.get("MODELYARD_TEST_DATA", ROOT.parent / "shared" / "data")) / "cora"
"""The citation graph as Neptune's exporter writes it: 2,708 papers, 5,278 citations, 7 topics."""

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
"""Every server runs from bytecode, as pip leaves a package that it installs; ours, in place, is compiled once."""


class Server:
    """A server's process, from its start to its end. `url` is where it answers."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url

    def client(self, service: str) -> Any:
        """A boto3 client that never asks twice."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="000000000000",
            aws_secret_access_key="secret",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=60),
        )

    def signed(self, path: str, signing_name: str, method: str = "GET") -> dict[str, str]:
        """The headers of a request for `path`, without a body, as a client of AWS signs it."""
        request = AWSRequest(method, self.url + path)
        SigV4Auth(Credentials("000000000000", "secret"), signing_name, "us-east-1").add_auth(request)
        return dict(request.headers.items())

    def memory(self) -> tuple[float, float]:
        """Megabytes that the process holds: all that is mapped in (RSS), and its share of that (PSS)."""
        memory = psutil.Process(self.process.pid).memory_full_info()
        return memory.rss / 1e6, memory.pss / 1e6

    def close(self) -> None:
        """Ends the process."""
        self.process.terminate()
        self.process.wait(30)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Modelyard(Server):
    """`modelyard serve` over a data folder of its own, which goes with it, and all that its jobs left running."""

    def __init__(self, *arguments: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="modelyard-bench-"))
        self.bucket = self.folder / "objects" / "bench"
        self.bucket.mkdir(parents=True)
        command = [PROGRAMS / "modelyard", "serve", "--port", "0", "--data-dir", self.folder, *arguments]
        log = (self.folder / "server.log").open("w")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        log.close()
        assert process.stdout
        line = process.stdout.readline()
        assert line, (self.folder / "server.log").read_text()
        super().__init__(process, line.split()[-1])

    def close(self) -> None:
        """Ends the server, its tasks and their resident parents, and deletes the data folder."""
        super().close()
        wait_for(lambda: not [one.kill() for one in self.tasks()])
        shutil.rmtree(self.folder)

    def tasks(self) -> list[psutil.Process]:
        """The processes that jobs of this server keep: tasks, their workers, and resident parents."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.pid != self.process.pid and str(self.folder) in " ".join(process.cmdline()):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
        return found

    def workers(self) -> list[psutil.Process]:
        """Of `tasks`, all but the resident parents, which stay to fork for the next job."""
        return [one for one in self.tasks() if not _is_resident(one.pid)]

    def events(self, job: str, stage: str = "search") -> list[dict[str, Any]]:
        """What a stage of a job has reported; `time` is seconds since the epoch.

        Of a search, the stage of graph training jobs, without what came before the first epoch: `trial` is a number;
        the end of a trial carries its `state`.
        """
        found: list[dict[str, Any]] = []
        since = "1.0"
        while True:
            with urlopen(f"{self.url}/-/jobs/events?id={job}&stage={stage}&since={since}") as answer:
                page = json.load(answer)
            if not page["more"]:
                return [event for event in found if stage != "search" or "trial" in event]
            found += page["events"]
            since = page["since"]

    def process_small_graph(self, id: str) -> None:
        """Runs a data processing job over 60 nodes."""
        write = runpy.run_path(str(ROOT / "tests" / "graphs.py"))["write_communities"]
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder, "export"))
            self.process_graph(id, Path(folder, "export"))

    def process_graph(self, id: str, export: Path) -> None:
        """Runs a data processing job over a copy of an export, to its end."""
        shutil.copytree(export, self.bucket / id)
        client = self.client("neptunedata")
        client.start_ml_data_processing_job(
            id=id, inputDataS3Location=f"s3://bench/{id}", processedDataS3Location="s3://bench/processed"
        )
        completed(lambda: client.get_ml_data_processing_job(id=id))

    def start_training(self, id: str, graph: str, trials: int, parallel: int) -> None:
        """Starts a training job over a processed graph."""
        self.client("neptunedata").start_ml_model_training_job(
            id=id,
            dataProcessingJobId=graph,
            trainModelS3Location="s3://bench/trained",
            maxHPONumberOfTrainingJobs=trials,
            maxHPOParallelTrainingJobs=parallel,
        )

    def train(self, id: str, graph: str, trials: int = 2, parallel: int = 1) -> None:
        """Runs a training job to its end."""
        self.start_training(id, graph, trials, parallel)
        client = self.client("neptunedata")
        completed(lambda: client.get_ml_model_training_job(id=id))

    def end_residents(self) -> None:
        """Ends the resident parents, and sees them gone."""
        wait_for(lambda: not self.workers())
        for process in self.tasks():
            process.kill()
        wait_for(lambda: not self.tasks())


class Moto(Server):
    """`moto_server` with one customization job, made through boto3; it serves with threads, and stays InProgress."""

    JOB = "customization"

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [PROGRAMS / "moto_server", "-H", "127.0.0.1", "-p", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
        super().__init__(process, f"http://127.0.0.1:{port}")
        wait_for(lambda: answers(port))

    def make_job(self) -> None:
        """Makes the job that Get is asked for."""
        self.client("s3").create_bucket(Bucket="bench")
        self.client("s3").put_object(Bucket="bench", Key="train.jsonl", Body=b"{}\n")
        self.client("bedrock").create_model_customization_job(
            jobName=self.JOB,
            customModelName="model",
            roleArn="arn:aws:iam::123456789012:role/bench",
            baseModelIdentifier="amazon.titan-text-lite-v1",
            trainingDataConfig={"s3Uri": "s3://bench/train.jsonl"},
            outputDataConfig={"s3Uri": "s3://bench/out"},
            hyperParameters={"epochCount": "1"},
        )


class NullS3(Server):
    """A server that takes uploads and forgets them, and sends zeros: see `null_s3.py`."""

    def __init__(self) -> None:
        command = [sys.executable, Path(__file__).with_name("null_s3.py")]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout
        super().__init__(process, process.stdout.readline().split()[-1])


def _is_resident(pid: int) -> bool:
    """Whether this forks for others: what it forks has it for a parent."""
    try:
        process = psutil.Process(pid)
        parent = process.parent()
        return _runs_resident(process) and not (parent and _runs_resident(parent))
    except psutil.NoSuchProcess:
        return False


def _runs_resident(process: psutil.Process) -> bool:
    return "runner.resident" in " ".join(process.cmdline())


def answers(port: int) -> bool:
    """Whether somebody listens at a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def completed(get: Callable[[], Any], seconds: float = 300.0) -> None:
    """Waits until a job is completed; AssertionError with its answer if it ends in another way."""
    answer: dict[str, Any] = {}
    wait_for(lambda: answer.update(get()) or answer["status"] not in ("InProgress", "Stopping"), seconds)
    assert answer["status"] == "Completed", answer


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """Polls until the condition holds, and returns what it gave; TimeoutError at the deadline."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"did not happen within {seconds:g} s")
        time.sleep(0.02)
    return value


def running(*servers: Server) -> ExitStack:
    """Ends all servers together."""
    stack = ExitStack()
    for server in servers:
        stack.enter_context(server)
    return stack
