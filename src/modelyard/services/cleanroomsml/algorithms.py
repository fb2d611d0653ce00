"""Configured model algorithms: the images that train a model and ask it, as their provider's account has them.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_CreateConfiguredModelAlgorithm.html
"""

from collections.abc import Iterator
from typing import Any

import re2

from modelyard.collaborations import arns
from modelyard.jobs import resources
from modelyard.jobs.listing import Search
from modelyard.jobs.model import NotFound, Owner, Resource
from modelyard.jobs.store import now
from modelyard.services.calls import moment, owner, sifted
from modelyard.services.cleanroomsml.backend import (
    ACTIVE,
    ALGORITHM,
    ASSOCIATION,
    Backend,
    conflict,
    invalid,
    not_found,
    present,
    require_own_role,
    search,
    tags_of,
)
from modelyard.services.cleanroomsml.records import REPEAT_MS
from modelyard.wire.endpoint import Call, quick


class Algorithms:
    """The operations on configured model algorithms. Each account sees its own alone."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Keeps an algorithm. The images need not be here before a job wants them."""
        require_own_role(call, request["roleArn"])
        tagged = tags_of(request)
        for container in ("trainingContainerConfig", "inferenceContainerConfig"):
            if container in request:
                _check_image(request[container]["imageUri"], f"{container}.imageUri")
        for n, metric in enumerate(request.get("trainingContainerConfig", {}).get("metricDefinitions", ())):
            _check_metric(metric["regex"], f"trainingContainerConfig.metricDefinitions.{n}.regex")
        if (arn := repeated(self._backend, owner(call), ALGORITHM, request)) is None:
            id = arns.new_id()
            arn = arns.configured_model_algorithm(owner(call), id)
            document = {"arn": arn, "request": request}
            new = resources.new(owner(call), ALGORITHM, id, None, ACTIVE, document)
            await self._backend.resources.create(new, tagged=tagged)
        return {"configuredModelAlgorithmArn": arn}

    @quick
    def get(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """An algorithm of the caller's."""
        found = find(self._backend, owner(call), request["configuredModelAlgorithmArn"])
        asked = {name: value for name, value in found.document["request"].items() if name != "tags"}
        tags = self._backend.tags.of(found.document["arn"])
        return {**asked, **_summary(found), **present(tags=tags or None)}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """A page of the caller's algorithms."""
        backend, whose = self._backend, owner(call)
        return sifted(
            "configuredModelAlgorithms",
            lambda looked: backend.resources.page(whose, ALGORITHM, looked),
            search(request),
            _summary,
        )

    async def delete(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Forgets an algorithm that no association has."""
        found = find(self._backend, owner(call), request["configuredModelAlgorithmArn"])
        arn = found.document["arn"]
        for association in self._associations(found.owner):
            if association.document["request"]["configuredModelAlgorithmArn"] == arn:
                reason = f"{arn} has the association {association.document['arn']}; delete that first"
                raise conflict(reason)
        await self._backend.resources.delete(found)
        return {}

    def _associations(self, owner: Owner) -> Iterator[Resource]:
        looked: Search | None = Search()
        while looked is not None:
            page = self._backend.resources.page(owner, ASSOCIATION, looked)
            yield from page.items
            looked = None if page.following is None else Search(position=page.following)


def find(backend: Backend, owner: Owner, identifier: str) -> Resource:
    """The owner's algorithm with this ARN; a Fault if there is none."""
    arn = arns.parse(identifier)
    if arn is not None and (arn.resource, arn.owner) == (ALGORITHM, owner):
        try:
            return backend.resources.get(owner, ALGORITHM, arn.id)
        except NotFound:
            pass
    raise not_found(ALGORITHM, identifier, f"account {owner.account} in {owner.region}")


def repeated(backend: Backend, owner: Owner, kind: str, request: dict[str, Any], base: str | None = None) -> str | None:
    """The ARN of what the very same request has made a moment ago: its answer was lost, perhaps."""
    looked = Search(after=now() - REPEAT_MS, base=base, limit=50)
    found = backend.resources.page(owner, kind, looked).items
    return next((one.document["arn"] for one in found if one.document["request"] == request), None)


def _summary(found: Resource) -> dict[str, Any]:
    asked = found.document["request"]
    return {
        "createTime": moment(found.created),
        "updateTime": moment(found.updated),
        "configuredModelAlgorithmArn": found.document["arn"],
        "name": asked["name"],
        **present(description=asked.get("description")),
    }


def _check_image(uri: str, member: str) -> None:
    registry, _, repository = uri.partition("/")
    if not registry or not repository or "@" in uri or any(c.isspace() for c in uri):
        raise invalid(member, f"{uri!r} is not of the form registry/repository[:tag]")


def _check_metric(regex: str, member: str) -> None:
    """Faults unless RE2 takes an expression with one group: it runs over what a stranger's container prints."""
    options = re2.Options()
    options.log_errors = False
    try:
        groups = re2.compile(regex, options).groups
    except re2.error as error:
        raise invalid(member, f"{regex!r} is no regular expression of RE2: {error}") from None
    if groups != 1:
        raise invalid(member, f"{regex!r} has {groups} groups; it needs one, around the number")
