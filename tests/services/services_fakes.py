"""In-memory surroundings for the app program: everything a ``Host`` gives, scripted by the test."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from aiopslab.models.app import App
from aiopslab.services import protocols as p
from aiopslab.services.config import settings
from aiopslab.services.tokens import token_services
from aiopslab.telemetry.instruments import Registry
from aiopslab.world.clock import VirtualLoop

T = TypeVar("T")
START = 1_773_133_200.0

Reply = p.Response | Exception
Answer = Callable[[p.Request], Reply]


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine function on a fresh virtual loop."""
    loop = VirtualLoop(START)
    return loop.run_until_complete(main(loop))


class FakeClock:
    def __init__(self, loop: VirtualLoop) -> None:
        self.now = loop.time

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def alarm(self) -> FakeAlarm:
        return FakeAlarm()


class FakeAlarm:
    def __init__(self) -> None:
        self._rung = asyncio.Event()

    async def wait(self, seconds: float | None) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._rung.wait()
        except TimeoutError:
            return False
        self._rung.clear()
        return True

    def ring(self) -> None:
        self._rung.set()


class FakeCpu:
    """Cores without end: work takes as long as it is."""

    def __init__(self) -> None:
        self.burned_s = 0.0

    async def burn(self, seconds: float) -> None:
        self.burned_s += seconds
        await asyncio.sleep(seconds)


class FakeMemory:
    def __init__(self) -> None:
        self.held: dict[str, int] = {}
        self.peak = 0

    def hold(self, label: str, size: int) -> None:
        self.held[label] = size
        self.peak = max(self.peak, self.used())

    def used(self) -> int:
        return sum(self.held.values())


class FakeTelemetry:
    def __init__(self) -> None:
        self.registry = Registry()
        self.histogram = self.registry.histogram
        self.counter = self.registry.counter
        self.gauge = self.registry.gauge
        self.spans: list[dict[str, Any]] = []
        self.lines: list[tuple[str, str]] = []
        self._ids = 0

    def new_trace_id(self) -> int:
        self._ids += 1
        return self._ids

    new_span_id = new_trace_id

    def span(self, trace_id, span_id, parent_id, name, kind, start, end, error, attributes):  # type: ignore[no-untyped-def]
        self.spans.append(
            {
                "trace": trace_id,
                "id": span_id,
                "parent": parent_id,
                "name": name,
                "kind": kind,
                "seconds": end - start,
                "error": error,
                "attributes": dict(attributes or {}),
            }
        )

    def log(self, line: str, severity: str, trace_id: int, span_id: int) -> None:
        self.lines.append((severity, line))

    def value(self, name: str, **labels: str) -> float:
        """Sum the series of a name that carry the labels."""
        total = 0.0
        for (series, pairs), value in zip(
            self.registry.series(), self.registry.collect(), strict=True
        ):
            if series == name and labels.items() <= dict(pairs).items():
                total += value
        return total


STATS = p.PoolStats(0, 0, 0, 10)


class FakeHttp:
    def __init__(self, answer: Answer, delay_s: float) -> None:
        self._answer = answer
        self._delay_s = delay_s
        self.requests: list[tuple[float, p.Request]] = []

    async def send(
        self,
        request: p.Request,
        *,
        timeout_s: float,
        on_part: Callable[[], None] | None = None,
    ) -> p.Response:
        self.requests.append((asyncio.get_running_loop().time(), request))
        if self._delay_s > timeout_s:
            await asyncio.sleep(timeout_s)
            raise p.RequestTimeout("geo", 8080, "198.18.0.20:8080")
        await asyncio.sleep(self._delay_s)
        reply = self._answer(request)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def stats(self) -> p.PoolStats:
        return STATS


class FakeSql:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.calls: list[tuple[str, dict[str, str], bool]] = []

    async def execute(
        self, statement: str, params: Mapping[str, str], *, timeout_s: float, keep: bool = False
    ) -> p.SqlResult:
        self.calls.append((statement, dict(params), keep))
        await asyncio.sleep(0.002)
        if self.error:
            raise self.error
        return p.SqlResult(1)

    async def keep(self, least: int) -> None:
        pass

    def stats(self) -> p.PoolStats:
        return STATS


class FakeCache:
    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.values: dict[str, tuple[int, float | None]] = {}

    async def get(self, key: str, *, timeout_s: float) -> str | None:
        self._fail()
        return "x" if key in self.values else None

    async def set(self, key: str, size: int, ttl_s: float | None, *, timeout_s: float) -> None:
        self._fail()
        self.values[key] = (size, ttl_s)

    async def delete(self, key: str, *, timeout_s: float) -> None:
        self._fail()
        self.values.pop(key, None)

    def stats(self) -> p.PoolStats:
        return STATS

    def _fail(self) -> None:
        if self.error:
            raise self.error


class FakeListening:
    closed = False

    def close(self) -> None:
        self.closed = True


class FakeHost:
    """A ``Host`` whose targets, database and cache answer as the test says."""

    def __init__(
        self,
        loop: VirtualLoop,
        env: Mapping[str, str],
        *,
        answer: Answer = lambda request: p.Response(200),
        delay_s: float = 0.005,
        sql_error: Exception | None = None,
        cache_error: Exception | None = None,
        seed: int = 1,
    ) -> None:
        self.name = "pod-1"
        self.env = env
        self.files: dict[str, str] = {}
        self.hardware: dict[str, float] = {}
        self.clock = FakeClock(loop)
        self.cpu = FakeCpu()
        self.memory = FakeMemory()
        self.telemetry = FakeTelemetry()
        self.random = random.Random(seed)
        self.targets: dict[str, FakeHttp] = {}
        self.database = FakeSql(sql_error)
        self.store = FakeCache(cache_error)
        self.opened: dict[str, Any] = {}
        self.handler: p.Handler | None = None
        self.listening = FakeListening()
        self.sigterm = asyncio.Event()
        self._loop = loop
        self._answer = answer
        self._delay_s = delay_s
        self._jobs: list[asyncio.Task[None]] = []

    def http(
        self, host: str, port: int, *, pool: int, tls: p.TlsFiles | None = None, max_age_s: float
    ) -> FakeHttp:
        self.targets[host] = FakeHttp(self._answer, self._delay_s)
        return self.targets[host]

    def sql(self, host: str, port: int, **settings: Any) -> FakeSql:
        self.opened["sql"] = {"host": host, "port": port, **settings}
        return self.database

    def cache(self, host: str, port: int, **settings: Any) -> FakeCache:
        self.opened["cache"] = {"host": host, "port": port, **settings}
        return self.store

    async def listen(
        self, port: int, handler: p.Handler, *, tls: p.TlsFiles | None = None
    ) -> FakeListening:
        self.handler = handler
        return self.listening

    async def terminated(self) -> None:
        await self.sigterm.wait()

    def spawn(self, job: Coroutine[None, None, None]) -> None:
        self._jobs.append(self._loop.create_task(job))

    async def end(self) -> None:
        """End what was spawned, as the end of the process would."""
        for job in self._jobs:
            job.cancel()


def environment(app: App, service: str, **changes: str | None) -> dict[str, str]:
    """Return the environment the manifests give a service; a change of None removes a key."""
    env = settings(app, service)
    if "db" in app.services[service].uses:
        env |= {"DB_USER": service, "DB_PASSWORD": "secret"}
    if service in token_services(app):
        env["TOKEN_KEY"] = "k1"
    for key, value in changes.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    return env
