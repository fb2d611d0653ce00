"""Reads a job again and again: how it stands, and what its stages have reported since the last time."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from modelyard.console.client import Client, NoAnswer, ServerError
from modelyard.console.trials import Run

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 60.0
"""How long a server may be away: jobs outlive its restart."""

FINAL = ("completed", "failed", "stopped")
Job = Mapping[str, Any]


class Following:
    """One job, and in `runs` what each of its stages has reported."""

    def __init__(self, client: Client, id: str, kind: str | None) -> None:
        self._client = client
        self._query = {"id": id, "kind": kind}
        self._since: dict[str, str] = {}
        self._read: set[str] = set()
        self.runs: dict[str, Run] = {}

    def read(self) -> Job:
        """The job as it stands; its runs know at least as much."""
        job: Job = self._client.get("jobs/show", **self._query)
        for stage in job["stages"]:
            if stage["attempt"] and stage["name"] not in self._read:
                self._read_events(stage["name"])
                if stage["status"] in FINAL:
                    self._read.add(stage["name"])
        return job

    def until_it_ends(self) -> Iterator[Job]:
        """The job every half a second, the last time when it has ended; waits for a server that is away."""
        away_since = None
        while True:
            try:
                job = self.read()
                away_since = None
                yield job
                if job["status"] in FINAL:
                    return
            except NoAnswer:
                away_since = away_since or time.monotonic()
                if time.monotonic() > away_since + PATIENCE_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)

    def logs(self, stage: str | None, follow: bool) -> Iterator[str]:
        """The logs of a stage or of all that have begun, in pieces; with `follow` of all until the job ends."""
        printed: set[str] = set()
        job = self.read()
        if stage is not None and stage not in (names := [one["name"] for one in job["stages"]]):
            raise ServerError(f"{stage!r} is no stage of this job; its stages: {', '.join(names)}")
        while True:
            for one in job["stages"]:
                if one["log"] and one["name"] not in printed and stage in (None, one["name"]):
                    printed.add(one["name"])
                    if len(job["stages"]) > 1 and stage is None:
                        yield f"=== {one['name']} ===\n"
                    yield from self._client.stream(one["log"] + ("&follow=1" if follow else ""))
            if not follow or stage in printed or job["status"] in FINAL:
                return
            time.sleep(POLL_SECONDS)
            job = self._client.get("jobs/show", **self._query)

    def _read_events(self, name: str) -> None:
        run, more = self.runs.setdefault(name, Run()), True
        while more:
            answer = self._client.get("jobs/events", stage=name, since=self._since.get(name), **self._query)
            for event in answer["events"]:
                run.take(event)
            self._since[name], more = answer["since"], answer["more"]
