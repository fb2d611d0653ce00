"""What the handlers of S3 work with, and whom they let at which bucket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.storage.buckets import AccessDenied, Buckets
from modelyard.storage.listing import Listing
from modelyard.storage.objects import Objects, Place
from modelyard.storage.uploads import Uploads
from modelyard.wire.service import Call


@dataclass(frozen=True)
class Backend:
    """The storage, as this service sees it.

    is_awaited: whether a job that has not ended is to put something into a bucket.
    """

    objects: Objects
    uploads: Uploads
    listing: Listing
    buckets: Buckets
    is_awaited: Callable[[str], bool]

    def check(self, call: Call, request: Mapping[str, Any]) -> None:
        """AccessDenied unless the bucket of a request is the caller's or shared, and of the expected owner."""
        self.check_owner(call, request["Bucket"], request.get("ExpectedBucketOwner"))

    def check_owner(self, call: Call, bucket: str, expected: str | None) -> None:
        """AccessDenied unless a bucket is the caller's or shared, and of the owner that the caller expects."""
        owner = self.buckets.owner(bucket)
        if owner not in (None, call.account):
            raise AccessDenied(f"bucket {bucket} belongs to another account")
        if expected is not None and expected != (owner or call.account):
            raise AccessDenied(f"bucket {bucket} does not belong to account {expected[:20]}")

    def place(self, call: Call, request: Mapping[str, Any]) -> Place:
        """Where the object of a request is; AccessDenied if the caller must not know."""
        self.check(call, request)
        return Place(request["Bucket"], request["Key"])
