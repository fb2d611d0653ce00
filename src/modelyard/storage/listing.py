"""Objects by their keys, in pages, in the order of the keys' bytes.

A folder's entries are sorted with a slash after the names of folders: then a walk that enters each folder at its place
meets all keys in order, also where `a/` and `a.b` meet. (UTF-8 sorts as Python's strings do.)
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from modelyard.storage import attributes
from modelyard.storage.attributes import Object
from modelyard.storage.entries import scanned
from modelyard.storage.names import LONGEST_KEY, ObjectError, key_parts
from modelyard.storage.threads import Threads
from modelyard.storage.tree import FOLDER, NoSuchKey, Tree, descended

_LAST = "\U0010ffff"
"""Sorts after whatever else a key goes on with."""


class _Miscounted(Exception):
    """What was taken for a file is a folder, which has another place in the order."""


Item = tuple[str, Object | None]
"""A key with its object, or a common prefix with None."""


@dataclass(slots=True)
class Page:
    """Some of a bucket's objects, and prefixes that stand for all keys that begin with them; both in order.

    next: what the next page begins after; None after the last one.
    """

    objects: list[tuple[str, Object]] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    next: str | None = None


class Listing:
    """Lists the objects of a tree. For threads."""

    def __init__(self, tree: Tree, threads: Threads) -> None:
        self._tree = tree
        self._entries = tree.entries
        self._threads = threads

    def page(self, bucket: str, prefix: str = "", delimiter: str = "", after: str = "", limit: int = 1000) -> Page:
        """The first `limit` objects and common prefixes after `after`, of the keys that begin with `prefix`.

        Keys in which the delimiter follows, somewhere after the prefix, are one common prefix. NoSuchBucket.
        """
        try:
            return self._page(bucket, prefix, delimiter, after, limit)
        except _Miscounted:
            return self._page(bucket, prefix, delimiter, after, limit)

    def _page(self, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> Page:
        page = Page()
        last = ""
        with self._tree.bucket(bucket) as top:
            for key, found in self._items(top, prefix, delimiter, after) if limit else ():
                if len(page.objects) + len(page.prefixes) == limit:
                    page.next = last
                    break
                last = key
                if found is None:
                    page.prefixes.append(key)
                else:
                    page.objects.append((key, found))
        return page

    def _items(self, top: int, prefix: str, delimiter: str, after: str) -> Iterator[Item]:
        base = prefix[: prefix.rfind("/") + 1]
        try:
            with descended(top, key_parts(base) if base else []) as folder:
                if delimiter in ("", "/"):
                    yield from self._walk(folder, base, prefix, after, folds=bool(delimiter))
                else:
                    yield from self._folded(folder, base, prefix, after, delimiter)
        except (NoSuchKey, ObjectError):
            return

    def _folded(self, folder: int, base: str, prefix: str, after: str, delimiter: str) -> Iterator[Item]:
        """For a delimiter that ends no folder: walks anew behind each common prefix that it meets."""
        start: str | None = after
        while start is not None:
            walked, start = self._walk(folder, base, prefix, start), None
            for key, found in walked:
                at = key.find(delimiter, len(prefix))
                if at < 0:
                    yield key, found
                    continue
                common = key[: at + len(delimiter)]
                if common != after:
                    yield common, None
                start = common + _LAST
                break
            walked.close()

    def _walk(
        self, folder: int, base: str, prefix: str, after: str, folds: bool = False
    ) -> Generator[Item, None, None]:
        """The objects below an open folder whose keys begin with `base`; if it `folds`, folders stand for theirs."""
        if base == prefix and base > after and (itself := attributes.read_folder(folder)):
            yield base, itself
        levels = [self._level(os.dup(folder), base, max(prefix, after))]
        try:
            while levels:
                level = levels[-1]
                name = next(level.names, None)
                key = f"{level.base}{name}"
                if name is None or not key.startswith(prefix):
                    os.close(levels.pop().folder)
                elif len(key) > LONGEST_KEY or len(key.encode()) > LONGEST_KEY:
                    continue
                elif not name.endswith("/"):
                    if key > after and (found := self._found(level.folder, name)):
                        yield key, found
                elif folds:
                    if key != after and self._holds_any(level.folder, name[:-1], key, after):
                        yield key, None
                elif (below := _entered(level.folder, name[:-1])) is not None:
                    levels.append(self._level(below, key, after))
                    if key > after and (itself := attributes.read_folder(below)):
                        yield key, itself
        finally:
            for level in levels:
                os.close(level.folder)

    def _level(self, folder: int, base: str, low: str) -> "_Level":
        """The entries of a folder from where keys can be at least `low`."""
        try:
            names, later = self._entries.of(folder)
            if later:
                self._threads.later(self._look, os.dup(folder))
        except BaseException:
            os.close(folder)
            raise
        if not low.startswith(base):
            return _Level(folder, base, names.since("") if low < base else iter(()))
        name, slash, _ = low.removeprefix(base).partition("/")
        return _Level(folder, base, names.since(name + slash))

    def _found(self, folder: int, name: str) -> Object | None:
        """The object of a name; None if it is gone, or was never one."""
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISDIR(status.st_mode) and self._entries.distrust():
            raise _Miscounted
        return attributes.read(folder, status, name) if stat.S_ISREG(status.st_mode) else None

    def _look(self, folder: int) -> None:
        try:
            self._entries.look(folder)
        finally:
            os.close(folder)

    def _holds_any(self, folder: int, name: str, key: str, after: str) -> bool:
        """Whether there is an object in a folder, and after `after`."""
        below = _entered(folder, name)
        if below is None:
            return False
        try:
            if after.startswith(key):
                return next(self._walk(below, key, key, after), None) is not None
            return _holds_file(below)
        finally:
            os.close(below)


@dataclass(slots=True)
class _Level:
    """A folder that a walk is in: its descriptor, how keys in it begin, and which of its entries are to come."""

    folder: int
    base: str
    names: Iterator[str]


def _holds_file(top: int) -> bool:
    """Whether there is an object in or below a folder: looks no further than the first."""
    folders: list[list[str]] = [[]]
    for names in folders:
        try:
            with descended(top, names) as folder, scanned(folder) as entries:
                if attributes.read_folder(folder) is not None:
                    return True
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        return True
                    if entry.is_dir(follow_symlinks=False):
                        folders.append([*names, entry.name])
        except (NoSuchKey, ObjectError):
            continue
    return False


def _entered(folder: int, name: str) -> int | None:
    try:
        return os.open(name, FOLDER, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise
