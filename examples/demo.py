"""The whole of Neptune ML on this machine, in a few minutes: `make demo`.

It starts a server on a free port, and drives everything else with boto3, as against AWS: it uploads the AWS API graph
(see `aws_api_graph.py`) to a bucket, processes it, trains with a search over hyperparameters, creates an endpoint, asks
it for predictions, and downloads the artifacts. Beside the model's score stand those of two baselines (see
`baselines.py`). At the end, after Ctrl-C and after a failure nothing is left running.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aws_api_graph
import baselines
import click
import numpy as np
from local_server import MODELYARD, DemoFailed, client, server
from neptune_jobs import wait
from rich.console import Console
from rich.table import Column, Table

BUCKET = "demo"
LOG_LINES = 15
SEARCH_SPACE: dict[str, dict[str, Any]] = {
    "num-hidden": {"range": [16, 32], "default": 32},
    "num-epochs": {"range": [40, 60], "inc_val": 20, "default": 60},
    "lr": {"range": [0.01, 0.03], "default": 0.02},
    "layer-norm": {"default": True},
    "l2norm": {"default": 0.0},
}
"""What the demo changes in `model-hpo-configuration.json`: fewer epochs, and less regularisation, since thousands of
operations have labels where the defaults think of dozens."""

Call = Callable[..., dict[str, Any]]

console = Console(highlight=False)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".modelyard/demo"), show_default=True)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--trials", default=4, type=click.IntRange(1), show_default=True, help="Settings that the search tries.")
@click.option("--held-out", default=0, type=click.IntRange(0, 4), help="Which fifth of the services is the test.")
def main(data_dir: Path, port: int, trials: int, held_out: int) -> None:
    """Train a graph neural network on AWS's own API through boto3, and ask it for predictions."""
    began = time.monotonic()
    run = time.strftime("%Y%m%d-%H%M%S")
    with server(data_dir, port) as url:
        show(Demo(data_dir / "runs" / run, url, run, trials, held_out).run())
    console.print(f"\nDone in {time.monotonic() - began:.0f} s; nothing is left running.")
    console.print(next_steps(data_dir, run), soft_wrap=True)


class Demo:
    """One run, by a user of boto3 who knows an address. `folder` is the user's own, for the graph and the artifacts."""

    def __init__(self, folder: Path, url: str, run: str, trials: int, held_out: int) -> None:
        self._neptune = client("neptunedata", url)
        self._runtime = client("sagemaker-runtime", url)
        self._s3 = client("s3", url)
        self._url = url
        self._run = run
        self._trials = trials
        self._held_out = held_out
        self._export = folder / "export"
        self._artifacts = folder / "artifacts"

    def run(self) -> "Result":
        """The six steps; DemoFailed with the job's own reason if one of them fails."""
        console.print(f"Modelyard listens on {self._url}")
        self.upload_graph()
        names = self.process()
        artifacts = self.train()
        test = baselines.read_operations(self._export, "test")
        with self.endpoint() as endpoint:
            answers = self.ask(endpoint, test.ids)
        self.download(artifacts)
        return Result(test, baselines.majority(self._export), names, answers, self._artifacts)

    def upload_graph(self) -> None:
        step(1, "create_bucket, upload_file: the AWS API graph, as Neptune's exporter would write it")
        counts = aws_api_graph.write_graph(self._export, held_out=self._held_out)
        nodes = ", ".join(f"{counts[label]:,} {label}s" for label in aws_api_graph.NODE_COLUMNS)
        edges = sum(count for name, count in counts.items() if "-" in name)
        console.print(f"  {nodes}; {edges:,} edges")
        console.print(f"  Is an operation paginated? {counts['train']:,} answers are given, the others held back.")
        self._s3.create_bucket(Bucket=BUCKET)
        files = [path for path in self._export.rglob("*") if path.is_file()]
        for file in files:
            self._s3.upload_file(str(file), BUCKET, f"{self._run}/export/{file.relative_to(self._export)}")
        console.print(f"  {sum(file.stat().st_size for file in files) / 1e6:.0f} MB in {self._uri('export')}")

    def process(self) -> np.ndarray:
        """Data processing; meanwhile the names-only baseline, whose probabilities are returned."""
        step(2, "start_ml_data_processing_job")
        self._neptune.start_ml_data_processing_job(
            id=f"data-{self._run}",
            inputDataS3Location=self._uri("export"),
            processedDataS3Location=self._uri("processed"),
        )
        names = baselines.names_only(self._export)
        neptune = self._neptune
        job = self._finish(
            neptune.get_ml_data_processing_job, neptune.cancel_ml_data_processing_job, f"data-{self._run}"
        )
        self._narrow(f"{job['processingJob']['outputLocation']}/model-hpo-configuration.json")
        return names

    def _narrow(self, uri: str) -> None:
        """Edits the search space, as users do between the two jobs."""
        place = {"Bucket": BUCKET, "Key": key(uri)}
        configuration = json.load(self._s3.get_object(**place)["Body"])
        model = configuration["models"][0]
        model["eval_metric"] = {"metric": "F1"}
        for tier in ("1-tier-param", "2-tier-param", "3-tier-param", "fixed-param"):
            for entry in model[tier]:
                entry.update(SEARCH_SPACE.get(entry["param"], {}))
        self._s3.put_object(**place, Body=json.dumps(configuration, indent=2))
        console.print("  model-hpo-configuration.json is narrowed: fewer epochs, F1 counts.")

    def train(self) -> str:
        """Training with its search; returns where the artifacts lie."""
        step(3, f"start_ml_model_training_job: an R-GCN, trials of its settings: {self._trials}, at most 2 at once")
        self._neptune.start_ml_model_training_job(
            id=f"model-{self._run}",
            dataProcessingJobId=f"data-{self._run}",
            trainModelS3Location=self._uri("model"),
            maxHPONumberOfTrainingJobs=self._trials,
            maxHPOParallelTrainingJobs=2,
        )
        neptune = self._neptune
        job = self._finish(
            neptune.get_ml_model_training_job, neptune.cancel_ml_model_training_job, f"model-{self._run}"
        )
        return str(job["processingJob"]["outputLocation"])

    @contextmanager
    def endpoint(self) -> Iterator[str]:
        """An endpoint's id while the endpoint is there."""
        step(4, "create_ml_endpoint")
        id = f"endpoint-{self._run}"
        self._neptune.create_ml_endpoint(id=id, mlModelTrainingJobId=f"model-{self._run}")
        try:
            with console.status("starting") if console.is_terminal else nullcontext():
                answer = self._wait(self._neptune.get_ml_endpoint, id)
            console.print(f"  {answer['status']}")
            yield id
        finally:
            self._neptune.delete_ml_endpoint(id=id)

    def ask(self, endpoint: str, operations: list[str]) -> np.ndarray:
        """The endpoint's probability for each operation that it is paginated `[num_operations]`."""
        step(5, "invoke_endpoint")
        body = {"globalParameters": {"topk": 2}, "nodes": [{"nodeId": id} for id in operations]}
        began = time.monotonic()
        answer = self._runtime.invoke_endpoint(
            EndpointName=endpoint, ContentType="application/json", Body=json.dumps({"data": body})
        )
        output = json.load(answer["Body"])["output"]
        console.print(f"  {len(output):,} predictions in one request, {time.monotonic() - began:.2f} s")
        return np.array([probability(item) for item in output])

    def download(self, uri: str) -> None:
        """Fetches all objects below a URI."""
        step(6, "list_objects_v2, download_file: the artifacts")
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{key(uri)}/"):
            for item in page["Contents"]:
                file = self._artifacts / item["Key"].removeprefix(f"{key(uri)}/")
                file.parent.mkdir(parents=True, exist_ok=True)
                self._s3.download_file(BUCKET, item["Key"], str(file))
        console.print(f"  {', '.join(sorted(path.name for path in self._artifacts.iterdir()))}")

    def _finish(self, get: Call, cancel: Call, id: str) -> dict[str, Any]:
        """Shows a job's progress with the command line's own display until it ends; what `get` then answers.

        An interrupted job is cancelled: jobs outlive their server, and the next one would go on with it.
        """
        try:
            subprocess.run([*MODELYARD, "jobs", "watch", id, "--endpoint-url", self._url], check=False)
            return self._wait(get, id)
        except (KeyboardInterrupt, SystemExit):
            cancel(id=id)
            raise

    def _wait(self, get: Call, id: str) -> dict[str, Any]:
        try:
            return wait(get, id)
        except DemoFailed as failed:
            raise DemoFailed(f"{failed.message}{self._log(id)}") from None

    def _log(self, id: str) -> str:
        """The end of a job's log."""
        command = [*MODELYARD, "jobs", "logs", id, "--endpoint-url", self._url]
        log = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return "".join(f"\n  {line}" for line in log.splitlines()[-LOG_LINES:])

    def _uri(self, name: str) -> str:
        return f"s3://{BUCKET}/{self._run}/{name}"


@dataclass(frozen=True)
class Result:
    """What a run found out: the held-out operations, three answers for each `[num_operations]`, and a folder."""

    test: baselines.Operations
    majority: np.ndarray
    names: np.ndarray
    graph: np.ndarray
    artifacts: Path


def key(uri: str) -> str:
    """The key in a URI of the demo's bucket."""
    return uri.removeprefix(f"s3://{BUCKET}/")


def probability(item: Mapping[str, Any]) -> float:
    """How probable an endpoint's answer for one node holds "true"."""
    return next(one["score"] for one in item["predictions"] if one["value"] == "true")


def show(result: Result) -> None:
    """Prints the scores beside the baselines', some operations on which names and graph differ, and the folder."""
    services = len({aws_api_graph.service_of(id) for id in result.test.ids})
    console.print(f"\nThe test: {len(result.test.ids):,} operations of {services} services held back\n")
    console.print(scores_table(result))
    graph = result.graph > 0.5
    differ = np.flatnonzero((result.names > 0.5) != graph)
    right = int((graph == result.test.paginated)[differ].sum())
    console.print(f"\nNames and graph differ on {len(differ)} of them, and the graph is right on {right} of these:\n")
    console.print(operations_table(result, differ))
    console.print(f"\nArtifacts: {result.artifacts}", soft_wrap=True)


def scores_table(result: Result) -> Table:
    """A row for each way to answer."""
    table = Table("is it paginated?", "accuracy", "F1", "ROC AUC")
    ways = {
        "always no, the commonest answer": result.majority,
        "names only: TF-IDF and logistic regression": result.names,
        "the graph only, no names: R-GCN": result.graph,
    }
    for way, answers in ways.items():
        scores = baselines.score(result.test.paginated, answers)
        table.add_row(way, f"{scores.accuracy:.3f}", f"{scores.f1:.3f}", f"{scores.roc_auc:.3f}")
    return table


def operations_table(result: Result, places: np.ndarray, rows: int = 8) -> Table:
    """Operations spread evenly over `places`, right and wrong as they come."""
    table = Table(Column("operation", overflow="fold"), "names say", "graph says", "truth")
    for place in places[np.unique(np.linspace(0, len(places) - 1, rows).astype(int))] if len(places) else ():
        truth = bool(result.test.paginated[place])
        answers = [tell(float(way[place]), truth) for way in (result.names, result.graph)]
        table.add_row(result.test.ids[place], *answers, "yes" if truth else "no")
    return table


def tell(probability: float, truth: bool) -> str:
    """An answer with how sure it is, green if it is right."""
    yes = probability > 0.5
    colour = "green" if yes == truth else "red"
    return f"[{colour}]{'yes' if yes else 'no'}[/] ({probability if yes else 1 - probability:.0%})"


def step(number: int, title: str) -> None:
    """Says what begins."""
    console.print(f"\n[bold]{number}  {title}[/]")


def next_steps(data_dir: Path, run: str) -> str:
    """What to try now."""
    bin = os.path.relpath(Path(sys.executable).parent)
    return f"""
Try next
  {bin}/modelyard serve --data-dir {data_dir}    the same server again, with the same jobs; then beside it
  {bin}/modelyard jobs show model-{run} --data-dir {data_dir}
  {bin}/python examples/demo.py --held-out 1     another fifth of the services as the test
  {bin}/python examples/demo.py --trials 10      a longer search
  export AWS_ENDPOINT_URL=http://127.0.0.1:8080 AWS_DEFAULT_REGION=us-east-1
  export AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo
  {bin}/aws s3 sync export s3://{BUCKET}/mine         your own graph, as Neptune's exporter writes it; then in Python
  boto3.client("neptunedata").start_ml_data_processing_job(
      inputDataS3Location="s3://{BUCKET}/mine", processedDataS3Location="s3://{BUCKET}/mine-processed")"""


if __name__ == "__main__":
    main()
