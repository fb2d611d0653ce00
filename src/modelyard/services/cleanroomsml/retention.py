"""Retention: the rows of a channel are deleted when its days are over, and what was to be deleted is gone at last."""

import asyncio
import logging
from collections.abc import Iterator

from modelyard.jobs.model import Resource
from modelyard.jobs.store import now
from modelyard.services.cleanroomsml import uses
from modelyard.services.cleanroomsml.backend import CHANNEL, MODEL, VERSION, Backend
from modelyard.services.cleanroomsml.records import ERASED, Record, erase, record
from modelyard.wire.errors import Fault

log = logging.getLogger(__name__)

LOOK_SECONDS = 60.0
"""How often channels are looked at."""


class Retention:
    """Runs in the server's event loop."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            try:
                await self.look()
            except Exception:  # one failure is no reason to keep everything for ever
                log.exception("looking for expired channels failed; tried again in a minute")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Deletes what has expired, and goes on with deletions that a server's end has cut short."""
        for found in self._due():
            try:
                await erase(self._backend, found, uses.entries(found.facts, "expired"))
            except Fault:  # a job still reads it: next time
                log.info("%s has expired, and is still used", found.arn)

    def _due(self) -> Iterator[Record]:
        for resource, kind in self._resources():
            found = record(self._backend, resource, kind)
            if resource.status == ERASED:
                if self._backend.folder(found.facts["folder"]).exists():
                    yield found
            elif found.facts.get("expires", now()) < now() and found.job.status.final:
                yield found

    def _resources(self) -> Iterator[tuple[Resource, str]]:
        for kind, job in ((CHANNEL, CHANNEL), (VERSION, MODEL)):
            for resource in self._backend.resources.all_of(kind):
                yield resource, job
