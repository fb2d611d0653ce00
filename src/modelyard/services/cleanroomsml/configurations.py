"""ML configurations: where a member wants what it may receive.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_PutMLConfiguration.html
"""

from typing import Any

from modelyard.collaborations.model import Membership
from modelyard.jobs import resources
from modelyard.jobs.model import AlreadyExists, NotFound
from modelyard.services.calls import moment
from modelyard.services.cleanroomsml.backend import ACTIVE, CONFIGURATION, Backend, invalid, require_own_role
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError, parts
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

LONGEST_KEY = 300
"""Bytes of the prefix: what is put below it has long names, and a key has 1024 at most."""

_DESTINATION = "defaultOutputLocation.destination.s3Destination.s3Uri"


class Configurations:
    """The operations on ML configurations. Each membership has one at most."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def put(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Sets the member's configuration, or replaces it. Jobs on their way keep to the one they began with."""
        membership = self._backend.member(call, request)
        location = request["defaultOutputLocation"]
        require_own_role(call, location["roleArn"], "defaultOutputLocation.roleArn")
        if uri := _destination(location):
            await self._check(call, uri)
        document = {"location": location}
        new = resources.new(
            membership.owner,
            CONFIGURATION,
            membership.id,
            None,
            ACTIVE,
            document,
            membership.arn,
            membership.collaboration.arn,
        )
        try:
            await self._backend.resources.create(new)
        except AlreadyExists:
            await self._backend.resources.change(new, document=document)
        return {}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The member's configuration."""
        membership = self._backend.member(call, request)
        found = self._backend.resources.get(membership.owner, CONFIGURATION, membership.id)
        return {
            "membershipIdentifier": membership.id,
            "defaultOutputLocation": found.document["location"],
            "createTime": moment(found.created),
            "updateTime": moment(found.updated),
        }

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Forgets it; jobs that are on their way deliver all the same."""
        membership = self._backend.member(call, request)
        found = self._backend.resources.get(membership.owner, CONFIGURATION, membership.id)
        await self._backend.resources.delete(found)
        return {}

    async def _check(self, call: Call, uri: str) -> None:
        """Faults unless the caller may write below a URI. A bucket that is not there will be made, and is theirs."""
        buckets = self._backend.buckets
        try:
            bucket, keys = parts(uri)
            if await self._backend.storage.kind(f"s3://{bucket}") is None:
                await buckets.own(bucket, call.account)
            buckets.check(bucket, call.account)
        except AccessDenied as error:
            raise Fault("AccessDeniedException", f"{_DESTINATION}: {error}") from None
        except ObjectError as error:
            raise invalid(_DESTINATION, str(error)) from None
        if len("/".join(keys).encode()) > LONGEST_KEY:
            raise invalid(_DESTINATION, f"the prefix is longer than {LONGEST_KEY} bytes; choose a shorter one")


def destination(backend: Backend, membership: Membership) -> str | None:
    """Where a member wants what it receives; None without a configuration, or without a destination in it."""
    try:
        found = backend.resources.get(membership.owner, CONFIGURATION, membership.id)
    except NotFound:
        return None
    return _destination(found.document["location"])


def is_configured(backend: Backend, membership: Membership) -> bool:
    """Whether a member has an ML configuration."""
    try:
        return bool(backend.resources.get(membership.owner, CONFIGURATION, membership.id))
    except NotFound:
        return False


def _destination(location: dict[str, Any]) -> str | None:
    uri = location.get("destination", {}).get("s3Destination", {}).get("s3Uri")
    return str(uri) if uri else None
