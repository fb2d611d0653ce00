"""Protected queries: a member's query over the tables of all, whose rows go to those alone who may receive them.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_StartProtectedQuery.html
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from modelyard.analysis.model import Purpose, Refused
from modelyard.collaborations import arns, audit, parties
from modelyard.collaborations.audit import Entry
from modelyard.collaborations.budgets import BudgetSpent
from modelyard.collaborations.model import Membership
from modelyard.collaborations.queries import Judged
from modelyard.jobs import resources, store
from modelyard.jobs.listing import Search
from modelyard.jobs.model import Job, Resource, Status
from modelyard.services.calls import moment, owner, sifted
from modelyard.services.cleanrooms.backend import Backend, conflict, denied, invalid, search
from modelyard.services.cleanrooms.configured_tables import ACTIVE
from modelyard.services.cleanrooms.results import Delivery, Results, plan
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

KIND = "protected query"
RUNNING = 5
"""Queries of a membership that may run at once, as AWS has it."""
STATUS_WORDS = {
    Status.QUEUED: "SUBMITTED",
    Status.RUNNING: "STARTED",
    Status.STOPPING: "CANCELLING",
    Status.STOPPED: "CANCELLED",
    Status.COMPLETED: "SUCCESS",
    Status.FAILED: "FAILED",
}
_ECHOED = ("sqlParameters", "computeConfiguration", "queryComputePayerAccountId")


class ProtectedQueries:
    """The operations on protected queries, each of which the membership that asked alone sees."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._results = Results(backend)
        backend.store.at_end(KIND, _finish)
        backend.parties.at_leaving(_stop_those_of)

    async def start(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a query that every rule of its tables allows."""
        membership = self._backend.parties.active(owner(call), request["membershipIdentifier"])
        self._check_caller(membership, request)
        deliveries = await self._results.deliveries(membership, request.get("resultConfiguration"))
        judged = await self._judged(membership, request["sqlParameters"], deliveries)
        found = await self._create(membership, request, judged, deliveries)
        self._backend.wake()
        return {"protectedQuery": self._described(found, membership)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How one of the caller's queries stands."""
        found, membership = self._own(call, request)
        return {"protectedQuery": self._described(found, membership)}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the queries of a membership of the caller's, newest first."""
        membership = self._backend.parties.membership(owner(call), request["membershipIdentifier"])
        wanted = request.get("status")

        def told(found: Resource) -> dict[str, Any] | None:
            summary = self._summary(found, membership)
            return summary if wanted in (None, summary["status"]) else None

        return sifted(
            "protectedQueries",
            lambda looked: self._backend.resources.page(owner(call), KIND, looked),
            search(request, base=membership.arn),
            told,
        )

    async def update(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Cancels a query; a Fault if it has ended."""
        found, membership = self._own(call, request)
        job = self._backend.store.get(found.owner, KIND, found.id)
        if job.status.final:
            reason = f"Protected query {found.id} is {_status(job)}; only one that runs can be cancelled"
            raise conflict(reason, "INVALID_STATE", "MEMBERSHIP", found.id)
        await self._backend.store.stop(found.owner, KIND, found.id)
        self._backend.wake()
        return {"protectedQuery": self._described(found, membership)}

    def _check_caller(self, membership: Membership, request: Mapping[str, Any]) -> None:
        """Faults unless the caller may query, somebody who joined pays for it, and few enough queries run."""
        if not membership.can("CAN_QUERY"):
            raise denied(f"Account {membership.owner.account} has no ability CAN_QUERY in this collaboration")
        payer = request.get("queryComputePayerAccountId")
        if self._backend.parties.payer(membership.collaboration, "queryCompute", payer) is None:
            reason = "no active member of the collaboration pays for queries; the payer has to create its membership"
            raise invalid("queryComputePayerAccountId", reason, "INVALID_CONFIGURATION")
        looked = Search(statuses=(Status.QUEUED, Status.RUNNING), limit=1000)
        running = self._backend.store.page(membership.owner, KIND, looked).items
        if sum(job.request["membership"] == membership.id for job in running) >= RUNNING:
            quota = {"quotaName": "concurrent queries of a membership", "quotaValue": RUNNING}
            raise Fault("ServiceQuotaExceededException", f"{RUNNING} queries of this membership run already", quota)

    async def _judged(
        self, membership: Membership, parameters: Mapping[str, Any], deliveries: Sequence[Delivery]
    ) -> Judged:
        receivers = [one.account for one in deliveries]
        try:
            return await self._backend.queries.judge(membership, parameters, Purpose.DIRECT, receivers)
        except Refused as refused:
            await self._backend.audit.record(self._refusal(membership, refused))
            raise _refused(refused) from None

    def _refusal(self, membership: Membership, refused: Refused) -> Entry:
        """What the owner of the table that said no finds in its log; the asker, where the query alone was wrong."""
        tables = self._backend.tables.of(membership.collaboration)
        table = tables.get(refused.table or "")
        return Entry(
            membership.collaboration.id,
            table.owner if table else membership.owner.account,
            membership.owner.account,
            "refused",
            "protected query",
            used=refused.table or "",
            rule=f"{refused.code}: {refused.reason}",
        )

    async def _create(
        self, membership: Membership, request: Mapping[str, Any], judged: Judged, deliveries: Sequence[Delivery]
    ) -> Resource:
        id = arns.new_id()
        used = {name: table.owner for name, table in judged.tables.items()}
        document = {
            **{member: request[member] for member in (*_ECHOED, "resultConfiguration") if member in request},
            "deliveries": [one.document(id) for one in deliveries],
            "owners": sorted({*used.values()}),
        }
        facts = {
            "membership": membership.id,
            "collaboration": membership.collaboration.id,
            "tables": used,
            "rules": list(judged.allowed.rules),
            "receivers": [one.account for one in deliveries],
        }
        root = membership.collaboration.arn
        row = resources.new(membership.owner, KIND, id, None, ACTIVE, document, membership.arn, root)

        def within(connection: Connection) -> None:
            parties.require(connection, membership)
            judged.accept(connection)
            resources.add(connection, row)

        stages = plan(id, judged, deliveries, self._backend.slots)
        try:
            await self._backend.store.create(membership.owner, KIND, id, facts, stages, within=within)
        except Refused as refused:
            raise _refused(refused) from None
        except BudgetSpent as spent:
            entry = self._refusal(membership, Refused("BUDGET_SPENT", str(spent), spent.table))
            await self._backend.audit.record(entry)
            raise denied(f"The query is not allowed: {spent}") from None
        return self._backend.resources.get(membership.owner, KIND, id)

    def _own(self, call: Call, request: Mapping[str, Any]) -> tuple[Resource, Membership]:
        id = request["protectedQueryIdentifier"]
        return self._backend.in_membership(call, request, KIND, id, "protected query")

    def _summary(self, found: Resource, membership: Membership) -> dict[str, Any]:
        job = self._backend.store.get(found.owner, KIND, found.id)
        receivers = {"receiverAccountIds": job.request["receivers"]}
        details = {"directAnalysisConfigurationDetails": receivers}
        return {
            "id": found.id,
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "createTime": moment(found.created),
            "status": _status(job),
            "receiverConfigurations": [
                {"analysisType": Purpose.DIRECT.value, "configurationDetails": details},
            ],
            "queryComputePayerAccountId": found.document.get("queryComputePayerAccountId"),
        }

    def _described(self, found: Resource, membership: Membership) -> dict[str, Any]:
        job = self._backend.store.get(found.owner, KIND, found.id)
        took = {"totalDurationInMillis": job.ended - job.created} if job.ended else None
        return {
            "id": found.id,
            "membershipId": membership.id,
            "membershipArn": membership.arn,
            "createTime": moment(found.created),
            "status": _status(job),
            "statistics": took,
            "result": {"output": _output(found)} if job.status is Status.COMPLETED else None,
            "error": {"code": "QUERY_FAILED", "message": _failure(found, job.failure)} if job.failure else None,
            **{member: found.document.get(member) for member in (*_ECHOED, "resultConfiguration")},
        }


def _status(job: Job) -> str:
    timed_out = job.status is Status.FAILED and (job.failure or "").startswith("timed out")
    return "TIMED_OUT" if timed_out else STATUS_WORDS[job.status]


def _refused(refused: Refused) -> Fault:
    return invalid("sqlParameters", refused.told, "INVALID_QUERY")


def _output(found: Resource) -> dict[str, Any]:
    """Where the rows went: a place of the caller's own, or to whom."""
    deliveries = found.document["deliveries"]
    places = [{"location": one["location"]} for one in deliveries if one["location"]]
    members = [{"accountId": one["account"]} for one in deliveries if not one["location"]]
    if len(deliveries) == 1:
        return {"s3": places[0]} if places else {"memberList": members}
    return {"distribute": {"s3": places[0] if places else None, "memberList": members}}


def _failure(found: Resource, failure: str) -> str:
    """Why a query failed; where another member's place could not be written, not where that is."""
    foreign = [one["account"] for one in found.document["deliveries"] if not one["location"]]
    if foreign and "s3://" in failure:
        return f"The result could not be delivered; look at the places of {', '.join(foreign)}"
    return failure


def _finish(connection: Connection, job: Job) -> None:
    """Tells the owners of the tables what came of a query."""
    facts, completed = job.request, job.status is Status.COMPLETED
    records = job.stages[0].result.get("records")
    entries = [
        Entry(
            facts["collaboration"],
            account,
            job.owner.account,
            "query",
            job.id,
            used=table,
            rule="; ".join(facts["rules"]),
            left=f"its result to {', '.join(facts['receivers'])}" if completed else "",
            amount=records if completed else None,
            unit="rows" if completed else "",
        )
        for table, account in facts["tables"].items()
    ]
    audit.add(connection, *entries)


def _stop_those_of(connection: Connection, leaving: Membership) -> None:
    """Stops the queries that a member asks, that read its tables, or that it would get the rows of."""
    account = leaving.owner.account
    for one in resources.rooted(connection, KIND, leaving.collaboration.arn):
        receivers = [delivery["account"] for delivery in one.document["deliveries"]]
        if account in (one.owner.account, *one.document["owners"], *receivers):
            store.stop(connection, one.owner, KIND, one.id)
