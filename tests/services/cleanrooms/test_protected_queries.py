import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.boto import Loop
from tests.conftest import kill_all_of, wait_for
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties
from tests.services.cleanrooms.tables import JOINED, Room, custom
from tests.services.cleanrooms.test_budgets import LIFETIME, give, left
from tests.services.cleanrooms.test_collaborations import refusal
from tests.services.cleanrooms.test_templates import write

from modelyard.app import Application
from modelyard.collaborations import queries
from modelyard.jobs.model import Owner, Status

TO_SHOP = {"outputConfiguration": {"member": {"accountId": SHOP}}}
TO_BANK = {"outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": "bank-results", "keyPrefix": "out"}}}

ENDLESS = f"SELECT count(*) AS n FROM {' CROSS JOIN '.join(f'clients c{n}' for n in range(14))}"


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


@pytest.fixture
def working(room: Room, tmp_path: Path) -> Iterator[Room]:
    """A room whose server does its jobs."""

    async def start() -> asyncio.Task[None]:
        return asyncio.create_task(room.application.supervisor.run())

    async def stop(task: asyncio.Task[None]) -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    supervisor = room.loop.run(start())
    yield room
    room.loop.run(stop(supervisor))
    kill_all_of(tmp_path / "data")


def entries(room: Room, account: str) -> list[dict[str, Any]]:
    """What an account finds in its audit log, newest first."""

    async def read() -> Any:
        return room.application.audit.page(account, room.collaboration).items

    return [vars(one) for one in room.loop.run(read())]


def stands(room: Room, id: str) -> dict[str, Any]:
    asked = {"membershipIdentifier": room.memberships[BANK], "protectedQueryIdentifier": id}
    return dict(room.party().get_protected_query(**asked)["protectedQuery"])


def ended(room: Room, id: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found = stands(room, id)
        return None if found["status"] in ("SUBMITTED", "STARTED", "CANCELLING") else found

    found = wait_for(look)
    assert isinstance(found, dict)
    return found


def found_rows(room: Room, location: str) -> list[dict[str, str]]:
    """The rows of a result, whatever its files are called."""
    folder = room.application.folders.path(location)
    rows = [row for path in sorted(folder.iterdir()) for row in csv.DictReader(path.read_text().splitlines())]
    assert rows
    return rows


def deliver_to_shop(room: Room) -> None:
    """The shop says where results are to go."""
    default = {"outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": "shop-results"}}}
    room.party(SHOP).update_membership(membershipIdentifier=room.memberships[SHOP], defaultResultConfiguration=default)


def test_a_query_that_the_rules_allow_is_accepted(room: Room) -> None:
    room.open()
    started = room.ask()
    assert (started["status"], started["sqlParameters"]) == ("SUBMITTED", {"queryString": JOINED})
    assert stands(room, started["id"]) == started
    assert "result" not in started
    (listed,) = room.party().list_protected_queries(membershipIdentifier=room.memberships[BANK])["protectedQueries"]
    (receiver,) = listed["receiverConfigurations"]
    details = receiver["configurationDetails"]["directAnalysisConfigurationDetails"]
    assert (listed["id"], details) == (started["id"], {"receiverAccountIds": [BANK]})


def test_queries_are_listed_by_page_and_status(room: Room) -> None:
    room.open()
    ids = [room.ask()["id"] for _ in range(3)]
    membership = {"membershipIdentifier": room.memberships[BANK]}
    room.party().update_protected_query(**membership, protectedQueryIdentifier=ids[1], targetStatus="CANCELLED")

    def listed(**wanted: str) -> list[str]:
        pages = room.party().get_paginator("list_protected_queries")
        found = pages.paginate(**membership, **wanted, PaginationConfig={"PageSize": 1})
        return [one["id"] for page in found for one in page["protectedQueries"]]

    assert listed() == ids[::-1]
    assert listed(status="SUBMITTED") == [ids[2], ids[0]]
    assert listed(status="CANCELLING") == [ids[1]]
    assert listed(status="SUCCESS") == []


def test_a_foreign_query_is_as_one_that_is_not_there(room: Room) -> None:
    room.open()
    id = room.ask()["id"]
    own = {"membershipIdentifier": room.memberships[SHOP]}
    shop = room.party(SHOP)
    foreign = refusal(shop.get_protected_query, **own, protectedQueryIdentifier=id)
    assert foreign[0] == "ResourceNotFoundException"
    unknown = refusal(shop.get_protected_query, **own, protectedQueryIdentifier=UNKNOWN)
    assert (foreign[0], foreign[1].replace(id, UNKNOWN)) == unknown
    assert shop.list_protected_queries(**own)["protectedQueries"] == []
    theirs = {"membershipIdentifier": room.memberships[BANK], "protectedQueryIdentifier": id}
    assert refusal(shop.get_protected_query, **theirs)[0] == "AccessDeniedException"


def test_the_rule_that_says_no_is_named_and_its_owner_told(room: Room) -> None:
    room.rule("clients", custom(BANK), {"allowedResultReceivers": [BANK]})
    room.rule("visitors", custom(BANK, disallowedOutputColumns=["visits"]), {"allowedResultReceivers": [BANK]})
    code, message = refusal(room.ask)
    assert code == "ValidationException"
    assert "sqlParameters: table visitors: " in message
    assert "visits" in message
    (entry,) = entries(room, SHOP)
    assert (entry["action"], entry["account"], entry["actor"], entry["used"]) == ("refused", SHOP, BANK, "visitors")
    assert entry["rule"] in message
    assert room.party().list_protected_queries(membershipIdentifier=room.memberships[BANK])["protectedQueries"] == []


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT secret FROM clients", "UNKNOWN_COLUMN"),
        ("SELECT email FROM nothing", "UNKNOWN_TABLE"),
        ("SELECT * FROM read_csv('/etc/passwd')", "FROM calls a function"),
        ("COPY clients TO '/tmp/x'", "NOT_ONE_SELECT"),
        ("SELECT email FROM clients; SELECT email FROM clients", "NOT_ONE_SELECT"),
    ],
)
def test_what_no_rule_can_allow_is_refused(room: Room, sql: str, told: str) -> None:
    room.open()
    code, message = refusal(lambda: room.ask(sql))
    assert code == "ValidationException"
    assert told in message


def test_only_the_member_who_can_query_asks(room: Room) -> None:
    room.open()
    asking = {"type": "SQL", "sqlParameters": {"queryString": JOINED}}
    shop = refusal(room.party(SHOP).start_protected_query, **asking, membershipIdentifier=room.memberships[SHOP])
    assert shop[0] == "AccessDeniedException"
    assert "CAN_QUERY" in shop[1]
    stranger = room.party(STRANGER).start_protected_query
    assert refusal(stranger, **asking, membershipIdentifier=room.memberships[BANK])[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("result", "told"),
    [
        ({"outputConfiguration": {"member": {"accountId": STRANGER}}}, "is no active member with the ability"),
        (TO_SHOP, "has no defaultResultConfiguration"),
        (
            {"outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": "of-visitors"}}},
            "belongs to another account",
        ),
        (
            {"outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": "bank-results", "keyPrefix": "../up"}}},
            "cannot be part of a key",
        ),
        ({"outputConfiguration": {"distribute": {"locations": [TO_BANK["outputConfiguration"]] * 2}}}, "twice"),
        (None, "has no defaultResultConfiguration"),
    ],
)
def test_rows_go_to_those_alone_who_may_have_them(room: Room, result: Any, told: str) -> None:
    room.open()
    code, message = refusal(lambda: room.ask(resultConfiguration=result))
    assert code == "ValidationException"
    assert told in message


def test_an_association_says_who_may_receive(room: Room) -> None:
    room.rule("clients", custom(BANK), {"allowedResultReceivers": [BANK, SHOP]})
    room.rule("visitors", custom(BANK), {"allowedResultReceivers": [SHOP]})
    assert "RESULT_RECEIVERS_NOT_ALLOWED" in refusal(room.ask)[1]
    deliver_to_shop(room)
    assert room.ask(resultConfiguration=TO_SHOP)["status"] == "SUBMITTED"


def test_each_query_spends_the_budget_of_its_tables(room: Room) -> None:
    tables = room.open()
    give(room, tables["visitors"]["arn"], {**LIFETIME, "budget": 2}, account=SHOP)
    room.ask()
    room.ask("SELECT email FROM clients")
    assert left(room)[0]["aggregateRemainingBudget"] == 1
    room.ask()
    code, message = refusal(room.ask)
    assert code == "AccessDeniedException"
    assert "the LIFETIME access budget of table visitors is spent" in message
    listed = room.party().list_protected_queries(membershipIdentifier=room.memberships[BANK])
    assert len(listed["protectedQueries"]) == 3
    (entry,) = [one for one in entries(room, SHOP) if one["action"] == "refused"]
    assert (entry["used"], entry["actor"]) == ("visitors", BANK)


def test_few_queries_of_a_membership_run_at_once(room: Room) -> None:
    room.open()
    for _ in range(5):
        room.ask()
    assert refusal(room.ask)[0] == "ServiceQuotaExceededException"


def test_whose_bucket_the_data_lies_in_is_asked_again(room: Room) -> None:
    room.open()
    room.loop.run(room.application.buckets.own("of-visitors", BANK, instead=True))
    assert "LOCATION_NOT_OWNED" in refusal(room.ask)[1]


def test_queries_end_with_the_membership_of_who_brought_their_tables(room: Room) -> None:
    room.open()
    both, one = room.ask(), room.ask("SELECT email FROM clients")
    room.party().delete_member(collaborationIdentifier=room.collaboration, accountId=SHOP)
    assert stands(room, both["id"])["status"] == "CANCELLING"
    assert stands(room, one["id"])["status"] == "SUBMITTED"
    assert "UNKNOWN_TABLE" in refusal(room.ask)[1]


def test_a_template_is_asked_by_its_arn(room: Room) -> None:
    template = write(room, SHOP)
    allowed = {"v1": {"custom": {"allowedAnalyses": [template["arn"]]}}}
    for table in ("clients", "visitors"):
        room.rule(table, allowed, {"allowedResultReceivers": [BANK]})
    asked = {"analysisTemplateArn": template["arn"], "parameters": {"least": "1002"}}
    assert room.ask(sqlParameters=asked)["status"] == "SUBMITTED"
    assert "ANALYSIS" in refusal(room.ask)[1]
    unknown = {"analysisTemplateArn": template["arn"].replace(template["id"], UNKNOWN)}
    assert "UNKNOWN_TEMPLATE" in refusal(lambda: room.ask(sqlParameters=unknown))[1]
    assert "and not both" in refusal(lambda: room.ask(sqlParameters={**asked, "queryString": JOINED}))[1]


def test_what_a_job_shows_names_no_column_that_is_not_allowed(room: Room) -> None:
    room.open()
    id = room.ask()["id"]

    async def plan() -> str:
        (job,) = [one for one in room.application.store.newest(Owner(BANK, "us-east-1"), 5) if one.id == id]
        return repr(job)

    assert "secret" not in room.loop.run(plan()).lower()


@pytest.mark.slow
def test_the_rows_of_a_query_reach_its_receiver(working: Room) -> None:
    working.open()
    done = ended(working, working.ask(JOINED + " WHERE c.income > 1006")["id"])
    assert done["status"] == "SUCCESS", done.get("error")
    location = done["result"]["output"]["s3"]["location"]
    assert location == f"s3://bank-results/out/{done['id']}"
    rows = sorted(found_rows(working, location), key=lambda row: row["income"])
    assert rows == [{"income": str(1000 + n), "visits": str(n % 3)} for n in (7, 8, 9)]
    (entry,) = [one for one in entries(working, SHOP) if one["action"] == "query"]
    assert (entry["account"], entry["actor"], entry["used"]) == (SHOP, BANK, "visitors")
    assert (entry["amount"], entry["unit"], entry["left"]) == (3, "rows", f"its result to {BANK}")


@pytest.mark.slow
def test_several_receivers_get_a_copy_each(working: Room) -> None:
    working.open()
    deliver_to_shop(working)
    locations = [TO_BANK["outputConfiguration"], TO_SHOP["outputConfiguration"]]
    result = {"outputConfiguration": {"distribute": {"locations": locations}}}
    done = ended(working, working.ask(resultConfiguration=result)["id"])
    assert done["status"] == "SUCCESS", done.get("error")
    output = done["result"]["output"]["distribute"]
    assert output["memberList"] == [{"accountId": SHOP}]
    mine = found_rows(working, output["s3"]["location"])
    assert mine == found_rows(working, f"s3://shop-results/{done['id']}")
    assert len(mine) == 10
    assert working.application.buckets.owner("shop-results") == SHOP
    kept = working.application.places.folder(f"modelyard://queries/{done['id']}")
    wait_for(lambda: not kept.exists())


def test_a_place_of_another_member_is_told_to_nobody(room: Room) -> None:
    room.open()
    deliver_to_shop(room)
    id = room.ask(resultConfiguration=TO_SHOP)["id"]

    async def fail() -> None:
        (claim,) = await room.application.store.claim(2)
        await room.application.store.begin(claim, 1, 0)
        await room.application.store.end(claim, Status.FAILED, f"not written to s3://shop-results/{id}: full")

    room.loop.run(fail())
    failed = stands(room, id)
    assert failed["status"] == "FAILED"
    assert SHOP in failed["error"]["message"]
    assert "shop-results" not in repr(failed)


@pytest.mark.slow
def test_a_query_that_runs_is_cancelled_and_leaves_nothing(working: Room) -> None:
    working.open()
    id = working.ask(ENDLESS)["id"]
    wait_for(lambda: stands(working, id)["status"] == "STARTED")
    cancel = {"membershipIdentifier": working.memberships[BANK], "protectedQueryIdentifier": id}
    working.party().update_protected_query(**cancel, targetStatus="CANCELLED")
    assert ended(working, id)["status"] == "CANCELLED"
    assert not working.application.folders.path(f"s3://bank-results/out/{id}").exists()
    assert refusal(working.party().update_protected_query, **cancel, targetStatus="CANCELLED")[0] == "ConflictException"


@pytest.mark.slow
def test_a_query_that_takes_too_long_is_timed_out(working: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "QUERY_SECONDS", 1)
    working.open()
    assert ended(working, working.ask(ENDLESS)["id"])["status"] == "TIMED_OUT"


@pytest.mark.slow
def test_a_query_that_fails_says_so_without_a_row(working: Room) -> None:
    working.open()
    done = ended(working, working.ask("SELECT CAST(email AS INTEGER) AS n FROM clients")["id"])
    assert done["status"] == "FAILED"
    assert "example.com" not in repr(done)
    assert not working.application.folders.path(f"s3://bank-results/out/{done['id']}").exists()
