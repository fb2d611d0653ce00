"""Clean Rooms' operations, put together from their resources."""

from modelyard.collaborations.parties import NotAMember
from modelyard.jobs.tags import TooManyTags
from modelyard.services.cleanrooms.backend import Backend, denied
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import ObjectError
from modelyard.wire.endpoint import Handler, Service
from modelyard.wire.errors import Fault


def cleanrooms(backend: Backend) -> Service:
    """The service, ready to answer."""
    handlers: dict[str, Handler] = {}
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
