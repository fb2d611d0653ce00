"""Inference jobs: a trained model answers a channel's rows, for the eyes of one receiver.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_StartTrainedModelInferenceJob.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import arns, budgets
from modelyard.collaborations.model import Membership
from modelyard.engines.base import TaskSpec
from modelyard.jobs import resources
from modelyard.jobs.images import Image
from modelyard.jobs.model import Keep, Resource, Stage
from modelyard.services.calls import moment
from modelyard.services.cleanroomsml import associations, channels, trained_models, uses
from modelyard.services.cleanroomsml.backend import (
    INFERENCE,
    Backend,
    present,
    require_ability,
    require_payer,
)
from modelyard.services.cleanroomsml.delivery import deliver, log_stages, loggers, place, published, receiver
from modelyard.services.cleanroomsml.instances import instance
from modelyard.services.cleanroomsml.records import (
    KEPT,
    Record,
    cancel,
    create,
    facts,
    record,
    repeated,
    require_active,
    require_active_owners,
    require_quota,
    running,
    status_details,
    tell_isolation,
)
from modelyard.storage.names import join
from modelyard.wire.endpoint import Call, quick

RECEIVE = "CAN_RECEIVE_INFERENCE_OUTPUT"

_INFERENCE = "modelyard.workloads.cleanroom.inference:run"
_ECHOED = ("resourceConfig", "outputConfiguration", "dataSource")
_OPTIONAL = ("containerExecutionParameters", "environment", "kmsKeyArn")
_HEADER = "first"
"""Of a CSV file the first request has the header, as AWS's guide has it."""
_CONTENT_TYPES = {"CSV": "text/csv", "PARQUET": "application/x-parquet"}


class InferenceJobs:
    """The operations on inference jobs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(INFERENCE, uses.ended)

    async def start(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Accepts a job, after everything that can be refused at once was checked."""
        backend, membership = self._backend, self._backend.member(call, request)
        require_ability(membership, "CAN_QUERY")
        payer = request.get("mlModelInferencePayerAccountId")
        require_payer(backend, membership, "modelInference", payer, "mlModelInferencePayerAccountId")
        if job := repeated(backend, membership, INFERENCE, request):
            return {"trainedModelInferenceJobArn": facts(job)["arn"]}
        require_quota(backend, membership, INFERENCE, "inference jobs")
        return {"trainedModelInferenceJobArn": await self._start(membership, request)}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """How a job of the caller's stands. Of where its output lies, and of what is in it, nothing."""
        membership = self._backend.member(call, request)
        found = self._find(membership, request["trainedModelInferenceJobArn"])
        asked = found.request
        tell_isolation(call, found)
        return {
            **self._summary(found, membership, call.account),
            **{name: asked[name] for name in _ECHOED},
            **present(
                **{name: asked.get(name) for name in _OPTIONAL},
                statusDetails=status_details(found, call.account),
                inferenceContainerImageDigest=found.result.get("digest"),
                tags=self._backend.tags.of(found.arn) or None,
            ),
        }

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's jobs, of one model or version if wished."""
        membership = self._backend.member(call, request)
        told = self._told(request, lambda found: self._listed(found, membership, call.account))
        return self._backend.list_own("trainedModelInferenceJobs", membership, INFERENCE, request, told)

    @quick
    def list_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of all members' jobs: all that others than the creator see of them."""
        asker = self._backend.asker(call, request)
        told = self._told(request, lambda found: self._listed(found, asker, call.account))
        name = "collaborationTrainedModelInferenceJobs"
        return self._backend.list_of_all(name, asker.collaboration, INFERENCE, request, told)

    async def cancel(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Stops a job; what it has not handed over is gone."""
        membership = self._backend.member(call, request)
        await cancel(self._backend, self._find(membership, request["trainedModelInferenceJobArn"]))
        return {}

    def _find(self, membership: Membership, identifier: str) -> Record:
        return record(self._backend, self._backend.in_membership(membership, INFERENCE, identifier))

    async def _start(self, membership: Membership, request: dict[str, Any]) -> str:
        backend, collaboration = self._backend, membership.collaboration
        named = request.get("trainedModelVersionIdentifier")
        model = trained_models.usable(backend, membership, request["trainedModelArn"], named)
        channel = channels.find(backend, membership, request["dataSource"]["mlInputChannelArn"])
        for member, found in (("trainedModelArn", model), ("dataSource.mlInputChannelArn", channel)):
            require_active(found, member)
            require_active_owners(backend, collaboration, found)
        identifier = request.get("configuredModelAlgorithmAssociationArn") or model.facts["association"]
        association = associations.find(backend, collaboration, identifier)
        channels.require_association(channel, identifier)
        associations.require_trusted(backend, collaboration, model, association)
        container = associations.container(backend, association, "inferenceContainerConfig")
        image = backend.image(container["imageUri"])
        to = receiver(backend, collaboration, request["outputConfiguration"], RECEIVE)
        policy = associations.policy(association, "trainedModelInferenceJobs")
        logs = loggers(backend, collaboration, policy)
        id = arns.new_id()
        arn = arns.inference_job(membership.owner, membership.id, id)
        taken = [facts(job)["place"] for job in running(backend, membership.owner, INFERENCE)]
        settled = {
            "arn": arn,
            "collaboration": collaboration.id,
            "actor": membership.owner.account,
            "tables": {**model.facts["tables"], **channel.facts["tables"]},
            "association": identifier,
            "provider": association.owner.account,
            "receiver": to.owner.account,
            "delivers": "inference output",
            "place": await place(backend, to, model.name, membership.owner.account, request["name"], id, taken),
            "folder": f"modelyard://inferred/{id}",
            "uses": [identifier, model.facts["folder"], channel.facts["folder"]],
            "version": model.facts["version"],
        }
        new = (membership.owner, INFERENCE, id, None, KEPT, {"arn": arn}, membership.arn, collaboration.arn)

        def within(connection: Connection) -> None:
            budgets.spend(connection, collaboration, set(channel.facts["tables"]))

        stages = self._plan(request, id, settled, image, model, channel, policy, logs)
        entries = uses.entries(settled, "inference")
        made, needs = [resources.new(*new)], [association, model.resource, channel.resource]
        await create(backend, membership, made, INFERENCE, id, request, settled, stages, needs, within, entries)
        return arn

    def _plan(
        self,
        request: Mapping[str, Any],
        id: str,
        settled: Mapping[str, Any],
        image: Image,
        model: Record,
        channel: Record,
        policy: Mapping[str, Any] | None,
        logs: Mapping[str, str],
    ) -> Sequence[Stage]:
        """The inference, its delivery to the receiver, and a stage for each member's logs."""
        wanted = request["resourceConfig"]
        count, slots = wanted.get("instanceCount", 1), self._backend.slots
        machine = instance(wanted["instanceType"], count, slots)
        parameters = {
            "name": request["name"],
            "arn": settled["arn"],
            "environment": request.get("environment", {}),
            "accept": request["outputConfiguration"].get("accept"),
            "content_type": _CONTENT_TYPES[channel.facts["format"]],
            "header": _HEADER,
            "max_payload": request.get("containerExecutionParameters", {}).get("maxPayloadInMB"),
            "records": channel.result.get("records"),
            "instances": count,
            "memory": machine.memory,
            "policy": policy,
            "loggers": list(logs),
        }
        inputs = {
            "image": image.folder,
            "model": join(model.facts["folder"], "model"),
            "channel": channel.facts["folder"],
        }
        folder = settled["folder"]
        spec = TaskSpec(_INFERENCE, parameters, inputs, cores=min(machine.cores * count, slots))
        below = (settled["collaboration"], "TrainedModelInferenceJobs", id)
        return [
            Stage("inference", id, spec, publish=folder, keep=Keep.WHILE_RUNNING),
            deliver(uses.DELIVERY, f"{id}-delivery", folder, "out", settled["place"]),
            *log_stages(id, folder, below, logs, {}),
        ]

    def _told(
        self, request: Mapping[str, Any], described: Callable[[Record], dict[str, Any]]
    ) -> Callable[[Resource], dict[str, Any] | None]:
        """What a list tells of a job, if it is of the wanted model and version."""
        model, named = request.get("trainedModelArn"), request.get("trainedModelVersionIdentifier")

        def told(resource: Resource) -> dict[str, Any] | None:
            found = record(self._backend, resource)
            if model not in (None, found.request["trainedModelArn"]) or named not in (None, found.facts["version"]):
                return None
            return described(found)

        return told

    def _listed(self, found: Record, membership: Membership, account: str) -> dict[str, Any]:
        summary = self._summary(found, membership, account)
        collaboration = {"collaborationIdentifier": found.facts["collaboration"]}
        return {**summary, **collaboration, "outputConfiguration": found.request["outputConfiguration"]}

    def _summary(self, found: Record, membership: Membership, account: str) -> dict[str, Any]:
        """What Get and List both tell."""
        asked = found.request
        return {
            "createTime": moment(found.job.created),
            "updateTime": moment(found.updated),
            "trainedModelInferenceJobArn": found.arn,
            "name": found.name,
            "status": found.status,
            "trainedModelArn": asked["trainedModelArn"],
            "membershipIdentifier": asked["membershipIdentifier"],
            "configuredModelAlgorithmAssociationArn": found.facts["association"],
            **present(
                trainedModelVersionIdentifier=found.facts["version"],
                description=asked.get("description"),
                mlModelInferencePayerAccountId=asked.get("mlModelInferencePayerAccountId"),
            ),
            **published(self._backend, membership.collaboration, found.job, account),
        }
