"""Language models on demand: a base model is loaded when somebody first asks for it, and unloaded when nobody does.

All accounts share the serving task of a base model; which adapters an account may name is for the services to say.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelyard.engines.base import TaskSpec
from modelyard.jobs.deployments import Deployments, Serving
from modelyard.jobs.model import AlreadyExists, NotFound, Owner, ServiceStatus, Stage
from modelyard.jobs.serving import Connections, NotListening, Reply, ServingLost

log = logging.getLogger(__name__)

KIND = "language model"
OWNER = Owner("", "")
"""No account's: the deployments of base models are the server's own."""

HOLD_SECONDS = 30.0
"""How long a request waits for its model to be loaded."""
LOOK_SECONDS = 0.02
"""How often a request that waits looks whether its model is there."""
_MOST_MODELS = 1000


@dataclass(frozen=True)
class ServedModel:
    """What a model identifier stands for.

    base: the folder of the base model, or of any full weights. adapter: that of an adapter to it, if there is one.
    family: whose bodies it takes, see `modelyard.families`. arn: of what was named. instruct: whether it has a chat
    template.
    """

    base: Path
    adapter: Path | None
    family: str
    arn: str
    instruct: bool = True

    @property
    def imported(self) -> bool:
        """Whether it is an imported model: those take bodies of several forms."""
        return ":imported-model/" in self.arn


class NotReady(Exception):
    """The model is still being loaded."""


class CannotLoad(Exception):
    """The model's serving task has failed; the message says why."""


@dataclass
class _Use:
    """How a base model is used: requests under way, and the time (monotonic) of the latest one's end."""

    last: float
    requests: int = 0
    unloading: bool = False


class OnDemand:
    """The base models that are loaded, by their folders.

    spec: makes the task that serves the model in a folder. idle_seconds: how long nobody asks before a model is
    unloaded, unless it is `kept`.
    """

    def __init__(
        self,
        deployments: Deployments,
        connections: Connections,
        wake: Callable[[], None],
        spec: Callable[[str], TaskSpec],
        idle_seconds: float,
        hold_seconds: float = HOLD_SECONDS,
        kept: Callable[[str], bool] = lambda base: False,
    ) -> None:
        self._deployments = deployments
        self._connections = connections
        self._wake = wake
        self._spec = spec
        self._idle_seconds = idle_seconds
        self._hold_seconds = hold_seconds
        self._kept = kept
        self._uses: dict[str, _Use] = {}
        self._loading = asyncio.Lock()

    async def stream(
        self, base: str, header: Mapping[str, Any], body: bytes, timeout: float
    ) -> AsyncGenerator[Reply, None]:
        """Asks a base model, which is loaded first if it must be; see `Connection.stream` for the frames.

        A request whose model goes away before it answers is sent once more, since it changes nothing.
        NotReady if loading takes longer than the request is held, CannotLoad if it fails, ServingLost if the model
        goes away (it is loaded again), TimeoutError if a frame takes longer than `timeout` seconds.
        """
        use = self._uses.setdefault(base, _Use(time.monotonic()))
        use.requests += 1
        try:
            deadline, waited, begun, losses = time.monotonic() + self._hold_seconds, False, False, 0
            while True:
                task = await self._task(base, use, deadline, waited)
                try:
                    async with aclosing(self._connections.stream(task, header, body, timeout)) as replies:
                        async for reply in replies:
                            begun = True
                            yield reply
                    return
                except NotListening:
                    pass
                except ServingLost:
                    if begun or losses:
                        raise
                    losses += 1
                await self._wait(base, deadline)
                waited = True
        finally:
            use.requests -= 1
            use.last = time.monotonic()

    async def run(self) -> None:
        """Unloads what nobody has asked for in a while, until it is cancelled."""
        while True:
            await asyncio.sleep(min(self._idle_seconds / 4, 10.0))
            try:
                for base in self._deployments.list_ids(OWNER, KIND, _MOST_MODELS):
                    await self._unload_if_idle(base)
            except Exception:  # one failure is no reason never to unload anything again
                log.exception("looking for idle models failed; tried again in a moment")

    async def _unload_if_idle(self, base: str) -> None:
        """Counts from when this server first saw it loaded, so that a restart unloads nothing too early."""
        use = self._uses.setdefault(base, _Use(time.monotonic()))
        if use.requests or time.monotonic() < use.last + self._idle_seconds or self._kept(base):
            return
        use.unloading = True
        try:
            with suppress(NotFound):
                await self._deployments.delete(OWNER, KIND, base)
        finally:
            use.unloading = False
        self._wake()

    async def _task(self, base: str, use: _Use, deadline: float, waited: bool) -> str:
        """The task that serves a base model, when there is one.

        A model that had failed before is tried again; `waited` says that this request has seen it tried.
        """
        while True:
            found = self._find(base)
            failed = found is not None and found.status is ServiceStatus.FAILED
            if failed and waited:
                raise CannotLoad(self._deployments.get(OWNER, KIND, base).failure)
            if found is None or failed:
                await self._load(base)
            elif found.task and found.status is not ServiceStatus.DELETING and not use.unloading:
                return found.task
            await self._wait(base, deadline)
            waited = True

    async def _wait(self, base: str, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise NotReady(f"the model is still being loaded after {self._hold_seconds:g} seconds: {Path(base).name}")
        await asyncio.sleep(LOOK_SECONDS)

    async def _load(self, base: str) -> None:
        """Has a base model served: one that is not, or that failed when somebody asked for it before."""
        stage = Stage(name="serving", run=Path(base).name, spec=self._spec(base))
        async with self._loading:
            found = self._find(base)
            if found is None:
                with suppress(AlreadyExists):
                    await self._deployments.create(OWNER, KIND, base, base, {"base": base}, stage)
            elif found.status is ServiceStatus.FAILED:
                await self._deployments.update(OWNER, KIND, base, {"base": base}, stage)
        self._wake()

    def _find(self, base: str) -> Serving | None:
        try:
            return self._deployments.find(OWNER, KIND, base)
        except NotFound:
            return None
