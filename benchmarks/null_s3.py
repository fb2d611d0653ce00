"""The least that a client takes for S3: it throws away what is uploaded, and answers every GET with zeros from memory.

What a client reaches against it is what that client can do. A process of its own: `python null_s3.py`.
"""

import asyncio
import re
from typing import cast

import uvloop

SIZE = 1 << 30
"""Bytes of the one object."""
UPLOAD = b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
COMPLETE = b"<CompleteMultipartUploadResult><ETag>&quot;1&quot;</ETag></CompleteMultipartUploadResult>"
ZEROS = memoryview(bytes(32 << 20))
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_RANGE = re.compile(rb"(?i)\r\nrange: *bytes=(\d+)-(\d*)")
_EXPECT = re.compile(rb"(?i)\r\nexpect: *100-continue")


class Connection(asyncio.BufferedProtocol):
    """One client's connection; what it sends lands in the same memory again and again."""

    def __init__(self) -> None:
        self._buffer = bytearray(1 << 20)
        self._head = b""
        self._left = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=1 << 30)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._left:
            self._left -= nbytes
        else:
            self._read_head(bytes(self._buffer[:nbytes]))
        if self._head and self._left <= 0:
            head, self._head = self._head, b""
            self._answer(head)

    def _read_head(self, data: bytes) -> None:
        head, end, rest = (self._head + data).partition(b"\r\n\r\n")
        self._head = head + end
        if end:
            length = _LENGTH.search(head)
            self._left = (int(length[1]) if length else 0) - len(rest)
            if self._left > 0 and _EXPECT.search(head):
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            self._left = 0

    def _answer(self, head: bytes) -> None:
        method, path = head.split(b" ", 2)[:2]
        if method in (b"GET", b"HEAD"):
            self._send(head, method)
            return
        body = UPLOAD if b"?uploads" in path else COMPLETE if method == b"POST" else b""
        self._transport.write(b'HTTP/1.1 200 OK\r\nETag: "1"\r\nContent-Length: %d\r\n\r\n%b' % (len(body), body))

    def _send(self, head: bytes, method: bytes) -> None:
        wanted = _RANGE.search(head)
        first = int(wanted[1]) if wanted else 0
        last = int(wanted[2]) if wanted and wanted[2] else SIZE - 1
        status = b"206 Partial Content\r\nContent-Range: bytes %d-%d/%d" % (first, last, SIZE) if wanted else b"200 OK"
        length = last - first + 1
        self._transport.write(
            b'HTTP/1.1 %b\r\nETag: "1"\r\nAccept-Ranges: bytes\r\nContent-Length: %d\r\n\r\n' % (status, length)
        )
        if method == b"GET":
            for start in range(0, length, len(ZEROS)):
                self._transport.write(ZEROS[: length - start])


async def main() -> None:
    """Serves until it is ended; says where first."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
