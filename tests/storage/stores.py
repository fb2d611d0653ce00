"""A store of objects over a temporary folder, and the words for it that tests use."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from modelyard.storage.attributes import Attributes, Object
from modelyard.storage.objects import Objects, Place
from modelyard.storage.threads import Threads
from modelyard.storage.tree import Tree


class Store:
    """Objects of the bucket `films`, as plain calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "objects" / "films"
        self.uploads = folder / "uploads"
        self.folder.mkdir(parents=True)
        self.uploads.mkdir()
        self.threads = Threads()
        self.tree = Tree(folder / "objects", self.uploads)
        self.objects = Objects(self.tree, self.threads)

    def close(self) -> None:
        self.threads.close()
        self.tree.close()

    def put(self, key: str, body: bytes = b"x", pieces: int = 1, bucket: str = "films", **options: Any) -> Object:
        algorithms = options.pop("algorithms", ())
        describe = options.pop("describe", describe_plainly)
        coming = arriving(body, pieces)
        return asyncio.run(self.objects.put(Place(bucket, key), coming, algorithms, describe, **options))

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        return asyncio.run(self._get(key, start, end))

    async def _get(self, key: str, start: int, end: int | None) -> bytes:
        reading = await self.objects.get(Place("films", key), lambda found: (start, found.size if end is None else end))
        if isinstance(reading.body, bytes):
            return reading.body
        return b"".join([block async for block in reading.body])

    def find(self, key: str) -> Object:
        return self.tree.find("films", key)

    def delete(self, key: str) -> None:
        asyncio.run(self.objects.delete(Place("films", key)))

    def copy(self, source: str, target: str, algorithms: tuple[str, ...] = ()) -> Object:
        places = Place("films", source), Place("films", target)
        return asyncio.run(self.objects.copy(*places, algorithms, lambda _: None, lambda described: described))

    def drafts(self) -> list[str]:
        """What is left of uploads, once the threads have done what they were asked for."""
        self.threads.close()
        return [path.name for path in self.uploads.iterdir()]


async def arriving(body: bytes, pieces: int = 1) -> AsyncIterator[bytes]:
    step = -(-len(body) // pieces) or 1
    for start in range(0, len(body), step):
        yield body[start : start + step]


def describe_plainly(digests: Mapping[str, bytes]) -> Attributes:
    sums = {name: base64.b64encode(value).decode() for name, value in digests.items() if name != "MD5"}
    return Attributes(digests["MD5"], checksums=sums)
