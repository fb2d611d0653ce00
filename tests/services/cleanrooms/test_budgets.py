from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, Parties
from tests.services.cleanrooms.tables import Room
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application

DAILY = {"type": "CALENDAR_DAY", "budget": 2, "autoRefresh": "ENABLED"}
LIFETIME = {"type": "LIFETIME", "budget": 5}


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


def give(room: Room, arn: str, *budgets: dict[str, Any], account: str = BANK) -> dict[str, Any]:
    made: dict[str, Any] = room.party(account).create_privacy_budget_template(
        membershipIdentifier=room.memberships[account],
        privacyBudgetType="ACCESS_BUDGET",
        parameters={"accessBudget": {"budgetParameters": list(budgets), "resourceArn": arn}},
    )
    return dict(made["privacyBudgetTemplate"])


def left(room: Room, account: str = SHOP) -> list[dict[str, Any]]:
    found = room.party(account).list_collaboration_privacy_budgets(
        collaborationIdentifier=room.collaboration, privacyBudgetType="ACCESS_BUDGET"
    )
    return [one["budget"]["accessBudget"] for one in found["collaborationPrivacyBudgetSummaries"]]


def test_a_table_has_budgets_that_all_members_see(room: Room) -> None:
    arn = room.associated()["arn"]
    made = give(room, arn, DAILY, LIFETIME)
    assert made["parameters"]["accessBudget"] == {"budgetParameters": [DAILY, LIFETIME], "resourceArn": arn}
    (budget,) = left(room)
    assert (budget["resourceArn"], budget["aggregateRemainingBudget"]) == (arn, 2)
    daily, lifetime = budget["details"]
    assert (daily["remainingBudget"], (daily["endTime"] - daily["startTime"]).total_seconds()) == (2, 24 * 60 * 60)
    assert (lifetime["remainingBudget"], "endTime" in lifetime) == (5, False)
    where = {"collaborationIdentifier": room.collaboration}
    shop = room.party(SHOP)
    (listed,) = shop.list_collaboration_privacy_budget_templates(**where)["collaborationPrivacyBudgetTemplateSummaries"]
    assert (listed["id"], listed["creatorAccountId"]) == (made["id"], BANK)
    seen = shop.get_collaboration_privacy_budget_template(**where, privacyBudgetTemplateIdentifier=made["id"])
    assert seen["collaborationPrivacyBudgetTemplate"]["parameters"] == made["parameters"]
    stranger = room.party(STRANGER)
    assert refusal(stranger.list_collaboration_privacy_budget_templates, **where)[0] == "AccessDeniedException"


def test_the_owner_lists_changes_and_deletes_it(room: Room) -> None:
    arn, bank = room.associated()["arn"], room.party()
    made = give(room, arn, DAILY)
    member = {"membershipIdentifier": room.memberships[BANK]}
    asked = {**member, "privacyBudgetTemplateIdentifier": made["id"]}
    assert bank.get_privacy_budget_template(**asked)["privacyBudgetTemplate"] == made
    assert [one["id"] for one in bank.list_privacy_budget_templates(**member)["privacyBudgetTemplateSummaries"]] == [
        made["id"]
    ]
    (budget,) = bank.list_privacy_budgets(**member, privacyBudgetType="ACCESS_BUDGET")["privacyBudgetSummaries"]
    assert budget["budget"]["accessBudget"]["aggregateRemainingBudget"] == 2
    more = {"accessBudget": {"budgetParameters": [{**DAILY, "budget": 7}]}}
    bank.update_privacy_budget_template(**asked, privacyBudgetType="ACCESS_BUDGET", parameters=more)
    assert left(room)[0]["aggregateRemainingBudget"] == 7
    bank.delete_privacy_budget_template(**asked)
    assert left(room) == []


@pytest.mark.parametrize(
    ("budgets", "told"),
    [
        ((DAILY, {**DAILY, "type": "CALENDAR_WEEK"}), "two budgets are one for each day"),
        ((LIFETIME, LIFETIME), "two budgets are one for each day"),
        (({**LIFETIME, "autoRefresh": "ENABLED"},), "never refreshed"),
    ],
)
def test_budgets_that_contradict_each_other_are_refused(room: Room, budgets: Any, told: str) -> None:
    arn = room.associated()["arn"]
    code, message = refusal(lambda: give(room, arn, *budgets))
    assert code == "ValidationException"
    assert told in message


def test_budgets_are_for_the_members_own_tables_once(room: Room) -> None:
    arn = room.associated()["arn"]
    assert "is no configured table association" in refusal(lambda: give(room, arn, DAILY, account=SHOP))[1]
    give(room, arn, DAILY)
    assert refusal(lambda: give(room, arn, LIFETIME))[0] == "ConflictException"


def test_differential_privacy_is_refused_by_name(room: Room) -> None:
    code, message = refusal(
        room.party().create_privacy_budget_template,
        membershipIdentifier=room.memberships[BANK],
        privacyBudgetType="DIFFERENTIAL_PRIVACY",
        parameters={"differentialPrivacy": {"epsilon": 3, "usersNoisePerQuery": 20}},
    )
    assert code == "ValidationException"
    assert "no noise is added" in message
