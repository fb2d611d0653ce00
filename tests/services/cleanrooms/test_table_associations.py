import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, UNKNOWN, Parties
from tests.services.cleanrooms.tables import LIST, Room, role
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


def test_a_table_is_brought_into_a_collaboration(room: Room) -> None:
    made = room.associated(description="who pays")
    membership = room.memberships[BANK]
    assert made["arn"] == (
        f"arn:aws:cleanrooms:us-east-1:{BANK}:membership/{membership}/configuredtableassociation/{made['id']}"
    )
    assert made["configuredTableArn"].endswith(made["configuredTableId"])
    asked = {"membershipIdentifier": membership, "configuredTableAssociationIdentifier": made["id"]}
    assert room.party().get_configured_table_association(**asked)["configuredTableAssociation"] == made
    changed = room.party().update_configured_table_association(**asked, description="other")
    assert changed["configuredTableAssociation"]["description"] == "other"
    listed = room.party().list_configured_table_associations(membershipIdentifier=membership)
    assert [one["id"] for one in listed["configuredTableAssociationSummaries"]] == [made["id"]]


def test_it_tells_which_rule_its_table_has(room: Room) -> None:
    association = room.rule("clients", LIST)
    listed = room.party().list_configured_table_associations(membershipIdentifier=room.memberships[BANK])
    (summary,) = listed["configuredTableAssociationSummaries"]
    assert (summary["id"], summary["analysisRuleTypes"]) == (association["id"], ["LIST"])


def test_a_name_is_one_table_in_the_whole_collaboration(room: Room) -> None:
    room.associated("clients")
    code, message = refusal(lambda: room.associated("visitors", name="CLIENTS"))
    assert code == "ConflictException"
    assert "a table called clients already" in message


def test_a_table_may_be_in_several_collaborations(room: Room) -> None:
    first, second = room.associated("clients"), Room(room.application, room.loop, room.party, register=False)
    again = second.associated("clients", configured=first["configuredTableId"])
    assert again["name"] == first["name"]
    assert again["id"] != first["id"]


def test_nobody_brings_what_is_anothers(room: Room) -> None:
    theirs = room.configured("visitors")["id"]
    assert refusal(lambda: room.associated("clients", configured=theirs))[0] == "ResourceNotFoundException"
    assert refusal(lambda: room.associated(roleArn=role(SHOP)))[0] == "AccessDeniedException"
    foreign = refusal(lambda: room.associated(membershipIdentifier=room.memberships[SHOP]))
    unknown = refusal(lambda: room.associated(membershipIdentifier=UNKNOWN))
    assert foreign[0] == "AccessDeniedException"
    assert (foreign[0], foreign[1].replace(room.memberships[SHOP], UNKNOWN)) == unknown


def test_an_association_with_a_budget_stays(room: Room) -> None:
    association = room.associated()
    budget = {"budgetParameters": [{"type": "LIFETIME", "budget": 3}], "resourceArn": association["arn"]}
    template = room.party().create_privacy_budget_template(
        membershipIdentifier=room.memberships[BANK],
        privacyBudgetType="ACCESS_BUDGET",
        parameters={"accessBudget": budget},
    )["privacyBudgetTemplate"]
    asked = {
        "membershipIdentifier": room.memberships[BANK],
        "configuredTableAssociationIdentifier": association["id"],
    }
    code, message = refusal(room.party().delete_configured_table_association, **asked)
    assert code == "ConflictException"
    assert template["id"] in message
    room.party().delete_privacy_budget_template(
        membershipIdentifier=room.memberships[BANK], privacyBudgetTemplateIdentifier=template["id"]
    )
    room.party().delete_configured_table_association(**asked)
    assert refusal(room.party().get_configured_table_association, **asked)[0] == "ResourceNotFoundException"
