"""Telemetry of a real process: log lines on standard output; everything over OTLP where asked for.

With ``OTEL_EXPORTER_OTLP_ENDPOINT`` set, spans, log lines and metrics go there as well
(``otlp_export``); without it, spans and metrics go nowhere. Not here: how a line looks
(``services.languages``), what is measured (``services.instruments``).
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from typing import Protocol

from aiopslab.services.protocols import Clock, Counter, Histogram

Attributes = Mapping[str, str | int | float]


class Export(Protocol):
    """Where telemetry goes beside standard output."""

    def span(
        self, ids: tuple[int, int, int], name: str, kind: str, times: tuple[float, float],
        error: str, attributes: Attributes | None,
    ) -> None:  # fmt: skip
        """Take a finished span; ids of trace, span and parent, times in unix seconds."""
        ...

    def log(self, time: float, line: str, severity: str, ids: tuple[int, int]) -> None:
        """Take a log line with the ids of its trace and span."""
        ...

    def histogram(self, name: str, buckets: tuple[float, ...], labels: dict[str, str]) -> Histogram:
        """Return a histogram."""
        ...

    def counter(self, name: str, labels: dict[str, str]) -> Counter:
        """Return a counter."""
        ...

    def gauge(self, name: str, read: Callable[[], float], labels: dict[str, str]) -> None:
        """Register a gauge."""
        ...


class ProcessTelemetry:
    """``protocols.Telemetry``.

    Args:
        clock: Time of log lines.
        export: Where everything goes beside standard output; None: nowhere.
    """

    def __init__(self, clock: Clock, export: Export | None) -> None:
        self._clock = clock
        self._export = export
        self._bits = random.Random().getrandbits

    def new_trace_id(self) -> int:
        return self._bits(128) or 1

    def new_span_id(self) -> int:
        return self._bits(64) or 1

    def span(
        self,
        trace_id: int,
        span_id: int,
        parent_id: int,
        name: str,
        kind: str,
        start: float,
        end: float,
        error: str,
        attributes: Attributes | None,
    ) -> None:
        if self._export is not None:
            ids = (trace_id, span_id, parent_id)
            self._export.span(ids, name, kind, (start, end), error, attributes)

    def log(self, line: str, severity: str, trace_id: int, span_id: int) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if self._export is not None:
            self._export.log(self._clock.now(), line, severity, (trace_id, span_id))

    def histogram(self, name: str, buckets: tuple[float, ...], **labels: str) -> Histogram:
        if self._export is None:
            return _Unread()
        return self._export.histogram(name, buckets, labels)

    def counter(self, name: str, **labels: str) -> Counter:
        if self._export is None:
            return _Unread()
        return self._export.counter(name, labels)

    def gauge(self, name: str, read: Callable[[], float], **labels: str) -> None:
        if self._export is not None:
            self._export.gauge(name, read, labels)


class _Unread:
    """An instrument that nobody reads."""

    def observe(self, value: float, count: int = 1) -> None:
        """Count a value."""

    def add(self, value: float = 1.0) -> None:
        """Count."""
