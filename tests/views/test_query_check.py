import json
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.boto import Loop, Send
from tests.services.cleanrooms.conftest import application, party  # noqa: F401 (fixtures)
from tests.services.cleanrooms.tables import ASSOCIATION, BANK, JOINED, SHOP, Room, custom
from tests.services.cleanrooms.test_budgets import LIFETIME, give
from tests.services.cleanrooms.test_templates import write

from modelyard.app import Application


@pytest.fixture
def room(application: Application, loop: Loop, party: Any) -> Room:  # noqa: F811
    return Room(application, loop, party)


@pytest.fixture
def check(room: Room, send: Send) -> Any:
    """A function `(account, **query) -> verdict`, for the account's membership."""

    def ask(account: str, **query: str) -> tuple[int, Any]:
        scope = f"AWS4-HMAC-SHA256 Credential={account}/20260101/us-east-1/modelyard/aws4_request, Signature=0"
        path = f"/-/query-check/?{urlencode({'membership': room.memberships[account], **query})}"
        status, _, body = send(room.application.endpoint, "POST", path, headers={"authorization": scope})
        return status, json.loads(body)

    return ask


def test_any_member_can_ask_what_the_rules_say(room: Room, check: Any) -> None:
    room.open()
    for account in (BANK, SHOP):
        status, verdict = check(account, sql=JOINED)
        assert (status, verdict["allowed"]) == (200, True)
        assert (sorted(verdict["tables"]), verdict["columns"]) == (["clients", "visitors"], ["income", "visits"])
        assert verdict["rules"]
    listed = room.party().list_protected_queries(membershipIdentifier=room.memberships[BANK])
    assert listed["protectedQueries"] == []


def test_the_rule_that_says_no_is_named(room: Room, check: Any) -> None:
    room.rule("clients", custom(BANK, disallowedOutputColumns=["email"]), {"allowedResultReceivers": [BANK]})
    _, verdict = check(SHOP, sql="SELECT upper(email) AS e FROM clients")
    assert (verdict["allowed"], verdict["table"]) == (False, "clients")
    assert "email" in verdict["reason"]
    assert check(SHOP, sql="SELECT income FROM clients")[1]["allowed"] is True
    assert check(SHOP, sql="SELECT income FROM clients", receiver=SHOP)[1]["code"] == "RESULT_RECEIVERS_NOT_ALLOWED"


def test_a_channel_is_judged_by_the_model_that_it_feeds(room: Room, check: Any) -> None:
    policy = custom(BANK, additionalAnalyses="REQUIRED")
    room.rule("clients", policy, {"allowedResultReceivers": [], "allowedAdditionalAnalyses": [ASSOCIATION]})
    sql = "SELECT income FROM clients"
    assert check(BANK, sql=sql, model_association=ASSOCIATION)[1]["allowed"] is True
    other = ASSOCIATION[:-1] + "3"
    assert check(BANK, sql=sql, model_association=other)[1]["code"] == "ADDITIONAL_ANALYSES_NOT_ALLOWED"
    assert check(BANK, sql=sql)[1]["allowed"] is False


def test_a_spent_budget_says_no_and_is_not_touched_by_asking(room: Room, check: Any) -> None:
    tables = room.open()
    give(room, tables["clients"]["arn"], {**LIFETIME, "budget": 1})
    for _ in range(2):
        assert check(BANK, sql=JOINED)[1]["budgets"] == {"clients": 1}
    room.ask()
    assert check(BANK, sql=JOINED)[1]["code"] == "BUDGET_SPENT"


def test_a_template_is_judged_with_its_parameters(room: Room, check: Any) -> None:
    template = write(room)["arn"]
    allowed = {"v1": {"custom": {"allowedAnalyses": [template]}}}
    for table in ("clients", "visitors"):
        room.rule(table, allowed, {"allowedResultReceivers": [BANK]})
    assert check(SHOP, template=template, **{"parameter.least": "5"})[1]["allowed"] is True
    assert check(SHOP, template=template, **{"parameter.most": "5"})[1]["code"] == "PARAMETER_UNKNOWN"
    assert check(SHOP, sql=JOINED)[1]["allowed"] is False


def test_others_are_told_nothing(room: Room, check: Any) -> None:
    room.open()
    assert check(BANK, membership=room.memberships[SHOP], sql=JOINED)[0] == 404
    assert check(BANK)[0] == 400
