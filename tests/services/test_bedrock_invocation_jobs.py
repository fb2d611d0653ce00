"""Batch inference as users of boto3 meet it. The jobs are real ones, with a very small model."""

import asyncio
import json
import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients, Loop
from tests.conftest import kill_all_of, task_processes, wait_for
from tests.workloads.language.models import ENGINE, build_model

from modelyard.app import Application
from modelyard.settings import Settings

pytestmark = pytest.mark.slow

MODEL = "meta.tiny-v1:0"
ROLE = "arn:aws:iam::111122223333:role/batch"
ENDED = ("Completed", "PartiallyCompleted", "Failed", "Stopped", "Expired")


class Server:
    """An application with its supervisor, in the loop's thread. It may be ended and begun again."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self._loop = loop
        self.folder = folder
        self.begin()

    def begin(self) -> None:
        self.application = self._loop.run(self._begin())

    async def _begin(self) -> Application:
        application = Application(Settings(data_dir=self.folder, slots=2, language_engine=ENGINE))
        self._work = [asyncio.create_task(part.run()) for part in (application.supervisor, application.on_demand)]
        return application

    def end(self) -> None:
        self._loop.run(self._end())

    async def _end(self) -> None:
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self.application.close()

    def register(self, id: str, path: Path) -> None:
        self._loop.run(self.application.base_models.add(id, path))

    def write(self, key: str, *records: Any) -> str:
        path = self.folder / "objects" / "bucket" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
        return f"s3://bucket/{key}"

    def output(self, arn: str) -> Path:
        return self.folder / "objects" / "bucket" / "out" / arn.rpartition("/")[2]

    def answers(self, arn: str, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.output(arn) / f"{name}.out").read_text().splitlines()]


@pytest.fixture(scope="module")
def server(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("batch") / "data"
    server = Server(loop, folder)
    server.register(MODEL, build_model(folder.parent / "base"))
    server.register("meta.plain-v1:0", build_model(folder.parent / "plain", template=None))
    yield server
    server.end()
    kill_all_of(folder)


@pytest.fixture
def bedrock(server: Server, client_for: Clients) -> Any:
    return client_for(lambda *asgi: server.application.endpoint(*asgi), "bedrock")


@pytest.fixture
def create(bedrock: Any, server: Server) -> Callable[..., str]:
    """Makes a job with a new name; gives its ARN."""

    def make(uri: str, **members: Any) -> str:
        request = {
            "jobName": f"job-{os.urandom(6).hex()}",
            "roleArn": ROLE,
            "modelId": MODEL,
            "inputDataConfig": {"s3InputDataConfig": {"s3Uri": uri}},
            "outputDataConfig": {"s3OutputDataConfig": {"s3Uri": "s3://bucket/out/"}},
        }
        return str(bedrock.create_model_invocation_job(**{**request, **members})["jobArn"])

    return make


def ended(bedrock: Any, arn: str, seconds: float = 90) -> dict[str, Any]:
    wait_for(lambda: bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] in ENDED, seconds)
    return dict(bedrock.get_model_invocation_job(jobIdentifier=arn))


def refusal(call: Callable[..., Any], *given: Any, **request: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as caught:
        call(*given, **request)
    error = caught.value.response["Error"]
    return error["Code"], error["Message"]


def record(n: int, **body: Any) -> dict[str, Any]:
    return {"recordId": f"r{n}", "modelInput": {"prompt": f"the crew {n}", "max_gen_len": 8, "temperature": 0, **body}}


def test_a_job_answers_its_records_and_those_that_fail_fail_alone(
    bedrock: Any, server: Server, create: Callable[..., str]
) -> None:
    uri = server.write("in/a.jsonl", record(1), {"modelInput": {"prompt": "x", "max_gen_len": 3}}, record(3, bad=1))
    arn = create(uri, tags=[{"key": "team", "value": "a"}])
    job = ended(bedrock, arn)
    counts = {name: job[f"{name}RecordCount"] for name in ("total", "processed", "success", "error")}
    assert (job["status"], counts) == ("Completed", {"total": 3, "processed": 3, "success": 2, "error": 1})
    assert job["jobName"].startswith("job-")
    assert (job["modelId"], job["roleArn"], job["modelInvocationType"]) == (MODEL, ROLE, "InvokeModel")
    assert job["inputDataConfig"]["s3InputDataConfig"]["s3Uri"] == uri
    assert job["submitTime"] <= job["lastModifiedTime"] == job["endTime"]
    assert job["jobExpirationTime"] - job["submitTime"] == pytest.approx(timedelta(hours=24), abs=timedelta(seconds=9))
    good, unnamed, bad = server.answers(arn, "a.jsonl")
    assert good["recordId"] == "r1"
    assert good["modelOutput"]["generation_token_count"] <= 8
    assert unnamed["recordId"]
    assert bad["error"]["errorCode"] == 400
    assert "extraneous key [bad]" in bad["error"]["errorMessage"]
    assert "modelOutput" not in bad
    manifest = json.loads((server.output(arn) / "manifest.json.out").read_text())
    assert manifest["totalRecordCount"] == 3
    assert manifest["outputTokenCount"] >= 2


def test_answers_equal_those_of_the_runtime(
    bedrock: Any, server: Server, create: Callable[..., str], client_for: Clients
) -> None:
    runtime = client_for(server.application.endpoint, "bedrock-runtime")
    uri = server.write("same/a.jsonl", *(record(n) for n in range(5)))
    arn = create(uri)
    assert ended(bedrock, arn)["status"] == "Completed"
    for answer in server.answers(arn, "a.jsonl"):
        body = json.dumps(answer["modelInput"])
        alone = json.loads(runtime.invoke_model(modelId=MODEL, body=body)["body"].read())
        assert answer["modelOutput"]["generation"] == alone["generation"]


def test_conversations_over_the_files_of_a_folder(bedrock: Any, server: Server, create: Callable[..., str]) -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "hello"}]}], "inferenceConfig": {"maxTokens": 4}}
    server.write("many/a.jsonl", {"modelInput": body})
    server.write("many/deep/b.jsonl", {"modelInput": body}, {"modelInput": {"prompt": "x"}})
    arn = create("s3://bucket/many/", modelInvocationType="Converse")
    assert ended(bedrock, arn)["errorRecordCount"] == 1
    answer = server.answers(arn, "a.jsonl")[0]["modelOutput"]
    assert answer["output"]["message"]["role"] == "assistant"
    assert len(server.answers(arn, "deep/b.jsonl")) == 2


def test_a_broken_file_fails_the_job_and_names_the_lines(
    bedrock: Any, server: Server, create: Callable[..., str]
) -> None:
    job = ended(bedrock, create(server.write("bad/a.jsonl", record(1), {"recordId": "x"}, [])))
    assert job["status"] == "Failed"
    assert job["message"].startswith("a.jsonl, line 2: there is no modelInput; a.jsonl, line 3: no JSON object")
    assert not server.output(job["jobArn"]).exists()


def test_a_stopped_job_keeps_what_it_has(bedrock: Any, server: Server, create: Callable[..., str]) -> None:
    arn = create(server.write("long/a.jsonl", *(record(n, max_gen_len=200) for n in range(5000))))
    wait_for(lambda: bedrock.get_model_invocation_job(jobIdentifier=arn)["processedRecordCount"], 90)
    assert bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] == "InProgress"
    assert bedrock.stop_model_invocation_job(jobIdentifier=arn)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert bedrock.get_model_invocation_job(jobIdentifier=arn)["status"] in ("Stopping", "Stopped")
    job = ended(bedrock, arn)
    assert job["status"] == "Stopped"
    assert 0 < job["processedRecordCount"] < job["totalRecordCount"] == 5000
    assert len(server.answers(arn, "a.jsonl")) == job["processedRecordCount"]
    assert bedrock.stop_model_invocation_job(jobIdentifier=arn)


def test_a_killed_job_goes_on_where_it_was(bedrock: Any, server: Server, create: Callable[..., str]) -> None:
    arn = create(server.write("kill/a.jsonl", *(record(n, max_gen_len=60) for n in range(400))))
    wait_for(lambda: bedrock.get_model_invocation_job(jobIdentifier=arn)["processedRecordCount"], 90)
    server.end()
    for process in task_processes(server.folder):
        os.kill(process, signal.SIGKILL)
    server.begin()
    job = ended(bedrock, arn)
    assert (job["status"], job["successRecordCount"]) == ("Completed", 400)
    answers = server.answers(arn, "a.jsonl")
    assert [answer["recordId"] for answer in answers] == [f"r{n}" for n in range(400)]


def test_a_job_that_runs_out_of_time_tells_what_it_has(
    bedrock: Any, server: Server, create: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("modelyard.services.bedrock.invocation_jobs.DEFAULT_HOURS", 2.0 / 3600)
    uri = server.write("late/a.jsonl", *(record(n, max_gen_len=200) for n in range(5000)))
    job = ended(bedrock, create(uri))
    assert job["status"] in ("PartiallyCompleted", "Expired")
    if job["status"] == "PartiallyCompleted":
        assert job["processedRecordCount"] < 5000  # none, where the machine is so busy that loading takes the time
    monkeypatch.setattr("modelyard.services.bedrock.invocation_jobs.DEFAULT_HOURS", -1)
    late = ended(bedrock, create(uri))
    assert late["status"] == "Expired"
    assert "create it again" in late["message"]


def test_a_token_is_answered_as_the_first_time_and_a_name_is_taken_once(
    bedrock: Any, server: Server, create: Callable[..., str]
) -> None:
    uri = server.write("token/a.jsonl", record(1))
    first = create(uri, jobName="once", clientRequestToken="token")
    assert create(uri, jobName="once", clientRequestToken="token") == first
    code, text = refusal(create, uri, jobName="other", clientRequestToken="token")
    assert (code, "clientRequestToken" in text) == ("ConflictException", True)
    code, text = refusal(create, uri, jobName="once", clientRequestToken="another")
    assert code == "ConflictException"
    assert text.startswith("The provided job name is currently in use.")
    assert bedrock.get_model_invocation_job(jobIdentifier=first)["clientRequestToken"] == "token"


def test_jobs_are_found_by_arn_or_id_and_by_their_owner_alone(
    server: Server, bedrock: Any, create: Callable[..., str], client_for: Clients
) -> None:
    arn = create(server.write("own/a.jsonl", record(1)), jobName="mine")
    assert bedrock.get_model_invocation_job(jobIdentifier=arn.rpartition("/")[2])["jobArn"] == arn
    other = client_for(server.application.endpoint, "bedrock", account="444455556666")
    for call in (other.get_model_invocation_job, other.stop_model_invocation_job):
        assert refusal(call, jobIdentifier=arn)[0] == "ResourceNotFoundException"
    assert other.list_model_invocation_jobs()["invocationJobSummaries"] == []
    assert refusal(bedrock.get_model_invocation_job, jobIdentifier="mine")[0] == "ValidationException"


def test_lists_are_filtered_and_paged(bedrock: Any, server: Server, create: Callable[..., str]) -> None:
    uri = server.write("list/a.jsonl", record(1))
    arns = [create(uri, jobName=f"listed-{n}") for n in range(5)]
    for arn in arns:
        ended(bedrock, arn)
    pages = bedrock.get_paginator("list_model_invocation_jobs").paginate(
        nameContains="listed", statusEquals="Completed", PaginationConfig={"PageSize": 2}
    )
    found = [[job["jobArn"] for job in page["invocationJobSummaries"]] for page in pages]
    assert [arn for page in found for arn in page] == arns[::-1]
    assert [len(page) for page in found] == [2, 2, 1]
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for nothing in ({"statusEquals": "Failed"}, {"submitTimeAfter": tomorrow}):
        assert bedrock.list_model_invocation_jobs(nameContains="listed", **nothing)["invocationJobSummaries"] == []
    ascending = bedrock.list_model_invocation_jobs(nameContains="listed", sortOrder="Ascending")
    assert [job["jobArn"] for job in ascending["invocationJobSummaries"]] == arns


def test_what_can_be_refused_at_once_is(server: Server, create: Callable[..., str]) -> None:
    uri = server.write("refused/a.jsonl", record(1))
    assert "model identifier is invalid" in refusal(create, uri, modelId="no.such-v1:0")[1]
    code, text = refusal(create, "s3://bucket/nowhere.jsonl")
    assert (code, "GetObject" in text) == ("ValidationException", True)
    assert "chat template" in refusal(create, uri, modelId="meta.plain-v1:0", modelInvocationType="Converse")[1]
    assert "timeoutDurationInHours" in refusal(create, uri, timeoutDurationInHours=500)[1]
    assert "roleArn" in refusal(create, uri, roleArn="me")[1]
