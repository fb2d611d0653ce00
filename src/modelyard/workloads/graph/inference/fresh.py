"""What a serving task asks its worker: vectors that no transform has computed (see `inductive.py`).

The worker has PyTorch and the model in memory. It is forked from the resident parent with the first request that needs
it, and ends after idle minutes, so that a task that is never asked for anything new stays small.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from modelyard.runner.context import Context, Worker
from modelyard.runner.serving import RequestError

_ENTRY_POINT = "modelyard.workloads.graph.inference.inductive:work"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Computed:
    """An answer of the worker.

    known: which of the nodes that were asked for there are, bool `[num_targets]`. vectors: of those, float32
    `[num_known, channels]`. features: of the pairs that were asked for, None where the request adds no such edge.
    """

    known: np.ndarray
    vectors: np.ndarray
    features: list[list[float] | None]


class Fresh:
    """Asks the worker, one request at a time; starts it, again if it has ended."""

    def __init__(self, context: Context, folder: Path) -> None:
        self._context = context
        self._folder = folder
        self._worker: Worker | None = None
        self._turn = asyncio.Lock()

    async def compute(self, **message: Any) -> Computed:
        """See `inductive.Inductive.compute`; RequestError if there is something wrong with the request."""
        if not (self._folder / "inductive").exists():
            raise RequestError("this endpoint's model answers for the graph of its transform only: send no graph")
        async with self._turn:
            reply = await asyncio.to_thread(self._ask, message)
        if "error" in reply:
            raise RequestError(reply["error"])
        channels = (len(reply["vectors"]), -1) if reply["vectors"] else (0, 0)
        vectors = np.array(reply["vectors"], np.float32).reshape(channels)
        return Computed(np.array(reply["known"], bool), vectors, reply["features"])

    def _ask(self, message: Mapping[str, Any], tries: int = 2) -> dict[str, Any]:
        if self._worker is None:
            _log.info("a request brings a graph of its own: starting the worker that computes")
            self._worker = self._context.fork(_ENTRY_POINT, {**self._context.parameters, "model": str(self._folder)})
        channel = self._worker.channel
        try:
            channel.send(**message)
            reply = channel.receive()
        except BrokenPipeError:
            reply = None
        if reply is not None:
            return reply
        channel.close()
        self._worker = None
        if tries == 1:
            raise RequestError("the process that computes predictions ended; the endpoint's log says why", 500)
        return self._ask(message, tries - 1)
