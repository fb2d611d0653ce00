"""Logs of tasks as plain text: all attempts, oldest first, harmless to a browser and to a terminal."""

import asyncio
import codecs
import os
from collections.abc import AsyncGenerator
from pathlib import Path

from modelyard.engines.base import Engine
from modelyard.jobs.store import Store

CHUNK_BYTES = 64 * 1024
POLL_SECONDS = 0.3
"""How often a log that is followed is looked at."""

_STEERING = [*range(0x20), *range(0x7F, 0xA0), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
_ESCAPED = {code: repr(chr(code))[1:-1] for code in _STEERING if chr(code) not in "\t\n"}


class Logs:
    """The logs of all tasks."""

    def __init__(self, store: Store, engine: Engine) -> None:
        self._store = store
        self._engine = engine
        self._closed = False

    def close(self) -> None:
        """Ends what is followed, as a server must that is about to end."""
        self._closed = True

    async def read(self, task: str, follow: bool) -> AsyncGenerator[str, None]:
        """The text of a task's log, in pieces; NotFound if there is no such task.

        With `follow` until the task ends: a piece is empty whenever there is nothing new, so that the reader may leave.
        """
        attempt = 1
        while True:
            standing = self._store.standing(task)
            if standing.attempt >= attempt:
                if standing.attempt > 1:
                    yield f"--- attempt {attempt} ---\n"
                async for piece in self._attempt(task, attempt, follow):
                    yield piece
                attempt += 1
            elif follow and not (standing.status.final or self._closed):
                yield ""
                await asyncio.sleep(POLL_SECONDS)
            else:
                return

    async def _attempt(self, task: str, attempt: int, follow: bool) -> AsyncGenerator[str, None]:
        log = _Log(self._engine.attempt_folder(task, attempt) / "log")
        while True:
            standing = self._store.standing(task)  # asked before reading: what is written later has a reader later
            while piece := await asyncio.to_thread(log.read):
                yield piece
            if not follow or standing.attempt > attempt or standing.status.final or self._closed:
                return
            yield ""
            await asyncio.sleep(POLL_SECONDS)


class _Log:
    """One file, read from where the last read ended."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="backslashreplace")

    def read(self) -> str:
        """The next piece, with all that could steer a terminal escaped; empty at the end, or without a file."""
        text = ""
        while not text and (data := self._bytes()):
            text = self._decoder.decode(data).translate(_ESCAPED)
        return text

    def _bytes(self) -> bytes:
        try:
            descriptor = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW)
        except FileNotFoundError:
            return b""
        try:
            data = os.pread(descriptor, CHUNK_BYTES, self._offset)
        finally:
            os.close(descriptor)
        self._offset += len(data)
        return data
