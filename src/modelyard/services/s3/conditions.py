"""Conditions of requests: on the ETag of an object, and on when it changed.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-requests.html
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.storage.attributes import Object
from modelyard.storage.tree import Allow
from modelyard.wire.errors import Fault


def check_read(request: Mapping[str, Any], found: Object) -> None:
    """A Fault unless an object may be read: 412 if it is not the one meant, 304 if the client has it."""
    if "IfMatch" in request:
        if not _names(request["IfMatch"], found):
            raise _failed("If-Match")
    elif "IfUnmodifiedSince" in request and changed(found) > request["IfUnmodifiedSince"]:
        raise _failed("If-Unmodified-Since")
    if "IfNoneMatch" in request:
        if _names(request["IfNoneMatch"], found):
            raise _not_modified(found)
    elif "IfModifiedSince" in request and changed(found) <= request["IfModifiedSince"]:
        raise _not_modified(found)


def check_source(request: Mapping[str, Any], found: Object) -> None:
    """A Fault unless an object may be copied."""
    try:
        prefix = "CopySource"
        check_read(
            {name.removeprefix(prefix): value for name, value in request.items() if name.startswith(prefix)}, found
        )
    except Fault as fault:
        raise _failed(f"x-amz-copy-source-{fault.members.get('Condition', 'if-none-match').lower()}") from None


def writing(request: Mapping[str, Any]) -> Allow | None:
    """Whether an object may be replaced, which is asked at the moment of doing it; None if it always may."""
    match, none_match = request.get("IfMatch"), request.get("IfNoneMatch")
    if none_match not in (None, "*"):
        raise Fault(
            "NotImplemented", f"If-None-Match can only be * where something is written, not {none_match[:80]!r}"
        )
    if match is None and none_match is None:
        return None

    def allow(found: Object | None) -> None:
        if none_match is not None and found is not None:
            raise _failed("If-None-Match")
        if match is not None and found is None:
            raise Fault("NoSuchKey", "The specified key does not exist.", status=404)
        if match is not None and found is not None and not _names(match, found):
            raise _failed("If-Match")

    return allow


def deleting(request: Mapping[str, Any]) -> Allow | None:
    """Whether an object may be deleted; None if it always may."""
    match = request.get("IfMatch", request.get("ETag"))
    size = request.get("IfMatchSize", request.get("Size"))
    time = request.get("IfMatchLastModifiedTime", request.get("LastModifiedTime"))
    if match is None and size is None and time is None:
        return None

    def allow(found: Object | None) -> None:
        if found is None:
            return
        if match is not None and not _names(match, found):
            raise _failed("If-Match")
        if size is not None and size != found.size:
            raise _failed("x-amz-if-match-size")
        if time is not None and time.replace(microsecond=0) != changed(found):
            raise _failed("x-amz-if-match-last-modified-time")

    return allow


def changed(found: Object) -> datetime:
    """When an object changed, in whole seconds, as headers have it."""
    return datetime.fromtimestamp(found.changed // 1_000_000_000, UTC)


def _names(etags: str, found: Object) -> bool:
    """Whether a header's list of ETags, or its asterisk, has the object's."""
    names = (etag.strip().removeprefix("W/").strip('"') for etag in etags.split(","))
    return any(name in ("*", found.etag) for name in names)


def _failed(condition: str) -> Fault:
    message = "At least one of the pre-conditions you specified did not hold"
    return Fault("PreconditionFailed", message, {"Condition": condition}, 412)


def _not_modified(found: Object) -> Fault:
    modified = changed(found).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"etag": f'"{found.etag}"', "last-modified": modified}
    return Fault("NotModified", "Not Modified", status=304, headers=headers)
