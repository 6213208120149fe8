"""Export: what other tools read from the files is what was recorded."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from aiopslab.errors import UsageError
from aiopslab.models.signal import Alert, Change, Event
from aiopslab.telemetry import otlp
from aiopslab.telemetry.export import FORMATS, export
from aiopslab.telemetry.export.messages import nanoseconds
from aiopslab.telemetry.export.series import Series, families, resets
from aiopslab.telemetry.frames import SIGNALS
from aiopslab.telemetry.instruments import Registry
from aiopslab.telemetry.samples import NOT_A_NUMBER
from aiopslab.telemetry.store import Store

T0 = 1_770_000_000.0
GAP = T0 + 35
"""When a scrape failed."""
RENAMED = "pg_stat_database_xact_commit"
"""A counter without the suffix that Prometheus gives to counters of OpenTelemetry."""
ODD = 'quote " comma , back\\slash\nnext line é 🙂'
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool (Debian package prometheus) is not installed"
)


def process(requests: int) -> Registry:
    """What a process of the service exposes after some requests."""
    registry = Registry()
    registry.gauge("app_build_info", lambda: 1.0, version="2.14.0")
    histogram = registry.histogram(
        "http_server_request_duration_seconds", (0.1, 1.0), http_route="/rates"
    )
    for n in range(requests):
        histogram.observe((0.05, 0.5, 7.0)[n % 3])
    registry.counter("cache_requests_total", result=ODD).add(requests * 1.5)
    registry.counter("pg_stat_database_xact_commit").add(requests)
    registry.counter("unheard_of_total").add(requests)
    registry.gauge("process_resident_memory_bytes", lambda: 1e6 + requests / 3)
    return registry


def filled() -> Store:
    """Twelve rounds with a restart, a gap and a NaN; spans, logs and the small signals."""
    store = Store()
    target = store.target(
        {
            "job": "rate", "service": "rate", "namespace": "hotel", "pod": "rate-1",
            "node": "node-a", "instance": "rate-1:8080",
        }
    )  # fmt: skip
    kube = store.target({"job": "kube-state-metrics", "instance": "kube:8080"})
    info = kube.column(
        "kube_pod_info",
        (
            ("created_by_kind", "ReplicaSet"), ("created_by_name", "rate-6f"),
            ("namespace", "hotel"), ("node", "node-a"), ("pod", "rate-1"),
        ),
    )  # fmt: skip
    strange = store.samples.column("strange", (("job", "x"),))
    for n in range(12):
        time = T0 + 5 * n
        kube.write(time, [info], [1.0])
        store.samples.row(time)[strange] = (NOT_A_NUMBER, math.inf, -1.5)[n % 3]
        if time == GAP:
            target.fail(time)
        else:
            target.append(time, process(n if n < 6 else n - 6))
    for n in range(1, 40):
        error = "timeout" if n % 7 == 0 else ""
        store.span(
            n << 64 | 5, n, n - 1, "rate", "rate-1" if n % 2 else "rate-2", "GET /rates",
            ("server", "client", "producer")[n % 3], T0 + n + 0.123456, T0 + n + 0.5, error,
            {"http.route": "/rates", "n": n, "share": 0.25, "odd": ODD},
        )  # fmt: skip
        store.log(
            T0 + n, "rate", "hotel", "rate-1", "app", ("INFO", "ERROR")[n % 2], f"{n} {ODD}",
            n if n % 3 else 0, n if n % 3 else 0,
        )  # fmt: skip
    store.event(
        Event(
            time=T0, type="Warning", reason="BackOff", namespace="hotel", kind="Pod", name="rate-1",
            message=ODD, component="kubelet", count=3,
        )
    )  # fmt: skip
    store.change(Change(time=T0, actor="ci", kind="rollout", component="rate", summary="s"))
    store.alert(T0, Alert(name="A", state="pending", severity="warning", active_at=T0))
    return store


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("recorded [1] *") / "telemetry"
    filled().write_parquet(directory)
    return directory


@pytest.fixture(scope="module")
def exported(recorded: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Directories of all formats."""
    root = tmp_path_factory.mktemp("exported")
    for name in FORMATS:
        export(recorded, root / name, format=name)
    return {name: root / name for name in FORMATS}


def table(recorded: Path, signal: str) -> list[dict[str, Any]]:
    with duckdb.connect(":memory:") as connection:
        path = str(recorded / f"{signal}.parquet").replace("[", "[[]").replace("*", "[*]")
        rows = connection.execute("SELECT * FROM read_parquet($path)", {"path": path})
        names = [column[0] for column in rows.description]
        return [dict(zip(names, row, strict=True)) for row in rows.fetchall()]


# -- the formats as such --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_equal_telemetry_gives_equal_bytes(recorded, exported, name, tmp_path) -> None:
    again = export(recorded, tmp_path, format=name)
    assert [w.path.name for w in again] == [
        file for signal in SIGNALS for file in FORMATS[name].files.get(signal, ())
    ]
    for written in again:
        data = written.path.read_bytes()
        assert data == (exported[name] / written.path.name).read_bytes()
        assert (len(data), written.rows) == (written.bytes, len(table(recorded, written.signal)))


@pytest.mark.parametrize(
    ("fields", "said", "hint"),
    [
        ({"format": "cvs"}, "'cvs'", "did you mean 'csv'"),
        ({"format": "xml"}, "'xml'", "parquet, csv, otlp, openmetrics"),
        ({"format": "csv", "signals": ["span"]}, "'span'", "'spans'"),
        ({"format": "openmetrics", "signals": ["logs"]}, "'logs'", "parquet, csv, otlp"),
        ({"format": "otlp", "signals": ["changes"]}, "'changes'", "parquet, csv"),
    ],
)
def test_unknown_formats_and_signals_are_refused_with_a_hint(
    recorded, tmp_path, fields, said, hint
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        export(recorded, tmp_path / "out", **fields)
    assert hint in refused.value.hint
    assert not (tmp_path / "out").exists()


def test_a_directory_with_content_is_written_to_only_by_force(recorded, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("keep", encoding="utf-8")
    with pytest.raises(UsageError, match="not empty"):
        export(recorded, tmp_path, format="csv", signals=["alerts"])
    (tmp_path / "alerts.csv").write_text("old", encoding="utf-8")
    export(recorded, tmp_path, format="csv", signals=["alerts"], force=True)
    assert (tmp_path / "alerts.csv").read_text(encoding="utf-8").startswith("time,")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["alerts.csv", "mine.txt"]


def test_a_file_in_the_place_of_the_directory_is_refused(recorded, tmp_path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(UsageError, match="not a directory"):
        export(recorded, tmp_path / "out", format="csv", force=True)


def test_a_record_without_telemetry_is_refused(tmp_path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no telemetry"):
        export(tmp_path / "empty", tmp_path / "out", format="csv")
    with pytest.raises(UsageError, match="does not exist"):
        export(tmp_path / "nowhere", tmp_path / "out", format="csv")


def test_a_signal_that_was_asked_for_but_not_recorded_is_refused(recorded, tmp_path) -> None:
    shutil.copy(recorded / "logs.parquet", tmp_path / "logs.parquet")
    with pytest.raises(UsageError, match=r"no spans\.parquet"):
        export(tmp_path, tmp_path / "out", format="csv", signals=["spans"])
    with pytest.raises(UsageError, match="that openmetrics can hold"):
        export(tmp_path, tmp_path / "out", format="openmetrics")
    assert len(export(tmp_path, tmp_path / "out", format="otlp")) == 2


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_leaves_nothing_half_written(recorded, tmp_path, name) -> None:
    data = (recorded / "samples.parquet").read_bytes()
    (tmp_path / "samples.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(UsageError, match=r"samples\.parquet.*cannot be read"):
        export(tmp_path, tmp_path / "out", format=name)
    assert list((tmp_path / "out").iterdir()) == []


def test_an_empty_record_can_be_exported(tmp_path) -> None:
    Store().write_parquet(tmp_path / "telemetry")
    for name in FORMATS:
        assert all(
            w.rows == 0 for w in export(tmp_path / "telemetry", tmp_path / name, format=name)
        )
    assert (tmp_path / "openmetrics" / "metrics.txt").read_text(encoding="utf-8") == "# EOF\n"
    assert (tmp_path / "otlp" / "traces.binpb").read_bytes() == b""


# -- parquet and csv ------------------------------------------------------------------------------


@pytest.mark.parametrize("signal", SIGNALS)
def test_parquet_files_are_those_of_the_record(recorded, exported, signal) -> None:
    name = f"{signal}.parquet"
    assert (exported["parquet"] / name).read_bytes() == (recorded / name).read_bytes()


@pytest.mark.parametrize("signal", SIGNALS)
def test_csv_reads_back_as_it_was_recorded(recorded, exported, signal) -> None:
    text = (exported["csv"] / f"{signal}.csv").read_bytes().decode("utf-8")
    found = list(csv.DictReader(io.StringIO(text, newline="")))
    rows = table(recorded, signal)
    assert len(found) == len(rows)
    for got, want in zip(found, rows, strict=True):
        assert list(got) == list(want)
        for column, value in want.items():
            if isinstance(value, float):
                assert float(got[column]) == value or math.isnan(value)
            else:
                assert got[column] == ("" if value is None else str(value))


def test_csv_lines_end_as_rfc_4180_has_them(exported) -> None:
    data = (exported["csv"] / "samples.csv").read_bytes()
    assert data.startswith(b"metric,labels,time,value\r\n")
    assert data.endswith(b"\r\n")
    assert data.count(b"\n") == data.count(b"\r\n")


# -- otlp -----------------------------------------------------------------------------------------

KINDS = {
    "traces": (ExportTraceServiceRequest, otlp.decode_traces),
    "logs": (ExportLogsServiceRequest, otlp.decode_logs),
    "events": (ExportLogsServiceRequest, otlp.decode_logs),
    "metrics": (ExportMetricsServiceRequest, otlp.decode_metrics),
}


def message(exported: dict[str, Path], name: str) -> Any:
    return KINDS[name][0].FromString((exported["otlp"] / f"{name}.binpb").read_bytes())


def told(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@pytest.mark.parametrize("name", KINDS)
def test_both_encodings_of_otlp_hold_the_same(exported, name) -> None:
    kind, decode = KINDS[name]
    merged = kind()
    for line in (exported["otlp"] / f"{name}.jsonl").read_bytes().splitlines():
        merged.MergeFrom(decode(line, "application/json"))
    # As text: NaN does not equal itself.
    assert str(merged) == str(message(exported, name))


@pytest.mark.parametrize("name", KINDS)
def test_otlp_json_has_fields_of_the_specification_only(exported, name) -> None:
    for line in (exported["otlp"] / f"{name}.jsonl").read_bytes().splitlines():
        # Base64 or hex: here only the names and types of fields matter.
        tree = json.loads(line)
        json_format.ParseDict(_without_ids(tree), KINDS[name][0]())


def _without_ids(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_ids(n) for n in node]
    if not isinstance(node, dict):
        return node
    ids = ("traceId", "spanId", "parentSpanId")
    return {k: _without_ids(v) for k, v in node.items() if k not in ids}


def test_otlp_spans_are_the_recorded_ones(recorded, exported) -> None:
    found = {}
    for batch in message(exported, "traces").resource_spans:
        resource = told(batch.resource.attributes)
        for span in batch.scope_spans[0].spans:
            found[span.span_id.hex()] = (resource, span)
    rows = table(recorded, "spans")
    assert len(found) == len(rows) == 39
    for row in rows:
        resource, span = found[row["span_id"]]
        assert resource["service.name"] == row["service"]
        assert resource["k8s.pod.name"] == row["pod"]
        assert span.trace_id.hex() == row["trace_id"]
        assert span.parent_span_id.hex() == row["parent_id"]
        assert span.name == row["name"]
        assert span.start_time_unix_nano / 1e9 == pytest.approx(row["start"], abs=1e-9)
        length = span.end_time_unix_nano - span.start_time_unix_nano
        assert length == round(row["duration_ms"] * 1e6)
        want = json.loads(row["attributes"])
        if row["error"]:
            want["error.type"] = row["error"]
        assert told(span.attributes) == want
        assert (span.status.code == 2) == bool(row["error"])


def test_resources_know_what_metrics_say_of_their_pod(exported) -> None:
    resources = [
        told(batch.resource.attributes)
        for batch in message(exported, "traces").resource_spans
    ]  # fmt: skip
    assert {
        "service.name": "rate", "service.instance.id": "rate-1", "service.version": "2.14.0",
        "k8s.namespace.name": "hotel", "k8s.node.name": "node-a", "k8s.pod.name": "rate-1",
        "k8s.replicaset.name": "rate-6f",
    } in resources  # fmt: skip


def test_otlp_goes_back_into_a_store_as_it_came_out(recorded, exported) -> None:
    store = Store()
    assert otlp.ingest_traces(store, message(exported, "traces"), now=None).count == 0
    assert otlp.ingest_logs(store, message(exported, "logs"), now=None).count == 0
    spans = {row["span_id"]: row for row in table(recorded, "spans")}
    for row in store.frame("spans").to_dict("records"):
        want = spans[row["span_id"]]
        same = ("trace_id", "parent_id", "service", "pod", "name", "kind", "error")
        assert {k: row[k] for k in same} == {k: want[k] for k in same}
    lines = table(recorded, "logs")
    found = store.frame("logs").to_dict("records")
    assert sorted(found, key=lambda r: r["time"]) == sorted(lines, key=lambda r: r["time"])


def test_metrics_of_a_service_go_back_into_a_store_as_they_came_out(recorded, exported) -> None:
    store = Store()
    rejected = otlp.ingest_metrics(store, message(exported, "metrics"), now=None)
    assert rejected.count == 0

    def of_rate(rows: Any) -> set[tuple[Any, ...]]:
        return {
            (row["metric"], row["labels"], row["time"], row["value"])
            for row in rows
            if json.loads(row["labels"]).get("job") == "rate"
            and not row["metric"].startswith(RENAMED)
        }

    # The round whose scrape failed repeats the one before: other series were sent for that time.
    back = [r for r in store.frame("samples").to_dict("records") if r["time"] != GAP]
    assert of_rate(back) == {row for row in of_rate(table(recorded, "samples")) if row[2] != GAP}
    renamed = [row["value"] for row in back if row["metric"] == f"{RENAMED}_total"]
    assert renamed == recorded_values(recorded, RENAMED)


def test_kubernetes_events_are_log_records(exported) -> None:
    [batch] = message(exported, "events").resource_logs
    [record] = batch.scope_logs[0].log_records
    assert told(batch.resource.attributes)["k8s.object.name"] == "rate-1"
    assert record.body.string_value == ODD
    assert told(record.attributes) == {
        "k8s.event.reason": "BackOff", "k8s.event.count": 3, "k8s.namespace.name": "hotel",
    }  # fmt: skip
    assert record.severity_number == 13


def points(exported: dict[str, Path]) -> Iterator[tuple[Any, dict[str, Any], Any]]:
    """Metric, resource and data of everything in the metrics file."""
    for batch in message(exported, "metrics").resource_metrics:
        for metric in batch.scope_metrics[0].metrics:
            yield (
                metric,
                told(batch.resource.attributes),
                getattr(metric, metric.WhichOneof("data")),
            )


def recorded_values(recorded: Path, metric: str) -> list[float]:
    return [r["value"] for r in table(recorded, "samples") if r["metric"] == metric]


def test_every_sample_is_in_exactly_one_data_point(recorded, exported) -> None:
    found: Counter[str] = Counter()
    for metric, _, data in points(exported):
        if metric.WhichOneof("data") == "histogram":
            for point in data.data_points:
                found[f"{metric.name}_bucket"] += len(point.bucket_counts)
                found[f"{metric.name}_sum"] += 1
                found[f"{metric.name}_count"] += 1
        else:
            found[metric.name] += len(data.data_points)
    assert found == Counter(r["metric"] for r in table(recorded, "samples"))


def test_counters_are_cumulative_monotonic_sums_that_start_anew_at_a_reset(
    recorded, exported
) -> None:
    [(metric, resource, data)] = [
        p for p in points(exported) if p[0].name == "cache_requests_total"
    ]
    assert data.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    assert data.is_monotonic
    assert metric.description
    assert resource["service.name"] == "rate"
    assert [p.as_double for p in data.data_points] == recorded_values(recorded, metric.name)
    # Rounds 0..5, a restart, 6 and 8..11: the gap at 7 is no reset.
    starts = [(p.start_time_unix_nano / 1e9 - T0) / 5 for p in data.data_points]
    assert starts == [0] * 6 + [5] * 5
    assert {told(p.attributes)["result"] for p in data.data_points} == {ODD}


def test_histograms_are_folded_into_points_with_bounds(recorded, exported) -> None:
    name = "http_server_request_duration_seconds"
    [(metric, _, data)] = [p for p in points(exported) if p[0].name == name]
    assert (metric.unit, data.aggregation_temporality) == ("s", AGGREGATION_TEMPORALITY_CUMULATIVE)
    assert [p.count for p in data.data_points] == recorded_values(recorded, f"{name}_count")
    assert [p.sum for p in data.data_points] == recorded_values(recorded, f"{name}_sum")
    last = data.data_points[-1]
    assert list(last.explicit_bounds) == [0.1, 1.0]
    assert list(last.bucket_counts) == [2, 2, 1]
    assert all(sum(p.bucket_counts) == p.count for p in data.data_points)
    assert told(last.attributes) == {"http_route": "/rates"}


def test_what_is_no_counter_is_a_gauge(exported) -> None:
    kinds = {metric.name: metric.WhichOneof("data") for metric, _, _ in points(exported)}
    assert kinds["process_resident_memory_bytes"] == kinds["strange"] == "gauge"
    assert kinds["unheard_of_total"] == kinds["pg_stat_database_xact_commit"] == "sum"


def test_exporters_labels_stay_with_their_points(exported) -> None:
    [(_, resource, data)] = [p for p in points(exported) if p[0].name == "kube_pod_info"]
    assert resource == {"service.name": "kube-state-metrics", "service.instance.id": "kube:8080"}
    assert told(data.data_points[0].attributes)["pod"] == "rate-1"


@given(st.floats(0, 4e9))
def test_nanoseconds_are_those_of_the_number(seconds) -> None:
    assert nanoseconds(seconds) / 1e9 == pytest.approx(seconds, rel=1e-15, abs=1e-9)


# -- openmetrics ----------------------------------------------------------------------------------


def lines(exported: dict[str, Path]) -> list[str]:
    text = (exported["openmetrics"] / "metrics.txt").read_text(encoding="utf-8")
    assert text.endswith("\n# EOF\n")
    return text.split("\n")[:-2]


def test_families_are_grouped_and_described_as_openmetrics_asks(exported) -> None:
    found = lines(exported)
    assert "# TYPE cache_requests counter" in found
    assert "# HELP cache_requests Cache look-ups of a service by result." in found
    assert "# TYPE http_server_request_duration_seconds histogram" in found
    assert "# UNIT http_server_request_duration_seconds seconds" in found
    # A counter by meaning, but OpenMetrics reserves the type for names in _total.
    assert not any(line.startswith("# TYPE pg_stat_database_xact_commit") for line in found)
    families_seen = [line.split()[2] for line in found if line.startswith("# HELP")]
    assert families_seen == sorted(set(families_seen))


def test_each_sample_is_one_line_and_times_ascend_within_a_series(recorded, exported) -> None:
    samples = [line for line in lines(exported) if not line.startswith("#")]
    assert len(samples) == len(table(recorded, "samples"))
    by_series: dict[str, list[float]] = {}
    for line in samples:
        series, value, time = line.rsplit(" ", 2)
        float(value)
        by_series.setdefault(series, []).append(float(time))
    assert all(times == sorted(set(times)) for times in by_series.values())


def test_labels_are_escaped(exported) -> None:
    want = 'result="quote \\" comma , back\\\\slash\\nnext line é 🙂"'
    assert any(want in line for line in lines(exported))


@needs_promtool
def test_promtool_reads_the_text(exported) -> None:
    with (exported["openmetrics"] / "metrics.txt").open("rb") as file:
        done = subprocess.run(
            [PROMTOOL, "check", "metrics"], stdin=file, capture_output=True, text=True, check=False
        )
    # 3: the linter has remarks about names, which are those of the world; 1: it cannot be read.
    assert done.returncode in (0, 3), done.stderr
    assert "error while linting" not in done.stderr


@needs_promtool
def test_prometheus_holds_every_sample_after_promtool_has_loaded_them(
    recorded, exported, tmp_path
) -> None:
    file, blocks = exported["openmetrics"] / "metrics.txt", tmp_path / "db"
    load = [PROMTOOL, "tsdb", "create-blocks-from", "openmetrics", str(file), str(blocks)]
    subprocess.run(load, capture_output=True, check=True)
    # The command that reads blocks wants a write-ahead log, which a loaded directory has not.
    (blocks / "wal").mkdir()
    dumped = subprocess.run(
        [PROMTOOL, "tsdb", "dump", str(blocks)], capture_output=True, text=True, check=True
    )
    found = Counter(
        (line.rsplit(" ", 2)[1], int(line.rsplit(" ", 2)[2])) for line in dumped.stdout.splitlines()
    )
    assert found.total() == len(table(recorded, "samples"))
    times = Counter(time for _, time in found.elements())
    assert times == Counter(round(r["time"] * 1000) for r in table(recorded, "samples"))
    values = sorted(float(value) for value, _ in found.elements() if value != "NaN")
    want = [r["value"] for r in table(recorded, "samples") if r["value"] is not None]
    assert values == sorted(v for v in want if not math.isnan(v))


# -- families -------------------------------------------------------------------------------------


def test_a_bucket_that_was_not_sampled_with_the_others_keeps_a_histogram_apart() -> None:
    def part(name: str, times: list[float], **labels: str) -> Series:
        return Series(name, labels, times, [1.0] * len(times))

    whole, partial = {"a": "1"}, {"a": "2"}
    given = [
        *(part("h_bucket", [1, 2], le=le, **whole) for le in ("+Inf", "0.5")),
        part("h_sum", [1, 2], **whole),
        part("h_count", [1, 2], **whole),
        part("h_bucket", [1, 2], le="+Inf", **partial),
        part("h_bucket", [2], le="0.5", **partial),
        part("h_sum", [1, 2], **partial),
        part("h_count", [1, 2], **partial),
    ]
    found = {family.name: family for family in families(given)}
    assert [h.labels for h in found["h"].histograms] == [whole]
    assert found["h"].histograms[0].bounds == [0.5]
    assert {n: len(f.series) for n, f in found.items() if n != "h"} == {
        "h_bucket": 2, "h_sum": 1, "h_count": 1,
    }  # fmt: skip


@given(st.lists(st.floats(0, 100), max_size=20))
def test_resets_are_where_a_counter_falls(values) -> None:
    found = list(resets(values))
    assert [i for i, r in enumerate(found) if r] == [
        i for i in range(1, len(values)) if values[i] < values[i - 1]
    ]
