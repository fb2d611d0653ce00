"""What the resources of Clean Rooms work on, and the checks and words that they share."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from modelyard.collaborations.audit import Audit
from modelyard.collaborations.budgets import Budgets
from modelyard.collaborations.catalog import Catalog
from modelyard.collaborations.glue import Glue
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.collaborations.parties import Parties
from modelyard.collaborations.queries import Queries
from modelyard.collaborations.tables import Tables
from modelyard.jobs import listing
from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.jobs.resources import Resources
from modelyard.jobs.store import Store
from modelyard.jobs.tags import Tags
from modelyard.storage.base import Storage
from modelyard.storage.buckets import Buckets
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

DEFAULT_PAGE = 100
"""Items of a page where the request does not say."""


@dataclass(frozen=True)
class Backend:
    """The core, as the service sees it.

    storage: the users' objects. folder: where a `modelyard://` URI lies on this machine.
    remove: deletes what such a URI names. wake: tells the supervisor that there is something to do.
    slots: the cores that jobs may keep busy at once.
    """

    store: Store
    resources: Resources
    tags: Tags
    parties: Parties
    audit: Audit
    tables: Tables
    queries: Queries
    budgets: Budgets
    catalog: Catalog
    glue: Glue | None
    storage: Storage
    buckets: Buckets
    folder: Callable[[str], Path]
    remove: Callable[[str], Awaitable[None]]
    wake: Callable[[], None]
    slots: int

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


def owner(call: Call) -> Owner:
    """Whose resources a call is about."""
    return Owner(call.account, call.region)


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


def moment(milliseconds: int) -> datetime:
    """A time of the core's as the wire has it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def search(request: Mapping[str, Any], **looked: Any) -> Search:
    """The search that a List request describes, newest first; a Fault for a token that we did not give."""
    limit, position = request.get("maxResults", DEFAULT_PAGE), _position(request)
    return Search(limit=limit, position=position, **looked)


def next_token(position: int | None) -> str | None:
    """The token that goes on after a position."""
    return listing.token(position)


def _position(request: Mapping[str, Any]) -> int | None:
    try:
        return listing.position(request.get("nextToken"))
    except listing.BadToken as bad:
        raise invalid("nextToken", str(bad)) from None
