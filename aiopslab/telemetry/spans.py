"""Spans in columns: cheap to append, searched with numpy.

Neighbours: ``rows`` (what queries return), ``traces`` (what one trace tells). Not here: frames and
files (``frames``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.columns import Columns, Dictionary
from aiopslab.telemetry.rows import SpanRow, TraceSummary

_BATCH = 4096
_LOW = (1 << 64) - 1
_DTYPES = {
    "trace_high": "u8", "trace_low": "u8", "span": "u8", "parent": "u8",
    "service": "i4", "pod": "i4", "name": "i4", "kind": "i4", "error": "i4",
    "attributes": "i4", "start": "f8", "end": "f8",
}  # fmt: skip
Attributes = tuple[tuple[str, str | int | float], ...]
Mask = npt.NDArray[np.bool_]
Edge = tuple[str, str, int, int, float]
"""Caller, callee, calls, errors, p95 milliseconds at the caller."""


class SpanTable:
    """All finished spans, in the order they were recorded."""

    def __init__(self) -> None:
        self._buffer: list[tuple[Any, ...]] = []
        self._columns = Columns(_DTYPES)
        self.strings: Dictionary[str] = Dictionary()
        self.attributes: Dictionary[Attributes] = Dictionary()

    def append(
        self, trace_id: int, span_id: int, parent_id: int, service: str, pod: str, name: str,
        kind: str, start: float, end: float, error: str,
        attributes: Mapping[str, str | int | float] | None,
    ) -> None:  # fmt: skip
        """Record a finished span; ids are W3C numbers, times unix seconds, ``error`` '' if ok."""
        self._buffer.append(
            (
                trace_id, span_id, parent_id, service, pod, name, kind, start, end, error,
                tuple(attributes.items()) if attributes else (),
            )
        )  # fmt: skip
        if len(self._buffer) >= _BATCH:
            self._seal()

    def columns(self) -> Columns:
        """Return the columns with everything recorded so far."""
        self._seal()
        return self._columns

    def search(
        self, *, service: str | None = None, operation: str = "", min_ms: float | None = None,
        max_ms: float | None = None, errors_only: bool = False, start: float, end: float,
        limit: int,
    ) -> tuple[list[TraceSummary], int]:  # fmt: skip
        """Find traces with a span that meets every condition, newest first, and their total.

        A span meets them if it started in ``[start, end]``, is of the service, has ``operation``
        in its name, its duration lies within the bounds and, if asked, it failed. Where neither
        service nor operation is given, durations are those of root spans.
        """
        c = self.columns()
        hit: Mask = (c["start"] >= start) & (c["start"] <= end)
        if service is not None:
            hit &= c["service"] == self._code(service)
        if operation:
            named = [code for text, code in self.strings.items() if operation in text]
            hit &= np.isin(c["name"], named)
        if min_ms is not None or max_ms is not None:
            duration = (c["end"] - c["start"]) * 1000.0
            hit &= (duration >= (min_ms or 0.0)) & (duration <= (max_ms or np.inf))
            if service is None and not operation:
                hit &= c["parent"] == 0
        if errors_only:
            hit &= c["error"] != self._code("")
        rows = np.flatnonzero(hit)
        order = rows[np.argsort(-c["start"][rows], kind="stable")]
        _, first = np.unique(c["trace_low"][order], return_index=True)
        newest = order[np.sort(first)]
        chosen = c["trace_low"][newest[:limit]]
        members = np.flatnonzero(np.isin(c["trace_low"], chosen))
        by_trace = {int(low): members[c["trace_low"][members] == low] for low in chosen}
        return [self._summary(by_trace[int(low)]) for low in chosen], len(newest)

    def trace(self, trace_id: str) -> list[SpanRow]:
        """Return the spans of a trace (32 hex digits) in start order; empty if unknown."""
        try:
            number = int(trace_id, 16)
        except ValueError:
            return []
        if number >> 128 or number < 0:
            return []
        c = self.columns()
        hit = (c["trace_low"] == np.uint64(number & _LOW)) & (
            c["trace_high"] == np.uint64(number >> 64)
        )
        rows = np.flatnonzero(hit)
        # A parent ends after its children, so the later record comes first among equal starts.
        return [self._row(int(i)) for i in rows[np.lexsort((-rows, c["start"][rows]))]]

    def service_graph(self, start: float, end: float) -> list[Edge]:
        """Return who called whom, from client spans that started in the window, sorted.

        The callee is what the client span says: ``peer.service``, else the first label of
        ``server.address``. So calls that nobody answered are counted too.
        """
        c = self.columns()
        hit = (c["start"] >= start) & (c["start"] <= end) & (c["kind"] == self._code("client"))
        rows = np.flatnonzero(hit)
        callees: Dictionary[str] = Dictionary()
        peer = np.array([callees[_callee(a)] for a in self.attributes.decoded()] or [0], int)
        pair = c["service"][rows].astype(np.int64) << 32 | peer[c["attributes"][rows]]
        keys, inverse = np.unique(pair, return_inverse=True)
        names, targets = self.strings.decoded(), callees.decoded()
        edges: list[Edge] = []
        for index, key in enumerate(keys):
            mine = rows[inverse == index]
            callee = targets[int(key) & 0xFFFFFFFF]
            if not callee:
                continue
            errors = int(np.count_nonzero(c["error"][mine] != self._code("")))
            p95 = float(np.percentile(c["end"][mine] - c["start"][mine], 95)) * 1000.0
            edges.append((names[int(key) >> 32], callee, len(mine), errors, p95))
        return sorted(edges)

    def _seal(self) -> None:
        if not self._buffer:
            return
        trace, span, parent, service, pod, name, kind, start, end, error, attributes = zip(
            *self._buffer, strict=True
        )
        code, attribute_code = self.strings.__getitem__, self.attributes.__getitem__
        self._columns.extend(
            {
                "trace_high": [t >> 64 for t in trace],
                "trace_low": [t & _LOW for t in trace],
                "span": span,
                "parent": parent,
                "service": list(map(code, service)),
                "pod": list(map(code, pod)),
                "name": list(map(code, name)),
                "kind": list(map(code, kind)),
                "error": list(map(code, error)),
                "attributes": list(map(attribute_code, attributes)),
                "start": start,
                "end": end,
            }
        )
        self._buffer.clear()

    def _code(self, text: str) -> int:
        return self.strings.get(text, -1)

    def _summary(self, rows: npt.NDArray[np.int64]) -> TraceSummary:
        c, names = self._columns, self.strings.decoded()
        roots = rows[c["parent"][rows] == 0]
        # The root is missing while the request is in flight: the earliest span stands for it.
        root = int(roots[0] if len(roots) else rows[np.argmin(c["start"][rows])])
        start = float(c["start"][rows].min())
        return TraceSummary(
            trace_id=self._trace_id(root),
            root_service=names[c["service"][root]],
            root_name=names[c["name"][root]],
            start=start,
            duration_ms=(float(c["end"][rows].max()) - start) * 1000.0,
            spans=len(rows),
            errors=int(np.count_nonzero(c["error"][rows] != self._code(""))),
            services=sorted({names[s] for s in c["service"][rows]}),
        )

    def _trace_id(self, row: int) -> str:
        c = self._columns
        return f"{int(c['trace_high'][row]):016x}{int(c['trace_low'][row]):016x}"

    def _row(self, row: int) -> SpanRow:
        c, names = self._columns, self.strings.decoded()
        parent = int(c["parent"][row])
        start = float(c["start"][row])
        return SpanRow(
            trace_id=self._trace_id(row),
            span_id=f"{int(c['span'][row]):016x}",
            parent_id=f"{parent:016x}" if parent else "",
            service=names[c["service"][row]],
            pod=names[c["pod"][row]],
            name=names[c["name"][row]],
            kind=names[c["kind"][row]],
            start=start,
            duration_ms=(float(c["end"][row]) - start) * 1000.0,
            error=names[c["error"][row]],
            attributes=dict(self.attributes.decoded()[c["attributes"][row]]),
        )


def _callee(attributes: Attributes) -> str:
    found = dict(attributes)
    return str(found.get("peer.service") or found.get("server.address") or "").split(".", 1)[0]
