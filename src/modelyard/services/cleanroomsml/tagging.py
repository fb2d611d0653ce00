"""Tags on what accounts have made in Clean Rooms ML.

https://docs.aws.amazon.com/cleanrooms-ml/latest/APIReference/API_TagResource.html
"""

from functools import partial

from modelyard.collaborations import arns
from modelyard.jobs.model import NotFound
from modelyard.services.calls import owner
from modelyard.services.cleanroomsml.backend import (
    ALGORITHM,
    ASSOCIATION,
    CHANNEL,
    INFERENCE,
    MODEL,
    Backend,
    not_found,
    tags_of,
)
from modelyard.services.tagging import Tagging
from modelyard.wire.endpoint import Call

TAGGABLE = (ALGORITHM, ASSOCIATION, CHANNEL, MODEL, INFERENCE)


def tagging(backend: Backend) -> Tagging:
    """The operations on tags of this service's."""
    return Tagging(backend.tags, partial(_taggable, backend), tags_of)


def _taggable(backend: Backend, call: Call, identifier: str) -> str:
    """The ARN of something that is there, and is the caller's; else a Fault."""
    arn = arns.parse(identifier)
    if arn is not None and arn.owner == owner(call) and arn.resource in TAGGABLE:
        try:
            if backend.resources.get(arn.owner, arn.resource, arn.id).document["arn"] == identifier:
                return identifier
        except NotFound:
            pass
    raise not_found("resource that can have tags,", identifier, f"account {call.account} in {call.region}")
