"""Objects: put, got, copied, deleted.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutObject.html and its neighbours
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from modelyard.services.s3 import conditions, description, ranges
from modelyard.services.s3.backend import Backend
from modelyard.services.s3.faults import LARGEST_PUT, fault_of, too_large
from modelyard.services.s3.integrity import Integrity
from modelyard.storage.attributes import Attributes, Object
from modelyard.storage.digests import ALGORITHMS
from modelyard.storage.objects import Place
from modelyard.wire.errors import Fault
from modelyard.wire.service import Call
from modelyard.wire.streams import Body

Request = Mapping[str, Any]
Output = dict[str, Any]

_MOST_DELETED = 1000


class ObjectResource:
    """The operations on objects."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def put(self, call: Call, request: Request) -> Output:
        """PutObject."""
        place = self._backend.place(call, request)
        description.check_served(request)
        body: Body = request["Body"]
        integrity = Integrity(request, body)
        allow = conditions.writing(request)
        headers, metadata = description.headers(request), description.metadata(request)
        if body.length is not None and body.length > LARGEST_PUT:
            raise too_large(body.length)

        def describe(digests: Mapping[str, bytes]) -> Attributes:
            return Attributes(digests["MD5"], headers=headers, metadata=metadata, checksums=integrity.check(digests))

        made = await self._backend.objects.put(place, body, integrity.algorithms, describe, allow, LARGEST_PUT)
        return {"ETag": description.quoted(made), **description.checksums(made)}

    async def get(self, call: Call, request: Request) -> Output:
        """GetObject."""
        place = self._backend.place(call, request)
        description.check_served(request)

        def choose(found: Object) -> tuple[int, int]:
            conditions.check_read(request, found)
            return ranges.chosen(request, found) or (0, found.size)

        reading = await self._backend.objects.get(place, choose)
        span = ranges.chosen(request, reading.object)
        return {**description.answer(request, reading.object, span), "Body": reading.body}

    async def head(self, call: Call, request: Request) -> Output:
        """HeadObject."""
        place = self._backend.place(call, request)
        description.check_served(request)
        found = await self._backend.objects.find(place)
        conditions.check_read(request, found)
        return description.answer(request, found, ranges.chosen(request, found))

    async def copy(self, call: Call, request: Request) -> Output:
        """CopyObject."""
        target = self._backend.place(call, request)
        source = copy_source(self._backend, call, request)
        description.check_served(request)
        replace = request.get("MetadataDirective") == "REPLACE"
        if source == target and not (replace or "StorageClass" in request or "ServerSideEncryption" in request):
            message = (
                "This copy request is illegal because it is trying to copy an object to itself without changing the "
                "object's metadata, storage class, website redirect location or encryption attributes."
            )
            raise Fault("InvalidRequest", message)
        headers, metadata = description.headers(request), description.metadata(request)

        def check(found: Object) -> None:
            conditions.check_source(request, found)
            if found.size > LARGEST_PUT:
                raise Fault("InvalidRequest", f"The source has more than {LARGEST_PUT} bytes: copy it in parts")

        def describe(own: Attributes) -> Attributes:
            return own._replace(headers=headers, metadata=metadata) if replace else own

        algorithms = {request["ChecksumAlgorithm"]} & ALGORITHMS if "ChecksumAlgorithm" in request else ()
        made = await self._backend.objects.copy(
            source, target, algorithms, check, describe, conditions.writing(request)
        )
        result = {"ETag": description.quoted(made), "LastModified": conditions.changed(made)}
        return {"CopyObjectResult": {**result, **description.checksums(made)}}

    async def delete(self, call: Call, request: Request) -> Output:
        """DeleteObject."""
        place = self._backend.place(call, request)
        description.check_served(request)
        await self._backend.objects.delete(place, conditions.deleting(request))
        return {}

    async def delete_many(self, call: Call, request: Request) -> Output:
        """DeleteObjects: each by itself, whatever becomes of the others."""
        self._backend.check(call, request)
        wanted = request["Delete"]["Objects"]
        if len(wanted) > _MOST_DELETED:
            raise Fault("MalformedXML", f"A request deletes {_MOST_DELETED} objects at most, not {len(wanted)}")
        quiet = request["Delete"].get("Quiet", False)
        errors = await self._backend.objects.threads.run(self._delete_each, request["Bucket"], wanted)
        deleted = [{"Key": one["Key"]} for one, error in zip(wanted, errors, strict=True) if error is None]
        failed = [error for error in errors if error is not None]
        return {"Deleted": None if quiet else deleted, "Errors": failed or None}

    async def attributes(self, call: Call, request: Request) -> Output:
        """GetObjectAttributes."""
        place = self._backend.place(call, request)
        found = await self._backend.objects.find(place)
        kept = found.attributes
        answers = {
            "ETag": found.etag,
            "Checksum": description.checksums(found) or None,
            "ObjectParts": {"TotalPartsCount": kept.part_count} if kept.part_count else None,
            "StorageClass": "STANDARD",
            "ObjectSize": found.size,
        }
        asked = {name: answers.get(name) for name in request["ObjectAttributes"]}
        return {"LastModified": conditions.changed(found), **asked}

    async def tagging(self, call: Call, request: Request) -> Output:
        """GetObjectTagging: no object has tags here."""
        await self._backend.objects.find(self._backend.place(call, request))
        return {"TagSet": []}

    def _delete_each(self, bucket: str, wanted: list[dict[str, Any]]) -> list[Output | None]:
        """For each object None, or the error that it met."""
        return [self._delete_one(bucket, one) for one in wanted]

    def _delete_one(self, bucket: str, one: dict[str, Any]) -> Output | None:
        try:
            description.check_served(one)
            self._backend.objects.tree.remove(bucket, one["Key"], conditions.deleting(one))
        except Exception as error:  # what is no fault of S3's is raised again
            fault = error if isinstance(error, Fault) else fault_of(error)
            if fault is None or fault.code == "NoSuchBucket":
                raise
            return {"Key": one["Key"], "Code": fault.code, "Message": fault.message}
        return None


def copy_source(backend: Backend, call: Call, request: Request) -> Place:
    """The object that a request copies; AccessDenied if the caller must not read it."""
    text, _, version = request["CopySource"].partition("?versionId=")
    bucket, slash, key = unquote(text).removeprefix("/").partition("/")
    if not slash or not key or bucket.startswith("arn:"):
        message = f"x-amz-copy-source: {request['CopySource'][:200]!r} is not of the form bucket/key"
        raise Fault("InvalidArgument", message)
    description.check_served({"VersionId": version} if version else {})
    backend.check_owner(call, bucket, request.get("ExpectedSourceBucketOwner"))
    return Place(bucket, key)
