"""Length-prefixed frames: how the server and a serving task talk over one persistent connection.

A frame is a prefix of 12 bytes (request id, header length, body length; unsigned, big endian), a header
(a JSON object) and a body (bytes). An answer carries the id of its request; answers may come in any order.

An answer of several frames, a stream, says `"more": true` in the header of all but its last. Two frames of the asking
side belong to a stream, carry its id and get no answer: `{"op": "more", "frames": n}` allows n frames beyond the first
`STREAM_WINDOW`, so that a slow reader holds up nobody else, and `{"op": "cancel"}` ends it.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

MAX_HEADER = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
STREAM_WINDOW = 16
"""Frames of a stream that may be under way before its reader has said that it took some."""

_PREFIX = struct.Struct("!III")
_write_json = json.JSONEncoder(separators=(",", ":")).encode  # json.dumps makes an encoder at each call
_read_json = json.JSONDecoder().decode


class FrameError(Exception):
    """The bytes are no frame, or a frame is larger than allowed. The connection cannot be used any more."""


class Frame(NamedTuple):
    """One request or one answer."""

    id: int
    header: dict[str, Any]
    body: bytes


def encode(request_id: int, header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """The bytes of a frame; FrameError if it is larger than the other side would take."""
    encoded = _write_json(header).encode()
    _check("header", len(encoded), MAX_HEADER)
    _check("body", len(body), MAX_BODY)
    return _PREFIX.pack(request_id, len(encoded), len(body)) + encoded + body


class Decoder:
    """Makes frames of bytes as they arrive. Lengths are checked before anything of that length is kept."""

    def __init__(self, max_body: int = MAX_BODY) -> None:
        self._max_body = max_body
        self._received = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yields the frames that are complete with `data`; FrameError at the first bytes that are none."""
        self._received += data
        while (frame := self._next()) is not None:
            yield frame

    def _next(self) -> Frame | None:
        received = self._received
        if len(received) < _PREFIX.size:
            return None
        request_id, header_length, body_length = _PREFIX.unpack_from(received)
        _check("header", header_length, MAX_HEADER)
        _check("body", body_length, self._max_body)
        body_start = _PREFIX.size + header_length
        end = body_start + body_length
        if len(received) < end:
            return None
        frame = Frame(request_id, _header(received[_PREFIX.size : body_start]), bytes(received[body_start:end]))
        del received[:end]
        return frame


def _check(part: str, length: int, limit: int) -> None:
    if length > limit:
        raise FrameError(f"a frame's {part} has {length} bytes; at most {limit} are allowed")


def _header(encoded: bytearray) -> dict[str, Any]:
    try:
        header = _read_json(encoded.decode())
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame's header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise FrameError(f"a frame's header is a JSON {type(header).__name__}, not an object")
    return header
