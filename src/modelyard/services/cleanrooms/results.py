"""Where the rows of a protected query go: places in S3 that belong to those who may receive them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from modelyard.collaborations.model import Membership
from modelyard.collaborations.queries import SHARD_ROWS, Judged, query_stage
from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import Keep, Stage
from modelyard.services.cleanrooms.backend import Backend, denied, invalid
from modelyard.storage.base import Kind
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError, join, parts

ABILITY = "CAN_RECEIVE_RESULTS"
WHERE = "resultConfiguration.outputConfiguration"


@dataclass(frozen=True)
class Delivery:
    """A member that gets the rows, and where it wants them.

    prefix: below it, a folder for each query. own: whether the member itself asks, and may see the place.
    """

    account: str
    prefix: str
    format: str
    single: bool
    own: bool

    def place(self, id: str) -> str:
        """The folder of one query's rows."""
        return join(self.prefix, id)

    def document(self, id: str) -> dict[str, Any]:
        """What is kept of it with the query."""
        return {"account": self.account, "location": self.place(id) if self.own else None}


class Results:
    """Finds the places that a query's result configuration means."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def deliveries(self, membership: Membership, configuration: Mapping[str, Any] | None) -> Sequence[Delivery]:
        """To whom the rows go; without a configuration, to the caller's own default. A Fault for whoever may not."""
        if configuration is None:
            found = [self._of_member(membership, membership.owner.account)]
        else:
            found = [self._delivery(membership, one) for one in _outputs(configuration["outputConfiguration"])]
        if len({one.account for one in found}) < len(found):
            raise invalid(WHERE, "an account is to receive the result twice")
        if len({(one.format, one.single) for one in found}) > 1:
            raise invalid(WHERE, "all receivers get the same files: give them one resultFormat")
        for one in found:
            await self._check_writable(one)
        return found

    def _delivery(self, membership: Membership, output: Mapping[str, Any]) -> Delivery:
        if "member" in output:
            return self._of_member(membership, output["member"]["accountId"])
        if "s3" not in output:
            raise invalid(WHERE, f"{', '.join(output)} is not served; s3, member and distribute are")
        if not membership.can(ABILITY):
            raise denied(f"Account {membership.owner.account} has no ability {ABILITY} in this collaboration")
        return _in_s3(membership.owner.account, output["s3"], own=True)

    def _of_member(self, membership: Membership, account: str) -> Delivery:
        """An active member that can receive results, at the place that its own membership names."""
        receiver = self._backend.parties.of_account(membership.collaboration, account)
        if receiver is None or not receiver.can(ABILITY):
            raise invalid(f"{WHERE}.member", f"account {account} is no active member with the ability {ABILITY}")
        default = receiver.document.get("defaultResultConfiguration")
        if not default:
            reason = f"account {account} has no defaultResultConfiguration: its membership has to say where results go"
            raise invalid(f"{WHERE}.member", reason)
        own = account == membership.owner.account
        return _in_s3(account, default["outputConfiguration"]["s3"], own)

    async def _check_writable(self, delivery: Delivery) -> None:
        """A Fault unless the receiver may write there. A bucket that is not there will be made, and is theirs."""
        try:
            bucket, keys = parts(delivery.prefix)
            if await self._backend.storage.kind(f"s3://{bucket}") is None:
                await self._backend.buckets.own(bucket, delivery.account)
            self._backend.buckets.check(bucket, delivery.account)
            above = [join(f"s3://{bucket}", *keys[: n + 1]) for n in range(len(keys))]
            taken = [one for one in above if await self._backend.storage.kind(one) is Kind.FILE]
        except (AccessDenied, ObjectError) as error:
            reason = str(error) if delivery.own else "its result location cannot be used"
            raise invalid(WHERE, f"account {delivery.account}: {reason}", "INVALID_CONFIGURATION") from None
        if taken:
            reason = f"account {delivery.account}: an object lies where its results are to have a folder"
            raise invalid(WHERE, reason, "INVALID_CONFIGURATION")


def plan(id: str, judged: Judged, deliveries: Sequence[Delivery], slots: int) -> Sequence[Stage]:
    """The stages of a query: it is run, and what it found goes to its receiver; several get a copy each."""
    first = deliveries[0]
    alone = len(deliveries) == 1
    shared = f"modelyard://queries/{id}"
    query = query_stage(
        f"{id}-query",
        judged.allowed,
        judged.locations,
        first.format,
        first.place(id) if alone else shared,
        slots,
        None if first.single else SHARD_ROWS,
    )
    if alone:
        return [replace(query, keep=Keep.IF_COMPLETED)]
    spec = TaskSpec("modelyard.workloads.cleanroom.publishing:run", {"folder": "."}, {"source": shared})
    return [
        replace(query, keep=Keep.WHILE_RUNNING),
        *(
            Stage(f"delivery {n}", f"{id}-delivery-{n}", spec, publish=one.place(id), keep=Keep.IF_COMPLETED)
            for n, one in enumerate(deliveries, 1)
        ),
    ]


def _outputs(configuration: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "distribute" in configuration:
        yield from configuration["distribute"]["locations"]
    else:
        yield configuration


def _in_s3(account: str, output: Mapping[str, Any], own: bool) -> Delivery:
    keys = [name for name in output.get("keyPrefix", "").split("/") if name]
    prefix = join(f"s3://{output['bucket']}", *keys)
    return Delivery(account, prefix, output["resultFormat"], bool(output.get("singleFileOutput")), own)
