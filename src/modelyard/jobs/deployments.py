"""Deployments: what serves, under which id and name, and which task answers for it."""

import json
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, or_, select, update

from modelyard.database import Database, Query
from modelyard.jobs.model import AlreadyExists, Deployment, NotFound, Owner, ServiceStatus, Stage, Status
from modelyard.jobs.store import Claim, now
from modelyard.tables import deployments, tasks


@dataclass(frozen=True)
class Serving:
    """Where a deployment's answers come from: a serving task and its attempt; no task while none is ready."""

    status: ServiceStatus
    task: str | None
    attempt: int


class Deployments:
    """The deployments of all owners. Coroutines write; the rest reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, owner: Owner, kind: str, id: str) -> Deployment:
        """The deployment; NotFound if there is none of this owner."""
        rows = self._database.read(_GET, account=owner.account, region=owner.region, kind=kind, id=id)
        if not rows:
            raise NotFound(id)
        return _deployment(rows[0])

    def list_ids(self, owner: Owner, kind: str, limit: int) -> list[str]:
        """Ids, newest first."""
        rows = self._database.read(_IDS, account=owner.account, region=owner.region, kind=kind, limit=limit)
        return [id for (id,) in rows]

    def newest(self, owner: Owner, limit: int) -> list[Deployment]:
        """Deployments of all kinds, newest first."""
        rows = self._database.read(_NEWEST, account=owner.account, region=owner.region, limit=limit)
        return [_deployment(row) for row in rows]

    def find(self, owner: Owner, kind: str, name: str) -> Serving:
        """Who answers for the deployment with this name or id; NotFound if there is none of this owner."""
        rows = self._database.read(_FIND, account=owner.account, region=owner.region, kind=kind, name=name)
        if not rows:
            raise NotFound(name)
        status, task, attempt = rows[0]
        return Serving(ServiceStatus(status), task, attempt or 0)

    def owner_of_task(self, task: str) -> Owner:
        """Whose deployment a task serves; NotFound if there is no such task."""
        rows = self._database.read(_OWNER_OF_TASK, task=task)
        if not rows:
            raise NotFound(task)
        return Owner(*rows[0])

    async def create(
        self, owner: Owner, kind: str, id: str, name: str, request: Mapping[str, Any], stage: Stage
    ) -> Deployment:
        """Accepts a deployment: it gets into service, or fails with a reason. AlreadyExists if the id is taken."""

        def work(connection: Connection) -> None:
            taken = select(deployments.c.request).where(*_owned(owner, kind), deployments.c.id == id)
            if (same := connection.execute(taken).scalar()) is not None:
                raise AlreadyExists(id, json.loads(same))
            task = uuid.uuid4().hex
            values = {
                "account": owner.account,
                "region": owner.region,
                "kind": kind,
                "id": id,
                "name": name,
                "request": json.dumps(request),
                "status": ServiceStatus.CREATING,
                "next": task,
                "created": now(),
            }
            key = connection.execute(insert(deployments), values).lastrowid
            _add_task(connection, key, task, stage)

        await self._database.write(work)
        return self.get(owner, kind, id)

    async def update(self, owner: Owner, kind: str, id: str, request: Mapping[str, Any], stage: Stage) -> Deployment:
        """Has a new task take over as soon as it is ready; until then, and if it never is, the old one answers."""
        found = self.get(owner, kind, id)
        if found.status is ServiceStatus.DELETING:
            raise NotFound(id)

        def work(connection: Connection) -> None:
            task = uuid.uuid4().hex
            status = ServiceStatus.UPDATING if found.task else ServiceStatus.CREATING
            values = {"next": task, "status": status, "request": json.dumps(request), "failure": None}
            connection.execute(update(deployments).where(deployments.c.key == found.key).values(**values))
            _add_task(connection, found.key, task, stage)

        await self._database.write(work)
        return self.get(owner, kind, id)

    async def delete(self, owner: Owner, kind: str, id: str) -> None:
        """Ends a deployment: it is gone when no process of it is left."""
        key = self.get(owner, kind, id).key
        wished = update(deployments).where(deployments.c.key == key).values(status=ServiceStatus.DELETING)
        await self._database.write(lambda connection: connection.execute(wished))

    def wanted(self, claim: Claim) -> bool:
        """Whether the claimed task still answers, or is to answer, for its deployment."""
        return bool(self._database.read(_WANTED, key=claim.deployment, task=claim.task))

    async def ready(self, claim: Claim) -> None:
        """Lets the claimed task answer from now on. The one before it is not wanted any more."""
        values = {"task": claim.task, "next": None, "status": ServiceStatus.IN_SERVICE, "failure": None}
        moved = update(deployments).where(*_next_is(claim)).values(**values)
        await self._database.write(lambda connection: connection.execute(moved))

    async def failed(self, claim: Claim, reason: str) -> None:
        """Notes that the claimed task will never answer (again): the deployment fails, an update is rolled back."""

        def work(connection: Connection) -> None:
            ended = {"status": Status.FAILED, "failure": reason, "ended": now(), "token": None}
            connection.execute(update(tasks).where(tasks.c.id == claim.task).values(**ended))
            was = deployments.c.key == claim.deployment
            rolled_back = update(deployments).where(*_next_is(claim), deployments.c.task.is_not(None))
            connection.execute(rolled_back.values(next=None, status=ServiceStatus.IN_SERVICE, failure=reason))
            lost = update(deployments).where(
                was, or_(deployments.c.task == claim.task, deployments.c.next == claim.task)
            )
            connection.execute(lost.values(task=None, next=None, status=ServiceStatus.FAILED, failure=reason))

        await self._database.write(work)

    async def ended(self, claim: Claim) -> None:
        """Forgets a task that was not wanted any more and has no process left."""
        await self._database.write(lambda connection: connection.execute(delete(tasks).where(tasks.c.id == claim.task)))

    async def bury(self) -> list[str]:
        """Forgets deployments that are to be deleted and have no living task; returns the tasks that went with them."""
        keys = [key for (key,) in self._database.read(_DEAD)]
        if not keys:
            return []

        def work(connection: Connection) -> list[str]:
            theirs = tasks.c.deployment.in_(keys)
            gone = list(connection.execute(select(tasks.c.id).where(theirs)).scalars())
            connection.execute(delete(tasks).where(theirs))
            connection.execute(delete(deployments).where(deployments.c.key.in_(keys)))
            return gone

        return await self._database.write(work)


def _owned(owner: Owner, kind: str) -> tuple[ColumnElement[bool], ...]:
    return (
        deployments.c.account == owner.account,
        deployments.c.region == owner.region,
        deployments.c.kind == kind,
    )


def _next_is(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        deployments.c.key == claim.deployment,
        deployments.c.next == claim.task,
        deployments.c.status != ServiceStatus.DELETING,
    )


def _add_task(connection: Connection, key: int, task: str, stage: Stage) -> None:
    values = {"id": task, "deployment": key, "position": 0, "stage": json.dumps(asdict(stage)), "status": Status.QUEUED}
    connection.execute(insert(tasks), values)


def _deployment(row: Any) -> Deployment:
    key, account, region, kind, id, name, request, status, failure, task, following, created = row
    return Deployment(
        key=key,
        owner=Owner(account, region),
        kind=kind,
        id=id,
        name=name,
        request=json.loads(request),
        status=ServiceStatus(status),
        created=created,
        failure=failure,
        task=task,
        next=following,
    )


_OF_KIND = (
    deployments.c.account == bindparam("account"),
    deployments.c.region == bindparam("region"),
    deployments.c.kind == bindparam("kind"),
)
_GET = Query(select(deployments).where(*_OF_KIND, deployments.c.id == bindparam("id")))
_IDS = Query(select(deployments.c.id).where(*_OF_KIND).order_by(deployments.c.key.desc()).limit(bindparam("limit")))
_NEWEST = Query(
    select(deployments)
    .where(deployments.c.account == bindparam("account"), deployments.c.region == bindparam("region"))
    .order_by(deployments.c.key.desc())
    .limit(bindparam("limit"))
)
_FIND = Query(
    select(deployments.c.status, deployments.c.task, tasks.c.attempt)
    .join(tasks, tasks.c.id == deployments.c.task, isouter=True)
    .where(*_OF_KIND, or_(deployments.c.name == bindparam("name"), deployments.c.id == bindparam("name")))
)
_OWNER_OF_TASK = Query(
    select(deployments.c.account, deployments.c.region)
    .join(tasks, tasks.c.deployment == deployments.c.key)
    .where(tasks.c.id == bindparam("task"))
)
_WANTED = Query(
    select(deployments.c.key).where(
        deployments.c.key == bindparam("key"),
        deployments.c.status != ServiceStatus.DELETING,
        or_(deployments.c.task == bindparam("task"), deployments.c.next == bindparam("task")),
    )
)
_DEAD = Query(
    select(deployments.c.key).where(
        deployments.c.status == ServiceStatus.DELETING,
        ~select(tasks.c.id).where(tasks.c.deployment == deployments.c.key, tasks.c.status != Status.FAILED).exists(),
    )
)
