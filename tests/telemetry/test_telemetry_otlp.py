"""OTLP in: what is encoded with the SDK's messages comes out of the store as it was sent."""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from aiopslab.telemetry import otlp
from aiopslab.telemetry.otlp import decoding, metrics
from aiopslab.telemetry.otlp.naming import label_name, metric_name
from aiopslab.telemetry.otlp.values import scalar
from aiopslab.telemetry.samples import HOLD_S, SampleTable
from aiopslab.telemetry.store import Store

PROTOBUF, JSON = "application/x-protobuf", "application/json"
NOW = 1_770_000_000
SENDER = {"service.name": "rate", "k8s.pod.name": "rate-1", "k8s.namespace.name": "hotel"}
TRACE, SPAN, PARENT = bytes(range(1, 17)), bytes(range(1, 9)), bytes(range(8))


def attributes(values: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}
    return [{"key": k, "value": {kinds[type(v)]: v}} for k, v in values.items()]


def spans(*given: dict[str, Any], resource: dict[str, Any] | None = None) -> Any:
    sent = [
        {
            "trace_id": TRACE, "span_id": SPAN, "name": "GET /rates", "kind": 2,
            "start_time_unix_nano": NOW * 10**9, "end_time_unix_nano": NOW * 10**9 + 5_000_000,
            **one,
        }
        for one in given
    ]  # fmt: skip
    return ExportTraceServiceRequest(
        resource_spans=[
            {
                "resource": {"attributes": attributes(SENDER if resource is None else resource)},
                "scope_spans": [{"spans": sent}],
            }
        ]
    )


def logs(*given: dict[str, Any]) -> Any:
    sent = [{"time_unix_nano": NOW * 10**9, "body": {"string_value": "hello"}, **o} for o in given]
    return ExportLogsServiceRequest(
        resource_logs=[
            {
                "resource": {"attributes": attributes(SENDER)},
                "scope_logs": [{"log_records": sent}],
            }
        ]
    )


def points(*given: dict[str, Any], resource: dict[str, Any] | None = None) -> Any:
    """A request with some metrics."""
    return ExportMetricsServiceRequest(
        resource_metrics=[
            {
                "resource": {"attributes": attributes(SENDER if resource is None else resource)},
                "scope_metrics": [{"metrics": list(given)}],
            }
        ]
    )


def gauge(name: str, *samples: tuple[float, float], **told: Any) -> dict[str, Any]:
    sent = [
        {"time_unix_nano": round(t * 1e9), "as_double": v, "attributes": attributes(told)}
        for t, v in samples
    ]
    return {"name": name, "gauge": {"data_points": sent}}


def rows(table: SampleTable) -> dict[str, list[float]]:
    """Values of every series by its name and own labels, over the rounds."""
    known = {"job", "service", "pod", "namespace", "instance", "__name__"}
    found = {}
    for column, labels in enumerate(table.labels):
        pairs = dict(labels)
        own = ",".join(f"{k}={v}" for k, v in labels if k not in known)
        found[f"{pairs['__name__']}{{{own}}}"] = table.values()[:, column].tolist()
    return found


def otlp_json(message: Any) -> bytes:
    """OTLP/JSON of a message: protobuf's JSON with ids in hex."""

    def with_hex(node: Any) -> Any:
        if isinstance(node, list):
            return [with_hex(n) for n in node]
        if not isinstance(node, dict):
            return node
        ids = ("traceId", "spanId", "parentSpanId")
        decode = json_format.base64.b64decode
        return {k: decode(v).hex() if k in ids else with_hex(v) for k, v in node.items()}

    return json.dumps(with_hex(json_format.MessageToDict(message))).encode()


# -- decoding -------------------------------------------------------------------------------------

ids = st.binary(min_size=16, max_size=16)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
any_values = st.one_of(
    st.builds(lambda v: {"string_value": v}, texts),
    st.builds(lambda v: {"bool_value": v}, st.booleans()),
    st.builds(lambda v: {"int_value": v}, st.integers(-(2**63), 2**63 - 1)),
    st.builds(lambda v: {"double_value": v}, st.floats(allow_nan=False)),
    st.builds(lambda v: {"bytes_value": v}, st.binary(max_size=8)),
    st.builds(lambda v: {"array_value": {"values": [{"int_value": v}]}}, st.integers(0, 9)),
)
told = st.lists(st.builds(lambda k, v: {"key": k, "value": v}, texts, any_values), max_size=4)
sent_spans = st.builds(
    lambda trace, name, start, length, kind, attributes: {
        "trace_id": trace, "span_id": trace[:8], "name": name, "kind": kind,
        "start_time_unix_nano": start, "end_time_unix_nano": start + length,
        "attributes": attributes,
    },
    ids, texts, st.integers(1, 2**62), st.integers(0, 10**12), st.integers(0, 5), told,
)  # fmt: skip


@given(st.lists(sent_spans, max_size=5), st.booleans())
def test_both_encodings_of_any_request_decode_to_what_was_sent(given, packed) -> None:
    message = spans(*given)
    for body, kind in ((message.SerializeToString(), PROTOBUF), (otlp_json(message), JSON)):
        sent = gzip.compress(body, mtime=0) if packed else body
        assert otlp.decode_traces(sent, kind, "gzip" if packed else "") == message


@given(st.lists(sent_spans, max_size=5))
def test_every_valid_span_is_recorded_and_every_other_counted(given) -> None:
    store = Store()
    rejected = otlp.ingest_traces(store, spans(*given), now=None)
    valid = [s for s in given if any(s["trace_id"]) and any(s["span_id"])]
    assert len(store.spans.columns()) == len(valid)
    assert rejected.count == len(given) - len(valid)


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from([PROTOBUF, JSON]), st.sampled_from(["", "gzip"]))
def test_no_body_breaks_the_decoder(body, kind, encoding) -> None:
    with contextlib.suppress(otlp.OtlpError):
        otlp.ingest_metrics(Store(), otlp.decode_metrics(body, kind, encoding), now=None)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@given(st.sampled_from(["resourceSpans", "scopeSpans", "spans", "traceId", "kind"]), json_values)
def test_no_json_breaks_the_decoder(key, value) -> None:
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [{key: value}]}]}], key: value})
    with contextlib.suppress(otlp.OtlpError):
        otlp.ingest_traces(Store(), otlp.decode_traces(body.encode(), JSON), now=None)


def test_json_is_read_as_the_specification_writes_it() -> None:
    body = b"""{"resourceSpans": [{"resource": {"attributes": [
      {"key": "service.name", "value": {"stringValue": "my.service"}}]},
      "scopeSpans": [{"scope": {"name": "my.library", "unknownField": 1}, "spans": [{
        "traceId": "5B8EFFF798038103D269B633813FC60C", "spanId": "EEE19B7EC3C1B174",
        "parentSpanId": "EEE19B7EC3C1B173", "name": "I'm a server span",
        "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000",
        "kind": 2, "attributes": [
          {"key": "my.span.attr", "value": {"intValue": "9007199254740993"}}]
      }]}]}]}"""
    store = Store()
    message = otlp.decode_traces(body, "application/json; charset=utf-8")
    assert otlp.ingest_traces(store, message, now=None) == otlp.Rejected()
    [row] = store.spans.trace("5b8efff798038103d269b633813fc60c")
    assert (row.service, row.name, row.kind) == ("my.service", "I'm a server span", "server")
    assert (row.parent_id, row.duration_ms) == ("eee19b7ec3c1b173", 1000.0)
    assert row.attributes == {"my.span.attr": 2**53 + 1, "otel.scope.name": "my.library"}


@pytest.mark.parametrize(
    ("body", "kind", "encoding", "status", "said"),
    [
        (b"{}", "text/plain", "", 415, "application/json"),
        (b"{}", "", "", 415, "application/json"),
        (b"{}", JSON, "br", 415, "gzip"),
        (b"{}", JSON, "gzip", 400, "not gzip"),
        (gzip.compress(b"{}" * 500, mtime=0)[:-12], JSON, "gzip", 400, "cut off"),
        (b"\xff\xff", PROTOBUF, "", 400, "ExportTraceServiceRequest"),
        (b"[]", JSON, "", 400, "not a JSON object"),
        (b"[" * 100_000, JSON, "", 400, "recursion"),
        (b'{"resourceSpans": 1}', JSON, "", 400, "resourceSpans"),
        (b'{"a": "\\ud800"}', JSON, "", 400, "surrogates"),
        (b'{"resourceSpans":[{"traceId":"xyz"}]}', JSON, "", 400, "hex"),
        (b'{"resourceSpans":[{"spanId":"ab"}]}', JSON, "", 400, "1 bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_the_reason(body, kind, encoding, status, said) -> None:
    with pytest.raises(otlp.OtlpError, match=said) as refused:
        otlp.decode_traces(body, kind, encoding)
    assert refused.value.status == status


def test_a_small_body_that_unpacks_to_gigabytes_is_refused_without_unpacking_them() -> None:
    bomb = gzip.compress(b"\0" * (4 * decoding.UNPACKED_LIMIT), mtime=0)
    assert len(bomb) < 200_000
    tracemalloc.start()
    with pytest.raises(otlp.OtlpError, match="larger") as refused:
        otlp.decode_logs(bomb, JSON, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.status == 413
    assert peak < 3 * decoding.UNPACKED_LIMIT


# -- spans ----------------------------------------------------------------------------------------


def recorded(**span: Any) -> Any:
    store = Store()
    assert otlp.ingest_traces(store, spans(span), now=NOW).count == 0
    [row] = store.spans.trace(TRACE.hex())
    return row


def test_a_span_keeps_its_sender_and_all_its_scalar_attributes() -> None:
    given = {"s": "text", "i": -7, "f": 0.5, "yes": True, "no": False}
    row = recorded(attributes=attributes(given), parent_span_id=PARENT, kind=3)
    assert (row.service, row.pod, row.kind) == ("rate", "rate-1", "client")
    assert row.attributes == {**given, "yes": "true", "no": "false"}
    assert (row.start, row.duration_ms) == (NOW, pytest.approx(5, abs=1e-3))
    assert row.parent_id == PARENT.hex()


@pytest.mark.parametrize(
    ("status", "told", "error"),
    [
        ({"code": 0}, {}, ""),
        ({"code": 1, "message": "fine"}, {"error.type": "x"}, ""),
        ({"code": 2}, {}, "error"),
        ({"code": 2, "message": "refused"}, {}, "refused"),
        ({"code": 2, "message": "refused"}, {"error.type": "503"}, "refused"),
        ({"code": 2}, {"error.type": "503"}, "503"),
    ],
)
def test_a_span_has_failed_if_its_status_says_so(status, told, error) -> None:
    assert recorded(status=status, attributes=attributes(told)).error == error


def test_an_exception_event_leaves_type_and_message() -> None:
    event = {
        "name": "exception",
        "attributes": attributes({"exception.type": "KeyError", "exception.stacktrace": "..."}),
    }
    assert recorded(events=[event, {"name": "retry"}]).attributes == {"exception.type": "KeyError"}


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ({"array_value": {"values": [{"int_value": 1}, {"bool_value": True}]}}, "[1, true]"),
        ({"kvlist_value": {"values": attributes({"a": "b"})}}, '{"a": "b"}'),
        ({"bytes_value": b"\x00\xff"}, '"00ff"'),
        ({"double_value": math.nan}, "nan"),
        ({}, None),
    ],
)
def test_values_that_are_no_scalars_become_text(value, kept) -> None:
    assert scalar(AnyValue(**value)) == kept


@pytest.mark.parametrize(
    ("span", "said"),
    [
        ({"trace_id": b""}, "trace_id"),
        ({"trace_id": bytes(16)}, "trace_id"),
        ({"trace_id": TRACE[:8]}, "trace_id"),
        ({"span_id": bytes(8)}, "span_id"),
        ({"parent_span_id": b"123"}, "parent_span_id"),
        ({"end_time_unix_nano": 1}, "ends before"),
        ({"start_time_unix_nano": 0, "end_time_unix_nano": 0}, "no time"),
        ({"start_time_unix_nano": 10**18, "end_time_unix_nano": 10**18}, "behind the cluster"),
        ({"start_time_unix_nano": 2 * 10**18, "end_time_unix_nano": 2 * 10**18}, "ahead of"),
    ],
)
def test_a_span_that_cannot_be_kept_is_counted_and_the_others_are_kept(span, said) -> None:
    store = Store()
    rejected = otlp.ingest_traces(store, spans({}, span, {}), now=NOW)
    assert rejected.count == 1
    assert said in rejected.message
    assert len(store.spans.columns()) == 2


def test_a_sender_with_a_clock_of_its_own_may_send_any_time() -> None:
    store = Store()
    sent = spans({"start_time_unix_nano": 1, "end_time_unix_nano": 2})
    assert otlp.ingest_traces(store, sent, now=None).count == 0


def test_attributes_beyond_the_limit_are_left_out_with_a_warning() -> None:
    store = Store()
    many = attributes({f"a{i}": i for i in range(200)})
    rejected = otlp.ingest_traces(store, spans({"attributes": many}), now=NOW)
    assert (rejected.count, "128" in rejected.message) == (0, True)
    assert len(store.spans.trace(TRACE.hex())[0].attributes) == 128


# -- logs -----------------------------------------------------------------------------------------


def test_a_log_record_is_the_line_of_its_body() -> None:
    store = Store()
    sent = logs({"trace_id": TRACE, "span_id": SPAN, "severity_number": 17})
    assert otlp.ingest_logs(store, sent, now=NOW) == otlp.Rejected()
    row = store.frame("logs").iloc[0].to_dict()
    assert row == {
        "time": NOW, "service": "rate", "namespace": "hotel", "pod": "rate-1", "container": "",
        "severity": "ERROR", "line": "hello", "trace_id": TRACE.hex(), "span_id": SPAN.hex(),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        ({"severity_number": 1}, "DEBUG"), ({"severity_number": 8}, "DEBUG"),
        ({"severity_number": 9}, "INFO"), ({"severity_number": 16}, "WARN"),
        ({"severity_number": 24}, "FATAL"), ({"severity_text": "Warning"}, "WARN"),
        ({"severity_text": "critical"}, "FATAL"), ({"severity_text": "?"}, "INFO"), ({}, "INFO"),
    ],
)  # fmt: skip
def test_severities_are_those_of_the_store(record, severity) -> None:
    store = Store()
    otlp.ingest_logs(store, logs(record), now=NOW)
    assert store.frame("logs")["severity"][0] == severity


def test_a_record_without_a_body_is_written_as_its_attributes() -> None:
    store = Store()
    sent = {"body": {}, "event_name": "login", "attributes": attributes({"user": "ann", "n": 2})}
    otlp.ingest_logs(store, logs(sent), now=NOW)
    assert json.loads(store.frame("logs")["line"][0]) == {"event": "login", "user": "ann", "n": 2}


def test_a_log_record_without_time_counts_as_when_it_was_observed() -> None:
    store = Store()
    sent = {"time_unix_nano": 0, "observed_time_unix_nano": (NOW - 5) * 10**9}
    rejected = otlp.ingest_logs(store, logs(sent, {"time_unix_nano": 0}), now=NOW)
    assert (rejected.count, "no time" in rejected.message) == (1, True)
    assert store.logs.columns()["time"].tolist() == [NOW - 5]


# -- metrics --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (("http.server.request.duration", "s"), "http_server_request_duration_seconds"),
        (("http.server.active_requests", "{request}"), "http_server_active_requests"),
        (("process.memory.usage", "By"), "process_memory_usage_bytes"),
        (("process_memory_bytes", "By"), "process_memory_bytes"),
        (("disk.io", "By/s"), "disk_io_bytes_per_second"),
        (("2xx.count", ""), "_2xx_count"),
        (("queue.length", "1"), "queue_length"),
    ],
)
def test_metrics_get_the_names_that_prometheus_gives_them(given, name) -> None:
    assert metric_name(*given) == name


def test_counters_and_ratios_get_their_suffix_once() -> None:
    assert metric_name("jobs.total", "", monotonic=True) == "jobs_total"
    assert metric_name("jobs", "s", monotonic=True) == "jobs_seconds_total"
    assert metric_name("cpu.utilization", "1", gauge=True) == "cpu_utilization_ratio"


@pytest.mark.parametrize(
    ("key", "label"),
    [("http.route", "http_route"), ("9lives", "key_9lives"), ("__name__", "key__name__")],
)
def test_attributes_become_labels_that_cannot_pass_for_reserved_ones(key, label) -> None:
    assert label_name(key) == label


def test_in_a_store_of_its_own_each_time_that_is_sent_is_a_round() -> None:
    store = Store()
    sent = points(gauge("a", (5, 1), (10, 2)), gauge("b", (10, 7), zone="x"))
    assert otlp.ingest_metrics(store, sent, now=None) == otlp.Rejected()
    assert store.samples.times().tolist() == [5, 10]
    found = rows(store.samples)
    assert found["a{}"] == [1, 2]
    assert found["b{zone=x}"][1] == 7
    assert math.isnan(found["b{zone=x}"][0])


def test_points_out_of_order_are_refused_and_counted() -> None:
    store = Store()
    otlp.ingest_metrics(store, points(gauge("a", (10, 1))), now=None)
    rejected = otlp.ingest_metrics(store, points(gauge("a", (5, 1), (15, 3))), now=None)
    assert rejected.count == 1
    assert "older" in rejected.message
    assert rows(store.samples)["a{}"] == [1, 3]


def test_pushed_points_appear_in_the_rounds_of_a_scraped_store_until_they_expire() -> None:
    store = Store()
    target = store.target({"job": "node"})
    column = target.column("load", ())
    target.write(NOW, [column], [1.0])
    sent = points(gauge("a", (NOW + 2, 4)), gauge("old", (NOW - HOLD_S - 1, 1)))
    rejected = otlp.ingest_metrics(store, sent, now=NOW + 3)
    assert (rejected.count, "300 s old" in rejected.message) == (1, True)
    for time in (NOW + 5, NOW + 10, NOW + 2 + HOLD_S + 1):
        target.write(time, [column], [1.0])
    found = rows(store.samples)
    assert store.samples.times().tolist() == [NOW, NOW + 5, NOW + 10, NOW + 303]
    assert np.isnan(found["a{}"]).tolist() == [True, False, False, True]
    assert found["load{}"] == [1, 1, 1, 1]


def test_a_scraped_value_and_an_alert_win_over_a_pushed_one_of_the_same_series() -> None:
    store = Store()
    target = store.target({"job": "rate", "service": "rate"})
    store.samples.row(NOW)
    alert = store.samples.column("ALERTS", (("job", "rate"), ("service", "rate")))
    store.samples.stand({alert: 1.0})
    sent = points(
        gauge("up", (NOW, 0)), gauge("ALERTS", (NOW, 0)), resource={"service.name": "rate"}
    )
    assert otlp.ingest_metrics(store, sent, now=NOW).count == 0
    target.write(NOW + 5, [], [])
    found = rows(store.samples)
    assert (found["up{}"][-1], found["ALERTS{}"][-1]) == (1, 1)


def test_a_series_has_its_sender_as_labels() -> None:
    store = Store()
    otlp.ingest_metrics(store, points(gauge("a", (5, 1), **{"http.route": "/x"})), now=None)
    assert dict(store.samples.labels[0]) == {
        "__name__": "a", "job": "rate", "service": "rate", "pod": "rate-1", "namespace": "hotel",
        "instance": "rate-1", "http_route": "/x",
    }  # fmt: skip


def test_histograms_and_summaries_become_their_classic_series() -> None:
    store = Store()
    common = {"time_unix_nano": 5 * 10**9, "count": 6, "sum": 9.5}
    histogram = {**common, "explicit_bounds": [0.1, 1.0], "bucket_counts": [1, 2, 3]}
    summary = {**common, "quantile_values": [{"quantile": 0.5, "value": 0.2}]}
    sent = points(
        {"name": "h", "unit": "s",
         "histogram": {"data_points": [histogram], "aggregation_temporality": 2}},
        {"name": "q", "summary": {"data_points": [summary]}},
    )  # fmt: skip
    assert otlp.ingest_metrics(store, sent, now=None) == otlp.Rejected()
    assert {k: v[0] for k, v in rows(store.samples).items()} == {
        "h_seconds_bucket{le=0.1}": 1, "h_seconds_bucket{le=1}": 3,
        "h_seconds_bucket{le=+Inf}": 6, "h_seconds_sum{}": 9.5, "h_seconds_count{}": 6,
        "q{quantile=0.5}": 0.2, "q_sum{}": 9.5, "q_count{}": 6,
    }  # fmt: skip


def test_bounds_that_are_close_to_each_other_stay_apart() -> None:
    store = Store()
    sent = points(histogram([0.1234567, 1234567.0, 1234568.0, math.inf], [1, 1, 1, 1, 0]))
    assert otlp.ingest_metrics(store, sent, now=None) == otlp.Rejected()
    assert {k: v[0] for k, v in rows(store.samples).items() if "bucket" in k} == {
        "h_bucket{le=0.1234567}": 1, "h_bucket{le=1234567}": 2, "h_bucket{le=1234568}": 3,
        "h_bucket{le=+Inf}": 0,
    }  # fmt: skip


def histogram(bounds: list[float], counts: list[int]) -> dict[str, Any]:
    point = {"time_unix_nano": 5, "explicit_bounds": bounds, "bucket_counts": counts}
    return {"name": "h", "histogram": {"data_points": [point], "aggregation_temporality": 2}}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        ({"name": "d", "sum": {"data_points": [{}], "aggregation_temporality": 1}}, "cumulative"),
        ({"name": "e", "exponential_histogram": {"data_points": [{}]}}, "explicit buckets"),
        ({"name": "n"}, "no data"),
        (histogram([1.0, 2.0], [1, 2]), "one more"),
        (histogram([2.0, 1.0], [1, 2, 3]), "ascend"),
        (gauge("g", (0, 1)), "no time"),
        (gauge("..", (5, 1)), "no name"),
    ],
)
def test_points_of_another_kind_are_refused_with_the_reason(metric, said) -> None:
    store = Store()
    rejected = otlp.ingest_metrics(store, points(metric), now=None)
    assert rejected.count == 1
    assert said in rejected.message
    assert len(store.samples.labels) == 0


def test_a_point_without_recorded_value_ends_its_series() -> None:
    store = Store()
    otlp.ingest_metrics(store, points(gauge("a", (5, 1))), now=None)
    gone = gauge("a", (10, 1))
    gone["gauge"]["data_points"][0]["flags"] = 1
    otlp.ingest_metrics(store, points(gone, gauge("b", (10, 1), (15, 1))), now=None)
    assert np.isnan(rows(store.samples)["a{}"]).tolist() == [False, True, True]


def test_series_and_times_have_a_limit(monkeypatch) -> None:
    monkeypatch.setattr(metrics, "MAX_SERIES", 3)
    store = Store()
    many = points(*(gauge(f"m{i}", (5, 1)) for i in range(5)))
    rejected = otlp.ingest_metrics(store, many, now=None)
    assert (rejected.count, len(store.samples.labels)) == (2, 3)
    assert otlp.ingest_metrics(store, points(gauge("m0", (6, 2))), now=None).count == 0
    monkeypatch.setattr(metrics, "MAX_CELLS", 9)
    rejected = otlp.ingest_metrics(store, points(gauge("m0", (7, 1), (8, 1), (9, 1))), now=None)
    assert (rejected.count, len(store.samples.times())) == (2, 3)


def test_a_query_finds_what_was_pushed() -> None:
    store = Store()
    samples = [(t, t * 2.0) for t in range(5, 65, 5)]
    sent = gauge("work", *samples)
    sent["sum"] = {**sent.pop("gauge"), "is_monotonic": True, "aggregation_temporality": 2}
    otlp.ingest_metrics(store, points(sent), now=None)
    [series] = store.promql.instant('rate(work_total{service="rate"}[1m])', 60.0)
    assert series.points[0][1] == pytest.approx(2.0)


# -- responses ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signal", "kind", "field"),
    [
        ("traces", ExportTraceServiceResponse, "rejected_spans"),
        ("metrics", ExportMetricsServiceResponse, "rejected_data_points"),
        ("logs", ExportLogsServiceResponse, "rejected_log_records"),
    ],
)
@pytest.mark.parametrize("content_type", [PROTOBUF, "application/json; charset=utf-8"])
def test_a_response_says_what_was_not_kept(signal, kind, field, content_type) -> None:
    def read(body: bytes) -> Any:
        if content_type == PROTOBUF:
            return kind.FromString(body)
        return json_format.Parse(body, kind())

    partial = read(otlp.encode_response(signal, otlp.Rejected(3, "late"), content_type))
    assert getattr(partial.partial_success, field) == 3
    assert partial.partial_success.error_message == "late"
    whole = read(otlp.encode_response(signal, otlp.Rejected(), content_type))
    assert not whole.HasField("partial_success")


# -- what the SDK sends ---------------------------------------------------------------------------


def test_spans_of_the_sdk_are_kept_with_their_exception() -> None:
    kept = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "cart"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracer = provider.get_tracer("lib")

    @tracer.start_as_current_span("outer", kind=SpanKind.SERVER)
    def serve() -> None:
        with tracer.start_as_current_span("inner", attributes={"n": 1, "tags": ["a", "b"]}):
            raise KeyError("sku")

    with pytest.raises(KeyError):
        serve()
    body = encode_spans(kept.get_finished_spans()).SerializeToString()
    store = Store()
    assert otlp.ingest_traces(store, otlp.decode_traces(body, PROTOBUF), now=None).count == 0
    rows = {row["name"]: row for row in store.frame("spans").to_dict("records")}
    assert rows["inner"]["parent_id"] == rows["outer"]["span_id"]
    assert json.loads(rows["inner"]["attributes"])["tags"] == '["a", "b"]'
    assert (rows["outer"]["kind"], rows["outer"]["service"]) == ("server", "cart")
    assert "KeyError" in rows["outer"]["error"]
    assert json.loads(rows["outer"]["attributes"])["exception.type"] == "KeyError"


def test_metrics_of_the_sdk_become_series() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider(
        [reader], resource=Resource({"service.name": "cart"}), shutdown_on_exit=False
    )
    meter = provider.get_meter("lib")
    meter.create_counter("cart.adds", unit="{item}").add(3, {"sku": "a"})
    meter.create_up_down_counter("cart.open").add(-2)
    meter.create_histogram(
        "cart.price", unit="s", explicit_bucket_boundaries_advisory=[1.0, 10.0]
    ).record(5.0)
    body = encode_metrics(reader.get_metrics_data()).SerializeToString()
    provider.shutdown()
    store = Store()
    message = otlp.decode_metrics(gzip.compress(body, mtime=0), PROTOBUF, "gzip")
    assert otlp.ingest_metrics(store, message, now=None) == otlp.Rejected()
    assert {k: v[-1] for k, v in rows(store.samples).items()} == {
        "cart_adds_total{sku=a}": 3, "cart_open{}": -2,
        "cart_price_seconds_bucket{le=1}": 0, "cart_price_seconds_bucket{le=10}": 1,
        "cart_price_seconds_bucket{le=+Inf}": 1, "cart_price_seconds_sum{}": 5,
        "cart_price_seconds_count{}": 1,
    }  # fmt: skip
