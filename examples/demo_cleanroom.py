"""Two parties, one model, and no row that either shows the other: `make demo-cleanroom`, in a minute.

A bank has the left halves of handwritten digits (scikit-learn's), a shop the right halves, what some of them are, and
an image that learns to read them. Each is an account with a key of its own, and every request is signed. They meet in a
clean room, train the shop's model on whole pictures, and the bank gets the digits that it asked for: all through boto3,
as against AWS. At the end stand three things that were refused, and what the shop finds in its audit log.
"""

import csv
import io
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from botocore.exceptions import ClientError
from local_server import MODELYARD, DemoFailed, client, server
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.svm import SVC

BANK, SHOP = "111111111111", "222222222222"
IMAGE = f"{SHOP}.dkr.ecr.us-east-1.amazonaws.com/digits:1"
PROJECT = Path(__file__).parent / "cleanroom_image"
HALF = 32
LEFT, RIGHT = [f"l{n:02}" for n in range(HALF)], [f"r{n:02}" for n in range(HALF)]
JOIN = "FROM lefts b INNER JOIN rights s ON b.id = s.id"
PIXELS = ", ".join([*(f"b.{name}" for name in LEFT), *(f"s.{name}" for name in RIGHT)])
TRAIN = f"SELECT b.id, {PIXELS}, s.digit {JOIN} WHERE s.digit IS NOT NULL"
ASK = f"SELECT b.id, {PIXELS} {JOIN} WHERE s.digit IS NULL"
POLL_SECONDS = 0.2
READY, OVER = "ACTIVE", ("ACTIVE", "CREATE_FAILED", "INACTIVE", "CANCEL_FAILED")

console = Console(highlight=False)


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path(".modelyard/cleanroom"), show_default=True)
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="0 picks a free one.")
@click.option("--pictures", default=1797, type=click.IntRange(300, 1797), show_default=True, help="How many there are.")
def main(data_dir: Path, port: int, pictures: int) -> None:
    """Let a bank and a shop train a model together through boto3, and show neither the other's data."""
    began = time.monotonic()
    keys = {account: key_of(data_dir, account) for account in (BANK, SHOP)}
    try:
        with server(data_dir, port) as url:
            Demo(data_dir, url, time.strftime("%Y%m%d-%H%M%S"), keys, pictures).run()
    except ClientError as error:
        raise DemoFailed(str(error)) from error
    console.print(f"\nDone in {time.monotonic() - began:.0f} s; nothing is left running.")


def key_of(data_dir: Path, account: str) -> Mapping[str, str]:
    """A new access key of an account, as clients take it: with one, the server checks every signature."""
    printed = modelyard("keys", "add", "--account", account, "--data-dir", str(data_dir))
    id, secret = re.findall(r"=(\S+)", printed)
    return {"aws_access_key_id": id, "aws_secret_access_key": secret}


def modelyard(*arguments: str) -> str:
    """What a command of the command line prints."""
    done = subprocess.run([*MODELYARD, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoFailed(f"modelyard {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout


@dataclass
class Party:
    """An account with its clients. name: what people call it. table: its part of the data."""

    name: str
    account: str
    table: str
    columns: Sequence[str]
    clients: Callable[[str], Any]
    membership: str = ""
    bucket: str = field(init=False, default="")

    @property
    def role(self) -> str:
        return f"arn:aws:iam::{self.account}:role/demo"

    def client(self, service: str) -> Any:
        return self.clients(service)


class Demo:
    """One run, by two users of boto3 who know an address."""

    def __init__(
        self, data_dir: Path, url: str, run: str, keys: Mapping[str, Mapping[str, str]], pictures: int
    ) -> None:
        self._data_dir = data_dir
        self._url = url
        self._run = run
        digits = load_digits()
        self._pixels = digits.images[:pictures].astype(int)
        self._digits = digits.target[:pictures]
        self._asked = np.arange(pictures) % 3 == 0
        self._clients: dict[tuple[str, str], Any] = {}
        self.bank = Party("bank", BANK, "lefts", ["id", *LEFT], lambda service: self._client(service, keys, BANK))
        self.shop = Party(
            "shop", SHOP, "rights", ["id", *RIGHT, "digit"], lambda service: self._client(service, keys, SHOP)
        )
        self._collaboration = ""
        self._association = ""

    def run(self) -> None:
        """The steps; DemoFailed with the job's own reason if one of them fails."""
        console.print(f"Modelyard listens on {self._url}, and checks every signature")
        self.meet()
        self.bring_data()
        self.bring_model()
        training, question = self.fill(4, "training", TRAIN), self.fill(5, "question", ASK)
        model = self.train(training)
        answers = self.infer(model, question)
        self.show_scores(answers)
        self.show_refusals(model)
        self.show_audit()

    def meet(self) -> None:
        step(1, "create_collaboration, create_membership: who may do what is settled first")
        made = self.bank.client("cleanrooms").create_collaboration(
            name=f"digits {self._run}",
            description="Whole pictures out of halves",
            creatorDisplayName="bank",
            creatorMemberAbilities=["CAN_QUERY", "CAN_RECEIVE_RESULTS"],
            creatorMLMemberAbilities={"customMLMemberAbilities": ["CAN_RECEIVE_INFERENCE_OUTPUT"]},
            members=[
                {
                    "accountId": SHOP,
                    "displayName": "shop",
                    "memberAbilities": [],
                    "mlMemberAbilities": {"customMLMemberAbilities": ["CAN_RECEIVE_MODEL_OUTPUT"]},
                }
            ],
            queryLogStatus="DISABLED",
        )
        self._collaboration = made["collaboration"]["id"]
        for party in (self.bank, self.shop):
            joined = party.client("cleanrooms").create_membership(
                collaborationIdentifier=self._collaboration, queryLogStatus="DISABLED"
            )
            party.membership = joined["membership"]["id"]
            party.bucket = f"{party.name}-{self._run}"
            party.client("s3").create_bucket(Bucket=party.bucket)
            party.client("cleanroomsml").put_ml_configuration(
                membershipIdentifier=party.membership,
                defaultOutputLocation={
                    "roleArn": party.role,
                    "destination": {"s3Destination": {"s3Uri": f"s3://{party.bucket}/received"}},
                },
            )
        console.print(
            "  The bank asks and receives the digits; the shop brings the model, and could receive exports.",
            soft_wrap=True,
        )

    def bring_data(self) -> None:
        step(2, "put_object, create_configured_table: each half goes into a bucket of its owner's")
        ids = np.arange(len(self._digits))
        known = ["" if asked else str(digit) for asked, digit in zip(self._asked, self._digits, strict=True)]
        lefts = [[n, *self._pixels[n, :, :4].ravel()] for n in ids]
        rights = [[n, *self._pixels[n, :, 4:].ravel(), known[n]] for n in ids]
        for party, rows in ((self.bank, lefts), (self.shop, rights)):
            body = io.StringIO()
            csv.writer(body, lineterminator="\n").writerows([party.columns, *rows])
            key = f"{party.table}/part-0.csv"
            party.client("s3").put_object(Bucket=party.bucket, Key=key, Body=body.getvalue().encode())
            modelyard(
                *("tables", "add", f"demo.{party.table}", f"s3://{party.bucket}/{party.table}"),
                *("--account", party.account, "--data-dir", str(self._data_dir)),
            )
            console.print(f"  {party.name}: {len(rows):,} rows, {len(party.columns)} columns in s3://{party.bucket}")

    def bring_model(self) -> None:
        step(3, "modelyard images add, create_configured_model_algorithm: the shop brings a scikit-learn model")
        modelyard("images", "add", IMAGE, str(PROJECT), "--data-dir", str(self._data_dir))
        ml = self.shop.client("cleanroomsml")
        algorithm = ml.create_configured_model_algorithm(
            name="digits",
            roleArn=self.shop.role,
            trainingContainerConfig={
                "imageUri": IMAGE,
                "metricDefinitions": [{"name": "accuracy", "regex": "accuracy=([0-9.]+)"}],
            },
            inferenceContainerConfig={"imageUri": IMAGE},
        )["configuredModelAlgorithmArn"]
        self._association = ml.create_configured_model_algorithm_association(
            membershipIdentifier=self.shop.membership,
            configuredModelAlgorithmArn=algorithm,
            name="digits",
            privacyConfiguration={
                "policies": {
                    "trainedModels": {
                        "containerLogs": [{"allowedAccountIds": [BANK], "filterPattern": "pictures|accuracy"}],
                        "containerMetrics": {"noiseLevel": "NONE"},
                    },
                    "trainedModelInferenceJobs": {"maxOutputSize": {"unit": "GB", "value": 0.01}},
                }
            },
        )["configuredModelAlgorithmAssociationArn"]
        for party in (self.bank, self.shop):
            self._allow(party)
        console.print(
            "  Both allow their table for this model alone, and for no query whose rows a member would get.",
            soft_wrap=True,
        )

    def _allow(self, party: Party) -> None:
        """A party's rules: the bank may ask anything of the table, if the rows go to the model and to nobody else."""
        rooms = party.client("cleanrooms")
        table = rooms.create_configured_table(
            name=party.table,
            tableReference={"glue": {"databaseName": "demo", "tableName": party.table}},
            allowedColumns=list(party.columns),
            analysisMethod="DIRECT_QUERY",
        )["configuredTable"]["id"]
        rule = {
            "allowedAnalyses": ["ANY_QUERY"],
            "allowedAnalysisProviders": [BANK],
            "additionalAnalyses": "REQUIRED",
            "disallowedOutputColumns": ["id"] if party is self.shop else [],
        }
        rooms.create_configured_table_analysis_rule(
            configuredTableIdentifier=table,
            analysisRuleType="CUSTOM",
            analysisRulePolicy={"v1": {"custom": rule}},
        )
        association = rooms.create_configured_table_association(
            name=party.table,
            membershipIdentifier=party.membership,
            configuredTableIdentifier=table,
            roleArn=party.role,
        )["configuredTableAssociation"]["id"]
        allowed = {"allowedResultReceivers": [], "allowedAdditionalAnalyses": [self._association]}
        rooms.create_configured_table_association_analysis_rule(
            membershipIdentifier=party.membership,
            configuredTableAssociationIdentifier=association,
            analysisRuleType="CUSTOM",
            analysisRulePolicy={"v1": {"custom": allowed}},
        )

    def fill(self, number: int, name: str, sql: str) -> str:
        """A channel: the rows of a query, which go to the model alone."""
        step(number, f"create_ml_input_channel: {name}")
        ml, membership = self.bank.client("cleanroomsml"), self.bank.membership
        arn = ml.create_ml_input_channel(**self._channel(name, sql))["mlInputChannelArn"]
        found = wait(lambda: ml.get_ml_input_channel(membershipIdentifier=membership, mlInputChannelArn=arn))
        size = f"{found['sizeInGb'] * 1e6:.0f} kB"
        console.print(f"  {found['numberOfRecords']:,} rows of both parties, {size}, which nobody receives")
        return str(arn)

    def _channel(self, name: str, sql: str) -> dict[str, Any]:
        return {
            "membershipIdentifier": self.bank.membership,
            "configuredModelAlgorithmAssociations": [self._association],
            "name": name,
            "retentionInDays": 1,
            "inputChannel": {
                "roleArn": self.bank.role,
                "dataSource": {"protectedQueryInputParameters": {"sqlParameters": {"queryString": sql}}},
            },
        }

    def train(self, channel: str) -> str:
        step(6, "create_trained_model: the shop's container learns, without network, without anyone watching")
        ml, membership = self.bank.client("cleanroomsml"), self.bank.membership
        arn = ml.create_trained_model(
            membershipIdentifier=membership,
            name="digits",
            configuredModelAlgorithmAssociationArn=self._association,
            resourceConfig={"instanceType": "ml.m5.large", "volumeSizeInGB": 1},
            hyperparameters={"gamma": "0.001", "c": "10"},
            dataChannels=[{"mlInputChannelArn": channel, "channelName": "train"}],
        )["trainedModelArn"]
        found = wait(lambda: ml.get_trained_model(membershipIdentifier=membership, trainedModelArn=arn))
        console.print(f"  image {found['trainingContainerImageDigest'][:19]}…, logs: {found['logsStatus']}")
        for key, text in self._received("logs/").items():
            for line in text.splitlines():
                console.print(f"  {key.rpartition('/')[2]}: {line}", soft_wrap=True)
        return str(arn)

    def infer(self, model: str, channel: str) -> Mapping[int, int]:
        """The digits that the bank receives, by id."""
        step(7, "start_trained_model_inference_job: the model answers, for the bank alone")
        ml, membership = self.bank.client("cleanroomsml"), self.bank.membership
        arn = ml.start_trained_model_inference_job(
            membershipIdentifier=membership,
            name="digits",
            trainedModelArn=model,
            resourceConfig={"instanceType": "ml.m5.large"},
            outputConfiguration={"accept": "text/csv", "members": [{"accountId": BANK}]},
            dataSource={"mlInputChannelArn": channel},
        )["trainedModelInferenceJobArn"]
        wait(
            lambda: ml.get_trained_model_inference_job(membershipIdentifier=membership, trainedModelInferenceJobArn=arn)
        )
        files = self._received(f"{self._collaboration}/")
        for key in files:
            console.print(f"  s3://{self.bank.bucket}/received/{key}", soft_wrap=True)
        rows = (line.split(",") for text in files.values() for line in text.split())
        return {int(id): int(digit) for id, digit in rows}

    def show_scores(self, answers: Mapping[int, int]) -> None:
        """What the room's answers are worth beside those that each could give alone."""
        asked = np.flatnonzero(self._asked)
        table = Table("who reads the digits?", "right", title=f"\n{len(asked):,} pictures that neither could name")
        halves = {"the bank, with left halves": np.s_[:, :, :4], "the shop, with right halves": np.s_[:, :, 4:]}
        for who, half in halves.items():
            pixels = self._pixels[half]
            flat = pixels.reshape(len(pixels), -1)
            alone = SVC(gamma=0.001, C=10).fit(flat[~self._asked], self._digits[~self._asked])
            table.add_row(who, f"{alone.score(flat[asked], self._digits[asked]):.1%}")
        right = np.mean([answers.get(int(n)) == self._digits[n] for n in asked])
        table.add_row("the model in the room, with whole pictures", f"{right:.1%}")
        console.print(table)

    def show_refusals(self, model: str) -> None:
        step(8, "Three things that were refused, and why")
        bank, membership = self.bank, self.bank.membership
        self._refused(
            "The bank asks for the shop's labels",
            lambda: bank.client("cleanrooms").start_protected_query(
                type="SQL",
                membershipIdentifier=membership,
                sqlParameters={"queryString": "SELECT s.digit FROM rights s"},
                resultConfiguration={
                    "outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": bank.bucket, "keyPrefix": "labels"}}
                },
            ),
        )
        self._refused(
            "The bank reads the shop's bucket",
            lambda: bank.client("s3").get_object(Bucket=self.shop.bucket, Key="rights/part-0.csv"),
        )
        self._refused(
            "The bank exports the shop's model",
            lambda: bank.client("cleanroomsml").start_trained_model_export_job(
                membershipIdentifier=membership,
                name="mine",
                trainedModelArn=model,
                outputConfiguration={"members": [{"accountId": SHOP}]},
            ),
        )

    def _refused(self, what: str, ask: Callable[[], Any]) -> None:
        try:
            ask()
        except ClientError as error:
            refusal = error.response["Error"]
            console.print(f"  {what}: [red]{refusal['Code']}[/]\n    {refusal['Message']}", soft_wrap=True)
        else:
            raise DemoFailed(f"{what}: that was not refused")

    def show_audit(self) -> None:
        step(9, "modelyard audit: the newest that the shop's log says of its data and its model")
        where = ("--limit", "5", "--account", SHOP, "--data-dir", str(self._data_dir))
        console.print(modelyard("audit", self.shop.membership, *where).rstrip(), soft_wrap=True, markup=False)

    def _received(self, below: str) -> Mapping[str, str]:
        """The files that the bank was given, by what follows the prefix of its ML configuration."""
        s3, start = self.bank.client("s3"), "received/"
        listed = s3.list_objects_v2(Bucket=self.bank.bucket, Prefix=start + below).get("Contents", ())
        keys = [item["Key"] for item in listed]
        bodies = {key: s3.get_object(Bucket=self.bank.bucket, Key=key)["Body"].read().decode() for key in keys}
        return {key.removeprefix(start): text for key, text in bodies.items()}

    def _client(self, service: str, keys: Mapping[str, Mapping[str, str]], account: str) -> Any:
        if (service, account) not in self._clients:
            self._clients[service, account] = client(service, self._url, keys[account])
        return self._clients[service, account]


def wait(get: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `get` answers when a job is over, with its progress until then; DemoFailed with its own reason."""
    began = time.monotonic()
    with console.status("CREATE_PENDING") as shown:
        while (answer := get())["status"] not in OVER:
            shown.update(f"{answer['status']}, {time.monotonic() - began:.0f} s")
            time.sleep(POLL_SECONDS)
    if answer["status"] != READY:
        raise DemoFailed(f"{answer['name']} is {answer['status']}: {answer.get('statusDetails')}")
    console.print(f"  {answer['status']} after {time.monotonic() - began:.1f} s")
    return answer


def step(number: int, title: str) -> None:
    """Says what begins."""
    console.print(f"\n[bold]{number}  {title}[/]", soft_wrap=True)


if __name__ == "__main__":
    main()
