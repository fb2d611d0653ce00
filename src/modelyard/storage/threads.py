"""The threads in which files are read and written, so that no disk ever holds up the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, TypeVar

Result = TypeVar("Result")


class Threads:
    """Few threads for what is over at once, and more for what takes long: the one never waits for the other. One more
    is for what nobody waits for.

    Few, since they and the event loop take turns in the interpreter, and each change of turns costs more than a look
    at a file that is in memory.
    """

    def __init__(self, few: int = 2, more: int = 8) -> None:
        self._few = ThreadPoolExecutor(few, thread_name_prefix="files")
        self._more = ThreadPoolExecutor(more, thread_name_prefix="bytes")
        self._last = ThreadPoolExecutor(1, thread_name_prefix="later")

    async def quickly(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Does what takes a few calls of the kernel."""
        return await _done(self._few, work, *arguments)

    async def run(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Does what takes as long as there are bytes or names."""
        return await _done(self._more, work, *arguments)

    def submit(self, work: Callable[..., Result], *arguments: Any) -> "Future[Result]":
        """Begins what takes as long as there are bytes or names."""
        return self._more.submit(work, *arguments)

    def later(self, work: Callable[..., object], *arguments: Any) -> None:
        """Does something when it does not matter when."""
        self._last.submit(work, *arguments)

    def close(self) -> None:
        """Ends when everything that was asked for is done."""
        self._few.shutdown()
        self._more.shutdown()
        self._last.shutdown()


async def _done(pool: Executor, work: Callable[..., Result], *arguments: Any) -> Result:
    return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
