"""Log lines in columns: appended as written, searched by service, pod, time, severity and text.

Neighbours: ``patterns`` (templates of lines), ``rows`` (what queries return), ``logql`` (the
query language over the same columns).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aiopslab.telemetry.columns import Array, Columns, Dictionary
from aiopslab.telemetry.linesearch import LineSearch
from aiopslab.telemetry.patterns import generalise, template
from aiopslab.telemetry.promql.values import QueryError
from aiopslab.telemetry.rows import LogRow

SEVERITIES = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_BATCH = 4096
_LOW = (1 << 64) - 1
_LINE_BYTES = 57
"""What a line takes beside its text."""
_DTYPES = {
    "time": "f8", "service": "i4", "namespace": "i4", "pod": "i4", "container": "i4",
    "severity": "i1", "trace_high": "u8", "trace_low": "u8", "span": "u8", "stream": "i4",
    "size": "i4",
}  # fmt: skip
Source = tuple[str, str, str, str]
"""Service, namespace, pod and container: what tells streams of lines apart."""
_SOURCE = ("service", "namespace", "pod", "container")


class LogTable:
    """All log lines, in the order they were written."""

    def __init__(self) -> None:
        self._buffer: list[tuple[Any, ...]] = []
        self._columns = Columns(_DTYPES)
        self.strings: Dictionary[str] = Dictionary()
        self.streams: Dictionary[Source] = Dictionary()
        self.lines: list[str] = []
        self._templates: Dictionary[str] = Dictionary()
        self._template_of: dict[int, int] = {}

    def append(
        self, time: float, service: str, namespace: str, pod: str, container: str, severity: str,
        line: str, trace_id: int = 0, span_id: int = 0,
    ) -> None:  # fmt: skip
        """Record a line; severity is one of ``SEVERITIES``, ids are 0 outside a request."""
        self._buffer.append(
            (time, service, namespace, pod, container, severity, line, trace_id, span_id)
        )
        if len(self._buffer) >= _BATCH:
            self._seal()

    def extend(
        self, strings: Sequence[str], lines: Sequence[str], columns: Mapping[str, Array]
    ) -> None:
        """Take rows of another table that this one is a copy of, with what their codes mean.

        Args:
            strings: What the other table has in ``strings`` beyond what is here.
            lines: The lines that follow.
            columns: Their columns, all but ``stream``.
        """
        self._seal()
        self.strings.extend(strings)
        names = self.strings.decoded()
        sources = zip(*(columns[n].tolist() for n in _SOURCE), strict=True)
        streams = [
            self.streams[names[service], names[namespace], names[pod], names[container]]
            for service, namespace, pod, container in sources
        ]
        self._columns.extend({**columns, "stream": streams})
        self.lines.extend(lines)

    def columns(self) -> Columns:
        """Return the columns with everything recorded so far; ``lines`` is parallel to them."""
        self._seal()
        return self._columns

    def footprint(self) -> int:
        """Return about how many bytes the table takes."""
        columns = self.columns()
        return columns.footprint() + int(columns["size"].sum()) + len(self.lines) * _LINE_BYTES

    def search(
        self, *, service: str | None = None, pod: str | None = None, contains: str = "",
        regex: str = "", severity: str = "", start: float, end: float, limit: int,
        newest_first: bool = True,
    ) -> tuple[list[LogRow], int]:  # fmt: skip
        """Return up to ``limit`` matching lines and how many match in all.

        ``contains`` is case-sensitive; ``regex`` is searched for anywhere in the line.

        Raises:
            QueryError: The severity is unknown, or the regex is malformed, refused, or may take too
                long on all these lines.
        """
        rows = self._window(service, pod, severity, start, end)
        lines = self.lines
        if contains:
            rows = [i for i in rows if contains in lines[i]]
        if regex:
            try:
                found = LineSearch(regex).found
            except re.error as error:
                raise QueryError(f"regex {regex!r} is malformed: {error}") from error
            rows = [i for i in rows if found(lines[i])]
        chosen = rows[::-1][:limit] if newest_first else rows[:limit]
        return [self._row(i) for i in chosen], len(rows)

    def patterns(
        self, *, service: str | None = None, severity: str = "", start: float, end: float,
        limit: int,
    ) -> list[tuple[str, str, int, float, float]]:  # fmt: skip
        """Return (service, template, count, first, last), most frequent first."""
        rows = self._window(service, None, severity, start, end)
        times, services = self._columns["time"], self._columns["service"]
        groups: dict[tuple[int, int], list[float]] = {}
        for row in rows:
            code = self._template_of.get(row)
            if code is None:
                code = self._template_of[row] = self._templates[template(self.lines[row])]
            time = times[row]
            group = groups.setdefault((int(services[row]), code), [0, time, time])
            group[0] += 1
            group[2] = time
        names, texts = self.strings.decoded(), self._templates.decoded()
        merged = generalise(
            [
                (names[s], texts[c], int(n), float(first), float(last))
                for (s, c), (n, first, last) in groups.items()
            ]
        )
        return sorted(merged, key=lambda p: (-p[2], p[0], p[1]))[:limit]

    def _window(
        self, service: str | None, pod: str | None, severity: str, start: float, end: float
    ) -> Sequence[int]:
        c = self.columns()
        hit: npt.NDArray[np.bool_] = (c["time"] >= start) & (c["time"] <= end)
        if service is not None:
            hit &= c["service"] == self.strings.get(service, -1)
        if pod is not None:
            hit &= c["pod"] == self.strings.get(pod, -1)
        if severity:
            if severity not in SEVERITIES:
                known = ", ".join(SEVERITIES)
                raise QueryError(f"severity {severity!r} is unknown; one of {known}")
            hit &= c["severity"] >= _rank(severity)
        rows: list[int] = np.flatnonzero(hit).tolist()
        return rows

    def _row(self, row: int) -> LogRow:
        c, names = self._columns, self.strings.decoded()
        trace = int(c["trace_high"][row]) << 64 | int(c["trace_low"][row])
        return LogRow(
            time=float(c["time"][row]),
            service=names[c["service"][row]],
            pod=names[c["pod"][row]],
            severity=SEVERITIES[c["severity"][row]],
            line=self.lines[row],
            trace_id=f"{trace:032x}" if trace else "",
        )

    def _seal(self) -> None:
        if not self._buffer:
            return
        time, service, namespace, pod, container, severity, line, trace, span = zip(
            *self._buffer, strict=True
        )
        code = self.strings.__getitem__
        self._columns.extend(
            {
                "time": time,
                "service": list(map(code, service)),
                "namespace": list(map(code, namespace)),
                "pod": list(map(code, pod)),
                "container": list(map(code, container)),
                "severity": list(map(_rank, severity)),
                "trace_high": [t >> 64 for t in trace],
                "trace_low": [t & _LOW for t in trace],
                "span": span,
                "stream": list(
                    map(
                        self.streams.__getitem__,
                        zip(service, namespace, pod, container, strict=True),
                    )
                ),
                "size": [len(t) if t.isascii() else len(t.encode()) for t in line],
            }
        )
        self.lines.extend(line)
        self._buffer.clear()


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity)
