"""Spans, log lines and metrics of a process over OTLP/HTTP, by OpenTelemetry's SDK.

Ids of spans are the program's own: they are on its log lines and in the headers of its requests.
Metrics keep the names they have in Prometheus. Gauges are read on the event loop, since they look
into the program's state. Not here: what is on standard output (``telemetry``).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Instrument, Observation
from opentelemetry.metrics import Counter as OtelCounter
from opentelemetry.metrics import Histogram as OtelHistogram
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, MetricsData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from aiopslab.models.timestamps import nanoseconds
from aiopslab.services.protocols import Counter, Histogram
from aiopslab.services.real.telemetry import Attributes

_SCOPE = "aiopslab.services"
_METRICS_MS = "OTEL_METRIC_EXPORT_INTERVAL"
_METRICS_EVERY_MS = 5000.0
"""As often as the simulated world scrapes."""
_BATCH_MS = 1000.0
"""Longest time that a span or a line waits for others to be sent with."""
_ANSWER_S = 5.0
"""Longest wait for the receiver, repetitions included."""
_LAST_S = 5.0
"""How long the end of the process waits for what is left to be sent."""
_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_SEVERITIES = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARN": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "FATAL": SeverityNumber.FATAL,
}
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)


class OtlpExport:
    """``telemetry.Export`` to one receiver.

    Args:
        endpoint: Its base URL; signals go to ``/v1/traces`` and so on below it.
        resource: Attributes of the process, beside those of ``OTEL_RESOURCE_ATTRIBUTES``.
    """

    def __init__(self, endpoint: str, resource: Mapping[str, str]) -> None:
        base, about = endpoint.rstrip("/"), Resource.create(dict(resource))
        self._ids = _GivenIds()
        self._traces = TracerProvider(
            sampler=ALWAYS_ON, resource=about, id_generator=self._ids, shutdown_on_exit=False
        )
        spans = OTLPSpanExporter(endpoint=f"{base}/v1/traces", timeout=_ANSWER_S)
        self._traces.add_span_processor(BatchSpanProcessor(spans, schedule_delay_millis=_BATCH_MS))
        self._tracer = self._traces.get_tracer(_SCOPE)
        self._logs = LoggerProvider(resource=about, shutdown_on_exit=False)
        lines = OTLPLogExporter(endpoint=f"{base}/v1/logs", timeout=_ANSWER_S)
        self._logs.add_log_record_processor(
            BatchLogRecordProcessor(lines, schedule_delay_millis=_BATCH_MS)
        )
        self._logger = self._logs.get_logger(_SCOPE)
        self._give_up: tuple[Callable[[], object], ...] = (spans.shutdown, lines.shutdown)
        self._reader = _LoopReader()
        self._metrics = MeterProvider([self._reader], resource=about, shutdown_on_exit=False)
        self._meter = self._metrics.get_meter(_SCOPE)
        self._points = OTLPMetricExporter(endpoint=f"{base}/v1/metrics", timeout=_ANSWER_S)
        self._gauges: dict[str, _Gauge] = {}
        self._made: dict[str, Instrument] = {}
        """Histograms and counters by name; labels are given with each value."""
        self._sending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send metrics."""
        every_ms = float(os.environ.get(_METRICS_MS, _METRICS_EVERY_MS))
        self._sending = asyncio.get_running_loop().create_task(self._repeat(every_ms / 1000.0))

    async def aclose(self) -> None:
        """Send what is left; a receiver that does not answer is given up soon."""
        if self._sending is not None:
            self._sending.cancel()
        try:
            async with asyncio.timeout(_LAST_S), asyncio.TaskGroup() as group:
                group.create_task(self._send())
                group.create_task(asyncio.to_thread(self._traces.shutdown))
                group.create_task(asyncio.to_thread(self._logs.shutdown))
        except TimeoutError:
            # The threads above end when their exporters do.
            for give_up in self._give_up:
                give_up()
        self._points.shutdown()
        self._metrics.shutdown()

    # -- telemetry.Export -------------------------------------------------------------------------

    def span(
        self, ids: tuple[int, int, int], name: str, kind: str, times: tuple[float, float],
        error: str, attributes: Attributes | None,
    ) -> None:  # fmt: skip
        trace_id, span_id, parent_id = ids
        self._ids.next = (trace_id, span_id)
        span = self._tracer.start_span(
            name,
            _context(trace_id, parent_id) if parent_id else Context(),
            _KINDS[kind],
            attributes,
            start_time=nanoseconds(times[0]),
        )
        if error:
            span.set_status(Status(StatusCode.ERROR, error))
        span.end(nanoseconds(times[1]))

    def log(self, time: float, line: str, severity: str, ids: tuple[int, int]) -> None:
        self._logger.emit(
            timestamp=nanoseconds(time),
            context=_context(*ids) if ids[0] else Context(),
            severity_number=_SEVERITIES[severity],
            severity_text=severity,
            body=line,
        )

    def histogram(self, name: str, buckets: tuple[float, ...], labels: dict[str, str]) -> Histogram:
        made = self._made.get(name)
        if made is None:
            made = self._meter.create_histogram(name, explicit_bucket_boundaries_advisory=buckets)
            self._made[name] = made
        assert isinstance(made, OtelHistogram), f"{name} is a counter"
        return _Observed(made, labels)

    def counter(self, name: str, labels: dict[str, str]) -> Counter:
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = self._meter.create_counter(name)
        assert isinstance(made, OtelCounter), f"{name} is a histogram"
        made.add(0, labels)  # there from the start, as counters of Prometheus are
        return _Added(made, labels)

    def gauge(self, name: str, read: Callable[[], float], labels: dict[str, str]) -> None:
        gauge = self._gauges.get(name)
        if gauge is None:
            gauge = self._gauges[name] = _Gauge()
            self._meter.create_observable_gauge(name, [gauge.observe])
        gauge.reads.append((read, labels))

    # -- metrics ----------------------------------------------------------------------------------

    async def _repeat(self, every_s: float) -> None:
        while True:
            await asyncio.sleep(every_s)
            await self._send()

    async def _send(self) -> None:
        self._reader.collect()
        latest, self._reader.latest = self._reader.latest, None
        if latest is not None:
            await asyncio.to_thread(self._points.export, latest)


class _GivenIds(IdGenerator):
    """Ids that the program has drawn already."""

    def __init__(self) -> None:
        self.next = (0, 0)
        """Trace id and span id of the span that is begun next."""

    def generate_trace_id(self) -> int:
        return self.next[0]

    def generate_span_id(self) -> int:
        return self.next[1]


class _LoopReader(MetricReader):
    """Keeps what was collected, for whoever asked for it to send."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: MetricsData | None = None

    def _receive_metrics(
        self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: object
    ) -> None:
        self.latest = metrics_data

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: object) -> None:
        """Do nothing: the last collection is sent before."""


@dataclass(slots=True)
class _Gauge:
    """All series of a gauge."""

    reads: list[tuple[Callable[[], float], dict[str, str]]] = field(default_factory=list)

    def observe(self, options: CallbackOptions) -> Iterable[Observation]:
        return [Observation(read(), labels) for read, labels in self.reads]


@dataclass(frozen=True, slots=True)
class _Observed:
    made: OtelHistogram
    labels: dict[str, str]

    def observe(self, value: float, count: int = 1) -> None:
        for _ in range(count):
            self.made.record(value, self.labels)


@dataclass(frozen=True, slots=True)
class _Added:
    made: OtelCounter
    labels: dict[str, str]

    def add(self, value: float = 1.0) -> None:
        self.made.add(value, self.labels)


def _context(trace_id: int, span_id: int) -> Context:
    """Return a context in which a span is current."""
    return set_span_in_context(
        NonRecordingSpan(SpanContext(trace_id, span_id, is_remote=True, trace_flags=_SAMPLED)),
        Context(),
    )


def resource_of(service: str, version: str, pod: str, namespace: str) -> dict[str, str]:
    """Return what is known of a process, as semantic conventions name it."""
    return {
        "service.name": service,
        "service.version": version,
        "service.instance.id": pod,
        "k8s.pod.name": pod,
        "k8s.namespace.name": namespace,
    }
