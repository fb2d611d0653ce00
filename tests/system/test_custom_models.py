"""What the operator's word about the network means to scripts of custom models, over a real server."""

import json
from pathlib import Path
from typing import Any

import boto3
import pytest

from modelyard import keys
from tests.conftest import wait_for
from tests.graphs import write_communities
from tests.system.server import IN, OUT, Server
from tests.workloads.graph.custom.conftest import TRANSFORM, configuration

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.usefixtures("sandbox")]

REACHES = """
import os, urllib.error, urllib.request
def status(path, **headers):
    try:
        return urllib.request.urlopen(urllib.request.Request(SERVER + path, headers=headers), timeout=60).status
    except urllib.error.HTTPError as error:
        return error.code
assert not os.path.exists(KEYS)
said = [status("/health"), status("/ml/modeltraining"), status("/ml/modeltraining", Authorization=FORGED)]
open("/opt/ml/checkpoints/told.json", "w").write(repr(said))
print("score: 1")
"""
FORGED = (
    "AWS4-HMAC-SHA256 Credential=111122223333/20260101/us-east-1/neptune-db/aws4_request, "
    "SignedHeaders=host, Signature=" + 64 * "0"
)


@pytest.mark.parametrize("allowed", [True, False])
def test_scripts_reach_the_server_only_where_the_operator_allows_it_and_then_as_nobody(
    tmp_path: Path, allowed: bool
) -> None:
    folder = tmp_path / "data"
    write_communities(folder / "objects" / "bucket" / "export")
    key = keys.add(folder, "111122223333")
    server = Server(folder, *(["--custom-model-network"] if allowed else [])).start()
    try:
        neptune = boto3.client(
            "neptunedata",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
        )
        job = trained(neptune, server)
        log = (folder / "server.log").read_text()
    finally:
        server.close()
    assert ("scripts reach what this machine reaches" in log) == allowed
    if allowed:
        assert job["status"] == "Completed", job
        told = folder / "objects" / job["processingJob"]["outputLocation"].removeprefix("s3://")
        assert (told / "model.tar.gz").is_file()
    else:
        assert job["status"] == "Failed"
        assert "Connection refused" in job["hpoJob"]["failureReason"]


def trained(neptune: Any, server: Server) -> dict[str, Any]:
    """A training by scripts that ask the server, once it has ended."""
    scripts = server.folder / "objects" / "bucket" / "scripts"
    scripts.mkdir()
    names = f"SERVER, KEYS, FORGED = {server.url!r}, {str(server.folder / keys.NAME)!r}, {FORGED!r}\n"
    (scripts / "training.py").write_text(names + REACHES + "assert said == [200, 403, 403], said\n")
    (scripts / "transform.py").write_text(TRANSFORM)
    (scripts / "model-hpo-configuration.json").write_text(json.dumps(configuration()))
    neptune.start_ml_data_processing_job(id="job", inputDataS3Location=IN, processedDataS3Location=OUT)
    wait_for(lambda: neptune.get_ml_data_processing_job(id="job")["status"] == "Completed", 300)
    neptune.start_ml_model_training_job(
        id="job",
        dataProcessingJobId="job",
        trainModelS3Location=OUT,
        maxHPONumberOfTrainingJobs=1,
        customModelTrainingParameters={"sourceS3DirectoryPath": "s3://bucket/scripts"},
    )
    wait_for(lambda: neptune.get_ml_model_training_job(id="job")["status"] in ("Completed", "Failed"), 300)
    return dict(neptune.get_ml_model_training_job(id="job"))
