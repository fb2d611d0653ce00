from typing import Any

import pytest
from tests.services.bedrock.conftest import BASE, Server, bring_model

from modelyard.wire.errors import Fault

US = ("111122223333", "us-east-1")


class TestResolve:
    @pytest.mark.parametrize(
        "model_id",
        [
            BASE,
            BASE.rpartition(":")[0],
            f"arn:aws:bedrock:us-east-1::foundation-model/{BASE}",
            f"us.{BASE}",
            f"arn:aws:bedrock:us-east-1:111122223333:inference-profile/us.{BASE}",
        ],
    )
    def test_finds_foundation_models(self, server: Server, model_id: str) -> None:
        found = server.application.resolver.resolve(*US, model_id)
        assert str(found.base) == server.application.base_models.get(BASE).path
        assert (found.adapter, found.family, found.instruct) == (None, "llama", True)

    def test_finds_what_accounts_made_by_arn_and_by_name(self, working: Server, client: Any) -> None:
        custom = bring_model(working, client)
        deployed = client.create_custom_model_deployment(modelDeploymentName="front", modelArn=custom)
        kept = client.create_provisioned_model_throughput(modelUnits=1, provisionedModelName="kept", modelId=custom)
        resolve = working.application.resolver.resolve
        first = resolve(*US, custom)
        assert first.adapter is not None
        for arn, name in (
            (custom, "brought"),
            (deployed["customModelDeploymentArn"], "front"),
            (kept["provisionedModelArn"], "kept"),
        ):
            for model_id in (arn, name):
                found = resolve(*US, model_id)
                assert (found.base, found.adapter, found.arn) == (first.base, first.adapter, arn)
        for other in (("999999999999", "us-east-1"), ("111122223333", "eu-west-1")):
            for model_id in (custom, "brought", deployed["customModelDeploymentArn"]):
                with pytest.raises(Fault):
                    resolve(*other, model_id)

    @pytest.mark.parametrize(
        ("model_id", "code"),
        [
            ("nobody", "ValidationException"),
            ("nobody.made-v1", "ValidationException"),
            ("us.nobody.made-v1", "ValidationException"),
            ("", "ValidationException"),
            ("arn:aws:bedrock:us-east-1::foundation-model/nobody.made-v1", "ResourceNotFoundException"),
            (
                "arn:aws:bedrock:us-east-1:111122223333:custom-model-deployment/abcdefghijkl",
                "ResourceNotFoundException",
            ),
            ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/x", "ResourceNotFoundException"),
            ("arn:aws:bedrock:us-east-1:111122223333:prompt/abcdefghij", "ResourceNotFoundException"),
            ("arn:aws:sagemaker:us-east-1:111122223333:endpoint/x", "ValidationException"),
        ],
    )
    def test_says_what_it_does_not_know(self, server: Server, model_id: str, code: str) -> None:
        with pytest.raises(Fault) as error:
            server.application.resolver.resolve(*US, model_id)
        assert error.value.code == code
