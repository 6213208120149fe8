"""Spans in OTLP's JSON encoding, as Jaeger's v3 API and Tempo hand out traces.

Hex ids, enums as numbers, 64-bit integers as strings (OTLP specification 1.x, "JSON Protobuf
Encoding"). Not here: OTLP files (``telemetry.export``), receiving (``otlp``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from aiopslab.environments.protocol import SpanRow
from aiopslab.models.timestamps import nanoseconds

_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_OK_UNSET, _ERROR = 0, 2
_SCOPE = {"name": "opentelemetry.instrumentation"}


def resource_spans(spans: Iterable[SpanRow]) -> list[dict[str, Any]]:
    """Return ``resourceSpans``: spans by the service and pod that recorded them, in given order."""
    by_resource: dict[tuple[str, str], list[SpanRow]] = {}
    for span in spans:
        by_resource.setdefault((span.service, span.pod), []).append(span)
    return [
        {
            "resource": {"attributes": attributes(resource_attributes(service, pod))},
            "scopeSpans": [{"scope": _SCOPE, "spans": [_span(span) for span in members]}],
        }
        for (service, pod), members in by_resource.items()
    ]


def resource_attributes(service: str, pod: str) -> dict[str, Any]:
    """Return what is known of where a span was recorded, in OpenTelemetry's names."""
    named = {"service.name": service, "k8s.pod.name": pod}
    return {name: value for name, value in named.items() if value}


def attributes(pairs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return attributes with their typed values, in given order."""
    return [{"key": key, "value": any_value(value)} for key, value in pairs.items()]


def any_value(value: Any) -> dict[str, Any]:
    """Return an ``AnyValue``; numbers that JSON does not know are words, as protobuf has them.

    >>> any_value(5), any_value(True), any_value("a")
    ({'intValue': '5'}, {'boolValue': True}, {'stringValue': 'a'})
    >>> any_value(float("-inf"))
    {'doubleValue': '-Infinity'}
    """
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": known_to_json(value)}
    return {"stringValue": str(value)}


def known_to_json(value: Any) -> Any:
    """Return a scalar as it is, unless it is a number that only protobuf's JSON can spell."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _span(span: SpanRow) -> dict[str, Any]:
    failed = {"code": _ERROR, "message": span.error}
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **({"parentSpanId": span.parent_id} if span.parent_id else {}),
        "name": span.name,
        "kind": _KINDS.get(span.kind, 0),
        "startTimeUnixNano": str(nanoseconds(span.start)),
        "endTimeUnixNano": str(nanoseconds(span.start + span.duration_ms / 1e3)),
        "attributes": attributes(span.attributes),
        "status": failed if span.error else {"code": _OK_UNSET},
    }
