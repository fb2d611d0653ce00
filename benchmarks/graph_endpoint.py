"""Predictions over HTTP: node classification on Cora, server on one core, serving task on the other.

wrk: one thread, signed InvokeEndpoint requests of one node each, 500 nodes in turn; it runs beside both, on whichever
core is free. "cpu us" is the server's processor time for one answer, "task us" the task's. "1,000 nodes ms" is what one
boto3 client waits for one request. Every answer must be a success.
"""

import csv
import json
import os
import statistics
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import psutil
from rounds import Bar, Report, main
from servers import CORA, Modelyard, running, wait_for
from wrk import load_posts

ENDPOINT = "topics"
PATH = f"/endpoints/{ENDPOINT}/invocations"


def run(quick: bool) -> Report:
    """Trains, creates the endpoint, and measures it."""
    report = Report("InvokeEndpoint: node classification on Cora")
    seconds, rounds = (1.0, 1) if quick else (5.0, 5)
    with running(server := Modelyard()), tempfile.TemporaryDirectory() as folder:
        create_endpoint(server)
        task = serving_task(server)
        pin(server.process, 0)
        pin(task, 1)
        ids = node_ids()
        bodies = [asked([id]) for id in ids[:500]]
        counts = {f"{connections} connections": connections for connections in (1, 32)}
        measures = {
            name: partial(loaded, server, task, bodies, Path(folder), seconds, count) for name, count in counts.items()
        }
        report.measure(measures, rounds)
        report.measure({"one client": partial(alone, server, ids[:1000])}, rounds)
    busy = report.medians["32 connections"]
    report.bars += [
        Bar("requests/s at 32 connections", busy["requests/s"], low=2000),
        Bar("p99 ms at 32 connections", busy["p99 ms"], high=25),
        Bar("1,000 nodes in one request, ms", report.medians["one client"]["1,000 nodes ms"], high=20),
    ]
    return report


def create_endpoint(server: Modelyard) -> None:
    """Trains on Cora, and brings the model into service."""
    server.process_graph("cora", CORA)
    server.train(ENDPOINT, "cora")
    client = server.client("neptunedata")
    client.create_ml_endpoint(id=ENDPOINT, mlModelTrainingJobId=ENDPOINT)
    wait_for(lambda: client.get_ml_endpoint(id=ENDPOINT)["status"] == "InService")


def serving_task(server: Modelyard) -> psutil.Process:
    """The process that answers: the other one of a task waits for it."""
    [task] = [one for one in server.tasks() if not one.children() and "runner.main" in " ".join(one.cmdline())]
    return task


def pin(process: psutil.Process | subprocess.Popen[str], core: int) -> None:
    """Keeps all threads of a process on one core, or on the only one."""
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {core % (os.cpu_count() or 1)})


def loaded(
    server: Modelyard, task: psutil.Process, bodies: list[str], folder: Path, seconds: float, connections: int
) -> dict[str, float]:
    """What wrk finds, and what an answer costs the task."""
    before = sum(task.cpu_times()[:2])
    found = load_posts(server, PATH, "sagemaker", bodies, folder, seconds, connections)
    busy = sum(task.cpu_times()[:2]) - before
    return found | {"task us": busy * 1e6 / (found["requests/s"] * seconds)}


def alone(server: Modelyard, ids: list[str]) -> dict[str, float]:
    """What one client of boto3 waits for the answer to one request, milliseconds."""
    client, body = server.client("sagemaker-runtime"), asked(ids)
    waited = []
    for _ in range(21):
        began = time.perf_counter()
        answer = client.invoke_endpoint(EndpointName=ENDPOINT, ContentType="application/json", Body=body)["Body"].read()
        waited.append((time.perf_counter() - began) * 1e3)
        output = json.loads(answer)["output"]
        assert [one["id"] for one in output] == ids
        assert all(one["predictions"] for one in output), output
    return {"1,000 nodes ms": statistics.median(waited[1:])}


def asked(ids: list[str]) -> str:
    """A request for the classes of nodes."""
    return json.dumps({"data": {"nodes": [{"nodeId": id} for id in ids]}})


def node_ids() -> list[str]:
    """The papers, as the export lists them."""
    with (CORA / "nodes" / "paper.csv").open(newline="") as file:
        return [row["~id"] for row in csv.DictReader(file)]


if __name__ == "__main__":
    main(run, __doc__)
