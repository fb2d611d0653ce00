"""Trained models and their versions as boto3 meets them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, Room
from tests.services.cleanroomsml.conftest import ROWS, TRAINED, Open, Server

from modelyard.jobs.model import Owner

LOGS = {"containerLogs": [{"allowedAccountIds": [BANK]}], "containerMetrics": {"noiseLevel": "NONE"}}


def refused(room: Room, *arguments: Any, **changes: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        room.train(*arguments, **changes)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def stages(server: Server, kind: str = "trained-model") -> list[Any]:
    """The stages of the newest job of a kind."""
    store = server.application.store

    def read() -> list[Any]:
        owner = Owner(BANK, "us-east-1")
        return list(store.get(owner, kind, store.list_ids(owner, kind, 1)[0]).stages)

    return list(server.do(read))


class TestCreate:
    def test_trains_from_channels(self, room: Room, server: Server, channel: str) -> None:
        asked = {
            "hyperparameters": {"epochs": "3"},
            "environment": {"SEED": "1"},
            "stoppingCondition": {"maxRuntimeInSeconds": 60},
            "trainingInputMode": "FastFile",
            "description": "the first",
        }
        answer = room.train(channel, **asked)
        assert "versionIdentifier" not in answer
        arn = answer["trainedModelArn"]
        found = room.get_model(arn)
        assert (found["status"], found["name"]) == ("CREATE_PENDING", "model")
        assert found["dataChannels"] == [{"mlInputChannelArn": channel, "channelName": "train"}]
        assert {name: found[name] for name in asked} == asked
        assert server.finish(TRAINED) == ["training"]
        found = room.get_model(arn)
        assert (found["status"], found["trainingContainerImageDigest"]) == ("ACTIVE", TRAINED["digest"])
        assert found["ResponseMetadata"]["HTTPHeaders"]["x-modelyard-isolation"] == "bubblewrap"

    def test_tells_the_container_what_it_asked_for(self, room: Room, server: Server, channel: str) -> None:
        room.train(
            channel,
            hyperparameters={"epochs": "3"},
            resourceConfig={
                "instanceType": "ml.c5.xlarge",
                "volumeSizeInGB": 2,
                "instanceCount": 2,
            },
        )
        (stage,) = [record.stage for record in stages(server)]
        parameters = stage.spec.parameters
        assert parameters["hyperparameters"] == {"epochs": "3"}
        assert (parameters["volume"], parameters["instances"], stage.spec.cores) == (2 * 2**30, 2, 2)
        assert parameters["channels"] == [
            {"name": "train", "distribution": "FullyReplicated", "format": "CSV", "input": "channel-0"}
        ]
        assert stage.spec.inputs["channel-0"] == f"modelyard://channels/{channel.rpartition('/')[2]}"
        assert stage.spec.inputs["image"].startswith("modelyard://images/")
        assert (parameters["policy"], parameters["loggers"]) == (None, [])

    def test_waits_for_its_channels(self, room: Room) -> None:
        code, text = refused(room, room.channel())
        assert (code, "CREATE_PENDING" in text) == ("ConflictException", True)

    def test_takes_each_channel_name_once(self, room: Room, channel: str) -> None:
        twice = [{"mlInputChannelArn": channel, "channelName": "train"}] * 2
        assert refused(room, channel, dataChannels=twice)[0] == "ValidationException"
        dots = [{"mlInputChannelArn": channel, "channelName": ".."}]
        assert refused(room, channel, dataChannels=dots)[0] == "ValidationException"

    def test_gives_a_channel_to_no_algorithm_but_its_own(self, room: Room, channel: str) -> None:
        first = room.association
        other = room.bring_model(name="others")
        code, text = refused(room, channel)
        assert code == "ValidationException"
        assert f"made for {first}, not for {other}" in text

    def test_wants_an_image_that_is_here(self, open_room: Open, server: Server) -> None:
        room = open_room(trainingContainerConfig={"imageUri": "elsewhere/scores:2"})
        channel = room.channel()
        server.finish(ROWS)
        code, text = refused(room, channel)
        assert code == "ValidationException"
        assert "modelyard images add elsewhere/scores:2" in text

    def test_wants_a_training_container(self, open_room: Open, server: Server, client: Any) -> None:
        room = open_room()
        made = room.ml(SHOP).create_configured_model_algorithm(
            name="asks only", roleArn=f"arn:aws:iam::{SHOP}:role/rooms", inferenceContainerConfig={"imageUri": "a/b"}
        )
        room.association = room.ml(SHOP).create_configured_model_algorithm_association(
            membershipIdentifier=room.memberships[SHOP],
            configuredModelAlgorithmArn=made["configuredModelAlgorithmArn"],
            name="asks only",
        )["configuredModelAlgorithmAssociationArn"]
        code, text = refused(
            room,
            "arn:aws:cleanrooms-ml:us-east-1:111122223333:membership/"
            f"{room.memberships[BANK]}/ml-input-channel/{room.memberships[BANK]}",
        )
        assert (code, "no trainingContainerConfig" in text) == ("ValidationException", True)

    def test_stops_when_a_member_whose_data_it_is_has_gone(self, room: Room, channel: str) -> None:
        room.rooms(BANK).delete_member(collaborationIdentifier=room.collaboration, accountId=SHOP)
        code, text = refused(room, channel)
        assert (code, "no active member any more" in text) == ("ConflictException", True)


class TestFailure:
    def test_of_the_container_is_told_with_what_the_caller_may_see_of_it(
        self, room: Room, server: Server, channel: str
    ) -> None:
        arn = room.train(channel)["trainedModelArn"]
        failure = {
            "code": "CONTAINER_EXITED_NON_ZERO",
            "message": "The container ended with status 1.",
            "said": {BANK: "KeyError: column income"},
        }
        server.finish({**TRAINED, "failure": failure})
        found = room.get_model(arn)
        assert found["status"] == "CREATE_FAILED"
        assert found["statusDetails"] == {
            "statusCode": "CONTAINER_EXITED_NON_ZERO",
            "message": "The container ended with status 1. The container said: KeyError: column income",
        }
        others = room.ml(SHOP).get_collaboration_trained_model(
            collaborationIdentifier=room.collaboration, trainedModelArn=arn
        )
        assert others["statusDetails"]["message"] == "The container ended with status 1."
        with pytest.raises(ClientError, match="CREATE_FAILED"):
            room.infer(arn, channel)
        with pytest.raises(ClientError, match="CREATE_FAILED"):
            room.export(arn)


class TestVersions:
    @pytest.fixture
    def second(self, room: Room, server: Server, model: str, channel: str) -> str:
        earlier = [{"trainedModelArn": model, "channelName": "before"}]
        answer = room.train(channel, name="more", incrementalTrainingDataChannels=earlier)
        assert answer["trainedModelArn"] == model
        server.finish(TRAINED)
        return str(answer["versionIdentifier"])

    def test_are_of_one_model(self, room: Room, server: Server, model: str, second: str) -> None:
        found = room.get_model(model)
        assert (found["versionIdentifier"], found["name"]) == (second, "more")
        assert found["incrementalTrainingDataChannels"] == [{"channelName": "before", "modelName": "model"}]
        assert "versionIdentifier" not in room.get_model(model, versionIdentifier=model.rpartition("/")[2])
        ml, named = room.ml(BANK), {"membershipIdentifier": room.memberships[BANK]}
        versions = ml.list_trained_model_versions(**named, trainedModelArn=model)["trainedModels"]
        assert [item.get("versionIdentifier") for item in versions] == [second, None]
        (item,) = ml.list_trained_models(**named)["trainedModels"]
        assert item["versionIdentifier"] == second
        parameters = stages(server)[0].stage.spec
        assert parameters.parameters["incremental"] == [{"name": "before", "input": "incremental-0"}]
        assert parameters.inputs["incremental-0"] == f"modelyard://trained/{model.rpartition('/')[2]}/model"

    def test_are_deleted_one_by_one(self, room: Room, server: Server, model: str, second: str) -> None:
        ml, named = room.ml(BANK), {"membershipIdentifier": room.memberships[BANK], "trainedModelArn": model}
        ml.delete_trained_model_output(**named)
        server.sweep()
        statuses = [item["status"] for item in ml.list_trained_model_versions(**named)["trainedModels"]]
        assert statuses == ["ACTIVE", "INACTIVE"]
        active = ml.list_trained_model_versions(**named, status="ACTIVE")["trainedModels"]
        assert [item["versionIdentifier"] for item in active] == [second]
        ml.delete_trained_model_output(**named, versionIdentifier=second)
        server.sweep()
        assert room.get_model(model)["status"] == "INACTIVE"
        assert not list(server.own("modelyard://trained").iterdir())

    def test_of_other_models_are_not_found(self, room: Room, model: str, second: str, channel: str) -> None:
        other = room.train(channel, name="other")["trainedModelArn"]
        with pytest.raises(room.ml(BANK).exceptions.ResourceNotFoundException):
            room.get_model(other, versionIdentifier=second)


class TestCancel:
    def test_ends_as_inactive(self, room: Room, server: Server, channel: str) -> None:
        arn = room.train(channel)["trainedModelArn"]
        named = {"membershipIdentifier": room.memberships[BANK], "trainedModelArn": arn}
        room.ml(BANK).cancel_trained_model(**named)
        assert room.get_model(arn)["status"] == "CANCEL_PENDING"
        with pytest.raises(room.ml(BANK).exceptions.ConflictException):
            room.ml(BANK).delete_trained_model_output(**named)
        server.finish(TRAINED)
        assert room.get_model(arn)["status"] == "INACTIVE"
        with pytest.raises(room.ml(BANK).exceptions.ConflictException, match="INACTIVE"):
            room.ml(BANK).cancel_trained_model(**named)
        room.ml(BANK).delete_trained_model_output(**named)

    def test_is_not_for_what_has_ended(self, room: Room, model: str) -> None:
        with pytest.raises(room.ml(BANK).exceptions.ConflictException, match="ACTIVE"):
            room.ml(BANK).cancel_trained_model(membershipIdentifier=room.memberships[BANK], trainedModelArn=model)


class TestLogs:
    def test_go_to_whom_the_provider_allows_and_metrics_to_all(self, open_room: Open, server: Server) -> None:
        room = open_room({"trainedModels": LOGS})
        room.configure(BANK, "s3://bank-out")
        room.configure(SHOP, "s3://shop-out/x")
        channel = room.channel()
        server.finish(ROWS)
        arn = room.train(channel)["trainedModelArn"]
        assert "logsStatus" not in room.get_model(arn)
        done = server.finish({**TRAINED, "logs": [BANK]}, {"bytes": 10})
        assert done == ["training", f"logs of {BANK}", f"metrics of {BANK}", f"metrics of {SHOP}"]
        mine = room.get_model(arn)
        theirs = room.ml(SHOP).get_collaboration_trained_model(
            collaborationIdentifier=room.collaboration, trainedModelArn=arn
        )
        assert (mine["logsStatus"], mine["metricsStatus"]) == ("PUBLISH_SUCCEEDED", "PUBLISH_SUCCEEDED")
        assert (theirs["logsStatus"], theirs["metricsStatus"]) == ("PUBLISH_FAILED", "PUBLISH_SUCCEEDED")
        assert "privacy configuration" in theirs["logsStatusDetails"]
        below = f"{room.collaboration}/TrainedModels/{arn.rpartition('/')[2]}"
        assert server.object(f"s3://bank-out/logs/{below}").is_dir()
        assert server.object(f"s3://shop-out/x/metrics/{below}").is_dir()
        assert not server.object("s3://shop-out/x/logs").exists()
        left = {entry.left for entry in server.audit(SHOP, room.collaboration) if entry.action == "delivery"}
        assert left == {f"filtered logs to account {BANK}", f"metrics to account {BANK}", f"metrics to account {SHOP}"}

    def test_that_cannot_be_written_spoil_no_model(self, open_room: Open, server: Server) -> None:
        room = open_room({"trainedModels": LOGS})
        room.configure(BANK, "s3://bank-out")
        channel = room.channel()
        server.finish(ROWS)
        arn = room.train(channel)["trainedModelArn"]
        server.step(TRAINED)
        assert server.step(failure="the output could not be written to s3://bank-out") == f"logs of {BANK}"
        server.finish()
        found = room.get_model(arn)
        assert (found["status"], found["logsStatus"], found["metricsStatus"]) == (
            "ACTIVE",
            "PUBLISH_FAILED",
            "PUBLISH_SUCCEEDED",
        )
        assert "could not be written" in found["logsStatusDetails"]

    def test_need_an_ml_configuration(self, open_room: Open, server: Server) -> None:
        room = open_room({"trainedModels": LOGS})
        channel = room.channel()
        server.finish(ROWS)
        arn = room.train(channel)["trainedModelArn"]
        assert server.finish(TRAINED) == ["training"]
        assert room.get_model(arn)["logsStatusDetails"] == "Failed to publish logs as no ML Config role is set"
        room.configure(BANK)
        assert "has no destination" in room.get_model(arn)["logsStatusDetails"]


class TestOthers:
    def test_see_a_model_but_not_how_it_was_asked_for(self, room: Room, model: str) -> None:
        found = room.ml(SHOP).get_collaboration_trained_model(
            collaborationIdentifier=room.collaboration, trainedModelArn=model
        )
        assert (found["creatorAccountId"], found["status"]) == (BANK, "ACTIVE")
        assert not {"hyperparameters", "environment", "dataChannels", "tags"} & found.keys()
        (item,) = room.ml(SHOP).list_collaboration_trained_models(collaborationIdentifier=room.collaboration)[
            "collaborationTrainedModels"
        ]
        assert (item["trainedModelArn"], item["creatorAccountId"]) == (model, BANK)

    def test_find_in_their_audit_log_what_learned_from_it(self, room: Room, server: Server, model: str) -> None:
        mine = [e for e in server.audit(SHOP, room.collaboration) if e.account == SHOP and e.action == "training"]
        assert [(entry.used, entry.subject) for entry in mine] == [("visitors", model), (room.association, model)]
