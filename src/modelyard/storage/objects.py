"""Objects: put, read, copied and deleted. Each is the plain file `bucket/key`; half of one is never there.

After its answer an object survives the death of every process. A loss of power may take back the last seconds, as with
files that `cp` wrote: to flush the disk for each object would cost more than all the rest.
"""

import itertools
import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from modelyard.storage import attributes
from modelyard.storage.attributes import Attributes, Object
from modelyard.storage.digests import encode
from modelyard.storage.names import ObjectError, key_parts
from modelyard.storage.threads import Threads
from modelyard.storage.transfer import BLOCK, Sink, Source, blocks, copy_range, pour
from modelyard.storage.tree import Allow, Tree

_DRAFT = "put-"
_SMALL = 64 * 1024
"""Bytes that are hashed and written at once."""

Describe = Callable[[Mapping[str, bytes]], Attributes]
"""From the digests of what arrived, by algorithm, to the attributes; raises if it is not what was announced."""
Choose = Callable[[Object], tuple[int, int]]
"""From an object to the bytes that are wanted of it, from start to before end; raises if it must not be read."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object is."""

    bucket: str
    key: str


@dataclass(frozen=True, slots=True)
class Reading:
    """An object with the bytes that were chosen of it, from `start` to before `end`."""

    object: Object
    start: int
    end: int
    body: bytes | Source


class Objects:
    """The objects of all buckets."""

    def __init__(self, tree: Tree, threads: Threads) -> None:
        self.tree = tree
        self.threads = threads
        self._numbers = itertools.count()
        for name in os.listdir(tree.drafts):
            if name.startswith(_DRAFT):
                os.unlink(name, dir_fd=tree.drafts)

    async def put(
        self,
        place: Place,
        body: AsyncIterable[bytes],
        algorithms: Iterable[str],
        describe: Describe,
        allow: Allow | None = None,
        most: int | None = None,
    ) -> Object:
        """Makes an object of a body, of at most so many bytes. NoSuchBucket, ObjectError, TooLong, OSError, or what
        `describe` and `allow` raise.
        """
        draft = self._name()
        sink = Sink(partial(self._start, draft), algorithms, most=most)

        def write(chunks: Sequence[bytes]) -> None:
            if not sink.size:
                self._check(place)
            sink.write(chunks)

        def publish(file: int) -> Object:
            return self._publish(draft, file, place, describe(sink.digests()), allow)

        try:
            rest = await pour(self.threads, body, write)
            run = self.threads.run if sink.size or sum(map(len, rest)) > _SMALL else self.threads.quickly
            return await run(sink.finish, rest, publish)
        except BaseException:
            self.threads.submit(self._discard, sink, draft)
            raise

    async def copy(
        self,
        source: Place,
        target: Place,
        algorithms: Iterable[str],
        check: Callable[[Object], None],
        describe: Callable[[Attributes], Attributes],
        allow: Allow | None = None,
    ) -> Object:
        """Makes an object of another one's bytes, if `check` lets it.

        `describe` gets what the copy has by its bytes alone, with checksums by the algorithms, and the source's
        headers and metadata. The kernel copies, unless a digest is asked for that the source does not have.
        """
        return await self.threads.run(self._copy, source, target, frozenset(algorithms), check, describe, allow)

    async def get(self, place: Place, choose: Choose) -> Reading:
        """Opens an object to read some of it. NoSuchBucket, NoSuchKey, Linked, or what `choose` raises."""
        return await self.threads.quickly(self._get, place, choose)

    async def find(self, place: Place) -> Object:
        """The object as it stands. NoSuchBucket, NoSuchKey, Linked."""
        return await self.threads.quickly(self.tree.find, place.bucket, place.key)

    async def delete(self, place: Place, allow: Allow | None = None) -> None:
        """Deletes an object; one that is not there is deleted already. NoSuchBucket, Linked, or what `allow` raises."""
        await self.threads.quickly(self.tree.remove, place.bucket, place.key, allow)

    def _name(self) -> str:
        return f"{_DRAFT}{os.getpid()}-{next(self._numbers)}"

    def _check(self, place: Place) -> None:
        """Refuses what can be refused before a long body has come."""
        key_parts(place.key)
        with self.tree.bucket(place.bucket):
            pass

    def _start(self, draft: str) -> int:
        return os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self.tree.drafts)

    def _publish(self, draft: str, file: int, place: Place, described: Attributes, allow: Allow | None) -> Object:
        if place.key.endswith("/"):
            return self._make_folder(draft, file, place, described, allow)
        made = attributes.write(file, described)
        self.tree.publish(draft, place.bucket, place.key, allow)
        return made

    def _make_folder(self, draft: str, file: int, place: Place, described: Attributes, allow: Allow | None) -> Object:
        if os.fstat(file).st_size:
            raise ObjectError(f"{place.key!r} ends with a slash and is a folder here, which holds no bytes itself")
        made = self.tree.make_folder(place.bucket, place.key, described, allow)
        os.unlink(draft, dir_fd=self.tree.drafts)
        return made

    def _discard(self, sink: Sink, draft: str) -> None:
        sink.close()
        with suppress(FileNotFoundError):
            os.unlink(draft, dir_fd=self.tree.drafts)

    def _get(self, place: Place, choose: Choose) -> Reading:
        file, found = self.tree.open(place.bucket, place.key)
        try:
            start, end = choose(found)
            if end - start > BLOCK:
                return Reading(found, start, end, Source(self.threads, os.dup(file), start, end))
            return Reading(found, start, end, b"".join(blocks(file, start, end)))
        finally:
            os.close(file)

    def _copy(
        self,
        source: Place,
        target: Place,
        algorithms: frozenset[str],
        check: Callable[[Object], None],
        describe: Callable[[Attributes], Attributes],
        allow: Allow | None,
    ) -> Object:
        draft = self._name()
        sink = Sink(partial(self._start, draft), algorithms)
        file, found = self.tree.open(source.bucket, source.key)

        def publish(copy: int) -> Object:
            if not hashed:
                copy_range(file, 0, found.size, copy, 0)
            own = _of_bytes(found.attributes, sink.digests()) if hashed else found.attributes._replace(upload="")
            return self._publish(draft, copy, target, describe(own), allow)

        try:
            check(found)
            self._check(target)
            hashed = not found.attributes.md5 or not algorithms <= found.attributes.checksums.keys()
            for block in blocks(file, 0, found.size) if hashed else ():
                sink.write([block])
            return sink.finish([], publish)
        except BaseException:
            self._discard(sink, draft)
            raise
        finally:
            os.close(file)


def _of_bytes(source: Attributes, digests: Mapping[str, bytes]) -> Attributes:
    """What a copy of an object's bytes has, in one piece."""
    checksums = {name: encode(digest) for name, digest in digests.items() if name != "MD5"}
    return Attributes(digests["MD5"], headers=source.headers, metadata=source.metadata, checksums=checksums)
