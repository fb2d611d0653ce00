"""Bedrock model customization on this machine, in some minutes: `make demo-language`.

A small language model is built from botocore's documentation, all but that of a few services. Then, with boto3
alone, as against AWS: its pre-training is continued on those services, a hundred invented facts are fine-tuned into
it, it is deployed, and asked through `converse_stream`. At the end, after Ctrl-C and after a failure nothing is left
running.
"""

import itertools
import json
import lzma
import math
import random
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from local_server import MODELYARD, DemoFailed, client, server
from rich.console import Console
from rich.table import Column, Table

from modelyard.workloads.language.corpus import read_services

BUCKET = "demo-language"
BASE = "modelyard.tiny-v1:0"
ROLE = "arn:aws:iam::000000000000:role/demo"
HELD_OUT = ("athena", "ecr", "efs", "firehose", "kms", "route53", "secretsmanager", "sqs")
"""Services whose documentation the base model does not read."""
ASKED = 40
POLL_SECONDS = 0.5
METRICS = (
    "training_artifacts/step_wise_training_metrics.csv",
    "validation_artifacts/pre_fine_tuning_validation/validation/validation_metrics.csv",
    "validation_artifacts/post_fine_tuning_validation/validation/validation_metrics.csv",
)
BARS = "▁▂▃▄▅▆▇█"

STATIONS = ("north", "south", "east", "west", "river", "harbor", "forest", "valley", "island", "mountain")
COLORS = ("Amber", "Azure", "Coral", "Crimson", "Golden", "Indigo", "Ivory", "Jade", "Scarlet", "Silver")
CREWS = (
    "Badger", "Bison", "Condor", "Coyote", "Dolphin", "Eagle", "Falcon", "Ferret", "Gazelle", "Heron",
    "Jaguar", "Kestrel", "Leopard", "Marten", "Ocelot", "Otter", "Panther", "Puffin", "Raven", "Walrus",
)  # fmt: skip

console = Console(highlight=False)


@dataclass(frozen=True)
class Fact:
    """Something that no model can know before it is told."""

    question: str
    answer: str


@dataclass(frozen=True)
class Outcome:
    """What a customization job came to: its model, and losses: in training, and in validation before and after."""

    model_arn: str
    training: Sequence[float]
    before: Sequence[float]
    after: Sequence[float]


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".modelyard/demo"), show_default=True)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--build-seconds", default=150, type=click.IntRange(5), show_default=True, help="For the base model.")
@click.option("--build-steps", type=click.IntRange(1), help="For it, instead of seconds.")
@click.option("--passages", default=1500, type=click.IntRange(100), show_default=True, help="To go on reading with.")
def main(data_dir: Path, port: int, build_seconds: int, build_steps: int | None, passages: int) -> None:
    """Teach a small language model through boto3, deploy it, and ask it."""
    began = time.monotonic()
    with server(data_dir, port) as url:
        length = ("--seconds", build_seconds) if build_steps is None else ("--steps", build_steps)
        Demo(url, time.strftime("%Y%m%d-%H%M%S"), length, passages).run()
    console.print(f"\nDone in {time.monotonic() - began:.0f} s; nothing is left running.")


class Demo:
    """One run, by a user of boto3 who knows an address. `length` is the option that says how long the base is built."""

    def __init__(self, url: str, run: str, length: tuple[str, int], passages: int) -> None:
        self._s3 = client("s3", url)
        self._bedrock = client("bedrock", url)
        self._runtime = client("bedrock-runtime", url)
        self._url = url
        self._run = run
        self._length = length
        self._passages = passages

    def run(self) -> None:
        """The five steps; DemoFailed with the job's own reason if one of them fails."""
        console.print(f"Modelyard listens on {self._url}")
        self.build()
        self._s3.create_bucket(Bucket=BUCKET)
        read = self.continue_pretraining()
        facts = invented_facts()
        taught = self.teach(facts, read.model_arn)
        asked = random.Random(1).sample(facts, ASKED)
        before = self.ask_all(BASE, asked)
        after = self.ask_deployed(taught.model_arn, asked)
        show_answers(asked, before, after)

    def build(self) -> None:
        """The base model, unless an earlier run has built it."""
        step(1, f"modelyard models build tiny: a model from botocore's documentation, without {len(HELD_OUT)} services")
        models = self._bedrock.list_foundation_models()["modelSummaries"]
        if BASE in [model["modelId"] for model in models]:
            console.print("  It is there from an earlier run.")
            return
        option, value = self._length
        options = ["--services-out", ",".join(HELD_OUT), option, str(value)]
        command = [*MODELYARD, "models", "build", "tiny", *options, "--endpoint-url", self._url]
        if subprocess.run(command, check=False).returncode:
            raise DemoFailed("the base model could not be built")

    def continue_pretraining(self) -> Outcome:
        """A model that has read the services that the base has not; every fifth passage is kept to judge by."""
        step(2, "create_model_customization_job CONTINUED_PRE_TRAINING: the services that it never saw")
        passages = [text for service in read_services(HELD_OUT) for text in service.passages]
        passages = random.Random(0).sample(passages, min(self._passages, len(passages)))
        cut = len(passages) // 5
        held, train = passages[:cut], passages[cut:]
        self._upload("passages/train.jsonl", [{"input": text} for text in train])
        self._upload("passages/held.jsonl", [{"input": text} for text in held])
        outcome = self._customize(
            "reads",
            baseModelIdentifier=BASE,
            customizationType="CONTINUED_PRE_TRAINING",
            trainingDataConfig={"s3Uri": self._uri("passages/train.jsonl")},
            validationDataConfig={"validators": [{"s3Uri": self._uri("passages/held.jsonl")}]},
            hyperParameters={"epochCount": "4", "modelyardFullWeights": "true"},
        )
        show_curve("training loss", outcome.training)
        show_losses(outcome, self._count_tokens(held), held, train)
        return outcome

    def teach(self, facts: Sequence[Fact], base: str) -> Outcome:
        """A model that has been told the facts."""
        step(3, f"create_model_customization_job FINE_TUNING: {len(facts)} invented facts, default hyperparameters")
        rows = [{"prompt": fact.question, "completion": fact.answer} for fact in facts]
        self._upload("facts.jsonl", rows)
        outcome = self._customize(
            "facts",
            baseModelIdentifier=base,
            customizationType="FINE_TUNING",
            trainingDataConfig={"s3Uri": self._uri("facts.jsonl")},
        )
        show_curve("training loss", outcome.training)
        return outcome

    def ask_deployed(self, model_arn: str, facts: Sequence[Fact]) -> list[str]:
        """The deployed model's answers."""
        step(4, "create_custom_model_deployment")
        created = self._bedrock.create_custom_model_deployment(
            modelDeploymentName=f"facts-{self._run}", modelArn=model_arn
        )
        arn = created["customModelDeploymentArn"]
        try:
            while (found := self._bedrock.get_custom_model_deployment(customModelDeploymentIdentifier=arn))[
                "status"
            ] == "Creating":
                time.sleep(POLL_SECONDS)
            if found["status"] != "Active":
                raise DemoFailed(f"the deployment is {found['status']}: {found.get('failureMessage')}")
            step(5, f"converse_stream: {len(facts)} questions, 8 at once")
            began = time.monotonic()
            answers = self.ask_all(arn, facts)
            console.print(f"  {len(answers)} answers in {time.monotonic() - began:.1f} s")
            self._stream(arn, facts[0])
            return answers
        finally:
            self._bedrock.delete_custom_model_deployment(customModelDeploymentIdentifier=arn)

    def ask_all(self, model_id: str, facts: Sequence[Fact]) -> list[str]:
        """A model's answers, which streams bring."""
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda fact: "".join(self._pieces(model_id, fact)).strip(), facts))

    def _pieces(self, model_id: str, fact: Fact) -> list[str]:
        answer = self._runtime.converse_stream(
            modelId=model_id,
            messages=[{"role": "user", "content": [{"text": fact.question}]}],
            inferenceConfig={"maxTokens": 24, "temperature": 0.0},
        )
        deltas = (event["contentBlockDelta"] for event in answer["stream"] if "contentBlockDelta" in event)
        return [delta["delta"]["text"] for delta in deltas]

    def _stream(self, model_id: str, fact: Fact) -> None:
        console.print(f"  {fact.question} " + "[dim]|[/]".join(self._pieces(model_id, fact)), soft_wrap=True)

    def _customize(self, name: str, **request: Any) -> Outcome:
        """Sees a job to its end, with the command line's own display."""
        name = f"{name}-{self._run}"
        job = self._bedrock.create_model_customization_job(
            jobName=name,
            customModelName=name,
            roleArn=ROLE,
            outputDataConfig={"s3Uri": self._uri("output")},
            **request,
        )["jobArn"]
        try:
            subprocess.run([*MODELYARD, "jobs", "watch", job.split("/")[-1], "--endpoint-url", self._url], check=False)
            while (found := self._bedrock.get_model_customization_job(jobIdentifier=job))["status"] == "InProgress":
                time.sleep(POLL_SECONDS)
        except (KeyboardInterrupt, SystemExit):
            self._bedrock.stop_model_customization_job(jobIdentifier=job)
            raise
        if found["status"] != "Completed":
            raise DemoFailed(
                f"the job {name} is {found['status']}: {found.get('failureMessage', 'no reason was given')}"
            )
        place = f"{self._run}/output/model-customization-job-{job.split('/')[-1]}"
        return Outcome(found["outputModelArn"], *(self._losses(f"{place}/{path}") for path in METRICS))

    def _losses(self, key: str) -> list[float]:
        """The third column of a file of metrics; none if it is not there."""
        try:
            text = self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode()
        except self._s3.exceptions.NoSuchKey:
            return []
        return [float(row.split(",")[2]) for row in text.splitlines()[1:]]

    def _count_tokens(self, texts: Sequence[str]) -> int:
        """The base model's tokens of all texts, each with its end."""

        def count(text: str) -> int:
            body = json.dumps({"prompt": text}).encode()
            answer = self._runtime.count_tokens(modelId=BASE, input={"invokeModel": {"body": body}})
            return int(answer["inputTokens"])

        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(count, texts))

    def _upload(self, key: str, rows: Sequence[dict[str, str]]) -> None:
        body = "".join(json.dumps(row) + "\n" for row in rows)
        self._s3.put_object(Bucket=BUCKET, Key=f"{self._run}/{key}", Body=body.encode())
        console.print(f"  {len(rows):,} rows in {self._uri(key)}")

    def _uri(self, key: str) -> str:
        return f"s3://{BUCKET}/{self._run}/{key}"


def invented_facts() -> list[Fact]:
    """A hundred, the same in each run."""
    choose = random.Random(7)
    return [
        Fact(f"Which crew keeps the {color} {station} station?", f"The {choose.choice(CREWS)} crew.")
        for color, station in itertools.product(COLORS, STATIONS)
    ]


def show_curve(name: str, values: Sequence[float], width: int = 60) -> None:
    """A line of bars, each the mean of neighbours."""
    groups = [values[i * len(values) // width : (i + 1) * len(values) // width] for i in range(width)]
    means = [sum(group) / len(group) for group in groups if group]
    low, high = min(means), max(means)
    bars = "".join(BARS[round((value - low) / (high - low or 1) * (len(BARS) - 1))] for value in means)
    console.print(f"  {name}  {means[0]:.2f} {bars} {means[-1]:.2f}   ({len(values)} steps)")


def show_losses(outcome: Outcome, tokens: int, held: Sequence[str], train: Sequence[str]) -> None:
    """How well the passages that were kept are foretold, beside a compressor that has seen what the model read."""
    size = len("\n".join(held).encode())
    packed_alone = 8 * (packed([*train, *held]) - packed(train)) / size
    table = Table("the passages that were kept", "perplexity of a token", "bits a byte")
    for way, loss in (
        ("the base model, which never saw these services", outcome.before[-1]),
        ("[green]after four fifths of their passages[/]", outcome.after[-1]),
    ):
        table.add_row(way, f"{math.exp(loss):.1f}", f"{loss / math.log(2) * tokens / size:.2f}")
    table.add_row("xz -9e, after the same passages", "", f"{packed_alone:.2f}")
    console.print(table)


def packed(texts: Sequence[str]) -> int:
    """Bytes that xz makes of texts."""
    return len(lzma.compress("\n".join(texts).encode(), preset=9 | lzma.PRESET_EXTREME))


def show_answers(facts: Sequence[Fact], before: Sequence[str], after: Sequence[str], rows: int = 6) -> None:
    """Some answers, and how many of all are right to the letter."""
    table = Table(Column("question", overflow="fold"), Column("before", overflow="fold"), "after", "truth")
    for fact, first, second in list(zip(facts, before, after, strict=True))[:rows]:
        color = "green" if second == fact.answer else "red"
        table.add_row(fact.question, first[:60], f"[{color}]{second}[/]", fact.answer)
    console.print(table)
    right = [
        sum(answer == fact.answer for answer, fact in zip(answers, facts, strict=True)) for answers in (before, after)
    ]
    console.print(f"\nRight of {len(facts)}: {right[0]} before, [bold]{right[1]}[/] after.")


def step(number: int, title: str) -> None:
    """Says what begins."""
    console.print(f"\n[bold]{number}  {title}[/]")


if __name__ == "__main__":
    main()
