"""Tags on whatever of Bedrock's can have them.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_TagResource.html
"""

from collections.abc import Mapping
from typing import Any

from modelyard.jobs.model import NotFound
from modelyard.jobs.tags import TooManyTags
from modelyard.services.bedrock import arns, copy_jobs, customization_jobs, import_jobs, invocation_jobs
from modelyard.services.bedrock.backend import Backend, not_found, tag_list, tag_values
from modelyard.services.bedrock.deployments import DEPLOYMENT
from modelyard.services.bedrock.imported_models import IMPORTED_MODEL
from modelyard.services.bedrock.provisioned_throughput import PROVISIONED
from modelyard.services.bedrock.weights import CUSTOM_MODEL
from modelyard.services.calls import owner
from modelyard.wire.endpoint import Call, quick
from modelyard.wire.errors import Fault

JOBS: Mapping[str, str] = {
    "model-customization-job": customization_jobs.KIND,
    "model-import-job": import_jobs.KIND,
    "model-copy-job": copy_jobs.KIND,
    "model-invocation-job": invocation_jobs.KIND,
}
RESOURCES: Mapping[str, str] = {
    "custom-model": CUSTOM_MODEL,
    "custom-model-deployment": DEPLOYMENT,
    "imported-model": IMPORTED_MODEL,
    "provisioned-model": PROVISIONED,
}


class Tagging:
    """The operations on tags."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def tag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Adds tags, and gives those that are there new values."""
        arn = self._taggable(call, request["resourceARN"])
        try:
            await self._backend.tags.put(arn, tag_values(request["tags"]))
        except TooManyTags as error:
            reason = f"{error}; take some off with UntagResource"
            raise Fault("TooManyTagsException", reason, {"resourceName": arn}) from None
        return {}

    async def untag(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """Takes tags off."""
        await self._backend.tags.remove(self._taggable(call, request["resourceARN"]), request["tagKeys"])
        return {}

    @quick
    def list(self, call: Call, request: dict[str, Any]) -> dict[str, Any]:
        """The tags of something, by key."""
        return {"tags": tag_list(self._backend.tags.of(self._taggable(call, request["resourceARN"])))}

    def _taggable(self, call: Call, identifier: str) -> str:
        """The ARN of something that is there, and is the caller's; else a Fault."""
        arn = arns.parse(identifier)
        try:
            if arn is not None and arn.owner == owner(call):
                if arn.resource in JOBS:
                    self._backend.store.get(arn.owner, JOBS[arn.resource], arn.id)
                    return identifier
                if arn.resource in RESOURCES:
                    self._backend.resource(call, RESOURCES[arn.resource], identifier)
                    return identifier
        except NotFound:
            pass
        raise not_found(call, "resource that can have tags,", identifier)
