"""A member leaves, or is put out, while the others work with what it brought."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, Room
from tests.services.cleanroomsml.conftest import INFERRED, Server

from modelyard.jobs.model import Owner


def put_out(room: Room, account: str = SHOP) -> None:
    room.rooms(BANK).delete_member(collaborationIdentifier=room.collaboration, accountId=account)


def statuses(room: Room, channel: str, model: str) -> tuple[str, str]:
    asked = {"membershipIdentifier": room.memberships[BANK]}
    return (
        room.ml(BANK).get_ml_input_channel(**asked, mlInputChannelArn=channel)["status"],
        room.ml(BANK).get_trained_model(**asked, trainedModelArn=model)["status"],
    )


def test_its_rows_and_what_was_learnt_from_them_are_deleted(
    room: Room, server: Server, channel: str, model: str
) -> None:
    folders = [server.own(f"modelyard://channels/{channel[-36:]}"), server.own(f"modelyard://trained/{model[-36:]}")]
    assert all(folder.exists() for folder in folders)
    put_out(room)
    assert statuses(room, channel, model) == ("DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS")
    server.run(server.application.retention.look())
    server.sweep()
    assert statuses(room, channel, model) == ("INACTIVE", "INACTIVE")
    assert not any(folder.exists() for folder in folders)
    said = [entry for entry in server.audit(SHOP, room.collaboration) if entry.action == "deleted"]
    assert {entry.used for entry in said} == {"visitors", room.association}
    assert {entry.rule for entry in said} == {f"account {SHOP} is no member any more"}


def test_jobs_that_concern_it_are_stopped(room: Room, server: Server, channel: str, model: str) -> None:
    arn = room.infer(model, channel)
    put_out(room)
    assert room.get_job(arn)["status"] == "CANCEL_PENDING"
    (claim,) = server.run(server.application.store.claim(2))
    assert claim.stop
    assert statuses(room, channel, model) == ("DELETE_IN_PROGRESS", "DELETE_IN_PROGRESS")


def test_nothing_begins_with_what_a_removal_has_overtaken(
    room: Room, server: Server, channel: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checks were passed when the member was put out, in the moment before the job is accepted."""
    create = server.application.store.create

    async def overtaken(*arguments: Any, **more: Any) -> Any:
        parties, bank = server.application.parties, Owner(BANK, "us-east-1")
        await parties.remove(parties.collaboration(bank, room.collaboration), SHOP)
        return await create(*arguments, **more)

    monkeypatch.setattr(server.application.store, "create", overtaken)
    with pytest.raises(ClientError) as refused:
        room.infer(model, channel)
    assert refused.value.response["Error"]["Code"] == "ConflictException"
    assert "has left" in refused.value.response["Error"]["Message"]


def test_with_the_collaboration_all_of_it_goes(room: Room, server: Server, channel: str, model: str) -> None:
    arn = room.infer(model, channel)
    server.finish(INFERRED)
    room.rooms(BANK).delete_collaboration(collaborationIdentifier=room.collaboration)
    server.run(server.application.retention.look())
    server.sweep()
    for place in (f"channels/{channel[-36:]}", f"trained/{model[-36:]}", f"inferred/{arn[-36:]}"):
        assert not server.own(f"modelyard://{place}").exists()
    assert server.object("s3://bank-out/models").exists(), "what was delivered is its receiver's"
