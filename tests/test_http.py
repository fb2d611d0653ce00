"""Answers over a real socket, as uvicorn and our protocol write them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import uvicorn

from modelyard.http import LARGE, JoiningTransport, OneWriteProtocol


class Wire:
    """A transport that remembers each write."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def writes(work: Callable[[JoiningTransport], Awaitable[None]]) -> Wire:
    async def run() -> Wire:
        wire = Wire()
        await work(JoiningTransport(wire, asyncio.get_running_loop()))
        await asyncio.sleep(0)
        return wire

    return asyncio.run(run())


def test_two_writes_at_one_go_are_one() -> None:
    async def work(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.write(b"body")

    assert writes(work).written == [b"headbody"]


def test_a_lone_write_goes_out_at_the_next_turn() -> None:
    async def work(transport: JoiningTransport) -> None:
        transport.write(b"head")
        await asyncio.sleep(0)
        transport.write(b"body")

    assert writes(work).written == [b"head", b"body"]


def test_much_is_written_as_it_is_and_in_its_turn() -> None:
    much = b"x" * (LARGE + 1)

    async def work(transport: JoiningTransport) -> None:
        for data in (b"head", much, b"a", b"b", much):
            transport.write(data)

    written = writes(work).written
    assert written == [b"head", much, b"ab", much]
    assert written[1] is much


def test_closing_loses_nothing() -> None:
    async def work(transport: JoiningTransport) -> None:
        transport.write(b"head")
        transport.close()

    wire = writes(work)
    assert (wire.written, wire.closed) == ([b"head"], True)


def test_clients_get_whole_answers_short_long_and_streamed() -> None:
    bodies = {"/short": [b"x"], "/none": [], "/long": [b"y" * 1_000_000], "/streamed": [b"a", b"b" * 70_000, b"c"]}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in bodies[scope["path"]]:
            await send({"type": "http.response.body", "body": part, "more_body": True})
            await asyncio.sleep(0)
        await send({"type": "http.response.body", "body": b""})

    async def run() -> None:
        config = uvicorn.Config(app, port=0, http=OneWriteProtocol, lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        for path, parts in bodies.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.0\r\nconnection: close\r\n\r\n".encode())
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
            assert answer.startswith(b"HTTP/1.1 200 OK")
            assert sum(map(len, parts)) <= len(answer.partition(b"\r\n\r\n")[2])
            assert all(part in answer for part in parts)
        server.should_exit = True
        await serving

    asyncio.run(run())
