from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties
from tests.services.cleanrooms.tables import Room
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application

TEXT = (
    "WITH rich AS (SELECT email FROM clients WHERE income > :least) "
    "SELECT v.visits FROM visitors v JOIN rich USING (email)"
)
LEAST = {"name": "least", "type": "INTEGER", "defaultValue": "1000"}


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


def write(room: Room, account: str = SHOP, **given: Any) -> dict[str, Any]:
    request = {
        "membershipIdentifier": room.memberships[account],
        "name": "rich visitors",
        "format": "SQL",
        "source": {"text": TEXT},
        "analysisParameters": [LEAST],
    }
    made: dict[str, Any] = room.party(account).create_analysis_template(**{**request, **given})
    return dict(made["analysisTemplate"])


def test_a_template_names_the_tables_that_it_reads(room: Room) -> None:
    made = write(room, description="who visits often")
    assert made["schema"] == {"referencedTables": ["clients", "visitors"]}
    assert (made["source"], made["analysisParameters"]) == ({"text": TEXT}, [LEAST])
    asked = {"membershipIdentifier": room.memberships[SHOP], "analysisTemplateIdentifier": made["id"]}
    assert room.party(SHOP).get_analysis_template(**asked)["analysisTemplate"] == made
    changed = room.party(SHOP).update_analysis_template(**asked, description="other")["analysisTemplate"]
    assert (changed["description"], changed["source"]) == ("other", made["source"])
    room.party(SHOP).delete_analysis_template(**asked)
    assert refusal(room.party(SHOP).get_analysis_template, **asked)[0] == "ResourceNotFoundException"


def test_all_members_can_read_it_and_nobody_else(room: Room) -> None:
    made, bank = write(room), room.party(BANK)
    where = {"collaborationIdentifier": room.collaboration}
    seen = bank.get_collaboration_analysis_template(**where, analysisTemplateArn=made["arn"])
    assert seen["collaborationAnalysisTemplate"]["creatorAccountId"] == SHOP
    assert seen["collaborationAnalysisTemplate"]["source"] == made["source"]
    (listed,) = bank.list_collaboration_analysis_templates(**where)["collaborationAnalysisTemplateSummaries"]
    assert listed["arn"] == made["arn"]
    missing = made["arn"].replace(made["id"], UNKNOWN)
    both = bank.batch_get_collaboration_analysis_template(**where, analysisTemplateArns=[made["arn"], missing])
    assert [one["arn"] for one in both["collaborationAnalysisTemplates"]] == [made["arn"]]
    assert [one["arn"] for one in both["errors"]] == [missing]
    unknown = refusal(bank.get_collaboration_analysis_template, **where, analysisTemplateArn=missing)
    assert unknown[0] == "ResourceNotFoundException"
    stranger = room.party(STRANGER)
    assert refusal(stranger.list_collaboration_analysis_templates, **where)[0] == "AccessDeniedException"
    (own,) = room.party(SHOP).list_analysis_templates(membershipIdentifier=room.memberships[SHOP])[
        "analysisTemplateSummaries"
    ]
    assert own["id"] == made["id"]
    mine = bank.list_analysis_templates(membershipIdentifier=room.memberships[BANK])
    assert mine["analysisTemplateSummaries"] == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"format": "PYSPARK_1_0"}, "only templates of the format SQL"),
        ({"source": {"text": "DROP TABLE clients"}}, "NOT_ONE_SELECT"),
        ({"source": {"text": "SELECT income FROM clients WHERE income > :most"}}, "PARAMETER_UNKNOWN"),
        ({"analysisParameters": [LEAST, {**LEAST, "name": "LEAST"}]}, "a name occurs twice"),
        ({"errorMessageConfiguration": {"type": "DETAILED"}}, "not served"),
    ],
)
def test_what_is_no_template_is_refused(room: Room, given: dict[str, Any], told: str) -> None:
    code, message = refusal(lambda: write(room, **given))
    assert code == "ValidationException"
    assert told in message
