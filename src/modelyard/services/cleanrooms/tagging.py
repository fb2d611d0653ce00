"""Tags on whatever of Clean Rooms' can have them.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_TagResource.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.collaborations import arns, budgets
from modelyard.collaborations.model import COLLABORATION, COLLABORATION_DELETED, MEMBERSHIP
from modelyard.collaborations.queries import TEMPLATE
from modelyard.collaborations.tables import ASSOCIATION, CONFIGURED_TABLE
from modelyard.jobs.model import NotFound, Owner
from modelyard.services.calls import owner
from modelyard.services.cleanrooms.backend import Backend, not_found, tags_of
from modelyard.wire.endpoint import Call, quick

KINDS: Mapping[str, str] = {
    "collaboration": COLLABORATION,
    "membership": MEMBERSHIP,
    "configuredtable": CONFIGURED_TABLE,
    "configuredtableassociation": ASSOCIATION,
    "analysistemplate": TEMPLATE,
    "privacybudgettemplate": budgets.TEMPLATE,
}
"""The kinds of resources that can have tags, by the words of their ARNs."""
TYPES = {"collaboration": "COLLABORATION", "configuredtable": "CONFIGURED_TABLE"}
"""How ResourceNotFoundException calls them; what is not named here lies in a membership."""


class Tagging:
    """The operations on tags, for the owner of what has them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def tag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Adds tags, and gives those that are there new values."""
        await self._backend.tags.put(self._taggable(call, request["resourceArn"]), tags_of(request))
        return {}

    async def untag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes tags off."""
        await self._backend.tags.remove(self._taggable(call, request["resourceArn"]), request["tagKeys"])
        return {}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The tags of something, by key."""
        return {"tags": self._backend.tags.of(self._taggable(call, request["resourceArn"]))}

    def _taggable(self, call: Call, text: str) -> str:
        """The ARN of something that is there, and is the caller's; else a Fault."""
        arn = arns.parse(text)
        if arn is not None and arn.service == arns.CLEANROOMS and arn.owner == owner(call) and arn.resource in KINDS:
            where = Owner("", call.region) if arn.resource == "collaboration" else arn.owner
            try:
                found = self._backend.resources.get(where, KINDS[arn.resource], arn.id)
                if found.document["arn"] == text and found.status != COLLABORATION_DELETED:
                    return text
            except NotFound:
                pass
        type = TYPES.get(arn.resource, "MEMBERSHIP") if arn else "MEMBERSHIP"
        raise not_found(call, type, "resource that can have tags,", text)
