"""Bodies in AWS's chunks, in all the forms in which clients send them, cut at any place."""

import io
import itertools

import pytest
from botocore.httpchecksum import AwsChunkedWrapper
from hypothesis import given, settings
from hypothesis import strategies as st

from modelyard.wire.chunked import LONGEST_LINE, BadChunk, BadTrailer, Chunks, is_chunked, unchunked

SIGNATURE = b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"


def signed(content: bytes, size: int, trailers: bytes = b"") -> bytes:
    parts = [content[at : at + size] for at in range(0, len(content), size)] + [b""]
    framed = [b"%x;chunk-signature=%s\r\n%s\r\n" % (len(part), SIGNATURE, part) for part in parts]
    return b"".join(framed).removesuffix(b"\r\n") + trailers + b"\r\n"


def fed(body: bytes, cuts: list[int] | None = None) -> tuple[bytes, Chunks]:
    chunks = Chunks()
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts or []), len(body)]
    pieces = [body[a:b] for a, b in itertools.pairwise(places)]
    return b"".join(part for piece in pieces for part in chunks.feed(piece)), chunks


class Sum:
    def update(self, data: bytes) -> None:
        pass

    def b64digest(self) -> str:
        return "AAAAAA=="


@settings(max_examples=300, deadline=None, database=None)
@given(
    content=st.binary(max_size=300),
    size=st.integers(1, 400),
    kind=st.sampled_from(["signed", "signed with trailers", "botocore"]),
    cuts=st.lists(st.integers(0, 5000), max_size=10),
)
def test_content_and_trailers_come_out_wherever_the_pieces_end(
    content: bytes, size: int, kind: str, cuts: list[int]
) -> None:
    trailers = {"x-amz-checksum-crc32": "AAAAAA=="}
    if kind == "botocore":
        wrapper = AwsChunkedWrapper(io.BytesIO(content), Sum, "X-Amz-Checksum-Crc32", chunk_size=size)
        body = wrapper.read()
    elif kind == "signed":
        body, trailers = signed(content, size), {}
    else:
        # The signature of the trailers is one of them; some clients end lines with \n alone.
        trailers["x-amz-trailer-signature"] = SIGNATURE.decode()
        body = signed(content, size, b"x-amz-checksum-crc32: AAAAAA==\nx-amz-trailer-signature:%s\r\n" % SIGNATURE)
    got, chunks = fed(body, cuts)
    assert (got, chunks.trailers, chunks.ended) == (content, trailers, True)


def test_a_piece_in_one_chunk_is_not_cut() -> None:
    chunks = Chunks()
    chunks.feed(b"100000\r\n")
    piece = b"x" * 70_000
    assert chunks.feed(piece)[0] is piece


@pytest.mark.parametrize(
    "body",
    [
        b"x\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b"\r\n5\r\n",
        b"fffffffffffffff\r\n",
        b"5\r\nhello world\r\n",
        b"5;" + b"a" * LONGEST_LINE + b"\r\nhello\r\n",
        b"5" * 100_000,
        b"5;\xff\r\nhello\r\n",
    ],
)
def test_wrong_frames_are_refused(body: bytes) -> None:
    for cuts in ([], list(range(0, min(len(body), 4000), 3))):
        with pytest.raises(BadChunk):
            fed(body, cuts)


@pytest.mark.parametrize(
    "trailers",
    [
        b"nothing\r\n",
        b"a b:c\r\n",
        b"a:\xff\r\n",
        b"\r\nmore",
        b"\r\n\r\n",
        b"a:" + b"b" * LONGEST_LINE,
        b"".join(b"n%d:x\r\n" % n for n in range(21)),
    ],
)
def test_wrong_trailers_are_refused(trailers: bytes) -> None:
    with pytest.raises(BadTrailer):
        fed(b"0\r\n" + trailers + b"\r\n\r\n")


def test_the_end_is_told_from_a_body_cut_short() -> None:
    assert not fed(b"5\r\nhello\r\n")[1].ended
    assert not fed(b"5\r\nhel")[1].ended
    assert fed(b"5\r\nhello\r\n0\r\n")[1].ended  # without the last empty line, which some clients leave out


def test_headers_are_read_as_those_of_the_content() -> None:
    headers = [
        (b"content-encoding", b"aws-chunked, gzip"),
        (b"content-length", b"77"),
        (b"x-amz-decoded-content-length", b"5"),
        (b"host", b"h"),
    ]
    assert is_chunked(headers)
    assert list(unchunked(headers)) == [(b"content-encoding", b"gzip"), (b"content-length", b"5"), (b"host", b"h")]
    assert list(unchunked([(b"content-encoding", b"aws-chunked")])) == []
    assert is_chunked([(b"x-amz-content-sha256", b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD")])
    assert not is_chunked([(b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"), (b"content-encoding", b"gzip")])
