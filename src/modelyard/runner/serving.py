"""The loop of a serving task: it answers the server's requests over a Unix socket until it is asked to stop.

A request is a frame (see `modelyard.frames`); its answer carries the same id and a header with `status`: 200, or an
HTTP status of 400 or more beside a `message` that says what was wrong. Answers go out as they are ready, in any order.
An answer may be a stream of frames.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import uvloop

from modelyard import sockets
from modelyard.frames import STREAM_WINDOW, Decoder, Frame, FrameError, encode
from modelyard.runner.context import Context

Reply = tuple[Mapping[str, Any], bytes]
Stream = AsyncGenerator[Reply, None]
Answer = Callable[[Mapping[str, Any], bytes], Awaitable[Reply] | Stream]

_LOOK_FOR_STOP_SECONDS = 0.1
_FINISH_SECONDS = 20.0

_log = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that cannot be answered, through no fault of the model: its status and what to do about it.

    `reason` is a word for the program that asked, where the status alone does not tell what is wrong.
    """

    def __init__(self, message: str, status: int = 400, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


def serve(context: Context, socket_path: Path, answer: Answer) -> None:
    """Listens at `socket_path` and answers requests until `context.should_stop()`, then finishes what it has.

    Call it when the model is loaded: the socket appears when the task is ready. `answer(header, body)` gives the
    answer's header and body; it raises RequestError for a bad request, and runs long work in a thread.
    It may be an async generator of headers and bodies instead, each of which goes out at once, and all but the last of
    which say `"more": True`. The generator is closed when the asking side cancels or goes away, and it is not asked for
    more than `STREAM_WINDOW` frames that nobody has taken.
    """
    uvloop.run(_serve(context, socket_path, answer))


async def _serve(context: Context, socket_path: Path, answer: Answer) -> None:
    conversations: set[_Conversation] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(lambda: _Conversation(answer, conversations), sock=sockets.bind(socket_path))
    _log.info("ready")
    while not context.should_stop():
        await asyncio.sleep(_LOOK_FOR_STOP_SECONDS)
    socket_path.unlink(missing_ok=True)
    server.close()
    await asyncio.gather(*(conversation.finish() for conversation in tuple(conversations)))
    _log.info("stopped")


class _Answering:
    """A request under way, and how many more frames of its answer the other side will take."""

    def __init__(self) -> None:
        self.task: asyncio.Task[None]
        self.wanted = asyncio.Semaphore(STREAM_WINDOW)


class _Conversation(asyncio.Protocol):
    """One connection of the server: frames in, answers out."""

    def __init__(self, answer: Answer, conversations: set["_Conversation"]) -> None:
        self._answer = answer
        self._conversations = conversations
        self._decoder = Decoder()
        self._under_way: dict[int, _Answering] = {}
        self._finishing = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's classes are not asyncio's
        self._conversations.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._conversations.discard(self)
        for answering in self._under_way.values():
            answering.task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                if answering := self._under_way.get(frame.id):
                    _steer(answering, frame.header)
                elif frame.header.get("op") not in ("cancel", "more") and not self._finishing:
                    self._begin(frame)
        except FrameError as error:
            _log.warning("connection closed: %s", error)
            self._transport.close()

    def pause_writing(self) -> None:
        """Takes no more requests while the other side does not take the answers."""
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        self._transport.resume_reading()

    async def finish(self) -> None:
        """Takes no more requests, sends the answers to those that were taken, and closes."""
        self._finishing = True
        if self._under_way:
            await asyncio.wait([one.task for one in self._under_way.values()], timeout=_FINISH_SECONDS)
        self._transport.close()

    def _begin(self, frame: Frame) -> None:
        answering = self._under_way[frame.id] = _Answering()
        answering.task = asyncio.get_running_loop().create_task(self._reply(frame, answering))
        answering.task.add_done_callback(lambda _: self._under_way.pop(frame.id))

    async def _reply(self, frame: Frame, answering: _Answering) -> None:
        try:
            answer = self._answer(frame.header, frame.body)
            if isinstance(answer, AsyncGenerator):
                await self._stream(frame.id, answer, answering)
            else:
                self._send(frame.id, *await answer)
        except RequestError as error:
            reason = {"reason": error.reason} if error.reason else {}
            self._send(frame.id, {"status": error.status, "message": str(error)[:10_000], **reason})
        except Exception as error:  # a workload's: this request fails, the others go on
            _log.exception("request %d failed", frame.id)
            self._send(frame.id, {"status": 500, "message": f"{type(error).__name__}: {error}"[:10_000]})

    async def _stream(self, id: int, stream: Stream, answering: _Answering) -> None:
        more = True
        async with aclosing(stream):
            async for header, body in stream:
                await answering.wanted.acquire()
                self._send(id, header, body)
                more = header.get("more", False)
        assert not more, "the answer ended without its last frame"

    def _send(self, id: int, header: Mapping[str, Any], body: bytes = b"") -> None:
        reply = encode(id, header, body)
        if not self._transport.is_closing():
            self._transport.write(reply)


def _steer(answering: _Answering, header: Mapping[str, Any]) -> None:
    """Obeys a frame that belongs to a stream under way."""
    if header.get("op") == "cancel":
        answering.task.cancel()
    for _ in range(header.get("frames", 0)):
        answering.wanted.release()
