"""The job store: what was accepted, how it stands, and who looks after it now."""

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import Connection, RowMapping, bindparam, insert, or_, select, text, update

from modelyard.database import Database, Query
from modelyard.engines.base import TaskSpec
from modelyard.jobs import listing
from modelyard.jobs.listing import Page, Search
from modelyard.jobs.model import AlreadyExists, Job, LeaseLost, NotFound, Owner, Stage, StageRecord, Status
from modelyard.tables import jobs, tasks

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0

Within = Callable[[Connection], None]
"""What else is to happen in the transaction that accepts a job; an exception undoes all of it."""
Finish = Callable[[Connection, Job], None]
"""What else is to happen in the transaction that ends a job, however it ends. If it fails, so does the job, and it is
called once more to undo what it has kept for the job; then it must not fail."""


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
        self._finish: dict[str, Finish] = {}

    def at_end(self, kind: str, finish: Finish) -> None:
        """Has `finish` called with each job of a kind that ends: for the services, before the supervisor runs."""
        self._finish[kind] = finish

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

    def find(self, owner: Owner, kind: str, name: str) -> Job:
        """The job with this name; NotFound if there is none of this owner."""
        rows = self._database.read(_FIND, account=owner.account, region=owner.region, kind=kind, name=name)
        if not rows:
            raise NotFound(name)
        return self.get(owner, kind, rows[0][0])

    def with_token(self, owner: Owner, kind: str, token: str) -> Job | None:
        """The job that a client made with this token, if it did."""
        rows = self._database.read(_BY_TOKEN, account=owner.account, region=owner.region, kind=kind, token=token)
        return self.get(owner, kind, rows[0][0]) if rows else None

    def page(self, owner: Owner, kind: str, search: Search) -> Page[Job]:
        """Jobs by age."""
        keys = self._database.read(_PAGES[search.ascending], **search.parameters(owner, kind))
        items = [self._read(key) for key in keys[: search.limit]]
        return Page(items, items[-1].key if len(keys) > search.limit else None)

    def newest(self, owner: Owner, limit: int) -> list[Job]:
        """Jobs of all kinds, newest first."""
        keys = self._database.read(_NEWEST, account=owner.account, region=owner.region, limit=limit)
        return [self._read((key,)) for (key,) in keys]

    def called(self, owner: Owner, name: str) -> list[tuple[str, str]]:
        """Kind and id of the owner's jobs that have this id or this name, newest first."""
        return self._database.read(_CALLED, account=owner.account, region=owner.region, name=name)

    def will_publish(self, bucket: str) -> bool:
        """Whether a stage that has not ended is to publish something into a bucket."""
        return bool(self._database.read(_WILL_PUBLISH, start=f'"publish":"s3://{bucket}/'))

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

    async def create(
        self,
        owner: Owner,
        kind: str,
        id: str,
        request: Mapping[str, Any],
        plan: Sequence[Stage],
        name: str | None = None,
        token: str | None = None,
        within: Within = lambda _: None,
    ) -> Job:
        """Accepts a job; from here on it ends, come what may.

        AlreadyExists if the owner's id, name or token is taken for a job of this kind.
        """

        def work(connection: Connection) -> None:
            owned = (jobs.c.account == owner.account, jobs.c.region == owner.region, jobs.c.kind == kind)
            facts = {"token": token, "id": id, "name": name}
            for by, value in facts.items():
                taken = select(jobs.c.id, jobs.c.request).where(*owned, jobs.c[by] == value)
                if value is not None and (row := connection.execute(taken).first()):
                    raise AlreadyExists(row.id, orjson.loads(row.request), by)
            within(connection)
            job = {
                **facts,
                "account": owner.account,
                "region": owner.region,
                "kind": kind,
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
                connection.execute(update(jobs).where(jobs.c.key == key).values(clean=True, swept=False))

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
        """Ends a stage well: the next one's turn comes, or the job is completed (stopped, if that was wished)."""

        def work(connection: Connection) -> None:
            ended = {"status": Status.COMPLETED, "ended": now(), "result": orjson.dumps(result).decode(), "token": None}
            _write_task(connection, claim, **ended)
            self._go_on(connection, claim)

        await self._database.write(work)

    async def end(self, claim: Claim, status: Status, failure: str | None) -> None:
        """Ends a stage, and its job with it: FAILED with a reason, or STOPPED. Later stages never start.

        An optional stage that FAILED ends alone: the next one's turn comes.
        """

        def work(connection: Connection) -> None:
            _write_task(connection, claim, status=status, ended=now(), failure=failure, token=None)
            if claim.stage.optional and status is Status.FAILED:
                return self._go_on(connection, claim)
            waiting = (tasks.c.job == claim.job, tasks.c.status == Status.WAITING)
            connection.execute(update(tasks).where(*waiting).values(status=Status.STOPPED))
            self._end_job(connection, claim.job, status, failure)

        await self._database.write(work)

    def to_sweep(self) -> list[tuple[Job, list[str]]]:
        """Jobs that have ended, each with the URIs of the outputs that are not to stay."""
        ended = [(self._read((key,)), clean) for key, clean in self._database.read(_TO_SWEEP)]
        return [(job, list(_published(job, clean))) for job, clean in ended]

    async def swept(self, job: Job) -> None:
        """Notes that those outputs are gone."""
        done = update(jobs).where(jobs.c.key == job.key).values(clean=False, swept=True)
        await self._database.write(lambda connection: connection.execute(done))

    def _go_on(self, connection: Connection, claim: Claim) -> None:
        """Gives the next stage its turn; a job that has none left is completed."""
        following = (
            select(tasks.c.id)
            .where(tasks.c.job == claim.job, tasks.c.status == Status.WAITING)
            .order_by(tasks.c.position)
            .limit(1)
        )
        if task := connection.execute(following).scalar():
            connection.execute(update(tasks).where(tasks.c.id == task).values(status=Status.QUEUED))
        else:
            self._end_job(connection, claim.job, Status.COMPLETED, None)

    def _end_job(self, connection: Connection, key: int | None, status: Status, failure: str | None) -> None:
        """Ends a job. One that was to be stopped is stopped, whatever it came to meanwhile."""
        if connection.execute(select(jobs.c.status).where(jobs.c.key == key)).scalar() == Status.STOPPING:
            status, failure = Status.STOPPED, None
        connection.execute(update(jobs).where(jobs.c.key == key).values(status=status, ended=now(), failure=failure))
        try:
            self._tell(connection, key)
        except Exception as error:  # a service's: the job ends whatever that does
            log.exception("job %s: what is to happen at its end failed", key)
            failed = {"status": Status.FAILED, "failure": f"its outcome could not be kept: {error!r}"}
            connection.execute(update(jobs).where(jobs.c.key == key).values(**failed))
            self._tell(connection, key)

    def _tell(self, connection: Connection, key: int | None) -> None:
        """Has the job's service do what belongs to its end: all of it, or nothing."""
        job = _job(connection.execute(_WHOLE_JOB, {"key": key}).all())
        if finish := self._finish.get(job.kind):
            with connection.begin_nested():
                finish(connection, job)

    def _read(self, *stands: tuple[Any, ...]) -> Job:
        """The whole job with the key that comes first.

        What was asked, planned and found is long, and only changes with how the job stands: hence `get` reads that,
        and this once for each standing.
        """
        return _job(self._database.read(_WHOLE, key=stands[0][0]))

    async def _write_task(self, claim: Claim, **values: Any) -> None:
        await self._database.write(lambda connection: _write_task(connection, claim, **values))


def stop(connection: Connection, owner: Owner, kind: str, id: str) -> None:
    """`Store.stop` within a transaction; nothing happens to a job that has ended, or is not there."""
    owned = (jobs.c.account == owner.account, jobs.c.region == owner.region, jobs.c.kind == kind, jobs.c.id == id)
    live = jobs.c.status.in_([Status.QUEUED, Status.RUNNING])
    connection.execute(update(jobs).where(*owned, live).values(status=Status.STOPPING))


def request(connection: Connection, owner: Owner, kind: str, id: str) -> Mapping[str, Any]:
    """What a job was asked for, within a transaction; NotFound if it is not there."""
    owned = (jobs.c.account == owner.account, jobs.c.region == owner.region, jobs.c.kind == kind, jobs.c.id == id)
    found = connection.execute(select(jobs.c.request).where(*owned)).scalar()
    if found is None:
        raise NotFound(id)
    document: Mapping[str, Any] = orjson.loads(found)
    return document


def now() -> int:
    """Milliseconds since the epoch."""
    return int(time.time() * 1000)


def _write_task(connection: Connection, claim: Claim, **values: Any) -> None:
    mine = (tasks.c.id == claim.task, tasks.c.token == claim.token)
    if connection.execute(update(tasks).where(*mine).values(**values)).rowcount != 1:
        raise LeaseLost(claim.task)


def _published(job: Job, clean: bool) -> Iterator[str]:
    """Where outputs of an ended job may lie that are not to stay."""
    for record in job.stages:
        if record.stage.publish and record.attempt and not record.stage.kept(job.status, clean):
            yield record.stage.publish


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
    key, account, region, kind, id, name, request, status, created, ended, failure, *_ = rows[0]
    return Job(
        key=key,
        owner=Owner(account, region),
        kind=kind,
        id=id,
        name=name,
        request=orjson.loads(request),
        status=Status(status),
        created=created,
        ended=ended,
        failure=failure,
        stages=[_stage_record(row[11:]) for row in rows],
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


_WHOLE_JOB = (
    select(
        jobs.c.key,
        jobs.c.account,
        jobs.c.region,
        jobs.c.kind,
        jobs.c.id,
        jobs.c.name,
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
_WHOLE = Query(_WHOLE_JOB)
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
_FIND = Query(select(jobs.c.id).where(*_OF_KIND, jobs.c.name == bindparam("name")))
_BY_TOKEN = Query(select(jobs.c.id).where(*_OF_KIND, jobs.c.token == bindparam("token")))
_PAGES = {ascending: listing.statement(jobs, [jobs.c.key], ascending) for ascending in (True, False)}
_TO_SWEEP = Query(select(jobs.c.key, jobs.c.clean).where(text("swept = 0"), jobs.c.ended.is_not(None)))
_OWNER_OF_TASK = Query(
    select(jobs.c.account, jobs.c.region).join(tasks, tasks.c.job == jobs.c.key).where(tasks.c.id == bindparam("task"))
)
_CALLED = Query(
    select(jobs.c.kind, jobs.c.id)
    .where(*_OWNED, or_(jobs.c.id == bindparam("name"), jobs.c.name == bindparam("name")))
    .order_by(jobs.c.key.desc())
)
_WILL_PUBLISH = Query(
    select(tasks.c.id)
    .where(or_(*(tasks.c.status == status for status in Status if not status.final)))
    .where(tasks.c.stage.contains(bindparam("start")))
    .limit(1)
)
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
