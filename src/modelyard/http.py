"""How answers reach the socket: uvicorn's protocol, with one write for each answer instead of two.

uvicorn writes an answer's head and its body apart, and the event loop passes each write on at once: two calls of the
kernel and two packets, where one does.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGE = 64 * 1024
"""Bytes of a write that is worth a call of its own."""


class OneWriteProtocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol over a transport that joins what is written at one go."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # asyncio's base class says BaseTransport
        """Called by the event loop."""
        super().connection_made(JoiningTransport(transport, self.loop))  # type: ignore[arg-type]  # it acts as one


class JoiningTransport:
    """A transport that holds a write until the next one, or until the event loop's next turn."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Holds `data`, or writes what is held together with it; much data is written as it is, without a copy."""
        if len(data) > LARGE:
            self._flush()
            self._transport.write(data)
        elif self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data)
        else:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Closes when everything is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
