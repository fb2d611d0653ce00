"""Buckets and objects as folders and files, reached from descriptor to descriptor, so that no link is ever followed.

A path could be changed between its check and its use: a folder on the way could become a link out of the bucket.
"""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from modelyard.storage import attributes
from modelyard.storage.attributes import Attributes, Object
from modelyard.storage.entries import Entries, scanned
from modelyard.storage.names import ObjectError, is_bucket, key_parts

FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
_LARGE = 64 * 1024 * 1024
"""Bytes of a file that takes long to free: who replaces or deletes it keeps it open until others may change things."""
_ABSENT = (errno.ENOENT, errno.ENOTDIR)

Allow = Callable[[Object | None], None]
"""Raises if an object must not be replaced or deleted; None stands for an object that is not there."""


class NoSuchBucket(Exception):
    """There is no bucket of that name."""


class NoSuchKey(Exception):
    """There is no object of that key."""


class NotEmpty(Exception):
    """The bucket has objects."""


class KeyTaken(ObjectError):
    """A folder can hold an object `a`, or objects `a/...`, but not both."""


class Linked(ObjectError):
    """A symbolic link is where the object, or a folder on the way to it, would be."""


class Tree:
    """The folder of all buckets, and one beside it, on the same file system, for drafts of what will be published.

    Changes that could meet happen one after the other.
    """

    def __init__(self, root: Path, drafts: Path) -> None:
        self.root = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.drafts = os.open(drafts, os.O_RDONLY | os.O_DIRECTORY)
        self.entries = Entries()
        self._changing = threading.Lock()

    def close(self) -> None:
        """Gives the descriptors back."""
        os.close(self.root)
        os.close(self.drafts)

    @contextmanager
    def bucket(self, name: str) -> Iterator[int]:
        """A descriptor of a bucket's folder; NoSuchBucket."""
        if not is_bucket(name):
            raise NoSuchBucket(name)
        try:
            folder = os.open(name, FOLDER, dir_fd=self.root)
        except OSError as error:
            if error.errno in _ABSENT:
                raise NoSuchBucket(name) from None
            raise
        try:
            yield folder
        finally:
            os.close(folder)

    def make_bucket(self, name: str, described: Attributes) -> None:
        """Makes a bucket's folder; FileExistsError."""
        os.mkdir(name, dir_fd=self.root)
        with self.bucket(name) as folder:
            self.entries.begin(folder)
            with suppress(OSError):  # what is assumed without it is nearly always right
                attributes.mark_folder(folder, described)

    def buckets(self) -> list[tuple[str, float]]:
        """The names of all buckets, sorted, and when each was made: seconds since the epoch."""
        with os.scandir(self.root) as entries:
            names = sorted(entry.name for entry in entries if is_bucket(entry.name))
        found = []
        for name in names:
            with suppress(NoSuchBucket):
                found.append((name, self._birth(name)))
        return found

    def describe_bucket(self, name: str) -> Attributes:
        """What a bucket was made with; nothing for one that was made by hand. NoSuchBucket."""
        with self.bucket(name) as folder:
            made = attributes.read_folder(folder)
            return made.attributes if made is not None else Attributes()

    def _birth(self, name: str) -> float:
        with self.bucket(name) as folder:
            made = attributes.read_folder(folder)
            return made.changed / 1e9 if made is not None else os.fstat(folder).st_mtime

    def remove_bucket(self, name: str) -> None:
        """Deletes a bucket, with folders in it that hold nothing. NoSuchBucket, NotEmpty."""
        with self._changing:
            with self.bucket(name) as folder:
                cleared = _clear(folder)
            try:
                if cleared:
                    os.rmdir(name, dir_fd=self.root)
                    return
            except OSError as error:
                if error.errno != errno.ENOTEMPTY:
                    raise
            raise NotEmpty(name)

    def open(self, bucket: str, key: str) -> tuple[int, Object]:
        """A descriptor of its bytes, which the caller closes, and the object. NoSuchBucket, NoSuchKey, Linked."""
        *folders, name = key_parts(key)
        with self.bucket(bucket) as top, descended(top, folders, key) as folder:
            opened = _open(folder, name, key)
        try:
            return opened, _object(opened, key)
        except BaseException:
            os.close(opened)
            raise

    def find(self, bucket: str, key: str) -> Object:
        """The object as it stands. NoSuchBucket, NoSuchKey, Linked."""
        opened, found = self.open(bucket, key)
        os.close(opened)
        return found

    def publish(self, draft: str, bucket: str, key: str, allow: Allow | None = None) -> None:
        """Gives a draft its place, instead of what is there. NoSuchBucket, KeyTaken, Linked, or what `allow` raises."""
        *folders, name = key_parts(key)
        with ExitStack() as later, self._changing, self.bucket(bucket) as top:
            try:
                with _made(self.entries, top, folders, key) as folder:
                    _check_replaceable(folder, name, key, allow, later)
                    with self.entries.change(folder, name, there=True):
                        os.rename(draft, name, src_dir_fd=self.drafts, dst_dir_fd=folder)
            except BaseException:
                _prune(self.entries, top, folders)
                raise

    def make_folder(self, bucket: str, key: str, described: Attributes, allow: Allow | None = None) -> Object:
        """Makes a key that ends with a slash: a folder that stays when it is empty."""
        names = key_parts(key)
        with self._changing, self.bucket(bucket) as top:
            try:
                with _made(self.entries, top, names, key) as folder:
                    if allow is not None:
                        allow(attributes.read_folder(folder))
                    return attributes.mark_folder(folder, described)
            except BaseException:
                _prune(self.entries, top, names)
                raise

    def remove(self, bucket: str, key: str, allow: Allow | None = None) -> None:
        """Deletes an object, if it is there, and folders that hold nothing then. NoSuchBucket, Linked."""
        *folders, name = key_parts(key)
        with ExitStack() as later, self._changing, self.bucket(bucket) as top:
            try:
                with descended(top, folders, key) as folder:
                    _remove(self.entries, folder, name, key, allow, later)
            except NoSuchKey:
                return
            _prune(self.entries, top, [*folders, name] if key.endswith("/") else folders)


def _object(opened: int, key: str) -> Object:
    """What an open file or folder is as an object; NoSuchKey."""
    status = os.fstat(opened)
    if stat.S_ISREG(status.st_mode) and not key.endswith("/"):
        return attributes.read(opened, status)
    found = attributes.read_folder(opened) if key.endswith("/") else None
    if found is None:
        raise NoSuchKey(key)
    return found


def _open(folder: int, name: str, key: str) -> int:
    try:
        return os.open(name, FOLDER if key.endswith("/") else _FILE, dir_fd=folder)
    except OSError as error:
        raise _absence(error, folder, name, key) from None


def _remove(entries: Entries, folder: int, name: str, key: str, allow: Allow | None, later: ExitStack) -> None:
    opened = _open(folder, name, key)
    later.callback(os.close, opened)
    found = _object(opened, key)
    if allow is not None:
        allow(found)
    if key.endswith("/"):
        attributes.unmark_folder(opened)
    else:
        with entries.change(folder, name, there=False):
            os.unlink(name, dir_fd=folder)


@contextmanager
def descended(top: int, names: Sequence[str], key: str = "") -> Iterator[int]:
    """A descriptor of the folder that the names lead to, on the way to a key; NoSuchKey, Linked."""
    with _Steps(top) as steps:
        for name in names:
            try:
                steps.enter(name)
            except OSError as error:
                raise _absence(error, steps.at, name, key) from None
        yield steps.at


@contextmanager
def _made(entries: Entries, top: int, names: Sequence[str], key: str) -> Iterator[int]:
    """The same; folders that are not there are made. KeyTaken, Linked."""
    with _Steps(top) as steps:
        for name in names:
            try:
                steps.enter(name)
            except FileNotFoundError:
                _make(entries, steps, name)
            except NotADirectoryError:
                _refuse_link(steps.at, name, key)
                reason = f"{name!r} is an object, and cannot be a folder too"
                raise KeyTaken(f"{key!r} cannot be an object here: {reason}") from None
        yield steps.at


def _make(entries: Entries, steps: "_Steps", name: str) -> None:
    """Enters a folder that is new, unless somebody was quicker."""
    try:
        with entries.change(steps.at, f"{name}/", there=True):
            os.mkdir(name, dir_fd=steps.at)
    except FileExistsError:
        steps.enter(name)
    else:
        steps.enter(name)
        entries.begin(steps.at)


class _Steps:
    """From folder to folder, one descriptor open at a time beside the first."""

    def __init__(self, top: int) -> None:
        self._top = self.at = top

    def __enter__(self) -> "_Steps":
        return self

    def enter(self, name: str) -> None:
        below = os.open(name, FOLDER, dir_fd=self.at)
        self.__exit__()
        self.at = below

    def __exit__(self, *_: object) -> None:
        if self.at != self._top:
            os.close(self.at)


def _check_replaceable(folder: int, name: str, key: str, allow: Allow | None, later: ExitStack) -> None:
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        if allow is not None:
            allow(None)
        return
    if stat.S_ISLNK(status.st_mode):
        raise _linked(name, key)
    if not stat.S_ISREG(status.st_mode):
        raise KeyTaken(f"{key!r} cannot be an object here: there is a folder of that name")
    if allow is not None:
        allow(attributes.read(folder, status, name))
    if status.st_size > _LARGE:
        later.callback(os.close, os.open(name, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder))


def _absence(error: OSError, folder: int, name: str, key: str) -> Exception:
    """What it means that `name` could not be opened."""
    if error.errno == errno.ELOOP:
        return _linked(name, key)
    if error.errno in (*_ABSENT, errno.ENXIO, errno.EISDIR):
        try:
            _refuse_link(folder, name, key)
        except Linked as linked:
            return linked
        return NoSuchKey(key)
    return error


def _refuse_link(folder: int, name: str, key: str) -> None:
    with suppress(FileNotFoundError, NotADirectoryError):
        if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
            raise _linked(name, key)


def _linked(name: str, key: str) -> Linked:
    return Linked(f"{key!r} leads over {name!r}, which is a symbolic link: links in buckets are not followed")


def _prune(entries: Entries, top: int, names: Sequence[str]) -> None:
    """Deletes the folders that hold nothing, from the last one up, but none that is itself an object."""
    for depth in range(len(names), 0, -1):
        try:
            with descended(top, names[: depth - 1]) as folder:
                if _is_marked(folder, names[depth - 1]):
                    return
                with entries.change(folder, f"{names[depth - 1]}/", there=False):
                    os.rmdir(names[depth - 1], dir_fd=folder)
        except NoSuchKey:
            continue
        except (OSError, ObjectError):
            return


def _is_marked(folder: int, name: str) -> bool:
    with descended(folder, [name], name) as below:
        return attributes.read_folder(below) is not None


def _clear(top: int) -> bool:
    """Deletes the folders below that hold nothing; False if there is anything else, and then none is deleted."""
    folders: list[list[str]] = [[]]
    for names in folders:
        with descended(top, names) as folder:
            below = _folders(folder)
        if below is None:
            return False
        folders += [[*names, name] for name in below]
    try:
        for *above, name in reversed(folders[1:]):
            with descended(top, above) as folder:
                os.rmdir(name, dir_fd=folder)
    except OSError:
        return False
    return True


def _folders(folder: int) -> list[str] | None:
    """The names in a folder; None if it holds or is anything but folders."""
    with scanned(folder) as entries:
        found = {entry.name: entry.is_dir(follow_symlinks=False) for entry in entries}
    if not all(found.values()) or any(_is_marked(folder, name) for name in found):
        return None
    return list(found)
