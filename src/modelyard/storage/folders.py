"""Folders under `s3://` URIs, as jobs read and write them: `s3://bucket/key` is the plain file `<root>/bucket/key`.

No symbolic link may lead out of a bucket.
"""

import asyncio
import os
import shutil
import uuid
from pathlib import Path

from modelyard.storage.base import Kind
from modelyard.storage.names import ObjectError, is_bucket, parts

_TRIES = 100


class Folders:
    """The buckets, as folders under `root`.

    What is deleted goes to `trash` first, by one rename, and is no object from then on; without one, it stays beside.
    """

    def __init__(self, root: Path, trash: Path | None = None) -> None:
        self._root = root.resolve()
        self._trash = trash
        for left in trash.glob("deleted-*") if trash is not None else ():
            shutil.rmtree(left, ignore_errors=True)

    def bucket(self, uri: str) -> str:
        """The bucket of a URI; ObjectError if it is no `s3://` URI."""
        return parts(uri)[0]

    async def buckets(self) -> list[str]:
        """The names of all buckets, sorted."""
        entries = os.scandir(self._root)
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and is_bucket(entry.name))

    def path(self, uri: str) -> Path:
        """The file or folder that a URI names, which need not exist. ObjectError if it lies outside the root."""
        bucket, keys = parts(uri)
        path = self._root.joinpath(bucket, *keys)
        if not path.resolve().is_relative_to(self._root / bucket):
            raise ObjectError(f"{uri} leads out of its bucket by a symbolic link")
        return path

    def folder(self, uri: str) -> Path:
        """The folder that a URI names; ObjectError if there is none."""
        path = self.path(uri)
        if not path.is_dir():
            kind = "a file, not a folder" if path.exists() else "no such folder"
            raise ObjectError(f"{uri}: {kind}")
        return path

    async def kind(self, uri: str) -> Kind | None:
        """See `Storage.kind`."""
        path = self.path(uri)
        if path.is_dir():
            return Kind.FOLDER
        return Kind.FILE if path.exists() else None

    async def fetch(self, uri: str, into: Path) -> Path:
        """Where the file or folder lies: it is read in place. ObjectError if there is none."""
        if await self.kind(uri) is None:
            raise ObjectError(f"{uri}: there is nothing")
        return self.path(uri)

    async def publish(self, source: Path, uri: str) -> None:
        """Moves a folder to where a URI points, whole, by one rename. Does nothing if it was moved before."""
        target = self.path(uri)
        if not source.exists() and target.is_dir():
            return
        for tries in range(_TRIES, 0, -1):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                os.rename(source, target)
                return
            except (FileNotFoundError, FileExistsError):  # a folder goes with the last object in it, at any time
                if tries == 1:
                    raise

    async def remove(self, uri: str) -> None:
        """Deletes a folder and all in it; one that is not there is deleted already."""
        path = self.path(uri)
        beside = path.with_name(f".{path.name}.deleted")
        half = beside if self._trash is None else self._trash / f"deleted-{uuid.uuid4().hex}"
        if path.is_dir():
            path.rename(half)
        await asyncio.to_thread(shutil.rmtree, half, ignore_errors=True)
