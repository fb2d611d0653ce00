"""Puts the parts together: settings become a store, an engine, services and pages, and those one server."""

import asyncio
import fcntl
import gc
import json
import logging
import os
import secrets
import signal
import socket
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import uvicorn
import uvloop

from modelyard import atomic, events, sandboxes
from modelyard.access import Access
from modelyard.collaborations.audit import Audit
from modelyard.collaborations.budgets import Budgets
from modelyard.collaborations.catalog import Catalog
from modelyard.collaborations.core import Core
from modelyard.collaborations.glue import Glue
from modelyard.collaborations.parties import Parties
from modelyard.collaborations.queries import Queries
from modelyard.collaborations.tables import Tables
from modelyard.database import Database
from modelyard.engines.local import LocalEngine
from modelyard.http import OneWriteProtocol
from modelyard.jobs.base_models import BaseModels
from modelyard.jobs.deployments import Deployments
from modelyard.jobs.images import Images
from modelyard.jobs.model import NotFound, Owner
from modelyard.jobs.on_demand import OnDemand
from modelyard.jobs.resources import Resources
from modelyard.jobs.serving import Connections
from modelyard.jobs.store import Store
from modelyard.jobs.supervisor import Supervisor
from modelyard.jobs.tags import Tags
from modelyard.jobs.text_models import TextModels
from modelyard.links import Links
from modelyard.logs import Logs
from modelyard.pages import Pages
from modelyard.services import sagemaker_runtime
from modelyard.services.bedrock.backend import Backend as BedrockBackend
from modelyard.services.bedrock.invocation_jobs import QUOTA_RECORDS, InvocationJobs
from modelyard.services.bedrock.resolver import Resolver
from modelyard.services.bedrock.service import bedrock
from modelyard.services.bedrock_runtime.generation import serving_task
from modelyard.services.bedrock_runtime.service import bedrock_runtime
from modelyard.services.cleanrooms.backend import Backend as CleanRoomsBackend
from modelyard.services.cleanrooms.service import cleanrooms
from modelyard.services.cleanroomsml.backend import Backend as CleanRoomsMLBackend
from modelyard.services.cleanroomsml.retention import Retention
from modelyard.services.cleanroomsml.service import cleanroomsml
from modelyard.services.neptune_ml import endpoints
from modelyard.services.neptune_ml.backend import Backend
from modelyard.services.neptune_ml.service import neptune_ml
from modelyard.services.s3.backend import Backend as S3Backend
from modelyard.services.s3.service import s3
from modelyard.services.sts import sts
from modelyard.sessions import Sessions
from modelyard.settings import Settings
from modelyard.storage.base import Storage
from modelyard.storage.buckets import Buckets
from modelyard.storage.endpoint import BadEndpoint, S3Endpoint
from modelyard.storage.folders import Folders
from modelyard.storage.listing import Listing
from modelyard.storage.objects import Objects
from modelyard.storage.places import Places
from modelyard.storage.threads import Threads
from modelyard.storage.tree import Tree
from modelyard.storage.uploads import Uploads
from modelyard.views.ask import Views
from modelyard.views.audit import AuditView
from modelyard.views.buckets import BucketsView
from modelyard.views.endpoints import EndpointsView
from modelyard.views.images import ImagesView
from modelyard.views.jobs import JobsView
from modelyard.views.logs import LogPage
from modelyard.views.models import BaseModelsView
from modelyard.views.query_check import QueryCheckView
from modelyard.views.tables import TablesView
from modelyard.views.text_models import TextModelsView
from modelyard.wire.endpoint import Endpoint, Service

if TYPE_CHECKING:
    from modelyard.services.s3.pass_through import PassThrough

log = logging.getLogger(__name__)

Rooms = TypeVar("Rooms", bound=Core)

REHEARSAL = (b"x-modelyard-rehearsal", b"signatures are not checked")
"""The header of answers about collaborations in which anybody can be any party."""


OWN_FOLDERS = ("models", "images", "channels", "trained", "inferred", "exported", "queries")
"""What jobs keep in the service's own folders: no bucket holds it, and no user can name it."""


class DataFolderTaken(Exception):
    """Another server uses the data folder."""


class BadDataFolder(Exception):
    """The data folder cannot be made, or not be written."""


class CannotListen(Exception):
    """The address is another program's, or not this machine's."""


class Application:
    """One server's parts, over one data folder that it must have locked."""

    def __init__(self, settings: Settings) -> None:
        folder = settings.data_dir.resolve()
        for name in ("objects", "uploads", "tasks", "residents", *OWN_FOLDERS):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.database = Database(folder / "modelyard.db")
        self.store = Store(self.database)
        self.deployments = Deployments(self.database)
        self.resources = Resources(self.database)
        self.parties = Parties(self.database, self.resources)
        self.audit = Audit(self.database)
        self.base_models = BaseModels(self.resources, folder / "models" / "base")
        self.text_models = TextModels(self.resources)
        self.images = Images(self.resources, folder / "images")
        self.buckets = Buckets(self.database)
        self.catalog = Catalog(self.resources)
        self.budgets = Budgets(self.resources)
        self.tables = Tables(self.resources, self.parties)
        self.queries = Queries(self.resources, self.parties, self.tables, self.buckets)
        self.folders = Folders(folder / "objects", folder / "uploads")
        self.passing: PassThrough | None = None
        self.storage: Storage = self.folders
        if settings.s3_endpoint is not None:
            self.storage, self.passing = _behind(S3Endpoint.at(settings.s3_endpoint), self.buckets)
        self.engine = LocalEngine(folder / "tasks", folder / "residents", settings.slots)
        self.places = Places(self.storage, folder)
        self.supervisor = Supervisor(self.store, self.deployments, self.engine, self.places)
        self.connections = Connections(self.engine.socket)
        self.sessions = Sessions(self.database)
        self.access = Access(folder, self.sessions)
        self.links = Links(self._secret())
        self.logs = Logs(self.store, self.engine)
        log_page = LogPage(self.links, self.logs)
        self.pages = Pages(self._views(), log_page, self.access.account_of, self.access.of_pages)
        self.bedrock = BedrockBackend(
            store=self.store,
            resources=self.resources,
            tags=Tags(self.database),
            base_models=self.base_models,
            storage=self.storage,
            buckets=self.buckets,
            folder=self.places.folder,
            remove=self.places.remove,
            wake=self.supervisor.wake,
            slots=settings.slots,
            engine=settings.language_engine,
        )
        self.clean_rooms_ml = self._clean_rooms(CleanRoomsMLBackend, settings, images=self.images)
        self.retention = Retention(self.clean_rooms_ml)
        self.resolver = Resolver(self.bedrock)
        self.on_demand = OnDemand(
            self.deployments,
            self.connections,
            self.supervisor.wake,
            partial(serving_task, cores=settings.slots, engine=settings.language_engine),
            idle_seconds=60 * settings.model_idle_minutes,
            kept=self.resolver.kept,
        )
        self.tree = Tree(folder / "objects", folder / "uploads")
        self.threads = Threads()
        self.endpoint = Endpoint(
            self._services(settings),
            self.pages.routes,
            self.access.account_of,
            max_body=settings.max_body,
            signatures=self.access.signatures,
        )

    def close(self) -> None:
        """Ends the parts; tasks go on."""
        self.connections.close()
        self.threads.close()
        self.tree.close()
        self.database.close()

    def _views(self) -> Views:
        return {
            **JobsView(self.store, self.engine, self.links, self.supervisor.wake).views,
            **EndpointsView(self.deployments, self.links).views,
            **BucketsView(self.buckets, self.storage).views,
            **BaseModelsView(self.base_models).views,
            **TextModelsView(self.text_models).views,
            **ImagesView(self.images).views,
            **TablesView(self.catalog, self.buckets, self.storage).views,
            **QueryCheckView(self.parties, self.queries, self.budgets).views,
            **AuditView(self.parties, self.audit).views,
        }

    def _services(self, settings: Settings) -> list[Service]:
        backend = Backend(
            store=self.store,
            deployments=self.deployments,
            storage=self.storage,
            buckets=self.buckets,
            wake=self.supervisor.wake,
            log_url=self.links.url,
            slots=settings.slots,
            text_models=self.text_models,
            custom_model_memory=int(settings.custom_model_memory * 2**30) if settings.custom_model_memory else None,
            custom_model_network=settings.custom_model_network,
            custom_model_gpu=settings.custom_model_gpu,
        )
        invocation_jobs = InvocationJobs(
            self.bedrock,
            self.resolver.resolve,
            partial(events.latest, self.engine),
            least_records=QUOTA_RECORDS if settings.strict_quotas else 1,
        )
        clean_rooms = self._clean_rooms(
            CleanRoomsBackend,
            settings,
            catalog=self.catalog,
            glue=Glue.configured(settings.glue),
            remove=self.places.remove,
        )
        clean_rooms_services = [cleanrooms(clean_rooms), cleanroomsml(self.clean_rooms_ml)]
        if not self.access.checked:
            for service in clean_rooms_services:
                service.headers.append(REHEARSAL)
        return [
            neptune_ml(backend),
            bedrock(self.bedrock, invocation_jobs),
            bedrock_runtime(self.resolver.resolve, self.on_demand),
            self.passing.service() if self.passing else s3(self._s3(settings)),
            sts(self.sessions, checked=self.access.checked),
            Service(
                "sagemaker-runtime",
                sagemaker_runtime.handlers(self._serving, self.connections),
                any_text=sagemaker_runtime.ANY_NAME,
            ),
            *clean_rooms_services,
        ]

    def _clean_rooms(self, backend: type[Rooms], settings: Settings, **own: Any) -> Rooms:
        """The core as one of the two services of Clean Rooms sees it, with what is that service's `own`."""
        return backend(
            store=self.store,
            resources=self.resources,
            tags=Tags(self.database),
            parties=self.parties,
            audit=self.audit,
            tables=self.tables,
            queries=self.queries,
            budgets=self.budgets,
            storage=self.storage,
            buckets=self.buckets,
            folder=self.places.folder,
            wake=self.supervisor.wake,
            slots=settings.slots,
            **own,
        )

    def _s3(self, settings: Settings) -> S3Backend:
        objects = Objects(self.tree, self.threads)
        uploads = Uploads(objects, settings.data_dir.resolve() / "uploads")
        return S3Backend(objects, uploads, Listing(self.tree, self.threads), self.buckets, self.store.will_publish)

    def _serving(self, account: str, region: str, name: str) -> sagemaker_runtime.ServedEndpoint | None:
        """The endpoint that a request of the SageMaker runtime names, by id or by name."""
        try:
            found = self.deployments.find(Owner(account, region), endpoints.KIND, name)
        except NotFound:
            return None
        return sagemaker_runtime.ServedEndpoint(endpoints.STATUS_WORDS[found.status], found.task)

    def _secret(self) -> bytes:
        """What signs log links: made once for each data folder."""
        return bytes.fromhex(self.database.secret("links", secrets.token_hex(32)))


def _behind(endpoint: S3Endpoint, buckets: Buckets) -> "tuple[Storage, PassThrough]":
    """The users' objects where an S3 service keeps them: for jobs, and for S3's own clients."""
    try:
        from modelyard.services.s3.pass_through import PassThrough
        from modelyard.storage.remote import Remote
    except ImportError as error:
        raise BadEndpoint(f"an S3 endpoint needs the package {error.name}: pip install 'modelyard[s3]'") from None
    return Remote(endpoint), PassThrough(endpoint, buckets)


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT. Prints one line when it listens.

    DataFolderTaken if another server uses the data folder, BadDataFolder if it cannot be one, CannotListen if the
    address cannot be had, BadEndpoint if the S3 endpoint cannot be used, BadKeys if the keys file cannot.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        _lock(settings.data_dir)
    except OSError as error:
        raise BadDataFolder(_unfit(settings.data_dir, error)) from None
    with _listen(settings.host, settings.port) as listener:
        uvloop.run(_serve(settings, listener))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    try:
        application = Application(settings)
    except OSError as error:
        raise BadDataFolder(_unfit(settings.data_dir, error)) from None
    if not application.access.checked:
        log.info("signatures are not checked, so that collaborations are rehearsals; modelyard keys add makes keys")
    gc.freeze()  # all this stays: no collection has to look at it again, which is a twentieth of a request
    config = uvicorn.Config(
        application.endpoint,
        http=OneWriteProtocol,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]  # ours end the process with status 0

    def end() -> None:
        application.logs.close()
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, end)
    announcer = asyncio.create_task(_announce(server, settings, listener, application.access.operator))
    work = [
        asyncio.create_task(part.run())
        for part in (application.supervisor, application.on_demand, application.retention)
    ]
    try:
        await server.serve(sockets=[listener])
    finally:
        for task in (announcer, *work):
            task.cancel()
        await asyncio.gather(announcer, *work, return_exceptions=True)
        if application.passing is not None:
            await application.passing.close()
        application.close()


def _listen(host: str, port: int) -> socket.socket:
    """Listens; no child inherits the socket, else a task that outlives the server would keep the port."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (")[0]
        raise CannotListen(f"cannot listen on {host} port {port}: {reason}; --port 0 picks a free port") from None


async def _announce(server: uvicorn.Server, settings: Settings, listener: socket.socket, operator: str | None) -> None:
    """Writes `server.json` and prints the one line of standard output, once the server answers; then looks around."""
    while not server.started:
        await asyncio.sleep(0.005)
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    told = {"url": url, "pid": os.getpid(), **({"operator": operator} if operator else {})}
    atomic.write(settings.data_dir / "server.json", json.dumps(told).encode(), private=operator is not None)
    print(f"modelyard listening on {url}", flush=True)
    await sandboxes.tell(settings.custom_model_network, settings.custom_model_gpu)


def _unfit(folder: Path, error: OSError) -> str:
    return f"{folder} cannot be the data folder: {error.strerror}; --data-dir names another"


def _lock(folder: Path) -> None:
    """Takes the data folder for this process, to its very end: the kernel gives it back."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(descriptor, 32).decode().strip()
        os.close(descriptor)
        raise DataFolderTaken(f"{folder} is in use by the server with pid {pid}") from None
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
