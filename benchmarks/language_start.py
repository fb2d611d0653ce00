"""How long a customization job takes to its first step, and what two at once cost.

Times are from just before boto3's CreateModelCustomizationJob to the `time` of the first step that the job reports:
validation, data processing and the loading of the model (2.6 million parameters) lie between.
cold: no resident parent of the language family runs, so that the libraries are imported first; it ends before each
round. warm: the round's next job, which finds the parent of the first.
import: a Python that imports what a script for such a job imports, next to the cold start.
one job, two jobs: from the creation of the first to the end of the last, each with all the cores that it may have.
"""

import json
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from language_serving import MODEL, add, build
from rounds import Bar, Report, main
from servers import Modelyard, wait_for

IMPORT = "import torch, peft; from transformers import AutoTokenizer, LlamaForCausalLM"
ROLE = "arn:aws:iam::000000000000:role/bench"
SHORT, LONG = 1, 12
"""Epochs."""


def run(quick: bool) -> Report:
    """Measures all sides in turn."""
    report = Report("From CreateModelCustomizationJob to the first step")
    with tempfile.TemporaryDirectory() as folder, Modelyard() as server:
        add(server, build(Path(folder, "model")))
        jobs = Jobs(server)

        def cold() -> dict[str, float]:
            server.end_residents()
            return warm()

        def warm() -> dict[str, float]:
            began = time.time()
            job = jobs.create(SHORT)
            jobs.wait(job)
            return {"first step s": jobs.first_step(job) - began}

        def at_once(number: int) -> dict[str, float]:
            began = time.time()
            for job in [jobs.create(LONG) for _ in range(number)]:
                jobs.wait(job)
            return {"whole s": time.time() - began}

        sides = {
            "import": imported,
            "cold": cold,
            "warm": warm,
            "one job": lambda: at_once(1),
            "two jobs": lambda: at_once(2),
        }
        report.measure(sides, 2 if quick else 5)
    report.bars += [
        Bar("cold, over the import", report.ratio("first step s", "cold", "import"), high=1.5),
        Bar("warm, s", report.medians["warm"]["first step s"], high=1.0),
        Bar("two jobs over one", report.ratio("whole s", "two jobs", "one job"), high=2.2),
    ]
    return report


class Jobs:
    """Fine-tuning jobs over a hundred short conversations."""

    def __init__(self, server: Modelyard) -> None:
        self._server = server
        self._bedrock = server.client("bedrock")
        self._numbers = count()
        rows = [{"prompt": f"Which crew keeps station {n}?", "completion": f"Crew {n % 7}."} for n in range(100)]
        (server.bucket / "facts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def create(self, epochs: int) -> str:
        """Starts a job; its ARN."""
        name = f"job-{next(self._numbers)}"
        return str(
            self._bedrock.create_model_customization_job(
                jobName=name,
                customModelName=name,
                roleArn=ROLE,
                baseModelIdentifier=MODEL,
                trainingDataConfig={"s3Uri": "s3://bench/facts.jsonl"},
                outputDataConfig={"s3Uri": "s3://bench/models/"},
                hyperParameters={"epochCount": str(epochs)},
            )["jobArn"]
        )

    def wait(self, job: str) -> None:
        """Waits for a job's end; AssertionError unless it is completed."""
        told: dict[str, Any] = {}

        def ended() -> bool:
            told.update(self._bedrock.get_model_customization_job(jobIdentifier=job))
            return told["status"] not in ("InProgress", "Stopping")

        wait_for(ended, 300)
        assert told["status"] == "Completed", told

    def first_step(self, job: str) -> float:
        """When the first step ended, in seconds since the epoch."""
        events = self._server.events(job.rpartition("/")[2], "training")
        return float(next(event["time"] for event in events if event.get("phase") == "training"))


def imported() -> dict[str, float]:
    """A Python that imports the libraries, and ends."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", IMPORT], check=True)
    return {"first step s": time.monotonic() - began}


if __name__ == "__main__":
    main(run, __doc__)
