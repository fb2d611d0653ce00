"""Associations of algorithms as boto3 meets them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, Room
from tests.services.cleanroomsml.conftest import Server

POLICIES = {
    "trainedModels": {
        "containerLogs": [
            {
                "allowedAccountIds": [BANK],
                "filterPattern": "^epoch",
                "logType": "ALL",
                "logRedactionConfiguration": {
                    "entitiesToRedact": ["NUMBERS", "CUSTOM"],
                    "customEntityConfig": {"customDataIdentifiers": ["p[0-9]+"]},
                },
            }
        ],
        "containerMetrics": {"noiseLevel": "LOW"},
        "maxArtifactSize": {"unit": "GB", "value": 0.5},
    },
    "trainedModelExports": {"maxSize": {"unit": "GB", "value": 0.5}, "filesToExport": ["MODEL"]},
    "trainedModelInferenceJobs": {"maxOutputSize": {"unit": "GB", "value": 0.01}},
}


@pytest.fixture
def opened(client: Callable[[str, str], Any]) -> Room:
    return Room(client).open()


class TestCreate:
    def test_keeps_the_privacy_configuration_for_every_member_to_see(self, opened: Room) -> None:
        arn = opened.bring_model(POLICIES)
        mine = opened.ml(SHOP).get_configured_model_algorithm_association(
            membershipIdentifier=opened.memberships[SHOP], configuredModelAlgorithmAssociationArn=arn
        )
        theirs = opened.ml(BANK).get_collaboration_configured_model_algorithm_association(
            collaborationIdentifier=opened.collaboration, configuredModelAlgorithmAssociationArn=arn
        )
        for found in (mine, theirs):
            assert found["privacyConfiguration"] == {"policies": POLICIES}
            assert (found["name"], found["configuredModelAlgorithmArn"]) == ("scores", opened.algorithm)
        assert theirs["creatorAccountId"] == SHOP
        listed = opened.ml(BANK).list_collaboration_configured_model_algorithm_associations(
            collaborationIdentifier=opened.collaboration
        )["collaborationConfiguredModelAlgorithmAssociations"]
        assert [item["configuredModelAlgorithmAssociationArn"] for item in listed] == [arn]
        own = opened.ml(BANK).list_configured_model_algorithm_associations(
            membershipIdentifier=opened.memberships[BANK]
        )["configuredModelAlgorithmAssociations"]
        assert own == []

    def test_may_do_without_one(self, opened: Room) -> None:
        arn = opened.bring_model()
        found = opened.ml(SHOP).get_configured_model_algorithm_association(
            membershipIdentifier=opened.memberships[SHOP], configuredModelAlgorithmAssociationArn=arn
        )
        assert "privacyConfiguration" not in found

    def test_brings_an_algorithm_of_the_callers_own(self, opened: Room) -> None:
        opened.bring_model()
        with pytest.raises(ClientError) as error:
            opened.ml(BANK).create_configured_model_algorithm_association(
                membershipIdentifier=opened.memberships[BANK],
                configuredModelAlgorithmArn=opened.algorithm,
                name="stolen",
            )
        assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"

    @pytest.mark.parametrize(
        ("logs", "word"),
        [
            ({"allowedAccountIds": ["everyone"]}, "twelve digits"),
            ({"allowedAccountIds": [BANK], "filterPattern": "(?=a)"}, "RE2"),
            (
                {"allowedAccountIds": [BANK], "logRedactionConfiguration": {"entitiesToRedact": ["CUSTOM"]}},
                "customDataIdentifiers",
            ),
        ],
    )
    def test_refuses_log_policies_that_nobody_could_keep(self, opened: Room, logs: dict[str, Any], word: str) -> None:
        with pytest.raises(ClientError, match=word) as error:
            opened.bring_model({"trainedModelInferenceJobs": {"containerLogs": [logs]}})
        assert error.value.response["Error"]["Code"] == "ValidationException"


class TestDelete:
    def test_waits_for_its_jobs(self, room: Room, server: Server) -> None:
        ml = room.ml(SHOP)
        named = {
            "membershipIdentifier": room.memberships[SHOP],
            "configuredModelAlgorithmAssociationArn": room.association,
        }
        room.channel()
        with pytest.raises(ml.exceptions.ConflictException, match="has not ended"):
            ml.delete_configured_model_algorithm_association(**named)
        server.finish()
        ml.delete_configured_model_algorithm_association(**named)
        with pytest.raises(ml.exceptions.ResourceNotFoundException):
            ml.delete_configured_model_algorithm_association(**named)
        assert "deleted" in [entry.action for entry in server.audit(SHOP, room.collaboration)]
