"""Multipart uploads.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html and its neighbours
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from modelyard.services.s3 import conditions, description, ranges
from modelyard.services.s3.backend import Backend
from modelyard.services.s3.faults import LARGEST_PUT, too_large
from modelyard.services.s3.integrity import Integrity, announced, mismatch
from modelyard.services.s3.listing import encoded, most, owner_of
from modelyard.services.s3.objects import copy_source
from modelyard.storage.attributes import Attributes, Object
from modelyard.storage.digests import ALGORITHMS, LINEAR
from modelyard.storage.parts import Part, Upload
from modelyard.storage.uploads import Chosen
from modelyard.wire.errors import Fault
from modelyard.wire.service import Call
from modelyard.wire.streams import Body

Request = Mapping[str, Any]
Output = dict[str, Any]

_MOST_PARTS = 10_000


class UploadResource:
    """The operations on multipart uploads."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, call: Call, request: Request) -> Output:
        """CreateMultipartUpload."""
        place = self._backend.place(call, request)
        description.check_served(request)
        algorithm, kind = _checksum(request)
        headers, metadata = description.headers(request), description.metadata(request)
        upload = await self._backend.uploads.create(place, call.account, headers, metadata, algorithm, kind)
        return {
            "Bucket": place.bucket,
            "Key": place.key,
            "UploadId": upload.id,
            "ChecksumAlgorithm": algorithm or None,
            "ChecksumType": kind or None,
        }

    async def put_part(self, call: Call, request: Request) -> Output:
        """UploadPart."""
        place = self._backend.place(call, request)
        description.check_served(request)
        number = _number(request)
        body: Body = request["Body"]
        integrity = Integrity(request, body)
        if body.length is not None and body.length > LARGEST_PUT:
            raise too_large(body.length)
        part = await self._backend.uploads.put_part(
            place, request["UploadId"], number, body, body.length, integrity.algorithms, integrity.check
        )
        return {"ETag": f'"{part.md5}"', **_sums(part.checksums)}

    async def copy_part(self, call: Call, request: Request) -> Output:
        """UploadPartCopy."""
        place = self._backend.place(call, request)
        source = copy_source(self._backend, call, request)
        description.check_served(request)

        def choose(found: Object) -> tuple[int, int]:
            conditions.check_source(request, found)
            span = _copied_span(request, found)
            if span[1] - span[0] > LARGEST_PUT:
                raise too_large(span[1] - span[0])
            return span

        part = await self._backend.uploads.copy_part(place, request["UploadId"], _number(request), source, choose)
        result = {"ETag": f'"{part.md5}"', "LastModified": _time(part.changed), **_sums(part.checksums)}
        return {"CopyPartResult": result}

    async def complete(self, call: Call, request: Request) -> Output:
        """CompleteMultipartUpload."""
        place = self._backend.place(call, request)
        chosen = [_chosen(part) for part in request.get("MultipartUpload", {}).get("Parts", [])]
        if not chosen:
            raise Fault("MalformedXML", "You must specify at least one part")
        sums = announced(request)

        def check(described: Attributes, size: int) -> None:
            if request.get("MpuObjectSize", size) != size:
                message = f"The parts have {size} bytes, not the {request['MpuObjectSize']} that were announced"
                raise Fault("InvalidRequest", message)
            for name, sum in sums.items():
                if described.checksums.get(name, sum) != sum:
                    raise mismatch(name, sum, described.checksums[name])

        made = await self._backend.uploads.complete(
            place, request["UploadId"], chosen, check, conditions.writing(request)
        )
        return {
            "Location": f"{call.base_url}/{place.bucket}/{quote(place.key)}",
            "Bucket": place.bucket,
            "Key": place.key,
            "ETag": description.quoted(made),
            **description.checksums(made),
        }

    async def abort(self, call: Call, request: Request) -> Output:
        """AbortMultipartUpload."""
        await self._backend.uploads.abort(self._backend.place(call, request), request["UploadId"])
        return {}

    async def list_parts(self, call: Call, request: Request) -> Output:
        """ListParts."""
        place = self._backend.place(call, request)
        upload, parts = await self._backend.uploads.parts(place, request["UploadId"])
        limit, marker = most(request, "MaxParts"), request.get("PartNumberMarker", 0)
        following = [part for part in parts if part.number > marker]
        page = following[:limit]
        more = len(page) < len(following)
        return {
            "Bucket": place.bucket,
            "Key": place.key,
            "UploadId": upload.id,
            "PartNumberMarker": marker,
            "NextPartNumberMarker": page[-1].number if more and page else None,
            "MaxParts": limit,
            "IsTruncated": more,
            "Parts": [_part(part) for part in page] or None,
            "Initiator": owner_of(upload.account),
            "Owner": owner_of(upload.account),
            "StorageClass": "STANDARD",
            "ChecksumAlgorithm": upload.algorithm or None,
            "ChecksumType": upload.checksum_type or None,
        }

    async def list(self, call: Call, request: Request) -> Output:
        """ListMultipartUploads."""
        self._backend.check(call, request)
        uploads = await self._backend.uploads.to_bucket(request["Bucket"])
        limit = most(request, "MaxUploads")
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        page, prefixes, last = _page(_following(request, uploads), prefix, delimiter, limit)
        return {
            "Bucket": request["Bucket"],
            "KeyMarker": encoded(request, request.get("KeyMarker", "")),
            "UploadIdMarker": request.get("UploadIdMarker", ""),
            "NextKeyMarker": encoded(request, last[0]) if last is not None else None,
            "NextUploadIdMarker": last[1] if last is not None else None,
            "Prefix": encoded(request, prefix),
            "Delimiter": encoded(request, delimiter) or None,
            "MaxUploads": limit,
            "IsTruncated": last is not None,
            "Uploads": [_upload(encoded(request, one.key), one) for one in page] or None,
            "CommonPrefixes": [{"Prefix": encoded(request, prefix)} for prefix in prefixes] or None,
            "EncodingType": request.get("EncodingType"),
        }


def _following(request: Request, uploads: Sequence[Upload]) -> Sequence[Upload]:
    """The uploads after those that the client has seen."""
    marker, seen = request.get("KeyMarker", ""), request.get("UploadIdMarker", "")
    for position, one in enumerate(uploads):
        if (one.key, one.id) == (marker, seen):
            return uploads[position + 1 :]
    return [one for one in uploads if one.key > marker]


def _page(
    uploads: Sequence[Upload], prefix: str, delimiter: str, limit: int
) -> tuple[list[Upload], list[str], tuple[str, str] | None]:
    """Uploads and common prefixes, and after which key and id the next page begins; None if there is none."""
    page: list[Upload] = []
    prefixes: list[str] = []
    last = ("", "")
    for one in uploads:
        at = one.key.find(delimiter, len(prefix)) if delimiter else -1
        common = one.key[: at + len(delimiter)] if at >= 0 else None
        if not one.key.startswith(prefix):
            continue
        if common not in prefixes:
            if len(page) + len(prefixes) == limit:
                return page, prefixes, last
            if common is None:
                page.append(one)
            else:
                prefixes.append(common)
        last = (one.key, one.id)
    return page, prefixes, None


def _upload(key: str, upload: Upload) -> Output:
    return {
        "UploadId": upload.id,
        "Key": key,
        "Initiated": _time(upload.started),
        "StorageClass": "STANDARD",
        "Owner": owner_of(upload.account),
        "Initiator": owner_of(upload.account),
        "ChecksumAlgorithm": upload.algorithm or None,
        "ChecksumType": upload.checksum_type or None,
    }


def _part(part: Part) -> Output:
    return {
        "PartNumber": part.number,
        "LastModified": _time(part.changed),
        "ETag": f'"{part.md5}"',
        "Size": part.size,
        **_sums(part.checksums),
    }


def _chosen(part: Mapping[str, Any]) -> Chosen:
    if "PartNumber" not in part or "ETag" not in part:
        raise Fault("MalformedXML", "Each part needs its PartNumber and its ETag")
    return Chosen(part["PartNumber"], part["ETag"], announced(part))


def _checksum(request: Request) -> tuple[str, str]:
    """The algorithm of the object's checksum, and whether it is of the whole or of the parts' checksums."""
    algorithm = request.get("ChecksumAlgorithm", "").upper()
    if not algorithm:
        return "", ""
    if algorithm not in ALGORITHMS:
        raise Fault("InvalidRequest", f"Checksum algorithm provided is unsupported: {algorithm[:40]!r}")
    kind = request.get("ChecksumType") or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
    if (kind == "FULL_OBJECT" and algorithm not in LINEAR) or (kind == "COMPOSITE" and algorithm == "CRC64NVME"):
        raise Fault("InvalidRequest", f"The {kind} checksum type cannot be used with the {algorithm} algorithm.")
    return algorithm, kind


def _number(request: Request) -> int:
    number: int = request["PartNumber"]
    if not 1 <= number <= _MOST_PARTS:
        message = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive"
        raise Fault("InvalidArgument", message, {"ArgumentName": "partNumber", "ArgumentValue": number})
    return number


def _copied_span(request: Request, found: Object) -> tuple[int, int]:
    text = request.get("CopySourceRange")
    if text is None:
        return 0, found.size
    span = ranges.span(text, found.size)
    last = text.rpartition("-")[2]
    if span is None or not last.isdigit() or int(last) >= found.size:
        message = f"The x-amz-copy-source-range value must be of the form bytes=first-last, within {found.size} bytes"
        raise Fault("InvalidArgument", message, {"ArgumentValue": text[:80]})
    return span


def _sums(checksums: Mapping[str, str]) -> Output:
    return {f"Checksum{name}": sum for name, sum in checksums.items()}


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
