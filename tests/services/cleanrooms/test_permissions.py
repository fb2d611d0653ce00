"""Who may call what: every operation, asked about one's own, about others' and about what nobody has."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties
from tests.services.cleanrooms.tables import JOINED, Room, custom, role
from tests.services.cleanrooms.test_budgets import LIFETIME, give
from tests.services.cleanrooms.test_templates import write

from modelyard.app import Application

OF_ACCOUNTS = {
    "create_collaboration",
    "create_configured_table",
    "list_collaborations",
    "list_configured_tables",
    "list_memberships",
}
"""Operations that name nothing that could be another's."""
WITH_MEMBERS = {"get_collaboration", "list_members", "create_membership"}
SHARED = {"custom": {"allowedResultReceivers": [BANK]}}


class Brought:
    """A room in which the bank has one of everything: the facts that requests name it by, and its ids."""

    def __init__(self, room: Room) -> None:
        associations = room.open()
        template, query = write(room, BANK), room.ask()
        association = associations["clients"]
        budget = give(room, association["arn"], LIFETIME)
        self.room = room
        self.members: dict[str, Any] = {
            "membershipIdentifier": room.memberships[BANK],
            "collaborationIdentifier": room.collaboration,
            "configuredTableIdentifier": association["configuredTableId"],
            "configuredTableAssociationIdentifier": association["id"],
            "analysisTemplateIdentifier": template["id"],
            "privacyBudgetTemplateIdentifier": budget["id"],
            "protectedQueryIdentifier": query["id"],
        }
        self.ids = list(self.members.values())
        budgets = {"budgetParameters": [LIFETIME], "resourceArn": association["arn"]}
        self.members |= {
            "accountId": SHOP,
            "analysisTemplateArn": template["arn"],
            "analysisTemplateArns": [template["arn"]],
            "resourceArn": association["arn"],
            "name": "clients",
            "names": ["clients"],
            "schemaAnalysisRuleRequests": [{"name": "clients", "type": "CUSTOM"}],
            "type": "CUSTOM",
            "analysisRuleType": "CUSTOM",
            "analysisRulePolicy": custom(BANK),
            "roleArn": role(BANK),
            "source": {"text": "SELECT 1 FROM clients"},
            "format": "SQL",
            "privacyBudgetType": "ACCESS_BUDGET",
            "parameters": {"accessBudget": budgets},
            "queryLogStatus": "DISABLED",
            "targetStatus": "CANCELLED",
            "tags": {"a": "b"},
            "tagKeys": ["a"],
            "sqlParameters": {"queryString": JOINED},
        }

    def request(self, client: Any, operation: str) -> dict[str, Any]:
        """What the operation needs, about what the bank has."""
        model = client.meta.service_model.operation_model(client.meta.method_to_api_mapping[operation])
        asked = {member: self.members[member] for member in model.input_shape.required_members}
        if operation.endswith("association_analysis_rule") and "analysisRulePolicy" in asked:
            asked["analysisRulePolicy"] = {"v1": SHARED}
        return asked | ({"type": "SQL"} if operation == "start_protected_query" else {})

    def nowhere(self, request: Mapping[str, Any], kept: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The same request about what nobody has."""
        text = json.dumps(request)
        for id in self.ids:
            text = text if id in kept else text.replace(id, UNKNOWN)
        return dict(json.loads(text))

    def answer(self, client: Any, operation: str, request: Mapping[str, Any]) -> tuple[str, str]:
        """Code and message of the refusal, whatever ids it was about."""
        with pytest.raises(ClientError) as error:
            getattr(client, operation)(**request)
        found = error.value.response["Error"]
        for id in self.ids:
            found = {name: text.replace(id, UNKNOWN) for name, text in found.items() if isinstance(text, str)}
        return found["Code"], found["Message"]


@pytest.fixture
def brought(application: Application, loop: Loop, party: Parties) -> Brought:
    return Brought(Room(application, loop, party))


@pytest.fixture
def operations(application: Application) -> list[str]:
    (service,) = [one for one in application.endpoint.services if one.name == "cleanrooms"]
    return [name for name in service.handlers if name not in OF_ACCOUNTS]


def test_a_stranger_is_told_the_same_of_what_is_there_and_of_what_is_not(
    brought: Brought, operations: list[str]
) -> None:
    stranger = brought.room.party(STRANGER)
    for operation in operations:
        asked = brought.request(stranger, operation)
        there = brought.answer(stranger, operation, asked)
        assert there == brought.answer(stranger, operation, brought.nowhere(asked)), operation
        assert there[0] in ("AccessDeniedException", "ResourceNotFoundException"), operation


def test_a_member_acts_in_its_own_membership_alone(brought: Brought, operations: list[str]) -> None:
    shop = brought.room.party(SHOP)
    for operation in operations:
        asked = brought.request(shop, operation)
        if "membershipIdentifier" in asked:
            there = brought.answer(shop, operation, asked)
            assert there == brought.answer(shop, operation, brought.nowhere(asked)), operation
            assert there[0] == "AccessDeniedException", operation


def test_what_another_member_brought_is_as_if_it_were_not_there(brought: Brought, operations: list[str]) -> None:
    """In its own membership, and of its own account, the shop asks about what is the bank's."""
    shop, own = brought.room.party(SHOP), brought.room.memberships[SHOP]
    tried = set()
    for operation in operations:
        asked = brought.request(shop, operation)
        named = {*asked} & {name for name in brought.members if brought.members[name] in brought.ids}
        if "collaborationIdentifier" in asked or not (named - {"membershipIdentifier"} or "resourceArn" in str(asked)):
            continue
        if "membershipIdentifier" in asked:
            asked["membershipIdentifier"] = own
        if "roleArn" in asked:
            asked["roleArn"] = role(SHOP)
        there = brought.answer(shop, operation, asked)
        assert there == brought.answer(shop, operation, brought.nowhere(asked)), operation
        tried.add(operation)
    assert len(tried) > 25


def test_who_was_put_out_is_a_stranger(brought: Brought, operations: list[str]) -> None:
    room = brought.room
    room.party().delete_member(collaborationIdentifier=room.collaboration, accountId=SHOP)
    shop, stranger = room.party(SHOP), room.party(STRANGER)
    for operation in operations:
        asked = brought.request(shop, operation)
        if "collaborationIdentifier" in asked:
            told, other = (brought.answer(one, operation, asked) for one in (shop, stranger))
            assert told == other, operation


def test_who_is_invited_sees_who_else_is_and_nothing_that_they_brought(
    application: Application, loop: Loop, party: Parties, operations: list[str]
) -> None:
    brought = Brought(Room(application, loop, party))
    left = brought.room.party(SHOP)
    made = party().create_collaboration(
        name="next",
        creatorDisplayName="bank",
        creatorMemberAbilities=["CAN_QUERY"],
        members=[{"accountId": SHOP, "displayName": "shop", "memberAbilities": []}],
        queryLogStatus="DISABLED",
    )["collaboration"]["id"]
    for operation in operations:
        asked = brought.request(left, operation)
        if "collaborationIdentifier" in asked and operation not in WITH_MEMBERS:
            code, _ = brought.answer(left, operation, {**asked, "collaborationIdentifier": made})
            assert code == "AccessDeniedException", operation
