"""Spans of OTLP into a store."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from aiopslab.telemetry.otlp.rejected import Rejected, Tally, untimely
from aiopslab.telemetry.otlp.values import MAX_ATTRIBUTES, NANO, Scalar, Sender, Sending, scalars
from aiopslab.telemetry.store import Store

_KINDS = {
    Span.SPAN_KIND_UNSPECIFIED: "internal",
    Span.SPAN_KIND_INTERNAL: "internal",
    Span.SPAN_KIND_SERVER: "server",
    Span.SPAN_KIND_CLIENT: "client",
    Span.SPAN_KIND_PRODUCER: "producer",
    Span.SPAN_KIND_CONSUMER: "consumer",
}
_FROM_EXCEPTION = ("exception.type", "exception.message")


def ingest_traces(
    store: Store,
    request: ExportTraceServiceRequest,
    *,
    now: float | None,
    sending: Sending = Sender.of,
    scopes: bool = True,
) -> Rejected:
    """Record the spans of a request, with all their attributes.

    Of the resource, service and pod are kept; of events, the type and message of an exception;
    links are not.

    Args:
        store: Where they go.
        request: As decoded.
        now: The cluster's time: spans far from it are refused. None: any time is taken.
        sending: Says who sent it.
        scopes: Whether the name of the instrumentation becomes an attribute of its spans.
    """
    tally = Tally()
    for batch in request.resource_spans:
        sender = sending(batch.resource)
        for scoped in batch.scope_spans:
            for span in scoped.spans:
                reason = _objection(span, now)
                if reason:
                    tally.refuse(reason)
                    continue
                if len(span.attributes) > MAX_ATTRIBUTES:
                    tally.warn(f"more than {MAX_ATTRIBUTES} attributes")
                _record(store, sender, scoped.scope.name if scopes else "", span)
    return tally.result()


def _objection(span: Span, now: float | None) -> str:
    if len(span.trace_id) != 16 or not any(span.trace_id):
        return "trace_id is not 16 bytes, or all zero"
    if len(span.span_id) != 8 or not any(span.span_id):
        return "span_id is not 8 bytes, or all zero"
    if len(span.parent_span_id) not in (0, 8):
        return "parent_span_id is not 8 bytes"
    if span.end_time_unix_nano < span.start_time_unix_nano:
        return "the span ends before it starts"
    return untimely(span.start_time_unix_nano / NANO, now)


def _record(store: Store, sender: Sender, scope: str, span: Span) -> None:
    attributes = scalars(span.attributes[:MAX_ATTRIBUTES])
    if scope:
        attributes.setdefault("otel.scope.name", scope)
    for event in span.events:
        if event.name == "exception":
            told = scalars(event.attributes)
            for key in _FROM_EXCEPTION:
                if key in told:
                    attributes.setdefault(key, told[key])
    store.span(
        int.from_bytes(span.trace_id, "big"),
        int.from_bytes(span.span_id, "big"),
        int.from_bytes(span.parent_span_id, "big"),
        sender.service,
        sender.pod,
        span.name,
        _KINDS.get(span.kind, "internal"),
        span.start_time_unix_nano / NANO,
        span.end_time_unix_nano / NANO,
        _error(span, attributes),
        attributes,
    )


def _error(span: Span, attributes: dict[str, Scalar]) -> str:
    if span.status.code != Status.STATUS_CODE_ERROR:
        return ""
    # The words, as in the world; the class stays among the attributes.
    return str(span.status.message or attributes.get("error.type") or "error")
