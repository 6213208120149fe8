"""Metrics of OTLP into a store, the way a collector with a Prometheus exporter passes them on.

The store's samples come in rounds (``telemetry.samples``); a pushed point has a time of its own.
So each series keeps its latest point and the coming rounds repeat it, until it is five minutes old.
Where nothing is scraped the points make the rounds themselves. Cumulative sums, gauges, classic
histograms and summaries are kept; delta temporality and exponential histograms are refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AGGREGATION_TEMPORALITY_CUMULATIVE,
    DataPointFlags,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    SummaryDataPoint,
)

from aiopslab.telemetry.instruments import Labels
from aiopslab.telemetry.otlp.naming import label_name, metric_name
from aiopslab.telemetry.otlp.rejected import Rejected, Tally, untimely
from aiopslab.telemetry.otlp.values import MAX_ATTRIBUTES, NANO, Sender, scalars
from aiopslab.telemetry.promql.answers import format_value
from aiopslab.telemetry.samples import HOLD_S, SampleTable
from aiopslab.telemetry.store import Store

MAX_SERIES = 10_000
"""Series that may be pushed into one store; a series costs memory in every round."""
MAX_CELLS = 20_000_000
"""Rounds times series of a store in which points make the rounds: 8 bytes each."""

Point = NumberDataPoint | HistogramDataPoint | SummaryDataPoint


@dataclass(frozen=True, slots=True)
class Sample:
    """One series at one time."""

    name: str
    labels: Labels
    value: float


def ingest_metrics(
    store: Store, request: ExportMetricsServiceRequest, *, now: float | None
) -> Rejected:
    """Record the data points of a request under their Prometheus names.

    ``job`` is the service, ``instance`` its instance id; pod, namespace and node are labels too.

    Args:
        store: Where they go.
        request: As decoded.
        now: The cluster's time, in a store that is scraped: points appear in its next rounds; older
            ones than ``samples.HOLD_S`` are refused. None: nothing is scraped, each time that is
            sent makes a round, and must not lie before the last one.
    """
    tally = Tally()
    due: list[tuple[float, list[Sample]]] = []
    for batch in request.resource_metrics:
        due.extend(points(batch, _labels(Sender.of(batch.resource)), now, tally))
    # A later point of a series must find the earlier ones recorded.
    for time, samples in sorted(due, key=lambda point: point[0]):
        _record(store.samples, time, samples, tally, rounds=now is None)
    return tally.result()


def points(
    batch: ResourceMetrics, labels: dict[str, str], now: float | None, tally: Tally
) -> Iterator[tuple[float, list[Sample]]]:
    """Iterate over time and samples of each point of a batch that can be kept.

    Args:
        batch: What one sender sent.
        labels: What its series are labelled with beside their own labels.
        now: As ``ingest_metrics`` has it.
        tally: Is told of the others.
    """
    for scoped in batch.scope_metrics:
        for metric in scoped.metrics:
            yield from _points(metric, labels, now, tally)


def _points(
    metric: Metric, labels: dict[str, str], now: float | None, tally: Tally
) -> Iterator[tuple[float, list[Sample]]]:
    """Yield time and samples of each point that can be kept; the others are told to the tally."""
    kind = metric.WhichOneof("data")
    points, reason = _data(metric)
    if not metric_name(metric.name, ""):
        reason = "no name"
    if reason:
        tally.refuse(f"{reason} (metric {metric.name[:80]!r})", max(len(points), 1))
        return
    monotonic = kind == "sum" and metric.sum.is_monotonic
    name = metric_name(metric.name, metric.unit, monotonic=monotonic, gauge=kind == "gauge")
    for point in points:
        time = point.time_unix_nano / NANO
        late = untimely(time, now) or _expired(time, now)
        if late:
            tally.refuse(late)
            continue
        if isinstance(point, HistogramDataPoint) and (said := _crooked(point)):
            tally.refuse(said)
            continue
        if len(point.attributes) > MAX_ATTRIBUTES:
            tally.warn(f"more than {MAX_ATTRIBUTES} attributes")
        yield time, list(_samples(name, point, {**labels, **_own(point.attributes)}))


def _data(metric: Metric) -> tuple[list[Point], str]:
    """Return the points of a metric, and why none of them can be kept."""
    match metric.WhichOneof("data"):
        case "gauge":
            return list(metric.gauge.data_points), ""
        case "sum":
            return list(metric.sum.data_points), _temporality(metric.sum.aggregation_temporality)
        case "histogram":
            found = metric.histogram
            return list(found.data_points), _temporality(found.aggregation_temporality)
        case "summary":
            return list(metric.summary.data_points), ""
        case "exponential_histogram":
            return [], "exponential histograms are not kept; use explicit buckets"
        case _:
            return [], "no data"


def _temporality(given: int) -> str:
    if given == AGGREGATION_TEMPORALITY_CUMULATIVE:
        return ""
    return "only cumulative temporality is kept"


def _expired(time: float, now: float | None) -> str:
    if now is None or time >= now - HOLD_S:
        return ""
    return f"the point is more than {HOLD_S:.0f} s old"


def _crooked(point: HistogramDataPoint) -> str:
    bounds, counts = point.explicit_bounds, point.bucket_counts
    if counts and len(counts) != len(bounds) + 1:
        return "bucket counts must be one more than bounds"
    if list(bounds) != sorted(set(bounds)):
        return "bounds must ascend"
    return ""


def _samples(name: str, point: Point, labels: dict[str, str]) -> Iterator[Sample]:
    gone = point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    values = _values(name, point)
    for series, extra, value in values:
        pairs = tuple(sorted({**labels, **extra}.items()))
        yield Sample(series, pairs, float("nan") if gone else value)


def _values(name: str, point: Point) -> Iterator[tuple[str, dict[str, str], float]]:
    """Yield name, label and value of every series that a point becomes."""
    if isinstance(point, NumberDataPoint):
        is_int = point.WhichOneof("value") == "as_int"
        yield name, {}, float(point.as_int if is_int else point.as_double)
        return
    if isinstance(point, HistogramDataPoint):
        running = 0
        for bound, count in zip(point.explicit_bounds, point.bucket_counts, strict=False):
            running += count
            if math.isfinite(bound):
                yield f"{name}_bucket", {"le": _number(bound)}, float(running)
        yield f"{name}_bucket", {"le": "+Inf"}, float(point.count)
    else:
        for quantile in point.quantile_values:
            yield name, {"quantile": _number(quantile.quantile)}, quantile.value
    yield f"{name}_sum", {}, point.sum
    yield f"{name}_count", {}, float(point.count)


def _number(value: float) -> str:
    """Write a number for a label: short, and exact, so that neighbours stay apart."""
    short = f"{value:g}"
    return short if float(short) == value else format_value(value)


def _record(
    table: SampleTable, time: float, samples: Iterable[Sample], tally: Tally, *, rounds: bool
) -> None:
    """Push the samples of one point; all of them or none."""
    times = table.times()
    if rounds and len(times) and time < times[-1]:
        tally.refuse("the point is older than others that are recorded")
        return
    fresh = [s for s in samples if not table.knows(s.name, s.labels)]
    if table.pushed + len(fresh) > MAX_SERIES:
        tally.refuse(f"more than {MAX_SERIES} series")
        return
    if rounds and (len(times) + 1) * (len(table.labels) + len(fresh)) > MAX_CELLS:
        tally.refuse(f"{len(times)} times of {len(table.labels)} series are recorded; it is full")
        return
    if rounds:
        table.row(time)
    columns = [(table.column(s.name, s.labels), s.value) for s in samples]
    if not all(table.push(column, time, value) for column, value in columns):
        tally.refuse("the series has a newer point")
        return
    if rounds:
        row = table.row(time)
        for column, value in columns:
            row[column] = value


def _labels(sender: Sender) -> dict[str, str]:
    return {
        "job": sender.service,
        "service": sender.service,
        "namespace": sender.namespace,
        "pod": sender.pod,
        "node": sender.node,
        "instance": sender.instance,
    }


def _own(attributes: Iterable[KeyValue]) -> dict[str, str]:
    found = list(scalars(attributes).items())[:MAX_ATTRIBUTES]
    return {label_name(k): str(v) for k, v in found}
