"""Clean Rooms' operations, put together from their resources."""

from modelyard.collaborations.parties import NotAMember
from modelyard.jobs.tags import TooManyTags
from modelyard.services.cleanrooms.backend import Backend, denied
from modelyard.services.cleanrooms.collaborations import Collaborations
from modelyard.services.cleanrooms.memberships import Memberships
from modelyard.services.cleanrooms.tagging import Tagging
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault


def cleanrooms(backend: Backend) -> Service:
    """The service, ready to answer."""
    collaborations, memberships, tagging = Collaborations(backend), Memberships(backend), Tagging(backend)
    handlers: dict[str, Handler] = {
        "create_collaboration": collaborations.create,
        "get_collaboration": collaborations.get,
        "list_collaborations": collaborations.list,
        "update_collaboration": collaborations.update,
        "delete_collaboration": collaborations.delete,
        "list_members": collaborations.list_members,
        "delete_member": collaborations.delete_member,
        "create_membership": memberships.create,
        "get_membership": memberships.get,
        "list_memberships": memberships.list,
        "update_membership": memberships.update,
        "delete_membership": memberships.delete,
        "tag_resource": tagging.tag,
        "untag_resource": tagging.untag,
        "list_tags_for_resource": tagging.list,
    }
    return Service("cleanrooms", handlers, faults=_fault)


def _fault(error: Exception) -> Fault | None:
    match error:
        case NotAMember():
            return denied(f"You have no collaboration or membership {error}")
        case AccessDenied():
            return denied(str(error))
        case ObjectError() | TooManyTags():
            return Fault("ValidationException", str(error))
    return None
