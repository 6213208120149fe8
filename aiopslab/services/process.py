"""The app program: one process of one service, from start to exit code.

``Process(app, service, version, host).run()`` reads the environment, compiles the endpoints, serves
until it is told to end, drains and returns. With the name of a job it does that and ends. It is the
same code in the simulated world and in a container; the ``Host`` makes the difference. Neighbours:
``server`` (requests), ``worker`` (messages), ``batch`` (jobs), ``steps``.
"""

from __future__ import annotations

from collections.abc import Sequence

from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.models.service import Background
from aiopslab.services import languages
from aiopslab.services.batch import Batch
from aiopslab.services.branches import Run
from aiopslab.services.caching import CacheClient
from aiopslab.services.client import Peer, ServiceClient
from aiopslab.services.config import ClientPolicy, Config, ConfigError, ConsumerPolicy, targets
from aiopslab.services.database import Database, statements_of
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.flags import Flags
from aiopslab.services.instruments import Instruments
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Problem
from aiopslab.services.protocols import Host, TlsFiles, TlsFilesError
from aiopslab.services.queue import QueueClient
from aiopslab.services.runtime import Heap, Runtime
from aiopslab.services.server import Server
from aiopslab.services.steps import Compiler, Equipment
from aiopslab.services.tls_manifests import AUTHORITIES_FILE, CERTIFICATE_FILE
from aiopslab.services.worker import Bench, Worker

_STARTUP_CPU_SHARE = 0.1
"""Share of the start-up time that is CPU work; the rest waits for files and connections."""


class Process:
    """One process of one service.

    Args:
        app: The app.
        service: Name of the service.
        version: Version of its image: the deployed one or one of ``releases``.
        host: The surroundings.
        job: Do this job of the app instead of serving.
    """

    def __init__(self, app: App, service: str, version: str, host: Host, *, job: str = "") -> None:
        self._app = app
        self._name = service
        self._service = app.services[service]
        self._version = version
        self._host = host
        self._job = job
        release = self._service.releases.get(version)
        bug = release.bug if release else None
        flags = app.flags_of(service)
        self._latent = [b for b in (bug, *(f.bug for f in flags.values())) if b is not None]
        self._defects = Defects(bug, host.random)
        self._dialect = languages.of(self._service.language, service)
        self._journal = Journal(self._dialect, host.clock, host.telemetry)
        self._heap = Heap(host, self._service, self._defects)
        self._server = Server(
            self._service, host, self._dialect, self._journal, self._heap, self._defects
        )
        self._clients: dict[str, ServiceClient] = {}
        self._pools: list[ServiceClient | Database | CacheClient] = []
        self._workers: list[Worker] = []
        self._serving: TlsFiles | None = None

    async def run(self) -> int:
        """Serve until told to end; return the exit code (1: bad configuration)."""
        started = self._host.clock.now()
        self._heap.start()
        await self._warm_up()
        frame = self._dialect.frame("main", "main")
        try:
            if self._job:
                return await self._batch().run()
            delay_s = self._configure(started)
        except ConfigError as error:
            problem = self._dialect.config_problem(error)
            self._journal.fatal(problem, [frame, self._dialect.frame("config", "load")])
            return 1
        try:
            listening = await self._host.listen(
                self._service.port, self._server.handle, tls=self._serving
            )
        except TlsFilesError as error:
            self._journal.fatal(Problem("TlsFilesError", str(error)), [frame])
            return 1
        fields: dict[str, str | int] = {"version": self._version, "port": self._service.port}
        self._journal.write("INFO", f"{self._name} is listening", fields)
        await self._host.terminated()
        self._server.draining = True
        self._journal.write("INFO", "received SIGTERM, draining")
        for worker in self._workers:
            await worker.stop()
        await self._host.clock.sleep(delay_s)
        listening.close()
        await self._server.workers.drained()
        for worker in self._workers:
            await worker.drained()
        self._journal.write("INFO", "shutdown complete")
        return 0

    def command(self, argv: Sequence[str]) -> ExecResult | None:
        """Leave every command to the shell of the image."""
        return None

    async def _warm_up(self) -> None:
        start_s = self._service.startup_s
        await self._host.cpu.burn(start_s * _STARTUP_CPU_SHARE)
        await self._host.clock.sleep(start_s * (1.0 - _STARTUP_CPU_SHARE))

    def _configure(self, started: float) -> float:
        """Build everything from the environment; return the seconds to serve after SIGTERM."""
        host, service = self._host, self._service
        config = Config(host.env)
        self._journal.configure(config)
        flags = self._flags(config)
        self._serving = self._tls(config) if service.tls else None
        equipment = self._equipment(config, flags)
        compiler = Compiler(equipment)
        instruments = Instruments(host.telemetry)
        self._server.configure(config, compiler, instruments)
        runtime = Runtime(host, service, self._heap, self._server.workers, self._pooled)
        runtime.register(instruments, self._version, started)
        if any(bug.pause_ms for bug in self._latent):
            host.spawn(runtime.collect_by_force())
        for job in service.background:
            host.spawn(self._repeat(job, compiler.sequence(job.steps)))
        if equipment.queue is not None:
            self._employ(config, compiler, equipment.queue)
        return config.seconds("SHUTDOWN_DELAY_MS", 3000)

    def _flags(self, config: Config) -> Flags:
        """Follow the feature flags; raises ConfigError."""
        flags = Flags(self._app.flags_of(self._name), self._host, self._journal, self._defects.wake)
        flags.follow(config)
        return flags

    def _employ(self, config: Config, compiler: Compiler, queue: QueueClient) -> None:
        """Start a worker for each consumer."""
        bench = Bench(self._host, queue, self._dialect, self._journal, self._heap, self._defects)
        for name, spec in self._service.consumers.items():
            policy = ConsumerPolicy.read(config, name)
            steps = compiler.sequence(spec.steps)
            worker = Worker(self._name, name, spec, policy, steps, bench)
            self._workers.append(worker)
            self._host.spawn(worker.run())

    def _batch(self) -> Batch:
        """Prepare a run of the job; raises ConfigError."""
        config = Config(self._host.env)
        self._journal.configure(config)
        job = self._app.jobs[self._job]
        steps = Compiler(self._equipment(config, self._flags(config))).sequence(job.steps)
        return Batch(self._job, job, config, steps, self._host, self._dialect, self._journal)

    def _equipment(self, config: Config, flags: Flags) -> Equipment:
        host, dialect, journal = self._host, self._dialect, self._journal
        self._clients = {
            target: self._client(target, config) for target in targets(self._app, self._name)
        }
        database = cache = queue = None
        if db := self._service.uses.get("db"):
            store = self._app.stores[db]
            statements = statements_of(self._app, self._name, self._version)
            database = Database(db, store, statements, config, host, dialect, self._defects)
        if name := self._service.uses.get("cache"):
            cache = CacheClient(name, config, host, dialect, journal)
        if name := self._service.uses.get("queue"):
            queue = QueueClient(name, config, host, dialect)
        self._pools = [*self._clients.values(), *(p for p in (database, cache) if p)]
        return Equipment(
            host, config, journal, self._defects, flags, self._clients, database, cache, queue
        )

    def _client(self, target: str, config: Config) -> ServiceClient:
        policy, peer = ClientPolicy.read(config, target), self._peer(target, config)
        return ServiceClient(peer, policy, self._host, self._dialect, self._journal)

    def _peer(self, target: str, config: Config) -> Peer:
        external = self._app.externals.get(target)
        if external is not None:
            return Peer(target, tls=TlsFiles() if external.tls else None, outside=True)
        return Peer(target, tls=self._tls(config) if self._app.services[target].tls else None)

    def _tls(self, config: Config) -> TlsFiles:
        reload_s = config.seconds("TLS_RELOAD_MS", 10000)
        return TlsFiles(AUTHORITIES_FILE, CERTIFICATE_FILE, reload_s)

    def _pooled(self) -> int:
        """Count the sockets of all pools."""
        stats = [pool.stats() for pool in self._pools]
        return sum(each.used + each.idle for each in stats)

    async def _repeat(self, job: Background, run: Run) -> None:
        """Run a background job; a failed round is logged and the next one tried."""
        telemetry, clock = self._host.telemetry, self._host.clock
        frames = [self._dialect.frame("jobs", job.name)]
        while True:
            await clock.sleep(job.every)
            x = Exchange(telemetry.new_trace_id(), telemetry.new_span_id(), {})
            start, message = clock.now(), ""
            try:
                await run(x)
            except RequestFailed as failed:
                message = failed.settled().problem.message
                text = f"job {job.name} failed"
                self._journal.failure("ERROR", text, failed.problem, [*frames, *failed.frames], x)
            telemetry.span(
                x.trace_id, x.span_id, 0, job.name, "internal", start, clock.now(), message, None
            )
