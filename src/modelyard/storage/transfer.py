"""Bytes on their way between the event loop and files: written, hashed and read in threads, a few blocks at a time."""

import asyncio
import os
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from modelyard.storage.digests import Digests
from modelyard.storage.threads import Threads

BLOCK = 1024 * 1024
"""Bytes that are written or read at one go. What is no longer than one crosses to a thread once."""

Result = TypeVar("Result")


class TooLong(Exception):
    """More bytes came than were announced."""


class Closed(Exception):
    """What was to be written to is completed, aborted or given up."""


class Sink:
    """Where a body goes: a place in a file, which is opened for the first byte. For threads.

    `start` opens the file. Its descriptor is never closed while it is used: another file may get its number at once.
    """

    def __init__(
        self,
        start: Callable[[], int],
        algorithms: Iterable[str] = (),
        at: int = 0,
        most: int | None = None,
        turn: AbstractContextManager[object] | None = None,
    ) -> None:
        """Writes from byte `at` of the file, no more than `most` bytes, and each block while it has its `turn`."""
        self.size = 0
        self._most = most
        self._turn = turn or nullcontext()
        self._start = start
        self._file: int | None = None
        self._at = at
        self._digests = Digests(algorithms)
        self._using = threading.Lock()
        self._closed = False

    def write(self, chunks: Sequence[bytes]) -> None:
        """Appends. TooLong, Closed; OSError if the disk is full."""
        with self._using:
            self._write(self._opened(), chunks)

    def finish(self, chunks: Sequence[bytes], work: Callable[[int], Result]) -> Result:
        """Appends the last bytes, does with the file what is to be done with the whole, and closes it."""
        with self._using:
            file = self._opened()
            if chunks:
                self._write(file, chunks)
            result = work(file)
            self._close()
            return result

    def digests(self) -> dict[str, bytes]:
        """The digests of what was written, by algorithm; MD5 is among them."""
        return self._digests.digests()

    def close(self) -> None:
        """Gives the descriptor back; nothing can be written any more."""
        with self._using:
            self._close()

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._closed = None, True

    def _opened(self) -> int:
        if self._closed:
            raise Closed
        if self._file is None:
            self._file = self._start()
        return self._file

    def _write(self, file: int, chunks: Sequence[bytes]) -> None:
        block = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        if self._most is not None and self.size + len(block) > self._most:
            raise TooLong(f"more than the {self._most} bytes that were announced")
        self._digests.update(block)
        with self._turn:
            _write_all(file, block, self._at + self.size)
        self.size += len(block)


async def pour(threads: Threads, body: AsyncIterable[bytes], write: Callable[[Sequence[bytes]], None]) -> list[bytes]:
    """Takes a body to `write`, block after block: while one is written in a thread, the next arrives.

    The last block, which may be the only one, is returned and not written, so that what ends the work may do both.
    """
    writing: Future[None] | None = None
    chunks: list[bytes] = []
    size = 0
    async for chunk in body:
        chunks.append(chunk)
        size += len(chunk)
        if size >= BLOCK:
            if writing is not None:
                await asyncio.wrap_future(writing)
            writing = threads.submit(write, chunks)
            chunks, size = [], 0
    if writing is not None:
        await asyncio.wrap_future(writing)
    return chunks


class Source:
    """Bytes of an open file, for the event loop: the next block is read while this one is sent.

    The descriptor is closed at the end of the iteration, or by `aclose`, whichever comes first.
    """

    def __init__(self, threads: Threads, file: int, start: int, end: int) -> None:
        self._threads = threads
        self._file = file
        self._at = start
        self._end = end
        self._ahead: Future[bytes] | None = None
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._open or self._at >= self._end:
            await self.aclose()
            raise StopAsyncIteration
        self._ahead = self._ahead or self._read()
        block = await asyncio.wrap_future(self._ahead)
        if not block:
            raise OSError(f"the file became shorter than {self._end} bytes while it was read")
        self._at += len(block)
        self._ahead = self._read() if self._at < self._end else None
        return block

    async def aclose(self) -> None:
        """Ends the iteration."""
        if self._open:
            self._open = False
            if self._ahead is not None and not self._ahead.cancel():
                self._ahead.add_done_callback(lambda _: os.close(self._file))
            else:
                os.close(self._file)

    def __del__(self) -> None:
        if self._open:
            os.close(self._file)

    def _read(self) -> "Future[bytes]":
        return self._threads.submit(os.pread, self._file, min(BLOCK, self._end - self._at), self._at)


def blocks(file: int, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from `start` to before `end`; OSError if it has become shorter."""
    while start < end:
        block = os.pread(file, min(BLOCK, end - start), start)
        if not block:
            raise OSError(f"the file became shorter than {end} bytes while it was read")
        start += len(block)
        yield block


def copy_range(source: int, start: int, end: int, target: int, at: int) -> None:
    """Copies bytes from file to file in the kernel, without a copy where the file system can share blocks."""
    while start < end:
        copied = os.copy_file_range(source, target, end - start, start, at)
        if not copied:
            raise OSError(f"the file became shorter than {end} bytes while it was read")
        start += copied
        at += copied


def _write_all(file: int, block: bytes, at: int) -> None:
    rest = memoryview(block)
    while rest:
        written = os.pwrite(file, rest, at)
        rest = rest[written:]
        at += written
