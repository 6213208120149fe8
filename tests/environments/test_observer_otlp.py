"""What the app's real program sends over OTLP, as the observer records it: like the world does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cluster_served import NAMESPACE, end, hotel
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from observer_lab import Lab, observed
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aiopslab.environments.sim import Sim
from aiopslab.observer.pods import running_since
from aiopslab.observer.pushed import FRESH_S
from aiopslab.observer.serving import taking
from aiopslab.services.real.otlp_export import OtlpExport, resource_of
from aiopslab.telemetry.otlp.responses import Signal
from aiopslab.wire.gate import OpenGate
from aiopslab.wire.server import listening

SERVICE = "review"
TRACE = 0x0123456789ABCDEF0123456789ABCDEF


@dataclass
class Open:
    """A lab whose OTLP port is open."""

    lab: Lab
    url: str
    pod: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    def export(self, pod: str = "") -> OtlpExport:
        # A process in a container knows the app's namespace, not the one it was put into.
        return OtlpExport(self.url, resource_of(SERVICE, "1.0.0", pod or self.name, "default"))

    @property
    def labels(self) -> dict[str, str]:
        port = self.pod["spec"]["containers"][0]["ports"][0]["containerPort"]
        return {
            "job": SERVICE, "service": SERVICE, "namespace": NAMESPACE, "pod": self.name,
            "node": self.pod["spec"]["nodeName"], "instance": f"{self.name}:{port}",
        }  # fmt: skip


Scene = Callable[[Open], Awaitable[None]]


@pytest.fixture(scope="module")
def sim() -> Iterator[Sim]:
    sim = hotel()
    sim.run_for(20.0)
    yield sim
    end(sim)


@contextlib.asynccontextmanager
async def opened(sim: Sim, home: Path) -> AsyncIterator[Open]:
    async with observed(sim, home) as lab, listening(taking(lab.observer, OpenGate())) as port:
        pods = lab.observer.pods.all()
        pod = next(p for p in pods if p["metadata"]["name"].startswith(SERVICE))
        yield Open(lab, f"http://127.0.0.1:{port}", pod)


@pytest.fixture
def play(sim: Sim, tmp_path: Path) -> Callable[[Scene], None]:
    def played(scene: Scene) -> None:
        async def run() -> None:
            async with opened(sim, tmp_path) as there:
                await scene(there)

        asyncio.run(run())

    return played


def test_spans_and_lines_belong_to_the_pod_that_sent_them(play: Callable[[Scene], None]) -> None:
    async def scene(there: Open) -> None:
        now, export = there.lab.sim.now(), there.export()
        attributes: dict[str, str | int | float] = {"http.request.method": "GET", "n": 3}
        export.span((TRACE, 7, 0), "GET /x", "server", (now, now + 0.25), "", attributes)
        export.span((TRACE, 8, 7), "GET", "client", (now + 0.01, now + 0.125), "timeout", None)
        export.log(now, "all is well", "WARN", (TRACE, 7))
        export.log(now, "not of a request", "INFO", (0, 0))
        export.log(now, "in two\nlines", "INFO", (0, 0))
        await export.aclose()
        store = there.lab.observer.recording.store
        root, child = store.spans.trace(f"{TRACE:032x}")
        assert (root.service, root.pod, root.kind) == (SERVICE, there.name, "server")
        # Nothing of how it was sent: spans of the world have just these.
        assert dict(root.attributes) == attributes
        assert (child.parent_id, child.error) == ("0000000000000007", "timeout")
        rows, _ = store.logs.search(service=SERVICE, start=0, end=9e9, limit=9, newest_first=False)
        assert [(r.severity, r.line, r.trace_id) for r in rows] == [
            ("WARN", "all is well", f"{TRACE:032x}"), ("INFO", "not of a request", ""),
            ("INFO", "in two\nlines", ""),
        ]  # fmt: skip
        assert store.logs.streams.decoded()[-1] == (SERVICE, NAMESPACE, there.name, SERVICE)
        said = there.lab.observer.intake.said(there.name)
        assert said == ["all is well", "not of a request", "in two", "lines"]

    play(scene)


def test_metrics_are_those_of_a_scraped_pod(play: Callable[[Scene], None]) -> None:
    async def scene(there: Open) -> None:
        export, store = there.export(), there.lab.observer.recording.store
        name, route = "http_server_request_duration_seconds", {"http_route": "/x"}
        export.histogram(name, (0.1, 1.0), route).observe(0.5)
        export.counter("cache_requests_total", {"result": "hit"}).add(3)
        export.gauge("db_client_connection_max", lambda: 20.0, {})
        await export.aclose()
        at = await there.lab.round(there.lab.sim.now() + 1.0)

        def value(query: str) -> list[tuple[dict[str, str], float]]:
            found = store.promql.instant(query, at)
            return [(dict(s.labels), s.points[0][1]) for s in found]

        name += "_bucket"
        own = {"__name__": name, **route, **there.labels}
        assert value(f'{name}{{le="1"}}') == [({**own, "le": "1"}, 1.0)]
        hits = {"__name__": "cache_requests_total", "result": "hit", **there.labels}
        assert value("cache_requests_total") == [(hits, 3.0)]
        pool = {"__name__": "db_client_connection_max", **there.labels}
        assert value("db_client_connection_max") == [(pool, 20.0)]
        assert value(f'up{{pod="{there.name}"}}')[0][1] == 1.0

    play(scene)


def test_a_pod_that_stops_sending_is_down_and_its_series_end(
    play: Callable[[Scene], None],
) -> None:
    async def scene(there: Open) -> None:
        export, store = there.export(), there.lab.observer.recording.store
        export.counter("cache_requests_total", {"result": "hit"}).add(3)
        await export.aclose()
        now = there.lab.sim.now()
        await there.lab.round(now + 1.0)
        at = await there.lab.round(now + FRESH_S + 5.0)
        assert store.promql.instant("cache_requests_total", at) == []
        (up,) = store.promql.instant(f'up{{pod="{there.name}"}}', at)
        assert up.points[0][1] == 0.0

    play(scene)


def test_points_of_a_process_that_ended_are_not_those_of_the_next(
    play: Callable[[Scene], None],
) -> None:
    async def scene(there: Open) -> None:
        export, pushed = there.export(), there.lab.observer.pushed
        export.counter("cache_requests_total", {"result": "hit"}).add(3)
        await export.aclose()
        now = there.lab.sim.now()
        since = running_since(there.pod, SERVICE)
        assert pushed.fresh(there.name, since, now)
        assert pushed.fresh(there.name, "2100-01-01T00:00:00Z", now) is None
        assert pushed.fresh(there.name, "", now) is None
        assert pushed.fresh("another", since, now) is None

    play(scene)


def test_a_pod_that_is_not_known_yet_is_taken_by_what_it_says(
    play: Callable[[Scene], None],
) -> None:
    async def scene(there: Open) -> None:
        export = there.export(pod="review-new-1")
        export.log(there.lab.sim.now(), "hello", "INFO", (0, 0))
        export.counter("cache_requests_total", {}).add(1)
        await export.aclose()
        streams = there.lab.observer.recording.store.logs
        streams.columns()
        assert (SERVICE, NAMESPACE, "review-new-1", SERVICE) in streams.streams
        await there.lab.round(there.lab.sim.now() + 1.0)

    play(scene)


def test_a_full_recording_says_so_to_who_sends(sim: Sim, tmp_path: Path) -> None:
    logs, traces = ExportLogsServiceRequest(), ExportTraceServiceRequest()
    logs.resource_logs.add().scope_logs.add().log_records.add().body.string_value = "hello"
    for _ in range(2):
        traces.resource_spans.add().scope_spans.add().spans.add(name="x")

    async def scene() -> None:
        async with observed(sim, tmp_path, limit=1) as lab:
            lab.observer.recording.measure()
            sent: list[tuple[Signal, Message, int]] = [("logs", logs, 1), ("traces", traces, 2)]
            for signal, request, count in sent:
                rejected = lab.observer.intake.take(signal, request)
                assert rejected.count == count
                assert "full" in rejected.message
            assert lab.observer.lacks.counts == {"refused logs": 1, "refused traces": 2}

    asyncio.run(scene())


@given(
    st.sampled_from(["traces", "metrics", "logs"]),
    st.binary(max_size=60) | st.just(b'{"resourceLogs": [{"scopeLogs": 5}]}'),
    st.sampled_from(["application/x-protobuf", "application/json", "text/plain", ""]),
    st.sampled_from(["", "gzip", "br"]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_malformed_requests_are_refused_and_nothing_breaks(
    standing: tuple[asyncio.Runner, Open], signal: str, body: bytes, kind: str, encoding: str
) -> None:
    runner, there = standing

    async def post() -> int:
        headers = {"content-type": kind} | ({"content-encoding": encoding} if encoding else {})
        async with httpx2.AsyncClient() as client:
            url = f"{there.url}/v1/{signal}"
            return (await client.post(url, content=body, headers=headers)).status_code

    assert runner.run(post()) in (200, 400, 415)


@pytest.fixture(scope="module")
def standing(
    sim: Sim, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[asyncio.Runner, Open]]:
    with asyncio.Runner() as runner:
        opening = opened(sim, tmp_path_factory.mktemp("standing"))
        there = runner.run(opening.__aenter__())
        try:
            yield runner, there
        finally:
            runner.run(opening.__aexit__(None, None, None))
