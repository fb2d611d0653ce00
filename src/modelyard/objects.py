"""Objects: what users name `s3://bucket/key` is the plain file `<root>/bucket/key`.

A user's name is hostile until checked: it must stay inside the root, and no symbolic link may lead out of it.
"""

import os
import re
import shutil
from pathlib import Path

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


class ObjectError(Exception):
    """A URI names nothing that may be read or written; the message says why."""


class Objects:
    """The objects of all buckets, as files under `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def bucket(self, uri: str) -> str:
        """The bucket of a URI; ObjectError if it is no `s3://` URI."""
        return _parts(uri)[0]

    def buckets(self) -> list[str]:
        """The names of all buckets, sorted."""
        entries = os.scandir(self._root)
        return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False) and is_bucket(entry.name))

    def path(self, uri: str) -> Path:
        """The file or folder that a URI names, which need not exist. ObjectError if it lies outside the root."""
        bucket, keys = _parts(uri)
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

    def publish(self, source: Path, uri: str) -> None:
        """Moves a folder to where a URI points, whole, by one rename. Does nothing if it was moved before."""
        target = self.path(uri)
        if not source.exists() and target.is_dir():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(source, target)

    def remove(self, uri: str) -> None:
        """Deletes a folder and all in it; one that is not there is deleted already."""
        path = self.path(uri)
        half = path.with_name(f".{path.name}.deleted")
        if path.is_dir():
            path.rename(half)
        shutil.rmtree(half, ignore_errors=True)


def join(uri: str, *names: str) -> str:
    """The URI of something below another."""
    return "/".join([uri.rstrip("/"), *names])


def is_bucket(name: str) -> bool:
    """Whether a bucket may have this name."""
    return bool(_BUCKET.fullmatch(name)) and ".." not in name


def _parts(uri: str) -> tuple[str, list[str]]:
    scheme, separator, rest = uri.partition("://")
    if scheme != "s3" or not separator:
        raise ObjectError(f"{uri!r} is not of the form s3://bucket/key")
    bucket, _, key = rest.partition("/")
    if not is_bucket(bucket):
        raise ObjectError(f"{bucket!r} in {uri!r} is no bucket name: 3 to 63 of a-z, 0-9, hyphen and dot")
    keys = key.rstrip("/").split("/") if key.rstrip("/") else []
    for part in keys:
        if part in ("", ".", "..") or "\0" in part or len(part.encode()) > 255:
            raise ObjectError(f"{part!r} in {uri!r} cannot be part of a key here: a folder holds no such name")
    return bucket, keys
