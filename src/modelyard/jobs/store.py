"""The job store: what was accepted, how it stands, and who looks after it now."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, bindparam, insert, or_, select, update

from modelyard.database import Database, Query
from modelyard.engines.base import TaskSpec
from modelyard.jobs.model import AlreadyExists, Job, LeaseLost, NotFound, Owner, Stage, StageRecord, Status
from modelyard.tables import jobs, tasks

LEASE_SECONDS = 30.0


@dataclass(frozen=True)
class Claim:
    """The right to look after a task until the lease ends; renewed while it is exercised.

    losses: attempts that vanished under a supervisor's eyes.
    stop: whether the job is to be stopped.
    """

    token: str
    task: str
    stage: Stage
    attempt: int
    losses: int
    started: int | None
    job: int | None
    deployment: int | None
    stop: bool

    @property
    def slots(self) -> int:
        """The slots that the task takes: none if it serves, or is to be stopped before it began."""
        return 0 if self.job is None or (self.stop and not self.attempt) else self.stage.spec.cores


@dataclass(frozen=True)
class Standing:
    """How a task stands, of a job or of a deployment: `attempt` is the latest one, 0 before the first."""

    status: Status
    attempt: int


class Store:
    """Jobs and their stages. Coroutines write and are fenced by the claim's token; the rest reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._job = lru_cache(maxsize=256)(self._read)

    def get(self, owner: Owner, kind: str, id: str) -> Job:
        """The job; NotFound if there is none of this owner."""
        stands = self._database.read(_STANDS, account=owner.account, region=owner.region, kind=kind, id=id)
        if not stands:
            raise NotFound(id)
        return self._job(*stands)

    def list_ids(self, owner: Owner, kind: str, limit: int) -> list[str]:
        """Ids, newest first."""
        rows = self._database.read(_IDS, account=owner.account, region=owner.region, kind=kind, limit=limit)
        return [id for (id,) in rows]

    def newest(self, owner: Owner, limit: int) -> list[Job]:
        """Jobs of all kinds, newest first."""
        keys = self._database.read(_NEWEST, account=owner.account, region=owner.region, limit=limit)
        return [self._read((key,)) for (key,) in keys]

    def kinds(self, owner: Owner, id: str) -> list[str]:
        """The kinds of the owner's jobs that have this id, newest first."""
        rows = self._database.read(_KINDS, account=owner.account, region=owner.region, id=id)
        return [kind for (kind,) in rows]

    def standing(self, task: str) -> Standing:
        """How a task stands; NotFound if there is no such task."""
        rows = self._database.read(_STANDING, task=task)
        if not rows:
            raise NotFound(task)
        status, attempt = rows[0]
        return Standing(Status(status), attempt)

    def owner_of_task(self, task: str) -> Owner:
        """Whose job a task belongs to; NotFound if there is no such task."""
        rows = self._database.read(_OWNER_OF_TASK, task=task)
        if not rows:
            raise NotFound(task)
        return Owner(*rows[0])

    async def create(self, owner: Owner, kind: str, id: str, request: Mapping[str, Any], plan: Sequence[Stage]) -> Job:
        """Accepts a job; from here on it ends, come what may. AlreadyExists if the owner's id is taken."""

        def work(connection: Connection) -> None:
            same = (
                jobs.c.account == owner.account,
                jobs.c.region == owner.region,
                jobs.c.kind == kind,
                jobs.c.id == id,
            )
            if (taken := connection.execute(select(jobs.c.request).where(*same)).scalar()) is not None:
                raise AlreadyExists(id, orjson.loads(taken))
            job = {
                "account": owner.account,
                "region": owner.region,
                "kind": kind,
                "id": id,
                "request": orjson.dumps(request).decode(),
                "status": Status.QUEUED,
                "created": now(),
            }
            key = connection.execute(insert(jobs), job).lastrowid
            stages = [
                {
                    "id": uuid.uuid4().hex,
                    "job": key,
                    "position": position,
                    "stage": orjson.dumps(stage).decode(),
                    "status": Status.WAITING if position else Status.QUEUED,
                }
                for position, stage in enumerate(plan)
            ]
            connection.execute(insert(tasks), stages)

        await self._database.write(work)
        return self.get(owner, kind, id)

    async def stop(self, owner: Owner, kind: str, id: str, clean: bool = False) -> None:
        """Wishes a job's end; `clean` also wishes its published outputs gone. A job that has ended stays as it is."""
        key = self.get(owner, kind, id).key

        def work(connection: Connection) -> None:
            live = (jobs.c.key == key, jobs.c.status.in_([Status.QUEUED, Status.RUNNING]))
            connection.execute(update(jobs).where(*live).values(status=Status.STOPPING))
            if clean:
                connection.execute(update(jobs).where(jobs.c.key == key).values(clean=True))

        await self._database.write(work)

    async def release_all(self) -> None:
        """Ends every lease: for the start of the only server that uses this database."""
        await self._database.write(lambda connection: connection.execute(update(tasks).values(token=None)))

    async def claim(self, free: int) -> list[Claim]:
        """Takes what nobody looks after, oldest first: tasks that run (or may) already, and new ones into `free` slots.

        The first new stage that does not fit holds back those behind it, so that a large one is never starved.
        """

        def work(connection: Connection) -> list[Claim]:
            left, claims = free, []
            for row in connection.execute(_CLAIMABLE, {"now": time.time()}).mappings():
                claim = _claim(row)
                cores = claim.slots
                if row["status"] == Status.QUEUED and cores > left:
                    left = 0
                    continue
                left -= cores
                claims.append(claim)
                connection.execute(_LEASE, {"task": claim.task, "t": claim.token, "until": time.time() + LEASE_SECONDS})
            return claims

        return await self._database.write(work) if self._database.read(_UNCLAIMED, now=time.time()) else []

    async def renew(self, claim: Claim) -> None:
        """Keeps a lease for another `LEASE_SECONDS`; LeaseLost if another supervisor has it."""
        await self._write_task(claim, leased_until=time.time() + LEASE_SECONDS)

    def stop_wished(self, claim: Claim) -> bool:
        """Whether the claim's job is to be stopped."""
        return self._database.read(_STATUS_OF_JOB, key=claim.job) == [(Status.STOPPING,)]

    async def begin(self, claim: Claim, attempt: int, losses: int) -> None:
        """Notes that an attempt is about to start: written before it starts, so that none is ever forgotten."""

        def work(connection: Connection) -> None:
            started = claim.started or now()
            _write_task(connection, claim, attempt=attempt, losses=losses, started=started, status=Status.RUNNING)
            queued = (jobs.c.key == claim.job, jobs.c.status == Status.QUEUED)
            connection.execute(update(jobs).where(*queued).values(status=Status.RUNNING))

        await self._database.write(work)

    async def complete(self, claim: Claim, result: Mapping[str, Any]) -> None:
        """Ends a stage well: the next one's turn comes, or the job is completed."""

        def work(connection: Connection) -> None:
            ended = {"status": Status.COMPLETED, "ended": now(), "result": orjson.dumps(result).decode(), "token": None}
            _write_task(connection, claim, **ended)
            following = (
                select(tasks.c.id)
                .where(tasks.c.job == claim.job, tasks.c.status == Status.WAITING)
                .order_by(tasks.c.position)
                .limit(1)
            )
            if task := connection.execute(following).scalar():
                connection.execute(update(tasks).where(tasks.c.id == task).values(status=Status.QUEUED))
            else:
                _end_job(connection, claim.job, Status.COMPLETED, None)

        await self._database.write(work)

    async def end(self, claim: Claim, status: Status, failure: str | None) -> None:
        """Ends a stage, and its job with it: FAILED with a reason, or STOPPED. Later stages never start."""

        def work(connection: Connection) -> None:
            _write_task(connection, claim, status=status, ended=now(), failure=failure, token=None)
            waiting = (tasks.c.job == claim.job, tasks.c.status == Status.WAITING)
            connection.execute(update(tasks).where(*waiting).values(status=Status.STOPPED))
            _end_job(connection, claim.job, status, failure)

        await self._database.write(work)

    def to_clean(self) -> list[Job]:
        """Jobs that have ended and whose outputs are to be deleted."""
        return [self._read((key,)) for (key,) in self._database.read(_TO_CLEAN)]

    async def cleaned(self, job: Job) -> None:
        """Notes that a job's outputs are gone."""
        done = update(jobs).where(jobs.c.key == job.key).values(clean=False)
        await self._database.write(lambda connection: connection.execute(done))

    def _read(self, *stands: tuple[Any, ...]) -> Job:
        """The whole job with the key that comes first.

        What was asked, planned and found is long, and only changes with how the job stands: hence `get` reads that,
        and this once for each standing.
        """
        return _job(self._database.read(_WHOLE, key=stands[0][0]))

    async def _write_task(self, claim: Claim, **values: Any) -> None:
        await self._database.write(lambda connection: _write_task(connection, claim, **values))


def now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def _write_task(connection: Connection, claim: Claim, **values: Any) -> None:
    mine = (tasks.c.id == claim.task, tasks.c.token == claim.token)
    if connection.execute(update(tasks).where(*mine).values(**values)).rowcount != 1:
        raise LeaseLost(claim.task)


def _end_job(connection: Connection, key: int | None, status: Status, failure: str | None) -> None:
    connection.execute(update(jobs).where(jobs.c.key == key).values(status=status, ended=now(), failure=failure))


def _stage(document: str) -> Stage:
    fields = orjson.loads(document)
    return Stage(**{**fields, "spec": TaskSpec(**fields["spec"])})


def _claim(row: RowMapping) -> Claim:
    return Claim(
        token=uuid.uuid4().hex,
        task=row["id"],
        stage=_stage(row["stage"]),
        attempt=row["attempt"],
        losses=row["losses"],
        started=row["started"],
        job=row["job"],
        deployment=row["deployment"],
        stop=row["job_status"] == Status.STOPPING,
    )


def _job(rows: Sequence[Any]) -> Job:
    key, account, region, kind, id, request, status, created, ended, failure, *_ = rows[0]
    return Job(
        key=key,
        owner=Owner(account, region),
        kind=kind,
        id=id,
        request=orjson.loads(request),
        status=Status(status),
        created=created,
        ended=ended,
        failure=failure,
        stages=[_stage_record(row[10:]) for row in rows],
    )


def _stage_record(row: Sequence[Any]) -> StageRecord:
    task, stage, status, attempt, started, ended, failure, result = row
    return StageRecord(
        task=task,
        stage=_stage(stage),
        status=Status(status),
        attempt=attempt,
        started=started,
        ended=ended,
        failure=failure,
        result=orjson.loads(result) if result else {},
    )


_WHOLE = Query(
    select(
        jobs.c.key,
        jobs.c.account,
        jobs.c.region,
        jobs.c.kind,
        jobs.c.id,
        jobs.c.request,
        jobs.c.status,
        jobs.c.created,
        jobs.c.ended,
        jobs.c.failure,
        tasks.c.id,
        tasks.c.stage,
        tasks.c.status,
        tasks.c.attempt,
        tasks.c.started,
        tasks.c.ended,
        tasks.c.failure,
        tasks.c.result,
    )
    .join(tasks, tasks.c.job == jobs.c.key)
    .where(jobs.c.key == bindparam("key"))
    .order_by(tasks.c.position)
)
_OWNED = (jobs.c.account == bindparam("account"), jobs.c.region == bindparam("region"))
_OF_KIND = (*_OWNED, jobs.c.kind == bindparam("kind"))

_STANDS = Query(
    select(
        jobs.c.key,
        jobs.c.status,
        jobs.c.ended,
        jobs.c.failure,
        tasks.c.status,
        tasks.c.attempt,
        tasks.c.started,
        tasks.c.ended,
        tasks.c.failure,
    )
    .join(tasks, tasks.c.job == jobs.c.key)
    .where(*_OF_KIND, jobs.c.id == bindparam("id"))
    .order_by(tasks.c.position)
)
_IDS = Query(select(jobs.c.id).where(*_OF_KIND).order_by(jobs.c.key.desc()).limit(bindparam("limit")))
_NEWEST = Query(select(jobs.c.key).where(*_OWNED).order_by(jobs.c.key.desc()).limit(bindparam("limit")))
_STATUS_OF_JOB = Query(select(jobs.c.status).where(jobs.c.key == bindparam("key")))
_TO_CLEAN = Query(select(jobs.c.key).where(jobs.c.clean, jobs.c.ended.is_not(None)))
_OWNER_OF_TASK = Query(
    select(jobs.c.account, jobs.c.region).join(tasks, tasks.c.job == jobs.c.key).where(tasks.c.id == bindparam("task"))
)
_KINDS = Query(select(jobs.c.kind).where(*_OWNED, jobs.c.id == bindparam("id")).order_by(jobs.c.key.desc()))
_STANDING = Query(select(tasks.c.status, tasks.c.attempt).where(tasks.c.id == bindparam("task")))
_FREE = (
    or_(tasks.c.status == Status.QUEUED, tasks.c.status == Status.RUNNING),
    or_(tasks.c.token.is_(None), tasks.c.leased_until < bindparam("now")),
)
_UNCLAIMED = Query(select(tasks.c.id).where(*_FREE).limit(1))
_CLAIMABLE = (
    select(tasks, jobs.c.status.label("job_status"))
    .join(jobs, tasks.c.job == jobs.c.key, isouter=True)
    .where(*_FREE)
    .order_by(tasks.c.status.desc(), tasks.c.job, tasks.c.position)
)
_LEASE = (
    update(tasks).where(tasks.c.id == bindparam("task")).values(token=bindparam("t"), leased_until=bindparam("until"))
)
