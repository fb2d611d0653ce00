from dataclasses import replace
from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import application, party  # noqa: F401 (fixtures)
from tests.services.cleanrooms.tables import BANK, JOINED, SHOP, Room, custom

from modelyard.analysis.model import Allowed, Purpose, Refused
from modelyard.app import Application
from modelyard.collaborations.queries import CORES, Judged, query_stage
from modelyard.collaborations.tables import Location
from modelyard.jobs.model import Owner

ALLOWED = Allowed('SELECT "income" FROM "clients"', [("INTEGER", "3")], ["clients"], ["income"], ["a rule"])
CLIENTS = Location(
    uri="s3://bank/clients",
    format="csv",
    columns={"Email": "VARCHAR", "Secret": "VARCHAR", "income": "BIGINT"},
    owner=BANK,
    options={"header": True, "delimiter": ";"},
    allowed=("email", "income"),
)


@pytest.fixture
def room(application: Application, loop: Loop, party: Any) -> Room:  # noqa: F811
    return Room(application, loop, party)


def judge(room: Room, sql: str = JOINED) -> Judged:
    async def work() -> Judged:
        membership = room.application.parties.active(Owner(BANK, "us-east-1"), room.memberships[BANK])
        return await room.application.queries.judge(membership, {"queryString": sql}, Purpose.DIRECT, [BANK])

    judged: Judged = room.loop.run(work())
    return judged


def accept(room: Room, judged: Judged) -> None:
    async def work() -> None:
        await room.application.database.write(judged.accept)

    room.loop.run(work())


def test_what_was_judged_tells_what_it_reads_and_where_that_lies(room: Room) -> None:
    room.open()
    judged = judge(room)
    assert {name: one.owner for name, one in judged.tables.items()} == {"clients": BANK, "visitors": SHOP}
    assert judged.locations["visitors"].uri == "s3://of-visitors/visitors"
    assert judged.locations["clients"].allowed == ("email", "income")
    accept(room, judged)


def test_a_rule_that_was_changed_meanwhile_has_the_last_word(room: Room) -> None:
    tables, judged = room.open(), judge(room)
    room.party(SHOP).update_configured_table_analysis_rule(
        configuredTableIdentifier=tables["visitors"]["configuredTableId"],
        analysisRuleType="CUSTOM",
        analysisRulePolicy=custom(BANK, disallowedOutputColumns=["visits"]),
    )
    with pytest.raises(Refused, match="were changed while the query was judged"):
        accept(room, judged)


def test_so_has_a_table_that_was_taken_away_and_a_member_that_left(room: Room) -> None:
    tables, judged, other = room.open(), judge(room), judge(room, "SELECT email FROM clients")
    room.party(SHOP).delete_configured_table_association(
        membershipIdentifier=room.memberships[SHOP], configuredTableAssociationIdentifier=tables["visitors"]["id"]
    )
    with pytest.raises(Refused, match="were changed"):
        accept(room, judged)
    accept(room, other)
    room.party().delete_collaboration(collaborationIdentifier=room.collaboration)
    with pytest.raises(Refused, match="were changed"):
        accept(room, other)


def test_the_task_is_told_no_name_of_a_column_that_is_not_allowed() -> None:
    stage = query_stage("run", ALLOWED, {"clients": CLIENTS}, "CSV", "s3://bank/out", slots=64)
    described = stage.spec.parameters["tables"]["clients"]
    assert described == {
        "format": "csv",
        "columns": {"Email": "VARCHAR", "(2)": "VARCHAR", "income": "BIGINT"},
        "allowed": ("email", "income"),
        "header": True,
        "delimiter": ";",
        "partitions": [],
    }
    parquet = replace(CLIENTS, format="parquet", options={})
    stage = query_stage("run", ALLOWED, {"clients": parquet}, "CSV", "s3://bank/out", slots=64)
    assert list(stage.spec.parameters["tables"]["clients"]["columns"]) == ["Email", "income"]
    assert (stage.spec.inputs, stage.spec.cores) == ({"clients": "s3://bank/clients"}, CORES)
