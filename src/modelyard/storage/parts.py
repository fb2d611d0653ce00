"""The parts of one multipart upload, in a folder of its own until they are one object.

```
<id>/
  upload.json         what it will be
  parts.jsonl         a line for each part that arrived; of several for one number the last one counts
  data                parts of one size, each at its place: the object, once all of them are there
  <number>-<token>    a part of another size, or one that came again
```

So most uploads are completed by a rename. A part that comes again does not touch the one before it, which counts until
the new one is whole.
"""

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Self

import orjson

from modelyard import atomic
from modelyard.storage.digests import encode
from modelyard.storage.transfer import Closed, Sink, copy_range

_DATA = "data"
_ASSEMBLED = "assembled"
_DOCUMENT = "upload.json"
_LINES = "parts.jsonl"
_LARGEST_FILE = 5 * 2**40
"""Bytes of an object, as in S3."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What an upload will be; `headers` and `metadata` as in `Attributes`.

    algorithm: of the object's checksum, empty for none. checksum_type: FULL_OBJECT or COMPOSITE.
    account: who began it. started: milliseconds since the epoch.
    """

    id: str
    bucket: str
    key: str
    account: str
    started: int
    headers: Mapping[str, str]
    metadata: Mapping[str, str]
    algorithm: str = ""
    checksum_type: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """A part that arrived, at byte `at` of `file`: its MD5 in hex, checksums in base64; `changed` in milliseconds."""

    number: int
    size: int
    md5: str
    checksums: Mapping[str, str]
    changed: int
    file: str
    at: int


@dataclass(frozen=True, slots=True)
class Arriving:
    """A part on its way."""

    number: int
    sink: Sink
    file: str
    at: int


class Parts:
    """An upload and its parts, by their numbers. For threads."""

    def __init__(self, folder: Path) -> None:
        """Reads what the folder has; OSError or ValueError if that is no upload."""
        self.upload = Upload(**orjson.loads((folder / _DOCUMENT).read_bytes()))
        self.by_number: dict[int, Part] = {}
        self.lock = threading.RLock()
        self._folder = folder
        self._stride = 0
        self._arriving: list[Arriving] = []
        self._over = False
        self._turn = threading.Lock()  # the kernel lets one write to a file at a time, and the others spin meanwhile
        for stride, part in _noted(folder):
            self._stride = stride
            self.by_number[part.number] = part
        if any(part.file == _DATA for part in self.by_number.values()) and not (folder / _DATA).exists():
            raise FileNotFoundError(f"{folder}: the upload was completed")

    @property
    def algorithms(self) -> list[str]:
        """Those that parts need for the object's checksum."""
        return [self.upload.algorithm] if self.upload.algorithm else []

    @classmethod
    def create(cls, folder: Path, upload: Upload) -> Self:
        """Begins an upload in a new folder."""
        folder.mkdir()
        atomic.write(folder / _DOCUMENT, orjson.dumps(upload))
        return cls(folder)

    def begin(self, number: int, length: int | None, algorithms: Iterable[str]) -> Arriving:
        """Where a part goes: to its place in the data if that is free, and no smaller than the part. Closed."""
        with self.lock:
            if self._over:
                raise Closed
            self._stride = self._stride or length or 0
            at = (number - 1) * self._stride
            fits = length is not None and 0 < length <= self._stride and at + length <= _LARGEST_FILE
            file, at = (_DATA, at) if fits and self._is_free(number) else (f"{number}-{uuid.uuid4().hex}", 0)
            turn = self._turn if file == _DATA else None
            sink = Sink(partial(self._open, file), {*algorithms, *self.algorithms}, at, length, turn)
            arriving = Arriving(number, sink, file, at)
            self._arriving.append(arriving)
            return arriving

    def finish(
        self, arriving: Arriving, rest: Sequence[bytes], check: Callable[[Mapping[str, bytes]], Mapping[str, str]]
    ) -> Part:
        """Writes the last bytes of a part, which counts from now on. Closed, TooLong, OSError, or what `check` raises.

        `check` makes the checksums that were announced of the digests of what arrived.
        """
        sink = arriving.sink
        sink.finish(rest, lambda _: None)
        digests = sink.digests()
        sums = {**check(digests), **{name: encode(digests[name]) for name in self.algorithms}}
        changed = time.time_ns() // 1_000_000
        part = Part(arriving.number, sink.size, digests["MD5"].hex(), sums, changed, arriving.file, arriving.at)
        with self.lock:
            if self._over:
                raise Closed
            self._note(part)
            before = self.by_number.get(part.number)
            self.by_number[part.number] = part
            self._arriving.remove(arriving)
            if before is not None and before.file != _DATA:
                (self._folder / before.file).unlink(missing_ok=True)
        return part

    def abandon(self, arriving: Arriving) -> None:
        """Ends a part that did not arrive."""
        arriving.sink.close()
        with self.lock:
            if arriving in self._arriving:
                self._arriving.remove(arriving)
            if arriving.file != _DATA:
                (self._folder / arriving.file).unlink(missing_ok=True)

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Nothing arrives meanwhile, nor ever after, unless this fails."""
        with self.lock:
            self._over = True
            for arriving in self._arriving:
                arriving.sink.close()
            self._arriving.clear()
            try:
                yield
            except BaseException:
                self._over = False
                raise

    def whole(self, chosen: Sequence[Part]) -> str:
        """The name of the file that has the bytes of these parts, in this order, and nothing else; OSError.

        It is the data, into which parts that lie elsewhere are copied, unless that would take another part's place.
        """
        *starts, total = accumulate((part.size for part in chosen), initial=0)
        places = {part.number: start for part, start in zip(chosen, starts, strict=True)}
        in_data = [part for part in self.by_number.values() if part.file == _DATA]
        fits = all(places.get(part.number) == part.at for part in in_data)
        name = _DATA if fits else _ASSEMBLED
        with _opened(self._folder / name) as file:
            for part, start in zip(chosen, starts, strict=True):
                if not fits or part.file != _DATA:
                    with _opened(self._folder / part.file) as source:
                        copy_range(source, part.at, part.at + part.size, file, start)
            os.ftruncate(file, total)
        return name

    def _open(self, file: str) -> int:
        return os.open(self._folder / file, os.O_RDWR | os.O_CREAT, 0o666)

    def _is_free(self, number: int) -> bool:
        return number not in self.by_number and all(
            other.number != number or other.file != _DATA for other in self._arriving
        )

    def _note(self, part: Part) -> None:
        line = orjson.dumps({"stride": self._stride, "part": part}, option=orjson.OPT_APPEND_NEWLINE)
        with (self._folder / _LINES).open("ab", buffering=0) as file:
            file.write(line)


def _noted(folder: Path) -> Iterator[tuple[int, Part]]:
    """What was noted. Half a line at the end, of a server that was killed before it answered, is cut off."""
    path = folder / _LINES
    if not path.exists():
        return
    whole, _, half = path.read_bytes().rpartition(b"\n")
    if half:
        os.truncate(path, path.stat().st_size - len(half))
    for line in whole.splitlines():
        noted = orjson.loads(line)
        yield noted["stride"], Part(**noted["part"])


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield file
    finally:
        os.close(file)
