"""ML input channels as boto3 meets them."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, SQL, Room, role
from tests.services.cleanroomsml.conftest import ROWS, TRAINED, Open, Server

from modelyard.services.cleanroomsml.channels import DAY_MS
from modelyard.services.cleanroomsml.retention import Retention


def refused(room: Room, **changes: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as error:
        room.channel(**changes)
    return error.value.response["Error"]["Code"], error.value.response["Error"]["Message"]


class TestCreate:
    def test_answers_an_arn_and_runs_the_query(self, room: Room, server: Server) -> None:
        arn = room.channel(description="for training", tags={"team": "risk"})
        assert arn.startswith(
            f"arn:aws:cleanrooms-ml:us-east-1:{BANK}:membership/{room.memberships[BANK]}/ml-input-channel/"
        )
        found = room.get_channel(arn)
        assert (found["status"], found["name"], found["retentionInDays"]) == ("CREATE_PENDING", "rows", 30)
        assert found["collaborationIdentifier"] == room.collaboration
        assert found["inputChannel"]["dataSource"]["protectedQueryInputParameters"]["sqlParameters"] == {
            "queryString": SQL
        }
        assert (found["tags"], found["description"]) == ({"team": "risk"}, "for training")
        assert not {"numberOfRecords", "sizeInGb", "statusDetails"} & found.keys()
        assert server.finish(ROWS) == ["query"]
        found = room.get_channel(arn)
        assert (found["status"], found["numberOfRecords"], found["numberOfFiles"], found["sizeInGb"]) == (
            "ACTIVE",
            40,
            1,
            1,
        )

    def test_is_refused_with_the_rule_that_says_no_and_leaves_nothing(self, room: Room, server: Server) -> None:
        code, text = refused(room, sql="SELECT email FROM visitors")
        assert code == "ValidationException"
        assert "inputChannel: table visitors: " in text
        assert "email" in text
        assert (
            room.ml(BANK).list_ml_input_channels(membershipIdentifier=room.memberships[BANK])["mlInputChannelsList"]
            == []
        )
        (entry,) = server.audit(SHOP, room.collaboration)
        assert (entry.action, entry.actor, entry.used) == ("refused", BANK, "visitors")

    def test_is_for_the_member_that_may_query(self, room: Room) -> None:
        code, text = refused(room, account=SHOP)
        assert (code, "CAN_QUERY" in text) == ("AccessDeniedException", True)

    def test_wants_a_role_of_the_callers(self, room: Room) -> None:
        source = {"protectedQueryInputParameters": {"sqlParameters": {"queryString": SQL}}}
        code, text = refused(room, inputChannel={"roleArn": role(SHOP), "dataSource": source})
        assert (code, "another account" in text) == ("AccessDeniedException", True)

    def test_wants_an_association_of_this_collaboration(self, room: Room, open_room: Open) -> None:
        elsewhere = room.association[:-4] + "0000"
        assert refused(room, configuredModelAlgorithmAssociations=[elsewhere])[0] == "ResourceNotFoundException"

    def test_asked_twice_at_once_makes_one(self, room: Room) -> None:
        assert room.channel() == room.channel()
        assert room.channel() != room.channel(name="others")

    def test_asked_again_after_a_failure_makes_another(self, room: Room, server: Server) -> None:
        first = room.channel()
        server.step(failure="The query takes too long")
        assert room.channel() != first

    def test_no_more_than_five_at_once(self, room: Room, server: Server) -> None:
        for n in range(5):
            room.channel(name=f"rows-{n}")
        with pytest.raises(ClientError) as error:
            room.channel(name="rows-5")
        response = error.value.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 402
        assert (response["Error"]["Code"], response["quotaValue"]) == ("ServiceQuotaExceededException", 5)
        server.finish(ROWS, ROWS, ROWS, ROWS, ROWS)
        room.channel(name="rows-5")


class TestFailures:
    def test_of_a_query_are_told(self, room: Room, server: Server) -> None:
        arn = room.channel()
        server.step(failure="Column income of table clients has a value that is no number")
        found = room.get_channel(arn)
        assert found["status"] == "CREATE_FAILED"
        assert found["statusDetails"]["statusCode"] == "QUERY_FAILED"
        assert "income" in found["statusDetails"]["message"]

    def test_that_nobody_foresaw_tell_nothing(self, room: Room, server: Server) -> None:
        arn = room.channel()
        server.step(failure="ConversionException: Conversion Error: could not convert 'p7@example.com'")
        details = room.get_channel(arn)["statusDetails"]
        assert details["statusCode"] == "INTERNAL"
        assert "p7" not in details["message"]


class TestOthers:
    def test_see_a_channel_without_its_query_and_sizes(self, room: Room, channel: str) -> None:
        found = room.ml(SHOP).get_collaboration_ml_input_channel(
            collaborationIdentifier=room.collaboration, mlInputChannelArn=channel
        )
        assert (found["creatorAccountId"], found["status"], found["numberOfRecords"]) == (BANK, "ACTIVE", 40)
        assert not {"inputChannel", "protectedQueryIdentifier", "numberOfFiles", "sizeInGb", "tags"} & found.keys()
        (item,) = room.ml(SHOP).list_collaboration_ml_input_channels(collaborationIdentifier=room.collaboration)[
            "collaborationMLInputChannelsList"
        ]
        assert (item["mlInputChannelArn"], item["creatorAccountId"]) == (channel, BANK)
        assert "protectedQueryIdentifier" not in item

    def test_find_in_their_audit_log_what_was_read(self, room: Room, server: Server, channel: str) -> None:
        for account, table in ((BANK, "clients"), (SHOP, "visitors")):
            mine = [entry for entry in server.audit(account, room.collaboration) if entry.account == account]
            assert [(entry.action, entry.used, entry.actor) for entry in mine] == [
                ("query", table, BANK),
                ("channel", table, BANK),
            ]
            assert (mine[1].amount, mine[1].unit, mine[1].left) == (40, "rows", "")
            assert mine[0].rule


class TestDeletion:
    def test_removes_the_rows_and_leaves_the_channel(self, room: Room, server: Server, channel: str) -> None:
        folder = server.own(f"modelyard://channels/{channel.rpartition('/')[2]}")
        assert folder.exists()
        named = {"membershipIdentifier": room.memberships[BANK], "mlInputChannelArn": channel}
        room.ml(BANK).delete_ml_input_channel_data(**named)
        assert room.get_channel(channel)["status"] == "DELETE_IN_PROGRESS"
        server.sweep()
        assert not folder.exists()
        assert room.get_channel(channel)["status"] == "INACTIVE"
        with pytest.raises(ClientError, match="INACTIVE"):
            room.train(channel)
        room.ml(BANK).delete_ml_input_channel_data(**named)

    def test_waits_for_those_that_read(self, room: Room, server: Server, channel: str) -> None:
        named = {"membershipIdentifier": room.memberships[BANK], "mlInputChannelArn": channel}
        room.train(channel)
        with pytest.raises(ClientError, match="used by model") as error:
            room.ml(BANK).delete_ml_input_channel_data(**named)
        assert error.value.response["Error"]["Code"] == "ConflictException"
        assert room.get_channel(channel)["status"] == "ACTIVE"
        server.finish()
        room.ml(BANK).delete_ml_input_channel_data(**named)

    def test_comes_by_itself_when_the_days_are_over(
        self, room: Room, server: Server, channel: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        retention = Retention(server.application.clean_rooms_ml)
        server.run(retention.look())
        assert room.get_channel(channel)["status"] == "ACTIVE"
        created = room.get_channel(channel)["createTime"].timestamp() * 1000
        monkeypatch.setattr(f"{Retention.__module__}.now", lambda: int(created) + 30 * DAY_MS + 60_000)
        server.run(retention.look())
        server.sweep()
        assert room.get_channel(channel)["status"] == "INACTIVE"

    def test_that_a_crash_cut_short_goes_on(self, room: Room, server: Server, channel: str) -> None:
        backend = server.application.clean_rooms_ml
        row = server.do(lambda: backend.resources.all_of("ml-input-channel"))[0]
        server.run(backend.resources.change(row, status="erased"))
        server.run(Retention(backend).look())
        server.sweep()
        assert room.get_channel(channel)["status"] == "INACTIVE"


class TestBudgets:
    def test_are_shown_and_spent_by_channels_training_and_inference(self, room: Room, server: Server) -> None:
        rooms, mine = room.rooms(SHOP), room.memberships[SHOP]
        (table,) = rooms.list_configured_table_associations(membershipIdentifier=mine)[
            "configuredTableAssociationSummaries"
        ]
        arn = f"arn:aws:cleanrooms:us-east-1:{SHOP}:membership/{mine}/configuredtableassociation/{table['id']}"
        rooms.create_privacy_budget_template(
            membershipIdentifier=mine,
            privacyBudgetType="ACCESS_BUDGET",
            parameters={"accessBudget": {"budgetParameters": [{"type": "LIFETIME", "budget": 2}], "resourceArn": arn}},
        )
        channel = room.channel()
        (budget,) = room.get_channel(channel)["privacyBudgets"]["accessBudgets"]
        assert (budget["resourceArn"], budget["aggregateRemainingBudget"]) == (arn, 1)
        server.finish(ROWS)
        model = room.train(channel)["trainedModelArn"]
        server.finish(TRAINED)
        with pytest.raises(ClientError, match="budget of table visitors is spent") as error:
            room.infer(model, channel)
        assert error.value.response["Error"]["Code"] == "ValidationException"
        code, text = refused(room, name="more")
        assert (code, "BUDGET_SPENT" in text) == ("ValidationException", True)
        room.channel(name="own", sql="SELECT income FROM clients")


class TestLists:
    def test_go_on_from_page_to_page(self, room: Room, server: Server) -> None:
        arns = []
        for n in range(3):
            arns.append(room.channel(name=f"rows-{n}"))
            server.finish(ROWS)
        pages = (
            room.ml(BANK)
            .get_paginator("list_ml_input_channels")
            .paginate(membershipIdentifier=room.memberships[BANK], PaginationConfig={"PageSize": 2})
        )
        found = [[item["mlInputChannelArn"] for item in page["mlInputChannelsList"]] for page in pages]
        assert found == [[arns[2], arns[1]], [arns[0]]]

    def test_take_no_token_of_others(self, room: Room) -> None:
        with pytest.raises(ClientError, match="none of ours"):
            room.ml(BANK).list_ml_input_channels(membershipIdentifier=room.memberships[BANK], nextToken="x'; --")
