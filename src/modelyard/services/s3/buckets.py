"""Buckets: made, found, listed, deleted.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html and its neighbours
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from modelyard.services.s3.backend import Backend
from modelyard.services.s3.listing import owner_of
from modelyard.storage.attributes import Attributes
from modelyard.storage.names import is_bucket
from modelyard.storage.tree import NoSuchBucket
from modelyard.wire.errors import Fault
from modelyard.wire.service import Call

Request = Mapping[str, Any]
Output = dict[str, Any]

_FIRST_REGION = "us-east-1"
"""S3's first region has no name in a bucket's location."""
_REGION = "Region"
_MOST_BUCKETS = 10_000


class BucketResource:
    """The operations on buckets. Owners and folders change together, one bucket after the other."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._tree = backend.objects.tree
        self._threads = backend.objects.threads
        self._changing = asyncio.Lock()

    async def create(self, call: Call, request: Request) -> Output:
        """CreateBucket. The owner is written down first: a folder without one would be everybody's."""
        bucket = request["Bucket"]
        if not is_bucket(bucket):
            raise Fault("InvalidBucketName", "The specified bucket is not valid.", {"BucketName": bucket})
        region = _region(call, request)
        async with self._changing:
            self._check_free(call, bucket)
            if await self._region_of(bucket) is not None:
                return self._created_before(call, bucket)
            await self._backend.buckets.own(bucket, call.account)
            self._check_free(call, bucket)
            described = Attributes(headers={_REGION: region})
            await self._threads.run(self._tree.make_bucket, bucket, described)
        return {"Location": f"/{bucket}"}

    async def head(self, call: Call, request: Request) -> Output:
        """HeadBucket."""
        return {"BucketRegion": await self._existing(call, request)}

    async def location(self, call: Call, request: Request) -> Output:
        """GetBucketLocation."""
        region = await self._existing(call, request)
        return {"LocationConstraint": "" if region == _FIRST_REGION else region}

    async def versioning(self, call: Call, request: Request) -> Output:
        """GetBucketVersioning: there never was any."""
        await self._existing(call, request)
        return {}

    async def list(self, call: Call, request: Request) -> Output:
        """ListBuckets: the caller's, and those that are shared."""
        owned = self._backend.buckets.owned()
        found = await self._threads.run(self._tree.buckets)
        after, prefix = request.get("ContinuationToken", ""), request.get("Prefix", "")
        theirs = [
            (name, made)
            for name, made in found
            if owned.get(name) in (None, call.account) and name.startswith(prefix) and name > after
        ]
        page = theirs[: request.get("MaxBuckets", _MOST_BUCKETS)]
        return {
            "Owner": owner_of(call.account),
            "Buckets": [{"Name": name, "CreationDate": datetime.fromtimestamp(made, UTC)} for name, made in page],
            "ContinuationToken": page[-1][0] if len(page) < len(theirs) else None,
            "Prefix": request.get("Prefix"),
        }

    async def delete(self, call: Call, request: Request) -> Output:
        """DeleteBucket, with the uploads to it that are not completed."""
        bucket = request["Bucket"]
        async with self._changing:
            await self._existing(call, request)
            if self._backend.is_awaited(bucket):
                raise Fault("OperationAborted", f"A job that has not ended will write to bucket {bucket}", status=409)
            await self._threads.run(self._tree.remove_bucket, bucket)
            await self._backend.uploads.abort_all(bucket)
            await self._backend.buckets.disown(bucket)
        return {}

    def _check_free(self, call: Call, bucket: str) -> None:
        if self._backend.buckets.owner(bucket) not in (None, call.account):
            message = "The requested bucket name is not available. Please select a different name and try again."
            raise Fault("BucketAlreadyExists", message, {"BucketName": bucket}, 409)

    def _created_before(self, call: Call, bucket: str) -> Output:
        """What the caller hears of a bucket that is theirs, or shared: S3's first region makes nothing of it."""
        if call.region == _FIRST_REGION:
            return {"Location": f"/{bucket}"}
        message = "Your previous request to create the named bucket succeeded and you already own it."
        raise Fault("BucketAlreadyOwnedByYou", message, {"BucketName": bucket}, 409)

    async def _existing(self, call: Call, request: Request) -> str:
        """The region of the bucket of a request. AccessDenied, NoSuchBucket."""
        self._backend.check(call, request)
        region = await self._region_of(request["Bucket"])
        if region is None:
            raise NoSuchBucket(request["Bucket"])
        return region

    async def _region_of(self, bucket: str) -> str | None:
        """The region where a bucket was made, the first for one that was made by hand; None if there is none."""
        try:
            described = await self._threads.quickly(self._tree.describe_bucket, bucket)
        except NoSuchBucket:
            return None
        return described.headers.get(_REGION, _FIRST_REGION)


def _region(call: Call, request: Request) -> str:
    """Where a bucket is to be; a Fault if that is not the region that was asked."""
    wanted = request.get("CreateBucketConfiguration", {}).get("LocationConstraint", "")
    region = {"": _FIRST_REGION, "EU": "eu-west-1"}.get(wanted, wanted)
    if call.region not in (_FIRST_REGION, region):
        named = f"The {wanted or 'unspecified'} location constraint"
        message = f"{named} is incompatible for the region specific endpoint this request was sent to."
        raise Fault("IllegalLocationConstraintException", message)
    return str(region)
