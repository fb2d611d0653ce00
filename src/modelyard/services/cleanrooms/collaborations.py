"""Collaborations and their members.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateCollaboration.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.collaborations.model import ACTIVE, INVITED, Collaboration, Member
from modelyard.collaborations.parties import MOST_MEMBERS, NotNow
from modelyard.services.calls import listed, moment, next_token, owner
from modelyard.services.cleanrooms import payments
from modelyard.services.cleanrooms.backend import Backend, conflict, denied, invalid, not_found, search, tags_of
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KEPT = (
    "name",
    "description",
    "queryLogStatus",
    "jobLogStatus",
    "dataEncryptionMetadata",
    "analyticsEngine",
    "allowedResultRegions",
    "isMetricsEnabled",
)
"""Members of a request that a collaboration shows as they came."""
CHANGED: Sequence[str] = ("name", "description", "analyticsEngine")
CREATOR = {
    "displayName": "creatorDisplayName",
    "memberAbilities": "creatorMemberAbilities",
    "mlMemberAbilities": "creatorMLMemberAbilities",
    "paymentConfiguration": "creatorPaymentConfiguration",
}
"""How a request calls what it says of the creator, who becomes a member as the others."""


class Collaborations:
    """The operations on collaborations and members."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._parties = backend.parties

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Makes a collaboration; all its members are invited, the caller too."""
        members = payments.settled(_members(call, request))
        document = {member: request[member] for member in KEPT if member in request}
        document["creatorDisplayName"] = request["creatorDisplayName"]
        document["autoApprovedChangeTypes"] = request.get("autoApprovedChangeRequestTypes")
        made = await self._parties.create(owner(call), document, members, tags_of(request))
        return {"collaboration": _described(made, call)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One collaboration, for its members and for those who are invited."""
        found = self._parties.collaboration(owner(call), request["collaborationIdentifier"])
        return {"collaboration": _described(found, call)}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the collaborations that the caller has joined, or may join."""
        statuses = [request["memberStatus"]] if "memberStatus" in request else (INVITED, ACTIVE)
        page = self._parties.collaborations(owner(call), search(request, statuses=statuses))
        return listed("collaborationList", page, lambda one: _summary(one, call))

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives a collaboration another name, description or engine."""
        found = self._own(call, request)
        values = {member: request[member] for member in CHANGED if member in request}
        return {"collaboration": _described(await self._parties.update(found, values), call)}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Ends a collaboration for all its members."""
        await self._parties.delete(self._own(call, request))
        self._backend.wake()
        return {}

    @quick
    def list_members(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of members, the creator first."""
        found = self._parties.collaboration(owner(call), request["collaborationIdentifier"])
        looked = search(request)
        start = looked.position or 0
        page = found.members[start : start + looked.limit]
        following = start + len(page) if start + len(page) < len(found.members) else None
        return {
            "memberSummaries": [_member(one, found) for one in page],
            "nextToken": next_token(following),
        }

    async def delete_member(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Puts a member out, for good: what it brought is out of the others' reach."""
        found, account = self._own(call, request), request["accountId"]
        if account == found.creator:
            reason = f"account {account} made the collaboration and cannot be put out; DeleteCollaboration ends it"
            raise invalid("accountId", reason)
        if all(member.account != account for member in found.members):
            raise not_found(call, "MEMBERSHIP", f"member of collaboration {found.id},", account)
        try:
            await self._parties.remove(found, account)
        except NotNow as error:
            raise conflict(str(error), "INVALID_STATE", "COLLABORATION", found.id) from None
        self._backend.wake()
        return {}

    def _own(self, call: Call, request: Mapping[str, Any]) -> Collaboration:
        """The collaboration that a request names, if the caller made it; else a Fault."""
        found = self._parties.collaboration(owner(call), request["collaborationIdentifier"])
        if found.creator != call.account:
            raise denied(f"Collaboration {found.id} can be changed by its creator alone, account {found.creator}")
        return found


def _members(call: Call, request: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What is kept of each member, by account; a Fault for members that make no collaboration."""
    creator = {member: request[name] for member, name in CREATOR.items() if name in request}
    found: dict[str, dict[str, Any]] = {call.account: creator}
    for place, given in enumerate(request["members"]):
        account, member = given["accountId"], {name: given[name] for name in CREATOR if name in given}
        if account in found:
            raise invalid(f"members[{place}].accountId", f"account {account} is a member already")
        found[account] = member
    if len(found) > MOST_MEMBERS:
        quota = {"quotaName": "members of a collaboration", "quotaValue": MOST_MEMBERS}
        raise Fault("ServiceQuotaExceededException", f"A collaboration has at most {MOST_MEMBERS} members", quota)
    asking = [account for account, member in found.items() if "CAN_QUERY" in member["memberAbilities"]]
    if len(asking) != 1:
        reason = f"exactly one member has the ability CAN_QUERY, not {len(asking)}"
        raise invalid("creatorMemberAbilities" if not asking else "members", reason)
    return found


def _described(found: Collaboration, call: Call) -> dict[str, Any]:
    shown = {member: found.document.get(member) for member in (*KEPT, "autoApprovedChangeTypes")}
    return {**_summary(found, call), **shown}


def _summary(found: Collaboration, call: Call) -> dict[str, Any]:
    caller = found.member(call.account)
    return {
        "id": found.id,
        "arn": found.arn,
        "name": found.name,
        "creatorAccountId": found.creator,
        "creatorDisplayName": found.document["creatorDisplayName"],
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
        "memberStatus": caller.status,
        "membershipId": caller.membership,
        "membershipArn": found.membership_arn(caller),
        "analyticsEngine": found.document.get("analyticsEngine"),
    }


def _member(member: Member, found: Collaboration) -> dict[str, Any]:
    return {
        "accountId": member.account,
        "status": member.status,
        "displayName": member.display_name,
        "abilities": member.document["memberAbilities"],
        "mlAbilities": member.document.get("mlMemberAbilities"),
        "createTime": moment(member.created),
        "updateTime": moment(member.updated),
        "membershipId": member.membership,
        "membershipArn": found.membership_arn(member),
        "paymentConfiguration": payments.shown(member.document.get("paymentConfiguration"), member),
    }
