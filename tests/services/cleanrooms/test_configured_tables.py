from typing import Any

import pytest
from tests.boto import Loop
from tests.collaborations.test_glue import catalog, put  # noqa: F401 (a fixture)
from tests.moto import moto  # noqa: F401 (a fixture)
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties
from tests.services.cleanrooms.tables import Room, custom
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application


@pytest.fixture
def room(application: Application, loop: Loop, party: Parties) -> Room:
    return Room(application, loop, party)


def test_a_table_of_the_catalog_is_configured(room: Room) -> None:
    made = room.configured(description="who pays", tags={"side": "bank"})
    assert made["arn"] == f"arn:aws:cleanrooms:us-east-1:{BANK}:configuredtable/{made['id']}"
    assert (made["tableType"], made["analysisRuleTypes"]) == ("GLUE", [])
    assert made["allowedColumns"] == ["email", "income"]
    seen = room.party().get_configured_table(configuredTableIdentifier=made["id"])["configuredTable"]
    assert seen == made
    assert room.party().list_tags_for_resource(resourceArn=made["arn"])["tags"] == {"side": "bank"}


def test_tables_are_listed_by_page_to_their_owner_alone(room: Room) -> None:
    ids = [room.configured(name=f"table {n}")["id"] for n in range(3)]
    pages = room.party().get_paginator("list_configured_tables").paginate(PaginationConfig={"PageSize": 2})
    assert [one["id"] for page in pages for one in page["configuredTableSummaries"]] == ids[::-1]
    assert room.party(SHOP).list_configured_tables()["configuredTableSummaries"] == []


def test_a_foreign_table_is_as_one_that_is_not_there(room: Room) -> None:
    id = room.configured()["id"]
    for other in (room.party(SHOP), room.party(STRANGER), room.party(BANK, "eu-west-1")):
        for operation in ("get_configured_table", "update_configured_table", "delete_configured_table"):
            foreign = refusal(getattr(other, operation), configuredTableIdentifier=id)
            unknown = refusal(getattr(other, operation), configuredTableIdentifier=UNKNOWN)
            assert foreign[0] == "ResourceNotFoundException"
            assert (foreign[0], foreign[1].replace(id, UNKNOWN)) == unknown


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tableReference": {"glue": {"databaseName": "sales", "tableName": "visitors"}}}, "modelyard tables add"),
        (
            {"tableReference": {"athena": {"workGroup": "w", "databaseName": "d", "tableName": "t"}}},
            "athena is not served",
        ),
        ({"allowedColumns": ["email", "phone"]}, "phone is none of the table's columns: email, income, Secret"),
        ({"allowedColumns": ["email", "email"]}, "named twice"),
        ({"analysisMethod": "MULTIPLE"}, "only DIRECT_QUERY is served"),
    ],
)
def test_what_no_query_could_read_is_refused(room: Room, given: dict[str, Any], told: str) -> None:
    code, message = refusal(room.configured, **given)
    assert code == "ValidationException"
    assert told in message


def test_a_column_is_allowed_whatever_the_case_of_its_name_in_the_file(room: Room) -> None:
    assert room.configured(allowedColumns=["secret"])["allowedColumns"] == ["secret"]


def test_a_table_in_another_accounts_bucket_is_refused(room: Room) -> None:
    room.loop.run(room.application.buckets.own("of-clients", SHOP, instead=True))
    code, message = refusal(room.configured)
    assert code == "ValidationException"
    assert "belongs to another account" in message


def test_a_table_whose_data_is_gone_is_refused(room: Room) -> None:
    room.folder("clients").rename(room.folder("clients").with_name("elsewhere"))
    assert "where nothing is" in refusal(room.configured)[1]


def test_another_region_has_another_catalog(room: Room) -> None:
    reference = {"databaseName": "sales", "tableName": "clients", "region": "eu-west-1"}
    assert "no catalog has a table" in refusal(room.configured, tableReference={"glue": reference})[1]
    room.configured(tableReference={"glue": {**reference, "region": "us-east-1"}})


def test_our_own_catalog_comes_first_and_glue_tells_why_it_cannot_help(catalog: Any, room: Room) -> None:  # noqa: F811
    for table in ("clients", "orders"):
        orc = "org.apache.hadoop.hive.ql.io.orc.OrcSerde"
        put(catalog, table, orc, {"email": "string"})
    assert room.configured()["tableReference"]["glue"]["tableName"] == "clients"
    orders = {"glue": {"databaseName": "sales", "tableName": "orders"}}
    code, message = refusal(room.configured, tableReference=orders)
    assert code == "ValidationException"
    assert "sales.orders: its format is none of CSV, Parquet and JSON lines" in message


def test_a_changed_table_still_fits_its_rule(room: Room) -> None:
    bank, id = room.party(), room.configured()["id"]
    policy = custom(BANK, disallowedOutputColumns=["email"])
    bank.create_configured_table_analysis_rule(
        configuredTableIdentifier=id, analysisRuleType="CUSTOM", analysisRulePolicy=policy
    )
    changed = bank.update_configured_table(
        configuredTableIdentifier=id, name="renamed", allowedColumns=["email", "secret"]
    )["configuredTable"]
    assert (changed["name"], changed["allowedColumns"]) == ("renamed", ["email", "secret"])
    code, message = refusal(bank.update_configured_table, configuredTableIdentifier=id, allowedColumns=["income"])
    assert code == "ValidationException"
    assert "email, which custom.disallowedOutputColumns names" in message


def test_a_table_goes_when_no_collaboration_has_it(room: Room) -> None:
    bank, id = room.party(), room.configured()["id"]
    association = room.associated(configured=id)
    code, message = refusal(bank.delete_configured_table, configuredTableIdentifier=id)
    assert code == "ConflictException"
    assert association["arn"] in message
    bank.delete_configured_table_association(
        membershipIdentifier=room.memberships[BANK], configuredTableAssociationIdentifier=association["id"]
    )
    bank.delete_configured_table(configuredTableIdentifier=id)
    assert refusal(bank.get_configured_table, configuredTableIdentifier=id)[0] == "ResourceNotFoundException"
