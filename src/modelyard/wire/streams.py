"""Bodies of requests as they arrive, and of answers as they are made."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from hashlib import sha256
from typing import Any, TypeVar

from .chunked import BadChunk, BadTrailer, Chunks, is_chunked, unchunked

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

_DRAINED = 4
"""So many times the limit is read and thrown away, so that the client gets to read its refusal."""


class Cut(Exception):
    """The body is not what the client had declared: too short, or framed wrongly. `code` is S3's for it."""

    def __init__(self, message: str, code: str = "IncompleteBody") -> None:
        super().__init__(message)
        self.code = code


class HungUp(Cut):
    """The client went away."""

    def __init__(self) -> None:
        super().__init__("The client hung up")


class TooLarge(Exception):
    """The body is larger than may be held in memory."""


class Body:
    """The body of one request, to be read once: in pieces, of which memory holds one at a time, or as a whole.

    length: bytes that the client declared, None if it did not; without the frames of AWS's chunks.
    headers: the request's, as they would be without those frames.
    trailers: what a client sent after the body, by lower-case names; complete after the iteration.
    begun: whether anybody asked for it. A client that waits for that (`Expect: 100-continue`) sends it then only.
    signed_hash: the SHA-256 in hex that it must have, where signatures are checked and the client signed one.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.headers: Headers = scope["headers"]
        self._chunks = Chunks() if is_chunked(self.headers) else None
        if self._chunks is not None:
            self.headers = list(unchunked(self.headers))
        self.length = _content_length(self.headers)
        self.trailers: Mapping[str, str] = {}
        self.begun = False
        self.signed_hash: str | None = None
        self._receive = receive
        self._headers = scope["headers"]

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """The pieces, of any size. Raises `HungUp`, `Cut`."""
        size = 0
        digest = sha256() if self.signed_hash is not None else None
        async for piece in self._pieces() if self._chunks is None else self._unframed(self._chunks):
            size += len(piece)
            if self.length is not None and size > self.length:
                break
            if digest is not None:
                digest.update(piece)
            yield piece
        if self.length is not None and size != self.length:
            raise Cut(f"The body has not the {self.length} bytes that were declared")
        if digest is not None and digest.hexdigest() != self.signed_hash:
            raise Cut("The body is not the one whose hash was signed", "XAmzContentSHA256Mismatch")

    async def _pieces(self) -> AsyncIterator[bytes]:
        more = True
        self.begun = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise HungUp
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            if piece:
                yield piece

    async def _unframed(self, chunks: Chunks) -> AsyncIterator[bytes]:
        try:
            async for piece in self._pieces():
                for part in chunks.feed(piece):
                    yield part
        except BadChunk as error:
            raise Cut(f"The body is not made of chunks: {error}", "InvalidRequest") from error
        except BadTrailer as error:
            raise Cut(f"The trailers of the body cannot be read: {error}", "MalformedTrailerError") from error
        if not chunks.ended:
            raise Cut("The body ends before its last chunk")
        self.trailers = chunks.trailers
        promised = header(self._headers, b"x-amz-trailer").decode("latin-1").lower()
        if missing := {name.strip() for name in promised.split(",")} - {"", *self.trailers}:
            raise Cut(f"The body ends without {', '.join(sorted(missing))}", "MalformedTrailerError")

    async def whole(self, limit: int) -> bytes:
        """All of it, of at most `limit` bytes. Raises `TooLarge`, `HungUp`, `Cut`."""
        too_long = self.length is not None and self.length > limit
        if too_long and header(self._headers, b"expect"):
            raise TooLarge
        pieces: list[bytes] = []
        size = 0
        async for piece in self:
            size += len(piece)
            if too_long or size > limit:
                too_long = True
                pieces.clear()
                if size > _DRAINED * limit:
                    break
            else:
                pieces.append(piece)
        if too_long:
            raise TooLarge
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def header(headers: Sequence[tuple[bytes, bytes]], wanted: bytes) -> bytes:
    """A request's header, by its lower-case name; empty if it is not there."""
    for name, value in headers:
        if name == wanted:
            return value
    return b""


def _content_length(headers: Headers) -> int | None:
    text = header(headers, b"content-length")
    return int(text) if text.isdigit() else None


async def until_hang_up(work: Awaitable[T], receive: Receive) -> T:
    """The work's result; cancels the work and raises `HungUp` when the client goes away before."""
    here = asyncio.current_task()
    assert here is not None
    gone = False

    async def watch() -> None:
        nonlocal gone
        while (await receive())["type"] != "http.disconnect":
            pass
        gone = True
        here.cancel()

    watching = asyncio.ensure_future(watch())  # the work itself needs no task of its own
    try:
        return await work
    except asyncio.CancelledError:
        if gone and here.uncancel() == 0:
            raise HungUp from None
        raise
    finally:
        watching.cancel()


async def send_pieces(pieces: AsyncIterator[bytes], send: Send, receive: Receive) -> None:
    """Sends the pieces of an answer that has begun; they are closed in any case. Raises `HungUp`."""

    async def pump() -> None:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # a quick reader would have the event loop for itself, and one that left for ever
        await send({"type": "http.response.body", "body": b""})

    try:
        await until_hang_up(pump(), receive)
    finally:
        await close(pieces)


async def close(pieces: AsyncIterator[bytes]) -> None:
    """Ends pieces that nobody takes any more."""
    aclose = getattr(pieces, "aclose", None)
    if aclose is not None:
        await aclose()
