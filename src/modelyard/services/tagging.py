"""The operations on tags, as both services of Clean Rooms have them."""

from collections.abc import Callable, Mapping
from typing import Any

from modelyard.jobs.tags import Tags
from modelyard.wire.endpoint import Call, quick

Request = Mapping[str, Any]


class Tagging:
    """Tags on what its owner names by an ARN.

    taggable: that ARN, of something that is there and the caller's; else a Fault. tags_of: the tags in a request, which
    may be set; else a Fault.
    """

    def __init__(
        self, tags: Tags, taggable: Callable[[Call, str], str], tags_of: Callable[[Request], Mapping[str, str]]
    ) -> None:
        self._tags = tags
        self._taggable = taggable
        self._tags_of = tags_of

    async def tag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Adds tags, and gives those that are there new values."""
        await self._tags.put(self._taggable(call, request["resourceArn"]), self._tags_of(request))
        return {}

    async def untag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes tags off."""
        await self._tags.remove(self._taggable(call, request["resourceArn"]), request["tagKeys"])
        return {}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The tags of something, by key."""
        return {"tags": self._tags.of(self._taggable(call, request["resourceArn"]))}
