"""The image of an app's service: the app program of ``services``, bound to a container.

``AppProgram`` is what the registry makes for ``<image>:<version>``. Here the protocols of
``services.protocols`` meet the world: a clock, memory, ports, telemetry into the store. Not here:
any behaviour of a service, its clients (``app_clients``, ``app_cluster``), queues
(``app_queue``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING

from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.services import programs
from aiopslab.services import protocols as p
from aiopslab.services.cluster import Cluster
from aiopslab.services.database import statements_of
from aiopslab.services.messaging import Queue
from aiopslab.world.connection import Peer
from aiopslab.world.images.app_clients import CacheClient, HttpClient, SqlClient
from aiopslab.world.images.app_cluster import WorldCluster
from aiopslab.world.images.app_queue import WorldQueue
from aiopslab.world.images.app_tls import PUBLIC, Identity
from aiopslab.world.images.messages import Startup

if TYPE_CHECKING:
    from aiopslab.world.clock import VirtualLoop
    from aiopslab.world.container import Container
    from aiopslab.world.kube.api import ApiServer


class AppProgram:
    """One service of an app, at one version.

    Args:
        app: The app.
        service: The service, where the pod does not name another one of the same image.
        version: The image's version.
        api: The cluster's API, for programs that steer others.
    """

    def __init__(self, app: App, service: str, version: str, api: ApiServer | None = None) -> None:
        self._app = app
        self._api = api
        self._service = service
        self._version = version
        self._process: programs.Program | None = None

    async def run(self, box: Container) -> int:
        """Serve until the container is told to end; return the exit code."""
        service = self._role(box.pod.component)
        host = WorldHost(box, self._app, service, self._version, self._api)
        job = box.args[1] if box.args[:1] == ["job"] and len(box.args) > 1 else ""
        if job and job not in self._app.jobs:
            box.log(f"unknown job {job!r}", severity="FATAL")
            return 2
        self._process = programs.make(self._app, service, self._version, host, job)
        return await self._process.run()

    def _role(self, component: str) -> str:
        """Return the service that the pod is: several may share one image."""
        services = self._app.services
        image = services[self._service].image.name
        shares = component in services and services[component].image.name == image
        return component if shares else self._service

    async def exec(self, box: Container, argv: Sequence[str], stdin: str) -> ExecResult | None:
        """Run a command of the program's own; the shell of the image has the others."""
        if self._process is None:
            return None
        answer = self._process.command(argv)
        return None if answer is None else ExecResult(answer.stdout, answer.stderr, answer.code)


class WorldHost:
    """``services.protocols.Host`` over a container."""

    def __init__(
        self, box: Container, app: App, service: str, version: str, api: ApiServer | None = None
    ) -> None:
        self._statements = statements_of(app, service, version)
        self._box = box
        self._service = service
        self.name = box.pod.name
        self.env: Mapping[str, str] = box.env
        self.files: Mapping[str, str] = box.files
        self.hardware: Mapping[str, float] = box.node.hardware
        self.clock: p.Clock = _Clock(box)
        self.cpu: p.CpuTime = box.cpu
        self.cluster: Cluster = WorldCluster(api, box.pod)
        self.memory: p.Memory = _Memory(box)
        self.telemetry: p.Telemetry = _Telemetry(box)
        self.random: random.Random = box.streams("program")

    def http(
        self, host: str, port: int, *, pool: int, tls: p.TlsFiles | None = None, max_age_s: float
    ) -> p.Http:
        dial = None
        if tls is not None:
            dial = Identity(self._box, tls).client if tls.certificate else lambda: PUBLIC
        return HttpClient(self._box, (host, port), pool, max_age_s, dial)

    def sql(
        self, host: str, port: int, *, user: str, password: str, database: str, pool: int,
        pool_timeout_s: float, sslmode: p.SslMode = "disable",
    ) -> p.Sql:  # fmt: skip
        startup = Startup(user, password, database, self._service, sslmode)
        return SqlClient(self._box, (host, port), startup, self._statements, pool, pool_timeout_s)

    def cache(
        self, host: str, port: int, *, password: str, pool: int, pool_timeout_s: float
    ) -> p.Cache:
        return CacheClient(self._box, (host, port), password, pool, pool_timeout_s)

    def queue(self, host: str, port: int, *, password: str) -> Queue:
        return WorldQueue(self._box, (host, port), self._service, password)

    async def listen(
        self, port: int, handler: p.Handler, *, tls: p.TlsFiles | None = None
    ) -> p.Listening:
        serving = Identity(self._box, tls).server() if tls is not None else None

        def serve(message: object, peer: Peer) -> Awaitable[p.Response | None]:
            if not isinstance(message, p.Request):
                # A client of a database, or whoever else mistook the port.
                peer.abort()
                return _at_once(None)
            if serving is not None and not peer.certified and message.path not in p.HEALTH:
                return _at_once(p.Response(400, "No required SSL certificate was sent"))
            message.emit = peer.emit
            return handler(message)

        return self._box.netns.listen(port, serve, tls=serving)

    async def terminated(self) -> None:
        await self._box.terminating.wait()

    def spawn(self, job: Coroutine[None, None, None]) -> None:
        self._box.spawn(job)


class _Clock:
    def __init__(self, box: Container) -> None:
        self._loop = box.loop
        self._node = box.node.clock

    def now(self) -> float:
        return self._loop._now + self._node.ahead_s

    async def sleep(self, seconds: float) -> None:
        wake = self._loop.create_future()
        timer = self._loop.call_later(seconds, _wake, wake)
        try:
            await wake
        finally:
            timer.cancel()

    def alarm(self) -> p.Alarm:
        return _Alarm(self._loop)


class _Alarm:
    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._rung = False
        self._wake: asyncio.Future[None] | None = None

    async def wait(self, seconds: float | None) -> bool:
        if not self._rung:
            self._wake = wake = self._loop.create_future()
            timer = None if seconds is None else self._loop.call_later(seconds, _wake, wake)
            try:
                await wake
            finally:
                self._wake = None
                if timer is not None:
                    timer.cancel()
        rung, self._rung = self._rung, False
        return rung

    def ring(self) -> None:
        self._rung = True
        if self._wake is not None:
            _wake(self._wake)


class _Memory:
    def __init__(self, box: Container) -> None:
        self._memory = box.memory
        self.hold = box.memory.hold

    def used(self) -> int:
        return self._memory.working_set


class _Telemetry:
    """Spans and lines of one container; ids come from a stream of the container's own."""

    def __init__(self, box: Container) -> None:
        self._bits = box.streams("telemetry").getrandbits
        self._write = box.log
        self.span = box.store.spans.recorder(box.pod.component, box.pod.name)
        self.histogram = box.metrics.histogram
        self.counter = box.metrics.counter
        self.gauge = box.metrics.gauge

    def new_trace_id(self) -> int:
        return self._bits(128) or 1

    def new_span_id(self) -> int:
        return self._bits(64) or 1

    def log(self, line: str, severity: str, trace_id: int, span_id: int) -> None:
        self._write(line, severity=severity, trace_id=trace_id, span_id=span_id)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def _at_once(response: p.Response | None) -> p.Response | None:
    return response
