"""Who may call what: every operation, asked about one's own, about others' and about what nobody has."""

from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, STRANGER, Room, role
from tests.services.cleanroomsml.conftest import UNKNOWN, Server

S3 = {"destination": {"s3Destination": {"s3Uri": "s3://theirs/x"}}}
SOURCE = {"protectedQueryInputParameters": {"sqlParameters": {"queryString": "SELECT 1"}}}
MACHINE = {"instanceType": "ml.m5.large", "volumeSizeInGB": 1}


def requests(room: Room, model: str, channel: str, job: str) -> Mapping[str, dict[str, Any]]:
    """A request for each operation, but for the membership or the collaboration in it."""
    association, to = room.association, {"members": [{"accountId": BANK}]}
    return {
        "put_ml_configuration": {"defaultOutputLocation": {"roleArn": role(BANK), **S3}},
        "get_ml_configuration": {},
        "delete_ml_configuration": {},
        "create_configured_model_algorithm_association": {"configuredModelAlgorithmArn": room.algorithm, "name": "a"},
        "get_configured_model_algorithm_association": {"configuredModelAlgorithmAssociationArn": association},
        "list_configured_model_algorithm_associations": {},
        "delete_configured_model_algorithm_association": {"configuredModelAlgorithmAssociationArn": association},
        "create_ml_input_channel": {
            "configuredModelAlgorithmAssociations": [association],
            "name": "a",
            "retentionInDays": 1,
            "inputChannel": {"roleArn": role(BANK), "dataSource": SOURCE},
        },
        "get_ml_input_channel": {"mlInputChannelArn": channel},
        "list_ml_input_channels": {},
        "delete_ml_input_channel_data": {"mlInputChannelArn": channel},
        "create_trained_model": {
            "name": "a",
            "configuredModelAlgorithmAssociationArn": association,
            "resourceConfig": MACHINE,
            "dataChannels": [{"mlInputChannelArn": channel, "channelName": "train"}],
        },
        "get_trained_model": {"trainedModelArn": model},
        "list_trained_models": {},
        "list_trained_model_versions": {"trainedModelArn": model},
        "cancel_trained_model": {"trainedModelArn": model},
        "delete_trained_model_output": {"trainedModelArn": model},
        "start_trained_model_inference_job": {
            "name": "a",
            "trainedModelArn": model,
            "resourceConfig": {"instanceType": "ml.m5.large"},
            "outputConfiguration": to,
            "dataSource": {"mlInputChannelArn": channel},
        },
        "get_trained_model_inference_job": {"trainedModelInferenceJobArn": job},
        "list_trained_model_inference_jobs": {},
        "cancel_trained_model_inference_job": {"trainedModelInferenceJobArn": job},
        "start_trained_model_export_job": {"name": "a", "trainedModelArn": model, "outputConfiguration": to},
        "get_collaboration_configured_model_algorithm_association": {
            "configuredModelAlgorithmAssociationArn": association
        },
        "list_collaboration_configured_model_algorithm_associations": {},
        "get_collaboration_ml_input_channel": {"mlInputChannelArn": channel},
        "list_collaboration_ml_input_channels": {},
        "get_collaboration_trained_model": {"trainedModelArn": model},
        "list_collaboration_trained_models": {},
        "list_collaboration_trained_model_inference_jobs": {},
        "list_collaboration_trained_model_export_jobs": {"trainedModelArn": model},
    }


def answer(client: Any, operation: str, request: Mapping[str, Any]) -> tuple[str, str]:
    """Code and message of the refusal."""
    with pytest.raises(ClientError) as error:
        getattr(client, operation)(**request)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


@pytest.fixture
def asked(room: Room, model: str, channel: str) -> Mapping[str, dict[str, Any]]:
    return requests(room, model, channel, room.infer(model, channel))


def named(operation: str, room: Room, membership: str, collaboration: str) -> dict[str, str]:
    if "collaboration" in operation:
        return {"collaborationIdentifier": collaboration}
    return {"membershipIdentifier": membership}


def test_every_served_operation_on_a_membership_or_a_collaboration_is_asked(
    server: Server, asked: Mapping[str, Any]
) -> None:
    (service,) = [one for one in server.application.endpoint.services if one.name == "cleanroomsml"]
    of_accounts = {
        "create_configured_model_algorithm",
        "get_configured_model_algorithm",
        "list_configured_model_algorithms",
        "delete_configured_model_algorithm",
        "tag_resource",
        "untag_resource",
        "list_tags_for_resource",
    }
    assert set(service.handlers) == {*asked, *of_accounts}


def test_a_stranger_is_told_the_same_of_what_is_there_and_of_what_is_not(
    room: Room, asked: Mapping[str, dict[str, Any]]
) -> None:
    stranger, membership = room.ml(STRANGER), room.memberships[BANK]
    for operation, request in asked.items():
        there = answer(stranger, operation, {**request, **named(operation, room, membership, room.collaboration)})
        nowhere = answer(stranger, operation, {**request, **named(operation, room, UNKNOWN, UNKNOWN)})
        assert there[0] == nowhere[0] == "AccessDeniedException", operation
        texts = {there[1].replace(membership, "").replace(room.collaboration, ""), nowhere[1].replace(UNKNOWN, "")}
        assert len(texts) == 1, operation


def test_a_member_acts_in_its_own_membership_alone(room: Room, asked: Mapping[str, dict[str, Any]]) -> None:
    for operation, request in asked.items():
        if "collaboration" not in operation:
            other = BANK if operation.endswith("association") else SHOP
            me = SHOP if other == BANK else BANK
            given = {**request, "membershipIdentifier": room.memberships[other]}
            assert answer(room.ml(me), operation, given)[0] == "AccessDeniedException", operation


ARNS = ("mlInputChannelArn", "trainedModelArn", "trainedModelInferenceJobArn", "configuredModelAlgorithmAssociationArn")


def test_an_arn_of_another_membership_is_answered_like_one_of_nothing(
    room: Room, asked: Mapping[str, dict[str, Any]]
) -> None:
    """In the shop's membership the bank's ARNs name nothing, and the other way round."""
    for operation, request in asked.items():
        members = [member for member in ARNS if member in request]
        if "collaboration" in operation or operation.startswith(("create", "start")) or not members:
            continue
        (member,) = members
        account = BANK if member.startswith("configured") else SHOP
        client, given = room.ml(account), {**request, "membershipIdentifier": room.memberships[account]}
        nowhere = request[member][:-12] + "000000000000"
        foreign, unknown = answer(client, operation, given), answer(client, operation, {**given, member: nowhere})
        assert foreign[0] == unknown[0] == "ResourceNotFoundException", operation
        assert foreign[1].replace(request[member], "") == unknown[1].replace(nowhere, ""), operation


def test_only_the_member_that_may_query_makes_and_starts(room: Room, asked: Mapping[str, dict[str, Any]]) -> None:
    for operation in (
        "create_ml_input_channel",
        "create_trained_model",
        "start_trained_model_inference_job",
        "start_trained_model_export_job",
    ):
        request = {**asked[operation], "membershipIdentifier": room.memberships[SHOP]}
        code, text = answer(room.ml(SHOP), operation, request)
        assert (code, "CAN_QUERY" in text) == ("AccessDeniedException", True), operation


def test_a_member_that_was_removed_sees_nothing_any_more(room: Room, asked: Mapping[str, dict[str, Any]]) -> None:
    room.rooms(BANK).delete_member(collaborationIdentifier=room.collaboration, accountId=SHOP)
    for operation, request in asked.items():
        given = {**request, **named(operation, room, room.memberships[SHOP], room.collaboration)}
        assert answer(room.ml(SHOP), operation, given)[0] == "AccessDeniedException", operation


def test_another_region_is_another_world(room: Room, client: Any, asked: Mapping[str, dict[str, Any]]) -> None:
    elsewhere = client("cleanroomsml", BANK, "eu-west-1")
    for operation, request in asked.items():
        given = {**request, **named(operation, room, room.memberships[BANK], room.collaboration)}
        assert answer(elsewhere, operation, given)[0] == "AccessDeniedException", operation


def test_what_is_not_served_says_so(room: Room) -> None:
    code, text = answer(room.ml(BANK), "list_audience_models", {})
    assert (code, "ListAudienceModels" in text) == ("UnknownOperationException", True)
