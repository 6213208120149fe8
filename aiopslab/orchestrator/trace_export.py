"""Spans of a run to an OTLP endpoint, with the OpenTelemetry SDK; imported only if one is set.

The exporting thread runs in the run's first process alone, which never forks. Endpoint, headers,
certificates, compression and time limit are the SDK's own variables (``OTEL_EXPORTER_OTLP_*``).
Not here: which spans there are, and whether anybody wants them (``tracing``).
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, Status, StatusCode, TraceFlags

from aiopslab._version import __version__
from aiopslab.orchestrator.spans import EVENT, Emit, SpanRecord

TIMEOUT_S = 3.0
"""Wall seconds for one request, unless the environment says otherwise."""
LEAVE_S = 5.0
"""Wall seconds at the end of a run for what is still to be sent."""
_TIMEOUTS = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_log = logging.getLogger(__name__)


@contextmanager
def sending() -> Iterator[Emit]:
    """Yield what takes span events and sends them in the background.

    What is left at the end is sent within ``LEAVE_S``. An endpoint that fails costs one warning.
    """
    given = any(os.environ.get(name, "").strip() for name in _TIMEOUTS)
    processor = BatchSpanProcessor(
        _WarningOnce(OTLPSpanExporter(timeout=None if given else TIMEOUT_S))
    )
    resource, scope = _resource(), InstrumentationScope("aiopslab", __version__)

    def take(event: dict[str, Any]) -> None:
        processor.on_end(_span(SpanRecord.model_validate(event[EVENT]), resource, scope))

    try:
        yield take
    finally:
        # The processor's own time limit for its end cannot be set.
        leaving = threading.Thread(target=processor.shutdown, daemon=True)
        leaving.start()
        leaving.join(LEAVE_S)


class _WarningOnce(SpanExporter):
    """Says once that spans are lost, where the exporter logs each of its attempts."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._warned = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        with _quiet(type(self._inner).__module__):
            result = self._inner.export(spans)
        if result is not SpanExportResult.SUCCESS and not self._warned:
            self._warned = True
            _log.warning(
                "the endpoint in OTEL_EXPORTER_OTLP_* does not take this run's spans; they are lost"
            )
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Drop what this thread logs under a name: an embedding program's own exporter still speaks."""
    mine = threading.get_ident()

    def others(record: logging.LogRecord) -> bool:
        return record.thread != mine

    logger = logging.getLogger(name)
    logger.addFilter(others)
    try:
        yield
    finally:
        logger.removeFilter(others)


def _resource() -> Resource:
    """Describe this program; variables such as ``OTEL_SERVICE_NAME`` win."""
    found = Resource.create({SERVICE_VERSION: __version__})
    if str(found.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        return found.merge(Resource({SERVICE_NAME: "aiopslab"}))
    return found


def _span(record: SpanRecord, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    failed = Status(StatusCode.ERROR, record.message or None)
    return ReadableSpan(
        record.name,
        _context(record.trace_id, record.span_id),
        _context(record.trace_id, record.parent_id) if record.parent_id else None,
        resource,
        record.attributes,
        status=failed if record.failed else Status(StatusCode.UNSET),
        start_time=record.start_ns,
        end_time=record.end_ns,
        instrumentation_scope=scope,
    )


def _context(trace_id: str, span_id: str) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)
