from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties, invite, join


def refusal(work: Any, **asked: Any) -> tuple[str, str]:
    """Code and message of what the service refuses."""
    with pytest.raises(ClientError) as refused:
        work(**asked)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_invited_account_sees_the_collaboration_and_its_members(party: Parties) -> None:
    made = invite(party(), SHOP)
    assert made["creatorAccountId"] == BANK
    assert made["memberStatus"] == "INVITED"
    assert made["arn"] == f"arn:aws:cleanrooms:us-east-1:{BANK}:collaboration/{made['id']}"

    shop = party(SHOP)
    seen = shop.get_collaboration(collaborationIdentifier=made["id"])["collaboration"]
    assert {**seen, "memberStatus": ""} == {**made, "memberStatus": ""}
    assert [one["id"] for one in shop.list_collaborations()["collaborationList"]] == [made["id"]]
    bank, other = shop.list_members(collaborationIdentifier=made["id"])["memberSummaries"]
    assert (bank["accountId"], bank["abilities"]) == (BANK, ["CAN_QUERY", "CAN_RECEIVE_RESULTS"])
    assert bank["paymentConfiguration"] == {"queryCompute": {"isResponsible": True}}
    assert other["mlAbilities"]["customMLMemberAbilities"] == [
        "CAN_RECEIVE_MODEL_OUTPUT",
        "CAN_RECEIVE_INFERENCE_OUTPUT",
    ]
    assert other["paymentConfiguration"] == {"queryCompute": {"isResponsible": False}}


def test_what_was_asked_comes_back(party: Parties) -> None:
    given = {
        "analyticsEngine": "SPARK",
        "dataEncryptionMetadata": {
            "allowCleartext": True,
            "allowDuplicates": False,
            "allowJoinsOnColumnsWithDifferentNames": False,
            "preserveNulls": True,
        },
        "jobLogStatus": "ENABLED",
        "allowedResultRegions": ["eu-west-1"],
        "isMetricsEnabled": True,
    }
    made = invite(party(), SHOP, autoApprovedChangeRequestTypes=["ADD_MEMBER"], **given)
    seen = party().get_collaboration(collaborationIdentifier=made["id"])["collaboration"]
    assert {name: seen[name] for name in given} == given
    assert seen["autoApprovedChangeTypes"] == ["ADD_MEMBER"]


def test_a_foreign_collaboration_is_as_one_that_is_not_there(party: Parties) -> None:
    made, stranger = invite(party(), SHOP), party(STRANGER)
    for operation, more in (
        ("get_collaboration", {}),
        ("update_collaboration", {"name": "mine"}),
        ("delete_collaboration", {}),
        ("list_members", {}),
        ("delete_member", {"accountId": SHOP}),
        ("create_membership", {"queryLogStatus": "DISABLED"}),
    ):
        work = getattr(stranger, operation)
        foreign = refusal(work, collaborationIdentifier=made["id"], **more)
        unknown = refusal(work, collaborationIdentifier=UNKNOWN, **more)
        assert foreign[0] == "AccessDeniedException"
        assert (foreign[0], foreign[1].replace(made["id"], UNKNOWN)) == unknown
    assert stranger.list_collaborations()["collaborationList"] == []


def test_a_collaboration_is_of_one_region(party: Parties) -> None:
    made = invite(party(), SHOP)
    work = party(BANK, "eu-west-1").get_collaboration
    assert refusal(work, collaborationIdentifier=made["id"])[0] == "AccessDeniedException"


def test_its_creator_alone_changes_it(party: Parties) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    id = made["id"]
    changed = party().update_collaboration(collaborationIdentifier=id, name="renamed")["collaboration"]
    assert (changed["name"], changed["description"]) == ("renamed", "who buys what")
    assert refusal(shop.update_collaboration, collaborationIdentifier=id, name="ours")[0] == "AccessDeniedException"
    assert refusal(shop.delete_collaboration, collaborationIdentifier=id)[0] == "AccessDeniedException"
    assert refusal(shop.delete_member, collaborationIdentifier=id, accountId=BANK)[0] == "AccessDeniedException"


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"members": [{"accountId": BANK, "displayName": "again", "memberAbilities": []}]}, "is a member already"),
        ({"members": [{"accountId": SHOP, "displayName": "b", "memberAbilities": ["CAN_QUERY"]}]}, "exactly one"),
        ({"creatorMemberAbilities": []}, "exactly one"),
        ({"creatorPaymentConfiguration": {"queryCompute": {"isResponsible": False}}}, "queryCompute"),
        ({"tags": {"AWS:own": "x"}}, "reserved"),
        ({"creatorMemberAbilities": ["CAN_FLY"]}, "enum"),
    ],
)
def test_members_that_make_no_collaboration(party: Parties, given: dict[str, Any], word: str) -> None:
    code, message = refusal(lambda **asked: invite(party(), **asked), **given)
    assert code == "ValidationException"
    assert word in message


def test_too_many_members(party: Parties) -> None:
    accounts = [f"{n:012d}" for n in range(20)]
    assert refusal(lambda: invite(party(), *accounts))[0] == "ServiceQuotaExceededException"


def test_lists_go_on_page_by_page(party: Parties) -> None:
    made = [invite(party(), SHOP, name=f"number {n}")["id"] for n in range(5)]
    pages = party(SHOP).get_paginator("list_collaborations").paginate(PaginationConfig={"PageSize": 2})
    assert [one["id"] for page in pages for one in page["collaborationList"]] == made[::-1]
    accounts = [f"{n:012d}" for n in range(7)]
    wide = invite(party(), *accounts)["id"]
    paginator = party().get_paginator("list_members")
    pages = paginator.paginate(collaborationIdentifier=wide, PaginationConfig={"PageSize": 3})
    assert [one["accountId"] for page in pages for one in page["memberSummaries"]] == [BANK, *accounts]


def test_who_was_put_out_knows_nothing_any_more(party: Parties) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    membership = join(shop, made["id"])
    party().delete_member(collaborationIdentifier=made["id"], accountId=SHOP)

    assert refusal(shop.get_collaboration, collaborationIdentifier=made["id"])[0] == "AccessDeniedException"
    assert refusal(lambda: join(shop, made["id"]))[0] == "AccessDeniedException"
    assert shop.list_collaborations()["collaborationList"] == []
    assert shop.get_membership(membershipIdentifier=membership["id"])["membership"]["status"] == "REMOVED"
    _, other = party().list_members(collaborationIdentifier=made["id"])["memberSummaries"]
    assert other["status"] == "REMOVED"
    code, message = refusal(party().delete_member, collaborationIdentifier=made["id"], accountId=SHOP)
    assert (code, "REMOVED" in message) == ("ConflictException", True)


def test_the_creator_is_not_put_out_nor_one_who_is_no_member(party: Parties) -> None:
    made = invite(party(), SHOP)
    work = party().delete_member
    assert refusal(work, collaborationIdentifier=made["id"], accountId=BANK)[0] == "ValidationException"
    assert refusal(work, collaborationIdentifier=made["id"], accountId=STRANGER)[0] == "ResourceNotFoundException"


def test_a_deleted_collaboration_leaves_memberships_that_say_so(party: Parties) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    membership = join(shop, made["id"])
    party().delete_collaboration(collaborationIdentifier=made["id"])

    for client in (party(), shop):
        assert refusal(client.get_collaboration, collaborationIdentifier=made["id"])[0] == "AccessDeniedException"
    seen = shop.get_membership(membershipIdentifier=membership["id"])["membership"]
    assert seen["status"] == "COLLABORATION_DELETED"
    assert [one["status"] for one in shop.list_memberships()["membershipSummaries"]] == ["COLLABORATION_DELETED"]
    shop.delete_membership(membershipIdentifier=membership["id"])
    assert shop.list_memberships()["membershipSummaries"] == []
    assert refusal(party().delete_collaboration, collaborationIdentifier=made["id"])[0] == "AccessDeniedException"


def test_tags_are_the_owners(party: Parties) -> None:
    made = invite(party(), SHOP, tags={"team": "risk"})
    bank, shop, arn = party(), party(SHOP), made["arn"]
    bank.tag_resource(resourceArn=arn, tags={"stage": "test"})
    bank.untag_resource(resourceArn=arn, tagKeys=["team"])
    assert bank.list_tags_for_resource(resourceArn=arn)["tags"] == {"stage": "test"}
    assert refusal(bank.tag_resource, resourceArn=arn, tags={"aws:x": "1"})[0] == "ValidationException"

    foreign = refusal(shop.list_tags_for_resource, resourceArn=arn)
    unknown = refusal(shop.list_tags_for_resource, resourceArn=arn.replace(made["id"], UNKNOWN))
    assert foreign[0] == "ResourceNotFoundException"
    assert (foreign[0], foreign[1].replace(made["id"], UNKNOWN)) == unknown

    bank.delete_collaboration(collaborationIdentifier=made["id"])
    assert refusal(bank.list_tags_for_resource, resourceArn=arn)[0] == "ResourceNotFoundException"


def test_an_operation_that_is_not_served_is_named(party: Parties) -> None:
    code, message = refusal(party().list_configured_audience_model_associations, membershipIdentifier=UNKNOWN)
    assert code == "UnknownOperationException"
    assert "ListConfiguredAudienceModelAssociations" in message
