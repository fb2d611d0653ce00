"""Parties: collaborations, who was invited into them, and the memberships of those who joined.

What one may not know of is not there: an id that nobody has and one that is another's raise the same `NotAMember`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.jobs.resources import Resources
from modelyard.jobs.tags import Tags

COLLABORATION, MEMBER, MEMBERSHIP = "collaboration", "collaboration member", "membership"
INVITED, ACTIVE, LEFT, REMOVED = "INVITED", "ACTIVE", "LEFT", "REMOVED"
COLLABORATION_DELETED = "COLLABORATION_DELETED"
MOST_MEMBERS = 20
"""Of a collaboration, with the one that made it."""


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


class Parties:
    """All collaborations. Coroutines write; the rest reads, on an index."""

    def __init__(self, resources: Resources, tags: Tags) -> None:
        self._resources = resources
        self._tags = tags

    def membership(self, owner: Owner, id: str) -> Membership:
        """The asker's own membership with this id, active or not; NotAMember."""
        try:
            found = self._resources.get(owner, MEMBERSHIP, id)
        except NotFound:
            raise NotAMember(id) from None
        return self._membership(found, self._collaboration(owner.region, found.document["collaboration"]))

    def active(self, owner: Owner, id: str) -> Membership:
        """The asker's own membership with this id; NotAMember unless it is ACTIVE."""
        membership = self.membership(owner, id)
        if membership.status != ACTIVE:
            raise NotAMember(id)
        return membership

    def collaboration(self, owner: Owner, id: str) -> Collaboration:
        """The collaboration with this id, for those who were invited into it and did not leave; NotAMember."""
        try:
            part = self._resources.get(owner, MEMBER, id)
        except NotFound:
            raise NotAMember(id) from None
        if part.status not in (INVITED, ACTIVE):
            raise NotAMember(id)
        return self._collaboration(owner.region, id)

    def active_member(self, owner: Owner, collaboration: str) -> Membership:
        """The asker's ACTIVE membership of the collaboration with this id; NotAMember."""
        found = self.of_account(self.collaboration(owner, collaboration), owner.account)
        if found is None:
            raise NotAMember(collaboration)
        return found

    def of_account(self, collaboration: Collaboration, account: str) -> Membership | None:
        """The ACTIVE membership of one of the members, if it has joined and stayed."""
        for member in collaboration.members:
            if member.account == account and member.status == ACTIVE and member.membership:
                found = self._resources.get(Owner(account, collaboration.region), MEMBERSHIP, member.membership)
                return self._membership(found, collaboration)
        return None

    def memberships(self, collaboration: Collaboration) -> Sequence[Membership]:
        """All ACTIVE memberships, in the order of the members."""
        found = (self.of_account(collaboration, member.account) for member in collaboration.members)
        return [one for one in found if one is not None]

    def payer(self, collaboration: Collaboration, kind: str) -> Membership | None:
        """The ACTIVE membership of whoever pays for a kind of work; None while that member has not joined.

        kind: queryCompute, modelTraining, modelInference …
        """
        paying = (member.account for member in collaboration.members if member.payments.get(kind))
        return next((self.of_account(collaboration, account) for account in paying), None)

    def _collaboration(self, region: str, id: str) -> Collaboration:
        found = self._resources.get(Owner("", region), COLLABORATION, id)
        looked = Search(base=found.document["arn"], ascending=True, limit=MOST_MEMBERS)
        members = self._resources.page_under(region, MEMBER, looked).items
        return _collaboration(found, members)

    @staticmethod
    def _membership(found: Resource, collaboration: Collaboration) -> Membership:
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


def _collaboration(found: Resource, members: Iterable[Resource]) -> Collaboration:
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
