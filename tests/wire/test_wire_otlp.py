"""The OTLP receiver: signals arrive in the store, in every encoding; refusals say why."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from google.protobuf import json_format
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from wire_clients import Wire, asked, on_socket

from aiopslab.environments.sim import Sim
from aiopslab.telemetry.store import Store
from aiopslab.wire.gate import Call, StandingGate
from aiopslab.wire.identity import Tokens, administrator
from aiopslab.wire.monitoring import otlp
from aiopslab.wire.monitoring.otlp import otlp_app, otlp_refusal
from aiopslab.wire.site import Mount, Site

PROTOBUF = {"content-type": "application/x-protobuf"}
JSON = {"content-type": "application/json"}
BOMB = gzip.compress(bytes(64 * 2**20), mtime=0)


class Inbox:
    """A receiver over a store, in memory."""

    def __init__(self, env: Sim, now: Callable[[], float] | None = None) -> None:
        self.store = Store()
        self.turns: list[Call] = []
        gate = StandingGate(env, 1.0)
        turn = gate.turn

        def counted(call: Call) -> Any:
            self.turns.append(call)
            return turn(call)

        gate.turn = counted  # type: ignore[method-assign]  # counts the turns
        self.app = otlp_app(self.store, gate, now=now)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
        return asked(self.app, "POST", path, content=body, headers=headers)


def traces(at: float) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    name = resource.resource.attributes.add(key="service.name")
    name.value.string_value = "batch"
    span = resource.scope_spans.add().spans.add(name="work", kind=2)
    span.trace_id, span.span_id = bytes(range(16)), bytes(range(8))
    span.start_time_unix_nano, span.end_time_unix_nano = int(at * 1e9), int((at + 1) * 1e9)
    return request


def logs(at: float) -> ExportLogsServiceRequest:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    name = resource.resource.attributes.add(key="service.name")
    name.value.string_value = "batch"
    record = resource.scope_logs.add().log_records.add(time_unix_nano=int(at * 1e9))
    record.body.string_value = "half done"
    record.severity_number = 9
    return request


def metrics(at: float) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    metric = scope.metrics.add(name="jobs.waiting")
    point = metric.gauge.data_points.add(time_unix_nano=int(at * 1e9))
    point.as_int = 7
    return request


SIGNALS = {"traces": traces, "logs": logs, "metrics": metrics}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
@pytest.mark.parametrize("signal", sorted(SIGNALS))
def test_signals_arrive_in_every_encoding(
    hotel: Sim, signal: str, encoding: str, zipped: bool
) -> None:
    inbox = Inbox(hotel)
    request = SIGNALS[signal](1000.0)
    body, headers = request.SerializeToString(), PROTOBUF
    if encoding == "json":
        tree = json_format.MessageToDict(request)
        for resource in tree.get("resourceSpans", []):
            span = resource["scopeSpans"][0]["spans"][0]
            span["traceId"], span["spanId"] = bytes(range(16)).hex(), bytes(range(8)).hex()
        body, headers = json_format.json.dumps(tree).encode(), JSON
    if zipped:
        body, headers = gzip.compress(body, mtime=0), {**headers, "content-encoding": "gzip"}
    answer = inbox.post(f"/v1/{signal}", body, headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == headers["content-type"]
    if signal == "traces":
        [span] = inbox.store.spans.trace(bytes(range(16)).hex())
        assert (span.service, span.name, span.duration_ms) == ("batch", "work", 1000.0)
    elif signal == "logs":
        assert inbox.store.frame("logs")["line"].tolist() == ["half done"]
    else:
        assert inbox.store.frame("samples")["value"].tolist() == [7.0]


def test_what_lies_far_from_the_clock_is_counted_as_rejected(hotel: Sim) -> None:
    inbox = Inbox(hotel, now=hotel.now)
    answer = inbox.post("/v1/traces", traces(1000.0).SerializeToString(), PROTOBUF)
    response = ExportTraceServiceResponse.FromString(answer.content)
    assert response.partial_success.rejected_spans == 1
    assert "clock" in response.partial_success.error_message
    answer = inbox.post("/v1/traces", traces(hotel.now() - 5).SerializeToString(), PROTOBUF)
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")


def test_only_the_worlds_own_store_takes_turns(hotel: Sim) -> None:
    own, world = Inbox(hotel), Inbox(hotel, now=hotel.now)
    for inbox in (own, world):
        inbox.post("/v1/traces", b"", PROTOBUF)
    assert (len(own.turns), len(world.turns)) == (0, 1)


def test_an_agents_telemetry_stays_out_of_the_world(wire: Wire, hotel: Sim) -> None:
    before = len(hotel.world.store.frame("spans"))
    body = traces(hotel.now()).SerializeToString()
    assert wire.ask("POST", "/otlp/v1/traces", content=body, headers=PROTOBUF).is_success
    assert len(hotel.world.store.frame("spans")) == before
    assert wire.inbox.spans.trace(bytes(range(16)).hex())


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"\xff\xff", PROTOBUF, 400, "ExportTraceServiceRequest"),
        (b"{", JSON, 400, "ExportTraceServiceRequest"),
        (b"[]", JSON, 400, "object"),
        (b"<xml/>", {"content-type": "text/xml"}, 415, "text/xml"),
        (b"x", {**PROTOBUF, "content-encoding": "gzip"}, 400, "gzip"),
        (b"x", {**PROTOBUF, "content-encoding": "br"}, 415, "br"),
        (BOMB, {**PROTOBUF, "content-encoding": "gzip"}, 413, "larger"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_a_status(
    hotel: Sim, body: bytes, headers: dict[str, str], status: int, words: str
) -> None:
    answer = Inbox(hotel).post("/v1/traces", body, headers)
    assert answer.status_code == status
    if headers["content-type"] == JSON["content-type"]:
        message = answer.json()["message"]
    else:
        message = Status.FromString(answer.content).message
    assert words in message


def test_a_store_of_ones_own_does_not_grow_for_ever(
    hotel: Sim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "INBOX_LIMIT", 500)
    inbox = Inbox(hotel)
    body = logs(1000.0).SerializeToString()
    codes = [inbox.post("/v1/logs", body, PROTOBUF).status_code for _ in range(20)]
    assert sorted(set(codes)) == [200, 413]
    assert codes == sorted(codes)
    assert len(inbox.store.frame("logs")) == codes.count(200)


def test_other_paths_and_methods_are_refused(wire: Wire) -> None:
    assert wire.ask("GET", "/otlp/v1/traces").status_code == 405
    assert wire.ask("POST", "/otlp/v1/profiles").json() == {"code": 5, "message": "Not Found"}


def test_the_sdks_exporter_is_understood(hotel: Sim) -> None:
    store, tokens = Store(), Tokens()
    token = tokens.issue(administrator())
    app = otlp_app(store, StandingGate(hotel, 1.0))
    with on_socket(Site([Mount("/otlp", app, otlp_refusal)], tokens)) as url:
        exporter = OTLPSpanExporter(
            f"{url}/otlp/v1/traces", headers={"Authorization": f"Bearer {token}"}
        )
        provider = TracerProvider(resource=Resource.create({"service.name": "agent"}))
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("t").start_as_current_span("think"):
            pass
        provider.shutdown()
    assert store.frame("spans")["name"].tolist() == ["think"]
