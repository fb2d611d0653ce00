"""What the resources of Bedrock work on, and the checks that they share."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from modelyard.jobs.base_models import BaseModels
from modelyard.jobs.listing import Search
from modelyard.jobs.model import Job, NotFound, Resource
from modelyard.jobs.resources import Resources
from modelyard.jobs.store import Store
from modelyard.jobs.tags import Tags
from modelyard.services.bedrock import arns
from modelyard.services.calls import owner, read_position
from modelyard.storage.base import Kind, Storage
from modelyard.storage.buckets import AccessDenied, Buckets
from modelyard.storage.folders import Folders
from modelyard.storage.names import ObjectError, parts, prefixes
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

DEFAULT_PAGE = 100
"""Items of a page where the request does not say."""
LONGEST_MESSAGE = 2048
SMALL_BYTES = 1024 * 1024
COUNTED_BYTES = 64 * 1024 * 1024
"""Larger files are not read to count their rows: they have many."""


@dataclass(frozen=True)
class Backend:
    """The core, as the service sees it.

    storage: the users' objects. folder: where a `modelyard://` URI lies on this machine.
    remove: deletes what such a URI names. wake: tells the supervisor that there is something to do.
    slots: the cores that jobs may keep busy at once. engine: what generates, see `Settings.language_engine`.
    """

    store: Store
    resources: Resources
    tags: Tags
    base_models: BaseModels
    storage: Storage
    buckets: Buckets
    folder: Callable[[str], Path]
    remove: Callable[[str], Awaitable[None]]
    wake: Callable[[], None]
    slots: int
    engine: str = "auto"

    def job(self, call: Call, kind: str, identifier: str) -> Job:
        """The caller's job with this name or ARN; a Fault if there is none."""
        try:
            if arn := arns.parse(identifier):
                if arn.owner == owner(call):
                    return self.store.get(arn.owner, kind, arn.id)
            else:
                return self.store.find(owner(call), kind, identifier)
        except NotFound:
            pass
        raise not_found(call, f"{kind} job", identifier)

    def resource(self, call: Call, kind: str, identifier: str) -> Resource:
        """The caller's resource with this name or ARN; a Fault if there is none."""
        try:
            if arn := arns.parse(identifier):
                if arn.owner == owner(call):
                    found = self.resources.get(arn.owner, kind, arn.id)
                    if found.document["arn"] == identifier:
                        return found
            else:
                return self.resources.find(owner(call), kind, identifier)
        except NotFound:
            pass
        raise not_found(call, kind, identifier)

    async def discard(self, resource: Resource, in_use: Callable[[Resource], bool] = lambda _: False) -> None:
        """Deletes a resource and its folder. InUse if one of those that rest on it is in use.

        What an earlier deletion left, since the server ended meanwhile, is finished too.
        """
        await self.resources.hide(resource, in_use)
        for left in self.resources.deleted(resource.kind):
            await self.remove(left.document["folder"])
            await self.resources.delete(left)

    async def check_readable(self, call: Call, member: str, uri: str, folder: bool = False) -> None:
        """Faults unless the caller may read the file (or `folder`, or either) at `uri`."""
        bucket, key = _place(member, uri)
        start = f"Could not validate GetObject permissions to access Amazon S3 bucket: {bucket} at key {key}"
        kind = None
        try:
            self.buckets.check(bucket, call.account)
            kind = await self.storage.kind(uri)
        except (AccessDenied, ObjectError) as error:
            raise Fault("ValidationException", f"{start} ({member}): {error}") from None
        if kind is None:
            raise Fault("ValidationException", f"{start} ({member}): there is no such object; upload it first")
        if kind is Kind.FOLDER and not folder:
            reason = "Check the input data S3 Uris (Uri should be a file, not a directory) and retry request"
            raise Fault("ValidationException", f"Invalid training input data configuration. {reason}: {member}: {uri}")

    async def read_json(self, uri: str) -> dict[str, Any] | None:
        """The JSON object in a small file; None if there is none, or no such file."""
        with TemporaryDirectory() as folder:
            try:
                path = await self.storage.fetch(uri, Path(folder) / "fetched")
                found = json.loads(path.read_bytes()) if path.stat().st_size <= SMALL_BYTES else None
            except (ObjectError, OSError, ValueError, RecursionError):
                return None
        return found if isinstance(found, dict) else None

    async def count_rows(self, uri: str) -> int | None:
        """The lines of a file, or a large number for a large file; None if it does not lie on this machine."""
        if not isinstance(self.storage, Folders):
            return None
        return await asyncio.to_thread(_count_lines, self.storage.path(uri))

    async def check_writable(self, call: Call, member: str, uri: str) -> None:
        """Faults unless the caller may write below `uri`. A bucket that is not there will be made, and is theirs."""
        bucket, key = _place(member, uri)
        start = f"Could not validate PutObject permissions to access S3 bucket: {bucket} at key {key}"
        try:
            if await self.storage.kind(f"s3://{bucket}") is None:
                await self.buckets.own(bucket, call.account)
            self.buckets.check(bucket, call.account)
            taken = [above for above in prefixes(uri) if await self.storage.kind(above) is Kind.FILE]
        except (AccessDenied, ObjectError) as error:
            raise Fault("ValidationException", f"Amazon S3 perms missing (PutObject): {start}: {error}") from None
        if taken:
            reason = f"{taken[0]} is an object, and cannot be a prefix too"
            raise Fault("ValidationException", f"Amazon S3 perms missing (PutObject): {start}: {reason}")


def _count_lines(path: Path) -> int | None:
    if not path.is_file():
        return None
    if path.stat().st_size > COUNTED_BYTES:
        return sys.maxsize
    with path.open("rb") as stream:
        return sum(1 for _ in stream)


def not_found(call: Call, what: str, identifier: str) -> Fault:
    """The answer to a name or an ARN of nothing that the caller has."""
    where = f"of account {call.account} in {call.region}"
    return Fault("ResourceNotFoundException", f"There is no {what} {identifier[:300]!r} {where}")


def message(text: str | None) -> str | None:
    """A failure as a message that is no longer than it may be."""
    return text if text is None or len(text) <= LONGEST_MESSAGE else text[: LONGEST_MESSAGE - 1] + "…"


def tag_values(tags: Iterable[Mapping[str, str]] | None, member: str = "tags") -> dict[str, str]:
    """Tags by key; a Fault for a key that occurs twice, or that AWS keeps for itself."""
    found: dict[str, str] = {}
    for tag in tags or ():
        if tag["key"].lower().startswith("aws:"):
            raise Fault("ValidationException", f"{member}: the key {tag['key']!r} begins with aws:, which is AWS's own")
        if tag["key"] in found:
            raise Fault("ValidationException", f"{member}: the key {tag['key']!r} occurs twice")
        found[tag["key"]] = tag["value"]
    return found


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as the wire has them."""
    return [{"key": key, "value": value} for key, value in tags.items()]


def key_arn(key: str | None) -> str | None:
    """The KMS key's ARN where that was given: the other forms would have to be looked up in a KMS."""
    return key if key and ":key/" in key else None


def search(
    request: Mapping[str, Any],
    after: str = "creationTimeAfter",
    before: str = "creationTimeBefore",
    statuses: Sequence[str] = (),
    base: str | None = None,
    root: str | None = None,
) -> Search:
    """The search that a List request describes; a Fault for a token that we did not give."""
    return Search(
        contains=request.get("nameContains"),
        after=_milliseconds(request.get(after)),
        before=_milliseconds(request.get(before)),
        statuses=statuses,
        base=base,
        root=root,
        ascending=request.get("sortOrder") == "Ascending",
        position=read_position(request, _invalid),
        limit=request.get("maxResults", DEFAULT_PAGE),
    )


def _invalid(member: str, message: str) -> Fault:
    return Fault("ValidationException", f"{member}: {message}")


def _milliseconds(value: datetime | None) -> int | None:
    return None if value is None else int(value.timestamp() * 1000)


def _place(member: str, uri: str) -> tuple[str, str]:
    """Bucket and key of a URI that a request names in `member`."""
    try:
        bucket, keys = parts(uri)
    except ObjectError as error:
        raise Fault("ValidationException", f"{member}: {error}") from None
    return bucket, "/".join(keys)
