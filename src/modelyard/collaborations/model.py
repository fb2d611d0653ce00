"""Collaborations, their members, and the memberships of those who joined, as they stand."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from modelyard.collaborations import arns
from modelyard.jobs.model import Owner, Resource

COLLABORATION, MEMBER, MEMBERSHIP = "collaboration", "collaboration member", "membership"
INVITED, ACTIVE, LEFT, REMOVED = "INVITED", "ACTIVE", "LEFT", "REMOVED"
COLLABORATION_DELETED = "COLLABORATION_DELETED"


class NotAMember(Exception):
    """The asker has no part in such a collaboration or membership, or there is none: which, is not told."""


@dataclass(frozen=True)
class Member:
    """An account's part in a collaboration.

    status: INVITED, ACTIVE, LEFT or REMOVED. payments: whether it pays, by kind (queryCompute, jobCompute,
    modelTraining, modelInference, syntheticDataGeneration). membership: the id of its membership, once it joined.
    document: abilities and payments as they were asked for. created, updated: milliseconds since the epoch.
    """

    account: str
    display_name: str
    status: str
    abilities: frozenset[str]
    ml_abilities: frozenset[str]
    payments: Mapping[str, bool]
    membership: str | None
    document: Mapping[str, Any]
    created: int
    updated: int


@dataclass(frozen=True)
class Collaboration:
    """A collaboration in one region; `creator` is the account that made it, and the first of its members."""

    id: str
    arn: str
    region: str
    creator: str
    name: str
    status: str
    document: Mapping[str, Any]
    members: Sequence[Member]
    created: int
    updated: int

    def member(self, account: str) -> Member:
        """An account's part; NotAMember if it never had one."""
        for member in self.members:
            if member.account == account:
                return member
        raise NotAMember(self.id)

    def membership_arn(self, member: Member) -> str | None:
        """The ARN of a member's membership, once it joined."""
        return member.membership and arns.membership(Owner(member.account, self.region), member.membership)


@dataclass(frozen=True)
class Membership:
    """What a member joined with; status: ACTIVE, REMOVED or COLLABORATION_DELETED."""

    id: str
    arn: str
    owner: Owner
    collaboration: Collaboration
    status: str
    document: Mapping[str, Any]
    created: int
    updated: int

    @cached_property
    def member(self) -> Member:
        """Its owner's part in the collaboration."""
        return self.collaboration.member(self.owner.account)

    def can(self, ability: str) -> bool:
        """Whether its owner has an ability (CAN_QUERY …) or one for models (CAN_RECEIVE_MODEL_OUTPUT …)."""
        return ability in self.member.abilities or ability in self.member.ml_abilities


def membership_of(found: Resource, collaboration: Collaboration) -> Membership:
    """A membership as it is kept."""
    return Membership(
        found.id,
        found.document["arn"],
        found.owner,
        collaboration,
        found.status,
        found.document,
        found.created,
        found.updated,
    )


def collaboration_of(found: Resource, members: Iterable[Resource]) -> Collaboration:
    """A collaboration as it is kept, with its members."""
    return Collaboration(
        found.id,
        found.document["arn"],
        found.owner.region,
        found.document["creator"],
        found.document["name"],
        found.status,
        found.document,
        [_member(one) for one in members],
        found.created,
        found.updated,
    )


def _member(found: Resource) -> Member:
    document = found.document
    return Member(
        found.owner.account,
        document["displayName"],
        found.status,
        frozenset(document["memberAbilities"]),
        frozenset(document.get("mlMemberAbilities", {}).get("customMLMemberAbilities", ())),
        document["payments"],
        document.get("membership"),
        document,
        found.created,
        found.updated,
    )
