"""Configured model algorithms as boto3 meets them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, IMAGE, SHOP, Room, role

CONTAINER = {
    "imageUri": IMAGE,
    "entrypoint": ["python", "train.py"],
    "arguments": ["--fast"],
    "metricDefinitions": [{"name": "accuracy", "regex": '"accuracy": ([0-9.]+)'}],
}


@pytest.fixture
def ml(client: Callable[[str, str], Any]) -> Any:
    return client("cleanroomsml", SHOP)


def create(ml: Any, **changes: Any) -> str:
    request = {"name": "scores", "roleArn": role(SHOP), "trainingContainerConfig": CONTAINER, **changes}
    return str(ml.create_configured_model_algorithm(**request)["configuredModelAlgorithmArn"])


class TestCreate:
    def test_keeps_all_that_was_said(self, ml: Any) -> None:
        arn = create(ml, description="as of May", tags={"team": "models"}, inferenceContainerConfig={"imageUri": IMAGE})
        assert arn.startswith(f"arn:aws:cleanrooms-ml:us-east-1:{SHOP}:configured-model-algorithm/")
        found = ml.get_configured_model_algorithm(configuredModelAlgorithmArn=arn)
        assert found["trainingContainerConfig"] == CONTAINER
        assert found["inferenceContainerConfig"] == {"imageUri": IMAGE}
        assert (found["name"], found["description"], found["roleArn"]) == ("scores", "as of May", role(SHOP))
        assert found["tags"] == {"team": "models"}

    def test_asked_twice_at_once_makes_one(self, ml: Any) -> None:
        assert create(ml) == create(ml)
        assert create(ml) != create(ml, name="other")

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"trainingContainerConfig": {"imageUri": "scores"}}, "registry/repository"),
            ({"trainingContainerConfig": {"imageUri": "registry/scores@sha256:aa"}}, "registry/repository"),
            ({"inferenceContainerConfig": {"imageUri": "registry/a b"}}, "inferenceContainerConfig"),
            ({"trainingContainerConfig": {**CONTAINER, "metricDefinitions": [{"name": "a", "regex": "("}]}}, "RE2"),
            (
                {"trainingContainerConfig": {**CONTAINER, "metricDefinitions": [{"name": "a", "regex": "a"}]}},
                "0 groups",
            ),
            (
                {"trainingContainerConfig": {**CONTAINER, "metricDefinitions": [{"name": "a", "regex": r"(a)\1"}]}},
                "RE2",
            ),
            ({"tags": {"AWS:mine": "x"}}, "aws:"),
            ({"name": "  "}, "name"),
        ],
    )
    def test_refuses(self, ml: Any, changes: dict[str, Any], word: str) -> None:
        with pytest.raises(ClientError, match=word) as error:
            create(ml, **changes)
        assert error.value.response["Error"]["Code"] == "ValidationException"
        assert ml.list_configured_model_algorithms()["configuredModelAlgorithms"] == []

    def test_wants_a_role_of_the_callers(self, ml: Any) -> None:
        with pytest.raises(ml.exceptions.AccessDeniedException):
            create(ml, roleArn=role(BANK))


class TestOthers:
    def test_learn_nothing(self, ml: Any, client: Callable[[str, str], Any]) -> None:
        arn, other = create(ml), client("cleanroomsml", BANK)
        for call in (other.get_configured_model_algorithm, other.delete_configured_model_algorithm):
            texts = set()
            for named in (arn, arn[:-4] + "0000"):
                with pytest.raises(other.exceptions.ResourceNotFoundException) as error:
                    call(configuredModelAlgorithmArn=named)
                texts.add(error.value.response["Error"]["Message"].replace(named, ""))
            assert len(texts) == 1
        assert other.list_configured_model_algorithms()["configuredModelAlgorithms"] == []


class TestDelete:
    def test_waits_for_its_associations(self, client: Callable[[str, str], Any]) -> None:
        room = Room(client).open()
        association = room.bring_model()
        ml = room.ml(SHOP)
        with pytest.raises(ml.exceptions.ConflictException, match=association):
            ml.delete_configured_model_algorithm(configuredModelAlgorithmArn=room.algorithm)
        ml.delete_configured_model_algorithm_association(
            membershipIdentifier=room.memberships[SHOP], configuredModelAlgorithmAssociationArn=association
        )
        ml.delete_configured_model_algorithm(configuredModelAlgorithmArn=room.algorithm)
        with pytest.raises(ml.exceptions.ResourceNotFoundException):
            ml.get_configured_model_algorithm(configuredModelAlgorithmArn=room.algorithm)
