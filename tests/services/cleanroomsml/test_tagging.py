"""Tags on what Clean Rooms ML has, as boto3 meets them."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.rooms import BANK, SHOP, Room


def test_are_put_read_and_taken_off_by_the_owner(client: Callable[[str, str], Any]) -> None:
    room = Room(client).open()
    association = room.bring_model(tags={"team": "models"})
    for arn in (room.algorithm, association):
        room.ml(SHOP).tag_resource(resourceArn=arn, tags={"stage": "test", "team": "scores"})
        assert room.ml(SHOP).list_tags_for_resource(resourceArn=arn)["tags"] == {"stage": "test", "team": "scores"}
        room.ml(SHOP).untag_resource(resourceArn=arn, tagKeys=["stage"])
        assert room.ml(SHOP).list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "scores"}


def test_are_nobody_elses(client: Callable[[str, str], Any]) -> None:
    room = Room(client).open()
    arn = room.bring_model()
    for call in (
        lambda: room.ml(BANK).list_tags_for_resource(resourceArn=arn),
        lambda: room.ml(BANK).tag_resource(resourceArn=arn, tags={"a": "b"}),
        lambda: room.ml(BANK).untag_resource(resourceArn=arn, tagKeys=["a"]),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert error.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_of_aws_cannot_be_set(client: Callable[[str, str], Any]) -> None:
    room = Room(client).open()
    room.bring_model()
    with pytest.raises(ClientError, match="aws:"):
        room.ml(SHOP).tag_resource(resourceArn=room.algorithm, tags={"aws:x": "y"})
