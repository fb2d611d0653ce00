import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard import frames
from modelyard.frames import Decoder, Frame, FrameError, encode

_HEADERS = st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=5))
_FRAMES = st.builds(Frame, st.integers(0, 2**32 - 1), _HEADERS, st.binary(max_size=50))


@given(st.lists(_FRAMES, max_size=5), st.integers(1, 20))
def test_frames_survive_any_cut_of_the_stream(sent: list[Frame], size: int) -> None:
    stream = b"".join(encode(*frame) for frame in sent)
    decoder = Decoder()
    pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [frame for piece in pieces for frame in decoder.feed(piece)] == sent


def test_the_layout_is_what_the_docs_say() -> None:
    assert encode(7, {"a": 1}, b"xyz") == struct.pack("!III", 7, 7, 3) + b'{"a":1}' + b"xyz"


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((2**32 - 1, 0), "header has 4294967295 bytes; at most 65536"),
        ((0, 2**32 - 1), "body has 4294967295 bytes; at most 1000"),
        ((2, 1001), "body has 1001 bytes"),
    ],
)
def test_hostile_lengths_are_refused_before_the_bytes_come(lengths: tuple[int, int], message: str) -> None:
    with pytest.raises(FrameError, match=message):
        list(Decoder(max_body=1000).feed(struct.pack("!III", 1, *lengths)))


@pytest.mark.parametrize("header", [b"", b"[1]", b"nonsense", b"\xff\xfe", b"[" * 60_000, b'"text"'])
def test_hostile_headers_are_refused(header: bytes) -> None:
    with pytest.raises(FrameError, match="header is"):
        list(Decoder().feed(struct.pack("!III", 1, len(header), 0) + header))


def test_what_the_other_side_would_refuse_is_not_sent() -> None:
    with pytest.raises(FrameError, match="header"):
        encode(1, {"long": "x" * frames.MAX_HEADER})
    with pytest.raises(FrameError, match="body"):
        encode(1, {}, bytes(frames.MAX_BODY + 1))


def test_many_small_pieces_of_a_large_body_cost_linear_time() -> None:
    body = bytes(8 * 1024 * 1024)
    stream = encode(1, {}, body)
    decoder = Decoder()
    pieces = (stream[at : at + 4096] for at in range(0, len(stream), 4096))
    received: list[Any] = [frame for piece in pieces for frame in decoder.feed(piece)]
    assert len(received) == 1
    assert received[0].body == body
    assert json.dumps(received[0].header) == "{}"
