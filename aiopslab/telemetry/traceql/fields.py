"""Fields of spans by name, each as distinct values and a code per span: what searches compare.

A condition is decided once for each distinct value and spread over the spans by numpy. Known are
intrinsics (``name``, ``kind``, ``status``, ``duration``, ...), resource attributes and span
attributes; names of the semantic conventions before 1.23 stand for today's. Not here: conditions
(``masks``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from aiopslab.telemetry.spans import SpanTable

Scope = Literal["span", "resource", "any", "intrinsic"]
Scalar = str | int | float | bool | None
RESOURCE = {"service.name": "service", "k8s.pod.name": "pod"}
"""Resource attributes and the columns they live in."""
INTRINSICS = (
    "duration", "kind", "name", "rootName", "rootServiceName", "status", "statusMessage",
    "traceDuration",
)  # fmt: skip
SPELLINGS = {
    "span:name": "name", "span:kind": "kind", "span:status": "status",
    "span:statusMessage": "statusMessage", "span:duration": "duration",
    "trace:duration": "traceDuration", "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
}  # fmt: skip
_EARLIER = {
    "http.status_code": "http.response.status_code", "http.method": "http.request.method",
    "http.url": "url.full", "http.target": "url.path", "db.system": "db.system.name",
    "db.statement": "db.query.text", "db.operation": "db.operation.name",
    "db.name": "db.namespace", "db.sql.table": "db.collection.name",
    "net.peer.name": "server.address", "net.peer.port": "server.port",
}  # fmt: skip
KINDS = ("unspecified", "internal", "server", "client", "producer", "consumer")
STATUSES = ("error", "ok", "unset")


@dataclass(frozen=True, slots=True)
class Field:
    """Distinct values, and for each span which one it has; None is absence."""

    values: Sequence[Scalar]
    codes: np.ndarray[Any, np.dtype[Any]]


class Fields:
    """The fields of a span table as it is now."""

    def __init__(self, table: SpanTable) -> None:
        self.table = table
        self.columns = table.columns()

    def find(self, scope: Scope, name: str) -> Field | None:
        """Return a field of text or attributes; None for one that is a measure (``measure``)."""
        if scope == "intrinsic":
            return self._intrinsic(SPELLINGS.get(name, name))
        if scope != "span" and name in RESOURCE:
            return self._column(RESOURCE[name])
        if scope == "resource":
            return Field([None], np.zeros(len(self.columns), np.int32))
        key = _EARLIER.get(name, name)
        return Field(
            [_value(attributes, key) for attributes in self.table.attributes.decoded()],
            self.columns["attributes"],
        )

    def tag(self, name: str) -> Field:
        """Return a field by the name that it has as a tag in Jaeger; attributes by default."""
        match name:
            case "span.kind":
                return self._column("kind")
            case "error":
                return self._errors("true", "false")
            case "otel.status_code":
                return self._errors("ERROR", None)
            case "otel.status_description":
                return self._column("error")
            case "pod" | "k8s.pod.name" | "hostname":
                return self._column("pod")
            case "service.name":
                return self._column("service")
        found = self.find("any", name)
        return found if found is not None else Field([None], np.zeros(len(self.columns), np.int32))

    def measure(self, name: str) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Return seconds per span of ``duration`` or ``traceDuration``; None for another name."""
        c = self.columns
        match SPELLINGS.get(name, name):
            case "duration":
                seconds: np.ndarray[Any, np.dtype[np.float64]] = c["end"] - c["start"]
                return seconds
            case "traceDuration":
                whole: np.ndarray[Any, np.dtype[np.float64]] = self.table.trace_durations()[
                    c["trace"]
                ]
                return whole
        return None

    def attribute_names(self) -> list[str]:
        """Return the names of span attributes, sorted."""
        return sorted({k for pairs in self.table.attributes.decoded() for k, _ in pairs})

    def _intrinsic(self, name: str) -> Field | None:
        match name:
            case "name" | "kind":
                return self._column(name)
            case "statusMessage":
                return self._column("error")
            case "status":
                return self._errors("error", "unset")
            case "rootName":
                return self._root("name")
            case "rootServiceName":
                return self._root("service")
        return None

    def _column(self, name: str) -> Field:
        return Field(self.table.strings.decoded(), self.columns[name])

    def _errors(self, failed: str, fine: str | None) -> Field:
        # Nobody sets the status of a span that went well.
        values = [failed if text else fine for text in self.table.strings.decoded()]
        return Field(values, self.columns["error"])

    def _root(self, column: str) -> Field:
        """Return what the root of each span's trace has; traces in flight have none yet."""
        c = self.columns
        values = self.table.strings.decoded()
        of_trace = np.full(len(self.table.traces), len(values), np.int64)
        roots = np.flatnonzero(c["parent"] == 0)
        of_trace[c["trace"][roots]] = c[column][roots]
        return Field([*values, None], of_trace[c["trace"]])


def _value(attributes: Sequence[tuple[str, Scalar]], key: str) -> Scalar:
    for name, value in attributes:
        if name == key:
            return value
    return None
