"""Tags on whatever of Clean Rooms' can have them.

https://docs.aws.amazon.com/clean-rooms/latest/apireference/API_TagResource.html
"""

from collections.abc import Mapping
from functools import partial

from modelyard.collaborations import arns, budgets
from modelyard.collaborations.model import COLLABORATION, COLLABORATION_DELETED, MEMBERSHIP
from modelyard.collaborations.queries import TEMPLATE
from modelyard.collaborations.tables import ASSOCIATION, CONFIGURED_TABLE
from modelyard.jobs.model import NotFound, Owner
from modelyard.services.calls import owner
from modelyard.services.cleanrooms.backend import Backend, not_found, tags_of
from modelyard.services.tagging import Tagging
from modelyard.wire.endpoint import Call

KINDS: Mapping[str, str] = {
    "collaboration": COLLABORATION,
    "membership": MEMBERSHIP,
    "configuredtable": CONFIGURED_TABLE,
    "configuredtableassociation": ASSOCIATION,
    "analysistemplate": TEMPLATE,
    "privacybudgettemplate": budgets.TEMPLATE,
}
"""The kinds of resources that can have tags, by the words of their ARNs."""
TYPES = {"collaboration": "COLLABORATION", "configuredtable": "CONFIGURED_TABLE"}
"""How ResourceNotFoundException calls them; what is not named here lies in a membership."""


def tagging(backend: Backend) -> Tagging:
    """The operations on tags of this service's."""
    return Tagging(backend.tags, partial(_taggable, backend), tags_of)


def _taggable(backend: Backend, call: Call, text: str) -> str:
    """The ARN of something that is there, and is the caller's; else a Fault."""
    arn = arns.parse(text)
    if arn is not None and arn.service == arns.CLEANROOMS and arn.owner == owner(call) and arn.resource in KINDS:
        where = Owner("", call.region) if arn.resource == "collaboration" else arn.owner
        try:
            found = backend.resources.get(where, KINDS[arn.resource], arn.id)
            if found.document["arn"] == text and found.status != COLLABORATION_DELETED:
                return text
        except NotFound:
            pass
    type = TYPES.get(arn.resource, "MEMBERSHIP") if arn else "MEMBERSHIP"
    raise not_found(call, type, "resource that can have tags,", text)
