"""Spans in columns: cheap to append, looked up by trace, summed up to traces and a service graph.

Neighbours: ``rows`` (what queries return), ``traces`` (what one trace tells), ``traceql`` (which
spans a search takes). Not here: frames and files (``frames``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.columns import Array, Columns, Dictionary
from aiopslab.telemetry.rows import SpanRow, TraceSummary

_BATCH = 4096
_LOW = (1 << 64) - 1
_TRACE_BYTES, _ATTRIBUTES_BYTES = 160, 1200
"""About what a trace's id and one set of attributes take as Python has them."""
_SPANS_A_TRACE = 32
"""Guess at how many spans have to be looked at to find one more trace."""
_DTYPES = {
    "trace_high": "u8", "trace_low": "u8", "span": "u8", "parent": "u8",
    "service": "i4", "pod": "i4", "name": "i4", "kind": "i4", "error": "i4",
    "attributes": "i4", "start": "f8", "end": "f8", "trace": "i4",
}  # fmt: skip
Attributes = tuple[tuple[str, str | int | float], ...]
Record = Callable[
    [int, int, int, str, str, float, float, str, Mapping[str, str | int | float] | None], None
]
"""Trace, span and parent id, name, kind, start, end, error, attributes."""
Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Edge = tuple[str, str, int, int, float]
"""Caller, callee, calls, errors, p95 milliseconds at the caller."""


class SpanTable:
    """All finished spans, in the order they were recorded."""

    def __init__(self) -> None:
        self._buffer: list[tuple[Any, ...]] = []
        self._columns = Columns(_DTYPES)
        self.strings: Dictionary[str] = Dictionary()
        self.attributes: Dictionary[Attributes] = Dictionary()
        self.traces: Dictionary[int] = Dictionary()
        self._timed = 0
        self._first: npt.NDArray[np.float64] = np.empty(0)
        self._last: npt.NDArray[np.float64] = np.empty(0)

    def append(
        self, trace_id: int, span_id: int, parent_id: int, service: str, pod: str, name: str,
        kind: str, start: float, end: float, error: str,
        attributes: Mapping[str, str | int | float] | None,
    ) -> None:  # fmt: skip
        """Record a finished span; ids are W3C numbers, times unix seconds, ``error`` '' if ok.

        Nobody changes ``attributes`` afterwards.
        """
        self._buffer.append(
            (trace_id, span_id, parent_id, service, pod, name, kind, start, end, error, attributes)
        )
        if len(self._buffer) >= _BATCH:
            self._seal()

    def recorder(self, service: str, pod: str) -> Record:
        """Return ``append`` for the spans of one process."""
        buffer = self._buffer

        def record(
            trace_id: int, span_id: int, parent_id: int, name: str, kind: str, start: float,
            end: float, error: str, attributes: Mapping[str, str | int | float] | None,
        ) -> None:  # fmt: skip
            buffer.append(
                (
                    trace_id, span_id, parent_id, service, pod, name, kind, start, end, error,
                    attributes,
                )
            )  # fmt: skip
            if len(buffer) >= _BATCH:
                self._seal()

        return record

    def extend(
        self, strings: Sequence[str], attributes: Sequence[Attributes], columns: Mapping[str, Array]
    ) -> None:
        """Take rows of another table that this one is a copy of, with what their codes mean.

        Args:
            strings: What the other table has in ``strings`` beyond what is here.
            attributes: The same of ``attributes``.
            columns: The rows that follow, all columns but ``trace``.
        """
        self._seal()
        self.strings.extend(strings)
        self.attributes.extend(attributes)
        ids = zip(columns["trace_high"].tolist(), columns["trace_low"].tolist(), strict=True)
        traces = [self.traces[high << 64 | low] for high, low in ids]
        self._columns.extend({**columns, "trace": traces})

    def columns(self) -> Columns:
        """Return the columns with everything recorded so far."""
        self._seal()
        return self._columns

    def footprint(self) -> int:
        """Return about how many bytes the table takes."""
        texts = len(self.traces) * _TRACE_BYTES + len(self.attributes) * _ATTRIBUTES_BYTES
        return self.columns().footprint() + texts

    def newest(self, hit: Mask, limit: int) -> tuple[list[TraceSummary], int]:
        """Sum up the traces of the spans under a mask, newest first, and count them all.

        A trace is as new as the newest of those spans.
        """
        c = self.columns()
        rows = np.flatnonzero(hit)
        seen = np.zeros(len(self.traces), bool)
        seen[c["trace"][rows]] = True
        total = int(np.count_nonzero(seen))
        rows = self._latest(rows, min(limit, total))
        # Newest first, ties in the order of recording: the first of each trace counts.
        rows = rows[np.lexsort((rows, -c["start"][rows]))]
        codes, first = np.unique(c["trace"][rows], return_index=True)
        chosen = codes[np.argsort(first)][: max(limit, 0)]
        members = self.members(np.sort(chosen))
        return [self._summary(members[code]) for code in chosen.tolist()], total

    def _latest(self, rows: Rows, traces: int) -> Rows:
        """Return the latest of some rows, enough of them to be of so many traces."""
        c = self._columns
        starts, count = c["start"][rows], max(traces, 1) * _SPANS_A_TRACE
        while count < len(rows):
            bound = np.partition(starts, len(rows) - count)[len(rows) - count]
            latest: Rows = rows[starts >= bound]
            if len(np.unique(c["trace"][latest])) >= traces:
                return latest
            count *= 8
        return rows

    def trace_durations(self) -> npt.NDArray[np.float64]:
        """Return the seconds from the first start to the last end of each trace, by its code."""
        c = self.columns()
        known, grown = len(self._first), len(self.traces)
        if known < grown:
            self._first = np.concatenate([self._first, np.full(grown - known, np.inf)])
            self._last = np.concatenate([self._last, np.full(grown - known, -np.inf)])
        # Spans that were counted before need not be looked at again.
        trace = c["trace"][self._timed :]
        np.minimum.at(self._first, trace, c["start"][self._timed :])
        np.maximum.at(self._last, trace, c["end"][self._timed :])
        self._timed = len(c)
        return self._last - self._first

    def members(self, traces: npt.NDArray[np.int64]) -> dict[int, Rows]:
        """Return the rows of each trace (by its code) in the order of recording."""
        c = self.columns()
        wanted = np.zeros(len(self.traces), bool)
        wanted[traces] = True
        rows = np.flatnonzero(wanted[c["trace"]])
        codes = c["trace"][rows]
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], traces, side="right")
        begins = np.searchsorted(codes[order], traces, side="left")
        return {
            code: rows[order[begin:end]]
            for code, begin, end in zip(
                traces.tolist(), begins.tolist(), ends.tolist(), strict=True
            )
        }

    def trace(self, trace_id: str) -> list[SpanRow]:
        """Return the spans of a trace (32 hex digits) in start order; empty if unknown."""
        return self.trace_spans([trace_id])[0]

    def trace_spans(self, trace_ids: Sequence[str]) -> list[list[SpanRow]]:
        """Return ``trace`` of each id, at the cost of one look at the table."""
        self._seal()
        codes = [self.traces.get(_number(id), -1) for id in trace_ids]
        known = np.array(sorted({code for code in codes if code >= 0}), np.int64)
        members = self.members(known) if len(known) else {}
        return [self.rows(members[code]) if code >= 0 else [] for code in codes]

    def rows(self, rows: Rows) -> list[SpanRow]:
        """Return spans by their places in the columns, in start order."""
        # A parent ends after its children, so the later record comes first among equal starts.
        order = np.lexsort((-rows, self._columns["start"][rows]))
        return [self._row(int(i)) for i in rows[order]]

    def service_graph(self, start: float, end: float) -> list[Edge]:
        """Return who called whom, from client and producer spans of the window, sorted.

        The callee is what the client span says: ``peer.service``, else the first label of
        ``server.address``. So calls that nobody answered are counted too.
        """
        c = self.columns()
        kinds = (self._code("client"), self._code("producer"))
        hit = (c["start"] >= start) & (c["start"] <= end) & np.isin(c["kind"], kinds)
        rows = np.flatnonzero(hit)
        callees: Dictionary[str] = Dictionary()
        peer = np.array([callees[_callee(a)] for a in self.attributes.decoded()] or [0], int)
        pair = c["service"][rows].astype(np.int64) << 32 | peer[c["attributes"][rows]]
        keys, inverse = np.unique(pair, return_inverse=True)
        order = np.argsort(inverse, kind="stable")
        bounds = np.searchsorted(inverse[order], np.arange(len(keys) + 1))
        names, targets = self.strings.decoded(), callees.decoded()
        edges: list[Edge] = []
        for index, key in enumerate(keys):
            mine = rows[order[bounds[index] : bounds[index + 1]]]
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
        code = self.strings.__getitem__
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
                "attributes": self._attribute_codes(attributes),
                "start": start,
                "end": end,
                "trace": list(map(self.traces.__getitem__, trace)),
            }
        )
        self._buffer.clear()

    def _attribute_codes(self, attributes: Sequence[Mapping[str, Any] | None]) -> list[int]:
        """Return codes of attributes; most spans share theirs with others as one object."""
        known: dict[int, int] = {}
        codes = []
        for each in attributes:
            code = known.get(id(each))
            if code is None:
                code = known[id(each)] = self.attributes[tuple(each.items()) if each else ()]
            codes.append(code)
        return codes

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
        return f"{self.traces.decoded()[self._columns['trace'][row]]:032x}"

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


def _number(trace_id: str) -> int:
    """Read a trace id; -1, which no trace has, for what is none."""
    try:
        return int(trace_id, 16) if len(trace_id) <= 32 else -1
    except ValueError:
        return -1


def _callee(attributes: Attributes) -> str:
    found = dict(attributes)
    return str(found.get("peer.service") or found.get("server.address") or "").split(".", 1)[0]
