"""The supervisor: takes tasks that nobody looks after, and sees each of them to its end."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from modelyard.engines.base import Engine, Failed, Lost, Running, State, Succeeded, TaskSpec
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import LeaseLost, Status
from modelyard.jobs.store import LEASE_SECONDS, Claim, Store, now
from modelyard.storage.base import Storage
from modelyard.storage.names import ObjectError

log = logging.getLogger(__name__)
T = TypeVar("T")

SCAN_SECONDS = 1.0
"""How often unclaimed tasks are looked for when nobody wakes the supervisor."""
WATCH_SECONDS = 0.1
"""How often a task is asked how it stands."""
STOP_SECONDS = 10.0
"""How long a task that is asked to stop may take before it is killed."""
MAX_LOSSES = 4
"""How often a task may vanish under our eyes before its job fails."""
HEALTHY_SECONDS = 60.0
"""After that long in service, earlier losses of a serving task are forgiven."""


class Supervisor:
    """Runs in the server's event loop. Killed at any moment, its successor goes on where the database says."""

    def __init__(self, store: Store, deployments: Deployments, engine: Engine, storage: Storage) -> None:
        self._store = store
        self._deployments = deployments
        self._engine = engine
        self._storage = storage
        self._woken = asyncio.Event()
        self._claims: dict[asyncio.Task[None], Claim] = {}

    def wake(self) -> None:
        """Says that something was written that the supervisor should act on now."""
        self._woken.set()

    async def run(self) -> None:
        """Works until it is cancelled; tasks go on without it."""
        await self._store.release_all()
        try:
            while True:
                try:
                    await self._scan()
                except OSError as error:  # of a full disk, which passes: a traceback a second would fill it again
                    log.error("looking for tasks failed, tried again in a moment: %s", error)
                except Exception:  # whatever it is, the jobs that run are looked after all the same
                    log.exception("looking for tasks failed; tried again in a moment")
                with suppress(TimeoutError):
                    async with asyncio.timeout(SCAN_SECONDS):
                        await self._woken.wait()
                self._woken.clear()
        finally:
            for watcher in self._claims:
                watcher.cancel()

    async def _scan(self) -> None:
        """Claims tasks, and clears away what is not needed any more."""
        taken = sum(claim.slots for claim in self._claims.values())
        for claim in await self._store.claim(self._engine.slots - taken):
            watcher = asyncio.create_task(self._look_after(claim))
            self._claims[watcher] = claim
            watcher.add_done_callback(self._done)
        for task in await self._deployments.bury():
            await asyncio.to_thread(self._engine.forget, task)
        for job, outputs in self._store.to_sweep():
            for uri in outputs:
                await self._storage.remove(uri)
            for record in job.stages:
                await asyncio.to_thread(self._engine.clear, record.task)
            await self._store.swept(job)

    def _done(self, watcher: asyncio.Task[None]) -> None:
        del self._claims[watcher]
        self.wake()

    async def _look_after(self, claim: Claim) -> None:
        try:
            await (self._run(claim) if claim.job else self._serve(claim))
        except LeaseLost:
            log.warning("task %s: its lease had ended, as after a pause of the machine; taken up anew", claim.task)
        except OSError as error:
            log.error("task %s: looked after again when the lease has ended: %s", claim.task, error)
        except Exception:  # the lease ends, and another try begins
            log.exception("task %s: looking after it failed; tried again when the lease has ended", claim.task)

    async def _run(self, claim: Claim) -> None:
        """Sees a stage to its end: through attempts that are lost, a stop, or its time running out."""
        task, attempt, losses = claim.task, claim.attempt, claim.losses
        state: State = self._engine.state(task, attempt) if attempt else Lost("")
        while True:
            if isinstance(state, Running):
                state, wished = await self._watch(claim, attempt)
                if wished is Status.STOPPED and not (claim.stage.partial and isinstance(state, Succeeded)):
                    return await self._end_stage(claim, Status.STOPPED)
                if wished is Status.FAILED and not isinstance(state, Succeeded):
                    reason = f"timed out after {claim.stage.timeout:g} seconds"
                    return await self._end_stage(claim, Status.FAILED, reason)
                losses += isinstance(state, Lost)
            if isinstance(state, Succeeded):
                return await self._succeed(claim, attempt, state)
            if isinstance(state, Failed):
                return await self._end_stage(claim, Status.FAILED, state.reason)
            if self._store.stop_wished(claim):
                return await self._end_stage(claim, Status.STOPPED)
            if losses >= MAX_LOSSES:
                return await self._end_stage(claim, Status.FAILED, _lost(claim, state, losses))
            attempt += 1
            state = await self._start(claim, attempt, losses, partial(self._wanted, claim))
            losses += isinstance(state, Lost)
            claim = replace(claim, started=claim.started or now())

    def _wanted(self, claim: Claim) -> bool:
        return not self._store.stop_wished(claim)

    async def _watch(self, claim: Claim, attempt: int) -> tuple[State, Status | None]:
        """Waits for the end of an attempt, or brings it about: how it ended, and what was wished, if anything."""
        renewed = time.monotonic()
        while isinstance(state := self._engine.state(claim.task, attempt), Running):
            if self._store.stop_wished(claim):
                return await self._end(claim, attempt), Status.STOPPED
            if claim.stage.timeout and claim.started and time.time() > claim.started / 1000 + claim.stage.timeout:
                return await self._end(claim, attempt), Status.FAILED
            if time.monotonic() > renewed + LEASE_SECONDS / 3:
                await self._store.renew(claim)
                renewed = time.monotonic()
            await asyncio.sleep(WATCH_SECONDS)
        return state, None

    async def _end(self, claim: Claim, attempt: int) -> State:
        """Asks an attempt to stop, waits for a while, and kills what is left."""
        deadline = time.monotonic() + STOP_SECONDS
        while isinstance(self._engine.state(claim.task, attempt), Running) and time.monotonic() < deadline:
            self._engine.stop(claim.task, attempt)  # each time: one that has just begun has no process to ask yet
            await asyncio.sleep(0.05)
        await asyncio.to_thread(self._engine.kill, claim.task, attempt)
        return self._engine.state(claim.task, attempt)

    async def _start(
        self, claim: Claim, attempt: int, losses: int, wanted: Callable[[], bool], **parameters: Any
    ) -> State:
        """Starts an attempt that the database knows of, while it is wanted.

        What keeps it from starting is a loss like any other, unless it is the user's mistake.
        """
        await self._store.begin(claim, attempt, losses)
        try:
            spec = await self._keeping(claim, self._spec(claim, parameters), wanted)
            if spec is None:
                return Lost("it is not wanted any more")
            await self._keeping(claim, asyncio.to_thread(self._engine.start, claim.task, attempt, spec))
        except LeaseLost:
            raise
        except ObjectError as error:
            return Failed(str(error), input=True)
        except Exception as error:  # storages and engines fail in their own ways; all count as a loss
            log.exception("task %s: attempt %d did not start", claim.task, attempt)
            await asyncio.sleep(SCAN_SECONDS)
            return Lost(f"it could not be started: {error}")
        return Running()

    async def _succeed(self, claim: Claim, attempt: int, state: Succeeded) -> None:
        """Publishes the output, then moves the status: nobody sees half of either."""
        if claim.stage.publish:
            output = self._engine.attempt_folder(claim.task, attempt) / "output"
            try:
                await self._keeping(claim, self._storage.publish(output, claim.stage.publish))
            except LeaseLost:
                raise
            except Exception as error:  # of any storage: the user is told, the attempt is not repeated
                reason = f"the output could not be written to {claim.stage.publish}: {error}"
                return await self._end_stage(claim, Status.FAILED, reason)
        await self._forget_inputs(claim)
        await self._store.complete(claim, state.result)

    async def _end_stage(self, claim: Claim, status: Status, failure: str | None = None) -> None:
        await self._forget_inputs(claim)
        await self._store.end(claim, status, failure)

    async def _forget_inputs(self, claim: Claim) -> None:
        """Deletes the copies that were fetched for a stage: before its status moves, since nobody would after."""
        await asyncio.to_thread(shutil.rmtree, self._engine.inputs(claim.task), ignore_errors=True)

    async def _serve(self, claim: Claim) -> None:
        """Keeps a serving task alive for as long as its deployment wants it."""
        attempt, losses, socket = claim.attempt, claim.losses, self._engine.socket(claim.task)
        state: State = self._engine.state(claim.task, attempt) if attempt else Lost("")
        ready, since, renewed = False, time.monotonic(), time.monotonic()
        while self._deployments.wanted(claim):
            if isinstance(state, Running):
                if not ready and socket.exists():
                    await self._deployments.ready(claim)
                    ready = True
                if losses and time.monotonic() > since + HEALTHY_SECONDS:
                    losses = 0
                if time.monotonic() > renewed + LEASE_SECONDS / 3:
                    await self._store.renew(claim)
                    renewed = time.monotonic()
                await asyncio.sleep(WATCH_SECONDS)
                losses += not isinstance(state := self._engine.state(claim.task, attempt), Running)
                continue
            if isinstance(state, Failed) or losses >= MAX_LOSSES:
                reason = state.reason if isinstance(state, Failed) else _lost(claim, state, losses)
                return await self._deployments.failed(claim, reason)
            attempt += 1
            wanted = partial(self._deployments.wanted, claim)
            state = await self._start(claim, attempt, losses, wanted, socket=str(socket))
            losses += isinstance(state, Lost)
            ready, since = False, time.monotonic()
        if attempt:
            await self._end(claim, attempt)
        await self._deployments.ended(claim)
        await asyncio.to_thread(self._engine.forget, claim.task)

    async def _spec(self, claim: Claim, parameters: Mapping[str, Any]) -> TaskSpec:
        """The spec with its inputs' URIs as paths, once they can be read there, and what only the engine knows."""
        spec, folder = claim.stage.spec, self._engine.inputs(claim.task)
        inputs = {name: str(await self._storage.fetch(uri, folder / name)) for name, uri in spec.inputs.items()}
        return replace(spec, inputs=inputs, parameters={**spec.parameters, **parameters})

    async def _keeping(
        self, claim: Claim, work: Coroutine[Any, Any, T], wanted: Callable[[], bool] = lambda: True
    ) -> T | None:
        """What comes of work that may outlast the lease, which is renewed meanwhile; None if it is given up."""
        task, renewed = asyncio.create_task(work), time.monotonic()
        try:
            while not (await asyncio.wait([task], timeout=WATCH_SECONDS))[0]:
                if not wanted():
                    return None
                if time.monotonic() > renewed + LEASE_SECONDS / 3:
                    await self._store.renew(claim)
                    renewed = time.monotonic()
            return task.result()
        finally:
            task.cancel()
            await asyncio.wait([task])


def _lost(claim: Claim, state: State, losses: int) -> str:
    how = state.reason if isinstance(state, Lost) else "it ended"
    return (
        f"the task of stage {claim.stage.name} was lost {losses} times, the last time because {how}; "
        "if nobody killed it, the machine's memory was probably too small"
    )
