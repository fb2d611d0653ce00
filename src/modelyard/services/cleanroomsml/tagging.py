"""Tags on what accounts have made in Clean Rooms ML.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_TagResource.html
"""

from typing import Any

from modelyard.collaborations import arns
from modelyard.jobs.model import NotFound
from modelyard.services.calls import owner
from modelyard.services.cleanroomsml.backend import (
    ALGORITHM,
    ASSOCIATION,
    CHANNEL,
    INFERENCE,
    MODEL,
    Backend,
    check_tags,
    not_found,
)
from modelyard.wire.endpoint import Call, quick

TAGGABLE = (ALGORITHM, ASSOCIATION, CHANNEL, MODEL, INFERENCE)


class Tagging:
    """The operations on tags, for the owner of what has them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def tag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Adds tags, and gives those that are there new values."""
        check_tags(request)
        await self._backend.tags.put(self._taggable(call, request["resourceArn"]), request["tags"])
        return {}

    async def untag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes tags off."""
        await self._backend.tags.remove(self._taggable(call, request["resourceArn"]), request["tagKeys"])
        return {}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The tags of something, by key."""
        return {"tags": self._backend.tags.of(self._taggable(call, request["resourceArn"]))}

    def _taggable(self, call: Call, identifier: str) -> str:
        """The ARN of something that is there, and is the caller's; else a Fault."""
        arn = arns.parse(identifier)
        if arn is not None and arn.owner == owner(call) and arn.resource in TAGGABLE:
            try:
                if self._backend.resources.get(arn.owner, arn.resource, arn.id).document["arn"] == identifier:
                    return identifier
            except NotFound:
                pass
        raise not_found("resource that can have tags,", identifier, f"account {call.account} in {call.region}")
