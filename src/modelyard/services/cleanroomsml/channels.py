"""ML input channels: the rows of a query, kept where nothing but the collaboration's jobs reads them.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_CreateMLInputChannel.html
"""

from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from modelyard.analysis.model import Purpose, Refused
from modelyard.collaborations import arns, audit
from modelyard.collaborations.audit import Entry
from modelyard.collaborations.budgets import BudgetSpent
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.collaborations.queries import Judged, query_stage
from modelyard.jobs import resources
from modelyard.jobs.model import Job, Keep, Resource, Status
from modelyard.jobs.store import now
from modelyard.services.calls import moment
from modelyard.services.cleanroomsml import associations, uses
from modelyard.services.cleanroomsml.backend import (
    CHANNEL,
    Backend,
    invalid,
    present,
    require_ability,
    require_own_role,
    require_payer,
)
from modelyard.services.cleanroomsml.records import (
    KEPT,
    Record,
    create,
    erase,
    facts,
    record,
    repeated,
    require_quota,
    status_details,
)
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

DAY_MS = 24 * 60 * 60 * 1000
_GIGABYTE = 10**9


class Channels:
    """The operations on ML input channels."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(CHANNEL, _ended)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Fills a channel with a query's rows, if every rule lets it through; else a Fault that names the rule."""
        membership = self._backend.member(call, request)
        require_ability(membership, "CAN_QUERY")
        require_own_role(call, request["inputChannel"]["roleArn"], "inputChannel.roleArn")
        collaboration = membership.collaboration
        (identifier,) = request["configuredModelAlgorithmAssociations"]
        association = associations.find(self._backend, collaboration, identifier)
        payer = request.get("payerConfiguration", {}).get("computePayerAccountId")
        require_payer(self._backend, membership, "queryCompute", payer, "payerConfiguration")
        if job := repeated(self._backend, membership, CHANNEL, request):
            return {"mlInputChannelArn": facts(job)["arn"]}
        require_quota(self._backend, membership, CHANNEL, "ML input channels")
        id = arns.new_id()
        arn = arns.ml_input_channel(membership.owner, membership.id, id)
        try:
            judged = await self._judge(membership, request, identifier)
            await self._accept(membership, request, id, arn, association, judged)
        except (Refused, BudgetSpent) as error:
            raise await self._refused(membership, arn, error) from None
        return {"mlInputChannelArn": arn}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A channel of the caller's, with its query."""
        membership = self._backend.member(call, request)
        found = find(self._backend, membership, request["mlInputChannelArn"])
        asked, result = found.request, found.result
        return {
            **self._described(found, membership.collaboration, call.account),
            "inputChannel": asked["inputChannel"],
            "protectedQueryIdentifier": found.job.id,
            **present(
                numberOfFiles=result.get("files"),
                sizeInGb=result["bytes"] / _GIGABYTE if "bytes" in result else None,
                kmsKeyArn=asked.get("kmsKeyArn"),
                tags=self._backend.tags.of(found.arn) or None,
            ),
        }

    @quick
    def get_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A channel of any member's, without its query."""
        collaboration = self._backend.asker(call, request).collaboration
        resource = self._backend.in_collaboration(collaboration, CHANNEL, request["mlInputChannelArn"])
        described = self._described(record(self._backend, resource), collaboration, call.account)
        return {**described, "creatorAccountId": resource.owner.account}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's channels."""
        backend, membership = self._backend, self._backend.member(call, request)

        def told(resource: Resource) -> dict[str, Any]:
            found = record(backend, resource)
            return {**_summary(found), "protectedQueryIdentifier": found.job.id}

        return backend.list_own("mlInputChannelsList", membership, CHANNEL, request, told)

    @quick
    def list_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of all members' channels."""
        backend, collaboration = self._backend, self._backend.asker(call, request).collaboration
        name = "collaborationMLInputChannelsList"
        return backend.list_of_all(
            name, collaboration, CHANNEL, request, lambda found: _summary(record(backend, found))
        )

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Deletes a channel's rows; the channel stays, INACTIVE."""
        membership = self._backend.member(call, request)
        found = find(self._backend, membership, request["mlInputChannelArn"])
        await erase(self._backend, found, uses.entries(found.facts, "deleted"))
        return {}

    async def _judge(self, membership: Membership, request: dict[str, Any], association: str) -> Judged:
        source = request["inputChannel"]["dataSource"].get("protectedQueryInputParameters")
        if source is None:
            raise invalid("inputChannel.dataSource", "only protectedQueryInputParameters are served")
        return await self._backend.queries.judge(
            membership, source["sqlParameters"], Purpose.ADDITIONAL, model_association=association
        )

    async def _accept(
        self,
        membership: Membership,
        request: dict[str, Any],
        id: str,
        arn: str,
        association: Resource,
        judged: Judged,
    ) -> None:
        tables = {name: table.owner for name, table in judged.tables.items()}
        folder = f"modelyard://channels/{id}"
        source = request["inputChannel"]["dataSource"]["protectedQueryInputParameters"]
        settled = {
            "arn": arn,
            "collaboration": membership.collaboration.id,
            "actor": membership.owner.account,
            "tables": tables,
            "owners": sorted(set(tables.values())),
            "format": source.get("resultFormat", "CSV"),
            "folder": folder,
            "uses": list(request["configuredModelAlgorithmAssociations"]),
            "expires": now() + request["retentionInDays"] * DAY_MS,
        }
        channel = resources.new(
            membership.owner, CHANNEL, id, None, KEPT, {"arn": arn}, membership.arn, membership.collaboration.arn
        )
        stage = query_stage(id, judged.allowed, judged.locations, settled["format"], folder, self._backend.slots)
        entries = uses.entries(settled, "query", _rules(judged))
        await create(
            self._backend,
            membership,
            [channel],
            CHANNEL,
            id,
            request,
            settled,
            [replace(stage, keep=Keep.IF_COMPLETED)],
            [association],
            judged.accept,
            entries,
        )

    async def _refused(self, membership: Membership, arn: str, error: Refused | BudgetSpent) -> Fault:
        """The answer to a query that a rule refuses, which the owner of the table and the asker find in their logs."""
        code = error.code if isinstance(error, Refused) else "BUDGET_SPENT"
        collaboration, asker = membership.collaboration, membership.owner.account
        try:
            account = self._backend.tables.association(error.table or "", collaboration).owner.account
        except KeyError:
            account = asker
        rule = f"{code}: {error}"
        entry = Entry(collaboration.id, account, asker, "refused", arn, used=error.table or "", rule=rule)
        await self._backend.audit.record(entry)
        return invalid("inputChannel", error.told if isinstance(error, Refused) else rule)

    def _described(self, found: Record, collaboration: Collaboration, account: str) -> dict[str, Any]:
        left = self._backend.budgets.access_budgets(collaboration, found.facts["tables"])
        return {
            **_summary(found),
            "retentionInDays": found.request["retentionInDays"],
            **present(
                statusDetails=status_details(found, account),
                numberOfRecords=found.result.get("records"),
                privacyBudgets={"accessBudgets": left} if left else None,
                payerConfiguration=found.request.get("payerConfiguration"),
            ),
        }


def find(backend: Backend, membership: Membership, identifier: str) -> Record:
    """The channel of a membership with this ARN; a Fault if there is none."""
    return record(backend, backend.in_membership(membership, CHANNEL, identifier))


def require_association(found: Record, association: str) -> None:
    """A Fault unless a channel was made for an association: the owners of its data have allowed no other."""
    (made_for,) = found.request["configuredModelAlgorithmAssociations"]
    if association != made_for:
        raise invalid("mlInputChannelArn", f"{found.arn} was made for {made_for}, not for {association}")


def _rules(judged: Judged) -> dict[str, str]:
    """The sentences on each table, by its name."""
    said = judged.allowed.rules
    return {name: " ".join(one for one in said if one.startswith(f"{name}: ")) for name in judged.tables}


def _summary(found: Record) -> dict[str, Any]:
    return {
        "createTime": moment(found.job.created),
        "updateTime": moment(found.updated),
        "membershipIdentifier": found.request["membershipIdentifier"],
        "collaborationIdentifier": found.facts["collaboration"],
        "name": found.name,
        "configuredModelAlgorithmAssociations": found.request["configuredModelAlgorithmAssociations"],
        "mlInputChannelArn": found.arn,
        "status": found.status,
        **present(description=found.request.get("description")),
    }


def _ended(connection: Connection, job: Job) -> None:
    uses.ended(connection, job)
    if job.status is Status.COMPLETED:
        told: dict[str, Any] = {"amount": job.stages[0].result.get("records"), "unit": "rows"}
        audit.add(connection, *uses.entries(facts(job), "channel", **told))
