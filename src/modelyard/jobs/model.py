"""Jobs, stages and resources as the core knows them: no AWS shape, no SQL."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from modelyard.engines.base import TaskSpec


class Status(StrEnum):
    """Where a job or one of its stages stands."""

    WAITING = "waiting"
    """A stage whose turn has not come."""
    QUEUED = "queued"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def final(self) -> bool:
        """Whether nothing can change it any more."""
        return self in (Status.STOPPED, Status.COMPLETED, Status.FAILED)


class Keep(StrEnum):
    """How long what a stage published stays. A stop with `clean` ends it all the same."""

    ALWAYS = "always"
    IF_COMPLETED = "if completed"
    """Gone if the job fails or is stopped."""
    WHILE_RUNNING = "while running"
    """For later stages alone: gone when the job ends."""
    HANDED_OVER = "handed over"
    """It is somebody else's from then on, and stays whatever becomes of the job."""


class ServiceStatus(StrEnum):
    """Where a deployment stands."""

    CREATING = "creating"
    IN_SERVICE = "in service"
    UPDATING = "updating"
    FAILED = "failed"
    DELETING = "deleting"


@dataclass(frozen=True)
class Owner:
    """Whose something is: ids, jobs, logs and buckets of one owner are out of reach for every other."""

    account: str
    region: str


@dataclass(frozen=True)
class Stage:
    """One step of a job's plan.

    name: its part in the job: unique there, and what people see.
    run: the name of this very run, which its output's place carries; of a service's making.
    spec: what runs. Its inputs are URIs, resolved when the stage starts.
    publish: the URI under which the output appears, whole, when the stage has succeeded.
    timeout: seconds from the stage's first start.
    keep: how long what was published stays.
    partial: whether a stage that was stopped, and ended well all the same, publishes what it has.
    optional: whether the job goes on when this stage has failed.
    """

    name: str
    run: str
    spec: TaskSpec
    publish: str | None = None
    timeout: float | None = None
    keep: Keep = Keep.ALWAYS
    partial: bool = False
    optional: bool = False

    def kept(self, status: Status, clean: bool = False) -> bool:
        """Whether what was published outlives a job that ended with this status, and was to be `clean` or not."""
        if clean or self.keep == Keep.HANDED_OVER:
            return self.keep == Keep.HANDED_OVER
        return self.keep == Keep.ALWAYS or (self.keep == Keep.IF_COMPLETED and status is Status.COMPLETED)


@dataclass(frozen=True)
class StageRecord:
    """A stage of an accepted job. `task` names its folder and its log. Times are milliseconds since the epoch."""

    task: str
    stage: Stage
    status: Status
    attempt: int = 0
    started: int | None = None
    ended: int | None = None
    failure: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Job:
    """An accepted job: what was asked, how it stands, and its stages in order.

    Each standing of a job is an object of its own, which may be a key for what is made of it.
    """

    key: int
    owner: Owner
    kind: str
    id: str
    name: str | None
    request: Mapping[str, Any]
    status: Status
    created: int
    ended: int | None
    failure: str | None
    stages: Sequence[StageRecord]

    def stage(self, name: str) -> StageRecord:
        """The stage of that name; KeyError if the plan has none."""
        for record in self.stages:
            if record.stage.name == name:
                return record
        raise KeyError(name)


@dataclass(frozen=True)
class Deployment:
    """Something that serves: an id and a name that both find it, and a pointer to the serving task.

    task: the one that answers now. next: the one that is to take over (a creation or an update), until it does.
    """

    key: int
    owner: Owner
    kind: str
    id: str
    name: str
    request: Mapping[str, Any]
    status: ServiceStatus
    created: int
    failure: str | None
    task: str | None
    next: str | None


RESERVED = "reserved"
"""The status of an id and a name that a running job will fill: seen by nobody."""
DELETED = "deleted"
"""The status of what is seen by nobody any more, until its files are gone too."""


@dataclass(frozen=True)
class Resource:
    """A noun that is no job: a document, and the few facts that it is looked up by.

    kind: what sort of noun; ids and names are unique within an owner's kind.
    status: a word of the service's, RESERVED, or DELETED.
    base: what it was made from, or stands for. root: what lies under it all. Both in the words of the service.
    created, updated: milliseconds since the epoch.
    """

    key: int
    owner: Owner
    kind: str
    id: str
    name: str | None
    status: str
    base: str | None
    root: str | None
    document: Mapping[str, Any]
    created: int
    updated: int


class AlreadyExists(Exception):
    """The id, the name or the token (`by`) is taken by `id`; `request` is what it was taken for."""

    def __init__(self, id: str, request: Mapping[str, Any], by: str = "id") -> None:
        super().__init__(id)
        self.id = id
        self.request = request
        self.by = by


class NotFound(Exception):
    """There is no such thing, or it is another account's."""


class LeaseLost(Exception):
    """Another supervisor has taken the task: whatever this one was about to write, it must not."""
