"""Delivery: who receives what leaves the room, and where that is put.

Only the receiver's own ML configuration says where. Names are parts of the place, as AWS has it: each is one name of a
folder, whatever it holds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from modelyard.collaborations.model import Collaboration, Membership
from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import Job, Keep, Stage, Status
from modelyard.services.cleanroomsml.backend import Backend, invalid
from modelyard.services.cleanroomsml.configurations import destination, is_configured
from modelyard.services.cleanroomsml.records import facts
from modelyard.storage.names import join

LOGS, METRICS = "logs of ", "metrics of "
"""What the stages are called that publish to an account."""

_PUBLISHING = "modelyard.workloads.cleanroom.publishing:run"
_NO_CONFIGURATION = "as no ML Config role is set"
_NO_DESTINATION = "as the ML configuration has no destination"
_NOT_ALLOWED = "as the privacy configuration of the algorithm's association allows this account none"


def receiver(backend: Backend, collaboration: Collaboration, output: Mapping[str, Any], ability: str) -> Membership:
    """The one member that `outputConfiguration` names; a Fault unless it may receive, and has said where."""
    member = "outputConfiguration.members"
    account = output["members"][0]["accountId"]
    found = backend.parties.of_account(collaboration, account)
    if found is None:
        raise invalid(member, f"account {account} is no active member of the collaboration")
    if not found.can(ability):
        raise invalid(member, f"account {account} has not the ability {ability} in the collaboration")
    if destination(backend, found) is None:
        raise invalid(
            member, f"account {account} has no ML configuration with a destination; PutMLConfiguration sets it"
        )
    return found


async def place(
    backend: Backend, receiver: Membership, model: str, account: str, job: str, id: str, taken: Sequence[str]
) -> str:
    """Where a job's output goes: `<destination>/<collaboration>/<model>/<account>/<job>`, of a job of `account`.

    A name that was used before, or is in one of the `taken`, gets a part of the id: no output replaces another.
    """
    uri = join(str(destination(backend, receiver)), receiver.collaboration.id, part(model), account, part(job))
    if uri in taken or await backend.storage.kind(uri) is not None:
        return (
            f"{uri.encode()[: len(uri.encode()) - max(0, len(part(job).encode()) - 200)].decode(errors='ignore')}-{id}"
        )
    return uri


def part(name: str) -> str:
    """A name as one part of a key: what could be more than that is percent-encoded, other letters stay."""
    encoded = "".join(c if c.isprintable() and c not in "/\\%" else _percent(c) for c in name)
    return encoded.replace(".", "%2E") if not encoded.strip(".") else encoded


def deliver(name: str, run: str, source: str, folder: str, publish: str, optional: bool = False) -> Stage:
    """The stage that puts a part of what lies at `source` where a member wants it. What is there stays there."""
    spec = TaskSpec(_PUBLISHING, {"folder": folder}, {"source": source})
    return Stage(name, run, spec, publish=publish, keep=Keep.HANDED_OVER, optional=optional)


def loggers(backend: Backend, collaboration: Collaboration, policy: Mapping[str, Any] | None) -> Mapping[str, str]:
    """The accounts that a policy lets see logs, and that have said where they want them: destinations by account."""
    allowed = {account for logs in (policy or {}).get("containerLogs", ()) for account in logs["allowedAccountIds"]}
    return {account: uri for account, uri in configured(backend, collaboration).items() if account in allowed}


def configured(backend: Backend, collaboration: Collaboration) -> Mapping[str, str]:
    """The destinations of all active members that have one, by account."""
    found = {one.owner.account: destination(backend, one) for one in backend.parties.memberships(collaboration)}
    return {account: uri for account, uri in found.items() if uri}


def log_stages(
    id: str, source: str, below: Sequence[str], logs: Mapping[str, str], metrics: Mapping[str, str]
) -> list[Stage]:
    """The stages that give members logs and metrics, where one that fails harms no other: destinations by account."""
    log = [
        deliver(LOGS + to, f"{id}-logs-{to}", source, f"logs/{to}.log", join(uri, "logs", *below), optional=True)
        for to, uri in logs.items()
    ]
    return log + [
        deliver(METRICS + to, f"{id}-metrics-{to}", source, "metrics.csv", join(uri, "metrics", *below), optional=True)
        for to, uri in metrics.items()
    ]


def published(backend: Backend, collaboration: Collaboration, job: Job, account: str) -> dict[str, str]:
    """`logsStatus` and `metricsStatus` as a member sees them, which are its own; nothing before it was tried."""
    told: dict[str, str] = {}
    if job.status not in (Status.COMPLETED, Status.FAILED):
        return told
    stages = {stage.stage.name: stage for stage in job.stages}
    for word, start in (("logs", LOGS), ("metrics", METRICS)):
        if word == "metrics" and not facts(job).get("metrics"):
            continue
        stage = stages.get(start + account)
        if stage is not None and stage.status is Status.COMPLETED:
            told[f"{word}Status"] = "PUBLISH_SUCCEEDED"
            continue
        reason = f"as {stage.failure}" if stage is not None else _why_not(backend, collaboration, account)
        told |= {f"{word}Status": "PUBLISH_FAILED", f"{word}StatusDetails": f"Failed to publish {word} {reason}"}
    return told


def _why_not(backend: Backend, collaboration: Collaboration, account: str) -> str:
    membership = backend.parties.of_account(collaboration, account)
    if membership is None or not is_configured(backend, membership):
        return _NO_CONFIGURATION
    return _NOT_ALLOWED if destination(backend, membership) else _NO_DESTINATION


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
