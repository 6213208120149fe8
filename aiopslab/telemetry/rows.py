"""Rows that queries over telemetry return, one frozen value a line.

``environments.protocol`` hands them on unchanged. Not here: how they are stored (``spans``,
``logs``, ``samples``), nor events, changes and alerts, which are models (``models.signal``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a PromQL result: labels and (time, value) points."""

    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """What metrics are collected from."""

    labels: Mapping[str, str]
    """Those that every series of it has: ``job``, ``instance``, ..."""
    up: bool
    """Whether the last scrape was answered."""
    scraped_at: float
    interval_s: float


@dataclass(frozen=True, slots=True)
class LogRow:
    """One log line."""

    time: float
    service: str
    pod: str
    severity: str
    line: str
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class SpanRow:
    """One span."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    pod: str
    name: str
    kind: str
    start: float
    duration_ms: float
    error: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceSummary:
    """One line of a trace search."""

    trace_id: str
    root_service: str
    root_name: str
    start: float
    duration_ms: float
    spans: int
    errors: int
    services: Sequence[str]

    @property
    def root(self) -> str:
        """Service and name of the root span, for people."""
        return f"{self.root_service}: {self.root_name}"


@dataclass(frozen=True, slots=True)
class PathSegment:
    """A stretch of a trace's critical path, spent in one span itself."""

    span: SpanRow
    start: float
    ms: float
