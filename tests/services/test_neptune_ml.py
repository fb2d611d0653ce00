"""Neptune ML as a user of boto3 meets it. The jobs are real ones, on a small graph."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Clients, Loop, Send
from tests.conftest import command, kill_all_of, task_processes
from tests.graphs import write_communities

from modelyard.app import Application
from modelyard.settings import Settings

IN, OUT = "s3://bucket/export", "s3://bucket/out"


class Server:
    """An application with its supervisor, in the loop's thread."""

    def __init__(self, loop: Loop, folder: Path) -> None:
        self._loop = loop
        self.folder = folder
        self.application = loop.run(self._start())

    async def _start(self) -> Application:
        application = Application(Settings(data_dir=self.folder, slots=2))
        self._supervisor = asyncio.create_task(application.supervisor.run())
        return application

    def close(self) -> None:
        self._loop.run(self._stop())

    async def _stop(self) -> None:
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        self.application.close()


@pytest.fixture(scope="module")
def server(loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("neptune") / "data"
    write_communities(folder / "objects" / "bucket" / "export")
    server = Server(loop, folder)
    yield server
    server.close()
    kill_all_of(folder)


@pytest.fixture
def neptune(server: Server, client_for: Clients) -> Any:
    return client_for(server.application.endpoint, "neptunedata")


@pytest.fixture
def runtime(server: Server, client_for: Clients) -> Any:
    return client_for(server.application.endpoint, "sagemaker-runtime")


def wait(get: Callable[..., Any], id: str, *final: str, seconds: float = 90) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while (answer := get(id=id))["status"] not in (final or ("Completed", "Failed", "Stopped")):
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return dict(answer)


@pytest.fixture
def processed(neptune: Any) -> str:
    """A completed data processing job; done once, since the same request gets the first answer."""
    neptune.start_ml_data_processing_job(id="data", inputDataS3Location=IN, processedDataS3Location=OUT)
    assert wait(neptune.get_ml_data_processing_job, "data")["status"] == "Completed"
    return "data"


@pytest.fixture
def trained(neptune: Any, processed: str) -> str:
    neptune.start_ml_model_training_job(
        id="model", dataProcessingJobId=processed, trainModelS3Location=OUT, maxHPONumberOfTrainingJobs=2
    )
    assert wait(neptune.get_ml_model_training_job, "model")["status"] == "Completed"
    return "model"


@pytest.fixture
def serving(neptune: Any, trained: str) -> str:
    neptune.create_ml_endpoint(id="endpoint", mlModelTrainingJobId=trained)
    assert wait(neptune.get_ml_endpoint, "endpoint", "InService", "Failed")["status"] == "InService"
    return "endpoint"


def code_of(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = error.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def objects(server: Server, uri: str) -> Path:
    return server.application.folders.path(uri)


class TestDataProcessing:
    def test_answers_what_helpers_read(self, server: Server, neptune: Any, processed: str) -> None:
        job = neptune.get_ml_data_processing_job(id=processed)["processingJob"]
        assert job["status"] == "Completed"
        assert job["name"].startswith("data-preloading-20")
        assert job["arn"] == f"arn:aws:sagemaker:us-east-1:111122223333:processing-job/{job['name']}"
        assert job["outputLocation"] == f"{OUT}/{job['name']}/preloading-output"
        files = {path.name for path in objects(server, job["outputLocation"]).iterdir()}
        assert {"graph.json", "info.pkl", "model-hpo-configuration.json", "train_instance_recommendation.json"} <= files

    def test_gets_an_id_where_none_is_given(self, neptune: Any) -> None:
        answer = neptune.start_ml_data_processing_job(id="", inputDataS3Location=IN, processedDataS3Location=OUT)
        assert len(answer["id"]) == 36
        assert abs(answer["creationTimeInMillis"] / 1000 - time.time()) < 60
        assert wait(neptune.get_ml_data_processing_job, answer["id"])["status"] == "Completed"

    def test_same_id_with_the_same_body_gets_the_first_answer(self, neptune: Any, processed: str) -> None:
        again = {"id": processed, "inputDataS3Location": IN, "processedDataS3Location": OUT}
        answers = [neptune.start_ml_data_processing_job(**again) for _ in range(2)]
        assert answers[0]["arn"] == answers[1]["arn"]
        assert answers[0]["creationTimeInMillis"] == answers[1]["creationTimeInMillis"]
        assert neptune.list_ml_data_processing_jobs(maxItems=100)["ids"].count(processed) == 1

    def test_same_id_with_another_body_is_refused(self, neptune: Any, processed: str) -> None:
        with pytest.raises(neptune.exceptions.InvalidParameterException) as error:
            neptune.start_ml_data_processing_job(
                id=processed, inputDataS3Location=IN, processedDataS3Location=f"{OUT}/elsewhere"
            )
        assert "already" in error.value.response["Error"]["Message"]
        assert error.value.response["detailedMessage"] == error.value.response["Error"]["Message"]

    @pytest.mark.parametrize(
        ("change", "word"),
        [
            ({"inputDataS3Location": "s3://bucket/nothing"}, "no such folder"),
            ({"inputDataS3Location": "s3://bucket/export/nodes"}, "training-data-configuration.json"),
            ({"configFileName": "other.json"}, "other.json"),
            ({"configFileName": "../../etc/passwd"}, "cannot be part of a key"),
            ({"inputDataS3Location": "/etc"}, "s3://bucket/key"),
            ({"inputDataS3Location": "s3://bucket/../../etc"}, "cannot be part of a key"),
            ({"inputDataS3Location": "s3://b/x"}, "no bucket name"),
            ({"processedDataS3Location": "http://bucket/out"}, "processedDataS3Location: 'http:"),
            ({"processedDataS3Location": f"{IN}/nodes/person.csv/x"}, "is an object, and cannot be a folder too"),
            ({"modelType": "best"}, "heterogeneous"),
            ({"processingTimeOutInSeconds": 0}, "below 1"),
            ({"id": "x" * 256}, "255"),
            ({"id": "a\nb"}, "printable"),
        ],
    )
    def test_refuses_at_once_what_cannot_work(self, neptune: Any, change: dict[str, Any], word: str) -> None:
        request = {"inputDataS3Location": IN, "processedDataS3Location": OUT, **change}
        with pytest.raises(neptune.exceptions.InvalidParameterException) as error:
            neptune.start_ml_data_processing_job(**request)
        assert word in error.value.response["Error"]["Message"]

    def test_refuses_more_than_is_worth_keeping(self, processed: str, server: Server, send: Send) -> None:
        body = {"inputDataS3Location": IN, "processedDataS3Location": OUT, "note": "x" * 70_000}
        status, _, answer = send(server.application.endpoint, "POST", "/ml/dataprocessing", json.dumps(body).encode())
        assert status == 400
        assert "65536" in json.loads(answer)["message"]

    def test_names_a_missing_member(self, server: Server, send: Send) -> None:
        status, headers, body = send(server.application.endpoint, "POST", "/ml/dataprocessing", b"{}")
        assert (status, headers["x-amzn-errortype"]) == (400, "MissingParameterException")
        assert "inputDataS3Location" in json.loads(body)["detailedMessage"]
        assert "processedDataS3Location" in json.loads(body)["message"]

    def test_refuses_a_link_out_of_the_bucket(self, server: Server, neptune: Any) -> None:
        objects(server, "s3://bucket/link").symlink_to("/etc")
        with pytest.raises(neptune.exceptions.InvalidParameterException, match="symbolic link"):
            neptune.start_ml_data_processing_job(inputDataS3Location="s3://bucket/link", processedDataS3Location=OUT)

    def test_that_fails_says_why_in_failure_reason(self, server: Server, neptune: Any, send: Send) -> None:
        bad = objects(server, "s3://bucket/bad")
        write_communities(bad)
        (bad / "nodes" / "person.csv").write_text("~id,~label,age,group\np0,person,old,a\n")
        neptune.start_ml_data_processing_job(
            id="bad", inputDataS3Location="s3://bucket/bad", processedDataS3Location=OUT
        )
        job = wait(neptune.get_ml_data_processing_job, "bad")
        assert job["status"] == job["processingJob"]["status"] == "Failed"
        for word in ("person.csv", "line 2", "age", "'old'"):
            assert word in job["processingJob"]["failureReason"]
        link = job["processingJob"]["cloudwatchLogUrl"].removeprefix("http://modelyard.test")
        status, headers, log = send(server.application.endpoint, "GET", link)
        assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
        assert "'old'" in log.decode()
        assert not objects(server, job["processingJob"]["outputLocation"]).exists()

    def test_incremental_needs_a_completed_earlier_job(self, neptune: Any, processed: str) -> None:
        request = {"inputDataS3Location": IN, "processedDataS3Location": OUT}
        with pytest.raises(neptune.exceptions.MLResourceNotFoundException) as error:
            neptune.start_ml_data_processing_job(**request, previousDataProcessingJobId="never")
        assert code_of(error) == ("MLResourceNotFoundException", 404)
        id = neptune.start_ml_data_processing_job(**request, previousDataProcessingJobId=processed)["id"]
        assert wait(neptune.get_ml_data_processing_job, id)["status"] == "Completed"


class TestModelTraining:
    def test_answers_the_stages_and_the_model(self, server: Server, neptune: Any, trained: str) -> None:
        job = neptune.get_ml_model_training_job(id=trained)
        assert {job[part]["status"] for part in ("processingJob", "hpoJob", "modelTransformJob")} == {"Completed"}
        assert job["mlModels"][0]["arn"].startswith("arn:aws:sagemaker:us-east-1:111122223333:model/")
        files = objects(server, job["processingJob"]["outputLocation"])
        for name in (
            "eval_metrics_info.json",
            "test_metrics_info.json",
            "embeddings/entity.npy",
            "predictions/result.npz",
            "predictions.csv",
            "mapping.info",
            "model.tar.gz",
            "infer_instance_recommendation.json",
            "training_job_details.json",
            "tuning_job_details.json",
        ):
            assert (files / name).is_file(), name

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ({"dataProcessingJobId": "never"}, "MLResourceNotFoundException"),
            ({"previousModelTrainingJobId": "never"}, "MLResourceNotFoundException"),
            ({"trainModelS3Location": "nowhere"}, "InvalidParameterException"),
            ({"trainModelS3Location": f"{IN}/training-data-configuration.json/models"}, "InvalidParameterException"),
            ({"maxHPONumberOfTrainingJobs": 0}, "InvalidParameterException"),
            ({"maxHPOParallelTrainingJobs": -1}, "InvalidParameterException"),
            ({"customModelTrainingParameters": {"sourceS3DirectoryPath": IN}}, "InvalidParameterException"),
        ],
    )
    def test_refuses_at_once(self, neptune: Any, processed: str, change: dict[str, Any], code: str) -> None:
        with pytest.raises(ClientError) as error:
            neptune.start_ml_model_training_job(
                **{"dataProcessingJobId": processed, "trainModelS3Location": OUT, **change}
            )
        assert code_of(error)[0] == code

    def test_refuses_a_graph_without_validation_at_once(self, server: Server, neptune: Any) -> None:
        export = objects(server, "s3://bucket/whole")
        write_communities(export)
        configuration = export / "training-data-configuration.json"
        configuration.write_text(configuration.read_text().replace("[0.6, 0.2, 0.2]", "[1.0, 0.0, 0.0]"))
        neptune.start_ml_data_processing_job(
            id="whole", inputDataS3Location="s3://bucket/whole", processedDataS3Location=OUT
        )
        assert wait(neptune.get_ml_data_processing_job, "whole")["status"] == "Completed"
        with pytest.raises(neptune.exceptions.PreconditionsFailedException, match="split 'valid'; give split_rate"):
            neptune.start_ml_model_training_job(dataProcessingJobId="whole", trainModelS3Location=OUT)

    @pytest.mark.parametrize("name", ["oracle", "kge"])
    def test_takes_members_that_only_plain_clients_send(
        self, server: Server, processed: str, send: Send, name: str
    ) -> None:
        request = {
            "dataProcessingJobId": processed,
            "trainModelS3Location": OUT,
            "modelName": name,
            "maxHPONumberOfTrainingJobs": "2",
            "wait_interval": 60,
        }
        headers = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/neptune-db/aws4_request"
        }
        path = "/ml/modeltraining"
        status, _, body = send(server.application.endpoint, "POST", path, json.dumps(request).encode(), headers)
        assert status == 400
        assert f"modelName: '{name}' is none of rgcn" in json.loads(body)["message"]

    def test_refuses_an_unfinished_parent(self, neptune: Any) -> None:
        request = {"inputDataS3Location": IN, "processedDataS3Location": OUT}
        id = neptune.start_ml_data_processing_job(**request)["id"]
        with pytest.raises(neptune.exceptions.PreconditionsFailedException) as error:
            neptune.start_ml_model_training_job(dataProcessingJobId=id, trainModelS3Location=OUT)
        assert code_of(error)[1] == 400
        wait(neptune.get_ml_data_processing_job, id)

    def test_reads_the_search_file_as_it_is_when_training_starts(
        self, server: Server, neptune: Any, trained: str
    ) -> None:
        request = {"inputDataS3Location": IN, "processedDataS3Location": f"{OUT}/edited"}
        id = neptune.start_ml_data_processing_job(**request)["id"]
        output = wait(neptune.get_ml_data_processing_job, id)["processingJob"]["outputLocation"]
        file = objects(server, output) / "model-hpo-configuration.json"
        search = json.loads(file.read_text())
        search["models"][0]["fixed-param"].append({"param": "no-such-thing", "type": "int", "default": 3})
        file.write_text(json.dumps(search))
        neptune.start_ml_model_training_job(id="edited", dataProcessingJobId=id, trainModelS3Location=OUT)
        job = wait(neptune.get_ml_model_training_job, "edited")
        assert job["status"] == job["hpoJob"]["status"] == job["processingJob"]["status"] == "Failed"
        assert "no-such-thing" in job["processingJob"]["failureReason"]
        assert "modelTransformJob" not in job
        assert job["mlModels"] == []

    def test_stops_and_leaves_no_process(self, server: Server, neptune: Any, processed: str) -> None:
        neptune.start_ml_model_training_job(
            id="stopped", dataProcessingJobId=processed, trainModelS3Location=OUT, maxHPONumberOfTrainingJobs=2000
        )
        wait(
            lambda id: {"status": neptune.get_ml_model_training_job(id=id).get("hpoJob", {}).get("status")},
            "stopped",
            "InProgress",
        )
        assert neptune.cancel_ml_model_training_job(id="stopped", clean=True)["status"] == "200 OK"
        job = wait(neptune.get_ml_model_training_job, "stopped")
        assert job["status"] == job["hpoJob"]["status"] == "Stopped"
        assert [pid for pid in task_processes(server.folder) if "runner.main" not in command(pid)] == []
        assert not objects(server, job["hpoJob"]["outputLocation"]).exists()

    def test_clean_after_the_end_deletes_its_artifacts_only(
        self, server: Server, neptune: Any, processed: str, trained: str
    ) -> None:
        neptune.start_ml_model_training_job(id="gone", dataProcessingJobId=processed, trainModelS3Location=OUT)
        gone = wait(neptune.get_ml_model_training_job, "gone")
        kept = neptune.get_ml_model_training_job(id=trained)
        neptune.cancel_ml_model_training_job(id="gone", clean=True)
        deadline = time.monotonic() + 20
        while objects(server, gone["processingJob"]["outputLocation"]).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert objects(server, kept["processingJob"]["outputLocation"]).exists()
        assert neptune.get_ml_model_training_job(id="gone")["status"] == "Completed"

    def test_warm_start_takes_an_earlier_search(self, neptune: Any, processed: str, trained: str) -> None:
        neptune.start_ml_model_training_job(
            id="warm",
            dataProcessingJobId=processed,
            trainModelS3Location=OUT,
            previousModelTrainingJobId=trained,
        )
        assert wait(neptune.get_ml_model_training_job, "warm")["status"] == "Completed"


class TestModelTransform:
    def test_applies_a_model_by_job_ids_or_by_a_training_jobs_name(
        self, server: Server, neptune: Any, processed: str, trained: str
    ) -> None:
        name = neptune.get_ml_model_training_job(id=trained)["hpoJob"]["name"]
        for parents in (
            {"dataProcessingJobId": processed, "mlModelTrainingJobId": trained},
            {"trainingJobName": name},
        ):
            id = neptune.start_ml_model_transform_job(**parents, modelTransformOutputS3Location=OUT)["id"]
            job = wait(neptune.get_ml_model_transform_job, id)
            assert job["status"] == "Completed", job
            assert job["baseProcessingJob"]["outputLocation"] == job["remoteModelTransformJob"]["outputLocation"]
            assert (objects(server, job["baseProcessingJob"]["outputLocation"]) / "predictions.csv").is_file()
            assert len(job["models"]) == 1

    @pytest.mark.parametrize(
        ("parents", "code"),
        [
            ({}, "MissingParameterException"),
            ({"dataProcessingJobId": "data"}, "MissingParameterException"),
            ({"trainingJobName": "x", "dataProcessingJobId": "data"}, "IllegalArgumentException"),
            ({"trainingJobName": "never"}, "MLResourceNotFoundException"),
            ({"dataProcessingJobId": "data", "mlModelTrainingJobId": "never"}, "MLResourceNotFoundException"),
        ],
    )
    def test_needs_its_parents(self, neptune: Any, processed: str, parents: dict[str, str], code: str) -> None:
        with pytest.raises(ClientError) as error:
            neptune.start_ml_model_transform_job(**parents, modelTransformOutputS3Location=OUT)
        assert code_of(error)[0] == code


class TestEndpoints:
    def test_answers_predictions_by_id_and_by_name(self, neptune: Any, runtime: Any, serving: str) -> None:
        name = neptune.get_ml_endpoint(id=serving)["endpoint"]["name"]
        assert name.endswith("-endpoint")
        request = {
            "version": "v1",
            "data": {
                "globalParameters": {"topk": 2, "property": "group"},
                "nodes": [{"nodeId": "p1"}, {"nodeId": "?"}],
            },
        }
        for endpoint in (serving, name):
            answer = runtime.invoke_endpoint(
                EndpointName=endpoint, Body=json.dumps(request), ContentType="application/json"
            )
            known, unknown = json.loads(answer["Body"].read())["output"]
            assert known["id"] == "p1"
            assert {prediction["value"] for prediction in known["predictions"]} == {"a", "b"}
            assert sum(prediction["score"] for prediction in known["predictions"]) == pytest.approx(1, abs=1e-4)
            assert unknown["predictions"] == []
            assert "error" in unknown

    def test_bad_requests_are_the_clients_fault(self, runtime: Any, serving: str) -> None:
        with pytest.raises(runtime.exceptions.ModelError) as error:
            runtime.invoke_endpoint(EndpointName=serving, Body=b"{", ContentType="application/json")
        assert error.value.response["OriginalStatusCode"] == 400
        with pytest.raises(ClientError, match="not found"):
            runtime.invoke_endpoint(EndpointName="never", Body=b"{}", ContentType="application/json")

    def test_same_id_again_and_update(self, neptune: Any, runtime: Any, trained: str) -> None:
        neptune.create_ml_endpoint(id="again", mlModelTrainingJobId=trained)
        first = wait(neptune.get_ml_endpoint, "again", "InService", "Failed")
        assert neptune.create_ml_endpoint(id="again", mlModelTrainingJobId=trained)["id"] == "again"
        with pytest.raises(neptune.exceptions.InvalidParameterException, match="update"):
            neptune.create_ml_endpoint(id="again", mlModelTrainingJobId=trained, instanceCount=2)
        neptune.create_ml_endpoint(id="again", mlModelTrainingJobId=trained, update=True)
        updated = wait(neptune.get_ml_endpoint, "again", "InService", "Failed")
        assert updated["endpoint"]["name"] == first["endpoint"]["name"]
        assert updated["status"] == "InService"
        with pytest.raises(neptune.exceptions.MLResourceNotFoundException):
            neptune.create_ml_endpoint(id="never", mlModelTrainingJobId=trained, update=True)

    def test_needs_exactly_one_completed_parent(self, neptune: Any, trained: str) -> None:
        with pytest.raises(neptune.exceptions.MissingParameterException):
            neptune.create_ml_endpoint(id="e2")
        with pytest.raises(neptune.exceptions.IllegalArgumentException):
            neptune.create_ml_endpoint(id="e2", mlModelTrainingJobId=trained, mlModelTransformJobId="t")
        with pytest.raises(neptune.exceptions.MLResourceNotFoundException):
            neptune.create_ml_endpoint(id="e2", mlModelTrainingJobId="never")

    def test_delete_ends_it(self, neptune: Any, runtime: Any, trained: str) -> None:
        answer = neptune.create_ml_endpoint(mlModelTrainingJobId=trained)
        assert answer["id"].endswith("-endpoint")
        wait(neptune.get_ml_endpoint, answer["id"], "InService")
        assert neptune.delete_ml_endpoint(id=answer["id"])["status"] == "200 OK"
        deadline = time.monotonic() + 20
        while answer["id"] in neptune.list_ml_endpoints(maxItems=100)["ids"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with pytest.raises(ClientError):
            runtime.invoke_endpoint(EndpointName=answer["id"], Body=b"{}", ContentType="application/json")


class TestLists:
    def test_are_newest_first_in_all_states_and_limited(self, neptune: Any, trained: str) -> None:
        for id in ("list-1", "list-2"):
            neptune.start_ml_model_training_job(id=id, dataProcessingJobId="data", trainModelS3Location=OUT)
        ids = neptune.list_ml_model_training_jobs(maxItems=100)["ids"]
        assert ids[:2] == ["list-2", "list-1"]
        assert trained in ids
        assert neptune.list_ml_model_training_jobs(maxItems=1)["ids"] == ["list-2"]
        for id in ("list-1", "list-2"):
            neptune.cancel_ml_model_training_job(id=id)
            wait(neptune.get_ml_model_training_job, id)

    def test_refuse_more_than_the_model_allows(self, neptune: Any) -> None:
        with pytest.raises(neptune.exceptions.InvalidParameterException, match="1024"):
            neptune.list_ml_endpoints(maxItems=5000)


class TestAccounts:
    def test_do_not_reach_each_others_jobs_endpoints_and_buckets(
        self, server: Server, loop: Loop, client_for: Clients, serving: str, processed: str
    ) -> None:
        app = server.application.endpoint
        stranger = client_for(app, "neptunedata", account="999999999999")
        elsewhere = client_for(app, "neptunedata", region="eu-west-1")
        for client in (stranger, elsewhere):
            assert client.list_ml_data_processing_jobs()["ids"] == []
            assert client.list_ml_endpoints()["ids"] == []
            for call, id in (
                (client.get_ml_data_processing_job, processed),
                (client.cancel_ml_data_processing_job, processed),
                (client.get_ml_endpoint, serving),
                (client.delete_ml_endpoint, serving),
            ):
                with pytest.raises(client.exceptions.MLResourceNotFoundException):
                    call(id=id)
            with pytest.raises(client.exceptions.MLResourceNotFoundException):
                client.start_ml_model_training_job(dataProcessingJobId=processed, trainModelS3Location=OUT)
        with pytest.raises(ClientError, match="not found"):
            client_for(app, "sagemaker-runtime", account="999999999999").invoke_endpoint(
                EndpointName=serving, Body=b"{}", ContentType="application/json"
            )
        write_communities(objects(server, "s3://private/export"))
        loop.run(server.application.buckets.own("private", "111122223333"))
        with pytest.raises(ClientError) as error:
            stranger.start_ml_data_processing_job(
                inputDataS3Location="s3://private/export", processedDataS3Location="s3://theirs/out"
            )
        assert code_of(error) == ("AccessDeniedException", 403)
        with pytest.raises(ClientError) as error:
            stranger.start_ml_data_processing_job(inputDataS3Location=IN, processedDataS3Location="s3://private/out")
        assert code_of(error) == ("AccessDeniedException", 403)

    def test_who_writes_first_to_a_new_bucket_owns_it(self, neptune: Any, server: Server, client_for: Clients) -> None:
        id = neptune.start_ml_data_processing_job(inputDataS3Location=IN, processedDataS3Location="s3://fresh/out")[
            "id"
        ]
        stranger = client_for(server.application.endpoint, "neptunedata", account="999999999999")
        with pytest.raises(ClientError) as error:
            stranger.start_ml_data_processing_job(inputDataS3Location=IN, processedDataS3Location="s3://fresh/mine")
        assert code_of(error)[0] == "AccessDeniedException"
        wait(neptune.get_ml_data_processing_job, id)
