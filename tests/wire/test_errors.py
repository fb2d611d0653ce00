"""Faults through botocore's own error parser: typed exceptions with code, text and members."""

from typing import Any

import pytest
from tests.boto import Clients
from tests.wire.shapes import Maker

from modelyard.wire.endpoint import Endpoint, Service
from modelyard.wire.errors import Fault, render
from modelyard.wire.models import SERVICES, Model, error_status

OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "neptunedata": ("list_ml_endpoints", {}),
    "bedrock": ("list_custom_models", {}),
    "bedrock-runtime": ("list_async_invokes", {}),
    "cleanrooms": ("list_collaborations", {}),
    "cleanroomsml": ("list_training_datasets", {}),
    "sagemaker-runtime": ("invoke_endpoint", {"EndpointName": "e", "Body": b"{}"}),
}
TEXTS = {"message", "Message", "detailedMessage", "code", "requestId"}


@pytest.mark.parametrize("service", SERVICES)
def test_every_modelled_error_arrives_typed(client_for: Clients, service: str) -> None:
    method, params = OPERATIONS[service]
    faults: list[Fault] = []

    async def fail(call: Any, input: Any) -> dict[str, Any]:
        raise faults[-1]

    client = client_for(Endpoint([Service(service, {method: fail})]), service)
    for shape in Model(service).errors:
        members = Maker(shape.name, 1.0, whole_seconds=True).structure(shape)
        members = {name: value for name, value in members.items() if name not in TEXTS}
        faults.append(Fault(shape.name, "It is 'gone' ü", members))
        with pytest.raises(client.exceptions.from_code(shape.name)) as caught:
            getattr(client, method)(**params)
        response = caught.value.response
        assert type(caught.value).__name__ == shape.name
        assert response["Error"]["Code"] == shape.name
        assert response["Error"]["Message"] == "It is 'gone' ü"
        assert response["ResponseMetadata"]["HTTPStatusCode"] == error_status(shape)
        assert {name: response[name] for name in members} == members
        expected = {
            "message": "It is 'gone' ü",
            "Message": "It is 'gone' ü",
            "detailedMessage": "It is 'gone' ü",
            "code": shape.name,
            "requestId": response["ResponseMetadata"]["RequestId"],
        }
        assert {n: response[n] for n in expected if n in shape.members} == {
            n: v for n, v in expected.items() if n in shape.members
        }


def test_codes_that_the_model_lacks_take_the_faults_status() -> None:
    model = Model("bedrock")
    assert render(Fault("Strange", "x"), "id", model)[0] == 400
    assert render(Fault("Strange", "x", status=418), "id", model)[0] == 418
    assert render(Fault("UnknownOperationException", "x"), "id", None)[0] == 404


def test_each_service_names_its_own_failure() -> None:
    assert {name: Model(name).internal_error for name in SERVICES} == {
        "neptunedata": "InternalFailureException",
        "bedrock": "InternalServerException",
        "bedrock-runtime": "InternalServerException",
        "cleanrooms": "InternalServerException",
        "cleanroomsml": "InternalServiceException",
        "sagemaker-runtime": "InternalFailure",
    }
