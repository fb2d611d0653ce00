"""Associations of algorithms: a provider brings its images into a collaboration, under a privacy configuration.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_CreateConfiguredModelAlgorithmAssociation.html
"""

from collections.abc import Mapping
from typing import Any

import re2

from modelyard.collaborations import arns
from modelyard.collaborations.audit import Entry
from modelyard.collaborations.model import Collaboration
from modelyard.jobs import resources
from modelyard.jobs.model import Resource
from modelyard.services.calls import moment
from modelyard.services.cleanroomsml import algorithms
from modelyard.services.cleanroomsml.backend import (
    ACTIVE,
    ASSOCIATION,
    Backend,
    conflict,
    denied,
    invalid,
    present,
    tags_of,
)
from modelyard.services.cleanroomsml.records import Record, in_use
from modelyard.wire.endpoint import Call, quick

_POLICIES = "privacyConfiguration.policies"


class Associations:
    """The operations on associations. Nothing changes one: jobs and other members' rules rely on its ARN."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Brings an algorithm of the caller's into the collaboration."""
        membership = self._backend.member(call, request)
        algorithm = algorithms.find(self._backend, membership.owner, request["configuredModelAlgorithmArn"])
        tagged = tags_of(request)
        _check_policies(request.get("privacyConfiguration", {}).get("policies", {}))
        arn = algorithms.repeated(self._backend, membership.owner, ASSOCIATION, request, membership.arn)
        if arn is None:
            id = arns.new_id()
            arn = arns.model_association(membership.owner, membership.id, id)
            new = resources.new(
                membership.owner,
                ASSOCIATION,
                id,
                None,
                ACTIVE,
                {"arn": arn, "request": request, "collaboration": membership.collaboration.id},
                membership.arn,
                membership.collaboration.arn,
            )
            await self._backend.resources.create(new, needs=algorithm, tagged=tagged)
        return {"configuredModelAlgorithmAssociationArn": arn}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """An association of the caller's."""
        membership = self._backend.member(call, request)
        found = self._backend.in_membership(membership, ASSOCIATION, request["configuredModelAlgorithmAssociationArn"])
        return {**_described(found), **present(tags=self._backend.tags.of(found.document["arn"]) or None)}

    @quick
    def get_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """An association of any member's: its privacy configuration is for all to see."""
        collaboration = self._backend.asker(call, request).collaboration
        identifier = request["configuredModelAlgorithmAssociationArn"]
        found = self._backend.in_collaboration(collaboration, ASSOCIATION, identifier)
        return {**_described(found), "creatorAccountId": found.owner.account}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's associations."""
        membership = self._backend.member(call, request)
        name = "configuredModelAlgorithmAssociations"
        return self._backend.list_own(name, membership, ASSOCIATION, request, _summary)

    @quick
    def list_collaboration(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of all members' associations."""
        collaboration = self._backend.asker(call, request).collaboration
        name = "collaborationConfiguredModelAlgorithmAssociations"
        return self._backend.list_of_all(name, collaboration, ASSOCIATION, request, _summary)

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes an algorithm out of the collaboration; a Fault while a job uses it."""
        membership = self._backend.member(call, request)
        found = self._backend.in_membership(membership, ASSOCIATION, request["configuredModelAlgorithmAssociationArn"])
        arn, collaboration = found.document["arn"], membership.collaboration
        accounts = [member.account for member in collaboration.members]
        if user := in_use(self._backend, accounts, collaboration.region, arn):
            raise conflict(f"{arn} is used by a job of account {user.owner.account} that has not ended; wait for it")
        await self._backend.resources.delete(found)
        gone = Entry(collaboration.id, call.account, call.account, "deleted", arn, used=arn)
        await self._backend.audit.record(gone)
        return {}


def find(backend: Backend, collaboration: Collaboration, identifier: str) -> Resource:
    """The association of any active member with this ARN; a Fault if there is none."""
    found = backend.in_collaboration(collaboration, ASSOCIATION, identifier)
    if backend.parties.of_account(collaboration, found.owner.account) is None:
        raise conflict(f"{identifier} is of account {found.owner.account}, which is no active member any more")
    return found


def container(backend: Backend, association: Resource, name: str) -> Mapping[str, Any]:
    """One of the containers of an association's algorithm; a Fault if it has none."""
    arn = association.document["arn"]
    algorithm = algorithms.find(
        backend, association.owner, association.document["request"]["configuredModelAlgorithmArn"]
    )
    config: Mapping[str, Any] | None = algorithm.document["request"].get(name)
    if config is None:
        raise invalid("configuredModelAlgorithmAssociationArn", f"the algorithm of {arn} has no {name}")
    return config


def require_trusted(backend: Backend, collaboration: Collaboration, model: Record, association: Resource) -> None:
    """A Fault unless an association's images may open a model.

    Those may that trained it; and others of the same provider, if all whose data is in the model allow them.
    """
    arn, trained = association.document["arn"], model.facts["association"]
    if arn == trained:
        return
    if association.owner.account != model.facts["provider"]:
        raise denied(f"{model.arn} was trained with {trained}; an algorithm of another account cannot open it")
    tables = backend.tables.of(collaboration)
    for name, account in model.facts["tables"].items():
        table = tables.get(name)
        allowed = (table.association_rule or {}).get("allowedAdditionalAnalyses", ()) if table else ()
        if not any(_matches(entry, arn) for entry in allowed):
            reason = f"the data of {name}, of account {account}, is in it, and its rule does not allow {arn}"
            raise denied(f"{model.arn} was trained with {trained}: {reason}")


def policy(association: Resource, name: str) -> Mapping[str, Any] | None:
    """One of the policies of an association's privacy configuration; None if it has none."""
    policies = association.document["request"].get("privacyConfiguration", {}).get("policies", {})
    found: Mapping[str, Any] | None = policies.get(name)
    return found


def _summary(found: Resource) -> dict[str, Any]:
    asked = found.document["request"]
    return {
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
        "configuredModelAlgorithmAssociationArn": found.document["arn"],
        "configuredModelAlgorithmArn": asked["configuredModelAlgorithmArn"],
        "name": asked["name"],
        "membershipIdentifier": asked["membershipIdentifier"],
        "collaborationIdentifier": found.document["collaboration"],
        **present(description=asked.get("description")),
    }


def _described(found: Resource) -> dict[str, Any]:
    return {**_summary(found), **present(privacyConfiguration=found.document["request"].get("privacyConfiguration"))}


def _matches(entry: str, arn: str) -> bool:
    """Whether an entry of `allowedAdditionalAnalyses` means an ARN: account, membership and id may each be `*`."""
    wanted, given = entry.replace(":", "/").split("/"), arn.replace(":", "/").split("/")
    return len(wanted) == len(given) and all(one in ("*", other) for one, other in zip(wanted, given, strict=True))


def _check_policies(policies: Mapping[str, Any]) -> None:
    """Faults for what a log policy says and nobody could do."""
    for name, found in policies.items():
        for n, logs in enumerate(found.get("containerLogs", ())):
            _check_logs(logs, f"{_POLICIES}.{name}.containerLogs.{n}")


def _check_logs(policy: Mapping[str, Any], member: str) -> None:
    for account in policy["allowedAccountIds"]:
        if not (len(account) == 12 and account.isascii() and account.isdigit()):
            raise invalid(f"{member}.allowedAccountIds", f"{account[:40]!r} is no account of twelve digits")
    if pattern := policy.get("filterPattern"):
        _check_pattern(pattern, f"{member}.filterPattern")
    redaction = policy.get("logRedactionConfiguration", {})
    identifiers = redaction.get("customEntityConfig", {}).get("customDataIdentifiers", ())
    if ("CUSTOM" in redaction.get("entitiesToRedact", ())) != bool(identifiers):
        raise invalid(f"{member}.logRedactionConfiguration", "CUSTOM goes with customDataIdentifiers, and needs them")
    for identifier in identifiers:
        _check_pattern(identifier, f"{member}.logRedactionConfiguration.customEntityConfig")


def _check_pattern(text: str, member: str) -> None:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        raise invalid(member, f"{text!r} is no regular expression of RE2: {error}") from None
