"""What the programs of the LLM platform share: start, configuration, routes, telemetry, drain.

A program reads its ConfigMap at start, and what its subclass reads in ``apply`` again whenever the
mounted files change. A value that cannot be read ends the start, and is refused later. Streamed
answers: ``call.emit`` sends the first part, ``Response.pauses`` says how the rest came. Not here:
what any of the programs is for (neighbours).
"""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from aiopslab.models.app import App
from aiopslab.models.kube import ExecResult
from aiopslab.services import languages
from aiopslab.services.client import Operation, Peer, ServiceClient
from aiopslab.services.config import CONFIG_DIR, ClientPolicy, Config, ConfigError, targets
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.instruments import Durations, Instruments
from aiopslab.services.journal import Journal
from aiopslab.services.protocols import Host, Request, Response, TlsFiles

_STARTUP_CPU_SHARE = 0.1
_HEALTH_CPU_S = 0.0001
_ASK_S = 1.0
RELOAD_S = 2.0
"""Between two looks at the mounted configuration."""
Attributes = dict[str, str | int | float]


@dataclass(slots=True)
class Call:
    """A request being handled; ``attributes`` go onto its server span."""

    x: Exchange
    params: Mapping[str, str]
    emit: Callable[[], None]
    at: float
    attributes: Attributes = field(default_factory=dict)

    def number(self, name: str, default: int = 0) -> int:
        """Return a whole number among the parameters.

        Raises:
            ValueError: It is none.
        """
        return int(self.params.get(name) or default)


Handler = Callable[[Call], Awaitable[Response]]


@dataclass(slots=True)
class _Route:
    name: str
    handler: Handler
    durations: Durations
    traced: bool


class LlmProcess(ABC):
    """One process of one service.

    Args:
        app: The app.
        service: Name of the service.
        version: Version of its image.
        host: The surroundings.
    """

    startup_cpu_s: ClassVar[float] = 0.3
    request_cpu_s: ClassVar[float] = 0.001

    def __init__(self, app: App, service: str, version: str, host: Host) -> None:
        self.app = app
        self.name = service
        self.service = app.services[service]
        self.version = version
        self.host = host
        self.now = host.clock.now
        self.telemetry = host.telemetry
        self.instruments = Instruments(host.telemetry)
        self.dialect = languages.of(self.service.language, service)
        self.journal = Journal(self.dialect, host.clock, host.telemetry)
        self.draining = False
        self.config = Config(host.env)
        self._routes: dict[tuple[str, str], _Route] = {}
        self._clients: dict[str, ServiceClient] = {}
        self._operations: dict[tuple[str, str], Operation] = {}
        self._active = 0
        self._idle = host.clock.alarm()
        self._seen: dict[str, str] = {}

    # -- for subclasses ---------------------------------------------------------------------------

    @abstractmethod
    def prepare(self, config: Config) -> None:
        """Read what counts until the next start; register routes, metrics and jobs.

        Raises:
            ConfigError: A value cannot be read.
        """

    @abstractmethod
    def apply(self, config: Config) -> None:
        """Read what may change while the process runs; all or nothing.

        Raises:
            ConfigError: A value cannot be read; the old ones go on to count.
        """

    def status(self) -> Mapping[str, object]:
        """Return what ``llmctl status`` prints."""
        return {}

    def control(self, verb: str, words: Sequence[str]) -> str | None:
        """Run a further command of ``llmctl``; None if there is no such verb."""
        return None

    def route(self, method: str, path: str, handler: Handler, *, traced: bool = True) -> None:
        """Serve a path; untraced ones are polled by other programs."""
        durations = self.instruments.server(method, path)
        self._routes[method, path] = _Route(f"{method} {path}", handler, durations, traced)

    async def call(
        self,
        target: str,
        path: str,
        x: Exchange,
        params: Mapping[str, str],
        on_part: Callable[[], None] | None = None,
    ) -> Response:
        """Send ``POST path`` to a service this one calls.

        Raises:
            RequestFailed: No answer, or one of 400 and above.
        """
        client = self._clients[target]
        operation = self._operations.get((target, path))
        if operation is None:
            operation = self._operations[target, path] = client.operation("POST", path)
        return await client.call(operation, x, params, on_part)

    def callees(self, program: str) -> list[str]:
        """Name the services this one calls that run a program, sorted."""
        services = self.app.services
        mine = (n for n in self.service.calls if n in services)
        return sorted(n for n in mine if services[n].program == program)

    async def ask(
        self, target: str, path: str, params: Mapping[str, str] | None = None
    ) -> dict[str, object] | None:
        """Poll another program's figures; None where it does not answer soon."""
        try:
            return await self.hear(target, path, params)
        except TimeoutError:
            return None

    async def hear(
        self, target: str, path: str, params: Mapping[str, str] | None = None
    ) -> dict[str, object] | None:
        """Poll another program's figures; None where nobody listens or it refuses.

        Raises:
            TimeoutError: Silence.
        """
        try:
            async with asyncio.timeout(_ASK_S):
                response = await self.call(target, path, Exchange(0, 0, {}), params or {})
        except RequestFailed:
            return None
        found = json.loads(response.body)
        return found if isinstance(found, dict) else None

    def span(
        self, x: Exchange, name: str, start: float, end: float, attributes: Attributes | None = None
    ) -> None:
        """Record a stage of a request."""
        self.telemetry.span(
            x.trace_id, self.telemetry.new_span_id(), x.span_id, name, "internal", start, end, "",
            attributes,
        )  # fmt: skip

    # -- life -------------------------------------------------------------------------------------

    async def run(self) -> int:
        """Serve until told to end; return the exit code (1: bad configuration)."""
        started = self.now()
        await self.host.cpu.burn(self.startup_cpu_s)
        await self.host.clock.sleep(max(0.0, self.service.startup_s - (self.now() - started)))
        try:
            self._configure(started)
        except ConfigError as error:
            frames = [self.dialect.frame("config", "load"), self.dialect.frame("main", "main")]
            self.journal.fatal(self.dialect.config_problem(error), frames[::-1])
            return 1
        listening = await self.host.listen(self.service.port, self.handle)
        self.host.spawn(self._reload())
        fields: dict[str, str | int] = {"version": self.version, "port": self.service.port}
        self.journal.write("INFO", f"{self.name} is listening", fields)
        await self.host.terminated()
        self.draining = True
        self.journal.write("INFO", "received SIGTERM, draining")
        await self.host.clock.sleep(self.config.seconds("SHUTDOWN_DELAY_MS", 3000))
        listening.close()
        while self._active:
            await self._idle.wait(None)
        self.journal.write("INFO", "shutdown complete")
        return 0

    def _configure(self, started: float) -> None:
        host, config = self.host, self.config
        self.journal.configure(config)
        host.memory.hold("base", self.service.memory_base)
        self._clients = {
            target: ServiceClient(
                self._peer(target),
                ClientPolicy.read(config, target),
                host,
                self.dialect,
                self.journal,
            )
            for target in targets(self.app, self.name)
        }
        self.prepare(config)
        self.apply(config)
        gauge = self.instruments.gauge
        gauge("app_build_info", lambda: 1.0, version=self.version)
        gauge("process_start_time_seconds", lambda: started)
        gauge("process_resident_memory_bytes", lambda: float(host.memory.used()))
        gauge("http_server_active_requests", lambda: float(self._active))

    def _peer(self, target: str) -> Peer:
        external = self.app.externals.get(target)
        if external is None:
            return Peer(target)
        return Peer(target, tls=TlsFiles() if external.tls else None, outside=True)

    async def _reload(self) -> None:
        """Follow the mounted configuration."""
        self._seen = self._mounted()
        while True:
            await self.host.clock.sleep(RELOAD_S)
            files = self._mounted()
            if files == self._seen:
                continue
            changed = sorted(k for k in files if files[k] != self._seen.get(k))
            self._seen = files
            config = Config({**self.host.env, **files})
            try:
                self.apply(config)
            except ConfigError as error:
                problem = self.dialect.config_problem(error)
                self.journal.write(
                    "ERROR", "configuration refused, the old one stays", {"error": problem.message}
                )
                continue
            self.config = config
            self.journal.write("INFO", "configuration reloaded", {"keys": ",".join(changed)})

    def _mounted(self) -> dict[str, str]:
        prefix = f"{CONFIG_DIR}/"
        return {
            path.removeprefix(prefix): text
            for path, text in self.host.files.items()
            if path.startswith(prefix)
        }

    # -- requests ---------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            return await self._other(request)
        telemetry, start = self.telemetry, self.now()
        x = Exchange(
            request.trace_id or telemetry.new_trace_id(), telemetry.new_span_id(), request.params
        )
        call = Call(x, request.params, request.emit or _nobody, start)
        self._active += 1
        error = ""
        try:
            await self.host.cpu.burn(self.request_cpu_s if route.traced else _HEALTH_CPU_S)
            response = await route.handler(call)
        except RequestFailed as failed:
            response, error = Response(failed.status, str(failed)), failed.settled().problem.message
        except ValueError as wrong:
            response = Response(400, str(wrong))
        finally:
            self._active -= 1
            if not self._active:
                self._idle.ring()
        end = self.now()
        route.durations.observe(response.status, end - start)
        if route.traced:
            self._record(route, request, call, response.status, error)
        response.close = self.draining
        return response

    def _record(self, route: _Route, request: Request, call: Call, status: int, error: str) -> None:
        attributes: Attributes = {
            "http.request.method": request.method,
            "http.route": request.path,
            "http.response.status_code": status,
            **call.attributes,
        }
        failed = (error or str(status)) if status >= 500 else ""
        self.telemetry.span(
            call.x.trace_id, call.x.span_id, request.parent_id, route.name, "server", call.at,
            self.now(), failed, attributes,
        )  # fmt: skip

    async def _other(self, request: Request) -> Response:
        if request.path == "/readyz":
            await self.host.cpu.burn(_HEALTH_CPU_S)
            return Response(503, "draining") if self.draining else Response(200, "ok")
        if request.path == "/healthz":
            await self.host.cpu.burn(_HEALTH_CPU_S)
            return Response(200, "ok")
        if any(path == request.path for _, path in self._routes):
            return Response(405, "method not allowed")
        return Response(404, "404 page not found")

    # -- llmctl -----------------------------------------------------------------------------------

    def command(self, argv: Sequence[str]) -> ExecResult | None:
        """Run ``llmctl``; other commands are the shell's."""
        if not argv or argv[0].rpartition("/")[2] != "llmctl":
            return None
        verb, words = (argv[1] if len(argv) > 1 else "status"), list(argv[2:])
        if verb == "status":
            return ExecResult(json.dumps(dict(self.status()), indent=2) + "\n", "", 0)
        if verb == "get":
            return self._get(words)
        text = self.control(verb, words)
        if text is None:
            return ExecResult("", f"llmctl: {self.name} has no command {verb!r}\n", 2)
        return ExecResult(text + "\n", "", 0)

    def _get(self, words: list[str]) -> ExecResult:
        """Print the keys in force, or one of them."""
        keys = words or sorted(self.service.config)
        try:
            return ExecResult("".join(f"{k}={self.config.text(k)}\n" for k in keys), "", 0)
        except ConfigError as error:
            return ExecResult("", f"llmctl: {error.key} is not set\n", 1)


def _nobody() -> None:
    """Nobody reads the parts."""
