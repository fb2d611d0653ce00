"""Jobs over objects that an S3 service of somebody else's keeps."""

import io
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests import moto as service
from tests.conftest import wait_for
from tests.graphs import write_communities
from tests.moto import moto  # noqa: F401 (fixture)
from tests.system.server import SERVE, Server, User

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def s3(moto: str) -> Any:  # noqa: F811
    """The service, empty but for a bucket."""
    client = service.client(moto)
    for bucket in client.list_buckets()["Buckets"]:
        for key in keys(client, bucket["Name"]):
            client.delete_object(Bucket=bucket["Name"], Key=key)
        client.delete_bucket(Bucket=bucket["Name"])
    client.create_bucket(Bucket="bucket")
    return client


@pytest.fixture
def user(tmp_path: Path, moto: str, s3: Any) -> Iterator[User]:  # noqa: F811
    """A user whose export lies in the service."""
    write_communities(tmp_path / "export")
    for path in (tmp_path / "export").rglob("*.*"):
        s3.upload_file(str(path), "bucket", f"export/{path.relative_to(tmp_path / 'export')}")
    server = Server(tmp_path / "data", "--s3-endpoint", moto, **service.KEYS).start()
    yield User(server)
    server.close()


def keys(s3: Any, bucket: str = "bucket", prefix: str = "") -> list[str]:
    return [item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])]


def copies(user: User) -> list[Path]:
    """What was fetched for tasks and is still there."""
    return list((user.server.folder / "tasks").glob("*/inputs"))


def test_a_graph_is_processed_trained_on_and_served(user: User, s3: Any) -> None:
    user.process()
    processed = user.completed(user.processing)["processingJob"]["outputLocation"].removeprefix("s3://bucket/")
    assert f"{processed}/_SUCCESS" in keys(s3)
    user.neptune.start_ml_model_training_job(
        id="job", dataProcessingJobId="job", trainModelS3Location="s3://bucket/out", maxHPONumberOfTrainingJobs=1
    )
    trained = user.completed(user.training)["processingJob"]["outputLocation"].removeprefix("s3://bucket/")
    manifest = json.load(s3.get_object(Bucket="bucket", Key=f"{trained}/_SUCCESS")["Body"])
    found = keys(s3, prefix=f"{trained}/")
    assert sorted([*(f"{trained}/{file}" for file in manifest["files"]), f"{trained}/_SUCCESS"]) == found
    assert copies(user) == []
    user.neptune.create_ml_endpoint(id="job", mlModelTrainingJobId="job")
    wait_for(lambda: user.neptune.get_ml_endpoint(id="job")["status"] == "InService")
    assert len(copies(user)) == 1
    answer = user.server.client("sagemaker-runtime").invoke_endpoint(
        EndpointName="job", ContentType="application/json", Body=json.dumps({"data": {"nodes": [{"nodeId": "p1"}]}})
    )
    assert json.load(answer["Body"])["output"][0]["id"] == "p1"
    user.neptune.delete_ml_endpoint(id="job")
    wait_for(lambda: copies(user) == [])
    assert list((user.server.folder / "objects").iterdir()) == []


def test_a_server_killed_while_it_uploads_goes_on(user: User, s3: Any) -> None:
    user.process()
    wait_for(lambda: keys(s3, prefix="out/"))
    user.server.kill()
    user.server.start()
    place = user.completed(user.processing)["processingJob"]["outputLocation"].removeprefix("s3://bucket/")
    manifest = json.load(s3.get_object(Bucket="bucket", Key=f"{place}/_SUCCESS")["Body"])
    assert sorted([*manifest["files"], "_SUCCESS"]) == [key.removeprefix(f"{place}/") for key in keys(s3, prefix=place)]
    assert copies(user) == []


def test_a_job_that_is_cleaned_leaves_nothing(user: User, s3: Any) -> None:
    user.process()
    user.completed(user.processing)
    user.neptune.cancel_ml_data_processing_job(id="job", clean=True)
    wait_for(lambda: keys(s3, prefix="out/") == [])
    assert keys(s3, prefix="export/") != []


def test_what_cannot_work_is_refused_at_once(user: User, s3: Any) -> None:
    s3.put_object(Bucket="bucket", Key="file", Body=io.BytesIO(b""))
    for export, said in {
        "s3://missing/export": "no such bucket at http",
        "s3://bucket/nothing": "no such folder",
        "s3://bucket/file": "a file, not a folder",
        "s3://bucket/export/nodes": "has no training-data-configuration.json",
    }.items():
        with pytest.raises(ClientError, match=said):
            user.neptune.start_ml_data_processing_job(
                inputDataS3Location=export, processedDataS3Location="s3://bucket/out"
            )
    with pytest.raises(ClientError, match="no such bucket"):
        user.neptune.start_ml_data_processing_job(
            inputDataS3Location="s3://bucket/export", processedDataS3Location="s3://missing/out"
        )


def test_without_credentials_the_server_does_not_start(tmp_path: Path) -> None:
    hidden = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [*SERVE, "--port", "0", "--data-dir", str(tmp_path / "data"), "--s3-endpoint", "http://127.0.0.1:9"],
        env=environment | dict.fromkeys(hidden, str(tmp_path / "none")) | {"AWS_EC2_METADATA_DISABLED": "true"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no credentials for the S3 endpoint http://127.0.0.1:9" in done.stderr
