"""Memberships: what those who were invited join with.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_CreateMembership.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.collaborations.model import Membership
from modelyard.collaborations.parties import NotNow, StillUsed
from modelyard.services.calls import listed, moment, owner
from modelyard.services.cleanrooms import payments
from modelyard.services.cleanrooms.backend import Backend, check_role, conflict, search, tags_of
from modelyard.wire.endpoint import Call, quick

RESULTS = ("defaultResultConfiguration", "defaultJobResultConfiguration")
KEPT = ("queryLogStatus", "jobLogStatus", *RESULTS, "isMetricsEnabled")
"""Members of a request that a membership shows as they came."""
NAMED = 5
"""So many ARNs of what hinders are named in an answer."""


class Memberships:
    """The operations on memberships."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._parties = backend.parties

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Joins a collaboration that the caller was invited into."""
        found = self._parties.collaboration(owner(call), request["collaborationIdentifier"])
        payments.check_accepted(found.member(call.account), request.get("paymentConfiguration"), "paymentConfiguration")
        self._check_results(call, request)
        document = {member: request[member] for member in (*KEPT, "paymentConfiguration") if member in request}
        try:
            made = await self._parties.join(owner(call), found, document, tags_of(request))
        except NotNow as error:
            raise conflict(str(error), "ALREADY_EXISTS", "MEMBERSHIP") from None
        return {"membership": _described(made)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """One membership of the caller's, which may have ended."""
        return {"membership": _described(self._own(call, request))}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's memberships."""
        statuses = [request["status"]] if "status" in request else ()
        page = self._parties.own_memberships(owner(call), search(request, statuses=statuses))
        return listed("membershipSummaries", page, _summary)

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Gives a membership other logs, result locations or accepted payments."""
        membership = self._own(call, request)
        values = {member: request[member] for member in KEPT if member in request}
        if "membershipPaymentConfiguration" in request:
            accepted = values["paymentConfiguration"] = request["membershipPaymentConfiguration"]
            payments.check_accepted(membership.member, accepted, "membershipPaymentConfiguration")
        self._check_results(call, request)
        return {"membership": _described(await self._parties.change(membership, values))}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Leaves a collaboration; what the caller brought into it has to be deleted before."""
        membership = self._own(call, request)
        try:
            await self._parties.leave(membership)
        except StillUsed as error:
            named = ", ".join(error.by[:NAMED]) + (f" and {len(error.by) - NAMED} more" if error.by[NAMED:] else "")
            reason = f"Membership {membership.id} still has {named}; delete these first"
            raise conflict(reason, "SUBRESOURCES_EXIST", "MEMBERSHIP", membership.id) from None
        self._backend.wake()
        return {}

    def _own(self, call: Call, request: Mapping[str, Any]) -> Membership:
        return self._parties.membership(owner(call), request["membershipIdentifier"])

    def _check_results(self, call: Call, request: Mapping[str, Any]) -> None:
        """A Fault unless results would go to the caller's own buckets, by its own roles."""
        for member in RESULTS:
            configuration = request.get(member, {})
            if "roleArn" in configuration:
                check_role(call, f"{member}.roleArn", configuration["roleArn"])
            if s3 := configuration.get("outputConfiguration", {}).get("s3"):
                self._backend.buckets.check(s3["bucket"], call.account)


def _described(found: Membership) -> dict[str, Any]:
    return {**_summary(found), **{member: found.document.get(member) for member in KEPT}}


def _summary(found: Membership) -> dict[str, Any]:
    collaboration, member = found.collaboration, found.member
    return {
        "id": found.id,
        "arn": found.arn,
        "collaborationArn": collaboration.arn,
        "collaborationId": collaboration.id,
        "collaborationCreatorAccountId": collaboration.creator,
        "collaborationCreatorDisplayName": collaboration.document["creatorDisplayName"],
        "collaborationName": collaboration.name,
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
        "status": found.status,
        "memberAbilities": member.document["memberAbilities"],
        "mlMemberAbilities": member.document.get("mlMemberAbilities"),
        "paymentConfiguration": payments.shown(found.document.get("paymentConfiguration"), member),
    }
