"""Bodies in AWS's own chunks: what S3's clients frame, sign and end with checksums while they still read the object.

https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html. Signatures of chunks are not checked.
"""

import re
from collections.abc import Iterator, Sequence

LONGEST_LINE = 1024
"""Bytes of a chunk's head (its size and signature), or of a trailer."""
MOST_TRAILERS = 20

_HEAD = re.compile(rb"([0-9A-Fa-f]{1,12})(;[ -~]*)?")
_TRAILER = re.compile(rb"([A-Za-z0-9-]{1,100}):([ -~]*)")


def is_chunked(headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether a request's headers say that its body is in chunks."""
    return any(
        (name == b"x-amz-content-sha256" and value.startswith(b"STREAMING-"))
        or (name == b"content-encoding" and b"aws-chunked" in value)
        for name, value in headers
    )


def unchunked(headers: Sequence[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
    """The headers as they would be for the content alone."""
    for name, value in headers:
        if name == b"content-encoding":
            codings = [coding.strip() for coding in value.split(b",")]
            if kept := b",".join(coding for coding in codings if coding not in (b"", b"aws-chunked")):
                yield name, kept
        elif name == b"x-amz-decoded-content-length":
            yield b"content-length", value
        elif name != b"content-length":
            yield name, value


class BadChunk(ValueError):
    """What arrived is not framed as it should be."""


class BadTrailer(ValueError):
    """What follows the last chunk are no trailers."""


class Chunks:
    """Takes the frames off what is fed in, piece by piece.

    trailers: by lower-case names. ended: whether the last chunk, which is empty, was seen.
    """

    def __init__(self) -> None:
        self.trailers: dict[str, str] = {}
        self.ended = False
        self._left = 0
        self._between = False
        self._line = b""
        self._closed = False

    def feed(self, piece: bytes) -> list[bytes]:
        """The content in a piece of the body, in parts; raises `BadChunk` or `BadTrailer`."""
        parts = []
        at, end = 0, len(piece)
        while at < end:
            if self._left:
                part = piece[at : at + self._left]
                parts.append(part)
                at += len(part)
                self._left -= len(part)
                self._between = not self._left
            else:
                at = self._take_line(piece, at)
        return parts

    def _take_line(self, piece: bytes, at: int) -> int:
        stop = piece.find(b"\n", at, at + LONGEST_LINE)
        line = self._line + piece[at : stop if stop >= 0 else at + LONGEST_LINE]
        if len(line) >= LONGEST_LINE:
            raise BadTrailer("too long") if self.ended else BadChunk(f"{line[:40]!r} does not end")
        if stop < 0:
            self._line = line
            return len(piece)
        self._line = b""
        self._read_line(line.removesuffix(b"\r"))
        return stop + 1

    def _read_line(self, line: bytes) -> None:
        if self.ended:
            self._read_trailer(line)
        elif self._between:
            if line:
                raise BadChunk(f"{line[:40]!r} stands between two chunks")
            self._between = False
        else:
            head = _HEAD.fullmatch(line)
            if head is None:
                raise BadChunk(f"{line[:40]!r} is no head of a chunk")
            self._left = int(head[1], 16)
            self.ended = not self._left

    def _read_trailer(self, line: bytes) -> None:
        trailer = _TRAILER.fullmatch(line)
        if self._closed or (line and trailer is None) or len(self.trailers) == MOST_TRAILERS:
            raise BadTrailer(f"{line[:40]!r} is no trailer")
        if trailer is None:
            self._closed = True
        else:
            self.trailers[trailer[1].decode().lower()] = trailer[2].decode().strip()
