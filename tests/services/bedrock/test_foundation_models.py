from typing import Any

import pytest
from tests.boto import Clients
from tests.services.bedrock.conftest import BASE, Server

ARN = f"arn:aws:bedrock:us-east-1::foundation-model/{BASE}"


class TestFoundationModels:
    def test_are_shown_as_they_are(self, bedrock: Any) -> None:
        (listed,) = bedrock.list_foundation_models()["modelSummaries"]
        for identifier in (BASE, ARN):
            assert bedrock.get_foundation_model(modelIdentifier=identifier)["modelDetails"] == listed
        assert (listed["modelId"], listed["modelArn"], listed["providerName"]) == (BASE, ARN, "Meta")
        assert listed["inputModalities"] == listed["outputModalities"] == ["TEXT"]
        assert listed["customizationsSupported"] == ["FINE_TUNING", "CONTINUED_PRE_TRAINING", "DISTILLATION"]
        assert listed["inferenceTypesSupported"] == ["ON_DEMAND", "PROVISIONED"]
        assert listed["modelLifecycle"]["status"] == "ACTIVE"

    def test_are_filtered(self, server: Server, bedrock: Any) -> None:
        server.add_model("amazon.nova-micro-v1:0:128k")

        def found(**filters: str) -> list[str]:
            return [model["modelId"] for model in bedrock.list_foundation_models(**filters)["modelSummaries"]]

        assert found(byProvider="meta") == found(byProvider="Meta") == [BASE]
        assert found(byCustomizationType="DISTILLATION", byOutputModality="TEXT", byInferenceType="ON_DEMAND") == [
            BASE,
            "amazon.nova-micro-v1:0:128k",
        ]
        assert found(byOutputModality="IMAGE") == found(byProvider="Nobody") == []

    def test_are_everybodys_everywhere(self, server: Server, client_for: Clients) -> None:
        client = client_for(server.application.endpoint, "bedrock", account="999999999999", region="eu-west-1")
        (listed,) = client.list_foundation_models()["modelSummaries"]
        assert listed["modelArn"] == f"arn:aws:bedrock:eu-west-1::foundation-model/{BASE}"

    def test_are_available_once_they_are_registered(self, bedrock: Any) -> None:
        answer = bedrock.get_foundation_model_availability(modelId=BASE)
        assert answer["agreementAvailability"] == {"status": "AVAILABLE"}
        assert {answer["authorizationStatus"], answer["regionAvailability"]} == {"AUTHORIZED", "AVAILABLE"}
        with pytest.raises(bedrock.exceptions.ResourceNotFoundException, match="modelyard models add"):
            bedrock.get_foundation_model_availability(modelId="nobody.made-v1")

    def test_that_are_not_there_are_not_found(self, bedrock: Any) -> None:
        for identifier in ("nobody.made-v1", "arn:aws:bedrock:us-east-1::foundation-model/nobody.made-v1"):
            with pytest.raises(bedrock.exceptions.ResourceNotFoundException, match=BASE):
                bedrock.get_foundation_model(modelIdentifier=identifier)
