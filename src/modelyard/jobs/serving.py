"""The server's side of serving tasks: one persistent connection to each, shared by all requests.

Requests carry an id, so that many are under way on one connection and answers may come in any order. An answer is one
frame (`ask`) or a stream of them (`stream`).
"""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

from modelyard import sockets
from modelyard.frames import STREAM_WINDOW, Decoder, FrameError, encode

Reply = tuple[dict[str, Any], bytes]

_Answer = asyncio.Future[Reply]
_Stream = asyncio.Queue[Reply | None]
"""The frames of a stream that nobody has taken yet, at most `STREAM_WINDOW`; None when the task is lost."""


_TAKEN_TOGETHER = STREAM_WINDOW // 2
"""Frames of a stream that the task is told about at once."""


class ServingLost(Exception):
    """The serving task is not there, or went away before it answered."""


class NotListening(ServingLost):
    """The serving task is not there, and has not seen the request: it may be sent again."""


class Connection(asyncio.Protocol):
    """A connection to one serving task."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._ids = itertools.count()
        self._asks: dict[int, _Answer] = {}
        self._streams: dict[int, _Stream] = {}
        self._decoder = Decoder()
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost_because: str | None = None

    @classmethod
    async def open(cls, path: Path) -> "Connection":
        """Connects to the socket at `path`; NotListening if nobody listens there."""
        try:
            connected = sockets.connect(path, timeout=0)
        except OSError as error:
            raise NotListening(f"nothing listens at {path.name} of {path.parent.name}: {error.strerror}") from None
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(lambda: cls(path.parent.name), sock=connected)
        return connection

    @property
    def lost(self) -> bool:
        """Whether the connection has ended; it never comes back."""
        return self._lost_because is not None

    async def ask(self, header: Mapping[str, Any], body: bytes, timeout: float) -> Reply:
        """Sends a request and waits for its answer, at most `timeout` seconds.

        ServingLost if the task goes away, TimeoutError if it takes too long. An ask that is cancelled or took too
        long is forgotten: its answer, should it still come, is dropped.
        """
        async with asyncio.timeout(timeout):
            await self._writable.wait()
            return await self._ask(header, body)

    async def stream(self, header: Mapping[str, Any], body: bytes, timeout: float) -> AsyncGenerator[Reply, None]:
        """Sends a request and yields the frames of its answer as they come; the last says no `more`, or an error.

        The task sends `STREAM_WINDOW` frames ahead of the reader, and then waits. Closing the generator early
        cancels the request in the task; use `contextlib.aclosing`.
        ServingLost if the task goes away, TimeoutError if a frame takes longer than `timeout` seconds to come.
        """
        async with asyncio.timeout(timeout):
            await self._writable.wait()
        if self._lost_because:
            raise NotListening(self._lost_because)
        id, frames, more = self._free_id(), _Stream(), True
        self._streams[id] = frames
        try:
            self._transport.write(encode(id, header, body))
            for taken in itertools.count(1):
                async with asyncio.timeout(timeout):
                    reply = await frames.get()
                if reply is None:
                    raise ServingLost(self._lost_because)
                more = reply[0].get("more", False)
                yield reply
                if not more:
                    break
                if taken % _TAKEN_TOGETHER == 0:
                    self._transport.write(encode(id, {"op": "more", "frames": _TAKEN_TOGETHER}))
        finally:
            del self._streams[id]
            if more and not self._lost_because:
                self._transport.write(encode(id, {"op": "cancel"}))

    def close(self) -> None:
        """Ends the connection; asks that wait fail."""
        self._transport.close()

    async def _ask(self, header: Mapping[str, Any], body: bytes) -> Reply:
        if self._lost_because:
            raise NotListening(self._lost_because)
        ask_id = self._free_id()
        answer: _Answer = asyncio.get_running_loop().create_future()
        self._asks[ask_id] = answer
        try:
            self._transport.write(encode(ask_id, header, body))
            return await answer
        finally:
            del self._asks[ask_id]

    def _free_id(self) -> int:
        taken = self._asks.keys() | self._streams.keys() if self._streams else self._asks
        return next(i for n in self._ids if (i := n & 0xFFFFFFFF) not in taken)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = cast(asyncio.WriteTransport, transport)  # uvloop's classes are not asyncio's

    def data_received(self, data: bytes) -> None:
        """Called by the event loop: hands answers to those who wait for them."""
        try:
            for frame in self._decoder.feed(data):
                if stream := self._streams.get(frame.id):
                    stream.put_nowait((frame.header, frame.body))
                elif (answer := self._asks.get(frame.id)) and not answer.done():
                    answer.set_result((frame.header, frame.body))
        except FrameError as error:
            self._lose(str(error))
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop: fails those who wait."""
        self._lose(str(error) if error else "it closed the connection")

    def pause_writing(self) -> None:
        """Called by the event loop: the task takes no more bytes at the moment."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """Called by the event loop: the task takes bytes again."""
        self._writable.set()

    def _lose(self, reason: str) -> None:
        self._lost_because = self._lost_because or f"serving task {self._name} is gone: {reason}"
        self._writable.set()
        for answer in self._asks.values():
            if not answer.done():
                answer.set_exception(ServingLost(self._lost_because))
        for stream in self._streams.values():
            stream.put_nowait(None)


class Connections:
    """The connections to all serving tasks, by task id; each is opened when it is first needed, and again when lost.

    `socket_path(task_id)` tells where a task listens.
    """

    def __init__(self, socket_path: Callable[[str], Path]) -> None:
        self._socket_path = socket_path
        self._open: dict[str, asyncio.Task[Connection]] = {}

    async def ask(self, task_id: str, header: Mapping[str, Any], body: bytes, timeout: float) -> Reply:
        """Asks the task `task_id`; see `Connection.ask`."""
        return await (await self._connection(task_id)).ask(header, body, timeout)

    async def stream(
        self, task_id: str, header: Mapping[str, Any], body: bytes, timeout: float
    ) -> AsyncGenerator[Reply, None]:
        """Asks the task `task_id` for an answer of many frames; see `Connection.stream`."""
        connection = await self._connection(task_id)
        async with aclosing(connection.stream(header, body, timeout)) as replies:
            async for reply in replies:
                yield reply

    def forget(self, task_id: str) -> None:
        """Closes the connection to a task that has ended or is about to."""
        opening = self._open.pop(task_id, None)
        if opening and not opening.cancel() and (connection := _opened(opening)):
            connection.close()

    def close(self) -> None:
        """Closes all connections."""
        for task_id in tuple(self._open):
            self.forget(task_id)

    async def _connection(self, task_id: str) -> Connection:
        opening = self._open.get(task_id)
        if opening is None or _is_useless(opening):
            self._open = {name: one for name, one in self._open.items() if not _is_useless(one)}
            opening = asyncio.create_task(Connection.open(self._socket_path(task_id)))
            self._open[task_id] = opening
        return await asyncio.shield(opening)


def _opened(opening: asyncio.Task[Connection]) -> Connection | None:
    """The connection that `opening` led to, if it did."""
    if not opening.done() or opening.cancelled() or opening.exception():
        return None
    return opening.result()


def _is_useless(opening: asyncio.Task[Connection]) -> bool:
    connection = _opened(opening)
    return opening.done() and (connection is None or connection.lost)
