"""Parties: collaborations, who was invited into them, and the memberships of those who joined.

What one may not know of is not there: an id that nobody has and one that is another's raise the same `NotAMember`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import arns
from modelyard.collaborations.model import (
    ACTIVE,
    COLLABORATION,
    COLLABORATION_DELETED,
    INVITED,
    LEFT,
    MEMBER,
    MEMBERSHIP,
    REMOVED,
    Collaboration,
    Membership,
    NotAMember,
    collaboration_of,
    membership_of,
)
from modelyard.database import Database
from modelyard.jobs import resources, tags
from modelyard.jobs.listing import Page, Search
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.jobs.resources import Resources

BROUGHT = (
    "configuredtableassociation",
    "analysistemplate",
    "privacybudgettemplate",
    "configured-model-algorithm-association",
)
"""What a party takes out of a membership, by the words of ARNs, before it can leave."""
MOST_MEMBERS = 20
"""Of a collaboration, with the one that made it."""


class NotNow(Exception):
    """How a member or a membership stands does not allow this; the text says how it stands, and the way out."""


class StillUsed(Exception):
    """A membership cannot end while `by`, ARNs of what lies in it, is there."""

    def __init__(self, by: Sequence[str]) -> None:
        super().__init__(", ".join(by))
        self.by = by


Leaving = Callable[[Connection, Membership], None]
"""What happens in the transaction in which a membership ends: by its owner, by the creator, or with all."""


class Parties:
    """All collaborations. Coroutines write; the rest reads, on an index."""

    def __init__(self, database: Database, resources: Resources) -> None:
        self._database = database
        self._resources = resources
        self._leaving: list[Leaving] = []

    def at_leaving(self, work: Leaving) -> None:
        """Has `work` done whenever a membership ends; the membership stands as it did before."""
        self._leaving.append(work)

    def membership(self, owner: Owner, id: str) -> Membership:
        """The asker's own membership with this id, active or not; NotAMember."""
        try:
            found = self._resources.get(owner, MEMBERSHIP, id)
        except NotFound:
            raise NotAMember(id) from None
        return self._with_collaboration(found)

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

    def took_part(self, owner: Owner, id: str) -> None:
        """NotAMember unless the asker was ever invited into the collaboration with this id, whatever came of it."""
        try:
            self._resources.get(owner, MEMBER, id)
        except NotFound:
            raise NotAMember(id) from None

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
                return membership_of(found, collaboration)
        return None

    def memberships(self, collaboration: Collaboration) -> Sequence[Membership]:
        """All ACTIVE memberships, in the order of the members."""
        found = (self.of_account(collaboration, member.account) for member in collaboration.members)
        return [one for one in found if one is not None]

    def payer(self, collaboration: Collaboration, kind: str, account: str | None = None) -> Membership | None:
        """The ACTIVE membership of `account`, or of the first, among those who pay for a kind of work, if any joined.

        kind: queryCompute, modelTraining, modelInference …
        """
        paying = [member.account for member in collaboration.members if member.payments.get(kind)]
        found = (self.of_account(collaboration, one) for one in paying if account in (None, one))
        return next((one for one in found if one is not None), None)

    def collaborations(self, owner: Owner, search: Search) -> Page[Collaboration]:
        """Those that an account was invited into, by the age of the invitation; `search` may name its statuses."""
        page = self._resources.page(owner, MEMBER, search)
        return Page([self._collaboration(owner.region, one.id) for one in page.items], page.following)

    def own_memberships(self, owner: Owner, search: Search) -> Page[Membership]:
        """An account's own memberships by age, of whatever status."""
        page = self._resources.page(owner, MEMBERSHIP, search)
        return Page([self._with_collaboration(one) for one in page.items], page.following)

    async def create(
        self,
        owner: Owner,
        document: Mapping[str, Any],
        members: Mapping[str, Mapping[str, Any]],
        tagged: Mapping[str, str],
    ) -> Collaboration:
        """A new collaboration of its creator, the first of `members`, all of whom are invited; by account."""
        id = arns.new_id()
        arn = arns.collaboration(owner.region, owner.account, id)
        kept = {**document, "arn": arn, "creator": owner.account}
        invited = [
            resources.new(Owner(account, owner.region), MEMBER, id, None, INVITED, one, arn, arn)
            for account, one in members.items()
        ]

        def work(connection: Connection) -> None:
            resources.add(connection, resources.new(Owner("", owner.region), COLLABORATION, id, None, ACTIVE, kept))
            for one in invited:
                resources.add(connection, one)
            tags.put(connection, arn, tagged)

        await self._database.write(work)
        return self._collaboration(owner.region, id)

    async def update(self, collaboration: Collaboration, values: Mapping[str, Any]) -> Collaboration:
        """Gives members of a collaboration's document new values; NotAMember if it was deleted meanwhile."""
        where = Owner("", collaboration.region)

        def work(connection: Connection) -> None:
            found = _standing(connection, where, COLLABORATION, collaboration.id, (ACTIVE,))
            resources.change(connection, found, document={**found.document, **values})

        await self._database.write(work)
        return self._collaboration(collaboration.region, collaboration.id)

    async def delete(self, collaboration: Collaboration) -> None:
        """Ends a collaboration for everybody. Its memberships can still be looked at by their owners."""
        where = Owner("", collaboration.region)

        def work(connection: Connection) -> None:
            found = _standing(connection, where, COLLABORATION, collaboration.id, (ACTIVE,))
            for member in collaboration.members:
                self._end(connection, collaboration, member.account, REMOVED, COLLABORATION_DELETED)
            tags.drop(connection, collaboration.arn)
            resources.change(connection, found, status=COLLABORATION_DELETED)

        await self._database.write(work)

    async def remove(self, collaboration: Collaboration, account: str) -> None:
        """Puts a member out; NotNow if it is none any more, NotAMember if it never was."""
        status = collaboration.member(account).status
        if status not in (INVITED, ACTIVE):
            raise NotNow(f"Account {account} is no member any more: it is {status}")

        def work(connection: Connection) -> None:
            self._end(connection, collaboration, account, REMOVED, REMOVED)

        await self._database.write(work)

    async def join(
        self, owner: Owner, collaboration: Collaboration, document: Mapping[str, Any], tagged: Mapping[str, str]
    ) -> Membership:
        """The membership of one who was invited; NotNow if it joined before, NotAMember if it was put out meanwhile."""
        id = arns.new_id()
        arn = arns.membership(owner, id)
        kept = {**document, "arn": arn, "collaboration": collaboration.id}
        new = resources.new(owner, MEMBERSHIP, id, None, ACTIVE, kept, collaboration.arn, collaboration.arn)

        def work(connection: Connection) -> None:
            part = _standing(connection, owner, MEMBER, collaboration.id, (INVITED, ACTIVE))
            if part.status == ACTIVE:
                raise NotNow(f"Account {owner.account} has a membership of this collaboration already")
            resources.change(connection, part, status=ACTIVE, document={**part.document, "membership": id})
            resources.add(connection, new)
            tags.put(connection, arn, tagged)

        await self._database.write(work)
        return self.membership(owner, id)

    async def change(self, membership: Membership, values: Mapping[str, Any]) -> Membership:
        """Gives members of a membership's document new values; NotAMember unless it is still ACTIVE."""

        def work(connection: Connection) -> None:
            found = _standing(connection, membership.owner, MEMBERSHIP, membership.id, (ACTIVE,))
            resources.change(connection, found, document={**found.document, **values})

        await self._database.write(work)
        return self.membership(membership.owner, membership.id)

    async def leave(self, membership: Membership) -> None:
        """Ends a membership, by its owner; one that has ended already is forgotten.

        StillUsed while what its owner brought lies in it: those things are deleted first, so that none is forgotten.
        """

        def work(connection: Connection) -> None:
            found = resources.row(connection, membership.owner, MEMBERSHIP, membership.id)
            brought = [one.document["arn"] for one in resources.under(connection, membership.arn) if _brought(one)]
            if brought and found.status == ACTIVE:
                raise StillUsed(brought)
            if found.status == ACTIVE:
                self._end(connection, membership.collaboration, membership.owner.account, LEFT, REMOVED)
            tags.drop(connection, membership.arn)
            resources.remove(connection, membership.owner, MEMBERSHIP, membership.id)

        await self._database.write(work)

    def _end(
        self, connection: Connection, collaboration: Collaboration, account: str, part: str, membership: str
    ) -> None:
        """Gives an account's part, and its membership if it joined, their last statuses."""
        where = Owner(account, collaboration.region)
        found = resources.row(connection, where, MEMBER, collaboration.id)
        if found.status == ACTIVE:
            joined = resources.row(connection, where, MEMBERSHIP, found.document["membership"])
            for work in self._leaving:
                work(connection, membership_of(joined, collaboration))
            resources.change(connection, joined, status=membership)
        if found.status in (INVITED, ACTIVE):
            resources.change(connection, found, status=part)

    def _with_collaboration(self, found: Resource) -> Membership:
        return membership_of(found, self._collaboration(found.owner.region, found.document["collaboration"]))

    def _collaboration(self, region: str, id: str) -> Collaboration:
        found = self._resources.get(Owner("", region), COLLABORATION, id)
        looked = Search(base=found.document["arn"], ascending=True, limit=MOST_MEMBERS)
        members = self._resources.page_under(region, MEMBER, looked).items
        return collaboration_of(found, members)


def require(connection: Connection, membership: Membership) -> None:
    """NotAMember unless a membership is still ACTIVE, within a transaction."""
    _standing(connection, membership.owner, MEMBERSHIP, membership.id, (ACTIVE,))


def require_members(connection: Connection, collaboration: Collaboration, accounts: Iterable[str]) -> None:
    """NotAMember unless all these accounts are ACTIVE members by now, within a transaction."""
    for account in accounts:
        _standing(connection, Owner(account, collaboration.region), MEMBER, collaboration.id, (ACTIVE,))


def _standing(connection: Connection, owner: Owner, kind: str, id: str, statuses: Sequence[str]) -> Resource:
    """A row within a transaction; NotAMember if it stands otherwise by now."""
    try:
        found = resources.row(connection, owner, kind, id)
    except NotFound:
        raise NotAMember(id) from None
    if found.status not in statuses:
        raise NotAMember(id)
    return found


def _brought(one: Resource) -> bool:
    """Whether something in a membership is what a party brings, and can take away again."""
    arn = arns.parse(one.document.get("arn", ""))
    return arn is not None and arn.resource in BROUGHT
