"""What the audit log says of channels, training and inference: an entry for each table, and one for the algorithm."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import audit
from modelyard.collaborations.audit import Entry
from modelyard.jobs.model import Job, Status
from modelyard.services.cleanroomsml.delivery import LOGS, METRICS
from modelyard.services.cleanroomsml.records import facts, failed

DELIVERY = "delivery"
"""What the stage is called that puts what leaves the room where the receiver wants it."""


def entries(settled: Mapping[str, Any], action: str, rules: Mapping[str, str] = {}, **told: Any) -> list[Entry]:
    """An entry for each account's table, and for the algorithm, that a job uses.

    settled: the job's facts: `collaboration` (an id), `actor`, `arn`, `tables` (owner by name), `association` (its ARN)
    and its `provider`, if it uses one. rules: what let it be done, by table.
    """
    used = list(settled["tables"].items())
    if settled.get("provider"):
        used.append((settled["association"], settled["provider"]))
    return [
        Entry(
            settled["collaboration"],
            account,
            settled["actor"],
            action,
            settled["arn"],
            **{"used": name, "rule": rules.get(name, ""), **told},
        )
        for name, account in used
    ]


def ended(connection: Connection, job: Job) -> None:
    """Notes how a job ended, and what left the room, in the transaction that ends it."""
    settled, why = facts(job), failed(job)
    if job.status is Status.STOPPED:
        audit.add(connection, *entries(settled, "cancelled"))
    elif why is not None:
        audit.add(connection, *entries(settled, "failed", rule=why[0]))
    for stage in job.stages:
        if stage.status is Status.COMPLETED and (left := _left(stage.stage.name, settled)):
            told: dict[str, Any] = {"left": left, "amount": stage.result.get("bytes"), "unit": "bytes"}
            audit.add(connection, *entries(settled, DELIVERY, **told))


def _left(stage: str, settled: Mapping[str, Any]) -> str:
    """What a stage gave away, and to whom; empty if nothing."""
    if stage == DELIVERY:
        return f"{settled['delivers']} to account {settled['receiver']}"
    for start, what in ((LOGS, "filtered logs"), (METRICS, "metrics")):
        if stage.startswith(start):
            return f"{what} to account {stage.removeprefix(start)}"
    return ""
