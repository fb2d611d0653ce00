"""The serving task of a language model: it answers requests to a base model and its adapters, all at once."""

import asyncio
import logging
import os
import queue
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from modelyard.runner.context import Context, InputError
from modelyard.runner.serving import Reply, RequestError, Stream, serve
from modelyard.workloads.language.engine import LanguageEngine
from modelyard.workloads.language.engine_choice import load_engine
from modelyard.workloads.language.generation import Generation, Piece
from modelyard.workloads.language.request import Request, read

Result = TypeVar("Result")

_log = logging.getLogger(__name__)

_LONG_BYTES = 20_000
"""Of a request's body: a longer one is made into tokens beside the event loop, not on it."""


def run(context: Context) -> dict[str, Any]:
    """Serves the base model in the folder `parameters["base"]` at the socket `parameters["socket"]`, until stopped.

    `parameters["engine"]` says what generates, see `load_engine`. InputError if the folder holds no model that can be
    served.
    """
    base, wanted = Path(context.parameters["base"]), context.parameters.get("engine", "auto")
    engine = load_engine(base, context.cores, wanted)
    context.report(1, phase="serving", total=1)
    with Steps(engine) as steps:
        serve(context, Path(context.parameters["socket"]), Model(engine, steps).answer)
    return {}


class Model:
    """Answers the requests of frames: `generate` with a stream, `count` with a number of tokens."""

    def __init__(self, engine: LanguageEngine, steps: "Steps") -> None:
        self._engine = engine
        self._steps = steps

    def answer(self, header: Mapping[str, Any], body: bytes) -> Any:
        """The answer to a frame; RequestError for one that asks nothing known."""
        match header.get("op"):
            case "generate":
                return self._generate(header, body)
            case "count":
                return self._count(header, body)
            case other:
                raise RequestError(f"no operation {other!r}: ask to generate or to count")

    async def _generate(self, header: Mapping[str, Any], body: bytes) -> Stream:
        """Pieces of text, each with the tokens so far; the last one says why the answer ended, and how long it took."""
        generation = await self._prepared(header, body)
        async with aclosing(self._steps.pieces(generation)) as pieces:
            async for piece in pieces:
                if piece.error:
                    raise RequestError(piece.error, status=500)
                told = {"status": 200, "input_tokens": len(generation.prompt), "output_tokens": piece.tokens}
                if piece.last:
                    yield {**told, "more": False, **_ending(generation)}, piece.text.encode()
                elif piece.text:
                    yield {**told, "more": True}, piece.text.encode()

    async def _count(self, header: Mapping[str, Any], body: bytes) -> Reply:
        request = read(header, body)
        return {"status": 200, "tokens": len(await _aside(len(body), self._engine.prompts.tokens, request))}, b""

    async def _prepared(self, header: Mapping[str, Any], body: bytes) -> Generation:
        request = read(header, body)
        return await _aside(len(body), self._engine.prepare, request)


class Steps:
    """A thread that steps while requests are under way, and tells those who wait what each step gave them."""

    def __init__(self, engine: LanguageEngine) -> None:
        self._engine = engine
        self._wishes: queue.SimpleQueue[tuple[str, Generation] | None] = queue.SimpleQueue()
        self._readers: dict[Generation, asyncio.Queue[Piece]] = {}
        self._thread = threading.Thread(target=self._run, name="steps")
        self._loop: asyncio.AbstractEventLoop

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._wishes.put(None)
        self._thread.join()

    async def pieces(self, generation: Generation) -> AsyncGenerator[Piece, None]:
        """What the steps give to a generation; those that came while the reader was busy come as one.

        Closed early, the generation ends and its place is free.
        """
        self._loop = asyncio.get_running_loop()
        arrived = self._readers[generation] = asyncio.Queue()
        self._wishes.put(("add", generation))
        piece = None
        try:
            while piece is None or not piece.last:
                piece = await arrived.get()
                while not arrived.empty():
                    later = arrived.get_nowait()
                    piece = later._replace(text=piece.text + later.text)
                yield piece
        finally:
            del self._readers[generation]
            if piece is None or not piece.last:
                self._wishes.put(("cancel", generation))

    def _run(self) -> None:
        """The thread: obeys wishes, and steps while there is something to do."""
        while True:
            while len(self._engine) == 0 or not self._wishes.empty():
                wish = self._wishes.get()
                if wish is None:
                    return
                self._obey(*wish)
            self._tell(self._step())

    def _step(self) -> list[Piece]:
        """One step. An engine that cannot go on takes its process along, for another one is started in its place."""
        try:
            return self._engine.step()
        except Exception:
            _log.exception("the engine failed")
            os._exit(1)

    def _obey(self, wish: str, generation: Generation) -> None:
        if wish == "cancel":
            return self._engine.cancel(generation)
        try:
            self._engine.add(generation)
        except InputError as error:
            self._tell([Piece(generation, "", 0, error=str(error))])
        except Exception as error:  # the others go on
            _log.exception("the adapter %s could not be loaded", generation.request.adapter)
            self._tell([Piece(generation, "", 0, error=f"{type(error).__name__}: {error}")])

    def _tell(self, pieces: list[Piece]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it those who wait
            self._loop.call_soon_threadsafe(self._deliver, pieces)

    def _deliver(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if reader := self._readers.get(piece.generation):
                reader.put_nowait(piece)


def _ending(generation: Generation) -> dict[str, Any]:
    first = generation.first_after or 0.0
    return {
        "stop_reason": generation.reason,
        "stop_sequence": generation.stopped,
        "first_token_ms": round(first * 1000, 3),
        "total_ms": round(generation.seconds * 1000, 3),
    }


async def _aside(size: int, function: Callable[[Request], Result], request: Request) -> Result:
    """Calls a function: here if its work is small, else in a thread."""
    return await asyncio.to_thread(function, request) if size > _LONG_BYTES else function(request)
