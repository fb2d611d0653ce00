"""How pages answer: never kept by a cache, never taken for another type than they say."""

from modelyard.wire.endpoint import Scope, Send

PLAIN = b"text/plain; charset=utf-8"
JSON = b"application/json"


def headers_of(content_type: bytes) -> list[tuple[bytes, bytes]]:
    """The headers of every answer of a type."""
    return [
        (b"content-type", content_type),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


async def send_text(send: Send, scope: Scope, status: int, text: str) -> None:
    """Answers with plain text."""
    await send_whole(send, scope, status, PLAIN, text.encode())


async def send_whole(send: Send, scope: Scope, status: int, content_type: bytes, body: bytes) -> None:
    """Answers with a body that is all there."""
    headers = [*headers_of(content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
