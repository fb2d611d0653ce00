"""Multipart uploads: objects that arrive in parts, in any order, several at once.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html
"""

import os
import re
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from weakref import WeakValueDictionary

from modelyard.storage import attributes
from modelyard.storage.attributes import Attributes, Object
from modelyard.storage.digests import LINEAR, decode, encode, of_digests, of_whole
from modelyard.storage.names import key_parts
from modelyard.storage.objects import Choose, Objects, Place
from modelyard.storage.parts import Part, Parts, Upload
from modelyard.storage.transfer import blocks, pour
from modelyard.storage.tree import Allow, NoSuchKey

SMALLEST_PART = 5 * 2**20
"""Bytes of every part but the last."""
KEPT_SECONDS = 7 * 24 * 3600
"""An upload to which nothing was added for so long is given up."""

_ID = re.compile(r"[0-9a-f]{32}")
_MOST_RUNS = 32

Check = Callable[[Mapping[str, bytes]], Mapping[str, str]]
"""From the digests of a part, by algorithm, to its checksums in base64; raises if it is not what was announced."""


class NoSuchUpload(Exception):
    """There is no such upload for that bucket and key."""


class BadPart(Exception):
    """A part that is to be in the object did not arrive, or is another one."""


class BadOrder(Exception):
    """The parts that are to be in the object are not in the order of their numbers."""


class SmallPart(Exception):
    """A part other than the last is smaller than `SMALLEST_PART`."""

    def __init__(self, part: Part) -> None:
        super().__init__(f"part {part.number} has {part.size} bytes; all but the last must have {SMALLEST_PART}")
        self.part = part


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part that is to be in the object, as the client knows it."""

    number: int
    etag: str
    checksums: Mapping[str, str]


class Uploads:
    """The uploads that are neither completed nor aborted, each in a folder of `folder`."""

    def __init__(self, objects: Objects, folder: Path) -> None:
        self._objects = objects
        self._threads = objects.threads
        self._folder = folder
        self._loading = threading.Lock()
        self._loaded: WeakValueDictionary[str, Parts] = WeakValueDictionary()
        self._recent: deque[Parts] = deque(maxlen=256)
        self._swept = 0.0
        self._sweep()

    async def create(
        self,
        place: Place,
        account: str,
        headers: Mapping[str, str],
        metadata: Mapping[str, str],
        algorithm: str = "",
        checksum_type: str = "",
    ) -> Upload:
        """Begins an upload. NoSuchBucket, ObjectError."""
        id, started = uuid.uuid4().hex, time.time_ns() // 1_000_000
        upload = Upload(id, place.bucket, place.key, account, started, headers, metadata, algorithm, checksum_type)
        return await self._threads.run(self._create, upload)

    async def put_part(
        self,
        place: Place,
        id: str,
        number: int,
        body: AsyncIterable[bytes],
        length: int | None,
        algorithms: Iterable[str],
        check: Check,
    ) -> Part:
        """Takes a part of `length` bytes. NoSuchUpload, Closed, TooLong, OSError, or what `check` raises."""
        run = self._threads.run  # changes of an upload wait for each other, as long as it is being completed
        parts = await run(self._find, place, id)
        arriving = await run(parts.begin, number, length, algorithms)
        try:
            rest = await pour(self._threads, body, arriving.sink.write)
            return await run(parts.finish, arriving, rest, check)
        except BaseException:
            self._threads.submit(parts.abandon, arriving)
            raise

    async def copy_part(self, place: Place, id: str, number: int, source: Place, choose: Choose) -> Part:
        """Takes a part out of an object, the bytes that `choose` says. NoSuchUpload, Closed, and as `Objects.get`."""
        return await self._threads.run(self._copy_part, place, id, number, source, choose)

    async def complete(
        self,
        place: Place,
        id: str,
        chosen: Sequence[Chosen],
        check: Callable[[Attributes, int], None],
        allow: Allow | None = None,
    ) -> Object:
        """Makes the object, unless `check` refuses its attributes and size. Repeated, it answers the same.

        NoSuchUpload, BadPart, BadOrder, SmallPart, and as `Objects.put`.
        """
        return await self._threads.run(self._complete, place, id, chosen, check, allow)

    async def abort(self, place: Place, id: str) -> None:
        """Gives an upload up. NoSuchUpload."""
        await self._threads.run(self._abort, place, id)

    async def abort_all(self, bucket: str) -> None:
        """Gives all uploads to a bucket up, which may be gone."""
        await self._threads.run(self._abort_all, bucket)

    async def parts(self, place: Place, id: str) -> tuple[Upload, list[Part]]:
        """An upload, and what has arrived of it, by number. NoSuchUpload."""
        parts = await self._threads.run(self._find, place, id)
        return parts.upload, sorted(parts.by_number.values(), key=lambda part: part.number)

    async def to_bucket(self, bucket: str) -> list[Upload]:
        """The uploads to a bucket, by key and then by age. NoSuchBucket."""
        return await self._threads.run(self._to_bucket, bucket)

    def _create(self, upload: Upload) -> Upload:
        key_parts(upload.key)
        with self._objects.tree.bucket(upload.bucket):
            pass
        if time.monotonic() - self._swept > 3600:
            self._sweep()
        return self._load(upload.id, lambda folder: Parts.create(folder, upload)).upload

    def _find(self, place: Place, id: str) -> Parts:
        if not _ID.fullmatch(id):
            raise NoSuchUpload(id)
        try:
            parts = self._load(id, Parts)
        except (OSError, ValueError):
            raise NoSuchUpload(id) from None
        if (parts.upload.bucket, parts.upload.key) != (place.bucket, place.key):
            raise NoSuchUpload(id)
        return parts

    def _load(self, id: str, make: Callable[[Path], Parts]) -> Parts:
        """The one `Parts` of an upload that there is at a time."""
        with self._loading:
            parts = self._loaded.get(id)
            if parts is None:
                self._loaded[id] = parts = make(self._folder / id)
            self._recent.append(parts)
            return parts

    def _copy_part(self, place: Place, id: str, number: int, source: Place, choose: Choose) -> Part:
        parts = self._find(place, id)
        file, found = self._objects.tree.open(source.bucket, source.key)
        try:
            start, end = choose(found)
            arriving = parts.begin(number, end - start, ())
            try:
                for block in blocks(file, start, end):
                    arriving.sink.write([block])
                return parts.finish(arriving, [], lambda _: {})
            except BaseException:
                parts.abandon(arriving)
                raise
        finally:
            os.close(file)

    def _complete(
        self,
        place: Place,
        id: str,
        chosen: Sequence[Chosen],
        check: Callable[[Attributes, int], None],
        allow: Allow | None,
    ) -> Object:
        if (made := self._completed(place, id)) is not None:
            return made
        parts = self._find(place, id)
        with parts.lock:
            arrived = [_arrived(parts, one) for one in chosen]
            _check_order(arrived)
            described = _describe(parts.upload, arrived)
            check(described, sum(part.size for part in arrived))
            with parts.ending():
                made = self._publish(place, id, parts.whole(arrived), described, allow)
        self._drop(id)
        return made

    def _publish(self, place: Place, id: str, name: str, described: Attributes, allow: Allow | None) -> Object:
        file = os.open(self._folder / id / name, os.O_RDONLY)
        try:
            made = attributes.write(file, described)
        finally:
            os.close(file)
        self._objects.tree.publish(f"{id}/{name}", place.bucket, place.key, allow)
        return made

    def _completed(self, place: Place, id: str) -> Object | None:
        """The object that the upload became: its client may not have heard of it, and asks again."""
        try:
            found = self._objects.tree.find(place.bucket, place.key)
        except NoSuchKey:
            return None
        if not _ID.fullmatch(id) or found.attributes.upload != id:
            return None
        self._drop(id)
        return found

    def _abort(self, place: Place, id: str) -> None:
        parts = self._find(place, id)
        with parts.ending():
            self._drop(id)

    def _drop(self, id: str) -> None:
        trash = self._folder / f"deleted-{id}"
        with self._loading:
            self._loaded.pop(id, None)
            with suppress(FileNotFoundError):
                (self._folder / id).rename(trash)
        shutil.rmtree(trash, ignore_errors=True)

    def _to_bucket(self, bucket: str) -> list[Upload]:
        with self._objects.tree.bucket(bucket):
            return sorted(self._begun(bucket), key=lambda one: (one.key, one.started, one.id))

    def _abort_all(self, bucket: str) -> None:
        for upload in self._begun(bucket):
            with suppress(NoSuchUpload):
                self._abort(Place(bucket, upload.key), upload.id)

    def _begun(self, bucket: str) -> list[Upload]:
        found = []
        for id in os.listdir(self._folder):
            if _ID.fullmatch(id):
                try:
                    found.append(self._load(id, Parts).upload)
                except (OSError, ValueError):
                    continue
        return [upload for upload in found if upload.bucket == bucket]

    def _sweep(self) -> None:
        """Deletes what uploads left that were never begun, completed or touched for long."""
        self._swept = time.monotonic()
        for id in filter(_ID.fullmatch, os.listdir(self._folder)):
            with suppress(OSError):
                folder = self._folder / id
                touched = max(path.stat().st_mtime for path in (folder, *folder.iterdir()))
                if touched < time.time() - KEPT_SECONDS:
                    self._drop(id)


def _arrived(parts: Parts, one: Chosen) -> Part:
    part = parts.by_number.get(one.number)
    if part is None:
        raise BadPart(f"part {one.number} has not arrived")
    if part.md5 != one.etag.strip('"'):
        raise BadPart(f"part {one.number} has the ETag {part.md5}, not {one.etag[:80]}")
    for algorithm, checksum in one.checksums.items():
        if part.checksums.get(algorithm, checksum) != checksum:
            raise BadPart(f"part {one.number} has the {algorithm} {part.checksums[algorithm]}, not {checksum[:100]}")
    return part


def _check_order(parts: Sequence[Part]) -> None:
    for part, following in pairwise(parts):
        if part.number >= following.number:
            raise BadOrder(f"part {following.number} comes after part {part.number}")
    for part in parts[:-1]:
        if part.size < SMALLEST_PART:
            raise SmallPart(part)


def _describe(upload: Upload, parts: Sequence[Part]) -> Attributes:
    runs = tuple((len(list(run)), size) for size, run in groupby(part.size for part in parts))
    return Attributes(
        md5=of_digests("MD5", [bytes.fromhex(part.md5) for part in parts]),
        part_count=len(parts),
        headers=upload.headers,
        metadata=upload.metadata,
        checksums={upload.algorithm: _checksum(upload, parts)} if upload.algorithm else {},
        checksum_type=upload.checksum_type or "FULL_OBJECT",
        parts=runs if len(runs) <= _MOST_RUNS else (),
        upload=upload.id,
    )


def _checksum(upload: Upload, parts: Sequence[Part]) -> str:
    algorithm = upload.algorithm
    sums = [decode(part.checksums[algorithm], algorithm) for part in parts]
    if upload.checksum_type == "FULL_OBJECT" and algorithm in LINEAR:
        return encode(of_whole(algorithm, [(digest, part.size) for digest, part in zip(sums, parts, strict=True)]))
    return f"{encode(of_digests(algorithm, sums))}-{len(parts)}"
