from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, Parties
from tests.services.cleanrooms.tables import ASSOCIATION, LIST, Room
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


def schema(room: Room, account: str = SHOP, name: str = "clients") -> dict[str, Any]:
    found = room.party(account).get_schema(collaborationIdentifier=room.collaboration, name=name)
    return dict(found["schema"])


def codes(found: dict[str, Any]) -> dict[str, list[str]]:
    """What stands in the way, by the type of analysis."""
    return {
        one["analysisType"]: [reason["code"] for reason in one.get("reasons", [])]
        for one in found["schemaStatusDetails"]
    }


def test_every_member_sees_the_allowed_columns_alone(room: Room) -> None:
    association = room.rule("clients", LIST)
    found = schema(room)
    assert found["columns"] == [{"name": "email", "type": "string"}, {"name": "income", "type": "bigint"}]
    assert (found["creatorAccountId"], found["resourceArn"]) == (BANK, association["arn"])
    assert (found["type"], found["analysisRuleTypes"], found["partitionKeys"]) == ("TABLE", ["LIST"], [])
    where = {"collaborationIdentifier": room.collaboration}
    assert refusal(room.party(STRANGER).get_schema, **where, name="clients")[0] == "AccessDeniedException"
    assert refusal(room.party(SHOP).get_schema, **where, name="visitors")[0] == "ResourceNotFoundException"


def test_it_tells_what_keeps_a_table_from_being_queried(room: Room) -> None:
    room.associated("clients")
    missing = ["ANALYSIS_RULE_MISSING"]
    assert codes(schema(room)) == {"DIRECT_ANALYSIS": missing, "ADDITIONAL_ANALYSIS": missing}
    policy = {"v1": {"list": {"joinColumns": ["email"], "listColumns": ["visits"], "additionalAnalyses": "ALLOWED"}}}
    shared = {"allowedResultReceivers": [BANK], "allowedAdditionalAnalyses": [ASSOCIATION]}
    room.rule("visitors", policy, shared)
    found = schema(room, name="visitors")
    assert codes(found) == {"DIRECT_ANALYSIS": [], "ADDITIONAL_ANALYSIS": []}
    assert {one["status"] for one in found["schemaStatusDetails"]} == {"READY"}


def test_schemas_come_by_page_and_by_name(room: Room) -> None:
    room.associated("clients")
    room.associated("visitors")
    pages = room.party(SHOP).get_paginator("list_schemas")
    names = [
        one["name"]
        for page in pages.paginate(collaborationIdentifier=room.collaboration, PaginationConfig={"PageSize": 1})
        for one in page["schemaSummaries"]
    ]
    assert names == ["visitors", "clients"]
    both = room.party(SHOP).batch_get_schema(collaborationIdentifier=room.collaboration, names=["clients", "nothing"])
    assert [one["name"] for one in both["schemas"]] == ["clients"]
    assert [(one["name"], one["code"]) for one in both["errors"]] == [("nothing", "ResourceNotFoundException")]


def test_rules_are_shown_with_those_of_the_association(room: Room) -> None:
    shared = {"allowedResultReceivers": [BANK]}
    room.rule("clients", LIST, shared)
    asked = {"collaborationIdentifier": room.collaboration, "name": "clients"}
    rule = room.party(SHOP).get_schema_analysis_rule(**asked, type="LIST")["analysisRule"]
    assert (rule["policy"], rule["collaborationPolicy"]) == (LIST, {"v1": {"list": shared}})
    assert rule["consolidatedPolicy"] == {"v1": {"list": {**LIST["v1"]["list"], **shared}}}
    other = refusal(room.party(SHOP).get_schema_analysis_rule, **asked, type="CUSTOM")
    assert other[0] == "ResourceNotFoundException"
    several = [{"name": "clients", "type": "LIST"}, {"name": "clients", "type": "CUSTOM"}]
    both = room.party(SHOP).batch_get_schema_analysis_rule(
        collaborationIdentifier=room.collaboration, schemaAnalysisRuleRequests=several
    )
    assert [one["type"] for one in both["analysisRules"]] == ["LIST"]
    assert [one["type"] for one in both["errors"]] == ["CUSTOM"]


def test_the_tables_of_a_member_that_was_put_out_are_gone(room: Room) -> None:
    room.associated("visitors")
    room.party().delete_member(collaborationIdentifier=room.collaboration, accountId=SHOP)
    assert room.party().list_schemas(collaborationIdentifier=room.collaboration)["schemaSummaries"] == []
