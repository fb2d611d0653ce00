from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, Parties
from tests.services.cleanrooms.tables import ASSOCIATION, LIST, Room, custom
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application

AGGREGATION = {
    "aggregateColumns": [{"columnNames": ["income"], "function": "SUM"}],
    "joinColumns": ["email"],
    "dimensionColumns": [],
    "scalarFunctions": [],
    "outputConstraints": [{"columnName": "email", "minimum": 10, "type": "COUNT_DISTINCT"}],
}


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


def rule_of(room: Room, id: str, type: str = "LIST") -> dict[str, Any]:
    return {"configuredTableIdentifier": id, "analysisRuleType": type}


def test_a_table_has_one_rule(room: Room) -> None:
    bank, id = room.party(), room.configured()["id"]
    made = bank.create_configured_table_analysis_rule(**rule_of(room, id), analysisRulePolicy=LIST)["analysisRule"]
    assert (made["type"], made["policy"], made["configuredTableId"]) == ("LIST", LIST, id)
    assert bank.get_configured_table(configuredTableIdentifier=id)["configuredTable"]["analysisRuleTypes"] == ["LIST"]
    assert bank.get_configured_table_analysis_rule(**rule_of(room, id))["analysisRule"] == made
    second = {**rule_of(room, id, "CUSTOM"), "analysisRulePolicy": custom(BANK)}
    code, message = refusal(bank.create_configured_table_analysis_rule, **second)
    assert code == "ConflictException"
    assert "has a rule already, of type LIST" in message


def test_a_rule_is_changed_and_deleted(room: Room) -> None:
    bank, id = room.party(), room.configured()["id"]
    bank.create_configured_table_analysis_rule(**rule_of(room, id), analysisRulePolicy=LIST)
    stricter = {"v1": {"list": {"joinColumns": ["email"], "listColumns": []}}}
    changed = bank.update_configured_table_analysis_rule(**rule_of(room, id), analysisRulePolicy=stricter)
    assert changed["analysisRule"]["policy"] == stricter
    other = rule_of(room, id, "CUSTOM")
    assert refusal(bank.get_configured_table_analysis_rule, **other)[0] == "ResourceNotFoundException"
    assert refusal(bank.delete_configured_table_analysis_rule, **other)[0] == "ResourceNotFoundException"
    bank.delete_configured_table_analysis_rule(**rule_of(room, id))
    assert refusal(bank.get_configured_table_analysis_rule, **rule_of(room, id))[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("type", "policy", "told"),
    [
        ("CUSTOM", LIST, "has the member custom, not list"),
        ("LIST", {"v1": {"list": {"joinColumns": ["email"], "listColumns": ["email"]}}}, "in joinColumns and in list"),
        ("LIST", {"v1": {"list": {"joinColumns": ["phone"], "listColumns": []}}}, "phone, which list.joinColumns"),
        ("AGGREGATION", {"v1": {"aggregation": {**AGGREGATION, "dimensionColumns": ["secret"]}}}, "secret, which"),
        (
            "AGGREGATION",
            {"v1": {"aggregation": {**AGGREGATION, "dimensionColumns": ["income"]}}},
            "income is in aggregateColumns and in dimensionColumns",
        ),
        ("CUSTOM", {"v1": {"custom": {"allowedAnalyses": ["ANY_QUERY"]}}}, "allowedAnalysisProviders"),
        (
            "CUSTOM",
            custom(BANK, differentialPrivacy={"columns": [{"name": "email"}]}),
            "differentialPrivacy is not served",
        ),
        (
            "CUSTOM",
            custom(
                BANK, comparisonControls={"allowedLiteralComparisonColumns": [], "allowedColumnComparisonColumns": []}
            ),
            "comparisonControls is not served",
        ),
        ("CUSTOM", custom(BANK, allowedResultReceivers=[BANK]), "belongs in the association's analysis rule"),
    ],
)
def test_a_rule_that_would_not_be_kept_is_refused(room: Room, type: str, policy: Any, told: str) -> None:
    id = room.configured()["id"]
    asked = {**rule_of(room, id, type), "analysisRulePolicy": policy}
    code, message = refusal(room.party().create_configured_table_analysis_rule, **asked)
    assert code == "ValidationException"
    assert told in message


def test_an_association_has_a_rule_of_its_own(room: Room) -> None:
    association = room.rule("clients", LIST)
    bank = room.party()
    asked = {
        "membershipIdentifier": room.memberships[BANK],
        "configuredTableAssociationIdentifier": association["id"],
        "analysisRuleType": "LIST",
    }
    policy = {"v1": {"list": {"allowedResultReceivers": [SHOP], "allowedAdditionalAnalyses": [ASSOCIATION]}}}
    made = bank.create_configured_table_association_analysis_rule(**asked, analysisRulePolicy=policy)["analysisRule"]
    assert (made["policy"], made["configuredTableAssociationArn"]) == (policy, association["arn"])
    assert bank.get_configured_table_association_analysis_rule(**asked)["analysisRule"] == made
    again = refusal(bank.create_configured_table_association_analysis_rule, **asked, analysisRulePolicy=policy)
    assert again[0] == "ConflictException"
    nobody = {"v1": {"list": {"allowedResultReceivers": []}}}
    changed = bank.update_configured_table_association_analysis_rule(**asked, analysisRulePolicy=nobody)
    assert changed["analysisRule"]["policy"] == nobody
    bank.delete_configured_table_association_analysis_rule(**asked)
    assert refusal(bank.get_configured_table_association_analysis_rule, **asked)[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("type", "members", "told"),
    [
        ("CUSTOM", {"allowedResultReceivers": []}, "the table's rule is of type LIST"),
        ("LIST", {"allowedResultReceivers": [STRANGER]}, "no member with the ability CAN_RECEIVE_RESULTS"),
    ],
)
def test_an_associations_rule_fits_its_table_and_its_members(
    room: Room, type: str, members: dict[str, Any], told: str
) -> None:
    association = room.rule("clients", LIST)
    code, message = refusal(
        room.party().create_configured_table_association_analysis_rule,
        membershipIdentifier=room.memberships[BANK],
        configuredTableAssociationIdentifier=association["id"],
        analysisRuleType=type,
        analysisRulePolicy={"v1": {type.lower(): members}},
    )
    assert code == "ValidationException"
    assert told in message
