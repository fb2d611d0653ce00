from typing import Any

import pytest
from tests.boto import Loop
from tests.services.cleanrooms.conftest import BANK, SHOP, STRANGER, UNKNOWN, Parties, invite, join
from tests.services.cleanrooms.test_collaborations import refusal

from modelyard.app import Application
from modelyard.collaborations import arns
from modelyard.collaborations.queries import TEMPLATE
from modelyard.jobs import resources
from modelyard.jobs.model import Owner

TRAINING = {
    "queryCompute": {"isResponsible": False},
    "machineLearning": {"modelTraining": {"isResponsible": True}},
}
RESULTS = {
    "outputConfiguration": {"s3": {"resultFormat": "CSV", "bucket": "shop-results", "keyPrefix": "out/"}},
    "roleArn": f"arn:aws:iam::{SHOP}:role/results",
}


def test_joining_makes_a_member_active(party: Parties) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    membership = join(shop, made["id"], defaultResultConfiguration=RESULTS, tags={"side": "shop"})
    assert membership["arn"] == f"arn:aws:cleanrooms:us-east-1:{SHOP}:membership/{membership['id']}"
    assert (membership["status"], membership["memberAbilities"]) == ("ACTIVE", [])
    assert membership["collaborationCreatorAccountId"] == BANK
    assert membership["defaultResultConfiguration"] == RESULTS
    assert membership["paymentConfiguration"] == {"queryCompute": {"isResponsible": False}}
    assert shop.list_tags_for_resource(resourceArn=membership["arn"])["tags"] == {"side": "shop"}

    seen = shop.get_collaboration(collaborationIdentifier=made["id"])["collaboration"]
    assert (seen["memberStatus"], seen["membershipId"]) == ("ACTIVE", membership["id"])
    _, other = party().list_members(collaborationIdentifier=made["id"])["memberSummaries"]
    assert (other["status"], other["membershipArn"]) == ("ACTIVE", membership["arn"])
    assert shop.list_collaborations(memberStatus="INVITED")["collaborationList"] == []


def test_one_joins_once(party: Parties) -> None:
    made = invite(party(), SHOP)
    join(party(SHOP), made["id"])
    assert refusal(lambda: join(party(SHOP), made["id"]))[0] == "ConflictException"


def test_a_foreign_membership_is_as_one_that_is_not_there(party: Parties) -> None:
    made = invite(party(), SHOP)
    id = join(party(SHOP), made["id"])["id"]
    for other in (party(BANK), party(STRANGER), party(SHOP, "eu-west-1")):
        for operation in ("get_membership", "update_membership", "delete_membership"):
            foreign = refusal(getattr(other, operation), membershipIdentifier=id)
            unknown = refusal(getattr(other, operation), membershipIdentifier=UNKNOWN)
            assert foreign[0] == "AccessDeniedException"
            assert (foreign[0], foreign[1].replace(id, UNKNOWN)) == unknown
        assert other.list_memberships()["membershipSummaries"] == []


@pytest.mark.parametrize(
    ("accepted", "fits"),
    [
        (TRAINING, True),
        (None, False),
        ({"queryCompute": {"isResponsible": True}, "machineLearning": TRAINING["machineLearning"]}, False),
        ({"queryCompute": {"isResponsible": False}}, False),
        ({**TRAINING, "jobCompute": {"isResponsible": True}}, False),
    ],
)
def test_a_payer_accepts_what_the_creator_set(party: Parties, accepted: Any, fits: bool) -> None:
    member = {"accountId": SHOP, "displayName": "shop", "memberAbilities": [], "paymentConfiguration": TRAINING}
    made, given = invite(party(), members=[member]), {"paymentConfiguration": accepted} if accepted else {}
    if fits:
        assert join(party(SHOP), made["id"], **given)["paymentConfiguration"] == TRAINING
    else:
        assert refusal(lambda: join(party(SHOP), made["id"], **given))[0] == "ValidationException"


def test_who_pays_is_known_once_that_party_has_joined(party: Parties, application: Application) -> None:
    member = {"accountId": SHOP, "displayName": "shop", "memberAbilities": [], "paymentConfiguration": TRAINING}
    made, parties = invite(party(), members=[member]), application.parties
    join(party(), made["id"])
    look = Owner(BANK, "us-east-1"), made["id"]
    assert parties.payer(parties.collaboration(*look), "modelTraining") is None
    join(party(SHOP), made["id"], paymentConfiguration=TRAINING)
    collaboration = parties.collaboration(*look)
    payers = {kind: parties.payer(collaboration, kind) for kind in ("modelTraining", "modelInference", "queryCompute")}
    assert {kind: payer and payer.owner.account for kind, payer in payers.items()} == {
        "modelTraining": SHOP,
        "modelInference": BANK,
        "queryCompute": BANK,
    }
    assert parties.payer(collaboration, "modelTraining", BANK) is None


def test_results_go_to_own_buckets_by_own_roles(party: Parties, application: Application, loop: Loop) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    foreign = {**RESULTS, "roleArn": f"arn:aws:iam::{BANK}:role/results"}

    def work(**given: Any) -> Any:
        return join(shop, made["id"], **given)

    assert refusal(work, defaultResultConfiguration=foreign)[0] == "AccessDeniedException"
    loop.run(application.buckets.own("shop-results", BANK))
    assert refusal(work, defaultResultConfiguration=RESULTS)[0] == "AccessDeniedException"


def test_a_membership_is_changed_by_its_owner(party: Parties) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    id = join(shop, made["id"])["id"]
    changed = shop.update_membership(membershipIdentifier=id, queryLogStatus="ENABLED")["membership"]
    assert changed["queryLogStatus"] == "ENABLED"
    wrong = {"membershipPaymentConfiguration": {"queryCompute": {"isResponsible": True}}}
    assert refusal(shop.update_membership, membershipIdentifier=id, **wrong)[0] == "ValidationException"
    shop.update_membership(membershipIdentifier=id, defaultResultConfiguration=RESULTS)
    assert shop.get_membership(membershipIdentifier=id)["membership"]["defaultResultConfiguration"] == RESULTS


def test_leaving_comes_after_what_one_brought(party: Parties, application: Application, loop: Loop) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    membership, owner = join(shop, made["id"]), Owner(SHOP, "us-east-1")
    arn = arns.analysis_template(owner, membership["id"], arns.new_id())
    template = resources.new(owner, "template", "t", None, "ACTIVE", {"arn": arn}, membership["arn"], made["arn"])
    kept = loop.run(application.resources.create(template))

    code, message = refusal(shop.delete_membership, membershipIdentifier=membership["id"])
    assert (code, arn in message) == ("ConflictException", True)
    left = []
    application.parties.at_leaving(lambda connection, one: left.append(one.id))
    loop.run(application.resources.delete(kept))
    shop.delete_membership(membershipIdentifier=membership["id"])

    assert left == [membership["id"]]
    assert refusal(shop.get_membership, membershipIdentifier=membership["id"])[0] == "AccessDeniedException"
    assert refusal(lambda: join(shop, made["id"]))[0] == "AccessDeniedException"
    _, other = party().list_members(collaborationIdentifier=made["id"])["memberSummaries"]
    assert other["status"] == "LEFT"


def test_what_lies_in_a_membership_has_tags_too(party: Parties, application: Application, loop: Loop) -> None:
    made, shop = invite(party(), SHOP), party(SHOP)
    membership, owner, id = join(shop, made["id"]), Owner(SHOP, "us-east-1"), arns.new_id()
    arn = arns.analysis_template(owner, membership["id"], id)
    template = resources.new(owner, TEMPLATE, id, None, "ACTIVE", {"arn": arn}, membership["arn"], made["arn"])
    loop.run(application.resources.create(template))
    shop.tag_resource(resourceArn=arn, tags={"use": "scores"})
    assert shop.list_tags_for_resource(resourceArn=arn)["tags"] == {"use": "scores"}

    elsewhere = arn.replace(membership["id"], UNKNOWN)
    for client, name in ((party(BANK), arn), (shop, elsewhere), (shop, arn.replace(SHOP, BANK)), (shop, "x" * 5000)):
        assert refusal(client.list_tags_for_resource, resourceArn=name)[0] == "ResourceNotFoundException"
