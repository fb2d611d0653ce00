"""A graph that grows while its model serves: incremental processing, transform, update, and retraining, for real."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import wait_for
from tests.system.server import IN, OUT, User, running_user

pytestmark = [pytest.mark.system, pytest.mark.slow]


@pytest.fixture
def user(tmp_path: Path) -> Iterator[User]:
    user = running_user(tmp_path / "data")
    yield user
    user.server.close()


def _append(user: User, name: str, *rows: str) -> None:
    with user.server.object(f"{IN}/{name}").open("a") as file:
        file.writelines(f"{row}\n" for row in rows)


def _ask(user: User, *ids: str, **data: Any) -> list[dict[str, Any]]:
    body = json.dumps({"data": {"globalParameters": {"topk": 2}, "nodes": list(ids), **data}})
    runtime = user.server.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName="people", ContentType="application/json", Body=body)
    output: list[dict[str, Any]] = json.load(answer["Body"])["output"]
    return output


def _scores(answers: list[dict[str, Any]]) -> list[dict[str, float]]:
    return [{one["value"]: one["score"] for one in answer["predictions"]} for answer in answers]


def _ends(user: User, get: Callable[..., Any], id: str) -> dict[str, Any]:
    wait_for(lambda: get(id=id)["status"] not in ("InProgress", "Stopping"), 300)
    return dict(get(id=id))


def _completed(user: User, get: Callable[..., Any], id: str) -> dict[str, Any]:
    job = _ends(user, get, id)
    assert job["status"] == "Completed", job
    return job


def _in_service(user: User) -> None:
    wait_for(lambda: user.neptune.get_ml_endpoint(id="people")["status"] == "InService", 120)


def test_a_graph_grows_while_its_model_serves(user: User) -> None:
    neptune = user.neptune
    user.process()
    user.completed(user.processing, 300)
    user.train(trials=2, epochs=20)
    trained = user.completed(user.training, 300)
    neptune.create_ml_endpoint(id="people", mlModelTrainingJobId="job")
    _in_service(user)
    assert "error" in _ask(user, "new1")[0]

    new = {
        "nodes": [
            {"node_type": "person", "node_id": "new1", "features": {"age": 44.5}},
            {"node_type": "person", "node_id": "new2"},
        ],
        "edges": [
            {"edge_type": ["person", "knows", "person"], "src_node_id": source, "dest_node_id": dest}
            for source, dest in (("new1", "p3"), ("p8", "new1"), ("new2", "new1"))
        ],
    }
    foretold = _scores(_ask(user, "new1", "new2", "p3", graph=new))

    _append(user, "nodes/person.csv", "new1,person,44.5,a", "new2,person,,")
    _append(user, "edges/knows.csv", "x1,knows,new1,p3", "x2,knows,p8,new1", "x3,knows,new2,new1")
    request = {"inputDataS3Location": IN, "processedDataS3Location": OUT, "previousDataProcessingJobId": "job"}
    neptune.start_ml_data_processing_job(id="newer", **request)
    _completed(user, neptune.get_ml_data_processing_job, "newer")
    neptune.start_ml_model_transform_job(
        id="newer", dataProcessingJobId="newer", mlModelTrainingJobId="job", modelTransformOutputS3Location=OUT
    )
    _completed(user, neptune.get_ml_model_transform_job, "newer")

    neptune.create_ml_endpoint(id="people", update=True, mlModelTransformJobId="newer")
    while neptune.get_ml_endpoint(id="people")["status"] == "Updating":
        assert _scores(_ask(user, "p1"))[0]
    _in_service(user)
    for said, came in zip(foretold, _scores(_ask(user, "new1", "new2", "p3")), strict=True):
        assert came == pytest.approx(said, abs=1e-5)
    assert _scores(_ask(user, "new1", graph={})) == [pytest.approx(foretold[0], abs=1e-5)]

    neptune.start_ml_model_training_job(
        id="again",
        dataProcessingJobId="newer",
        previousModelTrainingJobId="job",
        trainModelS3Location=OUT,
        maxHPONumberOfTrainingJobs=1,
    )
    again = _completed(user, neptune.get_ml_model_training_job, "again")
    assert again["processingJob"]["outputLocation"] != trained["processingJob"]["outputLocation"]
    neptune.create_ml_endpoint(id="people", update=True, mlModelTrainingJobId="again")
    _in_service(user)
    assert all(_scores(_ask(user, "new1", "p1")))

    with pytest.raises(ClientError, match="There is no endpoint 'nobody'"):
        neptune.create_ml_endpoint(id="nobody", update=True, mlModelTrainingJobId="again")


def test_a_vanished_node_is_refused_with_a_sentence(user: User) -> None:
    user.process()
    user.completed(user.processing, 300)
    file = user.server.object(f"{IN}/nodes/person.csv")
    file.write_text("".join(line for line in file.read_text().splitlines(True) if not line.startswith("p59,")))
    edges = user.server.object(f"{IN}/edges/knows.csv")
    edges.write_text("".join(line for line in edges.read_text().splitlines(True) if ",p59" not in line))
    request = {"inputDataS3Location": IN, "processedDataS3Location": OUT, "previousDataProcessingJobId": "job"}
    user.neptune.start_ml_data_processing_job(id="newer", **request)
    job = _ends(user, user.neptune.get_ml_data_processing_job, "newer")
    assert job["status"] == "Failed"
    assert (
        "1 nodes of type 'person' of the previous job are gone, 'p59' the first"
        in job["processingJob"]["failureReason"]
    )
