"""Every operation on tables, rules, templates, budgets and queries, asked about what is another's."""

from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties
from tests.services.cleanrooms.tables import LIST, Room, custom, role
from tests.services.cleanrooms.test_budgets import LIFETIME, give
from tests.services.cleanrooms.test_collaborations import refusal
from tests.services.cleanrooms.test_templates import TEXT, write

from modelyard.app import Application

RULE = {"analysisRuleType": "CUSTOM"}
POLICY = {"analysisRulePolicy": custom(BANK)}
SHARED = {"analysisRulePolicy": {"v1": {"custom": {"allowedResultReceivers": []}}}}
BUDGET = {"privacyBudgetType": "ACCESS_BUDGET"}
TABLE = {
    "get_configured_table": {},
    "update_configured_table": {},
    "delete_configured_table": {},
    "create_configured_table_analysis_rule": RULE | {"analysisRulePolicy": LIST},
    "get_configured_table_analysis_rule": RULE,
    "update_configured_table_analysis_rule": RULE | POLICY,
    "delete_configured_table_analysis_rule": RULE,
}
ASSOCIATION = {
    "get_configured_table_association": {},
    "update_configured_table_association": {},
    "delete_configured_table_association": {},
    "create_configured_table_association_analysis_rule": RULE | SHARED,
    "get_configured_table_association_analysis_rule": RULE,
    "update_configured_table_association_analysis_rule": RULE | SHARED,
    "delete_configured_table_association_analysis_rule": RULE,
}
TEMPLATE: dict[str, dict[str, Any]] = {
    "get_analysis_template": {},
    "update_analysis_template": {},
    "delete_analysis_template": {},
}
BUDGETS = {
    "get_privacy_budget_template": {},
    "update_privacy_budget_template": BUDGET,
    "delete_privacy_budget_template": {},
}
QUERY = {"get_protected_query": {}, "update_protected_query": {"targetStatus": "CANCELLED"}}
MEMBERSHIP = {
    "list_configured_table_associations": {},
    "list_analysis_templates": {},
    "list_privacy_budget_templates": {},
    "list_privacy_budgets": BUDGET,
    "list_protected_queries": {},
    "create_configured_table_association": {
        "name": "other",
        "configuredTableIdentifier": UNKNOWN,
        "roleArn": role(STRANGER),
    },
    "create_analysis_template": {"name": "other", "format": "SQL", "source": {"text": TEXT}},
    "start_protected_query": {"type": "SQL", "sqlParameters": {"queryString": "SELECT email FROM clients"}},
}
COLLABORATION = {
    "list_schemas": {},
    "get_schema": {"name": "clients"},
    "batch_get_schema": {"names": ["clients"]},
    "get_schema_analysis_rule": {"name": "clients", "type": "CUSTOM"},
    "batch_get_schema_analysis_rule": {"schemaAnalysisRuleRequests": [{"name": "clients", "type": "CUSTOM"}]},
    "list_collaboration_analysis_templates": {},
    "list_collaboration_privacy_budgets": BUDGET,
    "list_collaboration_privacy_budget_templates": {},
    "get_collaboration_privacy_budget_template": {"privacyBudgetTemplateIdentifier": UNKNOWN},
}


class Full:
    """A room with one of everything, all of it the bank's; `ids` by the member of a request that names each."""

    def __init__(self, room: Room) -> None:
        association = room.rule("clients", custom(BANK), {"allowedResultReceivers": [BANK]})
        self.party = room.party
        self.memberships = {account: {"membershipIdentifier": id} for account, id in room.memberships.items()}
        self.ids = {
            "collaborationIdentifier": room.collaboration,
            "membershipIdentifier": room.memberships[BANK],
            "configuredTableIdentifier": association["configuredTableId"],
            "configuredTableAssociationIdentifier": association["id"],
            "analysisTemplateIdentifier": write(room, BANK)["id"],
            "privacyBudgetTemplateIdentifier": give(room, association["arn"], LIFETIME)["id"],
            "protectedQueryIdentifier": room.ask("SELECT email FROM clients")["id"],
        }

    def check(self, account: str, operation: str, member: str, **more: Any) -> None:
        """What is there and what is not are refused in the same words."""
        work, id = getattr(self.party(account), operation), self.ids[member]
        theirs = refusal(work, **more, **{member: id})
        nobodys = refusal(work, **more, **{member: UNKNOWN})
        assert theirs[0] in ("AccessDeniedException", "ResourceNotFoundException"), operation
        assert (theirs[0], theirs[1].replace(id, UNKNOWN)) == nobodys, operation


@pytest.fixture
def full(application: Application, loop: Loop, party: Parties) -> Full:
    return Full(Room(application, loop, party))


def test_what_is_the_banks_is_nobodys_to_the_shop(full: Full) -> None:
    for operation, more in TABLE.items():
        full.check(SHOP, operation, "configuredTableIdentifier", **more)
    own = full.memberships[SHOP]
    for member, operations in (
        ("configuredTableAssociationIdentifier", ASSOCIATION),
        ("analysisTemplateIdentifier", TEMPLATE),
        ("privacyBudgetTemplateIdentifier", BUDGETS),
        ("protectedQueryIdentifier", QUERY),
    ):
        for operation, more in operations.items():
            full.check(SHOP, operation, member, **more, **own)


def test_a_foreign_membership_opens_nothing(full: Full) -> None:
    for account in (SHOP, STRANGER):
        for operation, more in MEMBERSHIP.items():
            full.check(account, operation, "membershipIdentifier", **more)
        for member, operations in (
            ("configuredTableAssociationIdentifier", ASSOCIATION),
            ("analysisTemplateIdentifier", TEMPLATE),
            ("privacyBudgetTemplateIdentifier", BUDGETS),
            ("protectedQueryIdentifier", QUERY),
        ):
            for operation, more in operations.items():
                full.check(account, operation, member, **more, membershipIdentifier=full.ids["membershipIdentifier"])


def test_a_stranger_knows_no_collaboration(full: Full) -> None:
    for operation, more in COLLABORATION.items():
        full.check(STRANGER, operation, "collaborationIdentifier", **more)
