"""Trained models: what a provider's image learned from channels. Nobody gets it but whom the rules name.

A model has an ARN; each of its versions is a training job, of which the base version has no identifier of its own.
https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_CreateTrainedModel.html
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from modelyard.collaborations import arns, budgets
from modelyard.collaborations.model import Collaboration, Membership
from modelyard.jobs import resources
from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Resource
from modelyard.services.calls import moment, sifted
from modelyard.services.cleanroomsml import associations, channels, uses
from modelyard.services.cleanroomsml.backend import (
    ACTIVE,
    MODEL,
    VERSION,
    Backend,
    invalid,
    not_found,
    present,
    require_ability,
    require_payer,
    search,
)
from modelyard.services.cleanroomsml.delivery import configured, loggers, published
from modelyard.services.cleanroomsml.records import (
    KEPT,
    Record,
    cancel,
    create,
    erase,
    facts,
    record,
    repeated,
    require_active,
    require_active_owners,
    require_quota,
    status_details,
    tell_isolation,
)
from modelyard.services.cleanroomsml.training_plan import Training, plan
from modelyard.wire.endpoint import Call, quick

MOST_CHANNELS = 20
_ECHOED = ("description", "resourceConfig", "trainingInputMode", "stoppingCondition", "mlModelTrainingPayerAccountId")


class TrainedModels:
    """The operations on trained models and their versions."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        backend.store.at_end(MODEL, uses.ended)

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Trains a model, or a new version of one if an incremental channel names it."""
        backend, membership = self._backend, self._backend.member(call, request)
        require_ability(membership, "CAN_QUERY")
        payer = request.get("mlModelTrainingPayerAccountId")
        require_payer(backend, membership, "modelTraining", payer, "mlModelTrainingPayerAccountId")
        if job := repeated(backend, membership, MODEL, request):
            return _created(facts(job))
        require_quota(backend, membership, MODEL, "trained models")
        training = self._training(membership, request)
        return _created(await self._accept(membership, request, training))

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A version of a model of the caller's: the latest, if none is named."""
        membership = self._backend.member(call, request)
        found = find(self._backend, membership, request["trainedModelArn"], request.get("versionIdentifier"))
        asked = found.request
        tell_isolation(call, found)
        return {
            **self._described(found, membership.collaboration, call.account),
            "dataChannels": asked["dataChannels"],
            **present(
                hyperparameters=asked.get("hyperparameters"),
                environment=asked.get("environment"),
                kmsKeyArn=asked.get("kmsKeyArn"),
                tags=self._backend.tags.of(found.arn) or None,
            ),
        }

    @quick
    def get_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A version of a model of any member's: nothing of how it was asked for."""
        collaboration = self._backend.asker(call, request).collaboration
        model = self._backend.in_collaboration(collaboration, MODEL, request["trainedModelArn"])
        found = version(self._backend, model, request.get("versionIdentifier"))
        tell_isolation(call, found)
        described = self._described(found, collaboration, call.account)
        return {**described, "creatorAccountId": model.owner.account}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's models: of each, the latest version."""
        backend, membership = self._backend, self._backend.member(call, request)
        return backend.list_own(
            "trainedModels", membership, MODEL, request, lambda model: _summary(version(backend, model, None))
        )

    @quick
    def list_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of all members' models: of each, the latest version."""
        backend, collaboration = self._backend, self._backend.asker(call, request).collaboration
        name = "collaborationTrainedModels"
        return backend.list_of_all(
            name, collaboration, MODEL, request, lambda model: _summary(version(backend, model, None))
        )

    @quick
    def list_versions(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of a model's versions, the latest first."""
        backend, membership = self._backend, self._backend.member(call, request)
        model = backend.in_membership(membership, MODEL, request["trainedModelArn"])
        wanted = request.get("status")

        def told(resource: Resource) -> dict[str, Any] | None:
            found = record(backend, resource, MODEL)
            return _summary(found) if wanted in (None, found.status) else None

        return sifted(
            "trainedModels",
            lambda looked: backend.resources.page(membership.owner, VERSION, looked),
            search(request, base=model.document["arn"]),
            told,
        )

    async def cancel(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Stops the training of a version: of the base version, if none is named."""
        await cancel(self._backend, self._named(call, request))
        return {}

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Deletes what a version has learned; it stays, INACTIVE. The base version's, if none is named."""
        found = self._named(call, request)
        await erase(self._backend, found, uses.entries(found.facts, "deleted"))
        return {}

    def _named(self, call: Call, request: dict[str, Any]) -> Record:
        membership = self._backend.member(call, request)
        model = self._backend.in_membership(membership, MODEL, request["trainedModelArn"])
        return version(self._backend, model, request.get("versionIdentifier") or model.id)

    def _training(self, membership: Membership, request: dict[str, Any]) -> Training:
        """What a training rests on, all of it ready; else a Fault."""
        backend, collaboration = self._backend, membership.collaboration
        identifier = request["configuredModelAlgorithmAssociationArn"]
        association = associations.find(backend, collaboration, identifier)
        container = associations.container(backend, association, "trainingContainerConfig")
        earlier = request.get("incrementalTrainingDataChannels", [])
        _check_names([channel["channelName"] for channel in (*request["dataChannels"], *earlier)])
        data = [channels.find(backend, membership, one["mlInputChannelArn"]) for one in request["dataChannels"]]
        before = [usable(backend, membership, one["trainedModelArn"], one.get("versionIdentifier")) for one in earlier]
        for member, records in (("dataChannels", data), ("incrementalTrainingDataChannels", before)):
            for found in records:
                require_active(found, member)
                require_active_owners(backend, collaboration, found)
        for found in data:
            channels.require_association(found, identifier)
        for found in before:
            associations.require_trusted(backend, collaboration, found, association)
        policy = associations.policy(association, "trainedModels")
        told = configured(backend, collaboration) if policy and "containerMetrics" in policy else {}
        return Training(
            association=association,
            container=container,
            image=backend.image(container["imageUri"]),
            channels=data,
            earlier=before,
            policy=policy,
            loggers=loggers(backend, collaboration, policy),
            metrics=told if container.get("metricDefinitions") else {},
        )

    async def _accept(self, membership: Membership, request: dict[str, Any], training: Training) -> dict[str, Any]:
        backend, collaboration = self._backend, membership.collaboration
        id = arns.new_id()
        base = training.earlier[0] if training.earlier else None
        arn = base.arn if base else arns.trained_model(membership.owner, membership.id, id)
        document = {"arn": arn}
        made = [resources.new(membership.owner, VERSION, id, None, KEPT, document, arn, collaboration.arn)]
        if base is None:
            model = (membership.owner, MODEL, id, None, KEPT, document, membership.arn, collaboration.arn)
            made.append(resources.new(*model))
        records = [*training.channels, *training.earlier]
        tables = {name: account for found in records for name, account in found.facts["tables"].items()}
        settled = {
            "arn": arn,
            "version": id if base else None,
            "collaboration": collaboration.id,
            "actor": membership.owner.account,
            "tables": tables,
            "owners": sorted({account for found in records for account in found.facts["owners"]}),
            "association": training.association.document["arn"],
            "provider": training.association.owner.account,
            "folder": f"modelyard://trained/{id}",
            "uses": [training.association.document["arn"], *(found.facts["folder"] for found in records)],
            "metrics": bool(training.metrics),
            "incremental": _incremental(request, training.earlier),
        }
        names = [name for found in training.channels for name in found.facts["tables"]]

        def within(connection: Connection) -> None:
            budgets.spend(connection, collaboration, set(names))

        stages = plan(request, training, id, settled, backend.slots)
        entries = uses.entries(settled, "training")
        needs = [training.association, *(found.resource for found in records)]
        await create(backend, membership, made, MODEL, id, request, settled, stages, needs, within, entries)
        return settled

    def _described(self, found: Record, collaboration: Collaboration, account: str) -> dict[str, Any]:
        asked = found.request
        return {
            **_summary(found),
            **present(
                **{name: asked.get(name) for name in _ECHOED},
                statusDetails=status_details(found, account),
                trainingContainerImageDigest=found.result.get("digest"),
            ),
            **published(self._backend, collaboration, found.job, account),
        }


def find(backend: Backend, membership: Membership, identifier: str, named: str | None) -> Record:
    """The version of a membership's model that is named, or the latest; a Fault if there is none."""
    return version(backend, backend.in_membership(membership, MODEL, identifier), named)


def usable(backend: Backend, membership: Membership, identifier: str, named: str | None) -> Record:
    """The version that a job is to use: the one that is named, or the latest that is ACTIVE.

    A version that failed, or is still learning, spoils nobody's jobs. Where none is ACTIVE, it is the latest of all.
    """
    model = backend.in_membership(membership, MODEL, identifier)
    if named is None:
        looked = Search(base=model.document["arn"])
        for resource in backend.resources.page(model.owner, VERSION, looked).items:
            if (found := record(backend, resource, MODEL)).status == ACTIVE:
                return found
    return version(backend, model, named)


def version(backend: Backend, model: Resource, named: str | None) -> Record:
    """The version of a model that is named, or the latest; a Fault if there is none."""
    if named is None:
        latest = backend.resources.page(model.owner, VERSION, Search(base=model.document["arn"], limit=1)).items
        return record(backend, latest[0], MODEL)
    try:
        found = backend.resources.get(model.owner, VERSION, named)
        if found.base == model.document["arn"]:
            return record(backend, found, MODEL)
    except NotFound:
        pass
    raise not_found(f"version {named!r} of {MODEL}", model.document["arn"], f"membership of {model.owner.account}")


def _created(settled: dict[str, Any]) -> dict[str, Any]:
    return {"trainedModelArn": settled["arn"], **present(versionIdentifier=settled["version"])}


def _check_names(names: Sequence[str]) -> None:
    if len(names) > MOST_CHANNELS:
        raise invalid("dataChannels", f"{len(names)} channels; {MOST_CHANNELS} are the most, incremental ones included")
    for name in names:
        if names.count(name) > 1 or not name.strip("."):
            raise invalid("channelName", f"{name!r} is no name for one channel: give each its own, and not only dots")


def _incremental(request: dict[str, Any], earlier: Sequence[Record]) -> list[dict[str, Any]]:
    """`incrementalTrainingDataChannels` as answers have it."""
    asked = request.get("incrementalTrainingDataChannels", ())
    return [
        {
            "channelName": channel["channelName"],
            "modelName": found.name,
            **present(versionIdentifier=found.facts["version"]),
        }
        for channel, found in zip(asked, earlier, strict=True)
    ]


def _summary(found: Record) -> dict[str, Any]:
    return {
        "createTime": moment(found.job.created),
        "updateTime": moment(found.updated),
        "trainedModelArn": found.arn,
        "name": found.name,
        "membershipIdentifier": found.request["membershipIdentifier"],
        "collaborationIdentifier": found.facts["collaboration"],
        "status": found.status,
        "configuredModelAlgorithmAssociationArn": found.facts["association"],
        **present(
            versionIdentifier=found.facts["version"],
            incrementalTrainingDataChannels=found.facts["incremental"] or None,
            description=found.request.get("description"),
            mlModelTrainingPayerAccountId=found.request.get("mlModelTrainingPayerAccountId"),
        ),
    }
