"""Export jobs: a trained model's files leave the room, for the one member that may receive them.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_StartTrainedModelExportJob.html
"""

from typing import Any

from modelyard.collaborations import arns
from modelyard.collaborations.audit import Entry
from modelyard.collaborations.model import Membership
from modelyard.engines.base import TaskSpec
from modelyard.jobs import resources
from modelyard.jobs.model import Keep, Resource, Stage
from modelyard.services.calls import moment, sifted
from modelyard.services.cleanroomsml import associations, trained_models, uses
from modelyard.services.cleanroomsml.backend import EXPORT, Backend, denied, present, require_ability, search
from modelyard.services.cleanroomsml.delivery import deliver, place, receiver
from modelyard.services.cleanroomsml.records import (
    KEPT,
    Record,
    create,
    facts,
    record,
    repeated,
    require_active,
    require_active_owners,
    require_quota,
    running,
    status_details,
)
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

RECEIVE = "CAN_RECEIVE_MODEL_OUTPUT"

_EXPORT = "modelyard.workloads.cleanroom.export:run"


class ExportJobs:
    """The operations on export jobs, which have no ARN."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(EXPORT, uses.ended)

    async def start(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a job; a Fault unless the algorithm's provider allows exports."""
        backend, membership = self._backend, self._backend.member(call, request)
        require_ability(membership, "CAN_QUERY")
        if repeated(backend, membership, EXPORT, request) is None:
            require_quota(backend, membership, EXPORT, "export jobs")
            await self._start(membership, request)
        return {}

    @quick
    def list_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of a model's export jobs, for every member."""
        backend, collaboration = self._backend, self._backend.asker(call, request).collaboration
        named = request.get("trainedModelVersionIdentifier")

        def told(resource: Resource) -> dict[str, Any] | None:
            found = record(backend, resource)
            return _described(found, call.account) if named in (None, found.facts["version"]) else None

        return sifted(
            "collaborationTrainedModelExportJobs",
            lambda looked: backend.resources.page_under(collaboration.region, EXPORT, looked),
            search(request, base=_within(collaboration.arn, request["trainedModelArn"])),
            told,
        )

    async def _start(self, membership: Membership, request: dict[str, Any]) -> None:
        backend, collaboration = self._backend, membership.collaboration
        named = request.get("trainedModelVersionIdentifier")
        model = trained_models.usable(backend, membership, request["trainedModelArn"], named)
        require_active(model, "trainedModelArn")
        require_active_owners(backend, collaboration, model)
        association = associations.find(backend, collaboration, model.facts["association"])
        policy = associations.policy(association, "trainedModelExports")
        if policy is None:
            raise await self._refused(membership, model, association)
        to = receiver(backend, collaboration, request["outputConfiguration"], RECEIVE)
        id, account = arns.new_id(), membership.owner.account
        taken = [facts(job)["place"] for job in running(backend, membership.owner, EXPORT)]
        settled = {
            "arn": model.arn,
            "collaboration": collaboration.id,
            "actor": account,
            "tables": model.facts["tables"],
            "association": association.document["arn"],
            "provider": association.owner.account,
            "receiver": to.owner.account,
            "delivers": f"the model's {' and '.join(policy['filesToExport'])}",
            "place": await place(backend, to, model.name, account, request["name"], id, taken),
            "folder": f"modelyard://exported/{id}",
            "uses": [association.document["arn"], model.facts["folder"]],
            "version": model.facts["version"],
        }
        parameters = {"files": policy["filesToExport"], "max_bytes": round(policy["maxSize"]["value"] * 10**9)}
        spec = TaskSpec(_EXPORT, parameters, {"trained": model.facts["folder"]})
        stages = [
            Stage("export", id, spec, publish=settled["folder"], keep=Keep.WHILE_RUNNING),
            deliver(uses.DELIVERY, f"{id}-delivery", settled["folder"], ".", settled["place"]),
        ]
        document, base = {"arn": model.arn}, _within(collaboration.arn, model.arn)
        new = resources.new(membership.owner, EXPORT, id, None, KEPT, document, base, collaboration.arn)
        entries, needs = uses.entries(settled, "export"), [association, model.resource]
        await create(backend, membership, [new], EXPORT, id, request, settled, stages, needs, entries=entries)

    async def _refused(self, membership: Membership, model: Record, association: Resource) -> Fault:
        """The answer where a provider lets nothing out, who finds it in its log."""
        arn, account = association.document["arn"], association.owner.account
        rule = "has no trainedModelExports, and so allows no exports"
        asker, room = membership.owner.account, membership.collaboration.id
        told = f"the privacy configuration {rule}"
        await self._backend.audit.record(Entry(room, account, asker, "refused", model.arn, used=arn, rule=told))
        return denied(f"The privacy configuration of {arn}, of account {account}, {rule}")


def _within(collaboration: str, model: str) -> str:
    """What the exports of a model rest on. A model that lies in another collaboration has none in this one."""
    return f"{collaboration} {model}"


def _described(found: Record, account: str) -> dict[str, Any]:
    asked = found.request
    return {
        "createTime": moment(found.job.created),
        "updateTime": moment(found.updated),
        "name": found.name,
        "outputConfiguration": asked["outputConfiguration"],
        "status": found.status,
        "creatorAccountId": found.resource.owner.account,
        "trainedModelArn": found.arn,
        "membershipIdentifier": asked["membershipIdentifier"],
        "collaborationIdentifier": found.facts["collaboration"],
        **present(
            statusDetails=status_details(found, account),
            description=asked.get("description"),
            trainedModelVersionIdentifier=found.facts["version"],
        ),
    }
