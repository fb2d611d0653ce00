"""Listings of a bucket's objects, in the newer form and in the older one.

https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
"""

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from modelyard.services.s3 import description
from modelyard.services.s3.backend import Backend
from modelyard.storage.attributes import Object
from modelyard.storage.listing import Page
from modelyard.wire.errors import Fault
from modelyard.wire.service import Call

Request = Mapping[str, Any]
Output = dict[str, Any]

_MOST_KEYS = 1000
_PLAIN = re.compile(r"[A-Za-z0-9_.~/-]*")


class ListingResource:
    """The operations that list objects."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def newer(self, call: Call, request: Request) -> Output:
        """ListObjectsV2."""
        token, start = request.get("ContinuationToken"), request.get("StartAfter", "")
        page = await self._page(call, request, _key_of(token) if token is not None else start)
        owner = owner_of(call.account) if request.get("FetchOwner") else None
        output = self._output(request, page, owner)
        return output | {
            "KeyCount": len(page.objects) + len(page.prefixes),
            "ContinuationToken": token,
            "NextContinuationToken": _token_of(page.next) if page.next is not None else None,
            "StartAfter": encoded(request, start) or None,
        }

    async def older(self, call: Call, request: Request) -> Output:
        """ListObjects."""
        marker = request.get("Marker", "")
        page = await self._page(call, request, marker)
        following = encoded(request, page.next) if page.next is not None and request.get("Delimiter") else None
        return self._output(request, page, owner_of(call.account)) | {
            "Marker": encoded(request, marker),
            "NextMarker": following,
        }

    async def _page(self, call: Call, request: Request, after: str) -> Page:
        self._backend.check(call, request)
        limit = most(request, "MaxKeys")
        prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
        return await self._backend.objects.threads.run(
            self._backend.listing.page, request["Bucket"], prefix, delimiter, after, limit
        )

    def _output(self, request: Request, page: Page, owner: Output | None) -> Output:
        return {
            "Name": request["Bucket"],
            "Prefix": encoded(request, request.get("Prefix", "")),
            "Delimiter": encoded(request, request.get("Delimiter", "")) or None,
            "MaxKeys": most(request, "MaxKeys"),
            "EncodingType": request.get("EncodingType"),
            "IsTruncated": page.next is not None,
            "Contents": [_item(encoded(request, key), found, owner) for key, found in page.objects] or None,
            "CommonPrefixes": [{"Prefix": encoded(request, prefix)} for prefix in page.prefixes] or None,
        }


def _item(key: str, found: Object, owner: Output | None) -> Output:
    item = {
        "Key": key,
        "LastModified": datetime.fromtimestamp(found.changed // 1_000_000 / 1000, UTC),  # `aws s3 sync` compares it
        "ETag": description.quoted(found),
        "Size": found.size,
        "StorageClass": "STANDARD",
    }
    if found.attributes.checksums:
        item |= {"ChecksumAlgorithm": list(found.attributes.checksums), "ChecksumType": found.attributes.checksum_type}
    return item if owner is None else item | {"Owner": owner}


def most(request: Request, member: str) -> int:
    """How many items a page may have: at most 1000."""
    limit = request.get(member, _MOST_KEYS)
    if limit < 0:
        raise Fault("InvalidArgument", f"{member}: {limit} is below 0")
    return int(min(limit, _MOST_KEYS))


def encoded(request: Request, text: str) -> str:
    """A key as the client wants it: XML cannot hold all characters that a key can."""
    return quote(text) if request.get("EncodingType") == "url" and not _PLAIN.fullmatch(text) else text


def owner_of(account: str) -> Output:
    """An account as an owner: S3 has ids of its own for them."""
    return {"ID": sha256(account.encode()).hexdigest(), "DisplayName": account}


def _token_of(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _key_of(token: str) -> str:
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise Fault("InvalidArgument", "The continuation token provided is incorrect") from None
