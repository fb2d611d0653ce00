"""The loop of a serving task: it answers the server's requests over a Unix socket until it is asked to stop.

A request is a frame (see `modelyard.frames`); its answer carries the same id and a header with `status`: 200, or an
HTTP status of 400 or more beside a `message` that says what was wrong. Answers go out as they are ready, in any order.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from modelyard import sockets
from modelyard.frames import Decoder, Frame, FrameError, encode
from modelyard.runner.context import Context

Answer = Callable[[Mapping[str, Any], bytes], Awaitable[tuple[Mapping[str, Any], bytes]]]

_LOOK_FOR_STOP_SECONDS = 0.1
_FINISH_SECONDS = 20.0

_log = logging.getLogger(__name__)


class RequestError(Exception):
    """A request that cannot be answered, through no fault of the model: its status and what to do about it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def serve(context: Context, socket_path: Path, answer: Answer) -> None:
    """Listens at `socket_path` and answers requests until `context.should_stop()`, then finishes what it has.

    Call it when the model is loaded: the socket appears when the task is ready. `answer(header, body)` gives the
    answer's header and body; it raises RequestError for a bad request, and runs long work in a thread.
    """
    asyncio.run(_serve(context, socket_path, answer))


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


class _Conversation(asyncio.Protocol):
    """One connection of the server: frames in, answers out."""

    def __init__(self, answer: Answer, conversations: set["_Conversation"]) -> None:
        self._answer = answer
        self._conversations = conversations
        self._decoder = Decoder()
        self._answering: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._conversations.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        self._conversations.discard(self)
        for task in self._answering:
            task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            for frame in self._decoder.feed(data):
                task = asyncio.get_running_loop().create_task(self._reply(frame))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
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
        self._transport.pause_reading()
        if self._answering:
            await asyncio.wait(self._answering, timeout=_FINISH_SECONDS)
        self._transport.close()

    async def _reply(self, frame: Frame) -> None:
        try:
            header, body = await self._answer(frame.header, frame.body)
            reply = encode(frame.id, header, body)
        except RequestError as error:
            reply = encode(frame.id, {"status": error.status, "message": str(error)[:10_000]})
        except Exception as error:
            _log.exception("request %d failed", frame.id)
            reply = encode(frame.id, {"status": 500, "message": f"{type(error).__name__}: {error}"[:10_000]})
        if not self._transport.is_closing():
            self._transport.write(reply)
