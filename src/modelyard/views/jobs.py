"""Jobs as JSON, each for its owner: lists, stages, events, and a way to stop them."""

import asyncio
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from modelyard import events
from modelyard.engines.base import Engine
from modelyard.jobs.model import Job, StageRecord, Status
from modelyard.jobs.store import Store
from modelyard.links import Links
from modelyard.views.ask import DEFAULT_LIMIT, Ask, Refused, Views


class JobsView:
    """The pages over the jobs of all kinds."""

    def __init__(self, store: Store, engine: Engine, links: Links, wake: Callable[[], None]) -> None:
        self._store = store
        self._engine = engine
        self._links = links
        self._wake = wake
        self.views: Views = {
            "/-/jobs/": ("GET", self._list),
            "/-/jobs/show": ("GET", self._show),
            "/-/jobs/events": ("GET", self._events),
            "/-/jobs/stop": ("POST", self._stop),
        }

    def _list(self, ask: Ask) -> Any:
        return {"jobs": [self._summary(job) for job in self._store.newest(ask.owner, ask.limit())]}

    def _show(self, ask: Ask) -> Any:
        job = self._job(ask)
        shown = {**self._summary(job), "request": job.request, "stages": self._stages(job)}
        return _of_many(shown) if _is_of_many(job) else shown

    async def _events(self, ask: Ask) -> Any:
        """The events of one stage after `since`, and the value of `since` for what follows."""
        job = self._job(ask)
        try:
            record = job.stage(ask.required("stage"))
            since = events.Position.parse(ask.query.get("since", str(events.Position())))
        except KeyError:
            names = ", ".join(record.stage.name for record in job.stages)
            raise Refused(404, f"{ask.query['stage'][:80]!r} is no stage of this job; its stages: {names}") from None
        except ValueError as error:
            raise Refused(400, f"since: {error}") from None
        if _is_of_many(job):
            return {"events": [], "since": str(since), "more": False}
        found, position = await asyncio.to_thread(events.read, self._engine, record, since)
        return {"events": found, "since": str(position), "more": position != since}

    async def _stop(self, ask: Ask) -> Any:
        job = self._job(ask)
        await self._store.stop(ask.owner, job.kind, job.id)
        self._wake()
        return self._summary(self._store.get(ask.owner, job.kind, job.id))

    def _job(self, ask: Ask) -> Job:
        """The job that `id` names (by id or by name), with `kind` where several of the owner's are called so."""
        name = ask.required("id")
        found = self._store.called(ask.owner, name)
        if kind := ask.query.get("kind"):
            found = [one for one in found if one[0] == kind]
        if len(found) > 1:
            kinds = ", ".join(kind for kind, _ in found)
            raise Refused(409, f"Several jobs have the id {name!r}; tell the kind: {kinds}")
        if not found:
            raise Refused(404, f"There is no job {name[:255]!r}" + self._near(ask, name))
        return self._store.get(ask.owner, *found[0])

    def _near(self, ask: Ask, id: str) -> str:
        ids = [job.name or job.id for job in self._store.newest(ask.owner, DEFAULT_LIMIT)]
        near = difflib.get_close_matches(id[:255], ids) or ids[:3]
        return f"; there is {', '.join(near)}" if near else "; there are no jobs of this account and region"

    def _summary(self, job: Job) -> dict[str, Any]:
        current = next((record for record in job.stages if not record.status.final), job.stages[-1])
        running = job.status in (Status.RUNNING, Status.STOPPING) and current.status is Status.RUNNING
        told = not _is_of_many(job)
        return {
            "id": job.id,
            "name": job.name,
            "kind": job.kind,
            "status": job.status,
            "stage": current.stage.name,
            "created": job.created,
            "ended": job.ended,
            "failure": job.failure if told else job.failure and _ELSEWHERE,
            "progress": events.latest(self._engine, current) if running and told else None,
        }

    def _stages(self, job: Job) -> list[dict[str, Any]]:
        """The stages; each waits from `queued` to `started`."""
        stages, queued = [], [job.created, *(record.ended for record in job.stages)]
        for record, since in zip(job.stages, queued, strict=False):
            stages.append({"queued": since, **self._stage(record)})
        return stages

    def _stage(self, record: StageRecord) -> dict[str, Any]:
        return {
            "name": record.stage.name,
            "run": record.stage.run,
            "task": record.task,
            "status": record.status,
            "cores": record.stage.spec.cores,
            "attempt": record.attempt,
            "started": record.started,
            "ended": record.ended,
            "failure": record.failure,
            "parameters": record.stage.spec.parameters,
            "result": record.result,
            "output": record.stage.publish,
            "log": self._links.path(record.task) if record.attempt else None,
        }


_OF_MANY = "modelyard.workloads.cleanroom."
_ELSEWHERE = "told by the operations of Clean Rooms"


def _is_of_many(job: Job) -> bool:
    """Whether a job works on what several parties brought: its owner may not know all that is known of it."""
    return any(record.stage.spec.entry_point.startswith(_OF_MANY) for record in job.stages)


def _of_many(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Such a job without what may be another party's: tables, places, policies, results, failures and logs."""
    hidden: dict[str, Any] = {"parameters": {}, "result": {}, "output": None, "log": None}
    stages = [{**one, **hidden, "failure": one["failure"] and _ELSEWHERE} for one in shown["stages"]]
    return {**shown, "request": {}, "stages": stages}
