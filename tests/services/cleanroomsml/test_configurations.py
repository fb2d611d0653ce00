"""ML configurations as boto3 meets them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, Room, role
from tests.services.cleanroomsml.conftest import Server


@pytest.fixture
def opened(client: Callable[[str, str], Any]) -> Room:
    return Room(client).open()


def put(room: Room, account: str = BANK, roled: str = BANK, **destination: Any) -> None:
    room.ml(account).put_ml_configuration(
        membershipIdentifier=room.memberships[BANK],
        defaultOutputLocation={"roleArn": role(roled), **destination},
    )


def at(uri: str) -> dict[str, Any]:
    return {"destination": {"s3Destination": {"s3Uri": uri}}}


def code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_is_kept_replaced_and_forgotten(opened: Room) -> None:
    ml, named = opened.ml(BANK), {"membershipIdentifier": opened.memberships[BANK]}
    with pytest.raises(ml.exceptions.ResourceNotFoundException):
        ml.get_ml_configuration(**named)
    put(opened, **at("s3://bank-out/models"))
    first = ml.get_ml_configuration(**named)
    assert first["defaultOutputLocation"] == {"roleArn": role(BANK), **at("s3://bank-out/models")}
    put(opened)
    second = ml.get_ml_configuration(**named)
    assert second["defaultOutputLocation"] == {"roleArn": role(BANK)}
    assert second["createTime"] == first["createTime"]
    ml.delete_ml_configuration(**named)
    with pytest.raises(ml.exceptions.ResourceNotFoundException):
        ml.delete_ml_configuration(**named)


def test_names_a_bucket_of_the_members_own(opened: Room, server: Server) -> None:
    server.object("s3://shops").mkdir(parents=True)
    server.run(server.application.buckets.own("shops", SHOP))
    with pytest.raises(ClientError, match="another account") as error:
        put(opened, **at("s3://shops/models"))
    assert code(error) == "AccessDeniedException"
    put(opened, **at("s3://not-there-yet"))
    assert server.application.buckets.owner("not-there-yet") == BANK


@pytest.mark.parametrize("uri", ["s3://b/x", "s3://bank/../shops", f"s3://bank/{'x' * 200}/{'y' * 200}"])
def test_names_a_place_that_can_be(opened: Room, uri: str) -> None:
    with pytest.raises(ClientError) as error:
        put(opened, **at(uri))
    assert code(error) == "ValidationException"


def test_has_a_role_of_the_members_own(opened: Room) -> None:
    with pytest.raises(ClientError, match="another account") as error:
        put(opened, roled=SHOP)
    assert code(error) == "AccessDeniedException"


def test_is_nobody_elses(opened: Room) -> None:
    put(opened, **at("s3://bank-out"))
    texts = set()
    for membership in (opened.memberships[BANK], "00000000-0000-4000-8000-000000000000"):
        with pytest.raises(ClientError) as error:
            opened.ml(SHOP).get_ml_configuration(membershipIdentifier=membership)
        assert code(error) == "AccessDeniedException"
        texts.add(error.value.response["Error"]["Message"].replace(membership, ""))
    assert len(texts) == 1
