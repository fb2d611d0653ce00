"""Inference and export jobs as boto3 meets them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, Room
from tests.services.cleanroomsml.conftest import INFERRED, ROWS, TRAINED, Open, Server
from tests.services.cleanroomsml.test_trained_models import stages

EXPORTS = {"trainedModelExports": {"maxSize": {"unit": "GB", "value": 0.5}, "filesToExport": ["MODEL", "OUTPUT"]}}
KIND = "trained-model-inference-job"


def refused(room: Room, *arguments: Any, **changes: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        room.infer(*arguments, **changes)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


def exporting(open_room: Open, server: Server) -> tuple[Room, str]:
    """A room whose provider lets its models out, and a model in it."""
    room = open_room(EXPORTS)
    room.configure(SHOP, "s3://shop-out")
    channel = room.channel()
    server.finish(ROWS)
    arn = room.train(channel)["trainedModelArn"]
    server.finish(TRAINED)
    return room, str(arn)


class TestStart:
    def test_delivers_to_the_receiver_alone(self, room: Room, server: Server, model: str, channel: str) -> None:
        arn = room.infer(model, channel, environment={"A": "1"}, containerExecutionParameters={"maxPayloadInMB": 2})
        found = room.get_job(arn)
        assert (found["status"], found["name"]) == ("CREATE_PENDING", "scores")
        assert found["outputConfiguration"] == {"accept": "text/csv", "members": [{"accountId": BANK}]}
        assert found["configuredModelAlgorithmAssociationArn"] == room.association
        assert (found["environment"], found["containerExecutionParameters"]) == ({"A": "1"}, {"maxPayloadInMB": 2})
        assert server.finish(INFERRED, {"bytes": 50}) == ["inference", "delivery"]
        found = room.get_job(arn)
        assert (found["status"], found["inferenceContainerImageDigest"]) == ("ACTIVE", INFERRED["digest"])
        assert found["ResponseMetadata"]["HTTPHeaders"]["x-modelyard-isolation"] == "bubblewrap"
        assert server.object(f"s3://bank-out/models/{room.collaboration}/model/{BANK}/scores").is_dir()
        delivered = [e for e in server.audit(SHOP, room.collaboration) if e.action == "delivery" and e.account == SHOP]
        assert {(entry.left, entry.amount) for entry in delivered} == {(f"inference output to account {BANK}", 50)}
        assert {entry.used for entry in delivered} == {"visitors", room.association}

    def test_leaves_nothing_in_the_room(self, room: Room, server: Server, model: str, channel: str) -> None:
        arn = room.infer(model, channel)
        server.finish(INFERRED)
        server.sweep()
        assert not server.own(f"modelyard://inferred/{arn.rpartition('/')[2]}").exists()
        assert server.object("s3://bank-out/models").exists()

    def test_tells_the_container_what_it_asked_for(self, room: Room, server: Server, model: str, channel: str) -> None:
        room.infer(model, channel, resourceConfig={"instanceType": "ml.m5.large", "instanceCount": 2})
        spec = stages(server, KIND)[0].stage.spec
        assert (spec.parameters["instances"], spec.parameters["accept"]) == (2, "text/csv")
        assert (spec.parameters["header"], spec.parameters["content_type"]) == ("first", "text/csv")
        assert (spec.parameters["max_payload"], spec.parameters["records"]) == (None, 40)
        assert spec.inputs["model"] == f"modelyard://trained/{model.rpartition('/')[2]}/model"

    @pytest.mark.parametrize("name", ["..", "a/../../b", "100%", "x" * 63, "\U0001f600" * 63])
    def test_whatever_its_name_is_the_output_stays_in_its_place(
        self, room: Room, server: Server, channel: str, name: str
    ) -> None:
        arn = room.train(channel, name=name)["trainedModelArn"]
        server.finish(TRAINED)
        server.own(f"modelyard://trained/{arn.rpartition('/')[2]}/model").mkdir()
        room.infer(arn, channel, name=name)
        server.finish(INFERRED)
        base = server.object(f"s3://bank-out/models/{room.collaboration}")
        (model,) = base.iterdir()
        (account,) = model.iterdir()
        (job,) = account.iterdir()
        assert account.name == BANK
        assert model.name == job.name

    def test_of_the_same_name_replaces_nothing(self, room: Room, server: Server, model: str, channel: str) -> None:
        first = room.infer(model, channel)
        second = room.infer(model, channel, description="again")
        server.finish(INFERRED, {}, INFERRED, {})
        third = room.infer(model, channel, description="and again")
        server.finish(INFERRED)
        assert len({first, second, third}) == 3
        folder = server.object(f"s3://bank-out/models/{room.collaboration}/model/{BANK}")
        ids = [arn.rpartition("/")[2] for arn in (second, third)]
        assert sorted(path.name for path in folder.iterdir()) == sorted(["scores", *(f"scores-{id}" for id in ids)])

    def test_wants_a_receiver_that_may(self, room: Room, model: str, channel: str) -> None:
        code, text = refused(room, model, channel, to=SHOP)
        assert (code, "CAN_RECEIVE_INFERENCE_OUTPUT" in text) == ("ValidationException", True)
        code, text = refused(room, model, channel, to="999999999999")
        assert (code, "no active member" in text) == ("ValidationException", True)
        room.ml(BANK).delete_ml_configuration(membershipIdentifier=room.memberships[BANK])
        code, text = refused(room, model, channel)
        assert (code, "no ML configuration" in text) == ("ValidationException", True)

    def test_opens_a_model_with_no_algorithm_of_another_account(
        self, room: Room, server: Server, model: str, channel: str
    ) -> None:
        made = room.ml(BANK).create_configured_model_algorithm(
            name="peeks", roleArn=f"arn:aws:iam::{BANK}:role/rooms", inferenceContainerConfig={"imageUri": "a/b"}
        )
        peek = room.ml(BANK).create_configured_model_algorithm_association(
            membershipIdentifier=room.memberships[BANK],
            configuredModelAlgorithmArn=made["configuredModelAlgorithmArn"],
            name="peeks",
        )["configuredModelAlgorithmAssociationArn"]
        code, _ = refused(room, model, channel, configuredModelAlgorithmAssociationArn=peek)
        assert code in ("AccessDeniedException", "ValidationException")

    def test_asked_twice_at_once_makes_one(self, room: Room, model: str, channel: str) -> None:
        assert room.infer(model, channel) == room.infer(model, channel)

    def test_of_a_version_that_is_named(self, room: Room, server: Server, model: str, channel: str) -> None:
        earlier = [{"trainedModelArn": model, "channelName": "before"}]
        version = room.train(channel, name="more", incrementalTrainingDataChannels=earlier)["versionIdentifier"]
        server.finish(TRAINED)
        server.own(f"modelyard://trained/{version}/model").mkdir()
        arn = room.infer(model, channel, trainedModelVersionIdentifier=version)
        assert room.get_job(arn)["trainedModelVersionIdentifier"] == version
        ml, named = room.ml(BANK), {"membershipIdentifier": room.memberships[BANK]}
        for wanted, count in ((version, 1), (room.memberships[BANK], 0)):
            listed = ml.list_trained_model_inference_jobs(**named, trainedModelVersionIdentifier=wanted)
            assert len(listed["trainedModelInferenceJobs"]) == count

    def test_uses_the_latest_version_that_is_ready(self, room: Room, server: Server, model: str, channel: str) -> None:
        earlier = [{"trainedModelArn": model, "channelName": "before"}]
        room.train(channel, name="more", incrementalTrainingDataChannels=earlier)
        server.step(failure="it broke")
        assert room.get_model(model)["status"] == "CREATE_FAILED"
        assert "trainedModelVersionIdentifier" not in room.get_job(room.infer(model, channel))


class TestEnd:
    def test_of_a_container_that_did_wrong_is_a_failure(
        self, room: Room, server: Server, model: str, channel: str
    ) -> None:
        arn = room.infer(model, channel)
        failure = {"code": "CONTAINER_UNHEALTHY", "message": "The container did not answer /ping."}
        server.finish({**INFERRED, "failure": failure})
        found = room.get_job(arn)
        assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "CONTAINER_UNHEALTHY")
        actions = [e.action for e in server.audit(SHOP, room.collaboration) if e.subject == arn]
        assert "failed" in actions

    def test_without_a_delivery_does_not_tell_where_that_was(
        self, room: Room, server: Server, model: str, channel: str
    ) -> None:
        arn = room.infer(model, channel)
        server.step(INFERRED)
        server.step(failure="the output could not be written to s3://bank-out/models: no room")
        found = room.get_job(arn)
        assert (found["status"], found["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "DELIVERY_FAILED")
        assert "bank-out" not in str(found)

    def test_by_a_cancellation_is_inactive(self, room: Room, server: Server, model: str, channel: str) -> None:
        arn = room.infer(model, channel)
        named = {"membershipIdentifier": room.memberships[BANK], "trainedModelInferenceJobArn": arn}
        room.ml(BANK).cancel_trained_model_inference_job(**named)
        server.finish(INFERRED)
        assert room.get_job(arn)["status"] == "INACTIVE"
        assert not server.object("s3://bank-out/models").exists()
        with pytest.raises(room.ml(BANK).exceptions.ConflictException):
            room.ml(BANK).cancel_trained_model_inference_job(**named)


class TestOthers:
    def test_see_that_a_job_was_and_for_whom(self, room: Room, server: Server, model: str, channel: str) -> None:
        arn = room.infer(model, channel)
        (item,) = room.ml(SHOP).list_collaboration_trained_model_inference_jobs(
            collaborationIdentifier=room.collaboration, trainedModelArn=model
        )["collaborationTrainedModelInferenceJobs"]
        assert (item["trainedModelInferenceJobArn"], item["creatorAccountId"]) == (arn, BANK)
        assert item["outputConfiguration"]["members"] == [{"accountId": BANK}]
        assert not {"dataSource", "environment", "resourceConfig"} & item.keys()


class TestExports:
    def test_go_to_the_receiver(self, open_room: Open, server: Server) -> None:
        room, model = exporting(open_room, server)
        room.export(model, description="for the shop")
        (job,) = room.exports(model)
        assert (job["status"], job["name"], job["creatorAccountId"]) == ("CREATE_PENDING", "export", BANK)
        assert server.finish({"bytes": 10, "size": 20}, {"bytes": 10}) == ["export", "delivery"]
        (job,) = room.exports(model, SHOP)
        assert (job["status"], job["trainedModelArn"], job["description"]) == ("ACTIVE", model, "for the shop")
        assert server.object(f"s3://shop-out/{room.collaboration}/model/{BANK}/export").is_dir()
        left = {e.left for e in server.audit(SHOP, room.collaboration) if e.action == "delivery"}
        assert left == {f"the model's MODEL and OUTPUT to account {SHOP}"}

    def test_need_the_providers_word(self, room: Room, server: Server, model: str) -> None:
        with pytest.raises(room.ml(BANK).exceptions.AccessDeniedException, match="allows no exports"):
            room.export(model)
        assert room.exports(model) == []
        entry = server.audit(SHOP, room.collaboration)[-1]
        assert (entry.action, entry.actor, entry.used) == ("refused", BANK, room.association)

    def test_need_a_receiver_that_may(self, open_room: Open, server: Server) -> None:
        room, model = exporting(open_room, server)
        room.configure(BANK, "s3://bank-out")
        with pytest.raises(ClientError, match="CAN_RECEIVE_MODEL_OUTPUT"):
            room.export(model, to=BANK)

    def test_that_are_too_large_fail(self, open_room: Open, server: Server) -> None:
        room, model = exporting(open_room, server)
        room.export(model)
        failure = {"code": "EXPORT_TOO_LARGE", "message": "What would be exported is larger than allowed."}
        server.finish({"bytes": 0, "size": 0, "failure": failure})
        (job,) = room.exports(model)
        assert (job["status"], job["statusDetails"]["statusCode"]) == ("CREATE_FAILED", "EXPORT_TOO_LARGE")
