"""The second binding of the app program: a process of the operating system.

Everything ``services.protocols.Host`` asks for, with real time, processor, memory, files, network
and telemetry. Clients of stores are imported where an app has them, so that a service without
starts sooner. Not here: any behaviour of a service, arguments and signals (``launch``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from types import TracebackType

from aiopslab.models.app import App
from aiopslab.services import protocols as p
from aiopslab.services.cluster import Cluster
from aiopslab.services.database import statements_of
from aiopslab.services.messaging import Queue
from aiopslab.services.mounts import mount
from aiopslab.services.real import http_server
from aiopslab.services.real import tls as tls_files
from aiopslab.services.real.clock import WallClock
from aiopslab.services.real.cluster import KubeCluster
from aiopslab.services.real.cpu import ProcessCpu
from aiopslab.services.real.http_client import Dial, HttpClient
from aiopslab.services.real.links import Ways
from aiopslab.services.real.memory import CountedMemory, HeldMemory
from aiopslab.services.real.mounted import MountedFiles
from aiopslab.services.real.orders import FileOrders, LabOrders, NoOrders
from aiopslab.services.real.place import Place
from aiopslab.services.real.telemetry import ProcessTelemetry

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


class ProcessHost:
    """``services.protocols.Host`` over an operating system's process; a context to run within.

    Args:
        app: The app.
        service: Name of the service.
        version: Version of its image.
        env: The effective environment.
        place: Where it runs.
    """

    def __init__(
        self, app: App, service: str, version: str, env: Mapping[str, str], place: Place
    ) -> None:
        self._app = app
        self._service = service
        self._version = version
        self._place = place
        self._end = asyncio.Event()
        self._ending = AsyncExitStack()
        self._jobs: set[asyncio.Task[None]] = set()
        self._group: asyncio.TaskGroup | None = None
        self._processor = ProcessCpu()
        self._held = HeldMemory() if place.hold_memory else CountedMemory()
        self._mounted = MountedFiles(_directories(app, service), place.root)
        self.port = 0
        """Port that is really listened on; 0 before."""
        self.name = place.name
        self.env = env
        self.files: Mapping[str, str] = self._mounted
        self.hardware: Mapping[str, float] = _hardware(app, service)
        self.clock: p.Clock = WallClock()
        self.cpu: p.CpuTime = self._processor
        self._orders = _orders(app, env.get(ENDPOINT, ""), place)
        self._ways = Ways(app, service, place.name, self._orders.current)
        self._api = KubeCluster.in_cluster(env)
        self.cluster: Cluster = self._api
        self.memory: p.Memory = self._held
        self.telemetry: p.Telemetry = ProcessTelemetry(self.clock, None)
        self.random = random.Random()

    async def __aenter__(self) -> ProcessHost:
        endpoint = self.env.get(ENDPOINT, "")
        if endpoint:
            # A quarter of a second to import, which only who exports needs to wait for.
            from aiopslab.services.real.otlp_export import OtlpExport, resource_of

            about = resource_of(self._service, self._version, self.name, self._app.namespace)
            export = OtlpExport(endpoint, about)
            export.start()
            self._ending.push_async_callback(export.aclose)
            self.telemetry = ProcessTelemetry(self.clock, export)
        self._ending.push_async_callback(self._api.close)
        if isinstance(self._orders, LabOrders):
            self._orders.start()
            self._ending.push_async_callback(self._orders.aclose)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Last in, first out: a server may still send answers, exports go out at the very end.
        await self._ending.aclose()
        self._processor.close()
        self._held.close()

    async def run(self, program: Coroutine[None, None, int]) -> int:
        """Run the program and what it spawns; return its exit code.

        What it spawned ends with it. If something spawned fails, so does everything.

        Raises:
            BaseExceptionGroup: The program or something it spawned raised.
        """
        async with asyncio.TaskGroup() as group:
            self._group = group
            code = await program
            for job in self._jobs:
                job.cancel()
        return code

    def terminate(self) -> None:
        """Tell the program to end, as SIGTERM does."""
        self._end.set()

    # -- protocols.Host ---------------------------------------------------------------------------

    def http(
        self, host: str, port: int, *, pool: int, tls: p.TlsFiles | None = None, max_age_s: float
    ) -> p.Http:
        client = HttpClient(
            (host, port), self._place.book, pool, max_age_s, self._dial(tls), self._ways.to(host)
        )
        self._ending.push_async_callback(client.aclose)
        return client

    def sql(
        self, host: str, port: int, *, user: str, password: str, database: str, pool: int,
        pool_timeout_s: float, sslmode: p.SslMode = "disable",
    ) -> p.Sql:  # fmt: skip
        from aiopslab.services.real.sql import SqlPool

        client = SqlPool(
            self._place.book.find(host, port), user=user, password=password, database=database,
            application=self._service, pool=pool, pool_timeout_s=pool_timeout_s, sslmode=sslmode,
            statements=statements_of(self._app, self._service, self._version),
            way=self._ways.to(host),
        )  # fmt: skip
        self._ending.callback(client.close)
        return client

    def cache(
        self, host: str, port: int, *, password: str, pool: int, pool_timeout_s: float
    ) -> p.Cache:
        from aiopslab.services.real.cache import CacheClient

        address = self._place.book.find(host, port)
        client = CacheClient(
            address, password=password, pool=pool, pool_timeout_s=pool_timeout_s,
            way=self._ways.to(host),
        )  # fmt: skip
        self._ending.callback(client.close)
        return client

    def queue(self, host: str, port: int, *, password: str) -> Queue:
        from aiopslab.services.real.queue import QueueClient

        address = self._place.book.find(host, port)
        client = QueueClient(
            address, password=password, name=self._service, way=self._ways.to(host)
        )
        self._ending.push_async_callback(client.close)
        return client

    async def listen(
        self, port: int, handler: p.Handler, *, tls: p.TlsFiles | None = None
    ) -> p.Listening:
        context = None
        if tls is not None:
            context = self._identity(tls).server()
        server = http_server.HttpServer(self._ways.shaped(handler), context)
        listener = http_server.listener(self._place, port)
        self.port = listener.getsockname()[1]
        await server.open(listener)
        self._ending.push_async_callback(server.aclose)
        return server

    async def terminated(self) -> None:
        await self._end.wait()

    def spawn(self, job: Coroutine[None, None, None]) -> None:
        assert self._group is not None, "programs spawn while they run"
        task = self._group.create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._jobs.discard)

    # -- making -----------------------------------------------------------------------------------

    def _dial(self, files: p.TlsFiles | None) -> Dial | None:
        """Return how to make TLS connections: as who we are, or as everybody does."""
        if files is None:
            return None
        return self._identity(files).client if files.certificate else tls_files.public

    def _identity(self, files: p.TlsFiles) -> tls_files.Identity:
        return tls_files.Identity(self._mounted, files, asyncio.get_running_loop().time)


def _orders(app: App, endpoint: str, place: Place) -> FileOrders | LabOrders | NoOrders:
    """Return where the process learns what is not as usual on its ways."""
    if place.links is not None:
        return FileOrders(place.links)
    return LabOrders(app.name, endpoint) if endpoint else NoOrders()


def _directories(app: App, service: str) -> list[str]:
    """Name the mount points of a service's pods."""
    pod = mount(app, service, {"containers": [{}]})
    return [each["mountPath"] for each in pod["containers"][0].get("volumeMounts", [])]


def _hardware(app: App, service: str) -> Mapping[str, float]:
    """Return the conditions of the machine that a service is tied to, as the app describes it."""
    node = app.services[service].node
    return next((dict(each.hardware) for each in app.nodes if each.name == node), {})
