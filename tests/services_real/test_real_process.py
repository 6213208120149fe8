"""The app program on the real binding: what its clients, its log and its telemetry show."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from real_hosts import CONTENT, LOOPBACK, Running, client, reserved, running
from waiting import until

from aiopslab.models.app import App
from aiopslab.services.catalogue import load_app
from aiopslab.services.protocols import ConnectionRefused, Request, Response
from aiopslab.services.real.host import ENDPOINT

QUOTE = Request("GET", "/quote", {"item": "cup"}, 0xABC, 0xDEF, "198.18.7.7")
SEAL = Request("POST", "/seal", {"item": "pen"}, client="tester")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> App:
    monkeypatch.setenv("AIOPSLAB_CONTENT", str(CONTENT))
    return load_app("relay")


async def send(process: Running, request: Request) -> Response:
    async with client(process.host.port) as http:
        return await http.send(request, timeout_s=20)


def test_a_call_goes_through_services_and_every_log_shows_one_trace(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with (
            running(app, "middle", tmp_path / "m") as middle,
            running(app, "front", tmp_path / "f", book={"middle": middle.address}) as front,
        ):
            assert await send(front, QUOTE) == Response(200)

    asyncio.run(scenario())
    out = capsys.readouterr().out
    trace = f"{0xABC:032x}"
    quoted = next(line for line in out.splitlines() if "quoted cup" in line)
    assert f"trace_id={trace}" in quoted
    served = next(line for line in out.splitlines() if '"msg":"request served"' in line)
    assert f'"trace_id":"{trace}"' in served
    assert "shutdown complete" in out


def test_services_speak_mutual_tls_with_what_their_manifests_mount(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        async with (
            running(app, "vault", tmp_path / "v") as vault,
            running(app, "front", tmp_path / "f", book={"vault": vault.address}) as front,
        ):
            assert (await send(front, SEAL)).status == 200

    asyncio.run(scenario())
    assert "sealed pen" in capsys.readouterr().out


def test_refused_connections_are_retried_then_the_breaker_opens(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        with closing(reserved()) as nobody:
            address = nobody.getsockname()
            async with running(app, "front", tmp_path, book={"middle": address}) as front:
                assert (await send(front, QUOTE)).status == 503
                assert (await send(front, QUOTE)).status == 503

    asyncio.run(scenario())
    out = capsys.readouterr().out
    assert out.count("retrying request to middle") == 2
    assert "connect: connection refused" in out
    assert out.count("circuit breaker for middle opened") == 1


def test_a_defective_release_is_defective_here_too(app: App, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(app, "front", tmp_path, version="1.1.0") as front:
            assert (await send(front, QUOTE)).status == 500

    asyncio.run(scenario())


def test_a_flag_file_that_changes_is_followed(
    app: App, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def scenario() -> None:
        env = {"FLAGS_REFRESH_MS": "20"}
        async with running(app, "front", tmp_path, env=env):
            (tmp_path / "etc/flags/fast").write_text("true", "utf-8")
            await until(lambda: "feature flag changed" in shown.append_read())

    class Shown:
        text = ""

        def append_read(self) -> str:
            self.text += capsys.readouterr().out
            return self.text

    shown = Shown()
    asyncio.run(scenario())
    assert '"flag":"fast","value":"true"' in shown.text


def test_the_end_waits_for_requests_and_refuses_further_ones(app: App, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with running(app, "front", tmp_path) as front:
            async with client(front.host.port) as http:
                slow = asyncio.create_task(http.send(Request("GET", "/slow"), timeout_s=20))
                await until(lambda: http.stats().used)
                # The request is in when a later one has been answered.
                assert (await send(front, Request("GET", "/readyz"))).status == 200
                front.host.terminate()
                with pytest.raises(ConnectionRefused):
                    await refused(front)
                answer = await slow
                assert (answer.status, answer.close) == (200, True)
            assert await front.main == 0

    async def refused(process: Running) -> None:
        while True:
            await send(process, Request("GET", "/readyz"))
            await asyncio.sleep(0.005)

    asyncio.run(scenario())


def test_while_it_serves_on_after_sigterm_it_is_not_ready_and_closes_connections(
    app: App, tmp_path: Path
) -> None:
    async def scenario() -> None:
        env = {"SHUTDOWN_DELAY_MS": "300"}
        async with running(app, "middle", tmp_path, env=env) as middle:
            async with client(middle.host.port) as http:
                middle.host.terminate()
                ready = await http.send(Request("GET", "/readyz"), timeout_s=20)
                assert (ready.status, ready.body) == (503, "draining")
                assert (await http.send(QUOTE, timeout_s=20)).close
            assert await middle.main == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"MIDDLE_ADDR": "middle"}, "MIDDLE_ADDR"),
        ({"LOG_LEVEL": "loud"}, "one of debug, info, warn, error"),
    ],
)
def test_a_bad_setting_ends_the_process_with_the_languages_last_words(
    app: App, tmp_path: Path, env: Mapping[str, str], words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    async def scenario() -> int:
        async with running(app, "front", tmp_path, env=env) as front:
            return await front.main

    assert asyncio.run(scenario()) == 1
    out = capsys.readouterr().out
    assert words in out
    assert "goroutine 1 [running]" in out


def test_what_a_process_spawned_takes_it_down_when_it_fails(app: App, tmp_path: Path) -> None:
    async def fail() -> None:
        raise LookupError("a defect of ours")

    async def scenario() -> None:
        async with running(app, "middle", tmp_path) as middle:
            middle.host.spawn(fail())
            await asyncio.wait([middle.main])
            error = middle.main.exception()
            assert isinstance(error, ExceptionGroup)
            assert error.subgroup(LookupError) is not None
            middle.main = asyncio.create_task(asyncio.sleep(0, 0))

    asyncio.run(scenario())


# -- telemetry ------------------------------------------------------------------------------------


class Receiver:
    """Takes OTLP over HTTP."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.lines: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.resource: dict[str, str] = {}

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        match request.path:
            case "/v1/traces":
                for batch in ExportTraceServiceRequest.FromString(body).resource_spans:
                    self.resource = {a.key: a.value.string_value for a in batch.resource.attributes}
                    self.spans += [s for sc in batch.scope_spans for s in sc.spans]
            case "/v1/logs":
                for logs in ExportLogsServiceRequest.FromString(body).resource_logs:
                    self.lines += [r for sc in logs.scope_logs for r in sc.log_records]
            case "/v1/metrics":
                for points in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                    self.metrics |= {m.name: m for sc in points.scope_metrics for m in sc.metrics}
        return web.Response()


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[Receiver, str]]:
    taken = Receiver()
    site = web.Application()
    site.router.add_post("/{signal:.*}", taken.take)
    runner = web.AppRunner(site)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        yield taken, "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


def test_spans_lines_and_metrics_are_exported_under_the_programs_own_ids(
    app: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "k8s.node.name=node-a")

    async def scenario() -> Receiver:
        async with receiver() as (taken, url):
            env = {ENDPOINT: url}
            with closing(reserved()) as nobody:
                book = {"middle": nobody.getsockname()}
                async with running(app, "front", tmp_path, env=env, book=book) as front:
                    await send(front, QUOTE)
            return taken

    taken = asyncio.run(scenario())
    server = next(s for s in taken.spans if s.kind == Span.SPAN_KIND_SERVER)
    attempts = [s for s in taken.spans if s.kind == Span.SPAN_KIND_CLIENT]
    assert int.from_bytes(server.trace_id, "big") == 0xABC
    assert int.from_bytes(server.parent_span_id, "big") == 0xDEF
    assert server.status.code == Status.STATUS_CODE_ERROR
    assert len(attempts) == 3
    assert {s.trace_id for s in attempts} == {server.trace_id}
    assert {s.parent_span_id for s in attempts} == {server.span_id}
    assert taken.resource["service.name"] == "front"
    assert taken.resource["service.version"] == "1.0.0"
    assert taken.resource["k8s.pod.name"] == "front-0"
    assert taken.resource["k8s.namespace.name"] == "relay"
    assert taken.resource["k8s.node.name"] == "node-a"
    failed = next(
        line for line in taken.lines if "failed with status 503" in line.body.string_value
    )
    assert failed.severity_text == "ERROR"
    assert int.from_bytes(failed.trace_id, "big") == 0xABC
    assert {"http_server_request_duration_seconds", "http_client_retries_total"} <= set(
        taken.metrics
    )
    ready = taken.metrics["process_resident_memory_bytes"].gauge.data_points[0]
    assert ready.as_double > 2**20


def test_a_receiver_that_is_away_neither_stops_nor_delays_a_service(
    app: App, tmp_path: Path
) -> None:
    async def scenario() -> int:
        with closing(reserved()) as nobody:
            env = {ENDPOINT: f"http://{LOOPBACK}:{nobody.getsockname()[1]}"}
            async with running(app, "middle", tmp_path, env=env) as middle:
                assert (await send(middle, QUOTE)).status == 200
                return await middle.end()

    assert asyncio.run(scenario()) == 0
