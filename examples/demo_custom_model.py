"""A model of your own in Neptune ML's place: the scripts of `custom_model/`, from upload to predictions, in a minute.

It starts a server on a free port, and drives everything else with boto3, as against AWS: it uploads a small made-up
library (see `library_graph.py`) and the scripts to a bucket, processes the graph, searches with the training script,
creates an endpoint on what the transform script left, and asks it for the genres of books. Nothing is left running.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import library_graph
from local_server import client, server
from neptune_jobs import wait

BUCKET = "custom"
SCRIPTS = Path(__file__).parent / "custom_model"


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".modelyard/custom"), show_default=True)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--trials", default=4, type=click.IntRange(1), show_default=True, help="Settings that the search tries.")
def main(data_dir: Path, port: int, trials: int) -> None:
    """Train your own PyTorch Geometric model by Neptune ML's operations, and ask it for predictions."""
    run = time.strftime("%Y%m%d-%H%M%S")
    with server(data_dir, port) as url:
        share = Demo(data_dir / "runs" / run, url, run).run(trials)
    click.echo(f"{share:.1%} of the genres are right; the commonest genre alone would be about a third.")


class Demo:
    """One run, by a user of boto3 who knows an address. `folder` is the user's own."""

    def __init__(self, folder: Path, url: str, run: str) -> None:
        self._neptune = client("neptunedata", url)
        self._runtime = client("sagemaker-runtime", url)
        self._s3 = client("s3", url)
        self._folder = folder
        self._run = run

    def run(self, trials: int) -> float:
        """The share of books whose genre the endpoint tells right."""
        genres = library_graph.write_graph(self._folder / "export")
        self._s3.create_bucket(Bucket=BUCKET)
        self._upload(self._folder / "export", "export")
        self._upload(SCRIPTS, "scripts")
        self.train(trials)
        self._neptune.create_ml_endpoint(id=f"books-{self._run}", mlModelTrainingJobId=f"model-{self._run}")
        self._wait(self._neptune.get_ml_endpoint, f"books-{self._run}")
        return self.ask(genres)

    def train(self, trials: int) -> None:
        """Processes the graph, searches with the user's scripts, and tells each trial."""
        data, model = f"data-{self._run}", f"model-{self._run}"
        self._neptune.start_ml_data_processing_job(
            id=data, inputDataS3Location=self._uri("export"), processedDataS3Location=self._uri("processed")
        )
        self._wait(self._neptune.get_ml_data_processing_job, data)
        self._neptune.start_ml_model_training_job(
            id=model,
            dataProcessingJobId=data,
            trainModelS3Location=self._uri("model"),
            maxHPONumberOfTrainingJobs=trials,
            maxHPOParallelTrainingJobs=2,
            customModelTrainingParameters={"sourceS3DirectoryPath": self._uri("scripts")},
        )
        job = self._wait(self._neptune.get_ml_model_training_job, model)
        output = job["processingJob"]["outputLocation"].removeprefix(f"s3://{BUCKET}/")
        for trial in json.load(self._s3.get_object(Bucket=BUCKET, Key=f"{output}/trials.json")["Body"]):
            click.echo(f"trial {trial['number']}: {trial['metrics']} with {trial['hyperparameters']}")

    def ask(self, genres: dict[str, str]) -> float:
        """Asks for all books in one request."""
        nodes = [{"nodeId": book} for book in genres]
        answer = self._runtime.invoke_endpoint(
            EndpointName=f"books-{self._run}",
            ContentType="application/json",
            Body=json.dumps({"data": {"nodes": nodes}}),
        )
        output = json.load(answer["Body"])["output"]
        return sum(item["predictions"][0]["value"] == genres[item["id"]] for item in output) / len(genres)

    def _upload(self, folder: Path, name: str) -> None:
        for file in sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            self._s3.upload_file(str(file), BUCKET, f"{self._run}/{name}/{file.relative_to(folder)}")

    def _wait(self, get: Callable[..., dict[str, Any]], id: str) -> dict[str, Any]:
        answer = wait(get, id)
        click.echo(f"{id}: {answer['status']}")
        return answer

    def _uri(self, name: str) -> str:
        return f"s3://{BUCKET}/{self._run}/{name}"


if __name__ == "__main__":
    main()
