"""The whole way with a real server, real containers and signed requests: who gets what, and who does not."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.rooms import BANK, SHOP, STRANGER
from tests.system.cleanrooms.rooms import KeyedServer, LiveRoom

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.usefixtures("sandbox"),
]
POLICIES = {
    "trainedModels": {
        "containerLogs": [
            {
                "allowedAccountIds": [BANK],
                "logRedactionConfiguration": {"entitiesToRedact": ["ALL_PERSONALLY_IDENTIFIABLE_INFORMATION"]},
                "filterPattern": "accuracy|person",
            }
        ],
        "containerMetrics": {"noiseLevel": "NONE"},
    },
    "trainedModelExports": {"maxSize": {"unit": "GB", "value": 0.01}, "filesToExport": ["MODEL", "OUTPUT"]},
    "trainedModelInferenceJobs": {"maxOutputSize": {"unit": "GB", "value": 0.01}},
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[KeyedServer]:
    server = KeyedServer(tmp_path / "data", BANK, SHOP, STRANGER)
    server.start()
    yield server
    server.close()


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def archived(content: bytes) -> dict[str, Any]:
    """The JSON files of an archive, by name."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        return {member.name.rpartition("/")[2]: json.load(archive.extractfile(member)) for member in files}


def test_from_tables_to_files_that_the_receiver_alone_can_read(server: KeyedServer, tmp_path: Path) -> None:
    room = LiveRoom(server).furnish(tmp_path, POLICIES)
    channel = room.filled()
    assert room.get_channel(channel)["numberOfRecords"] == 40

    model = room.train(channel)["trainedModelArn"]
    trained = room.ended(lambda: room.get_model(model))
    assert (trained["status"], trained["logsStatus"], trained["metricsStatus"]) == (
        "ACTIVE",
        "PUBLISH_SUCCEEDED",
        "PUBLISH_SUCCEEDED",
    )
    assert trained["trainingContainerImageDigest"] in server.modelyard("images", "list")

    earlier = [{"trainedModelArn": model, "channelName": "before"}]
    version = room.train(channel, name="more", incrementalTrainingDataChannels=earlier)["versionIdentifier"]
    assert room.ended(lambda: room.get_model(model, versionIdentifier=version))["status"] == "ACTIVE"

    room.export(model, trainedModelVersionIdentifier=version)
    assert room.ended(lambda: room.exports(model)[0])["status"] == "ACTIVE"

    job = room.infer(model, channel, containerExecutionParameters={"maxPayloadInMB": 1})
    assert room.ended(lambda: room.get_job(job))["status"] == "ACTIVE"

    the_banks, the_shops = room.received(BANK, "bank-out"), room.received(SHOP, "shop-out")
    log = next(content for key, content in the_banks.items() if key.startswith("received/logs/")).decode()
    assert "accuracy=0.75" in log
    assert "p7@example.com" not in log
    (answers,) = [text for key, text in the_banks.items() if key.endswith(".out")]
    assert [key for key in the_banks if key.endswith(".out")] == [
        f"received/{room.collaboration}/more/{BANK}/scores/part-00000.csv.out"
    ]
    lines = answers.decode().splitlines()
    assert len(lines) == 40
    assert all(flag == str(int(int(income) > 1285)) for income, flag in (line.split(",") for line in lines))
    exported = {key.rpartition("/")[2]: content for key, content in the_shops.items() if key.endswith(".tar.gz")}
    assert archived(exported["model.tar.gz"])["model.json"]["count"] == 80
    assert archived(exported["output.tar.gz"])["metrics.json"] == {"count": 80}
    assert not [key for key in the_shops if "/logs/" in key or key.endswith(".out")]

    for account, bucket in ((SHOP, "bank-out"), (BANK, "shop-out"), (STRANGER, "bank-out"), (BANK, "visitors-data")):
        with pytest.raises(ClientError) as error:
            room.received(account, bucket)
        assert code(error) == "AccessDenied"
    for table in ("channels", "trained", "inferred", "images"):
        with pytest.raises(ClientError):
            room.client("s3", BANK).list_objects_v2(Bucket=table)
    told = server.modelyard("audit", room.memberships[SHOP], "--account", SHOP)
    assert "delivery" in told

    ml, named = room.ml(BANK), {"membershipIdentifier": room.memberships[BANK]}
    ml.delete_trained_model_output(**named, trainedModelArn=model)
    ml.delete_trained_model_output(**named, trainedModelArn=model, versionIdentifier=version)
    ml.delete_ml_input_channel_data(**named, mlInputChannelArn=channel)
    assert room.ended(lambda: room.get_channel(channel))["status"] == "INACTIVE"
    assert room.ended(lambda: room.get_model(model))["status"] == "INACTIVE"
    assert [list((server.folder / kind).iterdir()) for kind in ("channels", "trained", "inferred", "exported")] == [
        [],
        [],
        [],
        [],
    ]
    assert room.received(BANK, "bank-out").keys() == the_banks.keys()


def test_without_the_key_of_a_party_nobody_is_that_party(server: KeyedServer, tmp_path: Path) -> None:
    import boto3

    room = LiveRoom(server).furnish(tmp_path)
    for id, secret in ((BANK, "guessed"), (server.client(account=BANK)._request_signer._credentials.access_key, "x")):
        session = boto3.session.Session(id, secret, region_name="us-east-1")
        client = session.client("cleanroomsml", endpoint_url=server.url)
        with pytest.raises(ClientError) as error:
            client.list_ml_input_channels(membershipIdentifier=room.memberships[BANK])
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] in (401, 403)


def test_a_containers_failure_tells_the_data_to_nobody(server: KeyedServer, tmp_path: Path) -> None:
    """No log policy: what the container says of a row is in no answer and no file of any party."""
    room = LiveRoom(server).furnish(tmp_path)
    bad = "import sys\nfrom pathlib import Path\nrow = next(Path('/opt/ml/input/data/train').glob('*')).read_text()\n"
    bad += "Path('/opt/ml/output/failure').write_text(row)\nprint(row)\nsys.exit(row)\n"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "main.py").write_text(bad)
    (tmp_path / "bad" / "modelyard-image.json").write_text('{"entrypoint": ["python", "main.py"]}')
    from tests.rooms import IMAGE

    server.modelyard("images", "add", IMAGE, str(tmp_path / "bad"))
    channel = room.filled(sql="SELECT c.income + 770000 AS income FROM clients c")
    model = room.train(channel)["trainedModelArn"]
    found = room.ended(lambda: room.get_model(model))
    assert found["status"] == "CREATE_FAILED"
    assert found["statusDetails"]["statusCode"] == "CONTAINER_EXITED_NON_ZERO"
    assert "771" not in found["statusDetails"]["message"]
    assert found["logsStatus"] == "PUBLISH_FAILED"
    for account, bucket in ((BANK, "bank-out"), (SHOP, "shop-out")):
        assert room.received(account, bucket) == {}
    logs = [path.read_text(errors="replace") for path in (server.folder / "tasks").glob("*/attempts/*/log")]
    logs.append((server.folder / "server.log").read_text())
    assert logs
    assert not [log for log in logs if "771300" in log]
