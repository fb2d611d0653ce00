"""What the resources of Clean Rooms work on, and the checks and words that they share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.collaborations.catalog import Catalog
from modelyard.collaborations.core import Core
from modelyard.collaborations.glue import Glue
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Resource
from modelyard.services.calls import owner, read_position
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

DEFAULT_PAGE = 100
"""Items of a page where the request does not say."""


@dataclass(frozen=True)
class Backend(Core):
    """The core, with what Clean Rooms alone needs.

    catalog, glue: where tables are looked up; glue is None unless it is asked. remove: deletes what a `modelyard://`
    URI names.
    """

    catalog: Catalog
    glue: Glue | None
    remove: Callable[[str], Awaitable[None]]

    def collaboration(self, call: Call, request: Mapping[str, Any]) -> Collaboration:
        """The collaboration that a request names. NotAMember unless the caller is an active one."""
        return self.parties.active_member(owner(call), request["collaborationIdentifier"]).collaboration

    def in_membership(
        self, call: Call, request: Mapping[str, Any], kind: str, id: str, what: str, type: str = "MEMBERSHIP"
    ) -> tuple[Resource, Membership]:
        """What the caller has under an id in the membership that a request names, and that membership.

        A Fault that calls it `what` if there is none, of a `type` of ResourceNotFoundException's; NotAMember.
        """
        membership = self.parties.membership(owner(call), request["membershipIdentifier"])
        try:
            found = self.resources.get(owner(call), kind, id)
            if found.base == membership.arn:
                return found, membership
        except NotFound:
            pass
        raise not_found(call, type, what, id)


def denied(message: str) -> Fault:
    """The answer to a member that may not do what it asks for."""
    return Fault("AccessDeniedException", message, {"reason": "INSUFFICIENT_PERMISSIONS"})


def not_found(call: Call, type: str, what: str, id: str) -> Fault:
    """The answer to an id of nothing that the caller has; `type` is one of ResourceNotFoundException's."""
    reason = f"There is no {what} {id[:300]!r} of account {call.account} in {call.region}"
    return Fault("ResourceNotFoundException", reason, {"resourceId": id, "resourceType": type})


def conflict(message: str, reason: str, type: str | None = None, id: str | None = None) -> Fault:
    """The answer to what does not fit how things stand; reason: ALREADY_EXISTS, SUBRESOURCES_EXIST or INVALID_STATE."""
    return Fault("ConflictException", message, {"reason": reason, "resourceType": type, "resourceId": id})


def invalid(member: str, message: str, reason: str = "FIELD_VALIDATION_FAILED") -> Fault:
    """The answer to a member of a request that the model allows, and that makes no sense."""
    fields = [{"name": member, "message": message}]
    return Fault("ValidationException", f"{member}: {message}", {"reason": reason, "fieldList": fields})


def check_role(call: Call, member: str, role: str) -> None:
    """Faults if a role is another account's."""
    if role.split(":")[4] != call.account:
        raise denied(f"{member}: {role} is no role of account {call.account}")


def tags_of(request: Mapping[str, Any]) -> Mapping[str, str]:
    """The tags that come with a request; a Fault for a key that AWS keeps for itself."""
    tags: Mapping[str, str] = request.get("tags", {})
    if reserved := next((key for key in tags if key.lower().startswith("aws:")), None):
        raise invalid("tags", f"the key {reserved!r} begins with aws:, which is reserved")
    return tags


def search(request: Mapping[str, Any], **looked: Any) -> Search:
    """The search that a List request describes, newest first; a Fault for a token that we did not give."""
    limit, position = request.get("maxResults", DEFAULT_PAGE), read_position(request, invalid)
    return Search(limit=limit, position=position, **looked)
