"""What the resources of Clean Rooms ML work on, and the checks and words that they share.

A resource's kind is the word that its ARN has.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from modelyard.collaborations import arns
from modelyard.collaborations.core import Core
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.jobs.images import Image, Images
from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Resource
from modelyard.services.calls import owner, read_position, sifted
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

Found = TypeVar("Found")
Told = TypeVar("Told")

CONFIGURATION = "ml-configuration"
ALGORITHM = "configured-model-algorithm"
ASSOCIATION = "configured-model-algorithm-association"
CHANNEL = "ml-input-channel"
MODEL = "trained-model"
VERSION = "trained-model-version"
INFERENCE = "trained-model-inference-job"
EXPORT = "trained-model-export-job"

ACTIVE = "ACTIVE"
DEFAULT_PAGE = 10
"""Items of a page where the request does not say."""
LONGEST_MESSAGE = 1024


@dataclass(frozen=True)
class Backend(Core):
    """The core, with the images that models run in."""

    images: Images

    def member(self, call: Call, request: Mapping[str, Any]) -> Membership:
        """The membership that a request names: the caller's own, and active. NotAMember."""
        return self.parties.active(owner(call), request["membershipIdentifier"])

    def asker(self, call: Call, request: Mapping[str, Any]) -> Membership:
        """The caller's part in the collaboration that a request names. NotAMember unless it is active."""
        return self.parties.active_member(owner(call), request["collaborationIdentifier"])

    def in_membership(self, membership: Membership, kind: str, identifier: str) -> Resource:
        """What an ARN names in a membership; the same Fault for what lies elsewhere and for what is nowhere."""
        arn = arns.parse(identifier)
        if arn is not None and (arn.resource, arn.membership, arn.owner) == (kind, membership.id, membership.owner):
            try:
                return self.resources.get(arn.owner, kind, arn.id)
            except NotFound:
                pass
        raise not_found(kind, identifier, f"membership {membership.id}")

    def in_collaboration(self, collaboration: Collaboration, kind: str, identifier: str) -> Resource:
        """What an ARN names in a collaboration, whichever member's; else a Fault that does not tell why."""
        arn = arns.parse(identifier)
        if arn is not None and arn.resource == kind:
            try:
                found = self.resources.get(arn.owner, kind, arn.id)
                if (found.root, found.document["arn"]) == (collaboration.arn, identifier):
                    return found
            except NotFound:
                pass
        raise not_found(kind, identifier, f"collaboration {collaboration.id}")

    def list_own(
        self, name: str, membership: Membership, kind: str, request: Mapping[str, Any], told: Callable[[Resource], Any]
    ) -> dict[str, Any]:
        """A page of what lies in a membership, as `sifted` answers it."""
        return sifted(
            name,
            lambda looked: self.resources.page(membership.owner, kind, looked),
            search(request, base=membership.arn),
            told,
        )

    def list_of_all(
        self,
        name: str,
        collaboration: Collaboration,
        kind: str,
        request: Mapping[str, Any],
        told: Callable[[Resource], dict[str, Any] | None],
    ) -> dict[str, Any]:
        """A page of what all members have in a collaboration; beside what is told of each stands whose it is."""

        def with_creator(found: Resource) -> dict[str, Any] | None:
            said = told(found)
            return None if said is None else {**said, "creatorAccountId": found.owner.account}

        return sifted(
            name,
            lambda looked: self.resources.page_under(collaboration.region, kind, looked),
            search(request, root=collaboration.arn),
            with_creator,
        )

    def image(self, uri: str) -> Image:
        """The image that a URI names here; a Fault if it was not added."""
        image = self.images.find(uri)
        if image is None:
            reason = f"the image {uri} is not here; its provider's operator adds it: modelyard images add {uri} PATH"
            raise Fault("ValidationException", f"imageUri: {reason}")
        return image


def not_found(kind: str, identifier: str, where: str) -> Fault:
    """The answer to an ARN of nothing that may be seen there."""
    return Fault("ResourceNotFoundException", f"There is no {kind} {identifier[:300]!r} in {where}")


def denied(message: str) -> Fault:
    """The answer to a member that may not do what it asks for."""
    return Fault("AccessDeniedException", message)


def invalid(member: str, message: str) -> Fault:
    """The answer to a member of a request that the model allows, and that makes no sense."""
    return Fault("ValidationException", f"{member}: {message}")


def conflict(message: str) -> Fault:
    """The answer to what does not fit how things stand."""
    return Fault("ConflictException", message)


def require_ability(membership: Membership, ability: str) -> None:
    """AccessDenied unless the member has an ability."""
    if not membership.can(ability):
        account = membership.owner.account
        raise denied(f"Account {account} has not the ability {ability} in collaboration {membership.collaboration.id}")


def require_own_role(call: Call, role: str, member: str = "roleArn") -> None:
    """AccessDenied if a role is another account's."""
    if role.split(":")[4] != call.account:
        raise denied(f"{member}: {role} is a role of another account than {call.account}")


def require_payer(backend: Backend, membership: Membership, kind: str, given: str | None, member: str) -> None:
    """A Fault unless somebody who pays for a kind of work is an active member, and the one that the request names."""
    if backend.parties.payer(membership.collaboration, kind) is None:
        raise conflict(f"The member who pays for {kind} has not joined the collaboration, or has left it")
    if given is not None and backend.parties.payer(membership.collaboration, kind, given) is None:
        raise invalid(member, f"account {given} does not pay for {kind} in this collaboration")


def tags_of(request: Mapping[str, Any]) -> Mapping[str, str]:
    """The tags that come with a request; a Fault for a key that AWS keeps for itself."""
    tags: Mapping[str, str] = request.get("tags", {})
    if reserved := next((key for key in tags if key.lower().startswith("aws:")), None):
        raise invalid("tags", f"the key {reserved!r} begins with aws:, which is AWS's own")
    return tags


def present(**members: Any) -> dict[str, Any]:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def search(request: Mapping[str, Any], **looked: Any) -> Search:
    """The search that a List request describes, newest first; a Fault for a token that we did not give."""
    limit, position = request.get("maxResults", DEFAULT_PAGE), read_position(request, invalid)
    return Search(limit=limit, position=position, **looked)
