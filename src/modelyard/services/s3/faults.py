"""S3's errors, in its own words, for what the storage refuses.

https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

import errno

from modelyard.storage.attributes import TooManyAttributes
from modelyard.storage.buckets import AccessDenied
from modelyard.storage.names import KeyTooLong, ObjectError
from modelyard.storage.transfer import Closed, TooLong
from modelyard.storage.tree import NoSuchBucket, NoSuchKey, NotEmpty
from modelyard.storage.uploads import SMALLEST_PART, BadOrder, BadPart, NoSuchUpload, SmallPart
from modelyard.wire.errors import NO_ROOM, Fault

LARGEST_PUT = 5 * 2**30
"""Bytes of one put or part."""

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)


def fault_of(error: Exception) -> Fault | None:
    """The fault that an exception of the storage means to a client; None for a failure of the server."""
    match error:
        case NoSuchBucket():
            return Fault("NoSuchBucket", "The specified bucket does not exist", {"BucketName": str(error)}, 404)
        case NoSuchKey():
            return Fault("NoSuchKey", "The specified key does not exist.", {"Key": str(error)}, 404)
        case AccessDenied():
            return Fault("AccessDenied", f"Access Denied: {error}", status=403)
        case NotEmpty():
            return Fault(
                "BucketNotEmpty", "The bucket you tried to delete is not empty", {"BucketName": str(error)}, 409
            )
        case KeyTooLong():
            return Fault("KeyTooLongError", f"Your key is too long: {error}")
        case ObjectError():
            return Fault("InvalidArgument", str(error))
        case TooManyAttributes():
            return Fault("MetadataTooLarge", f"Your metadata headers exceed the maximum allowed metadata size: {error}")
        case TooLong():
            return too_large(None)
        case OSError():
            return _of_system(error)
    return _of_upload(error)


def too_large(proposed: int | None) -> Fault:
    """For a put or a part above the limit, of which the client may have said how large it is."""
    members = {"MaxSizeAllowed": LARGEST_PUT} | ({"ProposedSize": proposed} if proposed is not None else {})
    return Fault("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", members)


def _of_upload(error: Exception) -> Fault | None:
    match error:
        case NoSuchUpload() | Closed():
            message = "The specified upload does not exist. It may have been aborted or completed."
            return Fault("NoSuchUpload", message, status=404)
        case BadPart():
            return Fault("InvalidPart", f"One or more of the specified parts could not be found: {error}")
        case BadOrder():
            return Fault("InvalidPartOrder", f"The list of parts was not in ascending order: {error}")
        case SmallPart():
            members = {
                "ProposedSize": error.part.size,
                "MinSizeAllowed": SMALLEST_PART,
                "PartNumber": error.part.number,
                "ETag": error.part.md5,
            }
            message = f"Your proposed upload is smaller than the minimum allowed size: {error}"
            return Fault("EntityTooSmall", message, members)
    return None


def _of_system(error: OSError) -> Fault | None:
    if error.errno in _DISK_FULL:
        return Fault("InsufficientStorage", NO_ROOM, status=507)
    if error.errno in _TOO_MANY_FILES:
        return Fault("SlowDown", "The server has as many files open as it may; send fewer requests at once", status=503)
    if error.errno == errno.EACCES:
        return Fault("AccessDenied", f"Access Denied: the server may not touch {error.filename!r}", status=403)
    if error.errno == errno.EXDEV:
        return Fault(
            "InvalidRequest", "The bucket's folder must be on the same file system as the data folder's uploads"
        )
    if error.errno == errno.ENOTSUP:
        return Fault("NotImplemented", f"Not possible here: {error.strerror}")
    return None
