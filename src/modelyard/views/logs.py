"""The page that a link to a log opens: one that streams, and asks for no other credential."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress

from modelyard.jobs.model import NotFound
from modelyard.links import LOGS, Links
from modelyard.logs import Logs
from modelyard.views.answers import PLAIN, headers_of, send_text
from modelyard.views.ask import query_of
from modelyard.wire.endpoint import Receive, Scope, Send


class LogPage:
    """The logs of tasks, for whoever holds a link."""

    def __init__(self, links: Links, logs: Logs) -> None:
        self._links = links
        self._logs = logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the log that a link names; `follow=1` goes on until the task ends or the client goes away."""
        task, query = scope["path"].removeprefix(LOGS), query_of(scope)
        if scope["method"] not in ("GET", "HEAD"):
            return await send_text(send, scope, 405, "This page answers GET only\n")
        if not self._links.valid(task, query.get("expires", ""), query.get("signature", "")):
            return await send_text(send, scope, 403, "This link is not valid, or no longer: ask for the job again\n")
        async with aclosing(self._logs.read(task, follow=query.get("follow") == "1")) as pieces:
            try:
                first = await anext(pieces, "")
            except NotFound:
                return await send_text(send, scope, 404, "The log is gone: its job or endpoint was deleted\n")
            await send({"type": "http.response.start", "status": 200, "headers": headers_of(PLAIN)})
            if scope["method"] == "GET":
                await _send_piece(send, first)
                await _send_pieces(send, pieces, receive)
        await send({"type": "http.response.body", "body": b""})


async def _send_piece(send: Send, text: str) -> None:
    body = text.encode("utf-8", "backslashreplace")
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _send_pieces(send: Send, pieces: AsyncIterator[str], receive: Receive) -> None:
    """Sends until the last piece, or until the client goes away."""
    gone = asyncio.ensure_future(_hang_up(receive))
    try:
        with suppress(NotFound):
            async for piece in pieces:
                if gone.done():
                    return
                await _send_piece(send, piece)
    finally:
        gone.cancel()


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
