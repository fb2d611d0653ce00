"""Records: channels, versions of models, and jobs. Each is a resource in a membership, and the job that makes it.

Both have one id. The job tells how it stands; the resource, whether what it made is to be kept.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import audit, parties
from modelyard.collaborations.audit import Entry
from modelyard.collaborations.model import Collaboration, Membership, NotAMember
from modelyard.jobs import resources, tags
from modelyard.jobs.listing import Search
from modelyard.jobs.model import Job, NotFound, Owner, Resource, Stage, Status
from modelyard.jobs.store import now
from modelyard.services.cleanroomsml.backend import ACTIVE, LONGEST_MESSAGE, Backend, conflict, tags_of
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

FACTS = "modelyard"
"""Where a job's request has what was settled when it was accepted."""
KEPT, ERASED = "kept", "erased"
"""Whether what was made is to be kept, or is deleted: `erased` already, or about to be."""
REPEAT_MS = 10_000
"""A request that comes again so soon is taken for a client's that did not get its answer."""
MOST_RUNNING = 5
"""Jobs of a kind that a membership may have on their way at once: AWS's quota."""

_WORDS = {
    Status.QUEUED: "CREATE_PENDING",
    Status.RUNNING: "CREATE_IN_PROGRESS",
    Status.STOPPED: "INACTIVE",
    Status.FAILED: "CREATE_FAILED",
}
_UNFORESEEN = re.compile(r"\w*(Error|Exception|Interrupt)\b")


@dataclass(frozen=True)
class Record:
    """A channel, a version of a model, or a job. status: AWS's word for how it stands."""

    resource: Resource
    job: Job
    status: str

    @property
    def request(self) -> Mapping[str, Any]:
        """What was asked for."""
        return self.job.request

    @property
    def facts(self) -> dict[str, Any]:
        """What was settled when it was accepted."""
        return facts(self.job)

    @property
    def arn(self) -> str:
        """Its own; that of the model for a version."""
        return str(self.resource.document["arn"])

    @property
    def name(self) -> str:
        """The name that was asked for, which others may have too."""
        return str(self.request["name"])

    @property
    def result(self) -> Mapping[str, Any]:
        """What its main stage came to; empty until then."""
        return self.job.stages[0].result

    @property
    def updated(self) -> int:
        """Milliseconds since the epoch."""
        times = [time for stage in self.job.stages for time in (stage.started, stage.ended) if time]
        return max([self.job.created, self.job.ended or 0, self.resource.updated, *times])


def record(backend: Backend, resource: Resource, kind: str | None = None) -> Record:
    """A record with its job, which is of the resource's kind or of another."""
    job = backend.store.get(resource.owner, kind or resource.kind, resource.id)
    return Record(resource, job, _status(backend, resource, job))


def tell_isolation(call: Call, found: Record) -> None:
    """Says in a header what kept the container of a job apart: AWS's answers have no member for it."""
    if isolation := found.result.get("isolation"):
        call.headers["x-modelyard-isolation"] = isolation


def facts(job: Job) -> dict[str, Any]:
    """What was settled when a job was accepted."""
    settled: dict[str, Any] = job.request[FACTS]
    return settled


def concerned(settled: Mapping[str, Any]) -> set[str]:
    """The accounts that ask, whose tables or algorithm are used, and that receive what comes of it."""
    others = {settled.get("provider"), settled.get("receiver")} - {None}
    return {settled["actor"], *settled["tables"].values(), *others}


def failed(job: Job) -> tuple[str, str] | None:
    """Why a job failed, as a code and a sentence; None if it did not.

    What was not foreseen may name what nobody is to see: it stays in the log of the machine.
    """
    if job.status is Status.COMPLETED and (failure := job.stages[0].result.get("failure")):
        return failure["code"], failure["message"]
    if job.status is not Status.FAILED:
        return None
    stage = next((one.stage.name for one in job.stages if one.status is Status.FAILED), "job")
    reason = job.failure or ""
    if stage == "delivery":
        return "DELIVERY_FAILED", "The output could not be written where its receiver wants it"
    if reason.startswith("timed out"):
        return "MAX_RUNTIME_EXCEEDED", f"The {stage} {reason}"
    if _UNFORESEEN.match(reason):
        return "INTERNAL", "The server could not do this; the machine's operator finds the cause in the job's log"
    return f"{stage.upper()}_FAILED", reason


def status_details(record: Record, account: str) -> dict[str, str] | None:
    """`statusDetails` as an account may see them: what a failing container said only where its log policy allows."""
    if record.status != "CREATE_FAILED" or not (why := failed(record.job)):
        return None
    code, text = why
    said = record.result.get("failure", {}).get("said", {}).get(account)
    text = f"{text} The container said: {said}" if said else text
    return {"statusCode": code, "message": text if len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"}


async def create(
    backend: Backend,
    membership: Membership,
    made: Sequence[Resource],
    kind: str,
    id: str,
    request: Mapping[str, Any],
    settled: Mapping[str, Any],
    stages: Sequence[Stage],
    needs: Sequence[Resource],
    within: Callable[[Connection], None] = lambda _: None,
    entries: Sequence[Entry] = (),
) -> None:
    """Accepts a job, with the resources that it makes, its tags and its audit entries.

    A Fault if one of those that it `needs` is gone by then, or a member whom it concerns.
    """
    tagged = tags_of(request)

    def work(connection: Connection) -> None:
        try:
            parties.require_members(connection, membership.collaboration, concerned(settled))
        except NotAMember:
            raise conflict("A member who is concerned by this has left the collaboration meanwhile") from None
        for one in needs:
            _require(connection, one)
        for one in made:
            resources.add(connection, one)
        if tagged:
            tags.put(connection, made[0].document["arn"], tagged)
        within(connection)
        audit.add(connection, *entries)

    document = {**request, FACTS: settled}
    await backend.store.create(membership.owner, kind, id, document, stages, within=work)
    backend.wake()


def repeated(backend: Backend, membership: Membership, kind: str, request: Mapping[str, Any]) -> Job | None:
    """The job that the very same request has made a moment ago, if it is no failure: the answer was lost, perhaps."""
    looked = Search(after=now() - REPEAT_MS, limit=50)
    for job in backend.store.page(membership.owner, kind, looked).items:
        asked = {name: value for name, value in job.request.items() if name != FACTS}
        if asked == request and job.status not in (Status.FAILED, Status.STOPPED) and not failed(job):
            return job
    return None


def running(backend: Backend, owner: Owner, kind: str) -> Iterator[Job]:
    """An account's jobs of a kind that have not ended."""
    for statuses in ((Status.QUEUED, Status.RUNNING), (Status.STOPPING,)):
        looked: Search | None = Search(statuses=statuses)
        while looked is not None:
            page = backend.store.page(owner, kind, looked)
            yield from page.items
            following = page.following
            looked = None if following is None else Search(statuses=statuses, position=following)


def require_quota(backend: Backend, membership: Membership, kind: str, what: str) -> None:
    """A Fault if the membership has as many jobs of a kind on their way as it may."""
    jobs = running(backend, membership.owner, kind)
    count = sum(job.request["membershipIdentifier"] == membership.id for job in jobs)
    if count >= MOST_RUNNING:
        reason = (
            f"The membership has {count} {what} that have not ended, and may have {MOST_RUNNING}; wait, or cancel one"
        )
        members = {"quotaName": f"Pending or in-progress {what} per membership", "quotaValue": MOST_RUNNING}
        raise Fault("ServiceQuotaExceededException", reason, members)


def in_use(backend: Backend, accounts: Sequence[str], region: str, uses: str) -> Job | None:
    """A job of one of the accounts that has not ended, and uses something: an ARN, or the URI of a folder."""
    for account in accounts:
        for kind in ("ml-input-channel", "trained-model", "trained-model-inference-job", "trained-model-export-job"):
            for job in running(backend, Owner(account, region), kind):
                if uses in facts(job)["uses"]:
                    return job
    return None


async def cancel(backend: Backend, record: Record) -> None:
    """Stops a job; a Fault unless it is on its way."""
    if record.status not in ("CREATE_PENDING", "CREATE_IN_PROGRESS"):
        raise conflict(
            f"{record.arn} is {record.status}; only what is CREATE_PENDING or CREATE_IN_PROGRESS is cancelled"
        )
    await backend.store.stop(record.job.owner, record.job.kind, record.job.id)
    backend.wake()


async def erase(backend: Backend, record: Record, entries: Sequence[Entry] = ()) -> None:
    """Deletes what a job made; the record stays. A Fault while it is on its way, or in use."""
    if not record.job.status.final:
        raise conflict(f"{record.arn} is {record.status}; cancel it first, or wait")
    owner = record.resource.owner
    if record.resource.status != ERASED:
        marked = await backend.resources.change(record.resource, status=ERASED)  # nothing that begins now will use it
        if user := in_use(backend, [owner.account], owner.region, record.facts["folder"]):
            await backend.resources.change(marked, status=KEPT)
            reason = f"is used by {user.request['name']}, which has not ended; cancel that, or wait"
            raise conflict(f"{record.arn} {reason}")
        await backend.audit.record(*entries)
    await backend.store.stop(record.job.owner, record.job.kind, record.job.id, clean=True)
    backend.wake()


def require_active_owners(backend: Backend, collaboration: Collaboration, record: Record) -> None:
    """A Fault if the data of a record came from a member that is no member any more."""
    for account in record.facts["owners"]:
        if backend.parties.of_account(collaboration, account) is None:
            raise conflict(f"{record.arn} has data of account {account}, which is no active member any more")


def require_active(record: Record, member: str) -> None:
    """A Fault unless what a request names is ready."""
    if record.status != ACTIVE:
        raise conflict(f"{member}: {record.arn} is {record.status}, not {ACTIVE}")


def _require(connection: Connection, resource: Resource) -> None:
    try:
        resources.require(connection, resource)
    except NotFound:
        raise conflict(f"{resource.document['arn']} is deleted by now") from None


def _status(backend: Backend, resource: Resource, job: Job) -> str:
    """AWS's word. What is deleted is INACTIVE when it is gone."""
    if resource.status == ERASED:
        return "DELETE_IN_PROGRESS" if backend.folder(facts(job)["folder"]).exists() else "INACTIVE"
    if job.status is Status.STOPPING:
        begun = any(stage.status is Status.RUNNING for stage in job.stages)
        return "CANCEL_IN_PROGRESS" if begun else "CANCEL_PENDING"
    if job.status is Status.COMPLETED:
        return "CREATE_FAILED" if failed(job) else ACTIVE
    return _WORDS[job.status]
