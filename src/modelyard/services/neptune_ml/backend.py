"""What the resources of Neptune ML work on, and the checks that they share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from modelyard.jobs.deployments import Deployments
from modelyard.jobs.model import Job, NotFound, Owner, Status
from modelyard.jobs.store import Store
from modelyard.jobs.text_models import TextModels
from modelyard.storage.base import Kind, Storage
from modelyard.storage.buckets import Buckets
from modelyard.storage.names import ObjectError, prefixes
from modelyard.wire.endpoint import Call
from modelyard.wire.errors import Fault

MAX_ID = 255


@dataclass(frozen=True)
class Backend:
    """The core, as the services see it.

    wake: tells the supervisor that there is something to do.
    log_url: the address of a task's log, for whoever asks at a base URL.
    slots: the cores that jobs may keep busy at once.
    text_models: the folders that text features need.
    custom_model_memory: bytes that each run of a custom model's script may use; None for a part of the machine's.
    custom_model_network: whether such scripts may reach what the machine reaches.
    custom_model_gpu: whether they may use its GPUs.
    """

    store: Store
    deployments: Deployments
    storage: Storage
    buckets: Buckets
    wake: Callable[[], None]
    log_url: Callable[[str, str], str]
    slots: int
    text_models: TextModels
    custom_model_memory: int | None = None
    custom_model_network: bool = False
    custom_model_gpu: bool = True

    def completed(self, owner: Owner, kind: str, member: str, id: str) -> Job:
        """The parent job that a request names in `member`; a Fault unless it is there and completed."""
        try:
            job = self.store.get(owner, kind, id)
        except NotFound:
            raise Fault("MLResourceNotFoundException", f"{member}: there is no {kind} job {id!r}") from None
        if job.status is not Status.COMPLETED:
            reason = f"{member}: the {kind} job {id!r} is {job.status}, not completed"
            raise Fault("PreconditionsFailedException", reason)
        return job

    async def readable(self, call: Call, member: str, uri: str) -> None:
        """Faults unless the folder at `uri` exists and the caller may read it."""
        with _about(member):
            self.buckets.check(self.storage.bucket(uri), call.account)
            kind = await self.storage.kind(uri)
        if kind is not Kind.FOLDER:
            found = f"{kind}, not a folder" if kind else "no such folder"
            raise Fault("InvalidParameterException", f"{member}: {uri}: {found}")

    async def writable(self, call: Call, member: str, uri: str) -> None:
        """Faults unless the caller may write below `uri`. A bucket that is not there will be made, and is theirs."""
        with _about(member):
            bucket = self.storage.bucket(uri)
            if await self.storage.kind(uri) is None and await self.storage.kind(f"s3://{bucket}") is None:
                await self.buckets.own(bucket, call.account)
            self.buckets.check(bucket, call.account)
            for above in prefixes(uri):
                if await self.storage.kind(above) is Kind.FILE:
                    raise ObjectError(f"{above} is an object, and cannot be a folder too")


@contextmanager
def _about(member: str) -> Iterator[None]:
    """Names the member of the request whose URI is refused."""
    try:
        yield
    except ObjectError as error:
        raise Fault("InvalidParameterException", f"{member}: {error}") from None


def check_id(id: str) -> str:
    """The id that the caller chose; a Fault if it cannot be one."""
    if len(id) > MAX_ID or not id.isprintable():
        raise Fault("InvalidParameterException", f"id: at most {MAX_ID} printable characters, not {id[:MAX_ID]!r}")
    return id


def check_positive(request: Mapping[str, Any], *members: str) -> None:
    """Faults if one of the members is given and below 1."""
    for member in members:
        if request.get(member, 1) < 1:
            raise Fault("InvalidParameterException", f"{member}: {request[member]} is below 1")


def check_seconds(request: Mapping[str, Any], member: str, default: int = 86400) -> float:
    """A timeout in seconds, one day unless the request says otherwise."""
    check_positive(request, member)
    return float(request.get(member, default))
