"""Headers of objects: from a request into what is kept, and from what is kept into an answer."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.services.s3.conditions import changed
from modelyard.storage.attributes import Object
from modelyard.wire.errors import Fault

LARGEST_METADATA = 2048
"""Bytes of all names and values, as in S3."""

_KEPT = ("CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "ContentType")
_REFUSED = {
    "SSECustomerAlgorithm": "x-amz-server-side-encryption-customer-algorithm",
    "CopySourceSSECustomerAlgorithm": "x-amz-copy-source-server-side-encryption-customer-algorithm",
    "Tagging": "x-amz-tagging",
    "ObjectLockMode": "x-amz-object-lock-mode",
    "ObjectLockRetainUntilDate": "x-amz-object-lock-retain-until-date",
    "ObjectLockLegalHoldStatus": "x-amz-object-lock-legal-hold",
    "WriteOffsetBytes": "x-amz-write-offset-bytes",
}


def check_served(request: Mapping[str, Any]) -> None:
    """A Fault for what a request asks of an object that would not be kept, and must not seem to be."""
    for member in _REFUSED.keys() & request.keys():
        message = f"A header you provided implies functionality that is not implemented: {_REFUSED[member]}"
        raise Fault("NotImplemented", message, {"Header": _REFUSED[member]})
    if request.get("VersionId", "null") != "null":
        raise Fault("NoSuchVersion", "The specified version does not exist: objects have no versions here", status=404)


def headers(request: Mapping[str, Any]) -> dict[str, str]:
    """The headers that are kept with an object, by S3's members."""
    kept = {name: request[name] for name in _KEPT if request.get(name)}
    if "Expires" in request:
        kept["Expires"] = str(int(request["Expires"].timestamp()))
    return kept


def metadata(request: Mapping[str, Any]) -> dict[str, str]:
    """The user's metadata; a Fault if it is too long."""
    given: dict[str, str] = request.get("Metadata", {})
    size = sum(len(name.encode()) + len(value.encode()) for name, value in given.items())
    if size > LARGEST_METADATA:
        message = "Your metadata headers exceed the maximum allowed metadata size"
        raise Fault("MetadataTooLarge", message, {"Size": size, "MaxSizeAllowed": LARGEST_METADATA})
    return given


def answer(request: Mapping[str, Any], found: Object, span: tuple[int, int] | None) -> dict[str, Any]:
    """What a Get or a Head answers, but for the body; `span` as `ranges.chosen` has it."""
    start, end = span or (0, found.size)
    kept = found.attributes
    output: dict[str, Any] = {
        "AcceptRanges": "bytes",
        "LastModified": changed(found),
        "ContentLength": end - start,
        "ETag": quoted(found),
        "ContentType": "binary/octet-stream",
        **kept.headers,
        "Metadata": kept.metadata,
    }
    if "Expires" in kept.headers:
        output["Expires"] = datetime.fromtimestamp(int(kept.headers["Expires"]), UTC)
    if span is not None:
        output["ContentRange"] = f"bytes {start}-{end - 1}/{found.size}"
    elif str(request.get("ChecksumMode", "")).upper() == "ENABLED":
        output |= checksums(found)
    if "PartNumber" in request and kept.part_count:
        output["PartsCount"] = kept.part_count
    overruled = {name.removeprefix("Response"): value for name, value in request.items() if name.startswith("Response")}
    return output | overruled


def checksums(found: Object) -> dict[str, str]:
    """An object's checksums as members of an answer."""
    kept = found.attributes
    if not kept.checksums:
        return {}
    return {f"Checksum{name}": sum for name, sum in kept.checksums.items()} | {"ChecksumType": kept.checksum_type}


def quoted(found: Object) -> str:
    """An object's ETag as answers have it."""
    return f'"{found.etag}"'
