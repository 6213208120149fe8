"""Serving requests: routes, admission, server spans, durations, access log, health endpoints.

Not here: what an endpoint does (``steps``), start and end of the process (``process``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl

from aiopslab.models.service import Service
from aiopslab.services.branches import Run
from aiopslab.services.config import Config
from aiopslab.services.critical import Critical
from aiopslab.services.defects import Defects
from aiopslab.services.exchange import Exchange, RequestFailed
from aiopslab.services.instruments import Durations, Instruments
from aiopslab.services.journal import Journal
from aiopslab.services.languages import Dialect, Frame
from aiopslab.services.protocols import Host, Request, Response
from aiopslab.services.runtime import Heap
from aiopslab.services.steps import Compiler
from aiopslab.services.workers import Workers

_HEALTH_CPU_S = 0.0001
_SHED_LOG_PERIOD_S = 1.0


@dataclass(slots=True)
class Endpoint:
    """One route, with what its spans and metrics share."""

    method: str
    route: str
    name: str
    run: Run
    durations: Durations
    frames: list[Frame]
    attributes: dict[tuple[int, str], dict[str, str | int]] = field(default_factory=dict)
    """Span attributes by status and, for requests from outside, client."""

    def seen(self, status: int, client: str) -> dict[str, str | int]:
        """Return the span attributes of a request; only an outside client is named by address."""
        address = client if client[:1].isdigit() else ""
        attributes = self.attributes.get((status, address))
        if attributes is None:
            attributes = self.attributes[status, address] = {
                "http.request.method": self.method,
                "http.route": self.route,
                "http.response.status_code": status,
            }
            if address:
                attributes["client.address"] = address
        return attributes


class Server:
    """The request handler of one process."""

    def __init__(
        self,
        service: Service,
        host: Host,
        dialect: Dialect,
        journal: Journal,
        heap: Heap,
        defects: Defects,
    ) -> None:
        self.workers = Workers(service.workers, service.queue)
        self.draining = False
        self._service = service
        self._host = host
        self._now = host.clock.now
        self._telemetry = host.telemetry
        self._random = host.random.random
        self._dialect = dialect
        self._journal = journal
        self._heap = heap
        self._defects = defects
        self._critical = Critical(host, defects)
        self._endpoints: dict[tuple[str, str], Endpoint] = {}
        self._access_ratio = 0.0
        self._health_on_workers = False
        self._shed_logged = float("-inf")

    def configure(self, config: Config, compiler: Compiler, instruments: Instruments) -> None:
        """Read settings and compile the endpoints; raises ConfigError."""
        size = config.integer("WORKERS", self._service.workers, least=1)
        self.workers = Workers(size, config.integer("WORKER_QUEUE", self._service.queue))
        self._access_ratio = config.number("ACCESS_LOG_RATIO", 0.05)
        self._health_on_workers = config.boolean("HEALTH_ON_WORKERS", False)
        for name, steps in self._service.endpoints.items():
            method, route = name.split(" ", 1)
            self._endpoints[method, route] = Endpoint(
                method=method,
                route=route,
                name=name,
                run=compiler.sequence(steps),
                durations=instruments.server(method, route),
                frames=[self._dialect.frame("handlers", f"{method.lower()}{route}")],
            )
        workers = self.workers
        instruments.gauge("http_server_active_requests", lambda: float(workers.active))
        instruments.gauge("http_server_queued_requests", lambda: float(workers.waiting))

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        endpoint = self._endpoints.get((request.method, request.path))
        if endpoint is None:
            if "?" in request.path:
                return await self.handle(_with_query(request))
            return await self._other(request)
        x = Exchange(
            request.trace_id or self._telemetry.new_trace_id(),
            self._telemetry.new_span_id(),
            request.params,
        )
        start = self._now()
        if not await self.workers.enter():
            return self._shed(endpoint, x, request, start)
        heap, workers = self._heap, self.workers
        heap.in_flight(workers.active)
        status, error = 200, None
        try:
            if self._defects.fails(request.params):
                raise RequestFailed(500, self._dialect.defect(endpoint.route))
            if self._defects.locking:
                await self._critical.enter(x)
            if wait_s := self._defects.latency_s(request.params):
                await self._host.clock.sleep(wait_s)
            await endpoint.run(x)
        except RequestFailed as failed:
            status, error = failed.status, failed.settled()
        finally:
            workers.leave()
            heap.in_flight(workers.active)
        heap.served(request.params)
        self._finish(endpoint, x, request, start, status, error)
        return Response(status, "" if error is None else str(error), self.draining)

    def _finish(
        self,
        endpoint: Endpoint,
        x: Exchange,
        request: Request,
        start: float,
        status: int,
        error: RequestFailed | None,
    ) -> None:
        """Write span, duration and log lines of a request that was answered."""
        end = self._now()
        attributes = endpoint.seen(status, request.client)
        message = ""
        if error is not None:
            self._log_failure(endpoint, x, error)
            if status >= 500:
                message = error.problem.message
                attributes = attributes | {"error.type": error.problem.type}
        self._telemetry.span(
            x.trace_id, x.span_id, request.parent_id, endpoint.name, "server", start, end,
            message, attributes,
        )  # fmt: skip
        endpoint.durations.observe(status, end - start)
        if error is None and self._access_ratio and self._random() < self._access_ratio:
            fields: dict[str, str | int | float] = {
                "method": endpoint.method,
                "path": endpoint.route,
                "status": status,
                "duration_ms": round((end - start) * 1000, 1),
            }
            if "client.address" in attributes:
                fields["client"] = request.client
            self._journal.write("INFO", "request served", fields, x)

    def _log_failure(self, endpoint: Endpoint, x: Exchange, error: RequestFailed) -> None:
        if error.status >= 500:
            frames = [*endpoint.frames, *error.frames]
            message = f"{endpoint.name} failed with status {error.status}"
            self._journal.failure("ERROR", message, error.problem, frames, x)
        else:
            fields: dict[str, str | int] = {"status": error.status, "error": error.problem.message}
            self._journal.write("WARN", f"{endpoint.name} rejected", fields, x)

    def _shed(self, endpoint: Endpoint, x: Exchange, request: Request, start: float) -> Response:
        """Turn a request away; the log says so at most once a second."""
        attributes: dict[str, str | int] = {
            "http.request.method": endpoint.method,
            "http.route": endpoint.route,
            "http.response.status_code": 503,
            "error.type": "503",
        }
        self._telemetry.span(
            x.trace_id, x.span_id, request.parent_id, endpoint.name, "server", start, start,
            "server overloaded", attributes,
        )  # fmt: skip
        endpoint.durations.observe(503, 0.0)
        if start - self._shed_logged >= _SHED_LOG_PERIOD_S:
            self._shed_logged = start
            fields = {"active": self.workers.active, "queued": self.workers.waiting}
            self._journal.write("ERROR", "request queue is full, rejecting with 503", fields, x)
        return Response(503, "server overloaded", self.draining)

    async def _other(self, request: Request) -> Response:
        """Answer health checks and unknown paths."""
        if request.path == "/readyz":
            await self._host.cpu.burn(_HEALTH_CPU_S)
            return Response(503, "draining") if self.draining else Response(200, "ok")
        if request.path == "/healthz":
            return await self._health()
        if any(route == request.path for _, route in self._endpoints):
            return Response(405, "method not allowed")
        return Response(404, "404 page not found")

    async def _health(self) -> Response:
        """Answer from a side thread, or, if configured, from the workers that serve users."""
        if not self._health_on_workers:
            await self._host.cpu.burn(_HEALTH_CPU_S)
            return Response(200, "ok")
        if not await self.workers.enter():
            return Response(503, "server overloaded")
        try:
            await self._host.cpu.burn(_HEALTH_CPU_S)
        finally:
            self.workers.leave()
        return Response(200, "ok")


def _with_query(request: Request) -> Request:
    """Move the query string of a path, as people type it, into the parameters."""
    path, _, query = request.path.partition("?")
    return replace(request, path=path, params={**request.params, **dict(parse_qsl(query))})
