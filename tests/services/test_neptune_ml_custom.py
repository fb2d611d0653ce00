"""Custom models as a user of boto3 meets them: the jobs are real ones, with scripts that end at once."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from botocore.exceptions import ClientError
from tests.boto import Send
from tests.conftest import ROOT, processes_of
from tests.services.test_neptune_ml import IN, OUT, Server, code_of, neptune, objects, runtime, server, wait
from tests.workloads.graph.custom.conftest import TRAINING, TRANSFORM, configuration
from tests.workloads.graph.inference.test_edges import VERDICT, pairs_of, rated, table

__all__ = ["neptune", "runtime", "server"]  # fixtures
SCRIPTS = "s3://bucket/scripts"
EDGE_EXAMPLE = ROOT / "examples" / "custom_edge_model"


@pytest.fixture
def processed(neptune: Any) -> str:
    """A completed data processing job; done once, since the same request gets the first answer."""
    neptune.start_ml_data_processing_job(id="data", inputDataS3Location=IN, processedDataS3Location=OUT)
    job = wait(neptune.get_ml_data_processing_job, "data", seconds=300)
    assert job["status"] == "Completed", job
    return "data"


@pytest.fixture
def scripts(server: Server, sandbox: str) -> str:
    folder = objects(server, SCRIPTS)
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(TRAINING)
    (folder / "transform.py").write_text(TRANSFORM)
    (folder / "model-hpo-configuration.json").write_text(json.dumps(configuration()))
    return SCRIPTS


@pytest.fixture
def trained(neptune: Any, processed: str, scripts: str) -> dict[str, Any]:
    """A completed training of the scripts; done once, since the same request gets the first answer."""
    neptune.start_ml_model_training_job(
        id="custom",
        dataProcessingJobId=processed,
        trainModelS3Location=OUT,
        customModelTrainingParameters={"sourceS3DirectoryPath": scripts, "trainingEntryPointScript": "train.py"},
    )
    job = wait(neptune.get_ml_model_training_job, "custom", seconds=300)
    assert job["status"] == "Completed", job["processingJob"]
    return job


@pytest.mark.slow
class TestCustomModel:
    def test_is_trained_transformed_and_served(
        self, server: Server, neptune: Any, runtime: Any, trained: dict[str, Any]
    ) -> None:
        output = objects(server, trained["processingJob"]["outputLocation"])
        assert (output / "predictions" / "result.npz").is_file()
        assert len(json.loads((output / "trials.json").read_text())) == 2
        neptune.create_ml_endpoint(id="custom", mlModelTrainingJobId="custom", modelName="custom")
        assert wait(neptune.get_ml_endpoint, "custom", "InService", "Failed")["status"] == "InService"
        body = json.dumps({"data": {"nodes": [{"nodeId": "p1"}]}})
        answer = runtime.invoke_endpoint(EndpointName="custom", ContentType="application/json", Body=body)
        assert json.load(answer["Body"])["output"][0]["predictions"] == [{"value": "b", "score": 0.75}]

    def test_is_transformed_again_by_the_name_of_its_training_with_other_scripts(
        self, server: Server, neptune: Any, trained: dict[str, Any], scripts: str
    ) -> None:
        (objects(server, scripts) / "later.py").write_text(TRANSFORM.replace("0.25, 0.75", "0.9, 0.1"))
        id = neptune.start_ml_model_transform_job(
            trainingJobName=trained["hpoJob"]["name"],
            modelTransformOutputS3Location=OUT,
            customModelTransformParameters={
                "sourceS3DirectoryPath": scripts,
                "transformEntryPointScript": "later.py",
            },
        )["id"]
        job = wait(neptune.get_ml_model_transform_job, id, seconds=300)
        assert job["status"] == "Completed", job["baseProcessingJob"]
        table = (objects(server, job["baseProcessingJob"]["outputLocation"]) / "predictions.csv").read_text()
        assert '"a",0.9' in table.splitlines()[1]

    def test_is_transformed_by_ids_with_the_scripts_of_its_training(
        self, server: Server, neptune: Any, processed: str, trained: dict[str, Any]
    ) -> None:
        id = neptune.start_ml_model_transform_job(
            dataProcessingJobId=processed, mlModelTrainingJobId="custom", modelTransformOutputS3Location=OUT
        )["id"]
        assert wait(neptune.get_ml_model_transform_job, id, seconds=300)["status"] == "Completed"


@pytest.mark.slow
@pytest.mark.usefixtures("sandbox")
def test_edges_are_classified_by_the_scripts_of_the_example(server: Server, neptune: Any, runtime: Any) -> None:
    rated(objects(server, "s3://bucket/films"), VERDICT)
    shutil.copytree(EDGE_EXAMPLE, objects(server, "s3://bucket/edge-scripts"))
    neptune.start_ml_data_processing_job(id="ce", inputDataS3Location="s3://bucket/films", processedDataS3Location=OUT)
    assert wait(neptune.get_ml_data_processing_job, "ce", seconds=300)["status"] == "Completed"
    neptune.start_ml_model_training_job(
        id="ce",
        dataProcessingJobId="ce",
        trainModelS3Location=OUT,
        maxHPONumberOfTrainingJobs=1,
        customModelTrainingParameters={"sourceS3DirectoryPath": "s3://bucket/edge-scripts"},
    )
    job = wait(neptune.get_ml_model_training_job, "ce", seconds=300)
    assert job["status"] == "Completed", job["processingJob"]
    neptune.create_ml_endpoint(id="ce", mlModelTrainingJobId="ce", modelName="custom")
    assert wait(neptune.get_ml_endpoint, "ce", "InService", "Failed")["status"] == "InService"
    rows = table(objects(server, job["processingJob"]["outputLocation"]))
    alone = [rows[0] for rows in pairs_of(rows).values() if len(rows) == 1 and rows[0]["split"] == "test"]
    edges = [{"headNodeId": row["head"], "tailNodeId": row["tail"]} for row in alone]
    body = json.dumps({"data": {"globalParameters": {"edgeType": "rated", "property": "verdict"}, "edges": edges}})
    answers = json.load(runtime.invoke_endpoint(EndpointName="ce", Body=body)["Body"])["output"]
    said = [answer["predictions"][0]["value"] for answer in answers]
    assert said == [row["prediction"] for row in alone]
    assert np.mean([value == row["label"] for value, row in zip(said, alone, strict=True)]) >= 0.85


SPIES = """
import glob, os, socket
from pathlib import Path
def seen(place):
    try:
        os.lstat(place)
        return True
    except OSError:
        return False
def connected(place):
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(place)
            return True
    except OSError:
        return False
found = [place for place in PLACES if seen(place) or connected(place)]
found += [word for word in ("pytest", "modelyard.runner", SERVER) for path in glob.glob("/proc/[0-9]*/cmdline")
          if word.encode() in Path(path).read_bytes()]
assert not found, found
print("score: 1")
"""


@pytest.mark.slow
class TestSandbox:
    """Scripts of real jobs, among the files and processes of a real server."""

    @pytest.fixture
    def trained_by(self, server: Server, neptune: Any, processed: str, scripts: str) -> Callable[..., dict[str, Any]]:
        """Trains with other scripts; the job, once it has ended."""

        def train(files: dict[str, str], **request: Any) -> dict[str, Any]:
            folder = objects(server, f"s3://bucket/{uuid4().hex}")
            shutil.copytree(objects(server, scripts), folder)
            for name, text in files.items():
                (folder / name).write_text(text)
            source = f"s3://bucket/{folder.name}"
            id = neptune.start_ml_model_training_job(
                dataProcessingJobId=processed,
                trainModelS3Location=OUT,
                maxHPONumberOfTrainingJobs=1,
                customModelTrainingParameters={"sourceS3DirectoryPath": source, "trainingEntryPointScript": "train.py"},
                **request,
            )["id"]
            return wait(neptune.get_ml_model_training_job, id, seconds=300)

        return train

    def test_neither_script_sees_the_server_or_other_jobs(self, server: Server, trained_by: Any) -> None:
        folder = server.folder
        places = [os.fspath(path) for path in (folder, *folder.rglob("*"))]
        assert {os.fspath(folder / name) for name in ("modelyard.db", "tasks", "objects")} <= set(places)
        spies = f"PLACES, SERVER = {places!r}, {os.fspath(folder)!r}\n" + SPIES
        training = spies + "open('/opt/ml/checkpoints/told.json', 'w').write('{}')"
        job = trained_by({"train.py": training, "transform.py": spies + TRANSFORM})
        assert job["status"] == "Completed", [job["hpoJob"], job["modelTransformJob"]]

    def test_a_script_that_never_ends_is_ended_with_its_job(self, server: Server, trained_by: Any) -> None:
        mark = uuid4().hex
        waits = f"import subprocess\nsubprocess.run(['sh', '-c', 'sleep 600; : {mark}'])"
        job = trained_by({"train.py": waits}, trainingTimeOutInSeconds=20)
        assert job["status"] == "Failed"
        assert "20 s" in job["hpoJob"]["failureReason"]
        assert processes_of(Path(mark)) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("parameters", "reason"),
        [
            ({"sourceS3DirectoryPath": "s3://bucket/nowhere"}, "s3://bucket/nowhere: no such folder"),
            ({"sourceS3DirectoryPath": IN}, f"{IN} has no training.py"),
            ({"sourceS3DirectoryPath": SCRIPTS}, f"{SCRIPTS} has no training.py"),
            (
                {"sourceS3DirectoryPath": SCRIPTS, "trainingEntryPointScript": "../export/x.py"},
                "'../export/x.py' is no path below the folder",
            ),
            (
                {"sourceS3DirectoryPath": SCRIPTS, "trainingEntryPointScript": "-c"},
                "'-c' is no path below the folder",
            ),
        ],
    )
    def test_a_training_is_refused_at_once(
        self, neptune: Any, processed: str, scripts: str, parameters: dict[str, str], reason: str
    ) -> None:
        with pytest.raises(ClientError) as error:
            neptune.start_ml_model_training_job(
                dataProcessingJobId=processed, trainModelS3Location=OUT, customModelTrainingParameters=parameters
            )
        assert code_of(error)[0] == "InvalidParameterException"
        assert reason in str(error.value)

    def test_a_folder_without_a_search_space_is_refused(
        self, server: Server, neptune: Any, processed: str, scripts: str
    ) -> None:
        (objects(server, scripts) / "model-hpo-configuration.json").unlink()
        with pytest.raises(ClientError, match=r"has no model-hpo-configuration\.json"):
            neptune.start_ml_model_training_job(
                dataProcessingJobId=processed,
                trainModelS3Location=OUT,
                customModelTrainingParameters={
                    "sourceS3DirectoryPath": scripts,
                    "trainingEntryPointScript": "train.py",
                },
            )

    @pytest.mark.parametrize(
        ("members", "code", "reason"),
        [
            ({"modelName": "custom"}, "MissingParameterException", "needs customModelTrainingParameters"),
            (
                {"modelName": "rgcn", "customModelTrainingParameters": {"sourceS3DirectoryPath": SCRIPTS}},
                "InvalidParameterException",
                "exclude each other",
            ),
            (
                {"customModelParameters": {"sourceS3DirectoryPath": "s3://bucket/nowhere"}},
                "InvalidParameterException",
                "customModelParameters.sourceS3DirectoryPath: s3://bucket/nowhere",
            ),
            ({"customModelParameters": ["x"]}, "MissingParameterException", "the folder of the scripts"),
        ],
    )
    def test_members_that_only_plain_clients_send_are_understood(
        self, server: Server, processed: str, send: Send, members: dict[str, Any], code: str, reason: str
    ) -> None:
        request = {"dataProcessingJobId": processed, "trainModelS3Location": OUT, **members}
        headers = {
            "Authorization": "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/neptune-db/aws4_request"
        }
        body = json.dumps(request).encode()
        status, _, answer = send(server.application.endpoint, "POST", "/ml/modeltraining", body, headers)
        told = json.loads(answer)
        assert (status, told["code"]) == (400, code)
        assert reason in told["message"]
