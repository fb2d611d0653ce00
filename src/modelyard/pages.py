"""What the server answers beside AWS's operations: health, logs, and jobs as JSON for the command line.

All pages but `/` and `/health` lie under `/-/`. Jobs, deployments and buckets are the caller's own, who is whoever the
wire takes a request's credential for, and must have signed where signatures are checked. What is the operator's is
asked from this machine, and then with the operator's key too. An answer that is no success is `{"message": …}`.
"""

import asyncio
import difflib
import functools
import hashlib
import importlib.metadata
import inspect
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import orjson

from modelyard import events
from modelyard.engines.base import Engine
from modelyard.jobs.base_models import CUSTOMIZATIONS, FAMILIES, BaseModels
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import AlreadyExists, Deployment, Job, NotFound, Owner, StageRecord, Status
from modelyard.jobs.store import Store
from modelyard.links import LOGS, Links
from modelyard.logs import Logs
from modelyard.model_folder import BadModel
from modelyard.storage.base import Storage
from modelyard.storage.buckets import Buckets
from modelyard.storage.names import is_bucket
from modelyard.wire.endpoint import Page, Receive, Scope, Send, from_another_site
from modelyard.wire.identity import AccountOf, BadToken, account_of_key, identify
from modelyard.wire.signature import BadSignature, Signatures

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 50
MAX_LIMIT = 1000

_NO_BODY = hashlib.sha256(b"").hexdigest()
_ABOUT = """Modelyard answers AWS's own clients (boto3, AWS CLI, any SDK) for managed machine-learning jobs.

Point a client's endpoint URL at this address. Look at jobs with `modelyard jobs list`.
"""


class Refused(Exception):
    """A request that cannot be answered: its status, and what to do about it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Ask:
    """What a page is asked: by whom, and the members of the query.

    here: whether the caller is on this machine, and the operator as far as that is checked.
    """

    owner: Owner
    query: Mapping[str, str]
    here: bool

    def required(self, name: str) -> str:
        """A member that must be there."""
        if not (value := self.query.get(name)):
            raise Refused(400, f"{name} is missing")
        return value

    def limit(self) -> int:
        """How many items are wanted."""
        text = self.query.get("limit", str(DEFAULT_LIMIT))
        if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) <= MAX_LIMIT):
            raise Refused(400, f"limit: {text[:40]!r} is no number from 1 to {MAX_LIMIT}")
        return int(text)


View = Callable[[Ask], Any]


class Pages:
    """The pages over one server's parts. `routes` is for the endpoint."""

    def __init__(
        self,
        store: Store,
        deployments: Deployments,
        buckets: Buckets,
        storage: Storage,
        engine: Engine,
        base_models: BaseModels,
        wake: Callable[[], None],
        secret: bytes,
        identify: AccountOf = account_of_key,
        signatures: Signatures | None = None,
        views: Mapping[str, tuple[str, View]] | None = None,
    ) -> None:
        self._account_of = identify
        self._signatures = signatures
        self._store = store
        self._deployments = deployments
        self._buckets = buckets
        self._storage = storage
        self._engine = engine
        self._base_models = base_models
        self._wake = wake
        self._links = Links(secret)
        self._logs = Logs(store, engine)
        self._views: Mapping[str, tuple[str, View]] = {
            "/health": ("GET", self._health),
            "/-/jobs/": ("GET", self._list_jobs),
            "/-/jobs/show": ("GET", self._show_job),
            "/-/jobs/events": ("GET", self._list_events),
            "/-/jobs/stop": ("POST", self._stop_job),
            "/-/endpoints/": ("GET", self._list_deployments),
            "/-/buckets/": ("GET", self._list_buckets),
            "/-/buckets/own": ("POST", self._own_bucket),
            "/-/models/": ("GET", self._list_models),
            "/-/models/folder": ("GET", self._model_folder),
            "/-/models/add": ("POST", self._add_model),
            "/-/models/remove": ("POST", self._remove_model),
            **(views or {}),
        }
        subpages = {path: self._json for path in self._views if path.endswith("/")}
        self.routes: Mapping[str, Page] = {"/": _about, "/health": self._json, LOGS: self._log, **subpages}

    def log_url(self, base_url: str, task: str) -> str:
        """The address of a task's log, good for hours: for the owner alone to hand on."""
        return base_url + self._links.path(task)

    def close(self) -> None:
        """Ends the answers that would go on and on."""
        self._logs.close()

    async def _json(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one of the views."""
        try:
            status, answer = 200, await self._view(scope)
        except Refused as refused:
            status, answer = refused.status, {"message": str(refused)}
        except Exception:
            log.exception("%s %s failed", scope["method"], scope["path"])
            status, answer = 500, {"message": "The server failed; its log has the cause"}
        await _answer(send, scope, status, b"application/json", orjson.dumps(answer))

    async def _view(self, scope: Scope) -> Any:
        method, view = self._views.get(scope["path"], ("", None))
        if view is None:
            raise Refused(404, "There is no such page")
        if scope["method"] != method and (method, scope["method"]) != ("GET", "HEAD"):
            raise Refused(405, f"This page answers {method} only")
        if method != "GET" and from_another_site(scope["headers"]):
            raise Refused(403, "Requests from web pages of other sites are refused")
        answer = view(self._ask(scope))
        return await answer if inspect.isawaitable(answer) else answer

    def _ask(self, scope: Scope) -> Ask:
        """What a page is asked; Refused unless it is signed, where that matters."""
        if scope["path"] == "/health":
            return Ask(Owner("", ""), {}, here=False)
        query, here = _query(scope), (scope.get("client") or ("",))[0] in ("127.0.0.1", "::1")
        try:
            caller = identify(scope["headers"], scope["query_string"], self._account_of)
            if self._signatures is not None:
                self._signatures.check(scope, caller, _NO_BODY)
                here = here and caller.access_key == caller.account
        except BadToken as bad:
            raise Refused(403, f"The session token is not good: {bad}") from None
        except BadSignature as bad:
            how = "Use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or the data folder of the server as its operator"
            raise Refused(401, f"{bad}. {how}") from None
        return Ask(Owner(caller.account, caller.region), query, here)

    def _health(self, _: Ask) -> Any:
        return {"status": "ok", "version": _version()}

    def _list_jobs(self, ask: Ask) -> Any:
        return {"jobs": [self._summary(job) for job in self._store.newest(ask.owner, ask.limit())]}

    def _show_job(self, ask: Ask) -> Any:
        job = self._job(ask)
        shown = {**self._summary(job), "request": job.request, "stages": self._stages(job)}
        return _of_many(shown) if _is_of_many(job) else shown

    async def _list_events(self, ask: Ask) -> Any:
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

    async def _stop_job(self, ask: Ask) -> Any:
        job = self._job(ask)
        await self._store.stop(ask.owner, job.kind, job.id)
        self._wake()
        return self._summary(self._store.get(ask.owner, job.kind, job.id))

    def _list_deployments(self, ask: Ask) -> Any:
        return {"endpoints": [self._deployment(one) for one in self._deployments.newest(ask.owner, ask.limit())]}

    async def _list_buckets(self, ask: Ask) -> Any:
        owned = self._buckets.owned()
        theirs = (None, ask.owner.account)
        names = [name for name in await self._storage.buckets() if owned.get(name) in theirs]
        return {"buckets": [{"name": name, "owner": owned.get(name)} for name in names]}

    async def _own_bucket(self, ask: Ask) -> Any:
        """Gives a bucket to an account: for the operator, who sits at this machine."""
        bucket, account = _from_here(ask).required("bucket"), ask.required("account")
        if not is_bucket(bucket):
            raise Refused(400, f"bucket: {bucket[:80]!r} is no name of a bucket")
        if not (len(account) == 12 and account.isascii() and account.isdigit()):
            raise Refused(400, f"account: {account[:40]!r} is not twelve digits")
        await self._buckets.own(bucket, account, instead=True)
        return {"name": bucket, "owner": account}

    def _list_models(self, _: Ask) -> Any:
        return {"models": [asdict(model) for model in self._base_models.all()]}

    def _model_folder(self, ask: Ask) -> Any:
        """Where a model is to be put that is to be the data folder's own, and whether it is registered already."""
        id = _from_here(ask).required("id")
        try:
            known = any(model.id == id for model in self._base_models.all())
            return {"folder": str(self._base_models.folder(id)), "registered": known}
        except BadModel as error:
            raise Refused(400, str(error)) from None

    async def _add_model(self, ask: Ask) -> Any:
        """Registers a folder of this machine: for the operator, who sits at it."""
        id, path = _from_here(ask).required("id"), Path(ask.required("path"))
        customizations = ask.query.get("customizations", ",".join(CUSTOMIZATIONS)).split(",")
        family = ask.query.get("family")
        if unknown := {*customizations} - {*CUSTOMIZATIONS} or {family} - {None, *FAMILIES}:
            raise Refused(400, f"{unknown.pop()!r:.80} is none of {', '.join([*CUSTOMIZATIONS, *FAMILIES])}")
        try:
            model = await self._base_models.add(
                id,
                path,
                family,
                customizations,
                ask.query.get("name"),
                copy="copy" in ask.query,
                allow_remote_code="remote_code" in ask.query,
            )
        except BadModel as error:
            raise Refused(400, str(error)) from None
        except AlreadyExists as taken:
            reason = f"{id} is {taken.request['path']} already; modelyard models remove {id} forgets that"
            raise Refused(409, reason) from None
        return asdict(model)

    async def _remove_model(self, ask: Ask) -> Any:
        """Forgets a model, if nothing needs it or `force` is said: for the operator."""
        id = _from_here(ask).required("id")
        needing = self._base_models.resting_on(id)
        if needing and "force" not in ask.query:
            names = ", ".join(f"{one.kind} {one.name} of {one.owner.account}" for one in needing[:5])
            raise Refused(409, f"{id} is needed by {names}; --force removes it all the same")
        try:
            return asdict(await self._base_models.remove(id))
        except NotFound:
            known = ", ".join(model.id for model in self._base_models.all()) or "none"
            raise Refused(404, f"There is no model {id[:255]!r}; registered are: {known}") from None

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

    def _deployment(self, one: Deployment) -> dict[str, Any]:
        task = one.task or one.next
        return {
            "id": one.id,
            "name": one.name,
            "kind": one.kind,
            "status": one.status,
            "created": one.created,
            "failure": one.failure,
            "log": self._links.path(task) if task else None,
        }

    async def _log(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the log that a link names; `follow=1` goes on until the task ends or the client goes away."""
        task, query = scope["path"].removeprefix(LOGS), _query(scope)
        if scope["method"] not in ("GET", "HEAD"):
            return await _text(send, scope, 405, "This page answers GET only\n")
        if not self._links.valid(task, query.get("expires", ""), query.get("signature", "")):
            return await _text(send, scope, 403, "This link is not valid, or no longer: ask for the job again\n")
        async with aclosing(self._logs.read(task, follow=query.get("follow") == "1")) as pieces:
            try:
                first = await anext(pieces, "")
            except NotFound:
                return await _text(send, scope, 404, "The log is gone: its job or endpoint was deleted\n")
            await send({"type": "http.response.start", "status": 200, "headers": _headers(_PLAIN)})
            if scope["method"] == "GET":
                await _send_piece(send, first)
                await _send_pieces(send, pieces, receive)
        await send({"type": "http.response.body", "body": b""})


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


_PLAIN = b"text/plain; charset=utf-8"


async def _about(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["method"] in ("GET", "HEAD"):
        await _text(send, scope, 200, _ABOUT)
    else:
        await _text(send, scope, 405, "No operation that is served here has this path\n")


@functools.cache
def _version() -> str:
    return importlib.metadata.version("modelyard")


def _from_here(ask: Ask) -> Ask:
    """What is asked, if that is done from the server's own machine: what is the operator's to do."""
    if not ask.here:
        raise Refused(403, "This is done from the server's own machine only, by whoever can read its data folder")
    return ask


def _query(scope: Scope) -> dict[str, str]:
    """The members of the query string, each once; none at all if there are too many."""
    try:
        return dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=20))
    except ValueError:
        return {}


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _headers(content_type: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", content_type),
        (b"x-content-type-options", b"nosniff"),
        (b"cache-control", b"no-store"),
    ]


async def _send_piece(send: Send, text: str) -> None:
    body = text.encode("utf-8", "backslashreplace")
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _send_pieces(send: Send, pieces: AsyncIterator[str], receive: Receive) -> None:
    """Sends until the last piece, or until the client goes away."""
    gone = asyncio.ensure_future(_hang_up(receive))
    try:
        with suppress(NotFound):
            async for piece in pieces:
                if gone.done():
                    return
                await _send_piece(send, piece)
    finally:
        gone.cancel()


async def _text(send: Send, scope: Scope, status: int, text: str) -> None:
    await _answer(send, scope, status, _PLAIN, text.encode())


async def _answer(send: Send, scope: Scope, status: int, content_type: bytes, body: bytes) -> None:
    headers = [*_headers(content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
