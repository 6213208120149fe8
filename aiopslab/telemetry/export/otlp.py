"""OTLP of recorded telemetry: spans, log lines and Kubernetes events; samples by ``otlp_metrics``.

Events are log records, as the Collector's Kubernetes events receiver makes them. Changes and
alerts have no form in OTLP.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any, BinaryIO

from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from aiopslab.telemetry.export.messages import (
    Attributes,
    Tree,
    nanoseconds,
    write_binary,
    write_lines,
)
from aiopslab.telemetry.export.otlp_metrics import metrics
from aiopslab.telemetry.export.recorded import Recorded, Row
from aiopslab.telemetry.export.resources import SCOPE, Pods

_SPANS = (
    "service, pod, trace_id, span_id, parent_id, name, kind, error, start, duration_ms, attributes"
)
_LOGS = "service, pod, namespace, container, time, severity, line, trace_id, span_id"
_EVENTS = "component, kind, name, namespace, time, type, reason, message, count"
_KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
_ERROR = 2
"""``STATUS_CODE_ERROR``"""
_SEVERITIES = {"DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21}


def write_json(recorded: Recorded, signal: str, file: BinaryIO) -> int:
    """Write a signal as lines of OTLP/JSON."""
    count = recorded.count(signal)
    write_lines(_requests(recorded, signal), file)
    return count


def write_protobuf(recorded: Recorded, signal: str, file: BinaryIO) -> int:
    """Write a signal as one protobuf message."""
    count = recorded.count(signal)
    kinds: dict[str, type[Message]] = {
        "spans": ExportTraceServiceRequest,
        "samples": ExportMetricsServiceRequest,
    }
    write_binary(_requests(recorded, signal), kinds.get(signal, ExportLogsServiceRequest), file)
    return count


def _requests(recorded: Recorded, signal: str) -> Iterator[Tree]:
    match signal:
        case "spans":
            return _traces(recorded)
        case "logs":
            return _logs(recorded)
        case "events":
            return _events(recorded)
        case _:
            return metrics(recorded)


def _traces(recorded: Recorded) -> Iterator[Tree]:
    pods = Pods.of(recorded)
    for batch in recorded.rows("spans", _SPANS):
        groups = _grouped(batch, 2)
        yield {
            "resource_spans": [
                {
                    "resource": pods.resource(*key),
                    "scope_spans": [{"scope": SCOPE, "spans": list(map(_span, rows))}],
                }
                for key, rows in groups.items()
            ]
        }


def _span(row: Row) -> Tree:
    trace, span, parent, name, kind, error, start, duration_ms, told = row[2:]
    begun = nanoseconds(start)
    found: Tree = {
        "trace_id": bytes.fromhex(trace),
        "span_id": bytes.fromhex(span),
        "name": name,
        "kind": _KINDS.get(kind, 0),
        "start_time_unix_nano": begun,
        "end_time_unix_nano": begun + round(duration_ms * 1e6),
        "attributes": _attributes(told, error),
    }
    if parent:
        found["parent_span_id"] = bytes.fromhex(parent)
    if error:
        found["status"] = {"code": _ERROR, "message": error}
    return found


@lru_cache(maxsize=4096)
def _attributes(told: str, error: str) -> Attributes:
    """Return attributes for their JSON text; the result is shared and must not be changed."""
    found = json.loads(told)
    if error:
        found.setdefault("error.type", error)
    return Attributes(found)


def _logs(recorded: Recorded) -> Iterator[Tree]:
    pods = Pods.of(recorded)

    def resource(service: str, pod: str, namespace: str, container: str) -> Tree:
        more = {"k8s.namespace.name": namespace, "k8s.container.name": container}
        return pods.resource(service, pod, more)

    return _log_requests(recorded.rows("logs", _LOGS), 4, resource, _log)


def _log(row: Row) -> Tree:
    time, severity, line, trace, span = row[4:]
    found: Tree = {
        "time_unix_nano": nanoseconds(time),
        "observed_time_unix_nano": nanoseconds(time),
        "severity_number": _SEVERITIES.get(severity, 0),
        "severity_text": severity,
        "body": {"string_value": line},
    }
    if trace:
        found["trace_id"] = bytes.fromhex(trace)
    if span:
        found["span_id"] = bytes.fromhex(span)
    return found


def _events(recorded: Recorded) -> Iterator[Tree]:
    def resource(component: str, kind: str, name: str) -> Tree:
        about = {
            "k8s.object.kind": kind,
            "k8s.object.name": name,
            "k8s.event.reporting_controller": component,
        }
        return {"attributes": Attributes({k: v for k, v in about.items() if v})}

    return _log_requests(recorded.rows("events", _EVENTS), 3, resource, _event)


def _event(row: Row) -> Tree:
    namespace, time, type_, reason, message, count = row[3:]
    about = {"k8s.event.reason": reason, "k8s.event.count": count}
    if namespace:
        about["k8s.namespace.name"] = namespace
    return {
        "time_unix_nano": nanoseconds(time),
        "observed_time_unix_nano": nanoseconds(time),
        "severity_number": _SEVERITIES["WARN" if type_ == "Warning" else "INFO"],
        "severity_text": type_,
        "body": {"string_value": message},
        "attributes": Attributes(about),
    }


def _log_requests(
    batches: Iterable[list[Row]],
    width: int,
    resource: Callable[..., Tree],
    record: Callable[[Row], Tree],
) -> Iterator[Tree]:
    for batch in batches:
        yield {
            "resource_logs": [
                {
                    "resource": resource(*key),
                    "scope_logs": [{"scope": SCOPE, "log_records": list(map(record, rows))}],
                }
                for key, rows in _grouped(batch, width).items()
            ]
        }


def _grouped(batch: list[Row], width: int) -> dict[tuple[Any, ...], list[Row]]:
    """Group rows by their first columns, in the order of first appearance."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in batch:
        groups.setdefault(row[:width], []).append(row)
    return groups
